/* actors/scheduler_state.h - private to the scheduler actor's files.
 *   scheduler.c             the life of the run (engine/run_table.h): its actions, its end, stops from outside
 *   scheduler_collection.c  from what the collector says to the start of the tests
 *   scheduler_sets.c        environments whose tests differ: who can run what
 *   scheduler_quorum.c      environments that fail before the tests begin
 *   scheduler_each.c        --dist each: environments that end by themselves, the worst exit code
 *   scheduler_join.c        environments that join, and those that leave
 *   scheduler_items.c       commands of the core (engine/sched.h): leases and what belongs to them
 *   scheduler_results.c     results, and the reports before them
 *   scheduler_running.c     tests that run for long, lost agents
 *   scheduler_config.c      what pytest's configuration says
 *   scheduler_actor.c       the actor: frames in and out, gateways that come and go */
#pragma once
#include <stdarg.h>

#include "actors/env_start.h"
#include "actors/history.h"
#include "actors/report_paths.h"
#include "actors/scheduler.h"
#include "actors/settings.h"
#include "engine/idlist.h"
#include "engine/names.h"
#include "engine/outcome.h"
#include "engine/run_table.h"
#include "engine/sched.h"
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
    uint32_t room;       /* workers that it has memory for; 0 = not told */
    bool     up;         /* its session stood at some time */
    bool     seat;       /* for a host that joins */
    bool     came;       /* ... which has */
    bool     leaving;    /* it wants to leave: what it has not begun goes to others */
    bool     numbered;   /* its workers have their numbers */
    bool     lacks;      /* the project's files are on their way to it */
    bool     ran;        /* a worker of it was ready at some time */
    bool     never_ran;  /* it was lost before that */
    bool     zero;       /* its session ended with 0 by its own wish, before all tests were run */
    bool     gone;       /* its GATEWAY_DOWN is on its way through the collector */
    bool     configured; /* it has told its configuration: its workers can start */
    char     python[24]; /* version of its interpreter, from there */
    bool     failed;     /* it has said that it cannot run, and others go on */
    bool     over;       /* its session ended before it had tests to run, and others go on */
    bool     dropped;    /* it contradicts what was agreed: nothing of it is heard any more, except its end */
    bool     known;      /* which tests it has is known */
    bool     differs;    /* they are not those that were agreed on: */
    uint8_t *has;        /* bit per item of that: it has this one; NULL = those that were agreed on; owned */
    uint32_t n_has;
    bool     in_order; /* of COLLECTED, as the next ones */
    uint32_t count, deselected;
    uint64_t digest_lo, digest_hi;
    bool     last_words;           /* it told what ran at its end */
    struct collection *collection; /* that it runs, or will run; borrowed */
    xd_idlist          list;       /* if it is the one that sends a collection's list */
} gateway;

/* Reports of an item's attempt that are failures, as pytest counts them for --maxfail. */
typedef struct item_reported {
    uint16_t attempt;
    uint8_t  failed; /* not yet counted by a RESULT; 255 = or more */
    bool     ever;   /* the attempt whose RESULT counts had some */
} item_reported;

/* The tests of the environments that share them, and what has become of each. */
typedef struct collection {
    uint16_t         number;
    uint32_t         count;  /* tests; 0 = not known yet */
    uint32_t         more;   /* of these, those behind the agreed ones, which not all environments have */
    uint32_t         agreed; /* the agreed ones, if there are more */
    uint16_t        *sets;   /* of each item, as for the core; NULL = all have the same; owned */
    uint32_t         n_sets;
    gateway         *owner;    /* whose list it is */
    const xd_idlist *list;     /* of the gateway that sent it; borrowed; NULL = it has not come yet */
    xd_sched        *sched;    /* NULL = not begun */
    item_reported   *reported; /* of each item */
    char           **messages; /* of each item, for XD_EVENT_TEST; NULL where nobody wants it; owned */
    uint32_t         failures; /* --dist each, as the next two: of its own tests */
    uint32_t         collect_errors;
    int              code; /* that its environment ended with by itself, -1 = it did not */
    uint64_t         digest_lo, digest_hi;
    bool             running; /* it has begun, and there is something to run */
    bool             done;    /* the core says that nothing is left to do */
    bool             held;    /* ... and an environment still collects, which may have more */
} collection;

struct xd_scheduler_names; /* of tests; private to scheduler_each.c */

#define XD_REASON_DIFFERENT "Different tests were collected" /* of RUN_END */

