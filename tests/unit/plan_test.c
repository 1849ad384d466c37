/* needs: engine actors */
/* From options to gateways. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "actors/plan.h"

static xd_config *cfg;
static xd_plan    plan;
static xd_error   err;

static void setup(void)
{
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    plan = XD_PLAN_INIT;
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    xd_plan_release(&plan);
    xd_config_free(cfg);
}

static void set(const char *name, const char *value)
{
    char text[XD_TEXT];
    ck_assert_msg(xd_config_set(cfg, name, value, text) == 0, "%s", text);
}

static void made(void)
{
    xd_plan_release(&plan);
    ck_assert_msg(xd_plan_make(&plan, cfg, &err) == 0, "%s", err.text);
}

static void refused(const char *words)
{
    xd_plan_release(&plan);
    ck_assert_int_eq(xd_plan_make(&plan, cfg, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s", err.text);
}

START_TEST(nothing_said)
{
    made();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_uint_eq(plan.gateways[0].workers, 0); /* decided later */
    ck_assert_int_eq(plan.gateways[0].spec.kind, XD_SPEC_POPEN);
}
END_TEST

START_TEST(numbers)
{
    static const struct {
        const char *given;
        uint32_t    workers;
    } table[] = { { "4", 4 }, { "1", 1 }, { "0", 1 }, { "auto", 0 }, { "logical", 0 } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        set("numprocesses", table[i].given);
        made();
        ck_assert_uint_eq(plan.gateways[0].workers, table[i].workers);
        xd_plan_release(&plan);
        plan = XD_PLAN_INIT;
    }
}
END_TEST

START_TEST(the_upper_limit_binds_numbers_too)
{
    set("numprocesses", "8");
    set("maxprocesses", "3");
    made();
    ck_assert_uint_eq(plan.gateways[0].workers, 3);
}
END_TEST

START_TEST(specs_of_one_environment_share_a_gateway)
{
    set("tx", "2*popen");
    set("tx", "popen//env:A=b");
    set("tx", "popen");
    set("tx", "3*popen//env:A=b");
    set("tx", "popen//chdir=sub");
    set("tx", "popen//python=python3.9");
    made();
    ck_assert_uint_eq(plan.count, 4);
    ck_assert_uint_eq(plan.gateways[0].workers, 3);
    ck_assert_uint_eq(plan.gateways[1].workers, 4);
    ck_assert_uint_eq(plan.gateways[2].workers, 1);
    ck_assert_str_eq(plan.gateways[3].spec.python, "python3.9");
}
END_TEST

/* Each names the worker that its spec gives, whatever gateway has that. */
START_TEST(ids_go_with_their_workers)
{
    set("tx", "2*popen");
    set("tx", "popen//env:A=b//id=beta");
    set("tx", "popen//id=alpha");
    set("tx", "popen");
    made();
    ck_assert_uint_eq(plan.count, 2);
    ck_assert_uint_eq(plan.gateways[0].workers, 4);
    ck_assert_uint_eq(plan.gateways[0].n_ids, 3);
    ck_assert_ptr_null(plan.gateways[0].ids[0]);
    ck_assert_ptr_null(plan.gateways[0].ids[1]);
    ck_assert_str_eq(plan.gateways[0].ids[2], "alpha");
    ck_assert_str_eq(plan.gateways[0].spec.text, "popen");
    ck_assert_str_eq(plan.gateways[1].ids[0], "beta");
    ck_assert_str_eq(plan.gateways[1].spec.text, "popen//env:A=b//id=beta"); /* it has no other worker */
    set("tx", "popen//env:A=b//id=gamma");
    made();
    ck_assert_uint_eq(plan.gateways[1].n_ids, 2);
    ck_assert_str_eq(plan.gateways[1].ids[1], "gamma");
    ck_assert_str_eq(plan.gateways[1].spec.text, "popen//env:A=b");
    set("tx", "popen//env:B=c//id=alpha");
    refused("id=alpha is that of another spec");
}
END_TEST

