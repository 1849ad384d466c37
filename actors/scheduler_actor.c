/* actors/scheduler_actor.c - the scheduler's actor: frames in, frames out, gateways that come and go, life. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/collector.h"
#include "actors/exit_code.h"
#include "actors/report_actor.h"
#include "actors/scheduler_state.h"
#include "actors/syncer.h"
#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "gateways/gateway.h"

/* ---- frames out ------------------------------------------------------------------------------------ */

int xd_scheduler_record(scheduler *self, uint16_t type, xd_buf *frame)
{
    return xd_scheduler_record_of(self, 0, type, frame);
}

int xd_scheduler_record_of(scheduler *self, uint16_t number, uint16_t type, xd_buf *frame)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new_take(&m, type, frame));
    m->flags = XD_FLAG_JOURNAL;
    m->gateway = number;
    return xd_actor_send(self->actor, "", &m);
}

int xd_scheduler_send(scheduler *self, gateway *g, uint16_t type, xd_buf *frame)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new_take(&m, type, frame));
    m->gateway = g->number;
    return xd_actor_send(self->actor, g->address, &m);
}

int xd_scheduler_send_copy(scheduler *self, gateway *g, uint16_t type, const xd_buf *frame)
{
    xd_autobuf copy = XD_BUF_INIT;
    XD_TRY(xd_buf_add(&copy, frame->data, frame->len));
    return xd_scheduler_send(self, g, type, &copy);
}

/* ---- exit code ---------------------------------------------------------------------------------------- */

/* An agent is believed that its session ended with 0 before all was run, as far as its own items go: those of other
 * environments are left out only if these say so, too. */
static bool zero_asked(const scheduler *self)
{
    bool all = self->zero_asked;
    for (size_t i = 0; i < self->n_gateways && self->n_gateways > 1; i++)
        all = all && (self->gateways[i].zero || xd_scheduler_empty_seat(&self->gateways[i]));
    return all;
}

int xd_scheduler_exit_code(const scheduler *self)
{
    const xd_settings *o = &self->options;
    uint32_t           collected, recorded;
    bool               agreed = false;
    if (xd_scheduler_each(self) && self->forced_exit < 0)
        return xd_scheduler_worst_code(self);
    xd_scheduler_totals(self, &collected, &recorded);
    for (size_t i = 0; i < self->n_collections; i++)
        agreed = agreed || self->collections[i].list;
    xd_exit_facts facts = { .forced = self->forced_exit,
                            .zero_asked = zero_asked(self),
                            .missing = self->missing || xd_scheduler_too_few(self),
                            .agreed = agreed,
                            .collected = collected,
                            .recorded = recorded,
                            .failures = self->failures,
                            .collect_errors = self->collect_errors + self->differs,
                            .bad_end = self->bad_end,
                            .too_many_warnings =
                                o->max_warnings >= 0 && self->warnings > (uint32_t)o->max_warnings };
    return xd_exit_code(&facts);
}

/* ---- a gateway comes ----------------------------------------------------------------------------------- */

static int add_texts(xd_buf *out, const xd_strings *texts, uint32_t *count)
{
    for (size_t i = 0; i < texts->count; i++) {
        xd_wire_TEXT t = { .text = xd_bytes_str(texts->at[i]) };
        XD_TRY(xd_wire_TEXT_append(out, &t));
        ++*count;
    }
    return 0;
}

static int add_names(xd_buf *out, const xd_plan_gateway *plan, xd_wire_list *ret)
{
    for (size_t i = 0; i < plan->n_ids; i++) {
        xd_wire_TEXT t = { .text = xd_bytes_str(plan->ids[i] ? plan->ids[i] : "") };
        XD_TRY(xd_wire_TEXT_append(out, &t));
    }
    *ret = (xd_wire_list){ .count = (uint32_t)plan->n_ids, .ptr = out->data, .len = out->len };
    return 0;
}

