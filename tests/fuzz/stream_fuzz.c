/* Any bytes on a stream: the frames that come out do not depend on the pieces the bytes come in. First byte:
 * 1 = a preamble is wanted; second: size of the pieces. */
#include <assert.h>
#include <string.h>
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint64_t frames[2], hashes[2];
    if (len < 2)
        return 0;
    bool   preamble = data[0] & 1;
    size_t piece = data[1] ? data[1] : 1;
    data += 2;
    len -= 2;
    int whole = read_all(data, len, preamble, len ? len : 1, &frames[0], &hashes[0]);
    int parts = read_all(data, len, preamble, piece, &frames[1], &hashes[1]);
    assert(whole == parts && frames[0] == frames[1] && hashes[0] == hashes[1]);
    return 0;
}
