/* xdagent - the far end of a gateway: starts, feeds and watches the processes of one environment.
 * Speaks engine/wire.def on standard input and output, or on one descriptor (--fd N). Ends when the
 * controller says so, or is gone. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/runners/command.h"
#include "actors/runners/runner.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "tools/xdagent/agent.h"

#define PROGRESS_MIN_NS XD_S_NS

void agent_fault(agent *a, int error)
{
    if (error < 0 && a->fault == 0)
        a->fault = error;
}

/* ---- frames of the controller ------------------------------------------------------------------------- */

static int on_workers_start(agent *a, const xd_frame *f)
{
    xd_wire_WORKERS_START m;
    XD_TRY(xd_wire_WORKERS_START_decode(f->body, f->len, &m));
    return agent_workers_start(a, &m);
}

static int on_lease(agent *a, const xd_frame *f)
{
    xd_wire_LEASE m;
    XD_TRY(xd_wire_LEASE_decode(f->body, f->len, &m));
    return agent_queue_lease(a, &m);
}

static int on_take_back(agent *a, const xd_frame *f)
{
    xd_wire_TAKE_BACK m;
    XD_TRY(xd_wire_TAKE_BACK_decode(f->body, f->len, &m));
    if (!a->queue)
        return -EPROTO;
    a->queue_dirty = true;
    int r = xd_aqueue_take_back(a->queue, m.request, m.count, xd_clock_ns());
    return r < 0 ? r : 0;
}

static int on_no_more(agent *a, const xd_frame *f)
{
    xd_wire_NO_MORE m;
    XD_TRY(xd_wire_NO_MORE_decode(f->body, f->len, &m));
    if (!a->queue)
        return -EPROTO;
    a->queue_dirty = true;
    int r = xd_aqueue_no_more(a->queue, m.final != 0, xd_clock_ns());
    return r < 0 ? r : 0;
}

static int on_cancel(agent *a, const xd_frame *f)
{
    xd_wire_CANCEL m;
    XD_TRY(xd_wire_CANCEL_decode(f->body, f->len, &m));
    return agent_cancel(a, &m);
}

static int on_env_start(agent *a, const xd_frame *f)
{
    xd_wire_ENV_START m;
    XD_TRY(xd_wire_ENV_START_decode(f->body, f->len, &m));
    return agent_env_start(a, &m);
}

/* Is it about items? Such frames may have been on their way when the environment failed or was to end. */
static bool about_items(uint16_t type)
{
    return type == XD_MSG_REORDER || type == XD_MSG_WORKERS_START || type == XD_MSG_LEASE ||
           type == XD_MSG_NO_MORE || type == XD_MSG_TAKE_BACK;
}

static int controller_frame(agent *a, const xd_frame *f)
{
    if (about_items(f->type) && (a->env.failed || a->phase != AGENT_RUNNING))
        return 0;
    if (f->type >= XD_MSG_SYNC_OPEN && f->type < XD_MSG_SYNC_SAME + 16)
        return agent_sync_frame(a, f);
    switch (f->type) {
    case XD_MSG_ENV_START:
        return on_env_start(a, f);
    case XD_MSG_CHECK:
        return agent_look_at_host(a, agent_body(f));
    case XD_MSG_SEND_LIST:
        return agent_env_send_list(a);
    case XD_MSG_REORDER:
        return agent_env_reorder(a, agent_body(f));
    case XD_MSG_WORKERS_START:
        return on_workers_start(a, f);
    case XD_MSG_LEASE:
        return on_lease(a, f);
    case XD_MSG_NO_MORE:
        return on_no_more(a, f);
    case XD_MSG_TAKE_BACK:
        return on_take_back(a, f);
    case XD_MSG_CANCEL:
        return on_cancel(a, f);
    case XD_MSG_FINISH:
        return agent_finish(a, agent_body(f));
    case XD_MSG_PAUSE:
        a->paused = true;
        agent_pause(a, true);
        return 0;
    case XD_MSG_RESUME:
        a->paused = false;
        agent_pause(a, false);
        return 0;
    default:
        return -EPROTO;
    }
}

void agent_frame(agent *a, const xd_frame *f)
{
    int r = controller_frame(a, f);
    if (r < 0)
        fprintf(stderr, "xdagent: frame of type %u: %s\n", (unsigned)f->type, xd_error_name(r));
    agent_fault(a, r);
}

/* ---- backpressure -------------------------------------------------------------------------------------- */

