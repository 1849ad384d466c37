/* sync/scan.c - the threads of a scan, its beginning and its end. See scan.h; scan_folder.c does the work. */
#include "sync/scan.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "sync/scan_state.h"

#define THREADS_MAX 8u

/* ---- threads ------------------------------------------------------------------------------------------------------- */

/* The next unit; NULL: there will be none. Waits while others may still find some. */
static xd_unit *take(xd_scan_state *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->units && s->busy && !s->failed)
        pthread_cond_wait(&s->wake, &s->lock);
    xd_unit *u = s->failed ? NULL : s->units;
    if (u) {
        s->units = u->next;
        s->busy++;
    }
    pthread_mutex_unlock(&s->lock);
    return u;
}

static void done(xd_scan_state *s, int r)
{
    pthread_mutex_lock(&s->lock);
    s->busy--;
    if (r < 0 && !s->failed)
        s->failed = r;
    if (s->failed || (!s->units && s->busy == 0))
        pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void add_stats(xd_scan_stats *to, const xd_scan_stats *from)
{
    to->files += from->files;
    to->folders += from->folders;
    to->links += from->links;
    to->ignored += from->ignored;
    to->hashed += from->hashed;
    to->hashed_bytes += from->hashed_bytes;
    to->bytes += from->bytes;
    to->hash_ns += from->hash_ns;
}

static void work(xd_scan_state *s)
{
    xd_scan_worker w = { .scan = s, .buffer = malloc(XD_HASH_BUFFER) };
    int            r = w.buffer ? 0 : -ENOMEM;
    if (r == 0 && s->above_len)
        r = xd_buf_printf(&w.path, "%s/", s->args->above);
    for (xd_unit *u; (u = take(s)) != NULL;) {
        if (r == 0 && s->stop && __atomic_load_n(s->stop, __ATOMIC_RELAXED))
            r = -ECANCELED;
        if (r == 0)
            r = xd_scan_unit(&w, u);
        else
            xd_unit_free(u);
        done(s, r);
    }
    pthread_mutex_lock(&s->lock);
    add_stats(&s->stats, &w.stats);
    pthread_mutex_unlock(&s->lock);
    xd_buf_release(&w.dents);
    xd_buf_release(&w.found);
    xd_buf_release(&w.targets);
    xd_buf_release(&w.pending);
    xd_buf_release(&w.path);
    free(w.buffer);
}

static void *work_main(void *arg)
{
    (void)pthread_setname_np(pthread_self(), "xd-scan");
    work(arg);
    return NULL;
}

/* This thread is one of them; fewer than were asked for will do. */
static void work_with_all(xd_scan_state *s)
{
    pthread_t thread[THREADS_MAX];
    uint32_t  n = 0;
    sigset_t  all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (n + 1 < s->threads && pthread_create(&thread[n], NULL, work_main, s) == 0)
        n++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    work(s);
    while (n)
        pthread_join(thread[--n], NULL);
}

/* ---- beginning and end ----------------------------------------------------------------------------------------------- */

static int add_base_place(xd_scan_state *s, char *real, int fd)
{
    xd_place *p = real ? calloc(1, sizeof(*p) + 1) : NULL;
    if (!p) {
        free(real);
        return -ENOMEM;
    }
    size_t len = strlen(real);
    while (len && real[len - 1] == '/')
        real[--len] = 0;
    p->fd = fd;
    p->real = real;
    p->next = s->places;
    s->places = p;
    return 0;
}

/* The base as it was named and as it really is: links in it may tell either. */
static int open_base(xd_scan_state *s, xd_stat *ret)
{
    const char *base = s->args->base;
    if (base[0] != '/')
        return xd_error_set(&s->err, -EINVAL, "cannot synchronise %s: its path is not absolute", base);
    char *real = realpath(base, NULL);
    if (real)
        XD_TRY(add_base_place(s, real, -1));
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return xd_error_set(&s->err, -errno, "cannot synchronise %s: %s", base, xd_error_name(-errno));
    int r = add_base_place(s, strdup(base), fd);
    if (r < 0)
        close(fd);
    return r < 0 ? r : xd_stat_at(fd, ".", ret);
}

static int begin(xd_scan_state *s)
{
    xd_stat st = { 0 };
    XD_TRY(xd_plan_new(&s->plan, s->args->roots, &s->err));
    XD_TRY(open_base(s, &st));
    XD_TRY(xd_statcache_new(&s->cache, s->args->cache));
    XD_TRY(xd_tree_new(&s->tree, s->plan->is_root ? XD_SYNC_FOLDER : XD_SYNC_WAY, st.mode & 0777));
    xd_unit *u = xd_unit_new((xd_bytes){ 0 });
    if (!u)
        return -ENOMEM;
    s->units = u;
    u->inside = s->plan->is_root;
    u->plan = s->plan;
    u->place = s->places;
    u->dev = st.dev;
    return xd_rules_first(s->args, &u->rules);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Strings, each with NUL behind it: in an order that does not hang on which thread was first. */
static int sort_strings(xd_buf *b)
{
    xd_autobuf sorted = XD_BUF_INIT, all = XD_BUF_INIT;
    if (!b->len)
        return 0;
    for (const char *p = (const char *)b->data, *end = p + b->len; p < end; p += strlen(p) + 1)
        XD_TRY(xd_buf_add(&all, &p, sizeof(p)));
    const char **at = (const char **)(void *)all.data;
    size_t       n = all.len / sizeof(*at);
    if (n < 2)
        return 0;
    qsort(at, n, sizeof(*at), compare_strings);
    for (size_t i = 0; i < n; i++)
        XD_TRY(xd_buf_add(&sorted, at[i], strlen(at[i]) + 1));
    memcpy(b->data, sorted.data, sorted.len);
    return 0;
}

static int end(xd_scan_state *s, xd_scan_result *ret)
{
    XD_TRY(s->failed);
    XD_TRY(sort_strings(&s->left_out));
    XD_TRY(sort_strings(&s->unreadable));
    (void)!xd_statcache_save(s->cache);     /* without it the next scan reads more, nothing else */
    s->cache = xd_statcache_free(s->cache); /* before xd_tree_end, which needs much memory, too */
    XD_TRY(xd_tree_end(&s->tree, &ret->manifest, NULL));
    ret->left_out = s->left_out;
    ret->unreadable = s->unreadable;
    s->left_out = s->unreadable = XD_BUF_INIT;
    ret->stats = s->stats;
    return 0;
}

static void release(xd_scan_state *s)
{
    for (xd_unit *u; (u = s->units) != NULL; xd_unit_free(u))
        s->units = u->next;
    for (xd_place *p; (p = s->places) != NULL; free(p)) {
        s->places = p->next;
        if (p->fd >= 0)
            close(p->fd);
        free(p->real);
    }
    xd_plan_free(s->plan);
    xd_statcache_free(s->cache);
    xd_tree_free(s->tree);
    xd_buf_release(&s->left_out);
    xd_buf_release(&s->unreadable);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
}

int xd_scan(const xd_scan_args *args, const int *stop, xd_scan_result *ret, xd_error *err)
{
    uint64_t      began = xd_clock_ns();
    xd_scan_state s = { .args = args, .stop = stop };
    *ret = (xd_scan_result){ 0 };
    s.threads = XD_MIN(args->threads ? args->threads : xd_os_cpus(), THREADS_MAX);
    s.above_len = args->above && *args->above ? strlen(args->above) + 1 : 0;
    pthread_mutex_init(&s.lock, NULL); /* cannot fail without attributes */
    pthread_cond_init(&s.wake, NULL);
    int r = begin(&s);
    if (r == 0) {
        work_with_all(&s);
        r = end(&s, ret);
    }
    if (r < 0 && s.err.code == 0)
        xd_error_set(&s.err, r, "cannot synchronise %s: %s", args->base, xd_error_name(r));
    if (r < 0 && err)
        *err = s.err;
    release(&s);
    ret->stats.walk_ns = xd_clock_ns() - began;
    return r;
}

void xd_scan_release(xd_scan_result *r)
{
    xd_manifest_free(r->manifest);
    xd_buf_release(&r->left_out);
    xd_buf_release(&r->unreadable);
    *r = (xd_scan_result){ 0 };
}

/* The folder that a path of names in the plan leads to, links followed; *path becomes the rest. */
static int open_named(const xd_plan *plan, int base_fd, const char **path)
{
    int fd = openat(base_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && **path) {
        size_t len = strcspn(*path, "/");
        plan = xd_plan_child(plan, (xd_bytes){ (const uint8_t *)*path, len });
        if (!plan)
            break;
        int below = openat(fd, plan->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int code = errno;
        close(fd);
        errno = code;
        fd = below;
        *path += len + ((*path)[len] == '/');
    }
    return fd < 0 ? -errno : fd;
}

int xd_scan_open(const xd_scan_args *args, int base_fd, const char *path)
{
    xd_plan *plan = NULL;
    int      fd = xd_open_beneath(base_fd, path, O_PATH | O_DIRECTORY);
    if (fd != -ELOOP && fd != -ENOTDIR) /* a link on the way; the last name is one */
        return fd;
    XD_TRY(xd_plan_new(&plan, args->roots, NULL));
    xd_autoclose int named = open_named(plan, base_fd, &path);
    xd_plan_free(plan);
    return named < 0 ? named : xd_open_beneath(named, *path ? path : ".", O_PATH | O_DIRECTORY);
}

int xd_scan_file(int base_fd, const char *path, xd_node *ret)
{
    xd_stat              st;
    xd_digest            id;
    xd_autofree uint8_t *buffer = malloc(XD_HASH_BUFFER);
    if (!buffer)
        return -ENOMEM;
    XD_TRY(xd_stat_at(base_fd, path, &st));
    if (!S_ISREG(st.mode))
        return -EINVAL;
    XD_TRY(xd_hash_file(base_fd, path, NULL, buffer, &st, &id));
    *ret = (xd_node){
        .type = XD_SYNC_FILE, .mode = st.mode & 0777, .size = st.size, .mtime_ns = st.mtime_ns, .id = id
    };
    return 0;
}
