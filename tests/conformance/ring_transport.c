/* tests/conformance/ring_transport.c - see ring_transport.h. */
#include "tests/conformance/ring_transport.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define RING_MAGIC 0x71a95fedu
#define RING_BYTES 65536u
#define RING_MOST 5000u /* bytes in one call */
#define RING_STEPS 3u   /* wake-ups until it is open */
#define RING_STEP_MS 20

typedef struct fifo {
    uint8_t data[RING_BYTES];
    size_t  head, len;
    bool    ended; /* nothing is added any more */
    int     error; /* of its end: 0, -errno */
} fifo;

typedef struct ring {
    xd_pipe         pipe;
    uint32_t        magic;
    xd_pipe        *inner; /* of the thread alone, from its start to its end */
    pthread_t       thread;
    pthread_mutex_t lock; /* protects all below */
    fifo            up, down, text;
    uint32_t        steps;                /* of opening, still to come */
    bool            closed, inner_closed; /* by the gateway; then, when what it wrote has gone on, here */
    bool            quits;                /* the pipe is hung up */
    bool            reopen;               /* asked for, not done yet */
    int             fault;                /* of that */
    bool            text_told;
    uint32_t        dice;
    int             to_gateway, to_thread; /* eventfds */
} ring;

static void nudge(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one));
}

static void hush(int fd)
{
    uint64_t n;
    (void)!read(fd, &n, sizeof(n));
}

static uint32_t throw(ring * g)
{
    g->dice = g->dice * 1664525u + 1013904223u;
    return g->dice >> 8;
}

/* A call moves fewer bytes than it could. */
static size_t some(ring *g, size_t most)
{
    const size_t n = 1 + throw(g) % RING_MOST;
    return XD_MIN(n, most);
}

static size_t take(fifo *f, uint8_t *to, size_t n)
{
    n = XD_MIN(n, f->len);
    for (size_t i = 0; i < n; i++)
        to[i] = f->data[(f->head + i) % RING_BYTES];
    f->head = (f->head + n) % RING_BYTES;
    f->len -= n;
    return n;
}

