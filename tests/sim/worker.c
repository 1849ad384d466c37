/* worker.c - see sim.h: what the adapter does in a worker, with the steps of a claim apart, as they are in
 * reality. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static sim_worker *get(sim_world *w, uint32_t a, uint32_t slot)
{
    return &w->agent[a].worker[slot];
}

static sim_event event(uint32_t kind, uint32_t a, uint32_t slot, const sim_worker *g)
{
    return (sim_event){ .kind = kind, .a = a, .b = slot, .c = g->incarnation };
}

/* Mostly microseconds, now and then a busy machine. */
static uint64_t lag(sim_world *w)
{
    return sim_chance(w, 3) ? sim_between(w, 1 * MS, 8 * MS) : sim_between(w, 5000, 120000);
}

void sim_worker_start(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *g = get(w, a, slot);
    for (uint32_t i = 0; i < g->inbox_len; i++)
        free(g->inbox[i]);
    *g = (sim_worker){ .alive = true,
                       .incarnation = g->incarnation + 1,
                       .limit = UINT32_MAX,
                       .failures = g->failures,
                       .item = g->item,
                       .attempt = g->attempt,
                       .late_starts = g->late_starts,
                       .inbox = g->inbox,
                       .inbox_cap = g->inbox_cap,
                       .cap = g->cap };
}

void sim_worker_free(sim_worker *g)
{
    for (uint32_t i = 0; i < g->inbox_len; i++)
        free(g->inbox[i]);
    free(g->inbox);
    free(g->item);
    free(g->attempt);
}

void sim_worker_told(sim_world *w, uint32_t a, uint32_t slot, const xd_aqueue_command *run)
{
    sim_worker *g = get(w, a, slot);
    if (run->reopen) {
        g->runs = run->runs;
        g->limit = UINT32_MAX;
    }
    uint32_t n = 0, k = 0;
    for (size_t i = 0; i < run->n_spans; i++)
        n += run->spans[i].count;
    sim_frame *f = sim_alloc(sizeof *f + 2 * (size_t)n * sizeof(uint32_t));
    f->first = run->first;
    f->last = run->last;
    f->final = run->final;
    f->count = n;
    for (size_t i = 0; i < run->n_spans; i++)
        for (uint32_t j = 0; j < run->spans[i].count; j++, k++) {
            f->u.item[k] = run->spans[i].first + j;
            f->u.item[n + k] = run->spans[i].attempt;
        }
    sim_event ev = event(EV_FRAME, a, slot, g);
    ev.ptr = f;
    uint64_t at = w->now + lag(w);
    g->pipe_in_ns = at > g->pipe_in_ns ? at : g->pipe_in_ns;
    sim_at(w, g->pipe_in_ns, ev);
}

static void read_frames(sim_world *w, sim_worker *g)
{
    for (uint32_t i = 0; i < g->inbox_len; i++) {
        sim_frame *f = g->inbox[i];
        if (f->first > g->told_end)
            sim_fault(w, "RUN leaves a gap: first %u, told %u", f->first, g->told_end);
        if (f->first < g->claimed && f->first <= g->pos && g->state >= W_HOLD)
            sim_fault(w, "RUN voids the running position %u", g->pos);
        uint32_t end = f->first + f->count;
        if (end > g->cap) {
            g->cap = end * 2;
            g->item = realloc(g->item, g->cap * sizeof *g->item);
            g->attempt = realloc(g->attempt, g->cap * sizeof *g->attempt);
            if (!g->item || !g->attempt)
                abort();
        }
        if (f->count) {
            memcpy(g->item + f->first, f->u.item, f->count * sizeof *g->item);
            memcpy(g->attempt + f->first, f->u.item + f->count, f->count * sizeof *g->attempt);
        }
        g->told_end = end;
        g->last = f->last;
        g->final = f->final;
        g->runs_read++;
        g->refused = false;
        free(f);
    }
    g->inbox_len = 0;
}

