/* How a worker ended, and what is said about it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/outcome.h"
#include "tools/xdagent/agent.h"

#define STATUS_WAIT_NS (2 * XD_S_NS) /* for REAPED; then the status stays unknown */
#define FAULT_BYTES 16384u

/* The process that waits for this worker when asked to; NULL: we do, as for every orphan. */
static agent_chan *parent_of(agent_worker *w)
{
    agent_env *e = &w->agent->env;
    if (w->process.parent == AGENT_BY_COLLECTOR && !w->process.become)
        return e->collector.pid > 0 && e->collect.fd >= 0 ? &e->collect : NULL;
    if (w->process.parent == AGENT_BY_HOST)
        return e->host.pid > 0 && e->control.fd >= 0 ? &e->control : NULL;
    return NULL;
}

/* The status of a process is known to its parent alone: H, C, or this agent. What it left in its group ends first,
 * while the number is still its own. */
int agent_act_gone(agent_worker *w, const agent_news *news)
{
    agent *a = w->agent;
    (void)news;
    if (w->process.proc.pidfd >= 0)
        xd_poller_remove(a->poller, w->process.proc.pidfd);
    w->process.due_ns = xd_clock_ns() + STATUS_WAIT_NS;
    a->down_ns = 0;
    (void)xd_proc_kill_group(&w->process.proc, SIGKILL);
    int ours = xd_proc_wait(&w->process.proc, false, &w->end.status);
    if (ours == 1) {
        w->end.status_known = true;
        return 0;
    }
    agent_chan *parent = parent_of(w);
    if (!parent)
        return 0; /* an orphan that is not quite ours yet: looked at again by the timer */
    xd_autobuf body = XD_BUF_INIT;
    w->process.reap_pid = xd_proc_hand_over(&w->process.proc);
    xd_wire_REAP m = { .pid = (uint32_t)w->process.reap_pid };
    XD_TRY(xd_wire_REAP_encode(&body, &m));
    return agent_chan_send(parent, XD_MSG_REAP, xd_buf_view(&body), NULL, 0);
}

int agent_act_status(agent_worker *w, const agent_news *news)
{
    w->end.status = *news->status;
    w->end.status_known = true;
    w->agent->down_ns = 0;
    return 0;
}

int agent_worker_reaped(agent *a, const xd_wire_REAPED *m)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker  *w = &a->worker[i];
        xd_proc_status status = { .exit_status = m->exit_status, .signal = m->signal };
        if (w->end.status_known || (uint32_t)w->process.reap_pid != m->pid)
            continue;
        XD_TRY(agent_worker_on(w, AGENT_ON_STATUS, &(agent_news){ .status = &status }));
    }
    return 0;
}

/* ---- texts ---------------------------------------------------------------------------------------- */

const char *agent_say_oom(agent *a, const xd_proc_status *s)
{
    int64_t ooms = s->signal == SIGKILL ? xd_os_oom_kills() : -1;
    if (ooms <= a->oom_kills || a->oom_kills < 0)
        return "";
    a->oom_kills = ooms;
    return " (out of memory: the kernel killed in this cgroup)";
}

static int say_how(agent_worker *w, xd_buf *out)
{
    char name[32];
    if (w->end.status.signal)
        return xd_buf_printf(out, "killed by %s%s",
                             xd_os_signal_name(w->end.status.signal, name, sizeof(name)),
                             agent_say_oom(w->agent, &w->end.status));
    if (w->end.status.exit_status >= 0)
        return xd_buf_printf(out, "exited with status %d", w->end.status.exit_status);
    return xd_buf_add_str(out, "ended; its exit status is unknown");
}

int agent_take_file(const agent *a, const char *name)
{
    const char *scratch = a->env.place.scratch;
    xd_autobuf  path = XD_BUF_INIT;
    struct stat st;
    if (!scratch || !*scratch || xd_buf_printf(&path, "%s/%s", scratch, name) < 0)
        return -1;
    int fd = open(xd_buf_cstr(&path), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    (void)unlink(xd_buf_cstr(&path));
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd); /* the process has put something else there */
        fd = -1;
    }
    return fd;
}

