/* scheduler_running.c - tests that run for long: their age is recorded when it has doubled, so that a journal that
 * is cut off tells what ran, and once more at the ages at which the user is told (option slow-after).  What becomes
 * of the tests that ran where an agent is lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

#define LOST_TOLD 8u /* tests of a lost environment that are named */

typedef struct scheduler_running {
    uint16_t worker, gateway;
    uint32_t item;
    uint64_t next_ms; /* age at which it is recorded next */
    uint64_t slow_ms; /* age at which it is told of next; UINT64_MAX = never */
} running;

static int tell(scheduler *self, const xd_wire_RUNNING *one, running *r)
{
    xd_autobuf            frame = XD_BUF_INIT;
    xd_wire_STILL_RUNNING m = {
        .worker = one->worker, .item = one->item, .age_ms = one->age_ms, .slow = one->age_ms >= r->slow_ms
    };
    if (one->age_ms < r->next_ms && !m.slow)
        return 0;
    while (r->next_ms <= one->age_ms)
        r->next_ms = r->next_ms ? 2 * r->next_ms : 1000;
    while (r->slow_ms <= one->age_ms)
        r->slow_ms *= 2;
    XD_TRY(xd_wire_STILL_RUNNING_frame(&frame, 0, 0, &m));
    return xd_scheduler_record_of(self, r->gateway, XD_MSG_STILL_RUNNING, &frame);
}

/* What is known of it, or that it begins now. */
static running of(const scheduler *self, const xd_wire_RUNNING *one, const gateway *g)
{
    uint64_t slow_ms = self->args.config->slow_after_ns / XD_MS_NS;
    for (size_t i = 0; i < self->n_running; i++)
        if (self->long_running[i].worker == one->worker && self->long_running[i].item == one->item)
            return self->long_running[i];
    return (running){ .worker = one->worker,
                      .gateway = g->number,
                      .item = one->item,
                      .slow_ms = self->args.config->slow_after_ns ? XD_MAX(slow_ms, 1) : UINT64_MAX };
}

int xd_scheduler_on_progress(scheduler *self, gateway *g, const xd_wire_PROGRESS *in)
{
    g->last_words |= in->last != 0;
    xd_wire_list    list = in->running;
    xd_wire_RUNNING one;
    size_t          n = 0;
    running        *now = malloc((self->n_running + list.count + 1) * sizeof(*now));
    if (!now)
        return -ENOMEM;
    for (size_t i = 0; i < self->n_running; i++)
        if (self->long_running[i].gateway != g->number)
            now[n++] = self->long_running[i];
    int r = 0;
    while (r == 0 && xd_wire_RUNNING_next(&list, &one) == 1) {
        now[n] = of(self, &one, g);
        r = tell(self, &one, &now[n++]);
    }
    free(self->long_running);
    self->long_running = now;
    self->n_running = n;
    return r;
}

/* ---- a lost agent ---------------------------------------------------------------------------------- */

static xd_bytes id_of(const collection *c, uint32_t item)
{
    xd_bytes id = c->list->items[item].id;
    id.len = XD_MIN(id.len, (size_t)200);
    return id;
}

/* The worker that ran it when its agent was lost; XD_NO_WORKER = not known. */
static uint16_t lost_worker(const scheduler *self, uint32_t item)
{
    for (size_t i = 0; i < self->n_running; i++)
        if (self->long_running[i].gateway == self->losing && self->long_running[i].item == item)
            return self->long_running[i].worker;
    return XD_NO_WORKER;
}

uint32_t xd_scheduler_attempts(const scheduler *self)
{
    const char *on_lost = self->args.config->on_lost;
    return on_lost && strcmp(on_lost, "fail") == 0 ? 1 : 2;
}

