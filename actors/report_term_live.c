/* actors/report_term_live.c - the live last line on a terminal: while it collects what was found so far, then
 * done/total, failures, longest running tests, time left.
 * It stands below the line of letters; it is erased before anything else is written and drawn again at the
 * next tick. The cursor is left at its first column, and the terminal does not wrap it: however the window is
 * resized, and whether the terminal flows text anew then or cuts it, all of the line is behind the cursor, so
 * that one erasure gets it. Where each environment has tests of its own there is a line for each, and the cursor is left in the
 * first of them. */
#include "actors/report_term_state.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/base/text.h"

#define NO_WRAP "\x1b[?7l"
#define WRAP "\x1b[?7h"
#define ERASE "\r\x1b[J"      /* of the line and below; a key that was pressed may have been echoed into it */
#define COLLECTING_AFTER_S 1u /* most collections are over by then */

static void take_bring(xd_term *t, const xd_wire_PROGRESS *in, uint16_t gateway, uint64_t now_ns)
{
    uint32_t i = 0;
    while (i < t->bringing && t->bring[i].gateway != gateway)
        i++;
    if (i == XD_TERM_BRING)
        return;
    if (!t->bringing)
        t->bring_ns = now_ns;
    t->bringing = XD_MAX(t->bringing, i + 1);
    t->bring[i] = (xd_term_bring){ gateway, in->brought, in->to_bring, in->brought_bytes };
}

int xd_term_live_progress(xd_term *t, const xd_wire_PROGRESS *progress, uint16_t gateway, uint64_t now_ns)
{
    uint32_t kept = 0, most;
    if (progress->to_bring) {
        take_bring(t, progress, gateway, now_ns);
        return 0;
    }
    for (uint32_t i = 0; i < t->running_count; i++)
        if (t->running[i].gateway != gateway)
            t->running[kept++] = t->running[i];
    most = (uint32_t)XD_MIN((size_t)kept + XD_TERM_RUNNING, XD_ARRAY_LEN(t->running));
    xd_wire_list    list = progress->running;
    xd_wire_RUNNING one;
    while (kept < most && xd_wire_RUNNING_next(&list, &one) == 1)
        t->running[kept++] =
            (xd_term_running){ .worker = one.worker,
                               .gateway = gateway,
                               .item = xd_runview_place(t->view, gateway, one.item),
                               .since_ns = now_ns - XD_MIN(now_ns, (uint64_t)one.age_ms * 1000000u) };
    t->running_count = kept;
    /* Environments collect the same: the one that is ahead is shown. */
    t->files = XD_MAX(t->files, progress->files);
    t->found = XD_MAX(t->found, progress->items);
    return 0;
}

/* Takes over the columns that the terminal has now; the report's own width follows, unless it was told. */
static void look_at_size(xd_term *t)
{
    struct winsize ws = { 0 };
    if (!t->out.tty || ioctl(xd_term_out_fd(&t->out), TIOCGWINSZ, &ws) < 0 || !ws.ws_col)
        return;
    t->live_width = ws.ws_col;
    t->live_rows = ws.ws_row;
    if (t->width_follows)
        t->out.width = xd_term_report_width(ws.ws_col);
}

/* The cursor is at the start of a line now, without a newline that the report knows of. */
static void at_new_line(xd_term *t)
{
    t->line_open = false;
    t->out.column = 0;
    xd_ci_guard_line(&t->out.guard);
}

int xd_term_live_erase(xd_term *t)
{
    if (!t->live_drawn)
        return 0;
    t->live_drawn = false;
    look_at_size(t);
    XD_TRY(xd_buf_add_str(&t->out.buf, ERASE));
    if (!t->live_below)
        return 0;
    if (t->live_column >= t->live_width) { /* it was narrowed: where the open line ends now is not known */
        at_new_line(t);
        return 0;
    }
    return xd_buf_printf(&t->out.buf, "\x1b[A\x1b[%zuG", t->live_column + 1);
}

int xd_term_live_leave(xd_term *t)
{
    if (t->live_drawn) {
        t->live_drawn = false;
        XD_TRY(xd_buf_add_str(&t->out.buf, ERASE));
    } else if (t->line_open && t->out.column > 0) {
        XD_TRY(xd_buf_add_byte(&t->out.buf, '\n'));
    }
    at_new_line(t);
    return 0;
}

