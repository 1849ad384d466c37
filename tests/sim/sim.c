/* sim.c - see sim.h: scenarios, the controller, checks.
 *   sim [--seeds N] [--first N] [--trace] [--expect-fault] (main.c) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define MAX_EVENTS 20000000u
#define MAX_MOVES 8u /* of one item; a sound scheduler was seen to need 6 in 100,000 seeds */

/* ---- the controller ---- */

static void down(sim_world *w, uint32_t a, uint32_t kind, uint32_t x, uint32_t y, const xd_span *spans,
                 size_t n)
{
    uint32_t msg[6] = { kind, x, y };
    sim_link_send(w, a, false, msg, spans, (uint32_t)n);
}

/* The life of the run goes on; `action` is what has to follow. */
static void happens(sim_world *w, xd_run_event event, xd_run_action action)
{
    const xd_run_step step = xd_run_table(w->run, event);
    if (step.action != action)
        sim_fault(w, "event %d in a run that is %s: action %d, not %d", event, xd_run_state_name(w->run),
                  step.action, action);
    w->run = step.next;
}

static void count_outcome(sim_world *w, uint32_t i)
{
    if (++w->item[i].outcomes != 1)
        sim_fault(w, "item %u has %u outcomes", i, w->item[i].outcomes);
}

static bool has(const sim_world *w, uint32_t a, uint32_t item)
{
    const uint8_t lists = w->item[item].lists;
    return !lists || lists >> (a % w->lists) & 1;
}

static void count_orphans(sim_world *w, const xd_sched_command *c)
{
    w->orphans += c->count;
    for (uint32_t a = 0; a < w->n_agents && !w->early;
         a++) /* else it is not known that an agent has no worker left */
        if (!w->agent[a].lost && !w->agent[a].away && w->agent[a].known_up && has(w, a, c->spans[0].first))
            sim_fault(w, "item %u is not run, and agent %u has it", c->spans[0].first, a);
}

/* Items go where workers are idle, and not to and fro. */
static void count_moves(sim_world *w, const xd_sched_command *c)
{
    for (size_t k = 0; k < c->n_spans; k++)
        for (uint32_t i = c->spans[k].first; i < c->spans[k].first + c->spans[k].count; i++) {
            sim_item *it = &w->item[i];
            if (!has(w, c->agent, i))
                sim_fault(w, "item %u is given to agent %u, which does not have it", i, c->agent);
            it->moves += it->home >= 0 && it->home != c->agent && !w->agent[it->home].lost;
            if (it->moves > MAX_MOVES)
                sim_fault(w, "item %u went %u times from one agent to another: to and fro", i, it->moves);
            it->home = c->agent;
        }
}

static void ctl_pump(sim_world *w)
{
    xd_sched_command c;
    int              r;
    while ((r = xd_sched_next(w->sched, &c)) > 0) {
        sim_hash(w, (uint64_t)c.kind << 48 | (uint64_t)c.agent << 32 | c.n_spans);
        if (w->trace)
            printf("%12.6f sched: command %d agent %u spans %zu count %u\n", (double)w->now / 1e9, c.kind,
                   c.agent, c.n_spans, c.count);
        switch (c.kind) {
        case XD_SCHED_LEASE:
            if (w->run != XD_RUN_TESTING)
                sim_fault(w, "items are given out in a run that is %s", xd_run_state_name(w->run));
            count_moves(w, &c);
            down(w, c.agent, M_LEASE, 0, 0, c.spans, c.n_spans);
            break;
        case XD_SCHED_TAKE_BACK:
            down(w, c.agent, M_TAKE_BACK, c.request, c.count, NULL, 0);
            break;
        case XD_SCHED_NO_MORE:
            down(w, c.agent, M_NO_MORE, c.final, 0, NULL, 0);
            break;
        case XD_SCHED_CANCEL:
            down(w, c.agent, M_CANCEL, c.how, 0, NULL, 0);
            break;
        case XD_SCHED_OUTCOME:
            count_outcome(w, c.spans[0].first);
            if (w->killer && !w->item[c.spans[0].first].kills)
                sim_fault(w, "item %u is called lost for what another one did", c.spans[0].first);
            break;
        case XD_SCHED_STARVED: /* no worker is left and none may be started: as a run does then */
            for (uint32_t i = 0; i < w->n_agents; i++) {
                const sim_agent *g = &w->agent[i];
                if (g->present && !g->lost && !g->away && sim_agent_spares(g))
                    sim_fault(w, "given up for want of workers, although agent %u can start one", i);
            }
            w->user_cancel = true;
            if (xd_sched_cancel(w->sched, 1) < 0)
                sim_fault(w, "cancel refused");
            break;
        case XD_SCHED_ORPHANED:
            count_orphans(w, &c);
            break;
        case XD_SCHED_ALL_DONE:
            if (w->more_comes)
                break; /* not of those that come late */
            happens(w, XD_RUN_ON_ALL_DONE, XD_RUN_CLOSE);
            w->done = true;
        }
    }
    if (r < 0)
        sim_fault(w, "xd_sched_next: %d", r);
}

