/* scheduler_collection.c - from what the collector says of the environments' collections (collector.h) to the start of
 * their tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "actors/refuse.h"
#include "actors/scheduler_state.h"

#define SHOWN_DIFFERENCES 10u

int xd_scheduler_collections_init(scheduler *self)
{
    const bool each = xd_scheduler_each(self);
    self->n_collections = each ? self->n_gateways : 1;
    self->collections = calloc(self->n_collections, sizeof(*self->collections));
    if (!self->collections)
        return -ENOMEM;
    for (size_t i = 0; i < self->n_collections; i++)
        self->collections[i] = (collection){ .number = (uint16_t)i, .code = -1 };
    for (size_t i = 0; i < self->n_gateways; i++)
        self->gateways[i].collection = &self->collections[each ? i : 0];
    return 0;
}

void xd_scheduler_collections_release(scheduler *self)
{
    for (size_t i = 0; self->collections && i < self->n_collections; i++) {
        collection *c = &self->collections[i];
        for (uint32_t k = 0; c->messages && k < c->count; k++)
            free(c->messages[k]);
        free(c->messages);
        free(c->reported);
        free(c->sets);
        xd_sched_free(c->sched);
    }
    free(self->collections);
}

/* ---- the tests can begin --------------------------------------------------------------------------- */

void xd_scheduler_items(const scheduler *self, const collection *c, uint32_t first, xd_sched_item *out)
{
    const xd_grammar *grammar = xd_grammar_find(self->args.config->runner);
    const uint64_t    environment =
        xd_scheduler_each(self) ? xd_history_environment(xd_bytes_str(self->gateways[c->number].spec_text))
                                   : 0;
    for (uint32_t i = first; i < c->count; i++) {
        const xd_idlist_item *item = &c->list->items[i];
        xd_bytes              unit = { item->id.ptr, grammar->unit(item->id) };
        xd_bytes              group = xd_sched_group_key(grammar, self->options.mode, item->id, item->group);
        const xd_history_entry *known =
            self->history ? xd_history_find(self->history, environment, item->id) : NULL;
        uint64_t us = known ? XD_MAX(known->duration_us, 1) : 0;
        out[i - first] = (xd_sched_item){ .unit = XXH3_64bits(unit.ptr, unit.len),
                                          .group = group.len ? XXH3_64bits(group.ptr, group.len) | 1 : 0,
                                          .expected_us = (uint32_t)XD_MIN(us, UINT32_MAX),
                                          .set = c->sets ? c->sets[i] : 0 };
    }
}

/* Failures of tests that --maxfail still allows: errors of the collection count, too (those that alone are too
 * many have ended it). */
static uint32_t failures_left(const scheduler *self)
{
    uint32_t most = self->options.maxfail;
    return most ? most - XD_MIN(self->home_errors, most - 1) : 0;
}

/* Of a run that others may join no more than there are numbers for (WORKERS_START.stride): 14 per worker, the last ones below XD_NO_WORKER. */
static uint16_t restarts(const scheduler *self, const gateway *g)
{
    const uint16_t most = xd_settings_restarts(&self->options, g->workers);
    const uint32_t rounds = UINT16_MAX / XD_JOIN_STRIDE - 1;
    return xd_scheduler_listens(self) ? (uint16_t)XD_MIN(most, rounds * g->workers) : most;
}

static int start_workers(scheduler *self, gateway *g)
{
    xd_autobuf            frame = XD_BUF_INIT;
    xd_wire_WORKERS_START start = {
        .first = g->first_worker,
        .count = (uint16_t)g->workers,
        .total = (uint16_t)self->total_workers,
        .maxfail = failures_left(self),
        .max_restarts = restarts(self, g),
        .stride = xd_scheduler_listens(self) ? XD_JOIN_STRIDE : 0,
    };
    XD_TRY(xd_wire_WORKERS_START_frame(&frame, 0, 0, &start));
    g->state = GW_RUNNING;
    return xd_scheduler_send(self, g, XD_MSG_WORKERS_START, &frame);
}

