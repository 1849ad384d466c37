/* gateways/listen.c - see listen.h: the thread, and who may join. */
#include "gateways/listen.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/listen_state.h"

#define PARTING_NS (500 * XD_MS_NS) /* for what was said last, at the end */
#define TOKENS_MAX 65536u
#define SAME_KEY_MAX 4u /* seats that one key gets with a token */
#define WORDS_MAX 512u  /* bytes of the tags, and of the interpreters, that are shown */
#define FILES_LEFT 24u  /* descriptors that the run needs besides those of who joins */

seat *listen_seat(xd_listen *l, uint16_t number)
{
    return &l->seats[number - l->args.first];
}

static bool is_closed(xd_listen *l)
{
    pthread_mutex_lock(&l->lock);
    const bool closed = l->closed;
    pthread_mutex_unlock(&l->lock);
    return closed;
}

/* ---- tokens -------------------------------------------------------------------------------------------------------- */

static used_token *find_token(xd_listen *l, const uint8_t *nonce)
{
    for (size_t i = 0; i < l->n_tokens; i++)
        if (memcmp(l->tokens[i].nonce, nonce, XD_RUN_TOKEN_NONCE) == 0)
            return &l->tokens[i];
    return NULL;
}

static used_token *add_token(xd_listen *l, const uint8_t *nonce)
{
    if (l->n_tokens >= TOKENS_MAX)
        return NULL;
    used_token *more = realloc(l->tokens, (l->n_tokens + 1) * sizeof(*more));
    if (!more)
        return NULL;
    l->tokens = more;
    more += l->n_tokens++;
    *more = (used_token){ 0 };
    memcpy(more->nonce, nonce, XD_RUN_TOKEN_NONCE);
    return more;
}

/* One more use by this key, which takes place if `spend`. The same key, whose connection may have been cut before it got an answer, does not
 * count twice. -EDQUOT: there is none left; -ENOMEM. */
static int use_token(xd_listen *l, const xd_run_token *t, const xd_pubkey *key, bool spend)
{
    used_token *u = find_token(l, t->nonce);
    for (uint32_t i = 0; u && i < u->count; i++)
        if (xd_pubkey_eq(&u->by[i].key, key)) {
            if (u->by[i].times >= SAME_KEY_MAX)
                return -EDQUOT;
            u->by[i].times += spend;
            return 0;
        }
    if (u && t->uses && u->count >= t->uses)
        return -EDQUOT;
    if (!spend)
        return 0;
    if (!u && !(u = add_token(l, t->nonce)))
        return -ENOMEM;
    token_user *by = realloc(u->by, (u->count + 1) * sizeof(*by));
    if (!by)
        return -ENOMEM;
    u->by = by;
    by[u->count++] = (token_user){ .key = *key, .times = 1 };
    return 0;
}

/* NULL: it is good, and spent if `spend`. */
static const char *judge_token(xd_listen *l, const xd_peer *p, xd_bytes shown, bool spend, uint16_t *ret_code)
{
    xd_run_token t;
    *ret_code = XD_TUNNEL_BAD_TOKEN;
    if (xd_run_token_read(&t, shown) < 0)
        return "what it shows is no token";
    switch (xd_run_token_check(&t, xd_trust_key(xd_peers_trust(l->peers)), (const char *const *)l->runs,
                               (uint64_t)time(NULL))) {
    case XD_RUN_TOKEN_FORGED:
        return "the token was not made with the key of this run's controller (xdctl token)";
    case XD_RUN_TOKEN_OTHER:
        return "the token is for another run";
    case XD_RUN_TOKEN_EXPIRED:
        *ret_code = XD_TUNNEL_EXPIRED_TOKEN;
        return "the token has expired: make another one (xdctl token --expires)";
    case XD_RUN_TOKEN_GOOD:
        break;
    }
    int r = use_token(l, &t, &p->key, spend);
    return r == -EDQUOT ? "the token was used before, as often as it may be (xdctl token --uses)"
           : r < 0      ? "there is no memory for it"
                        : NULL;
}

