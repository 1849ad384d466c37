/* needs: engine actors */
/* Restarts within a budget, ends that are final, the order of stopping. */
#include <stdarg.h>

#include "actors/supervisor.h"
#include "engine/broker.h"
#include "tests/unit/probe.h"

#define RUN_ID "0123456789abcdef0123456789abcdef"

/* Members are static: the teardown ends them, when the test function has returned. */
#define FAIL 0x5001 /* to a member: end with this fault (i32) */

static xd_bus        *bus;
static xd_broker     *broker;
static xd_supervisor *supervisor;

/* What happened, in order: "+name" started, "-name" ended; "name:reason:restarted" told. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char            events[4096], told[4096];

static void note(char *to, const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&lock);
    size_t at = strlen(to);
    va_start(ap, fmt);
    vsnprintf(to + at, 4096 - at, fmt, ap);
    va_end(ap);
    pthread_mutex_unlock(&lock);
}

typedef struct member {
    const char *name;
    int         starts, fail_from; /* init fails from this start on; 0 = never */
    bool        never_ends;
} member;

static int member_init(void *state, xd_actor *actor, const void *args)
{
    member *m = *(member **)state = (member *)(uintptr_t)args;
    (void)actor;
    if (m->fail_from && ++m->starts >= m->fail_from)
        return -EIO;
    note(events, "+%s ", m->name);
    return 0;
}

static void member_fini(void *state)
{
    note(events, "-%s ", (*(member **)state)->name);
}

static int on_fail(void *state, const xd_msg *in)
{
    int32_t reason;
    (void)state;
    memcpy(&reason, in->body.ptr, sizeof(reason));
    return reason;
}

static int member_stop(void *state)
{
    return (*(member **)state)->never_ends ? 0 : XD_ACTOR_STOP;
}

static const xd_actor_spec member_spec = {
    .name = "member",
    .size = sizeof(member *),
    .window = 64,
    .init = member_init,
    .stop = member_stop,
    .fini = member_fini,
    .handlers = (const xd_handler[]){ { FAIL, on_fail }, { 0 } },
};

static void on_end(void *arg, const char *address, int reason, bool restarted)
{
    (void)arg;
    note(told, "%s:%d:%d ", address, reason, restarted);
}

static void setup(void)
{
    events[0] = told[0] = 0;
    probe_broker(&broker, &bus, RUN_ID, NULL);
    ck_assert_int_eq(xd_supervisor_new(&supervisor, bus, on_end, NULL), 0);
}

static void teardown(void)
{
    ck_assert_uint_eq(xd_supervisor_stop(supervisor, 10 * XD_S_NS, NULL, NULL), 0);
    broker = xd_broker_stop(broker);
    bus = xd_bus_free(bus);
}

static void add(member *m, uint32_t restarts, uint64_t within_ns)
{
    xd_error err = { 0 };
    xd_child child = {
        .spec = &member_spec, .address = m->name, .args = m, .restarts = restarts, .within_ns = within_ns
    };
    ck_assert_msg(xd_supervisor_start(supervisor, &child, &err) == 0, "%s", err.text);
}

static void strike(const char *name, int32_t reason)
{
    ck_assert_int_eq(xd_bus_post(bus, "", name, FAIL, &reason, sizeof(reason)), 0);
}

/* Lets the supervisor work until `told` has `count` entries. */
static void until_told(const char *name, int count)
{
    uint64_t end = xd_clock_ns() + 10 * XD_S_NS;
    int      reason, have = 0;
    while (have < count && xd_clock_ns() < end) {
        (void)!xd_supervisor_wait(supervisor, name, -1, xd_clock_ns() + 5 * XD_MS_NS, &reason);
        have = 0;
        for (const char *p = told; (p = strchr(p, ' ')); p++)
            have++;
    }
    ck_assert_int_eq(have, count);
}

START_TEST(a_fault_within_the_budget_starts_it_anew)
{
    static member a = { .name = "a" }, b = { .name = "b" };
    add(&a, 2, 60 * XD_S_NS);
    add(&b, 2, 60 * XD_S_NS);
    strike("a", -EIO);
    until_told("a", 1);
    ck_assert_str_eq(told, "a:-5:1 ");
    ck_assert_str_eq(events, "+a +b -a +a ");
    strike("a", -ENOMEM); /* the new one has the address */
    until_told("a", 2);
    ck_assert_str_eq(told, "a:-5:1 a:-12:1 ");
}
END_TEST

START_TEST(the_budget_ends)
{
    static member a = { .name = "a" };
    int           reason = 0;
    add(&a, 2, 60 * XD_S_NS);
    for (int i = 1; i <= 3; i++) {
        strike("a", -i);
        until_told("a", i);
    }
    ck_assert_str_eq(told, "a:-1:1 a:-2:1 a:-3:0 ");
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", -1, UINT64_MAX, &reason), 0);
    ck_assert_int_eq(reason, -3);
}
END_TEST

