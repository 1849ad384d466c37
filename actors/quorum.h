/* actors/quorum.h - whether enough workers can start for a run to begin: --min-workers. Pure.
 *
 * An environment can start its workers when it has told its configuration: its host was reached, its interpreter and its
 * test framework are there. It fails when it is lost, or says that it cannot run, before the tests begin. No test starts
 * before the decision is made; once tests run, what is lost is lost work (engine/sched.h) and no matter of this.
 * One that is brought the project's files holds up nobody, as that may take long: it joins those that run. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum xd_quorum_state {
    XD_QUORUM_STARTING,
    XD_QUORUM_BRINGING, /* its agent is there, and is sent the files */
    XD_QUORUM_READY,
    XD_QUORUM_FAILED,
} xd_quorum_state;

typedef struct xd_quorum_env {
    xd_quorum_state state;
    uint32_t        workers; /* 0 = not known before its host has said how many processors it has */
} xd_quorum_env;

typedef enum xd_quorum {
    XD_QUORUM_WAIT,
    XD_QUORUM_BEGIN,
    XD_QUORUM_HOPELESS, /* it cannot begin, but others have not said yet what becomes of them: they may have failed, too */
    XD_QUORUM_NEVER,
} xd_quorum;

/* least: --min-workers; 0 = all that were asked for. */
xd_quorum xd_quorum_of(const xd_quorum_env *envs, size_t count, uint32_t least);
/* How many workers can start, as far as is known. */
uint32_t xd_quorum_ready(const xd_quorum_env *envs, size_t count);
