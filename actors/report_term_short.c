/* actors/report_term_short.c - "short test summary info" and the last line with counts and time. */
#include "actors/report_term_state.h"

#include <stdio.h>
#include <string.h>

#include "actors/columns.h"
#include "engine/base/text.h"

typedef struct shorts {
    bool   title_out;
    char   kind; /* the -r character */
    xd_buf scratch;
    /* skips folded by place and reason, in order of appearance */
    xd_term_groups groups;
    xd_buf        *lines; /* of each group: "path:line: reason" */
    uint32_t      *counts;
    uint32_t       lines_cap;
    char           skip_word[32];
} shorts;

static int begin(xd_term *t, shorts *s)
{
    if (s->title_out)
        return 0;
    s->title_out = true;
    return xd_term_out_sep(&t->out, '=', "short test summary info", XD_MARK_CYAN | XD_MARK_BOLD);
}

static unsigned mark_of_kind(char kind)
{
    return kind == 'f' || kind == 'E' ? XD_MARK_RED : kind == 'p' ? XD_MARK_GREEN : XD_MARK_YELLOW;
}

static const char *outcome_word(uint8_t outcome)
{
    static const char *const words[] = { "",      "PASSED", "FAILED",  "SKIPPED", "XFAIL",
                                         "XPASS", "ERROR",  "CRASHED", "TIMEOUT", "LOST" };
    return outcome < XD_ARRAY_LEN(words) ? words[outcome] : "";
}

/* Node id with the part behind the path bold; *columns grows by its width. */
static int put_nodeid(xd_term *t, xd_bytes nodeid, uint32_t item, uint32_t report, size_t *columns)
{
    xd_autobuf id = XD_BUF_INIT;
    XD_TRY(xd_term_nodeid(t, &id, nodeid));
    XD_TRY(xd_term_environment(t, &id, item, report));
    *columns += xd_columns(xd_buf_view(&id));
    size_t path = t->out.markup ? t->view->config.grammar->rest(xd_buf_view(&id)) : id.len;
    XD_TRY(xd_term_out_write(&t->out, (xd_bytes){ id.data, path }, 0));
    return xd_term_out_write(&t->out, (xd_bytes){ id.data + path, id.len - path }, XD_MARK_BOLD);
}

static bool whole_message(const xd_term *t)
{
    return (xd_term_env(t, "CI") || xd_term_env(t, "BUILD_NUMBER") || t->verbose >= 2) && !t->short_forced;
}

static int put_message(xd_term *t, xd_bytes message, size_t columns)
{
    xd_autobuf text = XD_BUF_INIT;
    if (whole_message(t)) {
        XD_TRY(xd_buf_add_str(&text, " - "));
        XD_TRY(xd_text_harmless(&text, message, true));
    } else if (t->out.width > columns) {
        XD_TRY(xd_term_trimmed(&text, " - ", message, t->out.width - columns));
    }
    return xd_term_out_write(&t->out, xd_buf_view(&text), 0);
}

