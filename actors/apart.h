/* actors/apart.h - gateways without a run: on a broker of their own, without a journal. In the place of the scheduler stands an actor of the caller's, whose end is the end of
 * all. For xd_hosts_check and xd_sync_run. */
#pragma once
#include "actors/supervisor.h"
#include "gateways/gateway.h"

typedef struct xd_apart {
    size_t count; /* of the gateways, numbered from 0 */
    /* Starts the actor at XD_SCHEDULER_ADDRESS, what else it needs, and then the gateways. `gateways`: one element each, zeroed, valid until the end. */
    int (*start)(void *arg, xd_supervisor *s, xd_bus *bus, xd_gateway_args *gateways, xd_error *err);
    void (*stop)(void *arg); /* before the others are asked to end; NULL ok */
    void *arg;
} xd_apart;

/* Blocks. 0, or a fault of the first actor; -ETIMEDOUT: something does not end, and still uses what it was given; other -errno: it could not be started. */
int xd_apart_run(const xd_apart *a, xd_error *err) XD_MUST;
