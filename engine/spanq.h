/* engine/spanq.h - private to aqueue.c: a double-ended queue of spans that knows how much work it holds.
 * Spans of one group lie side by side and move together. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/span.h"

typedef struct xd_spanq {
    xd_span *at;
    size_t   cap, head, len;
    uint32_t items;
    uint32_t unknown;  /* items without expectation */
    uint64_t known_us; /* expectation of the others */
} xd_spanq;

void xd_spanq_release(xd_spanq *q);
int  xd_spanq_push_back(xd_spanq *q, const xd_span *span) XD_MUST;
int  xd_spanq_push_front(xd_spanq *q, const xd_span *span) XD_MUST;
/* Takes at most `count` items of the first (last) span; queue must not be empty.  A span that must stay
 * together moves whole. */
xd_span xd_spanq_take_front(xd_spanq *q, uint32_t count);
xd_span xd_spanq_take_back(xd_spanq *q, uint32_t count);
/* Moves the last unit (a whole group, or at most `count` items of a span) before all of `to`; a group larger
 * than `count` stays if `strict`.  Returns the items moved; -ENOMEM. */
int xd_spanq_move_tail(xd_spanq *q, xd_spanq *to, uint32_t count, bool strict) XD_MUST;

static inline xd_span *xd_spanq_front(const xd_spanq *q)
{
    return &q->at[q->head];
}
/* Estimate in microseconds where an item without expectation takes unit_us. */
static inline uint64_t xd_spanq_weight(const xd_spanq *q, uint64_t unit_us)
{
    return q->known_us + q->unknown * unit_us;
}
