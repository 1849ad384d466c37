#include "actors/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/mem.h"

/* The broker's own; with sockets, eventfds and the journal of a run with one environment; for each further one. */
#define BROKER_FILES 7u
#define LEAST_FILES 37u
#define FILES_PER_GATEWAY 13u
/* The page that workers share, the largest file of the adapter, the journal of a small run. */
#define LEAST_FILE_BYTES (256u * 1024u)
/* libzmq 2, journal, broker, scheduler, two reporters, the watcher. */
#define THREADS 8u
#define BROKER_THREADS 3u
#define HEAP_BYTES (32u << 20)

/* How many of `need` descriptors can be had: what the process has open already counts against the limit, too. */
static uint32_t free_files(uint32_t need)
{
    uint32_t         n = 0;
    xd_autofree int *fds = calloc(need, sizeof(*fds));
    while (fds && n < need) {
        fds[n] = n ? fcntl(fds[0], F_DUPFD_CLOEXEC, 0) : eventfd(0, EFD_CLOEXEC);
        if (fds[n] < 0)
            break;
        n++;
    }
    for (uint32_t i = 0; i < n; i++)
        close(fds[i]);
    return fds ? n : need; /* that memory is short is found elsewhere */
}

static int check_files(uint32_t need, const char *what, xd_error *err)
{
    struct rlimit files = { 0 };
    uint32_t      have = free_files(need);
    if (have == need)
        return 0;
    (void)!getrlimit(RLIMIT_NOFILE, &files);
    const unsigned long long used = files.rlim_cur > have ? files.rlim_cur - have : 0;
    const unsigned long long least = (used + need + 1023) / 1024 * 1024;
    return xd_error_set(
        err, -EMFILE,
        "the limit of open files is %llu, of which %u can be opened now; %s needs %u: raise it "
        "(ulimit -n %llu)",
        (unsigned long long)files.rlim_cur, have, what, need, least);
}

static int check_file_size(xd_error *err)
{
    struct rlimit size;
    if (getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur < LEAST_FILE_BYTES)
        return xd_error_set(err, -EFBIG,
                            "the limit of the size of files is %llu bytes, the journal of a run needs %u at "
                            "least: raise it (ulimit -f unlimited)",
                            (unsigned long long)size.rlim_cur, LEAST_FILE_BYTES);
    return 0;
}

static void *wait_for_all(void *arg)
{
    pthread_mutex_t *gate = arg;
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* As many threads as there will be, at the same time, and memory beside their stacks: whatever the limit is (of
 * the user, the process, the control group), this finds it. */
static int check_threads(uint32_t need, const char *what, xd_error *err)
{
    uint32_t               n = 0;
    pthread_mutex_t        gate = PTHREAD_MUTEX_INITIALIZER;
    xd_autofree pthread_t *threads = calloc(need, sizeof(*threads));
    int                    r = threads ? 0 : -ENOMEM;
    if (r == 0) {
        pthread_mutex_lock(&gate);
        while (n < need && r == 0) {
            r = -pthread_create(&threads[n], NULL, wait_for_all, &gate);
            n += r == 0;
        }
        void *heap = MAP_FAILED;
        if (r == 0)
            heap = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1, 0);
        if (r == 0 && heap == MAP_FAILED)
            r = -errno;
        if (heap != MAP_FAILED)
            munmap(heap, HEAP_BYTES);
        pthread_mutex_unlock(&gate);
        for (uint32_t i = 0; i < n; i++)
            pthread_join(threads[i], NULL);
    }
    if (r == 0)
        return 0;
    if (n < need && r != -ENOMEM)
        return xd_error_set(
            err, r,
            "no more than %u of the %u threads of %s can be started: %s; raise the limit of "
            "processes (ulimit -u), of memory (ulimit -v) or that of the control group (pids.max)",
            n, need, what, xd_error_name(r));
    return xd_error_set(err, r,
                        "there is too little memory for %s: %s; raise the limit (ulimit -v unlimited)", what,
                        xd_error_name(r));
}

int xd_limits_check(uint32_t gateways, bool shared, xd_error *err)
{
    const uint32_t files = LEAST_FILES + FILES_PER_GATEWAY * (gateways ? gateways - 1 : 0);
    XD_TRY(check_files(shared ? files - BROKER_FILES : files, "this run", err));
    XD_TRY(check_file_size(err));
    return check_threads(THREADS + gateways, "a run", err);
}

int xd_limits_check_broker(xd_error *err)
{
    XD_TRY(check_files(BROKER_FILES, "a broker", err));
    return check_threads(BROKER_THREADS, "a broker", err);
}