void agent_worker_files(agent_worker *w)
{
    static const char *const kinds[] = { "out", "err", "fault" };
    for (size_t i = 0; i < XD_ARRAY_LEN(kinds); i++) {
        char name[32];
        snprintf(name, sizeof(name), "gw%u.%s", (unsigned)w->number, kinds[i]); /* id= may be any word */
        if (w->io.files[i] < 0)
            w->io.files[i] = agent_take_file(w->agent, name);
    }
}

int agent_add_end(xd_buf *out, int fd, size_t most)
{
    uint8_t text[FAULT_BYTES];
    off_t   size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t got = size > 0 ? pread(fd, text, most, size > (off_t)most ? size - (off_t)most : 0) : 0;
    if (got <= 0)
        return 0;
    XD_TRY(xd_buf_add(out, text, (size_t)got));
    return text[got - 1] == '\n' ? 0 : xd_buf_add_byte(out, '\n');
}

/* The worker's last output, what was captured of the phase it died in, and what it wrote on a fault. */
static int last_words(agent_worker *w, xd_buf *out)
{
    size_t n = XD_MIN(w->io.last.len, (size_t)AGENT_LAST_OUTPUT);
    if (n) {
        XD_TRY(xd_buf_add(out, w->io.last.data + (w->io.last.len - n), n));
        if (out->data[out->len - 1] != '\n')
            XD_TRY(xd_buf_add_byte(out, '\n'));
    }
    agent_worker_files(w); /* it may have died before it was heard */
    XD_TRY(agent_add_end(out, w->io.files[0], AGENT_CAPTURED_BYTES));
    XD_TRY(agent_add_end(out, w->io.files[1], AGENT_CAPTURED_BYTES));
    return agent_add_end(out, w->io.files[2], FAULT_BYTES);
}

/* ---- the records ------------------------------------------------------------------------------------ */

static uint64_t lasted_us(const agent_worker *w)
{
    uint64_t since = w->agent->env.page.slot[w->slot].since_ns, now = xd_clock_ns();
    return since && since < now ? (now - since) / 1000u : 0;
}

/* `r` names the phase and what it counts under; `doing`: what the worker did when it crashed. */
static int crash_report(agent_worker *w, xd_wire_REPORT r, const char *doing, xd_bytes how, xd_bytes words)
{
    xd_bytes   id = { 0 };
    xd_autobuf message = XD_BUF_INIT, text = XD_BUF_INIT, body = XD_BUF_INIT;
    XD_TRY(agent_cache_note(w->agent, r.item, XD_OUT_CRASHED, true));
    (void)agent_env_nodeid(w->agent, r.item, &id);
    XD_TRY(xd_outcome_sentence(&message, XD_OUT_CRASHED, agent_worker_name(w).text, doing, id));
    XD_TRY(xd_buf_add_str(&message, ": "));
    XD_TRY(xd_buf_add_bytes(&message, how));
    XD_TRY(xd_buf_add_bytes(&text, xd_buf_view(&message)));
    if (words.len) {
        XD_TRY(xd_buf_add_str(&text, XD_OUTCOME_LAST_OUTPUT));
        XD_TRY(xd_buf_add_bytes(&text, words));
    }
    r.worker = w->number;
    r.outcome = XD_BYTES_LIT("failed");
    r.text = xd_buf_view(&text);
    r.message = xd_buf_view(&message);
    r.line = -1;
    r.duration_us = lasted_us(w);
    r.start_us = xd_clock_wall_us() - r.duration_us;
    XD_TRY(xd_wire_REPORT_encode(&body, &r));
    return agent_link_send(w->agent, XD_MSG_REPORT, xd_buf_view(&body));
}

/* The item it crashed in gets its outcome here: nobody else can give it one. */
static int tell_crash(agent_worker *w, const agent_blame *blame, xd_bytes how, xd_bytes words)
{
    agent         *a = w->agent;
    xd_autobuf     body = XD_BUF_INIT, one = XD_BUF_INIT;
    uint64_t       us = lasted_us(w);
    xd_wire_REPORT r = { .item = blame->item,
                         .attempt = blame->attempt,
                         .when = XD_BYTES_LIT("call"),
                         .category = XD_BYTES_LIT("crashed"),
                         .letter = XD_BYTES_LIT("C"),
                         .word = XD_BYTES_LIT("CRASHED") };
    XD_TRY(crash_report(w, r, "running", how, words));
    xd_wire_RESULT res = { .item = blame->item,
                           .attempt = blame->attempt,
                           .outcome = XD_OUT_CRASHED,
                           .flags = XD_RES_REPORTS,
                           .call_us = (uint32_t)XD_MIN(us, (uint64_t)UINT32_MAX),
                           .position = xd_page_get(&a->env.page.slot[w->slot].claimed),
                           .start_us = xd_clock_wall_us() - us };
    XD_TRY(xd_wire_RESULT_encode(&one, &res));
    xd_wire_RESULTS m = { .worker = w->number, .results = agent_list_of(&one, 1) };
    XD_TRY(xd_wire_RESULTS_encode(&body, &m));
    return agent_link_send(a, XD_MSG_RESULTS, xd_buf_view(&body));
}

