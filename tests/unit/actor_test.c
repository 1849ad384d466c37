/* needs: engine */
/* Actors: start, inbox, watched descriptors, ticks, ends of every kind. */
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>

#include "engine/broker.h"
#include "tests/unit/probe.h"

#define RUN_ID "0123456789abcdef0123456789abcdef"

#define PING 0x5001
#define PONG 0x5002

static xd_bus    *bus;
static xd_broker *broker;

static void setup(void)
{
    probe_broker(&broker, &bus, RUN_ID, NULL);
}

static void teardown(void)
{
    broker = xd_broker_stop(broker);
    bus = xd_bus_free(bus);
}

START_TEST(messages_arrive_in_order_with_their_sender)
{
    probe     a, b;
    xd_actor *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus, "bob", NULL);
    for (int i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof(text), "no %d", i);
        ck_assert_int_eq(probe_text(&a, "bob", PING, text), 0);
    }
    probe_got g = probe_at(&b, 49);
    ck_assert_uint_eq(g.type, PING);
    ck_assert_str_eq(g.from, "alice");
    for (size_t i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof(text), "no %zu", i);
        g = probe_at(&b, i);
        ck_assert_mem_eq(g.body.data, text, strlen(text));
    }
    ck_assert_int_eq(probe_text(&b, "bob", PONG, "me"), 0); /* to itself */
    ck_assert_str_eq(probe_at(&b, 50).from, "bob");
    ck_assert_int_eq(probe_text(&b, "alice", PONG, ""), 0);
    ck_assert_uint_eq(probe_at(&a, 0).body.len, 0);
    ck_assert_int_eq(probe_stop(&a, aa), 0);
    ck_assert_int_eq(probe_stop(&b, bb), 0);
}
END_TEST

static const void *big_memory;

static int big_ping(xd_msg **ret)
{
    xd_autobuf big = XD_BUF_INIT;
    XD_TRY(xd_buf_fill(&big, 'x', 8u << 20));
    big_memory = big.data;
    XD_TRY(xd_msg_new_take(ret, PING, &big));
    ck_assert_uint_eq(big.len, 0);
    return 0;
}

static int send_big(probe *p, void *arg)
{
    xd_auto(xd_msg) *m = NULL;
    (void)arg;
    XD_TRY(big_ping(&m));
    int r = xd_actor_send(p->actor, "bob", &m);
    ck_assert_ptr_null(m);
    return r;
}

START_TEST(large_bodies_are_not_copied)
{
    probe     a, b;
    xd_actor *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus, "bob", NULL);
    ck_assert_int_eq(probe_do(&a, send_big, NULL), 0);
    probe_got g = probe_at(&b, 0);
    ck_assert_uint_eq(g.body.len, 8u << 20);
    ck_assert_ptr_eq(g.where, big_memory);
    probe_stop(&a, aa);
    probe_stop(&b, bb);
}
END_TEST

/* Takes a message, keeps it for itself, and passes it on twice. */
typedef struct sharer {
    xd_actor *actor;
    xd_msg   *kept;
} sharer;

static int sharer_init(void *state, xd_actor *actor, const void *args)
{
    (void)args;
    *(sharer *)state = (sharer){ .actor = actor };
    return 0;
}

static int sharer_take(void *state, const xd_msg *in)
{
    sharer *s = state;
    XD_TRY(xd_msg_share(&s->kept, in));
    ck_assert_ptr_eq(s->kept->body.ptr, in->body.ptr);
    for (int i = 0; i < 2; i++) {
        xd_auto(xd_msg) *m = NULL;
        XD_TRY(xd_msg_share(&m, i ? s->kept : in));
        XD_TRY(xd_actor_send(s->actor, "bob", &m));
    }
    return 0;
}

static void sharer_fini(void *state)
{
    sharer *s = state;
    ck_assert(s->kept && s->kept->body.len == 8u << 20 && s->kept->body.ptr[s->kept->body.len - 1] == 'x');
    xd_msg_free(s->kept);
}

static const xd_actor_spec sharer_spec = { .name = "sharer",
                                           .size = sizeof(sharer),
                                           .window = 16,
                                           .init = sharer_init,
                                           .fini = sharer_fini,
                                           .other = sharer_take };

