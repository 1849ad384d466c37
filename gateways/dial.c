/* gateways/dial.c - see dial.h. */
#include "gateways/dial.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/trust.h"
#include "gateways/lookup.h"
#include "gateways/server_key.h"

#define ASK_MS 3000u                /* that a server may take to say its key */
#define AGAIN_MOST_NS (5 * XD_S_NS) /* that attempts go on */
#define AGAIN_NS (100 * XD_MS_NS)   /* before another attempt; then more */
#define LOOK_MS \
    250u /* between two looks whether it is cancelled, at most, of one that is patient: its user does other things there, too */
#define ATTEMPT_NS (20 * XD_S_NS)

int xd_dial_fail(xd_dial *d, int code, const char *fmt, ...)
{
    char    text[XD_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return xd_error_set(&d->err, code, "%s", text);
}

int xd_dial_await(xd_dial *d, struct pollfd *more, nfds_t n, uint64_t until_ns)
{
    struct pollfd  p[6] = { { .fd = d->wake_fd, .events = POLLIN } };
    const uint64_t now = xd_clock_ns(), most_ms = d->patient_ns ? LOOK_MS : 60000u;
    if (d->cancelled(d->arg))
        return -ECANCELED;
    if (now >= until_ns)
        return -ETIMEDOUT;
    if (n)
        memcpy(p + 1, more, n * sizeof(*more));
    int r = poll(p, n + 1, (int)XD_MIN((until_ns - now) / XD_MS_NS + 1, most_ms));
    if (n)
        memcpy(more, p + 1, n * sizeof(*more));
    return d->cancelled(d->arg) ? -ECANCELED : r > 0;
}

int xd_dial_await_curve(xd_dial *d, uint64_t until_ns)
{
    int fds[2];
    xd_curve_fds(d->curve, fds);
    struct pollfd p[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
    /* Its descriptors tell of changes only. */
    int r = xd_dial_await(d, p, 2, XD_MIN(until_ns, xd_clock_ns() + 100 * XD_MS_NS));
    return r == -ETIMEDOUT && xd_clock_ns() < until_ns ? 0 : r;
}

/* ---- keys ---------------------------------------------------------------------------------------------------- */

int xd_dial_own_key(xd_keypair *ret, const char *folder, xd_error *err)
{
    xd_error          why = { 0 };
    xd_autofree char *path = xd_path_join(folder, XD_KEY_FILE);
    if (!path)
        return -ENOMEM;
    int r = xd_keypair_read(ret, path, &why);
    if (r == -ENOENT)
        return xd_error_set(err, r, "there is no key of this user yet (%s): xdctl keygen makes one", path);
    return r < 0 ? xd_error_set(err, r, "%s", why.text) : 0;
}

int xd_dial_server_key(xd_pubkey *ret, const char *folder, const xd_address *at, xd_error *err)
{
    xd_error          why = { 0 };
    xd_keylist        known = XD_KEYLIST_INIT;
    xd_autofree char *path = xd_path_join(folder, XD_KEYLIST_BROKERS);
    if (!path)
        return -ENOMEM;
    int r = xd_keylist_read(&known, XD_KEYLIST_KNOWN, path, &why);
    if (r < 0)
        return xd_error_set(err, r, "%s", why.text);
    const xd_key_line *line = xd_keylist_find_address(&known, at->text);
    if (line)
        *ret = line->key;
    else
        r = xd_error_set(
            err, -EKEYREJECTED,
            "the key of %s is not known here: `xdctl trust %s` shows it, and takes it when you agree",
            at->text, at->text);
    xd_keylist_release(&known);
    return r;
}

/* ---- what went wrong ------------------------------------------------------------------------------------------- */

static int wait_fd(void *arg, int fd, short events, uint64_t until)
{
    struct pollfd p = { .fd = fd, .events = events };
    int           r = xd_dial_await(arg, &p, 1, until);
    return r == 1 && !p.revents ? 0 : r;
}

/* Connects without ZeroMQ: 0, *ret; -errno. */
static int plain_connect(xd_dial *d, const struct addrinfo *a, int *ret)
{
    const uint64_t until = XD_MIN(xd_clock_ns(), d->deadline_ns) + ASK_MS * XD_MS_NS;
    return xd_server_key_connect(a, wait_fd, d, until, ret);
}

static int is_changed(xd_dial *d, const xd_pubkey *now)
{
    char was_print[XD_FINGERPRINT_SIZE], print[XD_FINGERPRINT_SIZE];
    xd_pubkey_fingerprint(&d->server, was_print);
    xd_pubkey_fingerprint(now, print);
    if (d->by_token)
        return xd_dial_fail(d, -EKEYREJECTED,
                            "the token was not made by the controller of the run at %s: its key is %s, and "
                            "that of the token's %s (xdctl token --keys)",
                            d->at.text, print, was_print);
    return xd_dial_fail(
        d, -EKEYREJECTED,
        "THE KEY OF %s HAS CHANGED: it was %s, and is %s now. Somebody may pretend to be that host, or it "
        "was set up anew. If you know that it was: xdctl trust --replace %s",
        d->at.text, was_print, print, d->at.text);
}

/* There was a connection, and then no handshake. */
static int why_refused(xd_dial *d, const struct addrinfo *a)
{
    char             answer[XD_SERVER_KEY_ANSWER] = "";
    xd_pubkey        key;
    xd_autobuf       shown = XD_BUF_INIT;
    xd_autoclose int fd = -1;
    int              r = plain_connect(d, a, &fd);
    if (r == 0) /* what it said before it fell silent counts, too */
        r = xd_server_key_ask(fd, wait_fd, d, xd_clock_ns() + ASK_MS * XD_MS_NS, answer);
    if (r == -ECANCELED)
        return r;
    if (!*answer)
        return xd_dial_fail(d, -ECONNRESET,
                            "%s closed the connection before it showed its key; it may be busy", d->at.text);
    if (xd_server_key_read(answer, &key) == 0)
        return xd_pubkey_eq(&key, &d->server)
                   ? xd_dial_fail(d, -ECONNRESET,
                                  "%s closed the connection in the middle of the handshake; it may be busy",
                                  d->at.text)
                   : is_changed(d, &key);
    (void)!xd_text_last_words(&shown, xd_bytes_str(answer), 120);
    return xd_dial_fail(d, -EPROTO, "what answers at %s is no server of xd (%s): it does not speak CURVE%s%s",
                        d->at.text, d->program, shown.len ? "; it said: " : "", xd_buf_cstr(&shown));
}

static int why_failed(xd_dial *d, const struct addrinfo *a)
{
    char             host[64] = "?";
    xd_autoclose int fd = -1;
    int              r = plain_connect(d, a, &fd);
    (void)getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    if (r == -ECANCELED)
        return r;
    if (r == -ETIMEDOUT)
        return xd_dial_fail(d, r, "connect to %s: no answer in time (%s)", d->at.text, host);
    (void)xd_dial_fail(d, r < 0 ? r : -ECONNRESET, "connect to %s: %s (%s)", d->at.text,
                       r < 0 ? xd_error_name(r) : "the connection broke off", host);
    if (r == -ECONNREFUSED)
        (void)xd_dial_fail(d, r, "connect to %s: %s (%s); is %s running there?", d->at.text, xd_error_name(r),
                           host, d->program);
    return d->err.code;
}

/* ---- dialling --------------------------------------------------------------------------------------------------- */

static int resolve(xd_dial *d, xd_lookup **ret)
{
    int r = xd_lookup_begin(ret, d->at.host, d->at.port, AF_UNSPEC);
    while (r == 0)
        r = wait_fd(d, xd_lookup_fd(*ret), POLLIN, d->deadline_ns);
    if (r == -ETIMEDOUT)
        return xd_dial_fail(d, r, "the name server gives no answer for %s in time", d->at.host);
    if (r > 0 && xd_lookup_result(*ret) != 0)
        return xd_dial_fail(d, -EHOSTUNREACH, "cannot resolve the name %s: %s", d->at.host,
                            gai_strerror(xd_lookup_result(*ret)));
    return r < 0 ? r : 0;
}

/* One address. The state that it ends in, or -errno. */
static int dial_one(xd_dial *d, const struct addrinfo *a, uint64_t until)
{
    char           host[64];
    xd_curve_state state = XD_CURVE_CONNECTS;
    const uint64_t now = xd_clock_ns();
    if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
        return -EINVAL;
    d->curve = xd_curve_free(d->curve);
    XD_TRY(xd_curve_dial(&d->curve, host, d->at.port, &d->own, &d->server,
                         (uint32_t)((until > now ? until - now : 0) / XD_MS_NS) + 1));
    while ((state = xd_curve_look(d->curve)) == XD_CURVE_CONNECTS || state == XD_CURVE_GREETS) {
        int r = xd_dial_await_curve(d, until);
        if (r == -ETIMEDOUT)
            return (int)state;
        XD_TRY(r);
    }
    return (int)state;
}

static int dial(xd_dial *d)
{
    xd_lookup             *l = NULL;
    const struct addrinfo *last = NULL;
    unsigned               left = 0;
    int                    r = resolve(d, &l);
    if (r == 0)
        for (const struct addrinfo *a = xd_lookup_found(l); a; a = a->ai_next)
            left++;
    for (const struct addrinfo *a = r == 0 ? xd_lookup_found(l) : NULL; a; a = a->ai_next, left--) {
        const uint64_t now = xd_clock_ns();
        last = a;
        r = dial_one(d, a, now >= d->deadline_ns ? now : now + (d->deadline_ns - now) / left);
        if (r != XD_CURVE_CONNECTS && r != XD_CURVE_FAILED)
            break;
    }
    if (r == XD_CURVE_UP)
        r = 0;
    else if (r == XD_CURVE_GREETS)
        r = xd_dial_fail(d, -ETIMEDOUT, "%s has accepted the connection, and gives no answer in time",
                         d->at.text);
    else if (r == XD_CURVE_REFUSED || r == XD_CURVE_LOST)
        r = why_refused(d, last);
    else if (r >= 0 && last)
        r = why_failed(d, last);
    (void)xd_lookup_drop(l);
    return r;
}

/* A server that many knock at lets go of those that came first: who has a key comes again. */
static bool comes_again(const xd_dial *d, int r, uint64_t busy_ns)
{
    const uint64_t now = xd_clock_ns();
    if (r == -ECONNRESET && now < busy_ns)
        return true;
    return now < d->patient_ns && (r == -ECONNRESET || r == -ECONNREFUSED || r == -ETIMEDOUT ||
                                   r == -EHOSTUNREACH || r == -ENETUNREACH || r == -EBUSY);
}

int xd_dial_connect(xd_dial *d)
{
    uint64_t       wait_ns = AGAIN_NS;
    const uint64_t all_ns = d->deadline_ns;
    const uint64_t busy_ns = XD_MIN(all_ns, xd_clock_ns() + AGAIN_MOST_NS);
    for (;;) {
        d->err = (xd_error){ 0 };
        if (d->patient_ns)
            d->deadline_ns =
                XD_MAX(XD_MIN(xd_clock_ns() + ATTEMPT_NS, d->patient_ns), xd_clock_ns() + XD_S_NS);
        int            r = dial(d);
        const uint64_t until = xd_clock_ns() + wait_ns;
        if (r == 0 || !comes_again(d, r, busy_ns))
            return r;
        while ((r = xd_dial_await(d, NULL, 0, until)) >= 0) {
        }
        if (r != -ETIMEDOUT)
            return r;
        wait_ns = XD_MIN(2 * wait_ns, 10 * AGAIN_NS);
    }
}

int xd_dial_refused(xd_dial *d, const xd_frame *f, bool known)
{
    xd_wire_TUNNEL_REFUSED m;
    xd_autobuf             reason = XD_BUF_INIT;
    if (xd_wire_TUNNEL_REFUSED_decode(f->body, f->len, &m) < 0)
        return -EPROTO;
    XD_TRY(xd_text_harmless(&reason, m.reason, false));
    const int code = m.code == XD_TUNNEL_NO_AGENT && known ? -ESRCH
                     : m.code == XD_TUNNEL_BUSY            ? -EBUSY
                     : m.code <= XD_TUNNEL_ADDRESS         ? (known ? -EKEYREJECTED : -EACCES)
                                                           : -EPROTO;
    return xd_dial_fail(d, code, "refused by %s: %.600s", d->refuser, xd_buf_cstr(&reason));
}
