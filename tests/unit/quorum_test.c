/* needs: engine actors */
/* --min-workers: which runs begin, which wait, which never can. */
#include <check.h>

#include "actors/quorum.h"
#include "engine/base/mem.h"

#define S(n)                  \
    {                         \
        XD_QUORUM_STARTING, n \
    }
#define R(n)               \
    {                      \
        XD_QUORUM_READY, n \
    }
#define B(n)                  \
    {                         \
        XD_QUORUM_BRINGING, n \
    }
#define F(n)                \
    {                       \
        XD_QUORUM_FAILED, n \
    }

START_TEST(decisions)
{
    static const struct {
        xd_quorum_env envs[4];
        size_t        count;
        uint32_t      least;
        xd_quorum     what;
    } table[] = {
        /* all that were asked for */
        { { S(2) }, 1, 0, XD_QUORUM_WAIT },
        { { R(2) }, 1, 0, XD_QUORUM_BEGIN },
        { { F(2) }, 1, 0, XD_QUORUM_NEVER },
        { { R(2), S(0) }, 2, 0, XD_QUORUM_WAIT },
        { { R(2), R(8) }, 2, 0, XD_QUORUM_BEGIN },
        { { R(2), F(0), S(2) }, 3, 0, XD_QUORUM_HOPELESS },
        { { R(2), F(0), R(2) }, 3, 0, XD_QUORUM_NEVER },
        { { R(2), F(0), F(2) }, 3, 0, XD_QUORUM_NEVER },
        /* those that are sent files are not waited for, unless nobody else is there */
        { { R(2), B(8) }, 2, 0, XD_QUORUM_BEGIN },
        { { B(2), B(8) }, 2, 0, XD_QUORUM_WAIT },
        { { R(2), B(8), S(1) }, 3, 0, XD_QUORUM_WAIT },
        { { R(2), B(8), F(1) }, 3, 0, XD_QUORUM_HOPELESS },
        { { B(8), F(1) }, 2, 0, XD_QUORUM_HOPELESS },
        /* at least so many */
        { { R(2), B(4) }, 2, 2, XD_QUORUM_BEGIN },
        { { R(2), B(4) }, 2, 6, XD_QUORUM_WAIT },
        { { R(2), B(4) }, 2, 7, XD_QUORUM_HOPELESS },
        { { R(2), B(0) }, 2, 2, XD_QUORUM_WAIT },
        { { R(2), F(4) }, 2, 2, XD_QUORUM_BEGIN },
        { { R(2), F(4) }, 2, 3, XD_QUORUM_NEVER },
        { { R(2), S(4) }, 2, 2, XD_QUORUM_BEGIN }, /* the other one joins */
        { { R(2), S(4) }, 2, 3, XD_QUORUM_WAIT },
        { { R(2), S(4) }, 2, 6, XD_QUORUM_WAIT },
        { { R(2), S(4) }, 2, 7, XD_QUORUM_HOPELESS },
        { { R(2), S(4), F(9) }, 3, 7, XD_QUORUM_HOPELESS },
        { { F(2), F(4) }, 2, 1, XD_QUORUM_NEVER },
        { { F(2), S(4) }, 2, 1, XD_QUORUM_WAIT },
        /* a host whose number is not known: the numbers of all hang on it */
        { { R(2), S(0) }, 2, 2, XD_QUORUM_WAIT },
        { { R(2), S(0) }, 2, 100, XD_QUORUM_WAIT },
        { { R(2), R(8), F(0) }, 3, 10, XD_QUORUM_BEGIN },
        { { R(2), R(8), F(0) }, 3, 11, XD_QUORUM_NEVER },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++)
        ck_assert_msg(xd_quorum_of(table[i].envs, table[i].count, table[i].least) == table[i].what,
                      "row %zu: %d", i, (int)xd_quorum_of(table[i].envs, table[i].count, table[i].least));
}
END_TEST

START_TEST(counted)
{
    const xd_quorum_env envs[] = { R(2), S(3), F(4), R(1) };
    ck_assert_uint_eq(xd_quorum_ready(envs, 4), 3);
    ck_assert_uint_eq(xd_quorum_ready(envs, 0), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quorum");
    TCase *t = tcase_create("all");
    tcase_add_test(t, decisions);
    tcase_add_test(t, counted);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