void sim_ctl_connected(sim_world *w, uint32_t a, bool connected)
{
    sim_agent *g = &w->agent[a];
    if (!w->tells_away)
        return;
    g->away = !connected;
    if (xd_sched_agent_up(w->sched, (uint16_t)a, connected ? g->known_up : 0) < 0)
        sim_fault(w, "connection refused");
    ctl_pump(w);
}

/* 0; 1 = it is of no use; -errno. */
static int hear(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count)
{
    switch (msg[0]) {
    case M_WORKERS:
        w->agent[a].known_up = msg[1];
        return xd_sched_agent_up(w->sched, (uint16_t)a, msg[1]);
    case M_OPENED:
        return xd_sched_opened(w->sched, (uint16_t)a, msg[1]);
    case M_CLOSED:
        return xd_sched_closed(w->sched, (uint16_t)a, msg[1], (uint16_t)msg[2],
                               xd_sched_outcome(w->sched, msg[1]), 0);
    case M_RETURNED:
        return xd_sched_returned(w->sched, (uint16_t)a, msg[1], spans, count);
    default:
        return xd_sched_result(w->sched, (uint16_t)a, msg[1], (uint16_t)msg[2], (uint8_t)msg[3],
                               msg[3] == 2 || msg[3] == 7);
    }
}

void sim_ctl_message(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count)
{
    if (w->trace)
        printf("%12.6f agent %u: message %u %u %u %u spans %u\n", (double)w->now / 1e9, a, msg[0], msg[1],
               msg[2], msg[3], count);
    int r = msg[0] == M_WORKERS && w->early ? 0 : hear(w, a, msg, spans, count);
    if (r == 0 && msg[0] == M_RESULT)
        count_outcome(w, msg[1]);
    if (r != 0)
        sim_fault(w, "message %u (%u %u %u) of agent %u refused: %d", msg[0], msg[1], msg[2], msg[3], a, r);
    ctl_pump(w);
}

void sim_ctl_late(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count)
{
    if (hear(w, a, msg, spans, count) != 1)
        sim_fault(w, "message %u (%u %u %u) of agent %u was taken after it had been given up", msg[0], msg[1],
                  msg[2], msg[3], a);
    ctl_pump(w);
}

static void agent_lost(sim_world *w, uint32_t a, bool silent)
{
    sim_agent *g = &w->agent[a];
    uint32_t   running[SIM_WORKERS], n = 0;
    if (g->lost || !g->present)
        return;
    for (uint32_t i = 0; i < g->workers; i++) {
        sim_worker *k = &g->worker[i];
        if (!silent && k->alive && k->item_plus_1 && w->now - k->began_ns > SEC) /* as PROGRESS tells */
            running[n++] = k->item_plus_1 - 1;
        k->alive = false;
    }
    g->lost = w->disturbed = true;
    happens(w, XD_RUN_ON_ENV_LOST, XD_RUN_LOSE);
    if (xd_sched_agent_lost(w->sched, (uint16_t)a, running, n, !silent) < 0)
        sim_fault(w, "loss of agent refused");
    ctl_pump(w);
}

/* ---- scenarios ---- */

