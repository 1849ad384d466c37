/* engine/outcome.h - what an outcome (XD_OUT_*, wire.def) amounts to. */
#pragma once
#include "engine/wire.h"

/* It counts as a failure: for --maxfail, the exit code and pytest's cache. */
static inline bool xd_outcome_fails(uint8_t outcome)
{
    return outcome == XD_OUT_FAILED || outcome == XD_OUT_ERROR || outcome == XD_OUT_CRASHED ||
           outcome == XD_OUT_TIMEOUT || outcome == XD_OUT_LOST;
}
/* The test did not end by itself: its worker died, its time was over, or its environment was lost. */
static inline bool xd_outcome_is_cut(uint8_t outcome)
{
    return outcome == XD_OUT_CRASHED || outcome == XD_OUT_TIMEOUT || outcome == XD_OUT_LOST;
}
/* "worker 'gw3' crashed while running 'ID'", as fits an outcome that is cut; without a worker (NULL) it is "the environment".
 * `doing`: what a worker that crashed was doing. -ENOMEM. */
int xd_outcome_sentence(xd_buf *out, uint8_t outcome, const char *worker, const char *doing,
                        xd_bytes id) XD_MUST;
/* Stands in the text of a crash between what xd says and what the worker wrote last. */
#define XD_OUTCOME_LAST_OUTPUT "\nlast output of the worker:\n"
/* What a gateway says of its end, without the spec in front, for lines that name it already. A part of `reason`. */
xd_bytes xd_reason_without_spec(const char *spec, xd_bytes reason);
/* What ENV_FAILED says, with the spec of its environment in front, unless that is plain popen or is there. -ENOMEM. */
int xd_env_failed_text(xd_buf *out, xd_bytes spec, xd_bytes text) XD_MUST;
/* How a worker ended: what WORKER_DOWN gives as the reason, else its signal or status. -ENOMEM. */
int xd_outcome_reason(xd_buf *out, const xd_wire_WORKER_DOWN *down) XD_MUST;
