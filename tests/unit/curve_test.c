/* needs: engine */
/* curve_test.c - ZeroMQ with CURVE from end to end, through the front: who gets in, what is told of those who do not, and when there is nothing to do. */
#include "engine/curve.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/front.h"
#include "engine/tunnel.h"
#include "tests/unit/often.h"

#define PATIENCE (30 * XD_S_NS) /* for what must come; no test waits so long unless it fails */
#define TIMEOUT_MS 30000u

static xd_error         err;
static xd_poller       *poller;
static xd_front        *front;
static xd_front_args    front_args;
static xd_curve_server *server;
static xd_keypair       server_key, key;
static uint16_t         port;
static bool             refuses;  /* what admit says */
static uint32_t         admitted; /* how often it was asked */
static uint32_t         last;     /* number it gave */
static xd_pubkey        last_key;
static size_t           n_gone;

static uint32_t admit(void *arg, const char *address, const xd_pubkey *of)
{
    ck_assert_ptr_eq(arg, &server);
    admitted++;
    last_key = *of;
    last = xd_front_find(front, address);
    ck_assert_uint_gt(last, 0);
    return refuses || !xd_front_prove(front, last) ? 0 : last;
}

static void on_gone(void *arg, uint32_t number)
{
    (void)arg;
    (void)number;
    n_gone++;
}

static void setup(void)
{
    static const char *const bound[] = { "127.0.0.1:0" };
    uint16_t                 inner;
    signal(SIGPIPE, SIG_IGN);
    refuses = false;
    admitted = last = 0;
    n_gone = 0;
    ck_assert_int_eq(xd_keypair_make(&server_key), 0);
    ck_assert_int_eq(xd_keypair_make(&key), 0);
    ck_assert_int_eq(xd_poller_new(&poller), 0);
    ck_assert_int_eq(xd_curve_listen(&server, &server_key, admit, &server, &inner), 0);
    front_args = (xd_front_args){ .poller = poller,
                                  .bind = bound,
                                  .n_bind = 1,
                                  .inner_port = inner,
                                  .key_line = "xdk1\n",
                                  .gone = on_gone };
    ck_assert_msg(xd_front_new(&front, &front_args, &err) == 0, "%s", err.text);
    port = (uint16_t)strtoul(strrchr(xd_front_bound(front, 0), ':') + 1, NULL, 10);
}

static void teardown(void)
{
    front = xd_front_free(front);
    server = xd_curve_server_free(server);
    poller = xd_poller_free(poller);
}

/* What a server does, but for receiving. */
static void turn(void)
{
    if (front) {
        often_assert(xd_poller_wait(poller, 0) >= 0);
        if (xd_clock_ns() >= xd_front_next(front))
            xd_front_care(front, xd_clock_ns());
    }
    if (server)
        often_assert_int_eq(xd_curve_server_admit(server), 0);
}

static void turns(uint64_t end_ns, const char *for_what)
{
    often_assert_msg(xd_clock_ns() < end_ns, "in vain: %s", for_what);
    turn();
    if (front)
        often_assert(xd_poller_wait(poller, xd_clock_ns() + XD_MS_NS) >= 0);
    else
        (void)poll(NULL, 0, 1);
}

/* Turns until it is so. */
#define until(expr)                                                   \
    do {                                                              \
        for (const uint64_t end = xd_clock_ns() + PATIENCE; !(expr);) \
            turns(end, #expr);                                        \
    } while (0)

static xd_curve *dialed_with(const xd_keypair *own, const xd_pubkey *of, uint16_t at)
{
    xd_curve *c = NULL;
    ck_assert_int_eq(xd_curve_dial(&c, "127.0.0.1", at, own, of, TIMEOUT_MS), 0);
    return c;
}

static xd_curve *dialed(void)
{
    return dialed_with(&key, &server_key.pub, port);
}

static bool is_decided(xd_curve *c)
{
    const xd_curve_state state = xd_curve_look(c);
    return state != XD_CURVE_CONNECTS && state != XD_CURVE_GREETS;
}

/* One that is up. */
static xd_curve *met(void)
{
    xd_curve *c = dialed();
    until(is_decided(c));
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_UP);
    return c;
}

static uint8_t large[XD_TUNNEL_MESSAGE_MAX + 1];

