/* actors/supervisor.h - supervises the actors of one run: starts them in order, restarts those that end with a fault
 * within a budget, and stops all in reverse order, each with a deadline. It works like an OTP supervisor with the strategy
 * one_for_one. There is no tree, because all actors are siblings on one broker.
 * No thread of its own: faults are seen while the owner is in xd_supervisor_wait. One thread, except
 * xd_supervisor_ask_stop. */
#pragma once
#include "engine/actor.h"

typedef struct xd_supervisor xd_supervisor;

typedef struct xd_child {
    const xd_actor_spec *spec;
    const char          *address; /* copied */
    const void          *args; /* given to init at each start; borrowed until the child has ended for good */
    uint32_t             restarts;  /* at most so many within ...; 0 = its first fault is final */
    uint64_t             within_ns; /* ... this time, counted back from a fault */
} xd_child;

/* Called when a child ends without being asked to. reason: 0 = it was done, or -errno. restarted: another one runs in
 * its place. On the owner's thread. */
typedef void (*xd_supervisor_ended)(void *arg, const char *address, int reason, bool restarted);

int xd_supervisor_new(xd_supervisor **ret, xd_bus *bus, xd_supervisor_ended ended, void *arg) XD_MUST;
/* Starts one more child.  Errors as xd_actor_start: nothing was started. */
int xd_supervisor_start(xd_supervisor *s, const xd_child *child, xd_error *err) XD_MUST;
/* Watches all until the child at `address` has ended for good (*ret_reason: 0 or -errno), `wake_fd` (-1 =
 * none) is readable, or the deadline is there.
 * 0, 1 = woken, -ETIMEDOUT, -ENOENT = no such child; of one that ended before, the reason is remembered. */
int xd_supervisor_wait(xd_supervisor *s, const char *address, int wake_fd, uint64_t deadline_ns,
                       int *ret_reason) XD_MUST;
/* Tells a child to end; its end is then final.  Unknown or ended: nothing. */
void xd_supervisor_ask_stop(xd_supervisor *s, const char *address);
/* Ends all that still run in reverse order of their start: asks, waits up to grace_ns for each, and calls
 * `stuck` (NULL ok) for each that does not end; such an actor is left behind, as its thread may still use
 * what it has. Number of those. Then frees s, if the number is 0. */
uint32_t xd_supervisor_stop(xd_supervisor *s, uint64_t                           grace_ns,
                            void (*stuck)(void *arg, const char *address), void *arg);