/* This gateway's environment has the tests of its collection, and they run: its workers start and get items. */
static int join(scheduler *self, gateway *g)
{
    int r = g->numbered ? 0 : xd_scheduler_number_late(self, g);
    XD_TRY(r);
    if (r == 1) /* it is asked to end */
        return xd_scheduler_happens(self, XD_RUN_ON_ENV_LEAVES, g);
    r = xd_scheduler_tell_sets(g);
    XD_TRY(r);
    if (r == 1)
        return xd_scheduler_drop(
            self, g, XD_BYTES_LIT("it lacks tests that all others have; the run goes on without it"));
    self->wait_by_ns = 0;
    XD_TRY(start_workers(self, g));
    return xd_sched_agent_up(g->collection->sched, g->number, g->workers);
}

/* Of one whose size was left open. */
static int count_workers(scheduler *self, gateway *g)
{
    const xd_numprocesses_host host = { .cpus = g->cpus, .items = g->collection->count, .room = g->room };
    uint32_t                   without;
    g->workers = xd_numprocesses_counted(&self->options.workers, &host, &without);
    if (g->workers == without)
        return 0;
    return xd_scheduler_note(
        self, XD_NOTE_WARNING,
        "%s has %u worker%s, not %u: there is no memory for more; -n N starts as many as you say",
        g->spec_text, g->workers, g->workers == 1 ? "" : "s", without);
}

/* Numbers the workers: gateways in order of the plan; sizes that were left open follow processors and
 * items. */
static int number_workers(scheduler *self)
{
    uint32_t next = 0;
    for (size_t i = 0; i < self->n_gateways; i++) {
        gateway *g = &self->gateways[i];
        if (g->state == GW_DONE || g->failed || g->over || g->seat)
            continue; /* lost: the others have its numbers */
        if (g->workers == 0)
            XD_TRY(count_workers(self, g));
        g->first_worker = (uint16_t)next;
        g->numbered = true;
        next += g->workers;
    }
    self->total_workers = self->next_worker = next;
    for (size_t i = 0; i < self->n_gateways; i++) { /* those that are ready; others come late */
        gateway *g = &self->gateways[i];
        if (g->came && !g->failed && !g->leaving && (g->configured || g->state >= GW_COLLECTED) &&
            g->state < GW_FINISHING)
            XD_TRY(xd_scheduler_number_late(self, g));
    }
    return 0;
}

int xd_scheduler_number_late(scheduler *self, gateway *g)
{
    const uint32_t left = XD_JOIN_STRIDE - XD_MIN(self->next_worker, XD_JOIN_STRIDE);
    if (left == 0) {
        XD_TRY(xd_scheduler_note(self, XD_NOTE_WARNING, "%s gets nothing to do: a run has at most %u workers",
                                 g->spec_text, XD_JOIN_STRIDE));
        return 1;
    }
    g->workers = XD_MIN(XD_MAX(g->workers, 1u), left);
    g->first_worker = (uint16_t)self->next_worker;
    g->numbered = true;
    self->next_worker += g->workers;
    self->total_workers = self->next_worker;
    return 0;
}

