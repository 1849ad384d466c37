/* sync/source.h - the home end of all synchronisations of one project: its tree is scanned once, and each of its files is read and compressed once, however many hosts want it.
 *
 * Hosts that lack the same files share a stream of blocks (SYNC_DATA bodies). A few blocks are kept in memory, bounded in bytes, and made ahead of the host that is furthest. What a host that lags
 * has not had, or one that is still to come may want, is written to a file without a name beside `memory`, compressed as it is; without such a file a host that lags gets them made again from the
 * sources. So it never holds back the others, and memory stays bounded. Any thread; one lock inside. */
#pragma once
#include "sync/scan.h"

typedef struct xd_source xd_source;

typedef struct xd_source_args {
    xd_scan_args scan; /* its strings are copied; rules are borrowed until the source is freed */
    const char *
        memory; /* folder in which it is remembered what each destination has; NULL = nothing is remembered */
    uint64_t kept_bytes; /* of blocks in memory; 0 = 8 MiB */
    uint32_t hosts;      /* how many xd_send there will be; fewer will do */
    bool     apart;      /* what was brought there at another time, and lies in no root of this one, stays */
} xd_source_args;

/* Begins the scan in a thread of its own and returns. */
int        xd_source_new(xd_source **ret, const xd_source_args *args, xd_error *err) XD_MUST;
xd_source *xd_source_free(xd_source *s); /* waits for its threads; no xd_send may be running any more */
void       xd_source_stop(xd_source *s); /* all that waits in it returns -ECANCELED; any thread */
/* Waits until it is scanned; the result stays the source's. -errno with err: the scan failed. */
int xd_source_scanned(xd_source *s, const xd_scan_result **ret, xd_error *err) XD_MUST;

typedef struct xd_source_stats {
    uint64_t read_files, read_bytes, blocks, blocks_again, blocks_spilled, packed_bytes;
} xd_source_stats;
void xd_source_get_stats(xd_source *s, xd_source_stats *ret);
