/* tests/unit/sync_world.h - for tests of a whole synchronisation: a folder to work in, trees and edits made from a seed, a comparison of two trees that shares no code
 * with what is tested, and destinations: xd_receive in a thread, behind a pipe that can be cut or stalled. */
#pragma once
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "sync/receive.h"
#include "sync/send.h"

#define MUST(cond)                                                                          \
    do {                                                                                    \
        if (!(cond))                                                                        \
            ck_abort_msg("seed %u, line %d: %s", (unsigned)world_seed, __LINE__, "" #cond); \
    } while (0)
#define UNUSED __attribute__((unused))

static uint32_t world_seed;
static char     world[64];

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static char *in_world(const char *name)
{
    static __thread char path[8][700];
    static __thread int  n;
    n = (n + 1) % 8;
    (void)snprintf(path[n], sizeof path[n], "%s/%s", world, name);
    return path[n];
}

UNUSED static void world_begin(void)
{
    (void)snprintf(world, sizeof world, "/tmp/xd-sync-test-XXXXXX");
    MUST(mkdtemp(world));
    MUST(mkdir(in_world("src"), 0755) == 0);
}

UNUSED static void world_end(void)
{
    (void)xd_path_remove_tree(world);
}

/* ---- files ------------------------------------------------------------------------------------------------- */

UNUSED static void put(const char *path, const void *data, size_t len)
{
    char *whole = in_world(path);
    int   fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    MUST(fd >= 0);
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, (const char *)data + at, len - at);
        MUST(n > 0);
        at += (size_t)n;
    }
    (void)close(fd);
}

/* Content that a seed makes. compressible: words, else noise. */
UNUSED static uint8_t *content(size_t len, uint64_t seed, bool compressible)
{
    uint8_t *p = malloc(len + 8);
    seed = seed * 0x9e3779b97f4a7c15u | 1;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next(&seed);
        if (compressible)
            v = 0x2020202061616161u + v % 26;
        memcpy(p + i, &v, 8);
    }
    return p;
}

UNUSED static void put_content(const char *path, size_t len, uint64_t seed, bool compressible)
{
    uint8_t *p = content(len, seed, compressible);
    put(path, p, len);
    free(p);
}

/* ---- the comparison ----------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What rules leave out (dot files by default, also what the far end keeps for itself). */
static bool passed_over(const char *name)
{
    size_t len = strlen(name);
    return name[0] == '.' || (len > 2 && strcmp(name + len - 2, ".o") == 0);
}

static char **names_in(const char *folder, size_t *ret)
{
    DIR           *d = opendir(folder);
    char         **all = NULL;
    size_t         count = 0;
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (!passed_over(e->d_name)) {
            all = realloc(all, (count + 1) * sizeof *all);
            all[count++] = strdup(e->d_name);
        }
    if (d)
        (void)closedir(d);
    if (count)
        qsort(all, count, sizeof *all, by_name);
    *ret = count;
    return all;
}

static bool same_content(const char *a, const char *b)
{
    FILE *f = fopen(a, "re"), *g = fopen(b, "re");
    bool  same = f && g;
    char  x[8192], y[8192];
    while (same) {
        size_t n = fread(x, 1, sizeof x, f), m = fread(y, 1, sizeof y, g);
        same = n == m && memcmp(x, y, n) == 0;
        if (n < sizeof x)
            break;
    }
    if (f)
        (void)fclose(f);
    if (g)
        (void)fclose(g);
    return same;
}

