/* gateways/serve_session.c - see serve_state.h: agents, and the bytes between them and their controllers. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/serve_state.h"

#define END_NS (8 * XD_S_NS) /* an agent whose pipe is closed ends all it started within so long */
#define LAST_WORDS_NS (2 * XD_S_NS)
#define FULL_NS (5 * XD_MS_NS)

static void close_one(serve *s, int *fd)
{
    if (*fd < 0)
        return;
    (void)xd_poller_remove(s->poller, *fd);
    close(*fd);
    *fd = -1;
}

/* A peer that is gone takes nothing, but what it has said last is waited for (serve.c): so it is as one that is busy until it is forgotten. */
static int send_to_peer(void *arg, xd_bytes message)
{
    session *e = arg;
    peer    *p = e->peer;
    if (!p)
        return -EHOSTUNREACH;
    if (p->left_ns)
        return -EAGAIN;
    int r = xd_curve_server_send(e->serve->curve, &p->at, message);
    if (r == 0)
        p->said_ns = xd_clock_ns();
    if (r != -EHOSTUNREACH)
        return r;
    p->left_ns = xd_clock_ns();
    xd_front_drop(e->serve->front, p->number);
    return -EAGAIN;
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    ((session *)arg)->serve->moved = true; /* session_care does it */
}

static void drop_tunnel(session *e)
{
    if (e->has_tunnel)
        xd_tunnel_release(&e->tunnel);
    e->has_tunnel = e->full = false;
}

static int add_tunnel(session *e)
{
    XD_TRY(xd_tunnel_init(&e->tunnel, e->child.in, e->child.text, -1, send_to_peer, e));
    e->has_tunnel = true;
    return 0;
}

static void forget(session *e)
{
    serve    *s = e->serve;
    session **at = &s->sessions;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    s->n_sessions--;
    if (e->peer)
        e->peer->session = NULL;
    drop_tunnel(e);
    if (e->pidfd_watched >= 0)
        (void)xd_poller_remove(s->poller, e->pidfd_watched);
    close_one(s, &e->child.in);
    close_one(s, &e->child.text);
    if (e->child.redial >= 0)
        close(e->child.redial);
    xd_proc_close(&e->child.proc);
    free(e);
}

/* ---- begin ------------------------------------------------------------------------------------------------------- */

static int say_opened(session *e)
{
    xd_autobuf            message = XD_BUF_INIT;
    xd_wire_TUNNEL_OPENED m = { .version = XD_TUNNEL_SPOKEN,
                                .build_id = xd_bytes_str(XD_BUILD_ID),
                                .token = { e->token, sizeof(e->token) } };
    XD_TRY(xd_wire_TUNNEL_OPENED_frame(&message, 0, 0, &m));
    return send_to_peer(e, xd_buf_view(&message));
}

/* A key that is limited in what it may start starts no program of its own choice. */
static int choose_agent(const serve *s, const peer *p, xd_bytes wish, char **ret, xd_error *err)
{
    if (wish.len && (p->command || p->max_workers))
        return xd_error_set(err, -EACCES,
                            "your key may use the server's own agent alone, not another program");
    if (wish.len && (wish.ptr[0] != '/' || memchr(wish.ptr, 0, wish.len)))
        return xd_error_set(err, -EINVAL, "the path of an agent there has to be absolute");
    *ret = wish.len ? xd_bytes_dup(wish) : strdup(s->agent);
    return *ret ? 0 : -ENOMEM;
}

