/* needs: engine gateways actors */
/* The scheduler's actor without processes: probes play the agents, the journal and the result tell what came of it. */
#include <stdio.h>
#include <sys/stat.h>

#include "actors/collector.h"
#include "actors/report_actor.h"
#include "actors/scheduler.h"
#include "engine/base/path.h"
#include "engine/broker.h"
#include "engine/config.h"
#include "gateways/gateway.h"
#include "tests/unit/probe.h"

#define RUN_ID "0123456789abcdef0123456789abcdef"
#define GATEWAYS 3u
#define DIGEST 77u

typedef struct agent { /* as the gateway actor stands for it */
    probe     probe;
    xd_actor *actor;
    char      address[XD_ADDRESS_LEN];
    size_t    next; /* message to be looked at */
} agent;

static char        folder[] = "/tmp/xd-scheduler-XXXXXX", path[64];
static xd_bus     *bus;
static xd_broker  *broker;
static xd_config  *cfg;
static xd_plan     plan;
static xd_result   result;
static agent       agents[GATEWAYS];
static size_t      n_agents;
static probe       report;
static xd_actor   *report_actor, *sched, *collector;
static const char *specs[GATEWAYS];
static probe       held; /* stands for the collector, and keeps what it gets, if a test wants it so */
static bool        holds;
static xd_actor   *driver_actor;
static probe       driver;
static const char *id_format;

/* XD_EVENT_TEST as an embedder gets it, on the scheduler's thread: the last one. Read when the run is over. */
static struct {
    unsigned count, of[GATEWAYS]; /* of each collection */
    xd_event ev;
    char     message[64], text[64];
} told;

static void on_event(void *arg, const xd_event *ev)
{
    (void)arg;
    if (ev->type != XD_EVENT_TEST)
        return;
    told.count++;
    ck_assert_uint_lt(ev->collection, XD_ARRAY_LEN(told.of));
    told.of[ev->collection]++;
    told.ev = *ev;
    snprintf(told.message, sizeof(told.message), "%s", ev->message ? ev->message : "");
    snprintf(told.text, sizeof(told.text), "%s", ev->text);
}

static const char *where; /* what the specs lead to */
static int least; /* --min-workers; 2: the first environment is enough, as its agents come up one by one */

static void setup(void)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/journal", folder);
    setenv("XDG_CACHE_HOME", folder, 1);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    cfg->no_history = true;
    plan = XD_PLAN_INIT;
    memset(&result, 0, sizeof(result));
    memset(&told, 0, sizeof(told));
    id_format = "test_it.py::test_%u";
    holds = false;
    least = 2;
    where = "popen";
}

