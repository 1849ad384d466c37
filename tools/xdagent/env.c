/* One environment: runner host and collector, from ENV_START to their end. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "tools/xdagent/agent.h"

#define ERROR_TAIL 4096u

static int  on_host_frame(void *arg, const xd_frame *f);
static void on_control_end(void *arg, int error);
static void on_collect_end(void *arg, int error);

int agent_env_fail(agent *a, int exit_status, const char *fmt, ...)
{
    xd_autobuf text = XD_BUF_INIT, body = XD_BUF_INIT;
    va_list    ap;
    if (a->env.failed)
        return 0; /* one cause is told, not what follows from it */
    a->env.failed = true;
    va_start(ap, fmt);
    int r = xd_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    XD_TRY(r);
    xd_wire_ENV_FAILED m = { .exit_status = exit_status, .text = xd_buf_view(&text) };
    XD_TRY(xd_wire_ENV_FAILED_encode(&body, &m));
    if (a->env.page_made)
        xd_page_set(&a->env.page.head->stop, 1);
    return agent_link_send(a, XD_MSG_ENV_FAILED, xd_buf_view(&body));
}

/* ---- start ------------------------------------------------------------------------------------------ */

static void on_host_pidfd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    agent_env_host_ended(arg);
}

static void on_collector_pidfd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    agent_env_collector_ended(arg);
}

static int spawn(agent *a, xd_error *err)
{
    agent_env     *e = &a->env;
    xd_pytest_host h;
    XD_TRY(xd_pytest_spawn_host(&e->pytest, e->page.fd, &h, err));
    e->host = h.proc;
    XD_TRY(agent_chan_open(&e->control, a, h.control, true, on_host_frame, on_control_end, a));
    XD_TRY(agent_chan_open(&e->collect, a, h.collector, true, on_host_frame, on_collect_end, a));
    XD_TRY(agent_output_open(&e->out, a, NULL, h.out, 1, &e->last));
    XD_TRY(agent_output_open(&e->err, a, NULL, h.err, 2, &e->last));
    if (e->host.pidfd >= 0)
        XD_TRY(xd_poller_set(a->poller, e->host.pidfd, XD_POLL_IN, on_host_pidfd, a));
    return agent_chan_send(&e->control, XD_MSG_ENV_START, xd_buf_view(&e->start), NULL, 0);
}

int agent_env_start(agent *a, xd_bytes body, const xd_wire_ENV_START *m)
{
    agent_env *e = &a->env;
    xd_error   err = { 0 };
    if (e->started)
        return -EPROTO;
    e->started = true;
    XD_TRY(xd_buf_add_bytes(&e->start, body));
    e->scratch = xd_bytes_dup(m->scratch_dir);
    if (!e->scratch)
        return -ENOMEM;
    e->scratch_made = *e->scratch && mkdir(e->scratch, 0700) == 0;
    if (e->scratch_made)
        agent_guard_note(a, e->scratch);
    XD_TRY(agent_list_init(&e->list));
    int r = a->page >= 0 ? xd_page_create_in(&e->page, &a->page, AGENT_SLOTS_MAX)
                         : xd_page_create(&e->page, AGENT_SLOTS_MAX);
    if (r < 0)
        return agent_env_fail(a, 6, "no shared memory for the progress page: %s", xd_error_name(r));
    e->page_made = true;
    e->watched = (m->flags & XD_ENV_PROGRESS) != 0;
    e->keeps_cache = (m->flags & XD_ENV_KEEPS_CACHE) != 0;
    if (e->watched)
        a->progress_ns = xd_clock_ns() + AGENT_PROGRESS_NS;
    r = xd_pytest_prepare(&e->pytest, m, XD_BUILD_ID, &err);
    if (e->pytest.dir_temp)
        agent_guard_note(a, e->pytest.dir);
    if (r == 0)
        r = spawn(a, &err);
    if (r == -ENOMEM && !*err.text)
        return r;
    if (r < 0)
        return agent_env_fail(a, 6, "%.*s: %s", (int)m->spec.len, (const char *)m->spec.ptr,
                              *err.text ? err.text : xd_error_name(r));
    return 0;
}

