/* aqueue_plan.c - see aqueue.h: what is to be done next.
 * Untold items are in `queue`; a worker reserves a piece of it as its `home` (whole modules where it can,
 * guided by what remains) and is told of that as much as fills its window.  Homes move between workers
 * freely; what is told must be asked for with LIMIT. */
#include <stdlib.h>
#include <string.h>

#include "engine/aqueue_state.h"

#define FIRST_CHUNK 32u    /* told ahead while no time of an item is known */
#define MIN_ITEM_NS 50000u /* pytest's own time per item, not in its durations */
#define GUESS_US 1000u     /* weight of an item when nothing is known */
#define TRIFLE_US 200u     /* not worth a steal while its worker is moving */
#define MOVING_NS 2000000u /* a worker is moving if its last result is younger */

static uint64_t unit_us(const xd_aqueue *q)
{
    return q->st.ewma_ns ? XD_MAX(q->st.ewma_ns, (uint64_t)MIN_ITEM_NS) / 1000 : GUESS_US;
}

/* The history may come from another machine or a busier hour, so predictions are scaled by how well they have
 * matched so far. */
static uint64_t ahead_us(const xd_aqueue *q, const xd_slot *w)
{
    uint64_t known = q->predicted_us ? w->known_us * q->took_us / q->predicted_us : w->known_us;
    return known + w->unknown * unit_us(q);
}

static uint32_t shares(const xd_aqueue *q)
{
    return 2 * XD_MAX(xd_aqueue_crew(q), 1u);
}

static bool free_to_tell(const xd_slot *w)
{
    return w->state == XD_SLOT_UP && !w->limit_wait && !w->limit_due;
}

static uint32_t idle_workers(const xd_aqueue *q)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->opt.slots; i++)
        n += free_to_tell(&q->slot[i]) && q->slot[i].end == q->slot[i].done && !q->slot[i].home.items;
    return n;
}

/* ---- telling ---- */

/* May one more be told to this worker? */
static bool has_room(const xd_aqueue *q, const xd_slot *w)
{
    uint32_t ahead = w->end - w->done;
    uint32_t remaining = q->queue.items + w->home.items;
    if (remaining == 0)
        return false;
    if (ahead < 2) /* the last few are spread: one each, if idle workers could take them all */
        return ahead == 0 || w->home.items || !q->st.no_more || q->queue.items > idle_workers(q);
    uint64_t us = ahead_us(q, w), window_us = q->opt.window_ns / 1000;
    if (us >= window_us)
        return false;
    uint32_t share = (remaining + ahead) / shares(q);
    if (!q->st.ewma_ns && w->unknown)
        return ahead < XD_MIN(FIRST_CHUNK, share);
    return us < window_us / 8 || ahead < share;
}

static bool wants(const xd_aqueue *q, const xd_slot *w)
{
    return !q->st.cancelled && free_to_tell(w) && has_room(q, w) &&
           (w->end - w->done < 2 || ahead_us(q, w) < q->opt.window_ns / 2000);
}

/* Reserves a piece of the queue. */
static int take_home(xd_aqueue *q, xd_slot *w)
{
    xd_span f = *xd_spanq_front(&q->queue);
    if (f.flags & XD_RANGE_TOGETHER) {
        do {
            xd_span s = xd_spanq_take_front(&q->queue, UINT32_MAX);
            XD_TRY(xd_spanq_push_back(&w->home, &s));
        } while (q->queue.len && xd_spanq_front(&q->queue)->group == f.group &&
                 (xd_spanq_front(&q->queue)->flags & XD_RANGE_TOGETHER));
        return 0;
    }
    uint64_t share = xd_spanq_weight(&q->queue, unit_us(q)) / shares(q);
    uint64_t weight = f.expected_us ? f.expected_us : f.count * unit_us(q);
    uint32_t k = f.count;
    if (weight > share + share / 2)
        k = XD_MAX((uint32_t)(f.count * share / weight), 1u);
    xd_span s = xd_spanq_take_front(&q->queue, k);
    return xd_spanq_push_back(&w->home, &s);
}

