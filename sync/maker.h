/* sync/maker.h - makes the blocks of a stream (sync/blocks.h), one after another: reads files in their order and writes pieces. One thread at a time per maker.
 *
 * A file is sent as it is when it is read. If that is not what the scan saw, the change is handed out along with the block; the last piece of a file is never in a block before its digest
 * is known, so the change can be told first. A file that changes while it is read is read again, 3 times. */
#pragma once
#include "sync/source_state.h"

typedef struct xd_maker xd_maker;

/* ranges: borrowed; in order. base: what the hosts have (borrowed), NULL = whole files alone. from: where to begin; the part of a file before it is read, but not given out. */
int xd_maker_new(xd_maker **ret, xd_source *s, const xd_range *ranges, uint32_t count, const xd_memory *base,
                 xd_cursor from) XD_MUST;
xd_maker *xd_maker_free(xd_maker *m);

typedef struct xd_made {
    xd_buf    frame;         /* XD_MADE_HEAD bytes of room, then a SYNC_PIECE_LIST */
    uint32_t  pieces, files; /* files that end in it */
    uint64_t  bytes;         /* content of them, plain */
    xd_cursor next;
    xd_amend *amends; /* malloc'ed */
    uint32_t  amend_count;
} xd_made;
#define XD_MADE_HEAD (XD_FRAME_HEADER + 9u)
void xd_made_release(xd_made *m);

#define XD_MADE_ROOM (512u << 10) /* no frame is longer */
/* The next block, into a frame that has that much room (frame.cap): 1, or 0 when it is the last one (which may have no pieces). */
int xd_maker_next(xd_maker *m, xd_made *ret, xd_error *err) XD_MUST;
