/* needs: actors */
/* xd's own configuration files, profiles, lists of hosts and XD_ variables: what they set, what counts, and what each mistake is answered. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/config_environ.h"
#include "actors/config_file.h"
#include "actors/nearest.h"

static xd_config_file   files[2];
static size_t           count;
static xd_config_values values;
static xd_strings       notes;
static xd_config       *cfg;
static xd_error         err;

static void setup(void)
{
    memset(files, 0, sizeof(files));
    count = 0;
    err = (xd_error){ 0 };
    ck_assert_int_eq(xd_config_new(&cfg), 0);
}

static void teardown(void)
{
    for (size_t i = 0; i < 2; i++)
        xd_config_file_release(&files[i]);
    xd_config_values_release(&values);
    xd_strings_release(&notes);
    xd_config_free(cfg);
}

/* The next file; the first is the project's. */
static int file(const char *text)
{
    xd_config_file *f = &files[count];
    *f = (xd_config_file){ .dir = strdup(count ? "/home/u/.config/xd" : "/p"),
                           .shown = strdup(count ? "config.toml" : "xd.toml"),
                           .rank = count ? XD_RANK_USER : XD_RANK_PROJECT };
    const int r = xd_config_file_read(f, text, strlen(text), NULL, &err);
    if (r == 0)
        count++;
    else
        xd_config_file_release(f);
    return r;
}

static void refused(const char *text, const char *line)
{
    ck_assert_int_eq(file(text), -EINVAL);
    ck_assert_str_eq(err.text, line);
}

static void add(const char *profile)
{
    for (size_t i = count; i > 0; i--)
        ck_assert_int_eq(xd_config_file_values(&files[i - 1], &values, &err), 0);
    ck_assert_int_eq(xd_config_file_profile(files, count, profile, "option --profile", &values, &err), 0);
}

/* "value (origin)", in order, with | between those of a list. */
static int tell(void *arg, const xd_setting *s)
{
    char **at = arg;
    if (strcmp(s->name, at[0]) != 0)
        return 0;
    size_t n = strlen(at[1]);
    snprintf(at[1] + n, 512 - n, "%s%s (%s)", n ? " | " : "", s->value ? s->value : "-", s->origin);
    return 0;
}

static void shows(const char *option, const char *expected)
{
    char  name[64], text[512] = "";
    char *at[] = { name, text };
    snprintf(name, sizeof(name), "%s", option);
    ck_assert_int_eq(xd_config_show(cfg, tell, at), 0);
    ck_assert_str_eq(text, expected);
}

static void apply(void)
{
    ck_assert_int_eq(xd_config_values_apply(&values, cfg, cfg), 0);
}

START_TEST(every_kind_of_value)
{
    ck_assert_int_eq(
        file("numprocesses = 3\ndist = 'loadfile'\ntx = ['popen', '2*ssh=h']\nrsyncignore = '*.dat'\nno-fork "
             "= true\n"
             "grace = '5s'\nagent-timeout = 90\nslow-after = 'none'\noutput_limit = '2M'\njournal-limit = 0\n"
             "min-workers = 'all'\nmax_worker_restart = 0\nslurm = ''\n"),
        0);
    add(NULL);
    apply();
    ck_assert_int_eq(cfg->workers, 3);
    ck_assert_str_eq(cfg->dist, "loadfile");
    ck_assert_uint_eq(cfg->tx.count, 2);
    ck_assert_uint_eq(cfg->rsyncignore.count, 1);
    ck_assert(cfg->no_fork);
    ck_assert_uint_eq(cfg->grace_ns, 5000000000u);
    ck_assert_uint_eq(cfg->agent_timeout_ns, 90000000000u);
    ck_assert_uint_eq(cfg->slow_after_ns, 0);
    ck_assert_uint_eq(cfg->output_limit, 2u << 20);
    ck_assert_uint_eq(cfg->journal_limit, 0);
    ck_assert_int_eq(cfg->max_worker_restart, 0);
    ck_assert_str_eq(cfg->slurm, "");
    shows("numprocesses", "3 (xd.toml:1)");
    shows("tx", "popen (xd.toml:3) | 2*ssh=h (xd.toml:3)");
    shows("no-fork", "true (xd.toml:5)");
    shows("as-module", "false (default)");
    shows("runs-keep", "100 (default)");
    shows("rsyncdir", "the project (default)");
}
END_TEST

