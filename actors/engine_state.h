/* actors/engine_state.h - private to engine.c (a run is put together; xd.h) and engine_end.c (it is watched, and ends). */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "actors/report_actor.h"
#include "actors/report_choice.h"
#include "actors/scheduler.h"
#include "actors/slurm.h"
#include "actors/supervisor.h"
#include "actors/sync_roots.h"
#include "actors/sync_start.h"
#include "engine/broker.h"
#include "engine/config.h"
#include "engine/events.h"
#include "engine/runs.h"
#include "gateways/gateway.h"
#include "gateways/listen.h"

struct xd_engine {
    xd_config           *config;
    xd_project_told      told; /* of the project's own options */
    xd_plan              plan;
    xd_run_dir           dir;
    xd_log               log;
    int                  out_fd, err_fd;
    int                  trace_fd; /* -1 = no trace */
    xd_event_fn          callback;
    void                *callback_arg;
    xd_events            events;
    xd_folders           where;
    char                *journal_path;
    char                *junit_path; /* as far as the command line says */
    xd_bus              *bus;
    xd_broker           *broker;     /* that carries the run: own_broker, or one that others use, too */
    xd_broker           *own_broker; /* NULL = the user gave one */
    xd_supervisor       *supervisor;
    xd_gateway_args     *gateways; /* one per gateway of the plan */
    char               **scratch;  /* of each: its folder below the run's, where its agent is on this host */
    const char         **specs;    /* of each, for the collector; the texts are the plan's */
    xd_sync_plan         sync;     /* what is brought to other hosts; base NULL = nothing */
    xd_strings           sync_args;
    xd_sync_where       *sync_where; /* of each gateway */
    xd_sync_start       *sync_start; /* NULL = nothing is brought */
    xd_report_choice     reports;
    xd_report_actor_args report, files;
    uint64_t             shown[2]; /* bytes of text that the terminal and stderr got */
    xd_listen           *listen;   /* NULL = nobody can join */
    int                  join_fd;  /* eventfd: somebody has */
    int                  watch_fd; /* epoll: that, and the fault of the broker */
    struct joining      *joins;    /* those that have, and have no gateway yet; below the lock */
    size_t               n_joins;
    atomic_bool          came;  /* somebody has joined */
    xd_slurm            *slurm; /* NULL = the run has no job there */
    uint64_t             cpu_start_us;
    pthread_t            watcher;
    bool                 watching, joined;
    pthread_mutex_t      lock;     /* protects: bus while others post, stops, over */
    bool                 starting; /* xd_engine_start is at work */
    uint32_t             early[2]; /* asked of xd_engine_stop meanwhile: an end, a pause; 0 = nothing */
    bool                 running;  /* the bus may be posted to */
    bool                 leave;    /* XD_STOP_NOW was asked */
    bool                 over;
    bool                 report_failed;
    bool                 adopts; /* all children of this process are ours to kill at the end */
    bool                 left;   /* an actor that did not end still uses parts of this */
    xd_result            result;
};

/* engine_join.c */
/* Begins to listen, if the run does. */
int xd_engine_listen(xd_engine *x, xd_error *err) XD_MUST;
/* Starts the gateways of those who have joined. 1 = so it did; 0 = the broker has a fault. On the thread that has the supervisor. */
int  xd_engine_take_joins(xd_engine *x) XD_MUST;
void xd_engine_listen_end(xd_engine *x); /* after the gateways */
/* engine_slurm.c: asks Slurm for workers, if the run does (--slurm); it listens. */
int  xd_engine_slurm(xd_engine *x, xd_error *err) XD_MUST;
void xd_engine_slurm_end(xd_engine *x); /* what there is of the job is cancelled */
/* engine.c: starts the actor of this gateway. */
int xd_engine_start_gateway(xd_engine *x, size_t i, xd_error *err) XD_MUST;

/* engine_end.c */
/* A line on stderr. */
void xd_engine_say_line(xd_engine *e, const char *line);
/* To the callback, or into the queue; any thread. */
void xd_engine_on_event(void *engine, const xd_event *ev);
/* Closes everything in reverse order of the start. */
void xd_engine_close(xd_engine *x);
/* The watching thread. */
void *xd_engine_watcher(void *engine);
