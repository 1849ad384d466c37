/* tests/sim/sim.h - the simulator: real cores (life of a run, collection, scheduler, agent queues, sessions) on virtual time.
 * One world per seed; everything random comes from its own generator, so a seed is a run.  Files:
 *   sim.c      scenarios, the controller, checks, main
 *   agent.c    agents: queue core, messages, crashes and restarts
 *   worker.c   workers: how the adapter claims and runs items, the progress page
 *   link.c     streams between controller and agents: sessions, delays, lost connections
 *   collect.c  before the tests: environments that collect, the collection core; a world of its own
 *   run.c      the life of a run under events in any order; a world of its own
 *   clock.c    event heap, random numbers, hash
 *   main.c     options, seeds; sync.h says what else uses both */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/aqueue.h"
#include "engine/base/buf.h"
#include "engine/run_table.h"
#include "engine/sched.h"

#define SIM_AGENTS 4
#define SIM_WORKERS 8
#define MS 1000000ull
#define SEC 1000000000ull

typedef enum sim_kind {
    EV_WORKER_UP,     /* a, b slot, c incarnation */
    EV_WORKER_NOT_UP, /* a, b slot, c incarnation */
    EV_FRAME,         /* a, b slot, c incarnation, ptr sim_frame: RUN arrives in the pipe */
    EV_CHECK,         /* a, b slot, c incarnation: second half of a claim */
    EV_ITEM_END,      /* a, b slot, c incarnation */
    EV_RESULT,        /* a, b slot, c incarnation, d position, e item, f outcome: read by the agent */
    EV_CLOSED,        /* a, b slot, c incarnation: its fixtures are torn down; read by the agent */
    EV_DOWN,          /* a, b slot, c incarnation: the agent sees the end of a process */
    EV_KILL,          /* a, b slot: something kills whatever runs there */
    EV_TICK,          /* a */
    EV_STREAM,        /* a, b direction, c connection, ptr sim_frame: bytes arrive */
    EV_DROP,          /* a, d: the connection breaks; d = for good */
    EV_CONNECT,       /* a: in time, or too late */
    EV_ACK,           /* a, b direction: time to acknowledge */
    EV_LOST,          /* a, d: given up for good; d = by an item */
    EV_CANCEL,        /* the user stops the run */
    EV_MORE,          /* agents that have collected late join, with tests that nobody else has */
    EV_COLLECTED,     /* a: an environment tells the digest of its list */
    EV_LIST_PART,     /* a, b first, c count: a part of its list arrives */
    EV_COLLECT_LOST,  /* a: it is lost */
} sim_kind;

typedef struct sim_event {
    uint64_t at, seq;
    uint32_t kind, a, b, c, d, e, f;
    bool     open; /* EV_RESULT: fixtures of the item wait for their teardown */
    void    *ptr;
} sim_event;

typedef struct sim_frame { /* RUN in a pipe, or bytes on a stream */
    uint32_t first, count;
    bool     last, final;
    size_t   len;
    union {
        uint32_t item[1]; /* then attempts: item[count + i] */
        uint8_t  bytes[1];
    } u;
} sim_frame;

typedef enum sim_state { W_IDLE, W_CLAIMING, W_HOLD, W_RUNNING, W_TEARDOWN } sim_state;

typedef struct sim_worker {
    bool        alive, refused, last, final, counted;
    sim_state   state;
    uint32_t    incarnation, pos, told_end, runs_read, cap;
    uint32_t   *item, *attempt; /* by position */
    sim_frame **inbox;
    uint32_t    inbox_len, inbox_cap;
    uint64_t    pipe_in_ns, pipe_out_ns; /* delivery of the newest frame: pipes keep order */
    uint64_t    began_ns;
    bool        failed;
    uint32_t    late_starts; /* starts after maxfail was reached here */
    /* its slot of the progress page */
    uint32_t claimed, limit, runs, item_plus_1, failures;
    uint32_t dead_claimed, dead_item, dead_finished;
    bool     robbed;        /* its result pipe was taken away: nothing it writes arrives */
    bool     ended;         /* went by itself */
    bool     session, kept; /* its session fixtures are set up; those of the last item wait for a successor */
    uint32_t setups;        /* of the session, by this process */
    uint32_t open_item, open_attempt; /* as the agent knows; attempt 0 = none */
} sim_worker;

typedef struct sim_link sim_link;

typedef struct sim_agent {
    bool       present, lost, stop;
    uint32_t   workers;
    uint32_t   known_up; /* as the controller heard */
    bool       away;     /* the controller knows that it is not connected */
    xd_aqueue *queue;
    sim_worker worker[SIM_WORKERS];
    sim_link  *link;
} sim_agent;

