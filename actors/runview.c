/* actors/runview.c - see runview.h. */
#include "actors/runview.h"

#include "engine/base/text.h"
#include "engine/outcome.h"

int xd_runview_init(xd_runview *ret, xd_runview_source source)
{
    *ret = (xd_runview){ .source = source,
                         .run.exit_status = -1,
                         .config = XD_RUNVIEW_CONFIG_INIT,
                         .collection = XD_RUNVIEW_COLLECTION_INIT };
    return xd_runview_texts_init(&ret->texts);
}

void xd_runview_release(xd_runview *v)
{
    xd_runview_tests_release(&v->tests);
    xd_runview_envs_release(&v->envs);
    xd_runview_config_release(&v->config);
    xd_runview_collection_release(&v->collection);
    xd_runview_notes_release(&v->notes);
    xd_runview_texts_release(&v->texts);
    *v = (xd_runview){ 0 };
}

/* ---- records: decoded here, and given to the parts that they concern ------------------------------------ */

static int on_run_start(xd_runview *v, const xd_frame *frame)
{
    xd_wire_RUN_START in;
    XD_TRY(xd_wire_RUN_START_decode(frame->body, frame->len, &in));
    XD_TRY(xd_runview_texts_keep(&v->texts, in.run_id, &v->run.id));
    XD_TRY(xd_runview_texts_keep(&v->texts, in.version, &v->run.xd_version));
    XD_TRY(xd_runview_texts_keep(&v->texts, in.cwd, &v->run.cwd));
    v->run.start_wall_us = in.wall_us;
    v->collection.each = in.each != 0;
    return xd_runview_config_run(&v->config, in.options);
}

static int on_gateway_up(xd_runview *v, const xd_frame *frame)
{
    xd_wire_GATEWAY_UP in;
    XD_TRY(xd_wire_GATEWAY_UP_decode(frame->body, frame->len, &in));
    return xd_runview_envs_up(&v->envs, &v->texts, &in);
}

static int on_gateway_down(xd_runview *v, const xd_frame *frame)
{
    xd_wire_GATEWAY_DOWN in;
    xd_runview_env      *env;
    XD_TRY(xd_wire_GATEWAY_DOWN_decode(frame->body, frame->len, &in));
    XD_TRY(xd_runview_envs_at(&v->envs, in.gateway, &env));
    env->down = 1;
    xd_runview_collection_lost(&v->collection, &v->tests, &v->envs, in.gateway);
    return 0;
}

static int on_facts(xd_runview *v, const xd_frame *frame)
{
    xd_wire_ENV_FACTS in;
    xd_runview_env   *env;
    XD_TRY(xd_wire_ENV_FACTS_decode(frame->body, frame->len, &in));
    XD_TRY(xd_runview_envs_at(&v->envs, frame->flags, &env));
    XD_TRY(xd_runview_texts_keep(&v->texts, in.program, &env->program));
    return xd_runview_texts_keep(&v->texts, in.found, &env->found);
}

static int on_config(xd_runview *v, const xd_frame *frame)
{
    xd_wire_CONFIG  in;
    xd_runview_env *env;
    XD_TRY(xd_wire_CONFIG_decode(frame->body, frame->len, &in));
    XD_TRY(xd_runview_envs_at(&v->envs, frame->flags, &env));
    XD_TRY(xd_runview_texts_keep(&v->texts, in.python, &env->python));
    XD_TRY(xd_runview_texts_keep(&v->texts, in.python_version, &env->python_version));
    int r = xd_runview_config_take(&v->config, &v->texts, &in, env, frame->flags);
    return r == XD_RUNVIEW_IGNORED && v->collection.each ? 0 : r; /* each is of interest */
}

static int on_ids(xd_runview *v, const xd_frame *frame)
{
    xd_wire_COLLECT_IDS in;
    XD_TRY(xd_wire_COLLECT_IDS_decode(frame->body, frame->len, &in));
    return xd_runview_collection_ids(&v->collection, &v->tests, &v->texts, &in, frame->flags);
}

static int on_collected(xd_runview *v, const xd_frame *frame)
{
    xd_wire_COLLECTED in;
    XD_TRY(xd_wire_COLLECTED_decode(frame->body, frame->len, &in));
    int r = xd_runview_collection_told(&v->collection, &v->envs, &in, frame->flags,
                                       !xd_runview_config_of_another(&v->config, frame->flags));
    if (r != 0 || in.exit_status == -1)
        return r;
    return xd_runview_texts_keep(&v->texts, in.stop_reason,
                                 v->collection.each ? &v->envs.envs[frame->flags].reason : &v->run.reason);
}

