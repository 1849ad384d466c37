/* One test: a process group, two pipes, a time limit, and nothing left behind. */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "actors/runners/command_process.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"

#define READ_BYTES 65536u
#define TERM_NS (1 * XD_S_NS)    /* from TERM to KILL, when the time is over */
#define LEFT_NS (100 * XD_MS_NS) /* what a test leaves behind may end by itself for so long */
#define LIMIT_MOST (4ull << 20)  /* of a stream: two of them and a text make one frame */
#define LEFT_KILL_NS (3 * XD_S_NS)

/* ---- streams ---------------------------------------------------------------------------------------------- */

static int stream_open(xd_command_stream *s)
{
    return xd_os_pipe(s->fd, 0, 0);
}

static void stream_close(xd_command_stream *s)
{
    for (int i = 0; i < 2; i++)
        if (s->fd[i] >= 0)
            close(s->fd[i]);
    s->fd[0] = s->fd[1] = -1;
}

static int stream_take(const xd_command_tester *t, xd_command_stream *s, xd_bytes data)
{
    size_t n = XD_MIN(data.len, t->half - s->head.len);
    XD_TRY(xd_buf_add(&s->head, data.ptr, n));
    XD_TRY(xd_buf_add(&s->tail, data.ptr + n, data.len - n));
    if (s->tail.len >
        2 * t->half + READ_BYTES) { /* now and then: a buffer that moves at every read costs more */
        s->dropped += s->tail.len - t->half;
        xd_buf_consume(&s->tail, s->tail.len - t->half);
    }
    return 0;
}

/* What is there now, at least as much as a pipe holds: a writer that never stops does not keep us here. */
static int stream_read(const xd_command_tester *t, xd_command_stream *s)
{
    uint8_t data[READ_BYTES];
    for (int turn = 0; turn < 16; turn++) {
        ssize_t n = read(s->fd[0], data, sizeof(data));
        if (n <= 0)
            return n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
        XD_TRY(stream_take(t, s, (xd_bytes){ data, (size_t)n }));
        if ((size_t)n < sizeof(data) / 16)
            return 0;
    }
    return 0;
}

int xd_command_stream_text(const xd_command_tester *t, const xd_command_stream *s, xd_buf *out)
{
    size_t   over = s->tail.len > t->half ? s->tail.len - t->half : 0;
    uint64_t dropped = s->dropped + over;
    XD_TRY(xd_buf_add(out, s->head.data, s->head.len));
    if (dropped)
        XD_TRY(xd_buf_printf(out, "\n[%llu bytes are left out here: --output-limit]\n",
                             (unsigned long long)dropped));
    return xd_buf_add(out, s->tail.data + over, s->tail.len - over);
}

/* ---- the tester ------------------------------------------------------------------------------------------- */

int xd_command_tester_init(xd_command_tester *t, const char *const *env, int agent, uint64_t timeout_ns,
                           uint64_t output_limit)
{
    *t = (xd_command_tester){ .stream = { { .fd = { -1, -1 } }, { .fd = { -1, -1 } } },
                              .half = (size_t)(XD_MIN(output_limit, LIMIT_MOST) / 2),
                              .timeout_ns = timeout_ns,
                              .env = env,
                              .agent = agent,
                              .signals = -1 };
    sigset_t set;
    sigemptyset(&set);
    const int wanted[] = { SIGTERM, SIGTSTP, SIGCONT, SIGCHLD };
    for (size_t i = 0; i < XD_ARRAY_LEN(wanted); i++)
        sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    signal(SIGPIPE, SIG_IGN);
    t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (t->signals < 0)
        return -errno;
    (void)!xd_os_adopt_orphans(); /* the agent has said what follows where that cannot be */
    XD_TRY(stream_open(&t->stream[0]));
    return stream_open(&t->stream[1]);
}

void xd_command_tester_release(xd_command_tester *t)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(t->stream); i++) {
        stream_close(&t->stream[i]);
        xd_buf_release(&t->stream[i].head);
        xd_buf_release(&t->stream[i].tail);
    }
    if (t->signals >= 0)
        close(t->signals);
    t->signals = -1;
}

