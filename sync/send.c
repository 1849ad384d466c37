/* sync/send.c - see send.h and send_state.h: what goes out, and the loop. */
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "sync/send_state.h"

#define LOOK_MS 50 /* how often `stop` is looked at while nothing happens */
#define READ_LIMIT (64u << 10)
#define OUT_KEPT (64u << 10)
#define PROGRESS_NS (100 * XD_MS_NS)

int xd_sender_fault(xd_sender *s, int r)
{
    return xd_error_set(s->err, r, "%s", xd_error_name(r));
}

/* ---- jobs ------------------------------------------------------------------------------------------------------ */

int xd_sender_add_job(xd_sender *s, xd_range **ranges, uint32_t count)
{
    if (s->job_count == XD_SEND_JOBS)
        return xd_sender_wrong(s, "it asks for more and more");
    s->jobs[s->job_count++] = (xd_job){ xd_take(ranges), count };
    return 0;
}

static void drop_job(xd_sender *s)
{
    s->reader = xd_reader_free(s->reader);
    s->begun = false;
    free(s->jobs[0].ranges);
    memmove(s->jobs, s->jobs + 1, --s->job_count * sizeof *s->jobs);
}

static void say_amend(xd_sender *s, const xd_amend *a)
{
    xd_autobuf         line = XD_BUF_INIT;
    const xd_manifest *tree = s->source->result.manifest;
    if (!s->args->say || xd_manifest_path(tree, tree->file[a->file], &line) < 0)
        return;
    int r = a->why == -EAGAIN ? xd_buf_add_str(&line, " changes each time it is read")
                              : xd_buf_printf(&line, " cannot be read any more: %s", xd_error_name(a->why));
    if (r == 0 && xd_buf_add_str(&line, "; it is left as it is there") == 0)
        s->args->say(s->args->arg, XD_NOTE_WARNING, xd_buf_view(&line));
}

/* Tells what has changed since the scan, as far as it was found. Goes out before the block that is next, and before SYNC_END. */
static int tell_amends(xd_sender *s)
{
    for (uint32_t count = xd_source_amends(s->source); s->amends < count; s->amends++) {
        xd_amend a = xd_source_amend_at(s->source, s->amends);
        if (s->amends < s->amends_open && !a.gone)
            continue;
        xd_wire_SYNC_AMEND m = { .file = a.file,
                                 .gone = a.gone,
                                 .mode = a.mode,
                                 .size = a.size,
                                 .mtime_ns = (uint64_t)a.mtime_ns,
                                 .lo = a.id.lo,
                                 .hi = a.id.hi };
        XD_TRY(xd_wire_SYNC_AMEND_frame(&s->out.buf, 0, 0, &m));
        if (a.gone)
            say_amend(s, &a);
        if (a.why == -EAGAIN && !s->unstable)
            s->unstable = a.file + 1;
    }
    return 0;
}

/* With the tree's lock: records, and the job that belongs to them. */
static int add_records(xd_sender *s, const xd_base *base)
{
    bool         push = !(s->args->flags & XD_SYNC_FLAG_DRY_RUN);
    xd_send_plan plan = XD_SEND_PLAN_INIT;
    XD_TRY(xd_send_plan_make(&plan, s->source, s->amends_open, base, push, s->args->zstd, &s->out.buf));
    s->c.wanted_files += plan.push_files;
    s->c.wanted_bytes += plan.push_bytes;
    int r = xd_sender_add_job(s, &plan.push, plan.pushes);
    xd_send_plan_release(&plan);
    s->all_records |= !base;
    return r;
}

