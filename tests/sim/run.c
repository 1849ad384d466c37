/* run.c - see sim.h: the life of a run (engine/run_table.h) under events in any order. Environments come up, collect, run,
 * are lost, leave and end; the user stops the run, somebody gives it up. The actions are those of the scheduler's actor. */
#include <stdio.h>

#include "engine/run_table.h"
#include "tests/sim/sim.h"

#define ENVIRONMENTS 4u
#define STEPS 4000u /* of a run: far more than one needs */

typedef enum env_state { DIALING, COLLECTING, LISTED, RUNNING, FINISHING, DONE, GONE } env_state;

typedef struct environment {
    env_state state;
    bool      finished; /* it was told to end */
    bool      leaving;  /* by its own wish */
} environment;

typedef struct run_world {
    sim_world    w; /* random numbers, hash, fault */
    xd_run_state state;
    environment  env[ENVIRONMENTS];
    uint32_t     n, items, left; /* tests; without an outcome */
    bool         each, begun, stopped, given_up, starved, ended;
} run_world;

static void happens(run_world *r, xd_run_event event, environment *e);

static uint32_t open_environments(const run_world *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++)
        n += r->env[i].state < DONE;
    return n;
}

static void close_env(run_world *r, environment *e)
{
    if (e->state == DIALING) {
        e->state = DONE;
    } else if (e->state < FINISHING) {
        if (e->finished)
            sim_fault(&r->w, "an environment is told twice to end");
        e->finished = true;
        e->state = FINISHING;
    }
}

static void close_all(run_world *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        close_env(r, &r->env[i]);
    if (open_environments(r) == 0)
        happens(r, XD_RUN_ON_ALL_CLOSED, NULL);
}

/* One list is enough where all share the tests; else everybody who is open has told its own. */
static void begin_if_all(run_world *r)
{
    uint32_t lists = 0, waits = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        waits += r->env[i].state < LISTED;
        lists += r->env[i].state == LISTED;
    }
    if (lists && !(r->each && waits) && !r->begun)
        happens(r, r->items ? XD_RUN_ON_TESTS : XD_RUN_ON_NO_TESTS, NULL);
}

static void all_done_if(run_world *r)
{
    bool somebody = false;
    for (uint32_t i = 0; i < r->n; i++)
        somebody |= r->env[i].state == RUNNING;
    r->starved |= !somebody && r->left;
    if (!somebody || !r->left)
        happens(r, XD_RUN_ON_ALL_DONE, NULL);
}

static void begin(run_world *r)
{
    if (r->begun)
        sim_fault(&r->w, "the tests begin twice");
    r->begun = true;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->env[i].state == LISTED)
            r->env[i].state = RUNNING;
}

static void happens(run_world *r, xd_run_event event, environment *e)
{
    const xd_run_step step = xd_run_table(r->state, event);
    if (r->w.trace)
        printf("run: %s, event %d: action %d, %s\n", xd_run_state_name(r->state), event, step.action,
               xd_run_state_name(step.next));
    sim_hash(&r->w, (uint64_t)r->state << 32 | (uint64_t)event << 16 | step.action);
    if (step.next < r->state)
        sim_fault(&r->w, "the run goes back from %s", xd_run_state_name(r->state));
    r->state = step.next;
    switch (step.action) {
    case XD_RUN_NOTHING:
        break;
    case XD_RUN_START_ENV:
        if (r->stopped || r->given_up)
            sim_fault(&r->w, "an environment is started in a run that stops");
        e->state = COLLECTING;
        break;
    case XD_RUN_GO_ON:
        begin_if_all(r);
        break;
    case XD_RUN_BEGIN:
        begin(r);
        break;
    case XD_RUN_CANCEL:
        r->left = XD_MIN(r->left, open_environments(r)); /* what runs may end */
        all_done_if(r);
        break;
    case XD_RUN_LOSE:
        if (!xd_run_tests(r->state))
            sim_fault(&r->w, "tests are lost in a run that runs none");
        all_done_if(r);
        break;
    case XD_RUN_CLOSE_ENV:
        close_env(r, e);
        break;
    case XD_RUN_CLOSE:
        close_all(r);
        break;
    case XD_RUN_END:
        if (r->ended || open_environments(r))
            sim_fault(&r->w, "the run ends %s", r->ended ? "twice" : "while an environment is open");
        r->ended = true;
    }
}

