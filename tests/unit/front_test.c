/* needs: engine */
/* front_test.c - strangers at the door, over loopback: who gets in, who has to go, and that bytes are passed on as they are. A plain listener stands
 * in the place of ZeroMQ. */
#include "engine/front.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "tests/unit/often.h"

#define KEY_LINE "xdk1 Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID host\n"
#define PATIENCE (30 * XD_S_NS) /* for what must come; no test waits so long unless it fails */

static xd_error      err;
static xd_poller    *poller;
static xd_front     *front;
static xd_front_args args;
static int           inner, port; /* a listener in the place of ZeroMQ; the port of the front */
static uint32_t      gone[256];
static size_t        n_gone;

static void on_gone(void *arg, uint32_t number)
{
    ck_assert_ptr_eq(arg, &args);
    ck_assert_uint_lt(n_gone, XD_ARRAY_LEN(gone));
    gone[n_gone++] = number;
}

/* So that little is on the way where nobody reads; in segments that are much smaller still, else each side waits 200 ms for the other's window. */
static void small_buffers(int fd)
{
    const int size = 65536, segment = 1400;
    ck_assert(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
}

static int listener(uint16_t *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof(at);
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    small_buffers(fd);
    ck_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 64) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void open_at(const char *bind_to, xd_front_limits limits)
{
    const char *const bound[] = { bind_to };
    uint16_t          inner_port;
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(xd_poller_new(&poller), 0);
    inner = listener(&inner_port);
    args = (xd_front_args){ .poller = poller,
                            .bind = bound,
                            .n_bind = 1,
                            .inner_port = inner_port,
                            .key_line = KEY_LINE,
                            .limits = limits,
                            .gone = on_gone,
                            .arg = &args };
    n_gone = 0;
    ck_assert_msg(xd_front_new(&front, &args, &err) == 0, "%s", err.text);
    ck_assert_ptr_null(xd_front_bound(front, 1));
    const char *name = xd_front_bound(front, 0);
    port = (int)strtoul(strrchr(name, ':') + 1, NULL, 10);
}

static void opened(xd_front_limits limits)
{
    open_at("127.0.0.1:0", limits);
}

static void shut(void)
{
    front = xd_front_free(front);
    poller = xd_poller_free(poller);
    close(inner);
}

/* One turn of the loop of its user; without waiting. */
static int turn(void)
{
    int n = xd_poller_wait(poller, 0);
    often_assert(n >= 0);
    if (xd_clock_ns() >= xd_front_next(front))
        xd_front_care(front, xd_clock_ns());
    return n;
}

/* Some turns: at least one, and a millisecond's rest when nothing happens. */
static void turns(uint64_t end_ns, const char *for_what)
{
    often_assert_msg(xd_clock_ns() < end_ns, "in vain: %s", for_what);
    if (turn() == 0)
        often_assert(xd_poller_wait(poller, xd_clock_ns() + XD_MS_NS) >= 0);
}

/* Turns until it is so. */
#define until(expr)                                                   \
    do {                                                              \
        for (const uint64_t end = xd_clock_ns() + PATIENCE; !(expr);) \
            turns(end, #expr);                                        \
    } while (0)

/* ---- peers ------------------------------------------------------------------------------------------------- */

/* At 127.0.0.`last` (0 = as the system has it). */
static int dialed(unsigned last)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
                       from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + last) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    small_buffers(fd);
    if (last)
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(xd_os_nonblock(fd, true), 0);
    return fd;
}

