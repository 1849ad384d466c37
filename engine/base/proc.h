/* engine/base/proc.h - processes. The only way to start one: posix_spawn, own process group, close-on-exec
 * for the rest. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "engine/base/error.h"

typedef struct xd_proc_fd {
    int parent_fd; /* borrowed; stays open in the parent */
    int child_fd;  /* number it has in the child */
} xd_proc_fd;

typedef struct xd_proc_args {
    const char *const *argv;  /* argv[0] is looked up on PATH of `env` when it has no slash */
    const char *const *envp;  /* whole environment "NAME=value"; NULL = that of this process */
    const char        *chdir; /* NULL = stay */
    const xd_proc_fd  *fds;   /* 0, 1, 2 not named here become /dev/null; all others are closed */
    size_t             nfds;
    bool               new_group; /* own process group (pgid = pid) */
} xd_proc_args;

typedef struct xd_proc {
    pid_t pid;
    int   pidfd; /* owned; readable when the process has ended; -1 where there is none */
} xd_proc;

/* Starts it. Signals are unblocked and set to default in the child. A program that cannot be executed is
 * reported here (-ENOENT, -EACCES, ...; err names program and cause), not by an exit code.  Any thread. */
int xd_proc_spawn(const xd_proc_args *args, xd_proc *ret, xd_error *err) XD_MUST;

typedef struct xd_proc_status {
    int exit_status; /* 0..255, or -1 = by signal, -2 = unknown (not our child) */
    int signal;      /* 0 or the signal */
} xd_proc_status;
/* 1 = ended (ret filled, reaped), 0 = still runs; `block` waits.  -ECHILD = not a child of ours. */
int xd_proc_wait(pid_t pid, bool block, xd_proc_status *ret) XD_MUST;
/* kill(2) on the process group of pid (falls back to pid); 0 also when it is gone. */
int  xd_proc_kill_group(pid_t pid, int sig);
void xd_proc_close(xd_proc *p); /* closes the pidfd; does not wait */
int  xd_proc_pidfd(pid_t pid);  /* pidfd of any process, or -errno */
