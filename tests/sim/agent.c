/* agent.c - see sim.h: an agent around the real queue core. */
#include <stdio.h>

#include "tests/sim/sim.h"
#include "tests/unit/aqueue_told.h"

#define TICK_NS (50 * MS)

static void up(sim_world *w, uint32_t a, uint32_t kind, uint32_t x, uint32_t y, uint32_t z,
               const xd_span *spans, size_t count)
{
    uint32_t msg[6] = { kind, x, y, z };
    sim_link_send(w, a, true, msg, spans, (uint32_t)count);
}

static void start_process(sim_world *w, uint32_t a, uint32_t slot)
{
    bool fails = sim_chance(w, 3);
    sim_at(w, w->now + sim_between(w, 1 * MS, 60 * MS),
           (sim_event){ .kind = fails ? EV_WORKER_NOT_UP : EV_WORKER_UP, .a = a, .b = slot });
}

void sim_agent_start(sim_world *w, uint32_t a, uint32_t workers, uint32_t max_restarts)
{
    sim_agent        *g = &w->agent[a];
    xd_aqueue_options o = { .slots = workers, .max_restarts = max_restarts, .workers_expected = workers };
    g->present = true;
    g->workers = workers;
    if (xd_aqueue_new(&g->queue, &o) < 0)
        sim_fault(w, "no agent queue");
    sim_link_start(w, a);
    for (uint32_t i = 0; i < workers; i++)
        start_process(w, a, i);
    sim_at(w, w->now + TICK_NS, (sim_event){ .kind = EV_TICK, .a = a });
}

void sim_agent_free(sim_agent *g)
{
    xd_aqueue_free(g->queue);
    for (uint32_t i = 0; i < SIM_WORKERS; i++)
        sim_worker_free(&g->worker[i]);
}

void sim_agent_pump(sim_world *w, uint32_t a)
{
    sim_agent        *g = &w->agent[a];
    xd_aqueue_command c;
    int               r;
    while ((r = xd_aqueue_next(g->queue, &c)) > 0) {
        sim_hash(w, (uint64_t)c.kind << 56 | (uint64_t)c.slot << 48 | (uint64_t)c.first << 16 | c.n_spans);
        if (w->trace)
            printf("%12.6f agent %u: command %d slot %u first %u last %d reopen %d spans %zu limit %u "
                   "request %u\n",
                   (double)w->now / 1e9, a, c.kind, c.slot, c.first, c.last, c.reopen, c.n_spans, c.limit,
                   c.request);
        switch (c.kind) {
        case XD_AQUEUE_RUN:
            sim_worker_told(w, a, c.slot, &c);
            break;
        case XD_AQUEUE_LIMIT:
            g->worker[c.slot].limit = c.limit;
            /* The page outlives its process: a dead worker may be read, or found dead. */
            if ((g->worker[c.slot].alive || sim_chance(w, 50)) &&
                xd_aqueue_limit_answer(g->queue, c.slot, g->worker[c.slot].claimed, w->now) != 0)
                sim_fault(w, "limit answer refused");
            break;
        case XD_AQUEUE_RETURNED:
            up(w, a, M_RETURNED, c.request, 0, 0, c.spans, c.n_spans);
            break;
        case XD_AQUEUE_BLAME:
            up(w, a, M_RESULT, c.item, c.attempt, 7, NULL, 0);
            break;
        case XD_AQUEUE_RESTART:
            start_process(w, a, c.slot);
            break;
        case XD_AQUEUE_GIVE_UP:
        case XD_AQUEUE_DRAINED:
            break;
        }
    }
    if (r < 0)
        sim_fault(w, "xd_aqueue_next: %d", r);
}

uint32_t sim_agent_spares(const sim_agent *g)
{
    const xd_aqueue *q = g->queue;
    uint32_t         n = 0;
    for (uint32_t i = 0; i < g->workers; i++)
        n += q->slot[i].spare && (!q->slot[i].costs || q->st.restarts < q->opt.max_restarts);
    return n;
}

static void tell_workers(sim_world *w, uint32_t a)
{
    const xd_aqueue_stats *st = xd_aqueue_stats_get(w->agent[a].queue);
    up(w, a, M_WORKERS, st->workers + st->starting + sim_agent_spares(&w->agent[a]), 0, 0, NULL, 0);
}

