/* sync/manifest_read.c - records become a manifest: all of one, or those in which it differs from a base. See manifest.h.
 *
 * Records and base are walked side by side, both in the order of the tree. A stack holds the folders that are open: those above the record that came last, and that
 * one if it is a folder. What a record passes over is taken from the base as it is. */
#include <stdlib.h>
#include <string.h>

#include "sync/manifest.h"

typedef struct level {
    uint32_t base;     /* the folder's entry there; NONE: it is new, or was no folder */
    uint32_t next;     /* how many of its names there are done with */
    uint32_t handle;   /* in the tree that is built, unless it is gone */
    uint16_t path_len; /* of its path, 0 of the base */
    uint8_t  gone;     /* STANDS, IS_GONE, IS_KEPT */
} level;
enum { STANDS, IS_GONE, IS_KEPT };

struct xd_records {
    const xd_manifest *base;
    xd_tree           *tree; /* NULL until the base's own type is known */
    level              level[XD_MANIFEST_DEPTH_MAX + 1];
    size_t             depth; /* levels that are open */
    bool               begun; /* a record came */
    bool               at_base;
    uint16_t           path_len;
    uint8_t            path[XD_MANIFEST_PATH_MAX]; /* of the last record */
    xd_buf             pushed;                     /* handles of files */
    xd_buf             kept;
};

int xd_records_new(xd_records **ret, const xd_manifest *base)
{
    xd_records *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->base = base;
    *ret = r;
    return 0;
}

xd_records *xd_records_free(xd_records *r)
{
    if (r) {
        xd_tree_free(r->tree);
        xd_buf_release(&r->pushed);
        xd_buf_release(&r->kept);
        free(r);
    }
    return NULL;
}

/* ---- what is taken from the base ------------------------------------------------------------------------------ */

static xd_node node_of(const xd_manifest *m, const xd_entry *e)
{
    xd_node n = { .name = xd_entry_name(m, e), .type = e->type, .mode = e->mode };
    if (e->type == XD_SYNC_FILE) {
        n.size = e->size;
        n.mtime_ns = e->mtime_ns;
        n.id = e->id;
    } else if (e->type == XD_SYNC_LINK) {
        n.target = xd_entry_target(m, e);
    }
    return n;
}

static int add_kept(xd_records *r, uint32_t entry)
{
    XD_TRY(xd_manifest_path(r->base, entry, &r->kept));
    return xd_buf_add_byte(&r->kept, 0);
}

/* An entry of the base with all below it, as it is, or gone with its folder. */
static int take_over(xd_records *r, const level *folder, uint32_t entry)
{
    const xd_entry *e = &r->base->entry[entry];
    level           own = { .gone = folder->gone };
    if (folder->gone == IS_GONE)
        return 0;
    if (folder->gone == IS_KEPT) {
        XD_TRY(add_kept(r, entry));
#if XD_PLANTED_BUG == 45 /* the simulator must find it: what is below what is kept is gone */
        own.gone = IS_GONE;
#endif
    } else {
        xd_node n = node_of(r->base, e);
        XD_TRY(xd_tree_add(r->tree, folder->handle, &n, &own.handle));
    }
    for (uint32_t i = 0; xd_entry_is_folder(e) && i < e->count; i++)
        XD_TRY(take_over(r, &own, e->first + i));
    return 0;
}

/* Takes over what the base has in this folder before `name`; an empty name: all that is left. *ret_found: it has this name, too. */
static int catch_up(xd_records *r, level *l, xd_bytes name, uint32_t *ret_found)
{
    *ret_found = XD_MANIFEST_NONE;
    if (l->base == XD_MANIFEST_NONE)
        return 0;
    const xd_entry *f = &r->base->entry[l->base];
    for (; l->next < f->count; l->next++) {
        uint32_t at = f->first + l->next;
        if (name.len) {
            xd_bytes here = xd_entry_name(r->base, &r->base->entry[at]);
            int      c = memcmp(here.ptr, name.ptr, XD_MIN(here.len, name.len));
            if (c > 0 || (c == 0 && here.len > name.len))
                return 0;
            if (c == 0 && here.len == name.len) {
                *ret_found = at;
                l->next++;
                return 0;
            }
        }
        XD_TRY(take_over(r, l, at));
    }
    return 0;
}

static int close_level(xd_records *r)
{
    uint32_t none;
    XD_TRY(catch_up(r, &r->level[r->depth - 1], (xd_bytes){ 0 }, &none));
    r->depth--;
    return 0;
}

static int open_base(xd_records *r, uint8_t type, uint16_t mode)
{
    XD_TRY(xd_tree_new(&r->tree, type, mode));
    r->level[0] = (level){ .base = r->base ? 0 : XD_MANIFEST_NONE };
    r->depth = 1;
    return 0;
}

/* ---- one record ----------------------------------------------------------------------------------------------- */

static int refuse(const xd_records *r, xd_error *err, const char *why)
{
    return xd_error_set(err, -EPROTO, "list of files: %.*s: %s", (int)r->path_len, (const char *)r->path,
                        why);
}

