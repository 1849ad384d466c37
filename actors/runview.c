#include "actors/runview.h"

#include "engine/base/hash.h"
#include "engine/base/text.h"
#include "engine/nodeid.h"

#include <string.h>

struct xd_runview_gateway {
    uint8_t  collected, down; /* it told of a list; it is gone */
    xd_bytes spec, host, python, python_version, system;
    bool     known;
};

/* ---- arrays -------------------------------------------------------------------------------------------- */

/* Room for `need` entries; new ones are zeroed.  Grows by half, so that a large view wastes little. */
static int room(void *array, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    uint32_t grown = *cap + *cap / 2;
    grown = XD_MAX(grown, XD_MAX(need, 16u));
    void *p = realloc(*(void **)array, (size_t)grown * size);
    if (!p)
        return -ENOMEM;
    memset((char *)p + (size_t)*cap * size, 0, (size_t)(grown - *cap) * size);
    *(void **)array = p;
    *cap = grown;
    return 0;
}

static int keep(xd_runview *v, xd_bytes in, xd_bytes *ret)
{
    if (!in.len) {
        *ret = (xd_bytes){ (const uint8_t *)"", 0 };
        return 0;
    }
    return xd_arena_bytes(&v->arena, in, ret);
}

/* A text and what it stands for; the text and this lie in the arena. */
struct xd_runview_known {
    uint32_t       value;
    UT_hash_handle hh;
};

static const struct xd_runview_known *find(const struct xd_runview_known *table, xd_bytes text)
{
    struct xd_runview_known *k = NULL;
    HASH_FIND(hh, table, text.ptr, text.len, k);
    return k;
}

static int remember(xd_runview *v, struct xd_runview_known **table, xd_bytes text, uint32_t value)
{
    struct xd_runview_known *k = xd_arena_alloc(&v->arena, sizeof *k, _Alignof(struct xd_runview_known));
    if (!k)
        return -ENOMEM;
    *k = (struct xd_runview_known){ .value = value };
    HASH_ADD_KEYPTR(hh, *table, text.ptr, text.len, k);
    return k->hh.tbl ? 0 : -ENOMEM;
}

/* Categories, letters, words: a handful per run, unless a plugin makes them up for each test. */
static int intern(xd_runview *v, xd_bytes text, uint32_t *ret)
{
    const struct xd_runview_known *known = find(v->known_names, text);
    if (known) {
        *ret = known->value;
        return 0;
    }
    XD_TRY(room(&v->names, &v->names_cap, v->name_count + 1, sizeof *v->names));
    XD_TRY(room(&v->count_of, &v->count_of_cap, v->name_count + 1, sizeof *v->count_of));
    XD_TRY(keep(v, text, &v->names[v->name_count]));
    XD_TRY(remember(v, &v->known_names, v->names[v->name_count], v->name_count));
    *ret = v->name_count++;
    return 0;
}

int xd_runview_init(xd_runview *ret, xd_runview_source source)
{
    *ret =
        (xd_runview){ .source = source, .home = XD_NO_INDEX, .ids_gateway = XD_NO_INDEX, .exit_status = -1 };
    uint32_t empty;
    return intern(ret, (xd_bytes){ (const uint8_t *)"", 0 }, &empty);
}

void xd_runview_release(xd_runview *v)
{
    HASH_CLEAR(hh, v->known_names);
    HASH_CLEAR(hh, v->known_collect);
    xd_arena_release(&v->arena);
    free(v->items);
    free(v->reports);
    free(v->counts);
    free(v->names);
    free(v->count_of);
    free(v->warnings);
    free(v->properties);
    free(v->summaries);
    free(v->downs);
    free(v->workers);
    free(v->collect_reports);
    free(v->options);
    free(v->header);
    free(v->gateways);
    *v = (xd_runview){ 0 };
}

