/* A program that embeds xd, with nothing but the installed header: runs a suite, tells of each test, ends
 * with the run's exit code.
 *     embed PYTHON FOLDER [ARGUMENT OF PYTEST ...] `STOP_AFTER=n` in the environment: asks the run to stop
 *     after n tests embed --twice PYTHON FOLDER                          two runs side by side in one process
 *     embed --apart PYTHON FOLDER FOLDER    one run in each, at once, with state and cache below them; no chdir
 *     embed --misused PYTHON FOLDER         calls at the wrong time, and stops that come early
 *     embed --crowded PYTHON FOLDER         a broker and runs while few descriptors are left
 *     embed --shared PYTHON FOLDER FOLDER   the same through one broker; `STOP_AFTER=n`: stops the first after n tests */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xd.h>

static xd_engine *begin(const char *python, int argc, char **argv, int out_fd)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    xd_engine *run = NULL;
    if (xd_config_new(&cfg) < 0 || xd_config_set(cfg, "python", python, err) < 0 ||
        xd_config_set(cfg, "numprocesses", "2", err) < 0)
        goto fail;
    for (int i = 0; i < argc; i++)
        if (xd_config_add_arg(cfg, argv[i]) < 0)
            goto fail;
    if (xd_engine_new(&run, cfg, err) < 0)
        goto fail;
    xd_engine_output(run, out_fd, 2);
    if (xd_engine_start(run, err) < 0)
        goto fail;
    xd_config_free(cfg); /* the engine has its own copy */
    return run;
fail:
    fprintf(stderr, "embed: %s\n", err);
    xd_engine_free(run);
    xd_config_free(cfg);
    return NULL;
}

/* Events from the descriptor, as a program with a loop of its own takes them. */
static int follow(xd_engine *run, long stop_after)
{
    long      notes = 0;
    xd_event  ev = XD_EVENT_INIT;
    xd_result res = XD_RESULT_INIT;
    for (;;) {
        struct pollfd p = { .fd = xd_engine_fd(run), .events = POLLIN };
        poll(&p, 1, -1);
        while (xd_engine_next_event(run, &ev) == 1) {
            if (ev.type == XD_EVENT_STARTED)
                printf("started %llu tests, %lld workers\n", (unsigned long long)ev.count,
                       (long long)ev.value);
            else if (ev.type == XD_EVENT_NOTE && ++notes == stop_after)
                xd_engine_stop(run, XD_STOP_NOW);
            else if (ev.type == XD_EVENT_FINISHED) {
                if (xd_engine_wait(run, -1, &res) != 0)
                    return XD_EXIT_INTERNAL;
                printf("finished %d: %u collected, %u passed, %u failed, %u not run\n", res.exit_code,
                       res.collected, res.passed, res.failed, res.not_run);
                return res.exit_code;
            }
        }
    }
}

struct watch {
    xd_engine *run;
    long       tests, stop_after;
};

/* On a thread of the engine's: quick, and no call into the engine but xd_engine_stop. */
static void on_event(void *arg, const xd_event *ev)
{
    struct watch *w = arg;
    if (ev->type == XD_EVENT_NOTE && ev->value >= 3)
        fprintf(stderr, "embed: %s\n", ev->text);
    if (ev->type != XD_EVENT_TEST)
        return;
    printf("test %s %lld gw%u %llu us: %s\n", ev->text, (long long)ev->value, ev->worker,
           (unsigned long long)ev->duration_us, ev->message ? ev->message : "-");
    if (++w->tests == w->stop_after)
        xd_engine_stop(w->run, XD_STOP_NOW);
}