static int send_big_to_sharer(probe *p, void *arg)
{
    xd_auto(xd_msg) *m = NULL;
    (void)arg;
    XD_TRY(big_ping(&m));
    m->gateway = 7;
    return xd_actor_send(p->actor, "sharer", &m);
}

/* One body, read by whoever wants it and freed with the last of them. */
START_TEST(a_message_is_kept_and_passed_on_without_a_copy)
{
    probe     a, b;
    xd_actor *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus, "bob", NULL), *s = NULL;
    xd_error  err;
    int       reason = 1;
    ck_assert_int_eq(xd_actor_start(&s, bus, &sharer_spec, "sharer", NULL, &err), 0);
    ck_assert_int_eq(probe_do(&a, send_big_to_sharer, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        probe_got g = probe_at(&b, i);
        ck_assert_ptr_eq(g.where, big_memory);
        ck_assert_str_eq(g.from, "sharer");
        ck_assert_uint_eq(g.gateway, 7);
        ck_assert_uint_eq(g.body.len, 8u << 20);
    }
    ck_assert_int_eq(probe_stop(&b, bb), 0);
    xd_actor_ask_stop(s);
    ck_assert_int_eq(xd_actor_join(s, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    xd_actor_free(s);
    ck_assert_int_eq(probe_stop(&a, aa), 0);
    xd_auto(xd_msg) *own = NULL, *none = NULL;
    ck_assert_int_eq(xd_msg_new(&own, PING, "x", 1), 0);
    ck_assert_int_eq(xd_msg_share(&none, own), -EINVAL); /* not one that a handler got */
}
END_TEST

START_TEST(a_failed_init_is_told_and_leaves_nothing)
{
    probe     p;
    xd_actor *a = NULL;
    xd_error  err;
    probe_new(&p);
    p.init_result = -ENODEV;
    ck_assert_int_eq(xd_actor_start(&a, bus, &probe_spec, "alice", &p, &err), -ENODEV);
    ck_assert_ptr_null(a);
    ck_assert_ptr_nonnull(strstr(err.text, "alice"));
    probe_release(&p);
    /* The address is free for the next. */
    a = probe_start(&p, bus, "alice", NULL);
    ck_assert_int_eq(probe_text(&p, "alice", PING, "x"), 0);
    probe_at(&p, 0);
    probe_stop(&p, a);
}
END_TEST

START_TEST(no_descriptors_no_actor)
{
    struct rlimit l, small;
    probe         p;
    xd_error      err;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
    probe_new(&p);
    for (rlim_t spare = 0; spare < 2; spare++) { /* two eventfds are made before the socket's own */
        xd_actor *a = NULL;
        int       next = dup(0);
        close(next);
        small = (struct rlimit){ .rlim_cur = (rlim_t)next + spare, .rlim_max = l.rlim_max };
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
        int r = xd_actor_start(&a, bus, &probe_spec, "alice", &p, &err);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
        ck_assert_int_eq(r, -EMFILE);
    }
    ck_assert_int_ge(fcntl(0, F_GETFD), 0);
    probe_release(&p);
}
END_TEST

static int look_at_thread(probe *p, void *arg)
{
    sigset_t set;
    char     name[16];
    (void)p;
    (void)arg;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    pthread_getname_np(pthread_self(), name, sizeof(name));
    return sigismember(&set, SIGINT) && sigismember(&set, SIGCHLD) && sigismember(&set, SIGTERM) &&
                   strcmp(name, "probe") == 0
               ? 0
               : -1;
}

START_TEST(its_thread_has_a_name_and_takes_no_signals)
{
    probe     p;
    xd_actor *a = probe_start(&p, bus, "alice", NULL);
    sigset_t  set;
    ck_assert_int_eq(probe_do(&p, look_at_thread, NULL), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    ck_assert(!sigismember(&set, SIGINT)); /* nor did it change ours */
    probe_stop(&p, a);
}
END_TEST

/* ---- ticks and descriptors ----------------------------------------------------------------------------- */

typedef struct ticker {
    probe *p;
    int    ticks;
} ticker;

static int ticks_seen; /* atomic */

static int on_tick(void *state)
{
    (void)state;
    __atomic_fetch_add(&ticks_seen, 1, __ATOMIC_RELAXED);
    return 0;
}

static int set_tick(probe *p, void *arg)
{
    return xd_actor_set_tick(p->actor, *(uint32_t *)arg);
}

static xd_actor_spec ticking_spec(void)
{
    xd_actor_spec s = probe_spec;
    s.tick = on_tick;
    return s;
}

START_TEST(ticks_come_until_they_are_switched_off)
{
    xd_actor_spec spec = ticking_spec();
    probe         p;
    xd_actor     *a = probe_start(&p, bus, "alice", &spec);
    uint32_t      ms = 5;
    ticks_seen = 0;
    ck_assert_int_eq(probe_do(&p, set_tick, &ms), 0);
    usleep(300000);
    int n = __atomic_load_n(&ticks_seen, __ATOMIC_RELAXED);
    ck_assert_int_ge(n, 10);
    ck_assert_int_le(n, 62);
    ms = 0;
    ck_assert_int_eq(probe_do(&p, set_tick, &ms), 0);
    n = __atomic_load_n(&ticks_seen, __ATOMIC_RELAXED);
    usleep(50000);
    ck_assert_int_eq(__atomic_load_n(&ticks_seen, __ATOMIC_RELAXED), n);
    probe_stop(&p, a);
}
END_TEST

static int bytes_read; /* atomic */

static int read_byte(void *state, int fd, uint32_t events)
{
    char    c;
    probe  *p = *(probe **)state;
    ssize_t n = events & (XD_POLL_IN | XD_POLL_HUP) ? read(fd, &c, 1) : 0;
    if (n == 1)
        __atomic_fetch_add(&bytes_read, 1, __ATOMIC_RELAXED);
    return n == 0 ? xd_actor_watch(p->actor, fd, 0, NULL) : 0; /* end of file: no more */
}

static int watch_it(probe *p, void *arg)
{
    return xd_actor_watch(p->actor, *(int *)arg, XD_POLL_IN, read_byte);
}

static int unwatch_it(probe *p, void *arg)
{
    return xd_actor_watch(p->actor, *(int *)arg, 0, NULL);
}

START_TEST(a_descriptor_is_watched_until_its_end)
{
    probe     p;
    xd_actor *a = probe_start(&p, bus, "alice", NULL);
    int       fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    bytes_read = 0;
    ck_assert_int_eq(probe_do(&p, watch_it, &fds[0]), 0);
    ck_assert_int_eq(write(fds[1], "hello", 5), 5);
    for (int i = 0; i < 1000 && __atomic_load_n(&bytes_read, __ATOMIC_RELAXED) < 5; i++)
        usleep(1000);
    ck_assert_int_eq(__atomic_load_n(&bytes_read, __ATOMIC_RELAXED), 5);
    ck_assert_int_eq(probe_do(&p, unwatch_it, &fds[0]), 0);
    ck_assert_int_eq(write(fds[1], "more", 4), 4);
    usleep(20000);
    ck_assert_int_eq(__atomic_load_n(&bytes_read, __ATOMIC_RELAXED), 5);
    ck_assert_int_eq(probe_do(&p, watch_it, &fds[0]), 0);
    close(fds[1]); /* hang-up: the callback unwatches it, so the thread does not spin */
    for (int i = 0; i < 1000 && __atomic_load_n(&bytes_read, __ATOMIC_RELAXED) < 9; i++)
        usleep(1000);
    ck_assert_int_eq(__atomic_load_n(&bytes_read, __ATOMIC_RELAXED), 9);
    close(fds[0]);
    probe_stop(&p, a);
}
END_TEST

static int watch_many(probe *p, void *arg)
{
    int n = 0, r;
    (void)arg;
    while ((r = xd_actor_watch(p->actor, 1000 + n, XD_POLL_IN, read_byte)) == 0)
        n++;
    for (int i = 0; i < n; i++)
        XD_TRY(xd_actor_watch(p->actor, 1000 + i, 0, NULL));
    return r == -ENOSPC ? n : r;
}

START_TEST(there_is_room_for_sixteen_descriptors)
{
    probe     p;
    xd_actor *a = probe_start(&p, bus, "alice", NULL);
    ck_assert_int_eq(probe_do(&p, watch_many, NULL), 15); /* the probe has one of its own */
    probe_stop(&p, a);
}
END_TEST

START_TEST(a_flood_of_messages_starves_neither_descriptors_nor_ticks)
{
    xd_actor_spec spec = ticking_spec();
    probe         a, b;
    xd_actor     *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus, "bob", &spec);
    uint32_t      ms = 5;
    b.slow_us = 500;
    ticks_seen = 0;
    ck_assert_int_eq(probe_do(&b, set_tick, &ms), 0);
    probe_send s = { .to = "bob", .type = PING, .count = 1500, .again = true };
    ck_assert_int_eq(probe_do(&a, probe_do_send, &s), 0);
    /* A call is answered long before the inbox is empty (64 messages a turn). */
    ck_assert_int_eq(probe_do(&b, look_at_thread, NULL), 0);
    ck_assert_int_eq(probe_do(&b, look_at_thread, NULL), 0);
    ck_assert_uint_lt(probe_count(&b), 1000);
    ck_assert(probe_wait(&b, 1500, 20000));
    ck_assert_int_ge(__atomic_load_n(&ticks_seen, __ATOMIC_RELAXED), 10);
    for (uint32_t i = 0; i < 1500; i++)
        ck_assert_mem_eq(b.got[i].body.data, &i, sizeof(i));
    probe_stop(&a, aa);
    probe_stop(&b, bb);
}
END_TEST

/* ---- ends ---------------------------------------------------------------------------------------------- */

static bool fd_readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, ms) == 1;
}