START_TEST(wrong_kinds)
{
    refused("numprocesses = 'four'\n",
            "xd.toml:1: numprocesses: 'four' is not valid: it is a number from 0 to 1024, auto or logical");
    refused("numprocesses = '4'\n", "xd.toml:1: numprocesses: it takes a whole number, \"auto\" or "
                                    "\"logical\", and a number in quotes stands there");
    refused("\nnumprocesses = 4.5\n", "xd.toml:2: numprocesses: it takes a whole number, \"auto\" or "
                                      "\"logical\", and a number with a fraction stands there");
    refused("dist = true\n", "xd.toml:1: dist: it takes a string, and true or false stands there");
    refused("dist = 'lod'\n",
            "xd.toml:1: dist: 'lod' is not valid: it is one of load, worksteal, loadfile, "
            "loadscope, loadgroup, no, each, each:load (or another of the first five behind the "
            "colon), each-worker");
    refused("no-fork = 1\n", "xd.toml:1: no-fork: it takes true or false, and a whole number stands there");
    refused("no-fork = 'yes'\n", "xd.toml:1: no-fork: it takes true or false, and a string stands there");
    refused("tx = [\n  'popen',\n  3,\n]\n",
            "xd.toml:3: tx: it takes a list of strings, or a string, and a whole number stands there");
    refused("tx = {a = 1}\n",
            "xd.toml:1: tx: it takes a list of strings, or a string, and a table stands there");
    refused("tx = ['popen', 'ssh=']\n", "xd.toml:1: tx: bad spec 'ssh=': ssh, socket and command need a "
                                        "value: ssh=USER@HOST, socket=HOST:PORT, command=PROGRAM "
                                        "ARGUMENTS");
    refused("grace = 2026-01-01\n", "xd.toml:1: grace: it takes a time such as \"30s\", or a whole number of "
                                    "seconds, and a date or time stands there");
    refused("grace = 'soon'\n",
            "xd.toml:1: grace: 'soon' is not valid: it is a time such as 10s, 5m or 1h, at most 40d");
    refused("maxprocesses = -1\n",
            "xd.toml:1: maxprocesses: '-1' is not valid: it is a whole number from 1 to 65535");
    refused("python = ''\n", "xd.toml:1: python: '' is not valid: it must not be empty");
    refused("rsyncdir = ['']\n", "xd.toml:1: rsyncdir: '' is not valid: it must not be empty");
}
END_TEST

START_TEST(unknown_keys)
{
    refused("a = 1\n", "xd.toml:1: unknown key 'a'; `xdctl config show` lists the options");
    refused("dist = 'no'\nnumproceses = 4\n", "xd.toml:2: unknown key 'numproceses'; is numprocesses meant?");
    refused("min_wrokers = 4\n", "xd.toml:1: unknown key 'min_wrokers'; is min-workers meant?");
    refused("[profiles.ci]\ndist = 'no'\n", "xd.toml:1: unknown key 'profiles'; is profile meant?");
    refused("[profile.ci]\ninherit = 'x'\n", "xd.toml:2: unknown key 'inherit'; is inherits meant?");
    refused("[profile.ci]\nprofile = 'x'\n",
            "xd.toml:2: unknown key 'profile'; `xdctl config show` lists the options");
    refused("inherits = 'x'\n", "xd.toml:1: unknown key 'inherits'; `xdctl config show` lists the options");
    refused("[host]\nlab = 'popen'\n", "xd.toml:1: unknown key 'host'; is hosts meant?");
    refused("[hosts]\nlab = { fil = 'h' }\n", "xd.toml:2: unknown key 'fil'; is file meant?");
    refused("min-workers = 4\nmin_workers = 5\n",
            "xd.toml:2: min_workers: it stands there already, in line 1");
    refused("work-dir = 'x'\n",
            "xd.toml:1: work-dir: no file can say it, as files are looked for from there; XD_WORK_DIR can");
    refused("profile = 'ci'\n", "xd.toml:1: profile: it takes tables, [profile.NAME], and a string stands "
                                "there; --profile and XD_PROFILE choose one");
    refused("profile.ci = 1\n", "xd.toml:1: profile.ci: it takes a table, and a whole number stands there");
    /* also in a profile that nobody chooses */
    refused("[profile.ci]\ndits = 'no'\n", "xd.toml:2: unknown key 'dits'; is dist meant?");
}
END_TEST

