/* needs: sync */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/fnmatch.h"
#include "sync/ignore.h"
#include "sync/wildmatch.h"

static xd_bytes lit(const char *s)
{
    return xd_bytes_str(s);
}

/* Does a .gitignore at the base leave the path out? A path that ends with a slash is a folder. */
static bool says(const char *rules, const char *path)
{
    xd_auto(xd_ignore) *first = NULL, *ig = NULL;
    size_t len = strlen(path);
    bool   folder = path[len - 1] == '/';
    ck_assert_int_eq(xd_ignore_new("/base", &first), 0);
    ck_assert_int_eq(xd_ignore_child(first, lit(""), lit(rules), lit(""), &ig), 0);
    return xd_ignore_match(ig, path, len - folder, folder);
}

static void left_out(const char *rules, const char *path)
{
    ck_assert_msg(says(rules, path), "'%s' does not leave out '%s'", rules, path);
}

static void kept(const char *rules, const char *path)
{
    ck_assert_msg(!says(rules, path), "'%s' leaves out '%s'", rules, path);
}

START_TEST(lines)
{
    kept("", "a");
    kept("\n\n\r\n", "a");
    kept("# a\n#a\n", "#a");
    left_out("\\#a", "#a");
    left_out(" #a", " #a");
    left_out("a\r\nb\r\n", "a");
    left_out("a\r\nb\r\n", "b");
    left_out("a\nb\r", "b"); /* git sees a newline at the end of any file */
    kept("a\r\r\n", "a");
    left_out("a\r\r\n", "a\r");
    left_out("\xef\xbb\xbf"
             "a\n",
             "a");
    left_out("a\n\xef\xbb\xbf"
             "b\n",
             "\xef\xbb\xbf"
             "b");
    left_out("a  \n", "a");
    left_out("a\\ \n", "a ");
    kept("a\\ \n", "a");
    left_out("a\\  \n", "a ");
    left_out("a \\ \n", "a  ");
    left_out("a\\\\ \n", "a\\");
    left_out("a\t\n", "a\t");
    kept("a\t\n", "a");
    left_out(" a", " a");
}
END_TEST

START_TEST(negation)
{
    kept("*\n!a\n", "a");
    left_out("*\n!a\n", "b");
    left_out("!a\n*\n", "a");
    left_out("\\!a", "!a");
    kept("!a", "a");
    kept("!", "!");
    kept("*.o\n!x.o\n", "d/x.o");
    left_out("*.o\n!/x.o\n", "d/x.o");
}
END_TEST

START_TEST(anchors)
{
    left_out("a", "d/e/a");
    left_out("/a", "a");
    kept("/a", "d/a");
    left_out("d/a", "d/a");
    kept("d/a", "e/d/a");
    left_out("a/", "d/a/");
    kept("a/", "d/a");
    left_out("/d/a/", "d/a/");
    kept("/d/a/", "d/a");
    kept("/", "a/");
    kept("//", "a/");
    kept("d//a", "d/a");
    left_out("*/", "a/");
    kept("*/", "a");
}
END_TEST

START_TEST(stars)
{
    left_out("*", "a");
    left_out("*.c", "d/a.c");
    left_out("*.c", ".c");
    kept("*.c", "a.cc");
    left_out("a*", "a");
    left_out("a*z", "a--z");
    kept("a*z", "az-");
    kept("aa*aa", "aaa");
    left_out("/*.c", "a.c");
    kept("/*.c", "d/a.c");
    left_out("d/*", "d/a");
    kept("d/*", "d/e/a");
    left_out("d/*/a", "d/e/a");
    kept("d/*/a", "d/a");
    left_out("a?c", "abc");
    kept("a?c", "ac");
    kept("a?c/", "a/c/");
    left_out("**/a", "a");
    left_out("**/a", "d/e/a");
    kept("**/a", "d/ea");
    left_out("d/**", "d/e/f");
    kept("d/**", "d/");
    left_out("d/**/a", "d/a");
    left_out("d/**/a", "d/e/f/a");
    kept("d/**/a", "d/e/fa");
    left_out("**/d/**/a/*.c", "x/d/y/z/a/b.c");
    kept("**/d/**/a/*.c", "x/d/y/z/a/b/c.c");
    left_out("**", "a");
    left_out("x**", "xyz");
    left_out("d/x**", "d/xy");
    kept("d/x**", "d/xy/z"); /* not between slashes: a star */
    kept("d/x**/z", "d/xa/y/z");
    left_out("d/x**/z", "d/xa/z");
    kept("d/x**/z", "d/xz"); /* git before 2.52 leaves it out */
    left_out("**\\/a", "d/a");
    left_out("*/**/a", "d/a");
    kept("*/**/a", "a");
}
END_TEST