static int start_agent(serve *s, peer *p, const xd_wire_TUNNEL_OPEN *m, session **ret, xd_error *err)
{
    xd_autofree char *agent = NULL;
    XD_TRY(choose_agent(s, p, m->agent, &agent, err));
    const xd_agent_child_args args = { .agent = agent,
                                       .prefix = (const char *const *)p->command,
                                       .output_limit = m->output_limit,
                                       .max_workers = p->max_workers };
    xd_autobuf                who = XD_BUF_INIT;
    session                  *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    *e = (session){ .serve = s, .key = p->key, .id = s->started + 1, .pidfd_watched = -1 };
    int r = xd_text_last_words(&who, m->who, sizeof(e->who) - 1);
    if (r == 0) {
        snprintf(e->who, sizeof(e->who), "%s", xd_buf_cstr(&who));
        r = getrandom(e->token, sizeof(e->token), 0) == (ssize_t)sizeof(e->token) ? 0 : -EIO;
    }
    if (r == 0)
        r = xd_agent_child_start(&args, &e->child, err);
    if (r < 0) {
        free(e);
        return r;
    }
    e->next = s->sessions;
    s->sessions = e;
    s->n_sessions++;
    s->started++;
    *ret = e;
    return 0;
}

static void attach(session *e, peer *p)
{
    e->peer = p;
    p->session = e;
    p->had_session = true;
    e->phase = SESSION_UP;
}

void session_open(serve *s, peer *p, const xd_frame *f)
{
    xd_wire_TUNNEL_OPEN m;
    xd_error            err = { 0 };
    char                why[XD_ERROR_TEXT];
    session            *e = NULL;
    if (xd_wire_TUNNEL_OPEN_decode(f->body, f->len, &m) < 0) {
        serve_refuse(s, p, XD_TUNNEL_PROTOCOL, "TUNNEL_OPEN cannot be read");
        return;
    }
    if (m.version_min > XD_TUNNEL_SPOKEN || m.version_max < XD_TUNNEL_SPOKEN) {
        snprintf(
            why, sizeof(why),
            "it speaks versions %u to %u of the tunnel, this server %u; use the same release of xd on both",
            (unsigned)m.version_min, (unsigned)m.version_max, XD_TUNNEL_SPOKEN);
        serve_refuse(s, p, XD_TUNNEL_VERSION, why);
        return;
    }
    const uint32_t most = s->args->max_agents ? s->args->max_agents : XD_SERVE_AGENTS;
    if (s->stops || s->n_sessions >= most) {
        snprintf(why, sizeof(why),
                 s->stops ? "the server is about to end" : "%u agents run there already, and no more may",
                 (unsigned)most);
        serve_refuse(s, p, XD_TUNNEL_BUSY, why);
        return;
    }
    int r = start_agent(s, p, &m, &e, &err);
    if (r < 0) {
        snprintf(why, sizeof(why), "the agent cannot be started: %.900s",
                 *err.text ? err.text : xd_error_name(r));
        serve_refuse(s, p, XD_TUNNEL_NO_AGENT, why);
        return;
    }
    attach(e, p);
    if (e->child.proc.pidfd >= 0 &&
        xd_poller_set(s->poller, e->child.proc.pidfd, XD_POLL_IN, on_ready, e) == 0)
        e->pidfd_watched = e->child.proc.pidfd;
    serve_log(s, XD_LOG_INFO, "agent %llu (pid %d) for %s of %s, key %s (%s)", (unsigned long long)e->id,
              (int)e->child.proc.pid, e->who, p->address, p->print, p->comment);
    if (add_tunnel(e) < 0 || say_opened(e) < 0) {
        serve_refuse(s, p, XD_TUNNEL_NO_AGENT, "there is no memory");
        session_end(e);
    }
}

/* ---- a connection that is taken up ---------------------------------------------------------------------------------- */

static session *find_token(const serve *s, const peer *p, xd_bytes token)
{
    for (session *e = s->sessions; e; e = e->next)
        if (token.len == sizeof(e->token) && memcmp(token.ptr, e->token, sizeof(e->token)) == 0 &&
            xd_pubkey_eq(&e->key, &p->key))
            return e;
    return NULL;
}

