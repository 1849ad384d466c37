/* needs: engine actors gateways */
/* Which files a run brings to its hosts: real projects in a folder of their own. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/sync_path.h"
#include "actors/sync_python.h"
#include "actors/sync_roots.h"
#include "engine/base/path.h"

static char         top[64];
static xd_error     err;
static xd_sync_plan plan;
static xd_config   *cfg;
static const char  *spec_text;
static char        *home_before;

static void setup(void)
{
    snprintf(top, sizeof(top), "/tmp/xd-roots-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    home_before = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    ck_assert_int_eq(setenv("HOME", "/nonexistent", 1), 0);
    ck_assert_int_eq(unsetenv("PYTEST_ADDOPTS"), 0);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    plan = XD_SYNC_PLAN_INIT;
    err = (xd_error){ 0 };
    spec_text = "ssh=far";
}

static void teardown(void)
{
    xd_sync_plan_release(&plan);
    xd_config_free(cfg);
    free(home_before);
    (void)xd_path_remove_tree(top);
}

static char *below(const char *name)
{
    char *path = xd_path_join(top, name);
    ck_assert_ptr_nonnull(path);
    return path;
}

static void make(const char *name, const char *text)
{
    xd_autofree char *path = below(name), *dir = xd_path_dir(path);
    ck_assert_int_eq(xd_path_mkdirs(dir, 0700, NULL), 0);
    if (name[strlen(name) - 1] != '/')
        ck_assert_int_eq(xd_path_write_file(path, xd_bytes_str(text), 0600, NULL), 0);
}

static void link_to(const char *target, const char *name)
{
    xd_autofree char *path = below(name);
    ck_assert_int_eq(symlink(target, path), 0);
}

/* What the options (up to NULL) come to in this folder. */
static int run_in(const char *folder, ...)
{
    char   *argv[16] = { 0 };
    int     argc = 0;
    char    text[XD_TEXT] = "";
    va_list ap;
    va_start(ap, folder);
    for (const char *arg; (arg = va_arg(ap, const char *));)
        argv[argc++] = strdup(arg);
    va_end(ap);
    int r = xd_config_parse(cfg, argc, argv, text);
    ck_assert_msg(r == 0, "%s", text);
    while (argc)
        free(argv[--argc]);
    xd_xspec        spec;
    const xd_xspec *specs[] = { &spec };
    xd_folders      where = { .work = below(folder) };
    ck_assert_int_eq(xd_xspec_parse(&spec, spec_text, NULL), 0);
    xd_sync_plan_release(&plan);
    r = xd_sync_plan_make(&plan, cfg, specs, 1, &where, &err);
    xd_xspec_release(&spec);
    free(where.work);
    return r;
}
#define RUN(...) run_in(__VA_ARGS__, (const char *)NULL)

static const char *joined(const xd_strings *s)
{
    static char all[1024];
    all[0] = 0;
    for (size_t i = 0; i < s->count; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? " " : "", s->at[i]);
    return all;
}

static void planned(int r, const char *base, const char *roots, const char *cwd, const char *rootdir)
{
    ck_assert_msg(r == 0, "%s", err.text);
    ck_assert_msg(plan.base != NULL, "nothing: %s", plan.why);
    ck_assert_ptr_nonnull(strstr(plan.base, top));
    ck_assert_str_eq(plan.base + strlen(top), base);
    ck_assert_str_eq(joined(&plan.roots), roots);
    ck_assert_str_eq(plan.cwd, cwd);
    ck_assert_str_eq(plan.rootdir, rootdir);
}

static void refused(int r, const char *words)
{
    ck_assert_int_eq(r, -EINVAL);
    ck_assert_msg(strstr(err.text, words) && !strchr(err.text, '\n'), "'%s' is not in: %s", words, err.text);
    ck_assert_ptr_null(plan.base);
}

static const char *globs(void)
{
    static char all[512];
    all[0] = 0;
    for (size_t i = 0; i < plan.n_ignore; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s%s%s", i ? " " : "",
                 plan.ignore[i].dir ? plan.ignore[i].dir : "", plan.ignore[i].dir ? ":" : "",
                 plan.ignore[i].glob);
    return all;
}

