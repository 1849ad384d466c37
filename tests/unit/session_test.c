/* session_test.c - numbers, duplicates, gaps, credit, resend. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"

static int push(xd_session_tx *s, uint64_t acked)
{
    xd_autobuf  frame = XD_BUF_INIT;
    xd_wire_ACK m = { .acked = acked };
    xd_bytes    out;
    xd_frame    f;
    ck_assert_int_eq(xd_wire_ACK_frame(&frame, 7, 0, &m), 0);
    int r = xd_session_tx_push(s, frame.data, frame.len, &out);
    if (r < 0)
        return r;
    ck_assert_int_eq(xd_wire_header(out.ptr, &f), 0);
    ck_assert_uint_eq(f.seq, xd_session_tx_last(s));
    ck_assert_uint_eq(f.flags, 7);
    ck_assert_uint_eq(out.len, frame.len);
    return 0;
}

START_TEST(numbers_begin_at_one)
{
    xd_auto(xd_session_tx) *s = NULL;
    ck_assert_int_eq(xd_session_tx_new(&s, 10, 1000), 0);
    ck_assert_uint_eq(xd_session_tx_last(s), 0);
    for (uint64_t i = 1; i <= 5; i++) {
        ck_assert_int_eq(push(s, i), 0);
        ck_assert_uint_eq(xd_session_tx_last(s), i);
        ck_assert_uint_eq(xd_session_tx_outstanding(s), i);
    }
    ck_assert_uint_eq(xd_session_tx_outstanding_bytes(s), 5 * (XD_FRAME_HEADER + 8));
}
END_TEST

START_TEST(acknowledged_up_to)
{
    xd_auto(xd_session_tx) *s = NULL;
    ck_assert_int_eq(xd_session_tx_new(&s, 10, 1000), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(push(s, 0), 0);
    ck_assert_int_eq(xd_session_tx_acked(s, 3), 0);
    ck_assert_uint_eq(xd_session_tx_outstanding(s), 2);
    ck_assert_int_eq(xd_session_tx_acked(s, 3), 1);
    ck_assert_int_eq(xd_session_tx_acked(s, 1), 1); /* old news */
    ck_assert_int_eq(xd_session_tx_acked(s, 6), -EPROTO);
    ck_assert_uint_eq(xd_session_tx_outstanding(s), 2);
    ck_assert_int_eq(xd_session_tx_acked(s, 5), 0);
    ck_assert_uint_eq(xd_session_tx_outstanding(s), 0);
    ck_assert_uint_eq(xd_session_tx_outstanding_bytes(s), 0);
}
END_TEST

START_TEST(credit_by_frames_and_bytes)
{
    xd_auto(xd_session_tx) *s = NULL;
    ck_assert_int_eq(xd_session_tx_new(&s, 3, 100), 0);
    ck_assert(xd_session_tx_credit(s, 1u << 20)); /* one is always allowed when nothing is outstanding */
    ck_assert_int_eq(push(s, 0), 0);              /* 24 bytes */
    ck_assert(xd_session_tx_credit(s, 24));
    ck_assert(!xd_session_tx_credit(s, 1000));
    ck_assert_int_eq(push(s, 0), 0);
    ck_assert_int_eq(push(s, 0), 0);
    ck_assert(!xd_session_tx_credit(s, 1)); /* three frames */
    ck_assert_int_eq(xd_session_tx_acked(s, 1), 0);
    ck_assert(xd_session_tx_credit(s, 1));
    xd_session_tx_window(s, 2, 100);
    ck_assert(!xd_session_tx_credit(s, 1));
    xd_session_tx_window(s, 100, 1u << 20);
    ck_assert(xd_session_tx_credit(s, 1000));
}
END_TEST

typedef struct seen {
    uint64_t next;
    int      stop_after;
} seen;

