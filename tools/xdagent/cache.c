/* What became of the tests here. When the controller is gone before it could say FINISH, this agent says it with what
 * it knows, so that the runner's --lf does, too: the collector writes it down. */
#include <signal.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/outcome.h"
#include "tools/xdagent/agent.h"

#define ENDED 1u
#define FAILED 2u
#define SAVE_NS (3 * XD_S_NS) /* for the collector to write its files */

int agent_cache_note(agent *a, uint32_t item, uint8_t outcome, bool failed)
{
    if (!a->env.keeps_cache || item >= a->env.list.count)
        return 0;
    if (!a->seen && !(a->seen = calloc(a->env.list.count, 1)))
        return -ENOMEM;
    failed |= xd_outcome_fails(outcome);
    a->seen[item] |= (uint8_t)((outcome ? ENDED : 0u) | (failed ? FAILED : 0u));
    return 0;
}

/* FINISH as the controller would make it of what was seen here. */
static int finish_body(const agent *a, xd_buf *out)
{
    xd_autobuf     failed = XD_BUF_INIT, not_run = XD_BUF_INIT;
    xd_wire_FINISH m = { .exit_status = 2 };
    for (uint32_t i = 0; i < a->env.list.count; i++) {
        xd_wire_INDEX one = { .item = i };
        if (!(a->seen[i] & ENDED)) {
            XD_TRY(xd_wire_INDEX_append(&not_run, &one));
            m.not_run.count++;
        } else if (a->seen[i] & FAILED) {
            XD_TRY(xd_wire_INDEX_append(&failed, &one));
            m.failed.count++;
        }
    }
    m.failed.ptr = failed.data;
    m.failed.len = failed.len;
    m.not_run.ptr = not_run.data;
    m.not_run.len = not_run.len;
    return xd_wire_FINISH_encode(out, &m);
}

/* Results that lie in the pipes of workers. */
static int read_on(agent *a)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        ssize_t       n = w->io.results.fd >= 0 ? agent_chan_pump(&w->io.results, AGENT_SCRATCH * 4) : 0;
        if (n < 0 && n != -EPIPE)
            return (int)n;
    }
    return 0;
}

int agent_cache_save(agent *a)
{
    agent_env *e = &a->env;
    xd_autobuf body = XD_BUF_INIT;
    if (!e->keeps_cache || !a->seen || e->failed || e->collect.fd < 0 || a->phase != AGENT_RUNNING)
        return 0;
    agent_page_stop(a);
    XD_TRY(read_on(a));
    XD_TRY(finish_body(a, &body));
    agent_pause(a, false); /* a stopped collector writes nothing */
    agent_chan_read(&e->collect, true);
    XD_TRY(agent_chan_send(&e->collect, XD_MSG_FINISH, xd_buf_view(&body), NULL, 0));
    uint64_t give_up = xd_clock_ns() + SAVE_NS;
    while (!e->saved && e->collect.fd >= 0 && xd_clock_ns() < give_up) {
        int r = xd_poller_wait(a->poller, give_up);
        XD_TRY(r);
    }
    return 0;
}
