/* engine/span.h - consecutive items of one lease: the in-memory form of RANGE (wire.def), and the way between the two. */
#pragma once
#include "engine/wire.h"

typedef struct xd_span {
    uint32_t first;       /* index of the first item */
    uint32_t count;       /* items */
    uint16_t attempt;     /* number of this lease of these items, from 1 */
    uint16_t flags;       /* XD_RANGE_* */
    uint32_t group;       /* 0 = free */
    uint64_t expected_us; /* of the whole span; 0 = unknown */
} xd_span;

/* A list of RANGE as spans, which the caller frees (never NULL). -ENOMEM. */
int xd_spans_read(xd_wire_list ranges, xd_span **ret, size_t *ret_count) XD_MUST;
/* Appends each span as a RANGE; -ENOMEM. */
int xd_spans_write(xd_buf *out, const xd_span *spans, size_t count) XD_MUST;
