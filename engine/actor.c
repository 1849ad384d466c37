/* engine/actor.c - see actor.h. */
#include "engine/actor.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/poller.h"
#include "engine/bus.h"

#define MAX_WATCHES 16
#define MESSAGES_PER_TURN 64
#define OUTBOX_MAX 65536u /* messages that wait because the broker's inbox is full; more is a fault */
#define OUTBOX_RETRY_MS 2

/* ---- actors ------------------------------------------------------------------------------------------ */

typedef struct watch {
    int      fd;
    uint32_t events;
    int (*fn)(void *state, int fd, uint32_t events);
} watch;

/* A message that waits for room in the broker's inbox. */
typedef struct waiting {
    struct waiting *next;
    xd_msg         *msg;
    char            to[XD_ADDRESS_LEN];
} waiting;

struct xd_actor {
    xd_bus              *bus;
    const xd_actor_spec *spec;
    char                 address[XD_ADDRESS_LEN];
    const void          *args;
    void                *state;
    void                *socket;
    int                  stop_fd, exit_fd;
    watch                watches[MAX_WATCHES];
    size_t               n_watches;
    uint64_t             tick_ns, next_tick_ns;
    waiting             *out_first, *out_last;
    uint32_t             out_count;
    pthread_t            thread;
    pthread_mutex_t      lock; /* protects the three below */
    pthread_cond_t       changed;
    bool                 ready, ended;
    int                  reason;
    bool                 stopping;
};

const xd_log *xd_actor_log(const xd_actor *a)
{
    return &a->bus->log;
}

int xd_actor_try_send(xd_actor *a, const char *to, xd_msg **m)
{
    return a->out_first ? -EAGAIN : xd_bus_send_message(a->socket, a->bus, to, a->address, m);
}

int xd_actor_send(xd_actor *a, const char *to, xd_msg **m)
{
    int r = xd_actor_try_send(a, to, m);
    if (r != -EAGAIN)
        return r;
    if (a->out_count >= OUTBOX_MAX)
        return -ENOBUFS;
    waiting *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    snprintf(w->to, sizeof(w->to), "%s", to);
    w->msg = xd_take(m);
    if (a->out_last)
        a->out_last->next = w;
    else
        a->out_first = w;
    a->out_last = w;
    a->out_count++;
    return 0;
}

static void drop_waiting(xd_actor *a)
{
    waiting *w = a->out_first;
    a->out_first = w->next;
    if (!a->out_first)
        a->out_last = NULL;
    a->out_count--;
    xd_msg_free(w->msg);
    free(w);
}

/* Sends what waits, in order. */
static int flush_outbox(xd_actor *a)
{
    while (a->out_first) {
        int r = xd_bus_send_message(a->socket, a->bus, a->out_first->to, a->address, &a->out_first->msg);
        if (r == -EAGAIN)
            return 0;
        XD_TRY(r);
        drop_waiting(a);
    }
    return 0;
}

int xd_actor_set_tick(xd_actor *a, uint32_t period_ms)
{
    a->tick_ns = period_ms * XD_MS_NS;
    a->next_tick_ns = period_ms ? xd_clock_ns() + a->tick_ns : UINT64_MAX;
    return 0;
}

int xd_actor_watch(xd_actor *a, int fd, uint32_t events, int (*fn)(void *state, int fd, uint32_t events))
{
    size_t i = 0;
    while (i < a->n_watches && a->watches[i].fd != fd)
        i++;
    if (events == 0) {
        if (i < a->n_watches)
            a->watches[i] = a->watches[--a->n_watches];
        return 0;
    }
    if (i == MAX_WATCHES)
        return -ENOSPC;
    if (i == a->n_watches)
        a->n_watches++;
    a->watches[i] = (watch){ .fd = fd, .events = events, .fn = fn };
    return 0;
}

static int register_address(xd_actor *a)
{
    xd_envelope env = { .type = XD_MSG_REGISTER,
                        .window_high = (uint16_t)XD_MIN(a->spec->window / 16 + 1, 0xffff) };
    memcpy(env.run, a->bus->run, sizeof(env.run));
    snprintf(env.from, sizeof(env.from), "%s", a->address);
    zmq_msg_t body;
    zmq_msg_init(&body);
    XD_TRY(xd_bus_send(a->socket, &env, &body));
    zmq_pollitem_t item = { .socket = a->socket, .events = ZMQ_POLLIN };
    int            r;
    do
        r = zmq_poll(&item, 1, 10000);
    while (r < 0 && errno == EINTR);
    if (r <= 0)
        return r < 0 ? -errno : -ETIMEDOUT;
    zmq_msg_init(&body);
    r = xd_bus_recv(a->socket, &env, &body);
    zmq_msg_close(&body);
    return r < 0 ? r : env.type == XD_MSG_REGISTER ? 0 : -EPROTO;
}

