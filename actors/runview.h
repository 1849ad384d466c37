/* actors/runview.h - what a run looks like so far: the fold of its journal into arrays.
 *   in   every frame of the journal, in order, once (xd_runview_frame)
 *   out  items (node id, outcome, times, worker, where their REPORT records lie), counts, workers, warnings,
 *        configuration
 * Text that is big (failure texts, captured output, worker's last output) stays in the journal: the view
 * keeps file offsets and reads a record back through xd_runview_source when a reporter wants it. About 200
 * bytes per passing item including its node id.
 * One thread.  No clock, no I/O of its own. */
#pragma once
#include "engine/base/arena.h"
#include "engine/wire.h"

/* One REPORT record.  Reports of one item are linked in journal order (next). */
typedef struct xd_runview_report {
    uint64_t offset;       /* of the frame in the journal */
    uint32_t item;         /* XD_NO_INDEX = collection report */
    uint32_t next;         /* index of the next report of the same item, XD_NO_INDEX = last */
    uint32_t category;     /* index into xd_runview.names; 0 = the empty one: not counted */
    uint32_t letter, word; /* indices into names */
    uint16_t attempt;
    uint16_t worker;
    uint16_t gateway;
    uint8_t  when;    /* 's' 'c' 't' as the first letter of setup call teardown; 'C' = collect; 0 = else */
    uint8_t  outcome; /* 'p' 'f' 's' = pytest's report.outcome */
    uint8_t  flags;   /* those of REPORT */
    uint8_t  subtest; /* 1 = of a subtest */
    uint8_t  taken;   /* 1 = a RESULT of the item came after it */
    uint8_t  counted; /* 1 = the item's RESULT says so, or a collection report that is not a duplicate */
} xd_runview_report;

typedef struct xd_runview_item {
    xd_bytes id;                        /* node id, in the arena; empty = not told (damaged journal) */
    xd_bytes file;                      /* location file; empty = the part of id before "::" */
    int32_t  line;                      /* 0-based, -1 unknown */
    uint32_t first_report, last_report; /* XD_NO_INDEX = none */
    uint32_t setup_us, call_us, teardown_us;
    uint32_t ended;    /* this item was the n-th to end, from 1; 0 = has not ended */
    uint64_t start_us; /* wall clock */
    uint32_t down;     /* crashed: index into downs, XD_NO_INDEX */
    uint16_t worker, gateway, attempt;
    uint16_t unused;  /* leases given back without a start: attempt - unused executions were begun */
    uint8_t  outcome; /* XD_OUT_*, 0 = none yet */
    uint8_t  flags;   /* those of RESULT */
    uint8_t  own;     /* outcome that it counts as by itself, 0 = its reports count */
} xd_runview_item;

typedef struct xd_runview_count {
    uint32_t name; /* index into names: "passed", "failed", "my category" */
    uint64_t count;
} xd_runview_count;

/* One WARNING, SUITE_PROPERTY or WORKER_DOWN record: where it lies. */
typedef struct xd_runview_ref {
    uint64_t offset;
    uint32_t item; /* or XD_NO_INDEX */
    uint16_t worker, gateway;
} xd_runview_ref;

typedef struct xd_runview_worker {
    xd_bytes python_version; /* of its environment's CONFIG, in the arena */
    xd_bytes python;         /* interpreter path */
    xd_bytes spec;           /* xspec of its gateway */
    uint16_t gateway;
    uint16_t replaces; /* XD_NO_WORKER = none */
    uint8_t  up;       /* 1 = runs */
    uint8_t  known;    /* 1 = had a WORKER_UP */
    uint32_t
        running; /* the item + 1 that it was last known to be inside of for long, or when it was ended; 0 = none */
    uint32_t age_ms; /* its age then */
} xd_runview_worker;

typedef struct xd_runview_pair {
    xd_bytes name, value; /* in the arena */
} xd_runview_pair;

/* Reads the frame at `offset` back.  *ret stays valid until the next call.  0, -errno. */
typedef struct xd_runview_source {
    int (*read)(void *arg, uint64_t offset, xd_frame *ret);
    void *arg;
} xd_runview_source;