static int tell_span(xd_slot *w, const xd_span *s)
{
    uint32_t need = w->end - w->done + s->count;
    if (need > w->cap) {
        uint32_t cap = w->cap ? w->cap : 64;
        while (cap < need)
            cap *= 2;
        xd_told *p = malloc(cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        for (uint32_t i = w->done; i < w->end; i++)
            p[i & (cap - 1)] = *xd_slot_at(w, i);
        free(w->told);
        w->told = p;
        w->cap = cap;
    }
    uint64_t each = s->expected_us / s->count;
    uint32_t us = s->expected_us ? (uint32_t)XD_MIN(XD_MAX(each, 1u), (uint64_t)UINT32_MAX) : 0;
    for (uint32_t i = 0; i < s->count; i++) {
        *xd_slot_at(w, w->end) = (xd_told){ s->first + i, s->group, us, s->attempt, s->flags };
        w->end++;
    }
    if (us)
        w->known_us += (uint64_t)us * s->count;
    else
        w->unknown += s->count;
    return 0;
}

static int fill(xd_aqueue *q, xd_slot *w)
{
    while (has_room(q, w)) {
        if (!w->home.items)
            XD_TRY(take_home(q, w));
        bool     together;
        uint32_t group;
        do { /* a group is told whole: it must run here anyhow */
            xd_span s = xd_spanq_take_front(&w->home, 1);
            together = s.flags & XD_RANGE_TOGETHER;
            group = s.group;
            XD_TRY(tell_span(w, &s));
        } while (together && w->home.len && xd_spanq_front(&w->home)->group == group &&
                 (xd_spanq_front(&w->home)->flags & XD_RANGE_TOGETHER));
    }
    return 0;
}

static int out_add(xd_aqueue *q, const xd_span *s)
{
    xd_span *l = q->n_out ? &q->out[q->n_out - 1] : NULL;
    if (l && l->first + l->count == s->first && l->attempt == s->attempt && l->group == s->group &&
        l->flags == s->flags && !l->expected_us == !s->expected_us) {
        l->count += s->count;
        l->expected_us += s->expected_us;
        return 0;
    }
    if (q->n_out == q->cap_out) {
        size_t   cap = q->cap_out ? q->cap_out * 2 : 64;
        xd_span *p = realloc(q->out, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        q->out = p;
        q->cap_out = cap;
    }
    q->out[q->n_out++] = *s;
    return 0;
}

static bool is_last(const xd_aqueue *q, const xd_slot *w)
{
    return q->st.cancelled || (q->st.no_more && !q->queue.items && !w->home.items);
}

/* No worker gets an item that it has not been told: nothing waits here or elsewhere, and nothing that one was
 * told can move to another.  Holds from then on, unless a worker or an agent is lost. */
static bool is_final(const xd_aqueue *q)
{
    if (q->st.cancelled)
        return true;
    if (!q->st.no_more || !q->st.final || q->queue.items || q->n_takes)
        return false;
    bool alone = xd_aqueue_crew(q) <= 1;
#if XD_PLANTED_BUG == 4
    alone = true; /* what others were told may still come here */
#endif
    for (uint32_t i = 0; i < q->opt.slots; i++)
        if (q->slot[i].home.items || (!alone && xd_slot_movable(&q->slot[i])))
            return false;
    return true;
}

static int give_run(xd_aqueue *q, uint32_t slot, xd_aqueue_command *ret)
{
    xd_slot *w = &q->slot[slot];
    q->n_out = 0;
    for (uint32_t p = w->sent; p < w->end; p++) {
        const xd_told *t = xd_slot_at(w, p);
        xd_span        s = { t->item, 1, t->attempt, t->flags, t->group, t->expected_us };
        XD_TRY(out_add(q, &s));
    }
    *ret = (xd_aqueue_command){ .kind = XD_AQUEUE_RUN,
                                .slot = slot,
                                .first = w->sent,
                                .last = is_last(q, w),
                                .final = is_final(q),
                                .reopen = w->reopen,
                                .runs = ++w->runs,
                                .spans = q->out,
                                .n_spans = q->n_out };
    w->sent = w->end;
    w->reopen = false;
    w->last_told = ret->last;
    w->final_told = ret->final;
    q->st.runs++;
    return 1;
}

/* The worker with least ahead is served first. */
static int plan_run(xd_aqueue *q, xd_aqueue_command *ret)
{
    uint32_t best = XD_AQUEUE_NOBODY;
    for (uint32_t i = 0; i < q->opt.slots; i++)
        if (wants(q, &q->slot[i]) && (best == XD_AQUEUE_NOBODY || q->slot[i].end - q->slot[i].done <
                                                                      q->slot[best].end - q->slot[best].done))
            best = i;
    if (best != XD_AQUEUE_NOBODY) {
        XD_TRY(fill(q, &q->slot[best]));
        return give_run(q, best, ret);
    }
    bool final = is_final(q), open = q->queue.items || !q->st.final; /* what was final is not any more */
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        const xd_slot *w = &q->slot[i];
        if (free_to_tell(w) &&
            (w->reopen || (is_last(q, w) && !w->last_told) || (w->final_told ? open && !final : final)))
            return give_run(q, i, ret);
    }
    return 0;
}

/* ---- taking from workers ---- */

/* First position that may not have begun: the first without result counts as begun, and what was claimed. */
static uint32_t first_free(const xd_slot *w)
{
    return XD_MIN(XD_MAX(w->done + 1, w->claimed), w->end);
}

/* First position at or after `want` where no group is torn; else the last such before it; `end` = there is
 * none. */
static uint32_t boundary(const xd_slot *w, uint32_t want)
{
    uint32_t least = first_free(w);
    for (uint32_t p = want; p < w->end; p++)
        if (!xd_told_joined(xd_slot_at(w, p - 1), xd_slot_at(w, p)))
            return p;
    for (uint32_t p = want; p-- > least;)
        if (!xd_told_joined(xd_slot_at(w, p - 1), xd_slot_at(w, p)))
            return p;
    return w->end;
}

bool xd_slot_movable(const xd_slot *w)
{
    return w->state == XD_SLOT_UP && (w->limit_due || w->limit_wait || boundary(w, first_free(w)) < w->end);
}

static void ask(xd_slot *w, uint32_t limit, uint32_t thief, bool all)
{
    w->limit = limit;
    w->thief = thief;
    w->limit_all = all;
    w->limit_due = true;
}

static bool dry(const xd_slot *w)
{
    uint32_t ahead = w->end - w->done;
    return free_to_tell(w) && !w->stealing && !w->home.items && (ahead == 0 || (ahead == 1 && !w->last_told));
}

/* Half of the largest home goes over at once. */
static int steal_home(xd_aqueue *q, xd_slot *w)
{
    xd_slot *v = NULL;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        xd_slot *o = &q->slot[i];
        if (o != w && o->home.items &&
            (!v || xd_spanq_weight(&o->home, unit_us(q)) > xd_spanq_weight(&v->home, unit_us(q))))
            v = o;
    }
    if (!v)
        return 0;
    uint32_t half = (v->home.items + 1) / 2, got = 0;
    while (got < half) {
        int r = xd_spanq_move_tail(&v->home, &w->home, half - got, false);
        XD_TRY(r);
        got += (uint32_t)r;
    }
    q->st.steals++;
    q->st.stolen += got;
    return 1;
}

