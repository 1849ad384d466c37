/* The life of a worker: state x event -> action, next state. Whatever happens to a worker comes through
 * agent_worker_on(); nothing else moves its state.
 *
 *   NONE -> FORKING -> STARTING -> UP -> LEAVING -> GONE -> NONE
 *
 * Every state ends: FORKING with the answer, or with the process that was asked; those with a process of their
 * own with that process; GONE after the time its status is awaited. What a signal of ours does not end within
 * AGENT_KILL_NS is given up (OVERDUE). */
#include "tools/xdagent/agent.h"

typedef int (*action)(agent_worker *w, const agent_news *news);

typedef struct transition {
    bool               takes; /* false: the event means nothing here */
    agent_worker_state next;  /* entered before the action, which may move on from there */
    action             act;   /* NULL = none */
} transition;

static int out_of_turn(agent_worker *w, const agent_news *news)
{
    (void)w;
    (void)news;
    return -EPROTO;
}

#define GOES(next, act)                  \
    {                                    \
        true, AGENT_WORKER_##next, (act) \
    }

static const transition life[AGENT_WORKER_STATES][AGENT_EVENTS] = {
    [AGENT_WORKER_NONE] = {
        [AGENT_ON_FORK] = GOES(FORKING, NULL),
    },
    [AGENT_WORKER_FORKING] = {
        [AGENT_ON_BORN] = GOES(STARTING, agent_act_born),
        [AGENT_ON_UNBORN] = GOES(NONE, agent_act_unborn),
        [AGENT_ON_READY] = GOES(FORKING, out_of_turn), /* its number comes with it, as BORN */
        [AGENT_ON_DONE] = GOES(FORKING, NULL), /* noted: it is said again once its number is known */
        [AGENT_ON_PIPE_END] = GOES(FORKING, agent_act_silent),
        [AGENT_ON_PARENT_END] = GOES(FORKING, agent_act_orphan), /* BORN or UNBORN */
        [AGENT_ON_KILL] = GOES(FORKING, agent_act_kill_parent), /* so PARENT_END comes */
        [AGENT_ON_OVERDUE] = GOES(NONE, agent_act_unborn),
    },
    [AGENT_WORKER_STARTING] = {
        [AGENT_ON_READY] = GOES(UP, agent_act_up),
        [AGENT_ON_DONE] = GOES(LEAVING, NULL),
        [AGENT_ON_PIPE_END] = GOES(STARTING, agent_act_silent),
        [AGENT_ON_EXIT] = GOES(GONE, agent_act_gone),
        [AGENT_ON_TERM] = GOES(STARTING, agent_act_term),
        [AGENT_ON_KILL] = GOES(STARTING, agent_act_kill),
        [AGENT_ON_OVERDUE] = GOES(STARTING, agent_act_overdue),
    },
    [AGENT_WORKER_UP] = {
        [AGENT_ON_READY] = GOES(UP, out_of_turn),
        [AGENT_ON_DONE] = GOES(LEAVING, NULL),
        [AGENT_ON_PIPE_END] = GOES(UP, agent_act_silent),
        [AGENT_ON_EXIT] = GOES(GONE, agent_act_gone),
        [AGENT_ON_TERM] = GOES(UP, agent_act_term),
        [AGENT_ON_KILL] = GOES(UP, agent_act_kill),
        [AGENT_ON_OVERDUE] = GOES(UP, agent_act_overdue),
    },
    [AGENT_WORKER_LEAVING] = { /* its session is over: exit handlers, threads */
        [AGENT_ON_EXIT] = GOES(GONE, agent_act_gone),
        [AGENT_ON_TERM] = GOES(LEAVING, agent_act_term),
        [AGENT_ON_KILL] = GOES(LEAVING, agent_act_kill),
        [AGENT_ON_OVERDUE] = GOES(LEAVING, agent_act_overdue),
    },
    [AGENT_WORKER_GONE] = {
        [AGENT_ON_STATUS] = GOES(GONE, agent_act_status),
        [AGENT_ON_SETTLED] = GOES(NONE, agent_act_conclude),
        [AGENT_ON_OVERDUE] = GOES(NONE, agent_act_conclude), /* its status stays unknown */
    },
};

int agent_worker_on(agent_worker *w, agent_event event, const agent_news *news)
{
    static const agent_news nothing = { 0 };
    const transition       *t = &life[w->state][event];
    if (!t->takes)
        return 0;
    w->state = t->next;
    return t->act ? t->act(w, news ? news : &nothing) : 0;
}

int agent_workers_on(agent *a, agent_event event, const agent_news *news)
{
    for (uint32_t i = 0; i < a->slots; i++)
        XD_TRY(agent_worker_on(&a->worker[i], event, news));
    return 0;
}
