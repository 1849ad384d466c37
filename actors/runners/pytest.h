/* actors/runners/pytest.h - the pytest runner driver: how the Python processes of one environment are
 * started. Linked into the agent only.
 *
 * The adapter (a Python package, embedded in the program) is unpacked into a folder named after the build, so
 * that Python's own bytecode cache makes the next start fast; the interpreter is found; collector and runner host
 * are spawned with their descriptors. What is said on these descriptors is the agent's business
 * (tools/xdagent/). One thread; blocking only in file access and posix_spawn. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/proc.h"
#include "engine/wire.h"

/* What is needed to start a Python process of the environment, and what it took from ENV_START. */
typedef struct xd_pytest {
    char  *dir;      /* folder of the unpacked adapter */
    bool   dir_temp; /* it is ours alone and goes with us */
    char **python;   /* command line of the interpreter, NULL terminated, one block */
    char  *chdir;    /* NULL = stay */
    char **env;      /* whole environment, NULL terminated, each entry malloc'ed */
    int    leash[2]; /* a pipe into which nobody writes: its end tells the processes that the agent is gone */
    int    output[2]; /* where collector and host write: stdout, stderr */
} xd_pytest;

/* Prepares everything that can fail before a process exists. *ret is set up even on failure: release it
 * either way.
 * -errno; err says in one line what was tried. */
int  xd_pytest_prepare(xd_pytest *ret, const xd_wire_ENV_START *start, const char *build_id,
                       xd_error *err) XD_MUST;
void xd_pytest_release(xd_pytest *p); /* removes a temporary folder too */

/* The reading ends of what collector and host will write to stdout and stderr, non-blocking. The caller owns them. */
int xd_pytest_open_output(xd_pytest *p, int ret[2], xd_error *err) XD_MUST;

/* Starts a process that forks workers: `role` is "collector" or "host". page_fd: the progress page. The caller owns
 * the process and *ret_control, the socket to it, non-blocking. */
int xd_pytest_spawn_parent(const xd_pytest *p, const char *role, int page_fd, xd_proc *ret, int *ret_control,
                           xd_error *err) XD_MUST;

/* The descriptors a worker gets; those of its side. */
typedef struct xd_pytest_worker_fds {
    int commands, results, out, err;
} xd_pytest_worker_fds;

/* Starts a worker as a new process (way "fresh"); `control` is its end of a socket on which ENV_START and
 * FORK are sent to it. */
int xd_pytest_spawn_fresh(const xd_pytest *p, int page_fd, int control, const xd_pytest_worker_fds *fds,
                          xd_proc *ret, xd_error *err) XD_MUST;

/* Starts a process that looks at the project in the current folder and runs nothing: args, NULL terminated, are
 * "project", or "options" and pytest's arguments (xd_pytest/check.py says what it prints). Its output is ours. */
int xd_pytest_spawn_check(const xd_pytest *p, const char *const *args, xd_proc *ret, xd_error *err) XD_MUST;