/* ---- what host and collector say ---------------------------------------------------------------------- */

static int on_ready(agent *a, const xd_frame *f)
{
    agent_env         *e = &a->env;
    xd_wire_HOST_READY m;
    XD_TRY(xd_wire_HOST_READY_decode(f->body, f->len, &m));
    if (e->ready)
        return -EPROTO;
    e->ready = true;
    if (m.collector_pid == 0) {
        e->host_is_collector = true;
        return 0;
    }
    /* Of the host's group; what it left there is the host's and other workers' to use. */
    return xd_proc_open((pid_t)m.collector_pid, false, &e->collector) < 0
               ? 0
               : xd_poller_set(a->poller, e->collector.pidfd, XD_POLL_IN, on_collector_pidfd, a);
}

/* ---- FINISH and QUIT for the collector ------------------------------------------------------------------ */

int agent_env_finish(agent *a, xd_bytes body, const xd_wire_FINISH *m)
{
    agent_env *e = &a->env;
    if (e->collect.fd < 0)
        return 0;
    if (!e->list.over)
        return xd_buf_add_bytes(&e->finish, body);
    /* Of another list: there is nothing that its numbers would be right for. */
    if ((m->digest_lo || m->digest_hi) &&
        (m->digest_lo != e->list.digest_lo || m->digest_hi != e->list.digest_hi))
        return 0;
    return agent_chan_send(&e->collect, XD_MSG_FINISH, body, NULL, 0);
}

int agent_env_quit(agent *a)
{
    agent_env *e = &a->env;
    if (e->collect.fd < 0)
        return 0;
    e->quit = e->finish.len > 0;
    return e->quit ? 0 : agent_chan_send(&e->collect, XD_MSG_QUIT, (xd_bytes){ 0 }, NULL, 0);
}

static int finish_held(agent *a)
{
    agent_env     *e = &a->env;
    xd_wire_FINISH m;
    if (e->finish.len == 0)
        return 0;
    XD_TRY(xd_wire_FINISH_decode(e->finish.data, e->finish.len, &m));
    XD_TRY(agent_env_finish(a, xd_buf_view(&e->finish), &m));
    xd_buf_clear(&e->finish);
    return e->quit ? agent_env_quit(a) : 0;
}

static int on_collected(agent *a, const xd_frame *f)
{
    agent_env        *e = &a->env;
    xd_autobuf        body = XD_BUF_INIT;
    xd_wire_COLLECTED m;
    XD_TRY(xd_wire_COLLECTED_decode(f->body, f->len, &m));
    if (e->list.over || (m.exit_status < 0 && m.count != e->list.count))
        return -EPROTO;
    agent_list_close(&e->list);
    e->told_end = m.exit_status >= 0;
    e->way = m.way == AGENT_COLLECTED || m.way == AGENT_FRESH ? m.way : AGENT_WARM;
    m.digest_lo = e->list.digest_lo;
    m.digest_hi = e->list.digest_hi;
    XD_TRY(xd_wire_COLLECTED_encode(&body, &m));
    XD_TRY(agent_link_send(a, XD_MSG_COLLECTED, xd_buf_view(&body)));
    return finish_held(a);
}

static int on_reaped(agent *a, const xd_frame *f)
{
    xd_wire_REAPED m;
    XD_TRY(xd_wire_REAPED_decode(f->body, f->len, &m));
    if (a->env.collector_gone && (uint32_t)a->env.collector_pid == m.pid) {
        a->env.collector_status = (xd_proc_status){ .exit_status = m.exit_status, .signal = m.signal };
        a->env.collector_known = true;
        a->down_ns = 0;
    }
    return agent_worker_reaped(a, &m);
}

static int on_env_failed(agent *a, const xd_frame *f)
{
    xd_wire_ENV_FAILED m;
    XD_TRY(xd_wire_ENV_FAILED_decode(f->body, f->len, &m));
    return agent_env_fail(a, m.exit_status, "%.*s", (int)m.text.len, (const char *)m.text.ptr);
}

