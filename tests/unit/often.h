/* often.h - what is checked a million times. Each ck_assert writes to a pipe where the test is, which takes longer than most of what is
 * checked: these write nothing until they fail. */
#pragma once
#include <check.h>
#include <stdint.h>

#define often_assert(expr) ((expr) ? (void)0 : ck_abort_msg("'%s' failed", #expr))
#define often_assert_msg(expr, ...) ((expr) ? (void)0 : ck_abort_msg(__VA_ARGS__))
#define often_assert_int_eq(x, y)                                                  \
    do {                                                                           \
        intmax_t often_x = (x), often_y = (y);                                     \
        if (often_x != often_y)                                                    \
            ck_abort_msg("'%s == %s' failed: %jd, %jd", #x, #y, often_x, often_y); \
    } while (0)
#define often_assert_uint_eq(x, y)                                                 \
    do {                                                                           \
        uintmax_t often_x = (x), often_y = (y);                                    \
        if (often_x != often_y)                                                    \
            ck_abort_msg("'%s == %s' failed: %ju, %ju", #x, #y, often_x, often_y); \
    } while (0)