START_TEST(old_faults_do_not_count)
{
    static member a = { .name = "a" };
    add(&a, 1, 20 * XD_MS_NS);
    for (int i = 1; i <= 4; i++) {
        strike("a", -EIO);
        until_told("a", i);
        usleep(30000);
    }
    ck_assert_str_eq(told, "a:-5:1 a:-5:1 a:-5:1 a:-5:1 ");
}
END_TEST

START_TEST(no_budget_and_a_normal_end_are_final)
{
    static member a = { .name = "a" }, b = { .name = "b" };
    int           reason = -1;
    add(&a, 0, 0);
    add(&b, 4, 60 * XD_S_NS);
    strike("a", -EPROTO);
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", -1, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, -EPROTO);
    strike("b", XD_ACTOR_STOP);
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "b", -1, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    ck_assert_str_eq(told, "a:-71:0 b:0:0 ");
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "nobody", -1, 0, &reason), -ENOENT);
}
END_TEST

START_TEST(one_that_does_not_start_again_is_given_up)
{
    static member a = { .name = "a", .fail_from = 2 };
    add(&a, 4, 60 * XD_S_NS);
    strike("a", -ENOMEM);
    until_told("a", 1);
    ck_assert_str_eq(told, "a:-12:0 ");
}
END_TEST

START_TEST(a_failed_first_start_leaves_nothing)
{
    static member a = { .name = "a", .fail_from = 1 };
    xd_error      err = { 0 };
    int           reason;
    xd_child      child = {
             .spec = &member_spec, .address = "a", .args = &a, .restarts = 4, .within_ns = XD_S_NS
    };
    ck_assert_int_eq(xd_supervisor_start(supervisor, &child, &err), -EIO);
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", -1, 0, &reason), -ENOENT);
}
END_TEST

START_TEST(what_is_asked_to_end_is_not_started_anew)
{
    static member a = { .name = "a" }, b = { .name = "b" };
    int           reason = -1;
    add(&a, 4, 60 * XD_S_NS);
    add(&b, 4, 60 * XD_S_NS);
    xd_supervisor_ask_stop(supervisor, "a");
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", -1, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
    ck_assert_int_eq(reason, 0);
    ck_assert_str_eq(told, "");
    ck_assert_str_eq(events, "+a +b -a ");
}
END_TEST

START_TEST(waiting_has_a_deadline_and_can_be_woken)
{
    static member a = { .name = "a" };
    int           reason, fds[2];
    add(&a, 0, 0);
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", fds[0], xd_clock_ns() + 10 * XD_MS_NS, &reason),
                     -ETIMEDOUT);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", fds[0], UINT64_MAX, &reason), 1);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(all_end_in_reverse_order)
{
    static member m[12];
    static char   names[12][16];
    char          wanted[256] = "";
    for (int i = 0; i < 12; i++) { /* more than the first table holds */
        snprintf(names[i], sizeof(names[i]), "m%d", i);
        m[i] = (member){ .name = names[i] };
        add(&m[i], 1, XD_S_NS);
    }
    events[0] = 0;
    ck_assert_uint_eq(xd_supervisor_stop(supervisor, 10 * XD_S_NS, NULL, NULL), 0);
    for (int i = 11; i >= 0; i--)
        snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "-m%d ", i);
    ck_assert_str_eq(events, wanted);
    ck_assert_int_eq(xd_supervisor_new(&supervisor, bus, on_end, NULL), 0); /* for the teardown */
}
END_TEST

static void on_stuck(void *arg, const char *address)
{
    (void)arg;
    note(told, "stuck %s", address);
}

START_TEST(one_that_does_not_end_is_told_and_left)
{
    static member a = { .name = "a", .never_ends = true }, b = { .name = "b" };
    int           reason;
    add(&a, 0, 0);
    add(&b, 0, 0);
    ck_assert_uint_eq(xd_supervisor_stop(supervisor, 50 * XD_MS_NS, on_stuck, NULL), 1);
    ck_assert_str_eq(told, "stuck a");
    strike("a", -EIO);
    ck_assert_int_eq(xd_supervisor_wait(supervisor, "a", -1, xd_clock_ns() + 10 * XD_S_NS, &reason), 0);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("supervisor");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_fault_within_the_budget_starts_it_anew);
    tcase_add_test(t, the_budget_ends);
    tcase_add_test(t, old_faults_do_not_count);
    tcase_add_test(t, no_budget_and_a_normal_end_are_final);
    tcase_add_test(t, one_that_does_not_start_again_is_given_up);
    tcase_add_test(t, a_failed_first_start_leaves_nothing);
    tcase_add_test(t, what_is_asked_to_end_is_not_started_anew);
    tcase_add_test(t, waiting_has_a_deadline_and_can_be_woken);
    tcase_add_test(t, all_end_in_reverse_order);
    tcase_add_test(t, one_that_does_not_end_is_told_and_left);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
