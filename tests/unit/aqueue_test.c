/* aqueue_test.c - the agent's queue core. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/aqueue.h"
#include "engine/sched.h"
#include "tests/unit/aqueue_told.h"

#define MS 1000000ull

static xd_aqueue *make(uint32_t slots, uint32_t restarts)
{
    xd_aqueue        *q = NULL;
    xd_aqueue_options o = { .slots = slots, .max_restarts = restarts, .workers_expected = slots };
    ck_assert_int_eq(xd_aqueue_new(&q, &o), 0);
    return q;
}

static void up(xd_aqueue *q, uint32_t workers)
{
    for (uint32_t i = 0; i < workers; i++)
        ck_assert_int_eq(xd_aqueue_worker_up(q, i, 0), 0);
}

static void lease(xd_aqueue *q, uint32_t first, uint32_t count, uint32_t group)
{
    xd_span s = { first, count, 1, group ? XD_RANGE_TOGETHER : 0, group, 0 };
    ck_assert_int_eq(xd_aqueue_lease(q, &s, 1, 0), 0);
}

static xd_aqueue_command want(xd_aqueue *q, xd_aqueue_kind kind)
{
    xd_aqueue_command c;
    ck_assert_int_eq(xd_aqueue_next(q, &c), 1);
    ck_assert_int_eq(c.kind, kind);
    return c;
}

static void nothing(xd_aqueue *q)
{
    xd_aqueue_command c;
    ck_assert_int_eq(xd_aqueue_next(q, &c), 0);
}

/* All that is planned now are RUNs. */
static void runs_alone(xd_aqueue *q)
{
    xd_aqueue_command c;
    int               r;
    while ((r = xd_aqueue_next(q, &c)) == 1)
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
    ck_assert_int_eq(r, 0);
}

static void result(xd_aqueue *q, uint32_t slot, uint32_t position, uint32_t item, uint64_t ns, uint64_t now)
{
    ck_assert_int_eq(xd_aqueue_result(q, slot, position, item, ns, now), 0);
}

START_TEST(test_one_worker)
{
    xd_auto(xd_aqueue) *q = make(1, 0);
    up(q, 1);
    nothing(q);
    lease(q, 10, 1, 0);
    xd_aqueue_command c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.first, 0);
    ck_assert_uint_eq(c.spans[0].first, 10);
    ck_assert(!c.last && !c.reopen); /* no successor known: it waits */
    ck_assert_uint_eq(c.runs, 1);
    nothing(q);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    c = want(q, XD_AQUEUE_RUN);
    ck_assert(c.last);
    ck_assert_uint_eq(c.first, 1);
    ck_assert_uint_eq(c.n_spans, 0);
    nothing(q);
    lease(q, 20, 2, 0); /* comes after all */
    c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.first, 1);
    ck_assert_uint_eq(c.spans[0].count,
                      1); /* current and successor, while no time is known and little remains */
    ck_assert(!c.last);
    result(q, 0, 0, 10, MS, MS);
    ck_assert_uint_eq(want(q, XD_AQUEUE_RUN).spans[0].first, 21);
    ck_assert_int_eq(xd_aqueue_result(q, 0, 0, 10, MS, MS), 1);
    ck_assert_int_eq(xd_aqueue_result(q, 0, 2, 21, MS, MS), 1);
    uint32_t item;
    uint16_t attempt;
    ck_assert_int_eq(aqueue_item_at(q, 0, 1, &item, &attempt), 0);
    ck_assert_uint_eq(item, 20);
    ck_assert_uint_eq(attempt, 1);
    ck_assert_int_eq(aqueue_item_at(q, 0, 0, &item, &attempt), 1);
    ck_assert_uint_eq(xd_aqueue_stats_get(q)->stale, 2);
}
END_TEST

START_TEST(test_first_chunk)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    up(q, 2);
    lease(q, 0, 10000, 0);
    for (int i = 0; i < 2; i++) {
        xd_aqueue_command c = want(q, XD_AQUEUE_RUN);
        ck_assert_uint_le(c.spans[0].count, 32); /* nothing is known of the times yet */
        ck_assert_uint_ge(c.spans[0].count, 2);
    }
    nothing(q);
}
END_TEST

