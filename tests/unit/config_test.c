/* needs: engine */
/* Options: which are xd's, which are pytest's, what a bad value is answered. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static xd_config *cfg;
static char       err[XD_TEXT];

static void setup(void)
{
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    err[0] = 0;
}

static void teardown(void)
{
    xd_config_free(cfg);
}

static int parse(const char *const *args)
{
    char *argv[32] = { 0 };
    int   argc = 0;
    for (; args[argc]; argc++)
        argv[argc] = strdup(args[argc]);
    int r = xd_config_parse(cfg, argc, argv, err);
    while (argc)
        free(argv[--argc]);
    return r;
}

static void pytest_gets(const char *expected)
{
    char got[512] = "";
    for (size_t i = 0; i < cfg->args.count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "", cfg->args.at[i]);
    ck_assert_str_eq(got, expected);
}

static void refused(int r, const char *words)
{
    ck_assert_int_eq(r, -EINVAL);
    ck_assert_msg(strstr(err, words) && !strchr(err, '\n'), "'%s' is not in: %s", words, err);
}

START_TEST(defaults)
{
    ck_assert_int_eq(cfg->workers, XD_WORKERS_UNSET);
    ck_assert_int_eq(cfg->max_worker_restart, -1);
    ck_assert_uint_eq(cfg->runs_keep, 100);
    ck_assert_uint_eq(cfg->runs_bytes, 1ull << 30);
    ck_assert_uint_eq(cfg->runs_age_ns, 30ull * 86400 * 1000000000);
    ck_assert_uint_eq(cfg->grace_ns, 10ull * 1000000000);
    ck_assert_ptr_null(cfg->dist);
}
END_TEST

START_TEST(every_spelling_of_a_value)
{
    ck_assert_int_eq(PARSE("-n", "3"), 0);
    ck_assert_int_eq(cfg->workers, 3);
    ck_assert_int_eq(PARSE("-n4"), 0);
    ck_assert_int_eq(cfg->workers, 4);
    ck_assert_int_eq(PARSE("-n=5"), 0);
    ck_assert_int_eq(cfg->workers, 5);
    ck_assert_int_eq(PARSE("--numprocesses=6"), 0);
    ck_assert_int_eq(cfg->workers, 6);
    ck_assert_int_eq(PARSE("--numprocesses", "auto"), 0);
    ck_assert_int_eq(cfg->workers, XD_WORKERS_AUTO);
    ck_assert_int_eq(PARSE("-nlogical"), 0);
    ck_assert_int_eq(cfg->workers, XD_WORKERS_LOGICAL);
    pytest_gets("");
}
END_TEST

START_TEST(the_first_argument_unknown_to_xd_begins_pytests)
{
    ck_assert_int_eq(PARSE("--no-fork", "-n2", "tests", "--no-fork", "-x"), 0);
    ck_assert(cfg->no_fork);
    pytest_gets("tests --no-fork -x"); /* a plugin's option may have that name */
}
END_TEST

START_TEST(xdists_names_are_read_among_pytests)
{
    ck_assert_int_eq(PARSE("-q", "-n", "2", "--dist=loadfile", "-k", "not slow", "--tx", "popen", "--tx",
                           "2*popen", "-d", "--max-worker-restart=7", "--maxprocesses=9", "--testrunuid=abc"),
                     0);
    ck_assert_int_eq(cfg->workers, 2);
    ck_assert_str_eq(cfg->dist, "loadfile");
    ck_assert_uint_eq(cfg->tx.count, 2);
    ck_assert_str_eq(cfg->tx.at[1], "2*popen");
    ck_assert(cfg->load);
    ck_assert_int_eq(cfg->max_worker_restart, 7);
    ck_assert_int_eq(cfg->max_workers, 9);
    ck_assert_str_eq(cfg->run_uid, "abc");
    pytest_gets("-q -k not slow");
}
END_TEST

