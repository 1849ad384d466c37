/* needs: engine gateways/joined.c gateways/pipe.c. What strangers, and hosts that have joined, say to a run that listens, in any order, with cut connections and the
 * gateways' own doings in between; without a network, and without a thread. Whoever has no good key and no token that is good for one has no seat,
 * nobody has two, and what people see of them is harmless.
 * First byte of the input: bits (1 = a word is required, 2 = sending is busy now and then, 4 = nobody may join any more; from 8 on: seats
 * less one, modulo 3). Then steps: a byte (who, modulo 4; above, what), and after what is a frame, the frame. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/token.h"
#include "gateways/peers.h"

#ifndef XD_BUILD_ID
#define XD_BUILD_ID "fuzz"
#endif

/* The thread is not wanted, and what is random is the same each time. */
static int no_thread(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    (void)thread;
    (void)attr;
    (void)fn;
    (void)arg;
    return 0;
}

static uint8_t guests_made;

static ssize_t no_random(void *to, size_t len, unsigned flags)
{
    (void)flags;
    memset(to, 'a' + guests_made++ % 3, len);
    return (ssize_t)len;
}

#define pthread_create no_thread
#define pthread_join(thread, ret) ((void)(thread))
#define getrandom no_random
#include "gateways/listen.c"
#include "gateways/listen_guest.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PEERS 4u
#define KNOWN 2u /* the first ones have a key that is in the list */
#define SEATS 3u
#define TOKEN_RUN "a run"

enum {
    STEP_FRAME = 8,
    STEP_CUT = 8,
    STEP_CARE,
    STEP_OPEN,
    STEP_REOPEN,
    STEP_CLOSE,
    STEP_HANG_UP,
    STEP_END,
    STEP_LOOK
};

struct xd_peers {
    xd_peers_args args;
    xd_peer       at[PEERS];
    bool          busy;
    unsigned      calls, joined, shown; /* shown: bit of each stranger that was let in */
};
static xd_peers  the_peers;
static xd_trust *the_trust;

/* ---- in the place of peers.c ------------------------------------------------------------------------------------- */

int xd_peers_new(xd_peers **ret, const xd_peers_args *args, xd_error *err)
{
    (void)err;
    the_peers.args = *args;
    *ret = &the_peers;
    return 0;
}

xd_peers *xd_peers_free(xd_peers *s)
{
    (void)s;
    return NULL;
}

int xd_peers_take(xd_peers *s)
{
    (void)s;
    return 0;
}

uint64_t xd_peers_care(xd_peers *s, uint64_t now_ns)
{
    (void)s;
    return now_ns;
}

static void check_text(const char *text)
{
    for (; *text; text++)
        assert((uint8_t)*text >= 0x20 && *text != 0x7f);
}

int xd_peers_send(xd_peers *s, xd_peer *p, xd_bytes message)
{
    xd_frame f;
    assert(p->session);
    if (s->busy && ++s->calls % 3 == 0)
        return -EAGAIN;
    int r = xd_wire_header(message.ptr, &f);
    assert(r == 0 && f.len == message.len - XD_FRAME_HEADER && f.type >= XD_MSG_TUNNEL_DATA);
    return 0;
}

void xd_peers_refuse(xd_peers *s, xd_peer *p, uint16_t code, const char *why)
{
    (void)s;
    assert(code && *why);
    check_text(why);
    p->refused = true;
}

void xd_peers_drop(xd_peers *s, xd_peer *p)
{
    (void)s;
    (void)p;
}

bool xd_peers_let_in(xd_peers *s, xd_peer *p)
{
    p->pardoned = true;
    p->refuse_code = 0;
    s->shown |= 1u << (p - s->at);
    return true;
}

uint32_t xd_peers_count(const xd_peers *s)
{
    (void)s;
    return 0;
}

const char *xd_peers_bound(const xd_peers *s, size_t i)
{
    (void)s;
    (void)i;
    return NULL;
}