typedef struct scheduler {
    uint32_t          magic;
    xd_actor         *actor;
    xd_scheduler_args args;
    gateway          *gateways;
    size_t            n_gateways;
    xd_settings       options;
    bool              configured;  /* a CONFIG came */
    uint16_t          losing;      /* gateway whose agent was lost last */
    collection       *collections; /* one, or with `each` one per gateway */
    size_t            n_collections;
    xd_history       *history;
    uint16_t          home; /* gateway whose CONFIG counts: the first */
    uint32_t          warnings;
    xd_names          names; /* of the workers, once they have their numbers */
    uint32_t          collect_errors, total_workers, failures;
    uint32_t
        home_errors; /* of one collection: environments mostly tell the same ones; of all, where each has its own */
    uint64_t     started_ns;
    uint8_t      up[65536 / 8]; /* bit per worker: it was ready, and has not ended */
    bool         zero_asked;    /* the run ends with 0 because somebody wants it so */
    bool         bad_end;       /* a worker crashed outside of any test */
    bool         told_misplaced;
    bool         told_whose;   /* whose pytest refused an option, and why it might */
    bool         missing;      /* an agent said what it must not */
    bool         differs;      /* environments have different tests */
    xd_run_state state;        /* changed by xd_scheduler_happens() alone */
    uint32_t     pausing;      /* gateways that have not written PAUSE yet, and the terminal report */
    uint8_t      cancel;       /* CANCEL.how in force, 0 */
    bool         stopping;     /* xd_scheduler_stop() was called */
    uint64_t     settle_by_ns; /* the run cannot begin, and says so then; 0 = not */
    uint64_t
        wait_by_ns; /* nobody is waited for any longer who may join; UINT64_MAX = for ever; 0 = nobody is */
    uint32_t next_worker; /* number of the first worker of one that joins late */
    char job[400]; /* what became last of the job whose tasks join; "" = there is none, or nothing to say */
    bool job_over; /* and none of them will any more */
    uint64_t leave_by_ns; /* the user wants to leave: who has not answered by then is left; 0 = not */
    struct scheduler_running *long_running; /* tests that run for a second and more; owned */
    size_t                    n_running;
    int                       forced_exit; /* -1 = none */
    char                      reason[XD_TEXT];
    char                      project[XD_PROJECT_NAME];
    xd_report_paths           paths; /* what is said outside of the reports has the user's own paths, too */
    const char               *uid;   /* of the config or the run, which outlive this */
} scheduler;

gateway *xd_scheduler_gateway(scheduler *self, uint16_t number);
int      xd_scheduler_note(scheduler *self, uint8_t level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) XD_MUST;
void xd_scheduler_emit(scheduler *self, int type, const char *text, int64_t value, uint64_t count);
/* The run ends with this code unless a graver cause came first. */
void xd_scheduler_end_with(scheduler *self, int code, const char *reason);
/* Something happens to the run (engine/run_table.h). `g`: the environment of the event, NULL where it has none. */
int xd_scheduler_happens(scheduler *self, xd_run_event event, gateway *g) XD_MUST;
/* Nothing new starts (XD_RUN_ON_STOP): `how` as CANCEL. */
int xd_scheduler_wind_down(scheduler *self, uint8_t how) XD_MUST;
/* The same because somebody wants it so: how environments end from here on is no news. */
int xd_scheduler_stop(scheduler *self, uint8_t how) XD_MUST;
int xd_scheduler_on_paused(scheduler *self) XD_MUST;
int xd_scheduler_on_stop(scheduler *self, int how) XD_MUST;
int xd_scheduler_on_tick(scheduler *self, uint64_t now_ns) XD_MUST;
/* The exit code as things stand: pytest's rules. */
int xd_scheduler_exit_code(const scheduler *self);
/* Tests that were collected, and those that have an outcome. */
void xd_scheduler_totals(const scheduler *self, uint32_t *ret_collected, uint32_t *ret_recorded);
/* Everything is decided: environments end, or have ended. */
bool xd_scheduler_closes(const scheduler *self);

/* scheduler_collection.c */
int  xd_scheduler_collections_init(scheduler *self) XD_MUST;
void xd_scheduler_collections_release(scheduler *self);
int  xd_scheduler_on_collected(scheduler *self, gateway *g, const xd_wire_COLLECTED *in) XD_MUST;
int  xd_scheduler_on_ids(scheduler *self, gateway *g, const xd_wire_COLLECT_IDS *in) XD_MUST;
int  xd_scheduler_on_agreed(scheduler *self, gateway *g) XD_MUST;
int  xd_scheduler_on_reorder(scheduler *self, gateway *g, const xd_msg *in) XD_MUST;
int  xd_scheduler_on_whole(scheduler *self, gateway *owner, uint16_t number) XD_MUST;
/* Starts the tests if the lists of all collections have come. Enough environments are ready (scheduler_quorum.c). */
int xd_scheduler_begin_if_all(scheduler *self) XD_MUST;
/* The tests of all collections begin. */
int xd_scheduler_begin(scheduler *self) XD_MUST;
int xd_scheduler_on_different(scheduler *self, gateway *g, xd_bytes text) XD_MUST;

