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
    s->have_items = true;
    set_weights(s, items, count);
    if (s->st.cancelled) {
        s->st.not_run = count;
        s->st.pending = 0;
    }
    return 0;
}

/* ---- agents ---- */

int xd_sched_agent_up(xd_sched *s, uint16_t a, uint32_t workers)
{
    if (a >= MAX_AGENTS)
        return -EINVAL;
    if (a >= s->n_agents) {
        xd_sched_agent *p = realloc(s->agents, (a + 1u) * sizeof *p);
        if (!p)
            return -ENOMEM;
        memset(p + s->n_agents, 0, (a + 1u - s->n_agents) * sizeof *p);
        s->agents = p;
        s->n_agents = a + 1u;
    }
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
    if (!g->outstanding) {
        g->units = g->chunks = 0;
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
    s->ring_len = 0;
    s->doubt_at = s->doubt_end = 0;
    s->pending_weight = 0;
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
    s->pending_weight += s->items[i].weight;
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
