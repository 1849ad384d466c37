/* engine/base/buf.c - see buf.h, mem.h, error.h. */
#include "engine/base/buf.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void xd_autoclose_fn(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

void xd_error_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

int xd_error_set(xd_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        xd_error_one_line(err->text);
    }
    return code;
}

const char *xd_error_name(int code)
{
    const char *text = strerrordesc_np(code < 0 ? -code : code);
    return text ? text : "unknown error";
}

xd_bytes xd_bytes_str(const char *s)
{
    return (xd_bytes){ (const uint8_t *)s, s ? strlen(s) : 0 };
}

bool xd_bytes_eq(xd_bytes a, xd_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool xd_bytes_eq_str(xd_bytes a, const char *s)
{
    return xd_bytes_eq(a, xd_bytes_str(s));
}

const uint8_t *xd_bytes_find(xd_bytes in, const char *what)
{
    return in.len ? memmem(in.ptr, in.len, what, strlen(what)) : NULL;
}

char *xd_bytes_dup(xd_bytes b)
{
    char *copy = malloc(b.len + 1);
    if (copy) {
        if (b.len)
            memcpy(copy, b.ptr, b.len);
        copy[b.len] = 0;
    }
    return copy;
}

void xd_buf_release(xd_buf *b)
{
    free(b->data);
    *b = XD_BUF_INIT;
}

void xd_buf_autorelease_fn(xd_buf *b)
{
    xd_buf_release(b);
}

void xd_buf_clear(xd_buf *b)
{
    b->len = 0;
}

int xd_buf_reserve(xd_buf *b, size_t extra)
{
    if (b->cap - b->len >= extra)
        return 0;
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need) || need > PTRDIFF_MAX)
        return -ENOMEM;
    size_t cap = b->cap < 128 ? 128 : b->cap;
    while (cap < need)
        cap = cap > PTRDIFF_MAX / 2
                  ? need
                  : cap * 2; /* never just what is needed: each small addition would move it all */
    uint8_t *data = realloc(b->data, cap);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int xd_buf_add(xd_buf *b, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    XD_TRY(xd_buf_reserve(b, len));
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int xd_buf_add_str(xd_buf *b, const char *s)
{
    return xd_buf_add(b, s, strlen(s));
}

int xd_buf_add_bytes(xd_buf *b, xd_bytes v)
{
    return xd_buf_add(b, v.ptr, v.len);
}

int xd_buf_add_byte(xd_buf *b, uint8_t c)
{
    return xd_buf_add(b, &c, 1);
}

int xd_buf_fill(xd_buf *b, uint8_t c, size_t count)
{
    if (count == 0)
        return 0;
    XD_TRY(xd_buf_reserve(b, count));
    memset(b->data + b->len, c, count);
    b->len += count;
    return 0;
}

/* Numbers with a point, whatever locale the program has that this is a part of. */
static int print(char *to, size_t size, const char *fmt, va_list ap)
{
    locale_t c =
        newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's own object: costs nothing, needs no memory */
    if (c == (locale_t)0)
        return vsnprintf(to, size, fmt, ap);
    locale_t before = uselocale(c);
    int      n = vsnprintf(to, size, fmt, ap);
    uselocale(before);
    freelocale(c);
    return n;
}

int xd_format(char *to, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = print(to, size, fmt, ap);
    va_end(ap);
    return n;
}

int xd_buf_vprintf(xd_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = print(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return -EINVAL;
    XD_TRY(xd_buf_reserve(b, (size_t)n + 1));
    (void)print((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
    return 0;
}

int xd_buf_printf(xd_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = xd_buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

void xd_buf_consume(xd_buf *b, size_t count)
{
    if (count >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + count, b->len - count);
    b->len -= count;
}

const char *xd_buf_cstr(xd_buf *b)
{
    if (xd_buf_reserve(b, 1) < 0)
        return "";
    b->data[b->len] = 0;
    return (const char *)b->data;
}

xd_bytes xd_buf_view(const xd_buf *b)
{
    return (xd_bytes){ b->data, b->len };
}