/* The names of the plan, which go with those workers that there are; the journal has them before anything that names a worker. */
static int name_workers(scheduler *self)
{
    xd_autobuf           all = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_WORKER_NAMES m = { 0 };
    for (size_t i = 0; i < self->n_gateways; i++) {
        const gateway         *g = &self->gateways[i];
        const xd_plan_gateway *plan = &self->args.plan->gateways[i];
        if (g->state == GW_DONE || g->failed || !g->numbered)
            continue;
        for (uint32_t k = 0; k < plan->n_ids && k < g->workers; k++) {
            if (!plan->ids[k])
                continue;
            xd_wire_NAMED one = { .worker = (uint16_t)(g->first_worker + k),
                                  .name = xd_bytes_str(plan->ids[k]) };
            XD_TRY(xd_names_set(&self->names, one.worker, one.name));
            XD_TRY(xd_wire_NAMED_append(&all, &one));
            m.workers.count++;
        }
    }
    if (!m.workers.count)
        return 0;
    m.workers.ptr = all.data;
    m.workers.len = all.len;
    XD_TRY(xd_wire_WORKER_NAMES_frame(&frame, 0, 0, &m));
    return xd_scheduler_record(self, XD_MSG_WORKER_NAMES, &frame);
}

static uint32_t workers_of(const scheduler *self, const collection *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].collection == c && self->gateways[i].state != GW_DONE &&
            !self->gateways[i].failed && self->gateways[i].numbered)
            n += self->gateways[i].workers;
    return n;
}

static int publish(scheduler *self, const collection *c)
{
    xd_autobuf         frame = XD_BUF_INIT;
    xd_wire_COLLECTION all = {
        .count = c->count,
        .deselected = c->owner->deselected,
        .workers = workers_of(self, c),
        .digest_lo = c->digest_lo,
        .digest_hi = c->digest_hi,
        .expected_us = xd_sched_stats_get(c->sched)->expected_us,
        .collection = c->number,
        .owner = c->owner->number,
    };
    XD_TRY(xd_wire_COLLECTION_frame(&frame, 0, 0, &all));
    return xd_scheduler_record(self, XD_MSG_COLLECTION, &frame);
}

/* Those of the plan, and who has joined. */
static uint32_t agents_expected(const scheduler *self)
{
    uint32_t n = 0;
    for (size_t i = 0; i < self->n_gateways; i++)
        n += !self->gateways[i].seat || self->gateways[i].numbered;
    return n;
}

/* The core of a collection knows its tests, and which of its agents will never come. */
static int make_core(scheduler *self, collection *c)
{
    const size_t room = c->count ? c->count : 1;
    c->reported = calloc(room, sizeof(*c->reported));
    xd_autofree xd_sched_item *items = calloc(room, sizeof(*items));
    if (self->args.want_tests)
        c->messages = calloc(room, sizeof(*c->messages));
    if (!items || !c->reported || (self->args.want_tests && !c->messages))
        return -ENOMEM;
    const uint32_t   workers = workers_of(self, c);
    const bool       listens = xd_scheduler_listens(self);
    xd_sched_options opts = { .mode = self->options.mode,
                              .maxfail = failures_left(self),
                              .max_attempts = xd_scheduler_attempts(self),
                              .agents_expected = xd_scheduler_each(self) ? 1 : agents_expected(self),
                              .more_come = listens,
                              .workers_expected = workers,
                              .keep_scope_order = self->options.keep_scope_order,
                              .in_order = c->owner->in_order || (workers == 1 && !listens) };
    XD_TRY(xd_sched_new(&c->sched, &opts));
    XD_TRY(xd_scheduler_make_sets(self, c));
    xd_scheduler_items(self, c, 0, items);
    XD_TRY(xd_sched_collection(c->sched, items, c->count));
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].collection == c &&
            (self->gateways[i].state == GW_DONE || self->gateways[i].over) &&
            !xd_scheduler_empty_seat(&self->gateways[i]) &&
            xd_sched_agent_lost(c->sched, (uint16_t)i, NULL, 0, true) < 0)
            return -ENOMEM;
    return 0;
}

