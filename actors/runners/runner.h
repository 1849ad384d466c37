/* actors/runners/runner.h - what the agent needs to know about a test framework: an ops table. The agent calls
 * nothing else of a runner. Linked into the agent only.
 *
 * A runner starts processes, which speak the frames of engine/wire.def on the descriptors that they are given
 * (ARCHITECTURE.md, "Processes of one environment"): a collector, which finds the tests; workers, which run them; where
 * that saves time a host, from which workers are forked. Leases, claims, crashes and the end of a run are the agent's
 * (tools/xdagent/) and the same for all runners. pytest.c is the first one, command.c the second.
 *
 * Everything is called on the agent's thread. Only prepare, release and the spawn functions touch files or start
 * processes; nothing waits for a process. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/proc.h"
#include "engine/wire.h"

typedef struct xd_runner_ops xd_runner_ops;

/* One environment's runner: the first member of what the driver keeps. */
typedef struct xd_runner {
    const xd_runner_ops *ops;
    uint64_t             output_limit; /* bytes kept of what one test writes, per stream; the agent sets it */
} xd_runner;

typedef enum xd_runner_parent { XD_RUNNER_COLLECTOR, XD_RUNNER_HOST } xd_runner_parent;

/* The descriptors a worker gets; those of its side, which stay the caller's. */
typedef struct xd_runner_fds {
    int commands, results, out, err;
    int control; /* its end of a socket on which ENV_START and FORK are sent to it */
    int page;    /* the progress page */
} xd_runner_fds;

struct xd_runner_ops {
    const char *name; /* as --runner has it */
    /* Words for messages: what is started; what is missing when its collector dies behind the collection. */
    const char *program, *without_collector;
    /* What a worker is at when its session ends: xd_page_slot.ending is an index, [0] is "". NULL terminated. */
    const char *const *endings;
    /* What stops a worker with all that it has started, on Ctrl-Z: SIGSTOP, or a signal on which it does so itself. */
    int pause_signal;
    /* Tests are processes of their own, outside of their worker's process group: when a worker dies they are
     * orphans that the agent ends at once. */
    bool orphans_end_with_worker;

    /* Prepares everything that can fail before a process exists. *ret is NULL or to be released even on failure.
     * -errno; err says in one line what was tried. */
    int (*prepare)(xd_runner **ret, const xd_wire_ENV_START *start, const char *build_id, xd_error *err);
    xd_runner *(*release)(xd_runner *r); /* removes a temporary folder too; NULL is fine; returns NULL */
    /* What it chose on this host, for ENV_FACTS: the command line of its interpreter; in a few words, where that was
     * found; the folder of its own code. Views, valid as long as r and `program`, which is empty before; what a runner has
     * none of stays empty. NULL member: it has none of them. */
    int (*facts)(const xd_runner *r, xd_buf *program, xd_wire_ENV_FACTS *ret);
    /* A folder that goes with this environment, also when the agent is killed; NULL = none. */
    const char *(*temporary)(const xd_runner *r);
    /* The reading ends of what collector and host will write to stdout and stderr, non-blocking. The caller owns them.
     */
    int (*open_output)(xd_runner *r, int ret[2], xd_error *err);
    /* Starts collector or host (NULL member: the runner has none). The caller owns the process and *ret_control, the
     * socket to it, non-blocking. */
    int (*spawn_parent)(const xd_runner *r, xd_runner_parent which, int page_fd, xd_proc *ret,
                        int *ret_control, xd_error *err);
    /* Starts a worker as a new process. */
    int (*spawn_worker)(const xd_runner *r, const xd_runner_fds *fds, xd_proc *ret, xd_error *err);
    /* Starts a process that looks at the project in the current folder and runs nothing; output: what
     * it gets for stdout and stderr. args, NULL terminated, are "project", or "options" and the runner's arguments, or "host":
     * it looks for interpreter and framework alone, with "packages" behind it also for what that interpreter has, and writes lines
     * (tools/xdagent/look.c). NULL member: there is nothing to look at. */
    int (*spawn_check)(const xd_runner *r, const char *const *args, const int output[2], xd_proc *ret,
                       xd_error *err);
};

/* The runner of this name; empty: pytest. NULL = there is none. */
const xd_runner_ops *xd_runner_find(xd_bytes name);
/* The names of all runners, for a message: "pytest, command". */
const char *xd_runner_names(void);

/* What open_output does in every runner: two pipes, the ends to read in ret, those for its processes in `theirs`, which the
 * runner closes at its release also after a failure. whose: for the error, "Python". */
int xd_runner_open_output(int theirs[2], int ret[2], const char *whose, xd_error *err) XD_MUST;

/* The environment of this process with what ENV_START sets: malloc'ed, NULL terminated, each entry malloc'ed. To be freed
 * even on failure. */
/* `unless`: names and values in turn, NULL at the end, for what is not set otherwise; NULL = none. */
int         xd_runner_environ(const xd_wire_ENV_START *start, const char *const *unless, char ***ret,
                              xd_error *err) XD_MUST;
void        xd_runner_environ_free(char **env);
const char *xd_runner_environ_get(char *const *env, const char *name); /* NULL = it is not set */
