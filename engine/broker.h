/* engine/broker.h - routes messages between actors by address and writes the journal.  Own thread; owns the libzmq context, a ROUTER (MANDATORY, never
 * blocking) and a bounded queue per peer.  It knows addresses, wire frames and sequence numbers, and nothing about tests.
 *   in   messages of actors (engine/actor.h); those flagged XD_MSG_JOURNAL go into the journal first
 *   out  the same to their address; ACK to gateways when their frames are durable; TAIL to subscribers; GONE, BOUNCE, JOURNAL_FAULT
 * After a fault of the journal messages still flow, but nothing is acknowledged. */
#pragma once
#include "engine/actor.h"
#include "engine/journal.h"

typedef struct xd_broker_options {
    xd_journal   *journal;        /* borrowed, appended to by the broker alone until stop; NULL = XD_MSG_JOURNAL is refused (-EPROTO bounce) */
    uint32_t      inflight;       /* messages in the pipe to one actor; 0 = 512, at most 1024 */
    uint32_t      queue_messages; /* waiting for one actor beyond that; 0 = 65536 */
    size_t        queue_bytes;    /* the same in bytes; 0 = 256 MiB */
    const xd_log *log;            /* NULL = none; borrowed */
} xd_broker_options;

typedef struct xd_broker_counters {
    uint64_t routed;          /* messages handed to an actor */
    uint64_t bytes;           /* bodies of those */
    uint64_t journaled;       /* records appended */
    uint64_t journaled_bytes;
    uint64_t duplicates;      /* frames with a number that was taken before */
    uint64_t gaps;            /* frames with a number that left some out */
    uint64_t refused;         /* malformed messages */
    uint64_t unreachable;     /* messages to an address that nobody has */
    uint64_t overflow;        /* messages to an actor whose queue was full */
    uint64_t queued;          /* messages that had to wait in a queue */
    uint64_t acks, tails;     /* messages of that kind sent */
    uint32_t queue_peak;      /* longest queue of any actor */
    uint32_t peers_peak;
} xd_broker_counters;

/* options NULL = defaults.  -ENOMEM, -EMFILE, -EAGAIN (no thread). */
int xd_broker_new(xd_broker **ret, const xd_broker_options *options, xd_error *err) XD_MUST;
/* Ends the thread after what has arrived is routed and journaled.  Actors that still run end with -ESHUTDOWN.  Owner's thread; again: nothing. */
void xd_broker_stop(xd_broker *b);
/* After stop. */
const xd_broker_counters *xd_broker_counters_of(const xd_broker *b);
/* Stops; frees now, or, when actors were left behind stuck, with the last of them.  NULL ok. */
xd_broker *xd_broker_free(xd_broker *b);
XD_DEFINE_AUTO(xd_broker, xd_broker_free)
/* True while an actor has this address.  Any thread. */
bool xd_broker_has(xd_broker *b, const char *address);
