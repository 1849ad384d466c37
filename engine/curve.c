/* engine/curve.c - see curve.h. */
#include "engine/curve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "engine/tunnel.h"

#define QUEUE 64       /* messages; bytes are limited by the window of a tunnel */
#define CURVE_BYTES 33 /* that a message becomes longer by (ZeroMQ RFC 26, MESSAGE) */
#define HANDSHAKE_MS 5000
#define LINGER_MS 1000
#define NEVER_MS (24 * 3600 * 1000)
#define BACKLOG 1024
#define ZAP_PARTS 7
#define ZAP_DOMAIN "xd"

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* What every socket has. */
static int common(void *socket)
{
    const int64_t most = XD_TUNNEL_MESSAGE_MAX + CURVE_BYTES;
    if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)) != 0)
        return -errno;
    XD_TRY(set_int(socket, ZMQ_SNDHWM, QUEUE));
    XD_TRY(set_int(socket, ZMQ_RCVHWM, QUEUE));
    XD_TRY(set_int(socket, ZMQ_LINGER, LINGER_MS));
    return set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
}

static int context(void **ret)
{
    void *ctx = zmq_ctx_new();
    if (!ctx)
        return -ENOMEM;
    if (zmq_ctx_set(ctx, ZMQ_IO_THREADS, 1) != 0) {
        (void)zmq_ctx_term(ctx);
        return -EINVAL;
    }
    *ret = ctx;
    return 0;
}

static int fd_of(void *socket)
{
    int    fd = -1;
    size_t size = sizeof(fd);
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0 ? fd : -1;
}

static int errno_of_zmq(void)
{
    return errno == ETERM || errno == ENOTSOCK ? -ENOTCONN : -errno;
}

/* A message as one frame; false: it is none. */
static bool frame_of(zmq_msg_t *m, xd_frame *ret)
{
    uint8_t     *at = zmq_msg_data(m);
    const size_t size = zmq_msg_size(m);
    if (size < XD_FRAME_HEADER || xd_wire_header(at, ret) < 0 || ret->len != size - XD_FRAME_HEADER)
        return false;
    ret->body = at + XD_FRAME_HEADER;
    return true;
}

static int send_one(void *socket, xd_bytes message, int flags)
{
    int r;
    do
        r = zmq_send(socket, message.ptr, message.len, ZMQ_DONTWAIT | flags);
    while (r < 0 && errno == EINTR);
    return r < 0 ? errno_of_zmq() : 0;
}

/* ---- one that connects ------------------------------------------------------------------------------------- */

struct xd_curve {
    void          *ctx, *socket, *monitor;
    zmq_msg_t      in;
    xd_curve_state state;
};

xd_curve *xd_curve_free(xd_curve *c)
{
    if (!c)
        return NULL;
    (void)zmq_msg_close(&c->in);
    if (c->socket && c->state != XD_CURVE_UP)
        (void)!set_int(c->socket, ZMQ_LINGER, 0); /* nobody is there who could hear it */
    if (c->socket)
        (void)zmq_socket_monitor(c->socket, NULL, 0);
    if (c->monitor)
        (void)zmq_close(c->monitor);
    if (c->socket)
        (void)zmq_close(c->socket);
    if (c->ctx)
        (void)zmq_ctx_term(c->ctx);
    free(c);
    return NULL;
}

static int watch(xd_curve *c)
{
    const int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(c->socket, "inproc://monitor", events) != 0)
        return -errno;
    c->monitor = zmq_socket(c->ctx, ZMQ_PAIR);
    if (!c->monitor)
        return -errno;
    XD_TRY(set_int(c->monitor, ZMQ_LINGER, 0));
    return zmq_connect(c->monitor, "inproc://monitor") == 0 ? 0 : -errno;
}

static int set_keys(void *socket, const xd_keypair *own, const xd_pubkey *server)
{
    if (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server->at, XD_KEY_BYTES) != 0 ||
        zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own->pub.at, XD_KEY_BYTES) != 0 ||
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own->secret, XD_KEY_BYTES) != 0)
        return -errno;
    return 0;
}

static int dial(xd_curve *c, const char *host, uint16_t port, const xd_keypair *own, const xd_pubkey *server,
                uint32_t timeout_ms)
{
    char       endpoint[128];
    const bool six = strchr(host, ':') != NULL;
    XD_TRY(context(&c->ctx));
    c->socket = zmq_socket(c->ctx, ZMQ_DEALER);
    if (!c->socket)
        return -errno;
    XD_TRY(common(c->socket));
    XD_TRY(set_int(c->socket, ZMQ_IPV6, six));
    /* Neither -1 nor ZMQ_IMMEDIATE: with these ZeroMQ drops what came before the connection was cut. */
    XD_TRY(set_int(c->socket, ZMQ_RECONNECT_IVL, NEVER_MS));
    XD_TRY(set_int(c->socket, ZMQ_CONNECT_TIMEOUT, (int)XD_MIN(timeout_ms, 3600000u)));
    XD_TRY(set_int(c->socket, ZMQ_TCP_MAXRT, (int)(XD_TUNNEL_SILENT_NS / XD_MS_NS)));
    XD_TRY(set_keys(c->socket, own, server));
    XD_TRY(watch(c));
    snprintf(endpoint, sizeof(endpoint), six ? "tcp://[%.64s]:%u" : "tcp://%.64s:%u", host, (unsigned)port);
    return zmq_connect(c->socket, endpoint) == 0 ? 0 : -errno;
}

