/* engine/actor.h - actors: one thread, one state, one inbox, messages only; over libzmq, which stays inside actor.c and broker.c.
 *
 * Life: xd_actor_new starts a thread (all signals blocked), connects it to the broker, registers its address, calls spec.init and returns when that is done.
 * The loop then calls, on that thread alone: handlers for messages, `tick`, timers, callbacks of watched descriptors.  Each of them returns 0 (go on),
 * XD_ACTOR_DONE (end, all well), or -errno (end with that reason).  The end: fini, what waits is sent (bounded), the address is given back, exit record.
 *
 * Credit: at most spec.window messages to one address that its actor has not handled yet; further ones wait in the sender (bounded), in order per
 * address.  Nothing ever blocks in a send.  xd_actor_room says how many would go at once, spec.ready when there is room again: whoever turns
 * outside input into messages stops reading while there is none.
 *
 * Addresses: up to 15 bytes.  "broker" is the broker itself; "journal" means: for the journal alone (needs XD_MSG_JOURNAL). */
#pragma once
#include "engine/base/log.h"
#include "engine/base/poller.h"
#include "engine/wire.h"

#define XD_ADDRESS 16u             /* bytes with the NUL */
#define XD_MSG_MAX (XD_FRAME_MAX + (1u << 20)) /* bytes of a message's body */
#define XD_WINDOW 256u             /* when spec.window is 0 */

typedef struct xd_broker xd_broker; /* engine/broker.h */
typedef struct xd_actor  xd_actor;

/* ---- messages ------------------------------------------------------------------------------------------------ */

/* Types below 0x4000 are those of wire.def. */
enum {
    XD_MSG_TERM = 0x4000,    /* end; a handler is optional: 0 = end now (as without a handler), XD_ACTOR_STAY = will end by itself in time */
    XD_MSG_TAIL,             /* broker -> subscriber: the journal has grown; xd_msg_tail */
    XD_MSG_EXIT,             /* an actor has ended for good; xd_msg_exit (posted by whoever supervises) */
    XD_MSG_STOP,             /* engine -> scheduler: body = u32 little endian, enum xd_stop of xd.h; xd_msg_u32 */
    XD_MSG_GONE,             /* broker -> everybody: xd_msg_address is no longer there; a handler is optional */
    XD_MSG_BOUNCE,           /* a message was not delivered; xd_msg_bounce.  Without a handler: -ENOBUFS and -EPROTO end the actor, -EHOSTUNREACH is counted */
    XD_MSG_JOURNAL_FAULT,    /* broker -> everybody, once: xd_msg_code = -errno; nothing is recorded or acknowledged any more */
    XD_MSG_SESSION_BROKEN,   /* broker -> gateway: a sequence number was left out (xd_msg_u64 = last good one): close that stream */
    XD_MSG_RUNTIME = 0x4100, /* 0x4100..0x41ff: between runtime and broker, never seen by handlers */
    XD_MSG_USER = 0x4200,    /* from here on free for engine and actors */
    XD_MSG_ANY = 0xffff      /* in a handler table: whatever has no handler of its own */
};

/* Flags of a message. */
enum {
    XD_MSG_JOURNAL = 1, /* the body is wire frames (implies XD_MSG_FRAMES): the broker appends them to the journal before it passes them on.  Frames with a
                         * sequence number are checked by the session of xd_msg.gateway: repeated ones are neither recorded nor passed on;
                         * once durable they are acknowledged to the sender by ACK (a frame), cumulative */
    XD_MSG_FRAMES = 2,  /* the body is whole wire frames back to back: the receiver's handlers are called once per frame, by the frame's type */
    XD_MSG_SESSION = 4  /* with XD_MSG_JOURNAL: numbers of this gateway begin anew (at 1) with this message */
};

