/* needs: engine */
/* Broker: routes, records, acknowledges what is durable and nothing else; a slow or dead peer harms
 * nobody. */
#include <fcntl.h>
#include <sched.h>

#include "engine/broker.h"
#include "tests/unit/probe.h"

#define PING 0x5001
#define RUN_ID "0123456789abcdef0123456789abcdef"

/* Stands in front of libc's: slow, blocked or failing on demand. */
static int sync_block, sync_errno, sync_us;
int        fdatasync(int fd)
{
    (void)fd;
    usleep((unsigned)__atomic_load_n(&sync_us, __ATOMIC_RELAXED));
    while (__atomic_load_n(&sync_block, __ATOMIC_RELAXED))
        usleep(1000);
    errno = __atomic_load_n(&sync_errno, __ATOMIC_RELAXED);
    return errno ? -1 : 0;
}

static char            folder[] = "/tmp/xd-broker-XXXXXX", path[64];
static xd_bus         *bus;
static xd_broker      *broker;
static xd_broker_stats stats;
static int             fault;
static probe           sched, gw;
static xd_actor       *sched_actor, *gw_actor;

static void setup(void)
{
    xd_error    err;
    xd_journal *j = NULL;
    sync_block = sync_errno = sync_us = 0;
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/journal", folder);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    probe_broker(&broker, &bus, RUN_ID, &j);
    ck_assert_ptr_null(j);
    sched_actor = probe_start(&sched, bus, "sched", NULL);
    gw_actor = probe_start(&gw, bus, "gateway.7", NULL);
}

static void stop_broker(void)
{
    xd_broker_close(broker, bus, &stats, &fault);
    broker = xd_broker_stop(broker);
}

static void teardown(void)
{
    stop_broker();
    probe_stop(&gw, gw_actor);
    probe_stop(&sched, sched_actor);
    bus = xd_bus_free(bus);
    unlink(path);
    rmdir(folder);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static void record_frames(probe *p, const char *to, uint64_t first, uint64_t count)
{
    probe_frames s = { .to = to, .gateway = 7, .first = first, .count = count };
    ck_assert_int_eq(probe_do(p, probe_do_record, &s), 0);
}

/* Newest number acknowledged to the gateway so far. */
static uint64_t acked(probe *p)
{
    uint64_t newest = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        xd_frame    f;
        xd_wire_ACK a;
        if (p->got[i].type != XD_MSG_ACK)
            continue;
        xd_msg m = { .body = xd_buf_view(&p->got[i].body) };
        ck_assert_int_eq(xd_msg_frame(&m, &f), 0);
        ck_assert_int_eq(xd_wire_ACK_decode(f.body, f.len, &a), 0);
        ck_assert_uint_ge(a.acked, newest);
        newest = a.acked;
    }
    pthread_mutex_unlock(&p->lock);
    return newest;
}

static bool wait_acked(probe *p, uint64_t seq, uint32_t ms)
{
    uint64_t end = xd_clock_ns() + ms * XD_MS_NS;
    while (acked(p) < seq && xd_clock_ns() < end)
        usleep(1000);
    return acked(p) >= seq;
}

static uint32_t records_in_journal(void)
{
    xd_journal_check c;
    xd_error         err;
    ck_assert_int_eq(xd_journal_verify(path, false, &c, &err), 0);
    ck_assert_uint_eq(c.bad_bytes, 0);
    return (uint32_t)c.records;
}

/* ---- routing ------------------------------------------------------------------------------------------- */

/* The sender is told once per address, and again when somebody had it in between. */
START_TEST(an_unknown_address_is_told_to_the_sender)
{
    probe p;
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(probe_text(&gw, "somebody", PING, "x"), 0);
    probe_got g = probe_at(&gw, 0);
    ck_assert_uint_eq(g.type, XD_MSG_UNKNOWN);
    ck_assert_str_eq(g.from, "somebody");
    xd_actor *a = probe_start(&p, bus, "somebody", NULL);
    ck_assert_int_eq(probe_text(&gw, "somebody", PING, "x"), 0);
    ck_assert_uint_eq(probe_at(&p, 0).type, PING);
    probe_stop(&p, a);
    for (int i = 0; i < 2000 && probe_count(&gw) < 2; i++) { /* its socket is gone a little later */
        ck_assert_int_eq(probe_text(&gw, "somebody", PING, "x"), 0);
        usleep(1000);
    }
    ck_assert_str_eq(probe_at(&gw, 1).from, "somebody");
    ck_assert_uint_eq(probe_count(&gw), 2);
}
END_TEST