static uint32_t env_flags(const scheduler *self, const gateway *g)
{
    const xd_config *cfg = self->args.config;
    bool plain = xd_numprocesses_plain(&self->options.workers, self->n_gateways, self->gateways[0].workers);
    return (cfg->as_module ? XD_ENV_AS_MODULE : 0u) | (cfg->no_fork ? XD_ENV_NO_FORK : 0u) |
           (g->number == 0 ? XD_ENV_KEEPS_CACHE : 0u) | (self->args.tty ? XD_ENV_TTY : 0u) |
           (plain ? XD_ENV_PLAIN : 0u) | (self->args.live ? XD_ENV_PROGRESS : 0u) |
           (cfg->workers != XD_WORKERS_UNSET || cfg->dist || cfg->tx.count ? XD_ENV_OWN_WORKERS : 0u);
}

/* Nothing in it is of this host: its agent looks around where it is (tools/xdagent/place.c). */
int xd_scheduler_start_environment(scheduler *self, gateway *g)
{
    const xd_xspec *spec = &self->args.plan->gateways[g->number].spec;
    const bool      synced = self->args.plan->gateways[g->number].synced;
    xd_autobuf      env = XD_BUF_INIT, args = XD_BUF_INIT, names = XD_BUF_INIT, frame = XD_BUF_INIT,
               paths = XD_BUF_INIT;
    xd_wire_ENV_START start = { .run_uid = xd_bytes_str(self->uid),
                                .first_worker = 0,
                                .workers_expected = (uint16_t)g->workers,
                                .flags = env_flags(self, g) };
    XD_TRY(xd_env_start_fill(&start, self->args.config, spec, self->project, &env));
    XD_TRY(add_names(&names, &self->args.plan->gateways[g->number], &start.names));
    if (synced) {
        start.synced = xd_bytes_str(self->args.sync->cwd);
        start.project = start.chdir = (xd_bytes){ 0 };
        XD_TRY(add_texts(&paths, &self->args.sync->python_path, &start.paths.count));
        start.paths.ptr = paths.data;
        start.paths.len = paths.len;
    }
    XD_TRY(add_texts(&args, synced ? self->args.sync_args : &self->args.config->args, &start.args.count));
    start.args.ptr = args.data;
    start.args.len = args.len;
    XD_TRY(xd_wire_ENV_START_frame(&frame, 0, 0, &start));
    g->state = GW_COLLECTING;
    XD_TRY(xd_scheduler_send(self, g, XD_MSG_ENV_START, &frame));
    if (!xd_plan_asks_ahead(self->args.plan))
        return 0;
    xd_buf_clear(&frame);
    XD_TRY(xd_wire_SEND_LIST_frame(&frame, 0, 0, &(xd_wire_SEND_LIST){ 0 }));
    return xd_scheduler_send(self, g, XD_MSG_SEND_LIST, &frame);
}

static int on_gateway_up(scheduler *self, gateway *g, const xd_wire_GATEWAY_UP *in)
{
    g->up = true;
    g->cpus = in->cpus ? in->cpus : 1;
    if (g->leaving)
        return xd_scheduler_see_off(self, g);
    return g->lacks ? xd_scheduler_look(self) : xd_scheduler_happens(self, XD_RUN_ON_ENV_UP, g);
}

/* It counts as dialled when the files are there. */
static int on_synced(scheduler *self, gateway *g, const xd_msg *m)
{
    xd_synced in;
    if (!g->lacks || g->leaving || g->state != GW_DIALING || m->body.len != sizeof(in))
        return 0;
    memcpy(&in, m->body.ptr, sizeof(in));
    g->lacks = false;
    if (in.result == 0)
        return g->up ? xd_scheduler_happens(self, XD_RUN_ON_ENV_UP, g) : 0;
    xd_autobuf         frame = XD_BUF_INIT;
    xd_wire_ENV_FAILED failed = { .exit_status = XD_EXIT_INFRASTRUCTURE, .text = xd_bytes_str(in.text) };
    XD_TRY(xd_wire_ENV_FAILED_frame(&frame, 0, 0, &failed));
    XD_TRY(xd_scheduler_record_of(self, g->number, XD_MSG_ENV_FAILED, &frame));
    return xd_scheduler_on_env_failed(self, g, &failed);
}

static int on_sync_note(scheduler *self, const xd_msg *m)
{
    if (m->body.len < 2)
        return 0;
    return xd_scheduler_note(self, m->body.ptr[0], "%.*s", (int)m->body.len - 1,
                             (const char *)m->body.ptr + 1);
}

