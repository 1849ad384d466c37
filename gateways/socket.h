/* gateways/socket.h - the agent on a host that runs `xdctl serve` (serve.h): socket=HOST:PORT. */
#pragma once
#include "gateways/transport.h"

extern const xd_transport xd_transport_socket;
