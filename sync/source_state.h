/* sync/source_state.h - the inside of a source (sync/source.h), for source.c, blocks.c, maker.c and send.c.
 *
 * Locks, in this order: `tree_lock` (the contents of the manifest: SYNC_AMEND changes them, all else only reads), then `lock` (everything else). Neither is held while a
 * file is read, a block is compressed or a socket is waited for. */
#pragma once
#include <pthread.h>

#include "sync/blocks.h"
#include "sync/chunk.h"
#include "sync/memory.h"
#include "sync/source.h"

/* A file was found to be another one than the scan saw. */
typedef struct xd_amend {
    uint32_t  file;
    bool      gone; /* it stays as it is there */
    int       why;  /* of gone: -errno; -EAGAIN: it changed each time it was read */
    uint16_t  mode; /* this and what follows is 0 of one that is gone */
    uint64_t  size;
    int64_t   mtime_ns;
    xd_digest id;
    xd_entry  was; /* what the manifest had before */
} xd_amend;

typedef struct xd_base {
    xd_digest  id;
    xd_memory *memory; /* NULL while it is being loaded */
    uint32_t   refs;
    bool       failed;
} xd_base;

#define XD_PRODUCERS_MAX 2
#define XD_SPARE_MAX 3u

struct xd_source {
    xd_source_args args; /* strings are ours */
    int            stop; /* atomic */
    int            base_fd;
    pthread_t      scanner;
    bool           scanning;

    pthread_rwlock_t tree_lock;
    pthread_mutex_t  lock;
    pthread_cond_t   scanned_cond, base_cond, work;
    pthread_mutex_t  ask_lock; /* of the asker; with none of the others */
    xd_scan_asker   *asker;    /* made when it is first needed */
    int              scanned;  /* 1 = runs, 0 = done, < 0 = failed */
    xd_scan_result   result;
    xd_digest        scanned_id; /* of the tree as it was scanned */
    xd_error         scan_err;

    xd_amend  *amends;
    xd_digest *after; /* digest of the tree when the first i + 1 of them are in it */
    uint32_t   amend_count, amend_cap;

    xd_chunker     chunker;
    xd_chunk_store lists; /* of contents that were read */
    xd_base      **bases;
    uint32_t       base_count;

    struct xd_stream *streams;
    uint64_t          kept;         /* bytes of all blocks in streams that are in memory */
    uint32_t          came;         /* xd_send that have got their stream, or needed none */
    int               spill_fd;     /* -1 = there is no file yet */
    bool              spill_failed; /* and there will be none */
    uint64_t          spill_len;
    uint8_t          *spare
        [XD_SPARE_MAX]; /* rooms for frames, of XD_MADE_ROOM bytes: they need not be mapped anew for each block */
    uint32_t        spares;
    pthread_t       producer[XD_PRODUCERS_MAX];
    uint32_t        producers;
    xd_source_stats stats;
};

static inline bool xd_source_stopped(xd_source *s)
{
    return __atomic_load_n(&s->stop, __ATOMIC_RELAXED) != 0;
}

/* A thread of its own, with a name, that no signal reaches. */
int xd_source_thread(pthread_t *ret, const char *name, void *(*main)(void *), void *arg) XD_MUST;

/* What a destination has, loaded once for all that have the same; to be given back. -ENOENT. */
int xd_source_base(xd_source *s, const char *key, xd_digest id, xd_base **ret) XD_MUST;
/* With the lock. */
void xd_source_base_ref(xd_base *b);
void xd_source_base_unref(xd_source *s, xd_base *b);
/* Takes it; NULL ok. */
void xd_source_base_release(xd_source *s, xd_base *b);

/* Puts changes into the manifest, all at once; without those that are in it already. What is gone keeps its record. -ENOMEM. Takes both locks. */
int xd_source_amend(xd_source *s, const xd_amend *amends, uint32_t count) XD_MUST;
/* How many there are so far. */
uint32_t xd_source_amends(xd_source *s);
xd_amend xd_source_amend_at(xd_source *s, uint32_t i);
/* With the tree's lock: the manifest as it was with the first `count` of them; a copy of its entries if there are more now, the rest is the source's. */
int  xd_source_as_of(xd_source *s, uint32_t count, xd_manifest *ret) XD_MUST;
void xd_source_as_of_release(xd_source *s, xd_manifest *m);
/* The digest of the tree with the first `count` of them. */
xd_digest xd_source_digest(xd_source *s, uint32_t count);

/* A chunk list of this content, made by this source. Valid as long as the source. */
xd_bytes xd_source_list(xd_source *s, xd_digest id);
int      xd_source_list_add(xd_source *s, xd_digest id, xd_bytes list) XD_MUST;
/* Remembers what a destination has now, if the manifest is still the one with `amends` changes. base: what it had; NULL. */
int xd_source_remember(xd_source *s, const char *key, const xd_base *base, uint32_t amends,
                       xd_error *err) XD_MUST;
/* Would the rules leave it out, or could it not be read: then it is not to be removed on the other end. */
int xd_source_keeps(xd_source *s, xd_bytes path, bool is_folder, bool *ret) XD_MUST;