/* A frame of type DATA that is `size` bytes long in all. */
static void data_of(xd_buf *b, uint64_t seq, size_t size)
{
    xd_wire_TUNNEL_DATA m = { .bytes = { large, 0 } };
    xd_buf_clear(b);
    ck_assert_int_eq(xd_wire_TUNNEL_DATA_frame(b, 0, seq, &m), 0);
    m.bytes.len = size - b->len;
    xd_buf_clear(b);
    ck_assert_int_eq(xd_wire_TUNNEL_DATA_frame(b, 0, seq, &m), 0);
    ck_assert_uint_eq(b->len, size);
}

/* The server gets a message, and the peer's address with it. */
static void got(uint64_t seq, size_t size, uint32_t number, xd_curve_peer *ret)
{
    uint32_t from;
    xd_frame f;
    int      r;
    until((r = xd_curve_server_receive(server, &from, ret, &f)) != 0);
    ck_assert_int_eq(r, 1);
    ck_assert_uint_eq(from, number);
    ck_assert_uint_eq(f.seq, seq);
    ck_assert_uint_eq(f.len + XD_FRAME_HEADER, size);
}

static void said(xd_curve *c, uint64_t seq, size_t size)
{
    xd_autobuf b = XD_BUF_INIT;
    int        r;
    data_of(&b, seq, size);
    until((r = xd_curve_send(c, xd_buf_view(&b))) != -EAGAIN);
    ck_assert_int_eq(r, 0);
}

/* ---- up ------------------------------------------------------------------------------------------------------- */

START_TEST(messages_both_ways)
{
    static const size_t sizes[] = { 100, 5000, XD_TUNNEL_MESSAGE_MAX };
    xd_autobuf          b = XD_BUF_INIT;
    xd_curve           *c = dialed();
    xd_curve_peer       at;
    xd_frame            f;
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 7 + (i >> 8));
    data_of(&b, 1, 100);
    ck_assert_int_eq(xd_curve_send(c, xd_buf_view(&b)), -EAGAIN); /* not before it is up */
    ck_assert_int_eq(xd_curve_receive(c, &f), 0);
    until(is_decided(c));
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_UP);
    ck_assert_uint_eq(admitted, 1);
    ck_assert(xd_pubkey_eq(&last_key, &key.pub));
    ck_assert_str_eq(xd_front_address(front, last), "127.0.0.1");
    for (size_t i = 0; i < XD_ARRAY_LEN(sizes); i++) {
        int r;
        said(c, i, sizes[i]);
        got(i, sizes[i], last, &at);
        data_of(&b, 10 + i, sizes[i]);
        ck_assert_int_eq(xd_curve_server_send(server, &at, xd_buf_view(&b)), 0);
        until((r = xd_curve_receive(c, &f)) != 0);
        ck_assert_int_eq(r, 1);
        ck_assert_uint_eq(f.seq, 10 + i);
        ck_assert_uint_eq(f.len + XD_FRAME_HEADER, sizes[i]);
        ck_assert_int_eq(memcmp(f.body, b.data + XD_FRAME_HEADER, f.len), 0);
    }
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_UP);
    xd_curve_free(c);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(n_gone, 1);
    until(xd_curve_server_send(server, &at, xd_buf_view(&b)) == -EHOSTUNREACH);
}
END_TEST

/* With the same key: each is one of its own. */
START_TEST(several)
{
    enum { N = 5 };
    xd_curve     *c[N];
    uint32_t      number[N];
    xd_curve_peer at[N];
    for (uint32_t i = 0; i < N; i++) {
        c[i] = met();
        number[i] = last;
        for (uint32_t k = 0; k < i; k++)
            ck_assert_uint_ne(number[i], number[k]);
    }
    for (uint32_t i = N; i-- > 0;) {
        said(c[i], i, 200);
        got(i, 200, number[i], &at[i]);
    }
    for (uint32_t i = 0; i < N; i++) {
        xd_autobuf b = XD_BUF_INIT;
        xd_frame   f;
        data_of(&b, 50 + i, 300);
        ck_assert_int_eq(xd_curve_server_send(server, &at[i], xd_buf_view(&b)), 0);
        until(xd_curve_receive(c[i], &f) == 1);
        ck_assert_uint_eq(f.seq, 50 + i);
    }
    /* The end of one is not that of another. */
    xd_front_drop(front, number[0]);
    xd_front_care(front, xd_clock_ns() + 2 * XD_S_NS);
    until(xd_curve_look(c[0]) == XD_CURVE_LOST);
    said(c[1], 7, 200);
    got(7, 200, number[1], &at[1]);
    for (uint32_t i = 0; i < N; i++)
        xd_curve_free(c[i]);
}
END_TEST

