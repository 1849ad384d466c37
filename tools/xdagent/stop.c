/* CANCEL, FINISH, the dead-man, and that nothing stays behind. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define GRACE_NS \
    (5 * XD_S_NS) /* of processes whose end nobody has a use for, from QUIT to TERM, from TERM to KILL */
#define CLOSE_NS (5 * XD_S_NS)   /* for the last acknowledgement */
#define TERM_NS (1 * XD_S_NS)    /* from TERM to KILL, where a time is over that somebody set */
#define WAITING_NS (5 * XD_S_NS) /* then it is said what is waited for; then at doubled times, up to */
#define WAITING_MOST_NS (60 * XD_S_NS)
#define NAMES_MAX 4

static int begin_phase(agent *a, agent_phase phase);

/* The deadlines of the phase: what the user said who wants to leave holds in every phase, and in the last one leaves
 * a moment for the collector's cache. */
static void set_deadlines(agent *a, uint64_t term_ns, uint64_t kill_ns)
{
    uint64_t term = a->leave_ns, kill = UINT64_MAX;
    if (term != UINT64_MAX && a->phase == AGENT_ENDING_PROCESSES)
        term += 2 * TERM_NS;
    if (term != UINT64_MAX)
        kill = term + TERM_NS;
    a->term_ns = XD_MIN(term_ns, term);
    a->kill_ns = XD_MIN(kill_ns, kill);
}

static int kill_all_now(agent *a)
{
    agent_env *e = &a->env;
    XD_TRY(agent_workers_on(a, AGENT_ON_KILL, NULL));
    if (a->queue)
        return 0;
    e->failed = e->killed = true; /* it is still collecting */
    (void)xd_proc_kill_group(&e->collector, SIGKILL);
    return xd_proc_kill_group(&e->host, SIGKILL);
}

int agent_cancel(agent *a, const xd_wire_CANCEL *m)
{
    uint64_t now = xd_clock_ns();
    if (!a->env.page_made)
        return 0;
    agent_page_stop(a);
    if (a->queue && !a->cancelled) {
        a->cancelled = true;
        a->queue_dirty = true;
        int r = xd_aqueue_cancel(a->queue, now);
        XD_TRY(r);
    }
    if (m->how < XD_CANCEL_GRACE)
        return 0;
    uint64_t term = m->how == XD_CANCEL_GRACE ? now + m->grace_ms * XD_MS_NS : now;
    if (m->leaving || m->how > XD_CANCEL_GRACE)
        a->leave_ns = XD_MIN(a->leave_ns, term);
    if (a->phase == AGENT_RUNNING)
        set_deadlines(a, term, term + TERM_NS);
    else
        set_deadlines(a, a->term_ns, a->kill_ns);
    return m->how > XD_CANCEL_GRACE ? kill_all_now(a) : 0;
}

void agent_pause(agent *a, bool on)
{
    if (!a->env.runner)
        return;
    int sig = on ? a->env.runner->ops->pause_signal : SIGCONT;
    for (uint32_t i = 0; i < a->slots; i++)
        if (agent_worker_alive(&a->worker[i]) && a->worker[i].process.proc.pid > 0)
            xd_proc_kill_group(&a->worker[i].process.proc, sig);
    if (a->env.collector.pid > 0)
        xd_proc_kill_group(&a->env.collector, sig);
    if (a->env.host.pid > 0)
        xd_proc_kill_group(&a->env.host, sig);
}

/* ---- FINISH: workers, collector, host, what they left, ENV_DONE, BYE ----------------------------------- */

int agent_finish(agent *a, xd_bytes body)
{
    xd_wire_FINISH m;
    XD_TRY(xd_wire_FINISH_decode(body.ptr, body.len, &m));
    if (a->phase != AGENT_RUNNING)
        return 0;
    a->shutdown_ns = XD_MIN(m.shutdown_ms, UINT64_MAX / XD_MS_NS / 4) * XD_MS_NS;
    XD_TRY(begin_phase(a, AGENT_ENDING_SESSIONS)); /* the workers first: the collector has to wait for them */
    return agent_env_finish(a, body, &m);
}

static int quit(agent_chan *to)
{
    return to->fd >= 0 ? agent_chan_send(to, XD_MSG_QUIT, (xd_bytes){ 0 }, NULL, 0) : 0;
}

static int quit_workers(agent *a)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        w->end.restart = false;
        if (!agent_worker_alive(w))
            continue;
        w->end.quit = true;
        XD_TRY(quit(&w->io.cmd));
    }
    return 0;
}

