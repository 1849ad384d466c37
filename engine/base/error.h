/* engine/base/error.h - errors for people.
 * Functions return 0 (ok), -errno (fault, passed up unchanged) or > 0 (documented outcome). Where a human
 * will read the cause, an `xd_error *reterr` (may be NULL) gets the code and one line: what, where, what to
 * do. */
#pragma once
#include <errno.h>
#include <stddef.h>

#define XD_ERROR_TEXT 1024

typedef struct xd_error {
    int  code;                /* -errno, or an exit code of xd.h where the text says so */
    char text[XD_ERROR_TEXT]; /* one line, no newline, NUL terminated, cut if longer */
} xd_error;

#define XD_MUST __attribute__((warn_unused_result))

/* Fills *err (NULL ok) and returns `code`, so that `return xd_error_set(err, -EINVAL, "...", ...)` reads
 * well. */
int xd_error_set(xd_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* What a message quotes may hold anything: control bytes become '?', so that it stays one line and harmless
 * to a terminal. xd_error_set does it. */
void xd_error_one_line(char *text);

/* strerror of -errno, thread safe, static storage. */
const char *xd_error_name(int code);

/* Returns early with the value of expr when it is < 0. */
#define XD_TRY(expr)          \
    do {                      \
        int xd_try_ = (expr); \
        if (xd_try_ < 0)      \
            return xd_try_;   \
    } while (0)
