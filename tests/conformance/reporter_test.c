/* needs: actors */
/* One suite for every reporter: what each of them must stand and give, whatever it makes of the journal. */
#include <check.h>
#include <jansson.h>
#include <libxml/parser.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>

#include "actors/history.h"
#include "engine/base/text.h"
#include "tests/conformance/reporter_fixture.c"

static const char *const reporters[] = { "terminal", "junit", "jsonl", "history" };
#define HISTORY 3
static char dir[64];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/xd-report-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    setenv("XDG_CACHE_HOME", dir, 1);
    unsetenv("CI");
}

static void teardown(void)
{
    (void)xd_path_remove_tree(dir);
}

/* ---- is it well-formed? -------------------------------------------------------------------------------- */

static void check_jsonl(const xd_buf *out)
{
    size_t at = 0;
    while (at < out->len) {
        const uint8_t *nl = memchr(out->data + at, '\n', out->len - at);
        ck_assert_ptr_nonnull(nl);
        json_error_t err;
        json_t      *line =
            json_loadb((const char *)out->data + at, (size_t)(nl - out->data) - at, JSON_ALLOW_NUL, &err);
        ck_assert_msg(line != NULL, "%s", err.text);
        ck_assert_int_eq(json_integer_value(json_object_get(line, "version")), 1);
        ck_assert(json_is_string(json_object_get(line, "event")));
        json_decref(line);
        at = (size_t)(nl - out->data) + 1;
    }
}

static void check_junit(const xd_buf *out, const char *tests)
{
    xmlDocPtr doc = xmlReadMemory((const char *)out->data, (int)out->len, "junit.xml", NULL, XML_PARSE_HUGE);
    ck_assert_ptr_nonnull(doc);
    xmlNodePtr root = xmlDocGetRootElement(doc), suite = root->children;
    ck_assert_str_eq((const char *)root->name, "testsuites");
    ck_assert_str_eq((const char *)suite->name, "testsuite");
    xmlChar *n = xmlGetProp(suite, BAD_CAST "tests");
    if (tests)
        ck_assert_str_eq((const char *)n, tests);
    xmlFree(n);
    xmlFreeDoc(doc);
}

/* Nothing that drives a terminal, nothing that is no text. */
static void check_terminal(const xd_buf *out)
{
    for (size_t i = 0; i < out->len; i++)
        ck_assert_msg(out->data[i] >= 0x20 || out->data[i] == '\n' || out->data[i] == '\t',
                      "byte %02x at %zu", out->data[i], i);
    ck_assert(xd_text_is_utf8(xd_buf_view(out)));
}

static void check_out(size_t reporter, const xd_buf *out)
{
    if (reporter == 0)
        check_terminal(out);
    else if (reporter == 1)
        check_junit(out, NULL);
    else if (reporter == 2)
        check_jsonl(out);
    else
        ck_assert_uint_eq(out->len, 0);
}

static bool has(const xd_buf *out, const char *text)
{
    return out->len && memmem(out->data, out->len, text, strlen(text)) != NULL;
}

#define EACH_REPORTER(i) for (size_t i = 0; i < XD_ARRAY_LEN(reporters); i++)

/* ---- tests --------------------------------------------------------------------------------------------- */

START_TEST(nothing_at_all)
{
    EACH_REPORTER(i)
    {
        xd_fixture f = { 0 };
        xd_autobuf out = XD_BUF_INIT;
        xd_fixture_render(&f, reporters[i], NULL, SIZE_MAX, &out);
        check_out(i, &out);
        xd_fixture_release(&f);
    }
}
END_TEST

START_TEST(empty_run)
{
    EACH_REPORTER(i)
    {
        xd_fixture f = { 0 };
        xd_autobuf out = XD_BUF_INIT;
        xd_fixture_start(&f, NULL);
        xd_fixture_collect_n(&f, 0);
        xd_fixture_end(&f, 5, "");
        xd_fixture_render(&f, reporters[i], NULL, SIZE_MAX, &out);
        check_out(i, &out);
        if (i == 0)
            ck_assert(has(&out, "= no tests ran in 1.23s ="));
        if (i == 1)
            check_junit(&out, "0");
        xd_fixture_release(&f);
    }
}
END_TEST