typedef struct xd_msg {
    uint16_t       type;
    uint16_t       flags;
    uint16_t       gateway; /* number of the gateway that frames come from; XD_NONE16 = none */
    uint64_t       seq;     /* received frame: its sequence number; else free for the user, travels along */
    const uint8_t *body;    /* received: valid until the handler returns */
    size_t         len;
    xd_bytes       frame;   /* received out of XD_MSG_FRAMES: header and body as they lie in the message, ready to be passed on; else empty */
    const char    *from;    /* received: address of the sender ("broker", "" = posted from outside) */
    /* private */
    void          *owned;   /* memory of the body when it is not behind this struct */
    struct xd_msg *next;
    char           to[XD_ADDRESS];
} xd_msg;

/* Copies the body (NULL with len 0: none).  -ENOMEM, -EMSGSIZE. */
int xd_msg_new(xd_msg **ret, uint16_t type, const void *body, size_t len) XD_MUST;
/* The memory of `body` moves into the message: large ones travel without a copy.  On success *body is empty. */
int xd_msg_new_take(xd_msg **ret, uint16_t type, xd_buf *body) XD_MUST;
/* The same for one or more whole wire frames; sets XD_MSG_FRAMES.  `type` is for counters and bounces: that of the first frame will do. */
int xd_msg_new_frame(xd_msg **ret, uint16_t type, xd_buf *frames) XD_MUST;
xd_msg *xd_msg_free(xd_msg *m);
XD_DEFINE_AUTO(xd_msg, xd_msg_free)

/* Readers of internal bodies: 0 or -EPROTO. */
typedef struct xd_tail {
    uint64_t offset;   /* end of the journal: read up to here */
    uint64_t records;  /* appended so far by this broker */
    uint16_t last;     /* type of the last record */
    bool     complete; /* RUN_END has been appended */
} xd_tail;
typedef struct xd_bounce {
    int      reason; /* -EHOSTUNREACH nobody has this address (any more), -ENOBUFS its queue is full, -EPROTO malformed frames */
    uint16_t type;
    char     to[XD_ADDRESS];
} xd_bounce;
typedef struct xd_exit {
    char address[XD_ADDRESS];
    int  reason;    /* 0 or -errno */
    bool told;      /* it had been told to end (TERM) */
    bool stuck;     /* it did not end by its deadline: the thread was left behind */
    char text[200]; /* one line: what it ended with */
} xd_exit;
int xd_msg_tail(const xd_msg *in, xd_tail *ret) XD_MUST;
int xd_msg_bounce(const xd_msg *in, xd_bounce *ret) XD_MUST;
int xd_msg_exit(const xd_msg *in, xd_exit *ret) XD_MUST;
int xd_msg_new_exit(xd_msg **ret, const xd_exit *e) XD_MUST;
int xd_msg_address(const xd_msg *in, char ret[XD_ADDRESS]) XD_MUST;
int xd_msg_code(const xd_msg *in, int *ret) XD_MUST;
int xd_msg_u32(const xd_msg *in, uint32_t *ret) XD_MUST;
int xd_msg_u64(const xd_msg *in, uint64_t *ret) XD_MUST;

/* ---- what an actor is ------------------------------------------------------------------------------------------ */

enum { XD_ACTOR_DONE = 1, XD_ACTOR_STAY = 2 };

typedef struct xd_handler {
    uint16_t type; /* 0 ends the table */
    int (*fn)(void *state, const xd_msg *in);
} xd_handler;

enum xd_restart {
    XD_RESTART_NEVER,     /* its end is final */
    XD_RESTART_TRANSIENT, /* started anew when it ended with a fault */
    XD_RESTART_ALWAYS     /* started anew unless it was told to end */
};

typedef struct xd_actor_spec {
    const char        *name;    /* of the thread; address when none is given */
    size_t             size;    /* bytes of the state, zeroed before init */
    uint32_t           window;  /* messages to one address not handled there yet; 0 = XD_WINDOW */
    enum xd_restart    restart; /* for the supervisor */
    int (*init)(void *state, xd_actor *actor, const void *args);
    int (*tick)(void *state);                  /* NULL ok */
    int (*ready)(void *state, const char *to); /* NULL ok: room for messages to this address again */
    void (*fini)(void *state);                 /* NULL ok; called also after a failed init; may still send */
    const xd_handler  *handlers;               /* NULL ok */
} xd_actor_spec;

