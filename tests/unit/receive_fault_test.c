/* needs: sync */
/* receive_fault_test.c - the far half of a synchronisation where its host says no: disk full, limits, rights, file systems that take two names for one; and where it is
 * told to stop. One line says what and where; what stood there stands there still; nothing temporary is left. */
#include "tests/unit/receive_home.h"

#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <zstd.h>

static const thing BEFORE[] = { FILE_("a", "old"), FILE_("d/b", "b"), LARGE_("large", "0123456789", 50000),
                                END_ };
static const thing AFTER[] = { FILE_("a", "new"), FILE_("d/c", "c"), LARGE_("large", "9876543210", 3000000),
                               END_ };

/* A file system of its own below the test's folder, which nobody else sees and which goes with this process; false: there can be none, and the reason is
 * printed. */
static bool mount_small(const char *options)
{
    OK(xd_path_mkdirs(at("fs"), 0755, NULL));
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("none", at("fs"), "tmpfs", 0, options) == 0)
        return true;
    printf("skipped: no tmpfs with %s can be mounted here: %s\n", options, strerror(errno));
    return false;
}

/* It says no, in one line with these words, and the folder is as it was (but for whole files that were replaced). */
static void fails(const char *folder, const tree *want, const tree *base, const char *words, const char *path)
{
    home h = { .want = want, .base = base, .piece = 100000 };
    int  status = home_run(&h, folder);
    if (status != 1 || !xd_bytes_find(xd_buf_view(&h.said), words) ||
        !xd_bytes_find(xd_buf_view(&h.said), path) || xd_bytes_find(xd_buf_view(&h.said), "\n"))
        ck_abort_msg("status %d: %s", status, xd_buf_cstr(&h.said));
    xd_autobuf is = XD_BUF_INIT;
    list_disk(folder, "", &is);
    ck_assert_ptr_null(xd_bytes_find(xd_buf_view(&is), ".xd-"));
    home_release(&h);
}

/* What of BEFORE is neither removed nor half. */
static void still_there(const char *folder)
{
    xd_autofree char *b = xd_path_join(folder, "d/b"), *a = xd_path_join(folder, "a");
    xd_autofree char *large = xd_path_join(folder, "large");
    xd_autobuf        is = XD_BUF_INIT;
    struct stat       st;
    ck_assert_int_eq(access(b, F_OK), 0); /* removals come last */
    OK(xd_path_read_file(a, 100, &is, NULL));
    ck_assert(xd_bytes_eq_str(xd_buf_view(&is), "old") || xd_bytes_eq_str(xd_buf_view(&is), "new"));
    ck_assert_int_eq(stat(large, &st), 0);
    ck_assert_int_eq(st.st_size, 50000);
}

START_TEST(disk_full)
{
    tree t = tree_of(BEFORE), u = tree_of(AFTER);
    if (mount_small("size=1m")) {
        home h = sync_ok(at("fs/far"), &t, NULL, false);
        home_release(&h);
        fails(at("fs/far"), &u, &t, "No space left on device", "fs/far/large");
        still_there(at("fs/far"));
        h = sync_ok(at("fs/far"), &t, NULL, false); /* it can be gone on with */
        home_release(&h);
        ck_assert_int_eq(umount(at("fs")), 0);
    }
    if (mount_small("size=200k")) { /* a file that comes in one piece */
        static const thing one[] = { LARGE_("one", "0123456789", 300000), END_ };
        tree               o = tree_of(one);
        home               h = { .want = &o };
        xd_autobuf         is = XD_BUF_INIT;
        ck_assert_int_eq(home_run(&h, at("fs/far")), 1);
        ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.said), "fs/far/one: No space left on device"));
        list_disk(at("fs/far"), "", &is);
        ck_assert_uint_eq(is.len, 0);
        home_release(&h);
        tree_free(&o);
        ck_assert_int_eq(umount(at("fs")), 0);
    }
    if (mount_small("size=4m,nr_inodes=6")) { /* no inodes: the folder, the state, three files, a folder */
        fails(at("fs/far"), &t, NULL, "No space left on device", "fs/far/");
        ck_assert_int_eq(umount(at("fs")), 0);
    }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

START_TEST(file_too_large)
{
    tree          t = tree_of(BEFORE), u = tree_of(AFTER);
    struct rlimit limit = { 1000000, RLIM_INFINITY };
    signal(SIGXFSZ, SIG_IGN);
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fails(at("far"), &u, &t, "File too large", "far/large");
    still_there(at("far"));
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    h = sync_ok(at("far"), &u, &t, false); /* the state is the old one */
    ck_assert_uint_eq(h.need_all, 0);
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
}
END_TEST

