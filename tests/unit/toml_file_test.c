/* needs: actors */
/* TOML as a tree of plain C: kinds, places, order; what is no TOML; what would be too deep. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/toml_file.h"

static xd_toml_node *root;
static xd_toml_error why;

static int read_in(const char *text, const char *const *path)
{
    root = NULL;
    return xd_toml_read(text, strlen(text), path, &root, &why);
}

static const xd_toml_node *member(const xd_toml_node *n, const char *name)
{
    for (n = n->first; n; n = n->next)
        if (strcmp(n->key, name) == 0)
            return n;
    return NULL;
}

static void refused(const char *text, unsigned line, const char *words)
{
    ck_assert_int_eq(read_in(text, NULL), -EINVAL);
    ck_assert_ptr_null(root);
    ck_assert_uint_eq(why.line, line);
    ck_assert_msg(strstr(why.text, words) != NULL, "'%s' is not in: %s", words, why.text);
}

START_TEST(kinds_and_places)
{
    const xd_toml_node *n;
    ck_assert_int_eq(
        read_in("b = 'two'\na = -7\n[t]\nf = 1.5\nyes = true\nlist = [\n  1,\n  'x' ]\nday = 2026-01-01\n",
                NULL),
        0);
    n = root->first;
    ck_assert_str_eq(n->key, "b"); /* the order is that of the file */
    ck_assert_int_eq(n->kind, XD_TOML_STRING);
    ck_assert_str_eq(n->text, "two");
    ck_assert_uint_eq(n->line, 1);
    ck_assert_uint_eq(n->column, 1);
    n = n->next;
    ck_assert_str_eq(n->key, "a");
    ck_assert_int_eq(n->kind, XD_TOML_INTEGER);
    ck_assert_int_eq((int)n->integer, -7);
    ck_assert_uint_eq(n->line, 2);
    n = n->next;
    ck_assert_str_eq(n->key, "t");
    ck_assert_uint_eq(n->line, 3);
    ck_assert_int_eq(member(n, "f")->kind, XD_TOML_FLOAT);
    ck_assert_int_eq(member(n, "yes")->kind, XD_TOML_BOOLEAN);
    ck_assert(member(n, "yes")->boolean);
    ck_assert_int_eq(member(n, "day")->kind, XD_TOML_TIME);
    n = member(n, "list");
    ck_assert_int_eq(n->kind, XD_TOML_ARRAY);
    ck_assert_uint_eq(n->line, 6);
    ck_assert_uint_eq(n->first->line, 7);
    ck_assert_ptr_null(n->first->key);
    ck_assert_str_eq(n->first->next->text, "x");
    ck_assert_uint_eq(n->first->next->line, 8);
    root = xd_toml_free(root);
}
END_TEST

START_TEST(a_table_inside)
{
    static const char *const path[] = { "tool", "xd", NULL };
    ck_assert_int_eq(read_in("[project]\nname = 'p'\n[tool.xd]\nn = 3\n", path), 0);
    ck_assert_str_eq(root->first->key, "n");
    ck_assert_ptr_null(root->first->next);
    root = xd_toml_free(root);
    ck_assert_int_eq(read_in("[tool]\nxd.n = 3\n", path), 0);
    ck_assert_uint_eq(root->first->line, 2);
    root = xd_toml_free(root);
    ck_assert_int_eq(read_in("[tool.other]\nxd = 3\n", path), -ENOENT);
    ck_assert_int_eq(read_in("", path), -ENOENT);
    ck_assert_int_eq(read_in("[tool]\nxd = 3\n", path), -EINVAL);
    ck_assert_uint_eq(why.line, 2);
    ck_assert(strstr(why.text, "'xd' must be a table") && why.wrong_kind);
}
END_TEST

