/* actors/report_junit_nodes.c - elements of one test case. They are collected as records (tag, type, message,
 * text: each a u32 length and data; length XD_NO_INDEX = there is none) because the attributes of the
 * case, written first, are known last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/report_junit_state.h"
#include "engine/base/hash.h"
#include "engine/outcome.h"

#define PYTEST_COLUMNS 80

static const xd_bytes none = { NULL, XD_NO_INDEX };

static int put_part(xd_buf *to, xd_bytes part)
{
    uint32_t len = (uint32_t)part.len;
    XD_TRY(xd_buf_add(to, &len, sizeof len));
    return part.ptr && part.len ? xd_buf_add(to, part.ptr, part.len) : 0;
}

static xd_bytes take_part(xd_bytes *from)
{
    uint32_t len;
    memcpy(&len, from->ptr, sizeof len);
    size_t   n = len == XD_NO_INDEX ? 0 : len;
    xd_bytes part = { len == XD_NO_INDEX ? NULL : from->ptr + sizeof len, n };
    *from = (xd_bytes){ from->ptr + sizeof len + n, from->len - sizeof len - n };
    return part;
}

static int add_node(xd_junit *j, const char *tag, xd_bytes type, xd_bytes message, xd_bytes text)
{
    XD_TRY(put_part(&j->nodes, xd_bytes_str(tag)));
    XD_TRY(put_part(&j->nodes, type));
    XD_TRY(put_part(&j->nodes, message));
    return put_part(&j->nodes, text);
}

static xd_bytes without(xd_bytes text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.len >= n && !memcmp(text.ptr, prefix, n) ? (xd_bytes){ text.ptr + n, text.len - n } : text;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* str() of pytest's representation has no blank around it; one that is a string (it is the message, too)
 * stays as it is. */
static xd_bytes stripped(xd_bytes text, xd_bytes message)
{
    if (message.len && text.len >= message.len && text.len <= message.len + 1 &&
        !memcmp(text.ptr, message.ptr, message.len))
        return message;
    while (text.len && is_space(text.ptr[text.len - 1]))
        text.len--;
    while (text.len && is_space(text.ptr[0]))
        text = (xd_bytes){ text.ptr + 1, text.len - 1 };
    return text;
}

/* The text of a report without pytest's colours, in `room` where it had some. */
static int plain_text(const xd_wire_REPORT *r, xd_buf *room, xd_bytes *ret)
{
    XD_TRY(xd_runview_plain_text(r, room, ret));
    *ret = stripped(*ret, r->message);
    return 0;
}

/* A message as this pytest writes it: whole before 9.2. */
static int put_message(xd_junit *j, xd_buf *to, xd_bytes message)
{
    return xd_runview_pytest_from(j->view, 9, 2) ? xd_junit_shorten(to, message)
                                                 : xd_buf_add_bytes(to, message);
}

int xd_junit_node_failed(xd_junit *j, const xd_runview_report *r, uint32_t report)
{
    xd_wire_REPORT full;
    xd_autobuf     message = XD_BUF_INIT, whole = XD_BUF_INIT, room = XD_BUF_INIT;
    xd_bytes       text;
    if (r->when == 'c' && (r->flags & XD_REP_WASXFAIL))
        return add_node(j, "skipped", none, XD_BYTES_LIT("xfail-marked test passes unexpectedly"), none);
    XD_TRY(xd_runview_report_read(j->view, report, &full));
    XD_TRY(plain_text(&full, &room, &text));
    xd_bytes reason = full.message.len ? full.message : text;
    if (r->when == 'c') {
        XD_TRY(put_message(j, &message, reason));
        return add_node(j, "failure", none, xd_buf_view(&message), text);
    }
    const char *when = r->when == 't' ? "teardown" : "setup";
    if (!xd_runview_pytest_from(j->view, 6, 0)) {
        XD_TRY(xd_buf_printf(&whole, "test %s failure", when));
        return add_node(j, "error", none, xd_buf_view(&whole), text);
    }
    XD_TRY(xd_buf_printf(&whole, "failed on %s with \"", when));
    XD_TRY(xd_buf_add_bytes(&whole, reason));
    XD_TRY(xd_buf_add_byte(&whole, '"'));
    XD_TRY(put_message(j, &message, xd_buf_view(&whole)));
    return add_node(j, "error", none, xd_buf_view(&message), text);
}