/* Appends a line for each difference. */
static void compare(const char *a, const char *b, bool top, xd_buf *out)
{
    struct stat x, y;
    if (lstat(a, &x) < 0 || lstat(b, &y) < 0) {
        MUST(xd_buf_printf(out, "%s or %s is not there\n", a, b) == 0);
        return;
    }
    if ((x.st_mode & S_IFMT) != (y.st_mode & S_IFMT) ||
        (!top && !S_ISLNK(x.st_mode) && (x.st_mode & 0777) != (y.st_mode & 0777)))
        MUST(xd_buf_printf(out, "%s: mode %o, %o\n", b, x.st_mode, y.st_mode) == 0);
    if (S_ISREG(x.st_mode) && S_ISREG(y.st_mode)) {
        if (!same_content(a, b))
            MUST(xd_buf_printf(out, "%s: content\n", b) == 0);
        if (x.st_mtim.tv_sec != y.st_mtim.tv_sec || x.st_mtim.tv_nsec != y.st_mtim.tv_nsec)
            MUST(xd_buf_printf(out, "%s: time\n", b) == 0);
    } else if (S_ISLNK(x.st_mode) && S_ISLNK(y.st_mode)) {
        char    p[300], q[300];
        ssize_t n = readlink(a, p, sizeof p), m = readlink(b, q, sizeof q);
        if (n != m || n < 0 || memcmp(p, q, (size_t)n))
            MUST(xd_buf_printf(out, "%s: target\n", b) == 0);
    } else if (S_ISDIR(x.st_mode) && S_ISDIR(y.st_mode)) {
        size_t n, m, i = 0, k = 0;
        char **p = names_in(a, &n), **q = names_in(b, &m);
        while (i < n || k < m) {
            int order = i == n ? 1 : k == m ? -1 : strcmp(p[i], q[k]);
            if (order) {
                MUST(xd_buf_printf(out, "%s/%s is only %s\n", b, order < 0 ? p[i] : q[k],
                                   order < 0 ? "here" : "there") == 0);
            } else {
                char sub_a[1000], sub_b[1000];
                (void)snprintf(sub_a, sizeof sub_a, "%s/%s", a, p[i]);
                (void)snprintf(sub_b, sizeof sub_b, "%s/%s", b, q[k]);
                compare(sub_a, sub_b, false, out);
            }
            i += order <= 0;
            k += order >= 0;
        }
        for (i = 0; i < n; i++)
            free(p[i]);
        for (k = 0; k < m; k++)
            free(q[k]);
        free(p);
        free(q);
    }
}

UNUSED static void must_be_equal(const char *a, const char *b)
{
    xd_autobuf out = XD_BUF_INIT;
    compare(in_world(a), in_world(b), true, &out);
    if (out.len)
        ck_abort_msg("seed %u: %s", (unsigned)world_seed, xd_buf_cstr(&out));
}

/* ---- random edits -------------------------------------------------------------------------------------------- */

typedef struct found {
    char **path;
    size_t count;
} found;

static void walk(const char *below, found *f, bool folders)
{
    size_t n;
    char **names = names_in(in_world(below), &n);
    for (size_t i = 0; i < n; i++) {
        char        path[500];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%s", below, names[i]);
        MUST(lstat(in_world(path), &st) == 0);
        if (!folders || S_ISDIR(st.st_mode)) {
            f->path = realloc(f->path, (f->count + 1) * sizeof *f->path);
            f->path[f->count++] = strdup(path);
        }
        if (S_ISDIR(st.st_mode))
            walk(path, f, folders);
        free(names[i]);
    }
    free(names);
}

static char *some_path(const char *top, uint64_t *seed, bool folder)
{
    found f = { 0 };
    if (folder) {
        f.path = malloc(sizeof *f.path);
        f.path[f.count++] = strdup(top);
    }
    walk(top, &f, folder);
    char *path = f.count ? strdup(f.path[next(seed) % f.count]) : NULL;
    for (size_t i = 0; i < f.count; i++)
        free(f.path[i]);
    free(f.path);
    return path;
}

static size_t some_size(uint64_t *seed)
{
    switch (next(seed) % 12) {
    case 0:
        return 0;
    case 1:
        return 8192 + next(seed) % 300000;
    case 2:
        return 8192 + next(seed) % 30000;
    default:
        return next(seed) % 3000;
    }
}

