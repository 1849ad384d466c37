/* actors/scheduler_results.c - see scheduler.h: results, and the reports before them. */
#include <string.h>

#include "actors/scheduler_state.h"
#include "engine/base/text.h"

#define MESSAGE_MOST 1000u /* bytes */

uint32_t *xd_scheduler_counter(xd_result *r, uint8_t outcome)
{
    switch (outcome) {
    case XD_OUT_PASSED:
        return &r->passed;
    case XD_OUT_SKIPPED:
        return &r->skipped;
    case XD_OUT_XFAILED:
        return &r->xfailed;
    case XD_OUT_XPASSED:
        return &r->xpassed;
    case XD_OUT_ERROR:
        return &r->errors;
    case XD_OUT_CRASHED:
        return &r->crashed;
    default:
        return &r->failed;
    }
}

/* Failures that were reported of this attempt since its last RESULT. */
static uint32_t reported(item_reported *f, const xd_wire_RESULT *r)
{
    uint32_t n = f->attempt == r->attempt ? f->failed : 0;
    f->ever = f->ever || n;
    f->failed = 0;
    return n;
}

/* What its fixtures' teardown came to, after the item had its outcome. */
static int close_item(scheduler *self, gateway *g, const xd_wire_RESULT *one)
{
    collection *c = g->collection;
    uint32_t    failures = reported(&c->reported[one->item], one);
    uint8_t     before = xd_sched_outcome(c->sched, one->item);
    int         r = xd_sched_closed(c->sched, g->number, one->item, one->attempt, one->outcome, failures);
    if (r)
        return XD_MIN(r, 0);
    self->failures += failures;
    c->failures += failures;
    --*xd_scheduler_counter(self->args.result, before);
    ++*xd_scheduler_counter(self->args.result, one->outcome);
    return 0;
}

/* Only after a worker or an agent was lost. */
static int tell_again(scheduler *self, const collection *c, uint16_t worker, uint32_t item)
{
    xd_bytes id = c->list->items[item].id;
    return xd_scheduler_note(self, XD_NOTE_DETAIL,
                             "%s sets its fixtures up again: it was given %.*s after its last teardown, "
                             "because a worker was lost",
                             xd_names_of(&self->names, worker).text, (int)XD_MIN(id.len, (size_t)200),
                             (const char *)id.ptr);
}

/* ---- XD_EVENT_TEST -------------------------------------------------------------------------------------- */

/* The first line, as valid UTF-8, for whoever gets XD_EVENT_TEST. */
static int keep_message(const collection *c, const xd_pathmap *map, const xd_wire_REPORT *in)
{
    xd_autobuf line = XD_BUF_INIT, room = XD_BUF_INIT;
    xd_bytes   whole;
    XD_TRY(xd_pathmap_text(map, in->message, XD_PATHMAP_ALL, &room, &whole));
    xd_bytes       text = { whole.ptr, XD_MIN(whole.len, MESSAGE_MOST) };
    const uint8_t *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
    if (end)
        text.len = (size_t)(end - text.ptr);
    else if (text.len < whole.len) /* a letter is not cut in two */
        while (text.len && (text.ptr[text.len] & 0xc0) == 0x80)
            text.len--;
    if (!text.len)
        return 0;
    XD_TRY(xd_text_to_utf8(&line, text));
    char *copy = xd_bytes_dup(xd_buf_view(&line));
    if (!copy)
        return -ENOMEM;
    free(c->messages[in->item]);
    c->messages[in->item] = copy;
    return 0;
}

void xd_scheduler_tell_test(scheduler *self, collection *c, const xd_wire_RESULT *one, uint16_t worker)
{
    if (!c->messages || !self->args.event)
        return;
    char         *message = c->messages[one->item];
    const xd_name name = xd_names_of(&self->names, worker);
    const bool    its_own = message && c->reported[one->item].attempt == one->attempt;
    xd_event      ev = { .type = XD_EVENT_TEST,
                         .value = one->outcome,
                         .count = one->item,
                         .text = (const char *)c->list->items[one->item].id.ptr,
                         .duration_us = (uint64_t)one->setup_us + one->call_us + one->teardown_us,
                         .message = its_own                       ? message
                                    : one->outcome == XD_OUT_LOST ? "its agent was lost"
                                                                  : NULL,
                         .worker = worker,
                         .attempt = one->attempt,
                         .collection = c->number,
                         .worker_name = worker == XD_NO_WORKER ? NULL : name.text };
    c->messages[one->item] = NULL;
    self->args.event(self->args.event_arg, &ev);
    free(message);
}

/* ---- frames --------------------------------------------------------------------------------------------- */

static int take_result(scheduler *self, gateway *g, const xd_wire_RESULT *one, uint16_t worker)
{
    collection *c = g->collection;
    uint32_t    failures =
        one->flags & XD_RES_REPORTS ? reported(&c->reported[one->item], one) : xd_outcome_fails(one->outcome);
    int r = xd_sched_result(c->sched, g->number, one->item, one->attempt, one->outcome, failures);
    if (r) /* > 0: a duplicate or an outlived attempt */
        return XD_MIN(r, 0);
    self->failures += failures;
    c->failures += failures;
    ++*xd_scheduler_counter(self->args.result, one->outcome);
    if (one->flags & XD_RES_OPEN)
        XD_TRY(xd_sched_opened(c->sched, g->number, one->item));
    xd_scheduler_tell_test(self, c, one, worker);
    return one->flags & XD_RES_AGAIN ? tell_again(self, c, worker, one->item) : 0;
}

int xd_scheduler_on_results(scheduler *self, gateway *g, const xd_wire_RESULTS *in)
{
    xd_wire_list   list = in->results;
    xd_wire_RESULT one;
    collection    *c = g->collection;
    if (!c->running)
        return -EPROTO;
    while (xd_wire_RESULT_next(&list, &one) == 1) {
        if (one.item >= c->count)
            continue;
        XD_TRY(one.flags & XD_RES_CLOSES ? close_item(self, g, &one)
                                         : take_result(self, g, &one, in->worker));
    }
    XD_TRY(xd_scheduler_drain(self, c));
    XD_TRY(xd_scheduler_let_leave(self, g));
    return xd_scheduler_enough(self) ? xd_scheduler_wind_down(self, XD_CANCEL_DRAIN) : 0;
}

/* The reports of an item come before its result. */
int xd_scheduler_on_report(scheduler *self, gateway *g, const xd_wire_REPORT *in)
{
    const collection *c = g->collection;
    if (!c->reported || in->item >= c->count)
        return 0;
    item_reported *f = &c->reported[in->item];
    const bool     failed = xd_bytes_eq_str(in->outcome, "failed") && !(in->flags & XD_REP_WASXFAIL);
    if (in->attempt > f->attempt && (failed || c->messages)) {
        *f = (item_reported){ .attempt = in->attempt };
        if (c->messages) {
            free(c->messages[in->item]);
            c->messages[in->item] = NULL;
        }
    }
    if (in->attempt != f->attempt)
        return 0;
    /* The first failure, else what was told first. After the outcome (XD_REP_CLOSES) nobody would get it. */
    if (c->messages && !(in->flags & XD_REP_CLOSES) && (failed ? f->failed == 0 : !c->messages[in->item]))
        XD_TRY(keep_message(c, xd_report_paths_of(&self->paths, g->number), in));
    if (failed && f->failed < UINT8_MAX)
        f->failed++;
    return 0;
}