static guest *find_guest(const xd_listen *l, const xd_peer *p, xd_bytes token)
{
    for (guest *g = l->guests; g; g = g->next)
        if (token.len == sizeof(g->token) && memcmp(token.ptr, g->token, sizeof(g->token)) == 0 &&
            xd_pubkey_eq(&g->key, &p->key))
            return g;
    return NULL;
}

/* One whose key is not in the list: it shows a token, or is known from before. */
static bool on_pardon(void *arg, xd_peer *p, const xd_frame *f)
{
    xd_listen            *l = arg;
    xd_wire_TUNNEL_JOIN   join;
    xd_wire_TUNNEL_RESUME resume;
    uint16_t              code = 0;
    if (f->type == XD_MSG_TUNNEL_RESUME && xd_wire_TUNNEL_RESUME_decode(f->body, f->len, &resume) == 0 &&
        find_guest(l, p, resume.token))
        return xd_peers_let_in(l->peers, p);
    if (f->type != XD_MSG_TUNNEL_JOIN || xd_wire_TUNNEL_JOIN_decode(f->body, f->len, &join) < 0 ||
        !join.token.len)
        return false;
    const char *why = judge_token(l, p, join.token, false, &code);
    if (!why && !xd_peers_let_in(l->peers, p)) {
        code = XD_TUNNEL_BUSY;
        why = "this address has too many connections";
    }
    if (why)
        xd_peers_refuse(l->peers, p, code, why);
    return !why;
}

/* ---- who joins -------------------------------------------------------------------------------------------------------- */

/* Words of a list with blanks between them, for people. */
static int join_words(xd_buf *out, xd_wire_list list)
{
    xd_wire_TEXT one;
    while (xd_wire_TEXT_next(&list, &one) == 1 && out->len < WORDS_MAX) {
        if (out->len)
            XD_TRY(xd_buf_add_str(out, " "));
        one.text.len = XD_MIN(one.text.len, (size_t)100);
        XD_TRY(xd_text_harmless(out, one.text, false));
    }
    return 0;
}

static bool has_word(xd_wire_list tags, const char *word)
{
    xd_wire_TEXT one;
    while (xd_wire_TEXT_next(&tags, &one) == 1)
        if (xd_bytes_eq_str(one.text, word))
            return true;
    return false;
}

