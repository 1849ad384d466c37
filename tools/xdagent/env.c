/* One environment: collector and runner host, from ENV_START to their end. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "tools/xdagent/agent.h"

#define ERROR_TAIL 4096u
#define WORKER_BYTES (32u << 20) /* of memory that any worker may come to need */
/* A collection that takes longer leaves the host time to get ready beside it, for workers that may be forked from
 * it. */
#define HOST_AFTER_NS (500 * XD_MS_NS)

static int  on_frame(void *arg, const xd_frame *f);
static void on_control_end(void *arg, int error);
static void on_collect_end(void *arg, int error);
static int  collector_ended(agent *a);
static int  host_ended(agent *a);

void agent_page_stop(agent *a)
{
    if (!a->env.page_made)
        return;
    a->env.page_stops = true;
    xd_page_set(&a->env.page.head->stop, 1);
}

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
    agent_page_stop(a);
    return agent_link_send(a, XD_MSG_ENV_FAILED, xd_buf_view(&body));
}

/* ---- start ------------------------------------------------------------------------------------------ */

static void on_collector_pidfd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    agent_fault(arg, collector_ended(arg));
}

static void on_host_pidfd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    agent_fault(arg, host_ended(arg));
}

static int spawn_collector(agent *a, xd_error *err)
{
    agent_env *e = &a->env;
    int        output[2], control;
    XD_TRY(e->runner->ops->open_output(e->runner, output, err));
    XD_TRY(agent_output_open(&e->out, a, NULL, output[0], XD_OUTPUT_STDOUT, &e->last));
    XD_TRY(agent_output_open(&e->err, a, NULL, output[1], XD_OUTPUT_STDERR, &e->last));
    XD_TRY(e->runner->ops->spawn_parent(e->runner, XD_RUNNER_COLLECTOR, e->page.fd, &e->collector, &control,
                                        err));
    XD_TRY(agent_chan_open(&e->collect, a, control, true, on_frame, on_collect_end, a));
    if (e->collector.pidfd >= 0)
        XD_TRY(xd_poller_set(a->poller, e->collector.pidfd, XD_POLL_IN, on_collector_pidfd, a));
    return agent_chan_send(&e->collect, XD_MSG_ENV_START, xd_buf_view(&e->start), NULL, 0);
}

static int spawn_host(agent *a)
{
    agent_env *e = &a->env;
    xd_error   err = { 0 };
    int        control;
    int r = e->runner->ops->spawn_parent(e->runner, XD_RUNNER_HOST, e->page.fd, &e->host, &control, &err);
    if (r < 0)
        return agent_note(a, XD_NOTE_WARNING, false,
                          "the runner host could not be started: %s: workers are started without it",
                          *err.text ? err.text : xd_error_name(r));
    XD_TRY(agent_chan_open(&e->control, a, control, true, on_frame, on_control_end, a));
    if (e->host.pidfd >= 0)
        XD_TRY(xd_poller_set(a->poller, e->host.pidfd, XD_POLL_IN, on_host_pidfd, a));
    return agent_chan_send(&e->control, XD_MSG_ENV_START, xd_buf_view(&e->start), NULL, 0);
}

int agent_env_host(agent *a, agent_chan **ret)
{
    agent_env *e = &a->env;
    bool       first = !e->hosted;
    e->hosted = true;
    e->host_ns = UINT64_MAX;
    XD_TRY(first && e->forks ? spawn_host(a) : 0);
    *ret = e->host.pid > 0 && e->control.fd >= 0 ? &e->control : NULL;
    return 0;
}

/* The value of an entry of the environment: the last one of that name counts. false = there is none. */
static bool entry(const xd_wire_ENV_START *m, const char *name, xd_bytes *ret)
{
    xd_wire_list it = m->env;
    xd_wire_PAIR p;
    bool         found = false;
    while (xd_wire_PAIR_next(&it, &p) == 1)
        if (xd_bytes_eq_str(p.name, name)) {
            *ret = p.value;
            found = true;
        }
    return found;
}