START_TEST(paths_count_from_the_file)
{
    ck_assert_int_eq(setenv("HOME", "/home/u", 1), 0);
    ck_assert_int_eq(file("rsyncdir = ['src', '/abs', '~/lib']\npython = 'venv/bin/python -X dev'\nstate-dir "
                          "= 'st'\nhosts = '-'\n"
                          "rsyncignore = ['*.dat', 'tests/data']\nagent = 'xdagent'\nkeys = '../k'\n"),
                     0);
    add(NULL);
    apply();
    ck_assert_str_eq(cfg->rsyncdir.at[0], "/p/src");
    ck_assert_str_eq(cfg->rsyncdir.at[1], "/abs");
    ck_assert_str_eq(cfg->rsyncdir.at[2], "/home/u/lib");
    ck_assert_str_eq(cfg->python, "/p/venv/bin/python -X dev");
    ck_assert_str_eq(cfg->state_dir, "/p/st");
    ck_assert_str_eq(cfg->hosts, "-");
    ck_assert_str_eq(cfg->rsyncignore.at[0], "*.dat");
    ck_assert_str_eq(cfg->rsyncignore.at[1], "/p/tests/data");
    ck_assert_str_eq(cfg->agent, "xdagent");
    ck_assert_str_eq(cfg->keys, "/p/../k");
}
END_TEST

START_TEST(profiles_inherit)
{
    ck_assert_int_eq(file("numprocesses = 1\ndist = 'load'\ntx = 'popen'\n"
                          "[profile.base]\nnumprocesses = 2\ngrace = '1s'\n"
                          "[profile.mid]\ninherits = 'base'\nnumprocesses = 3\ntx = ['ssh=m']\n"
                          "[profile.other]\ndist = 'loadgroup'\n"
                          "[profile.top]\ninherits = ['mid', 'other', 'base', 'default']\ndist = "
                          "'loadscope'\ntx = ['ssh=t']\n"),
                     0);
    ck_assert_int_eq(xd_config_file_check_profiles(files, count, &err), 0);
    add("top");
    apply();
    shows("numprocesses", "3 (profile mid (xd.toml:9))");
    shows("grace", "1s (profile base (xd.toml:6))");
    shows("dist", "loadscope (profile top (xd.toml:15))");
    shows("tx", "popen (xd.toml:3) | ssh=m (profile mid (xd.toml:10)) | ssh=t (profile top (xd.toml:16))");
}
END_TEST

START_TEST(the_profile_default)
{
    ck_assert_int_eq(file("dist = 'load'\n[profile.default]\ndist = 'loadfile'\n[profile.ci]\ngrace = "
                          "'1s'\n[profile.all]\ninherits = 'default'\n"),
                     0);
    add(NULL);
    apply();
    shows("dist", "loadfile (profile default (xd.toml:3))");
    xd_config_values_release(&values);
    xd_config_free(cfg);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    add("ci"); /* it does not name the default */
    apply();
    shows("dist", "load (xd.toml:1)");
    xd_config_values_release(&values);
    add("all");
    apply();
    shows("dist", "loadfile (profile default (xd.toml:3))");
}
END_TEST

START_TEST(profiles_that_are_not_there)
{
    ck_assert_int_eq(
        file("[profile.a]\ninherits = ['b']\n[profile.b]\ninherits = 'c'\n[profile.c]\ninherits = 'b'\n"), 0);
    ck_assert_int_eq(xd_config_file_check_profiles(files, count, &err), -EINVAL);
    ck_assert_str_eq(err.text, "xd.toml:6: profile 'b' inherits itself: b, c, b");
    ck_assert_int_eq(file("[profile.mine]\ninherits = 'nigthly'\n[profile.nightly]\n"), 0);
    ck_assert_int_eq(xd_config_file_profile(files, count, "mine", "", &values, &err), -EINVAL);
    ck_assert_str_eq(
        err.text,
        "config.toml:2: there is no profile 'nigthly' in xd.toml or config.toml; is nightly meant?");
    ck_assert_int_eq(xd_config_file_profile(files, count, "zzz", "XD_PROFILE", &values, &err), -EINVAL);
    ck_assert_str_eq(err.text, "XD_PROFILE: there is no profile 'zzz' in xd.toml or config.toml");
    ck_assert_int_eq(xd_config_file_profile(NULL, 0, "ci", "option --profile", &values, &err), -EINVAL);
    ck_assert_str_eq(err.text, "option --profile: there is no profile 'ci': there is no xd.toml, and no "
                               "pyproject.toml with a table tool.xd");
    ck_assert_int_eq(xd_config_file_profile(NULL, 0, NULL, "", &values, &err), 0);
}
END_TEST