/* The run stands, with this many environments of two workers each; nothing is said yet. */
static void begin(size_t count)
{
    xd_error    err = { 0 };
    xd_journal *j = NULL;
    char        text[XD_TEXT];
    n_agents = count;
    cfg->min_workers = least;
    for (size_t i = 0; i < count; i++) {
        char spec[64];
        snprintf(spec, sizeof(spec), "2*%s//env:WHERE=%zu", where, i);
        ck_assert_int_eq(xd_config_set(cfg, "tx", spec, text), 0);
    }
    ck_assert_msg(xd_plan_make(&plan, cfg, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(plan.count, count);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    probe_broker(&broker, &bus, RUN_ID, &j);
    report_actor = probe_start(&report, bus, XD_REPORT_ADDRESS, NULL);
    driver_actor = probe_start(&driver, bus, "driver", NULL);
    for (size_t i = 0; i < count; i++) {
        xd_gateway_address((uint16_t)i, agents[i].address, sizeof(agents[i].address));
        agents[i].actor = probe_start(&agents[i].probe, bus, agents[i].address, NULL);
        agents[i].next = 0;
    }
    xd_scheduler_args args = { .config = cfg,
                               .plan = &plan,
                               .run_id = RUN_ID,
                               .run_dir = folder,
                               .result = &result,
                               .event = on_event,
                               .want_tests = true };
    ck_assert_int_eq(xd_actor_start(&sched, bus, &xd_scheduler_spec, "sched", &args, &err), 0);
    for (size_t i = 0; i < count; i++)
        specs[i] = plan.gateways[i].spec.text;
    if (holds) {
        collector = probe_start(&held, bus, XD_COLLECTOR_ADDRESS, NULL);
        return;
    }
    xd_collector_args all = { .guests = UINT16_MAX,
                              .specs = specs,
                              .count = (uint16_t)count,
                              .each = xd_config_each(cfg) != XD_EACH_RUN,
                              .ahead = xd_plan_asks_ahead(&plan) };
    ck_assert_int_eq(xd_actor_start(&collector, bus, &xd_collector_spec, XD_COLLECTOR_ADDRESS, &all, &err),
                     0);
}

static void end_collector(void)
{
    int reason = 1;
    if (!collector)
        return;
    xd_actor_ask_stop(collector);
    ck_assert_int_eq(xd_actor_join(collector, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    collector = xd_actor_free(collector);
    if (holds)
        probe_release(&held);
}

/* The scheduler has ended by itself; its exit code. */
static int over(void)
{
    int reason = 1;
    ck_assert_msg(xd_actor_join(sched, xd_clock_ns() + 10 * XD_S_NS, &reason) == 0, "the run does not end");
    ck_assert_int_eq(reason, 0);
    sched = xd_actor_free(sched);
    end_collector();
    broker = xd_broker_stop(broker);
    return result.exit_code;
}

static void teardown(void)
{
    if (sched) {
        int reason;
        xd_actor_ask_stop(sched);
        ck_assert_int_eq(xd_actor_join(sched, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
        sched = xd_actor_free(sched);
    }
    end_collector();
    broker = xd_broker_stop(broker);
    for (size_t i = 0; i < n_agents; i++)
        probe_stop(&agents[i].probe, agents[i].actor);
    probe_stop(&report, report_actor);
    probe_stop(&driver, driver_actor);
    bus = xd_bus_free(bus);
    xd_plan_release(&plan);
    xd_config_free(cfg);
    (void)!xd_path_remove_tree(folder);
}

/* ---- both ways --------------------------------------------------------------------------------------- */

static void say(size_t g, uint16_t type, xd_buf *frame)
{
    const bool of_collection = type == XD_MSG_COLLECTED || type == XD_MSG_COLLECT_IDS; /* as a gateway */
    probe_send s = { .to = of_collection ? XD_COLLECTOR_ADDRESS : "sched",
                     .type = type,
                     .flags = type == XD_MSG_PROGRESS ? 0 : XD_FLAG_JOURNAL,
                     .gateway = (uint16_t)g,
                     .body = frame->data,
                     .len = frame->len };
    ck_assert_int_eq(probe_do(&agents[g].probe, probe_do_send, &s), 0);
    xd_buf_release(frame);
}
#define SAY(g, NAME, ...)                                                 \
    do {                                                                  \
        xd_buf         frame_ = XD_BUF_INIT;                              \
        xd_wire_##NAME in_ = { __VA_ARGS__ };                             \
        ck_assert_int_eq(xd_wire_##NAME##_frame(&frame_, 0, 0, &in_), 0); \
        say(g, XD_MSG_##NAME, &frame_);                                   \
    } while (0)

/* The next message to this agent is of this type. */
static xd_frame hear(size_t g, uint16_t type)
{
    probe_got got = probe_at(&agents[g].probe, agents[g].next++);
    xd_frame  f;
    ck_assert_msg(got.type == type, "agent %zu was told %s, not %s", g, xd_msg_name(got.type),
                  xd_msg_name(type));
    ck_assert_int_eq(xd_wire_header(got.body.data, &f), 0);
    return f;
}
#define HEAR(g, NAME, var)                                                   \
    xd_wire_##NAME var;                                                      \
    do {                                                                     \
        xd_frame f_ = hear(g, XD_MSG_##NAME);                                \
        ck_assert_int_eq(xd_wire_##NAME##_decode(f_.body, f_.len, &var), 0); \
    } while (0)

/* All that was said before has been taken: nothing comes to this agent without it. */
static void quiet(size_t g)
{
    xd_buf         frame = XD_BUF_INIT;
    xd_wire_OUTPUT out = { 0 }; /* nothing follows from it, but it passes the same way ... */
    ck_assert_int_eq(xd_wire_OUTPUT_frame(&frame, 0, 0, &out), 0);
    say(g, XD_MSG_OUTPUT, &frame);
    xd_buf           list = XD_BUF_INIT;
    size_t           before = probe_count(&report);
    xd_wire_PROGRESS p = { 0 }; /* ... and this one comes out at the other end */
    xd_buf           progress = XD_BUF_INIT;
    (void)list;
    ck_assert_int_eq(xd_wire_PROGRESS_frame(&progress, 0, 0, &p), 0);
    say(g, XD_MSG_PROGRESS, &progress);
    probe_at(&report, before);
    ck_assert_msg(probe_count(&agents[g].probe) == agents[g].next, "agent %zu was told %s", g,
                  xd_msg_name(probe_at(&agents[g].probe, agents[g].next).type));
}

static void results(size_t g, uint16_t worker, xd_wire_RESULT one)
{
    xd_autobuf list = XD_BUF_INIT;
    one.attempt = one.attempt ? one.attempt : 1;
    ck_assert_int_eq(xd_wire_RESULT_append(&list, &one), 0);
    SAY(g, RESULTS, .worker = worker, .results = { .count = 1, .ptr = list.data, .len = list.len });
}
#define RESULTS(g, worker, ...) results(g, worker, (xd_wire_RESULT){ __VA_ARGS__ })

static void running(size_t g, uint16_t worker, uint32_t item)
{
    xd_autobuf      list = XD_BUF_INIT;
    xd_wire_RUNNING one = { .worker = worker, .item = item, .age_ms = 5 };
    ck_assert_int_eq(xd_wire_RUNNING_append(&list, &one), 0);
    SAY(g, PROGRESS, .running = { .count = 1, .ptr = list.data, .len = list.len }, .last = 1);
}

static void config(size_t g, const char *name, const char *value)
{
    xd_autobuf   list = XD_BUF_INIT;
    xd_wire_PAIR p = { .name = xd_bytes_str(name), .value = xd_bytes_str(value) };
    ck_assert_int_eq(xd_wire_PAIR_append(&list, &p), 0);
    SAY(g, CONFIG, .rootdir = XD_BYTES_LIT("/nowhere"),
        .options = { .count = 1, .ptr = list.data, .len = list.len });
}

static void add_id(xd_buf *ids, uint32_t i)
{
    char text[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof(text), id_format, i);
#pragma GCC diagnostic pop
    xd_wire_NODEID id = { .id = xd_bytes_str(text) };
    ck_assert_int_eq(xd_wire_NODEID_append(ids, &id), 0);
}

static void send_ids(size_t g, uint32_t count)
{
    xd_autobuf ids = XD_BUF_INIT;
    for (uint32_t i = 0; i < count; i++)
        add_id(&ids, i);
    SAY(g, COLLECT_IDS, .ids = { .count = count, .ptr = ids.data, .len = ids.len });
}

/* The list of send_ids, the last one first. */
static void send_backwards(size_t g, uint32_t count)
{
    xd_autobuf ids = XD_BUF_INIT;
    for (uint32_t i = count; i-- > 0;)
        add_id(&ids, i);
    SAY(g, COLLECT_IDS, .ids = { .count = count, .ptr = ids.data, .len = ids.len });
}

static void collected(size_t g, uint32_t count, uint64_t digest)
{
    SAY(g, COLLECTED, .count = count, .digest_lo = digest, .exit_status = -1, .way = XD_WAY_COLLECTED);
}

/* It is there, and pytest has read its configuration. */
static void comes_up(size_t g, const char *option, const char *value)
{
    SAY(g, GATEWAY_UP, .gateway = (uint16_t)g, .cpus = 2);
    hear(g, XD_MSG_ENV_START);
    config(g, option, value);
}

/* Up to the moment at which tests run.  option: of pytest's configuration, NULL = none. */
static void run_up_to_tests(uint32_t count, const char *option, const char *value)
{
    for (size_t g = 0; g < n_agents; g++) {
        comes_up(g, option ? option : "verbose", value ? value : "0");
        collected(g, count, DIGEST);
        if (g == 0) {
            hear(g, XD_MSG_SEND_LIST);
            send_ids(g, count);
        }
        HEAR(g, WORKERS_START, start);
        ck_assert_uint_eq(start.count, 2);
        ck_assert_uint_eq(start.first, 2 * g);
        ck_assert_uint_eq(start.total, 2 * n_agents);
    }
}

/* Items of the next LEASE to this agent, in order; count. */
static size_t leased(size_t g, xd_wire_RANGE *to, size_t most)
{
    size_t n = 0;
    HEAR(g, LEASE, lease);
    xd_wire_RANGE r;
    while (xd_wire_RANGE_next(&lease.ranges, &r) == 1)
        for (uint32_t i = 0; i < r.count; i++) {
            ck_assert_uint_lt(n, most);
            to[n++] = (xd_wire_RANGE){ .first = r.first + i, .attempt = r.attempt };
        }
    return n;
}

/* Passes over all earlier messages to this agent. */
static void skip_to(size_t g, uint16_t type)
{
    while (probe_at(&agents[g].probe, agents[g].next).type != type)
        agents[g].next++;
}

/* RETURNED of so many items, because of CANCEL. */
static void gives_back(size_t g, uint32_t first, uint32_t count)
{
    xd_autobuf    list = XD_BUF_INIT;
    xd_wire_RANGE all = { .first = first, .count = count, .attempt = 1 };
    ck_assert_int_eq(xd_wire_RANGE_append(&list, &all), 0);
    SAY(g, RETURNED, .ranges = { .count = 1, .ptr = list.data, .len = list.len });
}

static void done(size_t g)
{
    SAY(g, ENV_DONE, .exit_status = 0);
    SAY(g, GATEWAY_DOWN, .gateway = (uint16_t)g, .expected = 1);
}

/* Its first worker is ready. */
static void works(size_t g)
{
    SAY(g, WORKER_UP, .worker = (uint16_t)(2 * g), .pid = 1, .way = XD_WAY_COLLECTED);
}

static void lose(size_t g)
{
    SAY(g, GATEWAY_DOWN, .gateway = (uint16_t)g, .reason = XD_BYTES_LIT("its pipe was closed"));
}

/* Lines for the user in the journal that have this text; *ret_level of the last. */
static int notes(const char *part, uint8_t *ret_level)
{
    xd_auto(xd_journal_reader) *r = NULL;
    xd_error err;
    xd_frame f;
    int      n = 0;
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), 0);
    while (xd_journal_reader_next(r, &f, NULL) == 1) {
        xd_wire_NOTE note;
        if (f.type != XD_MSG_NOTE)
            continue;
        ck_assert_int_eq(xd_wire_NOTE_decode(f.body, f.len, &note), 0);
        if (memmem(note.text.ptr, note.text.len, part, strlen(part))) {
            n++;
            if (ret_level)
                *ret_level = note.level;
        }
    }
    return n;
}

/* Errors of the collection in the journal whose text has this. */
static int collect_errors(const char *part)
{
    xd_auto(xd_journal_reader) *r = NULL;
    xd_error err;
    xd_frame f;
    int      n = 0;
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), 0);
    while (xd_journal_reader_next(r, &f, NULL) == 1) {
        xd_wire_REPORT one;
        if (f.type != XD_MSG_REPORT)
            continue;
        ck_assert_int_eq(xd_wire_REPORT_decode(f.body, f.len, &one), 0);
        n += one.item == UINT32_MAX && xd_bytes_eq_str(one.category, "error") &&
             memmem(one.text.ptr, one.text.len, part, strlen(part));
    }
    return n;
}

/* ---- a run ---------------------------------------------------------------------------------------------- */

START_TEST(from_the_first_word_to_the_last)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(3, NULL, NULL);
    ck_assert_uint_eq(leased(0, items, 8), 3);
    HEAR(0, NO_MORE, none);
    ck_assert_uint_eq(none.final, 1); /* nobody else has anything */
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    RESULTS(0, 1, .item = 1, .outcome = XD_OUT_SKIPPED);
    quiet(0);
    RESULTS(0, 0, .item = 1, .outcome = XD_OUT_FAILED); /* again: the first one stands */
    RESULTS(0, 0, .item = 2, .outcome = XD_OUT_PASSED);
    HEAR(0, FINISH, fin);
    ck_assert_uint_eq(fin.failed.count + fin.not_run.count, 0);
    ck_assert_int_eq(fin.exit_status, 0);
    done(0);
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(result.passed, 2);
    ck_assert_uint_eq(result.skipped, 1);
    ck_assert_uint_eq(result.recorded, 3);
}
END_TEST

/* A host that may be far away: no round trip between its digest and its list. */
START_TEST(one_environment_on_another_host_is_asked_for_its_list_ahead)
{
    where = "ssh=far";
    begin(1);
    SAY(0, GATEWAY_UP, .gateway = 0, .cpus = 2);
    hear(0, XD_MSG_ENV_START);
    hear(0, XD_MSG_SEND_LIST);
    config(0, "verbose", "0");
    collected(0, 1, DIGEST);
    quiet(0); /* it is not asked again */
    send_ids(0, 1);
    hear(0, XD_MSG_WORKERS_START);
    hear(0, XD_MSG_LEASE);
    hear(0, XD_MSG_NO_MORE);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 0);
}
END_TEST

/* Which of several has a list that nobody else has is not known before. */
START_TEST(two_environments_on_other_hosts_are_not_asked_ahead)
{
    where = "ssh=far";
    begin(2);
    comes_up(0, "verbose", "0");
    comes_up(1, "verbose", "0");
    quiet(0);
    collected(1, 1, DIGEST);
    hear(1, XD_MSG_SEND_LIST);
    quiet(0);
}
END_TEST

/* What a worker's last teardown comes to is waited for, and counts. */
START_TEST(an_open_item_holds_the_end_back)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED, .flags = XD_RES_OPEN);
    RESULTS(0, 1, .item = 1, .outcome = XD_OUT_PASSED, .flags = XD_RES_OPEN);
    quiet(0);
    RESULTS(0, 1, .item = 1, .outcome = XD_OUT_PASSED, .flags = XD_RES_CLOSES);
    RESULTS(0, 1, .item = 1, .outcome = XD_OUT_ERROR, .flags = XD_RES_CLOSES); /* it is closed: not heard */
    quiet(0);
    SAY(0, REPORT, .item = 0, .attempt = 1, .when = XD_BYTES_LIT("teardown"),
        .category = XD_BYTES_LIT("error"), .outcome = XD_BYTES_LIT("failed"), .flags = XD_REP_CLOSES);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_ERROR, .flags = XD_RES_CLOSES);
    HEAR(0, FINISH, fin);
    xd_wire_INDEX failed;
    ck_assert_uint_eq(fin.failed.count, 1);
    ck_assert_int_eq(xd_wire_INDEX_next(&fin.failed, &failed), 1);
    ck_assert_uint_eq(failed.item, 0);
    ck_assert_int_eq(fin.exit_status, 1);
    done(0);
    ck_assert_int_eq(over(), 1);
    ck_assert_uint_eq(result.passed, 1);
    ck_assert_uint_eq(result.errors, 1);
}
END_TEST

/* Takes what has come: leases are counted, nothing is given back. 1: NO_MORE with `final` came, 2: FINISH. */
static int take_all(size_t g, size_t *items)
{
    int said = 0;
    while (probe_count(&agents[g].probe) > agents[g].next) {
        xd_wire_RANGE to[16];
        uint16_t      type = probe_at(&agents[g].probe, agents[g].next).type;
        if (type == XD_MSG_LEASE) {
            *items += leased(g, to, 16);
        } else if (type == XD_MSG_TAKE_BACK) {
            HEAR(g, TAKE_BACK, take);
            SAY(g, RETURNED, .request = take.request);
        } else if (type == XD_MSG_NO_MORE) {
            HEAR(g, NO_MORE, none);
            said |= none.final;
        } else {
            hear(g, XD_MSG_FINISH);
            said |= 2;
        }
    }
    return said;
}

START_TEST(none_will_come_only_when_no_agent_has_any_to_spare)
{
    size_t items = 0;
    int    said[2] = { 0 };
    begin(2);
    run_up_to_tests(6, NULL, NULL);
    for (int turn = 0; items < 6; turn++) {
        ck_assert_int_lt(turn, 1000);
        for (size_t g = 0; g < 2; g++)
            ck_assert_int_eq(take_all(g, &items), 0);
        usleep(10000);
    }
    for (uint32_t i = 0; i < 6; i++) /* whoever has it */
        for (size_t g = 0; g < 2; g++)
            RESULTS(g, (uint16_t)(2 * g), .item = i, .outcome = XD_OUT_PASSED);
    for (int turn = 0; said[0] != 3 || said[1] != 3; turn++) {
        ck_assert_int_lt(turn, 1000);
        for (size_t g = 0; g < 2; g++)
            said[g] |= take_all(g, &items);
        usleep(10000);
    }
    done(0);
    done(1);
    ck_assert_int_eq(over(), 0);
}
END_TEST

/* ---- a lost agent --------------------------------------------------------------------------------------- */

/* The agent that gets an item now, and under which attempt. */
static size_t holder(uint32_t item, uint16_t *attempt)
{
    for (int turn = 0; turn < 1000; turn++) {
        for (size_t g = 0; g < n_agents; g++) {
            while (probe_count(&agents[g].probe) > agents[g].next) {
                probe_got     got = probe_at(&agents[g].probe, agents[g].next++);
                xd_frame      f;
                xd_wire_LEASE lease;
                xd_wire_RANGE r;
                ck_assert_int_eq(xd_wire_header(got.body.data, &f), 0);
                if (got.type != XD_MSG_LEASE)
                    continue;
                ck_assert_int_eq(xd_wire_LEASE_decode(f.body, f.len, &lease), 0);
                while (xd_wire_RANGE_next(&lease.ranges, &r) == 1)
                    if (item - r.first < r.count) {
                        *attempt = r.attempt;
                        return g;
                    }
            }
        }
        usleep(10000);
    }
    ck_abort_msg("item %u is leased to nobody", item);
    return 0;
}

START_TEST(what_ran_on_a_lost_agent_runs_once_more_and_no_more)
{
    uint16_t attempt = 0;
    uint8_t  level = 0;
    begin(3);
    run_up_to_tests(1, NULL, NULL);
    size_t a = holder(0, &attempt);
    ck_assert_uint_eq(attempt, 1);
    running(a, (uint16_t)(2 * a), 0);
    lose(a);
    size_t b = holder(0, &attempt);
    ck_assert_uint_eq(attempt, 2);
    ck_assert(a != b);
    running(b, (uint16_t)(2 * b), 0);
    lose(b);
    size_t c = 3 - a - b;
    skip_to(c, XD_MSG_FINISH);
    HEAR(c, FINISH, fin);
    ck_assert_uint_eq(fin.failed.count, 1);
    done(c);
    ck_assert_int_eq(over(), 1);
    ck_assert_uint_eq(result.failed, 1);
    ck_assert_int_eq(notes("test_it.py::test_0 was running there (gw", NULL), 2);
    ck_assert_int_eq(notes("it runs again (attempt 2 of 2)", &level), 1);
    ck_assert_uint_eq(level, 3);
    ck_assert_int_eq(notes("for the second time: it does not run again", &level), 1);
    ck_assert_uint_eq(level, 4);
    ck_assert_int_eq(notes("lost popen//env:WHERE=", NULL), 2);
    ck_assert_uint_eq(told.count, 1);
    ck_assert_int_eq(told.ev.value, XD_OUT_LOST);
    ck_assert_uint_eq(told.ev.worker, 2 * b);
    ck_assert_uint_eq(told.ev.attempt, 2);
    ck_assert_str_eq(told.message, "its agent was lost");
}
END_TEST

/* Failures that the first attempt had reported say nothing of the second. */
START_TEST(reports_of_a_lost_attempt_do_not_count)
{
    uint16_t attempt = 0;
    begin(2);
    run_up_to_tests(1, "maxfail", "1");
    size_t a = holder(0, &attempt), b = 1 - a;
    works(a);
    SAY(a, REPORT, .item = 0, .attempt = 1, .when = XD_BYTES_LIT("call"), .category = XD_BYTES_LIT("failed"),
        .outcome = XD_BYTES_LIT("failed"));
    running(a, 0, 0);
    lose(a);
    ck_assert_uint_eq(holder(0, &attempt), b);
    SAY(b, REPORT, .item = 0, .attempt = 2, .when = XD_BYTES_LIT("call"), .category = XD_BYTES_LIT("passed"),
        .outcome = XD_BYTES_LIT("passed"));
    RESULTS(b, 2, .item = 0, .attempt = 2, .outcome = XD_OUT_PASSED, .flags = XD_RES_REPORTS);
    while (probe_at(&agents[b].probe, agents[b].next).type != XD_MSG_FINISH)
        ck_assert_int_ne(probe_at(&agents[b].probe, agents[b].next++).type, XD_MSG_CANCEL);
    HEAR(b, FINISH, fin);
    ck_assert_uint_eq(fin.failed.count, 0);
    done(b);
    ck_assert_int_eq(over(), 0);
}
END_TEST

/* Nor does its message: the second attempt passes, and reports nothing. */
START_TEST(a_message_of_a_lost_attempt_is_not_told)
{
    uint16_t attempt = 0;
    begin(2);
    run_up_to_tests(1, NULL, NULL);
    size_t a = holder(0, &attempt), b = 1 - a;
    works(a);
    SAY(a, REPORT, .item = 0, .attempt = 1, .when = XD_BYTES_LIT("call"), .category = XD_BYTES_LIT("failed"),
        .outcome = XD_BYTES_LIT("failed"), .message = XD_BYTES_LIT("of the first attempt"));
    running(a, 0, 0);
    lose(a);
    ck_assert_uint_eq(holder(0, &attempt), b);
    RESULTS(b, 2, .item = 0, .attempt = 2, .outcome = XD_OUT_PASSED, .setup_us = 1, .call_us = 20,
            .teardown_us = 300);
    skip_to(b, XD_MSG_FINISH);
    done(b);
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(told.count, 1);
    ck_assert_int_eq(told.ev.value, XD_OUT_PASSED);
    ck_assert_uint_eq(told.ev.duration_us, 321);
    ck_assert_uint_eq(told.ev.worker, 2);
    ck_assert_uint_eq(told.ev.attempt, 2);
    ck_assert_ptr_null(told.ev.message);
}
END_TEST

START_TEST(the_last_agent_is_lost)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    running(0, 1, 1);
    lose(0);
    ck_assert_int_eq(over(), 6);
    ck_assert_uint_eq(result.recorded, 1);
    ck_assert_uint_eq(result.not_run, 1);
    ck_assert_int_eq(notes("test_it.py::test_1 was running there (gw1)", NULL), 1);
    ck_assert_int_eq(notes("it runs again", NULL), 0);
}
END_TEST

