/* needs: sync */
/* beneath_test.c - what is opened below a folder, with openat2 and without: never through a link, never outside. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "sync/beneath.h"

static char folder[64];
static int  root;

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/xd-beneath-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(root, 0);
    ck_assert_int_eq(mkdirat(root, "d", 0755), 0);
    ck_assert_int_eq(mkdirat(root, "d/e", 0755), 0);
    int fd = openat(root, "d/e/f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    ck_assert_int_eq(write(fd, "text", 4), 4);
    close(fd);
    ck_assert_int_eq(symlinkat("e", root, "d/inside"), 0);
    ck_assert_int_eq(symlinkat("/etc", root, "d/outside"), 0);
    ck_assert_int_eq(symlinkat("e/f", root, "d/file"), 0);
    ck_assert_int_eq(symlinkat("/proc/self/cwd", root, "d/magic"), 0);
    ck_assert_int_eq(mkfifoat(root, "d/fifo", 0600), 0);
}

static void teardown(void)
{
    close(root);
    ck_assert_int_eq(xd_path_remove_tree(folder), 0);
}

static const struct {
    const char *path;
    bool        opens;
} PATHS[] = {
    { ".", true },          { "d", true },
    { "d/e", true },        { "d/e/f", true },
    { "d/inside", false },  { "d/inside/f", false },
    { "d/outside", false }, { "d/outside/passwd", false },
    { "d/file", false },    { "d/magic/d", false },
    { "..", false },        { "../x", false },
    { "d/../../x", false }, { "/etc/passwd", false },
    { "/", false },         { "", false },
    { "d/e/f/g", false },   { "none", false },
    { "none/none", false },
};

START_TEST(paths)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(PATHS); i++)
        for (int walk = 0; walk < 2; walk++) {
            int fd = (walk ? xd_beneath_walk : xd_beneath_open)(root, PATHS[i].path, O_RDONLY, 0);
            if ((fd >= 0) != PATHS[i].opens)
                ck_abort_msg("%s (%d): %s", PATHS[i].path, walk, fd < 0 ? xd_error_name(fd) : "opened");
            if (fd >= 0)
                close(fd);
        }
    ck_assert_int_lt(xd_beneath_folder(root, "d/e/f"), 0);
    char name[300];
    memset(name, 'n', 299);
    name[299] = 0;
    ck_assert_int_eq(xd_beneath_walk(root, name, O_RDONLY, 0), -ENAMETOOLONG);
    ck_assert_int_eq(xd_beneath_open(root, name, O_RDONLY, 0), -ENAMETOOLONG);
}
END_TEST

START_TEST(files)
{
    struct stat st;
    xd_digest   id;
    uint64_t    bytes;
    uint8_t     room[3];
    int         d = xd_beneath_folder(root, "d"), e = xd_beneath_folder(root, "d/e"), stop = 1;
    ck_assert_int_eq(xd_beneath_file(d, "fifo", O_RDONLY, &st), -ENXIO);
    ck_assert_int_eq(xd_beneath_file(d, "e", O_RDONLY, &st), -ENXIO);
    ck_assert_int_eq(xd_beneath_file(d, "file", O_RDONLY, &st), -ELOOP);
    int fd = xd_beneath_file(e, "f", O_RDONLY, &st);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(st.st_size, 4);
    ck_assert_int_eq(xd_beneath_hash(fd, room, sizeof(room), NULL, &id, &bytes), 0);
    ck_assert_uint_eq(bytes, 4);
    ck_assert(xd_digest_eq(id, xd_digest_of(XD_BYTES_LIT("text"))));
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(xd_beneath_hash(fd, room, sizeof(room), &stop, &id, NULL), -ECANCELED);
    close(fd);
    close(d);
    close(e);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("beneath");
    TCase *c = tcase_create("beneath");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, paths);
    tcase_add_test(c, files);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
