/* needs: engine */
/* Several runs on one broker: addresses, journals, limits and faults of one are no business of another. */
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/broker.h"
#include "tests/unit/probe.h"

#define PING 0x5001

/* Stands in front of libc's: fails for the journal of one run. */
static ino_t failing; /* atomic */
int          fdatasync(int fd)
{
    struct stat st;
    ino_t       which = __atomic_load_n(&failing, __ATOMIC_RELAXED);
    if (which && fstat(fd, &st) == 0 && st.st_ino == which) {
        errno = EIO;
        return -1;
    }
    return 0;
}

typedef struct one_run {
    char      id[XD_RUN_ID_SIZE], path[64];
    xd_bus   *bus;
    probe     sched, gw; /* the same addresses in all runs */
    xd_actor *sched_actor, *gw_actor;
} one_run;

static char       folder[] = "/tmp/xd-runs-XXXXXX";
static xd_broker *broker;
static one_run    a, b;

static void open_run(one_run *r, char letter, uint64_t limit)
{
    xd_error    err;
    xd_journal *j = NULL;
    memset(r->id, letter, XD_RUN_ID_LEN);
    snprintf(r->path, sizeof(r->path), "%s/%c", folder, letter);
    ck_assert_int_eq(xd_journal_open(&j, r->path, r->id, false, &err), 0);
    xd_journal_limit(j, limit);
    xd_broker_run_args args = { .id = r->id, .owner = "sched", .journal = &j };
    ck_assert_msg(xd_broker_open(broker, &args, &r->bus, &err) == 0, "%s", err.text);
    ck_assert_ptr_null(j);
    r->sched_actor = probe_start(&r->sched, r->bus, "sched", NULL);
    r->gw_actor = probe_start(&r->gw, r->bus, "gateway.0", NULL);
}

static void end_run(one_run *r)
{
    if (!r->bus)
        return;
    probe_stop(&r->gw, r->gw_actor);
    probe_stop(&r->sched, r->sched_actor);
    xd_broker_close(broker, r->bus, NULL, NULL);
    r->bus = xd_bus_free(r->bus);
    unlink(r->path);
}

static void setup(void)
{
    xd_error err;
    failing = 0;
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(xd_broker_start(&broker, NULL, &err), 0);
    open_run(&a, 'a', 0);
    open_run(&b, 'b', 0);
}

static void teardown(void)
{
    end_run(&a);
    end_run(&b);
    ck_assert_uint_eq(xd_broker_runs(broker), 0);
    broker = xd_broker_stop(broker);
    rmdir(folder);
}

static void record(one_run *r, uint64_t first, uint64_t count)
{
    probe_frames s = { .to = "sched", .first = first, .count = count };
    ck_assert_int_eq(probe_do(&r->gw, probe_do_record, &s), 0);
}

static uint64_t records_in(const one_run *r)
{
    xd_journal_check c;
    xd_error         err;
    ck_assert_int_eq(xd_journal_verify(r->path, false, &c, &err), 0);
    ck_assert_uint_eq(c.bad_bytes, 0);
    return c.records;
}

/* Messages of one type that it has got. */
static size_t got(probe *p, uint16_t type)
{
    size_t n = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++)
        n += p->got[i].type == type;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static bool wait_got(probe *p, uint16_t type, size_t count)
{
    uint64_t end = xd_clock_ns() + 10 * XD_S_NS;
    while (got(p, type) < count && xd_clock_ns() < end)
        usleep(1000);
    return got(p, type) == count;
}

START_TEST(the_same_address_is_another_one_in_another_run)
{
    ck_assert_int_eq(probe_text(&a.gw, "sched", PING, "of a"), 0);
    ck_assert_int_eq(probe_text(&b.gw, "sched", PING, "of b"), 0);
    ck_assert_int_eq(xd_bus_post(b.bus, "", "sched", PING, "post", 4), 0);
    ck_assert_mem_eq(probe_at(&a.sched, 0).body.data, "of a", 4);
    ck_assert(wait_got(&b.sched, PING, 2));
    ck_assert_uint_eq(probe_count(&a.sched), 1);
}
END_TEST

START_TEST(who_is_in_the_other_run_alone_is_nobody)
{
    probe     p;
    xd_actor *actor = probe_start(&p, a.bus, "only.in.a", NULL);
    ck_assert_int_eq(probe_text(&b.gw, "only.in.a", PING, "x"), 0);
    probe_got g = probe_at(&b.gw, 0);
    ck_assert_uint_eq(g.type, XD_MSG_UNKNOWN);
    ck_assert_str_eq(g.from, "only.in.a");
    ck_assert_int_eq(probe_text(&a.gw, "only.in.a", PING, "y"), 0);
    ck_assert_mem_eq(probe_at(&p, 0).body.data, "y", 1);
    probe_stop(&p, actor);
}
END_TEST