/* scheduler_sets.c: MORE and REORDER of the collector. */
int xd_scheduler_on_more(scheduler *self, gateway *owner, const xd_msg *m) XD_MUST;
int xd_scheduler_take_places(gateway *g, const xd_msg *m) XD_MUST;
/* The core is about to be made: which items are of which set (c->sets). */
int xd_scheduler_make_sets(const scheduler *self, collection *c) XD_MUST;
/* The core is there, and this environment has other tests than were known: it gets them, and all sets anew. */
int xd_scheduler_grow(scheduler *self, collection *c) XD_MUST;
/* Why the tests of this environment, which `text` names as DIFFERENT has it, may be others. */
int xd_scheduler_likely_cause(scheduler *self, const gateway *g, xd_bytes text) XD_MUST;
/* An environment is there that has this test. */
bool xd_scheduler_others_have(const scheduler *self, const collection *c, uint32_t item);
/* Tells the core what this environment can run. 1 = it comes late, and lacks tests that all others have. */
int xd_scheduler_tell_sets(const gateway *g) XD_MUST;

/* An environment has collected, or never will: if the run waited for nothing else, it is over. */
int xd_scheduler_release(scheduler *self, collection *c) XD_MUST;
/* For the core, of the items from `first` on. */
void xd_scheduler_items(const scheduler *self, const collection *c, uint32_t first, xd_sched_item *out);

/* Nobody is left to run what waits: nothing of it is. */
int xd_scheduler_give_up_items(scheduler *self, collection *c) XD_MUST;

/* scheduler_quorum.c: something has happened to an environment before the tests: begins, waits or ends. */
int xd_scheduler_look(scheduler *self) XD_MUST;
/* When all is over: environments were lost before they could run a test, and without them there are fewer workers than
 * --min-workers wants. */
bool xd_scheduler_too_few(const scheduler *self);
int  xd_scheduler_settled(scheduler *self, uint64_t now_ns) XD_MUST; /* with every tick */
int  xd_scheduler_on_env_failed(scheduler *self, gateway *g, const xd_wire_ENV_FAILED *in) XD_MUST;

/* The workers of one that comes when the others have their numbers. 1 = there is no number left for it. */
int xd_scheduler_number_late(scheduler *self, gateway *g) XD_MUST;

/* scheduler_each.c */
/* Every environment has a collection of its own: the one with the number of its gateway. */
bool xd_scheduler_each(const scheduler *self);
/* --maxfail counts the failures of the run; a core knows only those of its own collection. */
bool xd_scheduler_enough(const scheduler *self);
/* The environment ends by itself with this code, unless it has one: nothing more begins there, others go on. (After the second and third
 * one of these the core of its collection is drained.) */
int xd_scheduler_end_own(scheduler *self, gateway *g, int code) XD_MUST;
int xd_scheduler_own_failed(scheduler *self, gateway *g, int code) XD_MUST; /* ... because it cannot run */
int xd_scheduler_own_session(scheduler *self, gateway *g, int code,
                             xd_bytes reason) XD_MUST; /* ... because a session there has ended */
/* The exit code of one environment as things stand, and the worst of all (exit_code.h). */
int xd_scheduler_own_code(const scheduler *self, const collection *c);
int xd_scheduler_worst_code(const scheduler *self);
/* Tests of one name have failed where one of them has: --lf runs them everywhere. The caller frees *ret, also on failure. */
bool xd_scheduler_failed(const collection *c, uint32_t item);
int  xd_scheduler_failed_anywhere(const scheduler *self, struct xd_scheduler_names **ret) XD_MUST;
bool xd_scheduler_failed_there(const struct xd_scheduler_names *n, const collection *c, uint32_t item);
void xd_scheduler_names_free(struct xd_scheduler_names *n);