START_TEST(test_window)
{
    xd_auto(xd_aqueue) *q = make(1, 0);
    up(q, 1);
    lease(q, 0, 10000, 0);
    uint32_t told = want(q, XD_AQUEUE_RUN).spans[0].count;
    for (uint32_t i = 0; i < 20; i++)
        result(q, 0, i, i, MS, i * MS);
    told += want(q, XD_AQUEUE_RUN).spans[0].count;
    ck_assert_uint_eq(told - 20, 20); /* 20 ms of 1 ms each */
    for (uint32_t i = 20; i < 24; i++)
        result(q, 0, i, i, 400 * MS, i * MS);
    nothing(q);
    for (uint32_t i = 24; i < told - 2; i++) {
        result(q, 0, i, i, 400 * MS, i * MS);
        nothing(q);
    }
    result(q, 0, told - 2, told - 2, 400 * MS, 0);
    xd_aqueue_command c = want(q, XD_AQUEUE_RUN); /* current and successor, no more */
    ck_assert_uint_eq(c.spans[0].count, 1);
}
END_TEST

/* The history was written by a slower machine: its times are measured by how they did. */
START_TEST(test_wrong_expectations)
{
    xd_auto(xd_aqueue) *q = make(1, 0);
    xd_span s = { 0, 1000, 1, 0, 0, 1000 * 4000 }; /* 4 ms each, it says */
    up(q, 1);
    ck_assert_int_eq(xd_aqueue_lease(q, &s, 1, 0), 0);
    uint32_t told = want(q, XD_AQUEUE_RUN).spans[0].count;
    ck_assert_uint_eq(told, 5); /* 20 ms */
    for (uint32_t i = 0; i < 4; i++)
        result(q, 0, i, i, MS / 10, i * MS);
    told += want(q, XD_AQUEUE_RUN).spans[0].count;
    ck_assert_uint_ge(told, 150); /* as they take a tenth of one */
    for (uint32_t i = 4; i < 12; i++)
        result(q, 0, i, i, 40 * MS, i * 40 * MS);
    nothing(q); /* and slow ones are noticed too */
    for (uint32_t i = 12; i < told - 2; i++) {
        result(q, 0, i, i, 40 * MS, i * 40 * MS);
        nothing(q);
    }
}
END_TEST

/* The other worker sits in a long test: even its promised successor moves. */
START_TEST(test_steal)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    up(q, 2);
    lease(q, 0, 4, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    xd_aqueue_command c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.slot, 0);
    c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.slot, 1);
    while (xd_aqueue_next(q, &c) > 0)
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
    /* Worker 1 does all of its items, worker 0 none. */
    uint32_t item;
    uint16_t attempt;
    uint32_t pos = 0;
    while (aqueue_item_at(q, 1, pos, &item, &attempt) == 0)
        result(q, 1, pos++, item, MS, 1000 * MS);
    c = want(q, XD_AQUEUE_LIMIT);
    ck_assert_uint_eq(c.slot, 0);
    ck_assert_uint_eq(c.limit, 1);
    nothing(q);
    ck_assert_int_eq(xd_aqueue_limit_answer(q, 0, 1, 1000 * MS), 0); /* sits in position 0 */
    c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.slot, 1);
    ck_assert(c.last);
    ck_assert_uint_eq(c.spans[0].first, 1);
    c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.slot, 0);
    ck_assert_uint_eq(c.first, 1);
    ck_assert(c.reopen && c.last);
    ck_assert_uint_eq(c.n_spans, 0);
    nothing(q);
    /* Nothing to take from worker 1: it would be to and fro. */
    result(q, 0, 0, 0, 5000 * MS, 6000 * MS);
    nothing(q);
}
END_TEST

START_TEST(test_steal_too_late)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    up(q, 1);
    lease(q, 0, 2, 0);
    want(q, XD_AQUEUE_RUN);
    ck_assert_int_eq(xd_aqueue_worker_up(q, 1, 10 * MS), 0);
    ck_assert_uint_eq(want(q, XD_AQUEUE_LIMIT).limit, 1);
    ck_assert_int_eq(xd_aqueue_limit_answer(q, 0, 2, 10 * MS), 0); /* had claimed both */
    xd_aqueue_command c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.slot, 0);
    ck_assert_uint_eq(c.first, 2);
    ck_assert(c.reopen);
    nothing(q); /* and does not ask again for the same */
    ck_assert_int_eq(xd_aqueue_limit_answer(q, 0, 2, 10 * MS), 1);
}
END_TEST

