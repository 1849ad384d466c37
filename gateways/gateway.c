#include "gateways/gateway.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/actor.h"
#include "engine/base/clock.h"
#include "engine/base/poller.h"
#include "engine/base/text.h"
#include "engine/check.h"
#include "engine/session.h"
#include "engine/stream.h"

#define GATEWAY_MAGIC 0x6a7e0a11u
#define READ_BYTES (256u * 1024u)
#define TURN_BYTES (1u << 20) /* read in one turn, so that the inbox is looked at too */
#define OUT_MAX (64u << 20)   /* unread by the agent: more than any correct run has */
#define RETRY_MS 2u           /* while the broker's inbox is full */
#define SILENCE_TICK_MS 1000u
#define LINES_MAX 200u /* of the agent's stderr that are shown */
#define LINE_BYTES 2000u
#define LEASH_MS 8000u /* an agent whose pipe is closed ends all it started within so long */
#define FIRST_TO_AGENT 16u
#define FIRST_FROM_AGENT 32u

typedef enum gateway_state { DIALING, GREETING, UP, DOWN } gateway_state;

typedef struct gateway {
    uint32_t              magic;
    xd_actor             *actor; /* borrowed; outlives us */
    const xd_gateway_ops *ops;
    uint16_t              number;
    gateway_state         state;
    char                 *spec, *agent, *dir, *sched; /* owned */
    uint64_t              output_limit, session, deadline_ns;
    uint32_t              window_frames, window_bytes, timeout_ms;
    uint32_t              silence_ms, silent_ms; /* silent for so long while an answer is owed */
    uint64_t              looked_ns;             /* when silent_ms was last added to; 0 = nothing is owed */
    bool                  can_ping, pinged;      /* pinged: PONG is owed */
    bool                  heard;                 /* something has come since ping_ns was set */
    uint64_t              ping_ns;               /* when it is looked again whether a PING is due */
    xd_gateway_pipe       pipe;
    bool                  polls_out;
    bool                  bye;
    xd_stream_in          rx;
    xd_stream_out         tx;
    xd_session_tx        *sent; /* what the agent has not acknowledged */
    xd_session_rx         seen;
    xd_check             *check; /* of what the agent says */
    bool     full;  /* its credit is used up: nothing more is read until something is acknowledged */
    xd_buf   frame; /* scratch */
    xd_msg  *stuck; /* the broker had no room for it; nothing more is read until it has */
    bool     down_told;
    char     reason[512]; /* why it is down */
    xd_buf   line;        /* of the agent's stderr, not yet whole */
    uint32_t lines;
    uint64_t refused_frames; /* that were none of the protocol */
} gateway;

static int on_stream(void *state, int fd, uint32_t events);
static int deliver(gateway *g);

/* ---- to the broker ------------------------------------------------------------------------------------- */

/* Sends a frame on; one that finds no room is kept and stops the reading. Call only while nothing is
 * stuck. */
static int pass_up(gateway *g, uint16_t type, uint16_t flags, const void *frame, size_t len)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, type, frame, len));
    m->flags = flags;
    m->gateway = g->number;
    int r = xd_actor_try_send(g->actor, g->sched, &m);
    if (r != -EAGAIN)
        return r;
    if (!(flags & XD_FLAG_JOURNAL))
        return 0; /* news of the moment */
    g->stuck = xd_take(&m);
    return xd_actor_set_tick(g->actor, RETRY_MS);
}

static int unstick(gateway *g)
{
    if (!g->stuck)
        return 0;
    int r = xd_actor_try_send(g->actor, g->sched, &g->stuck);
    return r == -EAGAIN ? 1 : r;
}

static int tell_note(gateway *g, uint8_t level, xd_bytes text)
{
    xd_autobuf   frame = XD_BUF_INIT;
    xd_wire_NOTE m = { .level = level, .text = text };
    if (g->stuck)
        return 0; /* no room: a note is not worth the wait */
    XD_TRY(xd_wire_NOTE_frame(&frame, 0, 0, &m));
    return pass_up(g, XD_MSG_NOTE, XD_FLAG_JOURNAL, frame.data, frame.len);
}

