/* gateways/ssh.c - see ssh.h and ssh_state.h: the gateway's side. */
#include "gateways/ssh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/ssh_state.h"

#define OWN_TIMEOUT_MS 20000u
#define TEXT_SHOWN 400u
#define PARTING_NS (500 * XD_MS_NS)    /* how long the status of an agent whose pipe was cut is waited for */
#define LAST_WORDS_NS (500 * XD_MS_NS) /* that standard error may come later than the end of the pipe */

/* ---- what both threads use ------------------------------------------------------------------------------- */

size_t xd_ssh_put(xd_ssh_ring *r, const void *from, size_t len)
{
    const size_t n = XD_MIN(len, xd_ssh_room(r)), at = (r->first + r->len) % XD_SSH_RING;
    const size_t one = XD_MIN(n, XD_SSH_RING - at);
    memcpy(r->at + at, from, one);
    memcpy(r->at, (const uint8_t *)from + one, n - one);
    r->len += n;
    return n;
}

size_t xd_ssh_take(xd_ssh_ring *r, void *to, size_t len)
{
    const size_t n = XD_MIN(len, r->len), one = XD_MIN(n, XD_SSH_RING - r->first);
    memcpy(to, r->at + r->first, one);
    memcpy((uint8_t *)to + one, r->at, n - one);
    r->first = (r->first + n) % XD_SSH_RING;
    r->len -= n;
    return n;
}

/* ---- start and end of the thread ------------------------------------------------------------------------- */

static int start(xd_ssh *s, xd_error *err)
{
    s->up.first = s->up.len = s->down.first = s->down.len = 0;
    s->up.ended = s->down.ended = s->closed = s->parting = s->cut = s->asks = s->done = false;
    s->up.error = s->down.error = 0;
    s->phase = XD_SSH_DIALS;
    s->error = (xd_error){ 0 };
    s->exit_status = -1;
    s->exit_signal[0] = 0;
    s->delivered = s->rest = false;
    s->words_ns = 0;
    s->failed = (xd_error){ 0 };
    s->text.ended = s->text_told = false;
    int r = -pthread_create(&s->thread, NULL, xd_ssh_main, s);
    if (r < 0)
        return xd_error_set(err, r, "no thread for the connection: %s", xd_error_name(r));
    s->running = true;
    return 0;
}

/* Waits for the thread's end, at most so long. */
static bool ended_within(xd_ssh *s, uint32_t ms)
{
    const struct timespec until = xd_clock_timespec(xd_clock_ns() + ms * XD_MS_NS);
    pthread_mutex_lock(&s->lock);
    for (int r = 0; !s->done && r == 0;)
        r = pthread_cond_timedwait(&s->news, &s->lock, &until);
    const bool done = s->done;
    pthread_mutex_unlock(&s->lock);
    return done;
}

static void cut(xd_ssh *s)
{
    if (!s->running)
        return;
    pthread_mutex_lock(&s->lock);
    s->cut = true;
    if (s->agent_end >= 0)
        (void)shutdown(s->agent_end, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_thread);
    pthread_join(s->thread, NULL);
    s->running = false;
}

static void release(xd_ssh *s)
{
    xd_ssh_forget(s);
    s->deliver = xd_deliver_free(s->deliver);
    s->conf = xd_ssh_conf_free(s->conf);
    if (s->to_gateway >= 0)
        close(s->to_gateway);
    if (s->to_thread >= 0)
        close(s->to_thread);
    free(s->up.at);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->news);
    free(s);
}

static int make(xd_ssh **ret)
{
    xd_ssh *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->news, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    s->pipe.transport = &xd_transport_libssh;
    s->magic = XD_SSH_MAGIC;
    s->fd = s->agent_end = -1;
    s->to_gateway = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->to_thread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->up.at = malloc(3 * (size_t)XD_SSH_RING);
    if (s->up.at) {
        s->down.at = s->up.at + XD_SSH_RING;
        s->text.at = s->up.at + 2 * (size_t)XD_SSH_RING;
    }
    *ret = s;
    return !s->up.at ? -ENOMEM : s->to_gateway < 0 || s->to_thread < 0 ? -EMFILE : 0;
}

