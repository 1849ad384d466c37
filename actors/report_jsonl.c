/* actors/report_jsonl.c - JSON lines: one object per event, as it happens. The schema is xd-jsonl(5),
 * tools/xdctl/man/xd-jsonl.5.scd.
 * Written by hand: a passing test costs about a microsecond. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/report.h"
#include "actors/term_out.h"
#include "engine/base/text.h"

#define JSONL_MAGIC 0x7501a001u
#define HEAD "{\"version\":1,\"event\":"

typedef struct xd_jsonl {
    uint32_t          magic;
    const xd_runview *view;
    xd_term_out       out;
    int               fd; /* own, or -1 */
    char             *path;
    bool              ended;
} xd_jsonl;

/* ---- values -------------------------------------------------------------------------------------------- */

/* A string, quoted; bytes that are not UTF-8 become U+FFFD. */
static int put_text(xd_buf *to, xd_bytes in)
{
    XD_TRY(xd_buf_reserve(to, in.len + 2));
    to->data[to->len++] = '"';
    size_t plain = 0;
    for (size_t i = 0; i < in.len;) {
        uint8_t c = in.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        XD_TRY(xd_buf_add(to, in.ptr + plain, i - plain));
        uint32_t cp;
        size_t   n = c >= 0x80 ? xd_text_utf8(in.ptr + i, in.len - i, &cp) : 0;
        if (n)
            XD_TRY(xd_buf_add(to, in.ptr + i, n));
        else if (c >= 0x80)
            XD_TRY(xd_buf_add_str(to, "\xef\xbf\xbd"));
        else if (c == '"' || c == '\\')
            XD_TRY(xd_buf_printf(to, "\\%c", c));
        else if (c == '\n')
            XD_TRY(xd_buf_add_str(to, "\\n"));
        else
            XD_TRY(xd_buf_printf(to, "\\u%04x", c));
        i += n ? n : 1;
        plain = i;
    }
    XD_TRY(xd_buf_add(to, in.ptr + plain, in.len - plain));
    return xd_buf_add_byte(to, '"');
}

static int put_number(xd_buf *to, uint64_t n)
{
    char   digits[24];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    return xd_buf_add(to, digits + at, sizeof digits - at);
}

/* Seconds with six decimals. */
static int put_seconds(xd_buf *to, uint64_t us)
{
    char     tail[7] = { '.' };
    uint64_t rest = us % 1000000;
    for (int i = 6; i > 0; i--, rest /= 10)
        tail[i] = (char)('0' + rest % 10);
    XD_TRY(put_number(to, us / 1000000));
    return xd_buf_add(to, tail, sizeof tail);
}

static int key(xd_buf *to, const char *name)
{
    XD_TRY(xd_buf_add(to, ",\"", 2));
    XD_TRY(xd_buf_add(to, name, strlen(name)));
    return xd_buf_add(to, "\":", 2);
}

static int key_text(xd_buf *to, const char *name, xd_bytes value)
{
    XD_TRY(key(to, name));
    return put_text(to, value);
}

static int key_number(xd_buf *to, const char *name, uint64_t value)
{
    XD_TRY(key(to, name));
    return put_number(to, value);
}

static int key_signed(xd_buf *to, const char *name, int64_t value)
{
    XD_TRY(key(to, name));
    if (value < 0)
        XD_TRY(xd_buf_add_byte(to, '-'));
    return put_number(to, value < 0 ? (uint64_t)-value : (uint64_t)value);
}

static int key_seconds(xd_buf *to, const char *name, uint64_t us)
{
    XD_TRY(key(to, name));
    return put_seconds(to, us);
}

static int key_worker(xd_buf *to, const char *name, uint16_t worker)
{
    XD_TRY(key(to, name));
    if (worker == 0xffff)
        return xd_buf_add_str(to, "null");
    XD_TRY(xd_buf_add(to, "\"gw", 3));
    XD_TRY(put_number(to, worker));
    return xd_buf_add_byte(to, '"');
}

/* The node id; when it is not UTF-8, its bytes as hexadecimal digits as well. */
static int key_nodeid(xd_buf *to, xd_bytes id)
{
    XD_TRY(key_text(to, "nodeid", id));
    bool ascii = true;
    for (size_t i = 0; i < id.len && ascii; i++)
        ascii = id.ptr[i] < 0x80;
    if (ascii || xd_text_is_utf8(id))
        return 0;
    XD_TRY(key(to, "nodeid_hex"));
    XD_TRY(xd_buf_add_byte(to, '"'));
    for (size_t i = 0; i < id.len; i++)
        XD_TRY(xd_buf_printf(to, "%02x", id.ptr[i]));
    return xd_buf_add_byte(to, '"');
}

