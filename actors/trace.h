/* actors/trace.h - the engine's log in a file, for debugging the engine: $XD_TRACE names it.
 * Lines are appended, each by one write(2), so runs that share a file do not tear each other's lines:
 *   2026-11-28T05:40:00.123456Z PID LEVEL TEXT
 * Levels: debug (each message that an actor gets, each frame of an agent), info, warning, error. */
#pragma once
#include "engine/base/error.h"
#include "engine/base/log.h"

/* Opens the file that $XD_TRACE names. 0 and *ret_fd (-1: the variable is not set or empty), or -EINVAL with
 * `err` filled in: the file cannot be written. The caller closes it. */
int xd_trace_open(int *ret_fd, xd_error *err) XD_MUST;
/* Adds a line; any thread. fd -1: does nothing. */
void xd_trace_line(int fd, xd_log_level level, const char *line);
