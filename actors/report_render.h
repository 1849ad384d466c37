/* actors/report_render.h - a whole journal through one reporter: `xdctl show`, `xdctl report`. */
#pragma once
#include "actors/report.h"

/* Blocks until the reporter's output has taken it all. A journal cut off in the middle is rendered as far as it goes.
 * *ret_exit (may be NULL): exit code the run ended with, 7 (results incomplete) without RUN_END, and then err says so.
 * 0, -errno. */
int xd_report_render(const char *journal_path, xd_report_want want, int *ret_exit, xd_error *err) XD_MUST;
