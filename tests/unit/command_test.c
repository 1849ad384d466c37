/* needs: runners */
/* command_test.c - the command runner: lists, arguments, words; and that each runner's table is whole. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/runners/command_args.h"
#include "actors/runners/command_list.h"
#include "actors/runners/runner.h"

/* ---- the table -------------------------------------------------------------------------------------------- */

START_TEST(runners_are_found_by_name)
{
    static const char *const names[] = { "pytest", "command" };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
        const xd_runner_ops *o = xd_runner_find(xd_bytes_str(names[i]));
        ck_assert_ptr_nonnull(o);
        ck_assert_str_eq(o->name, names[i]);
        ck_assert_ptr_nonnull(strstr(xd_runner_names(), names[i]));
        ck_assert(o->program && o->without_collector && o->endings && o->pause_signal);
        ck_assert(o->prepare && o->release && o->temporary && o->open_output && o->spawn_parent &&
                  o->spawn_worker);
        ck_assert_str_eq(o->endings[0], "");
        ck_assert_ptr_null(o->release(NULL));
    }
    ck_assert_ptr_eq(xd_runner_find((xd_bytes){ 0 }), xd_runner_find(xd_bytes_str("pytest")));
    ck_assert_ptr_null(xd_runner_find(xd_bytes_str("nose")));
}
END_TEST

/* What env: sets replaces what this process has. */
START_TEST(environment_of_a_runner)
{
    xd_autobuf        pairs = XD_BUF_INIT;
    xd_error          err = { 0 };
    char            **env = NULL;
    xd_wire_ENV_START start = { .env.count = 2 };
    ck_assert_int_eq(setenv("XD_TEST_A", "old", 1), 0);
    ck_assert_int_eq(xd_wire_PAIR_append(&pairs, &(xd_wire_PAIR){ .name = XD_BYTES_LIT("XD_TEST_A"),
                                                                  .value = XD_BYTES_LIT("new") }),
                     0);
    ck_assert_int_eq(xd_wire_PAIR_append(&pairs, &(xd_wire_PAIR){ .name = XD_BYTES_LIT("XD_TEST_B"),
                                                                  .value = XD_BYTES_LIT("") }),
                     0);
    start.env.ptr = pairs.data;
    start.env.len = pairs.len;
    ck_assert_int_eq(xd_runner_environ(&start, NULL, &env, &err), 0);
    ck_assert_str_eq(xd_runner_environ_get(env, "XD_TEST_A"), "new");
    ck_assert_str_eq(xd_runner_environ_get(env, "XD_TEST_B"), "");
    ck_assert_str_eq(xd_runner_environ_get(env, "PATH"), getenv("PATH"));
    ck_assert_ptr_null(xd_runner_environ_get(env, "XD_TEST_"));
    xd_runner_environ_free(env);

    xd_buf_clear(&pairs);
    ck_assert_int_eq(xd_wire_PAIR_append(
                         &pairs, &(xd_wire_PAIR){ .name = XD_BYTES_LIT("A=B"), .value = XD_BYTES_LIT("c") }),
                     0);
    start.env = (xd_wire_list){ .count = 1, .ptr = pairs.data, .len = pairs.len };
    ck_assert_int_eq(xd_runner_environ(&start, NULL, &env, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "env:A=B="));
    xd_runner_environ_free(env);
}
END_TEST

/* ---- lists ------------------------------------------------------------------------------------------------ */

static void add(xd_command_list *l, const char *text)
{
    ck_assert_int_eq(xd_command_list_add(l, xd_bytes_str(text), "l", NULL), 0);
}