START_TEST(every_outcome)
{
    EACH_REPORTER(i)
    {
        xd_fixture f = { 0 };
        xd_autobuf out = XD_BUF_INIT;
        xd_fixture_everything(&f, NULL);
        xd_fixture_render(&f, reporters[i], NULL, SIZE_MAX, &out);
        check_out(i, &out);
        if (i == 0) {
            ck_assert(has(&out, "= 4 failed, 1 crashed, 1 timeout, 1 lost, 3 passed, 2 skipped, 1 xfailed, 1 "
                                "xpassed, 3 warnings, 4 errors, "
                                "1 subtests passed in 1.23s ="));
            ck_assert(has(&out, "!!! stopping after 3 failures !!!"));
            ck_assert(has(&out, "\n[gw1] half a line\n[gw1] and a rest\n"));
            ck_assert(has(&out, "[gw1] node down: killed by SIGSEGV\nreplacing crashed worker gw1\n"));
            ck_assert(has(&out, "\nFatal Python error: Segmentation fault\n"));
            ck_assert(has(&out, "_ ERROR at teardown of TestC.test_teardown _"));
        }
        if (i == 1)
            ck_assert(has(&out, "errors=\"7\" failures=\"4\" skipped=\"3\""));
        if (i == 2)
            ck_assert(has(&out, "\"signal\":11"));
        xd_fixture_release(&f);
    }
}
END_TEST

START_TEST(hostile_bytes)
{
    static const char bad[] = "\x1b]0;title\x07 \x9b"
                              "31m \xff\xfe \xed\xb2\x80 \xe2\x80\xae \xc3( ]]> &<\"'> \x00 \r\n\t end";
    xd_bytes          evil = { (const uint8_t *)bad, sizeof bad - 1 };
    EACH_REPORTER(i)
    {
        xd_fixture     f = { 0 };
        xd_autobuf     out = XD_BUF_INIT, id = XD_BUF_INIT, sections = XD_BUF_INIT;
        xd_wire_REPORT r = { .item = 0,
                             .attempt = 1,
                             .line = 1,
                             .when = XD_BYTES_LIT("call"),
                             .category = XD_BYTES_LIT("failed"),
                             .outcome = XD_BYTES_LIT("failed"),
                             .letter = evil,
                             .word = evil,
                             .text = evil,
                             .message = evil,
                             .path = evil,
                             .subtest = evil };
        ck_assert_int_eq(xd_buf_add_str(&id, "test_a.py::test_"), 0);
        ck_assert_int_eq(xd_buf_add_bytes(&id, evil), 0);
        xd_bytes ids[3] = { xd_buf_view(&id), evil, XD_BYTES_LIT("test_a.py::test_crash") };
        ck_assert_int_eq(xd_wire_PAIR_append(&sections, &(xd_wire_PAIR){ .name = evil, .value = evil }), 0);
        r.sections = r.properties = (xd_wire_list){ .count = 1, .ptr = sections.data, .len = sections.len };
        xd_fixture_start(&f, NULL);
        xd_fixture_collect(&f, ids, 3);
        xd_fixture_report(&f, &r);
        xd_fixture_result(&f, 0, XD_OUT_FAILED, 1, 0);
        r.item = 1;
        r.category = XD_BYTES_LIT("skipped");
        r.outcome = XD_BYTES_LIT("skipped");
        xd_fixture_report(&f, &r);
        xd_fixture_result(&f, 1, XD_OUT_SKIPPED, 1, 0);
        xd_fixture_output(&f, 0, evil);
        xd_fixture_down(&f, 0, 2, 11, bad);
        xd_fixture_result(&f, 2, XD_OUT_CRASHED, 0, 0);
        xd_fixture_warning(&f, bad, bad);
        xd_fixture_note(&f, 3, bad);
        xd_fixture_end(&f, 1, bad);
        xd_fixture_render(&f, reporters[i],
                          (const char *const[]){ "-rA", "-v", "durations=0", "junit_logging=all", NULL },
                          SIZE_MAX, &out);
        check_out(i, &out);
        xd_fixture_release(&f);
    }
}
END_TEST