/* Without its scheduler a run cannot end by itself: the engine is told. */
START_TEST(a_scheduler_that_does_not_read_breaks_the_broker)
{
    probe_hold    held;
    struct pollfd broken = { .fd = xd_bus_broken_fd(bus), .events = POLLIN };
    probe_hold_begin(&held, &sched);
    ck_assert_int_eq(poll(&broken, 1, 0), 0);
    probe_send s = { .to = "sched", .type = PING, .count = 10000 };
    ck_assert_int_eq(probe_do(&gw, probe_do_send, &s), 0);
    ck_assert_int_eq(poll(&broken, 1, 10000), 1);
    probe_hold_end(&held);
}
END_TEST

START_TEST(nobody_there_is_counted)
{
    ck_assert_int_eq(probe_text(&gw, "nobody", PING, "x"), 0);
    ck_assert_int_eq(probe_text(&gw, "sched", PING, "y"), 0);
    ck_assert_mem_eq(probe_at(&sched, 0).body.data, "y", 1);
    stop_broker();
    ck_assert_uint_eq(stats.unroutable, 1);
    ck_assert_uint_eq(stats.journaled, 0);
    ck_assert_int_eq(fault, 0);
}
END_TEST

START_TEST(the_inbox_is_emptied_before_it_stops)
{
    record_frames(&gw, "sched", 1, 800);
    stop_broker();
    ck_assert_uint_eq(stats.journaled, 800);
    ck_assert_uint_eq(records_in_journal(), 800);
    ck_assert(probe_wait(&sched, 800, 10000));
}
END_TEST

/* ---- the journal --------------------------------------------------------------------------------------- */

START_TEST(frames_are_recorded_then_passed_on_then_acknowledged)
{
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f;
    __atomic_store_n(&sync_block, 1, __ATOMIC_RELAXED);
    record_frames(&gw, "sched", 1, 10);
    ck_assert(probe_wait(&sched, 10, 10000));
    probe_got g = probe_at(&sched, 9);
    ck_assert_uint_eq(g.type, XD_MSG_WORKER_UP);
    ck_assert_uint_eq(g.gateway, 7);
    ck_assert_str_eq(g.from, "gateway.7");
    ck_assert_uint_eq(records_in_journal(), 10);
    usleep(100000);
    ck_assert_uint_eq(acked(&gw), 0); /* not durable: not acknowledged */
    __atomic_store_n(&sync_block, 0, __ATOMIC_RELAXED);
    ck_assert(wait_acked(&gw, 10, 5000));
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), 0);
    for (uint64_t i = 1; i <= 10; i++) {
        ck_assert_int_eq(xd_journal_reader_next(r, &f, NULL), 1);
        ck_assert_uint_eq(f.seq, i);
        ck_assert_uint_eq(f.flags, 7);
    }
    xd_journal_reader_close(r);
    /* Frames without a number, for the journal alone. */
    record_frames(&sched, "", 0, 3);
    record_frames(&gw, "sched", 11, 1);
    ck_assert(wait_acked(&gw, 11, 5000));
    ck_assert_uint_eq(records_in_journal(), 14);
    ck_assert_uint_eq(probe_count(&sched), 11);
}
END_TEST

START_TEST(a_repeated_frame_is_acknowledged_again_and_dropped)
{
    record_frames(&gw, "sched", 1, 5);
    ck_assert(wait_acked(&gw, 5, 5000));
    size_t before = probe_count(&gw);
    record_frames(&gw, "sched", 3, 2);
    ck_assert(probe_wait(&gw, before + 1, 5000));
    ck_assert_uint_eq(acked(&gw), 5);
    record_frames(&gw, "sched", 8, 1); /* 6 and 7 are missing */
    record_frames(&gw, "sched", 6, 1);
    ck_assert(wait_acked(&gw, 6, 5000));
    stop_broker();
    ck_assert_uint_eq(stats.duplicates, 2);
    ck_assert_uint_eq(stats.gaps, 1);
    ck_assert_uint_eq(stats.journaled, 6);
    ck_assert_uint_eq(records_in_journal(), 6);
    ck_assert_uint_eq(probe_count(&sched), 6);
}
END_TEST