static bool others_live(const scheduler *self)
{
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].state < GW_DONE && !xd_scheduler_empty_seat(&self->gateways[i]))
            return true;
    return false;
}

/* As soon as it is heard of, so that what a loss means depends on what this agent has done, and not on how far the others
 * are: the run may end while GATEWAY_DOWN is on its way through the collector. */
static int tell_loss(scheduler *self, gateway *g, const xd_wire_GATEWAY_DOWN *in)
{
    const bool     closing = g->state == GW_FINISHING;
    const xd_bytes why = xd_reason_without_spec(g->spec_text, in->reason);
    if (in->expected || g->gone || g->state >= GW_DONE || (closing && self->stopping))
        return 0;
    if (!g->came || g->numbered ||
        self->state == XD_RUN_COLLECTING) { /* else it came late, and had nothing to do */
        self->missing |= in->broke != 0;
        g->never_ran |= !g->ran;
    }
    if (!closing || !g->ran)
        return xd_scheduler_note(self, XD_NOTE_ERROR, "lost %s: %.*s", g->spec_text, (int)why.len,
                                 (const char *)why.ptr);
    self->bad_end |= !in->broke;
    return xd_scheduler_note(self, XD_NOTE_WARNING,
                             "lost %s while its sessions ended; what they do last may be missing: %.*s",
                             g->spec_text, (int)why.len, (const char *)why.ptr);
}

static int on_gateway_down(scheduler *self, gateway *g, const xd_wire_GATEWAY_DOWN *in)
{
    bool wanted = in->expected || (g->state >= GW_DONE && !g->gone) || g->state == GW_FINISHING;
    g->state = GW_DONE;
    if ((g->leaving || g->over) && self->state == XD_RUN_COLLECTING)
        return xd_scheduler_look(self); /* others begin without it */
    const bool last = !others_live(self);
    if (last && xd_run_tests(self->state)) {
        int r = xd_scheduler_wait_for_others(self);
        XD_TRY(r);
    }
    if (wanted)
        return xd_scheduler_happens(self, XD_RUN_ON_ENV_CLOSED, g);
    if (last && self->state == XD_RUN_COLLECTING && xd_scheduler_hopes(self))
        return xd_scheduler_happens(self, XD_RUN_ON_ENV_LOST, g);
    if ((last && self->state == XD_RUN_COLLECTING) || self->n_gateways == 1)
        xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, "");
    XD_TRY(xd_scheduler_happens(self, last ? XD_RUN_ON_LAST_LOST : XD_RUN_ON_ENV_LOST, g));
    return xd_run_tests(self->state) ? xd_scheduler_release(self, g->collection) : 0;
}

/* Of a gateway whose tests have not begun, by way of the collector: what it collected is heard before. */
static int on_down(scheduler *self, gateway *g, const xd_msg *m, const xd_wire_GATEWAY_DOWN *in)
{
    xd_auto(xd_msg) *copy = NULL;
    if (strcmp(m->from, XD_COLLECTOR_ADDRESS) == 0)
        return on_gateway_down(self, g, in);
    XD_TRY(tell_loss(self, g, in));
    if (g->state >= GW_RUNNING && !(g->leaving && self->state == XD_RUN_COLLECTING))
        return on_gateway_down(self, g, in);
    XD_TRY(xd_msg_share(&copy, m));
    g->gone = true;
    return xd_actor_send(self->actor, XD_COLLECTOR_ADDRESS, &copy);
}

/* ---- what agents say ------------------------------------------------------------------------------------ */

/* As reporters count them: what configuration and collection warn of, every environment says again. */
static int on_warning(scheduler *self, const gateway *g, const xd_wire_WARNING *in)
{
    self->warnings +=
        xd_bytes_eq_str(in->when, "runtest") || g->number == self->home || xd_scheduler_each(self);
    return 0;
}

static int on_facts(scheduler *self, const gateway *g, xd_frame f)
{
    f.flags = g->number; /* as in the journal */
    return xd_report_paths_take(&self->paths, &f);
}

