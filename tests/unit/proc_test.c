#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/proc.h"

static xd_error err;

/* Runs argv with its output into `out`; returns the exit status, -1 after a signal. */
static int output_of(const xd_proc_args *given, xd_buf *out)
{
    int pair[2];
    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    xd_proc_args   a = *given;
    xd_proc_fd     fd = { pair[1], 1 };
    xd_proc        p;
    xd_proc_status st;
    if (!a.nfds) {
        a.fds = &fd;
        a.nfds = 1;
    }
    ck_assert_int_eq(xd_proc_spawn(&a, &p, &err), 0);
    close(pair[1]);
    for (;;) {
        ck_assert_int_eq(xd_buf_reserve(out, 4096), 0);
        ssize_t n = read(pair[0], out->data + out->len, 4096);
        ck_assert_int_ge(n, 0);
        if (n == 0)
            break;
        out->len += (size_t)n;
    }
    close(pair[0]);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), 1);
    xd_proc_close(&p);
    ck_assert_int_eq(p.pidfd, -1);
    return st.exit_status;
}

START_TEST(runs)
{
    xd_autobuf        out = XD_BUF_INIT;
    const char *const argv[] = { "sh", "-c", "echo \"$A:$PWD\"; exit 7", NULL }, *const env[] = {
        "PATH=/usr/bin:/bin", "A=b c", NULL
    };
    xd_proc_args a = { .argv = argv, .envp = env, .chdir = "/usr" };
    ck_assert_int_eq(output_of(&a, &out), 7);
    ck_assert_str_eq(xd_buf_cstr(&out), "b c:/usr\n");
}
END_TEST

/* Standard streams not named are /dev/null, other descriptors of this process stay here, also one without
 * close-on-exec. */
START_TEST(only_named_descriptors)
{
    xd_autobuf        out = XD_BUF_INIT;
    int               leak = open("/etc/passwd", O_RDONLY);
    const char *const argv[] = {
        "sh", "-c", "cd /proc/self/fd; for f in 0 2; do readlink $f; done; ls -d [3-9] [1-9][0-9] 2>&-", NULL
    };
    xd_proc_args a = { .argv = argv };
    ck_assert_int_ge(leak, 3);
    (void)output_of(&a, &out);
    close(leak);
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&out), "/dev/null\n/dev/null\n"));
    xd_autofree char *open_at = NULL;
    ck_assert_int_ge(asprintf(&open_at, "\n%d\n", leak), 0);
    ck_assert_ptr_null(strstr(xd_buf_cstr(&out), open_at));
}
END_TEST

/* Numbers that cross: what the child calls 5 is our 4 and the other way round. */
START_TEST(descriptors_that_cross)
{
    char name[2][32];
    int  fd[2];
    for (int i = 0; i < 2; i++) {
        snprintf(name[i], sizeof(name[i]), "/tmp/xd-proc-XXXXXX");
        fd[i] = mkostemp(name[i], O_CLOEXEC);
        ck_assert_int_ge(fd[i], 0);
    }
    const char *script = "printf zero >&$1; printf one >&$2";
    char        number[2][16];
    xd_proc_fd  fds[2] = { { fd[0], fd[1] }, { fd[1], fd[0] } };
    snprintf(number[0], sizeof(number[0]), "%d", fd[1]);
    snprintf(number[1], sizeof(number[1]), "%d", fd[0]);
    const char *const argv[] = { "bash", "-c", script, "x", number[0], number[1], NULL };
    xd_proc           p;
    xd_proc_status    st;
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = argv, .fds = fds, .nfds = 2 }, &p, &err), 0);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), 1);
    xd_proc_close(&p);
    ck_assert_int_eq(st.exit_status, 0);
    for (int i = 0; i < 2; i++) {
        char text[8] = "";
        ck_assert_int_gt(pread(fd[i], text, sizeof(text) - 1, 0), 0);
        ck_assert_str_eq(text, i ? "one" : "zero");
        close(fd[i]);
        unlink(name[i]);
    }
}
END_TEST

START_TEST(cannot_start)
{
    xd_proc                  p;
    const char *const        nowhere[] = { "no-such-program-of-xd", NULL },
                      *const path[] = { "/no/such/program", NULL },
                      *const no_exec[] = { "/etc/passwd", NULL },
                      *const good[] = { "sh", "-c", "exit 0", NULL };
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = nowhere }, &p, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "no-such-program-of-xd"));
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = path }, &p, &err), -ENOENT);
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = no_exec }, &p, &err), -EACCES);
    ck_assert_ptr_nonnull(strstr(err.text, "/etc/passwd"));
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = good, .chdir = "/no/such" }, &p, &err), -ENOTDIR);
    ck_assert_ptr_nonnull(strstr(err.text, "/no/such"));
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = good, .nfds = 65 }, &p, &err), -EINVAL);
}
END_TEST

/* What this program blocked, and what all of ours ignore, is not so in the child; the group dies with one
 * signal; the pidfd tells. */
