/* actors/run_info.c - xd_run_describe of engine/xd.h: what a run is, from the head and the end of its journal; the whole is
 * read only where the end does not tell. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/runview.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/journal.h"
#include "engine/runs.h"

#define OUTCOMES (XD_OUT_NOT_RUN + 1)

typedef struct info {
    json_t  *o; /* NULL once memory was out */
    uint64_t counts[OUTCOMES], collected;
    bool     over;
} info;

static void set(info *i, const char *key, json_t *value)
{
    if (!i->o || !value || json_object_set_new(i->o, key, value) < 0) {
        json_decref(i->o);
        i->o = NULL;
    }
}

static json_t *string(xd_bytes text)
{
    xd_autobuf clean = XD_BUF_INIT;
    if (xd_text_to_utf8(&clean, text) < 0)
        return NULL;
    return json_stringn(clean.len ? (const char *)clean.data : "", clean.len);
}

static json_t *strings(xd_wire_list list)
{
    json_t      *all = json_array();
    xd_wire_TEXT t;
    while (all && xd_wire_TEXT_next(&list, &t) == 1)
        if (json_array_append_new(all, string(t.text)) < 0) {
            json_decref(all);
            all = NULL;
        }
    return all;
}

static json_t *time_text(uint64_t wall_us)
{
    time_t    seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    char      day[32], text[48];
    if (!gmtime_r(&seconds, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
        return json_null();
    snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned)(wall_us / 1000 % 1000));
    return json_string(text);
}

static void take_end(info *i, const xd_wire_RUN_END *end)
{
    i->over = true;
    set(i, "exit_code", json_integer(end->exit_status));
    set(i, "reason", string(end->reason));
    set(i, "duration", json_real((double)end->duration_us / 1e6));
    if (!end->counted)
        return;
    i->collected = end->collected;
    const uint32_t counts[OUTCOMES] = {
        [XD_OUT_PASSED] = end->passed,   [XD_OUT_FAILED] = end->failed,   [XD_OUT_SKIPPED] = end->skipped,
        [XD_OUT_XFAILED] = end->xfailed, [XD_OUT_XPASSED] = end->xpassed, [XD_OUT_ERROR] = end->errors,
        [XD_OUT_CRASHED] = end->crashed, [XD_OUT_NOT_RUN] = end->not_run
    };
    uint64_t known = 0;
    for (int k = 0; k < OUTCOMES; k++)
        known += i->counts[k] = counts[k];
    i->counts[XD_OUT_LOST] = end->collected > known ? end->collected - known : 0; /* the rest of them */
}

static int read_back(void *arg, uint64_t offset, xd_frame *ret)
{
    return xd_journal_reader_at(arg, offset, ret);
}

/* From all of the journal: it is cut off, still grows, or is of an xd that did not count at the end. */
static int count_all(info *i, xd_journal_reader *r)
{
    xd_runview view;
    xd_frame   f;
    uint64_t   offset;
    XD_TRY(xd_runview_init(&view, (xd_runview_source){ .read = read_back, .arg = r }));
    int got = 1;
    while (got == 1 && (got = xd_journal_reader_next(r, &f, &offset)) == 1) {
        int taken = xd_runview_frame(&view, offset, &f, NULL, NULL);
        got = taken < 0 ? taken : 1;
    }
    i->collected = view.collection.collected;
    for (uint32_t k = 0; k < view.tests.count; k++)
        i->counts[view.tests.items[k].outcome < OUTCOMES ? view.tests.items[k].outcome : 0]++;
    xd_runview_release(&view);
    return got == -ENOMEM ? got : 0;
}

static void set_tests(info *i)
{
    json_t *tests = json_object();
    bool    whole =
        tests && json_object_set_new(tests, "collected", json_integer((json_int_t)i->collected)) == 0;
    for (uint8_t k = XD_OUT_PASSED; k < OUTCOMES && whole; k++)
        whole = json_object_set_new(tests, xd_runview_outcome_name(k),
                                    json_integer((json_int_t)i->counts[k])) == 0;
    if (whole) {
        set(i, "tests", tests);
        return;
    }
    json_decref(tests);
    set(i, "tests", NULL);
}

static int describe(info *i, const char *dir, xd_journal_reader *r)
{
    xd_autofree char *project = NULL, *cwd = NULL;
    xd_frame          f;
    xd_wire_RUN_START start;
    xd_wire_RUN_END   end;
    XD_TRY(xd_runs_project(dir, &project, &cwd));
    set(i, "id", json_string(xd_journal_reader_run_id(r)));
    set(i, "dir", string(xd_bytes_str(dir)));
    set(i, "project", string(xd_bytes_str(project)));
    set(i, "cwd", string(xd_bytes_str(cwd)));
    if (xd_journal_reader_next(r, &f, NULL) == 1 && f.type == XD_MSG_RUN_START &&
        xd_wire_RUN_START_decode(f.body, f.len, &start) == 0) {
        set(i, "arguments", strings(start.argv));
        set(i, "version", string(start.version));
        set(i, "started", time_text(start.wall_us));
    }
    set(i, "exit_code", json_null());
    set(i, "duration", json_null());
    set(i, "reason", json_string(""));
    int  got = xd_journal_reader_last(r, XD_MSG_RUN_END, &f);
    bool counted = false;
    if (got == 0 && xd_wire_RUN_END_decode(f.body, f.len, &end) == 0) {
        take_end(i, &end);
        counted = end.counted;
    }
    if (!counted)
        XD_TRY(count_all(i, r));
    set(i, "state", json_string(i->over ? "finished" : xd_runs_is_running(dir) ? "running" : "cut off"));
    set_tests(i);
    return i->o ? 0 : -ENOMEM;
}

int xd_run_describe(const char *dir, char **ret_json, char *err)
{
    xd_error          e = { 0 };
    xd_autofree char *path = xd_path_join(dir, "journal");
    xd_auto(xd_journal_reader) *r = NULL;
    info  i = { .o = json_object() };
    char *text = NULL;
    int   got = path ? xd_journal_reader_open(&r, path, &e) : -ENOMEM;
    if (got == 0)
        got = describe(&i, dir, r);
    if (got == 0 && !(text = json_dumps(i.o, JSON_COMPACT | JSON_REAL_PRECISION(15))))
        got = -ENOMEM;
    json_decref(i.o);
    if (got < 0) {
        if (err)
            snprintf(err, XD_TEXT, "%.1000s", e.text[0] ? e.text : xd_error_name(got));
        return got;
    }
    *ret_json = text;
    return 0;
}
