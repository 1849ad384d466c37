/* HELLO and WELCOME, and a session that goes on when its pipe was cut.
 * The controller brings another pipe over a socket of its own (--redial). The end of that socket is the end of the
 * controller, or its wish: then this agent ends at once, as it does where there is no such socket. On the new pipe the
 * controller speaks first and shows the token of our HELLO; a stranger hears nothing. Both then say how far they have come, and
 * send again what follows. Meanwhile the workers run on, as far as the credit of the session goes. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

int agent_link_hello(agent *a)
{
    agent_link *l = &a->link;
    char        host[256], system[512];
    xd_autobuf  body = XD_BUF_INIT;
    xd_os_names(host, sizeof(host), system, sizeof(system));
    xd_wire_HELLO m = { .version_min = XD_WIRE_VERSION_MIN,
                        .version_max = XD_WIRE_VERSION,
                        .capabilities = XD_CAP_ALL & ~(uint64_t)(l->redial < 0 ? XD_CAP_RECONNECT : 0),
                        .build_id = xd_bytes_str(XD_BUILD_ID),
                        .host = xd_bytes_str(host),
                        .system = xd_bytes_str(system),
                        .pid = (uint32_t)getpid(),
                        .cpus = xd_os_cpus(),
                        .memory_bytes = xd_os_memory_bytes(),
                        .session = l->id,
                        .last = l->seen.last,
                        .token = { l->token, l->redial < 0 ? 0 : sizeof(l->token) } };
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
    l->give_up_ns = UINT64_MAX;
    xd_session_tx_window(l->session, m->window_frames, m->window_bytes);
    if (again) {
        a->progress_shown = true; /* what runs now is told anew */
        XD_TRY(agent_link_hello(a));
    }
    return xd_session_tx_resend(l->session, m->last, send_again, a);
}

/* ---- pipes that are brought ------------------------------------------------------------------------------ */

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
    if (a->link.next >= 0)
        close(a->link.next);
    a->link.next = pipe;
}

int agent_link_redial(agent *a)
{
    agent_link *l = &a->link;
    if (l->redial < 0)
        return 0;
    if (getrandom(l->token, sizeof(l->token), 0) != (ssize_t)sizeof(l->token))
        return -EIO;
    XD_TRY(xd_os_nonblock(l->redial, true));
    return xd_poller_set(a->poller, l->redial, XD_POLL_IN, on_redial, a);
}

int agent_link_care(agent *a, uint64_t now_ns)
{
    agent_link *l = &a->link;
    if (l->broken || l->next >= 0)
        agent_link_detach(a);
    if (l->in < 0 && (l->redial < 0 || (l->known && !l->reconnect_ns)))
        l->lost = true;
    if (l->lost || l->in >= 0)
        return 0;
    if (l->give_up_ns == UINT64_MAX && l->known) /* before that, the controller has a limit of its own */
        l->give_up_ns = now_ns + l->reconnect_ns;
    if (now_ns >= l->give_up_ns) {
        fputs("xdagent: the connection was cut and nobody has taken it up again\n", stderr);
        l->lost = true;
    }
    if (l->lost || l->next < 0)
        return 0;
    int pipe = l->next;
    l->next = -1;
    l->brought = true;
    XD_TRY(agent_link_attach(a, pipe, pipe));
    return l->known ? 0 : agent_link_hello(a);
}