static int count_name(xd_runview *v, uint32_t name)
{
    if (v->count_of[name]) {
        v->counts[v->count_of[name] - 1].count++;
        return 0;
    }
    XD_TRY(room(&v->counts, &v->counts_cap, v->count_count + 1, sizeof *v->counts));
    v->counts[v->count_count++] = (xd_runview_count){ .name = name, .count = 1 };
    v->count_of[name] = v->count_count;
    return 0;
}

static int gateway_of(xd_runview *v, uint32_t gateway, struct xd_runview_gateway **ret)
{
    XD_TRY(room(&v->gateways, &v->gateways_cap, gateway + 1, sizeof *v->gateways));
    v->gateway_count = XD_MAX(v->gateway_count, gateway + 1);
    *ret = &v->gateways[gateway];
    return 0;
}

/* Items up to `count` exist. */
static int items_to(xd_runview *v, uint32_t count)
{
    if (count <= v->count)
        return 0;
    XD_TRY(room(&v->items, &v->items_cap, count, sizeof *v->items));
    for (uint32_t i = v->count; i < count; i++)
        v->items[i] = (xd_runview_item){
            .line = -1, .first_report = XD_NO_INDEX, .last_report = XD_NO_INDEX, .down = XD_NO_INDEX
        };
    v->count = count;
    return 0;
}

/* ---- before the tests ---------------------------------------------------------------------------------- */

static int on_run_start(xd_runview *v, const xd_frame *frame)
{
    xd_wire_RUN_START in;
    XD_TRY(xd_wire_RUN_START_decode(frame->body, frame->len, &in));
    XD_TRY(keep(v, in.run_id, &v->run_id));
    XD_TRY(keep(v, in.version, &v->xd_version));
    XD_TRY(keep(v, in.cwd, &v->cwd));
    v->wall_us = in.wall_us;
    return 0;
}

static int on_gateway_up(xd_runview *v, const xd_frame *frame)
{
    xd_wire_GATEWAY_UP         in;
    struct xd_runview_gateway *g;
    XD_TRY(xd_wire_GATEWAY_UP_decode(frame->body, frame->len, &in));
    XD_TRY(gateway_of(v, in.gateway, &g));
    XD_TRY(keep(v, in.spec, &g->spec));
    XD_TRY(keep(v, in.host, &g->host));
    if (!v->hostname.len)
        v->hostname = g->host;
    return keep(v, in.system, &g->system);
}

static int keep_options(xd_runview *v, const xd_wire_CONFIG *in)
{
    xd_wire_list list = in->options;
    xd_wire_PAIR pair;
    while (xd_wire_PAIR_next(&list, &pair) == 1) {
        XD_TRY(room(&v->options, &v->options_cap, v->option_count + 1, sizeof *v->options));
        XD_TRY(keep(v, pair.name, &v->options[v->option_count].name));
        XD_TRY(keep(v, pair.value, &v->options[v->option_count].value));
        v->option_count++;
    }
    list = in->header;
    xd_wire_TEXT line;
    while (xd_wire_TEXT_next(&list, &line) == 1) {
        XD_TRY(room(&v->header, &v->header_cap, v->header_count + 1, sizeof *v->header));
        XD_TRY(keep(v, line.text, &v->header[v->header_count]));
        v->header_count++;
    }
    return 0;
}

static int on_config(xd_runview *v, const xd_frame *frame)
{
    xd_wire_CONFIG             in;
    struct xd_runview_gateway *g;
    XD_TRY(xd_wire_CONFIG_decode(frame->body, frame->len, &in));
    XD_TRY(gateway_of(v, frame->flags, &g));
    XD_TRY(keep(v, in.python, &g->python));
    XD_TRY(keep(v, in.python_version, &g->python_version));
    if (v->home != XD_NO_INDEX)
        return XD_RUNVIEW_IGNORED;
    v->home = frame->flags;
    v->python = g->python;
    v->python_version = g->python_version;
    XD_TRY(keep(v, in.pytest_version, &v->pytest_version));
    XD_TRY(keep(v, in.rootdir, &v->rootdir));
    XD_TRY(keep(v, in.invocation_dir, &v->invocation_dir));
    return keep_options(v, &in);
}

