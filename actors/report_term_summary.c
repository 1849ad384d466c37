/* actors/report_term_summary.c - ERRORS, FAILURES, warnings, PASSES, durations: everything between the
 * letters and the short summary.
 * Texts are read back from the journal one at a time; the output is drained in between, so that memory stays
 * small. */
#include "actors/report_matrix.h"
#include "actors/report_term_state.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/xd.h"

int xd_term_each(xd_term *t, const char *category, xd_term_each_fn fn, void *arg)
{
    const xd_runview *v = t->view;
    uint8_t           own = 0; /* outcome that stands for this category by itself */
    for (uint8_t o = 1; o <= 10; o++)
        if (!strcmp(xd_runview_outcome_name(o), category))
            own = o;
    for (uint32_t i = 0; i < v->tests.collect_report_count; i++) {
        uint32_t                 n = v->tests.collect_reports[i];
        const xd_runview_report *r = &v->tests.reports[n];
        if (r->counted && xd_bytes_eq_str(v->texts.names[r->category], category))
            XD_TRY(fn(t, XD_NO_INDEX, n, arg));
    }
    xd_autofree uint32_t *order = calloc((size_t)v->tests.ended + 1, sizeof *order);
    if (!order)
        return -ENOMEM;
    for (uint32_t i = 0; i < v->tests.count; i++)
        if (v->tests.items[i].ended && v->tests.items[i].ended <= v->tests.ended)
            order[v->tests.items[i].ended - 1] = i;
    for (uint32_t k = 0; k < v->tests.ended; k++) {
        const xd_runview_item *i = &v->tests.items[order[k]];
        if (i->own) {
            /* Its reports were not counted, but carry text (a passed test's output). */
            uint32_t n = i->first_report;
            while (n != XD_NO_INDEX &&
                   !xd_bytes_eq_str(v->texts.names[v->tests.reports[n].category], category))
                n = v->tests.reports[n].next;
            if (i->own == own)
                XD_TRY(fn(t, order[k], n, arg));
        }
        for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = v->tests.reports[n].next)
            if (v->tests.reports[n].counted &&
                xd_bytes_eq_str(v->texts.names[v->tests.reports[n].category], category))
                XD_TRY(fn(t, order[k], n, arg));
    }
    return 0;
}

/* ---- one failure --------------------------------------------------------------------------------------- */

