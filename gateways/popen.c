/* gateways/popen.c - the agent as a child of this process, on a socket pair.  No port, no file: a second socket pair brings it
 * one end of another, when the first was cut. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "gateways/fdpipe.h"

#define CHILD_FD 3
#define CHILD_REDIAL_FD 4

static void add_option(const char **argv, size_t *n, const char *name, const char *value)
{
    if (!value)
        return;
    argv[(*n)++] = name;
    argv[(*n)++] = value;
}

static int popen_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    xd_autoclose int ours = -1, theirs = -1, text_ours = -1, text_theirs = -1, redial_ours = -1,
                     redial_theirs = -1;
    int  pair[2];
    char limit[32];
    int  r = xd_os_socketpair(pair, true);
    if (r == 0) {
        ours = pair[0];
        theirs = pair[1];
        r = xd_os_pipe(pair, 0, 0);
    }
    if (r == 0) {
        text_ours = pair[0];
        text_theirs = pair[1];
        r = xd_os_socketpair(pair, true);
    }
    if (r < 0)
        return xd_error_set(err, r, "%s: no descriptors: %s", target->spec->text, xd_error_name(r));
    redial_ours = pair[0];
    redial_theirs = pair[1];
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)target->output_limit);
    const char *argv[12] = { target->agent, "--fd", "3", "--redial", "4" };
    size_t      n = 5;
    add_option(argv, &n, "--output-limit", target->output_limit != XD_OUTPUT_DEFAULT ? limit : NULL);
    add_option(argv, &n, "--cache-dir", target->cache_dir);
    add_option(argv, &n, "--scratch-dir", target->scratch_dir);
    const xd_proc_fd fds[] = { { theirs, CHILD_FD }, { redial_theirs, CHILD_REDIAL_FD }, { text_theirs, 2 } };
    xd_proc_args     args = {
            .argv = argv, .chdir = target->dir, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = true
    };
    xd_fdpipe_parts parts = {
        .in = ours, .out = ours, .text = text_ours, .redial = redial_ours, .proc = { .pidfd = -1 }
    };
    XD_TRY(xd_proc_spawn(&args, &parts.proc, err));
    r = xd_fdpipe_new(ret, &xd_transport_popen, &parts);
    if (r < 0) {
        xd_proc_status status;
        (void)xd_proc_kill(&parts.proc, SIGKILL); /* it has started nothing yet */
        (void)!xd_proc_wait(&parts.proc, true, &status);
        xd_proc_close(&parts.proc);
        return r;
    }
    ours = text_ours = redial_ours = -1;
    return 0;
}

const xd_transport xd_transport_popen = { .name = "popen", .local = true, .open = popen_open, XD_FDPIPE_OPS };