int xd_junit_node_skipped(xd_junit *j, const xd_runview_report *r, uint32_t report)
{
    xd_wire_REPORT full;
    xd_autobuf     type = XD_BUF_INIT;
    XD_TRY(xd_runview_report_read(j->view, report, &full));
    XD_TRY(xd_buf_printf(&type, "%s.%s", j->view->config.grammar->runner,
                         r->flags & XD_REP_WASXFAIL ? "xfail" : "skip"));
    if (r->flags & XD_REP_WASXFAIL)
        return add_node(j, "skipped", xd_buf_view(&type), without(full.message, "reason: "), none);
    xd_autobuf details = XD_BUF_INIT;
    xd_bytes   reason = without(full.message, "Skipped: ");
    XD_TRY(xd_buf_add_bytes(&details, full.path));
    XD_TRY(xd_buf_printf(&details, ":%d: ", full.line + 1));
    XD_TRY(xd_buf_add_bytes(&details, reason));
    return add_node(j, "skipped", xd_buf_view(&type), reason, xd_buf_view(&details));
}

int xd_junit_node_collect(xd_junit *j, const xd_runview_report *r, uint32_t report)
{
    xd_wire_REPORT full;
    XD_TRY(xd_runview_report_read(j->view, report, &full));
    if (r->outcome == 'f') {
        xd_autobuf room = XD_BUF_INIT;
        xd_bytes   text;
        XD_TRY(plain_text(&full, &room, &text));
        return add_node(j, "error", none, XD_BYTES_LIT("collection failure"), text);
    }
    xd_autobuf tuple = XD_BUF_INIT, said = XD_BUF_INIT; /* pytest prints the tuple as Python does */
    XD_TRY(xd_buf_add_byte(&tuple, '('));
    XD_TRY(xd_junit_repr(&tuple, full.path));
    XD_TRY(xd_buf_printf(&tuple, ", %d, ", full.line + 1));
    XD_TRY(xd_buf_printf(&said, "Skipped%s", full.message.len ? ": " : ""));
    XD_TRY(xd_buf_add_bytes(&said, full.message));
    XD_TRY(xd_junit_repr(&tuple, xd_buf_view(&said)));
    XD_TRY(xd_buf_add_byte(&tuple, ')'));
    return add_node(j, "skipped", none, XD_BYTES_LIT("collection skipped"), xd_buf_view(&tuple));
}

int xd_junit_node_interrupted(xd_junit *j, uint32_t item)
{
    const xd_runview        *v = j->view;
    const xd_runview_worker *w = xd_runview_interrupted(v, item);
    xd_autobuf               text = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&text, "worker '%s' was still running '",
                         xd_runview_worker_name(v, (uint32_t)(w - v->envs.workers)).text));
    XD_TRY(xd_buf_add_bytes(&text, v->tests.items[item].id));
    XD_TRY(xd_buf_printf(&text, "' after %s%u.%03u s when the run ended", v->run.over ? "" : "at least ",
                         w->age_ms / 1000, w->age_ms % 1000));
    return add_node(j, "error", none, XD_BYTES_LIT("interrupted while running"), xd_buf_view(&text));
}

int xd_junit_node_crashed(xd_junit *j, uint32_t item)
{
    const xd_runview      *v = j->view;
    const xd_runview_item *i = &v->tests.items[item];
    xd_autobuf             message = XD_BUF_INIT, text = XD_BUF_INIT;
    XD_TRY(xd_runview_sentence(v, i, &message));
    if (i->down != XD_NO_INDEX) {
        xd_frame            frame;
        xd_wire_WORKER_DOWN down;
        XD_TRY(v->source.read(v->source.arg, v->notes.downs.at[i->down].offset, &frame));
        XD_TRY(xd_wire_WORKER_DOWN_decode(frame.body, frame.len, &down));
        XD_TRY(xd_buf_add_str(&message, ": "));
        XD_TRY(xd_outcome_reason(&message, &down));
        XD_TRY(xd_buf_add_bytes(&text, xd_buf_view(&message)));
        if (down.last_output.len) {
            XD_TRY(xd_buf_add_str(&text, "\n\n"));
            XD_TRY(xd_buf_add_bytes(&text, down.last_output));
        }
    } else {
        XD_TRY(xd_buf_add_bytes(&text, xd_buf_view(&message)));
    }
    return add_node(j, "error", none, xd_buf_view(&message), xd_buf_view(&text));
}

