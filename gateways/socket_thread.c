/* gateways/socket_thread.c - see socket_state.h: the connection. It is dialled (dial.h), asks for an agent, and then moves bytes. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/poller.h"
#include "engine/base/text.h"
#include "gateways/socket_state.h"

#define SOON_MS 5u                  /* before a message is tried again */
#define PARTING_NS (500 * XD_MS_NS) /* that the end of an agent may come later than that of its pipe */

static bool is_cut(void *arg)
{
    socket_pipe *s = arg;
    xd_os_hush(s->to_thread);
    pthread_mutex_lock(&s->lock);
    const bool yes = s->cut;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* ---- what is said ------------------------------------------------------------------------------------------------- */

static int send_message(void *arg, xd_bytes message)
{
    socket_pipe *s = arg;
    int          r = xd_curve_send(s->dial.curve, message);
    if (r == 0)
        s->said_ns = xd_clock_ns();
    return r;
}

static int request(socket_pipe *s)
{
    xd_autobuf message = XD_BUF_INIT, who = XD_BUF_INIT;
    int        r;
    if (s->known) {
        xd_wire_TUNNEL_RESUME m = { .token = { s->token, sizeof(s->token) } };
        XD_TRY(xd_wire_TUNNEL_RESUME_frame(&message, 0, 0, &m));
    } else {
        XD_TRY(xd_keys_owner(&who));
        xd_wire_TUNNEL_OPEN m = { .version_min = XD_TUNNEL_SPOKEN,
                                  .version_max = XD_TUNNEL_SPOKEN,
                                  .build_id = xd_bytes_str(XD_BUILD_ID),
                                  .who = xd_buf_view(&who),
                                  .output_limit = s->output_limit,
                                  .agent = xd_bytes_str(s->agent) };
        XD_TRY(xd_wire_TUNNEL_OPEN_frame(&message, 0, 0, &m));
    }
    while ((r = send_message(s, xd_buf_view(&message))) == -EAGAIN)
        XD_TRY(xd_dial_await_curve(&s->dial, s->dial.deadline_ns));
    return r;
}

static int opened(socket_pipe *s, const xd_frame *f)
{
    xd_wire_TUNNEL_OPENED m;
    if (xd_wire_TUNNEL_OPENED_decode(f->body, f->len, &m) < 0 || m.version != XD_TUNNEL_SPOKEN ||
        m.token.len != sizeof(s->token))
        return -EPROTO;
    pthread_mutex_lock(&s->lock);
    memcpy(s->token, m.token.ptr, sizeof(s->token));
    s->known = true;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int answered(socket_pipe *s, const xd_frame *f)
{
    switch (f->type) {
    case XD_MSG_TUNNEL_OPENED:
        return opened(s, f) < 0 ? -EPROTO : 1;
    case XD_MSG_TUNNEL_REFUSED:
        return xd_dial_refused(&s->dial, f, s->known);
    case XD_MSG_TUNNEL_BEAT:
        return 0;
    default:
        return -EPROTO;
    }
}

/* Asks for the agent, and waits for the answer. */
static int negotiate(socket_pipe *s)
{
    xd_frame f;
    int      r = request(s);
    while (r == 0) {
        const bool up = xd_curve_look(s->dial.curve) == XD_CURVE_UP;
        r = xd_curve_receive(s->dial.curve, &f);
        if (r == 1) {
            if ((r = answered(s, &f)) == 1)
                return 0;
        } else if (r == 0) {
            r = up ? xd_dial_await_curve(&s->dial, s->dial.deadline_ns) : -ECONNRESET;
            r = XD_MIN(r, 0);
        }
    }
    if (r == -ECANCELED || s->dial.err.code)
        return r;
    return xd_dial_fail(&s->dial, r, "%s %s", s->dial.at.text,
                        r == -ETIMEDOUT ? "has not answered in time"
                        : r == -EPROTO  ? "does not keep to the protocol"
                                        : "closed the connection");
}

/* ---- the pipe --------------------------------------------------------------------------------------------------------- */

static int on_ended(socket_pipe *s, const xd_frame *f)
{
    xd_wire_TUNNEL_ENDED m;
    xd_autobuf           how = XD_BUF_INIT;
    XD_TRY(xd_wire_TUNNEL_ENDED_decode(f->body, f->len, &m));
    XD_TRY(xd_text_harmless(&how, m.how, false));
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    snprintf(s->how, sizeof(s->how), "%s", xd_buf_cstr(&how));
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* What came; 1 = something did. */
static int take(socket_pipe *s)
{
    xd_frame f;
    int      r, any = 0;
    while ((r = xd_curve_receive(s->dial.curve, &f)) == 1) {
        s->heard_ns = xd_clock_ns();
        any = 1;
        if (f.type == XD_MSG_TUNNEL_ENDED)
            XD_TRY(on_ended(s, &f));
        else if (f.type != XD_MSG_TUNNEL_BEAT)
            XD_TRY(xd_tunnel_frame(&s->tunnel, &f));
    }
    return r < 0 ? r : any;
}

static int beat(socket_pipe *s, uint64_t now)
{
    xd_autobuf          message = XD_BUF_INIT;
    xd_wire_TUNNEL_BEAT m = { 0 };
    if (now - s->heard_ns > XD_TUNNEL_SILENT_NS)
        return -ETIMEDOUT;
    if (now - s->said_ns < XD_TUNNEL_BEAT_NS || s->tunnel.held.len)
        return 0;
    XD_TRY(xd_wire_TUNNEL_BEAT_frame(&message, 0, 0, &m));
    int r = send_message(s, xd_buf_view(&message));
    return r == -EAGAIN ? 0 : r;
}

/* Is there nothing left to do? The last words of the agent, and how it ended, come before. */
static bool is_over(socket_pipe *s)
{
    pthread_mutex_lock(&s->lock);
    const bool parts = s->parting && s->tunnel.over && s->tunnel.held.len == 0;
    const bool ended = s->ended && xd_tunnel_written(&s->tunnel);
    pthread_mutex_unlock(&s->lock);
    return parts || ended;
}

static int wait_for_more(socket_pipe *s, bool soon)
{
    int      fds[2];
    uint32_t fd, in, text;
    xd_curve_fds(s->dial.curve, fds);
    xd_tunnel_wants(&s->tunnel, &fd, &in, &text);
    struct pollfd p[4] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
    p[2].fd = fd ? s->far_fd : -1;
    p[2].events = (short)((fd & XD_POLL_IN ? POLLIN : 0) | (fd & XD_POLL_OUT ? POLLOUT : 0));
    p[3].fd = text ? s->far_text : -1;
    p[3].events = POLLOUT;
    int r = xd_dial_await(&s->dial, p, 4, xd_clock_ns() + (soon ? SOON_MS * XD_MS_NS : XD_S_NS));
    return r == -ETIMEDOUT ? 0 : r;
}

/* The agent's end of the pipe is closed: so is ours, but not before it is told how the agent has ended, if it has. */
static void follow_close(socket_pipe *s, uint64_t now)
{
    if (!s->tunnel.closed || s->shut || !xd_tunnel_written(&s->tunnel))
        return;
    if (s->closed_ns == 0)
        s->closed_ns = now;
    if (now - s->closed_ns < PARTING_NS)
        return;
    s->shut = true;
    (void)shutdown(s->far_fd, SHUT_WR);
}

static int carry(socket_pipe *s)
{
    s->heard_ns = s->said_ns = xd_clock_ns();
    s->closed_ns = 0;
    s->shut = false;
    while (!is_over(s)) {
        int r = xd_tunnel_pump(&s->tunnel);
        XD_TRY(r);
        const bool soon = r == 1 || (s->tunnel.closed && !s->shut);
        follow_close(s, xd_clock_ns());
        XD_TRY(beat(s, xd_clock_ns()));
        const bool up = xd_curve_look(s->dial.curve) == XD_CURVE_UP;
        r = take(s); /* behind all else (curve.h) */
        XD_TRY(r);
        if (r == 1)
            continue;
        if (!up)
            return -ECONNRESET;
        XD_TRY(wait_for_more(s, soon));
    }
    return 0;
}

static void set_phase(socket_pipe *s, socket_phase phase)
{
    pthread_mutex_lock(&s->lock);
    s->phase = phase;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_gateway);
}

void *xd_socket_main(void *arg)
{
    socket_pipe *s = arg;
    (void)pthread_setname_np(pthread_self(), "xd-socket");
    s->dial.deadline_ns = xd_clock_ns() + XD_MAX(s->timeout_ms, 1000u) * XD_MS_NS - 500 * XD_MS_NS;
    s->dial.program = "xdctl serve";
    s->dial.refuser = "the server";
    s->dial.wake_fd = s->to_thread;
    s->dial.cancelled = is_cut;
    s->dial.arg = s;
    int r = xd_dial_connect(&s->dial);
    if (r == 0)
        r = negotiate(s);
    if (r == 0)
        r = xd_tunnel_init(&s->tunnel, s->far_fd, -1, s->far_text, send_message, s);
    if (r == 0) {
        set_phase(s, SOCKET_OPEN);
        r = carry(s);
        (void)!xd_tunnel_pump(&s->tunnel); /* what it still holds */
        set_phase(s, SOCKET_OVER);
        xd_tunnel_release(&s->tunnel);
    } else {
        if (s->dial.err.code == 0)
            (void)xd_dial_fail(&s->dial, r, "%s", xd_error_name(r));
        set_phase(s, SOCKET_FAILED);
    }
    s->dial.curve = xd_curve_free(s->dial.curve);
    close(s->far_fd); /* the gateway sees the end of the pipe */
    s->far_fd = -1;
    pthread_mutex_lock(&s->lock);
    if (s->ended && s->far_text >= 0) {
        close(s->far_text);
        s->far_text = -1;
    }
    s->finished = true;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