static int one_line(xd_term *t, uint32_t item, uint32_t report, void *arg)
{
    shorts           *s = arg;
    const xd_runview *v = t->view;
    xd_wire_REPORT    r = { 0 };
    XD_TRY(begin(t, s));
    if (report != XD_NO_INDEX)
        XD_TRY(xd_runview_report_read(v, report, &r));
    xd_bytes word =
        r.word.len ? r.word
                   : xd_bytes_str(item != XD_NO_INDEX ? outcome_word(v->tests.items[item].outcome) : "ERROR");
    size_t columns = xd_columns(word) + 1;
    XD_TRY(xd_term_out_foreign(&t->out, word, mark_of_kind(s->kind), false));
    XD_TRY(xd_term_out_str(&t->out, " ", 0));
    if (s->kind == 'x' && r.when.len && !xd_bytes_eq_str(r.when, "call")) {
        XD_TRY(xd_term_out_str(&t->out, "at ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, r.when, 0, false));
        XD_TRY(xd_term_out_str(&t->out, " of ", 0));
    }
    XD_TRY(put_nodeid(t, r.nodeid.len || item == XD_NO_INDEX ? r.nodeid : v->tests.items[item].id, item,
                      report, &columns));
    if (s->kind == 'x' || s->kind == 'X' || s->kind == 's') {
        xd_bytes reason = r.message;
        if (reason.len) {
            XD_TRY(xd_term_out_str(&t->out, " - ", 0));
            XD_TRY(xd_term_out_foreign(&t->out, reason, 0, true));
        }
    } else if (report == XD_NO_INDEX && s->kind == 'f') {
        xd_buf_clear(&s->scratch);
        XD_TRY(xd_term_on_crash_text(t, item, &s->scratch));
        XD_TRY(put_message(t, xd_buf_view(&s->scratch), columns));
    } else if (r.message.len &&
               (r.path.len || xd_runview_pytest_from(v, 9, 0))) { /* a bare text: since 9.0 */
        XD_TRY(put_message(t, r.message, columns));
    }
    XD_TRY(xd_term_out_str(&t->out, "\n", 0));
    return xd_term_out_full(&t->out) ? xd_term_out_drain(&t->out, XD_TERM_OUT_LIMIT / 2) : 0;
}

static xd_bytes without(xd_bytes text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.len >= n && !memcmp(text.ptr, prefix, n) ? (xd_bytes){ text.ptr + n, text.len - n } : text;
}

static int fold_skip(xd_term *t, uint32_t item, uint32_t report, void *arg)
{
    shorts           *s = arg;
    const xd_runview *v = t->view;
    xd_wire_REPORT    r = { .line = -1 };
    (void)item;
    if (report != XD_NO_INDEX)
        XD_TRY(xd_runview_report_read(v, report, &r));
    if (!s->skip_word[0])
        snprintf(s->skip_word, sizeof s->skip_word, "%.*s", (int)XD_MIN(r.word.len, (size_t)30),
                 (const char *)r.word.ptr);
    xd_buf_clear(&s->scratch);
    if (r.path.len) {
        xd_autobuf rel = XD_BUF_INIT;
        XD_TRY(xd_term_relative(&rel, v->config.invocation_dir, r.path));
        XD_TRY(xd_text_harmless(&s->scratch, xd_buf_view(&rel), false));
        if (r.line >= 0 && !(r.flags & XD_REP_FOLDED))
            XD_TRY(xd_buf_printf(&s->scratch, ":%d", r.line + 1));
    } else if (item != XD_NO_INDEX) {
        XD_TRY(xd_term_test(t, &s->scratch, item));
    }
    XD_TRY(xd_buf_add_str(&s->scratch, ": "));
    XD_TRY(xd_text_harmless(&s->scratch, without(r.message, "Skipped: "), true));
    uint32_t g = 0;
    int      is_new = xd_term_groups_find(&s->groups, xd_buf_view(&s->scratch), &g);
    XD_TRY(is_new);
    if (is_new) {
        if (g >= s->lines_cap) {
            uint32_t cap = s->lines_cap ? s->lines_cap * 2 : 64;
            xd_buf  *lines = realloc(s->lines, cap * sizeof *lines);
            s->lines = lines ? lines : s->lines;
            uint32_t *counts = lines ? realloc(s->counts, cap * sizeof *counts) : NULL;
            if (!counts)
                return -ENOMEM;
            s->counts = counts;
            s->lines_cap = cap;
        }
        s->lines[g] = XD_BUF_INIT;
        s->counts[g] = 0;
        XD_TRY(xd_buf_add_bytes(&s->lines[g], xd_buf_view(&s->scratch)));
    }
    s->counts[g]++;
    return 0;
}

static int folded_skips(xd_term *t, shorts *s)
{
    XD_TRY(xd_term_each(t, "skipped", fold_skip, s));
    for (uint32_t g = 0; g < s->groups.count; g++) {
        XD_TRY(begin(t, s));
        XD_TRY(xd_term_out_foreign(&t->out, xd_bytes_str(s->skip_word[0] ? s->skip_word : "SKIPPED"),
                                   XD_MARK_YELLOW, false));
        XD_TRY(xd_term_out_printf(&t->out, 0, " [%u] ", s->counts[g]));
        XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&s->lines[g]), 0));
        XD_TRY(xd_term_out_str(&t->out, "\n", 0));
        if (xd_term_out_full(&t->out))
            XD_TRY(xd_term_out_drain(&t->out, XD_TERM_OUT_LIMIT / 2));
    }
    return 0;
}

static int all_kinds(xd_term *t, shorts *s)
{
    for (const char *c = t->reportchars; *c; c++) {
        s->kind = *c;
        switch (*c) {
        case 'x':
            XD_TRY(xd_term_each(t, "xfailed", one_line, s));
            break;
        case 'X':
            XD_TRY(xd_term_each(t, "xpassed", one_line, s));
            break;
        case 'f':
            XD_TRY(xd_term_each(t, "failed", one_line, s));
            XD_TRY(xd_term_each(t, "crashed", one_line, s));
            XD_TRY(xd_term_each(t, "timeout", one_line, s));
            XD_TRY(xd_term_each(t, "lost", one_line, s));
            break;
        case 's':
            XD_TRY(t->full_skips ? xd_term_each(t, "skipped", one_line, s) : folded_skips(t, s));
            break;
        case 'p':
            XD_TRY(xd_term_each(t, "passed", one_line, s));
            break;
        case 'E':
            XD_TRY(xd_term_each(t, "error", one_line, s));
            break;
        default: /* w and P are shown elsewhere */
            break;
        }
    }
    return 0;
}

int xd_term_short(xd_term *t)
{
    shorts s = { 0 };
    int    r = all_kinds(t, &s);
    for (uint32_t g = 0; g < s.groups.count && s.lines && g < s.lines_cap; g++)
        xd_buf_release(&s.lines[g]);
    free(s.lines);
    free(s.counts);
    xd_buf_release(&s.scratch);
    xd_term_groups_release(&s.groups);
    return r;
}

