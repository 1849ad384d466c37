/* needs: sync. The manifest: its format, what is refused of a peer, and that differences lead from any tree to any other. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "sync/manifest.h"

/* Check's own assertions are a system call each. */
#define MUST(cond)                                                     \
    do {                                                               \
        if (!(cond))                                                   \
            ck_abort_msg("seed %u: %s", (unsigned)seed_now, "" #cond); \
    } while (0)
static uint32_t seed_now;

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static xd_bytes str(const char *s)
{
    return xd_bytes_str(s);
}

static uint32_t put(xd_tree *t, uint32_t folder, const char *name, uint8_t type, uint16_t mode,
                    const char *content)
{
    uint32_t handle = 0;
    xd_node  n = { .name = str(name), .type = type, .mode = mode };
    if (type == XD_SYNC_FILE) {
        n.size = strlen(content);
        n.mtime_ns = -5;
        n.id = xd_digest_of(str(content));
    } else if (type == XD_SYNC_LINK) {
        n.target = str(content);
    }
    ck_assert_int_eq(xd_tree_add(t, folder, &n, &handle), 0);
    return handle;
}

/* b (folder: z, "a b" link), a (file), B (empty folder), in no order */
static xd_manifest *sample(uint32_t **map)
{
    xd_tree     *t = NULL;
    xd_manifest *m = NULL;
    ck_assert_int_eq(xd_tree_new(&t, XD_SYNC_WAY, 0755), 0);
    uint32_t b = put(t, 0, "b", XD_SYNC_FOLDER, 0750, "");
    put(t, b, "z", XD_SYNC_FILE, 0644, "hello");
    put(t, 0, "a", XD_SYNC_FILE, 07600, "");
    put(t, b, "a b", XD_SYNC_LINK, 0777, "../a");
    put(t, 0, "B", XD_SYNC_FOLDER, 0700, "");
    ck_assert_int_eq(xd_tree_end(&t, &m, map), 0);
    ck_assert_ptr_null(t);
    return m;
}

/* ---- the tree itself ------------------------------------------------------------------------------------------ */

static void check_lookups(const xd_manifest *m)
{
    static const char *const order[] = { ".", "B", "a", "b", "b/a b", "b/z" };
    xd_autobuf               path = XD_BUF_INIT;
    size_t                   n = 0;
    for (uint32_t e = 0; e != XD_MANIFEST_NONE; e = xd_manifest_next(m, e), n++) {
        xd_buf_clear(&path);
        ck_assert_int_eq(xd_manifest_path(m, e, &path), 0);
        ck_assert_str_eq(xd_buf_cstr(&path), order[n]);
        ck_assert_uint_eq(xd_manifest_find(m, str(order[n])), e);
    }
    ck_assert_uint_eq(n, XD_ARRAY_LEN(order));
    static const char *const none[] = {
        "b/", "/b", "b//z", "./a", "a/x", "c", "b/a", "b/zz", "bb", "..", "/"
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(none); i++)
        ck_assert_uint_eq(xd_manifest_find(m, str(none[i])), XD_MANIFEST_NONE);
    ck_assert_uint_eq(xd_manifest_find(m, str("")), 0);
}

START_TEST(lookups)
{
    uint32_t    *map = NULL;
    xd_manifest *m = sample(&map);
    check_lookups(m);
    ck_assert_uint_eq(m->count, 6);
    ck_assert_uint_eq(m->files, 2);
    ck_assert_uint_eq(m->bytes, 5);
    ck_assert_uint_eq(m->file[0], xd_manifest_find(m, str("a")));
    ck_assert_uint_eq(m->file[1], xd_manifest_find(m, str("b/z")));
    ck_assert_uint_eq(m->entry[m->file[1]].first, 1);
    ck_assert_uint_eq(map[0], 0);
    ck_assert_uint_eq(map[2], m->file[1]); /* the second that was added */
    const xd_entry *link = &m->entry[xd_manifest_find(m, str("b/a b"))];
    ck_assert(xd_bytes_eq_str(xd_entry_target(m, link), "../a"));
    ck_assert_uint_eq(link->mode, 0);
    ck_assert_uint_eq(m->entry[m->file[0]].mode, 0600); /* neither setuid nor sticky */
    xd_manifest_free(m);
    free(map);
}
END_TEST

/* The format, written out by hand: both ends and what either has kept depend on it. */
START_TEST(format)
{
    xd_manifest *m = sample(NULL);
    xd_autobuf   b = XD_BUF_INIT;
    xd_digest    hello = xd_digest_of(str("hello")), none = xd_digest_of(str(""));
    int          r = xd_buf_add(
                 &b, "xd1\n\3\0a b\3\0\0\4\0\0\0../a\1\0z\1\xa4\1\5\0\0\0\0\0\0\0\xfb\xff\xff\xff\xff\xff\xff\xff",
                 4 + 5 + 3 + 8 + 6 + 8 + 8);
    r += xd_buf_add(&b, &hello, 16);
    xd_digest folder = xd_digest_of(xd_buf_view(&b)), empty = xd_digest_of(str("xd1\n"));
    ck_assert(xd_digest_eq(folder, m->entry[xd_manifest_find(m, str("b"))].id));
    xd_buf_clear(&b);
    r += xd_buf_add(&b, "xd1\n\1\0B\2\xc0\1", 10);
    r += xd_buf_add(&b, &empty, 16);
    r += xd_buf_add(&b, "\1\0a\1\x80\1\0\0\0\0\0\0\0\0\xfb\xff\xff\xff\xff\xff\xff\xff", 6 + 16);
    r += xd_buf_add(&b, &none, 16);
    r += xd_buf_add(&b, "\1\0b\2\xe8\1", 6);
    r += xd_buf_add(&b, &folder, 16);
    ck_assert_int_eq(r, 0);
    ck_assert(xd_digest_eq(xd_digest_of(xd_buf_view(&b)), xd_manifest_digest(m)));
    ck_assert_uint_eq(none.hi, 0x99aa06d3014798d8u); /* XXH3-128 of nothing, as published */
    ck_assert_uint_eq(none.lo, 0x6001c324468d497fu);
    xd_manifest_free(m);
}
END_TEST

START_TEST(amend)
{
    xd_manifest *m = sample(NULL), *same = sample(NULL);
    xd_digest    was = xd_manifest_digest(m), id = xd_digest_of(str("other"));
    xd_manifest_amend(m, 1, 0600, 7, 9, id);
    ck_assert_uint_eq(m->bytes, 7);
    xd_manifest_seal(m);
    ck_assert(!xd_digest_eq(was, xd_manifest_digest(m)));
    xd_manifest_amend(m, 1, 0644, 5, -5, same->entry[same->file[1]].id);
    xd_manifest_seal(m);
    ck_assert(xd_digest_eq(was, xd_manifest_digest(m)));
    xd_manifest_free(m);
    xd_manifest_free(same);
}
END_TEST

START_TEST(building_refuses)
{
    char     name[400];
    uint32_t at = 0, file;
    xd_tree *t = NULL;
    ck_assert_int_eq(xd_tree_new(&t, XD_SYNC_FILE, 0), -EINVAL);
    ck_assert_int_eq(xd_tree_new(&t, XD_SYNC_FOLDER, 0755), 0);
    file = put(t, 0, "f", XD_SYNC_FILE, 0644, "");
    static const char *const bad[] = { "", ".", "..", "a/b", "/" };
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++)
        ck_assert_int_eq(xd_tree_add(t, 0, &(xd_node){ .name = str(bad[i]), .type = XD_SYNC_FILE }, NULL),
                         -EINVAL);
    xd_node nul = { .name = { (const uint8_t *)"a\0b", 3 }, .type = XD_SYNC_FILE };
    ck_assert_int_eq(xd_tree_add(t, 0, &nul, NULL), -EINVAL);
    xd_node n = { .name = str("x"), .type = XD_SYNC_GONE };
    ck_assert_int_eq(xd_tree_add(t, 0, &n, NULL), -EINVAL);
    n.type = XD_SYNC_KEPT;
    ck_assert_int_eq(xd_tree_add(t, 0, &n, NULL), -EINVAL);
    n.type = XD_SYNC_LINK; /* no target */
    ck_assert_int_eq(xd_tree_add(t, 0, &n, NULL), -EINVAL);
    n = (xd_node){ .name = str("x"), .type = XD_SYNC_FILE, .size = 1ull << 62 };
    ck_assert_int_eq(xd_tree_add(t, 0, &n, NULL), -EINVAL);
    n.size = 1;
    ck_assert_int_eq(xd_tree_add(t, file, &n, NULL), -EINVAL);
    ck_assert_int_eq(xd_tree_add(t, 2, &n, NULL), -EINVAL);
    memset(name, 'n', sizeof(name));
    n.name = (xd_bytes){ (uint8_t *)name, 256 };
    ck_assert_int_eq(xd_tree_add(t, 0, &n, NULL), -EINVAL);
    n.type = XD_SYNC_FOLDER;
    n.name.len = 255; /* 15 * 256 + 255 = 4095 */
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(xd_tree_add(t, at, &n, &at), 0);
    n.name.len = 1;
    ck_assert_int_eq(xd_tree_add(t, at, &n, NULL), -E2BIG);
    at = 0;
    for (unsigned i = 0; i < XD_MANIFEST_DEPTH_MAX; i++)
        ck_assert_int_eq(xd_tree_add(t, at, &n, &at), 0);
    ck_assert_int_eq(xd_tree_add(t, at, &n, NULL), -E2BIG);
    xd_manifest *m = NULL;
    put(t, 0, "f", XD_SYNC_FOLDER, 0755, "");
    ck_assert_int_eq(xd_tree_end(&t, &m, NULL), -EEXIST);
    ck_assert_ptr_null(t);
}
END_TEST