/* "path/file.py:12: " at the start of a line of a traceback: length of the path, else 0. */
static size_t location(xd_bytes line)
{
    if (!line.len || line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return 0;
    const uint8_t *p = memmem(line.ptr, line.len, ".py:", 4);
    if (!p)
        return 0;
    size_t at = (size_t)(p - line.ptr) + 4, digits = 0;
    while (at < line.len && line.ptr[at] >= '0' && line.ptr[at] <= '9') {
        at++;
        digits++;
    }
    return digits && at < line.len && line.ptr[at] == ':' ? (size_t)(p - line.ptr) + 3 : 0;
}

static int text_line(xd_term *t, xd_bytes line)
{
    bool   colored = line.len && memchr(line.ptr, 0x1b, line.len);
    size_t path = t->out.markup && !colored ? location(line) : 0;
    if (path) {
        XD_TRY(xd_term_out_foreign(&t->out, (xd_bytes){ line.ptr, path }, XD_MARK_BOLD | XD_MARK_RED, false));
        line = (xd_bytes){ line.ptr + path, line.len - path };
        XD_TRY(xd_term_out_foreign(&t->out, line, 0, true));
    } else {
        bool red = !colored && line.len >= 2 && line.ptr[0] == 'E' && line.ptr[1] == ' ';
        XD_TRY(xd_term_out_foreign(&t->out, line, red ? XD_MARK_BOLD | XD_MARK_RED : 0, true));
    }
    return xd_term_out_str(&t->out, "\n", 0);
}

static int text_lines(xd_term *t, xd_bytes text)
{
    while (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    for (;;) {
        const uint8_t *nl = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
        size_t         n = nl ? (size_t)(nl - text.ptr) : text.len;
        XD_TRY(text_line(t, (xd_bytes){ text.ptr, n }));
        if (!nl)
            return 0;
        text = (xd_bytes){ text.ptr + n + 1, text.len - n - 1 };
        if (xd_term_out_full(&t->out))
            XD_TRY(xd_term_out_drain(&t->out, XD_TERM_OUT_LIMIT / 2));
    }
}

static int section(xd_term *t, const xd_wire_PAIR *s)
{
    xd_autobuf title = XD_BUF_INIT;
    XD_TRY(xd_text_harmless(&title, s->name, false));
    XD_TRY(xd_term_out_sep(&t->out, '-', xd_buf_cstr(&title), 0));
    xd_bytes text = s->value;
    if (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    XD_TRY(xd_term_out_foreign(&t->out, text, 0, true));
    return xd_term_out_str(&t->out, "\n", 0);
}

static int sections(xd_term *t, const xd_wire_REPORT *r, const char *only)
{
    if (!strcmp(t->showcapture, "no"))
        return 0;
    xd_wire_list list = r->sections;
    xd_wire_PAIR s;
    while (xd_wire_PAIR_next(&list, &s) == 1) {
        if (strcmp(t->showcapture, "all") != 0 &&
            !memmem(s.name.ptr, s.name.len, t->showcapture, strlen(t->showcapture)))
            continue;
        if (!only || memmem(s.name.ptr, s.name.len, only, strlen(only)))
            XD_TRY(section(t, &s));
    }
    return 0;
}

/* Sections of the item's earlier reports come first (they travelled with them), as in pytest's report, which
 * has them all. */
static int all_sections(xd_term *t, uint32_t item, uint32_t report)
{
    const xd_runview *v = t->view;
    xd_wire_REPORT    r;
    if (item == XD_NO_INDEX) {
        XD_TRY(xd_runview_report_read(v, report, &r));
        return sections(t, &r, NULL);
    }
    for (uint32_t n = v->tests.items[item].first_report; n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        if (v->tests.reports[n].attempt != v->tests.items[item].attempt ||
            (v->tests.reports[n].subtest && n != report))
            continue;
        XD_TRY(xd_runview_report_read(v, n, &r));
        XD_TRY(sections(t, &r, NULL));
        if (n == report)
            return 0;
    }
    return 0;
}

/* Output of a teardown that passed, below the failure of the call. */
static int teardown_sections(xd_term *t, uint32_t item, uint32_t report)
{
    const xd_runview *v = t->view;
    for (uint32_t n = report == XD_NO_INDEX ? XD_NO_INDEX : v->tests.reports[report].next; n != XD_NO_INDEX;
         n = v->tests.reports[n].next) {
        xd_wire_REPORT r;
        if (v->tests.reports[n].category || v->tests.reports[n].when != 't' ||
            v->tests.reports[n].attempt != v->tests.items[item].attempt)
            continue;
        XD_TRY(xd_runview_report_read(v, n, &r));
        XD_TRY(sections(t, &r, "teardown"));
    }
    return 0;
}

static int body(xd_term *t, uint32_t item, uint32_t report)
{
    const xd_runview *v = t->view;
    if (report != XD_NO_INDEX) {
        xd_wire_REPORT r;
        XD_TRY(xd_term_worker_line(t, v->tests.reports[report].worker));
        XD_TRY(xd_runview_report_read(v, report, &r));
        if (r.text.len)
            XD_TRY(text_lines(t, r.text));
        if (r.flags & XD_REP_CUT)
            XD_TRY(
                xd_term_out_str(&t->out, "xd: the text above is shortened to the limit\n", XD_MARK_YELLOW));
        return all_sections(t, item, report);
    }
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(xd_term_worker_line(t, v->tests.items[item].worker));
    XD_TRY(xd_term_on_crash_text(t, item, &text));
    XD_TRY(xd_buf_add_byte(&text, '\n'));
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&text), XD_MARK_RED));
    if (v->tests.items[item].down == XD_NO_INDEX || !strcmp(t->showcapture, "no"))
        return 0;
    xd_frame            frame;
    xd_wire_WORKER_DOWN down;
    XD_TRY(v->source.read(v->source.arg, v->notes.downs.at[v->tests.items[item].down].offset, &frame));
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame.body, frame.len, &down));
    if (!down.last_output.len)
        return 0;
    xd_wire_PAIR s = { .name = XD_BYTES_LIT("Last output of the worker"), .value = down.last_output };
    return section(t, &s);
}

