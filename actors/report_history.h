/* actors/report_history.h - the reporter that keeps how long each test took and how it ended, for the next run's order. */
#pragma once
#include "actors/report.h"

typedef struct xd_report_history_options {
    const char *path;    /* the history's file; NULL = the one of the project in the cache */
    const char *project; /* key of the project folder: rootdir; NULL = CONFIG.rootdir */
    const char *cache;   /* folder that it lies in; NULL = the default */
} xd_report_history_options;
#define XD_REPORT_HISTORY_OPTIONS_INIT ((xd_report_history_options){ 0 })

extern const xd_report_ops xd_report_history_ops;
