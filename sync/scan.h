/* sync/scan.h - what stands in the roots of a project: a walk with several threads, and the contents' digests, of which a cache spares the
 * reading (sync/statcache.h).
 *
 * A root is a folder or a file below `base`. What ignore rules leave out is not looked at (sync/ignore.h); .gitignore and .xdignore files
 * of the base's folders down to a root, and of all folders below it, count. A root is never left out, nor is a root inside of another: of
 * the folders that lead to it only those that are in a root, and that no rule leaves out, have other names.
 * Symbolic links are never followed, but for the base, a root, and the folders that lead to one: the user named them, so a folder
 * stands there in the manifest (a root that is a link to a file is a link like others). One that leads out of the tree (all roots together; by its text, not by what stands there) is left out with
 * a line in `left_out`; an absolute target inside of it becomes a relative one, so it stays right on the other end.
 * Sockets, devices and FIFOs are left out with a line, and so is what is too deep or too long for a manifest. What cannot be read (EACCES),
 * or changes each time that it is read, is left out with a line, and its path is remembered as `unreadable`: what was brought of it before is
 * not removed on the other end. What vanishes meanwhile is gone, without a word. Of modes 0777 counts. */
#pragma once
#include "sync/ignore.h"
#include "sync/manifest.h"

typedef struct xd_scan_args {
    const char *const         *
        roots; /* paths relative to base, NULL-terminated; "." = the base itself. One twice, or inside of another, is allowed */
    const char *base;  /* absolute */
    const char              *
        above; /* base as the rules see it: its path below the folder of `rules`, whose rule files, and those in between, count too. The end
                               * of base. NULL = base is that folder */
    const xd_ignore *rules; /* defaults and globs; borrowed; NULL = the defaults alone */
    const char      *cache; /* file of the stat cache; NULL = none: all is read */
    uint32_t         threads; /* 0 = as many as processors; at most 8 */
} xd_scan_args;

typedef struct xd_scan_stats {
    uint32_t files, folders, links;
    uint32_t ignored; /* names that rules left out */
    uint32_t hashed;  /* files that were read */
    uint64_t hashed_bytes, bytes;
    uint64_t walk_ns; /* from the beginning to the end */
    uint64_t hash_ns; /* reading, the time of all threads together */
} xd_scan_stats;

typedef struct xd_scan_result {
    xd_manifest  *manifest;   /* owned */
    xd_buf        left_out;   /* lines "path: why", each with NUL behind it, sorted */
    xd_buf        unreadable; /* paths, each with NUL behind it, sorted; of a folder for all below it */
    xd_scan_stats stats;
} xd_scan_result;

/* Blocks. -ENOENT and the like: a root cannot be read; err says which. -EINVAL: a root is no path below the base, or none was named.
 * stop (may be NULL) is looked at now and then: non-zero ends it with -ECANCELED. A cache that cannot be written is no fault. */
int  xd_scan(const xd_scan_args *args, const int *stop, xd_scan_result *ret, xd_error *err) XD_MUST;
void xd_scan_release(xd_scan_result *r);
/* Do the rules leave this path out, which need not exist: for what is gone here, or is on the other end alone. path is relative to base. Reads the
 * .gitignore and .xdignore files on the way. What is in no root is not left out: it is nobody's. */
int xd_scan_ignores(const xd_scan_args *args, xd_bytes path, bool is_folder, bool *ret) XD_MUST;
/* The same for many paths, of which neighbours are best asked one after the other: what was read on the way to one is kept for the next.
 * args: borrowed until it is freed. One thread. */
typedef struct xd_scan_asker xd_scan_asker;
int                          xd_scan_asker_new(xd_scan_asker **ret, const xd_scan_args *args) XD_MUST;
xd_scan_asker               *xd_scan_asker_free(xd_scan_asker *a); /* NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_scan_asker, xd_scan_asker_free)
int xd_scan_asker_ask(xd_scan_asker *a, xd_bytes path, bool is_folder, bool *ret) XD_MUST;
/* Opens a folder of the tree (O_PATH) by its path below base: as in a scan links are followed on the way to a root alone. base_fd: the base's.
 * The descriptor, or -errno: -ELOOP, -ENOTDIR for a link. */
int xd_scan_open(const xd_scan_args *args, int base_fd, const char *path) XD_MUST;
/* One file as it is now, read anew: its content's digest, size, mode and time; no name. Tries 3 times while it changes; -EAGAIN then. -EINVAL: no
 * regular file; -ENOENT, -EACCES, ... */
int xd_scan_file(int base_fd, const char *path, xd_node *ret) XD_MUST;
