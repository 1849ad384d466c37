/* tests/conformance/socket_server.h - servers of socket= (gateways/serve.h) on 127.0.0.1, in processes of their own, with folders of keys for them
 * and for the one who connects. */
#pragma once
#include "engine/base/error.h"

typedef struct xd_socket_server xd_socket_server;

/* From here on the keys of this process are in a folder of its own ($XDG_CONFIG_HOME). spec: as of ssh_server.h, with the same names of what fails. */
int               xd_socket_server_start(xd_socket_server **ret, const char **spec, xd_error *err) XD_MUST;
xd_socket_server *xd_socket_server_stop(xd_socket_server *s); /* NULL ok */
void              xd_socket_server_spec(const xd_socket_server *s, const char *name, char *ret, size_t size);
/* The other process: main() calls it for `--serve FOLDER ADDRESS`. */
int xd_socket_server_main(const char *folder, const char *address);
