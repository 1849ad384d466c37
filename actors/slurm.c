/* actors/slurm.c - see slurm.h. */
#include "actors/slurm.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"

#define SUBMIT_NS (120 * XD_S_NS) /* that sbatch may take: a busy controller of Slurm lets it wait */
#define ASK_NS (20 * XD_S_NS)     /* that squeue may take */
#define CANCEL_NS (15 * XD_S_NS)  /* that scancel is waited for */
#define FIRST_NS (1 * XD_S_NS)    /* squeue is asked so long after the submission, */
#define AGAIN_NS (3 * XD_S_NS)    /* again as often while nobody has joined, */
#define LATER_NS (30 * XD_S_NS)   /* and so often from then on */
#define SAID_MOST 65536u
#define ANSWER "xd-job "

/* The guard. $1: the script of a task; what follows: the command line of sbatch. Interrupts from the terminal are not meant for it. */
static const char guard_script[] =
    "trap '' HUP INT QUIT TERM PIPE\n"
    "script=$1; shift\n"
    "job=$(printf '%s' \"$script\" | \"$@\") || exit 1\n"
    "printf '" ANSWER "%s\\n' \"$job\"\n"
    "read -r end\n"
    "case $job in *';'*) set -- -M \"${job#*;}\";; *) set --;; esac\n"
    "for n in 1 2 3 4 5; do\n"
    "    said=$(scancel \"$@\" \"${job%%;*}\" 2>&1) && exit 0\n"
    "    case $said in *'nvalid job id'*) exit 0;; esac\n" /* all of it has ended, some time ago */
    "    sleep 2\n"
    "done\n"
    "printf '%s\\n' \"$said\"\n"
    "exit 1\n";

struct xd_slurm {
    xd_slurm_args args;
    pthread_t     thread;
    bool          running;
    int           wake_fd; /* eventfd: the thread is to end */
    xd_proc       guard;
    int           lifeline, words;     /* of the guard: what it waits for the end of; what it says */
    char          id[64], cluster[64]; /* "" = the only one */
    char          told[XD_SLURM_TEXT]; /* last */
};

/* ---- programs ---------------------------------------------------------------------------------------------------------- */

/* Adds what a pipe holds now to `out`. 0 = its end; 1 = there may be more. */
static int take(int fd, xd_buf *out)
{
    uint8_t data[4096];
    ssize_t n = xd_os_read_some(fd, data, sizeof(data));
    if (n == -EAGAIN)
        return 1;
    if (n > 0 && out->len < SAID_MOST)
        XD_TRY(xd_buf_add(out, data, (size_t)n));
    return n > 0;
}

static int wait_readable(int fd, int wake_fd, uint64_t deadline)
{
    const uint64_t now = xd_clock_ns();
    struct pollfd  fds[2] = { { .fd = fd, .events = POLLIN }, { .fd = wake_fd, .events = POLLIN } };
    if (now >= deadline)
        return -ETIMEDOUT;
    if (poll(fds, 2, (int)XD_MIN((deadline - now) / XD_MS_NS + 1, (uint64_t)3600000)) < 0 && errno != EINTR)
        return -errno;
    return fds[1].revents ? -ECANCELED : fds[0].revents != 0;
}

/* Reads until the end of the pipe, or (line != NULL) until `line` begins one that is complete. 1 = so it does; 0 = the end. */
static int read_words(int fd, int wake_fd, uint64_t deadline, const char *line, xd_buf *out)
{
    for (;;) {
        int r = wait_readable(fd, wake_fd, deadline);
        if (r > 0)
            r = take(fd, out);
        else if (r == 0)
            continue;
        XD_TRY(r);
        const char *at = line ? strstr(xd_buf_cstr(out), line) : NULL;
        if (at && strchr(at, '\n'))
            return 1;
        if (r == 0)
            return 0;
    }
}

/* A program of Slurm that is asked something, and may be left waiting. 0 = it ended with 0; 1 = with something else. */
static int ask(const char *const *argv, int wake_fd, xd_buf *out)
{
    int fds[2];
    XD_TRY(xd_os_pipe(fds, 0, 0));
    const xd_proc_fd   to[] = { { fds[1], 1 }, { fds[1], 2 } };
    const xd_proc_args args = { .argv = argv, .fds = to, .nfds = XD_ARRAY_LEN(to), .new_group = true };
    xd_proc            p = XD_PROC_NONE;
    xd_proc_status     st = { .exit_status = -2 };
    int                r = xd_proc_spawn(&args, &p, NULL);
    close(fds[1]);
    if (r == 0) {
        r = read_words(fds[0], wake_fd, xd_clock_ns() + ASK_NS, NULL, out);
        if (r < 0)
            (void)xd_proc_kill_group(&p, SIGKILL);
        (void)!xd_proc_wait(&p, true, &st);
        xd_proc_close(&p);
    }
    close(fds[0]);
    return r < 0 ? r : st.exit_status != 0;
}

