/* actors/sync_tool.c - xd_sync_run of engine/xd.h: brings files to other hosts, without a run.
 * It opens gateways on a broker of its own, without a journal, and a syncer. In the place of the scheduler stands an actor that counts destinations, and ends when all are over. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/apart.h"
#include "actors/gateway_args.h"
#include "actors/limits.h"
#include "actors/scheduler.h"
#include "actors/sync_request.h"
#include "actors/sync_start.h"
#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/outcome.h"
#include "engine/sized.h"

#define TOOL_MAGIC 0x57007001u

typedef struct target {
    const char  *given;  /* the job's */
    bool         over;   /* for this part of the sources */
    bool         failed; /* and gets no other */
    xd_sync_host before; /* of the parts that it has */
} target;

typedef struct tool {
    xd_config          *cfg;
    xd_folders          where;
    xd_plan             plan;
    target             *targets; /* one per gateway of the plan */
    size_t              count;
    xd_sync_job         job;
    size_t              part;  /* of the sources, that is brought now: one after the other */
    xd_sync_glob       *globs; /* texts are the job's */
    size_t              n_globs;
    xd_sync_where      *to;
    xd_sync_start      *start;
    xd_sync_calls       calls;
    unsigned            flags;
    const volatile int *stop;
    bool                stopped;
    pthread_mutex_t     lock; /* one call of the user's at a time */
} tool;

/* ---- what is asked for --------------------------------------------------------------------------------------- */

static int take_globs(tool *t)
{
    t->globs = calloc(t->job.globs.count + 1, sizeof(*t->globs));
    if (!t->globs)
        return -ENOMEM;
    for (; t->n_globs < t->job.globs.count; t->n_globs++)
        t->globs[t->n_globs] = (xd_sync_glob){ .glob = t->job.globs.at[t->n_globs] };
    return 0;
}

/* A gateway for each place, which takes its spec. */
static int take_places(tool *t, xd_error *err)
{
    const size_t n = t->job.n_places;
    if (n > UINT16_MAX / 2)
        return xd_error_set(err, -EINVAL, "%zu destinations are too many", n);
    t->targets = calloc(n, sizeof(*t->targets));
    t->plan.gateways = calloc(n, sizeof(*t->plan.gateways));
    t->to = calloc(n, sizeof(*t->to));
    if (!t->targets || !t->plan.gateways || !t->to)
        return -ENOMEM;
    const uint32_t flags = (t->flags & XD_SYNC_REMOVE ? XD_SYNC_FLAG_DELETE : 0u) |
                           (t->flags & XD_SYNC_DRY ? XD_SYNC_FLAG_DRY_RUN : 0u) |
                           (t->flags & (XD_SYNC_TELL | XD_SYNC_DRY) ? XD_SYNC_FLAG_TELL : 0u);
    for (; t->count < n; t->count++) {
        xd_sync_place *p = &t->job.places[t->count];
        t->targets[t->count] = (target){ .given = p->text };
        t->to[t->count] = (xd_sync_where){ .wanted = true, .folder = p->path, .flags = flags };
        t->plan.gateways[t->plan.count++].spec = p->spec;
        p->spec = (xd_xspec){ 0 };
    }
    return 0;
}

/* ---- calls ---------------------------------------------------------------------------------------------------- */

static void add_up(xd_sync_host *to, const xd_sync_host *h)
{
    to->files += h->files;
    to->bytes += h->bytes;
    to->wanted_files += h->wanted_files;
    to->wanted_bytes += h->wanted_bytes;
    to->sent_files += h->sent_files;
    to->sent_bytes += h->sent_bytes;
    to->wire_bytes += h->wire_bytes;
    to->wire_back_bytes += h->wire_back_bytes;
    to->written += h->written;
    to->removed += h->removed;
    to->reused += h->reused;
    to->reused_bytes += h->reused_bytes;
    to->round_trips += h->round_trips;
    to->duration_us += h->duration_us;
    to->scanned_files += h->scanned_files;
    to->scanned_folders += h->scanned_folders;
    to->ignored += h->ignored;
    to->hashed_files += h->hashed_files;
    to->hashed_bytes += h->hashed_bytes;
    to->scan_us += h->scan_us;
    to->unreadable += h->unreadable;
}