/* ---- its process ------------------------------------------------------------------------------------------ */

/* A line of plain words is started without a shell, which saves a process. Where that cannot be, a shell says why in its
 * own words, or runs a script that has no #! line. */
static int start(const xd_command_tester *t, xd_bytes line, xd_proc *ret, xd_error *err)
{
    xd_autofree char **words = NULL;
    xd_autofree char  *text = NULL;
    const xd_proc_fd   fds[] = { { t->stream[0].fd[1], 1 }, { t->stream[1].fd[1], 2 } };
    xd_proc_args       args = { .envp = t->env, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = true };
    XD_TRY(xd_command_words(line, &words));
    if (words) {
        args.argv = (const char *const *)words;
        if (xd_proc_spawn(&args, ret, NULL) == 0)
            return 0;
    }
    if (!(text = xd_bytes_dup(line)))
        return -ENOMEM;
    const char *const shell[] = { "/bin/sh", "-c", text, NULL };
    args.argv = shell;
    return xd_proc_spawn(&args, ret, err);
}

typedef struct running {
    xd_command_tester *t;
    xd_proc            proc;
    uint64_t           due_ns;    /* when the time is over; UINT64_MAX = never */
    uint64_t           kill_ns;   /* when KILL follows TERM */
    uint64_t           paused_ns; /* since when; 0 = it is not */
    bool               timed_out, leave;
} running;

static void end_group(running *r, int sig)
{
    (void)xd_proc_kill_group(&r->proc, sig);
    (void)xd_proc_kill_group(&r->proc, SIGCONT); /* a stopped process hears nothing else */
}

