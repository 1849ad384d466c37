/* needs: agent runners */
/* The agent's worker.c, start.c, life.c, down.c and stop.c without Python: this test is the controller, the runner
 * host, the collector and the workers' pipes; `sleep` stands for a process where one is needed. Time is handed to the
 * timers, so nothing waits for it. */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "actors/runners/pytest.h"
#include "tools/xdagent/agent.h"

#define NOBODY 2000000000 /* above every pid_max: signals to it reach nobody */
#define ITEMS 4u

typedef struct world {
    agent        a;
    int          control, collect; /* the ends of host and collector */
    int          link;             /* the controller's */
    xd_stream_in in;               /* what came over it */
    int          fd[4];            /* of the worker: commands, results, stdout, stderr */
    xd_wire_FORK asked;            /* what it was forked with */
    char         name[64];         /* of that */
} world;

/* ---- what is main.c in the agent ------------------------------------------------------------------------ */

void agent_fault(agent *a, int error)
{
    if (error < 0 && a->fault == 0)
        a->fault = error;
}

void agent_frame(agent *a, const xd_frame *f)
{
    (void)a;
    (void)f;
}

void agent_mute(agent *a, bool on)
{
    a->muted = on;
}

/* ---- the world ------------------------------------------------------------------------------------------ */

static int no_frame(void *arg, const xd_frame *f)
{
    (void)arg;
    (void)f;
    return 0;
}

static void no_end(void *arg, int error)
{
    (void)arg;
    (void)error;
}

static void add_ids(agent_list *l)
{
    xd_autobuf ids = XD_BUF_INIT, body = XD_BUF_INIT;
    for (uint32_t i = 0; i < ITEMS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t.py::t%u", i);
        xd_wire_NODEID n = { .id = xd_bytes_str(name) };
        ck_assert_int_eq(xd_wire_NODEID_encode(&ids, &n), 0);
    }
    xd_wire_COLLECT_IDS m = { .ids = agent_list_of(&ids, ITEMS) };
    ck_assert_int_eq(xd_wire_COLLECT_IDS_encode(&body, &m), 0);
    ck_assert_int_eq(agent_list_init(l), 0);
    ck_assert_int_eq(agent_list_add(l, xd_buf_view(&body)), 0);
    agent_list_close(l);
}

/* An environment that has collected; its host and its collector are this test. */
/* What ENV_START says of the names. */
static void name_workers(world *w, const char *const *names)
{
    xd_autobuf        list = XD_BUF_INIT;
    xd_wire_ENV_START m = { 0 };
    for (; names && names[m.names.count]; m.names.count++)
        ck_assert_int_eq(
            xd_wire_TEXT_append(&list, &(xd_wire_TEXT){ .text = xd_bytes_str(names[m.names.count]) }), 0);
    m.names.ptr = list.data;
    m.names.len = list.len;
    xd_buf_clear(&w->a.env.start);
    ck_assert_int_eq(xd_wire_ENV_START_encode(&w->a.env.start, &m), 0);
}

static void collected(world *w, uint8_t way)
{
    int pair[2];
    *w = (world){ .a = { .tick_ns = UINT64_MAX,
                         .progress_ns = UINT64_MAX,
                         .queue_ns = UINT64_MAX,
                         .kill_ns = UINT64_MAX,
                         .term_ns = UINT64_MAX,
                         .down_ns = UINT64_MAX,
                         .leave_ns = UINT64_MAX,
                         .phase_by_ns = UINT64_MAX,
                         .waiting_ns = UINT64_MAX,
                         .late_ns = UINT64_MAX,
                         .oom_kills = -1,
                         .output_limit = 1u << 20 },
                  .fd = { -1, -1, -1, -1 } };
    agent *a = &w->a;
    a->scratch = malloc(AGENT_SCRATCH);
    ck_assert_ptr_nonnull(a->scratch);
    ck_assert_int_eq(xd_os_adopt_orphans(), 0);
    ck_assert_int_eq(xd_poller_new(&a->poller), 0);
    ck_assert_int_eq(xd_os_socketpair(pair, true), 0);
    ck_assert_int_eq(agent_link_open(a, pair[0], pair[0], -1, -1, NULL), 0);
    w->link = pair[1];
    ck_assert_int_eq(xd_os_nonblock(w->link, true), 0);
    xd_stream_in_init(&w->in, true);
    a->link.known = a->link.welcome = true;
    xd_session_tx_window(a->link.session, 1000, 1u << 20);
    agent_env *e = &a->env;
    e->started = e->ready = e->forks = e->hosted = true;
    e->host_ns = UINT64_MAX;
    e->way = way;
    xd_pytest *runner = malloc(sizeof(*runner));
    ck_assert_ptr_nonnull(runner);
    *runner = (xd_pytest){ .runner.ops = &xd_pytest_ops, .leash = { -1, -1 }, .output = { -1, -1 } };
    e->runner = &runner->runner;
    e->place = AGENT_PLACE_INIT;
    e->captured[0] = e->captured[1] = -1;
    e->out.fd = e->err.fd = -1;
    add_ids(&e->list);
    ck_assert_int_eq(xd_page_create(&e->page, XD_MAX(8u, xd_os_cpus() + 1)), 0);
    e->page_made = true;
    e->host = (xd_proc){ .pid = NOBODY, .pidfd = -1, .leader = true };
    e->collector = (xd_proc){ .pid = NOBODY + 1, .pidfd = -1 };
    ck_assert_int_eq(xd_os_socketpair(pair, true), 0);
    ck_assert_int_eq(agent_chan_open(&e->control, a, pair[0], true, no_frame, no_end, a), 0);
    w->control = pair[1];
    ck_assert_int_eq(xd_os_socketpair(pair, true), 0);
    ck_assert_int_eq(agent_chan_open(&e->collect, a, pair[0], true, no_frame, no_end, a), 0);
    w->collect = pair[1];
    name_workers(w, NULL);
}