/* ---- records --------------------------------------------------------------------------------------------------- */

#define BODIES 4096
typedef struct bodies {
    xd_buf   body[BODIES];
    unsigned count;
    bool     last;
} bodies;

static int collect(void *arg, xd_bytes body, bool last)
{
    bodies *b = arg;
    if (b->count == BODIES || b->last)
        return -EOVERFLOW;
    b->last = last;
    return xd_buf_add_bytes(&b->body[b->count++], body);
}

static void release(bodies *b)
{
    for (unsigned i = 0; i < b->count; i++)
        xd_buf_release(&b->body[i]);
    b->count = 0;
    b->last = false;
}

static int apply(const xd_manifest *base, const bodies *b, xd_manifest **ret, uint8_t **pushed, xd_buf *kept,
                 xd_error *err)
{
    xd_auto(xd_records) *r = NULL;
    XD_TRY(xd_records_new(&r, base));
    for (unsigned i = 0; i < b->count; i++) {
        xd_wire_SYNC_RECORD_LIST list;
        XD_TRY(xd_wire_SYNC_RECORD_LIST_decode(b->body[i].data, b->body[i].len, &list));
        XD_TRY(xd_records_add(r, &list, err));
    }
    return xd_records_end(&r, ret, pushed, kept, err);
}

typedef struct line {
    const char *path;
    uint8_t     type;
    uint16_t    mode;
    uint64_t    size;
    const char *target;
    uint8_t     pushed;
    uint16_t    shared;
} line;

