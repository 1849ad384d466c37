/* link.c - see sim.h: the stream between an agent and the controller.  The real session numbers, keeps,
 * resends and sorts out duplicates; this file loses connections, delays bytes and now and then delivers a
 * frame twice. */
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"
#include "tests/sim/sim.h"

#define MSG_BYTES 24u
#define FRAME_TYPE 0x3ff0u

typedef struct side { /* one direction */
    xd_session_tx *tx;
    xd_session_rx  rx;
    sim_frame    **wait; /* for credit */
    uint32_t       wait_len, wait_cap;
    uint64_t       last_ns; /* arrival of the newest frame: a stream keeps order */
    bool           ack_due;
} side;

struct sim_link {
    side     dir[2]; /* [up] */
    uint32_t connection;
    bool     down;
    uint32_t sluggish_us;
};

void sim_link_start(sim_world *w, uint32_t a)
{
    sim_link *l = w->agent[a].link = sim_alloc(sizeof *l);
    l->sluggish_us = sim_chance(w, 30) ? 1000 + sim_rand(w, 20000) : 300;
    uint32_t frames = 1 + sim_rand(w, 256);
    if (frames < 128)
        w->broken = true; /* so little credit that it slows the run */
    for (int d = 0; d < 2; d++)
        if (xd_session_tx_new(&l->dir[d].tx, frames, frames * 100) < 0)
            sim_fault(w, "no session");
}

void sim_link_free(sim_agent *g)
{
    if (!g->link)
        return;
    for (int d = 0; d < 2; d++) {
        side *s = &g->link->dir[d];
        xd_session_tx_free(s->tx);
        for (uint32_t i = 0; i < s->wait_len; i++)
            free(s->wait[i]);
        free(s->wait);
    }
    free(g->link);
}

static void fly(sim_world *w, uint32_t a, bool up, xd_bytes frame)
{
    sim_link *l = w->agent[a].link;
    side     *s = &l->dir[up];
    if (l->down)
        return; /* the session keeps it */
    const uint32_t copies = sim_chance(w, 1) ? 2 : 1;
    for (uint32_t times = copies; times > 0; times--) {
        sim_frame *f = sim_alloc(sizeof *f + frame.len);
        f->len = frame.len;
        f->first = copies; /* a second one is no resending */
        memcpy(f->u.bytes, frame.ptr, frame.len);
        uint64_t at = w->now + 1000ull * (20 + sim_rand(w, l->sluggish_us));
        s->last_ns = at > s->last_ns ? at : s->last_ns;
        sim_at(w, s->last_ns,
               (sim_event){ .kind = EV_STREAM, .a = a, .b = up, .c = l->connection, .ptr = f });
    }
}

static void flush(sim_world *w, uint32_t a, bool up)
{
    side    *s = &w->agent[a].link->dir[up];
    uint32_t n = 0;
    while (n < s->wait_len && xd_session_tx_credit(s->tx, s->wait[n]->len)) {
        xd_bytes view;
        if (xd_session_tx_push(s->tx, s->wait[n]->u.bytes, s->wait[n]->len, &view) < 0)
            sim_fault(w, "session refuses a frame");
        else
            fly(w, a, up, view);
        free(s->wait[n++]);
    }
    if (n)
        memmove(s->wait, s->wait + n, (s->wait_len -= n) * sizeof(sim_frame *));
}

void sim_link_send(sim_world *w, uint32_t a, bool up, const uint32_t msg[6], const xd_span *spans,
                   uint32_t count)
{
    side      *s = &w->agent[a].link->dir[up];
    xd_autobuf b = XD_BUF_INIT;
    size_t     mark;
    if (xd_wire_frame_begin(&b, FRAME_TYPE, 0, 0, &mark) < 0 || xd_buf_add(&b, msg, MSG_BYTES) < 0 ||
        xd_buf_add(&b, spans, count * sizeof *spans) < 0 || xd_wire_frame_end(&b, mark) < 0)
        abort();
    sim_frame *f = sim_alloc(sizeof *f + b.len);
    f->len = b.len;
    memcpy(f->u.bytes, b.data, b.len);
    if (s->wait_len == s->wait_cap) {
        s->wait_cap = s->wait_cap ? 2 * s->wait_cap : 16;
        s->wait = realloc(s->wait, s->wait_cap * sizeof(sim_frame *));
        if (!s->wait)
            abort();
    }
    s->wait[s->wait_len++] = f;
    flush(w, a, up);
}