/* ---- where roots come from ------------------------------------------------------------------------------- */

START_TEST(the_command_line_of_the_seed)
{
    make("w/mypkg/test_a.py", "");
    planned(RUN("w", "-d", "--rsyncdir", "mypkg", "mypkg"), "/w", "mypkg", ".", ".");
    ck_assert(plan.named);
    ck_assert_msg(strstr(plan.why, "mypkg (--rsyncdir)"), "%s", plan.why);
    ck_assert_uint_eq(plan.notes.count, 0);
}
END_TEST

START_TEST(what_pytest_reads_beside_the_roots_goes_along)
{
    make("w/pytest.ini", "[pytest]\n");
    make("w/conftest.py", "");
    make("w/tests/conftest.py", "");
    make("w/tests/__init__.py", "");
    make("w/tests/unit/test_a.py", "");
    make("w/tests/other/conftest.py", "");
    make("w/src/pkg/a.py", "");
    make("conftest.py", "");
    planned(RUN("w", "--rsyncdir=src", "--rsyncdir", "tests/unit/", "tests/unit"), "/w",
            "conftest.py pytest.ini src tests/__init__.py tests/conftest.py tests/unit", ".", ".");
}
END_TEST

START_TEST(a_setup_py_that_makes_the_rootdir_goes_along)
{
    make("w/setup.py", "");
    make("w/pkg/test_a.py", "");
    planned(RUN("w/pkg", "--rsyncdir=."), "/w", "pkg setup.py", "pkg", ".");
}
END_TEST

START_TEST(relative_names_work_from_any_folder)
{
    make("w/pytest.ini", "[pytest]\nrsyncdirs = src ../lib\n");
    make("w/src/a.py", "");
    make("lib/b.py", "");
    make("w/tests/deep/test_a.py", "");
    planned(RUN("w/tests/deep", "--rsyncdir", "..", "."), "", "lib w/pytest.ini w/src w/tests",
            "w/tests/deep", "w");
    ck_assert_msg(strstr(plan.why, "w/tests (--rsyncdir)") &&
                      strstr(plan.why, "lib (rsyncdirs of ../../pytest.ini)"),
                  "%s", plan.why);
}
END_TEST

START_TEST(lists_in_a_conftest)
{
    make("w/mypkg/conftest.py", "rsyncdirs = ['.', '../plugins']\nrsyncignore = ['_cache']\n");
    make("w/mypkg/test_a.py", "");
    make("w/plugins/p.py", "");
    planned(RUN("w", "mypkg"), "/w", "mypkg plugins", ".", ".");
    ck_assert_str_eq(globs(), "mypkg:_cache");
    planned(RUN("w/mypkg"), "/w", "mypkg plugins", "mypkg", "mypkg");
}
END_TEST

START_TEST(the_nearest_conftest_counts_for_each_argument)
{
    make("w/pytest.ini", "[pytest]\n");
    make("w/conftest.py", "rsyncdirs = ['a', 'b', 'c']\nrsyncignore = ['x']\n");
    make("w/a/conftest.py", "rsyncdirs = ['.']\n");
    make("w/a/test_a.py", "");
    make("w/b/conftest.py", "rsyncdirs = ['.', '../d']\nrsyncignore = ['y']\n");
    make("w/b/test_b.py", "");
    make("w/c/c.py", "");
    make("w/d/d.py", "");
    planned(RUN("w", "a/test_a.py::test_x"), "/w", "a conftest.py pytest.ini", ".", ".");
    ck_assert_str_eq(globs(), ":x");
}
END_TEST

START_TEST(conftests_of_several_arguments_add_up)
{
    make("w/pytest.ini", "[pytest]\n");
    make("w/conftest.py", "rsyncignore = ['x']\n");
    make("w/a/conftest.py", "rsyncdirs = ['.']\n");
    make("w/a/test_a.py", "");
    make("w/b/conftest.py", "rsyncdirs = ['.', '../d']\nrsyncignore = ['y']\n");
    make("w/b/test_b.py", "");
    make("w/b/e/test_e.py", "");
    make("w/d/d.py", "");
    planned(RUN("w", "a", "b", "b/e"), "/w", "a b conftest.py d pytest.ini", ".", ".");
    ck_assert_str_eq(globs(), ":x b:y");
}
END_TEST

