/* sync/receive.c - see receive.h: the frames of a synchronisation, and what follows from them. */
#include "sync/receive.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "sync/receive_state.h"

#define DATA_PLAIN_MAX (1u << 20)
#define RECORDS_MAX (16u << 20)
#define AMENDS_MAX (1u << 20)

/* ---- the tree is known -------------------------------------------------------------------------------------------- */

static int amend(receiver *r, const xd_wire_SYNC_AMEND *m)
{
    xd_far *far = &r->far;
    if (m->file >= far->want->files || m->size > XD_MANIFEST_SIZE_MAX)
        return -EPROTO;
    uint32_t  entry = far->want->file[m->file];
    xd_entry *e = &far->want->entry[entry];
    xd_digest id = { m->lo, m->hi };
    far_data_forget(r->data, m->file);
    bool lacked = e->mark == NEED_PUSHED || e->mark == NEED_DATA;
    if (m->gone) {
        far->lacking -= lacked;
        if (e->mark != NEED_NOTHING || lacked) {
            e->mark = NEED_LEFT;
            far->print[entry] = 0;
        }
        return 0;
    }
    far->amended = true;
    bool same = e->size == m->size && xd_digest_eq(e->id, id) && e->mark != NEED_LEFT;
    xd_manifest_amend(far->want, m->file, m->mode, m->size, (int64_t)m->mtime_ns, id);
    if (same) { /* mode and time alone: they are looked at when it is written, or at the end */
        if (e->mark == NEED_NOTHING)
            e->mark = NEED_META;
        return 0;
    }
    far->print[entry] = 0;
    if (e->size == 0 && !xd_digest_eq(id, xd_digest_of((xd_bytes){ 0 })))
        return -EPROTO;
    e->mark = e->size ? NEED_PUSHED : NEED_MAKE;
    far->lacking += (uint32_t)(e->size != 0) - (uint32_t)lacked;
    return 0;
}

static int amend_early(receiver *r)
{
    xd_wire_SYNC_AMEND m;
    for (size_t at = 0; at + sizeof(m) <= r->amends.len; at += sizeof(m)) {
        memcpy(&m, r->amends.data + at, sizeof(m));
        XD_TRY(amend(r, &m));
    }
    xd_buf_release(&r->amends);
    return 0;
}

static int say_done(receiver *r)
{
    xd_far           *far = &r->far;
    xd_digest         id = xd_manifest_digest(far->want);
    xd_wire_SYNC_DONE m = { .lo = id.lo,
                            .hi = id.hi,
                            .written = far->written,
                            .removed = far->removed,
                            .reused = far->reused,
                            .reused_bytes = far->reused_bytes,
                            .written_bytes = far->written_bytes };
    XD_TRY(xd_wire_SYNC_DONE_frame(&far->out, 0, 0, &m));
    XD_TRY(xd_receiver_flush(r));
    return 1;
}

static int say_same(receiver *r)
{
    XD_TRY(xd_wire_SYNC_SAME_frame(&r->far.out, 0, 0, &(xd_wire_SYNC_SAME){ 0 }));
    XD_TRY(xd_receiver_flush(r));
    return 1;
}

static bool is_clean(const receiver *r)
{
    return r->far.shared && !r->far.was_killed && far_old_clean(&r->far);
}

static int begin_changes(receiver *r)
{
    xd_far *far = &r->far;
    XD_TRY(far_begin(far));
    XD_TRY(xd_receiver_want(r, false)); /* home reads while folders are made here */
    XD_TRY(far_folders(far));
    XD_TRY(far_metas(far));
    XD_TRY(far_copies(far));
    return xd_receiver_want(r, false); /* what turned out not to be usable */
}

/* The wanted tree is there: 1 = all is said. */
static int on_tree(receiver *r)
{
    xd_far *far = &r->far;
    r->listed = true;
    XD_TRY(far_check_want(far));
    if (far->was_killed)
        XD_TRY(xd_state_read(far->root, XD_STATE_NEW, &far->broken));
    if (!(far->flags & XD_SYNC_FLAG_DRY_RUN))
        XD_TRY(far_adopt(far));
    XD_TRY(far_match(far));
    XD_TRY(far_plan(far));
    XD_TRY(far_victims(far, r->ask_home));
    if (is_clean(r) && far->victims == 0)
        return say_same(r);
    XD_TRY(xd_receiver_ask(r));
    XD_TRY(xd_receiver_flush(r));
    if (!(far->flags & XD_SYNC_FLAG_DRY_RUN))
        XD_TRY(begin_changes(r));
    else
        far->lacking = 0;
    return amend_early(r);
}