typedef struct xd_runview {
    xd_arena          arena;
    xd_runview_source source;

    xd_runview_item   *items; /* count entries */
    uint32_t           count, items_cap;
    uint32_t           ended;   /* items with an outcome (not-run ones included) */
    uint32_t           not_run; /* of these: not-run */
    xd_runview_report *reports;
    uint32_t           report_count, reports_cap;
    xd_runview_count  *counts; /* in order of first appearance */
    uint32_t           count_count, counts_cap;
    xd_bytes          *names; /* interned small texts; [0] = "" */
    uint32_t           name_count, names_cap;
    uint32_t       *count_of; /* private; of each name: its index into counts, from 1; 0 = is not counted */
    uint32_t        count_of_cap;
    xd_runview_ref *warnings;
    uint32_t        warning_count, warnings_cap;
    xd_runview_ref *properties; /* SUITE_PROPERTY records */
    uint32_t        property_count, properties_cap;
    xd_runview_ref *summaries; /* SUMMARY records */
    uint32_t        summary_count, summaries_cap;
    xd_runview_ref *downs;
    uint32_t        down_count, downs_cap;
    xd_runview_worker *workers; /* index = worker number */
    uint32_t           worker_count, workers_cap;
    uint32_t          *collect_reports; /* indices into reports, in order */
    uint32_t           collect_report_count, collect_reports_cap;

    /* configuration: of the first CONFIG (the home gateway); XD_NO_INDEX = none yet */
    uint32_t home;
    xd_bytes python, python_version, pytest_version, rootdir, invocation_dir, cwd, run_id, xd_version,
        hostname;
    xd_runview_pair *options; /* effective options; names may repeat (tx) */
    uint32_t         option_count, options_cap;
    xd_bytes        *header;
    uint32_t         header_count, header_cap;

    /* While `ended` is called for an item that had ended before and whose last teardown is over: the first of
     * the reports that came of it (XD_NO_INDEX = none), and whether its outcome is another now. */
    bool     closing, outcome_changed;
    uint32_t closing_report;

    bool                     collection_agreed; /* COLLECTION seen */
    bool                     over;              /* RUN_END seen */
    uint32_t                 collected, deselected, workers_at_start;
    uint64_t                 expected_us, wall_us, duration_us, end_wall_us;
    int32_t                  exit_status;
    xd_bytes                 reason;          /* of RUN_END, else of a collection that ended the session */
    uint64_t                 frames, damaged; /* frames taken; frames that did not decode (skipped) */
    struct xd_runview_known *known_names;     /* private; text -> index into names */
    struct xd_runview_known
        *known_collect;                  /* private; node id -> gateway that first reported its collection */
    struct xd_runview_gateway *gateways; /* private */
    uint32_t                   gateway_count, gateways_cap;
    uint32_t                   ids_gateway; /* private: whose COLLECT_IDS are taken */
    uint32_t                   list_count;  /* private: how many it has */
} xd_runview;

/* `source` is kept by value; its arg must outlive the view. */
int  xd_runview_init(xd_runview *ret, xd_runview_source source) XD_MUST;
void xd_runview_release(xd_runview *v);

/* What a frame did: kinds of events reporters care about. */
enum {
    XD_RUNVIEW_IGNORED =
        1, /* outcome of xd_runview_frame: a frame that changes nothing (duplicate, damaged, other gateway's) */
};
/* Takes one frame which lies at file offset `offset`. RESULTS: folds every result of it, one after the other;
 * when `ended` is given it is called after each item that got its outcome, and again (`closing`) when
 * fixtures that outlived it are torn down. 0, XD_RUNVIEW_IGNORED, -ENOMEM, or
 * < 0 from `ended`. */
typedef int (*xd_runview_ended_fn)(void *arg, uint32_t item);
int xd_runview_frame(xd_runview *v, uint64_t offset, const xd_frame *frame, xd_runview_ended_fn ended,
                     void *arg) XD_MUST;

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
/* Name of an outcome: "passed" ... "not-run"; "unknown". */
const char *xd_runview_outcome_name(uint8_t outcome);
