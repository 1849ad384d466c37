/* engine/run_table.h - the life of a run: state x event -> action, next state. Pure: the scheduler's actor carries the
 * actions out (actors/scheduler.c: xd_scheduler_happens), the simulator runs the same table (tests/sim/run.c).
 *
 *   COLLECTING -> TESTING -> STOPPING -> CLOSING -> ENDED
 *
 * Each of the first three may go straight to CLOSING. Every state ends: COLLECTING with the lists or the last environment,
 * TESTING and STOPPING with ALL_DONE (the scheduling cores say it of every set of tests, sched.h), CLOSING once no
 * environment is open. */
#pragma once
#include <stdbool.h>

typedef enum xd_run_state {
    XD_RUN_COLLECTING, /* environments come up and collect; no test has begun */
    XD_RUN_TESTING,
    XD_RUN_STOPPING, /* nothing new starts; what runs may end */
    XD_RUN_CLOSING,  /* everything is decided: environments end */
    XD_RUN_ENDED,    /* RUN_END is written */
    XD_RUN_STATES,
} xd_run_state;

typedef enum xd_run_event {
    XD_RUN_ON_ENV_UP,     /* the session with an agent stands */
    XD_RUN_ON_TESTS,      /* the lists of all environments are there, and there is something to run */
    XD_RUN_ON_NO_TESTS,   /* ... and there is nothing to run */
    XD_RUN_ON_ENV_LOST,   /* nobody asked an environment to end; others are open */
    XD_RUN_ON_LAST_LOST,  /* ... it was the last one */
    XD_RUN_ON_ENV_CLOSED, /* an environment has ended as it should, or was given up before */
    XD_RUN_ON_ENV_DONE,   /* all of its processes have ended; its session will */
    XD_RUN_ON_ENV_LEAVES, /* an environment wants to end before the run does, and has nothing left to do */
    XD_RUN_ON_STOP,       /* the user, a test, an environment or a fault wants the run to stop */
    XD_RUN_ON_OVER, /* the run is over whatever runs: an option is refused, a session ended while it collected */
    XD_RUN_ON_ALL_DONE,   /* every test has its outcome, or will not run */
    XD_RUN_ON_ALL_CLOSED, /* no environment is open */
    XD_RUN_EVENTS,
} xd_run_event;

typedef enum xd_run_action {
    XD_RUN_NOTHING,
    XD_RUN_START_ENV, /* the environment of the event collects */
    XD_RUN_GO_ON,     /* without the environment of the event */
    XD_RUN_BEGIN,     /* the tests */
    XD_RUN_CANCEL,    /* nothing new starts */
    XD_RUN_LOSE,      /* what ran in the environment of the event runs again, or is lost */
    XD_RUN_CLOSE_ENV, /* the environment of the event: there is nothing for it to do */
    XD_RUN_CLOSE,     /* all that are open */
    XD_RUN_END,       /* RUN_END */
} xd_run_action;

typedef struct xd_run_step {
    xd_run_action action;
    xd_run_state  next; /* entered before the action, which may move on from there */
} xd_run_step;

xd_run_step xd_run_table(xd_run_state state, xd_run_event event);
/* Tests may run: results are expected, and a lost environment takes some along. */
bool xd_run_tests(xd_run_state state);
/* For people and traces: "collecting" ... "ended". */
const char *xd_run_state_name(xd_run_state state);
