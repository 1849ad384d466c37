/* engine/curve.h - messages between processes over TCP: ZeroMQ with CURVE, and nothing that speaks without it. Each end has a context and
 * sockets of its own. One part per message, at most XD_TUNNEL_MESSAGE_MAX bytes, which is a frame of wire.def.
 * A connection that was cut is not made again behind the back of its user: messages would be lost (reliability.md 0.1).
 * One thread for each object; nothing blocks. */
#pragma once
#include "engine/keys.h"
#include "engine/wire.h"

/* ---- one that connects ------------------------------------------------------------------------------------- */

typedef struct xd_curve xd_curve;
typedef enum xd_curve_state {
    XD_CURVE_CONNECTS,
    XD_CURVE_GREETS, /* there is a connection, and nobody has shown a key yet */
    XD_CURVE_UP,     /* both ends have shown their keys */
    XD_CURVE_REFUSED, /* there was a connection, and the handshake came to nothing: another key, or another protocol */
    XD_CURVE_FAILED, /* there was no connection */
    XD_CURVE_LOST    /* it was up */
} xd_curve_state;

/* host: a numeric address. Begins to connect, and gives up after timeout_ms. -errno. */
int       xd_curve_dial(xd_curve **ret, const char *host, uint16_t port, const xd_keypair *own,
                        const xd_pubkey *server, uint32_t timeout_ms) XD_MUST;
xd_curve *xd_curve_free(xd_curve *c); /* what was sent goes out for at most a second; NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_curve, xd_curve_free)
/* Descriptors to poll for reading. They signal changes only, as ZMQ_FD does: call xd_curve_look, and
 * then xd_curve_receive, before waiting, in this order: looking and sending may hide that a message came. */
void           xd_curve_fds(const xd_curve *c, int ret[2]);
xd_curve_state xd_curve_look(xd_curve *c);
/* 1 = a message (valid until the next call); 0 = none now; -EPROTO: what came is no frame. */
int xd_curve_receive(xd_curve *c, xd_frame *ret) XD_MUST;
/* 0; -EAGAIN; -errno. Nothing is taken before it is up. */
int xd_curve_send(xd_curve *c, xd_bytes message) XD_MUST;

/* ---- one that many connect to ---------------------------------------------------------------------------------- */

typedef struct xd_curve_server xd_curve_server;
#define XD_CURVE_PEER 16u

/* Where an answer goes. */
typedef struct xd_curve_peer {
    uint8_t len, at[XD_CURVE_PEER];
} xd_curve_peer;

/* Somebody at this address (the one that ZeroMQ sees) has shown that the key is its own: a number > 0 by which its messages are known, or
 * 0 = refused. */
typedef uint32_t (*xd_curve_admit_fn)(void *arg, const char *address, const xd_pubkey *key);

/* Listens at 127.0.0.1, at a port that the system chooses: what reaches it comes by way of a front (front.h). -errno. */
int xd_curve_listen(xd_curve_server **ret, const xd_keypair *own, xd_curve_admit_fn admit, void *arg,
                    uint16_t *ret_port) XD_MUST;
/* Messages to peers go out for at most a second. NULL ok; returns NULL. */
xd_curve_server *xd_curve_server_free(xd_curve_server *s);
XD_DEFINE_AUTO(xd_curve_server, xd_curve_server_free)
void xd_curve_server_fds(const xd_curve_server *s, int ret[2]); /* as above */
/* Asks `admit` about those that wait for it. */
int xd_curve_server_admit(xd_curve_server *s) XD_MUST;
/* 1 = a message, of the one with this number; 0 = none now; -EPROTO: what came of it is no frame. */
int xd_curve_server_receive(xd_curve_server *s, uint32_t *ret_number, xd_curve_peer *ret_peer,
                            xd_frame *ret) XD_MUST;
/* 0; -EAGAIN: its queue is full; -EHOSTUNREACH: it is gone; -errno. */
int xd_curve_server_send(xd_curve_server *s, const xd_curve_peer *to, xd_bytes message) XD_MUST;
