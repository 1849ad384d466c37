/* tests/unit/probe.h - an actor under a test's remote control: it keeps what it gets, and runs functions of
 * the test on its own thread. */
#pragma once
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/actor.h"
#include "engine/base/clock.h"
#include "engine/base/poller.h"
#include "engine/broker.h"

typedef struct probe_got {
    uint16_t    type, flags, gateway;
    char        from[XD_ADDRESS_LEN];
    xd_buf      body;
    const void *where; /* of the body in the receiver */
} probe_got;

typedef struct probe probe;
typedef int (*probe_fn)(probe *p, void *arg);

struct probe {
    xd_actor       *actor;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    probe_got      *got;
    size_t          count, cap;
    uint32_t        slow_us;  /* per message */
    bool            answers;  /* TAIL is answered */
    int             reply;    /* what the handler returns next */
    int             calls[2]; /* test -> actor: probe_call pointers */
    int             init_result;
};

typedef struct probe_call {
    probe_fn fn;
    void    *arg;
    int      result;
    bool     done;
} probe_call;

static inline int probe_take(void *state, const xd_msg *in)
{
    probe *p = *(probe **)state;
    if (p->slow_us)
        usleep(p->slow_us);
    pthread_mutex_lock(&p->lock);
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->got = realloc(p->got, p->cap * sizeof(*p->got));
    }
    probe_got *g = &p->got[p->count++];
    *g = (probe_got){ .type = in->type, .flags = in->flags, .gateway = in->gateway, .where = in->body.ptr };
    memcpy(g->from, in->from, sizeof(g->from));
    int r = xd_buf_add_bytes(&g->body, in->body);
    if (r == 0)
        r = p->reply;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (in->type == XD_MSG_TAIL && p->answers) {
        xd_auto(xd_msg) *m = NULL;
        XD_TRY(xd_msg_new(&m, XD_MSG_TAIL, in->body.ptr, in->body.len));
        XD_TRY(xd_actor_send(p->actor, "", &m));
    }
    return r;
}

static inline int probe_run(void *state, int fd, uint32_t events)
{
    probe      *p = *(probe **)state;
    probe_call *c;
    (void)events;
    if (read(fd, &c, sizeof(c)) != (ssize_t)sizeof(c))
        return 0;
    int r = c->fn(p, c->arg);
    pthread_mutex_lock(&p->lock);
    c->result = r;
    c->done = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static inline int probe_init(void *state, xd_actor *actor, const void *args)
{
    probe *p = (probe *)(uintptr_t)args;
    *(probe **)state = p;
    p->actor = actor;
    if (p->init_result)
        return p->init_result;
    return xd_actor_watch(actor, p->calls[0], XD_POLL_IN, probe_run);
}

static inline void probe_fini(void *state)
{
    (void)state;
}

static const xd_actor_spec probe_spec = {
    .name = "probe",
    .size = sizeof(probe *),
    .window = 256,
    .init = probe_init,
    .fini = probe_fini,
    .other = probe_take,
};

static inline void probe_new(probe *p)
{
    *p = (probe){ .calls = { -1, -1 } };
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    ck_assert_int_eq(pipe(p->calls), 0);
}

static inline xd_actor *probe_start(probe *p, xd_bus *bus, const char *address, const xd_actor_spec *spec)
{
    xd_actor *a = NULL;
    xd_error  err;
    probe_new(p);
    ck_assert_int_eq(xd_actor_start(&a, bus, spec ? spec : &probe_spec, address, p, &err), 0);
    return a;
}

/* Runs fn on the actor's thread and returns its result. */
static inline int probe_do(probe *p, probe_fn fn, void *arg)
{
    probe_call  c = { .fn = fn, .arg = arg };
    probe_call *at = &c;
    ck_assert_int_eq(write(p->calls[1], &at, sizeof(at)), (ssize_t)sizeof(at));
    pthread_mutex_lock(&p->lock);
    while (!c.done)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return c.result;
}

/* From _begin to _end the probe's thread is in one call: it reads no message. */
typedef struct probe_hold {
    probe    *p;
    pthread_t thread;
    int       state; /* atomic: 0 asked, 1 held, 2 let go */
} probe_hold;

static inline int probe_stay(probe *p, void *arg)
{
    probe_hold *h = arg;
    (void)p;
    __atomic_store_n(&h->state, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&h->state, __ATOMIC_ACQUIRE) != 2)
        usleep(1000);
    return 0;
}

static inline void *probe_hold_main(void *arg)
{
    probe_hold *h = arg;
    (void)!probe_do(h->p, probe_stay, h);
    return NULL;
}

