/* actors/report.h - what a reporter is: an object that turns the journal into output for people or programs.
 * A reporter is fed through a set (report_set.h): one journal, one runview, any number of reporters. The same objects serve
 * the live actor (report_actor.h: reads the journal up to the offsets of TAIL messages) and `xdctl show` /
 * `xdctl report` (report_render.h): the bytes they write depend on the journal and the options alone.
 *   frame   called after the runview took the frame; for RESULTS and REPORTs prefer `ended`
 *   ended   called once per item, when it has its outcome, in order of ending
 *   closed  called for some items after that: fixtures that outlived the item are torn down (xd_runview.closing)
 * One thread per set. Reporters do not block on a full pipe or a stalled terminal: what cannot be written waits in a bounded
 * buffer, and once that is full the set says so (xd_report_set_ready) and its driver stops reading the journal. Writes to
 * regular files (JUnit XML, JSON lines, history) can wait for the disk. A run waits for its reporters only at its end.
 * Each reporter has its options and its ops in its own header (report_term.h, report_junit.h, report_jsonl.h,
 * report_history.h); report_choice.c alone fills them in. */
#pragma once
#include "actors/runview.h"

/* Outcomes > 0 of the calls below. */
enum {
    XD_REPORT_BUSY =
        1, /* the output is full: try again when the descriptor is writable, or at the next tick */
    XD_REPORT_NOTE = 2, /* finish: no fault, but err holds a line for the user (history damaged) */
};

typedef struct xd_report_ops {
    const char *name; /* "terminal" "junit" "jsonl" "history" */
    bool        last; /* finishes after the others, because it may wait until somebody reads */
    /* `options` is the struct of the reporter's own header (xd_report_term_options, ...): all of it is copied except
     * descriptors and what its members say otherwise. A fault of the output (folder missing) is reported here. */
    int (*open)(const void *options, const xd_runview *view, void **ret_self, xd_error *err);
    int (*frame)(void *self, const xd_frame *frame, uint64_t offset); /* NULL ok */
    int (*ended)(void *self, uint32_t item);                          /* NULL ok */
    int (*closed)(void *self, uint32_t item);                         /* NULL ok */
    int (*progress)(void *self, const xd_wire_PROGRESS *progress, uint16_t gateway,
                    uint64_t now_ns); /* not journaled; NULL ok */
    int (*tick)(void    *self,
                uint64_t now_ns); /* every 100 ms or so, and when fd() is writable: redraw, flush; NULL ok */
    /* Job control. on: before the process is stopped, write what can be written and clear the live line; off: draw the
     * line again. NULL ok */
    int (*pause)(void *self, bool on);
    /* Shows a line that is not part of the report, if the output is a terminal. NULL ok */
    int (*say)(void *self, xd_bytes line);
    int (*flush)(
        void *self); /* writes what can be written; 0 = all is written, XD_REPORT_BUSY = not yet; NULL ok */
    int (*fd)(void *self); /* descriptor to wait for while busy, -1; NULL = none */
    int (*finish)(
        void *self,
        xd_error
            *err); /* after the last frame (also of a journal without RUN_END): write the rest; NULL ok */
    void (*close)(
        void *self); /* frees; also without finish; waits for no reader of the output; NULL self ok */
} xd_report_ops;

/* A reporter and the options it is opened with; borrowed. */
typedef struct xd_report_want {
    const xd_report_ops *ops;
    const void          *options;
} xd_report_want;