START_TEST(what_to_bring_to_hosts_adds_up)
{
    ck_assert_int_eq(PARSE("-d", "--tx", "ssh=h", "--rsyncdir", "mypkg", "mypkg", "--rsyncdir=x",
                           "--rsyncignore", "*.dat"),
                     0);
    ck_assert_uint_eq(cfg->rsyncdir.count, 2);
    ck_assert_str_eq(cfg->rsyncdir.at[0], "mypkg");
    ck_assert_str_eq(cfg->rsyncdir.at[1], "x");
    ck_assert_uint_eq(cfg->rsyncignore.count, 1);
    pytest_gets("mypkg");
    xd_config *copy;
    ck_assert_int_eq(xd_config_copy(&copy, cfg), 0);
    ck_assert_str_eq(copy->rsyncdir.at[1], "x");
    xd_config_free(copy);
    refused(PARSE("--rsyncdir="), "option --rsyncdir: '' is not valid: it must not be empty");
    refused(PARSE("--rsyncignore", ""), "option --rsyncignore: '' is not valid");
    refused(PARSE("--no-sync=1"), "a flag takes no value");
}
END_TEST

START_TEST(two_dashes_end_xds_options)
{
    ck_assert_int_eq(PARSE("-n2", "--", "-n3", "--dist=each", "--"), 0);
    ck_assert_int_eq(cfg->workers, 2);
    pytest_gets("-n3 --dist=each --");
}
END_TEST

START_TEST(groups_of_short_flags_are_pytests)
{
    ck_assert_int_eq(PARSE("-dx"), 0);
    ck_assert(!cfg->load);
    pytest_gets("-dx");
}
END_TEST

START_TEST(longer_names_are_not_ours)
{
    ck_assert_int_eq(PARSE("--jsonl-report", "--distance=3", "--txt"), 0);
    pytest_gets("--jsonl-report --distance=3 --txt");
}
END_TEST

START_TEST(options_that_stand_too_late)
{
    ck_assert_int_eq(PARSE("--no-fork", "-q", "--grace=5s"), 0);
    ck_assert_str_eq(xd_config_misplaced(cfg), "grace");
    xd_config_free(cfg);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    ck_assert_int_eq(PARSE("--no-fork", "-q", "-n3", "--grace-time", "--jsonl=x"), 0);
    ck_assert_ptr_null(xd_config_misplaced(cfg));
}
END_TEST

/* Who runs all tests, and how those of a collection are distributed. */
START_TEST(who_runs_all_tests)
{
    static const struct {
        const char *given;
        xd_each     each;
        const char *mode;
    } table[] = {
        { "load", XD_EACH_RUN, "load" },
        { "no", XD_EACH_RUN, "no" },
        { "loadgroup", XD_EACH_RUN, "loadgroup" },
        { "each", XD_EACH_ENVIRONMENT, "loadgroup" }, /* groups are honoured where tests have some */
        { "each:load", XD_EACH_ENVIRONMENT, "load" },
        { "each:loadfile", XD_EACH_ENVIRONMENT, "loadfile" },
        { "each:loadscope", XD_EACH_ENVIRONMENT, "loadscope" },
        { "each:worksteal", XD_EACH_ENVIRONMENT, "worksteal" },
        { "each-worker", XD_EACH_WORKER, "load" },
    };
    ck_assert_int_eq(xd_config_each(cfg), XD_EACH_RUN);
    ck_assert_ptr_null(xd_config_mode(cfg));
    ck_assert_int_eq(PARSE("-d"), 0);
    ck_assert_str_eq(xd_config_mode(cfg), "load");
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        ck_assert_int_eq(xd_config_set(cfg, "dist", table[i].given, err), 0);
        ck_assert_int_eq(xd_config_each(cfg), table[i].each);
        ck_assert_str_eq(xd_config_mode(cfg), table[i].mode);
        ck_assert_str_eq(xd_config_get(cfg, "dist"), table[i].given);
    }
}
END_TEST

START_TEST(bad_values)
{
    refused(PARSE("-n", "many"), "many");
    refused(PARSE("-n"), "-n needs a value");
    refused(PARSE("-n", "-1"), "-1");
    refused(PARSE("-n", "99999"), "99999");
    refused(PARSE("--dist", "sideways"), "sideways");
    refused(PARSE("--dist", "each:no"), "each-worker");
    refused(PARSE("--dist", "each:each"), "each-worker");
    refused(PARSE("--maxprocesses=0"), "0");
    refused(PARSE("--min-workers=0"), "or all");
    refused(PARSE("--min-workers=many"), "or all");
    refused(PARSE("--max-worker-restart=x"), "max-worker-restart");
    refused(PARSE("--runs-size=big"), "big");
    refused(PARSE("--grace=soon"), "soon");
    refused(PARSE("--no-fork=yes"), "yes");
    refused(PARSE("--tx"), "--tx needs a value");
}
END_TEST

