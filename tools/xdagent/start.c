/* Starting workers: pipes, slot of the progress page, FORK to the right parent or a process of its own. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define MUCH_US 100000u /* of expected work per worker: more is worth any number of workers from the start */
#define LOOK_NS (20 * XD_MS_NS)
#define LATE_NS (100 * XD_MS_NS)
#define BUSY_PERCENT 60u
#define LEASE_WAIT_NS (10 * XD_MS_NS) /* for the first LEASE, which tells how much there is to do */
#define OWN_FILES 64u
#define FILES_PER_WORKER 8u
#define RESULT_PIPE_BYTES (256 * 1024)

typedef struct pipes {
    int cmd[2], results[2], out[2], err[2];
} pipes;

static void close_pair(int p[2])
{
    for (int i = 0; i < 2; i++) {
        if (p[i] >= 0)
            close(p[i]);
        p[i] = -1;
    }
}

static void pipes_close(pipes *p)
{
    close_pair(p->cmd);
    close_pair(p->results);
    close_pair(p->out);
    close_pair(p->err);
}

static int pipes_open(pipes *p)
{
    *p = (pipes){ { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
    int r = xd_os_pipe(p->cmd, 1, 0);
    if (r == 0)
        r = xd_os_pipe(p->results, 0, RESULT_PIPE_BYTES);
    if (r == 0)
        r = xd_os_pipe(p->out, 0, 0);
    if (r == 0)
        r = xd_os_pipe(p->err, 0, 0);
    if (r < 0)
        pipes_close(p);
    return r;
}

static int take_fd(int *fd)
{
    int n = *fd;
    *fd = -1;
    return n;
}

/* Our ends become the worker's channels; those of its side stay in *p. */
static int adopt(agent_worker *w, pipes *p)
{
    agent *a = w->agent;
    XD_TRY(agent_worker_open_results(w, take_fd(&p->results[0])));
    XD_TRY(agent_chan_open(&w->io.cmd, a, take_fd(&p->cmd[1]), false, NULL, NULL, w));
    XD_TRY(agent_output_open(&w->io.out, a, w, take_fd(&p->out[0]), XD_OUTPUT_STDOUT, &w->io.last));
    return agent_output_open(&w->io.err, a, w, take_fd(&p->err[0]), XD_OUTPUT_STDERR, &w->io.last);
}

/* The failures of the slot's former worker stay counted for maxfail. */
static void reset_slot(agent *a, uint32_t slot, uint16_t number)
{
    xd_page_slot *s = &a->env.page.slot[slot];
    xd_page_move_failures(&a->env.page, slot);
    xd_page_set(&s->claimed, 0);
    xd_page_set(&s->item_plus_1, 0);
    xd_page_set(&s->runs, 0);
    xd_page_set(&s->done, 0);
    xd_page_set(&s->worker_plus_1, number + 1u);
    xd_page_set(&s->ending, 0);
    xd_page_set(&s->incarnation, xd_page_get(&s->incarnation) + 1);
    xd_page_set(&s->limit, XD_AQUEUE_NO_LIMIT);
}

static int send_fork(agent_worker *w, agent_chan *to, pipes *p)
{
    agent       *a = w->agent;
    const char  *id = w->number < a->names.count ? a->names.at[w->number] : NULL;
    xd_autobuf   body = XD_BUF_INIT;
    xd_wire_FORK m = { .worker = w->number,
                       .slot = (uint16_t)w->slot,
                       .total = a->total,
                       .become = w->process.become,
                       .maxfail = a->env.page.head->maxfail,
                       .name = xd_bytes_str(id) };
    XD_TRY(xd_wire_FORK_encode(&body, &m));
    if (!p)
        return agent_chan_send(to, XD_MSG_FORK, xd_buf_view(&body), NULL, 0);
    int fds[4] = { take_fd(&p->cmd[0]), take_fd(&p->results[1]), take_fd(&p->out[1]), take_fd(&p->err[1]) };
    return agent_chan_send(to, XD_MSG_FORK, xd_buf_view(&body), fds, 4);
}

static int on_fresh_control(void *arg, const xd_frame *frame)
{
    (void)arg;
    (void)frame;
    return 0; /* what it has to say comes on the result pipe */
}

static void on_fresh_control_end(void *arg, int error)
{
    (void)arg;
    (void)error;
}

static void on_pidfd(void *arg, int fd, uint32_t events)
{
    agent_worker *w = arg;
    (void)fd;
    (void)events;
    agent_fault(w->agent, agent_worker_on(w, AGENT_ON_EXIT, NULL));
}

/* FORKED or WORKER_READY named it, whichever pipe was read first, or it was found among our children. */
int agent_act_born(agent_worker *w, const agent_news *news)
{
    bool have = w->process.proc.pid > 0 ||
                (w->process.become && agent_env_take_collector(w->agent, news->pid, &w->process.proc));
    int r = have ? 0 : xd_proc_open(news->pid, true, &w->process.proc);
    if (r == -ESRCH) /* waited for by somebody before it could be looked at */
        return agent_worker_on(w, AGENT_ON_EXIT, NULL);
    if (r == 0)
        r = xd_poller_set(w->agent->poller, w->process.proc.pidfd, XD_POLL_IN, on_pidfd, w);
    if (r < 0) { /* of what is not watched nobody would hear the end */
        char why[128];
        snprintf(why, sizeof(why), "it cannot be watched: %s", xd_error_name(r));
        xd_proc stranger = { .pid = news->pid, .pidfd = -1, .leader = true };
        (void)xd_proc_kill_group(w->process.proc.pid > 0 ? &w->process.proc : &stranger, SIGKILL);
        return agent_act_unborn(w, &(agent_news){ .why = why });
    }
    w->process.due_ns = UINT64_MAX;
    if (w->process.killed)
        return agent_worker_on(w, AGENT_ON_KILL, NULL);
    if (w->end.done)
        return agent_worker_on(w, AGENT_ON_DONE, NULL);
    return w->io.deaf ? agent_worker_on(w, AGENT_ON_PIPE_END, &(agent_news){ .why = w->io.deaf }) : 0;
}

/* The process that was to fork it has ended: before it did, or before it could name it. In that case it is our child
 * now, and has the other end of its result pipe open. */
int agent_act_orphan(agent_worker *w, const agent_news *news)
{
    pid_t pid = w->io.results.fd >= 0 ? xd_os_child_with_pipe(w->io.results.fd) : 0;
    if (pid > 0)
        return agent_worker_on(w, AGENT_ON_BORN, &(agent_news){ .pid = pid });
    return agent_worker_on(w, AGENT_ON_UNBORN, &(agent_news){ .why = news->why, .free_of_charge = true });
}

int agent_workers_parent_ended(agent *a, agent_parent parent, const char *why)
{
    for (uint32_t i = 0; i < a->slots; i++)
        if (a->worker[i].process.parent == parent)
            XD_TRY(agent_worker_on(&a->worker[i], AGENT_ON_PARENT_END, &(agent_news){ .why = why }));
    a->down_ns = 0; /* from here on this process waits for those that have ended */
    return 0;
}

static int start_fresh(agent_worker *w, pipes *p)
{
    agent   *a = w->agent;
    int      control[2];
    xd_error err = { 0 };
    int      r = xd_os_socketpair(control, true);
    if (r < 0)
        return agent_worker_on(w, AGENT_ON_UNBORN, &(agent_news){ .why = xd_error_name(r) });
    xd_runner_fds fds = { .commands = p->cmd[0],
                          .results = p->results[1],
                          .out = p->out[1],
                          .err = p->err[1],
                          .control = control[1],
                          .page = a->env.page.fd };
    r = a->env.runner->ops->spawn_worker(a->env.runner, &fds, &w->process.proc, &err);
    close(control[1]);
    if (r < 0) {
        close(control[0]);
        return agent_worker_on(w, AGENT_ON_UNBORN, &(agent_news){ .why = err.text });
    }
    XD_TRY(agent_chan_open(&w->io.control, a, control[0], true, on_fresh_control, on_fresh_control_end, w));
    XD_TRY(agent_chan_send(&w->io.control, XD_MSG_ENV_START, xd_buf_view(&a->env.start), NULL, 0));
    XD_TRY(send_fork(w, &w->io.control, NULL));
    return agent_worker_on(w, AGENT_ON_BORN, &(agent_news){ .pid = w->process.proc.pid });
}

/* The fastest way that is still there: forked from the collector, which may have ended, or become a worker, or is not
 * to be copied but can be one itself; forked from the host; a process of its own (*ret NULL). */
static int choose_parent(agent_worker *w, agent_chan **ret)
{
    agent_env *e = &w->agent->env;
    *ret = NULL;
    if (!e->became && e->collect.fd >= 0 && e->collector.pid > 0) {
        w->process.way = e->way;
        w->process.become = e->way != XD_WAY_COLLECTED;
        w->process.parent = AGENT_BY_COLLECTOR;
        *ret = &e->collect;
        return 0;
    }
    if (e->way != XD_WAY_FRESH)
        XD_TRY(agent_env_host(w->agent, ret));
    w->process.way = *ret ? XD_WAY_WARM : XD_WAY_FRESH;
    w->process.parent = *ret ? AGENT_BY_HOST : AGENT_BY_AGENT;
    return 0;
}

int agent_worker_start(agent *a, uint32_t slot, uint16_t number, uint16_t replaces)
{
    agent_worker *w = &a->worker[slot];
    agent_env    *e = &a->env;
    pipes         p;
    *w = AGENT_NO_WORKER;
    w->agent = a;
    w->slot = slot;
    w->number = number;
    w->replaces = replaces;
    XD_TRY(agent_worker_on(w, AGENT_ON_FORK, NULL));
    reset_slot(a, slot, number);
    agent_chan *parent;
    XD_TRY(choose_parent(w, &parent));
    int r = pipes_open(&p);
    if (r == 0)
        r = adopt(w, &p);
    if (r < 0) {
        pipes_close(&p);
        return agent_worker_on(w, AGENT_ON_UNBORN, &(agent_news){ .why = xd_error_name(r) });
    }
    e->became = e->became || w->process.become;
    r = parent ? send_fork(w, parent, &p) : start_fresh(w, &p);
    pipes_close(&p);
    return r;
}

int agent_worker_forked(agent *a, const xd_wire_FORKED *m)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        if (w->number != m->worker)
            continue;
        if (m->pid)
            return agent_worker_on(w, AGENT_ON_BORN, &(agent_news){ .pid = (pid_t)m->pid });
        xd_autofree char *why = xd_bytes_dup(m->error);
        return agent_worker_on(w, AGENT_ON_UNBORN,
                               &(agent_news){ .why = why && *why ? why : "it could not be forked" });
    }
    return 0;
}

