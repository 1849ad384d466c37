/* sync/receive_ask.c - the far half of a synchronisation: what it asks home for: contents, and which paths are to stay. See receive_state.h. */
#include "sync/receive_state.h"

#define LIST_BYTES (48u << 10) /* of WANT and EXTRA */

/* ---- what is lacking ------------------------------------------------------------------------------------------------ */

typedef struct wants {
    receiver          *r;
    xd_wire_SYNC_RANGE range;
    xd_buf             list;
    uint32_t           count;
    bool               any;
} wants;

static int send_wants(wants *w, bool last)
{
    if (w->range.count) {
        XD_TRY(xd_wire_SYNC_RANGE_append(&w->list, &w->range));
        w->count++;
    }
    w->range.count = 0;
    if (!last && w->list.len < LIST_BYTES)
        return 0;
    xd_wire_SYNC_WANT m = { .ranges = { w->count, w->list.data, w->list.len }, .last = last };
    XD_TRY(xd_wire_SYNC_WANT_frame(&w->r->far.out, 0, 0, &m));
    xd_buf_clear(&w->list);
    w->count = 0;
    return xd_receiver_flush_large(w->r);
}

static int want_file(wants *w, uint32_t file, bool whole)
{
    w->any = true;
    if (w->range.count && w->range.first + w->range.count == file && w->range.whole == whole) {
        w->range.count++;
        return 0;
    }
    XD_TRY(send_wants(w, false));
    w->range = (xd_wire_SYNC_RANGE){ .first = file, .count = 1, .whole = whole };
    return 0;
}

/* Asks for what was not yet asked for; `again`: for all that has not come. */
int xd_receiver_want(receiver *r, bool again)
{
    xd_far *far = &r->far;
    wants   w = { .r = r };
    int     x = 0;
    for (uint32_t i = 0; x == 0 && i < far->want->files; i++) {
        uint32_t  entry = far->want->file[i], was = far->was[entry];
        xd_entry *e = &far->want->entry[entry];
        if (e->mark != NEED_DATA && !(again && e->mark == NEED_PUSHED))
            continue;
        if (!again && far->tries[i])
            continue;
        if (far->tries[i] == FAR_TRIES) {
            xd_autobuf path = XD_BUF_INIT;
            (void)!xd_manifest_path(far->want, entry, &path);
            x = far_fault_text(far, -EIO,
                               "%s did not come as it was announced, %d times: does it change all the time?",
                               xd_buf_cstr(&path), FAR_TRIES);
            break;
        }
        bool delta = !again && far->delta && was != XD_MANIFEST_NONE &&
                     far->old.tree->entry[was].type == XD_SYNC_FILE && far->stand[was] >= STAND_META;
        e->mark = NEED_DATA;
        far->tries[i]++;
        x = want_file(&w, i, !delta);
    }
    if (x == 0 && w.any) {
        r->rounds++;
        x = send_wants(&w, true);
        if (x == 0)
            x = xd_receiver_flush(r);
    }
    xd_buf_release(&w.list);
    return x;
}

/* ---- what home is asked about ------------------------------------------------------------------------------------- */

static int send_extra(receiver *r, xd_buf *list, uint32_t *count, bool last)
{
    xd_wire_SYNC_EXTRA m = { .paths = { *count, list->data, list->len }, .last = last };
    XD_TRY(xd_wire_SYNC_EXTRA_frame(&r->far.out, 0, 0, &m));
    xd_buf_clear(list);
    *count = 0;
    return xd_receiver_flush_large(r);
}

int xd_receiver_ask(receiver *r)
{
    xd_far    *far = &r->far;
    xd_autobuf list = XD_BUF_INIT, path = XD_BUF_INIT;
    uint32_t   count = 0;
    r->asked = 0;
    while (!r->ask_home && r->asked < far->victims && far->victim[r->asked].old != XD_MANIFEST_NONE)
        r->asked++;
    if (r->asked == far->victims)
        return 0;
    for (uint32_t i = r->asked; i < far->victims; i++) {
        xd_buf_clear(&path);
        XD_TRY(xd_buf_add_str(&path, (const char *)far->victim_paths.data + far->victim[i].path));
        if (far->victim[i].folder)
            XD_TRY(xd_buf_add_byte(&path, '/'));
        xd_wire_TEXT text = { .text = xd_buf_view(&path) };
        XD_TRY(xd_wire_TEXT_append(&list, &text));
        count++;
        if (list.len >= LIST_BYTES)
            XD_TRY(send_extra(r, &list, &count, false));
    }
    r->asking = true;
    return send_extra(r, &list, &count, true);
}

int xd_receiver_keep(receiver *r, const xd_frame *f)
{
    xd_wire_SYNC_KEEP m;
    xd_wire_INDEX     i;
    XD_TRY(xd_wire_SYNC_KEEP_decode(f->body, f->len, &m));
    if (!r->asking)
        return -EPROTO;
    for (xd_wire_list it = m.paths; xd_wire_INDEX_next(&it, &i) == 1;) {
        if (i.item >= r->far.victims - r->asked)
            return -EPROTO;
        r->far.victim[r->asked + i.item].kept = true;
    }
    r->asking = !m.last;
    return 0;
}
