/* needs: engine actors */
/* The live reporters with the real broker, journal and actor runtime: what they write while a run goes on is
 * what a replay writes. */
#include <check.h>
#include <stdio.h>

#include "actors/report_actor.h"
#include "actors/report_render.h"
#include "actors/scheduler.h"
#include "actors/supervisor.h"
#include "engine/base/clock.h"
#include "engine/broker.h"
#include "tests/conformance/reporter_fixture.c"

#define RUN_ID "00112233445566778899aabbccddeeff"

static char dir[64], journal[96], term[96], jsonl[96], xml[96];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/xd-actor-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    setenv("XDG_CACHE_HOME", dir, 1);
    snprintf(journal, sizeof journal, "%s/journal", dir);
    snprintf(term, sizeof term, "%s/term", dir);
    snprintf(jsonl, sizeof jsonl, "%s/run.jsonl", dir);
    snprintf(xml, sizeof xml, "%s/out/run.xml", dir);
}

static void teardown(void)
{
    (void)xd_path_remove_tree(dir);
}

typedef struct feeder {
    xd_fixture f;
    xd_actor  *actor;
    size_t     at, stop_at;
    uint64_t   frames; /* sent */
} feeder;

/* Sends one frame per tick into the journal, as the gateways do. */
static int feeder_init(void *state, xd_actor *actor, const void *args)
{
    *(feeder **)state = *(feeder *const *)args;
    (*(feeder **)state)->actor = actor;
    return xd_actor_set_tick(actor, 1);
}

static int feeder_tick(void *state)
{
    feeder  *s = *(feeder **)state;
    xd_frame frame;
    if (s->at >= s->stop_at)
        return XD_ACTOR_STOP;
    XD_TRY(xd_wire_header(s->f.frames.data + s->at, &frame));
    size_t len = XD_FRAME_HEADER + frame.len;
    xd_auto(xd_msg) *m = NULL;
    xd_autobuf copy = XD_BUF_INIT;
    XD_TRY(xd_buf_add(&copy, s->f.frames.data + s->at, len));
    memset(copy.data + 8, 0, 8); /* no session here: sequence 0 */
    XD_TRY(xd_msg_new(&m, frame.type, copy.data, len));
    m->flags = XD_FLAG_JOURNAL;
    m->gateway = frame.flags;
    int r = xd_actor_send(s->actor, "", &m);
    if (r == 0) {
        s->at += len;
        s->frames++;
    }
    return r == -EAGAIN ? 0 : r;
}

static void feeder_fini(void *state)
{
    (void)state;
}

static const xd_actor_spec feeder_spec = { .name = "feeder",
                                           .size = sizeof(feeder *),
                                           .window = 64,
                                           .init = feeder_init,
                                           .tick = feeder_tick,
                                           .fini = feeder_fini,
                                           .handlers = (const xd_handler[]){ { 0 } } };

static void render(const char *name, xd_buf *out)
{
    char             path[128];
    xd_report_choice choice;
    xd_error         err = { 0 };
    int              code = -1;
    snprintf(path, sizeof path, "%s/again", dir);
    int            fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    xd_report_want want = xd_fixture_want(&choice, name, fd, NULL);
    ck_assert_msg(xd_report_render(journal, want, &code, &err) == 0, "%s", err.text);
    close(fd);
    ck_assert_int_eq(xd_path_read_file(path, 1 << 24, out, &err), 0);
}

static void same(const char *path, const char *name)
{
    xd_autobuf live = XD_BUF_INIT, again = XD_BUF_INIT;
    xd_error   err = { 0 };
    ck_assert_msg(xd_path_read_file(path, 1 << 24, &live, &err) == 0, "%s", err.text);
    render(name, &again);
    ck_assert_uint_gt(live.len, 100);
    ck_assert_uint_eq(live.len, again.len);
    ck_assert_mem_eq(live.data, again.data, live.len);
}

