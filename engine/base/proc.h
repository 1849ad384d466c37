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

/* Signals and waits take the process, not its number: a number whose process was waited for may belong to a
 * stranger. So it is forgotten (pid = 0) by whatever lets the process be waited for, and from then on signals go
 * nowhere. Whatever is to reach its group is sent before. */
typedef struct xd_proc {
    pid_t pid;    /* 0 = none, or waited for, or handed over */
    int   pidfd;  /* owned; readable when the process has ended; -1 where there is none */
    bool  leader; /* of the process group that bears its number */
} xd_proc;
#define XD_PROC_NONE ((xd_proc){ .pidfd = -1 })

/* Starts it. In the child all signals are unblocked and set to default, but for those that are ignored here
 * (SIGPIPE, SIGXFSZ and SIGCHLD are never passed on). A program that cannot be executed is reported here (-ENOENT,
 * -EACCES, ...; err names program and cause), not by an exit code.  Any thread. */
int xd_proc_spawn(const xd_proc_args *args, xd_proc *ret, xd_error *err) XD_MUST;
/* A process that somebody else started and told of, while its parent has not waited for it. -ESRCH: there is none
 * any more; -errno. */
int xd_proc_open(pid_t pid, bool leader, xd_proc *ret) XD_MUST;

typedef struct xd_proc_status {
    int exit_status; /* 0..255, or -1 = by signal, -2 = unknown (not our child) */
    int signal;      /* 0 or the signal */
} xd_proc_status;
/* 1 = ended (ret filled, waited for: pid is 0 now), 0 = still runs; `block` waits.  -ECHILD = not a child of ours
 * (yet: an orphan becomes one). Works behind xd_proc_hand_over, too. */
int xd_proc_wait(xd_proc *p, bool block, xd_proc_status *ret) XD_MUST;
/* Its parent is about to wait for it, at our request: the number to name it by; no signal goes to it from here on. */
pid_t xd_proc_hand_over(xd_proc *p);
/* One signal to the process alone; 0 also when it is gone. */
int xd_proc_kill(const xd_proc *p, int sig);
/* The same to its group: also to what an ended leader left there, as long as nobody has waited for it. Of a process
 * that leads none: to it alone. */
int  xd_proc_kill_group(const xd_proc *p, int sig);
void xd_proc_close(xd_proc *p); /* closes the pidfd and forgets the process; does not wait */