START_TEST(sizes_and_times)
{
    ck_assert_int_eq(PARSE("--runs-size=64M", "--output-limit=2K", "--grace=1500ms", "--runs-age=7d"), 0);
    ck_assert_uint_eq(cfg->runs_bytes, 64u << 20);
    ck_assert_uint_eq(cfg->output_limit, 2048);
    ck_assert_uint_eq(cfg->grace_ns, 1500000000ull);
    ck_assert_uint_eq(cfg->runs_age_ns, 7ull * 86400 * 1000000000);
}
END_TEST

START_TEST(by_name)
{
    ck_assert_int_eq(xd_config_set(cfg, "numprocesses", "8", err), 0);
    ck_assert_int_eq(cfg->workers, 8);
    ck_assert_int_eq(xd_config_set(cfg, "d", "1", err), 0);
    ck_assert(cfg->load);
    ck_assert_int_eq(xd_config_set(cfg, "jsonl", "a.jsonl", err), 0);
    ck_assert_str_eq(xd_config_get(cfg, "jsonl"), "a.jsonl");
    ck_assert_ptr_null(xd_config_get(cfg, "python"));
    ck_assert_ptr_null(xd_config_get(cfg, "nothing"));
    refused(xd_config_set(cfg, "colour", "red", err), "colour");
    refused(xd_config_set(cfg, "no-fork", "maybe", err), "maybe");
    ck_assert_int_eq(xd_config_set(cfg, "colour", "red", NULL), -EINVAL);
}
END_TEST

START_TEST(copies_are_their_own)
{
    xd_config *copy = NULL;
    ck_assert_int_eq(PARSE("-n3", "--tx=popen", "--jsonl=x", "tests", "-q"), 0);
    ck_assert_int_eq(xd_config_copy(&copy, cfg), 0);
    xd_config_free(cfg);
    cfg = copy;
    ck_assert_int_eq(cfg->workers, 3);
    ck_assert_str_eq(cfg->tx.at[0], "popen");
    ck_assert_str_eq(cfg->jsonl, "x");
    pytest_gets("tests -q");
}
END_TEST

START_TEST(what_was_found_of_a_project)
{
    xd_config *copy = NULL;
    xd_strings first = { 0 };
    ck_assert_ptr_null(xd_config_dist(cfg));
    cfg->found.dist = strdup("loadscope");
    ck_assert_str_eq(xd_config_dist(cfg), "loadscope");
    ck_assert_int_eq(xd_strings_prepend(&cfg->tx, &first), 0);
    ck_assert_uint_eq(cfg->tx.count, 0);
    ck_assert_int_eq(xd_strings_add(&first, "ssh=b"), 0);
    ck_assert_int_eq(xd_strings_prepend(&cfg->tx, &first), 0);
    ck_assert_int_eq(xd_strings_add(&first, "ssh=a"), 0);
    ck_assert_int_eq(xd_strings_prepend(&cfg->tx, &first), 0);
    ck_assert_uint_eq(first.count, 0);
    ck_assert_int_eq(PARSE("--tx=popen", "-d"), 0);
    ck_assert_int_eq(xd_strings_add(&cfg->found.tx_from, "pytest.ini:2"), 0);
    ck_assert_int_eq(xd_config_copy(&copy, cfg), 0);
    xd_config_free(cfg);
    cfg = copy;
    ck_assert(cfg->tx.count == 3 && strcmp(cfg->tx.at[0], "ssh=a") == 0 &&
              strcmp(cfg->tx.at[1], "ssh=b") == 0 && strcmp(cfg->tx.at[2], "popen") == 0 && !cfg->tx.at[3]);
    ck_assert_str_eq(cfg->found.tx_from.at[0], "pytest.ini:2");
    ck_assert_str_eq(xd_config_dist(cfg), "load"); /* -d of the command line */
    ck_assert_int_eq(PARSE("--dist=loadfile"), 0);
    ck_assert_str_eq(xd_config_dist(cfg), "loadfile");
}
END_TEST

