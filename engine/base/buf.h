/* engine/base/buf.h - byte views and a growable byte buffer. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/mem.h"

/* A view; owns nothing; valid as long as what it points into. */
typedef struct xd_bytes {
    const uint8_t *ptr;
    size_t         len;
} xd_bytes;

#define XD_BYTES_LIT(s) ((xd_bytes){ (const uint8_t *)("" s), sizeof(s) - 1 })
xd_bytes xd_bytes_str(const char *s); /* NULL gives an empty view */
bool     xd_bytes_eq(xd_bytes a, xd_bytes b);
bool     xd_bytes_eq_str(xd_bytes a, const char *s);
/* Where `what` is first in `in`; NULL = it is not.  An empty view needs no pointer (for memchr and memmem it does). */
const uint8_t *xd_bytes_find(xd_bytes in, const char *what);
/* malloc'ed NUL-terminated copy (inner NULs kept as they are); NULL without memory. */
char *xd_bytes_dup(xd_bytes b);

/* Growable buffer.  Zero-initialised (XD_BUF_INIT) is valid and empty. */
typedef struct xd_buf {
    uint8_t *data;
    size_t   len;
    size_t   cap;
} xd_buf;
#define XD_BUF_INIT ((xd_buf){ 0 })

void xd_buf_release(xd_buf *b); /* frees the memory; the buffer is empty and usable again */
void xd_buf_clear(xd_buf *b);   /* len = 0, memory kept */
int  xd_buf_reserve(xd_buf *b, size_t extra) XD_MUST; /* room for `extra` more bytes; -ENOMEM */
int  xd_buf_add(xd_buf *b, const void *data, size_t len) XD_MUST;
int  xd_buf_add_str(xd_buf *b, const char *s) XD_MUST;
int  xd_buf_add_bytes(xd_buf *b, xd_bytes v) XD_MUST;
int  xd_buf_add_byte(xd_buf *b, uint8_t c) XD_MUST;
int  xd_buf_fill(xd_buf *b, uint8_t c, size_t count) XD_MUST;
/* As snprintf; a number has its point in every locale. So have those of xd_buf_printf and xd_buf_vprintf. */
int  xd_format(char *to, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int  xd_buf_printf(xd_buf *b, const char *fmt, ...) XD_MUST __attribute__((format(printf, 2, 3)));
int  xd_buf_vprintf(xd_buf *b, const char *fmt, va_list ap) XD_MUST __attribute__((format(printf, 2, 0)));
void xd_buf_consume(xd_buf *b, size_t count); /* drops bytes at the front (memmove) */
const char *xd_buf_cstr(xd_buf *b); /* NUL-terminated view, valid until the next change; "" without memory */
xd_bytes    xd_buf_view(const xd_buf *b);
void        xd_buf_autorelease_fn(xd_buf *b);
#define xd_autobuf __attribute__((cleanup(xd_buf_autorelease_fn))) xd_buf