int xd_term_live_age(xd_buf *to, uint64_t s)
{
    return s < 10 ? xd_buf_printf(to, "%us", (unsigned)s) : xd_term_age(to, s * 1000);
}

int xd_term_live_running(const xd_term *t, xd_buf *to, uint32_t gateway, int most)
{
    bool used[XD_ARRAY_LEN(t->running)] = { false };
    for (int shown = 0; shown < most; shown++) {
        uint32_t best = XD_NO_INDEX;
        for (uint32_t i = 0; i < t->running_count; i++) {
            const xd_term_running *r = &t->running[i];
            if (used[i] || (gateway != XD_NO_INDEX && r->gateway != gateway) ||
                r->item >= t->view->tests.count || t->view->tests.items[r->item].outcome)
                continue;
            if (best == XD_NO_INDEX || r->since_ns < t->running[best].since_ns)
                best = i;
        }
        if (best == XD_NO_INDEX)
            return 0;
        used[best] = true;
        XD_TRY(xd_buf_add_str(to, shown ? ", " : " | "));
        XD_TRY(gateway == XD_NO_INDEX
                   ? xd_term_test(t, to, t->running[best].item)
                   : xd_term_nodeid(t, to, t->view->tests.items[t->running[best].item].id));
        XD_TRY(xd_buf_add_byte(to, ' '));
        XD_TRY(
            xd_term_live_age(to, (t->now_ns - XD_MIN(t->now_ns, t->running[best].since_ns)) / 1000000000u));
    }
    return 0;
}

/* What history expects of the rest, spread over the workers that run. */
static int add_left(const xd_term *t, xd_buf *to)
{
    const xd_runview *v = t->view;
    uint32_t          up = 0;
    for (uint32_t i = 0; i < v->envs.worker_count; i++)
        up += v->envs.workers[i].up;
    if (!v->collection.expected_us || v->collection.expected_us <= t->done_us || !up)
        return 0;
    XD_TRY(xd_buf_add_str(to, " | "));
    XD_TRY(xd_term_live_age(to, (v->collection.expected_us - t->done_us) / up / 1000000u + 1));
    return xd_buf_add_str(to, " left");
}

/* "bringing files to 2 hosts: 120/6484 files, 3.2 MB, 1.1 MB/s, 3s" */
static int bringing(const xd_term *t, xd_buf *to, uint64_t s)
{
    uint64_t     files = 0, all = 0, bytes = 0;
    const double took = (double)(t->now_ns - XD_MIN(t->now_ns, t->bring_ns)) / 1e9;
    for (uint32_t i = 0; i < t->bringing; i++) {
        files += t->bring[i].brought;
        all += t->bring[i].to_bring;
        bytes += t->bring[i].bytes;
    }
    XD_TRY(xd_buf_printf(to, "bringing files to %u host%s: %llu/%llu files, %.1f MB, ", t->bringing,
                         t->bringing == 1 ? "" : "s", (unsigned long long)files, (unsigned long long)all,
                         (double)bytes / 1e6));
    if (took > 0.5)
        XD_TRY(xd_buf_printf(to, "%.1f MB/s, ", (double)bytes / 1e6 / took));
    return xd_term_live_age(to, s);
}

/* "collecting: 12 files, 340 items, 3s" */
static int collecting(const xd_term *t, xd_buf *to)
{
    uint64_t s = (t->now_ns - t->start_ns) / 1000000000u;
    if (s < COLLECTING_AFTER_S || t->env_failed || t->tests_began)
        return 0;
    if (t->bringing && !t->configured && !t->files)
        return bringing(t, to, s);
    XD_TRY(t->configured ? xd_buf_add_str(to, "collecting: ")
                         : xd_buf_printf(to, "starting %s: ", t->view->config.grammar->runner));
    if (t->files)
        XD_TRY(xd_buf_printf(to, "%u file%s, %u item%s, ", t->files, t->files == 1 ? "" : "s", t->found,
                             t->found == 1 ? "" : "s"));
    return xd_term_live_age(to, s);
}

static int running(const xd_term *t, xd_buf *to)
{
    const xd_runview *v = t->view;
    uint64_t          bad = xd_runview_counted(v, "failed") + xd_runview_counted(v, "error") +
                   xd_runview_counted(v, "crashed") + xd_runview_counted(v, "timeout") +
                   xd_runview_counted(v, "lost");
    if (!v->tests.count)
        return 0;
    if (v->collection.each && t->owns > 1)
        return xd_term_own_live(t, to);
    XD_TRY(xd_buf_printf(to, "%u/%u", v->tests.ended, v->tests.count));
    if (bad)
        XD_TRY(xd_buf_printf(to, ", %llu failed", (unsigned long long)bad));
    XD_TRY(add_left(t, to));
    return xd_term_live_running(t, to, XD_NO_INDEX, 3);
}