/* As the collector says it of lists that differ (xd_collect_describe): this environment has no test at all. */
static int tell_empty(scheduler *self, gateway *g)
{
    const collection *c = g->collection;
    xd_autobuf        text = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(
        &text, "Different tests were collected between %s (%u tests) and %s (0 tests). The difference is:",
        c->owner->spec_text, c->count, g->spec_text));
    for (uint32_t i = 0; i < XD_MIN(c->count, SHOWN_DIFFERENCES); i++)
        XD_TRY(xd_buf_printf(&text, "\n- %.*s", (int)c->list->items[i].id.len,
                             (const char *)c->list->items[i].id.ptr));
    if (c->count > SHOWN_DIFFERENCES)
        XD_TRY(xd_buf_printf(&text, "\n(and %u more)", c->count - SHOWN_DIFFERENCES));
    return xd_scheduler_on_different(self, g, xd_buf_view(&text));
}

static int tell_all_empty(scheduler *self)
{
    for (size_t i = 0; i < self->n_gateways && !xd_scheduler_each(self); i++)
        XD_TRY(self->gateways[i].over ? tell_empty(self, &self->gateways[i]) : 0);
    return 0;
}

/* The lists have come: cores are made of them, and the journal has the collection. */
static int lists_came(scheduler *self)
{
    uint32_t count = 0;
    XD_TRY(number_workers(self));
    XD_TRY(name_workers(self));
    for (size_t i = 0; i < self->n_collections; i++) {
        collection *c = &self->collections[i];
        if (!c->list)
            continue; /* its environment was lost */
        XD_TRY(make_core(self, c));
        XD_TRY(publish(self, c));
        count += c->count;
    }
    self->history = xd_history_free(self->history);
    XD_TRY(tell_all_empty(self));
    xd_scheduler_emit(self, XD_EVENT_STARTED, self->args.run_id, self->total_workers, count);
    return xd_scheduler_happens(self, count ? XD_RUN_ON_TESTS : XD_RUN_ON_NO_TESTS, NULL);
}

int xd_scheduler_begin(scheduler *self)
{
    for (size_t i = 0; i < self->n_collections; i++) {
        self->collections[i].running = self->collections[i].count > 0;
        self->collections[i].done = self->collections[i].count == 0;
    }
    if (xd_scheduler_enough(self)) /* errors of collections alone are what --maxfail allows */
        return xd_scheduler_wind_down(self, XD_CANCEL_DRAIN);
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].state == GW_AGREED && self->gateways[i].collection->running &&
            !self->gateways[i].leaving)
            XD_TRY(join(self, &self->gateways[i]));
    return xd_scheduler_drain_all(self);
}

/* The numbers of the workers, and how many there are, depend on all environments that there are. */
int xd_scheduler_begin_if_all(scheduler *self)
{
    bool any = false, over = false;
    for (size_t i = 0; i < self->n_gateways; i++) {
        const gateway *g = &self->gateways[i];
        any = any || g->collection->list;
        over = over || g->over;
        if (g->collection->sched || (g->state < GW_DONE && !g->failed && !g->over && !g->collection->list))
            return 0;
    }
    if (!any && over && !xd_scheduler_each(self))
        xd_scheduler_end_with(self, XD_EXIT_NO_TESTS, "");
    if (!any && over)
        return xd_scheduler_happens(self, XD_RUN_ON_NO_TESTS, NULL);
    return any ? lists_came(self) : 0;
}

/* ---- what the collector says ------------------------------------------------------------------------ */

static int turn_away(scheduler *self, gateway *g, const xd_wire_COLLECTED *in)
{
    char why[300];
    snprintf(why, sizeof(why), "its collection ended with exit code %d%s%.*s; the run goes on without it",
             (int)in->exit_status, in->stop_reason.len ? ": " : "",
             (int)XD_MIN(in->stop_reason.len, (size_t)200), (const char *)in->stop_reason.ptr);
    return xd_scheduler_drop(self, g, xd_bytes_str(why));
}

