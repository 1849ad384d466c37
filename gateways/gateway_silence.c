/* gateways/gateway_silence.c - see gateway_state.h: PING, and agents that do not answer. */
#include <stdio.h>

#include "engine/base/clock.h"
#include "gateways/gateway_state.h"

#define SILENCE_TICK_MS 1000u
#define BEAT_MS 5000u     /* CAP_BEAT */
#define NOWHERE_MS 15000u /* a pipe to another host that has brought nothing for so long leads nowhere */

/* An agent on another host does not see that this one is gone when no packet says so. */
static bool beats(const gateway *g)
{
    return (g->capabilities & (XD_CAP_BEAT | XD_CAP_PING)) == (XD_CAP_BEAT | XD_CAP_PING);
}

/* Nothing has come for so long, although nothing was asked either: PING. */
static uint32_t quiet_ms(const gateway *g)
{
    const uint32_t ms = XD_MAX(g->silence_ms / 4, 1u);
    return beats(g) ? XD_MIN(ms, BEAT_MS) : ms;
}

int xd_gateway_next_tick(gateway *g)
{
    return xd_actor_set_tick(g->actor, g->looked_ns ? XD_MIN(SILENCE_TICK_MS, quiet_ms(g)) : quiet_ms(g));
}

int xd_gateway_expect_answer(gateway *g)
{
    g->looked_ns = xd_clock_ns();
    g->silent_ms = 0;
    return g->stuck || g->state != UP ? 0 : xd_gateway_next_tick(g);
}

static int ping(gateway *g)
{
    xd_wire_PING m = { 0 };
    g->pinged++;
    xd_buf_clear(&g->frame);
    XD_TRY(xd_wire_PING_frame(&g->frame, 0, 0, &m));
    XD_TRY(xd_gateway_send_loose(g, &g->frame));
    return g->looked_ns ? 0 : xd_gateway_expect_answer(g);
}

/* Nothing is owed. */
static int ping_if_quiet(gateway *g, uint64_t now_ns)
{
    if (!(g->capabilities & XD_CAP_PING) || xd_gateway_holds(g) || now_ns < g->ping_ns)
        return 0;
    g->ping_ns = now_ns + quiet_ms(g) * XD_MS_NS;
    if (!g->heard)
        return ping(g);
    g->heard = false;
    return 0;
}

/* A tick that comes later than this was late because this process did not run. One alone is never the whole limit. */
static uint64_t most_of_a_tick(const gateway *g)
{
    return XD_MIN(2 * SILENCE_TICK_MS, XD_MAX(g->silence_ms / 2, 1u));
}

bool xd_gateway_overdue(const gateway *g)
{
    return beats(g) && g->looked_ns && g->silent_ms + SILENCE_TICK_MS >= BEAT_MS && !xd_gateway_holds(g);
}

static int write_it(void *arg, xd_bytes frame)
{
    return xd_stream_out_add(&((gateway *)arg)->tx, frame.ptr, frame.len);
}

int xd_gateway_let_go(gateway *g)
{
    g->silent_ms = 0;
    g->heard = true;
    if (!g->holds_back)
        return 0;
    g->holds_back = false;
    XD_TRY(xd_session_tx_resend(g->sent, g->held_after, write_it, g));
    return xd_gateway_flush(g);
}

static int beat(gateway *g, uint64_t now_ns)
{
    if (!beats(g) || now_ns < g->ping_ns)
        return 0;
    if (xd_gateway_overdue(g))
        return 0;
    g->ping_ns = now_ns + quiet_ms(g) * XD_MS_NS;
    return ping(g);
}

/* An agent acknowledges commands and answers PING at once whatever its processes do: one that does not is stopped,
 * or no agent, or its pipe leads nowhere: packets may be dropped, at a host or by what stands in between, and nobody says so.
 * Another pipe to the same agent is tried first. Time in which this process was stopped itself (Ctrl-Z), or did not read, is
 * not the agent's. */
int xd_gateway_look_for_silence(gateway *g)
{
    uint64_t now = xd_clock_ns();
    char     why[128];
    if (g->state != UP)
        return 0;
    bool commands = xd_session_tx_outstanding(g->sent) > 0;
    if (!commands && !g->pinged)
        g->looked_ns = 0;
    if (!g->looked_ns)
        return beats(g) ? beat(g, now) : ping_if_quiet(g, now);
    uint64_t ms = (now - g->looked_ns) / XD_MS_NS;
    g->looked_ns = now;
    if (!xd_gateway_holds(g))
        g->silent_ms += (uint32_t)XD_MIN(ms, most_of_a_tick(g));
    if (beats(g) && g->silent_ms >= NOWHERE_MS && g->silent_ms < g->silence_ms) {
        snprintf(why, sizeof(why), "nothing has come from there for %u s", g->silent_ms / 1000u);
        return xd_gateway_cut_since(g, why, g->wrote_ns);
    }
    if (g->silent_ms < g->silence_ms)
        return beat(g, now);
    snprintf(why, sizeof(why), "the agent is silent: for %u s it has not %s", g->silent_ms / 1000u,
             commands ? "acknowledged its commands" : "answered");
    return xd_gateway_drop_peer(g, why);
}
