/* engine/session.h - delivery between agent and controller above any transport: sequence numbers, duplicates,
 * gaps, credit, resend.
 * Pure: no clock, no I/O. The sender keeps each frame until it is acknowledged (= recorded); the receiver
 * takes each sequence number once, in order. When a pipe was cut and another one is there, each side says up to which
 * number it took the frames, and the other side sends what follows again. */
#pragma once
#include "engine/wire.h"

typedef struct xd_session_tx xd_session_tx;

int            xd_session_tx_new(xd_session_tx **ret, uint32_t window_frames, uint32_t window_bytes) XD_MUST;
xd_session_tx *xd_session_tx_free(xd_session_tx *s);
XD_DEFINE_AUTO(xd_session_tx, xd_session_tx_free)
/* New credit (WELCOME). */
void xd_session_tx_window(xd_session_tx *s, uint32_t frames, uint32_t bytes);
/* May another frame of so many bytes be sent now? One frame is always allowed when nothing is outstanding. */
bool xd_session_tx_credit(const xd_session_tx *s, size_t bytes);
/* Takes a whole frame (header + body), gives it the next sequence number, keeps a copy, and returns a view of
 * it to be written (valid until the next call). */
int xd_session_tx_push(xd_session_tx *s, const void *frame, size_t len, xd_bytes *ret) XD_MUST;
/* Cumulative acknowledgement.  0, 1 = already known, -EPROTO = beyond what was sent. */
int xd_session_tx_acked(xd_session_tx *s, uint64_t seq) XD_MUST;
/* The far end of a pipe that takes the session up says that it took everything up to `last`. 0; -EPROTO = that is beyond
 * what was sent, -ESTALE = it has been acknowledged further already, and is not kept any more. Nothing changes: what is taken
 * may still be lost with whoever took it, only what is acknowledged is not. */
int xd_session_tx_taken(const xd_session_tx *s, uint64_t last) XD_MUST;
/* Calls back for each unacknowledged frame behind number `last`, in order. */
int      xd_session_tx_resend(const xd_session_tx *s, uint64_t last, int (*fn)(void *arg, xd_bytes frame),
                              void *arg) XD_MUST;
uint64_t xd_session_tx_last(const xd_session_tx *s); /* highest number given out, 0 = none */
uint32_t xd_session_tx_outstanding(const xd_session_tx *s);
size_t   xd_session_tx_outstanding_bytes(const xd_session_tx *s);

typedef struct xd_session_rx {
    uint64_t last;  /* highest number taken in order */
    uint64_t acked; /* highest number acknowledged to the sender */
    uint64_t duplicates, gaps;
} xd_session_rx;
#define XD_SESSION_RX_INIT ((xd_session_rx){ 0 })
enum { XD_SESSION_TAKE = 0, XD_SESSION_DUPLICATE = 1, XD_SESSION_GAP = 2 };
/* Verdict on an incoming number: TAKE (and it counts as taken), DUPLICATE (ack again, drop), GAP (the stream
 * is broken: close it). */
int xd_session_rx_seen(xd_session_rx *s, uint64_t seq) XD_MUST;
