/* sync_home.c - see sync.h: the home half of a synchronisation, as sync/send.c does it, and the pipe between the halves, which may be cut anywhere. */
#include <string.h>

#include "engine/stream.h"
#include "tests/sim/sync.h"

#define TURNS 12u

typedef struct talk {
    sy_world         *w;
    sy_host          *h;
    const sy_version *v, *base; /* base: what the records are a difference from; NULL = all is sent */
    uint8_t           push[SY_PATHS / 8 + 1];
    xd_buf            down, up;
    xd_stream_in      at_host, at_home;
    size_t            left; /* bytes that pass before the pipe is cut */
    uint32_t          extras;
    bool              done;
    const sy_version *other;   /* the tree with a file that changed since; NULL = none did */
    uint32_t          changed; /* its number */
    bool              amended; /* the host was told */
} talk;

static const sy_entry *entry_of(const sy_tree *t, const char *path)
{
    const uint32_t at = t ? sy_find(t, path) : 0;
    return t && at < t->n ? &t->at[at] : NULL;
}

static const sy_entry *file_of(const sy_version *v, uint32_t number)
{
    for (uint32_t i = 0; i < v->tree.n; i++)
        if (v->tree.at[i].type == XD_SYNC_FILE && number-- == 0)
            return &v->tree.at[i];
    return NULL;
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

static bool keeps(void *arg, xd_bytes path, bool folder)
{
    talk *t = arg;
    return sy_keeps(t->w, sy_text(t->w, path.ptr, path.len), folder);
}

static int put_records(void *arg, xd_bytes body, bool last)
{
    talk                *t = arg;
    xd_wire_SYNC_RECORDS r = { .last = last, .plain_bytes = (uint32_t)body.len, .inner = body };
    if (t->base) {
        r.base_lo = xd_manifest_digest(t->base->manifest).lo;
        r.base_hi = xd_manifest_digest(t->base->manifest).hi;
    }
    return xd_wire_SYNC_RECORDS_frame(&t->down, 0, 0, &r);
}

static void choose_pushed(talk *t)
{
    uint32_t n = 0;
    memset(t->push, 0, sizeof t->push);
    for (uint32_t i = 0; t->base && i < t->v->tree.n; i++) {
        const sy_entry *e = &t->v->tree.at[i], *was = entry_of(&t->base->tree, e->path);
        if (e->type != XD_SYNC_FILE)
            continue;
        const bool changed = !was || was->type != XD_SYNC_FILE || was->content != e->content;
        if (changed && e->content->len && sy_chance(t->w, 50))
            t->push[n / 8] = (uint8_t)(t->push[n / 8] | 1u << n % 8);
        n++;
    }
}

static void send_file(talk *t, uint32_t number, bool whole)
{
    const sy_entry *e = file_of(t->amended ? t->other : t->v, number),
                   *was = e ? entry_of(t->base ? &t->base->tree : NULL, e->path) : NULL;
    if (!e) {
        sy_fault(t->w, "file %u is wanted, which is none", number);
        return;
    }
    const bool delta = !whole && was && was->type == XD_SYNC_FILE && was->content->len >= SY_DELTA &&
                       e->content->len >= SY_DELTA;
    sy_file_send(t->w, number, e->content, delta ? was->content : NULL, &t->down);
}

static void send_records(talk *t)
{
    choose_pushed(t);
    SY_MUST(t->w, xd_manifest_write(t->base ? t->base->manifest : NULL, t->v->manifest, t->push, keeps, t,
                                    sy_chance(t->w, 50) ? 40 + sy_rand(t->w, 400) : 10000, put_records, t));
    for (uint32_t i = 0; i < t->v->manifest->files; i++)
        if (t->push[i / 8] >> i % 8 & 1)
            send_file(t, i, false);
}

static void begin(talk *t)
{
    const xd_digest   id = xd_manifest_digest(t->v->manifest);
    xd_wire_SYNC_OPEN open = { .lo = id.lo, .hi = id.hi, .folder = XD_BYTES_LIT("x") };
    SY_MUST(t->w, xd_wire_SYNC_OPEN_frame(&t->down, 0, 0, &open));
    send_records(t);
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static void amend(talk *t)
{
    const sy_entry    *e = file_of(t->other, t->changed);
    xd_wire_SYNC_AMEND a = { .file = t->changed,
                             .mode = e->mode,
                             .size = e->content->len,
                             .mtime_ns = (uint64_t)e->mtime_ns,
                             .lo = e->content->id.lo,
                             .hi = e->content->id.hi };
    t->amended = true;
    SY_MUST(t->w, xd_wire_SYNC_AMEND_frame(&t->down, 0, 0, &a));
    send_file(t, t->changed, true);
}

static void on_want(talk *t, const xd_frame *f)
{
    xd_wire_SYNC_WANT  want = { 0 };
    xd_wire_SYNC_RANGE r;
    SY_MUST(t->w, xd_wire_SYNC_WANT_decode(f->body, f->len, &want));
    for (xd_wire_list it = want.ranges; xd_wire_SYNC_RANGE_next(&it, &r) == 1;)
        for (uint32_t i = 0; i < r.count && sy_ok(t->w); i++)
            send_file(t, r.first + i, r.whole);
    if (t->other && !t->amended)
        amend(t);
    SY_MUST(t->w, xd_wire_SYNC_END_frame(&t->down, 0, 0, &(xd_wire_SYNC_END){ 0 }));
}

static void on_extra(talk *t, const xd_frame *f)
{
    xd_autobuf         list = XD_BUF_INIT;
    xd_wire_SYNC_EXTRA extra = { 0 };
    xd_wire_TEXT       path;
    xd_wire_SYNC_KEEP  keep = { .last = 1 };
    uint32_t           n = 0;
    SY_MUST(t->w, xd_wire_SYNC_EXTRA_decode(f->body, f->len, &extra));
    for (xd_wire_list it = extra.paths; xd_wire_TEXT_next(&it, &path) == 1; n++) {
        const bool  folder = path.text.len && path.text.ptr[path.text.len - 1] == '/';
        const char *p = sy_text(t->w, path.text.ptr, path.text.len - folder);
        if (!sy_keeps(t->w, p, folder))
            continue;
        SY_MUST(t->w, xd_wire_INDEX_append(&list, &(xd_wire_INDEX){ .item = n }));
        keep.paths.count++;
    }
    keep.paths.ptr = list.data;
    keep.paths.len = list.len;
    SY_MUST(t->w, xd_wire_SYNC_KEEP_frame(&t->down, 0, 0, &keep));
}

static void on_done(talk *t, const xd_frame *f)
{
    xd_wire_SYNC_DONE done = { 0 };
    SY_MUST(t->w, xd_wire_SYNC_DONE_decode(f->body, f->len, &done));
    if (!xd_digest_eq((xd_digest){ done.lo, done.hi },
                      xd_manifest_digest((t->amended ? t->other : t->v)->manifest)))
        sy_fault(t->w, "what the host has is not what it was brought");
    t->done = true;
}

static void on_answer(talk *t, const xd_frame *f)
{
    switch (f->type) {
    case XD_MSG_SYNC_NEED_ALL:
        if (!t->base)
            sy_fault(t->w, "all was sent, and is not enough");
        t->base = NULL;
        send_records(t);
        break;
    case XD_MSG_SYNC_WANT:
        on_want(t, f);
        break;
    case XD_MSG_SYNC_EXTRA:
        on_extra(t, f);
        break;
    case XD_MSG_SYNC_SAME:
    case XD_MSG_SYNC_FAILED:
        t->done = true;
        break;
    case XD_MSG_SYNC_DONE:
        on_done(t, f);
        break;
    default:
        sy_fault(t->w, "the host says %s", xd_wire_name(f->type));
    }
}

/* ---- the pipe --------------------------------------------------------------------------------------------------- */

/* Bytes arrive in any portions. false: the pipe was cut. */
static bool deliver(talk *t, xd_buf *bytes, xd_stream_in *in, bool home)
{
    xd_autobuf moving = *bytes;
    *bytes = XD_BUF_INIT;
    for (size_t at = 0; at < moving.len && sy_ok(t->w);) {
        const size_t portion = 1 + sy_rand(t->w, sy_chance(t->w, 10) ? 20 : 60000);
        const size_t len = XD_MIN(portion, XD_MIN(moving.len - at, t->left));
        uint8_t     *to = NULL;
        size_t       room = 0;
        xd_frame     f;
        int          r;
        SY_MUST(t->w, xd_stream_in_space(in, len + 1, &to, &room));
        if (to)
            memcpy(to, moving.data + at, len);
        xd_stream_in_filled(in, len);
        at += len;
        t->left -= len;
        t->w->sim.events++;
        while (sy_ok(t->w) && (r = xd_stream_in_next(in, &f)) != 0) {
            sim_hash(&t->w->sim, (uint64_t)f.type << 32 ^ f.len);
            if (t->w->sim.trace)
                printf("    %s %s, %u bytes\n", home ? "<-" : "->", xd_wire_name(f.type), f.len);
            if (r < 0)
                sy_fault(t->w, "no frame: %d", r);
            else if (home)
                on_answer(t, &f);
            else
                sy_host_frame(t->w, t->h, &f, &t->up);
        }
        if (t->left == 0)
            return false;
    }
    return true;
}

static bool converse(talk *t)
{
    bool alive = true;
    xd_stream_in_init(&t->at_host, false);
    xd_stream_in_init(&t->at_home, false);
    begin(t);
    for (uint32_t turn = 0; alive && !t->done && sy_ok(t->w); turn++) {
        if (turn == TURNS)
            sy_fault(t->w, "the halves do not come to an end");
        alive = deliver(t, &t->down, &t->at_host, false) && deliver(t, &t->up, &t->at_home, true);
    }
    xd_stream_in_release(&t->at_host);
    xd_stream_in_release(&t->at_home);
    xd_buf_release(&t->down);
    xd_buf_release(&t->up);
    return t->done;
}

/* A file changes behind the scan. */
static void change_late(talk *t)
{
    sy_world      *w = t->w;
    const uint32_t at = sy_any(w, &t->v->tree, XD_SYNC_FILE);
    if (at == t->v->tree.n || w->versions == SY_VERSIONS)
        return;
    sy_version *v = &w->version[w->versions++];
    v->tree = t->v->tree;
    v->tree.at[at].content = sy_blob_edit(w, v->tree.at[at].content);
    v->tree.at[at].mtime_ns++;
    for (uint32_t i = 0; i < at; i++)
        t->changed += v->tree.at[i].type == XD_SYNC_FILE;
    sy_manifest_of(w, &v->tree, &v->manifest);
    t->other = v;
}

void sy_bring(sy_world *w, sy_host *h, const sy_version *v)
{
    for (uint32_t attempt = 0; sy_ok(w); attempt++) {
        sy_tree *before = sy_alloc(w, sizeof *before);
        talk     t = { .w = w, .h = h, .v = v, .base = h->believed, .left = SIZE_MAX };
        *before = h->tree;
        if (attempt < 3 && sy_chance(w, 40))
            t.left = 1 + sy_rand(w, sy_chance(w, 60) ? 1500 : 40000);
        if (sy_chance(w, 8))
            change_late(&t);
        const bool done = converse(&t), refused = h->refused;
        sy_host_reset(h);
        if (!sy_ok(w))
            return;
        if (!done) {
            sy_check_cut(w, before, &h->tree, v, t.other);
            continue;
        }
        sy_check_host(w, before, &h->tree, t.amended ? t.other : v, refused);
        if (!refused)
            h->believed = t.amended ? t.other : v;
        return;
    }
}
