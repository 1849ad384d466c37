/* tests/conformance/ssh_server.h - an sshd on 127.0.0.1 with keys and a configuration of its own, for the user who asks. */
#pragma once
#include "engine/base/error.h"

typedef struct xd_ssh_server xd_ssh_server;

/* Its clients can name: far, the server; and what fails, each in a way of its own: closed (nothing listens), nowhere (no such name),
 * mute (accepts, says nothing), stranger and changed (its host key), denied (the user's key).
 * *spec is a spec that reaches it, with its own ssh_config: valid until it is stopped. -ENOENT: there is no sshd here; -errno. */
int            xd_ssh_server_start(xd_ssh_server **ret, const char **spec, xd_error *err) XD_MUST;
xd_ssh_server *xd_ssh_server_stop(xd_ssh_server *s); /* NULL ok */
/* The spec of another one of these names. */
void xd_ssh_server_spec(const xd_ssh_server *s, const char *name, char *ret, size_t size);
