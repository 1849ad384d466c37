/* tools/xdagent/worker.h - one worker as the agent sees it: its process, its pipes, its results, what it was told to run,
 * and its end. Its life is the table in life.c; what happens to it comes through agent_worker_on(). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/proc.h"
#include "engine/names.h"
#include "engine/span.h"
#include "engine/wire.h"
#include "tools/xdagent/chan.h"
#include "tools/xdagent/output.h"

typedef enum agent_worker_state {
    AGENT_WORKER_NONE,     /* slot is free */
    AGENT_WORKER_FORKING,  /* FORK is sent, FORKED awaited */
    AGENT_WORKER_STARTING, /* process exists, WORKER_READY awaited */
    AGENT_WORKER_UP,
    AGENT_WORKER_LEAVING, /* WORKER_DONE came: its session is over, the process about to end */
    AGENT_WORKER_GONE,    /* process has ended: its pipes are read to the end, its status is awaited */
    AGENT_WORKER_STATES,
} agent_worker_state;

/* What happens to a worker (life.c). */
typedef enum agent_event {
    AGENT_ON_FORK,       /* it is to be started */
    AGENT_ON_BORN,       /* its process exists: news.pid */
    AGENT_ON_UNBORN,     /* it will not: news.why */
    AGENT_ON_READY,      /* WORKER_READY */
    AGENT_ON_DONE,       /* WORKER_DONE */
    AGENT_ON_PIPE_END,   /* its result pipe is closed, or holds what is no frame: news.why */
    AGENT_ON_PARENT_END, /* the process that was to fork it has ended: news.why */
    AGENT_ON_EXIT,       /* its process has ended */
    AGENT_ON_STATUS,     /* how: news.status */
    AGENT_ON_SETTLED,    /* ... and all it wrote has been read */
    AGENT_ON_TERM,       /* we end it */
    AGENT_ON_KILL,
    AGENT_ON_OVERDUE, /* due_ns has come */
    AGENT_EVENTS,
} agent_event;

typedef struct agent_news {
    pid_t                 pid;
    const char           *why;            /* static, or copied by the action */
    bool                  free_of_charge; /* UNBORN: the budget of replacements stays as it is */
    const xd_proc_status *status;
} agent_news;

/* Who forks a worker. */
typedef enum agent_parent { AGENT_BY_AGENT, AGENT_BY_HOST, AGENT_BY_COLLECTOR } agent_parent;

#define AGENT_KILL_NS (2 * XD_S_NS) /* a process that SIGKILL has not ended by then is given up */

typedef struct agent_blame {
    uint32_t item;
    uint16_t attempt;
} agent_blame;

typedef enum agent_fate { AGENT_FATE_NONE, AGENT_FATE_RESTART, AGENT_FATE_END, AGENT_FATE_BUDGET } agent_fate;

/* Its process, and who makes and ends it (start.c, down.c). */
typedef struct agent_worker_process {
    uint8_t      way;    /* XD_WAY_* */
    bool         become; /* it was the collector */
    agent_parent parent;
    xd_proc      proc;     /* pid 0 = not known yet, or handed over */
    pid_t        reap_pid; /* its parent was asked to wait for this one */
    bool         killed;   /* we ended it */
    bool         sigkill;  /* and by SIGKILL */
    uint64_t     due_ns;   /* when OVERDUE comes; UINT64_MAX = never */
} agent_worker_process;

/* Its pipes, and what it says on them (worker.c). */
typedef struct agent_worker_io {
    agent_chan   cmd, results;
    agent_chan   control; /* XD_WAY_FRESH: ENV_START and FORK went here */
    agent_output out, err;
    xd_buf       last; /* last output */
    /* What is captured of it, and its words on a fault: stdout, stderr, fault; -1 = not there. */
    int         files[3];
    bool        ticking; /* its result pipe is looked at every tick, not polled */
    uint8_t     idle_ticks;
    const char *deaf; /* why it cannot be heard any more; static */
    bool        deaf_killed;
} agent_worker_io;

/* Its results on their way to the controller (worker.c). */
typedef struct agent_worker_results {
    xd_buf         batch; /* RESULT records not yet sent */
    uint32_t       batched;
    xd_wire_RESULT open; /* of the item whose outliving fixtures wait for their teardown; attempt 0 = none */
} agent_worker_results;

/* What the agent queue has told it to run (queue.c). */
typedef struct agent_worker_queue {
    xd_buf   held; /* RUN frames that wait for the limit to be opened */
    bool     limit_asked;
    uint32_t told_end; /* position behind the last one told */
} agent_worker_queue;

/* Its end: what it said of it, how it came, and what the queue makes of it (down.c). */
typedef struct agent_worker_end {
    bool           quit;          /* QUIT was sent */
    bool           done, stopped; /* WORKER_DONE came, and these three came with it */
    int32_t        session_status;
    char          *reason;
    xd_proc_status status;
    bool           status_known;
    agent_fate     fate;
    xd_buf         blamed;  /* agent_blame, one behind the other */
    bool           restart; /* the slot is to be filled again; `replaces` is set */
} agent_worker_end;

