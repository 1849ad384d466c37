#include "sync/fnmatch.h"

#include <string.h>

#include "engine/base/text.h"

enum {
    ONE = 0x110000, /* below: that character */
    STAR,
    SET,     /* number of ranges, then the first and the last character of each */
    NOT_SET, /* the same, and all others are meant */
};

static int add(xd_buf *ops, uint32_t op)
{
    return xd_buf_add(ops, &op, sizeof(op));
}

/* The character at p: its length. A byte that is no UTF-8 is what Python's surrogateescape makes of it. */
static size_t character(const uint8_t *p, size_t len, uint32_t *ret)
{
    if (*p < 0x80) {
        *ret = *p;
        return 1;
    }
    size_t n = xd_text_utf8(p, len, ret);
    if (n)
        return n;
    *ret = 0xdc00u + *p;
    return 1;
}

/* Where the `]` is of the set whose text begins at `at`; the glob's length = there is none. */
static size_t set_end(xd_bytes glob, size_t at)
{
    if (at < glob.len && glob.ptr[at] == '!')
        at++;
    if (at < glob.len && glob.ptr[at] == ']')
        at++;
    const uint8_t *end = at < glob.len ? memchr(glob.ptr + at, ']', glob.len - at) : NULL;
    return end ? (size_t)(end - glob.ptr) : glob.len;
}

/* in: what is between the brackets. A range that ends before it begins takes nothing. */
static int add_set(xd_bytes in, xd_buf *ops)
{
    bool     negated = in.ptr[0] == '!';
    size_t   count_at = ops->len + sizeof(uint32_t);
    uint32_t count = 0, from, to;
    XD_TRY(add(ops, negated ? NOT_SET : SET));
    XD_TRY(add(ops, 0));
    for (size_t i = negated; i < in.len;) {
        i += character(in.ptr + i, in.len - i, &from);
        to = from;
        if (i + 1 < in.len && in.ptr[i] == '-') {
            i++;
            i += character(in.ptr + i, in.len - i, &to);
        }
        XD_TRY(add(ops, from));
        XD_TRY(add(ops, to));
        count++;
    }
    memcpy(ops->data + count_at, &count, sizeof(count));
    return 0;
}

int xd_fnmatch_compile(xd_bytes glob, xd_buf *ops)
{
    bool sets = true; /* once a `[` has no end, none behind it has one */
    for (size_t i = 0; i < glob.len;) {
        uint32_t c;
        size_t   end;
        if (glob.ptr[i] == '*') {
            XD_TRY(add(ops, STAR));
            while (i < glob.len && glob.ptr[i] == '*')
                i++;
        } else if (glob.ptr[i] == '?') {
            XD_TRY(add(ops, ONE));
            i++;
        } else if (glob.ptr[i] == '[' && sets && (end = set_end(glob, i + 1)) < glob.len) {
            XD_TRY(add_set((xd_bytes){ glob.ptr + i + 1, end - i - 1 }, ops));
            i = end + 1;
        } else {
            sets = sets && glob.ptr[i] != '[';
            i += character(glob.ptr + i, glob.len - i, &c);
            XD_TRY(add(ops, c));
        }
    }
    return 0;
}

static size_t op_words(const uint32_t *op)
{
    return *op >= SET ? 2 + 2 * (size_t)op[1] : 1;
}

static bool takes(const uint32_t *op, uint32_t c)
{
    if (*op < SET)
        return *op == ONE || *op == c;
    for (uint32_t i = 0; i < op[1]; i++)
        if (op[2 + 2 * i] <= c && c <= op[3 + 2 * i])
            return *op == SET;
    return *op == NOT_SET;
}

/* The same as character(), of the text that consists of two. */
static size_t character_of(xd_bytes head, xd_bytes rest, size_t at, uint32_t *ret)
{
    if (at < head.len)
        return character(head.ptr + at, head.len - at, ret);
    return character(rest.ptr + (at - head.len), rest.len - (at - head.len), ret);
}

bool xd_fnmatch(const uint32_t *ops, size_t count, xd_bytes head, xd_bytes rest)
{
    const uint32_t *end = ops + count, *p = ops, *star = NULL;
    size_t          len = head.len + rest.len, at = 0, star_at = 0;
    uint32_t        c;
    while (at < len) {
        size_t n = character_of(head, rest, at, &c);
        if (p < end && *p == STAR) {
            star = ++p, star_at = at;
            if (p == end)
                return true;
        } else if (p < end && takes(p, c)) {
            p += op_words(p), at += n;
        } else if (star) {
            star_at += character_of(head, rest, star_at, &c);
            p = star, at = star_at;
        } else {
            return false;
        }
    }
#if XD_PLANTED_BUG != 50 /* the simulator must find it: a star at the end wants a character */
    while (p < end && *p == STAR)
        p++;
#endif
    return p == end;
}
