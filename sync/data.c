/* sync/data.c - the far half of a synchronisation: pieces of files become files. What comes whole in one piece is written by a few threads, as
 * creating files is what takes the time; a file that comes in several pieces is written by the reader as they come. See far.h. */
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t in a struct */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "sync/far.h"

#define JOBS 512u
#define BATCH 16u /* that change hands at once: waking a thread takes longer than writing a small file */
#define AHEAD_BYTES (2u << 20) /* of blocks that wait to be written */
#define ROOM_BYTES \
    (256u << 10) /* of a file in pieces, written at once: large folios of the page cache, and few calls */
/* A file that replaces another one is on its way to the disk already when it is renamed: ext4 and others write all of it out then, and wait. */
#define FLUSH_BYTES (8u << 20)
#define ALONE 8u /* so many files are written by the reader itself, before threads are worth it */

struct far_block {
    far_data *data;
    uint32_t  refs; /* guarded by data->lock */
    size_t    size, counted;
    uint8_t   bytes[];
};

typedef struct job {
    uint32_t   entry;
    far_block *block;
    xd_bytes   content;
} job;

/* The file whose pieces come now. */
typedef struct incoming {
    bool         any;
    bool         writing; /* else its pieces are passed over */
    uint32_t     file, entry;
    uint64_t     at;
    int          fd, folder, base; /* -1 */
    uint64_t     base_bytes, copied;
    uint8_t     *room; /* ROOM_BYTES, held of them: what is not written yet. NULL until it is needed */
    size_t       held;
    bool         replaces; /* a file stands at its place */
    uint64_t     written, flushed;
    char         temp[32];
    XXH3_state_t hash;
} incoming;

struct far_data {
    xd_far         *far;
    far_worker      self; /* the reader's */
    incoming        in;
    uint64_t        files; /* that came whole */
    job             batch[BATCH];
    uint32_t        batched; /* of the block that is being looked through */
    pthread_mutex_t lock;
    pthread_cond_t  work, room;
    job             job[JOBS];
    uint32_t        head, count, busy; /* guarded, as all below */
    size_t          ahead;             /* bytes of blocks */
    bool            closing;
    pthread_t       thread[FAR_THREADS];
    uint32_t        threads;
    uint64_t        taken; /* atomic */
};

int far_block_new(far_block **ret, size_t size)
{
    far_block *b = malloc(sizeof(*b) + size);
    if (!b)
        return -ENOMEM;
    *b = (far_block){ .refs = 1, .size = size };
    *ret = b;
    return 0;
}

far_block *far_block_free(far_block *b)
{
    free(b);
    return NULL;
}

uint8_t *far_block_bytes(far_block *b)
{
    return b->bytes;
}

/* With the lock held. */
static void block_unref(far_block *b, uint32_t refs)
{
    far_data *d = b->data;
    b->refs -= refs;
    if (b->refs > 0)
        return;
    d->ahead -= b->size;
    (void)__atomic_fetch_add(&d->taken, b->counted, __ATOMIC_RELEASE);
    free(b);
    (void)pthread_cond_broadcast(&d->room);
    far_wake(d->far);
}

uint64_t far_data_taken(const far_data *d)
{
    return __atomic_load_n(&d->taken, __ATOMIC_ACQUIRE);
}

void far_data_skip(far_data *d, size_t counted)
{
    (void)__atomic_fetch_add(&d->taken, counted, __ATOMIC_RELEASE);
}

/* ---- whole files ----------------------------------------------------------------------------------------------- */

static void one_less(xd_far *far)
{
    if (__atomic_sub_fetch(&far->lacking, 1, __ATOMIC_ACQ_REL) == 0)
        far_wake(far);
}

static void write_whole(far_worker *w, uint32_t entry, xd_bytes content)
{
    xd_far   *far = w->far;
    xd_entry *e = &far->want->entry[entry];
    int       r = __atomic_load_n(&far->failed, __ATOMIC_ACQUIRE) || far_stopped(far)
                      ? -ECANCELED
                      : far_write_file(w, entry, content);
    if (r == 1)
        e->mark = NEED_DATA; /* it is asked for again */
    if (r == 0) {
        e->mark = NEED_NOTHING;
        one_less(far);
    }
}