/* Nobody reads: neither side waits, and all that was taken comes. */
START_TEST(full_queues)
{
    xd_autobuf    b = XD_BUF_INIT;
    xd_curve_peer at;
    xd_frame      f;
    uint64_t      sent = 0;
    xd_curve     *c = met();
    said(c, 1000000, 100);
    got(1000000, 100, last, &at);
    for (int idle = 0; idle < 20; turns(UINT64_MAX, "")) {
        data_of(&b, sent, 65536);
        const int r = xd_curve_send(c, xd_buf_view(&b));
        ck_assert(r == 0 || r == -EAGAIN);
        idle = r == 0 ? 0 : idle + 1;
        sent += r == 0;
        ck_assert_uint_lt(sent, 2000);
    }
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_UP);
    for (uint64_t i = 0; i < sent; i++)
        got(i, 65536, last, &at);
    /* And the other way round. */
    sent = 0;
    for (int idle = 0; idle < 20; turns(UINT64_MAX, "")) {
        data_of(&b, sent, 65536);
        const int r = xd_curve_server_send(server, &at, xd_buf_view(&b));
        ck_assert(r == 0 || r == -EAGAIN);
        idle = r == 0 ? 0 : idle + 1;
        sent += r == 0;
        ck_assert_uint_lt(sent, 2000);
    }
    for (uint64_t i = 0; i < sent; i++) {
        until(xd_curve_receive(c, &f) == 1);
        ck_assert_uint_eq(f.seq, i);
    }
    xd_curve_free(c);
}
END_TEST

/* ---- not up --------------------------------------------------------------------------------------------------- */

static xd_curve_state outcome(xd_curve *c)
{
    until(is_decided(c));
    const xd_curve_state state = xd_curve_look(c);
    xd_frame             f;
    ck_assert_int_eq(xd_curve_receive(c, &f), 0);
    for (int i = 0; i < 5; i++) { /* it stays so: nothing is tried again */
        turns(UINT64_MAX, "");
        ck_assert_int_eq(xd_curve_look(c), state);
    }
    xd_curve_free(c);
    return state;
}

START_TEST(another_key_of_the_server)
{
    xd_keypair other;
    ck_assert_int_eq(xd_keypair_make(&other), 0);
    ck_assert_int_eq(outcome(dialed_with(&key, &other.pub, port)), XD_CURVE_REFUSED);
    ck_assert_uint_eq(admitted, 0);
    until(xd_front_count(front).now == 0);
    ck_assert_uint_eq(xd_front_count(front).accepted, 1);
    xd_curve_free(met()); /* others get in */
}
END_TEST

START_TEST(refused_by_admit)
{
    refuses = true;
    ck_assert_int_eq(outcome(dialed()), XD_CURVE_REFUSED);
    ck_assert_uint_eq(admitted, 1);
    until(xd_front_count(front).now == 0);
    refuses = false;
    xd_curve_free(met());
}
END_TEST

static int listener(uint16_t *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof(at);
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 4) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

START_TEST(nobody_listens)
{
    uint16_t at;
    int      fd = listener(&at);
    close(fd);
    ck_assert_int_eq(outcome(dialed_with(&key, &server_key.pub, at)), XD_CURVE_FAILED);
}
END_TEST

