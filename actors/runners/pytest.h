/* actors/runners/pytest.h - the pytest runner (runner.h): how the Python processes of one environment are
 * started.
 *
 * The adapter (a Python package, embedded in the program) is unpacked into a folder named after the build, so
 * that Python's own bytecode cache makes the next start fast; the interpreter is found; collector and runner host
 * are spawned with their descriptors. What is said on these descriptors is the agent's business
 * (tools/xdagent/). One thread; blocking only in file access and posix_spawn. */
#pragma once
#include "actors/runners/runner.h"

/* What is needed to start a Python process of the environment, and what it took from ENV_START. */
typedef struct xd_pytest {
    xd_runner   runner;
    char       *dir;      /* folder of the unpacked adapter */
    bool        dir_temp; /* it is ours alone and goes with us */
    char      **python;   /* command line of the interpreter, NULL terminated, one block */
    const char *how;      /* in a few words: where that was found */
    char       *chdir;    /* NULL = stay */
    char      **env;      /* whole environment, NULL terminated, each entry malloc'ed */
    int leash[2];  /* a pipe into which nobody writes: its end tells the processes that the agent is gone */
    int output[2]; /* where collector and host write: stdout, stderr */
} xd_pytest;

extern const xd_runner_ops xd_pytest_ops;
