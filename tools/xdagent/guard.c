/* The guard: a second process of this program above the agent, that does nothing but wait. Whoever is killed
 * first, the other cleans up: the agent hears of the guard's end by a signal (and ends like one whose
 * controller is gone); the guard tells the controller what ran when the agent was killed, adopts what it leaves
 * and kills it. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "tools/xdagent/agent.h"

#define NOTE_BYTES 16384u
#define STOPPED_NS (20 * XD_S_NS) /* that an agent may be stopped whose controller is on another host */
#define PAGE_BYTES (sizeof(xd_page_header) + AGENT_SLOTS_MAX * sizeof(xd_page_slot))

/* What the agent below gets of us; -1 = it does not. */
typedef struct given {
    int         in, out, note, page, redial, hand;
    const char *reconnect;
} given;

static int start(const given *g, uint64_t output_limit, const agent_wishes *wishes, xd_proc *ret,
                 xd_error *err)
{
    char fd[16], limit[32], guard[16], shared[16], progress[16], redial[16], hand[16], workers[16];
    xd_autofree char *self = NULL;
    const char       *argv[32];
    size_t            n = 0, nfds = 0;
    int               r = xd_path_self_program(&self);
    if (r < 0)
        return xd_error_set(err, r, "cannot find this program: %s", xd_error_name(r));
    snprintf(fd, sizeof(fd), "%d", g->in);
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)output_limit);
    snprintf(guard, sizeof(guard), "%d", (int)getpid());
    snprintf(shared, sizeof(shared), "%d", g->note);
    snprintf(progress, sizeof(progress), "%d", g->page);
    snprintf(redial, sizeof(redial), "%d", g->redial);
    snprintf(hand, sizeof(hand), "%d", g->hand);
    snprintf(workers, sizeof(workers), "%u", (unsigned)wishes->max_workers);
    const struct {
        const char *name, *value;
        bool        on;
    } options[] = { { "--guarded-by", guard, true },
                    { "--output-limit", limit, true },
                    { "--note", shared, true },
                    { "--page", progress, true },
                    { "--redial", redial, g->redial >= 0 },
                    { "--reconnect", g->reconnect, g->reconnect != NULL },
                    { "--hand", hand, g->hand >= 0 },
                    { "--cache-dir", wishes->cache_dir, wishes->cache_dir != NULL },
                    { "--scratch-dir", wishes->scratch_dir, wishes->scratch_dir != NULL },
                    { "--max-workers", workers, wishes->max_workers > 0 },
                    { "--fd", fd, g->in == g->out } };
    argv[n++] = self;
    for (size_t i = 0; i < XD_ARRAY_LEN(options); i++)
        if (options[i].on) {
            argv[n++] = options[i].name;
            argv[n++] = options[i].value;
        }
    argv[n] = NULL;
    const int  all[] = { STDERR_FILENO, g->note, g->page, g->in, g->out == g->in ? -1 : g->out,
                         g->redial,     g->hand };
    xd_proc_fd fds[XD_ARRAY_LEN(all)];
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        if (all[i] >= 0)
            fds[nfds++] = (xd_proc_fd){ all[i], all[i] };
    xd_proc_args args = { .argv = argv, .fds = fds, .nfds = nfds };
    return xd_proc_spawn(&args, ret, err);
}

void agent_guard_note(agent *a, const char *folder)
{
    size_t len = strlen(folder) + 1;
    off_t  at = a->note >= 0 ? lseek(a->note, 0, SEEK_END) : -1;
    if (at >= 0 && (size_t)at + len <= NOTE_BYTES) /* a part of a name would be another folder's */
        (void)!pwrite(a->note, folder, len, at);
}

/* What the agent had no time for. */
static void remove_noted(int note)
{
    char    text[NOTE_BYTES + 1];
    ssize_t n = pread(note, text, NOTE_BYTES, 0);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(text + at) + 1) {
        text[n] = 0;
        if (text[at] == '/')
            (void)xd_path_remove_tree(text + at);
    }
}

/* What ran when the agent was killed, as the progress page has it. The agent's last frame is whole, except where
 * the controller had stopped reading; then this one is lost with it. */
static int last_words(int page, int out)
{
    xd_autofree uint8_t *bytes = malloc(PAGE_BYTES);
    xd_autobuf           list = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_PROGRESS     m = { .last = 1 };
    if (!bytes)
        return -ENOMEM;
    ssize_t               n = pread(page, bytes, PAGE_BYTES, 0);
    const xd_page_header *head = (const xd_page_header *)(const void *)bytes;
    const xd_page_slot   *slot = (const xd_page_slot *)(const void *)(bytes + sizeof(*head));
    if (n < (ssize_t)sizeof(*head) || head->magic != XD_PAGE_MAGIC)
        return 0; /* it had not come so far */
    uint32_t slots = (uint32_t)(((size_t)n - sizeof(*head)) / sizeof(*slot));
    uint64_t now = xd_clock_ns();
    for (uint32_t i = 0; i < XD_MIN(slots, head->slots); i++) {
        if (!slot[i].item_plus_1 || !slot[i].worker_plus_1)
            continue;
        uint64_t        ms = (now - XD_MIN(now, slot[i].since_ns)) / XD_MS_NS;
        xd_wire_RUNNING r = { .worker = (uint16_t)(slot[i].worker_plus_1 - 1),
                              .item = slot[i].item_plus_1 - 1,
                              .age_ms = (uint32_t)XD_MIN(ms, (uint64_t)UINT32_MAX) };
        XD_TRY(xd_wire_RUNNING_append(&list, &r));
        m.running.count++;
    }
    m.running.ptr = list.data;
    m.running.len = list.len;
    XD_TRY(xd_wire_PROGRESS_frame(&frame, 0, 0, &m));
    for (int turn = 0; frame.len && turn < 10; turn++) {
        ssize_t sent = write(out, frame.data, frame.len);
        if (sent > 0)
            xd_buf_consume(&frame, (size_t)sent);
        else if (sent == 0 || (errno != EAGAIN && errno != EINTR))
            break;
        struct pollfd p = { .fd = out, .events = POLLOUT };
        if (frame.len)
            (void)poll(&p, 1, 100);
    }
    return 0;
}