/* The list that counts is that of the first gateway which sent one; others' (their digest differed) are for
 * the collector. */
static int on_ids(xd_runview *v, const xd_frame *frame)
{
    xd_wire_COLLECT_IDS in;
    XD_TRY(xd_wire_COLLECT_IDS_decode(frame->body, frame->len, &in));
    if (v->ids_gateway == XD_NO_INDEX)
        v->ids_gateway = frame->flags;
    if (v->ids_gateway != frame->flags || v->collection_agreed)
        return XD_RUNVIEW_IGNORED;
    uint32_t       at = in.first;
    xd_wire_list   list = in.ids;
    xd_wire_NODEID one;
    xd_autobuf     scratch = XD_BUF_INIT;
    xd_bytes       id, previous = { 0 };
    if (in.first > v->count) /* parts come in order; a hole is damage */
        return -EPROTO;
    while (xd_wire_NODEID_next(&list, &one) == 1) {
        XD_TRY(items_to(v, at + 1));
        xd_runview_item *i = &v->items[at];
        XD_TRY(xd_nodeid_join(&scratch, previous, &one, &id));
        XD_TRY(keep(v, id, &i->id));
        previous = i->id;
        i->line = one.line;
        /* Most files are the one before: kept once. */
        if (one.file.len && at && xd_bytes_eq(v->items[at - 1].file, one.file))
            i->file = v->items[at - 1].file;
        else
            XD_TRY(keep(v, one.file, &i->file));
        at++;
    }
    return 0;
}

static int on_collected(xd_runview *v, const xd_frame *frame)
{
    xd_wire_COLLECTED in;
    XD_TRY(xd_wire_COLLECTED_decode(frame->body, frame->len, &in));
    struct xd_runview_gateway *g;
    XD_TRY(gateway_of(v, frame->flags, &g));
    g->collected = in.exit_status == -1;
    if (v->ids_gateway == XD_NO_INDEX && in.exit_status == -1 && in.count) {
        v->ids_gateway = frame->flags; /* the first to have collected: its list is the run's */
        v->list_count = in.count;
    }
    if (v->home != XD_NO_INDEX && v->home != frame->flags)
        return XD_RUNVIEW_IGNORED;
    if (!v->collection_agreed) {
        v->collected = in.count;
        v->deselected = in.deselected;
    }
    return in.exit_status != -1 ? keep(v, in.stop_reason, &v->reason) : 0;
}

/* The list that was to come of it comes of another: the first that has told of one (xd_scheduler_without), or tells. */
static int on_gateway_down(xd_runview *v, const xd_frame *frame)
{
    xd_wire_GATEWAY_DOWN       in;
    struct xd_runview_gateway *g;
    XD_TRY(xd_wire_GATEWAY_DOWN_decode(frame->body, frame->len, &in));
    XD_TRY(gateway_of(v, in.gateway, &g));
    g->down = 1;
    if (v->collection_agreed || v->ids_gateway != in.gateway || v->count == v->list_count)
        return 0;
    v->count = 0;
    v->ids_gateway = XD_NO_INDEX;
    for (uint32_t i = v->gateway_count; i-- > 0;)
        if (v->gateways[i].collected && !v->gateways[i].down)
            v->ids_gateway = i;
    return 0;
}

