/* sched_test.c - the controller's scheduler core. */
#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/sched.h"

static xd_sched *make(xd_sched_options o, const xd_sched_item *items, uint32_t n)
{
    xd_sched *s = NULL;
    ck_assert_int_eq(xd_sched_new(&s, &o), 0);
    ck_assert_int_eq(xd_sched_collection(s, items, n), 0);
    return s;
}

static xd_sched_command want(xd_sched *s, xd_sched_kind kind)
{
    xd_sched_command c;
    ck_assert_int_eq(xd_sched_next(s, &c), 1);
    ck_assert_int_eq(c.kind, kind);
    return c;
}

static void nothing(xd_sched *s)
{
    xd_sched_command c;
    ck_assert_int_eq(xd_sched_next(s, &c), 0);
}

static bool eq(xd_bytes b, const char *text)
{
    return xd_bytes_eq_str(b, text);
}

/* What xdist 3.8 does: loadscope rsplit("::", 1)[0]; loadfile split("::", 1)[0]; loadgroup: behind the last
 * "@" if that is right of the last "]". */
START_TEST(test_keys)
{
    static const struct {
        const char *id, *scope, *file, *group;
    } v[] = {
        { "a/test_a.py::test_1", "a/test_a.py", "a/test_a.py", "" },
        { "a/test_a.py::TestX::test_1", "a/test_a.py::TestX", "a/test_a.py", "" },
        { "t.py::C::test[x::y]", "t.py::C::test[x", "t.py", "" },
        { "t.py::test[a@b]", "t.py", "t.py", "" },
        { "t.py::test[a]@g1", "t.py", "t.py", "g1" },
        { "t.py::test@g1", "t.py", "t.py", "g1" },
        { "t.py::test@g1@g2", "t.py", "t.py", "g2" },
        { "t.py::test[p@q]@g_h", "t.py", "t.py", "g_h" },
        { "t.py::test@x[1]", "t.py", "t.py", "" },
        { "README.rst", "README.rst", "README.rst", "" },
        { "a:::b", "a:", "a", "" },
        { "", "", "", "" },
    };
    xd_bytes          none = { 0 };
    const xd_grammar *g = xd_grammar_find(NULL);
    for (size_t i = 0; i < XD_ARRAY_LEN(v); i++) {
        xd_bytes id = xd_bytes_str(v[i].id);
        ck_assert_msg(eq(xd_sched_group_key(g, XD_SCHED_LOADSCOPE, id, none), v[i].scope), "scope of %s",
                      v[i].id);
        ck_assert_msg(eq(xd_sched_group_key(g, XD_SCHED_LOADFILE, id, none), v[i].file), "file of %s",
                      v[i].id);
        ck_assert_msg(eq(xd_sched_group_key(g, XD_SCHED_LOADGROUP, id, none), v[i].group), "group of %s",
                      v[i].id);
        ck_assert_msg(eq((xd_bytes){ id.ptr, g->unit(id) }, v[i].file), "unit of %s", v[i].id);
        ck_assert_uint_eq(xd_sched_group_key(g, XD_SCHED_LOAD, id, none).len, 0);
    }
    ck_assert(eq(xd_sched_group_key(g, XD_SCHED_LOADGROUP, xd_bytes_str("t.py::test"), xd_bytes_str("a_b")),
                 "a_b"));
    xd_sched_mode m;
    ck_assert_int_eq(xd_sched_mode_parse(&m, "loadgroup"), 0);
    ck_assert_int_eq(m, XD_SCHED_LOADGROUP);
    ck_assert_int_eq(xd_sched_mode_parse(&m, "each"), -EINVAL);
}
END_TEST

