/* spanq.c - see spanq.h. */
#include "engine/spanq.h"

#include <limits.h>
#include <stdlib.h>

#include "engine/base/mem.h"

void xd_spanq_release(xd_spanq *q)
{
    free(q->at);
    *q = (xd_spanq){ 0 };
}

static void count(xd_spanq *q, const xd_span *s, bool in)
{
    uint32_t unknown = s->expected_us ? 0 : s->count;
    if (in) {
        q->items += s->count;
        q->unknown += unknown;
        q->known_us += s->expected_us;
    } else {
        q->items -= s->count;
        q->unknown -= unknown;
        q->known_us -= s->expected_us;
    }
}

static int room(xd_spanq *q)
{
    if (q->len < q->cap)
        return 0;
    size_t   cap = q->cap ? q->cap * 2 : 16;
    xd_span *p = malloc(cap * sizeof *p);
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < q->len; i++)
        p[i] = q->at[(q->head + i) % q->cap];
    free(q->at);
    q->at = p;
    q->cap = cap;
    q->head = 0;
    return 0;
}

/* b continues a: one span does for both. */
static bool joins(const xd_span *a, const xd_span *b)
{
    return a->first + a->count == b->first && a->attempt == b->attempt && a->flags == b->flags &&
           a->group == b->group && !a->expected_us == !b->expected_us;
}

int xd_spanq_push_back(xd_spanq *q, const xd_span *s)
{
    if (s->count == 0)
        return 0;
    XD_TRY(room(q));
    q->at[(q->head + q->len++) % q->cap] = *s;
    count(q, s, true);
    return 0;
}

int xd_spanq_push_front(xd_spanq *q, const xd_span *s)
{
    if (s->count == 0)
        return 0;
    count(q, s, true);
    if (q->len && joins(s, xd_spanq_front(q))) {
        xd_span *f = xd_spanq_front(q);
        f->first = s->first;
        f->count += s->count;
        f->expected_us += s->expected_us;
        return 0;
    }
    if (room(q) < 0) {
        count(q, s, false);
        return -ENOMEM;
    }
    q->head = (q->head + q->cap - 1) % q->cap;
    q->at[q->head] = *s;
    q->len++;
    return 0;
}

/* A part of k of n items has its share of the expectation, never 0 of something known. */
static uint64_t part(const xd_span *s, uint32_t k)
{
    uint64_t e = s->expected_us * k / s->count;
    return s->expected_us ? XD_MIN(XD_MAX(e, 1u), s->expected_us) : 0;
}

xd_span xd_spanq_take_front(xd_spanq *q, uint32_t n)
{
    xd_span *f = xd_spanq_front(q), r = *f;
    if (n >= f->count || (f->flags & XD_RANGE_TOGETHER)) {
        q->head = (q->head + 1) % q->cap;
        q->len--;
    } else {
        r.count = n;
        r.expected_us = part(f, n);
        f->first += n;
        f->count -= n;
        f->expected_us -= r.expected_us;
        if (r.expected_us && !f->expected_us) { /* rounded away: keep it known */
            f->expected_us = 1;
            q->known_us++;
        }
    }
    count(q, &r, false);
    return r;
}

xd_span xd_spanq_take_back(xd_spanq *q, uint32_t n)
{
    xd_span *b = &q->at[(q->head + q->len - 1) % q->cap], r = *b;
    if (n >= b->count || (b->flags & XD_RANGE_TOGETHER)) {
        q->len--;
    } else {
        r.first = b->first + (b->count - n);
        r.count = n;
        r.expected_us = part(b, n);
        b->count -= n;
        b->expected_us -= r.expected_us;
        if (r.expected_us && !b->expected_us) {
            b->expected_us = 1;
            q->known_us++;
        }
    }
    count(q, &r, false);
    return r;
}

int xd_spanq_move_tail(xd_spanq *q, xd_spanq *to, uint32_t n, bool strict)
{
    const xd_span *last = &q->at[(q->head + q->len - 1) % q->cap];
    if (!(last->flags & XD_RANGE_TOGETHER)) {
        xd_span s = xd_spanq_take_back(q, n);
        XD_TRY(xd_spanq_push_front(to, &s));
        return (int)s.count;
    }
    uint32_t size = 0, group = last->group;
    size_t   spans = 0;
    while (spans < q->len) {
        const xd_span *s = &q->at[(q->head + q->len - 1 - spans) % q->cap];
        if (s->group != group || !(s->flags & XD_RANGE_TOGETHER))
            break;
        size += s->count;
        spans++;
    }
    if (strict && size > n)
        return 0;
    for (; spans > 0; spans--) {
        xd_span s = xd_spanq_take_back(q, UINT32_MAX);
        XD_TRY(xd_spanq_push_front(to, &s));
    }
    return (int)size;
}
