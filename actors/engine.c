/* actors/engine.c - wires one run together: the public face of libxd (engine/xd.h). Its end is in engine_end.c.
 * It stands above all rooms, because it starts actors of all of them.
 *
 *   start:   folder of the run, journal, broker, scheduler, collector, gateways, reporters; then the watching thread
 *   watch:   the scheduler ends after RUN_END; the reporters end when they have read RUN_END; then gateways,
 *            broker, journal are closed in reverse order, each with a deadline, and XD_EVENT_FINISHED is told
 * An actor that ends with a fault: reporters are started anew, they read the journal again; a gateway's agent
 * is lost to the scheduler; without its scheduler the run is over.
 * The functions may be called from one thread, xd_engine_stop from any. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/collector.h"
#include "actors/engine_state.h"
#include "actors/env_start.h"
#include "actors/gateway_args.h"
#include "actors/last_failed.h"
#include "actors/limits.h"
#include "actors/sync_python.h"
#include "actors/trace.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/hosts.h"
#include "engine/journal.h"
#include "engine/sized.h"

#define REPORT_RESTARTS 4
#define DIAL_AT_ONCE 8u /* gateways that need not wait for each other */
#define RESTART_WINDOW_NS (60 * XD_S_NS)

/* See engine/events.c. */
_Static_assert(sizeof(xd_result) == offsetof(xd_result, run_dir) + XD_TEXT, "xd_result ends with a member");

/* ---- before the run ------------------------------------------------------------------------------------ */

static int fail(char *err, int code, const xd_error *e)
{
    if (err)
        snprintf(err, XD_TEXT, "%.1000s", e->text[0] ? e->text : xd_error_name(code));
    return code;
}

static void log_line(void *arg, xd_log_level level, const char *line)
{
    xd_engine *x = arg;
    xd_trace_line(x->trace_fd, level, line);
    if (level >= XD_LOG_ERROR)
        xd_engine_say_line(x, line);
}

int xd_engine_new(xd_engine **ret, const xd_config *cfg, char *err)
{
    xd_error   e = { 0 };
    xd_engine *x = calloc(1, sizeof(*x));
    if (!x)
        return fail(err, -ENOMEM, &e);
    x->dir = XD_RUN_DIR_INIT;
    x->out_fd = 1;
    x->err_fd = 2;
    pthread_mutex_init(&x->lock, NULL);
    x->trace_fd = x->join_fd = x->watch_fd = -1;
    int r = xd_events_init(&x->events);
    if (r == 0)
        r = xd_trace_open(&x->trace_fd, &e);
    x->log = (xd_log){ .fn = log_line, .arg = x, .min = x->trace_fd >= 0 ? XD_LOG_DEBUG : XD_LOG_ERROR };
    if (r == 0)
        r = xd_config_copy(&x->config, cfg);
    if (r == 0)
        r = xd_hosts_apply(x->config, &e);
    if (r == 0)
        r = xd_config_fits(x->config, &e);
    if (r == 0)
        r = xd_slurm_settle(x->config, &e);
    if (r == 0)
        r = xd_project_options_take(x->config, &x->told, &e);
    if (r == 0)
        r = xd_plan_make(&x->plan, x->config, &e);
    if (r < 0) {
        xd_engine_free(x);
        return fail(err, r, &e);
    }
    *ret = x;
    return 0;
}

/* What the run is made of stays from here on. */
static bool begun(const xd_engine *x)
{
    return x->dir.path || x->where.work;
}

void xd_engine_output(xd_engine *x, int out_fd, int err_fd)
{
    if (begun(x))
        return;
    x->out_fd = out_fd;
    x->err_fd = err_fd;
}

void xd_engine_use_broker(xd_engine *x, xd_broker *b)
{
    if (!begun(x))
        x->broker = b;
}

void xd_engine_callback(xd_engine *x, xd_event_fn fn, void *arg)
{
    if (begun(x))
        return;
    x->callback = fn;
    x->callback_arg = arg;
}

