/* gateways/ssh_thread.c - see ssh_state.h: the connection's thread. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "gateways/ssh_state.h"

#define ALIVE_S 10u /* without traffic for so long, some is made: a dead connection is noticed by it alone */
#define CHUNK (32u * 1024u) /* written at once */
#define COMMAND_TICK_MS 250 /* while the host has not said whether it starts the command */
#define FLOOD (16u << 20)   /* unread, of a host that takes no notice of the channel's window */

/* ---- waiting, and failing ---------------------------------------------------------------------------------- */

static bool is_cut(xd_ssh *s)
{
    pthread_mutex_lock(&s->lock);
    const bool yes = s->cut || (s->closed && s->phase == XD_SSH_DIALS);
    pthread_mutex_unlock(&s->lock);
    return yes;
}

int xd_ssh_wait(xd_ssh *s, int fd, short events, uint64_t until_ns)
{
    const uint64_t now = xd_clock_ns();
    struct pollfd  p[2] = { { .fd = s->to_thread, .events = POLLIN }, { .fd = fd, .events = events } };
    if (is_cut(s))
        return -ECANCELED;
    if (until_ns && now >= until_ns)
        return -ETIMEDOUT;
    const uint64_t ms = until_ns ? (until_ns - now) / XD_MS_NS + 1 : 60000;
    const int      n = poll(p, fd >= 0 ? 2 : 1, (int)XD_MIN(ms, (uint64_t)60000));
    if (n > 0 && p[0].revents)
        xd_os_hush(s->to_thread);
    if (is_cut(s))
        return -ECANCELED;
    return n > 0 && fd >= 0 && p[1].revents ? 1 : 0;
}

int xd_ssh_fail(xd_ssh *s, int code, const char *fmt, ...)
{
    va_list ap;
    char    text[XD_ERROR_TEXT];
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return xd_error_set(&s->error, code, "%s", text);
}

int xd_ssh_step(xd_ssh *s, const char *what)
{
    const short events = (short)(POLLIN | (ssh_get_poll_flags(s->session) & SSH_WRITE_PENDING ? POLLOUT : 0));
    const int   fd = ssh_get_fd(s->session);
    if (fd < 0)
        return 0; /* libssh has closed it: the call that waits says why */
    /* It makes its socket a blocking one when it has connected: a full one must not hold the thread. */
    (void)!xd_os_nonblock(fd, true);
    /* Until a command runs, a host (Nagle's algorithm) may hold back its next packet until this one is acknowledged. The kernel
     * forgets that it shall not wait with that. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){ 1 }, sizeof(int));
    int r = xd_ssh_wait(s, fd, events, s->deadline_ns);
    if (r >= 0)
        return 0;
    if (r == -ETIMEDOUT)
        return xd_ssh_fail(s, r, "%s is connected, but gives no answer in time: %s", s->address, what);
    return xd_ssh_fail(s, r, "given up");
}

/* ---- the channel -------------------------------------------------------------------------------------------- */

static void on_exit_status(ssh_session session, ssh_channel channel, int status, void *arg)
{
    xd_ssh *s = arg;
    (void)session;
    (void)channel;
    pthread_mutex_lock(&s->lock);
    s->exit_status = status;
    pthread_mutex_unlock(&s->lock);
}

static void on_exit_signal(ssh_session session, ssh_channel channel, const char *name, int core,
                           const char *message, const char *language, void *arg)
{
    xd_ssh *s = arg;
    (void)session;
    (void)channel;
    (void)core;
    (void)message;
    (void)language;
    pthread_mutex_lock(&s->lock);
    snprintf(s->exit_signal, sizeof(s->exit_signal), "%.*s",
             (int)strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), name);
    pthread_mutex_unlock(&s->lock);
}

/* One variable; a host that does not take it is no fault. */
static int send_variable(xd_ssh *s, const char *name, const char *value)
{
    while (ssh_channel_request_env(s->channel, name, value) == SSH_AGAIN)
        XD_TRY(xd_ssh_step(s, "to the environment of the command"));
    return ssh_is_connected(s->session)
               ? 0
               : xd_ssh_fail(s, -ECONNRESET, "the host closed the connection after the login");
}

extern char **environ;

