/* needs: engine */
/* tunnel_test.c - two tunnels end to end, over a queue that takes a message or does not, as a fixed sequence of numbers says; and what one
 * that keeps no rule gets. */
#include "engine/tunnel.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/poller.h"
#include "tests/unit/often.h"

static uint64_t numbers;

static uint32_t any(uint32_t below)
{
    numbers ^= numbers << 13;
    numbers ^= numbers >> 7;
    numbers ^= numbers << 17;
    return (uint32_t)(numbers >> 20) % below;
}

/* ---- one end and its way to the other ---------------------------------------------------------------------- */

typedef struct end {
    xd_tunnel     t;
    xd_stream_out queue;  /* messages to the other */
    xd_stream_in  in;     /* those that it reads of it */
    uint32_t      busy;   /* of 8 messages so many are not taken */
    int           result; /* of all sends, unless 0 */
    uint64_t      sent, closes;
    uint64_t      taken;     /* what the other has told of */
    uint64_t      most_away; /* bytes that were under way at once */
    uint64_t      text_sent, text_taken, most_text_away;
    int           far, text_far; /* the other ends of its descriptors */
} end;

static int send_message(void *arg, xd_bytes message)
{
    end     *e = arg;
    xd_frame f;
    if (e->result)
        return e->result;
    if (any(8) < e->busy)
        return -EAGAIN;
    often_assert_int_eq(xd_wire_header(message.ptr, &f), 0);
    f.body = message.ptr + XD_FRAME_HEADER;
    often_assert_uint_eq(f.len, message.len - XD_FRAME_HEADER);
    often_assert(message.len <= XD_TUNNEL_MESSAGE_MAX);
    often_assert_uint_eq(e->closes && f.type == XD_MSG_TUNNEL_DATA, 0);
    if (f.type == XD_MSG_TUNNEL_DATA) {
        xd_wire_TUNNEL_DATA m;
        often_assert_int_eq(xd_wire_TUNNEL_DATA_decode(f.body, f.len, &m), 0);
        often_assert_uint_eq(m.at, e->sent);
        often_assert(m.bytes.len <= XD_TUNNEL_DATA_MAX && m.bytes.len > 0);
        e->sent += m.bytes.len;
        e->most_away = XD_MAX(e->most_away, e->sent - e->taken);
    } else if (f.type == XD_MSG_TUNNEL_TEXT) {
        xd_wire_TUNNEL_TEXT m;
        often_assert_int_eq(xd_wire_TUNNEL_TEXT_decode(f.body, f.len, &m), 0);
        e->text_sent += m.bytes.len;
        e->most_text_away = XD_MAX(e->most_text_away, e->text_sent - e->text_taken);
    } else if (f.type == XD_MSG_TUNNEL_CLOSE) {
        e->closes++;
    }
    return xd_stream_out_add(&e->queue, message.ptr, message.len);
}

/* fd and text of the tunnel are one end of a socket pair each, whose other is `far`. */
static void begin(end *e, bool data, bool text_in, bool text_out)
{
    int pair[2] = { -1, -1 }, text[2] = { -1, -1 };
    *e = (end){ .far = -1, .text_far = -1 };
    if (data)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    if (text_in || text_out)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, text), 0);
    e->far = pair[1];
    e->text_far = text[1];
    xd_stream_in_init(&e->in, false);
    ck_assert_int_eq(
        xd_tunnel_init(&e->t, pair[0], text_in ? text[0] : -1, text_out ? text[0] : -1, send_message, e), 0);
}