int xd_curve_dial(xd_curve **ret, const char *host, uint16_t port, const xd_keypair *own,
                  const xd_pubkey *server, uint32_t timeout_ms)
{
    xd_auto(xd_curve) *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    (void)zmq_msg_init(&c->in);
    XD_TRY(dial(c, host, port, own, server, timeout_ms));
    *ret = xd_take(&c);
    return 0;
}

void xd_curve_fds(const xd_curve *c, int ret[2])
{
    ret[0] = fd_of(c->socket);
    ret[1] = fd_of(c->monitor);
}

static void on_event(xd_curve *c, uint16_t event)
{
    switch (event) {
    case ZMQ_EVENT_CONNECTED:
        c->state = XD_CURVE_GREETS;
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        c->state = XD_CURVE_UP;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        c->state = XD_CURVE_REFUSED;
        break;
    default: /* closed, disconnected */
        c->state = c->state == XD_CURVE_CONNECTS ? XD_CURVE_FAILED
                   : c->state == XD_CURVE_GREETS ? XD_CURVE_REFUSED
                   : c->state == XD_CURVE_UP     ? XD_CURVE_LOST
                                                 : c->state;
        break;
    }
}

xd_curve_state xd_curve_look(xd_curve *c)
{
    zmq_msg_t m;
    (void)zmq_msg_init(&m);
    while (zmq_msg_recv(&m, c->monitor, ZMQ_DONTWAIT) >= 0) {
        uint16_t event = 0;
        if (zmq_msg_size(&m) >= sizeof(event))
            memcpy(&event, zmq_msg_data(&m), sizeof(event));
        const bool more = zmq_msg_more(&m);
        if (more && zmq_msg_recv(&m, c->monitor, ZMQ_DONTWAIT) < 0) /* the address */
            break;
        on_event(c, event);
    }
    (void)zmq_msg_close(&m);
    /* Else what wakes its user is not taken note of before a message is received. */
    int    events;
    size_t size = sizeof(events);
    (void)zmq_getsockopt(c->socket, ZMQ_EVENTS, &events, &size);
    return c->state;
}

/* The rest of a message that should have had one part. */
static void drop_rest(void *socket, zmq_msg_t *m)
{
    while (zmq_msg_more(m) && zmq_msg_recv(m, socket, ZMQ_DONTWAIT) >= 0) {
    }
}