/* It crashed while it tore down what outlived an item that has its result: an error of that item. */
static int tell_crash_in_teardown(agent_worker *w, xd_bytes how, xd_bytes words)
{
    xd_wire_RESULT o = w->results.open;
    xd_wire_REPORT r = { .item = o.item,
                         .attempt = o.attempt,
                         .when = XD_BYTES_LIT("teardown"),
                         .category = XD_BYTES_LIT("error"),
                         .letter = XD_BYTES_LIT("E"),
                         .word = XD_BYTES_LIT("ERROR"),
                         .flags = XD_REP_CLOSES };
    XD_TRY(crash_report(w, r, "tearing down the fixtures that outlived", how, words));
    if (o.outcome == XD_OUT_FAILED || o.outcome == XD_OUT_ERROR)
        o.flags |= XD_RES_TEARDOWN_ERROR;
    else
        o.outcome = XD_OUT_ERROR;
    XD_TRY(agent_worker_close_item(w, o));
    return agent_worker_flush(w);
}

static int tell_down(agent_worker *w, bool expected, uint32_t item, xd_bytes reason, xd_bytes words)
{
    xd_autobuf          body = XD_BUF_INIT;
    uint8_t             again = w->end.fate == AGENT_FATE_RESTART  ? XD_DOWN_REPLACED
                                : w->end.fate == AGENT_FATE_BUDGET ? XD_DOWN_NO_BUDGET
                                                                   : XD_DOWN_FOR_GOOD;
    uint64_t            age_ms = item == XD_NO_INDEX ? 0 : lasted_us(w) / 1000u;
    xd_wire_WORKER_DOWN m = { .worker = w->number,
                              .expected = expected,
                              .exit_status = w->end.status.exit_status,
                              .signal = w->end.status.signal,
                              .item = item,
                              .session_status = w->end.session_status,
                              .stopped = w->end.done && w->end.stopped,
                              .reason = reason,
                              .last_output = expected ? (xd_bytes){ 0 } : words,
                              .will_restart = again,
                              .age_ms = (uint32_t)XD_MIN(age_ms, (uint64_t)UINT32_MAX) };
    if (m.last_output.len > AGENT_LAST_OUTPUT) {
        m.last_output.ptr += m.last_output.len - AGENT_LAST_OUTPUT;
        m.last_output.len = AGENT_LAST_OUTPUT;
    }
    XD_TRY(xd_wire_WORKER_DOWN_encode(&body, &m));
    return agent_link_send(w->agent, XD_MSG_WORKER_DOWN, xd_buf_view(&body));
}

/* ---- the end ------------------------------------------------------------------------------------------ */

/* WORKER_DOWN, then the crashes it is blamed on: reporters join an outcome with how the worker ended. `item`: what
 * it ran, XD_NO_INDEX = nothing.  If an item is still open, it was being closed. */
static int tell_end(agent_worker *w, bool expected, uint32_t item, xd_bytes how)
{
    const agent_blame *blames = (const agent_blame *)(const void *)w->end.blamed.data;
    size_t             n = w->end.blamed.len / sizeof(*blames);
    xd_page_slot      *slot = &w->agent->env.page.slot[w->slot];
    xd_autobuf         words = XD_BUF_INIT, lost = XD_BUF_INIT;
    if (!expected)
        XD_TRY(last_words(w, &words));
    XD_TRY(xd_buf_add_bytes(&lost, how));
    XD_TRY(xd_buf_add_str(&lost,
                          "; its result was lost: a test closed or replaced descriptors it did not open"));
    bool closing = w->results.open.attempt != 0;
    XD_TRY(
        tell_down(w, expected,
                  n || closing || expected ? (item == XD_NO_INDEX && n ? blames[0].item : item) : XD_NO_INDEX,
                  how, xd_buf_view(&words)));
    xd_page_set(&slot->failures, xd_page_get(&slot->failures) + (uint32_t)n + closing);
    if (closing)
        XD_TRY(tell_crash_in_teardown(w, how, xd_buf_view(&words)));
    for (size_t i = 0; i < n; i++)
        XD_TRY(tell_crash(w, &blames[i], blames[i].item == item ? how : xd_buf_view(&lost),
                          xd_buf_view(&words)));
    return 0;
}

