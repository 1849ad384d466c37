/* The collection core: which environments have the same tests, and whose list is the collection. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/collect.h"
#include "engine/idlist.h"
#include "engine/nodeid.h"

#define PARTS 32

static xd_collect        *core;
static uint16_t           guests;
static xd_collect_command cmd;
static xd_buf             text;
static xd_buf             kept[PARTS]; /* parts stay where they are */
static size_t             n_kept;

static void start(bool each)
{
    xd_collect_free(core);
    ck_assert_int_eq(xd_collect_new(&core, each, guests), 0);
}

static void setup(void)
{
    core = NULL;
    guests = UINT16_MAX;
    n_kept = 0;
    text = XD_BUF_INIT;
    start(false);
}

static void teardown(void)
{
    core = xd_collect_free(core);
    xd_buf_release(&text);
    for (size_t i = 0; i < n_kept; i++)
        xd_buf_release(&kept[i]);
}

static int collected(uint16_t gateway, uint32_t count, uint64_t digest)
{
    xd_wire_COLLECTED in = { .count = count, .digest_lo = digest, .digest_hi = ~digest, .exit_status = -1 };
    return xd_collect_collected(core, gateway, &in);
}
#define COLLECTED(gateway, count, digest) ck_assert_int_eq(collected(gateway, count, digest), 0)

/* ids: NULL-terminated; shortened as the agent does. */
static int part(uint16_t gateway, uint32_t first, const char *const *ids)
{
    xd_buf             *list = &kept[n_kept++];
    xd_wire_COLLECT_IDS in = { .first = first };
    xd_bytes            previous = { 0 };
    ck_assert_uint_le(n_kept, PARTS);
    *list = XD_BUF_INIT;
    for (; ids[in.ids.count]; in.ids.count++) {
        xd_bytes       id = xd_bytes_str(ids[in.ids.count]);
        uint16_t       shared = xd_nodeid_shared(previous, id);
        xd_wire_NODEID one = { .shared = shared, .id = { id.ptr + shared, id.len - shared }, .line = -1 };
        ck_assert_int_eq(xd_wire_NODEID_append(list, &one), 0);
        previous = id;
    }
    in.ids.ptr = list->data;
    in.ids.len = list->len;
    return xd_collect_ids(core, gateway, &in);
}
#define PART(gateway, first, ...) part(gateway, first, (const char *const[]){ __VA_ARGS__, NULL })
/* The same, of a list that is a collection, or of one that is only compared. */
#define OURS(...) ck_assert_int_eq(PART(__VA_ARGS__), XD_COLLECT_PART)
#define OTHER(...) ck_assert_int_eq(PART(__VA_ARGS__), 0)

static void says(xd_collect_kind kind, uint16_t gateway, uint16_t collection)
{
    ck_assert_int_eq(xd_collect_next(core, &cmd), 1);
    ck_assert_int_eq(cmd.kind, kind);
    ck_assert_uint_eq(cmd.gateway, gateway);
    ck_assert_uint_eq(cmd.collection, collection);
}
#define SAYS(kind, gateway) says(XD_COLLECT_##kind, gateway, 0)

static void nothing(void)
{
    int r = xd_collect_next(core, &cmd);
    ck_assert_msg(r == 0, "%d, kind %d of gateway %u", r, cmd.kind, cmd.gateway);
}

static void reordered(uint16_t gateway, const uint32_t *places, uint32_t count)
{
    SAYS(REORDER, gateway);
    xd_wire_list  list = cmd.places;
    xd_wire_INDEX one;
    ck_assert_uint_eq(list.count, count);
    for (uint32_t i = 0; xd_wire_INDEX_next(&list, &one) == 1; i++)
        ck_assert_uint_eq(one.item, places[i]);
}

/* What people are told of it is in `text`. */
static const char *differs(uint16_t gateway)
{
    SAYS(DIFFERENT, gateway);
    xd_buf_clear(&text);
    ck_assert_int_eq(xd_collect_describe(core, gateway, "popen", "popen//env:A=b", &text), 0);
    return xd_buf_cstr(&text);
}

