#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/ci_guard.h"
#include "engine/base/text.h"
#include "tests/unit/often.h"

#define ALL (XD_CI_GITHUB | XD_CI_AZURE | XD_CI_TEAMCITY)

static xd_buf out;

static void setup(void)
{
    out = XD_BUF_INIT;
}

static void teardown(void)
{
    xd_buf_release(&out);
}

/* In pieces of `step` bytes. */
static const char *guarded(unsigned systems, xd_bytes in, size_t step)
{
    xd_ci_guard g = { .systems = systems };
    xd_buf_clear(&out);
    for (size_t i = 0; i < in.len; i += step)
        ck_assert_int_eq(xd_ci_guard_add(&g, &out, (xd_bytes){ in.ptr + i, XD_MIN(step, in.len - i) }), 0);
    return xd_buf_cstr(&out);
}

/* Split at all places, unless that splits a character. */
static void same(unsigned systems, const char *in, const char *want)
{
    const xd_bytes all = xd_bytes_str(in);
    size_t         plain = xd_text_printable(all.ptr, all.len);
    for (size_t i = plain; i < all.len; i++)
        plain += all.ptr[i] < 0x80;
    for (size_t step = plain == all.len ? 1 : all.len; step <= all.len; step++)
        ck_assert_str_eq(guarded(systems, all, step), want);
}

START_TEST(github)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        { "::error file=a.py::x", ":\\x3aerror file=a.py::x" },
        { "  \t::add-mask::x", "  \t:\\x3aadd-mask::x" },
        { "a\n::set-output name=a::b\nb", "a\n:\\x3aset-output name=a::b\nb" },
        { "a\r::stop-commands::x", "a\r:\\x3astop-commands::x" },
        { ":::error::x", ":\\x3a:error::x" },
        { "::", ":\\x3a" },
        { "\x1b[31m::error::x\x1b[0m", "\x1b[31m:\\x3aerror::x\x1b[0m" },
        { ":\x1b[1;31m:error::x", ":\x1b[1;31m\\x3aerror::x" },
        { "\xc2\xa0\xe3\x80\x80\xe2\x80\xaf\xe1\x9a\x80::error::",
          "\xc2\xa0\xe3\x80\x80\xe2\x80\xaf\xe1\x9a\x80:\\x3a"
          "error::" },
        { "x ##[error]y", "x ##\\x5berror]y" },
        { "####[group]", "####\\x5bgroup]" },
        { "#\x1b[0m#[error]", "#\x1b[0m#\\x5berror]" },
        /* what is none */
        { "test_a.py::test_b ::", "test_a.py::test_b ::" },
        { ": :error::x", ": :error::x" },
        { ":\n:error::x", ":\n:error::x" },
        { "\xc3\xa9::x", "\xc3\xa9::x" },
        { "# [x] #[x] ##\n[x] ## x", "# [x] #[x] ##\n[x] ## x" },
        { "##vso[task.setvariable]##teamcity[x]", "##vso[task.setvariable]##teamcity[x]" },
        { "--- a\n+++ b", "--- a\n+++ b" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(rows); i++)
        same(XD_CI_GITHUB, rows[i].in, rows[i].want);
}
END_TEST

START_TEST(azure)
{
    same(XD_CI_AZURE, "a ##vso[task.setvariable variable=x]y", "a ##vs\\x6f[task.setvariable variable=x]y");
    same(XD_CI_AZURE, "##[section]x\n###vso[a.b]", "##\\x5bsection]x\n###vs\\x6f[a.b]");
    same(XD_CI_AZURE, "##v##vso[", "##v##vs\\x6f[");
    same(XD_CI_AZURE, "::error::x ##vs ##VSO[ #vso[ ##teamcity[", "::error::x ##vs ##VSO[ #vso[ ##teamcity[");
}
END_TEST

START_TEST(teamcity)
{
    same(XD_CI_TEAMCITY, ".##teamcity[buildStatus text='x']",
         ".##teamcity\\x5b"
         "buildStatus text='x']");
    same(XD_CI_TEAMCITY,
         "##teamcity [x] ##teamCity[ ##[x] ::error::", "##teamcity [x] ##teamCity[ ##[x] ::error::");
}
END_TEST

