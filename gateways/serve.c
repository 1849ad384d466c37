/* gateways/serve.c - see serve.h: the loop; who connects is the business of peers.h, agents that of serve_session.c. */
#include "gateways/serve.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "gateways/agent_program.h"
#include "gateways/serve_state.h"

#define PARTING_NS (500 * XD_MS_NS)
#define BOUND_MAX 8u
#define AGENT_FDS 4u /* its pipe, its text, the way to another pipe, its process */
#define OTHER_FDS 64u

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static void on_first(void *arg, xd_peer *p, const xd_frame *f)
{
    serve *s = arg;
    if (f->type == XD_MSG_TUNNEL_OPEN)
        session_open(s, p, f);
    else if (f->type == XD_MSG_TUNNEL_RESUME)
        session_resume(s, p, f);
    else
        xd_peers_refuse(s->peers, p, XD_TUNNEL_PROTOCOL, "TUNNEL_OPEN or TUNNEL_RESUME was expected");
}

static void on_frame(void *arg, xd_peer *p, const xd_frame *f)
{
    session_frame(arg, p, f);
}

static void on_cut(void *arg, xd_peer *p)
{
    (void)arg;
    session_cut(p->session);
}

static void on_end(void *arg, xd_peer *p)
{
    (void)arg;
    session_end(p->session);
}

static void on_looked(void *arg, const xd_trust *t, int64_t wall_s)
{
    serve *s = arg;
    for (session *e = s->sessions; e; e = e->next)
        if (!e->peer && xd_trust_still(t, &e->key, NULL, wall_s) == XD_TRUST_REVOKED)
            session_end(e);
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

static void on_stop(void *arg, int fd, uint32_t events)
{
    serve *s = arg;
    char   byte[16];
    (void)events;
    const ssize_t n = read(fd, byte, sizeof(byte));
    if (n == 0)
        (void)xd_poller_remove(s->poller, fd);
    s->stops += n > 0 ? (unsigned)n : 2u;
    xd_peers_deafen(s->peers);
    if (s->stop_ns == UINT64_MAX)
        s->stop_ns = xd_clock_ns() + s->args->drain_ms * XD_MS_NS;
    if (s->stops > 1)
        s->stop_ns = 0;
}

static void stop_sessions(serve *s, uint64_t now)
{
    if (s->stops && now >= s->stop_ns)
        for (session *e = s->sessions; e; e = e->next)
            session_end(e);
}

static int turn(serve *s)
{
    uint64_t now = xd_clock_ns(), next = UINT64_MAX;
    do {
        s->moved = false;
        next = UINT64_MAX;
        for (session *e = s->sessions, *more; e; e = more) {
            more = e->next;
            const uint64_t again = session_care(e, now);
            next = XD_MIN(next, again);
        }
        int r = xd_peers_take(s->peers); /* behind all that was sent: sending may hide that something came */
        XD_TRY(r);
        s->moved = s->moved || r == 1;
        now = xd_clock_ns();
    } while (s->moved);
    const uint64_t again = xd_peers_care(s->peers, now);
    next = XD_MIN(next, again);
    stop_sessions(s, now);
    if (s->stops && s->stop_ns)
        next = XD_MIN(next, s->stop_ns);
    if (s->stops && !s->n_sessions)
        next = XD_MIN(next, now + 20 * XD_MS_NS);
    const int r = xd_poller_wait(s->poller, next);
    return XD_MIN(r, 0);
}

/* ---- start and end ---------------------------------------------------------------------------------------------------- */

static void say_ready(const serve *s)
{
    const char *addresses[BOUND_MAX + 1] = { NULL };
    char        print[XD_FINGERPRINT_SIZE], key[XD_KEY_Z85 + 1];
    if (!s->args->ready)
        return;
    for (size_t i = 0; i < BOUND_MAX && (addresses[i] = xd_peers_bound(s->peers, i)) != NULL;)
        i++;
    const xd_trust *trust = xd_peers_trust(s->peers);
    xd_pubkey_fingerprint(&xd_trust_key(trust)->pub, print);
    xd_pubkey_text(&xd_trust_key(trust)->pub, key);
    s->args->ready(s->args->arg, addresses, print, key, xd_trust_count(trust));
}

static int begin(serve *s, xd_error *err)
{
    static const char *const everywhere[] = { ":8888" };
    const xd_serve_args     *a = s->args;
    xd_autofree char        *found = NULL;
    XD_TRY(xd_agent_program_find(a->agent, &found, err));
    XD_TRY(xd_path_absolute(found, &s->agent));
    XD_TRY(xd_poller_new(&s->poller));
    const uint32_t      agents = a->max_agents ? a->max_agents : XD_SERVE_AGENTS;
    const xd_peers_args peers = {
        .poller = s->poller,
        .keys = a->keys,
        .list = XD_KEYLIST_CONTROLLERS,
        .bind = a->n_bind ? a->bind : everywhere,
        .n_bind = a->n_bind ? a->n_bind : 1,
        .limits = a->limits,
        .other_fds = XD_MIN(agents, 1u << 20) * AGENT_FDS + OTHER_FDS,
        .log = a->log,
        .moved = &s->moved,
        .ops = { .first = on_first, .frame = on_frame, .cut = on_cut, .end = on_end, .looked = on_looked },
        .arg = s
    };
    XD_TRY(xd_peers_new(&s->peers, &peers, err));
    return a->stop_fd >= 0 ? xd_poller_set(s->poller, a->stop_fd, XD_POLL_IN, on_stop, s) : 0;
}

static void end(serve *s)
{
    session_free_all(s);
    s->peers = xd_peers_free(s->peers);
    s->poller = xd_poller_free(s->poller);
    free(s->agent);
}

/* The last agents have ended; that they have is on its way to their controllers for a moment. */
static bool is_over(serve *s, uint64_t now)
{
    if (!s->stops || s->n_sessions)
        return false;
    if (!s->empty_ns)
        s->empty_ns = now;
    return xd_peers_count(s->peers) == 0 || now - s->empty_ns >= PARTING_NS;
}

int xd_serve(const xd_serve_args *args, xd_error *err)
{
    serve s = { .args = args, .stop_ns = UINT64_MAX };
    int   r = begin(&s, err);
    if (r == 0) {
        say_ready(&s);
        while (r == 0 && !is_over(&s, xd_clock_ns()))
            r = turn(&s);
        if (r < 0)
            (void)xd_error_set(err, r, "the server has to end: %s", xd_error_name(r));
    } else if (err && !*err->text) {
        (void)xd_error_set(err, r, "%s", xd_error_name(r));
    }
    end(&s);
    return r;
}