/* One edit of the tree at `top`: a file, folder or link is made, changed, moved, removed, or becomes something else. */
UNUSED static void edit(const char *top, uint64_t *seed)
{
    static const char *const names[] = { "a", "b", "c", "d.py", "e e", "f\xff", "g.o", "\xc3\xa4", "h", "i" };
    xd_autofree char        *old = some_path(top, seed, false), *folder = some_path(top, seed, true);
    char                     path[560];
    struct stat              st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, names[next(seed) % 10]);
    unsigned what = (unsigned)(next(seed) % 13);
    if (!old)
        what = 0;
    switch (what) {
    case 0:
    case 1:
    case 2: /* a file, seldom in the place of a folder */
        if (lstat(in_world(path), &st) == 0 && S_ISDIR(st.st_mode) && next(seed) % 4)
            break;
        (void)xd_path_remove_tree(in_world(path));
        put_content(path, some_size(seed), next(seed) % 50, true);
        if (next(seed) % 4 == 0)
            (void)chmod(in_world(path), 0755);
        break;
    case 3:
    case 4: /* a folder, maybe in the place of something else */
        if (strlen(folder) < 60 && (lstat(in_world(path), &st) < 0 || !S_ISDIR(st.st_mode))) {
            (void)xd_path_remove_tree(in_world(path));
            MUST(mkdir(in_world(path), 0755) == 0);
        }
        break;
    case 5: /* a link; it stays in the tree wherever it is moved to */
        (void)xd_path_remove_tree(in_world(path));
        MUST(symlink(next(seed) % 2 ? "a" : "b/../c", in_world(path)) == 0);
        break;
    case 6:
    case 7: /* moved */
        if (strncmp(path, old, strlen(old)) != 0 && strncmp(old, path, strlen(path)) != 0)
            (void)rename(in_world(old), in_world(path));
        break;
    case 8:
        (void)xd_path_remove_tree(in_world(old));
        break;
    case 9: /* mode */
        if (lstat(in_world(old), &st) == 0 && !S_ISLNK(st.st_mode))
            (void)chmod(in_world(old), S_ISDIR(st.st_mode) ? (next(seed) % 2 ? 0755 : 0700)
                                                           : (next(seed) % 2 ? 0600 : 0444));
        break;
    default: /* some bytes of a file */
        if (lstat(in_world(old), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 10) {
            (void)chmod(in_world(old), 0644);
            int fd = open(in_world(old), O_WRONLY);
            MUST(fd >= 0);
            MUST(pwrite(fd, "change", 6, (off_t)(next(seed) % ((uint64_t)st.st_size - 6))) == 6);
            if (next(seed) % 4 == 0)
                MUST(ftruncate(fd, st.st_size / 2) == 0);
            (void)close(fd);
        }
    }
}

/* ---- destinations -------------------------------------------------------------------------------------------- */

typedef struct destination {
    const char    *name; /* of its folder in the world */
    const char    *key;
    uint32_t       flags;
    bool           plain; /* no zstd */
    size_t         cut;   /* after so many bytes to it; 0 = not */
    size_t         stall; /* after so many bytes, until `released`; 0 = not */
    int            released;
    int            far_status, result;
    xd_sync_counts counts;
    xd_error       err;
    xd_buf         said, changed;
    xd_source     *source;
    int            home_fd, far_fd, proxy_fd[2];
    pthread_t      far, proxy, home;
} destination;

static void *far_main(void *arg)
{
    destination    *d = arg;
    xd_receive_args args = { .in = d->far_fd, .out = d->far_fd, .folder = in_world(d->name), .threads = 2 };
    d->far_status = xd_receive(&args);
    (void)shutdown(d->far_fd, SHUT_RDWR);
    return NULL;
}

/* Passes bytes on, both ways. */
static void *proxy_main(void *arg)
{
    destination *d = arg;
    size_t       passed = 0;
    for (bool open = true; open;) {
        fd_set set;
        FD_ZERO(&set);
        bool stalled = d->stall && passed >= d->stall && !__atomic_load_n(&d->released, __ATOMIC_ACQUIRE);
        if (!stalled)
            FD_SET(d->proxy_fd[0], &set);
        FD_SET(d->proxy_fd[1], &set);
        struct timeval tick = { .tv_usec = 5000 };
        if (select(XD_MAX(d->proxy_fd[0], d->proxy_fd[1]) + 1, &set, NULL, NULL, &tick) < 0)
            break;
        for (int i = 0; i < 2 && open; i++) {
            char   buf[4096];
            size_t most = sizeof buf;
            if (!FD_ISSET(d->proxy_fd[i], &set))
                continue;
            if (i == 0 && d->cut)
                most = XD_MIN(most, d->cut - passed);
            ssize_t n = most ? read(d->proxy_fd[i], buf, most) : 0;
            open = n > 0;
            for (ssize_t at = 0; open && at < n;) {
                ssize_t m = send(d->proxy_fd[!i], buf + at, (size_t)(n - at), MSG_NOSIGNAL);
                open = m > 0;
                at += m > 0 ? m : 0;
            }
            passed += i == 0 && n > 0 ? (size_t)n : 0;
            open &= !(i == 0 && d->cut && passed >= d->cut);
        }
    }
    (void)shutdown(d->proxy_fd[0], SHUT_RDWR);
    (void)shutdown(d->proxy_fd[1], SHUT_RDWR);
    return NULL;
}

