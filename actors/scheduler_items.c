/* scheduler_items.c - the scheduling core's commands: leases and what belongs to them, to gateways and the journal. */
#include "actors/scheduler_state.h"
#include "engine/base/clock.h"

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

int xd_scheduler_give_up_items(scheduler *self, collection *c)
{
    static const char why[] = "no worker is left to run the remaining tests";
    const bool        one = self->n_collections == 1;
    if (!xd_scheduler_each(self))
        xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, why);
    else if (c->code < 0)
        c->code = XD_EXIT_INFRASTRUCTURE;
    XD_TRY(xd_scheduler_note(self, XD_NOTE_ERROR, "%s%s%s", why, one ? "" : " of ",
                             one ? "" : self->gateways[c->number].spec_text));
    return xd_sched_cancel(c->sched, XD_CANCEL_DRAIN);
}

/* Nobody is left who could run what waits. */
static int starved(scheduler *self, collection *c)
{
    int r = xd_scheduler_wait_for_others(self);
    return r == 0 ? xd_scheduler_give_up_items(self, c) : XD_MIN(r, 0);
}

/* Only some environments had these tests, and those are lost. */
static int orphaned(scheduler *self, const collection *c, const xd_sched_command *one)
{
    const xd_bytes id = c->list->items[one->spans[0].first].id;
    xd_scheduler_end_with(self, XD_EXIT_INFRASTRUCTURE, "");
    return xd_scheduler_note(
        self, XD_NOTE_ERROR, "%u test%s not run: no environment is left that has %s (%.*s%s)", one->count,
        one->count == 1 ? " is" : "s are", one->count == 1 ? "it" : "them", (int)XD_MIN(id.len, (size_t)200),
        (const char *)id.ptr, one->count == 1 ? "" : " and others");
}

/* An environment that collects may have tests that nobody else has. Guests bring none, and one that is not there yet is not waited for, nor one that
 * --min-workers can do without. */
static bool may_grow(const scheduler *self, const collection *c)
{
    if (xd_scheduler_least(self) || xd_scheduler_each(self) || xd_sched_stats_get(c->sched)->cancelled)
        return false;
    for (size_t i = 0; i < self->n_gateways; i++) {
        const gateway *g = &self->gateways[i];
        if (g->collection == c && (g->state == GW_COLLECTING || g->state == GW_COLLECTED) && !g->came &&
            !g->failed && !g->gone && !g->dropped)
            return true;
    }
    return false;
}

/* The run has nothing left to do once no collection has. */
static int all_done(scheduler *self, collection *c)
{
    c->held = may_grow(self, c);
    if (c->held)
        return 0;
    c->done = true;
    for (size_t i = 0; i < self->n_collections; i++)
        if (self->collections[i].sched && !self->collections[i].done)
            return 0;
    return xd_scheduler_happens(self, XD_RUN_ON_ALL_DONE, NULL);
}

int xd_scheduler_release(scheduler *self, collection *c)
{
    return c->held ? all_done(self, c) : 0;
}

int xd_scheduler_drain(scheduler *self, collection *c)
{
    xd_sched_command one;
    int              r;
    while ((r = xd_sched_next(c->sched, &one)) == 1) {
        gateway *g = xd_scheduler_gateway(self, one.agent);
        switch (one.kind) {
        case XD_SCHED_LEASE:
            XD_TRY(send_lease(self, g, &one));
            break;
        case XD_SCHED_TAKE_BACK:
        case XD_SCHED_NO_MORE:
        case XD_SCHED_CANCEL:
            XD_TRY(send_simple(self, g, &one));
            break;
        case XD_SCHED_OUTCOME:
            XD_TRY(xd_scheduler_record_lost(self, c, &one.spans[0]));
            break;
        case XD_SCHED_STARVED:
            XD_TRY(starved(self, c));
            break;
        case XD_SCHED_ORPHANED:
            XD_TRY(orphaned(self, c, &one));
            break;
        case XD_SCHED_ALL_DONE:
            XD_TRY(all_done(self, c));
            break;
        }
    }
    return r;
}

int xd_scheduler_drain_all(scheduler *self)
{
    for (size_t i = 0; i < self->n_collections; i++)
        if (self->collections[i].running)
            XD_TRY(xd_scheduler_drain(self, &self->collections[i]));
    return 0;
}

int xd_scheduler_cancel(scheduler *self, uint8_t how)
{
    for (size_t i = 0; i < self->n_collections; i++)
        if (self->collections[i].running)
            XD_TRY(xd_sched_cancel(self->collections[i].sched, how));
    XD_TRY(xd_scheduler_drain_all(self));
    for (size_t i = 0; i < self->n_collections; i++)
        XD_TRY(xd_scheduler_release(self, &self->collections[i]));
    return 0;
}