/* Gateway 0 is the first, and asked for its list. */
static void first_collects(uint32_t count, uint64_t digest)
{
    COLLECTED(0, count, digest);
    SAYS(SEND_LIST, 0);
    SAYS(AGREED, 0);
    nothing();
}

static void another_list(uint16_t gateway, uint32_t count, uint64_t digest)
{
    COLLECTED(gateway, count, digest);
    SAYS(SEND_LIST, gateway);
    nothing();
}

START_TEST(one_environment_in_parts)
{
    ck_assert_uint_eq(xd_collect_owner(core, 0), XD_GATEWAY_NONE);
    first_collects(3, 77);
    OURS(0, 0, "tests/test_a.py::test_one", "tests/test_a.py::test_two");
    nothing();
    ck_assert(!xd_collect_over(core, 1));
    OURS(0, 2, "tests/test_b.py::test_one");
    SAYS(COMPLETE, 0);
    nothing();
    ck_assert_uint_eq(xd_collect_owner(core, 0), 0);
    ck_assert(xd_collect_over(core, 1));
    ck_assert(!xd_collect_over(core, 2));
}
END_TEST

START_TEST(a_list_that_was_asked_for_ahead_comes_at_once)
{
    ck_assert_int_eq(xd_collect_ahead(core, 0), 0);
    nothing();
    COLLECTED(0, 2, 77);
    SAYS(AGREED, 0);
    nothing();
    OURS(0, 0, "t.py::a", "t.py::b");
    SAYS(COMPLETE, 0);
    nothing();
}
END_TEST

/* Its heir is asked as ever. */
START_TEST(a_list_that_was_asked_for_ahead_is_lost)
{
    ck_assert_int_eq(xd_collect_ahead(core, 0), 0);
    COLLECTED(0, 2, 77);
    SAYS(AGREED, 0);
    COLLECTED(1, 2, 77);
    SAYS(AGREED, 1);
    nothing();
    ck_assert_int_eq(xd_collect_lost(core, 0), 0);
    SAYS(SEND_LIST, 1);
    nothing();
}
END_TEST

START_TEST(no_items)
{
    COLLECTED(0, 0, 1);
    SAYS(AGREED, 0);
    SAYS(COMPLETE, 0);
    nothing();
}
END_TEST

START_TEST(an_equal_digest_needs_no_list)
{
    COLLECTED(1, 1, 5);
    SAYS(SEND_LIST, 1);
    SAYS(AGREED, 1);
    COLLECTED(0, 1, 5); /* also while the list is on its way */
    SAYS(AGREED, 0);
    OURS(1, 0, "t.py::a");
    SAYS(COMPLETE, 1);
    COLLECTED(2, 1, 5);
    SAYS(AGREED, 2);
    nothing();
    ck_assert(xd_collect_over(core, 3));
}
END_TEST

START_TEST(the_owner_of_the_list_is_lost)
{
    first_collects(2, 77);
    COLLECTED(1, 2, 77);
    SAYS(AGREED, 1);
    OURS(0, 0, "t.py::a");
    ck_assert_int_eq(xd_collect_lost(core, 0), 0);
    SAYS(SEND_LIST, 1);
    nothing();
    ck_assert_uint_eq(xd_collect_owner(core, 0), 1);
    another_list(2, 2, 5);
    ck_assert_int_eq(xd_collect_lost(core, 2), 0);
    nothing();
    OURS(1, 0, "t.py::a", "t.py::b"); /* from the start */
    SAYS(COMPLETE, 1);
    ck_assert_int_eq(xd_collect_lost(core, 1), 0); /* the list is known */
    nothing();
    ck_assert_uint_eq(xd_collect_owner(core, 0), 1);
}
END_TEST

START_TEST(nobody_can_compare_with_a_lost_list)
{
    first_collects(2, 77);
    another_list(1, 2, 5);
    ck_assert_int_eq(xd_collect_lost(core, 0), 0);
    SAYS(UNKNOWN, 1);
    nothing();
    OTHER(1, 0, "t.py::a", "t.py::b");
    nothing(); /* and nothing begins */
}
END_TEST

