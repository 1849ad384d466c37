/* gateways/gateway.c - see gateway.h and gateway_state.h: the actor. */
#include "gateways/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "gateways/gateway_state.h"

#define OUT_MAX (64u << 20) /* unread by the agent: more than any correct run has */
#define FIRST_TO_AGENT 16u
#define FIRST_FROM_AGENT 32u

/* Whoever paused may be about to stop this whole process. */
static int tell_paused(gateway *g)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, XD_MSG_PAUSED, NULL, 0));
    m->gateway = g->number;
    return xd_actor_send(g->actor, g->sched, &m);
}

/* A record of the scheduler: numbered, so that a connection that comes back can tell what arrived. */
static int on_command(void *state, const xd_msg *in)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    xd_frame f;
    xd_bytes numbered;
    uint64_t before = xd_session_tx_last(g->sent);
    XD_TRY(xd_msg_frame(in, &f));
    if (f.type < FIRST_TO_AGENT || f.type >= FIRST_FROM_AGENT)
        return 0;                  /* not for an agent */
    if (!xd_gateway_in_session(g)) /* GATEWAY_DOWN told, or will tell, that nothing arrives here */
        return f.type == XD_MSG_PAUSE ? tell_paused(g) : 0;
    if (XD_MAX(xd_stream_out_pending(&g->tx), xd_session_tx_outstanding_bytes(g->sent)) + in->body.len >
        OUT_MAX)
        return xd_gateway_drop_peer(g, "the agent no longer reads its commands");
    XD_TRY(xd_check_command(g->check, &f));
    XD_TRY(xd_session_tx_push(g->sent, in->body.ptr, in->body.len, &numbered));
    if (g->state == UP && xd_gateway_overdue(g)) {
        g->held_after = g->holds_back ? g->held_after : before;
        g->holds_back = true;
    } else if (g->state == UP) { /* else it is kept */
        XD_TRY(xd_stream_out_add(&g->tx, numbered.ptr, numbered.len));
        XD_TRY(xd_gateway_flush(g));
        if (!g->looked_ns)
            XD_TRY(xd_gateway_expect_answer(g));
    }
    return f.type == XD_MSG_PAUSE ? tell_paused(g) : 0;
}

/* The broker: everything up to here is in the journal. */
static int on_ack(void *state, const xd_msg *in)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    xd_frame f;
    XD_TRY(xd_msg_frame(in, &f));
    if (!xd_gateway_in_session(g) || f.type != XD_MSG_ACK)
        return 0;
    xd_wire_ACK a;
    XD_TRY(xd_wire_ACK_decode(f.body, f.len, &a));
    xd_check_acked(g->check, a.acked);
    g->acked = a.acked;
    if (g->state == UP)
        XD_TRY(xd_gateway_send_ack(g));
    if (!g->full || xd_check_full(g->check) || !xd_gateway_in_session(g))
        return 0;
    g->full = false;
    XD_TRY(xd_gateway_deliver(g));
    return xd_gateway_watch(g);
}

/* What the checks here cannot see, or the end of the journal: hang up. */
static int on_drop(void *state, const xd_msg *in)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    char     why[256];
    if (g->state == DOWN)
        return 0;
    snprintf(why, sizeof(why), "%.*s", (int)XD_MIN(in->body.len, (size_t)200), (const char *)in->body.ptr);
    g->bye = false;
    return xd_gateway_bad_peer(g, why);
}

static int on_dial(void *state, const xd_msg *in)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    (void)in;
    return g->state == DIALING && !g->pipe ? xd_gateway_dial(g) : 0;
}

/* The scheduler is gone: the engine is ending, and us with it. */
static int on_unknown(void *state, const xd_msg *in)
{
    (void)state;
    (void)in;
    return 0;
}

static int gateway_tick(void *state)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    if (g->state == DIALING)
        return xd_gateway_dial(g);
    if (g->state == GREETING && xd_clock_ns() >= g->deadline_ns)
        return xd_gateway_go_down(g, "the agent did not say HELLO in time");
    int r = xd_gateway_unstick(g);
    if (r != 0)
        return XD_MIN(r, 0);
    if (g->state == DOWN)
        return g->down_told ? xd_actor_set_tick(g->actor, 0) : xd_gateway_tell_down(g);
    if (*g->broken)
        return xd_gateway_cut(g, g->broken);
    if (g->state == AWAY)
        return xd_gateway_reconnect(g);
    if (g->state == RETURNING)
        XD_TRY(xd_gateway_reconnect(g));
    if (g->state == UP) {
        XD_TRY(xd_gateway_look_for_silence(g));
        XD_TRY(g->state == UP ? xd_gateway_next_tick(g) : 0);
    }
    XD_TRY(xd_gateway_deliver(g));
    return xd_gateway_watch(g);
}

