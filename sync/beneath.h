/* sync/beneath.h - files below a folder, reached without ever following a symbolic link or leaving the folder, whatever somebody
 * else makes of it meanwhile: openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), or, where the kernel has none (before 5.6, or
 * forbidden), one name after the other with O_NOFOLLOW.
 * No state; any thread. Paths are relative to `root`, a descriptor of the folder (O_PATH will do); "." is the folder itself. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "engine/base/error.h"
#include "sync/manifest.h"

/* Opens what stands there; O_NOFOLLOW and O_CLOEXEC are added. The descriptor, or -errno: -ELOOP and -ENOTDIR for a link, also on the way. */
int xd_beneath_open(int root, const char *path, int flags, mode_t mode) XD_MUST;
/* A folder, to name what is in it (O_PATH). */
int xd_beneath_folder(int root, const char *path) XD_MUST;
/* The same two without openat2: for tests. */
int xd_beneath_walk(int root, const char *path, int flags, mode_t mode) XD_MUST;

/* A name of a folder, itself not followed. Only a regular file is opened, and one that is none is not waited for (FIFO): -ENXIO. */
int xd_beneath_file(int folder, const char *name, int flags, struct stat *ret) XD_MUST;
/* Digest of what is left of a file; *ret_bytes (may be NULL) is how much that was. room: 64 KiB or more to read into. stop (may be NULL) is looked
 * at between two reads: -ECANCELED. */
int xd_beneath_hash(int fd, uint8_t *room, size_t size, const int *stop, xd_digest *ret,
                    uint64_t *ret_bytes) XD_MUST;
/* All of it; -errno. */
int xd_beneath_write(int fd, xd_bytes data) XD_MUST;