START_TEST(test_one_agent_gets_all)
{
    xd_sched_item items[7] = { { 1, 0, 0, 0 }, { 1, 0, 0, 0 }, { 2, 0, 0, 0 }, { 2, 0, 0, 0 },
                               { 2, 0, 0, 0 }, { 1, 0, 0, 0 }, { 3, 0, 0, 0 } };
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD }, items, 7);
    nothing(s);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 2), 0);
    xd_sched_command      c = want(s, XD_SCHED_LEASE);
    static const uint32_t first[] = { 0, 2, 5, 6 }, count[] = { 2, 3, 1, 1 };
    ck_assert_uint_eq(c.n_spans, 4); /* collection order, one span per module */
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(c.spans[i].first, first[i]);
        ck_assert_uint_eq(c.spans[i].count, count[i]);
        ck_assert_uint_eq(c.spans[i].attempt, 1);
        ck_assert_uint_eq(c.spans[i].group, 0);
        ck_assert_uint_eq(c.spans[i].expected_us, 0);
    }
    want(s, XD_SCHED_NO_MORE);
    nothing(s);
    for (uint32_t i = 0; i < 7; i++) {
        ck_assert_int_eq(xd_sched_result(s, 0, i, 1, 1, 0), 0);
        ck_assert_int_eq(xd_sched_result(s, 0, i, 1, 1, 0), 1); /* twice */
    }
    want(s, XD_SCHED_ALL_DONE);
    nothing(s);
    ck_assert_uint_eq(xd_sched_stats_get(s)->duplicates, 7);
    ck_assert_uint_eq(xd_sched_stats_get(s)->recorded, 7);
}
END_TEST

START_TEST(test_longest_first)
{
    xd_sched_item items[201];
    for (int i = 0; i < 201; i++)
        items[i] = (xd_sched_item){ 1 + (uint64_t)i / 10, 0, i == 200 ? 3000000 : 50000, 0 };
    items[200].unit = items[199].unit;
    xd_auto(xd_sched) *s =
        make((xd_sched_options){ .mode = XD_SCHED_LOAD, .workers_expected = 8 }, items, 201);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 8), 0);
    xd_sched_command c = want(s, XD_SCHED_LEASE);
    ck_assert_uint_eq(c.spans[0].first, 200);
    ck_assert_uint_eq(c.spans[0].count, 1);
    ck_assert_uint_eq(c.spans[0].expected_us, 3000000);
    uint32_t seen = 0;
    for (size_t i = 0; i < c.n_spans; i++) {
        ck_assert(c.spans[i].count == 1 || c.spans[i].expected_us <= 13000000 / 64); /* a grain */
        seen += c.spans[i].count;
    }
    ck_assert_uint_eq(seen, 201);
    ck_assert_uint_eq(xd_sched_stats_get(s)->expected_us, 13000000);
}
END_TEST

START_TEST(test_units_by_length)
{
    xd_sched_item items[9]; /* three modules of 3 s, 9 s, 6 s in small items: longest first, each in order */
    static const uint32_t each[] = { 10000, 30000, 20000 };
    for (uint32_t i = 0; i < 9; i++)
        items[i] = (xd_sched_item){ 1 + i / 3, 0, each[i / 3], 0 };
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD, .workers_expected = 1 }, items, 9);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    xd_sched_command c = want(s, XD_SCHED_LEASE);
    uint32_t         order[9], n = 0;
    for (size_t i = 0; i < c.n_spans; i++)
        for (uint32_t k = 0; k < c.spans[i].count; k++)
            order[n++] = c.spans[i].first + k;
    static const uint32_t expected[] = { 3, 4, 5, 6, 7, 8, 0, 1, 2 };
    ck_assert_uint_eq(n, 9);
    ck_assert_mem_eq(order, expected, sizeof expected);
}
END_TEST

START_TEST(test_groups)
{
    xd_sched_item         items[8];
    static const uint64_t group[] = { 7, 8, 9, 8, 9, 9, 8, 9 };
    for (uint32_t i = 0; i < 8; i++)
        items[i] = (xd_sched_item){ 1, group[i], 0, 0 };
    xd_auto(xd_sched) *s =
        make((xd_sched_options){ .mode = XD_SCHED_LOADSCOPE, .agents_expected = 2 }, items, 8);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    xd_sched_command c = want(s, XD_SCHED_LEASE);
    /* The largest group first, whole: items 2, 4-5, 7. */
    ck_assert_uint_ge(c.n_spans, 3);
    ck_assert_uint_eq(c.spans[0].first, 2);
    ck_assert_uint_eq(c.spans[1].first, 4);
    ck_assert_uint_eq(c.spans[1].count, 2);
    ck_assert_uint_eq(c.spans[2].first, 7);
    ck_assert_uint_eq(c.spans[0].flags, XD_RANGE_TOGETHER);
    ck_assert_uint_eq(c.spans[0].group, c.spans[2].group);
    ck_assert_uint_ne(c.spans[0].group, 0);
}
END_TEST

