/* actors/report_junit.c - JUnit XML as pytest's own --junitxml writes it (_pytest/junitxml.py of pytest 9),
 * in collection order.
 * Nothing is held while the run goes on; at the end the tests of each suite are walked twice: once to count, once to write
 * (libxml2).
 * A file is exchanged as a whole (engine/base/outfile.h). */
#include <fcntl.h>
#include <libxml/xmlwriter.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "actors/report_junit_state.h"
#include "engine/base/clock.h"
#include "engine/base/outfile.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/outcome.h"
#include "engine/xd.h"

/* ---- settings ------------------------------------------------------------------------------------------ */

static const char *option(const xd_junit *j, const char *name, const char *fallback)
{
    size_t len = strlen(name);
    for (char **o = j->override; o && *o; o++)
        if (!strncmp(*o, name, len) && (*o)[len] == '=')
            return *o + len + 1;
    const char *v = xd_runview_option(j->view, name);
    return v && strcmp(v, "None") != 0 ? v : fallback;
}

static void read_settings(xd_junit *j)
{
    const char *logging = option(j, "junit_logging", "no"),
               *passing = option(j, "junit_log_passing_tests", "True");
    bool all = !strcmp(logging, "all"), both = !strcmp(logging, "out-err") || all;
    j->log = !strcmp(logging, "log") || all;
    j->out = !strcmp(logging, "system-out") || both;
    j->err = !strcmp(logging, "system-err") || both;
    j->log_passing = !(!strcasecmp(passing, "false") || !strcmp(passing, "0") || !*passing);
    j->xunit1 = strcmp(option(j, "junit_family", "xunit2"), "xunit2") != 0;
    j->only_call = !strcmp(option(j, "junit_duration_report", "total"), "call");
    j->prefix = option(j, "junitprefix", "");
}

/* ---- one item's reports, as pytest's LogXML takes them ------------------------------------------------- */

/* Closes the current test case. */
static int close_case(xd_junit *j, const xd_runview_item *i)
{
    if (!j->case_open && !j->nodes.len)
        return 0;
    if (j->writer)
        XD_TRY(xd_junit_write_case(j, i));
    j->case_open = false;
    j->duration_us = 0;
    xd_buf_clear(&j->nodes);
    return 0;
}

static int read_report(xd_junit *j, uint32_t report, xd_wire_REPORT *ret)
{
    return xd_runview_report_read(j->view, report, ret);
}

/* One try of an item: its reports up to that of its teardown. */
typedef struct attempt {
    bool     failed_call, own_call, setup_ok, teardown_failed;
    uint32_t teardown; /* its last report, XD_NO_INDEX before that */
    uint64_t told_us;
} attempt;
#define NEW_ATTEMPT                               \
    (attempt)                                     \
    {                                             \
        .setup_ok = true, .teardown = XD_NO_INDEX \
    }

static int on_failed(xd_junit *j, const xd_runview_item *i, uint32_t report, attempt *a)
{
    const xd_runview_report *r = &j->view->tests.reports[report];
    if (r->when == 't') {
        if (a->failed_call) /* an error after a failure gets a test case of its own */
            XD_TRY(close_case(j, i));
        else
            j->double_fails += j->case_open || !j->only_call;
        a->failed_call = false;
    }
    j->case_open = true;
    if (r->when == 'c' && (r->flags & XD_REP_WASXFAIL)) {
        j->skipped++;
    } else if (r->when == 'c') {
        j->failures++;
    } else {
        j->errors++;
    }
    a->failed_call = a->failed_call || r->when == 'c';
    if (!j->writer)
        return 0;
    XD_TRY(xd_junit_node_failed(j, r, report));
    return r->when == 'c' && !j->log_passing ? xd_junit_node_output(j, report) : 0;
}