START_TEST(a_conftest_that_would_have_to_be_run)
{
    make("w/pytest.ini", "[pytest]\n");
    make("w/conftest.py", "import os\nrsyncdirs = [os.path.dirname(__file__)]\n");
    make("w/test_a.py", "");
    planned(RUN("w"), "/w", ".", ".", ".");
    ck_assert(!plan.named);
    ck_assert_uint_eq(plan.notes.count, 1);
    ck_assert_msg(strstr(plan.notes.at[0], "conftest.py:2: rsyncdirs is not a list"), "%s", plan.notes.at[0]);
}
END_TEST

START_TEST(options_in_addopts_count)
{
    make(
        "w/pyproject.toml",
        "[tool.pytest.ini_options]\naddopts = ['-q', '--rsyncdir=src', '--rsyncignore', '*.dat', 'tests']\n");
    make("w/src/a.py", "");
    make("w/tests/test_a.py", "");
    make("w/more/a", "");
    setenv("PYTEST_ADDOPTS", "--rsyncdir tests --rsyncdir=\"more\"", 1);
    planned(RUN("w"), "/w", "more pyproject.toml src tests", ".", ".");
    ck_assert_str_eq(globs(), "*.dat");
}
END_TEST

START_TEST(globs_of_all_places)
{
    make("w/sub/x", "");
    make("w/pytest.ini", "[pytest]\nrsyncignore = *.bin build\n");
    planned(RUN("w/sub", "--rsyncignore=*.dat", "--rsyncignore", "data/big", "--rsyncignore=/abs/x"), "/w",
            ".", "sub", ".");
    ck_assert_str_eq(globs(), "*.dat data/big sub:data/big /abs/x :*.bin :build");
}
END_TEST

/* ---- nothing is named --------------------------------------------------------------------------------------- */

START_TEST(the_working_tree_of_git_is_brought)
{
    make("w/.git/HEAD", "");
    make("w/py/pytest.ini", "[pytest]\n");
    make("w/py/tests/test_a.py", "");
    planned(RUN("w/py/tests"), "/w", ".", "py/tests", "py");
    ck_assert(!plan.named);
    ck_assert_msg(strstr(plan.why, "all of it (the working tree of git)"), "%s", plan.why);
}
END_TEST

START_TEST(a_worktree_of_git_has_a_file)
{
    make("main/.git/HEAD", "");
    make("main/wt/.git", "gitdir: ../.git/worktrees/wt\n");
    make("main/wt/tests/test_a.py", "");
    planned(RUN("main/wt/tests"), "/main/wt", ".", "tests", "tests");
}
END_TEST

START_TEST(without_git_it_is_rootdir)
{
    make("w/tox.ini", "[pytest]\n");
    make("w/sub/tests/test_a.py", "");
    planned(RUN("w/sub", "tests/test_a.py"), "/w", ".", "sub", ".");
    ck_assert_ptr_nonnull(strstr(plan.why, "(rootdir)"));
}
END_TEST

START_TEST(the_users_whole_folder_is_not_the_project)
{
    make("h/.git/HEAD", "");
    make("h/proj/test_a.py", "");
    xd_autofree char *home = below("h");
    setenv("HOME", home, 1);
    planned(RUN("h/proj"), "/h/proj", ".", ".", ".");
    refused(RUN("h"), "name folders with --rsyncdir");
    planned(RUN("h", "--rsyncdir=proj", "proj"), "/h", "proj", ".", ".");
}
END_TEST

START_TEST(a_project_by_way_of_a_symbolic_link)
{
    make("real/proj/pytest.ini", "[pytest]\n");
    make("real/proj/tests/test_a.py", "");
    link_to("real/proj", "short");
    planned(RUN("short/tests"), "/real/proj", ".", "tests", ".");
    xd_autofree char *tests = below("short/tests");
    planned(RUN("real/proj", "--rsyncdir", tests, tests), "/real/proj", "pytest.ini tests", ".", ".");
}
END_TEST

/* ---- layouts ----------------------------------------------------------------------------------------------- */

