/* sync_tree.c - see sync.h: trees as lists of paths, and random edits. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sync.h"

void *sy_alloc(sy_world *w, size_t size)
{
    void *p = xd_arena_alloc(&w->arena, size ? size : 1, 8);
    if (!p)
        abort();
    return p;
}

const char *sy_text(sy_world *w, const void *text, size_t len)
{
    char *copy = sy_alloc(w, len + 1);
    if (len)
        memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

static void fill(sy_world *w, uint8_t *to, size_t len)
{
    uint64_t seed = (uint64_t)sy_rand(w, 1u << 30) << 32 | sy_rand(w, 1u << 30); /* splitmix64 */
    for (size_t i = 0; i < len; i += 8) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        memcpy(to + i, &z, XD_MIN(len - i, sizeof z));
    }
}

const sy_blob *sy_blob_new(sy_world *w, const uint8_t *bytes, size_t len)
{
    sy_blob *b = sy_alloc(w, sizeof *b + len);
    b->len = len;
    if (bytes && len)
        memcpy(b->bytes, bytes, len);
    else if (!bytes)
        fill(w, b->bytes, len);
    b->id = xd_digest_of((xd_bytes){ b->bytes, len });
    return b;
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* Bytes before and behind the slash, the same first eight bytes, what patterns quote, what is no UTF-8, what defaults leave out. */
const char *sy_name(sy_world *w)
{
    static const char *const names[] = {
        "a",        "b",        "c",     "d",        "ab",          "abc",         "a.o",
        "b.dat",    "a-b",      "a b",   "A",        "lib",         "src",         "build",
        "b.o",      "xy",       "y",     "module_a", "module_b",    "module_ab",   "module_\xc3\xa9",
        "\xc3\xa9", "\xff\xfe", "\x80",  "*x",       "[y]",         "#z",          "!w",
        "x~",       ".e",       "t.pyc", "a\\b",     "__pycache__", ".coveragerc", ".xd-1",
        ".git",     "sp ",      "?",
    };
    if (sy_chance(w, 1)) {
        char         long_one[XD_MANIFEST_NAME_MAX];
        const size_t len = XD_MANIFEST_NAME_MAX - sy_rand(w, 2);
        memset(long_one, 'a', sizeof long_one);
        return sy_text(w, long_one, len);
    }
    return names[sy_rand(w, sy_chance(w, 60) ? 14 : XD_ARRAY_LEN(names))];
}

const char *sy_join(sy_world *w, const char *folder, const char *name)
{
    const size_t a = strlen(folder), b = strlen(name);
    char        *path = sy_alloc(w, a + b + 2);
    memcpy(path, folder, a);
    if (a)
        path[a] = '/';
    memcpy(path + a + (a != 0), name, b);
    path[a + (a != 0) + b] = 0;
    return path;
}

size_t sy_parent_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

bool sy_is_below(const char *path, const char *folder)
{
    const size_t len = strlen(folder);
    return len ? strncmp(path, folder, len) == 0 && path[len] == '/' : path[0] != 0;
}

int sy_order(const char *a, const char *b)
{
    for (;;) { /* name by name */
        const size_t x = strcspn(a, "/"), y = strcspn(b, "/");
        const int    c = memcmp(a, b, XD_MIN(x, y));
        if (c || x != y)
            return c ? c : x < y ? -1 : 1;
        if (!a[x] || !b[y])
            return (a[x] != 0) - (b[y] != 0);
        a += x + 1;
        b += y + 1;
    }
}

uint32_t sy_find(const sy_tree *t, const char *path)
{
    uint32_t i = 0;
    while (i < t->n && strcmp(t->at[i].path, path) != 0)
        i++;
    return i;
}

void sy_remove(sy_tree *t, const char *path, bool also_it)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n; i++)
        if (!sy_is_below(t->at[i].path, path) && !(also_it && strcmp(t->at[i].path, path) == 0))
            t->at[n++] = t->at[i];
    t->n = n;
}

bool sy_add(sy_tree *t, const sy_entry *e)
{
    if (t->n == SY_PATHS)
        return false;
    t->at[t->n++] = *e;
    return true;
}

static int by_order(const void *a, const void *b)
{
    return sy_order(((const sy_entry *)a)->path, ((const sy_entry *)b)->path);
}

void sy_sort(sy_tree *t)
{
    qsort(t->at + 1, t->n - 1, sizeof *t->at, by_order); /* the base is first already */
}

const char *sy_path(sy_world *w, const xd_manifest *m, uint32_t entry)
{
    xd_autobuf b = XD_BUF_INIT;
    if (entry == 0)
        return "";
    SY_MUST(w, xd_manifest_path(m, entry, &b));
    return sy_text(w, b.data, b.len);
}