static int on_one(xd_junit *j, const xd_runview_item *i, uint32_t report, attempt *a)
{
    const xd_runview_report *r = &j->view->tests.reports[report];
    if (r->outcome == 'p') {
        if (r->when == 'c') {
            j->case_open = true;
            j->passed++;
        }
    } else if (r->outcome == 'f') {
        XD_TRY(on_failed(j, i, report, a));
    } else if (r->outcome == 's') {
        j->case_open = true;
        j->skipped++;
        if (j->writer)
            XD_TRY(xd_junit_node_skipped(j, r, report));
        if (j->writer && !(r->flags & XD_REP_WASXFAIL))
            XD_TRY(xd_junit_node_output(j, report));
    }
    if (j->writer) {
        xd_wire_REPORT full;
        XD_TRY(read_report(j, report, &full));
        XD_TRY(xd_junit_keep_properties(j, &full));
        if (!j->only_call || r->when == 'c')
            *(r->subtest ? &j->duration_us : &a->told_us) += full.duration_us;
    }
    return 0;
}

/* What failed before the worker ended stands in the same test case. */
static int crashed(xd_junit *j, const xd_runview_item *i, uint32_t item)
{
    attempt a = NEW_ATTEMPT;
    for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = j->view->tests.reports[n].next) {
        const xd_runview_report *r = &j->view->tests.reports[n];
        if (r->attempt == i->attempt && !xd_bytes_eq_str(j->view->texts.names[r->category], "crashed"))
            XD_TRY(on_one(j, i, n, &a));
    }
    j->double_fails += a.failed_call;
    j->case_open = true;
    j->errors++;
    if (j->writer)
        XD_TRY(xd_junit_node_crashed(j, item));
    return close_case(j, i);
}

/* It was running when the run was ended: an error, because it may be why. */
static int interrupted(xd_junit *j, const xd_runview_item *i, uint32_t item)
{
    const xd_runview_worker *w = xd_runview_interrupted(j->view, item);
    if (!w)
        return 0;
    j->item = item;
    j->duration_us = (uint64_t)w->age_ms * 1000u;
    j->case_open = true;
    j->errors++;
    if (j->writer)
        XD_TRY(xd_junit_node_interrupted(j, item));
    return close_case(j, i);
}

/* A call that passed and has no report. */
static void count_silent_call(xd_junit *j, attempt *a)
{
    if (a->own_call || !a->setup_ok)
        return;
    a->own_call = j->case_open = true;
    j->passed++;
}

static int take_report(xd_junit *j, const xd_runview_item *i, uint32_t report, attempt *a)
{
    const xd_runview_report *r = &j->view->tests.reports[report];
    if (!r->subtest) {
        a->own_call = a->own_call || r->when == 'c';
        if ((r->when == 's' && r->outcome != 'p') || !r->when || !strchr("sct", r->when))
            a->setup_ok = false;
        a->teardown_failed = a->teardown_failed || (r->when == 't' && r->outcome == 'f');
    }
    if (r->when == 't')
        count_silent_call(j, a);
    if (r->when == 't' && !r->subtest)
        a->teardown = report;
    return on_one(j, i, report, a);
}

static int end_attempt(xd_junit *j, const xd_runview_item *i, attempt *a, uint32_t upto, uint64_t us)
{
    count_silent_call(j, a);
    j->duration_us += us;
    if (j->writer && (j->log_passing || a->teardown_failed))
        XD_TRY(xd_junit_node_output(j, upto));
    j->case_open = true; /* pytest opens one at the teardown at the latest */
    XD_TRY(close_case(j, i));
    j->duration_us = 0;
    *a = NEW_ATTEMPT;
    return 0;
}

static int walk_item(xd_junit *j, uint32_t item)
{
    const xd_runview      *v = j->view;
    const xd_runview_item *i = &v->tests.items[item];
    uint64_t us = j->only_call ? i->call_us : (uint64_t)i->setup_us + i->call_us + i->teardown_us;
    attempt  a = NEW_ATTEMPT;
    if (!i->outcome || i->outcome == XD_OUT_NOT_RUN)
        return interrupted(j, i, item);
    j->item = item;
    j->duration_us = 0;
    if (j->writer)
        XD_TRY(xd_junit_keep_attributes(j, i));
    if (xd_outcome_is_cut(i->outcome)) {
        j->duration_us = j->only_call ? 0 : us;
        return crashed(j, i, item);
    }
    for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        if (v->tests.reports[n].attempt != i->attempt)
            continue;
        if (a.teardown != XD_NO_INDEX && !(v->tests.reports[n].flags & XD_REP_CLOSES)) /* it was run again */
            XD_TRY(end_attempt(j, i, &a, a.teardown, a.told_us));
        XD_TRY(take_report(j, i, n, &a));
    }
    return end_attempt(j, i, &a, XD_NO_INDEX, us);
}

