/* engine/broker.c - see broker.h: the thread and its runs. What happens within a run: broker_run.c. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/broker_state.h"

#define MESSAGES_PER_TURN 256
#define RETRY_MS 2
#define FIRST_JOURNAL 2 /* of `items`: behind the socket and wake_fd */

/* ---- receiving --------------------------------------------------------------------------------------- */

/* 0 = took one, -EAGAIN = nothing waits. */
static int take_one(xd_broker *b)
{
    uint8_t        id[64];
    xd_envelope    env;
    zmq_msg_t      body;
    xd_broker_run *run = NULL;
    int            n = zmq_recv(b->socket, id, sizeof(id), ZMQ_DONTWAIT);
    if (n < 0)
        return -errno;
    zmq_msg_init(&body);
    int r = xd_bus_recv(b->socket, &env, &body);
    if (r == 0 && n <= (int)sizeof(id))
        HASH_FIND_STR(b->runs, env.run, run);
    if (run) {
        xd_broker_run_take(run, id, (size_t)n, &env, &body);
        return 0;
    }
    if (r == 0)
        xd_log_write(&b->log, XD_LOG_DEBUG, "broker: %s from %s is of no open run, dropped",
                     xd_msg_name(env.type), env.from);
    zmq_msg_close(&body);
    return 0;
}

/* What the actors of all runs had sent when this was called, whatever is being sent meanwhile: libzmq takes one message of
 * each connection in turn, and no connection holds more than both ends' limits. */
static void take_what_waits(xd_broker *b)
{
    uint64_t       most = 0;
    xd_broker_run *run, *next;
    HASH_ITER(hh, b->runs, run, next)
    {
        most += HASH_COUNT(run->peers) + 16u; /* 16: posts from outside, actors that are ending */
    }
    for (most *= 2 * XD_BUS_HWM; most > 0 && take_one(b) != -EAGAIN; most--)
        ;
}

/* ---- runs -------------------------------------------------------------------------------------------- */

/* Of the array that zmq_poll looks at: for so many runs, and never less than it was. */
static int make_room(xd_broker *b, uint32_t runs)
{
    if (runs <= b->room)
        return 0;
    zmq_pollitem_t *items = reallocarray(b->items, FIRST_JOURNAL + runs, sizeof(*items));
    if (!items)
        return -ENOMEM;
    b->items = items;
    b->room = runs;
    return 0;
}

/* After each change of the runs: a descriptor that is closed may soon be another one's. */
static void list_items(xd_broker *b)
{
    xd_broker_run *run, *next;
    b->items[0] = (zmq_pollitem_t){ .socket = b->socket, .events = ZMQ_POLLIN };
    b->items[1] = (zmq_pollitem_t){ .fd = b->wake_fd, .events = ZMQ_POLLIN };
    b->n_items = FIRST_JOURNAL;
    HASH_ITER(hh, b->runs, run, next)
    {
        if (run->journal)
            b->items[b->n_items++] =
                (zmq_pollitem_t){ .fd = xd_journal_commit_fd(run->journal), .events = ZMQ_POLLIN };
    }
}

static int add_run(xd_broker *b, xd_broker_run *run)
{
    xd_broker_run *same;
    HASH_FIND_STR(b->runs, run->id, same);
    if (same)
        return -EEXIST;
    XD_TRY(make_room(b, HASH_COUNT(b->runs) + 1));
    HASH_ADD_STR(b->runs, id, run);
    if (!run->hh.tbl)
        return -ENOMEM;
    list_items(b);
    return 0;
}

static void drop_run(xd_broker *b, xd_broker_run *run)
{
    take_what_waits(b);
    xd_broker_run_turn(run);
    HASH_DEL(b->runs, run);
    list_items(b);
}

static xd_broker_command *next_command(xd_broker *b)
{
    pthread_mutex_lock(&b->lock);
    xd_broker_command *c = b->commands;
    if (c)
        b->commands = c->next;
    pthread_mutex_unlock(&b->lock);
    return c;
}

/* False: the thread is to end. */
static bool obey(xd_broker *b)
{
    xd_broker_command *c;
    uint64_t           n;
    bool               go_on = true;
    (void)!read(b->wake_fd, &n, sizeof(n));
    while ((c = next_command(b))) {
        if (c->what == XD_BROKER_OPEN)
            c->result = add_run(b, c->run);
        else if (c->what == XD_BROKER_CLOSE)
            drop_run(b, c->run);
        else {
            take_what_waits(b);
            go_on = false;
        }
        pthread_mutex_lock(&b->lock);
        b->open = HASH_COUNT(b->runs);
        c->done = true;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->lock);
    }
    return go_on;
}

