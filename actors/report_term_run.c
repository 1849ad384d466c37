/* actors/report_term_run.c - the terminal report while the run goes on: tests as they end, output of workers,
 * workers that die. */
#include "actors/report_term_state.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/outcome.h"
#include "engine/xd.h"

#define EARLY_MAX 65536u
#define LINE_LIMIT 16384u /* a line of worker output longer than this is broken */

typedef struct shown {
    const char *letter, *word;
    unsigned    mark;
} shown;

static shown of_outcome(uint8_t outcome)
{
    static const shown table[] = {
        [XD_OUT_PASSED] = { ".", "PASSED", XD_MARK_GREEN },
        [XD_OUT_FAILED] = { "F", "FAILED", XD_MARK_RED },
        [XD_OUT_SKIPPED] = { "s", "SKIPPED", XD_MARK_YELLOW },
        [XD_OUT_XFAILED] = { "x", "XFAIL", XD_MARK_YELLOW },
        [XD_OUT_XPASSED] = { "X", "XPASS", XD_MARK_YELLOW },
        [XD_OUT_ERROR] = { "E", "ERROR", XD_MARK_RED },
        [XD_OUT_CRASHED] = { "F", "CRASHED", XD_MARK_RED },
        [XD_OUT_TIMEOUT] = { "F", "TIMEOUT", XD_MARK_RED },
        [XD_OUT_LOST] = { "F", "LOST", XD_MARK_RED },
    };
    return outcome != XD_OUT_NONE && outcome < XD_ARRAY_LEN(table) ? table[outcome] : (shown){ "", "", 0 };
}

static unsigned mark_of(const xd_runview_report *r)
{
    if (r->outcome == 'f')
        return XD_MARK_RED;
    return r->outcome == 'p' && !(r->flags & XD_REP_WASXFAIL) ? XD_MARK_GREEN : XD_MARK_YELLOW;
}

int xd_term_progress_text(const xd_term *t, xd_buf *to, uint32_t item, uint64_t started, uint64_t all)
{
    const xd_runview *v = t->view;
    if (t->progress == XD_TERM_PROGRESS_PERCENT)
        return all ? xd_buf_printf(to, " [%3llu%%]", (unsigned long long)(started * 100 / all))
                   : xd_buf_add_str(to, " [100%]");
    if (t->progress == XD_TERM_PROGRESS_COUNT) {
        char total[24];
        int  digits = snprintf(total, sizeof total, "%llu", (unsigned long long)all);
        return xd_buf_printf(to, " [%*llu/%s]", digits, (unsigned long long)started, total);
    }
    if (t->progress == XD_TERM_PROGRESS_TIMES && item != XD_NO_INDEX && t->cases > 0) {
        const xd_runview_item *i = &v->tests.items[item];
        return xd_term_node_duration(to, (uint64_t)i->setup_us + i->call_us + i->teardown_us);
    }
    return 0;
}

/* Of the run; a line of a test counts those of its own environment. */
static int progress_text(const xd_term *t, xd_buf *to, uint32_t item)
{
    const xd_runview *v = t->view;
    const uint32_t    g = item != XD_NO_INDEX ? v->tests.items[item].collection : 0;
    if (item != XD_NO_INDEX && v->collection.each && g < t->owns)
        return xd_term_progress_text(t, to, item, t->own[g].started, v->envs.envs[g].tests);
    return xd_term_progress_text(t, to, item, t->started, v->tests.count);
}

size_t xd_term_progress_columns(const xd_term *t)
{
    if (t->progress == XD_TERM_PROGRESS_COUNT)
        return (size_t)snprintf(NULL, 0, " [%u/%u]", t->view->tests.count, t->view->tests.count);
    return t->progress == XD_TERM_PROGRESS_TIMES ? strlen(" 99h 59m") : strlen(" [100%]");
}

