/* engine/sched_order.h - private to sched.c: in what order the items of a collection are preferred, and in
 * what pieces. */
#pragma once
#include "engine/sched.h"

typedef struct xd_sched_seg {
    uint32_t first, count;
    uint32_t group;  /* 0 = free */
    uint64_t weight; /* expected microseconds, or a guess */
} xd_sched_seg;

typedef struct xd_sched_order {
    const xd_sched_item *items;
    uint32_t             count;
    bool                 grouped;    /* items[].group counts */
    bool                 keep_order; /* groups in order of collection */
    bool                 history;    /* weights mean something */
    uint32_t             workers;
    uint32_t            *item_weight; /* of item 0; further ones every `stride` bytes */
    uint32_t            *item_group;  /* of item 0, filled in: dense number of its group from 1, 0 = free */
    size_t               stride;
} xd_sched_order;

/* Makes the segments (caller frees *ret_segs), the number of groups and the size of the largest.  -ENOMEM. */
int xd_sched_order_make(const xd_sched_order *in, xd_sched_seg **ret_segs, size_t *ret_len,
                        uint32_t *ret_groups, uint32_t *ret_max_group) XD_MUST;
