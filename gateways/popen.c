/* gateways/popen.c - the agent as a child of this process, on a socket pair.  No port, no file. */
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "gateways/gateway.h"

#define CHILD_FD 3

#ifndef XD_AGENT_DIR
#define XD_AGENT_DIR "/usr/local/libexec/xd"
#endif

/* Takes the candidate when it is a program; else notes that it was tried. */
static bool try_agent(const char *dir, const char *name, xd_buf *tried, char **ret)
{
    char       *path = xd_path_join(dir, name);
    struct stat st;
    if (path && access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        *ret = path;
        return true;
    }
    if (path && xd_buf_printf(tried, "%s%s", tried->len ? ", " : "", path) < 0)
        xd_buf_clear(tried);
    free(path);
    return false;
}

/* Folder of the file this code was loaded from: libxd.so, or the program itself. */
static char *own_folder(void)
{
    static const char here = 0;
    Dl_info           info;
    return dladdr(&here, &info) && info.dli_fname ? xd_path_dir(info.dli_fname) : NULL;
}

int xd_gateway_find_agent(const char *wanted, char **ret, xd_error *err)
{
    xd_autobuf        tried = XD_BUF_INIT;
    xd_autofree char *self = NULL, *dir = NULL, *lib = NULL;
    const char       *given = wanted && *wanted ? wanted : getenv("XD_AGENT");
    if (given && *given && strchr(given, '/'))
        return try_agent("", given, &tried, ret)
                   ? 0
                   : xd_error_set(err, -ENOENT, "the agent %s is not an executable program", given);
    if (given && *given) /* a name alone is looked for as a shell does, and nowhere else */
        return xd_path_find_program(given, NULL, ret) == 0
                   ? 0
                   : xd_error_set(
                         err, -ENOENT,
                         "the agent %s is not a program on PATH (for one in this folder, write ./%s)", given,
                         given);
    if (xd_path_self(&self) == 0 && (dir = xd_path_dir(self)) != NULL &&
        (try_agent(dir, "xdagent", &tried, ret) || try_agent(dir, "../libexec/xd/xdagent", &tried, ret) ||
         try_agent(dir, "../bin/xdagent", &tried, ret)))
        return 0;
    /* A program that embeds the library lies anywhere; the library lies in PREFIX/lib or
     * PREFIX/lib/ARCHITECTURE. */
    if ((lib = own_folder()) != NULL && (try_agent(lib, "../libexec/xd/xdagent", &tried, ret) ||
                                         try_agent(lib, "../../libexec/xd/xdagent", &tried, ret)))
        return 0;
    if (try_agent(XD_AGENT_DIR, "xdagent", &tried, ret))
        return 0;
    return xd_error_set(err, -ENOENT,
                        "cannot find the program xdagent: tried %s; name it with --agent or XD_AGENT",
                        xd_buf_cstr(&tried));
}

static int popen_dial(const xd_gateway_target *target, uint32_t timeout_ms, xd_gateway_pipe *ret,
                      xd_error *err)
{
    xd_autofree char *found = NULL, *agent = NULL;
    xd_autoclose int  ours = -1, theirs = -1, err_ours = -1, err_theirs = -1;
    int               pair[2];
    char              limit[32];
    (void)timeout_ms; /* nothing here waits for anybody */
    XD_TRY(xd_gateway_find_agent(target->agent, &found, err));
    XD_TRY(xd_path_absolute(found, &agent)); /* it is started in another directory */
    int r = xd_os_socketpair(pair, true);
    if (r == 0) {
        ours = pair[0];
        theirs = pair[1];
        r = xd_os_pipe(pair, 0, 0);
    }
    if (r < 0)
        return xd_error_set(err, r, "%s: no descriptors: %s", target->spec, xd_error_name(r));
    err_ours = pair[0];
    err_theirs = pair[1];
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)target->output_limit);
    const char *const argv[] = { agent, "--fd",
                                 "3",   target->output_limit != XD_OUTPUT_DEFAULT ? "--output-limit" : NULL,
                                 limit, NULL };
    const xd_proc_fd  fds[] = { { theirs, CHILD_FD }, { err_theirs, 2 } };
    xd_proc_args      args = {
             .argv = argv, .chdir = target->dir, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = true
    };
    xd_gateway_pipe pipe = XD_GATEWAY_PIPE_INIT;
    XD_TRY(xd_proc_spawn(&args, &pipe.proc, err));
    pipe.in = pipe.out = ours;
    pipe.errors = err_ours;
    ours = err_ours = -1;
    *ret = pipe;
    return 0;
}

static bool wait_for(xd_proc *proc, uint32_t grace_ms, xd_proc_status *status)
{
    uint64_t end = xd_clock_ns() + grace_ms * XD_MS_NS;
    for (;;) {
        int r = xd_proc_wait(proc, false, status);
        if (r != 0) {
            if (r < 0)
                *status = (xd_proc_status){ .exit_status = -2 }; /* somebody else waited for it */
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

static void popen_hang_up(xd_gateway_pipe *pipe, uint32_t grace_ms, char *how, size_t how_size)
{
    xd_proc_status status = { .exit_status = -2 };
    char           name[32];
    if (pipe->in >= 0)
        close(pipe->in);
    if (pipe->out >= 0 && pipe->out != pipe->in)
        close(pipe->out);
    bool ended = pipe->proc.pid <= 0 || wait_for(&pipe->proc, grace_ms / 2, &status);
    if (!ended) {
        (void)xd_proc_kill_group(&pipe->proc,
                                 SIGCONT); /* a stopped agent does not see that its pipe is closed */
        ended = wait_for(&pipe->proc, grace_ms - grace_ms / 2, &status);
    }
    if (!ended) {
        /* Not its group: what is left of the agent cleans up (tools/xdagent/guard.c). */
        (void)xd_proc_kill(&pipe->proc, SIGKILL);
        (void)wait_for(&pipe->proc, 1000, &status);
    }
    if (pipe->errors >= 0)
        close(pipe->errors);
    xd_proc_close(&pipe->proc);
    *pipe = XD_GATEWAY_PIPE_INIT;
    if (how_size == 0)
        return;
    if (status.signal)
        snprintf(how, how_size, "the agent was killed by %s",
                 xd_os_signal_name(status.signal, name, sizeof(name)));
    else if (status.exit_status > 0)
        snprintf(how, how_size, "the agent ended with status %d", status.exit_status);
    else
        snprintf(how, how_size, "%s", status.exit_status == 0 ? "the agent ended" : "");
}

const xd_gateway_ops xd_gateway_popen = { .name = "popen", .dial = popen_dial, .hang_up = popen_hang_up };

const xd_gateway_ops *xd_gateway_find(const char *scheme)
{
    static const xd_gateway_ops *const all[] = { &xd_gateway_popen };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        if (strcmp(all[i]->name, scheme) == 0)
            return all[i];
    return NULL;
}