/* A generated file: neither time nor stack may go with the square of it, or its depth. */
START_TEST(very_many_profiles)
{
    xd_autobuf text = XD_BUF_INIT;
    for (unsigned i = 0; i < 1000; i++) /* rows of 64 */
        ck_assert_int_eq(i % 64 ? xd_buf_printf(&text, "[profile.p%u]\ninherits = 'p%u'\n", i, i - 1)
                                : xd_buf_printf(&text, "[profile.p%u]\n", i),
                         0);
    ck_assert_int_eq(file(xd_buf_cstr(&text)), 0);
    ck_assert_int_eq(xd_config_file_check_profiles(files, count, &err), 0);
    add("p63");
    xd_config_file_release(&files[0]);
    count = 0;
    ck_assert_int_eq(xd_buf_add_str(&text, "[profile.more]\n"), 0);
    refused(xd_buf_cstr(&text), "xd.toml:1985: profile.more: a file has at most 1000 profiles");
    xd_buf_clear(&text);
    for (unsigned i = 0; i < 65; i++)
        ck_assert_int_eq(xd_buf_printf(&text, "[profile.p%u]\ninherits = 'p%u'\n", i, i + 1), 0);
    ck_assert_int_eq(xd_buf_add_str(&text, "[profile.p65]\n"), 0);
    ck_assert_int_eq(file(xd_buf_cstr(&text)), 0);
    ck_assert_int_eq(xd_config_file_check_profiles(files, count, &err), -EINVAL);
    ck_assert_str_eq(err.text, "xd.toml:128: more than 64 profiles inherit from one another in a row");
}
END_TEST

START_TEST(what_is_no_name_of_a_profile)
{
    ck_assert_int_eq(file("[profile.a]\ninherits = 3\n"), 0);
    ck_assert_int_eq(xd_config_file_check_profiles(files, count, &err), -EINVAL);
    ck_assert_str_eq(err.text, "xd.toml:2: inherits: it takes the name of a profile, or a list of names, and "
                               "a whole number stands there");
    ck_assert_int_eq(file("[profile.b]\ninherits = ['default',\n  true]\n"), 0);
    ck_assert_int_eq(xd_config_file_profile(files, count, "b", "", &values, &err), -EINVAL);
    ck_assert_str_eq(err.text, "config.toml:3: inherits: it takes the name of a profile, or a list of names, "
                               "and true or false stands there");
}
END_TEST

START_TEST(which_counts)
{
    ck_assert_int_eq(file("dist = 'loadfile'\ntx = ['ssh=p']\n[profile.ci]\ngrace = '2s'\n"), 0);
    ck_assert_int_eq(file("dist = 'loadgroup'\ngrace = '9s'\nruns-keep = 7\ntx = "
                          "['ssh=u']\n[profile.ci]\ngrace = '3s'\n[profile.mine]\nruns_keep = 8\n"),
                     0);
    add("ci");
    char *const variables[] = { (char *)"XD_GRACE=4s", (char *)"XD_TX=ssh=e '2*ssh=-p 5 f'",
                                (char *)"XD_DIST=", NULL };
    ck_assert_int_eq(xd_config_environ(variables, &values, &notes, &err), 0);
    apply();
    shows("dist", "loadfile (xd.toml:1)");
    shows("grace", "4s (XD_GRACE)");
    shows("runs-keep", "7 (config.toml:3)");
    shows("tx", "ssh=u (config.toml:4) | ssh=p (xd.toml:2) | ssh=e (XD_TX) | 2*ssh=-p 5 f (XD_TX)");
    char *typed[] = { (char *)"--grace=5s", (char *)"--tx", (char *)"popen" };
    char  text[XD_TEXT];
    ck_assert_int_eq(xd_config_parse(cfg, 3, typed, text), 0);
    shows("grace", "5s (command line)");
    ck_assert_uint_eq(cfg->tx.count, 5);
    ck_assert_str_eq(cfg->tx.at[4], "popen");
}
END_TEST

