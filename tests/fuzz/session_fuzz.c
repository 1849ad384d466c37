/* What two ends of a session may go through, and what a hostile end may say.
 * Input: first byte even: steps of two bytes, what happens and to which of two honest ends: frames are pushed, bytes arrive in pieces of any
 * size, numbers are acknowledged, the pipe is cut, and taken up again. Each frame arrives once, in order, and in the end nothing is kept.
 * Odd: the rest is a stream that one end reads, as the gateway does. It keeps its own frames until they are acknowledged, whatever is said. */
#include <assert.h>
#include <string.h>

#include "engine/session.h"
#include "engine/stream.h"

#define WINDOW_FRAMES 100u
#define WINDOW_BYTES 4096u
#define STEPS 400u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct end {
    xd_session_tx *tx;
    xd_session_rx  rx;
    xd_stream_in   in;
    xd_stream_out  out; /* on its way to the other end */
    uint32_t       pushed, taken;
    uint32_t       frames, bytes; /* its window */
} end;

static void add(end *e, const void *data, size_t len)
{
    int r = xd_stream_out_add(&e->out, data, len);
    assert(r == 0);
}

static void begin(end *e)
{
    *e = (end){ .rx = XD_SESSION_RX_INIT, .frames = WINDOW_FRAMES, .bytes = WINDOW_BYTES };
    int r = xd_session_tx_new(&e->tx, e->frames, e->bytes);
    assert(r == 0);
    xd_stream_in_init(&e->in, true);
    add(e, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN);
}

static void release(end *e)
{
    xd_session_tx_free(e->tx);
    xd_stream_in_release(&e->in);
    xd_stream_out_release(&e->out);
}

/* A frame whose body begins with its ordinal, if there is credit for it. */
static void push(end *e, uint32_t len)
{
    uint8_t  frame[XD_FRAME_HEADER + 4 + 255] = { 0 };
    xd_frame f = { .len = 4 + len, .type = 96 };
    xd_bytes sent;
    size_t   size = XD_FRAME_HEADER + f.len, before = xd_session_tx_outstanding_bytes(e->tx);
    if (!xd_session_tx_credit(e->tx, size))
        return;
    xd_wire_put_header(frame, &f);
    memcpy(frame + XD_FRAME_HEADER, &e->pushed, 4);
    int r = xd_session_tx_push(e->tx, frame, size - 1, &sent);
    assert(r == -EINVAL);
    r = xd_session_tx_push(e->tx, frame, size, &sent);
    assert(r == 0 && sent.len == size && xd_session_tx_last(e->tx) == ++e->pushed);
    assert(xd_session_tx_outstanding_bytes(e->tx) == before + size);
    assert(before == 0 || before + size <= e->bytes);
    add(e, sent.ptr, sent.len);
}

static void acknowledge(end *e)
{
    xd_autobuf  frame = XD_BUF_INIT;
    xd_wire_ACK m = { .acked = e->rx.acked = e->rx.last };
    int         r = xd_wire_ACK_frame(&frame, 0, 0, &m);
    assert(r == 0);
    add(e, frame.data, frame.len);
}

static void take(end *e, const xd_frame *f)
{
    uint32_t ordinal;
    if (f->type == XD_MSG_ACK) {
        xd_wire_ACK m;
        int         r = xd_wire_ACK_decode(f->body, f->len, &m);
        assert(r == 0);
        r = xd_session_tx_acked(e->tx, m.acked);
        assert(r >= 0 && xd_session_tx_outstanding(e->tx) <= xd_session_tx_last(e->tx) - m.acked);
        return;
    }
    int seen = xd_session_rx_seen(&e->rx, f->seq);
    assert(seen != XD_SESSION_GAP && f->len >= 4);
    memcpy(&ordinal, f->body, 4);
    assert(ordinal + 1 == f->seq);
    if (seen == XD_SESSION_TAKE)
        assert(ordinal == e->taken++);
    else
        assert(ordinal < e->taken);
}

/* So many bytes of what is on its way from the one to the other. */
static void arrive(end *from, end *to, size_t len)
{
    xd_bytes all = xd_stream_out_view(&from->out);
    uint8_t *room;
    size_t   size;
    xd_frame f;
    int      r;
    len = XD_MIN(len, all.len);
    if (!len)
        return;
    r = xd_stream_in_space(&to->in, len, &room, &size);
    assert(r == 0 && size >= len);
    memcpy(room, all.ptr, len);
    xd_stream_in_filled(&to->in, len);
    xd_stream_out_written(&from->out, len);
    while ((r = xd_stream_in_next(&to->in, &f)) == 1)
        take(to, &f);
    assert(r == 0);
}

static int again(void *arg, xd_bytes frame)
{
    add(arg, frame.ptr, frame.len);
    return 0;
}

