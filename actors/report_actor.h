/* actors/report_actor.h - the live reporters of a run: one actor, one view of the journal, any number of
 * reporters.
 *   in   TAIL      u64: the journal is complete up to here (a newer one replaces an unread one)
 *   in   PROGRESS  frame: what is running (not journaled; for the live line)
 *   in   PAUSE, RESUME  job control (Ctrl-Z), from the scheduler
 *   in   SAY       a line for the user, from the engine
 *   out  SUBSCRIBE to the broker at the start; TAIL back when the journal is read up to there; PAUSED to the scheduler
 *        when the live line is cleared
 * Reads the journal file itself. When a reporter's output is full, the actor stops reading until the output is writable
 * again; only the end of the run waits for it. Ends when RUN_END is read and all reports are written. When asked to stop,
 * it reads what is there and ends. */
#pragma once
#include "actors/report.h"
#include "engine/actor.h"

#define XD_REPORT_ADDRESS "report" /* what people watch: the terminal */
#define XD_FILES_ADDRESS \
    "files" /* reports in files; separate, so that a stalled terminal does not delay them */

typedef struct xd_report_actor_args {
    const char
        *journal_path; /* exists; all is borrowed for the start, and for each further start by a supervisor */
    const xd_report_want *wants;
    size_t                count;
    /* A line for the user after the run (a report that could not be written: level XD_LOG_ERROR; a damaged
     * history: XD_LOG_WARNING).
     * On the actor's thread.  NULL = to the log. */
    void (*say)(void *arg, xd_log_level level, const char *line);
    void     *say_arg;
    xd_error *err; /* why init failed; NULL ok */
} xd_report_actor_args;

extern const xd_actor_spec xd_report_actor_spec;