static int on_collection(xd_runview *v, const xd_frame *frame)
{
    xd_wire_COLLECTION in;
    XD_TRY(xd_wire_COLLECTION_decode(frame->body, frame->len, &in));
    if (v->collection_agreed)
        return XD_RUNVIEW_IGNORED;
    if (in.count != v->count) /* their names went before: a number alone is worth nothing */
        return -EPROTO;
    v->collection_agreed = true;
    v->collected = in.count;
    v->deselected = in.deselected;
    v->workers_at_start = in.workers;
    v->expected_us = in.expected_us;
    return 0;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

/* Each environment that collects reports the same failures: those of the first one count. 1 = another has
 * reported it. */
static int known_collect_report(xd_runview *v, const xd_wire_REPORT *in, uint16_t gateway)
{
    const struct xd_runview_known *known = find(v->known_collect, in->nodeid);
    xd_bytes                       id;
    if (known)
        return known->value != gateway;
    XD_TRY(keep(v, in->nodeid, &id));
    return remember(v, &v->known_collect, id, gateway);
}

static int on_report(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_REPORT in;
    XD_TRY(xd_wire_REPORT_decode(frame->body, frame->len, &in));
    bool collect = in.item == XD_NO_INDEX;
    if (!collect && in.item >= v->count)
        return -EPROTO;
    const int other = collect ? known_collect_report(v, &in, frame->flags) : 0;
    if (other)
        return other < 0 ? other : XD_RUNVIEW_IGNORED;
    XD_TRY(room(&v->reports, &v->reports_cap, v->report_count + 1, sizeof *v->reports));
    xd_runview_report r = { .offset = offset,
                            .item = in.item,
                            .next = XD_NO_INDEX,
                            .attempt = in.attempt,
                            .worker = in.worker,
                            .gateway = frame->flags,
                            .flags = (uint8_t)in.flags,
                            .subtest = in.subtest.len > 0 };
    r.when = collect ? 'C' : in.when.len ? in.when.ptr[0] : 0;
    r.outcome = in.outcome.len ? in.outcome.ptr[0] : 0;
    XD_TRY(intern(v, in.category, &r.category));
    XD_TRY(intern(v, in.letter, &r.letter));
    XD_TRY(intern(v, in.word, &r.word));
    uint32_t index = v->report_count;
    if (collect) {
        XD_TRY(room(&v->collect_reports, &v->collect_reports_cap, v->collect_report_count + 1,
                    sizeof *v->collect_reports));
        v->collect_reports[v->collect_report_count++] = index;
        r.counted = r.category != 0;
        if (r.counted)
            XD_TRY(count_name(v, r.category));
    } else {
        xd_runview_item *i = &v->items[in.item];
        if (i->last_report == XD_NO_INDEX)
            i->first_report = index;
        else
            v->reports[i->last_report].next = index;
        i->last_report = index;
    }
    v->reports[v->report_count++] = r;
    return 0;
}

/* Leases that ended without a start are no executions. */
static int on_returned(xd_runview *v, const xd_frame *frame)
{
    xd_wire_RETURNED in;
    xd_wire_RANGE    r;
    XD_TRY(xd_wire_RETURNED_decode(frame->body, frame->len, &in));
    while (xd_wire_RANGE_next(&in.ranges, &r) == 1)
        for (uint32_t i = r.first; i - r.first < r.count && i < v->count; i++)
            v->items[i].unused++;
    return 0;
}

/* Takes the reports of the item's attempt that came since its last RESULT, and counts them.  *ret_first: the
 * first of them. */
static int take_reports(xd_runview *v, const xd_runview_item *i, bool count, uint32_t *ret_first)
{
    *ret_first = XD_NO_INDEX;
    for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = v->reports[n].next) {
        xd_runview_report *r = &v->reports[n];
        if (r->attempt != i->attempt || r->taken)
            continue;
        if (*ret_first == XD_NO_INDEX)
            *ret_first = n;
        r->taken = 1;
        r->counted = count && r->category != 0;
        if (r->counted)
            XD_TRY(count_name(v, r->category));
    }
    return 0;
}