/* A file that two collectors read (its tests, its doctests) is one test case. 1 = it is, 0, -errno. */
static int same_file(xd_junit *j, uint32_t report, uint32_t next)
{
    xd_wire_REPORT one, other;
    if (!xd_junit_has(j, j->view->tests.reports[next].gateway))
        return 0;
    XD_TRY(read_report(j, next, &other));
    xd_autofree char *id = xd_bytes_dup(other.nodeid);
    if (!id)
        return -ENOMEM;
    XD_TRY(read_report(j, report, &one));
    return xd_bytes_eq_str(one.nodeid, id);
}

static int walk_collect(xd_junit *j, uint32_t at)
{
    const xd_runview        *v = j->view;
    uint32_t                 report = v->tests.collect_reports[at];
    const xd_runview_report *r = &v->tests.reports[report];
    if (r->outcome != 'f' && r->outcome != 's')
        return 0;
    j->errors += r->outcome == 'f';
    j->skipped += r->outcome == 's';
    if (!j->writer)
        return 0;
    XD_TRY(xd_junit_node_collect(j, r, report));
    int same =
        at + 1 < v->tests.collect_report_count ? same_file(j, report, v->tests.collect_reports[at + 1]) : 0;
    if (same)
        return XD_MIN(same, 0);
    XD_TRY(xd_junit_write_collect_case(j, report));
    xd_buf_clear(&j->nodes);
    j->duration_us = 0;
    return 0;
}

static int walk(xd_junit *j)
{
    const xd_runview *v = j->view;
    j->passed = j->failures = j->errors = j->skipped = j->double_fails = 0;
    if (j->suite == XD_JUNIT_ALL || j->suite == XD_JUNIT_RUN)
        XD_TRY(xd_junit_write_trouble(j));
    else
        XD_TRY(xd_junit_write_own_trouble(j, j->suite));
    for (uint32_t i = 0; i < v->tests.collect_report_count; i++)
        if (xd_junit_has(j, v->tests.reports[v->tests.collect_reports[i]].gateway))
            XD_TRY(walk_collect(j, i));
    for (uint32_t i = 0; i < v->tests.count; i++)
        if (xd_junit_has(j, v->tests.items[i].collection))
            XD_TRY(walk_item(j, i));
    return 0;
}

/* ---- the document -------------------------------------------------------------------------------------- */

static int timestamp(const xd_junit *j, char *to, size_t size)
{
    time_t    seconds = (time_t)(j->view->run.start_wall_us / 1000000u);
    struct tm tm;
    char      day[32], zone[8];
    if (!localtime_r(&seconds, &tm) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) ||
        strftime(zone, sizeof zone, "%z", &tm) != 5)
        return -EINVAL;
    snprintf(to, size, "%s.%06u%.3s:%.2s", day, (unsigned)(j->view->run.start_wall_us % 1000000u), zone,
             zone + 3);
    return 0;
}

static int attribute_number(xd_junit *j, const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return xd_junit_attribute(j, name, xd_bytes_str(text));
}

static int suite_name(xd_junit *j, xd_bytes environment)
{
    xd_autobuf name = XD_BUF_INIT;
    XD_TRY(xd_buf_add_str(&name, option(j, "junit_suite_name", j->view->config.grammar->runner)));
    if (environment.len) {
        XD_TRY(xd_buf_add_str(&name, " ["));
        XD_TRY(xd_buf_add_bytes(&name, environment));
        XD_TRY(xd_buf_add_byte(&name, ']'));
    }
    return xd_junit_attribute(j, "name", xd_buf_view(&name));
}