/* One that waits for a successor takes only from who keeps two, else both would take the same item to and
 * fro. */
static int steal_told(xd_aqueue *q, uint32_t thief)
{
    uint32_t least = q->slot[thief].end > q->slot[thief].done ? 3 : 2;
    xd_slot *v = NULL;
    uint32_t cut = 0;
    uint64_t most = 0;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        xd_slot *o = &q->slot[i];
        if (i == thief || !free_to_tell(o) || o->end - o->done < least)
            continue;
        uint32_t n = o->end - first_free(o);
        uint64_t us = ahead_us(q, o) * n / (o->end - o->done) + n;
        if (n == 0 || us <= most || (us < TRIFLE_US && q->now_ns - o->last_ns < MOVING_NS))
            continue;
        uint32_t at = boundary(o, o->end - (n + 1) / 2);
        if (at < o->end && at - o->done + 1 >= least) {
            v = o;
            cut = at;
            most = us;
        }
    }
    if (!v)
        return 0;
    ask(v, cut, thief, false);
    q->slot[thief].stealing = true;
    q->st.steals++;
    return 1;
}

/* 1 = something changed: look again. */
static int plan_steal(xd_aqueue *q)
{
    if (q->queue.items || q->st.cancelled)
        return 0;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        if (!dry(&q->slot[i]))
            continue;
        int r = steal_home(q, &q->slot[i]);
        if (r == 0)
            r = steal_told(q, i);
        if (r)
            return r;
    }
    return 0;
}

/* ---- TAKE_BACK ---- */

/* The tail of the queue, then of homes. */
static int give_untold(xd_aqueue *q, xd_take_back *t)
{
    bool all = t->left == XD_AQUEUE_ALL;
    for (uint32_t i = 0; i <= q->opt.slots; i++) {
        xd_spanq *from = i == 0 ? &q->queue : &q->slot[i - 1].home;
        while (from->items && t->left) {
            int r = xd_spanq_move_tail(from, &q->given, t->left, !all);
            XD_TRY(r);
            if (r == 0)
                break;
            t->left -= all ? 0 : (uint32_t)r;
        }
    }
    return 0;
}

static int give_returned(xd_aqueue *q, uint32_t request, xd_aqueue_command *ret)
{
    q->n_out = 0;
    while (q->given.len) {
        xd_span s = xd_spanq_take_front(&q->given, UINT32_MAX);
        XD_TRY(out_add(q, &s));
    }
    *ret = (xd_aqueue_command){
        .kind = XD_AQUEUE_RETURNED, .request = request, .spans = q->out, .n_spans = q->n_out
    };
    return 1;
}

