/* actors/runview_tests.h - the tests of a run's view: items, their reports, outcomes, and how many there are of each.
 * Reports of one item are linked in journal order. Takes decoded records; what a record of results or reports does to
 * everything else is not its business. */
#pragma once
#include "actors/runview_texts.h"
#include "engine/wire.h"

/* One REPORT record.  */
typedef struct xd_runview_report {
    uint64_t offset;       /* of the frame in the journal */
    uint32_t item;         /* XD_NO_INDEX = collection report */
    uint32_t next;         /* index of the next report of the same item, XD_NO_INDEX = last */
    uint32_t category;     /* index into xd_runview_texts.names; 0 = the empty one: not counted */
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
    xd_bytes file;                      /* location file; empty = the unit of id (engine/grammar.h) */
    int32_t  line;                      /* 0-based, -1 unknown */
    uint32_t first_report, last_report; /* XD_NO_INDEX = none */
    uint32_t setup_us, call_us, teardown_us;
    uint32_t ended;    /* this item was the n-th to end, from 1; 0 = has not ended */
    uint64_t start_us; /* wall clock */
    uint32_t down;     /* crashed: index into xd_runview_notes.downs, XD_NO_INDEX */
    uint16_t worker, gateway, attempt;
    uint16_t unused;     /* leases given back without a start: attempt - unused executions were begun */
    uint16_t collection; /* that it is of */
    uint8_t  outcome;    /* XD_OUT_*, 0 = none yet */
    uint8_t  flags;      /* those of RESULT */
    uint8_t  own;        /* outcome that it counts as by itself, 0 = its reports count */
} xd_runview_item;

typedef struct xd_runview_count {
    uint32_t name; /* index into names: "passed", "failed", "my category" */
    uint64_t count;
} xd_runview_count;

typedef struct xd_runview_tests {
    xd_runview_item   *items; /* count entries */
    uint32_t           count, items_cap;
    uint32_t           ended;   /* items with an outcome (not-run ones included) */
    uint32_t           not_run; /* of these: not-run */
    xd_runview_report *reports;
    uint32_t           report_count, reports_cap;
    uint32_t          *collect_reports; /* indices into reports, in order */
    uint32_t           collect_report_count, collect_reports_cap;
    xd_runview_count  *counts; /* in order of first appearance */
    uint32_t           count_count, counts_cap;
    uint32_t *count_of; /* private; of each name: its index into counts, from 1; 0 = is not counted */
    uint32_t  count_of_cap;
    /* An item that had its outcome gets a result again, of its last teardown. During the call of `ended` for it: the index of
     * the first report of that teardown (XD_NO_INDEX = none), and whether the item's outcome has changed. */
    bool     closing, outcome_changed;
    uint32_t closing_report;
    struct xd_runview_known
        *known_collect; /* private; node id -> gateway that first reported its collection */
} xd_runview_tests;

/* Outcomes > 0 of the functions that take a record. */
enum {
    XD_RUNVIEW_IGNORED = 1, /* it changes nothing (duplicate, damaged, another gateway's) */
};

void xd_runview_tests_release(xd_runview_tests *t);
/* Items up to `count` exist afterwards. */
int xd_runview_tests_reach(xd_runview_tests *t, uint32_t count) XD_MUST;
/* One result of `worker`. 0 = the item has ended, or (t->closing) what outlived it is torn down; XD_RUNVIEW_IGNORED;
 * -EPROTO: there is no such item or outcome. */
int xd_runview_tests_result(xd_runview_tests *t, xd_runview_texts *texts, const xd_wire_RESULT *in,
                            uint16_t worker, uint16_t gateway) XD_MUST;
/* One report, whose record lies at `offset`. `shared`: all environments collect the same, and of what they report of that the first
 * one counts. */
int xd_runview_tests_report(xd_runview_tests *t, xd_runview_texts *texts, const xd_wire_REPORT *in,
                            uint16_t gateway, uint64_t offset, bool shared) XD_MUST;
/* `first`: of the collection whose items it names, `end`: behind its last one. */
void xd_runview_tests_returned(xd_runview_tests *t, const xd_wire_RETURNED *in, uint32_t first, uint32_t end);
/* Count of a category ("passed"); 0 when there is none. */
uint64_t xd_runview_tests_counted(const xd_runview_tests *t, const xd_runview_texts *texts,
                                  const char *category);
/* Name of an outcome: "passed" ... "not-run"; "unknown". */
const char *xd_runview_outcome_name(uint8_t outcome);