uint32_t sy_any(sy_world *w, const sy_tree *t, uint8_t type)
{
    for (uint32_t i = 0, k = sy_rand(w, t->n); i < t->n; i++) {
        const uint32_t at = (i + k) % t->n;
        if (type ? t->at[at].type == type : at != 0)
            return at;
    }
    return t->n;
}

bool sy_same(const sy_entry *a, const sy_entry *b)
{
    if (a->type != b->type || a->mode != b->mode)
        return false;
    if (a->type == XD_SYNC_FILE)
        return a->mtime_ns == b->mtime_ns && a->content->len == b->content->len &&
               (a->content == b->content ||
                memcmp(a->content->bytes, b->content->bytes, a->content->len) == 0);
    return a->type != XD_SYNC_LINK || strcmp(a->target, b->target) == 0;
}

/* ---- random trees ----------------------------------------------------------------------------------------------- */

static uint16_t mode_of(sy_world *w, uint8_t type)
{
    static const uint16_t modes[] = { 0644, 0755, 0600, 0444, 0700, 0777, 0 };
    return type == XD_SYNC_LINK ? 0 : modes[sy_rand(w, sy_chance(w, 70) ? 2 : XD_ARRAY_LEN(modes))];
}

static const char *target_of(sy_world *w)
{
    static const char *const whole[] = { "..", ".", "../..", "a/..", "/", SY_BASE, SY_BASE "/" };
    static const char *const heads[] = { "",
                                         "",
                                         "./",
                                         "../",
                                         "../../",
                                         "../../../",
                                         SY_BASE "/",
                                         SY_BASE "/",
                                         "/etc/",
                                         SY_BASE "x/",
                                         "//home/./u/x/../proj/" };
    const char              *head = heads[sy_rand(w, XD_ARRAY_LEN(heads))];
    const uint32_t           any = sy_any(w, &w->home, 0);
    xd_autobuf               b = XD_BUF_INIT;
    if (sy_chance(w, 10))
        return whole[sy_rand(w, XD_ARRAY_LEN(whole))];
    SY_MUST(w, xd_buf_add_str(&b, head));
    SY_MUST(w, xd_buf_add_str(&b, any < w->home.n && sy_chance(w, 60) ? w->home.at[any].path : sy_name(w)));
    SY_MUST(w, xd_buf_add_str(&b, sy_chance(w, 5) ? "/../b/" : ""));
    return sy_text(w, b.data, b.len);
}

static size_t size_of(sy_world *w)
{
    const uint32_t k = sy_rand(w, 100);
    return k < 8 ? 0 : k < 70 ? sy_rand(w, 200) : k < 92 ? sy_rand(w, 3000) : sy_rand(w, 20000);
}

sy_entry sy_entry_new(sy_world *w, const char *path, uint8_t type)
{
    sy_entry e = { .path = path, .type = type, .mode = mode_of(w, type) };
    if (type == XD_SYNC_FILE) {
        e.mtime_ns = (int64_t)sim_between(&w->sim, 0, 1u << 20) - 1000;
        e.content = sy_blob_new(w, NULL, size_of(w));
    } else if (type == XD_SYNC_LINK) {
        e.target = target_of(w);
    }
    return e;
}

