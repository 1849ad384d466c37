/* engine/broker.h - the broker: routes messages by address, journals what is to be journaled, acknowledges
 * what is durable.
 * It carries several runs side by side. An address is a run and a name in it: a message reaches only those of its own run,
 * and each run has its own journal, sequence numbers, limits and faults; what one of them does ends no other.
 * It knows nothing about tests: of a frame it reads the header.
 *   in   REGISTER, SUBSCRIBE, TAIL (answer), messages for others; XD_FLAG_JOURNAL: one wire frame, first
 *        appended to the journal
 *   out  the messages, unchanged; ACK (frame) to the gateway whose sequenced frames became durable; TAIL to
 *        subscribers, at most one unanswered each, so that a slow reporter lags and blocks nobody; FAULT and
 *        GONE to the owner of the run; UNKNOWN to a sender that names an address nobody has
 * A journaled frame with a sequence number passes the session of its gateway (engine/session.h): a duplicate
 * is acknowledged again and dropped, a gap drops the frame and is counted (the gateway closes such a stream
 * before it comes here).
 * A journal that has reached its limit takes no more from agents: their frames are dropped, and the owner hears of it
 * once (FAULT with -EDQUOT).
 * Own thread.  Sends never block: what a peer does not take waits in its own bounded queue. */
#pragma once
#include "engine/actor.h"
#include "engine/journal.h"

typedef struct xd_broker xd_broker; /* xd.h has xd_broker_new and xd_broker_free */

typedef struct xd_broker_stats {
    uint64_t messages, journaled, frames_bytes, duplicates, gaps, unroutable, queued, overflows, acks;
} xd_broker_stats;

typedef struct xd_broker_run_args {
    const char  *id;      /* of the run, as runs.h makes them; at most XD_RUN_ID_LEN characters; copied */
    const char  *owner;   /* the address in this run that gets FAULT and GONE; copied */
    xd_journal **journal; /* taken (closed with the run); NULL = none: journaled messages are only routed */
    const xd_log
        *log; /* for the actors of the run, and for the broker where a line is about it; NULL = none */
} xd_broker_run_args;

/* Starts the thread, with a ZeroMQ context of its own and no run. The log, for lines that concern no run, may be NULL. */
int xd_broker_start(xd_broker **ret, const xd_log *log, xd_error *err) XD_MUST;
/* Opens a run: from now on actors of it can start on *ret_bus. The caller frees the bus (xd_bus_free) after they have all
 * ended. -EEXIST: there is a run with this id. Any thread but those of its actors. */
int xd_broker_open(xd_broker *b, const xd_broker_run_args *args, xd_bus **ret_bus, xd_error *err) XD_MUST;
/* Closes a run after what its actors have sent, commits and closes its journal. What is still sent in it is dropped. Other
 * runs go on. *ret_stats and *ret_fault (0 or -errno of the journal) may be NULL. A run that is not open: nothing. Any thread but those of its actors. */
void xd_broker_close(xd_broker *b, xd_bus *bus, xd_broker_stats *ret_stats, int *ret_fault);
/* Number of runs that are open. Any thread. */
uint32_t xd_broker_runs(xd_broker *b);
/* Ends the thread; closes runs that are still open. What actors send afterwards goes nowhere. NULL ok. */
xd_broker *xd_broker_stop(xd_broker *b);

/* Becomes readable when the run's owner was dropped because it did not read its messages: the run cannot be ended by
 * it any more. Owned by the bus. */
int xd_bus_broken_fd(const xd_bus *bus);
/* 0, or -errno: the journal of the run cannot be written, and what followed is not in it. Any thread. */
int xd_bus_fault(const xd_bus *bus);
