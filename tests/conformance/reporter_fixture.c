/* Included by tests (reporter_test.c, runview_test.c): tests/CMakeLists.txt links one file per program. */
#include "tests/conformance/reporter_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"

/* A fixture that cannot be made is a broken test machine. */
#define MUST(expr)                                                                \
    do {                                                                          \
        int must_ = (expr);                                                       \
        if (must_ < 0) {                                                          \
            fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #expr, must_); \
            abort();                                                              \
        }                                                                         \
    } while (0)

static xd_bytes text(const char *s)
{
    return xd_bytes_str(s);
}

void xd_fixture_release(xd_fixture *f)
{
    xd_buf_release(&f->frames);
}

static int read_at(void *arg, uint64_t offset, xd_frame *ret)
{
    xd_fixture *f = arg;
    if (offset + XD_FRAME_HEADER > f->frames.len)
        return -EPROTO;
    XD_TRY(xd_wire_header(f->frames.data + offset, ret));
    return offset + XD_FRAME_HEADER + ret->len > f->frames.len ? -EPROTO : 0;
}

xd_runview_source xd_fixture_source(xd_fixture *f)
{
    return (xd_runview_source){ .read = read_at, .arg = f };
}

int xd_fixture_load(xd_fixture *f, const char *path)
{
    xd_error err;
    return xd_path_read_file(path, (size_t)1 << 30, &f->frames, &err);
}

static xd_wire_list pairs(xd_buf *buf, const char *const *names_values)
{
    uint32_t count = 0;
    for (const char *const *p = names_values; p && *p; p += 2, count++)
        MUST(xd_wire_PAIR_append(buf, &(xd_wire_PAIR){ .name = text(p[0]), .value = text(p[1]) }));
    return (xd_wire_list){ .count = count, .ptr = buf->data, .len = buf->len };
}

void xd_fixture_start(xd_fixture *f, const char *const *options)
{
    xd_autobuf argv = XD_BUF_INIT, opts = XD_BUF_INIT, head = XD_BUF_INIT;
    MUST(xd_wire_TEXT_append(&argv, &(xd_wire_TEXT){ .text = text("tests") }));
    MUST(xd_wire_RUN_START_frame(
        &f->frames, 0, 0,
        &(xd_wire_RUN_START){ .run_id = text("00112233445566778899aabbccddeeff"),
                              .version = text("0.1"),
                              .wall_us = 1700000000123456u,
                              .cwd = text("/work/p"),
                              .argv = { .count = 1, .ptr = argv.data, .len = argv.len } }));
    MUST(xd_wire_GATEWAY_UP_frame(&f->frames, 0, 0,
                                  &(xd_wire_GATEWAY_UP){ .gateway = f->gateway,
                                                         .spec = text("popen"),
                                                         .host = text("box"),
                                                         .system = text("Linux 6.1 x86_64"),
                                                         .cpus = 2 }));
    MUST(xd_wire_TEXT_append(&head, &(xd_wire_TEXT){ .text = text("rootdir: /work/p") }));
    MUST(xd_wire_CONFIG_frame(&f->frames, f->gateway, ++f->seq,
                              &(xd_wire_CONFIG){ .python = text("/usr/bin/python3"),
                                                 .python_version = text("3.12.1"),
                                                 .pytest_version = text("9.2.0"),
                                                 .rootdir = text("/work/p"),
                                                 .invocation_dir = text("/work/p"),
                                                 .header = { .count = 1, .ptr = head.data, .len = head.len },
                                                 .options = pairs(&opts, options) }));
    for (uint16_t w = 0; w < 2; w++)
        MUST(xd_wire_WORKER_UP_frame(
            &f->frames, f->gateway, ++f->seq,
            &(xd_wire_WORKER_UP){ .worker = w, .pid = 100u + w, .way = 1, .replaces = 0xffff }));
}

void xd_fixture_collect(xd_fixture *f, const xd_bytes *ids, uint32_t count)
{
    for (uint32_t first = 0; first < count;) {
        xd_autobuf list = XD_BUF_INIT;
        uint32_t   n = 0;
        while (first + n < count && list.len < 60000) {
            MUST(xd_wire_NODEID_append(
                &list, &(xd_wire_NODEID){ .id = ids[first + n], .line = (int32_t)(first + n) }));
            n++;
        }
        MUST(xd_wire_COLLECT_IDS_frame(
            &f->frames, f->gateway, ++f->seq,
            &(xd_wire_COLLECT_IDS){ .first = first,
                                    .ids = { .count = n, .ptr = list.data, .len = list.len } }));
        first += n;
    }
    MUST(xd_wire_COLLECTED_frame(&f->frames, f->gateway, ++f->seq,
                                 &(xd_wire_COLLECTED){ .count = count, .exit_status = -1, .way = 1 }));
    MUST(xd_wire_COLLECTION_frame(&f->frames, 0, 0, &(xd_wire_COLLECTION){ .count = count, .workers = 2 }));
}