START_TEST(test_groups_whole)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    up(q, 2);
    xd_span s[] = { { 0, 50, 1, XD_RANGE_TOGETHER, 3, 0 },
                    { 90, 50, 1, XD_RANGE_TOGETHER, 3, 0 },
                    { 60, 2, 1, XD_RANGE_TOGETHER, 4, 0 } };
    ck_assert_int_eq(xd_aqueue_lease(q, s, 3, 0), 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    xd_aqueue_command c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.n_spans, 2);
    ck_assert_uint_eq(c.spans[1].first, 90);
    ck_assert_uint_eq(c.spans[1].count, 50);
    uint32_t slot = c.slot;
    c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_ne(c.slot, slot);
    ck_assert_uint_eq(c.spans[0].group, 4);
    want(q, XD_AQUEUE_RUN); /* last, for the first */
    result(q, 1 - slot, 0, 60, MS, MS);
    result(q, 1 - slot, 1, 61, MS, 20 * MS);
    nothing(q); /* a group that has begun is not torn */
}
END_TEST

START_TEST(test_crash)
{
    xd_auto(xd_aqueue) *q = make(1, 1);
    up(q, 1);
    lease(q, 0, 5, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    xd_aqueue_command c;
    while (xd_aqueue_next(q, &c) > 0)
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
    result(q, 0, 0, 0, MS, MS);
    /* Ran item 1 and had claimed item 2 at its teardown. */
    ck_assert_int_eq(xd_aqueue_worker_down(q, 0, XD_AQUEUE_CRASHED, &(xd_aqueue_last){ 3, 1 + 1, 0 }, MS), 0);
    c = want(q, XD_AQUEUE_BLAME);
    ck_assert_uint_eq(c.item, 1);
    ck_assert_uint_eq(c.attempt, 1);
    want(q, XD_AQUEUE_RESTART);
    nothing(q);
    ck_assert_int_eq(xd_aqueue_worker_up(q, 0, 2 * MS), 0);
    c = want(q, XD_AQUEUE_RUN);
    ck_assert_uint_eq(c.first, 0);
    ck_assert_uint_eq(c.runs, 1);
    ck_assert_uint_eq(c.spans[0].first, 2);
    while (xd_aqueue_next(q, &c) > 0)
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
    /* Dies between two items: nobody is blamed, the budget is used up, all goes back. */
    ck_assert_int_eq(xd_aqueue_worker_down(q, 0, XD_AQUEUE_CRASHED, &(xd_aqueue_last){ 1, 0, 0 }, 3 * MS), 0);
    c = want(q, XD_AQUEUE_GIVE_UP);
    ck_assert(c.budget);
    c = want(q, XD_AQUEUE_RETURNED);
    ck_assert_uint_eq(c.request, 0);
    ck_assert_uint_eq(c.spans[0].first, 2);
    ck_assert_uint_eq(c.spans[0].count, 3);
    nothing(q);
}
END_TEST

/* One that is slow to start is not forgotten when another one, and its replacement, have come and gone. */
START_TEST(test_slow_to_start)
{
    xd_auto(xd_aqueue) *q = make(2, 1);
    lease(q, 0, 8, 0);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_eq(xd_aqueue_worker_up(q, 0, 0), 0);
        xd_aqueue_command c = want(q, XD_AQUEUE_RUN);
        nothing(q);
        xd_aqueue_last last = { .claimed = 1, .item_plus_1 = c.spans[0].first + 1 };
        ck_assert_int_eq(xd_aqueue_worker_down(q, 0, XD_AQUEUE_CRASHED, &last, 0), 0);
        (void)want(q, XD_AQUEUE_BLAME);
        (void)want(q, turn ? XD_AQUEUE_GIVE_UP : XD_AQUEUE_RESTART);
        nothing(q);
    }
    ck_assert_int_eq(xd_aqueue_worker_up(q, 1, 0), 0);
    (void)want(q, XD_AQUEUE_RUN);
}
END_TEST

/* The worker ended items whose results never came (a test closed its pipe): they are blamed and do
 * not run again. */
