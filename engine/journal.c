/* engine/journal.c - see journal.h. */
#include "engine/journal.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include <xxhash.h>

#include "engine/base/path.h"
#include "engine/base/clock.h"
#include "engine/base/fault.h"

static const char magic[8] = "XDJOURN1";

struct xd_journal {
    uint64_t limit; /* 0 = none */
    int      fd, wake_fd,
        commit_fd;         /* wake_fd: writer -> committer; commit_fd: committer -> whoever acknowledges */
    int       dir_fd;      /* until the file's name is durable too; -1 */
    uint64_t  end;         /* written; the writer's own */
    uint64_t  written;     /* the same, read by the committer; atomic */
    uint64_t  durable;     /* atomic */
    uint32_t  uncommitted; /* records since the last wake of the committer */
    int       fault;       /* atomic */
    bool      stop;        /* atomic */
    pthread_t thread;
    bool      threaded;
};

static uint32_t record_check(const void *frame, size_t len, uint64_t offset)
{
    return (uint32_t)XXH3_64bits_withSeed(frame, len, offset);
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- group commit ------------------------------------------------------------------------------- */

static void commit(xd_journal *j)
{
    uint64_t upto = __atomic_load_n(&j->written, __ATOMIC_ACQUIRE);
    if (upto == __atomic_load_n(&j->durable, __ATOMIC_RELAXED) ||
        __atomic_load_n(&j->fault, __ATOMIC_ACQUIRE))
        return;
    bool bad = fdatasync(j->fd) < 0;
    if (j->dir_fd >= 0) { /* a new file's data are of no use without its name */
        bad |= fsync(j->dir_fd) < 0 && errno != EINVAL;
        close(j->dir_fd);
        j->dir_fd = -1;
    }
    if (bad)
        __atomic_store_n(&j->fault, -errno,
                         __ATOMIC_RELEASE); /* what the kernel dropped is not brought back by trying again */
    else
        __atomic_store_n(&j->durable, upto, __ATOMIC_SEQ_CST); /* seen before `written` is asked for again */
    uint64_t one = 1;
    (void)!write(j->commit_fd, &one, sizeof(one));
}

static void *committer(void *arg)
{
    xd_journal *j = arg;
    while (!__atomic_load_n(&j->stop, __ATOMIC_ACQUIRE)) {
        struct pollfd p = { .fd = j->wake_fd, .events = POLLIN };
        /* see xd_journal_append */
        bool idle =
            __atomic_load_n(&j->written, __ATOMIC_SEQ_CST) == __atomic_load_n(&j->durable, __ATOMIC_RELAXED);
        uint64_t n;
        if (poll(&p, 1, idle ? -1 : (int)XD_JOURNAL_COMMIT_MS) > 0)
            (void)!read(j->wake_fd, &n, sizeof(n));
        if (idle && !__atomic_load_n(&j->stop, __ATOMIC_ACQUIRE)) {
            /* The first record after a pause: gather what comes within the window, unless it fills up. */
            if (poll(&p, 1, (int)XD_JOURNAL_COMMIT_MS) > 0)
                (void)!read(j->wake_fd, &n, sizeof(n));
        }
        commit(j);
    }
    return NULL;
}

static void wake(xd_journal *j)
{
    uint64_t one = 1;
    (void)!write(j->wake_fd, &one, sizeof(one));
    j->uncommitted = 0;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static int write_header(xd_journal *j, const char *run_id)
{
    uint8_t h[XD_JOURNAL_HEADER] = { 0 };
    memcpy(h, magic, sizeof(magic));
    put_u32(h + 8, XD_WIRE_VERSION);
    memcpy(h + 16, run_id, strnlen(run_id, 32));
    if (write(j->fd, h, sizeof(h)) != (ssize_t)sizeof(h))
        return errno ? -errno : -EIO;
    j->end = sizeof(h);
    return 0;
}

static int start(xd_journal *j)
{
    sigset_t all, old;
    j->written = j->durable = j->end;
    j->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    j->commit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->wake_fd < 0 || j->commit_fd < 0)
        return -errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = -pthread_create(&j->thread, NULL, committer, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r == 0) {
        j->threaded = true;
        pthread_setname_np(j->thread, "xd-journal");
    }
    return r;
}

int xd_journal_open(xd_journal **ret, const char *path, const char *run_id, bool append, xd_error *err)
{
    xd_auto(xd_journal) *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    j->fd = j->wake_fd = j->commit_fd = j->dir_fd = -1;
    if (append) {
        xd_journal_check c;
        XD_TRY(xd_journal_verify(path, true, &c, err));
        j->end = c.good_bytes;
    }
    j->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | (append ? 0 : O_CREAT | O_EXCL), 0600);
    if (j->fd < 0)
        return xd_error_set(err, -errno, "cannot write the journal %s: %s", path, strerror(errno));
    int r = append ? 0 : write_header(j, run_id);
    if (r == 0 && !append) {
        xd_autofree char *dir = xd_path_dir(path);
        j->dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        r = dir ? (j->dir_fd < 0 ? -errno : 0) : -ENOMEM;
    }
    if (r == 0)
        r = start(j);
    if (r < 0)
        return xd_error_set(err, r, "cannot write the journal %s: %s", path, xd_error_name(r));
    *ret = xd_take(&j);
    return 0;
}