/* The teardown of what outlived an item. */
static int close_item(xd_runview *v, const xd_wire_RESULT *in, uint16_t worker, uint16_t gateway)
{
    xd_runview_item *i = &v->items[in->item];
    if (!(i->flags & XD_RES_OPEN) || i->attempt != in->attempt || i->worker != worker ||
        i->gateway != gateway)
        return XD_RUNVIEW_IGNORED;
    v->closing = true;
    v->outcome_changed = i->outcome != in->outcome;
    i->outcome = in->outcome;
    i->flags = (uint8_t)((i->flags & ~XD_RES_OPEN) | (in->flags & XD_RES_TEARDOWN_ERROR));
    i->teardown_us = in->teardown_us;
    return take_reports(v, i, true, &v->closing_report);
}

static int take_result(xd_runview *v, const xd_wire_RESULT *in, uint16_t worker, uint16_t gateway)
{
    v->closing = false;
    if (in->item >= v->count || !in->outcome || in->outcome > XD_OUT_NOT_RUN)
        return -EPROTO;
    xd_runview_item *i = &v->items[in->item];
    if (in->flags & XD_RES_CLOSES)
        return close_item(v, in, worker, gateway);
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
    i->ended = ++v->ended;
    if (in->outcome == XD_OUT_NOT_RUN)
        v->not_run++;
    uint32_t first, name;
    XD_TRY(take_reports(v, i, in->flags & XD_RES_REPORTS, &first));
    if (!(in->flags & XD_RES_REPORTS)) {
        i->own = in->outcome;
        XD_TRY(intern(v, xd_bytes_str(xd_runview_outcome_name(in->outcome)), &name));
        return count_name(v, name);
    }
    return 0;
}

static int on_results(xd_runview *v, const xd_frame *frame, xd_runview_ended_fn ended, void *arg)
{
    xd_wire_RESULTS in;
    XD_TRY(xd_wire_RESULTS_decode(frame->body, frame->len, &in));
    xd_wire_list   list = in.results;
    xd_wire_RESULT one;
    while (xd_wire_RESULT_next(&list, &one) == 1) {
        int r = take_result(v, &one, in.worker, frame->flags);
        if (r == -EPROTO) {
            v->damaged++;
            continue;
        }
        XD_TRY(r);
        if (r == 0 && ended)
            XD_TRY(ended(arg, one.item));
    }
    return 0;
}

/* ---- workers, warnings, end ---------------------------------------------------------------------------- */

static int worker_of(xd_runview *v, uint16_t worker, xd_runview_worker **ret)
{
    XD_TRY(room(&v->workers, &v->workers_cap, worker + 1u, sizeof *v->workers));
    v->worker_count = XD_MAX(v->worker_count, worker + 1u);
    *ret = &v->workers[worker];
    return 0;
}

static int on_up(xd_runview *v, const xd_frame *frame)
{
    xd_wire_WORKER_UP          in;
    xd_runview_worker         *w;
    struct xd_runview_gateway *g;
    XD_TRY(xd_wire_WORKER_UP_decode(frame->body, frame->len, &in));
    XD_TRY(worker_of(v, in.worker, &w));
    XD_TRY(gateway_of(v, frame->flags, &g));
    *w = (xd_runview_worker){ .python_version = g->python_version,
                              .python = g->python,
                              .spec = g->spec,
                              .gateway = frame->flags,
                              .replaces = in.replaces,
                              .up = 1,
                              .known = 1 };
    return 0;
}

static int add_ref(xd_runview_ref **refs, uint32_t *count, uint32_t *cap, xd_runview_ref ref)
{
    XD_TRY(room(refs, cap, *count + 1, sizeof **refs));
    (*refs)[(*count)++] = ref;
    return 0;
}

