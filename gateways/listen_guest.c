/* gateways/listen_guest.c - see listen_state.h: the bytes between an agent that has joined and its gateway. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/listen_state.h"

#define PARTING_NS (500 * XD_MS_NS) /* that the end of an agent may come later than that of its pipe */
#define LEFT_NS (10 * XD_S_NS)      /* that an agent whose gateway has hung up may take to end */
#define FULL_NS (5 * XD_MS_NS)

static void drop_fd(guest *g, int *fd)
{
    if (*fd >= 0)
        (void)xd_poller_remove(g->listen->poller, *fd);
    xd_os_close(fd);
}

static void drop_tunnel(guest *g)
{
    if (g->has_tunnel)
        xd_tunnel_release(&g->tunnel);
    g->has_tunnel = g->full = false;
}

static int send_to_peer(void *arg, xd_bytes message)
{
    guest *g = arg;
    if (g->peer)
        return xd_peers_send(g->listen->peers, g->peer, message);
    return g->ended ? 0 : -EAGAIN; /* nobody needs it any more */
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    ((guest *)arg)->listen->moved = true; /* guest_care does it */
}

/* ---- begin ------------------------------------------------------------------------------------------------------- */

static int new_pair(int *ours, int *theirs)
{
    int pair[2];
    XD_TRY(xd_os_socketpair(pair, true));
    int r = xd_os_nonblock(pair[1], true);
    if (r < 0) {
        close(pair[0]);
        close(pair[1]);
        return r;
    }
    *theirs = pair[0];
    *ours = pair[1];
    return 0;
}

/* A pipe for the gateway, and for the text the first time. */
static int offer_pipe(guest *g)
{
    xd_listen *l = g->listen;
    seat      *s = listen_seat(l, g->number);
    int        fd = -1, text = -1;
    XD_TRY(new_pair(&g->far_fd, &fd));
    if (g->far_text < 0 && new_pair(&g->far_text, &text) < 0) {
        xd_os_close(&fd);
        xd_os_close(&g->far_fd);
        return -EMFILE;
    }
    pthread_mutex_lock(&l->lock);
    xd_os_close(&s->fd); /* one that it did not take */
    s->fd = fd;
    if (text >= 0)
        s->text = text;
    s->phase = SEAT_HERE;
    s->again = false;
    pthread_mutex_unlock(&l->lock);
    xd_os_nudge(s->to_gateway);
    return 0;
}

int listen_seat_event(xd_listen *l, seat *s)
{
    pthread_mutex_lock(&l->lock);
    if (s->to_gateway < 0)
        s->to_gateway = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const int r = s->to_gateway < 0 ? -errno : 0;
    pthread_mutex_unlock(&l->lock);
    return r;
}

int guest_new(xd_listen *l, xd_peer *p, guest **ret)
{
    guest *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    *g = (guest){ .listen = l,
                  .number = (uint16_t)(l->args.first + l->taken),
                  .key = p->key,
                  .far_fd = -1,
                  .far_text = -1 };
    seat *s = listen_seat(l, g->number);
    int   r = getrandom(g->token, sizeof(g->token), 0) == (ssize_t)sizeof(g->token) ? 0 : -EIO;
    if (r == 0)
        r = listen_seat_event(l, s);
    if (r < 0) {
        free(g);
        return r;
    }
    l->taken++;
    g->next = l->guests;
    l->guests = g;
    *ret = g;
    return 0;
}

