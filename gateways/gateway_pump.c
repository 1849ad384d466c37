/* gateways/gateway_pump.c - see gateway_state.h: bytes and frames both ways, and the text beside the pipe. */
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/text.h"
#include "gateways/gateway_state.h"

#define READ_BYTES (256u * 1024u)
#define TURN_BYTES (1u << 20) /* read in one turn, so that the inbox is looked at too */
#define LINES_MAX 200u        /* of the agent's stderr that are shown */
#define LINE_BYTES 2000u

/* ---- to the broker ------------------------------------------------------------------------------------- */

/* Who reads it. */
static const char *reader(const gateway *g, uint16_t type)
{
    return type == XD_MSG_COLLECTED || type == XD_MSG_COLLECT_IDS ? g->collector : g->sched;
}

int xd_gateway_pass_up(gateway *g, uint16_t type, uint16_t flags, const void *frame, size_t len)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, type, frame, len));
    m->flags = flags;
    m->gateway = g->number;
    int r = xd_actor_try_send(g->actor, reader(g, type), &m);
    if (r != -EAGAIN)
        return r;
    if (!(flags & XD_FLAG_JOURNAL))
        return 0; /* news of the moment */
    g->stuck = xd_take(&m);
    return xd_actor_set_tick(g->actor, RETRY_MS);
}

int xd_gateway_unstick(gateway *g)
{
    if (!g->stuck)
        return 0;
    int r = xd_actor_try_send(g->actor, reader(g, g->stuck->type), &g->stuck);
    return r == -EAGAIN ? 1 : r;
}

int xd_gateway_note(gateway *g, uint8_t level, xd_bytes text)
{
    xd_autobuf   frame = XD_BUF_INIT;
    xd_wire_NOTE m = { .level = level, .text = text };
    if (g->stuck)
        return 0; /* no room: a note is not worth the wait */
    XD_TRY(xd_wire_NOTE_frame(&frame, 0, 0, &m));
    return xd_gateway_pass_up(g, XD_MSG_NOTE, XD_FLAG_JOURNAL, frame.data, frame.len);
}

/* ---- what the pipe waits for --------------------------------------------------------------------------- */

static int on_wake(void *state, int fd, uint32_t events);

static int watch_turn(gateway *g, bool on)
{
    if (on && g->turn_fd < 0 && (g->turn_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return -errno;
    return g->turn_fd >= 0 ? xd_actor_watch(g->actor, g->turn_fd, on ? XD_POLL_IN : 0, on_wake) : 0;
}

void xd_gateway_unwatch(gateway *g)
{
    for (uint32_t i = 0; i < g->waits.n; i++)
        (void)!xd_actor_watch(g->actor, g->waits.on[i].fd, 0, on_wake);
    g->waits = (xd_pipe_wait){ 0 };
    g->ready = 0;
    (void)!watch_turn(g, false);
}

static bool among(const xd_pipe_wait *w, int fd)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (w->on[i].fd == fd)
            return true;
    return false;
}

int xd_gateway_watch(gateway *g)
{
    xd_pipe_wait w = { 0 };
    uint32_t     want = xd_gateway_holds(g) || g->state == AWAY ? 0 : XD_PIPE_READ;
    if (!g->pipe || g->state == DOWN)
        return 0;
    XD_TRY(xd_gateway_sync_watch(g));
    if (xd_stream_out_pending(&g->tx) && !g->deaf)
        want |= XD_PIPE_WRITE;
    g->transport->wait(g->pipe, want, &w);
    for (uint32_t i = 0; i < g->waits.n; i++)
        if (!among(&w, g->waits.on[i].fd))
            XD_TRY(xd_actor_watch(g->actor, g->waits.on[i].fd, 0, on_wake));
    for (uint32_t i = 0; i < w.n; i++)
        XD_TRY(xd_actor_watch(g->actor, w.on[i].fd, w.on[i].events, on_wake));
    g->waits = w;
    const bool took_turns = g->ready != 0;
    g->ready = w.ready; /* also if only the use has changed */
    return took_turns == (w.ready != 0) ? 0 : watch_turn(g, w.ready != 0);
}

/* ---- to the agent -------------------------------------------------------------------------------------- */

int xd_gateway_flush(gateway *g)
{
    while (g->pipe && g->state != AWAY && !g->deaf && xd_stream_out_pending(&g->tx)) {
        xd_bytes rest = xd_stream_out_view(&g->tx);
        ssize_t  n = g->transport->write(g->pipe, rest.ptr, rest.len);
        if (n == -EAGAIN)
            break;
        /* The pipe is given up when reading fails, too; before that what the agent has already sent is taken. */
        g->deaf = n < 0;
        if (n < 0 && n != -EPIPE && n != -ECONNRESET) {
            snprintf(g->broken, sizeof(g->broken), "%s", xd_error_name((int)n));
            XD_TRY(xd_actor_set_tick(g->actor, RETRY_MS));
        }
        if (n <= 0)
            continue;
        xd_stream_out_written(&g->tx, (size_t)n);
        g->wrote_ns = xd_clock_ns();
    }
    return xd_gateway_watch(g);
}

int xd_gateway_send_loose(gateway *g, const xd_buf *frame)
{
    XD_TRY(xd_stream_out_add(&g->tx, frame->data, frame->len));
    return xd_gateway_flush(g);
}

int xd_gateway_send_ack(gateway *g)
{
    xd_wire_ACK a = { .acked = g->acked };
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_ACK_frame(&g->frame, 0, 0, &a));
    return xd_gateway_send_loose(g, &g->frame);
}

