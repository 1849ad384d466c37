/* stream_test.c - frames out of bytes that come in any pieces, from any program. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/stream.h"
#include "tests/unit/often.h"

static void feed(xd_stream_in *s, const void *data, size_t len)
{
    uint8_t *room;
    size_t   size;
    often_assert_int_eq(xd_stream_in_space(s, len, &room, &size), 0);
    often_assert(size >= len);
    memcpy(room, data, len);
    xd_stream_in_filled(s, len);
}

/* Three frames: empty, small, large. */
static void three(xd_buf *out)
{
    xd_wire_NOTE note = { .level = 2, .text = XD_BYTES_LIT("hello") };
    xd_autobuf   large = XD_BUF_INIT;
    ck_assert_int_eq(xd_wire_PAUSE_frame(out, 0, 1, &(xd_wire_PAUSE){ 0 }), 0);
    ck_assert_int_eq(xd_wire_NOTE_frame(out, 0, 2, &note), 0);
    ck_assert_int_eq(xd_buf_fill(&large, 'x', 100000), 0);
    note.text = xd_buf_view(&large);
    ck_assert_int_eq(xd_wire_NOTE_frame(out, 0, 3, &note), 0);
}

static int drain(xd_stream_in *s, uint64_t *next)
{
    xd_frame f;
    int      r;
    while ((r = xd_stream_in_next(s, &f)) == 1) {
        often_assert_uint_eq(f.seq, ++*next);
        often_assert_int_eq(xd_wire_check(f.type, f.body, f.len), 0);
        often_assert_uint_eq(f.len, *next == 1 ? 0 : *next == 2 ? 10 : 100005);
    }
    return r;
}

START_TEST(in_pieces_of_any_size)
{
    static const size_t sizes[] = { 1, 2, 3, 15, 16, 17, 1000, 99999, 1 << 20 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        xd_autobuf   bytes = XD_BUF_INIT;
        xd_stream_in s;
        uint64_t     next = 0;
        xd_stream_in_init(&s, true);
        often_assert_int_eq(xd_buf_add(&bytes, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN), 0);
        three(&bytes);
        for (size_t at = 0; at < bytes.len; at += sizes[i]) {
            feed(&s, bytes.data + at, XD_MIN(sizes[i], bytes.len - at));
            often_assert_int_eq(drain(&s, &next), 0);
        }
        often_assert_uint_eq(next, 3);
        often_assert_uint_eq(s.frames, 3);
        xd_stream_in_release(&s);
    }
}
END_TEST

START_TEST(a_banner_in_front)
{
    static const char banner[] = "Welcome to host\r\n\x89xd, it is not yet \x89 *** \n";
    xd_autobuf        bytes = XD_BUF_INIT;
    xd_stream_in      s;
    uint64_t          next = 0;
    xd_stream_in_init(&s, true);
    ck_assert_int_eq(xd_buf_add(&bytes, banner, sizeof(banner)), 0);
    ck_assert_int_eq(xd_buf_add(&bytes, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN), 0);
    three(&bytes);
    for (size_t at = 0; at < bytes.len; at++) {
        feed(&s, bytes.data + at, 1);
        often_assert_int_eq(drain(&s, &next), 0);
    }
    ck_assert_uint_eq(next, 3);
    xd_stream_in_release(&s);
}
END_TEST

START_TEST(a_banner_without_end)
{
    xd_autobuf   bytes = XD_BUF_INIT;
    xd_stream_in s;
    xd_frame     f;
    xd_stream_in_init(&s, true);
    ck_assert_int_eq(xd_buf_fill(&bytes, 'y', XD_STREAM_BANNER_MAX + 100), 0);
    feed(&s, bytes.data, bytes.len);
    ck_assert_int_eq(xd_stream_in_next(&s, &f), -EPROTO);
    xd_stream_in_release(&s);
}
END_TEST

START_TEST(another_version_of_the_preamble)
{
    uint8_t      preamble[XD_WIRE_PREAMBLE_LEN];
    xd_autobuf   more = XD_BUF_INIT;
    xd_stream_in s;
    xd_frame     f;
    int          r = 0;
    memcpy(preamble, XD_WIRE_PREAMBLE, sizeof(preamble));
    preamble[sizeof(preamble) - 1] ^= 0x40;
    xd_stream_in_init(&s, true);
    feed(&s, preamble, sizeof(preamble));
    ck_assert_int_eq(xd_buf_fill(&more, 0, XD_STREAM_BANNER_MAX), 0);
    feed(&s, more.data, more.len);
    for (int i = 0; i < 3 && r == 0; i++)
        r = xd_stream_in_next(&s, &f);
    ck_assert_int_eq(r, -EPROTO);
    xd_stream_in_release(&s);
}
END_TEST

START_TEST(a_frame_over_the_limit)
{
    uint8_t      head[XD_FRAME_HEADER];
    xd_frame     f = { .len = XD_FRAME_MAX + 1, .type = XD_MSG_NOTE };
    xd_stream_in s;
    xd_stream_in_init(&s, false);
    xd_wire_put_header(head, &f);
    feed(&s, head, sizeof(head));
    ck_assert_int_eq(xd_stream_in_next(&s, &f), -EPROTO); /* before its body is there */
    xd_stream_in_release(&s);
}
END_TEST

START_TEST(through_a_socket_that_takes_little)
{
    int           fds[2], small = 4096;
    xd_stream_out out = { 0 };
    xd_stream_in  in;
    xd_autobuf    bytes = XD_BUF_INIT;
    uint64_t      next = 0;
    int           turns = 0, r;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    xd_stream_in_init(&in, false);
    three(&bytes);
    ck_assert_int_eq(xd_stream_out_add(&out, bytes.data, bytes.len), 0);
    ck_assert_int_eq(xd_stream_read_fd(&in, fds[1], 1000), -EAGAIN);
    while ((r = xd_stream_write_fd(&out, fds[0])) == 1) {
        ck_assert_int_gt(xd_stream_read_fd(&in, fds[1], 3000), 0);
        ck_assert_int_eq(drain(&in, &next), 0);
        ck_assert_int_lt(++turns, 10000);
    }
    ck_assert_int_eq(r, 0);
    ck_assert_int_gt(turns, 5);
    ck_assert_uint_eq(xd_stream_out_pending(&out), 0);
    ck_assert_uint_eq(out.bytes, bytes.len);
    close(fds[0]);
    while ((r = xd_stream_read_fd(&in, fds[1], 1 << 20)) > 0)
        ck_assert_int_eq(drain(&in, &next), 0);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(next, 3);
    ck_assert_int_eq(xd_stream_out_add(&out, "x", 1), 0);
    close(fds[1]);
    xd_stream_in_release(&in);
    xd_stream_out_release(&out);
}
END_TEST

START_TEST(nobody_listens_any_more)
{
    int           fds[2];
    xd_stream_out out = { 0 };
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    close(fds[1]);
    ck_assert_int_eq(xd_stream_out_add(&out, "hello", 5), 0);
    ck_assert_int_eq(xd_stream_write_fd(&out, fds[0]), -EPIPE); /* and no signal ended the test */
    close(fds[0]);
    xd_stream_out_release(&out);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("stream");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, in_pieces_of_any_size);
    tcase_add_test(t, a_banner_in_front);
    tcase_add_test(t, a_banner_without_end);
    tcase_add_test(t, another_version_of_the_preamble);
    tcase_add_test(t, a_frame_over_the_limit);
    tcase_add_test(t, through_a_socket_that_takes_little);
    tcase_add_test(t, nobody_listens_any_more);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
