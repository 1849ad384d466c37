/* needs: actors */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/history.h"
#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "tests/unit/often.h"

static char     dir[64], db[96];
static unsigned syncs;

/* In place of libc's, for SQLite too. */
__attribute__((visibility("default"))) int fsync(int fd)
{
    (void)fd;
    syncs++;
    return 0;
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return fsync(fd);
}

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/xd-history-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(db, sizeof db, "%s/sub/history.db", dir);
}

static void teardown(void)
{
    (void)xd_path_remove_tree(dir);
}

static xd_bytes name(char *to, size_t size, unsigned n)
{
    int len = snprintf(to, size, "tests/test_%u.py::test_case[%u]", n / 100, n);
    return (xd_bytes){ (const uint8_t *)to, (size_t)len };
}

static xd_history *opened(int expect)
{
    xd_history *h = NULL;
    xd_error    err = { 0 };
    ck_assert_int_eq(xd_history_open(db, &h, &err), expect);
    ck_assert_ptr_nonnull(h);
    ck_assert_int_eq(err.code != 0, expect != 0);
    return h;
}

/* A test takes another time in another environment; what is not known of one is what is known of any. */
START_TEST(environments_have_their_own)
{
    char           buf[64];
    const uint64_t here = xd_history_environment(XD_BYTES_LIT("popen")),
                   other = xd_history_environment(XD_BYTES_LIT("popen//python=python3.9")),
                   third = xd_history_environment(XD_BYTES_LIT("popen//python=python3.10"));
    xd_history *h = opened(0);
    ck_assert_uint_eq(here, 0);
    ck_assert_uint_eq(xd_history_environment(XD_BYTES_LIT("popen #2")), 0);
    ck_assert(other && third && other != third);
    ck_assert_int_eq(xd_history_note(h, other, name(buf, sizeof buf, 1), 7000000, 1), 0);
    ck_assert_ptr_null(xd_history_find(h, 0, name(buf, sizeof buf, 1)));
    ck_assert_int_eq(xd_history_note(h, here, name(buf, sizeof buf, 1), 1000000, 1), 0);
    ck_assert_uint_eq(xd_history_find(h, other, name(buf, sizeof buf, 1))->duration_us, 7000000);
    ck_assert_uint_eq(xd_history_find(h, third, name(buf, sizeof buf, 1))->duration_us, 1000000);
    ck_assert_uint_eq(xd_history_find(h, 0, name(buf, sizeof buf, 1))->duration_us, 1000000);
    xd_history_free(h);
}
END_TEST

START_TEST(remembers)
{
    xd_error    err;
    char        buf[64];
    xd_history *h = opened(0);
    ck_assert_uint_eq(xd_history_count(h), 0);
    ck_assert_ptr_null(xd_history_find(h, 0, name(buf, sizeof buf, 1)));
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 1), 1000000, 1), 0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 2), 50, 2), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    xd_history_free(h);
    h = opened(0);
    ck_assert_uint_eq(xd_history_count(h), 2);
    ck_assert_uint_eq(xd_history_find(h, 0, name(buf, sizeof buf, 1))->duration_us, 1000000);
    ck_assert_uint_eq(xd_history_find(h, 0, name(buf, sizeof buf, 2))->outcome, 2);
    xd_history_free(h);
}
END_TEST

/* On a busy disk each sync takes seconds, and the end of a run would wait for all of them. */
START_TEST(waits_for_no_disk)
{
    xd_error    err;
    char        buf[64];
    xd_history *h = opened(0);
    syncs = 0;
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, i), 1000000, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 1), 9000000, 2), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    xd_history_free(h);
    ck_assert_uint_eq(syncs, 0);
    h = opened(0);
    ck_assert_uint_eq(xd_history_count(h), 1000);
    xd_history_free(h);
}
END_TEST