/* Nothing is lacking any more. 1 = all is said. */
static int finish(receiver *r)
{
    xd_far *far = &r->far;
    far_data_drain(r->data);
    if (far->flags & XD_SYNC_FLAG_DRY_RUN)
        XD_TRY(far_remove(far));
    else {
        if (far->amended)
            XD_TRY(far_metas(far));
        if (far->lacking) /* one could not be changed, and is to come anew */
            return xd_receiver_want(r, true);
        XD_TRY(far_finish(far));
    }
    return say_done(r);
}

/* ---- frames of home ----------------------------------------------------------------------------------------------- */

/* An unchanged tree of which some had to be read: it is written down, so that it need not be the next time. A fault harms nobody, nor does an end in
 * the middle. */
static void remember_again(xd_far *far)
{
    int fd = xd_state_begin(far->root, XD_STATE_SEEN, far->old.tree);
    if (fd >= 0)
        (void)!xd_state_end(far->root, XD_STATE_SEEN, fd, far->old.tree, far->old.print,
                            xd_buf_view(&far->old.others), false);
}

static int open_folder(xd_far *far)
{
    struct stat st;
    far->root = open(far->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (far->root < 0 && errno == ENOENT)
        return 0;
    if (far->root < 0)
        return far_fault(far, -errno, "open", (xd_bytes){ 0 });
    far->was_killed = fstatat(far->root, XD_STATE_NEW, &st, AT_SYMLINK_NOFOLLOW) == 0;
    XD_TRY(xd_state_read(far->root, XD_STATE_NAME, &far->old));
    if (!far->old.print)
        xd_state_release(&far->old);
    return far->old.tree ? far_look_old(far) : 0;
}

static int need_all(receiver *r)
{
    r->dropping = true;
    XD_TRY(xd_wire_SYNC_NEED_ALL_frame(&r->far.out, 0, 0, &(xd_wire_SYNC_NEED_ALL){ 0 }));
    return xd_receiver_flush(r);
}

/* The home end still scans: what stands here can be looked at meanwhile. */
static int on_look(receiver *r, const xd_frame *f)
{
    xd_wire_SYNC_LOOK m;
    XD_TRY(xd_wire_SYNC_LOOK_decode(f->body, f->len, &m));
    if (r->looked)
        return -EPROTO;
    r->looked = true;
    return open_folder(&r->far);
}

static int on_open(receiver *r, const xd_frame *f)
{
    xd_far           *far = &r->far;
    xd_wire_SYNC_OPEN m;
    if (f->type != XD_MSG_SYNC_OPEN)
        return -EPROTO;
    XD_TRY(xd_wire_SYNC_OPEN_decode(f->body, f->len, &m));
    if (xd_wire_SYNC_OPEN_beyond(&m))
        return -EPROTO;
    far->flags = m.flags;
    r->wanted = (xd_digest){ m.lo, m.hi };
    XD_TRY(r->looked ? 0 : open_folder(far));
    if (!far->old.tree || !xd_digest_eq(xd_manifest_digest(far->old.tree), r->wanted)) {
        r->heard = (far->flags & XD_SYNC_FLAG_ALONE) != 0;
        return r->heard ? need_all(r) : 0;
    }
    r->heard = (far->flags & XD_SYNC_FLAG_ALONE) != 0;
    far->want = far->old.tree;
    far->shared = true;
    if (!is_clean(r) || far->flags & XD_SYNC_FLAG_DELETE)
        return on_tree(r);
    XD_TRY(say_same(r));
    if (far->blurred && !(far->flags & XD_SYNC_FLAG_DRY_RUN))
        remember_again(far);
    return 1;
}

/* Which tree the records begin with. */
static int begin_records(receiver *r, xd_digest base)
{
    xd_far *far = &r->far;
    bool    all = base.lo == 0 && base.hi == 0;
    if (r->listing || (r->dropping && !all))
        return 0;
    if (!all && (!far->old.tree || !xd_digest_eq(base, xd_manifest_digest(far->old.tree))))
        return need_all(r);
    r->dropping = false;
    r->listing = true;
    far->delta = !all;
    r->ask_home = all && far->old.tree;
    return xd_records_new(&r->records, all ? NULL : far->old.tree);
}

static int end_records(receiver *r)
{
    xd_far  *far = &r->far;
    xd_error err = { 0 };
    int      x = xd_records_end(&r->records, &far->want, &far->pushed, &far->kept, &err);
    if (x == -EPROTO)
        return far_fault_text(far, x, "the home end sent a tree that cannot be: %s", err.text);
    XD_TRY(x);
    if (!xd_digest_eq(xd_manifest_digest(far->want), r->wanted))
        return far_fault_text(far, -EPROTO, "the home end sent another tree than it announced");
    return on_tree(r);
}

static int on_records(receiver *r, const xd_frame *f)
{
    xd_far                  *far = &r->far;
    xd_wire_SYNC_RECORDS     m;
    xd_wire_SYNC_RECORD_LIST list;
    xd_auto(far_block) *block = NULL;
    xd_bytes plain;
    xd_error err = { 0 };
    XD_TRY(xd_wire_SYNC_RECORDS_decode(f->body, f->len, &m));
    if (xd_wire_SYNC_RECORDS_beyond(&m) || (r->listed && !far->shared))
        return -EPROTO;
    r->heard = true;
    if (!r->listed)
        XD_TRY(begin_records(r, (xd_digest){ m.base_lo, m.base_hi }));
    r->rounds += m.last;
    if (r->listed || r->dropping)
        return 0;
    XD_TRY(xd_receiver_unpack(r, m.inner, m.codec, m.plain_bytes, RECORDS_MAX, &block, &plain));
    XD_TRY(xd_wire_SYNC_RECORD_LIST_decode(plain.ptr, plain.len, &list));
    int x = xd_records_add(r->records, &list, &err);
    if (x == -EPROTO)
        return far_fault_text(far, x, "the home end sent a tree that cannot be: %s", err.text);
    XD_TRY(x);
    block = far_block_free(block);
    return m.last ? end_records(r) : 0;
}

static int on_data(receiver *r, const xd_frame *f)
{
    xd_wire_SYNC_DATA       m;
    xd_wire_SYNC_PIECE_LIST list;
    xd_auto(far_block) *block = NULL;
    xd_bytes plain;
    XD_TRY(xd_wire_SYNC_DATA_decode(f->body, f->len, &m));
    if (xd_wire_SYNC_DATA_beyond(&m) || (!r->listed && !r->dropping))
        return -EPROTO;
    if (!r->listed || r->far.flags & XD_SYNC_FLAG_DRY_RUN) {
        far_data_skip(r->data, f->len);
        return xd_receiver_tell_taken(r);
    }
    XD_TRY(xd_receiver_unpack(r, m.inner, m.codec, m.plain_bytes, DATA_PLAIN_MAX, &block, &plain));
    XD_TRY(xd_wire_SYNC_PIECE_LIST_decode(plain.ptr, plain.len, &list));
    if (!block)
        block = xd_take(&r->body);
    XD_TRY(far_data_take(r->data, &block, &list, f->len));
    return xd_receiver_tell_taken(r);
}

static int on_amend(receiver *r, const xd_frame *f)
{
    xd_wire_SYNC_AMEND m;
    XD_TRY(xd_wire_SYNC_AMEND_decode(f->body, f->len, &m));
    if (xd_wire_SYNC_AMEND_beyond(&m) || m.gone > 1)
        return -EPROTO;
    if (r->far.flags & XD_SYNC_FLAG_DRY_RUN)
        return 0;
    if (r->listed)
        return amend(r, &m);
    return r->amends.len / sizeof(m) < AMENDS_MAX ? xd_buf_add(&r->amends, &m, sizeof(m)) : -EPROTO;
}

static int on_end(receiver *r, const xd_frame *f)
{
    (void)f;
    if (!r->heard) { /* no records were sent, as this end was thought to have the tree */
        r->heard = true;
        return r->listed ? 0 : need_all(r);
    }
    r->ends++;
    if (r->ends > r->rounds)
        return -EPROTO;
    if (!r->listed || r->ends < r->rounds)
        return 0;
    far_data_drain(r->data);
    return xd_receiver_failed(r) ? -ECANCELED : xd_receiver_want(r, true);
}

static int on_frame(receiver *r, const xd_frame *f)
{
    switch (f->type) {
    case XD_MSG_SYNC_RECORDS:
        return on_records(r, f);
    case XD_MSG_SYNC_DATA:
        return on_data(r, f);
    case XD_MSG_SYNC_AMEND:
        return on_amend(r, f);
    case XD_MSG_SYNC_KEEP:
        return xd_receiver_keep(r, f);
    case XD_MSG_SYNC_END:
        return on_end(r, f);
    default:
        return -EPROTO;
    }
}

/* ---- all of it ------------------------------------------------------------------------------------------------------ */

/* 1 = done; < 0: a fault, of which far.error may tell. */
static int serve(receiver *r)
{
    xd_frame f;
    XD_TRY(xd_receiver_next(r, &f));
    if (f.type == XD_MSG_SYNC_LOOK) {
        XD_TRY(on_look(r, &f));
        XD_TRY(xd_receiver_next(r, &f));
    }
    int x = on_open(r, &f);
    while (x == 0) {
        if (xd_receiver_failed(r))
            return -ECANCELED;
        if (xd_receiver_complete(r) && (x = finish(r)) != 0)
            return x;
        x = xd_receiver_next(r, &f);
        if (x == 2)
            x = 0;
        else if (x == 0)
            x = on_frame(r, &f);
    }
    return x;
}

static int end_badly(receiver *r, int x)
{
    xd_far *far = &r->far;
    __atomic_store_n(&far->stop, 1, __ATOMIC_RELAXED);
    r->data = far_data_free(r->data);
    far_abandon(far);
    if (x == -EPIPE || x == -EINTR || (x == -ECANCELED && !far->failed))
        return 2;
    if (!far->failed)
        (void)far_fault_text(far, x, x == -EPROTO ? "%s: the home end said what it must not" : "%s: %s",
                             far->folder, xd_error_name(x));
    xd_wire_SYNC_FAILED m = { .text = xd_bytes_str(far->error.text) };
    if (xd_wire_SYNC_FAILED_frame(&far->out, 0, 0, &m) < 0 || xd_receiver_flush(r) < 0)
        return 2;
    return far->error.code == -EPROTO ? 2 : 1;
}

static void release(receiver *r)
{
    xd_far *far = &r->far;
    r->data = far_data_free(r->data);
    r->records = xd_records_free(r->records);
    xd_receiver_stream_release(r);
    xd_buf_release(&r->amends);
    if (far->shared)
        far->want = NULL;
    far->want = xd_manifest_free(far->want);
    xd_state_release(&far->old);
    xd_state_release(&far->broken);
    free(far->stand);
    free(far->pushed);
    free(far->was);
    free(far->there);
    free(far->print);
    free(far->tries);
    free(far->by_content);
    free(far->victim);
    xd_buf_release(&far->victim_paths);
    xd_buf_release(&far->kept);
    xd_buf_release(&far->out);
    if (far->state_fd >= 0)
        close(far->state_fd);
    if (far->root >= 0)
        close(far->root);
    if (far->wake_fd >= 0)
        close(far->wake_fd);
    (void)pthread_mutex_destroy(&far->lock);
    free(r);
}

int xd_receive(const xd_receive_args *args)
{
    receiver *r = calloc(1, sizeof(*r));
    if (!r)
        return 2;
    r->in = args->in;
    r->out = args->out;
    r->far.stop_fd = args->stop_fd;
    r->far.folder = args->folder;
    r->far.threads = args->threads ? args->threads : XD_MIN(xd_os_cpus(), FAR_THREADS);
    r->far.root = r->far.state_fd = -1;
    r->far.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&r->far.lock, NULL);
    int x = r->far.wake_fd < 0 ? -ENOMEM : far_data_new(&r->data, &r->far);
    if (x == 0)
        x = serve(r);
    int status = x == 1 ? 0 : end_badly(r, x);
    release(r);
    return status;
}