static bool may_go_on(const sim_world *w, uint32_t a, const sim_worker *g, uint32_t position)
{
    uint32_t failures = 0;
    for (uint32_t i = 0; i < SIM_WORKERS; i++)
        failures += w->agent[a].worker[i].failures;
    return position < g->limit && g->runs <= g->runs_read && !w->agent[a].stop &&
           !(w->maxfail && failures >= w->maxfail);
}

/* What was kept for a successor: it has come, or none comes and the session's fixtures go, too. */
static void teardown(sim_world *w, uint32_t a, uint32_t slot, bool successor)
{
    sim_worker *g = get(w, a, slot);
    g->session = g->session && successor;
    if (!g->kept)
        return;
    g->kept = false;
    if (g->robbed)
        return;
    uint64_t at = w->now + lag(w);
    g->pipe_out_ns = at > g->pipe_out_ns ? at : g->pipe_out_ns;
    sim_at(w, g->pipe_out_ns, event(EV_CLOSED, a, slot, g));
}

static void begin(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *g = get(w, a, slot);
    uint32_t    i = g->item[g->pos], attempt = g->attempt[g->pos], failures = 0;
    sim_item   *it = &w->item[i];
    if (attempt >= 64)
        sim_fault(w, "item %u was leased %u times: to and fro", i, attempt);
    if (it->attempts >> (attempt & 63) & 1 && !w->agent[a].lost)
        sim_fault(w, "item %u began twice under attempt %u", i, attempt);
    it->attempts |= 1ull << (attempt & 63);
    int32_t  here = (int32_t)(a * SIM_WORKERS + slot);
    uint64_t group = w->plan[i].group;
    for (uint32_t k = 0; group && !w->disturbed && k < w->n_items; k++)
        if (w->plan[k].group == group && w->item[k].lists == it->lists && w->item[k].ran_on >= 0 &&
            w->item[k].ran_on != here)
            sim_fault(w, "group of item %u runs on two workers", i);
    it->ran_on = here;
    if (it->kills) {
        if (++it->begun > 2)
            sim_fault(w, "item %u ends an agent for the third time", i);
        sim_at(w, w->now + sim_between(w, 0, MS), (sim_event){ .kind = EV_LOST, .a = a, .d = 1 });
    }
    for (uint32_t k = 0; k < SIM_WORKERS; k++)
        failures += w->agent[a].worker[k].failures;
    if (w->maxfail && failures >= w->maxfail && ++g->late_starts > 1)
        sim_fault(w, "-x: worker %u of agent %u began %u items after the failure", slot, a, g->late_starts);
    teardown(w, a, slot, true);
    if (!g->session) {
        w->setups++;
        w->ran += g->setups++ == 0;
        g->session = true;
        if (w->setups != w->ran && !w->disturbed &&
            !w->broken) /* after the loss of a worker or an agent it is allowed */
            sim_fault(w, "session fixtures were set up %u times by %u processes", w->setups, w->ran);
    }
    g->state = W_RUNNING;
    g->item_plus_1 = i + 1;
    g->began_ns = w->now;
    sim_hash(w, (uint64_t)i << 32 | (uint32_t)here);
    sim_at(w, w->now + it->dur_us * 1000ull, event(EV_ITEM_END, a, slot, g));
}

/* An item to run, and its successor or that none comes. */
static bool knows_enough(const sim_worker *g)
{
    return g->pos < g->told_end && (g->pos + 1 < g->told_end || g->last);
}

static bool none_comes(const sim_worker *g, uint32_t position)
{
    return position >= g->told_end && g->final && g->runs_read >= g->runs;
}

/* Looks what there is to do: reads the pipe, claims, begins. */
static void think(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *g = get(w, a, slot);
    if (g->state != W_IDLE && g->state != W_HOLD)
        return;
    if (g->robbed &&
        (g->inbox_len || g->refused || !knows_enough(g))) { /* it reads the end of its command pipe */
        sim_worker_kill(w, a, slot);
        return;
    }
    read_frames(w, g);
    bool ready = knows_enough(g);
    if (g->kept && none_comes(g, g->pos))
        teardown(w, a, slot, false);
    bool eager =
        w->eager && g->state == W_IDLE && g->pos < g->told_end; /* claims, then waits for the successor */
    if ((!ready && !eager) || g->refused)
        return;
    if (g->state == W_HOLD) {
        begin(w, a, slot);
        return;
    }
    g->state = W_CLAIMING;
    g->claimed = g->pos + 1;
    sim_at(w, w->now + sim_between(w, 0, 20000), event(EV_CHECK, a, slot, g));
}

