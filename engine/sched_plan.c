/* sched_plan.c - see sched.h: what is to be done next: leases, taking back, the end. */
#include <stdlib.h>

#include "engine/sched_state.h"

#define LEVEL_ONE 1024u /* one unit per worker */

static xd_sched_seg *ring_front(xd_sched *s)
{
    return &s->ring[s->ring_at];
}

static void ring_pop(xd_sched *s)
{
    s->ring_at = (s->ring_at + 1) % s->ring_cap;
    s->ring_len--;
}

static uint64_t weight_of(const xd_sched *s, uint32_t first, uint32_t count)
{
    uint64_t w = 0;
    for (uint32_t i = first; i < first + count; i++)
        w += s->items[i].weight;
    return w;
}

static uint32_t workers_now(const xd_sched *s)
{
    uint32_t w = 0;
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (!s->agents[a].lost && !s->agents[a].closed)
            w += s->agents[a].workers;
    return XD_MAX(w, 1u);
}

/* Order of the collection, made at the first lease: only then the number of workers, so the grain, is known.
 */
static int make_order(xd_sched *s)
{
    xd_sched_order in = {
        .items = s->raw,
        .count = s->n,
        .grouped = s->opt.mode >= XD_SCHED_LOADSCOPE,
        .keep_order = s->opt.keep_scope_order || s->opt.in_order,
        .history = s->history && !s->opt.in_order,
        .workers = s->opt.workers_expected ? s->opt.workers_expected : workers_now(s),
        .item_weight = &s->items[0].weight,
        .item_group = &s->items[0].group,
        .stride = sizeof(xd_sched_entry),
    };
    size_t len = 0;
    XD_TRY(xd_sched_order_make(&in, &s->ring, &len, &s->n_groups, &s->max_group));
    s->group_left = calloc((size_t)s->n_groups + 1, sizeof *s->group_left);
    if (!s->group_left)
        return -ENOMEM;
    s->ring_cap = s->ring_len = len;
    s->pending_weight = weight_of(s, 0, s->n);
    free(s->raw);
    s->raw = NULL;
    s->ordered = true;
    return 0;
}

/* ---- sharing out groups that were taken back ---- */

/* What all agents lack to have `level` units per LEVEL_ONE workers. */
static uint64_t lacking(const xd_sched *s, uint64_t level)
{
    uint64_t sum = 0;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        const xd_sched_agent *g = &s->agents[a];
        uint64_t              want = level * g->workers / LEVEL_ONE;
        sum += xd_sched_usable(g) && want > g->units ? want - g->units : 0;
    }
    return sum;
}

/* Units that wait here.  The segments of a group are neighbours. */
static uint64_t ring_units(const xd_sched *s)
{
    uint64_t units = 0;
    uint32_t group = 0, held = 0;
    for (size_t i = 0; i < s->ring_len; i++) {
        const xd_sched_seg *seg = &s->ring[(s->ring_at + i) % s->ring_cap];
        held = seg->group == group ? held : 0;
        group = seg->group;
        units += group ? XD_MIN(held + seg->count, 2u) - XD_MIN(held, 2u) : seg->count;
        held += seg->count;
    }
    return units;
}

void xd_sched_share_out(xd_sched *s)
{
    uint64_t units = ring_units(s), low = 0, high = LEVEL_ONE;
    s->sharing = s->max_group && s->ring_len;
    while (s->sharing && lacking(s, high) < units && high < UINT32_MAX)
        high *= 2;
    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;
        *(lacking(s, middle) < units ? &low : &high) = middle;
    }
    s->level = high;
}

/* Up to how many units this agent gets. Up to the level, so that nobody who takes has more than who gave; what does not
 * come out even is given to workers without work, and else left to who gave. */
static uint32_t fair_units(const xd_sched *s, const xd_sched_agent *g)
{
    if (g->gave)
        return UINT32_MAX; /* the rest, after all others */
#if XD_PLANTED_BUG == 7
    return UINT32_MAX; /* who takes gets all, and is the one to give next */
#endif
    uint64_t units = s->level * g->workers;
    if (s->level < LEVEL_ONE)
        units += LEVEL_ONE - 1;
    return (uint32_t)XD_MIN(units / LEVEL_ONE, (uint64_t)UINT32_MAX);
}