static void say(int fd, const void *data, size_t len)
{
    ck_assert_int_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* What it hears up to the end, as text; "" also of a connection that was reset. */
static const char *heard(int fd)
{
    static char text[4096];
    size_t      len = 0;
    ssize_t     n = -EAGAIN;
    until((n = xd_os_read_some(fd, text + len, sizeof(text) - 1 - len)) != -EAGAIN &&
          (n <= 0 || (len += (size_t)n, false)));
    text[len] = 0;
    return text;
}

static bool is_closed(int fd)
{
    char    byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

typedef struct peer {
    int      fd, in; /* what ZeroMQ would have */
    uint32_t number;
} peer;

/* One that has begun to speak ZMTP, and is not proven. */
static peer met(unsigned last)
{
    peer               p = { .fd = dialed(last) };
    struct sockaddr_in from;
    socklen_t          size = sizeof(from);
    char               text[INET_ADDRSTRLEN], byte;
    say(p.fd, "\xff", 1);
    until((p.in = accept4(inner, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    ck_assert_ptr_nonnull(inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text)));
    p.number = xd_front_find(front, text);
    ck_assert_uint_gt(p.number, 0);
    until(recv(p.in, &byte, 1, 0) == 1);
    ck_assert_int_eq((uint8_t)byte, 0xff);
    return p;
}

static void leave(peer *p)
{
    close(p->fd);
    close(p->in);
}

/* ---- what it is asked ---------------------------------------------------------------------------------------- */

START_TEST(question)
{
    static const char *const pieces[][3] = { { "xdkey\n" }, { "x", "dkey\n" }, { "xdk", "ey", "\n" } };
    opened((xd_front_limits){ 0 });
    for (size_t i = 0; i < XD_ARRAY_LEN(pieces); i++) {
        int fd = dialed(0);
        for (size_t k = 0; k < 3 && pieces[i][k]; k++) {
            say(fd, pieces[i][k], strlen(pieces[i][k]));
            while (turn() > 0) {
            }
        }
        ck_assert_str_eq(heard(fd), KEY_LINE);
        close(fd);
        ck_assert_uint_eq(xd_front_count(front).asked, i + 1);
    }
    /* One who ends his side with the question, as nc -N does. */
    int fd = dialed(0);
    say(fd, "xdkey\n", 6);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    ck_assert_str_eq(heard(fd), KEY_LINE);
    close(fd);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(n_gone, 4);
    ck_assert_uint_eq(xd_front_count(front).refused, 0);
    shut();
}
END_TEST

START_TEST(garbage)
{
    static const char *const table[] = { "GET / HTTP/1.0\r\n\r\n",
                                         "\n",
                                         "xdkex\n",
                                         "xdkey\r\n",
                                         "xdkey\nx",
                                         "xdkeyxdkey",
                                         "XDKEY\n",
                                         "xdk\xff",
                                         "\x7f",
                                         "x\xff" };
    opened((xd_front_limits){ 0 });
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        int fd = dialed(0);
        say(fd, table[i], strlen(table[i]));
        ck_assert_str_eq(heard(fd), "");
        close(fd);
        ck_assert_uint_eq(xd_front_count(front).refused, i + 1);
    }
    ck_assert_uint_eq(xd_front_count(front).now, 0);
    ck_assert_uint_eq(xd_front_count(front).unproven, 0);
    ck_assert_int_lt(accept(inner, NULL, NULL), 0); /* ZeroMQ has seen nobody */
    shut();
}
END_TEST

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

#define LARGE (6u << 20)
static uint8_t large[LARGE], got[LARGE + 1];

static void fill(uint32_t salt)
{
    for (uint32_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)((i * 2654435761u + salt) >> 21);
}

/* How many more bytes of `large` up to `size` the descriptor takes now. */
static size_t put(int fd, size_t at, size_t size)
{
    ssize_t n = at < size ? xd_os_write_some(fd, large + at, size - at) : 0;
    return n > 0 ? (size_t)n : 0;
}

/* How many more bytes, of which `at` are there, `got` gets now. *ret_end (may be NULL): 0 = the end, -errno. */
static size_t take(int fd, size_t at, ssize_t *ret_end)
{
    ssize_t n = xd_os_read_some(fd, got + at, sizeof(got) - at);
    if (ret_end)
        *ret_end = n;
    return n > 0 ? (size_t)n : 0;
}

/* Until all on the way is full. */
static size_t put_without_reader(int fd, size_t size)
{
    size_t sent = 0;
    for (int idle = 0; idle < 20; idle++) {
        const size_t n = put(fd, sent, size);
        sent += n;
        idle = n ? 0 : idle;
        (void)turn();
    }
    return sent;
}

/* All of `large`, from one to the other; the reader begins when the writer can write no more. */
static void passes(int from, int to)
{
    size_t sent = put_without_reader(from, LARGE), read = 0;
    for (int idle = 0; turn() > 0; idle++) /* it waits for the reader without turning */
        ck_assert_int_lt(idle, 1000);
    ck_assert_uint_lt(sent, LARGE);
    until((sent += put(from, sent, LARGE), read += take(to, read, NULL), read >= LARGE));
    ck_assert_uint_eq(read, LARGE);
    ck_assert_int_eq(memcmp(large, got, LARGE), 0);
}

START_TEST(both_ways)
{
    opened((xd_front_limits){ 0 });
    peer p = met(0);
    ck_assert_str_eq(xd_front_address(front, p.number), "127.0.0.1");
    ck_assert(xd_front_prove(front, p.number));
    fill(1);
    passes(p.fd, p.in);
    fill(2);
    passes(p.in, p.fd);
    ck_assert(!is_closed(p.fd) && !is_closed(p.in));
    leave(&p);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(n_gone, 1);
    ck_assert_uint_eq(gone[0], p.number);
    ck_assert_str_eq(xd_front_address(front, p.number), "?");
    shut();
}
END_TEST

/* The same, and then some is read until the writer's system has sent all. If the other side still writes when the writer closes its end, the
 * system resets the connection and discards what was not sent: the front can do nothing about that. */
static size_t put_on_the_way(int from, int to, size_t *ret_read)
{
    const size_t sent = put_without_reader(from, LARGE);
    int          unsent;
    *ret_read = 0;
    for (;;) {
        ck_assert_int_eq(ioctl(from, SIOCOUTQNSD, &unsent), 0);
        if (!unsent)
            return sent;
        const ssize_t n = xd_os_read_some(to, got + *ret_read, 4096);
        *ret_read += n > 0 ? (size_t)n : 0;
        (void)turn();
    }
}

/* Up to the end of what the other has said, of which `read` was heard. */
static void all_is_heard(int fd, size_t sent, size_t read)
{
    ssize_t end_of = -EAGAIN;
    until((read += take(fd, read, &end_of), end_of <= 0 && end_of != -EAGAIN));
    ck_assert_int_eq(end_of, 0);
    ck_assert_uint_eq(read, sent);
    ck_assert_int_eq(memcmp(large, got, sent), 0);
}

/* Who has said all and closes: the other gets it to the last byte, then the end. Of all sizes, so that with some of them the front alone has
 * the last bytes when it sees the end. */
static void to_the_last_byte(bool from_peer)
{
    opened((xd_front_limits){ 0 });
    fill(3);
    for (size_t size = 1; size < LARGE; size += 100000) {
        peer      p = met(0);
        const int from = from_peer ? p.fd : p.in, to = from_peer ? p.in : p.fd;
        ck_assert(xd_front_prove(front, p.number));
        const size_t sent = put_without_reader(from, size);
        close(from);
        while (turn() > 0) {
        }
        all_is_heard(to, sent, 0);
        close(to);
        until(xd_front_count(front).now == 0);
        ck_assert_uint_eq(n_gone, 1);
        n_gone = 0;
        if (sent < size)
            break; /* more does not fit */
    }
    shut();
}

START_TEST(the_peer_closes)
{
    to_the_last_byte(true);
}
END_TEST

START_TEST(zeromq_closes)
{
    to_the_last_byte(false);
}
END_TEST

/* The same, while the other says something that nobody will hear: that does not cost it what it was told. */
START_TEST(closes_while_spoken_to)
{
    for (int side = 0; side < 2; side++) {
        opened((xd_front_limits){ 0 });
        peer      p = met(0);
        const int from = side ? p.fd : p.in, to = side ? p.in : p.fd;
        fill(4);
        ck_assert(xd_front_prove(front, p.number));
        size_t       read;
        const size_t sent = put_on_the_way(from, to, &read);
        close(from);
        for (int i = 0; i < 2; i++) { /* the second one is refused by the system */
            (void)!xd_os_write_some(to, "hello", 5);
            (void)turn();
        }
        all_is_heard(to, sent, read);
        close(to);
        until(xd_front_count(front).now == 0);
        shut();
    }
}
END_TEST

/* The same, while ZeroMQ goes on speaking, faster than it is heard. */
START_TEST(closes_while_much_is_said)
{
    opened((xd_front_limits){ 0 });
    peer p = met(0);
    fill(5);
    ck_assert(xd_front_prove(front, p.number));
    size_t       read;
    const size_t sent = put_on_the_way(p.fd, p.in, &read);
    ssize_t      end_of = -EAGAIN;
    close(p.fd);
    while (end_of > 0 || end_of == -EAGAIN) {
        while (xd_os_write_some(p.in, large, LARGE) > 0) {
        }
        (void)turn();
        read += take(p.in, read, &end_of);
    }
    ck_assert_int_eq(end_of, 0);
    ck_assert_uint_eq(read, sent);
    ck_assert_int_eq(memcmp(large, got, sent), 0);
    close(p.in);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(n_gone, 1);
    shut();
}
END_TEST

/* ZeroMQ does not care that the peer is gone: for a while. */
START_TEST(closes_unheard)
{
    opened((xd_front_limits){ 0 });
    peer p = met(0);
    ck_assert(xd_front_prove(front, p.number));
    xd_front_care(front, xd_front_next(front)); /* the time to prove is over */
    ck_assert_uint_eq(xd_front_next(front), UINT64_MAX);
    close(p.fd);
    until(xd_front_next(front) != UINT64_MAX);
    ck_assert_uint_eq(n_gone, 0);
    xd_front_care(front, xd_front_next(front));
    ck_assert_uint_eq(n_gone, 1);
    ck_assert(is_closed(p.in));
    close(p.in);
    shut();
}
END_TEST

START_TEST(nobody_behind)
{
    opened((xd_front_limits){ 0 });
    close(inner);
    int fd = dialed(0);
    say(fd, "\xff\0\0", 3);
    ck_assert_str_eq(heard(fd), "");
    close(fd);
    ck_assert_uint_eq(xd_front_count(front).now, 0);
    ck_assert_uint_eq(n_gone, 1);
    inner = dup(0);
    shut();
}
END_TEST

/* ---- limits ----------------------------------------------------------------------------------------------------- */

START_TEST(bytes_of_the_unproven)
{
    opened((xd_front_limits){ 0 });
    peer p = met(0), q = met(0);
    memset(large, 'x', 8192);
    say(p.fd, large, 4095);
    size_t read = 0;
    until((read += take(p.in, read, NULL)) == 4095);
    ck_assert(!is_closed(p.fd)); /* so many it may send */
    say(p.fd, "x", 1);
    until(is_closed(p.fd));
    ck_assert_uint_eq(xd_front_count(front).refused, 1);
    ck_assert_uint_eq(gone[0], p.number);
    until((read += take(p.in, read, NULL), is_closed(p.in)));
    ck_assert_uint_eq(read, 4095);
    /* Once it is proven, more. */
    say(q.fd, large, 4095);
    until(xd_os_read_some(q.in, got, sizeof(got)) > 0);
    ck_assert(xd_front_prove(front, q.number));
    say(q.fd, large, 8192);
    read = 0;
    until((read += take(q.in, read, NULL)) == 8192);
    ck_assert(!is_closed(q.fd));
    leave(&p);
    leave(&q);
    shut();
}
END_TEST

/* Says `len` bytes of `large`, of which `most` are passed on now. */
static void passes_no_more(const peer *p, size_t len, size_t most)
{
    size_t read = 0;
    say(p->fd, large, len);
    until((read += take(p->in, read, NULL)) == most);
    for (int idle = 0; turn() > 0; idle++) /* it waits without turning */
        ck_assert_int_lt(idle, 10);
    ck_assert_uint_eq(take(p->in, read, NULL), 0);
}

/* Of one that sends, and of which no message comes: so many bytes, and parts of messages cost more. */
START_TEST(bytes_that_are_not_heard)
{
    static const uint8_t part[] = { 1, 3, 'a', 'b', 'c' }, begun[] = { 3, 0, 0, 0, 0, 0, 0, 0x9c, 0x40 };
    opened((xd_front_limits){ .unheard_bytes = 20000 });
    peer   p = met(0);
    size_t read = 0;
    memset(large, 0, 40000);
    ck_assert(xd_front_prove(front, p.number));
    say(p.fd, large, 63); /* the rest of the greeting */
    until((read += take(p.in, read, NULL)) == 63);
    for (int i = 0; i < 3; i++) {
        say(p.fd, part, sizeof(part));
        if (i < 2)
            until((read += take(p.in, read, NULL)) == 63 + 5 * ((size_t)i + 1));
    }
    until((read += take(p.in, read, NULL)) == 63 + 15);
    passes_no_more(&p, 100, 0);
    xd_front_heard(front, p.number + 1); /* of another one, that is not there */
    passes_no_more(&p, 100, 0);
    xd_front_heard(front, p.number);
    read = 0;
    until((read += take(p.in, read, NULL)) == 200);
    /* A large one, in pieces: its bytes alone. */
    xd_front_heard(front, p.number);
    say(p.fd, begun, sizeof(begun));
    for (int i = 0; i < 19; i++)
        passes_no_more(&p, 1000, i ? 1000 : 1009);
    passes_no_more(&p, 1000, 991);
    xd_front_heard(front, p.number);
    read = 0;
    until((read += take(p.in, read, NULL)) == 9);
    say(p.in, "hello", 5); /* the other way there is no such limit */
    char text[16];
    until(xd_os_read_some(p.fd, text, sizeof(text)) == 5);
    ck_assert_uint_eq(n_gone, 0);
    xd_front_drop(front, p.number);
    xd_front_care(front, xd_clock_ns() + 2 * XD_S_NS);
    ck_assert_uint_eq(n_gone, 1);
    leave(&p);
    shut();
}
END_TEST

/* Parts of messages of who is not proven: a few. */
START_TEST(parts_of_the_unproven)
{
    static const uint8_t part[] = { 1, 3, 'a', 'b', 'c' };
    opened((xd_front_limits){ 0 });
    peer   p = met(0);
    size_t read = 0, said = 63;
    memset(large, 0, 63);
    say(p.fd, large, 63);
    while (!is_closed(p.fd)) {
        until((read += take(p.in, read, NULL)) == said || is_closed(p.fd));
        if (!is_closed(p.fd))
            say(p.fd, part, sizeof(part));
        said += sizeof(part);
        ck_assert_uint_lt(said, 63 + 10 * sizeof(part));
    }
    ck_assert_uint_ge(read, 63 + 5 * sizeof(part));
    ck_assert_uint_eq(xd_front_count(front).refused, 1);
    leave(&p);
    shut();
}
END_TEST

/* One more of the same address: its oldest goes. Others are not touched, and least of all the proven. */
START_TEST(unproven_of_one_address)
{
    opened((xd_front_limits){ .unproven_per_address = 3, .unproven = 6 });
    peer other = met(9), proven = met(2), p[5];
    ck_assert(xd_front_prove(front, proven.number));
    for (size_t i = 0; i < 3; i++)
        p[i] = met(2);
    ck_assert_uint_eq(n_gone, 0);
    for (size_t i = 3; i < 5; i++) {
        p[i] = met(2);
        ck_assert_uint_eq(n_gone, i - 2);
        ck_assert_uint_eq(gone[i - 3], p[i - 3].number);
        until(is_closed(p[i - 3].fd) && is_closed(p[i - 3].in));
    }
    ck_assert_uint_eq(xd_front_count(front).dropped, 2);
    ck_assert_uint_eq(xd_front_count(front).unproven, 4);
    ck_assert_uint_eq(xd_front_count(front).now, 5);
    ck_assert(!is_closed(other.fd) && !is_closed(proven.fd) && !is_closed(p[2].fd) && !is_closed(p[4].fd));
    /* One that proves itself makes room for another. */
    ck_assert(xd_front_prove(front, p[2].number));
    peer more = met(2);
    ck_assert_uint_eq(n_gone, 2);
    leave(&more);
    leave(&other);
    leave(&proven);
    for (size_t i = 0; i < 5; i++)
        leave(&p[i]);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(xd_front_count(front).unproven, 0);
    shut();
}
END_TEST

/* One more of all: the oldest of all goes, whatever it was about to say. */
START_TEST(unproven_in_all)
{
    opened((xd_front_limits){ .unproven = 3 });
    int mute = dialed(2);
    until(xd_front_count(front).now == 1);
    peer a = met(3), b = met(4), c = met(5);
    until(is_closed(mute));
    ck_assert(!is_closed(a.fd));
    peer d = met(6);
    until(is_closed(a.fd));
    ck_assert(!is_closed(b.fd) && !is_closed(c.fd) && !is_closed(d.fd));
    ck_assert_uint_eq(xd_front_count(front).unproven, 3);
    ck_assert_uint_eq(xd_front_count(front).dropped, 2);
    close(mute);
    leave(&a);
    leave(&b);
    leave(&c);
    leave(&d);
    shut();
}
END_TEST

/* The oldest of an address that has more than its share; so one that is alone at its address stays. */
START_TEST(unproven_of_others)
{
    opened((xd_front_limits){ .unproven = 5 });
    peer lone = met(9), two[2], more[6];
    for (size_t i = 0; i < 2; i++)
        two[i] = met(3);
    for (size_t i = 0; i < 6; i++)
        more[i] = met(2);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(gone[i], i < 1 ? two[0].number : more[i - 1].number);
    ck_assert_uint_eq(n_gone, 4);
    ck_assert(!is_closed(lone.fd) && !is_closed(two[1].fd) && !is_closed(more[3].fd));
    leave(&lone);
    for (size_t i = 0; i < 2; i++)
        leave(&two[i]);
    for (size_t i = 0; i < 6; i++)
        leave(&more[i]);
    until(xd_front_count(front).now == 0);
    shut();
}
END_TEST

START_TEST(connections_in_all)
{
    opened((xd_front_limits){ .connections = 3 });
    peer a = met(2), b = met(3), c = met(4);
    ck_assert(xd_front_prove(front, a.number) && xd_front_prove(front, b.number));
    peer d = met(5); /* in the place of c */
    until(is_closed(c.fd));
    ck_assert(xd_front_prove(front, d.number));
    int fd = dialed(6); /* now all are proven, and there is no place */
    ck_assert_str_eq(heard(fd), "");
    ck_assert_uint_eq(xd_front_count(front).refused, 1);
    ck_assert_uint_eq(xd_front_count(front).now, 3);
    ck_assert(!is_closed(a.fd) && !is_closed(b.fd) && !is_closed(d.fd));
    leave(&a);
    until(xd_front_count(front).now == 2);
    peer e = met(6);
    close(fd);
    leave(&b);
    leave(&c);
    leave(&d);
    leave(&e);
    shut();
}
END_TEST

/* Three descriptors for each, beside those that its user needs, and some: no more than there are, and not fewer than can be. */
START_TEST(connections_there_are_descriptors_for)
{
    static const struct {
        rlim_t   files;
        uint32_t wanted, other, most;
    } table[] = {
        { 20000, 0, 1000, 4096 }, { 20000, 7000, 100, 6612 }, { 20000, 7000, 100000, 4978 },
        { 1024, 0, 100, 286 },    { 1024, 0, 1000, 234 },     { 1024, 200, 100, 200 },
        { 100, 0, 1000, 16 },
    };
    struct rlimit was;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    ck_assert_int_eq(xd_poller_new(&poller), 0);
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        if (table[i].files > was.rlim_max)
            continue;
        const xd_front_args a = { .poller = poller,
                                  .key_line = KEY_LINE,
                                  .other_fds = table[i].other,
                                  .limits = { .connections = table[i].wanted } };
        /* The hard limit can be lowered and not raised again: each in turn, from the highest on. */
        const struct rlimit low = { .rlim_cur = 64, .rlim_max = table[i].files };
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
        ck_assert_msg(xd_front_new(&front, &a, &err) == 0, "%s", err.text);
        ck_assert_msg(xd_front_count(front).most == table[i].most, "%zu: %u", i,
                      (unsigned)xd_front_count(front).most);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
        ck_assert_uint_ge(was.rlim_cur, XD_MIN((rlim_t)table[i].most * 3, table[i].files));
        front = xd_front_free(front);
    }
    poller = xd_poller_free(poller);
}
END_TEST

START_TEST(proven_of_one_address)
{
    opened((xd_front_limits){ .per_address = 2 });
    peer a = met(2), b = met(2), c = met(2), d = met(3);
    ck_assert(xd_front_prove(front, a.number) && xd_front_prove(front, b.number));
    ck_assert(!xd_front_prove(front, c.number));
    ck_assert(xd_front_prove(front, d.number));
    ck_assert(!xd_front_prove(front, 12345));
    leave(&a);
    until(xd_front_count(front).now == 3);
    ck_assert(!xd_front_prove(front, a.number)); /* gone */
    ck_assert(xd_front_prove(front, c.number));
    leave(&b);
    leave(&c);
    leave(&d);
    shut();
}
END_TEST

/* ---- time -------------------------------------------------------------------------------------------------------- */

START_TEST(time_to_prove)
{
    opened((xd_front_limits){ .prove_ms = 3600000 });
    ck_assert_uint_eq(xd_front_next(front), UINT64_MAX);
    int  mute = dialed(0);
    peer a = met(0), b = met(0);
    ck_assert(xd_front_prove(front, b.number));
    const uint64_t next = xd_front_next(front), now = xd_clock_ns();
    ck_assert_uint_gt(next, now + 3500 * XD_S_NS);
    ck_assert_uint_le(next, now + 3600 * XD_S_NS);
    xd_front_care(front, next - 1);
    ck_assert_uint_eq(n_gone, 0);
    xd_front_care(front, next);
    ck_assert_uint_eq(n_gone, 1);
    xd_front_care(front, next + 60 * XD_S_NS);
    ck_assert_uint_eq(n_gone, 2);
    ck_assert_uint_eq(gone[1], a.number);
    until(is_closed(mute) && is_closed(a.fd) && is_closed(a.in));
    xd_front_care(front, UINT64_MAX - 1); /* who is proven has all the time */
    ck_assert_uint_eq(n_gone, 2);
    xd_front_care(front, UINT64_MAX - 1);
    ck_assert_uint_eq(xd_front_next(front), UINT64_MAX);
    ck_assert_uint_eq(xd_front_count(front).dropped, 2);
    close(mute);
    leave(&a);
    leave(&b);
    shut();
}
END_TEST

/* It ends within a second, however often that is said. */
START_TEST(dropped)
{
    opened((xd_front_limits){ 0 });
    peer p = met(0);
    ck_assert(xd_front_prove(front, p.number));
    xd_front_drop(front, p.number);
    const uint64_t next = xd_front_next(front);
    ck_assert_uint_le(next, xd_clock_ns() + XD_S_NS);
    say(p.in, "farewell", 8);
    char text[16];
    until(xd_os_read_some(p.fd, text, sizeof(text)) == 8);
    while (xd_clock_ns() < next - XD_S_NS + 2 * XD_MS_NS) {
    }
    xd_front_drop(front, p.number);
    ck_assert_uint_eq(n_gone, 0);
    xd_front_care(front, next);
    ck_assert_uint_eq(n_gone, 1);
    xd_front_drop(front, p.number); /* there is none of this number */
    until(is_closed(p.fd) && is_closed(p.in));
    ck_assert_uint_eq(xd_front_count(front).dropped, 0);
    leave(&p);
    shut();
}
END_TEST

/* ---- without descriptors ------------------------------------------------------------------------------------------ */

START_TEST(no_descriptors)
{
    enum { N = 24 };
    int           fd[N], room[2];
    struct rlimit was, low;
    opened((xd_front_limits){ 0 });
    for (size_t i = 0; i < N; i++)
        fd[i] = dialed(0);
    ck_assert_int_eq(pipe(room), 0); /* two numbers that are free below the limit */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    low.rlim_cur = (rlim_t)room[1] + 1;
    close(room[0]);
    close(room[1]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    /* Two are accepted, the others turned away; and then it waits. */
    int idle = 0;
    until(xd_front_count(front).accepted + xd_front_count(front).refused == N);
    while (turn() > 0)
        ck_assert_int_lt(++idle, 10);
    ck_assert_uint_eq(xd_front_count(front).accepted, 2);
    ck_assert_uint_eq(xd_front_count(front).now, 2);
    for (size_t i = 2; i < N; i++)
        until(is_closed(fd[i]));
    /* There are none for the way to ZeroMQ either: that connection ends. */
    say(fd[0], "\xff", 1);
    until(is_closed(fd[0]));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    peer p = met(0);
    leave(&p);
    for (size_t i = 0; i < N; i++)
        close(fd[i]);
    shut();
}
END_TEST

/* ---- listeners ----------------------------------------------------------------------------------------------------- */

static int make(const char *const *bound, size_t n)
{
    const xd_front_args a = { .poller = poller,
                              .bind = bound,
                              .n_bind = n,
                              .inner_port = 1,
                              .key_line = KEY_LINE,
                              .gone = on_gone,
                              .arg = &args };
    err = (xd_error){ 0 };
    front = xd_front_free(front);
    return xd_front_new(&front, &a, &err);
}

START_TEST(listeners)
{
    static const char *const bad[] = {
        "",          "8888",           "127.0.0.1",       "127.0.0.1:",   "::1:8888",        "[::1]",
        "host:8888", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "[127.0.0.1:8888", "[::1]x:8888"
    };
    static const char *const two[] = { "127.0.0.1:0", "127.0.0.2:0" };
    char                     taken[64];
    ck_assert_int_eq(xd_poller_new(&poller), 0);
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_msg(make(&bad[i], 1) == -EINVAL && !front, "'%s'", bad[i]);
        char quoted[64];
        snprintf(quoted, sizeof(quoted), "--bind '%s': ", bad[i]);
        ck_assert_msg(strncmp(err.text, quoted, strlen(quoted)) == 0, "%s", err.text);
    }
    ck_assert_msg(make(two, 2) == 0, "%s", err.text);
    ck_assert_int_eq(strncmp(xd_front_bound(front, 0), "127.0.0.1:", 10), 0);
    ck_assert_int_eq(strncmp(xd_front_bound(front, 1), "127.0.0.2:", 10), 0);
    ck_assert_ptr_null(xd_front_bound(front, 2));
    snprintf(taken, sizeof(taken), "%s", xd_front_bound(front, 1));
    const char *const again[] = { "127.0.0.1:0", taken };
    xd_front         *first = xd_take(&front);
    ck_assert_int_eq(make(again, 2), -EADDRINUSE);
    ck_assert_msg(strstr(err.text, taken) != NULL, "%s", err.text);
    first = xd_front_free(first);
    ck_assert_msg(make(again, 2) == 0, "%s", err.text);
    const char *const many[] = { two[0], two[0], two[0], two[0], two[0], two[0], two[0], two[0], two[0] };
    ck_assert_msg(make(many, 8) == 0, "%s", err.text);
    ck_assert_int_eq(make(many, 9), -E2BIG);
    ck_assert_ptr_null(front);
    poller = xd_poller_free(poller);
}
END_TEST

/* All addresses: one of IPv4 is shown as that. */
START_TEST(everywhere)
{
    open_at(":0", (xd_front_limits){ 0 });
    peer p = met(3);
    ck_assert_str_eq(xd_front_address(front, p.number), "127.0.0.3");
    leave(&p);
    shut();
}
END_TEST

START_TEST(six)
{
    int                 fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        printf("skipped: there is no IPv6 here\n");
        return;
    }
    open_at("[::1]:0", (xd_front_limits){ 0 });
    to.sin6_port = htons((uint16_t)port);
    ck_assert_int_eq(strncmp(xd_front_bound(front, 0), "[::1]:", 6), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(xd_os_nonblock(fd, true), 0);
    say(fd, "\xff", 1);
    int in = -1;
    until((in = accept(inner, NULL, NULL)) >= 0);
    ck_assert_str_eq(xd_front_address(front, xd_front_find(front, "127.64.0.1")), "::1");
    close(in);
    close(fd);
    shut();
}
END_TEST

START_TEST(deaf)
{
    opened((xd_front_limits){ 0 });
    peer p = met(0);
    ck_assert(xd_front_prove(front, p.number));
    xd_front_deafen(front);
    xd_front_deafen(front);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ECONNREFUSED);
    close(fd);
    say(p.fd, "still", 5); /* those that are there stay */
    char text[16];
    until(xd_os_read_some(p.in, text, sizeof(text)) == 5);
    front = xd_front_free(front); /* says nothing of those that it closes */
    ck_assert_uint_eq(n_gone, 0);
    ck_assert(is_closed(p.fd) && is_closed(p.in));
    leave(&p);
    shut();
}
END_TEST