/* Tells of the end once; waits for room when there is none. */
static int tell_down(gateway *g)
{
    xd_autobuf           frame = XD_BUF_INIT;
    xd_wire_GATEWAY_DOWN m = { .gateway = g->number, .expected = g->bye, .reason = xd_bytes_str(g->reason) };
    if (g->down_told)
        return 0;
    int r = unstick(g);
    XD_TRY(r);
    if (r > 0)
        return xd_actor_set_tick(g->actor, RETRY_MS);
    XD_TRY(xd_wire_GATEWAY_DOWN_frame(&frame, 0, 0, &m));
    XD_TRY(pass_up(g, XD_MSG_GATEWAY_DOWN, XD_FLAG_JOURNAL, frame.data, frame.len));
    g->down_told = true;
    return g->stuck ? 0 : xd_actor_set_tick(g->actor, 0);
}

/* ---- the end of the pipe ------------------------------------------------------------------------------- */

static int read_errors(gateway *g);

static void drop_pipe(gateway *g, uint32_t grace_ms, char *how, size_t how_size)
{
    if (g->pipe.in < 0 && g->pipe.proc.pid <= 0)
        return;
    if (g->pipe.in >= 0)
        (void)!xd_actor_watch(g->actor, g->pipe.in, 0, on_stream);
    if (g->pipe.out >= 0 && g->pipe.out != g->pipe.in)
        (void)!xd_actor_watch(g->actor, g->pipe.out, 0, on_stream);
    if (g->pipe.errors >= 0)
        (void)!xd_actor_watch(g->actor, g->pipe.errors, 0, on_stream);
    g->ops->hang_up(&g->pipe, grace_ms, how, how_size);
}

/* What the agent wrote last to its stderr is read before the pipe is dropped: it often says why. */
static int go_down(gateway *g, const char *why)
{
    char how[128] = "";
    if (g->state == DOWN)
        return 0;
    bool stood = g->state == UP;
    g->state = DOWN;
    XD_TRY(read_errors(g));
    drop_pipe(g, stood ? LEASH_MS : 2000, how, sizeof(how));
    if (g->bye)
        snprintf(g->reason, sizeof(g->reason), "all done");
    else
        snprintf(g->reason, sizeof(g->reason), "%s: %s%s%s", g->spec, why, *how ? "; " : "", how);
    return tell_down(g);
}

/* Bytes that are not the protocol: this peer is dropped, the others go on. */
static int bad_peer(gateway *g, const char *what)
{
    g->refused_frames++;
    xd_log_write(xd_actor_log(g->actor), XD_LOG_WARNING, "gateway %u (%s): dropped: %s", (unsigned)g->number,
                 g->spec, what);
    return go_down(g, what);
}

/* ---- to the agent -------------------------------------------------------------------------------------- */

static int watch_pipe(gateway *g)
{
    bool     out = xd_stream_out_pending(&g->tx) > 0;
    uint32_t in = g->stuck || g->full ? 0 : XD_POLL_IN;
    if (g->pipe.in < 0)
        return 0;
    if (g->pipe.in == g->pipe.out)
        return xd_actor_watch(g->actor, g->pipe.in, in | (out ? XD_POLL_OUT : 0), on_stream);
    XD_TRY(xd_actor_watch(g->actor, g->pipe.in, in, on_stream));
    return xd_actor_watch(g->actor, g->pipe.out, out ? XD_POLL_OUT : 0, on_stream);
}

static int flush(gateway *g)
{
    bool before = g->polls_out;
    if (g->pipe.out < 0)
        return 0;
    int r = xd_stream_write_fd(&g->tx, g->pipe.out);
    if (r == -EPIPE || r == -ECONNRESET)
        return 0; /* the end of file on the other direction tells of it, after what is still to be read */
    if (r < 0)
        return go_down(g, xd_error_name(r));
    g->polls_out = r > 0;
    return g->polls_out != before ? watch_pipe(g) : 0;
}

static int send_loose(gateway *g, const xd_buf *frame)
{
    XD_TRY(xd_stream_out_add(&g->tx, frame->data, frame->len));
    return flush(g);
}

/* Whoever paused may be about to stop this whole process. */
static int tell_paused(gateway *g)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, XD_MSG_PAUSED, NULL, 0));
    m->gateway = g->number;
    return xd_actor_send(g->actor, g->sched, &m);
}

/* Nothing has come for so long, although nothing was asked either: PING. */
static uint32_t quiet_ms(const gateway *g)
{
    return XD_MAX(g->silence_ms / 4, 1u);
}

static int next_tick(gateway *g)
{
    return xd_actor_set_tick(g->actor, g->looked_ns ? XD_MIN(SILENCE_TICK_MS, g->silence_ms) : quiet_ms(g));
}

static int expect_answer(gateway *g)
{
    g->looked_ns = xd_clock_ns();
    g->silent_ms = 0;
    return g->stuck || g->state != UP ? 0 : next_tick(g);
}