/* Folders of the tree that Python is to look into first, in front of what PYTHONPATH says anyway. `room` gets all entries then. */
static int add_paths(xd_wire_ENV_START *m, const char *tree, xd_buf *room)
{
    xd_autobuf   value = XD_BUF_INIT;
    xd_wire_list it = m->paths;
    xd_wire_TEXT one;
    xd_bytes     before = { 0 };
    if (!m->paths.count || !m->synced.len || !tree)
        return 0;
    while (xd_wire_TEXT_next(&it, &one) == 1)
        XD_TRY(xd_buf_printf(&value, "%s%s/%.*s", value.len ? ":" : "", tree, (int)one.text.len,
                             (const char *)one.text.ptr));
    const char *inherited = getenv("PYTHONPATH");
    if (!entry(m, "PYTHONPATH", &before) && inherited)
        before = xd_bytes_str(inherited);
    if (before.len) {
        XD_TRY(xd_buf_add_byte(&value, ':'));
        XD_TRY(xd_buf_add_bytes(&value, before));
    }
    xd_wire_PAIR p = { .name = XD_BYTES_LIT("PYTHONPATH"), .value = xd_buf_view(&value) };
    XD_TRY(xd_buf_add(room, m->env.ptr, m->env.len));
    XD_TRY(xd_wire_PAIR_append(room, &p));
    m->env = (xd_wire_list){ .count = m->env.count + 1, .ptr = room->data, .len = room->len };
    return 0;
}

/* Fills in what depends on this host: the runner gets ENV_START with it. `room` holds some of it, as long as *m is used. */
static int settle(agent *a, xd_wire_ENV_START *m, xd_buf *room, xd_error *err)
{
    agent_env             *e = &a->env;
    xd_error               no_scratch = { 0 };
    const agent_place_wish where = {
        .chdir = m->chdir, .project = m->project, .synced = m->synced, .tree = a->sync.folder
    };
    if (m->synced.len && !a->sync.stands)
        return xd_error_set(err, -EPROTO, "the project's files were to be brought before its tests begin");
    XD_TRY(agent_place_find(&e->place, &where, &a->wishes, &no_scratch, err));
    XD_TRY(add_paths(m, a->sync.folder, room));
    if (*e->place.scratch)
        agent_guard_note(a, e->place.scratch);
    else
        XD_TRY(agent_note(a, XD_NOTE_WARNING, false,
                          "no folder for the files of this run (%s): what a process wrote last before it "
                          "crashed is not shown",
                          no_scratch.text));
    m->chdir = xd_bytes_str(e->place.folder);
    m->cache_dir = xd_bytes_str(e->place.cache);
    m->scratch_dir = xd_bytes_str(e->place.scratch);
    return xd_wire_ENV_START_encode(&e->start, m);
}

static int prepare(agent *a, const xd_wire_ENV_START *m, xd_error *err)
{
    agent_env           *e = &a->env;
    const xd_runner_ops *ops = xd_runner_find(m->runner);
    if (!ops)
        return xd_error_set(err, -EINVAL, "this agent has no runner named %.*s; it has %s",
                            (int)m->runner.len, (const char *)m->runner.ptr, xd_runner_names());
    int r = ops->prepare(&e->runner, m, XD_BUILD_ID, err);
    if (e->runner)
        e->runner->output_limit = a->output_limit;
    return r;
}

/* A folder's copy: the path that it was asked for by, and the one that processes find when they ask where they are. */
static int add_copy(uint16_t root, const char *path, const char *real, xd_buf *room, xd_wire_list *ret)
{
    const char *const paths[] = { path, real };
    for (size_t i = 0; real && i < XD_ARRAY_LEN(paths); i++) {
        if (i && strcmp(paths[0], paths[1]) == 0)
            continue;
        xd_wire_COPY one = { .root = root, .path = xd_bytes_str(paths[i]) };
        XD_TRY(xd_wire_COPY_append(room, &one));
        ret->count++;
    }
    return 0;
}

static int add_copies(const agent_place *p, xd_buf *room, xd_wire_list *ret)
{
    XD_TRY(add_copy(0, p->folder, p->copied, room, ret));
    XD_TRY(add_copy(1, p->base, p->base_real, room, ret));
    ret->ptr = room->data;
    ret->len = room->len;
    return 0;
}

