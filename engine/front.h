/* engine/front.h - where strangers connect: TCP listeners in front of a socket of ZeroMQ that listens at 127.0.0.1 alone (curve.h).
 *
 * ZeroMQ itself has no limit of connections, cannot be told to end one, and says nothing before a peer knows its key. So the front accepts,
 * and looks at the first byte: 0xff begins ZMTP, and all bytes are passed on, both ways, as they are. "xdkey" and a newline is a question for the server's
 * public key (xdctl trust), which is answered in one line. Everything else is closed.
 *
 * A connection is unproven until its owner has shown a key that is trusted (xd_front_prove). Those may send few bytes, have little time, and are
 * few. At the limit a new connection closes an older one, of the same address first, then of those with many: one that has sent no ZMTP greeting, else the
 * oldest. So a peer with a key gets in during a flood of others.
 * Each connection reaches ZeroMQ from an address of its own, 127.x.y.z, by which it is known there.
 * One thread, that of its poller. */
#pragma once
#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/poller.h"

#define XD_FRONT_QUESTION "xdkey\n"
#define XD_FRONT_CONNECTIONS 4096u

typedef struct xd_front xd_front;

typedef struct xd_front_limits {
    uint32_t connections;          /* in all; 0 = XD_FRONT_CONNECTIONS; fewer if open files are too few */
    uint32_t per_address;          /* proven ones of one address; 0 = 1024 */
    uint32_t unproven;             /* in all; 0 = 1024 */
    uint32_t unproven_per_address; /* 0 = 256 */
    uint32_t prove_ms;             /* from accept to proof; 0 = 5000 */
    uint32_t unheard_bytes;        /* of a proven one that ZeroMQ may hold (xd_front_heard); 0 = any number */
} xd_front_limits;

typedef struct xd_front_args {
    xd_poller         *poller;
    const char *const *bind; /* HOST:PORT, [HOST]:PORT, :PORT; numeric */
    size_t             n_bind;
    const char        *option; /* that named them, for messages; NULL = "--bind" */
    uint16_t           inner_port;
    const char        *key_line;  /* the answer, with its newline; copied */
    uint32_t           other_fds; /* descriptors that its user may need beside them */
    xd_front_limits    limits;
    void (*gone)(
        void *arg,
        uint32_t
            number); /* called when a connection has closed, from either side or by the front; never from within xd_front_drop */
    void *arg;
} xd_front_args;

typedef struct xd_front_stats {
    uint64_t accepted, asked, dropped,
        refused; /* dropped: unproven, for others or for time; refused: by a limit, or no ZMTP */
    uint32_t now, unproven;
    uint32_t most; /* connections that there may be */
} xd_front_stats;

/* Borrows the poller. -errno: err names the address. */
int       xd_front_new(xd_front **ret, const xd_front_args *args, xd_error *err) XD_MUST;
xd_front *xd_front_free(xd_front *f); /* closes all; NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_front, xd_front_free)
/* No more are accepted. */
void xd_front_deafen(xd_front *f);
/* The i-th listener, as "HOST:PORT". NULL: there are no more. Valid as long as the front. */
const char *xd_front_bound(const xd_front *f, size_t i);

/* The connection that ZeroMQ sees at this address; 0 = none. */
uint32_t xd_front_find(const xd_front *f, const char *inner_address);
/* Where it comes from: a numeric address; "?" when there is no such connection (any more). */
const char *xd_front_address(const xd_front *f, uint32_t number);
/* Its owner is known. false: there are too many of its address, or it is gone. */
bool xd_front_prove(xd_front *f, uint32_t number);
/* A message of it has come. ZeroMQ keeps a message of several parts until it has the last one, however many these are, and a small one takes
 * a buffer of 8 KiB: so a connection of which much was passed on and no message has come is not read from. */
void xd_front_heard(xd_front *f, uint32_t number);
/* Ends it after what lies there for it has been written, in a second at most. */
void xd_front_drop(xd_front *f, uint32_t number);

/* Ends what has had its time. When to call it again: xd_front_next. */
void           xd_front_care(xd_front *f, uint64_t now_ns);
uint64_t       xd_front_next(const xd_front *f); /* monotonic; UINT64_MAX = nothing to do */
xd_front_stats xd_front_count(const xd_front *f);
