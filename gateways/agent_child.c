/* gateways/agent_child.c - see agent_child.h. */
#include "gateways/agent_child.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"

#define CHILD_FD 3
#define CHILD_REDIAL_FD 4

static void add_option(const char **argv, size_t *n, const char *name, const char *value)
{
    if (!value)
        return;
    argv[(*n)++] = name;
    argv[(*n)++] = value;
}

static int command_line(const xd_agent_child_args *args, char ***ret)
{
    char              limit[32], workers[16];
    const char *const none[] = { NULL };
    const char       *argv[16] = { args->agent, "--fd", "3", "--redial", "4" };
    size_t            n = 5;
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)args->output_limit);
    snprintf(workers, sizeof(workers), "%u", (unsigned)args->max_workers);
    add_option(argv, &n, "--output-limit", args->output_limit != XD_OUTPUT_DEFAULT ? limit : NULL);
    add_option(argv, &n, "--cache-dir", args->cache_dir);
    add_option(argv, &n, "--scratch-dir", args->scratch_dir);
    add_option(argv, &n, "--max-workers", args->max_workers ? workers : NULL);
    const xd_words parts[] = { xd_words_of(args->prefix ? args->prefix : none), xd_words_of(argv) };
    return xd_text_words_join(parts, XD_ARRAY_LEN(parts), ret);
}

int xd_agent_child_start(const xd_agent_child_args *args, xd_fdpipe_parts *ret, xd_error *err)
{
    xd_autoclose int ours = -1, theirs = -1, text_ours = -1, text_theirs = -1, redial_ours = -1,
                     redial_theirs = -1;
    xd_autofree char **argv = NULL;
    int                pair[2];
    int                r = xd_os_socketpair(pair, true);
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
        return xd_error_set(err, r, "no descriptors: %s", xd_error_name(r));
    redial_ours = pair[0];
    redial_theirs = pair[1];
    r = command_line(args, &argv);
    if (r < 0)
        return xd_error_set(err, r, "%s", xd_error_name(r));
    const xd_proc_fd fds[] = { { theirs, CHILD_FD }, { redial_theirs, CHILD_REDIAL_FD }, { text_theirs, 2 } };
    const xd_proc_args start = { .argv = (const char *const *)argv,
                                 .chdir = args->dir,
                                 .fds = fds,
                                 .nfds = XD_ARRAY_LEN(fds),
                                 .new_group = true };
    xd_proc            proc = XD_PROC_NONE;
    XD_TRY(xd_proc_spawn(&start, &proc, err));
    *ret =
        (xd_fdpipe_parts){ .in = ours, .out = ours, .text = text_ours, .redial = redial_ours, .proc = proc };
    ours = text_ours = redial_ours = -1;
    return 0;
}

void xd_agent_child_abandon(xd_fdpipe_parts *parts)
{
    xd_proc_status status;
    (void)xd_proc_kill(&parts->proc, SIGKILL);
    (void)!xd_proc_wait(&parts->proc, true, &status);
    xd_proc_close(&parts->proc);
    close(parts->in);
    close(parts->text);
    close(parts->redial);
}
