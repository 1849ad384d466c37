/* clock.c - see sim.h: virtual time, random numbers, hash. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

uint32_t sim_rand(sim_world *w, uint32_t below)
{
    w->rng ^= w->rng >> 12;
    w->rng ^= w->rng << 25;
    w->rng ^= w->rng >> 27;
    return below ? (uint32_t)((w->rng * 0x2545f4914f6cdd1dull) >> 33) % below : 0;
}

uint64_t sim_between(sim_world *w, uint64_t lo, uint64_t hi)
{
    return lo + ((uint64_t)sim_rand(w, 1u << 30) << 20 | sim_rand(w, 1u << 20)) % (hi - lo + 1);
}

bool sim_chance(sim_world *w, uint32_t percent)
{
    return sim_rand(w, 100) < percent;
}

static bool before(const sim_event *a, const sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_at(sim_world *w, uint64_t when, sim_event ev)
{
    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap ? w->heap_cap * 2 : 1024;
        w->heap = realloc(w->heap, w->heap_cap * sizeof *w->heap);
        if (!w->heap)
            abort();
    }
    ev.at = when < w->now ? w->now : when;
    ev.seq = w->seq++;
    size_t i = w->heap_len++;
    for (; i && before(&ev, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = ev;
}

bool sim_pop(sim_world *w, sim_event *ret)
{
    if (!w->heap_len)
        return false;
    *ret = w->heap[0];
    sim_event last = w->heap[--w->heap_len];
    size_t    i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= w->heap_len)
            break;
        if (c + 1 < w->heap_len && before(&w->heap[c + 1], &w->heap[c]))
            c++;
        if (!before(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = last;
    w->now = ret->at;
    w->events++;
    return true;
}

void sim_hash(sim_world *w, uint64_t v)
{
    w->hash = (w->hash ^ v) * 0x100000001b3ull;
    w->hash ^= w->hash >> 29;
}

void sim_fault(sim_world *w, const char *fmt, ...)
{
    if (w->fault[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->fault, sizeof w->fault, fmt, ap);
    va_end(ap);
}