int xd_ssh_suits(const xd_target *target, char *why, size_t size)
{
    xd_auto(xd_ssh_conf) *c = NULL;
    xd_error err = { 0 };
    int      r = xd_ssh_conf_new(&c, target, &err);
    if (r < 0) {
        snprintf(why, size, "%s", err.text);
        return r == -ENOMEM ? r : -EINVAL;
    }
    const char *unsuited = xd_ssh_conf_unsuited(c);
    snprintf(why, size, "%s", unsuited ? unsuited : "");
    return unsuited ? 0 : 1;
}

int xd_ssh_names(const xd_xspec *spec, char **ret_given, char **ret_host, xd_error *err)
{
    xd_auto(xd_ssh_conf) *c = NULL;
    const xd_target target = { .spec = spec };
    XD_TRY(xd_ssh_conf_new(&c, &target, err));
    xd_autofree char *given = strdup(xd_ssh_conf_given(c)), *host = strdup(xd_ssh_conf_host(c));
    if (!given || !host)
        return -ENOMEM;
    *ret_given = xd_take(&given);
    *ret_host = xd_take(&host);
    return 0;
}

static int ssh_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    xd_ssh *s = NULL;
    int     r = make(&s);
    if (r == 0)
        r = xd_ssh_conf_new(&s->conf, target, err);
    if (r == 0 && xd_ssh_conf_unsuited(s->conf))
        r = xd_error_set(err, -EOPNOTSUPP, "libssh cannot do what ssh_config asks for: %s; use --ssh=openssh",
                         xd_ssh_conf_unsuited(s->conf));
    if (r == 0)
        r = xd_deliver_new(&s->deliver, target, err);
    if (r == 0) {
        s->accept_new = target->ssh_accept_new;
        s->timeout_ms = target->timeout_ms ? target->timeout_ms : OWN_TIMEOUT_MS;
        r = start(s, err);
    }
    if (r < 0) {
        if (s)
            release(s);
        return err && *err->text ? r : xd_error_set(err, r, "%s", xd_error_name(r));
    }
    *ret = &s->pipe;
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

static ssize_t take_up(xd_ssh *s, void *to, size_t room)
{
    pthread_mutex_lock(&s->lock);
    const bool full = xd_ssh_room(&s->up) == 0;
    ssize_t    n = s->up.len ? (ssize_t)xd_ssh_take(&s->up, to, room) : s->up.ended ? s->up.error : -EAGAIN;
    pthread_mutex_unlock(&s->lock);
    if (n > 0 && full)
        xd_os_nudge(s->to_thread);
    return n;
}

static ssize_t put_down(xd_ssh *s, const void *from, size_t len)
{
    pthread_mutex_lock(&s->lock);
    const bool idle = s->down.len == 0;
    ssize_t    n = s->down.ended                ? (s->down.error ? s->down.error : -EPIPE)
                   : xd_ssh_room(&s->down) == 0 ? -EAGAIN
                                                : (ssize_t)xd_ssh_put(&s->down, from, len);
    pthread_mutex_unlock(&s->lock);
    if (n > 0 && idle)
        xd_os_nudge(s->to_thread);
    return n;
}

static ssize_t deliver_read(void *arg, void *to, size_t room)
{
    return take_up(arg, to, room);
}

static ssize_t deliver_write(void *arg, const void *from, size_t len)
{
    return put_down(arg, from, len);
}