typedef struct xd_actor_options {
    const char   *address; /* NULL = spec->name; copied */
    const xd_log *log;     /* NULL = none; borrowed */
    /* The last thing the thread does, also when it had been given up as stuck before; must not call into the actor. */
    void (*ended)(void *arg, const xd_exit *e);
    void *ended_arg;
} xd_actor_options;

/* spec, args and the broker are borrowed until the actor has ended; options may be NULL.  Returns when init is done.
 * -EADDRINUSE, -EINVAL (address), -EAGAIN (no thread), whatever init returned (`ended` is not called then). */
int xd_actor_new(xd_actor **ret, xd_broker *broker, const xd_actor_spec *spec, const xd_actor_options *options, const void *args, xd_error *err) XD_MUST;
/* Tells it to end (TERM).  Any thread, any number of times; returns at once. */
void xd_actor_stop(xd_actor *a);
/* Puts a message into its inbox from any thread, past the broker: no credit, at most 1024 waiting (-ENOBUFS).  Taken on success.  -ESHUTDOWN when it has ended. */
int xd_actor_post(xd_actor *a, xd_msg **msg) XD_MUST;
/* Waits for its end until deadline_ns (monotonic).  0 = over, *ret (NULL ok) filled; -ETIMEDOUT. Owner's thread. */
int xd_actor_join(xd_actor *a, uint64_t deadline_ns, xd_exit *ret) XD_MUST;
/* Gives the handle back: stops it and waits until deadline_ns.  When it is stuck it is left behind (it frees itself should it ever return),
 * ret->stuck is set and -ETIMEDOUT returned.  NULL ok. */
int xd_actor_close(xd_actor *a, uint64_t deadline_ns, xd_exit *ret) XD_MUST;
/* The same with ten seconds. */
xd_actor *xd_actor_free(xd_actor *a);
XD_DEFINE_AUTO(xd_actor, xd_actor_free)

const char *xd_actor_address(const xd_actor *a);

/* ---- for use on the actor's own thread ------------------------------------------------------------------------------ */

/* Takes *msg on success only.  -EHOSTUNREACH nobody has that address, -ENOBUFS too many wait here already (16384 messages or 64 MiB), -EMSGSIZE,
 * -EINVAL, -ENOMEM. */
int xd_actor_send(xd_actor *a, const char *to, xd_msg **msg) XD_MUST;
/* How many messages to this address would go at once; 0 = they would wait (or nobody is there). */
uint32_t xd_actor_room(xd_actor *a, const char *to);
/* Calls spec.tick every period_ms; 0 = no more. */
int xd_actor_set_tick(xd_actor *a, uint32_t period_ms) XD_MUST;
/* One call of fn at that time (monotonic).  *ret_id (NULL ok) is for xd_actor_cancel_timer; never 0. */
int  xd_actor_set_timer(xd_actor *a, uint64_t at_ns, int (*fn)(void *state, void *arg), void *arg, uint32_t *ret_id) XD_MUST;
void xd_actor_cancel_timer(xd_actor *a, uint32_t id); /* unknown or past: nothing */
/* Calls fn when the descriptor is ready (XD_POLL_IN, XD_POLL_OUT; XD_POLL_HUP is reported with them).  Again for the same fd: changes it; events 0: keeps it,
 * silent (not even hang-up).  Level triggered. */
int  xd_actor_watch_fd(xd_actor *a, int fd, uint32_t events, int (*fn)(void *state, int fd, uint32_t events)) XD_MUST;
void xd_actor_unwatch_fd(xd_actor *a, int fd); /* before close(fd); unknown: nothing */
/* TAIL messages from now on (the first at once): at most one that is not handled; what grows meanwhile is told with the next. */
int xd_actor_subscribe_tail(xd_actor *a) XD_MUST;
/* Sets the line of the exit record; returns `reason`, so that `return xd_actor_exit(...)` reads well in a handler. */
int xd_actor_exit(xd_actor *a, int reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const xd_log *xd_actor_log(const xd_actor *a); /* may be NULL */
