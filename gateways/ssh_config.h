/* gateways/ssh_config.h - private to the ssh gateway: what the options of a spec and ssh_config(5) say of one host.
 *
 * Read as ssh(1) reads them: options first, then the user's file, then the system's; the first value of a keyword counts,
 * Host and Match blocks and Include are followed. libssh has a reader of its own, which skips what it does not know: here each
 * keyword is one that the gateway acts on, one that means nothing to it, or one that it leaves to the ssh program. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "gateways/transport.h"

typedef struct xd_ssh_conf xd_ssh_conf;

/* 0; -EINVAL, -EACCES and other -errno: err says what is wrong with the options or a file. Blocks as reading files does. */
int          xd_ssh_conf_new(xd_ssh_conf **ret, const xd_target *target, xd_error *err) XD_MUST;
xd_ssh_conf *xd_ssh_conf_free(xd_ssh_conf *c); /* NULL ok */
XD_DEFINE_AUTO(xd_ssh_conf, xd_ssh_conf_free)

/* What libssh cannot do of it; NULL = nothing. */
const char *xd_ssh_conf_unsuited(const xd_ssh_conf *c);

/* All valid until the conf is freed. */
const char *xd_ssh_conf_given(const xd_ssh_conf *c); /* the host as the spec names it */
const char *xd_ssh_conf_host(const xd_ssh_conf *c);  /* HostName */
const char *xd_ssh_conf_user(const xd_ssh_conf *c);
uint16_t    xd_ssh_conf_port(const xd_ssh_conf *c);
const char *
xd_ssh_conf_words(const xd_ssh_conf *c); /* options and host, as words for ssh(1) on a command line */
const char *xd_ssh_conf_home(const xd_ssh_conf *c);
const char *xd_ssh_conf_local_user(const xd_ssh_conf *c);
/* The value of a keyword in lower case, without quotes; `otherwise` if none is set. A keyword that may come more than once: the
 * values with a newline between them. */
const char *xd_ssh_conf_get(const xd_ssh_conf *c, const char *keyword, const char *otherwise);
bool        xd_ssh_conf_is(const xd_ssh_conf *c, const char *keyword, bool otherwise); /* yes or no */
uint32_t    xd_ssh_conf_number(const xd_ssh_conf *c, const char *keyword, uint32_t otherwise);
/* With ~, %tokens and ${NAME} replaced; malloc'ed. NULL: no memory, or a token that means nothing here. */
char *xd_ssh_conf_expand(const xd_ssh_conf *c, const char *text);
/* The next file name of a list of words (as ssh_config writes it), expanded, malloc'ed; NULL = no more. */
char *xd_ssh_conf_next_file(const xd_ssh_conf *c, const char **list);

/* Does a host or name match a list of patterns (with ?, * and !), separated by these characters? `fold`: the patterns count
 * in lower case, as ssh takes those of Match host and of known_hosts; the name is taken as it is. */
bool xd_ssh_match_list(const char *name, const char *list, const char *separators, bool fold);

/* A key file of this name is held by a security key, which libssh cannot ask. */
bool xd_ssh_is_security_key(const char *path);
