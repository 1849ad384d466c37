/* actors/report_render.c - a whole journal through one reporter: `xdctl show`, `xdctl report`. */
#include <poll.h>

#include "actors/report.h"
#include "engine/journal.h"

static int read_back(void *arg, uint64_t offset, xd_frame *ret)
{
    return xd_journal_reader_at(arg, offset, ret);
}

/* Waits where a live reporter would let its driver wait. */
static void wait_ready(xd_report_set *set)
{
    while (!xd_report_set_ready(set)) {
        struct pollfd p = { .fd = xd_report_set_fd(set), .events = POLLOUT };
        (void)poll(&p, 1, 1000);
    }
}

int xd_report_render(const char *journal_path, const char *name, const xd_report_options *options,
                     int *ret_exit, xd_error *err)
{
    const xd_report_ops *ops = xd_report_find(name);
    xd_auto(xd_journal_reader) *reader = NULL;
    xd_auto(xd_report_set) *set = NULL;
    if (!ops)
        return xd_error_set(err, -EINVAL, "no report is called '%s': terminal, junit, jsonl", name);
    XD_TRY(xd_journal_reader_open(&reader, journal_path, err));
    int r = xd_report_set_new(&set, (xd_runview_source){ .read = read_back, .arg = reader });
    if (r < 0)
        return xd_error_set(err, r, "report: %s", xd_error_name(r));
    XD_TRY(xd_report_set_add(set, ops, options, err));
    xd_frame frame;
    uint64_t offset;
    int      more;
    /* Damage ends the reading as the end of the file does: what is whole is shown. */
    while ((more = xd_journal_reader_next(reader, &frame, &offset)) == 1) {
        r = xd_report_set_frame(set, offset, &frame);
        if (r < 0)
            return xd_error_set(err, r, "report: %s", xd_error_name(r));
        if (xd_report_set_error(set, NULL) < 0)
            break;
        wait_ready(set);
    }
    xd_report_set_finish(set);
    const xd_runview *v = xd_report_set_view(set);
    if (ret_exit)
        *ret_exit = v->over ? v->exit_status : 7;
    xd_error fault;
    if (xd_report_set_error(set, &fault) < 0)
        return xd_error_set(err, fault.code, "%s", fault.text);
    if (more < 0)
        (void)!xd_error_set(err, -ENODATA, "the journal is damaged; this is what could be read of it");
    else if (!v->over)
        (void)!xd_error_set(
            err, -ENODATA,
            "the journal ends before the run did: it still runs, or was cut off; this is what is there");
    return 0;
}
