/* actors/report_junit.h - the reporter that writes JUnit XML, and the report of a run that could not begin. Its inside:
 * report_junit_state.h. */
#pragma once
#include "actors/report.h"

typedef struct xd_report_junit_options {
    const char *path; /* file to write; NULL = that of CONFIG's --junitxml, if any */
    int         fd;   /* where to write instead, when path is NULL; borrowed; -1 = to a file */
    /* File for a run that failed before pytest's configuration said which; NULL = none. */
    const char *early_path;
    const char *hostname; /* NULL = the journal's, else that of this host */
    /* What wins over CONFIG.options: "name=value", NULL-terminated; may be NULL. */
    const char *const *override;
} xd_report_junit_options;
#define XD_REPORT_JUNIT_OPTIONS_INIT ((xd_report_junit_options){ .fd = -1 })

extern const xd_report_ops xd_report_junit_ops;

/* Writes JUnit XML for a run that could not begin: one error with `text`. */
int xd_report_junit_refused(const char *path, const char *text, xd_error *err) XD_MUST;
/* The path of --junitxml as pytest will read it from its arguments and PYTEST_ADDOPTS (`addopts`, NULL ok), against the
 * folder `cwd`: for a run that fails before pytest can say. malloc'ed; NULL = none is named there. */
int xd_report_junit_named(const char *const *args, size_t count, const char *addopts, const char *cwd,
                          char **ret) XD_MUST;
