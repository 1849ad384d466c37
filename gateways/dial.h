/* gateways/dial.h - connects to a place of ours that asks for keys (peers.h) over CURVE, and when that fails, finds out why: ZeroMQ itself says no more
 * than that there is no connection. Blocks its thread, which can be woken. */
#pragma once
#include <poll.h>

#include "engine/address.h"
#include "engine/curve.h"

typedef struct xd_dial {
    xd_address  at;
    xd_keypair  own;
    xd_pubkey   server;
    bool        by_token; /* a token says that this is its key */
    const char *program;  /* that listens there, for messages: "xdctl serve" */
    const char *refuser;  /* the same of one that says no: "the server" */
    uint64_t    deadline_ns;
    uint64_t
        patient_ns; /* until then it is tried again where nobody listens yet; deadline_ns then is that of an attempt; 0 = not */
    int wake_fd; /* readable: `cancelled` is asked; -1 = none */
    bool (*cancelled)(
        void *arg); /* asked often, of one that is patient 4 times a second at least; makes wake_fd quiet */
    void     *arg;
    xd_curve *curve; /* the connection; the caller's from 0 on */
    xd_error  err;
} xd_dial;

/* 0: d->curve is up; -ECANCELED; other -errno: d->err says why, what, and what to do. */
int xd_dial_connect(xd_dial *d) XD_MUST;
/* Waits for one of these (at most 4), a nudge, or the time. 1 = something came; 0 = look again; -ECANCELED; -ETIMEDOUT. */
int xd_dial_await(xd_dial *d, struct pollfd *more, nfds_t n, uint64_t until_ns) XD_MUST;
/* The same for d->curve alone. */
int xd_dial_await_curve(xd_dial *d, uint64_t until_ns) XD_MUST;
/* Sets d->err. Returns code. */
int xd_dial_fail(xd_dial *d, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* TUNNEL_REFUSED came; `known`: to one that it had let in before. -ESRCH: what it was let in for is over; -EKEYREJECTED, -EACCES: its key is
 * not good (any more); -EBUSY; -EPROTO. d->err has the words. */
int xd_dial_refused(xd_dial *d, const xd_frame *f, bool known) XD_MUST;
/* The key of the server in known_brokers. -EKEYREJECTED: there is none; err says what to do. */
int xd_dial_server_key(xd_pubkey *ret, const char *folder, const xd_address *at, xd_error *err) XD_MUST;
/* The key of this user. -ENOENT: there is none; err says what to do. */
int xd_dial_own_key(xd_keypair *ret, const char *folder, xd_error *err) XD_MUST;