static int on_returned(scheduler *self, gateway *g, const xd_wire_RETURNED *in)
{
    xd_autofree xd_span *spans = NULL;
    size_t               n;
    collection          *c = g->collection;
    if (!c->running)
        return -EPROTO;
    XD_TRY(xd_spans_read(in->ranges, &spans, &n));
    XD_TRY(xd_sched_returned(c->sched, g->number, in->request, spans, n));
    XD_TRY(xd_scheduler_drain(self, c));
    return xd_scheduler_let_leave(self, g);
}

static int on_worker_up(scheduler *self, gateway *g, const xd_wire_WORKER_UP *in)
{
    g->ran = true;
    self->up[in->worker / 8] |= (uint8_t)(1u << (in->worker % 8));
    return 0;
}

/* A worker that ended its session by itself: pytest.exit, an interrupt or an internal error inside a test, or
 * a plugin's own exit code. */
static int on_worker_down(scheduler *self, gateway *g, const xd_wire_WORKER_DOWN *in)
{
    int  status = in->session_status;
    bool was_up = self->up[in->worker / 8] >> (in->worker % 8) & 1;
    self->up[in->worker / 8] &= (uint8_t) ~(1u << (in->worker % 8));
    self->bad_end |= was_up && (in->expected ? status == XD_EXIT_FAILED : in->item == XD_NO_INDEX);
    static const char maxfail[] = "stopping after "; /* pytest's own count in a worker; ours ends the run */
    bool              counted =
        in->reason.len >= sizeof(maxfail) - 1 && memcmp(in->reason.ptr, maxfail, sizeof(maxfail) - 1) == 0;
    bool usual = status == XD_EXIT_OK || status == XD_EXIT_FAILED || status == XD_EXIT_NO_TESTS;
    if (!in->expected || status < 0 || (usual && (!in->stopped || counted)) || self->forced_exit >= 0)
        return 0;
    g->zero |= status == XD_EXIT_OK;
    if (xd_scheduler_each(self))
        return xd_scheduler_own_session(self, g, status, in->reason);
    char *reason = xd_bytes_dup(in->reason);
    self->zero_asked |= status == XD_EXIT_OK; /* pytest.exit() says so, and pytest does as it says */
    xd_scheduler_end_with(self, status, reason ? reason : "");
    free(reason);
    return xd_scheduler_stop(self, XD_CANCEL_GRACE);
}

static int on_agent_note(scheduler *self, const gateway *g, const xd_wire_AGENT_NOTE *in)
{
    xd_autofree char *text = xd_bytes_dup(in->text);
    if (!text)
        return -ENOMEM;
    self->bad_end |= in->failed != 0;
    bool one = self->n_gateways == 1;
    return xd_scheduler_note(self, in->level, "%s%s%s", one ? "" : g->spec_text, one ? "" : ": ", text);
}

static int on_env_done(scheduler *self, gateway *g, const xd_wire_ENV_DONE *in)
{
    xd_result *r = self->args.result;
    r->agents_cpu_us += in->agent_cpu_us;
    r->workers_cpu_us += in->workers_cpu_us;
    r->stream_bytes += in->stream_bytes;
    g->state = GW_DONE;
    return xd_scheduler_happens(self, XD_RUN_ON_ENV_DONE, g);
}

/* ---- handlers ------------------------------------------------------------------------------------------ */

/* Decodes the frame in `in` as record NAME and calls fn(self, gateway, &record). What a peer sends wrong ends
 * that peer, not the run's truth: it is noted, and the environment is closed. */