START_TEST(test_lost_results)
{
    xd_auto(xd_aqueue) *q = make(1, 1);
    xd_aqueue_command c;
    up(q, 1);
    lease(q, 0, 6, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    runs_alone(q);
    result(q, 0, 0, 0, MS, MS);
    ck_assert_int_eq(xd_aqueue_worker_down(q, 0, XD_AQUEUE_CRASHED, &(xd_aqueue_last){ 3, 0, 3 }, MS), 0);
    for (uint32_t i = 1; i <= 2; i++) {
        c = want(q, XD_AQUEUE_BLAME);
        ck_assert_uint_eq(c.item, i);
    }
    want(q, XD_AQUEUE_RESTART);
    ck_assert_int_eq(xd_aqueue_worker_up(q, 0, 2 * MS), 0);
    ck_assert_uint_eq(want(q, XD_AQUEUE_RUN).spans[0].first, 3);
}
END_TEST

START_TEST(test_take_back)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    up(q, 2);
    lease(q, 0, 100, 0);
    xd_aqueue_command c;
    while (xd_aqueue_next(q, &c) > 0)
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
    ck_assert_int_eq(xd_aqueue_take_back(q, 5, 30, 0), 0);
    c = want(q, XD_AQUEUE_RETURNED);
    ck_assert_uint_eq(c.request, 5);
    ck_assert_uint_eq(c.n_spans, 1);
    ck_assert_uint_eq(c.spans[0].first, 70); /* from the tail */
    ck_assert_uint_eq(c.spans[0].count, 30);
    ck_assert_int_eq(xd_aqueue_take_back(q, 6, XD_AQUEUE_ALL, 0), 0);
    uint32_t back = 0;
    while (xd_aqueue_next(q, &c) > 0) {
        if (c.kind == XD_AQUEUE_LIMIT)
            ck_assert_int_eq(xd_aqueue_limit_answer(q, c.slot, 1, 0), 0);
        for (size_t i = 0; c.kind == XD_AQUEUE_RETURNED && i < c.n_spans; i++)
            back += c.spans[i].count;
    }
    ck_assert_uint_eq(back, 68); /* all but the two that run */
    ck_assert_int_eq(xd_aqueue_take_back(q, 7, 1, 0), 0);
    c = want(q, XD_AQUEUE_RETURNED);
    ck_assert_uint_eq(c.request, 7);
    ck_assert_uint_eq(c.n_spans, 0);
}
END_TEST

START_TEST(test_cancel)
{
    xd_auto(xd_aqueue) *q = make(2, 4);
    up(q, 2);
    lease(q, 0, 10, 0);
    xd_aqueue_command c;
    while (xd_aqueue_next(q, &c) > 0)
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
    ck_assert_int_eq(xd_aqueue_cancel(q, 0), 0);
    uint32_t back = 0;
    while (xd_aqueue_next(q, &c) > 0) {
        if (c.kind == XD_AQUEUE_LIMIT) /* worker 1 was just claiming, and withdraws it */
            ck_assert_int_eq(xd_aqueue_limit_answer(q, c.slot, 1, 0), 0);
        for (size_t i = 0; c.kind == XD_AQUEUE_RETURNED && i < c.n_spans; i++)
            back += c.spans[i].count;
        ck_assert_int_ne(c.kind, XD_AQUEUE_DRAINED);
    }
    ck_assert_uint_eq(back, 8);
    ck_assert_int_eq(xd_aqueue_tick(q, 50 * MS), 0);
    while (xd_aqueue_next(q, &c) > 0) {
        if (c.kind == XD_AQUEUE_LIMIT)
            ck_assert_int_eq(xd_aqueue_limit_answer(q, c.slot, c.slot ? 0 : 1, 0), 0);
        for (size_t i = 0; c.kind == XD_AQUEUE_RETURNED && i < c.n_spans; i++)
            back += c.spans[i].count;
    }
    ck_assert_uint_eq(back, 9);
    ck_assert_int_eq(xd_aqueue_worker_down(q, 0, XD_AQUEUE_CRASHED, &(xd_aqueue_last){ 1, 1, 0 }, 60 * MS),
                     0); /* killed */
    want(q, XD_AQUEUE_BLAME);
    ck_assert(!want(q, XD_AQUEUE_GIVE_UP).budget);
    want(q, XD_AQUEUE_DRAINED);
    nothing(q);
}
END_TEST