/* The agent has another pipe: it is ours for the last words too. */
static void take_pipe(int *hand, int *out)
{
    char    byte;
    int     pipe = -1;
    size_t  n = 1;
    ssize_t got = xd_os_recv_fds(*hand, &byte, 1, &pipe, &n);
    if (got <= 0 && got != -EAGAIN) {
        close(*hand);
        *hand = -1;
    }
    if (got <= 0 || n == 0)
        return;
    close(*out);
    *out = pipe;
}

/* A stopped agent (SIGSTOP) sees neither that its pipe has ended nor that it has heard nothing for too long, and what it started
 * runs on. So it is let go on when the pipe has ended, and, where it cannot see the end of its controller, after a while: before
 * the controller gives it up. */
typedef struct stopped {
    bool     is;
    uint64_t until_ns; /* UINT64_MAX = the pipe alone says when */
} stopped;

static void look_whether_stopped(stopped *s, const xd_proc *below, bool far)
{
    const bool before = s->is;
    s->is = xd_os_is_stopped(below->pid, s->is);
    if (s->is && !before)
        s->until_ns = far ? xd_clock_ns() + STOPPED_NS : UINT64_MAX;
}

static int ms_until(const stopped *s)
{
    const uint64_t now = xd_clock_ns();
    if (!s->is || s->until_ns == UINT64_MAX)
        return -1;
    return s->until_ns <= now ? 0 : (int)((s->until_ns - now) / XD_MS_NS + 1);
}

/* Until the agent has ended. */
static void watch_over(xd_proc *below, const int signals[2], int *hand, int *out, bool far,
                       xd_proc_status *ret)
{
    stopped stop = { 0 };
    for (;;) {
        struct pollfd p[] = { { .fd = signals[0], .events = POLLIN },
                              { .fd = below->pidfd, .events = POLLIN },
                              { .fd = *hand, .events = POLLIN },
                              { .fd = signals[1], .events = POLLIN },
                              { .fd = stop.is ? *out : -1 } };
        (void)poll(p, XD_ARRAY_LEN(p), below->pidfd >= 0 ? ms_until(&stop) : 50);
        if (p[0].revents && xd_os_signal_take(signals[0]) > 0)
            (void)xd_proc_kill(below, SIGTERM);
        if (p[3].revents)
            while (xd_os_signal_take(signals[1]) > 0)
                ;
        look_whether_stopped(&stop, below, far);
        if (stop.is && (p[4].revents || xd_clock_ns() >= stop.until_ns)) {
            (void)xd_proc_kill(below, SIGCONT);
            stop.is = false;
        }
        if (p[2].revents && *hand >= 0)
            take_pipe(hand, out);
        else if (xd_proc_wait(below, false, ret) != 0)
            return;
    }
}

int agent_guard(int in, int out, int redial, const char *reconnect, uint64_t output_limit,
                const agent_wishes *wishes)
{
    xd_proc        below = XD_PROC_NONE;
    xd_proc_status status = { .exit_status = -2 };
    xd_error       err = { 0 };
    int            hand[2] = { -1, -1 };
    const int      signals[2] = { xd_os_signal_fd(), xd_os_child_fd() };
    given          g = {
                 in, out,      memfd_create("xd-guard", MFD_CLOEXEC), memfd_create("xd-page", MFD_CLOEXEC), redial,
                 -1, reconnect
    };
    const bool returns = redial >= 0 || reconnect;
    if (returns && xd_os_socketpair(hand, true) == 0)
        g.hand = hand[1];
    /* Without a subreaper (qemu-user has none) a killed agent's processes are left to their leashes; the agent says so. */
    (void)!xd_os_adopt_orphans();
    if (signals[0] < 0 || signals[1] < 0 || g.note < 0 || g.page < 0 || (returns && g.hand < 0) ||
        start(&g, output_limit, wishes, &below, &err) < 0) {
        fprintf(stderr, "xdagent: cannot start: %s\n",
                *err.text ? err.text : "this system gives no signalfd, memfd or socket");
        return 6;
    }
    if (out != in)
        close(in);
    if (redial >= 0) /* the agent's alone: its end must show when the agent ends */
        close(redial);
    if (hand[1] >= 0)
        close(hand[1]);
    watch_over(&below, signals, &hand[0], &out, reconnect != NULL, &status);
    if (status.signal) {
        char name[32];
        fprintf(stderr, "xdagent: the agent was killed by %s\n",
                xd_os_signal_name(status.signal, name, sizeof(name)));
    }
    if (status.exit_status < 0 && last_words(g.page, out) < 0)
        fputs("xdagent: no memory to tell what ran\n", stderr);
    close(out); /* the end of the agent is seen at the other side from here on */
    agent_kill_leftover();
    remove_noted(g.note);
    return status.exit_status >= 0 ? status.exit_status : 6;
}
