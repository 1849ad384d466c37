/* The stream to the controller. Records are numbered and kept until they are acknowledged (engine/session.h);
 * what the descriptor does not take now waits in memory, bounded by the credit of the session. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define READ_BYTES (256u * 1024u)
#define ROOM_BYTES (64u * 1024u) /* credit that must be left before more is read from workers */
#define LOOSE_MAX (256u * 1024u)

static void on_stream(void *arg, int fd, uint32_t events);

int agent_link_watch(agent *a)
{
    agent_link *l = &a->link;
    bool        out = xd_stream_out_pending(&l->tx) > 0;
    if (l->lost || l->in < 0 || out == l->pollout)
        return 0;
    l->pollout = out;
    if (l->in == l->out)
        return xd_poller_set(a->poller, l->in, XD_POLL_IN | (out ? XD_POLL_OUT : 0), on_stream, a);
    return xd_poller_set(a->poller, l->out, out ? XD_POLL_OUT : 0, on_stream, a);
}

int agent_link_flush(agent *a)
{
    agent_link *l = &a->link;
    if (l->lost || l->broken || l->in < 0 || xd_stream_out_pending(&l->tx) == 0)
        return agent_link_watch(a);
    int r = xd_stream_write_fd(&l->tx, l->out);
    if (r == -EPIPE || r == -ECONNRESET) {
        l->broken = true;
        return 0;
    }
    XD_TRY(r);
    return agent_link_watch(a);
}

int agent_link_plain(agent *a, uint16_t type, xd_bytes body)
{
    uint8_t  head[XD_FRAME_HEADER];
    xd_frame f = { .len = (uint32_t)body.len, .type = type };
    xd_wire_put_header(head, &f);
    XD_TRY(xd_stream_out_add(&a->link.tx, head, sizeof(head)));
    return body.len ? xd_stream_out_add(&a->link.tx, body.ptr, body.len) : 0;
}

int agent_link_send(agent *a, uint16_t type, xd_bytes body)
{
    agent_link *l = &a->link;
    size_t      mark;
    xd_bytes    framed;
    if (l->lost)
        return 0;
    xd_buf_clear(&l->frame);
    XD_TRY(xd_wire_frame_begin(&l->frame, type, 0, 0, &mark));
    XD_TRY(xd_buf_add_bytes(&l->frame, body));
    XD_TRY(xd_wire_frame_end(&l->frame, mark));
    XD_TRY(xd_session_tx_push(l->session, l->frame.data, l->frame.len, &framed));
    if (l->frame.cap > 4 * ROOM_BYTES)
        xd_buf_release(&l->frame);
    return l->open ? xd_stream_out_add(&l->tx, framed.ptr, framed.len) : 0; /* else it is kept */
}

int agent_link_send_loose(agent *a, uint16_t type, xd_bytes body)
{
    if (a->link.lost || !a->link.open || xd_stream_out_pending(&a->link.tx) > LOOSE_MAX)
        return 0; /* news of the moment: not worth a queue */
    return agent_link_plain(a, type, body);
}

int agent_note(agent *a, uint8_t level, bool failed, const char *fmt, ...)
{
    xd_autobuf text = XD_BUF_INIT, body = XD_BUF_INIT;
    va_list    ap;
    va_start(ap, fmt);
    int r = xd_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    XD_TRY(r);
    xd_wire_AGENT_NOTE m = { .level = level, .failed = failed, .text = xd_buf_view(&text) };
    XD_TRY(xd_wire_AGENT_NOTE_encode(&body, &m));
    return agent_link_send(a, XD_MSG_AGENT_NOTE, xd_buf_view(&body));
}

bool agent_link_full(const agent *a)
{
    return !a->link.lost && (!a->link.known || !xd_session_tx_credit(a->link.session, ROOM_BYTES));
}

bool agent_link_idle(const agent *a)
{
    return a->link.lost ||
           (xd_stream_out_pending(&a->link.tx) == 0 && xd_session_tx_outstanding(a->link.session) == 0);
}

