/* aqueue.c - see aqueue.h: the events.  What follows from them is made by xd_aqueue_next() in aqueue_plan.c.
 */
#include "engine/aqueue.h"

#include <stdlib.h>
#include <string.h>

#include "engine/aqueue_state.h"

#define DEFAULT_WINDOW_NS 20000000u
#define EWMA_SHIFT 3          /* a new measurement counts 1/8 */
#define PREDICTED_US 1000000u /* the ratio of taken to predicted time covers about so much */

int xd_aqueue_new(xd_aqueue **ret, const xd_aqueue_options *options)
{
    if (options->slots == 0)
        return -EINVAL;
    xd_aqueue *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    q->slot = calloc(options->slots, sizeof *q->slot);
    if (!q->slot) {
        free(q);
        return -ENOMEM;
    }
    q->opt = *options;
    if (!q->opt.window_ns)
        q->opt.window_ns = DEFAULT_WINDOW_NS;
    q->awaited = options->workers_expected;
    *ret = q;
    return 0;
}

xd_aqueue *xd_aqueue_free(xd_aqueue *q)
{
    if (!q)
        return NULL;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        free(q->slot[i].told);
        xd_spanq_release(&q->slot[i].home);
    }
    free(q->slot);
    xd_spanq_release(&q->queue);
    xd_spanq_release(&q->given);
    free(q->takes);
    free(q->blames);
    free(q->out);
    free(q);
    return NULL;
}

static xd_slot *slot_get(xd_aqueue *q, uint32_t slot)
{
    return slot < q->opt.slots ? &q->slot[slot] : NULL;
}

static void forget(xd_slot *w, const xd_told *t)
{
    if (t->expected_us)
        w->known_us -= t->expected_us;
    else
        w->unknown--;
}

int xd_slot_untell(xd_slot *w, uint32_t from, xd_spanq *to)
{
    while (w->end > from) {
        const xd_told *t = xd_slot_at(w, w->end - 1);
        xd_span        s = { t->item, 1, t->attempt, t->flags, t->group, t->expected_us };
        XD_TRY(xd_spanq_push_front(to, &s));
        forget(w, t);
        w->end--;
    }
    w->sent = XD_MIN(w->sent, w->end);
    return 0;
}

/* ---- workers ---- */

static void meet(xd_aqueue *q, xd_slot *w)
{
    if (!w->met && q->awaited)
        q->awaited--;
    w->met = true;
}

int xd_aqueue_worker_up(xd_aqueue *q, uint32_t slot, uint64_t now_ns)
{
    xd_slot *w = slot_get(q, slot);
    if (!w)
        return -EINVAL;
    q->now_ns = now_ns;
    if (w->state == XD_SLOT_UP)
        return 1;
    if (w->state == XD_SLOT_STARTING)
        q->st.starting--;
    meet(q, w);
    xd_told *ring = w->told;
    uint32_t cap = w->cap;
    xd_spanq home = w->home;
    *w = (xd_slot){
        .state = XD_SLOT_UP, .told = ring, .cap = cap, .thief = XD_AQUEUE_NOBODY, .home = home, .met = true
    };
    w->last_ns = now_ns;
    q->st.workers++;
    q->ever_up = true;
    return 0;
}

/* Items for which a replacement would be of use: all but what other workers have begun, or have to themselves. Their results
 * may be on the way still. */
static bool work_left(const xd_aqueue *q)
{
    if (!q->st.no_more || q->queue.items)
        return true;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        const xd_slot *w = &q->slot[i];
        if (w->home.items || xd_slot_movable(w))
            return true;
    }
    return false;
}

static bool is_refused(const xd_aqueue *q, bool costs)
{
    return costs && q->opt.max_restarts != UINT32_MAX && q->st.restarts >= q->opt.max_restarts;
}

static void replace(xd_aqueue *q, xd_slot *w, bool costs)
{
    q->st.restarts += costs;
    w->fate = XD_FATE_RESTART;
    w->state = XD_SLOT_STARTING;
    q->st.starting++;
}

static void decide_fate(xd_aqueue *q, xd_slot *w, bool costs)
{
    if (q->st.cancelled || !work_left(q)) {
        w->fate = XD_FATE_NO_WORK;
        w->spare = true;
        w->costs = costs;
    } else if (is_refused(q, costs)) {
        w->fate = XD_FATE_NO_BUDGET;
    } else {
        replace(q, w, costs);
    }
}