static int show_letter(xd_term *t, xd_bytes letter, unsigned mark)
{
    XD_TRY(xd_term_out_foreign(&t->out, letter, mark, false));
    t->line_open = true;
    if (t->progress == XD_TERM_PROGRESS_NONE || t->started >= t->view->tests.count)
        return 0;
    if (t->out.column + xd_term_progress_columns(t) + 1 < t->out.width)
        return 0;
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(progress_text(t, &text, XD_NO_INDEX));
    XD_TRY(xd_buf_add_byte(&text, '\n'));
    t->line_open = false;
    return xd_term_out_write(&t->out, xd_buf_view(&text), xd_term_main_mark(t));
}

static int show_line(xd_term *t, uint32_t item, uint16_t worker, xd_bytes word, unsigned mark)
{
    XD_TRY(xd_term_newline(t));
    xd_autobuf text = XD_BUF_INIT;
    if (worker != XD_NO_WORKER) /* an item that was lost with its environment has none */
        XD_TRY(xd_term_out_printf(&t->out, 0, "[%s]", xd_runview_worker_name(t->view, worker).text));
    XD_TRY(progress_text(t, &text, item));
    XD_TRY(xd_buf_add_byte(&text, ' '));
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&text),
                             t->progress == XD_TERM_PROGRESS_NONE ? 0 : XD_MARK_CYAN));
    XD_TRY(xd_term_out_foreign(&t->out, word, mark, false));
    xd_buf_clear(&text);
    XD_TRY(xd_buf_add_byte(&text, ' '));
    XD_TRY(xd_term_test(t, &text, item));
    XD_TRY(xd_buf_add_byte(&text, ' '));
    unsigned executions = t->view->tests.items[item].attempt - (unsigned)t->view->tests.items[item].unused;
    if (executions > 1)
        XD_TRY(xd_buf_printf(&text, "(attempt %u) ", executions));
    t->line_open = true;
    return xd_term_out_write(&t->out, xd_buf_view(&text), 0);
}

static int show_one(xd_term *t, uint32_t item, xd_bytes letter, xd_bytes word, unsigned mark)
{
    if (t->cases <= 0 && t->view->collection.each)
        return letter.len ? xd_term_own_letter(t, item, letter, mark) : 0;
    if (t->cases <= 0)
        return letter.len ? show_letter(t, letter, mark) : 0;
    return show_line(t, item, t->view->tests.items[item].worker, word, mark);
}

static int show_reports(xd_term *t, uint32_t item, uint32_t first)
{
    const xd_runview *v = t->view;
    for (uint32_t n = first; n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        const xd_runview_report *r = &v->tests.reports[n];
        xd_bytes                 letter = v->texts.names[r->letter], word = v->texts.names[r->word];
        if (r->attempt == v->tests.items[item].attempt && (letter.len || word.len))
            XD_TRY(show_one(t, item, letter, word, mark_of(r)));
    }
    return 0;
}

int xd_term_on_ended(xd_term *t, uint32_t item)
{
    const xd_runview      *v = t->view;
    const xd_runview_item *i = &v->tests.items[item];
    if (i->outcome == XD_OUT_NOT_RUN) /* not run: pytest shows nothing either */
        return v->collection.each ? xd_term_own_ended(t, item) : 0;
    t->done_us += (uint64_t)i->setup_us + i->call_us + i->teardown_us;
    t->started++;
    if (v->collection.each && i->collection < t->owns)
        t->own[i->collection].started++;
    if (!t->options.failed_only) {
        XD_TRY(xd_term_live_erase(t));
        if (!(i->flags & XD_RES_REPORTS)) {
            shown s = of_outcome(i->outcome);
            XD_TRY(show_one(t, item, xd_bytes_str(s.letter), xd_bytes_str(s.word), s.mark));
        } else {
            XD_TRY(show_reports(t, item, i->first_report));
        }
    }
    return v->collection.each ? xd_term_own_ended(t, item) : 0;
}

int xd_term_on_closed(xd_term *t, uint32_t item)
{
    if (!t->options.failed_only && t->view->tests.closing_report != XD_NO_INDEX) {
        XD_TRY(xd_term_live_erase(t));
        XD_TRY(show_reports(t, item, t->view->tests.closing_report));
    }
    return t->view->collection.each ? xd_term_own_closed(t, item) : 0;
}