int xd_engine_adopt_orphans(xd_engine *x)
{
    int r = xd_os_children(getpid(), NULL, 0); /* a shell may have started some, and become this program */
    if (r == 0)
        r = xd_os_adopt_orphans();
    x->adopts = r == 0;
    return r > 0 ? -EBUSY : r;
}

/* ---- start --------------------------------------------------------------------------------------------- */

static int first_record(xd_engine *x, xd_journal *journal)
{
    xd_autobuf        args = XD_BUF_INIT, options = XD_BUF_INIT, frame = XD_BUF_INIT;
    xd_wire_RUN_START s = { .run_id = xd_bytes_str(x->dir.id),
                            .version = xd_bytes_str(xd_version()),
                            .wall_us = xd_clock_wall_us(),
                            .cwd = xd_bytes_str(x->where.work),
                            .base = xd_bytes_str(x->sync_start ? x->sync.base : NULL),
                            .each = xd_config_each(x->config) != XD_EACH_RUN };
    for (size_t i = 0; i < x->config->args.count; i++) {
        xd_wire_TEXT t = { .text = xd_bytes_str(x->config->args.at[i]) };
        XD_TRY(xd_wire_TEXT_append(&args, &t));
        s.argv.count++;
    }
    s.argv.ptr = args.data;
    s.argv.len = args.len;
    if (x->config->runner) { /* what reports show before the first CONFIG depends on it */
        xd_wire_PAIR p = { .name = XD_BYTES_LIT("runner"), .value = xd_bytes_str(x->config->runner) };
        XD_TRY(xd_wire_PAIR_append(&options, &p));
        s.options = (xd_wire_list){ .count = 1, .ptr = options.data, .len = options.len };
    }
    XD_TRY(xd_wire_RUN_START_frame(&frame, 0, 0, &s));
    return xd_journal_append(journal, frame.data, frame.len, 0, NULL);
}

static int start_broker(xd_engine *x, xd_error *err)
{
    xd_auto(xd_journal) *journal = NULL;
    x->journal_path = xd_path_join(x->dir.path, "journal");
    if (!x->journal_path || !x->where.work)
        return xd_error_set(err, -ENOMEM, "cannot determine the current directory: %s", strerror(errno));
    XD_TRY(xd_journal_open(&journal, x->journal_path, x->dir.id, false, err));
    xd_journal_limit(journal, x->config->journal_limit);
    int r = first_record(x, journal);
    if (r < 0)
        return xd_error_set(err, r, "cannot write the journal %s: %s", x->journal_path, xd_error_name(r));
    if (!x->broker) {
        XD_TRY(xd_broker_start(&x->own_broker, &x->log, err));
        x->broker = x->own_broker;
    }
    xd_broker_run_args run = {
        .id = x->dir.id, .owner = XD_SCHEDULER_ADDRESS, .journal = &journal, .log = &x->log
    };
    return xd_broker_open(x->broker, &run, &x->bus, err);
}

static void report_says(void *arg, xd_log_level level, const char *line)
{
    xd_engine *x = arg;
    if (level == XD_LOG_ERROR)
        x->report_failed = true; /* read after the reporters' thread has ended */
    xd_trace_line(x->trace_fd, level, line);
    xd_engine_say_line(x, line);
}

static int start_report(xd_engine *x, xd_report_actor_args *args, const char *address, xd_error *err)
{
    xd_child child = { .spec = &xd_report_actor_spec,
                       .address = address,
                       .args = args,
                       .restarts = REPORT_RESTARTS,
                       .within_ns = RESTART_WINDOW_NS };
    xd_error why = { 0 };
    args->err = &why;
    int r = args->count ? xd_supervisor_start(x->supervisor, &child, err) : 0;
    args->err = NULL; /* later starts find nobody to tell */
    return r < 0 && why.code ? xd_error_set(err, -EINVAL, "%s", why.text) : r; /* it is what the user named */
}

