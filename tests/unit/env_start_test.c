/* needs: engine gateways actors */
/* What agents are told of a spec. */
#include <check.h>
#include <string.h>

#include "actors/env_start.h"

START_TEST(names_of_projects)
{
    static const struct {
        const char *work, *name; /* without the digits */
    } table[] = { { "/home/me/proj", "proj-" },
                  { "/home/me/.hidden", "hidden-" },
                  { "/home/me/my proj!", "my_proj_-" },
                  { "/home/me/\xc3\xa9t\xc3\xa9", "__t__-" },
                  { "/", "project-" },
                  { "/a/-x.y_z", "x.y_z-" } };
    char name[XD_PROJECT_NAME], other[XD_PROJECT_NAME], path[400];
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_env_start_project(table[i].work, name);
        const size_t len = strlen(table[i].name);
        ck_assert_msg(strncmp(name, table[i].name, len) == 0 && strlen(name) == len + 8, "%s", name);
    }
    xd_env_start_project("/a/proj", name);
    xd_env_start_project("/b/proj", other);
    ck_assert_str_ne(name, other);
    xd_env_start_project(NULL, name);
    ck_assert_str_eq(name, "");
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = 0;
    xd_env_start_project(path, name);
    ck_assert_uint_lt(strlen(name), XD_PROJECT_NAME);
}
END_TEST

START_TEST(of_a_spec)
{
    xd_config        *cfg = NULL;
    xd_xspec          spec;
    xd_error          err;
    xd_wire_ENV_START start = { 0 };
    xd_wire_PAIR      pair;
    xd_autobuf        room = XD_BUF_INIT;
    char              text[XD_TEXT];
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    ck_assert_int_eq(xd_config_set(cfg, "python", "py", text), 0);
    ck_assert_int_eq(xd_xspec_parse(&spec, "2*popen//chdir=d//nice=3//env:A=b=c//env:E=", &err), 0);
    ck_assert_int_eq(xd_env_start_fill(&start, cfg, &spec, "proj-1", &room), 0);
    ck_assert(xd_bytes_eq_str(start.python, "py") && xd_bytes_eq_str(start.chdir, "d") &&
              xd_bytes_eq_str(start.nice, "3"));
    ck_assert_uint_eq(start.project.len, 0); /* its folder is this one */
    ck_assert_uint_eq(start.env.count, 2);
    ck_assert_int_eq(xd_wire_PAIR_next(&start.env, &pair), 1);
    ck_assert(xd_bytes_eq_str(pair.name, "A") && xd_bytes_eq_str(pair.value, "b=c"));
    xd_xspec_release(&spec);
    ck_assert_int_eq(xd_xspec_parse(&spec, "popen//python=mine", &err), 0);
    xd_buf_clear(&room);
    ck_assert_int_eq(xd_env_start_fill(&start, cfg, &spec, "", &room), 0);
    ck_assert(xd_bytes_eq_str(start.python, "mine") && start.env.count == 0);
    xd_xspec_release(&spec);
    ck_assert_int_eq(xd_xspec_parse(&spec, "ssh=host", &err), 0);
    ck_assert_int_eq(xd_env_start_fill(&start, cfg, &spec, "proj-1", &room), 0);
    ck_assert(xd_bytes_eq_str(start.project, "proj-1"));
    xd_xspec_release(&spec);
    xd_config_free(cfg);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("env_start");
    TCase *t = tcase_create("all");
    tcase_add_test(t, names_of_projects);
    tcase_add_test(t, of_a_spec);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
