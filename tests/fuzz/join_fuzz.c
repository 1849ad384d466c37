/* needs: engine gateways/connect.c gateways/dial.c gateways/lookup.c gateways/server_key.c. What a run says to a host that joins it; and any text as a token.
 * First byte of the input: 0 = a token (modulo 2, so that digits do), else what the run says: connections, each with a byte of its length in front
 * (1 = 16 bytes), which are frames. The first must answer TUNNEL_JOIN, the others TUNNEL_RESUME. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/curve.h"
#include "engine/token.h"
#include "engine/tunnel.h"

#ifndef XD_BUILD_ID
#define XD_BUILD_ID "fuzz"
#endif

static xd_stream_in the_input; /* of the connection */
static uint16_t     last_said;

static int fuzz_receive(xd_curve *c, xd_frame *ret)
{
    (void)c;
    return xd_stream_in_next(&the_input, ret);
}

static int fuzz_send(xd_curve *c, xd_bytes message)
{
    xd_frame f;
    (void)c;
    int r = xd_wire_header(message.ptr, &f);
    assert(r == 0 && f.len == message.len - XD_FRAME_HEADER);
    last_said = f.type;
    return 0;
}

/* Nothing more comes. */
static xd_curve_state fuzz_look(xd_curve *c)
{
    (void)c;
    return XD_CURVE_LOST;
}

#define xd_curve_receive fuzz_receive
#define xd_curve_send fuzz_send
#define xd_curve_look fuzz_look
#include "gateways/join.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* ---- in the place of the agent ------------------------------------------------------------------------------------- */

static int agent_fd[2] = { -1, -1 };

int xd_agent_program_find(const char *given, char **ret, xd_error *err)
{
    (void)given;
    (void)ret;
    (void)err;
    return -ENOENT;
}

int xd_agent_tunnel_start(xd_agent_tunnel *e, const xd_agent_child_args *args, xd_poller *poller, bool *moved,
                          xd_tunnel_send_fn send, void *arg, xd_error *err)
{
    (void)args;
    (void)err;
    *e = (xd_agent_tunnel){
        .poller = poller, .moved = moved, .send = send, .arg = arg, .phase = XD_AGENT_AWAY
    };
    return 0;
}

int xd_agent_tunnel_connect(xd_agent_tunnel *e)
{
    if (e->has_tunnel || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, agent_fd) < 0)
        abort();
    XD_TRY(xd_tunnel_init(&e->tunnel, agent_fd[0], -1, -1, e->send, e->arg));
    e->has_tunnel = e->connected = true;
    (void)!write(agent_fd[1], "what it says", 12);
    return 0;
}

int xd_agent_tunnel_frame(xd_agent_tunnel *e, const xd_frame *f)
{
    return e->has_tunnel ? xd_tunnel_frame(&e->tunnel, f) : 0;
}

void xd_agent_tunnel_cut(xd_agent_tunnel *e)
{
    if (e->has_tunnel)
        xd_tunnel_release(&e->tunnel);
    e->has_tunnel = e->connected = false;
    for (int i = 0; i < 2; i++) {
        if (agent_fd[i] >= 0)
            close(agent_fd[i]);
        agent_fd[i] = -1;
    }
}

void xd_agent_tunnel_end(xd_agent_tunnel *e)
{
    e->phase = XD_AGENT_ENDS;
}

int xd_agent_tunnel_care(xd_agent_tunnel *e, uint64_t now_ns, uint64_t *ret_next)
{
    uint8_t room[65536];
    *ret_next = now_ns;
    int r = e->has_tunnel ? xd_tunnel_pump(&e->tunnel) : 0;
    while (agent_fd[1] >= 0 && read(agent_fd[1], room, sizeof(room)) > 0) {
    }
    return XD_MIN(r, 0);
}

void xd_agent_tunnel_release(xd_agent_tunnel *e)
{
    xd_agent_tunnel_cut(e);
}

/* ---- the run's words -------------------------------------------------------------------------------------------------- */

static void joined(void *arg, const char *run, uint32_t workers)
{
    (void)arg;
    assert(strlen(run) < 64 && workers == 3);
    for (; *run; run++)
        assert((uint8_t)*run >= 0x20 && *run != 0x7f);
}

static void check_error(const xd_error *err)
{
    for (const char *c = err->text; *c; c++)
        assert((uint8_t)*c >= 0x20 && *c != 0x7f);
}

