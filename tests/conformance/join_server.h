/* tests/conformance/join_server.h - agents that join (gateways/listen.h, join.h): a transport whose every pipe has a place to join of its own, and a
 * process beside that is told of each, and starts one there that joins. */
#pragma once
#include "gateways/transport.h"

typedef struct xd_join_server xd_join_server;

/* This process and those that it starts find it by their environment. */
int             xd_join_server_start(xd_join_server **ret, xd_error *err) XD_MUST;
xd_join_server *xd_join_server_stop(xd_join_server *s); /* NULL ok */
/* The other processes: main() calls them for `--joins FOLDER`, `--joiner FOLDER` and `--join ADDRESS TOKEN AGENT`. */
int xd_join_server_begin(const char *folder);
int xd_join_server_main(const char *folder);
int xd_join_server_join(const char *address, const char *token, const char *agent);

extern const xd_transport xd_transport_joins;
extern const xd_transport xd_transport_joins_never; /* nobody joins */