static uint32_t threads_at_most(const far_data *d)
{
    return XD_MIN(d->far->threads, FAR_THREADS);
}

/* A share of the jobs, with the lock held: the others are to have something, too. */
static uint32_t take_some(far_data *d, job mine[BATCH])
{
    uint32_t most = threads_at_most(d), n = XD_MIN(BATCH, (d->count + most - 1) / most);
    for (uint32_t i = 0; i < n; i++, d->head = (d->head + 1) % JOBS)
        mine[i] = d->job[d->head];
    d->count -= n;
    d->busy++;
    return n;
}

static void *writer_main(void *arg)
{
    far_data  *d = arg;
    far_worker w;
    job        mine[BATCH];
    if (far_worker_init(&w, d->far) < 0) {
        (void)far_fault_text(d->far, -ENOMEM, "no memory");
        w.room = NULL; /* it drops what it takes, as there is a fault */
    }
    (void)pthread_mutex_lock(&d->lock);
    for (;;) {
        while (d->count == 0 && !d->closing)
            (void)pthread_cond_wait(&d->work, &d->lock);
        if (d->count == 0)
            break;
        uint32_t n = take_some(d, mine);
        (void)pthread_mutex_unlock(&d->lock);
        for (uint32_t i = 0; i < n; i++)
            write_whole(&w, mine[i].entry, mine[i].content);
        (void)pthread_mutex_lock(&d->lock);
        d->busy--;
        for (uint32_t i = 0; i < n; i++)
            block_unref(mine[i].block, 1);
        if (d->count <= JOBS - BATCH)
            (void)pthread_cond_broadcast(&d->room);
    }
    (void)pthread_mutex_unlock(&d->lock);
    far_worker_release(&w);
    return NULL;
}