/* ---- how good is the schedule: ideal workers on virtual time ---- */

typedef struct ideal {
    uint32_t at, told;
    bool     last, busy;
    uint64_t end_us;
    uint32_t item[512]; /* by position */
} ideal;

static void obey(xd_aqueue *q, ideal *w)
{
    xd_aqueue_command c;
    while (xd_aqueue_next(q, &c) > 0) {
        if (c.kind == XD_AQUEUE_LIMIT) {
            ck_assert_int_eq(xd_aqueue_limit_answer(q, c.slot, w[c.slot].at + w[c.slot].busy, 0), 0);
            continue;
        }
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
        ideal *g = &w[c.slot];
        g->told = c.first;
        g->last = c.last;
        for (size_t i = 0; i < c.n_spans; i++)
            for (uint32_t k = 0; k < c.spans[i].count; k++)
                g->item[g->told++] = c.spans[i].first + k;
    }
}

/* Time in microseconds that the items take on so many workers of one agent. */
static uint64_t makespan(const uint32_t *us, uint32_t n, uint32_t workers, bool history)
{
    xd_sched_item items[512];
    for (uint32_t i = 0; i < n; i++)
        items[i] = (xd_sched_item){ 1 + i / 20, 0, history ? us[i] : 0, 0 };
    xd_auto(xd_sched) *s = NULL;
    ck_assert_int_eq(xd_sched_new(&s, &(xd_sched_options){ .workers_expected = workers }), 0);
    ck_assert_int_eq(xd_sched_collection(s, items, n), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, workers), 0);
    xd_auto(xd_aqueue) *q = make(workers, 0);
    up(q, workers);
    xd_sched_command sc;
    while (xd_sched_next(s, &sc) > 0)
        if (sc.kind == XD_SCHED_LEASE)
            ck_assert_int_eq(xd_aqueue_lease(q, sc.spans, sc.n_spans, 0), 0);
        else
            ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    static ideal w[16];
    memset(w, 0, sizeof w);
    uint64_t now = 0;
    for (uint32_t done = 0; done < n; done++) {
        obey(q, w);
        ideal *next = NULL;
        for (uint32_t i = 0; i < workers; i++) {
            ideal *g = &w[i];
            if (!g->busy && g->at < g->told && (g->at + 1 < g->told || g->last)) {
                g->busy = true;
                g->end_us = now + us[g->item[g->at]];
            }
            if (g->busy && (!next || g->end_us < next->end_us))
                next = g;
        }
        ck_assert_ptr_nonnull(next);
        now = next->end_us;
        next->busy = false;
        uint32_t pos = next->at++;
        result(q, (uint32_t)(next - w), pos, next->item[pos], us[next->item[pos]] * 1000ull, now * 1000);
    }
    return now;
}

/* 200 x 0.05 s and one of 3 s collected last, 8 workers: within 5 % of the longer of sum / 8 and the longest.
 */
START_TEST(test_makespan)
{
    uint32_t us[301];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 201; i++)
        sum += us[i] = i == 200 ? 3000000 : 50000;
    ck_assert_uint_le(makespan(us, 201, 8, true), 3000000 + 3000000 / 20);
    sum = 0;
    for (uint32_t i = 0; i < 301; i++) /* no single item rules */
        sum += us[i] = i == 300 ? 1500000 : 20000 + i * 7919 % 60000;
    ck_assert_uint_le(makespan(us, 301, 8, true), sum / 8 * 105 / 100);
    ck_assert_uint_le(makespan(us, 300, 8, false), (sum - 1500000) / 8 * 105 / 100); /* stealing evens out */
}
END_TEST