static int key_pairs(xd_buf *to, const char *name, xd_wire_list list)
{
    xd_wire_PAIR one;
    bool         first = true;
    if (!list.count)
        return 0;
    XD_TRY(key(to, name));
    XD_TRY(xd_buf_add_byte(to, '['));
    while (xd_wire_PAIR_next(&list, &one) == 1) {
        if (!first)
            XD_TRY(xd_buf_add_byte(to, ','));
        first = false;
        XD_TRY(xd_buf_add_byte(to, '['));
        XD_TRY(put_text(to, one.name));
        XD_TRY(xd_buf_add_byte(to, ','));
        XD_TRY(put_text(to, one.value));
        XD_TRY(xd_buf_add_byte(to, ']'));
    }
    return xd_buf_add_byte(to, ']');
}

static int begin(xd_buf *to, const char *event)
{
    XD_TRY(xd_buf_add(to, HEAD, sizeof HEAD - 1));
    XD_TRY(xd_buf_add_byte(to, '"'));
    XD_TRY(xd_buf_add(to, event, strlen(event)));
    return xd_buf_add_byte(to, '"');
}

static int end(xd_buf *to)
{
    return xd_buf_add(to, "}\n", 2);
}

/* ---- events -------------------------------------------------------------------------------------------- */

static int put_report(xd_buf *to, const xd_wire_REPORT *r)
{
    XD_TRY(xd_buf_add_str(to, "{\"when\":"));
    XD_TRY(put_text(to, r->when));
    XD_TRY(key_text(to, "outcome", r->outcome));
    XD_TRY(key_text(to, "category", r->category));
    if (r->subtest.len)
        XD_TRY(key_text(to, "subtest", r->subtest));
    XD_TRY(key_seconds(to, "duration", r->duration_us));
    if (r->message.len)
        XD_TRY(key_text(to, "message", r->message));
    if (r->text.len)
        XD_TRY(key_text(to, "text", r->text));
    if (r->flags & 8)
        XD_TRY(xd_buf_add_str(to, ",\"text_shortened\":true"));
    if (r->path.len) {
        XD_TRY(key_text(to, "path", r->path));
        if (r->line >= 0)
            XD_TRY(key_signed(to, "line", (int64_t)r->line + 1));
    }
    if (r->flags & 2)
        XD_TRY(xd_buf_add_str(to, ",\"wasxfail\":true"));
    XD_TRY(key_pairs(to, "sections", r->sections));
    XD_TRY(key_pairs(to, "properties", r->properties));
    return xd_buf_add_byte(to, '}');
}

static int put_reports(xd_jsonl *j, xd_buf *to, const xd_runview_item *i)
{
    const xd_runview *v = j->view;
    bool              first = true;
    if (i->first_report == XD_RUNVIEW_NONE)
        return 0;
    XD_TRY(key(to, "reports"));
    XD_TRY(xd_buf_add_byte(to, '['));
    for (uint32_t n = i->first_report; n != XD_RUNVIEW_NONE; n = v->reports[n].next) {
        xd_wire_REPORT r;
        if (v->reports[n].attempt != i->attempt)
            continue;
        XD_TRY(xd_runview_report_read(v, n, &r));
        if (!first)
            XD_TRY(xd_buf_add_byte(to, ','));
        first = false;
        XD_TRY(put_report(to, &r));
    }
    return xd_buf_add_byte(to, ']');
}

static int put_crash(xd_jsonl *j, xd_buf *to, const xd_runview_item *i)
{
    const xd_runview   *v = j->view;
    xd_frame            frame;
    xd_wire_WORKER_DOWN d;
    if (i->down == XD_RUNVIEW_NONE || i->outcome < 7 || i->outcome > 9)
        return 0;
    XD_TRY(v->source.read(v->source.arg, v->downs[i->down].offset, &frame));
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame.body, frame.len, &d));
    XD_TRY(xd_buf_add_str(to, ",\"crash\":{\"reason\":"));
    XD_TRY(put_text(to, d.reason));
    XD_TRY(key_signed(to, "signal", d.signal));
    XD_TRY(key_signed(to, "exit_status", d.exit_status));
    XD_TRY(key_text(to, "last_output", d.last_output));
    return xd_buf_add_byte(to, '}');
}

