/* actors/report_term_own.c - the terminal report of a run in which every environment has tests of its own (--dist each): each has lines
 * of letters of its own, which are written when they are full, and when all of its tests have ended; and a live line. */
#include "actors/report_term_state.h"

#include <stdlib.h>
#include <string.h>

#include "actors/columns.h"
#include "actors/env_labels.h"
#include "actors/report_matrix.h"
#include "engine/base/text.h"
#include "engine/outcome.h"

#define LABEL_MOST 24u   /* columns of a name in front of letters */
#define LIVE_MOST 16u    /* live lines */
#define LIVE_UNKNOWN 48u /* lines of a terminal that does not say how many it has */

int xd_term_own_begin(xd_term *t)
{
    const xd_runview *v = t->view;
    if (t->own)
        return 0;
    t->own = calloc(v->envs.count + 1, sizeof(*t->own));
    if (!t->own)
        return -ENOMEM;
    t->owns = v->envs.count;
    XD_TRY(xd_report_labels(v, &t->labels));
    for (uint32_t i = 0; i < t->owns; i++)
        t->label_columns = XD_MAX(t->label_columns, xd_columns(xd_bytes_str(t->labels[i])));
    t->label_columns = XD_MIN(t->label_columns, (size_t)LABEL_MOST);
    return 0;
}

void xd_term_own_release(xd_term *t)
{
    for (uint32_t i = 0; t->own && i < t->owns; i++)
        xd_buf_release(&t->own[i].letters);
    free(t->own);
    xd_env_labels_free(t->labels, t->owns);
    t->own = NULL;
    t->labels = NULL;
    t->owns = 0;
}

const char *xd_term_own_label(const xd_term *t, uint32_t gateway)
{
    return t->labels && gateway < t->owns ? t->labels[gateway] : NULL;
}

/* Of the environment of a test; NULL = a journal that is damaged. */
static xd_term_own *own_of(xd_term *t, uint32_t item)
{
    const uint32_t g = t->view->tests.items[item].collection;
    return g < t->owns ? &t->own[g] : NULL;
}

/* The name, in as many columns as all take: of one that is longer its end. */
static int put_label(xd_term *t, uint32_t gateway)
{
    xd_autobuf clean = XD_BUF_INIT;
    XD_TRY(xd_text_harmless(&clean, xd_bytes_str(t->labels[gateway]), false));
    xd_bytes label = xd_buf_view(&clean);
    if (xd_columns(label) > LABEL_MOST) {
        while (xd_columns(label) > LABEL_MOST - 3 || (label.len && (*label.ptr & 0xc0) == 0x80))
            label = (xd_bytes){ label.ptr + 1, label.len - 1 };
        XD_TRY(xd_term_out_str(&t->out, "...", 0));
    }
    XD_TRY(xd_term_out_write(&t->out, label, 0));
    const size_t gap = t->label_columns + 2 - XD_MIN(t->out.column, t->label_columns + 1);
    return xd_term_out_printf(&t->out, 0, "%*s", (int)gap, "");
}

/* The colour of a percentage: others' failures are none of its own. */
static unsigned mark_of(const xd_term *t, const xd_term_own *o)
{
    const unsigned all = xd_term_main_mark(t);
    return o->bad ? XD_MARK_RED : all == XD_MARK_RED ? XD_MARK_GREEN : all;
}

/* Its line, with how much of its tests has begun: at the end of the line behind the letters, at last at the right border. */
static int put_line(xd_term *t, uint32_t gateway, bool last)
{
    xd_term_own *o = &t->own[gateway];
    xd_autobuf   text = XD_BUF_INIT, fill = XD_BUF_INIT;
    XD_TRY(xd_term_live_erase(t));
    XD_TRY(xd_term_newline(t));
    XD_TRY(put_label(t, gateway));
    for (size_t at = 0; at + 2 <= o->letters.len; at += 2u + o->letters.data[at + 1])
        XD_TRY(xd_term_out_write(&t->out, (xd_bytes){ o->letters.data + at + 2, o->letters.data[at + 1] },
                                 o->letters.data[at]));
    xd_buf_clear(&o->letters);
    o->columns = 0;
    XD_TRY(xd_term_progress_text(t, &text, XD_NO_INDEX, o->started, t->view->envs.envs[gateway].tests));
    const size_t used = t->out.column + text.len + 1;
    if (last && used < t->out.width)
        XD_TRY(xd_buf_fill(&fill, ' ', t->out.width - used));
    XD_TRY(xd_buf_add_bytes(&fill, xd_buf_view(&text)));
    XD_TRY(text.len ? xd_term_out_write(&t->out, xd_buf_view(&fill), mark_of(t, o)) : 0);
    return xd_term_out_str(&t->out, "\n", 0);
}