static int open_it(xd_sender *s)
{
    xd_source *src = s->source;
    (void)pthread_rwlock_rdlock(&src->tree_lock);
    xd_digest         id = xd_manifest_digest(src->result.manifest);
    xd_wire_SYNC_OPEN m = { .flags = s->args->flags | (s->remembered ? XD_SYNC_FLAG_ALONE : 0u),
                            .lo = id.lo,
                            .hi = id.hi }; /* the folder was named before */
    s->amends_open = xd_source_amends(src);
    s->c.files = src->result.manifest->files;
    s->c.bytes = src->result.manifest->bytes;
    int r = xd_wire_SYNC_OPEN_frame(&s->out.buf, 0, 0, &m);
    if (r == 0 && !s->remembered)
        r = add_records(s, s->base);
    s->opened = true;
    (void)pthread_rwlock_unlock(&src->tree_lock);
    return r < 0 ? xd_sender_fault(s, r) : 0;
}

int xd_sender_start_over(xd_sender *s)
{
    int r = 0;
    if (s->block && s->block_at == 0) { /* one that is half written goes out to its end */
        s->data_sent -= s->block->len - XD_FRAME_HEADER;
        xd_block_done(s->source, &s->block);
    }
    while (s->job_count && r == 0) {
        r = xd_wire_SYNC_END_frame(&s->out.buf, 0, 0, &(xd_wire_SYNC_END){ 0 });
        drop_job(s);
    }
    s->deltas = false;
    s->remembered = false;
    (void)pthread_rwlock_rdlock(&s->source->tree_lock);
    if (r == 0)
        r = add_records(s, NULL); /* of the tree that was announced */
    (void)pthread_rwlock_unlock(&s->source->tree_lock);
    return r < 0 ? xd_sender_fault(s, r) : 0;
}