static int ping(gateway *g)
{
    xd_wire_PING m = { 0 };
    g->pinged = true;
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_PING_frame(&g->frame, 0, 0, &m));
    XD_TRY(send_loose(g, &g->frame));
    return expect_answer(g);
}

/* Nothing is owed. */
static int ping_if_quiet(gateway *g, uint64_t now_ns)
{
    if (!g->can_ping || g->stuck || g->full || now_ns < g->ping_ns)
        return 0;
    g->ping_ns = now_ns + quiet_ms(g) * XD_MS_NS;
    if (!g->heard)
        return ping(g);
    g->heard = false;
    return 0;
}

/* An agent acknowledges commands and answers PING at once whatever its processes do: one that does not is stopped,
 * or no agent. Time in which this process was stopped itself (Ctrl-Z), or did not read, is not the agent's. */
static int look_for_silence(gateway *g)
{
    uint64_t now = xd_clock_ns();
    char     why[128];
    if (g->state != UP)
        return 0;
    bool commands = xd_session_tx_outstanding(g->sent) > 0;
    if (!commands && !g->pinged)
        g->looked_ns = 0;
    if (!g->looked_ns)
        return ping_if_quiet(g, now);
    uint64_t ms = (now - g->looked_ns) / XD_MS_NS;
    g->looked_ns = now;
    if (!g->stuck && !g->full)
        g->silent_ms += (uint32_t)XD_MIN(ms, 2 * (uint64_t)SILENCE_TICK_MS);
    if (g->silent_ms < g->silence_ms)
        return 0;
    snprintf(why, sizeof(why), "the agent is silent: for %u s it has not %s", g->silent_ms / 1000u,
             commands ? "acknowledged its commands" : "answered");
    return bad_peer(g, why);
}

/* A record of the scheduler: numbered, so that a connection that comes back can tell what arrived. */
static int on_command(void *state, const xd_msg *in)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    xd_frame f;
    xd_bytes numbered;
    XD_TRY(xd_msg_frame(in, &f));
    if (f.type < FIRST_TO_AGENT || f.type >= FIRST_FROM_AGENT)
        return 0;       /* not for an agent */
    if (g->state != UP) /* GATEWAY_DOWN told, or will tell, that nothing arrives here */
        return f.type == XD_MSG_PAUSE ? tell_paused(g) : 0;
    if (xd_stream_out_pending(&g->tx) + in->body.len > OUT_MAX)
        return bad_peer(g, "the agent no longer reads its commands");
    XD_TRY(xd_check_command(g->check, &f));
    XD_TRY(xd_session_tx_push(g->sent, in->body.ptr, in->body.len, &numbered));
    XD_TRY(xd_stream_out_add(&g->tx, numbered.ptr, numbered.len));
    XD_TRY(flush(g));
    if (!g->looked_ns)
        XD_TRY(expect_answer(g));
    return f.type == XD_MSG_PAUSE ? tell_paused(g) : 0;
}

/* The broker: everything up to here is in the journal. */
static int on_ack(void *state, const xd_msg *in)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    xd_frame f;
    XD_TRY(xd_msg_frame(in, &f));
    if (g->state != UP || f.type != XD_MSG_ACK)
        return 0;
    xd_wire_ACK a;
    XD_TRY(xd_wire_ACK_decode(f.body, f.len, &a));
    xd_check_acked(g->check, a.acked);
    xd_buf_clear(&g->frame);
    XD_TRY(xd_buf_add_bytes(&g->frame, in->body));
    XD_TRY(send_loose(g, &g->frame));
    if (!g->full || xd_check_full(g->check) || g->state != UP)
        return 0;
    g->full = false;
    XD_TRY(deliver(g));
    return watch_pipe(g);
}

/* The scheduler is gone: the engine is ending, and us with it. */
static int on_unknown(void *state, const xd_msg *in)
{
    (void)state;
    (void)in;
    return 0;
}

/* ---- from the agent ------------------------------------------------------------------------------------ */

static int refuse(gateway *g, const xd_wire_HELLO *h)
{
    char           why[256];
    xd_wire_REFUSE m = { .version_min = XD_WIRE_VERSION_MIN, .version_max = XD_WIRE_VERSION };
    snprintf(why, sizeof(why),
             "the agent speaks versions %u to %u of the protocol, this program %u to %u; use an agent of "
             "the same build",
             (unsigned)h->version_min, (unsigned)h->version_max, XD_WIRE_VERSION_MIN, XD_WIRE_VERSION);
    m.reason = xd_bytes_str(why);
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_REFUSE_frame(&g->frame, 0, 0, &m));
    XD_TRY(send_loose(g, &g->frame));
    return bad_peer(g, why);
}

