/* actors/report_history.c - the reporter that keeps how long each test took and how it ended, for the next
 * run's order. */
#include <string.h>

#include "actors/history.h"
#include "actors/report_history.h"

#define HISTORY_MAGIC 0x1570a001u

typedef struct xd_report_history {
    uint32_t          magic;
    const xd_runview *view;
    char             *path, *project, *cache; /* owned; NULL = as told by CONFIG, the default */
    xd_history       *history;                /* opened when the first test ends */
    xd_error          complaint;              /* the first; told at the end, once */
} xd_report_history;

static int load(xd_report_history *h)
{
    xd_autofree char *path = h->path ? strdup(h->path) : NULL;
    if (!path) {
        const xd_runview *v = h->view;
        const char       *project = h->project              ? h->project
                                    : v->config.rootdir.len ? (const char *)v->config.rootdir.ptr
                                                            : NULL;
        if (!project)
            project = v->run.cwd.len ? (const char *)v->run.cwd.ptr : "/";
        XD_TRY(xd_history_path(h->cache, project, &path, &h->complaint));
    }
    int r = xd_history_open(path, &h->history, &h->complaint);
    return r < 0 ? r : 0;
}

static int history_ended(void *self, uint32_t item)
{
    xd_report_history     *h = XD_CAST(self, xd_report_history, HISTORY_MAGIC);
    const xd_runview_item *i = &h->view->tests.items[item];
    if (i->outcome >= XD_OUT_CRASHED || !i->id.len) /* crashed and the like: its time says nothing */
        return 0;
    if (!h->history)
        XD_TRY(load(h));
    const uint64_t environment =
        h->view->collection.each ? xd_history_environment(xd_runview_environment(h->view, item)) : 0;
    return xd_history_note(h->history, environment, i->id,
                           (uint64_t)i->setup_us + i->call_us + i->teardown_us, i->outcome);
}

static int history_finish(void *self, xd_error *err)
{
    xd_report_history *h = XD_CAST(self, xd_report_history, HISTORY_MAGIC);
    if (!h->history)
        return 0;
    xd_error now = { 0 };
    int      r = xd_history_save(h->history, &now);
    if (r == 0 && h->complaint.code == 0)
        return 0;
    *err = h->complaint.code ? h->complaint : now;
    return r < 0 ? r : XD_REPORT_NOTE;
}

static void history_close(void *self)
{
    xd_report_history *h = self;
    if (!h)
        return;
    xd_history_free(h->history);
    free(h->path);
    free(h->project);
    free(h->cache);
    free(h);
}

static int history_open(const void *args, const xd_runview *view, void **ret_self, xd_error *err)
{
    const xd_report_history_options *options = args;
    xd_report_history               *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    *h = (xd_report_history){ .magic = HISTORY_MAGIC, .view = view };
    h->path = options->path ? strdup(options->path) : NULL;
    h->project = options->project ? strdup(options->project) : NULL;
    h->cache = options->cache ? strdup(options->cache) : NULL;
    if ((options->path && !h->path) || (options->project && !h->project) || (options->cache && !h->cache)) {
        history_close(h);
        return xd_error_set(err, -ENOMEM, "history: out of memory");
    }
    *ret_self = h;
    return 0;
}

const xd_report_ops xd_report_history_ops = {
    .name = "history",
    .open = history_open,
    .ended = history_ended,
    .finish = history_finish,
    .close = history_close,
};
