/* actors/report_jsonl.c - JSON lines: one object per event, as it happens. The schema is xd-jsonl(5),
 * tools/xdctl/man/xd-jsonl.5.scd. */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/report_jsonl.h"
#include "actors/term_out.h"
#include "engine/base/text.h"
#include "engine/outcome.h"

#define JSONL_MAGIC 0x7501a001u
#define SCHEMA_VERSION 1
#define TOLD_US 5000 /* a teardown that took less and went well is not told apart */
#define DIGITS 16    /* of a number: enough for a moment since 1970 in microseconds */

typedef struct xd_jsonl {
    uint32_t          magic;
    const xd_runview *view;
    xd_term_out       out;
    int               fd; /* own, or -1 */
    char             *path;
    bool              ended;
} xd_jsonl;

/* ---- values -------------------------------------------------------------------------------------------- */

/* One object, which becomes one line. The setters do nothing once one of them has failed (for lack of memory:
 * texts are made valid UTF-8 before). */
typedef struct line {
    json_t *object;
    bool    failed;
} line;

static line begin(const char *event)
{
    json_t *o = json_object();
    line    l = { .object = o, .failed = !o };
    if (!l.failed)
        l.failed = json_object_set_new_nocheck(o, "version", json_integer(SCHEMA_VERSION)) < 0 ||
                   json_object_set_new_nocheck(o, "event", json_string_nocheck(event)) < 0;
    return l;
}

/* Takes the value, also on failure; NULL = it could not be made. */
static void put(line *l, const char *key, json_t *value)
{
    if (l->failed)
        json_decref(value);
    else
        l->failed = json_object_set_new_nocheck(l->object, key, value) < 0;
}

/* Bytes that are not UTF-8 become U+FFFD. */
static json_t *text(xd_bytes in)
{
    xd_autobuf valid = XD_BUF_INIT;
    if (!xd_text_is_utf8(in)) {
        if (xd_text_to_utf8(&valid, in) < 0)
            return NULL;
        in = xd_buf_view(&valid);
    }
    return json_stringn_nocheck((const char *)(in.len ? in.ptr : (const uint8_t *)""), in.len);
}

static void put_text(line *l, const char *key, xd_bytes value)
{
    put(l, key, text(value));
}

static void put_number(line *l, const char *key, int64_t value)
{
    put(l, key, json_integer(value));
}

static void put_seconds(line *l, const char *key, uint64_t us)
{
    put(l, key, json_real((double)us / 1e6));
}

static void put_worker(line *l, const char *key, const xd_runview *v, uint16_t worker)
{
    put(l, key, worker == XD_NO_WORKER ? json_null() : json_string(xd_runview_worker_name(v, worker).text));
}

/* The node id; when it is not UTF-8, its bytes as hexadecimal digits as well. */
static void put_nodeid(line *l, xd_bytes id)
{
    static const char digits[] = "0123456789abcdef";
    put_text(l, "nodeid", id);
    if (xd_text_is_utf8(id))
        return;
    xd_autobuf hex = XD_BUF_INIT;
    l->failed |= xd_buf_reserve(&hex, 2 * id.len) < 0;
    for (size_t i = 0; i < id.len && !l->failed; i++) {
        hex.data[hex.len++] = (uint8_t)digits[id.ptr[i] >> 4];
        hex.data[hex.len++] = (uint8_t)digits[id.ptr[i] & 15];
    }
    put_text(l, "nodeid_hex", xd_buf_view(&hex));
}

/* [[name, text], ...]; nothing when there are none. */
static void put_pairs(line *l, const char *key, xd_wire_list list)
{
    xd_wire_PAIR one;
    json_t      *all = list.count ? json_array() : NULL;
    if (!list.count)
        return;
    while (all && xd_wire_PAIR_next(&list, &one) == 1) {
        json_t *pair = json_pack("[o, o]", text(one.name), text(one.value));
        if (json_array_append_new(all, pair) < 0) {
            json_decref(all);
            all = NULL;
        }
    }
    put(l, key, all);
}