START_TEST(read_only)
{
    tree t = tree_of(BEFORE), u = tree_of(AFTER);
    if (mount_small("size=4m")) {
        home h = sync_ok(at("fs/far"), &t, NULL, false);
        home_release(&h);
        ck_assert_int_eq(mount("none", at("fs"), "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
        fails(at("fs/far"), &u, &t, "Read-only file system", "fs/far");
        check_same(at("fs/far"), &t);
        fails(at("fs/other"), &t, NULL, "Read-only file system", "fs/other");
        h = sync_ok(at("fs/far"), &t, &t, false); /* nothing to be done can be done */
        ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
        home_release(&h);
        ck_assert_int_eq(umount(at("fs")), 0);
    }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

/* From here on the test is nobody, who owns its folder. */
static bool become_nobody(void)
{
    if (geteuid() == 0 && (chown(test_folder, 65534, 65534) != 0 || seteuid(65534) != 0)) {
        printf("skipped: this process cannot become another user\n");
        return false;
    }
    return true;
}

START_TEST(no_right)
{
    tree t = tree_of(BEFORE), u = tree_of(AFTER);
    if (become_nobody()) {
        fails("/proc/none", &t, NULL, "/proc/none", "cannot");
        home h = sync_ok(at("far"), &t, NULL, false);
        home_release(&h);
        ck_assert_int_eq(chmod(at("far"), 0500), 0);
        fails(at("far"), &u, &t, "Permission denied", "far/");
        check_same(at("far"), &t);
        put_file(at("file"), "x");
        fails(at("file"), &t, NULL, "Not a directory", "file");
        ck_assert_int_eq(chmod(at("far"), 0700), 0);
    }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

START_TEST(folders_that_may_not_be_changed)
{
    static const thing first[] = { { .path = "ro", .type = XD_SYNC_FOLDER, .mode = 0555 },
                                   { .path = "ro/sub", .type = XD_SYNC_FOLDER, .mode = 0500 },
                                   FILE_("ro/a", "a"),
                                   FILE_("ro/sub/b", "b"),
                                   LARGE_("ro/sub/large", "123", 500000),
                                   END_ };
    static const thing then[] = { { .path = "ro", .type = XD_SYNC_FOLDER, .mode = 0555 },
                                  { .path = "ro/sub", .type = XD_SYNC_FOLDER, .mode = 0500 },
                                  FILE_("ro/a", "A"),
                                  LINK_("ro/l", "a"),
                                  { .path = "ro/sub2", .type = XD_SYNC_FOLDER, .mode = 0500 },
                                  FILE_("ro/sub2/b", "b"),
                                  LARGE_("ro/sub2/large", "123", 500000),
                                  FILE_("ro/sub/empty", ""),
                                  END_ };
    tree               t = tree_of(first), u = tree_of(then);
    if (become_nobody())
        for (int i = 0; i < 4; i++) {
            home h = sync_ok(at("far"), i % 2 ? &u : &t, i == 0 ? NULL : i % 2 ? &t : &u, i > 1);
            home_release(&h);
        }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

/* A file of somebody else in a folder of ours: it cannot be changed, so it is replaced. */
START_TEST(files_of_others)
{
    tree t = tree_of(BEFORE);
    if (geteuid() == 0) {
        OK(xd_path_mkdirs(at("far"), 0755, NULL));
        put_file(at("far/a"), "old");
        ck_assert_int_eq(chown(at("far"), 65534, 65534), 0);
        if (become_nobody()) {
            home h = sync_ok(at("far"), &t, NULL, false);
            home_release(&h);
        }
    }
    tree_free(&t);
}
END_TEST

START_TEST(two_names_for_one)
{
    static const thing alike[] = { FILE_("d/File", "1"), FILE_("d/fILE", "1"), FILE_("d/other", "1"), END_ };
    tree               t = tree_of(alike);
    home               h = sync_ok(at("far"), &t, NULL, false); /* a file system that tells them apart */
    home_release(&h);
    /* What such a file system makes of it: two names, one file. */
    ck_assert_int_eq(unlink(at("far/d/fILE")), 0);
    ck_assert_int_eq(link(at("far/d/File"), at("far/d/fILE")), 0);
    ck_assert_int_eq(unlink(at("far/d/other")), 0);
    h = (home){ .want = &t, .base = &t };
    ck_assert_int_eq(home_run(&h, at("far")), 1);
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.said), "File and fILE"));
    home_release(&h);
    if (mount_small("size=4m,casefold")) {
        int fd, flags = 0x40000000; /* FS_CASEFOLD_FL */
        OK(xd_path_mkdirs(at("fs/far"), 0755, NULL));
        fd = open(at("fs/far"), O_RDONLY | O_DIRECTORY);
        if (fd < 0 || ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0) {
            printf("skipped: no folder can be made that ignores case: %s\n", strerror(errno));
        } else {
            home g = { .want = &t };
            ck_assert_int_eq(home_run(&g, at("fs/far")), 1);
            ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&g.said), "File and fILE"));
            home_release(&g);
        }
        if (fd >= 0)
            close(fd);
        ck_assert_int_eq(umount(at("fs")), 0);
    }
    tree_free(&t);
}
END_TEST

