/* needs: engine actors gateways runners */
#include "actors/columns.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    size_t      columns;
} widths[] = {
    { "", 0 },
    { "abc", 3 },
    { "\u4e2d\u6587", 4 },               /* wide */
    { "\uff21", 2 },                     /* full width A */
    { "\uff71", 1 },                     /* half width katakana */
    { "e\u0301", 1 },                    /* a letter and its accent */
    { "a\u0300\u0301\u0302b", 2 },       /* marks on marks */
    { "\u0e01\u0e33", 2 },               /* Thai */
    { "\U0001f600", 2 },                 /* an emoji */
    { "\U0001f9ff\U0001fa80", 4 },       /* newer ones */
    { "\u2764", 1 },                     /* a heart as text */
    { "\u2764\ufe0f", 2 },               /* and as an emoji */
    { "\U0001f600\ufe0f", 2 },           /* already one */
    { "\U0001f44d\U0001f3fd", 4 },       /* a skin tone, where it is not joined */
    { "\U0001f469\u200d\U0001f4bb", 4 }, /* joined by a joiner without width */
    { "\U0001f1e9\U0001f1ea", 2 },       /* a flag */
    { "a\u200bb\u2060c", 3 },            /* characters without width */
    { "\u00b1\u2260\u03b1", 3 },         /* ambiguous: narrow, as in pytest */
    { "\xff\xfe", 2 },                   /* not UTF-8 */
    { "0123456789abcdefe\u0301", 17 },   /* the last one of many is joined */
    { "0123456789\u4e2d0123456789", 22 },
    { "0123456789#\ufe0f0123456789", 22 }, /* drawn as an emoji */
};

START_TEST(width)
{
    ck_assert_msg(xd_columns(xd_bytes_str(widths[_i].text)) == widths[_i].columns, "'%s': %zu",
                  widths[_i].text, xd_columns(xd_bytes_str(widths[_i].text)));
}
END_TEST

static const struct {
    const char *text;
    size_t      most, front;
} fronts[] = {
    { "abcdef", 3, 3 },
    { "abcdef", 9, 6 },
    { "abc", 0, 0 },
    { "\u4e2d\u6587", 3, 3 },                 /* half of a wide one is not shown */
    { "ae\u0301x", 2, 1 },                    /* the accent is a character, too: pytest's own limit */
    { "ae\u0301x", 3, 4 },                    /* a letter stays with its accent */
    { "x\U0001f469\u200d\U0001f4bby", 4, 1 }, /* what is joined goes as one */
    { "x\U0001f469\u200d\U0001f4bby", 5, 12 },
    { "x\U0001f44d\U0001f3fdy", 3, 1 },
    { "\u2764\ufe0fx", 1, 0 },
    { "\xff\xfe\xfd", 2, 2 },
};

START_TEST(front)
{
    size_t got = xd_columns_front(xd_bytes_str(fronts[_i].text), fronts[_i].most);
    ck_assert_msg(got == fronts[_i].front, "'%s' in %zu: %zu", fronts[_i].text, fronts[_i].most, got);
}
END_TEST

/* Any bytes: a front is no wider than it may be, and never longer than the text. */
START_TEST(any_bytes)
{
    srand(7);
    for (int n = 0; n < 20000; n++) {
        uint8_t text[24];
        size_t  len = (size_t)rand() % sizeof text, most = (size_t)rand() % 12;
        for (size_t i = 0; i < len; i++)
            text[i] = (uint8_t)rand();
        xd_bytes all = { text, len };
        size_t   got = xd_columns_front(all, most);
        ck_assert_uint_le(got, len);
        ck_assert_uint_le(xd_columns((xd_bytes){ text, got }), most);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("columns");
    TCase *c = tcase_create("columns");
    tcase_add_loop_test(c, width, 0, (int)XD_ARRAY_LEN(widths));
    tcase_add_loop_test(c, front, 0, (int)XD_ARRAY_LEN(fronts));
    tcase_add_test(c, any_bytes);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