static int take(void *arg, xd_bytes frame)
{
    seen    *s = arg;
    xd_frame f;
    ck_assert_int_eq(xd_wire_header(frame.ptr, &f), 0);
    ck_assert_uint_eq(f.seq, s->next++);
    return s->stop_after-- == 0 ? -EPIPE : 0;
}

START_TEST(what_is_not_acknowledged_is_sent_again)
{
    xd_auto(xd_session_tx) *s = NULL;
    ck_assert_int_eq(xd_session_tx_new(&s, UINT32_MAX, UINT32_MAX), 0);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(push(s, 0), 0);
    ck_assert_int_eq(xd_session_tx_acked(s, 400), 0);
    seen all = { .next = 401, .stop_after = -1 };
    ck_assert_int_eq(xd_session_tx_resend(s, 0, take, &all), 0);
    ck_assert_uint_eq(all.next, 1001);
    seen some = { .next = 401, .stop_after = 10 };
    ck_assert_int_eq(xd_session_tx_resend(s, 0, take, &some), -EPIPE);
    ck_assert_uint_eq(xd_session_tx_outstanding(s), 600);
    for (uint64_t i = 401; i <= 1000; i++)
        ck_assert_int_eq(xd_session_tx_acked(s, i), 0);
    ck_assert_uint_eq(xd_session_tx_outstanding(s), 0);
}
END_TEST

/* Another pipe: the far end says what it has taken, and what follows is sent again, nothing else. */
START_TEST(what_was_taken_is_not_sent_again)
{
    xd_auto(xd_session_tx) *s = NULL;
    ck_assert_int_eq(xd_session_tx_new(&s, UINT32_MAX, UINT32_MAX), 0);
    ck_assert_int_eq(xd_session_tx_taken(s, 0), 0);
    ck_assert_int_eq(xd_session_tx_taken(s, 1), -EPROTO);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(push(s, 0), 0);
    ck_assert_int_eq(xd_session_tx_acked(s, 40), 0);
    ck_assert_int_eq(xd_session_tx_taken(s, 39), -ESTALE);
    ck_assert_int_eq(xd_session_tx_taken(s, 40), 0);
    ck_assert_int_eq(xd_session_tx_taken(s, 100), 0);
    ck_assert_int_eq(xd_session_tx_taken(s, 101), -EPROTO);
    for (uint64_t last = 40; last <= 100; last++) {
        seen rest = { .next = last + 1, .stop_after = -1 };
        ck_assert_int_eq(xd_session_tx_resend(s, last, take, &rest), 0);
        ck_assert_uint_eq(rest.next, 101);
    }
    ck_assert_uint_eq(xd_session_tx_outstanding(s), 60); /* taken is not acknowledged */
}
END_TEST

START_TEST(each_number_is_taken_once_in_order)
{
    xd_session_rx r = XD_SESSION_RX_INIT;
    for (uint64_t i = 1; i <= 100; i++)
        ck_assert_int_eq(xd_session_rx_seen(&r, i), XD_SESSION_TAKE);
    ck_assert_int_eq(xd_session_rx_seen(&r, 100), XD_SESSION_DUPLICATE);
    ck_assert_int_eq(xd_session_rx_seen(&r, 1), XD_SESSION_DUPLICATE);
    ck_assert_int_eq(xd_session_rx_seen(&r, 102), XD_SESSION_GAP);
    ck_assert_int_eq(xd_session_rx_seen(&r, 101), XD_SESSION_TAKE);
    ck_assert_uint_eq(r.last, 101);
    ck_assert_uint_eq(r.duplicates, 2);
    ck_assert_uint_eq(r.gaps, 1);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("session");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, numbers_begin_at_one);
    tcase_add_test(t, acknowledged_up_to);
    tcase_add_test(t, credit_by_frames_and_bytes);
    tcase_add_test(t, what_is_not_acknowledged_is_sent_again);
    tcase_add_test(t, what_was_taken_is_not_sent_again);
    tcase_add_test(t, each_number_is_taken_once_in_order);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