typedef struct block {
    const char *title;  /* of the whole; NULL once it is out */
    bool        errors; /* "ERROR at setup of" */
    bool        passes; /* only those with output */
    unsigned    mark;
    bool        line; /* --tb=line */
} block;

static int headline(xd_term *t, uint32_t item, uint32_t report, const block *b, xd_buf *to)
{
    const xd_runview *v = t->view;
    xd_wire_REPORT    r = { 0 };
    if (report != XD_NO_INDEX)
        XD_TRY(xd_runview_report_read(v, report, &r));
    if (b->errors && item == XD_NO_INDEX)
        XD_TRY(xd_buf_add_str(to, "ERROR collecting "));
    else if (b->errors) {
        XD_TRY(xd_buf_add_str(to, "ERROR at "));
        XD_TRY(xd_text_harmless(to, report == XD_NO_INDEX ? XD_BYTES_LIT("setup") : r.when, false));
        XD_TRY(xd_buf_add_str(to, " of "));
    }
    xd_bytes id = r.nodeid.len || item == XD_NO_INDEX ? r.nodeid : v->tests.items[item].id;
    if (item == XD_NO_INDEX)
        XD_TRY(id.len ? xd_text_harmless(to, id, false) : xd_buf_add_str(to, "test session"));
    else
        XD_TRY(r.heading.len ? xd_text_harmless(to, r.heading, false) : xd_term_headline(t, to, id));
    if (r.subtest.len) {
        XD_TRY(xd_buf_add_byte(to, ' '));
        XD_TRY(xd_text_harmless(to, r.subtest, false));
    }
    return xd_term_environment(t, to, item, report);
}

static int crash_line(xd_term *t, uint32_t item, uint32_t report)
{
    xd_autobuf     line = XD_BUF_INIT;
    xd_wire_REPORT r;
    if (report == XD_NO_INDEX) {
        XD_TRY(xd_term_on_crash_text(t, item, &line));
    } else {
        XD_TRY(xd_runview_report_read(t->view, report, &r));
        if (r.path.len) {
            XD_TRY(xd_text_harmless(&line, r.path, false));
            XD_TRY(xd_buf_printf(&line, ":%d: ", r.line + 1));
            const uint8_t *nl = r.message.len ? memchr(r.message.ptr, '\n', r.message.len) : NULL;
            r.message.len = nl ? (size_t)(nl - r.message.ptr) : r.message.len;
        }
        XD_TRY(xd_text_harmless(&line, r.message, true));
    }
    return xd_term_line_mark(t, 0, "%s", xd_buf_cstr(&line));
}

/* Whether there is output up to this report: 1, 0, -errno. */
static int has_sections(xd_term *t, uint32_t item, uint32_t report)
{
    const xd_runview *v = t->view;
    for (uint32_t n = v->tests.items[item].first_report; n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        xd_wire_REPORT r;
        if (v->tests.reports[n].attempt != v->tests.items[item].attempt || v->tests.reports[n].subtest)
            continue;
        XD_TRY(xd_runview_report_read(v, n, &r));
        if (r.sections.count)
            return 1;
        if (n == report)
            break;
    }
    return 0;
}

