#include <check.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/arena.h"

START_TEST(many_ids_stay)
{
    xd_arena a = XD_ARENA_INIT;
    xd_bytes got[3000];
    char     text[80];
    for (unsigned i = 0; i < 3000; i++) {
        int n = snprintf(text, sizeof(text), "tests/test_module_%u.py::TestClass::test_%u", i / 10, i);
        ck_assert_int_eq(xd_arena_bytes(&a, (xd_bytes){ (uint8_t *)text, (size_t)n }, &got[i]), 0);
    }
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "tests/test_module_%u.py::TestClass::test_%u", i / 10, i);
        ck_assert_str_eq((const char *)got[i].ptr, text);
        ck_assert_uint_eq(got[i].len, strlen(text));
    }
    xd_arena_release(&a);
    ck_assert_uint_eq(a.total, 0);
}
END_TEST

START_TEST(alignment)
{
    xd_arena a = XD_ARENA_INIT;
    for (size_t align = 1; align <= 16; align *= 2)
        for (int i = 0; i < 50; i++) {
            ck_assert_ptr_nonnull(xd_arena_alloc(&a, 1, 1));
            void *p = xd_arena_alloc(&a, 24, align);
            ck_assert_uint_eq((uintptr_t)p % align, 0);
            memset(p, 0xaa, 24);
        }
    xd_arena_release(&a);
}
END_TEST

/* A block larger than a chunk gets its own, and the chunk in use goes on being filled. */
START_TEST(big_blocks)
{
    xd_arena a = XD_ARENA_INIT;
    char    *small = xd_arena_alloc(&a, 8, 1);
    char    *big = xd_arena_alloc(&a, 1u << 20, 16);
    char    *next = xd_arena_alloc(&a, 8, 1);
    ck_assert_ptr_eq(next, small + 8);
    memset(big, 1, 1u << 20);
    ck_assert_uint_eq(a.total < (1u << 20) + (200u << 10), 1);
    xd_arena_release(&a);
}
END_TEST

START_TEST(big_block_first)
{
    xd_arena a = XD_ARENA_INIT;
    char    *big = xd_arena_alloc(&a, 200000, 1);
    memset(big, 1, 200000);
    memset(xd_arena_alloc(&a, 100, 1), 2, 100);
    ck_assert_int_eq(big[199999], 1);
    xd_arena_release(&a);
}
END_TEST

START_TEST(impossible_size)
{
    xd_arena a = XD_ARENA_INIT;
    ck_assert_ptr_nonnull(xd_arena_alloc(&a, 8, 1));
    ck_assert_ptr_null(xd_arena_alloc(&a, SIZE_MAX - 4, 1));
    ck_assert_ptr_null(xd_arena_alloc(&a, SIZE_MAX / 2, 1));
    xd_arena_release(&a);
}
END_TEST

START_TEST(empty_bytes)
{
    xd_arena a = XD_ARENA_INIT;
    xd_bytes got;
    ck_assert_int_eq(xd_arena_bytes(&a, (xd_bytes){ 0 }, &got), 0);
    ck_assert_uint_eq(got.len, 0);
    ck_assert_uint_eq(got.ptr[0], 0);
    xd_arena_release(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("arena");
    TCase *c = tcase_create("arena");
    tcase_add_test(c, many_ids_stay);
    tcase_add_test(c, alignment);
    tcase_add_test(c, big_blocks);
    tcase_add_test(c, big_block_first);
    tcase_add_test(c, impossible_size);
    tcase_add_test(c, empty_bytes);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
