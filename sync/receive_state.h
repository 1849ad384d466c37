/* sync/receive_state.h - the far half of a synchronisation: what its conversation with the home end has come to; for receive.c, receive_stream.c and
 * receive_ask.c alone. One thread reads the stream and writes to it: all of this is its. */
#pragma once
#include "sync/far.h"

typedef struct receiver {
    xd_far      far;
    far_data   *data;
    int         in, out;
    uint8_t    *buf; /* IN_BYTES: read, and not yet given out */
    size_t      at, len;
    far_block  *body; /* of the frame that is being handled, where it is large or holds data */
    uint64_t    told; /* TAKEN */
    xd_digest   wanted;
    xd_records *records;
    bool        looked;   /* SYNC_LOOK came: the folder is open */
    bool        listing;  /* records have begun */
    bool        dropping; /* NEED_ALL was said: what was pushed is of no use */
    bool        listed;   /* the last ones have come, or are not needed */
    bool        heard;    /* records, or the END that says that none were sent */
    bool        asking;   /* EXTRA was sent, KEEP has not come */
    bool        ask_home; /* for what was brought, too */
    uint32_t    asked;    /* first victim that was asked for */
    uint32_t    rounds;   /* ENDs that are due, and came */
    uint32_t    ends;
    void       *zstd;   /* context of the decoder */
    xd_buf      amends; /* xd_wire_SYNC_AMEND that came before the tree */
} receiver;

/* ---- receive_stream.c */
bool xd_receiver_failed(receiver *r);
/* All that was to be sent is. -EPIPE: nobody hears it. */
int xd_receiver_flush(receiver *r) XD_MUST;
int xd_receiver_flush_large(receiver *r) XD_MUST; /* if that is much */
int xd_receiver_tell_taken(receiver *r) XD_MUST;  /* if that is much */
/* Is everything there that has to come? */
bool xd_receiver_complete(receiver *r);
/* The next frame, valid until the next call. 2: there need be none any more. -EPIPE: the stream has ended; -EINTR: the signal to stop came; -ECANCELED: a
 * writer had a fault. */
int xd_receiver_next(receiver *r, xd_frame *f) XD_MUST;
/* The inner body as it was before it was compressed: a view of `inner`, or of *ret_block. -EPROTO. */
int  xd_receiver_unpack(receiver *r, xd_bytes inner, uint8_t codec, uint32_t plain, uint32_t most,
                        far_block **ret_block, xd_bytes *ret) XD_MUST;
void xd_receiver_stream_release(receiver *r);

/* ---- receive_ask.c */
/* Asks for what was not yet asked for; `again`: for all that has not come. */
int xd_receiver_want(receiver *r, bool again) XD_MUST;
/* Asks about paths to be removed. */
int xd_receiver_ask(receiver *r) XD_MUST;
int xd_receiver_keep(receiver *r, const xd_frame *f) XD_MUST;
