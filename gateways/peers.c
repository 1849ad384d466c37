/* gateways/peers.c - see peers.h. */
#include "gateways/peers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "engine/tunnel.h"

#define BUCKETS 1024u
#define REFRESH_NS XD_S_NS       /* between two looks at the lists of keys */
#define IDLE_NS (20 * XD_S_NS)   /* that a connection may be there without a session */
#define LEFT_NS (500 * XD_MS_NS) /* that the last messages of a connection may come later than its end */
#define CARE_NS (250 * XD_MS_NS)
#define UNHEARD_BYTES (2u * XD_TUNNEL_WINDOW) /* more than one that keeps to the protocol has on the way */
#define MESSAGES 256                          /* in one turn */

struct xd_peers {
    xd_peers_args    args;
    xd_trust        *trust;
    xd_front        *front;
    xd_curve_server *curve;
    xd_peer         *peers[BUCKETS]; /* by number */
    uint64_t         refresh_ns, cared_ns;
    bool             leaving; /* connections have ended whose peers are not forgotten yet */
    bool             said;    /* something was sent, which may hide that something came */
};

void xd_peers_log(const xd_peers *s, xd_log_level level, const char *fmt, ...)
{
    char    text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    xd_error_one_line(text);
    xd_log_write(&s->args.log, level, "%s", text);
}

/* ---- who is there ------------------------------------------------------------------------------------------------ */

static xd_peer *find_peer(const xd_peers *s, uint32_t number)
{
    xd_peer *p = s->peers[number % BUCKETS];
    while (p && p->number != number)
        p = p->next;
    return p;
}

static void forget_peer(xd_peers *s, xd_peer *p)
{
    xd_peer **at = &s->peers[p->number % BUCKETS];
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->session)
        s->args.ops.cut(s->args.arg, p);
    free(p->command);
    free(p);
}

static void on_gone(void *arg, uint32_t number)
{
    xd_peers *s = arg;
    xd_peer  *p = find_peer(s, number);
    *s->args.moved = true;
    if (p && !p->left_ns) /* not forgotten yet: its last messages may be in ZeroMQ's thread still */
        p->left_ns = xd_clock_ns();
    s->leaving = true;
}

static uint16_t code_of(xd_trust_verdict v)
{
    switch (v) {
    case XD_TRUST_GOOD:
        return 0;
    case XD_TRUST_REVOKED:
        return XD_TUNNEL_REVOKED_KEY;
    case XD_TRUST_EXPIRED:
        return XD_TUNNEL_EXPIRED_KEY;
    case XD_TRUST_ELSEWHERE:
        return XD_TUNNEL_ADDRESS;
    default:
        return XD_TUNNEL_UNKNOWN_KEY;
    }
}

static int take_line(xd_peer *p, const xd_key_line *line)
{
    size_t at;
    if (!line)
        return 0;
    p->max_workers = line->max_workers;
    snprintf(p->comment, sizeof(p->comment), "%.79s", line->comment);
    return line->command ? xd_text_command_split(line->command, &p->command, &at) : 0;
}

static bool may_be_pardoned(const xd_peers *s, const xd_peer *p)
{
    return s->args.ops.pardon && p->refuse_code == XD_TUNNEL_UNKNOWN_KEY && !p->pardoned;
}

static bool judge(xd_peers *s, xd_peer *p)
{
    const xd_key_line     *line = NULL;
    const int64_t          wall = (int64_t)time(NULL);
    const bool             tokens = s->args.ops.pardon != NULL;
    const xd_trust_verdict v = tokens ? xd_trust_ask_first(s->trust, &p->key, p->address, wall, &line)
                                      : xd_trust_ask(s->trust, &p->key, p->address, wall, &line);
    p->refuse_code = code_of(v);
    p->refuse_why = xd_trust_words(v);
    if (v == XD_TRUST_OFTEN || take_line(p, line) < 0)
        return false;
    if (v == XD_TRUST_GOOD && !xd_front_prove(s->front, p->number)) {
        p->refuse_code = XD_TUNNEL_BUSY;
        p->refuse_why = "this address has too many connections";
    }
    return true;
}

/* A peer with a key that is not trusted is let in too, so that it can be told why it is refused: a failed CURVE handshake carries no reason. An
 * address whose keys are refused again and again is not let in. */
