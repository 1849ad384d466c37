/* needs: engine. Any frames to one end of a tunnel: refused with -EPROTO, or within the window, and all bytes of DATA come out of its descriptor in
 * order; what it sends meanwhile keeps the rules itself.
 * First byte of the input: bits of what it has (1 = a descriptor, 2 = one for text, 4 = its way out takes every other message only, 8 = nobody
 * reads the descriptor); then the frames. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/os_linux.h"
#include "engine/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct other {
    bool     busy, closed;
    uint64_t calls, sent, taken;
} other;

static int on_message(void *arg, xd_bytes message)
{
    other               *o = arg;
    xd_frame             f;
    xd_wire_TUNNEL_DATA  d;
    xd_wire_TUNNEL_TAKEN t;
    if (o->busy && ++o->calls % 2)
        return -EAGAIN;
    int r = xd_wire_header(message.ptr, &f);
    assert(r == 0 && f.len == message.len - XD_FRAME_HEADER);
    f.body = message.ptr + XD_FRAME_HEADER;
    switch (f.type) {
    case XD_MSG_TUNNEL_DATA:
        r = xd_wire_TUNNEL_DATA_decode(f.body, f.len, &d);
        assert(r == 0 && !o->closed && d.at == o->sent && d.bytes.len <= XD_TUNNEL_DATA_MAX);
        o->sent += d.bytes.len;
        break;
    case XD_MSG_TUNNEL_TAKEN:
        r = xd_wire_TUNNEL_TAKEN_decode(f.body, f.len, &t);
        assert(r == 0 && t.at >= o->taken);
        o->taken = t.at;
        break;
    default:
        assert(f.type == XD_MSG_TUNNEL_CLOSE && !o->closed);
        o->closed = true;
    }
    return 0;
}

/* What has come out goes into the hash (NULL = none). */
static void drain(int fd, XXH3_state_t *hash, uint64_t *count)
{
    uint8_t room[4096];
    ssize_t n;
    while (fd >= 0 && (n = xd_os_read_some(fd, room, sizeof(room))) > 0) {
        if (hash)
            (void)XXH3_64bits_update(hash, room, (size_t)n);
        *count += (uint64_t)n;
    }
}

static void check(const xd_tunnel *t)
{
    assert(t->sent - t->sent_taken <= XD_TUNNEL_WINDOW && t->got - t->told <= XD_TUNNEL_WINDOW);
    assert(xd_stream_out_pending(&t->out) <= XD_TUNNEL_WINDOW);
    assert(xd_stream_out_pending(&t->text) <= XD_TUNNEL_TEXT_WINDOW);
    assert(t->fd >= 0 || xd_stream_out_pending(&t->out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    int           pair[2] = { -1, -1 }, text[2] = { -1, -1 }, r = 0;
    xd_tunnel     t;
    xd_stream_in  in;
    xd_frame      f;
    XXH3_state_t *in_hash = XXH3_createState(), *out_hash = XXH3_createState();
    uint64_t      count = 0, ignored = 0;
    if (len < 1 || !in_hash || !out_hash)
        goto out;
    other o = { .busy = data[0] & 4 };
    if ((data[0] & 1 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0) ||
        (data[0] & 2 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, text) < 0))
        abort();
    r = xd_tunnel_init(&t, pair[0], -1, text[0], on_message, &o);
    assert(r == 0);
    if (pair[1] >= 0)
        (void)!write(pair[1], "0123456789", 10); /* so that something can be taken */
    (void)XXH3_64bits_reset(in_hash);
    (void)XXH3_64bits_reset(out_hash);
    xd_stream_in_init(&in, false);
    uint8_t *room;
    size_t   size;
    r = xd_stream_in_space(&in, len, &room, &size);
    assert(r == 0);
    memcpy(room, data + 1, len - 1);
    xd_stream_in_filled(&in, len - 1);
    r = xd_tunnel_pump(&t);
    while (r >= 0 && xd_stream_in_next(&in, &f) == 1) {
        const uint64_t before = t.got;
        r = xd_tunnel_frame(&t, &f);
        assert(r == 0 || r == -EPROTO);
        check(&t);
        if (r < 0) {
            assert(t.got == before);
            break;
        }
        if (t.got > before) {
            xd_wire_TUNNEL_DATA d;
            r = xd_wire_TUNNEL_DATA_decode(f.body, f.len, &d);
            assert(r == 0 && d.at == before && t.got == before + d.bytes.len);
            (void)XXH3_64bits_update(in_hash, d.bytes.ptr, d.bytes.len);
        }
        r = xd_tunnel_pump(&t);
        assert(r == 0 || r == 1);
        check(&t);
        if (!(data[0] & 8))
            drain(pair[1], out_hash, &count);
        drain(text[1], NULL, &ignored);
    }
    /* Whatever was refused: what was taken before is written. */
    for (int i = 0; i < 10000 && !xd_tunnel_written(&t); i++) {
        (void)!xd_tunnel_pump(&t);
        drain(pair[1], out_hash, &count);
        drain(text[1], NULL, &ignored);
    }
    drain(pair[1], out_hash, &count);
    if (pair[1] >= 0)
        assert(count == t.got && XXH3_64bits_digest(in_hash) == XXH3_64bits_digest(out_hash));
    assert(o.sent <= t.sent && o.taken <= t.got);
    xd_tunnel_release(&t);
    xd_stream_in_release(&in);
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        if (text[i] >= 0)
            close(text[i]);
    }
out:
    (void)XXH3_freeState(in_hash);
    (void)XXH3_freeState(out_hash);
    return 0;
}
