/* tests/conformance/ssh_server.h - an sshd on 127.0.0.1 with keys and a configuration of its own, for the user who asks. */
#pragma once
#include "engine/base/error.h"

typedef struct xd_ssh_server xd_ssh_server;

/* *spec is a spec that reaches it, with its own ssh_config: valid until it is stopped. -ENOENT: there is no sshd here; -errno. */
int            xd_ssh_server_start(xd_ssh_server **ret, const char **spec, xd_error *err) XD_MUST;
xd_ssh_server *xd_ssh_server_stop(xd_ssh_server *s); /* NULL ok */
