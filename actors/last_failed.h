/* actors/last_failed.h - pytest's cache after a run that was cut off (its controller, or all of its processes, were
 * killed): what failed in it is in its journal, and --lf of the next run is to know. */
#pragma once
#include "engine/folders.h"

/* Looks at the newest run of the project that `where` lies in. Where it was cut off, and no session has written the
 * cache since, the cache's lastfailed is brought to what its journal says. To be called before the new run has a folder.
 * 1 = it was written, 0 = there was nothing to do, -errno. */
int xd_last_failed_recover(const xd_folders *where) XD_MUST;
