/* actors/plan.c - see plan.h. */
#include "actors/plan.h"

#include <stdlib.h>

#include "gateways/transport.h"

#define XD_PLAN_WORKERS_MAX 32768u /* their numbers, with those of replacements, have 16 bits */

void xd_plan_release(xd_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        xd_xspec_release(&p->gateways[i].spec);
    free(p->gateways);
    *p = XD_PLAN_INIT;
}

/* Joins a spec to the gateway of its environment, or makes one. Takes the spec on success. */
static int add(xd_plan *p, xd_xspec *spec, uint32_t workers, xd_error *err)
{
    uint32_t all = workers;
    for (size_t i = 0; i < p->count; i++)
        all += p->gateways[i].workers;
    if (all > XD_PLAN_WORKERS_MAX)
        return xd_error_set(err, -EINVAL, "spec '%.200s': %u workers in all; a run has at most %u",
                            spec->text, all, XD_PLAN_WORKERS_MAX);
    for (size_t i = 0; i < p->count; i++) {
        if (!xd_xspec_same_env(&p->gateways[i].spec, spec))
            continue;
        if (p->gateways[i].workers + workers > XD_WORKERS_MAX)
            return xd_error_set(err, -EINVAL,
                                "spec '%.200s': %u workers in one environment; it has at most %u", spec->text,
                                p->gateways[i].workers + workers, XD_WORKERS_MAX);
        p->gateways[i].workers += workers;
        xd_xspec_release(spec);
        return 0;
    }
    xd_plan_gateway *g = realloc(p->gateways, (p->count + 1) * sizeof(*g));
    if (!g)
        return -ENOMEM;
    p->gateways = g;
    g[p->count++] = (xd_plan_gateway){ .spec = *spec, .workers = workers };
    *spec = (xd_xspec){ 0 };
    return 0;
}

static int add_text(xd_plan *p, const char *text, const uint32_t *workers, xd_error *err)
{
    xd_xspec spec = { 0 };
    XD_TRY(xd_xspec_parse(&spec, text, err));
    int r = 0;
    if (!xd_transport_find(&spec))
        r = xd_error_set(err, -EINVAL,
                         "spec '%.200s': this version runs workers on this machine only (popen)", text);
    else if (spec.id)
        r = xd_error_set(
            err, -EINVAL,
            "spec '%.200s': worker names (id=) are not supported yet; workers are named gw0, gw1, ...", text);
    if (r == 0)
        r = add(p, &spec, workers ? *workers : spec.count, err);
    xd_xspec_release(&spec);
    return r;
}

int xd_plan_make(xd_plan *ret, const xd_config *cfg, xd_error *err)
{
    xd_plan p = XD_PLAN_INIT;
    int     r = 0;
    if (cfg->workers != XD_WORKERS_UNSET || cfg->tx.count == 0) {
        /* -n wins over --tx, as in xdist; -n0 is one worker. */
        uint32_t workers = cfg->workers > 0 ? (uint32_t)cfg->workers : cfg->workers == 0 ? 1 : 0;
        if (cfg->max_workers > 0)
            workers = XD_MIN(workers, (uint32_t)cfg->max_workers);
        r = add_text(&p, "popen", &workers, err);
    } else {
        for (size_t i = 0; i < cfg->tx.count && r == 0; i++)
            r = add_text(&p, cfg->tx.at[i], NULL, err);
    }
    if (r < 0) {
        xd_plan_release(&p);
        return r;
    }
    *ret = p;
    return 0;
}

uint32_t xd_plan_workers(int wanted, uint32_t cpus, uint32_t limit, uint32_t items)
{
    uint32_t n = wanted >= 0 ? (uint32_t)wanted : cpus;
    if (limit)
        n = XD_MIN(n, limit);
    if (wanted < 0)
        n = XD_MIN(n, items); /* told numbers are kept: tests may count workers */
    return XD_MIN(XD_MAX(n, 1), XD_WORKERS_MAX);
}
