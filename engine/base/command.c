/* engine/base/command.c - see command.h. */
#include "engine/base/command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "engine/base/proc.h"

/* Takes what the pipe holds: 1 = there may be more, 0 = its end. */
static int take_output(int fd, size_t limit, xd_buf *out)
{
    uint8_t data[4096];
    ssize_t n = read(fd, data, sizeof(data));
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n > 0 && out->len < limit)
        XD_TRY(xd_buf_add(out, data, XD_MIN((size_t)n, limit - out->len)));
    return n > 0;
}

static int watch(const xd_proc *p, int fd, size_t limit, xd_buf *out, uint64_t deadline)
{
    bool open = true;
    for (uint64_t now; (now = xd_clock_ns()) < deadline;) {
        struct pollfd fds[2] = { { .fd = p->pidfd, .events = POLLIN },
                                 { .fd = open ? fd : -1, .events = POLLIN } };
        if (poll(fds, 2, (int)((deadline - now) / XD_MS_NS) + 1) < 0 && errno != EINTR)
            return -errno;
        int more = fds[1].revents ? take_output(fd, limit, out) : 1;
        if (more < 0)
            return more;
        open = open && more;
        if (fds[0].revents && !fds[1].revents)
            return 0;
    }
    return -ETIMEDOUT;
}

int xd_command_output(const char *const *argv, const char *dir, uint64_t limit_ns, size_t limit, xd_buf *out,
                      xd_error *err)
{
    int pipe_fds[2];
    XD_TRY(xd_os_pipe(pipe_fds, 0, 0));
    xd_proc_fd     fds[2] = { { pipe_fds[1], 1 }, { pipe_fds[1], 2 } };
    xd_proc_args   args = { .argv = argv, .chdir = dir, .fds = fds, .nfds = 2, .new_group = true };
    xd_proc        p;
    xd_proc_status st = { .exit_status = -2 };
    int            r = xd_proc_spawn(&args, &p, err);
    close(pipe_fds[1]);
    if (r == 0) {
        r = watch(&p, pipe_fds[0], limit, out, xd_clock_ns() + limit_ns);
        (void)xd_proc_kill_group(&p, SIGKILL); /* also what it left behind */
        (void)!xd_proc_wait(&p, true, &st);
        xd_proc_close(&p);
        if (r == -ETIMEDOUT)
            xd_error_set(err, r, "it did not end within %u s", (unsigned)(limit_ns / XD_S_NS));
        else if (r < 0)
            xd_error_set(err, r, "%s", xd_error_name(r));
    }
    close(pipe_fds[0]);
    return r < 0 ? r : st.exit_status == 0 ? 0 : 1;
}
