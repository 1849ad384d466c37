/* sync/manifest_write.c - a manifest, or how it differs from another, as records. See manifest.h. */
#include <string.h>

#include "sync/manifest.h"

/* A folder of `from` that does not stand any more, and what was said of it. */
typedef struct gone {
    uint32_t entry;
    uint8_t
        said; /* XD_SYNC_GONE, XD_SYNC_KEPT; XD_SYNC_FILE = another thing stands there: what was below goes unsaid */
} gone;

typedef struct writer {
    const xd_manifest  *from, *to;
    const uint8_t      *pushed;
    xd_manifest_kept_fn kept;
    void               *kept_arg;
    size_t              limit;
    xd_records_out      out;
    void               *out_arg;
    xd_buf              body; /* of a SYNC_RECORD_LIST: count, records */
    uint32_t            count;
    uint16_t            last_len;
    uint8_t             last[XD_MANIFEST_PATH_MAX]; /* path of the record before */
    gone                gone[XD_MANIFEST_DEPTH_MAX + 1];
    size_t              depth;
} writer;

static int begin_body(writer *w)
{
    xd_buf_clear(&w->body);
    w->count = 0;
#if XD_PLANTED_BUG != 42 /* the simulator must find it: a list begins with the path of another */
    w->last_len = 0;
#endif
    return xd_buf_fill(&w->body, 0, 4);
}

static int send_body(writer *w, bool last)
{
    for (size_t i = 0; i < 4; i++)
        w->body.data[i] = (uint8_t)(w->count >> (8 * i));
    return w->out(w->out_arg, xd_buf_view(&w->body), last);
}

/* A record whose path is still whole. */
static int put_record(writer *w, xd_wire_SYNC_RECORD *rec)
{
    xd_bytes path = rec->path;
    if (w->count && w->body.len >= w->limit) {
        int r = send_body(w, false);
        if (r)
            return r;
        XD_TRY(begin_body(w));
    }
    while (rec->shared < w->last_len && rec->shared < path.len &&
           w->last[rec->shared] == path.ptr[rec->shared])
        rec->shared++;
    memcpy(w->last + rec->shared, path.ptr + rec->shared, path.len - rec->shared);
    w->last_len = (uint16_t)path.len;
    rec->path = (xd_bytes){ path.ptr + rec->shared, path.len - rec->shared };
    w->count++;
    return xd_wire_SYNC_RECORD_append(&w->body, rec);
}

static int put_entry(writer *w, xd_bytes path, uint32_t is)
{
    const xd_entry     *e = &w->to->entry[is];
    xd_wire_SYNC_RECORD rec = { .path = path, .type = e->type, .mode = e->mode };
    if (e->type == XD_SYNC_FILE) {
        rec.size = e->size;
        rec.mtime_ns = (uint64_t)e->mtime_ns;
        rec.lo = e->id.lo;
        rec.hi = e->id.hi;
        rec.pushed = w->pushed && w->pushed[e->first / 8] >> e->first % 8 & 1;
    } else if (e->type == XD_SYNC_LINK) {
        rec.target = xd_entry_target(w->to, e);
    }
    return put_record(w, &rec);
}

/* What is true of it already, if it is not told: what was said of its folder. XD_SYNC_FOLDER: that stands. */
static uint8_t said_above(writer *w, uint32_t was)
{
    uint32_t folder = w->from->entry[was].parent;
#if XD_PLANTED_BUG == 43 /* the simulator must find it: one folder ends at a time */
    if (w->depth && w->gone[w->depth - 1].entry != folder)
#else
    while (w->depth && w->gone[w->depth - 1].entry != folder)
#endif
        w->depth--;
    return w->depth ? w->gone[w->depth - 1].said : XD_SYNC_FOLDER;
}

static int put_gone(writer *w, xd_bytes path, uint32_t was)
{
    bool    folder = xd_entry_is_folder(&w->from->entry[was]);
    uint8_t above = said_above(w, was), said = above;
    if (above != XD_SYNC_FILE)
        said = w->kept && w->kept(w->kept_arg, path, folder) ? XD_SYNC_KEPT : XD_SYNC_GONE;
    if (folder)
        w->gone[w->depth++] = (gone){ was, said };
    return said == above ? 0 : put_record(w, &(xd_wire_SYNC_RECORD){ .path = path, .type = said });
}

static int on_difference(void *arg, xd_bytes path, uint32_t was, uint32_t is)
{
    writer *w = arg;
    if (is == XD_MANIFEST_NONE)
        return put_gone(w, path, was);
    if (was != XD_MANIFEST_NONE && xd_entry_is_folder(&w->from->entry[was]) &&
        !xd_entry_is_folder(&w->to->entry[is])) {
        (void)said_above(w, was); /* forgets the folders that are done with: this one is in one that stands */
        w->gone[w->depth++] = (gone){ was, XD_SYNC_FILE };
    }
    return put_entry(w, path, is);
}

int xd_manifest_write(const xd_manifest *from, const xd_manifest *to, const uint8_t *pushed,
                      xd_manifest_kept_fn kept, void *kept_arg, size_t limit, xd_records_out out,
                      void *out_arg)
{
    writer w = { .from = from, .to = to, .pushed = pushed, .kept = kept, .kept_arg = kept_arg };
    w.limit = limit;
    w.out = out;
    w.out_arg = out_arg;
    int r = begin_body(&w);
    if (r == 0)
        r = xd_manifest_diff(from, to, on_difference, &w);
    if (r == 0)
        r = send_body(&w, true);
    xd_buf_release(&w.body);
    return r;
}