static int on_hello(gateway *g, const xd_frame *f)
{
    xd_wire_HELLO h;
    if (f->type == XD_MSG_REFUSE || xd_wire_HELLO_decode(f->body, f->len, &h) < 0 || f->type != XD_MSG_HELLO)
        return bad_peer(g, "the program at the other end did not begin with HELLO: it is not an agent of xd");
    if (xd_wire_HELLO_beyond(&h))
        return bad_peer(g, "the agent's HELLO has a number out of range");
    if (h.version_min > XD_WIRE_VERSION || h.version_max < XD_WIRE_VERSION_MIN)
        return refuse(g, &h);
    xd_wire_WELCOME w = { .version = XD_MIN(h.version_max, (uint16_t)XD_WIRE_VERSION),
                          .capabilities = h.capabilities & XD_CAP_ALL,
                          .session = g->session,
                          .window_frames = g->window_frames,
                          .window_bytes = g->window_bytes };
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_WELCOME_frame(&g->frame, 0, 0, &w));
    XD_TRY(send_loose(g, &g->frame));
    if (g->state == DOWN)
        return 0;
    g->state = UP;
    g->can_ping = (w.capabilities & XD_CAP_PING) != 0;
    XD_TRY(next_tick(g));
    xd_wire_GATEWAY_UP up = { .gateway = g->number,
                              .spec = xd_bytes_str(g->spec),
                              .host = h.host,
                              .system = h.system,
                              .cpus = h.cpus };
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_GATEWAY_UP_frame(&g->frame, 0, 0, &up));
    return pass_up(g, XD_MSG_GATEWAY_UP, XD_FLAG_JOURNAL, g->frame.data, g->frame.len);
}

static int on_agent_ack(gateway *g, const xd_frame *f)
{
    xd_wire_ACK a;
    if (xd_wire_ACK_decode(f->body, f->len, &a) < 0 || xd_session_tx_acked(g->sent, a.acked) < 0)
        return bad_peer(g, "the agent acknowledged what was never sent");
    return 0;
}

static int on_refuse(gateway *g, const xd_frame *f)
{
    xd_wire_REFUSE m;
    char           why[300];
    xd_autobuf     text = XD_BUF_INIT;
    if (xd_wire_REFUSE_decode(f->body, f->len, &m) < 0)
        return bad_peer(g, "the agent refused the session");
    XD_TRY(xd_text_harmless(&text, m.reason, false));
    snprintf(why, sizeof(why),
             "the agent refused the session: %.150s (it speaks versions %u to %u, this program %u to %u)",
             xd_buf_cstr(&text), (unsigned)m.version_min, (unsigned)m.version_max, XD_WIRE_VERSION_MIN,
             XD_WIRE_VERSION);
    return bad_peer(g, why);
}

/* What is wrong with a frame, in words that name its sender: bad_peer() puts the spec before them. */
static int bad_frame(gateway *g, int r)
{
    char why[256];
    if (r != -EPROTO)
        return r;
    g->bye = false;
    snprintf(why, sizeof(why), "the agent broke the protocol: %s", xd_check_why(g->check));
    return bad_peer(g, why);
}

static int on_loose(gateway *g, const xd_frame *f)
{
    int r = xd_check_loose(g->check, f, xd_clock_ns());
    if (r < 0)
        return bad_frame(g, r);
    if (f->type == XD_MSG_ACK)
        return on_agent_ack(g, f);
    if (f->type == XD_MSG_PROGRESS) {
        r = xd_check_frame(g->check, f);
        return r < 0 ? bad_frame(g, r)
                     : pass_up(g, f->type, 0, f->body - XD_FRAME_HEADER, f->len + XD_FRAME_HEADER);
    }
    if (!g->pinged)
        return bad_peer(g, "the agent sent a PONG that nobody asked for");
    g->pinged = false;
    return 0;
}