static int say_done(agent *a)
{
    xd_autobuf       body = XD_BUF_INIT;
    xd_wire_ENV_DONE m = { .exit_status = a->highest_status,
                           .agent_cpu_us = xd_clock_cpu_us(),
                           .workers_cpu_us = xd_os_children_cpu_us(),
                           .stream_bytes = agent_link_bytes(a) };
    XD_TRY(xd_wire_ENV_DONE_encode(&body, &m));
    XD_TRY(agent_link_send(a, XD_MSG_ENV_DONE, xd_buf_view(&body)));
    xd_wire_BYE bye = { .status = 0 };
    xd_buf_clear(&body);
    XD_TRY(xd_wire_BYE_encode(&body, &bye));
    return agent_link_send(a, XD_MSG_BYE, xd_buf_view(&body));
}

static int begin_phase(agent *a, agent_phase phase)
{
    const agent_env *e = &a->env;
    uint64_t         now = xd_clock_ns();
    a->phase = phase;
    a->phase_ns = now;
    a->phase_by_ns = UINT64_MAX;
    a->waiting_ns = phase < AGENT_CLOSING ? now + WAITING_NS : UINT64_MAX;
    if (e->failed || !e->list.over) /* there was no session, or it is of no use */
        set_deadlines(a, now + GRACE_NS, now + 2 * GRACE_NS);
    else if (a->shutdown_ns)
        set_deadlines(a, now + a->shutdown_ns, now + a->shutdown_ns + TERM_NS);
    else
        set_deadlines(a, UINT64_MAX, UINT64_MAX);
    switch (phase) {
    case AGENT_ENDING_SESSIONS:
        return quit_workers(a);
    case AGENT_ENDING_PROCESSES:
        XD_TRY(agent_env_quit(a));
        return quit(&a->env.control);
    case AGENT_CLOSING:
        agent_output_close(&a->env.out);
        agent_output_close(&a->env.err);
        agent_kill_leftover();
        a->term_ns = UINT64_MAX;
        a->kill_ns = now + CLOSE_NS;
        return say_done(a);
    case AGENT_RUNNING:
    case AGENT_OVER:
        break;
    }
    return 0;
}

/* ---- what is waited for --------------------------------------------------------------------------------- */

/* What the worker is at, as far as it is known. */
static const char *doing(const agent_worker *w)
{
    const char *const *what = w->agent->env.runner->ops->endings;
    uint32_t           n = xd_page_get(&w->agent->env.page.slot[w->slot].ending);
    for (uint32_t i = 0; what[i]; i++)
        if (i == n)
            return what[i];
    return "";
}

static bool waited_for(const agent *a, const agent_worker *w)
{
    return agent_worker_alive(w) && !(a->phase == AGENT_ENDING_SESSIONS && w->state == AGENT_WORKER_LEAVING);
}

/* "gw0 (exit handlers), gw3 and 4 more"; the process beside them when no worker is left. */
static int add_waited_for(const agent *a, xd_buf *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->slots; i++) {
        const agent_worker *w = &a->worker[i];
        if (waited_for(a, w) && n++ < NAMES_MAX)
            XD_TRY(xd_buf_printf(out, "%s%s%s", n > 1 ? ", " : "", agent_worker_name(w).text, doing(w)));
    }
    if (n > NAMES_MAX)
        return xd_buf_printf(out, " and %u more", (unsigned)(n - NAMES_MAX));
    if (n)
        return 0;
    bool collector = a->env.collector.pid > 0 || a->env.collect.fd >= 0;
    return xd_buf_add_str(out, collector ? "the process that collected the tests" : "the runner host");
}

/* A session that runs alone waits as well, but there it can be seen. */
static int say_waiting(agent *a, uint64_t now_ns)
{
    xd_autobuf names = XD_BUF_INIT;
    uint64_t   waited = now_ns - a->phase_ns;
    a->waiting_ns = now_ns + XD_MIN(waited, (uint64_t)WAITING_MOST_NS);
    XD_TRY(add_waited_for(a, &names));
    return agent_note(a, XD_NOTE_NOTE, false,
                      "all tests are done; waiting for %llu s for the end of %s; Ctrl-C ends it",
                      (unsigned long long)(waited / XD_S_NS), xd_buf_cstr(&names));
}

/* A time is over that somebody set: those that are ended now did not end as they wanted. */
static int say_cut(agent *a, uint64_t now_ns)
{
    xd_autobuf names = XD_BUF_INIT;
    if (a->phase == AGENT_RUNNING || a->env.failed || !a->env.list.over)
        return 0;
    XD_TRY(add_waited_for(a, &names));
    bool leaving = now_ns >= a->leave_ns;
    return agent_note(a, XD_NOTE_WARNING, true, "%s: ended after %.1f s, %s", xd_buf_cstr(&names),
                      (double)(now_ns - a->phase_ns) / (double)XD_S_NS,
                      leaving ? "because the run was interrupted"
                              : "which is the limit of --shutdown-timeout");
}

