/* gateways/gateway_dial.c - see gateway_state.h: the pipe is opened, the agent says HELLO, and the end of it. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "gateways/agent_program.h"
#include "gateways/gateway_state.h"

#define OPEN_TICK_MS 100u
#define LEASH_MS 8000u /* an agent whose pipe is closed ends all it started within so long */
#define GREET_MS 2000u /* one that fails before its HELLO may want to say why */
#define WORDS_MS 2000u /* for the last of its text */
#define CANCEL_MS 300u /* one that is not wanted any more, and has not been told to start anything */

/* ---- the end of the pipe ------------------------------------------------------------------------------- */

/* Sends GATEWAY_DOWN once; while the inbox of the scheduler is full, it tries again later. */
int xd_gateway_tell_down(gateway *g)
{
    xd_autobuf           frame = XD_BUF_INIT;
    xd_wire_GATEWAY_DOWN m = {
        .gateway = g->number, .expected = g->bye, .reason = xd_bytes_str(g->reason), .broke = g->broke
    };
    if (g->down_told)
        return 0;
    int r = xd_gateway_unstick(g);
    XD_TRY(r);
    if (r > 0)
        return xd_actor_set_tick(g->actor, RETRY_MS);
    XD_TRY(xd_wire_GATEWAY_DOWN_frame(&frame, 0, 0, &m));
    XD_TRY(xd_gateway_pass_up(g, XD_MSG_GATEWAY_DOWN, XD_FLAG_JOURNAL, frame.data, frame.len));
    g->down_told = true;
    return g->stuck ? 0 : xd_actor_set_tick(g->actor, 0);
}

void xd_gateway_drop_pipe(gateway *g, uint32_t grace_ms, char *how, size_t how_size)
{
    if (!g->pipe)
        return;
    xd_gateway_unwatch(g);
    if (g->bye && g->transport->part)
        g->transport->part(g->pipe);
    g->transport->hang_up(&g->pipe, grace_ms, how, how_size);
}

/* Until one of these descriptors is ready, or `until_ns`; not at all if `ready`. False: in vain. */
static bool await_pipe(const xd_pipe_wait *w, bool ready, uint64_t now_ns, uint64_t until_ns)
{
    struct pollfd p[XD_PIPE_FDS];
    for (uint32_t i = 0; i < w->n; i++)
        p[i] = (struct pollfd){ .fd = w->on[i].fd,
                                .events = (short)((w->on[i].events & XD_POLL_IN ? POLLIN : 0) |
                                                  (w->on[i].events & XD_POLL_OUT ? POLLOUT : 0)) };
    return poll(p, w->n, ready ? 0 : (int)((until_ns - now_ns) / XD_MS_NS) + 1) > 0;
}

/* Whatever waits to be written, in the time that hang_up would wait for the agent: part of a frame may wait, and files for a host on a
 * slow link. */
static void write_the_rest(gateway *g, uint32_t *grace_ms)
{
    const uint64_t begun = xd_clock_ns(), end = begun + *grace_ms * XD_MS_NS;
    uint64_t       now = begun;
    for (; now < end && xd_gateway_flush(g) == 0 && !g->deaf && xd_stream_out_pending(&g->tx);
         now = xd_clock_ns()) {
        xd_pipe_wait w = { 0 };
        g->transport->wait(g->pipe, XD_PIPE_WRITE, &w);
        if (await_pipe(&w, w.ready & XD_PIPE_WRITE, now, end))
            (void)poll(NULL, 0, 1); /* it may be ready for another reason: no busy loop then */
    }
    *grace_ms -= (uint32_t)XD_MIN((uint64_t)*grace_ms, (now - begun) / XD_MS_NS);
}

/* To an agent that would else wait for another pipe: this was the last one. What it has not read of the commands lies in front of
 * it: an agent that does not read ends when its time to wait has passed. */
void xd_gateway_say_bye(gateway *g, uint32_t *grace_ms)
{
    xd_wire_BYE m = { .status = 0 };
    if (g->state != UP || g->transport->local || !(g->capabilities & XD_CAP_RECONNECT) || g->deaf)
        return;
    xd_buf_clear(&g->frame);
    if (xd_wire_BYE_frame(&g->frame, 0, 0, &m) == 0 && xd_gateway_send_loose(g, &g->frame) == 0)
        write_the_rest(g, grace_ms);
}

uint32_t xd_gateway_grace_ms(const gateway *g)
{
    const bool away =
        g->state == AWAY || g->state == RETURNING; /* what is dialled there is not the agent's pipe */
    return xd_gateway_in_session(g) && (g->transport->local || !away) ? LEASH_MS : CANCEL_MS;
}