static void fill_part(tool *t, uint16_t number, const xd_sync_counts *c, const char *error, xd_sync_host *ret)
{
    const xd_scan_result *scan = NULL;
    *ret = (xd_sync_host){ .size = sizeof(*ret),
                           .destination = t->targets[number].given,
                           .error = error,
                           .files = c->files,
                           .bytes = c->bytes,
                           .wanted_files = c->wanted_files,
                           .wanted_bytes = c->wanted_bytes,
                           .sent_files = c->sent_files,
                           .sent_bytes = c->sent_bytes,
                           .wire_bytes = c->wire_bytes,
                           .wire_back_bytes = c->wire_back_bytes,
                           .written = c->written,
                           .removed = c->removed,
                           .reused = c->reused,
                           .reused_bytes = c->reused_bytes,
                           .round_trips = c->round_trips,
                           .duration_us = c->duration_ns / 1000 };
    if (!c->files || xd_source_scanned(xd_sync_start_source(t->start), &scan, NULL) < 0)
        return;
    ret->scanned_files = scan->stats.files;
    ret->scanned_folders = scan->stats.folders;
    ret->ignored = scan->stats.ignored;
    ret->hashed_files = scan->stats.hashed;
    ret->hashed_bytes = scan->stats.hashed_bytes;
    ret->scan_us = scan->stats.walk_ns / 1000;
    for (size_t i = 0; i < scan->unreadable.len; i++)
        ret->unreadable += scan->unreadable.data[i] == 0;
}

/* All parts so far. */
static void fill(tool *t, uint16_t number, const xd_sync_counts *c, const char *error, xd_sync_host *ret)
{
    fill_part(t, number, c, error, ret);
    add_up(ret, &t->targets[number].before);
}

static void on_progress(void *arg, uint16_t number, const xd_sync_counts *so_far)
{
    tool        *t = arg;
    xd_sync_host h;
    if (!t->calls.progress)
        return;
    fill(t, number, so_far, NULL, &h);
    pthread_mutex_lock(&t->lock);
    t->calls.progress(t->calls.arg, &h);
    pthread_mutex_unlock(&t->lock);
}

static void on_change(void *arg, uint16_t number, uint8_t type, uint8_t was, xd_bytes path)
{
    tool *t = arg;
    (void)was;
    if (!t->calls.change)
        return;
    pthread_mutex_lock(&t->lock);
    t->calls.change(t->calls.arg, t->targets[number].given, type == XD_SYNC_GONE, (const char *)path.ptr,
                    path.len);
    pthread_mutex_unlock(&t->lock);
}

static void say(tool *t, int level, const char *line)
{
    if (!t->calls.note)
        return;
    pthread_mutex_lock(&t->lock);
    t->calls.note(t->calls.arg, level, line);
    pthread_mutex_unlock(&t->lock);
}

static void end(tool *t, uint16_t number, const xd_synced *s)
{
    xd_sync_host h;
    if (t->targets[number].over)
        return;
    t->targets[number].over = true;
    t->targets[number].failed = s->result != 0;
    fill(t, number, &s->counts, s->result ? (*s->text ? s->text : "no reason is given") : NULL, &h);
    t->targets[number].before = h;
    if (!t->calls.done || (s->result == 0 && t->part + 1 < t->job.n_parts))
        return;
    pthread_mutex_lock(&t->lock);
    t->calls.done(t->calls.arg, &h);
    pthread_mutex_unlock(&t->lock);
}

static void fail(tool *t, uint16_t number, xd_bytes why)
{
    xd_synced  s = { .result = -EREMOTEIO };
    xd_autobuf text = XD_BUF_INIT;
    if (xd_text_harmless(&text, xd_reason_without_spec(t->plan.gateways[number].spec.text, why), false) == 0)
        snprintf(s.text, sizeof(s.text), "%s", xd_buf_cstr(&text));
    end(t, number, &s);
}

/* ---- the actor --------------------------------------------------------------------------------------------------- */

typedef struct waiter {
    uint32_t  magic;
    xd_actor *actor;
    tool     *all;
} waiter;