START_TEST(a_handler_ends_it_well_or_with_a_fault)
{
    static const int answers[] = { XD_ACTOR_STOP, -EPROTO };
    for (size_t i = 0; i < XD_ARRAY_LEN(answers); i++) {
        probe     p;
        int       reason;
        xd_actor *a = probe_start(&p, bus, "alice", NULL);
        p.reply = answers[i];
        ck_assert(!fd_readable(xd_actor_exit_fd(a), 0));
        ck_assert_int_eq(xd_actor_join(a, xd_clock_ns() + 20 * XD_MS_NS, &reason), -ETIMEDOUT);
        ck_assert_int_eq(probe_text(&p, "alice", PING, ""), 0);
        ck_assert(fd_readable(xd_actor_exit_fd(a), 5000));
        ck_assert_int_eq(xd_actor_join(a, UINT64_MAX, &reason), 0);
        ck_assert_int_eq(reason, answers[i] == XD_ACTOR_STOP ? 0 : answers[i]);
        xd_actor_free(a);
        probe_release(&p);
    }
}
END_TEST

static int stop_later(void *state)
{
    probe *p = *(probe **)state;
    xd_auto(xd_msg) *m = NULL;
    p->reply = XD_ACTOR_STOP;
    XD_TRY(xd_msg_new(&m, PONG, "bye", 3));
    return xd_actor_send(p->actor, "alice", &m); /* ends when that has come back */
}

