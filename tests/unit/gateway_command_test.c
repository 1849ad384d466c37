/* needs: engine actors gateways */
/* gateway_command_test.c - command lines of specs: their words, what is put behind them, what is wrong with them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "gateways/command.h"

START_TEST(words)
{
    static const struct {
        const char *line, *words; /* with a bar behind each */
        bool        direct;
    } table[] = {
        { "sh", "sh|", false },
        { "docker exec -i box", "docker|exec|-i|box|/bin/sh|", false },
        { "docker exec -i box bash -l", "docker|exec|-i|box|bash|-l|", false },
        { "docker exec -i box /bin/ash", "docker|exec|-i|box|/bin/ash|", false },
        { "kubectl exec -i pod --", "kubectl|exec|-i|pod|--|/bin/sh|", false },
        { "sh -c", "sh|-c|/bin/sh|", false },
        { "bash -lc", "bash|-lc|/bin/sh|", false },
        { "bash --norc", "bash|--norc|", false },
        { "sudo -n -u 'the user'", "sudo|-n|-u|the user|/bin/sh|", false },
        { "sh -c 'cd /x && exec sh'", "sh|-c|cd /x && exec sh|/bin/sh|", false },
        { "/opt/xd/xdagent", "/opt/xd/xdagent|", true },
        { "ssh host xdagent --output-limit=1M", "ssh|host|xdagent|--output-limit=1M|", true },
        { "-x", "-x|/bin/sh|", false },
        { "srun", "srun|-u|/bin/sh|", false }, /* which passes on whole lines, else */
        { "/opt/slurm/bin/srun -n1 bash", "/opt/slurm/bin/srun|-u|-n1|bash|", false },
        { "ssh login srun -n1", "ssh|login|srun|-u|-n1|/bin/sh|", false },
        { "srun -n1 xdagent", "srun|-u|-n1|xdagent|", true },
        { "docker exec -i srun", "docker|exec|-i|srun|/bin/sh|", false },
        { "a\\ b \"c d\" ''", "a b|c d||/bin/sh|", false },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_autofree char **word = NULL;
        xd_autobuf         got = XD_BUF_INIT;
        bool               direct = !table[i].direct;
        xd_error           err = { 0 };
        ck_assert_msg(xd_gateway_command_words(table[i].line, &word, &direct, &err) == 0, "%s", err.text);
        for (size_t k = 0; word[k]; k++)
            ck_assert_int_eq(xd_buf_printf(&got, "%s|", word[k]), 0);
        ck_assert_str_eq(xd_buf_cstr(&got), table[i].words);
        ck_assert_int_eq(direct, table[i].direct);
    }
}
END_TEST

START_TEST(wrong_ones)
{
    static const struct {
        const char *line, *why;
    } table[] = {
        { "", "there is no command" },
        { "  \t", "there is no command" },
        { "sh -c 'oops", "the quote at character 7 is not closed" },
        { "\"", "the quote at character 1 is not closed" },
        { "a 'b' \"c", "the quote at character 7 is not closed" },
        { "echo | sh", "the | at character 6" },
        { "sh;sh", "the ; at character 3" },
        { "sh > /tmp/x", "the > at character 4" },
        { "sh \"$(id)\"", "the $ at character 5" },
        { "sh `id`", "the ` at character 4" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_autofree char **word = NULL;
        bool               direct;
        xd_error           err = { 0 };
        ck_assert_int_eq(xd_gateway_command_words(table[i].line, &word, &direct, &err), -EINVAL);
        ck_assert_msg(strstr(err.text, table[i].why) != NULL, "%s: %s", table[i].line, err.text);
    }
    static const char *const right[] = { "sh -c 'a | b; `c`'", "sh -c \"a | b > c\"", "echo \\| $HOME",
                                         "a '$(b)'" };
    for (size_t i = 0; i < XD_ARRAY_LEN(right); i++) {
        xd_autofree char **word = NULL;
        bool               direct;
        ck_assert_int_eq(xd_gateway_command_words(right[i], &word, &direct, NULL), 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gateway command");
    TCase *t = tcase_create("words");
    tcase_add_test(t, words);
    tcase_add_test(t, wrong_ones);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