uint64_t agent_link_bytes(const agent *a)
{
    return a->link.tx.bytes + xd_stream_out_pending(&a->link.tx);
}

/* ---- in ------------------------------------------------------------------------------------------------ */

static int on_welcome(agent *a, const xd_frame *f)
{
    xd_wire_WELCOME m;
    XD_TRY(xd_wire_WELCOME_decode(f->body, f->len, &m));
    if (a->link.welcome)
        return -EPROTO;
    if (m.version < XD_WIRE_VERSION_MIN || m.version > XD_WIRE_VERSION) {
        xd_autobuf     body = XD_BUF_INIT;
        xd_wire_REFUSE no = { .version_min = XD_WIRE_VERSION_MIN,
                              .version_max = XD_WIRE_VERSION,
                              .reason =
                                  XD_BYTES_LIT("this agent does not speak that version of the protocol") };
        XD_TRY(xd_wire_REFUSE_encode(&body, &no));
        XD_TRY(agent_link_plain(a, XD_MSG_REFUSE, xd_buf_view(&body)));
        int sent = xd_stream_write_fd(&a->link.tx, a->link.out);
        return sent < 0 ? sent : -EPROTONOSUPPORT;
    }
    return agent_link_welcome(a, &m);
}

static int on_refuse(agent *a, const xd_frame *f)
{
    xd_wire_REFUSE m;
    XD_TRY(xd_wire_REFUSE_decode(f->body, f->len, &m));
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(xd_text_harmless(&text, m.reason, false));
    fprintf(stderr, "xdagent: refused: %s (controller speaks versions %u to %u, this agent %u to %u)\n",
            xd_buf_cstr(&text), (unsigned)m.version_min, (unsigned)m.version_max, XD_WIRE_VERSION_MIN,
            XD_WIRE_VERSION);
    a->link.lost = true;
    return 0;
}

static int on_ack(agent *a, const xd_frame *f)
{
    xd_wire_ACK m;
    XD_TRY(xd_wire_ACK_decode(f->body, f->len, &m));
    int r = xd_session_tx_acked(a->link.session, m.acked);
    return r < 0 ? r : 0;
}

static int on_frame(agent *a, const xd_frame *f)
{
    agent_link *l = &a->link;
    switch (f->type) {
    case XD_MSG_WELCOME:
        return on_welcome(a, f);
    case XD_MSG_REFUSE:
        return on_refuse(a, f);
    default:
        break;
    }
    if (!l->welcome)
        return -EPROTO;
    if (f->type == XD_MSG_ACK)
        return on_ack(a, f);
    if (f->type == XD_MSG_BYE) { /* it hangs up: nobody will take this up again */
        l->lost = true;
        return 0;
    }
    if (f->type == XD_MSG_PING)
        return agent_link_plain(a, XD_MSG_PONG, (xd_bytes){ 0 });
    if (f->seq) {
        int seen = xd_session_rx_seen(&l->seen, f->seq);
        if (seen == XD_SESSION_DUPLICATE)
            return 0;
        if (seen != XD_SESSION_TAKE)
            return -EPROTO;
    }
    agent_frame(a, f);
    return 0;
}

/* What came in order is acknowledged once per turn of the loop. */
static int acknowledge(agent *a)
{
    agent_link *l = &a->link;
    if (l->seen.acked == l->seen.last || !l->open)
        return 0;
    xd_autobuf  body = XD_BUF_INIT;
    xd_wire_ACK m = { .acked = l->seen.last };
    XD_TRY(xd_wire_ACK_encode(&body, &m));
    l->seen.acked = l->seen.last;
    return agent_link_plain(a, XD_MSG_ACK, xd_buf_view(&body));
}

/* Frames that have been read. A pipe on which a known session has not been greeted yet may be anybody's: what is wrong
 * there ends the pipe, not the agent. */
static int take_frames(agent *a)
{
    agent_link *l = &a->link;
    xd_frame    f;
    int         r = 0;
    while (r == 0 && !l->lost && !l->broken && a->fault == 0) {
        r = xd_stream_in_next(&l->rx, &f);
        if (r == 0)
            return acknowledge(a);
        if (r > 0)
            r = on_frame(a, &f);
    }
    if (r != -EPROTO || !l->known || l->welcome)
        return r;
    l->broken = true;
    return 0;
}

