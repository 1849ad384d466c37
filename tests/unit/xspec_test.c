/* xspec_test.c - execnet's specs, as people write them and as they mistype them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/xspec.h"

static xd_xspec spec;
static xd_error err;

static void parsed(const char *text)
{
    err = (xd_error){ 0 };
    ck_assert_msg(xd_xspec_parse(&spec, text, &err) == 0, "%s: %s", text, err.text);
}

START_TEST(usual_ones)
{
    parsed("popen");
    ck_assert_int_eq(spec.kind, XD_SPEC_POPEN);
    ck_assert_uint_eq(spec.count, 1);
    ck_assert_str_eq(spec.text, "popen");
    ck_assert_ptr_null(spec.python);
    xd_xspec_release(&spec);
    parsed("3*popen//python=python3.9//chdir=a/b//env:MODE=b//env:EMPTY=//nice=5//dont_write_bytecode");
    ck_assert_uint_eq(spec.count, 3);
    ck_assert_str_eq(
        spec.text, "popen//python=python3.9//chdir=a/b//env:MODE=b//env:EMPTY=//nice=5//dont_write_bytecode");
    ck_assert_str_eq(spec.python, "python3.9");
    ck_assert_str_eq(spec.chdir, "a/b");
    ck_assert_uint_eq(spec.n_env, 3);
    ck_assert_str_eq(spec.env[0], "MODE=b");
    ck_assert_str_eq(spec.env[1], "EMPTY=");
    ck_assert_str_eq(spec.env[2], "PYTHONDONTWRITEBYTECODE=1");
    ck_assert_str_eq(spec.nice, "5");

    ck_assert(spec.dont_write_bytecode);
    xd_xspec_release(&spec);
    parsed("popen//id=x");
    ck_assert_str_eq(spec.id, "x");
    xd_xspec_release(&spec);
    parsed("popen//id=gw"); /* and these: not what a worker without id= may be called */
    xd_xspec_release(&spec);
    parsed("popen//id=gw3.a_B-1");
    xd_xspec_release(&spec);
    parsed("popen//cpus=auto//nice=1");
    ck_assert_uint_eq(spec.count, 0);
    ck_assert_str_eq(spec.text, "popen//cpus=auto//nice=1");
    xd_xspec_release(&spec);
    parsed("ssh=user@host -p 22//python=python3");
    ck_assert_int_eq(spec.kind, XD_SPEC_SSH);
    ck_assert_str_eq(spec.target, "user@host -p 22");
    xd_xspec_release(&spec);
    parsed("2*command=docker exec -i a/b sh -c 'x=1'//chdir=ci");
    ck_assert_int_eq(spec.kind, XD_SPEC_COMMAND);
    ck_assert_uint_eq(spec.count, 2);
    ck_assert_str_eq(spec.target, "docker exec -i a/b sh -c 'x=1'");
    ck_assert_str_eq(spec.chdir, "ci");
    xd_xspec_release(&spec);
    parsed("socket=host:8888");
    ck_assert_int_eq(spec.kind, XD_SPEC_SOCKET);
    ck_assert_str_eq(spec.target, "host:8888");
    xd_xspec_release(&spec);
}
END_TEST

START_TEST(values_may_hold_much)
{
    parsed("popen//env:URL=http:/x?a=b&c=d//python=/opt/my python/bin/python");
    ck_assert_str_eq(spec.env[0], "URL=http:/x?a=b&c=d");
    ck_assert_str_eq(spec.python, "/opt/my python/bin/python");
    xd_xspec_release(&spec);
    parsed("1024*popen");
    ck_assert_uint_eq(spec.count, XD_XSPEC_MAX_COUNT);
    xd_xspec_release(&spec);
}
END_TEST