static void make_list(xd_buf *out, const line *lines, size_t n)
{
    ck_assert_int_eq(xd_buf_add(out, &(uint32_t){ (uint32_t)n }, 4), 0);
    for (size_t i = 0; i < n; i++) {
        xd_wire_SYNC_RECORD rec = { .shared = lines[i].shared,
                                    .path = str(lines[i].path),
                                    .type = lines[i].type,
                                    .mode = lines[i].mode,
                                    .size = lines[i].size,
                                    .pushed = lines[i].pushed,
                                    .target = str(lines[i].target) };
        ck_assert_int_eq(xd_wire_SYNC_RECORD_append(out, &rec), 0);
    }
}

static int read_lines(const xd_manifest *base, const line *lines, size_t n, xd_manifest **ret, xd_buf *kept,
                      xd_error *err)
{
    bodies *b = calloc(1, sizeof(*b));
    b->count = 1;
    make_list(&b->body[0], lines, n);
    int r = apply(base, b, ret, NULL, kept, err);
    release(b);
    free(b);
    return r;
}

#define ROOT                                     \
    {                                            \
        ".", XD_SYNC_FOLDER, 0755, 0, NULL, 0, 0 \
    }
#define LINE(path, type)                          \
    {                                             \
        path, XD_SYNC_##type, 0644, 0, NULL, 0, 0 \
    }
#define BAD(...)    \
    {               \
        __VA_ARGS__ \
    }

typedef struct bad {
    bool base; /* changes of sample() */
    line line[4];
} bad;

static const bad bad_lists[] = {
    { .base = false },
    { false, { LINE("a", FILE) } },
    { false, { LINE(".", FILE) } },
    { false, { LINE(".", GONE) } },
    { true, { LINE(".", GONE) } },
    { true, { LINE(".", LINK) } },
    { false, { ROOT, ROOT } },
    { false, { ROOT, LINE("a", FILE), ROOT } },
    { false, { ROOT, LINE("b", FILE), LINE("a", FILE) } },
    { false, { ROOT, LINE("a", FILE), LINE("a", FILE) } },
    { false, { ROOT, LINE("ab", FILE), LINE("a", FILE) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("ab", FILE), LINE("a/x", FILE) } },
    { false, { ROOT, LINE("a", FILE), LINE("a/x", FILE) } },
    { false, { ROOT, LINE("a/x", FILE) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("a/b/c", FILE) } },
    { false, { ROOT, LINE("..", FOLDER) } },
    { false, { ROOT, LINE("../x", FILE) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("a/..", FOLDER) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("a/../b", FILE) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("a/./b", FILE) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("a/", FILE) } },
    { false, { ROOT, LINE("a", FOLDER), LINE("a//b", FILE) } },
    { false, { ROOT, LINE("/a", FILE) } },
    { false, { ROOT, LINE("", FILE) } },
    { false, { ROOT, { "a", 6, 0, 0, NULL, 0, 0 } } },
    { false, { ROOT, { "a", XD_SYNC_FILE, 01000, 0, NULL, 0, 0 } } },
    { false, { ROOT, { "a", XD_SYNC_FILE, 0644, 1ull << 62, NULL, 0, 0 } } },
    { false,
      { ROOT,
        { "a", XD_SYNC_FILE, 0644, (1ull << 62) - 1, NULL, 0, 0 },
        { "b", XD_SYNC_FILE, 0644, 1, NULL, 0, 0 } } },
    { false, { ROOT, { "a", XD_SYNC_FILE, 0644, 0, "t", 0, 0 } } },
    { false, { ROOT, { "a", XD_SYNC_FILE, 0644, 0, NULL, 2, 0 } } },
    { false, { ROOT, { "a", XD_SYNC_FOLDER, 0644, 0, NULL, 1, 0 } } },
    { false, { ROOT, { "a", XD_SYNC_FOLDER, 0644, 1, NULL, 0, 0 } } },
    { false, { ROOT, LINE("a", LINK) } },
    { false, { ROOT, LINE("a", GONE) } },
    { false, { ROOT, LINE("a", KEPT) } },
    { false, { { ".", XD_SYNC_FOLDER, 0755, 0, NULL, 0, 1 } } },
    { false, { ROOT, { "a", XD_SYNC_FILE, 0644, 0, NULL, 0, 2 } } },
    { false, { ROOT, { "/a", XD_SYNC_FILE, 0644, 0, NULL, 0, 1 } } },
    { false, { ROOT, { ".", XD_SYNC_FOLDER, 0644, 0, NULL, 0, 1 } } },
    { true, { LINE("c", GONE) } },
    { true, { LINE("a/x", GONE) } },
    { true, { LINE("b/zz", KEPT) } },
    { true, { LINE("b", GONE), LINE("b/z", FILE) } },
    { true, { LINE("b", KEPT), LINE("b/y", FOLDER) } },
    { true, { LINE("b", FILE), LINE("b/z", GONE) } },
    { true, { LINE("a", FILE), LINE("B", FILE) } },
    { true, { LINE("a", FILE), LINE("a/b", FILE) } },
    { true, { LINE("b/a b/x", FILE) } },
};

START_TEST(reading_refuses)
{
    xd_manifest *base = sample(NULL);
    for (size_t i = 0; i < XD_ARRAY_LEN(bad_lists); i++) {
        size_t       n = 0;
        xd_error     err = { 0 };
        xd_manifest *m = NULL;
        while (n < 4 && bad_lists[i].line[n].path)
            n++;
        int r = read_lines(bad_lists[i].base ? base : NULL, bad_lists[i].line, n, &m, NULL, &err);
        ck_assert_msg(r == -EPROTO && err.code == -EPROTO && err.text[0], "list %zu gave %d: %s", i, r,
                      err.text);
        ck_assert_ptr_null(m);
    }
    xd_manifest_free(base);
}
END_TEST