/* What it has: the header of what is remembered says whether more is to be read. */
static int look_back(xd_sender *s)
{
    xd_digest has, wanted;
    if (!s->args->key || !s->source->args.memory ||
        xd_memory_peek(s->source->args.memory, s->args->key, &has) < 0)
        return 0;
    (void)pthread_rwlock_rdlock(&s->source->tree_lock);
    wanted = xd_manifest_digest(s->source->result.manifest);
    (void)pthread_rwlock_unlock(&s->source->tree_lock);
    s->remembered = xd_digest_eq(has, wanted);
    if (s->remembered)
        return 0;
    int r = xd_source_base(s->source, s->args->key, has, &s->base);
    s->deltas = r == 0;
    return r == -ENOENT ? 0 : r < 0 ? xd_sender_fault(s, r) : 0;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

enum { MORE, BLOCKED, STARVED, IDLE };

/* 0 = all is written, 1 = the socket is full. */
static int write_some(xd_sender *s, const uint8_t *data, size_t len, size_t *at)
{
    while (*at < len) {
        ssize_t n = xd_os_write_some(s->args->fd, data + *at, len - *at);
        if (n == -EAGAIN)
            return 1;
        if (n == -EPIPE || n == -ECONNRESET) { /* it may have said why before */
            s->closed = true;
            return 0;
        }
        if (n < 0)
            return xd_sender_fault(s, (int)n);
        *at += (size_t)n;
        s->c.wire_bytes += (size_t)n;
    }
    return 0;
}

static int write_block(xd_sender *s)
{
    int r = write_some(s, s->block->frame, s->block->len, &s->block_at);
    if (r != 0 || s->closed)
        return r;
    s->c.sent_files += s->block->files;
    s->c.sent_bytes += s->block->bytes;
    s->content += s->block->bytes;
    xd_block_done(s->source, &s->block);
    return 0;
}

static int end_job(xd_sender *s)
{
    int r = tell_amends(s);
    if (r == 0)
        r = xd_wire_SYNC_END_frame(&s->out.buf, 0, 0, &(xd_wire_SYNC_END){ 0 });
    drop_job(s);
    return r < 0 ? xd_sender_fault(s, r) : MORE;
}

static void came(xd_sender *s)
{
    if (!s->came)
        xd_blocks_came(s->source);
    s->came = true;
}

static int begin_job(xd_sender *s)
{
    xd_job *j = &s->jobs[0];
    s->begun = true;
    if (j->count == 0)
        return MORE;
    int r = xd_reader_new(&s->reader, s->source, &j->ranges, j->count, s->deltas ? s->base : NULL,
                          s->args->zstd, s->wake_fd);
    if (r < 0)
        return xd_sender_fault(s, r);
    came(s);
    xd_link_begin(s);
    return MORE;
}

/* The next thing to be written. */
static int next_thing(xd_sender *s)
{
    if (s->job_count == 0)
        return IDLE;
    if (!s->begun)
        return begin_job(s);
    if (!s->reader)
        return end_job(s);
    if (s->data_sent - s->taken >= xd_link_window(s))
        return BLOCKED;
    int r = xd_reader_next(s->reader, &s->block, s->err);
    if (r == -EAGAIN)
        return STARVED;
    if (r <= 0)
        return r < 0 ? r : end_job(s);
    s->block_at = 0;
    s->data_sent += s->block->len - XD_FRAME_HEADER;
    xd_link_sent(s);
    r = tell_amends(s);
    return r < 0 ? xd_sender_fault(s, r) : MORE;
}

/* Writes what there is to be written, and can be. Frames of `out` never get into the middle of a block. */
static int pump(xd_sender *s)
{
    for (;;) {
        int r = 0;
        if (s->closed)
            return IDLE;
        if (s->block && s->block_at)
            r = write_block(s);
        if (r == 0 && !s->closed && xd_stream_out_pending(&s->out)) {
            xd_bytes rest = xd_stream_out_view(&s->out);
            size_t   at = 0;
            r = write_some(s, rest.ptr, rest.len, &at);
            xd_stream_out_written(&s->out, at);
            if (s->out.buf.len == 0 && s->out.buf.cap > OUT_KEPT) /* records of a whole tree */
                xd_stream_out_release(&s->out);
        }
        if (r == 0 && !s->closed && s->block)
            r = write_block(s);
        if (r != 0)
            return r < 0 ? r : BLOCKED;
        if (s->closed)
            return IDLE;
        r = next_thing(s);
        if (r != MORE)
            return r;
    }
}

/* ---- reading, waiting ----------------------------------------------------------------------------------------------- */

static int read_answers(xd_sender *s)
{
    for (;;) {
        uint8_t *at;
        size_t   room;
        int      r = xd_stream_in_space(&s->in, READ_LIMIT, &at, &room);
        if (r < 0)
            return xd_sender_fault(s, r);
        ssize_t n = recv(s->args->fd, at, XD_MIN(room, READ_LIMIT), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0 && errno != ECONNRESET && errno != EPIPE)
            return xd_sender_fault(s, -errno);
        if (n <= 0)
            return xd_error_set(s->err, -EPIPE, "the connection ended in the middle of the synchronisation");
        xd_stream_in_filled(&s->in, (size_t)n);
        s->c.wire_back_bytes += (uint64_t)n;
        xd_frame f;
        while (!s->over && (r = xd_stream_in_next(&s->in, &f)) == 1)
            XD_TRY(xd_sender_answer(s, &f));
        if (r < 0)
            return xd_sender_wrong(s, "no frame of the protocol");
        if (s->over)
            return 0;
    }
}

static void tell_progress(xd_sender *s)
{
    uint64_t now = xd_clock_ns();
    s->c.duration_ns = now - s->began_ns;
    if (s->args->progress && now - s->told_ns >= PROGRESS_NS) {
        s->told_ns = now;
        s->args->progress(s->args->arg, &s->c);
    }
}

static bool stopped(const xd_sender *s)
{
    return xd_source_stopped(s->source) ||
           (s->args->stop && __atomic_load_n(s->args->stop, __ATOMIC_RELAXED));
}

static int wait_for(xd_sender *s, int state)
{
    bool          full = xd_stream_out_pending(&s->out) || (s->block && state == BLOCKED);
    struct pollfd fds[2] = { { .fd = s->args->fd, .events = POLLIN },
                             { .fd = s->wake_fd, .events = POLLIN } };
    if (full)
        fds[0].events |= POLLOUT;
    s->waiting = state == IDLE;
    int n = poll(fds, 2, LOOK_MS);
    if (n < 0 && errno != EINTR)
        return xd_sender_fault(s, -errno);
    eventfd_t ignored;
    if (n > 0 && fds[1].revents)
        (void)eventfd_read(s->wake_fd, &ignored);
    return 0;
}

static int run(xd_sender *s)
{
    XD_TRY(open_it(s));
    while (!s->over) {
        if (stopped(s))
            return xd_error_set(s->err, -ECANCELED, "stopped");
        int state = pump(s);
        if (state < 0)
            return state;
        XD_TRY(wait_for(s, state));
        XD_TRY(read_answers(s));
        tell_progress(s);
    }
    return 0;
}

/* ---- one synchronisation ----------------------------------------------------------------------------------------------- */

static void remember(xd_sender *s)
{
    xd_error err;
    if (!s->args->key || !s->source->args.memory || s->args->flags & XD_SYNC_FLAG_DRY_RUN ||
        (s->remembered && s->amends_done == s->amends_open))
        return;
    if (xd_source_remember(s->source, s->args->key, s->base, s->amends_done, &err) < 0 && s->args->say)
        s->args->say(s->args->arg, XD_NOTE_DETAIL, xd_bytes_str(err.text));
}

static int finish(xd_sender *s)
{
    remember(s);
    if (!s->unstable)
        return 0;
    xd_autobuf         path = XD_BUF_INIT;
    const xd_manifest *tree = s->source->result.manifest;
    int                r = xd_manifest_path(tree, tree->file[s->unstable - 1], &path);
    return r < 0 ? xd_sender_fault(s, r)
                 : xd_error_set(s->err, -EAGAIN, "%s changes each time it is read; all else is synchronised",
                                xd_buf_cstr(&path));
}

static void release(xd_sender *s)
{
    while (s->job_count)
        drop_job(s);
    xd_block_done(s->source, &s->block);
    xd_source_base_release(s->source, s->base);
    xd_stream_in_release(&s->in);
    xd_stream_out_release(&s->out);
    xd_buf_release(&s->wanted);
    xd_buf_release(&s->keep);
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd);
}

