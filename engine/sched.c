/* sched.c - see sched.h.
 * State, not messages, drives it: events change the state, xd_sched_next() looks what the state asks for next.  Items
 * that wait here are a ring of segments in order of preference; a segment is consecutive items of one unit or group. */
#include "engine/sched.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sched_order.h"

enum { ITEM_PENDING, ITEM_LEASED, ITEM_OVER };

#define NO_AGENT      0xffffu
#define MAX_AGENTS    4096u
#define UNKNOWN_US    1000u /* weight of an item when nothing at all is known */

typedef struct item {
    uint32_t weight; /* expected_us, or a guess; never 0 */
    uint32_t group;
    uint16_t agent;
    uint16_t attempt;
    uint8_t  outcome;
    uint8_t  state;
    uint8_t  starts; /* times it was lost while running */
    uint8_t  known;  /* weight comes from history */
} item;

typedef struct agent {
    bool     seen, lost, closed, no_more;
    bool     gave; /* gave items back that still wait: others come first */
    uint8_t  cancel_sent;
    uint32_t workers;
    uint32_t outstanding; /* items leased, without outcome */
    uint32_t units;       /* the same, but a group counts at most 2: what can keep workers busy */
    uint32_t last_batch;
    uint32_t request;   /* TAKE_BACK under way, 0 = none */
    uint32_t ask_below; /* after an empty answer: not again until units are fewer */
} agent;

struct xd_sched {
    xd_sched_options opt;
    xd_sched_stats   st;
    item            *items;
    uint32_t         n;
    bool             have_items, history;
    xd_sched_item   *raw; /* until the order is made, at the first lease */
    uint32_t        *group_left; /* per group: leased items without outcome */
    uint32_t         n_groups, max_group;

    xd_sched_seg *ring; /* pending */
    size_t        ring_cap, ring_at, ring_len;
    uint64_t      pending_weight;

    agent   *agents;
    uint32_t n_agents, agents_seen;
    uint32_t next_request;
    uint8_t  cancel_how;
    bool     starved_told, done_told, ordered;

    bool      sharing; /* what waits was taken back; groups come in larger numbers than wanted, so with measure: */
    uint64_t  share_units; /* all that can keep workers busy, here and with agents */

    uint32_t *lost; /* items to report lost */
    size_t    n_lost, cap_lost, at_lost;
    xd_span  *out;
    size_t    n_out, cap_out;
};

/* ---- the ring of pending segments ---- */

static int ring_grow(xd_sched *s, size_t extra)
{
    if (s->ring_len + extra <= s->ring_cap)
        return 0;
    size_t cap = s->ring_cap ? s->ring_cap : 64;
    while (cap < s->ring_len + extra)
        cap *= 2;
    xd_sched_seg *r = malloc(cap * sizeof *r);
    if (!r)
        return -ENOMEM;
    for (size_t i = 0; i < s->ring_len; i++)
        r[i] = s->ring[(s->ring_at + i) % s->ring_cap];
    free(s->ring);
    s->ring = r;
    s->ring_cap = cap;
    s->ring_at = 0;
    return 0;
}

static xd_sched_seg *ring_front(xd_sched *s)
{
    return &s->ring[s->ring_at];
}

static void ring_pop(xd_sched *s)
{
    s->ring_at = (s->ring_at + 1) % s->ring_cap;
    s->ring_len--;
}

/* Puts segments (room reserved) before all others, keeping their order. */
static void ring_push_front(xd_sched *s, const xd_sched_seg *segs, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        s->ring_at = (s->ring_at + s->ring_cap - 1) % s->ring_cap;
        s->ring[s->ring_at] = segs[i];
        s->ring_len++;
        s->pending_weight += segs[i].weight;
        s->st.pending += segs[i].count;
    }
}

static uint64_t weight_of(const xd_sched *s, uint32_t first, uint32_t count)
{
    uint64_t w = 0;
    for (uint32_t i = first; i < first + count; i++)
        w += s->items[i].weight;
    return w;
}

/* ---- set-up ---- */