/* Too deep and too long, which the table cannot hold. */
START_TEST(reading_is_bounded)
{
    static char  deep[4 * XD_MANIFEST_PATH_MAX];
    bodies      *b = calloc(1, sizeof(*b));
    xd_manifest *m = NULL;
    xd_error     err = { 0 };
    size_t       len = 0;
    xd_autobuf   one = XD_BUF_INIT;
    uint32_t     n = 1;
    make_list(&b->body[0], (const line[]){ ROOT }, 1);
    b->count = 1;
    for (; n <= XD_MANIFEST_DEPTH_MAX + 1; n++) {
        len += (size_t)snprintf(deep + len, sizeof(deep) - len, "%sd", len ? "/" : "");
        xd_buf_clear(&one);
        make_list(&one, &(line){ deep, XD_SYNC_FOLDER, 0755, 0, NULL, 0, 0 }, 1);
        ck_assert_int_eq(xd_buf_add(&b->body[n], one.data, one.len), 0);
        b->count++;
    }
    ck_assert_int_eq(apply(NULL, b, &m, NULL, NULL, &err), -EPROTO);
    xd_buf_release(&b->body[--b->count]);
    ck_assert_int_eq(apply(NULL, b, &m, NULL, NULL, &err), 0);
    ck_assert_uint_eq(m->count, XD_MANIFEST_DEPTH_MAX + 1);
    xd_manifest_free(m);
    release(b);
    memset(deep, 'x', sizeof(deep));
    deep[256] = 0;
    ck_assert_int_eq(
        read_lines(NULL, (const line[]){ ROOT, { deep, XD_SYNC_FILE, 0, 0, NULL, 0, 0 } }, 2, &m, NULL, &err),
        -EPROTO);
    deep[255] = 0;
    ck_assert_int_eq(
        read_lines(NULL, (const line[]){ ROOT, { deep, XD_SYNC_FILE, 0, 0, NULL, 0, 0 } }, 2, &m, NULL, &err),
        0);
    xd_manifest_free(m);
    memset(deep, 't', sizeof(deep));
    deep[4096] = 0;
    ck_assert_int_eq(
        read_lines(NULL, (const line[]){ ROOT, { "l", XD_SYNC_LINK, 0, 0, deep, 0, 0 } }, 2, &m, NULL, &err),
        -EPROTO);
    deep[4095] = 0;
    ck_assert_int_eq(
        read_lines(NULL, (const line[]){ ROOT, { "l", XD_SYNC_LINK, 0, 0, deep, 0, 0 } }, 2, &m, NULL, &err),
        0);
    xd_manifest_free(m);
    free(b);
}
END_TEST

static void kept_is(const line *lines, size_t n, const char *want, const char *rest)
{
    xd_manifest *base = sample(NULL), *m = NULL;
    xd_autobuf   kept = XD_BUF_INIT, paths = XD_BUF_INIT;
    xd_error     err = { 0 };
    ck_assert_int_eq(read_lines(base, lines, n, &m, &kept, &err), 0);
    for (size_t i = 0; i < kept.len; i++)
        kept.data[i] = kept.data[i] ? kept.data[i] : ';';
    for (uint32_t e = 0; e != XD_MANIFEST_NONE; e = xd_manifest_next(m, e)) {
        ck_assert_int_eq(xd_manifest_path(m, e, &paths), 0);
        ck_assert_int_eq(xd_buf_add_byte(&paths, ';'), 0);
    }
    ck_assert_str_eq(xd_buf_cstr(&kept), want);
    ck_assert_str_eq(xd_buf_cstr(&paths), rest);
    xd_manifest_free(base);
    xd_manifest_free(m);
}

START_TEST(gone_and_kept)
{
    kept_is(NULL, 0, "", ".;B;a;b;b/a b;b/z;");
    kept_is((const line[]){ LINE("b", GONE) }, 1, "", ".;B;a;");
    kept_is((const line[]){ LINE("b", KEPT) }, 1, "b;b/a b;b/z;", ".;B;a;");
    kept_is((const line[]){ LINE("b", GONE), LINE("b/z", KEPT) }, 2, "b/z;", ".;B;a;");
    kept_is((const line[]){ LINE("b", KEPT), LINE("b/a b", GONE) }, 2, "b;b/z;", ".;B;a;");
    kept_is((const line[]){ LINE("b", FILE) }, 1, "", ".;B;a;b;");
    kept_is((const line[]){ LINE("a", FOLDER), LINE("a/x", FILE), LINE("b/z", KEPT) }, 3, "b/z;",
            ".;B;a;a/x;b;b/a b;");
    kept_is((const line[]){ ROOT, LINE("B", WAY) }, 2, "", ".;B;a;b;b/a b;b/z;");
}
END_TEST

/* ---- any tree to any other ------------------------------------------------------------------------------------- */

#define NODES 60
typedef struct model_node {
    int      parent; /* -1 = not there; of the base 0 */
    uint8_t  name[300];
    size_t   name_len;
    uint8_t  type;
    uint16_t mode;
    uint32_t content, time;
    char     target[40];
} model_node;
typedef struct model {
    model_node node[NODES];
} model;

static bool is_folder(const model_node *n)
{
    return n->type == XD_SYNC_FOLDER || n->type == XD_SYNC_WAY;
}

/* Few names, so that they meet: letters in both cases, prefixes of others, bytes around the slash, any bytes, long ones. */
static void any_name(uint64_t *s, model_node *n)
{
    static const char *const few[] = { "a",  "A",  "ab",  "aB",   "Ab",           "a.py", "a b",     "a-",
                                       "a0", ".x", "...", "\x01", "\x2e\x2e\x2e", "\xff", "\xc3\xa4" };
    uint64_t                 pick = next(s) % 20;
    if (pick < XD_ARRAY_LEN(few)) {
        n->name_len = strlen(few[pick]);
        memcpy(n->name, few[pick], n->name_len);
        return;
    }
    n->name_len = pick == 19 ? XD_MANIFEST_NAME_MAX : 1 + next(s) % 12;
    for (size_t i = 0; i < n->name_len; i++)
        do
            n->name[i] = (uint8_t)(1 + next(s) % 255);
        while (n->name[i] == '/' || n->name[i] == '.');
}