/* A server of something else; the last one speaks ZMTP, with no security. */
START_TEST(other_protocols)
{
    static const char     greeting[64] = "\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL";
    static const xd_bytes says[] = { { (const uint8_t *)"", 0 },
                                     { (const uint8_t *)"SSH-2.0-OpenSSH_9.2p1\r\n", 23 },
                                     { (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n", 28 },
                                     { (const uint8_t *)greeting, sizeof(greeting) } };
    for (size_t i = 0; i < XD_ARRAY_LEN(says); i++) {
        uint16_t  at;
        int       fd = listener(&at), peer = -1;
        xd_curve *c = dialed_with(&key, &server_key.pub, at);
        until((peer = accept(fd, NULL, NULL)) >= 0);
        ck_assert_int_eq(send(peer, says[i].ptr, says[i].len, MSG_NOSIGNAL), (ssize_t)says[i].len);
        shutdown(peer, SHUT_WR);
        ck_assert_int_eq(outcome(c), XD_CURVE_REFUSED);
        close(peer);
        close(fd);
    }
}
END_TEST

/* Speaks ZMTP without CURVE, or with another mechanism. Nothing of it is received. */
static void stranger(void *ctx, bool plain)
{
    char      endpoint[64];
    void     *s = zmq_socket(ctx, ZMQ_DEALER);
    const int never = -1, zero = 0;
    ck_assert_ptr_nonnull(s);
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", (unsigned)port);
    ck_assert_int_eq(zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &never, sizeof(never)), 0);
    ck_assert_int_eq(zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    if (plain)
        ck_assert(zmq_setsockopt(s, ZMQ_PLAIN_USERNAME, "me", 2) == 0 &&
                  zmq_setsockopt(s, ZMQ_PLAIN_PASSWORD, "x", 1) == 0);
    ck_assert_int_eq(zmq_connect(s, endpoint), 0);
    ck_assert_int_eq(zmq_send(s, "hello", 5, ZMQ_DONTWAIT), 5);
    const uint64_t before = xd_front_count(front).accepted;
    until(xd_front_count(front).accepted == before + 1);
    until(xd_front_count(front).now == 0);
    zmq_close(s);
}

START_TEST(other_mechanisms)
{
    uint32_t      number;
    xd_curve_peer at;
    xd_frame      f;
    void         *ctx = zmq_ctx_new();
    ck_assert_ptr_nonnull(ctx);
    stranger(ctx, false);
    stranger(ctx, true);
    ck_assert_int_eq(zmq_ctx_term(ctx), 0);
    ck_assert_uint_eq(admitted, 0);
    ck_assert_int_eq(xd_curve_server_receive(server, &number, &at, &f), 0);
    xd_curve_free(met());
}
END_TEST

/* ---- against the rules ------------------------------------------------------------------------------------------ */

/* The connection ends, and no memory is given to it. */
START_TEST(too_large_for_the_server)
{
    xd_curve_peer at;
    uint32_t      number;
    xd_frame      f;
    xd_autobuf    b = XD_BUF_INIT;
    xd_curve     *c = met();
    data_of(&b, 1, XD_TUNNEL_MESSAGE_MAX + 1);
    ck_assert_int_eq(xd_curve_send(c, xd_buf_view(&b)), 0);
    until(xd_curve_look(c) != XD_CURVE_UP);
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_LOST);
    ck_assert_int_eq(xd_curve_server_receive(server, &number, &at, &f), 0);
    until(xd_front_count(front).now == 0);
    xd_curve_free(c);
    c = met(); /* the server goes on */
    said(c, 3, 100);
    got(3, 100, last, &at);
    xd_curve_free(c);
}
END_TEST

START_TEST(too_large_for_the_client)
{
    xd_curve_peer at;
    xd_frame      f;
    xd_autobuf    b = XD_BUF_INIT;
    xd_curve     *c = met();
    said(c, 1, 100);
    got(1, 100, last, &at);
    data_of(&b, 1, XD_TUNNEL_MESSAGE_MAX + 1);
    ck_assert_int_eq(xd_curve_server_send(server, &at, xd_buf_view(&b)), 0);
    until(xd_curve_look(c) != XD_CURVE_UP);
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_LOST);
    ck_assert_int_eq(xd_curve_receive(c, &f), 0);
    xd_curve_free(c);
}
END_TEST

/* Not a frame: told with the number of the one who sent it, and what follows is read. */
START_TEST(no_frames)
{
    static const uint8_t zeros[40];
    xd_autobuf           b = XD_BUF_INIT;
    xd_curve            *c = met();
    xd_curve_peer        at;
    uint32_t             number;
    xd_frame             f;
    data_of(&b, 1, 100);
    const xd_bytes table[] = { { zeros, 0 },
                               { zeros, 1 },
                               { zeros, XD_FRAME_HEADER - 1 },
                               { zeros, XD_FRAME_HEADER + 1 },
                               { b.data, b.len - 1 },
                               { b.data, XD_FRAME_HEADER } };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        int r;
        ck_assert_int_eq(xd_curve_send(c, table[i]), 0);
        until((r = xd_curve_server_receive(server, &number, &at, &f)) != 0);
        ck_assert_int_eq(r, -EPROTO);
        ck_assert_uint_eq(number, last);
        ck_assert_int_eq(xd_curve_server_send(server, &at, table[i]), 0);
        until((r = xd_curve_receive(c, &f)) != 0);
        ck_assert_int_eq(r, -EPROTO);
    }
    said(c, 9, 100);
    got(9, 100, last, &at);
    xd_curve_free(c);
}
END_TEST

