/* The life of a run. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "engine/run_table.h"

#define NOTHING(state) XD_RUN_NOTHING, XD_RUN_##state
#define GOES(action, state) XD_RUN_##action, XD_RUN_##state

/* Every state x every event. */
START_TEST(all_of_it)
{
    static const struct {
        xd_run_state  state;
        xd_run_event  event;
        xd_run_action action;
        xd_run_state  next;
    } table[] = {
        { XD_RUN_COLLECTING, XD_RUN_ON_ENV_UP, GOES(START_ENV, COLLECTING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_TESTS, GOES(BEGIN, TESTING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_NO_TESTS, GOES(CLOSE, CLOSING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_ENV_LOST, GOES(GO_ON, COLLECTING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_LAST_LOST, GOES(CLOSE, CLOSING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_ENV_CLOSED, GOES(CLOSE, CLOSING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_ENV_DONE, NOTHING(COLLECTING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_ENV_LEAVES, GOES(CLOSE_ENV, COLLECTING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_STOP, GOES(CLOSE, CLOSING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_OVER, GOES(CLOSE, CLOSING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_ALL_DONE, NOTHING(COLLECTING) },
        { XD_RUN_COLLECTING, XD_RUN_ON_ALL_CLOSED, NOTHING(COLLECTING) },

        { XD_RUN_TESTING, XD_RUN_ON_ENV_UP, GOES(START_ENV, TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_TESTS, NOTHING(TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_NO_TESTS, NOTHING(TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_ENV_LOST, GOES(LOSE, TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_LAST_LOST, GOES(LOSE, TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_ENV_CLOSED, GOES(LOSE, TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_ENV_DONE, NOTHING(TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_ENV_LEAVES, GOES(CLOSE_ENV, TESTING) },
        { XD_RUN_TESTING, XD_RUN_ON_STOP, GOES(CANCEL, STOPPING) },
        { XD_RUN_TESTING, XD_RUN_ON_OVER, GOES(CLOSE, CLOSING) },
        { XD_RUN_TESTING, XD_RUN_ON_ALL_DONE, GOES(CLOSE, CLOSING) },
        { XD_RUN_TESTING, XD_RUN_ON_ALL_CLOSED, NOTHING(TESTING) },

        { XD_RUN_STOPPING, XD_RUN_ON_ENV_UP, GOES(CLOSE_ENV, STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_TESTS, NOTHING(STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_NO_TESTS, NOTHING(STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_ENV_LOST, GOES(LOSE, STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_LAST_LOST, GOES(LOSE, STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_ENV_CLOSED, GOES(LOSE, STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_ENV_DONE, NOTHING(STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_ENV_LEAVES, GOES(CLOSE_ENV, STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_STOP, GOES(CANCEL, STOPPING) },
        { XD_RUN_STOPPING, XD_RUN_ON_OVER, GOES(CLOSE, CLOSING) },
        { XD_RUN_STOPPING, XD_RUN_ON_ALL_DONE, GOES(CLOSE, CLOSING) },
        { XD_RUN_STOPPING, XD_RUN_ON_ALL_CLOSED, NOTHING(STOPPING) },

        { XD_RUN_CLOSING, XD_RUN_ON_ENV_UP, GOES(CLOSE_ENV, CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_TESTS, NOTHING(CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_NO_TESTS, NOTHING(CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_ENV_LOST, GOES(CLOSE, CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_LAST_LOST, GOES(CLOSE, CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_ENV_CLOSED, GOES(CLOSE, CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_ENV_DONE, GOES(CLOSE, CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_ENV_LEAVES, NOTHING(CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_STOP, NOTHING(CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_OVER, GOES(CLOSE, CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_ALL_DONE, NOTHING(CLOSING) },
        { XD_RUN_CLOSING, XD_RUN_ON_ALL_CLOSED, GOES(END, ENDED) },
    };
    bool seen[XD_RUN_STATES][XD_RUN_EVENTS] = { { false } };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_run_step step = xd_run_table(table[i].state, table[i].event);
        ck_assert_msg(step.action == table[i].action && step.next == table[i].next,
                      "%s, event %d: action %d, %s", xd_run_state_name(table[i].state), table[i].event,
                      step.action, xd_run_state_name(step.next));
        ck_assert(!seen[table[i].state][table[i].event]);
        seen[table[i].state][table[i].event] = true;
    }
    ck_assert_uint_eq(XD_ARRAY_LEN(table), XD_RUN_ENDED * XD_RUN_EVENTS);
}
END_TEST

START_TEST(nothing_happens_to_a_run_that_has_ended)
{
    for (int e = 0; e < XD_RUN_EVENTS; e++) {
        xd_run_step step = xd_run_table(XD_RUN_ENDED, (xd_run_event)e);
        ck_assert(step.action == XD_RUN_NOTHING && step.next == XD_RUN_ENDED);
    }
}
END_TEST

/* A run never goes back, and from everywhere it comes to its end. */
START_TEST(forwards_to_the_end)
{
    for (int s = 0; s < XD_RUN_ENDED; s++) {
        int best = s;
        for (int e = 0; e < XD_RUN_EVENTS; e++) {
            xd_run_step step = xd_run_table((xd_run_state)s, (xd_run_event)e);
            ck_assert_int_ge((int)step.next, s);
            ck_assert(step.next != XD_RUN_ENDED || (s == XD_RUN_CLOSING && step.action == XD_RUN_END));
            best = XD_MAX(best, (int)step.next);
        }
        ck_assert_int_gt(best, s);
        ck_assert_int_eq(xd_run_tests((xd_run_state)s), s == XD_RUN_TESTING || s == XD_RUN_STOPPING);
    }
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("run_table");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, all_of_it);
    tcase_add_test(t, nothing_happens_to_a_run_that_has_ended);
    tcase_add_test(t, forwards_to_the_end);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