static void over(end *e)
{
    const int fds[] = { e->t.fd, e->t.text_in, e->t.text_out, e->far, e->text_far };
    for (size_t i = 0; i < XD_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    xd_tunnel_release(&e->t);
    xd_stream_out_release(&e->queue);
    xd_stream_in_release(&e->in);
}

/* Some of the messages of `from` reach `to`. */
static void deliver(end *from, end *to, size_t most)
{
    xd_frame       f;
    uint8_t       *room;
    size_t         size;
    const xd_bytes all = xd_stream_out_view(&from->queue);
    const size_t   len = XD_MIN(all.len, most);
    if (len == 0)
        return;
    often_assert_int_eq(xd_stream_in_space(&to->in, len, &room, &size), 0);
    memcpy(room, all.ptr, len);
    xd_stream_in_filled(&to->in, len);
    xd_stream_out_written(&from->queue, len);
    int r;
    while ((r = xd_stream_in_next(&to->in, &f)) == 1) {
        xd_wire_TUNNEL_TAKEN m;
        often_assert_int_eq(xd_tunnel_frame(&to->t, &f), 0);
        if (f.type == XD_MSG_TUNNEL_TAKEN) {
            often_assert_int_eq(xd_wire_TUNNEL_TAKEN_decode(f.body, f.len, &m), 0);
            to->taken = m.at;
            to->text_taken = m.text_at;
        }
    }
    often_assert_int_eq(r, 0);
}

/* Byte number `at` of a stream. */
static uint8_t byte_of(uint64_t at, uint8_t salt)
{
    return (uint8_t)(at * 131 + (at >> 8) * 17 + (at >> 16) + salt);
}

/* Bytes go in at one end, and come out at the other. */
typedef struct flow {
    int      in, out;
    uint64_t written, read, total;
    uint8_t  salt;
    bool     ended; /* the reader has seen the end */
} flow;

static uint8_t room[65536];

static void write_some(flow *f)
{
    const uint64_t wished = any(sizeof(room)) + 1; /* XD_MIN looks twice */
    const size_t   n = (size_t)XD_MIN(f->total - f->written, wished);
    if (f->in < 0 || f->written == f->total)
        return;
    for (size_t i = 0; i < n; i++)
        room[i] = byte_of(f->written + i, f->salt);
    ssize_t done = xd_os_write_some(f->in, room, n);
    if (done == -EAGAIN)
        return;
    often_assert(done > 0);
    f->written += (uint64_t)done;
    if (f->written == f->total)
        ck_assert_int_eq(shutdown(f->in, SHUT_WR), 0);
}

static void read_some(flow *f)
{
    ssize_t n = xd_os_read_some(f->out, room, any(sizeof(room)) + 1);
    if (n == -EAGAIN || f->ended)
        return;
    often_assert(n >= 0);
    f->ended = n == 0;
    for (ssize_t i = 0; i < n; i++)
        often_assert_uint_eq(room[i], byte_of(f->read + (uint64_t)i, f->salt));
    f->read += (uint64_t)n;
}

/* A closed end is passed on, as the users of tunnels do. */
static void follow_close(end *e)
{
    if (e->t.closed && xd_tunnel_written(&e->t) && e->t.fd >= 0)
        (void)shutdown(e->t.fd, SHUT_WR);
}

static void pump(end *e)
{
    int r = xd_tunnel_pump(&e->t);
    often_assert(r == 0 || r == 1);
    often_assert_int_eq(r, e->t.held.len > 0); /* only then it is to be called again without an event */
    follow_close(e);
}

/* Both ways at once, each end as slow as the numbers say. */
static void both_ways(uint64_t seed, uint64_t total, uint32_t busy, uint32_t slow)
{
    static end a, b;
    numbers = seed;
    begin(&a, true, false, true);
    begin(&b, true, true, false);
    a.busy = b.busy = busy;
    flow there = { .in = a.far, .out = b.far, .total = total, .salt = 1 },
         back = { .in = b.far, .out = a.far, .total = total / 2 + 1, .salt = 2 },
         text = { .in = b.text_far, .out = a.text_far, .total = 300000, .salt = 3 };
    for (int turns = 0; there.read < there.total || back.read < back.total || text.read < text.total ||
                        !there.ended || !back.ended;
         turns++) {
        often_assert_msg(turns < 200000, "it stalled: %llu, %llu, %llu; seed %llu",
                         (unsigned long long)there.read, (unsigned long long)back.read,
                         (unsigned long long)text.read, (unsigned long long)seed);
        write_some(&there);
        write_some(&back);
        write_some(&text);
        pump(&a);
        pump(&b);
        deliver(&a, &b, any(2) ? SIZE_MAX : any(300000));
        deliver(&b, &a, any(2) ? SIZE_MAX : any(300000));
        if (any(16) >= slow)
            read_some(&there);
        read_some(&back);
        if (any(16) >= slow)
            read_some(&text);
        often_assert(a.t.sent - a.t.sent_taken <= XD_TUNNEL_WINDOW);
        often_assert(xd_stream_out_pending(&b.t.out) <= XD_TUNNEL_WINDOW);
    }
    ck_assert_uint_eq(there.read, there.total);
    ck_assert_uint_eq(back.read, back.total);
    ck_assert_uint_eq(text.read, text.total);
    ck_assert_uint_le(a.most_away, XD_TUNNEL_WINDOW);
    ck_assert_uint_le(b.most_away, XD_TUNNEL_WINDOW);
    ck_assert_uint_le(b.most_text_away, XD_TUNNEL_TEXT_WINDOW);
    ck_assert(a.closes == 1 && b.closes == 1 && a.t.closed && b.t.closed && a.t.over && b.t.over);
    ck_assert(xd_tunnel_written(&a.t) && xd_tunnel_written(&b.t));
    over(&a);
    over(&b);
}

START_TEST(in_order_both_ways)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        both_ways(seed * 0x9e3779b97f4a7c15u, 1 << 20, (uint32_t)seed, 0);
}
END_TEST