/* No agent runs: said with what came on standard error, once its end has come, or it takes too long. */
static int fail_late(xd_ssh *s, xd_error *err)
{
    char       said[TEXT_SHOWN + 1];
    xd_autobuf text = XD_BUF_INIT;
    pthread_mutex_lock(&s->lock);
    const bool ended = s->text.ended;
    size_t     n = 0;
    if (ended || xd_clock_ns() >= s->words_ns) {
        while (s->text.len > TEXT_SHOWN)
            (void)xd_ssh_take(&s->text, said, XD_MIN(s->text.len - TEXT_SHOWN, (size_t)TEXT_SHOWN));
        n = xd_ssh_take(&s->text, said, TEXT_SHOWN);
    }
    pthread_mutex_unlock(&s->lock);
    if (!n && !ended && xd_clock_ns() < s->words_ns)
        return 0;
    XD_TRY(xd_text_last_words(&text, (xd_bytes){ (const uint8_t *)said, n }, TEXT_SHOWN));
    return xd_error_set(err, s->failed.code, "%s%s%s", s->failed.text, text.len ? "; it wrote: " : "",
                        text.len ? xd_buf_cstr(&text) : "");
}

/* What ran at the far end: how it ended, if that is known. */
static void tell_end(const xd_ssh *s, const char *what, char *how, size_t size)
{
    if (*s->exit_signal)
        snprintf(how, size, "%s was killed by SIG%s", what, s->exit_signal);
    else if (s->exit_status > 0)
        snprintf(how, size, "%s ended with status %d", what, s->exit_status);
    else if (s->exit_status == 0)
        snprintf(how, size, "%s ended", what);
}

/* Of the pipe that was cut, all has been heard. */
static bool has_parted(xd_ssh *s)
{
    pthread_mutex_lock(&s->lock);
    const bool all = s->done && s->text.len == 0;
    pthread_mutex_unlock(&s->lock);
    return all || xd_clock_ns() >= s->parts_ns;
}

/* The pipe that was cut is done with; another one is dialled. */
static int dial_again(xd_ssh *s, xd_error *err)
{
    cut(s);
    if (!s->again) /* of others, the status is not that of the agent */
        tell_end(s, "the agent", s->how, sizeof(s->how));
    s->again = true;
    s->parts_ns = 0;
    XD_TRY(xd_deliver_again(s->deliver, err));
    return start(s, err);
}

static int ssh_opened(xd_pipe *p, xd_error *err)
{
    xd_ssh             *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    const xd_deliver_io io = { .arg = s, .read = deliver_read, .write = deliver_write };
    if (s->delivered)
        return 1;
    if (s->parts_ns && !has_parted(s))
        return 0;
    if (s->parts_ns)
        XD_TRY(dial_again(s, err));
    pthread_mutex_lock(&s->lock);
    const xd_ssh_phase phase = s->phase;
    const bool         asks = s->asks;
    if (phase == XD_SSH_FAILED && err)
        *err = s->error;
    const int code = s->error.code;
    pthread_mutex_unlock(&s->lock);
    if (phase == XD_SSH_FAILED)
        return code;
    if (phase == XD_SSH_DIALS)
        return asks ? 2 : 0;
    if (s->words_ns)
        return fail_late(s, err);
    int r = xd_deliver_step(s->deliver, &io, &s->failed);
    if (r == 0 && xd_clock_ns() >= s->deadline_ns) /* set before the phase was */
        r = xd_deliver_late(s->deliver, &s->failed);
    s->delivered = s->rest = r == 1;
    if (r >= 0)
        return r;
    if (!*s->failed.text)
        (void)xd_error_set(&s->failed, r, "%s", xd_error_name(r));
    s->failed.code = r;
    if (r == -ESRCH)
        return xd_error_set(err, r, "%s", s->failed.text);
    /* What does not end in time has said all it has to say. */
    s->words_ns = xd_clock_ns() + (r == -ETIMEDOUT ? 0 : LAST_WORDS_NS);
    return fail_late(s, err);
}

static int ssh_reopen(xd_pipe *p, xd_error *err)
{
    xd_ssh *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    (void)err;
    s->delivered = s->rest = false;
    s->words_ns = 0;
    s->parts_ns = xd_clock_ns() + PARTING_NS;
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_thread);
    return 0;
}