static bool taken(const model *m, int node)
{
    for (int i = 1; i < NODES; i++)
        if (i != node && m->node[i].parent == m->node[node].parent &&
            m->node[i].name_len == m->node[node].name_len &&
            memcmp(m->node[i].name, m->node[node].name, m->node[i].name_len) == 0)
            return true;
    return false;
}

static bool below(const model *m, int node, int folder)
{
    for (; node > 0; node = m->node[node].parent)
        if (node == folder)
            return true;
    return false;
}

static void drop_below(model *m, int folder)
{
    for (int i = 1; i < NODES; i++)
        if (i != folder && m->node[i].parent >= 0 && below(m, i, folder))
            m->node[i].name_len = 0;
    for (int i = 1; i < NODES; i++)
        if (m->node[i].parent >= 0 && m->node[i].name_len == 0)
            m->node[i].parent = -1;
}

static void any_kind(uint64_t *s, model_node *n)
{
    static const uint8_t kinds[] = { XD_SYNC_FILE,   XD_SYNC_FILE, XD_SYNC_FILE, XD_SYNC_FOLDER,
                                     XD_SYNC_FOLDER, XD_SYNC_LINK, XD_SYNC_WAY };
    n->type = kinds[next(s) % XD_ARRAY_LEN(kinds)];
    n->mode = (uint16_t)(next(s) % 4 ? 0644 : next(s) % 01000);
    n->content = (uint32_t)(next(s) % 50);
    n->time = (uint32_t)(next(s) % 9);
    snprintf(n->target, sizeof(n->target), "t%u", (unsigned)(next(s) % 9));
}

/* One step: a new name, a name less, another kind, other contents, or a move. */
static void edit(uint64_t *s, model *m)
{
    int         i = 1 + (int)(next(s) % (NODES - 1)), folder = (int)(next(s) % NODES);
    model_node *n = &m->node[i], was = *n;
    if (m->node[folder].parent < 0 || !is_folder(&m->node[folder]))
        folder = 0;
    if (n->parent < 0) {
        any_kind(s, n);
        any_name(s, n);
        n->parent = folder;
        if (taken(m, i))
            n->parent = -1;
        return;
    }
    switch (next(s) % 6) {
    case 0:
        drop_below(m, i);
        n->parent = -1;
        return;
    case 1:
        any_kind(s, n);
        if (!is_folder(n))
            drop_below(m, i);
        return;
    case 2:
        any_name(s, n);
        break;
    case 3:
        if (!below(m, folder, i))
            n->parent = folder;
        break;
    default:
        n->content = (uint32_t)(next(s) % 50);
        n->mode = (uint16_t)(next(s) % 01000);
        n->time += (uint32_t)(next(s) % 2);
    }
    if (taken(m, i))
        *n = was;
}

static xd_manifest *build(uint64_t *s, const model *m)
{
    xd_tree     *t = NULL;
    xd_manifest *ret = NULL;
    uint32_t     handle[NODES];
    bool         done[NODES] = { true };
    MUST(xd_tree_new(&t, m->node[0].type, m->node[0].mode) == 0);
    handle[0] = 0;
    for (int left = NODES; left > 0; left--) { /* a folder comes before what is in it, else any order */
        for (int round = 0, i = (int)(next(s) % NODES); round < NODES; round++, i = (i + 1) % NODES) {
            const model_node *n = &m->node[i];
            if (done[i] || n->parent < 0 || !done[n->parent])
                continue;
            xd_node node = { .name = { n->name, n->name_len }, .type = n->type, .mode = n->mode };
            node.size = n->type == XD_SYNC_FILE ? n->content : 0;
            node.mtime_ns = (int64_t)n->time - 4;
            node.id = (xd_digest){ n->content, n->content * 7u };
            if (n->type == XD_SYNC_LINK)
                node.target = str(n->target);
            MUST(xd_tree_add(t, handle[n->parent], &node, &handle[i]) == 0);
            done[i] = true;
            break;
        }
    }
    MUST(xd_tree_end(&t, &ret, NULL) == 0);
    return ret;
}

/* The order of the tree by other means: a slash as 0, which no name has. */
static int compare_paths(xd_bytes a, xd_bytes b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int x = a.ptr[i] == '/' ? 0 : a.ptr[i], y = b.ptr[i] == '/' ? 0 : b.ptr[i];
        if (x != y)
            return x - y;
    }
    return (a.len > b.len) - (a.len < b.len);
}

typedef struct flat {
    uint32_t count;
    uint32_t entry[NODES];
    xd_buf   path[NODES];
} flat;

static void flatten(const xd_manifest *m, flat *f)
{
    uint32_t file = 0;
    memset(f, 0, sizeof(*f));
    for (uint32_t e = 0; e != XD_MANIFEST_NONE; e = xd_manifest_next(m, e)) {
        xd_buf *p = &f->path[f->count];
        MUST(f->count < NODES && xd_manifest_path(m, e, p) == 0);
        MUST(xd_manifest_find(m, xd_buf_view(p)) == e);
        MUST(f->count < 2 || compare_paths(xd_buf_view(p - 1), xd_buf_view(p)) < 0);
        if (m->entry[e].type == XD_SYNC_FILE) {
            MUST(m->entry[e].first == file && m->file[file] == e);
            file++;
        }
        f->entry[f->count++] = e;
    }
    MUST(f->count == m->count && file == m->files);
}