static int append(const char *data, size_t len, void *to)
{
    return xd_buf_add(to, data, len);
}

/* Writes the line and ends the object's life. Half a line never stays. */
static int end(line *l, xd_buf *to)
{
    size_t before = to->len;
    int    r = l->failed ? -ENOMEM : 0;
    if (r == 0 && json_dump_callback(l->object, append, to, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) < 0)
        r = -ENOMEM;
    if (r == 0)
        r = xd_buf_add_byte(to, '\n');
    if (r < 0)
        to->len = before;
    json_decref(l->object);
    return r;
}

/* A test; where every environment has its own, also which. */
static void put_test(line *l, const xd_runview *v, uint32_t item)
{
    put_nodeid(l, v->tests.items[item].id);
    if (v->collection.each)
        put_number(l, "collection", v->tests.items[item].collection);
}

/* ---- events -------------------------------------------------------------------------------------------- */

/* A report as an object; NULL = no memory. */
static json_t *report_object(const xd_wire_REPORT *r)
{
    line l = { .object = json_object() };
    l.failed = !l.object;
    put_text(&l, "when", r->when);
    put_text(&l, "outcome", r->outcome);
    put_text(&l, "category", r->category);
    if (r->subtest.len)
        put_text(&l, "subtest", r->subtest);
    put_seconds(&l, "duration", r->duration_us);
    if (r->message.len)
        put_text(&l, "message", r->message);
    xd_autobuf room = XD_BUF_INIT;
    xd_bytes   plain = r->text;
    l.failed |= xd_runview_plain_text(r, &room, &plain) < 0;
    if (r->text.len)
        put_text(&l, "text", plain);
    if (r->flags & XD_REP_CUT)
        put(&l, "text_shortened", json_true());
    if (r->path.len) {
        put_text(&l, "path", r->path);
        if (r->line >= 0)
            put_number(&l, "line", (int64_t)r->line + 1);
    }
    if (r->flags & XD_REP_WASXFAIL)
        put(&l, "wasxfail", json_true());
    put_pairs(&l, "sections", r->sections);
    put_pairs(&l, "properties", r->properties);
    put_pairs(&l, "attributes", r->attributes);
    if (l.failed) {
        json_decref(l.object);
        l.object = NULL;
    }
    return l.object;
}

static int put_reports(const xd_runview *v, line *l, const xd_runview_item *i, uint32_t first)
{
    if (first == XD_NO_INDEX)
        return 0;
    json_t *all = json_array();
    for (uint32_t n = first; all && n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        xd_wire_REPORT r;
        if (v->tests.reports[n].attempt != i->attempt)
            continue;
        int fault = xd_runview_report_read(v, n, &r);
        if (fault == 0 && json_array_append_new(all, report_object(&r)) < 0)
            fault = -ENOMEM;
        if (fault < 0) {
            json_decref(all);
            return fault;
        }
    }
    put(l, "reports", all);
    return 0;
}

static int put_crash(const xd_runview *v, line *l, const xd_runview_item *i)
{
    xd_frame            frame;
    xd_wire_WORKER_DOWN d;
    line                crash = { .object = NULL };
    if (i->down == XD_NO_INDEX || !xd_outcome_is_cut(i->outcome))
        return 0;
    XD_TRY(v->source.read(v->source.arg, v->notes.downs.at[i->down].offset, &frame));
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame.body, frame.len, &d));
    crash.object = json_object();
    crash.failed = !crash.object;
    put_text(&crash, "reason", d.reason);
    put_number(&crash, "signal", d.signal);
    put_number(&crash, "exit_status", d.exit_status);
    put_text(&crash, "last_output", d.last_output);
    l->failed |= crash.failed;
    put(l, "crash", crash.object);
    return 0;
}

