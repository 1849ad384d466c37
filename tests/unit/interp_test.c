#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/interp.h"

static char     dir[64];
static xd_error err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-interp-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    (void)xd_path_remove_tree(dir);
}

static char *put(const char *name, const char *text)
{
    char             *path = xd_path_join(dir, name);
    xd_autofree char *folder = xd_path_dir(path);
    ck_assert_int_eq(xd_path_mkdirs(folder, 0700, &err), 0);
    ck_assert_int_eq(
        xd_path_write_file(path, (xd_bytes){ (const unsigned char *)text, strlen(text) }, 0700, &err), 0);
    return path;
}

static void expect(const char *wanted, const char *virtual_env, const char *want, const char *want_how)
{
    xd_autofree char  *found = NULL;
    xd_autofree char **words = NULL;
    const char        *how = "";
    ck_assert_int_eq(xd_interp_find(wanted, virtual_env, dir, &found, &how, &err), 0);
    ck_assert_int_eq(xd_text_shell_split(found, &words), 0);
    ck_assert_str_eq(words[0], want);
    ck_assert_str_eq(how, want_how);
}

START_TEST(order)
{
    xd_autofree char *found = NULL;
    const char       *how;
    ck_assert_int_eq(xd_interp_find("", "", dir, &found, &how, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, dir));
    ck_assert_ptr_nonnull(strstr(err.text, "python="));
    xd_autofree char *python = put("python", "");
    expect(NULL, NULL, python, "python on PATH");
    xd_autofree char *python3 = put("python3", "");
    expect(NULL, NULL, python3, "python3 on PATH");
    xd_autofree char *other = put("other/python3.9", "");
    char              script[200];
    snprintf(script, sizeof(script), "#!%s -s\nimport pytest\n", other);
    free(put("pytest", script));
    expect(NULL, NULL, other, "behind the pytest on PATH");
    xd_autofree char *venv_python = put("venv/bin/python", ""), *venv = xd_path_join(dir, "venv");
    expect("", venv, venv_python, "of $VIRTUAL_ENV");
    expect("nice python3", venv, "nice", "as told"); /* a command line */
    xd_autofree char *blank = put("a b", "");
    expect(blank, venv, blank, "as told"); /* a program whose path has a blank */
    expect("a b", venv, "a b", "as told"); /* found on PATH */
    expect("nowhere", venv, "nowhere", "as told");
}
END_TEST

START_TEST(scripts)
{
    xd_autofree char *beside = put("python3", ""), *other = put("a b/python3.9", ""), *perl = put("perl", "");
    char              script[300];
    /* pip, where the path is too long for a #! line or has a space */
    snprintf(script, sizeof(script), "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\nimport pytest\n",
             other);
    free(put("pytest", script));
    expect(NULL, NULL, other, "behind the pytest on PATH");
    /* shims, env, another program, an interpreter that is gone: the python3 beside it */
    static const char *const shims[] = { "#!/bin/sh\nexec pyenv exec pytest\n",
                                         "#!/usr/bin/env python3\n",
                                         "#!/nowhere/python3\n",
                                         "#!",
                                         "",
                                         "\177ELF" };
    for (size_t i = 0; i < XD_ARRAY_LEN(shims); i++) {
        free(put("pytest", shims[i]));
        expect(NULL, NULL, beside, "behind the pytest on PATH");
    }
    snprintf(script, sizeof(script), "#!%s\n", perl);
    free(put("pytest", script));
    expect(NULL, NULL, beside, "behind the pytest on PATH");
}
END_TEST

START_TEST(versions)
{
    long                     major = 0, minor = 0;
    static const char *const good[] = {
        "python2.7", "python3.6", "python3.14",   "/opt/python2.4/bin/python3", "python", "python3",
        "pypy3",     "python2",   "python3.6-dbg"
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(good); i++)
        ck_assert_msg(!xd_interp_is_too_old(good[i], &major, &minor), "%s", good[i]);
    ck_assert(xd_interp_is_too_old("python2.4", &major, &minor) && major == 2 && minor == 4);
    ck_assert(xd_interp_is_too_old("/usr/bin/python3.5", &major, &minor) && major == 3 && minor == 5);
    ck_assert(!xd_interp_runs(2, 6) && xd_interp_runs(2, 7) && !xd_interp_runs(3, 5) &&
              xd_interp_runs(3, 6) && xd_interp_runs(4, 0));
}
END_TEST

START_TEST(pyenv_shims)
{
    static const char text[] = "#!/bin/sh\n[ \"$PYENV_VERSION\" = 2.9.1 ] && exit 0\n"
                               "echo 'pyenv: python2.9: command not found'\nexit 127\n";
    xd_autofree char *shim = put("shims/python2.9", text), *other = put("bin/python2.9", text);
    free(put("versions/2.9.1/bin/python2.9", ""));
    ck_assert_int_eq(xd_interp_check_shim(other, NULL, NULL, &err), 0);
    ck_assert_int_eq(xd_interp_check_shim(shim, "2.9.1", dir, &err), 0);
    ck_assert_int_eq(xd_interp_check_shim(shim, NULL, NULL, &err), -ENOENT);
    ck_assert_msg(strstr(err.text, "(pyenv: python2.9: command not found): name the interpreter itself"),
                  "%s", err.text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interp");
    TCase *c = tcase_create("interp");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, order);
    tcase_add_test(c, scripts);
    tcase_add_test(c, versions);
    tcase_add_test(c, pyenv_shims);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