static void make_items(sim_world *w)
{
    static const uint32_t sizes[] = { 0, 1, 2, 3, 10, 40, 120, 300, 800 };
    uint32_t              n = sizes[sim_rand(w, XD_ARRAY_LEN(sizes))];
    n += n > 3 ? sim_rand(w, n) : 0;
    w->n_items = n;
    w->item = sim_alloc(n * sizeof *w->item);
    w->plan = sim_alloc(n * sizeof *w->plan);
    uint32_t typical = 1u << (4 + sim_rand(w, 12)), slow = sim_chance(w, 50) ? sim_rand(w, 8) : 0;
    uint32_t crash = sim_chance(w, 30) ? 1 + sim_rand(w, 4) : 0,
             fail = sim_chance(w, 50) ? sim_rand(w, 12) : 0;
    uint32_t history = sim_rand(w, 3), groups = 1 + sim_rand(w, 1 + n / 3), module = 1;
    for (uint32_t i = 0; i < n; i++) {
        sim_item *it = &w->item[i];
        it->ran_on = it->home = -1;
        it->dur_us = 1 + sim_rand(w, 2 * typical);
        if (sim_chance(w, slow))
            it->dur_us += 50000 + sim_rand(w, 3000000);
        it->crash = sim_chance(w, crash);
        it->robs = !it->crash && crash && sim_chance(w, 1);
        it->outcome = sim_chance(w, fail) ? 2 : 1;
        module += sim_chance(w, 10);
        w->plan[i].unit = module;
        w->plan[i].group =
            sim_chance(w, 80) ? 1 + (sim_chance(w, 70) ? module % groups : sim_rand(w, groups)) : 0;
        if (history == 1 || (history == 2 && sim_chance(w, 60))) /* true, or partly known and stale */
            w->plan[i].expected_us = history == 1 ? it->dur_us : 1 + sim_rand(w, 2 * it->dur_us);
        w->horizon_ns += it->dur_us * 1000ull;
        w->longest_ns = XD_MAX(w->longest_ns, it->dur_us * 1000ull);
    }
    w->work_ns = w->horizon_ns;
    w->horizon_ns = 3 * w->horizon_ns + 120 * SEC;
}

/* Agents with other tests: each list has most items, the others are in some lists. The agents of the last list may come late. */
static void make_lists(sim_world *w)
{
    w->lists = w->n_agents > 1 && sim_chance(w, 25) ? 2 + sim_rand(w, w->n_agents - 1) : 1;
    const uint32_t all = (1u << w->lists) - 1, some = sim_chance(w, 20) ? 100 : 1 + sim_rand(w, 40);
    const uint32_t last = 1u << (w->lists - 1);
    w->more_comes = w->lists > 1 && sim_chance(w, 50);
    w->n_first = w->more_comes ? w->n_items - sim_rand(w, w->n_items / 2 + 1) : w->n_items;
    for (uint32_t i = 0; i < w->n_items && w->lists > 1; i++) {
        uint32_t lists = sim_chance(w, some) ? 1 + sim_rand(w, all) : all;
        if (w->more_comes)
            lists = i >= w->n_first ? last : lists == last ? all : lists;
        w->item[i].lists = (uint8_t)(lists == all ? 0 : lists);
        /* Before the last list is known, what all others have is everybody's. */
        const uint32_t known = w->more_comes ? lists & ~last : lists;
        w->plan[i].set = (uint16_t)(known == (w->more_comes ? all & ~last : all) ? 0 : known);
    }
}

static bool is_late(const sim_world *w, uint32_t a)
{
    return w->more_comes && a % w->lists == w->lists - 1;
}

static void tell_lists(sim_world *w)
{
    for (uint32_t a = 0; a < w->n_agents && w->lists > 1; a++) {
        bool can[1u << SIM_AGENTS];
        for (uint32_t set = 0; set < XD_ARRAY_LEN(can); set++)
            can[set] = !set || set >> (a % w->lists) & 1;
        if (xd_sched_agent_sets(w->sched, (uint16_t)a, can, XD_ARRAY_LEN(can)) < 0)
            sim_fault(w, "no sets");
    }
}

static void start_agent(sim_world *w, uint32_t a)
{
    sim_agent_start(w, a, w->late_workers[a], w->restarts);
    if (w->early && xd_sched_agent_up(w->sched, (uint16_t)a, w->agent[a].known_up = w->late_workers[a]) < 0)
        sim_fault(w, "no agent");
}

static void more_items(sim_world *w)
{
    uint16_t *sets = sim_alloc(w->n_items * sizeof *sets);
    for (uint32_t i = 0; i < w->n_items; i++)
        sets[i] = w->plan[i].set = w->item[i].lists;
    if (xd_sched_more(w->sched, w->plan + w->n_first, w->n_items - w->n_first, sets) < 0)
        sim_fault(w, "more items are refused");
    free(sets);
    w->disturbed = true; /* what was final is not, and nobody was there for the bound */
    tell_lists(w);
    for (uint32_t a = 0; a < w->n_agents; a++)
        if (is_late(w, a))
            start_agent(w, a);
    w->more_comes = false;
    ctl_pump(w);
}