static int by_callback(const char *python, int argc, char **argv, long stop_after)
{
    char         err[XD_TEXT] = "";
    xd_config   *cfg = NULL;
    struct watch w = { .stop_after = stop_after };
    xd_result    res = XD_RESULT_INIT;
    int          code = XD_EXIT_INTERNAL;
    if (xd_config_new(&cfg) == 0 && xd_config_set(cfg, "python", python, err) == 0 &&
        xd_config_parse(cfg, argc, argv, err) == 0 && xd_engine_new(&w.run, cfg, err) == 0) {
        xd_engine_output(w.run, -1, 2);
        xd_engine_callback(w.run, on_event, &w);
        if (xd_engine_start(w.run, err) == 0 && xd_engine_wait(w.run, -1, &res) == 0)
            code = res.exit_code;
    }
    if (err[0])
        fprintf(stderr, "embed: %s\n", err);
    xd_engine_free(w.run);
    xd_config_free(cfg);
    printf("by callback %d: %ld tests told\n", code, w.tests);
    return code;
}

static int count_run(void *arg, const char *id, const char *dir, uint64_t started_us)
{
    (void)started_us;
    printf("run %s in %s\n", id, dir);
    ++*(int *)arg;
    return 0;
}

/* How many threads of this process have this name. */
static int threads_named(const char *name)
{
    int            n = 0;
    DIR           *tasks = opendir("/proc/self/task");
    struct dirent *e;
    while (tasks && (e = readdir(tasks))) {
        char  path[320], line[32] = "";
        FILE *f;
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
        if ((f = fopen(path, "r"))) {
            if (fgets(line, sizeof(line), f))
                line[strcspn(line, "\n")] = 0;
            fclose(f);
        }
        n += strcmp(line, name) == 0;
    }
    if (tasks)
        closedir(tasks);
    return n;
}

static int apart(const char *python, char **folders, xd_broker *broker)
{
    char         err[XD_TEXT] = "";
    const char  *stop = getenv("STOP_AFTER");
    struct watch first = { .stop_after = stop ? atol(stop) : -1 };
    xd_config   *cfg[2] = { NULL, NULL };
    xd_engine   *run[2] = { NULL, NULL };
    int          code = 0;
    for (int i = 0; i < 2; i++) {
        if (xd_config_new(&cfg[i]) < 0 || xd_config_set(cfg[i], "python", python, err) < 0 ||
            xd_config_set(cfg[i], "work-dir", folders[i], err) < 0 ||
            xd_config_set(cfg[i], "state-dir", "kept/state", err) < 0 ||
            xd_config_set(cfg[i], "cache-dir", "kept/cache", err) < 0 ||
            xd_engine_new(&run[i], cfg[i], err) < 0) {
            fprintf(stderr, "embed: %s\n", err);
            return XD_EXIT_INTERNAL;
        }
        xd_engine_output(run[i], -1, 2);
        xd_engine_use_broker(run[i], broker);
    }
    first.run = run[0];
    if (stop)
        xd_engine_callback(run[0], on_event, &first);
    if (xd_engine_start(run[0], err) < 0 || xd_engine_start(run[1], err) < 0) {
        fprintf(stderr, "embed: %s\n", err);
        return XD_EXIT_INTERNAL;
    }
    printf("%d brokers\n", threads_named("xd-broker"));
    for (int i = 0; i < 2; i++) {
        xd_result res = XD_RESULT_INIT;
        char     *dir = NULL;
        int       runs = 0;
        if (xd_engine_wait(run[i], -1, &res) < 0 || xd_run_list_here(cfg[i], count_run, &runs, err) < 0 ||
            xd_run_find(cfg[i], "latest", &dir, err) < 0)
            fprintf(stderr, "embed: %s\n", err);
        printf("apart %d: %u passed, %u not run, %d runs, the latest is %s\n", res.exit_code, res.passed,
               res.not_run, runs, dir && strcmp(dir, res.run_dir) == 0 ? "this one" : "another");
        free(dir);
        code = code ? code : res.exit_code;
        xd_engine_free(run[i]);
        xd_config_free(cfg[i]);
    }
    return code;
}