void xd_aqueue_refill(xd_aqueue *q, uint32_t items)
{
    for (uint32_t i = 0; i < q->opt.slots && q->st.starting < items; i++) {
        xd_slot *w = &q->slot[i];
        if (!w->spare || is_refused(q, w->costs))
            continue;
        w->spare = false;
        replace(q, w, w->costs);
    }
}

static int blame(xd_aqueue *q, uint32_t slot, const xd_told *t)
{
    if (q->n_blames == q->cap_blames) {
        size_t    cap = q->cap_blames ? q->cap_blames * 2 : 8;
        xd_blame *p = realloc(q->blames, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        q->blames = p;
        q->cap_blames = cap;
    }
    q->blames[q->n_blames++] = (xd_blame){ slot, t->item, t->attempt };
    q->st.blamed++;
    return 0;
}

/* The dead worker's items: the running one is blamed, and what had ended without a result; all others go back to
 * the head of the queue in order. */
static int take_over(xd_aqueue *q, uint32_t slot, xd_aqueue_end end, const xd_aqueue_last *last)
{
    xd_slot *w = &q->slot[slot];
    uint32_t over = w->done, claimed = XD_MIN(last->claimed, w->end); /* over: behind what was executed */
    if (end == XD_AQUEUE_CRASHED)
        over = XD_MAX(over, XD_MIN(last->finished, claimed));
    for (uint32_t p = over; end == XD_AQUEUE_CRASHED && last->item_plus_1 && p < claimed; p++)
        if (xd_slot_at(w, p)->item == last->item_plus_1 - 1)
            over = p + 1;
    while (w->home.len) {
        xd_span s = xd_spanq_take_back(&w->home, UINT32_MAX);
        XD_TRY(xd_spanq_push_front(&q->queue, &s));
    }
    uint32_t from = over;
#if XD_PLANTED_BUG == 3
    from = XD_MAX(over, claimed); /* forgets what was claimed and did not begin */
#endif
    XD_TRY(xd_slot_untell(w, from, &q->queue));
    for (uint32_t p = w->done; p < over; p++) {
        XD_TRY(blame(q, slot, xd_slot_at(w, p)));
        forget(w, xd_slot_at(w, p));
    }
    w->end = XD_MIN(w->end, w->done);
    return 0;
}

int xd_aqueue_worker_down(xd_aqueue *q, uint32_t slot, xd_aqueue_end end, const xd_aqueue_last *last,
                          uint64_t now_ns)
{
    xd_slot *w = slot_get(q, slot);
    if (!w)
        return -EINVAL;
    q->now_ns = now_ns;
    if (w->state != XD_SLOT_UP && end != XD_AQUEUE_NOT_STARTED && end != XD_AQUEUE_UNBORN)
        return 1;
    if (w->state == XD_SLOT_STARTING) {
        q->st.starting--;
    } else if (w->state == XD_SLOT_UP) {
        q->st.workers--;
        XD_TRY(take_over(q, slot, end, last));
    }
    meet(q, w);
    if (w->thief != XD_AQUEUE_NOBODY)
        q->slot[w->thief].stealing = false;
    w->thief = XD_AQUEUE_NOBODY;
    w->state = XD_SLOT_DOWN;
    w->limit_due = w->limit_wait = w->reopen = w->stealing = w->spare = false;
    w->done = w->sent = w->end = w->unknown = w->claimed = 0;
    w->known_us = 0;
    q->ever_up = true; /* also one that never came: nobody is left to wait for */
    if (end != XD_AQUEUE_ENDED)
        decide_fate(q, w, end != XD_AQUEUE_UNBORN);
    return 0;
}

/* ---- leases ---- */

int xd_aqueue_lease(xd_aqueue *q, const xd_span *spans, size_t count, uint64_t now_ns)
{
    q->now_ns = now_ns;
    q->st.no_more = q->st.final = false;
    for (size_t i = 0; i < count; i++)
        XD_TRY(xd_spanq_push_back(&q->queue, &spans[i]));
    return q->st.cancelled ? xd_aqueue_want_back(q, 0, XD_AQUEUE_ALL) : 0;
}

int xd_aqueue_no_more(xd_aqueue *q, bool final, uint64_t now_ns)
{
    q->now_ns = now_ns;
    q->st.no_more = true;
    q->st.final = final;
    return 0;
}

int xd_aqueue_want_back(xd_aqueue *q, uint32_t request, uint32_t count)
{
    if (q->n_takes == q->cap_takes) {
        size_t        cap = q->cap_takes ? q->cap_takes * 2 : 4;
        xd_take_back *p = realloc(q->takes, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        q->takes = p;
        q->cap_takes = cap;
    }
    q->takes[q->n_takes++] = (xd_take_back){ request, count };
    return 0;
}

int xd_aqueue_take_back(xd_aqueue *q, uint32_t request, uint32_t count, uint64_t now_ns)
{
    q->now_ns = now_ns;
    return xd_aqueue_want_back(q, request, count);
}

int xd_aqueue_cancel(xd_aqueue *q, uint64_t now_ns)
{
    q->now_ns = now_ns;
    if (q->st.cancelled)
        return 1;
    q->st.cancelled = true;
    return xd_aqueue_want_back(q, 0, XD_AQUEUE_ALL);
}

static void compare(xd_aqueue *q, uint32_t predicted_us, uint64_t took_us)
{
    if (!predicted_us)
        return;
    q->predicted_us += predicted_us;
    q->took_us += XD_MIN(XD_MAX(took_us, 1u), (uint64_t)UINT32_MAX);
    while (q->predicted_us > 1 && q->took_us > 1 &&
           (q->predicted_us > PREDICTED_US || q->took_us > PREDICTED_US)) {
        q->predicted_us /= 2;
        q->took_us /= 2;
    }
}

int xd_aqueue_result(xd_aqueue *q, uint32_t slot, uint32_t position, uint32_t item, uint64_t duration_ns,
                     uint64_t now_ns)
{
    xd_slot *w = slot_get(q, slot);
    q->now_ns = now_ns;
    if (!w || w->state != XD_SLOT_UP || position != w->done || position >= w->end ||
        xd_slot_at(w, position)->item != item) {
        q->st.stale++;
        return 1;
    }
    compare(q, xd_slot_at(w, position)->expected_us, duration_ns / 1000);
    forget(w, xd_slot_at(w, position));
    w->done++;
    w->last_ns = now_ns;
    q->st.results++;
    uint64_t e = q->st.ewma_ns;
    q->st.ewma_ns =
        e ? e - (e >> EWMA_SHIFT) + (duration_ns >> EWMA_SHIFT) : XD_MAX(duration_ns, (uint64_t)1);
    return 0;
}

int xd_aqueue_limit_answer(xd_aqueue *q, uint32_t slot, uint32_t claimed, uint64_t now_ns)
{
    xd_slot *w = slot_get(q, slot);
    q->now_ns = now_ns;
    if (!w || !w->limit_wait)
        return 1;
    w->limit_wait = false;
    xd_slot *thief = w->thief == XD_AQUEUE_NOBODY ? NULL : &q->slot[w->thief];
    w->thief = XD_AQUEUE_NOBODY;
#if XD_PLANTED_BUG == 2
    claimed = 0;
#endif
    w->claimed = claimed;
    uint32_t cut = XD_MIN(XD_MAX(XD_MAX(w->limit, claimed), w->done), w->end);
    while (!w->limit_all && cut > w->done && cut < w->end &&
           xd_told_joined(xd_slot_at(w, cut - 1), xd_slot_at(w, cut)))
        cut++; /* a group is not torn */
    uint32_t got = w->end - cut;
    if (thief) {
        thief->stealing = false;
        q->st.stolen += got;
        XD_TRY(xd_slot_untell(w, cut, thief->state == XD_SLOT_UP ? &thief->home : &q->queue));
    } else {
        XD_TRY(xd_slot_untell(w, cut, &q->given));
        if (q->takes[0].left != XD_AQUEUE_ALL)
            q->takes[0].left -= XD_MIN(q->takes[0].left, got);
    }
    w->reopen = true; /* also when nothing came of it: the worker may have been refused and waits */
    return 0;
}

int xd_aqueue_tick(xd_aqueue *q, uint64_t now_ns)
{
    q->now_ns = now_ns;
    if (!q->st.cancelled || q->n_takes)
        return 0;
    /* A claim seen at the cancel may have been one that was refused and withdrawn: ask again what is
     * unclaimed. */
    for (uint32_t i = 0; i < q->opt.slots; i++)
        if (q->slot[i].state == XD_SLOT_UP && q->slot[i].end > q->slot[i].done)
            return xd_aqueue_want_back(q, 0, XD_AQUEUE_ALL);
    return 0;
}

/* ---- questions ---- */

const xd_aqueue_stats *xd_aqueue_stats_get(const xd_aqueue *q)
{
    xd_aqueue_stats *st = (xd_aqueue_stats *)&q->st; /* derived numbers are made on demand */
    st->queued = q->queue.items + q->given.items;
    st->told = 0;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        st->queued += q->slot[i].home.items;
        st->told += q->slot[i].end - q->slot[i].done;
    }
    return st;
}
