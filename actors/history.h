/* actors/history.h - how long items took and how they ended in earlier runs; one SQLite file per project:
 * <folder name>-<hash of rootdir>/history.db in the folder of the cache.  Key: XXH3-64 of the node id, seeded with the environment
 * where each runs all tests (--dist each), as a test takes another time in another one.
 * A cache: a damaged or locked file never fails a run; the call says so (XD_HISTORY_UNUSABLE and one line),
 * and the run goes on without.
 * One thread per object; any number of processes per file. */
#pragma once
#include "engine/base/buf.h"

typedef struct xd_history_entry {
    uint64_t key;
    uint64_t duration_us; /* weighted mean of the last runs: setup + call + teardown */
    uint32_t runs;        /* how often this entry was written */
    uint8_t  outcome;     /* the last one, XD_OUT_* */
    uint8_t  dirty;       /* private */
} xd_history_entry;

typedef struct xd_history xd_history;

enum {
    XD_HISTORY_UNUSABLE =
        1, /* the file cannot be read (damaged, locked, no right): the object works and is empty; err says why */
};

/* Path of the project's file, malloc'ed; nothing is created. cache: NULL = the default folder. */
int xd_history_path(const char *cache, const char *rootdir, char **ret, xd_error *err) XD_MUST;
/* Reads the whole file at once (100,000 entries in about 30 ms). A file that is not there is an empty
 * history. 0, XD_HISTORY_UNUSABLE (*ret is valid all the same), -ENOMEM. */
int         xd_history_open(const char *path, xd_history **ret, xd_error *err) XD_MUST;
xd_history *xd_history_free(xd_history *h); /* does not save */
XD_DEFINE_AUTO(xd_history, xd_history_free)
size_t xd_history_count(const xd_history *h);
/* What stands for an environment below: 0 = none, or that of this machine as it is ("popen"), whose entries are those of any run. */
uint64_t xd_history_environment(xd_bytes spec);
/* NULL when the item is not known; what is not known of an environment is looked for without it. Valid until the next
 * xd_history_note. */
const xd_history_entry *xd_history_find(const xd_history *h, uint64_t environment, xd_bytes nodeid);
/* Takes one execution. A duration within 25 % or 5 ms of the known one, with the same outcome, changes
 * nothing (and is not written). */
int xd_history_note(xd_history *h, uint64_t environment, xd_bytes nodeid, uint64_t duration_us,
                    uint8_t outcome) XD_MUST;
/* Number of entries a save would write. */
size_t xd_history_dirty(const xd_history *h);
/* Writes the changed entries in one transaction; makes folder and file; a damaged file is put aside as
 * history.db.damaged.
 * 0, XD_HISTORY_UNUSABLE (locked for over 2 s, no right, disk full; err says which; the entries stay dirty),
 * -ENOMEM. */
int xd_history_save(xd_history *h, xd_error *err) XD_MUST;
