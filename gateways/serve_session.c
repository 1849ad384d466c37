/* gateways/serve_session.c - see serve_state.h: agents, and whose they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/text.h"
#include "gateways/serve_state.h"

/* What the connection has said last is waited for (peers.h), so its end comes by way of session_cut alone. */
static int send_to_peer(void *arg, xd_bytes message)
{
    session *e = arg;
    return e->peer ? xd_peers_send(e->serve->peers, e->peer, message) : -EAGAIN;
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
    xd_agent_tunnel_release(&e->agent);
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
static int choose_agent(const serve *s, const xd_peer *p, xd_bytes wish, char **ret, xd_error *err)
{
    if (wish.len && (p->command || p->max_workers))
        return xd_error_set(err, -EACCES,
                            "your key may use the server's own agent alone, not another program");
    if (wish.len && (wish.ptr[0] != '/' || memchr(wish.ptr, 0, wish.len)))
        return xd_error_set(err, -EINVAL, "the path of an agent there has to be absolute");
    *ret = wish.len ? xd_bytes_dup(wish) : strdup(s->agent);
    return *ret ? 0 : -ENOMEM;
}

static int start_agent(serve *s, xd_peer *p, const xd_wire_TUNNEL_OPEN *m, session **ret, xd_error *err)
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
    *e = (session){ .serve = s, .key = p->key, .id = s->started + 1 };
    int r = xd_text_last_words(&who, m->who, sizeof(e->who) - 1);
    if (r == 0) {
        snprintf(e->who, sizeof(e->who), "%s", xd_buf_cstr(&who));
        r = getrandom(e->token, sizeof(e->token), 0) == (ssize_t)sizeof(e->token) ? 0 : -EIO;
    }
    if (r == 0)
        r = xd_agent_tunnel_start(&e->agent, &args, s->poller, &s->moved, send_to_peer, e, err);
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

/* Whether it may open one now; else it is refused. */
static bool may_open(serve *s, xd_peer *p, const xd_wire_TUNNEL_OPEN *m)
{
    char why[XD_ERROR_TEXT];
    if (m->version_min > XD_TUNNEL_SPOKEN || m->version_max < XD_TUNNEL_SPOKEN) {
        snprintf(
            why, sizeof(why),
            "it speaks versions %u to %u of the tunnel, this server %u; use the same release of xd on both",
            (unsigned)m->version_min, (unsigned)m->version_max, XD_TUNNEL_SPOKEN);
        xd_peers_refuse(s->peers, p, XD_TUNNEL_VERSION, why);
        return false;
    }
    const uint32_t most = s->args->max_agents ? s->args->max_agents : XD_SERVE_AGENTS;
    if (!s->stops && s->n_sessions < most)
        return true;
    snprintf(why, sizeof(why),
             s->stops ? "the server is about to end" : "%u agents run there already, and no more may",
             (unsigned)most);
    xd_peers_refuse(s->peers, p, XD_TUNNEL_BUSY, why);
    return false;
}

void session_open(serve *s, xd_peer *p, const xd_frame *f)
{
    xd_wire_TUNNEL_OPEN m;
    xd_error            err = { 0 };
    char                why[XD_ERROR_TEXT];
    session            *e = NULL;
    if (xd_wire_TUNNEL_OPEN_decode(f->body, f->len, &m) < 0) {
        xd_peers_refuse(s->peers, p, XD_TUNNEL_PROTOCOL, "TUNNEL_OPEN cannot be read");
        return;
    }
    if (!may_open(s, p, &m))
        return;
    int r = start_agent(s, p, &m, &e, &err);
    if (r < 0) {
        snprintf(why, sizeof(why), "the agent cannot be started: %.900s",
                 *err.text ? err.text : xd_error_name(r));
        xd_peers_refuse(s->peers, p, XD_TUNNEL_NO_AGENT, why);
        return;
    }
    e->peer = p;
    p->session = e;
    xd_peers_log(s->peers, XD_LOG_INFO, "agent %llu (pid %d) for %s of %s, key %s (%s)",
                 (unsigned long long)e->id, (int)e->agent.child.proc.pid, e->who, p->address, p->print,
                 p->comment);
    if (xd_agent_tunnel_connect(&e->agent) < 0 || say_opened(e) < 0) {
        xd_peers_refuse(s->peers, p, XD_TUNNEL_NO_AGENT, "there is no memory");
        session_end(e);
    }
}

/* ---- a connection that is taken up ---------------------------------------------------------------------------------- */

static session *find_token(const serve *s, const xd_peer *p, xd_bytes token)
{
    for (session *e = s->sessions; e; e = e->next)
        if (token.len == sizeof(e->token) && memcmp(token.ptr, e->token, sizeof(e->token)) == 0 &&
            xd_pubkey_eq(&e->key, &p->key))
            return e;
    return NULL;
}

void session_resume(serve *s, xd_peer *p, const xd_frame *f)
{
    xd_wire_TUNNEL_RESUME m;
    if (xd_wire_TUNNEL_RESUME_decode(f->body, f->len, &m) < 0) {
        xd_peers_refuse(s->peers, p, XD_TUNNEL_PROTOCOL, "TUNNEL_RESUME cannot be read");
        return;
    }
    session *e = find_token(s, p, m.token);
    if (!e || !xd_agent_tunnel_there(&e->agent)) {
        xd_peers_refuse(s->peers, p, XD_TUNNEL_NO_AGENT, "the agent has ended");
        return;
    }
    if (e->peer) { /* whose end was not noticed here yet */
        xd_peer *old = e->peer;
        session_cut(e);
        xd_peers_drop(s->peers, old);
    }
    int r = xd_agent_tunnel_connect(&e->agent);
    if (r == -ENOTCONN) {
        xd_peers_refuse(s->peers, p, XD_TUNNEL_NO_AGENT, "the agent takes no other pipe");
        return;
    }
    e->peer = p;
    p->session = e;
    xd_peers_log(s->peers, XD_LOG_INFO, "agent %llu is connected again, from %s", (unsigned long long)e->id,
                 p->address);
    if (r < 0 || say_opened(e) < 0)
        session_cut(e);
}

void session_frame(serve *s, xd_peer *p, const xd_frame *f)
{
    session *e = p->session;
    if (xd_agent_tunnel_frame(&e->agent, f) == 0)
        return;
    xd_peers_log(s->peers, XD_LOG_WARNING,
                 "agent %llu: its controller at %s breaks the protocol (frame of type %u)",
                 (unsigned long long)e->id, p->address, (unsigned)f->type);
    xd_peers_refuse(s->peers, p, XD_TUNNEL_PROTOCOL, "a message is against the protocol");
    session_end(e);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

void session_cut(session *e)
{
    const bool up = e->agent.phase == XD_AGENT_UP;
    if (e->peer)
        e->peer->session = NULL;
    e->peer = NULL;
    xd_agent_tunnel_cut(&e->agent);
    if (up)
        xd_peers_log(e->serve->peers, XD_LOG_INFO, "agent %llu: its connection was cut",
                     (unsigned long long)e->id);
}

void session_end(session *e)
{
    xd_agent_tunnel_end(&e->agent);
}

static void tell_log(session *e)
{
    if (e->agent.exited && !e->told)
        xd_peers_log(e->serve->peers, XD_LOG_INFO, "agent %llu: %s", (unsigned long long)e->id, e->agent.how);
    e->told = e->agent.exited;
}

uint64_t session_care(session *e, uint64_t now_ns)
{
    uint64_t next = now_ns;
    int      r = xd_agent_tunnel_care(&e->agent, now_ns, &next);
    tell_log(e);
    if (r == 1) {
        forget(e);
        return UINT64_MAX;
    }
    if (r < 0 && e->peer) {
        xd_peer *p = e->peer;
        session_cut(e);
        xd_peers_drop(e->serve->peers, p);
    }
    return next;
}

void session_free_all(serve *s)
{
    while (s->sessions)
        forget(s->sessions);
}