void xd_fixture_collect_n(xd_fixture *f, uint32_t count)
{
    xd_bytes *ids = calloc(count ? count : 1, sizeof *ids);
    char     *names = malloc((size_t)count * 64 + 1);
    if (!ids || !names)
        abort();
    for (uint32_t i = 0; i < count; i++) {
        char *name = names + (size_t)i * 64;
        int   len =
            snprintf(name, 64, "tests/unit/test_module_%03u.py::TestClass::test_case[%06u]", i / 100, i);
        ids[i] = (xd_bytes){ (const uint8_t *)name, (size_t)len };
    }
    xd_fixture_collect(f, ids, count);
    free(ids);
    free(names);
}

static xd_wire_RESULT result(uint32_t item, uint8_t outcome, uint8_t flags)
{
    return (xd_wire_RESULT){ .item = item,
                             .attempt = 1,
                             .outcome = outcome,
                             .flags = flags,
                             .setup_us = 100,
                             .call_us = 2000 + item % 7,
                             .teardown_us = 50,
                             .position = item,
                             .start_us = 1700000001000000u + item };
}

void xd_fixture_result(xd_fixture *f, uint32_t item, uint8_t outcome, uint8_t flags, uint16_t worker)
{
    xd_autobuf     list = XD_BUF_INIT;
    xd_wire_RESULT r = result(item, outcome, flags);
    MUST(xd_wire_RESULT_append(&list, &r));
    MUST(xd_wire_RESULTS_frame(
        &f->frames, f->gateway, ++f->seq,
        &(xd_wire_RESULTS){ .worker = worker,
                            .results = { .count = 1, .ptr = list.data, .len = list.len } }));
}

void xd_fixture_results(xd_fixture *f, uint32_t first, uint32_t count)
{
    xd_autobuf list = XD_BUF_INIT;
    for (uint32_t i = 0; i < count; i++) {
        xd_wire_RESULT r = result(first + i, XD_OUT_PASSED, 0);
        MUST(xd_wire_RESULT_append(&list, &r));
    }
    MUST(xd_wire_RESULTS_frame(
        &f->frames, f->gateway, ++f->seq,
        &(xd_wire_RESULTS){ .worker = 0, .results = { .count = count, .ptr = list.data, .len = list.len } }));
}

void xd_fixture_report(xd_fixture *f, const xd_wire_REPORT *r)
{
    MUST(xd_wire_REPORT_frame(&f->frames, f->gateway, ++f->seq, r));
}

void xd_fixture_warning(xd_fixture *f, const char *nodeid, const char *message)
{
    MUST(xd_wire_WARNING_frame(&f->frames, f->gateway, ++f->seq,
                               &(xd_wire_WARNING){ .item = XD_NO_INDEX,
                                                   .when = text("runtest"),
                                                   .category = text("UserWarning"),
                                                   .nodeid = text(nodeid),
                                                   .text = text(message),
                                                   .file = text("/work/p/test_a.py"),
                                                   .line = 3 }));
}

void xd_fixture_output(xd_fixture *f, uint16_t worker, xd_bytes data)
{
    MUST(xd_wire_OUTPUT_frame(
        &f->frames, f->gateway, ++f->seq,
        &(xd_wire_OUTPUT){ .worker = worker, .stream = 1, .item = XD_NO_INDEX, .data = data }));
}

void xd_fixture_down(xd_fixture *f, uint16_t worker, uint32_t item, int signal, const char *last_output)
{
    MUST(xd_wire_WORKER_DOWN_frame(
        &f->frames, f->gateway, ++f->seq,
        &(xd_wire_WORKER_DOWN){ .worker = worker,
                                .exit_status = signal ? -1 : 3,
                                .signal = signal,
                                .item = item,
                                .session_status = -1,
                                .reason = text(signal == 11 ? "killed by SIGSEGV" : ""),
                                .last_output = text(last_output),
                                .will_restart = 1 }));
}

void xd_fixture_note(xd_fixture *f, uint8_t level, const char *message)
{
    MUST(xd_wire_NOTE_frame(&f->frames, 0, 0, &(xd_wire_NOTE){ .level = level, .text = text(message) }));
}