static int one_block(xd_term *t, uint32_t item, uint32_t report, void *arg)
{
    block     *b = arg;
    xd_autobuf title = XD_BUF_INIT;
    if (b->passes && report == XD_NO_INDEX)
        return 0;
    if (b->passes) {
        int any = has_sections(t, item, report);
        if (any <= 0)
            return any;
    }
    if (b->title)
        XD_TRY(xd_term_out_sep(&t->out, '=', b->title, 0));
    b->title = NULL;
    if (!b->line) {
        XD_TRY(headline(t, item, report, b, &title));
        XD_TRY(xd_term_out_sep(&t->out, '_', xd_buf_cstr(&title), b->mark | XD_MARK_BOLD));
    }
    if (b->passes)
        XD_TRY(all_sections(t, item, report));
    else
        XD_TRY(body(t, item, report));
    if (b->line)
        XD_TRY(crash_line(t, item, report));
    else if (item != XD_NO_INDEX && !b->errors)
        XD_TRY(teardown_sections(t, item, report));
    return xd_term_out_full(&t->out) ? xd_term_out_drain(&t->out, XD_TERM_OUT_LIMIT / 2) : 0;
}

static int failures(xd_term *t)
{
    if (!strcmp(t->tbstyle, "no"))
        return 0;
    block errors = { .title = "ERRORS", .errors = true, .mark = XD_MARK_RED };
    XD_TRY(xd_term_each(t, "error", one_block, &errors));
    bool  line = !strcmp(t->tbstyle, "line");
    block b = { .title = "FAILURES", .mark = XD_MARK_RED, .line = line };
    XD_TRY(xd_term_each(t, "failed", one_block, &b));
    XD_TRY(xd_term_each(t, "crashed", one_block, &b));
    XD_TRY(xd_term_each(t, "timeout", one_block, &b));
    XD_TRY(xd_term_each(t, "lost", one_block, &b));
    if (!t->xfail_tb)
        return 0;
    block x = { .title = "XFAILURES", .mark = XD_MARK_RED, .line = line };
    return xd_term_each(t, "xfailed", one_block, &x);
}

static int passes(xd_term *t, const char *category, const char *title, char needed)
{
    if (!strcmp(t->tbstyle, "no") || !xd_term_has(t, needed) || !xd_runview_counted(t->view, category))
        return 0;
    block b = { .passes = true, .mark = XD_MARK_GREEN };
    XD_TRY(xd_term_out_sep(&t->out, '=', title, 0)); /* pytest prints the title also above nothing */
    return xd_term_each(t, category, one_block, &b);
}

#define ENDED_MOST 5u

/* A session that ends inside of a test leaves it without an outcome: the one that is worth a look. */
static int ended_inside(xd_term *t)
{
    const xd_runview *v = t->view;
    uint32_t          shown = 0;
    for (uint32_t i = 0; i < v->tests.count && shown < ENDED_MOST; i++) {
        if (v->tests.items[i].outcome != XD_OUT_NOT_RUN)
            continue;
        xd_autobuf id = XD_BUF_INIT;
        XD_TRY(xd_text_harmless(&id, v->tests.items[i].id, false));
        XD_TRY(xd_term_environment(t, &id, i, XD_NO_INDEX));
        XD_TRY(xd_term_line_mark(t, XD_MARK_YELLOW, "xd: warning: the session of %s ended in %s",
                                 xd_runview_worker_name(v, v->tests.items[i].worker).text, xd_buf_cstr(&id)));
        shown++;
    }
    return 0;
}

/* What had not ended when the run was, or its journal. */
static int interrupted(xd_term *t)
{
    const xd_runview *v = t->view;
    for (uint32_t w = 0; w < v->envs.worker_count; w++) {
        uint32_t   item = xd_runview_interrupted_in(v, w);
        xd_autobuf line = XD_BUF_INIT;
        if (item == XD_NO_INDEX)
            continue;
        XD_TRY(xd_buf_add_str(&line, v->run.over ? "interrupted while running: " : "was still running: "));
        XD_TRY(xd_term_test(t, &line, item));
        XD_TRY(xd_buf_printf(&line, " (%s, %s", xd_runview_worker_name(v, w).text,
                             v->run.over ? "for " : "for at least "));
        XD_TRY(xd_term_age(&line, v->envs.workers[w].age_ms));
        XD_TRY(xd_term_line_mark(t, XD_MARK_YELLOW, "xd: warning: %s)", xd_buf_cstr(&line)));
    }
    return 0;
}