/* Two rounds: a broker goes on when its runs have ended. */
static int shared(const char *python, char **folders)
{
    char       err[XD_TEXT] = "";
    xd_broker *broker = NULL;
    if (xd_broker_new(&broker, err) < 0) {
        fprintf(stderr, "embed: %s\n", err);
        return XD_EXIT_INTERNAL;
    }
    int code = apart(python, folders, broker);
    int again = apart(python, folders, broker);
    xd_broker_free(broker);
    printf("%d brokers at the end\n", threads_named("xd-broker"));
    return code ? code : again;
}

/* ---- misuse, and too little of the machine ---------------------------------------------------------------- */

static xd_engine *make(const char *python, xd_broker *broker, char *err)
{
    xd_config *cfg = NULL;
    xd_engine *run = NULL;
    if (xd_config_new(&cfg) == 0 && xd_config_set(cfg, "python", python, err) == 0 &&
        xd_config_set(cfg, "numprocesses", "1", err) == 0 && xd_engine_new(&run, cfg, err) == 0) {
        xd_engine_output(run, -1, -1);
        xd_engine_use_broker(run, broker);
    }
    xd_config_free(cfg);
    return run;
}

static void end(const char *what, xd_engine *run)
{
    xd_result res = XD_RESULT_INIT;
    if (xd_engine_wait(run, -1, &res) == 0)
        printf("%s: exit code %d, %u passed, %u not run\n", what, res.exit_code, res.passed, res.not_run);
    xd_engine_free(run);
}

static void stop_at_once(void *arg, const xd_event *ev)
{
    struct watch *w = arg;
    if (ev->type == XD_EVENT_NOTE && w->tests++ == 0)
        xd_engine_stop(w->run, XD_STOP_NOW);
}

static void never(void *arg, const xd_event *ev)
{
    (void)arg;
    printf("an event of type %d for a callback that came too late\n", ev->type);
}

static int misused(const char *python)
{
    char         err[XD_TEXT] = "";
    xd_broker   *broker = NULL;
    struct watch w = { 0 };
    if (xd_broker_new(&broker, err) < 0)
        return XD_EXIT_INTERNAL;
    xd_engine *run = make(python, broker, err);
    if (!run)
        return XD_EXIT_INTERNAL;
    xd_engine_stop(run, XD_STOP_NOW); /* there is no run that it could stop */
    printf("start %d\n", xd_engine_start(run, err));
    xd_engine_use_broker(run, NULL);
    xd_engine_callback(run, never, NULL);
    xd_engine_output(run, 1, 1);
    end("changed while it runs", run);
    if (!(w.run = run = make(python, broker, err)))
        return XD_EXIT_INTERNAL;
    xd_engine_callback(run, stop_at_once,
                       &w); /* $XDG_STATE_HOME is no folder: a note comes before start returns */
    printf("start %d\n", xd_engine_start(run, err));
    end("stopped by the first note", run);
    xd_broker_free(broker);
    return 0;
}

static int open_files(void)
{
    int  n = 0;
    DIR *fds = opendir("/proc/self/fd");
    while (fds && readdir(fds))
        n++;
    if (fds)
        closedir(fds);
    return n;
}

/* All descriptors but `left` are taken. */
static int take_files(int *taken, int most, int left)
{
    int n = 0;
    while (n < most && (taken[n] = dup(2)) >= 0)
        n++;
    for (int i = 0; i < left && n > 0; i++)
        close(taken[--n]);
    return n;
}

/* Starts a broker and a run on it (shared), or a run alone; what was started is ended at once. */
static int crowd(const char *python, int shared, int left)
{
    enum { MOST = 256 };
    int        taken[MOST], before = open_files(), r = 0, s = 0;
    char       err[XD_TEXT] = "";
    xd_broker *broker = NULL;
    xd_engine *run = make(python, NULL, err);
    if (!run)
        return XD_EXIT_INTERNAL;
    int n = take_files(taken, MOST, left);
    if (shared)
        r = xd_broker_new(&broker, err);
    if (r == 0) {
        xd_engine_use_broker(run, broker);
        s = xd_engine_start(run, err);
    }
    while (n > 0)
        close(taken[--n]);
    printf("%s, %d left: %d %d %s\n", shared ? "shared" : "alone", left, r, s, err);
    if (left == 60)
        end("crowded", run);
    else
        xd_engine_free(run);
    xd_broker_free(broker);
    if (open_files() != before)
        printf("%d files are open, %d were before\n", open_files(), before);
    return 0;
}

