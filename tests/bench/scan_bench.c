/* needs: sync. What a scan costs beyond the system calls that it cannot do without: scan_bench FOLDER [THREADS [ROUNDS]] prints, in milliseconds, the least and the median of a bare walk
 * (each folder opened and read, each name asked for by statx) and of scans of which nothing has changed, in turns, with the same threads; then a first scan, which reads all. The tree should have
 * been left alone for some seconds. Not a test: no limits. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "sync/scan.h"

#define MOST 99

/* ---- the bare walk: a stack of folders' paths, as many threads as the scan ------------------------------------------- */

typedef struct folder {
    struct folder *next;
    char           path[];
} folder;

typedef struct walk {
    int             base;
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    folder         *stack;
    unsigned        busy, names;
} walk;

static void push(walk *w, const char *above, const char *name)
{
    size_t  a = strlen(above), n = strlen(name);
    folder *f = malloc(sizeof(*f) + a + n + 2);
    if (!f)
        exit(1);
    memcpy(f->path, above, a);
    f->path[a] = '/';
    memcpy(f->path + a + (a != 0), name, n + 1);
    pthread_mutex_lock(&w->lock);
    f->next = w->stack;
    w->stack = f;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void walk_folder(walk *w, const folder *f, char *dents, size_t size)
{
    int      fd = openat(w->base, *f->path ? f->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    unsigned names = 0;
    for (ssize_t n; fd >= 0 && (n = getdents64(fd, dents, size)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(dents + at);
            struct statx           st;
            at += d->d_reclen;
            if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
                continue;
            if (statx(fd, d->d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
                      STATX_TYPE | STATX_MODE | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_CTIME, &st) == 0)
                names++;
            if (d->d_type == DT_DIR)
                push(w, f->path, d->d_name);
        }
    close(fd);
    __atomic_add_fetch(&w->names, names, __ATOMIC_RELAXED);
}

static void *walk_main(void *arg)
{
    walk *w = arg;
    char *dents = malloc(64u << 10);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->stack && w->busy)
            pthread_cond_wait(&w->wake, &w->lock);
        folder *f = w->stack;
        if (!f)
            break;
        w->stack = f->next;
        w->busy++;
        pthread_mutex_unlock(&w->lock);
        walk_folder(w, f, dents, 64u << 10);
        free(f);
        pthread_mutex_lock(&w->lock);
        w->busy--;
        if (!w->stack && !w->busy)
            pthread_cond_broadcast(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    free(dents);
    return NULL;
}

/* Of all threads: on a busy machine it says more than the clock. */
static double cpu_ms(void)
{
    return (double)xd_clock_cpu_us() / 1e3;
}

static double bare_ms(const char *base, unsigned threads, unsigned *names)
{
    uint64_t  began = xd_clock_ns();
    pthread_t t[8];
    walk      w = { .base = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                    .lock = PTHREAD_MUTEX_INITIALIZER,
                    .wake = PTHREAD_COND_INITIALIZER };
    unsigned  n = 0;
    push(&w, "", "");
    while (n + 1 < threads && pthread_create(&t[n], NULL, walk_main, &w) == 0)
        n++;
    walk_main(&w);
    while (n)
        pthread_join(t[--n], NULL);
    close(w.base);
    *names = w.names;
    return (double)(xd_clock_ns() - began) / 1e6;
}

static double scan_ms(const xd_scan_args *args, xd_scan_stats *stats)
{
    xd_scan_result result;
    xd_error       err = { 0 };
    uint64_t       began = xd_clock_ns();
    if (xd_scan(args, NULL, &result, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    double ms = (double)(xd_clock_ns() - began) / 1e6;
    *stats = result.stats;
    xd_scan_release(&result);
    return ms;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *what, double *bare, double *scan, unsigned rounds)
{
    qsort(bare, rounds, sizeof(*bare), compare);
    qsort(scan, rounds, sizeof(*scan), compare);
    double b = bare[rounds / 2], s = scan[rounds / 2];
    printf("%-9s bare walk %6.1f (median %6.1f), scan %6.1f (median %6.1f): x %.2f (x %.2f)\n", what, bare[0],
           b, scan[0], s, scan[0] / bare[0], s / b);
}

int main(int argc, char **argv)
{
    const char *const roots[] = { ".", NULL };
    double            bare[MOST], scan[MOST], bare_cpu[MOST], scan_cpu[MOST];
    char              cache[] = "/tmp/xd-scan-bench-XXXXXX";
    unsigned          threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1,
             rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 9, names = 0;
    xd_scan_args  args = { .roots = roots, .cache = cache, .threads = threads };
    xd_scan_stats stats;
    struct rusage use;
    int           fd = mkstemp(cache);
    if (argc < 2 || argv[1][0] != '/' || threads < 1 || threads > 8 || rounds < 1 || rounds > MOST ||
        fd < 0) {
        fprintf(stderr, "usage: scan_bench FOLDER (absolute) [THREADS 1..8 [ROUNDS 1..99]]\n");
        return 4;
    }
    close(fd);
    args.base = argv[1];
    (void)bare_ms(argv[1], threads, &names);
    double first = scan_ms(&args, &stats);
    printf("%u names; first scan %.1f ms, %u files read, %.1f MB\n", names, first, stats.hashed,
           (double)stats.hashed_bytes / 1e6);
    for (unsigned i = 0; i < rounds; i++) {
        double cpu = cpu_ms();
        bare[i] = bare_ms(argv[1], threads, &names);
        bare_cpu[i] = cpu_ms() - cpu;
        cpu = cpu_ms();
        scan[i] = scan_ms(&args, &stats);
        scan_cpu[i] = cpu_ms() - cpu;
    }
    getrusage(RUSAGE_SELF, &use);
    print("elapsed", bare, scan, rounds);
    print("processor", bare_cpu, scan_cpu, rounds);
    printf("%u threads; %u files, %u read, %u left out; at most %.1f MB of memory\n", threads, stats.files,
           stats.hashed, stats.ignored, (double)use.ru_maxrss / 1e3);
    unlink(cache);
    return 0;
}