static bool text_may_come(const xd_pipe_wait *w)
{
    uint32_t uses = w->ready;
    for (uint32_t i = 0; i < w->n; i++)
        uses |= w->on[i].uses;
    return uses & XD_PIPE_TEXT;
}

/* What the far end writes beside the pipe at its end may come later than the end of the pipe: it is waited for while the agent ends,
 * in the time that hang_up would wait for that. Some process may keep the text open: then for no longer than WORDS_MS. */
static int hear_last_words(gateway *g, uint32_t *grace_ms)
{
    const uint64_t begun = xd_clock_ns(), end = begun + XD_MIN(*grace_ms, WORDS_MS) * XD_MS_NS;
    uint64_t       now = begun;
    g->transport->close(g->pipe);
    for (; now < end; now = xd_clock_ns()) {
        const uint64_t before = g->text_bytes;
        xd_pipe_wait   w = { 0 };
        g->text_over = false;
        XD_TRY(xd_gateway_read_text(g));
        g->transport->wait(g->pipe, 0, &w);
        if (g->text_over || !text_may_come(&w))
            break;
        /* The descriptor may be ready for another reason: no busy loop then. */
        if (await_pipe(&w, w.ready, now, end) && g->text_bytes == before)
            (void)poll(NULL, 0, 1);
    }
    *grace_ms -= (uint32_t)XD_MIN((uint64_t)*grace_ms, (now - begun) / XD_MS_NS);
    return 0;
}

/* What was written last beside the pipe is read before the pipe is dropped: it often says why. */
static int go_down(gateway *g, const char *why, bool ended)
{
    char how[128] = "";
    if (g->state == DOWN)
        return 0;
    xd_gateway_sync_end(g);
    /* While another pipe is being dialled, the text may be the transport's own messages about that. */
    const bool dialled = g->state == AWAY || g->state == RETURNING;
    const bool words = ended && g->pipe && !g->bye && g->transport->text && (g->transport->local || !dialled);
    bool       greeting = !g->greeted && g->state != DIALING;
    uint32_t   grace_ms = greeting ? GREET_MS : xd_gateway_grace_ms(g);
    xd_gateway_say_bye(g, &grace_ms);
    g->state = DOWN;
    XD_TRY(words ? hear_last_words(g, &grace_ms) : xd_gateway_read_text(g));
    xd_gateway_drop_pipe(g, grace_ms, how, sizeof(how));
    if (g->bye)
        snprintf(g->reason, sizeof(g->reason), "all done");
    else
        snprintf(g->reason, sizeof(g->reason), "%s: %s%s%s", g->spec.text, why, *how ? "; " : "", how);
    return xd_gateway_tell_down(g);
}

int xd_gateway_go_down(gateway *g, const char *why)
{
    return go_down(g, why, false);
}

int xd_gateway_ended(gateway *g, const char *why)
{
    return go_down(g, why, true);
}

int xd_gateway_drop_peer(gateway *g, const char *why)
{
    xd_log_write(xd_actor_log(g->actor), XD_LOG_WARNING, "gateway %u (%s): dropped: %s", (unsigned)g->number,
                 g->spec.text, why);
    return xd_gateway_go_down(g, why);
}

int xd_gateway_bad_peer(gateway *g, const char *what)
{
    g->broke = true;
    return xd_gateway_drop_peer(g, what);
}

/* ---- HELLO --------------------------------------------------------------------------------------------- */

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
    XD_TRY(xd_gateway_send_loose(g, &g->frame));
    return xd_gateway_bad_peer(g, why);
}

int xd_gateway_send_welcome(gateway *g, xd_bytes token)
{
    xd_wire_WELCOME w = { .version = g->version,
                          .capabilities = g->capabilities,
                          .session = g->session,
                          .window_frames = g->window_frames,
                          .window_bytes = g->window_bytes,
                          .last = g->seen.last,
                          .reconnect_ms = g->capabilities & XD_CAP_RECONNECT ? g->reconnect_ms : 0,
                          .token = token };
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_WELCOME_frame(&g->frame, 0, 0, &w));
    return xd_gateway_send_loose(g, &g->frame);
}

