/* actors/last_failed.c - see last_failed.h. */
#include "actors/last_failed.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/report_paths.h"
#include "actors/runview.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/journal.h"
#include "engine/outcome.h"
#include "engine/runs.h"
#include "engine/xspec.h"

/* ---- the journal ---------------------------------------------------------------------------------------- */

static int read_back(void *arg, uint64_t offset, xd_frame *ret)
{
    return xd_journal_reader_at(arg, offset, ret);
}

/* Its folders are those of this host. */
static bool is_here(const xd_runview *view, uint16_t gateway)
{
    xd_autofree char *text = xd_bytes_dup(xd_runview_spec(view, gateway));
    xd_xspec          spec;
    char             *number = text ? strstr(text, " #") : NULL;
    if (number && strspn(number + 2, "0123456789") == strlen(number + 2))
        *number = 0; /* --dist each-worker: one of several of this spec */
    if (!text || !*text || xd_xspec_parse(&spec, text, NULL) < 0)
        return false;
    const bool here = spec.kind == XD_SPEC_POPEN;
    xd_xspec_release(&spec);
    return here;
}

/* The environment that keeps the cache says where. Of one on another host, only what is in a copy of a folder here is here, too. */
static int take_cache_dir(const xd_frame *f, const xd_runview *view, const xd_report_paths *paths, char **at)
{
    xd_autobuf     room = XD_BUF_INIT;
    xd_wire_CONFIG in;
    xd_wire_PAIR   p;
    xd_bytes       dir;
    if (*at || xd_wire_CONFIG_decode(f->body, f->len, &in) < 0)
        return 0;
    while (xd_wire_PAIR_next(&in.options, &p) == 1) {
        if (!xd_bytes_eq_str(p.name, "cache_dir") || !p.value.len || p.value.ptr[0] != '/')
            continue;
        XD_TRY(xd_pathmap_text(xd_report_paths_of(paths, f->flags), p.value, XD_PATHMAP_ALL, &room, &dir));
        if (dir.ptr == p.value.ptr && !is_here(view, f->flags))
            return 0;
        return (*at = xd_bytes_dup(dir)) ? 0 : -ENOMEM;
    }
    return 0;
}

/* As far as it goes: a damaged end ends it. */
static int fold(xd_journal_reader *r, xd_runview *view, xd_report_paths *paths, char **ret_cache)
{
    xd_frame f;
    uint64_t offset;
    int      got;
    while ((got = xd_journal_reader_next(r, &f, &offset)) == 1) {
        XD_TRY(xd_report_paths_take(paths, &f));
        if (f.type == XD_MSG_CONFIG)
            XD_TRY(take_cache_dir(&f, view, paths, ret_cache));
        int taken = xd_runview_frame(view, offset, &f, NULL, NULL);
        XD_TRY(taken);
    }
    return got == -ENOMEM ? got : 0;
}

static bool has_failed(const xd_runview *view, const xd_runview_item *i)
{
    if (xd_outcome_fails(i->outcome))
        return true;
    for (uint32_t at = i->first_report; at != XD_NO_INDEX; at = view->tests.reports[at].next) {
        const xd_runview_report *r = &view->tests.reports[at];
        if (r->attempt == i->attempt && r->outcome == 'f' && !(r->flags & XD_REP_WASXFAIL))
            return true;
    }
    return false;
}

/* ---- the cache ------------------------------------------------------------------------------------------ */

/* As pytest does at the end of a session: what passed is not in it any more, what failed is. Items of one name have
 * failed when one of them has. */