void session_resume(serve *s, peer *p, const xd_frame *f)
{
    xd_wire_TUNNEL_RESUME m;
    if (xd_wire_TUNNEL_RESUME_decode(f->body, f->len, &m) < 0) {
        serve_refuse(s, p, XD_TUNNEL_PROTOCOL, "TUNNEL_RESUME cannot be read");
        return;
    }
    session *e = find_token(s, p, m.token);
    if (!e || e->phase == SESSION_ENDS || e->phase == SESSION_TELLS || e->exited) {
        serve_refuse(s, p, XD_TUNNEL_NO_AGENT, "the agent has ended");
        return;
    }
    if (e->peer) { /* whose end was not noticed here yet */
        peer *old = e->peer;
        session_cut(e);
        xd_front_drop(s->front, old->number);
    }
    if (xd_fdpipe_redial(e->child.redial, &e->child.in, NULL) < 0) {
        serve_refuse(s, p, XD_TUNNEL_NO_AGENT, "the agent takes no other pipe");
        return;
    }
    e->child.out = e->child.in;
    attach(e, p);
    serve_log(s, XD_LOG_INFO, "agent %llu is connected again, from %s", (unsigned long long)e->id,
              p->address);
    if (add_tunnel(e) < 0 || say_opened(e) < 0)
        session_cut(e);
}