static int start_reports(xd_engine *x, xd_error *err)
{
    const xd_report_outputs to = { .out_fd = x->out_fd,
                                   .err_fd = x->err_fd,
                                   .shown = x->shown,
                                   .junit_early = x->junit_path,
                                   .cache = x->where.cache };
    xd_report_choose_run(&x->reports, x->config, &to);
    x->report = x->files =
        (xd_report_actor_args){ .journal_path = x->journal_path, .say = report_says, .say_arg = x };
    x->report.wants = x->reports.terminal;
    x->report.count = x->reports.terminals;
    x->files.wants = x->reports.files;
    x->files.count = x->reports.n_files;
    XD_TRY(start_report(x, &x->files, XD_FILES_ADDRESS, err));
    return start_report(x, &x->report, XD_REPORT_ADDRESS, err);
}

static int scratch_folder(const xd_engine *x, size_t i, char **ret)
{
    char name[32];
    xd_runs_scratch_name((uint16_t)i, name, sizeof(name));
    *ret = xd_path_join(x->dir.path, name);
    return *ret ? 0 : -ENOMEM;
}

/* Each waits for the start of its thread, and what a dial starts takes the processors: many dial when all are there, or those
 * that asked first would run tests, and Ctrl-C would not be heard, long before the last one has begun. */
static bool dials_late(const xd_engine *x)
{
    return x->plan.named > DIAL_AT_ONCE;
}

static int dial_all(xd_engine *x)
{
    if (!dials_late(x))
        return 0;
    for (size_t i = 0; i < x->plan.named; i++) {
        char address[XD_ADDRESS_LEN];
        xd_gateway_address((uint16_t)i, address, sizeof(address));
        XD_TRY(xd_bus_post(x->bus, "", address, XD_MSG_DIAL, NULL, 0));
    }
    return 0;
}

int xd_engine_start_gateway(xd_engine *x, size_t i, xd_error *err)
{
    xd_gateway_args       *g = &x->gateways[i];
    const xd_plan_gateway *plan = &x->plan.gateways[i];
    char                   address[XD_ADDRESS_LEN];
    XD_TRY(xd_gateway_args_make(g, x->config, &plan->spec, (uint16_t)i, &x->where, err));
    XD_TRY(g->choice.transport->local ? scratch_folder(x, i, &x->scratch[i]) : 0);
    g->target.scratch_dir = x->scratch[i];
    g->target.listen = x->listen;
    g->target.seat = (uint16_t)i;
    g->junit_path = x->junit_path;
    g->syncer = plan->synced ? XD_SYNCER_ADDRESS : NULL;
    g->waits = dials_late(x) && !plan->joins;
    xd_gateway_address((uint16_t)i, address, sizeof(address));
    xd_child child = { .spec = &xd_gateway_spec, .address = address, .args = g };
    return xd_supervisor_start(x->supervisor, &child, err);
}

static int start_gateways(xd_engine *x, xd_error *err)
{
    x->gateways = calloc(x->plan.count, sizeof(*x->gateways));
    x->scratch = calloc(x->plan.count, sizeof(*x->scratch));
    if (!x->gateways || !x->scratch)
        return -ENOMEM;
    for (size_t i = 0; i < x->plan.named; i++)
        XD_TRY(xd_engine_start_gateway(x, i, err));
    return dial_all(x);
}

/* Before gateways: it must be there when the first of them has something to say. */
static int start_collector(xd_engine *x, xd_error *err)
{
    x->specs = calloc(x->plan.count, sizeof(*x->specs));
    if (!x->specs)
        return -ENOMEM;
    for (size_t i = 0; i < x->plan.count; i++)
        x->specs[i] = x->plan.gateways[i].spec.text;
    xd_collector_args args = { .specs = x->specs,
                               .count = (uint16_t)x->plan.count,
                               .each = xd_config_each(x->config) != XD_EACH_RUN,
                               .guests = (uint16_t)x->plan.named,
                               .ahead = xd_plan_asks_ahead(&x->plan) };
    /* As the scheduler, it could not go on without what it has heard. */
    xd_child child = { .spec = &xd_collector_spec, .address = XD_COLLECTOR_ADDRESS, .args = &args };
    return xd_supervisor_start(x->supervisor, &child, err);
}

