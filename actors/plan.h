/* actors/plan.h - from options to gateways: which environments a run needs and how many workers each gets.
 * Specs that name the same environment (python, chdir, environment entries) share one gateway; its spec has no id= then, as
 * that names only one of its workers.  Pure.
 * With --dist each-worker nothing is shared: every worker has a gateway of its own.
 * A run that listens (--listen) has seats behind them, for hosts that join it. */
#pragma once
#include "engine/config.h"
#include "engine/xspec.h"

#define XD_JOIN_SEATS 1024u /* for hosts that join, where --join-max says nothing */
#define XD_JOIN_SEATS_MAX 3000u
#define XD_PLAN_MAX \
    4096u /* environments of a run that listens, with its seats: engine/sched.h has room for so many agents */
#define XD_JOIN_STRIDE \
    4096u /* workers of a run that others may join have numbers below it, replacements those above */

typedef struct xd_plan_gateway {
    xd_xspec spec;    /* the first one; owned */
    uint32_t workers; /* xd_numprocesses_planned(): 0 = decided when processors and items are known */
    char   **ids;     /* of its workers in order, n_ids of them; NULL = none; owned, all of it */
    size_t   n_ids;
    bool     joins; /* a seat: empty until a host joins the run */
    bool
        synced; /* the project's files are brought to its host before it starts; set by who knows what to bring */
} xd_plan_gateway;

typedef struct xd_plan {
    xd_plan_gateway *gateways;
    size_t           count;
    size_t           named; /* so many of them, the first, are no seats */
} xd_plan;
#define XD_PLAN_INIT ((xd_plan){ 0 })

/* -EINVAL with err: a bad spec, or one of a kind that this version does not know. */
int  xd_plan_make(xd_plan *ret, const xd_config *cfg, xd_error *err) XD_MUST;
void xd_plan_release(xd_plan *p);
/* The list of tests is asked for before there is one, which saves a round trip: where it is sure to be wanted, and comes from
 * another host. */
bool xd_plan_asks_ahead(const xd_plan *p);
