#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

/* Result pipes are looked at every TICK_NS instead of being polled while results come thick and fast. */
#define TICK_NS (4 * XD_MS_NS)
#define ENOUGH_ITEMS 32u /* that no worker runs within a tick; it is polled when it has fewer */
#define IDLE_TICKS 8
#define BATCH_BYTES (60u * 1024u)
#define BATCH_NS (5 * XD_MS_NS)
/* While results come all the time, fewer and larger batches: each costs the controller the same, however much
 * it carries. */
#define BUSY_BATCH_NS (20 * XD_MS_NS)
#define BUSY_NS (100 * XD_MS_NS)
#define DEAF_NS (500 * XD_MS_NS)
#define UNBORN_NS (2 * XD_S_NS)
#define PUMP_BYTES (1024u * 1024u)

bool agent_worker_alive(const agent_worker *w)
{
    return w->state == AGENT_WORKER_FORKING || w->state == AGENT_WORKER_STARTING ||
           w->state == AGENT_WORKER_UP || w->state == AGENT_WORKER_LEAVING;
}

xd_name agent_worker_name(const agent_worker *w)
{
    return xd_names_of(&w->agent->names, w->number);
}

uint32_t agent_workers_alive(const agent *a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->slots; i++)
        n += a->worker[i].state != AGENT_WORKER_NONE;
    return n;
}

/* ---- what a worker says ------------------------------------------------------------------------- */

int agent_worker_flush(agent_worker *w)
{
    if (w->results.batched == 0)
        return 0;
    xd_autobuf      body = XD_BUF_INIT;
    xd_wire_RESULTS m = { .worker = w->number,
                          .results = agent_list_of(&w->results.batch, w->results.batched) };
    XD_TRY(xd_wire_RESULTS_encode(&body, &m));
    xd_buf_clear(&w->results.batch);
    w->results.batched = 0;
    return agent_link_send(w->agent, XD_MSG_RESULTS, xd_buf_view(&body));
}

int agent_workers_flush(agent *a)
{
    a->link.flush_ns = UINT64_MAX;
    a->link.flushed_ns = xd_clock_ns();
    for (uint32_t i = 0; i < a->slots; i++)
        XD_TRY(agent_worker_flush(&a->worker[i]));
    return 0;
}

static int batch(agent_worker *w, xd_bytes result, uint64_t now)
{
    agent *a = w->agent;
    a->queue_dirty = true;
    XD_TRY(xd_buf_add_bytes(&w->results.batch, result));
    w->results.batched++;
    if (a->link.flush_ns == UINT64_MAX)
        a->link.flush_ns = now + (now - a->link.flushed_ns < BUSY_NS ? BUSY_BATCH_NS : BATCH_NS);
    return w->results.batch.len >= BATCH_BYTES ? agent_worker_flush(w) : 0;
}

int agent_worker_close_item(agent_worker *w, xd_wire_RESULT r)
{
    xd_autobuf body = XD_BUF_INIT;
    r.flags = (uint8_t)((r.flags & XD_RES_TEARDOWN_ERROR) | XD_RES_CLOSES);
    w->results.open.attempt = 0;
    XD_TRY(xd_wire_RESULT_encode(&body, &r));
    return batch(w, xd_buf_view(&body), xd_clock_ns());
}

/* What the worker still says of the item that ended last. */
static int on_closing(agent_worker *w, const xd_wire_RESULT *r)
{
    const xd_wire_RESULT *o = &w->results.open;
    return o->attempt && r->item == o->item && r->attempt == o->attempt && r->position == o->position
               ? agent_worker_close_item(w, *r)
               : 0;
}

static int on_result(agent_worker *w, const xd_frame *f)
{
    agent         *a = w->agent;
    xd_wire_RESULT r;
    XD_TRY(xd_wire_RESULT_decode(f->body, f->len, &r));
    uint64_t now = xd_clock_ns();
    if (r.flags & XD_RES_CLOSES)
        return on_closing(w, &r);
    uint64_t ns = ((uint64_t)r.setup_us + r.call_us + r.teardown_us) * 1000u;
    int      known = xd_aqueue_result(a->queue, w->slot, r.position, r.item, ns, now);
    XD_TRY(known);
    if (known > 0)
        return 0; /* not told to this worker, or told twice: counted by the queue */
    XD_TRY(agent_cache_note(a, r.item, r.outcome, false));
    XD_TRY(agent_output_item_over(&w->io.out, r.item));
    XD_TRY(agent_output_item_over(&w->io.err, r.item));
    if (w->results.open.attempt) /* it should have said it before */
        XD_TRY(agent_worker_close_item(w, w->results.open));
    if (r.flags & XD_RES_OPEN)
        w->results.open = r;
    return batch(w, agent_body(f), now);
}

