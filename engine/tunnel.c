/* engine/tunnel.c - see tunnel.h. */
#include "engine/tunnel.h"

#include <stdlib.h>

#include "engine/base/os_linux.h"
#include "engine/base/poller.h"

#define CHUNK (128u << 10)                 /* bytes of one message */
#define TELL_AFTER (XD_TUNNEL_WINDOW / 8u) /* taken bytes that are worth a message */
#define TELL_TEXT_AFTER (XD_TUNNEL_TEXT_WINDOW / 4u)

int xd_tunnel_init(xd_tunnel *t, int fd, int text_in, int text_out, xd_tunnel_send_fn send, void *arg)
{
    *t = (xd_tunnel){ .fd = fd,
                      .text_in = text_in,
                      .text_out = text_out,
                      .send = send,
                      .arg = arg,
                      .over = fd < 0,
                      .text_over = text_in < 0,
                      .room = malloc(CHUNK) };
    return t->room ? 0 : -ENOMEM;
}

void xd_tunnel_release(xd_tunnel *t)
{
    xd_stream_out_release(&t->out);
    xd_stream_out_release(&t->text);
    xd_buf_release(&t->held);
    free(t->room);
    t->room = NULL;
}

/* ---- what comes ---------------------------------------------------------------------------------------------- */

/* What nobody here reads counts as taken. */
static int keep(xd_stream_out *to, int fd, xd_bytes bytes)
{
    return fd < 0 ? 0 : xd_stream_out_add(to, bytes.ptr, bytes.len);
}

static int on_data(xd_tunnel *t, const xd_frame *f)
{
    xd_wire_TUNNEL_DATA m;
    XD_TRY(xd_wire_TUNNEL_DATA_decode(f->body, f->len, &m));
    if (t->closed || m.at != t->got || m.bytes.len > XD_TUNNEL_DATA_MAX ||
        m.bytes.len > XD_TUNNEL_WINDOW - (t->got - t->told))
        return -EPROTO;
    t->got += m.bytes.len;
    return keep(&t->out, t->fd, m.bytes);
}

static int on_text(xd_tunnel *t, const xd_frame *f)
{
    xd_wire_TUNNEL_TEXT m;
    XD_TRY(xd_wire_TUNNEL_TEXT_decode(f->body, f->len, &m));
    if (m.at != t->text_got || m.bytes.len > XD_TUNNEL_TEXT_WINDOW - (t->text_got - t->text_told))
        return -EPROTO;
    t->text_got += m.bytes.len;
    return keep(&t->text, t->text_out, m.bytes);
}

static int on_taken(xd_tunnel *t, const xd_frame *f)
{
    xd_wire_TUNNEL_TAKEN m;
    XD_TRY(xd_wire_TUNNEL_TAKEN_decode(f->body, f->len, &m));
    if (m.at < t->sent_taken || m.at > t->sent || m.text_at < t->text_taken || m.text_at > t->text_sent)
        return -EPROTO;
    t->sent_taken = m.at;
    t->text_taken = m.text_at;
    return 0;
}

int xd_tunnel_frame(xd_tunnel *t, const xd_frame *f)
{
    switch (f->type) {
    case XD_MSG_TUNNEL_DATA:
        return on_data(t, f);
    case XD_MSG_TUNNEL_TEXT:
        return on_text(t, f);
    case XD_MSG_TUNNEL_TAKEN:
        return on_taken(t, f);
    case XD_MSG_TUNNEL_CLOSE:
        t->closed = true;
        return 0;
    default:
        return -EPROTO;
    }
}

/* ---- what goes ----------------------------------------------------------------------------------------------- */

/* 0; 1 = it is held, and nothing else can be sent before it. */
static int say(xd_tunnel *t)
{
    int r = t->send(t->arg, xd_buf_view(&t->held));
    if (r == -EAGAIN)
        return 1;
    xd_buf_clear(&t->held);
    return r;
}