/* It has no tests, and others may have some: it ends alone. */
static int ends_empty(scheduler *self, gateway *g)
{
    collection *c = g->collection;
    if (g->state >= GW_FINISHING || xd_scheduler_closes(self))
        return 0;
    g->over = true;
    XD_TRY(xd_scheduler_happens(self, XD_RUN_ON_ENV_LEAVES, g));
    if (!c->sched)
        return xd_scheduler_look(self);
    XD_TRY(xd_sched_agent_lost(c->sched, g->number, NULL, 0, true)); /* nobody waits for it any more */
    XD_TRY(tell_empty(self, g));
    XD_TRY(xd_scheduler_drain(self, c));
    return xd_scheduler_release(self, c);
}

/* Its session has ended, and there is nothing to run. */
static int session_ended(scheduler *self, gateway *g, const xd_wire_COLLECTED *in)
{
    const char *misplaced = in->exit_status == XD_EXIT_USAGE && !self->told_misplaced
                                ? xd_config_misplaced(self->args.config)
                                : NULL;
    if (misplaced) {
        char line[XD_TEXT];
        xd_refuse_misplaced(misplaced, line, sizeof(line));
        self->told_misplaced = true;
        XD_TRY(xd_scheduler_note(self, XD_NOTE_USAGE, "%s", line));
    }
    if (in->exit_status == XD_EXIT_USAGE && self->n_gateways > 1) /* pytest's words name no environment */
        XD_TRY(xd_scheduler_note(
            self, XD_NOTE_USAGE, "it is the pytest of %s that says so%s", g->spec_text,
            self->told_whose ? "" : ": if another's does not, it may have a plugin that is missing there"));
    self->told_whose |= in->exit_status == XD_EXIT_USAGE;
    self->zero_asked |=
        in->exit_status == XD_EXIT_OK; /* --collect-only and the like; the adapter has looked */
    if (xd_scheduler_each(self))
        return xd_scheduler_end_own(self, g, in->exit_status);
    if (in->exit_status == XD_EXIT_NO_TESTS && self->n_gateways > 1 && !xd_scheduler_listens(self))
        return ends_empty(self, g);
    xd_autofree char *reason = xd_bytes_dup(in->stop_reason);
    xd_scheduler_end_with(self, in->exit_status, reason ? reason : "");
    return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
}

int xd_scheduler_on_collected(scheduler *self, gateway *g, const xd_wire_COLLECTED *in)
{
    if (xd_scheduler_is_late(self, g) && in->exit_status >= 0)
        return xd_scheduler_closes(self) ? 0 : turn_away(self, g, in);
    g->zero = in->exit_status == XD_EXIT_OK;
    g->digest_lo = in->digest_lo;
    g->digest_hi = in->digest_hi;
    g->count = in->count;
    g->deselected = in->deselected;
    g->in_order = in->in_order != 0;
    g->room = in->room;
    if (xd_scheduler_closes(self) && (self->forced_exit >= 0 || self->stopping))
        return 0; /* it was on its way when the run ended: an option was refused, another environment failed */
    self->collect_errors += in->errors;
    g->collection->collect_errors += in->errors;
    self->home_errors =
        xd_scheduler_each(self) ? self->home_errors + in->errors : XD_MAX(self->home_errors, in->errors);
    if (in->exit_status >= 0)
        return session_ended(self, g, in);
    if (g->state == GW_COLLECTING)
        g->state = GW_COLLECTED;
    return 0;
}

int xd_scheduler_on_ids(scheduler *self, gateway *g, const xd_wire_COLLECT_IDS *in)
{
    (void)self;
    return xd_idlist_add(&g->list, in->ids);
}

/* It can be given items, unless others have run all there is meanwhile: whether it agrees must not hang on its speed. */
static int can_run(scheduler *self, gateway *g)
{
    collection *c = g->collection;
    g->state = GW_AGREED;
    g->known = true;
    if (!c->digest_lo && !c->digest_hi) { /* the first */
        c->digest_lo = g->digest_lo;
        c->digest_hi = g->digest_hi;
    }
    if (!c->running)
        return 0;
    if (g->differs)
        XD_TRY(xd_scheduler_grow(self, c));
    else if (c->held)
        return xd_scheduler_release(self, c); /* nothing is left for it */
    XD_TRY(join(self, g));
    return xd_scheduler_drain(self, c);
}