/* REPORT, WARNING, SUITE_PROPERTY and SUMMARY leave the worker without its number; it is put in at `at`. */
static int pass_on(agent_worker *w, const xd_frame *f, size_t at)
{
    xd_autobuf body = XD_BUF_INIT;
    XD_TRY(agent_worker_flush(w)); /* what happened before is told before */
    XD_TRY(xd_buf_add_bytes(&body, agent_body(f)));
    body.data[at] = (uint8_t)(w->number & 0xff);
    body.data[at + 1] = (uint8_t)(w->number >> 8);
    return agent_link_send(w->agent, f->type, xd_buf_view(&body));
}

/* A worker that collects by itself repeats what the collector said about the collection. */
static bool repeats(const agent_worker *w)
{
    return (w->state == AGENT_WORKER_STARTING || w->state == AGENT_WORKER_FORKING) && !w->process.become;
}

static int on_report(agent_worker *w, const xd_frame *f)
{
    xd_wire_REPORT r;
    XD_TRY(xd_wire_REPORT_decode(f->body, f->len, &r));
    if (repeats(w))
        return 0;
    if (xd_bytes_eq_str(r.outcome, "failed") && !(r.flags & XD_REP_WASXFAIL))
        XD_TRY(agent_cache_note(w->agent, r.item, 0, true));
    return pass_on(w, f, 6);
}

static int on_warning(agent_worker *w, const xd_frame *f)
{
    xd_wire_WARNING r;
    XD_TRY(xd_wire_WARNING_decode(f->body, f->len, &r));
    return repeats(w) ? 0 : pass_on(w, f, 4);
}

static int on_property(agent_worker *w, const xd_frame *f)
{
    xd_wire_SUITE_PROPERTY r;
    XD_TRY(xd_wire_SUITE_PROPERTY_decode(f->body, f->len, &r));
    return repeats(w) ? 0 : pass_on(w, f, 0);
}

static int on_summary(agent_worker *w, const xd_frame *f)
{
    xd_wire_SUMMARY r;
    XD_TRY(xd_wire_SUMMARY_decode(f->body, f->len, &r));
    return pass_on(w, f, 0);
}

static int on_ready(agent_worker *w, const xd_frame *f)
{
    xd_wire_WORKER_READY r;
    XD_TRY(xd_wire_WORKER_READY_decode(f->body, f->len, &r));
    XD_TRY(
        agent_worker_on(w, AGENT_ON_BORN, &(agent_news){ .pid = (pid_t)r.pid })); /* FORKED may come later */
    if (!r.same && !agent_check_passed(w))
        return 0; /* the environment has failed; said before */
    return agent_worker_on(w, AGENT_ON_READY, NULL);
}

int agent_act_up(agent_worker *w, const agent_news *news)
{
    agent     *a = w->agent;
    xd_autobuf body = XD_BUF_INIT;
    (void)news;
    w->was_up = true;
    agent_worker_files(w);
    xd_wire_WORKER_UP up = { .worker = w->number,
                             .pid = (uint32_t)w->process.proc.pid,
                             .way = w->process.way,
                             .replaces = w->replaces };
    XD_TRY(xd_wire_WORKER_UP_encode(&body, &up));
    XD_TRY(agent_link_send(a, XD_MSG_WORKER_UP, xd_buf_view(&body)));
    a->queue_dirty = true;
    int r2 = xd_aqueue_worker_up(a->queue, w->slot, xd_clock_ns());
    return r2 < 0 ? r2 : 0;
}

static int on_done(agent_worker *w, const xd_frame *f)
{
    xd_wire_WORKER_DONE d;
    XD_TRY(xd_wire_WORKER_DONE_decode(f->body, f->len, &d));
    w->end.done = true;
    w->end.stopped = d.stopped != 0;
    w->end.session_status = d.exit_status;
    free(w->end.reason);
    w->end.reason = xd_bytes_dup(d.reason);
    w->agent->highest_status = XD_MAX(w->agent->highest_status, d.exit_status);
    return w->end.reason ? agent_worker_on(w, AGENT_ON_DONE, NULL) : -ENOMEM;
}

static int on_worker_frame(void *arg, const xd_frame *f)
{
    agent_worker *w = arg;
    switch (f->type) {
    case XD_MSG_RESULT:
        return on_result(w, f);
    case XD_MSG_REPORT:
        return on_report(w, f);
    case XD_MSG_WARNING:
        return on_warning(w, f);
    case XD_MSG_SUITE_PROPERTY:
        return on_property(w, f);
    case XD_MSG_SUMMARY:
        return on_summary(w, f);
    case XD_MSG_WORKER_READY:
        return on_ready(w, f);
    case XD_MSG_WORKER_DONE:
        return on_done(w, f);
    case XD_MSG_COLLECT_IDS:
        return agent_check_ids(w, agent_body(f));
    case XD_MSG_COLLECTED:
        return agent_check_collected(w, agent_body(f));
    case XD_MSG_CONFIG:
        return 0; /* the collector's counts */
    default:
        return -EPROTO;
    }
}

