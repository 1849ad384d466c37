#include "actors/report_actor.h"

#include <string.h>

#include "actors/report_set.h"
#include "actors/scheduler.h"
#include "engine/base/clock.h"
#include "engine/base/poller.h"
#include "engine/journal.h"

#define TICK_MS 100

typedef struct report_actor {
    xd_actor          *actor; /* borrowed */
    xd_journal_reader *reader;
    xd_report_set     *set;
    uint64_t           tail;    /* told by the broker */
    bool               owed;    /* a TAIL is not answered yet: the broker sends no other before */
    int                watched; /* descriptor waited for, -1 */
    bool               finished;
    void (*say)(void *arg, xd_log_level level, const char *line);
    void *say_arg;
} report_actor;

static int read_back(void *arg, uint64_t offset, xd_frame *ret)
{
    return xd_journal_reader_at(arg, offset, ret);
}

static void say(report_actor *a, xd_log_level level, const char *line)
{
    if (a->say)
        a->say(a->say_arg, level, line);
    else
        xd_log_write(xd_actor_log(a->actor), level, "%s", line);
}

static int answer(report_actor *a)
{
    uint64_t at = xd_journal_reader_offset(a->reader);
    if (!a->owed)
        return 0;
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, XD_MSG_TAIL, &at, sizeof at));
    a->owed = false;
    return xd_actor_send(a->actor, "", &m);
}

static int finish(report_actor *a)
{
    xd_error err;
    if (a->finished)
        return 0;
    a->finished = true;
    xd_report_set_finish(a->set);
    const char *notes = xd_report_set_notes(a->set);
    if (*notes)
        say(a, XD_LOG_WARNING, notes);
    if (xd_report_set_error(a->set, &err) < 0)
        say(a, XD_LOG_ERROR, err.text);
    return 0;
}

static int on_writable(void *state, int fd, uint32_t events);

/* Reads on as long as the outputs take it.  XD_ACTOR_STOP after RUN_END. */
static int read_on(report_actor *a)
{
    xd_frame frame;
    uint64_t offset;
    for (;;) {
        if (!xd_report_set_ready(a->set)) {
            int fd = xd_report_set_fd(a->set);
            if (fd != a->watched && a->watched >= 0)
                XD_TRY(xd_actor_watch(a->actor, a->watched, 0, NULL));
            /* What cannot be polled (a file) is tried again at the next tick. */
            a->watched = xd_actor_watch(a->actor, fd, XD_POLL_OUT, on_writable) == 0 ? fd : -1;
            return 0; /* and no answer: what the outputs do not take is not asked for */
        }
        int r = xd_journal_reader_next(a->reader, &frame, &offset);
        if (r == 0)
            break;
        XD_TRY(r);
        XD_TRY(xd_report_set_frame(a->set, offset, &frame));
    }
    if (a->watched >= 0) {
        int fd = a->watched;
        a->watched = -1;
        XD_TRY(xd_actor_watch(a->actor, fd, 0, NULL));
    }
    XD_TRY(answer(a));
    if (!xd_report_set_view(a->set)->run.over)
        return 0;
    XD_TRY(finish(a));
    return XD_ACTOR_STOP;
}

static int on_writable(void *state, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    return read_on(state);
}

static int on_tail(void *state, const xd_msg *in)
{
    report_actor *a = state;
    if (in->body.len != sizeof a->tail)
        return -EPROTO;
    memcpy(&a->tail, in->body.ptr, sizeof a->tail);
    a->owed = true;
    return read_on(a);
}

static int on_progress(void *state, const xd_msg *in)
{
    report_actor    *a = state;
    xd_frame         frame;
    xd_wire_PROGRESS progress;
    if (xd_msg_frame(in, &frame) < 0 || xd_wire_PROGRESS_decode(frame.body, frame.len, &progress) < 0)
        return 0; /* only a picture: without it the line is poorer */
    xd_report_set_progress(a->set, &progress, in->gateway, xd_clock_ns());
    return 0;
}

static int on_pause(void *state, const xd_msg *in)
{
    report_actor *a = state;
    xd_auto(xd_msg) *m = NULL;
    bool on = in->type == XD_MSG_PAUSE;
    xd_report_set_pause(a->set, on);
    if (!on)
        return 0;
    XD_TRY(xd_msg_new(&m, XD_MSG_PAUSED, NULL, 0));
    return xd_actor_send(a->actor, XD_SCHEDULER_ADDRESS, &m);
}

static int on_say(void *state, const xd_msg *in)
{
    report_actor *a = state;
    xd_report_set_say(a->set, in->body);
    return 0;
}

static int on_tick(void *state)
{
    report_actor *a = state;
    xd_report_set_tick(a->set, xd_clock_ns());
    return a->owed ? read_on(a) : 0;
}

/* The run is torn down, perhaps without RUN_END: show what there is. */
static int on_stop(void *state)
{
    report_actor *a = state;
    xd_frame      frame;
    uint64_t      offset;
    while (!a->finished && xd_journal_reader_next(a->reader, &frame, &offset) == 1)
        if (!xd_report_set_ready(a->set) || xd_report_set_frame(a->set, offset, &frame) < 0)
            break; /* an output that is stuck does not hold the end up */
    XD_TRY(finish(a));
    return XD_ACTOR_STOP;
}

static int init(void *state, xd_actor *actor, const void *args)
{
    const xd_report_actor_args *in = args;
    report_actor               *a = state;
    xd_error                    err = { 0 };
    *a = (report_actor){ .actor = actor, .watched = -1, .say = in->say, .say_arg = in->say_arg };
    int r = xd_journal_reader_open(&a->reader, in->journal_path, &err);
    if (r == 0)
        r = xd_report_set_new(&a->set, (xd_runview_source){ .read = read_back, .arg = a->reader });
    for (size_t i = 0; i < in->count && r == 0; i++)
        r = xd_report_set_add(a->set, in->wants[i], &err);
    if (r < 0) {
        if (in->err)
            *in->err = err;
        return r;
    }
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, XD_MSG_SUBSCRIBE, NULL, 0));
    XD_TRY(xd_actor_send(actor, "", &m));
    return xd_actor_set_tick(actor, TICK_MS);
}

static void fini(void *state)
{
    report_actor *a = state;
    xd_report_set_free(a->set);
    xd_journal_reader_close(a->reader);
}

const xd_actor_spec xd_report_actor_spec = {
    .name = "report",
    .size = sizeof(report_actor),
    .window = 64,
    .init = init,
    .tick = on_tick,
    .stop = on_stop,
    .fini = fini,
    .handlers = (const xd_handler[]){ { XD_MSG_TAIL, on_tail },
                                      { XD_MSG_PROGRESS, on_progress },
                                      { XD_MSG_PAUSE, on_pause },
                                      { XD_MSG_RESUME, on_pause },
                                      { XD_MSG_SAY, on_say },
                                      { 0 } },
};
