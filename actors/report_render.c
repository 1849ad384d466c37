/* actors/report_render.c - see report_render.h. */
#include "actors/report_render.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/report_set.h"
#include "engine/base/path.h"
#include "engine/journal.h"
#include "engine/runs.h"

#define LAST_MOST 65536u

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

/* ---- what ran when the controller was killed ------------------------------------------------------------ */

static int read_last(const char *dir, uint16_t gateway, xd_buf *out)
{
    char scratch[32], name[48];
    xd_runs_scratch_name(gateway, scratch, sizeof(scratch));
    snprintf(name, sizeof(name), "%s.last", scratch);
    xd_autofree char *path = xd_path_join(dir, name);
    return path ? xd_path_read_file(path, LAST_MOST, out, NULL) : -ENOMEM;
}

/* Where the journal ends before the run did, its agents have left what ran then: as if it had been recorded. */
static int add_last(xd_report_set *set, const char *journal_path, uint64_t end)
{
    xd_autofree char *dir = xd_path_dir(journal_path);
    if (!dir)
        return -ENOMEM;
    for (uint32_t g = 0; g < xd_report_set_view(set)->envs.count; g++) {
        xd_frame         f;
        xd_wire_PROGRESS in;
        xd_wire_RUNNING  one;
        xd_autobuf       last = XD_BUF_INIT;
        int              r = read_last(dir, (uint16_t)g, &last);
        if (r == -ENOMEM)
            return r;
        if (r < 0 || last.len < XD_FRAME_HEADER || xd_wire_header(last.data, &f) < 0 ||
            f.type != XD_MSG_PROGRESS || f.len > last.len - XD_FRAME_HEADER ||
            xd_wire_PROGRESS_decode(f.body, f.len, &in) < 0)
            continue;
        while (xd_wire_RUNNING_next(&in.running, &one) == 1) {
            xd_autobuf            frame = XD_BUF_INIT;
            xd_wire_STILL_RUNNING m = { .worker = one.worker, .item = one.item, .age_ms = one.age_ms };
            XD_TRY(xd_wire_STILL_RUNNING_frame(&frame, (uint16_t)g, 0, &m));
            XD_TRY(xd_wire_header(frame.data, &f));
            XD_TRY(xd_report_set_frame(set, end, &f));
        }
    }
    return 0;
}

int xd_report_render(const char *journal_path, xd_report_want want, int *ret_exit, xd_error *err)
{
    xd_auto(xd_journal_reader) *reader = NULL;
    xd_auto(xd_report_set) *set = NULL;
    XD_TRY(xd_journal_reader_open(&reader, journal_path, err));
    int r = xd_report_set_new(&set, (xd_runview_source){ .read = read_back, .arg = reader });
    if (r < 0)
        return xd_error_set(err, r, "report: %s", xd_error_name(r));
    XD_TRY(xd_report_set_add(set, want, err));
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
    const xd_runview *v = xd_report_set_view(set);
    if (more == 0 && !v->run.over && xd_report_set_error(set, NULL) == 0) {
        r = add_last(set, journal_path, xd_journal_reader_offset(reader));
        if (r < 0)
            return xd_error_set(err, r, "report: %s", xd_error_name(r));
    }
    xd_report_set_finish(set);
    if (ret_exit)
        *ret_exit = v->run.over ? v->run.exit_status : 7;
    xd_error fault;
    if (xd_report_set_error(set, &fault) < 0)
        return xd_error_set(err, fault.code, "%s", fault.text);
    if (more < 0)
        (void)!xd_error_set(err, -ENODATA, "the journal is damaged; this is what could be read of it");
    else if (!v->run.over)
        (void)!xd_error_set(
            err, -ENODATA,
            "the journal ends before the run did: it still runs, or was cut off; this is what is there");
    return 0;
}