static int jsonl_ended(void *self, uint32_t item)
{
    xd_jsonl              *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    const xd_runview_item *i = &j->view->items[item];
    xd_buf                *to = &j->out.buf;
    XD_TRY(begin(to, "test"));
    XD_TRY(key_nodeid(to, i->id));
    XD_TRY(key_text(to, "outcome", xd_bytes_str(xd_runview_outcome_name(i->outcome))));
    if (i->outcome == 10) /* not run: no worker, no time */
        return end(to);
    XD_TRY(key_worker(to, "worker", i->worker));
    XD_TRY(key_number(to, "attempt", i->attempt - (unsigned)i->unused));
    XD_TRY(key_seconds(to, "start", i->start_us));
    XD_TRY(key_seconds(to, "setup", i->setup_us));
    XD_TRY(key_seconds(to, "call", i->call_us));
    XD_TRY(key_seconds(to, "teardown", i->teardown_us));
    XD_TRY(put_reports(j, to, i));
    XD_TRY(put_crash(j, to, i));
    return end(to);
}

static int on_config(xd_buf *to, const xd_frame *frame)
{
    xd_wire_CONFIG in;
    XD_TRY(xd_wire_CONFIG_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "config"));
    XD_TRY(key_number(to, "gateway", frame->flags));
    XD_TRY(key_text(to, "python", in.python));
    XD_TRY(key_text(to, "python_version", in.python_version));
    XD_TRY(key_text(to, "pytest_version", in.pytest_version));
    XD_TRY(key_text(to, "rootdir", in.rootdir));
    return end(to);
}

static int on_run_start(xd_buf *to, const xd_frame *frame)
{
    xd_wire_RUN_START in;
    XD_TRY(xd_wire_RUN_START_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "run_start"));
    XD_TRY(key_text(to, "run_id", in.run_id));
    XD_TRY(key_text(to, "xd_version", in.version));
    XD_TRY(key_seconds(to, "start", in.wall_us));
    XD_TRY(key_text(to, "cwd", in.cwd));
    XD_TRY(key(to, "argv"));
    XD_TRY(xd_buf_add_byte(to, '['));
    xd_wire_list list = in.argv;
    xd_wire_TEXT arg;
    for (bool first = true; xd_wire_TEXT_next(&list, &arg) == 1; first = false) {
        if (!first)
            XD_TRY(xd_buf_add_byte(to, ','));
        XD_TRY(put_text(to, arg.text));
    }
    XD_TRY(xd_buf_add_byte(to, ']'));
    return end(to);
}

static int on_collection(xd_buf *to, const xd_frame *frame)
{
    xd_wire_COLLECTION in;
    XD_TRY(xd_wire_COLLECTION_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "collected"));
    XD_TRY(key_number(to, "count", in.count));
    XD_TRY(key_number(to, "deselected", in.deselected));
    XD_TRY(key_number(to, "workers", in.workers));
    return end(to);
}

static int on_warning(xd_buf *to, const xd_frame *frame)
{
    xd_wire_WARNING in;
    XD_TRY(xd_wire_WARNING_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "warning"));
    XD_TRY(key_text(to, "category", in.category));
    XD_TRY(key_text(to, "when", in.when));
    XD_TRY(key_nodeid(to, in.nodeid));
    XD_TRY(key_worker(to, "worker", in.worker));
    XD_TRY(key_text(to, "text", in.text));
    XD_TRY(key_text(to, "file", in.file));
    XD_TRY(key_number(to, "line", in.line));
    return end(to);
}

static int on_up(xd_buf *to, const xd_frame *frame)
{
    static const char *const ways[] = { "unknown", "collected", "warm", "fresh" };
    xd_wire_WORKER_UP        in;
    XD_TRY(xd_wire_WORKER_UP_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "worker_up"));
    XD_TRY(key_worker(to, "worker", in.worker));
    XD_TRY(key_number(to, "gateway", frame->flags));
    XD_TRY(key_number(to, "pid", in.pid));
    XD_TRY(key_text(to, "way", xd_bytes_str(in.way < XD_ARRAY_LEN(ways) ? ways[in.way] : ways[0])));
    XD_TRY(key_worker(to, "replaces", in.replaces));
    return end(to);
}

static int on_down(xd_jsonl *j, xd_buf *to, const xd_frame *frame)
{
    xd_wire_WORKER_DOWN in;
    XD_TRY(xd_wire_WORKER_DOWN_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "worker_down"));
    XD_TRY(key_worker(to, "worker", in.worker));
    XD_TRY(key(to, "expected"));
    XD_TRY(xd_buf_add_str(to, in.expected ? "true" : "false"));
    XD_TRY(key_text(to, "reason", in.reason));
    XD_TRY(key_signed(to, "signal", in.signal));
    XD_TRY(key_signed(to, "exit_status", in.exit_status));
    if (in.item < j->view->count)
        XD_TRY(key_nodeid(to, j->view->items[in.item].id));
    return end(to);
}