static uint32_t admit(void *arg, const char *inner, const xd_pubkey *key)
{
    xd_peers      *s = arg;
    const uint32_t number = xd_front_find(s->front, inner);
    if (!number || find_peer(s, number))
        return 0;
    xd_peer *p = calloc(1, sizeof(*p));
    if (!p)
        return 0;
    p->number = number;
    p->key = *key;
    p->since_ns = p->heard_ns = p->said_ns = xd_clock_ns();
    snprintf(p->address, sizeof(p->address), "%s", xd_front_address(s->front, number));
    xd_pubkey_fingerprint(key, p->print);
    const bool in = judge(s, p);
    if (p->refuse_code && !may_be_pardoned(s, p))
        xd_peers_log(s, XD_LOG_WARNING, "refused: key %s from %s: %s", p->print, p->address, p->refuse_why);
    else if (!p->refuse_code)
        xd_peers_log(s, XD_LOG_INFO, "accepted: key %s (%s) from %s", p->print, p->comment, p->address);
    if (!in) {
        free(p->command);
        free(p);
        return 0;
    }
    xd_peer **at = &s->peers[number % BUCKETS];
    p->next = *at;
    *at = p;
    return number;
}

bool xd_peers_let_in(xd_peers *s, xd_peer *p)
{
    if (!xd_front_prove(s->front, p->number))
        return false;
    p->pardoned = true;
    p->refuse_code = 0;
    return true;
}

/* ---- what is said ------------------------------------------------------------------------------------------------- */

/* A peer that is gone takes nothing, but what it has said last is waited for: so it is as one that is busy until it is forgotten. */
int xd_peers_send(xd_peers *s, xd_peer *p, xd_bytes message)
{
    if (p->left_ns)
        return -EAGAIN;
    int r = xd_curve_server_send(s->curve, &p->at, message);
    if (r == 0)
        p->said_ns = xd_clock_ns();
    if (r != -EHOSTUNREACH)
        return r;
    p->left_ns = xd_clock_ns();
    s->leaving = true;
    xd_front_drop(s->front, p->number);
    return -EAGAIN;
}

void xd_peers_drop(xd_peers *s, xd_peer *p)
{
    xd_front_drop(s->front, p->number);
}

void xd_peers_refuse(xd_peers *s, xd_peer *p, uint16_t code, const char *why)
{
    xd_autobuf             message = XD_BUF_INIT;
    xd_wire_TUNNEL_REFUSED m = { .code = code, .reason = xd_bytes_str(why) };
    if (p->refused)
        return;
    p->refused = true;
    if (!p->refuse_code || s->args.ops.pardon) /* that of a key was told already */
        xd_peers_log(s, XD_LOG_WARNING, "refused: %s, key %s: %s", p->address, p->print, why);
    if (p->heard && xd_wire_TUNNEL_REFUSED_frame(&message, 0, 0, &m) == 0)
        (void)!xd_curve_server_send(s->curve, &p->at, xd_buf_view(&message));
    s->said = true;
    xd_front_drop(s->front, p->number);
}

/* The words for one whose key is not good: what its user can do about it. */
static void refuse_key(xd_peers *s, xd_peer *p)
{
    char own[XD_KEY_Z85 + 1], why[512];
    if (p->refuse_code == XD_TUNNEL_UNKNOWN_KEY) {
        xd_pubkey_text(&p->key, own);
        snprintf(why, sizeof(why),
                 "it does not know your key; add this line to its file %s: " XD_KEY_WORD " %s", s->args.list,
                 own);
    } else {
        snprintf(why, sizeof(why), "%s (%s)", p->refuse_why, p->print);
    }
    xd_peers_refuse(s, p, p->refuse_code, why);
}

static void on_message(xd_peers *s, xd_peer *p, const xd_frame *f)
{
    const xd_peers_ops *ops = &s->args.ops;
    if (p->refused)
        return;
    if (may_be_pardoned(s, p) && f->type != XD_MSG_TUNNEL_BEAT && !ops->pardon(s->args.arg, p, f))
        xd_trust_failed(s->trust, p->address, (int64_t)time(NULL));
    if (p->refused)
        return;
    if (p->refuse_code)
        refuse_key(s, p);
    else if (f->type == XD_MSG_TUNNEL_BEAT)
        return;
    else if (p->session)
        ops->frame(s->args.arg, p, f);
    else if (!p->had_session || (f->type != XD_MSG_TUNNEL_DATA && f->type != XD_MSG_TUNNEL_TAKEN &&
                                 f->type != XD_MSG_TUNNEL_CLOSE))
        ops->first(s->args.arg, p, f);
    p->had_session |= p->session != NULL;
}

