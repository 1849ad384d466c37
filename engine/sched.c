/* sched.c - see sched.h: the events.  State, not messages, drives it: events change the state,
 * xd_sched_next() in sched_plan.c looks what the state asks for next.  Items that wait here are a ring of
 * segments in order of preference; a segment is consecutive items of one unit or group. */
#include "engine/sched.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sched_state.h"

#define MAX_AGENTS 4096u
#define UNKNOWN_US 1000u /* weight of an item when nothing at all is known */

/* ---- the ring of pending segments ---- */

static int ring_grow(xd_sched_ring *r, size_t extra)
{
    if (r->len + extra <= r->cap)
        return 0;
    size_t cap = r->cap ? r->cap : 64;
    while (cap < r->len + extra)
        cap *= 2;
    xd_sched_seg *at = malloc(cap * sizeof *at);
    if (!at)
        return -ENOMEM;
    for (size_t i = 0; i < r->len; i++)
        at[i] = r->at[(r->head + i) % r->cap];
    free(r->at);
    r->at = at;
    r->cap = cap;
    r->head = 0;
    return 0;
}

int xd_sched_ring_add(xd_sched *s, uint32_t set, const xd_sched_seg *seg)
{
    xd_sched_ring *r = &s->rings[set];
    XD_TRY(ring_grow(r, 1));
    r->at[(r->head + r->len++) % r->cap] = *seg;
    r->weight += seg->weight;
    return 0;
}

/* Puts segments (room reserved) before all others of their sets, keeping their order. */
static void ring_push_front(xd_sched *s, const xd_sched_seg *segs, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        xd_sched_ring *r = &s->rings[s->items[segs[i].first].set];
        r->head = (r->head + r->cap - 1) % r->cap;
        r->at[r->head] = segs[i];
        r->len++;
        r->weight += segs[i].weight;
        s->st.pending += segs[i].count;
    }
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
    for (uint32_t i = 0; i < s->n_rings; i++)
        free(s->rings[i].at);
    free(s->rings);
    for (uint32_t i = 0; i < s->n_agents; i++)
        free(s->agents[i].can);
    free(s->agents);
    free(s->lost);
    free(s->doubted);
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
    s->mean_us = (uint32_t)XD_MAX(mean, 1u);
}

void xd_sched_take_items(xd_sched *s, uint32_t first, const xd_sched_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t e = items[i].expected_us;
        s->items[first + i] = (xd_sched_entry){
            .weight = e ? e : s->mean_us, .known = e != 0, .agent = NO_AGENT, .set = items[i].set
        };
    }
}

int xd_sched_make_rings(xd_sched *s)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < s->n; i++)
        n = XD_MAX(n, s->items[i].set + 1u);
    s->rings = calloc(n, sizeof *s->rings);
    s->n_rings = s->rings ? n : 0;
    return s->rings ? 0 : -ENOMEM;
}

int xd_sched_collection(xd_sched *s, const xd_sched_item *items, uint32_t count)
{
    if (s->have_items)
        return -EINVAL;
    xd_sched_entry *it = calloc(count ? count : 1, sizeof *it);
    xd_sched_item  *raw = malloc((count ? count : 1) * sizeof *raw);
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
    set_weights(s, items, count);
    xd_sched_take_items(s, 0, items, count);
    XD_TRY(xd_sched_make_rings(s));
    s->have_items = true;
    if (s->st.cancelled) {
        s->st.not_run = count;
        s->st.pending = 0;
    }
    return 0;
}

/* ---- agents ---- */

static int agent_room(xd_sched *s, uint16_t a)
{
    if (a >= MAX_AGENTS)
        return -EINVAL;
    if (a < s->n_agents)
        return 0;
    xd_sched_agent *p = realloc(s->agents, (a + 1u) * sizeof *p);
    if (!p)
        return -ENOMEM;
    memset(p + s->n_agents, 0, (a + 1u - s->n_agents) * sizeof *p);
    s->agents = p;
    s->n_agents = a + 1u;
    return 0;
}

