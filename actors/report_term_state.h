/* actors/report_term_state.h - inside of the terminal reporter; shared by report_term*.c alone. */
#pragma once
#include "actors/report_term.h"
#include "actors/term_out.h"

#define XD_TERM_MAGIC 0x7e2a0001u
#define XD_TERM_RUNNING 16 /* running tests remembered per gateway */

#define XD_TERM_BRING 64 /* more are not counted in the line */
typedef struct xd_term_bring {
    uint16_t gateway;
    uint32_t brought, to_bring;
    uint64_t bytes;
} xd_term_bring;

typedef struct xd_term_running {
    uint16_t worker, gateway;
    uint32_t item;
    uint64_t since_ns;
} xd_term_running;

/* Output of one worker's stream: what came after its last newline. */
typedef struct xd_term_line {
    uint16_t worker;
    uint8_t  stream;
    xd_buf   rest;
} xd_term_line;

typedef enum xd_term_progress {
    XD_TERM_PROGRESS_NONE,
    XD_TERM_PROGRESS_PERCENT,
    XD_TERM_PROGRESS_COUNT,
    XD_TERM_PROGRESS_TIMES
} xd_term_progress;

/* An environment that has tests of its own. */
typedef struct xd_term_own {
    xd_buf   letters; /* of its line that is not full yet: mark, length, text of each */
    size_t   columns; /* of these */
    uint32_t started; /* as xd_term.started */
    uint32_t ended;   /* tests, also those that were not run */
    uint32_t open;    /* of these: fixtures outlive them */
    uint32_t bad;     /* of these: failed */
    uint64_t done_us;
} xd_term_own;

typedef struct xd_term {
    uint32_t               magic;
    const xd_runview      *view; /* borrowed */
    xd_report_term_options options;
    char                 **override; /* owned copies, NULL-terminated */
    xd_term_out            out;
    xd_term_out            err; /* of errors; its fd is -1 where they go to `out` as well */
    /* settings: CONFIG's options under the overrides; read when CONFIG comes */
    xd_buf early;           /* notes for -v that came before it is known, a line each */
    xd_buf below_collected; /* what plugins say of the collection, shown below its counts */
    bool   configured, header_shown, no_header, no_summary, disable_warnings, full_skips, xfail_tb,
        short_forced;
    int              verbose, cases; /* cases: of the lines of tests alone */
    xd_term_progress progress;
    char             reportchars[32];
    char             tbstyle[16], showcapture[16];
    /* where we are */
    bool          line_open;   /* the current line has letters or a -v entry without a newline */
    bool          tests_began; /* blank line before the first test is out */
    bool          summary_shown;
    bool          env_failed;
    uint64_t      started; /* items that gave at least one letter */
    xd_term_line *lines;
    uint32_t      line_count, lines_cap;
    /* where each environment has tests of its own: index = gateway */
    xd_term_own *own;
    uint32_t     owns;
    char       **labels; /* what they are called */
    size_t       label_columns;
    /* live line */
    xd_term_running running[XD_TERM_RUNNING * 4];
    uint32_t        running_count;
    xd_term_bring   bring[XD_TERM_BRING]; /* hosts that files are brought to */
    uint32_t        bringing;
    uint64_t        bring_ns; /* when the first of them was heard of */
    uint64_t        now_ns, start_ns, done_us;
    uint32_t        files, found;  /* of a collection that goes on */
    bool            live;          /* wanted and possible */
    bool            paused;        /* the process is about to be stopped (Ctrl-Z) */
    bool            width_follows; /* the report's width is that of the terminal, also when it is resized */
    bool            live_drawn;
    uint32_t        live_width;  /* columns that the terminal has */
    uint32_t        live_rows;   /* and lines; 0 = not known */
    size_t          live_column; /* column to go back to */
    bool            live_below;  /* it stands one line below the open line */
    xd_buf          live_text;   /* what stands there */
} xd_term;

/* report_term_settings.c */
void        xd_term_read_settings(xd_term *t);
const char *xd_term_option(const xd_term *t, const char *name); /* NULL = not told */
bool        xd_term_flag(const xd_term *t, const char *name);
const char *xd_term_env(const xd_term *t, const char *name);
const char *xd_term_env_of(const void *t, const char *name); /* the same, as others call it */
bool        xd_term_has(const xd_term *t, char c);           /* -r char */

/* report_term.c */
int xd_term_newline(xd_term *t) XD_MUST; /* ends an open line */
/* A line of text of others where errors go: beside the report, not in it, when that
 * is another file. `before` is our own. */
int xd_term_complain(xd_term *t, const char *before, xd_bytes text, unsigned mark) XD_MUST;
int xd_term_line_mark(xd_term *t, unsigned mark, const char *fmt, ...) XD_MUST
    __attribute__((format(printf, 3, 4)));
/* Node id relative to the invocation directory, harmless. */
int xd_term_nodeid(const xd_term *t, xd_buf *to, xd_bytes nodeid) XD_MUST;
/* The same of a test, and of which environment, where each has its own tests: " [popen//env:A=b]". */
int xd_term_test(const xd_term *t, xd_buf *to, uint32_t item) XD_MUST;
/* The latter alone; of a report of the collection (item XD_NO_INDEX), too. */
int      xd_term_environment(const xd_term *t, xd_buf *to, uint32_t item, uint32_t report) XD_MUST;
uint32_t xd_term_report_width(uint64_t columns); /* of a terminal with so many, as pytest */
/* Colour of the percentage and of the last line. */
unsigned xd_term_main_mark(const xd_term *t);