static void deliver(sim_world *w, uint32_t a, bool up, const sim_frame *f)
{
    sim_link *l = w->agent[a].link;
    side     *s = &l->dir[up];
    xd_frame  head;
    if (xd_wire_header(f->u.bytes, &head) < 0) {
        sim_fault(w, "header of a frame is damaged");
        return;
    }
    if (!s->ack_due) {
        s->ack_due = true;
        sim_at(w, w->now + sim_between(w, 0, 20 * MS),
               (sim_event){ .kind = EV_ACK, .a = a, .b = up, .c = l->connection });
    }
    int r = xd_session_rx_seen(&s->rx, head.seq);
    if (r == XD_SESSION_DUPLICATE) {
        if (f->first < 2)
            sim_fault(w, "frame %llu was sent again although it had been taken",
                      (unsigned long long)head.seq);
        return;
    }
    if (r != XD_SESSION_TAKE) {
        sim_fault(w, "gap in a stream: %llu", (unsigned long long)head.seq);
        return;
    }
    uint32_t msg[6], count = (uint32_t)((head.len - MSG_BYTES) / sizeof(xd_span));
    xd_span *spans = sim_alloc((count + 1) * sizeof *spans);
    memcpy(msg, f->u.bytes + XD_FRAME_HEADER, MSG_BYTES);
    memcpy(spans, f->u.bytes + XD_FRAME_HEADER + MSG_BYTES, count * sizeof *spans);
    if (up)
        sim_ctl_message(w, a, msg, spans, count);
    else
        sim_agent_message(w, a, msg, spans, count);
    free(spans);
}

typedef struct resend {
    sim_world *w;
    uint32_t   a;
    bool       up;
} resend;

static int resend_one(void *arg, xd_bytes frame)
{
    resend *r = arg;
    fly(r->w, r->a, r->up, frame);
    return 0;
}

/* HELLO and WELCOME say how far each side has come; what follows is sent again. The agent has taken its commands for good; what
 * the controller took of the agent is forgotten there only when the journal has it. */
static void reconnect(sim_world *w, uint32_t a)
{
    sim_link *l = w->agent[a].link;
    l->down = false;
    for (int d = 0; d < 2; d++) {
        side *s = &l->dir[d];
        s->ack_due = false;
        s->last_ns = w->now;
        if (xd_session_tx_taken(s->tx, s->rx.last) != 0)
            sim_fault(w, "the other side is too far back, or in the future");
        if ((d == 0 || sim_chance(w, 50)) && xd_session_tx_acked(s->tx, s->rx.last) < 0)
            sim_fault(w, "acknowledged beyond what was sent");
        if (xd_session_tx_resend(s->tx, s->rx.last, resend_one, &(resend){ w, a, d != 0 }) < 0)
            sim_fault(w, "resend failed");
        flush(w, a, d != 0);
    }
    l->dir[1].ack_due =
        true; /* the last acknowledgement may have been cut off, and nothing that comes would bring another one */
    sim_at(w, w->now + sim_between(w, 0, 20 * MS),
           (sim_event){ .kind = EV_ACK, .a = a, .b = 1, .c = l->connection });
    if (sim_chance(w, 20)) /* and is cut again, perhaps in the middle of that */
        sim_at(w, w->now + sim_between(w, 0, 5 * MS), (sim_event){ .kind = EV_DROP, .a = a });
    sim_ctl_connected(w, a, true);
}

static int late_one(void *arg, xd_bytes frame)
{
    const resend *r = arg;
    uint32_t      msg[6], count = (uint32_t)((frame.len - XD_FRAME_HEADER - MSG_BYTES) / sizeof(xd_span));
    xd_span      *spans = sim_alloc((count + 1) * sizeof *spans);
    memcpy(msg, frame.ptr + XD_FRAME_HEADER, MSG_BYTES);
    memcpy(spans, frame.ptr + XD_FRAME_HEADER + MSG_BYTES, count * sizeof *spans);
    sim_ctl_late(r->w, r->a, msg, spans, count);
    free(spans);
    return 0;
}

/* The agent is back when it has been given up: what it did meanwhile is refused. */
static void return_late(sim_world *w, uint32_t a)
{
    const side *up = &w->agent[a].link->dir[1];
    if (xd_session_tx_resend(up->tx, up->rx.last, late_one, &(resend){ w, a, true }) < 0)
        sim_fault(w, "resend failed");
}

void sim_link_event(sim_world *w, const sim_event *ev)
{
    sim_agent *g = &w->agent[ev->a];
    sim_link  *l = g->link;
    bool       old = g->lost || ev->c != l->connection;
    switch (ev->kind) {
    case EV_STREAM:
        if (!old)
            deliver(w, ev->a, ev->b, ev->ptr);
        free(ev->ptr);
        break;
    case EV_ACK:
        if (old)
            break;
        l->dir[ev->b].ack_due = false;
        if (xd_session_tx_acked(l->dir[ev->b].tx, l->dir[ev->b].rx.last) < 0)
            sim_fault(w, "acknowledged beyond what was sent");
        flush(w, ev->a, ev->b);
        break;
    case EV_DROP:
        if (g->lost || l->down)
            break;
        l->down = true;
        w->broken = true;
        l->connection++;
        sim_ctl_connected(w, ev->a, false);
        if (ev->d) { /* it does not come back in time */
            uint64_t deadline = w->now + sim_between(w, 1 * MS, 2 * SEC);
            sim_at(w, deadline, (sim_event){ .kind = EV_LOST, .a = ev->a });
            sim_at(w, deadline + sim_between(w, 1, SEC), (sim_event){ .kind = EV_CONNECT, .a = ev->a });
        } else
            sim_at(w, w->now + sim_between(w, 1 * MS, 2 * SEC),
                   (sim_event){ .kind = EV_CONNECT, .a = ev->a });
        break;
    default:
        if (g->lost)
            return_late(w, ev->a);
        else
            reconnect(w, ev->a);
    }
}