static int say_facts(agent *a)
{
    agent_env        *e = &a->env;
    xd_autobuf        program = XD_BUF_INIT, body = XD_BUF_INIT, copies = XD_BUF_INIT;
    xd_wire_ENV_FACTS m = { .folder = xd_bytes_str(e->place.folder),
                            .scratch_dir = xd_bytes_str(e->place.scratch) };
    if (e->runner->ops->facts)
        XD_TRY(e->runner->ops->facts(e->runner, &program, &m));
    XD_TRY(add_copies(&e->place, &copies, &m.copies));
    XD_TRY(xd_wire_ENV_FACTS_encode(&body, &m));
    return agent_link_send(a, XD_MSG_ENV_FACTS, xd_buf_view(&body));
}

int agent_env_start(agent *a, const xd_wire_ENV_START *m)
{
    agent_env        *e = &a->env;
    xd_wire_ENV_START here = *m;
    xd_autobuf        entries = XD_BUF_INIT;
    xd_error          err = { 0 };
    if (e->started)
        return -EPROTO;
    e->started = true;
    e->workers = m->workers_expected;
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
    r = settle(a, &here, &entries, &err);
    if (r == 0)
        r = prepare(a, &here, &err);
    if (e->runner && e->runner->ops->temporary(e->runner))
        agent_guard_note(a, e->runner->ops->temporary(e->runner));
    if (r == 0)
        r = spawn_collector(a, &err);
    if (r == 0)
        r = say_facts(a);
    if (r == -ENOMEM && !*err.text)
        return r;
    if (r < 0)
        return agent_env_fail(a, 6, "%.*s: %s", (int)m->spec.len, (const char *)m->spec.ptr,
                              *err.text ? err.text : xd_error_name(r));
    return 0;
}

/* ---- what collector and host say ---------------------------------------------------------------------- */