/* One suite: its tests are walked twice, to count and to write. */
static int suite(xd_junit *j, uint32_t which, xd_bytes environment, xd_bytes hostname)
{
    xmlTextWriterPtr writer = j->writer;
    char             when[64] = "", duration[32];
    j->suite = which;
    j->writer = NULL;
    int r = walk(j);
    j->writer = writer;
    XD_TRY(r);
    if (which == XD_JUNIT_RUN && !j->errors)
        return 0;
    xd_format(duration, sizeof duration, "%.3f", (double)j->view->run.duration_us / 1e6);
    XD_TRY(timestamp(j, when, sizeof when));
    XD_TRY(xd_junit_start(j, "testsuite"));
    XD_TRY(suite_name(j, environment));
    XD_TRY(attribute_number(j, "errors", j->errors));
    XD_TRY(attribute_number(j, "failures", j->failures));
    XD_TRY(attribute_number(j, "skipped", j->skipped));
    XD_TRY(attribute_number(j, "tests", j->passed + j->failures + j->skipped + j->errors - j->double_fails));
    XD_TRY(xd_junit_attribute(j, "time", xd_bytes_str(duration)));
    XD_TRY(xd_junit_attribute(j, "timestamp", xd_bytes_str(when)));
    XD_TRY(xd_junit_attribute(j, "hostname", hostname));
    XD_TRY(xd_junit_write_suite_properties(j));
    XD_TRY(walk(j));
    return xd_junit_end(j);
}

/* Where each environment has tests of its own, a suite for each that came up. */
static int suites(xd_junit *j, xd_bytes hostname)
{
    const xd_runview *v = j->view;
    if (!v->collection.each)
        return suite(j, XD_JUNIT_ALL, (xd_bytes){ 0 }, hostname);
    XD_TRY(suite(j, XD_JUNIT_RUN, (xd_bytes){ 0 }, hostname));
    for (uint32_t i = 0; i < v->envs.count; i++) {
        const xd_runview_env *env = &v->envs.envs[i];
        if (env->spec.len)
            XD_TRY(suite(j, i, env->spec, env->host.len ? env->host : hostname));
    }
    return 0;
}

static int document(xd_junit *j)
{
    char     host[256] = "";
    xd_bytes hostname = j->view->envs.hostname;
    if (!hostname.len) {
        if (!j->hostname)
            gethostname(host, sizeof host - 1);
        hostname = xd_bytes_str(j->hostname ? j->hostname : host);
    }
    XD_TRY(xd_junit_raw(j, "<?xml version=\"1.0\" encoding=\"utf-8\"?>"));
    XD_TRY(xd_junit_start(j, "testsuites"));
    xd_autobuf tests = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&tests, "%s tests", j->view->config.grammar->runner));
    XD_TRY(xd_junit_attribute(j, "name", xd_buf_view(&tests)));
    XD_TRY(suites(j, hostname));
    return xd_junit_end(j);
}

typedef struct xml_target {
    int fd, fault; /* fault: -errno of the first */
} xml_target;