static void begin_many(world *w, uint8_t way, uint16_t max_restarts, uint16_t workers)
{
    agent *a = &w->a;
    collected(w, way);
    xd_wire_WORKERS_START m = { .count = workers, .total = workers, .max_restarts = max_restarts };
    ck_assert_int_eq(agent_workers_start(a, &m), 0);
}

static void begin(world *w, uint8_t way, uint16_t max_restarts)
{
    begin_many(w, way, max_restarts, 1);
}

static void close_fds(world *w)
{
    for (int i = 0; i < 4; i++) {
        if (w->fd[i] >= 0)
            close(w->fd[i]);
        w->fd[i] = -1;
    }
}

static void end(world *w)
{
    agent *a = &w->a;
    agent_kill_leftover();
    ck_assert_int_eq(a->fault, 0);
    for (uint32_t i = 0; i < a->slots; i++)
        agent_worker_release(&a->worker[i]);
    agent_env_release(a);
    agent_link_close(a);
    a->queue = xd_aqueue_free(a->queue);
    xd_buf_release(&a->returned);
    free(a->worker);
    xd_names_release(&a->names);
    free(a->scratch);
    a->poller = xd_poller_free(a->poller);
    xd_stream_in_release(&w->in);
    close_fds(w);
    close(w->link);
    close(w->control);
    close(w->collect);
}

static agent_worker *worker(world *w)
{
    return &w->a.worker[0];
}

/* FORK as it came to the host or the collector; false: none came. */
static bool forked_from(world *w, int sock)
{
    uint8_t bytes[256];
    size_t  n = 4;
    xd_os_nonblock(sock, true) < 0 ? ck_abort() : (void)0;
    ssize_t got = xd_os_recv_fds(sock, bytes, sizeof(bytes), w->fd, &n);
    if (got <= 0)
        return false;
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(xd_wire_FORK_decode(bytes + XD_FRAME_HEADER, (size_t)got - XD_FRAME_HEADER, &w->asked),
                     0);
    snprintf(w->name, sizeof(w->name), "%.*s", (int)w->asked.name.len, (const char *)w->asked.name.ptr);
    w->asked.name = (xd_bytes){ 0 };
    return true;
}

/* A process that does nothing and has the worker's result pipe. */
static xd_proc stand_in(world *w, const char *script)
{
    xd_proc           p = XD_PROC_NONE;
    xd_error          err = { 0 };
    const char *const argv[] = { "sh", "-c", script, NULL };
    xd_proc_fd        fd = { w->fd[1], 3 };
    xd_proc_args      args = { .argv = argv, .fds = &fd, .nfds = 1, .new_group = true };
    ck_assert_int_eq(xd_proc_spawn(&args, &p, &err), 0);
    return p;
}

static void say(world *w, xd_buf *frame)
{
    ck_assert_int_eq(write(w->fd[1], frame->data, frame->len), (ssize_t)frame->len);
    xd_buf_clear(frame);
    ck_assert_int_ge(agent_chan_pump(&worker(w)->io.results, 65536), 0);
}

static void say_ready(world *w, pid_t pid)
{
    xd_autobuf           f = XD_BUF_INIT;
    xd_wire_WORKER_READY m = { .pid = (uint32_t)pid, .count = ITEMS, .same = 1 };
    ck_assert_int_eq(xd_wire_WORKER_READY_frame(&f, 0, 0, &m), 0);
    say(w, &f);
}

static void say_done(world *w, int32_t status)
{
    xd_autobuf          f = XD_BUF_INIT;
    xd_wire_WORKER_DONE m = { .exit_status = status };
    ck_assert_int_eq(xd_wire_WORKER_DONE_frame(&f, 0, 0, &m), 0);
    say(w, &f);
}

/* Reads on what the agent sent until a frame of this type, whose body stays valid until the next call; NULL: there
 * is none. */
static const xd_frame *sent(world *w, uint16_t type)
{
    static xd_frame f; /* a test is one thread, and a process of its own */
    ck_assert_int_eq(agent_link_flush(&w->a), 0);
    for (;;) {
        int more = xd_stream_in_next(&w->in, &f);
        ck_assert_int_ge(more, 0);
        if (more == 0 && xd_stream_read_fd(&w->in, w->link, 65536) <= 0)
            return NULL;
        if (more && f.type == type)
            return &f;
    }
}