int xd_sched_new(xd_sched **ret, const xd_sched_options *options)
{
    xd_sched *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->opt = *options;
    if (s->opt.max_attempts == 0)
        s->opt.max_attempts = 1;
    if (s->opt.agents_expected == 0)
        s->opt.agents_expected = 1;
    *ret = s;
    return 0;
}

xd_sched *xd_sched_free(xd_sched *s)
{
    if (!s)
        return NULL;
    free(s->items);
    free(s->raw);
    free(s->group_left);
    free(s->ring);
    free(s->agents);
    free(s->lost);
    free(s->out);
    free(s);
    return NULL;
}

/* Weights: what history says; else the mean of what it says of the others. */
static void set_weights(xd_sched *s, const xd_sched_item *items, uint32_t count)
{
    uint64_t sum = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += items[i].expected_us;
        known += items[i].expected_us != 0;
    }
    s->history = known != 0;
    s->st.expected_us = sum;
    uint64_t mean = known ? sum / known : UNKNOWN_US;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t e = items[i].expected_us;
        s->items[i].weight = e ? e : (uint32_t)XD_MAX(mean, 1u);
        s->items[i].known = e != 0;
        s->items[i].agent = NO_AGENT;
    }
}

int xd_sched_collection(xd_sched *s, const xd_sched_item *items, uint32_t count)
{
    if (s->have_items)
        return -EINVAL;
    item          *it = calloc(count ? count : 1, sizeof *it);
    xd_sched_item *raw = malloc((count ? count : 1) * sizeof *raw);
    if (!it || !raw) {
        free(it);
        free(raw);
        return -ENOMEM;
    }
    if (count)
        memcpy(raw, items, count * sizeof *raw);
    s->items = it;
    s->raw = raw;
    s->n = s->st.items = s->st.pending = count;
    s->have_items = true;
    set_weights(s, items, count);
    if (s->st.cancelled) {
        s->st.not_run = count;
        s->st.pending = 0;
    }
    return 0;
}

static bool usable(const agent *g)
{
    return g->seen && !g->lost && !g->closed && g->workers;
}

static uint32_t workers_now(const xd_sched *s)
{
    uint32_t w = 0;
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (!s->agents[a].lost && !s->agents[a].closed)
            w += s->agents[a].workers;
    return XD_MAX(w, 1u);
}