int xd_scheduler_on_agreed(scheduler *self, gateway *g)
{
    return xd_scheduler_closes(self) || g->state != GW_COLLECTED ? 0 : can_run(self, g);
}

/* The same tests in another order: its agent puts its list in order, before it is given any. */
int xd_scheduler_on_reorder(scheduler *self, gateway *g, const xd_msg *in)
{
    xd_auto(xd_msg) *m = NULL;
    if (xd_scheduler_closes(self) || g->state != GW_COLLECTED)
        return 0; /* nothing is left for it to run */
    XD_TRY(xd_scheduler_take_places(g, in));
    XD_TRY(xd_msg_share(&m, in));
    XD_TRY(xd_actor_send(self->actor, g->address, &m));
    return can_run(self, g);
}

int xd_scheduler_on_whole(scheduler *self, gateway *owner, uint16_t number)
{
    if (number >= self->n_collections || self->collections[number].list)
        return -EINVAL;
    if (xd_scheduler_closes(self))
        return 0; /* a command line that was refused has collected nothing: it is no run */
    collection *c = &self->collections[number];
    if (owner->list.count != owner->count) { /* its agent was dropped before all of it had come */
        xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, "the list of collected tests is incomplete");
        return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
    }
    c->owner = owner;
    c->list = &owner->list;
    c->count = owner->count;
    return xd_scheduler_look(self);
}

/* An error of the collection in every report, named by the environment that differs. */
static int report_different(scheduler *self, const gateway *g, xd_bytes text)
{
    xd_autobuf     frame = XD_BUF_INIT;
    xd_wire_REPORT r = { .item = XD_NO_INDEX,
                         .worker = XD_NO_WORKER,
                         .nodeid = xd_bytes_str(g->spec_text),
                         .when = XD_BYTES_LIT("collect"),
                         .category = XD_BYTES_LIT("error"),
                         .letter = XD_BYTES_LIT("E"),
                         .word = XD_BYTES_LIT("ERROR"),
                         .outcome = XD_BYTES_LIT("failed"),
                         .text = text,
                         .line = -1 };
    XD_TRY(xd_wire_REPORT_frame(&frame, 0, 0, &r));
    return xd_scheduler_record(self, XD_MSG_REPORT, &frame);
}

/* The first line, without the words that lead to the names below it: a line by itself has none. */
static xd_bytes first_sentence(xd_bytes text)
{
    static const char leads[] = " The difference is:";
    const size_t      n = sizeof(leads) - 1;
    const uint8_t    *end = memchr(text.ptr, '\n', text.len);
    const size_t      len = end ? (size_t)(end - text.ptr) : text.len;
    const bool        has = len > n && memcmp(text.ptr + len - n, leads, n) == 0;
    return (xd_bytes){ text.ptr, has ? len - n : len };
}

int xd_scheduler_on_different(scheduler *self, gateway *g, xd_bytes text)
{
    if (xd_scheduler_closes(self) && (self->forced_exit >= 0 || self->stopping))
        return 0; /* the run has ended without it */
    if (!text.len) {
        xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, "");
        return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
    }
    const xd_bytes first = first_sentence(text);
    if (xd_scheduler_is_late(self, g)) {
        if (xd_scheduler_closes(self))
            return 0;
        return xd_scheduler_drop(self, g, first);
    }
    g->differs = self->differs = true;
    XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR, "%.*s", (int)first.len, (const char *)first.ptr));
    XD_TRY(xd_scheduler_likely_cause(self, g, text));
    if (!self->reason[0])
        snprintf(self->reason, sizeof(self->reason), "%s", XD_REASON_DIFFERENT);
    return report_different(self, g, text);
}
