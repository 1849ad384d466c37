/* sync/answers.c - what the other end of a synchronisation says: each message is checked against what was sent before. See send_state.h. */
#include "sync/send_state.h"

#include <string.h>

#include "engine/base/text.h"

int xd_sender_wrong(xd_sender *s, const char *what)
{
    return xd_error_set(s->err, -EPROTO, "the other end of the synchronisation said what it must not: %s",
                        what);
}

static void answered(xd_sender *s)
{
    /* The first answer is one, also if it overtakes what is sent still. */
    s->c.round_trips += s->waiting || s->c.round_trips == 0;
    s->waiting = false;
}

static int on_same(xd_sender *s)
{
    if (s->wants || s->wanted.len)
        return xd_sender_wrong(s, "it has the tree, and asked for files of it");
    answered(s);
    s->amends_done = s->amends_open;
    s->over = true;
    return 0;
}

static int on_need_all(xd_sender *s)
{
    if (s->all_records || s->wants || s->wanted.len)
        return xd_sender_wrong(s, "it asks for all records, which it has");
    answered(s);
    return xd_sender_start_over(s);
}

static int on_want(xd_sender *s, const xd_frame *f)
{
    xd_wire_SYNC_WANT  m;
    xd_wire_SYNC_RANGE r;
    const xd_manifest *tree = s->source->result.manifest;
    if (xd_wire_SYNC_WANT_decode(f->body, f->len, &m) < 0)
        return xd_sender_wrong(s, "a list of files that is none");
    if (s->wants == XD_SYNC_WANTS || s->args->flags & XD_SYNC_FLAG_DRY_RUN)
        return xd_sender_wrong(s, "it asks for files once too often");
    while (xd_wire_SYNC_RANGE_next(&m.ranges, &r) == 1) {
        if (r.count == 0 || r.first < s->want_next || (uint64_t)r.first + r.count > tree->files ||
            r.whole > 1)
            return xd_sender_wrong(s, "it asks for files that there are not, or twice");
        s->want_next = (uint64_t)r.first + r.count;
        xd_range one = { r.first, r.count, r.whole || !s->deltas };
        int      e = xd_buf_add(&s->wanted, &one, sizeof one);
        if (e < 0)
            return xd_sender_fault(s, e);
        s->c.wanted_files += r.count;
        (void)pthread_rwlock_rdlock(&s->source->tree_lock);
        for (uint32_t i = r.first; i < r.first + r.count; i++)
            s->c.wanted_bytes += tree->entry[tree->file[i]].size;
        (void)pthread_rwlock_unlock(&s->source->tree_lock);
    }
    if (!m.last)
        return 0;
    answered(s);
    s->wants++;
    s->want_next = 0;
    xd_range *ranges = (xd_range *)(void *)s->wanted.data;
    uint32_t  count = (uint32_t)(s->wanted.len / sizeof *ranges);
    s->wanted = XD_BUF_INIT;
    int e = xd_sender_add_job(s, &ranges, count);
    free(ranges);
    return e;
}

static int send_keep(xd_sender *s)
{
    xd_wire_SYNC_KEEP m = { .paths = { s->keeps, s->keep.data, s->keep.len }, .last = 1 };
    int               e = xd_wire_SYNC_KEEP_frame(&s->out.buf, 0, 0, &m);
    xd_buf_release(&s->keep);
    return e < 0 ? xd_sender_fault(s, e) : 0;
}

static int on_extra(xd_sender *s, const xd_frame *f)
{
    xd_wire_SYNC_EXTRA m;
    xd_wire_TEXT       t;
    if (xd_wire_SYNC_EXTRA_decode(f->body, f->len, &m) < 0)
        return xd_sender_wrong(s, "a list of paths that is none");
    if (s->extra_over || s->extras + (uint64_t)m.paths.count > XD_MANIFEST_ENTRIES_MAX)
        return xd_sender_wrong(s, "it would remove more than there can be");
    while (xd_wire_TEXT_next(&m.paths, &t) == 1) {
        bool     kept = true, folder = t.text.len && t.text.ptr[t.text.len - 1] == '/';
        xd_bytes path = { t.text.ptr, t.text.len - folder };
        if (path.len == 0 || path.len > XD_MANIFEST_PATH_MAX || memchr(path.ptr, 0, path.len))
            return xd_sender_wrong(s, "a path that cannot be");
        /* Who cannot tell removes nothing. */
        bool keep = xd_source_keeps(s->source, path, folder, &kept) < 0 || kept;
        int  e = keep ? xd_wire_INDEX_append(&s->keep, &(xd_wire_INDEX){ .item = s->extras }) : 0;
        if (e < 0)
            return xd_sender_fault(s, e);
        s->keeps += keep;
        s->extras++;
    }
    if (!m.last)
        return 0;
    s->extra_over = true;
    answered(s);
    return send_keep(s);
}