/* ---- captured output ----------------------------------------------------------------------------------- */

static int centred(xd_buf *to, const char *title)
{
    size_t len = strlen(title), left = (PYTEST_COLUMNS - len) / 2;
    XD_TRY(xd_buf_fill(to, '-', left));
    XD_TRY(xd_buf_add_str(to, title));
    XD_TRY(xd_buf_fill(to, '-', PYTEST_COLUMNS - len - left));
    return xd_buf_add_byte(to, '\n');
}

/* All sections of the item whose title begins so. */
static int gather(xd_junit *j, uint32_t upto, const char *prefix, const char *title, const char *between)
{
    const xd_runview      *v = j->view;
    const xd_runview_item *i = &v->tests.items[j->item];
    bool                   first = true;
    XD_TRY(centred(&j->text, title));
    for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        xd_wire_REPORT r;
        xd_wire_PAIR   s;
        if (v->tests.reports[n].attempt != i->attempt || v->tests.reports[n].subtest)
            continue;
        XD_TRY(xd_runview_report_read(v, n, &r));
        xd_wire_list list = r.sections;
        while (xd_wire_PAIR_next(&list, &s) == 1) {
            if (s.name.len < strlen(prefix) || memcmp(s.name.ptr, prefix, strlen(prefix)) != 0)
                continue;
            if (!first)
                XD_TRY(xd_buf_add_str(&j->text, between));
            first = false;
            XD_TRY(xd_buf_add_bytes(&j->text, s.value));
        }
        if (n == upto)
            break;
    }
    return xd_buf_add_byte(&j->text, '\n');
}

static int put_output(xd_junit *j, const char *tag)
{
    int r = add_node(j, tag, none, none, xd_buf_view(&j->text));
    xd_buf_clear(&j->text);
    return r;
}

int xd_junit_node_output(xd_junit *j, uint32_t upto)
{
    xd_buf_clear(&j->text);
    if (j->log)
        XD_TRY(gather(j, upto, "Captured log", " Captured Log ", "\n"));
    if (j->out) {
        XD_TRY(gather(j, upto, "Captured stdout", " Captured Out ", ""));
        XD_TRY(put_output(j, "system-out"));
    }
    if (j->err) {
        XD_TRY(gather(j, upto, "Captured stderr", " Captured Err ", ""));
        XD_TRY(put_output(j, "system-err"));
    }
    return j->text.len ? put_output(j, "system-out") : 0;
}

/* ---- properties and attributes ------------------------------------------------------------------------- */

static int put_pair(xd_buf *to, xd_bytes name, xd_bytes value)
{
    XD_TRY(put_part(to, name));
    return put_part(to, value);
}

int xd_junit_keep_properties(xd_junit *j, const xd_wire_REPORT *r)
{
    xd_wire_list list = r->properties;
    xd_wire_PAIR one;
    while (xd_wire_PAIR_next(&list, &one) == 1)
        XD_TRY(put_pair(&j->properties, one.name, one.value));
    return 0;
}

/* An attribute whose name XML does not allow becomes a property: pytest's file could not be read then. */
int xd_junit_keep_attributes(xd_junit *j, const xd_runview_item *i)
{
    const xd_runview *v = j->view;
    for (uint32_t n = i->first_report; n != XD_NO_INDEX; n = v->tests.reports[n].next) {
        xd_wire_REPORT r;
        xd_wire_PAIR   one;
        if (v->tests.reports[n].attempt != i->attempt)
            continue;
        XD_TRY(xd_runview_report_read(v, n, &r));
        xd_wire_list list = r.attributes;
        while (xd_wire_PAIR_next(&list, &one) == 1) {
            xd_autofree char *name = xd_bytes_dup(one.name);
            if (!name)
                return -ENOMEM;
            bool legal = xmlValidateName(BAD_CAST name, 0) == 0 && strlen(name) == one.name.len;
            XD_TRY(put_pair(legal ? &j->attributes : &j->properties, one.name, one.value));
        }
    }
    return 0;
}