/* The same gateway number and the same sequence numbers, at the same time. */
START_TEST(each_has_its_journal_and_its_sequence_numbers)
{
    xd_journal_reader *r = NULL;
    xd_error           err;
    for (uint64_t i = 0; i < 20; i++) {
        record(&a, 1 + i * 10, 10);
        if (i < 10)
            record(&b, 1 + i * 10, 10);
    }
    ck_assert(wait_got(&a.sched, XD_MSG_WORKER_UP, 200));
    ck_assert(wait_got(&b.sched, XD_MSG_WORKER_UP, 100));
    ck_assert_uint_eq(records_in(&a), 200);
    ck_assert_uint_eq(records_in(&b), 100);
    ck_assert_int_eq(xd_journal_reader_open(&r, b.path, &err), 0);
    ck_assert_str_eq(xd_journal_reader_run_id(r), b.id);
    xd_journal_reader_close(r);
    record(&b, 91, 10); /* again: none of b's may be taken twice, whatever a has */
    record(&b, 101, 1);
    ck_assert(wait_got(&b.sched, XD_MSG_WORKER_UP, 101));
    ck_assert_uint_eq(records_in(&b), 101);
}
END_TEST

START_TEST(subscribers_follow_their_own_journal)
{
    probe     pa, pb;
    xd_actor *aa = probe_start(&pa, a.bus, "report", NULL), *bb = probe_start(&pb, b.bus, "report", NULL);
    pa.answers = pb.answers = true;
    ck_assert_int_eq(probe_text(&pa, "", XD_MSG_SUBSCRIBE, ""), 0);
    ck_assert_int_eq(probe_text(&pb, "", XD_MSG_SUBSCRIBE, ""), 0);
    probe_at(&pa, 0);
    probe_at(&pb, 0);
    record(&a, 1, 50);
    ck_assert(wait_got(&a.sched, XD_MSG_WORKER_UP, 50));
    struct stat st;
    uint64_t    end = 0;
    ck_assert_int_eq(stat(a.path, &st), 0);
    for (size_t i = 1; end < (uint64_t)st.st_size; i++)
        memcpy(&end, probe_at(&pa, i).body.data, sizeof(end));
    ck_assert_uint_eq(end, (uint64_t)st.st_size);
    ck_assert_uint_eq(probe_count(&pb), 1); /* nothing was recorded in b */
    probe_stop(&pa, aa);
    probe_stop(&pb, bb);
}
END_TEST

START_TEST(a_journal_that_fails_ends_no_other_run)
{
    struct stat st;
    ck_assert_int_eq(stat(a.path, &st), 0);
    __atomic_store_n(&failing, st.st_ino, __ATOMIC_RELAXED);
    record(&a, 1, 10);
    record(&b, 1, 10);
    ck_assert(wait_got(&a.sched, XD_MSG_FAULT, 1));
    ck_assert(wait_got(&b.gw, XD_MSG_ACK, 1) || got(&b.gw, XD_MSG_ACK) > 1);
    ck_assert_int_eq(xd_bus_fault(a.bus), -EIO);
    ck_assert_int_eq(xd_bus_fault(b.bus), 0);
    ck_assert_uint_eq(got(&b.sched, XD_MSG_FAULT), 0);
    ck_assert_uint_eq(got(&a.gw, XD_MSG_ACK), 0);
}
END_TEST

/* The last records of a run are made durable when it is closed. */
START_TEST(a_journal_that_fails_at_the_end_is_told)
{
    struct stat st;
    int         of_a = 1, of_b = 1;
    ck_assert_int_eq(stat(a.path, &st), 0);
    __atomic_store_n(&failing, st.st_ino, __ATOMIC_RELAXED);
    record(&a, 1, 1);
    record(&b, 1, 1);
    xd_broker_close(broker, a.bus, NULL, &of_a);
    xd_broker_close(broker, b.bus, NULL, &of_b);
    ck_assert_int_eq(of_a, -EIO);
    ck_assert_int_eq(of_b, 0);
}
END_TEST