/* The longest would go first, but the order of the collection is wanted. */
START_TEST(test_in_order)
{
    xd_sched_item items[40];
    for (uint32_t i = 0; i < 40; i++)
        items[i] = (xd_sched_item){ .unit = i / 4, .expected_us = 1000 * (i + 1) };
    for (int grouped = 0; grouped < 2; grouped++) {
        for (uint32_t i = 0; i < 40; i++)
            items[i].group = grouped ? 1 + i / 4 : 0;
        xd_auto(xd_sched) *s =
            make((xd_sched_options){ .mode = grouped ? XD_SCHED_LOADFILE : XD_SCHED_LOAD, .in_order = true },
                 items, 40);
        ck_assert_int_eq(xd_sched_agent_up(s, 0, 2), 0);
        xd_sched_command c = want(s, XD_SCHED_LEASE);
        uint32_t         next = 0;
        for (size_t i = 0; i < c.n_spans; i++) {
            ck_assert_uint_eq(c.spans[i].first, next);
            ck_assert_uint_gt(c.spans[i].expected_us, 0); /* what is known is still told */
            next += c.spans[i].count;
        }
        ck_assert_uint_eq(next, 40);
    }
}
END_TEST

START_TEST(test_keep_scope_order)
{
    xd_sched_item items[4] = { { 1, 5, 0, 0 }, { 1, 6, 0, 0 }, { 1, 6, 0, 0 }, { 1, 6, 0, 0 } };
    xd_auto(xd_sched) *s =
        make((xd_sched_options){ .mode = XD_SCHED_LOADFILE, .keep_scope_order = true }, items, 4);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    ck_assert_uint_eq(want(s, XD_SCHED_LEASE).spans[0].first, 0);
}
END_TEST

START_TEST(test_two_agents_share)
{
    xd_sched_item items[100];
    for (uint32_t i = 0; i < 100; i++)
        items[i] = (xd_sched_item){ 1 + i / 10, 0, 0, 0 };
    xd_auto(xd_sched) *s =
        make((xd_sched_options){ .mode = XD_SCHED_LOAD, .agents_expected = 2 }, items, 100);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 2), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 1, 2), 0);
    uint32_t got[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        xd_sched_command c = want(s, XD_SCHED_LEASE);
        for (size_t k = 0; k < c.n_spans; k++)
            got[c.agent] += c.spans[k].count;
    }
    nothing(s);
    ck_assert_uint_ge(got[0], 20);
    ck_assert_uint_le(got[0], 35);
    ck_assert_uint_ge(got[1], 15);
    ck_assert_uint_gt(100 - got[0] - got[1], 30); /* big batches first, the rest later */
}
END_TEST