static int on_agent_frame(gateway *g, const xd_frame *f)
{
    xd_log_write(xd_actor_log(g->actor), XD_LOG_DEBUG, "gateway %u: agent -> %s (%u bytes)",
                 (unsigned)g->number, xd_wire_name(f->type), (unsigned)f->len);
    if (g->state == GREETING)
        return on_hello(g, f);
    if (f->type == XD_MSG_REFUSE)
        return on_refuse(g, f);
    if (f->type == XD_MSG_ACK || f->type == XD_MSG_PONG || f->type == XD_MSG_PROGRESS)
        return on_loose(g, f);
    if (!xd_wire_when(f->type))
        return bad_frame(g, xd_check_frame(g->check, f));
    if (!f->seq)
        return bad_peer(g, "the agent sent a record outside of the sequence");
    switch (xd_session_rx_seen(&g->seen, f->seq)) {
    case XD_SESSION_GAP:
        return bad_peer(g, "records of the agent are missing");
    case XD_SESSION_DUPLICATE: /* the broker acknowledges it again, and drops it */
        XD_TRY(bad_frame(g, xd_check_loose(g->check, f, xd_clock_ns())));
        break;
    default:
        XD_TRY(bad_frame(g, xd_check_frame(g->check, f)));
        xd_check_passed(g->check, f);
        g->full = xd_check_full(g->check);
        break;
    }
    if (g->state == DOWN)
        return 0;
    g->bye = g->bye || f->type == XD_MSG_BYE;
    /* The frame lies whole in the stream's buffer: its header is in front of its body. */
    return pass_up(g, f->type, XD_FLAG_JOURNAL, f->body - XD_FRAME_HEADER, f->len + XD_FRAME_HEADER);
}

