/* engine/session.c - see session.h. */
#include "engine/session.h"

#include <stdlib.h>

typedef struct kept {
    size_t   offset; /* of the frame in the store */
    size_t   len;
    uint64_t seq;
} kept;

struct xd_session_tx {
    uint32_t window_frames, window_bytes;
    uint64_t last;
    xd_buf   store; /* frames back to back; the first `gone` bytes are acknowledged */
    size_t   gone;
    kept    *ring; /* power of two entries */
    uint32_t cap, head, count;
};

int xd_session_tx_new(xd_session_tx **ret, uint32_t window_frames, uint32_t window_bytes)
{
    xd_session_tx *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->window_frames = window_frames;
    s->window_bytes = window_bytes;
    *ret = s;
    return 0;
}

xd_session_tx *xd_session_tx_free(xd_session_tx *s)
{
    if (s) {
        xd_buf_release(&s->store);
        free(s->ring);
        free(s);
    }
    return NULL;
}

void xd_session_tx_window(xd_session_tx *s, uint32_t frames, uint32_t bytes)
{
    s->window_frames = frames;
    s->window_bytes = bytes;
}

size_t xd_session_tx_outstanding_bytes(const xd_session_tx *s)
{
    return s->store.len - s->gone;
}

bool xd_session_tx_credit(const xd_session_tx *s, size_t bytes)
{
    return s->count == 0 ||
           (s->count < s->window_frames && xd_session_tx_outstanding_bytes(s) + bytes <= s->window_bytes);
}

static int grow_ring(xd_session_tx *s)
{
    uint32_t cap = s->cap ? s->cap * 2 : 64;
    kept    *ring = malloc(cap * sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->count; i++)
        ring[i] = s->ring[(s->head + i) & (s->cap - 1)];
    free(s->ring);
    s->ring = ring;
    s->cap = cap;
    s->head = 0;
    return 0;
}

/* Drops the acknowledged front of the store once it is the larger part. */
static void compact(xd_session_tx *s)
{
    if (s->gone < 4096 || s->gone * 2 < s->store.len)
        return;
    xd_buf_consume(&s->store, s->gone);
    for (uint32_t i = 0; i < s->count; i++)
        s->ring[(s->head + i) & (s->cap - 1)].offset -= s->gone;
    s->gone = 0;
}

int xd_session_tx_push(xd_session_tx *s, const void *frame, size_t len, xd_bytes *ret)
{
    xd_frame f;
    if (len < XD_FRAME_HEADER)
        return -EINVAL;
    XD_TRY(xd_wire_header(frame, &f));
    if (f.len != len - XD_FRAME_HEADER)
        return -EINVAL;
    if (s->count == s->cap)
        XD_TRY(grow_ring(s));
    compact(s);
    size_t offset = s->store.len;
    XD_TRY(xd_buf_add(&s->store, frame, len));
    f.seq = ++s->last;
    xd_wire_put_header(s->store.data + offset, &f);
    s->ring[(s->head + s->count++) & (s->cap - 1)] = (kept){ .offset = offset, .len = len, .seq = f.seq };
    *ret = (xd_bytes){ s->store.data + offset, len };
    return 0;
}

int xd_session_tx_acked(xd_session_tx *s, uint64_t seq)
{
    if (seq > s->last)
        return -EPROTO;
    int news = 1;
    while (s->count && s->ring[s->head].seq <= seq) {
        s->gone += s->ring[s->head].len;
        s->head = (s->head + 1) & (s->cap - 1);
        s->count--;
        news = 0;
    }
    if (s->count == 0) {
        xd_buf_clear(&s->store);
        s->gone = 0;
    }
    return news;
}

int xd_session_tx_taken(const xd_session_tx *s, uint64_t last)
{
    return last > s->last ? -EPROTO : last < s->last - s->count ? -ESTALE : 0;
}

int xd_session_tx_resend(const xd_session_tx *s, uint64_t last, int (*fn)(void *arg, xd_bytes frame),
                         void *arg)
{
#if XD_PLANTED_BUG == 8 /* the frame that was on its way when the pipe was cut counts as taken */
    last++;
#endif
    for (uint32_t i = 0; i < s->count; i++) {
        const kept *k = &s->ring[(s->head + i) & (s->cap - 1)];
        if (k->seq > last)
            XD_TRY(fn(arg, (xd_bytes){ s->store.data + k->offset, k->len }));
    }
    return 0;
}

uint64_t xd_session_tx_last(const xd_session_tx *s)
{
    return s->last;
}

uint32_t xd_session_tx_outstanding(const xd_session_tx *s)
{
    return s->count;
}

int xd_session_rx_seen(xd_session_rx *s, uint64_t seq)
{
    if (seq <= s->last) {
        s->duplicates++;
        return XD_SESSION_DUPLICATE;
    }
    if (seq != s->last + 1) {
        s->gaps++;
        return XD_SESSION_GAP;
    }
    s->last = seq;
    return XD_SESSION_TAKE;
}
