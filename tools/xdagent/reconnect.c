/* HELLO and WELCOME, and a session that goes on when its pipe was cut.
 * The controller brings another pipe over a socket of its own (--redial). The end of that socket is the end of the
 * controller, or its wish: then this agent ends at once, as it does where there is no such socket. On the new pipe the
 * controller speaks first and shows the token of our HELLO; a stranger hears nothing. Both then say how far they have come, and
 * send again what follows. Meanwhile the workers run on, as far as the credit of the session goes.
 * On another host pipes come by attach.c, and an end of the pipe alone does not say whether the controller is gone: it says BYE
 * before it hangs up, and without that the time to wait for another pipe is all that such an agent lives on. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define SILENT_NS \
    (15 * XD_S_NS) /* CAP_BEAT: so long it waits in any case, if nothing says that the pipe is cut */
#define BEAT_NS (5 * XD_S_NS)     /* between two of them */
#define STOPPED_NS (8 * XD_S_NS)  /* between two turns: this process was stopped */
#define UNKNOWN_NS (30 * XD_S_NS) /* that an agent which nobody has greeted waits for another pipe */

static uint64_t capabilities(const agent_link *l)
{
    uint64_t all = XD_CAP_ALL;
#ifndef XD_WITH_ZSTD
    all &= ~(uint64_t)XD_CAP_ZSTD;
#endif
    return agent_link_returns(l) ? all : all & ~(uint64_t)XD_CAP_RECONNECT;
}

int agent_link_hello(agent *a)
{
    agent_link *l = &a->link;
    char        host[256], system[512];
    xd_autobuf  body = XD_BUF_INIT;
    xd_os_names(host, sizeof(host), system, sizeof(system));
    xd_wire_HELLO m = { .version_min = XD_WIRE_VERSION_MIN,
                        .version_max = XD_WIRE_VERSION,
                        .capabilities = capabilities(l),
                        .build_id = xd_bytes_str(XD_BUILD_ID),
                        .host = xd_bytes_str(host),
                        .system = xd_bytes_str(system),
                        .pid = (uint32_t)getpid(),
                        .cpus = xd_os_cpus(),
                        .memory_bytes = xd_os_memory_bytes(),
                        .session = l->id,
                        .last = l->seen.last,
                        .token = { l->token, agent_link_returns(l) ? sizeof(l->token) : 0 } };
    XD_TRY(xd_stream_out_add(&l->tx, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN));
    XD_TRY(xd_wire_HELLO_encode(&body, &m));
    l->open = true;
    l->seen.acked = l->seen.last;
    XD_TRY(agent_link_plain(a, XD_MSG_HELLO, xd_buf_view(&body)));
    if (l->brought) /* the guard tells what ran when we are killed */
        (void)!xd_os_send_fds(l->hand, "", 1, &l->out, 1);
    return 0;
}

/* This pipe is no good: whoever is at its other end hears why, and another one is awaited. */
static int refuse(agent *a, const char *why)
{
    xd_autobuf     body = XD_BUF_INIT;
    xd_wire_REFUSE m = { .version_min = XD_WIRE_VERSION_MIN,
                         .version_max = XD_WIRE_VERSION,
                         .reason = xd_bytes_str(why) };
    XD_TRY(xd_stream_out_add(&a->link.tx, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN));
    XD_TRY(xd_wire_REFUSE_encode(&body, &m));
    XD_TRY(agent_link_plain(a, XD_MSG_REFUSE, xd_buf_view(&body)));
    XD_TRY(agent_link_flush(a));
    a->link.broken = true;
    return 0;
}

static int send_again(void *arg, xd_bytes frame)
{
    agent *a = arg;
    return xd_stream_out_add(&a->link.tx, frame.ptr, frame.len);
}

int agent_link_welcome(agent *a, const xd_wire_WELCOME *m)
{
    agent_link *l = &a->link;
    const bool  shown = m->token.len == sizeof(l->token) && memcmp(m->token.ptr, l->token, m->token.len) == 0;
    if (l->known && !shown)
        return refuse(a, "the token is not the one of this session");
    if (l->known && m->session != l->id)
        return refuse(a, "this agent is in another session");
    if (xd_session_tx_taken(l->session, m->last) < 0)
        return l->known
                   ? refuse(a, "records are counted as taken that are not this agent's, or were forgotten")
                   : -EPROTO;
    const bool again = l->known;
    l->known = l->welcome = true;
    l->id = m->session;
    l->reconnect_ns = m->reconnect_ms * XD_MS_NS;
    l->beats = m->capabilities & XD_CAP_BEAT;
    l->give_up_ns = UINT64_MAX;
    xd_session_tx_window(l->session, m->window_frames, m->window_bytes);
    if (again) {
        a->progress_shown = true; /* what runs now is told anew */
        XD_TRY(agent_link_hello(a));
    }
    return xd_session_tx_resend(l->session, m->last, send_again, a);
}

