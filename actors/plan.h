/* actors/plan.h - from options to gateways: which environments a run needs and how many workers each gets.
 * Specs that name the same environment (python, chdir, environment entries) share one gateway.  Pure. */
#pragma once
#include "engine/config.h"
#include "engine/xspec.h"

typedef struct xd_plan_gateway {
    xd_xspec spec; /* of the first spec; owned */
    uint32_t
        workers; /* 0 = decided when the number of processors and items is known (-n auto, or nothing said) */
} xd_plan_gateway;

typedef struct xd_plan {
    xd_plan_gateway *gateways;
    size_t           count;
} xd_plan;
#define XD_PLAN_INIT ((xd_plan){ 0 })

/* -EINVAL with err: a bad spec, or one of a kind that this version does not know. */
int  xd_plan_make(xd_plan *ret, const xd_config *cfg, xd_error *err) XD_MUST;
void xd_plan_release(xd_plan *p);

/* How many workers `wanted` (count or XD_WORKERS_*) means on a host with `cpus` for `items` tests; `limit` 0
 * = none. At least 1. */
uint32_t xd_plan_workers(int wanted, uint32_t cpus, uint32_t limit, uint32_t items);