START_TEST(sets)
{
    left_out("[abc]", "b");
    kept("[abc]", "d");
    left_out("[a-c]", "b");
    left_out("[!a-c]", "d");
    left_out("[^a-c]", "d");
    kept("[!a-c]", "b");
    left_out("[a-]", "-");
    left_out("[]a]", "]");
    kept("[!]a]", "]");
    left_out("[\\]]", "]");
    left_out("[\\a-\\c]", "b");
    left_out("[--0]", "."); /* a range from `-`, which has `/` in it */
    kept("d[--0]a", "d/a");
    kept("[c-a]", "b");
    kept("[a", "[a");
    kept("[", "[");
    left_out("\\[", "[");
    left_out("[[:alpha:]_]", "Q");
    left_out("[[:alpha:]_]", "_");
    kept("[[:alpha:]]", "\xc3");
    left_out("[[:space:]]", "\n");
    kept("[[:space:]]", "\v");
    left_out("[[:cntrl:]]", "\x7f");
    left_out("[[:punct:]]", "~");
    left_out("[[:xdigit:]][[:blank:]][[:graph:]][[:print:]][[:lower:]][[:upper:]][[:alnum:]][[:digit:]]",
             "F\t! zZ00");
    kept("[[:xdigit:]][[:blank:]][[:graph:]][[:print:]][[:lower:]][[:upper:]][[:alnum:]][[:digit:]]",
         "F\t! zz00");
    kept("[[:nope:]]", "n");
    left_out("[[:]", ":");
    left_out("[[:a]", ":");
    kept("d[/]a", "d/a");
    kept("d[^x]a", "d/a");
    left_out("[\xc0-\xff]?", "\xc3\xa9"); /* bytes */
    kept("a\\", "a\\");
    kept("a\\", "a");
    left_out("\\a\\*", "a*");
    kept("\\*", "a");
}
END_TEST

/* Patterns that take other matchers longer than anyone waits. */
START_TEST(bounded)
{
    char deep[4096], name[256];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    for (size_t i = 0; i + 1 < sizeof(deep); i++)
        deep[i] = i % 2 ? '/' : 'a';
    deep[sizeof(deep) - 2] = 'a';
    deep[sizeof(deep) - 1] = 0;
    kept("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", name);
    kept("?*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*[b]", name);
    kept("**/*a*/**/*a*/**/*a*/**/*a*/**/*a*/**/*a*/**/*a*/**/*[b]", deep);
    xd_autobuf glob = XD_BUF_INIT;
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(xd_buf_add_str(&glob, "*a"), 0);
    ck_assert_int_eq(xd_buf_add_str(&glob, "*[b]"), 0);
    xd_auto(xd_ignore) *ig = NULL;
    ck_assert_int_eq(xd_ignore_new("/", &ig), 0);
    ck_assert_int_eq(xd_ignore_add_glob(ig, NULL, xd_buf_view(&glob)), 0);
    ck_assert(!xd_ignore_match(ig, deep, strlen(deep), false));
}
END_TEST

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

static bool out(const xd_ignore *ig, const char *path)
{
    return xd_ignore_match(ig, path, strlen(path), false);
}

