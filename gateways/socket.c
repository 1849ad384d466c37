/* gateways/socket.c - see socket.h: the gateway's side. Keys are looked up here, before anything is dialled. */
#include "gateways/socket.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/trust.h"
#include "gateways/socket_state.h"

#define OWN_TIMEOUT_MS 20000u

/* ---- keys ---------------------------------------------------------------------------------------------------- */

static int find_keys(socket_pipe *s, const char *given, xd_error *err)
{
    xd_autofree char *folder = NULL;
    XD_TRY(xd_keys_folder(given, &folder, err));
    XD_TRY(xd_dial_own_key(&s->dial.own, folder, err));
    return xd_dial_server_key(&s->dial.server, folder, &s->dial.at, err);
}

/* ---- start and end of the thread --------------------------------------------------------------------------------- */

/* A pipe and a thread for it. */
static int start(socket_pipe *s, xd_error *err)
{
    int pair[2];
    int r = xd_os_socketpair(pair, true);
    if (r == 0) {
        s->fd = pair[0];
        s->far_fd = pair[1];
        r = xd_os_nonblock(pair[1], true);
    }
    if (r == 0 && s->text < 0) {
        r = xd_os_socketpair(pair, true);
        if (r == 0) {
            s->text = pair[0];
            s->far_text = pair[1];
            r = xd_os_nonblock(pair[1], true);
        }
    }
    s->phase = SOCKET_DIALS;
    s->cut = s->parting = s->finished = false;
    s->dial.err = (xd_error){ 0 };
    if (r == 0)
        r = -pthread_create(&s->thread, NULL, xd_socket_main, s);
    s->running = r == 0;
    return r < 0 ? xd_error_set(err, r, "no thread for the connection: %s", xd_error_name(r)) : 0;
}

static bool ended_within(socket_pipe *s, uint32_t ms)
{
    const struct timespec until = xd_clock_timespec(xd_clock_ns() + ms * XD_MS_NS);
    pthread_mutex_lock(&s->lock);
    for (int r = 0; !s->finished && r == 0;)
        r = pthread_cond_timedwait(&s->done, &s->lock, &until);
    const bool finished = s->finished;
    pthread_mutex_unlock(&s->lock);
    return finished;
}

static void join(socket_pipe *s)
{
    if (!s->running)
        return;
    pthread_mutex_lock(&s->lock);
    s->cut = true;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_thread);
    pthread_join(s->thread, NULL);
    s->running = false;
    xd_os_close(&s->far_fd);
}

static void release(socket_pipe *s)
{
    xd_os_close(&s->fd);
    xd_os_close(&s->text);
    xd_os_close(&s->far_fd);
    xd_os_close(&s->far_text);
    xd_os_close(&s->to_thread);
    xd_os_close(&s->to_gateway);
    xd_keypair_wipe(&s->dial.own);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->done);
    free(s->agent);
    free(s);
}

/* ---- the contract --------------------------------------------------------------------------------------------- */

static int make(socket_pipe **ret, const xd_target *target)
{
    pthread_condattr_t monotonic;
    socket_pipe       *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (socket_pipe){ .pipe = { &xd_transport_socket },
                        .magic = SOCKET_MAGIC,
                        .output_limit = target->output_limit,
                        .timeout_ms = target->timeout_ms ? target->timeout_ms : OWN_TIMEOUT_MS,
                        .fd = -1,
                        .text = -1,
                        .far_fd = -1,
                        .far_text = -1,
                        .to_thread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                        .to_gateway = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (s->to_thread >= 0 && s->to_gateway >= 0) {
        *ret = s;
        return 0;
    }
    release(s);
    return -EMFILE;
}

static int socket_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    socket_pipe *s = NULL;
    xd_error     why = { 0 };
    XD_TRY(make(&s, target));
    if (target->agent && !(s->agent = strdup(target->agent))) {
        release(s);
        return -ENOMEM;
    }
    int r = xd_address_parse(&s->dial.at, target->spec->target, XD_PORT, &why);
    if (r < 0)
        r = xd_error_set(err, r, "%s", why.text);
    if (r == 0)
        r = find_keys(s, target->keys, err);
    if (r == 0)
        r = start(s, err);
    if (r < 0) {
        release(s);
        return r;
    }
    *ret = &s->pipe;
    return 0;
}

