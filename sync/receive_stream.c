/* sync/receive_stream.c - the far half of a synchronisation: its stream. It waits at one place (wait_for) for frames, for those who write files, and for the
 * signal to stop. See receive_state.h. */
#include <poll.h>
#include <string.h>
#include <unistd.h>
#ifdef XD_WITH_ZSTD
#include <zstd.h>
#endif

#include "engine/base/os_linux.h"
#include "sync/receive_state.h"

#define IN_BYTES (64u << 10)
#define OUT_BYTES (32u << 10)
#define DATA_BODY_MAX ((1u << 20) + (64u << 10)) /* what cannot be compressed grows a little */
#define TAKEN_BYTES (256u << 10)

bool xd_receiver_failed(receiver *r)
{
    return __atomic_load_n(&r->far.failed, __ATOMIC_ACQUIRE) != 0;
}

/* Waits until the descriptor is ready; what the writers have done is looked at meanwhile. -EINTR: stop. -ECANCELED: a fault. */
static int wait_for(receiver *r, int fd, short events, bool wake)
{
    struct pollfd p[3] = { { .fd = fd, .events = events },
                           { .fd = r->far.stop_fd > 0 ? r->far.stop_fd : -1, .events = POLLIN },
                           { .fd = wake ? r->far.wake_fd : -1, .events = POLLIN } };
    if (poll(p, 3, -1) < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[1].revents) {
        __atomic_store_n(&r->far.stop, 1, __ATOMIC_RELAXED);
        return -EINTR;
    }
    if (p[2].revents) {
        uint64_t n;
        (void)!read(r->far.wake_fd, &n, sizeof(n));
        return xd_receiver_failed(r) ? -ECANCELED : 2;
    }
    return p[0].revents ? 1 : 0;
}

int xd_receiver_flush(receiver *r)
{
    xd_buf *out = &r->far.out;
    for (size_t at = 0; at < out->len;) {
        ssize_t n = xd_os_write_some(r->out, out->data + at, out->len - at);
        if (n == -EAGAIN) {
            int w = wait_for(r, r->out, POLLOUT, false);
            if (w < 0)
                return w;
            continue;
        }
        if (n < 0)
            return -EPIPE;
        at += (size_t)n;
    }
    xd_buf_clear(out);
    return 0;
}

int xd_receiver_flush_large(receiver *r)
{
    return r->far.out.len >= OUT_BYTES ? xd_receiver_flush(r) : 0;
}

int xd_receiver_tell_taken(receiver *r)
{
    uint64_t taken = far_data_taken(r->data);
    if (taken - r->told < TAKEN_BYTES)
        return 0;
    r->told = taken;
    xd_wire_SYNC_TAKEN m = { .bytes = taken };
    XD_TRY(xd_wire_SYNC_TAKEN_frame(&r->far.out, 0, 0, &m));
    return xd_receiver_flush(r);
}

int far_tell(xd_far *far, uint8_t type, uint8_t was, xd_bytes path)
{
    xd_wire_SYNC_CHANGE m = { .type = type, .was = was, .path = path };
    if (!(far->flags & (XD_SYNC_FLAG_TELL | XD_SYNC_FLAG_DRY_RUN)))
        return 0;
    XD_TRY(xd_wire_SYNC_CHANGE_frame(&far->out, 0, 0, &m));
    return xd_receiver_flush_large((receiver *)((char *)far - offsetof(receiver, far)));
}

/* Is everything done that has to come? */
bool xd_receiver_complete(receiver *r)
{
    return r->listed && !r->asking && __atomic_load_n(&r->far.lacking, __ATOMIC_ACQUIRE) == 0;
}

