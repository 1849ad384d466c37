/* needs: engine actors gateways */
/* Options that a project says itself: addopts, $PYTEST_ADDOPTS, conftest.py; what they come to beside the command line. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/project_options.h"
#include "actors/spec_folder.h"
#include "actors/sync_path.h"
#include "engine/base/path.h"

static char            top[64];
static xd_error        err;
static xd_config      *cfg;
static xd_project_told told;

static void setup(void)
{
    snprintf(top, sizeof(top), "/tmp/xd-project-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    ck_assert_int_eq(unsetenv("PYTEST_ADDOPTS"), 0);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    xd_project_told_release(&told);
    xd_config_free(cfg);
    (void)xd_path_remove_tree(top);
}

static void make(const char *name, const char *text)
{
    xd_autofree char *path = xd_path_join(top, name), *dir = path ? xd_path_dir(path) : NULL;
    ck_assert_ptr_nonnull(dir);
    ck_assert_int_eq(xd_path_mkdirs(dir, 0700, NULL), 0);
    if (name[strlen(name) - 1] != '/')
        ck_assert_int_eq(xd_path_write_file(path, xd_bytes_str(text), 0600, NULL), 0);
}

static void again(void)
{
    xd_config_free(cfg);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    xd_project_told_release(&told);
    err = (xd_error){ 0 };
}

static void parse(va_list ap)
{
    char *argv[16] = { 0 };
    int   argc = 0;
    char  text[XD_TEXT] = "";
    for (const char *arg; (arg = va_arg(ap, const char *));)
        argv[argc++] = strdup(arg);
    int r = xd_config_parse(cfg, argc, argv, text);
    ck_assert_msg(r == 0, "%s", text);
    while (argc)
        free(argv[--argc]);
}

/* Reads the project in this folder, with these options on the command line (up to NULL). */
static int take_in(const char *folder, ...)
{
    xd_autofree char *work = xd_path_join(top, folder);
    va_list           ap;
    again();
    va_start(ap, folder);
    parse(ap);
    va_end(ap);
    ck_assert_int_eq(xd_config_set(cfg, "work-dir", work, NULL), 0);
    return xd_project_options_take(cfg, &told, &err);
}
#define TAKE(...) take_in(__VA_ARGS__, (const char *)NULL)

static const char *joined(const xd_strings *s)
{
    static char all[2048];
    all[0] = 0;
    for (size_t i = 0; i < s->count; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? " | " : "", s->at[i]);
    return all;
}

static void taken(int r, const char *tx, const char *from)
{
    ck_assert_msg(r == 0, "%s", err.text);
    ck_assert_str_eq(joined(&cfg->tx), tx);
    ck_assert_str_eq(joined(&cfg->found.tx_from), from);
}

static void refused(int r, const char *said)
{
    ck_assert_int_eq(r, -EINVAL);
    ck_assert_msg(strncmp(err.text, said, strlen(said)) == 0 && !strchr(err.text, '\n'), "%s", err.text);
}

/* ---- what they come to ------------------------------------------------------------------------------------ */

typedef struct said {
    const char   *name, *value;
    xd_words_from place;
} said;

#define C XD_WORDS_CONFTEST
#define A XD_WORDS_ADDOPTS
#define E XD_WORDS_ENVIRONMENT
#define T XD_WORDS_TYPED