START_TEST(a_full_journal_is_that_of_one_run)
{
    end_run(&a);
    open_run(&a, 'a', 500);
    record(&a, 1, 100);
    record(&b, 1, 100);
    ck_assert(wait_got(&a.sched, XD_MSG_FAULT, 1));
    ck_assert(wait_got(&b.sched, XD_MSG_WORKER_UP, 100));
    ck_assert_uint_lt(got(&a.sched, XD_MSG_WORKER_UP), 100);
    ck_assert_uint_eq(got(&b.sched, XD_MSG_FAULT), 0);
}
END_TEST

START_TEST(a_scheduler_that_does_not_read_breaks_its_own_run)
{
    probe_hold    held;
    struct pollfd of_a = { .fd = xd_bus_broken_fd(a.bus), .events = POLLIN },
                  of_b = { .fd = xd_bus_broken_fd(b.bus), .events = POLLIN };
    probe_hold_begin(&held, &a.sched);
    probe_send s = { .to = "sched", .type = PING, .count = 10000 };
    ck_assert_int_eq(probe_do(&a.gw, probe_do_send, &s), 0);
    ck_assert_int_eq(poll(&of_a, 1, 10000), 1);
    ck_assert_int_eq(probe_text(&b.gw, "sched", PING, "alive"), 0);
    ck_assert_mem_eq(probe_at(&b.sched, 0).body.data, "alive", 5);
    ck_assert_int_eq(poll(&of_b, 1, 0), 0);
    probe_hold_end(&held);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_told_to_the_keeper_of_its_run)
{
    probe_hold held;
    probe      p;
    xd_actor  *actor = probe_start(&p, a.bus, "sleeper", NULL);
    probe_hold_begin(&held, &p);
    probe_send s = { .to = "sleeper", .type = PING, .count = 10000 };
    ck_assert_int_eq(probe_do(&a.gw, probe_do_send, &s), 0);
    ck_assert(wait_got(&a.sched, XD_MSG_GONE, 1));
    ck_assert_int_eq(probe_text(&b.gw, "sched", PING, "alive"), 0);
    probe_at(&b.sched, 0);
    ck_assert_uint_eq(probe_count(&b.sched), 1);
    probe_hold_end(&held);
    probe_stop(&p, actor);
}
END_TEST

static int flooding; /* atomic */

static int flood(probe *p, void *arg)
{
    uint64_t *sent = arg;
    while (__atomic_load_n(&flooding, __ATOMIC_RELAXED)) {
        xd_auto(xd_msg) *m = NULL;
        XD_TRY(xd_msg_new(&m, PING, "flood", 5));
        int r = xd_actor_try_send(p->actor, "other", &m);
        if (r == 0)
            ++*sent;
        else if (r != -EAGAIN)
            return r;
    }
    return 0;
}

static void *call_flood(void *arg)
{
    uint64_t sent = 0;
    ck_assert_int_eq(probe_do(arg, flood, &sent), 0);
    return (void *)(uintptr_t)sent;
}

/* What was sent in the run that is closed is recorded, however busy the others are, and closing does not wait for them. */
START_TEST(a_run_is_closed_while_another_floods_the_broker)
{
    pthread_t       caller;
    void           *sent;
    xd_broker_stats stats;
    int             fault = 1;
    __atomic_store_n(&flooding, 1, __ATOMIC_RELAXED);
    ck_assert_int_eq(pthread_create(&caller, NULL, call_flood, &b.gw), 0);
    usleep(50000);
    record(&a, 1, 800);
    probe_stop(&a.gw, a.gw_actor);
    uint64_t since = xd_clock_ns();
    xd_broker_close(broker, a.bus, &stats, &fault);
    ck_assert_uint_lt(xd_clock_ns() - since, 10 * XD_S_NS);
    ck_assert_int_eq(fault, 0);
    ck_assert_uint_eq(stats.journaled, 800);
    ck_assert_uint_eq(records_in(&a), 800);
    ck_assert_uint_eq(xd_broker_runs(broker), 1);
    __atomic_store_n(&flooding, 0, __ATOMIC_RELAXED);
    pthread_join(caller, &sent);
    ck_assert_uint_gt((uintptr_t)sent, 1000);
    probe_stop(&a.sched, a.sched_actor);
    a.bus = xd_bus_free(a.bus);
    unlink(a.path);
    ck_assert_int_eq(probe_text(&b.gw, "sched", PING, "alive"), 0);
    ck_assert(wait_got(&b.sched, PING, 1));
}
END_TEST