START_TEST(signals_and_groups)
{
    sigset_t          block;
    xd_proc           p;
    xd_proc_status    st = { 0 };
    const char *const argv[] = { "sh", "-c", "sleep 100 & sleep 100", NULL };
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    ck_assert_int_eq(xd_proc_spawn(&(xd_proc_args){ .argv = argv, .new_group = true }, &p, &err), 0);
    ck_assert_int_eq(getpgid(p.pid), p.pid);
    ck_assert_int_eq(xd_proc_wait(&p, false, &st), 0);
    ck_assert_int_ge(p.pidfd, 0);
    struct pollfd f = { .fd = p.pidfd, .events = POLLIN };
    ck_assert_int_eq(poll(&f, 1, 0), 0);
    ck_assert_int_eq(xd_proc_kill_group(&p, SIGTERM), 0);
    ck_assert_int_eq(poll(&f, 1, 5000), 1);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), 1);
    ck_assert_int_eq(st.exit_status, -1);
    ck_assert_int_eq(st.signal, SIGTERM);
    ck_assert_int_eq(xd_proc_wait(&p, true, &st), -ECHILD);
    ck_assert_int_eq(xd_proc_kill_group(&p, SIGTERM), 0);
    xd_proc_close(&p);
    xd_proc_close(&p);
    ck_assert_int_eq(xd_proc_open(0, false, &p), -EINVAL);
    ck_assert_int_eq(xd_proc_open(1, true, &p), -EINVAL);
    ck_assert_int_eq(xd_proc_open(-5, true, &p), -EINVAL);
    ck_assert_int_eq(xd_proc_wait(&p, false, &st), -ECHILD);
}
END_TEST

/* As below a parent like nohup's: what was ignored before us stays so, what we ignore does not. */
START_TEST(ignored_signals)
{
    xd_autobuf        out = XD_BUF_INIT;
    const char *const argv[] = { "sed", "-n", "s/SigIgn:\t*//p;s/SigBlk:\t*//p", "/proc/self/status", NULL };
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(output_of(&(xd_proc_args){ .argv = argv }, &out), 0);
    ck_assert_str_eq(xd_buf_cstr(&out), "0000000000000000\n0000000000000201\n");
}
END_TEST

/* A shell that leaves `sleep` in its group and has ended; *left is the sleep, watched. */
static void leader_that_left_one(xd_proc *leader, xd_proc *left)
{
    int               pair[2];
    char              text[32] = "";
    const char *const argv[] = { "sh", "-c", "sleep 100 >/dev/null & echo $!", NULL };
    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    xd_proc_fd   fd = { pair[1], 1 };
    xd_proc_args a = { .argv = argv, .fds = &fd, .nfds = 1, .new_group = true };
    ck_assert_int_eq(xd_proc_spawn(&a, leader, &err), 0);
    close(pair[1]);
    ck_assert_int_gt(read(pair[0], text, sizeof(text) - 1), 0);
    close(pair[0]);
    ck_assert_int_eq(xd_proc_open((pid_t)strtol(text, NULL, 10), false, left), 0);
    ck_assert_int_eq(poll(&(struct pollfd){ .fd = leader->pidfd, .events = POLLIN }, 1, 5000), 1);
}

static int ended(const xd_proc *p, int ms)
{
    return poll(&(struct pollfd){ .fd = p->pidfd, .events = POLLIN }, 1, ms);
}

/* As long as nobody has waited for it, an ended leader's group can be reached; from then on its number says
 * nothing, whoever waited. */
START_TEST(no_signal_to_what_was_waited_for)
{
    xd_proc        leader, left;
    xd_proc_status st = { 0 };
    leader_that_left_one(&leader, &left);
    ck_assert_int_eq(xd_proc_kill_group(&leader, SIGKILL), 0);
    ck_assert_int_eq(ended(&left, 5000), 1);
    ck_assert_int_eq(xd_proc_wait(&leader, false, &st), 1);
    ck_assert_int_eq(leader.pid, 0);
    xd_proc_close(&leader);
    xd_proc_close(&left);

    leader_that_left_one(&leader, &left);
    ck_assert_int_eq(xd_proc_wait(&leader, false, &st), 1);
    ck_assert_int_eq(xd_proc_kill_group(&leader, SIGKILL), 0);
    ck_assert_int_eq(xd_proc_kill(&leader, SIGKILL), 0);
    ck_assert_int_eq(ended(&left, 200), 0);
    ck_assert_int_eq(xd_proc_kill(&left, SIGKILL), 0);
    xd_proc_close(&leader);
    xd_proc_close(&left);

    leader_that_left_one(&leader, &left);
    pid_t pid = leader.pid;
    ck_assert_int_eq(xd_proc_hand_over(&leader), pid);
    ck_assert_int_eq(xd_proc_kill_group(&leader, SIGKILL), 0);
    ck_assert_int_eq(ended(&left, 200), 0);
    ck_assert_int_eq(xd_proc_wait(&leader, false, &st), 1); /* the one it was handed to did not come to it */
    ck_assert_int_eq(st.exit_status, 0);
    ck_assert_int_eq(xd_proc_kill(&left, SIGKILL), 0);
    xd_proc_close(&leader);
    xd_proc_close(&left);

    leader_that_left_one(&leader, &left); /* waited for behind our back */
    pid = leader.pid;
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(xd_proc_kill_group(&leader, SIGKILL), 0);
    ck_assert_int_eq(ended(&left, 200), 0);
    ck_assert_int_eq(xd_proc_kill(&left, SIGKILL), 0);
    xd_proc_close(&leader);
    xd_proc_close(&left);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("proc");
    TCase *c = tcase_create("proc");
    tcase_set_timeout(c, 20);
    tcase_add_test(c, runs);
    tcase_add_test(c, only_named_descriptors);
    tcase_add_test(c, descriptors_that_cross);
    tcase_add_test(c, cannot_start);
    tcase_add_test(c, signals_and_groups);
    tcase_add_test(c, ignored_signals);
    tcase_add_test(c, no_signal_to_what_was_waited_for);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