static void make_trouble(sim_world *w, uint64_t span)
{
    if (sim_chance(w, 30))
        for (uint32_t k = 1 + sim_rand(w, 6); k > 0; k--)
            sim_at(w, sim_between(w, 0, span),
                   (sim_event){ .kind = EV_KILL,
                                .a = sim_rand(w, w->n_agents),
                                .b = sim_rand(w, SIM_WORKERS),
                                .d = sim_chance(w, 25) });
    if (sim_chance(w, 40))
        for (uint32_t k = 1 + sim_rand(w, 4); k > 0; k--)
            sim_at(w, sim_between(w, 0, span), (sim_event){ .kind = EV_DROP, .a = sim_rand(w, w->n_agents) });
    if (sim_chance(w, 25) && !w->killer)
        sim_at(w, sim_between(w, 0, span),
               (sim_event){ .kind = EV_DROP, .a = sim_rand(w, w->n_agents), .d = 1 });
    if (sim_chance(w, 8))
        sim_at(w, sim_between(w, 0, span), (sim_event){ .kind = EV_CANCEL, .a = sim_chance(w, 40) ? 3 : 1 });
}

static void make_world(sim_world *w, uint64_t seed)
{
    w->seed = seed;
    w->rng = seed * 0x9e3779b97f4a7c15ull + 0x123456789ull;
    w->hash = 0xcbf29ce484222325ull;
    for (int i = 0; i < 8; i++)
        (void)sim_rand(w, 2);
    make_items(w);
    w->n_agents = sim_chance(w, 40) ? 1 : 1 + sim_rand(w, SIM_AGENTS);
    make_lists(w);
    w->killer = w->n_agents > 2 && w->n_items > 1 && seed % 3;
    if (w->killer) {
        sim_item *it = &w->item[seed % w->n_items];
        it->kills = true;
        it->crash = it->robs = false;
        it->dur_us += 1000; /* it ends its agent before it ends */
    }
    w->tells_away = sim_chance(w, 50);
    w->eager = sim_chance(w, 60);
    w->early = sim_chance(w, 50);
    w->maxfail = sim_chance(w, 25) ? 1 + sim_rand(w, 3) : 0;
    xd_sched_options o = { .mode = (xd_sched_mode)sim_rand(w, XD_SCHED_LOADGROUP + 1),
                           .maxfail = w->maxfail,
                           .max_attempts = w->killer ? 2 : sim_rand(w, 3),
                           .agents_expected = w->n_agents,
                           .keep_scope_order = sim_chance(w, 50),
                           .in_order = sim_chance(w, 20) };
    if (o.mode < XD_SCHED_LOADSCOPE)
        for (uint32_t i = 0; i < w->n_items; i++)
            w->plan[i].group = 0;
    uint32_t total = 0, workers[SIM_AGENTS];
    for (uint32_t a = 0; a < w->n_agents; a++)
        total += workers[a] = 1 + sim_rand(w, SIM_WORKERS);
    o.workers_expected = sim_chance(w, 50) ? total : 0;
    o.more_come = sim_chance(w, 30);
    if (xd_sched_new(&w->sched, &o) < 0 || xd_sched_collection(w->sched, w->plan, w->n_first) < 0)
        sim_fault(w, "no scheduler");
    tell_lists(w);
    happens(w, XD_RUN_ON_TESTS, XD_RUN_BEGIN);
    uint32_t restarts = sim_chance(w, 20) ? sim_rand(w, 3) : 64;
    w->restarts = restarts;
    memcpy(w->late_workers, workers, sizeof workers);
    for (uint32_t a = 0; a < w->n_agents; a++)
        if (!is_late(w, a))
            start_agent(w, a);
    if (w->more_comes)
        sim_at(w, sim_between(w, 0, 2 * w->work_ns / total + 50 * MS), (sim_event){ .kind = EV_MORE });
    w->workers = total;
    w->grouped = o.mode >= XD_SCHED_LOADSCOPE;
    make_trouble(w, 80 * MS + 3 * w->work_ns / (2 * total));
    ctl_pump(w);
}

static void free_world(sim_world *w)
{
    sim_event ev;
    while (sim_pop(w, &ev))
        free(ev.ptr);
    for (uint32_t a = 0; a < w->n_agents; a++) {
        sim_link_free(&w->agent[a]);
        sim_agent_free(&w->agent[a]);
    }
    xd_sched_free(w->sched);
    free(w->item);
    free(w->plan);
    free(w->heap);
}