START_TEST(two_roots_with_the_same_last_name)
{
    make("w/a/src/x.py", "");
    make("w/b/src/test_y.py", "");
    planned(RUN("w", "--rsyncdir=a/src", "--rsyncdir=b/src", "b/src"), "/w", "a/src b/src", ".", ".");
}
END_TEST

START_TEST(a_root_twice_and_one_inside_of_another)
{
    make("w/src/pkg/x.py", "");
    make("w/src/conftest.py", "");
    /* A rule may leave src/pkg out of src, so it stays. */
    planned(RUN("w", "--rsyncdir=src", "--rsyncdir=./src/", "--rsyncdir=src/pkg", "src/pkg"), "/w",
            "src src/pkg", ".", ".");
}
END_TEST

START_TEST(a_file_is_a_root)
{
    make("w/test_a.py", "");
    make("w/data.txt", "");
    planned(RUN("w", "--rsyncdir=test_a.py", "--rsyncdir=data.txt", "test_a.py"), "/w", "data.txt test_a.py",
            ".", ".");
}
END_TEST

START_TEST(links_on_the_way_go_along)
{
    make("w/proj/pytest.ini", "[pytest]\n");
    make("data/tests/test_a.py", "");
    link_to("../../data/tests", "w/proj/tests");
    planned(RUN("w/proj", "--rsyncdir=tests", "tests"), "", "data/tests w/proj/pytest.ini w/proj/tests",
            "w/proj", "w/proj");
}
END_TEST

START_TEST(a_configuration_file_elsewhere)
{
    make("etc/my.ini", "[pytest]\nrsyncdirs = ../w\n");
    make("w/test_a.py", "");
    planned(RUN("w", "-c", "../etc/my.ini"), "", "etc/my.ini w", "w", "etc");
    planned(RUN("w", "--rootdir=."), "", "etc/my.ini w", "w", "w");
}
END_TEST

START_TEST(testpaths_are_the_arguments_where_there_are_none)
{
    make("w/pytest.ini", "[pytest]\ntestpaths = t*s\n  other\n");
    make("w/tests/conftest.py", "rsyncdirs = ['.']\n");
    make("w/other/test_b.py", "");
    planned(RUN("w"), "/w", "pytest.ini tests", ".", ".");
    ck_assert_uint_eq(plan.notes.count, 1);
    ck_assert_msg(strstr(plan.notes.at[0], "/w/other is in testpaths"), "%s", plan.notes.at[0]);
}
END_TEST

START_TEST(what_is_not_said_to_run_may_not_be_there)
{
    make("w/src/test_a.py", "");
    planned(RUN("w", "--rsyncdir=src"), "/w", "src", ".", ".");
    ck_assert_uint_eq(plan.notes.count, 1);
    ck_assert_msg(strstr(plan.notes.at[0], "no argument says what to run"), "%s", plan.notes.at[0]);
}
END_TEST

START_TEST(names_of_projects)
{
    char first[XD_PROJECT_NAME];
    make("a/my proj/test_a.py", "");
    make("b/my proj/test_a.py", "");
    planned(RUN("a/my proj"), "/a/my proj", ".", ".", ".");
    snprintf(first, sizeof(first), "%s", plan.project);
    ck_assert_int_eq(strncmp(first, "my_proj-", 8), 0);
    ck_assert_uint_eq(strspn(first + 8, "0123456789abcdef"), 8);
    ck_assert_uint_eq(strlen(first), 16);
    planned(RUN("a/my proj"), "/a/my proj", ".", ".", ".");
    ck_assert_str_eq(plan.project, first);
    planned(RUN("b/my proj"), "/b/my proj", ".", ".", ".");
    ck_assert_str_ne(plan.project, first);
}
END_TEST

START_TEST(the_runner_of_command_lines)
{
    make("w/list.txt", "true\n");
    make("w/bin/t", "");
    planned(RUN("w", "--runner=command", "--rsyncdir=bin", "--list", "list.txt"), "/w", "bin list.txt", ".",
            ".");
}
END_TEST

/* ---- what is refused ------------------------------------------------------------------------------------------ */