void agent_worker_again(agent_worker *w)
{
    w->end.restart = true; /* by the loop, not from here: a start that fails comes back to bury() */
    w->replaces = w->number;
    w->agent->down_ns = 0;
}

static int bury(agent_worker *w, xd_aqueue_end end, bool expected, xd_bytes how)
{
    agent         *a = w->agent;
    xd_page_slot  *slot = &a->env.page.slot[w->slot];
    xd_aqueue_last last = { xd_page_get(&slot->claimed), xd_page_get(&slot->item_plus_1),
                            xd_page_get(&slot->done) };
    bool           closing = end == XD_AQUEUE_CRASHED && last.finished > w->results.open.position &&
                   last.item_plus_1 == w->results.open.item + 1;
    if (w->results.open.attempt && !closing) /* nothing is known to have gone wrong with it */
        XD_TRY(agent_worker_close_item(w, w->results.open));
    XD_TRY(agent_worker_flush(w));
    agent_worker_io_close(&w->io);
    w->queue.held.len = 0;
    w->end.fate = AGENT_FATE_NONE;
    xd_buf_clear(&w->end.blamed);
    w->state = AGENT_WORKER_NONE;
    int r = xd_aqueue_worker_down(a->queue, w->slot, end, &last, xd_clock_ns());
    XD_TRY(r);
    a->buried = w; /* the controller must know why a worker ended before it hears that nobody is left */
    r = agent_queue_drain(a);
    a->buried = NULL;
    XD_TRY(r);
    bool again = w->end.fate == AGENT_FATE_RESTART;
    if (again && (a->phase != AGENT_RUNNING || a->env.failed)) {
        again = false;
        w->end.fate = AGENT_FATE_END;
    }
    XD_TRY(tell_end(w, expected, last.item_plus_1 ? last.item_plus_1 - 1 : XD_NO_INDEX, how));
    XD_TRY(agent_queue_returned(a));
    agent_worker_release(w);
    xd_page_set(&slot->item_plus_1, 0);
    if (again)
        agent_worker_again(w);
    return 0;
}

/* Its process never was, or is not known to be. That is no crash of a worker: no test is to blame. */
int agent_act_unborn(agent_worker *w, const agent_news *news)
{
    w->end.status = (xd_proc_status){ .exit_status = -2 };
    return bury(w, news->free_of_charge ? XD_AQUEUE_UNBORN : XD_AQUEUE_NOT_STARTED,
                news->free_of_charge || w->process.killed,
                xd_bytes_str(news->why ? news->why : "it could not be started: nothing came of the fork"));
}

/* Everything it wrote has been read and its status is known (or never will be). */
int agent_act_conclude(agent_worker *w, const agent_news *news)
{
    agent     *a = w->agent;
    xd_autobuf how = XD_BUF_INIT;
    bool       by_itself = w->end.done && (w->end.status.signal == 0 || w->process.killed);
    bool       told_to =
        w->process.killed || (w->end.quit && w->end.status.signal == 0 && w->end.status.exit_status == 0);
    (void)news;
    if (!w->end.status_known)
        w->end.status = (xd_proc_status){ .exit_status = -2 };
    if (by_itself && w->end.reason && *w->end.reason)
        XD_TRY(xd_buf_add_str(&how, w->end.reason));
    else
        XD_TRY(say_how(w, &how));
    if (w->io.deaf_killed)
        XD_TRY(xd_buf_printf(&how, " by xd, because %s", w->io.deaf));
    if (by_itself || told_to)
        return bury(w, XD_AQUEUE_ENDED, true, xd_buf_view(&how));
    a->highest_status = XD_MAX(a->highest_status, 1);
    return bury(w, w->was_up ? XD_AQUEUE_CRASHED : XD_AQUEUE_NOT_STARTED, false, xd_buf_view(&how));
}

