/* Any bytes on a stream: the frames that come out do not depend on the pieces the bytes come in, nor on whether they come from memory or a descriptor.
 * Input: first byte, bits: 1 = a preamble is wanted, 2 = 80,000 bytes of banner stand in front; second: size of the pieces; the rest are the bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int read_all(const uint8_t *data, size_t len, bool preamble, size_t piece, uint64_t *ret_frames,
                    uint64_t *ret_hash)
{
    xd_stream_in s;
    xd_frame     f;
    int          r = 0;
    *ret_frames = *ret_hash = 0;
    xd_stream_in_init(&s, preamble);
    for (size_t at = 0; at < len && r == 0; at += piece) {
        uint8_t *room;
        size_t   size, n = XD_MIN(piece, len - at);
        if (xd_stream_in_space(&s, n, &room, &size) < 0)
            break;
        memcpy(room, data + at, n);
        xd_stream_in_filled(&s, n);
        while ((r = xd_stream_in_next(&s, &f)) == 1) {
            ++*ret_frames;
            *ret_hash = XXH3_64bits_withSeed(f.body, f.len, *ret_hash + f.type + f.seq);
        }
    }
    xd_stream_in_release(&s);
    assert(r == 0 || r == -EPROTO);
    return r;
}

/* Out of one end and into another, over a socket that takes what it takes. */
static int through_socket(const uint8_t *data, size_t len, bool preamble, size_t piece, uint64_t *ret_frames,
                          uint64_t *ret_hash)
{
    xd_stream_in  in;
    xd_stream_out out = { 0 };
    xd_frame      f;
    size_t        added = 0;
    int           fds[2], r = 0, n = 1, small = 4096;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    *ret_frames = *ret_hash = 0;
    xd_stream_in_init(&in, preamble);
    while (r == 0 && (added < len || xd_stream_out_pending(&out) || n > 0)) {
        size_t part = XD_MIN(piece * 16, len - added);
        n = xd_stream_out_add(&out, data + added, part);
        assert(n == 0);
        added += part;
        n = xd_stream_write_fd(&out, fds[1]);
        assert(n == (xd_stream_out_pending(&out) ? 1 : 0));
        n = xd_stream_read_fd(&in, fds[0], 8192);
        assert(n > 0 || n == -EAGAIN);
        while ((r = xd_stream_in_next(&in, &f)) == 1) {
            ++*ret_frames;
            *ret_hash = XXH3_64bits_withSeed(f.body, f.len, *ret_hash + f.type + f.seq);
        }
    }
    assert(r < 0 || (out.bytes == len && in.bytes == len));
    close(fds[0]);
    n = xd_stream_out_add(&out, "x", 1);
    assert(n == 0);
    n = xd_stream_write_fd(&out, fds[1]);
    assert(n == -EPIPE);
    n = xd_stream_read_fd(&in, fds[1], 10);
    assert(n == 0 || n == -ECONNRESET);
    close(fds[1]);
    xd_stream_in_release(&in);
    xd_stream_out_release(&out);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint64_t frames[3], hashes[3];
    if (len < 2 || len > 65536)
        return 0;
    bool     preamble = data[0] & 1;
    size_t   piece = data[1] ? data[1] : 1, banner = data[0] & 2 ? 80000 : 0;
    uint8_t *all = malloc(banner + len);
    data += 2;
    len -= 2;
    memset(all, 'b', banner);
    memcpy(all + banner, data, len);
    len += banner;
    piece += banner / 16;
    int whole = read_all(all, len, preamble, len ? len : 1, &frames[0], &hashes[0]);
    int parts = read_all(all, len, preamble, piece, &frames[1], &hashes[1]);
    int socket = through_socket(all, len, preamble, piece, &frames[2], &hashes[2]);
    assert(whole == parts && frames[0] == frames[1] && hashes[0] == hashes[1]);
    assert(whole == socket && frames[0] == frames[2] && hashes[0] == hashes[2]);
    free(all);
    return 0;
}