static const struct {
    const char *own[3]; /* option, value */
    said        all[6];
    const char *tx, *dist;
    int         limit;
} sums[] = {
    { { NULL }, { { "tx", "popen", C } }, "popen", NULL, 0 },
    { { NULL },
      { { "tx", "ssh=a", C }, { "tx", "ssh=b", A }, { "tx", "ssh=c", E }, { "tx", "ssh=d", T } },
      "ssh=a | ssh=b | ssh=c | ssh=d",
      NULL,
      0 },
    { { "tx", "popen" }, { { "tx", "ssh=a", C }, { "tx", "ssh=b", A } }, "ssh=a | ssh=b | popen", NULL, 0 },
    /* -n is more than the specs of its place and of those before */
    { { "numprocesses", "2" }, { { "tx", "ssh=a", C }, { "tx", "ssh=b", E } }, "", NULL, 0 },
    { { NULL }, { { "tx", "ssh=a", C }, { "numprocesses", "4", A }, { "tx", "ssh=b", A } }, "", NULL, 0 },
    { { NULL },
      { { "tx", "ssh=a", C }, { "numprocesses", "0", A }, { "tx", "ssh=b", E } },
      "ssh=b",
      NULL,
      0 },
    { { "tx", "popen" }, { { "tx", "ssh=a", C }, { "numprocesses", "4", A } }, "popen", NULL, 0 },
    { { NULL }, { { "tx", "ssh=a", A }, { "numprocesses", "auto", E } }, "", NULL, 0 },
    /* of single ones the last place counts */
    { { NULL }, { { "dist", "loadfile", C }, { "dist", "loadscope", A } }, "", "loadscope", 0 },
    { { NULL },
      { { "dist", "loadfile", A }, { "dist", "loadscope", A }, { "d", "1", C } },
      "",
      "loadscope",
      0 },
    { { NULL }, { { "dist", "loadfile", A }, { "d", "1", E } }, "", "load", 0 },
    { { NULL }, { { "d", "1", A }, { "dist", "loadfile", A } }, "", "load", 0 },
    { { "dist", "loadgroup" }, { { "dist", "loadfile", E } }, "", "loadgroup", 0 },
    { { "d", "1" }, { { "dist", "loadfile", E } }, "", "load", 0 },
    /* as in xdist, -n N --dist no distributes */
    { { NULL }, { { "dist", "no", C } }, "", "no", 0 },
    { { NULL }, { { "dist", "no", A }, { "numprocesses", "3", E } }, "", NULL, 0 },
    { { "numprocesses", "3" }, { { "dist", "no", A } }, "", NULL, 0 },
    { { "numprocesses", "3" }, { { "dist", "loadfile", A } }, "", "loadfile", 0 },
    { { NULL }, { { "maxprocesses", "3", A }, { "maxprocesses", "4", E } }, "", NULL, 4 },
    { { "maxprocesses", "2" }, { { "maxprocesses", "3", A } }, "", NULL, 2 },
    { { NULL }, { { "maxprocesses", "-2", A } }, "", NULL, 0 }, /* pytest's to refuse */
};

START_TEST(sum)
{
    xd_said_option all[XD_ARRAY_LEN(sums[0].all)];
    char           from[] = "x.ini:1", text[XD_TEXT];
    size_t         n = 0;
    if (sums[_i].own[0])
        ck_assert_int_eq(xd_config_set(cfg, sums[_i].own[0], sums[_i].own[1], text), 0);
    for (const said *s = sums[_i].all; n < XD_ARRAY_LEN(all) && s->name; s++)
        all[n++] = (xd_said_option){ s->name, (char *)(uintptr_t)s->value, from, s->place };
    ck_assert_msg(xd_project_options_settle(cfg, all, n, &told, &err) == 0, "%s", err.text);
    ck_assert_str_eq(joined(&cfg->tx), sums[_i].tx);
    ck_assert_pstr_eq(xd_config_dist(cfg), sums[_i].dist);
    ck_assert_int_eq(cfg->max_workers, sums[_i].limit);
}
END_TEST

/* ---- from files --------------------------------------------------------------------------------------------- */

START_TEST(a_conftest)
{
    make("w/mypkg/conftest.py",
         "import os\n\npytest_option_tx = ['ssh=myhost//python=python2.5',\n    'popen//python=python2.5']\n"
         "pytest_option_dist = True\n");
    make("w/mypkg/test_a.py", "");
    taken(TAKE("w", "mypkg"), "ssh=myhost//python=python2.5 | popen//python=python2.5",
          "mypkg/conftest.py:3 | mypkg/conftest.py:4");
    ck_assert_str_eq(cfg->found.dist, "load");
    ck_assert_str_eq(joined(&told.details),
                     "--tx ssh=myhost//python=python2.5 (mypkg/conftest.py:3) | --tx popen//python=python2.5 "
                     "(mypkg/conftest.py:4) | --dist load (mypkg/conftest.py:5)");
    ck_assert_uint_eq(cfg->found.known.count, 0);
    taken(TAKE("w/mypkg", "--tx", "popen", "--dist=loadfile"),
          "ssh=myhost//python=python2.5 | popen//python=python2.5 | popen", "conftest.py:3 | conftest.py:4");
    ck_assert_ptr_null(cfg->found.dist);
    taken(TAKE("w", "-n2", "mypkg"), "", "");
    ck_assert_ptr_nonnull(strstr(
        joined(&told.details), "--tx popen//python=python2.5 (mypkg/conftest.py:4) has no effect: -n says"));
    taken(TAKE("w", "--noconftest", "mypkg"), "", "");
    taken(TAKE("w"), "", ""); /* pytest starts in w, whose folders' conftests are found by collecting */
}
END_TEST

