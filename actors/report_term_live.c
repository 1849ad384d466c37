/* actors/report_term_live.c - the live last line on a terminal: done/total, failures, longest running tests,
 * time left.
 * It stands below the line of letters; it is erased before anything else is written and drawn again at the
 * next tick. */
#include "actors/report_term.h"

#include <string.h>

#include "engine/base/text.h"

int xd_term_live_progress(xd_term *t, const xd_wire_PROGRESS *progress, uint16_t gateway, uint64_t now_ns)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->running_count; i++)
        if (t->running[i].gateway != gateway)
            t->running[kept++] = t->running[i];
    xd_wire_list    list = progress->running;
    xd_wire_RUNNING one;
    while (kept < XD_ARRAY_LEN(t->running) && xd_wire_RUNNING_next(&list, &one) == 1)
        t->running[kept++] =
            (xd_term_running){ .worker = one.worker,
                               .gateway = gateway,
                               .item = one.item,
                               .since_ns = now_ns - XD_MIN(now_ns, (uint64_t)one.age_ms * 1000000u) };
    t->running_count = kept;
    return 0;
}

int xd_term_live_erase(xd_term *t)
{
    if (!t->live_drawn)
        return 0;
    t->live_drawn = false;
    XD_TRY(xd_buf_add_str(&t->out.buf, "\r\x1b[K"));
    if (!t->live_below)
        return 0;
    return xd_buf_printf(&t->out.buf, "\x1b[A\x1b[%zuG", t->live_column + 1);
}

static int add_age(xd_buf *to, uint64_t s)
{
    if (s < 60)
        return xd_buf_printf(to, "%llus", (unsigned long long)s);
    if (s < 3600)
        return xd_buf_printf(to, "%llum%02llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    return xd_buf_printf(to, "%lluh%02llum", (unsigned long long)(s / 3600),
                         (unsigned long long)(s / 60 % 60));
}

static int add_running(const xd_term *t, xd_buf *to)
{
    bool used[XD_ARRAY_LEN(t->running)] = { false };
    for (int shown = 0; shown < 3; shown++) {
        uint32_t best = XD_RUNVIEW_NONE;
        for (uint32_t i = 0; i < t->running_count; i++) {
            const xd_term_running *r = &t->running[i];
            if (used[i] || r->item >= t->view->count || t->view->items[r->item].outcome)
                continue;
            if (best == XD_RUNVIEW_NONE || r->since_ns < t->running[best].since_ns)
                best = i;
        }
        if (best == XD_RUNVIEW_NONE)
            return 0;
        used[best] = true;
        XD_TRY(xd_buf_add_str(to, shown ? ", " : " | "));
        XD_TRY(xd_term_nodeid(t, to, t->view->items[t->running[best].item].id));
        XD_TRY(xd_buf_add_byte(to, ' '));
        XD_TRY(add_age(to, (t->now_ns - XD_MIN(t->now_ns, t->running[best].since_ns)) / 1000000000u));
    }
    return 0;
}

/* What history expects of the rest, spread over the workers that run. */
static int add_left(const xd_term *t, xd_buf *to)
{
    const xd_runview *v = t->view;
    uint32_t          up = 0;
    for (uint32_t i = 0; i < v->worker_count; i++)
        up += v->workers[i].up;
    if (!v->expected_us || v->expected_us <= t->done_us || !up)
        return 0;
    XD_TRY(xd_buf_add_str(to, " | "));
    XD_TRY(add_age(to, (v->expected_us - t->done_us) / up / 1000000u + 1));
    return xd_buf_add_str(to, " left");
}

int xd_term_live_draw(xd_term *t)
{
    const xd_runview *v = t->view;
    if (!v->count || !v->collection_agreed)
        return 0;
    xd_autobuf line = XD_BUF_INIT, shape = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&line, "%u/%u", v->ended, v->count));
    uint64_t bad = xd_runview_counted(v, "failed") + xd_runview_counted(v, "error") +
                   xd_runview_counted(v, "crashed") + xd_runview_counted(v, "timeout") +
                   xd_runview_counted(v, "lost");
    if (bad)
        XD_TRY(xd_buf_printf(&line, ", %llu failed", (unsigned long long)bad));
    XD_TRY(add_left(t, &line));
    XD_TRY(add_running(t, &line));
    size_t columns = t->out.width > 2 ? t->out.width - 1 : 1;
    XD_TRY(xd_term_trimmed(&shape, "", xd_buf_view(&line), columns));
    XD_TRY(xd_term_live_erase(t));
    t->live_below = t->line_open && t->out.column > 0;
    t->live_column = t->out.column;
    /* The terminal scrolls by itself when the open line is its last. */
    if (t->live_below)
        XD_TRY(xd_buf_add_byte(&t->out.buf, '\n'));
    XD_TRY(xd_term_mark(&t->out, &t->out.buf, xd_buf_cstr(&shape), XD_MARK_LIGHT));
    t->live_drawn = true;
    return 0;
}
