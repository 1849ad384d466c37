/* actors/scheduler.c - see scheduler.h. The life of a run is the table engine/run_table.h; its actions are here. The
 * decisions about items are those of engine/sched.h, one core for each collection, about collections those of the
 * collector (collector.h); this actor moves frames between them, the gateways and the journal. */
#include "actors/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/report_actor.h"
#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

#define LEAVE_NS (4500 * XD_MS_NS) /* for agents, after the grace */

/* ---- small helpers ------------------------------------------------------------------------------ */

gateway *xd_scheduler_gateway(scheduler *self, uint16_t number)
{
    return number < self->n_gateways ? &self->gateways[number] : NULL;
}

void xd_scheduler_emit(scheduler *self, int type, const char *text, int64_t value, uint64_t count)
{
    if (self->args.event) {
        xd_event ev = { .type = type, .text = text, .value = value, .count = count };
        self->args.event(self->args.event_arg, &ev);
    }
}

int xd_scheduler_note(scheduler *self, uint8_t level, const char *fmt, ...)
{
    char    text[XD_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    xd_autobuf   frame = XD_BUF_INIT;
    xd_wire_NOTE note = { .level = level, .text = xd_bytes_str(text) };
    XD_TRY(xd_wire_NOTE_frame(&frame, 0, 0, &note));
    xd_scheduler_emit(self, XD_EVENT_NOTE, text, XD_MIN(level, XD_NOTE_ERROR),
                      0); /* an embedder knows no more levels */
    return xd_scheduler_record(self, XD_MSG_NOTE, &frame);
}

void xd_scheduler_end_with(scheduler *self, int code, const char *reason)
{
    if (self->forced_exit < 0) {
        self->forced_exit = code;
        snprintf(self->reason, sizeof(self->reason), "%s", reason);
    }
}

bool xd_scheduler_closes(const scheduler *self)
{
    return self->state >= XD_RUN_CLOSING;
}

void xd_scheduler_totals(const scheduler *self, uint32_t *ret_collected, uint32_t *ret_recorded)
{
    *ret_collected = *ret_recorded = 0;
    for (size_t i = 0; i < self->n_collections; i++) {
        const collection *c = &self->collections[i];
        *ret_collected += c->count;
        *ret_recorded += c->sched ? xd_sched_stats_get(c->sched)->recorded : 0;
    }
}

/* ---- phases --------------------------------------------------------------------------------------- */

static uint32_t live_gateways(const scheduler *self)
{
    uint32_t n = 0;
    for (size_t i = 0; i < self->n_gateways; i++)
        n += self->gateways[i].state < GW_DONE;
    return n;
}

static int send_finish(scheduler *self, gateway *g)
{
    if (g->state >= GW_FINISHING)
        return 0;
    const collection *c = g->collection;
    const bool        own = xd_scheduler_each(self) && self->forced_exit < 0;
    xd_autobuf        failed = XD_BUF_INIT, not_run = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_FINISH fin = { .exit_status = own ? xd_scheduler_own_code(self, c) : xd_scheduler_exit_code(self),
                           .shutdown_ms = self->args.config->shutdown_ns / XD_MS_NS,
                           .digest_lo = g->has ? 0 : c->digest_lo, /* else its numbers are those of REORDER */
                           .digest_hi = g->has ? 0 : c->digest_hi };
    struct xd_scheduler_names *anywhere = NULL;
    /* The first environment keeps pytest's cache. */
    int r = g->number == 0 && xd_scheduler_each(self) ? xd_scheduler_failed_anywhere(self, &anywhere) : 0;
    for (uint32_t i = 0; r == 0 && c->sched && i < c->count; i++) {
        xd_wire_INDEX one = { .item = i };
        uint8_t       out = xd_sched_outcome(c->sched, i);
        if (out == XD_OUT_NONE || out == XD_OUT_NOT_RUN) {
            r = xd_wire_INDEX_append(&not_run, &one);
            fin.not_run.count++;
        } else if (xd_scheduler_failed(c, i) || xd_scheduler_failed_there(anywhere, c, i)) {
            r = xd_wire_INDEX_append(&failed, &one);
            fin.failed.count++;
        }
    }
    xd_scheduler_names_free(anywhere);
    XD_TRY(r);
    fin.failed.ptr = failed.data;
    fin.failed.len = failed.len;
    fin.not_run.ptr = not_run.data;
    fin.not_run.len = not_run.len;
    XD_TRY(xd_wire_FINISH_frame(&frame, 0, 0, &fin));
    g->state = GW_FINISHING;
    return xd_scheduler_send(self, g, XD_MSG_FINISH, &frame);
}

static int end_run(scheduler *self)
{
    uint32_t items, recorded;
    xd_scheduler_totals(self, &items, &recorded);
    int      code = xd_scheduler_exit_code(self);
    uint32_t failures = self->failures + self->home_errors;
    if (!self->reason[0] && self->options.maxfail && failures >= self->options.maxfail)
        snprintf(self->reason, sizeof(self->reason), "stopping after %u failures", failures);
    xd_wire_RUN_END end = {
        .exit_status = code,
        .reason = xd_bytes_str(self->reason),
        .wall_us = xd_clock_wall_us(),
        .duration_us = (xd_clock_ns() - self->started_ns) / 1000,
        .collected = items,
        .recorded = recorded,
        .not_run = items - recorded,
    };
    xd_result *res = self->args.result;
    end.passed = res->passed;
    end.failed = res->failed;
    end.skipped = res->skipped;
    end.xfailed = res->xfailed;
    end.xpassed = res->xpassed;
    end.errors = res->errors;
    end.crashed = res->crashed;
    end.counted = 1;
    res->exit_code = code;
    res->collected = items;
    res->recorded = recorded;
    res->not_run = end.not_run;
    res->duration_us = end.duration_us;
    xd_autobuf frame = XD_BUF_INIT;
    XD_TRY(xd_wire_RUN_END_frame(&frame, 0, 0, &end));
    return xd_scheduler_record(self, XD_MSG_RUN_END, &frame);
}

/* Asks it to end. A gateway that was given nothing to do yet is not waited for, because the engine ends its actor. For one
 * that is already gone nothing is left to do. */
static int close_environment(scheduler *self, gateway *g)
{
    if (g->state != GW_DIALING && !(g->gone && g->state < GW_FINISHING))
        return send_finish(self, g);
    g->state = GW_DONE;
    return 0;
}

static int close_environments(scheduler *self)
{
    for (size_t i = 0; i < self->n_gateways; i++)
        XD_TRY(close_environment(self, &self->gateways[i]));
    return live_gateways(self) == 0 ? xd_scheduler_happens(self, XD_RUN_ON_ALL_CLOSED, NULL) : 0;
}

/* What ran there runs again, or is lost. (With several collections its own may have nothing to run.) */
static int lose(scheduler *self, const gateway *g)
{
    if (!g->collection->running)
        return 0;
    XD_TRY(xd_scheduler_lost(self, g));
    return xd_scheduler_drain(self, g->collection);
}

int xd_scheduler_happens(scheduler *self, xd_run_event event, gateway *g)
{
    const xd_run_step step = xd_run_table(self->state, event);
    self->state = step.next;
    switch (step.action) {
    case XD_RUN_NOTHING:
        return 0;
    case XD_RUN_START_ENV:
        return xd_scheduler_start_environment(self, g);
    case XD_RUN_GO_ON:
        return xd_scheduler_look(self);
    case XD_RUN_BEGIN:
        return xd_scheduler_begin(self);
    case XD_RUN_CANCEL:
        return xd_scheduler_cancel(self, self->cancel);
    case XD_RUN_LOSE:
        return lose(self, g);
    case XD_RUN_CLOSE_ENV:
        return close_environment(self, g);
    case XD_RUN_CLOSE:
        return close_environments(self);
    case XD_RUN_END:
        return end_run(self);
    }
    return -EINVAL;
}

int xd_scheduler_wind_down(scheduler *self, uint8_t how)
{
    self->cancel = XD_MAX(self->cancel, how);
    return xd_scheduler_happens(self, XD_RUN_ON_STOP, NULL);
}

int xd_scheduler_stop(scheduler *self, uint8_t how)
{
    if (!xd_scheduler_closes(self))
        self->stopping = true;
    return xd_scheduler_wind_down(self, how);
}

/* ---- stops asked for from outside --------------------------------------------------------------------- */

/* The live line goes before this process stops, and comes back. */
static int pause_report(scheduler *self, bool on)
{
    xd_auto(xd_msg) *m = NULL;
    if (!self->args.live)
        return 0;
    self->pausing += on;
    XD_TRY(xd_msg_new(&m, on ? XD_MSG_PAUSE : XD_MSG_RESUME, NULL, 0));
    return xd_actor_send(self->actor, XD_REPORT_ADDRESS, &m);
}

int xd_scheduler_on_paused(scheduler *self)
{
    if (self->pausing && --self->pausing == 0)
        xd_scheduler_emit(self, XD_EVENT_PAUSED, NULL, 0, 0);
    return 0;
}

/* The user wants to leave. Agents hear of it whatever they are at, and end within LEAVE_NS after the grace. */
static int cancel_all(scheduler *self, uint8_t how)
{
    uint64_t       grace_ns = how == XD_CANCEL_GRACE ? self->args.config->grace_ns : 0;
    uint64_t       grace_ms = XD_MIN(grace_ns / XD_MS_NS, (uint64_t)UINT32_MAX);
    uint64_t       by = xd_clock_ns() + grace_ns + LEAVE_NS;
    xd_autobuf     frame = XD_BUF_INIT;
    xd_wire_CANCEL cancel = { .how = how, .leaving = 1, .grace_ms = (uint32_t)grace_ms };
    XD_TRY(xd_wire_CANCEL_frame(&frame, 0, 0, &cancel));
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].state > GW_DIALING && self->gateways[i].state < GW_DONE)
            XD_TRY(xd_scheduler_send_copy(self, &self->gateways[i], XD_MSG_CANCEL, &frame));
    self->leave_by_ns = self->leave_by_ns ? XD_MIN(self->leave_by_ns, by) : by;
    return xd_actor_set_tick(self->actor, 100);
}