static int on_forked(agent *a, const xd_frame *f)
{
    xd_wire_FORKED m;
    XD_TRY(xd_wire_FORKED_decode(f->body, f->len, &m));
    return agent_worker_forked(a, &m);
}

/* What pytest captures of the collector: held, so that nothing of it is left behind whoever is killed. */
static void take_captures(agent_env *e, const agent *a)
{
    static const char *const names[] = { "collector.out", "collector.err" };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        if (e->captured[i] < 0)
            e->captured[i] = agent_take_file(a, names[i]);
}

/* REPORT, WARNING, SUITE_PROPERTY, CONFIG of the collector go up as they are, once they are known to be well formed. */
static int on_passed_on(agent *a, const xd_frame *f)
{
    int r;
    if (f->type == XD_MSG_REPORT) {
        xd_wire_REPORT m;
        r = xd_wire_REPORT_decode(f->body, f->len, &m);
    } else if (f->type == XD_MSG_WARNING) {
        xd_wire_WARNING m;
        r = xd_wire_WARNING_decode(f->body, f->len, &m);
    } else if (f->type == XD_MSG_SUITE_PROPERTY) {
        xd_wire_SUITE_PROPERTY m;
        r = xd_wire_SUITE_PROPERTY_decode(f->body, f->len, &m);
    } else {
        xd_wire_CONFIG m;
        r = xd_wire_CONFIG_decode(f->body, f->len, &m);
    }
    XD_TRY(r);
    if (f->type == XD_MSG_CONFIG)
        take_captures(&a->env, a);
    return agent_link_send(a, f->type, agent_body(f));
}

static int on_host_frame(void *arg, const xd_frame *f)
{
    agent *a = arg;
    switch (f->type) {
    case XD_MSG_HOST_READY:
        return on_ready(a, f);
    case XD_MSG_COLLECT_IDS:
        return a->env.list.over ? -EPROTO : agent_list_add(&a->env.list, agent_body(f));
    case XD_MSG_COLLECTED:
        return on_collected(a, f);
    case XD_MSG_FORKED:
        return on_forked(a, f);
    case XD_MSG_REAPED:
        return on_reaped(a, f);
    case XD_MSG_SAVED:
        a->env.saved = true;
        return 0;
    case XD_MSG_ENV_FAILED:
        return on_env_failed(a, f);
    case XD_MSG_CONFIG:
    case XD_MSG_REPORT:
    case XD_MSG_WARNING:
    case XD_MSG_SUITE_PROPERTY:
        return on_passed_on(a, f);
    default:
        return -EPROTO;
    }
}

/* ---- their ends ---------------------------------------------------------------------------------------- */

/* What a dead process wrote last, for the text of ENV_FAILED. */
static int error_tail(agent *a, xd_buf *out)
{
    agent_env *e = &a->env;
    agent_output_drain(&e->out);
    agent_output_drain(&e->err);
    size_t n = XD_MIN(e->last.len, (size_t)ERROR_TAIL);
    if (n == 0)
        return 0;
    XD_TRY(xd_buf_add(out, e->last.data + (e->last.len - n), n));
    while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == ' '))
        out->len--;
    return 0;
}

static int how_it_ended(const xd_proc_status *s, bool known, char *text, size_t size)
{
    char name[32];
    if (known && s->signal)
        return snprintf(text, size, "was killed by %s", xd_os_signal_name(s->signal, name, sizeof(name)));
    if (known && s->exit_status >= 0)
        return snprintf(text, size, "ended with status %d", s->exit_status);
    return snprintf(text, size, "ended");
}

/* " while it collected tests/test_a.py", when that is known. */
static int say_collecting(agent *a, xd_buf *out)
{
    xd_autoclose int fd = agent_take_file(a, "collecting");
    char             name[4096];
    uint32_t         len = 0;
    if (fd < 0 || read(fd, &len, sizeof(len)) != (ssize_t)sizeof(len) || len > sizeof(name) ||
        read(fd, name, len) != (ssize_t)len)
        return 0;
    XD_TRY(xd_buf_add_str(out, " while it collected "));
    return xd_text_harmless(out, (xd_bytes){ (const uint8_t *)name, len }, false);
}