START_TEST(what_is_not_there)
{
    make("w/pytest.ini", "[pytest]\nrsyncdirs = nix\n");
    make("w/test_a.py", "");
    refused(RUN("w"), "rsyncdirs of pytest.ini: there is no 'nix' in ");
    make("w/pytest.ini", "[pytest]\n");
    make("w/conftest.py", "rsyncdirs = ['../nix']\n");
    refused(RUN("w"), "rsyncdirs of conftest.py: there is no '../nix' in ");
    make("w/conftest.py", "rsyncdirs = ['']\n");
    refused(RUN("w"), "rsyncdirs of conftest.py: an empty name");
    make("w/conftest.py", "");
    make("w/pytest.ini", "[pytest]\nrsyncdirs = 'a\n");
    refused(RUN("w"), "rsyncdirs of pytest.ini cannot be split");
    make("w/pytest.ini", "[pytest]\n");
    refused(RUN("w", "--rsyncdir=test_a.py/x"), "--rsyncdir: there is no 'test_a.py/x' in ");
}
END_TEST

START_TEST(what_cannot_be_brought)
{
    make("w/test_a.py", "");
    xd_autofree char *fifo = below("w/fifo");
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    refused(RUN("w", "--rsyncdir=fifo"), "--rsyncdir: 'fifo' is neither a folder nor a file");
}
END_TEST

START_TEST(the_whole_file_system)
{
    make("w/test_a.py", "");
    refused(RUN("w", "--rsyncdir=/"), "is the whole file system");
}
END_TEST

START_TEST(a_circle_of_links)
{
    make("w/test_a.py", "");
    link_to("b", "w/a");
    link_to("a", "w/b");
    refused(RUN("w", "--rsyncdir=a"), "--rsyncdir: 'a' in ");
}
END_TEST

START_TEST(an_argument_that_is_not_brought)
{
    make("w/src/a.py", "");
    make("w/tests/test_a.py", "");
    refused(RUN("w", "--rsyncdir", "src", "tests/test_a.py::test_x"),
            "argument 'tests/test_a.py' is not among what is brought to the hosts, src (--rsyncdir): name it "
            "with --rsyncdir, too");
    refused(RUN("w", "-q", "."), "argument 'tests/test_a.py'");
}
END_TEST

START_TEST(words_that_are_no_arguments)
{
    make("w/src/test_a.py", "");
    make("w/tests/x", "");
    planned(RUN("w", "--rsyncdir=src", "-k", "tests", "-m", "tests", "--junitxml", "tests/x", "--some-option",
                "tests/x", "no_such", "src"),
            "/w", "src", ".", ".");
}
END_TEST

/* ---- which environments --------------------------------------------------------------------------------------- */

START_TEST(environments)
{
    static const struct {
        const char *spec;
        bool        unnamed, named;
    } cases[] = { { "popen", false, false },         { "popen//python=python3", false, false },
                  { "popen//chdir=x", false, true }, { "ssh=h", true, true },
                  { "ssh=h//chdir=x", false, true }, { "socket=h:1", true, true },
                  { "command=sh", true, true } };
    make("w/test_a.py", "");
    for (size_t i = 0; i < XD_ARRAY_LEN(cases); i++) {
        spec_text = cases[i].spec;
        ck_assert_int_eq(RUN("w"), 0);
        ck_assert_msg((plan.base != NULL) == cases[i].unnamed, "%s", spec_text);
        ck_assert(plan.why || !plan.base);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(cases); i++) {
        xd_xspec spec;
        spec_text = cases[i].spec;
        ck_assert_int_eq(xd_xspec_parse(&spec, spec_text, NULL), 0);
        ck_assert_int_eq(RUN("w", "--rsyncdir=."), 0);
        ck_assert_msg((plan.base != NULL) == cases[i].named, "%s", spec_text);
        ck_assert_int_eq(xd_sync_plan_brings(&plan, &spec), cases[i].named);
        xd_xspec_release(&spec);
    }
    spec_text = "ssh=h//chdir=x";
    xd_config_free(cfg);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    ck_assert_int_eq(RUN("w"), 0);
    ck_assert_msg(strstr(plan.why, "chdir="), "%s", plan.why);
    spec_text = "ssh=h";
    ck_assert_int_eq(RUN("w", "--no-sync", "--rsyncdir=nix"), 0);
    ck_assert_ptr_null(plan.base);
    ck_assert_msg(strstr(plan.why, "--no-sync"), "%s", plan.why);
}
END_TEST