static bool is_report(const char *address)
{
    return strcmp(address, XD_REPORT_ADDRESS) == 0 || strcmp(address, XD_FILES_ADDRESS) == 0;
}

/* The supervisor: an actor has ended, and nobody asked for it. */
static void on_actor_end(void *arg, const char *address, int reason, bool restarted)
{
    xd_engine *x = arg;
    char       line[200];
    if (reason == 0)
        return;
    snprintf(line, sizeof(line), "%s ended with a fault: %s%s", address, xd_error_name(reason),
             restarted ? "; it was restarted" : "");
    xd_engine_say_line(x, line);
    if (is_report(address))
        x->report_failed |= !restarted;
    else if (strcmp(address, XD_SCHEDULER_ADDRESS) != 0)
        (void)!xd_bus_post(x->bus, address, XD_SCHEDULER_ADDRESS, XD_MSG_GONE, line, strlen(line));
}

/* What is to be brought is found out, and its scan begins, before anything is dialled. */
static int plan_files(xd_engine *x, xd_error *err)
{
    bool                         any = false;
    xd_autofree const xd_xspec **specs = calloc(x->plan.count, sizeof(*specs));
    x->sync_where = calloc(x->plan.count, sizeof(*x->sync_where));
    if (!specs || !x->sync_where)
        return -ENOMEM;
    for (size_t i = 0; i < x->plan.count; i++)
        specs[i] = &x->plan.gateways[i].spec;
    XD_TRY(xd_sync_plan_make(&x->sync, x->config, specs, x->plan.count, &x->where, err));
    XD_TRY(xd_sync_python_path(&x->sync, x->config, &x->where));
    for (size_t i = 0; i < x->plan.count; i++) {
        const char *chdir = specs[i]->chdir;
        x->plan.gateways[i].synced = x->sync.base && xd_sync_plan_brings(&x->sync, specs[i]);
        any |= x->plan.gateways[i].synced;
        x->sync_where[i] = (xd_sync_where){ .wanted = x->plan.gateways[i].synced,
                                            .folder = chdir ? chdir : x->sync.project,
                                            .flags = chdir ? 0 : XD_SYNC_FLAG_PROJECT };
    }
    if (!any)
        return 0;
    XD_TRY(xd_sync_plan_args(&x->sync, x->config->args.at, x->config->args.count, &x->sync_args));
    const xd_sync_what what = { .base = x->sync.base,
                                .roots = (const char *const *)x->sync.roots.at,
                                .globs = x->sync.ignore,
                                .n_globs = x->sync.n_ignore };
    return xd_sync_start_new(&x->sync_start, &what, &x->plan, x->sync_where, &x->where, err);
}

