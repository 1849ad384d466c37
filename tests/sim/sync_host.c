/* sync_host.c - see sync.h: the far half of a synchronisation, as sync/receive.c and sync/apply.c do it, on a tree that lies in memory. */
#include <string.h>

#include "tests/sim/sync.h"

static sy_entry *at_path(sy_host *h, const char *path)
{
    const uint32_t i = sy_find(&h->tree, path);
    return i < h->tree.n ? &h->tree.at[i] : NULL;
}

void sy_host_reset(sy_host *h)
{
    h->records = xd_records_free(h->records);
    h->want = xd_manifest_free(h->want);
    free(xd_take(&h->pushed));
    xd_buf_release(&h->kept);
    h->whole = h->passes = h->done = h->refused = h->amended = false;
    h->extras = 0;
    h->got = NULL;
    h->coming = NULL;
}

/* ---- does it stand there already -------------------------------------------------------------------------------- */

static bool stands(sy_world *w, sy_host *h)
{
    const xd_manifest *m = h->state;
    for (uint32_t i = 0; i < m->count; i++) {
        const xd_entry *e = &m->entry[i];
        const sy_entry *x = at_path(h, sy_path(w, m, i));
        const uint8_t   type = e->type == XD_SYNC_WAY ? XD_SYNC_FOLDER : e->type;
        if (!x || x->type != type || (type != XD_SYNC_LINK && x->mode != e->mode))
            return false;
        if (type == XD_SYNC_FILE && (x->mtime_ns != e->mtime_ns || !xd_digest_eq(x->content->id, e->id)))
            return false;
        if (type == XD_SYNC_LINK && !xd_bytes_eq_str(xd_entry_target(m, e), x->target))
            return false;
    }
    return true;
}

static void on_open(sy_world *w, sy_host *h, const xd_frame *f, xd_buf *answers)
{
    xd_wire_SYNC_OPEN open = { 0 };
    SY_MUST(w, xd_wire_SYNC_OPEN_decode(f->body, f->len, &open));
    h->id = (xd_digest){ open.lo, open.hi };
    if (!h->state || !xd_digest_eq(h->id, xd_manifest_digest(h->state)) || !stands(w, h))
        return;
    for (uint32_t i = 0; i < h->state->count; i++)
        at_path(h, sy_path(w, h->state, i))->brought = true;
    h->passes = h->done = true;
    SY_MUST(w, xd_wire_SYNC_SAME_frame(answers, 0, 0, &(xd_wire_SYNC_SAME){ 0 }));
}

/* ---- what is to be done ----------------------------------------------------------------------------------------- */

/* Does something that is no folder come to stand above this path? */
static bool buried(sy_world *w, const sy_host *h, const char *path)
{
    for (size_t len = sy_parent_len(path); len; len = sy_parent_len(sy_text(w, path, len))) {
        const uint32_t e = xd_manifest_find(h->want, (xd_bytes){ (const uint8_t *)path, len });
        if (e != XD_MANIFEST_NONE && !xd_entry_is_folder(&h->want->entry[e]))
            return true;
    }
    return false;
}

static bool is_victim(sy_world *w, const sy_host *h, const sy_entry *e)
{
    return *e->path && e->brought && xd_manifest_find(h->want, xd_bytes_str(e->path)) == XD_MANIFEST_NONE &&
           !buried(w, h, e->path);
}

static sy_entry *put(sy_world *w, sy_host *h, const char *path, const sy_entry *is)
{
    sy_entry *x = at_path(h, path);
    if (x && x->type == XD_SYNC_FOLDER && is->type != XD_SYNC_FOLDER)
        sy_remove(&h->tree, path, false);
    x = at_path(h, path);
    if (!x && !sy_add(&h->tree, is)) {
        sy_fault(w, "too many paths on a host");
        return NULL;
    }
    x = at_path(h, path);
    *x = *is;
    return x;
}

static void place(sy_world *w, sy_host *h, uint32_t file)
{
    const xd_entry *e = &h->want->entry[h->want->file[file]];
    const char     *path = sy_path(w, h->want, h->want->file[file]);
    const sy_entry  is = { .path = path,
                           .type = XD_SYNC_FILE,
                           .mode = e->mode,
                           .mtime_ns = e->mtime_ns,
                           .content = h->got[file],
                           .brought = true };
    (void)put(w, h, path, &is);
}