START_TEST(test_take_back)
{
    xd_sched_item items[40];
    for (uint32_t i = 0; i < 40; i++)
        items[i] = (xd_sched_item){ 1, 0, 0, 0 };
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD }, items, 40);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 2), 0);
    ck_assert_uint_eq(want(s, XD_SCHED_LEASE).spans[0].count, 40);
    want(s, XD_SCHED_NO_MORE);
    ck_assert_int_eq(xd_sched_agent_up(s, 1, 2), 0); /* a second one comes late */
    xd_sched_command c = want(s, XD_SCHED_TAKE_BACK);
    ck_assert_uint_eq(c.agent, 0);
    ck_assert_uint_eq(c.count, 19);
    nothing(s); /* also no NO_MORE to agent 1 while the answer is on its way */
    xd_span back = { 21, 19, 1, 0, 0, 0 };
    ck_assert_int_eq(xd_sched_returned(s, 0, c.request + 1, &back, 1), 1);
    ck_assert_int_eq(xd_sched_returned(s, 0, c.request, &back, 1), 0);
    c = want(s, XD_SCHED_LEASE);
    ck_assert_uint_eq(c.agent, 1);
    ck_assert_uint_eq(c.spans[0].first, 21);
    ck_assert_uint_eq(c.spans[0].attempt, 2);
    ck_assert_int_eq(xd_sched_result(s, 0, 21, 1, 1, 0), 1); /* stale attempt */
    ck_assert_int_eq(xd_sched_result(s, 0, 21, 2, 1, 0), 1); /* not that agent's */
    ck_assert_int_eq(xd_sched_result(s, 1, 21, 2, 1, 0), 0);
    ck_assert_uint_eq(xd_sched_stats_get(s)->stale, 3);
}
END_TEST

/* An agent whose workers are not up yet gives back whole groups, as many as fit into what is asked for. */
static uint32_t give_all(xd_sched *s, const xd_sched_command *ask, const uint32_t *group_of,
                         const uint16_t *at, const uint16_t *attempt, uint32_t n, xd_span *back)
{
    uint32_t spans = 0, given = 0;
    for (uint32_t group = 6; group-- > 0;) {
        uint32_t size = 0;
        for (uint32_t i = 0; i < n; i++)
            size += group_of[i] == group && at[i] == ask->agent;
        if (given + size > ask->count)
            continue;
        given += size;
        for (uint32_t i = 0; i < n; i++)
            if (group_of[i] == group && at[i] == ask->agent)
                back[spans++] = (xd_span){ i, 1, attempt[i], XD_RANGE_TOGETHER, group + 1, 0 };
    }
    ck_assert_int_eq(xd_sched_returned(s, ask->agent, ask->request, back, spans), 0);
    return spans;
}

/* One group of 31 items, five of 29 together that lie between each other. Who comes late is given some of the
 * five, and who gave does not take them back. */
START_TEST(test_groups_do_not_go_to_and_fro)
{
    xd_sched_item items[60];
    uint32_t      group_of[60], takes = 0, has[2] = { 0 };
    uint16_t      at[60], attempt[60];
    xd_span       back[60];
    for (uint32_t i = 0; i < 60; i++) {
        group_of[i] = i < 31 ? 0 : 1 + i % 5;
        items[i] = (xd_sched_item){ 1, 1 + group_of[i], 0, 0 };
    }
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOADGROUP }, items, 60);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 4), 0);
    xd_sched_command c;
    int              r;
    bool             late = false;
    while ((r = xd_sched_next(s, &c)) == 1 || !late) {
        if (r == 0 && !late) {
            late = true;
            ck_assert_int_eq(xd_sched_agent_up(s, 1, 3), 0);
            continue;
        }
        for (size_t k = 0; c.kind == XD_SCHED_LEASE && k < c.n_spans; k++)
            for (uint32_t i = c.spans[k].first; i < c.spans[k].first + c.spans[k].count; i++) {
                at[i] = c.agent;
                attempt[i] = c.spans[k].attempt;
            }
        if (c.kind == XD_SCHED_TAKE_BACK) {
            ck_assert_uint_le(++takes, 3);
            give_all(s, &c, group_of, at, attempt, 60, back);
        }
    }
    ck_assert_int_eq(r, 0);
    ck_assert_uint_ge(takes, 1);
    for (uint32_t group = 0; group < 6; group++)
        for (uint32_t i = 0, found = 0; i < 60 && !found; i++)
            if (group_of[i] == group) {
                has[at[i]]++;
                found = 1;
            }
    ck_assert_uint_ge(has[0], 2);
    ck_assert_uint_ge(has[1], 2);
}
END_TEST