void session_frame(serve *s, peer *p, const xd_frame *f)
{
    session *e = p->session;
    int      r = e->has_tunnel ? xd_tunnel_frame(&e->tunnel, f) : 0;
    if (r == 0)
        return;
    serve_log(s, XD_LOG_WARNING, "agent %llu: its controller at %s breaks the protocol (frame of type %u)",
              (unsigned long long)e->id, p->address, (unsigned)f->type);
    serve_refuse(s, p, XD_TUNNEL_PROTOCOL, "a message is against the protocol");
    session_end(e);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

void session_cut(session *e)
{
    if (e->peer)
        e->peer->session = NULL;
    e->peer = NULL;
    drop_tunnel(e);
    close_one(e->serve, &e->child.in);
    if (e->child.text >= 0) /* nobody hears it: it must not stop the agent */
        (void)!xd_poller_set(e->serve->poller, e->child.text, 0, on_ready, e);
    if (e->phase == SESSION_UP) {
        e->phase = SESSION_AWAY;
        serve_log(e->serve, XD_LOG_INFO, "agent %llu: its connection was cut", (unsigned long long)e->id);
    }
}

void session_end(session *e)
{
    if (e->phase == SESSION_ENDS || e->phase == SESSION_TELLS)
        return;
    e->phase = SESSION_ENDS;
    e->kill_ns = xd_clock_ns() + END_NS;
    if (e->child.redial >= 0)
        close(e->child.redial);
    e->child.redial = -1;
    e->serve->moved = true;
}

/* The agent's process has ended: how. */
static void look_at_process(session *e, uint64_t now)
{
    xd_proc_status status;
    char           name[32];
    if (e->exited || xd_proc_wait(&e->child.proc, false, &status) != 1)
        return;
    e->exited = true;
    e->tell_ns = now + LAST_WORDS_NS;
    if (status.signal)
        snprintf(e->how, sizeof(e->how), "the agent was killed by %s",
                 xd_os_signal_name(status.signal, name, sizeof(name)));
    else if (status.exit_status > 0)
        snprintf(e->how, sizeof(e->how), "the agent ended with status %d", status.exit_status);
    else
        snprintf(e->how, sizeof(e->how), "the agent ended");
    serve_log(e->serve, XD_LOG_INFO, "agent %llu: %s", (unsigned long long)e->id, e->how);
    if (e->pidfd_watched >= 0)
        (void)xd_poller_remove(e->serve->poller, e->pidfd_watched);
    e->pidfd_watched = -1;
    e->phase = SESSION_TELLS;
}

/* Text of an agent that nobody listens to. */
static void drain_text(session *e)
{
    uint8_t room[4096];
    for (int i = 0; i < 16 && e->child.text >= 0; i++) {
        ssize_t n = xd_os_read_some(e->child.text, room, sizeof(room));
        if (n == -EAGAIN)
            return;
        if (n <= 0)
            close_one(e->serve, &e->child.text);
    }
}

static int pump(session *e)
{
    uint32_t fd, text, unused;
    if (!e->has_tunnel)
        return 0;
    int r = xd_tunnel_pump(&e->tunnel);
    XD_TRY(r);
    e->full = r == 1;
    if (e->tunnel.over && e->child.in >= 0) /* no events of it any more */
        (void)xd_poller_remove(e->serve->poller, e->child.in);
    xd_tunnel_wants(&e->tunnel, &fd, &text, &unused);
    if (e->child.in >= 0 && !(e->tunnel.over && fd == 0))
        XD_TRY(xd_poller_set(e->serve->poller, e->child.in, fd, on_ready, e));
    if (e->tunnel.text_over && e->child.text >= 0) {
        close_one(e->serve, &e->child.text);
        e->tunnel.text_in = -1;
    }
    if (e->child.text >= 0)
        XD_TRY(xd_poller_set(e->serve->poller, e->child.text, text, on_ready, e));
    return 0;
}

/* The controller has closed its end: so is the agent's, once all has been written. */
static void follow_close(session *e)
{
    if (!e->has_tunnel || !e->tunnel.closed || !xd_tunnel_written(&e->tunnel) || e->phase != SESSION_UP)
        return;
    session_end(e);
}

/* Ends the agent's pipe, and later the agent. */
static void press(session *e, uint64_t now)
{
    if (e->phase != SESSION_ENDS)
        return;
    if (e->child.in >= 0) {
        if (e->has_tunnel) {
            e->tunnel.fd = -1;
            e->tunnel.over = true;
        }
        close_one(e->serve, &e->child.in);
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
static int tell_end(session *e, uint64_t now)
{
    xd_autobuf message = XD_BUF_INIT;
    if (e->phase != SESSION_TELLS)
        return 0;
    if (!e->peer)
        return 1;
    const bool all = !e->has_tunnel ||
                     (e->tunnel.text_over && (e->tunnel.over || e->child.in < 0) && e->tunnel.held.len == 0);
    if (!all && now < e->tell_ns)
        return 0;
    xd_wire_TUNNEL_ENDED m = { .how = xd_bytes_str(e->how) };
    XD_TRY(xd_wire_TUNNEL_ENDED_frame(&message, 0, 0, &m));
    int r = send_to_peer(e, xd_buf_view(&message));
    return r == -EAGAIN && now < e->tell_ns + LAST_WORDS_NS ? 0 : 1;
}

uint64_t session_care(session *e, uint64_t now_ns)
{
    look_at_process(e, now_ns);
    if (!e->peer)
        drain_text(e);
    int r = pump(e);
    if (r < 0 && e->peer) {
        peer *p = e->peer;
        session_cut(e);
        xd_front_drop(e->serve->front, p->number);
    }
    follow_close(e);
    press(e, now_ns);
    if (tell_end(e, now_ns) != 0) {
        forget(e);
        return UINT64_MAX;
    }
    uint64_t next = e->full ? now_ns + FULL_NS : UINT64_MAX;
    if (e->phase == SESSION_ENDS)
        next = XD_MIN(next, XD_MIN(now_ns + 250 * XD_MS_NS, e->kill_ns));
    if (e->phase == SESSION_TELLS)
        next = XD_MIN(next, now_ns + 20 * XD_MS_NS);
    if (e->pidfd_watched < 0 && !e->exited)
        next = XD_MIN(next, now_ns + 250 * XD_MS_NS);
    return next;
}

void session_free_all(serve *s)
{
    for (session *e = s->sessions; e; e = e->next)
        if (!e->exited) {
            xd_proc_status status;
            (void)xd_proc_kill(&e->child.proc, SIGKILL);
            (void)!xd_proc_wait(&e->child.proc, true, &status);
        }
    while (s->sessions)
        forget(s->sessions);
}