/* May this agent get what is at the head of the ring?  One without work for all its workers gets a group at once. */
static bool fits(const xd_sched *s, const xd_sched_agent *g)
{
    uint32_t fair = fair_units(s, g), units = 0, group = s->ring[s->ring_at].group;
    for (size_t i = 0; i < s->ring_len && units < 2 && (i == 0 || group); i++) {
        const xd_sched_seg *seg = &s->ring[(s->ring_at + i) % s->ring_cap];
        if (seg->group != group)
            break;
        units += group ? seg->count : 1;
    }
    return g->units < fair && (g->units < g->workers || g->units + XD_MIN(units, 2u) <= fair);
}

/* ---- leases ---- */

/* Adds items to the lease being made.  Items of different attempts need spans of their own. */
static int out_add(xd_sched *s, xd_sched_agent *g, uint16_t a, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        xd_sched_entry *it = &s->items[i];
        xd_span        *last = s->n_out ? &s->out[s->n_out - 1] : NULL;
        it->attempt++;
        if (i == first || last->attempt != it->attempt) {
            if (s->n_out == s->cap_out) {
                size_t   cap = s->cap_out ? s->cap_out * 2 : 64;
                xd_span *p = realloc(s->out, cap * sizeof *p);
                if (!p)
                    return -ENOMEM;
                s->out = p;
                s->cap_out = cap;
            }
            last = &s->out[s->n_out++];
            *last = (xd_span){ .first = i,
                               .attempt = it->attempt,
                               .flags = it->group ? XD_RANGE_TOGETHER : 0,
                               .group = it->group };
        }
        last->count++;
        if (it->known)
            last->expected_us += it->weight;
        it->state = ITEM_LEASED;
        it->agent = a;
        s->pending_weight -= it->weight;
        uint32_t held = it->group ? ++s->group_left[it->group] : 1;
        g->units += held <= 2;
        g->chunks += held == 1;
    }
    g->outstanding += count;
    s->st.leased += count;
    s->st.pending -= count;
    return 0;
}

/* How many items of a free segment a lease takes that still wants `want` of weight (and `least` items). */
static uint32_t portion(const xd_sched *s, const xd_sched_seg *seg, uint64_t want, uint32_t least)
{
    if (seg->weight <= want + want / 2 && seg->weight) /* whole modules where it is near enough */
        return seg->count;
    uint64_t w = 0;
    uint32_t k = 0;
    while (k < seg->count && (w < want || k < least))
        w += s->items[seg->first + k++].weight;
    return XD_MAX(k, 1u);
}

static int lease(xd_sched *s, uint16_t a, bool all)
{
    xd_sched_agent *g = &s->agents[a];
    uint32_t        workers =
        XD_MAX(workers_now(s), s->opt.agents_expected > s->agents_seen ? s->opt.workers_expected : 0);
    uint64_t want = s->pending_weight * g->workers / (2ull * workers), got = 0;
    uint32_t before = g->outstanding;
    s->n_out = 0;
    while (s->ring_len && (all || (s->sharing ? fits(s, g) : got < want || g->units < 2 * g->workers))) {
        xd_sched_seg seg = *ring_front(s);
        if (seg.group) {
            uint32_t group = seg.group;
            do {
                ring_pop(s);
                got += seg.weight;
                XD_TRY(out_add(s, g, a, seg.first, seg.count));
                if (s->ring_len)
                    seg = *ring_front(s);
            } while (s->ring_len && seg.group == group);
            continue;
        }
        uint32_t least = g->units < 2 * g->workers ? 2 * g->workers - g->units : 0;
        uint32_t k = all          ? seg.count
                     : s->sharing ? XD_MIN(seg.count, fair_units(s, g) - g->units)
                                  : portion(s, &seg, want > got ? want - got : 0, least);
        if (k == seg.count) {
            ring_pop(s);
            got += seg.weight;
        } else {
            uint64_t w = weight_of(s, seg.first, k);
            *ring_front(s) = (xd_sched_seg){ seg.first + k, seg.count - k, 0, seg.weight - w };
            got += w;
        }
        XD_TRY(out_add(s, g, a, seg.first, k));
    }
    g->last_batch = g->outstanding - before;
    g->no_more = g->final = false;
    g->ask_below = UINT32_MAX;
    s->st.leases++;
    return 0;
}