/* ---- from the agent ------------------------------------------------------------------------------------ */

static int on_agent_ack(gateway *g, const xd_frame *f)
{
    xd_wire_ACK a;
    if (xd_wire_ACK_decode(f->body, f->len, &a) < 0 || xd_session_tx_acked(g->sent, a.acked) < 0)
        return xd_gateway_bad_peer(g, "the agent acknowledged what was never sent");
    return 0;
}

static int on_refuse(gateway *g, const xd_frame *f)
{
    xd_wire_REFUSE m;
    char           why[300];
    xd_autobuf     text = XD_BUF_INIT;
    if (xd_wire_REFUSE_decode(f->body, f->len, &m) < 0)
        return xd_gateway_bad_peer(g, "the agent refused the session");
    XD_TRY(xd_text_harmless(&text, m.reason, false));
    snprintf(why, sizeof(why),
             "the agent refused the session: %.150s (it speaks versions %u to %u, this program %u to %u)",
             xd_buf_cstr(&text), (unsigned)m.version_min, (unsigned)m.version_max, XD_WIRE_VERSION_MIN,
             XD_WIRE_VERSION);
    return xd_gateway_bad_peer(g, why);
}

/* What is wrong with a frame, in words that name its sender: xd_gateway_bad_peer() puts the spec before them. */
static int bad_frame(gateway *g, int r)
{
    char why[256];
    if (r != -EPROTO)
        return r;
    g->bye = false;
    snprintf(why, sizeof(why), "the agent broke the protocol: %s", xd_check_why(g->check));
    return xd_gateway_bad_peer(g, why);
}

static int on_loose(gateway *g, const xd_frame *f)
{
    int r = xd_check_loose(g->check, f, xd_clock_ns());
    if (r < 0)
        return bad_frame(g, r);
    if (f->type == XD_MSG_ACK)
        return on_agent_ack(g, f);
    if (f->type == XD_MSG_PROGRESS) {
        xd_wire_PROGRESS m;
        r = xd_check_frame(g->check, f);
        g->last_words |= r == 0 && xd_wire_PROGRESS_decode(f->body, f->len, &m) == 0 && m.last;
        return r < 0 ? bad_frame(g, r)
                     : xd_gateway_pass_up(g, f->type, 0, f->body - XD_FRAME_HEADER, f->len + XD_FRAME_HEADER);
    }
    if (!g->pinged)
        return xd_gateway_bad_peer(g, "the agent sent a PONG that nobody asked for");
    g->pinged--;
    g->silent_ms = 0;
    return 0;
}

/* Files of this host are chosen by this program and its user alone: what a foreign agent names as one is left out of
 * its CONFIG before it is recorded, and what the user named stands in its place. */
