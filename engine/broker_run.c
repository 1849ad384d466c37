/* engine/broker_run.c - see broker_state.h: one run of a broker. Nothing here sees another run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/broker_state.h"

/* ---- sending ------------------------------------------------------------------------------------- */

static int send_to(xd_broker_run *run, const xd_broker_peer *p, const xd_envelope *env, zmq_msg_t *body)
{
    if (zmq_send(run->socket, p->id, p->id_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return -errno;
    return xd_bus_send(run->socket, env, body);
}

static void post(xd_broker_run *run, const char *to, const char *from, uint16_t type, const void *body,
                 size_t len);

static void forget(xd_broker_run *run, xd_broker_peer *p)
{
    while (p->first) {
        xd_broker_queued *q = p->first;
        p->first = q->next;
        zmq_msg_close(&q->body);
        free(q);
    }
    p->last = NULL;
    p->subscribed = false;
    HASH_DEL(run->peers, p);
    p->next_dead = run->dead;
    run->dead = p;
}

static void bury(xd_broker_run *run)
{
    while (run->dead) {
        xd_broker_peer *p = run->dead;
        run->dead = p->next_dead;
        free(p);
    }
}

static void gone(xd_broker_run *run, xd_broker_peer *p, const char *why)
{
    char text[128];
    snprintf(text, sizeof(text), "%s: %s", p->address, why);
    xd_log_write(&run->bus->log, XD_LOG_WARNING, "broker: %s", text);
    char     address[XD_ADDRESS_LEN];
    uint64_t one = 1;
    memcpy(address, p->address, sizeof(address));
    forget(run, p);
    if (strcmp(address, run->owner) != 0)
        post(run, run->owner, address, XD_MSG_GONE, text, strlen(text));
    else
        (void)!write(run->bus->broken_fd, &one,
                     sizeof(one)); /* nobody is left who could end the run: the engine must */
}

/* The sender learns that nobody is there; once per address, not once per message. */
static void unroutable(xd_broker_run *run, const xd_envelope *env)
{
    xd_broker_peer *p;
    run->stats.unroutable++;
    HASH_FIND_STR(run->peers, env->from, p);
    if (!p || strcmp(p->missed, env->to) == 0)
        return;
    memcpy(p->missed, env->to, sizeof(p->missed));
    post(run, p->address, p->missed, XD_MSG_UNKNOWN, "", 0);
}

/* Takes the body in any case. */
static void enqueue(xd_broker_run *run, xd_broker_peer *p, const xd_envelope *env, zmq_msg_t *body)
{
    xd_broker_queued *q = p->length < p->limit ? malloc(sizeof(*q)) : NULL;
    if (!q) {
        zmq_msg_close(body);
        run->stats.overflows++;
        gone(run, p, "does not read its messages");
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
    run->backlog = true;
    run->stats.queued++;
}

/* Takes the body in any case. */
static void route(xd_broker_run *run, const xd_envelope *env, zmq_msg_t *body)
{
    xd_broker_peer *p;
    HASH_FIND_STR(run->peers, env->to, p);
    if (!p) {
        zmq_msg_close(body);
        unroutable(run, env);
        return;
    }
    int r = p->first ? -EAGAIN : send_to(run, p, env, body);
    if (r == -EAGAIN) {
        enqueue(run, p, env, body);
    } else if (r < 0) {
        zmq_msg_close(body);
        forget(run, p); /* its socket is closed: it has ended */
    }
}

static void post(xd_broker_run *run, const char *to, const char *from, uint16_t type, const void *body,
                 size_t len)
{
    zmq_msg_t   part;
    xd_envelope env = { .type = type };
    if (zmq_msg_init_size(&part, len) < 0)
        return;
    memcpy(zmq_msg_data(&part), body, len);
    memcpy(env.run, run->id, sizeof(env.run));
    snprintf(env.to, sizeof(env.to), "%s", to);
    snprintf(env.from, sizeof(env.from), "%s", from);
    route(run, &env, &part);
}

static void flush_queues(xd_broker_run *run)
{
    xd_broker_peer *p, *next;
    run->backlog = false;
    HASH_ITER(hh, run->peers, p, next)
    {
        while (p->first) {
            xd_broker_queued *q = p->first;
            int               r = send_to(run, p, &q->env, &q->body);
            if (r == -EAGAIN) {
                run->backlog = true;
                break;
            }
            if (r < 0) {
                forget(run, p);
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

static bool note_fault(xd_broker_run *run, int fault)
{
    if (run->bus->fault)
        return false;
    __atomic_store_n(&run->bus->fault, fault, __ATOMIC_RELEASE);
    xd_log_write(&run->bus->log, XD_LOG_ERROR,
                 "the journal cannot be written: %s; the run ends, its results are incomplete",
                 xd_error_name(fault));
    return true;
}

static void report_fault(xd_broker_run *run, int fault)
{
    int32_t code = fault;
    if (note_fault(run, fault))
        post(run, run->owner, "", XD_MSG_FAULT, &code, sizeof(code));
}

/* What an agent says and the journal has no room for is as if it had not been said. */
static void report_full(xd_broker_run *run)
{
    int32_t code = -EDQUOT;
    if (!run->full)
        post(run, run->owner, "", XD_MSG_FAULT, &code, sizeof(code));
    run->full = true;
}

static xd_broker_sender *find_sender(xd_broker_run *run, const xd_envelope *env)
{
    xd_broker_sender *s;
    HASH_FIND(hh, run->senders, &env->gateway, sizeof(env->gateway), s);
    if (!s && (s = calloc(1, sizeof(*s)))) {
        s->gateway = env->gateway;
        memcpy(s->address, env->from, sizeof(s->address));
        HASH_ADD(hh, run->senders, gateway, sizeof(s->gateway), s);
        if (!s->hh.tbl) {
            free(s);
            s = NULL;
        }
    }
    return s;
}

/* 0 = recorded, go on and route; 1 = drop it; -errno. */
static int record(xd_broker_run *run, const xd_envelope *env, zmq_msg_t *body)
{
    xd_frame       f;
    const uint8_t *data = zmq_msg_data(body);
    size_t         len = zmq_msg_size(body);
    if (len < XD_FRAME_HEADER || xd_wire_header(data, &f) < 0 || f.len != len - XD_FRAME_HEADER)
        return -EPROTO;
    xd_broker_sender *s = NULL;
    if (f.seq) {
        s = find_sender(run, env);
        if (!s)
            return -ENOMEM;
        int verdict = xd_session_rx_seen(&s->rx, f.seq);
        run->stats.duplicates += verdict == XD_SESSION_DUPLICATE;
        run->stats.gaps += verdict == XD_SESSION_GAP;
        s->again |= verdict == XD_SESSION_DUPLICATE;
        if (verdict != XD_SESSION_TAKE)
            return 1;
        if (run->full || (run->journal && xd_journal_full(run->journal, len))) {
            report_full(run);
            return 1;
        }
    }
    uint64_t end = 0;
    if (run->journal) {
        int r = xd_journal_append(run->journal, data, len, env->gateway, &end);
        if (r < 0) {
            report_fault(run, r);
            return 0; /* the run is being ended; what still comes is shown but not acknowledged */
        }
    }
    run->stats.journaled++;
    run->stats.frames_bytes += len;
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
static bool advance(xd_broker_sender *s, uint64_t durable)
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
static bool reader_lags(xd_broker_run *run, const xd_broker_sender *s)
{
    xd_broker_peer *p;
    HASH_FIND_STR(run->peers, s->to, p);
    return p && p->length > p->limit / 8;
}

static void acknowledge(xd_broker_run *run)
{
    uint64_t          durable = run->journal ? xd_journal_durable(run->journal) : UINT64_MAX;
    xd_broker_sender *s, *next;
    if (run->journal && xd_journal_fault(run->journal) < 0)
        report_fault(run, xd_journal_fault(run->journal));
    HASH_ITER(hh, run->senders, s, next)
    {
        if (reader_lags(run, s))
            continue;
        bool news = advance(s, durable);
        if (!news && !(s->again && s->acked))
            continue;
        s->again = false;
        xd_autobuf  frame = XD_BUF_INIT;
        xd_wire_ACK ack = { .acked = s->acked };
        if (xd_wire_ACK_frame(&frame, 0, 0, &ack) == 0)
            post(run, s->address, "", XD_MSG_ACK, frame.data, frame.len);
        run->stats.acks++;
    }
}

static void send_tail(xd_broker_run *run, xd_broker_peer *p)
{
    uint64_t end = xd_journal_end(run->journal);
    p->tail_open = true;
    p->tail_wanted = false;
    post(run, p->address, "", XD_MSG_TAIL, &end, sizeof(end));
}

static void announce_tail(xd_broker_run *run)
{
    xd_broker_peer *p, *next;
    if (!run->journal)
        return;
    HASH_ITER(hh, run->peers, p, next)
    {
        if (p->subscribed && !p->tail_open)
            send_tail(run, p);
        else if (p->subscribed)
            p->tail_wanted = true;
    }
}

/* ---- receiving --------------------------------------------------------------------------------------- */

static void register_peer(xd_broker_run *run, const uint8_t *id, size_t id_len, const xd_envelope *env)
{
    xd_broker_peer *p;
    HASH_FIND_STR(run->peers, env->from, p);
    if (p)
        forget(run, p); /* a restarted actor takes its address over */
    for (p = run->peers; p; p = p->hh.next)
        if (strcmp(p->missed, env->from) == 0)
            p->missed[0] = 0;
    p = calloc(1, sizeof(*p));
    if (!p)
        return;
    memcpy(p->address, env->from, sizeof(p->address));
    memcpy(p->id, id, id_len);
    p->id_len = id_len;
    p->limit = env->window_high * 16u;
    HASH_ADD_STR(run->peers, address, p);
    if (!p->hh.tbl) {
        free(p);
        return;
    }
    post(run, p->address, "", XD_MSG_REGISTER, "", 0);
}

static void for_broker(xd_broker_run *run, const uint8_t *id, size_t id_len, const xd_envelope *env)
{
    xd_broker_peer *p;
    if (env->type == XD_MSG_REGISTER) {
        register_peer(run, id, id_len, env);
        return;
    }
    HASH_FIND_STR(run->peers, env->from, p);
    if (!p)
        return;
    if (env->type == XD_MSG_SUBSCRIBE) {
        p->subscribed = true;
        if (run->journal)
            send_tail(run, p);
    } else if (env->type == XD_MSG_TAIL) {
        p->tail_open = false;
        if (p->tail_wanted && run->journal)
            send_tail(run, p);
    }
}

void xd_broker_run_take(xd_broker_run *run, const uint8_t *id, size_t id_len, const xd_envelope *env,
                        zmq_msg_t *body)
{
    run->stats.messages++;
    if (env->flags & XD_FLAG_JOURNAL) {
        int r = record(run, env, body);
        if (r < 0)
            xd_log_write(&run->bus->log, XD_LOG_WARNING, "broker: dropped a frame from %s: %s", env->from,
                         xd_error_name(r));
        if (r != 0) {
            zmq_msg_close(body);
            return;
        }
        run->appended = true;
    }
    if (env->to[0]) {
        route(run, env, body);
    } else {
        if (!(env->flags & XD_FLAG_JOURNAL))
            for_broker(run, id, id_len, env);
        zmq_msg_close(body);
    }
}

void xd_broker_run_turn(xd_broker_run *run)
{
    if (run->appended)
        announce_tail(run);
    run->appended = false;
    if (run->backlog)
        flush_queues(run);
    acknowledge(run);
    bury(run);
}

int xd_broker_run_new(xd_broker_run **ret, void *socket, xd_bus *bus, const xd_broker_run_args *args)
{
    xd_broker_run *run = calloc(1, sizeof(*run));
    if (!run)
        return -ENOMEM;
    memcpy(run->id, bus->run, sizeof(run->id));
    snprintf(run->owner, sizeof(run->owner), "%s", args->owner);
    run->bus = bus;
    run->socket = socket;
    run->journal = args->journal ? xd_take(args->journal) : NULL;
    *ret = run;
    return 0;
}

void xd_broker_run_finish(xd_broker_run *run)
{
    int fault = run->journal ? xd_journal_finish(run->journal) : 0;
    if (fault < 0)
        (void)!note_fault(run, fault);
}

xd_broker_run *xd_broker_run_free(xd_broker_run *run)
{
    xd_broker_peer   *p, *next_peer;
    xd_broker_sender *s, *next_sender;
    if (!run)
        return NULL;
    HASH_ITER(hh, run->peers, p, next_peer)
    {
        forget(run, p);
    }
    bury(run);
    HASH_ITER(hh, run->senders, s, next_sender)
    {
        HASH_DEL(run->senders, s);
        free(s);
    }
    xd_journal_close(run->journal);
    free(run);
    return NULL;
}
