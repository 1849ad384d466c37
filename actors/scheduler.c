/* actors/scheduler.c - see scheduler.h. Life of a run: dial -> collect -> agree -> run -> finish -> end. The
 * decisions about items are those of engine/sched.h, about the collection those of collector.h; this file
 * moves frames between them, the gateways and the journal. */
#include "actors/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "actors/collector.h"
#include "actors/history.h"
#include "actors/report_actor.h"
#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

#define LEAVE_NS (4500 * XD_MS_NS) /* for agents, after the grace */

/* ---- small helpers ------------------------------------------------------------------------------ */

gateway *xd_scheduler_gateway(scheduler *self, uint16_t number)
{
    return number < self->n_gateways ? &self->gateways[number] : NULL;
}

static void emit(scheduler *self, int type, const char *text, int64_t value, uint64_t count)
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
    emit(self, XD_EVENT_NOTE, text, XD_MIN(level, XD_NOTE_ERROR), 0); /* an embedder knows no more levels */
    return xd_scheduler_record(self, XD_MSG_NOTE, &frame);
}

/* The run ends with this code unless a graver cause came first. */
void xd_scheduler_end_with(scheduler *self, int code, const char *reason)
{
    if (self->forced_exit < 0) {
        self->forced_exit = code;
        snprintf(self->reason, sizeof(self->reason), "%s", reason);
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
    xd_autobuf     failed = XD_BUF_INIT, not_run = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_FINISH fin = { .exit_status = xd_scheduler_exit_code(self),
                           .shutdown_ms = self->args.config->shutdown_ns / XD_MS_NS,
                           .digest_lo = self->digest_lo,
                           .digest_hi = self->digest_hi };
    for (uint32_t i = 0; self->sched && i < xd_collector_count(self->collector); i++) {
        xd_wire_INDEX one = { .item = i };
        uint8_t       out = xd_sched_outcome(self->sched, i);
        if (out == XD_OUT_NONE || out == XD_OUT_NOT_RUN) {
            XD_TRY(xd_wire_INDEX_append(&not_run, &one));
            fin.not_run.count++;
        } else if (xd_outcome_fails(out) || self->reported[i].ever) {
            XD_TRY(xd_wire_INDEX_append(&failed, &one));
            fin.failed.count++;
        }
    }
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
    if (self->ended)
        return 0;
    self->ended = true;
    uint32_t items = self->agreed ? xd_collector_count(self->collector) : 0;
    uint32_t recorded = self->sched ? xd_sched_stats_get(self->sched)->recorded : 0;
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

/* Everything is decided: close the environments, and the run once they are closed. */
int xd_scheduler_finish(scheduler *self)
{
    self->finishing = true;
    for (size_t i = 0; i < self->n_gateways; i++) {
        gateway *g = &self->gateways[i];
        if (g->state > GW_DIALING && g->state < GW_FINISHING)
            XD_TRY(send_finish(self, g));
        else if (g->state == GW_DIALING)
            g->state = GW_DONE; /* its session never stood; the engine ends the actor */
    }
    return live_gateways(self) == 0 ? end_run(self) : 0;
}

static int stop_everything(scheduler *self, uint8_t how)
{
    self->stopping = how;
    if (self->sched && self->running) {
        XD_TRY(xd_sched_cancel(self->sched, how));
        return xd_scheduler_drain(self);
    }
    return xd_scheduler_finish(self);
}

/* ---- items: commands of the core -> gateways ---------------------------------------------------- */

static int send_lease(scheduler *self, gateway *g, const xd_sched_command *c)
{
    xd_autobuf ranges = XD_BUF_INIT, frame = XD_BUF_INIT, grant = XD_BUF_INIT;
    XD_TRY(xd_spans_write(&ranges, c->spans, c->n_spans));
    xd_wire_list  list = { .count = (uint32_t)c->n_spans, .ptr = ranges.data, .len = ranges.len };
    xd_wire_GRANT granted = { .gateway = g->number, .ranges = list };
    xd_wire_LEASE lease = { .ranges = list };
    XD_TRY(xd_wire_GRANT_frame(&grant, 0, 0, &granted));
    XD_TRY(xd_scheduler_record(self, XD_MSG_GRANT, &grant)); /* before the lease leaves */
    XD_TRY(xd_wire_LEASE_frame(&frame, 0, 0, &lease));
    return xd_scheduler_send(self, g, XD_MSG_LEASE, &frame);
}

static int send_simple(scheduler *self, gateway *g, const xd_sched_command *c)
{
    xd_autobuf frame = XD_BUF_INIT;
    if (c->kind == XD_SCHED_TAKE_BACK) {
        xd_wire_TAKE_BACK take = { .request = c->request, .count = c->count };
        XD_TRY(xd_wire_TAKE_BACK_frame(&frame, 0, 0, &take));
        return xd_scheduler_send(self, g, XD_MSG_TAKE_BACK, &frame);
    }
    if (c->kind == XD_SCHED_NO_MORE) {
        XD_TRY(xd_wire_NO_MORE_frame(&frame, 0, 0, &(xd_wire_NO_MORE){ .final = c->final }));
        return xd_scheduler_send(self, g, XD_MSG_NO_MORE, &frame);
    }
    if (self->leave_by_ns) /* all have been told, and more than this */
        return 0;
    xd_wire_CANCEL cancel = { .how = c->how, .grace_ms = (uint32_t)(self->args.config->grace_ns / XD_MS_NS) };
    XD_TRY(xd_wire_CANCEL_frame(&frame, 0, 0, &cancel));
    return xd_scheduler_send(self, g, XD_MSG_CANCEL, &frame);
}

int xd_scheduler_drain(scheduler *self)
{
    xd_sched_command c;
    int              r;
    while ((r = xd_sched_next(self->sched, &c)) == 1) {
        gateway *g = xd_scheduler_gateway(self, c.agent);
        switch (c.kind) {
        case XD_SCHED_LEASE:
            XD_TRY(send_lease(self, g, &c));
            break;
        case XD_SCHED_TAKE_BACK:
        case XD_SCHED_NO_MORE:
        case XD_SCHED_CANCEL:
            XD_TRY(send_simple(self, g, &c));
            break;
        case XD_SCHED_OUTCOME:
            XD_TRY(xd_scheduler_record_lost(self, &c.spans[0]));
            break;
        case XD_SCHED_STARVED:
            xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE,
                                  "no worker is left to run the remaining tests");
            XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR, "no worker is left to run the remaining tests"));
            XD_TRY(xd_sched_cancel(self->sched, XD_CANCEL_DRAIN));
            break;
        case XD_SCHED_ALL_DONE:
            XD_TRY(xd_scheduler_finish(self));
            break;
        }
    }
    return r;
}

