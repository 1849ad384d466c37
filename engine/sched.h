/* engine/sched.h - scheduler core of the controller: which agent may run which items, when to take back, when
 * all is over. Pure: events in by functions, commands out by xd_sched_next(); no clock, no I/O, no threads.
 * One thread at a time.
 *
 *   in   collection, agent up/lost, results, RETURNED, cancel
 *   out  LEASE, TAKE_BACK, NO_MORE, CANCEL (to an agent); OUTCOME, STARVED, ALL_DONE (to the caller)
 *
 * After every event drain xd_sched_next() until it gives 0.  Journal GRANT before LEASE is sent.
 * Functions return 0, -errno (-ENOMEM, -EINVAL: our bug), or 1 = ignored (stale, duplicate, unknown: counted,
 * see xd_sched_stats). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/grammar.h"
#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "engine/span.h"

typedef enum xd_sched_mode {
    XD_SCHED_NO, /* scheduled like LOAD: one worker needs no order of its own */
    XD_SCHED_LOAD,
    XD_SCHED_WORKSTEAL, /* as LOAD: leases are always taken back where it helps */
    XD_SCHED_LOADSCOPE,
    XD_SCHED_LOADFILE,
    XD_SCHED_LOADGROUP,
} xd_sched_mode;

typedef struct xd_sched_options {
    xd_sched_mode mode;
    uint32_t      maxfail; /* cancel when this many failures are counted; 0 = never */
    uint32_t
        max_attempts; /* starts of an item whose agent was lost in it; 0 = 1: no second start, outcome lost */
    uint32_t agents_expected;  /* agents that will come; with 1 all items are leased at once; 0 = 1 */
    uint32_t workers_expected; /* workers of the run; 0 = those that are up at the first lease */
    bool     keep_scope_order; /* --no-loadscope-reorder: groups in order of collection */
    bool     in_order;         /* items in order of collection, also where a history knows better */
    bool     more_come; /* agents may come that are not expected: one alone does not get all items at once */
} xd_sched_options;

typedef struct xd_sched_item {
    uint64_t
        unit; /* hash of the unit of the node id (xd_grammar.unit): neighbours with the same value stay together */
    uint64_t group;       /* hash of xd_sched_group_key(); 0 = free */
    uint32_t expected_us; /* from history; 0 = unknown */
    uint16_t set;         /* who can run it (xd_sched_agent_sets); 0 = usually all */
} xd_sched_item;

/* The part of a node id that says what must stay on one worker under `mode` (as xdist's schedulers); empty
 * view = free. `group` is NODEID.group (may be empty: then what the id itself names counts).  View into id or group. */
xd_bytes xd_sched_group_key(const xd_grammar *grammar, xd_sched_mode mode, xd_bytes id, xd_bytes group);
/* Mode by its name in --dist ("load", "worksteal", ...; "each" is not one).  0, or -EINVAL. */
int xd_sched_mode_parse(xd_sched_mode *ret, const char *name) XD_MUST;

typedef enum xd_sched_kind {
    XD_SCHED_LEASE = 1, /* agent, spans; also takes an earlier NO_MORE back */
    XD_SCHED_TAKE_BACK, /* agent, request, count */
    XD_SCHED_NO_MORE,   /* agent, final */
    XD_SCHED_CANCEL,    /* agent, how: 1 let running items end, 2 grace, 3 kill */
    XD_SCHED_OUTCOME,   /* spans[0].first, attempt: this item is lost (its agent was lost in it) */
    XD_SCHED_STARVED,   /* items wait and no agent has a worker: caller starts one, or cancels */
    XD_SCHED_ORPHANED, /* count, spans[0].first: that many items are not run, as nobody is left who can; one of them */
    XD_SCHED_ALL_DONE, /* every item has its outcome or is not-run, and nothing is open; once */
} xd_sched_kind;

typedef struct xd_sched_command {
    xd_sched_kind  kind;
    uint16_t       agent;
    uint8_t        how;
    uint8_t        outcome;
    bool           final; /* nothing will come to this agent, except after a loss */
    uint32_t       request;
    uint32_t       count;
    const xd_span *spans; /* valid until the next call on this scheduler */
    size_t         n_spans;
} xd_sched_command;