/* A program of its own that has a key: it may name itself, and send what it likes. */
START_TEST(another_program)
{
    char          endpoint[64], name[200];
    void         *ctx = zmq_ctx_new(), *s = zmq_socket(ctx, ZMQ_DEALER);
    const int     zero = 0;
    uint32_t      number;
    xd_curve_peer at;
    xd_frame      f;
    xd_autobuf    b = XD_BUF_INIT;
    int           r;
    data_of(&b, 1, 100);
    memset(name, 'n', sizeof(name));
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", (unsigned)port);
    for (int i = 0; i < 2; i++) {
        const size_t len = i ? XD_CURVE_PEER : XD_CURVE_PEER + 1;
        ck_assert_int_eq(zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof(zero)), 0);
        ck_assert_int_eq(zmq_setsockopt(s, ZMQ_ROUTING_ID, name, len), 0);
        ck_assert_int_eq(zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server_key.pub.at, XD_KEY_BYTES), 0);
        ck_assert_int_eq(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, key.pub.at, XD_KEY_BYTES), 0);
        ck_assert_int_eq(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, key.secret, XD_KEY_BYTES), 0);
        ck_assert_int_eq(zmq_connect(s, endpoint), 0);
        /* Three parts, then one. */
        ck_assert(zmq_send(s, b.data, b.len, ZMQ_SNDMORE) > 0 && zmq_send(s, "", 0, ZMQ_SNDMORE) == 0 &&
                  zmq_send(s, b.data, b.len, 0) > 0);
        ck_assert(zmq_send(s, b.data, b.len, 0) > 0);
        until((r = xd_curve_server_receive(server, &number, &at, &f)) != 0);
        ck_assert_int_eq(r, -EPROTO);
        ck_assert_uint_eq(number, i ? last : 0); /* a name that is too long: of whom is not known */
        until((r = xd_curve_server_receive(server, &number, &at, &f)) != 0);
        ck_assert_int_eq(r, i ? 1 : -EPROTO);
        ck_assert_uint_eq(number, i ? last : 0);
        zmq_close(s);
        s = zmq_socket(ctx, ZMQ_DEALER);
    }
    zmq_close(s);
    ck_assert_int_eq(zmq_ctx_term(ctx), 0);
}
END_TEST

/* ---- the end ----------------------------------------------------------------------------------------------------- */

START_TEST(server_is_gone)
{
    xd_autobuf b = XD_BUF_INIT;
    xd_frame   f;
    xd_curve  *c = met();
    server = xd_curve_server_free(server);
    until(xd_curve_look(c) != XD_CURVE_UP);
    ck_assert_int_eq(xd_curve_look(c), XD_CURVE_LOST);
    data_of(&b, 1, 100);
    ck_assert_int_eq(xd_curve_send(c, xd_buf_view(&b)), -EAGAIN); /* nor is it kept for later */
    ck_assert_int_eq(xd_curve_receive(c, &f), 0);
    xd_curve_free(c);
}
END_TEST

/* In the middle of the handshake. */
START_TEST(front_is_gone)
{
    xd_curve *c = dialed();
    until(xd_front_count(front).accepted == 1);
    front = xd_front_free(front);
    const xd_curve_state state = outcome(c);
    ck_assert(state == XD_CURVE_REFUSED || state == XD_CURVE_LOST); /* as far as it was */
}
END_TEST

/* What was said before the end is received after it was seen. */
START_TEST(last_words)
{
    xd_curve_peer at;
    xd_frame      f;
    xd_autobuf    b = XD_BUF_INIT;
    xd_curve     *c = met();
    said(c, 1, 100);
    got(1, 100, last, &at);
    data_of(&b, 2, 100000);
    ck_assert_int_eq(xd_curve_server_send(server, &at, xd_buf_view(&b)), 0);
    server = xd_curve_server_free(server); /* it goes out within its second, while the front passes it on */
    until(xd_curve_look(c) == XD_CURVE_LOST);
    ck_assert_int_eq(xd_curve_receive(c, &f), 1);
    ck_assert_uint_eq(f.seq, 2);
    xd_curve_free(c);
    xd_curve_free(NULL);
}
END_TEST