/* Its actors may live on for a while. */
START_TEST(what_is_sent_in_a_closed_run_goes_nowhere)
{
    xd_broker_close(broker, a.bus, NULL, NULL);
    xd_broker_close(broker, a.bus, NULL, NULL);
    ck_assert_int_eq(probe_text(&a.gw, "sched", PING, "late"), 0);
    record(&a, 1, 10);
    ck_assert_int_eq(probe_text(&b.gw, "sched", PING, "alive"), 0);
    probe_at(&b.sched, 0);
    ck_assert_uint_eq(probe_count(&a.sched), 0);
    ck_assert_uint_eq(probe_count(&b.sched), 1);
    ck_assert_uint_eq(records_in(&a), 0);
}
END_TEST

START_TEST(an_id_is_open_once)
{
    xd_error           err;
    xd_bus            *bus = NULL;
    xd_broker_run_args args = { .id = a.id, .owner = "sched" };
    ck_assert_int_eq(xd_broker_open(broker, &args, &bus, &err), -EEXIST);
    ck_assert_msg(strstr(err.text, a.id) && strstr(err.text, "is open there"), "%s", err.text);
    ck_assert_ptr_null(bus);
    ck_assert_int_eq(probe_text(&a.gw, "sched", PING, "alive"), 0);
    probe_at(&a.sched, 0);
    end_run(&a);
    open_run(&a, 'a', 0); /* closed: it may be opened again, with nothing left of what it was */
    record(&a, 1, 1);
    ck_assert(wait_got(&a.sched, XD_MSG_WORKER_UP, 1));
    ck_assert_uint_eq(xd_broker_runs(broker), 2);
}
END_TEST

enum { SHORT_RUNS = 40 };

static void *many_short_runs(void *arg)
{
    for (int i = 0; i < SHORT_RUNS; i++) {
        char               id[XD_RUN_ID_SIZE];
        probe              p;
        xd_bus            *bus = NULL;
        xd_error           err;
        xd_broker_run_args args = { .id = id, .owner = "sched" };
        snprintf(id, sizeof(id), "%s-%d", (const char *)arg, i);
        ck_assert_int_eq(xd_broker_open(broker, &args, &bus, &err), 0);
        xd_actor *actor = probe_start(&p, bus, "sched", NULL);
        ck_assert_int_eq(probe_text(&p, "sched", PING, id), 0);
        ck_assert_mem_eq(probe_at(&p, 0).body.data, id, strlen(id));
        probe_stop(&p, actor);
        xd_broker_close(broker, bus, NULL, NULL);
        xd_bus_free(bus);
    }
    return NULL;
}

START_TEST(runs_come_and_go_on_several_threads)
{
    static const char *const names[] = { "one", "two", "three" };
    pthread_t                t[XD_ARRAY_LEN(names)];
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, many_short_runs, (void *)(uintptr_t)names[i]), 0);
    for (uint64_t i = 0; i < 200; i++)
        record(&a, 1 + i, 1);
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    ck_assert(wait_got(&a.sched, XD_MSG_WORKER_UP, 200));
    ck_assert_uint_eq(records_in(&a), 200);
    ck_assert_uint_eq(xd_broker_runs(broker), 2);
}
END_TEST

/* The actors of runs that nobody closed may end later. */
START_TEST(a_broker_that_is_stopped_closes_its_runs)
{
    record(&a, 1, 300);
    xd_error err;
    broker = xd_broker_stop(broker);
    ck_assert_uint_eq(records_in(&a), 300);
    xd_broker_close(broker, a.bus, NULL, NULL);
    ck_assert_int_eq(xd_broker_start(&broker, NULL, &err), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("broker_runs");
    TCase *t = tcase_create("broker_runs");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_same_address_is_another_one_in_another_run);
    tcase_add_test(t, who_is_in_the_other_run_alone_is_nobody);
    tcase_add_test(t, each_has_its_journal_and_its_sequence_numbers);
    tcase_add_test(t, subscribers_follow_their_own_journal);
    tcase_add_test(t, a_journal_that_fails_ends_no_other_run);
    tcase_add_test(t, a_journal_that_fails_at_the_end_is_told);
    tcase_add_test(t, a_full_journal_is_that_of_one_run);
    tcase_add_test(t, a_scheduler_that_does_not_read_breaks_its_own_run);
    tcase_add_test(t, a_peer_that_does_not_read_is_told_to_the_keeper_of_its_run);
    tcase_add_test(t, a_run_is_closed_while_another_floods_the_broker);
    tcase_add_test(t, what_is_sent_in_a_closed_run_goes_nowhere);
    tcase_add_test(t, an_id_is_open_once);
    tcase_add_test(t, runs_come_and_go_on_several_threads);
    tcase_add_test(t, a_broker_that_is_stopped_closes_its_runs);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