static void make_folders(sy_world *w, sy_host *h)
{
    for (uint32_t i = 0; i != XD_MANIFEST_NONE && sy_ok(w); i = xd_manifest_next(h->want, i)) {
        const xd_entry *e = &h->want->entry[i];
        const char     *path = sy_path(w, h->want, i);
        const sy_entry  is = { .path = path, .type = XD_SYNC_FOLDER, .mode = e->mode, .brought = true };
        if (xd_entry_is_folder(e))
            (void)put(w, h, path, &is);
    }
}

/* What is to come of this file: 0 nothing, 1 a delta or the whole, 2 the whole. */
static unsigned lacks(sy_world *w, sy_host *h, uint32_t file)
{
    const uint32_t  at = h->want->file[file];
    const xd_entry *e = &h->want->entry[at];
    const sy_entry *x = at_path(h, sy_path(w, h->want, at));
    const sy_entry *other = NULL;
    for (uint32_t i = 0; i < h->tree.n && !other; i++)
        if (h->tree.at[i].type == XD_SYNC_FILE && xd_digest_eq(h->tree.at[i].content->id, e->id))
            other = &h->tree.at[i];
    if (e->size == 0)
        h->got[file] = sy_blob_new(w, (const uint8_t *)"", 0);
    else if (x && x->type == XD_SYNC_FILE && xd_digest_eq(x->content->id, e->id))
        h->got[file] = x->content;
    else if (h->pushed[file / 8] >> file % 8 & 1)
        return 0;
    else if (other)
        h->got[file] = other->content;
    if (h->got[file])
        return 0;
    return x && x->type == XD_SYNC_FILE && x->brought && x->content->len >= SY_DELTA && e->size >= SY_DELTA
               ? 1
               : 2;
}

static void ask(sy_world *w, xd_buf *answers, const uint8_t *lacking, uint32_t files)
{
    xd_autobuf        list = XD_BUF_INIT;
    xd_wire_SYNC_WANT want = { .last = 1 };
    for (uint32_t i = 0; i < files; i++) {
        xd_wire_SYNC_RANGE r = { .first = i, .whole = lacking[i] == 2 };
        if (!lacking[i])
            continue;
        while (i + 1 < files && lacking[i + 1] == lacking[i])
            i++;
        r.count = i + 1 - r.first;
        SY_MUST(w, xd_wire_SYNC_RANGE_append(&list, &r));
        want.ranges.count++;
    }
    want.ranges.ptr = list.data;
    want.ranges.len = list.len;
    SY_MUST(w, xd_wire_SYNC_WANT_frame(answers, 0, 0, &want));
}

/* All was sent: what nobody told of is not known to be ignored at home. */
static void ask_extra(sy_world *w, sy_host *h, xd_buf *answers)
{
    xd_autobuf         list = XD_BUF_INIT;
    xd_wire_SYNC_EXTRA extra = { .last = 1 };
    for (uint32_t i = 0; i < h->tree.n; i++) {
        const sy_entry *e = &h->tree.at[i];
        if (!is_victim(w, h, e))
            continue;
        const char *path = e->type == XD_SYNC_FOLDER ? sy_join(w, e->path, "") : e->path;
        SY_MUST(w, xd_wire_TEXT_append(&list, &(xd_wire_TEXT){ .text = xd_bytes_str(path) }));
        h->extra[h->extras++] = e->path;
    }
    extra.paths = (xd_wire_list){ h->extras, list.data, list.len };
    SY_MUST(w, xd_wire_SYNC_EXTRA_frame(answers, 0, 0, &extra));
}

static void on_tree(sy_world *w, sy_host *h, xd_buf *answers)
{
    uint8_t lacking[SY_PATHS] = { 0 };
    if (!xd_digest_eq(xd_manifest_digest(h->want), h->id))
        sy_fault(w, "the records are not those of the tree");
    for (uint32_t i = 1; i < h->tree.n; i++)
        if (!h->tree.at[i].brought && buried(w, h, h->tree.at[i].path)) {
            h->passes = h->refused = true;
            SY_MUST(w, xd_wire_SYNC_FAILED_frame(answers, 0, 0,
                                                 &(xd_wire_SYNC_FAILED){ .text = XD_BYTES_LIT("x") }));
            return;
        }
    h->state = xd_manifest_free(h->state); /* until the end it is not known what stands there */
    h->got = sy_alloc(w, (h->want->files + 1) * sizeof *h->got);
    memset(h->got, 0, h->want->files * sizeof *h->got);
    for (uint32_t i = 0; i < h->want->files; i++)
        lacking[i] = (uint8_t)lacks(w, h, i);
    if (h->whole)
        ask_extra(w, h, answers);
    make_folders(w, h);
    for (uint32_t i = 0; i < h->want->files; i++)
        if (h->got[i])
            place(w, h, i);
    ask(w, answers, lacking, h->want->files);
}