#define EXPECT(w, NAME, m)                                                     \
    do {                                                                       \
        const xd_frame *f_ = sent((w), XD_MSG_##NAME);                         \
        ck_assert_ptr_nonnull(f_);                                             \
        ck_assert_int_eq(xd_wire_##NAME##_decode(f_->body, f_->len, &(m)), 0); \
    } while (0)

/* Until the process of the worker is seen to have ended, and all is said of it. */
static void settle(world *w)
{
    for (int i = 0;
         i < 500 && worker(w)->state != AGENT_WORKER_NONE && worker(w)->state != AGENT_WORKER_FORKING; i++) {
        ck_assert_int_ge(xd_poller_wait(w->a.poller, xd_clock_ns() + 10 * XD_MS_NS), 0);
        ck_assert_int_eq(agent_down_timers(&w->a, xd_clock_ns()), 0);
    }
}

static bool lives(const xd_proc *p)
{
    return poll(&(struct pollfd){ .fd = p->pidfd, .events = POLLIN }, 1, 0) == 0;
}

static bool ends(const xd_proc *p)
{
    return poll(&(struct pollfd){ .fd = p->pidfd, .events = POLLIN }, 1, 5000) == 1;
}

/* A worker that is up, with its stand-in. */
static xd_proc up(world *w, uint8_t way, const char *script)
{
    begin(w, way, 4);
    ck_assert(forked_from(w, w->collect));
    xd_proc        p = stand_in(w, script);
    xd_wire_FORKED m = { .worker = 0, .pid = (uint32_t)p.pid };
    ck_assert_int_eq(agent_worker_forked(&w->a, &m), 0);
    ck_assert_int_eq(worker(w)->state, AGENT_WORKER_STARTING);
    say_ready(w, p.pid);
    ck_assert_int_eq(worker(w)->state, AGENT_WORKER_UP);
    xd_wire_WORKER_UP m2;
    EXPECT(w, WORKER_UP, m2);
    ck_assert_uint_eq(m2.pid, (uint32_t)p.pid);
    return p;
}

/* ---- start ---------------------------------------------------------------------------------------------- */

START_TEST(ways_to_start)
{
    world w;
    begin(&w, XD_WAY_COLLECTED, 4);
    ck_assert(forked_from(&w, w.collect));
    ck_assert(!forked_from(&w, w.control));
    ck_assert_uint_eq(w.asked.become, 0);
    ck_assert_int_eq(worker(&w)->process.way, XD_WAY_COLLECTED);
    end(&w);

    begin(&w, XD_WAY_WARM, 4); /* the collector itself is the first */
    ck_assert(forked_from(&w, w.collect));
    ck_assert_uint_eq(w.asked.become, 1);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_FORKING);
    end(&w);
}
END_TEST

/* FORK tells the name; a replacement is called by its number. */
START_TEST(a_worker_has_its_name)
{
    static const char *const names[] = { "alpha", NULL };
    world                    w;
    collected(&w, XD_WAY_COLLECTED);
    name_workers(&w, names);
    xd_wire_WORKERS_START m = { .first = 3, .count = 1, .total = 5, .max_restarts = 4 };
    ck_assert_int_eq(agent_workers_start(&w.a, &m), 0);
    ck_assert_str_eq(agent_worker_name(worker(&w)).text, "alpha");
    ck_assert(forked_from(&w, w.collect));
    ck_assert_str_eq(w.name, "alpha");
    ck_assert_uint_eq(w.asked.worker, 3);
    settle(&w);
    ck_assert_uint_eq(agent_next_number(&w.a, 3), 8);
    ck_assert_str_eq(xd_names_of(&w.a.names, 8).text, "gw8");
    end(&w);
}
END_TEST

/* Where workers may join later, a slot whose workers crash again and again does not come to the end of the numbers. */
START_TEST(replacements_have_numbers_apart_from_those_who_join)
{
    world w;
    collected(&w, XD_WAY_COLLECTED);
    xd_wire_WORKERS_START m = { .first = 3, .count = 2, .total = 5, .max_restarts = 28, .stride = 4096 };
    ck_assert_int_eq(agent_workers_start(&w.a, &m), 0);
    settle(&w);
    for (uint32_t n = 0; n < 28; n++)
        ck_assert_uint_eq(agent_next_number(&w.a, 3), 3 + n % 2 + 4096 * (1 + n / 2));
    end(&w);
}
END_TEST

/* The collector that becomes a worker is the process of that worker from then on, and our own child. */
START_TEST(collector_becomes_a_worker)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_WARM, 0);
    ck_assert(forked_from(&w, w.collect));
    ck_assert_uint_eq(w.asked.become, 1);
    w.a.env.collector = stand_in(&w, "kill -9 $$");
    pid_t          pid = w.a.env.collector.pid;
    xd_wire_FORKED m = { .worker = 0, .pid = (uint32_t)pid };
    ck_assert_int_eq(agent_worker_forked(&w.a, &m), 0);
    ck_assert_int_eq(w.a.env.collector.pid, 0);
    ck_assert_int_eq(worker(&w)->process.proc.pid, pid);
    settle(&w);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_int_eq(down.signal, SIGKILL);
    ck_assert_ptr_null(sent(&w, XD_MSG_AGENT_NOTE)); /* one process ended, once */
    end(&w);
}
END_TEST

/* The collector ends during FORK: that is no crash, costs no replacement, and the next one is forked from the
 * host; when that ends too, there is a new process. */
START_TEST(parent_ends_before_the_fork)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 0);
    ck_assert(forked_from(&w, w.collect));
    close_fds(&w);
    w.a.env.collector.pid = 0;
    ck_assert_int_eq(agent_workers_parent_ended(&w.a, AGENT_BY_HOST, "of another"), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_FORKING); /* not its parent */
    ck_assert_int_eq(agent_workers_parent_ended(&w.a, AGENT_BY_COLLECTOR, "its parent ended"), 0);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_uint_eq(down.expected, 1);
    ck_assert_uint_eq(down.will_restart, 1);
    ck_assert_uint_eq(down.item, XD_NO_INDEX);
    ck_assert(xd_bytes_eq_str(down.reason, "its parent ended"));
    ck_assert_ptr_null(sent(&w, XD_MSG_RESULTS));
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns()), 0);
    ck_assert(forked_from(&w, w.control));
    ck_assert_int_eq(worker(&w)->process.way, XD_WAY_WARM);
    ck_assert_uint_eq(worker(&w)->number, 1);
    close_fds(&w);

    const char *python[] = { "/bin/true", NULL }, *env[] = { NULL };
    xd_pytest   runner = { .runner.ops = &xd_pytest_ops,
                           .python = (char **)(uintptr_t)python,
                           .env = (char **)(uintptr_t)env,
                           .dir = (char *)(uintptr_t) "/",
                           .leash = { -1, -1 },
                           .output = { -1, -1 } };
    xd_runner  *own = w.a.env.runner;
    w.a.env.runner = &runner.runner;
    w.a.env.host.pid = 0;
    ck_assert_int_eq(agent_workers_parent_ended(&w.a, AGENT_BY_HOST, "the other, too"), 0);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns()), 0);
    ck_assert_int_eq(worker(&w)->process.way, XD_WAY_FRESH);
    ck_assert_int_eq(worker(&w)->process.parent, AGENT_BY_AGENT);
    w.a.env.runner = own;
    end(&w);
}
END_TEST

