/* engine/super.h - supervision: starts actors in order, starts those that ended anew within a budget, stops all in reverse order with a deadline.
 * No thread of its own: whoever owns it waits for xd_super_fd and calls xd_super_step.  One thread, except xd_super_post and xd_super_stop_one. */
#pragma once
#include "engine/actor.h"

typedef struct xd_super xd_super;

typedef struct xd_super_options {
    xd_broker    *broker;    /* borrowed */
    uint32_t      intensity; /* so many restarts of one actor ... */
    uint32_t      period_ms; /* ... within this time; one more and it is given up.  0 and 0 = 4 in 60 s */
    const xd_log *log;       /* NULL = none; borrowed */
    /* Called from start, step and stop for each end; restarted = a new one took its place; else it is final, and e->reason < 0 with `given_up`
     * means that the budget is used up or that it could not be started again.  May post, must not start or stop. */
    void (*ended)(void *arg, const xd_exit *e, bool restarted, bool given_up);
    void *arg;
} xd_super_options;

int       xd_super_new(xd_super **ret, const xd_super_options *options) XD_MUST;
/* Stops all within ten seconds first.  NULL ok. */
xd_super *xd_super_free(xd_super *s);
XD_DEFINE_AUTO(xd_super, xd_super_free)

/* spec and args are borrowed until the actor has ended for good.  address NULL = spec->name.  Errors as xd_actor_new: nothing was started. */
int xd_super_start(xd_super *s, const xd_actor_spec *spec, const char *address, const void *args, xd_error *err) XD_MUST;
/* Readable when step has something to do; owned by the supervisor. */
int xd_super_fd(const xd_super *s);
/* Deals with the ends that were reported; does not wait.  Number of actors that run. */
uint32_t xd_super_step(xd_super *s);
/* Steps until the actor at `address` (NULL = every one) has ended for good: 0; -ETIMEDOUT. */
int xd_super_wait(xd_super *s, const char *address, uint64_t deadline_ns) XD_MUST;
/* Tells one actor to end; its end is final.  -ENOENT.  Any thread. */
int xd_super_stop_one(xd_super *s, const char *address) XD_MUST;
/* Ends all in reverse order of their start, each within deadline_ms.  Returns how many were stuck. */
uint32_t xd_super_stop(xd_super *s, uint32_t deadline_ms);
/* xd_actor_post by address.  Any thread.  -ENOENT. */
int xd_super_post(xd_super *s, const char *address, xd_msg **msg) XD_MUST;
/* Exit record of an actor that has ended for good: 1 = found, 0 = it runs or is unknown. */
int xd_super_exit_of(const xd_super *s, const char *address, xd_exit *ret) XD_MUST;
