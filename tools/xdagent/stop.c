/* CANCEL, FINISH, the dead-man, and that nothing stays behind. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define GRACE_NS (5 * XD_S_NS)       /* from QUIT to TERM, from TERM to KILL */
#define CLOSE_NS (5 * XD_S_NS)       /* for the last acknowledgement */
#define CANCEL_KILL_NS (1 * XD_S_NS) /* from TERM to KILL after the grace of CANCEL */

static int begin_phase(agent *a, agent_phase phase);

static void kill_workers(agent *a, int sig)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        if (!agent_worker_alive(w) || w->proc.pid <= 0)
            continue;
        w->killed = w->killed || sig == SIGTERM || sig == SIGKILL;
        xd_proc_kill_group(&w->proc, sig);
        if (sig == SIGTERM)
            xd_proc_kill_group(&w->proc, SIGCONT); /* a stopped process hears nothing else */
    }
}

int agent_cancel(agent *a, uint8_t how, uint32_t grace_ms)
{
    uint64_t now = xd_clock_ns();
    if (!a->env.page_made)
        return 0;
    xd_page_set(&a->env.page.head->stop, 1);
    if (a->queue && !a->cancelled) {
        a->cancelled = true;
        a->queue_dirty = true;
        int r = xd_aqueue_cancel(a->queue, now);
        XD_TRY(r);
    }
    if (how == 2) {
        a->term_ns = now + grace_ms * XD_MS_NS;
        a->kill_ns = a->term_ns + CANCEL_KILL_NS;
    } else if (how >= 3) {
        kill_workers(a, SIGKILL);
        if (!a->queue && a->env.host.pid > 0) { /* it is still collecting */
            a->env.failed = true;
            if (a->env.collector.pid > 0)
                xd_proc_kill_group(&a->env.collector, SIGKILL);
            xd_proc_kill_group(&a->env.host, SIGKILL);
        }
    }
    return 0;
}

void agent_pause(agent *a, bool on)
{
    int sig = on ? SIGSTOP : SIGCONT;
    for (uint32_t i = 0; i < a->slots; i++)
        if (agent_worker_alive(&a->worker[i]) && a->worker[i].proc.pid > 0)
            xd_proc_kill_group(&a->worker[i].proc, sig);
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
    XD_TRY(begin_phase(a, AGENT_ENDING_SESSIONS)); /* the workers first: the collector has to wait for them */
    if (a->env.collect.fd >= 0)
        XD_TRY(agent_chan_send(&a->env.collect, XD_MSG_FINISH, body, NULL, 0));
    return 0;
}

static int quit(agent_chan *to)
{
    return to->fd >= 0 ? agent_chan_send(to, XD_MSG_QUIT, (xd_bytes){ 0 }, NULL, 0) : 0;
}

static int quit_workers(agent *a)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        w->restart = false;
        if (!agent_worker_alive(w))
            continue;
        w->quit = true;
        XD_TRY(quit(&w->cmd));
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
    uint64_t now = xd_clock_ns();
    a->phase = phase;
    a->term_ns = a->kill_ns = UINT64_MAX;
    switch (phase) {
    case AGENT_ENDING_SESSIONS:
        a->term_ns = now + GRACE_NS;
        a->kill_ns = a->term_ns + GRACE_NS;
        return quit_workers(a);
    case AGENT_ENDING_PROCESSES:
        a->term_ns = now + GRACE_NS;
        a->kill_ns = a->term_ns + GRACE_NS;
        XD_TRY(quit(&a->env.collect));
        return quit(&a->env.control);
    case AGENT_CLOSING:
        agent_output_close(&a->env.out);
        agent_output_close(&a->env.err);
        agent_kill_leftover();
        a->kill_ns = now + CLOSE_NS;
        return say_done(a);
    case AGENT_RUNNING:
    case AGENT_OVER:
        break;
    }
    return 0;
}

/* No worker is inside of its session any more. What their processes still do the collector need not wait for;
 * when it or the host ends before them, they become children of this agent (subreaper). */
static bool sessions_over(const agent *a)
{
    for (uint32_t i = 0; i < a->slots; i++)
        if (agent_worker_alive(&a->worker[i]) && !a->worker[i].done)
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
        return agent_workers_alive(a) == 0 && e->collect.fd < 0 && e->host.pid <= 0;
    case AGENT_CLOSING:
        return agent_link_idle(a);
    case AGENT_RUNNING:
    case AGENT_OVER:
        break;
    }
    return false;
}

static void escalate(agent *a, int sig)
{
    agent_env *e = &a->env;
    kill_workers(a, sig);
    if (a->phase < AGENT_ENDING_PROCESSES)
        return;
    if (e->collector.pid > 0)
        xd_proc_kill_group(&e->collector, sig);
    else if (sig == SIGKILL)
        agent_chan_close(
            &e->collect); /* only a keeper of the cache is left: the sweep of leftovers gets it */
    if (e->host.pid > 0)
        xd_proc_kill_group(&e->host, sig);
}

int agent_stop_timers(agent *a, uint64_t now_ns)
{
    if (now_ns >= a->term_ns) {
        a->term_ns = UINT64_MAX;
        escalate(a, SIGTERM);
    }
    if (now_ns >= a->kill_ns) {
        a->kill_ns = UINT64_MAX;
        if (a->phase == AGENT_CLOSING)
            a->phase = AGENT_OVER;
        escalate(a, SIGKILL);
    }
    while (a->phase > AGENT_RUNNING && a->phase < AGENT_OVER && phase_over(a))
        XD_TRY(begin_phase(a, (agent_phase)(a->phase + 1)));
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
        over = ended(&a->worker[i].proc);
    return over;
}

/* The controller is gone: TERM to all, a moment, KILL to all. */
void agent_dead_man(agent *a)
{
    agent_env *e = &a->env;
    if (e->page_made)
        xd_page_set(&e->page.head->stop, 1);
    for (int round = 0; round < 2; round++) {
        int sig = round ? SIGKILL : SIGTERM;
        kill_workers(a, sig);
        if (e->collector.pid > 0)
            xd_proc_kill_group(&e->collector, sig);
        if (e->host.pid > 0)
            xd_proc_kill_group(&e->host, sig);
        for (int i = 0; i < 100 && !round && !all_ended(a); i++)
            nap_ms(10);
    }
    agent_kill_leftover();
}
