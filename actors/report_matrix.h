/* actors/report_matrix.h - what differs between the environments of a run in which each has all tests (--dist each): item x environment.
 * The end of the terminal's report, and a reporter of its own for `xdctl show --matrix`. */
#pragma once
#include "actors/report.h"
#include "actors/term_out.h"

typedef struct xd_report_matrix_options {
    int  fd;          /* borrowed */
    bool color;       /* of the text */
    bool json;        /* one JSON object instead of text */
    bool all;         /* also tests that are the same everywhere */
    bool failed_only; /* only tests that failed somewhere, or have no outcome there */
} xd_report_matrix_options;
#define XD_REPORT_MATRIX_OPTIONS_INIT ((xd_report_matrix_options){ .fd = -1 })

/* Finishes with -EINVAL where the run had one collection for all. */
extern const xd_report_ops xd_report_matrix_ops;

/* The same at the end of a report: at most so many rows, then how many more there are. */
#define XD_REPORT_MATRIX_ROWS 50u
int xd_report_matrix_end(xd_term_out *to, const xd_runview *v) XD_MUST;

/* Short names of the environments (env_labels.h), index = gateway number, v->envs.count of them; "" where nothing is known of one. The
 * caller frees them (xd_env_labels_free). -ENOMEM. */
int xd_report_labels(const xd_runview *v, char ***ret) XD_MUST;
