/* sync/hash.h - reads a file and makes its digest, so that both fit together. Linux. */
#pragma once
#include <stdbool.h>

#include "sync/statcache.h"

#define XD_HASH_BUFFER (256u << 10) /* bytes of a buffer for xd_hash_file */

/* What stands at a name; links are not followed, nothing is mounted. -errno. */
int xd_stat_at(int folder_fd, const char *name, xd_stat *ret) XD_MUST;
/* Opens what stands at a path below a folder; no link on the way is followed, nor the last name. -errno: -ELOOP for a link. */
int xd_open_beneath(int folder_fd, const char *path, int flags) XD_MUST;
/* Opens a file for reading: no link, no wait for the writer of a FIFO, its access time stays where that is allowed. -errno. */
int xd_open_file(int folder_fd, const char *name) XD_MUST;
/* Reads a file whole. *st: what stood there before (xd_stat_at), and then what was read. It is read again when it changed meanwhile, 3 times in all; -EAGAIN
 * then. -EINVAL: it is no regular file any more; -ENOENT, -EACCES, -ELOOP and others. stop (may be NULL): non-zero ends it with -ECANCELED. buffer: XD_HASH_BUFFER bytes. */
int xd_hash_file(int folder_fd, const char *name, const int *stop, uint8_t *buffer, xd_stat *st,
                 xd_digest *ret) XD_MUST;
