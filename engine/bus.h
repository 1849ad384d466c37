/* engine/bus.h - private to bus.c, actor.c, broker.c and broker_run.c, the files that know libzmq: envelope and socket
 * rules.
 * A message on the bus is two parts: the envelope below and the body. */
#pragma once
#include <zmq.h>

#include "engine/actor.h"
#include "engine/journal.h"

#define XD_BUS_HWM 1000
#define XD_BUS_MAX_BODY (XD_FRAME_MAX + XD_FRAME_HEADER)

typedef struct xd_envelope {
    uint16_t type, flags, gateway, window_high; /* window_high: of REGISTER, the wanted queue length / 16 */
    char     run[XD_RUN_ID_SIZE];               /* `to` and `from` are addresses in this run */
    char     to[XD_ADDRESS_LEN], from[XD_ADDRESS_LEN];
} xd_envelope;

/* A body changes threads inside libzmq, whose own synchronisation ThreadSanitizer cannot see in a library
 * that is not built for it: tell it. */
#if defined(__SANITIZE_THREAD__)
#define XD_BUS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define XD_BUS_TSAN 1
#endif
#endif
#ifdef XD_BUS_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define xd_bus_hand_over(body) __tsan_release(body)
#define xd_bus_take_over(body) __tsan_acquire(body)
#else
#define xd_bus_hand_over(body) ((void)(body))
#define xd_bus_take_over(body) ((void)(body))
#endif

/* The sockets of a broker and of its actors; lives until the broker and all buses have let it go. */
typedef struct xd_bus_context {
    void    *zmq;
    char     endpoint[64];
    uint32_t users;
} xd_bus_context;

int             xd_bus_context_new(xd_bus_context **ret) XD_MUST;
xd_bus_context *xd_bus_context_free(xd_bus_context *c); /* one user less; NULL ok; any thread */

/* One run's place on a broker. */
struct xd_bus {
    xd_bus_context       *ctx;
    char                  run[XD_RUN_ID_SIZE];
    xd_log                log;
    int                   broken_fd;
    int                   fault;  /* of the journal, reported */
    struct xd_broker_run *opened; /* from xd_broker_open to xd_broker_close */
};

int xd_bus_new(xd_bus **ret, xd_bus_context *ctx, const char *run, const xd_log *log) XD_MUST;
/* Common options: no linger beyond what is asked, high-water marks, largest message. */
int xd_bus_socket(xd_bus_context *c, int kind, void **ret) XD_MUST;
/* Receives envelope and body (after the routing id was taken by the caller): 0, -EAGAIN, -EPROTO (parts
 * missing; all of them dropped). */
int xd_bus_recv(void *socket, xd_envelope *env, zmq_msg_t *body) XD_MUST;
/* Sends both; takes the body on success. */
int xd_bus_send(void *socket, const xd_envelope *env, zmq_msg_t *body) XD_MUST;

/* zmq_msg_close, for a body that was read. */
void xd_bus_close(zmq_msg_t *body);

/* owned: the memory of the body (malloc), or a received zmq_msg_t (received = true). */
typedef struct xd_bus_message {
    xd_msg    pub;
    bool      received;
    zmq_msg_t part;
} xd_bus_message;

/* Sends *pub in this run and takes it on success; -EAGAIN when the pipe is full, and it stays whole. */
int xd_bus_send_message(void *socket, const xd_bus *bus, const char *to, const char *from,
                        xd_msg **pub) XD_MUST;