static void on_records(sy_world *w, sy_host *h, const xd_frame *f, xd_buf *answers)
{
    xd_wire_SYNC_RECORDS     r = { 0 };
    xd_wire_SYNC_RECORD_LIST list = { 0 };
    xd_error                 err = { 0 };
    SY_MUST(w, xd_wire_SYNC_RECORDS_decode(f->body, f->len, &r));
    const xd_digest base = { r.base_lo, r.base_hi };
    const bool      whole = !base.lo && !base.hi;
    if (h->done || (h->passes && !whole))
        return;
    if (!h->records) {
        h->passes = !whole && (!h->state || !xd_digest_eq(base, xd_manifest_digest(h->state)));
        if (h->passes) {
            SY_MUST(w, xd_wire_SYNC_NEED_ALL_frame(answers, 0, 0, &(xd_wire_SYNC_NEED_ALL){ 0 }));
            return;
        }
        h->whole = whole;
        SY_MUST(w, xd_records_new(&h->records, whole ? NULL : h->state));
    }
    SY_MUST(w, xd_wire_SYNC_RECORD_LIST_decode(r.inner.ptr, r.inner.len, &list));
    if (sy_ok(w) && xd_records_add(h->records, &list, &err) != 0)
        sy_fault(w, "records are refused: %s", err.text);
    if (!r.last || !sy_ok(w))
        return;
    if (xd_records_end(&h->records, &h->want, &h->pushed, &h->kept, &err) != 0)
        sy_fault(w, "records do not end: %s", err.text);
    else
        on_tree(w, h, answers);
}

/* ---- contents --------------------------------------------------------------------------------------------------- */

static void on_piece(sy_world *w, sy_host *h, const xd_wire_SYNC_PIECE *p)
{
    const xd_entry *e = &h->want->entry[h->want->file[p->file]];
    const size_t    len = p->op == XD_SYNC_OP_COPY ? p->count : p->data.len;
    if (p->at == 0) {
        const sy_entry *x = at_path(h, sy_path(w, h->want, h->want->file[p->file]));
        h->coming = sy_alloc(w, sizeof *h->coming + e->size);
        h->coming->len = 0;
        h->comes = p->file;
        h->copied = x && x->type == XD_SYNC_FILE ? x->content : NULL;
    }
    sy_blob *b = h->coming;
    if (!b || h->comes != p->file || p->at != b->len || len > e->size - b->len) {
        sy_fault(w, "a piece of file %u is not in its place", p->file);
        return;
    }
    if (p->op == XD_SYNC_OP_DATA)
        memcpy(b->bytes + b->len, p->data.ptr, len);
    else if (h->copied && p->base_at <= h->copied->len && len <= h->copied->len - p->base_at)
        memcpy(b->bytes + b->len, h->copied->bytes + p->base_at, len);
    else /* another file stands there */
        memset(b->bytes + b->len, 0, len);
    b->len += len;
    if (b->len < e->size)
        return;
    b->id = xd_digest_of((xd_bytes){ b->bytes, b->len });
    h->coming = NULL;
    if (!xd_digest_eq(b->id, e->id))
        return; /* it is asked for again */
    h->got[p->file] = b;
    place(w, h, p->file);
}

static void on_data(sy_world *w, sy_host *h, const xd_frame *f)
{
    xd_wire_SYNC_DATA       data = { 0 };
    xd_wire_SYNC_PIECE_LIST list = { 0 };
    xd_wire_SYNC_PIECE      p;
    if (h->passes || h->done)
        return;
    SY_MUST(w, xd_wire_SYNC_DATA_decode(f->body, f->len, &data));
    SY_MUST(w, xd_wire_SYNC_PIECE_LIST_decode(data.inner.ptr, data.inner.len, &list));
    for (xd_wire_list it = list.pieces; sy_ok(w) && xd_wire_SYNC_PIECE_next(&it, &p) == 1;) {
        if (!h->want || p.file >= h->want->files)
            sy_fault(w, "a piece of file %u, which is none", p.file);
        else if (!h->got[p.file])
            on_piece(w, h, &p);
    }
}