static int own_paths(gateway *g, const xd_frame *f, bool *ret_named)
{
    xd_autobuf     options = XD_BUF_INIT;
    xd_wire_CONFIG m;
    xd_wire_PAIR   p;
    XD_TRY(xd_wire_CONFIG_decode(f->body, f->len, &m));
    xd_wire_list it = m.options;
    m.options.count = 0;
    *ret_named = false;
    while (xd_wire_PAIR_next(&it, &p) == 1) {
        const bool junit = xd_bytes_eq_str(p.name, "xmlpath");
        *ret_named |= junit && p.value.len;
        if (junit || xd_bytes_eq_str(p.name, "cache_dir"))
            continue;
        XD_TRY(xd_wire_PAIR_append(&options, &p));
        m.options.count++;
    }
    if (g->junit_path) {
        p = (xd_wire_PAIR){ .name = XD_BYTES_LIT("xmlpath"), .value = xd_bytes_str(g->junit_path) };
        XD_TRY(xd_wire_PAIR_append(&options, &p));
        m.options.count++;
    }
    m.options.ptr = options.data;
    m.options.len = options.len;
    xd_buf_clear(&g->frame);
    return xd_wire_CONFIG_frame(&g->frame, 0, f->seq, &m);
}

static int on_config(gateway *g, const xd_frame *f)
{
    bool       named;
    xd_autobuf text = XD_BUF_INIT;
    int        r = own_paths(g, f, &named);
    if (r == -EMSGSIZE)
        return xd_gateway_bad_peer(g, "the agent sent a malformed CONFIG");
    XD_TRY(r);
    XD_TRY(xd_gateway_pass_up(g, f->type, XD_FLAG_JOURNAL, g->frame.data, g->frame.len));
    if (!named || g->junit_path)
        return 0;
    XD_TRY(xd_buf_printf(
        &text,
        "%s: the JUnit file that its agent names is not written: only an agent that xd finds itself "
        "names files; give --junitxml to xdctl run",
        g->spec.text));
    return xd_gateway_note(g, 3, xd_buf_view(&text));
}

static int on_agent_frame(gateway *g, const xd_frame *f)
{
    xd_log_write(xd_actor_log(g->actor), XD_LOG_DEBUG, "gateway %u: agent -> %s (%u bytes)",
                 (unsigned)g->number, xd_wire_name(f->type), (unsigned)f->len);
    if (g->state == GREETING)
        return xd_gateway_on_hello(g, f);
    if (g->state == RETURNING && f->type != XD_MSG_REFUSE)
        return xd_gateway_on_return(g, f);
    if (f->type == XD_MSG_REFUSE)
        return on_refuse(g, f);
    if (f->type == XD_MSG_ACK || f->type == XD_MSG_PONG || f->type == XD_MSG_PROGRESS)
        return on_loose(g, f);
    if (xd_gateway_sync_type(f->type))
        return xd_gateway_sync_frame(g, f);
    if (!xd_wire_when(f->type))
        return bad_frame(g, xd_check_frame(g->check, f));
    if (!f->seq)
        return xd_gateway_bad_peer(g, "the agent sent a record outside of the sequence");
    switch (xd_session_rx_seen(&g->seen, f->seq)) {
    case XD_SESSION_GAP:
        return xd_gateway_bad_peer(g, "records of the agent are missing");
    case XD_SESSION_DUPLICATE: /* nothing looks at it a second time */
        XD_TRY(bad_frame(g, xd_check_loose(g->check, f, xd_clock_ns())));
        return g->state == UP ? xd_gateway_send_ack(g) : 0;
    default:
        XD_TRY(bad_frame(g, xd_check_frame(g->check, f)));
        xd_check_passed(g->check, f);
        g->full = xd_check_full(g->check);
        break;
    }
    if (g->state == DOWN)
        return 0;
    g->bye = g->bye || f->type == XD_MSG_BYE;
    if (f->type == XD_MSG_CONFIG && g->foreign)
        return on_config(g, f);
    /* The frame lies whole in the stream's buffer: its header is in front of its body. */
    return xd_gateway_pass_up(g, f->type, XD_FLAG_JOURNAL, f->body - XD_FRAME_HEADER,
                              f->len + XD_FRAME_HEADER);
}

