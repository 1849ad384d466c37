/* gateways/socket_thread.c - see socket_state.h: the connection. It is dialled, shows its key, asks for an agent, and then moves bytes; what fails is
 * looked into, so that the user reads the cause: ZeroMQ itself says no more than that there is no connection. */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/poller.h"
#include "engine/base/text.h"
#include "gateways/lookup.h"
#include "gateways/server_key.h"
#include "gateways/socket_state.h"

#define ASK_MS 3000u                /* that a server may take to say its key */
#define SOON_MS 5u                  /* before a message is tried again */
#define PARTING_NS (500 * XD_MS_NS) /* that the end of an agent may come later than that of its pipe */
#define AGAIN_MOST_NS (5 * XD_S_NS) /* that attempts go on */
#define AGAIN_NS (100 * XD_MS_NS)   /* before another attempt; then more */

static int fail(socket_pipe *s, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(socket_pipe *s, int code, const char *fmt, ...)
{
    char    text[XD_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&s->lock);
    (void)xd_error_set(&s->err, code, "%s", text);
    pthread_mutex_unlock(&s->lock);
    return code;
}

static bool is_cut(socket_pipe *s)
{
    pthread_mutex_lock(&s->lock);
    const bool yes = s->cut;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* Waits for one of these, or the gateway, or the time. 1 = something came; 0 = look again; -ECANCELED; -ETIMEDOUT. */
static int await(socket_pipe *s, struct pollfd *more, nfds_t n, uint64_t until_ns)
{
    struct pollfd  p[6] = { { .fd = s->to_thread, .events = POLLIN } };
    const uint64_t now = xd_clock_ns();
    if (is_cut(s))
        return -ECANCELED;
    if (now >= until_ns)
        return -ETIMEDOUT;
    if (n)
        memcpy(p + 1, more, n * sizeof(*more));
    int r = poll(p, n + 1, (int)XD_MIN((until_ns - now) / XD_MS_NS + 1, 60000ull));
    if (r > 0 && p[0].revents)
        xd_os_hush(s->to_thread);
    if (n)
        memcpy(more, p + 1, n * sizeof(*more));
    return is_cut(s) ? -ECANCELED : r > 0;
}

/* ---- what went wrong ------------------------------------------------------------------------------------------- */

static int wait_fd(void *arg, int fd, short events, uint64_t until)
{
    struct pollfd p = { .fd = fd, .events = events };
    int           r = await(arg, &p, 1, until);
    return r == 1 && !p.revents ? 0 : r;
}

/* Connects without ZeroMQ: 0, *ret; -errno. */
static int plain_connect(socket_pipe *s, const struct addrinfo *a, int *ret)
{
    const uint64_t until = XD_MIN(xd_clock_ns(), s->deadline_ns) + ASK_MS * XD_MS_NS;
    return xd_server_key_connect(a, wait_fd, s, until, ret);
}

static int is_changed(socket_pipe *s, const xd_pubkey *now)
{
    char was_print[XD_FINGERPRINT_SIZE], print[XD_FINGERPRINT_SIZE];
    xd_pubkey_fingerprint(&s->server, was_print);
    xd_pubkey_fingerprint(now, print);
    return fail(
        s, -EKEYREJECTED,
        "THE KEY OF %s HAS CHANGED: it was %s, and is %s now. Somebody may pretend to be that host, or it "
        "was set up anew. If you know that it was: xdctl trust --replace %s",
        s->at.text, was_print, print, s->at.text);
}

/* There was a connection, and then no handshake. */
static int why_refused(socket_pipe *s, const struct addrinfo *a)
{
    char             answer[XD_SERVER_KEY_ANSWER] = "";
    xd_pubkey        key;
    xd_autobuf       shown = XD_BUF_INIT;
    xd_autoclose int fd = -1;
    int              r = plain_connect(s, a, &fd);
    if (r == 0) /* what it said before it fell silent counts, too */
        r = xd_server_key_ask(fd, wait_fd, s, xd_clock_ns() + ASK_MS * XD_MS_NS, answer);
    if (r == -ECANCELED)
        return r;
    if (!*answer)
        return fail(s, -ECONNRESET, "%s closed the connection before it showed its key; it may be busy",
                    s->at.text);
    if (xd_server_key_read(answer, &key) == 0)
        return xd_pubkey_eq(&key, &s->server)
                   ? fail(s, -ECONNRESET,
                          "%s closed the connection in the middle of the handshake; it may be busy",
                          s->at.text)
                   : is_changed(s, &key);
    (void)!xd_text_last_words(&shown, xd_bytes_str(answer), 120);
    return fail(s, -EPROTO,
                "what answers at %s is no server of xd (xdctl serve): it does not speak CURVE%s%s",
                s->at.text, shown.len ? "; it said: " : "", xd_buf_cstr(&shown));
}

static int why_failed(socket_pipe *s, const struct addrinfo *a)
{
    char             host[64] = "?";
    xd_autoclose int fd = -1;
    int              r = plain_connect(s, a, &fd);
    (void)getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    if (r == -ECANCELED)
        return r;
    if (r == -ETIMEDOUT)
        return fail(s, r, "connect to %s: no answer in time (%s)", s->at.text, host);
    return fail(s, r < 0 ? r : -ECONNRESET, "connect to %s: %s (%s)%s", s->at.text,
                r < 0 ? xd_error_name(r) : "the connection broke off", host,
                r == -ECONNREFUSED ? "; is xdctl serve running there?" : "");
}

/* ---- dialling --------------------------------------------------------------------------------------------------- */

static int resolve(socket_pipe *s, xd_lookup **ret)
{
    int r = xd_lookup_begin(ret, s->at.host, s->at.port, AF_UNSPEC);
    while (r == 0)
        r = wait_fd(s, xd_lookup_fd(*ret), POLLIN, s->deadline_ns);
    if (r == -ETIMEDOUT)
        return fail(s, r, "the name server gives no answer for %s in time", s->at.host);
    if (r > 0 && xd_lookup_result(*ret) != 0)
        return fail(s, -EHOSTUNREACH, "cannot resolve the name %s: %s", s->at.host,
                    gai_strerror(xd_lookup_result(*ret)));
    return r < 0 ? r : 0;
}

/* One address. The state that it ends in, or -errno. */
static int dial_one(socket_pipe *s, const struct addrinfo *a, uint64_t until)
{
    char           host[64];
    xd_curve_state state = XD_CURVE_CONNECTS;
    const uint64_t now = xd_clock_ns();
    if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
        return -EINVAL;
    s->curve = xd_curve_free(s->curve);
    XD_TRY(xd_curve_dial(&s->curve, host, s->at.port, &s->own, &s->server,
                         (uint32_t)((until > now ? until - now : 0) / XD_MS_NS) + 1));
    while ((state = xd_curve_look(s->curve)) == XD_CURVE_CONNECTS || state == XD_CURVE_GREETS) {
        int           fds[2];
        struct pollfd p[2];
        xd_curve_fds(s->curve, fds);
        for (int i = 0; i < 2; i++)
            p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
        int r =
            await(s, p, 2,
                  XD_MIN(until, xd_clock_ns() + 100 * XD_MS_NS)); /* its descriptors tell of changes only */
        if (r == -ETIMEDOUT && xd_clock_ns() < until)
            continue;
        if (r == -ETIMEDOUT)
            return (int)state;
        XD_TRY(r);
    }
    return (int)state;
}

static int dial(socket_pipe *s)
{
    xd_lookup             *l = NULL;
    const struct addrinfo *last = NULL;
    unsigned               left = 0;
    int                    r = resolve(s, &l);
    if (r == 0)
        for (const struct addrinfo *a = xd_lookup_found(l); a; a = a->ai_next)
            left++;
    for (const struct addrinfo *a = r == 0 ? xd_lookup_found(l) : NULL; a; a = a->ai_next, left--) {
        const uint64_t now = xd_clock_ns();
        last = a;
        r = dial_one(s, a, now >= s->deadline_ns ? now : now + (s->deadline_ns - now) / left);
        if (r != XD_CURVE_CONNECTS && r != XD_CURVE_FAILED)
            break;
    }
    if (r == XD_CURVE_UP)
        r = 0;
    else if (r == XD_CURVE_GREETS)
        r = fail(s, -ETIMEDOUT, "%s has accepted the connection, and gives no answer in time", s->at.text);
    else if (r == XD_CURVE_REFUSED || r == XD_CURVE_LOST)
        r = why_refused(s, last);
    else if (r >= 0 && last)
        r = why_failed(s, last);
    (void)xd_lookup_drop(l);
    return r;
}

/* ---- what is said ------------------------------------------------------------------------------------------------- */

static int send_message(void *arg, xd_bytes message)
{
    socket_pipe *s = arg;
    int          r = xd_curve_send(s->curve, message);
    if (r == 0)
        s->said_ns = xd_clock_ns();
    return r;
}

/* What waits at the descriptors of ZeroMQ, or a little time. */
static int await_curve(socket_pipe *s, uint64_t until)
{
    int fds[2];
    xd_curve_fds(s->curve, fds);
    struct pollfd p[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
    int           r = await(s, p, 2, XD_MIN(until, xd_clock_ns() + 100 * XD_MS_NS));
    return r == -ETIMEDOUT && xd_clock_ns() < until ? 0 : r;
}

static int request(socket_pipe *s)
{
    xd_autobuf message = XD_BUF_INIT, who = XD_BUF_INIT;
    int        r;
    if (s->known) {
        xd_wire_TUNNEL_RESUME m = { .token = { s->token, sizeof(s->token) } };
        XD_TRY(xd_wire_TUNNEL_RESUME_frame(&message, 0, 0, &m));
    } else {
        XD_TRY(xd_keys_owner(&who));
        xd_wire_TUNNEL_OPEN m = { .version_min = XD_TUNNEL_SPOKEN,
                                  .version_max = XD_TUNNEL_SPOKEN,
                                  .build_id = xd_bytes_str(XD_BUILD_ID),
                                  .who = xd_buf_view(&who),
                                  .output_limit = s->output_limit,
                                  .agent = xd_bytes_str(s->agent) };
        XD_TRY(xd_wire_TUNNEL_OPEN_frame(&message, 0, 0, &m));
    }
    while ((r = send_message(s, xd_buf_view(&message))) == -EAGAIN)
        XD_TRY(await_curve(s, s->deadline_ns));
    return r;
}

static int refused(socket_pipe *s, const xd_frame *f)
{
    xd_wire_TUNNEL_REFUSED m;
    xd_autobuf             reason = XD_BUF_INIT;
    if (xd_wire_TUNNEL_REFUSED_decode(f->body, f->len, &m) < 0)
        return -EPROTO;
    XD_TRY(xd_text_harmless(&reason, m.reason, false));
    const int code = m.code == XD_TUNNEL_NO_AGENT && s->known ? -ESRCH
                     : m.code == XD_TUNNEL_BUSY               ? -EBUSY
                     : m.code <= XD_TUNNEL_ADDRESS            ? (s->known ? -EKEYREJECTED : -EACCES)
                                                              : -EPROTO;
    return fail(s, code, "refused by the server: %.600s", xd_buf_cstr(&reason));
}

static int opened(socket_pipe *s, const xd_frame *f)
{
    xd_wire_TUNNEL_OPENED m;
    if (xd_wire_TUNNEL_OPENED_decode(f->body, f->len, &m) < 0 || m.version != XD_TUNNEL_SPOKEN ||
        m.token.len != sizeof(s->token))
        return -EPROTO;
    pthread_mutex_lock(&s->lock);
    memcpy(s->token, m.token.ptr, sizeof(s->token));
    s->known = true;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int answered(socket_pipe *s, const xd_frame *f)
{
    switch (f->type) {
    case XD_MSG_TUNNEL_OPENED:
        return opened(s, f) < 0 ? -EPROTO : 1;
    case XD_MSG_TUNNEL_REFUSED:
        return refused(s, f);
    case XD_MSG_TUNNEL_BEAT:
        return 0;
    default:
        return -EPROTO;
    }
}

/* Asks for the agent, and waits for the answer. */
static int negotiate(socket_pipe *s)
{
    xd_frame f;
    int      r = request(s);
    while (r == 0) {
        r = xd_curve_receive(s->curve, &f);
        if (r == 1) {
            if ((r = answered(s, &f)) == 1)
                return 0;
        } else if (r == 0) {
            r = xd_curve_look(s->curve) == XD_CURVE_UP ? await_curve(s, s->deadline_ns) : -ECONNRESET;
            r = XD_MIN(r, 0);
        }
    }
    if (r == -ECANCELED || s->err.code)
        return r;
    return fail(s, r, "%s %s", s->at.text,
                r == -ETIMEDOUT ? "has not answered in time"
                : r == -EPROTO  ? "does not keep to the protocol"
                                : "closed the connection");
}

/* ---- the pipe --------------------------------------------------------------------------------------------------------- */

static int on_ended(socket_pipe *s, const xd_frame *f)
{
    xd_wire_TUNNEL_ENDED m;
    xd_autobuf           how = XD_BUF_INIT;
    XD_TRY(xd_wire_TUNNEL_ENDED_decode(f->body, f->len, &m));
    XD_TRY(xd_text_harmless(&how, m.how, false));
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    snprintf(s->how, sizeof(s->how), "%s", xd_buf_cstr(&how));
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* What came; 1 = something did. */
static int take(socket_pipe *s)
{
    xd_frame f;
    int      r, any = 0;
    while ((r = xd_curve_receive(s->curve, &f)) == 1) {
        s->heard_ns = xd_clock_ns();
        any = 1;
        if (f.type == XD_MSG_TUNNEL_ENDED)
            XD_TRY(on_ended(s, &f));
        else if (f.type != XD_MSG_TUNNEL_BEAT)
            XD_TRY(xd_tunnel_frame(&s->tunnel, &f));
    }
    return r < 0 ? r : any;
}

static int beat(socket_pipe *s, uint64_t now)
{
    xd_autobuf          message = XD_BUF_INIT;
    xd_wire_TUNNEL_BEAT m = { 0 };
    if (now - s->heard_ns > XD_TUNNEL_SILENT_NS)
        return -ETIMEDOUT;
    if (now - s->said_ns < XD_TUNNEL_BEAT_NS || s->tunnel.held.len)
        return 0;
    XD_TRY(xd_wire_TUNNEL_BEAT_frame(&message, 0, 0, &m));
    int r = send_message(s, xd_buf_view(&message));
    return r == -EAGAIN ? 0 : r;
}

/* Is there nothing left to do? The last words of the agent, and how it ended, come before. */
static bool is_over(socket_pipe *s)
{
    pthread_mutex_lock(&s->lock);
    const bool parts = s->parting && s->tunnel.over && s->tunnel.held.len == 0;
    const bool ended = s->ended && xd_tunnel_written(&s->tunnel);
    pthread_mutex_unlock(&s->lock);
    return parts || ended;
}

static int wait_for_more(socket_pipe *s, bool soon)
{
    int      fds[2];
    uint32_t fd, in, text;
    xd_curve_fds(s->curve, fds);
    xd_tunnel_wants(&s->tunnel, &fd, &in, &text);
    struct pollfd p[4] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
    p[2].fd = fd ? s->far_fd : -1;
    p[2].events = (short)((fd & XD_POLL_IN ? POLLIN : 0) | (fd & XD_POLL_OUT ? POLLOUT : 0));
    p[3].fd = text ? s->far_text : -1;
    p[3].events = POLLOUT;
    int r = await(s, p, 4, xd_clock_ns() + (soon ? SOON_MS * XD_MS_NS : XD_S_NS));
    return r == -ETIMEDOUT ? 0 : r;
}

/* The agent's end of the pipe is closed: so is ours, but not before it is told how the agent has ended, if it has. */
static void follow_close(socket_pipe *s, uint64_t now)
{
    if (!s->tunnel.closed || s->shut || !xd_tunnel_written(&s->tunnel))
        return;
    if (s->closed_ns == 0)
        s->closed_ns = now;
    if (now - s->closed_ns < PARTING_NS)
        return;
    s->shut = true;
    (void)shutdown(s->far_fd, SHUT_WR);
}

static int carry(socket_pipe *s)
{
    s->heard_ns = s->said_ns = xd_clock_ns();
    s->closed_ns = 0;
    s->shut = false;
    while (!is_over(s)) {
        int r = xd_tunnel_pump(&s->tunnel);
        XD_TRY(r);
        const bool soon = r == 1 || (s->tunnel.closed && !s->shut);
        follow_close(s, xd_clock_ns());
        XD_TRY(beat(s, xd_clock_ns()));
        r = take(s); /* behind all that was sent: sending may hide that something came */
        XD_TRY(r);
        if (r == 1)
            continue;
        if (xd_curve_look(s->curve) != XD_CURVE_UP) {
            r = take(s);
            XD_TRY(r);
            if (r == 0)
                return -ECONNRESET;
            continue;
        }
        XD_TRY(wait_for_more(s, soon));
    }
    return 0;
}

static void set_phase(socket_pipe *s, socket_phase phase)
{
    pthread_mutex_lock(&s->lock);
    s->phase = phase;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_gateway);
}

/* A server that many knock at lets go of those that came first: who has a key comes again. */
static int dial_until(socket_pipe *s)
{
    uint64_t       wait_ns = AGAIN_NS;
    const uint64_t end = XD_MIN(s->deadline_ns, xd_clock_ns() + AGAIN_MOST_NS);
    for (;;) {
        pthread_mutex_lock(&s->lock);
        s->err = (xd_error){ 0 };
        pthread_mutex_unlock(&s->lock);
        int            r = dial(s);
        const uint64_t until = xd_clock_ns() + wait_ns;
        if (r != -ECONNRESET || until >= end)
            return r;
        while ((r = await(s, NULL, 0, until)) >= 0) {
        }
        if (r != -ETIMEDOUT)
            return r;
        wait_ns = XD_MIN(2 * wait_ns, 10 * AGAIN_NS);
    }
}

void *xd_socket_main(void *arg)
{
    socket_pipe *s = arg;
    (void)pthread_setname_np(pthread_self(), "xd-socket");
    s->deadline_ns = xd_clock_ns() + XD_MAX(s->timeout_ms, 1000u) * XD_MS_NS - 500 * XD_MS_NS;
    int r = dial_until(s);
    if (r == 0)
        r = negotiate(s);
    if (r == 0)
        r = xd_tunnel_init(&s->tunnel, s->far_fd, -1, s->far_text, send_message, s);
    if (r == 0) {
        set_phase(s, SOCKET_OPEN);
        r = carry(s);
        (void)!xd_tunnel_pump(&s->tunnel); /* what it still holds */
        set_phase(s, SOCKET_OVER);
        xd_tunnel_release(&s->tunnel);
    } else {
        if (s->err.code == 0)
            (void)fail(s, r, "%s", xd_error_name(r));
        set_phase(s, SOCKET_FAILED);
    }
    s->curve = xd_curve_free(s->curve);
    close(s->far_fd); /* the gateway sees the end of the pipe */
    s->far_fd = -1;
    pthread_mutex_lock(&s->lock);
    if (s->ended && s->far_text >= 0) {
        close(s->far_text);
        s->far_text = -1;
    }
    s->finished = true;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
