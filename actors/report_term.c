/* actors/report_term.c - the terminal report: lines, the header, life.
 * What the options come to is in report_term_settings.c, tests as they end in report_term_run.c, the summary in
 * report_term_summary.c and report_term_short.c, the live last line in report_term_live.c. */
#include "actors/report_term_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "gateways/terminal.h"

uint32_t xd_term_report_width(uint64_t columns)
{
    return columns < 40 ? 80 : (uint32_t)columns;
}

static uint32_t width_of(xd_term *t)
{
    if (t->options.width)
        return t->options.width;
    const char *columns = xd_term_env(t, "COLUMNS");
    uint64_t    n = 0;
    if (!columns || xd_text_u64(columns, 1, 10000, &n) < 0) {
        struct winsize ws = { 0 };
        n = 80;
        t->width_follows = true;
        if (t->options.fd >= 0 && ioctl(t->options.fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col)
            n = ws.ws_col;
    }
    return xd_term_report_width(n);
}

static bool wants_live(const xd_term *t)
{
    if (t->options.failed_only || t->options.live == XD_LIVE_NEVER || t->options.fd < 0)
        return false;
    const char *kind = xd_term_env(t, "TERM");
    return t->options.live == XD_LIVE_ALWAYS || (t->out.tty && !(kind && !strcmp(kind, "dumb")) &&
                                                 !xd_term_env(t, "CI") && !xd_term_env(t, "BUILD_NUMBER"));
}

/* ---- lines --------------------------------------------------------------------------------------------- */

int xd_term_newline(xd_term *t)
{
    if (!t->line_open)
        return 0;
    t->line_open = false;
    return xd_term_out_str(&t->out, "\n", 0);
}

int xd_term_line_mark(xd_term *t, unsigned mark, const char *fmt, ...)
{
    va_list    ap;
    xd_autobuf line = XD_BUF_INIT;
    XD_TRY(xd_term_newline(t));
    va_start(ap, fmt);
    int r = xd_buf_vprintf(&line, fmt, ap);
    va_end(ap);
    XD_TRY(r);
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&line), mark));
    return xd_term_out_str(&t->out, "\n", 0);
}

int xd_term_complain(xd_term *t, const char *before, xd_bytes text, unsigned mark)
{
    xd_term_out *to = t->err.fd >= 0 ? &t->err : &t->out;
    if (to == &t->out) {
        XD_TRY(xd_term_live_erase(t));
        XD_TRY(xd_term_newline(t));
    }
    XD_TRY(xd_term_out_str(to, before, mark));
    XD_TRY(xd_term_out_foreign(to, text, mark, true));
    return xd_term_out_str(to, "\n", 0);
}

int xd_report_nodeid(const xd_runview *v, xd_buf *to, xd_bytes nodeid)
{
    if (!v->config.grammar->paths || !v->config.rootdir.len ||
        xd_bytes_eq(v->config.rootdir, v->config.invocation_dir))
        return xd_text_harmless(to, nodeid, false);
    size_t     path = v->config.grammar->unit(nodeid);
    xd_autobuf full = XD_BUF_INIT, rel = XD_BUF_INIT;
    XD_TRY(xd_buf_add_bytes(&full, v->config.rootdir));
    XD_TRY(xd_buf_add_byte(&full, '/'));
    XD_TRY(xd_buf_add_bytes(&full, (xd_bytes){ nodeid.ptr, path }));
    XD_TRY(xd_term_relative(&rel, v->config.invocation_dir, xd_buf_view(&full)));
    XD_TRY(xd_buf_add_bytes(&rel, (xd_bytes){ nodeid.ptr + path, nodeid.len - path }));
    return xd_text_harmless(to, xd_buf_view(&rel), false);
}

int xd_term_nodeid(const xd_term *t, xd_buf *to, xd_bytes nodeid)
{
    return xd_report_nodeid(t->view, to, nodeid);
}

static int add_environment(xd_buf *to, xd_bytes spec)
{
    if (!spec.len)
        return 0;
    XD_TRY(xd_buf_add_str(to, " ["));
    XD_TRY(xd_text_harmless(to, spec, false));
    return xd_buf_add_byte(to, ']');
}

int xd_term_environment(const xd_term *t, xd_buf *to, uint32_t item, uint32_t report)
{
    return add_environment(to, item == XD_NO_INDEX ? xd_runview_environment_of_report(t->view, report)
                                                   : xd_runview_environment(t->view, item));
}

int xd_term_test(const xd_term *t, xd_buf *to, uint32_t item)
{
    XD_TRY(xd_term_nodeid(t, to, t->view->tests.items[item].id));
    return xd_term_environment(t, to, item, XD_NO_INDEX);
}