int guest_connect(guest *g, xd_peer *p)
{
    const xd_listen      *l = g->listen;
    xd_autobuf            message = XD_BUF_INIT;
    xd_wire_TUNNEL_JOINED m = { .version = XD_TUNNEL_SPOKEN,
                                .build_id = xd_bytes_str(XD_BUILD_ID),
                                .token = { g->token, sizeof(g->token) },
                                .output_limit = l->args.output_limit,
                                .run = xd_bytes_str(l->runs[0]) };
    XD_TRY(offer_pipe(g));
    XD_TRY(xd_tunnel_init(&g->tunnel, g->far_fd, -1, g->far_text, send_to_peer, g));
    g->has_tunnel = true;
    g->shut = false;
    g->closed_ns = 0;
    g->peer = p;
    p->session = g;
    XD_TRY(xd_wire_TUNNEL_JOINED_frame(&message, 0, 0, &m));
    return send_to_peer(g, xd_buf_view(&message));
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

void guest_end(guest *g, const char *how)
{
    xd_listen *l = g->listen;
    seat      *s = listen_seat(l, g->number);
    g->ended = true;
    pthread_mutex_lock(&l->lock);
    s->phase = SEAT_OVER;
    snprintf(s->how, sizeof(s->how), "%s", how);
    pthread_cond_broadcast(&l->change);
    pthread_mutex_unlock(&l->lock);
    xd_os_nudge(s->to_gateway);
    l->moved = true;
}

static void drop_pipe(guest *g)
{
    drop_tunnel(g);
    drop_fd(g, &g->far_fd); /* the gateway sees the end of the pipe */
}

/* What an agent that has ended said last may not have been read yet: follow_close closes its pipe. */
void guest_cut(guest *g)
{
    if (g->peer)
        g->peer->session = NULL;
    g->peer = NULL;
    if (!g->ended && g->has_tunnel && g->tunnel.over) /* its gateway waits for nothing but its end */
        guest_end(g, "its connection ended");
    else if (!g->ended)
        drop_pipe(g);
}

void guest_free(guest *g)
{
    guest **at = &g->listen->guests;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    if (!g->ended)
        guest_end(g, "");
    if (g->peer)
        xd_peers_drop(g->listen->peers, g->peer);
    guest_cut(g);
    drop_pipe(g);
    drop_fd(g, &g->far_text);
    free(g);
}

static int on_ended(guest *g, const xd_frame *f)
{
    xd_wire_TUNNEL_ENDED m;
    xd_autobuf           how = XD_BUF_INIT;
    XD_TRY(xd_wire_TUNNEL_ENDED_decode(f->body, f->len, &m));
    XD_TRY(xd_text_harmless(&how, m.how, false));
    guest_end(g, xd_buf_cstr(&how));
    return 0;
}

/* It may say so again, when its connection was cut. */
static void leave(guest *g)
{
    xd_listen *l = g->listen;
    if (!g->leaves)
        l->args.leaves(l->args.arg, g->number);
    g->leaves = true;
}

void guest_frame(guest *g, const xd_frame *f)
{
    xd_listen *l = g->listen;
    int        r = 0;
    if (f->type == XD_MSG_TUNNEL_ENDED)
        r = on_ended(g, f);
    else if (f->type == XD_MSG_TUNNEL_LEAVE)
        leave(g);
    else if (g->has_tunnel)
        r = xd_tunnel_frame(&g->tunnel, f);
    if (r == 0)
        return;
    xd_peers_log(l->peers, XD_LOG_WARNING, "%s breaks the protocol of the tunnel (frame of type %u)", g->who,
                 (unsigned)f->type);
    xd_peers_refuse(l->peers, g->peer, XD_TUNNEL_PROTOCOL, "a message is against the protocol");
    guest_end(g, "it broke the protocol");
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------ */

static int pump(guest *g)
{
    xd_poller *poller = g->listen->poller;
    uint32_t   fd, unused, text;
    if (!g->has_tunnel)
        return 0;
    int r = xd_tunnel_pump(&g->tunnel);
    XD_TRY(r);
    g->full = r == 1;
    if (g->tunnel.over && g->far_fd >= 0)
        (void)xd_poller_remove(poller, g->far_fd);
    xd_tunnel_wants(&g->tunnel, &fd, &unused, &text);
    if (g->far_fd >= 0 && !(g->tunnel.over && fd == 0))
        XD_TRY(xd_poller_set(poller, g->far_fd, fd, on_ready, g));
    return g->far_text >= 0 ? xd_poller_set(poller, g->far_text, text, on_ready, g) : 0;
}

/* The agent's end of the pipe is closed: so is ours, but not before it is told how the agent has ended, if it has. */
static void follow_close(guest *g, uint64_t now)
{
    if (!g->has_tunnel || !(g->tunnel.closed || g->ended) || !xd_tunnel_written(&g->tunnel))
        return;
    if (g->ended) {
        drop_fd(g, &g->far_text);
        g->tunnel.text_out = -1;
    }
    if (g->shut)
        return;
    if (g->closed_ns == 0)
        g->closed_ns = now;
    if (!g->ended && now - g->closed_ns < PARTING_NS)
        return;
    g->shut = true;
    (void)shutdown(g->far_fd, SHUT_WR);
}

/* Its connection ends, and who has joined makes another one. */
static void hang_up(guest *g)
{
    xd_peer *p = g->peer;
    guest_cut(g);
    if (p)
        xd_peers_drop(g->listen->peers, p);
}

/* What its gateway wants. */
static void ask_gateway(guest *g, bool *ret_left, bool *ret_again)
{
    xd_listen *l = g->listen;
    seat      *s = listen_seat(l, g->number);
    pthread_mutex_lock(&l->lock);
    *ret_left = s->left;
    *ret_again = s->again;
    s->again = false;
    pthread_mutex_unlock(&l->lock);
}

uint64_t guest_care(guest *g, uint64_t now_ns)
{
    bool left, again;
    ask_gateway(g, &left, &again);
    if (again && g->has_tunnel)
        hang_up(g);
    const int broken = pump(g);
    follow_close(g, now_ns);
    if (broken < 0 && g->peer)
        hang_up(g);
    if (left) {
        if (g->left_ns == 0)
            g->left_ns = now_ns;
        if (g->ended || !g->peer || now_ns - g->left_ns > LEFT_NS) {
            seat *s = listen_seat(g->listen, g->number);
            guest_free(g);
            xd_os_close(&s->fd); /* nobody looks at them any more */
            xd_os_close(&s->text);
            xd_os_close(&s->to_gateway);
            return UINT64_MAX;
        }
        return now_ns + 20 * XD_MS_NS;
    }
    if (g->full)
        return now_ns + FULL_NS;
    return g->closed_ns && !g->shut ? g->closed_ns + PARTING_NS : UINT64_MAX;
}
