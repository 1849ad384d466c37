/* actors/report_jsonl.h - the reporter that writes JSON lines: one object per event, as it happens. */
#pragma once
#include "actors/report.h"

typedef struct xd_report_jsonl_options {
    const char *path; /* file to write, which is emptied first; NULL = to fd */
    int         fd;   /* borrowed */
} xd_report_jsonl_options;
#define XD_REPORT_JSONL_OPTIONS_INIT ((xd_report_jsonl_options){ .fd = -1 })

extern const xd_report_ops xd_report_jsonl_ops;