unsigned xd_term_main_mark(const xd_term *t)
{
    static const char *const red[] = { "failed", "error", "crashed", "timeout", "lost" };
    static const char *const quiet[] = { "passed",          "skipped",         "xfailed",         "not-run",
                                         "subtests passed", "subtests failed", "subtests skipped" };
    const xd_runview        *v = t->view;
    uint32_t                 others = v->tests.count_count; /* categories that a plugin made, or xpassed */
    for (size_t i = 0; i < XD_ARRAY_LEN(red); i++)
        if (xd_runview_counted(v, red[i]))
            return XD_MARK_RED;
    for (size_t i = 0; i < XD_ARRAY_LEN(quiet); i++)
        others -= xd_runview_counted(v, quiet[i]) > 0;
    if (v->notes.warnings.count || others ||
        (!xd_runview_counted(v, "passed") && v->tests.ended >= v->tests.count))
        return XD_MARK_YELLOW;
    return XD_MARK_GREEN;
}

/* ---- header -------------------------------------------------------------------------------------------- */

static int platform_line(xd_term *t)
{
    const xd_runview *v = t->view;
    if (v->config.header_count && v->config.header[0].len > 9 &&
        !memcmp(v->config.header[0].ptr, "platform ", 9))
        return 0;
    XD_TRY(xd_term_out_str(&t->out, "platform linux -- Python ", 0));
    XD_TRY(xd_term_out_foreign(&t->out, v->config.python_version, 0, false));
    XD_TRY(xd_term_out_str(&t->out, ", pytest-", 0));
    XD_TRY(xd_term_out_foreign(&t->out, v->config.pytest_version, 0, false));
    if (t->verbose > 0) {
        XD_TRY(xd_term_out_str(&t->out, " -- ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, v->config.python, 0, false));
    }
    return xd_term_out_str(&t->out, "\n", 0);
}

/* "xd: interpreter /usr/bin/python3 (python3 on PATH)"; of several environments each is named: "xd: interpreter of
 * popen//python=python3.9: ...". */
static int interpreter_line(xd_term *t, uint32_t gateway)
{
    const xd_runview *v = t->view;
    if (t->verbose < 1 || gateway >= v->envs.count || !v->envs.envs[gateway].program.len)
        return 0;
    const xd_runview_env *env = &v->envs.envs[gateway];
    XD_TRY(xd_term_newline(t));
    XD_TRY(xd_term_out_str(&t->out, "xd: interpreter ", 0));
    if (gateway != v->config.home || v->envs.count > 1) {
        XD_TRY(xd_term_out_str(&t->out, "of ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, env->spec, 0, false));
        XD_TRY(xd_term_out_str(&t->out, ": ", 0));
    }
    XD_TRY(xd_term_out_foreign(&t->out, env->program, 0, false));
    XD_TRY(xd_term_out_str(&t->out, " (", 0));
    XD_TRY(xd_term_out_foreign(&t->out, env->found, 0, false));
    return xd_term_out_str(&t->out, ")\n", 0);
}

static int show_header(xd_term *t)
{
    const xd_runview *v = t->view;
    t->header_shown = true;
    if (t->verbose < 0)
        return 0;
    XD_TRY(xd_term_newline(t));
    XD_TRY(xd_term_out_sep(&t->out, '=', "test session starts", XD_MARK_BOLD));
    if (t->no_header)
        return 0;
    XD_TRY(platform_line(t));
    for (uint32_t i = 0; i < v->config.header_count; i++) {
        XD_TRY(xd_term_out_foreign(&t->out, v->config.header[i], 0, false));
        XD_TRY(xd_term_out_str(&t->out, "\n", 0));
    }
    XD_TRY(interpreter_line(t, v->config.home));
    for (uint32_t i = 0; i < v->envs.count; i++)
        XD_TRY(i != v->config.home ? interpreter_line(t, i) : 0);
    return xd_term_show_early(t);
}

/* Before the header, it shows them. */
int xd_term_on_facts(xd_term *t, const xd_frame *frame)
{
    return t->header_shown && !t->no_header ? interpreter_line(t, frame->flags) : 0;
}

int xd_term_on_config(xd_term *t, const xd_frame *frame)
{
    if (t->header_shown)
        return 0;
    xd_wire_CONFIG config;
    XD_TRY(xd_wire_CONFIG_decode(frame->body, frame->len, &config));
    xd_term_read_settings(t);
    XD_TRY(show_header(t));
    xd_wire_list notes = config.notes;
    xd_wire_TEXT note;
    while (xd_wire_TEXT_next(&notes, &note) == 1) {
        if (t->verbose < 0)
            continue;
        XD_TRY(xd_term_newline(t));
        XD_TRY(xd_term_out_str(&t->out, "xd: ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, note.text, 0, false));
        XD_TRY(xd_term_out_str(&t->out, "\n", 0));
    }
    return 0;
}

/* "collected 3 items / 1 error / 2 deselected / 1 selected": what pytest says when no worker starts. */
static int collected_line(xd_term *t, uint32_t selected, uint32_t deselected)
{
    xd_autobuf line = XD_BUF_INIT;
    uint64_t errors = xd_runview_counted(t->view, "error"), skipped = xd_runview_counted(t->view, "skipped");
    uint64_t all = (uint64_t)selected + deselected;
    XD_TRY(xd_buf_printf(&line, "collected %llu item%s", (unsigned long long)all, all == 1 ? "" : "s"));
    if (errors)
        XD_TRY(xd_buf_printf(&line, " / %llu error%s", (unsigned long long)errors, errors == 1 ? "" : "s"));
    if (deselected)
        XD_TRY(xd_buf_printf(&line, " / %u deselected", deselected));
    if (skipped)
        XD_TRY(xd_buf_printf(&line, " / %llu skipped", (unsigned long long)skipped));
    if (deselected)
        XD_TRY(xd_buf_printf(&line, " / %u selected", selected));
    return xd_term_line_mark(t, 0, "%s", xd_buf_cstr(&line));
}

/* Of the environment that is told of first: the others say the same. */
static int keep_lines(xd_term *t, const xd_wire_COLLECTED *in)
{
    xd_wire_list list = in->lines;
    xd_wire_TEXT one;
    if (t->below_collected.len)
        return 0;
    while (xd_wire_TEXT_next(&list, &one) == 1) {
        XD_TRY(xd_text_harmless(&t->below_collected, one.text, true));
        XD_TRY(xd_buf_add_byte(&t->below_collected, '\n'));
    }
    return 0;
}

int xd_term_on_collected(xd_term *t, const xd_frame *frame)
{
    xd_wire_COLLECTED        in;
    static const char *const ways[] = { "", "forked after the collection", "forked before the collection",
                                        "new processes" };
    xd_autobuf               of = XD_BUF_INIT; /* whose, where each has its own */
    XD_TRY(xd_wire_COLLECTED_decode(frame->body, frame->len, &in));
    XD_TRY(keep_lines(t, &in));
    if (t->view->collection.each && t->view->envs.count > 1) {
        XD_TRY(xd_text_harmless(&of, xd_runview_spec(t->view, frame->flags), false));
        XD_TRY(xd_buf_add_str(&of, ": "));
    }
    if (in.exit_status == -1 && t->verbose > 0 && in.way >= XD_WAY_COLLECTED && in.way <= XD_WAY_FRESH) {
        xd_autobuf why = XD_BUF_INIT;
        XD_TRY(xd_text_harmless(&why, in.why, false));
        const char *told = xd_term_option(t, "numprocesses");
        if (told && !strcmp(told, "0"))
            return xd_term_line_mark(t, 0, "xd: %s%s", xd_buf_cstr(&of), xd_buf_cstr(&why));
        return xd_term_line_mark(t, 0, "xd: %sworkers are %s%s%s", xd_buf_cstr(&of), ways[in.way],
                                 why.len ? ": " : "", xd_buf_cstr(&why));
    }
    if (in.exit_status == -1 || t->tests_began || t->verbose < 0 || !t->configured)
        return 0;
    if (t->view->collection.each)
        return xd_term_line_mark(t, 0, "%sits session ended with exit code %d", xd_buf_cstr(&of),
                                 in.exit_status);
    t->tests_began = true;
    return collected_line(t, in.count, in.deselected);
}

/* "popen//env:A=b: 2 workers [3 items], Python 3.12.1 (A=b)": what is in brackets stands for it below. The others follow at once. */
static int collection_of_its_own(xd_term *t, const xd_frame *frame)
{
    const xd_runview  *v = t->view;
    xd_autobuf         line = XD_BUF_INIT;
    xd_wire_COLLECTION in;
    XD_TRY(xd_wire_COLLECTION_decode(frame->body, frame->len, &in));
    if (in.collection >= v->envs.count)
        return 0;
    const xd_runview_env *env = &v->envs.envs[in.collection];
    const char           *label = xd_term_own_label(t, in.collection);
    XD_TRY(xd_text_harmless(&line, env->spec, false));
    XD_TRY(xd_buf_printf(&line, ": %u worker%s [%u item%s]", in.workers, in.workers == 1 ? "" : "s", in.count,
                         in.count == 1 ? "" : "s"));
    if (env->python_version.len) {
        XD_TRY(xd_buf_add_str(&line, ", Python "));
        XD_TRY(xd_text_harmless(&line, env->python_version, false));
    }
    if (label && !xd_bytes_eq_str(env->spec, label)) {
        XD_TRY(xd_buf_add_str(&line, " ("));
        XD_TRY(xd_text_harmless(&line, xd_bytes_str(label), false));
        XD_TRY(xd_buf_add_byte(&line, ')'));
    }
    return xd_term_line_mark(t, 0, "%s", xd_buf_cstr(&line));
}

/* Environments that are there and have no collection yet. */
static bool more_collections(const xd_runview *v)
{
    for (uint32_t i = 0; v->collection.each && i < v->envs.count; i++)
        if (v->envs.envs[i].spec.len && !v->envs.envs[i].down && !v->envs.envs[i].over &&
            !v->envs.envs[i].agreed)
            return true;
    return false;
}

int xd_term_on_collection(xd_term *t, const xd_frame *frame)
{
    const xd_runview *v = t->view;
    if (v->collection.each)
        XD_TRY(xd_term_own_begin(t));
    if (t->verbose < 0)
        return 0;
    if (v->collection.each) {
        XD_TRY(collection_of_its_own(t, frame));
        if (more_collections(v))
            return 0;
        XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&t->below_collected), 0));
        t->tests_began = true;
        return xd_term_out_str(&t->out, "\n", 0);
    }
    if (v->collection.workers)
        XD_TRY(xd_term_line_mark(t, 0, "%u worker%s [%u item%s]", v->collection.workers,
                                 v->collection.workers == 1 ? "" : "s", v->collection.collected,
                                 v->collection.collected == 1 ? "" : "s"));
    else
        XD_TRY(collected_line(t, v->collection.collected, v->collection.deselected));
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&t->below_collected), 0));
    t->tests_began = true;
    return xd_term_out_str(&t->out, "\n", 0);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int term_frame(void *self, const xd_frame *frame, uint64_t offset)
{
    (void)offset;
    xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    return xd_term_on_frame(t, frame);
}

/* While hosts are dialled the user may be asked for a password: the question stays alone until it is answered. */
static bool is_held(xd_term *t)
{
    if (!t->out.tty || t->tests_began || t->out.buf.len >= XD_TERM_OUT_LIMIT / 2 || !xd_terminal_asks())
        return false;
    t->live_drawn = false; /* what was drawn is the question's line now */
    return true;
}

static int term_ended(void *self, uint32_t item)
{
    return xd_term_on_ended(XD_CAST(self, xd_term, XD_TERM_MAGIC), item);
}

static int term_closed(void *self, uint32_t item)
{
    return xd_term_on_closed(XD_CAST(self, xd_term, XD_TERM_MAGIC), item);
}

static int term_progress(void *self, const xd_wire_PROGRESS *progress, uint16_t gateway, uint64_t now_ns)
{
    return xd_term_live_progress(XD_CAST(self, xd_term, XD_TERM_MAGIC), progress, gateway, now_ns);
}

static int term_tick(void *self, uint64_t now_ns)
{
    xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    t->now_ns = now_ns;
    if (is_held(t))
        return 0;
    if (t->out.buf.len < XD_TERM_OUT_LIMIT / 2)
        XD_TRY(xd_term_live_tick(t));
    int r = xd_term_out_flush(&t->out), errors = xd_term_out_flush(&t->err);
    r = r ? r : errors;
    return r > 0 ? XD_REPORT_BUSY : r;
}

static int term_pause(void *self, bool on)
{
    xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    t->paused = on;
    if (on && t->live)
        XD_TRY(xd_term_live_leave(t));
    int r = xd_term_out_flush(&t->out);
    return XD_MIN(r, 0);
}

static int term_say(void *self, xd_bytes line)
{
    xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    if (!t->out.tty || t->out.fd < 0)
        return 0;
    if (is_held(t)) /* behind the question, and in front of what waits for its end */
        (void)!write(xd_term_out_fd(&t->out), "\n", 1);
    XD_TRY(xd_term_live_leave(t));
    xd_ci_guard guard = { .systems = t->out.guard.systems };
    xd_autobuf  text = XD_BUF_INIT;
    XD_TRY(xd_text_harmless(&text, line, false));
    XD_TRY(xd_ci_guard_add(&guard, &t->out.buf, xd_buf_view(&text)));
    XD_TRY(xd_buf_add_byte(&t->out.buf, '\n'));
    int r = xd_term_out_flush(&t->out);
    return XD_MIN(r, 0);
}

/* With a live line the output goes out at the ticks, together with the line: no flicker. */
static int term_flush(void *self)
{
    xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    if (is_held(t))
        return 0;
    int r = xd_term_out_flush(&t->err);
    XD_TRY(r);
    if (t->live && !xd_term_out_full(&t->out) && !xd_term_out_full(&t->err))
        return 0;
    r = xd_term_out_flush(&t->out);
    XD_TRY(r);
    return xd_term_out_full(&t->out) || xd_term_out_full(&t->err) ? XD_REPORT_BUSY : 0;
}

static int term_fd(void *self)
{
    const xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    return xd_term_out_fd(xd_term_out_full(&t->err) ? &t->err : &t->out);
}

static int term_finish(void *self, xd_error *err)
{
    xd_term *t = XD_CAST(self, xd_term, XD_TERM_MAGIC);
    int      r = xd_term_on_end(t);
    if (r == 0)
        r = xd_term_out_drain(&t->err, 0);
    if (r == 0)
        r = xd_term_out_drain(&t->out, 0);
    if (r < 0)
        return xd_error_set(err, r, "terminal report: %s", xd_error_name(r));
    return t->out.fault && t->out.fault != -EPIPE
               ? xd_error_set(err, t->out.fault, "cannot write the report: %s", xd_error_name(t->out.fault))
               : 0;
}

static void term_close(void *self)
{
    xd_term *t = self;
    if (!t)
        return;
    for (uint32_t i = 0; i < t->line_count; i++)
        xd_buf_release(&t->lines[i].rest);
    free(t->lines);
    for (char **o = t->override; o && *o; o++)
        free(*o);
    free(t->override);
    xd_buf_release(&t->early);
    xd_buf_release(&t->below_collected);
    if (xd_term_live_erase(t) == 0)
        (void)!xd_term_out_flush(&t->out); /* one that takes this one's place goes on behind it */
    (void)!xd_term_out_flush(&t->err);
    xd_term_out_release(&t->out);
    xd_term_out_release(&t->err);
    xd_buf_release(&t->live_text);
    xd_term_own_release(t);
    free(t);
}

static int copy_override(xd_term *t, const char *const *from)
{
    size_t n = 0;
    while (from && from[n])
        n++;
    t->override = calloc(n + 1, sizeof *t->override);
    if (!t->override)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!(t->override[i] = strdup(from[i])))
            return -ENOMEM;
    return 0;
}