/* SendEnv, SetEnv: as ssh does it. */
static int send_environment(xd_ssh *s)
{
    xd_autofree char *set = strdup(xd_ssh_conf_get(s->conf, "setenv", ""));
    const char       *send = xd_ssh_conf_get(s->conf, "sendenv", "");
    char             *rest = NULL;
    if (!set)
        return -ENOMEM;
    for (char *line = strtok_r(set, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value++ = 0;
        XD_TRY(send_variable(s, line, value));
    }
    for (char **e = environ; *send && e && *e; e++) {
        const char       *value = strchr(*e, '=');
        xd_autofree char *name = value ? strndup(*e, (size_t)(value - *e)) : NULL;
        if (name && xd_ssh_match_list(name, send, "\n", false))
            XD_TRY(send_variable(s, name, value + 1));
    }
    return 0;
}

static int open_channel(xd_ssh *s)
{
    int r;
    s->channel = ssh_channel_new(s->session);
    if (!s->channel)
        return -ENOMEM;
    s->calls = (struct ssh_channel_callbacks_struct){ .userdata = s,
                                                      .channel_exit_status_function = on_exit_status,
                                                      .channel_exit_signal_function = on_exit_signal };
    ssh_callbacks_init(&s->calls);
    if (ssh_set_channel_callbacks(s->channel, &s->calls) != SSH_OK)
        return -ENOMEM;
    while ((r = ssh_channel_open_session(s->channel)) == SSH_AGAIN)
        XD_TRY(xd_ssh_step(s, "to the request for a session"));
    if (r != SSH_OK)
        return xd_ssh_fail(s, -ECONNREFUSED, "%s opens no session after the login: %s", s->address,
                           ssh_get_error(s->session));
    return send_environment(s);
}

/* Sends the request, then looks for the answer. What the command is to read may follow the request at once, as ssh itself does
 * it: a host takes one after the other. 1 = it runs, 0 = not known yet. */
static int run_command(xd_ssh *s)
{
    const int r = ssh_channel_request_exec(s->channel, XD_DELIVER_COMMAND);
    if (r != SSH_OK && r != SSH_AGAIN)
        return xd_ssh_fail(s, -ECONNREFUSED, "%s runs no command after the login: %s", s->address,
                           ssh_get_error(s->session));
    if (r == SSH_AGAIN && xd_clock_ns() >= s->deadline_ns)
        return xd_ssh_fail(s, -ETIMEDOUT, "%s is connected, but gives no answer in time: to the command",
                           s->address);
    return r == SSH_OK;
}

/* ---- bytes both ways ---------------------------------------------------------------------------------------- */

#define PARTED 1

typedef struct pump {
    xd_ssh                   *s;
    ssh_event                 event;
    bool                      runs, eof_sent, woken;
    struct ssh_counter_struct socket;   /* bytes of the session's socket, both ways */
    uint64_t                  wrote_ns; /* when something was sent last */
    uint8_t                   bytes[CHUNK];
} pump;

/* What the far end has written: 1 = there is no more of it. The ring of text is emptied whoever reads it: text that nobody
 * reads would stop the channel. */
static int pump_in(pump *p, xd_ssh_ring *ring, bool text)
{
    xd_ssh *s = p->s;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        size_t room = xd_ssh_room(ring);
        if (text || s->closed)
            room = sizeof(p->bytes);
        pthread_mutex_unlock(&s->lock);
        if (!room)
            return 0;
        int n = ssh_channel_read_nonblocking(s->channel, p->bytes, (uint32_t)XD_MIN(room, sizeof(p->bytes)),
                                             text);
        if (n == SSH_EOF || (n == 0 && ssh_channel_is_eof(s->channel)))
            return 1;
        if (n < 0)
            return ssh_channel_is_closed(s->channel) && ssh_is_connected(s->session) ? 1 : -ECONNRESET;
        if (n == 0)
            return 0;
        pthread_mutex_lock(&s->lock);
        const bool first = ring->len == 0;
        if (text || !s->closed)
            (void)xd_ssh_put(ring, p->bytes, (size_t)n);
        pthread_mutex_unlock(&s->lock);
        if (first)
            xd_os_nudge(s->to_gateway);
    }
}