START_TEST(mistyped_ones)
{
    static const struct {
        const char *text, *words;
    } table[] = {
        { "", "empty" },
        { "popen//colour=red", "colour" },
        { "command=", "need a value" },
        { "popen//command=sh", "more than one of" },
        { "popon", "popon" },
        { "0*popen", "number before *" },
        { "1025*popen", "1024" },
        { "x*popen", "x*popen" },
        { "-1*popen", "-1*popen" },
        { "3*", "" },
        { "2*popen//id=x", "id=" },
        { "popen//env:=b", "" },
        { "popen//python=a//python=b", "python" },
        { "popen//ssh=host", "" },
        { "python=python3", "" },
        { "99999999999999999999*popen", "" },
        { "popen//cpus=4", "4*" },
        { "popen//cpus", "auto" },
        { "2*popen//cpus=auto", "both say" },
        { "1*popen//cpus=auto", "both say" },
        { "popen//cpus=auto//cpus=auto", "twice" },
        { "popen//cpus=auto//id=x", "id=" },
        { "popen//id=gw3", "without id=" },
        { "popen//id=a/b", "letters" },
        { "popen//id=.a", "letters" },
        { "popen//id=a b", "letters" },
        { "ssh=-p 22", "names no host" },
        { "ssh=a b", "behind the host a" },
        { "ssh=a//ssh_config=", "ssh_config" },
        { "popen//ssh_config=x", "goes with ssh=" },
        { "socket=h:1//via=a", "goes with ssh= and popen" },
        { "command=sh//via=a", "goes with ssh= and popen" },
        { "ssh=a//installvia=b", "not needed" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        xd_xspec untouched = { .count = 77 };
        err = (xd_error){ 0 };
        ck_assert_msg(xd_xspec_parse(&untouched, table[i].text, &err) == -EINVAL, "'%s' is taken",
                      table[i].text);
        ck_assert_msg(err.text[0] && !strchr(err.text, '\n') && strstr(err.text, table[i].words), "'%s': %s",
                      table[i].text, err.text);
        ck_assert_uint_eq(untouched.count, 77);
    }
}
END_TEST

START_TEST(same_environment)
{
    static const struct {
        const char *a, *b;
        bool        same;
    } table[] = {
        { "popen", "3*popen", true },
        { "popen//env:A=1//env:B=2", "popen//env:A=1//env:B=2", true },
        { "popen//env:A=1", "popen//env:A=2", false },
        { "popen", "popen//python=x", false },
        { "popen//chdir=a", "popen//chdir=b", false },
        { "ssh=a", "ssh=b", false },
        { "ssh=a", "popen", false },
        { "popen//nice=5", "popen", false },
        { "ssh=a//ssh_config=x", "ssh=a", false },
        { "ssh=a//via=x", "ssh=a", false },
        { "ssh=a//via=x", "ssh=a//via=x", true },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        xd_xspec a, b;
        ck_assert_int_eq(xd_xspec_parse(&a, table[i].a, &err), 0);
        ck_assert_int_eq(xd_xspec_parse(&b, table[i].b, &err), 0);
        ck_assert_msg(xd_xspec_same_env(&a, &b) == table[i].same &&
                          xd_xspec_same_env(&b, &a) == table[i].same,
                      "%s and %s", table[i].a, table[i].b);
        xd_xspec_release(&a);
        xd_xspec_release(&b);
    }
}
END_TEST

/* Each spec of the list, NULL-terminated; what its last one's hosts are, from the nearest to here on; or words of the error. */
static void routed(const char *const *texts, const char *hosts, const char *error)
{
    xd_xspec all[8] = { { 0 } };
    size_t   n = 0;
    char     way[64] = "";
    for (; texts[n]; n++)
        ck_assert_int_eq(xd_xspec_parse(&all[n], texts[n], &err), 0);
    int r = xd_xspec_route(&all[n - 1], all, n, &err);
    ck_assert_int_eq(r, error ? -EINVAL : 0);
    if (error)
        ck_assert_msg(strstr(err.text, error) != NULL, "%s", err.text);
    xd_xspec copy;
    ck_assert_int_eq(xd_xspec_copy(&copy, &all[n - 1]), 0);
    for (const xd_xspec *s = &copy; s && hosts; s = s->jump)
        snprintf(way + strlen(way), sizeof(way) - strlen(way), "%s ", s->target ? s->target : "here");
    if (hosts)
        ck_assert_str_eq(way, hosts);
    xd_xspec_release(&copy);
    for (size_t i = 0; i < n; i++)
        xd_xspec_release(&all[i]);
}

START_TEST(routes)
{
    static const struct {
        const char *texts[5], *hosts, *error;
    } table[] = {
        { { "ssh=a" }, "a ", NULL },
        { { "ssh=gate//id=g", "ssh=a//via=g" }, "a gate ", NULL },
        { { "ssh=a//id=1", "ssh=b//via=1//id=2", "ssh=c//via=2" }, "c b a ", NULL },
        { { "ssh=a//id=1", "ssh=b//via=1//id=2", "popen//via=2" }, "b a ", NULL },
        { { "popen//id=1", "ssh=b//via=1" }, "b ", NULL },
        { { "popen//id=1", "popen//via=1" }, "here ", NULL },
        { { "ssh=a//id=1", "ssh=b//via=2" }, NULL, "no other spec has id=2" },
        { { "ssh=a//id=1//via=2", "ssh=b//id=2//via=1" }, NULL, "circle" },
        { { "ssh=b//id=2//via=2" }, NULL, "circle" },
        { { "socket=h:1//id=s", "ssh=b//via=s" }, NULL, "no host of ssh=" },
        { { "command=sh//id=s", "popen//via=s" }, NULL, "no host of ssh=" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        routed(table[i].texts, table[i].hosts, table[i].error);
}
END_TEST

/* All of a command line, in order, as a plan routes them: those that others name are routed before or behind them. */
START_TEST(all_are_routed)
{
    static const char *const texts[] = { "ssh=a//id=1", "ssh=b//via=1//id=2", "popen//via=2//id=3",
                                         "ssh=c//via=3", "ssh=d//via=2" };
    static const char *const ways[] = { "a ", "b a ", "b a ", "c b a ", "d b a " };
    enum { N = sizeof(texts) / sizeof(texts[0]) };
    for (int backwards = 0; backwards < 2; backwards++) {
        xd_xspec all[N];
        for (size_t i = 0; i < N; i++)
            ck_assert_int_eq(xd_xspec_parse(&all[i], texts[backwards ? N - 1 - i : i], &err), 0);
        for (size_t i = 0; i < N; i++)
            ck_assert_int_eq(xd_xspec_route(&all[i], all, N, &err), 0);
        for (size_t i = 0; i < N; i++) {
            char way[64] = "";
            for (const xd_xspec *s = &all[backwards ? N - 1 - i : i]; s; s = s->jump)
                snprintf(way + strlen(way), sizeof(way) - strlen(way), "%s ", s->target);
            ck_assert_str_eq(way, ways[i]);
        }
        /* A popen by way of b is b, reached in the same way. */
        ck_assert(xd_xspec_same_env(&all[backwards ? 3 : 1], &all[2]));
        for (size_t i = 0; i < N; i++)
            xd_xspec_release(&all[i]);
    }
}
END_TEST

START_TEST(ids_are_distinct)
{
    xd_xspec all[3];
    ck_assert_int_eq(xd_xspec_parse(&all[0], "popen//id=a", &err), 0);
    ck_assert_int_eq(xd_xspec_parse(&all[1], "2*popen", &err), 0);
    ck_assert_int_eq(xd_xspec_parse(&all[2], "ssh=h//id=a", &err), 0);
    ck_assert_int_eq(xd_xspec_distinct(all, 2, &err), 0);
    ck_assert_int_eq(xd_xspec_distinct(all, 3, &err), -EINVAL);
    ck_assert_str_eq(err.text, "spec 'ssh=h//id=a': id=a is that of another spec, too ('popen//id=a'): "
                               "each worker needs a name of its own");
    for (size_t i = 0; i < 3; i++)
        xd_xspec_release(&all[i]);
}
END_TEST

START_TEST(without_id)
{
    static const struct {
        const char *text, *without;
    } table[] = {
        { "popen//id=a", "popen" },
        { "id=a//popen//chdir=x", "popen//chdir=x" },
        { "popen//env:B=id=c//id=a//nice=1", "popen//env:B=id=c//nice=1" },
        { "popen//nice=1", "popen//nice=1" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        parsed(table[i].text);
        ck_assert_int_eq(xd_xspec_anonymous(&spec), 0);
        ck_assert_str_eq(spec.text, table[i].without);
        ck_assert_ptr_null(spec.id);
        xd_xspec_release(&spec);
    }
}
END_TEST

START_TEST(copies)
{
    static const char *const all[] = {
        "popen", "3*popen//python=x//chdir=a//env:A=1//env:B=2//nice=5//dont_write_bytecode",
        "ssh=-p 5 a//id=c//ssh_config=f//via=x", "socket=h:1"
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        xd_xspec a, b;
        ck_assert_int_eq(xd_xspec_parse(&a, all[i], &err), 0);
        ck_assert_int_eq(xd_xspec_copy(&b, &a), 0);
        ck_assert(xd_xspec_same_env(&a, &b));
        ck_assert_uint_eq(a.count, b.count);
        ck_assert_str_eq(a.text, b.text);
        ck_assert_ptr_ne(a.text, b.text);
        ck_assert(a.id ? b.id && strcmp(a.id, b.id) == 0 : !b.id);
        xd_xspec_release(&a);
        ck_assert_uint_gt(strlen(b.text), 0); /* its own */
        xd_xspec_release(&b);
    }
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("xspec");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, usual_ones);
    tcase_add_test(t, values_may_hold_much);
    tcase_add_test(t, mistyped_ones);
    tcase_add_test(t, same_environment);
    tcase_add_test(t, copies);
    tcase_add_test(t, routes);
    tcase_add_test(t, all_are_routed);
    tcase_add_test(t, ids_are_distinct);
    tcase_add_test(t, without_id);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
