/* actors/runview_tests.c - see runview_tests.h. */
#include "actors/runview_tests.h"

#include <stdlib.h>

void xd_runview_tests_release(xd_runview_tests *t)
{
    xd_runview_known_clear(&t->known_collect);
    free(t->items);
    free(t->reports);
    free(t->collect_reports);
    free(t->counts);
    free(t->count_of);
    *t = (xd_runview_tests){ 0 };
}

int xd_runview_tests_reach(xd_runview_tests *t, uint32_t count)
{
    if (count <= t->count)
        return 0;
    XD_TRY(xd_runview_room(&t->items, &t->items_cap, count, sizeof *t->items));
    for (uint32_t i = t->count; i < count; i++)
        t->items[i] = (xd_runview_item){
            .line = -1, .first_report = XD_NO_INDEX, .last_report = XD_NO_INDEX, .down = XD_NO_INDEX
        };
    t->count = count;
    return 0;
}

/* One more of the category. */
static int count_name(xd_runview_tests *t, uint32_t name)
{
    XD_TRY(xd_runview_room(&t->count_of, &t->count_of_cap, name + 1, sizeof *t->count_of));
    if (t->count_of[name]) {
        t->counts[t->count_of[name] - 1].count++;
        return 0;
    }
    XD_TRY(xd_runview_room(&t->counts, &t->counts_cap, t->count_count + 1, sizeof *t->counts));
    t->counts[t->count_count++] = (xd_runview_count){ .name = name, .count = 1 };
    t->count_of[name] = t->count_count;
    return 0;
}

/* Each environment that collects reports the same failures: those of the first one count. 1 = another has
 * reported it. */
static int known_collect_report(xd_runview_tests *t, xd_runview_texts *texts, const xd_wire_REPORT *in,
                                uint16_t gateway)
{
    const uint32_t *known = xd_runview_known_find(t->known_collect, in->nodeid);
    xd_bytes        id;
    if (known)
        return *known != gateway;
    XD_TRY(xd_runview_texts_keep(texts, in->nodeid, &id));
    return xd_runview_known_add(texts, &t->known_collect, id, gateway);
}

int xd_runview_tests_report(xd_runview_tests *t, xd_runview_texts *texts, const xd_wire_REPORT *in,
                            uint16_t gateway, uint64_t offset, bool shared)
{
    bool collect = in->item == XD_NO_INDEX;
    if (!collect && in->item >= t->count)
        return -EPROTO;
    const int other = collect && shared ? known_collect_report(t, texts, in, gateway) : 0;
    if (other)
        return other < 0 ? other : XD_RUNVIEW_IGNORED;
    XD_TRY(xd_runview_room(&t->reports, &t->reports_cap, t->report_count + 1, sizeof *t->reports));
    xd_runview_report r = { .offset = offset,
                            .item = in->item,
                            .next = XD_NO_INDEX,
                            .attempt = in->attempt,
                            .worker = in->worker,
                            .gateway = gateway,
                            .flags = (uint8_t)in->flags,
                            .subtest = in->subtest.len > 0 };
    r.when = collect ? 'C' : in->when.len ? in->when.ptr[0] : 0;
    r.outcome = in->outcome.len ? in->outcome.ptr[0] : 0;
    XD_TRY(xd_runview_texts_name(texts, in->category, &r.category));
    XD_TRY(xd_runview_texts_name(texts, in->letter, &r.letter));
    XD_TRY(xd_runview_texts_name(texts, in->word, &r.word));
    uint32_t index = t->report_count;
    if (collect) {
        XD_TRY(xd_runview_room(&t->collect_reports, &t->collect_reports_cap, t->collect_report_count + 1,
                               sizeof *t->collect_reports));
        t->collect_reports[t->collect_report_count++] = index;
        r.counted = r.category != 0;
        if (r.counted)
            XD_TRY(count_name(t, r.category));
    } else {
        xd_runview_item *i = &t->items[in->item];
        if (i->last_report == XD_NO_INDEX)
            i->first_report = index;
        else
            t->reports[i->last_report].next = index;
        i->last_report = index;
    }
    t->reports[t->report_count++] = r;
    return 0;
}