static int pump_out(pump *p)
{
    xd_ssh *s = p->s;
    while (!(ssh_get_status(s->session) & SSH_WRITE_PENDING)) {
        const uint32_t window = ssh_channel_window_size(s->channel);
        pthread_mutex_lock(&s->lock);
        const bool     last = s->closed && s->down.len == 0;
        const uint8_t *from = s->down.at + s->down.first; /* it stays there until libssh has taken it */
        const size_t   n = XD_MIN(XD_MIN(s->down.len, XD_SSH_RING - s->down.first), XD_MIN(window, CHUNK));
        pthread_mutex_unlock(&s->lock);
        if (last && !p->eof_sent) {
            p->eof_sent = true;
            if (ssh_channel_send_eof(s->channel) == SSH_ERROR)
                return -EPIPE;
        }
        if (!n)
            return 0;
        const int written = ssh_channel_write(s->channel, from, (uint32_t)n);
        if (written < 0)
            return ssh_is_connected(s->session) ? -EPIPE : -ECONNRESET;
        pthread_mutex_lock(&s->lock);
        const bool full = xd_ssh_room(&s->down) == 0; /* now: it may have been filled while libssh wrote */
        s->down.first = (s->down.first + (size_t)written) % XD_SSH_RING;
        s->down.len -= (size_t)written;
        pthread_mutex_unlock(&s->lock);
        if (written == 0) /* keys are being exchanged again */
            return 0;
        p->wrote_ns = xd_clock_ns();
        if (full)
            xd_os_nudge(s->to_gateway);
    }
    return 0;
}

static int on_wake(socket_t fd, int revents, void *arg)
{
    (void)revents;
    ((pump *)arg)->woken = true;
    xd_os_hush(fd);
    return 0;
}

static void end_ring(xd_ssh *s, xd_ssh_ring *ring, int error)
{
    pthread_mutex_lock(&s->lock);
    if (!ring->ended) {
        ring->ended = true;
        ring->error = error;
    }
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_gateway);
}

static int keep_alive(pump *p)
{
    const uint64_t now = xd_clock_ns();
    const uint32_t s = xd_ssh_conf_number(p->s->conf, "serveraliveinterval", 0);
    const uint64_t every = (s ? s : ALIVE_S) * XD_S_NS;
    if (now - p->wrote_ns < every)
        return (int)((every - (now - p->wrote_ns)) / XD_MS_NS + 1);
    p->wrote_ns = now;
    (void)ssh_send_ignore(p->s->session, "");
    return (int)(every / XD_MS_NS);
}

/* All is said, and on its way: the rest of the connection's end takes a round trip, and tells nothing. */
static bool has_parted(const pump *p)
{
    xd_ssh *s = p->s;
    pthread_mutex_lock(&s->lock);
    const bool parting = s->parting && s->closed && s->down.len == 0;
    pthread_mutex_unlock(&s->lock);
    return parting && p->eof_sent && !(ssh_get_status(s->session) & SSH_WRITE_PENDING);
}

/* The host keeps to no window, and fills this program's memory. */
static bool floods(xd_ssh *s)
{
    return ssh_channel_poll(s->channel, 0) > (int)FLOOD;
}

/* Until the channel has ended, or all is cut. The result is that of the end: 0 in order, PARTED. */
static int pump_run(pump *p)
{
    xd_ssh *s = p->s;
    bool    in_ended = false;
    for (;;) {
        int            out = 0, in = 0, text;
        const uint64_t before = p->socket.in_bytes + p->socket.out_bytes;
        p->woken = false;
        if (is_cut(s))
            return -ECANCELED;
        if (!p->runs) {
            const int r = run_command(s);
            XD_TRY(r);
            p->runs = r == 1;
        }
        if (!s->down.ended && (out = pump_out(p)) < 0)
            end_ring(s, &s->down, out);
        if (!in_ended && (in = pump_in(p, &s->up, false)) != 0) {
            in_ended = true;
            end_ring(s, &s->up, in < 0 ? in : 0);
        }
        text = pump_in(p, &s->text, true);
        if (in < 0 || text < 0 || (ssh_get_status(s->session) & (SSH_CLOSED | SSH_CLOSED_ERROR)))
            return -ECONNRESET;
        if (ssh_channel_is_closed(s->channel) && in_ended && text != 0)
            return 0;
        if (!in_ended && has_parted(p)) /* one that has ended says how, at once */
            return PARTED;
        if (floods(s))
            return -EPROTO;
        /* Each of these calls looks at all descriptors: there may be data or room for the others, or news of the gateway. */
        if (p->woken || p->socket.in_bytes + p->socket.out_bytes != before)
            continue;
        const int ms = keep_alive(p);
        if (ssh_event_dopoll(p->event, p->runs ? ms : XD_MIN(ms, COMMAND_TICK_MS)) == SSH_ERROR &&
            !in_ended && !ssh_is_connected(s->session))
            (void)pump_in(p, &s->up, false); /* what came before the end */
    }
}

