#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "tests/unit/often.h"

START_TEST(empty_is_valid)
{
    xd_buf b = XD_BUF_INIT;
    ck_assert_str_eq(xd_buf_cstr(&b), "");
    ck_assert_uint_eq(xd_buf_view(&b).len, 0);
    ck_assert_int_eq(xd_buf_add(&b, NULL, 0), 0);
    xd_buf_consume(&b, 7);
    xd_buf_release(&b);
    xd_buf_release(&b);
    ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(appends)
{
    xd_autobuf b = XD_BUF_INIT;
    ck_assert_int_eq(xd_buf_add_str(&b, "one"), 0);
    ck_assert_int_eq(xd_buf_add_byte(&b, ' '), 0);
    ck_assert_int_eq(xd_buf_add_bytes(&b, XD_BYTES_LIT("two")), 0);
    ck_assert_int_eq(xd_buf_fill(&b, '.', 3), 0);
    ck_assert_int_eq(xd_buf_printf(&b, "%d-%s", 42, "x"), 0);
    ck_assert_str_eq(xd_buf_cstr(&b), "one two...42-x");
    ck_assert_uint_eq(b.len, 14);
}
END_TEST

/* Each size around the growth steps: what was there stays, and printf's NUL is not counted. */
START_TEST(grows)
{
    xd_autobuf b = XD_BUF_INIT;
    for (unsigned i = 0; i < 5000; i++) {
        often_assert_uint_eq(b.len, i);
        often_assert_int_eq(
            i % 3 ? xd_buf_add_byte(&b, (uint8_t)i) : xd_buf_printf(&b, "%c", (int)(i & 0x7f) | 1), 0);
        often_assert(b.len <= b.cap);
    }
    for (unsigned i = 0; i < 5000; i++)
        often_assert_uint_eq(b.data[i], i % 3 ? (uint8_t)i : ((i & 0x7f) | 1));
}
END_TEST

/* Many small additions move the whole only now and then. */
START_TEST(grows_by_more_than_it_needs)
{
    xd_autobuf b = XD_BUF_INIT;
    unsigned   moves = 0;
    for (unsigned i = 0; i < 100000; i++) {
        size_t cap = b.cap;
        often_assert_int_eq(xd_buf_add(&b, "abc", 3), 0);
        moves += b.cap != cap;
    }
    ck_assert_uint_lt(moves, 30);
    ck_assert_uint_le(b.cap, 2 * b.len);
}
END_TEST

START_TEST(cannot_overflow)
{
    xd_autobuf b = XD_BUF_INIT;
    ck_assert_int_eq(xd_buf_add_str(&b, "kept"), 0);
    ck_assert_int_eq(xd_buf_reserve(&b, SIZE_MAX - 1), -ENOMEM);
    ck_assert_int_eq(xd_buf_reserve(&b, SIZE_MAX / 2 + 1), -ENOMEM);
    ck_assert_str_eq(xd_buf_cstr(&b), "kept");
}
END_TEST

START_TEST(consumes)
{
    xd_autobuf b = XD_BUF_INIT;
    ck_assert_int_eq(xd_buf_add_str(&b, "headtail"), 0);
    xd_buf_consume(&b, 4);
    ck_assert_str_eq(xd_buf_cstr(&b), "tail");
    xd_buf_consume(&b, 4);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_int_eq(xd_buf_add_str(&b, "again"), 0);
    xd_buf_consume(&b, 100);
    ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(views)
{
    const uint8_t with_nul[] = { 'a', 0, 'b' };
    xd_bytes      v = { with_nul, sizeof(with_nul) };
    ck_assert_uint_eq(xd_bytes_str(NULL).len, 0);
    ck_assert(xd_bytes_eq(xd_bytes_str(NULL), XD_BYTES_LIT("")));
    ck_assert(xd_bytes_eq_str(XD_BYTES_LIT("abc"), "abc"));
    ck_assert(!xd_bytes_eq_str(XD_BYTES_LIT("abc"), "abd"));
    ck_assert(!xd_bytes_eq_str(XD_BYTES_LIT("abc"), "ab"));
    ck_assert(!xd_bytes_eq_str(v, "a"));
    xd_autofree char *copy = xd_bytes_dup(v);
    ck_assert_int_eq(memcmp(copy, "a\0b", 4), 0);
    xd_autofree char *none = xd_bytes_dup((xd_bytes){ 0 });
    ck_assert_str_eq(none, "");
}
END_TEST

START_TEST(finding)
{
    xd_bytes v = XD_BYTES_LIT("a::b::c");
    ck_assert_ptr_eq(xd_bytes_find(v, "::"), v.ptr + 1);
    ck_assert_ptr_eq(xd_bytes_find(v, "c"), v.ptr + 6);
    ck_assert_ptr_null(xd_bytes_find(v, "["));
    ck_assert_ptr_null(xd_bytes_find((xd_bytes){ v.ptr, 2 }, "::"));
    ck_assert_ptr_null(xd_bytes_find((xd_bytes){ 0 }, "::")); /* UBSan would tell */
    ck_assert_ptr_null(xd_bytes_find((xd_bytes){ 0 }, "["));
}
END_TEST

START_TEST(ownership_helpers)
{
    char *p = strdup("mine");
    char *q = xd_take(&p);
    ck_assert_ptr_null(p);
    ck_assert_str_eq(q, "mine");
    free(q);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("buf");
    TCase *c = tcase_create("buf");
    tcase_add_test(c, empty_is_valid);
    tcase_add_test(c, appends);
    tcase_add_test(c, grows);
    tcase_add_test(c, grows_by_more_than_it_needs);
    tcase_add_test(c, cannot_overflow);
    tcase_add_test(c, consumes);
    tcase_add_test(c, views);
    tcase_add_test(c, finding);
    tcase_add_test(c, ownership_helpers);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