static void *broker_main(void *arg)
{
    xd_broker *b = arg;
    pthread_setname_np(pthread_self(), "xd-broker");
    for (bool go_on = true, backlog = false; go_on;) {
        xd_broker_run *run, *next;
        uint64_t       n;
        if (zmq_poll(b->items, b->n_items, backlog ? RETRY_MS : -1) < 0)
            continue; /* EINTR; all else would be a mistake here */
        for (int i = FIRST_JOURNAL; i < b->n_items; i++)
            if (b->items[i].revents)
                (void)!read(b->items[i].fd, &n, sizeof(n));
        for (int i = 0; i < MESSAGES_PER_TURN; i++)
            if (take_one(b) == -EAGAIN)
                break;
        if (b->items[1].revents)
            go_on = obey(b);
        backlog = false;
        HASH_ITER(hh, b->runs, run, next)
        {
            xd_broker_run_turn(run);
            backlog |= run->backlog;
        }
    }
    return NULL;
}

/* Has the broker's thread do it, and waits. */
static int command(xd_broker *b, enum xd_broker_what what, xd_broker_run *run)
{
    xd_broker_command c = { .what = what, .run = run };
    uint64_t          one = 1;
    pthread_mutex_lock(&b->lock);
    xd_broker_command **last = &b->commands;
    while (*last)
        last = &(*last)->next;
    *last = &c;
    (void)!write(b->wake_fd, &one, sizeof(one));
    while (!c.done)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return c.result;
}

/* ---- start and stop ---------------------------------------------------------------------------------- */

static void release(xd_broker *b)
{
    xd_broker_run *run, *next;
    HASH_ITER(hh, b->runs, run, next)
    {
        HASH_DEL(b->runs, run);
        run->bus->opened = NULL;
        xd_broker_run_free(run);
    }
    if (b->socket)
        zmq_close(b->socket);
    xd_bus_context_free(b->ctx);
    if (b->wake_fd >= 0)
        close(b->wake_fd);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->changed);
    free(b->items);
    free(b);
}

static int bind_socket(xd_broker *b)
{
    int on = 1;
    XD_TRY(xd_bus_context_new(&b->ctx));
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->wake_fd < 0)
        return -errno;
    XD_TRY(xd_bus_socket(b->ctx, ZMQ_ROUTER, &b->socket));
    if (zmq_setsockopt(b->socket, ZMQ_ROUTER_MANDATORY, &on, sizeof(on)) < 0 ||
        zmq_bind(b->socket, b->ctx->endpoint) < 0)
        return -errno;
    XD_TRY(make_room(b, 1));
    list_items(b);
    return 0;
}

int xd_broker_start(xd_broker **ret, const xd_log *log, xd_error *err)
{
    xd_broker *b = calloc(1, sizeof(*b));
    sigset_t   all, old;
    if (!b)
        return -ENOMEM;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->wake_fd = -1;
    if (log)
        b->log = *log;
    int r = bind_socket(b);
    if (r == 0) {
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

int xd_broker_open(xd_broker *b, const xd_broker_run_args *args, xd_bus **ret_bus, xd_error *err)
{
    xd_auto(xd_bus) *bus = NULL;
    xd_broker_run *run = NULL;
    int            r = xd_bus_new(&bus, b->ctx, args->id, args->log);
    if (r == 0)
        r = xd_broker_run_new(&run, b->socket, bus, args);
    if (r == 0)
        r = command(b, XD_BROKER_OPEN, run);
    if (r < 0) {
        xd_broker_run_free(run);
        return xd_error_set(err, r, "cannot open the run %s on the broker: %s", args->id,
                            r == -EEXIST ? "it is open there" : xd_error_name(r));
    }
    bus->opened = run;
    *ret_bus = xd_take(&bus);
    return 0;
}

void xd_broker_close(xd_broker *b, xd_bus *bus, xd_broker_stats *ret_stats, int *ret_fault)
{
    xd_broker_run *run = xd_take(&bus->opened);
    if (!run)
        return;
    (void)command(b, XD_BROKER_CLOSE, run);
    if (ret_stats)
        *ret_stats = run->stats;
    xd_broker_run_finish(run); /* on this thread: what the disk takes is no other run's business */
    xd_broker_run_free(run);
    if (ret_fault)
        *ret_fault = bus->fault;
}

uint32_t xd_broker_runs(xd_broker *b)
{
    pthread_mutex_lock(&b->lock);
    uint32_t open = b->open;
    pthread_mutex_unlock(&b->lock);
    return open;
}

xd_broker *xd_broker_stop(xd_broker *b)
{
    if (!b)
        return NULL;
    (void)command(b, XD_BROKER_END, NULL);
    pthread_join(b->thread, NULL);
    release(b);
    return NULL;
}