static const struct {
    const char *text, *tx, *dist, *note; /* note: how it begins, behind "conftest.py:" */
} values[] = {
    { "option_tx = 'popen'\noption_dist = 'loadfile'\n", "popen", "loadfile", NULL },
    { "option_tx = ('2*popen', u'popen//id=' 'a')\noption_dist = False\n", "2*popen | popen//id=a", "no",
      NULL },
    { "option_tx = []\noption_dist = None\n", "", NULL, NULL },
    { "option_tx = None\n", "", NULL, NULL },
    { "pytest_option_tx = ['popen']\noption_tx = ['2*popen']\n", "popen", NULL, NULL },
    { "option_tx = pytest_option_tx = ['popen']\n", "popen", NULL, NULL },
    { "option_tx = SPECS\n", "", NULL,
      "1: option_tx is not a list of plain strings, or one string, that could be read" },
    { "import x\noption_tx = x.specs()\n", "", NULL, "2: option_tx is not" },
    { "option_tx = [f'popen//id={a}']\n", "", NULL, "1: option_tx is not" },
    { "option_tx = 3\n", "", NULL, "1: option_tx is not" },
    { "option_tx = True\n", "", NULL, "1: option_tx is not" },
    { "option_tx = [1, 'popen']\n", "", NULL, "1: option_tx is not" },
    { "if 1:\n    option_tx = ['popen']\n", "", NULL, "2: option_tx is not" },
    { "option_dist = 1\n", "", NULL, "1: option_dist is not True, False or a plain string" },
    { "option_dist = ['load']\n", "", NULL, "1: option_dist is not True" },
    { "def f():\n    option_tx = ['popen']\n", "", NULL, NULL },
};

START_TEST(value)
{
    make("w/conftest.py", values[_i].text);
    make("w/test_a.py", "");
    ck_assert_msg(TAKE("w") == 0, "%s", err.text);
    ck_assert_str_eq(joined(&cfg->tx), values[_i].tx);
    ck_assert_pstr_eq(cfg->found.dist, values[_i].dist);
    ck_assert_uint_eq(told.notes.count, values[_i].note != NULL);
    if (values[_i].note)
        ck_assert_msg(strncmp(told.notes.at[0], "conftest.py:", 12) == 0 &&
                          strncmp(told.notes.at[0] + 12, values[_i].note, strlen(values[_i].note)) == 0,
                      "%s", told.notes.at[0]);
}
END_TEST

START_TEST(bad_values)
{
    make("w/test_a.py", "");
    make("w/conftest.py", "option_tx = ['popen',\n'popen//colour=red']\n");
    refused(TAKE("w"), "conftest.py:2: bad spec 'popen//colour=red': unknown key 'colour'");
    refused(TAKE("w", "--tx=popen"), "conftest.py:2: bad spec");
    taken(TAKE("w", "-n2"), "", ""); /* overridden */
    make("w/conftest.py", "option_tx = ''\n");
    refused(TAKE("w"), "conftest.py:1: bad spec '': it is empty");
    make("w/conftest.py", "option_dist = 'sideways'\n");
    refused(TAKE("w"), "conftest.py:1: option --dist: 'sideways' is not valid");
    taken(TAKE("w", "-d"), "", "");
    make("w/conftest.py", "");
    make("w/tox.ini", "[pytest]\naddopts =\n  -q\n  --tx=ssh=\n");
    refused(TAKE("w"), "tox.ini:4: bad spec 'ssh='");
    refused(TAKE("w", "-o", "addopts=--dist x"), "-o addopts: option --dist: 'x' is not valid");
    setenv("PYTEST_ADDOPTS", "--tx nix", 1);
    refused(TAKE("w", "-o", "addopts="), "$PYTEST_ADDOPTS: bad spec 'nix'");
    taken(TAKE("w", "--override-ini=addopts=", "-n", "1"), "", "");
}
END_TEST

