/* engine/stream.h - frames on a byte stream (socket pair, pipe, ssh channel): bytes in, frames out, and an
 * output queue. Pure but for the two helpers at the end. */
#pragma once
#include "engine/wire.h"

typedef struct xd_stream_in {
    xd_buf   buf; /* bytes not yet given out lie at buf.data[at..] */
    size_t   at;
    size_t   scanned;  /* banner bytes passed over */
    bool     preamble; /* seen, or not wanted */
    uint64_t frames, bytes;
} xd_stream_in;
#define XD_STREAM_BANNER_MAX (64u << 10)

/* want_preamble: skip up to XD_STREAM_BANNER_MAX bytes of shell banner, then the preamble. */
void xd_stream_in_init(xd_stream_in *s, bool want_preamble);
void xd_stream_in_release(xd_stream_in *s);
/* Room to read into; at least `want` bytes.  Frames given out before become invalid.  -ENOMEM. */
int  xd_stream_in_space(xd_stream_in *s, size_t want, uint8_t **ret, size_t *ret_len) XD_MUST;
void xd_stream_in_filled(xd_stream_in *s, size_t len);
/* 1 = next frame (body valid until xd_stream_in_space), 0 = more bytes are needed, -EPROTO = not our
 * protocol, frame over the limit. */
int xd_stream_in_next(xd_stream_in *s, xd_frame *ret) XD_MUST;

typedef struct xd_stream_out {
    xd_buf   buf;
    size_t   at;
    uint64_t bytes; /* written so far */
} xd_stream_out;
static inline size_t xd_stream_out_pending(const xd_stream_out *s)
{
    return s->buf.len - s->at;
}
void xd_stream_out_release(xd_stream_out *s);
int  xd_stream_out_add(xd_stream_out *s, const void *data, size_t len) XD_MUST;
/* What is to be written; valid until the next call. */
static inline xd_bytes xd_stream_out_view(const xd_stream_out *s)
{
    return (xd_bytes){ s->buf.data + s->at, s->buf.len - s->at };
}
/* The caller has written the first `len` bytes of the view. */
void xd_stream_out_written(xd_stream_out *s, size_t len);

/* Reads what is there (at most `limit` bytes). > 0 bytes read, 0 = end of stream, -EAGAIN = nothing now,
 * -errno. */
int xd_stream_read_fd(xd_stream_in *s, int fd, size_t limit) XD_MUST;
/* Writes what the descriptor takes. 0 = all written, 1 = some is left (wait for POLLOUT), -errno (-EPIPE
 * without a signal on sockets). */
int xd_stream_write_fd(xd_stream_out *s, int fd) XD_MUST;
