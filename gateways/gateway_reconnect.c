/* gateways/gateway_reconnect.c - see gateway_state.h: a pipe that is cut, and another one that takes the session up.
 *
 *   UP -> AWAY: reopen, opened -> RETURNING: WELCOME with the agent's token and the last record taken; its HELLO with its own
 *   -> UP: what it has not taken is sent again
 *
 * The agent does the same at its end (tools/xdagent/reconnect.c). What this gateway has taken is on its way to the journal,
 * whatever becomes of the pipe; what it has not is sent again. A pipe that is cut before HELLO came is replaced too, and the
 * greeting begins anew. An agent that has ended cannot be dialled: the environment is lost at once. It is the same when another host
 * answers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "gateways/gateway_state.h"

#define AGAIN_MIN_MS 20u
#define AGAIN_MAX_MS 1000u
#define OPEN_TICK_MS 100u
#define REFUSED_MS 5000u /* after a refusal of the user: hosts lock out who tries too often */
#define HELLO_MS 10000u  /* on another pipe; it may lead nowhere, too */

static bool can_return(const gateway *g)
{
    if (!g->transport->reopen || !g->reconnect_ms || g->bye || g->last_words)
        return false;
    return !g->greeted || (g->capabilities & XD_CAP_RECONNECT);
}

static int give_up(gateway *g)
{
    char        why[1400];
    const char *last = *g->again_why ? "; the last attempt: " : "";
    if (g->greeted)
        snprintf(why, sizeof(why), "%s, and nothing took it up again within %.3g s%s%s", g->cut_why,
                 g->reconnect_ms / 1000.0, last, g->again_why);
    else
        snprintf(why, sizeof(why), "%s, and not within the time for it%s%s", g->cut_why, last, g->again_why);
    return xd_gateway_go_down(g, why);
}

static int wait_ms(gateway *g, uint64_t ms)
{
    return xd_actor_set_tick(g->actor, g->stuck ? RETRY_MS : (uint32_t)XD_MAX(ms, (uint64_t)1));
}

/* This attempt came to nothing. */
static int wait_a_little(gateway *g)
{
    g->state = AWAY;
    g->reopening = false;
    g->again_ns = xd_clock_ns() + g->again_ms * XD_MS_NS;
    XD_TRY(xd_gateway_watch(g));
    XD_TRY(wait_ms(g, g->again_ms));
    g->again_ms = XD_MIN(2 * g->again_ms, AGAIN_MAX_MS);
    return 0;
}

static int greet_again(gateway *g)
{
    g->reopening = false;
    g->again_ns = xd_clock_ns() + HELLO_MS * XD_MS_NS;
    if (!g->greeted)
        return xd_gateway_greet(g);
    g->state = RETURNING;
    XD_TRY(xd_stream_out_add(&g->tx, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN));
    return xd_gateway_send_welcome(g, (xd_bytes){ g->token, XD_TOKEN_LEN });
}

/* What the host that answers now has told: it will not change. */
static int nobody_there(gateway *g, const xd_error *err)
{
    char why[1400];
    snprintf(why, sizeof(why), "%s%s%s", g->cut_why, *err->text ? "; dialled again: " : "", err->text);
    return xd_gateway_ended(g, why);
}

static int reopen(gateway *g)
{
    xd_error err = { 0 };
    int      r = g->reopening ? 0 : g->transport->reopen(g->pipe, &err);
    g->reopening = r == 0;
    if (r == 0)
        r = g->transport->opened(g->pipe, &err);
    if (r == -ESRCH || r == -EKEYREJECTED)
        return nobody_there(g, &err);
    if (r < 0) {
        snprintf(g->again_why, sizeof(g->again_why), "%s", *err.text ? err.text : xd_error_name(r));
        xd_log_write(xd_actor_log(g->actor), XD_LOG_DEBUG, "gateway %u: not dialled again: %s",
                     (unsigned)g->number, g->again_why);
        if (r == -EACCES)
            g->again_ms = XD_MAX(g->again_ms, REFUSED_MS);
        return wait_a_little(g);
    }
    if (r == 1)
        return greet_again(g);
    XD_TRY(wait_ms(g, OPEN_TICK_MS));
    return xd_gateway_watch(g);
}

int xd_gateway_cut(gateway *g, const char *why)
{
    return xd_gateway_cut_since(g, why, xd_clock_ns());
}