/* ---- collection ---------------------------------------------------------------------------------- */

static int sched_items(scheduler *self, xd_sched_mode mode, xd_sched_item *out)
{
    const xd_collected_item *items = xd_collector_items(self->collector);
    for (uint32_t i = 0; i < xd_collector_count(self->collector); i++) {
        xd_bytes                unit = xd_sched_unit_key(items[i].id);
        xd_bytes                group = xd_sched_group_key(mode, items[i].id, items[i].group);
        const xd_history_entry *known = self->history ? xd_history_find(self->history, items[i].id) : NULL;
        uint64_t                us = known ? XD_MAX(known->duration_us, 1) : 0;
        out[i] = (xd_sched_item){ .unit = XXH3_64bits(unit.ptr, unit.len),
                                  .group = group.len ? XXH3_64bits(group.ptr, group.len) | 1 : 0,
                                  .expected_us = (uint32_t)XD_MIN(us, UINT32_MAX) };
    }
    return 0;
}

/* Failures of tests that --maxfail still allows: errors of the collection count, too (those that alone are too
 * many have ended it). */
static uint32_t failures_left(const scheduler *self)
{
    uint32_t most = self->options.maxfail;
    return most ? most - XD_MIN(self->home_errors, most - 1) : 0;
}

static int start_workers(scheduler *self, gateway *g)
{
    xd_autobuf       frame = XD_BUF_INIT;
    const xd_config *cfg = self->args.config;
    int budget = cfg->max_worker_restart >= 0 ? cfg->max_worker_restart : self->options.max_worker_restart;
    xd_wire_WORKERS_START start = {
        .first = g->first_worker,
        .count = (uint16_t)g->workers,
        .total = (uint16_t)self->total_workers,
        .maxfail = failures_left(self),
        .max_restarts = (uint16_t)(budget >= 0 ? budget : XD_MIN(4 * (int)g->workers, 65535)),
    };
    XD_TRY(xd_wire_WORKERS_START_frame(&frame, 0, 0, &start));
    g->state = GW_RUNNING;
    return xd_scheduler_send(self, g, XD_MSG_WORKERS_START, &frame);
}

