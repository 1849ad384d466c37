/* sched_plan.c - see sched.h: what is to be done next: leases, taking back, the end. */
#include <stdlib.h>
#include <string.h>

#include "engine/sched_state.h"

#define LEVEL_ONE 1024u /* one unit per worker */

static xd_sched_seg *ring_front(xd_sched_ring *r)
{
    return &r->at[r->head];
}

static void ring_pop(xd_sched_ring *r)
{
    r->head = (r->head + 1) % r->cap;
    r->len--;
}

static bool something_waits(const xd_sched *s)
{
    for (uint32_t i = 0; i < s->n_rings; i++)
        if (s->rings[i].len)
            return true;
    return false;
}

static uint64_t weight_of(const xd_sched *s, uint32_t first, uint32_t count)
{
    uint64_t w = 0;
    for (uint32_t i = first; i < first + count; i++)
        w += s->items[i].weight;
    return w;
}

static uint32_t workers_for(const xd_sched *s, uint32_t set)
{
    uint32_t w = 0;
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (!s->agents[a].lost && !s->agents[a].closed && xd_sched_can(&s->agents[a], set))
            w += s->agents[a].workers;
    return XD_MAX(w, 1u);
}

/* Items of different sets never stand in one segment or group. */
int xd_sched_order_items(xd_sched *s, xd_sched_item *raw, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t mark = raw[i].set * 0x9e3779b97f4a7c15ull;
        raw[i].unit ^= mark;
        if (raw[i].group && mark)
            raw[i].group = (raw[i].group ^ mark) | 1;
    }
    xd_sched_order in = {
        .items = raw,
        .count = count,
        .grouped = s->opt.mode >= XD_SCHED_LOADSCOPE,
        .keep_order = s->opt.keep_scope_order || s->opt.in_order,
        .history =
            s->history && !s->opt.in_order && !(s->opt.mode >= XD_SCHED_LOADSCOPE && s->opt.keep_scope_order),
        .workers = s->opt.workers_expected ? s->opt.workers_expected : workers_for(s, 0),
        .item_weight = &s->items[first].weight,
        .item_group = &s->items[first].group,
        .stride = sizeof(xd_sched_entry),
    };
    size_t                    len = 0;
    uint32_t                  groups = 0, max_group = 0;
    xd_autofree xd_sched_seg *segs = NULL;
    XD_TRY(xd_sched_order_make(&in, &segs, &len, &groups, &max_group));
    uint32_t *left = realloc(s->group_left, ((size_t)s->n_groups + groups + 1) * sizeof *left);
    if (!left)
        return -ENOMEM;
    s->group_left = left;
    memset(left + (s->n_groups ? s->n_groups + 1 : 0), 0, (groups + (s->n_groups ? 0 : 1)) * sizeof *left);
    for (uint32_t i = 0; i < count && s->n_groups; i++)
        s->items[first + i].group += s->items[first + i].group ? s->n_groups : 0;
    for (size_t i = 0; i < len; i++) {
        segs[i].first += first;
        segs[i].group += segs[i].group ? s->n_groups : 0;
        XD_TRY(xd_sched_ring_add(s, s->items[segs[i].first].set, &segs[i]));
    }
    s->n_groups += groups;
    s->max_group = XD_MAX(s->max_group, max_group);
    return 0;
}

/* Order of the collection, made at the first lease: only then the number of workers, so the grain, is known.
 */
