/* actors/gateway_args.c - see gateway_args.h. */
#include "actors/gateway_args.h"

#include "actors/collector.h"
#include "actors/scheduler.h"
#include "engine/base/clock.h"

static uint32_t silence_ms(const xd_config *c)
{
    uint64_t ms = c->agent_timeout_ns / XD_MS_NS;
    return c->agent_timeout_ns && ms < UINT32_MAX ? (uint32_t)XD_MAX(ms, 1u) : UINT32_MAX;
}

int xd_gateway_args_make(xd_gateway_args *ret, const xd_config *cfg, const xd_xspec *spec, uint16_t number,
                         const xd_folders *where, xd_error *err)
{
    xd_transport_choice choice;
    XD_TRY(xd_transport_choose(&choice, spec, cfg->ssh, err));
    const bool here = choice.transport->local; /* else folders of this host mean nothing there */
    *ret = (xd_gateway_args){
        .choice = choice,
        .number = number,
        .sched = XD_SCHEDULER_ADDRESS,
        .collector = XD_COLLECTOR_ADDRESS,
        .session = xd_clock_wall_us(),
        .silence_ms = silence_ms(cfg),
        .reconnect_ms = (uint32_t)XD_MIN(cfg->reconnect_ns / XD_MS_NS, (uint64_t)UINT32_MAX),
        .foreign = !here || cfg->agent != NULL,
        .target = { .spec = spec,
                    .agent = cfg->agent,
                    .dir = here ? where->work : NULL,
                    .cache_dir = here ? where->cache : NULL,
                    .output_limit = cfg->output_limit,
                    .ssh_accept_new = cfg->ssh_accept_new,
                    .keys = cfg->keys },
    };
    return 0;
}