static int on_collection(xd_runview *v, const xd_frame *frame)
{
    xd_wire_COLLECTION in;
    XD_TRY(xd_wire_COLLECTION_decode(frame->body, frame->len, &in));
    return xd_runview_collection_agree(&v->collection, &v->tests, &v->envs, &in);
}

static int on_report(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_REPORT in;
    XD_TRY(xd_wire_REPORT_decode(frame->body, frame->len, &in));
    const bool of_test = in.item != XD_NO_INDEX;
    in.item = xd_runview_place(v, frame->flags, in.item);
    if (of_test && in.item == XD_NO_INDEX)
        return -EPROTO;
    return xd_runview_tests_report(&v->tests, &v->texts, &in, frame->flags, offset, !v->collection.each);
}

static int on_returned(xd_runview *v, const xd_frame *frame)
{
    xd_wire_RETURNED in;
    XD_TRY(xd_wire_RETURNED_decode(frame->body, frame->len, &in));
    const xd_runview_env *env = frame->flags < v->envs.count ? &v->envs.envs[frame->flags] : NULL;
    if (!v->collection.each)
        xd_runview_tests_returned(&v->tests, &in, 0, v->tests.count);
    else if (env)
        xd_runview_tests_returned(&v->tests, &in, env->first, env->first + env->tests);
    return 0;
}

static int on_results(xd_runview *v, const xd_frame *frame, xd_runview_ended_fn ended, void *arg)
{
    xd_wire_RESULTS in;
    XD_TRY(xd_wire_RESULTS_decode(frame->body, frame->len, &in));
    xd_wire_list   list = in.results;
    xd_wire_RESULT one;
    while (xd_wire_RESULT_next(&list, &one) == 1) {
        one.item = xd_runview_place(v, frame->flags, one.item);
        int r = xd_runview_tests_result(&v->tests, &v->texts, &one, in.worker, frame->flags);
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

static int on_names(xd_runview *v, const xd_frame *frame)
{
    xd_wire_WORKER_NAMES in;
    XD_TRY(xd_wire_WORKER_NAMES_decode(frame->body, frame->len, &in));
    return xd_runview_envs_names(&v->envs, &in);
}

static int on_up(xd_runview *v, const xd_frame *frame)
{
    xd_wire_WORKER_UP in;
    XD_TRY(xd_wire_WORKER_UP_decode(frame->body, frame->len, &in));
    return xd_runview_envs_worker_up(&v->envs, &in, frame->flags);
}

static int on_down(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_WORKER_DOWN in;
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame->body, frame->len, &in));
    in.item = xd_runview_place(v, frame->flags, in.item);
    XD_TRY(xd_runview_envs_worker_down(&v->envs, &v->tests, &in));
    if (in.item != XD_NO_INDEX && in.item < v->tests.count)
        v->tests.items[in.item].down = v->notes.downs.count;
    return xd_runview_refs_add(
        &v->notes.downs,
        (xd_runview_ref){ .offset = offset, .item = in.item, .worker = in.worker, .gateway = frame->flags });
}

static int on_still_running(xd_runview *v, const xd_frame *frame)
{
    xd_wire_STILL_RUNNING in;
    XD_TRY(xd_wire_STILL_RUNNING_decode(frame->body, frame->len, &in));
    in.item = xd_runview_place(v, frame->flags, in.item);
    return xd_runview_envs_still_running(&v->envs, &v->tests, &in);
}

static int on_warning(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_WARNING in;
    XD_TRY(xd_wire_WARNING_decode(frame->body, frame->len, &in));
    in.item = xd_runview_place(v, frame->flags, in.item);
    /* What configuration and collection warn of, every environment says again. Where each has tests of its own, it says its own. */
    if (!v->collection.each && !xd_bytes_eq_str(in.when, "runtest") &&
        xd_runview_config_of_another(&v->config, frame->flags))
        return XD_RUNVIEW_IGNORED;
    return xd_runview_refs_add(
        &v->notes.warnings,
        (xd_runview_ref){ .offset = offset, .item = in.item, .worker = in.worker, .gateway = frame->flags });
}