#define ON_FRAME(NAME, call)                                              \
    static int handle_##NAME(void *state, const xd_msg *m)                \
    {                                                                     \
        scheduler     *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC); \
        gateway       *g = xd_scheduler_gateway(self, m->gateway);        \
        xd_frame       f;                                                 \
        xd_wire_##NAME in;                                                \
        int            r = g ? xd_msg_frame(m, &f) : -EPROTO;             \
        if (g && g->dropped && XD_MSG_##NAME != XD_MSG_GATEWAY_DOWN)      \
            return 0;                                                     \
        if (r == 0)                                                       \
            r = xd_wire_##NAME##_decode(f.body, f.len, &in);              \
        if (r == 0)                                                       \
            r = (call);                                                   \
        return after(self, g, #NAME, r);                                  \
    }

int xd_scheduler_drop(scheduler *self, gateway *g, xd_bytes why)
{
    xd_auto(xd_msg) *m = NULL;
    g->dropped = true;
    XD_TRY(xd_msg_new(&m, XD_MSG_DROP, why.ptr, why.len));
    return xd_actor_send(self->actor, g->address, &m);
}

/* What every handler ends with: faults of a peer become the end of that peer, the end of the run that of the
 * actor. */
static int after(scheduler *self, gateway *g, const char *what, int r)
{
    if (r == -EPROTO && g) { /* its gateway hangs up, and GATEWAY_DOWN brings the rest */
        char text[96];
        snprintf(text, sizeof(text), "the agent broke the protocol: %s contradicts what was agreed", what);
        return xd_scheduler_drop(self, g, xd_bytes_str(text));
    }
    if (r < 0)
        return r;
    return self->state == XD_RUN_ENDED ? XD_ACTOR_STOP : 0;
}

ON_FRAME(GATEWAY_UP, on_gateway_up(self, g, &in))
ON_FRAME(GATEWAY_DOWN, on_down(self, g, m, &in))
ON_FRAME(ENV_FACTS, on_facts(self, g, f))
ON_FRAME(CONFIG, xd_scheduler_on_config(self, g, &in))
ON_FRAME(COLLECTED, xd_scheduler_on_collected(self, g, &in))
ON_FRAME(COLLECT_IDS, xd_scheduler_on_ids(self, g, &in))
ON_FRAME(RESULTS, xd_scheduler_on_results(self, g, &in))
ON_FRAME(WARNING, on_warning(self, g, &in))
ON_FRAME(REPORT, xd_scheduler_on_report(self, g, &in))
ON_FRAME(RETURNED, on_returned(self, g, &in))
ON_FRAME(WORKER_UP, on_worker_up(self, g, &in))
ON_FRAME(WORKER_DOWN, on_worker_down(self, g, &in))
ON_FRAME(ENV_FAILED, xd_scheduler_on_env_failed(self, g, &in))
ON_FRAME(ENV_DONE, on_env_done(self, g, &in))
ON_FRAME(AGENT_NOTE, on_agent_note(self, g, &in))

/* The collector's own messages name a gateway; those of a dropped one are not looked at. */
#define ON_COLLECTOR(NAME, call)                                        \
    static int handle_##NAME(void *state, const xd_msg *m)              \
    {                                                                   \
        scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);   \
        gateway   *g = xd_scheduler_gateway(self, m->gateway);          \
        return !g || g->dropped ? 0 : after(self, NULL, #NAME, (call)); \
    }

static uint16_t number_of(const xd_msg *m)
{
    uint16_t number = UINT16_MAX;
    if (m->body.len == sizeof(number))
        memcpy(&number, m->body.ptr, sizeof(number));
    return number;
}

ON_COLLECTOR(AGREED, xd_scheduler_on_agreed(self, g))
ON_COLLECTOR(REORDER, xd_scheduler_on_reorder(self, g, m))
ON_COLLECTOR(DIFFERENT, xd_scheduler_on_different(self, g, m->body))
ON_COLLECTOR(DROP, xd_scheduler_drop(self, g, m->body))
/* The same of the syncer. */
ON_COLLECTOR(SYNCED, on_synced(self, g, m))
ON_COLLECTOR(SYNC_NOTE, on_sync_note(self, m))

/* Also if its owner was dropped afterwards: the list is known. */
static int handle_WHOLE(void *state, const xd_msg *m)
{
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    gateway   *g = xd_scheduler_gateway(self, m->gateway);
    return g ? after(self, NULL, "WHOLE", xd_scheduler_on_whole(self, g, number_of(m))) : -EINVAL;
}

static int handle_MORE(void *state, const xd_msg *m)
{
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    gateway   *g = xd_scheduler_gateway(self, m->gateway);
    return g ? after(self, NULL, "MORE", xd_scheduler_on_more(self, g, m)) : -EINVAL;
}

/* Not recorded as it is: straight on to the terminal. */
static int handle_progress(void *state, const xd_msg *m)
{
    scheduler       *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    gateway         *g = xd_scheduler_gateway(self, m->gateway);
    xd_wire_PROGRESS in;
    xd_frame         f;
    xd_auto(xd_msg) *copy = NULL;
    if (g && g->dropped)
        return 0;
    if (g && self->state != XD_RUN_ENDED && xd_msg_frame(m, &f) == 0 &&
        xd_wire_PROGRESS_decode(f.body, f.len, &in) == 0)
        XD_TRY(xd_scheduler_on_progress(self, g, &in));
    XD_TRY(xd_msg_new(&copy, XD_MSG_PROGRESS, m->body.ptr, m->body.len));
    copy->gateway = m->gateway;
    return xd_actor_send(self->actor, XD_REPORT_ADDRESS, &copy);
}

/* In the journal already, and of no use for decisions. */
static int handle_nothing(void *state, const xd_msg *m)
{
    (void)state;
    (void)m;
    return 0;
}

static int handle_stop(void *state, const xd_msg *m)
{
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    uint32_t   how;
    if (m->body.len != sizeof(how))
        return -EINVAL;
    memcpy(&how, m->body.ptr, sizeof(how));
    return after(self, NULL, "STOP", xd_scheduler_on_stop(self, (int)how));
}

static int handle_tick(void *state)
{
    scheduler     *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    const uint64_t now = xd_clock_ns();
    int            r = xd_scheduler_settled(self, now);
    if (r == 0)
        r = xd_scheduler_on_wait_over(self, now);
    return after(self, NULL, "STOP", r < 0 ? r : xd_scheduler_on_tick(self, now));
}

static int handle_tell(void *state, const xd_msg *m)
{
    return on_sync_note(XD_CAST(state, scheduler, SCHEDULER_MAGIC), m);
}

static int handle_joins(void *state, const xd_msg *m)
{
    xd_joins in;
    if (m->body.len != sizeof(in))
        return -EINVAL;
    memcpy(&in, m->body.ptr, sizeof(in));
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    return after(self, NULL, "JOINS", xd_scheduler_on_joins(self, &in));
}

static int handle_job(void *state, const xd_msg *m)
{
    if (m->body.len < 1)
        return -EINVAL;
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    return after(
        self, NULL, "JOB",
        xd_scheduler_on_job(self, m->body.ptr[0] != 0, (xd_bytes){ m->body.ptr + 1, m->body.len - 1 }));
}

static int handle_leaves(void *state, const xd_msg *m)
{
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    gateway   *g = xd_scheduler_gateway(self, number_of(m));
    return g ? after(self, NULL, "LEAVES", xd_scheduler_on_leaves(self, g)) : 0;
}

static int handle_paused(void *state, const xd_msg *m)
{
    (void)m;
    return xd_scheduler_on_paused(XD_CAST(state, scheduler, SCHEDULER_MAGIC));
}

/* Nothing of the agents is heard any more: the run ends at once. */
static int journal_full(scheduler *self)
{
    xd_scheduler_end_with(self, XD_EXIT_INCOMPLETE, "the journal has reached its limit");
    XD_TRY(xd_scheduler_note(
        self, 4,
        "the journal in %s has reached its limit (--journal-limit, %llu bytes): the run ends, its "
        "results are incomplete",
        self->args.run_dir, (unsigned long long)self->args.config->journal_limit));
    for (size_t i = 0; i < self->n_gateways; i++) {
        gateway *g = &self->gateways[i];
        if (g->state > GW_DIALING && g->state < GW_DONE)
            XD_TRY(xd_scheduler_drop(self, g, XD_BYTES_LIT("the journal has reached its limit")));
        g->state = GW_DONE;
    }
    return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
}

/* The journal cannot be written: nothing new starts, and the exit code says so. */
static int handle_fault(void *state, const xd_msg *m)
{
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    int32_t    code = 0;
    if (m->body.len == sizeof(code))
        memcpy(&code, m->body.ptr, sizeof(code));
    if (code == -EDQUOT)
        return after(self, NULL, "FAULT", journal_full(self));
    xd_scheduler_end_with(self, XD_EXIT_INCOMPLETE, "the journal cannot be written");
    int r = xd_scheduler_note(
        self, XD_NOTE_ERROR, "the journal in %s cannot be written (%s%s): results are incomplete",
        self->args.run_dir, xd_error_name(code), code == -EFBIG ? ", see ulimit -f" : "");
    if (r == 0)
        r = xd_scheduler_wind_down(self, XD_CANCEL_GRACE);
    return after(self, NULL, "FAULT", r);
}

/* Nobody compares collections any more. What runs goes on, and what has not begun never will. */
static int without_collector(scheduler *self)
{
    static const char why[] = "the part of the engine that compares collections has ended";
    bool              waited_for = false;
    for (size_t i = 0; i < self->n_gateways; i++)
        waited_for = waited_for ||
                     (self->gateways[i].state < GW_RUNNING && !xd_scheduler_empty_seat(&self->gateways[i]));
    if (!waited_for)
        return 0;
    xd_scheduler_end_with(self, XD_EXIT_INTERNAL, why);
    XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR, "%s: the run ends", why));
    return xd_scheduler_stop(self, XD_CANCEL_GRACE);
}

