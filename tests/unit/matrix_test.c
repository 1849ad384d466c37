/* needs: actors */
/* Item x environment: rows, cells, what differs. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/matrix.h"
#include "engine/wire.h"
#include "tests/unit/often.h"

#define MOST 8
#define ID(text)                                  \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }
static xd_matrix m;

/* The matrix as text: a line for each row, a letter for each cell. */
static void shows(const char *expected)
{
    static const char letters[] = "?.FsxXECTL!";
    xd_autobuf        out = XD_BUF_INIT;
    uint32_t          differ = 0;
    for (uint32_t r = 0; r < m.rows; r++) {
        for (uint32_t c = 0; c < m.columns; c++) {
            const uint8_t cell = xd_matrix_cell(&m, r, c);
            ck_assert_int_eq(xd_buf_add_byte(&out, cell == XD_MATRIX_ABSENT ? '-' : (uint8_t)letters[cell]),
                             0);
        }
        differ += xd_matrix_differs(&m, r);
        ck_assert_int_eq(xd_buf_printf(&out, " %.*s%s\n", (int)m.ids[r].len, (const char *)m.ids[r].ptr,
                                       xd_matrix_fails(&m, r) ? " !" : ""),
                         0);
    }
    ck_assert_uint_eq(differ, m.differ);
    ck_assert_str_eq(xd_buf_cstr(&out), expected);
}

static void made(const xd_matrix_column *columns, uint32_t count)
{
    ck_assert_int_eq(xd_matrix_make(&m, columns, count), 0);
}

START_TEST(what_is_not_the_same)
{
    const xd_matrix_item a[] = { { ID("t::same"), XD_OUT_PASSED },
                                 { ID("t::fails"), XD_OUT_PASSED },
                                 { ID("t::a"), XD_OUT_SKIPPED },
                                 { ID("t::both"), XD_OUT_FAILED } },
                         b[] = { { ID("t::b"), XD_OUT_PASSED },
                                 { ID("t::both"), XD_OUT_FAILED },
                                 { ID("t::fails"), XD_OUT_CRASHED },
                                 { ID("t::same"), XD_OUT_PASSED } };
    made((xd_matrix_column[]){ { a, 4 }, { b, 4 } }, 2);
    shows(".. t::same\n.C t::fails !\ns- t::a\nFF t::both !\n-. t::b\n");
    ck_assert_uint_eq(m.differ, 3);
    xd_matrix_release(&m);
}
END_TEST

/* No outcome is an outcome of its own; an environment that has none yet has them all not run. */
START_TEST(what_was_not_run)
{
    const xd_matrix_item a[] = { { ID("x"), XD_OUT_PASSED }, { ID("y"), 0 } },
                         b[] = { { ID("x"), 0 }, { ID("y"), XD_OUT_NOT_RUN } };
    made((xd_matrix_column[]){ { a, 2 }, { b, 2 }, { NULL, 0 } }, 3);
    shows(".!- x !\n!!- y !\n");
    xd_matrix_release(&m);
    made((xd_matrix_column[]){ { a, 2 } }, 1);
    shows(". x\n! y !\n");
    ck_assert_uint_eq(m.differ, 0);
    xd_matrix_release(&m);
    made(NULL, 0);
    shows("");
    xd_matrix_release(&m);
}
END_TEST

/* The n-th one of a name stands beside the n-th one of the others. */
START_TEST(tests_of_one_name)
{
    const xd_matrix_item a[] = { { ID("x"), XD_OUT_PASSED },
                                 { ID("x"), XD_OUT_FAILED },
                                 { ID("y"), XD_OUT_PASSED } },
                         b[] = { { ID("x"), XD_OUT_PASSED },
                                 { ID("y"), XD_OUT_PASSED },
                                 { ID("x"), XD_OUT_PASSED },
                                 { ID("x"), XD_OUT_XFAILED },
                                 { ID("y"), XD_OUT_ERROR } },
                         c[] = { { ID("x"), XD_OUT_SKIPPED } };
    made((xd_matrix_column[]){ { a, 3 }, { b, 5 }, { c, 1 } }, 3);
    shows("..s x\nF.- x !\n..- y\n-x- x\n-E- y !\n");
    xd_matrix_release(&m);
    /* many of them cost no more than others */
    xd_matrix_item *many = calloc(300000, sizeof(*many));
    ck_assert_ptr_nonnull(many);
    for (uint32_t i = 0; i < 300000; i++)
        many[i] = (xd_matrix_item){ ID("same"), XD_OUT_PASSED };
    made((xd_matrix_column[]){ { many, 300000 }, { many, 299999 } }, 2);
    ck_assert_uint_eq(m.rows, 300000);
    ck_assert_uint_eq(m.differ, 1);
    xd_matrix_release(&m);
    free(many);
}
END_TEST

/* The same, found without a table. */
START_TEST(as_found_by_looking)
{
    srand(1);
    for (unsigned round = 0; round < 2000; round++) {
        xd_matrix_item   items[MOST][12];
        xd_matrix_column columns[MOST];
        char             names[6][4];
        const uint32_t   n = 1 + (uint32_t)rand() % 4;
        for (unsigned k = 0; k < 6; k++)
            snprintf(names[k], sizeof names[k], "n%u", k);
        for (uint32_t c = 0; c < n; c++) {
            columns[c] = (xd_matrix_column){ items[c], (uint32_t)rand() % 12 };
            for (uint32_t i = 0; i < columns[c].count; i++)
                items[c][i] = (xd_matrix_item){ xd_bytes_str(names[rand() % 6]), (uint8_t)(1 + rand() % 10) };
        }
        made(columns, n);
        for (unsigned k = 0; k < 6; k++)
            for (uint32_t c = 0; c < n; c++) {
                uint32_t row = 0;
                for (uint32_t i = 0; i < columns[c].count; i++) {
                    if (!xd_bytes_eq_str(items[c][i].id, names[k]))
                        continue;
                    while (row < m.rows && !xd_bytes_eq_str(m.ids[row], names[k]))
                        row++;
                    often_assert(row < m.rows && xd_matrix_cell(&m, row, c) == items[c][i].outcome);
                    row++;
                }
                for (; row < m.rows; row++)
                    if (xd_bytes_eq_str(m.ids[row], names[k]))
                        often_assert(xd_matrix_cell(&m, row, c) == XD_MATRIX_ABSENT);
            }
        xd_matrix_release(&m);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("matrix");
    TCase *c = tcase_create("matrix");
    tcase_add_test(c, what_is_not_the_same);
    tcase_add_test(c, what_was_not_run);
    tcase_add_test(c, tests_of_one_name);
    tcase_add_test(c, as_found_by_looking);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