int xd_gateway_deliver(gateway *g)
{
    xd_frame f;
    while (g->state != DOWN && !xd_gateway_holds(g)) {
        int more = xd_stream_in_next(&g->rx, &f);
        if (more == 0)
            return 0;
        if (more < 0)
            return xd_gateway_bad_peer(
                g, g->state == GREETING
                       ? "the program at the other end does not speak xd's protocol: it is not an agent of xd"
                       : "the agent sent bytes that are not a frame of the protocol");
        XD_TRY(on_agent_frame(g, &f));
    }
    return 0;
}

static int read_pipe(gateway *g)
{
    size_t got = 0;
    while (g->state != DOWN && g->state != AWAY && !xd_gateway_holds(g) && got < TURN_BYTES) {
        uint8_t *at;
        size_t   room;
        XD_TRY(xd_stream_in_space(&g->rx, READ_BYTES, &at, &room));
        room = XD_MIN(room, (size_t)READ_BYTES);
        ssize_t n = g->transport->read(g->pipe, at, room);
        if (n == -EAGAIN)
            return 0;
        if (n < 0 && n != -ECONNRESET)
            return xd_gateway_cut(g, xd_error_name((int)n));
        if (n <= 0)
            return xd_gateway_cut(g, g->greeted ? "the connection to the agent ended"
                                                : "the connection ended before the agent said HELLO");
        xd_stream_in_filled(&g->rx, (size_t)n);
        got += (size_t)n;
        XD_TRY(xd_gateway_let_go(g));
        XD_TRY(xd_gateway_deliver(g));
        if ((size_t)n < READ_BYTES / 4)
            break; /* most likely all there was */
    }
    return 0;
}

/* Something that the pipe waited for has come, or it is its turn again. */
static int on_wake(void *state, int fd, uint32_t events)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    uint32_t uses = fd == g->turn_fd ? g->ready : 0;
    (void)events; /* an end of the connection is for read to find */
    for (uint32_t i = 0; i < g->waits.n; i++)
        uses |= g->waits.on[i].fd == fd ? g->waits.on[i].uses : 0;
    if (g->state == DIALING)
        return xd_gateway_dial(g);
    if (uses & XD_PIPE_TEXT)
        XD_TRY(xd_gateway_read_text(g));
    if (g->state == AWAY)
        XD_TRY(xd_gateway_reconnect(g));
    if ((uses & XD_PIPE_WRITE) && g->state != DOWN)
        XD_TRY(xd_gateway_flush(g));
    if ((uses & XD_PIPE_READ) && g->state != DOWN && !xd_gateway_holds(g))
        XD_TRY(read_pipe(g));
    return xd_gateway_watch(g);
}

/* ---- the text beside the pipe --------------------------------------------------------------------------- */

static int show_line(gateway *g, xd_bytes line)
{
    xd_autobuf text = XD_BUF_INIT;
    if (line.len == 0 || g->lines > LINES_MAX)
        return 0;
    if (g->lines++ == LINES_MAX)
        return xd_gateway_note(g, XD_NOTE_WARNING, XD_BYTES_LIT("the agent writes more; it is not shown"));
    XD_TRY(xd_buf_printf(&text, "%s: ", g->spec.text));
    line.len = XD_MIN(line.len, (size_t)LINE_BYTES);
    XD_TRY(xd_text_harmless(&text, line, false));
    xd_log_write(xd_actor_log(g->actor), XD_LOG_WARNING, "%s", xd_buf_cstr(&text));
    return xd_gateway_note(g, XD_NOTE_WARNING, xd_buf_view(&text));
}

int xd_gateway_read_text(gateway *g)
{
    uint8_t bytes[4096];
    for (int turn = 0; turn < 16 && g->pipe && g->transport->text; turn++) {
        ssize_t n = g->transport->text(g->pipe, bytes, sizeof(bytes));
        if (n == -EAGAIN)
            return 0;
        if (n <= 0) {
            g->text_over = true;
            XD_TRY(show_line(g, xd_buf_view(&g->line)));
            xd_buf_clear(&g->line);
            return 0;
        }
        g->text_bytes += (uint64_t)n;
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n' && g->line.len < LINE_BYTES)
                XD_TRY(xd_buf_add_byte(&g->line, bytes[i]));
            if (bytes[i] != '\n')
                continue;
            XD_TRY(show_line(g, xd_buf_view(&g->line)));
            xd_buf_clear(&g->line);
        }
    }
    return 0;
}
