/* tools/xdctl/run.c - `xdctl run`: one run of a suite; signals become requests to the engine. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

#define LEAST_FILES 256u

static void print_options(void)
{
    puts(
        "usage: xdctl run [OPTION ...] [PYTEST-ARGUMENT ...]\n\n"
        "Runs the pytest suite of this directory on all processors, with pytest's own arguments and "
        "plugins.\n"
        "xd's options come first; pytest's arguments begin at the first one that xd does not know. Among "
        "those xd takes only\n"
        "-n, -d, --dist, --tx, --rsyncdir, --rsyncignore, --maxprocesses, --max-worker-restart, --testrunuid "
        "and --jsonl,\n"
        "and its other options unless a plugin has an option of that name.\n"
        "After `--` everything goes to pytest.  Sizes end in K, M or G, times in s, m, h or d.\n"
        "Options may also stand in xd.toml, in [tool.xd] of pyproject.toml, and in XD_... variables; `xdctl "
        "config show` "
        "lists them all.\n");
    for (const xd_option *o = xd_config_options(); o->name; o++) {
        char left[64];
        int  n = 0;
        if (o->letter)
            n = snprintf(left, sizeof(left), "-%c%s", o->letter, o->name[0] ? ", " : "");
        if (o->name[0])
            n += snprintf(left + n, sizeof(left) - (size_t)n, "--%s", o->name);
        if (o->argument)
            snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->argument);
        printf("  %-36s %s", left, o->help);
        printf(o->fallback && o->fallback[0] ? " [%s]\n" : "\n", o->fallback);
    }
    puts("\nExit code: pytest's own (0 passed, 1 failed, 2 interrupted, 3 internal error, 4 usage, 5 no "
         "tests), and\n"
         "6 no worker could be started, 7 results are incomplete.");
}

/* Blocks the signals this program handles and returns a descriptor that delivers them. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond `ulimit -f` fails with EFBIG, which is reported */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What wait_for_end remembers of signals. */
typedef struct seen {
    int interrupts;
    uint64_t
        stop_at_ns; /* Ctrl-Z: when this process stops although PAUSED did not come; 0 = it was not asked to */
} seen;

/* Ctrl-Z: first the workers stop, then we do; on SIGCONT both go on. */
static void suspend_self(xd_engine *e, seen *s)
{
    s->stop_at_ns = 0;
    raise(SIGSTOP);
    (void)xd_engine_stop(e, XD_STOP_RESUME);
}

static const char stopping[] = "xdctl: stopping: running tests get some time; Ctrl-C again kills them";

static void on_signals(int fd, xd_engine *e, seen *s)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGTSTP:
            (void)xd_engine_stop(e, XD_STOP_PAUSE);
            s->stop_at_ns = now_ns() + 1000000000;
            break;
        case SIGCONT:
            break;
        default:
            s->interrupts++;
            if (s->interrupts == 1 && info.ssi_signo != SIGQUIT) {
                if (isatty(2) && xd_engine_say(e, stopping) < 0)
                    fprintf(stderr, "\n%s\n", stopping);
                (void)xd_engine_stop(e, XD_STOP_DRAIN);
            } else if (s->interrupts <= 2) {
                (void)xd_engine_stop(e, XD_STOP_NOW);
            } else {
                _exit(
                    XD_EXIT_INTERRUPTED); /* the journal is valid at any moment; agents end when we are gone */
            }
        }
    }
}

