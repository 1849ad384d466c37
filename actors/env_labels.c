/* actors/env_labels.c - see env_labels.h. */
#include "actors/env_labels.h"

#include <stdlib.h>
#include <string.h>

void xd_env_labels_free(char **labels, size_t count)
{
    for (size_t i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}

/* ---- parts -------------------------------------------------------------------------------------------------- */

/* The next part of a spec, which // separates. false = there is none. */
static bool next_part(xd_bytes *rest, xd_bytes *ret)
{
    if (!rest->ptr)
        return false;
    const uint8_t *end = rest->len ? memmem(rest->ptr, rest->len, "//", 2) : NULL;
    *ret = (xd_bytes){ rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len };
    *rest = end ? (xd_bytes){ end + 2, rest->len - ret->len - 2 } : (xd_bytes){ 0 };
    return true;
}

static bool has_part(xd_bytes spec, xd_bytes part)
{
    for (xd_bytes rest = spec, one; next_part(&rest, &one);)
        if (xd_bytes_eq(one, part))
            return true;
    return false;
}

static bool all_have(const xd_bytes *specs, size_t count, xd_bytes part)
{
    for (size_t i = 0; i < count; i++)
        if (!has_part(specs[i], part))
            return false;
    return true;
}

static bool begins(xd_bytes text, const char *key, xd_bytes *ret_value)
{
    const size_t n = strlen(key);
    if (text.len < n || memcmp(text.ptr, key, n) != 0)
        return false;
    *ret_value = (xd_bytes){ text.ptr + n, text.len - n };
    return true;
}

/* What stands behind the last one of these. */
static xd_bytes behind(xd_bytes text, char last)
{
    const uint8_t *at = text.len ? memrchr(text.ptr, last, text.len) : NULL;
    return at && at + 1 < text.ptr + text.len ? (xd_bytes){ at + 1, text.len - (size_t)(at + 1 - text.ptr) }
                                              : text;
}

/* What people call it: an interpreter and a folder by the last name of the path, a host without user and options. */
static xd_bytes short_part(xd_bytes part)
{
    xd_bytes value;
    if (begins(part, "python=", &value) || begins(part, "chdir=", &value))
        return behind(value, '/');
    if (begins(part, "env:", &value) || begins(part, "socket=", &value) || begins(part, "command=", &value))
        return value;
    if (begins(part, "ssh=", &value))
        return behind(behind(value, ' '), '@');
    return part;
}

/* ---- ways to name them, the shortest first -------------------------------------------------------------------- */

typedef struct all {
    const xd_bytes *specs;
    size_t          count;
} all;

static int add_part(xd_buf *to, xd_bytes part)
{
    if (to->len)
        XD_TRY(xd_buf_add_byte(to, '/'));
    return xd_buf_add_bytes(to, short_part(part));
}

/* The parts that not all have; without `only_different` all parts. `popen` says nothing beside others. */
static int of_parts(const all *a, size_t i, bool only_different, xd_buf *to)
{
    xd_bytes rest = a->specs[i], one;
    while (next_part(&rest, &one))
        if (!xd_bytes_eq_str(one, "popen") &&
            !(only_different && a->count > 1 && all_have(a->specs, a->count, one)))
            XD_TRY(add_part(to, one));
    if (to->len)
        return 0;
    rest = a->specs[i];
    return next_part(&rest, &one) ? add_part(to, one) : 0;
}

static int different_parts(const all *a, size_t i, xd_buf *to)
{
    return of_parts(a, i, true, to);
}

static int all_parts(const all *a, size_t i, xd_buf *to)
{
    return of_parts(a, i, false, to);
}

static size_t word_end(xd_bytes text, size_t from)
{
    while (from < text.len && text.ptr[from] != '/' && text.ptr[from] != '=')
        from++;
    return from;
}

/* How many bytes at the front all have in common, up to a border of names. */
static size_t common_front(const all *a)
{
    size_t   front = 0;
    xd_bytes first = a->specs[0];
    for (size_t end = word_end(first, 0); end < first.len; end = word_end(first, end + 1)) {
        for (size_t i = 1; i < a->count; i++)
            if (a->specs[i].len <= end + 1 || memcmp(a->specs[i].ptr, first.ptr, end + 1) != 0)
                return front;
        front = end + 1;
    }
    return front;
}

/* The same at the end; of what is behind the front at least a name stays. */
static size_t common_end(const all *a, size_t front)
{
    size_t   back = 0;
    xd_bytes first = a->specs[0];
    for (size_t n = 1; n + front < first.len; n++) {
        const uint8_t *at = first.ptr + first.len - n;
        for (size_t i = 1; i < a->count; i++)
            if (a->specs[i].len <= n + front || memcmp(a->specs[i].ptr + a->specs[i].len - n, at, n) != 0)
                return back;
        if (*at == '/')
            back = n;
    }
    return back;
}

/* Two specs that are not alike stay so. */
static int what_differs(const all *a, size_t i, xd_buf *to)
{
    const size_t front = common_front(a), end = common_end(a, front);
    return xd_buf_add(to, a->specs[i].ptr + front, a->specs[i].len - front - end);
}

static int whole(const all *a, size_t i, xd_buf *to)
{
    return xd_buf_add_bytes(to, a->specs[i]);
}

/* ---- the first that tells all apart ----------------------------------------------------------------------------- */

static bool tells_apart(char *const *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!*labels[i])
            return false;
        for (size_t k = 0; k < i; k++)
            if (strcmp(labels[i], labels[k]) == 0)
                return false;
    }
    return true;
}

/* Of specs that are alike only a number tells. */
static int number_them(char **labels, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        size_t before = 0;
        for (size_t k = 0; k < i; k++)
            before += strcmp(labels[k], labels[i]) == 0;
        if (!before)
            continue;
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(xd_buf_printf(&text, "%s #%zu", labels[i], before + 1));
        char *own = xd_bytes_dup(xd_buf_view(&text));
        if (!own)
            return -ENOMEM;
        free(labels[i]);
        labels[i] = own;
    }
    return 0;
}

static int name_all(const all *a, int (*way)(const all *, size_t, xd_buf *), char **labels)
{
    for (size_t i = 0; i < a->count; i++) {
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(way(a, i, &text));
        free(labels[i]);
        labels[i] = xd_bytes_dup(xd_buf_view(&text));
        if (!labels[i])
            return -ENOMEM;
    }
    return 0;
}

int xd_env_labels_make(char ***ret, const xd_bytes *specs, size_t count)
{
    static int (*const ways[])(const all *, size_t, xd_buf *) = { different_parts, all_parts, what_differs,
                                                                  whole };
    const all a = { specs, count };
    char    **labels = calloc(count + 1, sizeof(*labels));
    int       r = labels ? 0 : -ENOMEM;
    for (size_t w = 0; r == 0 && w < XD_ARRAY_LEN(ways); w++) {
        r = name_all(&a, ways[w], labels);
        if (r == 0 && tells_apart(labels, count))
            break;
        if (r == 0 && w + 1 == XD_ARRAY_LEN(ways))
            r = number_them(labels, count);
    }
    if (r < 0) {
        xd_env_labels_free(labels, count);
        return r;
    }
    *ret = labels;
    return 0;
}