START_TEST(a_duplicate_of_what_is_not_durable_is_not_acknowledged)
{
    __atomic_store_n(&sync_block, 1, __ATOMIC_RELAXED);
    record_frames(&gw, "sched", 1, 5);
    record_frames(&gw, "sched", 5, 1);
    ck_assert(probe_wait(&sched, 5, 5000));
    usleep(50000);
    ck_assert_uint_eq(acked(&gw), 0);
    __atomic_store_n(&sync_block, 0, __ATOMIC_RELAXED);
    ck_assert(wait_acked(&gw, 5, 5000));
}
END_TEST

START_TEST(what_is_no_frame_is_dropped)
{
    probe_send s = {
        .to = "sched", .type = PING, .flags = XD_FLAG_JOURNAL, .body = "not a frame at all..", .len = 20
    };
    ck_assert_int_eq(probe_do(&gw, probe_do_send, &s), 0);
    s.len = 3;
    ck_assert_int_eq(probe_do(&gw, probe_do_send, &s), 0);
    record_frames(&gw, "sched", 1, 1);
    ck_assert_uint_eq(probe_at(&sched, 0).type, XD_MSG_WORKER_UP);
    ck_assert_uint_eq(records_in_journal(), 1);
}
END_TEST

/* Frames come without a pause on a slow disk: there is always one that is not durable yet, and still
 * acknowledgements must come. */
START_TEST(a_steady_stream_is_acknowledged_while_it_flows)
{
    probe_frames s = { .to = "sched", .gateway = 7, .first = 1, .count = 4000, .pause_us = 100 };
    __atomic_store_n(&sync_us, 10000, __ATOMIC_RELAXED);
    ck_assert_int_eq(probe_do(&gw, probe_do_record, &s), 0);
    /* Its inbox was not looked at meanwhile: what is there now was sent while it sent. */
    ck_assert(wait_acked(&gw, 4000, 10000));
    size_t acks = probe_count(&gw);
    ck_assert_msg(acks >= 8, "%zu acknowledgements for 4000 frames in half a second and more", acks);
}
END_TEST

START_TEST(after_a_fault_messages_flow_and_nothing_is_acknowledged)
{
    record_frames(&gw, "sched", 1, 3);
    ck_assert(wait_acked(&gw, 3, 5000));
    __atomic_store_n(&sync_errno, EIO, __ATOMIC_RELAXED);
    record_frames(&gw, "sched", 4, 1);
    probe_got g = probe_at(&sched, 4);
    ck_assert_uint_eq(g.type, XD_MSG_FAULT);
    int32_t code;
    ck_assert_uint_eq(g.body.len, sizeof(code));
    memcpy(&code, g.body.data, sizeof(code));
    ck_assert_int_eq(code, -EIO);
    __atomic_store_n(&sync_errno, 0, __ATOMIC_RELAXED);
    record_frames(&gw, "sched", 5, 20);
    ck_assert(probe_wait(&sched, 25, 5000));
    usleep(100000);
    ck_assert_uint_eq(acked(&gw), 3);
    stop_broker();
    ck_assert_int_eq(fault, -EIO);
    ck_assert_uint_eq(probe_count(&sched), 25); /* FAULT came once */
}
END_TEST

/* ---- tail ---------------------------------------------------------------------------------------------- */

static uint64_t tail_of(probe *p, size_t i)
{
    probe_got g = probe_at(p, i);
    uint64_t  end;
    ck_assert_uint_eq(g.type, XD_MSG_TAIL);
    ck_assert_uint_eq(g.body.len, sizeof(end));
    memcpy(&end, g.body.data, sizeof(end));
    return end;
}