/* ---- last line ----------------------------------------------------------------------------------------- */

typedef struct stats {
    xd_buf   text; /* with markup */
    size_t   columns;
    unsigned main_mark;
} stats;

static int add_part(xd_term *t, stats *s, uint64_t count, const char *name, unsigned mark)
{
    xd_autobuf part = XD_BUF_INIT;
    if (!count)
        return 0;
    if (s->text.len) {
        XD_TRY(xd_buf_add_str(&s->text, ", "));
        s->columns += 2;
    }
    XD_TRY(xd_buf_printf(&part, "%llu ", (unsigned long long)count));
    bool plural = count != 1;
    if (!strcmp(name, "warnings"))
        XD_TRY(xd_buf_add_str(&part, plural ? "warnings" : "warning"));
    else if (!strcmp(name, "error"))
        XD_TRY(xd_buf_add_str(&part, plural ? "errors" : "error"));
    else
        XD_TRY(xd_text_harmless(&part, xd_bytes_str(name), false));
    s->columns += xd_columns(xd_buf_view(&part));
    return xd_term_mark(&t->out, &s->text, xd_buf_cstr(&part),
                        mark | (mark == s->main_mark ? XD_MARK_BOLD : 0u));
}

static const struct {
    const char *name;
    unsigned    mark;
} known[] = {
    { "failed", XD_MARK_RED },          { "crashed", XD_MARK_RED },
    { "timeout", XD_MARK_RED },         { "lost", XD_MARK_RED },
    { "passed", XD_MARK_GREEN },        { "skipped", XD_MARK_YELLOW },
    { "deselected", XD_MARK_YELLOW },   { "xfailed", XD_MARK_YELLOW },
    { "xpassed", XD_MARK_YELLOW },      { "warnings", XD_MARK_YELLOW },
    { "error", XD_MARK_RED },           { "subtests passed", XD_MARK_GREEN },
    { "subtests failed", XD_MARK_RED }, { "subtests skipped", XD_MARK_YELLOW },
};

static int add_counts(xd_term *t, stats *s)
{
    const xd_runview *v = t->view;
    for (size_t i = 0; i < XD_ARRAY_LEN(known); i++) {
        uint64_t n = !strcmp(known[i].name, "deselected") ? v->collection.deselected
                     : !strcmp(known[i].name, "warnings") ? v->notes.warnings.count
                                                          : xd_runview_counted(v, known[i].name);
        XD_TRY(add_part(t, s, n, known[i].name, known[i].mark));
    }
    for (uint32_t c = 0; c < v->tests.count_count; c++) {
        const char *name = (const char *)v->texts.names[v->tests.counts[c].name].ptr;
        size_t      k = 0;
        while (k < XD_ARRAY_LEN(known) && strcmp(known[k].name, name) != 0)
            k++;
        if (k == XD_ARRAY_LEN(known) && strcmp(name, "not-run") != 0)
            XD_TRY(add_part(t, s, v->tests.counts[c].count, name, XD_MARK_YELLOW));
    }
    return 0;
}

static int put_stats(xd_term *t, stats *s)
{
    const xd_runview *v = t->view;
    xd_autobuf        duration = XD_BUF_INIT;
    s->main_mark = xd_term_main_mark(t);
    XD_TRY(add_counts(t, s));
    if (!s->text.len) {
        XD_TRY(xd_term_mark(&t->out, &s->text, "no tests ran", XD_MARK_YELLOW));
        s->columns = strlen("no tests ran");
    }
    XD_TRY(xd_buf_add_str(&duration, " in "));
    XD_TRY(xd_term_duration(&duration, v->run.duration_us));
    s->columns += duration.len;
    XD_TRY(xd_term_mark(&t->out, &s->text, xd_buf_cstr(&duration), s->main_mark));
    if (t->verbose < 0) {
        XD_TRY(xd_buf_add_byte(&s->text, '\n'));
        return xd_term_out_write(&t->out, xd_buf_view(&s->text), 0);
    }
    size_t     width = t->out.width;
    size_t     n = width > s->columns + 2 ? (width - s->columns - 2) / 2 : 1;
    xd_autobuf fill = XD_BUF_INIT;
    n = XD_MAX(n, (size_t)1);
    XD_TRY(xd_buf_fill(&fill, '=', n));
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&fill), s->main_mark));
    XD_TRY(xd_term_out_str(&t->out, " ", 0));
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&s->text), 0));
    XD_TRY(xd_term_out_str(&t->out, " ", 0));
    if (2 * n + 2 + s->columns + 1 <= width)
        XD_TRY(xd_buf_add_byte(&fill, '='));
    XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&fill), s->main_mark));
    return xd_term_out_str(&t->out, "\n", 0);
}

int xd_term_stats(xd_term *t)
{
    if (t->verbose < -1)
        return 0;
    stats s = { 0 };
    int   r = put_stats(t, &s);
    xd_buf_release(&s.text);
    return r;
}
