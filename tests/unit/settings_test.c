/* needs: engine actors */
/* What options come to, and what is refused with which line. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "actors/refuse.h"
#include "actors/settings.h"

static xd_config  *cfg;
static xd_settings settings;
static xd_error    err;

static void setup(void)
{
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    xd_config_free(cfg);
}

static void own(const char *name, const char *value)
{
    char text[XD_TEXT];
    ck_assert_msg(xd_config_set(cfg, name, value, text) == 0, "%s", text);
}

/* CONFIG with these options: name, value, ..., NULL. */
static int project(const char *const *options)
{
    xd_autobuf     pairs = XD_BUF_INIT;
    xd_wire_CONFIG in = { 0 };
    for (; *options; options += 2) {
        xd_wire_PAIR p = { .name = xd_bytes_str(options[0]), .value = xd_bytes_str(options[1]) };
        ck_assert_int_eq(xd_wire_PAIR_append(&pairs, &p), 0);
        in.options.count++;
    }
    in.options.ptr = pairs.data;
    in.options.len = pairs.len;
    xd_settings_init(&settings, cfg);
    return xd_settings_read(&settings, cfg, &in, &err);
}
#define PROJECT(...) project((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(nothing_said)
{
    xd_settings_init(&settings, cfg);
    ck_assert(settings.maxfail == 0 && settings.max_warnings == -1 && settings.max_worker_restart == -1 &&
              settings.mode == XD_SCHED_LOAD && !settings.keep_scope_order);
}
END_TEST

START_TEST(all_of_a_project)
{
    ck_assert_msg(PROJECT("maxfail", "3", "max_warnings", "7", "numprocesses", "5", "maxprocesses", "4",
                          "auto_num_workers", "6", "maxworkerrestart", "2", "dist", "loadscope", "tx",
                          "2*popen", "tx", "popen", "loadscopereorder", "False", "unknown", "x") == 0,
                  "%s", err.text);
    ck_assert(settings.maxfail == 3 && settings.max_warnings == 7 && settings.max_worker_restart == 2);
    ck_assert(settings.workers.project == 5 && settings.workers.project_limit == 4 &&
              settings.workers.automatic == 6 && settings.workers.project_tx == 3);
    ck_assert(settings.mode == XD_SCHED_LOADSCOPE && settings.keep_scope_order);
}
END_TEST

START_TEST(words)
{
    ck_assert_int_eq(PROJECT("numprocesses", "auto"), 0);
    ck_assert_int_eq(settings.workers.project, XD_WORKERS_AUTO);
    ck_assert_int_eq(PROJECT("numprocesses", "logical"), 0);
    ck_assert_int_eq(settings.workers.project, XD_WORKERS_LOGICAL);
    ck_assert_int_eq(PROJECT("numprocesses", ""), 0);
    ck_assert_int_eq(settings.workers.project, XD_WORKERS_AUTO);
    ck_assert_int_eq(PROJECT("auto_num_workers", "0"), 0); /* one process: not "nothing is told" */
    ck_assert_uint_eq(settings.workers.automatic, 1);
    ck_assert_int_eq(PROJECT("maxfail", "-1"), 0); /* as pytest: any failure is more */
    ck_assert_uint_eq(settings.maxfail, 1);
    ck_assert_int_eq(PROJECT("dist", "no", "loadscopereorder", "True", "looponfail", "0"), 0);
    ck_assert(settings.mode == XD_SCHED_LOAD && !settings.keep_scope_order);
}
END_TEST

START_TEST(the_command_line_wins)
{
    own("dist", "loadfile");
    own("max-worker-restart", "0");
    own("tx", "popen");
    ck_assert_int_eq(PROJECT("dist", "loadscope", "maxworkerrestart", "9", "tx", "ssh=nobody"), 0);
    ck_assert(settings.mode == XD_SCHED_LOADFILE && settings.max_worker_restart == 0 &&
              settings.workers.project_tx == 0);
    ck_assert_uint_eq(xd_settings_restarts(&settings, 8), 0);
}
END_TEST

/* What was read before the run was planned is told by pytest's configuration once more. */
START_TEST(known_specs)
{
    ck_assert_int_eq(xd_strings_add(&cfg->found.known, "ssh=a//id=g"), 0);
    ck_assert_int_eq(xd_strings_add(&cfg->found.known, "3*popen"), 0);
    ck_assert_int_eq(PROJECT("px", "ssh=a//id=g", "tx", "3*popen", "tx", "2*popen"), 0);
    ck_assert_uint_eq(settings.workers.project_tx, 2);
}
END_TEST

START_TEST(the_mode_that_was_found)
{
    cfg->found.dist = strdup("loadfile");
    ck_assert_int_eq(PROJECT("dist", "no"),
                     0); /* the adapter's, where it was told what the command line says */
    ck_assert_int_eq(settings.mode, XD_SCHED_LOADFILE);
    own("d", "1");
    ck_assert_int_eq(PROJECT("dist", "no"), 0);
    ck_assert_int_eq(settings.mode, XD_SCHED_LOAD);
}
END_TEST

START_TEST(d_is_dist_load)
{
    own("d", "1");
    ck_assert_int_eq(PROJECT("dist", "loadscope"), 0);
    ck_assert_int_eq(settings.mode, XD_SCHED_LOAD);
}
END_TEST