/* So many descriptors can still be had; else a run that many join would lose those that it needs for itself. */
static bool has_files(void)
{
    int  fds[FILES_LEFT];
    bool all = true;
    for (size_t i = 0; i < FILES_LEFT; i++) {
        fds[i] = all ? eventfd(0, EFD_CLOEXEC) : -1;
        all = all && fds[i] >= 0;
    }
    for (size_t i = 0; i < FILES_LEFT; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return all;
}

/* NULL: it fits. */
static const char *unfit(xd_listen *l, const xd_wire_TUNNEL_JOIN *m, uint16_t *ret_code, char *why,
                         size_t size)
{
    *ret_code = XD_TUNNEL_VERSION;
    if (m->version_min > XD_TUNNEL_SPOKEN || m->version_max < XD_TUNNEL_SPOKEN) {
        snprintf(why, size,
                 "it speaks versions %u to %u of the tunnel, this run %u; use the same release of xd on both",
                 (unsigned)m->version_min, (unsigned)m->version_max, XD_TUNNEL_SPOKEN);
        return why;
    }
    *ret_code = XD_TUNNEL_PROTOCOL;
    if (xd_wire_TUNNEL_JOIN_beyond(m))
        return "TUNNEL_JOIN has a number out of range";
    *ret_code = XD_TUNNEL_OVER;
    if (is_closed(l))
        return "the run is over, or about to be";
    *ret_code = XD_TUNNEL_UNFIT;
    for (char **w = l->needs; w && *w; w++)
        if (!has_word(m->tags, *w)) {
            snprintf(why, size, "the run requires --tag %.100s, which this host does not have", *w);
            return why;
        }
    *ret_code = XD_TUNNEL_BUSY;
    if (l->taken >= l->args.seats)
        return "as many hosts have joined this run as may";
    if (!has_files())
        return "the run's limit of open files is reached (ulimit -n there)";
    return NULL;
}

static void tell_joined(xd_listen *l, const guest *g, const xd_peer *p, const xd_wire_TUNNEL_JOIN *m)
{
    xd_autobuf host = XD_BUF_INIT, tags = XD_BUF_INIT, found = XD_BUF_INIT;
    xd_bytes   name = m->host;
    name.len = XD_MIN(name.len, (size_t)64);
    if (xd_text_harmless(&host, name, false) < 0 || join_words(&tags, m->tags) < 0 ||
        join_words(&found, m->interpreters) < 0)
        return;
    const uint32_t  most = p->max_workers ? XD_MIN(p->max_workers, m->workers) : m->workers;
    const xd_joined j = { .seat = g->number,
                          .host = host.len ? xd_buf_cstr(&host) : p->address,
                          .who = g->who,
                          .address = p->address,
                          .tags = xd_buf_cstr(&tags),
                          .interpreters = xd_buf_cstr(&found),
                          .cpus = m->cpus,
                          .workers = most,
                          .memory_bytes = m->memory_bytes };
    l->args.joined(l->args.arg, &j);
}

static void on_join(xd_listen *l, xd_peer *p, const xd_frame *f)
{
    xd_wire_TUNNEL_JOIN m;
    xd_autobuf          who = XD_BUF_INIT;
    char                text[256];
    uint16_t            code;
    guest              *g = NULL;
    if (xd_wire_TUNNEL_JOIN_decode(f->body, f->len, &m) < 0) {
        xd_peers_refuse(l->peers, p, XD_TUNNEL_PROTOCOL, "TUNNEL_JOIN cannot be read");
        return;
    }
    const char *why = unfit(l, &m, &code, text, sizeof(text));
    if (!why && p->pardoned) /* one that does not fit keeps its token */
        why = judge_token(l, p, m.token, true, &code);
    if (why) {
        xd_peers_refuse(l->peers, p, code, why);
        return;
    }
    int r = guest_new(l, p, &g);
    if (r == 0)
        r = xd_text_last_words(&who, m.who, sizeof(g->who) - 1);
    if (r == 0)
        snprintf(g->who, sizeof(g->who), "%s", xd_buf_cstr(&who));
    if (r == 0)
        r = guest_connect(g, p);
    if (r < 0) {
        xd_peers_refuse(l->peers, p, XD_TUNNEL_BUSY, "the run has no means for it any more");
        if (g)
            guest_free(g);
        return;
    }
    xd_peers_log(l->peers, XD_LOG_INFO, "joined: %s of %s, key %s (%s), %u workers", g->who, p->address,
                 p->print, p->comment, (unsigned)m.workers);
    tell_joined(l, g, p, &m);
}

static void on_resume(xd_listen *l, xd_peer *p, const xd_frame *f)
{
    xd_wire_TUNNEL_RESUME m;
    if (xd_wire_TUNNEL_RESUME_decode(f->body, f->len, &m) < 0) {
        xd_peers_refuse(l->peers, p, XD_TUNNEL_PROTOCOL, "TUNNEL_RESUME cannot be read");
        return;
    }
    guest *g = find_guest(l, p, m.token);
    if (!g || g->ended) {
        xd_peers_refuse(l->peers, p, XD_TUNNEL_NO_AGENT, "the run does not wait for it any more");
        return;
    }
    if (g->peer) { /* whose end was not noticed here yet */
        xd_peer *old = g->peer;
        guest_cut(g);
        xd_peers_drop(l->peers, old);
    }
    xd_peers_log(l->peers, XD_LOG_INFO, "%s is connected again, from %s", g->who, p->address);
    if (guest_connect(g, p) < 0)
        guest_cut(g);
}

static void on_first(void *arg, xd_peer *p, const xd_frame *f)
{
    xd_listen *l = arg;
    if (f->type == XD_MSG_TUNNEL_JOIN)
        on_join(l, p, f);
    else if (f->type == XD_MSG_TUNNEL_RESUME)
        on_resume(l, p, f);
    else if (f->type == XD_MSG_TUNNEL_OPEN)
        xd_peers_refuse(l->peers, p, XD_TUNNEL_PROTOCOL,
                        "this is a run that hosts join (xdctl join), and no server of agents (xdctl serve)");
    else
        xd_peers_refuse(l->peers, p, XD_TUNNEL_PROTOCOL, "TUNNEL_JOIN or TUNNEL_RESUME was expected");
}

static void on_frame(void *arg, xd_peer *p, const xd_frame *f)
{
    (void)arg;
    guest_frame(p->session, f);
}

static void on_cut(void *arg, xd_peer *p)
{
    (void)arg;
    guest_cut(p->session);
}

static void on_end(void *arg, xd_peer *p)
{
    (void)arg;
    guest_end(p->session, "its key is no longer good");
}

static void on_looked(void *arg, const xd_trust *t, int64_t wall_s)
{
    xd_listen *l = arg;
    for (guest *g = l->guests; g; g = g->next)
        if (!g->peer && !g->ended && xd_trust_still(t, &g->key, NULL, wall_s) == XD_TRUST_REVOKED)
            guest_end(g, "its key was revoked");
}

/* ---- the thread ---------------------------------------------------------------------------------------------------------- */

static void on_wake(void *arg, int fd, uint32_t events)
{
    (void)events;
    xd_os_hush(fd);
    ((xd_listen *)arg)->moved = true;
}

static int turn(xd_listen *l, uint64_t until)
{
    uint64_t now = xd_clock_ns(), next;
    do {
        l->moved = false;
        next = UINT64_MAX;
        for (guest *g = l->guests, *more; g; g = more) {
            more = g->next;
            const uint64_t again = guest_care(g, now);
            next = XD_MIN(next, again);
        }
        int r = xd_peers_take(l->peers); /* behind all that was sent: sending may hide that something came */
        XD_TRY(r);
        l->moved = l->moved || r == 1;
        now = xd_clock_ns();
    } while (l->moved);
    const uint64_t again = xd_peers_care(l->peers, now);
    const int      r = xd_poller_wait(l->poller, XD_MIN(XD_MIN(next, again), until));
    return XD_MIN(r, 0);
}

static bool is_stopped(xd_listen *l)
{
    pthread_mutex_lock(&l->lock);
    const bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return stop;
}

/* They came so late that no gateway was started for them. */
static void turn_away(xd_listen *l)
{
    for (guest *g = l->guests; g; g = g->next) {
        pthread_mutex_lock(&l->lock);
        const bool never = listen_seat(l, g->number)->text >= 0;
        pthread_mutex_unlock(&l->lock);
        if (never && g->peer)
            xd_peers_refuse(l->peers, g->peer, XD_TUNNEL_OVER, "the run is over");
    }
}

static void *listen_main(void *arg)
{
    xd_listen *l = arg;
    uint64_t   until = UINT64_MAX;
    int        r = 0;
    (void)pthread_setname_np(pthread_self(), "xd-listen");
    while (r == 0 && xd_clock_ns() < until) {
        r = turn(l, until);
        if (is_stopped(l) && until == UINT64_MAX) {
            until = xd_clock_ns() + PARTING_NS;
            turn_away(l);
        }
        if (until != UINT64_MAX && xd_peers_count(l->peers) == 0)
            break;
    }
    if (r < 0)
        xd_peers_log(l->peers, XD_LOG_ERROR, "hosts cannot join any more: %s", xd_error_name(r));
    while (l->guests)
        guest_free(l->guests);
    return NULL;
}

/* ---- start and end ---------------------------------------------------------------------------------------------------- */

static int copy_texts(char ***ret, const char *const *from)
{
    size_t n = 0;
    while (from && from[n])
        n++;
    char **to = calloc(n + 1, sizeof(*to));
    if (!to)
        return -ENOMEM;
    *ret = to;
    for (size_t i = 0; i < n; i++)
        if (!(to[i] = strdup(from[i])))
            return -ENOMEM;
    return 0;
}

static void free_texts(char **texts)
{
    for (char **t = texts; t && *t; t++)
        free(*t);
    free(texts);
}

static int make_seats(xd_listen *l)
{
    l->seats = calloc(l->args.seats, sizeof(*l->seats));
    if (!l->seats)
        return -ENOMEM;
    for (uint16_t i = 0; i < l->args.seats; i++)
        l->seats[i] = (seat){ .fd = -1, .text = -1, .to_gateway = -1 };
    return 0;
}

static int begin(xd_listen *l, xd_error *err)
{
    size_t n = 0;
    XD_TRY(copy_texts(&l->bind, l->args.bind));
    XD_TRY(copy_texts(&l->runs, l->args.runs));
    XD_TRY(copy_texts(&l->needs, l->args.needs));
    XD_TRY(make_seats(l));
    XD_TRY(xd_poller_new(&l->poller));
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0)
        return -errno;
    XD_TRY(xd_poller_set(l->poller, l->wake_fd, XD_POLL_IN, on_wake, l));
    while (l->bind[n])
        n++;
    const xd_peers_args peers = { .poller = l->poller,
                                  .keys = l->args.keys,
                                  .list = XD_KEYLIST_WORKERS,
                                  .bind = (const char *const *)l->bind,
                                  .n_bind = n,
                                  .option = "--listen",
                                  .log = l->args.log,
                                  .moved = &l->moved,
                                  .ops = { .first = on_first,
                                           .frame = on_frame,
                                           .cut = on_cut,
                                           .end = on_end,
                                           .looked = on_looked,
                                           .pardon = on_pardon },
                                  .arg = l };
    XD_TRY(xd_peers_new(&l->peers, &peers, err));
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = -pthread_create(&l->thread, NULL, listen_main, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    l->running = r == 0;
    return r;
}

int xd_listen_start(xd_listen **ret, const xd_listen_args *args, xd_error *err)
{
    pthread_condattr_t monotonic;
    xd_listen         *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (xd_listen){ .args = *args, .wake_fd = -1 };
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->change, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int r = begin(l, err);
    if (r < 0) {
        if (err && !*err->text)
            (void)xd_error_set(err, r, "nobody can join this run: %s", xd_error_name(r));
        xd_listen_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

const char *xd_listen_bound(const xd_listen *l, size_t i)
{
    return xd_peers_bound(l->peers, i);
}

void xd_listen_fingerprint(const xd_listen *l, char *ret)
{
    xd_pubkey_fingerprint(&xd_trust_key(xd_peers_trust(l->peers))->pub, ret);
}

int xd_listen_token(const xd_listen *l, uint64_t expires_s, char ret[XD_RUN_TOKEN_TEXT])
{
    xd_run_token token;
    int r = xd_run_token_make(&token, xd_trust_key(xd_peers_trust(l->peers)), l->runs[0], expires_s, 0);
    if (r == 0)
        xd_run_token_text(&token, ret);
    xd_run_token_wipe(&token);
    return r;
}

void xd_listen_close(xd_listen *l)
{
    pthread_mutex_lock(&l->lock);
    l->closed = true;
    pthread_mutex_unlock(&l->lock);
}

static void free_seats(xd_listen *l)
{
    for (uint16_t i = 0; l->seats && i < l->args.seats; i++) {
        const int fds[] = { l->seats[i].fd, l->seats[i].text, l->seats[i].to_gateway };
        for (size_t k = 0; k < XD_ARRAY_LEN(fds); k++)
            if (fds[k] >= 0)
                close(fds[k]);
    }
    free(l->seats);
}

xd_listen *xd_listen_free(xd_listen *l)
{
    if (!l)
        return NULL;
    if (l->running) {
        pthread_mutex_lock(&l->lock);
        l->stop = l->closed = true;
        pthread_mutex_unlock(&l->lock);
        xd_os_nudge(l->wake_fd);
        pthread_join(l->thread, NULL);
    }
    l->peers = xd_peers_free(l->peers);
    l->poller = xd_poller_free(l->poller);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    free_seats(l);
    for (size_t i = 0; i < l->n_tokens; i++)
        free(l->tokens[i].by);
    free(l->tokens);
    free_texts(l->bind);
    free_texts(l->runs);
    free_texts(l->needs);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->change);
    free(l);
    return NULL;
}