/* Order of the collection, made at the first lease: only then the number of workers, so the grain, is known. */
static int make_order(xd_sched *s)
{
    xd_sched_order in = {
        .items = s->raw,
        .count = s->n,
        .grouped = s->opt.mode >= XD_SCHED_LOADSCOPE,
        .keep_order = s->opt.keep_scope_order,
        .history = s->history,
        .workers = s->opt.workers_expected ? s->opt.workers_expected : workers_now(s),
        .item_weight = &s->items[0].weight,
        .item_group = &s->items[0].group,
        .stride = sizeof(item),
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

/* ---- agents ---- */

int xd_sched_agent_up(xd_sched *s, uint16_t a, uint32_t workers)
{
    if (a >= MAX_AGENTS)
        return -EINVAL;
    if (a >= s->n_agents) {
        agent *p = realloc(s->agents, (a + 1u) * sizeof *p);
        if (!p)
            return -ENOMEM;
        memset(p + s->n_agents, 0, (a + 1u - s->n_agents) * sizeof *p);
        s->agents = p;
        s->n_agents = a + 1u;
    }
    agent *g = &s->agents[a];
    if (g->lost)
        return 1;
    if (!g->seen) {
        g->seen = true;
        g->ask_below = UINT32_MAX;
        s->agents_seen++;
    }
    g->workers = workers;
    if (workers) {
        g->closed = false;
        s->starved_told = false;
    }
    return 0;
}

int xd_sched_expect(xd_sched *s, uint32_t agents)
{
    s->opt.agents_expected = agents;
    return 0;
}

static agent *agent_get(xd_sched *s, uint16_t a)
{
    return a < s->n_agents && s->agents[a].seen ? &s->agents[a] : NULL;
}

/* The item leaves its agent: books of the agent and of the item's group. */
static void item_leave(xd_sched *s, item *it)
{
    agent *g = &s->agents[it->agent];
    g->outstanding--;
    s->st.leased--;
    bool counts = !it->group || --s->group_left[it->group] < 2;
    if (!g->outstanding)
        g->units = 0;
    else if (counts && g->units)
        g->units--;
    it->agent = NO_AGENT;
}

static void item_over(xd_sched *s, item *it, uint8_t outcome)
{
    it->state = ITEM_OVER;
    it->outcome = outcome;
    *(outcome == XD_SCHED_OUT_NOT_RUN ? &s->st.not_run : &s->st.recorded) += 1;
}

int xd_sched_result(xd_sched *s, uint16_t a, uint32_t i, uint16_t attempt, uint8_t outcome, uint32_t failures)
{
    if (i >= s->n || !agent_get(s, a)) {
        s->st.stale++;
        return 1;
    }
    item *it = &s->items[i];
    if (it->state != ITEM_LEASED || it->agent != a || it->attempt != attempt) {
        *(it->state == ITEM_OVER && it->attempt == attempt ? &s->st.duplicates : &s->st.stale) += 1;
        return 1;
    }
    item_leave(s, it);
    item_over(s, it, outcome);
    s->st.failures += failures;
    if (s->opt.maxfail && s->st.failures >= s->opt.maxfail && !s->st.cancelled)
        return xd_sched_cancel(s, 1);
    return 0;
}

int xd_sched_cancel(xd_sched *s, uint8_t how)
{
    s->st.cancelled = true;
    s->cancel_how = XD_MAX(s->cancel_how, how);
    /* What waits here is not run: its state stays "pending", xd_sched_outcome() knows. */
    s->st.not_run += s->st.pending;
    s->st.pending = 0;
    s->ring_len = 0;
    s->pending_weight = 0;
    return 0;
}

/* ---- items that come back ---- */

/* While groups that were taken back are shared out: up to how many units this agent gets. */
static uint32_t fair_units(const xd_sched *s, const agent *g)
{
    if (g->gave)
        return UINT32_MAX; /* the rest, after all others */
    return (uint32_t)XD_MAX(s->share_units * g->workers / workers_now(s), g->workers);
}

static void share_out(xd_sched *s)
{
    s->sharing = s->max_group && s->ring_len;
    s->share_units = 0;
    for (uint32_t a = 0; a < s->n_agents; a++)
        s->share_units += usable(&s->agents[a]) ? s->agents[a].units : 0;
    for (size_t i = 0; i < s->ring_len; i++) {
        const xd_sched_seg *seg = &s->ring[(s->ring_at + i) % s->ring_cap];
        s->share_units += seg->group ? XD_MIN(seg->count, 2u) : seg->count;
    }
}

static int seg_by_group(const void *pa, const void *pb)
{
    const xd_sched_seg *a = pa, *b = pb;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Leased items first..first+count-1 of agent a come back as `attempt` (0 = any); makes segments of them. */
static int gather(xd_sched *s, uint16_t a, const xd_span *span, xd_sched_seg **segs, size_t *len, size_t *cap)
{
    for (uint32_t i = span->first; i - span->first < span->count && i < s->n; i++) {
        item *it = &s->items[i];
        if (it->state != ITEM_LEASED || it->agent != a || (span->attempt && it->attempt != span->attempt)) {
            s->st.stale++;
            continue;
        }
        xd_sched_seg *last = *len ? &(*segs)[*len - 1] : NULL;
        if (!last || last->first + last->count != i || last->group != it->group) {
            if (*len == *cap) {
                size_t        more = *cap ? *cap * 2 : 16;
                xd_sched_seg *p = realloc(*segs, more * sizeof *p);
                if (!p)
                    return -ENOMEM;
                *segs = p;
                *cap = more;
            }
            last = &(*segs)[(*len)++];
            *last = (xd_sched_seg){ .first = i, .count = 0, .group = it->group, .weight = 0 };
        }
        last->count++;
        last->weight += it->weight;
        item_leave(s, it);
        it->state = ITEM_PENDING;
    }
    return 0;
}

static int put_back(xd_sched *s, xd_sched_seg *segs, size_t len)
{
    uint32_t items = 0;
    bool     grouped = false;
    for (size_t i = 0; i < len; i++) {
        items += segs[i].count;
        grouped |= segs[i].group != 0;
    }
    if (s->st.cancelled) {
        s->st.not_run += items;
        return 0;
    }
    if (grouped) /* the segments of a group must be neighbours: they are leased together */
        qsort(segs, len, sizeof *segs, seg_by_group);
    XD_TRY(ring_grow(s, len));
    ring_push_front(s, segs, len);
    return 0;
}

int xd_sched_returned(xd_sched *s, uint16_t a, uint32_t request, const xd_span *spans, size_t count)
{
    agent *g = agent_get(s, a);
    if (!g || g->lost)
        return 1;
    if (request == 0) {
        g->closed = !s->st.cancelled;
    } else if (request != g->request) {
        s->st.stale++;
        return 1;
    } else {
        g->request = 0;
        g->gave = count != 0;
        g->ask_below = count ? UINT32_MAX : g->units / 2;
    }
    xd_autofree xd_sched_seg *segs = NULL;
    size_t                    len = 0, cap = 0;
    uint32_t                  before = s->st.leased;
    for (size_t i = 0; i < count; i++)
        XD_TRY(gather(s, a, &spans[i], &segs, &len, &cap));
    s->st.taken_back += before - s->st.leased;
    XD_TRY(put_back(s, segs, len));
    if (request && s->ring_len)
        share_out(s);
    return 0;
}

/* Items that had begun when their agent was lost: once more, or lost. */
static int started_lost(xd_sched *s, uint16_t a, const uint32_t *started, size_t count)
{
    if (s->n_lost + count > s->cap_lost) {
        size_t    cap = (s->n_lost + count) * 2;
        uint32_t *p = realloc(s->lost, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        s->lost = p;
        s->cap_lost = cap;
    }
    for (size_t i = 0; i < count; i++) {
        if (started[i] >= s->n)
            continue;
        item *it = &s->items[started[i]];
        if (it->state != ITEM_LEASED || it->agent != a)
            continue;
        if (++it->starts < s->opt.max_attempts && !s->st.cancelled)
            continue; /* comes back with the others */
        item_leave(s, it);
        item_over(s, it, XD_SCHED_OUT_LOST);
        s->lost[s->n_lost++] = started[i];
    }
    return 0;
}

int xd_sched_agent_lost(xd_sched *s, uint16_t a, const uint32_t *started, size_t count)
{
    if (!agent_get(s, a))
        XD_TRY(xd_sched_agent_up(s, a, 0)); /* lost before it had a worker: nobody waits for it any more */
    agent *g = agent_get(s, a);
    if (!g || g->lost)
        return 1;
    size_t before = s->n_lost;
    XD_TRY(started_lost(s, a, started, count));
    g->lost = true;
    g->workers = 0;
#if XD_PLANTED_BUG == 1
    if (g->request)
        return 0; /* forgets what that agent had, if it was being asked for some of it */
#endif
    g->request = 0;
    xd_autofree xd_sched_seg *segs = NULL;
    size_t                    len = 0, cap = 0;
    for (uint32_t i = 0; i < s->n && g->outstanding; i++)
        if (s->items[i].state == ITEM_LEASED && s->items[i].agent == a)
            XD_TRY(gather(s, a, &(xd_span){ .first = i, .count = 1 }, &segs, &len, &cap));
    XD_TRY(put_back(s, segs, len));
    uint32_t failed = (uint32_t)(s->n_lost - before); /* a lost item is a failure */
    s->st.failures += failed;
    if (s->opt.maxfail && failed && s->st.failures >= s->opt.maxfail && !s->st.cancelled)
        return xd_sched_cancel(s, 1);
    return 0;
}

/* ---- leases ---- */

/* Adds items to the lease being made.  Items of different attempts need spans of their own. */
static int out_add(xd_sched *s, agent *g, uint16_t a, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        item    *it = &s->items[i];
        xd_span *last = s->n_out ? &s->out[s->n_out - 1] : NULL;
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
                               .flags = it->group ? XD_SPAN_TOGETHER : 0,
                               .group = it->group };
        }
        last->count++;
        if (it->known)
            last->expected_us += it->weight;
        it->state = ITEM_LEASED;
        it->agent = a;
        s->pending_weight -= it->weight;
        if (!it->group || ++s->group_left[it->group] <= 2)
            g->units++;
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
    agent   *g = &s->agents[a];
    uint32_t workers = XD_MAX(workers_now(s), s->opt.agents_expected > s->agents_seen ? s->opt.workers_expected : 0);
    uint64_t want = s->pending_weight * g->workers / (2ull * workers), got = 0;
    uint32_t before = g->outstanding;
    s->n_out = 0;
    uint32_t fair = s->sharing ? fair_units(s, g) : 0;
    while (s->ring_len && (all || (s->sharing ? g->units < fair : got < want || g->units < 2 * g->workers))) {
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
        if (s->sharing)
            least = fair - g->units;
        uint32_t k = all ? seg.count : portion(s, &seg, want > got ? want - got : 0, least);
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
    g->no_more = false;
    g->ask_below = UINT32_MAX;
    s->st.leases++;
    return 0;
}

/* The agent that should get a lease now: the one with least work per worker, if that is little.  -1 none. */
static int needy(const xd_sched *s, bool single)
{
    int best = -1;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        const agent *g = &s->agents[a];
        if (!usable(g))
            continue;
        if (s->sharing ? g->units >= fair_units(s, g)
                       : !single && g->units >= XD_MAX(2 * g->workers, g->last_batch / 4))
            continue;
        const agent *b = best < 0 ? NULL : &s->agents[best];
        if (!b || (b->gave && !g->gave) ||
            (b->gave == g->gave && (uint64_t)g->units * b->workers < (uint64_t)b->units * g->workers))
            best = (int)a;
    }
    return best;
}

static uint32_t spare(const agent *g)
{
    return g->units > g->workers ? g->units - g->workers : 0;
}

/* TAKE_BACKs whose answer is near: an agent that cannot answer now keeps nobody waiting. */
static bool in_flight(const xd_sched *s)
{
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (s->agents[a].request && usable(&s->agents[a]))
            return true;
    return false;
}

/* Is there an agent that runs dry, and one to take from?  Fills *ret with a TAKE_BACK: 1, else 0. */
static int take_back(xd_sched *s, xd_sched_command *ret)
{
    agent   *dry = NULL, *victim = NULL;
    uint16_t from = 0;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        agent *g = &s->agents[a];
        if (!usable(g))
            continue;
        if (g->units <= g->workers && (!dry || g->units < dry->units))
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
    bool single = XD_MAX(s->opt.agents_expected, s->agents_seen) == 1;
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
    for (uint32_t a = 0; a < s->n_agents; a++) {
        agent *g = &s->agents[a];
        if (usable(g) && !g->no_more) {
            g->no_more = true;
            *ret = (xd_sched_command){ .kind = XD_SCHED_NO_MORE, .agent = (uint16_t)a };
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
        if (usable(&s->agents[a]))
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
            .kind = XD_SCHED_OUTCOME, .outcome = XD_SCHED_OUT_LOST, .spans = s->out, .n_spans = 1
        };
        return 1;
    }
    for (uint32_t a = 0; a < s->n_agents && s->st.cancelled; a++) {
        agent *g = &s->agents[a];
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
    if (!s->done_told && (s->have_items || s->st.cancelled) && s->st.recorded + s->st.not_run == s->n) {
        s->done_told = s->st.all_done = true;
        *ret = (xd_sched_command){ .kind = XD_SCHED_ALL_DONE };
        return 1;
    }
    return 0;
}

uint8_t xd_sched_outcome(const xd_sched *s, uint32_t i)
{
    if (i >= s->n)
        return 0;
    if (s->items[i].state == ITEM_OVER)
        return s->items[i].outcome;
    return s->st.cancelled && s->items[i].state == ITEM_PENDING ? XD_SCHED_OUT_NOT_RUN : 0;
}

const xd_sched_stats *xd_sched_stats_get(const xd_sched *s)
{
    return &s->st;
}