START_TEST(a_slow_reader_lags_and_blocks_nobody)
{
    probe     slow, fast;
    xd_actor *s = probe_start(&slow, bus, "slow", NULL), *f = probe_start(&fast, bus, "fast", NULL);
    fast.answers = true;
    ck_assert_int_eq(probe_text(&slow, "", XD_MSG_SUBSCRIBE, ""), 0);
    ck_assert_int_eq(probe_text(&fast, "", XD_MSG_SUBSCRIBE, ""), 0);
    ck_assert_uint_eq(tail_of(&slow, 0), XD_JOURNAL_HEADER);
    record_frames(&gw, "sched", 1, 3000);
    ck_assert(wait_acked(&gw, 3000, 10000));
    uint64_t end = XD_JOURNAL_HEADER;
    {
        xd_journal_check c;
        xd_error         err;
        ck_assert_int_eq(xd_journal_verify(path, false, &c, &err), 0);
        end = c.good_bytes;
    }
    /* The fast one is told of the end, in fewer messages than records. */
    uint64_t until = xd_clock_ns() + 5 * XD_S_NS;
    while (tail_of(&fast, probe_count(&fast) - 1) < end && xd_clock_ns() < until)
        usleep(1000);
    ck_assert_uint_eq(tail_of(&fast, probe_count(&fast) - 1), end);
    ck_assert_uint_lt(probe_count(&fast), 3000);
    /* The slow one has had one message; when it answers it gets one more, with the end as it is now. */
    ck_assert_uint_eq(probe_count(&slow), 1);
    ck_assert_int_eq(probe_text(&slow, "", XD_MSG_TAIL, "12345678"), 0);
    ck_assert_uint_eq(tail_of(&slow, 1), end);
    /* An answer while nothing is new brings nothing; the next record does. */
    ck_assert_int_eq(probe_text(&slow, "", XD_MSG_TAIL, "12345678"), 0);
    usleep(20000);
    ck_assert_uint_eq(probe_count(&slow), 2);
    record_frames(&gw, "sched", 3001, 1);
    ck_assert_uint_gt(tail_of(&slow, 2), end);
    probe_stop(&slow, s);
    probe_stop(&fast, f);
    record_frames(&gw, "sched", 3002, 50); /* subscribers that are gone */
    ck_assert(wait_acked(&gw, 3051, 5000));
}
END_TEST

/* ---- bounds -------------------------------------------------------------------------------------------- */

START_TEST(the_queue_of_a_peer_is_bounded)
{
    xd_actor_spec small = probe_spec;
    probe         p;
    probe_hold    held;
    small.window = 64;
    xd_actor *a = probe_start(&p, bus, "stuck", &small);
    probe_hold_begin(&held, &p);
    probe_send s = { .to = "stuck", .type = PING, .count = 5000, .again = true };
    ck_assert_int_eq(probe_do(&gw, probe_do_send, &s), 0); /* the sender is not held up */
    probe_got g = probe_at(&sched, 0);
    ck_assert_uint_eq(g.type, XD_MSG_GONE);
    ck_assert_mem_eq(g.body.data, "stuck", 5);
    ck_assert_int_eq(probe_text(&gw, "sched", PING, "alive"), 0);
    ck_assert_uint_eq(probe_at(&sched, 1).type, PING);
    probe_hold_end(&held);
    stop_broker();
    ck_assert_uint_eq(stats.overflows, 1);
    ck_assert_uint_gt(stats.queued, 0);
    ck_assert_uint_le(stats.queued, 80);
    ck_assert_uint_gt(stats.unroutable, 2000);
    probe_stop(&p, a);
}
END_TEST

/* A reader of frames that cannot follow slows the agents down, by the acknowledgements they wait for. */
START_TEST(a_reader_that_lags_holds_acknowledgements_back)
{
    probe_hold held;
    probe_hold_begin(&held, &sched);
    record_frames(&gw, "sched", 1, 1500);
    ck_assert(wait_acked(&gw, 1500, 5000)); /* these find room in its inbox */
    record_frames(&gw, "sched", 1501, 700);
    usleep(200000);
    ck_assert_uint_lt(acked(&gw), 2200);
    ck_assert_uint_eq(records_in_journal(), 2200);
    probe_hold_end(&held);
    ck_assert(wait_acked(&gw, 2200, 10000));
    ck_assert(probe_wait(&sched, 2200, 10000));
    stop_broker();
    ck_assert_uint_eq(stats.overflows, 0);
}
END_TEST