START_TEST(torn_journal)
{
    xd_fixture f = { 0 };
    xd_fixture_everything(&f, NULL);
    EACH_REPORTER(i)
    {
        if (i == HISTORY)
            continue; /* a database per cut is slow and says nothing new */
        for (size_t cut = 0; cut < f.frames.len; cut += 97) {
            xd_autobuf out = XD_BUF_INIT;
            xd_fixture_render(&f, reporters[i], NULL, cut, &out);
            check_out(i, &out);
            if (i == 0 && cut > 2000)
                ck_assert(has(&out, "the journal ends before the run did"));
        }
    }
    xd_fixture_release(&f);
}
END_TEST

/* Live: ticks between the frames, output flushed whenever; offline: all at once.  The same bytes. */
START_TEST(replay_is_live)
{
    xd_fixture f = { 0 };
    xd_fixture_everything(&f, NULL);
    EACH_REPORTER(i)
    {
        if (i == HISTORY)
            continue;
        xd_autobuf       once = XD_BUF_INIT, live = XD_BUF_INIT;
        char             path[] = "/tmp/xd-live-XXXXXX";
        int              fd = mkstemp(path);
        xd_report_choice choice;
        xd_report_set   *set = NULL;
        xd_error         err;
        xd_fixture_render(&f, reporters[i], NULL, SIZE_MAX, &once);
        ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
        ck_assert_int_eq(xd_report_set_add(set, xd_fixture_want(&choice, reporters[i], fd, NULL), &err), 0);
        uint64_t now = 1;
        for (size_t at = 0; at < f.frames.len; now += 50000000) {
            xd_frame         frame;
            xd_wire_PROGRESS running = { 0 };
            ck_assert_int_eq(xd_wire_header(f.frames.data + at, &frame), 0);
            ck_assert_int_eq(xd_report_set_frame(set, at, &frame), 0);
            xd_report_set_progress(set, &running, 0, now);
            xd_report_set_tick(set, now);
            at += XD_FRAME_HEADER + frame.len;
        }
        xd_report_set_finish(set);
        xd_report_set_free(set);
        close(fd);
        ck_assert_int_eq(xd_path_read_file(path, 1 << 24, &live, &err), 0);
        unlink(path);
        ck_assert_uint_eq(live.len, once.len);
        ck_assert_mem_eq(live.data, once.data, once.len);
    }
    xd_fixture_release(&f);
}
END_TEST

static void many(xd_fixture *f, uint32_t count)
{
    xd_fixture_start(f, NULL);
    xd_fixture_collect_n(f, count);
    for (uint32_t i = 0; i < count; i += 100)
        xd_fixture_results(f, i, XD_MIN(count - i, 100u));
    xd_fixture_end(f, 0, "");
}

/* The pipe is read only when the reporter says it is busy: a call that blocks would never come back. In the
 * end every byte is there. */
START_TEST(slow_reader)
{
    for (size_t i = 0; i < 3; i += 2) { /* junit writes once, at the end */
        xd_fixture        f = { 0 };
        xd_autobuf        whole = XD_BUF_INIT, got = XD_BUF_INIT;
        xd_report_choice  choice;
        xd_report_set    *set = NULL;
        xd_error          err;
        int               ends[2];
        const char *const verbose[] = { "verbose=1", NULL };
        many(&f, 20000);
        ck_assert_int_eq(pipe(ends), 0);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        xd_fixture_render(&f, reporters[i], verbose, SIZE_MAX, &whole);
        ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
        ck_assert_int_eq(
            xd_report_set_add(set, xd_fixture_want(&choice, reporters[i], ends[1], verbose), &err), 0);
        bool was_busy = false;
        for (size_t at = 0; at < f.frames.len;) {
            bool ready = xd_report_set_ready(set);
            if (ready) {
                xd_frame frame;
                ck_assert_int_eq(xd_wire_header(f.frames.data + at, &frame), 0);
                ck_assert_int_eq(xd_report_set_frame(set, at, &frame), 0);
                at += XD_FRAME_HEADER + frame.len;
            }
            if (!ready) { /* the reader wakes up and takes a little */
                was_busy = true;
                ck_assert_int_ge(xd_report_set_fd(set), 0);
                uint8_t some[32768];
                ssize_t n = read(ends[0], some, sizeof some);
                if (n > 0)
                    ck_assert_int_eq(xd_buf_add(&got, some, (size_t)n), 0);
            }
        }
        ck_assert(was_busy);
        for (int quiet = 0; quiet < 3;) { /* the rest, apart from what finish adds */
            uint8_t some[65536];
            xd_report_set_tick(set, 1);
            ssize_t n = read(ends[0], some, sizeof some);
            quiet = n > 0 ? 0 : quiet + 1;
            if (n > 0)
                ck_assert_int_eq(xd_buf_add(&got, some, (size_t)n), 0);
        }
        xd_report_set_finish(set);
        ssize_t n;
        uint8_t some[65536];
        while ((n = read(ends[0], some, sizeof some)) > 0)
            ck_assert_int_eq(xd_buf_add(&got, some, (size_t)n), 0);
        ck_assert_uint_eq(got.len, whole.len);
        ck_assert_mem_eq(got.data, whole.data, whole.len);
        xd_report_set_free(set);
        close(ends[0]);
        close(ends[1]);
        xd_fixture_release(&f);
    }
}
END_TEST

