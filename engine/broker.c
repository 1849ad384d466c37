/* engine/broker.c - see broker.h. */
#include "engine/broker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "engine/bus.h"
#include "engine/session.h"

#define MESSAGES_PER_TURN 256
#define RETRY_MS 2

typedef struct queued {
    struct queued *next;
    xd_envelope    env;
    zmq_msg_t      body;
} queued;

typedef struct peer {
    char           address[XD_ADDRESS_LEN];
    uint8_t        id[64]; /* routing id */
    size_t         id_len;
    queued        *first, *last; /* what its socket did not take yet */
    uint32_t       length, limit;
    bool           subscribed, tail_open, tail_wanted;
    char           missed[XD_ADDRESS_LEN]; /* the unknown address it was told of last */
    struct peer   *next_dead;
    UT_hash_handle hh;
} peer;

/* Frames of one gateway on their way to being durable. */
typedef struct sender {
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
} sender;

struct xd_broker {
    xd_bus         *bus;
    void           *socket;
    int             stop_fd, broken_fd;
    pthread_t       thread;
    xd_journal     *journal;
    peer           *peers;   /* by address */
    peer           *dead;    /* forgotten in this turn, perhaps in the middle of a walk over `peers` */
    sender         *senders; /* by gateway */
    bool            backlog; /* some peer has a queue */
    bool            full;    /* the journal has reached its limit; told */
    int             fault;   /* of the journal, reported */
    xd_broker_stats stats;
};

/* ---- sending ------------------------------------------------------------------------------------- */