static int over(const waiter *self)
{
    for (size_t i = 0; i < self->all->count; i++)
        if (!self->all->targets[i].over)
            return 0;
    return XD_ACTOR_STOP;
}

static int handle_synced(void *state, const xd_msg *m)
{
    waiter   *self = XD_CAST(state, waiter, TOOL_MAGIC);
    xd_synced s;
    if (m->gateway < self->all->count && m->body.len == sizeof(s)) {
        memcpy(&s, m->body.ptr, sizeof(s));
        end(self->all, m->gateway, &s);
    }
    return over(self);
}

static int handle_note(void *state, const xd_msg *m)
{
    waiter    *self = XD_CAST(state, waiter, TOOL_MAGIC);
    xd_autobuf line = XD_BUF_INIT;
    if (m->body.len > 1 && xd_buf_add(&line, m->body.ptr + 1, m->body.len - 1) == 0)
        say(self->all, m->body.ptr[0], xd_buf_cstr(&line));
    return 0;
}

/* Of a gateway. */
static int handle_wire_note(void *state, const xd_msg *m)
{
    waiter      *self = XD_CAST(state, waiter, TOOL_MAGIC);
    xd_frame     f;
    xd_wire_NOTE in;
    xd_autobuf   line = XD_BUF_INIT;
    if (xd_msg_frame(m, &f) == 0 && xd_wire_NOTE_decode(f.body, f.len, &in) == 0 &&
        xd_buf_add_bytes(&line, in.text) == 0)
        say(self->all, in.level, xd_buf_cstr(&line));
    return 0;
}

static int handle_down(void *state, const xd_msg *m)
{
    waiter              *self = XD_CAST(state, waiter, TOOL_MAGIC);
    xd_frame             f;
    xd_wire_GATEWAY_DOWN in;
    if (m->gateway < self->all->count && xd_msg_frame(m, &f) == 0 &&
        xd_wire_GATEWAY_DOWN_decode(f.body, f.len, &in) == 0)
        fail(self->all, m->gateway, in.reason);
    return over(self);
}

static int handle_gone(void *state, const xd_msg *m)
{
    waiter *self = XD_CAST(state, waiter, TOOL_MAGIC);
    for (size_t i = 0; i < self->all->count; i++) {
        char address[XD_ADDRESS_LEN];
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        if (strcmp(address, m->from) == 0 || strcmp(m->from, XD_SYNCER_ADDRESS) == 0)
            fail(self->all, (uint16_t)i, XD_BYTES_LIT("a part of the engine has ended"));
    }
    return over(self);
}

static int handle_nothing(void *state, const xd_msg *m)
{
    (void)state;
    (void)m;
    return 0;
}

static int waiter_tick(void *state)
{
    waiter *self = XD_CAST(state, waiter, TOOL_MAGIC);
    tool   *t = self->all;
    if (!t->stop || !*t->stop)
        return over(self);
    t->stopped = true;
    xd_sync_start_stop(t->start);
    return XD_ACTOR_STOP;
}

static int waiter_init(void *state, xd_actor *actor, const void *args)
{
    waiter *self = state;
    *self = (waiter){ .magic = TOOL_MAGIC, .actor = actor, .all = *(tool *const *)args };
    return xd_actor_set_tick(actor, 50);
}

static void waiter_fini(void *state)
{
    (void)state;
}

static const xd_actor_spec waiter_spec = {
    .name = "xd-waiter",
    .size = sizeof(waiter),
    .window = 65536,
    .init = waiter_init,
    .tick = waiter_tick,
    .fini = waiter_fini,
    .handlers =
        (const xd_handler[]){
            { XD_MSG_SYNCED, handle_synced },
            { XD_MSG_SYNC_NOTE, handle_note },
            { XD_MSG_NOTE, handle_wire_note },
            { XD_MSG_GATEWAY_DOWN, handle_down },
            { XD_MSG_GONE, handle_gone },
            { XD_MSG_UNKNOWN, handle_gone },
            { 0, NULL },
        },
    .other = handle_nothing,
};

/* ---- around it ----------------------------------------------------------------------------------------------------- */

