/* sync/blocks_make.c - see blocks.h: which block is made next, and the threads that make and compress them. All under the source's lock, but for that work itself. */
#include <string.h>
#include <sys/eventfd.h>
#include <zstd.h>

#include "engine/base/clock.h"
#include "sync/blocks_state.h"
#include "sync/source_state.h"

#define PATIENCE_NS (100 * XD_MS_NS) /* how long, all in all, the fastest waits for those that lag */
#define LOOK_AGAIN_NS (5 * XD_MS_NS)

/* ---- which block is made next ------------------------------------------------------------------------------- */

static uint64_t ahead(const xd_stream *st)
{
    uint64_t from = xd_stream_fastest(st), n = st->first, bytes = 0;
    for (const xd_block *b = st->head; b; b = b->next, n++)
        bytes += n >= from ? b->len : 0;
    return bytes;
}

/* Makes room for a block of this stream: what nobody waits for, in the end what only those need that lag too long. false = not yet. */
static bool make_room(xd_source *s, xd_stream *st, uint64_t now)
{
    for (xd_stream *o = s->streams, *next; o && s->kept >= xd_blocks_room(s); o = next) {
        next = o->next;
        if (xd_stream_awaited(s, o))
            continue;
        if (!xd_stream_busy(o))
            xd_stream_free(s, o);
        else
            for (uint64_t low = xd_stream_slowest(o); o->head && o->first < low;)
                xd_stream_drop_head(s, o);
    }
    if (s->kept < xd_blocks_room(s) || !st->head)
        return true;
    if (ahead(st)) /* its fastest reader has something still */
        return false;
    if (xd_spill_works(s)) /* nothing can be written now: all is on its way */
        return true;
    if (!st->starve_ns)
        st->starve_ns = now;
    if (st->waited_ns + (now - st->starve_ns) < PATIENCE_NS + (now - st->began_ns) / 16)
        return false;
    while (st->head && s->kept >= xd_blocks_room(s) / 4 * 3) /* not block by block */
        xd_stream_drop_head(s, st);
    for (xd_reader *r = st->readers; r; r = r->next)
        if (r->number < st->first && r->waits) {
            r->waits = false;
            xd_reader_wake(r);
        }
    return true;
}

static xd_stream *pick(xd_source *s, bool *ret_again)
{
    uint64_t now = xd_clock_ns();
    *ret_again = false;
    for (xd_stream *st = s->streams, *next; st; st = next) {
        next = st->next;
        if (!st->readers || st->making || st->finished || st->fault || ahead(st) >= xd_blocks_room(s) / 16)
            continue;
        if (s->kept < xd_blocks_room(s))
            return st;
        if (make_room(s, st, now))
            return st;
        next = st->next; /* the one after it may have gone */
        *ret_again |= st->starve_ns != 0;
    }
    return NULL;
}

static int level_of(const xd_stream *st)
{
    int level = 0;
    for (const xd_reader *r = st->readers; r; r = r->next)
        level = XD_MAX(level, r->level);
    return st->zstd ? level : 0;
}

/* ---- making ------------------------------------------------------------------------------------------------- */