/* It had forked, and could not name the child any more: the child is ours, and has the pipe. */
START_TEST(parent_ends_behind_the_fork)
{
    world w;
    begin(&w, XD_WAY_COLLECTED, 4);
    ck_assert(forked_from(&w, w.collect));
    xd_proc other = stand_in(&w, "exec 3>&-; sleep 100"), child = stand_in(&w, "sleep 100");
    while (xd_os_child_with_pipe(worker(&w)->io.results.fd) != child.pid)
        usleep(1000); /* the other has not closed it yet */
    w.a.env.collector.pid = 0;
    ck_assert_int_eq(agent_workers_parent_ended(&w.a, AGENT_BY_COLLECTOR, "it ended"), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_STARTING);
    ck_assert_int_eq(worker(&w)->process.proc.pid, child.pid);
    say_ready(&w, child.pid);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_UP);
    ck_assert(lives(&other));
    end(&w);
}
END_TEST

/* A parent that answers and cannot; one that never answers: the pipe's end, or a limit, tells. */
START_TEST(fork_that_fails)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 0);
    ck_assert(forked_from(&w, w.collect));
    xd_wire_FORKED no = { .worker = 0, .error = XD_BYTES_LIT("no memory") };
    ck_assert_int_eq(agent_worker_forked(&w.a, &no), 0);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_uint_eq(down.expected, 0);
    ck_assert_uint_eq(down.will_restart, 2); /* this one costs, and there are none */
    ck_assert(xd_bytes_eq_str(down.reason, "no memory"));
    end(&w);

    begin(&w, XD_WAY_COLLECTED, 0);
    ck_assert(forked_from(&w, w.collect));
    close_fds(&w);
    ck_assert_int_eq(agent_chan_pump(&worker(&w)->io.results, 65536), -EPIPE);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_FORKING); /* FORKED may be on its way */
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns() + XD_S_NS), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_FORKING);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns() + 3 * XD_S_NS), 0);
    EXPECT(&w, WORKER_DOWN, down);
    end(&w);
}
END_TEST

/* ---- down ----------------------------------------------------------------------------------------------- */

static void lease_of(world *w, uint32_t first, uint32_t count, uint32_t expected_us)
{
    xd_autobuf    list = XD_BUF_INIT;
    xd_wire_RANGE r = { .first = first, .count = count, .attempt = 1, .expected_us = expected_us };
    ck_assert_int_eq(xd_wire_RANGE_encode(&list, &r), 0);
    xd_wire_LEASE m = { .ranges = agent_list_of(&list, 1) };
    ck_assert_int_eq(agent_queue_lease(&w->a, &m), 0);
    ck_assert_int_eq(agent_queue_drain(&w->a), 0);
}

static void lease(world *w, uint32_t first, uint32_t count)
{
    lease_of(w, first, count, 0);
}

/* Killed in an item: that one is blamed, with how it ended, and a replacement takes the rest. */
START_TEST(crash_in_an_item)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    xd_wire_REPORT      report;
    xd_wire_RESULTS     results;
    xd_wire_RESULT      one;
    xd_proc             p = up(&w, XD_WAY_COLLECTED, "sleep 100");
    lease(&w, 0, ITEMS);
    w.a.env.collector.pid = 0; /* the worker survives it, and its status is ours to know */
    w.a.env.page.slot[0].claimed = 1;
    w.a.env.page.slot[0].item_plus_1 = 1;
    ck_assert_int_eq(xd_proc_kill_group(&p, SIGSEGV), 0);
    settle(&w);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_int_eq(down.signal, SIGSEGV);
    ck_assert_uint_eq(down.expected, 0);
    ck_assert_uint_eq(down.item, 0);
    ck_assert_uint_eq(down.will_restart, 1);
    EXPECT(&w, REPORT, report);
    ck_assert_uint_eq(report.item, 0);
    ck_assert(xd_bytes_eq_str(report.category, "crashed"));
    EXPECT(&w, RESULTS, results);
    ck_assert_uint_eq(results.results.count, 1);
    ck_assert_int_eq(xd_wire_RESULT_next(&results.results, &one), 1);
    ck_assert_uint_eq(one.outcome, XD_OUT_CRASHED);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns()), 0);
    ck_assert(forked_from(&w, w.control));
    end(&w);
}
END_TEST

