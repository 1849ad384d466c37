/* gateways/agent_tunnel.c - see agent_tunnel.h. */
#include "gateways/agent_tunnel.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"

#define END_NS (8 * XD_S_NS) /* an agent whose pipe is closed ends all it started within so long */
#define LAST_WORDS_NS (2 * XD_S_NS)
#define FULL_NS (5 * XD_MS_NS)

static void close_one(xd_agent_tunnel *e, int *fd)
{
    if (*fd < 0)
        return;
    (void)xd_poller_remove(e->poller, *fd);
    close(*fd);
    *fd = -1;
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    *((xd_agent_tunnel *)arg)->moved = true; /* xd_agent_tunnel_care does it */
}

static void drop_tunnel(xd_agent_tunnel *e)
{
    if (e->has_tunnel)
        xd_tunnel_release(&e->tunnel);
    e->has_tunnel = e->full = false;
}

/* ---- begin ------------------------------------------------------------------------------------------------------- */

int xd_agent_tunnel_start(xd_agent_tunnel *e, const xd_agent_child_args *args, xd_poller *poller, bool *moved,
                          xd_tunnel_send_fn send, void *arg, xd_error *err)
{
    *e = (xd_agent_tunnel){ .poller = poller,
                            .moved = moved,
                            .send = send,
                            .arg = arg,
                            .phase = XD_AGENT_AWAY,
                            .pidfd_watched = -1 };
    XD_TRY(xd_agent_child_start(args, &e->child, err));
    if (e->child.proc.pidfd >= 0 &&
        xd_poller_set(e->poller, e->child.proc.pidfd, XD_POLL_IN, on_ready, e) == 0)
        e->pidfd_watched = e->child.proc.pidfd;
    return 0;
}

int xd_agent_tunnel_connect(xd_agent_tunnel *e)
{
    if (e->child.in < 0) {
        if (xd_fdpipe_redial(e->child.redial, &e->child.in, NULL) < 0)
            return -ENOTCONN;
        e->child.out = e->child.in;
    }
    XD_TRY(xd_tunnel_init(&e->tunnel, e->child.in, e->child.text, -1, e->send, e->arg));
    e->has_tunnel = e->connected = true;
    e->phase = XD_AGENT_UP;
    return 0;
}

