/* actors/runview.h - what a run looks like so far: the fold of its journal into arrays.
 *   in   every frame of the journal, in order, once (xd_runview_frame)
 *   out  items (node id, outcome, times, worker, where their REPORT records lie), counts, workers, warnings,
 *        configuration
 * Text that is big (failure texts, captured output, worker's last output) stays in the journal: the view
 * keeps file offsets and reads a record back through xd_runview_source when a reporter wants it. About 200
 * bytes per passing item including its node id.
 * Its parts have a header each: texts, tests, envs, config, collection, notes. This one says which record goes to which
 * part.
 * One thread.  No clock, no I/O of its own. */
#pragma once
#include "actors/runview_collection.h"
#include "actors/runview_config.h"
#include "actors/runview_envs.h"
#include "actors/runview_notes.h"
#include "actors/runview_tests.h"

/* Reads the frame at `offset` back.  *ret stays valid until the next call.  0, -errno. */
typedef struct xd_runview_source {
    int (*read)(void *arg, uint64_t offset, xd_frame *ret);
    void *arg;
} xd_runview_source;

/* Beginning and end. */
typedef struct xd_runview_run {
    xd_bytes id, xd_version, cwd;
    uint64_t start_wall_us;
    bool     over; /* RUN_END seen */
    int32_t  exit_status;
    uint64_t duration_us, end_wall_us;
    xd_bytes reason; /* of RUN_END, else of a collection that ended the session */
} xd_runview_run;

typedef struct xd_runview {
    xd_runview_source     source;
    xd_runview_texts      texts;
    xd_runview_run        run;
    xd_runview_config     config;
    xd_runview_envs       envs;
    xd_runview_collection collection;
    xd_runview_tests      tests;
    xd_runview_notes      notes;
    uint64_t              frames, damaged; /* frames taken; frames that did not decode (skipped) */
} xd_runview;

/* `source` is kept by value; its arg must outlive the view. */
int  xd_runview_init(xd_runview *ret, xd_runview_source source) XD_MUST;
void xd_runview_release(xd_runview *v);

/* Takes one frame which lies at file offset `offset`. RESULTS: folds every result of it, one after the other;
 * when `ended` is given it is called after each item that got its outcome, and again (`closing`) when
 * fixtures that outlived it are torn down. 0, XD_RUNVIEW_IGNORED, -ENOMEM, or
 * < 0 from `ended`. */
typedef int (*xd_runview_ended_fn)(void *arg, uint32_t item);
int xd_runview_frame(xd_runview *v, uint64_t offset, const xd_frame *frame, xd_runview_ended_fn ended,
                     void *arg) XD_MUST;

/* Where the item that a record of this gateway names lies in tests.items; XD_NO_INDEX: nowhere. */
uint32_t xd_runview_place(const xd_runview *v, uint16_t gateway, uint32_t item);
/* Where there are several collections, the spec of the environment that an item is of; else empty. */
xd_bytes xd_runview_environment(const xd_runview *v, uint32_t item);
/* The same of a report, which may be one of the collection. */
xd_bytes xd_runview_environment_of_report(const xd_runview *v, uint32_t report);
/* The spec of the environment whose gateway a record comes from; empty: not known yet. */
xd_bytes xd_runview_spec(const xd_runview *v, uint16_t gateway);
/* What a worker is called. */
xd_name xd_runview_worker_name(const xd_runview *v, uint32_t worker);
/* xd_outcome_sentence() of an item that was cut. -ENOMEM. */
int xd_runview_sentence(const xd_runview *v, const xd_runview_item *i, xd_buf *out) XD_MUST;
/* Count of a category ("passed"); 0 when there is none. */
uint64_t xd_runview_counted(const xd_runview *v, const char *category);
/* Value of an option of CONFIG, NULL when it is not there (first of that name; a NUL follows the data). */
const char *xd_runview_option(const xd_runview *v, const char *name);
/* Reads REPORT `index` back and decodes it; views are valid until the next read.  0, -errno. */
int xd_runview_report_read(const xd_runview *v, uint32_t index, xd_wire_REPORT *ret) XD_MUST;
/* The text of a report without pytest's colours: as it is, or made in `room` where it has some. */
int xd_runview_plain_text(const xd_wire_REPORT *r, xd_buf *room, xd_bytes *ret) XD_MUST;
/* At the end of a run, or of a journal that is cut off: the worker that was inside of this item, which has got no
 * outcome. NULL = it was not running. */
const xd_runview_worker *xd_runview_interrupted(const xd_runview *v, uint32_t item);
/* The other way round: the item that this worker was inside of, XD_NO_INDEX. */
uint32_t xd_runview_interrupted_in(const xd_runview *v, uint32_t worker);
/* The run's pytest is of this release or a newer one (or unknown): reports are written as that pytest writes them. */
bool xd_runview_pytest_from(const xd_runview *v, unsigned major, unsigned minor);
