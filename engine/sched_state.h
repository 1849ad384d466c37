/* engine/sched_state.h - private to sched.c (events), sched_more.c (more items) and sched_plan.c (what is to be done next). */
#pragma once
#include "engine/sched.h"
#include "engine/sched_order.h"

enum { ITEM_PENDING, ITEM_LEASED, ITEM_OVER };

#define NO_AGENT 0xffffu

typedef struct xd_sched_entry {
    uint32_t weight; /* expected_us, or a guess; never 0 */
    uint32_t group;
    uint16_t set;
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
    bool     gave;   /* gave items back that still wait: others come first */
    bool     alone;  /* has a doubted item, and gets nothing else meanwhile */
    bool     futile; /* gave only what is of no use to whom it was asked for, and will have it again */
    uint16_t asked_for;
    uint8_t  cancel_sent;
    uint32_t workers;
    uint32_t outstanding; /* items leased, without outcome */
    uint32_t units;       /* the same, but a group counts at most 2: what can keep workers busy */
    uint32_t chunks;      /* the same, but a group counts 1: what can be taken apart */
    uint32_t own;         /* of these, those of a set other than 0: few others can run them */
    uint32_t last_batch;
    uint32_t request;   /* TAKE_BACK under way, 0 = none */
    uint32_t ask_below; /* after an empty answer: not again until units are fewer */
    bool    *can;       /* of each set; NULL = set 0 alone */
    uint32_t n_can;
} xd_sched_agent;

/* Segments of one set that wait, in order of preference. */
typedef struct xd_sched_ring {
    xd_sched_seg *at;
    size_t        cap, head, len;
    uint64_t      weight; /* of all that waits of this set, also of the doubted */
} xd_sched_ring;

struct xd_sched {
    xd_sched_options opt;
    xd_sched_stats   st;
    xd_sched_entry  *items;
    uint32_t         n;
    uint32_t         mean_us; /* weight of an item that nothing is known of */
    bool             have_items, history;
    xd_sched_item   *raw;        /* until the order is made, at the first lease */
    uint32_t        *group_left; /* per group: leased items without outcome */
    uint32_t         n_groups, max_group;
    uint32_t was_group, split_from; /* the group that is being split, and the first number of its parts */

    xd_sched_ring *rings; /* pending, of each set */
    uint32_t       n_rings;

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
static inline bool xd_sched_can(const xd_sched_agent *g, uint32_t set)
{
    return g->can ? set < g->n_can && g->can[set] : set == 0;
}
/* Puts a segment of one set behind all others of that. -ENOMEM. */
int xd_sched_ring_add(xd_sched *s, uint32_t set, const xd_sched_seg *seg) XD_MUST;
/* The segments of these items, which stand behind `first` others, in their rings; raw is changed. -ENOMEM. */
int xd_sched_order_items(xd_sched *s, xd_sched_item *raw, uint32_t first, uint32_t count) XD_MUST;
/* Items that wait, from number `first` on. */
void xd_sched_take_items(xd_sched *s, uint32_t first, const xd_sched_item *items, uint32_t count);
/* Empty ones, of all sets that items have. -ENOMEM. */
int xd_sched_make_rings(xd_sched *s) XD_MUST;
/* Groups came back: they are shared out with measure. */
void xd_sched_share_out(xd_sched *s);
