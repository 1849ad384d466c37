/* engine/pathmap.h - folders on another host that are copies of folders here, and texts in which their paths become those of the
 * originals. Pure.
 * A path is replaced from its beginning, and whole: /far/p is found in "/far/p/a.py:3" and in '/far/p', not in /far/p-2, not in
 * /srv/far/p and not in x/far/p. Of folders that lie in each other the longest counts. What was put in is not looked at again.
 * A relative path that begins a line, leads out of the folder it counts from, and names a line ("../x/a.py:3: ...") becomes absolute: from
 * the original's folder it would lead elsewhere. */
#pragma once
#include "engine/base/buf.h"

struct xd_pathmap_pair;

typedef struct xd_pathmap {
    struct xd_pathmap_pair *pairs; /* owned */
    size_t                  count;
    char *base; /* what relative paths count from, on the other host; NULL = not known; owned */
} xd_pathmap;
#define XD_PATHMAP_INIT ((xd_pathmap){ 0 })

typedef enum xd_pathmap_where {
    XD_PATHMAP_ALL,    /* wherever one stands */
    XD_PATHMAP_FRAMES, /* in the lines of Python's tracebacks alone: File "/far/p/a.py", line 3 */
} xd_pathmap_where;

/* Both are copied. Passed over: paths that are not absolute, the root of all as a copy, and a copy that has the original's path.
 * -ENOMEM. */
int xd_pathmap_add(xd_pathmap *m, xd_bytes copy, xd_bytes original) XD_MUST;
/* A folder of the other host; one that is not absolute is passed over. -ENOMEM. */
int  xd_pathmap_base(xd_pathmap *m, xd_bytes base) XD_MUST;
void xd_pathmap_release(xd_pathmap *m);
/* m: NULL = nothing is a copy. *ret is `in` where there is nothing to replace, else it is made in `room`, behind what is there: valid until that changes. 0, -ENOMEM. */
int xd_pathmap_text(const xd_pathmap *m, xd_bytes in, xd_pathmap_where where, xd_buf *room,
                    xd_bytes *ret) XD_MUST;