int xd_gateway_cut_since(gateway *g, const char *why, uint64_t since_ns)
{
    const bool first = g->state != AWAY && g->state != RETURNING;
    if (!can_return(g))
        return xd_gateway_ended(g, why);
    if (++g->cuts > g->cuts_max)
        return xd_gateway_drop_peer(g, "the connection to the agent is cut again and again");
    if (first) {
        snprintf(g->cut_why, sizeof(g->cut_why), "%s", why);
        g->cut_ns = since_ns;
        g->again_ms = AGAIN_MIN_MS;
        g->again_why[0] = 0;
    }
    xd_gateway_unwatch(g);
    xd_gateway_sync_end(g);
    xd_stream_in_release(&g->rx);
    xd_stream_in_init(&g->rx, true);
    xd_stream_out_written(&g->tx, xd_stream_out_pending(&g->tx)); /* the session has what counts of it */
    g->deaf = false;
    g->pinged = 0;
    g->broken[0] = 0;
    g->looked_ns = 0;
    g->silent_ms = 0;
    g->holds_back = false; /* all that is not acknowledged is sent again */
    g->state = AWAY;
    return first ? reopen(g) : wait_a_little(g);
}

int xd_gateway_reconnect(gateway *g)
{
    uint64_t now = xd_clock_ns();
    uint64_t end = g->greeted ? g->cut_ns + g->reconnect_ms * XD_MS_NS : g->deadline_ns;
    if (now >= end)
        return give_up(g);
    if (g->state == AWAY && (g->reopening || now >= g->again_ns))
        return reopen(g);
    if (g->state == RETURNING && now >= g->again_ns) {
        snprintf(g->again_why, sizeof(g->again_why), "the agent has not said HELLO again in time");
        return xd_gateway_cut(g, g->again_why);
    }
    uint64_t until = g->state == AWAY ? XD_MIN(g->again_ns, end) : end;
    return wait_ms(g, XD_MIN((until - now) / XD_MS_NS + 1, (uint64_t)OPEN_TICK_MS));
}

/* ---- HELLO on another pipe ------------------------------------------------------------------------------- */

typedef struct resend {
    gateway *g;
    uint32_t n;
} resend;

static int send_again(void *arg, xd_bytes frame)
{
    resend *r = arg;
    r->n++;
    return xd_stream_out_add(&r->g->tx, frame.ptr, frame.len);
}

static int say_returned(gateway *g, uint32_t sent_again)
{
    char text[480];
    snprintf(text, sizeof(text),
             "%.300s: the connection was cut, and taken up again after %.2f s; %" PRIu32
             " records sent again",
             g->spec.text, (double)(xd_clock_ns() - g->cut_ns) / (double)XD_S_NS, sent_again);
    return xd_gateway_note(g, XD_NOTE_DETAIL, xd_bytes_str(text));
}

int xd_gateway_on_return(gateway *g, const xd_frame *f)
{
    xd_wire_HELLO h;
    resend        again = { .g = g };
    if (f->type != XD_MSG_HELLO || xd_wire_HELLO_decode(f->body, f->len, &h) < 0)
        return xd_gateway_bad_peer(
            g, "what answered where the agent was dialled again did not begin with HELLO");
    if (h.token.len != XD_TOKEN_LEN || memcmp(h.token.ptr, g->token, XD_TOKEN_LEN) != 0)
        return xd_gateway_bad_peer(g, "another agent answered where it was dialled again (another token)");
    if (h.session != g->session && h.session != 0) /* 0: WELCOME was cut off */
        return xd_gateway_bad_peer(g, "the agent came back with another session");
    switch (xd_session_tx_taken(g->sent, h.last)) {
    case -EPROTO:
        return xd_gateway_bad_peer(g, "the agent came back and had taken commands that were never sent");
    case -ESTALE:
        return xd_gateway_bad_peer(g, "the agent came back without commands that it had acknowledged");
    default:
        (void)!xd_session_tx_acked(g->sent, h.last);
    }
    g->state = UP;
    if (g->acked)
        XD_TRY(xd_gateway_send_ack(g)); /* one may have been on its way */
    XD_TRY(xd_session_tx_resend(g->sent, h.last, send_again, &again));
    XD_TRY(say_returned(g, again.n));
    g->ping_ns = 0;
    XD_TRY(again.n ? xd_gateway_expect_answer(g) : g->stuck ? 0 : xd_gateway_next_tick(g));
    XD_TRY(xd_gateway_sync_begin(g));
    return xd_gateway_flush(g);
}
