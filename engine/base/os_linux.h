/* engine/base/os_linux.h - what the agent asks of the operating system beyond proc.h, poller.h and page.h:
 * descriptors sent over a socket, orphans adopted and found, limits of the machine as seen from inside a
 * container. One implementation per system; this one is Linux.
 * Every function may be called from any thread; none keeps state. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/error.h"

/* Orphans below this process become its children (PR_SET_CHILD_SUBREAPER), so that none gets away. -errno
 * where it cannot be. */
int xd_os_adopt_orphans(void) XD_MUST;

/* Stream socket pair (AF_UNIX), close-on-exec; ret[0] non-blocking when `nonblock`. */
int xd_os_socketpair(int ret[2], bool nonblock) XD_MUST;
/* Pipe, close-on-exec; the agent's end (`ours`: 0 the reading, 1 the writing one) is non-blocking.
 * capacity_bytes: wished size, 0 = as it is. */
int xd_os_pipe(int ret[2], int ours, int capacity_bytes) XD_MUST;
int xd_os_nonblock(int fd, bool on) XD_MUST;
/* One read or write of what a descriptor has or takes now: bytes, 0 = end of file (reading), -EAGAIN, -errno (a closed
 * peer is -EPIPE; on a socket without SIGPIPE).  The descriptor is non-blocking; writing, a socket need not be. */
ssize_t xd_os_read_some(int fd, void *to, size_t room) XD_MUST;
ssize_t xd_os_write_some(int fd, const void *from, size_t len) XD_MUST;
/* To be called just before a TCP connection is closed whose peer may still write, and shall read all that was written to
 * it: a system answers what comes after the close, or lies there unread, with a reset, and drops what it has not sent of the
 * bytes before, or has sent in vain. From here on nothing that comes is taken (socket(7), SO_ATTACH_FILTER: each segment is
 * cut behind its header, so that what it acknowledges counts), and what lies there is dropped. -errno; -EAFNOSUPPORT: it is
 * no such connection. */
int xd_os_hear_no_more(int fd);

/* An eventfd, non-blocking, becomes readable; is so no longer. */
void xd_os_nudge(int eventfd);
void xd_os_hush(int eventfd);
/* Closes it, if it is one, and makes it -1. */
void xd_os_close(int *fd);

/* All bytes at this place of a file, wherever its own position is. 0; -EIO: the file ends before; -errno. */
int xd_os_read_at(int fd, void *to, size_t len, uint64_t at) XD_MUST;
int xd_os_write_at(int fd, const void *from, size_t len, uint64_t at) XD_MUST;

/* Sends bytes with up to 8 descriptors in one message. Returns the number of bytes taken (>= 1: the
 * descriptors are on their way), -EAGAIN, -errno. */
ssize_t xd_os_send_fds(int sock, const void *data, size_t len, const int *fds, size_t nfds) XD_MUST;
/* Receives bytes and at most *nfds descriptors (close-on-exec, the caller's); *nfds is set to how many came.
 * 0 = end of file. */
ssize_t xd_os_recv_fds(int sock, void *data, size_t len, int *fds, size_t *nfds) XD_MUST;

/* Processes whose parent is `parent` now, also ended ones that nobody waited for. Fills at most max; returns
 * how many there are, -errno. */
int xd_os_children(pid_t parent, pid_t *ret, size_t max) XD_MUST;
/* A child of this process that has the other end of the pipe `fd` open: its pid; 0 = none has; -errno. */
pid_t xd_os_child_with_pipe(int fd);
/* Waits for any child that has ended, without blocking: its pid, 0 = none has, -ECHILD = no children. */
pid_t xd_os_reap_any(void);
/* Waits for every child that has ended, except those that `known` says somebody else here will wait for.  Never
 * blocks. */
typedef bool (*xd_os_known_fn)(const void *arg, pid_t pid);
void xd_os_reap_unknown(xd_os_known_fn known, const void *arg);
/* Kills every child of this process, except those that `known` says are somebody's. Their own children become children of this
 * process then (xd_os_adopt_orphans), with a SIGCHLD. Never blocks. */
void xd_os_kill_unknown(xd_os_known_fn known, const void *arg);

/* Kills all children of this process, and those that become its children meanwhile (orphans, see
 * xd_os_adopt_orphans), and waits for them; at most so long. */
void xd_os_kill_children(uint64_t most_ns);

/* Processors this process may use: affinity mask and cgroup quota (v1, v2), at least 1. */
uint32_t xd_os_cpus(void);
/* Has this processor instructions for AES? (x86-64, aarch64; elsewhere false.) */
bool xd_os_has_aes(void);
/* Physical memory, or a cgroup's limit when that is lower. */
uint64_t xd_os_memory_bytes(void);
/* Memory that new programs can have without swapping (proc(5), MemAvailable), or what a cgroup's limit leaves when that is
 * less, bytes; 0 = not known: where there is none at all it is 1. root: in front of each path, as in cgroup.h. */
uint64_t xd_os_memory_free(const char *root);
/* Memory of a process that it does not share with files or by shared memory (proc(5), statm), bytes; 0 = not known. */
uint64_t xd_os_memory_private(pid_t pid);
/* How often the kernel killed for lack of memory in the cgroup of this process; -1 = cannot be read. */
int64_t xd_os_oom_kills(void);
/* CPU time of all processes that were waited for below this one, microseconds. */
uint64_t xd_os_children_cpu_us(void);
/* How long the main thread of a process has run or waited for a processor so far (proc(5), schedstat), nanoseconds;
 * 0 = there is no such process, or the kernel does not count it. */
uint64_t xd_os_runnable_ns(pid_t pid);
/* Raises the soft limit of open files, as far as the hard one allows, when it is below `need`; returns what it is then.
 * Children started later inherit it. */
uint64_t xd_os_raise_nofile(uint64_t need);
/* Host name and "system release machine" (uname). */
void xd_os_names(char *host, size_t host_size, char *system, size_t system_size);
/* Name of a signal ("SIGSEGV"); "signal N" is written to buf for one without a name. */
const char *xd_os_signal_name(int sig, char *buf, size_t size);

/* Blocks SIGTERM, SIGINT and SIGHUP in this thread and returns a descriptor that is readable when one has
 * come; ignores SIGPIPE and SIGXFSZ (a write beyond the limit then fails with EFBIG). For main() of a program, never for the library. */
int xd_os_signal_fd(void) XD_MUST;
/* Blocks SIGCHLD in this thread and returns a descriptor that is readable when a child has ended, also one that ended
 * before it was adopted.  For main() of a program. */
int xd_os_child_fd(void) XD_MUST;
/* Is this child stopped by a signal? `before`: was it when this was last asked. */
bool xd_os_is_stopped(pid_t pid, bool before);
/* Takes one signal from such a descriptor without blocking: its number, 0 = none waits. */
int xd_os_signal_take(int fd) XD_MUST;

/* The name that ps -o comm and top show for this process. */
void xd_os_name_process(const char *name);
/* This process gets `sig` when the thread that started it ends; at once when that is no longer `parent`. */
int xd_os_die_with_parent(int sig, pid_t parent) XD_MUST;