/* ---- output of workers --------------------------------------------------------------------------------- */

/* An annotation for GitHub's runner ("::error file=...::text"), which knows it at the start of a line alone. Plugins write
 * them to stderr between tests, whose own output does not get here as long as it is captured. No other command is one
 * that a plugin would write, and an annotation changes nothing but what a reader sees. */
static bool is_annotation(const xd_term *t, uint8_t stream, xd_bytes line)
{
    static const char *const names[] = { "::error", "::warning", "::notice" };
    const char              *capture = t->configured ? xd_term_option(t, "capture") : NULL;
    if (stream != XD_OUTPUT_STDERR || !(t->out.guard.systems & XD_CI_GITHUB) || !capture ||
        strcmp(capture, "fd") != 0)
        return false;
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
        const size_t n = strlen(names[i]);
        if (line.len > n && !memcmp(line.ptr, names[i], n) && (line.ptr[n] == ' ' || line.ptr[n] == ':'))
            return true;
    }
    return false;
}

static int annotation_line(xd_term *t, xd_term_out *to, xd_bytes line)
{
    XD_TRY(xd_term_newline(t));
    xd_ci_guard_pass(&to->guard);
    XD_TRY(xd_term_out_foreign(to, line, 0, true));
    return xd_term_out_str(to, "\n", 0);
}

/* What pytest writes to stderr of its own process: errors of usage and the like. An internal error belongs into the
 * report, where its terminal reporter, which is silent there, would show it. */
static bool is_error(uint16_t worker, uint8_t stream, xd_bytes line)
{
    static const char internal[] = "INTERNALERROR>";
    return worker == XD_NO_WORKER && stream == XD_OUTPUT_STDERR &&
           !(line.len >= sizeof(internal) - 1 && !memcmp(line.ptr, internal, sizeof(internal) - 1));
}

static int output_line(xd_term *t, uint16_t worker, uint8_t stream, xd_bytes line)
{
    const bool error = is_error(worker, stream, line), annotation = is_annotation(t, stream, line);
    line.len -= line.len && line.ptr[line.len - 1] == '\r';
    if (annotation)
        return annotation_line(t, error && t->err.fd >= 0 ? &t->err : &t->out, line);
    if (error)
        return xd_term_complain(t, "", line, 0);
    XD_TRY(xd_term_newline(t));
    if (worker != XD_NO_WORKER)
        XD_TRY(xd_term_out_printf(&t->out, 0, "[%s] ", xd_runview_worker_name(t->view, worker).text));
    XD_TRY(xd_term_out_foreign(&t->out, line, 0, true));
    return xd_term_out_str(&t->out, "\n", 0);
}

