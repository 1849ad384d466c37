#include "actors/limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "engine/base/mem.h"

/* Sockets, eventfds and the journal of a run with one environment take some 30; each further one a dozen. */
#define LEAST_FILES 40u
#define FILES_PER_GATEWAY 13u
/* The page that workers share, the largest file of the adapter, the journal of a small run. */
#define LEAST_FILE_BYTES (256u * 1024u)
/* libzmq 2, journal, broker, scheduler, two reporters, the watcher. */
#define THREADS 8u
#define HEAP_BYTES (32u << 20)

static int check_files(uint32_t gateways, xd_error *err)
{
    struct rlimit files, size;
    uint32_t      need = LEAST_FILES + FILES_PER_GATEWAY * (gateways ? gateways - 1 : 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < need)
        return xd_error_set(err, -EMFILE,
                            "the limit of open files is %llu, this run needs %u: raise it (ulimit -n 1024)",
                            (unsigned long long)files.rlim_cur, need);
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

/* As many threads as the run will have, at the same time, and memory beside their stacks: whatever the limit is (of
 * the user, the process, the control group), this finds it. */
static int check_threads(uint32_t gateways, xd_error *err)
{
    uint32_t               need = THREADS + gateways, n = 0;
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
            "no more than %u of the %u threads of a run can be started: %s; raise the limit of "
            "processes (ulimit -u), of memory (ulimit -v) or that of the control group (pids.max)",
            n, need, xd_error_name(r));
    return xd_error_set(err, r,
                        "there is too little memory for a run: %s; raise the limit (ulimit -v unlimited)",
                        xd_error_name(r));
}

int xd_limits_check(uint32_t gateways, xd_error *err)
{
    XD_TRY(check_files(gateways, err));
    return check_threads(gateways, err);
}