/* ---- one run ---- */

static void dispatch(sim_world *w, const sim_event *ev)
{
    if (!w->agent[ev->a].present && (ev->kind == EV_DROP || ev->kind == EV_KILL))
        return; /* it has not come yet */
    switch ((sim_kind)ev->kind) {
    case EV_FRAME:
    case EV_CHECK:
    case EV_ITEM_END:
        sim_worker_event(w, ev);
        break;
    case EV_STREAM:
    case EV_DROP:
    case EV_CONNECT:
    case EV_ACK:
        sim_link_event(w, ev);
        break;
    case EV_LOST:
        agent_lost(w, ev->a, ev->d || w->seed % 2);
        break;
    case EV_CANCEL:
        w->user_cancel = true;
        happens(w, XD_RUN_ON_STOP, XD_RUN_CANCEL);
        if (xd_sched_cancel(w->sched, (uint8_t)ev->a) < 0)
            sim_fault(w, "cancel refused");
        ctl_pump(w);
        break;
    case EV_MORE:
        more_items(w);
        break;
    default:
        sim_agent_event(w, ev);
    }
}

static void check_end(sim_world *w)
{
    const xd_sched_stats *st = xd_sched_stats_get(w->sched);
    if (!w->done)
        sim_fault(w, "stuck: %u of %u recorded, %u leased, %u pending at %.1f s", st->recorded, st->items,
                  st->leased, st->pending, (double)w->now / 1e9);
    bool stopped = w->user_cancel || (w->maxfail && st->failures >= w->maxfail);
    if (st->cancelled != stopped)
        sim_fault(w, "cancelled %d, expected %d", st->cancelled, stopped);
    if (st->not_run != w->orphans && !st->cancelled)
        sim_fault(w, "%u items not run in a run that was not cancelled, %u orphans", st->not_run, w->orphans);
    /* Nobody idles while there is work: a list schedule plus start-up and the time of messages and claims. */
    uint64_t bound = w->work_ns / w->workers + w->longest_ns + 400 * MS + w->n_items * MS / w->workers;
    if (!w->disturbed && !w->broken && !w->grouped && w->lists == 1 && w->now > bound)
        sim_fault(w, "took %.3f s of virtual time, bound %.3f", (double)w->now / 1e9, (double)bound / 1e9);
    for (uint32_t i = 0; i < w->n_items; i++) {
        uint8_t o = xd_sched_outcome(w->sched, i);
        if (o == 0 || (w->item[i].outcomes == 0) != (o == XD_OUT_NOT_RUN))
            sim_fault(w, "item %u: outcome %u, %u counted", i, o, w->item[i].outcomes);
        if (w->item[i].kills && w->item[i].begun && (o == 1 || o == 2))
            sim_fault(w, "item %u ended its agent and has outcome %u", i, o);
        if ((o == 1 || o == 2) && w->item[i].ran_on < 0)
            sim_fault(w, "item %u has an outcome and never ran", i);
    }
}

static uint64_t run_seed(uint64_t seed, bool trace, char fault[256], uint64_t *events)
{
    const uint64_t lived = sim_run(seed, trace, fault, events);
    if (fault[0])
        return lived;
    const uint64_t collected = sim_collect(seed, trace, fault, events) ^ lived;
    if (fault[0])
        return collected;
    sim_world w = { .trace = trace };
    make_world(&w, seed);
    sim_event ev;
    while (!w.done && !w.fault[0] && w.now < w.horizon_ns && w.events < MAX_EVENTS && sim_pop(&w, &ev)) {
        sim_hash(&w, ev.at ^ (uint64_t)ev.kind << 40 ^ (uint64_t)ev.a << 32 ^ (uint64_t)ev.b << 24 ^ ev.d);
        if (trace)
            printf("%12.6f event %u a %u b %u c %u d %u e %u f %u\n", (double)ev.at / 1e9, ev.kind, ev.a,
                   ev.b, ev.c, ev.d, ev.e, ev.f);
        dispatch(&w, &ev);
    }
    check_end(&w);
    memcpy(fault, w.fault, sizeof w.fault);
    *events += w.events;
    uint64_t hash = w.hash ^ collected;
    free_world(&w);
    return hash;
}

int main(int argc, char **argv)
{
    return sim_main(argc, argv, run_seed);
}