START_TEST(test_scale)
{
    enum { N = 100000, W = 8 };
    xd_auto(xd_aqueue) *q = make(W, 0);
    up(q, W);
    lease(q, 0, N, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    clock_t           t0 = clock();
    uint32_t          done = 0, pos[W] = { 0 }, item;
    uint16_t          attempt;
    uint64_t          now = 0;
    xd_aqueue_command c;
    while (done < N) {
        uint32_t before = done;
        while (xd_aqueue_next(q, &c) > 0)
            if (c.kind == XD_AQUEUE_LIMIT && xd_aqueue_limit_answer(q, c.slot, pos[c.slot] + 1, now) != 0)
                break;
        for (uint32_t w = 0; w < W; w++)
            if (aqueue_item_at(q, w, pos[w], &item, &attempt) == 0)
                done += xd_aqueue_result(q, w, pos[w]++, item, 40000, now += 5000) == 0;
        if (done == before)
            break;
    }
    double us = (double)(clock() - t0) * 1e6 / CLOCKS_PER_SEC / N;
    ck_assert_uint_eq(done, N);
#if defined __OPTIMIZE__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    ck_assert_double_lt(us, 3); /* of the 10 us per test that an agent may use */
#else
    ck_assert_double_lt(us, 300);
#endif
    ck_assert_uint_lt(xd_aqueue_stats_get(q)->runs, N / 20);
}
END_TEST

/* `final` is said when nothing that anybody was told can move any more. */
START_TEST(test_final)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    xd_aqueue_command c;
    uint32_t          item;
    uint16_t          attempt;
    up(q, 2);
    lease(q, 0, 3, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    while (xd_aqueue_next(q, &c) == 1) {
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
        ck_assert(!c.final); /* none waits here, but one of the two that one worker has may still move */
    }
    uint32_t two = aqueue_item_at(q, 0, 1, &item, &attempt) == 0 ? 0 : 1, one = 1 - two;
    ck_assert_int_eq(aqueue_item_at(q, two, 1, &item, &attempt), 0);
    uint32_t moves = item;
    ck_assert_int_eq(aqueue_item_at(q, one, 0, &item, &attempt), 0);
    result(q, one, 0, item, 400 * MS, 400 * MS); /* it waits now, and takes the other's second */
    c = want(q, XD_AQUEUE_LIMIT);
    ck_assert_uint_eq(c.slot, two);
    nothing(q);
    ck_assert_int_eq(xd_aqueue_limit_answer(q, two, 1, 400 * MS), 0);
    uint32_t finals = 0, told = 0;
    while (xd_aqueue_next(q, &c) == 1) {
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
        told += c.n_spans ? c.spans[0].count : 0;
        finals |= c.final ? 1u << c.slot : 0;
        if (c.slot == one && c.n_spans)
            ck_assert_uint_eq(c.spans[0].first, moves);
    }
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(finals, 3); /* each has one item: both are told */
    lease(q, 10, 4, 0);           /* an agent was lost: not final after all */
    bool taken_back[2] = { false };
    while (xd_aqueue_next(q, &c) == 1) {
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
        ck_assert(!c.final);
        taken_back[c.slot] = true;
    }
    ck_assert(taken_back[0] && taken_back[1]);
}
END_TEST

/* Worker 0 had claimed both of its items when it was asked; the results are still on the way when worker 1 crashes. */
START_TEST(test_no_replacement_where_all_has_begun)
{
    for (uint32_t claimed = 1; claimed <= 2; claimed++) {
        xd_auto(xd_aqueue) *q = make(2, 5);
        xd_aqueue_command c;
        up(q, 2);
        lease(q, 0, 3, 0);
        ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
        runs_alone(q);
        uint32_t item;
        uint16_t attempt;
        ck_assert_int_eq(aqueue_item_at(q, 0, 1, &item, &attempt), 0);
        ck_assert_int_eq(aqueue_item_at(q, 1, 0, &item, &attempt), 0);
        result(q, 1, 0, item, 400 * MS, 400 * MS);
        ck_assert_uint_eq(want(q, XD_AQUEUE_LIMIT).slot, 0);
        ck_assert_int_eq(xd_aqueue_limit_answer(q, 0, claimed, 400 * MS), 0);
        ck_assert_int_eq(
            xd_aqueue_worker_down(q, 1, XD_AQUEUE_CRASHED, &(xd_aqueue_last){ 1, 0, 1 }, 401 * MS), 0);
        while (xd_aqueue_next(q, &c) == 1 && c.kind == XD_AQUEUE_RUN)
            ;
        ck_assert_int_eq(c.kind, claimed == 2 ? XD_AQUEUE_GIVE_UP : XD_AQUEUE_RESTART);
    }
}
END_TEST

/* Nothing waited when its worker crashed; another host is lost, or had more than it could run, and what it gives up comes here. */
START_TEST(test_work_that_comes_after_the_last_crash)
{
    xd_auto(xd_aqueue) *q = make(2, 2);
    up(q, 2);
    lease(q, 0, 2, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    runs_alone(q);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t item;
        uint16_t attempt;
        ck_assert_int_eq(aqueue_item_at(q, i, 0, &item, &attempt), 0);
        ck_assert_int_eq(
            xd_aqueue_worker_down(q, i, XD_AQUEUE_CRASHED, &(xd_aqueue_last){ 1, item + 1, 0 }, 0), 0);
        (void)want(q, XD_AQUEUE_BLAME);
        (void)want(q, XD_AQUEUE_GIVE_UP);
    }
    nothing(q);
    lease(q, 7, 1, 0); /* for one item one worker */
    const uint32_t slot = want(q, XD_AQUEUE_RESTART).slot;
    nothing(q);
    ck_assert_int_eq(xd_aqueue_worker_up(q, slot, 0), 0);
    ck_assert_uint_eq(want(q, XD_AQUEUE_RUN).spans[0].first, 7);
    nothing(q);
    lease(q, 8, 2, 0);
    ck_assert_uint_eq(want(q, XD_AQUEUE_RESTART).slot, !slot);
    ck_assert_uint_eq(xd_aqueue_stats_get(q)->restarts, 2);
    ck_assert_int_eq(xd_aqueue_worker_down(q, !slot, XD_AQUEUE_NOT_STARTED, &(xd_aqueue_last){ 0 }, 0), 0);
    ck_assert(want(q, XD_AQUEUE_GIVE_UP).budget); /* and never again */
    runs_alone(q);
}
END_TEST

/* What is bound to a worker by its group cannot move: nobody waits for it. */
START_TEST(test_final_with_groups)
{
    xd_auto(xd_aqueue) *q = make(2, 0);
    up(q, 2);
    lease(q, 0, 5, 1);
    lease(q, 10, 1, 2);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    xd_aqueue_command c;
    uint32_t          finals = 0;
    while (xd_aqueue_next(q, &c) == 1) {
        ck_assert_int_eq(c.kind, XD_AQUEUE_RUN);
        finals |= c.final ? 1u << c.slot : 0;
    }
    ck_assert_uint_eq(finals, 3);
}
END_TEST

/* Other agents may still have something for this one; a worker that is alone knows it with its last item. */
START_TEST(test_final_is_the_controllers_to_say)
{
    xd_auto(xd_aqueue) *q = make(1, 0);
    up(q, 1);
    lease(q, 0, 2, 0);
    ck_assert_int_eq(xd_aqueue_no_more(q, false, 0), 0);
    bool              final = false;
    xd_aqueue_command c;
    while (xd_aqueue_next(q, &c) == 1)
        final |= c.final;
    ck_assert(!final);
    ck_assert_int_eq(xd_aqueue_no_more(q, true, 0), 0);
    ck_assert(want(q, XD_AQUEUE_RUN).final);
    nothing(q);
    xd_auto(xd_aqueue) *p = make(1, 0);
    up(p, 1);
    lease(p, 0, 2, 0);
    ck_assert_int_eq(xd_aqueue_no_more(p, true, 0), 0);
    c = want(p, XD_AQUEUE_RUN);
    ck_assert(c.final && c.spans[0].count == 2);
    nothing(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aqueue");
    TCase *t = tcase_create("aqueue");
    tcase_add_test(t, test_one_worker);
    tcase_add_test(t, test_first_chunk);
    tcase_add_test(t, test_window);
    tcase_add_test(t, test_wrong_expectations);
    tcase_add_test(t, test_steal);
    tcase_add_test(t, test_steal_too_late);
    tcase_add_test(t, test_groups_whole);
    tcase_add_test(t, test_crash);
    tcase_add_test(t, test_slow_to_start);
    tcase_add_test(t, test_lost_results);
    tcase_add_test(t, test_take_back);
    tcase_add_test(t, test_cancel);
    tcase_add_test(t, test_no_replacement_where_all_has_begun);
    tcase_add_test(t, test_work_that_comes_after_the_last_crash);
    tcase_add_test(t, test_final);
    tcase_add_test(t, test_final_with_groups);
    tcase_add_test(t, test_final_is_the_controllers_to_say);
    tcase_add_test(t, test_makespan);
    tcase_add_test(t, test_scale);
    suite_add_tcase(suite, t);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