START_TEST(noise_is_not_written)
{
    xd_error    err;
    char        buf[64];
    xd_history *h = opened(0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 1), 1000000, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 1), 1240000, 1), 0); /* within 25 % */
    ck_assert_uint_eq(xd_history_dirty(h), 0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 1), 2000000, 1), 0);
    ck_assert_uint_eq(xd_history_dirty(h), 1);
    ck_assert_uint_eq(xd_history_find(h, 0, name(buf, sizeof buf, 1))->duration_us, 1500000);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 1), 1500000, 2), 0); /* another outcome */
    ck_assert_uint_eq(xd_history_dirty(h), 1);
    xd_history_free(h);
}
END_TEST

START_TEST(damaged_is_put_aside)
{
    xd_error          err = { 0 };
    char              buf[64], aside[128];
    xd_history       *h = NULL;
    xd_autofree char *folder = xd_path_dir(db);
    ck_assert_int_eq(xd_path_mkdirs(folder, 0700, &err), 0);
    ck_assert_int_eq(
        xd_path_write_file(
            db,
            XD_BYTES_LIT("this is no database, and it is longer than a header of one would be, "
                         "so that sqlite looks at it and says so: 0123456789012345678901234567890"),
            0600, &err),
        0);
    h = opened(XD_HISTORY_UNUSABLE);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 7), 5000000, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    xd_history_free(h);
    snprintf(aside, sizeof aside, "%s.damaged", db);
    ck_assert_int_eq(access(aside, F_OK), 0);
    h = opened(0);
    ck_assert_uint_eq(xd_history_count(h), 1);
    xd_history_free(h);
}
END_TEST

START_TEST(locked_is_said_once_and_no_fault)
{
    xd_error    err = { 0 };
    char        buf[64];
    sqlite3    *other = NULL;
    xd_history *h = opened(0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 7), 5000000, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    ck_assert_int_eq(sqlite3_open(db, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 8), 5000000, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), XD_HISTORY_UNUSABLE);
    ck_assert_ptr_nonnull(strstr(err.text, "locked"));
    ck_assert_uint_eq(xd_history_dirty(h), 1);
    xd_history_free(h);
    h = opened(XD_HISTORY_UNUSABLE); /* readable by nobody now */
    xd_history_free(h);
    sqlite3_close(other);
}
END_TEST

START_TEST(read_only_folder_is_no_fault)
{
    xd_error    err = { 0 };
    char        buf[64];
    xd_history *h = NULL;
    ck_assert_int_eq(xd_history_open("/proc/xd/history.db", &h, &err), 0);
    ck_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, 7), 5000000, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), XD_HISTORY_UNUSABLE);
    xd_history_free(h);
}
END_TEST

START_TEST(a_hundred_thousand)
{
    xd_error    err;
    char        buf[64];
    xd_history *h = opened(0);
    uint64_t    t0 = xd_clock_ns();
    for (unsigned i = 0; i < 100000; i++)
        often_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, i), 1000 + i, 1), 0);
    ck_assert_int_eq(xd_history_save(h, &err), 0);
    uint64_t t1 = xd_clock_ns();
    xd_history_free(h);
    uint64_t t2 = xd_clock_ns();
    h = opened(0);
    uint64_t t3 = xd_clock_ns();
    ck_assert_uint_eq(xd_history_count(h), 100000);
    printf("history of 100,000: written in %.0f ms, read in %.0f ms\n", (double)(t1 - t0) / 1e6,
           (double)(t3 - t2) / 1e6);
    for (unsigned i = 0; i < 100000; i++)
        often_assert_int_eq(xd_history_note(h, 0, name(buf, sizeof buf, i), 1500 + i, 1), 0);
    ck_assert_uint_eq(xd_history_dirty(h), 0);
    xd_history_free(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("history");
    TCase *c = tcase_create("history");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, environments_have_their_own);
    tcase_add_test(c, remembers);
    tcase_add_test(c, waits_for_no_disk);
    tcase_add_test(c, noise_is_not_written);
    tcase_add_test(c, damaged_is_put_aside);
    tcase_add_test(c, locked_is_said_once_and_no_fault);
    tcase_add_test(c, read_only_folder_is_no_fault);
    tcase_add_test(c, a_hundred_thousand);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
