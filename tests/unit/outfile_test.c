/* A file that the user named, written anew: what stays as it was, and what is never exchanged. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine/base/outfile.h"
#include "engine/base/path.h"

static char     dir[64];
static xd_error err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-outfile-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    (void)!chdir("/");
    (void)xd_path_remove_tree(dir);
}

static void put(const char *path, const char *text)
{
    xd_outfile f;
    ck_assert_msg(xd_outfile_open(&f, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(write(f.fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_msg(xd_outfile_commit(&f, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(f.fd, -1);
}

static void holds(const char *path, const char *text)
{
    xd_autobuf out = XD_BUF_INIT;
    ck_assert_int_eq(xd_path_read_file(path, 1000, &out, &err), 0);
    ck_assert_str_eq(xd_buf_cstr(&out), text);
}

static struct stat facts(const char *path)
{
    struct stat st;
    ck_assert_int_eq(lstat(path, &st), 0);
    return st;
}

START_TEST(a_regular_file)
{
    mode_t old = umask(027);
    put("new", "one");
    umask(old);
    holds("new", "one");
    ck_assert_uint_eq(facts("new").st_mode & 0777, 0640);
    ck_assert_int_eq(chmod("new", 0604), 0);
    ino_t first = facts("new").st_ino;
    put("new", "two");
    holds("new", "two");
    ck_assert_uint_eq(facts("new").st_mode & 0777, 0604); /* the mode stays, the file is another */
    ck_assert(facts("new").st_ino != first);
}
END_TEST

START_TEST(given_up)
{
    xd_outfile f;
    put("file", "old");
    ck_assert_int_eq(xd_outfile_open(&f, "file", &err), 0);
    ck_assert_int_eq(write(f.fd, "half", 4), 4);
    holds("file", "old"); /* nobody sees half of it */
    xd_outfile_abandon(&f);
    holds("file", "old");
    ck_assert_int_eq(unlink("file"), 0);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing else is left */
    ck_assert_int_eq(mkdir(dir, 0700), 0);
}
END_TEST

START_TEST(links)
{
    put("real", "old");
    ck_assert_int_eq(symlink("real", "link"), 0);
    put("link", "new");
    ck_assert(S_ISLNK(facts("link").st_mode));
    holds("real", "new");
    ck_assert_int_eq(symlink("nobody", "dangling"), 0);
    put("dangling", "made");
    ck_assert(S_ISLNK(facts("dangling").st_mode));
    holds("nobody", "made");
    ck_assert_int_eq(link("real", "second"), 0);
    put("real", "both");
    holds("second", "both");
    ck_assert_uint_eq(facts("real").st_nlink, 2);
}
END_TEST

/* As root a rename would put a file in the place of the device: a node of our own is at stake, not /dev/null. */
START_TEST(devices_and_pipes)
{
    xd_outfile f;
    if (mknod("node", S_IFCHR | 0600, makedev(1, 3)) == 0) {
        if (xd_outfile_open(&f, "node", &err) == 0) /* not where /tmp takes no devices */
            ck_assert_int_eq(xd_outfile_commit(&f, "node", &err), 0);
        ck_assert(S_ISCHR(facts("node").st_mode));
    }
    ck_assert_int_eq(symlink("/dev/null", "null"), 0);
    put("null", "x");
    ck_assert(S_ISLNK(facts("null").st_mode));
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(xd_outfile_open(&f, "fifo", &err), -ENXIO);
    ck_assert_ptr_nonnull(strstr(err.text, "fifo"));
    int reader = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(reader, 0);
    char text[8] = "";
    ck_assert_int_eq(xd_outfile_open(&f, "fifo", &err), 0);
    ck_assert_int_eq(fcntl(f.fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(write(f.fd, "through", 7), 7);
    ck_assert_int_eq(xd_outfile_commit(&f, "fifo", &err), 0);
    ck_assert_int_eq(read(reader, text, 7), 7);
    ck_assert(S_ISFIFO(facts("fifo").st_mode));
    close(reader);
}
END_TEST

START_TEST(what_cannot_be)
{
    xd_outfile f;
    ck_assert_int_eq(xd_outfile_open(&f, "no/such/file", &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "no/such/file"));
    ck_assert_int_eq(xd_outfile_open(&f, ".", &err), -EISDIR);
    if (getuid() == 0)
        return; /* nothing is forbidden to root */
    put("file", "old");
    ck_assert_int_eq(chmod(dir, 0500), 0); /* no file can be made beside it */
    put("file", "new");
    holds("file", "new");
    ck_assert_int_eq(xd_outfile_open(&f, "other", &err), -EACCES);
    ck_assert_int_eq(chmod(dir, 0700), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("outfile");
    TCase *t = tcase_create("outfile");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_regular_file);
    tcase_add_test(t, given_up);
    tcase_add_test(t, links);
    tcase_add_test(t, devices_and_pipes);
    tcase_add_test(t, what_cannot_be);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