static void unflatten(flat *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        xd_buf_release(&f->path[i]);
}

static uint32_t flat_find(const flat *f, xd_bytes path)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (xd_bytes_eq(xd_buf_view(&f->path[i]), path))
            return f->entry[i];
    return XD_MANIFEST_NONE;
}

/* All that a record says; a folder's digest is not compared, as it is that of its names. */
static bool same(const xd_manifest *a, uint32_t x, const xd_manifest *b, uint32_t y)
{
    const xd_entry *p = &a->entry[x], *q = &b->entry[y];
    if (p->type != q->type || p->mode != q->mode)
        return false;
    if (p->type == XD_SYNC_FILE)
        return p->size == q->size && p->mtime_ns == q->mtime_ns && xd_digest_eq(p->id, q->id);
    return p->type != XD_SYNC_LINK || xd_bytes_eq(xd_entry_target(a, p), xd_entry_target(b, q));
}

typedef struct told {
    const xd_manifest *from, *to;
    const flat        *was, *is;
    uint32_t           count, last_len;
    xd_buf             last;
    xd_buf             changed; /* file numbers of `to` */
} told;

static int on_told(void *arg, xd_bytes path, uint32_t was, uint32_t is)
{
    told *t = arg;
    MUST(flat_find(t->was, path) == was && flat_find(t->is, path) == is);
    MUST(t->count == 0 || xd_bytes_eq_str(xd_buf_view(&t->last), ".") ||
         compare_paths(xd_buf_view(&t->last), path) < 0);
    MUST(was == XD_MANIFEST_NONE || is == XD_MANIFEST_NONE || !same(t->from, was, t->to, is));
    t->count++;
    xd_buf_clear(&t->last);
    if (is != XD_MANIFEST_NONE && t->to->entry[is].type == XD_SYNC_FILE)
        MUST(xd_buf_add(&t->changed, &t->to->entry[is].first, 4) == 0);
    return xd_buf_add_bytes(&t->last, path);
}

/* Each path that differs is told, once (on_told sees to the order), and no other. */
static void check_diff(told *t)
{
    uint32_t want = 0;
    for (uint32_t i = 0; i < t->was->count; i++) {
        uint32_t there = flat_find(t->is, xd_buf_view(&t->was->path[i]));
        want += there == XD_MANIFEST_NONE || !same(t->from, t->was->entry[i], t->to, there);
    }
    for (uint32_t i = 0; i < t->is->count; i++)
        want += flat_find(t->was, xd_buf_view(&t->is->path[i])) == XD_MANIFEST_NONE;
    MUST(xd_manifest_diff(t->from, t->to, on_told, t) == 0);
    MUST(t->count == want);
    xd_buf_release(&t->last);
}

static bool keeps(void *arg, xd_bytes path, bool is_folder)
{
    uint64_t h = *(uint64_t *)arg + path.len * 977 + path.ptr[path.len - 1] + is_folder;
    return next(&h) % 3 == 0;
}

/* Does it stand in a folder, at any height, that is a file or link now? Then nothing is said of it. */
static bool in_a_replaced_folder(const flat *is, const xd_manifest *to, xd_bytes path)
{
    for (size_t i = 0; i < path.len; i++) {
        uint32_t e = path.ptr[i] == '/' ? flat_find(is, (xd_bytes){ path.ptr, i }) : XD_MANIFEST_NONE;
        if (e != XD_MANIFEST_NONE && !xd_entry_is_folder(&to->entry[e]))
            return true;
    }
    return false;
}

static void check_kept(const told *t, uint64_t salt, xd_bytes kept)
{
    xd_autobuf want = XD_BUF_INIT;
    for (uint32_t i = 0; i < t->was->count; i++) {
        xd_bytes path = xd_buf_view(&t->was->path[i]);
        if (flat_find(t->is, path) == XD_MANIFEST_NONE && !in_a_replaced_folder(t->is, t->to, path) &&
            keeps(&salt, path, xd_entry_is_folder(&t->from->entry[t->was->entry[i]])))
            MUST(xd_buf_add_bytes(&want, path) == 0 && xd_buf_add_byte(&want, 0) == 0);
    }
    MUST(xd_bytes_eq(xd_buf_view(&want), kept));
}

static void same_tree(const xd_manifest *a, const flat *f, const xd_manifest *b)
{
    MUST(xd_digest_eq(xd_manifest_digest(a), xd_manifest_digest(b)));
    MUST(a->count == b->count && a->bytes == b->bytes);
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t e = xd_manifest_find(b, xd_buf_view(&f->path[i]));
        MUST(e != XD_MANIFEST_NONE && same(a, f->entry[i], b, e));
        MUST(xd_digest_eq(a->entry[f->entry[i]].id, b->entry[e].id));
    }
}

static void check_changes(uint64_t *s, const told *t, bodies *b)
{
    uint64_t     salt = next(s);
    xd_autobuf   kept = XD_BUF_INIT;
    xd_error     err = { 0 };
    xd_manifest *m = NULL;
    uint8_t     *pushed = NULL, want[NODES] = { 0 }, ask[NODES];
    memset(ask, (int)(next(s) & 0xff), sizeof(ask));
    for (size_t i = 0; i < t->changed.len; i += 4) {
        uint32_t f;
        memcpy(&f, t->changed.data + i, 4);
        want[f / 8] = (uint8_t)(want[f / 8] | (ask[f / 8] & 1u << f % 8));
    }
    MUST(xd_manifest_write(t->from, t->to, ask, keeps, &salt, 1 + next(s) % 300, collect, b) == 0 && b->last);
    int r = apply(t->from, b, &m, &pushed, &kept, &err);
    if (r)
        ck_abort_msg("seed %u: %d %s", (unsigned)seed_now, r, err.text);
    same_tree(t->to, t->is, m);
    MUST(memcmp(pushed, want, m->files / 8 + 1) == 0);
    check_kept(t, salt, xd_buf_view(&kept));
    release(b);
    free(pushed);
    xd_manifest_free(m);
    MUST(xd_manifest_write(t->from, t->to, NULL, NULL, NULL, 1000, collect, b) == 0);
    MUST(apply(t->from, b, &m, NULL, NULL, &err) == 0);
    same_tree(t->to, t->is, m);
    release(b);
    xd_manifest_free(m);
    MUST(xd_manifest_write(NULL, t->to, NULL, NULL, NULL, 1 + next(s) % 3000, collect, b) == 0);
    MUST(apply(NULL, b, &m, NULL, NULL, &err) == 0);
    same_tree(t->to, t->is, m);
    release(b);
    xd_manifest_free(m);
}