static int jsonl_ended(void *self, uint32_t item)
{
    xd_jsonl              *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    const xd_runview_item *i = &j->view->tests.items[item];
    line                   l = begin("test");
    int                    r = 0;
    put_test(&l, j->view, item);
    put_text(&l, "outcome", xd_bytes_str(xd_runview_outcome_name(i->outcome)));
    if (i->outcome != XD_OUT_NOT_RUN) { /* not run: no worker, no time */
        put_worker(&l, "worker", j->view, i->worker);
        put_number(&l, "attempt", i->attempt - (unsigned)i->unused);
        put_seconds(&l, "start", i->start_us);
        put_seconds(&l, "setup", i->setup_us);
        put_seconds(&l, "call", i->call_us);
        put_seconds(&l, "teardown", i->teardown_us);
        r = put_reports(j->view, &l, i, i->first_report);
        if (r == 0)
            r = put_crash(j->view, &l, i);
    }
    l.failed |= r < 0;
    int written = end(&l, &j->out.buf);
    return r < 0 ? r : written;
}

/* Said only where there is something to say. */
static int jsonl_closed(void *self, uint32_t item)
{
    xd_jsonl              *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    const xd_runview      *v = j->view;
    const xd_runview_item *i = &v->tests.items[item];
    if (!v->tests.outcome_changed && v->tests.closing_report == XD_NO_INDEX && i->teardown_us < TOLD_US)
        return 0;
    line l = begin("test_teardown");
    put_test(&l, j->view, item);
    put_text(&l, "outcome", xd_bytes_str(xd_runview_outcome_name(i->outcome)));
    put_worker(&l, "worker", v, i->worker);
    put_number(&l, "attempt", i->attempt - (unsigned)i->unused);
    put_seconds(&l, "teardown", i->teardown_us);
    int r = put_reports(v, &l, i, v->tests.closing_report);
    l.failed |= r < 0;
    int written = end(&l, &j->out.buf);
    return r < 0 ? r : written;
}

static int on_config(xd_buf *to, const xd_frame *frame)
{
    xd_wire_CONFIG in;
    XD_TRY(xd_wire_CONFIG_decode(frame->body, frame->len, &in));
    line l = begin("config");
    put_number(&l, "gateway", frame->flags);
    put_text(&l, "python", in.python);
    put_text(&l, "python_version", in.python_version);
    put_text(&l, "pytest_version", in.pytest_version);
    put_text(&l, "rootdir", in.rootdir);
    return end(&l, to);
}

static int on_facts(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_ENV_FACTS in;
    XD_TRY(xd_wire_ENV_FACTS_decode(frame->body, frame->len, &in));
    const xd_runview_env *env = frame->flags < v->envs.count ? &v->envs.envs[frame->flags] : NULL;
    line                  l = begin("environment");
    put_number(&l, "gateway", frame->flags);
    put_text(&l, "spec", env ? env->spec : (xd_bytes){ 0 });
    put_text(&l, "host", env ? env->host : (xd_bytes){ 0 });
    if (in.program.len) {
        put_text(&l, "interpreter", in.program);
        put_text(&l, "found", in.found);
    }
    put_text(&l, "folder", in.folder);
    if (in.cache_dir.len)
        put_text(&l, "cache_dir", in.cache_dir);
    if (in.scratch_dir.len)
        put_text(&l, "scratch_dir", in.scratch_dir);
    return end(&l, to);
}

static int on_run_start(xd_buf *to, const xd_frame *frame)
{
    xd_wire_RUN_START in;
    xd_wire_TEXT      arg;
    XD_TRY(xd_wire_RUN_START_decode(frame->body, frame->len, &in));
    line l = begin("run_start");
    put_text(&l, "run_id", in.run_id);
    put_text(&l, "xd_version", in.version);
    put_seconds(&l, "start", in.wall_us);
    put_text(&l, "cwd", in.cwd);
    json_t      *argv = json_array();
    xd_wire_list list = in.argv;
    while (xd_wire_TEXT_next(&list, &arg) == 1)
        l.failed |= json_array_append_new(argv, text(arg.text)) < 0;
    put(&l, "argv", argv);
    return end(&l, to);
}

