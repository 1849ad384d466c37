/* sync_files.c - see sync.h: contents that change, and how they travel in pieces. */
#include <string.h>

#include "tests/sim/sync.h"

/* ---- edits ------------------------------------------------------------------------------------------------------ */

/* Bytes from `at` to `end` are others: `more` of them. */
static const sy_blob *replace(sy_world *w, const sy_blob *b, size_t at, size_t end, size_t more)
{
    xd_autobuf out = XD_BUF_INIT;
    const sy_blob *new = sy_blob_new(w, NULL, more);
    SY_MUST(w, xd_buf_add(&out, b->bytes, at));
    SY_MUST(w, xd_buf_add(&out, new->bytes, more));
    SY_MUST(w, xd_buf_add(&out, b->bytes + end, b->len - end));
    return sy_blob_new(w, out.len ? out.data : (const uint8_t *)"", out.len);
}

const sy_blob *sy_blob_edit(sy_world *w, const sy_blob *b)
{
    const size_t at = sy_rand(w, (uint32_t)b->len + 1), few = sy_rand(w, 100),
                 some = XD_MIN(b->len - at, few);
    if (b->len >= XD_CHUNK_FIXED_MIN && sy_chance(w, 80))
        return replace(w, b, at, at + some, some); /* in place */
    switch (sy_rand(w, 6)) {
    case 0:
        return replace(w, b, at, at, 1 + sy_rand(w, 300));
    case 1:
        return replace(w, b, b->len, b->len, 1 + sy_rand(w, 300));
    case 2:
        return replace(w, b, at, b->len, 0);
    case 3:
        return replace(w, b, at, at + some, sy_rand(w, 100));
    case 4:
        return sy_blob_new(w, NULL, sy_rand(w, 500));
    default:
        return replace(w, b, at, at + some, some);
    }
}

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

typedef struct sender {
    sy_world      *w;
    uint32_t       file, count;
    const sy_blob *content, *base;
    uint64_t       at, data;    /* data: bytes that were not copied */
    size_t         limit, same; /* same: bytes at the beginning that both versions have */
    xd_buf         body, *out;
} sender;

static void send_body(sender *s)
{
    xd_autobuf              inner = XD_BUF_INIT;
    xd_wire_SYNC_PIECE_LIST list = { .pieces = { s->count, s->body.data, s->body.len } };
    SY_MUST(s->w, xd_wire_SYNC_PIECE_LIST_encode(&inner, &list));
    xd_wire_SYNC_DATA data = { .plain_bytes = (uint32_t)inner.len, .inner = xd_buf_view(&inner) };
    SY_MUST(s->w, xd_wire_SYNC_DATA_frame(s->out, 0, 0, &data));
    xd_buf_clear(&s->body);
    s->count = 0;
}

/* Of a large file that kept its length no block is sent that is as it was. */
static void check_blocks(sender *s, uint64_t at, size_t len)
{
    const sy_blob *b = s->base, *c = s->content;
    for (uint64_t block = at / XD_CHUNK_FIXED * XD_CHUNK_FIXED; block < at + len; block += XD_CHUNK_FIXED)
        if (memcmp(b->bytes + block, c->bytes + block, XD_MIN(XD_CHUNK_FIXED, (size_t)(c->len - block))) == 0)
            sy_fault(s->w, "%zu bytes at %llu are sent, with a block that is as it was", len,
                     (unsigned long long)at);
}

static int on_piece(void *arg, uint64_t at, const uint8_t *data, uint64_t base_at, size_t len)
{
    sender            *s = arg;
    const sy_blob     *b = s->base, *c = s->content;
    xd_wire_SYNC_PIECE p = { .file = s->file, .at = at };
    if (at != s->at || len == 0 || len > c->len - at)
        sy_fault(s->w, "a piece of %zu bytes at %llu, not at %llu of %zu", len, (unsigned long long)at,
                 (unsigned long long)s->at, c->len);
    else if (data ? memcmp(data, c->bytes + at, len) != 0
                  : !b || base_at > b->len || len > b->len - base_at ||
                        memcmp(b->bytes + base_at, c->bytes + at, len) != 0)
        sy_fault(s->w, "what is %s at %llu is not what stands there", data ? "sent" : "copied",
                 (unsigned long long)at);
    if (data && b && at + XD_CHUNK_MAX + len < s->same)
        sy_fault(s->w, "%zu bytes at %llu are sent, but %zu are as they were", len, (unsigned long long)at,
                 s->same);
    if (!sy_ok(s->w))
        return -EPROTO;
    if (data && b && b->len == c->len && b->len >= XD_CHUNK_FIXED_MIN)
        check_blocks(s, at, len);
    s->at += len;
    s->data += data ? len : 0;
    p.op = data ? XD_SYNC_OP_DATA : XD_SYNC_OP_COPY;
    p.base_at = base_at;
    p.count = data ? 0 : (uint32_t)len;
    p.data = (xd_bytes){ data, data ? len : 0 };
    SY_MUST(s->w, xd_wire_SYNC_PIECE_append(&s->body, &p));
    s->count++;
    if (s->body.len >= s->limit)
        send_body(s);
    return 0;
}