/* ---- the thread: what becomes of the job ---------------------------------------------------------------------------------- */

static void tell(xd_slurm *s, bool over, const char *line)
{
    if (!*line || strcmp(line, s->told) == 0)
        return;
    snprintf(s->told, sizeof(s->told), "%s", line);
    s->args.say(s->args.arg, over, line);
}

/* squeue has failed: because there is no such job any more, or because Slurm does not answer. True: it is over. */
static bool is_unknown(xd_slurm *s, xd_buf *said)
{
    xd_autobuf words = XD_BUF_INIT;
    char       line[XD_SLURM_TEXT];
    if (strstr(xd_buf_cstr(said), "nvalid job id"))
        return true;
    if (xd_text_last_words(&words, xd_buf_view(said), 200) < 0)
        return false;
    snprintf(line, sizeof(line), "slurm job %s: squeue says: %.300s", s->id, xd_buf_cstr(&words));
    tell(s, false, line);
    return false;
}

/* False: there is nothing more to see. */
static bool look(xd_slurm *s)
{
    const char *const one[] = { "squeue", "-h", "-t", "all", "-o", XD_SLURM_QUEUE_FORMAT, "-j", s->id, NULL };
    const char *const of[] = { "squeue", "-h",  "-t", "all",      "-o", XD_SLURM_QUEUE_FORMAT,
                               "-j",     s->id, "-M", s->cluster, NULL };
    xd_autobuf        said = XD_BUF_INIT;
    xd_slurm_queue    q = { 0 };
    char              line[XD_SLURM_TEXT];
    int               r = ask(*s->cluster ? of : one, s->wake_fd, &said);
    if (r < 0 || (r == 1 && !is_unknown(s, &said)))
        return r != -ECANCELED;
    if (r == 0)
        xd_slurm_queue_read(&q, xd_buf_view(&said));
    const bool over = xd_slurm_queue_words(&q, s->id, line) == 1;
    if (over || !atomic_load(s->args.came)) /* who waits in the queue does not matter to tests that run */
        tell(s, over, line);
    return !over;
}

static void *slurm_main(void *arg)
{
    xd_slurm *s = arg;
    uint64_t  at = xd_clock_ns() + FIRST_NS;
    (void)pthread_setname_np(pthread_self(), "xd-slurm");
    for (;;) {
        int r = wait_readable(-1, s->wake_fd, at);
        if (r == 0)
            continue;
        if (r != -ETIMEDOUT || !look(s))
            return NULL;
        at = xd_clock_ns() + (atomic_load(s->args.came) ? LATER_NS : AGAIN_NS);
    }
}

/* ---- start and end ---------------------------------------------------------------------------------------------------------- */

static int find_programs(xd_error *err)
{
    static const char *const names[] = { "sbatch", "squeue", "scancel" };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
        xd_autofree char *path = NULL;
        int               r = xd_path_find_program(names[i], NULL, &path);
        if (r == -ENOENT)
            return xd_error_set(
                err, r,
                "option --slurm: there is no %s on PATH: Slurm's programs are not installed on this host",
                names[i]);
        XD_TRY(r);
    }
    return 0;
}

static bool is_variable(const char *entry, const char *name)
{
    const size_t len = strlen(name);
    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/* That of this process, with the token. SBATCH_WAIT would keep sbatch until the job has ended. */
static int environment(const char *token, const char ***ret)
{
    extern char **environ;
    size_t        n = 0, kept = 0;
    while (environ[n])
        n++;
    const char **env = calloc(n + 2, sizeof(*env));
    if (!env)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!is_variable(environ[i], "XD_TOKEN") && !is_variable(environ[i], "SBATCH_WAIT"))
            env[kept++] = environ[i];
    env[kept] = token;
    *ret = env;
    return 0;
}

static int start_guard(xd_slurm *s, char **command, xd_error *err)
{
    char                     variable[256];
    xd_autofree const char **env = NULL;
    xd_autofree char       **argv = NULL;
    const char *const        shell[] = { "/bin/sh", "-c", guard_script, "xd-slurm-guard", s->args.script };
    const xd_words parts[] = { { shell, XD_ARRAY_LEN(shell) }, xd_words_of((const char *const *)command) };
    int            in[2], out[2];
    snprintf(variable, sizeof(variable), "XD_TOKEN=%s", s->args.token);
    XD_TRY(environment(variable, &env));
    XD_TRY(xd_text_words_join(parts, XD_ARRAY_LEN(parts), &argv));
    XD_TRY(xd_os_pipe(in, 1, 0));
    s->lifeline = in[1];
    int r = xd_os_pipe(out, 0, 0);
    if (r == 0) {
        const xd_proc_fd   fds[] = { { in[0], 0 }, { out[1], 1 }, { out[1], 2 } };
        const xd_proc_args args = { .argv = (const char *const *)argv,
                                    .envp = env,
                                    .fds = fds,
                                    .nfds = XD_ARRAY_LEN(fds),
                                    .new_group = true };
        s->words = out[0];
        r = xd_proc_spawn(&args, &s->guard, err);
        close(out[1]);
    }
    close(in[0]);
    explicit_bzero(variable, sizeof(variable));
    return r;
}