/* The next doubted item, for an agent that has nothing else. */
static int lease_alone(xd_sched *s, uint16_t a)
{
    xd_sched_agent *g = &s->agents[a];
    s->n_out = 0;
    XD_TRY(out_add(s, g, a, s->doubted[s->doubt_at++], 1));
    g->alone = true;
    g->last_batch = 1;
    g->no_more = g->final = false;
    g->ask_below = UINT32_MAX;
    s->st.leases++;
    return 0;
}

static int idle(const xd_sched *s)
{
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (xd_sched_usable(&s->agents[a]) && !s->agents[a].outstanding && !s->agents[a].request)
            return (int)a;
    return -1;
}

/* The agent that should get a lease now: the one with least work per worker, if that is little.  -1 none. */
static int needy(const xd_sched *s, bool single)
{
    int best = -1;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        const xd_sched_agent *g = &s->agents[a];
        if (!xd_sched_usable(g) || g->alone)
            continue;
        if (s->sharing ? !fits(s, g) : !single && g->units >= XD_MAX(2 * g->workers, g->last_batch / 4))
            continue;
        const xd_sched_agent *b = best < 0 ? NULL : &s->agents[best];
        if (!b || (b->gave && !g->gave) ||
            (b->gave == g->gave && (uint64_t)g->units * b->workers < (uint64_t)b->units * g->workers))
            best = (int)a;
    }
    return best;
}

static uint32_t spare(const xd_sched_agent *g)
{
    return g->chunks > g->workers ? g->chunks - g->workers : 0;
}

/* There is one agent, and will be no other. */
static bool is_single(const xd_sched *s)
{
    return !s->opt.more_come && XD_MAX(s->opt.agents_expected, s->agents_seen) == 1;
}

/* No agent gets an item that it does not have: none waits here or is on its way here, and none has more than
 * its own workers can have begun.  Holds from then on, unless one is lost. */
static bool is_final(const xd_sched *s)
{
    if (s->ring_len || s->doubt_at < s->doubt_end)
        return false;
    if (is_single(s))
        return true;
#if XD_PLANTED_BUG == 5
    return true; /* what other agents have may still be taken back and come here */
#endif
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (!s->agents[a].lost && (s->agents[a].request || spare(&s->agents[a])))
            return false;
    return true;
}

/* TAKE_BACKs whose answer is near: an agent that cannot answer now keeps nobody waiting. */
static bool in_flight(const xd_sched *s)
{
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (s->agents[a].request && xd_sched_usable(&s->agents[a]))
            return true;
    return false;
}

/* Is there an agent that runs dry, and one to take from?  Fills *ret with a TAKE_BACK: 1, else 0. */
static int take_back(xd_sched *s, xd_sched_command *ret)
{
    xd_sched_agent *dry = NULL, *victim = NULL;
    uint16_t        from = 0;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        xd_sched_agent *g = &s->agents[a];
        if (!xd_sched_usable(g))
            continue;
        if (!g->alone && g->units <= g->workers && (!dry || g->units < dry->units))
            dry = g;
        if (spare(g) && !g->request && g->units < g->ask_below && (!victim || spare(g) > spare(victim))) {
            victim = g;
            from = (uint16_t)a;
        }
    }
    if (!dry || !victim || dry == victim)
        return 0;
    /* Without an idle worker there it is only provision: not if the victim would be as poor after it. */
    if (dry->units >= dry->workers && (s->max_group || spare(victim) < 2))
        return 0;
    uint32_t unstarted = victim->outstanding - XD_MIN(victim->outstanding, victim->workers);
    uint64_t share = ((uint64_t)unstarted * dry->workers + dry->workers + victim->workers - 1) /
                     (dry->workers + victim->workers);
    uint32_t most = dry->units < dry->workers ? UINT32_MAX : spare(victim) - 1;
    victim->request = ++s->next_request;
    s->st.take_backs++;
    *ret = (xd_sched_command){ .kind = XD_SCHED_TAKE_BACK,
                               .agent = from,
                               .request = victim->request,
                               .count = XD_MAX(XD_MIN((uint32_t)share, most), XD_MAX(s->max_group, 1u)) };
    return 1;
}