static int fail_with(agent *a, const char *who, const xd_proc_status *s, bool known)
{
    xd_autobuf where = XD_BUF_INIT, tail = XD_BUF_INIT;
    char       how[64];
    how_it_ended(s, known, how, sizeof(how));
    XD_TRY(say_collecting(a, &where));
    XD_TRY(error_tail(a, &tail));
    take_captures(&a->env, a); /* it may have died before CONFIG */
    XD_TRY(tail.len ? xd_buf_add_byte(&tail, '\n') : 0);
    for (size_t i = 0; i < XD_ARRAY_LEN(a->env.captured); i++)
        XD_TRY(agent_add_end(&tail, a->env.captured[i], AGENT_CAPTURED_BYTES));
    while (tail.len && tail.data[tail.len - 1] == '\n')
        tail.len--;
    return agent_env_fail(a, 6, "%s %s%s%s%s", who, how, xd_buf_cstr(&where),
                          tail.len ? "; its last output:\n" : "", xd_buf_cstr(&tail));
}

/* What a process wrote into a channel before it ended is worth reading first. */
static int drain(agent_chan *c)
{
    while (c->fd >= 0) {
        ssize_t n = agent_chan_pump(c, AGENT_SCRATCH);
        if (n <= 0)
            return n == -EPIPE || n == 0 ? 0 : (int)n;
    }
    return 0;
}

/* Where nothing may be forked the host itself is a worker: how it ended is known here. */
static int tell_its_worker(agent *a, pid_t pid, const xd_proc_status *s)
{
    for (uint32_t i = 0; i < a->slots; i++) {
        agent_worker *w = &a->worker[i];
        if (w->proc.pid != pid)
            continue;
        XD_TRY(agent_worker_on(w, AGENT_ON_EXIT, NULL));
        XD_TRY(agent_worker_on(w, AGENT_ON_STATUS, &(agent_news){ .status = s }));
    }
    return 0;
}

/* Host or collector is no more, and nobody asked it to end. What was forked from it goes on. */
static int say_ended(agent *a, agent_phase phase, const char *who, const xd_proc_status *s, bool known,
                     const char *then)
{
    char how[64];
    if (a->env.killed || a->env.failed || a->env.told_end || a->cancelled ||
        (phase >= AGENT_ENDING_PROCESSES && !(known && s->signal)))
        return 0;
    how_it_ended(s, known, how, sizeof(how));
    return agent_note(a, 3, false, "%s %s%s: %s", who, how, known ? agent_say_oom(a, s) : "",
                      phase == AGENT_RUNNING ? then : "the run was at its end");
}

static int host_ended(agent *a)
{
    agent_env     *e = &a->env;
    xd_proc_status s = { .exit_status = -2 };
    pid_t          pid = e->host.pid;
    bool           itself = e->host_is_collector;
    if (e->host.pidfd >= 0)
        xd_poller_remove(a->poller, e->host.pidfd);
    if (itself)
        (void)xd_proc_kill_group(&e->host, SIGKILL); /* else it is its workers' to use */
    bool known = xd_proc_wait(&e->host, true, &s) == 1;
    XD_TRY(drain(&e->control));
    XD_TRY(drain(&e->collect));
    a->down_ns = 0; /* its children are ours now */
    agent_chan_close(&e->control);
    if (itself || !e->ready)
        agent_chan_close(&e->collect);
    xd_proc_close(&e->host);
    if (itself && known)
        XD_TRY(tell_its_worker(a, pid, &s));
    XD_TRY(agent_workers_parent_ended(a, itself ? AGENT_BY_COLLECTOR : AGENT_BY_HOST,
                                      "the runner host ended before it had forked it"));
    if (a->phase == AGENT_RUNNING && !e->failed && !e->ready)
        return fail_with(a, "the runner host (python with pytest) could not start: it", &s, known);
    if (a->phase == AGENT_RUNNING && !e->failed && itself && !e->list.over)
        return fail_with(a, "the runner host", &s, known);
    if (itself && e->became)
        return 0;
    return say_ended(a, a->phase, "the runner host", &s, known,
                     "workers go on, further ones are started without it");
}