START_TEST(test_agent_lost)
{
    xd_sched_item items[10];
    for (uint32_t i = 0; i < 10; i++)
        items[i] = (xd_sched_item){ 1, 0, 0, 0 };
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD }, items, 10);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    want(s, XD_SCHED_LEASE);
    want(s, XD_SCHED_NO_MORE);
    ck_assert_int_eq(xd_sched_result(s, 0, 0, 1, 1, 0), 0);
    uint32_t started = 1;
    ck_assert_int_eq(xd_sched_agent_lost(s, 0, &started, 1, true), 0);
    xd_sched_command c = want(s, XD_SCHED_OUTCOME);
    ck_assert_uint_eq(c.spans[0].first, 1);
    ck_assert_uint_eq(c.outcome, XD_OUT_LOST);
    want(s, XD_SCHED_STARVED);
    nothing(s);
    ck_assert_int_eq(xd_sched_agent_up(s, 1, 1), 0);
    c = want(s, XD_SCHED_LEASE);
    ck_assert_uint_eq(c.agent, 1);
    ck_assert_uint_eq(c.spans[0].first, 2);
    ck_assert_uint_eq(c.spans[0].attempt, 2);
    ck_assert_int_eq(xd_sched_result(s, 0, 2, 1, 1, 0), 1);
    ck_assert_uint_eq(xd_sched_outcome(s, 1), XD_OUT_LOST);
    ck_assert_uint_eq(xd_sched_stats_get(s)->failures, 1);
}
END_TEST

/* Nobody knows what ran at agent 0: its items run again at agents that have nothing else. The one that ends the
 * next agent is lost, the others are not. */
START_TEST(test_agent_lost_without_a_word)
{
    xd_sched_item    items[8];
    uint32_t         has, one = 99;
    xd_sched_command c;
    for (uint32_t i = 0; i < 8; i++)
        items[i] = (xd_sched_item){ 1 + i, 0, 0, 0 };
    xd_auto(xd_sched) *s =
        make((xd_sched_options){ .mode = XD_SCHED_LOAD, .agents_expected = 3, .max_attempts = 2 }, items, 8);
    for (uint16_t a = 0; a < 3; a++)
        ck_assert_int_eq(xd_sched_agent_up(s, a, 1), 0);
    uint16_t agent_of[8] = { 0 };
    for (uint32_t leased = 0; leased < 8;) {
        c = want(s, XD_SCHED_LEASE);
        for (size_t k = 0; k < c.n_spans; k++)
            for (uint32_t i = 0; i < c.spans[k].count; i++, leased++)
                agent_of[c.spans[k].first + i] = c.agent;
        if (leased < 8) /* the rest waits until somebody is through */
            for (uint32_t i = 0; i < 8; i++)
                if (agent_of[i] == 2 && xd_sched_outcome(s, i) == 0)
                    (void)!xd_sched_result(s, 2, i, 1, 1, 0);
    }
    has = xd_sched_agent_has(s, 0, &one);
    ck_assert_uint_ge(has, 2);
    ck_assert_uint_eq(agent_of[one], 0);
    for (uint32_t i = 0; i < 8; i++)
        if (agent_of[i] == 1)
            ck_assert_int_eq(xd_sched_result(s, 1, i, 1, 1, 0), 0);
        else if (agent_of[i] == 2 && xd_sched_outcome(s, i) == 0)
            ck_assert_int_eq(xd_sched_result(s, 2, i, 1, 1, 0), 0);
    ck_assert_int_eq(xd_sched_agent_lost(s, 0, NULL, 0, false), 0);
    uint32_t alone[3] = { 0 };
    for (int i = 0; i < 2; i++) {
        do
            ck_assert_int_eq(xd_sched_next(s, &c), 1);
        while (c.kind == XD_SCHED_NO_MORE);
        ck_assert_int_eq(c.kind, XD_SCHED_LEASE);
        ck_assert_uint_eq(c.n_spans, 1);
        ck_assert_uint_eq(c.spans[0].count, 1);
        ck_assert_uint_eq(c.spans[0].attempt, 2);
        alone[c.agent] = c.spans[0].first;
    }
    while (xd_sched_next(s, &c) == 1)
        ck_assert_int_eq(c.kind, XD_SCHED_NO_MORE); /* no second one beside it */
    ck_assert_int_eq(xd_sched_agent_lost(s, 1, NULL, 0, false), 0);
    c = want(s, XD_SCHED_OUTCOME);
    ck_assert_uint_eq(c.spans[0].first, alone[1]);
    ck_assert_int_eq(xd_sched_result(s, 2, alone[2], 2, 1, 0), 0);
    for (uint32_t left = has - 2; left; left--) {
        do
            ck_assert_int_eq(xd_sched_next(s, &c), 1);
        while (c.kind == XD_SCHED_NO_MORE);
        ck_assert_int_eq(c.kind, XD_SCHED_LEASE);
        ck_assert_uint_eq(c.agent, 2);
        ck_assert_uint_eq(c.spans[0].count, 1);
        ck_assert_int_eq(xd_sched_result(s, 2, c.spans[0].first, c.spans[0].attempt, 1, 0), 0);
    }
    while (xd_sched_next(s, &c) == 1 && c.kind == XD_SCHED_NO_MORE)
        ;
    ck_assert_int_eq(c.kind, XD_SCHED_ALL_DONE);
    ck_assert_uint_eq(xd_sched_stats_get(s)->failures, 1);
}
END_TEST