/* The far half looks at its folder while this end still scans. What the socket does not take now goes out with the rest. */
static int name_folder(xd_sender *s)
{
    xd_wire_SYNC_LOOK m = { .project = (s->args->flags & XD_SYNC_FLAG_PROJECT) != 0,
                            .folder = xd_bytes_str(s->args->folder) };
    XD_TRY(xd_wire_SYNC_LOOK_frame(&s->out.buf, 0, 0, &m));
    xd_bytes rest = xd_stream_out_view(&s->out);
    ssize_t  n = xd_os_write_some(s->args->fd, rest.ptr, rest.len);
    if (n > 0) {
        xd_stream_out_written(&s->out, (size_t)n);
        s->c.wire_bytes += (uint64_t)n;
    }
    return 0;
}

int xd_send(const xd_send_args *args, xd_sync_counts *ret, xd_error *err)
{
    xd_error  local = { 0 };
    xd_sender s = {
        .args = args, .source = args->source, .err = err ? err : &local, .began_ns = xd_clock_ns()
    };
    const xd_scan_result *scan;
    xd_stream_in_init(&s.in, false);
    s.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = s.wake_fd < 0 ? xd_sender_fault(&s, -errno) : name_folder(&s);
    if (r == 0)
        r = xd_source_scanned(args->source, &scan, s.err);
    if (r == 0)
        r = look_back(&s);
    if (r == 0)
        r = run(&s);
    if (r == 0)
        r = finish(&s);
    s.c.duration_ns = xd_clock_ns() - s.began_ns;
    came(&s);
    release(&s);
    *ret = s.c;
    return r;
}