START_TEST(one_that_is_asked_may_take_its_time)
{
    xd_actor_spec spec = probe_spec;
    probe         p;
    int           reason;
    spec.stop = stop_later;
    xd_actor *a = probe_start(&p, bus, "alice", &spec);
    xd_actor_ask_stop(a);
    xd_actor_ask_stop(a);
    ck_assert_int_eq(xd_actor_join(a, xd_clock_ns() + 5 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    ck_assert_uint_eq(p.count, 1);
    xd_actor_free(a);
    probe_release(&p);
}
END_TEST

static sem_t stuck_gate;

static int get_stuck(probe *p, void *arg)
{
    (void)p;
    (void)arg;
    sem_post(&stuck_gate);
    usleep(400000);
    return 0;
}

static void *call_get_stuck(void *arg)
{
    (void)!probe_do(arg, get_stuck, NULL);
    return NULL;
}

START_TEST(one_that_is_stuck_is_reported_in_time)
{
    probe     p, q;
    pthread_t caller;
    int       reason;
    sem_init(&stuck_gate, 0, 0);
    xd_actor *a = probe_start(&p, bus, "alice", NULL), *other = probe_start(&q, bus, "bob", NULL);
    ck_assert_int_eq(pthread_create(&caller, NULL, call_get_stuck, &p), 0);
    sem_wait(&stuck_gate);
    uint64_t since = xd_clock_ns();
    xd_actor_ask_stop(a);
    ck_assert_int_eq(xd_actor_join(a, since + 100 * XD_MS_NS, &reason), -ETIMEDOUT);
    uint64_t took_ms = (xd_clock_ns() - since) / XD_MS_NS;
    ck_assert_uint_ge(took_ms, 99u);
    ck_assert_uint_lt(took_ms, 350u);
    /* The others are not held up by it. */
    ck_assert_int_eq(probe_text(&q, "bob", PING, "x"), 0);
    probe_at(&q, 0);
    pthread_join(caller, NULL);
    ck_assert_int_eq(probe_stop(&p, a), 0);
    probe_stop(&q, other);
    sem_destroy(&stuck_gate);
}
END_TEST

/* What an actor sends last arrives although it ends at once. */
static int send_and_end(void *state)
{
    probe     *p = *(probe **)state;
    probe_send s = { .to = "bob", .type = PING, .count = 500 };
    XD_TRY(probe_do_send(p, &s));
    return XD_ACTOR_STOP;
}

START_TEST(last_words_arrive)
{
    xd_actor_spec spec = probe_spec;
    probe         a, b;
    spec.stop = send_and_end;
    xd_actor *bb = probe_start(&b, bus, "bob", NULL);
    for (size_t round = 1; round <= 5; round++) {
        xd_actor *aa = probe_start(&a, bus, "alice", &spec);
        ck_assert_int_eq(probe_stop(&a, aa), 0);
        ck_assert(probe_wait(&b, round * 500, 10000));
    }
    probe_stop(&b, bb);
}
END_TEST

START_TEST(an_address_is_taken_over_by_the_next)
{
    probe     a, b, c;
    xd_actor *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus, "bob", NULL);
    ck_assert_int_eq(probe_text(&b, "alice", PING, "1"), 0);
    probe_at(&a, 0);
    probe_stop(&a, aa);
    ck_assert_int_eq(probe_text(&b, "alice", PING, "nobody"), 0);
    ck_assert_int_eq(probe_text(&b, "bob", PING, "the broker has seen it"), 0);
    probe_at(&b, 0); /* before the next alice is there to get what was meant for the last */
    xd_actor *cc = probe_start(&c, bus, "alice", NULL);
    ck_assert_int_eq(probe_text(&b, "alice", PING, "2"), 0);
    ck_assert_mem_eq(probe_at(&c, 0).body.data, "2", 1);
    probe_stop(&c, cc);
    probe_stop(&b, bb);
}
END_TEST

START_TEST(a_message_can_be_posted_from_outside)
{
    probe     p;
    xd_actor *a = probe_start(&p, bus, "alice", NULL);
    for (uint32_t i = 0; i < 20; i++)
        ck_assert_int_eq(xd_bus_post(bus, "", "alice", XD_MSG_STOP, &i, sizeof(i)), 0);
    probe_got g = probe_at(&p, 19);
    ck_assert_uint_eq(g.type, XD_MSG_STOP);
    ck_assert_str_eq(g.from, "");
    ck_assert_int_eq(xd_bus_post(bus, "", "nobody", XD_MSG_STOP, "", 0), 0);
    probe_stop(&p, a);
}
END_TEST

static int send_until_full(probe *p, void *arg)
{
    probe_send *s = arg;
    for (s->sent = 0; s->sent < s->count; s->sent++) {
        xd_auto(xd_msg) *m = NULL;
        XD_TRY(xd_msg_new(&m, PING, "kept", 4));
        int r = xd_actor_try_send(p->actor, s->to, &m);
        if (r == -EAGAIN) /* the message that found no room stays whole and can be sent later, or freed */
            ck_assert_mem_eq(m->body.ptr, "kept", 4);
        XD_TRY(r);
    }
    return 0;
}

/* Without a broker that reads, the pipe fills. */
START_TEST(a_full_pipe_is_told_to_the_sender)
{
    probe     p;
    xd_actor *a = probe_start(&p, bus, "alice", NULL);
    broker = xd_broker_stop(broker);
    probe_send s = { .to = "alice", .type = PING, .count = 100000 };
    ck_assert_int_eq(probe_do(&p, send_until_full, &s), -EAGAIN);
    ck_assert_uint_lt(s.sent, 5000);
    ck_assert_int_eq(probe_do(&p, send_until_full, &s), -EAGAIN);
    ck_assert_uint_eq(s.sent, 0);
    probe_stop(&p, a);
}
END_TEST

/* What finds no room waits with its sender, and the queue there has an end. */
START_TEST(the_outbox_is_bounded)
{
    probe     p;
    xd_actor *a = probe_start(&p, bus, "alice", NULL);
    broker = xd_broker_stop(broker);
    probe_send s = { .to = "alice", .type = PING, .count = 100000 };
    ck_assert_int_eq(probe_do(&p, probe_do_send, &s), -ENOBUFS);
    ck_assert_uint_ge(s.sent, 65536);
    ck_assert_uint_lt(s.sent, 65536 + 5000);
    probe_stop(&p, a);
}
END_TEST

START_TEST(what_waits_with_its_sender_arrives_in_order)
{
    probe         a, b;
    xd_actor_spec large = probe_spec;
    large.window = 65536;
    xd_actor  *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus, "bob", &large);
    probe_send s = { .to = "bob", .type = PING, .count = 30000 };
    ck_assert_int_eq(probe_do(&a, probe_do_send, &s), 0);
    for (uint32_t i = 0; i < 30000; i++) {
        probe_got g = probe_at(&b, i);
        ck_assert_mem_eq(g.body.data, &i, sizeof(i));
    }
    probe_stop(&a, aa);
    probe_stop(&b, bb);
}
END_TEST

