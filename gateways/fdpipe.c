/* gateways/fdpipe.c - see fdpipe.h. */
#include "gateways/fdpipe.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/os_linux.h"

#define FDPIPE_MAGIC 0xfd919e01u

typedef struct fdpipe {
    xd_pipe         pipe;
    uint32_t        magic;
    xd_fdpipe_parts at;
    bool            ended;
    xd_proc_status  status; /* once it has ended */
} fdpipe;

int xd_fdpipe_new(xd_pipe **ret, const xd_transport *transport, const xd_fdpipe_parts *parts)
{
    fdpipe *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    *f = (fdpipe){ .pipe = { transport },
                   .magic = FDPIPE_MAGIC,
                   .at = *parts,
                   .ended = parts->proc.pid <= 0,
                   .status = { .exit_status = -2 } };
    *ret = &f->pipe;
    return 0;
}

static bool wait_for(fdpipe *f, uint32_t grace_ms)
{
    xd_proc *proc = &f->at.proc;
    uint64_t end = xd_clock_ns() + grace_ms * XD_MS_NS;
    for (;;) {
        int r = xd_proc_wait(proc, false, &f->status);
        if (r != 0) {
            if (r < 0)
                f->status = (xd_proc_status){ .exit_status = -2 }; /* somebody else waited for it */
            return true;
        }
        uint64_t now = xd_clock_ns();
        if (now >= end)
            return false;
        struct pollfd p = { .fd = proc->pidfd, .events = POLLIN };
        int           ms = (int)((end - now) / XD_MS_NS) + 1;
        (void)poll(&p, proc->pidfd >= 0 ? 1 : 0, proc->pidfd >= 0 ? ms : XD_MIN(ms, 10));
    }
}

int xd_fdpipe_ended(xd_pipe *p, xd_proc_status *ret)
{
    fdpipe *f = XD_CAST(p, fdpipe, FDPIPE_MAGIC);
    if (!f->ended)
        f->ended = wait_for(f, 0);
    if (f->ended)
        *ret = f->status;
    return f->ended;
}

void xd_fdpipe_signal(xd_pipe *p, int sig)
{
    const fdpipe *f = XD_CAST(p, fdpipe, FDPIPE_MAGIC);
    (void)(f->at.group ? xd_proc_kill_group : xd_proc_kill)(&f->at.proc, sig);
}

int xd_fdpipe_opened(xd_pipe *p, xd_error *err)
{
    (void)p;
    (void)err;
    return 1;
}

static void close_pipe(fdpipe *f)
{
    if (f->at.in >= 0)
        close(f->at.in);
    if (f->at.out >= 0 && f->at.out != f->at.in)
        close(f->at.out);
    f->at.in = f->at.out = -1;
}

int xd_fdpipe_redial(int redial, int *ret, xd_error *err)
{
    int pair[2];
    if (redial < 0)
        return -ESRCH;
    int r = xd_os_socketpair(pair, true);
    if (r < 0)
        return xd_error_set(err, r, "no descriptors: %s", xd_error_name(r));
    ssize_t sent = xd_os_send_fds(redial, "", 1, &pair[1], 1);
    close(pair[1]);
    if (sent > 0) {
        *ret = pair[0];
        return 0;
    }
    close(pair[0]);
    if (sent == -EPIPE || sent == -ECONNRESET)
        return -ESRCH; /* the agent has ended, or is about to */
    return xd_error_set(err, (int)sent, "the agent takes no other pipe: %s", xd_error_name((int)sent));
}

int xd_fdpipe_reopen(xd_pipe *p, xd_error *err)
{
    fdpipe *f = XD_CAST(p, fdpipe, FDPIPE_MAGIC);
    close_pipe(f);
    XD_TRY(xd_fdpipe_redial(f->at.redial, &f->at.in, err));
    f->at.out = f->at.in;
    return 0;
}

void xd_fdpipe_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    const fdpipe  *f = XD_CAST(p, fdpipe, FDPIPE_MAGIC);
    const bool     one = f->at.in == f->at.out;
    const uint32_t in = want & XD_PIPE_READ ? XD_POLL_IN : 0, out = want & XD_PIPE_WRITE ? XD_POLL_OUT : 0;
    *ret = (xd_pipe_wait){ 0 };
    if (f->at.in >= 0 && (in || (one && out)))
        xd_pipe_wait_on(ret, f->at.in, in | (one ? out : 0), one ? want : XD_PIPE_READ);
    if (!one && f->at.out >= 0 && out)
        xd_pipe_wait_on(ret, f->at.out, out, XD_PIPE_WRITE);
    if (f->at.text >= 0)
        xd_pipe_wait_on(ret, f->at.text, XD_POLL_IN, XD_PIPE_TEXT);
}

ssize_t xd_fdpipe_read(xd_pipe *p, void *to, size_t room)
{
    return xd_os_read_some(XD_CAST(p, fdpipe, FDPIPE_MAGIC)->at.in, to, room);
}

ssize_t xd_fdpipe_write(xd_pipe *p, const void *from, size_t len)
{
    return xd_os_write_some(XD_CAST(p, fdpipe, FDPIPE_MAGIC)->at.out, from, len);
}

ssize_t xd_fdpipe_text(xd_pipe *p, void *to, size_t room)
{
    return xd_pipe_read_text(&XD_CAST(p, fdpipe, FDPIPE_MAGIC)->at.text, to, room);
}

void xd_fdpipe_close(xd_pipe *p)
{
    fdpipe *f = XD_CAST(p, fdpipe, FDPIPE_MAGIC);
    close_pipe(f);
    if (f->at.redial >= 0)
        close(f->at.redial);
    f->at.redial = -1;
}

static void end_process(fdpipe *f, uint32_t grace_ms)
{
    const xd_proc *proc = &f->at.proc;
    if (f->ended || proc->pid <= 0 || wait_for(f, grace_ms / 2))
        return;
    (void)xd_proc_kill_group(proc, SIGCONT); /* a stopped agent does not see that its pipe is closed */
    if (wait_for(f, grace_ms - grace_ms / 2))
        return;
    /* Not the group of an agent: what is left of it cleans up (tools/xdagent/guard.c). */
    xd_fdpipe_signal(&f->pipe, SIGKILL);
    (void)wait_for(f, 1000);
}

void xd_fdpipe_kill_group(xd_pipe *p, int sig)
{
    (void)xd_proc_kill_group(&XD_CAST(p, fdpipe, FDPIPE_MAGIC)->at.proc, sig);
}

void xd_fdpipe_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    fdpipe     *f = XD_CAST(*p, fdpipe, FDPIPE_MAGIC);
    const char *what = f->at.name ? f->at.name : "the agent";
    char        name[32];
    xd_fdpipe_close(*p);
    end_process(f, grace_ms);
    const xd_proc_status status = f->status;
    if (f->at.text >= 0)
        close(f->at.text);
    xd_proc_close(&f->at.proc);
    free(f);
    *p = NULL;
    if (how_size == 0)
        return;
    if (status.signal)
        snprintf(how, how_size, "%s was killed by %s", what,
                 xd_os_signal_name(status.signal, name, sizeof(name)));
    else if (status.exit_status > 0)
        snprintf(how, how_size, "%s ended with status %d", what, status.exit_status);
    else
        snprintf(how, how_size, "%s%s", status.exit_status == 0 ? what : "",
                 status.exit_status == 0 ? " ended" : "");
}
