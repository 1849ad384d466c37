/* The guard: a second process of this program above the agent, that does nothing but wait. Whoever is killed
 * first, the other cleans up: the agent hears of the guard's end by a signal (and ends like one whose
 * controller is gone); the guard adopts what a killed agent leaves and kills it. */
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

static int start(int in, int out, int note, uint64_t output_limit, xd_proc *ret, xd_error *err)
{
    char              fd[16], limit[32], guard[16], shared[16];
    xd_autofree char *self = NULL;
    bool              one = in == out;
    int               r = xd_path_self(&self);
    if (r < 0)
        return xd_error_set(err, r, "cannot find this program: %s", xd_error_name(r));
    snprintf(fd, sizeof(fd), "%d", in);
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)output_limit);
    snprintf(guard, sizeof(guard), "%d", (int)getpid());
    snprintf(shared, sizeof(shared), "%d", note);
    const char *const argv[] = {
        self, "--guarded-by", guard, "--output-limit", limit, "--note", shared, one ? "--fd" : NULL, fd, NULL
    };
    const xd_proc_fd fds[] = { { STDERR_FILENO, STDERR_FILENO }, { note, note }, { in, in }, { out, out } };
    xd_proc_args     args = { .argv = argv, .fds = fds, .nfds = one ? 3 : 4 };
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

int agent_guard(int in, int out, uint64_t output_limit)
{
    xd_proc        below = XD_PROC_NONE;
    xd_proc_status status = { .exit_status = -2 };
    xd_error       err = { 0 };
    int            signals = xd_os_signal_fd();
    int            note = memfd_create("xd-guard", MFD_CLOEXEC);
    if (signals < 0 || note < 0 || xd_os_adopt_orphans() < 0 ||
        start(in, out, note, output_limit, &below, &err) < 0) {
        fprintf(stderr, "xdagent: cannot start: %s\n",
                *err.text ? err.text : "signals or orphans cannot be had");
        return 6;
    }
    close(in); /* the pipe is the agent's alone: its end must be seen at the other side */
    if (out != in)
        close(out);
    for (;;) {
        struct pollfd p[] = { { .fd = signals, .events = POLLIN }, { .fd = below.pidfd, .events = POLLIN } };
        (void)poll(p, 2, below.pidfd >= 0 ? -1 : 50);
        if (p[0].revents && xd_os_signal_take(signals) > 0)
            (void)xd_proc_kill(&below, SIGTERM);
        if (xd_proc_wait(&below, false, &status) != 0)
            break;
    }
    if (status.signal) {
        char name[32];
        fprintf(stderr, "xdagent: the agent was killed by %s\n",
                xd_os_signal_name(status.signal, name, sizeof(name)));
    }
    agent_kill_leftover();
    remove_noted(note);
    return status.exit_status >= 0 ? status.exit_status : 6;
}