/* ---- pipes that are brought ------------------------------------------------------------------------------ */

void agent_link_bring(agent *a, int in, int out, int by)
{
    agent_link *l = &a->link;
    const int   old[] = { l->next, l->next_out == l->next ? -1 : l->next_out, l->next_by };
    for (size_t i = 0; i < XD_ARRAY_LEN(old); i++)
        if (old[i] >= 0)
            close(old[i]);
    l->next = in;
    l->next_out = out;
    l->next_by = by;
}

static void on_redial(void *arg, int fd, uint32_t events)
{
    agent  *a = arg;
    char    byte;
    int     pipe = -1;
    size_t  n = 1;
    ssize_t got = xd_os_recv_fds(fd, &byte, 1, &pipe, &n);
    (void)events;
    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        a->link.lost = true; /* the leash: without a controller nothing of ours may go on */
        return;
    }
    if (n == 0)
        return;
    agent_link_bring(a, pipe, pipe, -1);
}

int agent_link_redial(agent *a)
{
    agent_link *l = &a->link;
    if (getrandom(l->token, sizeof(l->token), 0) != (ssize_t)sizeof(l->token))
        return -EIO;
    if (l->redial < 0)
        return 0;
    XD_TRY(xd_os_nonblock(l->redial, true));
    return xd_poller_set(a->poller, l->redial, XD_POLL_IN, on_redial, a);
}

/* Not while it is stopped (Ctrl-Z): it has said so. A pipe on which nothing is said at first may have been cut before WELCOME;
 * where the controller is on this host, it sees to that. */
uint64_t agent_link_silent_at(const agent *a)
{
    const agent_link *l = &a->link;
    const uint64_t    ns = XD_MAX(l->reconnect_ns, SILENT_NS);
    if (l->in < 0 || l->redial >= 0)
        return UINT64_MAX;
    if (!l->welcome)
        return l->heard_ns + (l->known ? ns : UNKNOWN_NS);
    return l->beats && !a->paused ? l->heard_ns + ns : UINT64_MAX;
}

/* Something came on the pipe. When this process was stopped it may have lain there for as long. */
void agent_link_heard(agent *a)
{
    const uint64_t now = xd_clock_ns();
    if (now - a->link.turn_ns < STOPPED_NS)
        a->link.heard_ns = now;
}

/* When the pipe that ends now was cut: the news of it may be late, but a controller that can be heard is, all the time. */
static uint64_t cut_ns(const agent_link *l, uint64_t now_ns)
{
    return l->known && l->beats ? XD_MIN(now_ns, l->heard_ns + BEAT_NS) : now_ns;
}

int agent_link_care(agent *a, uint64_t now_ns)
{
    agent_link *l = &a->link;
    if (now_ns >= agent_link_silent_at(a)) {
        fprintf(stderr, "xdagent: nothing was heard of xdctl for %u s: it or the connection is gone\n",
                (unsigned)((now_ns - l->heard_ns) / XD_S_NS));
        l->lost = true;
    }
    l->turn_ns = now_ns;
    if (l->broken || l->next >= 0)
        agent_link_detach(a);
    if (l->in < 0 && (!agent_link_returns(l) || (l->known && !l->reconnect_ns)))
        l->lost = true;
    if (l->lost || l->in >= 0)
        return 0;
    if (l->give_up_ns == UINT64_MAX)
        l->give_up_ns = cut_ns(l, now_ns) + (l->known ? l->reconnect_ns : UNKNOWN_NS);
    if (now_ns >= l->give_up_ns) {
        fputs("xdagent: the connection was cut and nobody has taken it up again\n", stderr);
        l->lost = true;
    }
    if (l->lost || l->next < 0)
        return 0;
    const int in = l->next, out = l->next_out;
    l->by = l->next_by;
    l->next = l->next_out = l->next_by = -1;
    l->brought = true;
    if (!l->known)
        l->give_up_ns = UINT64_MAX;
    XD_TRY(agent_link_attach(a, in, out));
    return l->known ? 0 : agent_link_hello(a);
}