/* Its parent lives and is asked for the status; when it does not answer, the status stays unknown. */
START_TEST(status_of_another_ones_child)
{
    world               w;
    uint8_t             bytes[64];
    xd_wire_REAP        reap;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 0);
    ck_assert(forked_from(&w, w.collect));
    /* A grandchild: only the shell can wait for it. */
    int pair[2];
    ck_assert_int_eq(xd_os_pipe(pair, 0, 0), 0);
    ck_assert_int_eq(xd_os_nonblock(pair[0], false), 0);
    xd_proc           shell;
    xd_error          err = { 0 };
    const char *const argv[] = { "sh", "-c", "setsid sleep 100 >/dev/null & echo $!; exec sleep 100 3>&-",
                                 NULL };
    xd_proc_fd        fds[] = { { pair[1], 1 }, { w.fd[1], 3 } };
    xd_proc_args      args = { .argv = argv, .fds = fds, .nfds = 2, .new_group = true };
    ck_assert_int_eq(xd_proc_spawn(&args, &shell, &err), 0);
    ck_assert_int_gt(read(pair[0], bytes, sizeof(bytes) - 1), 0);
    pid_t          child = (pid_t)strtol((char *)bytes, NULL, 10);
    xd_wire_FORKED m = { .worker = 0, .pid = (uint32_t)child };
    ck_assert_int_eq(agent_worker_forked(&w.a, &m), 0);
    say_ready(&w, child);
    close_fds(&w);
    ck_assert_int_eq(xd_proc_kill(&worker(&w)->process.proc, SIGKILL), 0);
    for (int i = 0; i < 500 && worker(&w)->state == AGENT_WORKER_UP; i++)
        ck_assert_int_ge(xd_poller_wait(w.a.poller, xd_clock_ns() + 10 * XD_MS_NS), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_GONE);
    ck_assert_int_eq(worker(&w)->process.proc.pid, 0); /* handed over: no signal goes there */
    ssize_t got = read(w.collect, bytes, sizeof(bytes));
    ck_assert_int_gt(got, XD_FRAME_HEADER);
    ck_assert_int_eq(xd_wire_REAP_decode(bytes + XD_FRAME_HEADER, (size_t)got - XD_FRAME_HEADER, &reap), 0);
    ck_assert_uint_eq(reap.pid, (uint32_t)child);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns()), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_GONE);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns() + 3 * XD_S_NS), 0);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_int_eq(down.exit_status, -2);
    end(&w);
}
END_TEST

/* ---- orphans -------------------------------------------------------------------------------------------- */

static bool can_be_waited_for(const xd_proc *p)
{
    siginfo_t si = { 0 };
    return waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid != 0;
}

/* A stranger is waited for at once; a process that may be the worker that is just being forked is not, nor is one
 * whose status is still to be taken. */
START_TEST(orphans_are_told_apart)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 0);
    ck_assert_int_eq(agent_orphans_watch(&w.a), 0);
    ck_assert(forked_from(&w, w.collect));
    xd_proc stranger = stand_in(&w, "exit 0"), p = stand_in(&w, "exit 5");
    ck_assert(ends(&stranger) && ends(&p));
    ck_assert_int_ge(xd_poller_wait(w.a.poller, xd_clock_ns() + 10 * XD_S_NS), 0);
    ck_assert(w.a.orphans);
    agent_orphans_reap(&w.a);
    ck_assert(can_be_waited_for(&p));
    say_ready(&w, p.pid);
    agent_orphans_reap(&w.a);
    ck_assert(can_be_waited_for(&p) && !can_be_waited_for(&stranger));
    close_fds(&w);
    settle(&w);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_int_eq(down.exit_status, 5);
    ck_assert(!can_be_waited_for(&p));
    xd_proc_close(&p);
    xd_proc_close(&stranger);
    close(w.a.children);
    end(&w);
}
END_TEST

/* Its parent was asked for its status, and ended: the number is known until the status is. */
START_TEST(orphan_that_was_handed_over)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 0);
    ck_assert(forked_from(&w, w.collect));
    xd_proc p = stand_in(&w, "exit 6");
    ck_assert(ends(&p));
    say_ready(&w, p.pid);
    agent_worker *one = worker(&w);
    one->state = AGENT_WORKER_GONE;
    one->process.reap_pid = xd_proc_hand_over(&one->process.proc);
    one->process.due_ns = UINT64_MAX;
    xd_poller_remove(w.a.poller, one->process.proc.pidfd);
    w.a.orphans = true;
    agent_orphans_reap(&w.a);
    ck_assert(can_be_waited_for(&p));
    w.a.down_ns = 0;
    settle(&w);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_int_eq(down.exit_status, 6);
    xd_proc_close(&p);
    end(&w);
}
END_TEST

/* One that closed its result pipe and goes on is ended; REAPED of a stranger is nobody's. */
START_TEST(worker_that_cannot_be_heard)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    xd_proc             p = up(&w, XD_WAY_COLLECTED, "exec 3>&-; sleep 100");
    w.a.env.collector.pid = 0;
    close_fds(&w);
    while (agent_chan_pump(&worker(&w)->io.results, 65536) == 0)
        usleep(1000); /* the shell has it open for a moment */
    xd_wire_REAPED other = { .pid = 1 };
    ck_assert_int_eq(agent_worker_reaped(&w.a, &other), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_UP);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns()), 0);
    ck_assert(lives(&p));
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns() + XD_S_NS), 0);
    ck_assert(ends(&p));
    settle(&w);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert(xd_bytes_eq_str(down.reason, "killed by SIGKILL by xd, because it closed its result pipe"));
    end(&w);
}
END_TEST

/* Nothing ends it: it is left behind, and the run goes on. */
START_TEST(worker_that_sigkill_does_not_end)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 4);
    ck_assert(forked_from(&w, w.collect));
    agent_worker *one = worker(&w);
    one->process.proc = (xd_proc){ .pid = NOBODY + 2, .pidfd = -1, .leader = true };
    one->state = AGENT_WORKER_UP;
    one->was_up = true;
    ck_assert_int_eq(agent_workers_on(&w.a, AGENT_ON_KILL, NULL), 0);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns() + XD_S_NS), 0);
    ck_assert_int_eq(one->state, AGENT_WORKER_UP);
    ck_assert_int_eq(agent_down_timers(&w.a, xd_clock_ns() + 3 * XD_S_NS), 0);
    ck_assert_int_eq(one->state, AGENT_WORKER_NONE);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert(xd_bytes_eq_str(down.reason, "SIGKILL does not end it; it is abandoned"));
    end(&w);
}
END_TEST

/* ---- stop ----------------------------------------------------------------------------------------------- */