int xd_term_own_letter(xd_term *t, uint32_t item, xd_bytes letter, unsigned mark)
{
    xd_term_own *o = own_of(t, item);
    xd_autobuf   clean = XD_BUF_INIT;
    if (!o)
        return 0;
    XD_TRY(xd_text_harmless(&clean, letter, false));
    const size_t  n = xd_columns_front(xd_buf_view(&clean), 60); /* a word, where a plugin gives one */
    const uint8_t head[2] = { (uint8_t)mark, (uint8_t)XD_MIN(n, (size_t)UINT8_MAX) };
    XD_TRY(xd_buf_add(&o->letters, head, sizeof(head)));
    XD_TRY(xd_buf_add(&o->letters, clean.data, head[1]));
    o->columns += xd_columns((xd_bytes){ clean.data, head[1] });
    const size_t more = t->progress == XD_TERM_PROGRESS_NONE ? 0 : xd_term_progress_columns(t);
    return t->label_columns + 2 + o->columns + more + 1 >= t->out.width
               ? put_line(t, t->view->tests.items[item].collection, false)
               : 0;
}

/* All of its tests have ended, and what outlived them: its last line. */
static int put_if_over(xd_term *t, uint32_t gateway)
{
    const xd_term_own *o = &t->own[gateway];
    return o->letters.len && !o->open && o->ended == t->view->envs.envs[gateway].tests
               ? put_line(t, gateway, true)
               : 0;
}

int xd_term_own_ended(xd_term *t, uint32_t item)
{
    const xd_runview_item *i = &t->view->tests.items[item];
    xd_term_own           *o = own_of(t, item);
    if (!o)
        return 0;
    o->ended++;
    o->open += (i->flags & XD_RES_OPEN) != 0;
    o->bad += xd_outcome_fails(i->outcome);
    o->done_us += (uint64_t)i->setup_us + i->call_us + i->teardown_us;
    return put_if_over(t, i->collection);
}

int xd_term_own_closed(xd_term *t, uint32_t item)
{
    const xd_runview_item *i = &t->view->tests.items[item];
    xd_term_own           *o = own_of(t, item);
    if (!o)
        return 0;
    o->open -= o->open > 0;
    o->bad += t->view->tests.outcome_changed && xd_outcome_fails(i->outcome);
    return put_if_over(t, i->collection);
}

int xd_term_own_flush(xd_term *t)
{
    for (uint32_t i = 0; i < t->owns; i++)
        XD_TRY(t->own[i].letters.len ? put_line(t, i, true) : 0);
    return 0;
}

/* ---- live ------------------------------------------------------------------------------------------------------- */

/* What history expects of the rest, spread over its workers that run. */
static int add_left(const xd_term *t, uint32_t gateway, xd_buf *to)
{
    const xd_runview *v = t->view;
    const uint64_t    expected = v->envs.envs[gateway].expected_us, done = t->own[gateway].done_us;
    uint32_t          up = 0;
    for (uint32_t i = 0; i < v->envs.worker_count; i++)
        up += v->envs.workers[i].gateway == gateway && v->envs.workers[i].up;
    if (expected <= done || !up)
        return 0;
    XD_TRY(xd_buf_add_str(to, " | "));
    XD_TRY(xd_term_live_age(to, (expected - done) / up / 1000000u + 1));
    return xd_buf_add_str(to, " left");
}

/* "python3.12  40/340, 2 failed | 5s left | test_a.py::test_b 3s" */
static int live_line(const xd_term *t, uint32_t gateway, xd_buf *to)
{
    const xd_term_own *o = &t->own[gateway];
    XD_TRY(to->len ? xd_buf_add_byte(to, '\n') : 0);
    XD_TRY(xd_buf_add_str(to, t->labels[gateway]));
    XD_TRY(xd_buf_printf(to, "  %u/%u", o->ended, t->view->envs.envs[gateway].tests));
    if (o->bad)
        XD_TRY(xd_buf_printf(to, ", %u failed", o->bad));
    XD_TRY(add_left(t, gateway, to));
    return xd_term_live_running(t, to, gateway, 1);
}

int xd_term_own_live(const xd_term *t, xd_buf *to)
{
    const xd_runview *v = t->view;
    const uint32_t    rows = t->live_rows ? t->live_rows : LIVE_UNKNOWN;
    const uint32_t    most = XD_MAX(XD_MIN(rows / 3, LIVE_MOST), 1u);
    uint32_t          all = 0, shown = 0;
    for (uint32_t i = 0; i < t->owns; i++)
        all += v->envs.envs[i].agreed;
    for (uint32_t i = 0; i < t->owns; i++) {
        if (!v->envs.envs[i].agreed)
            continue;
        if (all > most && t->own[i].ended == v->envs.envs[i].tests)
            continue; /* those that are over make room */
        if (shown == most)
            return xd_buf_add_str(to, ", and more"); /* behind the last one */
        shown++;
        XD_TRY(live_line(t, i, to));
    }
    return 0;
}