/* The fixtures that outlived an item are torn down, or the worker is gone. */
static void closed(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *k = &w->agent[a].worker[slot];
    if (k->open_attempt)
        up(w, a, M_CLOSED, k->open_item, k->open_attempt, 0, NULL, 0);
    k->open_attempt = 0;
}

static void down(sim_world *w, uint32_t a, uint32_t slot, xd_aqueue_end end)
{
    sim_agent     *g = &w->agent[a];
    sim_worker    *k = &g->worker[slot];
    xd_aqueue_last last = { k->dead_claimed, k->dead_item, k->dead_finished };
    closed(w, a, slot);
    if (xd_aqueue_worker_down(g->queue, slot, end, &last, w->now) != 0)
        sim_fault(w, "end of worker refused");
    if (end == XD_AQUEUE_NOT_STARTED)
        w->broken = true;
    tell_workers(w, a);
}

static void result(sim_world *w, const sim_event *ev)
{
    sim_agent *g = &w->agent[ev->a];
    uint32_t   item;
    uint16_t   attempt;
    if (aqueue_item_at(g->queue, ev->b, ev->d, &item, &attempt) != 0 || item != ev->e) {
        sim_fault(w, "result of item %u at position %u, which was not told", ev->e, ev->d);
        return;
    }
    if (xd_aqueue_result(g->queue, ev->b, ev->d, ev->e, w->item[ev->e].dur_us * 1000ull, w->now) != 0)
        sim_fault(w, "result refused");
    up(w, ev->a, M_RESULT, ev->e, attempt, ev->f, NULL, 0);
    if (ev->open) {
        up(w, ev->a, M_OPENED, ev->e, 0, 0, NULL, 0);
        g->worker[ev->b].open_item = ev->e;
        g->worker[ev->b].open_attempt = attempt;
    }
}

void sim_agent_event(sim_world *w, const sim_event *ev)
{
    sim_agent  *g = &w->agent[ev->a];
    sim_worker *k = &g->worker[ev->b];
    if (g->lost)
        return;
    int r = 0;
    switch (ev->kind) {
    case EV_WORKER_UP:
        sim_worker_start(w, ev->a, ev->b);
        r = xd_aqueue_worker_up(g->queue, ev->b, w->now);
        tell_workers(w, ev->a);
        break;
    case EV_WORKER_NOT_UP:
        down(w, ev->a, ev->b, XD_AQUEUE_NOT_STARTED);
        break;
    case EV_RESULT:
        if (ev->c == k->incarnation)
            result(w, ev);
        break;
    case EV_CLOSED:
        if (ev->c == k->incarnation)
            closed(w, ev->a, ev->b);
        break;
    case EV_DOWN:
        if (ev->c == k->incarnation)
            down(w, ev->a, ev->b, k->ended ? XD_AQUEUE_ENDED : XD_AQUEUE_CRASHED);
        break;
    case EV_KILL:
        if (k->alive && ev->d)
            k->ended = k->state == W_IDLE || k->state == W_HOLD; /* its session ends between two items */
        sim_worker_kill(w, ev->a, ev->b);
        break;
    default:
        r = xd_aqueue_tick(g->queue, w->now);
        sim_at(w, w->now + TICK_NS, (sim_event){ .kind = EV_TICK, .a = ev->a });
    }
    if (r != 0)
        sim_fault(w, "event %u refused: %d", ev->kind, r);
    sim_agent_pump(w, ev->a);
}

void sim_agent_message(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count)
{
    sim_agent *g = &w->agent[a];
    int        r = 0;
    switch (msg[0]) {
    case M_LEASE:
        r = xd_aqueue_lease(g->queue, spans, count, w->now);
        break;
    case M_NO_MORE:
        r = xd_aqueue_no_more(g->queue, msg[1] != 0, w->now);
        break;
    case M_TAKE_BACK:
        r = xd_aqueue_take_back(g->queue, msg[1], msg[2], w->now);
        break;
    default:
        g->stop = true;
        r = xd_aqueue_cancel(g->queue, w->now);
        for (uint32_t i = 0; msg[1] >= 3 && i < g->workers; i++)
            sim_worker_kill(w, a, i);
    }
    if (r < 0)
        sim_fault(w, "message %u refused: %d", msg[0], r);
    sim_agent_pump(w, a);
}