/* What --help prints is what is parsed. */
START_TEST(every_option_shown_is_known)
{
    const xd_option *o = xd_config_options();
    for (; o->help; o++) {
        char        word[64];
        const char *value = o->argument ? "definitely-no-value" : NULL;
        if (o->name[0])
            snprintf(word, sizeof(word), "--%s", o->name);
        else
            snprintf(word, sizeof(word), "-%c", o->letter);
        (void)PARSE(word, value ? value : "--", NULL);
        for (size_t i = 0; i < cfg->args.count; i++)
            ck_assert_msg(strcmp(cfg->args.at[i], word) != 0, "%s goes to pytest", word);
    }
}
END_TEST

static int tell(void *arg, const xd_setting *s)
{
    char *out = arg;
    if (strcmp(s->origin, "default") != 0)
        snprintf(out + strlen(out), 512 - strlen(out), "%s=%s (%s)%s%s;", s->name, s->value, s->origin,
                 s->flag ? " flag" : "", s->list ? " list" : "");
    return 0;
}

static int stop(void *arg, const xd_setting *s)
{
    (void)arg;
    return strcmp(s->name, "dist") == 0 ? 5 : 0;
}

START_TEST(where_values_come_from)
{
    char       text[512] = "";
    xd_config *copy;
    ck_assert_int_eq(xd_config_set(cfg, "tx", "popen", err), 0);
    ck_assert_int_eq(xd_config_set(cfg, "grace", "1s", err), 0);
    ck_assert_int_eq(xd_config_set(cfg, "grace", "never", err), -EINVAL);
    ck_assert_int_eq(
        PARSE("--grace", "2s", "--tx", "ssh=h", "-d", "--dist", "no", "--dist=loadfile", "--no-fork"), 0);
    ck_assert_int_eq(xd_config_copy(&copy, cfg), 0);
    ck_assert_int_eq(xd_config_set(cfg, "grace", "3s", err), 0);
    ck_assert_int_eq(xd_config_show(copy, tell, text), 0);
    ck_assert_str_eq(text, "dist=loadfile (command line);d=true (command line) flag;tx=popen (program) "
                           "list;tx=ssh=h (command line) list;"
                           "no-fork=true (command line) flag;grace=2s (command line);");
    ck_assert_int_eq(xd_config_show(copy, stop, NULL), 5);
    ck_assert_ptr_null(xd_config_note(copy, 0));
    xd_config_free(copy);
}
END_TEST

START_TEST(a_profile_that_was_not_looked_for)
{
    xd_error e = { 0 };
    ck_assert_int_eq(PARSE("--profile", "ci"), 0);
    ck_assert_int_eq(xd_config_fits(cfg, &e), -EINVAL);
    ck_assert_str_eq(e.text, "option --profile: 'ci' chooses among options of files, which were not read");
    cfg->profile_read = true;
    ck_assert_int_eq(xd_config_fits(cfg, &e), 0);
    ck_assert_int_eq(PARSE("tests", "--profile", "x"), 0);
    ck_assert_int_eq(xd_config_take(cfg, "profile", &e), -EINVAL);
    ck_assert_str_eq(e.text,
                     "option --profile: it stands in front of pytest's arguments: xdctl run --profile x ...");
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("config");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, defaults);
    tcase_add_test(t, every_spelling_of_a_value);
    tcase_add_test(t, the_first_argument_unknown_to_xd_begins_pytests);
    tcase_add_test(t, xdists_names_are_read_among_pytests);
    tcase_add_test(t, what_to_bring_to_hosts_adds_up);
    tcase_add_test(t, two_dashes_end_xds_options);
    tcase_add_test(t, groups_of_short_flags_are_pytests);
    tcase_add_test(t, longer_names_are_not_ours);
    tcase_add_test(t, options_that_stand_too_late);
    tcase_add_test(t, who_runs_all_tests);
    tcase_add_test(t, bad_values);
    tcase_add_test(t, sizes_and_times);
    tcase_add_test(t, by_name);
    tcase_add_test(t, copies_are_their_own);
    tcase_add_test(t, what_was_found_of_a_project);
    tcase_add_test(t, every_option_shown_is_known);
    tcase_add_test(t, where_values_come_from);
    tcase_add_test(t, a_profile_that_was_not_looked_for);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