/* More than the window, to one who reads seldom. */
START_TEST(slow_reader)
{
    both_ways(0x2545f4914f6cdd1du, 8 << 20, 1, 14);
}
END_TEST

/* Nobody reads: all that is sent is one window, and then nothing more. */
START_TEST(the_window)
{
    static end a, b;
    numbers = 7;
    begin(&a, true, false, false);
    begin(&b, true, false, false);
    flow f = { .in = a.far, .out = b.far, .total = 8 << 20 };
    for (int i = 0; i < 2000; i++) {
        write_some(&f);
        pump(&a);
        deliver(&a, &b, SIZE_MAX);
        pump(&b);
        deliver(&b, &a, SIZE_MAX);
    }
    uint32_t fd, in, out;
    ck_assert_uint_eq(a.t.sent - a.t.sent_taken, XD_TUNNEL_WINDOW);
    ck_assert_uint_eq(a.sent, a.t.sent);
    ck_assert_uint_eq(a.most_away, XD_TUNNEL_WINDOW);
    xd_tunnel_wants(&a.t, &fd, &in, &out);
    ck_assert_uint_eq(fd | in | out, 0); /* no busy loop, although there is more to read */
    xd_tunnel_wants(&b.t, &fd, &in, &out);
    ck_assert_uint_eq(fd, XD_POLL_IN | XD_POLL_OUT);
    for (int i = 0; i < 20000 && f.read < f.total; i++) {
        read_some(&f);
        write_some(&f);
        pump(&b);
        deliver(&b, &a, SIZE_MAX);
        pump(&a);
        deliver(&a, &b, SIZE_MAX);
    }
    ck_assert_uint_eq(f.read, f.total);
    ck_assert_uint_le(a.most_away, XD_TUNNEL_WINDOW);
    over(&a);
    over(&b);
}
END_TEST

/* Its last bytes go out before CLOSE, though the queue is full; and what is held is not lost. */
START_TEST(close_comes_last)
{
    static end a, b;
    begin(&a, true, false, false);
    begin(&b, true, false, false);
    a.result = -EAGAIN;
    ck_assert_int_eq(write(a.far, "the end", 7), 7);
    close(a.far);
    a.far = -1;
    for (int i = 0; i < 3; i++) {
        uint32_t fd, in, out;
        ck_assert_int_eq(xd_tunnel_pump(&a.t), 1);
        xd_tunnel_wants(&a.t, &fd, &in, &out);
        ck_assert_uint_eq(fd, 0); /* the queue is waited for, not the descriptor */
    }
    ck_assert(!a.t.over);
    a.result = 0;
    ck_assert_int_eq(xd_tunnel_pump(&a.t), 0);
    ck_assert(a.t.over && a.closes == 1);
    ck_assert_int_eq(xd_tunnel_pump(&a.t), 0);
    ck_assert_uint_eq(a.closes, 1);
    deliver(&a, &b, SIZE_MAX);
    ck_assert(b.t.closed && !xd_tunnel_written(&b.t));
    pump(&b);
    ck_assert(xd_tunnel_written(&b.t));
    char text[16];
    ck_assert_int_eq(read(b.far, text, sizeof(text)), 7);
    ck_assert_mem_eq(text, "the end", 7);
    over(&a);
    over(&b);
}
END_TEST

