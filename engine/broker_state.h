/* engine/broker_state.h - private to broker.c (the thread, its commands, who is spoken to) and broker_run.c (one run:
 * peers, journal, acknowledgements). All of it belongs to the broker's thread, except where it says otherwise. */
#pragma once
#include <pthread.h>

#include "engine/base/hash.h"
#include "engine/broker.h"
#include "engine/bus.h"
#include "engine/session.h"

typedef struct xd_broker_queued {
    struct xd_broker_queued *next;
    xd_envelope              env;
    zmq_msg_t                body;
} xd_broker_queued;

typedef struct xd_broker_peer {
    char                   address[XD_ADDRESS_LEN];
    uint8_t                id[64]; /* routing id */
    size_t                 id_len;
    xd_broker_queued      *first, *last; /* what its socket did not take yet */
    uint32_t               length, limit;
    bool                   subscribed, tail_open, tail_wanted;
    char                   missed[XD_ADDRESS_LEN]; /* the unknown address it was told of last */
    struct xd_broker_peer *next_dead;
    UT_hash_handle         hh;
} xd_broker_peer;

/* Frames of one gateway on their way to being durable. */
typedef struct xd_broker_sender {
    uint16_t      gateway;
    char          address[XD_ADDRESS_LEN];
    xd_session_rx rx;
    uint64_t      waiting_seq, waiting_end; /* newest frame and the journal offset behind it */
    uint64_t      marked_seq,
        marked_end; /* an older one: in a steady stream the newest is never durable yet; 0 = none */
    uint64_t       acked;
    char           to[XD_ADDRESS_LEN]; /* who its frames are for */
    bool           again;              /* a duplicate came: acknowledge once more */
    UT_hash_handle hh;
} xd_broker_sender;

typedef struct xd_broker_run {
    char              id[XD_RUN_ID_SIZE];
    xd_bus           *bus;    /* its fault and its broken_fd are for other threads, too */
    void             *socket; /* the broker's */
    char              owner[XD_ADDRESS_LEN];
    xd_journal       *journal;  /* NULL = none */
    xd_broker_peer   *peers;    /* by address */
    xd_broker_peer   *dead;     /* forgotten in this turn, perhaps in the middle of a walk over `peers` */
    xd_broker_sender *senders;  /* by gateway */
    bool              backlog;  /* some peer has a queue */
    bool              full;     /* the journal has reached its limit; told */
    bool              appended; /* in this turn */
    xd_broker_stats   stats;
    UT_hash_handle    hh;
} xd_broker_run;

/* What another thread wants of the broker's. */
typedef struct xd_broker_command {
    enum xd_broker_what { XD_BROKER_OPEN, XD_BROKER_CLOSE, XD_BROKER_END } what;
    xd_broker_run            *run; /* OPEN: taken; CLOSE: given back, and nothing of the broker's knows it */
    int                       result;
    bool                      done;
    struct xd_broker_command *next;
} xd_broker_command;

struct xd_broker {
    xd_log             log;
    xd_bus_context    *ctx;
    void              *socket;
    pthread_t          thread;
    xd_broker_run     *runs;  /* by id */
    zmq_pollitem_t    *items; /* the socket, wake_fd, and for each run with a journal its commits */
    int                n_items;
    uint32_t           room; /* of items, in runs */
    int                wake_fd;
    pthread_mutex_t    lock; /* protects the others */
    pthread_cond_t     changed;
    xd_broker_command *commands;
    uint32_t           open; /* number of runs */
};

/* ---- broker_run.c -------------------------------------------------------------------------------------- */

/* Takes *journal (NULL ok) and borrows bus. */
int xd_broker_run_new(xd_broker_run **ret, void *socket, xd_bus *bus, const xd_broker_run_args *args) XD_MUST;
/* Makes the end of the journal durable; a fault becomes that of the bus. The broker does not have the run any more. */
void           xd_broker_run_finish(xd_broker_run *r);
xd_broker_run *xd_broker_run_free(xd_broker_run *r); /* closes the journal */
/* A message of this run, from the peer with this routing id; takes the body. */
void xd_broker_run_take(xd_broker_run *r, const uint8_t *id, size_t id_len, const xd_envelope *env,
                        zmq_msg_t *body);
/* At the end of each turn: TAIL, what waits, ACK. */
void xd_broker_run_turn(xd_broker_run *r);