static int tell_lost(scheduler *self, const collection *c, uint32_t item, bool others)
{
    const bool  once = xd_scheduler_attempts(self) < 2;
    xd_bytes    id = id_of(c, item);
    bool        over = xd_sched_outcome(c->sched, item) == XD_OUT_LOST;
    uint16_t    worker = lost_worker(self, item);
    const char *then = once     ? ": it does not run again (--on-lost=fail)"
                       : over   ? ", for the second time: it does not run again"
                       : others ? ": it runs again (attempt 2 of 2)"
                                : "";
    char        where[XD_NAME_MAX + 32] = "was all that was there";
    if (worker != XD_NO_WORKER)
        snprintf(where, sizeof(where), "was running there (%s)", xd_names_of(&self->names, worker).text);
    return xd_scheduler_note(self, over ? 4 : 3, "%.*s %s%s", (int)id.len, (const char *)id.ptr, where, then);
}

/* Nobody could tell what ran: agent and guard were killed at once, or a host is gone. What the agent had may have begun.
 * (Before a worker was ready nothing had.) */
static int tell_doubts(scheduler *self, uint32_t has, bool others)
{
    if (xd_scheduler_attempts(self) < 2)
        return xd_scheduler_note(self, XD_NOTE_ERROR,
                                 "what was running there is not known: %u tests that it had are lost "
                                 "(--on-lost=fail)",
                                 has);
    return xd_scheduler_note(self, XD_NOTE_WARNING,
                             "what was running there is not known: %u tests that it had %s", has,
                             others ? "run again, each of them alone (attempt 2 of 2)" : "have no outcome");
}

int xd_scheduler_lost(scheduler *self, const gateway *g)
{
    collection           *c = g->collection;
    uint32_t              n = 0, live = 0;
    xd_autofree uint32_t *started = calloc(self->n_running + 1, sizeof(*started));
    if (!started)
        return -ENOMEM;
    self->losing = g->number;
    for (size_t i = 0; i < self->n_running; i++) {
        const running *r = &self->long_running[i]; /* what has its outcome is over */
        if (r->gateway == g->number && r->item < c->count && xd_sched_outcome(c->sched, r->item) == 0)
            started[n++] = r->item;
    }
    for (size_t i = 0; i < self->n_gateways; i++)
        live += self->gateways[i].collection == c && self->gateways[i].state < GW_DONE &&
                !xd_scheduler_empty_seat(&self->gateways[i]);
    const bool told = g->last_words || !g->ran;
    uint32_t   one = 0, has = told ? 0 : xd_sched_agent_has(c->sched, g->number, &one);
    if (has == 1 && n == 0)
        started[n++] = one;
    XD_TRY(xd_sched_agent_lost(c->sched, g->number, started, n, told));
    if (has > 1)
        XD_TRY(tell_doubts(self, has, live > 0));
    for (uint32_t i = 0; i < n && i < LOST_TOLD; i++)
        XD_TRY(tell_lost(self, c, started[i],
                         live > 0 && (!c->sets || xd_scheduler_others_have(self, c, started[i]))));
    return n > LOST_TOLD
               ? xd_scheduler_note(self, XD_NOTE_WARNING, "%u more tests were running there", n - LOST_TOLD)
               : 0;
}

/* Nobody else can tell. */
int xd_scheduler_record_lost(scheduler *self, collection *c, const xd_span *item)
{
    xd_autobuf     results = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_RESULT one = {
        .item = item->first, .attempt = item->attempt, .outcome = XD_OUT_LOST, .start_us = xd_clock_wall_us()
    };
    XD_TRY(xd_wire_RESULT_append(&results, &one));
    xd_wire_RESULTS all = { .worker = lost_worker(self, item->first),
                            .results = { .count = 1, .ptr = results.data, .len = results.len } };
    XD_TRY(xd_wire_RESULTS_frame(&frame, 0, 0, &all));
    self->failures++;
    c->failures++;
    ++*xd_scheduler_counter(self->args.result, XD_OUT_LOST);
    xd_scheduler_tell_test(self, c, &one, all.worker);
    return xd_scheduler_record_of(self, self->losing, XD_MSG_RESULTS, &frame);
}