/* A reader that went away, a folder that cannot be: that reporter ends, the others go on. */
START_TEST(dead_output)
{
    xd_fixture              f = { 0 };
    xd_report_term_options  full_text = XD_REPORT_TERM_OPTIONS_INIT;
    xd_report_junit_options no_xml = { .path = "/proc/xd/no.xml", .fd = -1 };
    xd_report_jsonl_options no_lines = { .path = "/proc/xd/no.jsonl", .fd = -1 }, good = { .fd = -1 };
    xd_report_set          *set = NULL;
    xd_error                err = { 0 };
    int                     full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    char                    path[96];
    snprintf(path, sizeof path, "%s/ok.jsonl", dir);
    xd_fixture_everything(&f, NULL);
    ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
    ck_assert_int_lt(xd_report_set_add(set, (xd_report_want){ &xd_report_jsonl_ops, &no_lines }, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "/proc/xd/no.jsonl"));
    ck_assert_int_eq(xd_report_set_add(set, (xd_report_want){ &xd_report_junit_ops, &no_xml }, &err), 0);
    full_text.fd = full;
    ck_assert_int_eq(xd_report_set_add(set, (xd_report_want){ &xd_report_term_ops, &full_text }, &err), 0);
    good.path = path;
    ck_assert_int_eq(xd_report_set_add(set, (xd_report_want){ &xd_report_jsonl_ops, &good }, &err), 0);
    xd_fixture_feed(&f, set, SIZE_MAX);
    xd_report_set_finish(set);
    ck_assert_int_lt(xd_report_set_error(set, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "junit: "));
    xd_report_set_free(set);
    xd_autobuf out = XD_BUF_INIT;
    ck_assert_int_eq(xd_path_read_file(path, 1 << 24, &out, &err), 0);
    check_jsonl(&out);
    ck_assert(has(&out, "\"event\":\"run_end\""));
    close(full);
    xd_fixture_release(&f);
}
END_TEST

