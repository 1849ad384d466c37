#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"

static char     dir[64];
static xd_error err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-path-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    (void)xd_path_remove_tree(dir);
}

static char *below(const char *name)
{
    char *p = xd_path_join(dir, name);
    ck_assert_ptr_nonnull(p);
    return p;
}

START_TEST(names)
{
    static const struct {
        const char *dir, *name, *joined;
    } joins[] = { { "/a", "b", "/a/b" },
                  { "/a/", "b", "/a/b" },
                  { "/a", "/b", "/b" },
                  { "", "b", "b" },
                  { "/", "b", "/b" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(joins); i++) {
        xd_autofree char *p = xd_path_join(joins[i].dir, joins[i].name);
        ck_assert_str_eq(p, joins[i].joined);
    }
    static const struct {
        const char *path, *dir, *base;
    } parts[] = { { "/a/b", "/a", "b" }, { "/a", "/", "a" }, { "a", ".", "a" }, { "a/b/", "a/b", "" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(parts); i++) {
        xd_autofree char *p = xd_path_dir(parts[i].path);
        ck_assert_str_eq(p, parts[i].dir);
        ck_assert_str_eq(xd_path_base(parts[i].path), parts[i].base);
    }
    char at[] = "/a/bc/d";
    ck_assert(xd_path_up(at));
    ck_assert_str_eq(at, "/a/bc");
    ck_assert(xd_path_up(at));
    ck_assert(xd_path_up(at));
    ck_assert_str_eq(at, "/");
    ck_assert(!xd_path_up(at));
    ck_assert_str_eq(at, "/");
}
END_TEST

START_TEST(absolute)
{
    xd_autofree char *cwd = getcwd(NULL, 0), *p = NULL, *q = NULL, *want = xd_path_join(cwd, "x/y");
    ck_assert_int_eq(xd_path_absolute("x/y", &p), 0);
    ck_assert_str_eq(p, want);
    ck_assert_int_eq(xd_path_absolute("/x", &q), 0);
    ck_assert_str_eq(q, "/x");
}
END_TEST

START_TEST(makes_and_removes_folders)
{
    xd_autofree char *deep = below("a/b/c"), *top = below("a"), *link = below("a/b/link"),
                     *file = below("a/file"), *kept = below("kept");
    ck_assert_int_eq(xd_path_mkdirs(deep, 0700, &err), 0);
    ck_assert_int_eq(xd_path_mkdirs(deep, 0700, &err), 0);
    ck_assert(xd_path_is_dir(deep));
    ck_assert_int_eq(xd_path_write_file(file, XD_BYTES_LIT("x"), 0600, &err), 0);
    /* A file in the way is named. */
    xd_autofree char *blocked = below("a/file/d");
    ck_assert_int_lt(xd_path_mkdirs(blocked, 0700, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "a/file"));
    /* A link is removed, not what it points to. */
    ck_assert_int_eq(xd_path_mkdirs(kept, 0700, &err), 0);
    ck_assert_int_eq(symlink(kept, link), 0);
    ck_assert_int_eq(xd_path_remove_tree(top), 0);
    ck_assert(!xd_path_is_dir(top));
    ck_assert(xd_path_is_dir(kept));
    ck_assert_int_eq(xd_path_remove_tree(top), 0);
}
END_TEST

static rlim_t open_files(rlim_t now)
{
    struct rlimit l;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
    rlim_t before = l.rlim_cur;
    l.rlim_cur = now;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
    return before;
}

/* Deeper than there are descriptors, and longer than a path may be. */
START_TEST(removes_what_is_deep)
{
    enum { DEPTH = 1500 };
    xd_autofree char *top = below("deep"), *home = getcwd(NULL, 0);
    ck_assert_int_eq(xd_path_mkdirs(top, 0700, &err), 0);
    ck_assert_int_eq(chdir(top), 0);
    for (int i = 0; i < DEPTH; i++) {
        int fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        close(fd);
        /* Names that this gives itself while it works are met as well. */
        ck_assert_int_eq(mkdir(i % 100 ? ".xd-remove-7" : ".xd-remove-0", 0700), 0);
        ck_assert_int_eq(mkdir("sibling", i % 2 ? 0500 : 0), 0);
        ck_assert_int_eq(chdir(i % 100 ? ".xd-remove-7" : ".xd-remove-0"), 0);
    }
    ck_assert_int_eq(chdir(home), 0);
    rlim_t before = open_files(40);
    ck_assert_int_eq(xd_path_remove_tree(top), 0);
    (void)open_files(before);
    ck_assert(!xd_path_is_dir(top));
}
END_TEST

START_TEST(writes_whole_files)
{
    xd_autofree char *path = below("file");
    xd_autobuf        out = XD_BUF_INIT, big = XD_BUF_INIT;
    struct stat       st;
    ck_assert_int_eq(xd_path_write_file(path, XD_BYTES_LIT("first"), 0640, &err), 0);
    ck_assert_int_eq(xd_path_write_file(path, XD_BYTES_LIT("a\0b"), 0600, &err), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(xd_buf_add_str(&out, "before "), 0);
    ck_assert_int_eq(xd_path_read_file(path, 3, &out, &err), 0);
    ck_assert_int_eq(memcmp(out.data, "before a\0b", 10), 0);
    xd_buf_clear(&out);
    ck_assert_int_eq(xd_path_read_file(path, 2, &out, &err), -EFBIG);
    ck_assert_int_eq(xd_buf_fill(&big, 'x', 300000), 0);
    ck_assert_int_eq(xd_path_write_file(path, xd_buf_view(&big), 0600, &err), 0);
    xd_buf_clear(&out);
    ck_assert_int_eq(xd_path_read_file(path, 300000, &out, &err), 0);
    ck_assert(xd_bytes_eq(xd_buf_view(&big), xd_buf_view(&out)));
    /* Nothing of the temporary files is left. */
    xd_autofree char *nowhere = below("no/such/file");
    ck_assert_int_eq(xd_path_write_file(nowhere, XD_BYTES_LIT("x"), 0600, &err), -ENOENT);
    ck_assert_int_eq(xd_path_read_file(nowhere, 10, &out, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, nowhere));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
}
END_TEST

static void expect(int (*find)(char **ret, xd_error *err), const char *base, const char *name)
{
    xd_autofree char *want = xd_path_join(base, name), *p = NULL;
    err = (xd_error){ 0 };
    ck_assert_int_eq(find(&p, &err), 0);
    ck_assert_str_eq(p, want);
}

START_TEST(folders_of_the_specification)
{
    char note[1024];
    setenv("HOME", dir, 1);
    setenv("XDG_STATE_HOME", dir, 1);
    expect(xd_path_state, dir, "xd");
    setenv("XDG_STATE_HOME", "relative", 1);
    expect(xd_path_state, dir, ".local/state/xd");
    expect(xd_path_state_seen, dir, ".local/state/xd");
    unsetenv("XDG_CACHE_HOME");
    expect(xd_path_cache, dir, ".cache/xd");
    ck_assert_int_eq(xd_path_moved(true, true, note, sizeof(note)), 0);
}
END_TEST

/* Others can write into /tmp: so the names must be ours, whatever lies there. */
START_TEST(folders_where_home_cannot_be_used)
{
    static const char *const homes[] = { NULL, "", "relative", "/nonexistent", "/proc/self", "/dev/null" };
    char                     name[32], note[1024];
    snprintf(name, sizeof(name), "xd-%u", (unsigned)geteuid());
    xd_autofree char *mine = below(name), *p = NULL;
    struct stat       st;
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_CACHE_HOME");
    setenv("TMPDIR", dir, 1);
    for (size_t i = 0; i < XD_ARRAY_LEN(homes); i++) {
        if (homes[i])
            setenv("HOME", homes[i], 1);
        else
            unsetenv("HOME");
        expect(xd_path_state, mine, "state");
        expect(xd_path_cache, mine, "cache");
        expect(xd_path_state_seen, mine, "state");
        ck_assert_int_eq(xd_path_moved(true, true, note, sizeof(note)), 1);
        ck_assert_ptr_nonnull(strstr(note, mine));
    }
    ck_assert_int_eq(lstat(mine, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    /* What somebody else may have put there is not used; the next place is. */
    ck_assert_int_eq(chmod(mine, 0755), 0);
    ck_assert_int_eq(xd_path_private(&p, &err), 0);
    ck_assert_str_ne(p, mine);
    ck_assert_int_eq(rmdir(mine), 0);
    ck_assert_int_eq(symlink(p, mine), 0);
    free(p);
    p = NULL;
    ck_assert_int_eq(xd_path_private(&p, &err), 0);
    ck_assert_str_ne(p, mine);
    /* Nor a folder above that others can write to without the sticky bit. */
    ck_assert_int_eq(unlink(mine), 0);
    ck_assert_int_eq(chmod(dir, 0777), 0);
    free(p);
    p = NULL;
    ck_assert_int_eq(xd_path_private(&p, &err), 0);
    ck_assert_str_ne(p, mine);
    ck_assert_int_eq(chmod(dir, 01777), 0);
    expect(xd_path_private, dir, name);
}
END_TEST

START_TEST(finds_programs)
{
    xd_autofree char *a = below("a"), *b = below("b"), *in_a = below("a/tool"), *in_b = below("b/tool"),
                     *list = NULL;
    char *p = NULL;
    ck_assert_int_eq(xd_path_mkdirs(a, 0700, &err), 0);
    ck_assert_int_eq(xd_path_mkdirs(b, 0700, &err), 0);
    ck_assert_int_ge(asprintf(&list, "/no/such:%s:%s", a, b), 0);
    ck_assert_int_eq(xd_path_find_program("tool", list, &p), -ENOENT);
    ck_assert_int_eq(mkdir(in_a, 0700), 0); /* a folder is no program */
    ck_assert_int_eq(xd_path_write_file(in_b, XD_BYTES_LIT("#!/bin/sh\n"), 0700, &err), 0);
    ck_assert_int_eq(xd_path_find_program("tool", list, &p), 0);
    ck_assert_str_eq(p, in_b);
    free(p);
    p = NULL;
    ck_assert_int_eq(xd_path_find_program("sh", NULL, &p), 0);
    ck_assert_int_eq(access(p, X_OK), 0);
    free(p);
}
END_TEST

START_TEST(self)
{
    xd_autofree char *p = NULL, *program = NULL, *exe = NULL;
    struct stat       a, b;
    ck_assert_int_eq(xd_path_self_program(&program), 0);
    ck_assert_int_eq(xd_path_of_process("exe", &exe), 0);
    ck_assert_int_eq(stat(program, &a), 0);
    ck_assert_int_eq(stat(exe, &b), 0);
    ck_assert(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    ck_assert_int_eq(strncmp(exe, "/proc/", 6), 0);
    ck_assert_int_eq(xd_path_self(&p), 0);
    ck_assert_int_eq(p[0], '/');
    ck_assert_int_eq(access(p, X_OK), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("path");
    TCase *c = tcase_create("path");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, names);
    tcase_add_test(c, absolute);
    tcase_add_test(c, makes_and_removes_folders);
    tcase_add_test(c, removes_what_is_deep);
    tcase_add_test(c, writes_whole_files);
    tcase_add_test(c, folders_of_the_specification);
    tcase_add_test(c, folders_where_home_cannot_be_used);
    tcase_add_test(c, finds_programs);
    tcase_add_test(c, self);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
