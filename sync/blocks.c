/* sync/blocks.c - see blocks.h. All under the source's lock, but for reading a block that was written to disk. */
#include "sync/blocks_state.h"

#include <string.h>
#include <sys/eventfd.h>
#include <xxhash.h>

#include "engine/base/clock.h"
#include "sync/source_state.h"

#define KEPT_BYTES (8u << 20)

/* ---- streams ------------------------------------------------------------------------------------------------ */

static bool cursor_eq(xd_cursor a, xd_cursor b)
{
    return a.range == b.range && a.file == b.file && a.at == b.at;
}

void xd_block_drop_frame(xd_source *s, xd_block *b)
{
    if (b->roomy && s->spares < XD_SPARE_MAX)
        s->spare[s->spares++] = b->frame;
    else
        free(b->frame);
    b->frame = NULL;
    b->roomy = false;
}

void xd_block_unref(xd_source *s, xd_block *b)
{
    if (--b->refs)
        return;
    xd_block_drop_frame(s, b);
    free(b);
}

void xd_stream_drop_head(xd_source *s, xd_stream *st)
{
    xd_block *b = st->head;
    st->head = b->next;
    if (!st->head)
        st->tail = &st->head;
    st->first++;
    if (b->frame)
        xd_stream_less(s, st, b->len);
    xd_block_unref(s, b);
}

void xd_stream_less(xd_source *s, xd_stream *st, size_t bytes)
{
    st->kept -= bytes;
    s->kept -= bytes;
}

void xd_stream_free(xd_source *s, xd_stream *st)
{
    xd_stream **at = &s->streams;
    while (*at != st)
        at = &(*at)->next;
    *at = st->next;
    while (st->head)
        xd_stream_drop_head(s, st);
    xd_maker_free(st->maker);
    if (st->base)
        xd_source_base_unref(s, st->base);
    free(st->ranges);
    free(st);
}

uint64_t xd_blocks_room(const xd_source *s)
{
    return s->args.kept_bytes ? s->args.kept_bytes : KEPT_BYTES;
}

uint64_t xd_stream_fastest(const xd_stream *st)
{
    uint64_t n = 0;
    for (const xd_reader *r = st->readers; r; r = r->next)
        n = XD_MAX(n, r->number);
    return n;
}

uint64_t xd_stream_slowest(const xd_stream *st)
{
    uint64_t n = st->count_made;
    for (const xd_reader *r = st->readers; r; r = r->next)
        n = XD_MIN(n, r->number);
    return n;
}

bool xd_stream_awaited(const xd_source *s, const xd_stream *st)
{
    return s->came < s->args.hosts && st->first == 0 && !st->again && xd_spill_works(s);
}

/* Blocks that all have had go, unless they are the beginning, and little, or hosts are to come still that may want them. */
static void drop_passed(xd_source *s, xd_stream *st)
{
    uint64_t low = xd_stream_slowest(st);
    if ((st->first == 0 && st->kept <= xd_blocks_room(s) / 4) || xd_stream_awaited(s, st))
        return;
    while (st->head && st->first < low)
        xd_stream_drop_head(s, st);
}

void xd_reader_wake(const xd_reader *r)
{
    (void)eventfd_write(r->wake_fd, 1);
}

void xd_stream_wake(xd_stream *st)
{
    for (xd_reader *r = st->readers; r; r = r->next)
        if (r->waits) {
            r->waits = false;
            xd_reader_wake(r);
        }
}

/* ---- readers ------------------------------------------------------------------------------------------------- */

static xd_stream *find(xd_source *s, xd_digest key, xd_cursor at, uint64_t *ret_number)
{
    for (xd_stream *st = s->streams; st; st = st->next) {
        if (!xd_digest_eq(st->key, key) || st->fault)
            continue;
        uint64_t n = st->first;
        for (const xd_block *b = st->head; b; b = b->next, n++)
            if (cursor_eq(b->at, at)) {
                *ret_number = n;
                return st;
            }
        if (cursor_eq(st->made, at)) {
            *ret_number = n;
            return st;
        }
    }
    return NULL;
}

static int stream_new(xd_source *s, xd_digest key, xd_range **ranges, uint32_t count, xd_base *base,
                      bool zstd, xd_cursor from, xd_stream **ret)
{
    xd_stream *st = calloc(1, sizeof *st);
    if (!st)
        return -ENOMEM;
    *st = (xd_stream){ .key = key, .count = count, .zstd = zstd, .made = from, .began_ns = xd_clock_ns() };
    st->again = from.range || from.file || from.at;
    st->tail = &st->head;
    int r = xd_maker_new(&st->maker, s, *ranges, count, base ? base->memory : NULL, from);
    if (r < 0) {
        free(st);
        return r;
    }
    st->ranges = xd_take(ranges);
    if (base)
        xd_source_base_ref(st->base = base);
    st->next = s->streams;
    s->streams = st;
    *ret = st;
    return 0;
}

static void attach(xd_reader *r, xd_stream *st, uint64_t number)
{
    r->stream = st;
    r->number = number;
    r->next = st->readers;
    st->readers = r;
}

static void detach(xd_reader *r)
{
    xd_stream  *st = r->stream;
    xd_reader **at = &st->readers;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->stream = NULL;
    /* What is complete stays for those that come later, as long as there is room. */
    if (!xd_stream_busy(st) && !xd_stream_kept(st)) {
        xd_stream_free(r->source, st);
        return;
    }
    if (!xd_stream_busy(st) && st->base) {
        xd_source_base_unref(r->source, st->base);
        st->base = NULL;
    }
    (void)pthread_cond_signal(&r->source->work);
}