void xd_fixture_end(xd_fixture *f, int32_t status, const char *reason)
{
    MUST(xd_wire_RUN_END_frame(&f->frames, 0, 0,
                               &(xd_wire_RUN_END){ .exit_status = status,
                                                   .reason = text(reason),
                                                   .wall_us = 1700000002123456u,
                                                   .duration_us = 1234567 }));
}

/* ---- every outcome ------------------------------------------------------------------------------------- */

#define REPORT(i, w, cat, l, wo, out, txt, msg)                                                          \
    (xd_wire_REPORT)                                                                                     \
    {                                                                                                    \
        .item = (i), .attempt = 1, .when = text(w), .category = text(cat), .letter = text(l),            \
        .word = text(wo), .outcome = text(out), .text = text(txt), .message = text(msg),                 \
        .path = text("/work/p/test_a.py"), .line = 6, .duration_us = 2000, .start_us = 1700000001000000u \
    }

void xd_fixture_everything(xd_fixture *f, const char *const *options)
{
    static const char *const names[] = { "test_a.py::test_ok",
                                         "test_a.py::test_fail",
                                         "test_a.py::test_skip",
                                         "test_a.py::test_xfail",
                                         "test_a.py::test_xpass",
                                         "test_a.py::test_setup",
                                         "test_a.py::TestC::test_teardown",
                                         "test_a.py::test_both",
                                         "sub/test_b.py::test_crash",
                                         "sub/test_b.py::test_p[x/y::z]",
                                         "sub/test_b.py::test_subs",
                                         "sub/test_b.py::test_timeout",
                                         "sub/test_b.py::test_lost",
                                         "sub/test_b.py::test_never" };
    xd_bytes                 ids[XD_ARRAY_LEN(names)];
    xd_autobuf               sections = XD_BUF_INIT, props = XD_BUF_INIT;
    static const char *const out_err[] = { "Captured stdout call", "hello \x1b[31mred\nsecond\n",
                                           "Captured stderr call", "err\n", NULL };
    static const char *const props_of[] = { "key", "value <&>", NULL };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        ids[i] = text(names[i]);
    xd_fixture_start(f, options);
    xd_wire_REPORT r = REPORT(XD_NO_INDEX, "collect", "error", "E", "ERROR", "failed", "ImportError: nope",
                              "ImportError: nope");
    r.nodeid = text("test_bad.py");
    r.worker = 0xffff;
    xd_fixture_report(f, &r);
    r = REPORT(XD_NO_INDEX, "collect", "skipped", "s", "SKIPPED", "skipped", "", "whole");
    r.nodeid = text("test_modskip.py");
    r.worker = 0xffff;
    xd_fixture_report(f, &r);
    xd_fixture_collect(f, ids, XD_ARRAY_LEN(names));
    xd_fixture_note(f, 2, "workers are forked from the collected process");
    xd_fixture_result(f, 0, XD_OUT_PASSED, 0, 0);
    r = REPORT(1, "call", "failed", "F", "FAILED", "failed",
               "\n    def test_fail():\n>       assert 1 == 2\nE       assert 1 == 2\n\ntest_a.py:7: "
               "AssertionError\n",
               "assert 1 == 2");
    r.sections = pairs(&sections, out_err);
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 1, XD_OUT_FAILED, 1, 0);
    r = REPORT(2, "setup", "skipped", "s", "SKIPPED", "skipped", "", "no way");
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 2, XD_OUT_SKIPPED, 1, 1);
    r = REPORT(3, "call", "xfailed", "x", "XFAIL", "skipped", "assert 0", "reason: known bug");
    r.flags = XD_REP_WASXFAIL;
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 3, XD_OUT_XFAILED, 1, 1);
    r = REPORT(4, "call", "xpassed", "X", "XPASS", "passed", "", "fixed");
    r.flags = XD_REP_WASXFAIL;
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 4, XD_OUT_XPASSED, 1, 1);
    r = REPORT(5, "setup", "error", "E", "ERROR", "failed", "E   RuntimeError: setup", "RuntimeError: setup");
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 5, XD_OUT_ERROR, 1, 1);
    r = REPORT(6, "call", "passed", ".", "PASSED", "passed", "", "");
    xd_fixture_report(f, &r);
    r = REPORT(6, "teardown", "error", "E", "ERROR", "failed", "E   RuntimeError: td", "RuntimeError: td");
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 6, XD_OUT_ERROR, 1 | 2, 1);
    r = REPORT(7, "call", "failed", "F", "FAILED", "failed", "E   assert 0", "assert 0");
    xd_fixture_report(f, &r);
    r = REPORT(7, "teardown", "error", "E", "ERROR", "failed", "E   RuntimeError: td", "RuntimeError: td");
    r.properties = pairs(&props, props_of);
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 7, XD_OUT_FAILED, 1 | 2, 0);
    xd_fixture_output(f, 1, XD_BYTES_LIT("half a "));
    xd_fixture_output(f, 1, XD_BYTES_LIT("line\nand a rest"));
    xd_fixture_down(f, 1, 8, 11, "Fatal Python error: Segmentation fault\n");
    xd_fixture_result(f, 8, XD_OUT_CRASHED, 0, 1);
    xd_fixture_result(f, 9, XD_OUT_PASSED, 0, 0);
    r = REPORT(10, "call", "subtests passed", "u", "SUBPASSED[good]", "passed", "", "");
    r.subtest = text("[good]");
    xd_fixture_report(f, &r);
    r = REPORT(10, "call", "failed", "u", "SUBFAILED[bad] (k='2')", "failed", "E   assert 0", "assert 0");
    r.subtest = text("[bad] (k='2')");
    xd_fixture_report(f, &r);
    r = REPORT(10, "call", "failed", "F", "FAILED", "failed", "contains 1 failed subtest",
               "contains 1 failed subtest");
    xd_fixture_report(f, &r);
    xd_fixture_result(f, 10, XD_OUT_FAILED, 1, 0);
    xd_fixture_result(f, 11, XD_OUT_TIMEOUT, 0, 0);
    xd_fixture_result(f, 12, XD_OUT_LOST, 0, 0);
    xd_fixture_warning(f, "test_a.py::test_ok", "/work/p/test_a.py:3: UserWarning: hey\n  warn()\n");
    xd_fixture_warning(f, "test_a.py::test_fail", "/work/p/test_a.py:3: UserWarning: hey\n  warn()\n");
    xd_fixture_warning(f, "", "/work/p/test_a.py:3: UserWarning: other\n");
    xd_fixture_result(f, 13, XD_OUT_NOT_RUN, 0, 0);
    xd_fixture_end(f, 1, "stopping after 3 failures");
}