static int on_taken(xd_sender *s, const xd_frame *f)
{
    xd_wire_SYNC_TAKEN m;
    if (xd_wire_SYNC_TAKEN_decode(f->body, f->len, &m) < 0 || m.bytes > s->data_sent || m.bytes < s->taken)
        return xd_sender_wrong(s, "it has taken more than it was sent");
    s->taken = m.bytes;
    xd_link_taken(s);
    return 0;
}

static int on_text(xd_sender *s, const xd_frame *f)
{
    xd_wire_SYNC_SAY    say;
    xd_wire_SYNC_CHANGE change;
    if (f->type == XD_MSG_SYNC_SAY) {
        if (xd_wire_SYNC_SAY_decode(f->body, f->len, &say) < 0 || xd_wire_SYNC_SAY_beyond(&say))
            return xd_sender_wrong(s, "a line that is none");
        if (s->args->say)
            s->args->say(s->args->arg, say.level, say.text);
        return 0;
    }
    if (xd_wire_SYNC_CHANGE_decode(f->body, f->len, &change) < 0 || change.type > XD_SYNC_KEPT ||
        change.was > XD_SYNC_KEPT)
        return xd_sender_wrong(s, "a change that is none");
    if (s->args->change)
        s->args->change(s->args->arg, change.type, change.was, change.path);
    return 0;
}

static int on_done(xd_sender *s, const xd_frame *f)
{
    xd_wire_SYNC_DONE m;
    if (xd_wire_SYNC_DONE_decode(f->body, f->len, &m) < 0)
        return xd_sender_wrong(s, "an end that is none");
    /* It may have been done before the last amendments came. */
    uint32_t k = XD_MAX(s->amends, s->amends_open);
    while (k > s->amends_open && !xd_digest_eq(xd_source_digest(s->source, k), (xd_digest){ m.lo, m.hi }))
        k--;
    if (!xd_digest_eq(xd_source_digest(s->source, k), (xd_digest){ m.lo, m.hi }))
        return xd_sender_wrong(s, "what stands there now is not what it was to be");
    s->amends_done = k;
    answered(s);
    s->c.written = m.written;
    s->c.removed = m.removed;
    s->c.reused = m.reused;
    s->c.reused_bytes = m.reused_bytes;
    s->over = true;
    return 0;
}

static int on_failed(xd_sender *s, const xd_frame *f)
{
    xd_wire_SYNC_FAILED m;
    xd_autobuf          text = XD_BUF_INIT;
    if (xd_wire_SYNC_FAILED_decode(f->body, f->len, &m) < 0 || m.text.len == 0)
        return xd_sender_wrong(s, "a failure without a word");
    m.text.len = XD_MIN(m.text.len, (size_t)XD_ERROR_TEXT);
    int e = xd_text_harmless(&text, m.text, false); /* zero bytes, too: they would end it */
    return e < 0 ? xd_sender_fault(s, e) : xd_error_set(s->err, -EREMOTEIO, "%s", xd_buf_cstr(&text));
}

int xd_sender_answer(xd_sender *s, const xd_frame *f)
{
    if (f->seq != 0 || !s->opened)
        return xd_sender_wrong(s, "a message out of its place");
    switch (f->type) {
    case XD_MSG_SYNC_SAME:
        return on_same(s);
    case XD_MSG_SYNC_NEED_ALL:
        return on_need_all(s);
    case XD_MSG_SYNC_WANT:
        return on_want(s, f);
    case XD_MSG_SYNC_EXTRA:
        return on_extra(s, f);
    case XD_MSG_SYNC_TAKEN:
        return on_taken(s, f);
    case XD_MSG_SYNC_SAY:
    case XD_MSG_SYNC_CHANGE:
        return on_text(s, f);
    case XD_MSG_SYNC_DONE:
        return on_done(s, f);
    case XD_MSG_SYNC_FAILED:
        return on_failed(s, f);
    default:
        return xd_sender_wrong(s, "a message that is not for this end");
    }
}
