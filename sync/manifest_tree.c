/* sync/manifest_tree.c - builds a manifest from names that come in any order of folders. See manifest.h. */
#include <stdlib.h>
#include <string.h>

#include "sync/manifest.h"

/* Entries in the order in which they came: handle = index. Until the end an entry's mark is 0; `first` and `count` of a folder are unused, and
 * its id holds what bounds the paths below it. */
struct xd_tree {
    xd_entry *entry;
    uint32_t  count, cap, files;
    xd_buf    text;
    uint64_t  bytes;
};

xd_tree *xd_tree_free(xd_tree *t)
{
    if (t) {
        free(t->entry);
        xd_buf_release(&t->text);
        free(t);
    }
    return NULL;
}

/* As much again by a half: what is not used of it has no memory behind it, and the blocks are large enough to be moved by the kernel. */
static int grow(xd_tree *t)
{
    uint32_t  cap = t->cap < 64 ? 64 : t->cap + t->cap / 2;
    xd_entry *more = realloc(t->entry, cap * sizeof(*more));
    if (!more)
        return -ENOMEM;
    t->entry = more;
    t->cap = cap;
    return 0;
}

int xd_tree_new(xd_tree **ret, uint8_t base_type, uint16_t base_mode)
{
    if (base_type != XD_SYNC_FOLDER && base_type != XD_SYNC_WAY)
        return -EINVAL;
    xd_auto(xd_tree) *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    XD_TRY(grow(t));
    XD_TRY(xd_buf_reserve(&t->text, 1)); /* a pointer to a text that is empty */
    t->entry[0] =
        (xd_entry){ .parent = XD_MANIFEST_NONE, .type = base_type & 0x3fu, .mode = base_mode & 0777 };
    t->count = 1;
    *ret = xd_take(&t);
    return 0;
}

static bool name_ok(xd_bytes name)
{
    if (name.len == 0 || name.len > XD_MANIFEST_NAME_MAX || memchr(name.ptr, '/', name.len) ||
        memchr(name.ptr, 0, name.len))
        return false;
    return name.ptr[0] != '.' || (name.len != 1 && (name.len != 2 || name.ptr[1] != '.'));
}

static bool node_ok(const xd_node *n)
{
    if (!name_ok(n->name) || n->type < XD_SYNC_FILE || n->type > XD_SYNC_WAY)
        return false;
    if (n->type == XD_SYNC_FILE)
        return n->size <= XD_MANIFEST_SIZE_MAX;
    return n->type != XD_SYNC_LINK || (n->target.len > 0 && n->target.len <= XD_MANIFEST_PATH_MAX &&
                                       !memchr(n->target.ptr, 0, n->target.len));
}

/* Where the string is in the text from now on. */
static int add_text(xd_tree *t, xd_bytes s, uint32_t *ret)
{
    if (t->text.len + s.len > UINT32_MAX)
        return -E2BIG;
    *ret = (uint32_t)t->text.len;
    return xd_buf_add_bytes(&t->text, s);
}

