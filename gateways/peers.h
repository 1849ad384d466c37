/* gateways/peers.h - those who connect to a place of ours that asks for keys (serve.h, listen.h): its listeners with their limits (front.h), the socket
 * of ZeroMQ behind them (curve.h), who may come in (trust.h), and beats. What a peer wants is the business of who has the place.
 * One thread, that of its poller. */
#pragma once
#include "engine/base/log.h"
#include "engine/curve.h"
#include "engine/front.h"
#include "engine/trust.h"

typedef struct xd_peers xd_peers;

/* Somebody who has shown a key: one connection. */
typedef struct xd_peer {
    struct xd_peer *next;
    uint32_t        number; /* of the front */
    xd_pubkey       key;
    char            address[48], print[XD_FINGERPRINT_SIZE], comment[80];
    xd_curve_peer   at; /* known from its first message on */
    bool            heard, refused;
    bool            had_session; /* what it says of that may come after the end of it */
    uint16_t        refuse_code; /* of its key; 0 = it is trusted */
    const char     *refuse_why;
    bool            pardoned; /* its key is not in the list, and need not be */
    uint32_t        max_workers;
    char          **command; /* of its line; NULL = none */
    uint64_t        since_ns, heard_ns, said_ns;
    uint64_t
        left_ns; /* when its connection ended: what it said before may still come from ZeroMQ; 0 = it is there */
    void *session; /* what it is to who has the place; NULL = nothing yet */
} xd_peer;

typedef struct xd_peers_ops {
    /* A message of one without a session: it gets one, or is refused. */
    void (*first)(void *arg, xd_peer *p, const xd_frame *f);
    /* A message of one that has a session; no beat. */
    void (*frame)(void *arg, xd_peer *p, const xd_frame *f);
    /* Its connection has ended, and nothing more of it will come: its session is without it from here on. Of one with a session alone. */
    void (*cut)(void *arg, xd_peer *p);
    /* Its key is no longer good: its session is to end. It is told why by who calls. */
    void (*end)(void *arg, xd_peer *p);
    /* The lists of keys were looked at: is there a session without a peer whose key was revoked? */
    void (*looked)(void *arg, const xd_trust *t, int64_t wall_s);
    /* A message of one whose key is not in the list: true = it has shown something else that lets it in. NULL = nothing does. */
    bool (*pardon)(void *arg, xd_peer *p, const xd_frame *f);
} xd_peers_ops;

typedef struct xd_peers_args {
    xd_poller  *poller; /* borrowed, as all here */
    const char *keys; /* folder; NULL = the default (xd_keys_folder). The own key is made if there is none */
    const char *list; /* XD_KEYLIST_CONTROLLERS, XD_KEYLIST_WORKERS */
    const char *const *bind; /* as of xd_front_args */
    size_t             n_bind;
    const char        *option; /* as of xd_front_args */
    xd_front_limits    limits;
    uint32_t           other_fds; /* as of xd_front_args */
    xd_log             log;
    bool              *moved; /* set when something has happened that may be looked at */
    xd_peers_ops       ops;
    void              *arg;
} xd_peers_args;

int       xd_peers_new(xd_peers **ret, const xd_peers_args *args, xd_error *err) XD_MUST;
xd_peers *xd_peers_free(xd_peers *s); /* cuts all; NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_peers, xd_peers_free)

/* Takes what came. 1 = something did; 0; -errno: the place cannot go on. */
int xd_peers_take(xd_peers *s) XD_MUST;
/* Beats, keys, time. When to call again. */
uint64_t xd_peers_care(xd_peers *s, uint64_t now_ns);

/* 0; -EAGAIN: its queue is full, or it is about to be cut; -errno. */
int xd_peers_send(xd_peers *s, xd_peer *p, xd_bytes message) XD_MUST;
/* Tells it why not, once, and ends its connection a moment later. */
void xd_peers_refuse(xd_peers *s, xd_peer *p, uint16_t code, const char *why);
/* Ends its connection; what was said before goes out. */
void xd_peers_drop(xd_peers *s, xd_peer *p);
/* A peer whose key is not in the list is let in. false: too many of its address are. */
bool xd_peers_let_in(xd_peers *s, xd_peer *p);
/* No more connections are accepted. */
void xd_peers_deafen(xd_peers *s);

uint32_t        xd_peers_count(const xd_peers *s);           /* connections */
const char     *xd_peers_bound(const xd_peers *s, size_t i); /* as xd_front_bound */
const xd_trust *xd_peers_trust(const xd_peers *s);
void            xd_peers_log(const xd_peers *s, xd_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
