/* scheduler_join.c - environments that join while the run listens (gateways/listen.h): seats of the plan that are empty until a host
 * comes, how long somebody is waited for, and hosts that leave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

#define TICK_MS 100

bool xd_scheduler_listens(const scheduler *self)
{
    return self->args.plan->named < self->args.plan->count;
}

uint32_t xd_scheduler_least(const scheduler *self)
{
    const uint32_t told = (uint32_t)self->args.config->min_workers;
    return told ? told : xd_scheduler_listens(self);
}

static bool seats_left(const scheduler *self)
{
    for (size_t i = 0; i < self->n_gateways; i++)
        if (xd_scheduler_empty_seat(&self->gateways[i]))
            return true;
    return false;
}

bool xd_scheduler_hopes(const scheduler *self)
{
    return self->wait_by_ns && self->state < XD_RUN_STOPPING && seats_left(self);
}

static uint64_t wait_end(const scheduler *self)
{
    const uint64_t wait = self->args.config->wait_ns;
    return wait ? xd_clock_ns() + wait : UINT64_MAX;
}

int xd_scheduler_join_init(scheduler *self)
{
    if (!xd_scheduler_listens(self))
        return 0;
    self->wait_by_ns = wait_end(self);
    return xd_actor_set_tick(self->actor, TICK_MS);
}

/* ---- who comes ------------------------------------------------------------------------------------------------- */

int xd_scheduler_on_joins(scheduler *self, const xd_joins *in)
{
    gateway *g = xd_scheduler_gateway(self, in->gateway);
    if (!g || !xd_scheduler_empty_seat(g) || xd_scheduler_closes(self) || g->state != GW_DIALING)
        return 0;
    char *spec = strdup(in->spec);
    if (!spec)
        return -ENOMEM;
    free(g->spec_text);
    g->spec_text = spec;
    g->came = true;
    g->workers = in->workers;
    if (self->state == XD_RUN_TESTING)
        self->wait_by_ns = 0;
    return xd_scheduler_note(self, XD_NOTE_NOTE, "%s joins: %s", g->spec_text, in->text);
}

/* ---- who leaves ------------------------------------------------------------------------------------------------- */

static int drain(scheduler *self, gateway *g)
{
    xd_autobuf     frame = XD_BUF_INIT;
    xd_wire_CANCEL cancel = { .how = XD_CANCEL_DRAIN };
    XD_TRY(xd_wire_CANCEL_frame(&frame, 0, 0, &cancel));
    XD_TRY(xd_scheduler_send(self, g, XD_MSG_CANCEL, &frame));
    XD_TRY(xd_sched_agent_up(g->collection->sched, g->number, 0)); /* it gets nothing more */
    XD_TRY(xd_scheduler_drain(self, g->collection));
    return xd_scheduler_let_leave(self, g);
}

/* Nothing of what it is at, bringing files or collecting, is of use to anybody. */
int xd_scheduler_see_off(scheduler *self, gateway *g)
{
    g->gone = true;
    return xd_scheduler_drop(self, g, XD_BYTES_LIT("it leaves"));
}

int xd_scheduler_on_leaves(scheduler *self, gateway *g)
{
    if (g->leaving || !g->came || g->state >= GW_FINISHING || xd_scheduler_closes(self))
        return 0;
    g->leaving = true;
    XD_TRY(xd_scheduler_note(self, XD_NOTE_NOTE, "%s leaves: what it has not begun goes to others",
                             g->spec_text));
    if (g->state == GW_RUNNING)
        return drain(self, g);
    g->failed = true; /* it has no part in what the run begins with */
    return g->up ? xd_scheduler_see_off(self, g)
                 : 0; /* its gateway may not be there to hear of it before it is up */
}

int xd_scheduler_let_leave(scheduler *self, gateway *g)
{
    uint32_t one;
    if (!g->leaving || g->state != GW_RUNNING || xd_scheduler_closes(self) ||
        xd_sched_agent_has(g->collection->sched, g->number, &one) > 0)
        return 0;
    return xd_scheduler_happens(self, XD_RUN_ON_ENV_LEAVES, g);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

int xd_scheduler_wait_for_others(scheduler *self)
{
    if (!xd_scheduler_listens(self) || self->state >= XD_RUN_STOPPING || !seats_left(self))
        return 0;
    if (self->wait_by_ns)
        return 1;
    if (self->job_over)
        return 0;
    self->wait_by_ns = wait_end(self);
    XD_TRY(xd_scheduler_note(self, XD_NOTE_WARNING, "no worker is left; waiting for hosts to join (--wait)"));
    return 1;
}

int xd_scheduler_on_job(scheduler *self, bool over, xd_bytes line)
{
    snprintf(self->job, sizeof(self->job), "%.*s", (int)line.len, (const char *)line.ptr);
    self->job_over = over;
    if (over && self->wait_by_ns)
        self->wait_by_ns = xd_clock_ns();
    if (over && self->wait_by_ns && self->state == XD_RUN_COLLECTING)
        return 0; /* what ends the run says it */
    return xd_scheduler_note(self, XD_NOTE_NOTE, "%s", self->job);
}

int xd_scheduler_on_wait_over(scheduler *self, uint64_t now_ns)
{
    if (!self->wait_by_ns || now_ns < self->wait_by_ns)
        return 0;
    self->wait_by_ns = 0;
    if (self->state ==
        XD_RUN_COLLECTING) /* those that have come may still be enough: they collect as long as they do */
        return xd_scheduler_look(self);
    if (self->state != XD_RUN_TESTING)
        return 0;
    for (size_t i = 0; i < self->n_collections; i++)
        if (self->collections[i].running)
            XD_TRY(xd_scheduler_give_up_items(self, &self->collections[i]));
    return xd_scheduler_drain_all(self);
}