/* A worker beside one of ssh=, on the host that it reaches. */
/* --dist each: an environment has its workers, whatever spec they come from; each-worker: all are alone, and told apart. */
START_TEST(each_environment_or_each_worker)
{
    set("dist", "each");
    set("tx", "3*popen//env:A=b");
    set("tx", "popen");
    set("tx", "popen//env:A=b");
    made();
    ck_assert_uint_eq(plan.count, 2);
    ck_assert_uint_eq(plan.gateways[0].workers, 4);
    ck_assert_str_eq(plan.gateways[0].spec.text, "popen//env:A=b");
    set("dist", "each-worker");
    set("tx", "popen//id=x");
    made();
    ck_assert_uint_eq(plan.count, 6);
    static const char *const texts[] = { "popen//env:A=b", "popen//env:A=b #2", "popen//env:A=b #3",
                                         "popen",          "popen//env:A=b #4", "popen//id=x" };
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert_uint_eq(plan.gateways[i].workers, 1);
        ck_assert_str_eq(plan.gateways[i].spec.text, texts[i]);
    }
    ck_assert_str_eq(plan.gateways[5].ids[0], "x");
    set("tx", "popen//cpus=auto");
    refused("each-worker must know how many workers there are");
    set("numprocesses", "3");
    made();
    ck_assert_uint_eq(plan.count, 3);
    ck_assert_str_eq(plan.gateways[2].spec.text, "popen #3");
    set("numprocesses", "auto");
    refused("each-worker must know how many workers there are");
}
END_TEST

START_TEST(a_popen_by_way_of_a_host_shares_its_gateway)
{
    set("tx", "ssh=h//id=j");
    set("tx", "2*popen//via=j");
    made();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_uint_eq(plan.gateways[0].workers, 3);
    ck_assert_str_eq(plan.gateways[0].ids[0], "j");
    ck_assert_uint_eq(plan.gateways[0].n_ids, 1);
}
END_TEST

START_TEST(no_worker_runs_on_the_way)
{
    set("px", "ssh=gate//id=g");
    set("px", "ssh=inner_gate//id=i//via=g");
    set("tx", "2*ssh=h//via=i");
    made();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_uint_eq(plan.gateways[0].workers, 2);
    ck_assert_str_eq(plan.gateways[0].spec.jump->target, "inner_gate");
    ck_assert_str_eq(plan.gateways[0].spec.jump->jump->target, "gate");
    set("tx", "ssh=k//id=g");
    refused("id=g is that of another spec");
}
END_TEST

START_TEST(a_way_has_an_id)
{
    set("px", "ssh=gate");
    set("tx", "popen");
    ck_assert_int_eq(xd_plan_make(&plan, cfg, &err), -EINVAL);
    ck_assert_str_eq(err.text,
                     "option --px: spec 'ssh=gate' has no id=, by which others could name it (via=)");
}
END_TEST

START_TEST(what_this_version_cannot)
{
    static const char *const table[] = {
        "ssh=a b", "socket=h:0", "socket=h:65536", "socket=[h]:1", "popen//id=gw1", "popen//colour=red", ""
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        xd_config_free(cfg);
        ck_assert_int_eq(xd_config_new(&cfg), 0);
        set("tx", table[i]);
        err = (xd_error){ 0 };
        ck_assert_int_eq(xd_plan_make(&plan, cfg, &err), -EINVAL);
        ck_assert_msg(err.text[0] && !strchr(err.text, '\n'), "%s", table[i]);
        ck_assert_msg(strstr(err.text, table[i]) != NULL, "%s: %s", table[i], err.text);
    }
}
END_TEST

START_TEST(servers)
{
    set("tx", "2*socket=h:1");
    set("tx", "socket=[::1]");
    made();
    ck_assert_uint_eq(plan.count, 2);
    ck_assert_uint_eq(plan.gateways[0].workers, 2);
}
END_TEST

START_TEST(specs_alone_say_how_many)
{
    set("maxprocesses", "1"); /* an upper limit of -n */
    set("tx", "3*popen");
    made();
    ck_assert_uint_eq(plan.gateways[0].workers, 3);
}
END_TEST

START_TEST(a_hosts_own_number)
{
    set("tx", "popen//cpus=auto");
    set("tx", "2*popen//env:A=b");
    made();
    ck_assert_uint_eq(plan.count, 2);
    ck_assert_uint_eq(plan.gateways[0].workers, 0); /* known when its agent has said how many it has */
    ck_assert_uint_eq(plan.gateways[1].workers, 2);
    set("tx", "popen");
    refused("'popen': another spec has the same environment");
}
END_TEST

START_TEST(more_workers_wanted_than_asked_for)
{
    set("tx", "2*popen");
    set("min-workers", "2");
    made();
    set("min-workers", "3");
    ck_assert_int_eq(xd_plan_make(&plan, cfg, &err), -EINVAL);
    ck_assert_str_eq(err.text, "option --min-workers: 3 are wanted, and 2 workers are asked for");
    set("tx", "popen//nice=1//cpus=auto"); /* how many it has is not known yet */
    made();
}
END_TEST