int xd_agent_tunnel_frame(xd_agent_tunnel *e, const xd_frame *f)
{
    return e->has_tunnel ? xd_tunnel_frame(&e->tunnel, f) : 0;
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

void xd_agent_tunnel_cut(xd_agent_tunnel *e)
{
    e->connected = false;
    drop_tunnel(e);
    close_one(e, &e->child.in);
    if (e->child.text >= 0) /* nobody hears it: it must not stop the agent */
        (void)!xd_poller_set(e->poller, e->child.text, 0, on_ready, e);
    if (e->phase == XD_AGENT_UP)
        e->phase = XD_AGENT_AWAY;
}

void xd_agent_tunnel_end(xd_agent_tunnel *e)
{
    if (e->phase >= XD_AGENT_ENDS)
        return;
    e->phase = XD_AGENT_ENDS;
    e->kill_ns = xd_clock_ns() + END_NS;
    if (e->child.redial >= 0)
        close(e->child.redial);
    e->child.redial = -1;
    *e->moved = true;
}

/* The agent's process has ended: how. */
static void look_at_process(xd_agent_tunnel *e, uint64_t now)
{
    xd_proc_status status;
    char           name[32];
    if (e->exited || xd_proc_wait(&e->child.proc, false, &status) != 1)
        return;
    e->exited = true;
    e->tell_ns = now + LAST_WORDS_NS;
    e->good = status.exit_status == 0 && !status.signal;
    if (status.signal)
        snprintf(e->how, sizeof(e->how), "the agent was killed by %s",
                 xd_os_signal_name(status.signal, name, sizeof(name)));
    else if (status.exit_status > 0)
        snprintf(e->how, sizeof(e->how), "the agent ended with status %d", status.exit_status);
    else
        snprintf(e->how, sizeof(e->how), "the agent ended");
    if (e->pidfd_watched >= 0)
        (void)xd_poller_remove(e->poller, e->pidfd_watched);
    e->pidfd_watched = -1;
    e->phase = XD_AGENT_TELLS;
}

/* Text of an agent that nobody listens to. */
static void drain_text(xd_agent_tunnel *e)
{
    uint8_t room[4096];
    for (int i = 0; i < 16 && e->child.text >= 0; i++) {
        ssize_t n = xd_os_read_some(e->child.text, room, sizeof(room));
        if (n == -EAGAIN)
            return;
        if (n <= 0)
            close_one(e, &e->child.text);
    }
}

static int pump(xd_agent_tunnel *e)
{
    uint32_t fd, text, unused;
    if (!e->has_tunnel)
        return 0;
    int r = xd_tunnel_pump(&e->tunnel);
    XD_TRY(r);
    e->full = r == 1;
    if (e->tunnel.over && e->child.in >= 0) /* no events of it any more */
        (void)xd_poller_remove(e->poller, e->child.in);
    xd_tunnel_wants(&e->tunnel, &fd, &text, &unused);
    if (e->child.in >= 0 && !(e->tunnel.over && fd == 0))
        XD_TRY(xd_poller_set(e->poller, e->child.in, fd, on_ready, e));
    if (e->tunnel.text_over && e->child.text >= 0) {
        close_one(e, &e->child.text);
        e->tunnel.text_in = -1;
    }
    if (e->child.text >= 0)
        XD_TRY(xd_poller_set(e->poller, e->child.text, text, on_ready, e));
    return 0;
}

/* The controller has closed its end: so is the agent's, once all has been written. */
static void follow_close(xd_agent_tunnel *e)
{
    if (e->has_tunnel && e->tunnel.closed && xd_tunnel_written(&e->tunnel) && e->phase == XD_AGENT_UP)
        xd_agent_tunnel_end(e);
}

/* Ends the agent's pipe, and later the agent. */
static void press(xd_agent_tunnel *e, uint64_t now)
{
    if (e->phase != XD_AGENT_ENDS)
        return;
    if (e->child.in >= 0) {
        if (e->has_tunnel) {
            e->tunnel.fd = -1;
            e->tunnel.over = true;
        }
        close_one(e, &e->child.in);
    }
    if (e->child.proc.pid > 0 && !e->continued && now + END_NS / 2 >= e->kill_ns) {
        e->continued = true;
        (void)xd_proc_kill_group(&e->child.proc,
                                 SIGCONT); /* a stopped one does not see that its pipe is closed */
    }
    if (e->child.proc.pid > 0 && now >= e->kill_ns) {
        e->kill_ns = now + XD_S_NS;
        (void)xd_proc_kill(&e->child.proc, SIGKILL);
    }
}

/* 1 = told, or there is nobody to be told. */
static int tell_end(xd_agent_tunnel *e, uint64_t now)
{
    xd_autobuf message = XD_BUF_INIT;
    if (e->phase != XD_AGENT_TELLS)
        return 0;
    if (!e->connected)
        return 1;
    const bool all = !e->has_tunnel ||
                     (e->tunnel.text_over && (e->tunnel.over || e->child.in < 0) && e->tunnel.held.len == 0);
    if (!all && now < e->tell_ns)
        return 0;
    xd_wire_TUNNEL_ENDED m = { .how = xd_bytes_str(e->how) };
    XD_TRY(xd_wire_TUNNEL_ENDED_frame(&message, 0, 0, &m));
    int r = e->send(e->arg, xd_buf_view(&message));
    return r == -EAGAIN && now < e->tell_ns + LAST_WORDS_NS ? 0 : 1;
}

int xd_agent_tunnel_care(xd_agent_tunnel *e, uint64_t now_ns, uint64_t *ret_next)
{
    look_at_process(e, now_ns);
    if (!e->connected)
        drain_text(e);
    const int broken = pump(e);
    follow_close(e);
    press(e, now_ns);
    if (broken < 0 && e->connected)
        return broken;
    if (tell_end(e, now_ns) != 0)
        return 1;
    uint64_t next = e->full ? now_ns + FULL_NS : UINT64_MAX;
    if (e->phase == XD_AGENT_ENDS)
        next = XD_MIN(next, XD_MIN(now_ns + 250 * XD_MS_NS, e->kill_ns));
    if (e->phase == XD_AGENT_TELLS)
        next = XD_MIN(next, now_ns + 20 * XD_MS_NS);
    if (e->pidfd_watched < 0 && !e->exited)
        next = XD_MIN(next, now_ns + 250 * XD_MS_NS);
    *ret_next = next;
    return 0;
}

void xd_agent_tunnel_release(xd_agent_tunnel *e)
{
    if (!e->exited) {
        xd_proc_status status;
        (void)xd_proc_kill(&e->child.proc, SIGKILL);
        (void)!xd_proc_wait(&e->child.proc, true, &status);
    }
    drop_tunnel(e);
    if (e->pidfd_watched >= 0)
        (void)xd_poller_remove(e->poller, e->pidfd_watched);
    close_one(e, &e->child.in);
    close_one(e, &e->child.text);
    if (e->child.redial >= 0)
        close(e->child.redial);
    xd_proc_close(&e->child.proc);
}