START_TEST(the_only_one_is_lost)
{
    first_collects(3, 77);
    ck_assert_int_eq(xd_collect_lost(core, 0), 0);
    nothing();
    COLLECTED(1, 1, 5);
    SAYS(SEND_LIST, 1);
    SAYS(AGREED, 1);
    OURS(1, 0, "t.py::a");
    SAYS(COMPLETE, 1);
    ck_assert(xd_collect_over(core, 2));
}
END_TEST

/* A peer announces what no machine holds: memory is taken for what comes. */
START_TEST(an_announced_number_takes_no_memory)
{
    first_collects(UINT32_MAX, 1);
    another_list(1, UINT32_MAX - 1, 2);
    OURS(0, 0, "t.py::a", "t.py::b");
    OTHER(1, 0, "t.py::a");
    ck_assert_int_eq(PART(0, UINT32_MAX - 1, "t.py::c"), -EPROTO);
}
END_TEST

/* The parts of MORE together. */
static void more(uint32_t first, const char *const *ids)
{
    for (uint32_t at = first; *ids;) {
        SAYS(MORE, 0);
        xd_wire_list   list = cmd.more.ids;
        xd_wire_NODEID one;
        ck_assert_uint_eq(cmd.more.first, at);
        for (; xd_wire_NODEID_next(&list, &one) == 1; at++, ids++) {
            ck_assert_ptr_nonnull(*ids);
            ck_assert(xd_bytes_eq_str(one.id, *ids));
        }
    }
}
#define MORE(first, ...) more(first, (const char *const[]){ __VA_ARGS__, NULL })

START_TEST(lists_that_differ)
{
    first_collects(2, 5);
    OURS(0, 0, "t.py::a", "t.py::b");
    SAYS(COMPLETE, 0);
    another_list(1, 2, 6);
    OTHER(1, 0, "t.py::a", "t.py::c");
    const char *said = differs(1);
    ck_assert_ptr_nonnull(
        strstr(said, "Different tests were collected between popen (2 tests) and popen//env:A=b (2 tests)"));
    ck_assert_ptr_nonnull(strstr(said, "\n- t.py::b"));
    ck_assert_ptr_nonnull(strstr(said, "\n+ t.py::c"));
    ck_assert_ptr_null(strstr(said, "t.py::a"));
    MORE(2, "t.py::c"); /* also when others run already */
    reordered(1, (const uint32_t[]){ 0, XD_NO_INDEX, 1 }, 3);
    nothing();
    ck_assert(xd_collect_over(core, 2));
}
END_TEST

START_TEST(tests_that_only_some_have_go_behind_the_others)
{
    guests = 4;
    start(false);
    first_collects(3, 5);
    another_list(1, 3, 6);
    another_list(2, 4, 7);
    OTHER(1, 0, "t.py::d", "t.py::a", "t.py::c");
    OURS(0, 0, "t.py::a", "t.py::b", "t.py::c");
    differs(1);
    MORE(3, "t.py::d");
    reordered(1, (const uint32_t[]){ 1, XD_NO_INDEX, 2, 0 }, 4);
    nothing(); /* the third one may have more */
    OTHER(2, 0, "t.py::b", "t.py::e", "t.py::d", "t.py::f");
    differs(2);
    MORE(4, "t.py::e", "t.py::f");
    reordered(2, (const uint32_t[]){ XD_NO_INDEX, 0, XD_NO_INDEX, 2, 1, 3 }, 6);
    SAYS(COMPLETE, 0);
    COLLECTED(3, 4, 7); /* a list that is known already */
    differs(3);
    reordered(3, (const uint32_t[]){ XD_NO_INDEX, 0, XD_NO_INDEX, 2, 1, 3 }, 6);
    nothing();
    another_list(4, 2, 8);
    OTHER(4, 0, "t.py::g", "t.py::f");
    differs(4);
    reordered(4, (const uint32_t[]){ XD_NO_INDEX, XD_NO_INDEX, XD_NO_INDEX, XD_NO_INDEX, XD_NO_INDEX, 1 }, 6);
    nothing(); /* a guest brings none when others run already */
    ck_assert(xd_collect_over(core, 5));
}
END_TEST

