/* sync/receive.h - the far half of one synchronisation: makes a folder what the home end says, over a stream of frames (SYNC_* of wire.def).
 * Blocks; the process `xdagent --receive` runs it.
 *
 * What it promises: every path below the folder is reached by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) of its parent; a file is written under
 * a temporary name beside its place (`.xd-*`), its digest is checked, and it is renamed; removals come last; what was not brought is not
 * touched (unless DELETE, and then not what is ignored at home); a crash leaves old files or new ones, never halves. On a fault (disk full, quota,
 * read-only, a path in the way) it says SYNC_FAILED with one line, removes its temporary files, and what stood there stays.
 *
 * What the home half has to know beyond wire.def:
 *   - One SYNC_END is due behind the last SYNC_RECORDS of each series (after all that is pushed; at once when nothing is), and one when a SYNC_WANT with
 *     `last` has been served; one right behind SYNC_OPEN when no records are sent unasked, as this end is thought to have the tree. So an END that crossed a WANT is told from the answer to it. Where nothing is lacking, none is waited for.
 *   - SAME, DONE and FAILED may come at any time, also while home still pushes. After NEED_ALL what was pushed is dropped, up to the new records
 *     (and counted in TAKEN); AMENDs are remembered.
 *   - Where the wanted tree is the one that was brought last, but files are damaged, WANT comes at once; records that are on their way are passed over.
 *   - Data that does not fit its record (longer, another digest) is dropped and asked for again as a whole file, after the END, up to 3 times.
 *   - Empty files are never asked for. TAKEN counts the bodies of SYNC_DATA frames as they travel.
 *   - AMEND with `gone`: the record stays in the tree, and the path is looked at anew by the next synchronisation.
 *   - No name begins with `.xd-`, no link leads out of the tree: both are faults of the protocol. */
#pragma once
#include "sync/manifest.h"

typedef struct xd_receive_args {
    int         in, out; /* the stream; may be the same; blocking or not */
    const char *folder;  /* absolute; made if it is missing (0700 where its parent is ours to make) */
    uint32_t    threads; /* writers; 0 = as many as processors, at most 4 */
    int         stop_fd; /* readable = end (signals of the process: xd_os_signal_fd); 0 = none */
} xd_receive_args;

/* Exit status for the process: 0 = done (SYNC_SAME or SYNC_DONE said), 1 = SYNC_FAILED said, 2 = the stream ended or said what it must not, or
 * stop_fd did. */
int xd_receive(const xd_receive_args *args) XD_MUST;