/* One that has left is no reason for the others to end. */
static bool gone_before_the_tests(run_world *r, environment *e)
{
    if (!e->leaving || r->state != XD_RUN_COLLECTING)
        return false;
    if (open_environments(r))
        begin_if_all(r);
    else
        happens(r, XD_RUN_ON_LAST_LOST, e);
    return true;
}

static void leave(run_world *r, environment *e)
{
    if (e->state < COLLECTING || e->state > RUNNING)
        return;
    e->leaving = true;
    happens(r, XD_RUN_ON_ENV_LEAVES, e);
}

/* What an environment does next. */
static void go_on(run_world *r, environment *e)
{
    switch (e->state) {
    case DIALING:
        happens(r, XD_RUN_ON_ENV_UP, e);
        break;
    case COLLECTING:
        e->state = LISTED;
        if (r->begun && xd_run_tests(r->state))
            e->state = RUNNING; /* it came late */
        else
            begin_if_all(r);
        break;
    case RUNNING:
        if (r->left && --r->left == 0)
            all_done_if(r);
        break;
    case FINISHING:
        e->state = DONE;
        happens(r, XD_RUN_ON_ENV_DONE, e);
        break;
    case DONE:
        e->state = GONE;
        if (!gone_before_the_tests(r, e))
            happens(r, XD_RUN_ON_ENV_CLOSED, e);
        break;
    case LISTED:
    case GONE:
        break;
    }
}

static void lose(run_world *r, environment *e)
{
    const bool wanted = e->state >= FINISHING, was = e->state < GONE;
    e->state = GONE;
    if (was && !gone_before_the_tests(r, e))
        happens(r,
                wanted                 ? XD_RUN_ON_ENV_CLOSED
                : open_environments(r) ? XD_RUN_ON_ENV_LOST
                                       : XD_RUN_ON_LAST_LOST,
                e);
}

static void one_step(run_world *r)
{
    sim_world   *w = &r->w;
    environment *e = &r->env[sim_rand(w, r->n)];
    uint32_t     what = sim_rand(w, 200);
    if (what == 0) {
        r->stopped = true;
        happens(r, XD_RUN_ON_STOP, NULL);
    } else if (what == 1 && sim_chance(w, 20)) {
        r->given_up = true;
        happens(r, XD_RUN_ON_OVER, NULL);
    } else if (what < 6) {
        lose(r, e);
    } else if (what < 9) {
        leave(r, e);
    } else {
        go_on(r, e);
    }
}

static void check(run_world *r, uint32_t steps)
{
    if (r->state != XD_RUN_ENDED || !r->ended)
        sim_fault(&r->w, "after %u steps the run is still %s", steps, xd_run_state_name(r->state));
    if (r->begun && r->left && !r->stopped && !r->given_up && !r->starved)
        sim_fault(&r->w, "%u tests were not run in a run that nobody stopped", r->left);
}

uint64_t sim_run(uint64_t seed, bool trace, char fault[256], uint64_t *events)
{
    run_world r = { .w = { .trace = trace, .seed = seed, .hash = 0xcbf29ce484222325ull } };
    r.w.rng = seed * 0x9e3779b97f4a7c15ull + 0x5bd1e995ull;
    for (int i = 0; i < 8; i++)
        (void)sim_rand(&r.w, 2);
    r.n = 1 + sim_rand(&r.w, ENVIRONMENTS);
    r.each = sim_chance(&r.w, 30);
    r.items = r.left = sim_chance(&r.w, 10) ? 0 : 1 + sim_rand(&r.w, 40);
    uint32_t steps = 0;
    while (steps < STEPS && r.state != XD_RUN_ENDED && !r.w.fault[0]) {
        one_step(&r);
        steps++;
    }
    check(&r, steps);
    *events += steps;
    if (r.w.fault[0])
        snprintf(fault, 256, "life of the run: %.200s", r.w.fault);
    else
        fault[0] = 0;
    return r.w.hash;
}
