/* needs: engine */
/* Folders of runs: names, locks, retention, finding. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "engine/runs.h"

#define DAY_NS (86400 * XD_S_NS)

static char state[64], base[96];

static const xd_folders where; /* the defaults */

static void setup(void)
{
    snprintf(state, sizeof(state), "/tmp/xd-runs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(state));
    snprintf(base, sizeof(base), "%s/xd/runs", state);
    setenv("XDG_STATE_HOME", state, 1);
}

static void teardown(void)
{
    (void)xd_path_remove_tree(state);
}

static bool there(const char *id)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", base, id);
    return access(path, F_OK) == 0;
}

/* A finished run of so many bytes; its id is kept in `id`. */
static void make(char id[static XD_RUN_ID_LEN + 1], size_t bytes)
{
    xd_run_dir        d = XD_RUN_DIR_INIT;
    xd_error          err = { 0 };
    xd_autofree char *journal = NULL;
    ck_assert_msg(xd_runs_create(&where, &d, &err) == 0, "%s", err.text);
    snprintf(id, XD_RUN_ID_LEN + 1, "%s", d.id);
    journal = xd_path_join(d.path, "journal");
    int fd = open(journal, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(posix_fallocate(fd, 0, (off_t)bytes), 0);
    close(fd);
    xd_run_dir_release(&d);
    usleep(2000); /* names sort by milliseconds */
}

START_TEST(a_run_has_a_private_folder)
{
    xd_run_dir  d = XD_RUN_DIR_INIT;
    xd_error    err = { 0 };
    struct stat st;
    ck_assert_int_eq(xd_runs_create(&where, &d, &err), 0);
    ck_assert_uint_eq(strlen(d.id), XD_RUN_ID_LEN);
    ck_assert_uint_eq(strspn(d.id, "0123456789abcdef"), XD_RUN_ID_LEN);
    ck_assert_int_eq(stat(d.path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0700);
    char milliseconds[13];
    snprintf(milliseconds, sizeof(milliseconds), "%.12s", d.id);
    uint64_t started = strtoull(milliseconds, NULL, 16), now = xd_clock_wall_us() / 1000;
    ck_assert_uint_le(started, now);
    ck_assert_uint_gt(started + 60000, now);
    xd_run_dir_release(&d);
    xd_run_dir_release(&d); /* twice is nothing */
}
END_TEST

START_TEST(names_sort_by_time_and_do_not_repeat)
{
    char ids[20][XD_RUN_ID_LEN + 1];
    for (int i = 0; i < 20; i++) {
        make(ids[i], 10);
        if (i)
            ck_assert_int_lt(strcmp(ids[i - 1], ids[i]), 0);
    }
}
END_TEST

START_TEST(a_place_that_cannot_be_had)
{
    xd_run_dir d = XD_RUN_DIR_INIT;
    xd_error   err = { 0 };
    setenv("XDG_STATE_HOME", "/proc/nowhere", 1);
    ck_assert_int_lt(xd_runs_create(&where, &d, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "/proc/nowhere"));
    ck_assert_ptr_null(d.path);
}
END_TEST

START_TEST(the_oldest_go_beyond_the_number)
{
    char ids[5][XD_RUN_ID_LEN + 1];
    for (int i = 0; i < 5; i++)
        make(ids[i], 10);
    ck_assert_int_eq(xd_runs_retain(&where, 3, UINT64_MAX, UINT64_MAX), 2);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(there(ids[i]), i >= 2);
    ck_assert_int_eq(xd_runs_retain(&where, 3, UINT64_MAX, UINT64_MAX), 0);
}
END_TEST

START_TEST(the_oldest_go_beyond_the_size)
{
    char ids[4][XD_RUN_ID_LEN + 1];
    for (int i = 0; i < 4; i++)
        make(ids[i], 100000);
    ck_assert_int_eq(xd_runs_retain(&where, 100, 250000, UINT64_MAX), 2);
    ck_assert(!there(ids[1]) && there(ids[2]) && there(ids[3]));
}
END_TEST

START_TEST(what_is_too_old_goes)
{
    char ids[2][XD_RUN_ID_LEN + 1], old[80], path[600];
    make(ids[0], 10);
    make(ids[1], 10);
    /* The age is that of the name. */
    snprintf(old, sizeof(old), "%012llx%s",
             (unsigned long long)(xd_clock_wall_us() / 1000 - 31ull * 86400000), ids[0] + 12);
    char from[600];
    snprintf(from, sizeof(from), "%s/%s", base, ids[0]);
    snprintf(path, sizeof(path), "%s/%s", base, old);
    ck_assert_int_eq(rename(from, path), 0);
    struct timespec times[2] = { { .tv_sec = time(NULL) - 31 * 86400 },
                                 { .tv_sec = time(NULL) - 31 * 86400 } };
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    ck_assert_int_eq(xd_runs_retain(&where, 100, UINT64_MAX, 30 * DAY_NS), 1);
    ck_assert(!there(old) && there(ids[1]));
}
END_TEST

START_TEST(a_run_that_lives_stays)
{
    char       ids[2][XD_RUN_ID_LEN + 1];
    xd_run_dir d = XD_RUN_DIR_INIT;
    xd_error   err = { 0 };
    ck_assert_int_eq(xd_runs_create(&where, &d, &err), 0);
    usleep(2000);
    make(ids[0], 10);
    make(ids[1], 10);
    ck_assert_int_ge(xd_runs_retain(&where, 1, UINT64_MAX, UINT64_MAX), 1);
    ck_assert(there(d.id));
    ck_assert(there(ids[1]));
    char id[XD_RUN_ID_LEN + 1];
    snprintf(id, sizeof(id), "%s", d.id);
    xd_run_dir_release(&d);
    ck_assert_int_ge(xd_runs_retain(&where, 1, UINT64_MAX, UINT64_MAX), 1);
    ck_assert(!there(id));
}
END_TEST

/* The lock is a file of the run's own: a link there is not followed, a folder there is no lock. */
START_TEST(a_lock_that_is_none)
{
    char ids[3][XD_RUN_ID_LEN + 1], path[600], target[600];
    for (int i = 0; i < 3; i++)
        make(ids[i], 10);
    snprintf(target, sizeof(target), "%s/elsewhere", state);
    snprintf(path, sizeof(path), "%s/%s/lock", base, ids[0]);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink(target, path), 0);
    snprintf(path, sizeof(path), "%s/%s/lock", base, ids[1]);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(xd_runs_retain(&where, 1, UINT64_MAX, UINT64_MAX), 2);
    ck_assert(!there(ids[0]) && !there(ids[1]) && there(ids[2]));
    ck_assert_int_lt(access(target, F_OK), 0);
}
END_TEST

/* A link with the name of a run is not this program's; what it leads to gets no lock file and stays. */
START_TEST(a_link_to_a_folder_stays)
{
    char ids[1][XD_RUN_ID_LEN + 1], path[600], target[600], lock[700];
    make(ids[0], 10);
    snprintf(target, sizeof(target), "%s/precious", state);
    ck_assert_int_eq(mkdir(target, 0700), 0);
    snprintf(path, sizeof(path), "%s/00000000000000000000000000000001", base);
    ck_assert_int_eq(symlink(target, path), 0);
    (void)!xd_runs_retain(&where, 1, UINT64_MAX, UINT64_MAX);
    snprintf(lock, sizeof(lock), "%s/lock", target);
    ck_assert_int_lt(access(lock, F_OK), 0);
    ck_assert(xd_path_is_dir(target));
}
END_TEST

/* What is no run is not touched. */
START_TEST(other_things_stay)
{
    char ids[1][XD_RUN_ID_LEN + 1], path[600];
    make(ids[0], 10);
    snprintf(path, sizeof(path), "%s/notes", base);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    (void)!xd_runs_retain(&where, 0, 0, 0);
    ck_assert(there("notes"));
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("runs");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_run_has_a_private_folder);
    tcase_add_test(t, names_sort_by_time_and_do_not_repeat);
    tcase_add_test(t, a_place_that_cannot_be_had);
    tcase_add_test(t, the_oldest_go_beyond_the_number);
    tcase_add_test(t, the_oldest_go_beyond_the_size);
    tcase_add_test(t, what_is_too_old_goes);
    tcase_add_test(t, a_run_that_lives_stays);
    tcase_add_test(t, a_lock_that_is_none);
    tcase_add_test(t, a_link_to_a_folder_stays);
    tcase_add_test(t, other_things_stay);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