static uint32_t depth_of(const char *path)
{
    uint32_t depth = path[0] != 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static uint8_t type_of(sy_world *w)
{
    const uint32_t k = sy_rand(w, 10);
    return k < 5 ? XD_SYNC_FILE : k < 9 ? XD_SYNC_FOLDER : XD_SYNC_LINK;
}

static void add_random(sy_world *w, sy_tree *t)
{
    const uint32_t folder = sy_any(w, t, XD_SYNC_FOLDER);
    const char    *name = sy_name(w);
    if (depth_of(t->at[folder].path) >= 6 || t->n > SY_PATHS / 2)
        return;
    const char *path = sy_join(w, t->at[folder].path, name);
    if (sy_find(t, path) < t->n)
        return;
    const sy_entry e = sy_entry_new(w, path, type_of(w));
    (void)sy_add(t, &e);
}

static void set_rules(sy_world *w)
{
    sy_entry *f = &w->home.at[sy_any(w, &w->home, XD_SYNC_FOLDER)];
    if (sy_chance(w, 30))
        f = &w->home.at[0];
    const sy_rules **to = sy_chance(w, 50) ? &f->git : &f->own;
    *to = sy_chance(w, 20) ? NULL : sy_rules_new(w, f->path);
}

void sy_tree_make(sy_world *w)
{
    static const uint8_t sizes[] = { 0, 3, 10, 20, 30, 45 };
    const sy_entry       base = { .path = "", .type = XD_SYNC_FOLDER, .mode = 0755 };
    w->home.n = 0;
    (void)sy_add(&w->home, &base);
    for (uint32_t i = sizes[sy_rand(w, XD_ARRAY_LEN(sizes))]; i > 0; i--)
        add_random(w, &w->home);
    for (uint32_t i = sy_rand(w, 3); i > 0; i--)
        set_rules(w);
    const uint32_t file = sy_any(w, &w->home, XD_SYNC_FILE);
    if (file < w->home.n && sy_rand(w, 60) == 0)
        w->home.at[file].content = sy_blob_new(w, NULL, 60000 + sy_rand(w, 150000));
}

/* ---- edits ------------------------------------------------------------------------------------------------------ */

/* Moves what stands at a path, and all below it. */
static void move(sy_world *w, sy_tree *t, const char *from, const char *to)
{
    const size_t len = strlen(from);
    if (strcmp(from, to) == 0 || sy_is_below(to, from) || sy_is_below(from, to))
        return;
    sy_remove(t, to, true);
    for (uint32_t i = 0; i < t->n; i++) {
        const char *path = t->at[i].path;
        if (strcmp(path, from) == 0)
            t->at[i].path = to;
        else if (sy_is_below(path, from))
            t->at[i].path = sy_join(w, to, path + len + 1);
    }
}

static void rename_one(sy_world *w, sy_tree *t, uint32_t at)
{
    const uint32_t folder = sy_any(w, t, XD_SYNC_FOLDER);
    const char    *from = t->at[at].path;
    const char    *parent = sy_chance(w, 50) ? sy_text(w, from, sy_parent_len(from)) : t->at[folder].path;
    if (depth_of(parent) < 6)
        move(w, t, from, sy_join(w, parent, sy_name(w)));
}

static void swap_kind(sy_world *w, sy_tree *t, uint32_t at)
{
    const char    *path = t->at[at].path;
    const uint8_t  type = type_of(w);
    const sy_entry e = sy_entry_new(w, path, type);
    sy_remove(t, path, true);
    (void)sy_add(t, &e);
    for (uint32_t i = type == XD_SYNC_FOLDER ? sy_rand(w, 3) : 0; i > 0; i--) {
        const char *inner = sy_join(w, path, sy_name(w));
        if (sy_find(t, inner) == t->n && depth_of(inner) < 7) {
            const sy_entry n = sy_entry_new(w, inner, type_of(w));
            (void)sy_add(t, &n);
        }
    }
}

static void edit_file(sy_world *w, sy_tree *t, sy_entry *e)
{
    const uint32_t other = sy_any(w, t, XD_SYNC_FILE);
    switch (sy_rand(w, 5)) {
    case 0:
        e->mtime_ns += 1 + sy_rand(w, 3);
        break;
    case 1:
        e->content = t->at[other].content;
        break;
    case 2: { /* two change places */
        const sy_blob *b = e->content;
        e->content = t->at[other].content;
        t->at[other].content = b;
        break;
    }
    default:
        e->content = sy_blob_edit(w, e->content);
        e->mtime_ns += sy_chance(w, 80);
    }
}

static void edit_entry(sy_world *w, sy_tree *t, uint32_t at)
{
    sy_entry *e = &t->at[at];
    switch (sy_rand(w, 8)) {
    case 0:
        e->mode = mode_of(w, e->type);
        break;
    case 1:
        rename_one(w, t, at);
        break;
    case 2:
        sy_remove(t, e->path, true);
        break;
    case 3:
        swap_kind(w, t, at);
        break;
    default:
        if (e->type == XD_SYNC_FILE)
            edit_file(w, t, e);
        else if (e->type == XD_SYNC_LINK)
            e->target = target_of(w);
        else
            add_random(w, t);
    }
}

void sy_tree_edit(sy_world *w)
{
    const uint32_t at = sy_any(w, &w->home, 0), k = sy_rand(w, 20);
    for (uint32_t i = 0; i < w->home.n; i++) /* seeds with a large file are few */
        if (w->home.at[i].content && w->home.at[i].content->len > 50000 && sy_chance(w, 20)) {
            w->home.at[i].content = sy_blob_edit(w, w->home.at[i].content);
            return;
        }
    if (k < 2)
        set_rules(w);
    else if (k == 2)
        w->home.at[0].mode = mode_of(w, XD_SYNC_FOLDER);
    else if (k < 6 || at == w->home.n)
        add_random(w, &w->home);
    else
        edit_entry(w, &w->home, at);
}

void sy_tree_meddle(sy_world *w, sy_tree *t)
{
    const uint32_t at = sy_any(w, t, 0);
    if (at == t->n || sy_chance(w, 60)) { /* new ones are not brought: all bits of them are 0 */
        add_random(w, t);
        return;
    }
    sy_entry *e = &t->at[at];
    if (sy_chance(w, 40))
        sy_remove(t, e->path, true);
    else if (sy_chance(w, 30))
        e->mode = mode_of(w, e->type);
    else if (e->type == XD_SYNC_FILE)
        e->content = sy_blob_edit(w, e->content);
    else if (e->type == XD_SYNC_LINK)
        e->target = target_of(w);
}