/* TERM when the grace is over, KILL a second later; the items go back at once. */
START_TEST(cancel_with_a_grace)
{
    world            w;
    xd_wire_RETURNED back;
    xd_proc          p = up(&w, XD_WAY_COLLECTED, "trap '' TERM; while :; do sleep 1; done");
    lease(&w, 0, ITEMS);
    uint64_t       now = xd_clock_ns();
    xd_wire_CANCEL m = { .how = 2, .grace_ms = 10000, .leaving = 1 };
    ck_assert_int_eq(agent_cancel(&w.a, &m), 0);
    ck_assert_int_eq(agent_queue_drain(&w.a), 0);
    EXPECT(&w, RETURNED, back);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 9 * XD_S_NS), 0);
    ck_assert(!worker(&w)->process.killed);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 10500 * XD_MS_NS), 0);
    ck_assert(worker(&w)->process.killed && !worker(&w)->process.sigkill);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 11500 * XD_MS_NS), 0);
    ck_assert(worker(&w)->process.sigkill);
    ck_assert(ends(&p));
    end(&w);
}
END_TEST

/* A worker that is being forked has no number: its parent goes, and it with it. */
START_TEST(cancel_during_a_fork)
{
    world               w;
    xd_wire_WORKER_DOWN down;
    begin(&w, XD_WAY_COLLECTED, 4);
    ck_assert(forked_from(&w, w.collect));
    xd_proc collector = stand_in(&w, "exec 3>&-; sleep 100");
    w.a.env.collector = collector;
    xd_wire_CANCEL m = { .how = 3, .leaving = 1 };
    ck_assert_int_eq(agent_cancel(&w.a, &m), 0);
    ck_assert(ends(&collector));
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_FORKING);
    close_fds(&w);
    ck_assert_int_eq(agent_workers_parent_ended(&w.a, AGENT_BY_COLLECTOR, "it ended"), 0);
    ck_assert_int_eq(worker(&w)->state, AGENT_WORKER_NONE);
    EXPECT(&w, WORKER_DOWN, down);
    ck_assert_uint_eq(down.will_restart, 0);
    end(&w);
}
END_TEST

/* If little is predicted, more workers than processors do not start at once, but when the first are seen to sleep (0), or
 * after a while (1, they compute). */
START_TEST(workers_that_start_late)
{
    world    w;
    uint32_t cpus = xd_os_cpus();
    begin_many(&w, XD_WAY_COLLECTED, 0, (uint16_t)(cpus + 1));
    ck_assert_uint_eq(w.a.to_start, cpus);
    ck_assert(forked_from(&w, w.collect));
    w.a.started_ns = xd_clock_ns();
    xd_proc p = stand_in(&w, _i == 0 ? "sleep 100" : "while :; do :; done");
    worker(&w)->process.proc = p;
    lease_of(&w, 0, ITEMS, 1000);
    uint64_t look_ns = w.a.late_ns, now_ns;
    ck_assert_uint_gt(look_ns, w.a.started_ns);
    ck_assert_uint_lt(look_ns, w.a.late_by_ns);
    w.a.late_by_ns = UINT64_MAX;
    do {
        ck_assert_int_ge(xd_poller_wait(w.a.poller, xd_clock_ns() + 10 * XD_MS_NS), 0);
        now_ns = xd_clock_ns();
    } while (now_ns < w.a.started_ns + 200 * XD_MS_NS);
    ck_assert_int_eq(agent_workers_start_late(&w.a, now_ns), 0);
    if (_i == 1) {
        ck_assert_uint_eq(w.a.to_start, cpus);
        ck_assert_uint_gt(w.a.late_ns, now_ns);
        ck_assert_uint_ne(w.a.late_ns, UINT64_MAX);
        w.a.late_by_ns = now_ns;
        ck_assert_int_eq(agent_workers_start_late(&w.a, now_ns), 0);
    }
    ck_assert_uint_eq(w.a.to_start, cpus + 1);
    ck_assert_uint_eq(w.a.late_ns, UINT64_MAX);
    end(&w);
}
END_TEST

static void finish(world *w, uint64_t shutdown_ms)
{
    xd_autobuf     body = XD_BUF_INIT;
    xd_wire_FINISH m = { .shutdown_ms = shutdown_ms };
    ck_assert_int_eq(xd_wire_FINISH_encode(&body, &m), 0);
    ck_assert_int_eq(agent_finish(&w->a, xd_buf_view(&body)), 0);
}

/* Without a limit a session is waited for as long as it takes; what is waited for is said after 5 s, and again. */
START_TEST(sessions_are_waited_for)
{
    world              w;
    xd_wire_AGENT_NOTE note;
    uint8_t            bytes[64];
    xd_proc            p = up(&w, XD_WAY_COLLECTED, "sleep 100");
    uint64_t           now = xd_clock_ns();
    finish(&w, 0);
    ck_assert_int_gt(read(w.fd[0], bytes, sizeof(bytes)), 0); /* QUIT */
    ck_assert_uint_eq(bytes[4], XD_MSG_QUIT);
    w.a.env.page.slot[0].ending = 1;
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 4 * XD_S_NS), 0);
    ck_assert_ptr_null(sent(&w, XD_MSG_AGENT_NOTE));
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 5500 * XD_MS_NS), 0);
    EXPECT(&w, AGENT_NOTE, note);
    ck_assert_uint_eq(note.failed, 0);
    ck_assert(xd_bytes_eq_str(note.text, "all tests are done; waiting for 5 s for the end of gw0 "
                                         "(pytest_sessionfinish); Ctrl-C ends it"));
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 9 * XD_S_NS), 0);
    ck_assert_ptr_null(sent(&w, XD_MSG_AGENT_NOTE));
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 3600 * XD_S_NS), 0);
    EXPECT(&w, AGENT_NOTE, note);
    ck_assert(lives(&p) && !worker(&w)->process.killed);
    ck_assert_int_eq(w.a.phase, AGENT_ENDING_SESSIONS);
    say_done(&w, 0);
    ck_assert_int_eq(agent_stop_timers(&w.a, xd_clock_ns()), 0);
    ck_assert_int_eq(w.a.phase, AGENT_ENDING_PROCESSES);
    ck_assert(lives(&p));
    end(&w);
}
END_TEST