/* The worker closed its result pipe, or wrote what is no frame: nothing it does can be recorded any more.
 * Mostly it has just ended; if it has not within a moment, it is ended. Of one that is not known yet: the answer of
 * its parent is on the way. */
int agent_act_silent(agent_worker *w, const agent_news *news)
{
    w->io.deaf = news->why;
    if (w->process.sigkill)
        return 0; /* it is ending */
    w->process.due_ns = xd_clock_ns() + (w->state == AGENT_WORKER_FORKING ? UNBORN_NS : DEAF_NS);
    w->agent->down_ns = 0;
    return 0;
}

static void on_worker_end(void *arg, int error)
{
    agent_worker *w = arg;
    agent_news    n = { .why = error ? "it wrote bytes that are not a frame to its result pipe"
                                     : "it closed its result pipe" };
    agent_fault(w->agent, agent_worker_on(w, AGENT_ON_PIPE_END, &n));
}

/* ---- when to look at the pipes --------------------------------------------------------------------- */

/* True when the worker may soon have nothing to do: then every microsecond counts and its pipe is polled. */
static bool nearly_dry(const agent_worker *w)
{
    uint32_t claimed = xd_page_get(&w->agent->env.page.slot[w->slot].claimed);
    return w->state != AGENT_WORKER_UP || w->queue.told_end < claimed + ENOUGH_ITEMS;
}

static void after_read(agent_worker *w, ssize_t n)
{
    agent *a = w->agent;
    if (w->io.results.fd < 0)
        return;
    w->io.idle_ticks = n > 0 ? 0 : (uint8_t)(w->io.idle_ticks + 1);
    bool tick = !nearly_dry(w) && w->io.idle_ticks < IDLE_TICKS;
    if (tick != w->io.ticking) {
        w->io.ticking = tick;
        agent_chan_read(&w->io.results, !tick && !a->muted);
    }
    if (tick && a->tick_ns == UINT64_MAX)
        a->tick_ns = xd_clock_ns() + TICK_NS;
}

static void on_results_readable(void *arg)
{
    agent_worker *w = arg;
    ssize_t       n = agent_chan_pump(&w->io.results, PUMP_BYTES);
    if (n < 0 && n != -EPIPE)
        agent_fault(w->agent, (int)n);
    after_read(w, n);
}

int agent_worker_open_results(agent_worker *w, int fd)
{
    XD_TRY(
        agent_chan_open(&w->io.results, w->agent, fd, !w->agent->muted, on_worker_frame, on_worker_end, w));
    w->io.results.on_readable = on_results_readable;
    return 0;
}

void agent_worker_io_close(agent_worker_io *io)
{
    agent_output_close(&io->out);
    agent_output_close(&io->err);
    agent_chan_close(&io->cmd);
    agent_chan_close(&io->results);
    agent_chan_close(&io->control);
}

static void io_release(agent_worker_io *io)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(io->files); i++) {
        if (io->files[i] >= 0)
            close(io->files[i]);
        io->files[i] = -1;
    }
    xd_buf_release(&io->last);
}

static void end_release(agent_worker_end *end)
{
    xd_buf_release(&end->blamed);
    free(end->reason);
    end->reason = NULL;
}

void agent_worker_release(agent_worker *w)
{
    agent_worker_io_close(&w->io);
    if (w->process.proc.pidfd >= 0)
        xd_poller_remove(w->agent->poller, w->process.proc.pidfd);
    xd_proc_close(&w->process.proc);
    if (w->agent)
        agent_worker_files(w); /* it may have ended before it was heard */
    io_release(&w->io);
    xd_buf_release(&w->results.batch);
    xd_buf_release(&w->queue.held);
    end_release(&w->end);
    agent_check_free(w->check);
    w->check = NULL;
    w->state = AGENT_WORKER_NONE;
}

int agent_workers_tick(agent *a, uint64_t now_ns)
{
    if (now_ns < a->tick_ns)
        return 0;
    a->tick_ns = UINT64_MAX;
    for (uint32_t i = 0; i < a->slots; i++)
        if (a->worker[i].io.ticking && !agent_link_full(a))
            on_results_readable(&a->worker[i]);
    for (uint32_t i = 0; i < a->slots && a->tick_ns == UINT64_MAX; i++)
        if (a->worker[i].io.ticking && !a->muted)
            a->tick_ns = now_ns + TICK_NS;
    return 0;
}