static int on_property(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_SUITE_PROPERTY in;
    XD_TRY(xd_wire_SUITE_PROPERTY_decode(frame->body, frame->len, &in));
    return xd_runview_refs_add(&v->notes.properties, (xd_runview_ref){ .offset = offset,
                                                                       .item = XD_NO_INDEX,
                                                                       .worker = in.worker,
                                                                       .gateway = frame->flags });
}

static int on_summary(xd_runview *v, const xd_frame *frame, uint64_t offset)
{
    xd_wire_SUMMARY in;
    XD_TRY(xd_wire_SUMMARY_decode(frame->body, frame->len, &in));
    return xd_runview_refs_add(&v->notes.summaries, (xd_runview_ref){ .offset = offset,
                                                                      .item = XD_NO_INDEX,
                                                                      .worker = in.worker,
                                                                      .gateway = frame->flags });
}

static int on_run_end(xd_runview *v, const xd_frame *frame)
{
    xd_wire_RUN_END in;
    XD_TRY(xd_wire_RUN_END_decode(frame->body, frame->len, &in));
    if (v->run.over)
        return XD_RUNVIEW_IGNORED;
    v->run.over = true;
    v->run.exit_status = in.exit_status;
    v->run.end_wall_us = in.wall_us;
    v->run.duration_us = in.duration_us;
    return in.reason.len ? xd_runview_texts_keep(&v->texts, in.reason, &v->run.reason) : 0;
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
    case XD_MSG_ENV_FACTS:
        return on_facts(v, frame);
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
    case XD_MSG_WORKER_NAMES:
        return on_names(v, frame);
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

uint32_t xd_runview_place(const xd_runview *v, uint16_t gateway, uint32_t item)
{
    return xd_runview_collection_place(&v->collection, &v->envs, gateway, item);
}

xd_bytes xd_runview_environment(const xd_runview *v, uint32_t item)
{
    const xd_runview_item *i = item < v->tests.count ? &v->tests.items[item] : NULL;
    return v->collection.each && i && i->collection < v->envs.count ? v->envs.envs[i->collection].spec
                                                                    : (xd_bytes){ 0 };
}

xd_bytes xd_runview_environment_of_report(const xd_runview *v, uint32_t report)
{
    return v->collection.each && report < v->tests.report_count
               ? xd_runview_spec(v, v->tests.reports[report].gateway)
               : (xd_bytes){ 0 };
}

xd_bytes xd_runview_spec(const xd_runview *v, uint16_t gateway)
{
    return gateway < v->envs.count ? v->envs.envs[gateway].spec : (xd_bytes){ 0 };
}

xd_name xd_runview_worker_name(const xd_runview *v, uint32_t worker)
{
    return xd_names_of(&v->envs.names, (uint16_t)worker);
}

int xd_runview_sentence(const xd_runview *v, const xd_runview_item *i, xd_buf *out)
{
    const xd_name name = xd_runview_worker_name(v, i->worker);
    return xd_outcome_sentence(out, i->outcome, i->worker == XD_NO_WORKER ? NULL : name.text, "running",
                               i->id);
}

uint64_t xd_runview_counted(const xd_runview *v, const char *category)
{
    return xd_runview_tests_counted(&v->tests, &v->texts, category);
}

const char *xd_runview_option(const xd_runview *v, const char *name)
{
    return xd_runview_config_option(&v->config, name);
}

bool xd_runview_pytest_from(const xd_runview *v, unsigned major, unsigned minor)
{
    return xd_runview_config_pytest_from(&v->config, major, minor);
}

uint32_t xd_runview_interrupted_in(const xd_runview *v, uint32_t worker)
{
    uint32_t item = v->envs.workers[worker].running - 1u;
    return item < v->tests.count &&
                   (!v->tests.items[item].outcome || v->tests.items[item].outcome == XD_OUT_NOT_RUN)
               ? item
               : XD_NO_INDEX;
}

const xd_runview_worker *xd_runview_interrupted(const xd_runview *v, uint32_t item)
{
    for (uint32_t i = 0; i < v->envs.worker_count; i++)
        if (v->envs.workers[i].running == item + 1 && xd_runview_interrupted_in(v, i) == item)
            return &v->envs.workers[i];
    return NULL;
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
    XD_TRY(v->source.read(v->source.arg, v->tests.reports[index].offset, &frame));
    if (frame.type != XD_MSG_REPORT)
        return -EPROTO;
    return xd_wire_REPORT_decode(frame.body, frame.len, ret);
}