/* Numbers the workers: gateways in order of the plan; sizes that were left open follow processors and
 * items. */
static void number_workers(scheduler *self)
{
    uint32_t next = 0, items = xd_collector_count(self->collector);
    for (size_t i = 0; i < self->n_gateways; i++) {
        gateway *g = &self->gateways[i];
        if (g->state == GW_DONE)
            continue; /* lost: the others have its numbers */
        if (g->workers == 0) {
            const xd_config *cfg = self->args.config;
            int              wanted = cfg->workers != XD_WORKERS_UNSET ? cfg->workers : self->options.workers;
            int              limit = cfg->max_workers ? cfg->max_workers : self->options.max_workers;
            if (wanted < 0 && self->options.auto_workers)
                wanted = self->options.auto_workers;
            g->workers = self->mode_no ? 1 : xd_plan_workers(wanted, g->cpus, (uint32_t)limit, items);
        }
        g->first_worker = (uint16_t)next;
        next += g->workers;
    }
    self->total_workers = next;
}

static int publish_collection(scheduler *self)
{
    xd_autobuf         frame = XD_BUF_INIT;
    xd_wire_COLLECTION all = {
        .count = xd_collector_count(self->collector),
        .deselected = self->deselected,
        .workers = self->total_workers,
        .digest_lo = self->digest_lo,
        .digest_hi = self->digest_hi,
        .expected_us = xd_sched_stats_get(self->sched)->expected_us,
    };
    XD_TRY(xd_wire_COLLECTION_frame(&frame, 0, 0, &all));
    emit(self, XD_EVENT_STARTED, self->args.run_id, self->total_workers, all.count);
    return xd_scheduler_record(self, XD_MSG_COLLECTION, &frame);
}

static int collection_complete(scheduler *self)
{
    self->agreed = true;
    uint32_t count = xd_collector_count(self->collector);
    self->reported = calloc(count ? count : 1, sizeof(*self->reported));
    xd_autofree xd_sched_item *items = calloc(count ? count : 1, sizeof(*items));
    if (self->args.want_tests)
        self->messages = calloc(count ? count : 1, sizeof(*self->messages));
    if (!items || !self->reported || (self->args.want_tests && !self->messages))
        return -ENOMEM;
    const char   *dist = self->args.config->dist ? self->args.config->dist : self->options.dist;
    xd_sched_mode mode = XD_SCHED_LOAD;
    if (dist[0] && xd_sched_mode_parse(&mode, dist) < 0) {
        xd_scheduler_end_with(self, XD_EXIT_USAGE, "");
        XD_TRY(xd_scheduler_note(self, XD_NOTE_USAGE,
                                 "--dist=%s from pytest's ini or PYTEST_ADDOPTS is not a known mode", dist));
        return xd_scheduler_finish(self);
    }
    self->mode_no = mode == XD_SCHED_NO && dist[0] && self->args.config->workers == XD_WORKERS_UNSET;
    number_workers(self);
    xd_sched_options opts = { .mode = mode,
                              .maxfail = failures_left(self),
                              .max_attempts = 2,
                              .agents_expected = (uint32_t)self->n_gateways,
                              .workers_expected = self->total_workers,
                              .keep_scope_order = self->options.keep_scope_order,
                              .in_order = self->options.in_order || self->total_workers == 1 };
    XD_TRY(xd_sched_new(&self->sched, &opts));
    XD_TRY(sched_items(self, mode, items));
    XD_TRY(xd_sched_collection(self->sched, items, count));
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].state == GW_DONE &&
            xd_sched_agent_lost(self->sched, (uint16_t)i, NULL, 0, true) < 0)
            return -ENOMEM;
    self->history = xd_history_free(self->history);
    XD_TRY(publish_collection(self));
    if (count == 0 || self->stopping || self->finishing)
        return xd_scheduler_finish(self);
    self->running = true;
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].state == GW_AGREED)
            XD_TRY(xd_scheduler_join(self, &self->gateways[i]));
    return xd_scheduler_drain(self);
}

/* This gateway's environment has the agreed collection and the run goes: its workers start and get items. */
int xd_scheduler_join(scheduler *self, gateway *g)
{
    if (g->state != GW_AGREED)
        return 0;
    XD_TRY(start_workers(self, g));
    return xd_sched_agent_up(self->sched, g->number, g->workers);
}