/* ---- an open pipe ------------------------------------------------------------------------------------------ */

static void ssh_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    xd_ssh *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    *ret = (xd_pipe_wait){ .n = 1 };
    ret->on[0].fd = s->to_gateway;
    ret->on[0].events = XD_POLL_IN;
    ret->on[0].uses = XD_PIPE_READ | XD_PIPE_WRITE | XD_PIPE_TEXT;
    xd_os_hush(s->to_gateway); /* before the look: what changes after it tells of itself */
    pthread_mutex_lock(&s->lock);
    if (s->parts_ns) {
        ret->ready = (s->done ? XD_PIPE_READ : 0u) | (s->text.len ? XD_PIPE_TEXT : 0u);
    } else if (s->phase == XD_SSH_OPEN || s->phase == XD_SSH_ENDED) {
        want = s->delivered ? want : xd_deliver_wants(s->deliver);
        ret->ready = want & XD_PIPE_READ && (s->up.len || s->up.ended || s->rest) ? XD_PIPE_READ : 0;
        ret->ready |= want & XD_PIPE_WRITE && (xd_ssh_room(&s->down) || s->down.ended) ? XD_PIPE_WRITE : 0;
        if (s->delivered)
            ret->ready |= s->text.len || (s->text.ended && !s->text_told) ? XD_PIPE_TEXT : 0;
    } else if (s->phase == XD_SSH_FAILED) {
        ret->ready = XD_PIPE_READ;
    }
    pthread_mutex_unlock(&s->lock);
}

static ssize_t ssh_read(xd_pipe *p, void *to, size_t room)
{
    xd_ssh *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    if (s->rest) {
        size_t n = xd_deliver_rest(s->deliver, to, room);
        if (n)
            return (ssize_t)n;
        s->rest = false;
    }
    return take_up(s, to, room);
}

static ssize_t ssh_write(xd_pipe *p, const void *from, size_t len)
{
    return put_down(XD_CAST(p, xd_ssh, XD_SSH_MAGIC), from, len);
}

static ssize_t ssh_text(xd_pipe *p, void *to, size_t room)
{
    xd_ssh *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    pthread_mutex_lock(&s->lock);
    ssize_t n = s->text.len ? (ssize_t)xd_ssh_take(&s->text, to, room) : s->text.ended ? 0 : -EAGAIN;
    if (n == 0)
        s->text_told = true;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void ssh_close(xd_pipe *p)
{
    xd_ssh *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_thread);
}

static void ssh_part(xd_pipe *p)
{
    xd_ssh *s = XD_CAST(p, xd_ssh, XD_SSH_MAGIC);
    pthread_mutex_lock(&s->lock);
    s->parting = true;
    pthread_mutex_unlock(&s->lock);
}

static void ssh_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    xd_ssh *s = XD_CAST(*p, xd_ssh, XD_SSH_MAGIC);
    ssh_close(*p);
    pthread_mutex_lock(&s->lock);
    const bool open =
        s->phase == XD_SSH_OPEN; /* what is still being dialled has no agent that could end by itself */
    pthread_mutex_unlock(&s->lock);
    if (s->running && open)
        (void)ended_within(s, grace_ms);
    cut(s);
    if (how_size)
        snprintf(how, how_size, "%s", s->how);
    if (how_size && !s->again)
        tell_end(s, s->delivered ? "the agent" : "the shell", how, how_size);
    release(s);
    *p = NULL;
}

const xd_transport xd_transport_libssh = {
    .name = "ssh",
    .open = ssh_open,
    .opened = ssh_opened,
    .reopen = ssh_reopen,
    .wait = ssh_wait,
    .read = ssh_read,
    .write = ssh_write,
    .text = ssh_text,
    .close = ssh_close,
    .part = ssh_part,
    .hang_up = ssh_hang_up,
};
