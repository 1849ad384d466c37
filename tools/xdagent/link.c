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

static int watch(agent *a)
{
    agent_link *l = &a->link;
    bool        out = xd_stream_out_pending(&l->tx) > 0;
    if (l->lost || out == l->pollout)
        return 0;
    l->pollout = out;
    if (l->in == l->out)
        return xd_poller_set(a->poller, l->in, XD_POLL_IN | (out ? XD_POLL_OUT : 0), on_stream, a);
    return xd_poller_set(a->poller, l->out, out ? XD_POLL_OUT : 0, on_stream, a);
}

int agent_link_flush(agent *a)
{
    agent_link *l = &a->link;
    if (l->lost || xd_stream_out_pending(&l->tx) == 0)
        return watch(a);
    int r = xd_stream_write_fd(&l->tx, l->out);
    if (r == -EPIPE || r == -ECONNRESET) {
        l->lost = true;
        return 0;
    }
    XD_TRY(r);
    return watch(a);
}

/* A frame outside the sequence. */
static int send_plain(agent *a, uint16_t type, xd_bytes body)
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
    return xd_stream_out_add(&l->tx, framed.ptr, framed.len);
}

int agent_link_send_loose(agent *a, uint16_t type, xd_bytes body)
{
    if (a->link.lost || xd_stream_out_pending(&a->link.tx) > LOOSE_MAX)
        return 0; /* news of the moment: not worth a queue */
    return send_plain(a, type, body);
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
    return !a->link.lost && (!a->link.welcome || !xd_session_tx_credit(a->link.session, ROOM_BYTES));
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
        XD_TRY(send_plain(a, XD_MSG_REFUSE, xd_buf_view(&body)));
        int sent = xd_stream_write_fd(&a->link.tx, a->link.out);
        return sent < 0 ? sent : -EPROTONOSUPPORT;
    }
    a->link.welcome = true;
    xd_session_tx_window(a->link.session, m.window_frames, m.window_bytes);
    return 0;
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
    case XD_MSG_ACK:
        return on_ack(a, f);
    default:
        break;
    }
    if (!l->welcome)
        return -EPROTO;
    if (f->type == XD_MSG_PING)
        return send_plain(a, XD_MSG_PONG, (xd_bytes){ 0 });
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
    if (l->seen.acked == l->seen.last)
        return 0;
    xd_autobuf  body = XD_BUF_INIT;
    xd_wire_ACK m = { .acked = l->seen.last };
    XD_TRY(xd_wire_ACK_encode(&body, &m));
    l->seen.acked = l->seen.last;
    return send_plain(a, XD_MSG_ACK, xd_buf_view(&body));
}

static int read_stream(agent *a)
{
    agent_link *l = &a->link;
    xd_frame    f;
    int         n = xd_stream_read_fd(&l->rx, l->in, READ_BYTES), more = 0;
    if (n == -EAGAIN)
        return 0;
    if (n <= 0) {
        l->lost = true; /* the leash: without a controller nothing of ours may go on */
        return 0;
    }
    while (!l->lost && a->fault == 0 && (more = xd_stream_in_next(&l->rx, &f)) > 0)
        XD_TRY(on_frame(a, &f));
    XD_TRY(more);
    return acknowledge(a);
}

static void on_stream(void *arg, int fd, uint32_t events)
{
    agent *a = arg;
    if (events & XD_POLL_OUT)
        agent_fault(a, agent_link_flush(a));
    if (fd == a->link.in && (events & (XD_POLL_IN | XD_POLL_HUP)))
        agent_fault(a, read_stream(a));
    else if (fd == a->link.out && (events & XD_POLL_HUP))
        a->link.lost = true;
}

/* ---- open, close --------------------------------------------------------------------------------------- */

int agent_link_open(agent *a, int in, int out)
{
    agent_link *l = &a->link;
    char        host[256], system[512];
    xd_autobuf  body = XD_BUF_INIT;
    *l = (agent_link){ .in = in, .out = out, .flush_ns = UINT64_MAX, .seen = XD_SESSION_RX_INIT };
    xd_stream_in_init(&l->rx, true);
    XD_TRY(xd_session_tx_new(&l->session, 1, ROOM_BYTES)); /* WELCOME brings the real credit */
    XD_TRY(xd_os_nonblock(in, true));
    XD_TRY(xd_os_nonblock(out, true));
    XD_TRY(xd_poller_set(a->poller, in, XD_POLL_IN, on_stream, a));
    XD_TRY(xd_stream_out_add(&l->tx, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN));
    xd_os_names(host, sizeof(host), system, sizeof(system));
    xd_wire_HELLO m = { .version_min = XD_WIRE_VERSION_MIN,
                        .version_max = XD_WIRE_VERSION,
                        .capabilities = XD_CAP_ALL,
                        .build_id = xd_bytes_str(XD_BUILD_ID),
                        .host = xd_bytes_str(host),
                        .system = xd_bytes_str(system),
                        .pid = (uint32_t)getpid(),
                        .cpus = xd_os_cpus(),
                        .memory_bytes = xd_os_memory_bytes() };
    XD_TRY(xd_wire_HELLO_encode(&body, &m));
    XD_TRY(send_plain(a, XD_MSG_HELLO, xd_buf_view(&body)));
    return agent_link_flush(a);
}

void agent_link_close(agent *a)
{
    agent_link *l = &a->link;
    if (a->poller && l->session) {
        xd_poller_remove(a->poller, l->in);
        if (l->out != l->in)
            xd_poller_remove(a->poller, l->out);
        close(l->in);
        if (l->out != l->in)
            close(l->out);
    }
    l->session = xd_session_tx_free(l->session);
    xd_stream_in_release(&l->rx);
    xd_stream_out_release(&l->tx);
    xd_buf_release(&l->frame);
}