/* A fault is kept for write_document(): libxml2 would print a line of its own about it. */
static int write_fd(void *context, const char *data, int len)
{
    xml_target *to = context;
    for (int done = 0; done < len && to->fault == 0;) {
        ssize_t n = write(to->fd, data + done, (size_t)(len - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            to->fault = n < 0 ? -errno : -EIO;
        else
            done += (int)n;
    }
    return len;
}

static int write_document(xd_junit *j, int fd)
{
    xml_target         to = { .fd = fd };
    xmlOutputBufferPtr out = xmlOutputBufferCreateIO(write_fd, NULL, &to, NULL);
    if (!out)
        return -ENOMEM;
    j->writer = xmlNewTextWriter(out); /* owns out */
    if (!j->writer) {
        xmlOutputBufferClose(out);
        return -ENOMEM;
    }
    int r = document(j);
    if (r == 0 && xmlTextWriterFlush(j->writer) < 0)
        r = -EIO;
    xmlFreeTextWriter(j->writer);
    j->writer = NULL;
    return to.fault ? to.fault : r;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

/* The file: as told, else CONFIG's xmlpath against the directory pytest was called in; NULL = none. */
static int target(const xd_junit *j, char **ret)
{
    const char *path = j->path ? j->path : option(j, "xmlpath", NULL);
    *ret = NULL;
    if (!path && j->view->config.home == XD_NO_INDEX && j->view->run.exit_status == XD_EXIT_INFRASTRUCTURE)
        path = j->early; /* a file of an earlier run must not stand for this one */
    if (!path || !*path)
        return 0;
    *ret = xd_path_join(
        j->view->config.invocation_dir.len ? (const char *)j->view->config.invocation_dir.ptr : ".", path);
    return *ret ? 0 : -ENOMEM;
}

static int write_file(xd_junit *j, const char *path, xd_error *err)
{
    xd_autofree char *dir = xd_path_dir(path);
    xd_outfile        file = XD_OUTFILE_INIT;
    if (!dir)
        return -ENOMEM;
    XD_TRY(xd_path_mkdirs(dir, 0777, err));
    XD_TRY(xd_outfile_open(&file, path, err));
    int r = write_document(j, file.fd);
    if (r < 0) {
        xd_outfile_abandon(&file);
        return xd_error_set(err, r, "cannot write %s: %s", path, xd_error_name(r));
    }
    return xd_outfile_commit(&file, path, err);
}

static int junit_finish(void *self, xd_error *err)
{
    xd_junit         *j = XD_CAST(self, xd_junit, XD_JUNIT_MAGIC);
    xd_autofree char *path = NULL;
    read_settings(j);
    if (j->fd >= 0) {
        int r = write_document(j, j->fd);
        return r < 0 ? xd_error_set(err, r, "cannot write the XML report: %s", xd_error_name(r)) : 0;
    }
    XD_TRY(target(j, &path));
    return path ? write_file(j, path, err) : 0;
}

static int junit_frame(void *self, const xd_frame *frame, uint64_t offset)
{
    (void)offset;
    return xd_junit_note_trouble(XD_CAST(self, xd_junit, XD_JUNIT_MAGIC), frame);
}

static void junit_close(void *self)
{
    xd_junit *j = self;
    if (!j)
        return;
    for (char **o = j->override; o && *o; o++)
        free(*o);
    free(j->override);
    free(j->path);
    free(j->hostname);
    free(j->early);
    xd_buf_release(&j->trouble);
    xd_buf_release(&j->nodes);
    xd_buf_release(&j->properties);
    xd_buf_release(&j->attributes);
    xd_buf_release(&j->text);
    xd_buf_release(&j->clean);
    free(j);
}

static int junit_open(const void *args, const xd_runview *view, void **ret_self, xd_error *err)
{
    const xd_report_junit_options *options = args;
    xd_junit                      *j = calloc(1, sizeof *j);
    size_t                         n = 0;
    if (!j)
        return -ENOMEM;
    *j = (xd_junit){ .magic = XD_JUNIT_MAGIC, .view = view, .fd = options->path ? -1 : options->fd };
    while (options->override && options->override[n])
        n++;
    bool ok = (j->override = calloc(n + 1, sizeof *j->override)) != NULL;
    for (size_t i = 0; i < n && ok; i++)
        ok = (j->override[i] = strdup(options->override[i])) != NULL;
    ok = ok && (!options->path || (j->path = strdup(options->path)));
    ok = ok && (!options->early_path || (j->early = strdup(options->early_path)));
    ok = ok && (!options->hostname || (j->hostname = strdup(options->hostname)));
    if (!ok) {
        junit_close(j);
        return xd_error_set(err, -ENOMEM, "XML report: out of memory");
    }
    *ret_self = j;
    return 0;
}

int xd_report_junit_refused(const char *path, const char *text, xd_error *err)
{
    xd_runview              view;
    xd_report_junit_options options = XD_REPORT_JUNIT_OPTIONS_INIT;
    void                   *self = NULL;
    options.path = path;
    int r = xd_runview_init(&view, (xd_runview_source){ 0 });
    if (r == 0) {
        view.run.over = true;
        view.run.exit_status = XD_EXIT_INFRASTRUCTURE;
        view.run.start_wall_us = xd_clock_wall_us();
        r = junit_open(&options, &view, &self, err);
    }
    if (r == 0)
        r = xd_buf_add_str(&((xd_junit *)self)->trouble, text);
    if (r == 0)
        r = junit_finish(self, err);
    junit_close(self);
    xd_runview_release(&view);
    return r;
}

const xd_report_ops xd_report_junit_ops = {
    .name = "junit", .open = junit_open, .frame = junit_frame, .finish = junit_finish, .close = junit_close
};