START_TEST(two_engines_in_one_process)
{
    xd_bus    *bus2 = NULL;
    xd_broker *broker2 = NULL;
    probe      a, b;
    probe_broker(&broker2, &bus2, RUN_ID, NULL);
    xd_actor *aa = probe_start(&a, bus, "alice", NULL), *bb = probe_start(&b, bus2, "alice", NULL);
    ck_assert_int_eq(probe_text(&a, "alice", PING, "one"), 0);
    ck_assert_int_eq(probe_text(&b, "alice", PING, "two"), 0);
    ck_assert_mem_eq(probe_at(&a, 0).body.data, "one", 3);
    ck_assert_mem_eq(probe_at(&b, 0).body.data, "two", 3);
    probe_stop(&b, bb);
    xd_broker_stop(broker2);
    xd_bus_free(bus2);
    ck_assert_int_eq(probe_text(&a, "alice", PING, "on"), 0);
    probe_at(&a, 1);
    ck_assert_uint_eq(probe_count(&a), 2);
    probe_stop(&a, aa);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("actor");
    TCase *t = tcase_create("actor");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, messages_arrive_in_order_with_their_sender);
    tcase_add_test(t, large_bodies_are_not_copied);
    tcase_add_test(t, a_message_is_kept_and_passed_on_without_a_copy);
    tcase_add_test(t, a_failed_init_is_told_and_leaves_nothing);
    tcase_add_test(t, no_descriptors_no_actor);
    tcase_add_test(t, its_thread_has_a_name_and_takes_no_signals);
    tcase_add_test(t, ticks_come_until_they_are_switched_off);
    tcase_add_test(t, a_descriptor_is_watched_until_its_end);
    tcase_add_test(t, there_is_room_for_sixteen_descriptors);
    tcase_add_test(t, a_flood_of_messages_starves_neither_descriptors_nor_ticks);
    tcase_add_test(t, a_handler_ends_it_well_or_with_a_fault);
    tcase_add_test(t, one_that_is_asked_may_take_its_time);
    tcase_add_test(t, one_that_is_stuck_is_reported_in_time);
    tcase_add_test(t, last_words_arrive);
    tcase_add_test(t, an_address_is_taken_over_by_the_next);
    tcase_add_test(t, a_message_can_be_posted_from_outside);
    tcase_add_test(t, a_full_pipe_is_told_to_the_sender);
    tcase_add_test(t, the_outbox_is_bounded);
    tcase_add_test(t, what_waits_with_its_sender_arrives_in_order);
    tcase_add_test(t, two_engines_in_one_process);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
