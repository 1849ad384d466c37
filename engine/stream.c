/* engine/stream.c - see stream.h. */
#include "engine/stream.h"

#include <limits.h>
#include <string.h>

#include "engine/base/os_linux.h"

void xd_stream_in_init(xd_stream_in *s, bool want_preamble)
{
    *s = (xd_stream_in){ .preamble = !want_preamble };
}

void xd_stream_in_release(xd_stream_in *s)
{
    xd_buf_release(&s->buf);
    s->at = 0;
}

int xd_stream_in_space(xd_stream_in *s, size_t want, uint8_t **ret, size_t *ret_len)
{
    if (s->at) {
        xd_buf_consume(&s->buf, s->at);
        s->at = 0;
    }
    XD_TRY(xd_buf_reserve(&s->buf, want));
    *ret = s->buf.data + s->buf.len;
    *ret_len = s->buf.cap - s->buf.len;
    return 0;
}

void xd_stream_in_filled(xd_stream_in *s, size_t len)
{
    s->buf.len += len;
    s->bytes += len;
}

/* 1 = the preamble is behind us, 0 = more bytes are needed. */
static int skip_banner(xd_stream_in *s)
{
    const uint8_t *data = s->buf.data + s->at;
    size_t         len = s->buf.len - s->at;
    const uint8_t *hit =
        len >= XD_WIRE_PREAMBLE_LEN ? memmem(data, len, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN) : NULL;
    /* Without a hit the last bytes may be the beginning of one. */
    size_t drop = hit                           ? (size_t)(hit - data)
                  : len >= XD_WIRE_PREAMBLE_LEN ? len - XD_WIRE_PREAMBLE_LEN + 1
                                                : 0;
    s->at += drop;
    s->scanned += drop;
    if (s->scanned > XD_STREAM_BANNER_MAX)
        return -EPROTO;
    if (!hit)
        return 0;
    s->at += XD_WIRE_PREAMBLE_LEN;
    s->preamble = true;
    return 1;
}

int xd_stream_in_next(xd_stream_in *s, xd_frame *ret)
{
    if (!s->preamble) {
        int r = skip_banner(s);
        if (r <= 0)
            return r;
    }
    size_t len = s->buf.len - s->at;
    if (len < XD_FRAME_HEADER)
        return 0;
    XD_TRY(xd_wire_header(s->buf.data + s->at, ret));
    if (len - XD_FRAME_HEADER < ret->len)
        return 0;
    s->at += XD_FRAME_HEADER + ret->len;
    s->frames++;
    return 1;
}

void xd_stream_out_release(xd_stream_out *s)
{
    xd_buf_release(&s->buf);
    s->at = 0;
}

int xd_stream_out_add(xd_stream_out *s, const void *data, size_t len)
{
    /* Moving the rest to the front pays once most of the buffer is written. */
    if (s->at && s->at * 2 >= s->buf.len) {
        xd_buf_consume(&s->buf, s->at);
        s->at = 0;
    }
    return xd_buf_add(&s->buf, data, len);
}

void xd_stream_out_written(xd_stream_out *s, size_t len)
{
    s->at += len;
    s->bytes += len;
    if (s->at < s->buf.len)
        return;
    xd_buf_clear(&s->buf);
    s->at = 0;
}

int xd_stream_read_fd(xd_stream_in *s, int fd, size_t limit)
{
    uint8_t *at;
    size_t   room;
    XD_TRY(xd_stream_in_space(s, limit, &at, &room));
    ssize_t n = xd_os_read_some(fd, at, XD_MIN(room, XD_MIN(limit, (size_t)INT_MAX)));
    if (n > 0)
        xd_stream_in_filled(s, (size_t)n);
    return (int)n;
}

int xd_stream_write_fd(xd_stream_out *s, int fd)
{
    while (xd_stream_out_pending(s)) {
        xd_bytes rest = xd_stream_out_view(s);
        ssize_t  n = xd_os_write_some(fd, rest.ptr, rest.len);
        if (n < 0)
            return n == -EAGAIN ? 1 : (int)n;
        xd_stream_out_written(s, (size_t)n);
    }
    return 0;
}
