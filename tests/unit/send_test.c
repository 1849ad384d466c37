/* needs: sync. faults: sync/maker.c */
/* The home half of a synchronisation (sync/send.c) against a far half that this test plays: which messages it sends, that it believes nothing that cannot be, and files that change under its hands. */
#include <poll.h>

#include "engine/base/clock.h"
#include "engine/stream.h"
#include "sync/send_state.h"
#include "tests/unit/sync_world.h"

static int             faults_left;
static const char     *fault_path;
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

/* The file changes while it is read. */
void xd_fault(const char *site)
{
    (void)site;
    (void)pthread_mutex_lock(&fault_lock);
    if (faults_left && fault_path) {
        faults_left--;
        int fd = open(fault_path, O_WRONLY | O_APPEND);
        MUST(fd >= 0 && write(fd, "more", 4) == 4);
        (void)close(fd);
    }
    (void)pthread_mutex_unlock(&fault_lock);
}

typedef struct far {
    int          fd;
    xd_stream_in in;
    xd_buf       out;
    destination  home;
    xd_digest    wanted;
    uint32_t     files; /* of the tree */
    uint64_t     data;  /* bytes of bodies that came */
} far;

static void far_send(far *f)
{
    MUST(send(f->fd, f->out.data, f->out.len, MSG_NOSIGNAL) == (ssize_t)f->out.len);
    xd_buf_clear(&f->out);
}