/* ---- arguments for the host ------------------------------------------------------------------------------------ */

START_TEST(arguments)
{
    make("w/proj/pytest.ini", "[pytest]\n");
    make("w/proj/tests/test_a.py", "");
    make("w/proj/sub/x", "");
    link_to("w/proj", "short");
    xd_autofree char *abs = below("w/proj/tests/test_a.py"), *by_link = below("short/tests"),
                     *outside = below("w");
    planned(RUN("w/proj/sub"), "/w/proj", ".", "sub", ".");
    char id[256], option[256];
    snprintf(id, sizeof(id), "%s::test_x[/a::b]", abs);
    snprintf(option, sizeof(option), "--ignore=%s", abs);
    char  q[] = "-q", k[] = "-k", expr[] = "not slow", rel[] = "../tests", link[] = "../../../short/tests";
    char *args[] = { q, k, expr, rel, id, option, by_link, link, outside };
    xd_strings got = { 0 };
    ck_assert_int_eq(xd_sync_plan_args(&plan, args, XD_ARRAY_LEN(args), &got), 0);
    char expected[512];
    snprintf(expected, sizeof(expected),
             "-q -k not slow ../tests ../tests/test_a.py::test_x[/a::b] --ignore=../tests/test_a.py ../tests "
             "../tests %s",
             outside);
    ck_assert_str_eq(joined(&got), expected);
    xd_strings_release(&got);
}
END_TEST

/* ---- where Python looks ------------------------------------------------------------------------------------- */

START_TEST(packages_in_editable_mode)
{
    make("w/src/pkg/__init__.py", "");
    make("w/tests/test_a.py", "");
    make("w/other/x", "");
    make("else/y", "");
    planned(RUN("w", "--rsyncdir=src", "--rsyncdir=tests", "tests"), "/w", "src tests", ".", ".");
    char said[512];
    snprintf(said, sizeof(said),
             "some warning\npath %s/w/src\npath %s/w/src/../src\npath %s/else\npath %s/nix\nother a.b "
             "%s/w/x\npath",
             top, top, top, top, top);
    ck_assert_int_eq(xd_sync_python_take(&plan, xd_bytes_str(said)), 0);
    ck_assert_str_eq(joined(&plan.python_path), "src");
    ck_assert_uint_eq(plan.notes.count, 2);
    ck_assert_msg(strstr(plan.notes.at[0], "/else here, which is not brought"), "%s", plan.notes.at[0]);
    ck_assert_msg(strstr(plan.notes.at[1], "package a.b is installed in editable mode from /"), "%s",
                  plan.notes.at[1]);
}
END_TEST

/* An interpreter whose folder of packages is ours. */
START_TEST(the_interpreter_is_asked)
{
    make("w/src/pkg/__init__.py", "");
    make("w/lib/a/b/__init__.py", "");
    make("w/one/mod.py", "");
    make("w/ast.py", "raise SystemExit(1)\n");
    make("w/tests/test_a.py", "");
    make("site/lib/python/site-packages/a.pth", "# no\nimport os\n/nix\n");
    make("site/lib/python/site-packages/__editable___x_finder.py", "import x\n");
    xd_autofree char *site = below("site/lib/python/site-packages"), *pth = below("w/src"),
                     *lib = below("w/lib/a/b"), *mod = below("w/one/mod.py");
    char text[1024], paths[512];
    snprintf(text, sizeof(text), "%s\n", pth);
    make("site/lib/python/site-packages/__editable__.pkg-1.0.pth", text);
    snprintf(text, sizeof(text), "MAPPING: dict[str, str] = {'a.b': '%s', 'mod': '%s', 'pkg2': '%s'}\n", lib,
             mod, pth);
    make("site/lib/python/site-packages/__editable___pkg_1_0_finder.py", text);
    snprintf(paths, sizeof(paths), "%s:tests:/nix::tests", site);
    setenv("PYTHONPATH", paths, 1);
    planned(RUN("w", "--python=python3", "tests"), "/w", ".", ".", ".");
    xd_folders where = { .work = plan.base };
    if (home_before) /* a python3 may be found by way of it */
        setenv("HOME", home_before, 1);
    ck_assert_int_eq(xd_sync_python_path(&plan, cfg, &where), 0);
    ck_assert_msg(strcmp(joined(&plan.python_path), "tests . src lib one") == 0, "%s; %s",
                  joined(&plan.python_path), plan.notes.count ? plan.notes.at[0] : "");
    size_t others = 0;
    for (size_t i = 0; i < plan.notes.count; i++)
        others += strstr(plan.notes.at[i], "package pkg2 is installed") != NULL;
    ck_assert_uint_eq(others, 1);
}
END_TEST