typedef struct xd_sched_stats {
    uint32_t items, recorded, not_run; /* not_run: only once cancelled, and those that are orphaned */
    uint32_t leased, pending;          /* with agents; still here */
    uint32_t open;                     /* have their outcome, and fixtures that wait for their teardown */
    uint32_t failures;                 /* as given with results */
    uint64_t duplicates, stale, leases, take_backs, taken_back;
    uint64_t expected_us; /* of all items, 0 = unknown */
    bool     cancelled, all_done;
} xd_sched_stats;

typedef struct xd_sched xd_sched;

int       xd_sched_new(xd_sched **ret, const xd_sched_options *options) XD_MUST;
xd_sched *xd_sched_free(xd_sched *s);
XD_DEFINE_AUTO(xd_sched, xd_sched_free)

/* The agreed collection, once.  `items` is borrowed for the call. */
int xd_sched_collection(xd_sched *s, const xd_sched_item *items, uint32_t count) XD_MUST;
/* More items behind those that there are, and who can run each of all from now on: `sets` has an entry for each, old and
 * new; the sets of agents are to be told anew. Also when all is done; not once cancelled: then they are not run. Both are
 * borrowed for the call. -ENOMEM, after which it is of no use. */
int xd_sched_more(xd_sched *s, const xd_sched_item *items, uint32_t count, const uint16_t *sets) XD_MUST;
/* An agent (small number, below 4096) can take leases with so many workers; again with another number when
 * that changes. 0 workers (also while its connection is down): nothing is leased to it or asked of it, what
 * it has stays there. A worker whose replacement is being started counts as a worker; report 0 when the last
 * one is given up. */
int xd_sched_agent_up(xd_sched *s, uint16_t agent, uint32_t workers) XD_MUST;
/* Which items this agent can run: those with set k if k < count and can[k]. Said before xd_sched_agent_up(); one of which
 * it is not said can run those of set 0. `can` is copied. -ENOMEM. */
int xd_sched_agent_sets(xd_sched *s, uint16_t agent, const bool *can, uint32_t count) XD_MUST;
/* An outcome (wire numbers) arrived; `failures`: how many failures it counts for maxfail (0 = none). */
int xd_sched_result(xd_sched *s, uint16_t agent, uint32_t item, uint16_t attempt, uint8_t outcome,
                    uint32_t failures) XD_MUST;
/* The result that just came leaves fixtures of its item to be torn down: all is not done before
 * xd_sched_closed(), or the loss of the agent. */
int xd_sched_opened(xd_sched *s, uint16_t agent, uint32_t item) XD_MUST;
/* They are torn down; `outcome` is that of the item from now on, `failures` what came of it for maxfail.  1 =
 * ignored: it is not open there under this attempt. */
int xd_sched_closed(xd_sched *s, uint16_t agent, uint32_t item, uint16_t attempt, uint8_t outcome,
                    uint32_t failures) XD_MUST;
/* RETURNED: unstarted items come back.  request 0: the agent has no worker, gets no more until
 * xd_sched_agent_up(). */
int xd_sched_returned(xd_sched *s, uint16_t agent, uint32_t request, const xd_span *spans,
                      size_t count) XD_MUST;
/* The agent is gone for good.  `started`: items known to have begun there (borrowed; may be NULL).
 * `told`: no other had. Else each item that it had may be what ended it; such an item counts as begun once, and runs
 * again only at an agent that has nothing else at that time, so that no innocent item shares its second start. */
int xd_sched_agent_lost(xd_sched *s, uint16_t agent, const uint32_t *started, size_t count,
                        bool told) XD_MUST;
/* Items that it has; *ret_one: one of them. */
uint32_t xd_sched_agent_has(const xd_sched *s, uint16_t agent, uint32_t *ret_one);
/* Start no more items anywhere; how as CANCEL.  A stronger `how` may follow. */
int xd_sched_cancel(xd_sched *s, uint8_t how) XD_MUST;

/* 1 and *ret filled, or 0: nothing (more) to do; -ENOMEM. */
int xd_sched_next(xd_sched *s, xd_sched_command *ret) XD_MUST;

/* Outcome of an item: 0 none yet, XD_OUT_NOT_RUN after the end without one. */
uint8_t               xd_sched_outcome(const xd_sched *s, uint32_t item);
const xd_sched_stats *xd_sched_stats_get(const xd_sched *s);
