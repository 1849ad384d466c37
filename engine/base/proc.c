/* engine/base/proc.c - posix_spawn behind proc.h. */
#include "engine/base/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/path.h"

extern char **environ;

static const char *lookup(const char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* The descriptors of the child must survive being put in place one after the other: sources that lie below
 * the highest target are first copied above it. */
typedef struct placement {
    int source[64];
    int copies[64];
    int n_copies;
} placement;

static int place(placement *p, const xd_proc_args *a, int above)
{
    for (size_t i = 0; i < a->nfds; i++) {
        p->source[i] = a->fds[i].parent_fd;
        if (p->source[i] > above)
            continue;
        int fd = fcntl(p->source[i], F_DUPFD_CLOEXEC, above + 1);
        if (fd < 0)
            return -errno;
        p->copies[p->n_copies++] = p->source[i] = fd;
    }
    return 0;
}

static int file_actions(posix_spawn_file_actions_t *fa, const xd_proc_args *a, const placement *p,
                        int highest)
{
    bool taken[3] = { false, false, false };
    int  r = 0;
    if (a->chdir)
        r = posix_spawn_file_actions_addchdir_np(fa, a->chdir);
    for (size_t i = 0; i < a->nfds && r == 0; i++) {
        r = posix_spawn_file_actions_adddup2(fa, p->source[i], a->fds[i].child_fd);
        if (a->fds[i].child_fd < 3)
            taken[a->fds[i].child_fd] = true;
    }
    for (int fd = 0; fd < 3 && r == 0; fd++)
        if (!taken[fd])
            r = posix_spawn_file_actions_addopen(fa, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
    /* Holes between the wanted numbers may be inherited descriptors of the host program. */
    for (int fd = 3; fd <= highest && r == 0; fd++) {
        bool wanted = false;
        for (size_t i = 0; i < a->nfds; i++)
            wanted |= a->fds[i].child_fd == fd;
        if (!wanted && fcntl(fd, F_GETFD) >= 0)
            r = posix_spawn_file_actions_addclose(fa, fd);
    }
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(fa, highest + 1);
    return -r;
}

/* Ignored in every program of ours, and SIGCHLD would take the status of children away. */
static bool never_passed_on(int sig)
{
    return sig == SIGPIPE || sig == SIGXFSZ || sig == SIGCHLD;
}

/* What is ignored here because our own parent (nohup, a shell's `&`) had it so stays ignored: tests see what
 * they would see below that parent. The rest is set to default, the two signals that libc hides as well:
 * posix_spawn would let the child ignore them. */
static void default_signals(sigset_t *ret)
{
    struct sigaction now;
    memset(ret, 0xff, sizeof(*ret));
    for (int sig = 1; sig <= SIGRTMAX; sig++)
        if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN && !never_passed_on(sig))
            (void)sigdelset(ret, sig);
}

static int attributes(posix_spawnattr_t *attr, bool new_group)
{
    sigset_t none, defaults;
    sigemptyset(&none);
    default_signals(&defaults);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (new_group)
        flags |= POSIX_SPAWN_SETPGROUP;
    int r = posix_spawnattr_setflags(attr, flags);
    if (r == 0)
        r = posix_spawnattr_setsigmask(attr, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(attr, &defaults);
    if (r == 0 && new_group)
        r = posix_spawnattr_setpgroup(attr, 0);
    return -r;
}

static int spawn_at(const char *program, const xd_proc_args *a, const char *const *env, xd_proc *ret)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t          attr;
    placement                  p = { .n_copies = 0 };
    int                        highest = 2;
    for (size_t i = 0; i < a->nfds; i++)
        highest = XD_MAX(highest, a->fds[i].child_fd);
    int r = place(&p, a, highest);
    if (r == 0)
        r = -posix_spawn_file_actions_init(&fa);
    if (r == 0) {
        r = -posix_spawnattr_init(&attr);
        if (r == 0) {
            r = attributes(&attr, a->new_group);
            if (r == 0)
                r = file_actions(&fa, a, &p, highest);
            if (r == 0)
                r = -posix_spawn(&ret->pid, program, &fa, &attr, (char *const *)(uintptr_t)a->argv,
                                 (char *const *)(uintptr_t)env);
            posix_spawnattr_destroy(&attr);
        }
        posix_spawn_file_actions_destroy(&fa);
    }
    for (int i = 0; i < p.n_copies; i++)
        close(p.copies[i]);
    return r;
}

int xd_proc_spawn(const xd_proc_args *a, xd_proc *ret, xd_error *err)
{
    const char *const *env = a->envp ? a->envp : (const char *const *)environ;
    xd_autofree char  *program = NULL;
    if (a->nfds > 64)
        return xd_error_set(err, -EINVAL, "too many descriptors for %s", a->argv[0]);
    int r = 0;
    if (strchr(a->argv[0], '/'))
        program = strdup(a->argv[0]);
    else
        r = xd_path_find_program(a->argv[0], lookup(env, "PATH"), &program);
    if (r == -ENOENT)
        return xd_error_set(err, r, "cannot start %s: not found on PATH", a->argv[0]);
    if (r < 0 || !program)
        return xd_error_set(err, r < 0 ? r : -ENOMEM, "cannot start %s: %s", a->argv[0],
                            xd_error_name(r < 0 ? r : -ENOMEM));
    if (a->chdir && !xd_path_is_dir(a->chdir))
        return xd_error_set(err, -ENOTDIR, "cannot start %s: the folder %s is not there", a->argv[0],
                            a->chdir);
    r = spawn_at(program, a, env, ret);
    if (r < 0)
        return xd_error_set(err, r, "cannot start %s: %s", program, xd_error_name(r));
    ret->pidfd = (int)syscall(SYS_pidfd_open, ret->pid, 0);
    ret->leader = a->new_group;
    return 0;
}

int xd_proc_open(pid_t pid, bool leader, xd_proc *ret)
{
    if (pid <= 1)
        return -EINVAL;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    *ret = (xd_proc){ .pid = pid, .pidfd = fd, .leader = leader };
    return 0;
}

static int wait_for(const xd_proc *p, int flags, siginfo_t *si)
{
    int r;
    do
        r = p->pidfd >= 0 ? waitid(P_PIDFD, (id_t)p->pidfd, si, WEXITED | flags)
                          : waitid(P_PID, (id_t)p->pid, si, WEXITED | flags);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

int xd_proc_wait(xd_proc *p, bool block, xd_proc_status *ret)
{
    siginfo_t si = { 0 };
    if (p->pidfd < 0 && p->pid <= 0)
        return -ECHILD;
    int r = wait_for(p, block ? 0 : WNOHANG, &si);
    if (r < 0)
        return r;
    if (si.si_pid == 0)
        return 0;
    p->pid = 0;
    if (si.si_code == CLD_EXITED)
        *ret = (xd_proc_status){ .exit_status = si.si_status };
    else
        *ret = (xd_proc_status){ .exit_status = -1, .signal = si.si_status };
    return 1;
}

pid_t xd_proc_hand_over(xd_proc *p)
{
    pid_t pid = p->pid;
    p->pid = 0;
    return pid;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* banned.h: the only place that may */

int xd_proc_kill(const xd_proc *p, int sig)
{
    if (p->pid <= 1)
        return 0;
    int r = p->pidfd >= 0 ? (int)syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) : kill(p->pid, sig);
    return r == 0 || errno == ESRCH ? 0 : -errno;
}

int xd_proc_kill_group(const xd_proc *p, int sig)
{
    if (p->pid <= 1)
        return 0;
    if (!p->leader)
        return xd_proc_kill(p, sig);
    /* Somebody else may have waited for it unasked (a SIGCHLD handler of the suite): the number is not its any more. */
    if (p->pidfd >= 0 && syscall(SYS_pidfd_send_signal, p->pidfd, 0, NULL, 0) < 0 && errno == ESRCH)
        return 0;
    if (kill(-p->pid, sig) == 0)
        return 0;
    return errno == ESRCH ? xd_proc_kill(p, sig) : -errno; /* it has not made its group yet */
}

#pragma GCC diagnostic pop

void xd_proc_close(xd_proc *p)
{
    if (p->pidfd >= 0)
        close(p->pidfd);
    *p = XD_PROC_NONE;
}