static void put_le(uint8_t *p, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* The head of a SYNC_DATA frame; its inner body is behind it already. */
static void finish_frame(uint8_t *frame, uint8_t codec, size_t plain, size_t inner)
{
    xd_wire_put_header(frame, &(xd_frame){ .len = (uint32_t)(9 + inner), .type = XD_MSG_SYNC_DATA });
    frame[XD_FRAME_HEADER] = codec;
    put_le(frame + XD_FRAME_HEADER + 1, plain, 4);
    put_le(frame + XD_FRAME_HEADER + 5, inner, 4);
}

#define SAMPLE (16u << 10)

/* What one thread makes blocks with. */
typedef struct tools {
    ZSTD_CCtx *ctx; /* NULL: all stays plain */
    uint8_t   *out;
    size_t     room;
} tools;

/* The frame, compressed, in memory of its own; NULL: that does not pay. */
static uint8_t *pack(tools *t, int level, bool sample, const uint8_t *frame, size_t len, size_t *ret_len)
{
    const uint8_t *plain = frame + XD_MADE_HEAD;
    size_t         n = len - XD_MADE_HEAD, packed = 0;
    if (sample && n > SAMPLE) {
        packed = ZSTD_compressCCtx(t->ctx, t->out, t->room, plain, SAMPLE, 1);
        if (ZSTD_isError(packed) || packed > SAMPLE / 16 * 15)
            return NULL;
    }
    packed = ZSTD_compressCCtx(t->ctx, t->out, t->room, plain, n, level);
    if (ZSTD_isError(packed) || packed > n / 16 * 15)
        return NULL;
    uint8_t *ret = malloc(XD_MADE_HEAD + packed);
    if (!ret)
        return NULL;
    memcpy(ret + XD_MADE_HEAD, t->out, packed);
    finish_frame(ret, XD_SYNC_CODEC_ZSTD, n, packed);
    *ret_len = XD_MADE_HEAD + packed;
    return ret;
}

/* A block, appended to its stream; not ready before it is compressed. NULL without memory. */
static xd_block *append(xd_source *s, xd_stream *st, xd_made *made)
{
    xd_block *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (xd_block){ .len = made->frame.len,
                     .bytes = made->bytes,
                     .files = made->files,
                     .at = st->made,
                     .end = made->next,
                     .refs = 1 };
    b->frame = made->frame.data;
    b->roomy = made->frame.cap == XD_MADE_ROOM;
    made->frame = XD_BUF_INIT;
    finish_frame(b->frame, XD_SYNC_CODEC_PLAIN, b->len - XD_MADE_HEAD, b->len - XD_MADE_HEAD);
    *st->tail = b;
    st->tail = &b->next;
    st->count_made++;
    st->kept += b->len;
    s->kept += b->len;
    s->stats.blocks++;
    s->stats.blocks_again += st->again;
    return b;
}

static void pack_block(xd_source *s, xd_stream *st, xd_block *b, tools *t, int level)
{
    bool   sample = st->raw;
    size_t len = 0;
    st->packing++;
    (void)pthread_mutex_unlock(&s->lock); /* not ready: nobody else looks at the block */
    uint8_t *packed = pack(t, level, sample, b->frame, b->len, &len);
    (void)pthread_mutex_lock(&s->lock);
    st->raw = !packed;
    st->packing--;
    if (!packed)
        return;
    if (b->refs > 1) /* the stream has it still */
        xd_stream_less(s, st, b->len - len);
    xd_block_drop_frame(s, b);
    b->frame = packed;
    b->len = len;
}

/* One block of a stream. Called, and returns, with the lock; without it while it works. */
static void produce(xd_source *s, xd_stream *st, tools *t)
{
    xd_made  made = { 0 };
    xd_error err = { 0 };
    st->making = true;
    if (st->starve_ns)
        st->waited_ns += xd_clock_ns() - st->starve_ns;
    st->starve_ns = 0;
    if (s->spares)
        made.frame = (xd_buf){ .data = s->spare[--s->spares], .cap = XD_MADE_ROOM };
    (void)pthread_mutex_unlock(&s->lock);
    int r = made.frame.data ? 0 : xd_buf_reserve(&made.frame, XD_MADE_ROOM);
    if (r == 0)
        r = xd_maker_next(st->maker, &made, &err);
    if (r >= 0 && made.amend_count) {
        int a = xd_source_amend(s, made.amends, made.amend_count);
        r = a < 0 ? xd_error_set(&err, a, "%s", xd_error_name(a)) : r;
    }
    (void)pthread_mutex_lock(&s->lock);
    st->making = false;
    xd_block *b = r >= 0 && made.pieces ? append(s, st, &made) : NULL;
    if (r >= 0 && made.pieces && !b)
        r = xd_error_set(&err, -ENOMEM, "out of memory");
    if (r < 0) {
        st->fault = r;
        st->err = err;
    } else {
        st->made = made.next;
        st->finished = r == 0;
        if (st->finished)
            st->maker = xd_maker_free(st->maker);
    }
    xd_made_release(&made);
    if (b) {
        (void)pthread_cond_signal(&s->work); /* the next one is made while this one is compressed */
        int level = level_of(st);
        b->refs++;
        if (level && t->ctx && t->out)
            pack_block(s, st, b, t, level);
        b->ready = true;
        s->stats.packed_bytes += b->len;
        xd_block_unref(s, b);
    }
    xd_stream_wake(st);
    if (!xd_stream_busy(st) && !xd_stream_kept(st))
        xd_stream_free(s, st);
}

static void *producer(void *arg)
{
    xd_source *s = arg;
    tools      t = { .ctx = ZSTD_createCCtx(), .room = ZSTD_compressBound(XD_MADE_ROOM) };
    t.out = malloc(t.room);
    (void)pthread_mutex_lock(&s->lock);
    while (!xd_source_stopped(s)) {
        bool again;
        if (xd_spill_one(s))
            continue;
        xd_stream *st = pick(s, &again);
        if (st) {
            produce(s, st, &t);
        } else if (again) {
            const struct timespec until = xd_clock_timespec(xd_clock_ns() + LOOK_AGAIN_NS);
            (void)pthread_cond_timedwait(&s->work, &s->lock, &until);
        } else {
            (void)pthread_cond_wait(&s->work, &s->lock);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    ZSTD_freeCCtx(t.ctx);
    free(t.out);
    return NULL;
}

void xd_blocks_start(xd_source *s)
{
    while (s->producers < XD_PRODUCERS_MAX &&
           xd_source_thread(&s->producer[s->producers], "xd-blocks", producer, s) == 0)
        s->producers++;
}