static int stop_pipe[2];

static int stop_now(home *h, uint32_t file)
{
    xd_autobuf content = XD_BUF_INIT;
    (void)file;
    content_of(&h->want->things[h->want->thing_of[file]], &content);
    if (content.len < 1000)
        return 0;
    send_piece(h, &(xd_wire_SYNC_PIECE){ .file = file, .data = { content.data, 1000 } });
    ck_assert_int_eq(write(stop_pipe[1], "", 1), 1);
    return 1;
}

START_TEST(told_to_stop)
{
    tree t = tree_of(BEFORE), u = tree_of(AFTER);
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    far_end far = { 0 };
    int     fds[2];
    ck_assert_int_eq(pipe(stop_pipe), 0);
    OK(xd_os_socketpair(fds, false));
    far.fd = fds[0];
    far.args = (xd_receive_args){ .in = fds[1], .out = fds[1], .folder = at("far"), .stop_fd = stop_pipe[0] };
    ck_assert_int_eq(pthread_create(&far.thread, NULL, far_main, &far), 0);
    h = (home){ .want = &u, .base = &t, .before_data = stop_now };
    ck_assert_int_eq(home_talk(&h, &far), 2);
    xd_autobuf is = XD_BUF_INIT;
    list_disk(at("far"), "", &is);
    ck_assert_ptr_null(xd_bytes_find(xd_buf_view(&is), ".xd-"));
    still_there(at("far"));
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
}
END_TEST

/* Compressed content, and such that says of itself what it is not. */
static int zstd_kind;

static int compressed(home *h, uint32_t file)
{
    xd_autobuf content = XD_BUF_INIT, list = XD_BUF_INIT, body = XD_BUF_INIT;
    content_of(&h->want->things[h->want->thing_of[file]], &content);
    if (content.len < 1000 || content.len > 1000000)
        return 0;
    xd_wire_SYNC_PIECE p = { .file = file, .data = xd_buf_view(&content) };
    OK(xd_wire_SYNC_PIECE_append(&list, &p));
    xd_wire_SYNC_PIECE_LIST l = { .pieces = { 1, list.data, list.len } };
    OK(xd_wire_SYNC_PIECE_LIST_encode(&body, &l));
    uint8_t packed[20000];
    size_t  n = ZSTD_compress(packed, sizeof(packed), body.data, body.len, 1);
    ck_assert(!ZSTD_isError(n));
    uint32_t plain = (uint32_t)body.len;
    if (zstd_kind == 1)
        plain--; /* more comes out than was said */
    if (zstd_kind == 2)
        plain++;
    if (zstd_kind == 3)
        packed[n / 2] ^= 0x55;
    if (zstd_kind == 4)
        n--;
    SEND(h, SYNC_DATA, .codec = XD_SYNC_CODEC_ZSTD, .plain_bytes = plain, .inner = { packed, n });
    return 1;
}

START_TEST(compressed_content)
{
    tree t = tree_of(BEFORE);
    for (zstd_kind = 0; zstd_kind < 5; zstd_kind++) {
        home h = { .want = &t, .before_data = compressed };
        int  status = home_run(&h, at("far"));
        ck_assert_int_eq(status, zstd_kind ? 2 : 0);
        if (!zstd_kind)
            check_same(at("far"), &t);
        home_release(&h);
        drop_test_folder();
        make_test_folder();
    }
    tree_free(&t);
}
END_TEST

static void drop_mounted(void)
{
    if (geteuid() != getuid())
        (void)!seteuid(getuid());
    (void)umount2(at("fs"), MNT_DETACH);
    drop_test_folder();
}

int main(void)
{
    Suite *s = suite_create("receive_fault");
    TCase *c = tcase_create("faults");
    tcase_add_checked_fixture(c, make_test_folder, drop_mounted);
    tcase_add_test(c, disk_full);
    tcase_add_test(c, file_too_large);
    tcase_add_test(c, read_only);
    tcase_add_test(c, no_right);
    tcase_add_test(c, folders_that_may_not_be_changed);
    tcase_add_test(c, files_of_others);
    tcase_add_test(c, two_names_for_one);
    tcase_add_test(c, told_to_stop);
    tcase_add_test(c, compressed_content);
    suite_add_tcase(s, c);
    return run_suite(s);
}
