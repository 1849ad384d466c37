/* actors/scheduler_state.h - private to scheduler.c (phases), scheduler_results.c (results) and
 * scheduler_actor.c (actor, frames in and out). */
#pragma once
#include <stdarg.h>

#include "actors/collector.h"
#include "actors/history.h"
#include "actors/scheduler.h"
#include "engine/outcome.h"
#include "engine/wire.h"

#define SCHEDULER_MAGIC 0x5c4ed001u

typedef enum gw_state {
    GW_DIALING, /* no session yet */
    GW_COLLECTING,
    GW_COLLECTED, /* told a digest that is not the agreed one (yet) */
    GW_AGREED,
    GW_RUNNING,
    GW_FINISHING, /* FINISH sent */
    GW_DONE,      /* closed, or failed, or never came */
} gw_state;

typedef struct gateway {
    uint16_t number;
    gw_state state;
    char     address[XD_ADDRESS_LEN];
    char    *spec_text; /* owned */
    uint32_t workers;   /* 0 = not decided */
    uint16_t first_worker;
    uint32_t cpus;
    bool     up;       /* its session stood at some time */
    bool     ran;      /* a worker of it was ready at some time */
    bool     zero;     /* its session ended with 0 by its own wish, before all tests were run */
    bool     dropped;  /* it contradicts what was agreed: nothing of it is heard any more, except its end */
    bool     in_order; /* of COLLECTED, as the next ones */
    uint32_t deselected;
    uint64_t digest_lo, digest_hi;
    bool     last_words; /* it told what ran at its end */
} gateway;

/* Reports of an item's attempt that are failures, as pytest counts them for --maxfail. */
typedef struct item_reported {
    uint16_t attempt;
    uint8_t  failed; /* not yet counted by a RESULT; 255 = or more */
    bool     ever;   /* the attempt whose RESULT counts had some */
} item_reported;

/* Effective options as pytest's configuration says (command line, PYTEST_ADDOPTS, ini). */
typedef struct effective {
    int      workers, max_workers, max_worker_restart;
    int      auto_workers; /* what a hook or the environment says that `auto` is; 0 = nothing */
    uint32_t maxfail;
    int      max_warnings; /* -1 = any number */
    bool     keep_scope_order, in_order;
    char     dist[16];
} effective;

#define XD_REASON_DIFFERENT "Different tests were collected" /* of RUN_END */

typedef struct scheduler {
    uint32_t          magic;
    xd_actor         *actor;
    xd_scheduler_args args;
    gateway          *gateways;
    size_t            n_gateways;
    effective         options;
    bool              configured; /* a CONFIG came */
    uint16_t          losing;     /* gateway whose agent was lost last */
    xd_collector     *collector;
    xd_sched         *sched;
    xd_history       *history;
    int               owner; /* gateway whose list is the collection, -1 */
    uint16_t          home;  /* gateway whose CONFIG counts: the first */
    uint32_t          warnings;
    uint32_t          deselected, collect_errors, total_workers, failures;
    uint32_t          home_errors; /* of one collection: environments mostly tell the same ones */
    uint64_t          digest_lo, digest_hi, started_ns;
    item_reported    *reported;      /* of each item */
    char            **messages;      /* of each item, for XD_EVENT_TEST; NULL where nobody wants it; owned */
    uint8_t           up[65536 / 8]; /* bit per worker: it was ready, and has not ended */
    bool              zero_asked;    /* the run ends with 0 because somebody wants it so */
    bool              bad_end;       /* a worker crashed outside of any test */
    bool              missing;       /* an environment was lost before the tests began; the others run them */
    bool              list_whole;    /* the list that is the collection has come */
    bool              agreed, running, finishing, ended, mode_no;
    uint32_t          pausing;  /* gateways that have not written PAUSE yet, and the terminal report */
    uint8_t           stopping; /* CANCEL.how in force, 0 */
    uint64_t leave_by_ns;       /* the user wants to leave: who has not answered by then is left; 0 = not */
    struct scheduler_running *long_running; /* tests that run for a second and more; owned */
    size_t                    n_running;
    int                       forced_exit; /* -1 = none */
    char                      reason[XD_TEXT];
    const char               *uid; /* of the config or the run, which outlive this */
} scheduler;

gateway *xd_scheduler_gateway(scheduler *self, uint16_t number);
int      xd_scheduler_note(scheduler *self, uint8_t level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) XD_MUST;
void xd_scheduler_end_with(scheduler *self, int code, const char *reason);
int  xd_scheduler_finish(scheduler *self) XD_MUST;
int  xd_scheduler_drain(scheduler *self) XD_MUST;
/* Its agent is gone before the tests began: the others go on without it. */
int xd_scheduler_without(scheduler *self, gateway *g) XD_MUST;
int xd_scheduler_join(scheduler *self, gateway *g) XD_MUST;
int xd_scheduler_on_collected(scheduler *self, gateway *g, const xd_wire_COLLECTED *in) XD_MUST;
int xd_scheduler_on_ids(scheduler *self, gateway *g, const xd_wire_COLLECT_IDS *in) XD_MUST;
int xd_scheduler_on_paused(scheduler *self) XD_MUST;
/* scheduler_running.c */
int xd_scheduler_on_progress(scheduler *self, gateway *g, const xd_wire_PROGRESS *in) XD_MUST;
/* Its agent is gone while the run goes on: what ran there runs again, or is lost. */
int xd_scheduler_lost(scheduler *self, const gateway *g) XD_MUST;
/* An item whose agent was lost in it gets its outcome. */
int xd_scheduler_record_lost(scheduler *self, const xd_span *item) XD_MUST;
int xd_scheduler_on_stop(scheduler *self, int how) XD_MUST;
int xd_scheduler_on_tick(scheduler *self, uint64_t now_ns) XD_MUST;
/* The exit code as things stand: pytest's rules. */
int xd_scheduler_exit_code(const scheduler *self);

/* scheduler_results.c */
int xd_scheduler_on_results(scheduler *self, gateway *g, const xd_wire_RESULTS *in) XD_MUST;
int xd_scheduler_on_report(scheduler *self, const xd_wire_REPORT *in) XD_MUST;
/* XD_EVENT_TEST, where it is wanted; XD_NO_WORKER: nobody can tell. */
void xd_scheduler_tell_test(scheduler *self, const xd_wire_RESULT *one, uint16_t worker);
/* Where outcomes of this kind are counted. */
uint32_t *xd_scheduler_counter(xd_result *r, uint8_t outcome);

/* scheduler_actor.c: a frame to the journal, to a gateway.  `frame` is taken (emptied) by the first two. */
int xd_scheduler_record(scheduler *self, uint16_t type, xd_buf *frame) XD_MUST;
int xd_scheduler_send(scheduler *self, gateway *g, uint16_t type, xd_buf *frame) XD_MUST;
int xd_scheduler_send_copy(scheduler *self, gateway *g, uint16_t type, const xd_buf *frame) XD_MUST;