START_TEST(precedence)
{
    xd_auto(xd_ignore) *first = NULL, *base = NULL, *d = NULL, *e = NULL;
    ck_assert_int_eq(xd_ignore_new("/base", &first), 0);
    ck_assert_int_eq(xd_ignore_add_defaults(first), 0);
    ck_assert_int_eq(xd_ignore_add_glob(first, NULL, lit("*.dat")), 0);
    ck_assert_int_eq(
        xd_ignore_child(first, lit(""), lit("*.a\n*.b\n!.x\n!*.dat\n!.git\n!.xd-1\n"), lit("!*.b\n"), &base),
        0);
    ck_assert_int_eq(xd_ignore_child(base, lit("d"), lit("!1.a\n*.b\n/top\n"), lit("2.*\n.x\n"), &d), 0);
    ck_assert_int_eq(xd_ignore_child(d, lit("d/e"), lit(""), lit("!2.z\n# nothing\n"), &e), 0);
    ck_assert(out(first, ".x") && out(first, "y.pyc") && out(first, "y~") && !out(first, ".coveragerc"));
    ck_assert(!out(base, ".x") && out(base, ".y"));   /* .gitignore over the defaults */
    ck_assert(out(base, "1.a") && !out(d, "d/1.a"));  /* the deeper .gitignore */
    ck_assert(!out(base, "1.b") && !out(d, "d/1.b")); /* .xdignore over .gitignore, deeper ones too */
    ck_assert(out(d, "d/2.a") && out(d, "d/2.b") && out(d, "d/.x")); /* the deeper .xdignore */
    ck_assert(out(d, "d/2.z") && !out(e, "d/e/2.z"));
    ck_assert(out(d, "d/top") && !out(d, "d/sub/top") && !out(base, "top")); /* relative to its folder */
    ck_assert(!out(e, "dd/top") && !out(e, "d"));         /* below another folder: says nothing */
    ck_assert(out(e, "d/e/x.dat") && out(base, "x.dat")); /* globs over all */
    ck_assert(out(base, ".git") && out(base, ".xd-1") && out(e, "d/e/.git"));
}
END_TEST

/* A child that adds nothing is its parent; children keep those above alive. */
START_TEST(owners)
{
    xd_ignore *first = NULL, *same = NULL, *child = NULL, *grandchild = NULL;
    ck_assert_int_eq(xd_ignore_new("/base", &first), 0);
    ck_assert_int_eq(xd_ignore_child(first, lit("d"), lit("# only words\n\n\\\n"), lit(""), &same), 0);
    ck_assert_ptr_eq(first, same);
    ck_assert_int_eq(xd_ignore_child(same, lit("d"), lit("a"), lit(""), &child), 0);
    ck_assert_int_eq(xd_ignore_child(child, lit("d/e"), lit(""), lit("b"), &grandchild), 0);
    ck_assert_ptr_null(xd_ignore_free(first));
    xd_ignore_free(same);
    xd_ignore_free(child);
    ck_assert(out(grandchild, "d/e/a") && out(grandchild, "d/e/b"));
    xd_ignore_free(xd_ignore_ref(grandchild));
    ck_assert(out(grandchild, "d/e/a"));
    xd_ignore_free(grandchild);
    xd_ignore_free(NULL);
}
END_TEST