static int read_stream(agent *a)
{
    agent_link *l = &a->link;
    int         n = xd_stream_read_fd(&l->rx, l->in, READ_BYTES);
    if (n == -EAGAIN)
        return 0;
    if (n > 0) {
        agent_link_heard(a);
        return take_frames(a);
    }
    l->broken = true;
    return 0;
}

static void on_stream(void *arg, int fd, uint32_t events)
{
    agent      *a = arg;
    agent_link *l = &a->link;
    if (events & XD_POLL_OUT)
        agent_fault(a, agent_link_flush(a));
    if (fd == l->in && !l->broken && (events & (XD_POLL_IN | XD_POLL_HUP)))
        agent_fault(a, read_stream(a));
    else if (fd == l->out && (events & XD_POLL_HUP))
        l->broken = true;
}

/* ---- open, close --------------------------------------------------------------------------------------- */

int agent_link_attach(agent *a, int in, int out)
{
    agent_link *l = &a->link;
    l->in = in;
    l->out = out;
    l->welcome = l->open = l->broken = l->pollout = false;
    l->heard_ns = l->turn_ns = xd_clock_ns();
    xd_stream_in_release(&l->rx);
    xd_stream_in_init(&l->rx, true);
    XD_TRY(xd_os_nonblock(in, true));
    XD_TRY(xd_os_nonblock(out, true));
    return xd_poller_set(a->poller, in, XD_POLL_IN, on_stream, a);
}

void agent_link_detach(agent *a)
{
    agent_link *l = &a->link;
    if (l->in < 0)
        return;
    agent_sync_cut(a);
    xd_poller_remove(a->poller, l->in);
    if (l->out != l->in)
        xd_poller_remove(a->poller, l->out);
    close(l->in);
    if (l->out != l->in)
        close(l->out);
    if (l->by >= 0)
        close(l->by);
    l->in = l->out = l->by = -1;
    l->welcome = l->open = l->broken = false;
    xd_stream_out_written(&l->tx, xd_stream_out_pending(&l->tx)); /* the session has what counts of it */
}

int agent_link_open(agent *a, int in, int out, int redial, int hand, const char *reconnect)
{
    agent_link *l = &a->link;
    *l = (agent_link){ .in = in,
                       .out = out,
                       .redial = redial,
                       .hand = hand,
                       .knock = -1,
                       .knocked = -1,
                       .next = -1,
                       .next_out = -1,
                       .next_by = -1,
                       .by = -1,
                       .give_up_ns = UINT64_MAX,
                       .flush_ns = UINT64_MAX,
                       .seen = XD_SESSION_RX_INIT };
    XD_TRY(xd_session_tx_new(&l->session, 1, ROOM_BYTES)); /* WELCOME brings the real credit */
    XD_TRY(agent_link_attach(a, in, out));
    XD_TRY(agent_link_redial(a));
    XD_TRY(reconnect ? agent_link_knock(a, reconnect) : 0);
    XD_TRY(agent_link_hello(a));
    return agent_link_flush(a);
}

void agent_link_close(agent *a)
{
    agent_link *l = &a->link;
    if (a->poller && l->session) {
        agent_link_detach(a);
        const int others[] = { l->redial,  l->hand,  l->next,   l->next_out == l->next ? -1 : l->next_out,
                               l->next_by, l->knock, l->knocked };
        const int watched[] = { l->redial, l->knock, l->knocked };
        for (size_t i = 0; i < XD_ARRAY_LEN(watched); i++)
            if (watched[i] >= 0)
                xd_poller_remove(a->poller, watched[i]);
        for (size_t i = 0; i < XD_ARRAY_LEN(others); i++)
            if (others[i] >= 0)
                close(others[i]);
    }
    l->session = xd_session_tx_free(l->session);
    xd_stream_in_release(&l->rx);
    xd_stream_out_release(&l->tx);
    xd_buf_release(&l->frame);
}