static int start_up_to(agent *a, uint32_t end)
{
    while (a->to_start < XD_MIN(end, a->startable)) {
        uint32_t slot = a->to_start++;
        XD_TRY(agent_worker_start(a, slot, (uint16_t)(a->first + slot), XD_NO_WORKER));
    }
    return 0;
}

/* How many of `count` workers there are descriptors for: four pipes, a process, three files of each. */
static uint32_t affordable(const agent *a, uint32_t count)
{
    if (a->wishes.max_workers && a->wishes.max_workers < count) {
        fprintf(stderr, "%u of %u workers are started: the key that was used may have no more here\n",
                (unsigned)a->wishes.max_workers, (unsigned)count);
        count = a->wishes.max_workers;
    }
    uint64_t limit = xd_os_raise_nofile(OWN_FILES + FILES_PER_WORKER * count);
    uint64_t most = limit > OWN_FILES + FILES_PER_WORKER ? (limit - OWN_FILES) / FILES_PER_WORKER : 1;
    if (most >= count)
        return count;
    fprintf(stderr,
            "%u of %u workers are started: the limit of open files is %llu; raise it (ulimit -n %u)\n",
            (uint32_t)most, count, (unsigned long long)limit, OWN_FILES + FILES_PER_WORKER * count);
    return (uint32_t)most;
}

