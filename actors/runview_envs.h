/* actors/runview_envs.h - the environments and workers of a run's view: where they are, which are up, and which test a
 * worker was last known to be inside of. */
#pragma once
#include "actors/runview_tests.h"
#include "engine/names.h"

typedef struct xd_runview_env {
    xd_bytes spec, host, python, python_version, system; /* in the arena */
    xd_bytes program, found;  /* of ENV_FACTS: its interpreter as it is started, and where that was found */
    uint8_t  collected, down; /* it told of a list; it is gone */
    uint8_t  agreed;          /* it has a collection of its own, as the next ones say */
    uint32_t first, tests;    /* of this collection: place in xd_runview_tests.items, how many */
    uint64_t expected_us;     /* that its tests take, as history knows */
    uint8_t  over;            /* where each has its own: its session ended before it had any */
    int32_t  exit_status;     /* ... with this */
    xd_bytes reason;          /* ... because of this */
} xd_runview_env;

typedef struct xd_runview_worker {
    xd_bytes python_version; /* of its environment's CONFIG, in the arena */
    xd_bytes python;         /* interpreter path */
    xd_bytes spec;           /* xspec of its gateway */
    uint16_t gateway;
    uint16_t replaces; /* XD_NO_WORKER = none */
    uint8_t  up;       /* 1 = runs */
    uint8_t  known;    /* 1 = had a WORKER_UP */
    /* The item + 1 that it was last known to be inside of for long, or when it was ended; 0 = none; its age then. */
    uint32_t running;
    uint32_t age_ms;
} xd_runview_worker;

typedef struct xd_runview_envs {
    xd_runview_env    *envs; /* index = gateway number */
    uint32_t           count, envs_cap;
    xd_runview_worker *workers; /* index = worker number */
    uint32_t           worker_count, workers_cap;
    xd_names           names;    /* of the workers */
    xd_bytes           hostname; /* of the first one */
} xd_runview_envs;

void xd_runview_envs_release(xd_runview_envs *e);
/* The environment of a gateway, made where it is new. Valid until the next call. */
int xd_runview_envs_at(xd_runview_envs *e, uint32_t gateway, xd_runview_env **ret) XD_MUST;
int xd_runview_envs_up(xd_runview_envs *e, xd_runview_texts *texts, const xd_wire_GATEWAY_UP *in) XD_MUST;
/* -EPROTO: one of them cannot be a name. */
int xd_runview_envs_names(xd_runview_envs *e, const xd_wire_WORKER_NAMES *in) XD_MUST;
int xd_runview_envs_worker_up(xd_runview_envs *e, const xd_wire_WORKER_UP *in, uint16_t gateway) XD_MUST;
int xd_runview_envs_worker_down(xd_runview_envs *e, const xd_runview_tests *tests,
                                const xd_wire_WORKER_DOWN *in) XD_MUST;
int xd_runview_envs_still_running(xd_runview_envs *e, const xd_runview_tests *tests,
                                  const xd_wire_STILL_RUNNING *in) XD_MUST;