static int merge(json_t *known, const xd_runview *view)
{
    for (uint32_t i = 0; i < view->tests.count; i++)
        if (view->tests.items[i].outcome && view->tests.items[i].outcome != XD_OUT_NOT_RUN &&
            view->tests.items[i].id.len)
            (void)json_object_del(known, (const char *)view->tests.items[i].id.ptr);
    for (uint32_t i = 0; i < view->tests.count; i++) {
        const xd_runview_item *item = &view->tests.items[i];
        if (item->id.len && has_failed(view, item) &&
            xd_text_is_utf8(item->id) && /* pytest could not write another name either */
            json_object_set_new_nocheck(known, (const char *)item->id.ptr, json_true()) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int write_file(const char *folder, const char *name, const char *text)
{
    xd_autofree char *path = xd_path_join(folder, name);
    return path ? xd_path_write_file(path, xd_bytes_str(text), 0644, NULL) : -ENOMEM;
}

/* The folder as pytest makes it; it adds nothing to one that is there. */
static int make_folder(const char *cache, const char *values)
{
    const bool is_new = !xd_path_is_dir(cache);
    XD_TRY(xd_path_mkdirs(values, 0755, NULL));
    if (!is_new)
        return 0;
    XD_TRY(write_file(cache, ".gitignore", "# Created by pytest automatically.\n*\n"));
    return write_file(cache, "CACHEDIR.TAG",
                      "Signature: 8a477f597d28d172789f06886806bc55\n"
                      "# This file is a cache directory tag created by pytest.\n"
                      "# For information about cache directory tags, see:\n"
                      "#\thttps://bford.info/cachedir/spec.html\n");
}

static bool is_later(const char *path, const struct timespec *than)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    return st.st_mtim.tv_sec > than->tv_sec ||
           (st.st_mtim.tv_sec == than->tv_sec && st.st_mtim.tv_nsec > than->tv_nsec);
}

static int update(const char *cache, const xd_runview *view, const struct timespec *over)
{
    xd_autofree char *values = xd_path_join(cache, "v/cache"), *last = NULL, *nodeids = NULL, *text = NULL;
    if (!values || !(last = xd_path_join(values, "lastfailed")) ||
        !(nodeids = xd_path_join(values, "nodeids")))
        return -ENOMEM;
    if (is_later(last, over) || is_later(nodeids, over))
        return 0;
    json_t *known = json_load_file(last, 0, NULL);
    if (!json_is_object(known)) {
        json_decref(known);
        known = json_object();
    }
    json_t *before = json_deep_copy(known);
    int     r = known && before ? merge(known, view) : -ENOMEM;
    if (r == 0 && !json_equal(known, before)) {
        text = json_dumps(known, JSON_INDENT(2));
        r = text ? make_folder(cache, values) : -ENOMEM;
        if (r == 0)
            r = write_file(values, "lastfailed", text);
        r = r < 0 ? r : 1;
    }
    json_decref(known);
    json_decref(before);
    return r;
}

/* ---- the run -------------------------------------------------------------------------------------------- */

/* When the run's processes wrote something last: its journal, or its folder, from which an agent that outlived its
 * controller removes what is its own, after it has let the cache be written as well as it could. */
static bool when_over(const char *dir, const char *journal, struct timespec *ret)
{
    struct stat st, of_journal;
    if (stat(dir, &st) < 0 || stat(journal, &of_journal) < 0)
        return false;
    *ret = is_later(journal, &st.st_mtim) ? of_journal.st_mtim : st.st_mtim;
    return true;
}

int xd_last_failed_recover(const xd_folders *where)
{
    xd_autofree char *dir = NULL, *journal = NULL, *cache = NULL;
    xd_auto(xd_journal_reader) *r = NULL;
    xd_frame        f;
    struct timespec over;
    int             got = xd_runs_newest_here(where, &dir);
    if (got <= 0)
        return got;
    if (!(journal = xd_path_join(dir, "journal")))
        return -ENOMEM;
    if (xd_journal_reader_open(&r, journal, NULL) < 0 || xd_journal_reader_last(r, XD_MSG_RUN_END, &f) == 0 ||
        xd_runs_is_running(dir) || !when_over(dir, journal, &over))
        return 0;
    xd_runview view;
    XD_TRY(xd_runview_init(&view, (xd_runview_source){ .read = read_back, .arg = r }));
    xd_report_paths paths = XD_REPORT_PATHS_INIT;
    got = fold(r, &view, &paths, &cache);
    xd_report_paths_release(&paths);
    if (got == 0 && cache && view.tests.ended)
        got = update(cache, &view, &over);
    xd_runview_release(&view);
    return got;
}
