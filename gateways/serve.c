/* gateways/serve.c - see serve.h: connections, keys, and the loop. */
#include "gateways/serve.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "gateways/agent_program.h"
#include "gateways/serve_state.h"

#define REFRESH_NS XD_S_NS     /* between two looks at the lists of keys */
#define IDLE_NS (20 * XD_S_NS) /* that a connection may be there without asking for an agent */
#define PARTING_NS (500 * XD_MS_NS)
#define LEFT_NS (500 * XD_MS_NS) /* that the last messages of a connection may come later than its end */
#define CARE_NS (250 * XD_MS_NS)
#define MESSAGES 256 /* in one turn */
#define BOUND_MAX 8u
#define AGENT_FDS 4u /* its pipe, its text, the way to another pipe, its process */
#define OTHER_FDS 64u
#define UNHEARD_BYTES (2u * XD_TUNNEL_MESSAGE_MAX) /* one message, whatever part of another is on the way */

void serve_log(const serve *s, xd_log_level level, const char *fmt, ...)
{
    char    text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    xd_error_one_line(text);
    xd_log_write(&s->args->log, level, "%s", text);
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static peer *find_peer(const serve *s, uint32_t number)
{
    peer *p = s->peers[number % SERVE_BUCKETS];
    while (p && p->number != number)
        p = p->next;
    return p;
}

static void forget_peer(serve *s, peer *p)
{
    peer **at = &s->peers[p->number % SERVE_BUCKETS];
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->session)
        session_cut(p->session);
    free(p->command);
    free(p);
}