/* The same terminal, file or pipe: what is written to both stands in the order in which it is written to one. */
static bool same_output(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void open_errors(xd_term *t, const xd_report_term_options *options)
{
    if (options->err_fd < 0 || same_output(options->fd, options->err_fd))
        return;
    xd_term_out_init(&t->err, options->err_fd, t->out.width);
    xd_term_out_resume(&t->err, options->shown ? options->shown + 1 : NULL);
    t->err.tty = isatty(options->err_fd);
}

static int term_open(const void *args, const xd_runview *view, void **ret_self, xd_error *err)
{
    const xd_report_term_options *options = args;
    xd_term                      *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    *t = (xd_term){ .magic = XD_TERM_MAGIC, .view = view, .options = *options };
    t->options.override = NULL;
    t->out.fd = t->out.own_fd = t->err.fd = t->err.own_fd = -1;
    if (copy_override(t, options->override) < 0) {
        term_close(t);
        return xd_error_set(err, -ENOMEM, "terminal report: out of memory");
    }
    xd_term_out_init(&t->out, options->fd, width_of(t));
    xd_term_out_resume(&t->out, options->shown);
    t->out.tty = options->tty >= 0 ? options->tty == 1 : options->fd >= 0 && isatty(options->fd);
    open_errors(t, options);
    t->out.guard.systems = t->err.guard.systems = xd_ci_systems(xd_term_env_of, t);
    t->live_width = t->out.width;
    t->live = wants_live(t);
    xd_term_read_settings(t);
    t->configured = false; /* the defaults stand until CONFIG comes */
    *ret_self = t;
    return 0;
}

const xd_report_ops xd_report_term_ops = {
    .name = "terminal",
    .last = true,
    .open = term_open,
    .frame = term_frame,
    .ended = term_ended,
    .closed = term_closed,
    .progress = term_progress,
    .tick = term_tick,
    .pause = term_pause,
    .say = term_say,
    .flush = term_flush,
    .fd = term_fd,
    .finish = term_finish,
    .close = term_close,
};
