/* actors/report_paths.c - see report_paths.h. */
#include "actors/report_paths.h"

#include <stdlib.h>
#include <string.h>

#include "engine/outcome.h"

void xd_report_paths_release(xd_report_paths *p)
{
    for (size_t i = 0; i < p->count; i++)
        xd_pathmap_release(&p->maps[i]);
    free(p->maps);
    free(p->root);
    free(p->base);
    for (size_t i = 0; i < XD_ARRAY_LEN(p->rooms); i++)
        xd_buf_release(&p->rooms[i]);
    *p = XD_REPORT_PATHS_INIT;
}

/* ---- what is a copy of what ----------------------------------------------------------------------------- */

static int map_at(xd_report_paths *p, uint16_t gateway, xd_pathmap **ret)
{
    if (gateway >= p->count) {
        const size_t need = (size_t)gateway + 1;
        xd_pathmap  *grown = realloc(p->maps, need * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        p->maps = grown;
        while (p->count < need)
            p->maps[p->count++] = XD_PATHMAP_INIT;
    }
    *ret = &p->maps[gateway];
    return 0;
}

int xd_report_paths_begin(xd_report_paths *p, const char *root, const char *base)
{
    if (p->root || !root)
        return 0;
    p->root = strdup(root);
    p->base = base && *base ? strdup(base) : NULL;
    return p->root && (p->base || !base || !*base) ? 0 : -ENOMEM;
}

static int take_start(xd_report_paths *p, const xd_frame *f)
{
    xd_wire_RUN_START in;
    if (xd_wire_RUN_START_decode(f->body, f->len, &in) < 0)
        return 0;
    xd_autofree char *root = xd_bytes_dup(in.cwd), *base = xd_bytes_dup(in.base);
    return root && base ? xd_report_paths_begin(p, root, base) : -ENOMEM;
}

static int take_facts(xd_report_paths *p, const xd_frame *f)
{
    xd_wire_ENV_FACTS in;
    xd_wire_COPY      one;
    xd_pathmap       *map;
    if (xd_wire_ENV_FACTS_decode(f->body, f->len, &in) < 0)
        return 0;
    while (xd_wire_COPY_next(&in.copies, &one) == 1) {
        const char *const roots[] = { p->root, p->base };
        if (one.root >= XD_ARRAY_LEN(roots) || !roots[one.root])
            continue;
        XD_TRY(map_at(p, f->flags, &map));
        XD_TRY(xd_pathmap_add(map, one.path, xd_bytes_str(roots[one.root])));
    }
    return 0;
}

/* pytest shows paths relative to the folder that it was called in. */
static int take_config(xd_report_paths *p, const xd_frame *f)
{
    xd_wire_CONFIG in;
    if (!xd_report_paths_of(p, f->flags) || xd_wire_CONFIG_decode(f->body, f->len, &in) < 0)
        return 0;
    return xd_pathmap_base(&p->maps[f->flags], in.invocation_dir);
}

int xd_report_paths_take(xd_report_paths *p, const xd_frame *frame)
{
    switch (frame->type) {
    case XD_MSG_RUN_START:
        return take_start(p, frame);
    case XD_MSG_ENV_FACTS:
        return take_facts(p, frame);
    case XD_MSG_CONFIG:
        return take_config(p, frame);
    default:
        return 0;
    }
}

const xd_pathmap *xd_report_paths_of(const xd_report_paths *p, uint16_t gateway)
{
    return gateway < p->count && p->maps[gateway].count ? &p->maps[gateway] : NULL;
}

/* ---- frames ----------------------------------------------------------------------------------------------- */

typedef struct change {
    const xd_pathmap *map;
    xd_buf           *rooms; /* the next free one */
    bool              any;
} change;

static int text(change *c, xd_bytes *at, xd_pathmap_where where)
{
    const uint8_t *before = at->ptr;
    xd_buf        *room = c->rooms++;
    xd_buf_clear(room);
    XD_TRY(xd_pathmap_text(c->map, *at, where, room, at));
    c->any |= at->ptr != before;
    return 0;
}

static int lines(change *c, xd_wire_list *at)
{
    xd_autobuf   one = XD_BUF_INIT;
    xd_buf      *room = c->rooms++;
    xd_wire_list list = *at;
    xd_wire_TEXT line;
    bool         any = false;
    xd_buf_clear(room);
    while (xd_wire_TEXT_next(&list, &line) == 1) {
        const uint8_t *before = line.text.ptr;
        xd_buf_clear(&one);
        XD_TRY(xd_pathmap_text(c->map, line.text, XD_PATHMAP_ALL, &one, &line.text));
        any |= line.text.ptr != before;
        XD_TRY(xd_wire_TEXT_append(room, &line));
    }
    if (any) {
        at->ptr = room->data;
        at->len = room->len;
    }
    c->any |= any;
    return 0;
}

/* The fields of each record that are looked at. */
static int change_CONFIG(change *c, xd_wire_CONFIG *m)
{
    XD_TRY(text(c, &m->rootdir, XD_PATHMAP_ALL));
    XD_TRY(text(c, &m->invocation_dir, XD_PATHMAP_ALL));
    XD_TRY(lines(c, &m->header));
    return lines(c, &m->notes);
}

static int change_COLLECTED(change *c, xd_wire_COLLECTED *m)
{
    XD_TRY(text(c, &m->stop_reason, XD_PATHMAP_ALL));
    XD_TRY(text(c, &m->why, XD_PATHMAP_ALL));
    return lines(c, &m->lines);
}

/* What a crashed worker wrote last is its own. */
static int text_of_crash(change *c, xd_bytes *at, const uint8_t *output)
{
    xd_bytes head = { at->ptr, (size_t)(output - at->ptr) }, tail = { output, at->len - head.len };
    xd_buf  *room = c->rooms++;
    bool     before = c->any;
    c->any = false;
    XD_TRY(text(c, &head, XD_PATHMAP_ALL));
    XD_TRY(text(c, &tail, XD_PATHMAP_FRAMES));
    xd_buf_clear(room);
    if (c->any) {
        XD_TRY(xd_buf_add_bytes(room, head));
        XD_TRY(xd_buf_add_bytes(room, tail));
        *at = xd_buf_view(room);
    }
    c->any |= before;
    return 0;
}

static int change_REPORT(change *c, xd_wire_REPORT *m)
{
    const uint8_t *output = xd_bytes_find(m->text, XD_OUTCOME_LAST_OUTPUT);
    XD_TRY(output ? text_of_crash(c, &m->text, output) : text(c, &m->text, XD_PATHMAP_ALL));
    XD_TRY(text(c, &m->message, XD_PATHMAP_ALL));
    return text(c, &m->path, XD_PATHMAP_ALL);
}

static int change_WARNING(change *c, xd_wire_WARNING *m)
{
    XD_TRY(text(c, &m->text, XD_PATHMAP_ALL));
    return text(c, &m->file, XD_PATHMAP_ALL);
}

static int change_WORKER_DOWN(change *c, xd_wire_WORKER_DOWN *m)
{
    XD_TRY(text(c, &m->reason, XD_PATHMAP_ALL));
    return text(c, &m->last_output, XD_PATHMAP_FRAMES);
}

static int change_ENV_FAILED(change *c, xd_wire_ENV_FAILED *m)
{
    return text(c, &m->text, XD_PATHMAP_ALL);
}

/* Errors of usage, and conftests that cannot be imported: pytest writes them there. */
static int change_OUTPUT(change *c, xd_wire_OUTPUT *m)
{
    return m->worker == XD_NO_WORKER && m->stream == XD_OUTPUT_STDERR ? text(c, &m->data, XD_PATHMAP_ALL) : 0;
}

static int change_RUN_END(change *c, xd_wire_RUN_END *m)
{
    return text(c, &m->reason, XD_PATHMAP_ALL);
}

/* 1 = it is changed, in `body`; 0; -ENOMEM. One that does not decode is left as it is: its reader counts it as damaged. */
static int change_body(change *c, const xd_frame *f, xd_buf *body)
{
#define CASE(NAME)                                              \
    case XD_MSG_##NAME: {                                       \
        xd_wire_##NAME m;                                       \
        if (xd_wire_##NAME##_decode(f->body, f->len, &m))       \
            return 0;                                           \
        XD_TRY(change_##NAME(c, &m));                           \
        XD_TRY(c->any ? xd_wire_##NAME##_encode(body, &m) : 0); \
        return c->any;                                          \
    }
    switch (f->type) {
        CASE(CONFIG)
        CASE(COLLECTED)
        CASE(REPORT)
        CASE(WARNING)
        CASE(WORKER_DOWN)
        CASE(ENV_FAILED)
        CASE(OUTPUT)
        CASE(RUN_END)
    default:
        return 0;
    }
#undef CASE
}

/* The reason of the run's end is some environment's, and does not say whose. */
static int of_all(xd_report_paths *p, const xd_frame *frame, xd_buf *room, xd_frame *ret)
{
    for (size_t i = 0; i < p->count; i++) {
        change c = { .map = &p->maps[i], .rooms = p->rooms };
        int    r = change_body(&c, frame, room);
        XD_TRY(r);
        if (r == 0)
            continue;
        ret->body = room->data;
        ret->len = (uint32_t)room->len;
        return 0;
    }
    return 0;
}

int xd_report_paths_frame(xd_report_paths *p, const xd_frame *frame, xd_buf *room, xd_frame *ret)
{
    *ret = *frame;
    if (!p->count)
        return 0;
    xd_buf_clear(room);
    if (frame->type == XD_MSG_RUN_END)
        return of_all(p, frame, room, ret);
    change c = { .map = xd_report_paths_of(p, frame->flags), .rooms = p->rooms };
    int    r = c.map ? change_body(&c, frame, room) : 0;
    if (r > 0) {
        ret->body = room->data;
        ret->len = (uint32_t)room->len;
    }
    return XD_MIN(r, 0);
}