static int on_collection(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_COLLECTION in;
    XD_TRY(xd_wire_COLLECTION_decode(frame->body, frame->len, &in));
    line l = begin("collected");
    put_number(&l, "count", in.count);
    put_number(&l, "deselected", in.deselected);
    put_number(&l, "workers", in.workers);
    if (v->collection.each) {
        put_number(&l, "collection", in.collection);
        put_text(&l, "spec", xd_runview_spec(v, in.collection));
    }
    return end(&l, to);
}

/* Where each has its own: one whose session has ended before it had tests, while others go on. */
static int on_collected(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_COLLECTED in;
    XD_TRY(xd_wire_COLLECTED_decode(frame->body, frame->len, &in));
    if (!v->collection.each || in.exit_status == -1)
        return 0;
    line l = begin("not_collected");
    put_number(&l, "collection", frame->flags);
    put_text(&l, "spec", xd_runview_spec(v, frame->flags));
    put_number(&l, "exit_status", in.exit_status);
    put_text(&l, "reason", in.stop_reason);
    return end(&l, to);
}

static int on_warning(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_WARNING in;
    XD_TRY(xd_wire_WARNING_decode(frame->body, frame->len, &in));
    line l = begin("warning");
    put_text(&l, "category", in.category);
    put_text(&l, "when", in.when);
    put_nodeid(&l, in.nodeid);
    put_worker(&l, "worker", v, in.worker);
    put_text(&l, "text", in.text);
    put_text(&l, "file", in.file);
    put_number(&l, "line", in.line);
    return end(&l, to);
}

static int on_property(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_SUITE_PROPERTY in;
    XD_TRY(xd_wire_SUITE_PROPERTY_decode(frame->body, frame->len, &in));
    line l = begin("suite_property");
    put_worker(&l, "worker", v, in.worker);
    put_text(&l, "name", in.name);
    put_text(&l, "value", in.value);
    return end(&l, to);
}

static int on_up(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    static const char *const ways[] = { "unknown", "collected", "warm", "fresh" };
    xd_wire_WORKER_UP        in;
    XD_TRY(xd_wire_WORKER_UP_decode(frame->body, frame->len, &in));
    line l = begin("worker_up");
    put_worker(&l, "worker", v, in.worker);
    put_number(&l, "gateway", frame->flags);
    put_number(&l, "pid", in.pid);
    put_text(&l, "way", xd_bytes_str(in.way < XD_ARRAY_LEN(ways) ? ways[in.way] : ways[0]));
    put_worker(&l, "replaces", v, in.replaces);
    return end(&l, to);
}

static int on_down(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_WORKER_DOWN in;
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame->body, frame->len, &in));
    line l = begin("worker_down");
    put_worker(&l, "worker", v, in.worker);
    put(&l, "expected", json_boolean(in.expected));
    put_text(&l, "reason", in.reason);
    put_number(&l, "signal", in.signal);
    put_number(&l, "exit_status", in.exit_status);
    in.item = xd_runview_place(v, frame->flags, in.item);
    if (in.item < v->tests.count)
        put_test(&l, v, in.item);
    return end(&l, to);
}

static int on_still_running(const xd_runview *v, xd_buf *to, const xd_frame *frame)
{
    xd_wire_STILL_RUNNING in;
    XD_TRY(xd_wire_STILL_RUNNING_decode(frame->body, frame->len, &in));
    line l = begin("still_running");
    put_test(&l, v, xd_runview_place(v, frame->flags, in.item));
    put_worker(&l, "worker", v, in.worker);
    put_seconds(&l, "duration", (uint64_t)in.age_ms * 1000u);
    put(&l, "slow", json_boolean(in.slow));
    return end(&l, to);
}

