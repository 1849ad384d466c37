/* sync/manifest.c - the tree itself: look-ups, digests, differences. See manifest.h; manifest_tree.c builds one, manifest_read.c and
 * manifest_write.c are its records. */
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include "sync/manifest.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

xd_manifest *xd_manifest_free(xd_manifest *m)
{
    if (m) {
        free(m->entry);
        free(m->file);
        free(m->text);
        free(m);
    }
    return NULL;
}

xd_digest xd_digest_of(xd_bytes content)
{
    XXH128_hash_t h = XXH3_128bits(content.len ? (const void *)content.ptr : "", content.len);
    return (xd_digest){ h.low64, h.high64 };
}

/* ---- look-ups ------------------------------------------------------------------------------------------------- */

int xd_manifest_path(const xd_manifest *m, uint32_t entry, xd_buf *out)
{
    uint32_t way[XD_MANIFEST_DEPTH_MAX + 1];
    size_t   depth = 0;
    if (entry == 0)
        return xd_buf_add_byte(out, '.');
    for (uint32_t e = entry; e != 0; e = m->entry[e].parent)
        way[depth++] = e; /* a tree is never deeper: xd_tree_add sees to it */
    while (depth--) {
        XD_TRY(xd_buf_add_bytes(out, xd_entry_name(m, &m->entry[way[depth]])));
        if (depth)
            XD_TRY(xd_buf_add_byte(out, '/'));
    }
    return 0;
}