/* --shutdown-timeout: TERM, then KILL, and the exit code knows. */
START_TEST(sessions_with_a_limit)
{
    world              w;
    xd_wire_AGENT_NOTE note;
    xd_proc            p = up(&w, XD_WAY_COLLECTED, "trap '' TERM; while :; do sleep 1; done");
    uint64_t           now = xd_clock_ns();
    finish(&w, 2000);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 1900 * XD_MS_NS), 0);
    ck_assert(!worker(&w)->process.killed);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 2100 * XD_MS_NS), 0);
    EXPECT(&w, AGENT_NOTE, note);
    ck_assert_uint_eq(note.failed, 1);
    ck_assert_uint_eq(note.level, 3);
    ck_assert(worker(&w)->process.killed);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 3200 * XD_MS_NS), 0);
    ck_assert(ends(&p));
    w.a.env.collector.pid = 0;
    settle(&w);
    ck_assert_int_eq(agent_stop_timers(&w.a, xd_clock_ns()), 0);
    ck_assert_int_eq(w.a.phase, AGENT_ENDING_PROCESSES);
    end(&w);
}
END_TEST

/* The user wants to leave: no phase lasts, whoever does not end. */
START_TEST(no_phase_lasts_behind_the_grace)
{
    world            w;
    xd_wire_ENV_DONE done;
    xd_proc          p = up(&w, XD_WAY_COLLECTED, "sleep 100");
    uint64_t         now = xd_clock_ns();
    finish(&w, 0);
    xd_wire_CANCEL m = { .how = 2, .grace_ms = 1000, .leaving = 1 };
    ck_assert_int_eq(agent_cancel(&w.a, &m), 0);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 1100 * XD_MS_NS), 0);
    ck_assert(worker(&w)->process.killed && ends(&p));
    w.a.env.collector.pid = 0;
    settle(&w);
    ck_assert_int_eq(agent_stop_timers(&w.a, xd_clock_ns()), 0);
    ck_assert_int_eq(w.a.phase, AGENT_ENDING_PROCESSES); /* host and keeper do not answer */
    ck_assert_uint_le(w.a.term_ns, now + 3500 * XD_MS_NS);
    ck_assert_uint_le(w.a.kill_ns, now + 4500 * XD_MS_NS);
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 4500 * XD_MS_NS), 0);
    ck_assert_int_lt(w.a.env.collect.fd, 0);
    ck_assert_int_eq(w.a.phase, AGENT_ENDING_PROCESSES); /* the host is still there: NOBODY ends it */
    ck_assert_int_eq(agent_stop_timers(&w.a, now + 8 * XD_S_NS), 0);
    ck_assert_int_eq(w.a.phase, AGENT_CLOSING);
    EXPECT(&w, ENV_DONE, done);
    ck_assert_ptr_nonnull(sent(&w, XD_MSG_BYE));
    end(&w);
}
END_TEST

/* ---- the table ------------------------------------------------------------------------------------------ */

/* What means nothing in a state changes nothing: the same as an independent list says. */
START_TEST(events_that_mean_nothing)
{
    static const struct {
        agent_worker_state state;
        agent_event        events[AGENT_EVENTS];
        size_t             n;
    } nothing[] = {
        { AGENT_WORKER_NONE,
          { AGENT_ON_BORN, AGENT_ON_UNBORN, AGENT_ON_READY, AGENT_ON_DONE, AGENT_ON_PIPE_END,
            AGENT_ON_PARENT_END, AGENT_ON_EXIT, AGENT_ON_STATUS, AGENT_ON_SETTLED, AGENT_ON_TERM,
            AGENT_ON_KILL, AGENT_ON_OVERDUE },
          12 },
        { AGENT_WORKER_FORKING,
          { AGENT_ON_FORK, AGENT_ON_EXIT, AGENT_ON_STATUS, AGENT_ON_SETTLED, AGENT_ON_TERM },
          5 },
        { AGENT_WORKER_STARTING,
          { AGENT_ON_FORK, AGENT_ON_BORN, AGENT_ON_UNBORN, AGENT_ON_PARENT_END, AGENT_ON_STATUS,
            AGENT_ON_SETTLED },
          6 },
        { AGENT_WORKER_UP,
          { AGENT_ON_FORK, AGENT_ON_BORN, AGENT_ON_UNBORN, AGENT_ON_PARENT_END, AGENT_ON_STATUS,
            AGENT_ON_SETTLED },
          6 },
        { AGENT_WORKER_LEAVING,
          { AGENT_ON_FORK, AGENT_ON_BORN, AGENT_ON_UNBORN, AGENT_ON_READY, AGENT_ON_DONE, AGENT_ON_PIPE_END,
            AGENT_ON_PARENT_END, AGENT_ON_STATUS, AGENT_ON_SETTLED },
          9 },
        { AGENT_WORKER_GONE,
          { AGENT_ON_FORK, AGENT_ON_BORN, AGENT_ON_UNBORN, AGENT_ON_READY, AGENT_ON_DONE, AGENT_ON_PIPE_END,
            AGENT_ON_PARENT_END, AGENT_ON_EXIT, AGENT_ON_TERM, AGENT_ON_KILL },
          10 },
    };
    world w;
    begin(&w, XD_WAY_COLLECTED, 4);
    agent_worker *one = worker(&w);
    for (size_t i = 0; i < sizeof(nothing) / sizeof(*nothing); i++) {
        for (size_t k = 0; k < nothing[i].n; k++) {
            one->state = nothing[i].state;
            ck_assert_int_eq(agent_worker_on(one, nothing[i].events[k], NULL), 0);
            ck_assert_int_eq(one->state, nothing[i].state);
        }
    }
    ck_assert_ptr_null(sent(&w, XD_MSG_WORKER_DOWN));
    one->state = AGENT_WORKER_UP;
    ck_assert_int_eq(agent_worker_on(one, AGENT_ON_READY, NULL), -EPROTO);
    end(&w);
}
END_TEST