START_TEST(bytes_of_editors)
{
    ck_assert_int_eq(read_in("\xef\xbb\xbfn = 3\r\nm = '\xc3\xa4'\r\n", NULL), 0);
    ck_assert_str_eq(root->first->key, "n");
    ck_assert_uint_eq(root->first->next->line, 2);
    ck_assert_str_eq(root->first->next->text, "\xc3\xa4");
    root = xd_toml_free(root);
    ck_assert_int_eq(read_in("", NULL), 0);
    ck_assert_ptr_null(root->first);
    root = xd_toml_free(root);
    ck_assert_int_eq(read_in("n = 1\nm = '\xe4'\n", NULL), -EINVAL); /* latin-1 */
    ck_assert_uint_eq(why.line, 2);
    ck_assert_int_eq(xd_toml_read("a = '\0'\n", 8, NULL, &root, &why), -EINVAL);
    /* characters that no table of the library has; keys that begin with what no key begins with */
    refused("a = 1 \xef\xb8\x8f\n", 1, "");
    refused("\xef\xb8\x8f = 1\n", 1, "");
    ck_assert_int_eq(read_in("a = 'x\xef\xb8\x8f' # \xef\xb8\x8f\n", NULL), 0);
    root = xd_toml_free(root);
    refused("a = {=1}\n", 1, "");
    refused("[a.=]\n", 1, "");
}
END_TEST

START_TEST(no_toml)
{
    refused("n = \n", 1, "");
    refused("a = 1\nb = 2\na = 3\n", 3, "a");
    refused("[t]\na = 1\n[t]\n", 3, "");
    refused("a = 1\nb = 'x\n", 2, "");
    refused("a = 99999999999999999999\n", 1, "");
    refused("a = \"x\\u0000y\"\n", 1, "a text with a zero byte in it");
    refused("\"x\\u0000y\" = 1\n", 1, "a text with a zero byte in it");
}
END_TEST

static void add_many(char *to, const char *part, int times)
{
    for (to += strlen(to); times > 0; times--, to += strlen(part))
        memcpy(to, part, strlen(part) + 1);
}

/* Dots of strings, numbers and comments are none of a key. */
START_TEST(dots_that_are_not_deep)
{
    char *text = calloc(1, 8192);
    ck_assert_ptr_nonnull(text);
    add_many(text, "a = [", 1);
    add_many(text, "'1.2.3', \"4.5\\\".6\", 1.5, ", 50);
    add_many(text, "] # ", 1);
    add_many(text, "a.", 100);
    add_many(text, "\nb = \"\"\"\\\"\"\"\n", 1);
    add_many(text, "a.b.c.", 50);
    add_many(text, "\"\"\"\"\"\n", 1);
    ck_assert_msg(read_in(text, NULL) == 0, "%u: %s", why.line, why.text);
    root = xd_toml_free(root);
    text[0] = 0;
    add_many(text, "a = 1\nc = [\"\"\"\"a\"\"\"\", '''it's''', \"\", {", 1);
    add_many(text, "a.", 70);
    add_many(text, "a = 1}]\n", 1);
    refused(text, 2, "too many names with dots between them");
    free(text);
}
END_TEST

/* The library takes its tree down by recursion. */
START_TEST(too_deep)
{
    const size_t n = 200000;
    char        *text = malloc(2 * n + 8);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + 2 * i, "a.", 2);
    memcpy(text + 2 * n, "a = 1\n", 7);
    refused(text, 1, "too many names with dots between them");
    memset(text, '[', n);
    text[0] = 'a', text[1] = '=', text[n] = 0;
    ck_assert_int_eq(read_in(text, NULL), -EINVAL);
    free(text);
    refused("x.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = 1\n", 1,
            "too deep in one another");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("toml_file");
    TCase *t = tcase_create("toml_file");
    tcase_add_test(t, kinds_and_places);
    tcase_add_test(t, a_table_inside);
    tcase_add_test(t, bytes_of_editors);
    tcase_add_test(t, no_toml);
    tcase_add_test(t, dots_that_are_not_deep);
    tcase_add_test(t, too_deep);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