static int on_ready(agent *a, const xd_frame *f)
{
    agent_env         *e = &a->env;
    xd_wire_HOST_READY m;
    XD_TRY(xd_wire_HOST_READY_decode(f->body, f->len, &m));
    if (e->ready)
        return -EPROTO;
    e->ready = true;
    e->forks = m.collector_pid != 0;
    if (e->forks && e->workers != 1)
        e->host_ns = xd_clock_ns() + HOST_AFTER_NS;
    return 0;
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

/* Who has not brought the project to this host finds no tests here, or not the files that are named. */
static int say_empty(agent *a)
{
    return a->env.place.empty && a->env.place.elsewhere
               ? agent_note(a, XD_NOTE_WARNING, false,
                            "the folder %s was empty: no files were brought there; --rsyncdir brings them, "
                            "chdir= names a folder that has them",
                            a->env.place.folder)
               : 0;
}

/* How many workers there is memory for (-n auto). Forked from the collector or not, each may come to have all of its own. */
static uint32_t room_for(const agent_env *e)
{
    const uint64_t left = xd_os_memory_free(""),
                   one = e->collector.pid > 0 ? xd_os_memory_private(e->collector.pid) : 0;
    if (!left || !one)
        return 0;
    return (uint32_t)XD_MIN(XD_MAX(left / XD_MAX(one, WORKER_BYTES), 1u), UINT16_MAX);
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
    e->host_ns = UINT64_MAX;
    e->told_end = m.exit_status >= 0;
    e->way = m.way == XD_WAY_COLLECTED || m.way == XD_WAY_FRESH ? m.way : XD_WAY_WARM;
    m.digest_lo = e->list.digest_lo;
    m.digest_hi = e->list.digest_hi;
    m.room = room_for(e);
    XD_TRY(xd_wire_COLLECTED_encode(&body, &m));
    XD_TRY(!m.count ? say_empty(a) : 0);
    XD_TRY(agent_link_send(a, XD_MSG_COLLECTED, xd_buf_view(&body)));
    if (e->list.wanted && !e->told_end)
        XD_TRY(agent_env_send_list(a));
    return finish_held(a);
}

static int on_reaped(agent *a, const xd_frame *f)
{
    xd_wire_REAPED m;
    XD_TRY(xd_wire_REAPED_decode(f->body, f->len, &m));
    return agent_worker_reaped(a, &m);
}

static int on_env_failed(agent *a, const xd_frame *f)
{
    xd_wire_ENV_FAILED m;
    XD_TRY(xd_wire_ENV_FAILED_decode(f->body, f->len, &m));
    XD_TRY(m.exit_status == 4 ? say_empty(a) : 0); /* a path that is not there, most of all */
    return agent_env_fail(a, m.exit_status, "%.*s", (int)m.text.len, (const char *)m.text.ptr);
}

static int on_forked(agent *a, const xd_frame *f)
{
    xd_wire_FORKED m;
    XD_TRY(xd_wire_FORKED_decode(f->body, f->len, &m));
    return agent_worker_forked(a, &m);
}

/* What is captured of the collector: held, so that nothing of it is left behind whoever is killed. */
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

static int on_frame(void *arg, const xd_frame *f)
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

int agent_how_it_ended(const xd_proc_status *s, bool known, char *text, size_t size)
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
    agent_how_it_ended(s, known, how, sizeof(how));
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

static int fail_to_start(agent *a, const xd_proc_status *s, bool known)
{
    char who[160];
    snprintf(who, sizeof(who), "the process that collects the tests (%s) could not start: it",
             a->env.runner->ops->program);
    return fail_with(a, who, s, known);
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

/* Host or collector is no more, and nobody asked it to end. What was forked from it goes on. */
static int say_ended(agent *a, const char *who, const xd_proc_status *s, bool known, const char *then)
{
    char how[64];
    if (a->env.killed || a->env.failed || a->env.told_end || a->cancelled ||
        (a->phase >= AGENT_ENDING_PROCESSES && !(known && s->signal)))
        return 0;
    agent_how_it_ended(s, known, how, sizeof(how));
    return agent_note(a, XD_NOTE_WARNING, false, "%s %s%s: %s", who, how, known ? agent_say_oom(a, s) : "",
                      a->phase == AGENT_RUNNING ? then : "the run was at its end");
}

/* Its end is a failure of the environment only as long as its collection was awaited. What it left in its process
 * group may be its workers' to use. */
static int collector_ended(agent *a)
{
    agent_env        *e = &a->env;
    xd_proc_status    s = { .exit_status = -2 };
    static const char who[] = "the process that collects the tests";
    XD_TRY(drain(&e->collect));
    if (e->collector.pid <= 0)
        return 0; /* it said that it is a worker now: that one's end is looked at as such */
    if (e->collector.pidfd >= 0)
        xd_poller_remove(a->poller, e->collector.pidfd);
    bool known = xd_proc_wait(&e->collector, true, &s) == 1;
    xd_proc_close(&e->collector);
    agent_chan_close(&e->collect);
    XD_TRY(agent_workers_parent_ended(a, AGENT_BY_COLLECTOR,
                                      "the process that collected the tests ended before it had forked it"));
    if (a->phase == AGENT_RUNNING && !e->failed && !e->ready)
        return fail_to_start(a, &s, known);
    if (a->phase == AGENT_RUNNING && !e->failed && !e->list.over)
        return fail_with(a, who, &s, known);
    return say_ended(a, who, &s, known, e->runner->ops->without_collector);
}

static int host_ended(agent *a)
{
    agent_env     *e = &a->env;
    xd_proc_status s = { .exit_status = -2 };
    if (e->host.pidfd >= 0)
        xd_poller_remove(a->poller, e->host.pidfd);
    bool known = xd_proc_wait(&e->host, true, &s) == 1;
    XD_TRY(drain(&e->control));
    agent_chan_close(&e->control);
    xd_proc_close(&e->host);
    XD_TRY(agent_workers_parent_ended(a, AGENT_BY_HOST, "the runner host ended before it had forked it"));
    return say_ended(a, "the runner host", &s, known, "workers go on, further ones are started without it");
}

bool agent_env_take_collector(agent *a, pid_t pid, xd_proc *ret)
{
    xd_proc *c = &a->env.collector;
    if (c->pid != pid)
        return false;
    *ret = *c;
    *c = XD_PROC_NONE;
    return true;
}

int agent_env_timers(agent *a, uint64_t now_ns)
{
    agent_env  *e = &a->env;
    agent_chan *host;
    if (now_ns < e->host_ns)
        return 0;
    e->host_ns = UINT64_MAX;
    return a->phase == AGENT_RUNNING && !e->failed && !a->cancelled ? agent_env_host(a, &host) : 0;
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
    if (e->runner)
        e->runner = e->runner->ops->release(e->runner);
    xd_buf_release(&e->start);
    xd_buf_release(&e->finish);
    xd_buf_release(&e->last);
    agent_place_release(&e->place);
}