/* One connection, until the input has no more. 0 or -errno. */
static int one_connection(joining *j)
{
    const bool again = j->started;
    last_said = 0;
    int r = negotiate(j);
    assert(last_said == (again ? XD_MSG_TUNNEL_RESUME : XD_MSG_TUNNEL_JOIN));
    assert(r <= 0 && (r < 0 || j->started));
    check_error(&j->dial.err);
    assert(r == 0 || *j->dial.err.text);
    j->heard_ns = j->said_ns = xd_clock_ns();
    for (uint64_t next; r == 0 && (r = take(j)) == 1; r = 0) {
        r = xd_agent_tunnel_care(&j->child, j->heard_ns, &next);
        assert(r == 0);
        j->closed |= j->child.tunnel.closed;
        follow_stops(j);
        r = leave(j);
        assert(r == 0);
        r = beat(j, j->said_ns + XD_TUNNEL_BEAT_NS);
        assert(r == 0);
    }
    check_error(&j->dial.err);
    if (j->started)
        xd_agent_tunnel_cut(&j->child);
    return r;
}

static void run_says(const uint8_t *data, size_t len)
{
    const char *const  tags[] = { "linux", "gpu=1" };
    const xd_join_args args = {
        .address = "192.0.2.1:7400", .tags = tags, .n_tags = 2, .stop_fd = -1, .joined = joined
    };
    joining j = { .args = &args, .workers = 3 };
    j.dial.refuser = "the run";
    j.dial.curve = (xd_curve *)&j; /* nobody looks into it */
    snprintf(j.dial.at.text, sizeof(j.dial.at.text), "%s", args.address);
    while (len && !j.refused) {
        const size_t n = XD_MIN((size_t)data[0] * 16, len - 1);
        uint8_t     *room;
        size_t       size;
        xd_stream_in_init(&the_input, false);
        int r = xd_stream_in_space(&the_input, n + 1, &room, &size);
        assert(r == 0);
        memcpy(room, data + 1, n);
        xd_stream_in_filled(&the_input, n);
        (void)one_connection(&j);
        xd_stream_in_release(&the_input);
        j.dial.err = (xd_error){ 0 };
        j.stops += j.started && data[0] & 1;
        data += n + 1;
        len -= n + 1;
    }
    if (j.started)
        xd_agent_tunnel_release(&j.child);
}

/* ---- tokens --------------------------------------------------------------------------------------------------------------- */

static void check_again(const xd_run_token *t)
{
    char         text[XD_RUN_TOKEN_TEXT];
    xd_run_token again;
    xd_run_token_text(t, text);
    assert(strlen(text) < sizeof(text));
    int r = xd_run_token_parse(&again, xd_bytes_str(text));
    assert(r == 0 && memcmp(again.whole, t->whole, sizeof(t->whole)) == 0 &&
           again.expires_s == t->expires_s && again.uses == t->uses &&
           xd_pubkey_eq(&again.server, &t->server) && memcmp(again.nonce, t->nonce, sizeof(t->nonce)) == 0);
    xd_run_token_wipe(&again);
}

/* That of the kept inputs is "a run", and expires in 4000000000. */
static void token(xd_bytes text)
{
    static const char *const runs[] = { "another", "a run", NULL };
    xd_keypair               k;
    xd_run_token             t, made;
    memset(k.secret, 7, sizeof(k.secret));
    if (sodium_init() < 0 || crypto_scalarmult_base(k.pub.at, k.secret) != 0)
        abort();
    if (xd_run_token_parse(&t, text) < 0)
        return;
    check_again(&t);
    const xd_run_token_verdict v = xd_run_token_check(&t, &k, runs, 3999999999);
    assert(v != XD_RUN_TOKEN_GOOD || (t.expires_s == 4000000000 && xd_pubkey_eq(&t.server, &k.pub)));
    const xd_run_token_verdict late = xd_run_token_check(&t, &k, runs, t.expires_s);
    assert(late == (v == XD_RUN_TOKEN_GOOD ? XD_RUN_TOKEN_EXPIRED : v));
    int r = xd_run_token_make(&made, &k, runs[0], t.expires_s, t.uses);
    assert(r == 0);
    check_again(&made);
    assert(xd_run_token_check(&made, &k, runs, 0) ==
           (t.expires_s ? XD_RUN_TOKEN_GOOD : XD_RUN_TOKEN_EXPIRED));
    assert(xd_run_token_check(&made, &k, runs + 1, 0) == XD_RUN_TOKEN_OTHER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1)
        return 0;
    (void)setenv("PATH", "/nowhere", 1); /* no interpreters are looked for */
    if (data[0] % 2 == 0)
        token((xd_bytes){ data + 1, len - 1 });
    else
        run_says(data + 1, len - 1);
    return 0;
}
