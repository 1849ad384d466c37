/* actors/apart.c - see apart.h. */
#include "actors/apart.h"

#include <stdlib.h>
#include <string.h>

#include "actors/scheduler.h"
#include "engine/base/clock.h"
#include "engine/broker.h"

#define CLOSE_NS (15 * XD_S_NS) /* for a gateway */
#define RUN_ID "00000000000000000000000000000000"

static void on_actor_end(void *arg, const char *address, int reason, bool restarted)
{
    (void)restarted;
    if (reason < 0 && strcmp(address, XD_SCHEDULER_ADDRESS) != 0)
        (void)!xd_bus_post(arg, address, XD_SCHEDULER_ADDRESS, XD_MSG_GONE, "", 0);
}

int xd_apart_run(const xd_apart *a, xd_error *err)
{
    const xd_log             log = { 0 };
    xd_broker               *broker = NULL;
    xd_bus                  *bus = NULL;
    xd_supervisor           *s = NULL;
    int                      reason = 0;
    const xd_broker_run_args run = { .id = RUN_ID, .owner = XD_SCHEDULER_ADDRESS, .log = &log };
    xd_gateway_args         *gateways = calloc(a->count ? a->count : 1, sizeof(*gateways));
    if (!gateways)
        return -ENOMEM;
    int r = xd_broker_start(&broker, &log, err);
    if (r == 0)
        r = xd_broker_open(broker, &run, &bus, err);
    if (r == 0)
        r = xd_supervisor_new(&s, bus, on_actor_end, bus);
    if (r == 0)
        r = a->start(a->arg, s, bus, gateways, err);
    if (r == 0)
        r = xd_supervisor_wait(s, XD_SCHEDULER_ADDRESS, -1, UINT64_MAX, &reason);
    if (a->stop)
        a->stop(a->arg);
    for (size_t i = 0; s && i < a->count; i++) { /* side by side */
        char address[XD_ADDRESS_LEN];
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        xd_supervisor_ask_stop(s, address);
    }
    if (s && xd_supervisor_stop(s, CLOSE_NS, NULL, NULL) > 0)
        return xd_error_set(err, -ETIMEDOUT,
                            "a part of the engine does not end"); /* it still uses all of this */
    if (bus)
        xd_broker_close(broker, bus, NULL, NULL);
    xd_bus_free(bus);
    xd_broker_stop(broker);
    free(gateways);
    return r < 0 ? r : reason;
}