static int start_all(void *arg, xd_supervisor *s, xd_bus *bus, xd_gateway_args *gateways, xd_error *err)
{
    tool *const t = arg, *const args = t;
    const xd_child first = { .spec = &waiter_spec, .address = XD_SCHEDULER_ADDRESS, .args = &args };
    XD_TRY(xd_supervisor_start(s, &first, err));
    XD_TRY(xd_sync_start_actor(t->start, s, bus, XD_SCHEDULER_ADDRESS, NULL, on_progress, on_change, t, err));
    for (size_t i = 0; i < t->count; i++) {
        char address[XD_ADDRESS_LEN];
        if (t->targets[i].failed)
            continue;
        XD_TRY(xd_gateway_args_make(&gateways[i], t->cfg, &t->plan.gateways[i].spec, (uint16_t)i, &t->where,
                                    err));
        gateways[i].syncer = XD_SYNCER_ADDRESS;
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        const xd_child gateway = { .spec = &xd_gateway_spec, .address = address, .args = &gateways[i] };
        XD_TRY(xd_supervisor_start(s, &gateway, err));
    }
    return 0;
}

static void stop_scan(void *arg)
{
    xd_sync_start_stop(((tool *)arg)->start);
}

/* Is there one that has failed, or has not? */
static bool any(const tool *t, bool failed)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->targets[i].failed == failed)
            return true;
    return false;
}

/* Sources of one folder, to all that have what came before. */
static int bring_part(tool *t, xd_error *err)
{
    const xd_sync_part *part = &t->job.parts[t->part];
    const xd_sync_what  what = { .base = part->base,
                                 .roots = (const char *const *)part->roots.at,
                                 .globs = t->globs,
                                 .n_globs = t->n_globs,
                                 .apart = true };
    const xd_apart      all = { .count = t->count, .start = start_all, .stop = stop_scan, .arg = t };
    if (!any(t, false))
        return 0;
    for (size_t i = 0; i < t->count; i++) {
        t->targets[i].over = t->targets[i].failed;
        t->to[i].wanted = !t->targets[i].failed;
    }
    XD_TRY(xd_sync_start_new(&t->start, &what, &t->plan, t->to, &t->where, err));
    return xd_apart_run(&all, err);
}

static int work(tool *t, xd_error *err)
{
    for (; t->part < t->job.n_parts && !t->stopped; t->part++) {
        t->start = xd_sync_start_free(t->start);
        XD_TRY(bring_part(t, err));
    }
    return 0;
}

static int prepare(tool *t, const xd_config *cfg, const char *const *sources, const char *const *destinations,
                   const char *const *ignore, xd_error *err)
{
    XD_TRY(xd_config_copy(&t->cfg, cfg));
    XD_TRY(xd_folders_init(&t->where, t->cfg, err));
    XD_TRY(xd_folders_apply(&t->where, t->cfg));
    XD_TRY(xd_sync_job_make(&t->job, sources, destinations, ignore, &t->where, err));
    XD_TRY(take_globs(t));
    XD_TRY(take_places(t, err));
    return xd_limits_check((uint32_t)t->count, false, err);
}

static void release(tool *t)
{
    t->start = xd_sync_start_free(t->start);
    free(t->targets);
    free(t->to);
    free(t->globs);
    xd_sync_job_release(&t->job);
    xd_plan_release(&t->plan);
    xd_folders_release(&t->where);
    xd_config_free(t->cfg);
    pthread_mutex_destroy(&t->lock);
}

int xd_sync_run(const xd_config *cfg, const char *const *sources, const char *const *destinations,
                const char *const *ignore, unsigned flags, const xd_sync_calls *calls,
                const volatile int *stop, char *err)
{
    xd_error e = { 0 };
    tool     t = { .plan = XD_PLAN_INIT, .flags = flags, .stop = stop, .lock = PTHREAD_MUTEX_INITIALIZER };
    if (calls)
        memcpy(&t.calls, calls, XD_MIN(calls->size, sizeof(t.calls)));
    int r = prepare(&t, cfg, sources, destinations, ignore, &e);
    if (r == 0)
        r = work(&t, &e);
    const bool stopped = t.stopped, failed = any(&t, true);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%.1000s", e.text[0] ? e.text : xd_error_name(r));
    if (r != -ETIMEDOUT)
        release(&t);
    return r < 0 ? r : stopped ? 2 : failed ? 1 : 0;
}