const xd_trust *xd_peers_trust(const xd_peers *s)
{
    (void)s;
    return the_trust;
}

void xd_peers_log(const xd_peers *s, xd_log_level level, const char *fmt, ...)
{
    char    text[1200];
    va_list ap;
    (void)s;
    (void)level;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    check_text(text);
}

/* As on_message of peers.c. */
static void message(xd_peers *s, xd_peer *p, const xd_frame *f)
{
    const xd_peers_ops *ops = &s->args.ops;
    if (p->refused)
        return;
    if (p->refuse_code && f->type != XD_MSG_TUNNEL_BEAT && !ops->pardon(s->args.arg, p, f))
        p->refused = true;
    if (p->refused || p->refuse_code || f->type == XD_MSG_TUNNEL_BEAT)
        return;
    if (p->session)
        ops->frame(s->args.arg, p, f);
    else if (f->type != XD_MSG_TUNNEL_DATA && f->type != XD_MSG_TUNNEL_TAKEN &&
             f->type != XD_MSG_TUNNEL_CLOSE)
        ops->first(s->args.arg, p, f);
}

/* The same host comes again. */
static void connect_again(xd_peers *s, unsigned i)
{
    xd_peer *p = &s->at[i];
    if (p->session)
        s->args.ops.cut(s->args.arg, p);
    *p = (xd_peer){ .number = i + 1,
                    .refuse_code = i < KNOWN ? 0 : XD_TUNNEL_UNKNOWN_KEY,
                    .heard = true,
                    .address = "192.0.2.1",
                    .max_workers = i == 1 ? 5 : 0 };
    memset(p->key.at, i < KNOWN ? 1 : (int)i, sizeof(p->key.at)); /* the first two are of one host */
}

/* ---- the run ---------------------------------------------------------------------------------------------------------- */

static void joined(void *arg, const xd_joined *j)
{
    xd_peers *s = arg;
    s->joined++;
    check_text(j->host);
    check_text(j->who);
    check_text(j->address);
    check_text(j->tags);
    check_text(j->interpreters);
    assert(strlen(j->host) <= 400 && strlen(j->tags) < 2 * WORDS_MAX &&
           strlen(j->interpreters) < 2 * WORDS_MAX);
    assert(j->workers >= 1 && j->workers <= 1024 && *j->host);
}

static void leaves(void *arg, uint16_t number)
{
    (void)arg;
    assert(number >= 7 && number < 7 + SEATS);
}

static void gateway_step(xd_listen *l, xd_pipe **pipe, unsigned number, unsigned step)
{
    char      room[4096], how[256];
    xd_error  err = { 0 };
    xd_target target = { .listen = l, .seat = (uint16_t)(7 + number) };
    if (!*pipe) {
        if (step != STEP_OPEN || listen_seat(l, target.seat)->to_gateway < 0)
            return;
        int r = xd_transport_joined.open(pipe, &target, &err);
        assert(r == 0);
    }
    if (step == STEP_OPEN && xd_transport_joined.opened(*pipe, &err) == 1) {
        (void)!xd_transport_joined.write(*pipe, "a command", 9);
        (void)!xd_transport_joined.read(*pipe, room, sizeof(room));
        (void)!xd_transport_joined.text(*pipe, room, sizeof(room));
    } else if (step == STEP_REOPEN) {
        (void)!xd_transport_joined.reopen(*pipe, &err);
    } else if (step == STEP_CLOSE) {
        xd_transport_joined.close(*pipe);
    } else if (step == STEP_HANG_UP) {
        xd_transport_joined.hang_up(pipe, 0, how, sizeof(how));
        check_text(how);
    }
}

static void care(xd_listen *l, uint64_t *now)
{
    *now += 400 * XD_MS_NS;
    for (guest *g = l->guests, *more; g; g = more) {
        more = g->next;
        (void)guest_care(g, *now);
    }
}