int xd_term_on_facts(xd_term *t, const xd_frame *frame) XD_MUST;
int xd_term_on_config(xd_term *t, const xd_frame *frame) XD_MUST;
int xd_term_on_collected(xd_term *t, const xd_frame *frame) XD_MUST;
int xd_term_on_collection(xd_term *t, const xd_frame *frame) XD_MUST;

/* report_term_run.c */
int xd_term_on_frame(xd_term *t, const xd_frame *frame) XD_MUST;
int xd_term_on_ended(xd_term *t, uint32_t item) XD_MUST;
int xd_term_on_closed(xd_term *t, uint32_t item) XD_MUST;
int xd_term_show_early(xd_term *t) XD_MUST; /* below the header */
int xd_term_on_end(xd_term *t) XD_MUST;     /* the journal is over: the summary, once */
/* "[gw0] linux -- Python 3.12.1 /usr/bin/python" and a newline; nothing for an unknown worker */
int xd_term_worker_line(xd_term *t, uint16_t worker) XD_MUST;
int xd_term_on_crash_text(const xd_term *t, uint32_t item, xd_buf *to)
    XD_MUST; /* what is said of a crashed, timed out or lost item, harmless */

/* " [ 33%]" or " [ 3/10]" of so many of all; nothing in the other styles. */
int    xd_term_progress_text(const xd_term *t, xd_buf *to, uint32_t item, uint64_t started,
                             uint64_t all) XD_MUST;
size_t xd_term_progress_columns(const xd_term *t);

/* report_term_own.c: each has tests of its own */
int  xd_term_own_begin(xd_term *t) XD_MUST; /* once their collections are known; again: nothing */
void xd_term_own_release(xd_term *t);
/* Its short name; NULL = nothing is known of it. */
const char *xd_term_own_label(const xd_term *t, uint32_t gateway);
/* A letter of one of its tests; and its line, once that is full. */
int xd_term_own_letter(xd_term *t, uint32_t item, xd_bytes letter, unsigned mark) XD_MUST;
int xd_term_own_ended(xd_term *t, uint32_t item) XD_MUST; /* after its letters */
int xd_term_own_closed(xd_term *t, uint32_t item) XD_MUST;
int xd_term_own_flush(xd_term *t) XD_MUST; /* what is left */
/* The live lines, one for each, without a newline behind the last. */
int xd_term_own_live(const xd_term *t, xd_buf *to) XD_MUST;

/* report_term_live.c */
/* " | test 3s", of the tests that run longest: of this gateway, or XD_NO_INDEX of all. */
int xd_term_live_running(const xd_term *t, xd_buf *to, uint32_t gateway, int most) XD_MUST;
int xd_term_live_age(xd_buf *to, uint64_t s) XD_MUST;
int xd_term_live_progress(xd_term *t, const xd_wire_PROGRESS *progress, uint16_t gateway,
                          uint64_t now_ns) XD_MUST;
int xd_term_live_erase(xd_term *t) XD_MUST;
int xd_term_live_tick(xd_term *t) XD_MUST;  /* draws what has changed */
int xd_term_live_leave(xd_term *t) XD_MUST; /* others write next: their text begins on a line of its own */

/* report_term_text.c */
/* path relative to dir as pytest's bestrelpath; both absolute, else path as it is */
int xd_term_relative(xd_buf *to, xd_bytes dir, xd_bytes path) XD_MUST;
/* Title of a report: "TestC.test_f[x]". */
int xd_term_headline(const xd_term *t, xd_buf *to, xd_bytes nodeid) XD_MUST;
/* First line of msg behind " - ", shortened to the columns there are. */
int xd_term_trimmed(xd_buf *to, const char *before, xd_bytes msg, size_t columns) XD_MUST;
int xd_term_duration(xd_buf *to, uint64_t us) XD_MUST;      /* "12.34s (0:00:12)" */
int xd_term_age(xd_buf *to, uint64_t ms) XD_MUST;           /* "1.2s" "59s" "1m05s" "2h03m" */
int xd_term_node_duration(xd_buf *to, uint64_t us) XD_MUST; /* " 1.23ms" */

/* report_term_extra.c */
int xd_term_warnings(xd_term *t) XD_MUST;
int xd_term_durations(xd_term *t) XD_MUST;
int xd_term_xml_line(xd_term *t) XD_MUST;
typedef struct xd_term_groups { /* equal texts get equal numbers, in order of first appearance */
    uint64_t *keys;
    uint32_t *index;
    uint32_t  cap, count;
} xd_term_groups;
int  xd_term_groups_find(xd_term_groups *g, xd_bytes text,
                         uint32_t *ret) XD_MUST; /* 1 = new, 0 = known, -ENOMEM */
void xd_term_groups_release(xd_term_groups *g);

/* report_term_summary.c */
int xd_term_summary(xd_term *t) XD_MUST;
/* report_term_short.c */
int xd_term_short(xd_term *t) XD_MUST;
int xd_term_stats(xd_term *t) XD_MUST;

/* Items in order of ending, reports of a category in pytest's order. */
typedef int (*xd_term_each_fn)(xd_term *t, uint32_t item, uint32_t report,
                               void *arg); /* report may be XD_NO_INDEX: crashed and the like */
/* Calls fn for everything counted under `category` in order: collection reports first. "failed" also gives
 * the crashed, timed out and lost. */
int xd_term_each(xd_term *t, const char *category, xd_term_each_fn fn, void *arg) XD_MUST;
