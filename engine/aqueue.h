/* engine/aqueue.h - the agent's queue core: which worker runs which items, in what order; stealing, crashes,
 * restarts. Pure: events in by functions (time as now_ns, CLOCK_MONOTONIC), commands out by xd_aqueue_next();
 * no I/O.  One thread. Workers are named by their slot in the progress page (0..slots-1); the caller maps
 * slots to gw numbers.
 *
 * The page and RUN.  A worker may have claimed more than the agent has heard of, so items are taken back in
 * steps:
 *   1. LIMIT{slot, limit}: caller stores page.limit = limit, xd_page_barrier(), reads page.claimed, and calls
 *      xd_aqueue_limit_answer(slot, claimed) - at once or later, but before it does the next command of this
 * slot.
 *   2. RUN{slot, first, reopen = true, runs}: before the frame is sent the caller stores page.runs = runs,
 *      xd_page_barrier(), page.limit = UINT32_MAX.  The worker, at a claim, reads limit, then runs: while it
 * has read fewer than `runs` RUN frames it must not claim but read its pipe first (what it was told may be
 * void). A refused worker waits for a frame; every LIMIT is followed by a RUN with reopen, so that it always
 * wakes. RUN with reopen = false touches only the pipe.  RUNs of a process are counted from 1, none may be
 * left out.
 *
 * After every event drain xd_aqueue_next() until it gives 0.  Results and claims of a dead worker: read its
 * pipe to the end first (xd_aqueue_result), then xd_aqueue_worker_down() with what the page says. Functions
 * return 0, -errno (-ENOMEM, -EINVAL), or 1 = ignored (stale or unknown; counted). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "engine/span.h"

#define XD_AQUEUE_NO_LIMIT UINT32_MAX
#define XD_AQUEUE_ALL UINT32_MAX

typedef struct xd_aqueue_options {
    uint32_t slots;            /* most workers at a time */
    uint32_t max_restarts;     /* replacements in all; UINT32_MAX = no bound */
    uint32_t workers_expected; /* workers being started: shares are made for so many; 0 = those that are up */
    uint64_t window_ns;        /* work told ahead per worker; 0 = 20 ms */
} xd_aqueue_options;

typedef enum xd_aqueue_kind {
    XD_AQUEUE_RUN =
        1, /* slot, first, last, final, reopen, runs, spans (may be none: voids what was told from `first` on) */
    XD_AQUEUE_LIMIT,    /* slot, limit; see above */
    XD_AQUEUE_RETURNED, /* request, spans: tell the controller */
    XD_AQUEUE_BLAME,    /* slot, item, attempt: the item crashed; caller emits RESULT crashed */
    XD_AQUEUE_RESTART, /* slot: start a replacement there (then xd_aqueue_worker_up); also later than GIVE_UP, if items come */
    XD_AQUEUE_GIVE_UP, /* slot: no replacement; `budget` true: because the budget is used up */
    XD_AQUEUE_DRAINED, /* cancelled, and nothing runs or is queued any more; once */
} xd_aqueue_kind;

typedef struct xd_aqueue_command {
    xd_aqueue_kind kind;
    uint32_t       slot;
    uint32_t       first; /* position */
    bool           last;  /* none comes after these as far as is known */
    bool           final; /* none will come, except after a crash or a lost host */
    bool           reopen;
    bool           budget;
    uint32_t       runs;
    uint32_t       limit;
    uint32_t       request;
    uint32_t       item;
    uint16_t       attempt;
    const xd_span *spans; /* valid until the next call on this queue */
    size_t         n_spans;
} xd_aqueue_command;

typedef enum xd_aqueue_end {
    XD_AQUEUE_CRASHED = 0, /* blame the running item; a replacement if the budget allows */
    XD_AQUEUE_ENDED,       /* it ended its session by itself or was told to: no blame, no replacement */
    XD_AQUEUE_NOT_STARTED, /* it never came up: no blame; counts as a crash for the budget */
    XD_AQUEUE_UNBORN,      /* nor did its process, which another was to fork and did not: costs no budget */
} xd_aqueue_end;

typedef struct xd_aqueue_stats {
    uint32_t queued;   /* items not told to a worker */
    uint32_t told;     /* items told, without result */
    uint32_t workers;  /* up */
    uint32_t starting; /* replacements under way */
    uint32_t restarts; /* used of the budget */
    uint64_t results, stale, steals, stolen, runs, blamed;
    uint64_t ewma_ns; /* time of an item, 0 = nothing measured */
    bool     no_more, final, cancelled, drained;
} xd_aqueue_stats;

typedef struct xd_aqueue xd_aqueue;

int        xd_aqueue_new(xd_aqueue **ret, const xd_aqueue_options *options) XD_MUST;
xd_aqueue *xd_aqueue_free(xd_aqueue *q);
XD_DEFINE_AUTO(xd_aqueue, xd_aqueue_free)

/* A worker is ready in this slot: fresh process, its positions begin at 0, page: claimed 0, limit UINT32_MAX,
 * runs 0. */
int xd_aqueue_worker_up(xd_aqueue *q, uint32_t slot, uint64_t now_ns) XD_MUST;
/* What the progress page says of a process that is gone. */
typedef struct xd_aqueue_last {
    uint32_t claimed;     /* page.claimed */
    uint32_t item_plus_1; /* page.item_plus_1: the running item, 0 = none */
    uint32_t finished;    /* page.done */
} xd_aqueue_last;
/* The process of this slot is gone. Crashed: the running item is blamed, and those that were finished and whose
 * results never came (a test took the pipe away from the worker): they are not run again. */
int xd_aqueue_worker_down(xd_aqueue *q, uint32_t slot, xd_aqueue_end end, const xd_aqueue_last *last,
                          uint64_t now_ns) XD_MUST;
/* LEASE; spans borrowed for the call.  Takes an earlier NO_MORE back. */
int xd_aqueue_lease(xd_aqueue *q, const xd_span *spans, size_t count, uint64_t now_ns) XD_MUST;
/* NO_MORE.  final: nothing that other agents have will come here either, except after a loss. */
int xd_aqueue_no_more(xd_aqueue *q, bool final, uint64_t now_ns) XD_MUST;
/* TAKE_BACK; count XD_AQUEUE_ALL = everything unstarted.  Answered by RETURNED with this request, also when
 * empty. */
int xd_aqueue_take_back(xd_aqueue *q, uint32_t request, uint32_t count, uint64_t now_ns) XD_MUST;
/* RESULT of a worker: item at `position` ended.  duration_ns: setup + call + teardown. */
int xd_aqueue_result(xd_aqueue *q, uint32_t slot, uint32_t position, uint32_t item, uint64_t duration_ns,
                     uint64_t now_ns) XD_MUST;
/* Answer to LIMIT. */
int xd_aqueue_limit_answer(xd_aqueue *q, uint32_t slot, uint32_t claimed, uint64_t now_ns) XD_MUST;
/* CANCEL: the queue and what is told but not claimed goes back with RETURNED(0); caller sets page.stop as
 * well. */
int xd_aqueue_cancel(xd_aqueue *q, uint64_t now_ns) XD_MUST;
/* Now and then (10..100 ms): retries steals that found nothing before. */
int xd_aqueue_tick(xd_aqueue *q, uint64_t now_ns) XD_MUST;

/* 1 and *ret filled, or 0: nothing (more) to do; -ENOMEM. */
int xd_aqueue_next(xd_aqueue *q, xd_aqueue_command *ret) XD_MUST;

const xd_aqueue_stats *xd_aqueue_stats_get(const xd_aqueue *q);