/* "123" or "123;CLUSTER", as sbatch --parsable prints it. */
static int read_id(xd_slurm *s, const char *answer)
{
    const size_t len = strspn(answer, "0123456789");
    if (len == 0 || len >= sizeof(s->id))
        return -EPROTO;
    snprintf(s->id, sizeof(s->id), "%.*s", (int)len, answer);
    answer += len;
    if (*answer == ';')
        snprintf(s->cluster, sizeof(s->cluster), "%.*s",
                 (int)XD_MIN(strcspn(answer + 1, "\n"), sizeof(s->cluster) - 1), answer + 1);
    return 0;
}

static int submit(xd_slurm *s, xd_error *err)
{
    char               array[32];
    xd_autofree char **command = NULL;
    xd_autobuf         said = XD_BUF_INIT, words = XD_BUF_INIT;
    XD_TRY(find_programs(err));
    XD_TRY(xd_slurm_job_command(s->args.job, array, &command));
    XD_TRY(start_guard(s, command, err));
    int r = read_words(s->words, -1, xd_clock_ns() + SUBMIT_NS, ANSWER, &said);
    if (r == 1)
        return read_id(s, strstr(xd_buf_cstr(&said), ANSWER) + sizeof(ANSWER) - 1);
    if (r == -ETIMEDOUT)
        return xd_error_set(err, r, "option --slurm: sbatch has not answered within %u s",
                            (unsigned)(SUBMIT_NS / XD_S_NS));
    XD_TRY(r);
    XD_TRY(xd_text_last_words(&words, xd_buf_view(&said), 600));
    return xd_error_set(err, -ECONNREFUSED, "option --slurm: the job was not submitted: %s",
                        *xd_buf_cstr(&words) ? xd_buf_cstr(&words) : "sbatch says nothing");
}

int xd_slurm_start(xd_slurm **ret, const xd_slurm_args *args, xd_error *err)
{
    sigset_t  all, old;
    xd_slurm *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (xd_slurm){ .args = *args, .guard = XD_PROC_NONE, .lifeline = -1, .words = -1 };
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = s->wake_fd < 0 ? -errno : submit(s, err);
    if (r == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = -pthread_create(&s->thread, NULL, slurm_main, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        s->running = r == 0;
    }
    if (r < 0) {
        char ignored[XD_ERROR_TEXT];
        (void)xd_slurm_free(s, ignored);
        return r;
    }
    s->args.job = NULL;
    s->args.script = s->args.token = NULL;
    *ret = s;
    return 0;
}

const char *xd_slurm_id(const xd_slurm *s)
{
    return s->id;
}

/* The guard has its word: it cancels, and says what is in the way. One that does not end in time goes on by itself. */
static void cancel(xd_slurm *s, char *trouble)
{
    xd_autobuf     said = XD_BUF_INIT, words = XD_BUF_INIT;
    xd_proc_status st = { .exit_status = -2 };
    close(s->lifeline);
    int r = read_words(s->words, -1, xd_clock_ns() + CANCEL_NS, NULL, &said);
    if (r == 0)
        (void)!xd_proc_wait(&s->guard, true, &st);
    if (!*s->id || st.exit_status == 0 || xd_text_last_words(&words, xd_buf_view(&said), 300) < 0)
        return;
    const char *why = r < 0                  ? "scancel does not answer"
                      : *xd_buf_cstr(&words) ? xd_buf_cstr(&words)
                                             : "the process that would do it was killed";
    snprintf(trouble, XD_ERROR_TEXT, "slurm job %s could not be cancelled: %s", s->id, why);
}

xd_slurm *xd_slurm_free(xd_slurm *s, char *trouble)
{
    trouble[0] = 0;
    if (!s)
        return NULL;
    if (s->running) {
        xd_os_nudge(s->wake_fd);
        pthread_join(s->thread, NULL);
    }
    if (s->guard.pid)
        cancel(s, trouble);
    else if (s->lifeline >= 0)
        close(s->lifeline);
    xd_proc_close(&s->guard);
    if (s->words >= 0)
        close(s->words);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    free(s);
    return NULL;
}
