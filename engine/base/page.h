/* engine/base/page.h - the progress page: shared memory between agent and workers (layout: ARCHITECTURE.md
 * "The progress page"). */
#pragma once
#include <stdint.h>

#include "engine/base/error.h"

#define XD_PAGE_MAGIC 0x58445047u
#define XD_PAGE_VERSION 1u

typedef struct xd_page_header {
    uint32_t magic, version, slots, maxfail, stop, failures_elsewhere;
    uint32_t files, items; /* collector: files begun, items found so far */
    uint32_t pad[8];
} xd_page_header;
_Static_assert(sizeof(xd_page_header) == 64, "layout is shared with Python");

typedef struct xd_page_slot {
    uint32_t claimed;     /* worker: number of positions claimed so far */
    uint32_t limit;       /* agent: positions >= limit must not be claimed */
    uint32_t failures;    /* worker */
    uint32_t item_plus_1; /* worker: running item + 1, 0 = idle */
    uint64_t since_ns;    /* worker: CLOCK_MONOTONIC of its start */
    uint32_t done;        /* worker: items ended */
    uint32_t incarnation; /* agent: counts processes that used this slot */
    uint32_t pid;         /* worker */
    uint32_t
        runs; /* agent: RUN frames the worker must have read before it claims anything (after a taking back) */
    uint32_t worker_plus_1; /* agent: number of the worker in the run + 1, for the guard; 0 = none yet */
    uint32_t pad[4];
    uint32_t
        ending; /* worker: what it is at when its session ends: 1 pytest_sessionfinish 2 pytest_unconfigure 3 threads 4
                        exit handlers */
} xd_page_slot;
_Static_assert(sizeof(xd_page_slot) == 64, "layout is shared with Python");

typedef struct xd_page {
    int             fd; /* memfd, close-on-exec */
    uint32_t        slots;
    xd_page_header *head;
    xd_page_slot   *slot; /* slots entries */
} xd_page;

int xd_page_create(xd_page *ret, uint32_t slots) XD_MUST;
/* The same in an empty memfd that another process shares; takes *fd. */
int  xd_page_create_in(xd_page *ret, int *fd, uint32_t slots) XD_MUST;
void xd_page_release(xd_page *p);
/* Atomic access to one number of the page: reads acquire, writes release. */
static inline uint32_t xd_page_get(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void xd_page_set(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}
/* Adds the slot's failures to failures_elsewhere and clears them. On the agent's thread. */
void xd_page_move_failures(xd_page *p, uint32_t slot);
/* When it returns, all processors see what this thread stored before, and this thread sees what they had stored, including
 * Python's plain stores. Sleeps 0.1 ms (RATIONALE.md "An asymmetric fence"). */
void xd_page_barrier(void);
