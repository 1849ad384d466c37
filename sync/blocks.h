/* sync/blocks.h - streams of blocks (SYNC_DATA frames) that hosts share: see sync/source.h. Internal to the home end.
 *
 * A stream is what some hosts lack, in order; its blocks are made by the threads of the source, ahead of the host that is furthest. A reader is the place of one host in a
 * stream. A block that all have passed goes, unless hosts may still come that want it. When too much is kept, what some have not had is written to a file; where that cannot be, it goes nevertheless: those
 * readers get a stream of their own from where they are, which others that lag can share. */
#pragma once
#include "sync/memory.h"

typedef struct xd_source xd_source;
struct xd_base;

typedef struct xd_range {
    uint32_t first, count;
    uint32_t whole; /* 1 = no deltas */
} xd_range;

/* A place in the content of some ranges. */
typedef struct xd_cursor {
    uint32_t range, file; /* file: of those of the range, from 0 */
    uint64_t at;          /* bytes of the file before it */
} xd_cursor;

typedef struct xd_block {
    struct xd_block *next;
    uint8_t         *frame; /* header and body; NULL: it lies in the file of spill.c, at `spilled` */
    size_t           len;
    uint64_t         spilled;
    bool             roomy; /* frame is one of the source's rooms */
    uint64_t         bytes; /* content, plain */
    uint32_t         files; /* that end in it */
    xd_cursor        at, end;
    uint32_t         refs;
    bool             ready;
    bool             leaving; /* it is being written to that file */
} xd_block;

typedef struct xd_reader xd_reader;
/* ranges: moved in (malloc'ed), in order, within the files of the manifest. base: what the hosts have, NULL = unknown. wake_fd: an eventfd that is written when xd_reader_next has something again. */
int xd_reader_new(xd_reader **ret, xd_source *s, xd_range **ranges, uint32_t count, struct xd_base *base,
                  bool zstd, int wake_fd) XD_MUST;
xd_reader *xd_reader_free(xd_reader *r);
/* 1 = a block, to be given back; 0 = there are no more; -EAGAIN = not ready; -ECANCELED; other faults: err. */
int xd_reader_next(xd_reader *r, xd_block **ret, xd_error *err) XD_MUST;
/* Gives it back; NULL ok. The reader may be gone. */
void xd_block_done(xd_source *s, xd_block **block);
/* How its blocks had best be compressed: a level of zstd, 0 = not at all. A stream that is shared follows the one who wants most. */
void xd_reader_prefer(xd_reader *r, int level);

/* One of the hosts (xd_source_args.hosts) has got its first stream, or needs none: to be told once for each. */
void xd_blocks_came(xd_source *s);

/* For source.c: all streams and their threads; every reader is woken. */
void xd_blocks_stop(xd_source *s);
void xd_blocks_free(xd_source *s);