/* GATEWAY_DOWN in the name of a gateway that cannot say it. */
static int tell_down(scheduler *self, gateway *g)
{
    xd_autobuf           frame = XD_BUF_INIT, copy = XD_BUF_INIT;
    xd_wire_GATEWAY_DOWN down = { .gateway = g->number,
                                  .reason = XD_BYTES_LIT(
                                      "the part of the engine that talks to its agent has ended") };
    XD_TRY(xd_wire_GATEWAY_DOWN_frame(&frame, 0, 0, &down));
    XD_TRY(xd_buf_add(&copy, frame.data, frame.len));
    XD_TRY(xd_scheduler_record(self, XD_MSG_GATEWAY_DOWN, &frame));
    XD_TRY(tell_loss(self, g, &down));
    if (g->state >= GW_RUNNING)
        return on_gateway_down(self, g, &down);
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new_take(&m, XD_MSG_GATEWAY_DOWN, &copy));
    m->gateway = g->number;
    g->gone = true;
    return xd_actor_send(self->actor, XD_COLLECTOR_ADDRESS, &m);
}

/* A peer of ours is no more: a gateway's end is told in its name, a reporter's is only told. */
static int handle_gone(void *state, const xd_msg *m)
{
    scheduler *self = XD_CAST(state, scheduler, SCHEDULER_MAGIC);
    gateway   *g = NULL;
    for (size_t i = 0; i < self->n_gateways; i++)
        if (strcmp(self->gateways[i].address, m->from) == 0)
            g = &self->gateways[i];
    if (!g && strcmp(m->from, XD_COLLECTOR_ADDRESS) == 0)
        return after(self, NULL, "GONE", without_collector(self));
    if (!g)
        return m->type == XD_MSG_UNKNOWN ? 0
                                         : xd_scheduler_note(self, XD_NOTE_WARNING, "%.*s", (int)m->body.len,
                                                             (const char *)m->body.ptr);
    return g->state == GW_DONE || g->gone ? 0 : after(self, g, "GONE", tell_down(self, g));
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int init_gateways(scheduler *self)
{
    const xd_plan *plan = self->args.plan;
    self->gateways = calloc(plan->count, sizeof(*self->gateways));
    if (!self->gateways)
        return -ENOMEM;
    self->n_gateways = plan->count;
    for (size_t i = 0; i < plan->count; i++) {
        gateway *g = &self->gateways[i];
        g->number = (uint16_t)i;
        g->workers = plan->gateways[i].workers;
        g->lacks = plan->gateways[i].synced;
        g->seat = plan->gateways[i].joins;
        xd_gateway_address(g->number, g->address, sizeof(g->address));
        g->spec_text = strdup(plan->gateways[i].spec.text);
        if (!g->spec_text)
            return -ENOMEM;
    }
    return 0;
}

static int scheduler_init(void *state, xd_actor *actor, const void *args)
{
    scheduler *self = state;
    *self = (scheduler){ .magic = SCHEDULER_MAGIC,
                         .actor = actor,
                         .args = *(const xd_scheduler_args *)args,
                         .forced_exit = -1,
                         .started_ns = xd_clock_ns() };
    xd_settings_init(&self->options, self->args.config);
    self->uid = self->args.config->run_uid ? self->args.config->run_uid : self->args.run_id;
    if (self->args.note)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_NOTE, "%s", self->args.note));
    self->args.note = NULL;
    XD_TRY(xd_scheduler_tell_options(self));
    XD_TRY(self->args.told ? xd_scheduler_tell_project(self, self->args.told) : 0);
    self->args.told = NULL;
    XD_TRY(self->args.sync ? xd_scheduler_tell_sync(self, self->args.sync) : 0);
    snprintf(self->project, sizeof(self->project), "%s", self->args.project ? self->args.project : "");
    self->args.project = NULL;
    XD_TRY(
        xd_report_paths_begin(&self->paths, self->args.work, self->args.sync ? self->args.sync->base : NULL));
    self->args.work = NULL;
    XD_TRY(init_gateways(self));
    XD_TRY(xd_scheduler_join_init(self));
    return xd_scheduler_collections_init(self);
}

