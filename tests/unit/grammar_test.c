/* grammar_test.c - what node ids are made of, for each runner. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar.h"

static bool address_is(const xd_grammar *g, const char *id, const char *prefix, bool brackets,
                       const char *class, const char *name)
{
    xd_autobuf c = XD_BUF_INIT, n = XD_BUF_INIT;
    ck_assert_int_eq(g->address(xd_bytes_str(id), prefix, brackets, &c, &n), 0);
    return strcmp(xd_buf_cstr(&c), class) == 0 && strcmp(xd_buf_cstr(&n), name) == 0;
}

static bool headline_is(const xd_grammar *g, const char *id, const char *want)
{
    xd_autobuf out = XD_BUF_INIT;
    ck_assert_int_eq(g->headline(&out, xd_bytes_str(id)), 0);
    return strcmp(xd_buf_cstr(&out), want) == 0;
}

START_TEST(found_by_name)
{
    ck_assert_str_eq(xd_grammar_find("pytest")->runner, "pytest");
    ck_assert_str_eq(xd_grammar_find("command")->runner, "command");
    ck_assert_str_eq(xd_grammar_find(NULL)->runner, "pytest"); /* journals of before have no name */
    ck_assert_str_eq(xd_grammar_find("")->runner, "pytest");
}
END_TEST

START_TEST(parts_of_pytest)
{
    static const struct {
        const char *id;
        size_t      unit, scope, rest;
        const char *headline;
    } v[] = {
        { "a/t.py::test", 6, 6, 8, "test" },
        { "a/t.py::C::test[x::y]", 6, 17, 8, "C.test[x::y]" },
        { "README.rst", 10, 10, 10, "README.rst" },
        { "a/t.py::", 6, 6, 8, "" },
        { "a[b]/t.py::test", 9, 9, 11, "a[b]/t.py::test" },
        { "", 0, 0, 0, "" },
    };
    const xd_grammar *g = xd_grammar_find("pytest");
    for (size_t i = 0; i < XD_ARRAY_LEN(v); i++) {
        xd_bytes id = xd_bytes_str(v[i].id);
        ck_assert_msg(g->unit(id) == v[i].unit, "unit of %s: %zu", v[i].id, g->unit(id));
        ck_assert_msg(g->scope(id) == v[i].scope, "scope of %s: %zu", v[i].id, g->scope(id));
        ck_assert_msg(g->rest(id) == v[i].rest, "rest of %s: %zu", v[i].id, g->rest(id));
        ck_assert_msg(headline_is(g, v[i].id, v[i].headline), "headline of %s", v[i].id);
    }
}
END_TEST

START_TEST(addresses_of_pytest)
{
    const xd_grammar *g = xd_grammar_find("pytest");
    ck_assert(address_is(g, "a/t.py::C::test[x/y.py::z]", "", false, "a.t.C", "test[x/y.py::z]"));
    ck_assert(address_is(g, "a/t.py::test", "p", false, "p.a.t", "test"));
    ck_assert(address_is(g, "a/t.py", "", false, "", "a.t"));
    ck_assert(address_is(g, "a[b]/t.py::test", "", false, "a[b].t", "test"));
    ck_assert(address_is(g, "a[b]/t.py::test", "", true, "", "a[b]/t.py::test"));
    ck_assert(address_is(g, "a/t.py::::test", "", false, "a.t.", "test"));
}
END_TEST

START_TEST(commands_have_no_parts)
{
    const xd_grammar *g = xd_grammar_find("command");
    static const char line[] = "./a/b.py::c[1] --x @g";
    xd_bytes          id = xd_bytes_str(line);
    ck_assert_uint_eq(g->unit(id), id.len);
    ck_assert_uint_eq(g->scope(id), id.len);
    ck_assert_uint_eq(g->rest(id), id.len);
    ck_assert_uint_eq(g->group(id).len, 0);
    ck_assert(!g->paths);
    ck_assert(headline_is(g, line, line));
    ck_assert(address_is(g, line, "", true, "command", line));
    ck_assert(address_is(g, line, "p", false, "p", line));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("grammar");
    TCase *c = tcase_create("all");
    tcase_add_test(c, found_by_name);
    tcase_add_test(c, parts_of_pytest);
    tcase_add_test(c, addresses_of_pytest);
    tcase_add_test(c, commands_have_no_parts);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
