/* actors/report_term_extra.c - warnings summary, slowest durations, the line about the XML file. */
#include "actors/report_term_state.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/text.h"

/* ---- equal texts --------------------------------------------------------------------------------------- */

int xd_term_groups_find(xd_term_groups *g, xd_bytes text, uint32_t *ret)
{
    if (g->count * 2 >= g->cap) {
        uint32_t  cap = g->cap ? g->cap * 2 : 128;
        uint64_t *keys = calloc(cap, sizeof *keys);
        uint32_t *index = calloc(cap, sizeof *index);
        if (!keys || !index) {
            free(keys);
            free(index);
            return -ENOMEM;
        }
        for (uint32_t i = 0; i < g->cap; i++)
            if (g->keys[i]) {
                uint32_t at = (uint32_t)g->keys[i] & (cap - 1);
                while (keys[at])
                    at = (at + 1) & (cap - 1);
                keys[at] = g->keys[i];
                index[at] = g->index[i];
            }
        free(g->keys);
        free(g->index);
        g->keys = keys;
        g->index = index;
        g->cap = cap;
    }
    uint64_t key = XXH3_64bits(text.ptr, text.len) | 1;
    uint32_t at = (uint32_t)key & (g->cap - 1);
    while (g->keys[at] && g->keys[at] != key)
        at = (at + 1) & (g->cap - 1);
    if (g->keys[at]) {
        *ret = g->index[at];
        return 0;
    }
    g->keys[at] = key;
    *ret = g->index[at] = g->count++;
    return 1;
}

void xd_term_groups_release(xd_term_groups *g)
{
    free(g->keys);
    free(g->index);
    *g = (xd_term_groups){ 0 };
}

/* ---- warnings ------------------------------------------------------------------------------------------ */

typedef struct warned {
    uint32_t group;
    uint32_t next_of_group; /* + 1 */
} warned;

static int read_warning(const xd_runview *v, uint32_t i, xd_wire_WARNING *ret)
{
    xd_frame frame;
    XD_TRY(v->source.read(v->source.arg, v->notes.warnings.at[i].offset, &frame));
    return xd_wire_WARNING_decode(frame.body, frame.len, ret);
}

static int location_of(const xd_term *t, const xd_wire_WARNING *w, xd_buf *to)
{
    if (w->nodeid.len)
        return xd_text_harmless(to, w->nodeid, false);
    if (!w->file.len)
        return 0;
    xd_autobuf rel = XD_BUF_INIT;
    XD_TRY(xd_term_relative(&rel, t->view->config.invocation_dir, w->file));
    XD_TRY(xd_text_harmless(to, xd_buf_view(&rel), false));
    return xd_buf_printf(to, ":%u", w->line);
}

/* Fewer than ten places are listed; more are counted by file. */
static int put_locations(xd_term *t, const warned *all, uint32_t first, uint32_t count, bool *ret_any)
{
    const xd_runview *v = t->view;
    xd_term_groups    files = { 0 };
    uint32_t         *counts = NULL, places = 0;
    xd_autobuf        text = XD_BUF_INIT, names = XD_BUF_INIT;
    int               r = 0;
    counts = calloc(count + 1, sizeof *counts);
    if (!counts)
        return -ENOMEM;
    for (uint32_t i = first + 1; i && r >= 0; i = all[i - 1].next_of_group) {
        xd_wire_WARNING w;
        size_t          from = text.len;
        r = read_warning(v, i - 1, &w);
        r = r < 0 ? r : location_of(t, &w, &text);
        if (r < 0 || text.len == from)
            continue;
        places++;
        uint32_t g = 0;
        xd_bytes file = { text.data + from, text.len - from };
        file.len = v->config.grammar->unit(file);
        r = xd_term_groups_find(&files, file, &g);
        if (r > 0) {
            r = xd_buf_add_bytes(&names, file);
            r = r < 0 ? r : xd_buf_add_byte(&names, '\n');
        }
        counts[g]++;
        if (r >= 0)
            r = xd_buf_add_byte(&text, '\n');
        if (places >= 10) /* the places themselves are no longer needed */
            text.len = 0;
    }
    *ret_any = places > 0;
    if (r >= 0 && places < 10) {
        r = xd_term_out_write(&t->out, xd_buf_view(&text), 0);
    } else if (r >= 0) {
        const char *name = xd_buf_cstr(&names);
        for (uint32_t g = 0; g < files.count && r >= 0; g++) {
            const char *nl = strchr(name, '\n');
            r = xd_term_out_printf(&t->out, 0, "%.*s: %u warning%s\n", (int)(nl - name), name, counts[g],
                                   counts[g] > 1 ? "s" : "");
            name = nl + 1;
        }
    }
    free(counts);
    xd_term_groups_release(&files);
    return r < 0 ? r : 0;
}

static int put_message(xd_term *t, xd_bytes text, bool indent)
{
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
        text.len--;
    while (text.len) {
        const uint8_t *nl = memchr(text.ptr, '\n', text.len);
        size_t         n = nl ? (size_t)(nl - text.ptr) : text.len;
        if (indent)
            XD_TRY(xd_term_out_str(&t->out, "  ", 0));
        XD_TRY(xd_term_out_foreign(&t->out, (xd_bytes){ text.ptr, n }, 0, true));
        XD_TRY(xd_term_out_str(&t->out, "\n", 0));
        n += nl ? 1 : 0;
        text = (xd_bytes){ text.ptr + n, text.len - n };
    }
    return xd_term_out_str(&t->out, "\n", 0);
}

