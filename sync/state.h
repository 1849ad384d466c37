/* sync/state.h - what the far end of a synchronisation remembers in its folder (`.xd-sync`): the tree that was brought there last, and of each
 * name a fingerprint of what stat(2) said of it then, so that what nobody has touched need not be read again.
 *
 * `.xd-sync-new` is written first, with the tree that is being brought: it becomes `.xd-sync` at the end. Where one is found at the beginning, an
 * earlier synchronisation was killed, and it tells what that one may have brought.
 * Both are read as what anybody may have put there: a file of another owner, none at all (a FIFO, a link, a folder), or one that is damaged, counts as
 * if it was not there. Not thread safe. */
#pragma once
#include <sys/stat.h>

#include "sync/manifest.h"

#define XD_STATE_NAME ".xd-sync"
#define XD_STATE_NEW ".xd-sync-new" /* of another tree: as long as it is there, the folder is being changed */
#define XD_STATE_SEEN ".xd-sync-seen" /* of the same tree */
#define XD_STATE_BYTES_MAX (1ull << 30)

typedef struct xd_state {
    xd_manifest *tree;       /* NULL = nothing is known */
    uint64_t    *print;      /* fingerprint per entry; 0 = none. NULL: it was not written to its end */
    int64_t      written_ns; /* clock of the file system */
    xd_buf others; /* what other calls brought, which is not in the tree: 'f', or 'd' for a folder (of a call
                          * that brought the contents of one folder: 'F', 'D'), the path, NUL; parents first */
} xd_state;

void xd_state_release(xd_state *s);
/* 0 = read, or nothing of use is there; -ENOMEM. */
int xd_state_read(int root, const char *name, xd_state *ret) XD_MUST;

/* Device, inode, size, times, mode as one number; never 0. */
uint64_t xd_state_print(const struct stat *st);
/* How much older than written_ns a change must be so that a fingerprint tells it from a later one: by the clock of the file system. */
int64_t xd_state_margin_ns(int root);

/* Writing. begin: takes the place of what has the name `temp`, XD_STATE_NEW or _SEEN. The descriptor, or -errno; -EISDIR: a folder with something in it has that
 * name, or the final one. */
int xd_state_begin(int root, const char *temp, const xd_manifest *tree) XD_MUST;
/* Closes fd. again: the tree is another one than at the beginning. print: per entry. others: as in xd_state. */
int xd_state_end(int root, const char *temp, int fd, const xd_manifest *tree, const uint64_t *print,
                 xd_bytes others, bool again) XD_MUST;
