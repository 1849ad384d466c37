/* engine/bus.c - see actor.h and bus.h: the context, its sockets' rules, messages between threads. */
#include "engine/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/broker.h"

/* ---- bus ------------------------------------------------------------------------------------------ */

int xd_bus_context_new(xd_bus_context **ret)
{
    xd_bus_context *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->users = 1;
    c->zmq = zmq_ctx_new();
    if (!c->zmq) {
        free(c);
        return -ENOMEM;
    }
    /* inproc alone needs no I/O thread, but the context wants one for sockets of other transports later. */
    zmq_ctx_set(c->zmq, ZMQ_IO_THREADS, 1);
    snprintf(c->endpoint, sizeof(c->endpoint), "inproc://broker");
    *ret = c;
    return 0;
}

xd_bus_context *xd_bus_context_free(xd_bus_context *c)
{
    if (c && __atomic_sub_fetch(&c->users, 1, __ATOMIC_ACQ_REL) == 0) {
        zmq_ctx_term(c->zmq);
        free(c);
    }
    return NULL;
}

int xd_bus_new(xd_bus **ret, xd_bus_context *ctx, const char *run, const xd_log *log)
{
    xd_bus *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    *b = (xd_bus){ .ctx = ctx, .broken_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    snprintf(b->run, sizeof(b->run), "%s", run);
    if (log)
        b->log = *log;
    if (b->broken_fd < 0) {
        int r = -errno;
        free(b);
        return r;
    }
    (void)__atomic_add_fetch(&ctx->users, 1, __ATOMIC_RELAXED);
    *ret = b;
    return 0;
}

xd_bus *xd_bus_free(xd_bus *b)
{
    if (b) {
        close(b->broken_fd);
        xd_bus_context_free(b->ctx);
        free(b);
    }
    return NULL;
}

int xd_bus_broken_fd(const xd_bus *b)
{
    return b->broken_fd;
}

int xd_bus_fault(const xd_bus *b)
{
    return __atomic_load_n(&b->fault, __ATOMIC_ACQUIRE);
}

int xd_bus_socket(xd_bus_context *c, int kind, void **ret)
{
    void   *s = zmq_socket(c->zmq, kind);
    int     hwm = XD_BUS_HWM, linger = 0;
    int64_t largest = XD_BUS_MAX_BODY;
    if (!s)
        return -errno;
    if (zmq_setsockopt(s, ZMQ_SNDHWM, &hwm, sizeof(hwm)) < 0 ||
        zmq_setsockopt(s, ZMQ_RCVHWM, &hwm, sizeof(hwm)) < 0 ||
        zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof(linger)) < 0 ||
        zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)) < 0) {
        int r = -errno;
        zmq_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void drop_rest(void *socket, bool more)
{
    while (more) {
        zmq_msg_t m;
        zmq_msg_init(&m);
        more = zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&m);
        zmq_msg_close(&m);
    }
}

int xd_bus_recv(void *socket, xd_envelope *env, zmq_msg_t *body)
{
    zmq_msg_t head;
    zmq_msg_init(&head);
    int n = zmq_msg_recv(&head, socket, ZMQ_DONTWAIT);
    if (n < 0) {
        int r = -errno;
        zmq_msg_close(&head);
        return r;
    }
    bool good = n == (int)sizeof(*env) && zmq_msg_more(&head), more = zmq_msg_more(&head);
    if (good)
        memcpy(env, zmq_msg_data(&head), sizeof(*env));
    zmq_msg_close(&head);
    if (!good) {
        drop_rest(socket, more);
        return -EPROTO;
    }
    if (zmq_msg_recv(body, socket, ZMQ_DONTWAIT) < 0)
        return -errno;
    xd_bus_take_over(zmq_msg_data(body));
    if (zmq_msg_more(body)) {
        drop_rest(socket, true);
        return -EPROTO;
    }
    env->to[XD_ADDRESS_LEN - 1] = env->from[XD_ADDRESS_LEN - 1] = env->run[XD_RUN_ID_SIZE - 1] = 0;
    return 0;
}