static int on_down(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_WORKER_DOWN in;
    xd_runview_worker  *w;
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame->body, frame->len, &in));
    XD_TRY(worker_of(v, in.worker, &w));
    w->up = 0;
    w->running = in.expected && !in.stopped && in.item < v->count ? in.item + 1 : 0;
    w->age_ms = in.age_ms;
    if (in.item != XD_NO_INDEX && in.item < v->count)
        v->items[in.item].down = v->down_count;
    return add_ref(
        &v->downs, &v->down_count, &v->downs_cap,
        (xd_runview_ref){ .offset = offset, .item = in.item, .worker = in.worker, .gateway = frame->flags });
}

static int on_still_running(xd_runview *v, const xd_frame *frame)
{
    xd_wire_STILL_RUNNING in;
    xd_runview_worker    *w;
    XD_TRY(xd_wire_STILL_RUNNING_decode(frame->body, frame->len, &in));
    if (in.item >= v->count)
        return -EPROTO;
    if (v->items[in.item].outcome) /* its result overtook what was seen before */
        return XD_RUNVIEW_IGNORED;
    XD_TRY(worker_of(v, in.worker, &w));
    w->running = in.item + 1;
    w->age_ms = in.age_ms;
    return 0;
}

static int on_warning(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_WARNING in;
    XD_TRY(xd_wire_WARNING_decode(frame->body, frame->len, &in));
    /* What configuration and collection warn of, every environment says again. */
    if (!xd_bytes_eq_str(in.when, "runtest") && v->home != XD_NO_INDEX && v->home != frame->flags)
        return XD_RUNVIEW_IGNORED;
    return add_ref(
        &v->warnings, &v->warning_count, &v->warnings_cap,
        (xd_runview_ref){ .offset = offset, .item = in.item, .worker = in.worker, .gateway = frame->flags });
}

static int on_property(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_SUITE_PROPERTY in;
    XD_TRY(xd_wire_SUITE_PROPERTY_decode(frame->body, frame->len, &in));
    return add_ref(&v->properties, &v->property_count, &v->properties_cap,
                   (xd_runview_ref){
                       .offset = offset, .item = XD_NO_INDEX, .worker = in.worker, .gateway = frame->flags });
}

static int on_summary(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_SUMMARY in;
    XD_TRY(xd_wire_SUMMARY_decode(frame->body, frame->len, &in));
    return add_ref(&v->summaries, &v->summary_count, &v->summaries_cap,
                   (xd_runview_ref){
                       .offset = offset, .item = XD_NO_INDEX, .worker = in.worker, .gateway = frame->flags });
}

static int on_run_end(xd_runview *v, const xd_frame *frame)
{
    xd_wire_RUN_END in;
    XD_TRY(xd_wire_RUN_END_decode(frame->body, frame->len, &in));
    if (v->over)
        return XD_RUNVIEW_IGNORED;
    v->over = true;
    v->exit_status = in.exit_status;
    v->end_wall_us = in.wall_us;
    v->duration_us = in.duration_us;
    return in.reason.len ? keep(v, in.reason, &v->reason) : 0;
}

static int dispatch(xd_runview *v, uint64_t offset, const xd_frame *frame, xd_runview_ended_fn ended,
                    void *arg)
{
    switch (frame->type) {
    case XD_MSG_RESULTS:
        return on_results(v, frame, ended, arg);
    case XD_MSG_REPORT:
        return on_report(v, frame, offset);
    case XD_MSG_RUN_START:
        return on_run_start(v, frame);
    case XD_MSG_GATEWAY_DOWN:
        return on_gateway_down(v, frame);
    case XD_MSG_GATEWAY_UP:
        return on_gateway_up(v, frame);
    case XD_MSG_CONFIG:
        return on_config(v, frame);
    case XD_MSG_COLLECT_IDS:
        return on_ids(v, frame);
    case XD_MSG_RETURNED:
        return on_returned(v, frame);
    case XD_MSG_COLLECTED:
        return on_collected(v, frame);
    case XD_MSG_COLLECTION:
        return on_collection(v, frame);
    case XD_MSG_WORKER_UP:
        return on_up(v, frame);
    case XD_MSG_WORKER_DOWN:
        return on_down(v, frame, offset);
    case XD_MSG_STILL_RUNNING:
        return on_still_running(v, frame);
    case XD_MSG_WARNING:
        return on_warning(v, frame, offset);
    case XD_MSG_SUITE_PROPERTY:
        return on_property(v, frame, offset);
    case XD_MSG_SUMMARY:
        return on_summary(v, frame, offset);
    case XD_MSG_RUN_END:
        return on_run_end(v, frame);
    default:
        return 0;
    }
}