/* ---- replay -------------------------------------------------------------------------------------------- */

void xd_fixture_feed(xd_fixture *f, xd_report_set *set, size_t bytes)
{
    size_t end = XD_MIN(bytes, f->frames.len);
    for (size_t at = 0; at + XD_FRAME_HEADER <= end;) {
        xd_frame frame;
        if (xd_wire_header(f->frames.data + at, &frame) < 0 || at + XD_FRAME_HEADER + frame.len > end)
            return;
        MUST(xd_report_set_frame(set, at, &frame));
        while (!xd_report_set_ready(set))
            usleep(1000);
        at += XD_FRAME_HEADER + frame.len;
    }
}

xd_report_want xd_fixture_want(xd_report_choice *choice, const char *reporter, int fd,
                               const char *const *override)
{
    xd_report_want  want = { NULL, NULL };
    xd_error        err = { 0 };
    xd_report_again how = { .fd = fd, .override = override };
    if (strcmp(reporter, "history") == 0) { /* only a run has it: any other kind prepares `choice` */
        MUST(xd_report_choose_again(choice, "junit", &how, &want, &err));
        return (xd_report_want){ &xd_report_history_ops, &choice->history };
    }
    MUST(xd_report_choose_again(choice, reporter, &how, &want, &err));
    choice->term.tty = 0;
    choice->term.width = 80;
    return want;
}

void xd_fixture_render(xd_fixture *f, const char *reporter, const char *const *override, size_t bytes,
                       xd_buf *out)
{
    char             path[] = "/tmp/xd-reporter-XXXXXX";
    int              fd = mkstemp(path);
    xd_report_set   *set = NULL;
    xd_error         err = { 0 };
    xd_report_choice choice;
    MUST(fd);
    MUST(xd_report_set_new(&set, xd_fixture_source(f)));
    MUST(xd_report_set_add(set, xd_fixture_want(&choice, reporter, fd, override), &err));
    xd_fixture_feed(f, set, bytes);
    xd_report_set_finish(set);
    if (xd_report_set_error(set, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
    MUST(xd_report_set_error(set, NULL));
    xd_report_set_free(set);
    close(fd);
    MUST(xd_path_read_file(path, (size_t)1 << 30, out, &err));
    unlink(path);
}
