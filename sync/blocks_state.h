/* sync/blocks_state.h - streams and their readers, for blocks.c (streams, readers), blocks_make.c (which block is made next; making it) and spill.c. All under the source's lock. */
#pragma once
#include "sync/blocks.h"
#include "sync/maker.h"

typedef struct xd_stream {
    struct xd_stream *next;
    xd_digest         key;
    xd_range         *ranges;
    uint32_t          count;
    xd_base          *base;
    bool              zstd, again; /* again: made for readers that lagged */
    xd_maker         *maker;
    xd_cursor         made; /* up to where */
    bool              making, finished;
    bool              raw;     /* the last block did not shrink */
    uint32_t          packing; /* blocks that are being compressed */
    int               fault;
    xd_error          err;
    xd_block         *head, **tail;
    uint64_t          first, count_made; /* number of head; of the next to be made */
    uint64_t          kept;              /* bytes of its blocks */
    xd_reader        *readers;
    uint64_t          began_ns, waited_ns,
        starve_ns; /* starve_ns: since when the fastest waits for those that lag; 0 = does not */
} xd_stream;

struct xd_reader {
    xd_source *source;
    xd_stream *stream;
    xd_reader *next;
    uint64_t   number; /* of the block that it gets next */
    xd_cursor  at;     /* where that begins */
    int        wake_fd, level;
    bool       waits;
};

static inline bool xd_stream_busy(const xd_stream *st)
{
    return st->readers || st->making || st->packing;
}

/* What is complete stays for those that come later, as long as there is room. */
static inline bool xd_stream_kept(const xd_stream *st)
{
    return st->finished && st->first == 0 && !st->fault;
}

/* Bytes of blocks that may be in memory. */
uint64_t xd_blocks_room(const xd_source *s);
/* Number of the block that comes next for the reader that is furthest, or least far. Without readers: 0; as many as were made. */
uint64_t xd_stream_fastest(const xd_stream *st);
uint64_t xd_stream_slowest(const xd_stream *st);
void     xd_stream_drop_head(xd_source *s, xd_stream *st);
void     xd_stream_free(xd_source *s, xd_stream *st);
/* Wakes the readers that wait for a block. */
void xd_stream_wake(xd_stream *st);
void xd_block_unref(xd_source *s, xd_block *b);
void xd_block_drop_frame(xd_source *s, xd_block *b);
void xd_reader_wake(const xd_reader *r);
/* The block's memory in the stream is less by so much. */
void xd_stream_less(xd_source *s, xd_stream *st, size_t bytes);
/* May others come that want the stream from its beginning? */
bool xd_stream_awaited(const xd_source *s, const xd_stream *st);
/* blocks_make.c */
void xd_blocks_start(xd_source *s);

/* ---- spill.c: blocks that hosts which lag, or come later, will want are written to a file without a name, so that they need not be made again. */
/* Writes one, if more are in memory than may be. false: there is none that could be. Called, and returns, with the lock; without it while it writes. */
bool xd_spill_one(xd_source *s) XD_MUST;
/* Can blocks be written? */
bool xd_spill_works(const xd_source *s);
/* A copy of a block that was written; the same of the lock. -errno: it cannot be read. */
int  xd_spill_read(xd_source *s, xd_block *b, xd_block **ret) XD_MUST;
void xd_spill_end(xd_source *s);