static int put_warnings(xd_term *t, warned *all, uint32_t *first, uint32_t *last, uint32_t *counts,
                        xd_term_groups *groups)
{
    const xd_runview *v = t->view;
    xd_wire_WARNING   w;
    for (uint32_t i = 0; i < v->notes.warnings.count; i++) {
        uint32_t g = 0;
        XD_TRY(read_warning(v, i, &w));
        int is_new = xd_term_groups_find(groups, w.text, &g);
        XD_TRY(is_new);
        if (is_new)
            first[g] = i;
        else
            all[last[g]].next_of_group = i + 1;
        last[g] = i;
        counts[g]++;
    }
    XD_TRY(xd_term_out_sep(&t->out, '=', "warnings summary", XD_MARK_YELLOW));
    for (uint32_t g = 0; g < groups->count; g++) {
        bool any = false;
        XD_TRY(put_locations(t, all, first[g], counts[g], &any));
        XD_TRY(read_warning(v, first[g], &w));
        XD_TRY(put_message(t, w.text, any));
        if (xd_term_out_full(&t->out))
            XD_TRY(xd_term_out_drain(&t->out, XD_TERM_OUT_LIMIT / 2));
    }
    return xd_term_out_str(&t->out,
                           "-- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html\n", 0);
}

int xd_term_warnings(xd_term *t)
{
    uint32_t n = t->view->notes.warnings.count;
    if (!n || !xd_term_has(t, 'w'))
        return 0;
    xd_autofree warned   *all = calloc(n, sizeof *all);
    xd_autofree uint32_t *numbers = calloc((size_t)n * 3, sizeof *numbers);
    xd_term_groups        groups = { 0 };
    if (!all || !numbers)
        return -ENOMEM;
    int r = put_warnings(t, all, numbers, numbers + n, numbers + 2 * (size_t)n, &groups);
    xd_term_groups_release(&groups);
    return r;
}

/* ---- durations ----------------------------------------------------------------------------------------- */

typedef struct slow {
    uint32_t us, item;
    uint32_t order;
    uint8_t  phase;
} slow;

static int slower(const void *a, const void *b)
{
    const slow *x = a, *y = b;
    if (x->us != y->us)
        return x->us < y->us ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

int xd_term_durations(xd_term *t)
{
    static const char *const phases[] = { "setup", "call", "teardown" };
    const xd_runview        *v = t->view;
    const char *wanted = xd_term_option(t, "durations"), *min_text = xd_term_option(t, "durations_min");
    if (!wanted || !*wanted)
        return 0;
    long              limit = strtol(wanted, NULL, 10);
    double            min = min_text ? xd_text_real(min_text, NULL) : t->verbose < 2 ? 0.005 : 0.0;
    xd_autofree slow *all = calloc((size_t)v->tests.count * 3 + 1, sizeof *all);
    size_t            n = 0;
    if (!all)
        return -ENOMEM;
    for (uint32_t i = 0; i < v->tests.count; i++) {
        const xd_runview_item *item = &v->tests.items[i];
        uint32_t               us[3] = { item->setup_us, item->call_us, item->teardown_us };
        for (uint8_t p = 0; p < 3 && item->outcome && item->outcome != XD_OUT_NOT_RUN; p++)
            if (us[p] || p != 1) /* a call of 0 us did not take place */
                all[n++] = (slow){ .us = us[p], .item = i, .order = item->ended * 3 + p, .phase = p };
    }
    if (!n)
        return 0;
    qsort(all, n, sizeof *all, slower);
    char title[64];
    if (limit)
        snprintf(title, sizeof title, "slowest %ld durations", limit);
    XD_TRY(xd_term_out_sep(&t->out, '=', limit ? title : "slowest durations", 0));
    if (limit > 0 && (size_t)limit < n)
        n = (size_t)limit;
    for (size_t i = 0; i < n; i++) {
        double seconds = (double)all[i].us / 1e6;
        if (seconds < min) {
            return xd_term_line_mark(t, 0, "\n(%zu durations < %gs hidden.%s)", n - i, min,
                                     min_text ? "" : "  Use -vv to show these durations.");
        }
        XD_TRY(xd_term_out_printf(&t->out, 0, "%.2fs %-8s ", seconds, phases[all[i].phase]));
        XD_TRY(xd_term_out_foreign(&t->out, v->tests.items[all[i].item].id, 0, false));
        xd_autobuf where = XD_BUF_INIT;
        XD_TRY(xd_term_environment(t, &where, all[i].item, XD_NO_INDEX));
        XD_TRY(xd_buf_add_byte(&where, '\n'));
        XD_TRY(xd_term_out_write(&t->out, xd_buf_view(&where), 0));
    }
    return 0;
}

int xd_term_xml_line(xd_term *t)
{
    const char *path = xd_term_option(t, "xmlpath");
    if (!path || !*path || t->verbose < 0)
        return 0;
    xd_autobuf full = XD_BUF_INIT, title = XD_BUF_INIT;
    if (*path != '/' && t->view->config.invocation_dir.len) {
        XD_TRY(xd_buf_add_bytes(&full, t->view->config.invocation_dir));
        XD_TRY(xd_buf_add_byte(&full, '/'));
    }
    XD_TRY(xd_buf_add_str(&full, path));
    XD_TRY(xd_buf_add_str(&title, "generated xml file: "));
    XD_TRY(xd_text_harmless(&title, xd_buf_view(&full), false));
    return xd_term_out_sep(&t->out, '-', xd_buf_cstr(&title), 0);
}