/* A file is another one than the records say. */
static void on_amend(sy_world *w, sy_host *h, const xd_frame *f)
{
    xd_wire_SYNC_AMEND a = { 0 };
    SY_MUST(w, xd_wire_SYNC_AMEND_decode(f->body, f->len, &a));
    if (h->passes || h->done)
        return;
    if (!h->want || a.file >= h->want->files) {
        sy_fault(w, "file %u is another, which is none", a.file);
        return;
    }
    xd_manifest_amend(h->want, a.file, a.mode, a.size, (int64_t)a.mtime_ns, (xd_digest){ a.lo, a.hi });
    h->amended = true;
    h->coming = NULL;
    h->got[a.file] = a.size ? NULL : sy_blob_new(w, (const uint8_t *)"", 0);
    if (!a.size)
        place(w, h, a.file);
}

static void on_keep(sy_world *w, sy_host *h, const xd_frame *f)
{
    xd_wire_SYNC_KEEP keep = { 0 };
    xd_wire_INDEX     i;
    SY_MUST(w, xd_wire_SYNC_KEEP_decode(f->body, f->len, &keep));
    for (xd_wire_list it = keep.paths; xd_wire_INDEX_next(&it, &i) == 1;)
        if (i.item < h->extras)
            SY_MUST(w, xd_buf_add(&h->kept, h->extra[i.item], strlen(h->extra[i.item]) + 1));
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

static bool is_empty(const sy_host *h, const char *path)
{
    for (uint32_t i = 0; i < h->tree.n; i++)
        if (sy_is_below(h->tree.at[i].path, path))
            return false;
    return true;
}

static void remove_victims(sy_world *w, sy_host *h)
{
    for (size_t at = 0; at < h->kept.len; at += strlen((char *)h->kept.data + at) + 1) {
        sy_entry *x = at_path(h, (const char *)h->kept.data + at);
        if (x)
            x->brought = false;
    }
    sy_sort(&h->tree);
    for (uint32_t i = h->tree.n; i-- > 1;) {
        sy_entry *e = &h->tree.at[i];
        if (!is_victim(w, h, e))
            continue;
        e->brought = false;
        if (e->type != XD_SYNC_FOLDER || is_empty(h, e->path))
            sy_remove(&h->tree, e->path, true);
    }
}

static void make_links(sy_world *w, sy_host *h)
{
    for (uint32_t i = 0; i < h->want->count; i++) {
        const xd_entry *e = &h->want->entry[i];
        if (e->type != XD_SYNC_LINK)
            continue;
        const xd_bytes target = xd_entry_target(h->want, e);
        const char    *path = sy_path(w, h->want, i);
        const sy_entry is = {
            .path = path, .type = XD_SYNC_LINK, .target = sy_text(w, target.ptr, target.len), .brought = true
        };
        (void)put(w, h, path, &is);
    }
}

static void on_end(sy_world *w, sy_host *h, xd_buf *answers)
{
    uint8_t lacking[SY_PATHS] = { 0 };
    bool    any = false;
    if (h->passes || h->done)
        return;
    if (!h->want) {
        sy_fault(w, "the end comes before the tree");
        return;
    }
    for (uint32_t i = 0; i < h->want->files; i++)
        if (!h->got[i]) {
            lacking[i] = 2;
            any = true;
        }
    if (any) {
        ask(w, answers, lacking, h->want->files);
        return;
    }
    make_links(w, h);
    remove_victims(w, h);
    if (h->amended)
        xd_manifest_seal(h->want);
    const xd_digest   id = xd_manifest_digest(h->want);
    xd_wire_SYNC_DONE done = { .lo = id.lo, .hi = id.hi };
    SY_MUST(w, xd_wire_SYNC_DONE_frame(answers, 0, 0, &done));
    h->state = xd_take(&h->want);
    h->done = true;
}

void sy_host_frame(sy_world *w, sy_host *h, const xd_frame *f, xd_buf *answers)
{
    switch (f->type) {
    case XD_MSG_SYNC_OPEN:
        on_open(w, h, f, answers);
        break;
    case XD_MSG_SYNC_RECORDS:
        on_records(w, h, f, answers);
        break;
    case XD_MSG_SYNC_DATA:
        on_data(w, h, f);
        break;
    case XD_MSG_SYNC_AMEND:
        on_amend(w, h, f);
        break;
    case XD_MSG_SYNC_KEEP:
        on_keep(w, h, f);
        break;
    case XD_MSG_SYNC_END:
        on_end(w, h, answers);
        break;
    default:
        sy_fault(w, "home says %s", xd_wire_name(f->type));
    }
}