static int write_stats(const char *path, const xd_result *r)
{
    const struct {
        const char *name;
        uint64_t    value;
    } counters[] = {
        { "items", r->collected },
        { "recorded", r->recorded },
        { "not_run", r->not_run },
        { "passed", r->passed },
        { "failed", r->failed },
        { "skipped", r->skipped },
        { "xfailed", r->xfailed },
        { "xpassed", r->xpassed },
        { "errors", r->errors },
        { "crashed", r->crashed },
        { "duration_us", r->duration_us },
        { "controller_cpu_us", r->controller_cpu_us },
        { "agent_cpu_us", r->agents_cpu_us },
        { "workers_cpu_us", r->workers_cpu_us },
        { "stream_bytes", r->stream_bytes },
    };
    json_t *all = json_pack("{s:s, s:i}", "run_id", r->run_id, "exit_code", r->exit_code);
    bool    made = all != NULL;
    for (size_t i = 0; i < sizeof(counters) / sizeof(*counters) && made; i++)
        made = json_object_set_new(all, counters[i].name, json_integer((json_int_t)counters[i].value)) == 0;
    char *text = made ? json_dumps(all, 0) : NULL;
    char  err[XD_TEXT] = "no memory for --stats";
    int   code = -ENOMEM;
    if (text) {
        const size_t len = strlen(text);
        text[len] = '\n'; /* in the place of the NUL */
        code = xd_file_replace(path, text, len + 1, err);
    }
    free(text);
    json_decref(all);
    return code == 0 ? 0 : xdctl_fail(code, "%s", err);
}

/* Serves signals until the run is over. */
static int wait_for_end(xd_engine *e, int signals, xd_result *res)
{
    seen s = { 0 };
    for (;;) {
        struct pollfd fds[2] = { { .fd = signals, .events = POLLIN },
                                 { .fd = xd_engine_fd(e), .events = POLLIN } };
        if (poll(fds, 2, s.stop_at_ns ? 100 : 1000) < 0 && errno != EINTR)
            return -errno;
        if (fds[0].revents)
            on_signals(signals, e, &s);
        xd_event ev = XD_EVENT_INIT;
        while (xd_engine_next_event(e, &ev) == 1) {
            if (ev.type == XD_EVENT_FINISHED)
                return xd_engine_wait(e, -1, res);
            if (ev.type == XD_EVENT_PAUSED && s.stop_at_ns)
                suspend_self(e, &s);
        }
        if (s.stop_at_ns && now_ns() >= s.stop_at_ns)
            suspend_self(e, &s);
    }
}

/* Where only the soft limit is in the way; what is started inherits it. */
static void raise_open_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= LEAST_FILES)
        return;
    files.rlim_cur = files.rlim_max < LEAST_FILES ? files.rlim_max : LEAST_FILES;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

int xdctl_run(int argc, char **argv)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    xd_engine *e = NULL;
    xd_result  res = XD_RESULT_INIT;
    int        code = XD_EXIT_INTERNAL;
    int        signals = open_signals(); /* first: a signal must not find this program without its handlers */
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_options();
        return 0;
    }
    if (signals < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "cannot watch signals: %s", strerror(errno));
    if (xd_config_new(&cfg) < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    if (xd_config_read(cfg, argc - 1, argv + 1, err) < 0) {
        code = xdctl_fail(XD_EXIT_USAGE, "%s", err);
        goto out;
    }
    raise_open_files();
    int r = xd_config_settle(cfg, err);
    if (r < 0) {
        code = xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INFRASTRUCTURE, "%s", err);
        goto out;
    }
    r = xd_engine_new(&e, cfg, err);
    if (r < 0) {
        code = xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INTERNAL, "%s", err);
        goto out;
    }
    xd_engine_output(e, 1, 2);
    (void)xd_engine_adopt_orphans(e); /* without it the guards of the agents must do */
    r = xd_engine_start(e, err);
    if (r < 0) {
        code = xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INFRASTRUCTURE, "%s", err);
        goto out;
    }
    if (wait_for_end(e, signals, &res) < 0) {
        code = xdctl_fail(XD_EXIT_INTERNAL, "lost contact with the run: %s", strerror(errno));
        goto out;
    }
    code = res.exit_code;
    const char *stats_path = xd_config_get(cfg, "stats");
    const char *work_dir = xd_config_get(cfg, "work-dir");
    if (stats_path && work_dir && chdir(work_dir) < 0) /* all names count from there */
        code = xdctl_fail(XD_EXIT_INTERNAL, "%s: %s", work_dir, strerror(errno));
    else if (stats_path && write_stats(stats_path, &res) < 0 && code == 0)
        code = XD_EXIT_INTERNAL;
out:
    xd_engine_free(e);
    xd_config_free(cfg);
    return code;
}