static int put_interrupted(const xd_runview *v, xd_buf *to)
{
    for (uint32_t w = 0; w < v->envs.worker_count; w++) {
        uint32_t item = xd_runview_interrupted_in(v, w);
        if (item == XD_NO_INDEX)
            continue;
        line l = begin("interrupted");
        put_test(&l, v, item);
        put_worker(&l, "worker", v, (uint16_t)w);
        put_seconds(&l, "duration", (uint64_t)v->envs.workers[w].age_ms * 1000u);
        XD_TRY(end(&l, to));
    }
    return 0;
}

static int on_note(xd_buf *to, const xd_frame *frame)
{
    static const char *const levels[] = { [XD_NOTE_DETAIL] = "detail",
                                          [XD_NOTE_NOTE] = "note",
                                          [XD_NOTE_WARNING] = "warning",
                                          [XD_NOTE_ERROR] = "error" };
    xd_wire_NOTE             in;
    XD_TRY(xd_wire_NOTE_decode(frame->body, frame->len, &in));
    line l = begin("note");
    put_text(&l, "level", xd_bytes_str(levels[XD_MIN(XD_MAX(in.level, XD_NOTE_DETAIL), XD_NOTE_ERROR)]));
    put_text(&l, "text", in.text);
    return end(&l, to);
}

static int on_env_failed(xd_buf *to, const xd_frame *frame)
{
    xd_wire_ENV_FAILED in;
    XD_TRY(xd_wire_ENV_FAILED_decode(frame->body, frame->len, &in));
    line l = begin("env_failed");
    put_number(&l, "gateway", frame->flags);
    put_number(&l, "exit_status", in.exit_status);
    put_text(&l, "text", in.text);
    return end(&l, to);
}

/* A failed or skipped collection. */
static int on_collect_report(const xd_runview *v, xd_buf *to, const xd_frame *frame, uint64_t offset)
{
    xd_wire_REPORT r;
    uint32_t       n = v->tests.collect_report_count;
    if (!n || v->tests.reports[v->tests.collect_reports[n - 1]].offset !=
                  offset) /* a test's, or told before by another gateway */
        return 0;
    XD_TRY(xd_wire_REPORT_decode(frame->body, frame->len, &r));
    line l = begin("collect_report");
    put_nodeid(&l, r.nodeid);
    if (v->collection.each)
        put_number(&l, "collection", frame->flags);
    put(&l, "report", report_object(&r));
    return end(&l, to);
}

static int on_run_end(xd_jsonl *j, xd_buf *to)
{
    const xd_runview *v = j->view;
    uint32_t          recorded = v->tests.ended - v->tests.not_run;
    if (j->ended)
        return 0;
    j->ended = true;
    XD_TRY(put_interrupted(v, to));
    line l = begin("run_end");
    put_number(&l, "exit_status", v->run.exit_status);
    put_text(&l, "reason", v->run.reason);
    put_seconds(&l, "end", v->run.end_wall_us);
    put_seconds(&l, "duration", v->run.duration_us);
    put_number(&l, "collected", v->collection.collected);
    put_number(&l, "recorded", recorded);
    put_number(&l, "not_run", v->collection.collected > recorded ? v->collection.collected - recorded : 0);
    put_number(&l, "warnings", v->notes.warnings.count);
    line counts = { .object = json_object() };
    counts.failed = !counts.object;
    for (uint32_t i = 0; i < v->tests.count_count; i++) {
        xd_autobuf name = XD_BUF_INIT;
        counts.failed |= xd_text_to_utf8(&name, v->texts.names[v->tests.counts[i].name]) < 0;
        put_number(&counts, xd_buf_cstr(&name), (int64_t)v->tests.counts[i].count);
    }
    l.failed |= counts.failed;
    put(&l, "counts", counts.object);
    return end(&l, to);
}