START_TEST(test_maxfail)
{
    xd_sched_item items[20];
    for (uint32_t i = 0; i < 20; i++)
        items[i] = (xd_sched_item){ 1, 0, 0, 0 };
    xd_auto(xd_sched) *s =
        make((xd_sched_options){ .mode = XD_SCHED_LOAD, .maxfail = 1, .agents_expected = 2 }, items, 20);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    xd_sched_command c = want(s, XD_SCHED_LEASE);
    uint32_t         n = c.spans[0].count;
    ck_assert_int_eq(xd_sched_result(s, 0, 0, 1, 2, 1), 0);
    c = want(s, XD_SCHED_CANCEL);
    ck_assert_uint_eq(c.how, 1);
    nothing(s);
    ck_assert_uint_eq(xd_sched_stats_get(s)->not_run, 20 - n);
    ck_assert_int_eq(xd_sched_result(s, 0, 1, 1, 1, 0), 0); /* the one more that had begun */
    xd_span rest = { 2, n - 2, 1, 0, 0, 0 };
    ck_assert_int_eq(xd_sched_returned(s, 0, 0, &rest, 1), 0);
    want(s, XD_SCHED_ALL_DONE);
    ck_assert_uint_eq(xd_sched_stats_get(s)->not_run, 18);
    ck_assert_uint_eq(xd_sched_outcome(s, 0), 2);
    ck_assert_uint_eq(xd_sched_outcome(s, 19), XD_OUT_NOT_RUN);
    ck_assert_int_eq(xd_sched_cancel(s, 3), 0);
    ck_assert_uint_eq(want(s, XD_SCHED_CANCEL).how, 3);
}
END_TEST

