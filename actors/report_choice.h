/* actors/report_choice.h - which reporters there are, and the options of each. */
#pragma once
#include "actors/report_history.h"
#include "actors/report_jsonl.h"
#include "actors/report_junit.h"
#include "actors/report_matrix.h"
#include "actors/report_term.h"
#include "engine/config.h"

/* The options of all reporters, and those reporters that are wanted. `terminal` and `files` point into the rest: the
 * struct must stay where it is as long as they are used. Views are borrowed. */
typedef struct xd_report_choice {
    xd_report_term_options    term;
    xd_report_junit_options   junit;
    xd_report_jsonl_options   jsonl;
    xd_report_history_options history;
    xd_report_matrix_options  matrix;
    xd_report_want            terminal[1], files[3];
    size_t                    terminals, n_files;
} xd_report_choice;

/* Where a run's reports go, as far as its options do not say. */
typedef struct xd_report_outputs {
    int         out_fd, err_fd; /* -1 = nowhere */
    uint64_t   *shown;          /* xd_report_term_options.shown */
    const char *junit_early;    /* xd_report_junit_options.early_path */
    const char *cache;          /* folder of caches */
} xd_report_outputs;
/* The reporters of a run: --live, --jsonl, --no-history; --junitxml is pytest's and comes with CONFIG. */
void xd_report_choose_run(xd_report_choice *ret, const xd_config *cfg, const xd_report_outputs *to);
/* Whether a live line may be drawn, as far as can be said before pytest's configuration is known. */
bool xd_report_may_be_live(const xd_config *cfg, int out_fd);

/* How a report is made again from a journal. */
typedef struct xd_report_again {
    int                fd; /* where it goes */
    int                color, verbose;
    bool               failed_only;
    bool               json; /* of the matrix */
    const char *const *override;
} xd_report_again;
/* The one reporter that makes this kind of report: "terminal", "junit", "jsonl" or "matrix". *ret_want points into `ret`.
 * -EINVAL: no such kind. */
int xd_report_choose_again(xd_report_choice *ret, const char *kind, const xd_report_again *how,
                           xd_report_want *ret_want, xd_error *err) XD_MUST;