static void scheduler_fini(void *state)
{
    scheduler *self = state;
    xd_scheduler_collections_release(self);
    xd_names_release(&self->names);
    for (size_t i = 0; self->gateways && i < self->n_gateways; i++) {
        xd_idlist_release(&self->gateways[i].list);
        free(self->gateways[i].spec_text);
        free(self->gateways[i].has);
    }
    free(self->gateways);
    free(self->long_running);
    xd_history_free(self->history);
    xd_report_paths_release(&self->paths);
}

const xd_actor_spec xd_scheduler_spec = {
    .name = "xd-scheduler",
    .size = sizeof(scheduler),
    .window = 65536,
    .init = scheduler_init,
    .tick = handle_tick,
    .fini = scheduler_fini,
    .handlers =
        (const xd_handler[]){
            { XD_MSG_GATEWAY_UP, handle_GATEWAY_UP },
            { XD_MSG_GATEWAY_DOWN, handle_GATEWAY_DOWN },
            { XD_MSG_ENV_FACTS, handle_ENV_FACTS },
            { XD_MSG_CONFIG, handle_CONFIG },
            { XD_MSG_COLLECTED, handle_COLLECTED },
            { XD_MSG_COLLECT_IDS, handle_COLLECT_IDS },
            { XD_MSG_AGREED, handle_AGREED },
            { XD_MSG_REORDER, handle_REORDER },
            { XD_MSG_MORE, handle_MORE },
            { XD_MSG_WHOLE, handle_WHOLE },
            { XD_MSG_DIFFERENT, handle_DIFFERENT },
            { XD_MSG_DROP, handle_DROP },
            { XD_MSG_SYNCED, handle_SYNCED },
            { XD_MSG_SYNC_NOTE, handle_SYNC_NOTE },
            { XD_MSG_RESULTS, handle_RESULTS },
            { XD_MSG_RETURNED, handle_RETURNED },
            { XD_MSG_WORKER_DOWN, handle_WORKER_DOWN },
            { XD_MSG_ENV_FAILED, handle_ENV_FAILED },
            { XD_MSG_ENV_DONE, handle_ENV_DONE },
            { XD_MSG_AGENT_NOTE, handle_AGENT_NOTE },
            { XD_MSG_PROGRESS, handle_progress },
            { XD_MSG_REPORT, handle_REPORT },
            { XD_MSG_WARNING, handle_WARNING },
            { XD_MSG_SUITE_PROPERTY, handle_nothing },
            { XD_MSG_SUMMARY, handle_nothing },
            { XD_MSG_OUTPUT, handle_nothing },
            { XD_MSG_WORKER_UP, handle_WORKER_UP },
            { XD_MSG_STOP, handle_stop },
            { XD_MSG_PAUSED, handle_paused },
            { XD_MSG_TELL, handle_tell },
            { XD_MSG_JOINS, handle_joins },
            { XD_MSG_LEAVES, handle_leaves },
            { XD_MSG_JOB, handle_job },
            { XD_MSG_FAULT, handle_fault },
            { XD_MSG_GONE, handle_gone },
            { XD_MSG_UNKNOWN, handle_gone },
            { 0, NULL },
        },
};
