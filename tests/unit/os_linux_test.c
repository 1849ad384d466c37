#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/proc.h"

static bool close_on_exec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static bool nonblocking(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

START_TEST(pairs_and_pipes)
{
    int p[2];
    ck_assert_int_eq(xd_os_socketpair(p, true), 0);
    ck_assert(close_on_exec(p[0]) && close_on_exec(p[1]) && nonblocking(p[0]) && !nonblocking(p[1]));
    ck_assert_int_eq(xd_os_nonblock(p[0], false), 0);
    ck_assert(!nonblocking(p[0]));
    close(p[0]);
    close(p[1]);
    for (int ours = 0; ours < 2; ours++) {
        ck_assert_int_eq(xd_os_pipe(p, ours, 65536), 0);
        ck_assert(close_on_exec(p[0]) && close_on_exec(p[1]) && nonblocking(p[ours]) &&
                  !nonblocking(p[!ours]));
        close(p[0]);
        close(p[1]);
    }
    ck_assert_int_eq(xd_os_nonblock(p[0], true), -EBADF);
}
END_TEST

/* Descriptors travel with the first byte, become close-on-exec, and none is leaked when there is no room. */
START_TEST(descriptors_travel)
{
    int    s[2], p[2], got[2] = { -1, -1 };
    char   text[8] = "";
    size_t n = 2;
    ck_assert_int_eq(xd_os_socketpair(s, true), 0);
    ck_assert_int_eq(xd_os_pipe(p, 0, 0), 0);
    ck_assert_int_eq(xd_os_send_fds(s[0], "ab", 2, (int[]){ p[0], p[1] }, 2), 2);
    ck_assert_int_eq(xd_os_recv_fds(s[1], text, sizeof(text), got, &n), 2);
    ck_assert_uint_eq(n, 2);
    ck_assert_mem_eq(text, "ab", 2);
    ck_assert(close_on_exec(got[0]) && close_on_exec(got[1]));
    ck_assert_int_eq(write(got[1], "x", 1), 1);
    ck_assert_int_eq(read(p[0], text, 1), 1);
    close(got[0]);
    close(got[1]);
    int free_before = dup(0);
    close(free_before);
    n = 1;
    ck_assert_int_eq(xd_os_send_fds(s[0], "c", 1, (int[]){ p[0], p[1] }, 2), 1);
    ck_assert_int_eq(xd_os_recv_fds(s[1], text, sizeof(text), got, &n), 1);
    ck_assert_uint_eq(n, 1);
    close(got[0]);
    int free_after = dup(0);
    close(free_after);
    ck_assert_int_eq(free_after, free_before);
    ck_assert_int_eq(xd_os_send_fds(s[0], "d", 1, (int[9]){ 0 }, 9), -EINVAL);
    close(s[1]);
    ck_assert_int_eq(xd_os_send_fds(s[0], "e", 1, NULL, 0), -EPIPE); /* and no SIGPIPE */
    close(s[0]);
    close(p[0]);
    close(p[1]);
}
END_TEST

START_TEST(a_full_socket_says_so)
{
    int     s[2];
    char    block[4096] = "";
    ssize_t n;
    ck_assert_int_eq(xd_os_socketpair(s, true), 0);
    while ((n = xd_os_send_fds(s[0], block, sizeof(block), NULL, 0)) > 0)
        ;
    ck_assert_int_eq(n, -EAGAIN);
    close(s[0]);
    close(s[1]);
}
END_TEST

/* A daemon (its parent has ended) comes to the process that adopts orphans, is found there and can be waited
 * for. */
START_TEST(orphans_are_adopted)
{
    pid_t      pids[8];
    xd_proc    p;
    xd_error   err;
    xd_proc_fd none = { 0, 0 };
    ck_assert_int_eq(xd_os_adopt_orphans(), 0);
    ck_assert_int_eq(xd_os_children(getpid(), pids, 8), 0);
    ck_assert_int_eq(xd_os_reap_any(), -ECHILD);
    const char *const argv[] = { "sh", "-c", "sleep 1000 & exit 0", NULL };
    xd_proc_args      a = { .argv = argv, .fds = &none };
    xd_proc_status    st;
    ck_assert_int_eq(xd_proc_spawn(&a, &p, &err), 0);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), 1);
    xd_proc_close(&p);
    ck_assert_int_eq(xd_os_children(getpid(), pids, 8), 1);
    ck_assert_int_eq(xd_os_children(getpid(), NULL, 0), 1);
    ck_assert_int_eq(xd_os_reap_any(), 0); /* it still runs */
    ck_assert_int_eq(xd_proc_open(pids[0], false, &p), 0);
    ck_assert_int_eq(xd_proc_kill(&p, SIGKILL), 0);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), 1);
    xd_proc_close(&p);
    ck_assert_int_eq(st.signal, SIGKILL);
    ck_assert_int_eq(xd_os_reap_any(), -ECHILD);
}
END_TEST