START_TEST(which_conftests)
{
    make("w/pytest.ini", "[pytest]\n");
    make("conftest.py", "option_tx = ['ssh=above']\n");
    make("w/conftest.py", "option_tx = ['ssh=top']\noption_dist = 'loadscope'\n");
    make("w/a/conftest.py", "option_tx = ['ssh=a']\n");
    make("w/a/deep/test_a.py", "");
    make("w/b/conftest.py", "option_dist = 'loadfile'\n");
    make("w/b/test_b.py", "");
    make("w/c/test_c.py", "");
    taken(TAKE("w"), "ssh=top", "conftest.py:1");
    taken(TAKE("w", "a/deep"), "ssh=a", "a/conftest.py:1");
    ck_assert_str_eq(cfg->found.dist, "loadscope");
    taken(TAKE("w", "b/test_b.py::test_x"), "ssh=top", "conftest.py:1");
    ck_assert_str_eq(cfg->found.dist, "loadfile");
    taken(TAKE("w", "b", "a", "c"), "ssh=top | ssh=a", "conftest.py:1 | a/conftest.py:1");
    ck_assert_str_eq(cfg->found.dist, "loadfile");
    taken(TAKE("w", "--confcutdir=a", "a/deep"), "ssh=a", "a/conftest.py:1");
    taken(TAKE("w", "--confcutdir", "..", "c"), "ssh=top", "conftest.py:1");
    taken(TAKE("w", "--confcutdir=c", "c"), "", "");
    taken(TAKE("w", "--confcutdir=c", "a"), "ssh=a",
          "a/conftest.py:1"); /* one beside it counts, as in pytest */
    taken(TAKE("w/c", "../a"), "ssh=a", "../a/conftest.py:1");
    make("w/pytest.ini", "[pytest]\ntestpaths = a b\n");
    taken(TAKE("w"), "ssh=a | ssh=top", "a/conftest.py:1 | conftest.py:1");
}
END_TEST

START_TEST(all_places)
{
    make("w/pyproject.toml", "[tool.pytest.ini_options]\naddopts = [\n  '--tx', 'ssh=b//chdir=x',\n  "
                             "'--px=ssh=g//id=g', '--rsyncdir=.', '--testrunuid=u', '-d']\n");
    make("w/conftest.py", "option_tx = 'ssh=a'\n");
    setenv("PYTEST_ADDOPTS", "-q --tx \"ssh=-p 22 c\"", 1);
    taken(TAKE("w", "--tx", "ssh=e", "--", "--tx", "ssh=d"),
          "ssh=a | ssh=b//chdir=x | ssh=-p 22 c | ssh=d | ssh=e",
          "conftest.py:1 | pyproject.toml:3 | $PYTEST_ADDOPTS | the command line");
    ck_assert_str_eq(joined(&cfg->px), "ssh=g//id=g");
    ck_assert_str_eq(joined(&cfg->found.px_from), "pyproject.toml:4");
    ck_assert_str_eq(joined(&cfg->found.known), "ssh=b//chdir=x | ssh=g//id=g | ssh=-p 22 c | ssh=d");
    ck_assert_str_eq(cfg->run_uid, "u");
    ck_assert_str_eq(cfg->found.dist, "load");
    taken(TAKE("w", "-c", "nix.ini"), "", ""); /* pytest says that it is not there */
    taken(TAKE("w", "--runner=command"), "", "");
    make("etc/my.ini", "[pytest]\naddopts = --tx ssh=z\n");
    setenv("PYTEST_ADDOPTS", "-c ../etc/my.ini", 1);
    taken(TAKE("w"), "ssh=a | ssh=z", "conftest.py:1 | ../etc/my.ini:2");
    setenv("PYTEST_ADDOPTS", "'open", 1); /* pytest says it */
    taken(TAKE("w"), "ssh=a | ssh=b//chdir=x", "conftest.py:1 | pyproject.toml:3");
    setenv("PYTEST_ADDOPTS", "-k --tx=no -p --tx --confcutdir . --durations 3 -x",
           1); /* values of other options */
    taken(TAKE("w"), "ssh=a | ssh=b//chdir=x", "conftest.py:1 | pyproject.toml:3");
}
END_TEST

