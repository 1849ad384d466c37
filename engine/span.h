/* engine/span.h - consecutive items of one lease: the in-memory form of RANGE (wire.def). */
#pragma once
#include <stdint.h>

#define XD_SPAN_TOGETHER \
    1u /* flags: must stay on one worker together with the other spans of the same group */

typedef struct xd_span {
    uint32_t first;       /* index of the first item */
    uint32_t count;       /* items */
    uint16_t attempt;     /* number of this lease of these items, from 1 */
    uint16_t flags;       /* XD_SPAN_* */
    uint32_t group;       /* 0 = free */
    uint64_t expected_us; /* of the whole span; 0 = unknown */
} xd_span;