const char *xd_msg_name(uint16_t type)
{
    static const char *const own[] = { "REGISTER",   "SUBSCRIBE", "TAIL",      "STOP",      "FAULT",
                                       "GONE",       "UNKNOWN",   "PAUSED",    "SAY",       "DROP",
                                       "AGREED",     "WHOLE",     "DIFFERENT", "DIAL",      "SYNC_LINK",
                                       "SYNC_ENDED", "SYNC_SAYS", "SYNCED",    "SYNC_NOTE", "SYNC_FAR",
                                       "TELL",       "JOINS",     "LEAVES",    "JOB",       "MORE" };
    const unsigned           at = (unsigned)type - XD_MSG_REGISTER;
    return at < XD_ARRAY_LEN(own) ? own[at] : xd_wire_name(type);
}

static int deliver(xd_actor *a, const xd_msg *m)
{
    for (const xd_handler *h = a->spec->handlers; h && h->type; h++)
        if (h->type == m->type)
            return h->fn(a->state, m);
    if (a->spec->other)
        return a->spec->other(a->state, m);
    xd_log_write(&a->bus->log, XD_LOG_WARNING, "%s: message %s (%u) from %s has no handler", a->address,
                 xd_msg_name(m->type), m->type, m->from);
    return 0;
}

static int drain_inbox(xd_actor *a)
{
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        xd_bus_message m = { .received = true };
        xd_envelope    env;
        zmq_msg_init(&m.part);
        int r = xd_bus_recv(a->socket, &env, &m.part);
        if (r == 0) {
            m.pub = (xd_msg){ .type = env.type,
                              .flags = env.flags,
                              .gateway = env.gateway,
                              .body = { zmq_msg_data(&m.part), zmq_msg_size(&m.part) } };
            memcpy(m.pub.to, env.to, sizeof(env.to));
            memcpy(m.pub.from, env.from, sizeof(env.from));
            xd_log_write(&a->bus->log, XD_LOG_DEBUG, "%s <- %s %s (%zu bytes)", a->address,
                         env.from[0] ? env.from : "-", xd_msg_name(env.type), m.pub.body.len);
            r = deliver(a, &m.pub);
        } else if (r == -EAGAIN) {
            zmq_msg_close(&m.part);
            return 0;
        }
        xd_bus_close(&m.part);
        if (r != 0)
            return r;
    }
    return 0;
}

static int poll_timeout(const xd_actor *a)
{
    uint64_t most = a->out_first ? OUTBOX_RETRY_MS : 60000;
    if (a->next_tick_ns == UINT64_MAX)
        return a->out_first ? OUTBOX_RETRY_MS : -1;
    uint64_t now = xd_clock_ns();
    return a->next_tick_ns <= now ? 0 : (int)XD_MIN((a->next_tick_ns - now + XD_MS_NS - 1) / XD_MS_NS, most);
}

static int run_watches(xd_actor *a, const zmq_pollitem_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!items[i].revents)
            continue;
        /* A callback before this one may have dropped the watch. */
        watch *w = NULL;
        for (size_t k = 0; k < a->n_watches; k++)
            if (a->watches[k].fd == items[i].fd)
                w = &a->watches[k];
        if (!w)
            continue;
        uint32_t events = (items[i].revents & ZMQ_POLLIN ? XD_POLL_IN : 0u) |
                          (items[i].revents & ZMQ_POLLOUT ? XD_POLL_OUT : 0u) |
                          (items[i].revents & ZMQ_POLLERR ? XD_POLL_HUP : 0u);
        int r = w->fn(a->state, w->fd, events);
        if (r != 0)
            return r;
    }
    return 0;
}

static int turn(xd_actor *a)
{
    zmq_pollitem_t items[2 + MAX_WATCHES] = { { .socket = a->socket, .events = ZMQ_POLLIN },
                                              { .fd = a->stop_fd,
                                                .events = (short)(a->stopping ? 0 : ZMQ_POLLIN) } };
    size_t         n = a->n_watches;
    for (size_t i = 0; i < n; i++)
        items[2 + i] =
            (zmq_pollitem_t){ .fd = a->watches[i].fd,
                              .events = (short)((a->watches[i].events & XD_POLL_IN ? ZMQ_POLLIN : 0) |
                                                (a->watches[i].events & XD_POLL_OUT ? ZMQ_POLLOUT : 0)) };
    if (zmq_poll(items, (int)(2 + n), poll_timeout(a)) < 0)
        return errno == EINTR ? 0 : -errno;
    XD_TRY(flush_outbox(a));
    if (items[1].revents && !a->stopping) {
        a->stopping = true;
        int r = a->spec->stop ? a->spec->stop(a->state) : XD_ACTOR_STOP;
        if (r != 0)
            return r;
    }
    int r = items[0].revents ? drain_inbox(a) : 0;
    if (r == 0)
        r = run_watches(a, items + 2, n);
    if (r == 0 && xd_clock_ns() >= a->next_tick_ns) {
        a->next_tick_ns = xd_clock_ns() + a->tick_ns;
        r = a->spec->tick ? a->spec->tick(a->state) : 0;
    }
    return r;
}

