/* actors/runview_envs.c - see runview_envs.h. */
#include "actors/runview_envs.h"

#include <stdlib.h>

void xd_runview_envs_release(xd_runview_envs *e)
{
    free(e->envs);
    free(e->workers);
    xd_names_release(&e->names);
    *e = (xd_runview_envs){ 0 };
}

int xd_runview_envs_at(xd_runview_envs *e, uint32_t gateway, xd_runview_env **ret)
{
    XD_TRY(xd_runview_room(&e->envs, &e->envs_cap, gateway + 1, sizeof *e->envs));
    e->count = XD_MAX(e->count, gateway + 1);
    *ret = &e->envs[gateway];
    return 0;
}

int xd_runview_envs_up(xd_runview_envs *e, xd_runview_texts *texts, const xd_wire_GATEWAY_UP *in)
{
    xd_runview_env *env;
    XD_TRY(xd_runview_envs_at(e, in->gateway, &env));
    XD_TRY(xd_runview_texts_keep(texts, in->spec, &env->spec));
    XD_TRY(xd_runview_texts_keep(texts, in->host, &env->host));
    if (!e->hostname.len)
        e->hostname = env->host;
    return xd_runview_texts_keep(texts, in->system, &env->system);
}

static int worker_at(xd_runview_envs *e, uint16_t worker, xd_runview_worker **ret)
{
    XD_TRY(xd_runview_room(&e->workers, &e->workers_cap, worker + 1u, sizeof *e->workers));
    e->worker_count = XD_MAX(e->worker_count, worker + 1u);
    *ret = &e->workers[worker];
    return 0;
}

int xd_runview_envs_names(xd_runview_envs *e, const xd_wire_WORKER_NAMES *in)
{
    xd_wire_list  list = in->workers;
    xd_wire_NAMED one;
    while (xd_wire_NAMED_next(&list, &one) == 1) {
        int r = xd_names_set(&e->names, one.worker, one.name);
        if (r < 0)
            return r == -EINVAL ? -EPROTO : r;
    }
    return 0;
}

int xd_runview_envs_worker_up(xd_runview_envs *e, const xd_wire_WORKER_UP *in, uint16_t gateway)
{
    xd_runview_worker *w;
    xd_runview_env    *env;
    XD_TRY(worker_at(e, in->worker, &w));
    XD_TRY(xd_runview_envs_at(e, gateway, &env));
    *w = (xd_runview_worker){ .python_version = env->python_version,
                              .python = env->python,
                              .spec = env->spec,
                              .gateway = gateway,
                              .replaces = in->replaces,
                              .up = 1,
                              .known = 1 };
    return 0;
}

int xd_runview_envs_worker_down(xd_runview_envs *e, const xd_runview_tests *tests,
                                const xd_wire_WORKER_DOWN *in)
{
    xd_runview_worker *w;
    XD_TRY(worker_at(e, in->worker, &w));
    w->up = 0;
    w->running = in->expected && !in->stopped && in->item < tests->count ? in->item + 1 : 0;
    w->age_ms = in->age_ms;
    return 0;
}

int xd_runview_envs_still_running(xd_runview_envs *e, const xd_runview_tests *tests,
                                  const xd_wire_STILL_RUNNING *in)
{
    xd_runview_worker *w;
    if (in->item >= tests->count)
        return -EPROTO;
    if (tests->items[in->item].outcome) /* its result overtook what was seen before */
        return XD_RUNVIEW_IGNORED;
    XD_TRY(worker_at(e, in->worker, &w));
    w->running = in->item + 1;
    w->age_ms = in->age_ms;
    return 0;
}