void agent_mute(agent *a, bool on)
{
    if (a->muted == on)
        return;
    a->muted = on;
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        if (w->state == AGENT_WORKER_NONE)
            continue;
        agent_chan_read(&w->io.results, !on && !w->io.ticking);
        agent_output_read(&w->io.out, !on);
        agent_output_read(&w->io.err, !on);
        if (w->io.ticking && !on)
            a->tick_ns = 0;
        if (w->state == AGENT_WORKER_GONE)
            a->down_ns = 0;
    }
    agent_chan_read(&a->env.collect, !on);
    agent_output_read(&a->env.out, !on);
    agent_output_read(&a->env.err, !on);
}

/* ---- what runs now ------------------------------------------------------------------------------------- */

typedef struct running {
    uint16_t worker;
    uint32_t item;
    uint64_t age_ns;
} running;

static int by_age(const void *x, const void *y)
{
    const running *a = x, *b = y;
    return a->age_ns < b->age_ns ? 1 : a->age_ns > b->age_ns ? -1 : 0;
}

/* Body of PROGRESS; returns how many run. last: this agent is about to end; what runs is told however short it ran. */
static int progress(const agent *a, uint64_t now, bool last, xd_buf *body)
{
    xd_autofree running *all = malloc((a->slots ? a->slots : 1) * sizeof(*all));
    xd_autobuf           list = XD_BUF_INIT;
    uint32_t             n = 0;
    if (!all)
        return -ENOMEM;
    for (uint32_t i = 0; i < a->slots; i++) {
        const xd_page_slot *s = &a->env.page.slot[i];
        uint32_t            item = xd_page_get(&s->item_plus_1);
        uint64_t            since = __atomic_load_n(&s->since_ns, __ATOMIC_ACQUIRE);
        if (a->worker[i].state == AGENT_WORKER_UP && item && since && since < now &&
            (last || now - since >= PROGRESS_MIN_NS))
            all[n++] = (running){ a->worker[i].number, item - 1, now - since };
    }
    qsort(all, n, sizeof(*all), by_age);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t        ms = all[i].age_ns / XD_MS_NS;
        xd_wire_RUNNING r = { .worker = all[i].worker,
                              .item = all[i].item,
                              .age_ms = (uint32_t)XD_MIN(ms, (uint64_t)UINT32_MAX) };
        XD_TRY(xd_wire_RUNNING_encode(&list, &r));
    }
    xd_wire_PROGRESS m = { .running = agent_list_of(&list, n), .last = last };
    XD_TRY(xd_wire_PROGRESS_encode(body, &m));
    return (int)n;
}

static int send_progress(agent *a, uint64_t now, bool last)
{
    xd_autobuf body = XD_BUF_INIT;
    int        n = progress(a, now, last, &body);
    XD_TRY(n);
    if (n == 0 && !a->progress_shown)
        return 0;
    a->progress_shown = n > 0;
    return agent_link_send_loose(a, XD_MSG_PROGRESS, xd_buf_view(&body));
}