/* Leases that ended without a start are no executions. */
void xd_runview_tests_returned(xd_runview_tests *t, const xd_wire_RETURNED *in, uint32_t first, uint32_t end)
{
    xd_wire_list  ranges = in->ranges;
    xd_wire_RANGE r;
    while (xd_wire_RANGE_next(&ranges, &r) == 1)
        for (uint32_t i = r.first; i - r.first < r.count && i < end - first; i++)
            t->items[first + i].unused++;
}

/* Takes the reports of the item's attempt that came since its last RESULT, and counts them.  *ret_first: the
 * first of them. */
static int take_reports(xd_runview_tests *t, const xd_runview_item *i, bool count, uint32_t *ret_first)
{
    *ret_first = XD_NO_INDEX;
    for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = t->reports[n].next) {
        xd_runview_report *r = &t->reports[n];
        if (r->attempt != i->attempt || r->taken)
            continue;
        if (*ret_first == XD_NO_INDEX)
            *ret_first = n;
        r->taken = 1;
        r->counted = count && r->category != 0;
        if (r->counted)
            XD_TRY(count_name(t, r->category));
    }
    return 0;
}

/* The teardown of what outlived an item. */
static int close_item(xd_runview_tests *t, const xd_wire_RESULT *in, uint16_t worker, uint16_t gateway)
{
    xd_runview_item *i = &t->items[in->item];
    if (!(i->flags & XD_RES_OPEN) || i->attempt != in->attempt || i->worker != worker ||
        i->gateway != gateway)
        return XD_RUNVIEW_IGNORED;
    t->closing = true;
    t->outcome_changed = i->outcome != in->outcome;
    i->outcome = in->outcome;
    i->flags = (uint8_t)((i->flags & ~XD_RES_OPEN) | (in->flags & XD_RES_TEARDOWN_ERROR));
    i->teardown_us = in->teardown_us;
    return take_reports(t, i, true, &t->closing_report);
}

int xd_runview_tests_result(xd_runview_tests *t, xd_runview_texts *texts, const xd_wire_RESULT *in,
                            uint16_t worker, uint16_t gateway)
{
    t->closing = false;
    if (in->item >= t->count || !in->outcome || in->outcome > XD_OUT_NOT_RUN)
        return -EPROTO;
    xd_runview_item *i = &t->items[in->item];
    if (in->flags & XD_RES_CLOSES)
        return close_item(t, in, worker, gateway);
    if (i->outcome) /* the first one stands: exactly one outcome */
        return XD_RUNVIEW_IGNORED;
    i->outcome = in->outcome;
    i->flags = in->flags;
    i->attempt = in->attempt;
    i->setup_us = in->setup_us;
    i->call_us = in->call_us;
    i->teardown_us = in->teardown_us;
    i->start_us = in->start_us;
    i->worker = worker;
    i->gateway = gateway;
    i->ended = ++t->ended;
    if (in->outcome == XD_OUT_NOT_RUN)
        t->not_run++;
    uint32_t first, name;
    XD_TRY(take_reports(t, i, in->flags & XD_RES_REPORTS, &first));
    if (!(in->flags & XD_RES_REPORTS)) {
        i->own = in->outcome;
        XD_TRY(xd_runview_texts_name(texts, xd_bytes_str(xd_runview_outcome_name(in->outcome)), &name));
        return count_name(t, name);
    }
    return 0;
}

uint64_t xd_runview_tests_counted(const xd_runview_tests *t, const xd_runview_texts *texts,
                                  const char *category)
{
    uint32_t name;
    if (!xd_runview_texts_find(texts, xd_bytes_str(category), &name) || name >= t->count_of_cap)
        return 0;
    return t->count_of[name] ? t->counts[t->count_of[name] - 1].count : 0;
}

const char *xd_runview_outcome_name(uint8_t outcome)
{
    static const char *const names[] = { "unknown", "passed",  "failed",  "skipped", "xfailed", "xpassed",
                                         "error",   "crashed", "timeout", "lost",    "not-run" };
    return outcome < XD_ARRAY_LEN(names) ? names[outcome] : "unknown";
}