static int compare_names(xd_bytes a, xd_bytes b)
{
    int c = memcmp(a.ptr, b.ptr, XD_MIN(a.len, b.len));
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

uint32_t xd_manifest_child(const xd_manifest *m, uint32_t folder, xd_bytes name)
{
    const xd_entry *f = &m->entry[folder];
    if (!xd_entry_is_folder(f) || name.len == 0)
        return XD_MANIFEST_NONE;
    for (uint32_t low = f->first, high = f->first + f->count; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        int      c = compare_names(name, xd_entry_name(m, &m->entry[mid]));
        if (c == 0)
            return mid;
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return XD_MANIFEST_NONE;
}

uint32_t xd_manifest_find(const xd_manifest *m, xd_bytes path)
{
    uint32_t at = 0;
    if (path.len == 0 || xd_bytes_eq_str(path, "."))
        return 0;
    for (;;) {
        const uint8_t *slash = memchr(path.ptr, '/', path.len);
        size_t         len = slash ? (size_t)(slash - path.ptr) : path.len;
        at = xd_manifest_child(m, at, (xd_bytes){ path.ptr, len });
        if (at == XD_MANIFEST_NONE || !slash)
            return at;
        path.ptr += len + 1;
        path.len -= len + 1;
        if (path.len == 0)
            return XD_MANIFEST_NONE;
    }
}

uint32_t xd_manifest_next(const xd_manifest *m, uint32_t entry)
{
    const xd_entry *e = &m->entry[entry];
    if (xd_entry_is_folder(e) && e->count)
        return e->first;
    while (e->parent != XD_MANIFEST_NONE) {
        const xd_entry *folder = &m->entry[e->parent];
        if (entry + 1 < folder->first + folder->count)
            return entry + 1;
        entry = e->parent;
        e = folder;
    }
    return XD_MANIFEST_NONE;
}

/* ---- digests -------------------------------------------------------------------------------------------------- */

/* Collects small pieces, as an update of the hash costs more than they do. */
typedef struct sink {
    XXH3_state_t state;
    size_t       len;
    uint8_t      bytes[8192];
} sink;

static void sink_flush(sink *s)
{
    (void)XXH3_128bits_update(&s->state, s->bytes, s->len); /* fails for NULL alone */
    s->len = 0;
}

static void sink_put(sink *s, const void *data, size_t len)
{
    if (sizeof(s->bytes) - s->len < len)
        sink_flush(s);
    memcpy(s->bytes + s->len, data, len); /* len is at most XD_MANIFEST_PATH_MAX */
    s->len += len;
}

static inline void sink_number(sink *s, uint64_t v, size_t width)
{
    v = htole64(v);
    sink_put(s, &v, width);
}

static void sink_digest(sink *s, xd_digest d)
{
    sink_number(s, d.lo, 8);
    sink_number(s, d.hi, 8);
}

static xd_digest folder_digest(const xd_manifest *m, const xd_entry *folder, sink *s)
{
    (void)XXH3_128bits_reset(&s->state);
    s->len = 0;
    sink_put(s, "xd1\n", 4);
    for (uint32_t i = folder->first; i < folder->first + folder->count; i++) {
        const xd_entry *e = &m->entry[i];
        sink_number(s, e->name_len, 2);
        sink_put(s, m->text + e->name, e->name_len);
        sink_number(s, e->type, 1);
#if XD_PLANTED_BUG != 40 /* the simulator must find it: a mode that changes changes no digest */
        sink_number(s, e->mode, 2);
#endif
        if (e->type == XD_SYNC_FILE) {
            sink_number(s, e->size, 8);
            sink_number(s, (uint64_t)e->mtime_ns, 8);
            sink_digest(s, e->id);
        } else if (e->type == XD_SYNC_LINK) {
            sink_number(s, e->count, 4);
#if XD_PLANTED_BUG != 52 /* the simulator must find it: of a target only the length counts */
            sink_put(s, m->text + e->first, e->count);
#endif
        } else {
            sink_digest(s, e->id);
        }
    }
    sink_flush(s);
    XXH128_hash_t h = XXH3_128bits_digest(&s->state);
    return (xd_digest){ h.low64, h.high64 };
}

void xd_manifest_seal(xd_manifest *m)
{
    sink s;
    for (uint32_t i = m->count; i-- > 0;) /* what is in a folder is behind it */
        if (xd_entry_is_folder(&m->entry[i]))
            m->entry[i].id = folder_digest(m, &m->entry[i], &s);
}

void xd_manifest_amend(xd_manifest *m, uint32_t file, uint16_t mode, uint64_t size, int64_t mtime_ns,
                       xd_digest id)
{
    xd_entry *e = &m->entry[m->file[file]];
    m->bytes = m->bytes - e->size + size;
    e->mode = mode & 0777;
    e->size = size;
    e->mtime_ns = mtime_ns;
    e->id = id;
}

/* ---- differences ---------------------------------------------------------------------------------------------- */

typedef struct diff {
    const xd_manifest  *from, *to;
    xd_manifest_diff_fn fn;
    void               *arg;
    xd_buf              path;
} diff;

static int push_name(diff *d, xd_bytes name)
{
    if (d->path.len)
        XD_TRY(xd_buf_add_byte(&d->path, '/'));
    return xd_buf_add_bytes(&d->path, name);
}

/* Calls it for one entry and all below it that stand on one side alone. */
static int tell_all(diff *d, bool gone, uint32_t entry)
{
    const xd_manifest *m = gone ? d->from : d->to;
    const xd_entry    *e = &m->entry[entry];
    size_t             len = d->path.len;
    int                r = entry ? push_name(d, xd_entry_name(m, e)) : 0;
    if (r == 0)
        r = d->fn(d->arg, entry ? xd_buf_view(&d->path) : XD_BYTES_LIT("."), gone ? entry : XD_MANIFEST_NONE,
                  gone ? XD_MANIFEST_NONE : entry);
    for (uint32_t i = 0; r == 0 && xd_entry_is_folder(e) && i < e->count; i++)
        r = tell_all(d, gone, e->first + i);
    d->path.len = len;
    return r;
}

static bool same_entry(const diff *d, const xd_entry *a, const xd_entry *b)
{
    if (a->type != b->type || a->mode != b->mode)
        return false;
    if (a->type == XD_SYNC_FILE)
        return a->size == b->size && a->mtime_ns == b->mtime_ns && xd_digest_eq(a->id, b->id);
    return a->type != XD_SYNC_LINK || xd_bytes_eq(xd_entry_target(d->from, a), xd_entry_target(d->to, b));
}

static int diff_folder(diff *d, uint32_t was, uint32_t is);

static int diff_both(diff *d, uint32_t was, uint32_t is)
{
    const xd_entry *a = &d->from->entry[was], *b = &d->to->entry[is];
    size_t          len = d->path.len;
    int             r = 0;
    XD_TRY(push_name(d, xd_entry_name(d->from, a)));
    if (!same_entry(d, a, b))
        r = d->fn(d->arg, xd_buf_view(&d->path), was, is);
    if (r == 0 && xd_entry_is_folder(a) && xd_entry_is_folder(b)) {
        r = diff_folder(d, was, is);
    } else {
        for (uint32_t i = 0; r == 0 && xd_entry_is_folder(a) && i < a->count; i++)
            r = tell_all(d, true, a->first + i);
        for (uint32_t i = 0; r == 0 && xd_entry_is_folder(b) && i < b->count; i++)
            r = tell_all(d, false, b->first + i);
    }
    d->path.len = len;
    return r;
}

/* d->path is that of the folder. */
static int diff_folder(diff *d, uint32_t was, uint32_t is)
{
    const xd_entry *a = &d->from->entry[was], *b = &d->to->entry[is];
    int             r = 0;
    if (xd_digest_eq(a->id, b->id))
        return 0;
#if XD_PLANTED_BUG == 41 /* the simulator must find it: one side has no names left */
    for (uint32_t i = 0, j = 0; r == 0 && (i < a->count && j < b->count);) {
#else
    for (uint32_t i = 0, j = 0; r == 0 && (i < a->count || j < b->count);) {
#endif
        uint32_t x = a->first + i, y = b->first + j;
        int      c = i == a->count   ? 1
                     : j == b->count ? -1
                                     : compare_names(xd_entry_name(d->from, &d->from->entry[x]),
                                                     xd_entry_name(d->to, &d->to->entry[y]));
        if (c == 0)
            r = diff_both(d, x, y);
        else
            r = tell_all(d, c < 0, c < 0 ? x : y);
        i += c <= 0;
        j += c >= 0;
    }
    return r;
}

int xd_manifest_diff(const xd_manifest *from, const xd_manifest *to, xd_manifest_diff_fn fn, void *arg)
{
    diff d = { .from = from, .to = to, .fn = fn, .arg = arg };
    int  r = 0;
    if (!from)
        r = tell_all(&d, false, 0);
    else if (!same_entry(&d, &from->entry[0], &to->entry[0]))
        r = fn(arg, XD_BYTES_LIT("."), 0, 0);
    if (r == 0 && from)
        r = diff_folder(&d, 0, 0);
    xd_buf_release(&d.path);
    return r;
}