int xd_tree_add(xd_tree *t, uint32_t folder, const xd_node *node, uint32_t *ret)
{
    if (folder >= t->count || !xd_entry_is_folder(&t->entry[folder]) || !node_ok(node))
        return -EINVAL;
    xd_digest above = t->entry[folder].id; /* length of its path and its depth */
    uint64_t  path = above.lo + (above.lo != 0) + node->name.len, depth = above.hi + 1;
    if (path > XD_MANIFEST_PATH_MAX || depth > XD_MANIFEST_DEPTH_MAX || t->count == XD_MANIFEST_ENTRIES_MAX)
        return -E2BIG;
    if (node->type == XD_SYNC_FILE && node->size > XD_MANIFEST_SIZE_MAX - t->bytes)
        return -E2BIG;
    if (t->count == t->cap)
        XD_TRY(grow(t));
    xd_entry *e = &t->entry[t->count];
    *e = (xd_entry){ .parent = folder,
                     .name_len = (uint8_t)node->name.len,
                     .type = node->type & 0x3fu,
                     .mode = node->mode & 0777 };
    XD_TRY(add_text(t, node->name, &e->name));
    if (node->type == XD_SYNC_FILE) {
        e->size = node->size;
        e->mtime_ns = node->mtime_ns;
        e->id = node->id;
        t->files++;
        t->bytes += node->size;
    } else if (node->type == XD_SYNC_LINK) {
        e->mode = 0;
        e->count = (uint32_t)node->target.len;
        XD_TRY(add_text(t, node->target, &e->first));
        e->id = xd_digest_of(node->target);
    } else {
        e->id = (xd_digest){ path, depth };
    }
    if (ret)
        *ret = t->count;
    t->count++;
    return 0;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

/* A name to be sorted; most differ in their first eight bytes already. */
typedef struct key {
    uint64_t    head; /* those, as a big-endian number, filled up with 0, which no name contains */
    const char *name;
    uint32_t    len;
    uint32_t    handle;
} key;

static int compare_keys(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    int c = memcmp(x->name, y->name, XD_MIN(x->len, y->len));
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static key make_key(const xd_tree *t, uint32_t handle)
{
    const xd_entry *e = &t->entry[handle];
    uint8_t         head[8] = { 0 };
    key k = { .name = (const char *)t->text.data + e->name, .len = e->name_len, .handle = handle };
    memcpy(head, k.name, XD_MIN(k.len, 8u));
    for (size_t i = 0; i < 8; i++)
        k.head = k.head << 8 | head[i];
    return k;
}

/* Sorts the handles of one folder's names. -EEXIST: one is there twice. */
static int sort_names(const xd_tree *t, uint32_t *handle, uint32_t count, key *keys)
{
    bool sorted = true;
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = make_key(t, handle[i]);
        sorted = sorted && (i == 0 || compare_keys(&keys[i - 1], &keys[i]) < 0);
    }
    if (sorted)
        return 0;
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (uint32_t i = 0; i < count; i++) {
        if (i && compare_keys(&keys[i - 1], &keys[i]) == 0)
            return -EEXIST;
        handle[i] = keys[i].handle;
    }
    return 0;
}

/* Handles grouped by folder: those of folder f are by[at[f]] to by[at[f + 1] - 1]. *ret_most: of the largest folder. */
static int group(const xd_tree *t, uint32_t **ret_by, uint32_t **ret_at, uint32_t *ret_most)
{
    xd_autofree uint32_t *by = malloc((size_t)t->count * sizeof(*by));
    xd_autofree uint32_t *at = calloc((size_t)t->count + 2, sizeof(*at));
    uint32_t              most = 0;
    if (!by || !at)
        return -ENOMEM;
    for (uint32_t i = 1; i < t->count;
         i++) { /* two places on: one place on is where each begins while they are filled */
        uint32_t count = ++at[t->entry[i].parent + 2];
        most = XD_MAX(most, count);
    }
    for (uint32_t f = 2; f < t->count + 2; f++)
        at[f] += at[f - 1];
    for (uint32_t i = 1; i < t->count; i++)
        by[at[t->entry[i].parent + 1]++] = i;
    *ret_by = xd_take(&by);
    *ret_at = xd_take(&at);
    *ret_most = most;
    return 0;
}

/* Lays the entries out: each folder's names side by side, behind the folder. map: entry of each handle. */
static int lay_out(xd_tree *t, xd_entry *out, uint32_t *map)
{
    xd_autofree uint32_t *by = NULL, *at = NULL;
    xd_autofree key      *keys = NULL;
    uint32_t              most, next = 1;
    XD_TRY(group(t, &by, &at, &most));
    keys = malloc(((size_t)most + 1) * sizeof(*keys));
    xd_autofree uint32_t *handle_of = calloc(t->count, sizeof(*handle_of));
    if (!keys || !handle_of)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t handle = handle_of[i];
        out[i] = t->entry[handle];
        map[handle] = i;
        if (i)
            out[i].parent = map[out[i].parent];
        if (!xd_entry_is_folder(&out[i]))
            continue;
        uint32_t count = at[handle + 1] - at[handle];
        XD_TRY(sort_names(t, by + at[handle], count, keys));
        if (count)
            memcpy(handle_of + next, by + at[handle], count * sizeof(*by));
        out[i].first = next;
        out[i].count = count;
        next += count;
    }
    return 0;
}

static void number_files(xd_manifest *m)
{
    uint32_t number = 0;
#if XD_PLANTED_BUG == 46 /* the simulator must find it: as entries lie, not in the order of the tree */
    for (uint32_t e = 0; e < m->count; e++)
#else
    for (uint32_t e = 0; e != XD_MANIFEST_NONE; e = xd_manifest_next(m, e))
#endif
        if (m->entry[e].type == XD_SYNC_FILE) {
            m->entry[e].first = number;
            m->file[number++] = e;
        }
}

/* What growing left over is given back first, so that the old and the new order of all are the most there is. */
static void trim(xd_tree *t)
{
    void *less = realloc(t->entry, (size_t)t->count * sizeof(*t->entry));
    if (less) {
        t->entry = less;
        t->cap = t->count;
    }
    less = t->text.len ? realloc(t->text.data, t->text.len) : NULL;
    if (less) {
        t->text.data = less;
        t->text.cap = t->text.len;
    }
}

int xd_tree_end(xd_tree **tree, xd_manifest **ret, uint32_t **ret_map)
{
    xd_auto(xd_tree) *t = xd_take(tree);
    xd_auto(xd_manifest) *m = calloc(1, sizeof(*m));
    trim(t);
    xd_autofree uint32_t *map = malloc((size_t)t->count * sizeof(*map));
    if (!m || !map)
        return -ENOMEM;
    m->entry = malloc((size_t)t->count * sizeof(*m->entry));
    m->file = malloc(((size_t)t->files + 1) * sizeof(*m->file));
    if (!m->entry || !m->file)
        return -ENOMEM;
    XD_TRY(lay_out(t, m->entry, map));
    m->count = t->count;
    m->files = t->files;
    m->bytes = t->bytes;
    m->text_len = t->text.len;
    m->text = (char *)xd_take(&t->text.data);
    t->text = XD_BUF_INIT;
    number_files(m);
    xd_manifest_seal(m);
    if (ret_map)
        *ret_map = xd_take(&map);
    *ret = xd_take(&m);
    return 0;
}
