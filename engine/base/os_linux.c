#include "engine/base/os_linux.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/cgroup.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#define CHILDREN_MAX 1024 /* that are looked at in one turn */

int xd_os_adopt_orphans(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? 0 : -errno;
}

int xd_os_nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) == 0 ? 0 : -errno;
}

ssize_t xd_os_read_some(int fd, void *to, size_t room)
{
    ssize_t n;
    do
        n = read(fd, to, room);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

ssize_t xd_os_write_some(int fd, const void *from, size_t len)
{
    ssize_t n;
    do {
        n = send(fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == ENOTSOCK)
            n = write(fd, from, len);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

int xd_os_read_at(int fd, void *to, size_t len, uint64_t at)
{
    while (len) {
        ssize_t n = pread(fd, to, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        to = (char *)to + n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int xd_os_write_at(int fd, const void *from, size_t len, uint64_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, from, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        from = (const char *)from + n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int xd_os_socketpair(int ret[2], bool nonblock)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -errno;
    int r = nonblock ? xd_os_nonblock(fds[0], true) : 0;
    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    ret[0] = fds[0];
    ret[1] = fds[1];
    return 0;
}

int xd_os_hear_no_more(int fd)
{
    struct sock_filter      header = BPF_STMT(BPF_RET | BPF_K, 1); /* TCP's own header always stays */
    const struct sock_fprog none = { .len = 1, .filter = &header };
    int                     domain = 0;
    char                    bytes[4096];
    ssize_t                 n;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){ sizeof(domain) }) != 0)
        return -errno;
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &none, sizeof(none)) != 0)
        return -errno;
    do {
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return 0;
}

int xd_os_pipe(int ret[2], int ours, int capacity_bytes)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    int r = xd_os_nonblock(fds[ours], true);
    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    if (capacity_bytes > 0)
        (void)fcntl(fds[0], F_SETPIPE_SZ, capacity_bytes); /* a wish: the user's pipe quota may be used up */
    ret[0] = fds[0];
    ret[1] = fds[1];
    return 0;
}

enum { FDS_MAX = 8 };

ssize_t xd_os_send_fds(int sock, const void *data, size_t len, const int *fds, size_t nfds)
{
    union {
        char           bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec  iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (nfds > FDS_MAX)
        return -EINVAL;
    if (nfds > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t xd_os_recv_fds(int sock, void *data, size_t len, int *fds, size_t *nfds)
{
    union {
        char           bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec  iov = { .iov_base = data, .iov_len = len };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)
    };
    ssize_t n;
    do {
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    size_t got = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (got < *nfds)
                fds[got++] = fd;
            else
                close(fd);
        }
    }
    *nfds = got;
    return n;
}

/* Decimals at the start of a text, between blanks; returns how many of `most` there are. (scanf would make the agent a tenth
 * larger, which it would be at every upload.) */
static size_t numbers(const char *text, long long *ret, size_t most)
{
    size_t n = 0;
    for (char *end; n < most; n++, text = end) {
        ret[n] = strtoll(text, &end, 10);
        if (end == text)
            break;
    }
    return n;
}

/* Parent of pid from /proc/PID/stat; the command's name may hold anything, so what counts begins behind the
 * last ')'. */
static pid_t parent_of(long pid)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* then a space, a letter, a space, the number */
    long long   parent;
    return p && strlen(p) > 3 && numbers(p + 3, &parent, 1) == 1 ? (pid_t)parent : -1;
}

int xd_os_children(pid_t parent, pid_t *ret, size_t max)
{
    siginfo_t si;
    /* Mostly there is none: said without a walk through all processes of the machine. */
    if (parent == getpid() && waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD)
        return 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return -errno;
    int            count = 0;
    struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        char *end;
        long  pid = strtol(e->d_name, &end, 10);
        if (pid <= 0 || *end != '\0' || parent_of(pid) != parent)
            continue;
        if ((size_t)count < max)
            ret[count] = (pid_t)pid;
        count++;
    }
    closedir(dir);
    return count;
}