/* ---- the phases ----------------------------------------------------------------------------------------- */

/* No worker is inside of its session any more. What their processes still do the collector need not wait for;
 * when it or the host ends before them, they become children of this agent (subreaper). */
static bool sessions_over(const agent *a)
{
    for (uint32_t i = 0; i < a->slots; i++)
        if (agent_worker_alive(&a->worker[i]) && a->worker[i].state != AGENT_WORKER_LEAVING)
            return false;
    return true;
}

static bool phase_over(const agent *a)
{
    const agent_env *e = &a->env;
    switch (a->phase) {
    case AGENT_ENDING_SESSIONS:
        return sessions_over(a);
    case AGENT_ENDING_PROCESSES: /* end of file: the last process that had the collector's job is gone */
        return agent_workers_alive(a) == 0 && e->collect.fd < 0 && e->collector.pid <= 0 && e->host.pid <= 0;
    case AGENT_CLOSING:
        return agent_link_idle(a);
    case AGENT_RUNNING:
    case AGENT_OVER:
        break;
    }
    return false;
}

static int escalate(agent *a, int sig)
{
    agent_env *e = &a->env;
    XD_TRY(agent_workers_on(a, sig == SIGKILL ? AGENT_ON_KILL : AGENT_ON_TERM, NULL));
    if (a->phase != AGENT_ENDING_PROCESSES)
        return 0;
    e->killed = true;
    if (e->collector.pid > 0)
        (void)xd_proc_kill_group(&e->collector, sig);
    else if (sig == SIGKILL)
        agent_chan_close(
            &e->collect); /* only a keeper of the cache is left: the sweep of leftovers gets it */
    return xd_proc_kill_group(&e->host, sig);
}

int agent_stop_timers(agent *a, uint64_t now_ns)
{
    if (now_ns >= a->term_ns) {
        a->term_ns = UINT64_MAX;
        XD_TRY(say_cut(a, now_ns));
        XD_TRY(escalate(a, SIGTERM));
    }
    if (now_ns >= a->kill_ns) {
        a->kill_ns = UINT64_MAX;
        a->phase_by_ns = now_ns + AGENT_KILL_NS + XD_S_NS;
        if (a->phase == AGENT_CLOSING && agent_link_away(&a->link)) {
            a->kill_ns = now_ns + CLOSE_NS; /* give_up_ns of the link is its limit */
            a->phase_by_ns = UINT64_MAX;
        } else if (a->phase == AGENT_CLOSING) {
            a->phase = AGENT_OVER;
        }
        XD_TRY(escalate(a, SIGKILL));
    }
    while (a->phase > AGENT_RUNNING && a->phase < AGENT_OVER && (phase_over(a) || now_ns >= a->phase_by_ns))
        XD_TRY(begin_phase(a, (agent_phase)(a->phase + 1)));
    if (now_ns >= a->waiting_ns)
        XD_TRY(say_waiting(a, now_ns));
    return 0;
}

/* ---- nothing stays behind ------------------------------------------------------------------------------ */

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * (long)XD_MS_NS }, NULL);
}

/* Orphans are our children (subreaper): whoever is found there is killed, until nobody comes any more. Their
 * children come to us in turn. */
void agent_kill_leftover(void)
{
    xd_os_kill_children(3 * XD_S_NS);
}

static bool ended(const xd_proc *p)
{
    struct pollfd f = { .fd = p->pidfd, .events = POLLIN };
    return p->pid <= 0 || p->pidfd < 0 || poll(&f, 1, 0) != 0;
}

/* Nothing is waited for meanwhile: the numbers must stay theirs until the second signal is sent. */
static bool all_ended(const agent *a)
{
    bool over = ended(&a->env.host) && ended(&a->env.collector);
    for (uint32_t i = 0; i < a->slots && over; i++)
        over = ended(&a->worker[i].process.proc);
    return over;
}

/* The controller is gone: TERM to all, a moment, KILL to all. */
void agent_dead_man(agent *a)
{
    agent_env *e = &a->env;
    agent_page_stop(a);
    for (int round = 0; round < 2; round++) {
        int sig = round ? SIGKILL : SIGTERM;
        if (agent_workers_on(a, round ? AGENT_ON_KILL : AGENT_ON_TERM, NULL) < 0)
            break;
        (void)xd_proc_kill_group(&e->collector, sig);
        (void)xd_proc_kill_group(&e->host, sig);
        for (int i = 0; i < 100 && !round && !all_ended(a); i++)
            nap_ms(10);
    }
    agent_kill_leftover();
}
