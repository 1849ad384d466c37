/* actors/scheduler.h - the actor that leads a run: environments up, leases out, results in, exit code.
 *   in   frames of the agents (wire ids 32..44) through the broker; GATEWAY_UP, GATEWAY_DOWN; XD_MSG_STOP
 *        from the engine; what the collector agreed on (collector.h)
 *   out  ENV_START, SEND_LIST (ahead), REORDER, WORKERS_START, LEASE, NO_MORE, TAKE_BACK, CANCEL, PAUSE, RESUME, FINISH to
 *        gateways; GATEWAY_DOWN to the collector; COLLECTION, GRANT, NOTE, RUN_END to the journal; PROGRESS to the reporters
 * Own thread. Ends by itself after RUN_END. A frame that does not decode, or does not fit the state, ends
 * that gateway. */
#pragma once
#include "actors/plan.h"
#include "actors/project_options.h"
#include "actors/sync_roots.h"
#include "engine/actor.h"

#define XD_SCHEDULER_ADDRESS "sched"

typedef struct xd_scheduler_args {
    const xd_config *config;  /* borrowed; outlives the actor */
    const xd_plan   *plan;    /* borrowed; outlives the actor */
    const char      *run_id;  /* borrowed */
    const char      *run_dir; /* borrowed */
    const char      *cache;   /* folder of the history; borrowed; NULL = the default */
    const char      *project; /* name of it on other hosts (env_start.h); borrowed for the start, copied */
    const char      *work;    /* folder of the run here; borrowed for the start, copied; NULL = it is gone */
    const xd_sync_plan
                     *sync; /* what is brought to other hosts; borrowed; outlives the actor; NULL = nothing */
    const xd_strings *sync_args; /* pytest's arguments there; borrowed in the same way */
    const char       *note;      /* to be told at the start; borrowed for it; NULL = nothing */
    const xd_project_told *told; /* of the project's own options; borrowed for the start; NULL = nothing */
    /* Called on the actor's thread; must return soon. */
    void (*event)(void *arg, const xd_event *ev);
    void      *event_arg;
    bool       want_tests; /* XD_EVENT_TEST is wanted */
    bool       tty;        /* the terminal report goes to a terminal */
    bool       live;       /* it may have a live line */
    xd_result *result;     /* filled before RUN_END is sent; read after the actor has ended */
} xd_scheduler_args;

/* Body of JOINS: somebody takes the seat of this gateway, which dials next. */
typedef struct xd_joins {
    uint16_t gateway;
    uint32_t workers;
    char     spec[96];  /* what its environment is called from here on */
    char     text[600]; /* of it, for the user */
} xd_joins;

extern const xd_actor_spec xd_scheduler_spec;
