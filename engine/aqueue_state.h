/* engine/aqueue_state.h - private to aqueue.c (events) and aqueue_plan.c (what is to be done next). */
#pragma once
#include "engine/aqueue.h"
#include "engine/spanq.h"

#define XD_AQUEUE_NOBODY UINT32_MAX

typedef struct xd_told { /* one position of a worker's stream, without result */
    uint32_t item, group, expected_us;
    uint16_t attempt, flags;
} xd_told;

typedef enum xd_slot_state { XD_SLOT_DOWN, XD_SLOT_STARTING, XD_SLOT_UP } xd_slot_state;
typedef enum xd_slot_fate { XD_FATE_NONE, XD_FATE_RESTART, XD_FATE_NO_WORK, XD_FATE_NO_BUDGET } xd_slot_fate;

typedef struct xd_slot {
    xd_slot_state state;
    xd_slot_fate  fate;            /* command to be given */
    uint32_t      done, sent, end; /* positions: without result from, told in a RUN up to, assigned up to */
    uint32_t      claimed;         /* known of the page at the last LIMIT */
    xd_told      *told;            /* ring of positions done..end, index = position & (cap - 1) */
    uint32_t      cap;
    uint32_t      unknown;  /* of those: without expectation */
    uint64_t      known_us; /* of the others */
    uint32_t      runs;     /* RUN frames of this process */
    uint32_t      limit;    /* of the LIMIT to give or under way */
    uint32_t      thief;    /* slot for which LIMIT was given, or nobody: for a TAKE_BACK */
    uint32_t      asked;    /* serial of the TAKE_BACK it answered last */
    bool          limit_due, limit_wait, limit_all;
    bool          reopen, last_told, final_told, stealing;
    bool          met;   /* something was heard of a worker here */
    bool          spare; /* its worker was lost when nothing waited: it gets another one if something comes */
    bool          costs; /* that one is of the budget */
    uint64_t      last_ns; /* of the last result, or when it came up */
    xd_spanq      home;    /* reserved for it, not told: moves without asking the worker */
} xd_slot;

typedef struct xd_take_back { /* a TAKE_BACK */
    uint32_t request, left;
} xd_take_back;

typedef struct xd_blame {
    uint32_t slot, item;
    uint16_t attempt;
} xd_blame;

struct xd_aqueue {
    xd_aqueue_options opt;
    xd_aqueue_stats   st;
    xd_slot          *slot;
    xd_spanq          queue;
    xd_spanq          given; /* collected for the first of `takes` */
    xd_take_back     *takes;
    size_t            n_takes, cap_takes;
    uint32_t          serial; /* of the TAKE_BACK being answered */
    bool              taking; /* one is being answered */
    uint32_t awaited; /* workers that were to start at the beginning, and of which nothing was heard yet */
    uint64_t predicted_us,
        took_us; /* of recent items that had an expectation: what was expected, what they took */
    bool      ever_up;
    uint64_t  now_ns;
    xd_blame *blames;
    size_t    n_blames, at_blames, cap_blames;
    xd_span  *out;
    size_t    n_out, cap_out;
};

/* Workers that there are, or will be. */
static inline uint32_t xd_aqueue_crew(const xd_aqueue *q)
{
    return q->st.workers + q->st.starting + q->awaited;
}

static inline xd_told *xd_slot_at(const xd_slot *w, uint32_t position)
{
    return &w->told[position & (w->cap - 1)];
}
static inline bool xd_told_joined(const xd_told *a, const xd_told *b)
{
    return (a->flags & b->flags & XD_RANGE_TOGETHER) && a->group == b->group;
}
/* Takes positions from..end off the worker, to the front of `to`, in order. */
int xd_slot_untell(xd_slot *w, uint32_t from, xd_spanq *to) XD_MUST;

/* Something that it was told may move to another worker, or it is being asked whether it may. */
bool xd_slot_movable(const xd_slot *w);

/* Starts workers again where one was lost when nothing waited, for so many items, as far as the budget goes. */
void xd_aqueue_refill(xd_aqueue *q, uint32_t items);
int  xd_aqueue_want_back(xd_aqueue *q, uint32_t request, uint32_t count) XD_MUST;