START_TEST(an_empty_list_takes_away)
{
    ck_assert_int_eq(file("tx = []\n[profile.a]\ntx = ['ssh=a']\n"), 0);
    ck_assert_int_eq(file("tx = ['ssh=u']\n"), 0);
    add("a");
    apply();
    shows("tx", "ssh=a (profile a (xd.toml:3))");
    ck_assert_uint_eq(cfg->tx.count, 1);
}
END_TEST

/* A number of workers wins over specs, unless it stands where less counts. */
static void numbers(const char *text, const char *variable, const char *argument, int expected)
{
    char *const variables[] = { (char *)variable, NULL };
    char       *typed[] = { (char *)argument };
    char        line[XD_TEXT];
    xd_config  *with = NULL;
    teardown();
    setup();
    ck_assert_int_eq(file(text), 0);
    add(NULL);
    ck_assert_int_eq(xd_config_environ(variables, &values, &notes, &err), 0);
    ck_assert_int_eq(xd_config_copy(&with, cfg), 0);
    ck_assert_int_eq(xd_config_parse(with, argument ? 1 : 0, typed, line), 0);
    ck_assert_int_eq(xd_config_values_apply(&values, with, cfg), 0);
    ck_assert_int_eq(xd_config_parse(cfg, argument ? 1 : 0, typed, line), 0);
    ck_assert_int_eq(cfg->workers, expected);
    xd_config_free(with);
}

START_TEST(numbers_and_specs)
{
    numbers("numprocesses = 3\n", NULL, NULL, 3);
    numbers("numprocesses = 3\ntx = 'ssh=h'\n", NULL, NULL, 3);
    numbers("numprocesses = 3\n", "XD_TX=ssh=h", NULL, XD_WORKERS_UNSET);
    numbers("numprocesses = 3\n", NULL, "--tx=ssh=h", XD_WORKERS_UNSET);
    numbers("numprocesses = 3\n", NULL, "--hosts=h", XD_WORKERS_UNSET);
    numbers("tx = 'ssh=h'\n", "XD_NUMPROCESSES=4", NULL, 4);
    numbers("tx = 'ssh=h'\n", NULL, "-n5", 5);
    numbers("numprocesses = 3\n", "XD_TX=ssh=h", "-n5", 5);
}
END_TEST

START_TEST(a_flag_of_the_command_line_over_a_mode_of_a_file)
{
    char      *typed[] = { (char *)"-d" };
    char       line[XD_TEXT];
    xd_config *with = NULL;
    ck_assert_int_eq(file("dist = 'loadfile'\n"), 0);
    add(NULL);
    ck_assert_int_eq(xd_config_copy(&with, cfg), 0);
    ck_assert_int_eq(xd_config_parse(with, 1, typed, line), 0);
    ck_assert_int_eq(xd_config_values_apply(&values, with, cfg), 0);
    ck_assert_ptr_null(cfg->dist);
    xd_config_free(with);
}
END_TEST

START_TEST(environment_variables)
{
    char *const fine[] = {
        (char *)"XD_NO_FORK=true",  (char *)"XD_AS_MODULE=0",   (char *)"XD_TOKEN=x", (char *)"XD_TRACE=/t",
        (char *)"XD_AGENT=/a/b",    (char *)"XD_UNLIKE_ALL=1",  (char *)"XD_LOG=x",   (char *)"XD",
        (char *)"XD_WORKER_COUNT=", (char *)"OTHER_XD_DIST=no", (char *)"XD_=1",      NULL
    };
    ck_assert_int_eq(xd_config_environ(fine, &values, &notes, &err), 0);
    apply();
    ck_assert(cfg->no_fork && !cfg->as_module);
    ck_assert_ptr_null(cfg->agent); /* who looks for the agent reads it */
    shows("agent", "/a/b (XD_AGENT)");
    shows("as-module", "false (XD_AS_MODULE)");
    ck_assert_uint_eq(notes.count, 0);
    char *const near[] = { (char *)"XD_NUMPROCESES=4", (char *)"XD_TOEKN=x", (char *)"XD_DIST_=no", NULL };
    ck_assert_int_eq(xd_config_environ(near, &values, &notes, &err), 0);
    ck_assert_uint_eq(notes.count, 3);
    ck_assert_str_eq(notes.at[0],
                     "environment variable XD_NUMPROCESES: xd does not know it; is XD_NUMPROCESSES meant?");
    ck_assert_str_eq(notes.at[1], "environment variable XD_TOEKN: xd does not know it; is XD_TOKEN meant?");
    ck_assert_str_eq(notes.at[2], "environment variable XD_DIST_: xd does not know it; is XD_DIST meant?");
}
END_TEST

