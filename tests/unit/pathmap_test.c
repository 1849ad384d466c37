/* needs: engine */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pathmap.h"

static xd_pathmap map;

static void set_up(void)
{
    map = XD_PATHMAP_INIT;
    ck_assert_int_eq(xd_pathmap_add(&map, XD_BYTES_LIT("/far/p"), XD_BYTES_LIT("/home/me/my p/")), 0);
}

static void tear_down(void)
{
    xd_pathmap_release(&map);
}

static void becomes(xd_pathmap_where where, const char *in, const char *want)
{
    xd_autobuf room = XD_BUF_INIT;
    xd_bytes   out;
    ck_assert_int_eq(xd_buf_add_str(&room, "before"), 0);
    ck_assert_int_eq(xd_pathmap_text(&map, xd_bytes_str(in), where, &room, &out), 0);
    char *text = xd_bytes_dup(out);
    ck_assert_str_eq(text, want);
    if (strcmp(in, want) == 0)
        ck_assert_uint_eq(out.len, strlen(in));
    ck_assert(memcmp(room.data, "before", 6) == 0);
    free(text);
}

START_TEST(whole_paths_are_replaced)
{
    static const char *const table[][2] = {
        { "/far/p", "/home/me/my p" },
        { "/far/p/", "/home/me/my p/" },
        { "/far/p/a.py:3: in f", "/home/me/my p/a.py:3: in f" },
        { "  File \"/far/p/a.py\", line 3", "  File \"/home/me/my p/a.py\", line 3" },
        { "('/far/p', b'/far/p/x')", "('/home/me/my p', b'/home/me/my p/x')" },
        { "rootdir: /far/p, configfile: x", "rootdir: /home/me/my p, configfile: x" },
        { "it is in /far/p.", "it is in /home/me/my p." },
        { "PYTHONPATH=/far/p:/far/p/b\n", "PYTHONPATH=/home/me/my p:/home/me/my p/b\n" },
        { "file:///far/p/a.py", "file:///home/me/my p/a.py" },
        { "\x1b[1m\x1b[31m/far/p/a.py\x1b[0m:3", "\x1b[1m\x1b[31m/home/me/my p/a.py\x1b[0m:3" },
        { "<module 'a' from '/far/p/a.py'>", "<module 'a' from '/home/me/my p/a.py'>" },
        { "/far/p/far/p", "/home/me/my p/far/p" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        becomes(XD_PATHMAP_ALL, table[i][0], table[i][1]);
}
END_TEST

START_TEST(parts_of_others_are_not)
{
    static const char *const table[] = {
        "",           "/far",           "/far/p-2/a.py",  "/far/pp",         "/far/p.old/a",
        "/far/p_1",   "/far/p\xc3\xa4", "x/far/p",        "/srv/far/p/a.py", "./far/p",
        "../far/p",   "~/far/p",        "http://h/far/p", "//far/p",         "a-/far/p",
        "$(x)/far/p", "${x}/far/p",     "/far//p",        "/far/p~",         "\xc3\xa4/far/p",
        "/FAR/p",     "/far/p...",      "m/far/p",        "[1m/far/p",       "*/far/p",
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        becomes(XD_PATHMAP_ALL, table[i], table[i]);
}
END_TEST

START_TEST(in_tracebacks_alone)
{
    becomes(XD_PATHMAP_FRAMES, "/far/p File \"/far/p/a.py\", line 3 in f\nFile \"/far/p/b.py\"",
            "/far/p File \"/home/me/my p/a.py\", line 3 in f\nFile \"/home/me/my p/b.py\"");
    becomes(XD_PATHMAP_FRAMES, "  File \x1b[35m\"/far/p/a.py\"\x1b[0m",
            "  File \x1b[35m\"/home/me/my p/a.py\"\x1b[0m");
    becomes(XD_PATHMAP_FRAMES, "open \"/far/p/a.py\"", "open \"/far/p/a.py\"");
}
END_TEST

START_TEST(the_longest_of_several)
{
    ck_assert_int_eq(xd_pathmap_add(&map, XD_BYTES_LIT("/far/p/lib"), XD_BYTES_LIT("/src/lib")), 0);
    ck_assert_int_eq(xd_pathmap_add(&map, XD_BYTES_LIT("/far"), XD_BYTES_LIT("/")), 0);
    becomes(XD_PATHMAP_ALL, "/far/p/lib/a /far/p/libs /far/x /far /home/me/my p",
            "/src/lib/a /home/me/my p/libs /x / /home/me/my p");
}
END_TEST

START_TEST(relative_paths_that_lead_out)
{
    becomes(XD_PATHMAP_ALL, "../b/a.py:3: in f", "../b/a.py:3: in f");
    ck_assert_int_eq(xd_pathmap_base(&map, XD_BYTES_LIT("/far/p/sub")), 0);
    ck_assert_int_eq(xd_pathmap_add(&map, XD_BYTES_LIT("/far/lib"), XD_BYTES_LIT("/src/lib")), 0);
    static const char *const table[][2] = {
        { "../b/a.py:3: in f", "/home/me/my p/b/a.py:3: in f" },
        { "x\n../../lib/a.py:3: E", "x\n/src/lib/a.py:3: E" },
        { "x\n../../../etc/a.py:3: E", "x\n/etc/a.py:3: E" },
        { "\x1b[1m\x1b[31m../../lib/a b.py\x1b[0m:3: E", "\x1b[1m\x1b[31m/src/lib/a b.py\x1b[0m:3: E" },
        { "../../../../etc/a.py:3: E", "../../../../etc/a.py:3: E" },
        { "a ../b.py:3: E", "a ../b.py:3: E" },
        { "../b.py: 3", "../b.py: 3" },
        { "../b.py\nx:3:", "../b.py\nx:3:" },
        { "..", ".." },
        { "../", "../" },
        { "../:3", "/home/me/my p/:3" },
        { "a.py:3: see /far/p/x", "a.py:3: see /home/me/my p/x" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        becomes(XD_PATHMAP_ALL, table[i][0], table[i][1]);
    becomes(XD_PATHMAP_FRAMES, "../b/a.py:3: in f", "../b/a.py:3: in f");
}
END_TEST

START_TEST(what_is_no_copy_is_passed_over)
{
    tear_down();
    const char *const bad[][2] = { { "/", "/a" }, { "///", "/a" }, { "far", "/a" }, { "/far", "a" },
                                   { "", "/a" },  { "/far", "" },  { "/a/", "/a" } };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ck_assert_int_eq(xd_pathmap_add(&map, xd_bytes_str(bad[i][0]), xd_bytes_str(bad[i][1])), 0);
    ck_assert_uint_eq(map.count, 0);
    becomes(XD_PATHMAP_ALL, "/a /far", "/a /far");
    xd_bytes   out;
    xd_autobuf room = XD_BUF_INIT;
    ck_assert_int_eq(xd_pathmap_text(NULL, XD_BYTES_LIT("/a"), XD_PATHMAP_ALL, &room, &out), 0);
    ck_assert(xd_bytes_eq_str(out, "/a"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pathmap");
    TCase *t = tcase_create("pathmap");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, whole_paths_are_replaced);
    tcase_add_test(t, parts_of_others_are_not);
    tcase_add_test(t, in_tracebacks_alone);
    tcase_add_test(t, the_longest_of_several);
    tcase_add_test(t, relative_paths_that_lead_out);
    tcase_add_test(t, what_is_no_copy_is_passed_over);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
