/* engine/run_table.c - see run_table.h. */
#include "engine/run_table.h"

#define GOES(action, next)                   \
    {                                        \
        XD_RUN_##action, XD_RUN_##next, true \
    }

/* What is not written here means nothing in that state: no action, and the state stays. */
static const struct {
    xd_run_action action;
    xd_run_state  next;
    bool          takes;
} life[XD_RUN_STATES][XD_RUN_EVENTS] = {
    [XD_RUN_COLLECTING] = {
        [XD_RUN_ON_ENV_UP] = GOES(START_ENV, COLLECTING),
        [XD_RUN_ON_TESTS] = GOES(BEGIN, TESTING),
        [XD_RUN_ON_NO_TESTS] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_ENV_LOST] = GOES(GO_ON, COLLECTING),
        [XD_RUN_ON_LAST_LOST] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_ENV_CLOSED] = GOES(CLOSE, CLOSING), /* it has nothing to collect: nor have the others */
        [XD_RUN_ON_ENV_LEAVES] = GOES(CLOSE_ENV, COLLECTING),
        [XD_RUN_ON_STOP] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_OVER] = GOES(CLOSE, CLOSING),
    },
    [XD_RUN_TESTING] = {
        [XD_RUN_ON_ENV_UP] = GOES(START_ENV, TESTING), /* a late one: it collects, and gets what is left */
        [XD_RUN_ON_ENV_LOST] = GOES(LOSE, TESTING),
        [XD_RUN_ON_LAST_LOST] = GOES(LOSE, TESTING),
        [XD_RUN_ON_ENV_CLOSED] = GOES(LOSE, TESTING),
        [XD_RUN_ON_ENV_LEAVES] = GOES(CLOSE_ENV, TESTING),
        [XD_RUN_ON_STOP] = GOES(CANCEL, STOPPING),
        [XD_RUN_ON_OVER] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_ALL_DONE] = GOES(CLOSE, CLOSING),
    },
    [XD_RUN_STOPPING] = {
#if XD_PLANTED_BUG == 30
        [XD_RUN_ON_ENV_UP] = GOES(START_ENV, STOPPING),
#else
        [XD_RUN_ON_ENV_UP] = GOES(CLOSE_ENV, STOPPING),
#endif
        [XD_RUN_ON_ENV_LOST] = GOES(LOSE, STOPPING),
        [XD_RUN_ON_LAST_LOST] = GOES(LOSE, STOPPING),
        [XD_RUN_ON_ENV_CLOSED] = GOES(LOSE, STOPPING),
        [XD_RUN_ON_ENV_LEAVES] = GOES(CLOSE_ENV, STOPPING),
        [XD_RUN_ON_STOP] = GOES(CANCEL, STOPPING), /* less patiently than before */
        [XD_RUN_ON_OVER] = GOES(CLOSE, CLOSING),
#if XD_PLANTED_BUG != 31
        [XD_RUN_ON_ALL_DONE] = GOES(CLOSE, CLOSING),
#endif
    },
    [XD_RUN_CLOSING] = {
        [XD_RUN_ON_ENV_UP] = GOES(CLOSE_ENV, CLOSING),
        [XD_RUN_ON_ENV_LOST] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_LAST_LOST] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_ENV_CLOSED] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_ENV_DONE] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_OVER] = GOES(CLOSE, CLOSING),
        [XD_RUN_ON_ALL_CLOSED] = GOES(END, ENDED),
    },
};

xd_run_step xd_run_table(xd_run_state state, xd_run_event event)
{
    if (!life[state][event].takes)
        return (xd_run_step){ XD_RUN_NOTHING, state };
    return (xd_run_step){ life[state][event].action, life[state][event].next };
}

bool xd_run_tests(xd_run_state state)
{
    return state == XD_RUN_TESTING || state == XD_RUN_STOPPING;
}

const char *xd_run_state_name(xd_run_state state)
{
    static const char *const names[] = { "collecting", "testing", "stopping", "closing", "ended" };
    return names[state];
}
