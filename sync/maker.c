/* sync/maker.c - see maker.h. */
#include "sync/maker.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/fault.h"

#define BLOCK_ENOUGH (192u << 10) /* plain bytes: then the block ends */
#define COPIED_ENOUGH \
    (16u << 20) /* bytes of the old version that it refers to: the other end is to begin early */
#define READ_AT_ONCE (128u << 10)
#define WINDOW (READ_AT_ONCE + XD_DELTA_LEFT + XD_CHUNK_FIXED)
#define PIECE_MOST (1u << 30)
#define TRIES 3

typedef struct piece {
    bool     open, copy;
    size_t   head; /* offset in the frame */
    uint32_t file;
    uint64_t at, base_at, len;
} piece;

struct xd_maker {
    xd_source       *source;
    const xd_range  *ranges;
    uint32_t         count;
    const xd_memory *base;
    xd_cursor        pos;       /* of the file that is open, or comes next */
    uint64_t         skip;      /* bytes of it that were given out before */
    int              folder_fd; /* of the last file's folder */
    uint32_t         folder;
    xd_buf           path;

    int           fd; /* -1: no file is open */
    uint32_t      number;
    xd_entry      seen; /* what the manifest has */
    struct stat   st;
    unsigned      tries;
    XXH3_state_t *hash;
    bool          chunked;
    xd_delta      delta;
    uint8_t      *window;
    uint64_t      window_at, read; /* offset of the window's first byte; of what was read */
    size_t        window_len;

    xd_made *made;
    piece    piece;
    uint64_t copied;
    uint32_t amend_cap;
};