START_TEST(restarts)
{
    static const struct {
        int      asked;
        uint32_t workers;
        uint16_t most;
    } table[] = { { -1, 1, 4 }, { -1, 8, 32 }, { -1, 30000, 65535 }, { 0, 8, 0 }, { 65535, 1, 65535 } };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        settings = (xd_settings){ .max_worker_restart = table[i].asked };
        ck_assert_uint_eq(xd_settings_restarts(&settings, table[i].workers), table[i].most);
    }
}
END_TEST

START_TEST(what_a_project_must_not_say)
{
    static const struct {
        const char *name, *value, *said;
    } table[] = {
        { "maxfail", "x",
          "--maxfail=x in pytest's ini, its conftest or the environment: it must be a whole number from 0 to "
          "2147483647" },
        { "max_warnings", "-1", "--max-warnings=-1 in pytest's ini" },
        { "numprocesses", "1025",
          "-n=1025 in pytest's ini, its conftest or the environment: it must be a whole number from 0 to "
          "1024" },
        { "numprocesses", "two", "-n=two in pytest's ini" },
        { "auto_num_workers", "-3", "PYTEST_XDIST_AUTO_NUM_WORKERS=-3 in pytest's ini" },
        { "maxprocesses", "70000", "--maxprocesses=70000 in pytest's ini" },
        { "maxworkerrestart", "1.5", "--max-worker-restart=1.5 in pytest's ini" },
        { "dist", "each",
          "--dist=each comes from a hook of a conftest or plugin, or from an @FILE, where it is read too "
          "late: "
          "give it to xdctl run, or write it in addopts" },
        { "dist", "eech", "--dist=eech from pytest's ini or PYTEST_ADDOPTS is not a known mode" },
        { "tx", "popen//python=python3",
          "--tx=popen//python=python3 comes from a hook of a conftest or plugin, or from an @FILE, where "
          "only "
          "NUM*popen is read: give it to xdctl run, or write it in addopts" },
        { "tx", "popen//colour=red", "colour" },
        { "px", "x",
          "--px from a hook of a conftest or plugin, or from an @FILE, is read too late: give it to xdctl "
          "run" },
        { "looponfail", "1",
          "option -f/--looponfail: xd does not watch files; run it again with --lf, or use a file watcher" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        err = (xd_error){ 0 };
        ck_assert_msg(PROJECT(table[i].name, table[i].value) == -EINVAL, "%s", table[i].name);
        ck_assert_msg(strstr(err.text, table[i].said) != NULL, "%s=%s: %s", table[i].name, table[i].value,
                      err.text);
        ck_assert(!strchr(err.text, '\n'));
    }
    ck_assert_int_eq(PROJECT("tx", "1000*popen", "tx", "25*popen"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "1025 workers"));
}
END_TEST

START_TEST(specs)
{
    static const struct {
        const char *text;
        bool        known;
        const char *said; /* NULL = fine */
    } table[] = {
        { "3*popen", true, NULL },
        { "popen//id=a", true, NULL },
        { "2*socket=host:1", false, "spec 'socket=host:1': this version reaches hosts by popen" },
        { "2*socket=host:1", true, NULL },
        { "socket=host", true, NULL },
        { "socket=[::1]", true, NULL },
        { "socket=host:0", true, "spec 'socket=host:0': 'host:0': the port is no number" },
        { "socket=a host:1", true, "that is no name of a host" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_xspec x = { 0 };
        err = (xd_error){ 0 };
        ck_assert_int_eq(xd_xspec_parse(&x, table[i].text, &err), 0);
        ck_assert_int_eq(xd_refuse_spec(&x, table[i].known, &err), table[i].said ? -EINVAL : 0);
        ck_assert_msg(!table[i].said || strstr(err.text, table[i].said), "%s", err.text);
        xd_xspec_release(&x);
    }
}
END_TEST

START_TEST(too_many_workers)
{
    xd_xspec x = { 0 };
    ck_assert_int_eq(xd_xspec_parse(&x, "popen", &err), 0);
    ck_assert_int_eq(xd_refuse_workers(&x, XD_WORKERS_MAX, 32768, &err), 0);
    ck_assert_int_eq(xd_refuse_workers(&x, XD_WORKERS_MAX + 1, 32768, &err), -EINVAL);
    ck_assert_str_eq(err.text, "spec 'popen': 1025 workers in one environment; it has at most 1024");
    ck_assert_int_eq(xd_refuse_workers(&x, 1, 32769, &err), -EINVAL);
    ck_assert_str_eq(err.text, "spec 'popen': 32769 workers in all; a run has at most 32768");
    xd_xspec_release(&x);
}
END_TEST

START_TEST(misplaced)
{
    char line[XD_TEXT];
    xd_refuse_misplaced("live", line, sizeof(line));
    ck_assert_str_eq(line, "--live is an option of xd: put it before pytest's arguments");
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("settings");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nothing_said);
    tcase_add_test(t, all_of_a_project);
    tcase_add_test(t, words);
    tcase_add_test(t, the_command_line_wins);
    tcase_add_test(t, known_specs);
    tcase_add_test(t, the_mode_that_was_found);
    tcase_add_test(t, d_is_dist_load);
    tcase_add_test(t, restarts);
    tcase_add_test(t, what_a_project_must_not_say);
    tcase_add_test(t, specs);
    tcase_add_test(t, too_many_workers);
    tcase_add_test(t, misplaced);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