/* ---- what is to be done next ---- */

static int next_work(xd_sched *s, xd_sched_command *ret)
{
    if (!s->ordered && s->n) {
        if (needy(s, true) < 0)
            return 0;
        XD_TRY(make_order(s));
    }
    bool single = is_single(s);
    if (s->ring_len) {
        int a = needy(s, single);
        if (a < 0 && s->sharing) {
            s->sharing = false; /* who gave is gone: as usual */
            a = needy(s, single);
        }
        if (a < 0)
            return 0;
        XD_TRY(lease(s, (uint16_t)a, single));
        *ret = (xd_sched_command){
            .kind = XD_SCHED_LEASE, .agent = (uint16_t)a, .spans = s->out, .n_spans = s->n_out
        };
        return 1;
    }
    for (uint32_t a = 0; a < s->n_agents; a++)
        s->agents[a].gave = false;
    s->sharing = false;
    if (in_flight(s))
        return 0;
    if (take_back(s, ret))
        return 1;
    int free_one = s->doubt_at < s->doubt_end ? idle(s) : -1;
    if (free_one >= 0) {
        XD_TRY(lease_alone(s, (uint16_t)free_one));
        *ret = (xd_sched_command){
            .kind = XD_SCHED_LEASE, .agent = (uint16_t)free_one, .spans = s->out, .n_spans = s->n_out
        };
        return 1;
    }
    bool final = is_final(s);
    for (uint32_t a = 0; a < s->n_agents; a++) {
        xd_sched_agent *g = &s->agents[a];
        if (xd_sched_usable(g) && (!g->no_more || (final && !g->final))) {
            g->no_more = true;
            g->final = final;
            *ret = (xd_sched_command){ .kind = XD_SCHED_NO_MORE, .agent = (uint16_t)a, .final = final };
            return 1;
        }
    }
    return 0;
}

static bool starved(const xd_sched *s)
{
    if (!s->st.pending || s->st.leased || s->starved_told || s->agents_seen < s->opt.agents_expected)
        return false;
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (xd_sched_usable(&s->agents[a]))
            return false;
    return true;
}

int xd_sched_next(xd_sched *s, xd_sched_command *ret)
{
    if (s->at_lost < s->n_lost) {
        uint32_t i = s->lost[s->at_lost++];
        xd_span  one = { .first = i, .count = 1, .attempt = s->items[i].attempt };
        if (!s->cap_out) {
            s->out = malloc(sizeof *s->out);
            if (!s->out)
                return -ENOMEM;
            s->cap_out = 1;
        }
        s->out[0] = one;
        *ret = (xd_sched_command){
            .kind = XD_SCHED_OUTCOME, .outcome = XD_OUT_LOST, .spans = s->out, .n_spans = 1
        };
        return 1;
    }
    for (uint32_t a = 0; a < s->n_agents && s->st.cancelled; a++) {
        xd_sched_agent *g = &s->agents[a];
        if (g->seen && !g->lost && g->cancel_sent < s->cancel_how) {
            g->cancel_sent = s->cancel_how;
            *ret = (xd_sched_command){ .kind = XD_SCHED_CANCEL, .agent = (uint16_t)a, .how = s->cancel_how };
            return 1;
        }
    }
    if (!s->st.cancelled && s->have_items) {
        int r = next_work(s, ret);
        if (r)
            return r;
        if (starved(s)) {
            s->starved_told = true;
            *ret = (xd_sched_command){ .kind = XD_SCHED_STARVED };
            return 1;
        }
    }
    if (!s->done_told && (s->have_items || s->st.cancelled) && s->st.recorded + s->st.not_run == s->n &&
        !s->st.open) {
        s->done_told = s->st.all_done = true;
        *ret = (xd_sched_command){ .kind = XD_SCHED_ALL_DONE };
        return 1;
    }
    return 0;
}
