/* needs: engine actors */
/* One collection for all environments: lists, digests, differences. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/collector.h"
#include "engine/nodeid.h"

static xd_collector *collector;
static xd_buf        text;

static void setup(void)
{
    ck_assert_int_eq(xd_collector_new(&collector), 0);
    text = XD_BUF_INIT;
}

static void teardown(void)
{
    xd_collector_free(collector);
    xd_buf_release(&text);
}

static int collected(uint16_t gateway, uint32_t count, uint64_t digest)
{
    xd_wire_COLLECTED in = { .count = count, .digest_lo = digest, .digest_hi = ~digest, .exit_status = -1 };
    return xd_collector_collected(collector, gateway, &in);
}

/* ids: NULL-terminated; shortened as the agent does. */
static int part(uint16_t gateway, uint32_t first, const char *const *ids)
{
    xd_autobuf          list = XD_BUF_INIT;
    xd_wire_COLLECT_IDS in = { .first = first };
    xd_bytes            previous = { 0 };
    for (; ids[in.ids.count]; in.ids.count++) {
        xd_bytes       id = xd_bytes_str(ids[in.ids.count]);
        uint16_t       shared = xd_nodeid_shared(previous, id);
        xd_wire_NODEID one = { .shared = shared, .id = { id.ptr + shared, id.len - shared }, .line = -1 };
        ck_assert_int_eq(xd_wire_NODEID_append(&list, &one), 0);
        previous = id;
    }
    in.ids.ptr = list.data;
    in.ids.len = list.len;
    return xd_collector_ids(collector, gateway, &in);
}

/* What is decided next, and of whom. */
static int next(uint16_t *who)
{
    xd_buf_clear(&text);
    return xd_collector_next(collector, who, &text);
}

/* The places that REORDERED told. */
static void places_are(const uint32_t *places, uint32_t count)
{
    xd_wire_list  list = { .count = (uint32_t)(text.len / 4), .ptr = text.data, .len = text.len };
    xd_wire_INDEX one;
    ck_assert_uint_eq(list.count, count);
    for (uint32_t i = 0; xd_wire_INDEX_next(&list, &one) == 1; i++)
        ck_assert_uint_eq(one.item, places[i]);
}

static void differs(uint16_t gateway)
{
    uint16_t who = 99;
    ck_assert_int_eq(next(&who), XD_COLLECTOR_DIFFERENT);
    ck_assert_uint_eq(who, gateway);
    ck_assert_int_eq(xd_collector_describe(collector, who, "popen", "popen//env:A=b", &text), 0);
}

#define PART(gateway, first, ...) part(gateway, first, (const char *const[]){ __VA_ARGS__, NULL })

static void item(uint32_t i, const char *id)
{
    ck_assert_msg(xd_bytes_eq_str(xd_collector_items(collector)[i].id, id), "item %u is not %s", i, id);
}