struct agent_worker {
    agent               *agent;
    uint32_t             slot;
    uint16_t             number;
    uint16_t             replaces;
    agent_worker_state   state;
    bool                 was_up;
    agent_worker_process process;
    agent_worker_io      io;
    agent_worker_results results;
    agent_worker_queue   queue;
    agent_worker_end     end;
    struct agent_check  *check; /* its own collection, when it did not inherit one */
};

/* Of a slot that nobody fills. */
#define AGENT_NO_WORKER                                                         \
    ((agent_worker){ .process = { .proc = XD_PROC_NONE, .due_ns = UINT64_MAX }, \
                     .io = { .cmd.fd = -1,                                      \
                             .results.fd = -1,                                  \
                             .control.fd = -1,                                  \
                             .out.fd = -1,                                      \
                             .err.fd = -1,                                      \
                             .files = { -1, -1, -1 } },                         \
                     .end = { .session_status = -1 },                           \
                     .state = AGENT_WORKER_NONE })

int  agent_workers_start(agent *a, const xd_wire_WORKERS_START *m) XD_MUST;
int  agent_workers_start_late(agent *a, uint64_t now_ns) XD_MUST;       /* at late_ns */
void agent_workers_predicted(agent *a, const xd_span *spans, size_t n); /* a lease: how much there is to do */
int  agent_worker_start(agent *a, uint32_t slot, uint16_t number, uint16_t replaces) XD_MUST;
int  agent_worker_forked(agent *a, const xd_wire_FORKED *m) XD_MUST;
/* The process that forks workers has ended: those it was still to fork have come to us, or never will. */
int  agent_workers_parent_ended(agent *a, agent_parent parent, const char *why) XD_MUST;
void agent_worker_release(agent_worker *w);
void agent_worker_io_close(agent_worker_io *io);  /* its pipes; output that is left is read first */
int  agent_worker_flush(agent_worker *w) XD_MUST; /* its batch goes out */
/* The item whose fixtures waited for their teardown is closed, with this result. */
int      agent_worker_close_item(agent_worker *w, xd_wire_RESULT r) XD_MUST;
int      agent_workers_flush(agent *a) XD_MUST;
int      agent_workers_tick(agent *a, uint64_t now_ns) XD_MUST; /* looks at the pipes that are not polled */
bool     agent_worker_alive(const agent_worker *w);
uint32_t agent_workers_alive(const agent *a);

/* What happened to a worker; news NULL = nothing more to say. */
int agent_worker_on(agent_worker *w, agent_event event, const agent_news *news) XD_MUST;
int agent_workers_on(agent *a, agent_event event, const agent_news *news) XD_MUST;
/* The actions of life.c. */
int agent_act_born(agent_worker *w, const agent_news *news) XD_MUST;   /* start.c */
int agent_act_orphan(agent_worker *w, const agent_news *news) XD_MUST; /* start.c */
int agent_act_up(agent_worker *w, const agent_news *news) XD_MUST;     /* worker.c */
int agent_act_silent(agent_worker *w, const agent_news *news) XD_MUST; /* worker.c */
int agent_act_unborn(agent_worker *w, const agent_news *news) XD_MUST; /* the others: down.c */
int agent_act_gone(agent_worker *w, const agent_news *news) XD_MUST;
int agent_act_status(agent_worker *w, const agent_news *news) XD_MUST;
int agent_act_conclude(agent_worker *w, const agent_news *news) XD_MUST;
int agent_act_term(agent_worker *w, const agent_news *news) XD_MUST;
int agent_act_kill(agent_worker *w, const agent_news *news) XD_MUST;
int agent_act_kill_parent(agent_worker *w, const agent_news *news) XD_MUST;
int agent_act_overdue(agent_worker *w, const agent_news *news) XD_MUST;

int      agent_worker_open_results(agent_worker *w, int fd) XD_MUST;
uint16_t agent_next_number(agent *a, uint16_t replaces);
xd_name  agent_worker_name(const agent_worker *w); /* what it is called */
/* Opens what a process named in the scratch folder, a file or a link to one that it has open, and removes the name.
 * -1: nothing. */
int agent_take_file(const agent *a, const char *name);
/* Adds the last bytes of a file; fd -1 = nothing. */
int  agent_add_end(xd_buf *out, int fd, size_t most) XD_MUST;
void agent_worker_files(agent_worker *w); /* opens and removes the files it writes its last words to */
int  agent_worker_reaped(agent *a, const xd_wire_REAPED *m) XD_MUST;
int  agent_down_timers(agent *a, uint64_t now_ns) XD_MUST;
/* " (out of memory: ...)" when the kernel has killed for lack of memory since it was asked last; else "". */
const char *agent_say_oom(agent *a, const xd_proc_status *s);

/* A worker that collects by itself must come to the same list. */
int  agent_check_ids(agent_worker *w, xd_bytes body) XD_MUST;
int  agent_check_collected(agent_worker *w, xd_bytes body) XD_MUST;
bool agent_check_passed(const agent_worker *w);
void agent_check_free(struct agent_check *c);

int agent_queue_drain(agent *a) XD_MUST;
/* Soon another worker stands in the place of this one, which has ended. */
void agent_worker_again(agent_worker *w);
int  agent_queue_returned(agent *a) XD_MUST; /* sends what was held back while one is `buried` */
int  agent_queue_lease(agent *a, const xd_wire_LEASE *m) XD_MUST;