/* Is one of its descriptors called so in /proc/PID/fd? */
static bool has_open(pid_t pid, const char *name)
{
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR           *dir = opendir(path);
    bool           found = false;
    struct dirent *e;
    while (dir && !found && (e = readdir(dir)) != NULL) {
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        found = strcmp(target, name) == 0;
    }
    if (dir)
        closedir(dir);
    return found;
}

pid_t xd_os_child_with_pipe(int fd)
{
    pid_t       pids[CHILDREN_MAX];
    struct stat st;
    char        name[64];
    if (fstat(fd, &st) < 0)
        return -errno;
    snprintf(name, sizeof(name), "pipe:[%llu]", (unsigned long long)st.st_ino);
    int n = xd_os_children(getpid(), pids, CHILDREN_MAX);
    for (int i = 0; i < n && i < CHILDREN_MAX; i++)
        if (has_open(pids[i], name))
            return pids[i];
    return n < 0 ? n : 0;
}

pid_t xd_os_reap_any(void)
{
    pid_t pid;
    do {
        pid = waitpid(-1, NULL, WNOHANG);
    } while (pid < 0 && errno == EINTR);
    return pid < 0 ? -errno : pid;
}

/* A child that has ended, and stays as it is: its pid, 0 = none has. */
static pid_t look_for_ended(void)
{
    siginfo_t si = { 0 };
    while (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
        if (errno != EINTR)
            return 0;
    return si.si_pid;
}

static void reap_if_ended(pid_t pid)
{
    while (waitpid(pid, NULL, WNOHANG) < 0 && errno == EINTR)
        ;
}

void xd_os_reap_unknown(xd_os_known_fn known, const void *arg)
{
    pid_t pid;
    while ((pid = look_for_ended()) > 0 && !known(arg, pid))
        reap_if_ended(pid);
    if (pid == 0)
        return;
    /* The kernel keeps showing that one, which may hide others for as long as nobody waits for it. */
    pid_t pids[CHILDREN_MAX];
    int   n = xd_os_children(getpid(), pids, CHILDREN_MAX);
    for (int i = 0; i < n && i < CHILDREN_MAX; i++)
        if (!known(arg, pids[i]))
            reap_if_ended(pids[i]);
}

static void kill_one(pid_t pid)
{
    xd_proc one = XD_PROC_NONE; /* nobody else waits for it */
    if (xd_proc_open(pid, false, &one) == 0)
        (void)xd_proc_kill(&one, SIGKILL);
    xd_proc_close(&one);
}

void xd_os_kill_unknown(xd_os_known_fn known, const void *arg)
{
    pid_t pids[CHILDREN_MAX] = { 0 };
    int   n = xd_os_children(getpid(), pids, CHILDREN_MAX);
    for (int i = 0; i < n && i < CHILDREN_MAX; i++)
        if (!known(arg, pids[i]))
            kill_one(pids[i]);
}

void xd_os_kill_children(uint64_t most_ns)
{
    uint64_t give_up = xd_clock_ns() + most_ns;
    while (xd_clock_ns() < give_up) {
        pid_t pids[CHILDREN_MAX] = { 0 };
        pid_t gone;
        while ((gone = xd_os_reap_any()) > 0)
            ;
        if (gone == -ECHILD)
            return;
        int n = xd_os_children(getpid(), pids, CHILDREN_MAX);
        for (int i = 0; i < n && i < CHILDREN_MAX; i++)
            kill_one(pids[i]);
        nanosleep(&(struct timespec){ .tv_nsec = 2 * (long)XD_MS_NS }, NULL);
    }
}

bool xd_os_has_aes(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
    return false;
#endif
}

uint32_t xd_os_cpus(void)
{
    cpu_set_t  set;
    const long n =
        sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t own = n < 1 ? 1 : (uint32_t)n, quota = xd_cgroup_cpus("");
    return quota ? XD_MIN(own, quota) : own;
}

uint64_t xd_os_memory_bytes(void)
{
    const uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t       limit, left;
    return xd_cgroup_memory("", &limit, &left) ? XD_MIN(total, limit) : total;
}

uint64_t xd_os_memory_free(const char *root)
{
    static const char name[] = "MemAvailable:";
    char              line[256];
    long long         kib = -1;
    uint64_t          limit, left;
    snprintf(line, sizeof(line), "%s/proc/meminfo", root);
    FILE *f = fopen(line, "re");
    while (f && kib < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, name, sizeof(name) - 1) == 0 && numbers(line + sizeof(name) - 1, &kib, 1) != 1)
            kib = -1;
    if (f)
        fclose(f);
    if (kib < 0)
        return 0;
    const uint64_t all = (uint64_t)kib << 10;
    return XD_MAX(xd_cgroup_memory(root, &limit, &left) ? XD_MIN(all, left) : all, 1u);
}