/* ---- nothing to do ------------------------------------------------------------------------------------------------ */

/* Neither end is woken when nothing happens: after looking, its descriptors are silent. */
static void silent(xd_curve *c, xd_curve_state state)
{
    xd_curve_peer at;
    uint32_t      number;
    xd_frame      f;
    int           fds[4], quiet = 0;
    xd_curve_fds(c, fds);
    if (server)
        xd_curve_server_fds(server, fds + 2);
    for (int rounds = 0; quiet < 3; rounds++) {
        struct pollfd p[4];
        ck_assert_int_lt(rounds, 1000);
        turn();
        ck_assert_int_eq(xd_curve_look(c), state);
        ck_assert_int_eq(xd_curve_receive(c, &f), 0);
        if (server)
            ck_assert_int_eq(xd_curve_server_receive(server, &number, &at, &f), 0);
        for (int i = 0; i < 4; i++)
            p[i] = (struct pollfd){ .fd = i < 2 || server ? fds[i] : -1, .events = POLLIN };
        quiet = poll(p, 4, 5) == 0 ? quiet + 1 : 0; /* a busy loop would never be quiet */
    }
}

START_TEST(no_busy_loop)
{
    xd_curve_peer at;
    xd_autobuf    b = XD_BUF_INIT;
    xd_frame      f;
    xd_curve     *c = met();
    silent(c, XD_CURVE_UP);
    /* Nor after messages, both ways. */
    for (int i = 0; i < 3; i++) {
        said(c, 1, 100);
        got(1, 100, last, &at);
        data_of(&b, 2, 100);
        ck_assert_int_eq(xd_curve_server_send(server, &at, xd_buf_view(&b)), 0);
        until(xd_curve_receive(c, &f) == 1);
        silent(c, XD_CURVE_UP);
    }
    server = xd_curve_server_free(server);
    until(xd_curve_look(c) == XD_CURVE_LOST);
    silent(c, XD_CURVE_LOST);
    xd_curve_free(c);
}
END_TEST

/* A message that comes while nobody looks makes a descriptor readable: each time, also right after one was received. */
START_TEST(woken_by_messages)
{
    xd_curve_peer at;
    xd_autobuf    b = XD_BUF_INIT;
    xd_frame      f;
    xd_curve     *c = met();
    said(c, 1, 100);
    got(1, 100, last, &at);
    data_of(&b, 2, 100);
    for (int i = 0; i < 100; i++) {
        const uint64_t end = xd_clock_ns() + PATIENCE;
        int            fds[2], r = -1;
        xd_curve_fds(c, fds);
        ck_assert_int_eq(xd_curve_server_send(server, &at, xd_buf_view(&b)), 0);
        while (xd_curve_look(c) == XD_CURVE_UP && (r = xd_curve_receive(c, &f)) == 0) {
            struct pollfd p[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
            often_assert_msg(xd_clock_ns() < end, "number %d was not noticed", i);
            while (poll(p, 2, 0) == 0) { /* only then it looks again */
                often_assert_msg(xd_clock_ns() < end, "number %d woke nobody", i);
                turns(end, "a message");
            }
        }
        ck_assert_int_eq(r, 1);
    }
    xd_curve_free(c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("curve");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, messages_both_ways);
    tcase_add_test(t, several);
    tcase_add_test(t, full_queues);
    tcase_add_test(t, another_key_of_the_server);
    tcase_add_test(t, refused_by_admit);
    tcase_add_test(t, nobody_listens);
    tcase_add_test(t, other_protocols);
    tcase_add_test(t, other_mechanisms);
    tcase_add_test(t, too_large_for_the_server);
    tcase_add_test(t, too_large_for_the_client);
    tcase_add_test(t, no_frames);
    tcase_add_test(t, another_program);
    tcase_add_test(t, server_is_gone);
    tcase_add_test(t, front_is_gone);
    tcase_add_test(t, last_words);
    tcase_add_test(t, no_busy_loop);
    tcase_add_test(t, woken_by_messages);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