static int socket_opened(xd_pipe *p, xd_error *err)
{
    socket_pipe *s = XD_CAST(p, socket_pipe, SOCKET_MAGIC);
    xd_os_hush(s->to_gateway);
    pthread_mutex_lock(&s->lock);
    int r = s->phase == SOCKET_DIALS ? 0 : s->phase == SOCKET_FAILED ? s->dial.err.code : 1;
    if (r < 0 && err)
        *err = s->dial.err;
    pthread_mutex_unlock(&s->lock);
    return r;
}

static int socket_reopen(xd_pipe *p, xd_error *err)
{
    socket_pipe *s = XD_CAST(p, socket_pipe, SOCKET_MAGIC);
    join(s); /* first: a pipe that is closed here says that the agent is to end */
    xd_os_close(&s->fd);
    if (s->ended)
        return -ESRCH;
    s->again = true;
    return start(s, err);
}

static void socket_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    socket_pipe *s = XD_CAST(p, socket_pipe, SOCKET_MAGIC);
    *ret = (xd_pipe_wait){ 0 };
    pthread_mutex_lock(&s->lock);
    const bool dials = s->phase == SOCKET_DIALS || s->phase == SOCKET_FAILED;
    pthread_mutex_unlock(&s->lock);
    if (dials) {
        xd_pipe_wait_on(ret, s->to_gateway, XD_POLL_IN, want & (XD_PIPE_READ | XD_PIPE_WRITE));
    } else if (s->fd >= 0 && want & (XD_PIPE_READ | XD_PIPE_WRITE)) {
        xd_pipe_wait_on(ret, s->fd,
                        (want & XD_PIPE_READ ? XD_POLL_IN : 0) | (want & XD_PIPE_WRITE ? XD_POLL_OUT : 0),
                        want & (XD_PIPE_READ | XD_PIPE_WRITE));
    }
    if (s->text >= 0)
        xd_pipe_wait_on(ret, s->text, XD_POLL_IN, XD_PIPE_TEXT);
}

static ssize_t socket_read(xd_pipe *p, void *to, size_t room)
{
    return xd_os_read_some(XD_CAST(p, socket_pipe, SOCKET_MAGIC)->fd, to, room);
}

static ssize_t socket_write(xd_pipe *p, const void *from, size_t len)
{
    return xd_os_write_some(XD_CAST(p, socket_pipe, SOCKET_MAGIC)->fd, from, len);
}

static ssize_t socket_text(xd_pipe *p, void *to, size_t room)
{
    return xd_pipe_read_text(&XD_CAST(p, socket_pipe, SOCKET_MAGIC)->text, to, room);
}

static void socket_close(xd_pipe *p)
{
    xd_os_close(&XD_CAST(p, socket_pipe, SOCKET_MAGIC)->fd);
}

static void socket_part(xd_pipe *p)
{
    socket_pipe *s = XD_CAST(p, socket_pipe, SOCKET_MAGIC);
    pthread_mutex_lock(&s->lock);
    s->parting = true;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_thread);
}

static void socket_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    socket_pipe *s = XD_CAST(*p, socket_pipe, SOCKET_MAGIC);
    xd_os_close(&s->fd);
    if (s->running)
        (void)ended_within(s, grace_ms);
    join(s);
    if (how_size)
        snprintf(how, how_size, "%s", s->how);
    release(s);
    *p = NULL;
}

const xd_transport xd_transport_socket = { .name = "socket",
                                           .open = socket_open,
                                           .opened = socket_opened,
                                           .reopen = socket_reopen,
                                           .wait = socket_wait,
                                           .read = socket_read,
                                           .write = socket_write,
                                           .text = socket_text,
                                           .close = socket_close,
                                           .part = socket_part,
                                           .hang_up = socket_hang_up };
