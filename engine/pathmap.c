/* engine/pathmap.c - see pathmap.h. */
#include "engine/pathmap.h"

#include <stdlib.h>
#include <string.h>

typedef struct xd_pathmap_pair {
    char  *copy, *original; /* without a slash at the end; the root of all is "" */
    size_t copy_len, original_len;
} pair;

static xd_bytes trimmed(xd_bytes path)
{
    while (path.len && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

int xd_pathmap_add(xd_pathmap *m, xd_bytes copy, xd_bytes original)
{
    if (!copy.len || copy.ptr[0] != '/' || !original.len || original.ptr[0] != '/')
        return 0;
    copy = trimmed(copy);
    original = trimmed(original);
    if (!copy.len || xd_bytes_eq(copy, original))
        return 0;
    pair *grown = realloc(m->pairs, (m->count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    m->pairs = grown;
    pair one = { .copy = xd_bytes_dup(copy),
                 .original = xd_bytes_dup(original),
                 .copy_len = copy.len,
                 .original_len = original.len };
    if (!one.copy || !one.original) {
        free(one.copy);
        free(one.original);
        return -ENOMEM;
    }
    m->pairs[m->count++] = one;
    return 0;
}

int xd_pathmap_base(xd_pathmap *m, xd_bytes base)
{
    if (!base.len || base.ptr[0] != '/')
        return 0;
    free(m->base);
    m->base = xd_bytes_dup(trimmed(base));
    return m->base ? 0 : -ENOMEM;
}

void xd_pathmap_release(xd_pathmap *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->pairs[i].copy);
        free(m->pairs[i].original);
    }
    free(m->pairs);
    free(m->base);
    *m = XD_PATHMAP_INIT;
}

static bool one_of(uint8_t c, const char *set)
{
    return c && strchr(set, c) != NULL;
}

/* A byte that names of files are mostly made of: letters of any script, digits, and what joins words. */
static bool is_name(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80 ||
           one_of(c, "_-+~%@$");
}

/* The length of the escape sequence (ESC [ ... m) that ends before `at`; 0 = there is none. */
static size_t sequence_before(xd_bytes in, size_t at)
{
    size_t i = at;
    if (i < 3 || in.ptr[i - 1] != 'm')
        return 0;
    for (i--; i && (in.ptr[i - 1] == ';' || (in.ptr[i - 1] >= '0' && in.ptr[i - 1] <= '9'));)
        i--;
    return i >= 2 && in.ptr[i - 1] == '[' && in.ptr[i - 2] == 0x1b ? at - (i - 2) : 0;
}

/* No path that goes on to the left: the slash at `at` is its first byte. */
static bool begins(xd_bytes in, size_t at)
{
    static const char url[] = "file://";
    if (at == 0 || sequence_before(in, at))
        return true;
    const uint8_t c = in.ptr[at - 1];
    if (c == '/')
        return at >= sizeof(url) - 1 && memcmp(in.ptr + at - (sizeof(url) - 1), url, sizeof(url) - 1) == 0;
    return !is_name(c) && !one_of(c, ".)]}*?");
}

static bool ends(xd_bytes in, size_t at)
{
    if (at == in.len || in.ptr[at] == '/')
        return true;
    if (in.ptr[at] == '.') /* the end of a sentence, or of a name */
        return at + 1 == in.len || (!is_name(in.ptr[at + 1]) && in.ptr[at + 1] != '.');
    return !is_name(in.ptr[at]);
}

/* `File "` stands before it, perhaps in colours. */
static bool is_frame(xd_bytes in, size_t at)
{
    static const char word[] = "File ";
    if (at == 0 || in.ptr[at - 1] != '"')
        return false;
    at--;
    at -= sequence_before(in, at);
    return at >= sizeof(word) - 1 && memcmp(in.ptr + at - (sizeof(word) - 1), word, sizeof(word) - 1) == 0;
}

static const pair *at_slash(const xd_pathmap *m, xd_bytes in, size_t at, xd_pathmap_where where)
{
    const pair *best = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const pair *p = &m->pairs[i];
        if (in.len - at >= p->copy_len && memcmp(in.ptr + at, p->copy, p->copy_len) == 0 &&
            (!best || p->copy_len > best->copy_len) && ends(in, at + p->copy_len))
            best = p;
    }
    if (!best || !begins(in, at) || (where == XD_PATHMAP_FRAMES && !is_frame(in, at)))
        return NULL;
    return best;
}

/* ---- relative paths ------------------------------------------------------------------------------------- */

static const char up[] = "../";
#define UP (sizeof(up) - 1)

static size_t sequence_at(xd_bytes in, size_t at)
{
    size_t i = at + 2;
    if (in.len - at < 3 || in.ptr[at] != 0x1b || in.ptr[at + 1] != '[')
        return 0;
    while (i < in.len && (in.ptr[i] == ';' || (in.ptr[i] >= '0' && in.ptr[i] <= '9')))
        i++;
    return i < in.len && in.ptr[i] == 'm' ? i + 1 - at : 0;
}

/* The length of a path at the beginning of a line, perhaps in colours, that ":3:" follows; else 0. */
static size_t located(xd_bytes in, size_t at)
{
    size_t start = at, end = at, n;
    while (start && (n = sequence_before(in, start)))
        start -= n;
    if (start && in.ptr[start - 1] != '\n')
        return 0;
    while (end < in.len && !one_of(in.ptr[end], ":\n\x1b"))
        end++;
    size_t after = end;
    while (after < in.len && (n = sequence_at(in, after)))
        after += n;
    return in.len - after > 1 && in.ptr[after] == ':' && in.ptr[after + 1] >= '0' && in.ptr[after + 1] <= '9'
               ? end - at
               : 0;
}

/* base/../x without the ".."; *ret is in `room`. 1; 0 = there are more of them than folders. */
static int resolve(const char *base, xd_bytes relative, xd_buf *room, xd_bytes *ret)
{
    xd_bytes folder = xd_bytes_str(base);
    while (relative.len >= UP && memcmp(relative.ptr, up, UP) == 0) {
        if (!folder.len)
            return 0;
        while (folder.len && folder.ptr[folder.len - 1] != '/')
            folder.len--;
        folder = trimmed(folder);
        relative = (xd_bytes){ relative.ptr + UP, relative.len - UP };
    }
    xd_buf_clear(room);
    XD_TRY(xd_buf_add_bytes(room, folder));
    XD_TRY(xd_buf_add_byte(room, '/'));
    XD_TRY(xd_buf_add_bytes(room, relative));
    *ret = xd_buf_view(room);
    return 1;
}

/* ---- texts -------------------------------------------------------------------------------------------------- */

static bool has_any(const xd_pathmap *m, xd_bytes in, xd_pathmap_where where)
{
    for (size_t i = 0; m && i < m->count; i++)
        if (in.len && memmem(in.ptr, in.len, m->pairs[i].copy, m->pairs[i].copy_len))
            return true;
    return m && m->base && where == XD_PATHMAP_ALL && in.len && memmem(in.ptr, in.len, up, UP);
}

static int add_original(xd_buf *room, const pair *p, xd_bytes rest)
{
    XD_TRY(xd_buf_add(room, p->original, p->original_len));
    return p->original_len || (rest.len && rest.ptr[0] == '/') ? 0 : xd_buf_add_byte(room, '/');
}

/* The path at `at`, if it is one to be replaced: its length, and what takes its place is added; 0 = it is not. */
static int put_relative(const xd_pathmap *m, xd_bytes in, size_t at, xd_buf *room, size_t *ret_len)
{
    xd_autobuf   scratch = XD_BUF_INIT;
    xd_bytes     path;
    const size_t len = located(in, at);
    *ret_len = 0;
    if (!len)
        return 0;
    int r = resolve(m->base, (xd_bytes){ in.ptr + at, len }, &scratch, &path);
    if (r <= 0)
        return r;
    const pair    *p = at_slash(m, path, 0, XD_PATHMAP_ALL);
    const size_t   from = p ? p->copy_len : 0;
    const xd_bytes rest = { path.ptr + from, path.len - from };
    XD_TRY(p ? add_original(room, p, rest) : 0);
    *ret_len = len;
    return xd_buf_add_bytes(room, rest);
}

static int put(const xd_pathmap *m, xd_bytes in, size_t at, xd_pathmap_where where, xd_buf *room,
               size_t *ret_len)
{
    *ret_len = 0;
    if (in.ptr[at] == '.')
        return m->base && where == XD_PATHMAP_ALL && in.len - at >= UP && memcmp(in.ptr + at, up, UP) == 0
                   ? put_relative(m, in, at, room, ret_len)
                   : 0;
    const pair *p = at_slash(m, in, at, where);
    if (!p)
        return 0;
    *ret_len = p->copy_len;
    return add_original(room, p, (xd_bytes){ in.ptr + at + p->copy_len, in.len - at - p->copy_len });
}

int xd_pathmap_text(const xd_pathmap *m, xd_bytes in, xd_pathmap_where where, xd_buf *room, xd_bytes *ret)
{
    const size_t before = room->len;
    size_t       done = 0, len;
    xd_autobuf   one = XD_BUF_INIT;
    *ret = in;
    if (!has_any(m, in, where))
        return 0;
    for (size_t at = 0; at < in.len; at += len) {
        len = 0;
        xd_buf_clear(&one);
        if (in.ptr[at] == '/' || in.ptr[at] == '.')
            XD_TRY(put(m, in, at, where, &one, &len));
        if (!len) {
            len = 1;
            continue;
        }
        XD_TRY(xd_buf_add(room, in.ptr + done, at - done));
        XD_TRY(xd_buf_add_bytes(room, xd_buf_view(&one)));
        done = at + len;
    }
    if (!done)
        return 0;
    XD_TRY(xd_buf_add(room, in.ptr + done, in.len - done));
    *ret = (xd_bytes){ room->data + before, room->len - before };
    return 0;
}