static int pump_all(xd_ssh *s)
{
    pump p = { .s = s, .event = ssh_event_new(), .wrote_ns = xd_clock_ns() };
    int  r = -ENOMEM;
    if (p.event && ssh_event_add_fd(p.event, s->to_thread, POLLIN, on_wake, &p) == SSH_OK) {
        if (ssh_event_add_session(p.event, s->session) == SSH_OK) {
            ssh_set_counters(s->session, &p.socket, NULL);
            r = pump_run(&p);
            ssh_set_counters(s->session, NULL, NULL);
            ssh_event_remove_session(p.event, s->session);
        }
        ssh_event_remove_fd(p.event, s->to_thread);
    }
    if (p.event)
        ssh_event_free(p.event);
    return r;
}

/* ---- the life of a connection --------------------------------------------------------------------------------- */

static int connect_all(xd_ssh *s)
{
    XD_TRY(xd_ssh_hosts_new(&s->hosts, s));
    XD_TRY(xd_ssh_dial(s));
    XD_TRY(xd_ssh_hosts_check(s));
    XD_TRY(xd_ssh_authenticate(s));
    return open_channel(s);
}

static void set_phase(xd_ssh *s, xd_ssh_phase phase)
{
    pthread_mutex_lock(&s->lock);
    s->phase = phase;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_gateway);
}

/* After parting the connection is closed without SSH's own goodbye: a host that gets that drops what the agent has not read yet. */
static void disconnect(xd_ssh *s, bool parted)
{
    if (s->channel && !parted)
        ssh_channel_free(s->channel);
    s->channel = NULL; /* else it goes with its session */
    if (parted)        /* the agent's answer must not cost it what it has not got yet */
        (void)xd_os_hear_no_more(ssh_get_fd(s->session));
    if (s->session && !parted) {
        /* A descriptor that it was given it would leave open; this makes it its own. (-1 is all it says to NULL.) */
        (void)ssh_options_set(s->session, SSH_OPTIONS_FD, NULL);
        ssh_disconnect(s->session);
    }
    xd_ssh_drop_session(s);
    s->hosts = xd_ssh_hosts_free(s->hosts);
    xd_buf_release(&s->tried);
}

void *xd_ssh_main(void *arg)
{
    xd_ssh  *s = arg;
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "xd-ssh");
    s->deadline_ns = xd_clock_ns() + s->timeout_ms * XD_MS_NS / 20 * 19;
    s->no_terminal = s->keys_begun = false;
    s->left = NULL;
    int r = connect_all(s);
    if (r < 0) {
        if (!*s->error.text)
            (void)xd_ssh_fail(s, r, "%s", xd_error_name(r));
        s->error.code = r;
        set_phase(s, XD_SSH_FAILED);
    } else {
        set_phase(s, XD_SSH_OPEN);
        r = pump_all(s);
        set_phase(s, r < 0 && *s->error.text ? XD_SSH_FAILED
                                             : XD_SSH_ENDED); /* refused: before its end is seen */
        end_ring(s, &s->up, XD_MIN(r, 0));
        end_ring(s, &s->down, r < 0 ? r : -EPIPE);
    }
    disconnect(s, r == PARTED);
    end_ring(s, &s->text, 0);
    pthread_mutex_lock(&s->lock);
    s->done = true;
    pthread_cond_broadcast(&s->news);
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_gateway);
    return NULL;
}
