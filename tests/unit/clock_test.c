#include <check.h>
#include <time.h>

#include "engine/base/clock.h"

START_TEST(monotonic)
{
    uint64_t last = xd_clock_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = xd_clock_ns();
        ck_assert_uint_ge(now, last);
        last = now;
    }
}
END_TEST

START_TEST(units)
{
    uint64_t        start = xd_clock_ns(), cpu = xd_clock_cpu_us();
    struct timespec t = { .tv_nsec = 30000000 };
    nanosleep(&t, NULL);
    uint64_t slept = xd_clock_ns() - start;
    ck_assert_uint_ge(slept, 30 * XD_MS_NS);
    ck_assert_uint_lt(slept, 30 * XD_S_NS);
    ck_assert_uint_lt(xd_clock_cpu_us() - cpu, slept / 1000);
    uint64_t seconds = (uint64_t)time(NULL);
    ck_assert_uint_ge(xd_clock_wall_us() / 1000000 + 2, seconds);
    ck_assert_uint_le(xd_clock_wall_us() / 1000000, seconds + 2);
}
END_TEST

START_TEST(cpu_is_counted)
{
    uint64_t          cpu = xd_clock_cpu_us(), limit = xd_clock_ns() + 20 * XD_S_NS;
    volatile unsigned work = 0;
    while (xd_clock_cpu_us() - cpu < 5000 && xd_clock_ns() < limit)
        work++;
    ck_assert_uint_ge(xd_clock_cpu_us() - cpu, 5000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("clock");
    TCase *c = tcase_create("clock");
    tcase_set_timeout(c, 30);
    tcase_add_test(c, monotonic);
    tcase_add_test(c, units);
    tcase_add_test(c, cpu_is_counted);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
