/* needs: sync */
/* tests/bench/sync_bench.c - one synchronisation after another between two processes over a socket pair, without agent and gateway: what the two halves take.
 *
 *     sync_bench TREE DESTINATION STATE [plain] [mbit=N] [hosts=N] COMMAND...
 *
 * TREE and DESTINATION are folders (of several hosts: DESTINATION.0, .1, ...), STATE a folder for the stat cache and what is remembered. Each COMMAND is run by a shell between
 * two synchronisations ("true" for none); a line is printed for each: milliseconds from before the scan to the end, of the scan alone, processor time of this side, round trips, bytes there and
 * back, files and bytes sent, largest resident size of this side so far. mbit: a link of so many Mbit/s. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/proc.h"
#include "sync/receive.h"
#include "sync/send.h"

#define HOSTS_MAX 16

typedef struct host {
    pthread_t      thread, link;
    xd_source     *source;
    char           folder[1000];
    bool           plain;
    uint64_t       mbit;
    int            fd, slow[2];
    xd_proc        far;
    int            result;
    xd_sync_counts counts;
    xd_error       err;
} host;

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "sync_bench: %s: %s\n", what, why);
    exit(1);
}

static void say(void *arg, uint8_t level, xd_bytes text)
{
    (void)arg;
    (void)level;
    (void)fprintf(stderr, "  %.*s\n", (int)text.len, (const char *)text.ptr);
}

static void *home(void *arg)
{
    host        *h = arg;
    xd_send_args args = {
        .source = h->source, .fd = h->fd, .key = h->folder, .folder = "p", .zstd = !h->plain, .say = say
    };
    h->result = xd_send(&args, &h->counts, &h->err);
    (void)shutdown(h->fd, SHUT_RDWR);
    return NULL;
}

/* Passes bytes on, so many a second to the far end, with little between. */
static void *slow_link(void *arg)
{
    host                *h = arg;
    static __thread char buf[64 << 10];
    uint64_t             began = xd_clock_ns(), passed = 0;
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(h->slow[0], &set);
        FD_SET(h->slow[1], &set);
        if (select(XD_MAX(h->slow[0], h->slow[1]) + 1, &set, NULL, NULL, NULL) < 0)
            break;
        for (int i = 0; i < 2; i++) {
            if (!FD_ISSET(h->slow[i], &set))
                continue;
            ssize_t n = read(h->slow[i], buf, sizeof buf);
            if (n <= 0) {
                (void)shutdown(h->slow[!i], SHUT_RDWR);
                return NULL;
            }
            if (i == 0) {
                passed += (uint64_t)n;
                uint64_t due = began + passed * 8000 / h->mbit, now = xd_clock_ns();
                if (due > now)
                    (void)usleep((useconds_t)((due - now) / 1000));
                else
                    began += now - due; /* what was not used is lost */
            }
            for (ssize_t at = 0; at < n;) {
                ssize_t m = send(h->slow[!i], buf + at, (size_t)(n - at), MSG_NOSIGNAL);
                if (m <= 0)
                    return NULL;
                at += m;
            }
        }
    }
    return NULL;
}

static void start(host *h, const char *self)
{
    int      fds[2], more[2];
    xd_error err = { 0 };
    if (xd_os_socketpair(fds, false) < 0)
        die("socketpair", "failed");
    h->fd = fds[0];
    int far = fds[1];
    if (h->mbit) {
        if (xd_os_socketpair(more, false) < 0)
            die("socketpair", "failed");
        h->slow[0] = fds[1];
        h->slow[1] = more[0];
        far = more[1];
        if (pthread_create(&h->link, NULL, slow_link, h))
            die("thread", "failed");
    }
    const char  *argv[] = { self, "--far", h->folder, NULL };
    xd_proc_fd   pass[2] = { { far, 0 }, { 2, 2 } };
    xd_proc_args args = { .argv = argv, .fds = pass, .nfds = 2 };
    if (xd_proc_spawn(&args, &h->far, &err) < 0)
        die("far end", err.text);
    (void)close(far);
    if (pthread_create(&h->thread, NULL, home, h))
        die("thread", "failed");
}

static void finish(host *h)
{
    (void)pthread_join(h->thread, NULL);
    if (h->result < 0)
        die(h->folder, h->err.text);
    (void)close(h->fd);
    if (h->mbit)
        (void)pthread_join(h->link, NULL);
    (void)waitpid(h->far.pid, NULL, 0);
    if (h->mbit) {
        (void)close(h->slow[0]);
        (void)close(h->slow[1]);
    }
}