START_TEST(elsewhere)
{
    same(0, "::error::x\n##[error] ##vso[ ##teamcity[\xff", "::error::x\n##[error] ##vso[ ##teamcity[\xff");
}
END_TEST

START_TEST(line_and_pass)
{
    xd_ci_guard g = { .systems = ALL };
    ck_assert_int_eq(xd_ci_guard_add(&g, &out, XD_BYTES_LIT("x")), 0);
    xd_ci_guard_line(&g);
    ck_assert_int_eq(xd_ci_guard_add(&g, &out, XD_BYTES_LIT("::a\n")), 0);
    xd_ci_guard_pass(&g);
    ck_assert_int_eq(xd_ci_guard_add(&g, &out, XD_BYTES_LIT("::error::##[x]\n::b")), 0);
    ck_assert_str_eq(xd_buf_cstr(&out), "x:\\x3a"
                                        "a\n::error::##\\x5bx]\n:\\x3a"
                                        "b");
}
END_TEST

static const char *only(const void *arg, const char *name)
{
    return strcmp(arg, name) == 0 ? "true" : strcmp(name, "TF_BUILD") == 0 ? "" : NULL;
}

START_TEST(systems)
{
    ck_assert_uint_eq(xd_ci_systems(only, "GITHUB_ACTIONS"), XD_CI_GITHUB);
    ck_assert_uint_eq(xd_ci_systems(only, "TF_BUILD"), XD_CI_AZURE);
    ck_assert_uint_eq(xd_ci_systems(only, "TEAMCITY_VERSION"), XD_CI_TEAMCITY);
    ck_assert_uint_eq(xd_ci_systems(only, "CI"), 0);
    unsetenv("GITHUB_ACTIONS");
    unsetenv("TEAMCITY_VERSION");
    setenv("TF_BUILD", "True", 1);
    ck_assert_uint_eq(xd_ci_systems_here(), XD_CI_AZURE);
}
END_TEST

/* Whatever goes in, in whatever pieces: the same comes out, no command is in it, and a second time changes nothing. */
START_TEST(always)
{
    static const char *const parts[] = { ":",        "::",   "#",     "##",       "[",    "vso", "vso[",
                                         "teamcity", "[",    " ",     "\t",       "\n",   "\r",  "\x1b[31m",
                                         "\x1b[",    "\x1b", "error", "\xc2\xa0", "\xff", "m",   "x" };
    srand(7);
    for (int round = 0; round < 20000; round++) {
        xd_autobuf in = XD_BUF_INIT, first = XD_BUF_INIT;
        for (int n = rand() % 12; n >= 0; n--)
            often_assert_int_eq(xd_buf_add_str(&in, parts[(size_t)rand() % XD_ARRAY_LEN(parts)]), 0);
        const char *whole = guarded(ALL, xd_buf_view(&in), in.len);
        often_assert_int_eq(xd_buf_add_str(&first, whole), 0);
        often_assert(!strstr(whole, "##[") && !strstr(whole, "##vso") && !strstr(whole, "##teamcity["));
        for (const char *line = whole; line; line = strpbrk(line, "\n\r")) {
            line += strspn(line, "\n\r\t ");
            often_assert(strncmp(line, "::", 2) != 0);
        }
        often_assert(strcmp(guarded(ALL, xd_buf_view(&first), first.len), xd_buf_cstr(&first)) == 0);
        if (!strstr(xd_buf_cstr(&in), "\xc2"))
            often_assert(
                strcmp(guarded(ALL, xd_buf_view(&in), (size_t)rand() % 5 + 1), xd_buf_cstr(&first)) == 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ci_guard");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, github);
    tcase_add_test(t, azure);
    tcase_add_test(t, teamcity);
    tcase_add_test(t, elsewhere);
    tcase_add_test(t, line_and_pass);
    tcase_add_test(t, systems);
    tcase_add_test(t, always);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
