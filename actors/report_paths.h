/* actors/report_paths.h - stands between the journal and the reports for people: in the paths of copies on another host it puts the
 * user's own folders.
 *   in   every frame of the journal, in order, once (xd_report_paths_take): RUN_START names the folders here, ENV_FACTS of a gateway
 *        its copies of them, CONFIG the folder that its relative paths count from
 *   out  frames of that gateway as its processes would have written them here
 * What pytest and Python write is changed: texts of failures, messages, places of skips and warnings, the header, what the collecting
 * process says on stderr. What tests print is not, except for lines of tracebacks in what a crashed worker left; nor are facts of that
 * host (its interpreter, its folders). The journal stays as it came, so that a report can be made again from it, wherever.
 * One thread. No I/O. */
#pragma once
#include "engine/pathmap.h"
#include "engine/wire.h"

#define XD_REPORT_PATHS_FIELDS 5

typedef struct xd_report_paths {
    char       *root; /* RUN_START.cwd; owned */
    char       *base; /* RUN_START.base; owned; NULL = nothing is brought anywhere */
    xd_pathmap *maps; /* index = gateway number */
    size_t      count;
    xd_buf      rooms[XD_REPORT_PATHS_FIELDS]; /* private */
} xd_report_paths;
#define XD_REPORT_PATHS_INIT ((xd_report_paths){ 0 })

void xd_report_paths_release(xd_report_paths *p);
/* What RUN_START says, for who is no reader of the journal: the folder here. NULL = it has none. -ENOMEM. */
int xd_report_paths_begin(xd_report_paths *p, const char *root, const char *base) XD_MUST;
/* Notes what these frames say; every other one, and one that does not decode, leaves it as it is. -ENOMEM. */
int xd_report_paths_take(xd_report_paths *p, const xd_frame *frame) XD_MUST;
/* Whose copies a gateway has: NULL = it is not known to have any. */
const xd_pathmap *xd_report_paths_of(const xd_report_paths *p, uint16_t gateway);
/* *ret is `frame` where nothing changes (always, where no gateway has copies), else one in `room`, which is emptied before. -ENOMEM. */
int xd_report_paths_frame(xd_report_paths *p, const xd_frame *frame, xd_buf *room, xd_frame *ret) XD_MUST;
