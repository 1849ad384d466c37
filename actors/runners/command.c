#include "actors/runners/command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/runners/command_process.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"

typedef struct command_runner {
    xd_runner runner;
    char     *program; /* this one */
    char     *nice;    /* niceness of its processes; "" = as ours */
    char    **env;
    char     *chdir;     /* NULL = stay */
    int       list;      /* memory shared by all processes: the list, as the collector has read it */
    int       output[2]; /* where the collector writes: stdout, stderr */
} command_runner;

static command_runner *of(xd_runner *r)
{
    return (command_runner *)(void *)r; /* its first member */
}

static const command_runner *of_const(const xd_runner *r)
{
    return (const command_runner *)(const void *)r;
}

static int prepare_parts(command_runner *c, const xd_wire_ENV_START *start, xd_error *err)
{
    if (start->python.len)
        return xd_error_set(err, -EINVAL, "an interpreter (python=) does not apply to --runner command");
    int r = xd_path_self_program(&c->program);
    if (r < 0)
        return xd_error_set(err, r, "cannot find this program: %s", xd_error_name(r));
    XD_TRY(xd_runner_environ(start, NULL, &c->env, err));
    if (!(c->nice = xd_bytes_dup(start->nice)))
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (start->chdir.len && !(c->chdir = xd_bytes_dup(start->chdir)))
        return xd_error_set(err, -ENOMEM, "out of memory");
    c->list = memfd_create("xd-list", MFD_CLOEXEC);
    return c->list >= 0 ? 0
                        : xd_error_set(err, -errno, "no shared memory for the list of tests: %s",
                                       xd_error_name(-errno));
}

static int prepare(xd_runner **ret, const xd_wire_ENV_START *start, const char *build_id, xd_error *err)
{
    command_runner *c = malloc(sizeof(*c));
    (void)build_id;
    *ret = NULL;
    if (!c)
        return xd_error_set(err, -ENOMEM, "out of memory");
    *c = (command_runner){ .runner.ops = &xd_command_ops, .list = -1, .output = { -1, -1 } };
    *ret = &c->runner;
    return prepare_parts(c, start, err);
}

static xd_runner *release(xd_runner *r)
{
    command_runner *c = of(r);
    if (!c)
        return NULL;
    free(c->program);
    free(c->nice);
    free(c->chdir);
    xd_runner_environ_free(c->env);
    const int fds[] = { c->list, c->output[0], c->output[1] };
    for (size_t i = 0; i < XD_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(c);
    return NULL;
}

static const char *temporary(const xd_runner *r)
{
    (void)r;
    return NULL;
}

static int open_output(xd_runner *r, int ret[2], xd_error *err)
{
    return xd_runner_open_output(of(r)->output, ret, "the tests", err);
}

static int spawn(const command_runner *c, const char *role, const xd_proc_fd *fds, size_t nfds, xd_proc *ret,
                 xd_error *err)
{
    char limit[32];
    snprintf(limit, sizeof(limit), "%llu", (unsigned long long)c->runner.output_limit);
    const char *const argv[] = { "nice", "-n", c->nice, c->program, XD_COMMAND_ROLE, role, limit, NULL };
    xd_proc_args      args = { .argv = *c->nice ? argv : argv + 3,
                               .envp = (const char *const *)c->env,
                               .chdir = c->chdir,
                               .fds = fds,
                               .nfds = nfds,
                               .new_group = true };
    return xd_proc_spawn(&args, ret, err);
}

static int spawn_parent(const xd_runner *r, xd_runner_parent which, int page_fd, xd_proc *ret,
                        int *ret_control, xd_error *err)
{
    const command_runner *c = of_const(r);
    int                   pair[2];
    if (which != XD_RUNNER_COLLECTOR)
        return xd_error_set(err, -ENOTSUP, "this runner has no host");
    int done = xd_os_socketpair(pair, true);
    if (done < 0)
        return xd_error_set(err, done, "no descriptors for the collector: %s", xd_error_name(done));
    const xd_proc_fd fds[] = { { c->output[0], 1 },
                               { c->output[1], 2 },
                               { pair[1], XD_COMMAND_CONTROL },
                               { page_fd, XD_COMMAND_PAGE },
                               { c->list, XD_COMMAND_LIST } };
    done = spawn(c, "collector", fds, XD_ARRAY_LEN(fds), ret, err);
    close(pair[1]);
    if (done == 0)
        *ret_control = pair[0];
    else
        close(pair[0]);
    return done;
}

static int spawn_worker(const xd_runner *r, const xd_runner_fds *w, xd_proc *ret, xd_error *err)
{
    const command_runner *c = of_const(r);
    const xd_proc_fd      fds[] = { { w->out, 1 },
                                    { w->err, 2 },
                                    { w->control, XD_COMMAND_CONTROL },
                                    { w->page, XD_COMMAND_PAGE },
                                    { c->list, XD_COMMAND_LIST },
                                    { w->commands, XD_COMMAND_COMMANDS },
                                    { w->results, XD_COMMAND_RESULTS } };
    return spawn(c, "worker", fds, XD_ARRAY_LEN(fds), ret, err);
}

static const char *const endings[] = { "", NULL };

const xd_runner_ops xd_command_ops = {
    .name = "command",
    .program = "xdagent",
    .without_collector = "workers go on",
    .endings = endings,
    .pause_signal = SIGTSTP, /* its test is a group of its own: the worker passes it on */
    .orphans_end_with_worker = true,
    .prepare = prepare,
    .release = release,
    .temporary = temporary,
    .open_output = open_output,
    .spawn_parent = spawn_parent,
    .spawn_worker = spawn_worker,
};