static inline void probe_hold_begin(probe_hold *h, probe *p)
{
    *h = (probe_hold){ .p = p };
    ck_assert_int_eq(pthread_create(&h->thread, NULL, probe_hold_main, h), 0);
    while (__atomic_load_n(&h->state, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
}

static inline void probe_hold_end(probe_hold *h)
{
    __atomic_store_n(&h->state, 2, __ATOMIC_RELEASE);
    pthread_join(h->thread, NULL);
}

/* Waits until it has got `count` messages; false after ms. */
static inline bool probe_wait(probe *p, size_t count, uint32_t ms)
{
    uint64_t        end = xd_clock_ns() + ms * XD_MS_NS;
    struct timespec t = { .tv_sec = (time_t)(end / XD_S_NS), .tv_nsec = (long)(end % XD_S_NS) };
    int             r = 0;
    pthread_mutex_lock(&p->lock);
    while (p->count < count && r == 0)
        r = pthread_cond_timedwait(&p->changed, &p->lock, &t);
    bool ok = p->count >= count;
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static inline size_t probe_count(probe *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->count;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* The i-th message; waits for it. */
static inline probe_got probe_at(probe *p, size_t i)
{
    ck_assert_msg(probe_wait(p, i + 1, 10000), "message %zu did not come", i);
    pthread_mutex_lock(&p->lock);
    probe_got g = p->got[i];
    pthread_mutex_unlock(&p->lock);
    return g;
}

static inline void probe_release(probe *p)
{
    for (size_t i = 0; i < p->count; i++)
        xd_buf_release(&p->got[i].body);
    free(p->got);
    close(p->calls[0]);
    close(p->calls[1]);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
}

/* Stops, joins, frees; returns the reason. */
static inline int probe_stop(probe *p, xd_actor *a)
{
    int reason = 1;
    xd_actor_ask_stop(a);
    ck_assert_int_eq(xd_actor_join(a, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
    xd_actor_free(a);
    probe_release(p);
    return reason;
}

/* A broker with one run; journal: taken, NULL = none. The tests of other parts need no more. */
static inline void probe_broker(xd_broker **broker, xd_bus **bus, const char *run, xd_journal **journal)
{
    xd_error           err;
    xd_broker_run_args args = { .id = run, .owner = "sched", .journal = journal };
    ck_assert_int_eq(xd_broker_start(broker, NULL, &err), 0);
    ck_assert_msg(xd_broker_open(*broker, &args, bus, &err) == 0, "%s", err.text);
}

/* ---- functions to be run on the actor's thread --------------------------------------------------------- */

typedef struct probe_send {
    const char *to;
    uint16_t    type, flags, gateway;
    const void *body;
    size_t      len;
    uint32_t    count; /* 0 = one; body then begins with the number, u32 */
    uint32_t    sent;
    bool        again; /* wait and repeat on -EAGAIN */
} probe_send;

static inline int probe_do_send(probe *p, void *arg)
{
    probe_send *s = arg;
    uint32_t    count = s->count ? s->count : 1;
    for (s->sent = 0; s->sent < count; s->sent++) {
        xd_auto(xd_msg) *m = NULL;
        XD_TRY(s->count ? xd_msg_new(&m, s->type, &s->sent, sizeof(s->sent))
                        : xd_msg_new(&m, s->type, s->body, s->len));
        m->flags = s->flags;
        m->gateway = s->gateway;
        int r = xd_actor_send(p->actor, s->to, &m);
        while (r == -EAGAIN && s->again) {
            usleep(1000);
            r = xd_actor_send(p->actor, s->to, &m);
        }
        XD_TRY(r);
    }
    return 0;
}

/* Frames for the journal, as a gateway sends them. */
typedef struct probe_frames {
    const char *to;
    uint16_t    gateway;
    uint64_t    first, count; /* sequence numbers; first 0: `count` frames without one */
    uint32_t    pause_us;     /* after each */
} probe_frames;

static inline int probe_do_record(probe *p, void *arg)
{
    probe_frames *s = arg;
    for (uint64_t i = 0; i < s->count; i++) {
        xd_autobuf frame = XD_BUF_INIT;
        xd_auto(xd_msg) *m = NULL;
        xd_wire_WORKER_UP up = { .worker = (uint16_t)i, .pid = 1, .way = 1 };
        XD_TRY(xd_wire_WORKER_UP_frame(&frame, 0, s->first ? s->first + i : 0, &up));
        XD_TRY(xd_msg_new_take(&m, XD_MSG_WORKER_UP, &frame));
        m->flags = XD_FLAG_JOURNAL;
        m->gateway = s->gateway;
        XD_TRY(xd_actor_send(p->actor, s->to, &m));
        if (s->pause_us)
            usleep(s->pause_us);
    }
    return 0;
}

static inline int probe_text(probe *p, const char *to, uint16_t type, const char *text)
{
    probe_send s = { .to = to, .type = type, .body = text, .len = strlen(text) };
    return probe_do(p, probe_do_send, &s);
}