START_TEST(an_open_item_of_a_lost_agent_is_not_waited_for)
{
    uint16_t attempt = 0;
    begin(2);
    run_up_to_tests(1, NULL, NULL);
    size_t a = holder(0, &attempt), b = 1 - a;
    works(a);
    RESULTS(a, 0, .item = 0, .outcome = XD_OUT_PASSED, .flags = XD_RES_OPEN);
    lose(a);
    skip_to(b, XD_MSG_FINISH);
    done(b);
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(result.passed, 1);
}
END_TEST

START_TEST(an_item_given_after_the_last_teardown_is_told)
{
    xd_wire_RANGE items[8];
    uint8_t       level = 0;
    begin(1);
    run_up_to_tests(1, NULL, NULL);
    leased(0, items, 8);
    RESULTS(0, 1, .item = 0, .outcome = XD_OUT_PASSED, .flags = XD_RES_AGAIN);
    hear(0, XD_MSG_NO_MORE);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 0);
    ck_assert_int_eq(notes("gw1 sets its fixtures up again: it was given test_it.py::test_0", &level), 1);
    ck_assert_uint_eq(level, 1);
}
END_TEST

/* ---- ends before the end --------------------------------------------------------------------------------- */

START_TEST(enough_failures_cancel)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(4, "maxfail", "2");
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_FAILED);
    quiet(0);
    RESULTS(0, 0, .item = 1, .outcome = XD_OUT_PASSED, .flags = XD_RES_OPEN);
    quiet(0);
    SAY(0, REPORT, .item = 1, .attempt = 1, .when = XD_BYTES_LIT("teardown"),
        .category = XD_BYTES_LIT("error"), .outcome = XD_BYTES_LIT("failed"), .flags = XD_REP_CLOSES);
    RESULTS(0, 0, .item = 1, .outcome = XD_OUT_ERROR, .flags = XD_RES_CLOSES); /* the second */
    HEAR(0, CANCEL, cancel);
    ck_assert_uint_eq(cancel.how, 1);
    gives_back(0, 2, 2);
    HEAR(0, FINISH, fin);
    ck_assert_uint_eq(fin.failed.count, 2);
    ck_assert_uint_eq(fin.not_run.count, 2);
    done(0);
    ck_assert_int_eq(over(), 1);
    ck_assert_uint_eq(result.not_run, 2);
}
END_TEST