static int make_order(xd_sched *s)
{
    XD_TRY(xd_sched_order_items(s, s->raw, 0, s->n));
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

static const xd_sched_seg *nth(const xd_sched_ring *r, size_t i)
{
    return &r->at[(r->head + i) % r->cap];
}

/* Units of set 0 that wait here; those of another set are given as they are wanted.  The segments of a group are neighbours. */
static uint64_t ring_units(const xd_sched *s)
{
    uint64_t units = 0;
    uint32_t group = 0, held = 0;
    for (size_t i = 0; i < s->rings[0].len; i++) {
        const xd_sched_seg *seg = nth(&s->rings[0], i);
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
    s->sharing = s->max_group && s->rings[0].len;
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
    const xd_sched_ring *r = &s->rings[0];
    uint32_t             fair = fair_units(s, g), units = 0, group = nth(r, 0)->group;
    for (size_t i = 0; i < r->len && units < 2 && (i == 0 || group); i++) {
        const xd_sched_seg *seg = nth(r, i);
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
        s->rings[it->set].weight -= it->weight;
        uint32_t held = it->group ? ++s->group_left[it->group] : 1;
        g->units += held <= 2;
        g->chunks += held == 1;
        g->own += held == 1 && it->set;
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

static int lease_from(xd_sched *s, uint16_t a, uint32_t set, bool all)
{
    xd_sched_agent *g = &s->agents[a];
    xd_sched_ring  *r = &s->rings[set];
    const bool      shares = s->sharing && set == 0;
    uint32_t        workers =
        XD_MAX(workers_for(s, set), s->opt.agents_expected > s->agents_seen ? s->opt.workers_expected : 0);
    uint64_t want = r->weight * g->workers / (2ull * workers), got = 0;
    while (r->len && (all || (shares ? fits(s, g) : got < want || g->units < 2 * g->workers))) {
        xd_sched_seg seg = *ring_front(r);
        if (seg.group) {
            uint32_t group = seg.group;
            do {
                ring_pop(r);
                got += seg.weight;
                XD_TRY(out_add(s, g, a, seg.first, seg.count));
                if (r->len)
                    seg = *ring_front(r);
            } while (r->len && seg.group == group);
            continue;
        }
        uint32_t least = g->units < 2 * g->workers ? 2 * g->workers - g->units : 0;
        uint32_t k = all      ? seg.count
                     : shares ? XD_MIN(seg.count, fair_units(s, g) - g->units)
                              : portion(s, &seg, want > got ? want - got : 0, least);
        if (k == seg.count) {
            ring_pop(r);
            got += seg.weight;
        } else {
            uint64_t w = weight_of(s, seg.first, k);
            *ring_front(r) = (xd_sched_seg){ seg.first + k, seg.count - k, 0, seg.weight - w };
            got += w;
        }
        XD_TRY(out_add(s, g, a, seg.first, k));
    }
    return 0;
}

/* What few others can run comes first: it cannot be taken back for those. */
static int lease(xd_sched *s, uint16_t a, bool all)
{
    xd_sched_agent *g = &s->agents[a];
    const uint32_t  before = g->outstanding;
    s->n_out = 0;
    for (uint32_t set = s->n_rings; set-- > 0;) {
#if XD_PLANTED_BUG == 10 /* an agent gets what it does not have */
        XD_TRY(lease_from(s, a, set, all));
#endif
        if (xd_sched_can(g, set))
            XD_TRY(lease_from(s, a, set, all));
    }
    g->last_batch = g->outstanding - before;
    g->no_more = g->final = false;
    /* What comes back to who gave it was of no use to others, or more than their share: with several sets the rest is no measure of that. */
    if (g->gave && s->n_rings > 1)
        g->ask_below = g->units / 2;
    else if (!g->futile)
        g->ask_below = UINT32_MAX;
    g->futile = false;
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

static bool any_usable(const xd_sched *s)
{
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (xd_sched_usable(&s->agents[a]))
            return true;
    return false;
}

/* An agent without work, and a doubted item that it can run, which is put in front.  -1 none. */
static int idle(xd_sched *s)
{
    for (size_t k = s->doubt_at; k < s->doubt_end; k++)
        for (uint32_t a = 0; a < s->n_agents; a++) {
            const xd_sched_agent *g = &s->agents[a];
            const uint32_t        item = s->doubted[k];
            if (!xd_sched_usable(g) || g->outstanding || g->request || !xd_sched_can(g, s->items[item].set))
                continue;
            s->doubted[k] = s->doubted[s->doubt_at];
            s->doubted[s->doubt_at] = item;
            return (int)a;
        }
    return -1;
}

/* Something waits that this agent can run, and it has little. */
static bool wants(const xd_sched *s, const xd_sched_agent *g, bool single)
{
    const bool low = single || g->units < XD_MAX(2 * g->workers, g->last_batch / 4);
    for (uint32_t set = 1; set < s->n_rings && low; set++)
        if (s->rings[set].len && xd_sched_can(g, set))
            return true;
    return s->rings[0].len && xd_sched_can(g, 0) && (s->sharing ? fits(s, g) : low);
}

/* The agent that should get a lease now: the one with least work per worker, if that is little.  -1 none. */
static int needy(const xd_sched *s, bool single)
{
    int best = -1;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        const xd_sched_agent *g = &s->agents[a];
        if (!xd_sched_usable(g) || g->alone || !wants(s, g, single))
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

/* What of it is of use to `other`: all, if that can run the same sets. */
static uint32_t spare_for(const xd_sched_agent *g, const xd_sched_agent *other)
{
    const bool alike =
        g->n_can == other->n_can && (!g->n_can || memcmp(g->can, other->can, g->n_can * sizeof *g->can) == 0);
    if (alike)
        return spare(g);
    return xd_sched_can(other, 0) ? XD_MIN(spare(g), g->chunks - g->own) : 0;
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
    if (something_waits(s) || s->doubt_at < s->doubt_end)
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

static bool is_dry(const xd_sched_agent *g)
{
    return xd_sched_usable(g) && !g->alone && g->units <= g->workers;
}

/* The agent that has most for this one; NULL = none has anything. */
static xd_sched_agent *richest(const xd_sched *s, const xd_sched_agent *dry)
{
    xd_sched_agent *found = NULL;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        xd_sched_agent *g = &s->agents[a];
        if (!xd_sched_usable(g) || g == dry || g->request || g->units >= g->ask_below || !spare_for(g, dry))
            continue;
        if (!found || spare_for(g, dry) > spare_for(found, dry))
            found = g;
    }
    return found;
}

/* The agent that runs dry most, of those that another one can give something; that is *ret_victim. With several sets the driest of all may be one
 * that nobody has anything for. NULL = none. */
static xd_sched_agent *driest(const xd_sched *s, xd_sched_agent **ret_victim)
{
    xd_sched_agent *dry = NULL, *victim = NULL;
    for (uint32_t a = 0; a < s->n_agents; a++)
        if (is_dry(&s->agents[a]) && (!dry || s->agents[a].units < dry->units))
            dry = &s->agents[a];
    *ret_victim = dry ? richest(s, dry) : NULL;
    if (!dry || *ret_victim || s->n_rings < 2)
        return dry;
    dry = NULL;
    for (uint32_t a = 0; a < s->n_agents; a++) {
        xd_sched_agent *g = &s->agents[a];
        if (!is_dry(g) || (dry && g->units >= dry->units) || !(victim = richest(s, g)))
            continue;
        dry = g;
        *ret_victim = victim;
    }
    return dry;
}

/* Is there an agent that runs dry, and one to take from?  Fills *ret with a TAKE_BACK: 1, else 0. */
static int take_back(xd_sched *s, xd_sched_command *ret)
{
    xd_sched_agent *victim;
    xd_sched_agent *dry = driest(s, &victim);
    if (!victim)
        return 0;
    /* Without an idle worker there it is only provision: not if the victim would be as poor after it. */
    const uint32_t most_spare = spare_for(victim, dry);
    if (dry->units >= dry->workers && (s->max_group || most_spare < 2))
        return 0;
    uint32_t unstarted = victim->outstanding - XD_MIN(victim->outstanding, victim->workers);
    uint64_t share = ((uint64_t)unstarted * dry->workers + dry->workers + victim->workers - 1) /
                     (dry->workers + victim->workers);
    uint32_t most = dry->units < dry->workers ? UINT32_MAX : most_spare - 1;
    /* A group comes back whole or not at all. Where there is none, its size would take from the victim what its own workers begin next. */
    const uint32_t least = victim->chunks < victim->outstanding ? XD_MAX(s->max_group, 1u) : 1;
    victim->request = ++s->next_request;
    victim->asked_for = (uint16_t)(dry - s->agents);
    s->st.take_backs++;
    *ret = (xd_sched_command){ .kind = XD_SCHED_TAKE_BACK,
                               .agent = (uint16_t)(victim - s->agents),
                               .request = victim->request,
                               .count = XD_MAX(XD_MIN((uint32_t)share, most), least) };
    return 1;
}

/* ---- what is to be done next ---- */

static int next_work(xd_sched *s, xd_sched_command *ret)
{
    if (!s->ordered && s->n) {
        if (!any_usable(s))
            return 0;
        XD_TRY(make_order(s));
    }
    bool single = is_single(s);
    if (something_waits(s)) {
        int a = needy(s, single);
        if (a < 0 && s->sharing) {
            s->sharing = false; /* who gave is gone: as usual */
            a = needy(s, single);
        }
        if (a >= 0) {
            XD_TRY(lease(s, (uint16_t)a, single));
            *ret = (xd_sched_command){
                .kind = XD_SCHED_LEASE, .agent = (uint16_t)a, .spans = s->out, .n_spans = s->n_out
            };
            return 1;
        }
        if (s->rings[0].len)
            return 0; /* else others may take from each other what all can run */
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
    return s->st.pending && !s->st.leased && !s->starved_told && s->agents_seen >= s->opt.agents_expected &&
           !any_usable(s);
}

static int out_one(xd_sched *s, uint32_t item)
{
    if (!s->cap_out) {
        s->out = malloc(sizeof *s->out);
        if (!s->out)
            return -ENOMEM;
        s->cap_out = 1;
    }
    s->out[0] = (xd_span){ .first = item, .count = 1, .attempt = s->items[item].attempt };
    return 0;
}

/* An agent is there that can run this set, or has something of it. */
static bool served(const xd_sched *s, uint32_t set)
{
    for (uint32_t a = 0; a < s->n_agents; a++) {
        const xd_sched_agent *g = &s->agents[a];
        if (!g->lost && xd_sched_can(g, set) && (xd_sched_usable(g) || g->outstanding))
            return true;
    }
    return false;
}

static void leave_out(xd_sched *s, uint32_t item)
{
    s->items[item].state = ITEM_OVER;
    s->items[item].outcome = XD_OUT_NOT_RUN;
    s->st.not_run++;
    s->st.pending--;
}

/* What waits of a set that nobody is left for, while others go on. 1 = *ret tells how much. */
static int orphaned(xd_sched *s, xd_sched_command *ret)
{
    if (!s->ordered || s->n_rings < 2 || s->agents_seen < s->opt.agents_expected)
        return 0;
#if XD_PLANTED_BUG == 11 /* what nobody has any more is waited for */
    return 0;
#endif
    for (uint32_t set = 0; set < s->n_rings; set++) {
        xd_sched_ring *r = &s->rings[set];
        const uint32_t before = s->st.pending;
        uint32_t       one = 0;
        size_t         kept = s->doubt_at;
        if (!r->weight || served(s, set) || !any_usable(s)) /* nobody at all: STARVED */
            continue;
        for (; r->len; ring_pop(r))
            for (uint32_t i = 0; i < ring_front(r)->count; i++)
                leave_out(s, one = ring_front(r)->first + i);
        for (size_t k = s->doubt_at; k < s->doubt_end; k++)
            if (s->items[s->doubted[k]].set == set)
                leave_out(s, one = s->doubted[k]);
            else
                s->doubted[kept++] = s->doubted[k];
        s->doubt_end = kept;
        r->weight = 0;
        XD_TRY(out_one(s, one));
        *ret = (xd_sched_command){
            .kind = XD_SCHED_ORPHANED, .count = before - s->st.pending, .spans = s->out, .n_spans = 1
        };
        return 1;
    }
    return 0;
}

int xd_sched_next(xd_sched *s, xd_sched_command *ret)
{
    if (s->at_lost < s->n_lost) {
        XD_TRY(out_one(s, s->lost[s->at_lost++]));
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
        if (r == 0)
            r = orphaned(s, ret);
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
