/* faults: engine/base/page.c */
/* The failures of a slot's former worker on their way to failures_elsewhere: whoever adds up meanwhile, in the
 * adapter's order, never counts one twice. */
#include <check.h>
#include <string.h>

#include "engine/base/fault.h"
#include "engine/base/page.h"

static xd_page  page;
static uint32_t seen;

static uint32_t sum(void)
{
    uint32_t n = page.head->failures_elsewhere;
    for (uint32_t i = 0; i < 2; i++)
        n += page.slot[i].failures;
    return n;
}

void xd_fault(const char *site)
{
    ck_assert_str_eq(site, "page: between slot and elsewhere");
    seen = sum();
}

START_TEST(no_failure_counts_twice)
{
    ck_assert_int_eq(xd_page_create(&page, 2), 0);
    page.head->failures_elsewhere = 1;
    page.slot[0].failures = 2;
    page.slot[1].failures = 4;
    seen = UINT32_MAX;
    xd_page_move_failures(&page, 1);
    ck_assert_uint_le(seen, 7);
    ck_assert_uint_eq(sum(), 7);
    ck_assert_uint_eq(page.head->failures_elsewhere, 5);
    ck_assert_uint_eq(page.slot[1].failures, 0);
    xd_page_release(&page);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("page_race");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, no_failure_counts_twice);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