static void stop(uint32_t how)
{
    probe_send s = { .to = "sched", .type = XD_MSG_STOP, .body = &how, .len = sizeof(how) };
    ck_assert_int_eq(probe_do(&driver, probe_do_send, &s), 0);
}

START_TEST(a_stop_from_outside)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    stop(XD_STOP_DRAIN);
    HEAR(0, CANCEL, drain);
    ck_assert_uint_eq(drain.how, 2);
    ck_assert_uint_eq(drain.leaving, 1);
    stop(XD_STOP_NOW);
    HEAR(0, CANCEL, now);
    ck_assert_uint_eq(now.how, 3);
    gives_back(0, 0, 2);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 2);
}
END_TEST

/* An environment that comes up while running tests have their grace time is given nothing, and cuts that time not short. */
START_TEST(an_environment_comes_up_in_a_run_that_stops)
{
    xd_wire_RANGE items[8];
    begin(2);
    comes_up(0, "verbose", "0");
    collected(0, 1, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 1);
    hear(0, XD_MSG_WORKERS_START);
    ck_assert_uint_eq(leased(0, items, 8), 1);
    hear(0, XD_MSG_NO_MORE);
    quiet(0);
    stop(XD_STOP_DRAIN);
    hear(0, XD_MSG_CANCEL);
    SAY(1, GATEWAY_UP, .gateway = 1, .cpus = 2);
    quiet(1);
    quiet(0); /* it goes on */
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 2);
    ck_assert_uint_eq(result.passed, 1);
}
END_TEST

