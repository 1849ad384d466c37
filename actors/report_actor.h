/* actors/report_actor.h - the live reporters of a run: one actor, one view of the journal, any number of
 * reporters.
 *   in   TAIL      u64: the journal is whole up to here (conflated by the broker)
 *   in   PROGRESS  frame: what runs now (not journaled; for the live line)
 *   in   PAUSE, RESUME  job control (Ctrl-Z), from "sched"
 *   in   SAY       a line for whoever watches, from the engine
 *   out  SUBSCRIBE to the broker at the start; TAIL back when the journal is read up to there; PAUSED to "sched"
 *        when nothing stands on the terminal that would be redrawn
 * Reads the journal file itself. When a reporter's output is full it stops reading until that is writable
 * again: nobody waits for it but the end of the run. Ends by itself when RUN_END is read and all reports are
 * written; told to stop, it reads what is there and ends. */
#pragma once
#include "actors/report.h"
#include "engine/actor.h"

#define XD_REPORT_ADDRESS "report" /* what people watch: the terminal */
#define XD_FILES_ADDRESS \
    "files" /* what is written to files, so that a terminal that stands still holds up none of them */

typedef struct xd_report_want {
    const xd_report_ops *ops;
    xd_report_options    options;
} xd_report_want;

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