/* Where a byte of a path stands in the order: its end is first, then the end of a name. */
static int rank(const uint8_t *path, size_t len, size_t at)
{
    return at == len ? 0 : path[at] == '/' ? 1 : 2 + path[at];
}

/* Are the names behind `from`, where one begins or goes on, such as can be? */
static bool names_ok(const uint8_t *path, size_t len, size_t from)
{
    size_t begin = from;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    for (;;) {
        const uint8_t *slash = memchr(path + begin, '/', len - begin);
        size_t         n = (slash ? (size_t)(slash - path) : len) - begin;
        if (n == 0 || n > XD_MANIFEST_NAME_MAX || memchr(path + begin, 0, n))
            return false;
        if (path[begin] == '.' && (n == 1 || (n == 2 && path[begin + 1] == '.')))
            return false;
        if (!slash)
            return true;
        begin += n + 1;
    }
}

/* The path of a record takes the place of the last one. *ret_common: so many of its bytes are the same as before. */
static int next_path(xd_records *r, const xd_wire_SYNC_RECORD *in, bool first, size_t *ret_common,
                     xd_error *err)
{
    size_t had = r->path_len, common = in->shared, len = common + in->path.len;
    bool   below_base = !r->begun || r->at_base; /* so any path is behind the last one */
    if (common > (first ? 0 : had) || len == 0 || len > XD_MANIFEST_PATH_MAX)
        return refuse(r, err, "the path behind it cannot be");
    while (common < had && common < len && r->path[common] == in->path.ptr[common - in->shared])
        common++;
    int was = below_base ? -1 : rank(r->path, had, common);
    if (common < len)
        memcpy(r->path + common, in->path.ptr + (common - in->shared), len - common);
    r->path_len = (uint16_t)len;
    r->at_base = len == 1 && r->path[0] == '.';
    if (r->at_base)
        return r->begun ? refuse(r, err, "is not in its place") : 0;
    *ret_common = below_base ? 0 : common;
    if (!names_ok(r->path, len, *ret_common))
        return refuse(r, err, "such a path cannot be");
    return was >= rank(r->path, len, common) ? refuse(r, err, "is not in its place") : 0;
}

/* NULL, or what is wrong with it, apart from its path. */
static const char *wrong(const xd_wire_SYNC_RECORD *in)
{
    bool file = in->type == XD_SYNC_FILE, link = in->type == XD_SYNC_LINK;
    if (xd_wire_SYNC_RECORD_beyond(in))
        return "such a type or mode cannot be";
    if (in->pushed > file)
        return "has no content that could follow";
    if (in->size > (file ? XD_MANIFEST_SIZE_MAX : 0))
        return "such a size cannot be";
    if (link ? in->target.len == 0 || in->target.len > XD_MANIFEST_PATH_MAX ||
                   memchr(in->target.ptr, 0, in->target.len) != NULL
             : in->target.len != 0)
        return "such a target of a link cannot be";
    return NULL;
}

static void push_level(xd_records *r, level l)
{
    r->level[r->depth++] = l; /* never deeper than xd_tree_add, or the base, has it */
}

/* Opens the folders of the base that lead from the level on top to the record's path. *ret_at: where its name begins. */
static int descend(xd_records *r, size_t *ret_at, xd_error *err)
{
    size_t at = r->level[r->depth - 1].path_len;
    at += at != 0;
    for (const uint8_t *slash; (slash = memchr(r->path + at, '/', r->path_len - at)) != NULL;) {
        level   *top = &r->level[r->depth - 1];
        level    l = { .path_len = (uint16_t)(slash - r->path), .gone = top->gone };
        xd_bytes name = { r->path + at, l.path_len - at };
        XD_TRY(catch_up(r, top, name, &l.base));
        if (l.base == XD_MANIFEST_NONE || !xd_entry_is_folder(&r->base->entry[l.base]))
            return refuse(r, err, "its folder is missing");
        if (l.gone == IS_KEPT)
            XD_TRY(add_kept(r, l.base));
        if (l.gone == STANDS) {
            xd_node n = node_of(r->base, &r->base->entry[l.base]);
            XD_TRY(xd_tree_add(r->tree, top->handle, &n, &l.handle));
        }
        push_level(r, l);
        at = (size_t)l.path_len + 1;
    }
    *ret_at = at;
    return 0;
}

static int add_gone(xd_records *r, const xd_wire_SYNC_RECORD *in, uint32_t found, xd_error *err)
{
    level l = { .base = found, .path_len = r->path_len };
    l.gone = in->type == XD_SYNC_KEPT ? IS_KEPT : IS_GONE;
    if (found == XD_MANIFEST_NONE)
        return refuse(r, err, "is gone, but was not there");
    if (l.gone == IS_KEPT)
        XD_TRY(add_kept(r, found));
    if (xd_entry_is_folder(&r->base->entry[found]))
        push_level(r, l);
    return 0;
}

