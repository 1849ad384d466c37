/* sync/statcache.h - digests of files that were read before, so that what did not change since is never read again.
 *
 * An entry says: the file with this device, inode, size, mode, mtime and ctime had this content. It holds only if all of them are the same; its name is
 * no part of it, so what is moved with its folder is not read again either. The ctime catches what size and mtime miss (`touch -r`, `cp -p`, a file moved over another).
 *
 * Times are coarse: a file that is written twice within one tick of its file system can look the same after the second write. So an entry is
 * trusted only if the file was left alone for a while before it was read, by the clock of the file system itself (xd_statclock). What cannot be trusted is
 * not stored, and so the next scan reads it again.
 *
 * The file: mapped for reading; written anew under a temporary name and renamed, never synced: to lose it costs time only. Whatever is wrong with it
 * (another version, another machine, cut, damaged), it counts as empty. Several processes may use one file: the last to write wins. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "sync/manifest.h"

/* What a file is known by. Compared as a whole. */
typedef struct xd_stat {
    uint64_t ino, size;
    int64_t  mtime_ns, ctime_ns;
    uint32_t dev;  /* as Linux numbers devices: 12 bits of major, 20 of minor */
    uint32_t mode; /* st_mode: type and all bits */
} xd_stat;
static inline bool xd_stat_eq(const xd_stat *a, const xd_stat *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns && a->mode == b->mode;
}

typedef struct xd_statcache xd_statcache;

/* Reads the cache of a file; path NULL, or whatever is wrong with the file: an empty one. -ENOMEM. */
int           xd_statcache_new(xd_statcache **ret, const char *path) XD_MUST;
xd_statcache *xd_statcache_free(xd_statcache *c); /* NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_statcache, xd_statcache_free)
/* The digest of this file, if it was stored; it is one of those that will be kept. Any thread, no lock. */
bool xd_statcache_find(xd_statcache *c, const xd_stat *st, xd_digest *ret);
/* A file that was read, and can be trusted (xd_statclock_trusts). Any thread. -ENOMEM. */
int xd_statcache_add(xd_statcache *c, const xd_stat *st, xd_digest id) XD_MUST;
/* Writes what was found and added, and no others, if anything was added; else 1: the file is left alone. Its folder is made if need be (0700), its mode is
 * 0600. -errno: it cannot be written, and what stood there stays. One thread, when the others are done. */
int xd_statcache_save(xd_statcache *c) XD_MUST;

/* When reading began, by the clock of one file system. */
typedef struct xd_statclock {
    int64_t trusted_ns; /* what was changed before this can be trusted */
} xd_statclock;
/* Asks the file system of this folder: of a file without a name, or one that is removed at once (`.xd-probe-*`), the time. Margin: 20 ms where the file system is known to have fine
 * times and shows them, else 2 s. A folder in which no file can be made: this machine's clock with 2 s, of a network's or unknown file system 10 minutes. Never fails. Ask before any file is read. */
void               xd_statclock_probe(int folder_fd, xd_statclock *ret);
static inline bool xd_statclock_trusts(const xd_statclock *c, const xd_stat *st)
{
    return st->mtime_ns < c->trusted_ns && st->ctime_ns < c->trusted_ns;
}