static int line_of(xd_term *t, uint16_t worker, uint8_t stream, xd_term_line **ret)
{
    for (uint32_t i = 0; i < t->line_count; i++)
        if (t->lines[i].worker == worker && t->lines[i].stream == stream) {
            *ret = &t->lines[i];
            return 0;
        }
    if (t->line_count == t->lines_cap) {
        uint32_t      cap = t->lines_cap ? t->lines_cap * 2 : 16;
        xd_term_line *grown = realloc(t->lines, cap * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        t->lines = grown;
        t->lines_cap = cap;
    }
    *ret = &t->lines[t->line_count++];
    **ret = (xd_term_line){ .worker = worker, .stream = stream };
    return 0;
}

static int on_output(xd_term *t, const xd_frame *frame)
{
    xd_wire_OUTPUT in;
    xd_term_line  *l = NULL;
    XD_TRY(xd_wire_OUTPUT_decode(frame->body, frame->len, &in));
    XD_TRY(line_of(t, in.worker, in.stream, &l));
    XD_TRY(xd_term_live_erase(t));
    if (in.dropped_bytes)
        XD_TRY(xd_term_line_mark(t, XD_MARK_YELLOW, "xd: %s: %llu bytes of output left out here (limit)",
                                 in.worker == XD_NO_WORKER ? "the collector"
                                                           : xd_runview_worker_name(t->view, in.worker).text,
                                 (unsigned long long)in.dropped_bytes));
    xd_bytes data = in.data;
    while (data.len) {
        const uint8_t *nl = memchr(data.ptr, '\n', data.len);
        size_t         n = nl ? (size_t)(nl - data.ptr) : data.len;
        if (nl && !l->rest.len) {
            XD_TRY(output_line(t, in.worker, in.stream, (xd_bytes){ data.ptr, n }));
        } else {
            XD_TRY(xd_buf_add(&l->rest, data.ptr, n));
            if (nl || l->rest.len > LINE_LIMIT) {
                XD_TRY(output_line(t, in.worker, in.stream, xd_buf_view(&l->rest)));
                xd_buf_clear(&l->rest);
            }
        }
        n += nl ? 1 : 0;
        data = (xd_bytes){ data.ptr + n, data.len - n };
    }
    return 0;
}

/* What a worker left without a newline. */
static int flush_lines(xd_term *t, bool all, uint16_t worker)
{
    for (uint32_t i = 0; i < t->line_count; i++) {
        xd_term_line *l = &t->lines[i];
        if (l->rest.len && (all || l->worker == worker)) {
            XD_TRY(output_line(t, l->worker, l->stream, xd_buf_view(&l->rest)));
            xd_buf_clear(&l->rest);
        }
    }
    return 0;
}

/* ---- workers, notes ------------------------------------------------------------------------------------ */

static int on_down(xd_term *t, const xd_frame *frame)
{
    xd_wire_WORKER_DOWN in;
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame->body, frame->len, &in));
    if (!t->options.failed_only)
        XD_TRY(flush_lines(t, false, in.worker));
    if (in.expected)
        return 0;
    const xd_name name = xd_runview_worker_name(t->view, in.worker);
    xd_autobuf    reason = XD_BUF_INIT, why = XD_BUF_INIT;
    XD_TRY(xd_outcome_reason(&reason, &in));
    XD_TRY(xd_text_harmless(&why, xd_buf_view(&reason), false));
    XD_TRY(xd_term_line_mark(t, 0, "[%s] node down: %s", name.text, xd_buf_cstr(&why)));
    if (in.will_restart == XD_DOWN_REPLACED)
        return xd_term_line_mark(t, 0, "replacing crashed worker %s", name.text);
    if (in.will_restart == XD_DOWN_NO_BUDGET) {
        const char *max = xd_term_option(t, "maxworkerrestart");
        if (max && !strcmp(max, "0"))
            return xd_term_line_mark(t, 0, "worker %s crashed and worker restarting disabled", name.text);
        return xd_term_line_mark(t, 0, "maximum crashed workers reached%s%s", max ? ": " : "",
                                 max ? max : "");
    }
    return 0;
}