static void one(const char *self, const char *tree, const char *destination, const char *state, bool plain,
                uint64_t mbit, unsigned hosts)
{
    static const char *const roots[] = { ".", NULL };
    char                     cache[600], memory[600];
    xd_source               *s = NULL;
    xd_error                 err = { 0 };
    const xd_scan_result    *scan;
    xd_source_stats          stats;
    host                    *h = calloc(hosts, sizeof *h);
    (void)snprintf(cache, sizeof cache, "%s/stat", state);
    (void)snprintf(memory, sizeof memory, "%s/memory", state);
    xd_source_args args = { .scan = { .roots = roots, .base = tree, .cache = cache }, .memory = memory };
    uint64_t       began = xd_clock_ns(), cpu = xd_clock_cpu_us();
    if (xd_source_new(&s, &args, &err) < 0)
        die(tree, err.text);
    for (unsigned i = 0; i < hosts; i++) {
        h[i] = (host){ .source = s, .plain = plain, .mbit = mbit };
        (void)snprintf(h[i].folder, sizeof h[i].folder, hosts > 1 ? "%s.%u" : "%s", destination, i);
        start(&h[i], self);
    }
    if (xd_source_scanned(s, &scan, &err) < 0)
        die(tree, err.text);
    uint64_t scanned = xd_clock_ns();
    for (unsigned i = 0; i < hosts; i++)
        finish(&h[i]);
    uint64_t ended = xd_clock_ns();
    cpu = xd_clock_cpu_us() - cpu;
    xd_source_get_stats(s, &stats);
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    (void)printf("%8.1f ms, scan %7.1f, cpu %7.1f, %u trips, %10llu + %llu bytes, sent %llu files %llu "
                 "bytes, read %llu files, %llu MB, again %llu/%llu blocks, %ld MB\n",
                 (double)(ended - began) / 1e6, (double)(scanned - began) / 1e6, (double)cpu / 1e3,
                 h[0].counts.round_trips, (unsigned long long)h[0].counts.wire_bytes,
                 (unsigned long long)h[0].counts.wire_back_bytes, (unsigned long long)h[0].counts.sent_files,
                 (unsigned long long)h[0].counts.sent_bytes, (unsigned long long)stats.read_files,
                 (unsigned long long)(stats.read_bytes >> 20), (unsigned long long)stats.blocks_again,
                 (unsigned long long)stats.blocks, use.ru_maxrss >> 10);
    (void)fflush(stdout);
    xd_source_free(s);
    free(h);
}

static int run_far(const char *folder)
{
    xd_receive_args args = { .in = 0, .out = 0, .folder = folder };
    int             r = xd_receive(&args);
    struct rusage   use;
    (void)getrusage(RUSAGE_SELF, &use);
    if (getenv("SYNC_BENCH_FAR"))
        (void)fprintf(stderr, "    far: %ld MB, cpu %.1f ms\n", use.ru_maxrss >> 10,
                      (double)xd_clock_cpu_us() / 1e3);
    return r;
}

int main(int argc, char **argv)
{
    bool     plain = false;
    uint64_t mbit = 0, hosts = 1;
    if (argc == 3 && strcmp(argv[1], "--far") == 0)
        return run_far(argv[2]);
    if (argc < 5)
        die("usage", "sync_bench TREE DESTINATION STATE [plain] [mbit=N] [hosts=N] COMMAND...");
    xd_autofree char *self = NULL;
    if (xd_path_self(&self) < 0)
        die("self", "unknown");
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "plain") == 0) {
            plain = true;
        } else if (strncmp(argv[i], "mbit=", 5) == 0) {
            mbit = strtoull(argv[i] + 5, NULL, 10);
        } else if (strncmp(argv[i], "hosts=", 6) == 0) {
            hosts = strtoull(argv[i] + 6, NULL, 10);
        } else {
            const char  *shell[] = { "/bin/sh", "-c", argv[i], NULL };
            xd_proc      p = XD_PROC_NONE;
            xd_proc_args args = { .argv = shell };
            if (xd_proc_spawn(&args, &p, NULL) < 0 || waitpid(p.pid, NULL, 0) < 0)
                die(argv[i], "cannot be run");
            (void)printf("%-24.24s", argv[i]);
            one(self, argv[1], argv[2], argv[3], plain, mbit, (unsigned)XD_MIN(XD_MAX(hosts, 1), HOSTS_MAX));
        }
    }
    return 0;
}
