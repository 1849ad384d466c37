/* sync/send_plan.h - which records one destination gets, and what is pushed along with them. Internal to the home end. No I/O but the ignore files that xd_source_keeps
 * looks into. */
#pragma once
#include "sync/source_state.h"

#define XD_PUSH_MOST (1u << 20) /* bytes, estimated: more is sent only when it was asked for */

typedef struct xd_send_plan {
    xd_range *push; /* malloc'ed; NULL = nothing */
    uint32_t  pushes;
    uint64_t  push_files, push_bytes; /* bytes: of the whole files */
} xd_send_plan;
#define XD_SEND_PLAN_INIT ((xd_send_plan){ 0 })
void xd_send_plan_release(xd_send_plan *p);

/* The whole tree (base NULL) or how it differs from the base, as it was with so many amendments. Appends its SYNC_RECORDS to frames. push: contents may go along. The source was scanned; its tree_lock is held for reading. */
int xd_send_plan_make(xd_send_plan *ret, xd_source *s, uint32_t amends, const xd_base *base, bool push,
                      bool zstd, xd_buf *frames) XD_MUST;