int xd_term_show_early(xd_term *t)
{
    xd_bytes rest = xd_buf_view(&t->early);
    while (t->verbose > 0 && rest.len) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        const size_t   n = end ? (size_t)(end - rest.ptr) : rest.len;
        XD_TRY(xd_term_out_str(&t->out, "xd: ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, (xd_bytes){ rest.ptr, n }, 0, false));
        XD_TRY(xd_term_out_str(&t->out, "\n", 0));
        rest.ptr += n + (end != NULL);
        rest.len -= n + (end != NULL);
    }
    xd_buf_clear(&t->early);
    return 0;
}

static int on_note(xd_term *t, const xd_frame *frame)
{
    static const char *const before[] = { [XD_NOTE_DETAIL] = "xd: ",
                                          [XD_NOTE_NOTE] = "xd: ",
                                          [XD_NOTE_WARNING] = "xd: warning: ",
                                          [XD_NOTE_ERROR] = "xd: error: " };
    static const unsigned    marks[] = { [XD_NOTE_WARNING] = XD_MARK_YELLOW, [XD_NOTE_ERROR] = XD_MARK_RED };
    xd_wire_NOTE             in;
    XD_TRY(xd_wire_NOTE_decode(frame->body, frame->len, &in));
    int level = XD_MIN(XD_MAX(in.level, XD_NOTE_DETAIL), XD_NOTE_ERROR);
    if (level == XD_NOTE_DETAIL && !t->header_shown && !t->configured && t->early.len < EARLY_MAX) {
        XD_TRY(xd_buf_add_bytes(&t->early, in.text));
        return xd_buf_add_byte(&t->early, '\n');
    }
    if ((level == XD_NOTE_DETAIL && t->verbose <= 0) || (level == XD_NOTE_NOTE && t->verbose < 0))
        return 0;
    if (in.level == XD_NOTE_USAGE)
        return xd_term_complain(t, before[level], in.text, marks[level]);
    XD_TRY(xd_term_live_erase(t));
    XD_TRY(xd_term_newline(t));
    XD_TRY(xd_term_out_str(&t->out, before[level], marks[level]));
    XD_TRY(xd_term_out_foreign(&t->out, in.text, marks[level], false));
    return xd_term_out_str(&t->out, "\n", 0);
}

static int on_still_running(xd_term *t, const xd_frame *frame)
{
    xd_wire_STILL_RUNNING in;
    xd_autobuf            line = XD_BUF_INIT;
    XD_TRY(xd_wire_STILL_RUNNING_decode(frame->body, frame->len, &in));
    in.item = xd_runview_place(t->view, frame->flags, in.item);
    if (!in.slow || t->live || t->options.failed_only || t->view->tests.items[in.item].outcome)
        return 0; /* the live line names it all the time */
    XD_TRY(xd_buf_add_str(&line, "xd: slow: "));
    XD_TRY(xd_term_test(t, &line, in.item));
    XD_TRY(xd_buf_add_str(&line, " has run for "));
    XD_TRY(xd_term_age(&line, in.age_ms));
    return xd_term_line_mark(t, XD_MARK_YELLOW, "%s on %s", xd_buf_cstr(&line),
                             xd_runview_worker_name(t->view, in.worker).text);
}

static int on_env_failed(xd_term *t, const xd_frame *frame)
{
    xd_wire_ENV_FAILED in;
    xd_autobuf         text = XD_BUF_INIT;
    XD_TRY(xd_wire_ENV_FAILED_decode(frame->body, frame->len, &in));
    t->env_failed = true;
    if (in.exit_status == XD_EXIT_USAGE && t->view->envs.count < 2)
        return xd_term_complain(t, "ERROR: ", in.text, XD_MARK_RED);
    if (in.exit_status == XD_EXIT_USAGE) { /* it may be another one for each of them */
        XD_TRY(xd_buf_add_bytes(&text, xd_runview_spec(t->view, frame->flags)));
        XD_TRY(xd_buf_add_str(&text, ": "));
        XD_TRY(xd_buf_add_bytes(&text, in.text));
        return xd_term_complain(t, "ERROR: ", xd_buf_view(&text), XD_MARK_RED);
    }
    XD_TRY(xd_term_live_erase(t));
    XD_TRY(xd_term_newline(t));
    XD_TRY(xd_term_out_str(&t->out, "ERROR: ", XD_MARK_RED));
    XD_TRY(xd_env_failed_text(&text, xd_runview_spec(t->view, frame->flags), in.text));
    XD_TRY(xd_term_out_foreign(&t->out, xd_buf_view(&text), XD_MARK_RED, true));
    return xd_term_out_str(&t->out, "\n", 0);
}

int xd_term_on_frame(xd_term *t, const xd_frame *frame)
{
    switch (frame->type) {
    case XD_MSG_CONFIG:
        XD_TRY(xd_term_live_erase(t));
        return xd_term_on_config(t, frame);
    case XD_MSG_ENV_FACTS:
        XD_TRY(xd_term_live_erase(t));
        return xd_term_on_facts(t, frame);
    case XD_MSG_COLLECTED:
        XD_TRY(xd_term_live_erase(t));
        return xd_term_on_collected(t, frame);
    case XD_MSG_COLLECTION:
        XD_TRY(xd_term_live_erase(t));
        return t->tests_began ? 0 : xd_term_on_collection(t, frame);
    case XD_MSG_OUTPUT:
        return t->options.failed_only ? 0 : on_output(t, frame);
    case XD_MSG_WORKER_DOWN:
        XD_TRY(xd_term_live_erase(t));
        return on_down(t, frame);
    case XD_MSG_NOTE:
        return on_note(t, frame);
    case XD_MSG_STILL_RUNNING:
        return on_still_running(t, frame);
    case XD_MSG_ENV_FAILED:
        return on_env_failed(t, frame);
    default:
        return 0;
    }
}

int xd_term_on_end(xd_term *t)
{
    const xd_runview *v = t->view;
    if (t->summary_shown)
        return 0;
    t->summary_shown = true;
    XD_TRY(xd_term_live_erase(t));
    /* Without a configuration pytest itself has said all there is: --collect-only, --help, a conftest that
     * cannot be read. */
    if (!t->configured && !v->tests.ended)
        return 0;
    if (!t->options.failed_only)
        XD_TRY(flush_lines(t, true, 0));
    if (v->collection.each && !t->options.failed_only)
        XD_TRY(xd_term_own_flush(t));
    /* As pytest: the last percentage goes to the right border. */
    else if (t->cases <= 0 && t->progress != XD_TERM_PROGRESS_NONE && t->started && !t->options.failed_only) {
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(progress_text(t, &text, XD_NO_INDEX));
        size_t     fill = t->out.width > t->out.column + 1 ? t->out.width - t->out.column - 1 : 0;
        xd_autobuf line = XD_BUF_INIT;
        if (fill > text.len)
            XD_TRY(xd_buf_fill(&line, ' ', fill - text.len));
        XD_TRY(xd_buf_add_bytes(&line, xd_buf_view(&text)));
        XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&line), xd_term_main_mark(t)));
        t->line_open = true;
    }
    if (t->cases > 0) /* as pytest: a blank line follows the list, none follows the letters */
        XD_TRY(xd_term_newline(t));
    t->line_open = false;
    if (t->header_shown || v->collection.agreed || v->tests.ended)
        XD_TRY(xd_term_out_str(&t->out, "\n", 0));
    return xd_term_summary(t);
}

