/* needs: engine actors */
/* How many workers: -n, --maxprocesses, --tx, --dist no, the project's options, auto. */
#include <check.h>
#include <stdlib.h>

#include "actors/numprocesses.h"

#define UNSET XD_WORKERS_UNSET
#define AUTO XD_WORKERS_AUTO
#define LOGICAL XD_WORKERS_LOGICAL

/* When the run is planned. */
START_TEST(planned)
{
    static const struct {
        int      own;
        uint32_t limit;
        size_t   tx;
        uint32_t of_specs, workers;
    } table[] = {
        { UNSET, 0, 0, 1, 0 }, { AUTO, 0, 0, 1, 0 },  { LOGICAL, 0, 0, 1, 0 },
        { 4, 0, 0, 1, 4 },     { 0, 0, 0, 1, 1 },     { 8, 3, 0, 1, 3 },
        { 2, 3, 0, 1, 2 },     { AUTO, 3, 0, 1, 0 },  /* the limit is of a number that comes later */
        { UNSET, 0, 2, 5, 5 }, { UNSET, 1, 2, 5, 5 }, /* the limit is one of -n */
        { 2, 0, 1, 5, 2 },     { AUTO, 0, 1, 5, 0 },  /* -n wins over --tx */
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_numprocesses n = {
            .own = table[i].own, .own_limit = table[i].limit, .own_tx = table[i].tx, .project = AUTO
        };
        ck_assert_msg(xd_numprocesses_planned(&n, table[i].of_specs) == table[i].workers, "row %zu", i);
        ck_assert_int_eq(xd_numprocesses_by_specs(&n), table[i].own == UNSET && table[i].tx);
    }
}
END_TEST

/* When processors, options of the project and tests are known. */
START_TEST(counted)
{
    static const struct {
        xd_numprocesses n;
        uint32_t        cpus, items, workers, room;
    } table[] = {
        /* auto: processors, and no more than tests */
        { { .own = UNSET, .project = AUTO }, 8, 100, 8, 0 },
        { { .own = AUTO, .project = AUTO }, 8, 100, 8, 0 },
        { { .own = LOGICAL, .project = AUTO }, 8, 100, 8, 0 },
        { { .own = UNSET, .project = AUTO }, 8, 3, 3, 0 },
        { { .own = UNSET, .project = AUTO }, 8, 0, 1, 0 },
        { { .own = UNSET, .project = AUTO, .own_limit = 4 }, 8, 100, 4, 0 },
        { { .own = UNSET, .project = AUTO }, 5000, 100000, XD_WORKERS_MAX, 0 },
        /* a number of the project is kept, also for few tests */
        { { .own = UNSET, .project = 5 }, 2, 100, 5, 0 },
        { { .own = UNSET, .project = 5 }, 2, 1, 5, 0 },
        { { .own = UNSET, .project = 5, .project_limit = 3 }, 2, 100, 3, 0 },
        { { .own = UNSET, .project = 0 }, 2, 100, 1, 0 },
        /* ... unless xd's command line says something else */
        { { .own = AUTO, .project = 5 }, 2, 100, 2, 0 },
        { { .own = UNSET, .project = 5, .project_limit = 3, .own_limit = 4 }, 2, 100, 4, 0 },
        /* a hook, or PYTEST_XDIST_AUTO_NUM_WORKERS */
        { { .own = UNSET, .project = AUTO, .automatic = 6 }, 2, 100, 6, 0 },
        { { .own = UNSET, .project = AUTO, .automatic = 6 }, 2, 1, 6, 0 },
        { { .own = UNSET, .project = 3, .automatic = 6 }, 2, 100, 3, 0 },
        { { .own = UNSET, .project = AUTO, .automatic = 6, .own_limit = 2 }, 8, 100, 2, 0 },
        /* specs of the project */
        { { .own = UNSET, .project = AUTO, .project_tx = 3 }, 8, 1, 3, 0 },
        { { .own = UNSET, .project = 2, .project_tx = 3 }, 8, 100, 2, 0 },
        { { .own = UNSET, .project = LOGICAL, .project_tx = 3 }, 8, 100, 8, 0 },
        { { .own = AUTO, .project = AUTO, .project_tx = 3 }, 8, 100, 8, 0 },
        /* cpus=auto in a spec: the processors of that host, whatever else there is */
        { { .own = UNSET, .own_tx = 2, .project = AUTO }, 8, 100, 8, 0 },
        { { .own = UNSET, .own_tx = 2, .project = AUTO }, 8, 3, 3, 0 },
        { { .own = UNSET, .own_tx = 2, .project = 5, .project_limit = 2, .own_limit = 3, .automatic = 4 },
          8,
          100,
          8,
          0 },
        { { .own = UNSET, .own_tx = 1, .project = AUTO, .own_no = true }, 8, 100, 8, 0 },
        /* --dist no without a number is one session */
        { { .own = UNSET, .project = AUTO, .own_no = true }, 8, 100, 1, 0 },
        { { .own = AUTO, .project = AUTO, .own_no = true }, 8, 100, 8, 0 },
        /* auto counts cores where they are told, but no more than processors; logical and cpus=auto do not */
        { { .own = UNSET, .project = AUTO, .cores = 4 }, 8, 100, 4, 0 },
        { { .own = AUTO, .project = LOGICAL, .cores = 4 }, 8, 100, 4, 0 },
        { { .own = AUTO, .project = AUTO, .cores = 4 }, 2, 100, 2, 0 },
        { { .own = LOGICAL, .project = AUTO, .cores = 4 }, 8, 100, 8, 0 },
        { { .own = UNSET, .project = LOGICAL, .cores = 4 }, 8, 100, 8, 0 },
        { { .own = UNSET, .own_tx = 1, .project = AUTO, .cores = 4 }, 8, 100, 8, 0 },
        { { .own = UNSET, .project = AUTO, .automatic = 6, .cores = 4 }, 8, 100, 6, 0 },
        /* memory bounds what nobody told */
        { { .own = UNSET, .project = AUTO }, 8, 100, 3, .room = 3 },
        { { .own = LOGICAL, .project = AUTO }, 8, 100, 1, .room = 1 },
        { { .own = UNSET, .project = AUTO }, 8, 100, 8, .room = 9 },
        { { .own = UNSET, .project = AUTO }, 8, 2, 2, .room = 3 },
        { { .own = UNSET, .own_tx = 1, .project = AUTO }, 8, 100, 3, .room = 3 },
        { { .own = UNSET, .project = 5 }, 2, 100, 5, .room = 1 },
        { { .own = UNSET, .project = AUTO, .automatic = 6 }, 2, 100, 6, .room = 1 },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_numprocesses_host host = { table[i].cpus, table[i].items, table[i].room };
        uint32_t             without, found = xd_numprocesses_counted(&table[i].n, &host, &without);
        ck_assert_msg(found == table[i].workers, "row %zu: %u", i, found);
        host.room = 0;
        ck_assert_uint_eq(without, xd_numprocesses_counted(&table[i].n, &host, NULL));
    }
}
END_TEST