START_TEST(an_interpreter_that_fails_is_noted)
{
    make("w/test_a.py", "");
    planned(RUN("w", "--python=false"), "/w", ".", ".", ".");
    xd_folders where = { .work = plan.base };
    ck_assert_int_eq(xd_sync_python_path(&plan, cfg, &where), 0);
    ck_assert_uint_eq(plan.notes.count, 1);
    ck_assert_msg(strstr(plan.notes.at[0], "are not looked for"), "%s", plan.notes.at[0]);
}
END_TEST

START_TEST(relative_paths)
{
    static const char *const cases[][3] = { { "/a/b", "/a/b", "." },     { "/a/b", "/a/b/c/d", "c/d" },
                                            { "/a/b", "/a", ".." },      { "/a/b", "/a/bc", "../bc" },
                                            { "/a/bc", "/a/b", "../b" }, { "/", "/a", "a" },
                                            { "/a", "/", ".." },         { "/", "/", "." },
                                            { "/a/b", "/c", "../../c" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(cases); i++) {
        xd_autofree char *path = xd_sync_path_from(cases[i][0], cases[i][1]);
        ck_assert_str_eq(path, cases[i][2]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sync_roots");
    TCase *t = tcase_create("sync_roots");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_command_line_of_the_seed);
    tcase_add_test(t, what_pytest_reads_beside_the_roots_goes_along);
    tcase_add_test(t, a_setup_py_that_makes_the_rootdir_goes_along);
    tcase_add_test(t, relative_names_work_from_any_folder);
    tcase_add_test(t, lists_in_a_conftest);
    tcase_add_test(t, the_nearest_conftest_counts_for_each_argument);
    tcase_add_test(t, conftests_of_several_arguments_add_up);
    tcase_add_test(t, a_conftest_that_would_have_to_be_run);
    tcase_add_test(t, options_in_addopts_count);
    tcase_add_test(t, globs_of_all_places);
    tcase_add_test(t, the_working_tree_of_git_is_brought);
    tcase_add_test(t, a_worktree_of_git_has_a_file);
    tcase_add_test(t, without_git_it_is_rootdir);
    tcase_add_test(t, the_users_whole_folder_is_not_the_project);
    tcase_add_test(t, a_project_by_way_of_a_symbolic_link);
    tcase_add_test(t, two_roots_with_the_same_last_name);
    tcase_add_test(t, a_root_twice_and_one_inside_of_another);
    tcase_add_test(t, a_file_is_a_root);
    tcase_add_test(t, links_on_the_way_go_along);
    tcase_add_test(t, a_configuration_file_elsewhere);
    tcase_add_test(t, testpaths_are_the_arguments_where_there_are_none);
    tcase_add_test(t, what_is_not_said_to_run_may_not_be_there);
    tcase_add_test(t, names_of_projects);
    tcase_add_test(t, the_runner_of_command_lines);
    tcase_add_test(t, what_is_not_there);
    tcase_add_test(t, what_cannot_be_brought);
    tcase_add_test(t, the_whole_file_system);
    tcase_add_test(t, a_circle_of_links);
    tcase_add_test(t, an_argument_that_is_not_brought);
    tcase_add_test(t, words_that_are_no_arguments);
    tcase_add_test(t, environments);
    tcase_add_test(t, arguments);
    tcase_add_test(t, packages_in_editable_mode);
    tcase_add_test(t, the_interpreter_is_asked);
    tcase_add_test(t, an_interpreter_that_fails_is_noted);
    tcase_add_test(t, relative_paths);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