START_TEST(one_has_a_name_more_often)
{
    first_collects(2, 5);
    another_list(1, 3, 6);
    OTHER(1, 0, "t.py::b", "t.py::a", "t.py::a");
    OURS(0, 0, "t.py::a", "t.py::b");
    differs(1);
    MORE(2, "t.py::a");
    reordered(1, (const uint32_t[]){ 1, 0, 2 }, 3);
    SAYS(COMPLETE, 0);
}
END_TEST

START_TEST(one_has_tests_and_the_first_none)
{
    COLLECTED(0, 0, 5);
    SAYS(AGREED, 0);
    SAYS(COMPLETE, 0);
    start(false);
    COLLECTED(0, 0, 5);
    COLLECTED(1, 2, 6);
    SAYS(SEND_LIST, 1);
    SAYS(AGREED, 0);
    nothing();
    OTHER(1, 0, "t.py::a", "t.py::b");
    differs(1);
    MORE(0, "t.py::a", "t.py::b");
    reordered(1, (const uint32_t[]){ 0, 1 }, 2);
    SAYS(COMPLETE, 0);
}
END_TEST

START_TEST(many_more_come_in_parts)
{
    static char        names[2000][100];
    static const char *ids[2001];
    first_collects(1, 5);
    another_list(1, 2000, 6);
    OURS(0, 0, "t.py::a");
    for (int i = 0; i < 2000; i++) {
        snprintf(names[i], sizeof(names[i]), "t.py::test_%080d", i);
        ids[i] = names[i];
    }
    ck_assert_int_eq(part(1, 0, ids), 0);
    differs(1);
    SAYS(MORE, 0);
    ck_assert_uint_lt(cmd.more.ids.count, 2000);
    const uint32_t had = cmd.more.ids.count;
    more(1 + had, ids + had);
    SAYS(REORDER, 1);
    ck_assert_uint_eq(cmd.places.count, 2001);
    SAYS(COMPLETE, 0);
}
END_TEST

START_TEST(the_second_list_may_be_there_first)
{
    first_collects(1, 5);
    another_list(1, 1, 6);
    OTHER(1, 0, "t.py::b");
    nothing();
    OURS(0, 0, "t.py::a");
    differs(1);
    MORE(1, "t.py::b");
    reordered(1, (const uint32_t[]){ XD_NO_INDEX, 0 }, 2);
    SAYS(COMPLETE, 0);
    nothing();
}
END_TEST

START_TEST(nothing_begins_before_lists_are_compared)
{
    first_collects(1, 5);
    another_list(1, 1, 6);
    OURS(0, 0, "t.py::a");
    nothing();
    ck_assert_int_eq(xd_collect_lost(core, 1), 0); /* or cannot be any more */
    SAYS(COMPLETE, 0);
}
END_TEST

START_TEST(another_order_is_no_difference)
{
    first_collects(3, 5);
    another_list(1, 3, 6);
    another_list(2, 3, 7);
    OTHER(2, 0, "t.py::c", "t.py::b", "t.py::a");
    OURS(0, 0, "t.py::a", "t.py::b", "t.py::c");
    reordered(2, (const uint32_t[]){ 2, 1, 0 }, 3);
    nothing();
    OTHER(1, 0, "t.py::b", "t.py::c");
    nothing();
    OTHER(1, 2, "t.py::a");
    reordered(1, (const uint32_t[]){ 2, 0, 1 }, 3);
    SAYS(COMPLETE, 0);
    COLLECTED(3, 3, 7); /* an order that is known already needs no list */
    reordered(3, (const uint32_t[]){ 2, 1, 0 }, 3);
    nothing();
    ck_assert_int_eq(collected(1, 3, 6), -EPROTO); /* a second time */
    ck_assert(xd_collect_over(core, 4));
}
END_TEST