static int start_actors(xd_engine *x, xd_error *err)
{
    XD_TRY(xd_runs_create(&x->where, &x->dir, err));
    snprintf(x->result.run_id, sizeof(x->result.run_id), "%s", x->dir.id);
    snprintf(x->result.run_dir, sizeof(x->result.run_dir), "%s", x->dir.path);
    XD_TRY(start_broker(x, err));
    XD_TRY(xd_supervisor_new(&x->supervisor, x->bus, on_actor_end, x));
    char moved[XD_TEXT], project[XD_PROJECT_NAME];
    xd_env_start_project(x->where.work, project);
    xd_scheduler_args args = { .config = x->config,
                               .plan = &x->plan,
                               .run_id = x->dir.id,
                               .run_dir = x->dir.path,
                               .cache = x->where.cache,
                               .project = project,
                               .work = x->where.work,
                               .sync = &x->sync,
                               .sync_args = &x->sync_args,
                               .note = xd_path_moved(!x->where.state, !x->where.cache, moved, sizeof(moved))
                                           ? moved
                                           : NULL,
                               .told = &x->told,
                               .event = xd_engine_on_event,
                               .event_arg = x,
                               .want_tests = x->callback != NULL,
                               .tty = x->out_fd >= 0 && isatty(x->out_fd),
                               .live = xd_report_may_be_live(x->config, x->out_fd),
                               .result = &x->result };
    /* Without its memory of who runs what it could not go on: its first fault is final. */
    xd_child scheduler = { .spec = &xd_scheduler_spec, .address = XD_SCHEDULER_ADDRESS, .args = &args };
    XD_TRY(xd_supervisor_start(x->supervisor, &scheduler, err));
    XD_TRY(start_collector(x, err));
    if (x->sync_start)
        XD_TRY(xd_sync_start_actor(x->sync_start, x->supervisor, x->bus, XD_SCHEDULER_ADDRESS,
                                   x->out_fd >= 0 ? XD_REPORT_ADDRESS : NULL, NULL, NULL, NULL, err));
    /* Gateways before reporters: the agent and Python start while the reporters do. */
    XD_TRY(start_gateways(x, err));
    XD_TRY(start_reports(x, err));
    XD_TRY(xd_engine_listen(x, err));
    return xd_engine_slurm(x, err);
}

/* ---- the run starts -------------------------------------------------------------------------------------- */

/* The caller holds the lock. */
static int post_stop(xd_engine *x, uint32_t how)
{
    x->leave |= how == XD_STOP_NOW;
    return xd_bus_post(x->bus, "", XD_SCHEDULER_ADDRESS, XD_MSG_STOP, &how, sizeof(how));
}

/* All actors that a stop concerns are there: what was asked while they were being started is done now. */
static int take_stops(xd_engine *x)
{
    int r = 0;
    pthread_mutex_lock(&x->lock);
    x->starting = false;
    x->running = true;
    for (size_t i = 0; i < XD_ARRAY_LEN(x->early) && r == 0; i++)
        if (x->early[i])
            r = post_stop(x, x->early[i]);
    pthread_mutex_unlock(&x->lock);
    return r;
}

int xd_engine_start(xd_engine *x, char *err)
{
    xd_error e = { 0 };
    sigset_t all, old;
    if (begun(x))
        return fail(err, xd_error_set(&e, -EALREADY, "an engine makes one run: this one was started before"),
                    &e);
    pthread_mutex_lock(&x->lock);
    x->starting = true;
    pthread_mutex_unlock(&x->lock);
    x->cpu_start_us = xd_clock_cpu_us();
    int r = xd_folders_init(&x->where, x->config, &e);
    if (r == 0)
        r = xd_folders_make(&x->where, &e);
    if (r == 0)
        r = xd_folders_apply(&x->where, x->config);
    if (x->where.work)
        (void)!xd_report_junit_named((const char *const *)x->config->args.at, x->config->args.count,
                                     xd_config_is_pytest(x->config) ? getenv("PYTEST_ADDOPTS") : NULL,
                                     x->where.work, &x->junit_path);
    if (r == 0)
        r = xd_limits_check((uint32_t)XD_MAX(x->plan.named, 1u), x->broker != NULL, &e);
    if (r == 0 &&
        xd_last_failed_recover(&x->where) == -ENOMEM) /* other faults keep nobody from running tests */
        r = -ENOMEM;
    if (r == 0)
        r = plan_files(x, &e);
    if (r == 0)
        r = start_actors(x, &e);
    if (r == 0)
        r = take_stops(x);
    if (r == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = -pthread_create(&x->watcher, NULL, xd_engine_watcher, x);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        x->watching = r == 0;
        if (r < 0)
            xd_error_set(&e, r, "cannot start a thread: %s", xd_error_name(r));
    }
    if (r < 0) {
        xd_engine_close(x);
        xd_error ignored = { 0 };
        if (x->junit_path && r != -EINVAL) /* what an earlier run wrote there would be taken for this one's */
            (void)!xd_report_junit_refused(x->junit_path, *e.text ? e.text : xd_error_name(r), &ignored);
        if (x->dir.path && !x->left) /* it was no run, and must not be taken for the latest one */
            (void)xd_path_remove_tree(x->dir.path);
        return fail(err, r, &e);
    }
    return 0;
}