static size_t put(fifo *f, const uint8_t *from, size_t n)
{
    n = XD_MIN(n, RING_BYTES - f->len);
    for (size_t i = 0; i < n; i++)
        f->data[(f->head + f->len + i) % RING_BYTES] = from[i];
    f->len += n;
    return n;
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

static bool fill(fifo *f, ssize_t (*from)(xd_pipe *, void *, size_t), xd_pipe *inner)
{
    uint8_t bytes[8192];
    bool    news = false;
    while (!f->ended && f->len < RING_BYTES) {
        ssize_t n = from(inner, bytes, XD_MIN(sizeof(bytes), RING_BYTES - f->len));
        if (n == -EAGAIN)
            break;
        news = true;
        f->ended = n <= 0;
        f->error = n < 0 ? (int)n : 0;
        if (n > 0)
            (void)put(f, bytes, (size_t)n);
    }
    return news;
}

static bool empty(fifo *f, xd_pipe *inner)
{
    bool news = false;
    while (f->len && !f->ended) {
        size_t  piece = XD_MIN(f->len, RING_BYTES - f->head);
        ssize_t n = inner->transport->write(inner, f->data + f->head, piece);
        if (n == -EAGAIN)
            break;
        news = true;
        f->ended = n < 0;
        f->error = n < 0 ? (int)n : 0;
        if (n > 0) {
            f->head = (f->head + (size_t)n) % RING_BYTES;
            f->len -= (size_t)n;
        }
    }
    return news;
}

/* Carries what there is, and fills `polled` with what to wait for; false = hung up, or another pipe is made. */
static bool carry(ring *g, struct pollfd *polled, nfds_t *ret_n)
{
    xd_pipe_wait w = { 0 };
    pthread_mutex_lock(&g->lock);
    bool down = !g->inner_closed && !g->reopen && empty(&g->down, g->inner);
    if (g->reopen || g->quits) {
        pthread_mutex_unlock(&g->lock);
        return false;
    }
    if (g->closed && !g->inner_closed && (!g->down.len || g->down.ended)) {
        g->inner->transport->close(g->inner);
        g->inner_closed = true;
    }
    bool up = !g->closed && fill(&g->up, g->inner->transport->read, g->inner);
    bool text = fill(&g->text, g->inner->transport->text, g->inner);
    if (up || text || down)
        nudge(g->to_gateway);
    uint32_t want = (!g->closed && !g->up.ended && g->up.len < RING_BYTES ? XD_PIPE_READ : 0) |
                    (!g->inner_closed && !g->down.ended && g->down.len ? XD_PIPE_WRITE : 0);
    g->inner->transport->wait(g->inner, want, &w);
    for (uint32_t i = 0; i < w.n; i++)
        if (w.on[i].events && (w.on[i].uses != XD_PIPE_TEXT || g->text.len < RING_BYTES))
            polled[(*ret_n)++] =
                (struct pollfd){ .fd = w.on[i].fd,
                                 .events = (short)((w.on[i].events & XD_POLL_IN ? POLLIN : 0) |
                                                   (w.on[i].events & XD_POLL_OUT ? POLLOUT : 0)) };
    pthread_mutex_unlock(&g->lock);
    return true;
}

static bool quits(ring *g)
{
    pthread_mutex_lock(&g->lock);
    bool yes = g->quits;
    pthread_mutex_unlock(&g->lock);
    return yes;
}

/* A few wake-ups until it is open, or hung up. */
static void open_by_steps(ring *g)
{
    for (bool open = false, over = false; !open && !over;) {
        struct pollfd p = { .fd = g->to_thread, .events = POLLIN };
        (void)poll(&p, 1, RING_STEP_MS);
        hush(g->to_thread);
        pthread_mutex_lock(&g->lock);
        over = g->quits;
        if (g->steps && g->pipe.transport != &xd_transport_ring_never)
            g->steps--;
        open = !g->steps;
        nudge(g->to_gateway);
        pthread_mutex_unlock(&g->lock);
    }
}

static void reopen_inner(ring *g)
{
    xd_error err = { 0 };
    pthread_mutex_lock(&g->lock);
    if (g->reopen) {
        g->reopen = false;
        nudge(g->to_thread); /* the first step follows at once */
        g->fault = g->inner->transport->reopen(g->inner, &err);
    }
    pthread_mutex_unlock(&g->lock);
}

static void *ring_main(void *arg)
{
    ring *g = arg;
    while (!quits(g)) {
        open_by_steps(g);
        for (bool go_on = !quits(g); go_on;) {
            struct pollfd polled[1 + XD_PIPE_FDS] = { { .fd = g->to_thread, .events = POLLIN } };
            nfds_t        n = 1;
            go_on = carry(g, polled, &n);
            if (go_on)
                (void)poll(polled, n, -1);
            hush(g->to_thread);
        }
        reopen_inner(g);
    }
    g->inner->transport->close(g->inner);
    return NULL;
}

/* ---- the gateway's side -------------------------------------------------------------------------------- */

static void ring_free(ring *g)
{
    if (g->to_gateway >= 0)
        close(g->to_gateway);
    if (g->to_thread >= 0)
        close(g->to_thread);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static int ring_begin(xd_pipe **ret, const xd_target *target, const xd_transport *transport, xd_error *err)
{
    ring *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->pipe.transport = transport;
    g->magic = RING_MAGIC;
    g->steps = RING_STEPS;
    pthread_mutex_init(&g->lock, NULL);
    g->to_gateway = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g->to_thread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = g->to_gateway < 0 || g->to_thread < 0 ? -EMFILE : 0;
    if (r == 0)
        r = xd_transport_popen.open(&g->inner, target, err);
    if (r == 0 && (r = -pthread_create(&g->thread, NULL, ring_main, g)) < 0)
        g->inner->transport->hang_up(&g->inner, 0, NULL, 0);
    if (r < 0)
        ring_free(g);
    else
        *ret = &g->pipe;
    return r;
}

static int ring_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    return ring_begin(ret, target, &xd_transport_ring, err);
}

static int never_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    return ring_begin(ret, target, &xd_transport_ring_never, err);
}

static int fails_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    return ring_begin(ret, target, &xd_transport_ring_fails, err);
}