int xd_maker_new(xd_maker **ret, xd_source *s, const xd_range *ranges, uint32_t count, const xd_memory *base,
                 xd_cursor from)
{
    xd_maker *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    *m = (xd_maker){
        .source = s, .ranges = ranges, .count = count, .base = base, .pos = from, .fd = -1, .folder_fd = -1
    };
    m->skip = from.at;
    m->pos.at = 0;
    m->folder = XD_MANIFEST_NONE;
    m->hash = XXH3_createState();
    m->window = malloc(WINDOW);
    if (!m->hash || !m->window) {
        xd_maker_free(m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

static void close_file(xd_maker *m)
{
    if (m->fd >= 0)
        (void)close(m->fd);
    m->fd = -1;
    if (m->chunked)
        xd_delta_release(&m->delta);
    m->chunked = false;
}

xd_maker *xd_maker_free(xd_maker *m)
{
    if (m) {
        close_file(m);
        if (m->folder_fd >= 0)
            (void)close(m->folder_fd);
        XXH3_freeState(m->hash);
        xd_buf_release(&m->path);
        free(m->window);
        free(m);
    }
    return NULL;
}

void xd_made_release(xd_made *m)
{
    xd_buf_release(&m->frame);
    free(m->amends);
    *m = (xd_made){ 0 };
}

/* ---- pieces ------------------------------------------------------------------------------------------------- */

static void put_u32(uint8_t *p, uint32_t v)
{
    for (size_t i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Where count and the length of data are in a SYNC_PIECE. */
#define PIECE_COUNT_AT 21u
#define PIECE_LEN_AT 25u

static int open_piece(xd_maker *m, bool copy, uint64_t at, uint64_t base_at)
{
    xd_wire_SYNC_PIECE p = {
        .file = m->number, .op = copy ? XD_SYNC_OP_COPY : XD_SYNC_OP_DATA, .at = at, .base_at = base_at
    };
    m->piece = (piece){ .open = true,
                        .copy = copy,
                        .head = m->made->frame.len,
                        .file = m->number,
                        .at = at,
                        .base_at = base_at };
    m->made->pieces++;
    return xd_wire_SYNC_PIECE_append(&m->made->frame, &p);
}

/* As xd_delta_out: what follows on in the same way makes the last piece longer. */
static int put_piece(void *arg, uint64_t at, const uint8_t *data, uint64_t base_at, size_t len)
{
    xd_maker *m = arg;
    if (at < m->skip) { /* given out before */
        size_t less = (size_t)XD_MIN(len, m->skip - at);
        at += less;
        base_at += less;
        len -= less;
        if (data)
            data += less;
        if (len == 0)
            return 0;
    }
    piece *p = &m->piece;
    bool   copy = !data;
    if (!p->open || p->file != m->number || p->copy != copy || p->at + p->len != at ||
        (copy && p->base_at + p->len != base_at) || p->len + len > PIECE_MOST)
        XD_TRY(open_piece(m, copy, at, copy ? base_at : 0));
    p->len += len;
    uint8_t *head = m->made->frame.data + p->head;
    put_u32(head + (copy ? PIECE_COUNT_AT : PIECE_LEN_AT), (uint32_t)p->len);
    m->pos.at = at + len;
    if (copy)
        m->copied += len;
    else
        m->made->bytes += len;
    return copy ? 0 : xd_buf_add(&m->made->frame, data, len);
}

/* ---- files -------------------------------------------------------------------------------------------------- */

static int amend(xd_maker *m, const xd_amend *a)
{
    xd_made *made = m->made;
    if (made->amend_count == m->amend_cap) {
        uint32_t  cap = m->amend_cap ? m->amend_cap * 2 : 8;
        xd_amend *more = realloc(made->amends, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        made->amends = more;
        m->amend_cap = cap;
    }
    made->amends[made->amend_count++] = *a;
    return 0;
}

static void next_file(xd_maker *m)
{
    close_file(m);
    m->skip = 0;
    m->tries = 0;
    m->pos.at = 0;
    if (++m->pos.file >= m->ranges[m->pos.range].count) {
        m->pos.file = 0;
        m->pos.range++;
    }
}

/* It cannot be read: it stays as it is on the other end. */
static int leave_out(xd_maker *m, int why)
{
    xd_amend a = { .file = m->number, .gone = true, .why = why };
    m->piece.open = false;
    XD_TRY(amend(m, &a));
    next_file(m);
    return 0;
}

/* Files of one folder follow each other, so it is opened once. */
static int open_source(xd_maker *m)
{
    const xd_manifest *tree = m->source->result.manifest;
    if (m->folder != m->seen.parent) {
        if (m->folder_fd >= 0)
            (void)close(m->folder_fd);
        m->folder = XD_MANIFEST_NONE;
        xd_buf_clear(&m->path);
        XD_TRY(xd_manifest_path(tree, m->seen.parent, &m->path));
        m->folder_fd = xd_scan_open(&m->source->args.scan, m->source->base_fd, xd_buf_cstr(&m->path));
        if (m->folder_fd < 0)
            return m->folder_fd;
        m->folder = m->seen.parent;
    }
    char     name[XD_MANIFEST_NAME_MAX + 1];
    xd_bytes n = xd_entry_name(tree, &m->seen);
    memcpy(name, n.ptr, n.len);
    name[n.len] = 0;
    int fd = openat(m->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

/* Not our fault, and nothing that another attempt would change. */
static bool is_gone(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EACCES || r == -EPERM || r == -ENXIO ||
           r == -EXDEV || r == -EISDIR;
}

static int begin_chunks(xd_maker *m)
{
    xd_chunk_list base;
    bool          has_base = false;
    if ((uint64_t)m->st.st_size < XD_CHUNKED_MIN)
        return 0;
    if (m->base && !m->ranges[m->pos.range].whole) {
        xd_buf_clear(&m->path);
        XD_TRY(xd_manifest_path(m->source->result.manifest, m->source->result.manifest->file[m->number],
                                &m->path));
        uint32_t        at = xd_manifest_find(&m->base->tree, xd_buf_view(&m->path));
        const xd_entry *e = at == XD_MANIFEST_NONE ? NULL : &m->base->tree.entry[at];
        if (e && e->type == XD_SYNC_FILE) {
            xd_bytes list = xd_memory_list(m->base, e->id);
            has_base = list.len && xd_chunk_list_read(list, &base) == 0;
        }
    }
    if (!has_base && xd_source_list(m->source, m->seen.id).len)
        return 0;
    XD_TRY(xd_delta_init(&m->delta, &m->source->chunker, has_base ? &base : NULL, (uint64_t)m->st.st_size));
    m->chunked = true;
    return 0;
}

/* Opens the next file; it may be left out, then none is open. */
static int begin_file(xd_maker *m)
{
    xd_source *s = m->source;
    m->number = m->ranges[m->pos.range].first + m->pos.file;
    (void)pthread_rwlock_rdlock(&s->tree_lock);
    m->seen = s->result.manifest->entry[s->result.manifest->file[m->number]];
    (void)pthread_rwlock_unlock(&s->tree_lock);
    m->window_at = m->read = 0;
    m->window_len = 0;
    m->pos.at = 0;
    m->piece.open = false; /* a file that is begun anew says so with a piece at 0 */
    int fd = open_source(m);
    if (fd < 0)
        return is_gone(fd) ? leave_out(m, fd) : fd;
    m->fd = fd;
    if (fstat(fd, &m->st) < 0)
        return -errno;
    if (!S_ISREG(m->st.st_mode))
        return leave_out(m, -ENOENT);
    if (XXH3_128bits_reset(m->hash) != XXH_OK)
        return -ENOMEM;
    __atomic_fetch_add(&s->stats.read_files, 1, __ATOMIC_RELAXED);
    return begin_chunks(m);
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int changed(xd_maker *m)
{
    close_file(m);
    m->skip = 0;
    m->pos.at = 0;
    return ++m->tries < TRIES ? 0 : leave_out(m, -EAGAIN);
}

/* Gives out what the window has, and keeps what is needed still. */
static int give_out(xd_maker *m, bool end)
{
    if (!m->chunked) {
        /* The piece of an empty file says that it is one. */
        if (end && m->read == 0)
            XD_TRY(open_piece(m, false, 0, 0));
        XD_TRY(m->window_len ? put_piece(m, m->window_at, m->window, 0, m->window_len) : 0);
        m->window_at += m->window_len;
        m->window_len = 0;
        return 0;
    }
    XD_TRY(xd_delta_feed(&m->delta, m->window, m->window_at, m->window_len, end, put_piece, m));
    size_t drop = (size_t)(XD_MIN(xd_delta_from(&m->delta), m->window_at + m->window_len) - m->window_at);
    m->window_len -= drop;
    m->window_at += drop;
    memmove(m->window, m->window + drop, m->window_len);
    return 0;
}

static int remember_chunks(xd_maker *m, xd_digest id)
{
    xd_autobuf list = XD_BUF_INIT;
    if (!m->chunked)
        return 0;
    XD_TRY(xd_delta_list(&m->delta, &list));
    return xd_source_list_add(m->source, id, xd_buf_view(&list));
}

/* All of it was read: is it what was to be read? The last piece goes out only then. */
static int end_file(xd_maker *m)
{
    struct stat now;
    XD_FAULT("maker: read, and not yet looked at again");
    if (fstat(m->fd, &now) < 0)
        return -errno;
    if (now.st_size != m->st.st_size || !same_time(now.st_mtim, m->st.st_mtim) ||
        !same_time(now.st_ctim, m->st.st_ctim))
        return changed(m);
    XXH128_hash_t h = XXH3_128bits_digest(m->hash);
    xd_amend      a = { .file = m->number,
                        .mode = now.st_mode & 0777,
                        .size = (uint64_t)now.st_size,
                        .id = { h.low64, h.high64 } };
    a.mtime_ns = (int64_t)now.st_mtim.tv_sec * 1000000000 + now.st_mtim.tv_nsec;
    bool same = xd_digest_eq(a.id, m->seen.id) && a.size == m->seen.size;
    if (!same && m->skip) /* what was given out before is of another content */
        return changed(m);
    if (!same || a.mtime_ns != m->seen.mtime_ns || a.mode != m->seen.mode)
        XD_TRY(amend(m, &a));
    XD_TRY(give_out(m, true));
    XD_TRY(remember_chunks(m, a.id));
    m->made->files++;
    next_file(m);
    return 0;
}

/* A part of the file that is open. */
static int go_on(xd_maker *m)
{
    size_t  left = (size_t)XD_MIN((uint64_t)m->st.st_size - m->read, (uint64_t)READ_AT_ONCE);
    ssize_t n = 0;
    if (left) {
        do
            n = read(m->fd, m->window + m->window_len, left);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            return -errno;
        if (n == 0)
            return changed(m); /* it has become shorter */
        (void)XXH3_128bits_update(m->hash, m->window + m->window_len, (size_t)n);
        __atomic_fetch_add(&m->source->stats.read_bytes, (uint64_t)n, __ATOMIC_RELAXED);
        m->read += (uint64_t)n;
        m->window_len += (size_t)n;
    }
    return m->read == (uint64_t)m->st.st_size ? end_file(m) : give_out(m, false);
}

static int step(xd_maker *m)
{
    if (m->fd < 0)
        XD_TRY(begin_file(m));
    return m->fd < 0 ? 0 : go_on(m);
}

int xd_maker_next(xd_maker *m, xd_made *ret, xd_error *err)
{
    *ret = (xd_made){ .frame = { .data = ret->frame.data, .cap = ret->frame.cap } };
    m->made = ret;
    m->amend_cap = 0;
    m->copied = 0;
    m->piece.open = false;
    int r = xd_buf_fill(&ret->frame, 0, XD_MADE_HEAD + 4);
    while (r == 0 && m->pos.range < m->count && ret->frame.len < BLOCK_ENOUGH && m->copied < COPIED_ENOUGH)
        r = xd_source_stopped(m->source) ? -ECANCELED : step(m);
    m->made = NULL;
    if (r < 0) {
        xd_autobuf         path = XD_BUF_INIT;
        const xd_manifest *tree = m->source->result.manifest;
        if (r != -ECANCELED && r != -ENOMEM && xd_manifest_path(tree, tree->file[m->number], &path) == 0)
            return xd_error_set(err, r, "cannot read %s: %s", xd_buf_cstr(&path), xd_error_name(r));
        return xd_error_set(err, r, "%s", xd_error_name(r));
    }
    put_u32(ret->frame.data + XD_MADE_HEAD, ret->pieces);
    ret->next = m->pos;
    return m->pos.range < m->count;
}