START_TEST(any_to_any)
{
    bodies  *b = calloc(1, sizeof(*b));
    model   *m = malloc(sizeof(*m));
    unsigned equal = 0;
    for (seed_now = 1; seed_now <= 3000; seed_now++) {
        uint64_t s = seed_now * 0x9e3779b97f4a7c15u;
        flat     was, is, again;
        memset(m, 0, sizeof(*m));
        for (int i = 1; i < NODES; i++)
            m->node[i].parent = -1;
        m->node[0] = (model_node){ .type = XD_SYNC_FOLDER, .mode = 0755 };
        for (uint64_t n = next(&s) % 200; n; n--)
            edit(&s, m);
        xd_manifest *from = build(&s, m), *twin = build(&s, m);
        for (uint64_t n = next(&s) % 4 ? next(&s) % 8 : next(&s) % 100; n; n--)
            edit(&s, m);
        if (next(&s) % 8 == 0)
            m->node[0].type = XD_SYNC_WAY;
        xd_manifest *to = build(&s, m);
        flatten(from, &was);
        flatten(to, &is);
        flatten(twin, &again);
        same_tree(from, &was, twin);
        told t = { .from = from, .to = to, .was = &was, .is = &is };
        check_diff(&t);
        bool moved = t.count > (uint32_t)!same(from, 0, to, 0); /* the base itself is no part of the digest */
        MUST(moved != xd_digest_eq(xd_manifest_digest(from), xd_manifest_digest(to)));
        equal += !moved;
        check_changes(&s, &t, b);
        xd_buf_release(&t.changed);
        unflatten(&was);
        unflatten(&is);
        unflatten(&again);
        xd_manifest_free(from);
        xd_manifest_free(twin);
        xd_manifest_free(to);
    }
    ck_assert_uint_gt(equal, 20); /* the sizes of the edits reach from none to all */
    ck_assert_uint_lt(equal, 2000);
    free(m);
    free(b);
}
END_TEST

/* ---- any records on any tree, beside a plain model of what they mean -------------------------------------------- */

#define PATHS 84 /* all of up to three names of four */
static char paths[PATHS][16];

static int by_order(const void *a, const void *b)
{
    return compare_paths(str(a), str(b));
}

static void all_paths(void)
{
    static const char *const names[] = { "a", "a.", "ab", "b" };
    size_t                   n = 0;
    for (size_t i = 0; i < 4; i++) {
        snprintf(paths[n++], 16, "%s", names[i]);
        for (size_t j = 0; j < 4; j++) {
            snprintf(paths[n++], 16, "%s/%s", names[i], names[j]);
            for (size_t k = 0; k < 4; k++)
                snprintf(paths[n++], 16, "%s/%s/%s", names[i], names[j], names[k]);
        }
    }
    ck_assert_uint_eq(n, PATHS);
    qsort(paths, PATHS, 16, by_order);
}

/* The path of its folder; -1: the base. */
static int above(int i)
{
    const char *slash = strrchr(paths[i], '/');
    for (int k = 0; slash && k < PATHS; k++)
        if (strlen(paths[k]) == (size_t)(slash - paths[i]) &&
            strncmp(paths[k], paths[i], strlen(paths[k])) == 0)
            return k;
    return -1;
}

static bool folder_type(uint8_t type)
{
    return type == XD_SYNC_FOLDER || type == XD_SYNC_WAY;
}

static bool inside(int i, int folder)
{
    for (i = above(i); i >= 0; i = above(i))
        if (i == folder)
            return true;
    return false;
}

static void forget_below(uint8_t *state, int folder)
{
    for (int k = 0; k < PATHS; k++)
        if (inside(k, folder))
            state[k] = 0;
}

/* 0 = the path holds nothing, else its type. false: it must be refused. replaced: folders of the base that became something else. */
static bool apply_plain(uint8_t *state, const uint8_t *base, bool *replaced, int i, uint8_t type)
{
    bool gone = type == XD_SYNC_GONE || type == XD_SYNC_KEPT;
    for (int k = above(i); k >= 0; k = above(k))
        if (gone ? replaced[k] : !folder_type(state[k]))
            return false;
    if (gone && !base[i])
        return false;
    if (gone || !folder_type(type)) {
        replaced[i] = !gone;
        forget_below(state, i);
    }
    state[i] = gone ? 0 : type;
    return true;
}

static xd_manifest *tree_of(const uint8_t *state)
{
    uint32_t     handle[PATHS];
    xd_tree     *t = NULL;
    xd_manifest *m = NULL;
    MUST(xd_tree_new(&t, XD_SYNC_FOLDER, 0755) == 0);
    for (int i = 0; i < PATHS; i++) {
        const char *slash = strrchr(paths[i], '/');
        xd_node     n = { .name = str(slash ? slash + 1 : paths[i]), .type = state[i], .mode = 0644 };
        if (state[i] == XD_SYNC_LINK)
            n.target = str("t");
        if (state[i])
            MUST(xd_tree_add(t, above(i) < 0 ? 0 : handle[above(i)], &n, &handle[i]) == 0);
    }
    MUST(xd_tree_end(&t, &m, NULL) == 0);
    return m;
}