/* ---- paths --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *spec, *made; /* TOP stands for the folder of the test */
} paths[] = {
    { "popen", "popen" },
    { "3*popen//python=../venv/bin/python//chdir=..//nice=1",
      "3*popen//python=TOP/venv/bin/python//chdir=TOP//nice=1" },
    { "2*python=./py//popen", "2*python=TOP/w/py//popen" },
    { "popen//python=python3.9//chdir=/x//env:A=../b", "popen//python=python3.9//chdir=/x//env:A=../b" },
    { "popen//python=~/py//chdir=~/x", "popen//python=~/py//chdir=~/x" },
    { "popen//python=../venv/bin/python -X dev", "popen//python=TOP/venv/bin/python -X dev" },
    { "popen//python=../my venv/python", "popen//python=TOP/my venv/python" },
    { "popen//python=conda run -n x/y python", "popen//python=conda run -n x/y python" },
    { "popen//chdir=nix/there", "popen//chdir=TOP/w/nix/there" },
    { "popen//chdir=link", "popen//chdir=TOP/my venv" },
    { "popen//chdir=sub//via=h", "popen//chdir=sub//via=h" },
    { "ssh=h//python=../py//chdir=x//ssh_config=../cfg", "ssh=h//python=../py//chdir=x//ssh_config=TOP/cfg" },
    { "socket=h:1//chdir=x", "socket=h:1//chdir=x" },
    { "command=./in box//chdir=x", "command=TOP/w/in box//chdir=x" },
    { "command=docker exec -i ./box", "command=docker exec -i ./box" },
    { "command='./in' box", "command='./in' box" },
    { "popen//nix=../a", "popen//nix=../a" }, /* bad: stays as it is */
    { "", "" },
};

START_TEST(paths_count_from_the_folder_of_the_file)
{
    xd_autofree char *real = NULL, *spec = NULL, *dir = xd_path_join(top, "w"),
                     *link = xd_path_join(top, "w/link");
    xd_autobuf want = XD_BUF_INIT;
    make("venv/bin/python", "");
    make("my venv/python", "");
    make("w/x", "");
    ck_assert_int_eq(symlink("../my venv", link), 0);
    ck_assert_int_eq(xd_sync_path_real(top, &real, NULL), 0);
    ck_assert_int_eq(xd_spec_in_folder(paths[_i].spec, dir, &spec), 0);
    for (const char *c = paths[_i].made; *c; c++) {
        const bool is_top = strncmp(c, "TOP", 3) == 0;
        ck_assert_int_eq(is_top ? xd_buf_add_str(&want, real) : xd_buf_add_byte(&want, (uint8_t)*c), 0);
        c += is_top ? 2 : 0;
    }
    ck_assert_str_eq(spec, xd_buf_cstr(&want));
}
END_TEST

/* A folder with blanks in its name, in front of a command line. */
START_TEST(a_folder_that_needs_quotes)
{
    xd_autofree char *real = NULL, *spec = NULL, *dir = xd_path_join(top, "my proj");
    char              want[256];
    make("my proj/py", "");
    ck_assert_int_eq(xd_sync_path_real(top, &real, NULL), 0);
    ck_assert_int_eq(xd_spec_in_folder("popen//python=./py -O", dir, &spec), 0);
    snprintf(want, sizeof(want), "popen//python='%s/my proj/py' -O", real);
    ck_assert_str_eq(spec, want);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("project_options");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, sum, 0, (int)XD_ARRAY_LEN(sums));
    tcase_add_test(t, a_conftest);
    tcase_add_loop_test(t, value, 0, (int)XD_ARRAY_LEN(values));
    tcase_add_test(t, bad_values);
    tcase_add_test(t, which_conftests);
    tcase_add_test(t, all_places);
    tcase_add_loop_test(t, paths_count_from_the_folder_of_the_file, 0, (int)XD_ARRAY_LEN(paths));
    tcase_add_test(t, a_folder_that_needs_quotes);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