/* RUN_END does not wait for an agent that does not answer a user who wants to leave. */
START_TEST(an_agent_that_does_not_answer_is_left)
{
    xd_wire_RANGE items[8];
    begin(1);
    cfg->grace_ns = 0;
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    stop(XD_STOP_DRAIN);
    hear(0, XD_MSG_CANCEL);
    ck_assert_int_eq(over(), 2);
    ck_assert_uint_eq(result.not_run, 2);
}
END_TEST

/* What is told of an agent may make the exit code 1. */
START_TEST(a_note_of_an_agent)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    SAY(0, AGENT_NOTE, .level = 2, .text = XD_BYTES_LIT("waiting"));
    SAY(0, AGENT_NOTE, .level = 3, .failed = 1, .text = XD_BYTES_LIT("it was cut"));
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    RESULTS(0, 0, .item = 1, .outcome = XD_OUT_PASSED);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 1);
}
END_TEST

START_TEST(a_session_that_ends_by_itself_ends_the_run)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    SAY(0, WORKER_UP, .worker = 0, .pid = 1, .way = XD_WAY_COLLECTED, .replaces = 0xffff);
    SAY(0, WORKER_DOWN, .worker = 0, .expected = 1, .item = UINT32_MAX, .session_status = 42, .stopped = 1,
        .reason = XD_BYTES_LIT("enough"));
    HEAR(0, CANCEL, cancel);
    ck_assert_uint_eq(cancel.how, 2);
    gives_back(0, 0, 2);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 42);
}
END_TEST

/* A worker that crashes outside of any test makes the run fail, also when all tests passed. */
START_TEST(a_crash_outside_of_tests)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(1, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    SAY(0, WORKER_UP, .worker = 1, .pid = 1, .way = XD_WAY_COLLECTED, .replaces = 0xffff);
    SAY(0, WORKER_DOWN, .worker = 1, .signal = 9, .item = UINT32_MAX, .session_status = -1);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 1);
}
END_TEST

START_TEST(no_worker_is_left)
{
    xd_wire_RANGE items[8];
    begin(1);
    run_up_to_tests(2, NULL, NULL);
    leased(0, items, 8);
    hear(0, XD_MSG_NO_MORE);
    gives_back(0, 0, 2);
    hear(0, XD_MSG_CANCEL);
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 6);
    ck_assert_int_eq(notes("no worker is left to run the remaining tests", NULL), 1);
}
END_TEST

START_TEST(other_tests_were_collected)
{
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "verbose", "0");
    collected(0, 2, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    collected(1, 2, DIGEST + 1);
    hear(1, XD_MSG_SEND_LIST);
    send_ids(0, 2);
    quiet(0); /* nothing runs before it is known whether it is the same */
    id_format = "test_it.py::test_other_%u";
    send_ids(1, 2);
    HEAR(1, REORDER, order);
    ck_assert_uint_eq(order.places.count, 4);
    static const uint32_t places[] = { XD_NO_INDEX, XD_NO_INDEX, 0, 1 };
    xd_wire_INDEX         place;
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(xd_wire_INDEX_next(&order.places, &place), 1);
        ck_assert_uint_eq(place.item, places[i]);
    }
    for (size_t g = 0; g < 2; g++) { /* each has its own, and nothing is taken back for the other */
        hear(g, XD_MSG_WORKERS_START);
        xd_wire_RANGE items[4];
        ck_assert_uint_eq(leased(g, items, 4), 2);
        ck_assert_uint_eq(items[0].first, 2 * g);
        for (uint32_t i = 0; i < 2; i++)
            RESULTS(g, (uint16_t)(2 * g), .item = items[i].first, .outcome = XD_OUT_PASSED);
    }
    for (size_t g = 0; g < 2; g++) {
        skip_to(g, XD_MSG_FINISH);
        HEAR(g, FINISH, fin);
        ck_assert_uint_eq(fin.digest_lo, g ? 0 : DIGEST); /* numbers of REORDER are those of no digest */
        done(g);
    }
    ck_assert_int_eq(over(), 1);
    ck_assert_uint_eq(result.passed, 4);
    ck_assert_int_eq(notes("Different tests were collected", NULL), 1);
    ck_assert_int_eq(notes("likely cause", NULL), 1);
    ck_assert_int_eq(collect_errors("test_it.py::test_other_0"), 1);
}
END_TEST

/* Before the run began, and while it goes. */
START_TEST(the_same_tests_in_another_order)
{
    begin(3);
    for (size_t g = 0; g < 3; g++)
        comes_up(g, "verbose", "0");
    collected(0, 2, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    collected(1, 2, DIGEST + 1);
    hear(1, XD_MSG_SEND_LIST);
    send_backwards(1, 2);
    send_ids(0, 2);
    for (size_t g = 1; g < 3; g++) {
        if (g == 2) {
            collected(2, 2, DIGEST + 2);
            hear(2, XD_MSG_SEND_LIST);
            send_backwards(2, 2);
        }
        HEAR(g, REORDER, order);
        xd_wire_INDEX place;
        ck_assert_uint_eq(order.places.count, 2);
        for (uint32_t i = 2; i-- > 0;) {
            ck_assert_int_eq(xd_wire_INDEX_next(&order.places, &place), 1);
            ck_assert_uint_eq(place.item, i);
        }
        HEAR(g, WORKERS_START, start);
        ck_assert_uint_eq(start.count, 2);
    }
    hear(0, XD_MSG_WORKERS_START);
    xd_wire_RANGE items[4];
    ck_assert_uint_eq(leased(0, items, 4), 2);
    for (uint32_t i = 0; i < 2; i++)
        RESULTS(0, (uint16_t)i, .item = items[i].first, .outcome = XD_OUT_PASSED);
    for (size_t g = 0; g < 3; g++) {
        skip_to(g, XD_MSG_FINISH);
        HEAR(g, FINISH, fin);
        ck_assert_uint_eq(fin.digest_lo, DIGEST);
        done(g);
    }
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(result.passed, 2);
}
END_TEST

START_TEST(an_environment_that_cannot_run)
{
    begin(1);
    SAY(0, GATEWAY_UP, .gateway = 0, .cpus = 2);
    hear(0, XD_MSG_ENV_START);
    SAY(0, ENV_FAILED, .exit_status = 4, .text = XD_BYTES_LIT("no such option"));
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 4);
}
END_TEST

