#include "engine/ssh_args.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(hosts_and_options)
{
    static const struct {
        const char *text, *host;
        size_t      count;
        bool        forwards;
    } table[] = {
        { "myhostpopen", "myhostpopen", 1, false },
        { "-p 5000 myhost", "myhost", 3, false },
        { "me@myhost -p 5000", "me@myhost", 3, false },
        { "-4Cp5000 -l me h", "h", 4, false },
        { "-o 'ProxyCommand=nc %h %p' h", "h", 3, false },
        { "-vvv -i ~/.ssh/key -F none h -q", "h", 7, false },
        { "-L 5432:db:5432 h", "h", 3, true },
        { "-4R1:a:2 h", "h", 2, true },
        { "-o LocalForward=1 h", "h", 3, false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        xd_ssh_args a;
        char        why[256] = "";
        ck_assert_msg(xd_ssh_args_parse(&a, table[i].text, why, sizeof(why)) == 0, "%s: %s", table[i].text,
                      why);
        ck_assert_str_eq(a.words[a.host], table[i].host);
        ck_assert_uint_eq(a.count, table[i].count);
        ck_assert_int_eq(a.forwards, table[i].forwards);
        xd_ssh_args_release(&a);
    }
}
END_TEST

START_TEST(mistyped)
{
    static const struct {
        const char *text, *words;
    } table[] = {
        { "", "no host" },         { "   ", "no host" },     { "''", "no host" },
        { "-p 22", "no host" },    { "h -p", "no value" },   { "a b", "behind the host a" },
        { "-N h", "-N" },          { "-4fq h", "-f" },       { "-Z h", "-Z" },
        { "'h", "quote" },         { "- h", "'-'" },         { "-W a:1 h", "-W" },
        { "h uname -a", "uname" }, { "--help", "'--help'" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        xd_ssh_args a = { .count = 77 };
        char        why[256] = "";
        ck_assert_msg(xd_ssh_args_parse(&a, table[i].text, why, sizeof(why)) == -EINVAL, "'%s' is taken",
                      table[i].text);
        ck_assert_msg(strstr(why, table[i].words) != NULL, "'%s': %s", table[i].text, why);
        ck_assert_uint_eq(a.count, 77);
    }
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("ssh_args");
    TCase   *t = tcase_create("ssh_args");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, hosts_and_options);
    tcase_add_test(t, mistyped);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