START_TEST(refused)
{
    xd_auto(xd_ignore) *ig = NULL, *child = NULL;
    char *huge = malloc(XD_IGNORE_TEXT_MAX + 1);
    memset(huge, 'x', XD_IGNORE_TEXT_MAX + 1);
    ck_assert_int_eq(xd_ignore_new("base", &ig), -EINVAL);
    ck_assert_int_eq(xd_ignore_new("", &ig), -EINVAL);
    ck_assert_int_eq(xd_ignore_new("/", &ig), 0);
    xd_bytes most = { (const uint8_t *)huge, XD_IGNORE_TEXT_MAX }, more = { most.ptr, most.len + 1 };
    ck_assert_int_eq(xd_ignore_child(ig, lit(""), more, lit(""), &child), -E2BIG);
    ck_assert_int_eq(xd_ignore_child(ig, lit(""), lit(""), more, &child), -E2BIG);
    ck_assert_ptr_null(child);
    ck_assert_int_eq(xd_ignore_child(ig, lit(""), most, lit("a\0b"), &child), 0);
    ck_assert(!out(child, "x") && out(child, "a"));
    most.len = XD_IGNORE_GLOB_MAX + 1;
    ck_assert_int_eq(xd_ignore_add_glob(ig, NULL, most), -E2BIG);
    ck_assert(!xd_ignore_match(child, "", 0, true));
    free(huge);
}
END_TEST

/* ---- globs ------------------------------------------------------------------------------------------------------ */

static bool glob_says(const char *base, const char *dir, const char *glob, const char *path)
{
    xd_auto(xd_ignore) *ig = NULL;
    ck_assert_int_eq(xd_ignore_new(base, &ig), 0);
    ck_assert_int_eq(xd_ignore_add_glob(ig, dir, lit(glob)), 0);
    return out(ig, path);
}

START_TEST(globs)
{
    ck_assert(glob_says("/b", NULL, "*.dat", "d/x.dat"));
    ck_assert(glob_says("/b", NULL, "x", "d/x"));
    ck_assert(glob_says("/b", NULL, "x/", "d/x"));
    ck_assert(!glob_says("/b", NULL, "d/x", "d/x")); /* xdist: not the last name, and not absolute */
    ck_assert(glob_says("/b", NULL, "/b/d/x", "d/x"));
    ck_assert(glob_says("/b", NULL, "/b/*x", "d/e/x"));
    ck_assert(glob_says("/", NULL, "/d/x", "d/x"));
    ck_assert(glob_says("/b/", NULL, "/b/d/x", "d/x"));
    ck_assert(glob_says("/b", NULL, "*/d/*", "d/x"));
    ck_assert(glob_says("/b", NULL, "[/]b/d/x", "d/x"));
    ck_assert(!glob_says("/b", NULL, "/c/d/x", "d/x"));
    ck_assert(glob_says("/b", NULL, "?", "\xc3\xa9") && !glob_says("/b", NULL, "?", "\xc3\xc3"));
    ck_assert(glob_says("/b", NULL, "[\xc3\xbf]", "\xc3\xbf") &&
              !glob_says("/b", NULL, "[\xc3\xbf]", "\xff"));
    ck_assert(glob_says("/b", NULL, "[!\xc3\xbf]", "\xff") && glob_says("/b", NULL, "[\xff]", "\xff"));
    ck_assert(!glob_says("/b", NULL, "[c-a]", "b") && glob_says("/b", NULL, "[!c-a]", "b"));
    ck_assert(glob_says("/b", NULL, "[", "[") && glob_says("/b", NULL, "\\", "\\"));
    ck_assert(glob_says("/b", NULL, "[!a]", "b") && !glob_says("/b", NULL, "[^a]", "b"));
    ck_assert(!glob_says("/b", NULL, "", "x") && !glob_says("/b", "", "/", "x"));
    ck_assert(glob_says("/b", "", "d/x", "d/x") && glob_says("/b", "", "d/*", "d/e/x"));
    ck_assert(glob_says("/b", "d", "x", "d/x") && !glob_says("/b", "d", "x", "d/e/x"));
    ck_assert(!glob_says("/b", "d", "x", "x") && !glob_says("/b", "d", "*", "d") &&
              !glob_says("/b", "d", "*", "dd/x"));
    ck_assert(glob_says("/b", "d", "*.dat", "d/e/x.dat"));
    ck_assert(glob_says("/b", "d/e", "../x", "d/x") && glob_says("/b", "d", "./../e/./x", "e/./x"));
    ck_assert(!glob_says("/b", "d", "../../x", "x") && !glob_says("/b", "d", "./", "d/x"));
    ck_assert(glob_says("/b", "d", "/b/x", "x"));
    ck_assert(glob_says("/b", "[d]", "x", "[d]/x")); /* the folder's name is no glob */
}
END_TEST