START_TEST(duplicates_in_another_order)
{
    first_collects(4, 5);
    OURS(0, 0, "t.py::a", "t.py::b", "t.py::a", "t.py::b");
    SAYS(COMPLETE, 0);
    another_list(1, 4, 6);
    OTHER(1, 0, "t.py::b", "t.py::b", "t.py::a", "t.py::a");
    reordered(1, (const uint32_t[]){ 2, 0, 3, 1 }, 4);
    another_list(2, 4, 7);
    OTHER(2, 0, "t.py::b", "t.py::a", "t.py::a", "t.py::a");
    const char *said = differs(2);
    ck_assert_ptr_nonnull(strstr(said, "\n- t.py::b"));
    ck_assert_ptr_nonnull(strstr(said, "\n+ t.py::a"));
}
END_TEST

START_TEST(a_list_without_tests_differs)
{
    first_collects(1, 5);
    OURS(0, 0, "t.py::a");
    SAYS(COMPLETE, 0);
    COLLECTED(1, 0, 6);
    ck_assert_ptr_nonnull(strstr(differs(1), "\n- t.py::a"));
}
END_TEST

START_TEST(many_differences_are_cut)
{
    char        names[40][24];
    const char *ids[41] = { NULL };
    first_collects(1, 5);
    OURS(0, 0, "t.py::a");
    SAYS(COMPLETE, 0);
    another_list(1, 40, 6);
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "t.py::x%d", i);
        ids[i] = names[i];
    }
    ck_assert_int_eq(part(1, 0, ids), 0);
    ck_assert_ptr_nonnull(strstr(differs(1), "more)"));
    int lines = 0;
    for (const char *p = xd_buf_cstr(&text); (p = strchr(p, '\n')); p++)
        lines++;
    ck_assert_int_le(lines, 12);
}
END_TEST

START_TEST(parts_that_do_not_fit)
{
    ck_assert_int_eq(PART(0, 0, "t.py::a"), -EPROTO); /* before COLLECTED */
    first_collects(2, 5);
    ck_assert_int_eq(PART(0, 1, "t.py::b"), -EPROTO);
    ck_assert_int_eq(PART(0, 0, "t.py::a", "t.py::b", "t.py::c"), -EPROTO);
    COLLECTED(1, 2, 5);
    SAYS(AGREED, 1);
    ck_assert_int_eq(PART(1, 0, "t.py::a"), -EPROTO); /* not asked for */
}
END_TEST

START_TEST(names_that_do_not_decode)
{
    first_collects(1, 5);
    another_list(1, 1, 6);
    OURS(0, 0, "t.py::a");
    xd_buf        *list = &kept[n_kept++];
    xd_wire_NODEID one = { .shared = 9, .id = XD_BYTES_LIT("x") }; /* shares with nothing */
    *list = XD_BUF_INIT;
    ck_assert_int_eq(xd_wire_NODEID_append(list, &one), 0);
    xd_wire_COLLECT_IDS in = { .ids = { .count = 1, .ptr = list->data, .len = list->len } };
    ck_assert_int_eq(xd_collect_ids(core, 1, &in), 0);
    ck_assert_int_eq(xd_collect_next(core, &cmd), -EPROTO);
}
END_TEST

/* ---- every environment has its own --------------------------------------------------------------------- */

START_TEST(each_has_its_own)
{
    start(true);
    COLLECTED(1, 2, 6);
    SAYS(SEND_LIST, 1);
    says(XD_COLLECT_AGREED, 1, 1);
    COLLECTED(0, 1, 5);
    SAYS(SEND_LIST, 0);
    SAYS(AGREED, 0);
    OURS(0, 0, "t.py::z");
    says(XD_COLLECT_COMPLETE, 0, 0); /* waits for nobody */
    OURS(1, 0, "t.py::a", "t.py::b");
    says(XD_COLLECT_COMPLETE, 1, 1);
    nothing();
    ck_assert_uint_eq(xd_collect_owner(core, 1), 1);
    ck_assert(xd_collect_over(core, 2));
}
END_TEST