static int on_note(xd_buf *to, const xd_frame *frame)
{
    static const char *const levels[] = { "detail", "detail", "note", "warning", "error" };
    xd_wire_NOTE             in;
    XD_TRY(xd_wire_NOTE_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "note"));
    XD_TRY(key_text(to, "level", xd_bytes_str(levels[in.level < 5 ? in.level : 4])));
    XD_TRY(key_text(to, "text", in.text));
    return end(to);
}

static int on_env_failed(xd_buf *to, const xd_frame *frame)
{
    xd_wire_ENV_FAILED in;
    XD_TRY(xd_wire_ENV_FAILED_decode(frame->body, frame->len, &in));
    XD_TRY(begin(to, "env_failed"));
    XD_TRY(key_number(to, "gateway", frame->flags));
    XD_TRY(key_signed(to, "exit_status", in.exit_status));
    XD_TRY(key_text(to, "text", in.text));
    return end(to);
}

/* A failed or skipped collection. */
static int on_collect_report(xd_jsonl *j, xd_buf *to, const xd_frame *frame, uint64_t offset)
{
    const xd_runview *v = j->view;
    xd_wire_REPORT    r;
    uint32_t          n = v->collect_report_count;
    if (!n || v->reports[v->collect_reports[n - 1]].offset !=
                  offset) /* a test's, or told before by another gateway */
        return 0;
    XD_TRY(xd_wire_REPORT_decode(frame->body, frame->len, &r));
    XD_TRY(begin(to, "collect_report"));
    XD_TRY(key_nodeid(to, r.nodeid));
    XD_TRY(key(to, "report"));
    XD_TRY(put_report(to, &r));
    return end(to);
}

static int on_run_end(xd_jsonl *j, xd_buf *to)
{
    const xd_runview *v = j->view;
    uint32_t          recorded = v->ended - v->not_run;
    bool              first = true;
    if (j->ended)
        return 0;
    j->ended = true;
    XD_TRY(begin(to, "run_end"));
    XD_TRY(key_signed(to, "exit_status", v->exit_status));
    XD_TRY(key_text(to, "reason", v->reason));
    XD_TRY(key_seconds(to, "end", v->end_wall_us));
    XD_TRY(key_seconds(to, "duration", v->duration_us));
    XD_TRY(key_number(to, "collected", v->collected));
    XD_TRY(key_number(to, "recorded", recorded));
    XD_TRY(key_number(to, "not_run", v->collected > recorded ? v->collected - recorded : 0));
    XD_TRY(key_number(to, "warnings", v->warning_count));
    XD_TRY(key(to, "counts"));
    XD_TRY(xd_buf_add_byte(to, '{'));
    for (uint32_t i = 0; i < v->count_count; i++) {
        if (!first)
            XD_TRY(xd_buf_add_byte(to, ','));
        first = false;
        XD_TRY(put_text(to, v->names[v->counts[i].name]));
        XD_TRY(xd_buf_add_byte(to, ':'));
        XD_TRY(put_number(to, v->counts[i].count));
    }
    XD_TRY(xd_buf_add_byte(to, '}'));
    return end(to);
}

static int jsonl_frame(void *self, const xd_frame *frame, uint64_t offset)
{
    xd_jsonl *j = XD_CAST(self, xd_jsonl, JSONL_MAGIC);
    xd_buf   *to = &j->out.buf;
    switch (frame->type) {
    case XD_MSG_RUN_START:
        return on_run_start(to, frame);
    case XD_MSG_CONFIG:
        return on_config(to, frame);
    case XD_MSG_COLLECTION:
        return on_collection(to, frame);
    case XD_MSG_REPORT:
        return on_collect_report(j, to, frame, offset);
    case XD_MSG_WARNING:
        return on_warning(to, frame);
    case XD_MSG_WORKER_UP:
        return on_up(to, frame);
    case XD_MSG_WORKER_DOWN:
        return on_down(j, to, frame);
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

static int jsonl_open(const xd_report_options *options, const xd_runview *view, void **ret_self,
                      xd_error *err)
{
    xd_jsonl *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    *j = (xd_jsonl){ .magic = JSONL_MAGIC, .view = view, .fd = -1 };
    int fd = options->fd;
    if (options->path) {
        j->path = strdup(options->path);
        /* A fifo without a reader is an error, not a wait. */
        j->fd = fd =
            open(options->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
        if (fd < 0) {
            int r = xd_error_set(err, -errno, "cannot write %s: %s", options->path, xd_error_name(-errno));
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
    .tick = jsonl_tick,
    .flush = jsonl_flush,
    .fd = jsonl_fd,
    .finish = jsonl_finish,
    .close = jsonl_close,
};