int xd_reader_new(xd_reader **ret, xd_source *s, xd_range **ranges, uint32_t count, xd_base *base, bool zstd,
                  int wake_fd)
{
    xd_reader *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    *r = (xd_reader){ .source = s, .wake_fd = wake_fd, .level = zstd ? 1 : 0 };
    XXH128_hash_t h = XXH3_128bits_withSeed(*ranges, count * sizeof **ranges,
                                            (zstd ? 1u : 0u) + (base ? base->id.lo * 2 : 0));
    (void)pthread_mutex_lock(&s->lock);
    xd_digest  key = { h.low64 + s->amend_count, h.high64 }; /* what was made before a file changed is old */
    uint64_t   number = 0;
    xd_stream *st = find(s, key, (xd_cursor){ 0 }, &number);
    int        err = 0;
    if (st) {
        free(xd_take(ranges));
    } else {
        err = stream_new(s, key, ranges, count, base, zstd, (xd_cursor){ 0 }, &st);
    }
    if (err == 0) {
        attach(r, st, number);
        xd_blocks_start(s);
        if (s->producers == 0) {
            detach(r);
            err = -EAGAIN;
        }
        (void)pthread_cond_signal(&s->work);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (err < 0) {
        free(r);
        return err;
    }
    *ret = r;
    return 0;
}

void xd_blocks_came(xd_source *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->came++;
    (void)pthread_cond_signal(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
}

xd_reader *xd_reader_free(xd_reader *r)
{
    if (r) {
        xd_source *s = r->source;
        (void)pthread_mutex_lock(&s->lock);
        if (r->stream)
            detach(r);
        (void)pthread_mutex_unlock(&s->lock);
        free(r);
    }
    return NULL;
}

/* The block it is at is gone: it goes on in another stream. */
static int move_on(xd_reader *r)
{
    xd_source *s = r->source;
    xd_stream *old = r->stream, *st;
    uint64_t   number = 0;
    st = find(s, old->key, r->at, &number);
    if (!st) {
        xd_range *ranges = malloc(old->count * sizeof *ranges);
        if (!ranges)
            return -ENOMEM;
        memcpy(ranges, old->ranges, old->count * sizeof *ranges);
        int err = stream_new(s, old->key, &ranges, old->count, old->base, old->zstd, r->at, &st);
        free(ranges);
        XD_TRY(err);
    }
    detach(r);
    attach(r, st, number);
    (void)pthread_cond_signal(&s->work);
    return 0;
}

static int next_block(xd_reader *r, xd_block **ret, xd_error *err)
{
    xd_source *s = r->source;
    if (xd_source_stopped(s))
        return xd_error_set(err, -ECANCELED, "stopped");
    if (r->number < r->stream->first) {
        int e = move_on(r);
        if (e < 0)
            return xd_error_set(err, e, "%s", xd_error_name(e));
    }
    xd_stream *st = r->stream;
    xd_block  *b = st->head;
    for (uint64_t n = st->first; b && n < r->number; n++)
        b = b->next;
    if (b && b->ready && !b->frame) {
        xd_block *copy;
        int       e = xd_spill_read(s, b, &copy);
        if (e < 0)
            return xd_error_set(err, e,
                                "cannot read blocks from the file in %s that they were written to: %s",
                                s->args.memory, xd_error_name(e));
        b = copy;
    } else if (b && b->ready) {
        b->refs++;
    }
    if (b && b->ready) {
        r->number++;
        r->at = b->end;
        drop_passed(s, st);
        (void)pthread_cond_signal(&s->work);
        *ret = b;
        return 1;
    }
    if (!b && st->fault) {
        if (err)
            *err = st->err;
        return st->fault;
    }
    if (!b && st->finished)
        return 0;
    r->waits = true;
    return -EAGAIN;
}

int xd_reader_next(xd_reader *r, xd_block **ret, xd_error *err)
{
    (void)pthread_mutex_lock(&r->source->lock);
    int result = next_block(r, ret, err);
    (void)pthread_mutex_unlock(&r->source->lock);
    return result;
}

void xd_block_done(xd_source *s, xd_block **block)
{
    if (!*block)
        return;
    (void)pthread_mutex_lock(&s->lock);
    xd_block_unref(s, *block);
    (void)pthread_mutex_unlock(&s->lock);
    *block = NULL;
}

void xd_reader_prefer(xd_reader *r, int level)
{
    (void)pthread_mutex_lock(&r->source->lock);
    r->level = level;
    (void)pthread_mutex_unlock(&r->source->lock);
}

void xd_blocks_stop(xd_source *s)
{
    (void)pthread_mutex_lock(&s->lock);
    for (xd_stream *st = s->streams; st; st = st->next)
        for (xd_reader *r = st->readers; r; r = r->next)
            xd_reader_wake(r);
    (void)pthread_cond_broadcast(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
}

void xd_blocks_free(xd_source *s)
{
    for (uint32_t i = 0; i < s->producers; i++)
        (void)pthread_join(s->producer[i], NULL);
    s->producers = 0;
    while (s->streams)
        xd_stream_free(s, s->streams);
    while (s->spares)
        free(s->spare[--s->spares]);
    xd_spill_end(s);
}