START_TEST(any_records)
{
    unsigned accepted = 0, refused = 0;
    all_paths();
    for (seed_now = 1; seed_now <= 20000; seed_now++) {
        uint64_t s = seed_now * 0x9e3779b97f4a7c15u;
        uint8_t  base[PATHS] = { 0 }, state[PATHS];
        bool     replaced[PATHS] = { 0 }, good = true;
        line     list[12];
        size_t   n = 0;
        for (int i = 0; i < PATHS; i++)
            if (next(&s) % 3 && (above(i) < 0 || folder_type(base[above(i)])))
                base[i] = (uint8_t)(next(&s) % 2 ? XD_SYNC_FOLDER : 1 + next(&s) % 4);
        memcpy(state, base, sizeof(state));
        for (int i = (int)(next(&s) % 9), last = -1; i < PATHS && n < 12; i += 1 + (int)(next(&s) % 30)) {
            int     at = next(&s) % 64 ? i : (int)(next(&s) % PATHS); /* now and then out of order */
            uint8_t type = (uint8_t)(next(&s) % 6);
            if ((type == XD_SYNC_GONE || type == XD_SYNC_KEPT) && !base[at] && next(&s) % 8)
                type = XD_SYNC_FILE;
            if (above(at) >= 0 && !folder_type(state[above(at)]) && next(&s) % 8 && type != XD_SYNC_GONE)
                continue;
            list[n++] = (line){ paths[at], type, 0644, 0, type == XD_SYNC_LINK ? "t" : NULL, 0, 0 };
            good = good && at > last && apply_plain(state, base, replaced, at, type);
            last = at;
        }
        xd_manifest *from = tree_of(base), *m = NULL, *want = good ? tree_of(state) : NULL;
        xd_error     err = { 0 };
        int          r = read_lines(from, list, n, &m, NULL, &err);
        MUST(r == (good ? 0 : -EPROTO));
        MUST(!good || xd_digest_eq(xd_manifest_digest(m), xd_manifest_digest(want)));
        *(good ? &accepted : &refused) += 1;
        xd_manifest_free(from);
        xd_manifest_free(m);
        xd_manifest_free(want);
    }
    ck_assert_uint_gt(accepted, 4000);
    ck_assert_uint_gt(refused, 4000);
}
END_TEST

/* ---- many ------------------------------------------------------------------------------------------------------- */

static int count_bytes(void *arg, xd_bytes body, bool last)
{
    (void)last;
    *(size_t *)arg += body.len;
    return 0;
}

START_TEST(eighty_thousand)
{
    xd_tree     *t = NULL;
    xd_manifest *m = NULL;
    uint64_t     begin = xd_clock_ns(), s = 1;
    uint32_t     folder[4442] = { 0 };
    char         name[40];
    size_t       wire = 0;
    ck_assert_int_eq(xd_tree_new(&t, XD_SYNC_FOLDER, 0755), 0);
    for (unsigned i = 1; i <= 4441; i++) {
        int     len = snprintf(name, sizeof(name), "package_%05u", i * 7919 % 4441);
        xd_node n = { .name = { (uint8_t *)name, (size_t)len }, .type = XD_SYNC_FOLDER, .mode = 0755 };
        MUST(xd_tree_add(t, folder[(i - 1) / 4], &n, &folder[i]) == 0);
    }
    for (unsigned i = 0; i < 80000; i++) {
        int     len = snprintf(name, sizeof(name), "module_%05u.py", i * 48271 % 80000);
        xd_node n = { .name = { (uint8_t *)name, (size_t)len },
                      .type = XD_SYNC_FILE,
                      .mode = 0644,
                      .size = i,
                      .id = { i, i } };
        n.mtime_ns = (int64_t)next(&s);
        MUST(xd_tree_add(t, folder[i % 4442], &n, NULL) == 0);
    }
    uint64_t added = xd_clock_ns();
    ck_assert_int_eq(xd_tree_end(&t, &m, NULL), 0);
    uint64_t end = xd_clock_ns();
    size_t   heap = m->count * sizeof(*m->entry) + m->files * sizeof(*m->file) + m->text_len;
    ck_assert_int_eq(xd_manifest_write(NULL, m, NULL, NULL, NULL, 1 << 20, count_bytes, &wire), 0);
    uint64_t written = xd_clock_ns();
    printf(
        "80,000 files: added %.1f ms, built %.1f ms, written %.1f ms; %zu bytes of memory, %zu of records\n",
        (double)(added - begin) / 1e6, (double)(end - added) / 1e6, (double)(written - end) / 1e6, heap,
        wire);
    ck_assert_uint_eq(m->files, 80000);
    ck_assert_uint_eq(m->count, 84442);
    ck_assert_uint_le(heap, 9u << 20);
    xd_manifest_free(m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("manifest");
    TCase *tree = tcase_create("tree");
    tcase_add_test(tree, lookups);
    tcase_add_test(tree, format);
    tcase_add_test(tree, amend);
    tcase_add_test(tree, building_refuses);
    suite_add_tcase(suite, tree);
    TCase *records = tcase_create("records");
    tcase_add_test(records, reading_refuses);
    tcase_add_test(records, reading_is_bounded);
    tcase_add_test(records, gone_and_kept);
    suite_add_tcase(suite, records);
    TCase *any = tcase_create("any");
    tcase_add_test(any, any_to_any);
    tcase_add_test(any, any_records);
    tcase_add_test(any, eighty_thousand);
    suite_add_tcase(suite, any);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
