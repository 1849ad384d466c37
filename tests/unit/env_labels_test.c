/* needs: actors */
/* What environments are called in lines of progress and heads of columns. */
#include <check.h>
#include <string.h>

#include "actors/env_labels.h"
#include "engine/base/mem.h"

#define MOST 4

START_TEST(the_shortest_that_tells_them_apart)
{
    static const struct {
        const char *specs[MOST], *labels[MOST];
    } table[] = {
        { { "popen" }, { "popen" } },
        { { "popen//python=python3.9" }, { "python3.9" } }, /* nothing is common to all of one but itself */
        { { "popen//python=python2.7", "popen//python=python3.13" }, { "python2.7", "python3.13" } },
        { { "popen//python=python2.7", "popen//python=python3.13", "ssh=me@hostA" },
          { "python2.7", "python3.13", "hostA" } },
        { { "popen", "popen//env:A=b" }, { "popen", "A=b" } },
        { { "popen//env:A=b", "popen//env:A=c" }, { "A=b", "A=c" } },
        { { "popen//chdir=/srv/one//nice=5", "popen//chdir=/srv/two//nice=5" }, { "one", "two" } },
        { { "ssh=-p 5000 hostB//python=python3.9", "ssh=hostA//python=python3.9" }, { "hostB", "hostA" } },
        { { "ssh=hostA//python=python3.8", "ssh=hostA//python=python3.9", "ssh=hostB//python=python3.9" },
          { "hostA/python3.8", "hostA/python3.9", "hostB/python3.9" } },
        { { "socket=hostA:8888", "command=docker exec -i box" }, { "hostA:8888", "docker exec -i box" } },
        /* the same name in several folders */
        { { "popen//python=/opt/3.8/bin/python", "popen//python=/opt/3.9/bin/python" }, { "3.8", "3.9" } },
        { { "popen//python=/opt/3.8/bin/python", "popen//python=/opt/3.9/bin/python",
            "popen//python=/usr/bin/python3" },
          { "opt/3.8/bin/python", "opt/3.9/bin/python", "usr/bin/python3" } },
        { { "ssh=me@hostA", "ssh=you@hostA" }, { "me@hostA", "you@hostA" } },
        /* every worker is an environment */
        { { "popen", "popen #2", "popen #3" }, { "popen", "popen #2", "popen #3" } },
        { { "popen", "popen", "popen//id=x", "popen" }, { "popen", "popen #2", "popen//id=x", "popen #3" } },
        { { "", "popen" }, { NULL, "popen" } },
    };
    for (size_t t = 0; t < XD_ARRAY_LEN(table); t++) {
        xd_bytes specs[MOST];
        size_t   count = 0;
        char   **labels;
        for (; count < MOST && table[t].specs[count]; count++)
            specs[count] = xd_bytes_str(table[t].specs[count]);
        ck_assert_int_eq(xd_env_labels_make(&labels, specs, count), 0);
        for (size_t i = 0; i < count; i++)
            ck_assert_msg(!table[t].labels[i] || strcmp(labels[i], table[t].labels[i]) == 0,
                          "%zu: %s is called %s", t, table[t].specs[i], labels[i]);
        xd_env_labels_free(labels, count);
    }
    xd_env_labels_free(NULL, 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("env_labels");
    TCase *c = tcase_create("env_labels");
    tcase_add_test(c, the_shortest_that_tells_them_apart);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