/* The controller is gone and its journal ends: what ran then is told in a file beside it, where it is on this host. */
static int keep_progress(const agent *a)
{
    xd_autobuf       body = XD_BUF_INIT, frame = XD_BUF_INIT, name = XD_BUF_INIT;
    xd_wire_PROGRESS m;
    if (!a->env.place.wished || !a->env.page_made || !a->queue || a->phase != AGENT_RUNNING)
        return 0;
    int n = progress(a, xd_clock_ns(), true, &body);
    if (n <= 0)
        return n;
    XD_TRY(xd_wire_PROGRESS_decode(body.data, body.len, &m));
    XD_TRY(xd_wire_PROGRESS_frame(&frame, 0, 0, &m));
    XD_TRY(xd_buf_printf(&name, "%s.last", a->env.place.scratch));
    /* In one piece: this process may be killed as well, and nobody would remove the beginning of a file. */
    xd_autoclose int fd =
        open(xd_buf_cstr(&name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, frame.data, frame.len) == (ssize_t)frame.len ? 0 : -EIO;
}

/* How far the collection is, for whoever watches. */
static int send_collecting(agent *a)
{
    xd_autobuf            body = XD_BUF_INIT;
    const xd_page_header *h = a->env.page.head;
    xd_wire_PROGRESS      m = { .files = xd_page_get(&h->files), .items = xd_page_get(&h->items) };
    XD_TRY(xd_wire_PROGRESS_encode(&body, &m));
    return agent_link_send_loose(a, XD_MSG_PROGRESS, xd_buf_view(&body));
}

static bool collecting(const agent *a)
{
    return a->env.watched && a->env.page_made && !a->env.list.over && !a->env.failed &&
           a->phase == AGENT_RUNNING;
}

/* The page is shared with processes that run what the user wrote; one that writes over it would stop all workers
 * for ever. */
static int check_page(agent *a)
{
    const xd_page_header *h = a->env.page.head;
    if (!a->env.page_made || a->env.failed)
        return 0;
    bool whole = h->magic == XD_PAGE_MAGIC && h->version == XD_PAGE_VERSION &&
                 (!a->queue || (h->slots == a->slots && h->maxfail == a->maxfail)) &&
                 xd_page_get(&h->stop) == (a->env.page_stops ? 1u : 0u);
    for (uint32_t i = 0; i < a->slots && whole; i++) /* with room for a claim that is just being withdrawn */
        whole = xd_page_get(&a->env.page.slot[i].claimed) <= a->env.list.count + 1024u;
    return whole ? 0
                 : agent_env_fail(
                       a, 3,
                       "a test wrote over the memory that workers and xd share: it wrote to a descriptor "
                       "that it did not open");
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static uint64_t next_deadline(const agent *a)
{
    const uint64_t all[] = { a->link.flush_ns,
                             a->tick_ns,
                             a->progress_ns,
                             a->queue_ns,
                             a->down_ns,
                             a->env.host_ns,
                             a->term_ns,
                             a->kill_ns,
                             a->late_ns,
                             a->phase_by_ns,
                             a->waiting_ns,
                             a->link.give_up_ns,
                             agent_link_silent_at(a) };
    uint64_t       first = UINT64_MAX;
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        first = XD_MIN(first, all[i]);
    return first;
}

static int timers(agent *a)
{
    uint64_t now = xd_clock_ns();
    XD_TRY(agent_link_care(a, now));
    if (a->link.lost)
        return 0;
    XD_TRY(agent_workers_tick(a, now));
    if (now + XD_MS_NS >= a->link.flush_ns && !agent_link_full(a)) /* a little early saves a wake-up */
        XD_TRY(agent_workers_flush(a));
    else if (now >= a->link.flush_ns)
        a->link.flush_ns = now + 5 * XD_MS_NS;
    XD_TRY(agent_down_timers(a, now));
    XD_TRY(agent_env_timers(a, now));
    if (now >= a->queue_ns) {
        a->queue_ns = UINT64_MAX;
        a->queue_dirty = true;
        int r = xd_aqueue_tick(a->queue, now);
        XD_TRY(r);
    }
    if (now >= a->late_ns)
        XD_TRY(agent_workers_start_late(a, now));
    if (now >= a->progress_ns) {
        a->progress_ns = agent_workers_alive(a) || collecting(a) ? now + AGENT_PROGRESS_NS : UINT64_MAX;
        XD_TRY(check_page(a));
        XD_TRY(collecting(a) ? send_collecting(a) : send_progress(a, now, false));
    }
    if (a->queue_dirty)
        XD_TRY(agent_queue_drain(a));
    XD_TRY(agent_stop_timers(a, now));
    XD_TRY(agent_env_more_list(a));
    XD_TRY(agent_link_flush(a));
    agent_sync_care(a);
    agent_mute(a, agent_link_full(a));
    agent_orphans_reap(a);
    return 0;
}

/* Descriptors that this program was started with. */
typedef struct streams {
    int         in, out, redial, hand;
    const char *reconnect;
} streams;

static void on_signal(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    agent_fault(arg, -EINTR);
}

static int run(agent *a, const streams *s, pid_t guard)
{
    a->signals = xd_os_signal_fd();
    XD_TRY(a->signals);
    XD_TRY(xd_os_die_with_parent(SIGTERM, guard));
    if (xd_os_adopt_orphans() < 0)
        fputs("xdagent: no subreaper on this system: daemons that tests leave behind may outlive the run\n",
              stderr);
    XD_TRY(xd_poller_new(&a->poller));
    XD_TRY(xd_poller_set(a->poller, a->signals, XD_POLL_IN, on_signal, a));
    XD_TRY(agent_orphans_watch(a));
    XD_TRY(agent_link_open(a, s->in, s->out, s->redial, s->hand, s->reconnect));
    while (a->phase != AGENT_OVER && !a->link.lost && a->fault == 0) {
        int r = xd_poller_wait(a->poller, next_deadline(a));
        XD_TRY(r);
        if (a->fault == 0 && !a->link.lost)
            agent_fault(a, timers(a));
    }
    /* Without a controller, or told to end: it can do no more than end all, and see to what the next session is to know before. */
    if (a->link.lost)
        (void)!keep_progress(a);
    if (a->link.lost || a->fault == -EINTR)
        (void)!agent_cache_save(a);
    return a->fault;
}

static void clean_up(agent *a)
{
    agent_sync_let_end(a);
    agent_dead_man(a);
    for (uint32_t i = 0; i < a->slots; i++)
        agent_worker_release(&a->worker[i]);
    agent_look_release(a);
    agent_sync_release(a);
    agent_env_release(a);
    xd_names_release(&a->names);
    agent_link_close(a);
    a->queue = xd_aqueue_free(a->queue);
    xd_buf_release(&a->returned);
    free(a->worker);
    free(a->scratch);
    free(a->seen);
    if (a->note >= 0)
        close(a->note);
    if (a->page >= 0)
        close(a->page);
    a->poller = xd_poller_free(a->poller);
}

static int usage(FILE *to)
{
    fprintf(
        to,
        "usage: xdagent [--fd N] [--redial N] [--reconnect NAME | --attach NAME] [--output-limit SIZE] "
        "[--cache-dir DIR] [--scratch-dir DIR] [--max-workers N] "
        "[--version]\n"
        "xdctl starts this program; it speaks xd's protocol on standard input and output.\n"
        "  --fd N               speak on this descriptor (a socket) instead\n"
        "  --redial N           a socket that brings another descriptor when that one is cut; its end is "
        "that of "
        "xdctl\n"
        "  --reconnect NAME     wait for another xdagent to bring one\n"
        "  --attach NAME        be that: hand standard input and output to the agent of that name\n"
        "  --output-limit SIZE  bytes kept of what one test writes past pytest's capture, per stream "
        "(default 1M)\n"
        "  --cache-dir DIR      keep the runner's code here (default $XDG_CACHE_HOME/xd)\n"
        "  --scratch-dir DIR    make this folder for the files of the run (default: one below $TMPDIR), and\n"
        "                       leave DIR.last beside it when the controller dies\n"
        "  --max-workers N      start no more workers than this, whatever xdctl asks for\n"
        "  --version            print the build id and exit\n");
    return to == stderr ? 4 : 0;
}

static int descriptor(const char *text, int *ret)
{
    uint64_t n;
    if (xd_text_u64(text, 0, 1u << 20, &n) < 0 || fcntl((int)n, F_GETFD) < 0)
        return -EBADF;
    *ret = (int)n;
    return 0;
}

/* xdagent --check PYTHON CACHE project | options ARG ...: asked by the controller before a run, or by doctor. PYTHON and
 * CACHE are wishes, as in a run; empty = none. */
static int check(char **argv)
{
    xd_error             err = { 0 };
    xd_runner           *runner = NULL;
    const xd_runner_ops *ops = xd_runner_find((xd_bytes){ 0 }); /* no other has anything to look at */
    xd_proc              p = XD_PROC_NONE;
    xd_proc_status       status = { .exit_status = 6 };
    xd_wire_ENV_START    start = { .python = xd_bytes_str(argv[0]), .cache_dir = xd_bytes_str(argv[1]) };
    int                  r = ops->prepare(&runner, &start, XD_BUILD_ID, &err);
    if (r == 0)
        r = ops->spawn_check(runner, (const char *const *)argv + 2, (const int[]){ 1, 2 }, &p, &err);
    if (r == 0) {
        struct pollfd ended = { .fd = p.pidfd, .events = POLLIN };
        while (poll(&ended, 1, -1) < 0 && errno == EINTR)
            ;
        (void)xd_proc_kill_group(&p,
                                 SIGKILL); /* what it left behind; before the wait, which frees its number */
        r = xd_proc_wait(&p, true, &status);
    }
    xd_proc_close(&p);
    (void)ops->release(runner);
    if (r < 0)
        fprintf(stderr, "xdagent: %s\n", err.text[0] ? err.text : xd_error_name(r));
    return r < 0 ? 6 : status.exit_status >= 0 ? status.exit_status : 6;
}

int main(int argc, char **argv)
{
    if (argc > 0 && strncmp(argv[0], "/proc/", 6) == 0) /* it runs from memory, or its file was replaced */
        xd_os_name_process("xdagent");
    if (argc > 4 && strcmp(argv[1], "--check") == 0)
        return check(argv + 2);
    if (argc > 1 && strcmp(argv[1], XD_COMMAND_ROLE) == 0)
        return xd_command_main(argc - 2, argv + 2);
    if (argc == 3 && strcmp(argv[1], AGENT_RECEIVE_ROLE) == 0)
        return agent_receive_main(argv[2]);
    static const struct option options[] = { { "fd", required_argument, NULL, 'f' },
                                             { "output-limit", required_argument, NULL, 'o' },
                                             { "cache-dir", required_argument, NULL, 'c' },
                                             { "scratch-dir", required_argument, NULL, 's' },
                                             { "max-workers", required_argument, NULL, 'w' },
                                             { "guarded-by", required_argument, NULL, 'g' },
                                             { "note", required_argument, NULL, 'n' },
                                             { "page", required_argument, NULL, 'p' },
                                             { "redial", required_argument, NULL, 'r' },
                                             { "hand", required_argument, NULL, 'd' },
                                             { "reconnect", required_argument, NULL, 'R' },
                                             { "attach", required_argument, NULL, 'A' },
                                             { "version", no_argument, NULL, 'V' },
                                             { "help", no_argument, NULL, 'h' },
                                             { 0 } };
    streams                    s = { STDIN_FILENO, STDOUT_FILENO, -1, -1, NULL };
    int                        c;
    agent                      a = { .output_limit = AGENT_OUTPUT_LIMIT,
                                     .note = -1,
                                     .page = -1,
                                     .oom_kills = xd_os_oom_kills(),
                                     .tick_ns = UINT64_MAX,
                                     .progress_ns = UINT64_MAX,
                                     .queue_ns = UINT64_MAX,
                                     .kill_ns = UINT64_MAX,
                                     .term_ns = UINT64_MAX,
                                     .down_ns = UINT64_MAX,
                                     .leave_ns = UINT64_MAX,
                                     .phase_by_ns = UINT64_MAX,
                                     .waiting_ns = UINT64_MAX,
                                     .late_ns = UINT64_MAX };
    uint64_t                   guard = 0, most = 0;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'V') {
            printf("xdagent %s\n", XD_BUILD_ID);
            return 0;
        }
        if (c == 'h')
            return usage(stdout);
        if (c == 'A')
            return agent_attach(optarg);
        if (c == 'f' && descriptor(optarg, &s.in) == 0)
            s.out = s.in;
        else if (c == 'R')
            s.reconnect = optarg;
        else if (c == 'c')
            a.wishes.cache_dir = optarg;
        else if (c == 's')
            a.wishes.scratch_dir = optarg;
        else if ((c == 'g' && xd_text_u64(optarg, 1, INT32_MAX, &guard) == 0) ||
                 (c == 'w' && xd_text_u64(optarg, 1, UINT16_MAX, &most) == 0) ||
                 (c == 'n' && descriptor(optarg, &a.note) == 0) ||
                 (c == 'p' && descriptor(optarg, &a.page) == 0) ||
                 (c == 'r' && descriptor(optarg, &s.redial) == 0) ||
                 (c == 'd' && descriptor(optarg, &s.hand) == 0))
            continue;
        else if (c != 'o' || xd_text_size(optarg, &a.output_limit) < 0)
            return usage(stderr);
    }
    if (optind < argc)
        return usage(stderr);
    a.wishes.max_workers = (uint32_t)most;
    if (!guard)
        return agent_guard(s.in, s.out, s.redial, s.reconnect, a.output_limit, &a.wishes);
    const int kept[] = { a.note, a.page, s.redial, s.hand };
    for (size_t i = 0; i < XD_ARRAY_LEN(kept); i++)
        if (kept[i] >= 0)
            (void)fcntl(kept[i], F_SETFD, FD_CLOEXEC);
    a.scratch = malloc(AGENT_SCRATCH);
    a.env.captured[0] = a.env.captured[1] = -1;
    a.env.control.fd = a.env.collect.fd = a.env.host.pidfd = a.env.collector.pidfd = -1;
    a.env.host_ns = UINT64_MAX;
    a.env.place = AGENT_PLACE_INIT;
    a.look = AGENT_LOOK_INIT;
    a.sync = AGENT_SYNC_INIT;
    int r = a.scratch ? run(&a, &s, (pid_t)guard) : -ENOMEM;
    if (r < 0 && r != -EINTR)
        fprintf(stderr, "xdagent: %s\n", xd_error_name(r));
    if (r < 0 && a.env.page_made && !a.link.lost && send_progress(&a, xd_clock_ns(), true) == 0)
        (void)!agent_link_flush(&a);
    clean_up(&a);
    return r < 0 ? 6 : 0;
}