static int name_workers(agent *a)
{
    xd_wire_ENV_START start;
    XD_TRY(xd_wire_ENV_START_decode(a->env.start.data, a->env.start.len, &start));
    return xd_names_set_list(&a->names, a->first, start.names);
}

int agent_workers_start(agent *a, const xd_wire_WORKERS_START *m)
{
    agent_env *e = &a->env;
    if (a->queue || !e->list.over || m->count == 0 || m->count > AGENT_SLOTS_MAX)
        return -EPROTO;
    a->worker = calloc(m->count, sizeof(*a->worker));
    if (!a->worker)
        return -ENOMEM;
    a->slots = m->count;
    a->first = m->first;
    a->total = m->total;
    a->next_number = m->total;
    a->stride = m->stride;
    XD_TRY(name_workers(a));
    a->startable = affordable(a, m->count);
    xd_page_set(&e->page.head->slots, m->count);
    xd_page_set(&e->page.head->maxfail, m->maxfail);
    a->maxfail = m->maxfail;
    xd_aqueue_options o = { .slots = m->count,
                            .max_restarts = m->max_restarts,
                            .workers_expected = m->count };
    XD_TRY(xd_aqueue_new(&a->queue, &o));
    for (uint32_t i = 0; i < m->count; i++)
        a->worker[i] = AGENT_NO_WORKER;
    a->progress_ns = xd_clock_ns() + AGENT_PROGRESS_NS;
    a->started_ns = xd_clock_ns();
    a->late_ns = a->started_ns + LEASE_WAIT_NS;
    a->late_by_ns = a->started_ns + LATE_NS;
    return start_up_to(a, XD_MAX(xd_os_cpus(), 1u));
}