uint64_t xd_os_memory_private(pid_t pid)
{
    char      text[256];
    long long v[3]; /* size, resident, shared: pages */
    snprintf(text, sizeof(text), "/proc/%ld/statm", (long)pid);
    FILE      *f = fopen(text, "re");
    const bool told = f && fgets(text, sizeof(text), f) && numbers(text, v, 3) == 3;
    if (f)
        fclose(f);
    return told && v[1] > v[2] ? (uint64_t)(v[1] - v[2]) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

int64_t xd_os_oom_kills(void)
{
    return xd_cgroup_oom_kills("");
}

uint64_t xd_os_children_cpu_us(void)
{
    struct rusage ru;
    if (getrusage(RUSAGE_CHILDREN, &ru) != 0)
        return 0;
    return (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

uint64_t xd_os_runnable_ns(pid_t pid)
{
    char      path[64];
    long long times[2];
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    char  line[256];
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    const bool told =
        fgets(line, sizeof(line), f) && numbers(line, times, 2) == 2; /* that it ran, that it waited */
    fclose(f);
    return told ? (uint64_t)times[0] + (uint64_t)times[1] : 0;
}

uint64_t xd_os_raise_nofile(uint64_t need)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
        return UINT64_MAX;
    uint64_t before = rl.rlim_cur;
    if (before >= need)
        return before;
    rl.rlim_cur = need < rl.rlim_max ? need : rl.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &rl) == 0 ? rl.rlim_cur : before;
}

void xd_os_names(char *host, size_t host_size, char *system, size_t system_size)
{
    struct utsname u;
    if (uname(&u) != 0) {
        snprintf(host, host_size, "unknown");
        snprintf(system, system_size, "Linux");
        return;
    }
    snprintf(host, host_size, "%s", u.nodename);
    snprintf(system, system_size, "%s %s %s", u.sysname, u.release, u.machine);
}

const char *xd_os_signal_name(int sig, char *buf, size_t size)
{
    const char *abbrev = sigabbrev_np(sig);
    if (abbrev)
        snprintf(buf, size, "SIG%s", abbrev);
    else
        snprintf(buf, size, "signal %d", sig);
    return buf;
}

int xd_os_signal_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int xd_os_child_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, it would take the status of children away */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

bool xd_os_is_stopped(pid_t pid, bool before)
{
    siginfo_t si = { 0 };
    while (pid > 1 && waitid(P_PID, (id_t)pid, &si, WSTOPPED | WCONTINUED | WNOHANG) == 0 &&
           si.si_pid == pid) {
        before = si.si_code == CLD_STOPPED;
        si.si_pid = 0;
    }
    return before;
}

int xd_os_signal_take(int fd)
{
    struct signalfd_siginfo si;
    ssize_t                 n = read(fd, &si, sizeof(si));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return n == (ssize_t)sizeof(si) ? (int)si.ssi_signo : 0;
}

int xd_os_die_with_parent(int sig, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0) != 0)
        return -errno;
    if (getppid() != parent)
        (void)raise(sig);
    return 0;
}

void xd_os_name_process(const char *name)
{
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

void xd_os_nudge(int eventfd)
{
    (void)!write(eventfd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

void xd_os_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void xd_os_hush(int eventfd)
{
    uint64_t n;
    (void)!read(eventfd, &n, sizeof(n));
}