static void ids_are(const xd_command_list *l, const char *const *want, size_t n)
{
    ck_assert_uint_eq(l->count, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(xd_bytes_eq_str(l->at[i].id, want[i]), "%zu: %.*s", i, (int)l->at[i].id.len,
                      (const char *)l->at[i].id.ptr);
}

START_TEST(lines_of_a_list)
{
    static const char *const want[] = { "a", "b c", "d #e", "f", "g\\ ", "h" };
    xd_command_list          l = XD_COMMAND_LIST_INIT;
    add(&l, "a\n\n# no\n \t# nor this\n\tb c \nd #e\r\n   \nf\n\ng\\ \nh");
    ids_are(&l, want, XD_ARRAY_LEN(want));
    xd_command_list_release(&l);
    add(&l, "");
    add(&l, "\n\n");
    ck_assert_uint_eq(l.count, 0);
    xd_command_list_release(&l);
}
END_TEST

/* A line may look like the id of a copy, before it or behind it. */
START_TEST(same_lines)
{
    static const char *const want[] = { "a", "a [2]", "a [3]", "a [2] [2]", "a [4]", "b [2]", "b", "b [3]" };
    xd_command_list          l = XD_COMMAND_LIST_INIT;
    add(&l, "a\na\na\na [2]\na\nb [2]\nb\nb\n");
    ids_are(&l, want, XD_ARRAY_LEN(want));
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(xd_bytes_eq_str(xd_command_line(&l.at[i]), "a"));
    ck_assert(xd_bytes_eq_str(xd_command_line(&l.at[3]), "a [2]"));
    xd_command_list_release(&l);
}
END_TEST

START_TEST(many_same_lines)
{
    xd_autobuf      text = XD_BUF_INIT;
    xd_command_list l = XD_COMMAND_LIST_INIT;
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(xd_buf_add_str(&text, "/bin/true\n"), 0);
    ck_assert_int_eq(xd_command_list_add(&l, xd_buf_view(&text), "l", NULL), 0);
    ck_assert(xd_bytes_eq_str(l.at[99999].id, "/bin/true [100000]"));
    xd_command_list_release(&l);
}
END_TEST

START_TEST(lines_that_are_refused)
{
    xd_command_list l = XD_COMMAND_LIST_INIT;
    xd_autobuf      text = XD_BUF_INIT;
    xd_error        err = { 0 };
    ck_assert_int_eq(xd_command_list_add(&l, XD_BYTES_LIT("a\n\nb\0c\n"), "x.txt", &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "x.txt, line 3: it has a NUL byte"));
    ck_assert_int_eq(xd_buf_add_str(&text, "a\n"), 0);
    ck_assert_int_eq(xd_buf_fill(&text, 'x', XD_COMMAND_LINE_MAX), 0);
    ck_assert_int_eq(xd_command_list_add(&l, xd_buf_view(&text), "x.txt", &err), 0);
    ck_assert_int_eq(xd_buf_add_byte(&text, 'x'), 0);
    ck_assert_int_eq(xd_command_list_add(&l, xd_buf_view(&text), "x.txt", &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "x.txt, line 2: it has 131001 bytes"));
    xd_command_list_release(&l);
}
END_TEST

static xd_wire_list texts(xd_buf *to, const char *const *words, uint32_t n)
{
    xd_buf_clear(to);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(xd_wire_TEXT_append(to, &(xd_wire_TEXT){ .text = xd_bytes_str(words[i]) }), 0);
    return (xd_wire_list){ .count = n, .ptr = to->data, .len = to->len };
}

START_TEST(selection_and_order)
{
    static const char *const wanted[] = { "c", "a [2]", "c" }, *const kept[] = { "a [2]", "c" },
                             *const turned[] = { "c", "a [2]" }, *const wrong[] = { "a", "z" };
    xd_command_list l = XD_COMMAND_LIST_INIT;
    xd_autobuf      ids = XD_BUF_INIT, places = XD_BUF_INIT;
    xd_bytes        missing;
    add(&l, "a\na\nb\nc\n");
    ck_assert_int_eq(xd_command_list_select(&l, texts(&ids, wrong, 2), &missing), -ENOENT);
    ck_assert(xd_bytes_eq_str(missing, "z"));
    ck_assert_int_eq(xd_command_list_select(&l, texts(&ids, wanted, 3), &missing), 0);
    ids_are(&l, kept, 2);
    for (uint32_t i = 2; i-- > 0;)
        ck_assert_int_eq(xd_wire_INDEX_append(&places, &(xd_wire_INDEX){ .item = i }), 0);
    xd_wire_list order = { .count = 2, .ptr = places.data, .len = places.len };
    ck_assert_int_eq(xd_command_list_order(&l, order), 0);
    ids_are(&l, turned, 2);
    order.count = 1;
    ck_assert_int_eq(xd_command_list_order(&l, order), -EPROTO);
    xd_command_list_release(&l);
}
END_TEST

START_TEST(packed_and_unpacked)
{
    static const char *const want[] = { "a", "a [2]", "b c" };
    xd_command_list          l = XD_COMMAND_LIST_INIT, other = XD_COMMAND_LIST_INIT;
    xd_autobuf               packed = XD_BUF_INIT;
    add(&l, "a\na\nb c\n");
    ck_assert_int_eq(xd_command_list_pack(&l, &packed), 0);
    ck_assert_int_eq(xd_command_list_unpack(&other, xd_buf_view(&packed)), 0);
    ids_are(&other, want, 3);
    ck_assert(xd_bytes_eq_str(xd_command_line(&other.at[1]), "a"));
    for (size_t cut = 1; cut < packed.len; cut++) {
        xd_command_list broken = XD_COMMAND_LIST_INIT;
        int             r = xd_command_list_unpack(&broken, (xd_bytes){ packed.data, cut });
        ck_assert(r == -EPROTO || broken.count < 3);
        xd_command_list_release(&broken);
    }
    xd_command_list_release(&l);
    xd_command_list_release(&other);
}
END_TEST

/* ---- words ------------------------------------------------------------------------------------------------ */

START_TEST(words_without_a_shell)
{
    static const char *const shell[] = { "a | b",  "a; b",      "a && b",  "a > b", "a $B",  "a `b`",
                                         "a 'b'",  "a \"b\"",   "a\\ b",   "a *",   "a b?",  "a [b]",
                                         "# a",    "a ~",       "a {b,c}", "! a",   "A=b c", "exit 3",
                                         "echo a", "test -e x", "true",    ". a",   "a (b)", "a\x01" };
    for (size_t i = 0; i < XD_ARRAY_LEN(shell); i++) {
        char **words;
        ck_assert_int_eq(xd_command_words(xd_bytes_str(shell[i]), &words), 0);
        ck_assert_msg(!words, "%s", shell[i]);
    }
    char **words;
    ck_assert_int_eq(xd_command_words(XD_BYTES_LIT("/bin/a  -b\t--c=d,e:f/@%+- \xc3\xa4"), &words), 0);
    static const char *const want[] = { "/bin/a", "-b", "--c=d,e:f/@%+-", "\xc3\xa4" };
    for (size_t i = 0; i < XD_ARRAY_LEN(want); i++)
        ck_assert_str_eq(words[i], want[i]);
    ck_assert_ptr_null(words[4]);
    free(words);
}
END_TEST

/* ---- arguments -------------------------------------------------------------------------------------------- */

static const char *option(const xd_command_args *a, const char *name, char *room, size_t size)
{
    xd_wire_list list = { .count = a->n_options, .ptr = a->options.data, .len = a->options.len };
    xd_wire_PAIR p;
    while (xd_wire_PAIR_next(&list, &p) > 0)
        if (xd_bytes_eq_str(p.name, name)) {
            snprintf(room, size, "%.*s", (int)p.value.len, (const char *)p.value.ptr);
            return room;
        }
    return "-";
}

START_TEST(arguments)
{
    static const char *const words[] = { "--list",   "a",   "line one",   "-xv", "--timeout=1.5s",
                                         "--list=b", "-rA", "--junitxml", "j",   "-v" };
    xd_command_args          a;
    xd_autobuf               room = XD_BUF_INIT;
    xd_error                 err = { 0 };
    char                     v[64];
    ck_assert_int_eq(xd_command_args_read(&a, texts(&room, words, XD_ARRAY_LEN(words)), &err), 0);
    ck_assert_uint_eq(a.n_files, 2);
    ck_assert_uint_eq(a.n_ids, 1);
    ck_assert_uint_eq(a.timeout_ns, 1500000000);
    ck_assert_str_eq(option(&a, "maxfail", v, sizeof(v)), "1");
    ck_assert_str_eq(option(&a, "verbose", v, sizeof(v)), "2");
    ck_assert_str_eq(option(&a, "reportchars", v, sizeof(v)), "A");
    ck_assert_str_eq(option(&a, "xmlpath", v, sizeof(v)), "j");
    ck_assert_str_eq(option(&a, "runner", v, sizeof(v)), "command");
    ck_assert_str_eq(option(&a, "color", v, sizeof(v)), "auto");
    ck_assert_str_eq(option(&a, "durations", v, sizeof(v)), "-");
    xd_command_args_release(&a);
}
END_TEST

START_TEST(arguments_that_are_refused)
{
    static const struct {
        const char *word, *said;
    } v[] = { { "-k", "option -k does not apply to --runner command" },
              { "-xk", "option -xk does not apply" },
              { "--lf", "option --lf does not apply" },
              { "--listing=a", "option --listing=a does not apply" },
              { "--timeout", "option --timeout needs a value" },
              { "--timeout=x", "option --timeout: 'x' is not valid: it is a time" },
              { "--maxfail=-1", "option --maxfail: '-1' is not valid" },
              { "--color=red", "it is one of yes, no, auto" },
              { "--junitxml=", "option --junitxml: '' is not valid" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(v); i++) {
        const char *const words[] = { "--list=a", v[i].word };
        xd_command_args   a;
        xd_autobuf        room = XD_BUF_INIT;
        xd_error          err = { 0 };
        ck_assert_int_eq(xd_command_args_read(&a, texts(&room, words, 2), &err), -EINVAL);
        ck_assert_msg(strstr(err.text, v[i].said), "%s: %s", v[i].word, err.text);
        xd_command_args_release(&a);
    }
    xd_command_args a;
    xd_error        err = { 0 };
    ck_assert_int_eq(xd_command_args_read(&a, (xd_wire_list){ 0 }, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "needs --list FILE"));
    xd_command_args_release(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("command");
    TCase *c = tcase_create("all");
    tcase_add_test(c, runners_are_found_by_name);
    tcase_add_test(c, environment_of_a_runner);
    tcase_add_test(c, lines_of_a_list);
    tcase_add_test(c, same_lines);
    tcase_add_test(c, many_same_lines);
    tcase_add_test(c, lines_that_are_refused);
    tcase_add_test(c, selection_and_order);
    tcase_add_test(c, packed_and_unpacked);
    tcase_add_test(c, words_without_a_shell);
    tcase_add_test(c, arguments);
    tcase_add_test(c, arguments_that_are_refused);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