START_TEST(what_waits_in_a_queue_arrives_in_order)
{
    xd_actor_spec large = probe_spec;
    probe         p;
    probe_hold    held;
    large.window = 65536;
    xd_actor *a = probe_start(&p, bus, "later", &large);
    probe_hold_begin(&held, &p);
    probe_send s = { .to = "later", .type = PING, .count = 6000 };
    ck_assert_int_eq(probe_do(&gw, probe_do_send, &s), 0);
    ck_assert_int_eq(probe_text(&gw, "sched", PING, "behind them"), 0);
    probe_at(&sched, 0); /* the broker has taken them all */
    probe_hold_end(&held);
    ck_assert(probe_wait(&p, 6000, 20000));
    for (uint32_t i = 0; i < 6000; i++)
        ck_assert_mem_eq(p.got[i].body.data, &i, sizeof(i));
    stop_broker();
    ck_assert_uint_gt(stats.queued, 1000);
    ck_assert_uint_eq(stats.overflows, 0);
    probe_stop(&p, a);
}
END_TEST

START_TEST(without_a_journal_messages_are_only_routed)
{
    xd_bus    *bus2 = NULL;
    xd_broker *broker2 = NULL;
    probe      a;
    probe_broker(&broker2, &bus2, RUN_ID, NULL);
    xd_actor *aa = probe_start(&a, bus2, "sched", NULL);
    record_frames(&a, "sched", 1, 2);
    ck_assert(wait_acked(&a, 2, 5000));
    ck_assert_uint_ge(probe_count(&a), 3);
    probe_stop(&a, aa);
    xd_broker_stop(broker2);
    xd_bus_free(bus2);
    ck_assert_uint_eq(records_in_journal(), 0);
}
END_TEST

START_TEST(many_actors_at_once)
{
    enum { MANY = 60 };
    probe    *p = calloc(MANY, sizeof(*p));
    xd_actor *a[MANY];
    char      address[XD_ADDRESS_LEN];
    for (int i = 0; i < MANY; i++) {
        snprintf(address, sizeof(address), "many.%d", i);
        a[i] = probe_start(&p[i], bus, address, NULL);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(address, sizeof(address), "many.%d", (i + 1) % MANY);
        probe_send s = { .to = address, .type = PING, .count = 100, .again = true };
        ck_assert_int_eq(probe_do(&p[i], probe_do_send, &s), 0);
    }
    for (int i = 0; i < MANY; i++)
        ck_assert(probe_wait(&p[i], 100, 10000));
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(probe_stop(&p[i], a[i]), 0);
    free(p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("broker");
    TCase *t = tcase_create("broker");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nobody_there_is_counted);
    tcase_add_test(t, an_unknown_address_is_told_to_the_sender);
    tcase_add_test(t, a_scheduler_that_does_not_read_breaks_the_broker);
    tcase_add_test(t, the_inbox_is_emptied_before_it_stops);
    tcase_add_test(t, frames_are_recorded_then_passed_on_then_acknowledged);
    tcase_add_test(t, a_repeated_frame_is_acknowledged_again_and_dropped);
    tcase_add_test(t, a_duplicate_of_what_is_not_durable_is_not_acknowledged);
    tcase_add_test(t, what_is_no_frame_is_dropped);
    tcase_add_test(t, a_steady_stream_is_acknowledged_while_it_flows);
    tcase_add_test(t, after_a_fault_messages_flow_and_nothing_is_acknowledged);
    tcase_add_test(t, a_slow_reader_lags_and_blocks_nobody);
    tcase_add_test(t, the_queue_of_a_peer_is_bounded);
    tcase_add_test(t, a_reader_that_lags_holds_acknowledgements_back);
    tcase_add_test(t, what_waits_in_a_queue_arrives_in_order);
    tcase_add_test(t, without_a_journal_messages_are_only_routed);
    tcase_add_test(t, many_actors_at_once);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