static int send_to(xd_broker *b, const peer *p, const xd_envelope *env, zmq_msg_t *body)
{
    if (zmq_send(b->socket, p->id, p->id_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return -errno;
    return xd_bus_send(b->socket, env, body);
}

static void post(xd_broker *b, const char *to, const char *from, uint16_t type, const void *body, size_t len);

static void forget(xd_broker *b, peer *p)
{
    while (p->first) {
        queued *q = p->first;
        p->first = q->next;
        zmq_msg_close(&q->body);
        free(q);
    }
    p->last = NULL;
    p->subscribed = false;
    HASH_DEL(b->peers, p);
    p->next_dead = b->dead;
    b->dead = p;
}

static void bury(xd_broker *b)
{
    while (b->dead) {
        peer *p = b->dead;
        b->dead = p->next_dead;
        free(p);
    }
}

static void gone(xd_broker *b, peer *p, const char *why)
{
    char text[128];
    snprintf(text, sizeof(text), "%s: %s", p->address, why);
    xd_log_write(&b->bus->log, XD_LOG_WARNING, "broker: %s", text);
    char     address[XD_ADDRESS_LEN];
    uint64_t one = 1;
    memcpy(address, p->address, sizeof(address));
    forget(b, p);
    if (strcmp(address, "sched") != 0)
        post(b, "sched", address, XD_MSG_GONE, text, strlen(text));
    else
        (void)!write(b->broken_fd, &one,
                     sizeof(one)); /* nobody is left who could end the run: the engine must */
}

/* The sender learns that nobody is there; once per address, not once per message. */
static void unroutable(xd_broker *b, const xd_envelope *env)
{
    peer *p;
    b->stats.unroutable++;
    HASH_FIND_STR(b->peers, env->from, p);
    if (!p || strcmp(p->missed, env->to) == 0)
        return;
    memcpy(p->missed, env->to, sizeof(p->missed));
    post(b, p->address, p->missed, XD_MSG_UNKNOWN, "", 0);
}

/* Takes the body in any case. */
static void enqueue(xd_broker *b, peer *p, const xd_envelope *env, zmq_msg_t *body)
{
    queued *q = p->length < p->limit ? malloc(sizeof(*q)) : NULL;
    if (!q) {
        zmq_msg_close(body);
        b->stats.overflows++;
        gone(b, p, "does not read its messages");
        return;
    }
    q->next = NULL;
    q->env = *env;
    zmq_msg_init(&q->body);
    zmq_msg_move(&q->body, body);
    if (p->last)
        p->last->next = q;
    else
        p->first = q;
    p->last = q;
    p->length++;
    b->backlog = true;
    b->stats.queued++;
}

/* Takes the body in any case. */
static void route(xd_broker *b, const xd_envelope *env, zmq_msg_t *body)
{
    peer *p;
    HASH_FIND_STR(b->peers, env->to, p);
    if (!p) {
        zmq_msg_close(body);
        unroutable(b, env);
        return;
    }
    int r = p->first ? -EAGAIN : send_to(b, p, env, body);
    if (r == -EAGAIN) {
        enqueue(b, p, env, body);
    } else if (r < 0) {
        zmq_msg_close(body);
        forget(b, p); /* its socket is closed: it has ended */
    }
}

static void post(xd_broker *b, const char *to, const char *from, uint16_t type, const void *body, size_t len)
{
    zmq_msg_t   part;
    xd_envelope env = { .type = type };
    if (zmq_msg_init_size(&part, len) < 0)
        return;
    memcpy(zmq_msg_data(&part), body, len);
    snprintf(env.to, sizeof(env.to), "%s", to);
    snprintf(env.from, sizeof(env.from), "%s", from);
    route(b, &env, &part);
}

static void flush_queues(xd_broker *b)
{
    peer *p, *next;
    b->backlog = false;
    HASH_ITER(hh, b->peers, p, next)
    {
        while (p->first) {
            queued *q = p->first;
            int     r = send_to(b, p, &q->env, &q->body);
            if (r == -EAGAIN) {
                b->backlog = true;
                break;
            }
            if (r < 0) {
                forget(b, p);
                break;
            }
            p->first = q->next;
            if (!p->first)
                p->last = NULL;
            p->length--;
            free(q);
        }
    }
}

/* ---- journal, acknowledgements, tail ----------------------------------------------------------------- */

static void report_fault(xd_broker *b, int fault)
{
    if (b->fault)
        return;
    __atomic_store_n(&b->fault, fault, __ATOMIC_RELEASE);
    int32_t code = fault;
    xd_log_write(&b->bus->log, XD_LOG_ERROR,
                 "the journal cannot be written: %s; the run ends, its results are incomplete",
                 xd_error_name(fault));
    post(b, "sched", "", XD_MSG_FAULT, &code, sizeof(code));
}

/* What an agent says and the journal has no room for is as if it had not been said. */
static void report_full(xd_broker *b)
{
    int32_t code = -EDQUOT;
    if (!b->full)
        post(b, "sched", "", XD_MSG_FAULT, &code, sizeof(code));
    b->full = true;
}

static sender *find_sender(xd_broker *b, const xd_envelope *env)
{
    sender *s;
    HASH_FIND(hh, b->senders, &env->gateway, sizeof(env->gateway), s);
    if (!s && (s = calloc(1, sizeof(*s)))) {
        s->gateway = env->gateway;
        memcpy(s->address, env->from, sizeof(s->address));
        HASH_ADD(hh, b->senders, gateway, sizeof(s->gateway), s);
        if (!s->hh.tbl) {
            free(s);
            s = NULL;
        }
    }
    return s;
}

/* 0 = recorded, go on and route; 1 = drop it; -errno. */
static int record(xd_broker *b, const xd_envelope *env, zmq_msg_t *body)
{
    xd_frame       f;
    const uint8_t *data = zmq_msg_data(body);
    size_t         len = zmq_msg_size(body);
    if (len < XD_FRAME_HEADER || xd_wire_header(data, &f) < 0 || f.len != len - XD_FRAME_HEADER)
        return -EPROTO;
    sender *s = NULL;
    if (f.seq) {
        s = find_sender(b, env);
        if (!s)
            return -ENOMEM;
        int verdict = xd_session_rx_seen(&s->rx, f.seq);
        b->stats.duplicates += verdict == XD_SESSION_DUPLICATE;
        b->stats.gaps += verdict == XD_SESSION_GAP;
        s->again |= verdict == XD_SESSION_DUPLICATE;
        if (verdict != XD_SESSION_TAKE)
            return 1;
        if (b->full || (b->journal && xd_journal_full(b->journal, len))) {
            report_full(b);
            return 1;
        }
    }
    uint64_t end = 0;
    if (b->journal) {
        int r = xd_journal_append(b->journal, data, len, env->gateway, &end);
        if (r < 0) {
            report_fault(b, r);
            return 0; /* the run is being ended; what still comes is shown but not acknowledged */
        }
    }
    b->stats.journaled++;
    b->stats.frames_bytes += len;
    if (s) {
        memcpy(s->to, env->to, sizeof(s->to));
        s->waiting_seq = f.seq;
        s->waiting_end = end;
        if (!s->marked_seq) {
            s->marked_seq = f.seq;
            s->marked_end = end;
        }
    }
    return 0;
}

/* Moves s->acked on to what is durable; false: nothing new. */
static bool advance(sender *s, uint64_t durable)
{
    uint64_t before = s->acked;
    if (s->marked_seq && s->marked_end <= durable) {
        s->acked = s->marked_seq;
        s->marked_seq = s->waiting_seq > s->acked ? s->waiting_seq : 0;
        s->marked_end = s->waiting_end;
    }
    if (s->waiting_seq > s->acked && s->waiting_end <= durable) {
        s->acked = s->waiting_seq;
        s->marked_seq = 0;
    }
    return s->acked > before;
}

/* True while too much waits for the reader of this gateway's frames. Acknowledgements then wait too: that
 * stops the agent when its window is used up, long before the reader's queue is full. */
static bool reader_lags(xd_broker *b, const sender *s)
{
    peer *p;
    HASH_FIND_STR(b->peers, s->to, p);
    return p && p->length > p->limit / 8;
}

static void acknowledge(xd_broker *b)
{
    uint64_t durable = b->journal ? xd_journal_durable(b->journal) : UINT64_MAX;
    sender  *s, *next;
    if (b->journal && xd_journal_fault(b->journal) < 0)
        report_fault(b, xd_journal_fault(b->journal));
    HASH_ITER(hh, b->senders, s, next)
    {
        if (reader_lags(b, s))
            continue;
        bool news = advance(s, durable);
        if (!news && !(s->again && s->acked))
            continue;
        s->again = false;
        xd_autobuf  frame = XD_BUF_INIT;
        xd_wire_ACK ack = { .acked = s->acked };
        if (xd_wire_ACK_frame(&frame, 0, 0, &ack) == 0)
            post(b, s->address, "", XD_MSG_ACK, frame.data, frame.len);
        b->stats.acks++;
    }
}

static void send_tail(xd_broker *b, peer *p)
{
    uint64_t end = xd_journal_end(b->journal);
    p->tail_open = true;
    p->tail_wanted = false;
    post(b, p->address, "", XD_MSG_TAIL, &end, sizeof(end));
}

static void announce_tail(xd_broker *b)
{
    peer *p, *next;
    if (!b->journal)
        return;
    HASH_ITER(hh, b->peers, p, next)
    {
        if (p->subscribed && !p->tail_open)
            send_tail(b, p);
        else if (p->subscribed)
            p->tail_wanted = true;
    }
}

/* ---- receiving --------------------------------------------------------------------------------------- */

static void register_peer(xd_broker *b, const uint8_t *id, size_t id_len, const xd_envelope *env)
{
    peer *p;
    HASH_FIND_STR(b->peers, env->from, p);
    if (p)
        forget(b, p); /* a restarted actor takes its address over */
    for (p = b->peers; p; p = p->hh.next)
        if (strcmp(p->missed, env->from) == 0)
            p->missed[0] = 0;
    p = calloc(1, sizeof(*p));
    if (!p)
        return;
    memcpy(p->address, env->from, sizeof(p->address));
    memcpy(p->id, id, id_len);
    p->id_len = id_len;
    p->limit = env->window_high * 16u;
    HASH_ADD_STR(b->peers, address, p);
    if (!p->hh.tbl) {
        free(p);
        return;
    }
    post(b, p->address, "", XD_MSG_REGISTER, "", 0);
}

static void for_broker(xd_broker *b, const uint8_t *id, size_t id_len, const xd_envelope *env)
{
    peer *p;
    if (env->type == XD_MSG_REGISTER) {
        register_peer(b, id, id_len, env);
        return;
    }
    HASH_FIND_STR(b->peers, env->from, p);
    if (!p)
        return;
    if (env->type == XD_MSG_SUBSCRIBE) {
        p->subscribed = true;
        if (b->journal)
            send_tail(b, p);
    } else if (env->type == XD_MSG_TAIL) {
        p->tail_open = false;
        if (p->tail_wanted && b->journal)
            send_tail(b, p);
    }
}

/* 0 = took one, -EAGAIN = nothing waits. */
static int take_one(xd_broker *b, bool *appended)
{
    uint8_t     id[64];
    xd_envelope env;
    zmq_msg_t   body;
    int         n = zmq_recv(b->socket, id, sizeof(id), ZMQ_DONTWAIT);
    if (n < 0)
        return -errno;
    zmq_msg_init(&body);
    int r = xd_bus_recv(b->socket, &env, &body);
    if (r < 0 || n > (int)sizeof(id)) {
        zmq_msg_close(&body);
        return 0;
    }
    b->stats.messages++;
    if (env.flags & XD_FLAG_JOURNAL) {
        r = record(b, &env, &body);
        if (r != 0) {
            if (r < 0)
                xd_log_write(&b->bus->log, XD_LOG_WARNING, "broker: dropped a frame from %s: %s", env.from,
                             xd_error_name(r));
            zmq_msg_close(&body);
            return 0;
        }
        *appended = true;
    }
    if (env.to[0]) {
        route(b, &env, &body);
    } else {
        if (!(env.flags & XD_FLAG_JOURNAL))
            for_broker(b, id, (size_t)n, &env);
        zmq_msg_close(&body);
    }
    return 0;
}

static void *broker_main(void *arg)
{
    xd_broker *b = arg;
    pthread_setname_np(pthread_self(), "xd-broker");
    for (bool stopping = false; !stopping;) {
        zmq_pollitem_t items[3] = { { .socket = b->socket, .events = ZMQ_POLLIN },
                                    { .fd = b->stop_fd, .events = ZMQ_POLLIN },
                                    { .fd = b->journal ? xd_journal_commit_fd(b->journal) : -1,
                                      .events = ZMQ_POLLIN } };
        if (zmq_poll(items, b->journal ? 3 : 2, b->backlog ? RETRY_MS : -1) < 0 && errno != EINTR)
            break;
        bool     appended = false;
        uint64_t n;
        /* Once told to stop, what is in the inbox is still taken. */
        stopping = items[1].revents != 0;
        for (int i = 0; i < MESSAGES_PER_TURN || stopping; i++)
            if (take_one(b, &appended) == -EAGAIN)
                break;
        if (b->journal && items[2].revents)
            (void)!read(xd_journal_commit_fd(b->journal), &n, sizeof(n));
        if (appended)
            announce_tail(b);
        if (b->backlog)
            flush_queues(b);
        acknowledge(b);
        bury(b);
    }
    return NULL;
}

/* ---- start and stop ---------------------------------------------------------------------------------- */

static void release(xd_broker *b)
{
    peer   *p, *next_peer;
    sender *s, *next_sender;
    HASH_ITER(hh, b->peers, p, next_peer)
    {
        forget(b, p);
    }
    bury(b);
    HASH_ITER(hh, b->senders, s, next_sender)
    {
        HASH_DEL(b->senders, s);
        free(s);
    }
    if (b->socket)
        zmq_close(b->socket);
    if (b->stop_fd >= 0)
        close(b->stop_fd);
    if (b->broken_fd >= 0)
        close(b->broken_fd);
    xd_journal_close(b->journal);
    free(b);
}

int xd_broker_start(xd_broker **ret, xd_bus *bus, xd_journal **journal, xd_error *err)
{
    xd_broker *b = calloc(1, sizeof(*b));
    sigset_t   all, old;
    int        on = 1;
    if (!b)
        return -ENOMEM;
    b->bus = bus;
    b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->broken_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = b->stop_fd < 0 || b->broken_fd < 0 ? -errno : xd_bus_socket(bus, ZMQ_ROUTER, &b->socket);
    if (r == 0 && (zmq_setsockopt(b->socket, ZMQ_ROUTER_MANDATORY, &on, sizeof(on)) < 0 ||
                   zmq_bind(b->socket, bus->endpoint) < 0))
        r = -errno;
    if (r == 0) {
        b->journal = journal ? xd_take(journal) : NULL;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = -pthread_create(&b->thread, NULL, broker_main, b);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (r < 0) {
        release(b);
        return xd_error_set(err, r, "cannot start the broker: %s", xd_error_name(r));
    }
    *ret = b;
    return 0;
}

int xd_broker_broken_fd(const xd_broker *b)
{
    return b->broken_fd;
}

int xd_broker_fault(const xd_broker *b)
{
    return __atomic_load_n(&b->fault, __ATOMIC_ACQUIRE);
}

xd_broker *xd_broker_stop(xd_broker *b, xd_broker_stats *ret_stats, int *ret_fault)
{
    if (!b)
        return NULL;
    uint64_t one = 1;
    (void)!write(b->stop_fd, &one, sizeof(one));
    pthread_join(b->thread, NULL);
    if (ret_stats)
        *ret_stats = b->stats;
    if (ret_fault)
        *ret_fault = b->fault;
    release(b);
    return NULL;
}
