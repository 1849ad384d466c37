/* needs: sync. Scans of real trees below /tmp. */
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "sync/scan_state.h"

static char           top[64], base[80], cache[80];
static int            base_fd = -1;
static xd_scan_result result;
static xd_buf         text;

static void setup(void)
{
    memcpy(top, "/tmp/xd-scan-XXXXXX", 20);
    ck_assert_ptr_nonnull(mkdtemp(top));
    ck_assert_int_eq(chmod(top, 0755), 0);
    snprintf(base, sizeof(base), "%s/base", top);
    snprintf(cache, sizeof(cache), "%s/cache/file", top);
    ck_assert_int_eq(mkdir(base, 0755), 0);
    base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(base_fd, 0);
}

static void teardown(void)
{
    xd_scan_release(&result);
    xd_buf_release(&text);
    close(base_fd);
    (void)xd_path_remove_tree(top);
}

/* ---- making trees -------------------------------------------------------------------------------------------------- */

static void make_folders(const char *path)
{
    char       *copy = strdup(path);
    struct stat st;
    for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (fstatat(base_fd, copy, &st, 0) < 0)
            ck_assert_int_eq(mkdirat(base_fd, copy, 0755), 0);
        *slash = '/';
    }
    free(copy);
}

/* "a/b" a file; "a/b/" a folder. */
static void put(const char *path, const char *content)
{
    make_folders(path);
    if (path[strlen(path) - 1] == '/')
        return;
    int fd = openat(base_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
}

static void put_link(const char *path, const char *target)
{
    make_folders(path);
    ck_assert_int_eq(symlinkat(target, base_fd, path), 0);
}

/* Waits until all that was written can be trusted. */
static void settle(const char *path)
{
    xd_statclock clock;
    xd_stat      st;
    ck_assert_int_eq(xd_stat_at(base_fd, path, &st), 0);
    for (;; poll(NULL, 0, 5)) {
        xd_statclock_probe(base_fd, &clock);
        if (xd_statclock_trusts(&clock, &st))
            return;
    }
}

static void set_mtime(const char *path, int64_t ns)
{
    struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
                             { .tv_sec = (time_t)(ns / (int64_t)XD_S_NS),
                               .tv_nsec = (long)(ns % (int64_t)XD_S_NS) } };
    ck_assert_int_eq(utimensat(base_fd, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

/* As the file system has it: not all keep nanoseconds. */
static int64_t get_mtime(const char *path)
{
    struct stat st;
    ck_assert_int_eq(fstatat(base_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mtim.tv_sec * (int64_t)XD_S_NS + st.st_mtim.tv_nsec;
}

/* ---- scanning ------------------------------------------------------------------------------------------------------- */

static xd_scan_args args_for(const char *const *roots)
{
    return (xd_scan_args){ .roots = roots, .base = base, .cache = cache, .threads = 2 };
}

static void scan_with(const xd_scan_args *args)
{
    xd_error err = { 0 };
    xd_scan_release(&result);
    int r = xd_scan(args, NULL, &result, &err);
    ck_assert_msg(r == 0, "%d: %s", r, err.text);
}

static void scan_roots(const char *const *roots)
{
    xd_scan_args args = args_for(roots);
    scan_with(&args);
}

#define SCAN(...) scan_roots((const char *const[]){ __VA_ARGS__, NULL })

/* "path kind" of all, the base left out: / folder, ~ way, > link with its target, else a file. */
static const char *listing(void)
{
    const xd_manifest *m = result.manifest;
    xd_buf_clear(&text);
    for (uint32_t e = xd_manifest_next(m, 0); e != XD_MANIFEST_NONE; e = xd_manifest_next(m, e)) {
        const xd_entry *x = &m->entry[e];
        int             r = xd_manifest_path(m, e, &text);
        if (x->type == XD_SYNC_FOLDER || x->type == XD_SYNC_WAY)
            r += xd_buf_add_str(&text, x->type == XD_SYNC_WAY ? "~" : "/");
        if (x->type == XD_SYNC_LINK)
            r += xd_buf_add_str(&text, ">") + xd_buf_add_bytes(&text, xd_entry_target(m, x));
        ck_assert_int_eq(r + xd_buf_add_byte(&text, ' '), 0);
    }
    return xd_buf_cstr(&text);
}

static const char *lines(const xd_buf *b)
{
    xd_buf_clear(&text);
    ck_assert_int_eq(xd_buf_add(&text, b->data, b->len), 0);
    for (size_t i = 0; i < text.len; i++)
        text.data[i] = text.data[i] ? text.data[i] : '\n';
    return xd_buf_cstr(&text);
}

static const xd_entry *entry(const char *path)
{
    uint32_t e = xd_manifest_find(result.manifest, xd_bytes_str(path));
    ck_assert_msg(e != XD_MANIFEST_NONE, "%s is missing", path);
    return &result.manifest->entry[e];
}

static bool has_content(const char *path, const char *content)
{
    const xd_entry *e = entry(path);
    return e->size == strlen(content) && xd_digest_eq(e->id, xd_digest_of(xd_bytes_str(content)));
}

/* ---- what is in a tree ------------------------------------------------------------------------------------------------ */

START_TEST(everything)
{
    put("src/a.py", "print()\n");
    put("src/b/empty/", "");
    put("src/b/x", "");
    put("src/B/x", "upper");
    put_link("src/b/l", "../a.py");
    ck_assert_int_eq(fchmodat(base_fd, "src/a.py", 06755, 0), 0);
    ck_assert_int_eq(fchmodat(base_fd, "src/b", 01700, 0), 0);
    set_mtime("src/a.py", 1234567890123456789);
    SCAN("src");
    ck_assert_str_eq(listing(), "src/ src/B/ src/B/x src/a.py src/b/ src/b/empty/ src/b/l>../a.py src/b/x ");
    ck_assert(has_content("src/a.py", "print()\n") && has_content("src/b/x", "") &&
              has_content("src/B/x", "upper"));
    ck_assert_uint_eq(entry("src/a.py")->mode, 0755);
    ck_assert_uint_eq(entry("src/b")->mode, 0700);
    ck_assert_uint_eq(entry("src/b/l")->mode, 0);
    ck_assert_int_eq(entry("src/a.py")->mtime_ns, get_mtime("src/a.py"));
    ck_assert_int_eq(entry("src/a.py")->mtime_ns / (int64_t)XD_S_NS, 1234567890);
    ck_assert_uint_eq(result.manifest->entry[0].type, XD_SYNC_WAY);
    ck_assert_uint_eq(result.stats.files, 3);
    ck_assert_uint_eq(result.stats.folders, 5);
    ck_assert_uint_eq(result.stats.links, 1);
    ck_assert_uint_eq(result.stats.bytes, 13);
    ck_assert_uint_eq(result.left_out.len, 0);
    ck_assert_uint_eq(result.unreadable.len, 0);
    SCAN(".");
    ck_assert_uint_eq(result.manifest->entry[0].type, XD_SYNC_FOLDER);
    ck_assert_str_eq(listing(), "src/ src/B/ src/B/x src/a.py src/b/ src/b/empty/ src/b/l>../a.py src/b/x ");
}
END_TEST

START_TEST(several_roots)
{
    put("p/one/a", "1");
    put("p/one/sub/b", "2");
    put("p/two/a", "3");
    put("p/not/c", "4");
    put("file.ini", "5");
    SCAN("p/one", "file.ini");
    ck_assert_str_eq(listing(), "file.ini p~ p/one/ p/one/a p/one/sub/ p/one/sub/b ");
    SCAN("p/two/", "./p//one/./sub", "p/two", "p/two/a");
    ck_assert_str_eq(listing(), "p~ p/one~ p/one/sub/ p/one/sub/b p/two/ p/two/a ");
    ck_assert_uint_eq(result.stats.files, 2);
    SCAN("p/one/sub", ".", "p/one");
    ck_assert_str_eq(listing(),
                     "file.ini p/ p/not/ p/not/c p/one/ p/one/a p/one/sub/ p/one/sub/b p/two/ p/two/a ");
    ck_assert_uint_eq(result.stats.files, 5);
    ck_assert_uint_eq(result.stats.folders, 6);
}
END_TEST

static void refused(const char *root, int code, const char *said)
{
    const char *const roots[] = { "good", root, NULL };
    xd_scan_args      args = args_for(roots);
    xd_error          err = { 0 };
    xd_scan_result    none;
    ck_assert_int_eq(xd_scan(&args, NULL, &none, &err), code);
    ck_assert_int_eq(err.code, code);
    ck_assert_msg(strstr(err.text, said) != NULL, "%s", err.text);
    ck_assert_ptr_null(none.manifest);
}

START_TEST(roots_that_cannot_be)
{
    put("good/a", "");
    ck_assert_int_eq(mkfifoat(base_fd, "fifo", 0644), 0);
    put_link("dangling", "nowhere/at/all");
    refused("missing", -ENOENT, "missing");
    refused("good/missing/deep", -ENOENT, "good/missing/deep");
    refused("good/a/b", -ENOTDIR, "good/a/b");
    refused("fifo", -ENOTDIR, "fifo");
    refused("dangling", -ENOENT, "dangling");
    refused("/etc", -EINVAL, "/etc");
    refused("good/../../x", -EINVAL, "good/../../x");
    refused("", -EINVAL, "");
    xd_scan_args   args = args_for((const char *const[]){ NULL });
    xd_scan_result none;
    xd_error       err = { 0 };
    ck_assert_int_eq(xd_scan(&args, NULL, &none, &err), -EINVAL);
    args = args_for((const char *const[]){ ".", NULL });
    args.base = "/nowhere/at/all";
    ck_assert_int_eq(xd_scan(&args, NULL, &none, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, args.base));
    args.base = "tmp";
    ck_assert_int_eq(xd_scan(&args, NULL, &none, &err), -EINVAL);
}
END_TEST

START_TEST(roots_that_are_links)
{
    char real[100], link[120];
    put("store/pkg/a.py", "1");
    put("store/pkg/b/c.py", "2");
    put_link("store/pkg/b/up", "../a.py");
    snprintf(real, sizeof(real), "%s/store/pkg/a.py", base);
    put_link("store/pkg/b/abs", real);
    put_link("p/pkg", "../store/pkg");
    SCAN("p/pkg");
    ck_assert_str_eq(listing(),
                     "p~ p/pkg/ p/pkg/a.py p/pkg/b/ p/pkg/b/abs>../a.py p/pkg/b/c.py p/pkg/b/up>../a.py ");
    SCAN("p/pkg", "store"); /* what it leads to is another root */
    ck_assert_str_eq(listing(), "p~ p/pkg>../store/pkg store/ store/pkg/ store/pkg/a.py store/pkg/b/ "
                                "store/pkg/b/abs>../a.py store/pkg/b/c.py store/pkg/b/up>../a.py ");
    SCAN("p/pkg/b"); /* the folder on the way is one; its links lead out of the root */
    ck_assert_str_eq(listing(), "p~ p/pkg~ p/pkg/b/ p/pkg/b/c.py ");
    const char *const roots[] = {
        "p/pkg", NULL
    }; /* and so its files can be reached by their paths, but by no other link */
    xd_scan_args reach = args_for(roots);
    int          fd = xd_scan_open(&reach, base_fd, "p/pkg/b");
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(faccessat(fd, "c.py", R_OK, 0), 0);
    close(fd);
    put_link("store/pkg/c", "b");
    put_link("q", "store");
    fd = xd_scan_open(&reach, base_fd, "p/pkg");
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(faccessat(fd, "a.py", R_OK, 0), 0);
    close(fd);
    ck_assert_int_eq(xd_scan_open(&reach, base_fd, "p/pkg/c"), -ENOTDIR);
    ck_assert_int_eq(xd_scan_open(&reach, base_fd, "q/pkg"), -ELOOP);
    ck_assert_int_eq(xd_scan_open(&reach, base_fd, "p/missing"), -ENOENT);
    ck_assert_int_eq(unlinkat(base_fd, "store/pkg/c", 0), 0);
    snprintf(link, sizeof(link), "%s/link", top);
    ck_assert_int_eq(symlink("base", link), 0);
    xd_scan_args args = args_for((const char *const[]){ "store", NULL });
    args.base = link;
    scan_with(&args);
    ck_assert_str_eq(listing(), "store/ store/pkg/ store/pkg/a.py store/pkg/b/ store/pkg/b/abs>../a.py "
                                "store/pkg/b/c.py store/pkg/b/up>../a.py ");
}
END_TEST

START_TEST(links)
{
    char to[128];
    put("a/f", "");
    put("b/deep/g", "");
    put("c/h", "");
    put_link("a/near", "f");
    put_link("a/over", "../b/deep/g");
    put_link("a/dots", ".././a/../b//deep/");
    put_link("a/nothing", "is/not/there");
    put_link("a/c", "../c/h"); /* c is no root */
    put_link("a/out", "../../x");
    put_link("a/etc", "/etc/passwd");
    snprintf(to, sizeof(to), "%s/b/deep/g", base);
    put_link("a/abs", to);
    snprintf(to, sizeof(to), "%s/../base/./b/", base);
    put_link("b/deep/abs", to);
    snprintf(to, sizeof(to), "%s/a/f", base);
    put_link("a/abs_near", to);
    snprintf(to, sizeof(to), "%s", base);
    put_link("b/abs_base", to);
    snprintf(to, sizeof(to), "%s/a",
             base); /* its own folder; others of the folder are read before it and behind it */
    put_link("a/abs_own", to);
    put_link("a/abs_own2", to);
    snprintf(to, sizeof(to), "%s_not", base);
    put_link("b/not", to);
    SCAN("a", "b");
    ck_assert_str_eq(listing(), "a/ a/abs>../b/deep/g a/abs_near>f a/abs_own>. a/abs_own2>. "
                                "a/dots>.././a/../b//deep/ a/f a/near>f a/nothing>is/not/there "
                                "a/over>../b/deep/g b/ b/abs_base>.. b/deep/ b/deep/abs>.. b/deep/g ");
    ck_assert_str_eq(lines(&result.left_out), "a/c: a link that leads out of what is synchronised\n"
                                              "a/etc: a link that leads out of what is synchronised\n"
                                              "a/out: a link that leads out of what is synchronised\n"
                                              "b/not: a link that leads out of what is synchronised\n");
    ck_assert_uint_eq(result.unreadable.len, 0);
    SCAN("."); /* a folder beside the base whose name begins with the base's is no part of it */
    ck_assert_str_eq(lines(&result.left_out), "a/etc: a link that leads out of what is synchronised\n"
                                              "a/out: a link that leads out of what is synchronised\n"
                                              "b/not: a link that leads out of what is synchronised\n");
}
END_TEST

START_TEST(neither_file_nor_folder)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    xd_autoclose int   s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s/sock", base);
    ck_assert_int_eq(bind(s, (const struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(mkfifoat(base_fd, "fifo", 0644), 0); /* nobody writes: an open would wait for ever */
    ck_assert_int_eq(mkfifoat(base_fd, ".gitignore", 0644), 0);
    put("a", "1");
    SCAN(".");
    ck_assert_str_eq(listing(), "a ");
    ck_assert_str_eq(lines(&result.left_out), "fifo: a FIFO\nsock: a socket\n");
}
END_TEST

START_TEST(odd_names)
{
    char name[256] = { 0 };
    for (int c = 1; c < 256; c++) {
        snprintf(name, sizeof(name), "x%c", c);
        if (c != '/')
            put(name, "");
    }
    memset(name, 'n', 255);
    put(name, "long");
    xd_scan_args args = args_for((const char *const[]){ ".", NULL });
    xd_ignore   *none = NULL;
    ck_assert_int_eq(xd_ignore_new(base, &none), 0);
    args.rules = none;
    scan_with(&args);
    ck_assert_uint_eq(result.stats.files, 255);
    ck_assert_uint_eq(result.manifest->files, 255);
    ck_assert(has_content(name, "long"));
    xd_ignore_free(none);
}
END_TEST

/* Folders one in another, below the base; the last gets a file. */
static void make_deep(const char *name, int levels)
{
    int fd = dup(base_fd);
    for (int i = 0; i < levels; i++) {
        ck_assert_int_eq(mkdirat(fd, name, 0755), 0);
        int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_ge(below, 0);
        close(fd);
        fd = below;
    }
    int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(file, 0);
    close(file);
    close(fd);
}

START_TEST(too_deep)
{
    char long_name[256] = { 0 };
    put("good", "1");
    make_deep("d", 511); /* its file is the 512th name */
    SCAN(".");
    ck_assert_uint_eq(result.stats.files, 2);
    ck_assert_uint_eq(result.left_out.len, 0);
    make_deep("e", 600);
    memset(long_name, 'l', 255);
    make_deep(long_name, 20); /* 16 of them are 4,095 bytes */
    SCAN(".");
    ck_assert_uint_eq(result.stats.files, 2);
    ck_assert_uint_eq(result.stats.folders, 1 + 511 + 512 + 16);
    ck_assert_ptr_nonnull(strstr(lines(&result.left_out), "e/e: too deep\n"));
    ck_assert_ptr_nonnull(strstr(lines(&result.left_out), "lll: its name is too long\n"));
}
END_TEST

/* ---- rules ------------------------------------------------------------------------------------------------------------- */

START_TEST(rules)
{
    put(".gitignore", "build/\n*.log\n/top\n");
    put("sub/.gitignore", "!keep.log\nlocal\n");
    put("sub/.xdignore", "!build\nfixture.dat\n");
    put("top", "");
    put("sub/top", "");
    put("a.log", "");
    put("sub/a.log", "");
    put("sub/keep.log", "");
    put("sub/deeper/local/x", "");
    put("local/x", "");
    put("build/lib/x", "");
    put("sub/build/y", "");
    put("sub/fixture.dat", "");
    put(".hidden/x", "");
    put("x.pyc", "");
    put(".git/config", "");
    ck_assert_int_eq(mkfifoat(base_fd, "build/fifo", 0644), 0); /* not looked at */
    SCAN(".");
    ck_assert_str_eq(listing(),
                     "local/ local/x sub/ sub/build/ sub/build/y sub/deeper/ sub/keep.log sub/top ");
    ck_assert_uint_eq(result.left_out.len, 0);
    ck_assert_uint_eq(result.stats.ignored, 12); /* with the files of the rules */
    SCAN(".", "build/lib", ".hidden"); /* named, so brought; the folder on the way has nothing else */
    ck_assert_str_eq(listing(), ".hidden/ .hidden/x build~ build/lib/ build/lib/x local/ local/x sub/ "
                                "sub/build/ sub/build/y sub/deeper/ "
                                "sub/keep.log sub/top ");
    SCAN("sub/deeper"); /* rules of the folders above count */
    ck_assert_str_eq(listing(), "sub~ sub/deeper/ ");
}
END_TEST

START_TEST(rules_above_the_base)
{
    char inner[128];
    put(".gitignore", "*.log\n");
    put("mid/.gitignore", "/p/secret\n");
    put("mid/p/.gitignore", "/own\n");
    put("mid/p/a.log", "");
    put("mid/p/secret/x", "");
    put("mid/p/own", "");
    put("mid/p/q/own", "");
    snprintf(inner, sizeof(inner), "%s/mid/p", base);
    xd_scan_args args = args_for((const char *const[]){ ".", NULL });
    args.base = inner;
    scan_with(&args);
    ck_assert_str_eq(listing(), "a.log q/ q/own secret/ secret/x ");
    xd_ignore *first = NULL;
    ck_assert_int_eq(xd_ignore_new(base, &first), 0);
    ck_assert_int_eq(xd_ignore_add_defaults(first), 0);
    args.rules = first;
    args.above = "mid/p";
    scan_with(&args);
    ck_assert_str_eq(listing(), "q/ q/own ");
    bool yes = false, no = true;
    ck_assert_int_eq(xd_scan_ignores(&args, xd_bytes_str("secret/gone"), false, &yes), 0);
    ck_assert_int_eq(xd_scan_ignores(&args, xd_bytes_str("q/own"), false, &no), 0);
    ck_assert(yes && !no);
    xd_ignore_free(first);
}
END_TEST

static bool ignores(const char *const *roots, const char *path)
{
    xd_scan_args args = args_for(roots);
    bool         ret = false;
    size_t       len = strlen(path);
    bool         folder = path[len - 1] == '/';
    ck_assert_int_eq(xd_scan_ignores(&args, (xd_bytes){ (const uint8_t *)path, len - folder }, folder, &ret),
                     0);
    return ret;
}

START_TEST(rules_for_what_is_not_there)
{
    const char *const all[] = { ".", NULL }, *const some[] = { "a", "build/lib", NULL },
                      *const both[] = { ".", "build/lib", NULL };
    put(".gitignore", "build/\n*.log\n");
    put("a/.xdignore", "!x.log\n");
    ck_assert(ignores(all, "build/") && ignores(all, "build/x/y") && !ignores(all, "build"));
    ck_assert(ignores(all, "a/y.log") && !ignores(all, "a/x.log") && !ignores(all, "gone/y") &&
              ignores(all, "gone/y.log"));
    ck_assert(!ignores(all, ".") && ignores(all, ".git/") && ignores(all, "a/.xd-1234"));
    ck_assert(!ignores(some, "b.log") && !ignores(some, "b")); /* in no root */
    ck_assert(!ignores(some, "build/") && !ignores(some, "build/lib/x") && ignores(some, "build/lib/x.log"));
    ck_assert(!ignores(both, "build/") && ignores(both, "build/x") && !ignores(both, "build/lib/x"));
}
END_TEST

static xd_scan_asker *walked_asker;
static unsigned       walked, walked_wrong;
static int            on_walked(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    const char *below = path + strlen(base) + 1;
    bool        left_out = true;
    (void)flag;
    if (at->level == 0)
        return 0;
    if (xd_scan_asker_ask(walked_asker, xd_bytes_str(below), S_ISDIR(st->st_mode), &left_out) < 0)
        return -1;
    walked++;
    walked_wrong += left_out != (xd_manifest_find(result.manifest, xd_bytes_str(below)) == XD_MANIFEST_NONE);
    return 0;
}

/* The scan and the question about one path agree, whatever the rules are. */
START_TEST(rules_agree)
{
    static const char *const patterns[] = { "a", "/b", "a/b", "b/", "!a", "!b", "c*", "!c", "**/a", "a/**" };
    const char *const        roots[] = { ".", "a/b", "c", NULL };
    uint64_t                 s = 88172645463325252u;
    for (int round = 0; round < 40; round++) {
        char path[64], rules_text[64];
        put("a/b/f", "");
        put("c/f", "");
        for (int i = 0; i < 40; i++) {
            size_t len = 0;
            s = s * 6364136223846793005u + 1442695040888963407u;
            for (uint64_t depth = 1 + (s >> 60) % 3, bits = s >> 20; depth; depth--, bits >>= 3)
                len += (size_t)snprintf(path + len, sizeof(path) - len, "%c/", (char)('a' + bits % 3));
            if (s >> 40 & 3) {
                snprintf(path + len, sizeof(path) - len, "f%u", (unsigned)(s >> 45 & 3));
                put(path, "");
                continue;
            }
            snprintf(path + len, sizeof(path) - len, s >> 42 & 1 ? ".gitignore" : ".xdignore");
            snprintf(rules_text, sizeof(rules_text), "%s\n%s\n", patterns[(s >> 46) % XD_ARRAY_LEN(patterns)],
                     patterns[(s >> 51) % XD_ARRAY_LEN(patterns)]);
            put(path, rules_text);
        }
        xd_scan_args args = args_for(roots);
        scan_with(&args);
        ck_assert_int_eq(xd_scan_asker_new(&walked_asker, &args), 0);
        ck_assert_int_eq(nftw(base, on_walked, 16, FTW_PHYS), 0);
        walked_asker = xd_scan_asker_free(walked_asker);
        ck_assert_msg(walked_wrong == 0, "round %d: %u paths", round, walked_wrong);
        for (char c[] = "a"; *c <= 'c'; ++*c) {
            char all[100];
            snprintf(all, sizeof(all), "%s/%s", base, c);
            (void)xd_path_remove_tree(all);
        }
    }
    ck_assert_uint_gt(walked, 500);
}
END_TEST

/* ---- what is read again -------------------------------------------------------------------------------------------------- */

static xd_stat cache_stat(void)
{
    xd_stat st = { 0 };
    ck_assert_int_eq(xd_stat_at(AT_FDCWD, cache, &st), 0);
    return st;
}

START_TEST(nothing_is_read_twice)
{
    put("a", "one");
    put("b/c", "two");
    settle("b/c");
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 2);
    ck_assert_uint_eq(result.stats.hashed_bytes, 6);
    xd_stat   before = cache_stat();
    xd_digest first = xd_manifest_digest(result.manifest);
    ck_assert_uint_eq(before.mode & 0777, 0600);
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 0);
    ck_assert(xd_digest_eq(first, xd_manifest_digest(result.manifest)));
    xd_stat after = cache_stat();
    ck_assert(xd_stat_eq(&before, &after)); /* and nothing written */
    ck_assert_int_eq(renameat(base_fd, "b", base_fd, "moved"), 0);
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 0);
    ck_assert(has_content("moved/c", "two"));
    xd_scan_args args = args_for((const char *const[]){ ".", NULL });
    args.cache = NULL;
    scan_with(&args);
    ck_assert_uint_eq(result.stats.hashed, 2);
}
END_TEST

/* Another content of the same size behind the same mtime: the ctime tells. */
START_TEST(same_size_same_mtime)
{
    xd_stat st;
    put("a", "one");
    put("b", "two");
    put("other", "six");
    ck_assert_int_eq(xd_stat_at(base_fd, "a", &st), 0);
    set_mtime("other", st.mtime_ns);
    settle("other");
    SCAN(".");
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 0);
    put("a", "two");
    set_mtime("a", st.mtime_ns); /* touch -r, cp -p */
    SCAN(".");
    ck_assert(has_content("a", "two"));
    ck_assert_uint_eq(result.stats.hashed, 1);
    ck_assert_int_eq(renameat(base_fd, "other", base_fd, "a"), 0); /* mv over it */
    settle("a");
    SCAN(".");
    ck_assert(has_content("a", "six"));
    ck_assert_int_eq(fchmodat(base_fd, "b", 0600, 0), 0);
    settle("b");
    SCAN(".");
    ck_assert_uint_eq(entry("b")->mode, 0600);
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 0);
}
END_TEST

/* What was written within the last tick may be written again in the same one. */
START_TEST(what_is_young_is_not_trusted)
{
    int64_t later = (int64_t)(xd_clock_wall_us() * 1000 + 3600 * XD_S_NS);
    put("old", "old");
    put("new", "one");
    set_mtime("new", later);
    settle("old");
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 2);
    xd_stat before = cache_stat();
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 1);
    xd_stat after = cache_stat();
    ck_assert(xd_stat_eq(&before, &after)); /* nothing was learned that could be kept */
    set_mtime("new", later - 7200 * (int64_t)XD_S_NS);
    settle("new");
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 1);
    after = cache_stat();
    ck_assert(!xd_stat_eq(&before, &after)); /* now it could */
    SCAN(".");
    ck_assert_uint_eq(result.stats.hashed, 0);
}
END_TEST

