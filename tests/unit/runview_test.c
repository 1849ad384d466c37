/* needs: actors */
#include <check.h>
#include <stdio.h>

#include "engine/base/clock.h"

#include "tests/conformance/reporter_fixture.c"
#include "tests/unit/often.h"

static void fold(xd_runview *v, xd_fixture *f)
{
    often_assert_int_eq(xd_runview_init(v, xd_fixture_source(f)), 0);
    for (size_t at = 0; at < f->frames.len;) {
        xd_frame frame;
        often_assert_int_eq(xd_wire_header(f->frames.data + at, &frame), 0);
        often_assert(xd_runview_frame(v, at, &frame, NULL, NULL) >= 0);
        at += XD_FRAME_HEADER + frame.len;
    }
}

START_TEST(counts_follow_the_rule)
{
    xd_fixture f = { 0 };
    xd_runview v;
    static const struct {
        const char *name;
        uint64_t    count;
    } want[] = { { "failed", 4 },  { "error", 4 },   { "passed", 3 },          { "skipped", 2 },
                 { "xfailed", 1 }, { "xpassed", 1 }, { "crashed", 1 },         { "timeout", 1 },
                 { "lost", 1 },    { "not-run", 1 }, { "subtests passed", 1 }, { "nothing", 0 } };
    xd_fixture_everything(&f, NULL);
    fold(&v, &f);
    for (size_t i = 0; i < XD_ARRAY_LEN(want); i++)
        ck_assert_msg(xd_runview_counted(&v, want[i].name) == want[i].count, "%s: %u", want[i].name,
                      (unsigned)xd_runview_counted(&v, want[i].name));
    ck_assert_uint_eq(v.tests.count, 14);
    ck_assert_uint_eq(v.tests.ended, 14);
    ck_assert_uint_eq(v.tests.not_run, 1);
    ck_assert_uint_eq(v.notes.warnings.count, 3);
    ck_assert_int_eq(v.run.exit_status, 1);
    ck_assert(v.run.over && xd_bytes_eq_str(v.run.reason, "stopping after 3 failures"));
    ck_assert_uint_eq(v.damaged, 0);
    xd_wire_REPORT r;
    ck_assert_int_eq(xd_runview_report_read(&v, v.tests.items[1].first_report, &r), 0);
    ck_assert(xd_bytes_eq_str(r.message, "assert 1 == 2"));
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

START_TEST(reports_of_another_attempt_do_not_count)
{
    xd_fixture     f = { 0 };
    xd_runview     v;
    xd_wire_REPORT r = { .item = 0,
                         .attempt = 2,
                         .when = XD_BYTES_LIT("call"),
                         .category = XD_BYTES_LIT("failed"),
                         .outcome = XD_BYTES_LIT("failed") };
    xd_fixture_start(&f, NULL);
    xd_fixture_collect_n(&f, 2);
    xd_fixture_report(&f, &r);
    r.attempt = 1;
    r.category = XD_BYTES_LIT("rerun");
    xd_fixture_report(&f, &r);
    xd_fixture_result(&f, 0, XD_OUT_FAILED, 1, 0);
    xd_fixture_result(&f, 0, XD_OUT_PASSED, 0, 1); /* late: the first one stands */
    fold(&v, &f);
    ck_assert_uint_eq(xd_runview_counted(&v, "failed"), 0);
    ck_assert_uint_eq(xd_runview_counted(&v, "rerun"), 1);
    ck_assert_uint_eq(xd_runview_counted(&v, "passed"), 0);
    ck_assert_uint_eq(v.tests.items[0].outcome, XD_OUT_FAILED);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

static int ended_calls, closed_calls;

static int count_calls(void *arg, uint32_t item)
{
    const xd_runview *v = arg;
    ck_assert_uint_eq(item, 0);
    *(v->tests.closing ? &closed_calls : &ended_calls) += 1;
    if (v->tests.closing) {
        ck_assert(v->tests.outcome_changed);
        ck_assert_uint_eq(v->tests.closing_report, 1); /* the second */
    }
    return 0;
}

/* A test ends once and counts at once; the teardown of what outlived it counts what came of that. */
START_TEST(an_open_item_is_closed_once)
{
    xd_fixture     f = { 0 };
    xd_runview     v;
    xd_wire_REPORT r = { .item = 0,
                         .attempt = 1,
                         .when = XD_BYTES_LIT("call"),
                         .category = XD_BYTES_LIT("passed"),
                         .outcome = XD_BYTES_LIT("passed") };
    xd_fixture_start(&f, NULL);
    xd_fixture_collect_n(&f, 2);
    xd_fixture_report(&f, &r); /* of a passed test: text alone */
    xd_fixture_result(&f, 0, XD_OUT_PASSED, XD_RES_OPEN, 1);
    r.when = XD_BYTES_LIT("teardown");
    r.category = XD_BYTES_LIT("error");
    r.outcome = XD_BYTES_LIT("failed");
    r.flags = XD_REP_CLOSES;
    xd_fixture_report(&f, &r);
    xd_fixture_result(&f, 0, XD_OUT_FAILED, XD_RES_CLOSES, 0); /* another worker's: not heard */
    xd_fixture_result(&f, 0, XD_OUT_ERROR, XD_RES_CLOSES, 1);
    xd_fixture_result(&f, 0, XD_OUT_PASSED, XD_RES_CLOSES, 1); /* it is closed */
    xd_fixture_result(&f, 1, XD_OUT_ERROR, XD_RES_CLOSES, 1);  /* it was never open */
    ended_calls = closed_calls = 0;
    ck_assert_int_eq(xd_runview_init(&v, xd_fixture_source(&f)), 0);
    for (size_t at = 0; at < f.frames.len;) {
        xd_frame frame;
        ck_assert_int_eq(xd_wire_header(f.frames.data + at, &frame), 0);
        ck_assert_int_ge(xd_runview_frame(&v, at, &frame, count_calls, &v), 0);
        at += XD_FRAME_HEADER + frame.len;
    }
    ck_assert_int_eq(ended_calls, 1);
    ck_assert_int_eq(closed_calls, 1);
    ck_assert_uint_eq(v.tests.ended, 1);
    ck_assert_uint_eq(xd_runview_counted(&v, "passed"), 1);
    ck_assert_uint_eq(xd_runview_counted(&v, "error"), 1);
    ck_assert_uint_eq(v.tests.items[0].outcome, XD_OUT_ERROR);
    ck_assert_uint_eq(v.tests.items[0].own, XD_OUT_PASSED);
    ck_assert_uint_eq(v.tests.items[1].outcome, 0);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

/* Two environments: configuration, collection reports and warnings of the first alone. */
START_TEST(one_home)
{
    xd_fixture               f = { 0 };
    xd_runview               v;
    xd_wire_REPORT           r = { .item = XD_NO_INDEX,
                                   .nodeid = XD_BYTES_LIT("bad.py"),
                                   .category = XD_BYTES_LIT("error"),
                                   .outcome = XD_BYTES_LIT("failed") };
    static const char *const options[] = { "verbose", "1", NULL }, *const other[] = { "verbose", "2", NULL };
    xd_fixture_start(&f, options);
    xd_fixture_report(&f, &r);
    f.gateway = 1;
    xd_fixture_start(&f, other);
    xd_fixture_report(&f, &r);
    xd_fixture_collect_n(&f, 3);
    fold(&v, &f);
    ck_assert_uint_eq(v.config.home, 0);
    ck_assert_str_eq(xd_runview_option(&v, "verbose"), "1");
    ck_assert_uint_eq(xd_runview_counted(&v, "error"), 1);
    ck_assert_uint_eq(v.tests.count, 3);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

START_TEST(nonsense_is_skipped)
{
    xd_fixture f = { 0 };
    xd_runview v;
    xd_fixture_start(&f, NULL);
    xd_fixture_collect_n(&f, 3);
    xd_fixture_result(&f, 77, XD_OUT_PASSED, 0, 0); /* no such item */
    xd_fixture_result(&f, 0, 200, 0, 0);            /* no such outcome */
    xd_wire_REPORT r = { .item = 99, .category = XD_BYTES_LIT("failed") };
    xd_fixture_report(&f, &r);
    fold(&v, &f);
    ck_assert_uint_eq(v.tests.ended, 0);
    ck_assert_uint_eq(v.damaged, 3);
    xd_frame cut = { .type = XD_MSG_REPORT, .len = 3, .body = (const uint8_t *)"abc" };
    ck_assert_int_eq(xd_runview_frame(&v, 0, &cut, NULL, NULL), XD_RUNVIEW_IGNORED);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

static size_t held(const xd_runview *v)
{
    return v->texts.arena.total + (size_t)v->tests.items_cap * sizeof *v->tests.items +
           (size_t)v->tests.reports_cap * sizeof *v->tests.reports +
           (size_t)v->envs.workers_cap * sizeof *v->envs.workers +
           (size_t)v->notes.warnings.cap * sizeof *v->notes.warnings.at +
           (size_t)v->texts.names_cap * sizeof *v->texts.names;
}

START_TEST(a_hundred_thousand_fit)
{
    xd_fixture f = { 0 };
    xd_runview v;
    xd_fixture_start(&f, NULL);
    xd_fixture_collect_n(&f, 100000);
    for (uint32_t i = 0; i < 100000; i += 100)
        xd_fixture_results(&f, i, 100);
    fold(&v, &f);
    ck_assert_uint_eq(xd_runview_counted(&v, "passed"), 100000);
    printf("runview of 100,000 items: %.1f MB\n", (double)held(&v) / 1e6);
    ck_assert_uint_le(held(&v), 30u * 1000 * 1000);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

/* Names that a plugin makes up for each test, and files that two environments could not import: time grows with
 * their number, not with its square. Wide: seconds here, minutes with a search for each. */
START_TEST(a_name_for_each_test)
{
    enum { ITEMS = 100000, FILES = 60000 };
    xd_fixture f = { 0 };
    xd_runview v;
    char       name[3][32];
    xd_fixture_start(&f, NULL);
    for (f.gateway = 0; f.gateway < 2; f.gateway++)
        for (unsigned i = 0; i < FILES; i++) {
            snprintf(name[0], sizeof(name[0]), "tests/test_%u.py", i);
            xd_wire_REPORT r = { .item = XD_NO_INDEX,
                                 .nodeid = xd_bytes_str(name[0]),
                                 .category = XD_BYTES_LIT("error"),
                                 .outcome = XD_BYTES_LIT("failed") };
            xd_fixture_report(&f, &r);
        }
    f.gateway = 0;
    xd_fixture_collect_n(&f, ITEMS);
    for (unsigned i = 0; i < ITEMS; i++) {
        snprintf(name[0], sizeof(name[0]), "category %u", i);
        snprintf(name[1], sizeof(name[1]), "L%u", i);
        snprintf(name[2], sizeof(name[2]), "WORD %u", i);
        xd_wire_REPORT r = { .item = i,
                             .attempt = 1,
                             .when = XD_BYTES_LIT("call"),
                             .category = xd_bytes_str(name[0]),
                             .letter = xd_bytes_str(name[1]),
                             .word = xd_bytes_str(name[2]) };
        xd_fixture_report(&f, &r);
        xd_fixture_result(&f, i, XD_OUT_PASSED, 1, 0);
    }
    uint64_t start = xd_clock_cpu_us();
    fold(&v, &f);
    ck_assert_uint_lt(xd_clock_cpu_us() - start, 10 * 1000 * 1000);
    ck_assert_uint_eq(v.tests.count_count, ITEMS + 1);
    ck_assert_uint_eq(xd_runview_counted(&v, "error"), FILES);
    ck_assert_uint_eq(xd_runview_counted(&v, "category 77777"), 1);
    ck_assert(xd_bytes_eq_str(v.texts.names[v.tests.reports[v.tests.items[5].first_report].word], "WORD 5"));
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

/* A few bytes that claim a collection of gigabytes. */
START_TEST(a_number_alone_takes_no_memory)
{
    for (uint32_t count = 2; count <= 100000000; count *= 50) {
        xd_fixture         f = { 0 };
        xd_runview         v;
        xd_wire_COLLECTION claim = { .count = count, .workers = 2 };
        xd_fixture_start(&f, NULL);
        ck_assert_int_eq(xd_wire_COLLECTION_frame(&f.frames, 0, 0, &claim), 0);
        xd_fixture_collect_n(&f, 3);
        fold(&v, &f);
        ck_assert_uint_eq(v.damaged, 1);
        ck_assert_uint_eq(v.tests.count, 3);
        ck_assert_uint_le(held(&v), 1u << 20);
        xd_runview_release(&v);
        xd_fixture_release(&f);
    }
}
END_TEST

static void ids_of(xd_fixture *f, uint16_t gateway, const char *first, const char *second)
{
    xd_autobuf list = XD_BUF_INIT;
    ck_assert_int_eq(xd_wire_NODEID_append(&list, &(xd_wire_NODEID){ .id = xd_bytes_str(first) }), 0);
    ck_assert_int_eq(xd_wire_NODEID_append(&list, &(xd_wire_NODEID){ .id = xd_bytes_str(second) }), 0);
    xd_wire_COLLECT_IDS m = { .ids = { .count = 2, .ptr = list.data, .len = list.len } };
    ck_assert_int_eq(xd_wire_COLLECT_IDS_frame(&f->frames, gateway, ++f->seq, &m), 0);
}

/* The list of the environment that collected first is the run's, also when another one's is there before it. */
START_TEST(the_list_of_the_first)
{
    xd_fixture        f = { 0 };
    xd_runview        v;
    xd_wire_COLLECTED all = { .count = 2, .exit_status = -1, .way = 1 };
    xd_fixture_start(&f, NULL);
    for (uint16_t gateway = 2; gateway-- > 0;)
        ck_assert_int_eq(xd_wire_COLLECTED_frame(&f.frames, gateway, ++f.seq, &all), 0);
    ids_of(&f, 0, "t.py::b", "t.py::a");
    ids_of(&f, 1, "t.py::a", "t.py::b");
    ck_assert_int_eq(
        xd_wire_COLLECTION_frame(&f.frames, 0, 0, &(xd_wire_COLLECTION){ .count = 2, .workers = 2 }), 0);
    fold(&v, &f);
    ck_assert(v.collection.agreed && xd_bytes_eq_str(v.tests.items[0].id, "t.py::a"));
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

/* ---- every environment has a collection of its own ------------------------------------------------------- */

static void own_collection(xd_fixture *f, uint16_t number, uint16_t owner, uint32_t count)
{
    xd_wire_COLLECTION in = {
        .count = count, .workers = 1, .deselected = 1, .expected_us = 10, .collection = number, .owner = owner
    };
    ck_assert_int_eq(xd_wire_COLLECTION_frame(&f->frames, 0, 0, &in), 0);
}

static void item_is(const xd_runview *v, uint32_t item, uint16_t collection, const char *id, uint8_t outcome)
{
    const xd_runview_item *i = &v->tests.items[item];
    ck_assert_msg(xd_bytes_eq_str(i->id, id), "item %u is %.*s", item, (int)i->id.len,
                  (const char *)i->id.ptr);
    ck_assert_uint_eq(i->collection, collection);
    ck_assert_uint_eq(i->outcome, outcome);
}

/* Lists come side by side, and that of the first gateway stands for the third, which has the same tests. */
START_TEST(each_has_its_own)
{
    xd_fixture f = { 0 };
    xd_runview v;
    ck_assert_int_eq(xd_wire_RUN_START_frame(&f.frames, 0, 0, &(xd_wire_RUN_START){ .each = 1 }), 0);
    for (uint16_t g = 0; g < 3; g++)
        ck_assert_int_eq(
            xd_wire_GATEWAY_UP_frame(&f.frames, 0, 0,
                                     &(xd_wire_GATEWAY_UP){ .gateway = g,
                                                            .spec = g == 1 ? XD_BYTES_LIT("popen//id=b")
                                                                           : XD_BYTES_LIT("popen") }),
            0);
    ids_of(&f, 1, "t.py::b", "t.py::a");
    ids_of(&f, 0, "t.py::a", "t.py::b");
    own_collection(&f, 0, 0, 2);
    own_collection(&f, 1, 1, 2);
    own_collection(&f, 2, 0, 2);
    own_collection(&f, 1, 0, 2); /* it has one */
    own_collection(&f, 3, 1, 3); /* their names went before: a number alone is worth nothing */
    f.gateway = 1;
    xd_fixture_result(&f, 0, XD_OUT_FAILED, 0, 2);
    xd_fixture_result(&f, 2, XD_OUT_FAILED, 0, 2); /* it has two: not the first of the next */
    f.gateway = 2;
    xd_fixture_result(&f, 1, XD_OUT_SKIPPED, 0, 3);
    f.gateway = 0;
    xd_fixture_result(&f, 0, XD_OUT_PASSED, 0, 0);
    fold(&v, &f);
    ck_assert_uint_eq(v.tests.count, 6);
    ck_assert_uint_eq(v.collection.count, 3);
    ck_assert_uint_eq(v.collection.collected, 6);
    ck_assert_uint_eq(v.collection.deselected, 3);
    ck_assert_uint_eq(v.collection.workers, 3);
    ck_assert_uint_eq(v.collection.expected_us, 30);
    ck_assert_uint_eq(v.tests.ended, 3);
    ck_assert_uint_eq(v.damaged, 2);
    item_is(&v, 0, 0, "t.py::a", XD_OUT_PASSED);
    item_is(&v, 1, 0, "t.py::b", 0);
    item_is(&v, 2, 1, "t.py::b", XD_OUT_FAILED);
    item_is(&v, 3, 1, "t.py::a", 0);
    item_is(&v, 4, 2, "t.py::a", 0);
    item_is(&v, 5, 2, "t.py::b", XD_OUT_SKIPPED);
    ck_assert(xd_bytes_eq_str(xd_runview_environment(&v, 3), "popen//id=b"));
    ck_assert_uint_eq(xd_runview_place(&v, 1, 1), 3);
    ck_assert_uint_eq(xd_runview_place(&v, 1, 2), XD_NO_INDEX);
    ck_assert_uint_eq(xd_runview_place(&v, 7, 0), XD_NO_INDEX);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

/* What an environment says of its collection is its own: a report that another one has given, too, a warning, a session that ends. */
START_TEST(each_tells_of_itself)
{
    xd_fixture     f = { 0 };
    xd_runview     v;
    xd_wire_REPORT r = { .item = XD_NO_INDEX,
                         .worker = XD_NO_WORKER,
                         .nodeid = XD_BYTES_LIT("t.py"),
                         .when = XD_BYTES_LIT("collect"),
                         .category = XD_BYTES_LIT("error"),
                         .outcome = XD_BYTES_LIT("failed"),
                         .line = -1 };
    ck_assert_int_eq(xd_wire_RUN_START_frame(&f.frames, 0, 0, &(xd_wire_RUN_START){ .each = 1 }), 0);
    for (uint16_t g = 0; g < 2; g++) {
        f.gateway = g;
        ck_assert_int_eq(
            xd_wire_GATEWAY_UP_frame(
                &f.frames, 0, 0,
                &(xd_wire_GATEWAY_UP){ .gateway = g, .spec = g ? XD_BYTES_LIT("b") : XD_BYTES_LIT("a") }),
            0);
        ck_assert_int_eq(xd_wire_CONFIG_frame(&f.frames, g, ++f.seq, &(xd_wire_CONFIG){ 0 }), 0);
        ck_assert_int_eq(xd_wire_WARNING_frame(&f.frames, g, ++f.seq,
                                               &(xd_wire_WARNING){ .item = XD_NO_INDEX,
                                                                   .when = XD_BYTES_LIT("collect"),
                                                                   .worker = XD_NO_WORKER }),
                         0);
        xd_fixture_report(&f, &r);
        ck_assert_int_eq(
            xd_wire_COLLECTED_frame(
                &f.frames, g, ++f.seq,
                &(xd_wire_COLLECTED){ .exit_status = 2 + g, .stop_reason = XD_BYTES_LIT("1 error") }),
            0);
    }
    fold(&v, &f);
    ck_assert_uint_eq(v.damaged, 0);
    ck_assert_uint_eq(v.tests.collect_report_count, 2);
    ck_assert_uint_eq(v.notes.warnings.count, 2);
    ck_assert_uint_eq(xd_runview_counted(&v, "error"), 2);
    for (uint32_t g = 0; g < 2; g++) {
        ck_assert_uint_eq(v.envs.envs[g].over, 1);
        ck_assert_int_eq(v.envs.envs[g].exit_status, 2 + (int)g);
        ck_assert(xd_bytes_eq_str(v.envs.envs[g].reason, "1 error"));
        ck_assert(
            xd_bytes_eq_str(xd_runview_environment_of_report(&v, v.tests.collect_reports[g]), g ? "b" : "a"));
    }
    ck_assert_uint_eq(v.run.reason.len, 0);
    xd_runview_release(&v);
    xd_fixture_release(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("runview");
    TCase *c = tcase_create("runview");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, counts_follow_the_rule);
    tcase_add_test(c, reports_of_another_attempt_do_not_count);
    tcase_add_test(c, an_open_item_is_closed_once);
    tcase_add_test(c, one_home);
    tcase_add_test(c, nonsense_is_skipped);
    tcase_add_test(c, a_hundred_thousand_fit);
    tcase_add_test(c, a_name_for_each_test);
    tcase_add_test(c, a_number_alone_takes_no_memory);
    tcase_add_test(c, the_list_of_the_first);
    tcase_add_test(c, each_has_its_own);
    tcase_add_test(c, each_tells_of_itself);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