static void tell(xd_actor *a, bool ended, int reason)
{
    pthread_mutex_lock(&a->lock);
    a->ready = true;
    a->ended = ended;
    a->reason = reason;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

/* What an actor said before its end is delivered as far as the broker still takes it. */
static void send_rest(xd_actor *a)
{
    uint64_t deadline = xd_clock_ns() + XD_S_NS;
    while (a->out_first && flush_outbox(a) == 0 && a->out_first && xd_clock_ns() < deadline)
        poll(NULL, 0, OUTBOX_RETRY_MS);
    while (a->out_first)
        drop_waiting(a);
}

static void *actor_main(void *arg)
{
    xd_actor *a = arg;
    pthread_setname_np(pthread_self(), a->spec->name);
    int r = register_address(a);
    if (r == 0)
        r = a->spec->init(a->state, a, a->args);
    if (r >= 0)
        tell(a, false, 0);
    xd_log_write(&a->bus->log, XD_LOG_INFO, "%s started", a->address);
    while (r == 0)
        r = turn(a);
    if (r >= 0)
        xd_log_write(&a->bus->log, XD_LOG_INFO, "%s ended", a->address);
    else
        xd_log_write(&a->bus->log, XD_LOG_WARNING, "%s ended: %s", a->address,
                     xd_error_name(r)); /* the supervisor says what follows */
    a->spec->fini(a->state);
    send_rest(a);
    zmq_close(a->socket);
    tell(a, true, r < 0 ? r : 0);
    uint64_t one = 1;
    (void)!write(a->exit_fd, &one, sizeof(one));
    return NULL;
}

static int create(xd_actor **ret, xd_bus *bus, const xd_actor_spec *spec, const char *address,
                  const void *args)
{
    xd_actor *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    *a = (xd_actor){ .bus = bus, .spec = spec, .args = args, .next_tick_ns = UINT64_MAX };
    snprintf(a->address, sizeof(a->address), "%s", address);
    a->state = calloc(1, spec->size);
    a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->changed, &attr);
    pthread_condattr_destroy(&attr);
    int r = !a->state ? -ENOMEM : a->stop_fd < 0 || a->exit_fd < 0 ? -EMFILE : 0;
    if (r == 0)
        r = xd_bus_socket(bus->ctx, ZMQ_DEALER, &a->socket);
    if (r == 0 && zmq_connect(a->socket, bus->ctx->endpoint) < 0)
        r = -errno;
    *ret = a;
    return r;
}

xd_actor *xd_actor_free(xd_actor *a)
{
    if (!a)
        return NULL;
    if (a->stop_fd >= 0)
        close(a->stop_fd);
    if (a->exit_fd >= 0)
        close(a->exit_fd);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
    free(a->state);
    free(a);
    return NULL;
}

int xd_actor_start(xd_actor **ret, xd_bus *bus, const xd_actor_spec *spec, const char *address,
                   const void *args, xd_error *err)
{
    xd_actor *a = NULL;
    sigset_t  all, old;
    int       r = create(&a, bus, spec, address, args);
    if (r == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = -pthread_create(&a->thread, NULL, actor_main, a);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (r < 0) {
        if (a && a->socket)
            zmq_close(a->socket);
        xd_actor_free(a);
        return xd_error_set(err, r, "cannot start actor %s: %s", address, xd_error_name(r));
    }
    pthread_mutex_lock(&a->lock);
    while (!a->ready)
        pthread_cond_wait(&a->changed, &a->lock);
    r = a->ended ? a->reason : 0;
    bool failed = a->ended && r < 0;
    pthread_mutex_unlock(&a->lock);
    if (failed) {
        pthread_join(a->thread, NULL);
        xd_actor_free(a);
        return xd_error_set(err, r, "cannot start actor %s: %s", address, xd_error_name(r));
    }
    *ret = a;
    return 0;
}

void xd_actor_ask_stop(xd_actor *a)
{
    uint64_t one = 1;
    (void)!write(a->stop_fd, &one, sizeof(one));
}

int xd_actor_join(xd_actor *a, uint64_t deadline_ns, int *ret_reason)
{
    const struct timespec t = xd_clock_timespec(deadline_ns);
    int                   r = 0;
    pthread_mutex_lock(&a->lock);
    while (!a->ended && r == 0)
        r = deadline_ns == UINT64_MAX ? -pthread_cond_wait(&a->changed, &a->lock)
                                      : -pthread_cond_timedwait(&a->changed, &a->lock, &t);
    bool ended = a->ended;
    *ret_reason = a->reason;
    pthread_mutex_unlock(&a->lock);
    if (!ended)
        return -ETIMEDOUT;
    pthread_join(a->thread, NULL);
    return 0;
}

int xd_actor_exit_fd(const xd_actor *a)
{
    return a->exit_fd;
}
