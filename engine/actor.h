/* engine/actor.h - actors: one thread, one state, one inbox, messages only. All messages pass the broker
 * (engine/broker.h).
 *
 * An actor is described by a const xd_actor_spec; the runtime owns the loop: it polls the inbox and the
 * descriptors the actor watches, calls handlers, ticks, and ends when a handler returns XD_ACTOR_STOP
 * (normal) or < 0 (fault), or when it is asked to stop. Its thread blocks all signals.
 * Nothing of libzmq shows here: only bus.c, actor.c and broker.c know it. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/log.h"
#include "engine/wire.h"

#define XD_ADDRESS_LEN 24

/* The engine's own messages; the others carry wire frames and have the record's number. */
enum {
    XD_MSG_REGISTER = 0x4001,  /* actor -> broker: my address; answered by the same type */
    XD_MSG_SUBSCRIBE = 0x4002, /* actor -> broker: send me TAIL */
    XD_MSG_TAIL =
        0x4003, /* broker -> subscriber: u64 offset behind the last record; answer with the same type when read */
    XD_MSG_STOP = 0x4004,  /* engine -> scheduler: u32 enum xd_stop */
    XD_MSG_FAULT = 0x4005, /* broker -> owner of the run: i32 -errno: the journal cannot be written */
    XD_MSG_GONE =
        0x4006, /* broker -> owner of the run: the peer in `from` was dropped, it did not read its messages: text */
    XD_MSG_PAUSED =
        0x4008, /* gateway -> scheduler: PAUSE is on its way to the agent; the terminal's reporter ->
                   scheduler: the live line is cleared */
    /* collector -> scheduler -> a gateway: its agent contradicts what was agreed: text; hang up */
    XD_MSG_DROP = 0x400a,
    XD_MSG_DIAL = 0x400e,    /* engine -> a gateway that waits for it: now */
    XD_MSG_SAY = 0x4009,     /* engine -> terminal's reporter: a line to show between those of the report */
    XD_MSG_UNKNOWN = 0x4007, /* broker -> a sender: nobody has the address in `from`; sent once per address */
    /* collector -> scheduler, see actors/collector.h; the number of the collection, u16 */
    XD_MSG_AGREED = 0x400b, /* this gateway has this collection */
    XD_MSG_WHOLE = 0x400c,  /* the list of this collection, which is this gateway's, has come: it can begin */
    /* see actors/syncer.h */
    XD_MSG_SYNC_LINK =
        0x400f, /* gateway -> syncer: xd_sync_link, whose descriptor is the syncer's from here on */
    XD_MSG_SYNC_ENDED = 0x4010, /* a thread of the syncer -> syncer: it has ended */
    XD_MSG_SYNC_SAYS = 0x4011,  /* the same: there are lines to pass on, or news for the live line */
    XD_MSG_SYNC_FAR = 0x4014,   /* the same: how far it is */
    XD_MSG_SYNCED =
        0x4012, /* syncer -> scheduler: u8 1 = the tree stands on this gateway's host; 0 = it cannot, and why: text */
    XD_MSG_SYNC_NOTE = 0x4013, /* syncer -> scheduler: u8 level (NOTE), then a line for the user */
    /* engine -> scheduler */
    XD_MSG_TELL = 0x4015,   /* u8 level (NOTE), then a line for the user */
    XD_MSG_JOINS = 0x4016,  /* xd_joins (actors/scheduler.h): somebody takes a seat */
    XD_MSG_LEAVES = 0x4017, /* number of a gateway, u16: its host wants to leave */
    XD_MSG_JOB =
        0x4018, /* u8 1 = nobody will join any more, then a line: what becomes of the job whose tasks join (--slurm) */
    XD_MSG_DIFFERENT = 0x400d, /* this gateway has other tests: text; empty: nobody can say whether it has */
    XD_MSG_MORE = 0x4019, /* tests behind those of the list that this gateway has sent: a frame COLLECT_IDS */
};
/* A socket that leads to the far half of a synchronisation, by way of a gateway. */
typedef struct xd_sync_link {
    int  fd;
    bool zstd; /* the agent reads it */
} xd_sync_link;
/* Name of a message of either kind, "?" for neither.  Static storage. */
const char *xd_msg_name(uint16_t type);

/* Flags of a message. */
enum {
    XD_FLAG_JOURNAL =
        1, /* the body is one wire frame: the broker appends it to the journal before it routes it */
};