/* All that were asked for are wanted: nothing begins before, and each that fails is named. */
START_TEST(an_environment_is_missing)
{
    least = 0;
    begin(3);
    comes_up(0, "verbose", "0");
    collected(0, 1, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 1);
    SAY(1, GATEWAY_UP, .gateway = 1, .cpus = 2);
    hear(1, XD_MSG_ENV_START);
    quiet(0);
    SAY(1, ENV_FAILED, .exit_status = 6, .text = XD_BYTES_LIT("no pytest"));
    ck_assert_int_eq(probe_at(&agents[1].probe, agents[1].next++).type, XD_MSG_DROP);
    quiet(0); /* the third one may have failed, too */
    lose(2);
    HEAR(0, FINISH, fin);
    ck_assert_int_eq(fin.exit_status, 6);
    done(0);
    ck_assert_int_eq(over(), 6);
    ck_assert_uint_eq(result.recorded, 0);
    ck_assert_int_eq(notes("lost ", NULL), 1); /* of the other the reporters show what it said */
    ck_assert_int_eq(notes("lost popen//env:WHERE=2: its pipe was closed", NULL), 1);
    ck_assert_int_eq(notes("no test was run: 2 of 3 environments cannot start; --min-workers N", NULL), 1);
}
END_TEST

START_TEST(all_environments_that_were_asked_for)
{
    least = 0;
    begin(2);
    comes_up(0, "verbose", "0");
    collected(0, 1, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 1);
    quiet(0);
    comes_up(1, "verbose", "0"); /* it may collect for as long as it wants */
    hear(0, XD_MSG_WORKERS_START);
    HEAR(0, LEASE, lease);
    ck_assert_uint_eq(lease.ranges.count, 1);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    quiet(1); /* it may have tests that the other has not */
    collected(1, 1, DIGEST);
    skip_to(0, XD_MSG_FINISH);
    hear(1, XD_MSG_FINISH);
    done(0);
    done(1);
    ck_assert_int_eq(over(), 0);
}
END_TEST

START_TEST(a_run_goes_on_without_an_environment)
{
    xd_wire_RANGE items[8];
    begin(2);
    SAY(1, GATEWAY_UP, .gateway = 1, .cpus = 2);
    hear(1, XD_MSG_ENV_START);
    SAY(1, ENV_FAILED, .exit_status = 6, .text = XD_BYTES_LIT("no pytest"));
    ck_assert_int_eq(probe_at(&agents[1].probe, agents[1].next++).type, XD_MSG_DROP);
    lose(1);
    comes_up(0, "verbose", "0");
    collected(0, 1, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 1);
    HEAR(0, WORKERS_START, start);
    ck_assert_uint_eq(start.total, 2);
    ck_assert_uint_eq(leased(0, items, 8), 1);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    while (probe_at(&agents[0].probe, agents[0].next).type != XD_MSG_FINISH)
        agents[0].next++;
    done(0);
    ck_assert_int_eq(over(), 0);
    ck_assert_int_eq(notes("no test was run", NULL), 0);
}
END_TEST

/* A late one that cannot run: the tests go on, and nothing of it is waited for. */
START_TEST(an_environment_fails_while_others_run)
{
    xd_wire_RANGE items[8];
    begin(2);
    comes_up(0, "verbose", "0");
    collected(0, 1, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 1);
    hear(0, XD_MSG_WORKERS_START);
    ck_assert_uint_eq(leased(0, items, 8), 1);
    SAY(1, GATEWAY_UP, .gateway = 1, .cpus = 2);
    hear(1, XD_MSG_ENV_START);
    SAY(1, ENV_FAILED, .exit_status = 6, .text = XD_BYTES_LIT("no pytest"));
    ck_assert_int_eq(probe_at(&agents[1].probe, agents[1].next++).type, XD_MSG_DROP);
    lose(1);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED);
    while (probe_at(&agents[0].probe, agents[0].next).type != XD_MSG_FINISH)
        agents[0].next++;
    done(0);
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(result.passed, 1);
}
END_TEST

START_TEST(too_few_workers)
{
    least = 3;
    begin(2);
    lose(1);
    comes_up(0, "verbose", "0");
    hear(0, XD_MSG_FINISH);
    done(0);
    ck_assert_int_eq(over(), 6);
    ck_assert_int_eq(notes("no test was run: 2 workers can start, --min-workers wants 3", NULL), 1);
}
END_TEST

START_TEST(what_does_not_fit_ends_the_agent)
{
    begin(1);
    SAY(0, GATEWAY_UP, .gateway = 0, .cpus = 2);
    hear(0, XD_MSG_ENV_START);
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_PASSED); /* nothing runs */
    ck_assert_int_eq(probe_at(&agents[0].probe, agents[0].next++).type, XD_MSG_DROP);
    SAY(0, ENV_FAILED, .exit_status = 4); /* nobody listens to it any more */
    lose(0);
    ck_assert_int_eq(over(), 6);
}
END_TEST

/* Lists and digests contradict each other: what comes of that agent is not believed, and the others go on. */
START_TEST(an_agent_that_collects_twice_is_dropped)
{
    xd_wire_RANGE items[8];
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "verbose", "0");
    collected(0, 2, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    collected(0, 2, DIGEST + 1);
    ck_assert_int_eq(probe_at(&agents[0].probe, agents[0].next++).type, XD_MSG_DROP);
    collected(1, 2, DIGEST);
    lose(0);
    hear(1, XD_MSG_SEND_LIST);
    send_ids(1, 2);
    hear(1, XD_MSG_WORKERS_START);
    ck_assert_uint_eq(leased(1, items, 8), 2);
    for (uint32_t i = 0; i < 2; i++)
        RESULTS(1, (uint16_t)i, .item = i, .outcome = XD_OUT_PASSED);
    skip_to(1, XD_MSG_FINISH);
    done(1);
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(result.passed, 2);
}
END_TEST

/* The engine says it when the collector has ended with a fault. */
START_TEST(nothing_begins_without_the_collector)
{
    begin(1);
    comes_up(0, "verbose", "0");
    ck_assert_int_eq(xd_bus_post(bus, XD_COLLECTOR_ADDRESS, "sched", XD_MSG_GONE, "", 0), 0);
    HEAR(0, FINISH, fin);
    ck_assert_int_eq(fin.exit_status, 3);
    done(0);
    ck_assert_int_eq(over(), 3);
    ck_assert_int_eq(notes("the part of the engine that compares collections has ended", NULL), 1);
}
END_TEST

/* GATEWAY_DOWN is on its way through the collector when the run ends for another reason. */
START_TEST(an_agent_that_is_gone_is_not_asked_to_finish)
{
    holds = true;
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "verbose", "0");
    lose(0);
    probe_got down = probe_at(&held, 0);
    ck_assert_uint_eq(down.type, XD_MSG_GATEWAY_DOWN);
    SAY(1, ENV_FAILED, .exit_status = 4, .text = XD_BYTES_LIT("no such option"));
    hear(1, XD_MSG_FINISH);
    probe_send s = { .to = "sched",
                     .type = down.type,
                     .gateway = down.gateway,
                     .body = down.body.data,
                     .len = down.body.len };
    if (_i == 0) { /* else the run is over before it comes out */
        ck_assert_int_eq(probe_do(&held, probe_do_send, &s), 0);
        quiet(0);
    }
    done(1);
    ck_assert_int_eq(over(), 4);
    ck_assert_int_eq(notes("while its sessions ended", NULL), 0);
    ck_assert_int_eq(notes("lost popen//env:WHERE=0: its pipe was closed", NULL), 1);
}
END_TEST

/* What the loss of the second environment means must not depend on how far the first one is. */
enum { BEFORE_TESTS, WHILE_TESTS_RUN, ALL_DONE, MOMENTS };

static void runs_it(size_t g)
{
    xd_wire_RANGE items[8];
    skip_to(g, XD_MSG_LEASE);
    ck_assert_uint_eq(leased(g, items, 8), 1);
    RESULTS(g, 0, .item = 0, .outcome = XD_OUT_PASSED);
}

static void ends_at_last(size_t g)
{
    skip_to(g, XD_MSG_FINISH);
    done(g);
}