static pid_t start(const char *script, xd_proc *ret)
{
    xd_error          err;
    const char *const argv[] = { "sh", "-c", script, NULL };
    xd_proc_args      a = { .argv = argv };
    ck_assert_int_eq(xd_proc_spawn(&a, ret, &err), 0);
    return ret->pid;
}

static bool is_that(const void *arg, pid_t pid)
{
    return *(const pid_t *)arg == pid;
}

/* Of two that have ended the kernel shows one, and the other only once that has been waited for. */
START_TEST(one_that_is_known_hides_none)
{
    for (int known_first = 0; known_first < 2; known_first++) {
        xd_proc        known, other, runs;
        xd_proc_status st;
        pid_t          left[4];
        if (known_first)
            start("exit 7", &known);
        start("exit 8", &other);
        if (!known_first)
            start("exit 7", &known);
        start("sleep 1000", &runs);
        pid_t         pid = known.pid;
        struct pollfd ended[] = { { .fd = known.pidfd, .events = POLLIN },
                                  { .fd = other.pidfd, .events = POLLIN } };
        ck_assert_int_eq(poll(&ended[0], 1, 10000), 1);
        ck_assert_int_eq(poll(&ended[1], 1, 10000), 1);
        xd_os_reap_unknown(is_that, &pid);
        ck_assert_int_eq(xd_os_children(getpid(), left, 4), 2);
        ck_assert_int_eq(xd_proc_wait(&other, false, &st), -ECHILD);
        ck_assert_int_eq(xd_proc_wait(&known, false, &st), 1);
        ck_assert_int_eq(st.exit_status, 7);
        xd_os_reap_unknown(is_that, &pid); /* nothing left but one that runs */
        ck_assert_int_eq(xd_proc_kill(&runs, SIGKILL), 0);
        ck_assert_int_eq(xd_proc_wait(&runs, true, &st), 1);
        xd_os_reap_unknown(is_that, &pid); /* no child at all */
        xd_proc_close(&known);
        xd_proc_close(&other);
        xd_proc_close(&runs);
    }
}
END_TEST

START_TEST(the_end_of_a_child_is_heard)
{
    xd_proc        p;
    xd_proc_status st;
    (void)signal(SIGCHLD, SIG_IGN);
    int fd = xd_os_child_fd();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(xd_os_signal_take(fd), 0);
    start("exit 9", &p);
    ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000), 1);
    ck_assert_int_eq(xd_os_signal_take(fd), SIGCHLD);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), 1);
    ck_assert_int_eq(st.exit_status, 9);
    xd_proc_close(&p);
    close(fd);
}
END_TEST