/* Frames that have been read and not given on yet. */
static int deliver(gateway *g)
{
    xd_frame f;
    while (g->state != DOWN && !g->stuck && !g->full) {
        int more = xd_stream_in_next(&g->rx, &f);
        if (more == 0)
            return 0;
        if (more < 0)
            return bad_peer(
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
    while (g->state != DOWN && !g->stuck && !g->full && got < TURN_BYTES) {
        int n = xd_stream_read_fd(&g->rx, g->pipe.in, READ_BYTES);
        if (n == -EAGAIN)
            return 0;
        if (n < 0 && n != -ECONNRESET)
            return go_down(g, xd_error_name(n));
        if (n <= 0)
            return go_down(g, g->state == GREETING ? "the connection ended before the agent said HELLO"
                                                   : "the connection to the agent ended");
        got += (size_t)n;
        g->silent_ms = 0;
        g->heard = true;
        XD_TRY(deliver(g));
        if ((size_t)n < READ_BYTES / 4)
            break; /* most likely all there was */
    }
    return g->stuck || g->full ? watch_pipe(g) : 0;
}

static int on_stream(void *state, int fd, uint32_t events)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    if (g->state == DOWN)
        return 0;
    if (fd == g->pipe.errors)
        return read_errors(g);
    if (events & XD_POLL_OUT)
        XD_TRY(flush(g));
    if (fd == g->pipe.in && (events & (XD_POLL_IN | XD_POLL_HUP)) && !g->stuck && !g->full)
        return read_pipe(g);
    return 0;
}

/* ---- the agent's stderr -------------------------------------------------------------------------------- */

static int show_line(gateway *g, xd_bytes line)
{
    xd_autobuf text = XD_BUF_INIT;
    if (line.len == 0 || g->lines > LINES_MAX)
        return 0;
    if (g->lines++ == LINES_MAX)
        return tell_note(g, 3, XD_BYTES_LIT("the agent writes more; it is not shown"));
    XD_TRY(xd_buf_printf(&text, "%s: ", g->spec));
    line.len = XD_MIN(line.len, (size_t)LINE_BYTES);
    XD_TRY(xd_text_harmless(&text, line, false));
    xd_log_write(xd_actor_log(g->actor), XD_LOG_WARNING, "%s", xd_buf_cstr(&text));
    return tell_note(g, 3, xd_buf_view(&text));
}

static int read_errors(gateway *g)
{
    uint8_t bytes[4096];
    for (int turn = 0; turn < 16 && g->pipe.errors >= 0; turn++) {
        ssize_t n = read(g->pipe.errors, bytes, sizeof(bytes));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n <= 0) {
            XD_TRY(xd_actor_watch(g->actor, g->pipe.errors, 0, on_stream));
            close(g->pipe.errors);
            g->pipe.errors = -1;
            return show_line(g, xd_buf_view(&g->line));
        }
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

/* ---- the dial loop ------------------------------------------------------------------------------------- */

static int dial(gateway *g)
{
    xd_error          err = { 0 };
    xd_gateway_target target = {
        .spec = g->spec, .agent = g->agent, .dir = g->dir, .output_limit = g->output_limit
    };
    g->deadline_ns = xd_clock_ns() + g->timeout_ms * XD_MS_NS;
    int r = g->ops->dial(&target, g->timeout_ms, &g->pipe, &err);
    if (r < 0)
        return go_down(g, *err.text ? err.text : xd_error_name(r));
    g->state = GREETING;
    XD_TRY(xd_stream_out_add(&g->tx, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN));
    if (g->pipe.errors >= 0)
        XD_TRY(xd_actor_watch(g->actor, g->pipe.errors, XD_POLL_IN, on_stream));
    /* Written first: what then is to be watched depends on what is left. */
    XD_TRY(flush(g));
    XD_TRY(watch_pipe(g));
    return xd_actor_set_tick(g->actor, 100);
}

static int gateway_tick(void *state)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    if (g->state == DIALING)
        return dial(g);
    if (g->state == GREETING && xd_clock_ns() >= g->deadline_ns)
        return go_down(g, "the agent did not say HELLO in time");
    if (g->state == DOWN) {
        int r = unstick(g);
        return r != 0 ? XD_MIN(r, 0) : g->down_told ? xd_actor_set_tick(g->actor, 0) : tell_down(g);
    }
    int r = unstick(g);
    if (r != 0)
        return XD_MIN(r, 0);
    if (g->state == UP) {
        XD_TRY(look_for_silence(g));
        XD_TRY(g->state == UP ? next_tick(g) : 0);
    }
    XD_TRY(deliver(g));
    return watch_pipe(g);
}

static int gateway_init(void *state, xd_actor *actor, const void *args)
{
    const xd_gateway_args *a = args;
    gateway               *g = state;
    *g = (gateway){ .magic = GATEWAY_MAGIC,
                    .actor = actor,
                    .ops = a->ops,
                    .number = a->number,
                    .spec = strdup(a->target.spec ? a->target.spec : a->ops->name),
                    .agent = a->target.agent ? strdup(a->target.agent) : NULL,
                    .dir = a->target.dir ? strdup(a->target.dir) : NULL,
                    .sched = strdup(a->sched ? a->sched : "sched"),
                    .output_limit = a->target.output_limit,
                    .session = a->session,
                    .window_frames = a->window_frames ? a->window_frames : 1024,
                    .window_bytes = a->window_bytes ? a->window_bytes : 4u << 20,
                    .timeout_ms = a->timeout_ms ? a->timeout_ms : 20000,
                    .silence_ms = a->silence_ms ? a->silence_ms : 60000,
                    .pipe = XD_GATEWAY_PIPE_INIT,
                    .seen = XD_SESSION_RX_INIT };
    if (!g->spec || !g->sched || (a->target.agent && !g->agent) || (a->target.dir && !g->dir))
        return -ENOMEM;
    xd_stream_in_init(&g->rx, true);
    XD_TRY(xd_session_tx_new(&g->sent, UINT32_MAX, UINT32_MAX));
    XD_TRY(xd_check_new(&g->check, g->window_frames, g->window_bytes));
    return xd_actor_set_tick(actor, 1); /* the first tick dials */
}

/* Asked to end: without its pipe the agent ends everything it started. */
static int gateway_stop(void *state)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    g->state = DOWN;
    drop_pipe(g, LEASH_MS, NULL, 0);
    return XD_ACTOR_STOP;
}

static void gateway_fini(void *state)
{
    gateway *g = state;
    if (g->magic != GATEWAY_MAGIC)
        return;
    drop_pipe(g, LEASH_MS, NULL, 0);
    xd_stream_in_release(&g->rx);
    xd_stream_out_release(&g->tx);
    g->sent = xd_session_tx_free(g->sent);
    g->check = xd_check_free(g->check);
    xd_buf_release(&g->frame);
    xd_buf_release(&g->line);
    g->stuck = xd_msg_free(g->stuck);
    free(g->spec);
    free(g->agent);
    free(g->dir);
    free(g->sched);
}

const xd_actor_spec xd_gateway_spec = {
    .name = "gateway",
    .size = sizeof(gateway),
    .window = 65536,
    .init = gateway_init,
    .tick = gateway_tick,
    .stop = gateway_stop,
    .fini = gateway_fini,
    .handlers = (const xd_handler[]){ { XD_MSG_ACK, on_ack }, { XD_MSG_UNKNOWN, on_unknown }, { 0 } },
    .other = on_command,
};

void xd_gateway_address(uint16_t number, char *ret, size_t size)
{
    snprintf(ret, size, "gateway.%u", (unsigned)number);
}
