/* actors/report_term.h - the terminal reporter: what pytest's own terminal shows, and a live last line. Also the text of
 * `xdctl show`. Its inside: report_term_state.h. */
#pragma once
#include "actors/report.h"

typedef struct xd_report_term_options {
    int      fd;      /* where text goes; borrowed; -1 = nowhere */
    int      err_fd;  /* usage errors and what pytest writes to stderr; borrowed; -1 = to fd */
    int      color;   /* -1 as CONFIG's option and the tty say, 0 no, 1 yes */
    int      tty;     /* -1 ask the descriptor; 0 no live line; 1 with the live line */
    uint32_t width;   /* columns; 0 = ask the terminal, then $COLUMNS, then 80 */
    int      verbose; /* added to CONFIG's */
    uint8_t  live;    /* XD_LIVE_*: whether a live last line is drawn */
    /* Bytes of text written so far, kept by the caller for a reporter that takes this one's place: two counters, of fd and
     * of err_fd; NULL ok. */
    uint64_t *shown;
    bool      failed_only; /* no line per test, no output of workers: failures and the summary */
    /* What wins over CONFIG.options: "name=value", or as pytest's own: "-v" "-q" "-rA" "--tb=short" "--durations=5"
     * "--color=no" "--show-capture=no" "--no-header" "--no-summary". NULL-terminated; may be NULL. -v and -q add to
     * CONFIG's verbosity. */
    const char *const *override;
    /* Value of an environment variable; NULL = getenv. For tests. */
    const char *(*env)(void *arg, const char *name);
    void *env_arg;
} xd_report_term_options;
#define XD_REPORT_TERM_OPTIONS_INIT \
    ((xd_report_term_options){ .fd = -1, .err_fd = -1, .color = -1, .tty = -1 })

/* The live last line. Auto: on a terminal that is not dumb, unless $CI or $BUILD_NUMBER says that nobody is watching. */
enum { XD_LIVE_AUTO = 0, XD_LIVE_NEVER = 1, XD_LIVE_ALWAYS = 2 };

extern const xd_report_ops xd_report_term_ops;

/* Node id relative to the folder that pytest was called in, harmless. -ENOMEM. */
int xd_report_nodeid(const xd_runview *v, xd_buf *to, xd_bytes nodeid) XD_MUST;