int xd_runview_frame(xd_runview *v, uint64_t offset, const xd_frame *frame, xd_runview_ended_fn ended,
                     void *arg)
{
    int r = dispatch(v, offset, frame, ended, arg);
    v->frames++;
    if (r != -EPROTO)
        return r;
    v->damaged++;
    return XD_RUNVIEW_IGNORED;
}

/* ---- questions ----------------------------------------------------------------------------------------- */

uint64_t xd_runview_counted(const xd_runview *v, const char *category)
{
    const struct xd_runview_known *known = find(v->known_names, xd_bytes_str(category));
    const uint32_t                 at = known ? v->count_of[known->value] : 0;
    return at ? v->counts[at - 1].count : 0;
}

const char *xd_runview_option(const xd_runview *v, const char *name)
{
    for (uint32_t i = 0; i < v->option_count; i++)
        if (xd_bytes_eq_str(v->options[i].name, name))
            return (const char *)v->options[i].value.ptr;
    return NULL;
}

uint32_t xd_runview_interrupted_in(const xd_runview *v, uint32_t worker)
{
    uint32_t item = v->workers[worker].running - 1u;
    return item < v->count && (!v->items[item].outcome || v->items[item].outcome == XD_OUT_NOT_RUN)
               ? item
               : XD_NO_INDEX;
}

const xd_runview_worker *xd_runview_interrupted(const xd_runview *v, uint32_t item)
{
    for (uint32_t i = 0; i < v->worker_count; i++)
        if (v->workers[i].running == item + 1 && xd_runview_interrupted_in(v, i) == item)
            return &v->workers[i];
    return NULL;
}

bool xd_runview_pytest_from(const xd_runview *v, unsigned major, unsigned minor)
{
    unsigned number[2] = { 0 };
    size_t   i = 0;
    for (int part = 0; part < 2; part++, i++)
        for (; i < v->pytest_version.len && v->pytest_version.ptr[i] >= '0' &&
               v->pytest_version.ptr[i] <= '9' && number[part] < 10000;
             i++)
            number[part] = number[part] * 10 + (unsigned)(v->pytest_version.ptr[i] - '0');
    return !v->pytest_version.len || number[0] > major || (number[0] == major && number[1] >= minor);
}

int xd_runview_plain_text(const xd_wire_REPORT *r, xd_buf *room, xd_bytes *ret)
{
    *ret = r->text;
    if (!(r->flags & XD_REP_MARKUP))
        return 0;
    XD_TRY(xd_text_strip_ansi(room, r->text));
    *ret = xd_buf_view(room);
    return 0;
}

int xd_runview_report_read(const xd_runview *v, uint32_t index, xd_wire_REPORT *ret)
{
    xd_frame frame;
    if (!v->source.read)
        return -ENOTSUP;
    XD_TRY(v->source.read(v->source.arg, v->reports[index].offset, &frame));
    if (frame.type != XD_MSG_REPORT)
        return -EPROTO;
    return xd_wire_REPORT_decode(frame.body, frame.len, ret);
}

const char *xd_runview_outcome_name(uint8_t outcome)
{
    static const char *const names[] = { "unknown", "passed",  "failed",  "skipped", "xfailed", "xpassed",
                                         "error",   "crashed", "timeout", "lost",    "not-run" };
    return outcome < XD_ARRAY_LEN(names) ? names[outcome] : "unknown";
}