START_TEST(seats_for_hosts_that_join)
{
    set("listen", ":7400");
    set("min-workers", "5"); /* whoever comes counts */
    made();
    ck_assert_uint_eq(plan.named, 0);
    ck_assert_uint_eq(plan.count, XD_JOIN_SEATS);
    ck_assert(plan.gateways[0].joins && plan.gateways[0].spec.kind == XD_SPEC_JOIN);
    ck_assert(!xd_plan_asks_ahead(&plan));
    set("join-max", "2");
    set("tx", "3*popen");
    made();
    ck_assert_uint_eq(plan.named, 1);
    ck_assert_uint_eq(plan.count, 3);
    ck_assert(!plan.gateways[0].joins && plan.gateways[0].workers == 3 && plan.gateways[1].joins);
    set("numprocesses", "4");
    made();
    ck_assert_uint_eq(plan.named, 1);
    ck_assert_uint_eq(plan.gateways[0].workers, 4);
    set("numprocesses", "0");
    refused("hosts cannot join a run in one plain session");
    set("numprocesses", "1");
    set("join-max", "3001");
    refused("at most 3000 hosts can join");
}
END_TEST

START_TEST(options_of_joining_alone)
{
    set("require", "gpu=1");
    refused("option --require: it is of use with --listen alone");
}
END_TEST

START_TEST(a_number_wins_over_specs)
{
    set("numprocesses", "2");
    set("tx", "3*popen//env:A=b");
    made();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_uint_eq(plan.gateways[0].workers, 2);
    ck_assert_uint_eq(plan.gateways[0].spec.n_env, 0);
}
END_TEST

/* Specs of files stand in front of those of the command line, and an error says where. */
START_TEST(a_spec_of_a_file_is_named_with_its_place)
{
    static const struct {
        const char *file, *own, *px, *said;
    } table[] = {
        { "socket=h:0", "popen", NULL, "conftest.py:3: spec 'socket=h:0'" },
        { "popen//id=a", "popen//env:A=b//id=a", NULL,
          "id=a is that of another spec" }, /* the second one is to blame */
        { "ssh=h//via=x", "popen", NULL, "conftest.py:3: spec 'ssh=h//via=x': via=x" },
        { "command='a", "popen", NULL, "conftest.py:3: spec 'command='a': command=" },
        { "popen//cpus=auto", "popen", NULL, "spec 'popen': another spec has the same environment" },
        { "popen", "2*popen", "ssh=g", "tox.ini:2: option --px: spec 'ssh=g' has no id=" },
        { "popen", "2*popen", "ssh=g//id=b//via=b",
          "tox.ini:2: spec 'ssh=g//id=b//via=b': via=b leads in a circle" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_config_free(cfg);
        ck_assert_int_eq(xd_config_new(&cfg), 0);
        set("tx", table[i].file);
        set("tx", table[i].own);
        ck_assert_int_eq(xd_strings_add(&cfg->found.tx_from, "conftest.py:3"), 0);
        if (table[i].px) {
            set("px", table[i].px);
            ck_assert_int_eq(xd_strings_add(&cfg->found.px_from, "tox.ini:2"), 0);
        }
        err = (xd_error){ 0 };
        ck_assert_int_eq(xd_plan_make(&plan, cfg, &err), -EINVAL);
        ck_assert_msg(strncmp(err.text, table[i].said, strlen(table[i].said)) == 0 ||
                          (!strstr(table[i].said, ".py") && !strstr(table[i].said, ".ini") &&
                           strstr(err.text, table[i].said) && !strstr(err.text, "conftest.py")),
                      "%s: %s", table[i].file, err.text);
    }
    xd_config_free(cfg);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    set("tx", "popen//env:A=b//id=a");
    set("tx", "popen//id=a");
    ck_assert_int_eq(xd_strings_add(&cfg->found.tx_from, "conftest.py:3"), 0);
    ck_assert_int_eq(xd_strings_add(&cfg->found.tx_from, "pytest.ini:7"), 0);
    refused("pytest.ini:7: ");
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("plan");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_said);
    tcase_add_test(t, numbers);
    tcase_add_test(t, the_upper_limit_binds_numbers_too);
    tcase_add_test(t, specs_of_one_environment_share_a_gateway);
    tcase_add_test(t, ids_go_with_their_workers);
    tcase_add_test(t, each_environment_or_each_worker);
    tcase_add_test(t, a_popen_by_way_of_a_host_shares_its_gateway);
    tcase_add_test(t, no_worker_runs_on_the_way);
    tcase_add_test(t, a_way_has_an_id);
    tcase_add_test(t, what_this_version_cannot);
    tcase_add_test(t, servers);
    tcase_add_test(t, specs_alone_say_how_many);
    tcase_add_test(t, a_number_wins_over_specs);
    tcase_add_test(t, seats_for_hosts_that_join);
    tcase_add_test(t, options_of_joining_alone);
    tcase_add_test(t, a_hosts_own_number);
    tcase_add_test(t, more_workers_wanted_than_asked_for);
    tcase_add_test(t, a_spec_of_a_file_is_named_with_its_place);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