static int crowded(const char *python)
{
    struct rlimit files = { 256, 256 };
    int           r = setrlimit(RLIMIT_NOFILE, &files) < 0 ? XD_EXIT_INTERNAL : 0;
    for (int left = 0; left <= 60 && r == 0; left += left < 10 ? 1 : 5)
        for (int shared = 0; shared < 2 && r == 0; shared++)
            r = crowd(python, shared, left);
    return r;
}

static int told(void *arg, const xd_setting *s)
{
    (void)arg;
    if (strcmp(s->origin, "default") != 0)
        printf("%s = %s: %s%s%s\n", s->name, s->value, s->origin, s->flag ? ", a flag" : "",
               s->list ? ", a list" : "");
    return strcmp(s->name, "grace") == 0 ? 7 : 0; /* the last one that is asked for */
}

/* What files, the environment and a command line make of options; a profile that nobody looked for is refused. */
static int configured(const char *folder, int argc, char **argv)
{
    char        err[XD_TEXT] = "";
    xd_config  *cfg = NULL;
    xd_engine  *run = NULL;
    const char *note;
    if (xd_config_new(&cfg) < 0 || xd_config_set(cfg, "work-dir", folder, err) < 0 ||
        xd_config_set(cfg, "grace", "3s", err) < 0 || xd_config_set(cfg, "profile", "a", err) < 0)
        return XD_EXIT_INTERNAL;
    if (xd_engine_new(&run, cfg, err) == 0)
        return XD_EXIT_INTERNAL;
    printf("before: %s\n", err);
    if (xd_config_read(cfg, argc, argv, err) < 0) {
        printf("refused: %s\n", err);
    } else {
        printf("%d\n", xd_config_show(cfg, told, NULL));
        for (size_t i = 0; (note = xd_config_note(cfg, i)); i++)
            printf("note: %s\n", note);
        printf("run: %d\n", xd_engine_new(&run, cfg, err));
    }
    xd_engine_free(run);
    xd_config_free(cfg);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--configured") == 0)
        return configured(argv[2], argc - 3, argv + 3);
    if (argc == 4 && strcmp(argv[1], "--misused") == 0)
        return chdir(argv[3]) < 0 ? XD_EXIT_USAGE : misused(argv[2]);
    if (argc == 4 && strcmp(argv[1], "--crowded") == 0)
        return chdir(argv[3]) < 0 ? XD_EXIT_USAGE : crowded(argv[2]);
    if (argc == 5 && strcmp(argv[1], "--apart") == 0)
        return apart(argv[2], argv + 3, NULL);
    if (argc == 5 && strcmp(argv[1], "--shared") == 0)
        return shared(argv[2], argv + 3);
    const char *stop = getenv("STOP_AFTER");
    int         twice = argc > 1 && strcmp(argv[1], "--twice") == 0;
    argc -= 1 + twice;
    argv += 1 + twice;
    if (argc < 2 || chdir(argv[1]) < 0) {
        fprintf(stderr, "usage: embed [--twice] PYTHON FOLDER [ARGUMENT ...]\n");
        return XD_EXIT_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("xd %s\n", xd_version());
    if (!twice)
        return by_callback(argv[0], argc - 2, argv + 2, stop ? atol(stop) : -1);
    xd_engine *one = begin(argv[0], 0, NULL, -1), *two = begin(argv[0], 0, NULL, -1);
    if (!one || !two)
        return XD_EXIT_INTERNAL;
    int a = follow(one, -1), b = follow(two, -1);
    xd_engine_free(one);
    xd_engine_free(two);
    return a ? a : b;
}