START_TEST(an_environment_that_never_ran_is_missing_whenever_it_is_lost)
{
    const bool all_wanted = _i != BEFORE_TESTS; /* else no test would run, another test shows that */
    if (all_wanted)
        least = 0;
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "verbose", "0");
    if (_i == BEFORE_TESTS)
        lose(1);
    collected(0, 1, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 1);
    if (_i == WHILE_TESTS_RUN) {
        hear(0, XD_MSG_WORKERS_START);
        lose(1);
    }
    runs_it(0);
    if (_i == ALL_DONE)
        lose(1);
    ends_at_last(0);
    ck_assert_int_eq(over(), all_wanted ? 6 : 0); /* --min-workers can do without it */
    ck_assert_uint_eq(result.passed, 1);
    ck_assert_int_eq(notes("lost popen//env:WHERE=1: its pipe was closed", NULL), 1);
    ck_assert_int_eq(notes("while its sessions ended", NULL), 0);
}
END_TEST

/* One that has run is no loss to the exit code if the others run what it had; unless it said what it must not. */
START_TEST(an_environment_that_ran_is_lost)
{
    const bool broke = _i % 2, at_its_end = _i / 2;
    uint16_t   attempt = 0;
    begin(2);
    run_up_to_tests(1, NULL, NULL);
    size_t a = holder(0, &attempt), b = 1 - a;
    works(b);
    if (!at_its_end) {
        SAY(b, GATEWAY_DOWN, .gateway = (uint16_t)b, .reason = XD_BYTES_LIT("why"), .broke = broke);
        for (int i = 0; i < 1000 && !notes("lost popen//env:WHERE=", NULL); i++)
            usleep(10000); /* what another gateway says may be heard before it */
    }
    RESULTS(a, (uint16_t)(2 * a), .item = 0, .outcome = XD_OUT_PASSED);
    if (at_its_end) {
        skip_to(b, XD_MSG_FINISH);
        SAY(b, GATEWAY_DOWN, .gateway = (uint16_t)b, .reason = XD_BYTES_LIT("why"), .broke = broke);
    }
    ends_at_last(a);
    ck_assert_int_eq(over(), broke ? 6 : at_its_end ? 1 : 0);
    ck_assert_int_eq(notes("lost popen//env:WHERE=", NULL), 1);
    ck_assert_int_eq(notes("while its sessions ended", NULL), at_its_end);
}
END_TEST

/* ---- every environment has a collection of its own ---------------------------------------------------- */

/* Two environments: two tests in the first, three in the second. */
static void begin_each(void)
{
    ck_assert_int_eq(xd_config_set(cfg, "dist", "each", NULL), 0);
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "maxfail", "2");
    collected(0, 2, DIGEST);
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 2);
    collected(1, 3, DIGEST + 1);
    hear(1, XD_MSG_SEND_LIST);
    id_format = "test_it.py::test_other_%u";
    send_ids(1, 3);
    for (size_t g = 0; g < 2; g++) {
        xd_wire_RANGE items[8];
        HEAR(g, WORKERS_START, start);
        ck_assert_uint_eq(start.first, 2 * g);
        ck_assert_uint_eq(start.total, 4);
        ck_assert_uint_eq(leased(g, items, 8), 2 + g);
        HEAR(g, NO_MORE, none);
        ck_assert_uint_eq(none.final, 1); /* nobody else has anything for it */
    }
}

START_TEST(each_environment_runs_its_own)
{
    begin_each();
    for (size_t g = 0; g < 2; g++)
        for (uint32_t i = 0; i < 2 + g; i++)
            RESULTS(g, (uint16_t)(2 * g), .item = i, .outcome = g && i == 2 ? XD_OUT_FAILED : XD_OUT_PASSED);
    for (size_t g = 0; g < 2; g++) {
        HEAR(g, FINISH, fin);
        ck_assert_uint_eq(fin.failed.count, g);
        ck_assert_uint_eq(fin.not_run.count, 0);
        ck_assert_uint_eq(fin.digest_lo, DIGEST + g);
        done(g);
    }
    ck_assert_int_eq(over(), 1);
    ck_assert_uint_eq(result.collected, 5);
    ck_assert_uint_eq(result.recorded, 5);
    ck_assert_uint_eq(result.passed, 4);
    ck_assert_str_eq(told.text, "test_it.py::test_other_2");
    ck_assert_uint_eq(told.ev.collection, 1);
    ck_assert_uint_eq(told.of[0], 2);
    ck_assert_uint_eq(told.of[1], 3);
}
END_TEST

START_TEST(each_environment_loses_its_own)
{
    begin_each();
    for (uint32_t i = 0; i < 2; i++)
        RESULTS(0, 0, .item = i, .outcome = XD_OUT_PASSED);
    RESULTS(1, 2, .item = 0, .outcome = XD_OUT_PASSED);
    running(1, 2, 1);
    lose(1);
    HEAR(0, FINISH, fin);
    ck_assert_uint_eq(fin.not_run.count, 0);
    done(0);
    ck_assert_int_eq(over(), 6);
    ck_assert_uint_eq(result.recorded, 3);
    ck_assert_uint_eq(result.not_run, 2);
    ck_assert_int_eq(notes("test_it.py::test_other_1 was running there (gw2)", NULL), 1);
    ck_assert_int_eq(notes("no worker is left to run the remaining tests of popen//env:WHERE=1", NULL), 1);
}
END_TEST

START_TEST(failures_of_all_environments_count)
{
    begin_each();
    RESULTS(0, 0, .item = 0, .outcome = XD_OUT_FAILED);
    RESULTS(1, 2, .item = 0, .outcome = XD_OUT_FAILED); /* the second of the run */
    for (size_t g = 0; g < 2; g++) {
        HEAR(g, CANCEL, cancel);
        ck_assert_uint_eq(cancel.how, XD_CANCEL_DRAIN);
        xd_autobuf    list = XD_BUF_INIT;
        xd_wire_RANGE rest = { .first = 1, .count = (uint32_t)(1 + g), .attempt = 1 };
        ck_assert_int_eq(xd_wire_RANGE_append(&list, &rest), 0);
        SAY(g, RETURNED, .ranges = { .count = 1, .ptr = list.data, .len = list.len });
    }
    for (size_t g = 0; g < 2; g++) {
        hear(g, XD_MSG_FINISH);
        done(g);
    }
    ck_assert_int_eq(over(), 1);
    ck_assert_uint_eq(result.not_run, 3);
}
END_TEST

/* Equal lists travel once, and are two collections all the same. */
START_TEST(each_environment_with_the_same_tests)
{
    xd_wire_RANGE items[8];
    ck_assert_int_eq(xd_config_set(cfg, "dist", "each", NULL), 0);
    begin(2);
    for (size_t g = 0; g < 2; g++) {
        comes_up(g, "verbose", "0");
        collected(g, 2, DIGEST);
    }
    hear(0, XD_MSG_SEND_LIST);
    send_ids(0, 2);
    for (size_t g = 0; g < 2; g++) {
        hear(g, XD_MSG_WORKERS_START);
        ck_assert_uint_eq(leased(g, items, 8), 2);
        hear(g, XD_MSG_NO_MORE);
        for (uint32_t i = 0; i < 2; i++)
            RESULTS(g, (uint16_t)(2 * g), .item = i, .outcome = XD_OUT_PASSED);
    }
    for (size_t g = 0; g < 2; g++) {
        hear(g, XD_MSG_FINISH);
        done(g);
    }
    ck_assert_int_eq(over(), 0);
    ck_assert_uint_eq(result.passed, 4);
}
END_TEST