START_TEST(test_empty)
{
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD }, NULL, 0);
    want(s, XD_SCHED_ALL_DONE);
    nothing(s);
}
END_TEST

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* 100,000 items: orders, leases and results within 50 ms and 10 MB (with room for sanitizers). */
START_TEST(test_scale)
{
    enum { N = 100000 };
    xd_sched_item *items = calloc(N, sizeof *items);
    ck_assert_ptr_nonnull(items);
    for (uint32_t i = 0; i < N; i++)
        items[i] = (xd_sched_item){ 1 + i / 50, 1 + i / 7 % 5000, _i == 1 ? 100 + i % 977 : 0, 0 };
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    double t0 = cpu_ms();
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = _i == 2 ? XD_SCHED_LOADSCOPE : XD_SCHED_LOAD,
                                                    .workers_expected = 8,
                                                    .agents_expected = _i == 0 ? 1 : 2 },
                                items, N);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 4), 0);
    if (_i)
        ck_assert_int_eq(xd_sched_agent_up(s, 1, 4), 0);
    uint32_t *held = malloc(N * sizeof *held); /* item numbers, by agent from both ends */
    ck_assert_ptr_nonnull(held);
    uint32_t         n[2] = { 0 }, done = 0;
    size_t           peak = 0;
    xd_sched_command c;
    while (done < N) {
        while (xd_sched_next(s, &c) > 0)
            for (size_t k = 0; c.kind == XD_SCHED_LEASE && k < c.n_spans; k++)
                for (uint32_t i = 0; i < c.spans[k].count; i++)
                    held[c.agent ? N - 1 - n[1]++ : n[0]++] = c.spans[k].first + i;
        if (!peak)
            peak = mallinfo2().uordblks + mallinfo2().hblkhd - before - N * sizeof *held;
        uint16_t a = n[0] >= n[1] ? 0 : 1;
        if (n[a] == 0 || xd_sched_result(s, a, a ? held[N - n[1]] : held[n[0] - 1], 1, 1, 0) != 0)
            break; /* no assertion in here: each is a system call */
        n[a]--;
        done++;
    }
    double ms = cpu_ms() - t0;
    ck_assert_uint_eq(done, N);
    want(s, XD_SCHED_ALL_DONE);
    free(items);
    free(held);
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    ck_assert_double_lt(ms, 2000); /* and mallinfo2 says nothing there */
    peak = 0;
#elif defined __OPTIMIZE__
    ck_assert_double_lt(ms, 50);
#else
    ck_assert_double_lt(ms, 200);
#endif
    ck_assert_uint_lt(peak, 10u << 20);
    printf("100,000 items, case %d: %.1f ms, %.1f MB\n", _i, ms, (double)peak / 1e6);
}
END_TEST

/* Items 0 to 5 are everybody's, 6 and 7 of agent 0 alone, 8 and 9 of agent 1. */
static xd_sched *two_with_own(void)
{
    xd_sched_item items[10];
    for (uint32_t i = 0; i < 10; i++)
        items[i] = (xd_sched_item){ .unit = 1, .set = (uint16_t)(i < 6 ? 0 : i < 8 ? 1 : 2) };
    const bool first[] = { true, true, false }, second[] = { true, false, true };
    xd_sched  *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD, .agents_expected = 2 }, items, 10);
    ck_assert_int_eq(xd_sched_agent_sets(s, 0, first, 3), 0);
    ck_assert_int_eq(xd_sched_agent_sets(s, 1, second, 3), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 1, 1), 0);
    return s;
}

/* Leases until there are none; who has each item is in `where`, and its attempt. */
static xd_sched_command follow_leases(xd_sched *s, int *where, uint16_t *attempts)
{
    xd_sched_command c = { 0 };
    while (xd_sched_next(s, &c) == 1 && c.kind != XD_SCHED_ALL_DONE && c.kind != XD_SCHED_ORPHANED)
        for (size_t k = 0; c.kind == XD_SCHED_LEASE && k < c.n_spans; k++)
            for (uint32_t i = c.spans[k].first; i < c.spans[k].first + c.spans[k].count; i++) {
                where[i] = c.agent;
                attempts[i] = c.spans[k].attempt;
            }
    return c;
}

/* One item after the other has its outcome where it is. */
static xd_sched_command run_all(xd_sched *s, int *where, uint16_t *attempts)
{
    xd_sched_command c = follow_leases(s, where, attempts);
    for (uint32_t round = 0; c.kind != XD_SCHED_ALL_DONE && round < 100; round++) {
        for (uint32_t i = 10; i-- > 0;)
            if (where[i] >= 0 && !xd_sched_outcome(s, i) &&
                xd_sched_result(s, (uint16_t)where[i], i, attempts[i], 1, 0) == 0)
                break;
        c = follow_leases(s, where, attempts);
    }
    return c;
}

START_TEST(test_items_that_only_some_have)
{
    xd_auto(xd_sched) *s = two_with_own();
    int      where[10];
    uint16_t attempts[10];
    memset(where, -1, sizeof(where));
    ck_assert_int_eq(run_all(s, where, attempts).kind, XD_SCHED_ALL_DONE);
    ck_assert(where[6] == 0 && where[7] == 0 && where[8] == 1 && where[9] == 1);
}
END_TEST

