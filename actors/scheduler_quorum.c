/* scheduler_quorum.c - environments that fail before the tests begin: whether the run can begin without them
 * (quorum.h, --min-workers), and when. */
#include <stdlib.h>

#include "actors/quorum.h"
#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

#define SETTLE_NS \
    (5 * XD_S_NS) /* for environments whose agents answer, once it is clear that the run cannot begin */

static xd_quorum_env standing(const scheduler *self, const gateway *g)
{
    xd_quorum_env e = { .workers = g->workers };
    if ((g->state == GW_DONE && !g->over) || g->failed)
        e.state = XD_QUORUM_FAILED;
    else if (g->over || g->configured || g->state >= GW_COLLECTED)
        e.state = XD_QUORUM_READY;
    else if (g->up && g->lacks)
        e.state = XD_QUORUM_BRINGING;
    if (!e.workers && g->up && (e.state == XD_QUORUM_READY || e.state == XD_QUORUM_BRINGING))
        e.workers = xd_numprocesses_counted(
            &self->options.workers,
            &(xd_numprocesses_host){ .cpus = g->cpus, .items = UINT32_MAX, .room = g->room }, NULL);
    return e;
}

static xd_quorum decide(const scheduler *self, uint32_t *ret_ready, size_t *ret_failed)
{
    xd_autofree xd_quorum_env *envs = calloc(self->n_gateways, sizeof(*envs));
    size_t                     n = 0;
    if (!envs)
        return XD_QUORUM_WAIT; /* asked again with the next event, which needs more memory than this */
    *ret_failed = 0;
    for (size_t i = 0; i < self->n_gateways; i++) {
        if (xd_scheduler_empty_seat(&self->gateways[i]))
            continue;
        envs[n] = standing(self, &self->gateways[i]);
        *ret_failed += envs[n++].state == XD_QUORUM_FAILED;
    }
    *ret_ready = xd_quorum_ready(envs, n);
    const xd_quorum q = xd_quorum_of(envs, n, xd_scheduler_least(self));
    return q != XD_QUORUM_BEGIN && xd_scheduler_hopes(self) ? XD_QUORUM_WAIT : q;
}

bool xd_scheduler_too_few(const scheduler *self)
{
    xd_autofree xd_quorum_env *envs = calloc(self->n_gateways, sizeof(*envs));
    bool                       lost = false;
    for (size_t i = 0; envs && i < self->n_gateways; i++) {
        envs[i] = standing(self, &self->gateways[i]);
        envs[i].state = self->gateways[i].never_ran ? XD_QUORUM_FAILED : XD_QUORUM_READY;
        lost |= self->gateways[i].never_ran;
    }
    return lost && xd_quorum_of(envs, self->n_gateways, xd_scheduler_least(self)) != XD_QUORUM_BEGIN;
}

/* Each that failed was told in a line of its own. */
static int give_up(scheduler *self, uint32_t ready, size_t failed)
{
    const uint32_t least = xd_scheduler_least(self);
    self->settle_by_ns = 0;
    xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, "");
    if (xd_scheduler_listens(self))
        XD_TRY(xd_scheduler_note(
            self, XD_NOTE_ERROR,
            "no test was run: %u workers can start, %u were waited for (--min-workers, --wait)%s%s", ready,
            least, *self->job ? "; " : "", self->job));
    else if (least)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR,
                                 "no test was run: %u workers can start, --min-workers wants %u", ready,
                                 least));
    else if (self->n_gateways > 1)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR,
                                 "no test was run: %zu of %zu environments cannot start; --min-workers N "
                                 "runs without them if N workers can start",
                                 failed, self->n_gateways));
    return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
}

static bool dialling(const scheduler *self)
{
    for (size_t i = 0; i < self->n_gateways; i++)
        if (self->gateways[i].state == GW_DIALING && !xd_scheduler_empty_seat(&self->gateways[i]))
            return true;
    return false;
}

int xd_scheduler_look(scheduler *self)
{
    uint32_t ready = 0;
    size_t   failed = 0;
    if (self->state != XD_RUN_COLLECTING)
        return 0;
    switch (decide(self, &ready, &failed)) {
    case XD_QUORUM_WAIT:
        return 0;
    case XD_QUORUM_BEGIN:
        return xd_scheduler_begin_if_all(self);
    case XD_QUORUM_HOPELESS: /* a dial has a time limit of its own */
        if (dialling(self) || self->settle_by_ns)
            return 0;
        self->settle_by_ns = xd_clock_ns() + SETTLE_NS;
        return xd_actor_set_tick(self->actor, 100);
    case XD_QUORUM_NEVER:
        return give_up(self, ready, failed);
    }
    return -EINVAL;
}

int xd_scheduler_settled(scheduler *self, uint64_t now_ns)
{
    uint32_t ready = 0;
    size_t   failed = 0;
    if (!self->settle_by_ns || now_ns < self->settle_by_ns)
        return 0;
    self->settle_by_ns = 0;
    if (self->state != XD_RUN_COLLECTING)
        return 0;
    (void)decide(self, &ready, &failed);
    return give_up(self, ready, failed);
}

/* Others may go on without it: it is hung up on, and what follows is what follows of the loss of an environment. */
static int leave_out(scheduler *self, gateway *g)
{
    g->failed = true;
    g->never_ran |= !g->came;
    XD_TRY(xd_scheduler_look(self));
    if (xd_scheduler_closes(self))
        return 0; /* it ends as the others do */
    g->gone = true;
    XD_TRY(xd_scheduler_release(self, g->collection));
    return xd_scheduler_drop(self, g, XD_BYTES_LIT("its environment could not start"));
}

/* The reporters show its text themselves; whoever embeds the engine may have none. */
int xd_scheduler_on_env_failed(scheduler *self, gateway *g, const xd_wire_ENV_FAILED *in)
{
    if (self->args.event) {
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(xd_env_failed_text(&text, xd_bytes_str(g->spec_text), in->text));
        xd_event ev = { .type = XD_EVENT_NOTE, .text = xd_buf_cstr(&text), .value = 4 };
        self->args.event(self->args.event_arg, &ev);
    }
    /* Also while the others end: the run began without it, and so it does not count how far they are. */
    const bool begun = xd_scheduler_closes(self) ? g->ran : g->state >= GW_RUNNING;
    if ((in->exit_status == XD_EXIT_INFRASTRUCTURE || xd_scheduler_is_late(self, g)) &&
        self->n_gateways > 1 && !begun)
        return leave_out(self, g);
    if (xd_scheduler_each(self))
        return xd_scheduler_own_failed(self, g, in->exit_status);
    xd_scheduler_end_with(self, in->exit_status,
                          in->exit_status == XD_EXIT_FAILED ? XD_REASON_DIFFERENT : "");
    if (g->collection->running && !xd_scheduler_closes(self))
        XD_TRY(xd_sched_agent_up(g->collection->sched, g->number, 0));
    return xd_scheduler_wind_down(self, XD_CANCEL_GRACE);
}