/* The connection is no more: its error is passed on, and nothing is kept to be sent again. */
START_TEST(errors_of_the_connection)
{
    static end a;
    begin(&a, true, false, false);
    a.result = -EHOSTUNREACH;
    ck_assert_int_eq(write(a.far, "x", 1), 1);
    ck_assert_int_eq(xd_tunnel_pump(&a.t), -EHOSTUNREACH);
    ck_assert_uint_eq(a.t.held.len, 0);
    over(&a);
}
END_TEST

/* ---- what cannot be ---------------------------------------------------------------------------------------- */

static end  e;
static char bytes[XD_TUNNEL_DATA_MAX + 1];

static int frame_of(xd_buf *b)
{
    xd_frame f;
    ck_assert_int_eq(xd_wire_header(b->data, &f), 0);
    f.body = b->data + XD_FRAME_HEADER;
    return xd_tunnel_frame(&e.t, &f);
}

static int data(uint64_t at, size_t len)
{
    xd_autobuf          b = XD_BUF_INIT;
    xd_wire_TUNNEL_DATA m = { .at = at, .bytes = { (const uint8_t *)bytes, len } };
    ck_assert_int_eq(xd_wire_TUNNEL_DATA_frame(&b, 0, 0, &m), 0);
    return frame_of(&b);
}

static int text(uint64_t at, size_t len)
{
    xd_autobuf          b = XD_BUF_INIT;
    xd_wire_TUNNEL_TEXT m = { .at = at, .bytes = { (const uint8_t *)bytes, len } };
    ck_assert_int_eq(xd_wire_TUNNEL_TEXT_frame(&b, 0, 0, &m), 0);
    return frame_of(&b);
}

static int taken(uint64_t at, uint64_t text_at)
{
    xd_autobuf           b = XD_BUF_INIT;
    xd_wire_TUNNEL_TAKEN m = { .at = at, .text_at = text_at };
    ck_assert_int_eq(xd_wire_TUNNEL_TAKEN_frame(&b, 0, 0, &m), 0);
    return frame_of(&b);
}

static int closed(void)
{
    xd_autobuf           b = XD_BUF_INIT;
    xd_wire_TUNNEL_CLOSE m = { 0 };
    ck_assert_int_eq(xd_wire_TUNNEL_CLOSE_frame(&b, 0, 0, &m), 0);
    return frame_of(&b);
}

static void setup(void)
{
    begin(&e, true, false, true);
}

static void teardown(void)
{
    over(&e);
}

START_TEST(data_at_a_wrong_place)
{
    ck_assert_int_eq(data(1, 10), -EPROTO);
    ck_assert_int_eq(data(0, 10), 0);
    ck_assert_int_eq(data(0, 10), -EPROTO); /* again */
    ck_assert_int_eq(data(9, 10), -EPROTO);
    ck_assert_int_eq(data(11, 10), -EPROTO);
    ck_assert_int_eq(data(UINT64_MAX, 10), -EPROTO);
    ck_assert_int_eq(data(10, 0), 0);
    ck_assert_int_eq(data(10, 1), 0);
    ck_assert_uint_eq(e.t.got, 11);
}
END_TEST