int xd_gateway_on_hello(gateway *g, const xd_frame *f)
{
    xd_wire_HELLO h;
    if (f->type == XD_MSG_REFUSE || xd_wire_HELLO_decode(f->body, f->len, &h) < 0 || f->type != XD_MSG_HELLO)
        return xd_gateway_bad_peer(
            g, "the program at the other end did not begin with HELLO: it is not an agent of xd");
    if (xd_wire_HELLO_beyond(&h))
        return xd_gateway_bad_peer(g, "the agent's HELLO has a number out of range");
    if (h.version_min > XD_WIRE_VERSION || h.version_max < XD_WIRE_VERSION_MIN)
        return refuse(g, &h);
    g->version = XD_MIN(h.version_max, (uint16_t)XD_WIRE_VERSION);
    g->capabilities = h.capabilities & XD_CAP_ALL;
    if (g->transport->local) /* the end of this process ends its pipe */
        g->capabilities &= ~(uint64_t)XD_CAP_BEAT;
    if (!g->transport->reopen || h.token.len != XD_TOKEN_LEN)
        g->capabilities &= ~(uint64_t)XD_CAP_RECONNECT;
    if (g->capabilities & XD_CAP_RECONNECT)
        memcpy(g->token, h.token.ptr, XD_TOKEN_LEN);
    XD_TRY(xd_gateway_send_welcome(g, (xd_bytes){ 0 }));
    if (g->state == DOWN)
        return 0;
    g->state = UP;
    g->greeted = true;
    XD_TRY(xd_gateway_next_tick(g));
    xd_wire_GATEWAY_UP up = { .gateway = g->number,
                              .spec = xd_bytes_str(g->spec.text),
                              .host = h.host,
                              .system = h.system,
                              .cpus = h.cpus };
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_GATEWAY_UP_frame(&g->frame, 0, 0, &up));
    XD_TRY(xd_gateway_pass_up(g, XD_MSG_GATEWAY_UP, XD_FLAG_JOURNAL, g->frame.data, g->frame.len));
    return xd_gateway_sync_begin(g);
}

int xd_gateway_greet(gateway *g)
{
    g->state = GREETING;
    XD_TRY(xd_stream_out_add(&g->tx, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN));
    return xd_gateway_flush(g);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static int open_pipe(gateway *g, xd_error *err)
{
    xd_autofree char *found = NULL, *agent = NULL;
    xd_target         target = { .spec = &g->spec,
                                 .agent = g->agent,
                                 .dir = g->dir,
                                 .cache_dir = g->cache_dir,
                                 .scratch_dir = g->scratch_dir,
                                 .output_limit = g->output_limit,
                                 .timeout_ms = g->timeout_ms,
                                 .ssh_accept_new = g->ssh_accept_new,
                                 .keys = g->keys,
                                 .listen = g->listen,
                                 .seat = g->seat };
    if (g->transport->local) {
        XD_TRY(xd_agent_program_find(g->agent, &found, err));
        XD_TRY(xd_path_absolute(found, &agent)); /* it is started in another directory */
        target.agent = agent;
    }
    g->deadline_ns = xd_clock_ns() + g->timeout_ms * XD_MS_NS;
    return g->transport->open(&g->pipe, &target, err);
}

static int say_how(gateway *g)
{
    char text[600];
    snprintf(text, sizeof(text), "%.200s: %s", g->spec.text, g->choice.why);
    return *g->choice.why ? xd_gateway_note(g, XD_NOTE_DETAIL, xd_bytes_str(text)) : 0;
}

/* What was chosen cannot do it, which the far end has shown: the other one dials. */
static int dial_otherwise(gateway *g, const xd_error *why)
{
    xd_gateway_drop_pipe(g, 0, NULL, 0);
    g->transport = g->choice.other;
    g->choice.other = NULL;
    snprintf(g->choice.why, sizeof(g->choice.why), "another way is tried: %.250s", why->text);
    return xd_actor_set_tick(g->actor, 1);
}

int xd_gateway_dial(gateway *g)
{
    xd_error err = { 0 };
    if (!g->pipe)
        XD_TRY(say_how(g));
    const uint64_t now = xd_clock_ns(); /* before the pipe is asked: it gives up earlier, and can say why */
    int            r = g->pipe ? 0 : open_pipe(g, &err);
    if (r == 0)
        r = g->transport->opened(g->pipe, &err);
    if (r == -EOPNOTSUPP && g->choice.other)
        return dial_otherwise(g, &err);
    if (r < 0)
        return xd_gateway_go_down(g, *err.text ? err.text : xd_error_name(r));
    if (r == 0 && now >= g->deadline_ns)
        return xd_gateway_go_down(g, "the connection could not be made in time");
    if (r == 2) /* the user has the time it takes to answer; what is left to do then has its own */
        g->deadline_ns = xd_clock_ns() + g->timeout_ms * XD_MS_NS;
    XD_TRY(xd_actor_set_tick(g->actor, OPEN_TICK_MS));
    return r == 1 ? xd_gateway_greet(g) : xd_gateway_watch(g);
}
