/* actors/report.h - reporters: objects that turn the journal into output for people or programs.
 * A reporter is fed through a set: one journal, one runview, any number of reporters. The same objects serve
 * the live actor (actors/report_actor.h: reads the journal up to the offsets of TAIL messages) and `xdctl show` /
 * `xdctl report` (xd_report_render): the bytes they write depend on the journal and the options alone.
 *   frame   called after the runview took the frame; for RESULTS and REPORTs prefer `ended`
 *   ended   called once per item, when it has its outcome, in order of ending
 *   closed  called for some items after that: fixtures that outlived the item are torn down (xd_runview.closing)
 * One thread per set. Reporters do not block on a full pipe or a stalled terminal: what cannot be written waits in a bounded
 * buffer, and once that is full the set says so (xd_report_set_ready) and its driver stops reading the journal. Writes to
 * regular files (JUnit XML, JSON lines, history) can wait for the disk. A run waits for its reporters only at its end. */
#pragma once
#include "actors/runview.h"

typedef struct xd_report_options {
    int fd;            /* where text goes (terminal; jsonl when path is NULL); borrowed; -1 = none */
    int err_fd;        /* terminal: for usage errors and what pytest writes to stderr; borrowed; -1 = to fd */
    const char *path;  /* file to write (junit, jsonl, history); NULL = reporter's own default, or none */
    int         color; /* -1 as CONFIG's option and the tty say, 0 no, 1 yes */
    int         tty;   /* -1 ask the descriptor; 0 no live line; 1 with the live line */
    uint32_t    width; /* columns; 0 = ask the terminal, then $COLUMNS, then 80 */
    int         verbose; /* added to CONFIG's */
    uint8_t     live;    /* XD_LIVE_*: whether a live last line is drawn */
    /* terminal: bytes of text written so far, kept by the caller for a reporter that takes this one's place;
     * two counters, of fd and of err_fd; NULL ok */
    uint64_t *shown;
    bool      failed_only; /* terminal: no line per test, no output of workers: failures and the summary */
    /* What wins over CONFIG.options: "name=value", or as pytest's own: "-v" "-q" "-rA" "--tb=short"
     * "--durations=5" "--color=no" "--show-capture=no" "--no-header" "--no-summary". NULL-terminated; may be
     * NULL. -v and -q add to CONFIG's verbosity. */
    const char *const *override;
    /* junit */
    const char
        *early_path; /* file for a run that failed before pytest's configuration said which; NULL = none */
    const char *
        hostname; /* NULL = ask the host (not byte-identical elsewhere: junit takes the journal's when it has one) */
    /* history */
    const char *project; /* key of the project folder: rootdir; NULL = CONFIG.rootdir */
    const char *cache;   /* folder that it lies in; NULL = the default */
    /* value of an environment variable; NULL = getenv.  For tests. */
    const char *(*env)(void *arg, const char *name);
    void *env_arg;
} xd_report_options;
#define XD_REPORT_OPTIONS_INIT ((xd_report_options){ .fd = -1, .err_fd = -1, .color = -1, .tty = -1 })

/* The live last line of the terminal report. Auto: on a terminal that is not dumb, unless $CI or $BUILD_NUMBER says
 * that nobody is watching. */
enum { XD_LIVE_AUTO = 0, XD_LIVE_NEVER = 1, XD_LIVE_ALWAYS = 2 };

/* Outcomes > 0 of the calls below. */
enum {
    XD_REPORT_BUSY =
        1, /* the output is full: try again when the descriptor is writable, or at the next tick */
    XD_REPORT_NOTE = 2, /* finish: no fault, but err holds a line for the user (history damaged) */
};

typedef struct xd_report_ops {
    const char *name; /* "terminal" "junit" "jsonl" "history" */
    /* Everything in `options` is copied except fd and env_arg. A fault of the output (folder missing) is
     * reported here. */
    int (*open)(const xd_report_options *options, const xd_runview *view, void **ret_self, xd_error *err);
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

/* Writes JUnit XML for a run that could not begin: one error with `text`. */
int xd_report_junit_refused(const char *path, const char *text, xd_error *err) XD_MUST;
/* The path of --junitxml as pytest will read it from its arguments and PYTEST_ADDOPTS (`addopts`, NULL ok), against the
 * folder `cwd`: for a run that fails before pytest can say. malloc'ed; NULL = none is named there. */
int xd_report_junit_named(const char *const *args, size_t count, const char *addopts, const char *cwd,
                          char **ret) XD_MUST;

extern const xd_report_ops xd_report_term_ops, xd_report_junit_ops, xd_report_jsonl_ops,
    xd_report_history_ops;
/* By name ("terminal", "junit", "jsonl", "history"); NULL for any other name. */
const xd_report_ops *xd_report_find(const char *name);

typedef struct xd_report_set xd_report_set;
/* source: how records are read back (xd_journal). */
int            xd_report_set_new(xd_report_set **ret, xd_runview_source source) XD_MUST;
xd_report_set *xd_report_set_free(xd_report_set *s);
XD_DEFINE_AUTO(xd_report_set, xd_report_set_free)
int xd_report_set_add(xd_report_set *s, const xd_report_ops *ops, const xd_report_options *options,
                      xd_error *err) XD_MUST;
const xd_runview *xd_report_set_view(const xd_report_set *s);
/* One frame at this file offset. A reporter that fails is closed and remembered (xd_report_set_error); the
 * others go on. 0, -ENOMEM. */
int  xd_report_set_frame(xd_report_set *s, uint64_t offset, const xd_frame *frame) XD_MUST;
void xd_report_set_progress(xd_report_set *s, const xd_wire_PROGRESS *progress, uint16_t gateway,
                            uint64_t now_ns);
void xd_report_set_tick(xd_report_set *s, uint64_t now_ns);
void xd_report_set_pause(xd_report_set *s, bool on);
void xd_report_set_say(xd_report_set *s, xd_bytes line);
bool xd_report_set_ready(xd_report_set *s); /* tries to flush; false: give no frame now, wait for fd */
int  xd_report_set_fd(xd_report_set *s);    /* the busy one's descriptor, or -1 */
void xd_report_set_finish(xd_report_set *s);
/* Lines for the user that finish left (XD_REPORT_NOTE), one per line; "" when there are none. Valid until the
 * set is freed. */
const char *xd_report_set_notes(xd_report_set *s);
/* First fault of any reporter since the start: code and "junit: ..."; 0 when there was none. */
int xd_report_set_error(const xd_report_set *s, xd_error *ret);

/* Renders a whole journal with one reporter ("terminal", "junit", "jsonl"). Blocks until options->fd or
 * options->path has taken it all.
 * A journal cut off in the middle is rendered as far as it goes. *ret_exit (may be NULL): exit code the run
 * ended with, 7 (results
 * incomplete) without RUN_END, and then err says so.  0, -errno, -EINVAL for an unknown name. */
int xd_report_render(const char *journal_path, const char *name, const xd_report_options *options,
                     int *ret_exit, xd_error *err) XD_MUST;