START_TEST(each_sends_an_equal_list_once)
{
    start(true);
    first_collects(1, 5);
    COLLECTED(1, 1, 5);
    says(XD_COLLECT_AGREED, 1, 1);
    nothing();
    OURS(0, 0, "t.py::a");
    says(XD_COLLECT_COMPLETE, 0, 0);
    says(XD_COLLECT_COMPLETE, 0, 1); /* gateway: whose list it is */
    nothing();
    COLLECTED(2, 1, 5);
    says(XD_COLLECT_AGREED, 2, 2);
    says(XD_COLLECT_COMPLETE, 0, 2);
    nothing();
    ck_assert_uint_eq(xd_collect_owner(core, 2), 0);
}
END_TEST

START_TEST(each_and_the_owner_is_lost)
{
    start(true);
    first_collects(1, 5);
    COLLECTED(1, 1, 5);
    says(XD_COLLECT_AGREED, 1, 1);
    ck_assert_int_eq(xd_collect_lost(core, 0), 0);
    SAYS(SEND_LIST, 1);
    nothing();
    OURS(1, 0, "t.py::a");
    says(XD_COLLECT_COMPLETE, 1, 1);
    nothing(); /* that of the lost one never begins */
    ck_assert(xd_collect_over(core, 2));
}
END_TEST

/* ---- names written out ---------------------------------------------------------------------------------- */

START_TEST(ids_are_written_out)
{
    first_collects(3, 5);
    OURS(0, 0, "t.py::a", "t.py::ab", "t.py::a");
    xd_idlist    list = { 0 };
    xd_wire_list ids = { .count = 3, .ptr = kept[0].data, .len = kept[0].len };
    ck_assert_int_eq(xd_idlist_add(&list, ids), 0);
    ck_assert_int_eq(xd_idlist_add(&list, ids), 0);
    ck_assert_uint_eq(list.count, 6);
    ck_assert_str_eq((const char *)list.items[1].id.ptr, "t.py::ab");
    ck_assert(xd_bytes_eq_str(list.items[5].id, "t.py::a")); /* duplicates are items, too */
    xd_idlist_release(&list);
    ck_assert_uint_eq(list.count, 0);
    xd_buf_clear(&text);
    xd_wire_NODEID bad = { .shared = 9, .id = XD_BYTES_LIT("x") };
    ck_assert_int_eq(xd_wire_NODEID_append(&text, &bad), 0);
    ids = (xd_wire_list){ .count = 1, .ptr = text.data, .len = text.len };
    ck_assert_int_eq(xd_idlist_add(&list, ids), -EPROTO);
    xd_idlist_release(&list);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("collect");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, one_environment_in_parts);
    tcase_add_test(t, a_list_that_was_asked_for_ahead_comes_at_once);
    tcase_add_test(t, a_list_that_was_asked_for_ahead_is_lost);
    tcase_add_test(t, no_items);
    tcase_add_test(t, an_equal_digest_needs_no_list);
    tcase_add_test(t, the_owner_of_the_list_is_lost);
    tcase_add_test(t, nobody_can_compare_with_a_lost_list);
    tcase_add_test(t, the_only_one_is_lost);
    tcase_add_test(t, an_announced_number_takes_no_memory);
    tcase_add_test(t, lists_that_differ);
    tcase_add_test(t, tests_that_only_some_have_go_behind_the_others);
    tcase_add_test(t, one_has_a_name_more_often);
    tcase_add_test(t, one_has_tests_and_the_first_none);
    tcase_add_test(t, many_more_come_in_parts);
    tcase_add_test(t, the_second_list_may_be_there_first);
    tcase_add_test(t, nothing_begins_before_lists_are_compared);
    tcase_add_test(t, another_order_is_no_difference);
    tcase_add_test(t, duplicates_in_another_order);
    tcase_add_test(t, a_list_without_tests_differs);
    tcase_add_test(t, many_differences_are_cut);
    tcase_add_test(t, parts_that_do_not_fit);
    tcase_add_test(t, names_that_do_not_decode);
    tcase_add_test(t, each_has_its_own);
    tcase_add_test(t, each_sends_an_equal_list_once);
    tcase_add_test(t, each_and_the_owner_is_lost);
    tcase_add_test(t, ids_are_written_out);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
