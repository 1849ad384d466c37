/* gateways/openssh.h - the agent over ssh, by the user's own ssh program: for specs `ssh=[OPTIONS] [USER@]HOST`.
 *
 * What that program reads and asks is as when the user calls it: ssh_config, keys and agents, jump hosts, security keys. It is first
 * told to ask nothing (BatchMode), so that hosts can be dialled side by side. A host that needs an answer is dialled again, and ssh
 * asks on the terminal, as long as there is one: one host at a time (terminal.h).
 *
 *   openssh.c        the transport: ssh is started, watched, started again
 *   openssh_argv.c   what it is started with
 *   openssh_cause.c  what its messages mean */
#pragma once
#include "engine/base/buf.h"
#include "gateways/transport.h"

extern const xd_transport xd_transport_openssh; /* its name is "ssh" */

/* ---- private to these files ---- */

typedef struct xd_openssh_how {
    bool     asks; /* the user can answer */
    bool     accept_new;
    uint32_t connect_s;
} xd_openssh_how;

/* NULL-terminated, malloc'ed; each word too. -EINVAL: err says what is wrong with the spec; -ENOMEM. */
int  xd_openssh_argv(char ***ret, const xd_xspec *spec, const xd_openssh_how *how, xd_error *err) XD_MUST;
void xd_openssh_argv_free(char **argv);
/* How the user calls ssh for that host by hand: "ssh -p 5000 myhost". */
int xd_openssh_by_hand(xd_buf *out, const xd_xspec *spec) XD_MUST;

typedef enum xd_openssh_class {
    XD_OPENSSH_OTHER,
    XD_OPENSSH_RESOLVE,
    XD_OPENSSH_REFUSED,
    XD_OPENSSH_UNREACHABLE,
    XD_OPENSSH_TIMEOUT,
    XD_OPENSSH_DROPPED, /* before the host said anything: it has no room just now, or does not want this address */
    XD_OPENSSH_CLOSED, /* later, but before the user was authenticated */
    XD_OPENSSH_KEY_UNKNOWN,
    XD_OPENSSH_KEY_CHANGED,
    XD_OPENSSH_KEY_REVOKED,
    XD_OPENSSH_NEGOTIATE,
    XD_OPENSSH_AUTH,
    XD_OPENSSH_CONFIG,
    XD_OPENSSH_SESSION, /* the host takes the user, but starts no program */
} xd_openssh_class;

/* What ssh wrote until it ended with status 255, as a class and in one line. `asked`: the user could answer. `by_hand`: see above. */
xd_openssh_class xd_openssh_cause(const char *said, const char *by_hand, bool asked, char *ret, size_t size);
