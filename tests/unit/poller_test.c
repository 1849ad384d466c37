#include <check.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/poller.h"

typedef struct seen {
    xd_poller *poller;
    int        calls, last_fd, remove_fd;
    uint32_t   events;
} seen;

static xd_poller *p;
static seen       s;
static int        a[2], b[2];

static void setup(void)
{
    ck_assert_int_eq(xd_poller_new(&p), 0);
    s = (seen){ .poller = p, .remove_fd = -1 };
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
}

static void teardown(void)
{
    p = xd_poller_free(p);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void note(void *arg, int fd, uint32_t events)
{
    seen *n = arg;
    n->calls++;
    n->last_fd = fd;
    n->events = events;
    if (n->remove_fd >= 0)
        ck_assert_int_eq(xd_poller_remove(n->poller, n->remove_fd == fd ? fd : n->remove_fd), 0);
}

static void touch(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

START_TEST(tells_what_is_ready)
{
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    ck_assert_int_eq(xd_poller_wait(p, 0), 0);
    touch(a[1]);
    ck_assert_int_eq(xd_poller_wait(p, UINT64_MAX), 1);
    ck_assert_int_eq(s.last_fd, a[0]);
    ck_assert_uint_eq(s.events, XD_POLL_IN);
    /* Level triggered: told again, now also that it can be written. */
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN | XD_POLL_OUT, note, &s), 0);
    ck_assert_int_eq(xd_poller_wait(p, 0), 1);
    ck_assert_uint_eq(s.events, XD_POLL_IN | XD_POLL_OUT);
}
END_TEST

START_TEST(deadline)
{
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    uint64_t start = xd_clock_ns();
    ck_assert_int_eq(xd_poller_wait(p, start + 30 * XD_MS_NS), 0);
    uint64_t took = xd_clock_ns() - start;
    ck_assert_uint_ge(took, 30 * XD_MS_NS);
    ck_assert_uint_lt(took, 10 * XD_S_NS);
    ck_assert_int_eq(xd_poller_wait(p, start), 0);
}
END_TEST

START_TEST(silent)
{
    ck_assert_int_eq(xd_poller_set(p, a[0], 0, note, &s), 0);
    touch(a[1]);
    ck_assert_int_eq(xd_poller_wait(p, 0), 0);
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    ck_assert_int_eq(xd_poller_wait(p, 0), 1);
    ck_assert_int_eq(xd_poller_set(p, a[0], 0, note, &s), 0);
    shutdown(a[1], SHUT_RDWR);
    ck_assert_int_eq(xd_poller_wait(p, 0), 0); /* nor a hang-up, which epoll would tell for ever */
    ck_assert_int_eq(xd_poller_set(p, a[0], 0, note, &s), 0);
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    ck_assert_int_eq(xd_poller_wait(p, 0), 1);
    ck_assert(s.events & XD_POLL_HUP);
}
END_TEST

START_TEST(removed_in_a_callback)
{
    /* Both are ready; the first callback removes the other, which is not called any more. */
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    ck_assert_int_eq(xd_poller_set(p, b[0], XD_POLL_IN, note, &s), 0);
    touch(a[1]);
    touch(b[1]);
    ck_assert_int_eq(xd_poller_wait(p, 0), 2);
    s.calls = 0;
    s.remove_fd = s.last_fd;
    ck_assert_int_eq(xd_poller_wait(p, 0), 1);
    ck_assert_int_eq(s.calls, 1);
}
END_TEST

START_TEST(remove_and_reuse_of_a_number)
{
    ck_assert_int_eq(xd_poller_remove(p, a[0]), -ENOENT);
    ck_assert_int_eq(xd_poller_remove(p, -1), -ENOENT);
    ck_assert_int_eq(xd_poller_remove(p, 100000), -ENOENT);
    ck_assert_int_eq(xd_poller_set(p, -1, XD_POLL_IN, note, &s), -EBADF);
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    ck_assert_int_eq(xd_poller_remove(p, a[0]), 0);
    ck_assert_int_eq(dup2(b[0], a[0]), a[0]);
    ck_assert_int_eq(xd_poller_set(p, a[0], XD_POLL_IN, note, &s), 0);
    touch(b[1]);
    ck_assert_int_eq(xd_poller_wait(p, 0), 1);
    ck_assert_int_eq(s.last_fd, a[0]);
}
END_TEST

START_TEST(cannot_be_watched)
{
    ck_assert_int_eq(close(b[1]), 0);
    int closed = b[1];
    ck_assert_int_eq(xd_poller_set(p, closed, XD_POLL_IN, note, &s), -EBADF);
    b[1] = dup(a[0]); /* the same number, now good: nothing of the failure is remembered */
    ck_assert_int_eq(b[1], closed);
    touch(a[1]);
    ck_assert_int_eq(xd_poller_set(p, closed, XD_POLL_IN, note, &s), 0);
    ck_assert_int_eq(xd_poller_wait(p, 0), 1);
}
END_TEST

static void on_alarm(int sig)
{
    (void)sig;
}

START_TEST(signals_do_not_end_the_wait)
{
    struct sigaction act = { .sa_handler = on_alarm };
    struct itimerval often = { .it_interval.tv_usec = 5000, .it_value.tv_usec = 5000 }, off = { 0 };
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    uint64_t start = xd_clock_ns();
    ck_assert_int_eq(xd_poller_wait(p, start + 60 * XD_MS_NS), 0);
    setitimer(ITIMER_REAL, &off, NULL);
    ck_assert_uint_ge(xd_clock_ns() - start, 60 * XD_MS_NS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poller");
    TCase *c = tcase_create("poller");
    tcase_set_timeout(c, 20);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, tells_what_is_ready);
    tcase_add_test(c, deadline);
    tcase_add_test(c, silent);
    tcase_add_test(c, removed_in_a_callback);
    tcase_add_test(c, remove_and_reuse_of_a_number);
    tcase_add_test(c, cannot_be_watched);
    tcase_add_test(c, signals_do_not_end_the_wait);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
