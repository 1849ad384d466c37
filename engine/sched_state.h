/* engine/sched_state.h - private to sched.c (events) and sched_plan.c (what is to be done next). */
#pragma once
#include "engine/sched.h"
#include "engine/sched_order.h"

enum { ITEM_PENDING, ITEM_LEASED, ITEM_OVER };

#define NO_AGENT 0xffffu

typedef struct xd_sched_entry {
    uint32_t weight; /* expected_us, or a guess; never 0 */
    uint32_t group;
    uint16_t agent;
    uint16_t attempt;
    uint8_t  outcome;
    uint8_t  state;
    uint8_t  starts;  /* times it was lost while running */
    uint8_t  known;   /* weight comes from history */
    uint8_t  open;    /* over, and its fixtures wait for their teardown at `agent` */
    uint8_t  doubted; /* may have begun where nobody could tell: runs alone from now on */
} xd_sched_entry;

typedef struct xd_sched_agent {
    bool     seen, lost, closed, no_more, final;
    bool     gave;  /* gave items back that still wait: others come first */
    bool     alone; /* has a doubted item, and gets nothing else meanwhile */
    uint8_t  cancel_sent;
    uint32_t workers;
    uint32_t outstanding; /* items leased, without outcome */
    uint32_t units;       /* the same, but a group counts at most 2: what can keep workers busy */
    uint32_t chunks;      /* the same, but a group counts 1: what can be taken apart */
    uint32_t last_batch;
    uint32_t request;   /* TAKE_BACK under way, 0 = none */
    uint32_t ask_below; /* after an empty answer: not again until units are fewer */
} xd_sched_agent;

struct xd_sched {
    xd_sched_options opt;
    xd_sched_stats   st;
    xd_sched_entry  *items;
    uint32_t         n;
    bool             have_items, history;
    xd_sched_item   *raw;        /* until the order is made, at the first lease */
    uint32_t        *group_left; /* per group: leased items without outcome */
    uint32_t         n_groups, max_group;

    xd_sched_seg *ring; /* pending */
    size_t        ring_cap, ring_at, ring_len;
    uint64_t      pending_weight;

    uint32_t *doubted; /* pending, too: behind all others, each alone at an agent */
    size_t    doubt_at, doubt_end, cap_doubted;

    xd_sched_agent *agents;
    uint32_t        n_agents, agents_seen;
    uint32_t        next_request;
    uint8_t         cancel_how;
    bool            starved_told, done_told, ordered;

    bool sharing; /* what waits was taken back; groups come in larger numbers than wanted, so with measure: */
    uint64_t level; /* units per worker that all have at the end, see sched_plan.c */

    uint32_t *lost; /* items to report lost */
    size_t    n_lost, cap_lost, at_lost;
    xd_span  *out;
    size_t    n_out, cap_out;
};

/* Can get leases and answer questions. */
static inline bool xd_sched_usable(const xd_sched_agent *g)
{
    return g->seen && !g->lost && !g->closed && g->workers;
}
/* Groups came back: they are shared out with measure. */
void xd_sched_share_out(xd_sched *s);