START_TEST(one_environment_in_parts)
{
    ck_assert_int_eq(collected(0, 3, 77), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "tests/test_a.py::test_one", "tests/test_a.py::test_two"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(PART(0, 2, "tests/test_b.py::test_one"), XD_COLLECTOR_COMPLETE);
    ck_assert_uint_eq(xd_collector_count(collector), 3);
    item(0, "tests/test_a.py::test_one");
    item(1, "tests/test_a.py::test_two");
    item(2, "tests/test_b.py::test_one");
}
END_TEST

START_TEST(no_items)
{
    ck_assert_int_eq(collected(0, 0, 1), XD_COLLECTOR_COMPLETE);
    ck_assert_uint_eq(xd_collector_count(collector), 0);
}
END_TEST

START_TEST(the_owner_of_the_list_is_lost)
{
    ck_assert_int_eq(collected(0, 2, 77), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(1, 2, 77), XD_COLLECTOR_AGREED);
    ck_assert_int_eq(PART(0, 0, "t.py::a"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(xd_collector_lost(collector, 0, 1), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(2, 2, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(xd_collector_lost(collector, 1, XD_GATEWAY_NONE), XD_COLLECTOR_DIFFERENT);
    ck_assert_int_eq(xd_collector_lost(collector, 2, 1), XD_COLLECTOR_WAIT);
    ck_assert(!xd_collector_unsettled(collector));
    ck_assert_int_eq(PART(1, 0, "t.py::a", "t.py::b"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(xd_collector_lost(collector, 1, XD_GATEWAY_NONE),
                     XD_COLLECTOR_WAIT); /* the list is known */
    item(0, "t.py::a");
}
END_TEST

START_TEST(the_only_one_is_lost)
{
    ck_assert_int_eq(collected(0, 3, 77), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(xd_collector_lost(collector, 0, XD_GATEWAY_NONE), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(collected(1, 1, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(1, 0, "t.py::a"), XD_COLLECTOR_COMPLETE);
}
END_TEST

/* A peer announces what no machine holds: memory is taken for what comes. */
START_TEST(an_announced_number_takes_no_memory)
{
    ck_assert_int_eq(collected(0, UINT32_MAX, 1), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(1, UINT32_MAX - 1, 2), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::b"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(PART(1, 0, "t.py::a"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(PART(0, UINT32_MAX - 1, "t.py::c"), -EPROTO);
    item(1, "t.py::b");
}
END_TEST

START_TEST(an_equal_digest_needs_no_list)
{
    ck_assert_int_eq(collected(1, 1, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(0, 1, 5), XD_COLLECTOR_AGREED); /* also while the list is on its way */
    ck_assert_int_eq(PART(1, 0, "t.py::a"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(collected(2, 1, 5), XD_COLLECTOR_AGREED);
}
END_TEST

START_TEST(lists_that_differ)
{
    ck_assert_int_eq(collected(0, 2, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::b"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(collected(1, 2, 6), XD_COLLECTOR_SEND_LIST);
    ck_assert(xd_collector_unsettled(collector));
    ck_assert_int_eq(PART(1, 0, "t.py::a", "t.py::c"), XD_COLLECTOR_WAIT);
    differs(1);
    ck_assert(!xd_collector_unsettled(collector));
    const char *said = xd_buf_cstr(&text);
    ck_assert_ptr_nonnull(
        strstr(said, "Different tests were collected between popen (2 tests) and popen//env:A=b (2 tests)"));
    ck_assert_ptr_nonnull(strstr(said, "\n- t.py::b"));
    ck_assert_ptr_nonnull(strstr(said, "\n+ t.py::c"));
    ck_assert_ptr_null(strstr(said, "t.py::a"));
}
END_TEST

START_TEST(the_second_list_may_be_there_first)
{
    ck_assert_int_eq(collected(0, 1, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(1, 1, 6), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(1, 0, "t.py::b"), XD_COLLECTOR_WAIT);
    uint16_t who;
    ck_assert_int_eq(next(&who), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(PART(0, 0, "t.py::a"), XD_COLLECTOR_COMPLETE);
    differs(1);
}
END_TEST

START_TEST(another_order_is_no_difference)
{
    uint16_t who = 99;
    ck_assert_int_eq(collected(0, 3, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(1, 3, 6), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(collected(2, 3, 7), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(2, 0, "t.py::c", "t.py::b", "t.py::a"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::b", "t.py::c"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(next(&who), XD_COLLECTOR_REORDERED);
    ck_assert_uint_eq(who, 2);
    places_are((const uint32_t[]){ 2, 1, 0 }, 3);
    ck_assert_int_eq(next(&who), XD_COLLECTOR_WAIT);
    ck_assert(xd_collector_unsettled(collector));
    ck_assert_int_eq(PART(1, 0, "t.py::b", "t.py::c"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(next(&who), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(PART(1, 2, "t.py::a"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(next(&who), XD_COLLECTOR_REORDERED);
    ck_assert_uint_eq(who, 1);
    places_are((const uint32_t[]){ 2, 0, 1 }, 3);
    ck_assert(!xd_collector_unsettled(collector));
    item(0, "t.py::a");
    ck_assert_int_eq(collected(1, 3, 6), -EPROTO); /* a second time */
}
END_TEST

START_TEST(duplicates_in_another_order)
{
    uint16_t who;
    ck_assert_int_eq(collected(0, 4, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::b", "t.py::a", "t.py::b"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(collected(1, 4, 6), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(1, 0, "t.py::b", "t.py::b", "t.py::a", "t.py::a"), XD_COLLECTOR_WAIT);
    ck_assert_int_eq(next(&who), XD_COLLECTOR_REORDERED);
    places_are((const uint32_t[]){ 2, 0, 3, 1 }, 4);
    ck_assert_int_eq(collected(2, 4, 7), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(2, 0, "t.py::b", "t.py::a", "t.py::a", "t.py::a"), XD_COLLECTOR_WAIT);
    differs(2);
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&text), "\n- t.py::b"));
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&text), "\n+ t.py::a"));
}
END_TEST

START_TEST(a_list_without_tests_differs)
{
    ck_assert_int_eq(collected(0, 1, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "t.py::a"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(collected(1, 0, 6), XD_COLLECTOR_WAIT);
    differs(1);
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&text), "\n- t.py::a"));
}
END_TEST

START_TEST(many_differences_are_cut)
{
    char        names[40][16];
    const char *ids[41] = { NULL };
    ck_assert_int_eq(collected(0, 1, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "t.py::a"), XD_COLLECTOR_COMPLETE);
    ck_assert_int_eq(collected(1, 40, 6), XD_COLLECTOR_SEND_LIST);
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "t.py::x%d", i);
        ids[i] = names[i];
    }
    ck_assert_int_eq(part(1, 0, ids), XD_COLLECTOR_WAIT);
    differs(1);
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&text), "more)"));
    int lines = 0;
    for (const char *p = xd_buf_cstr(&text); (p = strchr(p, '\n')); p++)
        lines++;
    ck_assert_int_le(lines, 12);
}
END_TEST

START_TEST(duplicates_are_items_too)
{
    ck_assert_int_eq(collected(0, 3, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::a", "t.py::a"), XD_COLLECTOR_COMPLETE);
    item(0, "t.py::a");
    item(2, "t.py::a");
}
END_TEST

START_TEST(parts_that_do_not_fit)
{
    ck_assert_int_eq(collected(0, 2, 5), XD_COLLECTOR_SEND_LIST);
    ck_assert_int_eq(PART(0, 1, "t.py::b"), -EPROTO);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::b", "t.py::c"), -EPROTO);
    xd_autobuf     list = XD_BUF_INIT;
    xd_wire_NODEID one = { .shared = 9, .id = XD_BYTES_LIT("x") }; /* shares with nothing */
    ck_assert_int_eq(xd_wire_NODEID_append(&list, &one), 0);
    xd_wire_COLLECT_IDS in = { .first = 0, .ids = { .count = 1, .ptr = list.data, .len = list.len } };
    ck_assert_int_eq(xd_collector_ids(collector, 0, &in), -EPROTO);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("collector");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, one_environment_in_parts);
    tcase_add_test(t, no_items);
    tcase_add_test(t, the_owner_of_the_list_is_lost);
    tcase_add_test(t, the_only_one_is_lost);
    tcase_add_test(t, an_announced_number_takes_no_memory);
    tcase_add_test(t, an_equal_digest_needs_no_list);
    tcase_add_test(t, lists_that_differ);
    tcase_add_test(t, the_second_list_may_be_there_first);
    tcase_add_test(t, another_order_is_no_difference);
    tcase_add_test(t, duplicates_in_another_order);
    tcase_add_test(t, a_list_without_tests_differs);
    tcase_add_test(t, many_differences_are_cut);
    tcase_add_test(t, duplicates_are_items_too);
    tcase_add_test(t, parts_that_do_not_fit);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
