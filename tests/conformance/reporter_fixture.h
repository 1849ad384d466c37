/* tests/conformance/reporter_fixture.h - a journal in memory for tests of reporters: frames are appended,
 * read back by offset, replayed. */
#pragma once
#include "actors/report_choice.h"
#include "actors/report_set.h"

typedef struct xd_fixture {
    xd_buf   frames;
    uint16_t gateway; /* written into the flags of what an agent would have sent */
    uint64_t seq;
} xd_fixture;

void              xd_fixture_release(xd_fixture *f);
xd_runview_source xd_fixture_source(xd_fixture *f);
/* Reads a file of frames, one behind the other. */
int xd_fixture_load(xd_fixture *f, const char *path) XD_MUST;

/* RUN_START, GATEWAY_UP, CONFIG (options: name, value, name, value, ... NULL), WORKER_UP gw0 and gw1. */
void xd_fixture_start(xd_fixture *f, const char *const *options);
/* COLLECT_IDS, COLLECTED, COLLECTION. */
void xd_fixture_collect(xd_fixture *f, const xd_bytes *ids, uint32_t count);
void xd_fixture_collect_n(xd_fixture *f, uint32_t count); /* "tests/test_NNN.py::test_case[NNN]" */
void xd_fixture_result(xd_fixture *f, uint32_t item, uint8_t outcome, uint8_t flags, uint16_t worker);
void xd_fixture_results(xd_fixture *f, uint32_t first, uint32_t count); /* passed, one frame */
void xd_fixture_report(xd_fixture *f, const xd_wire_REPORT *r);
void xd_fixture_warning(xd_fixture *f, const char *nodeid, const char *text);
void xd_fixture_output(xd_fixture *f, uint16_t worker, xd_bytes data);
void xd_fixture_down(xd_fixture *f, uint16_t worker, uint32_t item, int signal, const char *last_output);
void xd_fixture_note(xd_fixture *f, uint8_t level, const char *text);
void xd_fixture_end(xd_fixture *f, int32_t status, const char *reason);

/* Every outcome, captured output, subtests, collection error and skip, warnings, crash: about 20 items. */
void xd_fixture_everything(xd_fixture *f, const char *const *options);

/* Feeds the first `bytes` of the journal (SIZE_MAX = all) to the set; stops at a torn frame. */
void xd_fixture_feed(xd_fixture *f, xd_report_set *set, size_t bytes);
/* A reporter by its name that writes plain text, 80 columns wide, to fd. The result points into `choice`. */
xd_report_want xd_fixture_want(xd_report_choice *choice, const char *reporter, int fd,
                               const char *const *override);
/* Renders with one reporter into `out` (through a file). */
void xd_fixture_render(xd_fixture *f, const char *reporter, const char *const *override, size_t bytes,
                       xd_buf *out);