/* ---- we end it -------------------------------------------------------------------------------------- */

int agent_act_term(agent_worker *w, const agent_news *news)
{
    (void)news;
    w->process.killed = true;
    (void)xd_proc_kill_group(&w->process.proc, SIGTERM);
    (void)xd_proc_kill_group(&w->process.proc, SIGCONT); /* a stopped process hears nothing else */
    return 0;
}

static void kill_now(agent_worker *w)
{
    w->process.sigkill = true;
    w->process.due_ns = xd_clock_ns() + AGENT_KILL_NS;
    w->agent->down_ns = XD_MIN(w->agent->down_ns, w->process.due_ns);
    (void)xd_proc_kill_group(&w->process.proc, SIGKILL);
}

int agent_act_kill(agent_worker *w, const agent_news *news)
{
    (void)news;
    w->process.killed = true;
    kill_now(w);
    return 0;
}

/* Its own process, if there is one, has no number yet: its parent's end brings it to us. */
int agent_act_kill_parent(agent_worker *w, const agent_news *news)
{
    agent_env *e = &w->agent->env;
    (void)news;
    w->process.killed = true;
    e->killed = true;
    kill_now(w);
    return xd_proc_kill(w->process.parent == AGENT_BY_COLLECTOR ? &e->collector : &e->host, SIGKILL);
}

/* A process that cannot be heard any more and has not ended by itself is ended; one that does not even end of that
 * is left behind. */
int agent_act_overdue(agent_worker *w, const agent_news *news)
{
    (void)news;
    if (!w->process.sigkill) {
        w->io.deaf_killed = true;
        kill_now(w);
        return 0;
    }
    w->end.status = (xd_proc_status){ .exit_status = -2 };
    return bury(w, w->process.killed ? XD_AQUEUE_ENDED : XD_AQUEUE_CRASHED, w->process.killed,
                XD_BYTES_LIT("SIGKILL does not end it; it is abandoned"));
}

/* ---- timers ------------------------------------------------------------------------------------------- */

/* By the loop, not from bury(): a start that fails comes back there. */
static int refill(agent *a, agent_worker *w)
{
    uint16_t replaces = w->replaces;
    w->end.restart = false;
    if (a->cancelled || a->phase != AGENT_RUNNING) {
        a->queue_dirty = true;
        int r = xd_aqueue_worker_down(a->queue, w->slot, XD_AQUEUE_NOT_STARTED, &(xd_aqueue_last){ 0 },
                                      xd_clock_ns());
        return r < 0 ? r : 0;
    }
    return agent_worker_start(a, w->slot, agent_next_number(a, replaces), replaces);
}

/* Reads on what an ended worker wrote, then looks for its status. */
static int settle(agent *a, agent_worker *w, uint64_t now_ns)
{
    if (agent_link_full(a))
        return 0; /* no credit: its pipes keep what they hold */
    ssize_t n = w->io.results.fd >= 0 ? agent_chan_pump(&w->io.results, AGENT_SCRATCH * 4) : 0;
    if (n > 0) {
        a->down_ns = now_ns;
        return 0;
    }
    if (n < 0 && n != -EPIPE)
        return (int)n;
    if (!w->end.status_known && xd_proc_wait(&w->process.proc, false, &w->end.status) == 1)
        w->end.status_known = true;
    if (w->end.status_known)
        return agent_worker_on(w, AGENT_ON_SETTLED, NULL);
    if (now_ns >= w->process.due_ns)
        return agent_worker_on(w, AGENT_ON_OVERDUE, NULL);
    a->down_ns = XD_MIN(a->down_ns, now_ns + 20 * XD_MS_NS);
    return 0;
}

int agent_down_timers(agent *a, uint64_t now_ns)
{
    if (now_ns < a->down_ns)
        return 0;
    a->down_ns = UINT64_MAX;
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        if (w->end.restart)
            XD_TRY(refill(a, w));
        if (w->state == AGENT_WORKER_GONE) {
            XD_TRY(settle(a, w, now_ns));
            continue;
        }
        if (now_ns >= w->process.due_ns) {
            w->process.due_ns = UINT64_MAX;
            XD_TRY(agent_worker_on(w, AGENT_ON_OVERDUE, NULL));
        }
        a->down_ns = XD_MIN(a->down_ns, w->process.due_ns);
    }
    return 0;
}
