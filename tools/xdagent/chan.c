/* Frames to and from one local process, over a socket or a pair of pipes. */
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define KEPT_BYTES (64u << 10)
#define DIRECT_BYTES 4096u  /* of a body that is worth it */
#define OUT_MAX (64u << 20) /* unread commands of one process: more than any correct run has */

typedef struct chan_fds {
    size_t at; /* offset in `out` of the byte they go with */
    int    fd[4];
    size_t count;
} chan_fds;

static void on_event(void *arg, int fd, uint32_t events);

static void close_fds(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void drop_fds(agent_chan *c)
{
    for (size_t i = 0; i < c->nfds; i++)
        close_fds(c->fds[i].fd, c->fds[i].count);
    c->nfds = 0;
}

static int watch(agent_chan *c)
{
    uint32_t want = (c->reading ? XD_POLL_IN : 0) | (c->out.len > c->written ? XD_POLL_OUT : 0);
    if (c->fd < 0 || want == c->events)
        return 0;
    c->events = want;
    return xd_poller_set(c->agent->poller, c->fd, want, on_event, c);
}

int agent_chan_open(agent_chan *c, agent *a, int fd, bool reading, agent_frame_fn on_frame,
                    agent_end_fn on_end, void *arg)
{
    *c = (agent_chan){
        .agent = a, .fd = fd, .reading = reading, .on_frame = on_frame, .on_end = on_end, .arg = arg
    };
    xd_stream_in_init(&c->rx, false);
    XD_TRY(xd_poller_set(a->poller, fd, 0, on_event, c));
    return watch(c);
}

void agent_chan_close(agent_chan *c)
{
    if (!c->agent)
        return;
    if (c->fd >= 0) {
        xd_poller_remove(c->agent->poller, c->fd);
        close(c->fd);
    }
    drop_fds(c);
    free(c->fds);
    xd_stream_in_release(&c->rx);
    xd_buf_release(&c->out);
    *c = (agent_chan){ .fd = -1 };
}

void agent_chan_read(agent_chan *c, bool on)
{
    if (!c->agent || c->fd < 0 || c->reading == on)
        return;
    c->reading = on;
    agent_fault(c->agent, watch(c));
}

/* ---- out ------------------------------------------------------------------------------------------ */

static ssize_t write_some(agent_chan *c)
{
    size_t stop = c->out.len;
    if (c->nfds && c->fds[0].at == c->written) {
        /* Descriptors go with the first byte of their frame; the rest of it may follow in the same
         * message. */
        size_t  end = c->nfds > 1 ? c->fds[1].at : stop;
        ssize_t n =
            xd_os_send_fds(c->fd, c->out.data + c->written, end - c->written, c->fds[0].fd, c->fds[0].count);
        if (n > 0) {
            close_fds(c->fds[0].fd, c->fds[0].count);
            memmove(c->fds, c->fds + 1, --c->nfds * sizeof(*c->fds));
        }
        return n;
    }
    if (c->nfds)
        stop = c->fds[0].at;
    ssize_t n = write(c->fd, c->out.data + c->written, stop - c->written);
    return n < 0 ? -errno : n;
}

/* What is written makes room, also of a channel that always has something to write. */
static void drop_written(agent_chan *c)
{
    if (c->written == c->out.len) {
        if (c->out.cap > 4 * KEPT_BYTES)
            xd_buf_release(&c->out);
        xd_buf_clear(&c->out);
        c->written = 0;
    } else if (c->written > KEPT_BYTES && c->written > c->out.len / 2) {
        xd_buf_consume(&c->out, c->written);
        for (size_t i = 0; i < c->nfds; i++)
            c->fds[i].at -= c->written;
        c->written = 0;
    }
}

static int flush(agent_chan *c)
{
    while (c->fd >= 0 && c->written < c->out.len) {
        ssize_t n = write_some(c);
        if (n == -EAGAIN || n == -EINTR)
            break;
        if (n == -EPIPE || n == -ECONNRESET) {
            drop_fds(c); /* its reader is gone: the end of the process is told elsewhere */
            c->written = c->out.len;
            break;
        }
        if (n < 0)
            return (int)n;
        c->written += (size_t)n;
    }
    drop_written(c);
    return watch(c);
}

/* A frame before which nothing waits, from where it is. The bytes of it that were written; what is wrong is for flush to find. */
static size_t write_at_once(agent_chan *c, uint16_t type, xd_bytes body)
{
    uint8_t            head[XD_FRAME_HEADER];
    const struct iovec parts[] = { { head, sizeof(head) }, { (void *)(uintptr_t)body.ptr, body.len } };
    xd_wire_put_header(head, &(xd_frame){ .len = (uint32_t)body.len, .type = type });
    const ssize_t n = writev(c->fd, parts, 2);
    return n < 0 ? 0 : (size_t)n;
}

int agent_chan_send(agent_chan *c, uint16_t type, xd_bytes body, const int *fds, size_t nfds)
{
    size_t mark, done = 0;
    int    r = c->fd < 0 ? -EPIPE : c->out.len + body.len > OUT_MAX ? -ENOBUFS : 0;
    if (r == 0 && nfds) {
        chan_fds *more = realloc(c->fds, (c->nfds + 1) * sizeof(*more));
        r = more ? 0 : -ENOMEM;
        if (more)
            c->fds = more;
    }
    size_t at = c->out.len;
    if (r == 0 && at == 0 && body.len >= DIRECT_BYTES && !nfds)
        done = write_at_once(c, type, body);
    if (done == XD_FRAME_HEADER + body.len)
        return 0;
    if (r == 0)
        r = xd_wire_frame_begin(&c->out, type, 0, 0, &mark);
    if (r == 0)
        r = xd_buf_add_bytes(&c->out, body);
    if (r == 0)
        r = xd_wire_frame_end(&c->out, mark);
    if (r < 0) {
        close_fds(fds, nfds);
        return r == -EPIPE ? 0 : r;
    }
    c->written += done;
    if (nfds) {
        chan_fds *f = &c->fds[c->nfds++];
        *f = (chan_fds){ .at = at, .count = nfds };
        memcpy(f->fd, fds, nfds * sizeof(int));
    }
    return flush(c);
}

/* ---- in --------------------------------------------------------------------------------------------- */

static void ended(agent_chan *c, int error)
{
    agent_end_fn on_end = c->on_end;
    void        *arg = c->arg;
    agent_chan_close(c);
    if (on_end)
        on_end(arg, error);
}

/* Gives all whole frames to the owner, who may close the channel. */
static int deliver(agent_chan *c)
{
    xd_frame f;
    int      r = 0;
    while (r == 0 && c->fd >= 0) {
        r = xd_stream_in_next(&c->rx, &f);
        if (r <= 0)
            return r;
        r = c->on_frame(c->arg, &f);
    }
    return r;
}

ssize_t agent_chan_pump(agent_chan *c, size_t max)
{
    agent *a = c->agent;
    size_t got = 0;
    while (c->fd >= 0 && got < max && (got == 0 || !agent_link_full(a))) {
        int n = xd_stream_read_fd(&c->rx, c->fd, AGENT_SCRATCH);
        if (n == -EAGAIN)
            break;
        if (n <= 0) {
            ended(c, 0);
            return got ? (ssize_t)got : -EPIPE;
        }
        got += (size_t)n;
        int r = deliver(c);
        if (r == -EPROTO) {
            ended(c, r); /* this peer is dropped; the others go on */
            return -EPIPE;
        }
        XD_TRY(r);
        if ((size_t)n < AGENT_SCRATCH / 2)
            break; /* most likely all there was */
    }
    return (ssize_t)got;
}

static void on_event(void *arg, int fd, uint32_t events)
{
    agent_chan *c = arg;
    agent      *a = c->agent;
    (void)fd;
    if (events & XD_POLL_OUT)
        agent_fault(a, flush(c));
    if (c->fd < 0 || !(events & (XD_POLL_IN | XD_POLL_HUP)))
        return;
    if (c->on_readable) {
        c->on_readable(c->arg);
        return;
    }
    if (!c->on_frame) { /* a pipe that is only written: its reader is gone */
        agent_chan_close(c);
        return;
    }
    ssize_t n = agent_chan_pump(c, AGENT_SCRATCH * 16);
    if (n < 0 && n != -EPIPE)
        agent_fault(a, (int)n);
}