/* Asks one more worker: 1; 0 = none is left to ask. */
static int ask_worker(xd_aqueue *q, const xd_take_back *t)
{
    bool     all = t->left == XD_AQUEUE_ALL;
    xd_slot *v = NULL;
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        xd_slot *o = &q->slot[i];
        if (o->state != XD_SLOT_UP || o->limit_wait || o->limit_due || o->asked == q->serial ||
            (all ? o->end == o->done : first_free(o) == o->end))
            continue;
        if (!v || ahead_us(q, o) > ahead_us(q, v))
            v = o;
    }
    if (!v)
        return 0;
    v->asked = q->serial;
    uint32_t cut = v->done;
    if (!all) {
        cut = boundary(v, v->end - XD_MIN(v->end - first_free(v), t->left));
        if (cut == v->end || v->end - cut > t->left)
            return 1; /* a group larger than what is asked for */
    }
    ask(v, cut, XD_AQUEUE_NOBODY, all);
    return 1;
}

static bool any_wait(const xd_aqueue *q, bool due)
{
    for (uint32_t i = 0; i < q->opt.slots; i++)
        if (due ? q->slot[i].limit_due : q->slot[i].limit_wait)
            return true;
    return false;
}

/* 1 = RETURNED in *ret; 2 = a LIMIT is due; 0 = nothing to do now. */
static int plan_take_back(xd_aqueue *q, xd_aqueue_command *ret)
{
    while (q->n_takes) {
        xd_take_back *t = &q->takes[0];
        if (!q->taking) {
            q->taking = true;
            q->serial++;
        }
        if (any_wait(q, false))
            return 0;
        XD_TRY(give_untold(q, t));
        while (t->left && ask_worker(q, t))
            if (any_wait(q, true))
                return 2;
        uint32_t request = t->request;
        q->taking = false;
        memmove(q->takes, q->takes + 1, --q->n_takes * sizeof *q->takes);
        if (request || q->given.items)
            return give_returned(q, request, ret);
    }
    return 0;
}

/* ---- the order of things ---- */

static bool plan_small(xd_aqueue *q, xd_aqueue_command *ret)
{
    if (q->at_blames < q->n_blames) {
        const xd_blame *b = &q->blames[q->at_blames++];
        *ret = (xd_aqueue_command){
            .kind = XD_AQUEUE_BLAME, .slot = b->slot, .item = b->item, .attempt = b->attempt
        };
        if (q->at_blames == q->n_blames)
            q->at_blames = q->n_blames = 0;
        return true;
    }
    for (uint32_t i = 0; i < q->opt.slots; i++) {
        xd_slot *w = &q->slot[i];
        if (w->fate != XD_FATE_NONE) {
            bool again = w->fate == XD_FATE_RESTART;
            *ret = (xd_aqueue_command){ .kind = again ? XD_AQUEUE_RESTART : XD_AQUEUE_GIVE_UP,
                                        .slot = i,
                                        .budget = w->fate == XD_FATE_NO_BUDGET };
            w->fate = XD_FATE_NONE;
            return true;
        }
        if (w->limit_due) {
            w->limit_due = false;
            w->limit_wait = true;
            *ret = (xd_aqueue_command){ .kind = XD_AQUEUE_LIMIT, .slot = i, .limit = w->limit };
            return true;
        }
    }
    return false;
}

static bool drained(const xd_aqueue *q)
{
    if (!q->st.cancelled || q->st.drained || q->n_takes || q->queue.items || q->given.items)
        return false;
    for (uint32_t i = 0; i < q->opt.slots; i++)
        if (q->slot[i].home.items || q->slot[i].end > q->slot[i].done)
            return false;
    return true;
}

/* Items have come that nobody here is free for. */
static void refill(xd_aqueue *q)
{
#if XD_PLANTED_BUG == 15 /* the simulator must find it: who has lost its workers gives back what comes */
    return;
#endif
    if (xd_aqueue_crew(q) >= q->opt.slots || !q->queue.items || q->st.cancelled || q->n_takes)
        return; /* nearly always: no worker was lost */
    const uint32_t idle = idle_workers(q);
    if (q->queue.items > idle)
        xd_aqueue_refill(q, q->queue.items - idle);
}

int xd_aqueue_next(xd_aqueue *q, xd_aqueue_command *ret)
{
    for (;;) {
        refill(q);
        if (plan_small(q, ret))
            return 1;
        int r = plan_take_back(q, ret);
        if (r == 2)
            continue;
        if (r)
            return r;
        r = plan_run(q, ret);
        if (r)
            return r;
        r = plan_steal(q);
        if (r < 0)
            return r;
        if (r == 0)
            break;
    }
    bool nobody = q->ever_up && !xd_aqueue_crew(q);
    if ((q->st.cancelled || nobody) && q->queue.items && !q->n_takes) {
        xd_take_back all = { 0, XD_AQUEUE_ALL };
        XD_TRY(give_untold(q, &all));
        return give_returned(q, 0, ret);
    }
    if (drained(q)) {
        q->st.drained = true;
        *ret = (xd_aqueue_command){ .kind = XD_AQUEUE_DRAINED };
        return 1;
    }
    return 0;
}
