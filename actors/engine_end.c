/* actors/engine_end.c - see engine_state.h: messages and events for the user, the thread that watches a run, and the end of the run. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/engine_state.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "gateways/gateway.h"

#define CLOSE_NS (15 * XD_S_NS)       /* for a gateway: its agent kills what does not end within 10 s */
#define REPORT_STOP_NS (10 * XD_S_NS) /* for reporters once the user wants to leave */
#define AGENT_STOP_NS (15 * XD_S_NS)  /* for agents then: they kill what does not end at once */

/* ---- messages and events ---------------------------------------------------------------------------------- */

void xd_engine_say_line(xd_engine *e, const char *line)
{
    xd_autobuf out = XD_BUF_INIT;
    if (e->err_fd >= 0 && xd_buf_printf(&out, "xdctl: %s\n", line) == 0)
        (void)!write(e->err_fd, out.data, out.len);
}

void xd_engine_on_event(void *arg, const xd_event *ev)
{
    xd_engine *x = arg;
    xd_event   sized = *ev;
    sized.size = sizeof(sized);
    if (x->callback)
        x->callback(x->callback_arg, &sized);
    else
        (void)!xd_events_add(&x->events, ev);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void say_stuck(void *arg, const char *address)
{
    char line[128];
    snprintf(line, sizeof(line), "a part of the engine (%s) does not end and is abandoned", address);
    xd_engine_say_line(arg, line);
}

void xd_engine_close(xd_engine *x)
{
    int fault = 0;
    /* Gateways are asked all at once, so that they end side by side. */
    for (size_t i = 0; x->gateways && x->supervisor && i < x->plan.count; i++) {
        char address[XD_ADDRESS_LEN];
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        xd_supervisor_ask_stop(x->supervisor, address);
    }
    xd_sync_start_stop(x->sync_start);
    x->left = xd_supervisor_stop(x->supervisor, CLOSE_NS, say_stuck, x) > 0;
    if (!x->left)
        xd_engine_listen_end(x);
    xd_engine_slurm_end(x);                                  /* most tasks end because the run is over */
    for (size_t i = 0; x->scratch && i < x->plan.count; i++) /* left by an agent that was killed */
        if (x->scratch[i] && xd_path_is_dir(x->scratch[i]))
            (void)xd_path_remove_tree(x->scratch[i]);
    if (x->adopts) /* the gateways have ended their agents: who is found now has lost them */
        xd_os_kill_children(3 * XD_S_NS);
    pthread_mutex_lock(&x->lock);
    x->starting = x->running = false;
    pthread_mutex_unlock(&x->lock);
    if (x->left)
        return; /* the broker and its context serve those that are left */
    x->supervisor = NULL;
    if (x->bus)
        xd_broker_close(x->broker, x->bus, NULL, &fault);
    x->bus = xd_bus_free(x->bus);
    x->own_broker = xd_broker_stop(x->own_broker);
    if (fault < 0 && x->result.exit_code == 0)
        x->result.exit_code = XD_EXIT_INCOMPLETE;
}

/* Waits for the end of an actor: 0 = it has ended, 1 = the broker says that nothing goes on, -ETIMEDOUT = the user
 * wants to leave, and has waited for it since. */
static int wait_actor(xd_engine *x, const char *address, int broken_fd, uint64_t patience_ns, int *reason)
{
    uint64_t leave_at = 0;
    for (;;) {
        int r = xd_supervisor_wait(x->supervisor, address, broken_fd, xd_clock_ns() + 100 * XD_MS_NS, reason);
        if (r != -ETIMEDOUT)
            return r;
        pthread_mutex_lock(&x->lock);
        bool leave = x->leave;
        pthread_mutex_unlock(&x->lock);
        if (leave && !leave_at)
            leave_at = xd_clock_ns() + patience_ns;
        if (leave_at && xd_clock_ns() > leave_at)
            return r;
        if (broken_fd < 0 && xd_bus_fault(x->bus) < 0)
            xd_supervisor_ask_stop(x->supervisor,
                                   address); /* a reporter: the end of the run is not in the journal */
    }
}

/* The scheduler ends with the run.  False: it has failed, or an agent does not let it end. */
static bool wait_scheduler(xd_engine *x)
{
    int reason = 0, r;
    do
        r = wait_actor(x, XD_SCHEDULER_ADDRESS, x->listen ? x->watch_fd : xd_bus_broken_fd(x->bus),
                       AGENT_STOP_NS, &reason);
    while (r == 1 && x->listen && xd_engine_take_joins(x) == 1);
    if (x->listen)
        xd_listen_close(x->listen);
    if (r == 1)
        xd_engine_say_line(x, "the scheduler no longer reads its messages: the run is abandoned");
    if (r == -ETIMEDOUT)
        xd_engine_say_line(x, "an agent does not answer and is abandoned");
    return r == 0 && reason == 0;
}

/* The reporters may take as long as their outputs do, unless the user wants to leave. */
static void wait_report(xd_engine *x, const char *address)
{
    int reason = 0;
    (void)wait_actor(x, address, -1, REPORT_STOP_NS, &reason);
}

/* A test, or somebody, may have removed it: what was open could be written to the end. */
static void look_for_journal(xd_engine *x)
{
    char line[XD_TEXT];
    if (access(x->journal_path, F_OK) == 0)
        return;
    snprintf(line, sizeof(line),
             "the journal of this run, %.900s, was removed while it ran: the run cannot be shown again",
             x->journal_path);
    xd_engine_say_line(x, line);
    if (x->result.exit_code == 0)
        x->result.exit_code = XD_EXIT_INCOMPLETE;
}

void *xd_engine_watcher(void *arg)
{
    xd_engine *x = arg;
    pthread_setname_np(pthread_self(), "xd-watch");
    /* Old runs are cleared away while Python starts. */
    (void)!xd_runs_retain(&x->where, x->config->runs_keep, x->config->runs_bytes, x->config->runs_age_ns);
    if (wait_scheduler(x)) {
        wait_report(x, XD_FILES_ADDRESS);
        wait_report(x, XD_REPORT_ADDRESS);
    } else {
        pthread_mutex_lock(&x->lock);
        x->result.exit_code = x->leave ? XD_EXIT_INTERRUPTED : XD_EXIT_INTERNAL;
        pthread_mutex_unlock(&x->lock);
    }
    xd_engine_close(x);
    if (x->report_failed && x->result.exit_code == 0)
        x->result.exit_code = XD_EXIT_INCOMPLETE;
    look_for_journal(x);
    x->result.controller_cpu_us = xd_clock_cpu_us() - x->cpu_start_us;
    if (!x->left && x->result.exit_code == XD_EXIT_USAGE && x->result.collected == 0) {
        /* A command line that was refused is no run: "latest" stays what it was. */
        (void)xd_path_remove_tree(x->dir.path);
        x->result.run_dir[0] = 0;
    }
    pthread_mutex_lock(&x->lock);
    x->over = true;
    pthread_mutex_unlock(&x->lock);
    xd_event ev = { .type = XD_EVENT_FINISHED, .value = x->result.exit_code, .count = x->result.recorded };
    xd_engine_on_event(x, &ev);
    return NULL;
}