static void check(const xd_listen *l)
{
    unsigned n = 0;
    for (const guest *g = l->guests; g; g = g->next, n++)
        assert(g->number >= 7 && g->number < 7 + l->taken && (!g->peer || g->peer->session == g));
    for (unsigned i = 0; i < PEERS; i++) {
        const guest *g = the_peers.at[i].session;
        assert(!g || (g->peer == &the_peers.at[i] && xd_pubkey_eq(&g->key, &the_peers.at[i].key)));
    }
    assert(n <= l->taken && l->taken <= l->args.seats && the_peers.joined <= l->taken);
    assert(the_peers.shown != 0xc); /* the token is good for one */
}

/* The key of the controller is always the same, so that tokens can be kept. */
static void begin_once(void)
{
    char       dir[] = "/tmp/xd-fuzz-XXXXXX", path[64];
    xd_keypair k;
    xd_error   err = { 0 };
    if (the_trust)
        return;
    memset(k.secret, 7, sizeof(k.secret));
    if (sodium_init() < 0 || crypto_scalarmult_base(k.pub.at, k.secret) != 0 || !mkdtemp(dir))
        abort();
    snprintf(path, sizeof(path), "%s/" XD_KEY_FILE, dir);
    if (xd_keypair_write(&k, path, "fuzz", &err) < 0 ||
        xd_trust_open(&the_trust, dir, XD_KEYLIST_WORKERS, false, &err) < 0)
        abort();
    (void)xd_path_remove_tree(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const bind[] = { "127.0.0.1:0", NULL }, *const runs[] = { "0123", TOKEN_RUN, NULL },
                             *const needs[] = { "linux", NULL };
    xd_listen                      *l = NULL;
    xd_error                        err = { 0 };
    xd_pipe                        *pipes[SEATS] = { NULL };
    uint64_t                        now = xd_clock_ns();
    if (len < 1)
        return 0;
    begin_once();
    guests_made = 0;
    the_peers = (xd_peers){ .busy = data[0] & 2 };
    const xd_listen_args args = { .bind = bind,
                                  .runs = runs,
                                  .needs = data[0] & 1 ? needs : NULL,
                                  .first = 7,
                                  .seats = (uint16_t)(1 + (data[0] >> 3) % SEATS),
                                  .joined = joined,
                                  .leaves = leaves,
                                  .arg = &the_peers };
    int                  r = xd_listen_start(&l, &args, &err);
    if (r < 0)
        abort();
    for (unsigned i = 0; i < PEERS; i++)
        connect_again(&the_peers, i);
    if (data[0] & 4)
        xd_listen_close(l);
    for (size_t at = 1; at < len;) {
        const unsigned who = data[at] % PEERS, step = data[at] / PEERS % 16;
        xd_peer       *p = &the_peers.at[who];
        at++;
        if (step < STEP_FRAME) {
            xd_frame f;
            if (len - at < XD_FRAME_HEADER || xd_wire_header(data + at, &f) < 0 ||
                f.len > len - at - XD_FRAME_HEADER)
                break;
            f.body = data + at + XD_FRAME_HEADER;
            at += XD_FRAME_HEADER + f.len;
            message(&the_peers, p, &f);
        } else if (step == STEP_CUT) {
            connect_again(&the_peers, who);
        } else if (step == STEP_CARE) {
            care(l, &now);
        } else if (step == STEP_END) {
            if (p->session)
                the_peers.args.ops.end(l, p);
            p->refused = true;
        } else if (step == STEP_LOOK) {
            the_peers.args.ops.looked(l, the_trust, 0);
        } else if (who < args.seats) {
            gateway_step(l, &pipes[who], who, step);
        }
        check(l);
    }
    for (unsigned i = 0; i < SEATS; i++)
        if (pipes[i])
            xd_transport_joined.hang_up(&pipes[i], 0, NULL, 0);
    care(l, &now);
    while (l->guests)
        guest_free(l->guests);
    xd_listen_free(l);
    return 0;
}