/* A descriptor that takes no more: its reader is gone, and what comes for it is dropped. */
static int drain(xd_stream_out *out, int *fd)
{
    if (*fd < 0)
        return 0;
    int r = xd_stream_write_fd(out, *fd);
    if (r == -EPIPE || r == -ECONNRESET) {
        xd_stream_out_written(out, xd_stream_out_pending(out));
        return 0;
    }
    return r < 0 && r != -EAGAIN ? r : 0;
}

static int tell_taken(xd_tunnel *t)
{
    const uint64_t at = t->got - xd_stream_out_pending(&t->out);
    const uint64_t text_at = t->text_got - xd_stream_out_pending(&t->text);
    if (at - t->told < TELL_AFTER && text_at - t->text_told < TELL_TEXT_AFTER)
        return 0;
    xd_wire_TUNNEL_TAKEN m = { .at = at, .text_at = text_at };
    XD_TRY(xd_wire_TUNNEL_TAKEN_frame(&t->held, 0, 0, &m));
    t->told = at;
    t->text_told = text_at;
    return say(t);
}

/* One message of what the descriptor has. 0 = it has nothing now, or there is no room; 1 = held; 2 = there may be more. */
static int send_data(xd_tunnel *t)
{
    const uint64_t left = XD_TUNNEL_WINDOW - (t->sent - t->sent_taken);
    if (t->over || left == 0)
        return 0;
    ssize_t n = xd_os_read_some(t->fd, t->room, (size_t)XD_MIN(left, (uint64_t)CHUNK));
    if (n == -EAGAIN)
        return 0;
    if (n <= 0) {
        t->over = true;
        xd_wire_TUNNEL_CLOSE m = { 0 };
        XD_TRY(xd_wire_TUNNEL_CLOSE_frame(&t->held, 0, 0, &m));
        return say(t);
    }
    xd_wire_TUNNEL_DATA m = { .at = t->sent, .bytes = { t->room, (size_t)n } };
    XD_TRY(xd_wire_TUNNEL_DATA_frame(&t->held, 0, 0, &m));
    t->sent += (uint64_t)n;
    int r = say(t);
    return r == 0 ? 2 : r;
}

static int send_text(xd_tunnel *t)
{
    const uint64_t left = XD_TUNNEL_TEXT_WINDOW - (t->text_sent - t->text_taken);
    if (t->text_over || left == 0)
        return 0;
    ssize_t n = xd_os_read_some(t->text_in, t->room, (size_t)XD_MIN(left, (uint64_t)16384));
    if (n == -EAGAIN)
        return 0;
    if (n <= 0) {
        t->text_over = true;
        return 0;
    }
    xd_wire_TUNNEL_TEXT m = { .at = t->text_sent, .bytes = { t->room, (size_t)n } };
    XD_TRY(xd_wire_TUNNEL_TEXT_frame(&t->held, 0, 0, &m));
    t->text_sent += (uint64_t)n;
    return say(t);
}

int xd_tunnel_pump(xd_tunnel *t)
{
    int r;
    XD_TRY(drain(&t->out, &t->fd));
    XD_TRY(drain(&t->text, &t->text_out));
    if (t->held.len && (r = say(t)) != 0)
        return r;
    if ((r = tell_taken(t)) != 0)
        return r;
    if ((r = send_text(t)) != 0)
        return r;
    for (int turns = 0; turns < 16; turns++) /* others have their turn, too */
        if ((r = send_data(t)) != 2)
            return r;
    return 0;
}

void xd_tunnel_wants(const xd_tunnel *t, uint32_t *ret_fd, uint32_t *ret_text_in, uint32_t *ret_text_out)
{
    const bool free = t->held.len == 0;
    *ret_fd = *ret_text_in = *ret_text_out = 0;
    if (free && !t->over && t->sent - t->sent_taken < XD_TUNNEL_WINDOW)
        *ret_fd |= XD_POLL_IN;
    if (t->fd >= 0 && xd_stream_out_pending(&t->out))
        *ret_fd |= XD_POLL_OUT;
    if (free && !t->text_over && t->text_sent - t->text_taken < XD_TUNNEL_TEXT_WINDOW)
        *ret_text_in = XD_POLL_IN;
    if (t->text_out >= 0 && xd_stream_out_pending(&t->text))
        *ret_text_out = XD_POLL_OUT;
}