static void run(bool whole)
{
    feeder                    s = { 0 }, *sp = &s;
    xd_log                    log = { 0 };
    xd_error                  err = { 0 };
    xd_bus                   *bus = NULL;
    xd_broker                *broker = NULL;
    xd_journal               *j = NULL;
    xd_actor                 *feed = NULL, *report = NULL;
    int                       reason = -1, fd = open(term, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    xd_report_term_options    t = XD_REPORT_TERM_OPTIONS_INIT;
    xd_report_junit_options   x = XD_REPORT_JUNIT_OPTIONS_INIT;
    xd_report_jsonl_options   l = XD_REPORT_JSONL_OPTIONS_INIT;
    xd_report_history_options h = XD_REPORT_HISTORY_OPTIONS_INIT;
    xd_fixture_everything(&s.f, NULL);
    s.stop_at = whole ? s.f.frames.len : s.f.frames.len * 2 / 3;
    t.fd = fd;
    t.color = t.tty = 0;
    t.width = 80;
    x.path = xml;
    l.path = jsonl;
    const xd_report_want wants[] = { { &xd_report_term_ops, &t },
                                     { &xd_report_junit_ops, &x },
                                     { &xd_report_jsonl_ops, &l },
                                     { &xd_report_history_ops, &h } };
    xd_report_actor_args args = { .journal_path = journal, .wants = wants, .count = 4, .err = &err };
    ck_assert_int_eq(xd_journal_open(&j, journal, RUN_ID, false, &err), 0);
    ck_assert_int_eq(xd_broker_start(&broker, NULL, &err), 0);
    xd_broker_run_args run = { .id = RUN_ID, .owner = XD_SCHEDULER_ADDRESS, .journal = &j, .log = &log };
    ck_assert_int_eq(xd_broker_open(broker, &run, &bus, &err), 0);
    ck_assert_msg(xd_actor_start(&report, bus, &xd_report_actor_spec, XD_REPORT_ADDRESS, &args, &err) == 0,
                  "%s", err.text);
    ck_assert_int_eq(xd_actor_start(&feed, bus, &feeder_spec, "feeder", &sp, &err), 0);
    uint64_t deadline = xd_clock_ns() + 20 * XD_S_NS;
    ck_assert_int_eq(xd_actor_join(feed, deadline, &reason), 0);
    ck_assert_int_eq(reason, 0);
    if (!whole) { /* no RUN_END comes: it has to be told, once all is in the journal */
        xd_journal_check check = { 0 };
        while (check.records < s.frames && xd_clock_ns() < deadline) {
            usleep(2000);
            ck_assert_int_eq(xd_journal_verify(journal, false, &check, &err), 0);
        }
        xd_actor_ask_stop(report);
    }
    ck_assert_int_eq(xd_actor_join(report, deadline, &reason), 0);
    ck_assert_int_eq(reason, 0);
    xd_actor_free(feed);
    xd_actor_free(report);
    xd_broker_stop(broker);
    xd_bus_free(bus);
    close(fd);
    xd_fixture_release(&s.f);
    same(jsonl, "jsonl");
    same(xml, "junit");
    same(term, "terminal");
}

static int restarts;

static void on_end(void *arg, const char *address, int reason, bool restarted)
{
    (void)arg;
    (void)address;
    restarts += reason == -EPROTO && restarted;
}

/* A reporter that ends with a fault in the middle is started anew and goes on where it was: nothing twice,
 * nothing missing. */
START_TEST(a_restarted_reporter_goes_on)
{
    feeder                  s = { 0 }, *sp = &s;
    xd_error                err = { 0 };
    xd_bus                 *bus = NULL;
    xd_broker              *broker = NULL;
    xd_journal             *j = NULL;
    xd_actor               *feed = NULL;
    xd_supervisor          *super = NULL;
    uint64_t                shown = 0;
    int                     reason = -1, fd = open(term, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    xd_report_term_options  t = XD_REPORT_TERM_OPTIONS_INIT;
    xd_report_jsonl_options l = XD_REPORT_JSONL_OPTIONS_INIT;
    xd_fixture_everything(&s.f, NULL);
    t.fd = fd;
    t.color = t.tty = 0;
    t.width = 80;
    t.shown = &shown;
    l.path = jsonl;
    const xd_report_want wants[] = { { &xd_report_term_ops, &t }, { &xd_report_jsonl_ops, &l } };
    xd_report_actor_args args = { .journal_path = journal, .wants = wants, .count = 2 };
    xd_child             child = { .spec = &xd_report_actor_spec,
                                   .address = "report",
                                   .args = &args,
                                   .restarts = 3,
                                   .within_ns = 60 * XD_S_NS };
    ck_assert_int_eq(xd_journal_open(&j, journal, RUN_ID, false, &err), 0);
    ck_assert_int_eq(xd_broker_start(&broker, NULL, &err), 0);
    xd_broker_run_args run = { .id = RUN_ID, .owner = XD_SCHEDULER_ADDRESS, .journal = &j, .log = NULL };
    ck_assert_int_eq(xd_broker_open(broker, &run, &bus, &err), 0);
    ck_assert_int_eq(xd_supervisor_new(&super, bus, on_end, NULL), 0);
    ck_assert_msg(xd_supervisor_start(super, &child, &err) == 0, "%s", err.text);
    for (size_t part = 1; part <= 4; part++) {
        s.stop_at = s.f.frames.len * part / 4;
        ck_assert_int_eq(xd_actor_start(&feed, bus, &feeder_spec, "feeder", &sp, &err), 0);
        ck_assert_int_eq(xd_actor_join(feed, xd_clock_ns() + 20 * XD_S_NS, &reason), 0);
        xd_actor_free(feed);
        if (part < 4)
            ck_assert_int_eq(xd_bus_post(bus, "", "report", XD_MSG_TAIL, "?", 1), 0); /* no TAIL: a fault */
        while (restarts < (int)XD_MIN(part, (size_t)3))
            ck_assert_int_eq(xd_supervisor_wait(super, "report", -1, xd_clock_ns() + 10 * XD_MS_NS, &reason),
                             -ETIMEDOUT);
    }
    ck_assert_int_eq(xd_supervisor_wait(super, "report", -1, xd_clock_ns() + 20 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    ck_assert_int_eq(restarts, 3);
    ck_assert_uint_eq(xd_supervisor_stop(super, XD_S_NS, NULL, NULL), 0);
    xd_broker_stop(broker);
    xd_bus_free(bus);
    close(fd);
    xd_fixture_release(&s.f);
    same(jsonl, "jsonl");
    same(term, "terminal");
}
END_TEST

START_TEST(live_is_replay)
{
    run(true);
}
END_TEST

START_TEST(told_to_stop)
{
    run(false);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("report_actor");
    TCase *c = tcase_create("live");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, live_is_replay);
    tcase_add_test(c, a_restarted_reporter_goes_on);
    tcase_add_test(c, told_to_stop);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