/* The list that the pass made says what the content is. */
static void check_list(sy_world *w, const xd_delta *d, const sy_blob *c)
{
    xd_autobuf    stored = XD_BUF_INIT;
    xd_chunk_list l = { 0 };
    uint64_t      at = 0;
    SY_MUST(w, xd_delta_list(d, &stored));
    SY_MUST(w, xd_chunk_list_read(xd_buf_view(&stored), &l));
    for (uint32_t i = 0; i < l.count && sy_ok(w); i++) {
        uint32_t len;
        uint64_t id;
        memcpy(&len, l.lens + i * sizeof len, sizeof len);
        memcpy(&id, l.ids + i * sizeof id, sizeof id);
        if (len == 0 || len > xd_chunk_longest(l.class) || len > c->len - at ||
            xd_chunk_id(c->bytes + at, len) != id)
            sy_fault(w, "chunk %u of %u is not that of the content", i, l.count);
        at += len;
    }
    for (uint32_t i = 0; i < l.blocks && sy_ok(w); i++) {
        const uint64_t from = (uint64_t)i * XD_CHUNK_FIXED;
        uint64_t       id;
        memcpy(&id, l.fixed + i * sizeof id, sizeof id);
        if (from >= c->len ||
            xd_chunk_id(c->bytes + from, XD_MIN(XD_CHUNK_FIXED, (size_t)(c->len - from))) != id)
            sy_fault(w, "block %u of %u is not that of the content", i, l.blocks);
    }
    if (at != c->len || l.size != c->len)
        sy_fault(w, "chunks of %llu bytes, not %zu", (unsigned long long)at, c->len);
    SY_MUST(w, xd_chunk_store_add(&w->lists, c->id, xd_buf_view(&stored)));
    if (!xd_chunk_store_find(&w->lists, c->id).len)
        sy_fault(w, "a list of chunks was not stored");
}

/* The window begins where the pass needs it, and ends anywhere. */
static void feed(sy_world *w, xd_delta *d, sender *s)
{
    const sy_blob *c = s->content;
    for (uint64_t end = 0; s->at < c->len && sy_ok(w);) {
        const uint64_t from = xd_delta_from(d);
        end = XD_MAX(end, from) + 1000;
        end += sy_rand(w, 300000);
        end = XD_MIN(end, c->len);
        if (from > s->at)
            sy_fault(w, "the pass wants the bytes from %llu on, and has given out %llu",
                     (unsigned long long)from, (unsigned long long)s->at);
        xd_autofree uint8_t *win = sim_alloc((size_t)(end - from)); /* what is beside it must not be read */
        memcpy(win, c->bytes + from, (size_t)(end - from));
        SY_MUST(w, xd_delta_feed(d, win, from, (size_t)(end - from), end == c->len, on_piece, s));
    }
}

void sy_file_send(sy_world *w, uint32_t file, const sy_blob *content, const sy_blob *base, xd_buf *out)
{
    xd_delta      d;
    xd_chunk_list list;
    sender   s = { .w = w, .file = file, .content = content, .out = out, .limit = 200 + sy_rand(w, 50000) };
    xd_bytes stored = base ? xd_chunk_store_find(&w->lists, base->id) : (xd_bytes){ 0 };
    if (content->len == 0)
        return;
    if (stored.len && xd_chunk_list_read(stored, &list) == 0)
        s.base = base;
    while (s.base && s.same < base->len && s.same < content->len &&
           base->bytes[s.same] == content->bytes[s.same])
        s.same++;
    SY_MUST(w, xd_delta_init(&d, &w->chunker, s.base ? &list : NULL, content->len));
    feed(w, &d, &s);
    if (s.count)
        send_body(&s);
    if (s.at != content->len)
        sy_fault(w, "pieces of %llu bytes, not %zu", (unsigned long long)s.at, content->len);
    if (s.base && xd_digest_eq(base->id, content->id) && s.data)
        sy_fault(w, "%llu bytes of a file that is as it was", (unsigned long long)s.data);
    if (sy_ok(w))
        check_list(w, &d, content);
    xd_delta_release(&d);
    xd_buf_release(&s.body);
}

void sy_check_large(sy_world *w)
{
    xd_autobuf     out = XD_BUF_INIT;
    const bool     blocks = sy_chance(w, 50);
    const sy_blob *old = sy_blob_new(
        w, NULL, blocks ? XD_CHUNK_FIXED_MIN + sy_rand(w, 20000) : (1u << 20) - 3000 + sy_rand(w, 6000));
    const sy_blob *new = old;
    for (uint32_t i = 1 + sy_rand(w, 3); i > 0; i--) {
        const size_t at = sy_rand(w, (uint32_t) new->len - 5000), gone = sy_rand(w, 4000);
        new = replace(w, new, at, at + gone, blocks && sy_chance(w, 80) ? gone : sy_rand(w, 4000));
    }
    sy_file_send(w, 0, old, NULL, &out);
    xd_buf_clear(&out);
    sy_file_send(w, 0, new, old, &out);
}