/* An error of the collection in every report, named by the environment that differs. */
static int different(scheduler *self, const gateway *g)
{
    xd_autobuf  frame = XD_BUF_INIT, said = XD_BUF_INIT;
    const char *name = g->spec_text,
               *first_name = self->owner >= 0 ? self->gateways[self->owner].spec_text : "";
    XD_TRY(xd_collector_describe(self->collector, g->number, first_name, name, &said));
    xd_bytes       text = xd_buf_view(&said);
    xd_wire_REPORT r = { .item = XD_NO_INDEX,
                         .worker = XD_NO_WORKER,
                         .nodeid = xd_bytes_str(name),
                         .when = XD_BYTES_LIT("collect"),
                         .category = XD_BYTES_LIT("error"),
                         .letter = XD_BYTES_LIT("E"),
                         .word = XD_BYTES_LIT("ERROR"),
                         .outcome = XD_BYTES_LIT("failed"),
                         .text = text,
                         .line = -1 };
    const void    *end = memchr(text.ptr, '\n', text.len);
    int            first = end ? (int)((const uint8_t *)end - text.ptr) : (int)text.len;
    xd_scheduler_end_with(self, XD_EXIT_FAILED, XD_REASON_DIFFERENT);
    XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR, "%.*s", first, (const char *)text.ptr));
    XD_TRY(xd_wire_REPORT_frame(&frame, 0, 0, &r));
    XD_TRY(xd_scheduler_record(self, XD_MSG_REPORT, &frame));
    return stop_everything(self, XD_CANCEL_DRAIN);
}

static int ask_list(scheduler *self, gateway *g)
{
    xd_autobuf frame = XD_BUF_INIT;
    XD_TRY(xd_wire_SEND_LIST_frame(&frame, 0, 0, &(xd_wire_SEND_LIST){ 0 }));
    return xd_scheduler_send(self, g, XD_MSG_SEND_LIST, &frame);
}

/* The same tests in another order: its agent puts its list in order, before it is given any. */
static int reorder(scheduler *self, gateway *g, const xd_buf *places)
{
    if (self->finishing || g->state != GW_COLLECTED)
        return 0; /* nothing is left for it to run */
    xd_autobuf      frame = XD_BUF_INIT;
    xd_wire_REORDER m = {
        .places = { .count = xd_collector_count(self->collector), .ptr = places->data, .len = places->len }
    };
    XD_TRY(xd_wire_REORDER_frame(&frame, 0, 0, &m));
    XD_TRY(xd_scheduler_send(self, g, XD_MSG_REORDER, &frame));
    g->state = GW_AGREED;
    if (!self->running)
        return 0;
    XD_TRY(xd_scheduler_join(self, g));
    return xd_scheduler_drain(self);
}

/* Compares the lists that have come. The run begins once all lists are compared that are known to differ somehow by
 * then: no test runs where other tests were collected. */
static int settle(scheduler *self)
{
    uint16_t number;
    int      verdict;
    for (;;) {
        xd_autobuf places = XD_BUF_INIT;
        verdict = xd_collector_next(self->collector, &number, &places);
        XD_TRY(verdict);
        if (verdict == XD_COLLECTOR_WAIT)
            break;
        gateway *g = &self->gateways[number];
        if (verdict == XD_COLLECTOR_DIFFERENT)
            return different(self, g);
        XD_TRY(reorder(self, g, &places));
    }
    return self->list_whole && !self->agreed && !xd_collector_unsettled(self->collector)
               ? collection_complete(self)
               : 0;
}

/* Its list is the collection. */
static void take_owner(scheduler *self, gateway *g)
{
    self->owner = g->number;
    self->options.in_order = g->in_order;
    self->deselected = g->deselected;
    self->digest_lo = g->digest_lo;
    self->digest_hi = g->digest_hi;
    g->state = GW_AGREED;
}

int xd_scheduler_without(scheduler *self, gateway *g)
{
    uint16_t heir = XD_GATEWAY_NONE; /* as reporters choose it: xd_runview */
    self->missing = true;
    for (size_t i = self->n_gateways; i-- > 0;)
        if (self->gateways[i].state == GW_AGREED)
            heir = (uint16_t)i;
    const bool its_own = self->owner == g->number && !self->list_whole;
    int        verdict = xd_collector_lost(self->collector, g->number, heir);
    XD_TRY(verdict);
    if (verdict == XD_COLLECTOR_DIFFERENT) {
        xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, "");
        return xd_scheduler_finish(self);
    }
    if (its_own)
        self->owner = -1;
    if (verdict == XD_COLLECTOR_SEND_LIST) {
        take_owner(self, &self->gateways[heir]);
        XD_TRY(ask_list(self, &self->gateways[heir]));
    }
    return settle(self);
}

