/* needs: engine actors */
/* The parts of a run's view, each by itself. */
#include <check.h>
#include <stdlib.h>

#include "actors/runview.h"

static xd_runview_texts texts;
static xd_runview_tests tests;
static xd_runview_envs  envs;

static void setup(void)
{
    ck_assert_int_eq(xd_runview_texts_init(&texts), 0);
    tests = (xd_runview_tests){ 0 };
    envs = (xd_runview_envs){ 0 };
}

static void teardown(void)
{
    xd_runview_tests_release(&tests);
    xd_runview_envs_release(&envs);
    xd_runview_texts_release(&texts);
}

START_TEST(a_name_has_one_number)
{
    uint32_t a, b, c;
    ck_assert(!xd_runview_texts_find(&texts, XD_BYTES_LIT("passed"), &a));
    ck_assert_int_eq(xd_runview_texts_name(&texts, XD_BYTES_LIT("passed"), &a), 0);
    ck_assert_int_eq(xd_runview_texts_name(&texts, XD_BYTES_LIT("failed"), &b), 0);
    ck_assert_int_eq(xd_runview_texts_name(&texts, XD_BYTES_LIT("passed"), &c), 0);
    ck_assert(a == 1 && b == 2 && c == a);
    ck_assert(xd_bytes_eq_str(texts.names[b], "failed") && !texts.names[0].len);
}
END_TEST

START_TEST(a_room_grows_and_is_zeroed)
{
    uint32_t *array = NULL, cap = 0;
    ck_assert_int_eq(xd_runview_room(&array, &cap, 1, sizeof *array), 0);
    ck_assert_uint_ge(cap, 1);
    array[0] = 7;
    ck_assert_int_eq(xd_runview_room(&array, &cap, 1000, sizeof *array), 0);
    ck_assert(cap >= 1000 && array[0] == 7 && array[999] == 0);
    free(array);
}
END_TEST

START_TEST(outcomes_are_counted_once)
{
    xd_wire_RESULT passed = { .item = 1, .outcome = XD_OUT_PASSED, .attempt = 1 };
    xd_wire_RESULT beyond = { .item = 2, .outcome = XD_OUT_PASSED };
    ck_assert_int_eq(xd_runview_tests_reach(&tests, 2), 0);
    ck_assert_uint_eq(xd_runview_tests_counted(&tests, &texts, "passed"), 0);
    ck_assert_int_eq(xd_runview_tests_result(&tests, &texts, &passed, 0, 0), 0);
    ck_assert_int_eq(xd_runview_tests_result(&tests, &texts, &passed, 0, 0), XD_RUNVIEW_IGNORED);
    ck_assert_int_eq(xd_runview_tests_result(&tests, &texts, &beyond, 0, 0), -EPROTO);
    ck_assert_uint_eq(xd_runview_tests_counted(&tests, &texts, "passed"), 1);
    ck_assert(tests.ended == 1 && tests.items[1].ended == 1 && tests.items[0].outcome == 0);
}
END_TEST

/* A name that is no category, and one that was kept for something else, are both counted 0 times. */
START_TEST(what_is_no_category_is_not_counted)
{
    uint32_t letter;
    ck_assert_int_eq(xd_runview_texts_name(&texts, XD_BYTES_LIT("F"), &letter), 0);
    ck_assert_uint_eq(xd_runview_tests_counted(&tests, &texts, "F"), 0);
    ck_assert_uint_eq(xd_runview_tests_counted(&tests, &texts, "nothing"), 0);
}
END_TEST

START_TEST(a_worker_is_inside_of_a_test_until_its_result)
{
    xd_wire_STILL_RUNNING running = { .worker = 3, .item = 0, .age_ms = 1500 };
    xd_wire_RESULT        passed = { .item = 0, .outcome = XD_OUT_PASSED };
    ck_assert_int_eq(xd_runview_envs_still_running(&envs, &tests, &running), -EPROTO);
    ck_assert_int_eq(xd_runview_tests_reach(&tests, 1), 0);
    ck_assert_int_eq(xd_runview_envs_still_running(&envs, &tests, &running), 0);
    ck_assert(envs.worker_count == 4 && envs.workers[3].running == 1 && envs.workers[3].age_ms == 1500);
    ck_assert_int_eq(xd_runview_tests_result(&tests, &texts, &passed, 3, 0), 0);
    running.age_ms = 3000;
    ck_assert_int_eq(xd_runview_envs_still_running(&envs, &tests, &running), XD_RUNVIEW_IGNORED);
    ck_assert_uint_eq(envs.workers[3].age_ms, 1500);
}
END_TEST

START_TEST(a_worker_has_what_its_environment_told)
{
    xd_wire_GATEWAY_UP up = { .gateway = 1, .spec = XD_BYTES_LIT("popen"), .host = XD_BYTES_LIT("here") };
    xd_wire_WORKER_UP  worker = { .worker = 0, .replaces = XD_NO_WORKER };
    ck_assert_int_eq(xd_runview_envs_up(&envs, &texts, &up), 0);
    ck_assert(xd_bytes_eq_str(envs.hostname, "here"));
    ck_assert_int_eq(xd_runview_envs_worker_up(&envs, &worker, 1), 0);
    ck_assert(envs.workers[0].up && envs.workers[0].known && xd_bytes_eq_str(envs.workers[0].spec, "popen"));
}
END_TEST