static void on_signals(running *r)
{
    struct signalfd_siginfo info;
    while (read(r->t->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        uint64_t now = xd_clock_ns();
        if (info.ssi_signo == SIGTERM) {
            r->leave = true;
            end_group(r, SIGTERM);
        } else if (info.ssi_signo == SIGTSTP && !r->paused_ns) {
            r->paused_ns = now;
            (void)xd_proc_kill_group(&r->proc, SIGSTOP);
        } else if (info.ssi_signo == SIGCONT && r->paused_ns) {
            if (r->due_ns != UINT64_MAX)
                r->due_ns += now - r->paused_ns; /* its time stood still */
            r->paused_ns = 0;
            (void)xd_proc_kill_group(&r->proc, SIGCONT);
        }
    }
}

static int read_streams(running *r)
{
    for (int i = 0; i < 2; i++)
        XD_TRY(stream_read(r->t, &r->t->stream[i]));
    return 0;
}

static void on_time(running *r, uint64_t now)
{
    if (r->paused_ns)
        return;
    if (now >= r->kill_ns) {
        r->kill_ns = UINT64_MAX;
        (void)xd_proc_kill_group(&r->proc, SIGKILL);
    } else if (now >= r->due_ns) {
        r->due_ns = UINT64_MAX;
        r->kill_ns = now + TERM_NS;
        r->timed_out = true;
        end_group(r, SIGTERM);
    }
}

static int wait_ms(const running *r, uint64_t now)
{
    uint64_t first = XD_MIN(r->due_ns, r->kill_ns);
    if (first == UINT64_MAX || r->paused_ns)
        return r->proc.pidfd >= 0 ? -1 : 100;
    return first <= now ? 0 : (int)XD_MIN((first - now) / XD_MS_NS + 1, 3600000u);
}

/* Until its first process has ended; what it was is in *status. */
static int watch(running *r, xd_proc_status *status)
{
    xd_command_tester *t = r->t;
    for (;;) {
        struct pollfd p[] = { { .fd = r->proc.pidfd, .events = POLLIN },
                              { .fd = t->stream[0].fd[0], .events = POLLIN },
                              { .fd = t->stream[1].fd[0], .events = POLLIN },
                              { .fd = t->signals, .events = POLLIN },
                              { .fd = r->leave ? -1 : t->agent, .events = 0 } }; /* its end alone */
        if (poll(p, XD_ARRAY_LEN(p), wait_ms(r, xd_clock_ns())) < 0 && errno != EINTR)
            return -errno;
        XD_TRY(p[1].revents || p[2].revents ? read_streams(r) : 0);
        if (p[4].revents) {
            r->leave = true;
            (void)xd_proc_kill_group(&r->proc, SIGKILL);
        }
        if (p[0].revents || r->proc.pidfd < 0) {
            int ended = xd_proc_wait(&r->proc, false, status);
            if (ended)
                return ended < 0 ? ended : 0;
        }
        if (p[3].revents)
            on_signals(r);
        on_time(r, xd_clock_ns());
    }
}

/* All that the test has started and that still lives is below this process (subreaper). Most of it is about to end: a
 * filter at the end of a pipe, a child that was not waited for. The rest is killed. */
static int end_left(running *r)
{
    xd_command_tester *t = r->t;
    uint64_t           give_up = xd_clock_ns() + LEFT_NS;
    pid_t              gone;
    for (;;) {
        while ((gone = xd_os_reap_any()) > 0)
            ;
        uint64_t now = xd_clock_ns();
        if (gone == -ECHILD || now >= give_up || r->leave)
            break;
        struct pollfd p[] = { { .fd = t->signals, .events = POLLIN },
                              { .fd = t->stream[0].fd[0], .events = POLLIN },
                              { .fd = t->stream[1].fd[0], .events = POLLIN } };
        (void)poll(p, XD_ARRAY_LEN(p), (int)((give_up - now) / XD_MS_NS + 1));
        XD_TRY(read_streams(r)); /* or what still writes would wait for room until its time is over */
        on_signals(r);
    }
    if (gone == -ECHILD)
        return 0;
    xd_os_kill_children(LEFT_KILL_NS);
    if (xd_os_reap_any() == -ECHILD)
        return 0;
    XD_TRY(read_streams(r));
    for (int i = 0; i < 2; i++) { /* it has the pipes still: the next test gets others */
        stream_close(&t->stream[i]);
        XD_TRY(stream_open(&t->stream[i]));
    }
    return 0;
}

/* Ctrl-Z came when its process had ended: the next test is not to start. The agent's end is seen as well. */
static void wait_resumed(running *r)
{
    while (r->paused_ns && !r->leave) {
        struct pollfd p[] = { { .fd = r->t->signals, .events = POLLIN }, { .fd = r->t->agent, .events = 0 } };
        (void)poll(p, 2, -1);
        r->leave = p[1].revents != 0;
        on_signals(r);
    }
}

int xd_command_test_run(xd_command_tester *t, xd_bytes line, xd_command_end *ret)
{
    running r = { .t = t, .proc = XD_PROC_NONE, .due_ns = UINT64_MAX, .kill_ns = UINT64_MAX };
    *ret = (xd_command_end){ .status = { .exit_status = -2 }, .start_us = xd_clock_wall_us() };
    for (int i = 0; i < 2; i++) {
        xd_buf_clear(&t->stream[i].head);
        xd_buf_clear(&t->stream[i].tail);
        t->stream[i].dropped = 0;
    }
    uint64_t began = xd_clock_ns();
    int      done = start(t, line, &r.proc, &ret->not_started);
    if (done == -ENOMEM && !ret->not_started.code)
        return done;
    if (done < 0)
        return XD_COMMAND_ENDED;
    if (t->timeout_ns)
        r.due_ns = began + t->timeout_ns;
    done = watch(&r, &ret->status);
    xd_proc_close(&r.proc);
    ret->duration_us = (xd_clock_ns() - began) / 1000u;
    ret->timed_out = r.timed_out;
    XD_TRY(done);
    XD_TRY(end_left(&r));
    XD_TRY(read_streams(&r));
    wait_resumed(&r);
    return r.leave ? XD_COMMAND_LEAVE : XD_COMMAND_ENDED;
}