static int add_entry(xd_records *r, const xd_wire_SYNC_RECORD *in, xd_bytes name, uint32_t found,
                     xd_error *err)
{
    level   l = { .base = XD_MANIFEST_NONE, .path_len = r->path_len };
    level  *top = &r->level[r->depth - 1];
    xd_node n = { .name = name, .type = in->type, .mode = in->mode, .target = in->target };
    if (top->gone)
        return refuse(r, err, "its folder is gone");
    if (in->type == XD_SYNC_FILE) {
        n.size = in->size;
        n.mtime_ns = (int64_t)in->mtime_ns;
        n.id = (xd_digest){ in->lo, in->hi };
    }
    int e = xd_tree_add(r->tree, top->handle, &n, &l.handle);
    if (e == -EINVAL || e == -E2BIG)
        return refuse(r, err, "is too deep, too large or one too many");
    XD_TRY(e);
    if (in->pushed)
        XD_TRY(xd_buf_add(&r->pushed, &l.handle, sizeof(l.handle)));
    if (in->type != XD_SYNC_FOLDER && in->type != XD_SYNC_WAY)
        return 0;
    if (found != XD_MANIFEST_NONE && xd_entry_is_folder(&r->base->entry[found]))
        l.base = found;
    push_level(r, l);
    return 0;
}

static int add_record(xd_records *r, const xd_wire_SYNC_RECORD *in, bool first, xd_error *err)
{
    size_t      common = 0, at = 0;
    uint32_t    found;
    const char *why = wrong(in);
    XD_TRY(next_path(r, in, first, &common, err));
    if (why)
        return refuse(r, err, why);
    if (!r->begun) {
        bool folder = in->type == XD_SYNC_FOLDER || in->type == XD_SYNC_WAY;
        if (r->at_base ? !folder : !r->base)
            return refuse(r, err, "must be a folder, and the first");
        r->begun = true;
        if (r->at_base)
            return open_base(r, in->type, in->mode);
        XD_TRY(open_base(r, r->base->entry[0].type, r->base->entry[0].mode));
    }
    for (size_t l; (l = r->level[r->depth - 1].path_len) != 0;) {
#if XD_PLANTED_BUG == 44 /* the simulator must find it: "ab" is in folder "a" */
        if (l <= common && l < r->path_len)
#else
        if (l <= common && l < r->path_len && r->path[l] == '/')
#endif
            break;
        XD_TRY(close_level(r));
    }
    XD_TRY(descend(r, &at, err));
    xd_bytes name = { r->path + at, r->path_len - at };
    XD_TRY(catch_up(r, &r->level[r->depth - 1], name, &found));
    if (in->type == XD_SYNC_GONE || in->type == XD_SYNC_KEPT)
        return add_gone(r, in, found, err);
    return add_entry(r, in, name, found, err);
}

int xd_records_add(xd_records *r, const xd_wire_SYNC_RECORD_LIST *list, xd_error *err)
{
    xd_wire_list        it = list->records;
    xd_wire_SYNC_RECORD one;
    for (bool first = true; xd_wire_SYNC_RECORD_next(&it, &one) == 1; first = false) {
        int e = add_record(r, &one, first, err);
        if (e == -ENOMEM)
            xd_error_set(err, e, "list of files: no memory");
        XD_TRY(e);
    }
    return 0;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static int push_bits(const xd_records *r, const xd_manifest *m, const uint32_t *map, uint8_t **ret)
{
    uint8_t *bits = calloc((size_t)m->files / 8 + 1, 1);
    if (!bits)
        return -ENOMEM;
    for (size_t i = 0; i < r->pushed.len; i += sizeof(uint32_t)) {
        uint32_t handle;
        memcpy(&handle, r->pushed.data + i, sizeof(handle));
        uint32_t file = m->entry[map[handle]].first;
        bits[file / 8] = (uint8_t)(bits[file / 8] | 1u << file % 8);
    }
    *ret = bits;
    return 0;
}

static int finish(xd_records *r, xd_manifest **ret, uint8_t **ret_pushed, xd_buf *kept)
{
    xd_autofree uint32_t *map = NULL;
    xd_auto(xd_manifest) *m = NULL;
    if (!r->begun)
        XD_TRY(open_base(r, r->base->entry[0].type, r->base->entry[0].mode));
    while (r->depth)
        XD_TRY(close_level(r));
    XD_TRY(xd_tree_end(&r->tree, &m, &map));
    if (kept)
        XD_TRY(xd_buf_add(kept, r->kept.data, r->kept.len));
    if (ret_pushed)
        XD_TRY(push_bits(r, m, map, ret_pushed));
    *ret = xd_take(&m);
    return 0;
}

int xd_records_end(xd_records **records, xd_manifest **ret, uint8_t **ret_pushed, xd_buf *kept, xd_error *err)
{
    xd_auto(xd_records) *r = xd_take(records);
    if (!r->begun && !r->base)
        return xd_error_set(err, -EPROTO, "list of files: it is empty");
    int e = finish(r, ret, ret_pushed, kept);
    if (e == -E2BIG) /* what came and what is taken from the base are too many together */
        return xd_error_set(err, -EPROTO, "list of files: too long");
    if (e < 0)
        xd_error_set(err, e, "list of files: no memory");
    return e;
}