START_TEST(workers_have_the_names_that_they_were_given)
{
    xd_autobuf           list = XD_BUF_INIT;
    xd_wire_NAMED        alpha = { .worker = 2, .name = XD_BYTES_LIT("alpha") };
    xd_wire_NAMED        bad = { .worker = 1, .name = XD_BYTES_LIT("\x1b[2J") };
    xd_wire_WORKER_NAMES in = { 0 };
    ck_assert_int_eq(xd_wire_NAMED_append(&list, &alpha), 0);
    in.workers = (xd_wire_list){ .count = 1, .ptr = list.data, .len = list.len };
    ck_assert_int_eq(xd_runview_envs_names(&envs, &in), 0);
    ck_assert_str_eq(xd_names_of(&envs.names, 2).text, "alpha");
    ck_assert_str_eq(xd_names_of(&envs.names, 0).text, "gw0");
    ck_assert_int_eq(xd_wire_NAMED_append(&list, &bad), 0);
    in.workers = (xd_wire_list){ .count = 2, .ptr = list.data, .len = list.len };
    ck_assert_int_eq(xd_runview_envs_names(&envs, &in), -EPROTO);
    ck_assert_str_eq(xd_names_of(&envs.names, 1).text, "gw1");
}
END_TEST

START_TEST(the_first_configuration_counts)
{
    xd_runview_config c = XD_RUNVIEW_CONFIG_INIT;
    xd_runview_env    env = { .python = XD_BYTES_LIT("/usr/bin/python3") };
    xd_wire_CONFIG    in = { .pytest_version = XD_BYTES_LIT("9.1.2"), .rootdir = XD_BYTES_LIT("/a") };
    ck_assert(xd_runview_config_pytest_from(&c, 99, 0)); /* unknown: the newest */
    ck_assert(!xd_runview_config_of_another(&c, 4));
    ck_assert_int_eq(xd_runview_config_take(&c, &texts, &in, &env, 2), 0);
    in.rootdir = XD_BYTES_LIT("/b");
    ck_assert_int_eq(xd_runview_config_take(&c, &texts, &in, &env, 4), XD_RUNVIEW_IGNORED);
    ck_assert(xd_bytes_eq_str(c.rootdir, "/a") && xd_bytes_eq_str(c.python, "/usr/bin/python3"));
    ck_assert(xd_runview_config_of_another(&c, 4) && !xd_runview_config_of_another(&c, 2));
    ck_assert(xd_runview_config_pytest_from(&c, 9, 1) && !xd_runview_config_pytest_from(&c, 9, 2));
    ck_assert_ptr_null(xd_runview_config_option(&c, "verbose"));
    xd_runview_config_release(&c);
}
END_TEST

/* The gateway whose list is the run's is lost in the middle of it: that of the first other one is taken instead. */
START_TEST(a_list_that_is_cut_off_is_given_up)
{
    xd_runview_collection c = XD_RUNVIEW_COLLECTION_INIT;
    xd_wire_COLLECTED     two = { .count = 2, .exit_status = -1 };
    xd_wire_COLLECTION    agreed = { .count = 2, .workers = 4 };
    xd_runview_env       *env;
    ck_assert_int_eq(xd_runview_collection_told(&c, &envs, &two, 0, true), 0);
    ck_assert_int_eq(xd_runview_collection_told(&c, &envs, &two, 1, false), XD_RUNVIEW_IGNORED);
    ck_assert_uint_eq(c.gateway, 0);
    ck_assert_int_eq(xd_runview_tests_reach(&tests, 1), 0);
    ck_assert_int_eq(xd_runview_collection_agree(&c, &tests, &envs, &agreed), -EPROTO);
    ck_assert_int_eq(xd_runview_envs_at(&envs, 0, &env), 0);
    env->down = 1;
    xd_runview_collection_lost(&c, &tests, &envs, 0);
    ck_assert(c.gateway == 1 && tests.count == 0);
    ck_assert_int_eq(xd_runview_tests_reach(&tests, 2), 0);
    ck_assert_int_eq(xd_runview_collection_agree(&c, &tests, &envs, &agreed), 0);
    ck_assert_int_eq(xd_runview_collection_agree(&c, &tests, &envs, &agreed), XD_RUNVIEW_IGNORED);
    ck_assert(c.agreed && c.collected == 2 && c.workers == 4);
    xd_runview_collection_lost(&c, &tests, &envs, 1);
    ck_assert_uint_eq(tests.count, 2);
}
END_TEST

START_TEST(records_are_found_again_in_order)
{
    xd_runview_notes n = { 0 };
    for (uint64_t i = 0; i < 100; i++)
        ck_assert_int_eq(xd_runview_refs_add(&n.warnings, (xd_runview_ref){ .offset = i }), 0);
    ck_assert(n.warnings.count == 100 && n.warnings.at[99].offset == 99 && n.downs.count == 0);
    xd_runview_notes_release(&n);
    ck_assert_ptr_null(n.warnings.at);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("runview parts");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_name_has_one_number);
    tcase_add_test(t, a_room_grows_and_is_zeroed);
    tcase_add_test(t, outcomes_are_counted_once);
    tcase_add_test(t, what_is_no_category_is_not_counted);
    tcase_add_test(t, a_worker_is_inside_of_a_test_until_its_result);
    tcase_add_test(t, a_worker_has_what_its_environment_told);
    tcase_add_test(t, workers_have_the_names_that_they_were_given);
    tcase_add_test(t, the_first_configuration_counts);
    tcase_add_test(t, a_list_that_is_cut_off_is_given_up);
    tcase_add_test(t, records_are_found_again_in_order);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