/* The pipe is cut, what is on its way is lost, and another one is there. */
static void reconnect(end both[2])
{
    for (int i = 0; i < 2; i++) {
        xd_stream_in_release(&both[i].in);
        xd_stream_out_release(&both[i].out);
        both[i].out = (xd_stream_out){ 0 };
        xd_stream_in_init(&both[i].in, true);
        add(&both[i], XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN);
    }
    for (int i = 0; i < 2; i++) {
        uint64_t last = both[!i].rx.last;
        int      r = xd_session_tx_taken(both[i].tx, last);
        assert(r == 0);
        r = xd_session_tx_resend(both[i].tx, last, again, &both[i]);
        assert(r == 0);
    }
}

static void honest(const uint8_t *data, size_t len)
{
    end both[2];
    begin(&both[0]), begin(&both[1]);
    for (size_t i = 0; i + 1 < XD_MIN(len, (size_t)2 * STEPS); i += 2) {
        end    *one = &both[data[i] & 1], *other = &both[!(data[i] & 1)];
        uint8_t n = data[i + 1];
        switch (data[i] >> 1 & 7) {
        case 0:
        case 1:
            push(one, n);
            break;
        case 2:
            for (int k = 0; k < 30; k++)
                push(one, n);
            break;
        case 3:
            arrive(one, other, n);
            break;
        case 4:
            arrive(one, other, (size_t)n << 6);
            break;
        case 5:
            acknowledge(one);
            break;
        case 6:
            reconnect(both);
            break;
        default:
            one->frames = n + 1u, one->bytes = (n + 1u) << 6;
            xd_session_tx_window(one->tx, one->frames, one->bytes);
        }
    }
    reconnect(both);
    for (int i = 0; i < 4; i++) {
        arrive(&both[i & 1], &both[!(i & 1)], SIZE_MAX);
        acknowledge(&both[!(i & 1)]);
    }
    arrive(&both[0], &both[1], SIZE_MAX);
    for (int i = 0; i < 2; i++) {
        assert(both[i].taken == both[!i].pushed && both[i].rx.gaps == 0);
        assert(xd_session_tx_outstanding(both[i].tx) == 0);
        assert(xd_session_tx_outstanding_bytes(both[i].tx) == 0);
    }
    release(&both[0]), release(&both[1]);
}

static int in_order(void *arg, xd_bytes frame)
{
    uint64_t *next = arg;
    xd_frame  f;
    int       r = xd_wire_header(frame.ptr, &f);
    assert(r == 0 && f.seq == (*next)++ && frame.len == XD_FRAME_HEADER + f.len);
    return 0;
}

/* What a frame of a hostile end may do. False: the pipe is closed. */
static bool hear(end *e, const xd_frame *f)
{
    const uint64_t last = xd_session_tx_last(e->tx), seen = e->rx.last;
    const uint32_t kept = xd_session_tx_outstanding(e->tx);
    if (f->type == XD_MSG_ACK) {
        xd_wire_ACK m;
        if (xd_wire_ACK_decode(f->body, f->len, &m) < 0)
            return false;
        int r = xd_session_tx_acked(e->tx, m.acked);
        assert((r == -EPROTO) == (m.acked > last));
        assert(xd_session_tx_outstanding(e->tx) == (r == 0 ? last - m.acked : kept));
        push(e, (uint8_t)f->flags);
        return r >= 0;
    }
    if (f->type == XD_MSG_WELCOME) {
        xd_wire_WELCOME m;
        uint64_t        next;
        if (xd_wire_WELCOME_decode(f->body, f->len, &m) < 0)
            return false;
        int r = xd_session_tx_taken(e->tx, m.last);
        assert(r == (m.last > last ? -EPROTO : m.last < last - kept ? -ESTALE : 0));
        if (r < 0)
            return false;
        next = m.last + 1;
        r = xd_session_tx_resend(e->tx, m.last, in_order, &next);
        assert(r == 0 && next == last + 1 && xd_session_tx_outstanding(e->tx) == kept);
        e->frames = m.window_frames, e->bytes = m.window_bytes;
        xd_session_tx_window(e->tx, m.window_frames, m.window_bytes);
        return true;
    }
    int r = f->seq ? xd_session_rx_seen(&e->rx, f->seq) : XD_SESSION_DUPLICATE;
    assert(e->rx.last == seen + (r == XD_SESSION_TAKE));
    push(e, (uint8_t)f->len);
    return r != XD_SESSION_GAP;
}

static void hostile(const uint8_t *data, size_t len)
{
    end      e;
    uint8_t *room;
    size_t   size;
    xd_frame f;
    begin(&e);
    for (int i = 0; i < 5; i++)
        push(&e, 10);
    xd_stream_in_release(&e.in);
    xd_stream_in_init(&e.in, false);
    int r = xd_stream_in_space(&e.in, len, &room, &size);
    assert(r == 0);
    memcpy(room, data, len);
    xd_stream_in_filled(&e.in, len);
    while ((r = xd_stream_in_next(&e.in, &f)) == 1 && hear(&e, &f))
        assert(xd_session_tx_outstanding_bytes(e.tx) <=
               XD_MAX(e.bytes, 5 * (XD_FRAME_HEADER + 14) + WINDOW_BYTES + 0u));
    release(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2 || len > 16384)
        return 0;
    if (data[0] & 1)
        hostile(data + 1, len - 1);
    else
        honest(data + 1, len - 1);
    return 0;
}