int xd_curve_receive(xd_curve *c, xd_frame *ret)
{
    if (zmq_msg_recv(&c->in, c->socket, ZMQ_DONTWAIT) < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : errno_of_zmq();
    if (!zmq_msg_more(&c->in) && frame_of(&c->in, ret))
        return 1;
    drop_rest(c->socket, &c->in);
    return -EPROTO;
}

int xd_curve_send(xd_curve *c, xd_bytes message)
{
    return c->state == XD_CURVE_UP ? send_one(c->socket, message, 0) : -EAGAIN;
}

/* ---- one that many connect to ---------------------------------------------------------------------------------- */

struct xd_curve_server {
    void             *ctx, *socket, *zap;
    zmq_msg_t         in;
    xd_curve_admit_fn admit;
    void             *arg;
};

xd_curve_server *xd_curve_server_free(xd_curve_server *s)
{
    if (!s)
        return NULL;
    (void)zmq_msg_close(&s->in);
    if (s->socket)
        (void)zmq_close(s->socket);
    if (s->zap)
        (void)zmq_close(s->zap);
    if (s->ctx)
        (void)zmq_ctx_term(s->ctx);
    free(s);
    return NULL;
}

static int listen_at(xd_curve_server *s, const xd_keypair *own, uint16_t *ret_port)
{
    char   endpoint[128];
    size_t size = sizeof(endpoint);
    XD_TRY(context(&s->ctx));
    s->zap = zmq_socket(s->ctx, ZMQ_REP); /* before the other: it asks from its first connection on */
    if (!s->zap)
        return -errno;
    XD_TRY(set_int(s->zap, ZMQ_LINGER, 0));
    if (zmq_bind(s->zap, "inproc://zeromq.zap.01") != 0)
        return -errno;
    s->socket = zmq_socket(s->ctx, ZMQ_ROUTER);
    if (!s->socket)
        return -errno;
    XD_TRY(common(s->socket));
    XD_TRY(set_int(s->socket, ZMQ_ROUTER_MANDATORY, 1));
    XD_TRY(set_int(s->socket, ZMQ_BACKLOG, BACKLOG));
    XD_TRY(set_int(s->socket, ZMQ_CURVE_SERVER, 1));
    if (zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, own->secret, XD_KEY_BYTES) != 0 ||
        zmq_setsockopt(s->socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) != 0 ||
        zmq_bind(s->socket, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(s->socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        return -errno;
    const char *colon = strrchr(endpoint, ':');
    *ret_port = colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
    return *ret_port ? 0 : -EIO;
}

int xd_curve_listen(xd_curve_server **ret, const xd_keypair *own, xd_curve_admit_fn admit, void *arg,
                    uint16_t *ret_port)
{
    xd_auto(xd_curve_server) *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->admit = admit;
    s->arg = arg;
    (void)zmq_msg_init(&s->in);
    XD_TRY(listen_at(s, own, ret_port));
    *ret = xd_take(&s);
    return 0;
}

void xd_curve_server_fds(const xd_curve_server *s, int ret[2])
{
    ret[0] = fd_of(s->socket);
    ret[1] = fd_of(s->zap);
}

/* Requests and answers of ZeroMQ RFC 27. */
static int answer(xd_curve_server *s, zmq_msg_t *id, uint32_t number)
{
    char        user[16] = "";
    const char *status = number ? "200" : "400", *text = number ? "OK" : "refused";
    if (number)
        snprintf(user, sizeof(user), "%u", (unsigned)number);
    if (send_one(s->zap, XD_BYTES_LIT("1.0"), ZMQ_SNDMORE) < 0 ||
        zmq_msg_send(id, s->zap, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return -errno;
    XD_TRY(send_one(s->zap, xd_bytes_str(status), ZMQ_SNDMORE));
    XD_TRY(send_one(s->zap, xd_bytes_str(text), ZMQ_SNDMORE));
    XD_TRY(send_one(s->zap, xd_bytes_str(user), ZMQ_SNDMORE));
    return send_one(s->zap, xd_bytes_str(""), 0);
}

static bool part_is(zmq_msg_t *m, const char *text)
{
    return xd_bytes_eq_str((xd_bytes){ zmq_msg_data(m), zmq_msg_size(m) }, text);
}

static uint32_t judge(xd_curve_server *s, zmq_msg_t part[ZAP_PARTS], int count)
{
    char      address[64] = "";
    xd_pubkey key;
    if (count != ZAP_PARTS || !part_is(&part[0], "1.0") || !part_is(&part[2], ZAP_DOMAIN) ||
        !part_is(&part[5], "CURVE") || zmq_msg_size(&part[6]) != XD_KEY_BYTES ||
        zmq_msg_size(&part[3]) >= sizeof(address))
        return 0;
    memcpy(address, zmq_msg_data(&part[3]), zmq_msg_size(&part[3]));
    memcpy(key.at, zmq_msg_data(&part[6]), XD_KEY_BYTES);
    return s->admit(s->arg, address, &key);
}

int xd_curve_server_admit(xd_curve_server *s)
{
    for (;;) {
        zmq_msg_t part[ZAP_PARTS], extra;
        int       count = 0, r = 0;
        bool      more = true;
        for (int i = 0; i < ZAP_PARTS; i++)
            (void)zmq_msg_init(&part[i]);
        (void)zmq_msg_init(&extra);
        while (more) {
            zmq_msg_t *to = count < ZAP_PARTS ? &part[count] : &extra;
            if (zmq_msg_recv(to, s->zap, ZMQ_DONTWAIT) < 0)
                break;
            count++;
            more = zmq_msg_more(to);
        }
        const bool none = count == 0;
        if (!none)
            r = answer(s, &part[1], judge(s, part, count));
        for (int i = 0; i < ZAP_PARTS; i++)
            (void)zmq_msg_close(&part[i]);
        (void)zmq_msg_close(&extra);
        if (none || r < 0)
            return r;
    }
}

int xd_curve_server_receive(xd_curve_server *s, uint32_t *ret_number, xd_curve_peer *ret_peer, xd_frame *ret)
{
    if (zmq_msg_recv(&s->in, s->socket, ZMQ_DONTWAIT) < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : errno_of_zmq();
    const size_t len = zmq_msg_size(&s->in);
    *ret_number = 0;
    if (len > XD_CURVE_PEER || !zmq_msg_more(&s->in)) {
        drop_rest(s->socket, &s->in);
        return -EPROTO;
    }
    ret_peer->len = (uint8_t)len;
    memcpy(ret_peer->at, zmq_msg_data(&s->in), len);
    if (zmq_msg_recv(&s->in, s->socket, ZMQ_DONTWAIT) < 0)
        return errno_of_zmq();
    const char *user = zmq_msg_gets(&s->in, "User-Id"); /* not of the first part: reliability.md 0.10 */
    *ret_number = user ? (uint32_t)strtoul(user, NULL, 10) : 0;
    if (!zmq_msg_more(&s->in) && frame_of(&s->in, ret))
        return 1;
    drop_rest(s->socket, &s->in);
    return -EPROTO;
}

int xd_curve_server_send(xd_curve_server *s, const xd_curve_peer *to, xd_bytes message)
{
    XD_TRY(send_one(s->socket, (xd_bytes){ to->at, to->len }, ZMQ_SNDMORE));
    return send_one(s->socket, message, 0);
}