START_TEST(live_line)
{
    xd_fixture             f = { 0 };
    xd_report_term_options options = XD_REPORT_TERM_OPTIONS_INIT;
    xd_report_set         *set = NULL;
    xd_error               err;
    char                   path[96];
    xd_autobuf             running = XD_BUF_INIT, out = XD_BUF_INIT;
    snprintf(path, sizeof path, "%s/tty", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    options.fd = fd;
    options.tty = 1;
    options.color = 0;
    options.width = 80;
    xd_fixture_start(&f, NULL);
    xd_fixture_collect_n(&f, 10);
    xd_fixture_results(&f, 0, 4);
    ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
    ck_assert_int_eq(xd_report_set_add(set, (xd_report_want){ &xd_report_term_ops, &options }, &err), 0);
    xd_fixture_feed(&f, set, SIZE_MAX);
    ck_assert_int_eq(
        xd_wire_RUNNING_append(&running, &(xd_wire_RUNNING){ .worker = 1, .item = 7, .age_ms = 65000 }), 0);
    xd_wire_PROGRESS progress = { .running = { .count = 1, .ptr = running.data, .len = running.len } };
    xd_report_set_progress(set, &progress, 0, 100000000000u);
    xd_report_set_tick(set, 100000000000u);
    ck_assert_int_eq(xd_path_read_file(path, 1 << 20, &out, &err), 0);
    ck_assert(
        has(&out, "....\n\x1b[?7l4/10 | tests/unit/test_module_000.py::TestClass::test_case[000007] 1m05s"));
    xd_report_set_finish(set);
    xd_buf_clear(&out);
    ck_assert_int_eq(xd_path_read_file(path, 1 << 20, &out, &err), 0);
    ck_assert(has(&out, "\x1b[?7h\r\r\x1b[J\x1b[A\x1b[5G"));
    xd_report_set_free(set);
    close(fd);
    xd_fixture_release(&f);
}
END_TEST

/* Two environments that have tests of their own: t::a passes in both, t::b fails in the second, t::c is the second's. */
static void each_run(xd_fixture *f, bool over)
{
    static const char *const specs[] = { "popen//env:A=b", "popen//env:A=c" };
    ck_assert_int_eq(xd_wire_RUN_START_frame(&f->frames, 0, 0, &(xd_wire_RUN_START){ .each = 1 }), 0);
    for (uint16_t g = 0; g < 2; g++) {
        xd_autobuf ids = XD_BUF_INIT;
        f->gateway = g;
        ck_assert_int_eq(
            xd_wire_GATEWAY_UP_frame(
                &f->frames, 0, 0,
                &(xd_wire_GATEWAY_UP){ .gateway = g, .spec = text(specs[g]), .host = text("box") }),
            0);
        ck_assert_int_eq(
            xd_wire_CONFIG_frame(&f->frames, g, ++f->seq,
                                 &(xd_wire_CONFIG){ .python_version = text(g ? "3.9.1" : "2.7.18"),
                                                    .pytest_version = text("9.2.0") }),
            0);
        for (uint32_t i = 0; i < 2u + g; i++)
            ck_assert_int_eq(
                xd_wire_NODEID_append(
                    &ids, &(xd_wire_NODEID){ .id = { (const uint8_t *)"t::a\0t::b\0t::c" + 5 * i, 4 },
                                             .line = -1 }),
                0);
        ck_assert_int_eq(
            xd_wire_COLLECT_IDS_frame(
                &f->frames, g, ++f->seq,
                &(xd_wire_COLLECT_IDS){ .ids = { .count = 2u + g, .ptr = ids.data, .len = ids.len } }),
            0);
        ck_assert_int_eq(xd_wire_COLLECTED_frame(&f->frames, g, ++f->seq,
                                                 &(xd_wire_COLLECTED){ .count = 2u + g, .exit_status = -1 }),
                         0);
    }
    for (uint16_t g = 0; g < 2; g++) {
        ck_assert_int_eq(
            xd_wire_COLLECTION_frame(
                &f->frames, 0, 0,
                &(xd_wire_COLLECTION){ .count = 2u + g, .workers = 1, .collection = g, .owner = g }),
            0);
        ck_assert_int_eq(xd_wire_WORKER_UP_frame(&f->frames, g, ++f->seq,
                                                 &(xd_wire_WORKER_UP){ .worker = g, .replaces = 0xffff }),
                         0);
    }
    f->gateway = 0;
    xd_fixture_result(f, 0, XD_OUT_PASSED, 0, 0);
    f->gateway = 1;
    xd_fixture_result(f, 0, XD_OUT_PASSED, 0, 1);
    xd_fixture_report(f, &REPORT(1, "call", "failed", "F", "FAILED", "failed", "E   assert 0", "assert 0"));
    xd_fixture_result(f, 1, XD_OUT_FAILED, 1, 1);
    if (!over)
        return;
    xd_fixture_report(f, &REPORT(2, "setup", "skipped", "s", "SKIPPED", "skipped", "", "not here"));
    xd_fixture_result(f, 2, XD_OUT_SKIPPED, 1, 1);
    f->gateway = 0;
    xd_fixture_result(f, 1, XD_OUT_PASSED, 0, 0);
    xd_fixture_end(f, 1, "");
}

START_TEST(each_environment)
{
    xd_fixture f = { 0 };
    each_run(&f, true);
    for (size_t bytes = 0; bytes < f.frames.len; bytes += 7) /* cut off anywhere */
        EACH_REPORTER(i)
        {
            xd_autobuf out = XD_BUF_INIT;
            xd_fixture_render(&f, reporters[i], NULL, bytes, &out);
            check_out(i, &out);
        }
    xd_autobuf out = XD_BUF_INIT;
    xd_fixture_render(&f, "terminal", NULL, SIZE_MAX, &out);
    ck_assert(has(&out, "popen//env:A=b: 1 worker [2 items], Python 2.7.18 (A=b)\n"));
    ck_assert(
        has(&out, "\nA=b  ..                                                                  [100%]\n"));
    ck_assert(
        has(&out, "\nA=c  .Fs                                                                 [100%]\n"));
    ck_assert(has(&out, "\nA=b      A=c\npassed   failed   t::b\n-        skipped  t::c\n"
                        "1 of 3 tests are equal in 2 environments\n"));
    xd_buf_clear(&out);
    xd_fixture_render(&f, "junit", NULL, SIZE_MAX, &out);
    check_junit(&out, "2");
    ck_assert(has(
        &out,
        "<testsuite name=\"pytest [popen//env:A=c]\" errors=\"0\" failures=\"1\" skipped=\"1\" tests=\"3\""));
    xd_buf_clear(&out);
    xd_fixture_render(&f, "matrix", NULL, SIZE_MAX, &out);
    ck_assert_str_eq(xd_buf_cstr(&out), "A=b      A=c\npassed   failed   t::b\n-        skipped  t::c\n"
                                        "1 of 3 tests are equal in 2 environments\n");
    xd_fixture_release(&f);
}
END_TEST

START_TEST(live_line_of_each)
{
    xd_fixture             f = { 0 };
    xd_report_term_options options = XD_REPORT_TERM_OPTIONS_INIT;
    xd_report_set         *set = NULL;
    xd_error               err;
    char                   path[96];
    xd_autobuf             running = XD_BUF_INIT, out = XD_BUF_INIT;
    snprintf(path, sizeof path, "%s/tty", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    options.fd = fd;
    options.tty = 1;
    options.color = 0;
    options.width = 80;
    each_run(&f, false);
    ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
    ck_assert_int_eq(xd_report_set_add(set, (xd_report_want){ &xd_report_term_ops, &options }, &err), 0);
    xd_fixture_feed(&f, set, SIZE_MAX);
    ck_assert_int_eq(
        xd_wire_RUNNING_append(&running, &(xd_wire_RUNNING){ .worker = 1, .item = 2, .age_ms = 65000 }), 0);
    xd_wire_PROGRESS progress = { .running = { .count = 1, .ptr = running.data, .len = running.len } };
    xd_report_set_progress(set, &progress, 1, 100000000000u);
    xd_report_set_tick(set, 100000000000u);
    ck_assert_int_eq(xd_path_read_file(path, 1 << 20, &out, &err), 0);
    ck_assert_msg(has(&out, "\n\x1b[?7lA=b  1/2\nA=c  2/3, 1 failed | t::c 1m05s\x1b[?7h\r\x1b[1A"), "%s",
                  xd_buf_cstr(&out));
    xd_report_set_finish(set);
    xd_buf_clear(&out);
    ck_assert_int_eq(xd_path_read_file(path, 1 << 20, &out, &err), 0);
    ck_assert(has(&out, "\x1b[1A\r\x1b[JA=b  .  "));
    xd_report_set_free(set);
    close(fd);
    xd_fixture_release(&f);
}
END_TEST

/* Four items: the first two passed, gw1 is in the third for 4 s. `over`: the run ended after 5 s; else it is cut off. */
static void stopped_run(xd_fixture *f, bool over)
{
    xd_wire_STILL_RUNNING running = { .worker = 1, .item = 2, .age_ms = 4000, .slow = 1 };
    xd_wire_WORKER_DOWN   down = { .worker = 1, .expected = 1, .signal = 9, .item = 2, .age_ms = 5678 };
    xd_fixture_start(f, NULL);
    xd_fixture_collect_n(f, 4);
    xd_fixture_results(f, 0, 2);
    ck_assert_int_eq(xd_wire_STILL_RUNNING_frame(&f->frames, 0, 0, &running), 0);
    if (!over)
        return;
    ck_assert_int_eq(xd_wire_WORKER_DOWN_frame(&f->frames, f->gateway, ++f->seq, &down), 0);
    xd_fixture_end(f, 2, "KeyboardInterrupt");
}

START_TEST(interrupted)
{
    static const char id[] = "tests/unit/test_module_000.py::TestClass::test_case[000002]";
    for (int over = 0; over < 2; over++) {
        xd_fixture f = { 0 };
        xd_autobuf out = XD_BUF_INIT;
        char       line[200];
        stopped_run(&f, over);
        xd_fixture_render(&f, "terminal", NULL, SIZE_MAX, &out);
        snprintf(line, sizeof line, "xd: slow: %s has run for 4.0s on gw1\n", id);
        ck_assert(has(&out, line));
        snprintf(line, sizeof line, "xd: warning: %s: %s (gw1, for %s)\n",
                 over ? "interrupted while running" : "was still running", id,
                 over ? "5.6s" : "at least 4.0s");
        ck_assert_msg(has(&out, line), "%s", xd_buf_cstr(&out));
        xd_buf_clear(&out);
        xd_fixture_render(&f, "junit", NULL, SIZE_MAX, &out);
        ck_assert_msg(has(&out, "failures=\"0\" skipped=\"0\"") &&
                          has(&out, over ? "errors=\"1\"" : "errors=\"2\""),
                      "%s", xd_buf_cstr(&out));
        snprintf(line, sizeof line, "time=\"%s\"><error message=\"interrupted while running\">",
                 over ? "5.678" : "4.000");
        ck_assert_msg(has(&out, line), "%s", xd_buf_cstr(&out));
        ck_assert_int_eq(has(&out, "test_case[000003]"), 0); /* it never ran */
        xd_buf_clear(&out);
        xd_fixture_render(&f, "jsonl", NULL, SIZE_MAX, &out);
        ck_assert(has(&out, "\"event\":\"still_running\""));
        ck_assert_int_eq(has(&out, "\"event\":\"interrupted\""), over);
        xd_fixture_release(&f);
    }
}
END_TEST

/* A test that was running for long and then ended is none of them. */
START_TEST(not_interrupted)
{
    xd_fixture f = { 0 };
    xd_autobuf out = XD_BUF_INIT;
    stopped_run(&f, false);
    xd_fixture_results(&f, 2, 2);
    xd_fixture_end(&f, 0, "");
    xd_fixture_render(&f, "terminal", NULL, SIZE_MAX, &out);
    ck_assert(has(&out, "xd: slow: ") && !has(&out, "still running") && !has(&out, "interrupted"));
    xd_buf_clear(&out);
    xd_fixture_render(&f, "junit", NULL, SIZE_MAX, &out);
    ck_assert(has(&out, "errors=\"0\"") && !has(&out, "interrupted"));
    xd_fixture_release(&f);
}
END_TEST

START_TEST(colours)
{
    xd_fixture             f = { 0 };
    xd_report_term_options options = XD_REPORT_TERM_OPTIONS_INIT;
    xd_error               err;
    for (int color = -1; color <= 1; color++) {
        xd_report_set *set = NULL;
        xd_autobuf     out = XD_BUF_INIT;
        char           path[96];
        snprintf(path, sizeof path, "%s/c%d", dir, color);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        xd_fixture_release(&f);
        xd_fixture_everything(&f, NULL);
        options.fd = fd;
        options.tty = color < 0;
        options.live = XD_LIVE_NEVER;
        options.color = color;
        setenv("NO_COLOR", "1", 1); /* --color says more than NO_COLOR, a terminal less */
        ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
        ck_assert_int_eq(xd_report_set_add(set, (xd_report_want){ &xd_report_term_ops, &options }, &err), 0);
        xd_fixture_feed(&f, set, SIZE_MAX);
        xd_report_set_finish(set);
        xd_report_set_free(set);
        unsetenv("NO_COLOR");
        close(fd);
        ck_assert_int_eq(xd_path_read_file(path, 1 << 20, &out, &err), 0);
        ck_assert_int_eq(has(&out, "\x1b["), color == 1);
        ck_assert_int_eq(has(&out, "\x1b[31m\x1b[1mE       assert 1 == 2\x1b[0m"), color == 1);
    }
    xd_fixture_release(&f);
}
END_TEST

START_TEST(a_hundred_thousand)
{
    xd_fixture       f = { 0 };
    xd_report_set   *set = NULL;
    xd_error         err;
    struct rusage    before, after;
    char             xml[96], jsonl[96];
    xd_report_choice choice;
    int              null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    many(&f, 100000);
    snprintf(xml, sizeof xml, "%s/r.xml", dir);
    snprintf(jsonl, sizeof jsonl, "%s/r.jsonl", dir);
    struct mallinfo2 m0 = mallinfo2();
    ck_assert_int_eq(xd_report_set_new(&set, xd_fixture_source(&f)), 0);
    xd_report_want wants[] = { xd_fixture_want(&choice, "terminal", null, NULL),
                               { &xd_report_junit_ops, &choice.junit },
                               { &xd_report_jsonl_ops, &choice.jsonl },
                               { &xd_report_history_ops, &choice.history } };
    choice.junit.path = xml;
    choice.jsonl.path = jsonl;
    for (size_t i = 0; i < XD_ARRAY_LEN(wants); i++)
        ck_assert_int_eq(xd_report_set_add(set, wants[i], &err), 0);
    getrusage(RUSAGE_SELF, &before);
    xd_fixture_feed(&f, set, SIZE_MAX);
    struct mallinfo2 m1 = mallinfo2();
    getrusage(RUSAGE_SELF, &after);
    double fed = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                          before.ru_stime.tv_sec) *
                     1e6 +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                          before.ru_stime.tv_usec);
    xd_report_set_finish(set);
    getrusage(RUSAGE_SELF, &after);
    double us = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                         before.ru_stime.tv_sec) *
                    1e6 +
                (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                         before.ru_stime.tv_usec);
    double held = (double)(m1.uordblks + m1.hblkhd - m0.uordblks - m0.hblkhd) / 1e6;
    ck_assert_int_eq(xd_report_set_error(set, &err), 0);
    xd_report_set_free(set);
    printf("100,000 passing tests, four reporters: %.2f us CPU per test (%.2f while it runs), %.1f MB held\n",
           us / 1e5, fed / 1e5, held);
    ck_assert_msg(us / 1e5 < 60, "%.2f us per test",
                  us / 1e5); /* wide: sanitizers and busy machines; tests/bench holds the figure */
    ck_assert(held < 40);
    close(null);
    xd_fixture_release(&f);
}
END_TEST