typedef struct xd_msg {
    uint16_t type;
    uint16_t flags;
    uint16_t gateway;            /* number of the gateway it concerns (journal) */
    char     to[XD_ADDRESS_LEN]; /* empty = only for the broker (journal) */
    char     from[XD_ADDRESS_LEN];
    xd_bytes body;  /* valid until the message is freed */
    void    *owned; /* private */
} xd_msg;

/* A message with a copy of `body`. */
int xd_msg_new(xd_msg **ret, uint16_t type, const void *body, size_t len) XD_MUST;
/* A message that takes the memory of `buf` (which is empty afterwards). */
int xd_msg_new_take(xd_msg **ret, uint16_t type, xd_buf *buf) XD_MUST;
/* A message like one that a handler got, to keep or to pass on: it has the same body, which is not copied. */
int     xd_msg_share(xd_msg **ret, const xd_msg *in) XD_MUST;
xd_msg *xd_msg_free(xd_msg *m);
XD_DEFINE_AUTO(xd_msg, xd_msg_free)
/* The wire frame in the body.  -EPROTO. */
int xd_msg_frame(const xd_msg *m, xd_frame *ret) XD_MUST;

typedef struct xd_bus
        xd_bus; /* one run's place on a broker (xd_broker_open), where its actors send and receive */
xd_bus *xd_bus_free(xd_bus *b); /* all actors of the run have ended before; NULL ok */
XD_DEFINE_AUTO(xd_bus, xd_bus_free)

typedef struct xd_actor xd_actor;
#define XD_ACTOR_STOP 1 /* a handler's answer: end normally */

typedef struct xd_handler {
    uint16_t type; /* 0 ends the table */
    int (*fn)(void *state, const xd_msg *in);
} xd_handler;

typedef struct xd_actor_spec {
    const char *name;   /* of the thread, at most 15 characters */
    size_t      size;   /* of the state, zeroed before init */
    uint32_t    window; /* messages the broker holds for it when it is slow; more is a fault */
    int (*init)(void *state, xd_actor *actor, const void *args);
    int (*tick)(void *state); /* every xd_actor_set_tick; NULL ok */
    int (*stop)(
        void
            *state); /* asked to end: 0 = I will end by XD_ACTOR_STOP soon; XD_ACTOR_STOP = now. NULL = now */
    void (*fini)(void *state); /* also after a failed init */
    const xd_handler *handlers;
    int (*other)(void *state, const xd_msg *in); /* types not in the table; NULL = dropped with a log line */
} xd_actor_spec;

/* Starts the thread and returns when the actor is registered and init has succeeded. `args` is borrowed for
 * the call. */
int xd_actor_start(xd_actor **ret, xd_bus *bus, const xd_actor_spec *spec, const char *address,
                   const void *args, xd_error *err) XD_MUST;
/* Asks it to end; any thread. */
void xd_actor_ask_stop(xd_actor *a);
/* Waits for its end: 0 and *ret_reason (0 or -errno), or -ETIMEDOUT. Any thread but its own. */
int xd_actor_join(xd_actor *a, uint64_t deadline_ns, int *ret_reason) XD_MUST;
/* Becomes readable when it has ended. */
int xd_actor_exit_fd(const xd_actor *a);
/* After a successful join. An actor that does not end is leaked on purpose: its thread may still use it.
 * Returns NULL. */
xd_actor *xd_actor_free(xd_actor *a);

/* ---- inside the actor's thread ------------------------------------------------------------------- */
const xd_log *xd_actor_log(const xd_actor *a);
/* Takes *m on success only. What finds the inbox of the broker full waits in a queue of the actor's own and
 * keeps its order; -ENOBUFS when that holds 65,536 messages, -ENOMEM. */
int xd_actor_send(xd_actor *a, const char *to, xd_msg **m) XD_MUST;
/* The same without the queue: -EAGAIN, and the caller keeps the message. For whom can stop reading his own
 * input instead. */
int xd_actor_try_send(xd_actor *a, const char *to, xd_msg **m) XD_MUST;
int xd_actor_set_tick(xd_actor *a, uint32_t period_ms) XD_MUST; /* 0 = none */
/* events: XD_POLL_IN | XD_POLL_OUT of engine/base/poller.h; 0 = stop watching.  At most 16 descriptors. */
int xd_actor_watch(xd_actor *a, int fd, uint32_t events,
                   int (*fn)(void *state, int fd, uint32_t events)) XD_MUST;

/* ---- from outside: a message without an actor (the engine's own) ------------------------------------- */
/* Any thread; slow (a socket per call).  from: in whose name, "" = nobody's. */
int xd_bus_post(xd_bus *bus, const char *from, const char *to, uint16_t type, const void *body,
                size_t len) XD_MUST;