/* ---- the list ------------------------------------------------------------------------------------------- */

static int reorder(world *w, const uint32_t *places, uint32_t count)
{
    xd_autobuf list = XD_BUF_INIT, body = XD_BUF_INIT;
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(xd_wire_INDEX_append(&list, &(xd_wire_INDEX){ .item = places[i] }), 0);
    xd_wire_REORDER m = { .places = agent_list_of(&list, count) };
    ck_assert_int_eq(xd_wire_REORDER_encode(&body, &m), 0);
    return agent_env_reorder(&w->a, xd_buf_view(&body));
}

/* What the collector is told next; 0 = nothing. */
static uint16_t told_collector(world *w, uint8_t *bytes, size_t size)
{
    xd_frame f;
    ssize_t  got = read(w->collect, bytes, size);
    if (got < (ssize_t)XD_FRAME_HEADER)
        return 0;
    ck_assert_int_eq(xd_wire_header(bytes, &f), 0);
    return f.type;
}

START_TEST(the_list_in_another_order)
{
    world    w;
    uint8_t  bytes[256];
    xd_bytes id;
    collected(&w, XD_WAY_COLLECTED);
    ck_assert_int_eq(xd_os_nonblock(w.collect, true), 0);
    agent_list *l = &w.a.env.list;
    uint64_t    before = l->digest_lo;
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 0, 1, 4 }, 3), -EPROTO);
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 0, 1, 2, 4 }, 4), -EPROTO);
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 0, 1, 2, 1 }, 4), -EPROTO);
    ck_assert_uint_eq(told_collector(&w, bytes, sizeof(bytes)), 0);
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 3, 0, 2, 1 }, 4), 0);
    ck_assert(agent_env_nodeid(&w.a, 0, &id) && xd_bytes_eq_str(id, "t.py::t3"));
    ck_assert(agent_env_nodeid(&w.a, 3, &id) && xd_bytes_eq_str(id, "t.py::t1"));
    ck_assert_uint_ne(l->digest_lo, before);
    ck_assert_uint_eq(told_collector(&w, bytes, sizeof(bytes)), XD_MSG_ORDER);
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 1, 3, 2, 0 }, 4), 0);
    ck_assert_uint_eq(l->digest_lo, before);
    /* A test of the run that is not here, and two from here that are none of the run's. */
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 2, XD_NO_INDEX, 0 }, 3), 0);
    ck_assert(agent_env_nodeid(&w.a, 0, &id) && xd_bytes_eq_str(id, "t.py::t2"));
    ck_assert(!agent_env_nodeid(&w.a, 1, &id));
    ck_assert(agent_env_nodeid(&w.a, 2, &id) && xd_bytes_eq_str(id, "t.py::t0"));
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 3 }, 1), -EPROTO);
    ck_assert_int_eq(reorder(&w, (const uint32_t[]){ 1 }, 1), -EPROTO);
    end(&w);
}
END_TEST

/* pytest's cache is written by numbers: those of another list would name other tests. */
START_TEST(finish_of_another_list)
{
    world   w;
    uint8_t bytes[256];
    for (int same = 0; same < 2; same++) {
        collected(&w, XD_WAY_COLLECTED);
        ck_assert_int_eq(xd_os_nonblock(w.collect, true), 0);
        xd_autobuf     body = XD_BUF_INIT;
        xd_wire_FINISH m = { .digest_lo = w.a.env.list.digest_lo + !same,
                             .digest_hi = w.a.env.list.digest_hi };
        ck_assert_int_eq(xd_wire_FINISH_encode(&body, &m), 0);
        ck_assert_int_eq(agent_finish(&w.a, xd_buf_view(&body)), 0);
        ck_assert_uint_eq(told_collector(&w, bytes, sizeof(bytes)), same ? XD_MSG_FINISH : 0);
        ck_assert_int_eq(agent_stop_timers(&w.a, xd_clock_ns()), 0);
        ck_assert_uint_eq(told_collector(&w, bytes, sizeof(bytes)), XD_MSG_QUIT);
        end(&w);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("agent");
    TCase *c = tcase_create("agent");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, ways_to_start);
    tcase_add_test(c, a_worker_has_its_name);
    tcase_add_test(c, replacements_have_numbers_apart_from_those_who_join);
    tcase_add_test(c, collector_becomes_a_worker);
    tcase_add_test(c, parent_ends_before_the_fork);
    tcase_add_test(c, parent_ends_behind_the_fork);
    tcase_add_test(c, fork_that_fails);
    tcase_add_test(c, crash_in_an_item);
    tcase_add_test(c, status_of_another_ones_child);
    tcase_add_test(c, orphans_are_told_apart);
    tcase_add_test(c, orphan_that_was_handed_over);
    tcase_add_test(c, worker_that_cannot_be_heard);
    tcase_add_test(c, worker_that_sigkill_does_not_end);
    tcase_add_test(c, cancel_with_a_grace);
    tcase_add_test(c, cancel_during_a_fork);
    tcase_add_loop_test(c, workers_that_start_late, 0, 2);
    tcase_add_test(c, sessions_are_waited_for);
    tcase_add_test(c, sessions_with_a_limit);
    tcase_add_test(c, no_phase_lasts_behind_the_grace);
    tcase_add_test(c, events_that_mean_nothing);
    tcase_add_test(c, the_list_in_another_order);
    tcase_add_test(c, finish_of_another_list);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