int xd_journal_finish(xd_journal *j)
{
    if (j->threaded) {
        __atomic_store_n(&j->stop, true, __ATOMIC_RELEASE);
        wake(j);
        pthread_join(j->thread, NULL);
        j->threaded = false;
        commit(j);
    }
    return xd_journal_fault(j);
}

xd_journal *xd_journal_close(xd_journal *j)
{
    if (!j)
        return NULL;
    (void)!xd_journal_finish(j);
    int fds[] = { j->fd, j->wake_fd, j->commit_fd, j->dir_fd };
    for (size_t i = 0; i < XD_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(j);
    return NULL;
}

/* writev until all is out.  A write that fails in the middle leaves a torn record: readers stop before it. */
static int write_record(int fd, struct iovec *v, int n)
{
    while (n) {
        ssize_t done = writev(fd, v, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        while (n && (size_t)done >= v->iov_len) {
            done -= (ssize_t)v->iov_len;
            v++;
            n--;
        }
        if (n) {
            v->iov_base = (uint8_t *)v->iov_base + done;
            v->iov_len -= (size_t)done;
        }
    }
    return 0;
}

void xd_journal_limit(xd_journal *j, uint64_t bytes)
{
    j->limit = bytes;
}

bool xd_journal_full(const xd_journal *j, size_t more)
{
    return j->limit && j->end + XD_JOURNAL_RECORD + more > j->limit;
}

int xd_journal_append(xd_journal *j, const void *frame, size_t len, uint16_t gateway, uint64_t *ret_end)
{
    int fault = xd_journal_fault(j);
    if (fault < 0)
        return fault;
    uint8_t  head[XD_JOURNAL_RECORD + XD_FRAME_HEADER];
    uint8_t *fh = head + XD_JOURNAL_RECORD;
    memcpy(fh, frame, XD_FRAME_HEADER);
    fh[6] = (uint8_t)gateway;
    fh[7] = (uint8_t)(gateway >> 8);
    XXH3_state_t state;
    XXH3_64bits_reset_withSeed(&state, j->end);
    XXH3_64bits_update(&state, fh, XD_FRAME_HEADER);
    XXH3_64bits_update(&state, (const uint8_t *)frame + XD_FRAME_HEADER, len - XD_FRAME_HEADER);
    put_u32(head, (uint32_t)len);
    put_u32(head + 4, (uint32_t)XXH3_64bits_digest(&state));
    struct iovec v[2] = { { head, sizeof(head) },
                          { (uint8_t *)(uintptr_t)frame + XD_FRAME_HEADER, len - XD_FRAME_HEADER } };
    int          r = write_record(j->fd, v, 2);
    if (r < 0) {
        __atomic_store_n(&j->fault, r, __ATOMIC_RELEASE);
        return r;
    }
    XD_FAULT("journal: written, not told");
    uint64_t before = j->end;
    j->end += XD_JOURNAL_RECORD + len;
    /* Tell, then ask whether the committer may be asleep; it does the same the other way round (`idle`). So either it
     * sees this record, or this sees that all before it is durable. */
    __atomic_store_n(&j->written, j->end, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&j->durable, __ATOMIC_SEQ_CST) >= before ||
        ++j->uncommitted >= XD_JOURNAL_COMMIT_RECORDS)
        wake(j);
    if (ret_end)
        *ret_end = j->end;
    return 0;
}

uint64_t xd_journal_end(const xd_journal *j)
{
    return j->end;
}

uint64_t xd_journal_durable(const xd_journal *j)
{
    return __atomic_load_n(&j->durable, __ATOMIC_ACQUIRE);
}

int xd_journal_commit_fd(const xd_journal *j)
{
    return j->commit_fd;
}

int xd_journal_fault(const xd_journal *j)
{
    return __atomic_load_n(&j->fault, __ATOMIC_ACQUIRE);
}

/* ---- reading --------------------------------------------------------------------------------------- */

/* In order, and back to single records, which may lie anywhere. */
#define READ_AHEAD (256u << 10)
#define LOOK_BACK (16u << 10)
#define LAST_MAX (64u << 10)
#define LAST_RECORDS 64

struct xd_journal_reader {
    int      fd;
    uint64_t next;   /* offset of the next record */
    xd_buf   window; /* bytes of the file from window_at on */
    uint64_t window_at;
    xd_buf   single; /* of xd_journal_reader_at, as window is of xd_journal_reader_next */
    uint64_t single_at;
    size_t   ahead;
    char     run_id[33];
};

int xd_journal_reader_open(xd_journal_reader **ret, const char *path, xd_error *err)
{
    xd_auto(xd_journal_reader) *r = calloc(1, sizeof(*r));
    uint8_t h[XD_JOURNAL_HEADER];
    if (!r)
        return -ENOMEM;
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return xd_error_set(err, -errno, "cannot read the journal %s: %s", path, strerror(errno));
    if (pread(r->fd, h, sizeof(h), 0) != (ssize_t)sizeof(h) || memcmp(h, magic, sizeof(magic)) != 0)
        return xd_error_set(err, -EPROTO, "%s is not a journal of xd", path);
    const uint32_t version = get_u32(h + 8);
    if (version < XD_WIRE_VERSION_MIN || version > XD_WIRE_VERSION)
        return xd_error_set(
            err, -EPROTO, "the journal %s is of version %u, this xd reads versions %u to %u%s", path, version,
            XD_WIRE_VERSION_MIN, XD_WIRE_VERSION, version > XD_WIRE_VERSION ? "; a newer xd wrote it" : "");
    memcpy(r->run_id, h + 16, 32);
    r->next = r->window_at = XD_JOURNAL_HEADER;
    r->ahead = READ_AHEAD;
    *ret = xd_take(&r);
    return 0;
}

xd_journal_reader *xd_journal_reader_close(xd_journal_reader *r)
{
    if (r) {
        if (r->fd >= 0)
            close(r->fd);
        xd_buf_release(&r->window);
        xd_buf_release(&r->single);
        free(r);
    }
    return NULL;
}

/* At least `want` bytes from `offset` on in `buf`, which begins at *buf_at: 1 = they are there, 0 = the file
 * ends before. */
static int fill(xd_journal_reader *r, xd_buf *buf, uint64_t *buf_at, size_t ahead, uint64_t offset,
                size_t want)
{
    if (offset < *buf_at || offset > *buf_at + buf->len) {
        xd_buf_clear(buf);
        *buf_at = offset;
    }
    size_t skip = (size_t)(offset - *buf_at);
    if (buf->len - skip >= want)
        return 1;
    xd_buf_consume(buf, skip);
    *buf_at = offset;
    XD_TRY(xd_buf_reserve(buf, XD_MAX(want, ahead) - XD_MIN(buf->len, want)));
    while (buf->len < want) {
        ssize_t n = pread(r->fd, buf->data + buf->len, buf->cap - buf->len, (off_t)(*buf_at + buf->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        buf->len += (size_t)n;
    }
    return 1;
}

static int read_record(xd_journal_reader *r, xd_buf *buf, uint64_t *buf_at, size_t ahead, uint64_t offset,
                       xd_frame *ret, uint32_t *ret_len)
{
    int got = fill(r, buf, buf_at, ahead, offset, XD_JOURNAL_RECORD + XD_FRAME_HEADER);
    if (got <= 0)
        return got;
    const uint8_t *p = buf->data + (offset - *buf_at);
    uint32_t       len = get_u32(p), check = get_u32(p + 4);
    XD_TRY(xd_wire_header(p + XD_JOURNAL_RECORD, ret));
    if (len != ret->len + XD_FRAME_HEADER)
        return -EPROTO;
    got = fill(r, buf, buf_at, ahead, offset, XD_JOURNAL_RECORD + len);
    if (got <= 0)
        return got;
    p = buf->data + (offset - *buf_at) + XD_JOURNAL_RECORD;
    if (record_check(p, len, offset) != check)
        return -EPROTO;
    ret->body = p + XD_FRAME_HEADER;
    *ret_len = len;
    return 1;
}

void xd_journal_reader_look(xd_journal_reader *r)
{
    r->ahead = LOOK_BACK;
}

/* The record in `bytes`, which lie at `base` in the file, that ends at *end; *end becomes its start. A place whose length
 * leads there is one; the check, which depends on the place, tells. */
static int record_before(xd_journal_reader *r, xd_bytes bytes, uint64_t base, size_t *end, xd_frame *ret)
{
    for (size_t at = *end; at-- > 0;) {
        const size_t left = *end - at;
        if (left < XD_JOURNAL_RECORD + XD_FRAME_HEADER || get_u32(bytes.ptr + at) != left - XD_JOURNAL_RECORD)
            continue;
        if (xd_journal_reader_at(r, base + at, ret) == 0) {
            *end = at;
            return 0;
        }
    }
    return -ENOENT;
}

int xd_journal_reader_last(xd_journal_reader *r, uint16_t type, xd_frame *ret)
{
    struct stat st;
    xd_autobuf  tail = XD_BUF_INIT;
    if (fstat(r->fd, &st) < 0)
        return -errno;
    const uint64_t size = (uint64_t)st.st_size;
    const uint64_t base = size > XD_JOURNAL_HEADER + LAST_MAX ? size - LAST_MAX : XD_JOURNAL_HEADER;
    if (size <= base)
        return -ENOENT;
    XD_TRY(xd_buf_reserve(&tail, (size_t)(size - base)));
    if (pread(r->fd, tail.data, (size_t)(size - base), (off_t)base) != (ssize_t)(size - base))
        return -EIO;
    size_t end = tail.len = (size_t)(size - base);
    for (int i = 0; i < LAST_RECORDS && end; i++) {
        XD_TRY(record_before(r, xd_buf_view(&tail), base, &end, ret));
        if (ret->type == type)
            return 0;
    }
    return -ENOENT;
}

int xd_journal_reader_next(xd_journal_reader *r, xd_frame *ret, uint64_t *ret_offset)
{
    uint32_t len;
    int      got = read_record(r, &r->window, &r->window_at, r->ahead, r->next, ret, &len);
    if (got != 1)
        return got;
    if (ret_offset)
        *ret_offset = r->next;
    r->next += XD_JOURNAL_RECORD + len;
    return 1;
}

int xd_journal_reader_at(xd_journal_reader *r, uint64_t offset, xd_frame *ret)
{
    uint32_t len;
    int      got = read_record(r, &r->single, &r->single_at, LOOK_BACK, offset, ret, &len);
    return got == 1 ? 0 : got == 0 ? -ENOENT : got;
}

uint64_t xd_journal_reader_offset(const xd_journal_reader *r)
{
    return r->next;
}

const char *xd_journal_reader_run_id(const xd_journal_reader *r)
{
    return r->run_id;
}

int xd_journal_verify(const char *path, bool repair, xd_journal_check *ret, xd_error *err)
{
    xd_auto(xd_journal_reader) *r = NULL;
    xd_frame    f;
    struct stat st;
    XD_TRY(xd_journal_reader_open(&r, path, err));
    *ret = (xd_journal_check){ 0 };
    int got;
    while ((got = xd_journal_reader_next(r, &f, NULL)) == 1)
        ret->records++;
    if (got < 0 && got != -EPROTO)
        return xd_error_set(err, got, "cannot read the journal %s: %s", path, xd_error_name(got));
    if (fstat(r->fd, &st) < 0)
        return -errno;
    ret->good_bytes = r->next;
    ret->bad_bytes = (uint64_t)st.st_size - r->next;
    if (repair && ret->bad_bytes && truncate(path, (off_t)ret->good_bytes) < 0)
        return xd_error_set(err, -errno, "cannot cut the torn end off the journal %s: %s", path,
                            strerror(errno));
    return 0;
}