/* scheduler_join.c */
/* Nobody has it. */
static inline bool xd_scheduler_empty_seat(const gateway *g)
{
    return g->seat && !g->came;
}
bool xd_scheduler_listens(const scheduler *self);
/* Somebody may still join, and is waited for where nobody else is left. */
bool xd_scheduler_hopes(const scheduler *self);
int  xd_scheduler_join_init(scheduler *self) XD_MUST;
int  xd_scheduler_on_joins(scheduler *self, const xd_joins *in) XD_MUST;
/* Of one that leaves and has no tests yet: it is hung up on, once it is up. */
int xd_scheduler_see_off(scheduler *self, gateway *g) XD_MUST;
int xd_scheduler_on_leaves(scheduler *self, gateway *g) XD_MUST;
/* Of one that leaves: asks it to end if it has nothing left to do. After whatever may change that. */
int xd_scheduler_let_leave(scheduler *self, gateway *g) XD_MUST;
/* It has joined while tests run, and has begun none: what is wrong with it is no matter of the run, which goes on without it. */
static inline bool xd_scheduler_is_late(const scheduler *self, const gateway *g)
{
    return g->came && !g->numbered && self->state != XD_RUN_COLLECTING;
}
/* No environment is left that could run what waits: others may join. 1 = they are waited for; 0 = nobody is. */
int xd_scheduler_wait_for_others(scheduler *self) XD_MUST;
int xd_scheduler_on_wait_over(scheduler *self, uint64_t now_ns) XD_MUST; /* with every tick */
int xd_scheduler_on_job(scheduler *self, bool over, xd_bytes line) XD_MUST;
/* Of --min-workers, or what stands for it; 0 = all that were asked for. */
uint32_t xd_scheduler_least(const scheduler *self);

/* scheduler_items.c: does what the core of this collection, or of all, wants done. */
int xd_scheduler_drain(scheduler *self, collection *c) XD_MUST;
int xd_scheduler_drain_all(scheduler *self) XD_MUST;
/* Starts no more items of any collection. */
int xd_scheduler_cancel(scheduler *self, uint8_t how) XD_MUST;

/* scheduler_running.c */
int xd_scheduler_on_progress(scheduler *self, gateway *g, const xd_wire_PROGRESS *in) XD_MUST;
/* Its agent is gone while its tests run: what ran there runs again, or is lost. */
int      xd_scheduler_lost(scheduler *self, const gateway *g) XD_MUST;
uint32_t xd_scheduler_attempts(const scheduler *self); /* most starts of a test (--on-lost) */
/* An item whose agent was lost in it gets its outcome. */
int xd_scheduler_record_lost(scheduler *self, collection *c, const xd_span *item) XD_MUST;

/* scheduler_results.c */
int xd_scheduler_on_results(scheduler *self, gateway *g, const xd_wire_RESULTS *in) XD_MUST;
int xd_scheduler_on_report(scheduler *self, gateway *g, const xd_wire_REPORT *in) XD_MUST;
/* XD_EVENT_TEST, where it is wanted; XD_NO_WORKER: nobody can tell. */
void xd_scheduler_tell_test(scheduler *self, collection *c, const xd_wire_RESULT *one, uint16_t worker);
/* Where outcomes of this kind are counted. */
uint32_t *xd_scheduler_counter(xd_result *r, uint8_t outcome);

/* scheduler_config.c; the first two: lines that xd_config_read left, and on what hosts get of the user's files. */
int xd_scheduler_tell_options(scheduler *self) XD_MUST;
int xd_scheduler_tell_sync(scheduler *self, const xd_sync_plan *sync) XD_MUST;
int xd_scheduler_tell_project(scheduler *self, const xd_project_told *told) XD_MUST;
int xd_scheduler_on_config(scheduler *self, gateway *g, const xd_wire_CONFIG *in) XD_MUST;

/* scheduler_actor.c: nothing more is heard of it, its gateway hangs up; its agent collects. */
int xd_scheduler_drop(scheduler *self, gateway *g, xd_bytes why) XD_MUST;
int xd_scheduler_start_environment(scheduler *self, gateway *g) XD_MUST;
/* A frame to the journal (_of: in the name of a gateway, because it has indices of items), to a gateway.  `frame` is
 * taken (emptied), except by _copy. */
int xd_scheduler_record(scheduler *self, uint16_t type, xd_buf *frame) XD_MUST;
int xd_scheduler_record_of(scheduler *self, uint16_t number, uint16_t type, xd_buf *frame) XD_MUST;
int xd_scheduler_send(scheduler *self, gateway *g, uint16_t type, xd_buf *frame) XD_MUST;
int xd_scheduler_send_copy(scheduler *self, gateway *g, uint16_t type, const xd_buf *frame) XD_MUST;
