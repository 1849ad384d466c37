/* actors/collector.h - the actor that agrees on the collections of a run: the core engine/collect.h with an address.
 *   in   COLLECTED, COLLECT_IDS of the agents, through the broker; GATEWAY_DOWN from the scheduler
 *   out  SEND_LIST to gateways
 *        to the scheduler: COLLECTED and GATEWAY_DOWN as they came and in the order in which they came; COLLECT_IDS of lists that
 *        are a collection; REORDER, which the scheduler passes on to the gateway as long as there is something to run; AGREED,
 *        WHOLE, DIFFERENT, MORE; DROP: its agent contradicts what it said before
 * COLLECTED and GATEWAY_DOWN take the same way, so that the scheduler never hears of the end of an agent before it hears
 * what this agent has collected. What is passed on is not copied. The parts of lists are kept until all gateways have
 * collected and all lists that differ are compared.
 * Own thread. Ends when it is asked to. What it decides is lost with it: its first fault is final, and ends the run. */
#pragma once
#include "engine/actor.h"

#define XD_COLLECTOR_ADDRESS "collect"

typedef struct xd_collector_args {
    const char *const *specs;  /* text of each gateway's spec, for people; borrowed, outlives the actor */
    uint16_t           count;  /* gateways, numbered from 0 */
    bool               each;   /* every environment has a collection of its own */
    uint16_t           guests; /* the first of those gateways whose hosts join */
    bool               ahead;  /* the scheduler has asked gateway 0 for its list: xd_plan_asks_ahead() */
} xd_collector_args;

extern const xd_actor_spec xd_collector_spec;