int xd_bus_send(void *socket, const xd_envelope *env, zmq_msg_t *body)
{
    if (zmq_send(socket, env, sizeof(*env), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return -errno;
    xd_bus_hand_over(zmq_msg_data(body));
    return zmq_msg_send(body, socket, ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- messages --------------------------------------------------------------------------------------- */

int xd_msg_new(xd_msg **ret, uint16_t type, const void *body, size_t len)
{
    xd_autobuf copy = XD_BUF_INIT;
    XD_TRY(xd_buf_add(&copy, body, len));
    return xd_msg_new_take(ret, type, &copy);
}

int xd_msg_new_take(xd_msg **ret, uint16_t type, xd_buf *buf)
{
    xd_bus_message *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->pub.type = type;
    m->pub.body = xd_buf_view(buf);
    m->pub.owned = buf->data;
    *buf = XD_BUF_INIT;
    *ret = &m->pub;
    return 0;
}

int xd_msg_share(xd_msg **ret, const xd_msg *in)
{
    xd_bus_message *from =
        (xd_bus_message *)(uintptr_t)in; /* libzmq counts the users of a body in the body */
    xd_bus_message *m = from->received ? calloc(1, sizeof(*m)) : NULL;
    if (!m)
        return from->received ? -ENOMEM : -EINVAL;
    zmq_msg_init(&m->part);
    if (zmq_msg_copy(&m->part, &from->part) < 0) {
        int r = -errno;
        free(m);
        return r;
    }
    m->received = true;
    m->pub = (xd_msg){ .type = in->type,
                       .gateway = in->gateway,
                       .body = { zmq_msg_data(&m->part), zmq_msg_size(&m->part) } };
    *ret = &m->pub;
    return 0;
}

/* The last of those who share a body frees it. */
void xd_bus_close(zmq_msg_t *body)
{
    xd_bus_hand_over(zmq_msg_data(body));
    zmq_msg_close(body);
}

xd_msg *xd_msg_free(xd_msg *pub)
{
    xd_bus_message *m = (xd_bus_message *)pub;
    if (m) {
        if (m->received)
            xd_bus_close(&m->part);
        else
            free(pub->owned);
        free(m);
    }
    return NULL;
}

int xd_msg_frame(const xd_msg *m, xd_frame *ret)
{
    if (m->body.len < XD_FRAME_HEADER)
        return -EPROTO;
    XD_TRY(xd_wire_header(m->body.ptr, ret));
    return ret->len == m->body.len - XD_FRAME_HEADER ? 0 : -EPROTO;
}

static void free_body(void *data, void *hint)
{
    (void)hint;
    xd_bus_take_over(data);
    free(data);
}

static void fill_envelope(xd_envelope *env, const xd_bus *bus, const xd_msg *m, const char *to,
                          const char *from)
{
    *env = (xd_envelope){ .type = m->type, .flags = m->flags, .gateway = m->gateway };
    memcpy(env->run, bus->run, sizeof(env->run));
    snprintf(env->to, sizeof(env->to), "%s", to);
    snprintf(env->from, sizeof(env->from), "%s", from);
}

/* Takes *m on success. */
int xd_bus_send_message(void *socket, const xd_bus *bus, const char *to, const char *from, xd_msg **pub)
{
    xd_bus_message *m = (xd_bus_message *)*pub;
    xd_envelope     env;
    zmq_msg_t       part, keep;
    fill_envelope(&env, bus, &m->pub, to, from);
    /* The envelope first: it is what a full pipe refuses. A part made before that could not be taken apart
     * again without freeing the memory that stays with the message. */
    if (zmq_send(socket, &env, sizeof(env), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return -errno;
    zmq_msg_init(&part);
    int r = 0;
    if (m->received)
        zmq_msg_copy(&part, &m->part);
    else if (zmq_msg_init_data(&part, m->pub.owned, m->pub.body.len, free_body, NULL) < 0)
        r = -ENOMEM; /* an empty body ends what was begun: the receiver drops it as malformed */
    /* The far end may go between the two parts, and the second is refused: the memory must outlive that. */
    zmq_msg_init(&keep);
    zmq_msg_copy(&keep, &part);
    xd_bus_hand_over(zmq_msg_data(&part));
    int fault = zmq_msg_send(&part, socket, ZMQ_DONTWAIT) < 0 ? -errno : r;
    if (r == 0 && !m->received)
        m->pub.owned = NULL; /* the parts have it */
    if (fault == 0) {
        *pub = xd_msg_free(*pub);
    } else if (r == 0) {
        zmq_msg_close(&part);
        if (!m->received) {
            zmq_msg_init(&m->part);
            zmq_msg_move(&m->part, &keep);
            m->received = true;
        }
    }
    zmq_msg_close(&keep);
    return fault;
}

/* ---- from outside ---- */

int xd_bus_post(xd_bus *bus, const char *from, const char *to, uint16_t type, const void *body, size_t len)
{
    void   *socket = NULL;
    int     linger = 1000;
    xd_msg *m = NULL;
    XD_TRY(xd_msg_new(&m, type, body, len));
    int r = xd_bus_socket(bus->ctx, ZMQ_DEALER, &socket);
    if (r == 0) {
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
        r = zmq_connect(socket, bus->ctx->endpoint) < 0 ? -errno
                                                        : xd_bus_send_message(socket, bus, to, from, &m);
        zmq_close(socket);
    }
    xd_msg_free(m);
    return r;
}
