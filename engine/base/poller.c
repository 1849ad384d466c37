/* engine/base/poller.c - epoll behind poller.h. */
#include "engine/base/poller.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

typedef struct watch {
    xd_poll_fn fn; /* NULL = not registered */
    void      *arg;
    uint32_t   events;
    uint32_t
        generation; /* so that an event of an earlier use of this number is not taken for the new one's */
} watch;

struct xd_poller {
    int    epoll;
    watch *watches; /* by descriptor */
    int    count;
};

int xd_poller_new(xd_poller **ret)
{
    xd_poller *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (p->epoll < 0) {
        int r = -errno;
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

xd_poller *xd_poller_free(xd_poller *p)
{
    if (p) {
        close(p->epoll);
        free(p->watches);
        free(p);
    }
    return NULL;
}

static int grow(xd_poller *p, int fd)
{
    if (fd < p->count)
        return 0;
    int    count = XD_MAX(fd + 1, p->count * 2);
    watch *w = realloc(p->watches, (size_t)count * sizeof(*w));
    if (!w)
        return -ENOMEM;
    for (int i = p->count; i < count; i++)
        w[i] = (watch){ 0 };
    p->watches = w;
    p->count = count;
    return 0;
}

int xd_poller_set(xd_poller *p, int fd, uint32_t events, xd_poll_fn fn, void *arg)
{
    if (fd < 0)
        return -EBADF;
    XD_TRY(grow(p, fd));
    watch *w = &p->watches[fd];
    bool   known = w->fn != NULL;
    w->arg = arg;
    w->fn = fn;
    if (known && w->events == events)
        return 0;
    if (!known)
        w->generation++;
    struct epoll_event ev = { .events = (events & XD_POLL_IN ? EPOLLIN : 0u) |
                                        (events & XD_POLL_OUT ? EPOLLOUT : 0u),
                              .data.u64 = (uint64_t)w->generation << 32 | (uint32_t)fd };
    /* A silent descriptor leaves epoll, else a hang-up would still be reported, for ever. */
    int op = events == 0 ? EPOLL_CTL_DEL : known && w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (op == EPOLL_CTL_DEL && !(known && w->events)) {
        w->events = 0;
        return 0;
    }
    w->events = events;
    if (epoll_ctl(p->epoll, op, fd, &ev) < 0) {
        int r = -errno;
        w->fn = NULL;
        return r;
    }
    return 0;
}

int xd_poller_remove(xd_poller *p, int fd)
{
    if (fd < 0 || fd >= p->count || !p->watches[fd].fn)
        return -ENOENT;
    watch *w = &p->watches[fd];
    int    r = 0;
    if (w->events && epoll_ctl(p->epoll, EPOLL_CTL_DEL, fd, NULL) < 0)
        r = -errno;
    w->fn = NULL;
    w->events = 0;
    return r;
}

int xd_poller_wait(xd_poller *p, uint64_t deadline_ns)
{
    struct epoll_event events[64];
    int                n;
    do {
        int timeout = -1;
        if (deadline_ns != UINT64_MAX) {
            uint64_t now = xd_clock_ns();
            uint64_t ms = deadline_ns > now ? (deadline_ns - now + XD_MS_NS - 1) / XD_MS_NS : 0;
            timeout = ms > 60000 ? 60000 : (int)ms;
        }
        n = epoll_wait(p->epoll, events, XD_ARRAY_LEN(events), timeout);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    int called = 0;
    for (int i = 0; i < n; i++) {
        int      fd = (int)(uint32_t)events[i].data.u64;
        uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
        watch    w = p->watches[fd];
        if (!w.fn || w.generation != generation || !w.events)
            continue; /* removed by a callback before this one */
        uint32_t got = (events[i].events & EPOLLIN ? XD_POLL_IN : 0u) |
                       (events[i].events & EPOLLOUT ? XD_POLL_OUT : 0u) |
                       (events[i].events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP) ? XD_POLL_HUP : 0u);
        w.fn(w.arg, fd, got);
        called++;
    }
    return called;
}