/* ---- what is said of workers --------------------------------------------------------------------------- */

int xd_term_worker_line(xd_term *t, uint16_t worker)
{
    const xd_runview *v = t->view;
    if (worker >= v->envs.worker_count || !v->envs.workers[worker].known)
        return 0;
    const xd_runview_worker *w = &v->envs.workers[worker];
    xd_bytes                 version = w->python_version.len ? w->python_version : v->config.python_version;
    XD_TRY(xd_term_out_printf(&t->out, 0, "[%s] linux", xd_runview_worker_name(v, worker).text));
    if (version.len) {
        XD_TRY(xd_term_out_str(&t->out, " -- Python ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, version, 0, false));
        XD_TRY(xd_term_out_str(&t->out, " ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, w->python.len ? w->python : v->config.python, 0, false));
    }
    if (v->envs.count > 1 && w->spec.len) {
        XD_TRY(xd_term_out_str(&t->out, " on ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, w->spec, 0, false));
    }
    return xd_term_out_str(&t->out, "\n", 0);
}

int xd_term_on_crash_text(const xd_term *t, uint32_t item, xd_buf *to)
{
    const xd_runview      *v = t->view;
    const xd_runview_item *i = &v->tests.items[item];
    xd_autobuf             text = XD_BUF_INIT;
    xd_frame               frame;
    xd_wire_WORKER_DOWN    down;
    XD_TRY(xd_runview_sentence(v, i, &text));
    if (i->down != XD_NO_INDEX &&
        v->source.read(v->source.arg, v->notes.downs.at[i->down].offset, &frame) >= 0 &&
        xd_wire_WORKER_DOWN_decode(frame.body, frame.len, &down) >= 0) {
        XD_TRY(xd_buf_add_str(&text, ": "));
        XD_TRY(xd_outcome_reason(&text, &down));
    }
    return xd_text_harmless(to, xd_buf_view(&text), false);
}