START_TEST(variables_that_are_not_valid)
{
    static const struct {
        const char *variable, *line;
    } bad[] = {
        { "XD_NUMPROCESSES=many",
          "XD_NUMPROCESSES: 'many' is not valid: it is a number from 0 to 1024, auto or logical" },
        { "XD_NO_FORK=maybe", "XD_NO_FORK: 'maybe' is not valid: it is 1, true, yes, 0, false or no" },
        { "XD_TX=ssh=a 'b", "XD_TX: 'ssh=a 'b' is not valid: a quote is not closed" },
        { "XD_TX=nix", "XD_TX: bad spec 'nix': " },
        { "XD_ON_LOST=x", "XD_ON_LOST: 'x' is not valid: it is one of rerun|fail" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char *const variables[] = { (char *)bad[i].variable, NULL };
        ck_assert_int_eq(xd_config_environ(variables, &values, &notes, &err), -EINVAL);
        ck_assert_msg(strncmp(err.text, bad[i].line, strlen(bad[i].line)) == 0, "%s", err.text);
    }
}
END_TEST

static int hosts(const char *spec)
{
    xd_config_free(cfg);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    ck_assert_int_eq(xd_config_set(cfg, "tx", "popen", NULL), 0);
    ck_assert_int_eq(xd_config_set(cfg, "tx", spec, NULL), 0);
    return xd_config_file_hosts(files, count, cfg, &err);
}

START_TEST(lists_of_hosts)
{
    ck_assert_int_eq(file("[hosts]\nlab = ['ssh=h1', '2*ssh=h2//chdir=c']\none = 'popen//env:A=b'\nauto = "
                          "['ssh=h//cpus=auto']\nid = ['ssh=h//id=x']\nnobody = []\n"),
                     0);
    ck_assert_int_eq(hosts("@lab"), 0);
    shows("tx", "popen (program) | ssh=h1 (@lab, program) | 2*ssh=h2//chdir=c (@lab, program)");
    ck_assert_uint_eq(cfg->tx.count, 3);
    ck_assert_int_eq(hosts("3*@lab//python=py"), 0);
    shows("tx", "popen (program) | 3*ssh=h1//python=py (@lab, program) | 6*ssh=h2//chdir=c//python=py (@lab, "
                "program)");
    ck_assert_int_eq(hosts("@one"), 0);
    shows("tx", "popen (program) | popen//env:A=b (@one, program)");
    ck_assert_int_eq(hosts("@lba"), -EINVAL);
    ck_assert_str_eq(err.text, "option --tx: there is no list of hosts 'lba'; is @lab meant?");
    ck_assert_int_eq(hosts("@nothing-like-it"), -EINVAL);
    ck_assert_str_eq(err.text, "option --tx: there is no list of hosts 'nothing-like-it': lists stand in a "
                               "table [hosts] of xd.toml");
    ck_assert_int_eq(hosts("@nobody"), -EINVAL); /* all would run here */
    ck_assert_str_eq(err.text, "option --tx: the list of hosts 'nobody' is empty (xd.toml:6)");
    ck_assert_int_eq(hosts("2*@auto"), -EINVAL);
    ck_assert_str_eq(err.text, "option --tx: 'ssh=h//cpus=auto' cannot be had 2 times: it has as many "
                               "workers as its host has processors");
    ck_assert_int_eq(hosts("1024*@lab"), -EINVAL);
    ck_assert_str_eq(
        err.text,
        "option --tx: '2*ssh=h2//chdir=c' cannot be had 1024 times: a spec has at most 1024 workers");
    ck_assert_int_eq(hosts("0*@lab"), -EINVAL);
    ck_assert_str_eq(err.text, "option --tx: '0*@lab': the number before * is from 1 to 1024");
    ck_assert_int_eq(hosts("2*@id"), -EINVAL);
    ck_assert(strstr(err.text, "id= names one worker"));
    ck_assert_int_eq(hosts("@lab//nix=1"), -EINVAL);
    ck_assert(strncmp(err.text, "option --tx: bad spec 'ssh=h1//nix=1': ", 39) == 0);
}
END_TEST

START_TEST(a_list_in_a_file_of_hosts)
{
    char path[] = "/tmp/xd-hosts-XXXXXX", text[256];
    int  fd = mkstemp(path);
    ck_assert(fd >= 0 && write(fd, "8/h1\nh2:2222\n", 13) == 13);
    snprintf(text, sizeof(text), "[hosts]\nlab = { file = '%s' }\nnone = { file = 'not-there' }\n", path);
    ck_assert_int_eq(file(text), 0);
    ck_assert_int_eq(hosts("@lab"), 0);
    shows("tx", "popen (program) | 8*ssh=h1 (@lab, program) | ssh=-p 2222 h2//cpus=auto (@lab, program)");
    ck_assert_int_eq(hosts("@none"), -EINVAL);
    ck_assert_str_eq(err.text, "xd.toml:3: hosts.none: cannot read /p/not-there: No such file or directory");
    ck_assert(ftruncate(fd, 0) == 0 && pwrite(fd, "@bad\n", 5, 0) == 5);
    ck_assert_int_eq(hosts("@lab"), -EINVAL);
    ck_assert(strncmp(err.text, "xd.toml:2: hosts.lab: /tmp/xd-hosts-", 36) == 0 &&
              strstr(err.text, ":1: '@bad': "));
    close(fd);
    unlink(path);
}
END_TEST

START_TEST(lists_that_are_not_valid)
{
    refused("[hosts]\nlab = 3\n", "xd.toml:2: hosts.lab: it takes a list of specs, or { file = \"hosts.txt\" "
                                  "}, and a whole number stands there");
    refused("[hosts]\nlab = [3]\n",
            "xd.toml:2: hosts.lab: it takes specs, such as \"4*ssh=host\", and a whole number stands there");
    refused("[hosts]\nlab = ['@other']\n", "xd.toml:2: hosts.lab: '@other': a list cannot name another one");
    refused("[hosts]\nlab = ['nix']\n",
            "xd.toml:2: hosts.lab: bad spec 'nix': unknown key 'nix' (a host is ssh=HOST); known are popen, "
            "ssh, socket, command, "
            "ssh_config, via, python, chdir, env:NAME, id, nice, cpus=auto, dont_write_bytecode, execmodel");
    refused("[hosts]\n'a b' = ['popen']\n",
            "xd.toml:2: hosts: 'a b' is no name for a list: it takes letters, digits, _, . and -");
    refused("[hosts]\nlab = {}\n",
            "xd.toml:2: hosts.lab: file = it takes the path of a list of hosts, as a string");
}
END_TEST

START_TEST(nearest)
{
    static const char *const names[] = { "dist", "tx", "px", "max-worker-restart", NULL };
    ck_assert_str_eq(xd_nearest("dits", names, 4), "dist");
    ck_assert_str_eq(xd_nearest("max_worker_restarts", names, 4), "max-worker-restart");
    ck_assert_ptr_null(xd_nearest("log", names, 4));
    ck_assert_ptr_null(xd_nearest("", names, 4));
    ck_assert_uint_eq(xd_nearest_distance("abc", "abc"), 0);
    ck_assert_uint_eq(xd_nearest_distance("", "abc"), 3);
    ck_assert_uint_eq(xd_nearest_distance("acb", "abc"), 1);
    ck_assert_uint_eq(xd_nearest_distance("kitten", "sitting"), 3);
    char longer[80];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[79] = 0;
    ck_assert_uint_eq(xd_nearest_distance(longer, "a"), SIZE_MAX);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("config_file");
    TCase *t = tcase_create("config_file");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_kind_of_value);
    tcase_add_test(t, wrong_kinds);
    tcase_add_test(t, unknown_keys);
    tcase_add_test(t, paths_count_from_the_file);
    tcase_add_test(t, profiles_inherit);
    tcase_add_test(t, the_profile_default);
    tcase_add_test(t, profiles_that_are_not_there);
    tcase_add_test(t, very_many_profiles);
    tcase_add_test(t, what_is_no_name_of_a_profile);
    tcase_add_test(t, which_counts);
    tcase_add_test(t, an_empty_list_takes_away);
    tcase_add_test(t, numbers_and_specs);
    tcase_add_test(t, a_flag_of_the_command_line_over_a_mode_of_a_file);
    tcase_add_test(t, environment_variables);
    tcase_add_test(t, variables_that_are_not_valid);
    tcase_add_test(t, lists_of_hosts);
    tcase_add_test(t, a_list_in_a_file_of_hosts);
    tcase_add_test(t, lists_that_are_not_valid);
    tcase_add_test(t, nearest);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
