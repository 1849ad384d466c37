/* engine/broker.h - the broker: routes messages by address, journals what is to be journaled, acknowledges
 * what is durable.
 * It knows nothing about tests: of a frame it reads the header.
 *   in   REGISTER, SUBSCRIBE, TAIL (answer), messages for others; XD_FLAG_JOURNAL: one wire frame, first
 *        appended to the journal
 *   out  the messages, unchanged; ACK (frame) to the gateway whose sequenced frames became durable; TAIL to
 *        subscribers, at most one unanswered each, so that a slow reporter lags and blocks nobody; FAULT and
 *        GONE to "sched"; UNKNOWN to a sender that names an address nobody has
 * A journaled frame with a sequence number passes the session of its gateway (engine/session.h): a duplicate
 * is acknowledged again and dropped, a gap drops the frame and is counted (the gateway closes such a stream
 * before it comes here).
 * A journal that has reached its limit takes no more from agents: their frames are dropped, and "sched" hears of it once
 * (FAULT with -EDQUOT).
 * Own thread.  Sends never block: what a peer does not take waits in its own bounded queue. */
#pragma once
#include "engine/actor.h"
#include "engine/journal.h"

typedef struct xd_broker xd_broker;

typedef struct xd_broker_stats {
    uint64_t messages, journaled, frames_bytes, duplicates, gaps, unroutable, queued, overflows, acks;
} xd_broker_stats;

/* Takes the journal (closed with the broker; NULL = none: journaled messages are only routed). Returns when
 * it is ready for actors. */
int xd_broker_start(xd_broker **ret, xd_bus *bus, xd_journal **journal, xd_error *err) XD_MUST;
/* Becomes readable when "sched" was dropped because it did not read its messages: the run cannot be ended by
 * it any more. Owned by the broker. */
int xd_broker_broken_fd(const xd_broker *b);
/* 0, or -errno: the journal cannot be written, and what followed is not in it. Any thread. */
int xd_broker_fault(const xd_broker *b);
/* Ends the thread after what is in its inbox, commits and closes the journal. *ret_stats and *ret_fault (0 or
 * -errno of the journal) may be NULL. */
xd_broker *xd_broker_stop(xd_broker *b, xd_broker_stats *ret_stats, int *ret_fault);
