/* sync/chunk.h - files in pieces that a change elsewhere in the file does not move, so that a changed file travels as what changed.
 *
 * A file is cut where a rolling hash of its bytes says so (FastCDC: gear hash, normalised sizes), so the cuts move along with the content. The list of a file's chunks
 * (a 64-bit id and a length of each) is remembered; of large files the ids of its fixed blocks too, which find changes in place better: one pass over
 * another version of the file says then what to copy from the old one, and makes the list of the new one.
 *
 * Ids are XXH3-64: a wrong match is found by the digest of the whole file. Pure: no I/O; one thread at a time per object. */
#pragma once
#include "engine/base/arena.h"
#include "sync/manifest.h"

#define XD_CHUNKED_MIN 8192u          /* bytes; smaller files always travel whole */
#define XD_CHUNK_FIXED 8192u          /* a fixed block */
#define XD_CHUNK_FIXED_MIN (8u << 20) /* files of at least so many bytes have fixed blocks listed */
#define XD_CHUNK_MAX (64u << 10)      /* no chunk is longer */
#define XD_CHUNK_CLASSES 3u           /* average 2, 8, 16 KiB */

typedef struct xd_chunker {
    uint64_t gear[256];
} xd_chunker;
void xd_chunker_init(xd_chunker *c);
/* Which sizes of chunks a file of so many bytes gets. */
unsigned xd_chunk_class(uint64_t file_bytes);
uint32_t xd_chunk_longest(unsigned class);
/* Length of the first chunk of data; it is final when len >= xd_chunk_longest or the file ends behind it. 0 when len is. */
size_t   xd_chunk_cut(const xd_chunker *c, unsigned class, const uint8_t *data, size_t len);
uint64_t xd_chunk_id(const uint8_t *data, size_t len);

/* The list of one file, as it is stored: little endian, a multiple of 8 bytes. A view; owns nothing. */
typedef struct xd_chunk_list {
    uint64_t size; /* of the file */
    uint32_t count, blocks;
    unsigned class;
    const uint8_t *ids, *fixed, *lens; /* u64 count times, u64 blocks times, u32 count times */
} xd_chunk_list;
/* -EINVAL: it is none (its lengths do not add up). */
int xd_chunk_list_read(xd_bytes stored, xd_chunk_list *ret) XD_MUST;

/* Lists by the digest of the content. */
typedef struct xd_chunk_stored {
    xd_digest id;
    xd_bytes  list;
} xd_chunk_stored;
typedef struct xd_chunk_store {
    xd_arena         arena;
    xd_chunk_stored *at;
    uint32_t         count, cap;
    uint32_t        *slot; /* index + 1, 0 = free; twice cap */
} xd_chunk_store;
#define XD_CHUNK_STORE_INIT ((xd_chunk_store){ 0 })
void xd_chunk_store_release(xd_chunk_store *s);
/* Copies it; what is there already stays. -ENOMEM. */
int xd_chunk_store_add(xd_chunk_store *s, xd_digest id, xd_bytes list) XD_MUST;
/* Empty: it has none. Valid as long as the store. */
xd_bytes xd_chunk_store_find(const xd_chunk_store *s, xd_digest id);

/* ---- one pass over a file ---------------------------------------------------------------------------------- */

/* What the pass finds, in order, without gaps: these bytes, or `len` bytes at base_at of the old version (data NULL). */
typedef int (*xd_delta_out)(void *arg, uint64_t at, const uint8_t *data, uint64_t base_at, size_t len);

typedef struct xd_delta {
    const xd_chunker *chunker;
    xd_chunk_list     base;
    bool              has_base;
    bool              in_place; /* fixed blocks of both can be compared */
    unsigned class;
    uint64_t  size, at; /* all before `at` was given out */
    uint32_t *slot;     /* chunks of the base by id: index + 1 */
    uint64_t *start;    /* where each is in the base */
    uint32_t  slots;
    uint32_t  guess; /* chunk of the base that should come next */
    uint64_t *ids, *fixed;
    uint32_t *lens;
    uint32_t  count, cap, blocks, blocks_cap;
} xd_delta;

/* base: list of the old version (borrowed until xd_delta_release), NULL = only the list of this one is made. -ENOMEM. */
int  xd_delta_init(xd_delta *d, const xd_chunker *c, const xd_chunk_list *base, uint64_t size) XD_MUST;
void xd_delta_release(xd_delta *d);
/* Bytes of the file from offset win_at on, which is at most xd_delta_from(). Takes what it can: what is left is shorter than XD_DELTA_LEFT, unless `end`, when all is taken.
 * A result < 0 of out is returned. */
#define XD_DELTA_LEFT (XD_CHUNK_MAX + XD_CHUNK_FIXED)
int xd_delta_feed(xd_delta *d, const uint8_t *win, uint64_t win_at, size_t win_len, bool end,
                  xd_delta_out out, void *arg) XD_MUST;
/* Bytes before this offset are not needed any more. */
uint64_t xd_delta_from(const xd_delta *d);
/* All was fed: appends the list of the file. */
int xd_delta_list(const xd_delta *d, xd_buf *out) XD_MUST;