START_TEST(plain)
{
    static const struct {
        int      own;
        bool     no;
        size_t   environments;
        uint32_t workers;
        bool     plain;
    } table[] = {
        { 0, false, 1, 1, true },     { 0, true, 1, 1, true },      { UNSET, true, 1, 0, true },
        { UNSET, true, 1, 1, true }, /* one --tx */
        { UNSET, true, 1, 2, false }, { UNSET, true, 2, 1, false }, { UNSET, false, 1, 1, false },
        { AUTO, true, 1, 0, false },  { 1, true, 1, 1, false },     { 4, false, 1, 4, false },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_numprocesses n = { .own = table[i].own, .own_no = table[i].no, .project = AUTO };
        ck_assert_msg(xd_numprocesses_plain(&n, table[i].environments, table[i].workers) == table[i].plain,
                      "row %zu", i);
    }
}
END_TEST

START_TEST(of_a_command_line)
{
    xd_config      *cfg;
    xd_numprocesses n;
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    xd_numprocesses_init(&n, cfg);
    ck_assert(n.own == UNSET && !n.own_limit && !n.own_no && !n.own_tx && n.project == AUTO && !n.automatic);
    ck_assert_int_eq(xd_config_set(cfg, "numprocesses", "7", NULL), 0);
    ck_assert_int_eq(xd_config_set(cfg, "maxprocesses", "5", NULL), 0);
    ck_assert_int_eq(xd_config_set(cfg, "dist", "no", NULL), 0);
    ck_assert_int_eq(xd_config_set(cfg, "tx", "popen", NULL), 0);
    xd_numprocesses_init(&n, cfg);
    ck_assert(n.own == 7 && n.own_limit == 5 && n.own_no && n.own_tx == 1);
    xd_config_free(cfg);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("numprocesses");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, planned);
    tcase_add_test(t, counted);
    tcase_add_test(t, plain);
    tcase_add_test(t, of_a_command_line);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