static int write_property(xd_junit *j, xd_bytes name, xd_bytes value)
{
    XD_TRY(xd_junit_start(j, "property"));
    XD_TRY(xd_junit_attribute(j, "name", name));
    XD_TRY(xd_junit_attribute(j, "value", value));
    return xd_junit_end(j);
}

static int write_properties(xd_junit *j)
{
    xd_bytes at = xd_buf_view(&j->properties);
    if (!at.len)
        return 0;
    XD_TRY(xd_junit_start(j, "properties"));
    while (at.len) {
        xd_bytes name = take_part(&at), value = take_part(&at);
        XD_TRY(write_property(j, name, value));
    }
    xd_buf_clear(&j->properties);
    return xd_junit_end(j);
}

/* Who told a property of the run first. */
typedef struct teller {
    uint16_t       worker;
    UT_hash_handle hh;
    uint8_t        pair[]; /* name and value, as put_pair writes them */
} teller;

/* The same pair again comes from the same session fixture on another worker, and is not written again. 1 = it is
 * to be written. */
static int tell_once(teller **all, const xd_wire_SUITE_PROPERTY *p)
{
    xd_autobuf pair = XD_BUF_INIT;
    teller    *t;
    XD_TRY(put_pair(&pair, p->name, p->value));
    HASH_FIND(hh, *all, pair.data, pair.len, t);
    if (t)
        return t->worker == p->worker;
    t = malloc(sizeof(*t) + pair.len);
    if (!t)
        return -ENOMEM;
    t->worker = p->worker;
    memcpy(t->pair, pair.data, pair.len);
    HASH_ADD_KEYPTR(hh, *all, t->pair, pair.len, t);
    if (t->hh.tbl)
        return 1;
    free(t);
    return -ENOMEM;
}

static int write_suite_properties(xd_junit *j, teller **all)
{
    const xd_runview *v = j->view;
    for (uint32_t i = 0; i < v->notes.properties.count; i++) {
        if (!xd_junit_has(j, v->notes.properties.at[i].gateway))
            continue;
        xd_frame               frame;
        xd_wire_SUITE_PROPERTY p;
        XD_TRY(v->source.read(v->source.arg, v->notes.properties.at[i].offset, &frame));
        XD_TRY(xd_wire_SUITE_PROPERTY_decode(frame.body, frame.len, &p));
        int once = tell_once(all, &p);
        XD_TRY(once);
        if (once)
            XD_TRY(write_property(j, p.name, p.value));
    }
    return 0;
}

int xd_junit_write_suite_properties(xd_junit *j)
{
    teller *all = NULL, *t, *next;
    bool    any = false;
    for (uint32_t i = 0; i < j->view->notes.properties.count; i++)
        any = any || xd_junit_has(j, j->view->notes.properties.at[i].gateway);
    if (!any)
        return 0;
    XD_TRY(xd_junit_start(j, "properties"));
    int r = write_suite_properties(j, &all);
    HASH_ITER(hh, all, t, next)
    {
        HASH_DEL(all, t);
        free(t);
    }
    return r < 0 ? r : xd_junit_end(j);
}

/* ---- the case ------------------------------------------------------------------------------------------ */

/* The test's own value of an attribute, if it gave one: the last. */
static bool given(const xd_junit *j, const char *name, xd_bytes *ret)
{
    xd_bytes at = xd_buf_view(&j->attributes);
    bool     found = false;
    while (at.len) {
        xd_bytes key = take_part(&at), value = take_part(&at);
        if (xd_bytes_eq_str(key, name)) {
            *ret = value;
            found = true;
        }
    }
    return found;
}

/* An attribute that every test case has. */
static int usual(xd_junit *j, const char *name, xd_bytes value)
{
    (void)given(j, name, &value);
    return xd_junit_attribute(j, name, value);
}

