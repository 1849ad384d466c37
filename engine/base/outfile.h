/* engine/base/outfile.h - a file that the user named as a place for output, written anew. A regular file is
 * written beside its name and renamed, so that nobody ever reads half of it and a fault leaves the old one; mode
 * and owner stay. What cannot be exchanged so is written through: devices, pipes, files with several names, files
 * in folders that cannot be written. A symbolic link is followed. */
#pragma once
#include "engine/base/error.h"

typedef struct xd_outfile {
    int   fd;           /* to write to, blocking; -1 = closed */
    char *temp, *final; /* NULL: written through */
} xd_outfile;
#define XD_OUTFILE_INIT ((xd_outfile){ .fd = -1 })

/* The folder must exist. -errno; -ENXIO: a pipe that nobody reads. err names the path. */
int xd_outfile_open(xd_outfile *ret, const char *path, xd_error *err) XD_MUST;
/* All is written: closes it and gives it its name. On failure it is abandoned. */
int xd_outfile_commit(xd_outfile *f, const char *path, xd_error *err) XD_MUST;
/* Closes it and removes what was written beside the name. */
void xd_outfile_abandon(xd_outfile *f);
