/* engine/check.c: what an agent may say, and when. */
#include "engine/check.h"

#include <check.h>
#include <string.h>
#include <stdlib.h>
#include <xxhash.h>

#include "engine/base/clock.h"

static xd_check *c;

static void setup(void)
{
    ck_assert_int_eq(xd_check_new(&c, 8, 1000), 0);
}

static void teardown(void)
{
    c = xd_check_free(c);
}

static int frame(uint16_t type, const xd_buf *whole, int (*fn)(xd_check *, const xd_frame *))
{
    xd_frame f;
    ck_assert_int_eq(xd_wire_header(whole->data, &f), 0);
    ck_assert_uint_eq(f.type, type);
    return fn(c, &f);
}

#define MAKE(fn, NAME, ...)                                                                       \
    __extension__({                                                                               \
        xd_autobuf b_ = XD_BUF_INIT;                                                              \
        ck_assert_int_eq(xd_wire_##NAME##_frame(&b_, 0, 1, &(xd_wire_##NAME){ __VA_ARGS__ }), 0); \
        frame(XD_MSG_##NAME, &b_, fn);                                                            \
    })
#define TELL(NAME, ...) ck_assert_int_eq(MAKE(xd_check_command, NAME, __VA_ARGS__), 0)
#define SAY(NAME, ...) MAKE(xd_check_frame, NAME, __VA_ARGS__)
#define GOOD(NAME, ...) ck_assert_msg(SAY(NAME, __VA_ARGS__) == 0, "%s", xd_check_why(c))
#define BAD(text, NAME, ...)                                                         \
    do {                                                                             \
        ck_assert_int_eq(SAY(NAME, __VA_ARGS__), -EPROTO);                           \
        ck_assert_msg(strstr(xd_check_why(c), text) != NULL, "%s", xd_check_why(c)); \
    } while (0)

static int results(uint16_t worker, const xd_wire_RESULT *one, uint32_t n)
{
    xd_autobuf list = XD_BUF_INIT;
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(xd_wire_RESULT_append(&list, &one[i]), 0);
    return SAY(RESULTS, .worker = worker, .results = { .count = n, .ptr = list.data, .len = list.len });
}

static int result(uint32_t item, uint16_t attempt, uint8_t flags)
{
    return results(
        4, &(xd_wire_RESULT){ .item = item, .attempt = attempt, .outcome = XD_OUT_PASSED, .flags = flags },
        1);
}

static void lease(uint32_t first, uint32_t count, uint16_t attempt)
{
    xd_autobuf list = XD_BUF_INIT;
    ck_assert_int_eq(
        xd_wire_RANGE_append(&list, &(xd_wire_RANGE){ .first = first, .count = count, .attempt = attempt }),
        0);
    TELL(LEASE, .ranges = { .count = 1, .ptr = list.data, .len = list.len });
}

static int returned(uint32_t request, uint32_t first, uint32_t count, uint16_t attempt)
{
    xd_autobuf list = XD_BUF_INIT;
    ck_assert_int_eq(
        xd_wire_RANGE_append(&list, &(xd_wire_RANGE){ .first = first, .count = count, .attempt = attempt }),
        0);
    return SAY(RETURNED, .request = request, .ranges = { .count = 1, .ptr = list.data, .len = list.len });
}

/* Workers gw4 and gw5 of eight, 100 items, the first ten leased. */
static void start(void)
{
    TELL(ENV_START, 0);
    GOOD(ENV_FACTS, 0);
    GOOD(CONFIG, 0);
    GOOD(COLLECTED, .count = 100, .exit_status = -1);
    TELL(WORKERS_START, .first = 4, .count = 2, .total = 8);
    GOOD(WORKER_UP, .worker = 4, .way = 1, .replaces = XD_NO_WORKER);
    lease(0, 10, 1);
}

START_TEST(each_frame_has_its_phases)
{
    static const unsigned phases[] = { XD_PHASE_IDLE,    XD_PHASE_COLLECTING, XD_PHASE_COLLECTED,
                                       XD_PHASE_RUNNING, XD_PHASE_DONE,       XD_PHASE_OVER };
    for (size_t p = 0; p < XD_ARRAY_LEN(phases); p++) {
        for (uint16_t type = 0; type < 128; type++) {
            teardown();
            setup();
            if (p > 0)
                TELL(ENV_START, 0);
            if (p > 1)
                GOOD(COLLECTED, .count = 1, .exit_status = -1);
            if (p > 2)
                TELL(WORKERS_START, .first = 0, .count = 1, .total = 1);
            if (p > 3) {
                TELL(FINISH, 0);
                GOOD(ENV_DONE, 0);
            }
            if (p > 4)
                GOOD(BYE, 0);
            xd_frame f = { .type = type, .seq = 1 };
            int      r = xd_check_frame(c, &f); /* of no length: no frame that may come is well formed */
            ck_assert_int_eq(r, -EPROTO);
            bool allowed = xd_wire_when(type) & phases[p];
            ck_assert_msg((strstr(xd_check_why(c), "malformed") != NULL) == allowed,
                          "type %u in phase %zu: %s", type, p, xd_check_why(c));
        }
    }
}
END_TEST

START_TEST(a_worker_is_called_by_its_name)
{
    xd_autobuf list = XD_BUF_INIT;
    ck_assert_int_eq(xd_wire_TEXT_append(&list, &(xd_wire_TEXT){ .text = XD_BYTES_LIT("") }), 0);
    ck_assert_int_eq(xd_wire_TEXT_append(&list, &(xd_wire_TEXT){ .text = XD_BYTES_LIT("alpha") }), 0);
    TELL(ENV_START, .names = { .count = 2, .ptr = list.data, .len = list.len });
    GOOD(COLLECTED, .count = 1, .exit_status = -1);
    TELL(WORKERS_START, .first = 4, .count = 2, .total = 8);
    ck_assert_int_eq(SAY(SUMMARY, .worker = 5), -EPROTO);
    ck_assert_str_eq(xd_check_why(c), "SUMMARY: worker alpha was not up");
    ck_assert_int_eq(SAY(SUMMARY, .worker = 4), -EPROTO);
    ck_assert_str_eq(xd_check_why(c), "SUMMARY: worker gw4 was not up");
}
END_TEST

/* What is kept of items lies in pages. */
START_TEST(leases_may_lie_far_apart)
{
    start();
    lease(250, 20, 1);
    lease(XD_ITEMS_MAX - 3, 3, 7);
    ck_assert_int_eq(result(255, 1, 0), 0);
    ck_assert_int_eq(result(256, 1, 0), 0);
    ck_assert_int_eq(result(269, 1, 0), 0);
    ck_assert_int_eq(result(270, 1, 0), -EPROTO);
    ck_assert_int_eq(result(249, 1, 0), -EPROTO);
    ck_assert_int_eq(result(100000, 1, 0), -EPROTO);
    ck_assert_int_eq(result(XD_ITEMS_MAX - 1, 7, 0), 0);
    ck_assert_int_eq(result(XD_ITEMS_MAX - 4, 7, 0), -EPROTO);
    ck_assert_int_eq(result(XD_ITEMS_MAX, 7, 0), -EPROTO);
    ck_assert_int_eq(result(UINT32_MAX, 7, 0), -EPROTO);
    lease(256, 1, 2);
    ck_assert_int_eq(result(256, 1, 0), -EPROTO);
    ck_assert_int_eq(result(256, 2, 0), 0);
}
END_TEST

/* The run's hosts join one after the other: so many workers are not known when the first ones start. */
START_TEST(a_replacement_has_the_number_of_a_run_that_others_join)
{
    TELL(ENV_START, 0);
    GOOD(COLLECTED, .count = 1, .exit_status = -1);
    TELL(WORKERS_START, .first = 4, .count = 2, .total = 7, .stride = 4096);
    GOOD(WORKER_UP, .worker = 5, .way = 1, .replaces = XD_NO_WORKER);
    GOOD(WORKER_DOWN, .worker = 5, .item = XD_NO_INDEX);
    GOOD(WORKER_UP, .worker = 5 + 4096, .way = 1, .replaces = 5);
    BAD("worker gw11 is none", WORKER_UP, .worker = 4 + 7, .way = 1, .replaces = XD_NO_WORKER);
    BAD("none of this environment", WORKER_UP, .worker = 6 + 4096, .way = 1, .replaces = XD_NO_WORKER);
}
END_TEST

START_TEST(an_agent_says_what_it_is_asked)
{
    start();
    ck_assert_int_eq(result(0, 1, 0), 0);
    ck_assert_int_eq(result(1, 1, XD_RES_OPEN), 0);
    ck_assert_int_eq(result(1, 1, XD_RES_CLOSES), 0);
    GOOD(REPORT, .item = 2, .attempt = 1, .worker = 4);
    GOOD(REPORT, .item = XD_NO_INDEX);
    TELL(TAKE_BACK, .request = 3, .count = 5);
    ck_assert_int_eq(returned(3, 5, 5, 1), 0);
    lease(5, 2, 2);
    ck_assert_int_eq(result(5, 2, 0), 0);
    GOOD(WORKER_DOWN, .worker = 4, .item = 2, .will_restart = 1);
    GOOD(WORKER_UP, .worker = 12, .way = 2, .replaces = 4); /* gw4 of eight, again */
    GOOD(PROGRESS, 0);
    TELL(FINISH, 0);
    GOOD(ENV_DONE, 0);
    GOOD(BYE, 0);
}
END_TEST

START_TEST(a_look_at_its_host)
{
    BAD("nobody asked for it", HOST_CHECKED, .failed = 0);
    TELL(CHECK, .start = { 0 });
    BAD("failed is out of range", HOST_CHECKED, .failed = 5);
    BAD("listed is out of range", HOST_CHECKED, .listed = 2);
    GOOD(HOST_CHECKED, .failed = XD_LOOK_DISK, .listed = 1);
    BAD("nobody asked for it", HOST_CHECKED, .failed = 0);
    TELL(CHECK, .start = { 0 });
    TELL(ENV_START, .flags = 0);
    BAD("while it collects", HOST_CHECKED, .failed = 0);
}
END_TEST

START_TEST(only_what_is_leased_has_an_outcome)
{
    start();
    ck_assert_int_eq(result(10, 1, 0), -EPROTO);
    ck_assert_str_eq(xd_check_why(c), "RESULTS: item 10 is not leased to it (attempt 1)");
    ck_assert_int_eq(result(XD_NO_INDEX, 1, 0), -EPROTO);
    ck_assert_int_eq(result(0, 2, 0), -EPROTO);
    ck_assert_int_eq(result(0, 1, XD_RES_CLOSES), -EPROTO);
    ck_assert_int_eq(result(0, 1, 0), 0);
    ck_assert_int_eq(result(0, 1, 0), -EPROTO);
    ck_assert_str_eq(xd_check_why(c), "RESULTS: item 0 has its outcome");
    ck_assert_int_eq(returned(0, 0, 1, 1), -EPROTO);
    ck_assert_int_eq(returned(0, 9, XD_NO_INDEX, 1), -EPROTO);
    ck_assert_int_eq(returned(1, 8, 1, 1), -EPROTO); /* nobody asked */
    ck_assert_int_eq(returned(0, 1, 1, 1), 0);
    ck_assert_int_eq(result(1, 1, 0), -EPROTO);
    BAD("is not leased", REPORT, .item = 1, .attempt = 1, .worker = 4);
    BAD("is not leased", REPORT, .item = 50, .attempt = 1, .worker = 4);
    BAD("never leased", WORKER_DOWN, .worker = 4, .item = 50);
}
END_TEST

START_TEST(workers_are_those_it_was_told)
{
    start();
    xd_wire_RESULT one = { .item = 0, .attempt = 1, .outcome = 1 };
    ck_assert_int_eq(results(3, &one, 1), -EPROTO);
    ck_assert_int_eq(results(5, &one, 1), -EPROTO);
    ck_assert_str_eq(xd_check_why(c), "RESULTS: worker gw5 was not up");
    BAD("none of this", WORKER_UP, .worker = 0, .way = 1, .replaces = XD_NO_WORKER);
    BAD("was up before", WORKER_UP, .worker = 4, .way = 1, .replaces = XD_NO_WORKER);
    BAD("none of this", WORKER_UP, .worker = XD_NO_WORKER, .way = 1, .replaces = XD_NO_WORKER);
    BAD("none of this", OUTPUT, .worker = 0, .stream = 1, .item = XD_NO_INDEX);
}
END_TEST

START_TEST(numbers_have_ranges)
{
    start();
    for (unsigned outcome = 0; outcome < 256; outcome++) {
        xd_wire_RESULT one = { .item = 50, .attempt = 1, .outcome = (uint8_t)outcome };
        ck_assert_int_eq(results(4, &one, 1), -EPROTO); /* not leased, but the range is looked at first */
        ck_assert_int_eq(strstr(xd_check_why(c), "outcome") != NULL, outcome == 0 || outcome > 10);
    }
    BAD("exit_status is out of range", ENV_FAILED, .exit_status = 0);
    BAD("exit_status is out of range", ENV_FAILED, .exit_status = 256);
    BAD("exit_status is out of range", ENV_FAILED, .exit_status = INT32_MIN);
    BAD("level is out of range", AGENT_NOTE, .level = 5);
    GOOD(ENV_FAILED, .exit_status = 4);
    BAD("second time", ENV_FAILED, .exit_status = 4);
}
END_TEST

START_TEST(the_list_is_that_of_the_digest)
{
    xd_autobuf        ids = XD_BUF_INIT;
    static const char names[] = "a::x\0a::y"; /* with the NUL behind the last */
    XXH128_hash_t     d = XXH3_128bits(names, sizeof(names));
    for (int lie = 0; lie < 2; lie++) {
        teardown();
        setup();
        TELL(ENV_START, 0);
        GOOD(COLLECTED, .count = 2, .exit_status = -1, .digest_lo = d.low64 + (unsigned)lie,
             .digest_hi = d.high64);
        xd_buf_clear(&ids);
        ck_assert_int_eq(xd_wire_NODEID_append(&ids, &(xd_wire_NODEID){ .id = XD_BYTES_LIT("a::x") }), 0);
        ck_assert_int_eq(
            xd_wire_NODEID_append(&ids, &(xd_wire_NODEID){ .shared = 3, .id = XD_BYTES_LIT("y") }), 0);
        xd_wire_list list = { .count = 2, .ptr = ids.data, .len = ids.len };
        BAD("nobody asked", COLLECT_IDS, .ids = list);
        TELL(SEND_LIST, 0);
        BAD("0 items", COLLECT_IDS, 0);
        BAD("2 items from 1 on", COLLECT_IDS, .first = 1, .ids = list);
        if (lie)
            BAD("digest", COLLECT_IDS, .ids = list);
        else
            GOOD(COLLECT_IDS, .ids = list);
        BAD("complete", COLLECT_IDS, .ids = list);
    }
}
END_TEST

START_TEST(credit_is_counted)
{
    xd_frame f = { .len = 4, .type = XD_MSG_OUTPUT };
    for (f.seq = 1; !xd_check_full(c); f.seq++)
        xd_check_passed(c, &f);
    ck_assert_uint_ge(f.seq, 16); /* twice the window, at least */
    ck_assert_uint_le(f.seq, 200);
    xd_check_acked(c, f.seq - 1);
    ck_assert(!xd_check_full(c));
    f.len = 4000; /* more bytes than twice the window: one frame is always allowed */
    xd_check_passed(c, &f);
    ck_assert(xd_check_full(c));
    xd_check_acked(c, UINT64_MAX);
    ck_assert(!xd_check_full(c));
}
END_TEST

START_TEST(loose_frames_have_a_rate)
{
    xd_frame f = { .type = XD_MSG_PROGRESS };
    uint64_t now = XD_S_NS;
    for (int i = 0; i < 36000; i++, now += XD_S_NS / 10) /* an hour of ten a second */
        ck_assert_int_eq(xd_check_loose(c, &f, now), 0);
    int n = 0;
    while (xd_check_loose(c, &f, now) == 0)
        ck_assert_int_lt(n++, 10000);
    ck_assert_ptr_nonnull(strstr(xd_check_why(c), "PROGRESS: a flood"));
    ck_assert_int_eq(xd_check_loose(c, &f, now + XD_S_NS), 0);
}
END_TEST

START_TEST(replacements_lie_apart_where_others_may_join)
{
    TELL(ENV_START, 0);
    GOOD(COLLECTED, .count = 1, .exit_status = -1);
    TELL(WORKERS_START, .first = 1, .count = 1, .total = 3, .stride = 4096);
    GOOD(WORKER_UP, .worker = 1, .way = 1, .replaces = XD_NO_WORKER);
    GOOD(WORKER_UP, .worker = 4097, .way = 2, .replaces = 1);
    BAD("none of this environment", WORKER_UP, .worker = 4, .way = 2, .replaces = 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("check");
    TCase *t = tcase_create("check");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, each_frame_has_its_phases);
    tcase_add_test(t, a_worker_is_called_by_its_name);
    tcase_add_test(t, leases_may_lie_far_apart);
    tcase_add_test(t, a_replacement_has_the_number_of_a_run_that_others_join);
    tcase_add_test(t, an_agent_says_what_it_is_asked);
    tcase_add_test(t, a_look_at_its_host);
    tcase_add_test(t, only_what_is_leased_has_an_outcome);
    tcase_add_test(t, workers_are_those_it_was_told);
    tcase_add_test(t, numbers_have_ranges);
    tcase_add_test(t, the_list_is_that_of_the_digest);
    tcase_add_test(t, credit_is_counted);
    tcase_add_test(t, loose_frames_have_a_rate);
    tcase_add_test(t, replacements_lie_apart_where_others_may_join);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