START_TEST(the_machine)
{
    char     host[256], system[512];
    uint32_t cpus = xd_os_cpus();
    uint64_t memory = xd_os_memory_bytes();
    ck_assert_uint_ge(cpus, 1);
    ck_assert_int_le((long)cpus, sysconf(_SC_NPROCESSORS_CONF));
    ck_assert_uint_gt(memory, 16u << 20);
    ck_assert_uint_le(memory, (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    ck_assert_int_ge(xd_os_oom_kills(), -1);
    xd_os_names(host, sizeof(host), system, sizeof(system));
    ck_assert(*host && strncmp(system, "Linux ", 6) == 0);
    char tiny[4];
    xd_os_names(tiny, sizeof(tiny), tiny, sizeof(tiny));
    ck_assert_uint_lt(strlen(tiny), sizeof(tiny));
}
END_TEST

/* A connection over loopback: [0] has connected. */
static void connection(int ret[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof(at);
    int                door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(door, (struct sockaddr *)&at, size), 0);
    ck_assert_int_eq(listen(door, 1), 0);
    ck_assert_int_eq(getsockname(door, (struct sockaddr *)&at, &size), 0);
    ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(ret[0], (struct sockaddr *)&at, size), 0);
    ret[1] = accept(door, NULL, NULL);
    ck_assert_int_ge(ret[1], 0);
    close(door);
}

/* More than the other end's system takes while nobody reads there, so that the rest is not sent yet. */
static size_t fill(int fd)
{
    static const char bytes[65536];
    size_t            all = 0;
    for (ssize_t n; (n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;)
        all += (size_t)n;
    ck_assert_int_eq(errno, EAGAIN);
    int unsent = 0;
    ck_assert_int_eq(ioctl(fd, SIOCOUTQNSD, &unsent), 0);
    ck_assert_int_gt(unsent, 0);
    return all;
}

START_TEST(last_words_get_there)
{
    char   bytes[65536];
    int    p[2];
    size_t got = 0;
    connection(p);
    ck_assert_int_eq(send(p[1], "unread", 6, 0), 6);
    ck_assert_int_eq(poll(&(struct pollfd){ .fd = p[0], .events = POLLIN }, 1, 10000), 1);
    const size_t all = fill(p[0]);
    ck_assert_int_eq(xd_os_hear_no_more(p[0]), 0);
    ck_assert_int_eq(send(p[1], "in between", 10, 0), 10);
    ck_assert_int_eq(recv(p[0], bytes, sizeof(bytes), MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
    close(p[0]);
    ck_assert_int_eq(send(p[1], "late", 4, MSG_NOSIGNAL), 4);
    ssize_t n;
    while ((n = recv(p[1], bytes, sizeof(bytes), 0)) > 0) {
        got += (size_t)n;
        ck_assert_int_eq(send(p[1], "again", 5, MSG_NOSIGNAL), 5);
    }
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(got, all);
    close(p[1]);
    ck_assert_int_eq(xd_os_socketpair(p, true), 0);
    ck_assert_int_eq(xd_os_hear_no_more(p[0]), -EAFNOSUPPORT);
    close(p[0]);
    close(p[1]);
    ck_assert_int_eq(xd_os_hear_no_more(-1), -EBADF);
}
END_TEST

START_TEST(limit_of_open_files)
{
    struct rlimit was, now;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    struct rlimit low = { .rlim_cur = 64, .rlim_max = was.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    (void)xd_os_raise_nofile(32); /* enough already */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    ck_assert_uint_eq(now.rlim_cur, 64);
    ck_assert_uint_eq(xd_os_raise_nofile(100), 100);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    ck_assert_uint_eq(now.rlim_cur, 100);
    (void)xd_os_raise_nofile(UINT64_MAX - 1); /* as far as it goes */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    ck_assert_uint_eq(now.rlim_cur, now.rlim_max);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
}
END_TEST

START_TEST(signals)
{
    char buf[32];
    ck_assert_str_eq(xd_os_signal_name(SIGSEGV, buf, sizeof(buf)), "SIGSEGV");
    ck_assert_str_eq(xd_os_signal_name(250, buf, sizeof(buf)), "signal 250");
    int fd = xd_os_signal_fd();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(xd_os_signal_take(fd), 0);
    ck_assert_int_eq(kill(getpid(), SIGHUP), 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    ck_assert_int_eq(xd_os_signal_take(fd), SIGHUP);
    ck_assert_int_eq(xd_os_signal_take(fd), 0);
    close(fd);
    ck_assert_int_eq(xd_os_signal_take(fd), -EBADF);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("os_linux");
    TCase *t = tcase_create("os_linux");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, pairs_and_pipes);
    tcase_add_test(t, descriptors_travel);
    tcase_add_test(t, a_full_socket_says_so);
    tcase_add_test(t, orphans_are_adopted);
    tcase_add_test(t, one_that_is_known_hides_none);
    tcase_add_test(t, the_end_of_a_child_is_heard);
    tcase_add_test(t, the_machine);
    tcase_add_test(t, last_words_get_there);
    tcase_add_test(t, limit_of_open_files);
    tcase_add_test(t, signals);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