/* What plugins and conftests wrote in pytest_terminal_summary. */
static int plugin_summaries(xd_term *t)
{
    const xd_runview *v = t->view;
    for (uint32_t i = 0; i < v->notes.summaries.count; i++) {
        xd_frame        frame;
        xd_wire_SUMMARY in;
        XD_TRY(v->source.read(v->source.arg, v->notes.summaries.at[i].offset, &frame));
        XD_TRY(xd_wire_SUMMARY_decode(frame.body, frame.len, &in));
        XD_TRY(text_lines(t, in.text));
    }
    return 0;
}

/* Where each environment has tests of its own: those that ended before they had any. */
static int sessions_that_ended(xd_term *t)
{
    const xd_runview *v = t->view;
    for (uint32_t i = 0; v->collection.each && i < v->envs.count; i++) {
        const xd_runview_env *env = &v->envs.envs[i];
        xd_autobuf            title = XD_BUF_INIT;
        if (!env->over || !env->reason.len)
            continue;
        if (v->envs.count > 1) {
            XD_TRY(xd_text_harmless(&title, env->spec, false));
            XD_TRY(xd_buf_add_str(&title, ": "));
        }
        XD_TRY(xd_text_harmless(&title, env->reason, false));
        XD_TRY(xd_term_out_sep(&t->out, '!', xd_buf_cstr(&title), 0));
    }
    return 0;
}

int xd_term_summary(xd_term *t)
{
    const xd_runview *v = t->view;
    bool wanted = v->collection.agreed || v->tests.ended || v->tests.report_count, stopping = false;
    if (wanted && !t->no_summary)
        XD_TRY(failures(t));
    if (!t->no_summary)
        XD_TRY(xd_term_warnings(t)); /* also of a collection that gave no tests */
    if (wanted && !t->no_summary) {
        XD_TRY(passes(t, "passed", "PASSES", 'P'));
        XD_TRY(passes(t, "xpassed", "XPASSES", 'X'));
    }
    if (wanted) {
        XD_TRY(xd_term_xml_line(t));
        XD_TRY(xd_term_durations(t));
        XD_TRY(plugin_summaries(t));
        if (!t->no_summary)
            XD_TRY(xd_term_short(t));
    }
    if (!t->no_summary)
        XD_TRY(xd_report_matrix_end(&t->out, v));
    const char *most = xd_term_option(t, "max_warnings");
    if (v->run.exit_status == XD_EXIT_MAX_WARNINGS && most &&
        v->notes.warnings.count > strtoul(most, NULL, 10))
        XD_TRY(xd_term_line_mark(t, XD_MARK_RED, "Tests pass, but maximum allowed warnings exceeded: %u > %s",
                                 v->notes.warnings.count, most));
    if (v->run.reason.len) {
        xd_autobuf title = XD_BUF_INIT;
        XD_TRY(xd_text_harmless(&title, v->run.reason, false));
        stopping = v->run.reason.len > 9 && !memcmp(v->run.reason.ptr, "stopping ", 9);
        XD_TRY(xd_term_out_sep(&t->out, '!', xd_buf_cstr(&title), stopping ? XD_MARK_RED : 0));
    }
    XD_TRY(sessions_that_ended(t));
    XD_TRY(interrupted(t));
    if (!v->run.over)
        XD_TRY(xd_term_line_mark(
            t, XD_MARK_YELLOW,
            "xd: warning: the journal ends before the run did: %u of %u tests have an outcome",
            v->tests.ended, v->tests.count));
    else if (!stopping && v->collection.agreed &&
             v->collection.collected >
                 v->tests.ended - v->tests.not_run) /* of -x pytest does not say it either */
        XD_TRY(xd_term_line_mark(t, XD_MARK_YELLOW, "xd: warning: %u of %u tests were not run",
                                 v->collection.collected - (v->tests.ended - v->tests.not_run),
                                 v->collection.collected));
    if (v->tests.not_run)
        XD_TRY(ended_inside(t));
    return xd_term_stats(t);
}