/* No other address is taken for one of its connections. */
START_TEST(found_by_address)
{
    static const char *const none[] = {
        "",    "x",        "127.0.0.1",       "127.64.0.0",    "127.64.0.2", "127.128.0.1",
        "::1", "10.0.0.1", "255.255.255.255", "127.63.255.255"
    };
    opened((xd_front_limits){ 0 });
    peer p = met(0);
    ck_assert_uint_eq(xd_front_find(front, "127.64.0.1"), p.number);
    for (size_t i = 0; i < XD_ARRAY_LEN(none); i++)
        ck_assert_uint_eq(xd_front_find(front, none[i]), 0);
    leave(&p);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(xd_front_find(front, "127.64.0.1"), 0);
    peer q = met(0);
    ck_assert_uint_ne(q.number, p.number); /* not the next one at once */
    leave(&q);
    shut();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("front");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, question);
    tcase_add_test(t, garbage);
    tcase_add_test(t, both_ways);
    tcase_add_test(t, the_peer_closes);
    tcase_add_test(t, zeromq_closes);
    tcase_add_test(t, closes_while_spoken_to);
    tcase_add_test(t, closes_while_much_is_said);
    tcase_add_test(t, closes_unheard);
    tcase_add_test(t, nobody_behind);
    tcase_add_test(t, bytes_of_the_unproven);
    tcase_add_test(t, unproven_of_one_address);
    tcase_add_test(t, unproven_in_all);
    tcase_add_test(t, bytes_that_are_not_heard);
    tcase_add_test(t, parts_of_the_unproven);
    tcase_add_test(t, unproven_of_others);
    tcase_add_test(t, connections_in_all);
    tcase_add_test(t, connections_there_are_descriptors_for);
    tcase_add_test(t, proven_of_one_address);
    tcase_add_test(t, time_to_prove);
    tcase_add_test(t, dropped);
    tcase_add_test(t, no_descriptors);
    tcase_add_test(t, listeners);
    tcase_add_test(t, everywhere);
    tcase_add_test(t, six);
    tcase_add_test(t, deaf);
    tcase_add_test(t, found_by_address);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
