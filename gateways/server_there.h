/* gateways/server_there.h - a server (xdserve) on another host, where it stays: brought there, started and stopped over a transport that leads to a shell.
 * What happens there is in server_script.h; it goes there as an agent does (deliver.h). */
#pragma once
#include "engine/base/buf.h"
#include "gateways/transport.h"

#define XD_SERVER_ADDRESSES 8u /* that it listens on */

/* What is to be done. All is borrowed. */
struct xd_server_there {
    const char        *verb;     /* start, replace, stop */
    const char        *program;  /* xdserve, on this host; NULL for stop */
    const char        *key_line; /* xdk1 KEY COMMENT: of the controller that it is to let in; NULL for stop */
    const char        *keys;     /* folder of its keys there; NULL = its own default */
    const char *const *args;     /* more arguments of xdserve, NULL-terminated; NULL = none */
};

/* What the host said of it. Texts are NULL where it said nothing; they lie in `said`. */
typedef struct xd_server_report {
    xd_buf      said;
    const char *state; /* as in server_script.h; not `failed` */
    const char *pid, *file, *log, *args, *key, *fingerprint;
    const char *address[XD_SERVER_ADDRESSES + 1]; /* HOST:PORT, as it is bound */
    bool        authorized;                       /* the key is, since now */
} xd_server_report;
#define XD_SERVER_REPORT_INIT ((xd_server_report){ 0 })

/* Carries it out. target: its spec, what is said there of ssh, its server. `ssh`: as of xd_transport_choose. stop: NULL, or looked at now and then: non-zero ends it, -ECANCELED.
 * Blocks; the user may be asked on the terminal. 0: *ret is to be released; -errno: err says why, without the spec. */
int  xd_server_there_run(xd_server_report *ret, const xd_target *target, const char *ssh,
                         const volatile int *stop, xd_error *err) XD_MUST;
void xd_server_report_release(xd_server_report *r);
