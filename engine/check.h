/* engine/check.h - what an agent says, checked before it is recorded. Between the session (sequence numbers) and the
 * journal: a frame that passes here may be journaled and believed, one that does not ends its gateway.
 *
 * An agent is trusted with the outcomes of the items that are leased to it, and with nothing else. What follows from
 * that is in tables of wire.def (XD_RANGE: numbers; XD_WHEN: phases of its environment) and, where one frame depends on
 * another, in this module: leases, workers' numbers, what has been asked for, the list against its count and digest.
 * It hears both directions of one gateway, in order. Pure: no clock, no I/O; nothing is allocated per result.
 *
 * Credit: sequenced frames that are not acknowledged yet are counted here, too. A gateway reads no further while
 * xd_check_full(): so a peer that ignores its credit waits, whatever it writes. Frames outside of the sequence are free
 * up to a rate that no agent comes near; more is an error. */
#pragma once
#include "engine/wire.h"

typedef struct xd_check xd_check;

/* The credit that WELCOME grants; twice as much may be outstanding, because an agent looks at its credit only before
 * it reads from its workers. */
int       xd_check_new(xd_check **ret, uint32_t window_frames, uint32_t window_bytes) XD_MUST;
xd_check *xd_check_free(xd_check *c);
XD_DEFINE_AUTO(xd_check, xd_check_free)

/* A frame of the controller that is on its way to the agent. 0, -ENOMEM. */
int xd_check_command(xd_check *c, const xd_frame *f) XD_MUST;
/* A frame of the agent (ids 32..63, BYE), past the sequence.
 * 0; -EPROTO: xd_check_why() says what is wrong with it; -ENOMEM. */
int xd_check_frame(xd_check *c, const xd_frame *f) XD_MUST;
/* One more frame outside of the sequence (ACK, PONG, PROGRESS), or one that came before. 0, -EPROTO as above. */
int xd_check_loose(xd_check *c, const xd_frame *f, uint64_t now_ns) XD_MUST;
/* "RESULTS: item 7 is not leased to it". Valid until the next call. */
const char *xd_check_why(const xd_check *c);

/* A sequenced frame was passed on; the journal has all up to `seq`. */
void xd_check_passed(xd_check *c, const xd_frame *f);
void xd_check_acked(xd_check *c, uint64_t seq);
/* Nothing more may be read before something is acknowledged. */
bool xd_check_full(const xd_check *c);