static void on_say(void *arg, uint8_t level, xd_bytes text)
{
    destination *d = arg;
    (void)level;
    MUST(xd_buf_add_bytes(&d->said, text) == 0 && xd_buf_add_byte(&d->said, '\n') == 0);
}

static void on_change(void *arg, uint8_t type, uint8_t was, xd_bytes path)
{
    destination *d = arg;
    MUST(xd_buf_printf(&d->changed, "%d<%d %.*s\n", type, was, (int)path.len, (const char *)path.ptr) == 0);
}

static void *home_main(void *arg)
{
    destination *d = arg;
    xd_send_args args = { .source = d->source,
                          .fd = d->home_fd,
                          .key = d->key ? d->key : d->name,
                          .folder = "p",
                          .flags = d->flags,
                          .zstd = !d->plain,
                          .say = on_say,
                          .change = on_change,
                          .arg = d };
    d->result = xd_send(&args, &d->counts, &d->err);
    (void)shutdown(d->home_fd, SHUT_RDWR);
    return NULL;
}

UNUSED static void destination_start(destination *d, xd_source *source)
{
    int fds[2], more[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    d->source = source;
    d->home_fd = fds[0];
    d->far_fd = fds[1];
    d->proxy_fd[0] = -1;
    if (d->cut || d->stall) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, more) == 0);
        d->proxy_fd[0] = fds[1];
        d->proxy_fd[1] = more[0];
        d->far_fd = more[1];
        MUST(pthread_create(&d->proxy, NULL, proxy_main, d) == 0);
    }
    MUST(pthread_create(&d->far, NULL, far_main, d) == 0);
    MUST(pthread_create(&d->home, NULL, home_main, d) == 0);
}

UNUSED static void destination_wait(destination *d)
{
    (void)pthread_join(d->home, NULL);
    (void)pthread_join(d->far, NULL);
    if (d->proxy_fd[0] >= 0) {
        (void)pthread_join(d->proxy, NULL);
        (void)close(d->proxy_fd[0]);
        (void)close(d->proxy_fd[1]);
    }
    (void)close(d->home_fd);
    (void)close(d->far_fd);
}

UNUSED static void destination_forget(destination *d)
{
    xd_buf_release(&d->said);
    xd_buf_release(&d->changed);
}

/* ---- sources -------------------------------------------------------------------------------------------------- */

static const char *const world_roots[] = { ".", NULL };

/* The tree at src, with a stat cache. memory: see xd_source_args. */
UNUSED static xd_source *source_for(uint64_t kept_bytes, uint32_t hosts, const char *memory)
{
    xd_source     *s = NULL;
    xd_error       err = { 0 };
    xd_source_args args = { .scan = { .roots = world_roots,
                                      .base = in_world("src"),
                                      .cache = in_world("statcache"),
                                      .threads = 2 },
                            .memory = memory,
                            .kept_bytes = kept_bytes,
                            .hosts = hosts };
    if (xd_source_new(&s, &args, &err) < 0)
        ck_abort_msg("%s", err.text);
    return s;
}

UNUSED static xd_source *source_of(uint64_t kept_bytes)
{
    return source_for(kept_bytes, 1, in_world("mem"));
}

/* One destination, to the end. */
UNUSED static void sync_to(destination *d)
{
    xd_source *s = source_of(0);
    destination_start(d, s);
    destination_wait(d);
    xd_source_free(s);
}

/* The same, and it must have worked. */
UNUSED static void sync_well(destination *d)
{
    sync_to(d);
    if (d->result < 0)
        ck_abort_msg("seed %u: %s", (unsigned)world_seed, d->err.text);
    ck_assert_int_eq(d->far_status, 0);
}