/* Two environments of which the first could not collect, or has no tests: it ends alone, with its own exit code. */
START_TEST(each_environment_ends_by_itself)
{
    static const struct {
        int      status, code;
        uint32_t errors;
        uint8_t  outcome;
    } table[] = { { 2, 2, 1, XD_OUT_FAILED }, { 5, 0, 0, XD_OUT_PASSED }, { 5, 1, 0, XD_OUT_FAILED },
                  { 0, 1, 0, XD_OUT_FAILED }, { 4, 4, 0, XD_OUT_FAILED }, { 3, 3, 0, XD_OUT_PASSED } };
    ck_assert_int_eq(xd_config_set(cfg, "dist", "each", NULL), 0);
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "verbose", "0");
    SAY(0, COLLECTED, .errors = table[_i].errors, .exit_status = table[_i].status,
        .stop_reason = XD_BYTES_LIT("why"));
    HEAR(0, FINISH, own);
    ck_assert_int_eq(own.exit_status, table[_i].status);
    quiet(1);
    if (_i % 2) /* gone before the others begin, or while they run */
        done(0);
    collected(1, 1, DIGEST);
    hear(1, XD_MSG_SEND_LIST);
    send_ids(1, 1);
    HEAR(1, WORKERS_START, start);
    ck_assert_uint_eq(start.first, 0);
    ck_assert_uint_eq(start.total, 2);
    hear(1, XD_MSG_LEASE);
    hear(1, XD_MSG_NO_MORE);
    if (_i % 2 == 0)
        done(0);
    RESULTS(1, 0, .item = 0, .outcome = table[_i].outcome);
    HEAR(1, FINISH, other);
    ck_assert_int_eq(other.exit_status, table[_i].outcome == XD_OUT_FAILED);
    done(1);
    ck_assert_int_eq(over(), table[_i].code);
    ck_assert_uint_eq(result.collected, 1);
    ck_assert_uint_eq(result.recorded, 1);
}
END_TEST
#define OWN_ENDS 6

START_TEST(no_environment_has_tests)
{
    ck_assert_int_eq(xd_config_set(cfg, "dist", "each", NULL), 0);
    begin(2);
    for (size_t g = 0; g < 2; g++) {
        comes_up(g, "verbose", "0");
        SAY(g, COLLECTED, .exit_status = 5);
        hear(g, XD_MSG_FINISH);
    }
    for (size_t g = 0; g < 2; g++)
        done(g);
    ck_assert_int_eq(over(), 5);
}
END_TEST

/* pytest.exit() in a test ends its environment; the other one runs on. */
START_TEST(each_environment_is_left_alone)
{
    begin_each();
    SAY(0, WORKER_UP, .worker = 0, .pid = 1, .way = XD_WAY_COLLECTED, .replaces = 0xffff);
    SAY(0, WORKER_DOWN, .worker = 0, .expected = 1, .item = UINT32_MAX, .session_status = 42, .stopped = 1,
        .reason = XD_BYTES_LIT("enough"));
    HEAR(0, CANCEL, cancel);
    ck_assert_uint_eq(cancel.how, XD_CANCEL_GRACE);
    gives_back(0, 0, 2);
    quiet(0);
    quiet(1);
    for (uint32_t i = 0; i < 3; i++)
        RESULTS(1, 2, .item = i, .outcome = i ? XD_OUT_PASSED : XD_OUT_FAILED);
    HEAR(0, FINISH, own);
    ck_assert_int_eq(own.exit_status, 42);
    HEAR(1, FINISH, other);
    ck_assert_int_eq(other.exit_status, 1);
    for (size_t g = 0; g < 2; g++)
        done(g);
    ck_assert_int_eq(over(), 42);
    ck_assert_uint_eq(result.recorded, 3);
    ck_assert_int_eq(notes("popen//env:WHERE=0 ends with exit code 42: enough", NULL), 1);
}
END_TEST

/* Errors of collections are failures, too: with -x they leave nothing to run. */
START_TEST(an_error_of_one_collection_is_enough)
{
    ck_assert_int_eq(xd_config_set(cfg, "dist", "each", NULL), 0);
    begin(2);
    for (size_t g = 0; g < 2; g++)
        comes_up(g, "maxfail", "1");
    SAY(0, COLLECTED, .errors = 1, .exit_status = 2);
    hear(0, XD_MSG_FINISH);
    collected(1, 1, DIGEST);
    hear(1, XD_MSG_SEND_LIST);
    send_ids(1, 1);
    HEAR(1, FINISH, fin);
    ck_assert_uint_eq(fin.not_run.count, 1);
    for (size_t g = 0; g < 2; g++)
        done(g);
    ck_assert_int_eq(over(), 2);
    ck_assert_uint_eq(result.not_run, 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("scheduler");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, from_the_first_word_to_the_last);
    tcase_add_test(t, one_environment_on_another_host_is_asked_for_its_list_ahead);
    tcase_add_test(t, two_environments_on_other_hosts_are_not_asked_ahead);
    tcase_add_test(t, an_open_item_holds_the_end_back);
    tcase_add_test(t, none_will_come_only_when_no_agent_has_any_to_spare);
    tcase_add_test(t, what_ran_on_a_lost_agent_runs_once_more_and_no_more);
    tcase_add_test(t, reports_of_a_lost_attempt_do_not_count);
    tcase_add_test(t, a_message_of_a_lost_attempt_is_not_told);
    tcase_add_test(t, the_last_agent_is_lost);
    tcase_add_test(t, an_open_item_of_a_lost_agent_is_not_waited_for);
    tcase_add_test(t, an_item_given_after_the_last_teardown_is_told);
    tcase_add_test(t, enough_failures_cancel);
    tcase_add_test(t, a_stop_from_outside);
    tcase_add_test(t, an_environment_comes_up_in_a_run_that_stops);
    tcase_add_test(t, an_agent_that_does_not_answer_is_left);
    tcase_add_test(t, a_note_of_an_agent);
    tcase_add_test(t, a_session_that_ends_by_itself_ends_the_run);
    tcase_add_test(t, a_crash_outside_of_tests);
    tcase_add_test(t, no_worker_is_left);
    tcase_add_test(t, other_tests_were_collected);
    tcase_add_test(t, the_same_tests_in_another_order);
    tcase_add_test(t, an_environment_that_cannot_run);
    tcase_add_test(t, an_environment_is_missing);
    tcase_add_test(t, all_environments_that_were_asked_for);
    tcase_add_test(t, a_run_goes_on_without_an_environment);
    tcase_add_test(t, an_environment_fails_while_others_run);
    tcase_add_test(t, too_few_workers);
    tcase_add_test(t, what_does_not_fit_ends_the_agent);
    tcase_add_test(t, an_agent_that_collects_twice_is_dropped);
    tcase_add_test(t, nothing_begins_without_the_collector);
    tcase_add_loop_test(t, an_agent_that_is_gone_is_not_asked_to_finish, 0, 2);
    tcase_add_loop_test(t, an_environment_that_never_ran_is_missing_whenever_it_is_lost, 0, MOMENTS);
    tcase_add_loop_test(t, an_environment_that_ran_is_lost, 0, 4);
    tcase_add_test(t, each_environment_runs_its_own);
    tcase_add_test(t, each_environment_loses_its_own);
    tcase_add_test(t, failures_of_all_environments_count);
    tcase_add_test(t, each_environment_with_the_same_tests);
    tcase_add_loop_test(t, each_environment_ends_by_itself, 0, OWN_ENDS);
    tcase_add_test(t, no_environment_has_tests);
    tcase_add_test(t, each_environment_is_left_alone);
    tcase_add_test(t, an_error_of_one_collection_is_enough);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