/* The test's other attributes; the family xunit2 has no place for them. */
static int write_others(xd_junit *j)
{
    xd_bytes at = xd_buf_view(&j->attributes), rest, value, later;
    while (at.len && j->xunit1) {
        xd_bytes key = take_part(&at);
        value = take_part(&at);
        xd_autofree char *name = xd_bytes_dup(key);
        if (!name)
            return -ENOMEM;
        bool again = false;
        for (rest = at; rest.len;) {
            later = take_part(&rest);
            (void)take_part(&rest);
            again |= xd_bytes_eq(later, key);
        }
        if (!again && strcmp(name, "classname") != 0 && strcmp(name, "name") != 0 &&
            strcmp(name, "file") != 0 && strcmp(name, "line") != 0 && strcmp(name, "time") != 0)
            XD_TRY(xd_junit_attribute(j, name, value));
    }
    return 0;
}

/* Where every environment has its own tests, the name ends with the environment: readers of the file know a test case by
 * its names. */
static int names(xd_junit *j, xd_bytes nodeid, xd_bytes environment)
{
    xd_autobuf class = XD_BUF_INIT, name = XD_BUF_INIT;
    XD_TRY(j->view->config.grammar->address(nodeid, j->prefix, !xd_runview_pytest_from(j->view, 9, 2), &class,
                                            &name));
    if (environment.len)
        XD_TRY(xd_buf_printf(&name, "[%.*s]", (int)environment.len, (const char *)environment.ptr));
    XD_TRY(usual(j, "classname", xd_buf_view(&class)));
    return usual(j, "name", xd_buf_view(&name));
}

static int write_nodes(xd_junit *j)
{
    xd_bytes at = xd_buf_view(&j->nodes);
    while (at.len) {
        xd_bytes tag = take_part(&at), type = take_part(&at), message = take_part(&at), text = take_part(&at);
        char     name[16];
        snprintf(name, sizeof name, "%.*s", (int)tag.len, (const char *)tag.ptr);
        XD_TRY(xd_junit_start(j, name));
        if (type.ptr)
            XD_TRY(xd_junit_attribute(j, "type", type));
        if (message.ptr)
            XD_TRY(xd_junit_attribute(j, "message", message));
        if (text.len)
            XD_TRY(xd_junit_text(j, text));
        XD_TRY(xd_junit_end(j));
    }
    return 0;
}

static int write_case(xd_junit *j, xd_bytes nodeid, xd_bytes environment, xd_bytes file, int32_t line)
{
    char number[32];
    XD_TRY(xd_junit_start(j, "testcase"));
    XD_TRY(names(j, nodeid, environment));
    if (j->xunit1) {
        XD_TRY(usual(j, "file", file));
        snprintf(number, sizeof number, "%d", line);
        xd_bytes at = xd_bytes_str(number);
        if (given(j, "line", &at) || line >= 0)
            XD_TRY(xd_junit_attribute(j, "line", at));
    }
    XD_TRY(write_others(j));
    xd_buf_clear(&j->attributes);
    xd_format(number, sizeof number, "%.3f", (double)j->duration_us / 1e6);
    XD_TRY(xd_junit_attribute(j, "time", xd_bytes_str(number)));
    XD_TRY(write_properties(j));
    XD_TRY(write_nodes(j));
    return xd_junit_end(j);
}

int xd_junit_write_case(xd_junit *j, const xd_runview_item *i)
{
    xd_bytes file = i->file.len ? i->file : (xd_bytes){ i->id.ptr, j->view->config.grammar->unit(i->id) };
    return write_case(j, i->id, xd_runview_environment(j->view, (uint32_t)(i - j->view->tests.items)), file,
                      i->line);
}

int xd_junit_write_collect_case(xd_junit *j, uint32_t report)
{
    xd_wire_REPORT r;
    xd_autobuf     id = XD_BUF_INIT;
    XD_TRY(xd_runview_report_read(j->view, report, &r));
    XD_TRY(xd_buf_add_bytes(&id, r.nodeid));
    return write_case(j, xd_buf_view(&id), xd_runview_environment_of_report(j->view, report),
                      xd_buf_view(&id), -1);
}
