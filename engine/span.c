/* engine/span.c - see span.h. */
#include "engine/span.h"

#include <stdlib.h>

int xd_spans_read(xd_wire_list ranges, xd_span **ret, size_t *ret_count)
{
    xd_wire_RANGE r;
    size_t        n = 0;
    xd_span      *spans = calloc(ranges.count ? ranges.count : 1, sizeof(*spans));
    if (!spans)
        return -ENOMEM;
    while (xd_wire_RANGE_next(&ranges, &r) == 1)
        spans[n++] = (xd_span){ .first = r.first,
                                .count = r.count,
                                .attempt = r.attempt,
                                .flags = r.flags,
                                .group = r.group,
                                .expected_us = r.expected_us };
    *ret = spans;
    *ret_count = n;
    return 0;
}

int xd_spans_write(xd_buf *out, const xd_span *spans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        xd_wire_RANGE r = { .first = spans[i].first,
                            .count = spans[i].count,
                            .attempt = spans[i].attempt,
                            .flags = spans[i].flags,
                            .group = spans[i].group,
                            .expected_us = spans[i].expected_us };
        XD_TRY(xd_wire_RANGE_append(out, &r));
    }
    return 0;
}