/* holds: the successor is claimed; keeps: it is not known whether one comes. */
static void finish(sim_world *w, uint32_t a, uint32_t slot, bool holds, bool keeps)
{
    sim_worker *g = get(w, a, slot);
    sim_event   ev = event(EV_RESULT, a, slot, g);
    ev.d = g->pos;
    ev.e = g->item[g->pos];
    ev.f = w->item[ev.e].outcome;
    ev.open = g->kept = keeps;
    g->session = holds || keeps;
    g->robbed |= w->item[ev.e].robs;
    if (!g->robbed) {
        uint64_t at = w->now + lag(w);
        g->pipe_out_ns = at > g->pipe_out_ns ? at : g->pipe_out_ns;
        sim_at(w, g->pipe_out_ns, ev);
    }
    g->item_plus_1 = 0;
    g->pos++;
    g->state = holds ? W_HOLD : W_IDLE;
    think(w, a, slot);
}

static void item_end(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *g = get(w, a, slot);
    sim_item   *it = &w->item[g->item[g->pos]];
    if (it->crash) {
        sim_worker_kill(w, a, slot);
        return;
    }
    g->failures += it->outcome == 2;
    read_frames(w, g);
    g->state = W_TEARDOWN;
    if (g->pos + 1 < g->told_end) {
        g->claimed = g->pos + 2;
        sim_at(w, w->now + sim_between(w, 0, 20000), event(EV_CHECK, a, slot, g));
    } else {
        finish(w, a, slot, false, !none_comes(g, g->pos + 1));
    }
}

static void check(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *g = get(w, a, slot);
    bool        teardown = g->state == W_TEARDOWN;
    uint32_t    position = g->pos + (teardown ? 1 : 0);
    bool        ok = may_go_on(w, a, g, position);
    if (!ok) {
        g->claimed = position;
        g->refused = true;
    }
    if (teardown) {
        finish(w, a, slot, ok, !ok);
    } else if (ok) {
        g->state = W_HOLD;
        think(w, a, slot);
    } else {
        g->state = W_IDLE;
        if (g->inbox_len || g->robbed)
            think(w, a, slot);
    }
}

void sim_worker_kill(sim_world *w, uint32_t a, uint32_t slot)
{
    sim_worker *g = get(w, a, slot);
    if (!g->alive)
        return;
    g->alive = false;
    g->dead_claimed = g->claimed;
    g->dead_item = g->item_plus_1;
    g->dead_finished = g->pos;
    w->disturbed = true;
    uint64_t at = w->now + lag(w);
    sim_at(w, at > g->pipe_out_ns ? at : g->pipe_out_ns + 1, event(EV_DOWN, a, slot, g));
}

void sim_worker_event(sim_world *w, const sim_event *ev)
{
    sim_worker *g = get(w, ev->a, ev->b);
    if (!g->alive || ev->c != g->incarnation) {
        free(ev->ptr);
        return;
    }
    if (ev->kind == EV_CHECK) {
        check(w, ev->a, ev->b);
    } else if (ev->kind == EV_ITEM_END) {
        item_end(w, ev->a, ev->b);
    } else {
        if (g->inbox_len == g->inbox_cap) {
            g->inbox_cap = g->inbox_cap ? 2 * g->inbox_cap : 16;
            g->inbox = realloc(g->inbox, g->inbox_cap * sizeof(sim_frame *));
            if (!g->inbox)
                abort();
        }
        g->inbox[g->inbox_len++] = ev->ptr;
        think(w, ev->a, ev->b);
    }
}