static void on_gone(void *arg, uint32_t number)
{
    serve *s = arg;
    peer  *p = find_peer(s, number);
    s->moved = true;
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

static int take_line(peer *p, const xd_key_line *line)
{
    size_t at;
    if (!line)
        return 0;
    p->max_workers = line->max_workers;
    snprintf(p->comment, sizeof(p->comment), "%.79s", line->comment);
    return line->command ? xd_text_command_split(line->command, &p->command, &at) : 0;
}

/* A peer with a key that is not trusted is let in too, so that it can be told why it is refused: a failed CURVE handshake carries no reason. An
 * address whose keys are refused again and again is not let in. */
static uint32_t admit(void *arg, const char *inner, const xd_pubkey *key)
{
    serve             *s = arg;
    const uint32_t     number = xd_front_find(s->front, inner);
    const xd_key_line *line = NULL;
    if (!number || find_peer(s, number))
        return 0;
    peer *p = calloc(1, sizeof(*p));
    if (!p)
        return 0;
    p->number = number;
    p->key = *key;
    p->since_ns = p->heard_ns = p->said_ns = xd_clock_ns();
    snprintf(p->address, sizeof(p->address), "%s", xd_front_address(s->front, number));
    xd_pubkey_fingerprint(key, p->print);
    const xd_trust_verdict v = xd_trust_ask(s->trust, key, p->address, (int64_t)time(NULL), &line);
    p->refuse_code = code_of(v);
    p->refuse_why = xd_trust_words(v);
    bool in = v != XD_TRUST_OFTEN && take_line(p, line) == 0;
    if (in && v == XD_TRUST_GOOD && !xd_front_prove(s->front, number)) {
        p->refuse_code = XD_TUNNEL_BUSY;
        p->refuse_why = "this address has too many connections";
    }
    if (p->refuse_code)
        serve_log(s, XD_LOG_WARNING, "refused: key %s from %s: %s", p->print, p->address, p->refuse_why);
    else
        serve_log(s, XD_LOG_INFO, "accepted: key %s (%s) from %s", p->print, p->comment, p->address);
    if (!in) {
        free(p->command);
        free(p);
        return 0;
    }
    peer **at = &s->peers[number % SERVE_BUCKETS];
    p->next = *at;
    *at = p;
    return number;
}

void serve_refuse(serve *s, peer *p, uint16_t code, const char *why)
{
    xd_autobuf             message = XD_BUF_INIT;
    xd_wire_TUNNEL_REFUSED m = { .code = code, .reason = xd_bytes_str(why) };
    if (p->refused)
        return;
    p->refused = true;
    if (!p->refuse_code) /* that of a key was told already */
        serve_log(s, XD_LOG_WARNING, "refused: %s, key %s: %s", p->address, p->print, why);
    if (p->heard && xd_wire_TUNNEL_REFUSED_frame(&message, 0, 0, &m) == 0)
        (void)!xd_curve_server_send(s->curve, &p->at, xd_buf_view(&message));
    xd_front_drop(s->front, p->number);
}

/* The words for one whose key is not good: what its user can do about it. */
static void refuse_key(serve *s, peer *p)
{
    char own[XD_KEY_Z85 + 1], why[512];
    if (p->refuse_code == XD_TUNNEL_UNKNOWN_KEY) {
        xd_pubkey_text(&p->key, own);
        snprintf(why, sizeof(why),
                 "it does not know your key; add this line to its file " XD_KEYLIST_CONTROLLERS
                 ": " XD_KEY_WORD " %s",
                 own);
        serve_refuse(s, p, p->refuse_code, why);
    } else {
        snprintf(why, sizeof(why), "%s (%s)", p->refuse_why, p->print);
        serve_refuse(s, p, p->refuse_code, why);
    }
}

static void on_message(serve *s, peer *p, const xd_frame *f)
{
    if (p->refused)
        return;
    if (p->refuse_code)
        refuse_key(s, p);
    else if (f->type == XD_MSG_TUNNEL_BEAT)
        return;
    else if (p->session)
        session_frame(s, p, f);
    else if (f->type == XD_MSG_TUNNEL_OPEN)
        session_open(s, p, f);
    else if (f->type == XD_MSG_TUNNEL_RESUME)
        session_resume(s, p, f);
    else if (!p->had_session || (f->type != XD_MSG_TUNNEL_DATA && f->type != XD_MSG_TUNNEL_TAKEN &&
                                 f->type != XD_MSG_TUNNEL_CLOSE))
        serve_refuse(s, p, XD_TUNNEL_PROTOCOL, "TUNNEL_OPEN or TUNNEL_RESUME was expected");
}

static void on_no_frame(serve *s, peer *p)
{
    serve_refuse(s, p, XD_TUNNEL_PROTOCOL, "a message is no frame");
    if (p->session)
        session_end(p->session);
}

/* 1 = something came. */
static int take_messages(serve *s)
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
        peer *p = number ? find_peer(s, number) : NULL;
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

/* ---- time ---------------------------------------------------------------------------------------------------------- */

static void beat(serve *s, peer *p, uint64_t now)
{
    xd_autobuf          message = XD_BUF_INIT;
    xd_wire_TUNNEL_BEAT m = { 0 };
    if (now - p->said_ns < XD_TUNNEL_BEAT_NS || !p->heard || p->refused)
        return;
    p->said_ns = now;
    if (xd_wire_TUNNEL_BEAT_frame(&message, 0, 0, &m) == 0 &&
        xd_curve_server_send(s->curve, &p->at, xd_buf_view(&message)) == -EHOSTUNREACH)
        xd_front_drop(s->front, p->number);
}

static void care_for_peers(serve *s, uint64_t now)
{
    if (now < s->cared_ns + CARE_NS)
        return;
    s->cared_ns = now;
    s->leaving = false;
    for (uint32_t i = 0; i < SERVE_BUCKETS; i++)
        for (peer *p = s->peers[i], *more; p; p = more) {
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

static void judge_again(serve *s, peer *p, int64_t wall)
{
    if (p->refuse_code || p->refused)
        return;
    const xd_trust_verdict v = xd_trust_still(s->trust, &p->key, p->address, wall);
    if (v == XD_TRUST_GOOD)
        return;
    p->refuse_why = xd_trust_words(v);
    serve_log(s, XD_LOG_WARNING, "cut off: key %s of %s: %s", p->print, p->address, p->refuse_why);
    if (p->session)
        session_end(p->session);
    p->refuse_code = code_of(v);
    refuse_key(s, p);
}

/* Keys that were taken away end what they were good for. */
static void look_at_keys(serve *s, uint64_t now)
{
    xd_error err = { 0 };
    if (now < s->refresh_ns)
        return;
    s->refresh_ns = now + REFRESH_NS;
    int r = xd_trust_refresh(s->trust, &err);
    if (r < 0 && *err.text)
        serve_log(s, XD_LOG_ERROR, "the keys stay as they were: %s", err.text);
    if (r > 0)
        serve_log(s, XD_LOG_INFO, "the lists of keys were read again: %zu authorized",
                  xd_trust_count(s->trust));
    const int64_t wall = (int64_t)time(NULL);
    for (uint32_t i = 0; i < SERVE_BUCKETS; i++)
        for (peer *p = s->peers[i]; p; p = p->next)
            judge_again(s, p, wall);
    for (session *e = s->sessions; e; e = e->next)
        if (!e->peer && xd_trust_still(s->trust, &e->key, NULL, wall) == XD_TRUST_REVOKED)
            session_end(e);
}

static void on_stop(void *arg, int fd, uint32_t events)
{
    serve *s = arg;
    char   byte[16];
    (void)events;
    const ssize_t n = read(fd, byte, sizeof(byte));
    if (n == 0)
        (void)xd_poller_remove(s->poller, fd);
    s->stops += n > 0 ? (unsigned)n : 2u;
    xd_front_deafen(s->front);
    if (s->stop_ns == UINT64_MAX)
        s->stop_ns = xd_clock_ns() + s->args->drain_ms * XD_MS_NS;
    if (s->stops > 1)
        s->stop_ns = 0;
}

static void stop_sessions(serve *s, uint64_t now)
{
    if (s->stops && now >= s->stop_ns)
        for (session *e = s->sessions; e; e = e->next)
            session_end(e);
}

static void nothing(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    ((serve *)arg)->moved = true;
}

static int turn(serve *s)
{
    uint64_t now = xd_clock_ns(), next = now + XD_S_NS;
    do {
        s->moved = false;
        for (session *e = s->sessions, *more; e; e = more) {
            more = e->next;
            next = XD_MIN(next, session_care(e, now));
        }
        int r = take_messages(s); /* behind all that was sent: sending may hide that something came */
        XD_TRY(r);
        s->moved = s->moved || r == 1;
        now = xd_clock_ns();
        xd_front_care(s->front, now);
    } while (s->moved && (next = now + XD_S_NS));
    care_for_peers(s, now);
    if (s->leaving)
        next = XD_MIN(next, s->cared_ns + CARE_NS);
    look_at_keys(s, now);
    stop_sessions(s, now);
    next = XD_MIN(next, xd_front_next(s->front));
    if (s->stops && s->stop_ns)
        next = XD_MIN(next, s->stop_ns);
    if (s->stops && !s->n_sessions)
        next = XD_MIN(next, now + 20 * XD_MS_NS);
    return XD_MIN(xd_poller_wait(s->poller, next), 0);
}

/* ---- start and end ---------------------------------------------------------------------------------------------------- */

static int listen_there(serve *s, xd_error *err)
{
    static const char *const everywhere[] = { ":8888" };
    const xd_serve_args     *a = s->args;
    char                     text[XD_KEY_Z85 + 1], host[256], system[256], line[400];
    uint16_t                 port;
    int                      fds[2];
    int                      r = xd_curve_listen(&s->curve, xd_trust_key(s->trust), admit, s, &port);
    if (r < 0)
        return xd_error_set(err, r, "the socket of ZeroMQ cannot be made: %s", xd_error_name(r));
    xd_pubkey_text(&xd_trust_key(s->trust)->pub, text);
    xd_os_names(host, sizeof(host), system, sizeof(system));
    snprintf(line, sizeof(line), XD_KEY_WORD " %s %s\n", text, host);
    xd_front_limits limits = a->limits;
    limits.unheard_bytes = UNHEARD_BYTES;
    const uint32_t      agents = a->max_agents ? a->max_agents : XD_SERVE_AGENTS;
    const xd_front_args front = { .poller = s->poller,
                                  .bind = a->n_bind ? a->bind : everywhere,
                                  .n_bind = a->n_bind ? a->n_bind : 1,
                                  .inner_port = port,
                                  .key_line = line,
                                  .other_fds = XD_MIN(agents, 1u << 20) * AGENT_FDS + OTHER_FDS,
                                  .limits = limits,
                                  .gone = on_gone,
                                  .arg = s };
    XD_TRY(xd_front_new(&s->front, &front, err));
    const uint32_t most = xd_front_count(s->front).most;
    const uint32_t wanted = a->limits.connections ? a->limits.connections : XD_FRONT_CONNECTIONS;
    if (most < wanted)
        serve_log(s, XD_LOG_WARNING,
                  "%u connections at most instead of %u: the limit of open files allows no more (ulimit -n)",
                  (unsigned)most, (unsigned)wanted);
    xd_curve_server_fds(s->curve, fds);
    for (int i = 0; i < 2; i++)
        XD_TRY(xd_poller_set(s->poller, fds[i], XD_POLL_IN, nothing, s));
    return a->stop_fd >= 0 ? xd_poller_set(s->poller, a->stop_fd, XD_POLL_IN, on_stop, s) : 0;
}

static void say_ready(const serve *s)
{
    const char *addresses[BOUND_MAX + 1] = { NULL };
    char        print[XD_FINGERPRINT_SIZE], key[XD_KEY_Z85 + 1];
    if (!s->args->ready)
        return;
    for (size_t i = 0; i < BOUND_MAX && (addresses[i] = xd_front_bound(s->front, i)) != NULL;)
        i++;
    xd_pubkey_fingerprint(&xd_trust_key(s->trust)->pub, print);
    xd_pubkey_text(&xd_trust_key(s->trust)->pub, key);
    s->args->ready(s->args->arg, addresses, print, key, xd_trust_count(s->trust));
}

/* A bare host may have no folder for the key that can be written: what to do about it. */
static int open_keys(serve *s, const char *folder, xd_error *err)
{
    xd_error why = { 0 };
    int      r = xd_trust_open(&s->trust, folder, XD_KEYLIST_CONTROLLERS, true, &why);
    if (r == -EACCES || r == -EROFS || r == -ENOENT || r == -ENOTDIR || r == -ENOSPC || r == -EDQUOT)
        return xd_error_set(err, r, "no place for the key of this server: %.600s; --keys DIR names another",
                            *why.text ? why.text : xd_error_name(r));
    return r < 0 ? xd_error_set(err, r, "%s", *why.text ? why.text : xd_error_name(r)) : 0;
}

static int begin(serve *s, xd_error *err)
{
    xd_autofree char *folder = NULL, *found = NULL;
    XD_TRY(xd_keys_folder(s->args->keys, &folder, err));
    XD_TRY(xd_agent_program_find(s->args->agent, &found, err));
    XD_TRY(xd_path_absolute(found, &s->agent));
    XD_TRY(open_keys(s, folder, err));
    XD_TRY(xd_poller_new(&s->poller));
    return listen_there(s, err);
}

static void end(serve *s)
{
    session_free_all(s);
    for (uint32_t i = 0; i < SERVE_BUCKETS; i++)
        while (s->peers[i])
            forget_peer(s, s->peers[i]);
    s->front = xd_front_free(s->front);
    s->curve = xd_curve_server_free(s->curve);
    s->trust = xd_trust_free(s->trust);
    s->poller = xd_poller_free(s->poller);
    free(s->agent);
}

/* The last agents have ended; that they have is on its way to their controllers for a moment. */
static bool is_over(serve *s, uint64_t now)
{
    if (!s->stops || s->n_sessions)
        return false;
    if (!s->empty_ns)
        s->empty_ns = now;
    return xd_front_count(s->front).now == 0 || now - s->empty_ns >= PARTING_NS;
}

int xd_serve(const xd_serve_args *args, xd_error *err)
{
    serve s = { .args = args, .stop_ns = UINT64_MAX };
    int   r = begin(&s, err);
    if (r == 0) {
        say_ready(&s);
        while (r == 0 && !is_over(&s, xd_clock_ns()))
            r = turn(&s);
        if (r < 0)
            (void)xd_error_set(err, r, "the server has to end: %s", xd_error_name(r));
    } else if (err && !*err->text) {
        (void)xd_error_set(err, r, "%s", xd_error_name(r));
    }
    end(&s);
    return r;
}