int xd_sched_agent_sets(xd_sched *s, uint16_t a, const bool *can, uint32_t count)
{
    XD_TRY(agent_room(s, a));
    bool *copy = malloc((count ? count : 1) * sizeof *copy);
    if (!copy)
        return -ENOMEM;
    if (count)
        memcpy(copy, can, count * sizeof *copy);
    free(s->agents[a].can);
    s->agents[a].can = copy;
    s->agents[a].n_can = count;
    return 0;
}

int xd_sched_agent_up(xd_sched *s, uint16_t a, uint32_t workers)
{
    XD_TRY(agent_room(s, a));
    xd_sched_agent *g = &s->agents[a];
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

static xd_sched_agent *agent_get(xd_sched *s, uint16_t a)
{
    return a < s->n_agents && s->agents[a].seen ? &s->agents[a] : NULL;
}

/* The item leaves its agent: books of the agent and of the item's group. */
static void item_leave(xd_sched *s, xd_sched_entry *it)
{
    xd_sched_agent *g = &s->agents[it->agent];
    g->outstanding--;
    s->st.leased--;
    uint32_t left = it->group ? --s->group_left[it->group] : 0;
    if (left < 2 && g->units)
        g->units--;
    if (left == 0 && g->chunks)
        g->chunks--;
    if (left == 0 && it->set && g->own)
        g->own--;
    if (!g->outstanding) {
        g->units = g->chunks = g->own = 0;
        g->alone = false;
    }
    it->agent = NO_AGENT;
}

static void item_over(xd_sched *s, xd_sched_entry *it, uint8_t outcome)
{
    it->state = ITEM_OVER;
    it->outcome = outcome;
    *(outcome == XD_OUT_NOT_RUN ? &s->st.not_run : &s->st.recorded) += 1;
}

int xd_sched_result(xd_sched *s, uint16_t a, uint32_t i, uint16_t attempt, uint8_t outcome, uint32_t failures)
{
    if (i >= s->n || !agent_get(s, a)) {
        s->st.stale++;
        return 1;
    }
    xd_sched_entry *it = &s->items[i];
#if XD_PLANTED_BUG == 9 /* an agent that comes back too late is believed */
    a = it->agent;
    attempt = it->attempt;
#endif
    if (it->state != ITEM_LEASED || it->agent != a || it->attempt != attempt) {
        *(it->state == ITEM_OVER && it->attempt == attempt ? &s->st.duplicates : &s->st.stale) += 1;
        return 1;
    }
    item_leave(s, it);
    item_over(s, it, outcome);
    s->st.failures += failures;
    if (s->opt.maxfail && s->st.failures >= s->opt.maxfail && !s->st.cancelled)
        return xd_sched_cancel(s, XD_CANCEL_DRAIN);
    return 0;
}

int xd_sched_opened(xd_sched *s, uint16_t a, uint32_t i)
{
    const xd_sched_agent *g = agent_get(s, a);
    if (i >= s->n || !g || g->lost || s->items[i].state != ITEM_OVER || s->items[i].open)
        return 1;
    s->items[i].open = 1;
    s->items[i].agent = a;
    s->st.open++;
    return 0;
}

static void close_item(xd_sched *s, xd_sched_entry *it)
{
    it->open = 0;
    it->agent = NO_AGENT;
    s->st.open--;
}

int xd_sched_closed(xd_sched *s, uint16_t a, uint32_t i, uint16_t attempt, uint8_t outcome, uint32_t failures)
{
    if (i >= s->n || !s->items[i].open || s->items[i].agent != a || s->items[i].attempt != attempt) {
        s->st.stale++;
        return 1;
    }
    close_item(s, &s->items[i]);
    s->items[i].outcome = outcome;
    s->st.failures += failures;
    if (s->opt.maxfail && failures && s->st.failures >= s->opt.maxfail && !s->st.cancelled)
        return xd_sched_cancel(s, XD_CANCEL_DRAIN);
    return 0;
}

int xd_sched_cancel(xd_sched *s, uint8_t how)
{
    s->st.cancelled = true;
    s->cancel_how = XD_MAX(s->cancel_how, how);
    /* What waits here is not run: its state stays "pending", xd_sched_outcome() knows. */
    s->st.not_run += s->st.pending;
    s->st.pending = 0;
    for (uint32_t i = 0; i < s->n_rings; i++)
        s->rings[i].len = s->rings[i].weight = 0;
    s->doubt_at = s->doubt_end = 0;
    return 0;
}

/* ---- items that come back ---- */

static int seg_by_group(const void *pa, const void *pb)
{
    const xd_sched_seg *a = pa, *b = pb;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static int push_doubted(xd_sched *s, uint32_t i)
{
    if (s->st.cancelled) {
        s->st.not_run++;
        return 0;
    }
    if (s->doubt_end == s->cap_doubted) {
        size_t    cap = (s->doubt_end - s->doubt_at) * 2 + 16;
        uint32_t *p = malloc(cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        for (size_t k = s->doubt_at; k < s->doubt_end; k++)
            p[k - s->doubt_at] = s->doubted[k];
        free(s->doubted);
        s->doubted = p;
        s->cap_doubted = cap;
        s->doubt_end -= s->doubt_at;
        s->doubt_at = 0;
    }
    s->doubted[s->doubt_end++] = i;
    s->rings[s->items[i].set].weight += s->items[i].weight;
    s->st.pending++;
    return 0;
}

/* Leased items first..first+count-1 of agent a come back as `attempt` (0 = any); makes segments of them. */
static int gather(xd_sched *s, uint16_t a, const xd_span *span, xd_sched_seg **segs, size_t *len, size_t *cap)
{
    for (uint32_t i = span->first; i - span->first < span->count && i < s->n; i++) {
        xd_sched_entry *it = &s->items[i];
        if (it->state != ITEM_LEASED || it->agent != a || (span->attempt && it->attempt != span->attempt)) {
            s->st.stale++;
            continue;
        }
        if (it->doubted) {
            item_leave(s, it);
            it->state = ITEM_PENDING;
            it->group = 0; /* alone anyway, and its group may be with another agent */
            XD_TRY(push_doubted(s, i));
            continue;
        }
        xd_sched_seg *last = *len ? &(*segs)[*len - 1] : NULL;
        if (!last || last->first + last->count != i || last->group != it->group ||
            s->items[last->first].set != it->set) {
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
    for (size_t i = 0; i < len; i++) /* room for all of them, in each ring that gets one */
        XD_TRY(ring_grow(&s->rings[s->items[segs[i].first].set], len));
    ring_push_front(s, segs, len);
    return 0;
}

/* What an agent gave back when it was asked for another one that runs dry. If that one has nothing of it, the agent is not asked again
 * before it has half as much. */
static void judge_gift(const xd_sched *s, xd_sched_agent *g, const xd_sched_seg *segs, size_t len,
                       size_t count, uint32_t had)
{
    bool useful = count && !len; /* what may have begun elsewhere runs alone, wherever that is */
    for (size_t i = 0; i < len && !useful; i++)
        useful = xd_sched_can(&s->agents[g->asked_for], s->items[segs[i].first].set);
    g->futile = len && !useful;
    g->gave = useful;
    g->ask_below = useful ? UINT32_MAX : had / 2;
}

int xd_sched_returned(xd_sched *s, uint16_t a, uint32_t request, const xd_span *spans, size_t count)
{
    xd_sched_agent *g = agent_get(s, a);
    if (!g || g->lost)
        return 1;
    if (request == 0) {
        g->closed = !s->st.cancelled;
    } else if (request != g->request) {
        s->st.stale++;
        return 1;
    } else {
        g->request = 0;
    }
    const uint32_t            had = g->units;
    xd_autofree xd_sched_seg *segs = NULL;
    size_t                    len = 0, cap = 0;
    uint32_t                  before = s->st.leased;
    for (size_t i = 0; i < count; i++)
        XD_TRY(gather(s, a, &spans[i], &segs, &len, &cap));
    s->st.taken_back += before - s->st.leased;
    if (request)
        judge_gift(s, g, segs, len, count, had);
    XD_TRY(put_back(s, segs, len));
    if (request && s->rings && s->rings[0].len)
        xd_sched_share_out(s);
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
        xd_sched_entry *it = &s->items[started[i]];
        if (it->state != ITEM_LEASED || it->agent != a)
            continue;
        if (++it->starts < s->opt.max_attempts && !s->st.cancelled)
            continue; /* comes back with the others */
        item_leave(s, it);
        item_over(s, it, XD_OUT_LOST);
        s->lost[s->n_lost++] = started[i];
    }
    return 0;
}

uint32_t xd_sched_agent_has(const xd_sched *s, uint16_t a, uint32_t *ret_one)
{
    uint32_t n = a < s->n_agents ? s->agents[a].outstanding : 0;
    for (uint32_t i = 0; i < s->n && n; i++)
        if (s->items[i].state == ITEM_LEASED && s->items[i].agent == a) {
            *ret_one = i;
            break;
        }
    return n;
}

/* Nobody can tell what ran there, and nothing may run a second time. */
static int all_lost(xd_sched *s, uint16_t a)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i].state == ITEM_LEASED && s->items[i].agent == a)
            XD_TRY(started_lost(s, a, &i, 1));
    return 0;
}

/* Nobody can tell what ran there. */
static void doubt_all(xd_sched *s, uint16_t a)
{
#if XD_PLANTED_BUG == 6
    return; /* an item that ends its agent runs on one after the other */
#endif
    for (uint32_t i = 0; i < s->n; i++) {
        xd_sched_entry *it = &s->items[i];
        if (it->state == ITEM_LEASED && it->agent == a && !it->doubted) {
            it->doubted = 1;
            it->starts = XD_MAX(it->starts, 1);
        }
    }
}

int xd_sched_agent_lost(xd_sched *s, uint16_t a, const uint32_t *started, size_t count, bool told)
{
    if (!agent_get(s, a))
        XD_TRY(xd_sched_agent_up(s, a, 0)); /* lost before it had a worker: nobody waits for it any more */
    xd_sched_agent *g = agent_get(s, a);
    if (!g || g->lost)
        return 1;
    size_t   before = s->n_lost;
    uint32_t only = 0;
    if (!told && xd_sched_agent_has(s, a, &only) == 1) { /* it can have been no other */
        started = &only;
        count = 1;
    }
    XD_TRY(started_lost(s, a, started, count));
    if (!told && s->opt.max_attempts < 2)
        XD_TRY(all_lost(s, a));
    else if (!told)
        doubt_all(s, a);
    g->lost = true;
    g->workers = 0;
    for (uint32_t i = 0; i < s->n && s->st.open; i++)
        if (s->items[i].open && s->items[i].agent == a)
            close_item(s, &s->items[i]);
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
        return xd_sched_cancel(s, XD_CANCEL_DRAIN);
    return 0;
}

uint8_t xd_sched_outcome(const xd_sched *s, uint32_t i)
{
    if (i >= s->n)
        return 0;
    if (s->items[i].state == ITEM_OVER)
        return s->items[i].outcome;
    return s->st.cancelled && s->items[i].state == ITEM_PENDING ? XD_OUT_NOT_RUN : 0;
}

const xd_sched_stats *xd_sched_stats_get(const xd_sched *s)
{
    return &s->st;
}