static void more_threads(far_data *d)
{
    sigset_t all, before;
    if (d->threads >= threads_at_most(d))
        return;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    if (pthread_create(&d->thread[d->threads], NULL, writer_main, d) == 0)
        d->threads++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void hand_over(far_data *d)
{
    if (d->batched == 0)
        return;
    (void)pthread_mutex_lock(&d->lock);
    while (d->count > JOBS - BATCH)
        (void)pthread_cond_wait(&d->room, &d->lock);
    for (uint32_t i = 0; i < d->batched; i++)
        d->job[(d->head + d->count++) % JOBS] = d->batch[i];
    d->batch[0].block->refs += d->batched;
    d->batched = 0;
    (void)pthread_cond_signal(&d->work);
    (void)pthread_mutex_unlock(&d->lock);
}

/* A file that came whole. */
static void whole(far_data *d, far_block *b, uint32_t entry, xd_bytes content)
{
    d->far->want->entry[entry].mark = NEED_QUEUED;
    if (d->files++ >= ALONE)
        more_threads(d);
    if (d->threads == 0) {
        write_whole(&d->self, entry, content);
        return;
    }
    d->batch[d->batched++] = (job){ .entry = entry, .block = b, .content = content };
    if (d->batched == BATCH)
        hand_over(d);
}

void far_data_drain(far_data *d)
{
    (void)pthread_mutex_lock(&d->lock);
    while (d->count > 0 || d->busy > 0)
        (void)pthread_cond_wait(&d->room, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
}

/* ---- files in pieces -------------------------------------------------------------------------------------------- */

static void stop_writing(far_data *d, bool remove)
{
    incoming *in = &d->in;
    if (in->fd >= 0)
        close(in->fd);
    if (in->base >= 0)
        close(in->base);
    if (in->writing && remove)
        (void)unlinkat(in->folder, in->temp, 0);
    if (in->folder >= 0)
        close(in->folder);
    in->fd = in->base = in->folder = -1;
    in->writing = false;
}

static bool is_lacking(const xd_entry *e)
{
    return e->mark == NEED_DATA || e->mark == NEED_PUSHED;
}

static int fault(far_data *d, int r)
{
    return far_fault_entry(d->far, r, "write", d->in.entry);
}

static int begin_file(far_data *d, uint32_t file)
{
    xd_far   *far = d->far;
    incoming *in = &d->in;
    stop_writing(d, true);
    in->any = true;
    in->file = file;
    in->entry = far->want->file[file];
    in->at = in->copied = in->written = in->flushed = in->held = 0;
    const xd_entry *e = &far->want->entry[in->entry];
    if (!is_lacking(e))
        return 0;
    int folder = far_folder(&d->self, far->want, e->parent);
    in->folder = folder < 0 ? folder : fcntl(folder, F_DUPFD_CLOEXEC, 3);
    if (in->folder < 0)
        return fault(d, folder < 0 ? folder : -errno);
    far_temp(in->entry, in->temp);
    in->fd = far_create_temp(&d->self, in->entry, in->folder, in->temp);
    if (in->fd < 0)
        return fault(d, in->fd);
    in->writing = true;
    in->replaces = far->there[in->entry] == XD_SYNC_FILE;
    if (!in->room && !(in->room = malloc(ROOM_BYTES)))
        return fault(d, -ENOMEM);
    (void)XXH3_128bits_reset(&in->hash);
    return 0;
}

/* Hashes and writes what is held. */
static int write_held(far_data *d)
{
    incoming *in = &d->in;
    (void)XXH3_128bits_update(&in->hash, in->room, in->held);
    int r = xd_beneath_write(in->fd, (xd_bytes){ in->room, in->held });
    in->written += in->held;
    in->held = 0;
    if (in->replaces && in->written - in->flushed >= FLUSH_BYTES) {
        (void)!sync_file_range(in->fd, (off_t)in->flushed, (off_t)(in->written - in->flushed),
                               SYNC_FILE_RANGE_WRITE);
        in->flushed = in->written;
    }
    return r < 0 ? fault(d, r) : 0;
}

static int add_bytes(far_data *d, xd_bytes bytes)
{
    incoming *in = &d->in;
    while (bytes.len) {
        size_t n = XD_MIN(bytes.len, ROOM_BYTES - in->held);
        memcpy(in->room + in->held, bytes.ptr, n);
        in->held += n;
        bytes.ptr += n;
        bytes.len -= n;
        if (in->held == ROOM_BYTES)
            XD_TRY(write_held(d));
    }
    return 0;
}

/* The file that stands there, to copy from. false: it is not what the delta was made from. */
static bool open_base(far_data *d)
{
    xd_far     *far = d->far;
    incoming   *in = &d->in;
    uint32_t    was = far->was[in->entry];
    char        name[XD_MANIFEST_NAME_MAX + 1];
    struct stat st;
    if (in->base >= 0)
        return true;
    if (!far->delta || was == XD_MANIFEST_NONE || far->old.tree->entry[was].type != XD_SYNC_FILE ||
        far->stand[was] < STAND_META)
        return false;
    far_name(far->want, &far->want->entry[in->entry], name);
    in->base = xd_beneath_file(in->folder, name, O_RDONLY, &st);
    if (in->base < 0 || xd_state_print(&st) != far->old.print[was])
        return false;
    in->base_bytes = (uint64_t)st.st_size;
    return true;
}

static int copy_piece(far_data *d, const xd_wire_SYNC_PIECE *p)
{
    incoming *in = &d->in;
    if (!open_base(d)) {
        stop_writing(d, true); /* it is asked for as a whole, after the end */
        return 0;
    }
    if (p->base_at > in->base_bytes || p->count > in->base_bytes - p->base_at)
        return -EPROTO;
    for (uint64_t at = p->base_at, left = p->count; left;) {
        ssize_t n = pread(in->base, in->room + in->held, XD_MIN(left, ROOM_BYTES - in->held), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault(d, -errno);
        if (n == 0) {
            stop_writing(d, true); /* it became shorter */
            return 0;
        }
        in->held += (size_t)n;
        if (in->held == ROOM_BYTES)
            XD_TRY(write_held(d));
        at += (uint64_t)n;
        left -= (uint64_t)n;
    }
    in->copied += p->count;
    return 0;
}

/* All of it is there. */
static int end_file(far_data *d)
{
    xd_far   *far = d->far;
    incoming *in = &d->in;
    xd_entry *e = &far->want->entry[in->entry];
    XD_TRY(write_held(d));
    XXH128_hash_t h = XXH3_128bits_digest(&in->hash);
    if (!xd_digest_eq((xd_digest){ h.low64, h.high64 }, e->id)) {
        stop_writing(d, true);
        return 0;
    }
    int r = far_place(&d->self, in->entry, in->folder, in->temp, in->fd);
    stop_writing(d, r < 0);
    if (r < 0)
        return fault(d, r);
    e->mark = NEED_NOTHING;
    (void)__atomic_fetch_add(&far->written, 1, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&far->written_bytes, e->size, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&far->reused_bytes, in->copied, __ATOMIC_RELAXED);
    one_less(far);
    return 0;
}

static int piece(far_data *d, far_block *b, const xd_wire_SYNC_PIECE *p)
{
    xd_far   *far = d->far;
    incoming *in = &d->in;
    uint64_t  len = p->op == XD_SYNC_OP_DATA ? p->data.len : p->count;
    if (p->file >= far->want->files || xd_wire_SYNC_PIECE_beyond(p))
        return -EPROTO;
    uint32_t        entry = far->want->file[p->file];
    const xd_entry *e = &far->want->entry[entry];
    if (p->at == 0 && p->op == XD_SYNC_OP_DATA && len == e->size && is_lacking(e)) {
        stop_writing(d, true);
        whole(d, b, entry, p->data);
        in->any = true;
        in->file = p->file;
        in->at = len;
        return 0;
    }
    if (p->at == 0)
        XD_TRY(begin_file(d, p->file));
    else if (!in->any || in->file != p->file || in->at != p->at)
        return -EPROTO;
    if (!in->writing) {
        in->at += len; /* pieces are bounded, so are their sums for any stream that can be */
        return 0;
    }
    if (len > e->size - in->at) {
        stop_writing(d, true);
        in->at += len;
        return 0;
    }
    uint64_t end = in->at + len;
    XD_TRY(p->op == XD_SYNC_OP_DATA ? add_bytes(d, p->data) : copy_piece(d, p));
    in->at = end;
    return in->writing && end == e->size ? end_file(d) : 0;
}

void far_data_forget(far_data *d, uint32_t file)
{
    far_data_drain(d);
    if (d->in.file == file)
        stop_writing(d, true);
}

int far_data_take(far_data *d, far_block **block, const xd_wire_SYNC_PIECE_LIST *list, size_t counted)
{
    far_block         *b = xd_take(block);
    xd_wire_list       it = list->pieces;
    xd_wire_SYNC_PIECE p;
    int                r = 0;
    b->data = d;
    b->counted = counted;
    (void)pthread_mutex_lock(&d->lock);
    while (d->ahead > AHEAD_BYTES)
        (void)pthread_cond_wait(&d->room, &d->lock);
    d->ahead += b->size;
    (void)pthread_mutex_unlock(&d->lock);
    while (r >= 0 && xd_wire_SYNC_PIECE_next(&it, &p) == 1)
        r = __atomic_load_n(&d->far->failed, __ATOMIC_ACQUIRE) ? -ECANCELED : piece(d, b, &p);
    hand_over(d);
    (void)pthread_mutex_lock(&d->lock);
    block_unref(b, 1);
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

int far_data_new(far_data **ret, xd_far *far)
{
    far_data *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->far = far;
    d->in.fd = d->in.folder = d->in.base = -1;
    if (far_worker_init(&d->self, far) < 0) {
        free(d);
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_cond_init(&d->work, NULL);
    (void)pthread_cond_init(&d->room, NULL);
    *ret = d;
    return 0;
}

far_data *far_data_free(far_data *d)
{
    if (!d)
        return NULL;
    (void)pthread_mutex_lock(&d->lock);
    d->closing = true;
    (void)pthread_cond_broadcast(&d->work);
    (void)pthread_mutex_unlock(&d->lock);
    while (d->threads > 0)
        (void)pthread_join(d->thread[--d->threads], NULL);
    stop_writing(d, true);
    free(d->in.room);
    far_worker_release(&d->self);
    (void)pthread_cond_destroy(&d->room);
    (void)pthread_cond_destroy(&d->work);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}