/* In the background of its terminal a program does not write over what others show there. */
static bool in_background(const xd_term *t)
{
    pid_t front = tcgetpgrp(xd_term_out_fd(&t->out));
    return front > 0 && front != getpgrp();
}

/* Each line of `text`, shortened to what a line of the terminal takes. */
static int shorten(const xd_term *t, xd_bytes text, xd_buf *ret, size_t *ret_lines)
{
    const size_t columns = t->live_width > 2 ? t->live_width - 1 : 1;
    *ret_lines = 0;
    while (text.len || !*ret_lines) {
        const uint8_t *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
        const size_t   n = end ? (size_t)(end - text.ptr) : text.len;
        xd_ci_guard    guard = { .systems = t->out.guard.systems };
        xd_autobuf     trimmed = XD_BUF_INIT;
        XD_TRY(xd_term_trimmed(&trimmed, "", (xd_bytes){ text.ptr, n }, columns));
        XD_TRY(*ret_lines ? xd_buf_add_byte(ret, '\n') : 0);
        XD_TRY(xd_ci_guard_add(&guard, ret, xd_buf_view(&trimmed)));
        text = (xd_bytes){ text.ptr + n + (end != NULL), text.len - n - (end != NULL) };
        ++*ret_lines;
    }
    return 0;
}

/* From the cursor on; it is left where it was. */
static int draw(xd_term *t, xd_bytes shape, size_t lines)
{
    XD_TRY(xd_buf_add_str(&t->out.buf, NO_WRAP));
    while (shape.len) {
        const uint8_t    *end = memchr(shape.ptr, '\n', shape.len);
        const size_t      n = end ? (size_t)(end - shape.ptr) : shape.len;
        xd_autofree char *line = xd_bytes_dup((xd_bytes){ shape.ptr, n });
        if (!line)
            return -ENOMEM;
        /* Before pytest's configuration nobody knows of --color=no. */
        XD_TRY(xd_term_mark(&t->out, &t->out.buf, line, t->configured ? XD_MARK_LIGHT : 0));
        XD_TRY(end ? xd_buf_add_byte(&t->out.buf, '\n') : 0);
        shape = (xd_bytes){ shape.ptr + n + (end != NULL), shape.len - n - (end != NULL) };
    }
    XD_TRY(xd_buf_add_str(&t->out.buf, WRAP "\r"));
    return lines > 1 ? xd_buf_printf(&t->out.buf, "\x1b[%zuA", lines - 1) : 0;
}

int xd_term_live_tick(xd_term *t)
{
    xd_autobuf text = XD_BUF_INIT, shape = XD_BUF_INIT;
    size_t     lines = 0;
    if (!t->start_ns)
        t->start_ns = t->now_ns;
    look_at_size(t);
    if (!t->live || t->paused || t->summary_shown || t->view->run.over)
        return 0;
    XD_TRY(t->view->collection.agreed ? running(t, &text) : collecting(t, &text));
    if (!text.len || in_background(t))
        return xd_term_live_erase(t);
    XD_TRY(shorten(t, xd_buf_view(&text), &shape, &lines));
    if (t->live_drawn && xd_bytes_eq(xd_buf_view(&shape), xd_buf_view(&t->live_text)))
        return 0;
    XD_TRY(xd_term_live_erase(t));
    xd_buf_clear(&t->live_text);
    XD_TRY(xd_buf_add_bytes(&t->live_text, xd_buf_view(&shape)));
    if (t->line_open && t->out.column >= t->live_width) { /* narrowed since: it is no line of this terminal */
        XD_TRY(xd_buf_add_byte(&t->out.buf, '\n'));
        at_new_line(t);
    }
    t->live_below = t->line_open && t->out.column > 0;
    t->live_column = t->out.column;
    /* The terminal scrolls by itself when the open line is its last. */
    if (t->live_below)
        XD_TRY(xd_buf_add_byte(&t->out.buf, '\n'));
    XD_TRY(draw(t, xd_buf_view(&shape), lines));
    t->live_drawn = true;
    return 0;
}