/* Some bytes, at least one. 2: all that was lacking is there. -EPIPE: the stream has ended. */
static int read_some(receiver *r, uint8_t *to, size_t room, size_t *ret)
{
    for (;;) {
        int w = wait_for(r, r->in, POLLIN, true);
        if (w < 0)
            return w;
        if (w == 2) {
            XD_TRY(xd_receiver_tell_taken(r));
            if (xd_receiver_complete(r))
                return 2;
        }
        if (w != 1)
            continue;
        ssize_t n = xd_os_read_some(r->in, to, room);
        if (n == -EAGAIN)
            continue;
        if (n <= 0)
            return -EPIPE;
        *ret = (size_t)n;
        return 0;
    }
}

/* So many bytes in the buffer. */
static int fill(receiver *r, size_t need)
{
    if (r->at && r->at + need > IN_BYTES) {
        memmove(r->buf, r->buf + r->at, r->len - r->at);
        r->len -= r->at;
        r->at = 0;
    }
    while (r->len - r->at < need) {
        size_t n;
        int    x = read_some(r, r->buf + r->len, IN_BYTES - r->len, &n);
        if (x != 0)
            return x;
        r->len += n;
    }
    return 0;
}

/* The body into a block of its own. */
static int read_body(receiver *r, xd_frame *f)
{
    XD_TRY(far_block_new(&r->body, f->len));
    uint8_t *to = far_block_bytes(r->body);
    size_t   have = XD_MIN(r->len - r->at, f->len);
    memcpy(to, r->buf + r->at, have);
    r->at += have;
    while (have < f->len) {
        size_t n;
        int    x = read_some(r, to + have, f->len - have, &n);
        if (x < 0)
            return x;
        if (x == 0)
            have += n;
    }
    f->body = to;
    return 0;
}

/* The next frame, valid until the next call. 2: there need be none any more. */
int xd_receiver_next(receiver *r, xd_frame *f)
{
    r->body = far_block_free(r->body);
    if (!r->buf && !(r->buf = malloc(IN_BYTES)))
        return -ENOMEM;
    if (r->at == r->len)
        r->at = r->len = 0;
    int x = fill(r, XD_FRAME_HEADER);
    if (x != 0)
        return x;
    XD_TRY(xd_wire_header(r->buf + r->at, f));
    if (f->type == XD_MSG_SYNC_DATA && f->len > DATA_BODY_MAX)
        return -EPROTO;
    r->at += XD_FRAME_HEADER;
    if (f->type == XD_MSG_SYNC_DATA || f->len > IN_BYTES / 2)
        return read_body(r, f);
    while ((x = fill(r, f->len)) == 2)
        ; /* it is looked at again when the frame has been handled */
    XD_TRY(x);
    f->body = r->buf + r->at;
    r->at += f->len;
    return 0;
}

/* ---- inner bodies ------------------------------------------------------------------------------------------------ */

int xd_receiver_unpack(receiver *r, xd_bytes inner, uint8_t codec, uint32_t plain, uint32_t most,
                       far_block **ret_block, xd_bytes *ret)
{
    if (plain > most)
        return -EPROTO;
    if (codec == XD_SYNC_CODEC_PLAIN) {
        *ret = inner;
        return inner.len == plain ? 0 : -EPROTO;
    }
#ifdef XD_WITH_ZSTD
    if (!r->zstd)
        r->zstd = ZSTD_createDCtx();
    if (!r->zstd)
        return -ENOMEM;
    XD_TRY(far_block_new(ret_block, plain));
    size_t n = ZSTD_decompressDCtx(r->zstd, far_block_bytes(*ret_block), plain, inner.ptr, inner.len);
    *ret = (xd_bytes){ far_block_bytes(*ret_block), plain };
    return ZSTD_isError(n) || n != plain ? -EPROTO : 0;
#else
    (void)r;
    (void)ret_block;
    return -EPROTO;
#endif
}

void xd_receiver_stream_release(receiver *r)
{
    r->body = far_block_free(r->body);
    free(r->buf);
    r->buf = NULL;
#ifdef XD_WITH_ZSTD
    (void)ZSTD_freeDCtx(r->zstd);
#endif
}