START_TEST(test_nobody_is_left_who_has_them)
{
    xd_auto(xd_sched) *s = two_with_own();
    int      where[10];
    uint16_t attempts[10];
    memset(where, -1, sizeof(where));
    (void)follow_leases(s, where, attempts);
    ck_assert_int_eq(xd_sched_agent_lost(s, 1, NULL, 0, true), 0);
    xd_sched_command c = follow_leases(s, where, attempts);
    ck_assert_int_eq(c.kind, XD_SCHED_ORPHANED);
    ck_assert_uint_eq(c.count, 2);
    ck_assert(c.spans[0].first == 8 || c.spans[0].first == 9);
    c = run_all(s, where, attempts);
    ck_assert_int_eq(c.kind, XD_SCHED_ALL_DONE);
    ck_assert_uint_eq(xd_sched_stats_get(s)->not_run, 2);
    ck_assert_uint_eq(xd_sched_stats_get(s)->recorded, 8);
    ck_assert_uint_eq(xd_sched_outcome(s, 9), XD_OUT_NOT_RUN);
}
END_TEST

/* Agent 0 has nothing to do, and can run nothing of what agent 1 has left: agent 2 can. */
START_TEST(test_who_runs_dry_and_can_be_helped)
{
    xd_sched_item items[40];
    const bool    some[] = { true, false }, all[] = { true, true };
    for (uint32_t i = 0; i < 40; i++)
        items[i] = (xd_sched_item){ .unit = 1, .set = i >= 2 };
    xd_auto(xd_sched) *s = make((xd_sched_options){ .mode = XD_SCHED_LOAD }, items, 40);
    for (uint16_t a = 0; a < 3; a++)
        ck_assert_int_eq(xd_sched_agent_sets(s, a, a ? all : some, 2), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 1, 2), 0);
    ck_assert_uint_eq(want(s, XD_SCHED_LEASE).agent, 1);
    want(s, XD_SCHED_NO_MORE);
    ck_assert_int_eq(xd_sched_result(s, 1, 0, 1, XD_OUT_PASSED, 0), 0);
    ck_assert_int_eq(xd_sched_result(s, 1, 1, 1, XD_OUT_PASSED, 0), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 0, 1), 0);
    ck_assert_int_eq(xd_sched_agent_up(s, 2, 1), 0);
    xd_sched_command c = want(s, XD_SCHED_TAKE_BACK);
    ck_assert_uint_eq(c.agent, 1);
    ck_assert_uint_ge(c.count, 1);
    ck_assert_int_eq(
        xd_sched_returned(s, 1, c.request, &(xd_span){ .first = 39, .count = 1, .attempt = 1 }, 1), 0);
    ck_assert_uint_eq(want(s, XD_SCHED_LEASE).agent, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched");
    TCase *t = tcase_create("sched");
    tcase_add_test(t, test_keys);
    tcase_add_test(t, test_one_agent_gets_all);
    tcase_add_test(t, test_longest_first);
    tcase_add_test(t, test_units_by_length);
    tcase_add_test(t, test_groups);
    tcase_add_test(t, test_in_order);
    tcase_add_test(t, test_keep_scope_order);
    tcase_add_test(t, test_two_agents_share);
    tcase_add_test(t, test_take_back);
    tcase_add_test(t, test_groups_do_not_go_to_and_fro);
    tcase_add_test(t, test_agent_lost);
    tcase_add_test(t, test_agent_lost_without_a_word);
    tcase_add_test(t, test_maxfail);
    tcase_add_test(t, test_empty);
    tcase_add_test(t, test_items_that_only_some_have);
    tcase_add_test(t, test_nobody_is_left_who_has_them);
    tcase_add_test(t, test_who_runs_dry_and_can_be_helped);
    tcase_add_loop_test(t, test_scale, 0, 3);
    suite_add_tcase(suite, t);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
