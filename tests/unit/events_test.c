/* needs: engine */
/* Events on their way to whoever embeds the engine: order, texts, the descriptor, threads. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/events.h"

static bool readable(const xd_events *q)
{
    struct pollfd p = { .fd = q->fd, .events = POLLIN };
    return poll(&p, 1, 0) == 1;
}

START_TEST(in_order_with_copies_of_their_texts)
{
    xd_events q;
    char      text[16] = "one";
    ck_assert_int_eq(xd_events_init(&q), 0);
    xd_event ev = { .type = XD_EVENT_NOTE, .text = text, .value = 2, .count = 3, .message = "why" },
             got = XD_EVENT_INIT;
    ck_assert(!readable(&q));
    ck_assert_int_eq(xd_events_next(&q, &got), 0);
    ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    memcpy(text, "two", 4);
    ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    ev.text = NULL;
    ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    ck_assert(readable(&q));
    ck_assert_int_eq(xd_events_next(&q, &got), 1);
    ck_assert_str_eq(got.text, "one");
    ck_assert_int_eq(got.value, 2);
    ck_assert_uint_eq(got.count, 3);
    ck_assert_str_eq(got.message, "why");
    ck_assert_ptr_ne(got.message, ev.message);
    ck_assert_int_eq(xd_events_next(&q, &got), 1);
    ck_assert_str_eq(got.text, "two");
    ck_assert_int_eq(xd_events_next(&q, &got), 1);
    ck_assert(!got.text || !*got.text);
    ck_assert_int_eq(xd_events_next(&q, &got), 0);
    ck_assert(!readable(&q));
    xd_events_release(&q);
}
END_TEST

START_TEST(what_nobody_took_is_freed)
{
    xd_events q;
    xd_event  ev = { .type = XD_EVENT_NOTE, .text = "left" };
    ck_assert_int_eq(xd_events_init(&q), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    xd_events_release(&q);
}
END_TEST

/* An embedder that only waits for the end: what nobody takes does not pile up, and is counted. */
START_TEST(notes_that_nobody_takes)
{
    xd_events q;
    xd_event  ev = { .type = XD_EVENT_NOTE, .text = "again" }, got = XD_EVENT_INIT;
    unsigned  notes = 0, paused = 0;
    uint64_t  dropped = 0;
    ck_assert_int_eq(xd_events_init(&q), 0);
    for (unsigned i = 0; i < 10 * XD_EVENTS_NOTES; i++)
        ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(xd_events_add(&q, &(xd_event){ .type = XD_EVENT_PAUSED }), 0);
    ck_assert_int_eq(xd_events_next(&q, &got), 1);
    ck_assert_int_eq(xd_events_add(&q, &ev), 0); /* there is room for one */
    ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    ck_assert_int_eq(xd_events_add(&q, &(xd_event){ .type = XD_EVENT_FINISHED }), 0);
    while (xd_events_next(&q, &got) == 1 && got.type != XD_EVENT_FINISHED) {
        notes += got.type == XD_EVENT_NOTE;
        paused += got.type == XD_EVENT_PAUSED;
        dropped += got.count;
    }
    ck_assert_int_eq(got.type, XD_EVENT_FINISHED);
    ck_assert_uint_eq(notes, XD_EVENTS_NOTES + 1);
    ck_assert_uint_eq(paused, 1);
    ck_assert_uint_eq(dropped, 9 * XD_EVENTS_NOTES + 1);
    xd_events_release(&q);
}
END_TEST

#define THREADS 4
#define EACH 5000

static void *add_many(void *arg)
{
    xd_events *q = ((void **)arg)[0];
    uintptr_t  number = (uintptr_t)((void **)arg)[1];
    for (uint64_t i = 0; i < EACH; i++) {
        xd_event ev = { .type = XD_EVENT_TEST, .text = "x", .value = (int64_t)number, .count = i };
        if (xd_events_add(q, &ev) != 0)
            abort();
    }
    return NULL;
}

START_TEST(from_many_threads)
{
    xd_events q;
    pthread_t threads[THREADS];
    void     *args[THREADS][2];
    uint64_t  next[THREADS] = { 0 };
    int       seen = 0;
    ck_assert_int_eq(xd_events_init(&q), 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        args[i][0] = &q;
        args[i][1] = (void *)i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, args[i]), 0);
    }
    while (seen < THREADS * EACH) {
        struct pollfd p = { .fd = q.fd, .events = POLLIN };
        ck_assert_int_eq(poll(&p, 1, 10000), 1);
        xd_event ev = XD_EVENT_INIT;
        while (xd_events_next(&q, &ev) == 1) {
            ck_assert_uint_eq(ev.count, next[ev.value]++); /* of one thread in order */
            seen++;
        }
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert(!readable(&q));
    xd_events_release(&q);
}
END_TEST

/* As programs of other versions have it: nothing past their size is written, and no event is lost to one that set
 * none. */
START_TEST(as_far_as_the_caller_has_room)
{
    xd_events q;
    xd_event  ev = {
         .type = XD_EVENT_NOTE, .text = "x", .value = 2, .count = 3, .duration_us = 4, .worker = 5
    };
    struct {
        xd_event ev;
        uint64_t later[4];
    } newer = { .ev = { .size = sizeof(newer) }, .later = { 7, 7, 7, 7 } };
    xd_event old, never = { .size = 0 };
    memset(&old, 0x55, sizeof(old));
    old.size = offsetof(xd_event, duration_us);
    ck_assert_int_eq(xd_events_init(&q), 0);
    ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    ck_assert_int_eq(xd_events_add(&q, &ev), 0);
    ck_assert_int_eq(xd_events_next(&q, &never), -EINVAL);
    ck_assert_int_eq(xd_events_next(&q, &old), 1);
    ck_assert_uint_eq(old.count, 3);
    for (size_t i = old.size; i < sizeof(old); i++)
        ck_assert_int_eq(((unsigned char *)&old)[i], 0x55);
    ck_assert_int_eq(xd_events_next(&q, &newer.ev), 1);
    ck_assert_uint_eq(newer.ev.worker, 5);
    ck_assert_uint_eq(newer.ev.size, sizeof(newer));
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(newer.later[i], 7);
    xd_events_release(&q);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("events");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, in_order_with_copies_of_their_texts);
    tcase_add_test(t, what_nobody_took_is_freed);
    tcase_add_test(t, notes_that_nobody_takes);
    tcase_add_test(t, as_far_as_the_caller_has_room);
    tcase_add_test(t, from_many_threads);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
