/* gateways/joined.c - see listen.h: the gateway's side of an agent that has joined. There is nothing to dial: who joined has connected, and connects again
 * when that was cut. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "gateways/listen_state.h"

#define JOINED_MAGIC 0x10133d01u

typedef struct joined_pipe {
    xd_pipe    pipe;
    uint32_t   magic;
    xd_listen *listen;
    seat      *seat;
    int        fd, text; /* -1 = closed, or not there yet */
    int        old; /* is of no use any more, and stays until there is another: to the thread its end would be that of the session; -1 */
} joined_pipe;

static joined_pipe *of(xd_pipe *p)
{
    return XD_CAST(p, joined_pipe, JOINED_MAGIC);
}

/* 1 = there is a pipe; 0 = not yet; -ESRCH = there will be none. `again`: if there is none yet, it is asked for. */
static int take(joined_pipe *j, bool again)
{
    seat *s = j->seat;
    xd_os_hush(s->to_gateway);
    pthread_mutex_lock(&j->listen->lock);
    if (j->fd < 0 && s->fd >= 0) {
        j->fd = s->fd;
        s->fd = -1;
    }
    if (j->text < 0 && s->text >= 0) {
        j->text = s->text;
        s->text = -1;
    }
    const bool over = s->phase == SEAT_OVER;
    const bool asks = again && j->fd < 0 && !over;
    s->again = s->again || asks;
    pthread_mutex_unlock(&j->listen->lock);
    if (asks)
        xd_os_nudge(j->listen->wake_fd);
    if (j->fd >= 0)
        xd_os_close(&j->old);
    return j->fd >= 0 ? 1 : over ? -ESRCH : 0;
}

static int joined_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    seat        *s = listen_seat(target->listen, target->seat);
    joined_pipe *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    int r = listen_seat_event(target->listen, s);
    if (r < 0) {
        free(j);
        return xd_error_set(err, r, "no descriptors: %s", xd_error_name(r));
    }
    *j = (joined_pipe){ .pipe = { &xd_transport_joined },
                        .magic = JOINED_MAGIC,
                        .listen = target->listen,
                        .seat = s,
                        .fd = -1,
                        .text = -1,
                        .old = -1 };
    *ret = &j->pipe;
    return 0;
}

static int joined_opened(xd_pipe *p, xd_error *err)
{
    int r = take(of(p), false);
    return r < 0 ? xd_error_set(err, r, "it has left") : r;
}

static int joined_reopen(xd_pipe *p, xd_error *err)
{
    joined_pipe *j = of(p);
    if (j->fd >= 0) {
        xd_os_close(&j->old);
        j->old = j->fd;
        j->fd = -1;
    }
    int r = take(j, true);
    return r < 0 ? xd_error_set(err, r, "it has left") : 0;
}

static void joined_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    const joined_pipe *j = of(p);
    const uint32_t     both = want & (XD_PIPE_READ | XD_PIPE_WRITE);
    *ret = (xd_pipe_wait){ 0 };
    if (j->fd < 0) {
        xd_pipe_wait_on(ret, j->seat->to_gateway, XD_POLL_IN, both);
    } else if (both) {
        xd_pipe_wait_on(ret, j->fd,
                        (want & XD_PIPE_READ ? XD_POLL_IN : 0) | (want & XD_PIPE_WRITE ? XD_POLL_OUT : 0),
                        both);
    }
    if (j->text >= 0)
        xd_pipe_wait_on(ret, j->text, XD_POLL_IN, XD_PIPE_TEXT);
}

static ssize_t joined_read(xd_pipe *p, void *to, size_t room)
{
    return xd_os_read_some(of(p)->fd, to, room);
}

static ssize_t joined_write(xd_pipe *p, const void *from, size_t len)
{
    return xd_os_write_some(of(p)->fd, from, len);
}

static ssize_t joined_text(xd_pipe *p, void *to, size_t room)
{
    return xd_pipe_read_text(&of(p)->text, to, room);
}

static void joined_close(xd_pipe *p)
{
    joined_pipe *j = of(p);
    xd_os_close(&j->fd);
    xd_os_close(&j->old);
}

static void joined_part(xd_pipe *p)
{
    joined_pipe *j = of(p);
    pthread_mutex_lock(&j->listen->lock);
    j->seat->parting = true;
    pthread_mutex_unlock(&j->listen->lock);
}

static void joined_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    joined_pipe          *j = of(*p);
    xd_listen            *l = j->listen;
    seat                 *s = j->seat;
    const struct timespec until = xd_clock_timespec(xd_clock_ns() + grace_ms * XD_MS_NS);
    (void)take(j, false); /* what lies there for it is closed, too */
    joined_close(*p);
    pthread_mutex_lock(&l->lock);
    for (int r = 0; s->phase != SEAT_OVER && !s->parting && r == 0;)
        r = pthread_cond_timedwait(&l->change, &l->lock, &until);
    if (how_size)
        snprintf(how, how_size, "%s", s->how);
    s->left = true;
    pthread_mutex_unlock(&l->lock);
    xd_os_nudge(l->wake_fd);
    xd_os_close(&j->text);
    free(j);
    *p = NULL;
}

const xd_transport xd_transport_joined = { .name = "join",
                                           .open = joined_open,
                                           .opened = joined_opened,
                                           .reopen = joined_reopen,
                                           .wait = joined_wait,
                                           .read = joined_read,
                                           .write = joined_write,
                                           .text = joined_text,
                                           .close = joined_close,
                                           .part = joined_part,
                                           .hang_up = joined_hang_up };