typedef struct sim_item {
    uint32_t dur_us;
    uint8_t  outcome; /* that it will have */
    bool     crash;
    bool     robs;  /* takes the result pipe away from its worker */
    bool     kills; /* ends its agent, without a word of what ran there */
    uint32_t begun;
    uint8_t  outcomes; /* counted */
    int32_t  home;     /* agent that it was leased to last, -1 = none, or that one is lost */
    uint32_t moves;    /* times it went from an agent that lived on to another one */
    uint32_t started;  /* highest attempt begun, and a check that none begins twice */
    uint64_t attempts; /* bits of attempts begun: none begins twice */
    int32_t  ran_on;   /* agent * SIM_WORKERS + slot */
    uint8_t  lists;    /* bit per list of tests: this item is in it; 0 = in all */
} sim_item;

typedef struct sim_world {
    uint64_t       seed, rng, now, hash, events, seq, horizon_ns, work_ns, longest_ns;
    sim_event     *heap;
    size_t         heap_len, heap_cap;
    uint32_t       n_agents, n_items;
    sim_agent      agent[SIM_AGENTS];
    sim_item      *item;
    xd_sched_item *plan;
    xd_sched      *sched;
    xd_run_state   run;
    uint32_t       maxfail, workers;
    uint32_t       setups, ran; /* of session fixtures; processes that ran something */
    uint32_t       lists,
        orphans; /* agent a has list a % lists; items that were not run as nobody is left who has them */
    uint32_t n_first, late_workers[SIM_AGENTS],
        restarts; /* items from n_first on are only in the last list, which comes late */
    bool more_comes;
    bool user_cancel, disturbed, broken, done, grouped;
    bool early;      /* leases go out before workers are up, their number is not corrected */
    bool killer;     /* an item ends agents: nothing else does for good */
    bool eager;      /* workers claim before they know the successor */
    bool tells_away; /* controller tells the scheduler of lost connections */
    char fault[256]; /* first broken invariant; empty = fine */
    bool trace;
} sim_world;

/* clock.c */
uint32_t sim_rand(sim_world *w, uint32_t below); /* 0..below-1 */
uint64_t sim_between(sim_world *w, uint64_t lo, uint64_t hi);
bool     sim_chance(sim_world *w, uint32_t percent);
void     sim_at(sim_world *w, uint64_t when, sim_event ev);
bool     sim_pop(sim_world *w, sim_event *ret);
void     sim_hash(sim_world *w, uint64_t v);
void     sim_fault(sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void    *sim_alloc(size_t size);

/* worker.c */
void sim_worker_start(sim_world *w, uint32_t a, uint32_t slot);
void sim_worker_told(sim_world *w, uint32_t a, uint32_t slot, const xd_aqueue_command *run);
void sim_worker_event(sim_world *w, const sim_event *ev);
void sim_worker_kill(sim_world *w, uint32_t a, uint32_t slot);
void sim_worker_free(sim_worker *g);

/* agent.c */
uint32_t
     sim_agent_spares(const sim_agent *g); /* workers that it can still start, if there is work for them */
void sim_agent_start(sim_world *w, uint32_t a, uint32_t workers, uint32_t max_restarts);
void sim_agent_event(sim_world *w, const sim_event *ev);
void sim_agent_pump(sim_world *w, uint32_t a);
void sim_agent_message(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count);
void sim_agent_free(sim_agent *g);

/* link.c: messages are 6 numbers (msg[0] = kind) and spans; each arrives once and in order */
typedef enum sim_msg {
    M_WORKERS = 1, /* up: number of workers up */
    M_RESULT,      /* up: item attempt outcome */
    M_RETURNED,    /* up: request; spans */
    M_LEASE,       /* down: spans */
    M_NO_MORE,     /* down: final */
    M_TAKE_BACK,   /* down: request count */
    M_CANCEL,      /* down: how */
    M_OPENED,      /* up: item */
    M_CLOSED,      /* up: item attempt */
} sim_msg;
void sim_link_start(sim_world *w, uint32_t a);
void sim_link_send(sim_world *w, uint32_t a, bool up, const uint32_t msg[6], const xd_span *spans,
                   uint32_t count);
void sim_link_event(sim_world *w, const sim_event *ev);
void sim_link_free(sim_agent *g);

/* collect.c: one run up to the start of its tests; its hash. `fault`: the first broken invariant, empty = fine */
uint64_t sim_collect(uint64_t seed, bool trace, char fault[256], uint64_t *events);

/* sim.c */
void sim_ctl_connected(sim_world *w, uint32_t a, bool connected);
void sim_ctl_late(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count);
void sim_ctl_message(sim_world *w, uint32_t a, const uint32_t *msg, const xd_span *spans, uint32_t count);

/* run.c: the same for the life of a run. */
uint64_t sim_run(uint64_t seed, bool trace, char fault[256], uint64_t *events);

/* main.c: runs a seed; its hash. `fault`: the first broken invariant, empty = fine */
typedef uint64_t sim_seed_fn(uint64_t seed, bool trace, char fault[256], uint64_t *events);
int              sim_main(int argc, char **argv, sim_seed_fn *run_seed);