static int gateway_init(void *state, xd_actor *actor, const void *args)
{
    const xd_gateway_args *a = args;
    gateway               *g = state;
    *g = (gateway){ .magic = GATEWAY_MAGIC,
                    .actor = actor,
                    .transport = a->choice.transport,
                    .choice = a->choice,
                    .number = a->number,
                    .agent = a->target.agent ? strdup(a->target.agent) : NULL,
                    .dir = a->target.dir ? strdup(a->target.dir) : NULL,
                    .cache_dir = a->target.cache_dir ? strdup(a->target.cache_dir) : NULL,
                    .scratch_dir = a->target.scratch_dir ? strdup(a->target.scratch_dir) : NULL,
                    .sched = strdup(a->sched),
                    .collector = strdup(a->collector),
                    .syncer = a->syncer ? strdup(a->syncer) : NULL,
                    .sync_fd = -1,
                    .output_limit = a->target.output_limit,
                    .ssh_accept_new = a->target.ssh_accept_new,
                    .listen = a->target.listen,
                    .seat = a->target.seat,
                    .keys = a->target.keys ? strdup(a->target.keys) : NULL,
                    .foreign = a->foreign,
                    .junit_path = a->junit_path ? strdup(a->junit_path) : NULL,
                    .session = a->session,
                    .window_frames = a->window_frames ? a->window_frames : 1024,
                    .window_bytes = a->window_bytes ? a->window_bytes : 4u << 20,
                    .timeout_ms = a->timeout_ms ? a->timeout_ms : 20000,
                    .silence_ms = a->silence_ms ? a->silence_ms : 60000,
                    .reconnect_ms = a->reconnect_ms,
                    .cuts_max = a->cuts_max ? a->cuts_max : 2000,
                    .turn_fd = -1,
                    .seen = XD_SESSION_RX_INIT };
    XD_TRY(xd_xspec_copy(&g->spec, a->target.spec));
    if (!g->sched || !g->collector || (a->syncer && !g->syncer) || (a->junit_path && !g->junit_path) ||
        (a->target.agent && !g->agent) || (a->target.keys && !g->keys) || (a->target.dir && !g->dir) ||
        (a->target.cache_dir && !g->cache_dir) || (a->target.scratch_dir && !g->scratch_dir))
        return -ENOMEM;
    xd_stream_in_init(&g->rx, true);
    XD_TRY(xd_session_tx_new(&g->sent, UINT32_MAX, UINT32_MAX));
    XD_TRY(xd_check_new(&g->check, g->window_frames, g->window_bytes));
    return a->waits ? 0 : xd_actor_set_tick(actor, 1); /* the first tick dials */
}

/* Asked to end: without its pipe the agent ends everything it started. What is still being opened is given up at
 * once. */
static int gateway_stop(void *state)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    uint32_t grace_ms = xd_gateway_grace_ms(g);
    xd_gateway_sync_end(g);
    xd_gateway_say_bye(g, &grace_ms);
    g->state = DOWN;
    xd_gateway_drop_pipe(g, grace_ms, NULL, 0);
    return XD_ACTOR_STOP;
}

static void gateway_fini(void *state)
{
    gateway *g = state;
    if (g->magic != GATEWAY_MAGIC) /* its init was not reached */
        return;
    uint32_t grace_ms = xd_gateway_grace_ms(g);
    xd_gateway_say_bye(g, &grace_ms);
    xd_gateway_drop_pipe(g, grace_ms, NULL, 0);
    xd_gateway_sync_end(g);
    xd_stream_in_release(&g->rx);
    xd_stream_out_release(&g->tx);
    g->sent = xd_session_tx_free(g->sent);
    g->check = xd_check_free(g->check);
    xd_buf_release(&g->frame);
    xd_buf_release(&g->line);
    g->stuck = xd_msg_free(g->stuck);
    if (g->turn_fd >= 0)
        close(g->turn_fd);
    xd_xspec_release(&g->spec);
    free(g->agent);
    free(g->dir);
    free(g->keys);
    free(g->cache_dir);
    free(g->scratch_dir);
    free(g->sched);
    free(g->collector);
    free(g->syncer);
    free(g->junit_path);
}

const xd_actor_spec xd_gateway_spec = {
    .name = "gateway",
    .size = sizeof(gateway),
    .window = 65536,
    .init = gateway_init,
    .tick = gateway_tick,
    .stop = gateway_stop,
    .fini = gateway_fini,
    .handlers = (const xd_handler[]){ { XD_MSG_ACK, on_ack },
                                      { XD_MSG_DROP, on_drop },
                                      { XD_MSG_DIAL, on_dial },
                                      { XD_MSG_UNKNOWN, on_unknown },
                                      { 0 } },
    .other = on_command,
};

void xd_gateway_address(uint16_t number, char *ret, size_t size)
{
    snprintf(ret, size, "gateway.%u", (unsigned)number);
}