/* ---- during the run ------------------------------------------------------------------------------------ */

int xd_engine_fd(const xd_engine *x)
{
    return x->events.fd;
}

int xd_engine_next_event(xd_engine *x, xd_event *ret)
{
    return xd_events_next(&x->events, ret);
}

int xd_engine_stop(xd_engine *x, enum xd_stop how)
{
    const size_t which = how >= XD_STOP_PAUSE;
    int          r = 0;
    pthread_mutex_lock(&x->lock);
    if (x->running)
        r = post_stop(x, how);
    else if (x->starting)
        x->early[which] = which ? how : XD_MAX(x->early[which], (uint32_t)how);
    pthread_mutex_unlock(&x->lock);
    return r;
}

int xd_engine_say(xd_engine *x, const char *line)
{
    int r = -EINVAL;
    if (x->out_fd < 0 || !isatty(x->out_fd))
        return -ENOTTY;
    pthread_mutex_lock(&x->lock);
    if (x->running)
        r = xd_bus_post(x->bus, "", XD_REPORT_ADDRESS, XD_MSG_SAY, line, strlen(line));
    pthread_mutex_unlock(&x->lock);
    return r;
}

int xd_engine_wait(xd_engine *x, int timeout_ms, xd_result *ret)
{
    uint64_t deadline = xd_clock_ns() + (timeout_ms > 0 ? (unsigned)timeout_ms * XD_MS_NS : 0);
    if (!x->watching || xd_sized_check(ret->size, XD_SIZED_LEAST(xd_result, duration_us)) < 0)
        return -EINVAL;
    for (;;) {
        pthread_mutex_lock(&x->lock);
        bool over = x->over;
        pthread_mutex_unlock(&x->lock);
        if (over || timeout_ms < 0)
            break;
        if (xd_clock_ns() >= deadline)
            return 1;
        usleep(2000);
    }
    if (!x->joined)
        pthread_join(x->watcher, NULL);
    x->joined = true;
    xd_sized_fill(ret, ret->size, &x->result, sizeof(x->result));
    return 0;
}

void xd_engine_free(xd_engine *x)
{
    xd_result ignored = XD_RESULT_INIT;
    if (!x)
        return;
    if (x->watching) {
        if (!x->joined && xd_engine_wait(x, 0, &ignored) == 1) {
            (void)!xd_engine_stop(x, XD_STOP_NOW);
            (void)!xd_engine_wait(x, -1, &ignored);
        }
    }
    xd_run_dir_release(&x->dir);
    if (x->left) /* it may tell events, too */
        return;
    xd_events_release(&x->events);
    for (size_t i = 0; x->scratch && i < x->plan.count; i++)
        free(x->scratch[i]);
    free(x->scratch);
    free(x->gateways);
    xd_plan_release(&x->plan);
    xd_project_told_release(&x->told);
    xd_config_free(x->config);
    free(x->specs);
    x->sync_start = xd_sync_start_free(x->sync_start);
    xd_sync_plan_release(&x->sync);
    xd_strings_release(&x->sync_args);
    free(x->sync_where);
    xd_folders_release(&x->where);
    free(x->junit_path);
    free(x->journal_path);
    if (x->trace_fd >= 0)
        close(x->trace_fd);
    pthread_mutex_destroy(&x->lock);
    free(x);
}