void agent_env_host_ended(agent *a)
{
    if (a->env.host.pid > 0)
        agent_fault(a, host_ended(a));
}

/* The collector's status comes from the host, or from here when the host has ended. */
static int ask_collector_status(agent *a)
{
    agent_env *e = &a->env;
    if (e->host.pid <= 0 || e->control.fd < 0)
        return 0;
    xd_autobuf   body = XD_BUF_INIT;
    xd_wire_REAP m = { .pid = (uint32_t)e->collector_pid };
    XD_TRY(xd_wire_REAP_encode(&body, &m));
    return agent_chan_send(&e->control, XD_MSG_REAP, xd_buf_view(&body), NULL, 0);
}

static int collector_ended(agent *a)
{
    agent_env *e = &a->env;
    if (e->collector.pidfd >= 0)
        xd_poller_remove(a->poller, e->collector.pidfd);
    XD_TRY(drain(&e->collect));
    e->collector_pid = xd_proc_hand_over(&e->collector);
    a->down_ns = 0; /* its children are ours now */
    XD_TRY(agent_workers_parent_ended(a, AGENT_BY_COLLECTOR,
                                      "the process that collected the tests ended before it had forked it"));
    if (e->became) { /* the worker's own pidfd tells, and a child of it keeps the socket */
        xd_proc_close(&e->collector);
        return 0;
    }
    agent_chan_close(&e->collect);
    e->collector_gone = true;
    e->collector_phase = a->phase;
    e->collector_by_ns = xd_clock_ns() + 2 * XD_S_NS;
    return ask_collector_status(a);
}

void agent_env_collector_ended(agent *a)
{
    if (a->env.collector.pid > 0)
        agent_fault(a, collector_ended(a));
}

/* The collector's end is a failure of the environment only as long as its collection was awaited. */
int agent_env_timers(agent *a, uint64_t now_ns)
{
    agent_env *e = &a->env;
    if (!e->collector_gone || e->collector_by_ns == 0)
        return 0;
    if (!e->collector_known && xd_proc_wait(&e->collector, false, &e->collector_status) == 1)
        e->collector_known = true;
    if (!e->collector_known && now_ns < e->collector_by_ns) {
        a->down_ns = XD_MIN(a->down_ns, now_ns + 20 * XD_MS_NS);
        return 0;
    }
    e->collector_by_ns = 0;
    xd_proc_close(&e->collector);
    static const char who[] = "the process that collects the tests";
    if (!e->list.over && !e->failed && a->phase == AGENT_RUNNING)
        return fail_with(a, who, &e->collector_status, e->collector_known);
    return say_ended(
        a, e->collector_phase, who, &e->collector_status, e->collector_known,
        "workers go on, further ones are started another way; pytest's cache (--lf) is not written");
}

static void on_control_end(void *arg, int error)
{
    agent *a = arg;
    if (error)
        agent_fault(a,
                    agent_env_fail(a, 6, "the runner host sent bytes that are not a frame of the protocol"));
}

static void on_collect_end(void *arg, int error)
{
    agent *a = arg;
    if (error)
        agent_fault(
            a,
            agent_env_fail(
                a, 6, "the process that collects the tests sent bytes that are not a frame of the protocol"));
}

void agent_env_release(agent *a)
{
    agent_env *e = &a->env;
    take_captures(e, a);
    for (size_t i = 0; i < XD_ARRAY_LEN(e->captured); i++)
        if (e->captured[i] >= 0)
            close(e->captured[i]);
    agent_output_close(&e->out);
    agent_output_close(&e->err);
    agent_chan_close(&e->control);
    agent_chan_close(&e->collect);
    agent_list_release(&e->list);
    if (e->page_made)
        xd_page_release(&e->page);
    xd_pytest_release(&e->pytest);
    xd_buf_release(&e->start);
    xd_buf_release(&e->finish);
    xd_buf_release(&e->last);
    if (e->scratch_made)
        (void)xd_path_remove_tree(e->scratch);
    free(e->scratch);
}