static void on_no_frame(xd_peers *s, xd_peer *p)
{
    xd_peers_refuse(s, p, XD_TUNNEL_PROTOCOL, "a message is no frame");
    if (p->session)
        s->args.ops.end(s->args.arg, p);
}

static int take_messages(xd_peers *s)
{
    int any = 0;
    XD_TRY(xd_curve_server_admit(s->curve));
    for (int i = 0; i < MESSAGES; i++) {
        xd_frame      f;
        xd_curve_peer at;
        uint32_t      number;
        int           r = xd_curve_server_receive(s->curve, &number, &at, &f);
        if (r == 0)
            break;
        any = 1;
        xd_front_heard(s->front, number);
        xd_peer *p = number ? find_peer(s, number) : NULL;
        if (!p && r != -EPROTO)
            XD_TRY(r);
        if (!p)
            continue;
        p->at = at;
        p->heard = true;
        p->heard_ns = xd_clock_ns();
        if (r == 1)
            on_message(s, p, &f);
        else if (r == -EPROTO)
            on_no_frame(s, p);
        else
            return r;
    }
    return any;
}

int xd_peers_take(xd_peers *s)
{
    int r = take_messages(s);
    xd_front_care(s->front, xd_clock_ns());
    return r;
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

static void beat(xd_peers *s, xd_peer *p, uint64_t now)
{
    xd_autobuf          message = XD_BUF_INIT;
    xd_wire_TUNNEL_BEAT m = { 0 };
    if (now - p->said_ns < XD_TUNNEL_BEAT_NS || !p->heard || p->refused)
        return;
    p->said_ns = now;
    s->said = true;
    if (xd_wire_TUNNEL_BEAT_frame(&message, 0, 0, &m) == 0 &&
        xd_curve_server_send(s->curve, &p->at, xd_buf_view(&message)) == -EHOSTUNREACH)
        xd_front_drop(s->front, p->number);
}

static void care_for_each(xd_peers *s, uint64_t now)
{
    if (now < s->cared_ns + CARE_NS)
        return;
    s->cared_ns = now;
    s->leaving = false;
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (xd_peer *p = s->peers[i], *more; p; p = more) {
            more = p->next;
            if (p->left_ns) {
                s->leaving = true;
                if (now >= p->left_ns + LEFT_NS)
                    forget_peer(s, p);
                continue;
            }
            beat(s, p, now);
            if (now - p->heard_ns > XD_TUNNEL_SILENT_NS || (!p->session && now - p->since_ns > IDLE_NS))
                xd_front_drop(s->front, p->number);
        }
}

static void judge_again(xd_peers *s, xd_peer *p, int64_t wall)
{
    if (p->refuse_code || p->refused)
        return;
    const xd_trust_verdict v = xd_trust_still(s->trust, &p->key, p->address, wall);
    if (v == XD_TRUST_GOOD || (p->pardoned && v != XD_TRUST_REVOKED))
        return;
    p->refuse_why = xd_trust_words(v);
    xd_peers_log(s, XD_LOG_WARNING, "cut off: key %s of %s: %s", p->print, p->address, p->refuse_why);
    if (p->session)
        s->args.ops.end(s->args.arg, p);
    p->refuse_code = code_of(v);
    refuse_key(s, p);
}

/* Keys that were taken away end what they were good for. */
static void look_at_keys(xd_peers *s, uint64_t now)
{
    xd_error err = { 0 };
    if (now < s->refresh_ns)
        return;
    s->refresh_ns = now + REFRESH_NS;
    int r = xd_trust_refresh(s->trust, &err);
    if (r < 0 && *err.text)
        xd_peers_log(s, XD_LOG_ERROR, "the keys stay as they were: %s", err.text);
    if (r > 0)
        xd_peers_log(s, XD_LOG_INFO, "the lists of keys were read again: %zu authorized",
                     xd_trust_count(s->trust));
    const int64_t wall = (int64_t)time(NULL);
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (xd_peer *p = s->peers[i]; p; p = p->next)
            judge_again(s, p, wall);
    s->args.ops.looked(s->args.arg, s->trust, wall);
}

uint64_t xd_peers_care(xd_peers *s, uint64_t now_ns)
{
    s->said = false;
    care_for_each(s, now_ns);
    look_at_keys(s, now_ns);
    if (s->said)
        return now_ns;
    uint64_t next = XD_MIN(now_ns + XD_S_NS, xd_front_next(s->front));
    return s->leaving ? XD_MIN(next, s->cared_ns + CARE_NS) : next;
}

/* ---- start and end ---------------------------------------------------------------------------------------------------- */

static void nothing(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    *((xd_peers *)arg)->args.moved = true;
}

static int listen_there(xd_peers *s, xd_error *err)
{
    const xd_peers_args *a = &s->args;
    char                 text[XD_KEY_Z85 + 1], host[256], system[256], line[400];
    uint16_t             port;
    int                  fds[2];
    int                  r = xd_curve_listen(&s->curve, xd_trust_key(s->trust), admit, s, &port);
    if (r < 0)
        return xd_error_set(err, r, "the socket of ZeroMQ cannot be made: %s", xd_error_name(r));
    xd_pubkey_text(&xd_trust_key(s->trust)->pub, text);
    xd_os_names(host, sizeof(host), system, sizeof(system));
    snprintf(line, sizeof(line), XD_KEY_WORD " %s %s\n", text, host);
    xd_front_limits limits = a->limits;
    limits.unheard_bytes = UNHEARD_BYTES;
    const xd_front_args front = { .poller = a->poller,
                                  .bind = a->bind,
                                  .n_bind = a->n_bind,
                                  .option = a->option,
                                  .inner_port = port,
                                  .key_line = line,
                                  .limits = limits,
                                  .other_fds = a->other_fds,
                                  .gone = on_gone,
                                  .arg = s };
    XD_TRY(xd_front_new(&s->front, &front, err));
    const uint32_t most = xd_front_count(s->front).most;
    const uint32_t wanted = a->limits.connections ? a->limits.connections : XD_FRONT_CONNECTIONS;
    if (most < wanted)
        xd_peers_log(
            s, XD_LOG_WARNING,
            "%u connections at most instead of %u: the limit of open files allows no more (ulimit -n)",
            (unsigned)most, (unsigned)wanted);
    xd_curve_server_fds(s->curve, fds);
    for (int i = 0; i < 2; i++)
        XD_TRY(xd_poller_set(a->poller, fds[i], XD_POLL_IN, nothing, s));
    return 0;
}

/* A bare host may have no folder for the key that can be written: what to do about it. */
static int open_keys(xd_peers *s, xd_error *err)
{
    xd_error          why = { 0 };
    xd_autofree char *folder = NULL;
    XD_TRY(xd_keys_folder(s->args.keys, &folder, err));
    int r = xd_trust_open(&s->trust, folder, s->args.list, true, &why);
    if (r == -EACCES || r == -EROFS || r == -ENOENT || r == -ENOTDIR || r == -ENOSPC || r == -EDQUOT)
        return xd_error_set(err, r, "no place for the key of this server: %.600s; --keys DIR names another",
                            *why.text ? why.text : xd_error_name(r));
    return r < 0 ? xd_error_set(err, r, "%s", *why.text ? why.text : xd_error_name(r)) : 0;
}

int xd_peers_new(xd_peers **ret, const xd_peers_args *args, xd_error *err)
{
    xd_peers *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->args = *args;
    int r = open_keys(s, err);
    if (r == 0)
        r = listen_there(s, err);
    if (r < 0) {
        xd_peers_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

xd_peers *xd_peers_free(xd_peers *s)
{
    if (!s)
        return NULL;
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (s->peers[i])
            forget_peer(s, s->peers[i]);
    s->front = xd_front_free(s->front);
    s->curve = xd_curve_server_free(s->curve);
    s->trust = xd_trust_free(s->trust);
    free(s);
    return NULL;
}

void xd_peers_deafen(xd_peers *s)
{
    xd_front_deafen(s->front);
}

uint32_t xd_peers_count(const xd_peers *s)
{
    return xd_front_count(s->front).now;
}

const char *xd_peers_bound(const xd_peers *s, size_t i)
{
    return xd_front_bound(s->front, i);
}

const xd_trust *xd_peers_trust(const xd_peers *s)
{
    return s->trust;
}
