/* gateways/gateway_sync.c - see gateway_state.h: the frames of a synchronisation pass here, between the syncer's thread for this host
 * (sync/send.h), which is at the other end of a socket, and the agent. They are not looked at but for their numbers.
 *
 * Nothing is taken from the socket while more than a little is waiting for the pipe: so PING, commands and acknowledgements never lie behind much, and
 * the thread waits when the host is slow. What the agent says goes the other way; the credit of the protocol bounds it. A pipe that is cut ends both
 * halves. The next pipe gets a new socket, and the synchronisation begins anew. */
#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "gateways/gateway_state.h"

#define WAITING_MAX (256u << 10) /* bytes for the pipe, beyond which nothing more is taken from the socket */
#define READ_BYTES (256u << 10)
#define BACK_MAX (64u << 20) /* of the agent, that the syncer has not read */

static int on_socket(void *state, int fd, uint32_t events);

bool xd_gateway_sync_type(uint16_t type)
{
    return type >= XD_MSG_SYNC_OPEN && type < XD_MSG_SYNC_SAME + 16;
}

static bool is_home(uint16_t type)
{
    return type >= XD_MSG_SYNC_OPEN && type < XD_MSG_SYNC_SAME;
}

int xd_gateway_sync_begin(gateway *g)
{
    int  ends[2];
    char why[200];
    xd_auto(xd_msg) *m = NULL;
    if (!g->syncer || g->synced || g->state != UP)
        return 0;
    if (!(g->capabilities & XD_CAP_SYNC)) {
        snprintf(why, sizeof(why), "its agent takes no files: use an agent of the same build, or --no-sync");
        return xd_gateway_drop_peer(g, why);
    }
    XD_TRY(xd_os_socketpair(ends, true));
    /* To an agent on this host, compressing takes longer than the way. */
    const bool   zstd = (g->capabilities & XD_CAP_ZSTD) && !g->transport->local;
    xd_sync_link link = { .fd = ends[1], .zstd = zstd };
    int          r = xd_msg_new(&m, XD_MSG_SYNC_LINK, &link, sizeof(link));
    if (r == 0) {
        m->gateway = g->number;
        r = xd_actor_send(g->actor, g->syncer, &m);
    }
    if (r < 0) {
        close(ends[0]);
        close(ends[1]);
        return r;
    }
    g->sync_fd = ends[0];
    xd_stream_in_init(&g->sync_in, false);
    return xd_gateway_sync_watch(g);
}

void xd_gateway_sync_end(gateway *g)
{
    if (g->sync_fd < 0)
        return;
    (void)!xd_actor_watch(g->actor, g->sync_fd, 0, on_socket);
    close(g->sync_fd);
    g->sync_fd = -1;
    xd_stream_in_release(&g->sync_in);
    xd_stream_out_release(&g->sync_out);
}

int xd_gateway_sync_watch(gateway *g)
{
    uint32_t events = 0;
    if (g->sync_fd < 0)
        return 0;
    if (g->state == UP && !g->deaf && !xd_gateway_overdue(g) && xd_stream_out_pending(&g->tx) < WAITING_MAX)
        events |= XD_POLL_IN;
    if (xd_stream_out_pending(&g->sync_out))
        events |= XD_POLL_OUT;
    return xd_actor_watch(g->actor, g->sync_fd, events, on_socket);
}

/* The thread has closed its end: it has ended, and told the syncer how. */
static int ended(gateway *g)
{
    xd_gateway_sync_end(g);
    return 0;
}

/* What the pipe takes at once is not copied first; why it takes no more, the next flush finds out. */
static int pass_on(gateway *g, const uint8_t *data, size_t len)
{
    ssize_t n = 1;
    while (len && n > 0 && g->pipe && !g->deaf && !xd_stream_out_pending(&g->tx)) {
        n = g->transport->write(g->pipe, data, len);
        if (n <= 0)
            continue;
        data += n;
        len -= (size_t)n;
        g->wrote_ns = xd_clock_ns();
    }
    return len ? xd_stream_out_add(&g->tx, data, len) : 0;
}

static int from_syncer(gateway *g)
{
    xd_frame f;
    int      n = xd_stream_read_fd(&g->sync_in, g->sync_fd, READ_BYTES);
    if (n == -EAGAIN)
        return 0;
    if (n <= 0)
        return ended(g);
    for (int more; (more = xd_stream_in_next(&g->sync_in, &f)) != 0;) {
        if (more < 0 || !is_home(f.type))
            return -EINVAL; /* our own thread */
        XD_TRY(pass_on(g, f.body - XD_FRAME_HEADER, f.len + XD_FRAME_HEADER));
    }
    return xd_gateway_flush(g);
}

static int to_syncer(gateway *g)
{
    int r = xd_stream_write_fd(&g->sync_out, g->sync_fd);
    if (r == -EPIPE || r == -ECONNRESET)
        return ended(g);
    return r < 0 && r != -EAGAIN ? r : 0;
}

static int on_socket(void *state, int fd, uint32_t events)
{
    gateway *g = XD_CAST(state, gateway, GATEWAY_MAGIC);
    if (fd != g->sync_fd)
        return 0;
    if (events & XD_POLL_OUT)
        XD_TRY(to_syncer(g));
    if (g->sync_fd >= 0 && (events & (XD_POLL_IN | XD_POLL_HUP)) && g->state == UP)
        XD_TRY(from_syncer(g));
    return xd_gateway_sync_watch(g);
}

int xd_gateway_sync_frame(gateway *g, const xd_frame *f)
{
    if (!g->syncer || is_home(f->type) || f->seq)
        return xd_gateway_bad_peer(g, "the agent sent a frame of a synchronisation that nobody asked for");
    /* How it went is the thread's to say; here it counts that it need not be begun again. */
    g->synced |= f->type == XD_MSG_SYNC_SAME || f->type == XD_MSG_SYNC_DONE || f->type == XD_MSG_SYNC_FAILED;
    if (g->sync_fd < 0)
        return 0; /* the thread did not wait for it */
    if (xd_stream_out_pending(&g->sync_out) + f->len > BACK_MAX)
        return xd_gateway_bad_peer(g, "the agent says more about a synchronisation than there is to say");
    XD_TRY(xd_stream_out_add(&g->sync_out, f->body - XD_FRAME_HEADER, f->len + XD_FRAME_HEADER));
    XD_TRY(to_syncer(g));
    return xd_gateway_sync_watch(g);
}