/* ---- digest ----------------------------------------------------------------------------------------------------- */

static xd_digest digest(const char *base, const char *dir, const char *git, const char *xd, const char *glob)
{
    xd_auto(xd_ignore) *first = NULL, *ig = NULL;
    ck_assert_int_eq(xd_ignore_new(base, &first), 0);
    ck_assert_int_eq(xd_ignore_add_glob(first, NULL, lit(glob)), 0);
    ck_assert_int_eq(xd_ignore_child(first, lit(dir), lit(git), lit(xd), &ig), 0);
    return xd_ignore_digest(ig);
}

START_TEST(digests)
{
    const xd_digest d = digest("/b", "d", "a*b\nc\n", "", "g");
    ck_assert(xd_digest_eq(d, digest("/b", "d", "# words\na*b  \r\n\nc", "", "g")));
    ck_assert(xd_digest_eq(d, digest("/other", "d", "a*b\nc\n", "", "g"))); /* no glob is absolute */
    ck_assert(!xd_digest_eq(digest("/b", "d", "a", "", "/g"), digest("/other", "d", "a", "", "/g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "c\na*b\n", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a*b\n!c\n", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a*b\nc/\n", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a*b\n/c\n", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a**b\nc\nd", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a?b\nc\n", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "e", "a*b\nc\n", "", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "", "a*b\nc\n", "g")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a*b\nc\n", "", "h")));
    ck_assert(!xd_digest_eq(d, digest("/b", "d", "a*b\nc\n", "", "")));
}
END_TEST

/* ---- threads: asked and extended at once (tsan) ------------------------------------------------------------------ */

static void *walk(void *arg)
{
    const xd_ignore *base = arg;
    size_t           wrong = 0;
    for (int i = 0; i < 2000; i++) {
        xd_auto(xd_ignore) *d = NULL, *e = NULL;
        char name[32];
        wrong += xd_ignore_child(base, lit("d"), lit("!x.o\n"), lit(""), &d) != 0;
        wrong += xd_ignore_child(d, lit("d/e"), lit(""), lit(i % 2 ? "" : "y*"), &e) != 0;
        snprintf(name, sizeof(name), "d/e/y%d", i);
        wrong += out(e, "d/e/x.o") || !out(e, "d/e/z.o") || out(e, name) != !(i % 2);
    }
    return wrong ? arg : NULL;
}

START_TEST(threads)
{
    xd_auto(xd_ignore) *first = NULL, *base = NULL;
    pthread_t at[4];
    ck_assert_int_eq(xd_ignore_new("/b", &first), 0);
    ck_assert_int_eq(xd_ignore_child(first, lit(""), lit("*.o"), lit(""), &base), 0);
    for (size_t i = 0; i < XD_ARRAY_LEN(at); i++)
        ck_assert_int_eq(pthread_create(&at[i], NULL, walk, base), 0);
    for (size_t i = 0; i < XD_ARRAY_LEN(at); i++) {
        void *wrong = NULL;
        ck_assert_int_eq(pthread_join(at[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ignore");
    TCase *t = tcase_create("ignore");
    suite_add_tcase(s, t);
    tcase_add_test(t, lines);
    tcase_add_test(t, negation);
    tcase_add_test(t, anchors);
    tcase_add_test(t, stars);
    tcase_add_test(t, sets);
    tcase_add_test(t, bounded);
    tcase_add_test(t, precedence);
    tcase_add_test(t, owners);
    tcase_add_test(t, refused);
    tcase_add_test(t, globs);
    tcase_add_test(t, digests);
    tcase_add_test(t, threads);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