static int jsonl_frame(void *self, const xd_frame *frame, uint64_t offset)
{
    xd_jsonl *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    xd_buf   *to = &j->out.buf;
    switch (frame->type) {
    case XD_MSG_RUN_START:
        return on_run_start(to, frame);
    case XD_MSG_ENV_FACTS:
        return on_facts(j->view, to, frame);
    case XD_MSG_CONFIG:
        return on_config(to, frame);
    case XD_MSG_COLLECTION:
        return on_collection(j->view, to, frame);
    case XD_MSG_COLLECTED:
        return on_collected(j->view, to, frame);
    case XD_MSG_REPORT:
        return on_collect_report(j->view, to, frame, offset);
    case XD_MSG_WARNING:
        return on_warning(j->view, to, frame);
    case XD_MSG_SUITE_PROPERTY:
        return on_property(j->view, to, frame);
    case XD_MSG_WORKER_UP:
        return on_up(j->view, to, frame);
    case XD_MSG_WORKER_DOWN:
        return on_down(j->view, to, frame);
    case XD_MSG_STILL_RUNNING:
        return on_still_running(j->view, to, frame);
    case XD_MSG_NOTE:
        return on_note(to, frame);
    case XD_MSG_ENV_FAILED:
        return on_env_failed(to, frame);
    case XD_MSG_RUN_END:
        return on_run_end(j, to);
    default:
        return 0;
    }
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int jsonl_flush(void *self)
{
    xd_jsonl *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    int       r = xd_term_out_flush(&j->out);
    XD_TRY(r);
    if (j->out.fault)
        return j->out.fault;
    return xd_term_out_full(&j->out) ? XD_REPORT_BUSY : 0;
}

static int jsonl_tick(void *self, uint64_t now_ns)
{
    (void)now_ns;
    return jsonl_flush(self);
}

static int jsonl_fd(void *self)
{
    return xd_term_out_fd(&XD_CAST(self, xd_jsonl, JSONL_MAGIC)->out);
}

static int jsonl_finish(void *self, xd_error *err)
{
    xd_jsonl *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    int       r = xd_term_out_drain(&j->out, 0);
    if (r == 0)
        r = j->out.fault;
    return r < 0 ? xd_error_set(err, r, "cannot write %s: %s", j->path ? j->path : "the JSON lines",
                                xd_error_name(r))
                 : 0;
}

static void jsonl_close(void *self)
{
    xd_jsonl *j = self;
    if (!j)
        return;
    xd_term_out_release(&j->out);
    if (j->fd >= 0)
        close(j->fd);
    free(j->path);
    free(j);
}

/* Held as long as the file is open: lines of two runs in one file would be of use to nobody. */
static int begin_file(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 &&
        errno == EWOULDBLOCK) /* other faults: no locks on this file system */
        return -EWOULDBLOCK;
    return ftruncate(fd, 0) < 0 ? -errno : 0;
}

static int jsonl_open(const void *args, const xd_runview *view, void **ret_self, xd_error *err)
{
    const xd_report_jsonl_options *options = args;
    xd_jsonl                      *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    *j = (xd_jsonl){ .magic = JSONL_MAGIC, .view = view, .fd = -1 };
    int fd = options->fd;
    if (options->path) {
        j->path = strdup(options->path);
        /* A fifo without a reader is an error, not a wait. */
        j->fd = fd = open(options->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
        int r = fd < 0 ? -errno : begin_file(fd);
        if (r < 0) {
            if (r == -EWOULDBLOCK)
                r = xd_error_set(err, r, "another run writes %s now: give each run a file of its own",
                                 options->path);
            else
                r = xd_error_set(err, r, "cannot write %s: %s", options->path, xd_error_name(r));
            jsonl_close(j);
            return r;
        }
    }
    xd_term_out_init(&j->out, fd, 0);
    *ret_self = j;
    return 0;
}

const xd_report_ops xd_report_jsonl_ops = {
    .name = "jsonl",
    .open = jsonl_open,
    .frame = jsonl_frame,
    .ended = jsonl_ended,
    .closed = jsonl_closed,
    .tick = jsonl_tick,
    .flush = jsonl_flush,
    .fd = jsonl_fd,
    .finish = jsonl_finish,
    .close = jsonl_close,
};