/* Whether the workers that have started compute, or would if they had a processor. */
static bool workers_busy(const agent *a, uint64_t now_ns)
{
    uint64_t runnable = 0, workers = 0;
    for (uint32_t i = 0; i < a->to_start; i++)
        if (a->worker[i].process.proc.pid > 0) {
            runnable += xd_os_runnable_ns(a->worker[i].process.proc.pid);
            workers++;
        }
    return runnable * 100 > workers * (now_ns - a->started_ns) * BUSY_PERCENT;
}

/* Called at late_ns. A worker costs some 10 ms of processor time. Of tests that compute, more workers than processors
 * make a short run longer; of tests that wait, they make it shorter. So if recorded durations predict a short run, the
 * others start as soon as the first ones are seen to wait, at the latest after LATE_NS. */
int agent_workers_start_late(agent *a, uint64_t now_ns)
{
    a->late_ns = UINT64_MAX;
    if (a->to_start >= a->startable || a->phase != AGENT_RUNNING || a->cancelled)
        return 0;
    if (xd_aqueue_stats_get(a->queue)->queued || !a->predicted || a->late_by_ns == 0) {
        if (!a->predicted || now_ns >= a->late_by_ns || !workers_busy(a, now_ns))
            return start_up_to(a, a->slots);
        a->late_ns = XD_MIN(now_ns + LOOK_NS, a->late_by_ns);
        return 0;
    }
    a->late_ns = now_ns + LATE_NS; /* a worker may crash, and its items come back */
    return 0;
}

void agent_workers_predicted(agent *a, const xd_span *spans, size_t n)
{
    uint64_t sum_us = 0;
    bool     known = n > 0;
    if (a->predicted)
        return;
    a->predicted = true;
    for (size_t i = 0; i < n; i++) {
        sum_us += spans[i].expected_us;
        known &= spans[i].expected_us > 0;
    }
    if (a->to_start >= a->startable)
        return;
    if (known && sum_us < (uint64_t)a->slots * MUCH_US)
        a->late_ns = xd_clock_ns() + LOOK_NS;
    else /* all of them now, also if the first ones have taken all there is by then */
        a->late_ns = a->late_by_ns = 0;
}

/* Number of a replacement: the next free one; where other agents give numbers too, one that only this slot's
 * gateway can give. With a stride they are those of all slots in turn, so that one whose workers end again and again
 * does not come to the end of 16 bits before the others. */
uint16_t agent_next_number(agent *a, uint16_t replaces)
{
    if (a->stride) {
        const uint32_t n = a->replaced++;
        return (uint16_t)(a->first + n % a->slots + a->stride * (1 + n / a->slots));
    }
    if (a->slots == a->total)
        return a->next_number++;
    return (uint16_t)(replaces + a->total);
}