/* reporter_test FRAMES terminal|junit|jsonl [option=value ...]: renders a file of frames
 * (tests/scenario/test_reporters.py). */
static int render_file(char **argv)
{
    xd_fixture f = { 0 };
    xd_autobuf out = XD_BUF_INIT;
    if (xd_fixture_load(&f, argv[1]) < 0)
        return 1;
    xd_fixture_render(&f, argv[2], (const char *const *)argv + 3, SIZE_MAX, &out);
    fwrite(out.data, 1, out.len, stdout);
    xd_fixture_release(&f);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3)
        return render_file(argv);
    Suite *s = suite_create("reporters");
    TCase *c = tcase_create("every reporter");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, nothing_at_all);
    tcase_add_test(c, empty_run);
    tcase_add_test(c, every_outcome);
    tcase_add_test(c, hostile_bytes);
    tcase_add_test(c, torn_journal);
    tcase_add_test(c, replay_is_live);
    tcase_add_test(c, slow_reader);
    tcase_add_test(c, dead_output);
    tcase_add_test(c, live_line);
    tcase_add_test(c, each_environment);
    tcase_add_test(c, live_line_of_each);
    tcase_add_test(c, interrupted);
    tcase_add_test(c, not_interrupted);
    tcase_add_test(c, colours);
    tcase_add_test(c, a_hundred_thousand);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
