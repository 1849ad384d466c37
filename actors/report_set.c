/* actors/report_set.c - see report_set.h. */
#include "actors/report_set.h"

#include <stdio.h>
#include <string.h>

#include "actors/report_paths.h"

#define MEMBERS_MAX 8

typedef struct member {
    const xd_report_ops *ops;
    void                *self; /* NULL = closed after a fault */
} member;

struct xd_report_set {
    xd_runview_source source; /* the journal as it is */
    xd_report_paths   paths;
    xd_buf            changed, read; /* the frame that is looked at, and the last one that was read back */
    xd_runview        view;
    member            members[MEMBERS_MAX];
    size_t            count;
    int               busy; /* descriptor of the busy one, -1 */
    xd_error          error;
    xd_buf            notes;
    bool              finished;
};

/* What lies in the journal, as it is shown. */
static int read_back(void *arg, uint64_t offset, xd_frame *ret)
{
    xd_report_set *s = arg;
    xd_frame       frame;
    XD_TRY(s->source.read(s->source.arg, offset, &frame));
    return xd_report_paths_frame(&s->paths, &frame, &s->read, ret);
}

int xd_report_set_new(xd_report_set **ret, xd_runview_source source)
{
    xd_report_set *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->busy = -1;
    s->source = source;
    if (source.read)
        source = (xd_runview_source){ .read = read_back, .arg = s };
    int r = xd_runview_init(&s->view, source);
    if (r < 0) {
        xd_report_set_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

xd_report_set *xd_report_set_free(xd_report_set *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++)
        s->members[i].ops->close(s->members[i].self);
    xd_runview_release(&s->view);
    xd_report_paths_release(&s->paths);
    xd_buf_release(&s->changed);
    xd_buf_release(&s->read);
    xd_buf_release(&s->notes);
    free(s);
    return NULL;
}

int xd_report_set_add(xd_report_set *s, xd_report_want want, xd_error *err)
{
    if (s->count == MEMBERS_MAX)
        return xd_error_set(err, -ENOSPC, "no more than %d reporters", MEMBERS_MAX);
    void *self = NULL;
    int   r = want.ops->open(want.options, &s->view, &self, err);
    if (r < 0)
        return r;
    s->members[s->count++] = (member){ want.ops, self };
    return 0;
}

const xd_runview *xd_report_set_view(const xd_report_set *s)
{
    return &s->view;
}

/* A reporter that fails is closed; the others and the run go on. */
static void judge(xd_report_set *s, member *m, int r, const xd_error *said)
{
    if (r >= 0)
        return;
    if (s->error.code == 0)
        xd_error_set(&s->error, r, "%s: %s", m->ops->name,
                     said && said->code ? said->text : xd_error_name(r));
    m->ops->close(m->self);
    m->self = NULL;
}

static int each_ended(void *arg, uint32_t item)
{
    xd_report_set *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        int (*call)(void *, uint32_t) = s->view.tests.closing ? m->ops->closed : m->ops->ended;
        if (m->self && call)
            judge(s, m, call(m->self, item), NULL);
    }
    return 0;
}

int xd_report_set_frame(xd_report_set *s, uint64_t offset, const xd_frame *raw)
{
    xd_frame        shown;
    const xd_frame *frame = &shown;
    XD_TRY(xd_report_paths_take(&s->paths, raw));
    XD_TRY(xd_report_paths_frame(&s->paths, raw, &s->changed, &shown));
    int r = xd_runview_frame(&s->view, offset, frame, each_ended, s);
    XD_TRY(r);
    if (r == XD_RUNVIEW_IGNORED)
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        if (m->self && m->ops->frame)
            judge(s, m, m->ops->frame(m->self, frame, offset), NULL);
    }
    return 0;
}

void xd_report_set_progress(xd_report_set *s, const xd_wire_PROGRESS *progress, uint16_t gateway,
                            uint64_t now_ns)
{
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        if (m->self && m->ops->progress)
            judge(s, m, m->ops->progress(m->self, progress, gateway, now_ns), NULL);
    }
}

void xd_report_set_tick(xd_report_set *s, uint64_t now_ns)
{
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        if (m->self && m->ops->tick)
            judge(s, m, m->ops->tick(m->self, now_ns), NULL);
    }
}

void xd_report_set_pause(xd_report_set *s, bool on)
{
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        if (m->self && m->ops->pause)
            judge(s, m, m->ops->pause(m->self, on), NULL);
    }
}

void xd_report_set_say(xd_report_set *s, xd_bytes line)
{
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        if (m->self && m->ops->say)
            judge(s, m, m->ops->say(m->self, line), NULL);
    }
}

bool xd_report_set_ready(xd_report_set *s)
{
    s->busy = -1;
    for (size_t i = 0; i < s->count; i++) {
        member *m = &s->members[i];
        if (!m->self || !m->ops->flush)
            continue;
        int r = m->ops->flush(m->self);
        if (r == XD_REPORT_BUSY && s->busy < 0)
            s->busy = m->ops->fd ? m->ops->fd(m->self) : -1;
        if (r == XD_REPORT_BUSY && s->busy < 0)
            r = 0;
        judge(s, m, r, NULL);
    }
    return s->busy < 0;
}

int xd_report_set_fd(xd_report_set *s)
{
    return s->busy;
}

void xd_report_set_finish(xd_report_set *s)
{
    if (s->finished)
        return;
    s->finished = true;
    /* Files first: nobody must press a key for them. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->count; i++) {
            member *m = &s->members[i];
            if (!m->self || !m->ops->finish || m->ops->last != (pass == 1))
                continue;
            xd_error err = { 0 };
            int      r = m->ops->finish(m->self, &err);
            if (r == XD_REPORT_NOTE &&
                xd_buf_printf(&s->notes, "%s%s", s->notes.len ? "\n" : "", err.text) < 0)
                r = -ENOMEM;
            judge(s, m, r, &err);
        }
}

const char *xd_report_set_notes(xd_report_set *s)
{
    return xd_buf_cstr(&s->notes);
}

int xd_report_set_error(const xd_report_set *s, xd_error *ret)
{
    if (ret)
        *ret = s->error;
    return s->error.code;
}