START_TEST(written_again_and_again)
{
    char     content[16];
    unsigned wrong = 0;
    put("f", "00000000");
    xd_stat st;
    ck_assert_int_eq(xd_stat_at(base_fd, "f", &st), 0);
    for (unsigned i = 0; i < 200; i++) {
        xd_scan_args args = args_for((const char *const[]){ ".", NULL });
        snprintf(content, sizeof(content), "%08u", i);
        int fd = openat(base_fd, "f", O_WRONLY | O_CLOEXEC);
        wrong += write(fd, content, 8) != 8;
        close(fd);
        args.threads = 1;
        scan_with(&args);
        wrong += !has_content("f", content);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(cache_that_cannot_be_written)
{
    xd_scan_args args = args_for((const char *const[]){ ".", NULL });
    char         bad[128];
    put("a", "1");
    snprintf(bad, sizeof(bad), "%s/a/cache", base);
    args.cache = bad;
    scan_with(&args);
    ck_assert(has_content("a", "1"));
}
END_TEST

START_TEST(one_file)
{
    xd_node n;
    put("dir/f", "content");
    put_link("l", "dir/f");
    set_mtime("dir/f", 77);
    ck_assert_int_eq(xd_scan_file(base_fd, "dir/f", &n), 0);
    ck_assert_uint_eq(n.size, 7);
    ck_assert_uint_eq(n.mode, 0644);
    ck_assert_int_eq(n.mtime_ns, get_mtime("dir/f"));
    ck_assert(xd_digest_eq(n.id, xd_digest_of(XD_BYTES_LIT("content"))));
    ck_assert_int_eq(xd_scan_file(base_fd, "gone", &n), -ENOENT);
    ck_assert_int_eq(xd_scan_file(base_fd, "dir", &n), -EINVAL);
    ck_assert_int_eq(xd_scan_file(base_fd, "l", &n), -EINVAL);
    ck_assert_int_eq(xd_scan_file(AT_FDCWD, "/proc/self/status", &n),
                     -EAGAIN); /* never of the size that it says */
    put("gone/", "");
    /* Sizes around a buffer's, in one piece and in several. */
    char *big = malloc(3 * XD_HASH_BUFFER);
    memset(big, 'b', 3 * XD_HASH_BUFFER);
    static const size_t sizes[] = { XD_HASH_BUFFER - 1, XD_HASH_BUFFER, XD_HASH_BUFFER + 1,
                                    2 * XD_HASH_BUFFER, 3 * XD_HASH_BUFFER - 5 };
    for (size_t i = 0; i < XD_ARRAY_LEN(sizes); i++) {
        char was = big[sizes[i]];
        big[sizes[i]] = 0;
        put("big", big);
        big[sizes[i]] = was;
        ck_assert_int_eq(xd_scan_file(base_fd, "big", &n), 0);
        ck_assert_uint_eq(n.size, sizes[i]);
        ck_assert(xd_digest_eq(n.id, xd_digest_of((xd_bytes){ (uint8_t *)big, sizes[i] })));
    }
    free(big);
}
END_TEST

/* ---- threads, faults ------------------------------------------------------------------------------------------------------ */

START_TEST(threads_agree)
{
    char      path[64], content[32];
    xd_digest one = { 0 };
    for (unsigned i = 0; i < 700; i++) { /* 400 of them in one folder, so others help to read it */
        snprintf(path, sizeof(path), i < 400 ? "many/f%u" : "d%2$u/e%3$u/f%1$u", i, i % 7, i % 31);
        snprintf(content, sizeof(content), "%u", i);
        put(path, content);
    }
    for (uint32_t threads = 1; threads <= 8; threads++) {
        xd_scan_args args = args_for((const char *const[]){ ".", NULL });
        args.threads = threads;
        args.cache = NULL;
        scan_with(&args);
        ck_assert_uint_eq(result.stats.files, 700);
        ck_assert_uint_eq(result.stats.hashed, 700);
        if (threads == 1)
            one = xd_manifest_digest(result.manifest);
        ck_assert(xd_digest_eq(one, xd_manifest_digest(result.manifest)));
    }
    ck_assert(has_content("many/f77", "77"));
}
END_TEST

static int   churning;
static void *churn(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&churning, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 200;
             i++) { /* each is there for a moment: it is listed, or known, and gone when it is opened */
            char file[16];
            snprintf(file, sizeof(file), "v%d", i % 40);
            int fd = openat(base_fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            if (fd >= 0)
                close(fd);
            snprintf(file, sizeof(file), "v%d", (i + 20) % 40);
            unlinkat(base_fd, file, 0);
        }
        for (int i = 0; i < 8; i++) {
            char folder[16], file[32];
            snprintf(folder, sizeof(folder), "t%d", i);
            snprintf(file, sizeof(file), "t%d/f", i);
            (void)!mkdirat(base_fd, folder, 0755);
            int fd = openat(base_fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            if (fd >= 0)
                close(fd);
        }
        for (int i = 0; i < 8; i++) {
            char folder[16], file[32];
            snprintf(folder, sizeof(folder), "t%d", i);
            snprintf(file, sizeof(file), "t%d/f", i);
            unlinkat(base_fd, file, 0);
            unlinkat(base_fd, folder, AT_REMOVEDIR);
        }
    }
    return NULL;
}

START_TEST(vanishing)
{
    pthread_t thread;
    put("stays", "1");
    churning = 1;
    ck_assert_int_eq(pthread_create(&thread, NULL, churn, NULL), 0);
    for (int i = 0; i < 300; i++) {
        SCAN(".");
        ck_assert_msg(result.left_out.len == 0, "%s", lines(&result.left_out));
        ck_assert(has_content("stays", "1"));
    }
    __atomic_store_n(&churning, 0, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}
END_TEST

/* A folder on the way became a link while the tree was walked. */
START_TEST(no_link_on_the_way)
{
    xd_place *place = calloc(1, sizeof(*place) + 1);
    put("real/sub/f", "");
    put_link("l", "real");
    place->fd = base_fd;
    int fd = xd_scan_open_folder(place, "real/sub");
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(xd_scan_open_folder(place, "l/sub"), -ELOOP);
    ck_assert_int_lt(xd_scan_open_folder(place, "l"), 0);
    free(place);
}
END_TEST

START_TEST(stopped)
{
    int            stop = 1;
    xd_scan_args   args = args_for((const char *const[]){ ".", NULL });
    xd_scan_result none;
    xd_error       err = { 0 };
    put("a/b", "");
    ck_assert_int_eq(xd_scan(&args, &stop, &none, &err), -ECANCELED);
    ck_assert_ptr_null(none.manifest);
}
END_TEST

/* Last: this process, a child of Check's, is another user from here on. */
START_TEST(unreadable)
{
    put("open/a", "1");
    put("locked/in/b", "2");
    put("good/", "");
    put("secret", "3");
    put("list_only/c", "4");
    ck_assert_int_eq(fchmodat(base_fd, "locked", 0, 0), 0);
    ck_assert_int_eq(fchmodat(base_fd, "secret", 0, 0), 0);
    ck_assert_int_eq(fchmodat(base_fd, "list_only", 0444, 0), 0);
    if (geteuid() == 0 && seteuid(65534) < 0) {
        printf("skipped: root reads everything, and cannot become another user\n");
        return;
    }
    SCAN(".");
    ck_assert_str_eq(listing(), "good/ list_only/ open/ open/a ");
    ck_assert_str_eq(
        lines(&result.left_out),
        "list_only/c: Permission denied\nlocked: Permission denied\nsecret: Permission denied\n");
    ck_assert_str_eq(lines(&result.unreadable), "list_only/c\nlocked\nsecret\n");
    refused("locked", -EACCES, "locked");
    refused("locked/in", -EACCES, "locked/in");
    (void)!seteuid(getuid());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scan");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, everything);
    tcase_add_test(all, several_roots);
    tcase_add_test(all, roots_that_cannot_be);
    tcase_add_test(all, roots_that_are_links);
    tcase_add_test(all, links);
    tcase_add_test(all, neither_file_nor_folder);
    tcase_add_test(all, odd_names);
    tcase_add_test(all, too_deep);
    tcase_add_test(all, rules);
    tcase_add_test(all, rules_above_the_base);
    tcase_add_test(all, rules_for_what_is_not_there);
    tcase_add_test(all, rules_agree);
    tcase_add_test(all, nothing_is_read_twice);
    tcase_add_test(all, same_size_same_mtime);
    tcase_add_test(all, what_is_young_is_not_trusted);
    tcase_add_test(all, written_again_and_again);
    tcase_add_test(all, cache_that_cannot_be_written);
    tcase_add_test(all, one_file);
    tcase_add_test(all, threads_agree);
    tcase_add_test(all, vanishing);
    tcase_add_test(all, no_link_on_the_way);
    tcase_add_test(all, stopped);
    tcase_add_test(all, unreadable);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