#define SAY(f, NAME, ...)                                                                     \
    do {                                                                                      \
        MUST(xd_wire_##NAME##_frame(&(f)->out, 0, 0, &(xd_wire_##NAME){ __VA_ARGS__ }) == 0); \
        far_send(f);                                                                          \
    } while (0)

/* The next frame; false at the end of the stream, or when nothing comes for `ms`. */
static bool hear(far *f, xd_frame *frame, int ms)
{
    for (;;) {
        int r = xd_stream_in_next(&f->in, frame);
        MUST(r >= 0);
        if (r == 1) {
            if (frame->type == XD_MSG_SYNC_DATA)
                f->data += frame->len;
            return true;
        }
        struct pollfd p = { .fd = f->fd, .events = POLLIN };
        if (poll(&p, 1, ms) <= 0)
            return false;
        r = xd_stream_read_fd(&f->in, f->fd, 64 << 10);
        if (r <= 0)
            return false;
    }
}

static void hear_until(far *f, uint16_t type, xd_frame *frame)
{
    do
        MUST(hear(f, frame, 20000));
    while (frame->type != type);
}

/* All until the home half has ended. */
static void hear_out(far *f)
{
    xd_frame frame;
    (void)shutdown(f->fd, SHUT_WR);
    while (hear(f, &frame, 20000))
        ;
    (void)pthread_join(f->home.home, NULL);
}

/* The home half is started, and has sent its opening, all records and the end of them. */
static void begin(far *f, xd_source *s, uint32_t flags)
{
    int      fds[2];
    xd_frame frame;
    *f = (far){ .home = { .name = "dst", .source = s, .flags = flags } };
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    xd_stream_in_init(&f->in, false);
    f->fd = fds[0];
    f->home.home_fd = fds[1];
    MUST(pthread_create(&f->home.home, NULL, home_main, &f->home) == 0);
    hear_until(f, XD_MSG_SYNC_OPEN, &frame);
    xd_wire_SYNC_OPEN open;
    MUST(xd_wire_SYNC_OPEN_decode(frame.body, frame.len, &open) == 0);
    f->wanted = (xd_digest){ open.lo, open.hi };
    hear_until(f, XD_MSG_SYNC_END, &frame);
    const xd_scan_result *scan;
    MUST(xd_source_scanned(s, &scan, NULL) == 0);
    f->files = scan->manifest->files;
}

static void end(far *f)
{
    (void)close(f->fd);
    (void)close(f->home.home_fd);
    xd_stream_in_release(&f->in);
    xd_buf_release(&f->out);
    destination_forget(&f->home);
}

static void want(far *f, uint32_t first, uint32_t count, uint8_t whole, uint8_t last)
{
    xd_autobuf list = XD_BUF_INIT;
    MUST(xd_wire_SYNC_RANGE_append(
             &list, &(xd_wire_SYNC_RANGE){ .first = first, .count = count, .whole = whole }) == 0);
    SAY(f, SYNC_WANT, .ranges = { 1, list.data, list.len }, .last = last);
}

static void make(void)
{
    world_begin();
    put_content("src/a", 1000, 1, true);
    put_content("src/b", 50000, 2, true);
    put_content("src/c", 12 << 20, 3, false);
}

/* ---- what it must not say ------------------------------------------------------------------------------------------ */

static void taken_too_much(far *f)
{
    SAY(f, SYNC_TAKEN, .bytes = 1);
}

static void want_beyond(far *f)
{
    want(f, 2, 2, 1, 1);
}

static void want_none(far *f)
{
    want(f, 1, 0, 1, 1);
}

static void want_huge(far *f)
{
    want(f, 1, UINT32_MAX, 1, 1);
}

static void want_twice(far *f)
{
    want(f, 1, 1, 1, 0);
    want(f, 1, 1, 1, 1);
}

static void want_odd(far *f)
{
    want(f, 1, 1, 2, 1);
}

static void want_for_ever(far *f)
{
    for (unsigned i = 0; i < 9; i++)
        want(f, 0, 1, 1, 1);
}

static void need_all_that_came(far *f)
{
    SAY(f, SYNC_NEED_ALL, 0);
}

static void same_but_wants(far *f)
{
    want(f, 0, 1, 1, 0);
    SAY(f, SYNC_SAME, 0);
}

static void done_with_another(far *f)
{
    SAY(f, SYNC_DONE, .lo = f->wanted.lo, .hi = f->wanted.hi + 1);
}

static void a_message_for_home(far *f)
{
    SAY(f, SYNC_OPEN, 0);
}

static void another_message(far *f)
{
    SAY(f, PONG, 0);
}

static void no_frame(far *f)
{
    MUST(xd_buf_fill(&f->out, 0xff, 100) == 0);
    far_send(f);
}

static void a_sequence(far *f)
{
    MUST(xd_wire_SYNC_SAME_frame(&f->out, 0, 7, &(xd_wire_SYNC_SAME){ 0 }) == 0);
    far_send(f);
}

static void short_body(far *f)
{
    size_t mark;
    MUST(xd_wire_frame_begin(&f->out, XD_MSG_SYNC_DONE, 0, 0, &mark) == 0 &&
         xd_wire_frame_end(&f->out, mark) == 0);
    far_send(f);
}

static void extra_empty(far *f)
{
    xd_autobuf list = XD_BUF_INIT;
    MUST(xd_wire_TEXT_append(&list, &(xd_wire_TEXT){ .text = XD_BYTES_LIT("/") }) == 0);
    SAY(f, SYNC_EXTRA, .paths = { 1, list.data, list.len }, .last = 1);
}

static void extra_twice(far *f)
{
    SAY(f, SYNC_EXTRA, .last = 1);
    SAY(f, SYNC_EXTRA, .last = 1);
}

static void failed_without_a_word(far *f)
{
    SAY(f, SYNC_FAILED, 0);
}

static void (*const wrong[])(far *) = { taken_too_much,    want_beyond,        want_none,
                                        want_huge,         want_twice,         want_odd,
                                        want_for_ever,     need_all_that_came, same_but_wants,
                                        done_with_another, a_message_for_home, another_message,
                                        no_frame,          a_sequence,         short_body,
                                        extra_empty,       extra_twice,        failed_without_a_word };

START_TEST(what_cannot_be)
{
    far        f;
    xd_source *s = source_of(0);
    begin(&f, s, 0);
    wrong[_i](&f);
    hear_out(&f);
    ck_assert_int_eq(f.home.result, -EPROTO);
    ck_assert_int_eq(f.home.err.code, -EPROTO);
    ck_assert_uint_gt(strlen(f.home.err.text), 20);
    end(&f);
    xd_source_free(s);
    struct stat st;
    ck_assert_int_lt(stat(in_world("mem"), &st), 0); /* nothing is remembered */
}
END_TEST

/* ---- what it may say ------------------------------------------------------------------------------------------------- */

START_TEST(failed)
{
    far        f;
    xd_source *s = source_of(0);
    begin(&f, s, 0);
    SAY(&f, SYNC_SAY, .level = XD_NOTE_WARNING, .text = XD_BYTES_LIT("look"));
    SAY(&f, SYNC_FAILED, .text = XD_BYTES_LIT("/p: the disk is full"));
    hear_out(&f);
    ck_assert_int_eq(f.home.result, -EREMOTEIO);
    ck_assert_str_eq(f.home.err.text, "/p: the disk is full");
    ck_assert_str_eq(xd_buf_cstr(&f.home.said), "look\n");
    end(&f);
    xd_source_free(s);
}
END_TEST

/* Its words are shown whole, and drive no terminal. */
START_TEST(failed_with_odd_bytes)
{
    far        f;
    xd_source *s = source_of(0);
    begin(&f, s, 0);
    SAY(&f, SYNC_FAILED, .text = { (const uint8_t *)"\0full\x1b[31m", 10 });
    hear_out(&f);
    ck_assert_int_eq(f.home.result, -EREMOTEIO);
    ck_assert_str_eq(f.home.err.text, "\\x00full\\x1b[31m");
    end(&f);
    xd_source_free(s);
}
END_TEST

START_TEST(cut)
{
    far        f;
    xd_source *s = source_of(0);
    begin(&f, s, 0);
    hear_out(&f);
    ck_assert_int_eq(f.home.result, -EPIPE);
    end(&f);
    xd_source_free(s);
}
END_TEST

/* Not more is under way than may be, and it goes on when it is told. */
START_TEST(window)
{
    far        f;
    xd_frame   frame;
    xd_source *s = source_of(0);
    begin(&f, s, 0);
    want(&f, 0, f.files, 1, 1);
    while (hear(&f, &frame, 500))
        MUST(frame.type == XD_MSG_SYNC_DATA);
    ck_assert_uint_gt(f.data, 1 << 20);
    ck_assert_uint_le(f.data, 8 << 20);
    do {
        SAY(&f, SYNC_TAKEN, .bytes = f.data);
        MUST(hear(&f, &frame, 20000));
    } while (frame.type != XD_MSG_SYNC_END);
    ck_assert_uint_ge(f.data, 12 << 20);
    SAY(&f, SYNC_DONE, .lo = f.wanted.lo, .hi = f.wanted.hi, .written = 3);
    hear_out(&f);
    ck_assert_int_eq(f.home.result, 0);
    ck_assert_uint_eq(f.home.counts.written, 3);
    ck_assert_uint_eq(f.home.counts.round_trips, 2);
    ck_assert_uint_eq(f.home.counts.sent_files, 3);
    end(&f);
    xd_source_free(s);
}
END_TEST

/* Of what would be removed there, what is ignored here is named. */
#define MIB (1u << 20)

/* A block of so many bytes on its way, and when it is taken, with what came before it: after so many seconds, which are not waited for. */
static void trip(xd_sender *s, uint64_t bytes, uint32_t seconds)
{
    s->data_sent += bytes;
    xd_link_sent(s);
    s->link.probe_ns -= seconds * XD_S_NS;
    s->taken = s->data_sent;
    xd_link_taken(s);
}

START_TEST(as_much_as_the_link_needs)
{
    const xd_send_args plain = { 0 };
    xd_sender          s = { .args = &plain };
    ck_assert_uint_eq(xd_link_window(&s), MIB);
    trip(&s, 300000, 5000); /* the best so far: twice what was taken in it; but no less than the least */
    ck_assert_uint_eq(xd_link_window(&s), MIB);
    trip(&s, MIB, 1000); /* a better one */
    ck_assert_uint_ge(xd_link_window(&s), 2 * MIB - 8);
    ck_assert_uint_le(xd_link_window(&s), 2 * MIB);
    trip(&s, 16 * MIB, 0);
    ck_assert_uint_eq(xd_link_window(&s), 3 * MIB); /* the most */
    trip(&s, 2 * MIB,
         200); /* no longer way, but somebody there who has much to do: twice 2 MiB are too many */
    ck_assert_uint_eq(xd_link_window(&s), MIB);
    /* One that is on its way is not timed again. */
    s.data_sent += 1000;
    xd_link_sent(&s);
    const uint64_t since = s.link.probe_ns;
    xd_link_sent(&s);
    ck_assert_uint_eq(s.link.probe_ns, since);
}
END_TEST

START_TEST(keep)
{
    static const char *const paths[] = { "x.o", "y", "build/", "sub/z.o" };
    far                      f;
    xd_frame                 frame;
    xd_autobuf               list = XD_BUF_INIT;
    xd_wire_SYNC_KEEP        k;
    xd_wire_INDEX            i;
    put("src/.gitignore", "*.o\nbuild/\n", 11);
    xd_source *s = source_of(0);
    begin(&f, s, XD_SYNC_FLAG_DELETE);
    for (unsigned n = 0; n < 4; n++)
        MUST(xd_wire_TEXT_append(&list, &(xd_wire_TEXT){ .text = xd_bytes_str(paths[n]) }) == 0);
    SAY(&f, SYNC_EXTRA, .paths = { 4, list.data, list.len }, .last = 0);
    SAY(&f, SYNC_EXTRA, .paths = { 4, list.data, list.len }, .last = 1);
    hear_until(&f, XD_MSG_SYNC_KEEP, &frame);
    ck_assert_int_eq(xd_wire_SYNC_KEEP_decode(frame.body, frame.len, &k), 0);
    static const uint32_t expected[] = { 0, 2, 3, 4, 6, 7 };
    ck_assert_uint_eq(k.paths.count, 6);
    for (unsigned n = 0; xd_wire_INDEX_next(&k.paths, &i) == 1; n++)
        ck_assert_uint_eq(i.item, expected[n]);
    SAY(&f, SYNC_DONE, .lo = f.wanted.lo, .hi = f.wanted.hi);
    hear_out(&f);
    ck_assert_int_eq(f.home.result, 0);
    end(&f);
    xd_source_free(s);
}
END_TEST

/* ---- files that change while they are read ---------------------------------------------------------------------------- */

/* Twice: then what it is in the end has come. */
static void changes(const char *path, int times, destination *d)
{
    static char whole[200];
    (void)snprintf(whole, sizeof whole, "%s/%s", world, path);
    faults_left = times;
    fault_path = whole;
    xd_source *s = source_of(0);
    destination_start(d, s);
    destination_wait(d);
    xd_source_free(s);
    fault_path = NULL;
}

START_TEST(changes_twice)
{
    static const char *const paths[] = { "src/a", "src/b", "src/c" };
    (void)unlink(in_world(_i == 2 ? "src/a" : "src/c"));
    if (_i != 1)
        (void)unlink(in_world("src/b"));
    destination d = { .name = "dst" };
    changes(paths[_i], 2, &d);
    ck_assert_msg(d.result == 0, "%s", d.err.text);
    must_be_equal("src", "dst");
    destination_forget(&d);
}
END_TEST

/* Each time: it is named, and all else is there. */
START_TEST(changes_always)
{
    static const char *const names[] = { "a", "b", "c" };
    char                     path[20], line[80];
    destination              d = { .name = "dst" };
    for (int i = 0; i < 3; i++)
        if (i != _i && i != (_i + 1) % 3)
            (void)unlink(in_world(i == 0 ? "src/a" : i == 1 ? "src/b" : "src/c"));
    (void)snprintf(path, sizeof path, "src/%s", names[_i]);
    changes(path, 1000, &d);
    ck_assert_int_eq(d.result, -EAGAIN);
    (void)snprintf(line, sizeof line, "%s changes each time it is read", names[_i]);
    ck_assert_ptr_nonnull(strstr(d.err.text, line));
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&d.said), line));
    (void)unlink(in_world(path));
    (void)snprintf(path, sizeof path, "dst/%s", names[_i]);
    (void)unlink(in_world(path));
    must_be_equal("src", "dst");
    destination_forget(&d);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("send");
    TCase *t = tcase_create("send");
    tcase_add_checked_fixture(t, make, world_end);
    tcase_add_loop_test(t, what_cannot_be, 0, XD_ARRAY_LEN(wrong));
    tcase_add_test(t, failed);
    tcase_add_test(t, failed_with_odd_bytes);
    tcase_add_test(t, cut);
    tcase_add_test(t, window);
    tcase_add_test(t, as_much_as_the_link_needs);
    tcase_add_test(t, keep);
    tcase_add_loop_test(t, changes_twice, 0, 3);
    tcase_add_loop_test(t, changes_always, 0, 3);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failures = srunner_ntests_failed(r);
    srunner_free(r);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