static int ring_opened(xd_pipe *p, xd_error *err)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    pthread_mutex_lock(&g->lock);
    bool open = g->steps == 0 && !g->reopen;
    int  fault = g->fault;
    pthread_mutex_unlock(&g->lock);
    if (fault < 0)
        return fault;
    if (open && p->transport == &xd_transport_ring_fails)
        return xd_error_set(err, -EHOSTUNREACH, "no route to the ring");
    return open;
}

static int ring_reopen(xd_pipe *p, xd_error *err)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    (void)err;
    pthread_mutex_lock(&g->lock);
    g->up = g->down = (fifo){ 0 };
    g->reopen = true;
    g->fault = 0;
    g->steps = 1;
    pthread_mutex_unlock(&g->lock);
    nudge(g->to_thread);
    return 0;
}

static void ring_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    *ret = (xd_pipe_wait){ .n = 1 };
    ret->on[0].fd = g->to_gateway;
    ret->on[0].events = XD_POLL_IN;
    ret->on[0].uses = XD_PIPE_READ | XD_PIPE_WRITE | XD_PIPE_TEXT;
    hush(g->to_gateway); /* before the look: what changes after it, tells of itself */
    pthread_mutex_lock(&g->lock);
    if (!g->steps) {
        ret->ready = want & XD_PIPE_READ && (g->up.len || g->up.ended) ? XD_PIPE_READ : 0;
        ret->ready |= want & XD_PIPE_WRITE && (g->down.len < RING_BYTES || g->down.ended) ? XD_PIPE_WRITE : 0;
        ret->ready |= g->text.len || (g->text.ended && !g->text_told) ? XD_PIPE_TEXT : 0;
    }
    pthread_mutex_unlock(&g->lock);
}

static ssize_t ring_take(ring *g, fifo *f, void *to, size_t room)
{
    pthread_mutex_lock(&g->lock);
    ssize_t n = -EAGAIN;
    if (f->len && throw(g) % 8)
        n = (ssize_t)take(f, to, some(g, room));
    else if (!f->len && f->ended)
        n = f->error;
    if (f == &g->text && n == 0)
        g->text_told = true;
    pthread_mutex_unlock(&g->lock);
    if (n > 0)
        nudge(g->to_thread);
    return n;
}

static ssize_t ring_read(xd_pipe *p, void *to, size_t room)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    return ring_take(g, &g->up, to, room);
}

static ssize_t ring_text(xd_pipe *p, void *to, size_t room)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    return ring_take(g, &g->text, to, room);
}

static ssize_t ring_write(xd_pipe *p, const void *from, size_t len)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    pthread_mutex_lock(&g->lock);
    ssize_t n = -EAGAIN;
    if (g->down.ended)
        n = g->down.error;
    else if (g->down.len < RING_BYTES && throw(g) % 8)
        n = (ssize_t)put(&g->down, from, some(g, len));
    pthread_mutex_unlock(&g->lock);
    if (n > 0)
        nudge(g->to_thread);
    return n;
}

static void ring_close(xd_pipe *p)
{
    ring *g = XD_CAST(p, ring, RING_MAGIC);
    pthread_mutex_lock(&g->lock);
    g->closed = true;
    pthread_mutex_unlock(&g->lock);
    nudge(g->to_thread);
}

static void ring_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    ring *g = XD_CAST(*p, ring, RING_MAGIC);
    pthread_mutex_lock(&g->lock);
    g->closed = g->quits = true;
    pthread_mutex_unlock(&g->lock);
    nudge(g->to_thread);
    pthread_join(g->thread, NULL);
    g->inner->transport->hang_up(&g->inner, grace_ms, how, how_size);
    ring_free(g);
    *p = NULL;
}

#define RING_OPS                                                                                       \
    .local = true, .opened = ring_opened, .reopen = ring_reopen, .wait = ring_wait, .read = ring_read, \
    .write = ring_write, .text = ring_text, .close = ring_close, .hang_up = ring_hang_up

const xd_transport xd_transport_ring = { .name = "ring", .open = ring_open, RING_OPS };
const xd_transport xd_transport_ring_never = { .name = "ring", .open = never_open, RING_OPS };
const xd_transport xd_transport_ring_fails = { .name = "ring", .open = fails_open, RING_OPS };