int xd_scheduler_on_stop(scheduler *self, int how)
{
    if (how == XD_STOP_PAUSE || how == XD_STOP_RESUME) {
        self->pausing = how == XD_STOP_PAUSE; /* one for this loop */
        XD_TRY(pause_report(self, how == XD_STOP_PAUSE));
        for (size_t i = 0; i < self->n_gateways; i++) {
            gateway *g = &self->gateways[i];
            if (g->state == GW_DIALING || g->state >= GW_DONE)
                continue;
            xd_autobuf frame = XD_BUF_INIT;
            if (how == XD_STOP_PAUSE)
                XD_TRY(xd_wire_PAUSE_frame(&frame, 0, 0, &(xd_wire_PAUSE){ 0 }));
            else
                XD_TRY(xd_wire_RESUME_frame(&frame, 0, 0, &(xd_wire_RESUME){ 0 }));
            self->pausing += how == XD_STOP_PAUSE;
            XD_TRY(xd_scheduler_send(self, g, how == XD_STOP_PAUSE ? XD_MSG_PAUSE : XD_MSG_RESUME, &frame));
        }
        return xd_scheduler_on_paused(self);
    }
    if (self->state == XD_RUN_ENDED)
        return 0;
    /* An interrupt outranks what the run would have ended with, except a cause that was there before. */
    xd_scheduler_end_with(self, XD_EXIT_INTERRUPTED, "KeyboardInterrupt");
    XD_TRY(cancel_all(self, how == XD_STOP_NOW ? XD_CANCEL_NOW : XD_CANCEL_GRACE));
    return xd_scheduler_stop(self, how == XD_STOP_NOW ? XD_CANCEL_NOW : XD_CANCEL_GRACE);
}

/* The user has waited long enough: RUN_END does not wait for an agent that does not answer. */
int xd_scheduler_on_tick(scheduler *self, uint64_t now_ns)
{
    if (!self->leave_by_ns || now_ns < self->leave_by_ns || self->state == XD_RUN_ENDED)
        return 0;
    self->leave_by_ns = 0;
    self->wait_by_ns = 0;
    XD_TRY(xd_actor_set_tick(self->actor, 0));
    for (size_t i = 0; i < self->n_gateways; i++) {
        gateway *g = &self->gateways[i];
        if (g->state == GW_DONE)
            continue;
        if (xd_scheduler_empty_seat(g)) {
            g->state = GW_DONE;
            continue;
        }
        XD_TRY(xd_scheduler_note(self, XD_NOTE_WARNING, "%s: an agent does not answer and is abandoned",
                                 g->spec_text));
        g->state = GW_DONE;
        if (g->collection->running && !xd_scheduler_closes(self))
            XD_TRY(xd_scheduler_lost(self, g));
    }
    if (!xd_scheduler_closes(self))
        XD_TRY(xd_scheduler_drain_all(self));
    return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
}
