/* needs: engine actors gateways runners */
#include <check.h>
#include <stdlib.h>

#include "actors/exit_code.h"
#include "engine/xd.h"

/* Every combination of the facts, with few and many items. */
START_TEST(green_means_that_all_was_run)
{
    static const int      codes[] = { -1, 0, 1, 2, 3, 4, 5, 6, 7, 77 };
    static const uint32_t counts[] = { 0, 1, 2, 100000 };
    uint32_t              greens = 0;
    for (size_t c = 0; c < sizeof(codes) / sizeof(*codes); c++)
        for (size_t n = 0; n < sizeof(counts) / sizeof(*counts); n++)
            for (size_t k = 0; k <= n; k++)
                for (unsigned bits = 0; bits < 64; bits++) {
                    xd_exit_facts f = { .forced = codes[c],
                                        .collected = counts[n],
                                        .recorded = counts[k],
                                        .zero_asked = bits & 1,
                                        .agreed = bits & 2,
                                        .failures = bits & 4,
                                        .collect_errors = bits & 8,
                                        .bad_end = bits & 16,
                                        .too_many_warnings = bits & 32 };
                    int           code = xd_exit_code(&f);
                    if (f.forced > 0)
                        ck_assert_int_eq(code, f.forced % 256 ? f.forced : XD_EXIT_INCOMPLETE);
                    ck_assert(code % 256 != 0 || code == 0); /* what a shell sees */
                    if (code != XD_EXIT_OK || (f.forced == 0 && f.zero_asked))
                        continue;
                    greens++;
                    ck_assert(f.agreed && f.collected > 0 && f.recorded == f.collected);
                    ck_assert(!f.failures && !f.collect_errors && !f.bad_end && !f.too_many_warnings);
                    ck_assert_int_eq(f.forced, -1);
                }
    ck_assert_uint_gt(greens, 0);
}
END_TEST

/* --dist each: the worst of all environments; 5 only where none has tests. */
START_TEST(the_worse_of_two)
{
    static const int worst_first[] = { 3, 6, 7, 4, 2, 77, 1, 0, 5 };
    for (size_t i = 0; i < sizeof(worst_first) / sizeof(*worst_first); i++)
        for (size_t k = i; k < sizeof(worst_first) / sizeof(*worst_first); k++) {
            ck_assert_int_eq(xd_exit_worse(worst_first[i], worst_first[k]), worst_first[i]);
            ck_assert_int_eq(xd_exit_worse(worst_first[k], worst_first[i]), worst_first[i]);
        }
}
END_TEST

START_TEST(codes)
{
    static const struct {
        xd_exit_facts facts;
        int           code;
    } cases[] = {
        { { .forced = -1, .agreed = true, .collected = 3, .recorded = 3 }, XD_EXIT_OK },
        { { .forced = -1, .agreed = true, .collected = 3, .recorded = 2 }, XD_EXIT_INCOMPLETE },
        { { .forced = -1, .agreed = true, .collected = 3, .recorded = 2, .failures = 1 }, XD_EXIT_FAILED },
        { { .forced = -1, .agreed = true, .collected = 3, .recorded = 3, .bad_end = true }, XD_EXIT_FAILED },
        { { .forced = -1, .agreed = true }, XD_EXIT_NO_TESTS },
        { { .forced = -1 }, XD_EXIT_INFRASTRUCTURE },
        { { .forced = -1, .agreed = true, .collected = 1, .recorded = 1, .too_many_warnings = true },
          XD_EXIT_MAX_WARNINGS },
        { { .forced = 256 }, XD_EXIT_INCOMPLETE },
        { { .forced = 0 }, XD_EXIT_INCOMPLETE },
        { { .forced = 0, .agreed = true, .collected = 3, .recorded = 1 }, XD_EXIT_INCOMPLETE },
        { { .forced = 0, .zero_asked = true, .agreed = true, .collected = 3, .recorded = 1 }, XD_EXIT_OK },
        { { .forced = XD_EXIT_INTERRUPTED, .agreed = true, .collected = 3, .recorded = 3 },
          XD_EXIT_INTERRUPTED },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        ck_assert_int_eq(xd_exit_code(&cases[i].facts), cases[i].code);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("exit_code");
    TCase   *c = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(c, green_means_that_all_was_run);
    tcase_add_test(c, codes);
    tcase_add_test(c, the_worse_of_two);
    suite_add_tcase(s, c);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