int xd_scheduler_on_collected(scheduler *self, gateway *g, const xd_wire_COLLECTED *in)
{
    g->zero = in->exit_status == XD_EXIT_OK;
    g->digest_lo = in->digest_lo;
    g->digest_hi = in->digest_hi;
    g->deselected = in->deselected;
    g->in_order = in->in_order != 0;
    if (self->finishing && (self->forced_exit >= 0 || self->stopping))
        return 0; /* it was on its way when the run ended: an option was refused, another environment failed */
    self->collect_errors += in->errors;
    self->home_errors = XD_MAX(self->home_errors, in->errors);
    if (in->exit_status >= 0) {
        const char *misplaced =
            in->exit_status == XD_EXIT_USAGE ? xd_config_misplaced(self->args.config) : NULL;
        if (misplaced)
            XD_TRY(xd_scheduler_note(self, XD_NOTE_USAGE,
                                     "--%s is an option of xd: put it before pytest's arguments", misplaced));
        char *reason = xd_bytes_dup(in->stop_reason);
        self->zero_asked |=
            in->exit_status == XD_EXIT_OK; /* --collect-only and the like; the adapter has looked */
        xd_scheduler_end_with(self, in->exit_status, reason ? reason : "");
        free(reason);
        self->deselected = in->deselected;
        return xd_scheduler_finish(self);
    }
    int verdict = xd_collector_collected(self->collector, g->number, in);
    XD_TRY(verdict);
    if (verdict == XD_COLLECTOR_WAIT)
        return settle(self);
    if (self->finishing) /* the others have run all there is: whether this one agrees must not hang on its speed */
        return verdict == XD_COLLECTOR_SEND_LIST ? ask_list(self, g) : 0;
    g->state = GW_COLLECTED;
    if (verdict == XD_COLLECTOR_SEND_LIST && !self->agreed && self->owner < 0) {
        take_owner(self, g);
        return ask_list(self, g);
    }
    if (verdict == XD_COLLECTOR_SEND_LIST)
        return ask_list(self, g);
    g->state = GW_AGREED;
    if (verdict == XD_COLLECTOR_COMPLETE) {
        self->deselected = in->deselected;
        return collection_complete(self);
    }
    if (!self->running)
        return 0;
    XD_TRY(xd_scheduler_join(self, g));
    return xd_scheduler_drain(self);
}

int xd_scheduler_on_ids(scheduler *self, gateway *g, const xd_wire_COLLECT_IDS *in)
{
    int verdict = xd_collector_ids(self->collector, g->number, in);
    XD_TRY(verdict);
    self->list_whole |= verdict == XD_COLLECTOR_COMPLETE;
    return settle(self);
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
        emit(self, XD_EVENT_PAUSED, NULL, 0, 0);
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
    if (self->ended)
        return 0;
    /* An interrupt outranks what the run would have ended with, except a cause that was there before. */
    xd_scheduler_end_with(self, XD_EXIT_INTERRUPTED, "KeyboardInterrupt");
    XD_TRY(cancel_all(self, how == XD_STOP_NOW ? XD_CANCEL_NOW : XD_CANCEL_GRACE));
    if (self->finishing)
        return 0;
    return stop_everything(self, how == XD_STOP_NOW ? XD_CANCEL_NOW : XD_CANCEL_GRACE);
}

/* The user has waited long enough: RUN_END does not wait for an agent that does not answer. */
int xd_scheduler_on_tick(scheduler *self, uint64_t now_ns)
{
    if (!self->leave_by_ns || now_ns < self->leave_by_ns || self->ended)
        return 0;
    self->leave_by_ns = 0;
    XD_TRY(xd_actor_set_tick(self->actor, 0));
    for (size_t i = 0; i < self->n_gateways; i++) {
        gateway *g = &self->gateways[i];
        if (g->state == GW_DONE)
            continue;
        XD_TRY(xd_scheduler_note(self, XD_NOTE_WARNING, "%s: an agent does not answer and is abandoned",
                                 g->spec_text));
        g->state = GW_DONE;
        if (self->running && !self->finishing)
            XD_TRY(xd_scheduler_lost(self, g));
    }
    if (self->running && !self->finishing)
        XD_TRY(xd_scheduler_drain(self));
    return xd_scheduler_finish(self);
}