START_TEST(more_than_the_window)
{
    ck_assert_int_eq(data(0, XD_TUNNEL_DATA_MAX + 1), -EPROTO);
    for (uint64_t at = 0; at < XD_TUNNEL_WINDOW; at += XD_TUNNEL_DATA_MAX)
        ck_assert_int_eq(data(at, XD_TUNNEL_DATA_MAX), 0);
    ck_assert_int_eq(data(XD_TUNNEL_WINDOW, 1), -EPROTO);
    ck_assert_int_eq(data(XD_TUNNEL_WINDOW, 0), 0);
    ck_assert_uint_eq(xd_stream_out_pending(&e.t.out), XD_TUNNEL_WINDOW);
    /* What was written to the descriptor makes room, from when the other end is told of it. */
    numbers = 1;
    while (xd_stream_out_pending(&e.t.out)) {
        e.busy = 8;
        ck_assert_int_ge(xd_tunnel_pump(&e.t), 0);
        while (xd_os_read_some(e.far, room, sizeof(room)) > 0) {
        }
    }
    e.busy = 0;
    ck_assert_int_eq(xd_tunnel_pump(&e.t), 0);
    ck_assert_uint_eq(e.t.told, XD_TUNNEL_WINDOW);
    ck_assert_int_eq(data(XD_TUNNEL_WINDOW, 1), 0);
}
END_TEST

START_TEST(text_that_cannot_be)
{
    ck_assert_int_eq(text(1, 10), -EPROTO);
    ck_assert_int_eq(text(0, XD_TUNNEL_TEXT_WINDOW + 1), -EPROTO);
    ck_assert_int_eq(text(0, 10), 0);
    ck_assert_int_eq(text(0, 10), -EPROTO);
    ck_assert_int_eq(text(10, XD_TUNNEL_TEXT_WINDOW - 9), -EPROTO);
    ck_assert_int_eq(text(10, XD_TUNNEL_TEXT_WINDOW - 10), 0);
    ck_assert_int_eq(text(XD_TUNNEL_TEXT_WINDOW, 1), -EPROTO);
    ck_assert_int_eq(closed(), 0);
    ck_assert_int_eq(text(XD_TUNNEL_TEXT_WINDOW, 0), 0); /* goes on behind CLOSE */
}
END_TEST

START_TEST(taken_that_cannot_be)
{
    ck_assert_int_eq(taken(0, 0), 0);
    ck_assert_int_eq(taken(1, 0), -EPROTO); /* nothing was sent */
    ck_assert_int_eq(taken(0, 1), -EPROTO);
    ck_assert_int_eq(write(e.far, "0123456789", 10), 10);
    ck_assert_int_eq(xd_tunnel_pump(&e.t), 0);
    ck_assert_uint_eq(e.t.sent, 10);
    ck_assert_int_eq(taken(11, 0), -EPROTO);
    ck_assert_int_eq(taken(UINT64_MAX, 0), -EPROTO);
    ck_assert_int_eq(taken(5, 0), 0);
    ck_assert_int_eq(taken(4, 0), -EPROTO); /* back */
    ck_assert_int_eq(taken(5, 0), 0);
    ck_assert_int_eq(taken(10, 0), 0);
    ck_assert_int_eq(taken(10, 1), -EPROTO);
    ck_assert_uint_eq(e.t.sent_taken, 10);
}
END_TEST

START_TEST(data_after_close)
{
    ck_assert_int_eq(data(0, 10), 0);
    ck_assert_int_eq(closed(), 0);
    ck_assert_int_eq(data(10, 1), -EPROTO);
    ck_assert_int_eq(data(10, 0), -EPROTO);
    ck_assert_int_eq(taken(0, 0), 0); /* of what goes the other way */
    ck_assert(e.t.closed);
}
END_TEST

START_TEST(other_frames)
{
    xd_frame   f = { .type = XD_MSG_TUNNEL_OPEN };
    xd_autobuf b = XD_BUF_INIT;
    ck_assert_int_eq(xd_tunnel_frame(&e.t, &f), -EPROTO);
    f.type = XD_MSG_TUNNEL_BEAT; /* its user's */
    ck_assert_int_eq(xd_tunnel_frame(&e.t, &f), -EPROTO);
    f.type = XD_MSG_NOTE;
    ck_assert_int_eq(xd_tunnel_frame(&e.t, &f), -EPROTO);
    /* Cut short, at each byte. */
    xd_wire_TUNNEL_DATA m = { .at = 0, .bytes = { (const uint8_t *)bytes, 3 } };
    ck_assert_int_eq(xd_wire_TUNNEL_DATA_frame(&b, 0, 0, &m), 0);
    for (uint32_t len = 0; len < b.len - XD_FRAME_HEADER; len++) {
        f = (xd_frame){ .type = XD_MSG_TUNNEL_DATA, .len = len, .body = b.data + XD_FRAME_HEADER };
        ck_assert_int_eq(xd_tunnel_frame(&e.t, &f), -EPROTO);
        f.type = XD_MSG_TUNNEL_TEXT;
        ck_assert_int_eq(xd_tunnel_frame(&e.t, &f), -EPROTO);
        f.type = XD_MSG_TUNNEL_TAKEN;
        ck_assert_int_eq(xd_tunnel_frame(&e.t, &f), -EPROTO);
    }
    ck_assert_uint_eq(e.t.got + e.t.text_got, 0);
}
END_TEST

/* ---- without descriptors ------------------------------------------------------------------------------------ */

/* What nobody reads counts as taken, so that its sender goes on. */
START_TEST(nobody_reads)
{
    over(&e);
    begin(&e, false, false, false);
    uint32_t fd, in, out;
    uint64_t at = 0, text_at = 0;
    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(data(at, XD_TUNNEL_DATA_MAX), 0);
        at += XD_TUNNEL_DATA_MAX;
        ck_assert_int_eq(text(text_at, 16384), 0);
        text_at += 16384;
        ck_assert_int_eq(xd_tunnel_pump(&e.t), 0);
        ck_assert_uint_eq(e.t.told, at);
        ck_assert_uint_eq(e.t.text_told, text_at);
    }
    ck_assert(xd_tunnel_written(&e.t) && e.sent == 0 && e.closes == 0);
    xd_tunnel_wants(&e.t, &fd, &in, &out);
    ck_assert_uint_eq(fd | in | out, 0);
}
END_TEST

/* The reader of its descriptor is gone: what comes for it is dropped, and the sender told that it was taken. */
START_TEST(reader_is_gone)
{
    close(e.far);
    e.far = -1;
    for (uint64_t at = 0; at < 4 * XD_TUNNEL_WINDOW; at += XD_TUNNEL_DATA_MAX) {
        ck_assert_int_eq(data(at, XD_TUNNEL_DATA_MAX), 0);
        ck_assert_int_eq(xd_tunnel_pump(&e.t), 0);
        ck_assert_uint_eq(e.t.told, at + XD_TUNNEL_DATA_MAX);
    }
    ck_assert(e.t.over && e.closes == 1 && xd_tunnel_written(&e.t));
}
END_TEST

/* Of small ones it does not tell each time. */
START_TEST(tells_seldom)
{
    for (uint64_t at = 0; at < 200; at++)
        ck_assert_int_eq(data(at, 1), 0);
    ck_assert_int_eq(xd_tunnel_pump(&e.t), 0);
    ck_assert_uint_eq(e.t.told, 0);
    ck_assert_uint_eq(xd_stream_out_pending(&e.queue), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tunnel");
    TCase *pairs = tcase_create("pairs"), *one = tcase_create("one");
    tcase_set_timeout(pairs, 60);
    tcase_add_test(pairs, in_order_both_ways);
    tcase_add_test(pairs, slow_reader);
    tcase_add_test(pairs, the_window);
    tcase_add_test(pairs, close_comes_last);
    tcase_add_test(pairs, errors_of_the_connection);
    suite_add_tcase(s, pairs);
    tcase_set_timeout(one, 60);
    tcase_add_checked_fixture(one, setup, teardown);
    tcase_add_test(one, data_at_a_wrong_place);
    tcase_add_test(one, more_than_the_window);
    tcase_add_test(one, text_that_cannot_be);
    tcase_add_test(one, taken_that_cannot_be);
    tcase_add_test(one, data_after_close);
    tcase_add_test(one, other_frames);
    tcase_add_test(one, nobody_reads);
    tcase_add_test(one, reader_is_gone);
    tcase_add_test(one, tells_seldom);
    suite_add_tcase(s, one);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
