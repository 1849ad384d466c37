/* curve_bench [N]: how long it takes from connect to the answer to a first message, N times each, in turn: a bare pair of DEALER and ROUTER of ZeroMQ with
 * CURVE, and xd's client (engine/curve.h) against its server behind a front (engine/front.h). With `idle N`: connects N of them and holds them: memory of
 * the server's process for each, and its processor time in ten seconds.
 * Prints medians in microseconds as JSON. needs: engine */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "engine/base/clock.h"
#include "engine/base/proc.h"
#include "engine/base/os_linux.h"
#include "engine/curve.h"
#include "engine/front.h"

#define ROUNDS 200

static uint64_t took[2][ROUNDS];

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "curve_bench: %s failed\n", what);
    exit(1);
}

/* ---- bare ------------------------------------------------------------------------------------------------------- */

typedef struct bare {
    void       *ctx, *router;
    char        endpoint[128];
    atomic_bool over;
    pthread_t   thread;
} bare;

static void *bare_main(void *arg)
{
    bare *b = arg;
    while (!atomic_load(&b->over)) {
        zmq_pollitem_t p = { b->router, 0, ZMQ_POLLIN, 0 };
        if (zmq_poll(&p, 1, 20) <= 0)
            continue;
        char id[32], body[64];
        int  n = zmq_recv(b->router, id, sizeof(id), 0), m = zmq_recv(b->router, body, sizeof(body), 0);
        (void)zmq_send(b->router, id, (size_t)n, ZMQ_SNDMORE);
        (void)zmq_send(b->router, body, (size_t)m, 0);
    }
    return NULL;
}

static uint64_t bare_once(const bare *b, const xd_keypair *server, const xd_keypair *me)
{
    char           body[64];
    const uint64_t begun = xd_clock_ns();
    void          *s = zmq_socket(b->ctx, ZMQ_DEALER);
    (void)zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server->pub.at, 32);
    (void)zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, me->pub.at, 32);
    (void)zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, me->secret, 32);
    (void)zmq_setsockopt(s, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    must(zmq_connect(s, b->endpoint) == 0 && zmq_send(s, "hello", 5, 0) == 5 &&
             zmq_recv(s, body, sizeof(body), 0) == 5,
         "bare");
    const uint64_t ns = xd_clock_ns() - begun;
    (void)zmq_close(s);
    return ns;
}

static void bare_start(bare *b, const xd_keypair *server)
{
    size_t size = sizeof(b->endpoint);
    b->ctx = zmq_ctx_new();
    b->router = zmq_socket(b->ctx, ZMQ_ROUTER);
    (void)zmq_setsockopt(b->router, ZMQ_CURVE_SERVER, &(int){ 1 }, sizeof(int));
    (void)zmq_setsockopt(b->router, ZMQ_CURVE_SECRETKEY, server->secret, 32);
    (void)zmq_setsockopt(b->router, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    must(zmq_bind(b->router, "tcp://127.0.0.1:*") == 0 &&
             zmq_getsockopt(b->router, ZMQ_LAST_ENDPOINT, b->endpoint, &size) == 0,
         "bind");
    must(pthread_create(&b->thread, NULL, bare_main, b) == 0, "thread");
}

/* ---- xd ------------------------------------------------------------------------------------------------------------ */

typedef struct served {
    xd_poller       *poller;
    xd_front        *front;
    xd_curve_server *curve;
    xd_pubkey        trusted;
    atomic_bool      over;
    pthread_t        thread;
    uint16_t         port;
} served;

static uint32_t admit(void *arg, const char *address, const xd_pubkey *key)
{
    served  *s = arg;
    uint32_t number = xd_front_find(s->front, address);
    return number && xd_pubkey_eq(key, &s->trusted) && xd_front_prove(s->front, number) ? number : 0;
}

static void gone(void *arg, uint32_t number)
{
    (void)arg;
    (void)number;
}

static void nothing(void *arg, int fd, uint32_t events)
{
    (void)arg;
    (void)fd;
    (void)events;
}

static void *served_main(void *arg)
{
    served *s = arg;
    while (!atomic_load(&s->over)) {
        xd_frame      f;
        xd_curve_peer at;
        uint32_t      number;
        bool          any;
        do {
            any = false;
            must(xd_curve_server_admit(s->curve) == 0, "admit");
            while (xd_curve_server_receive(s->curve, &number, &at, &f) == 1) {
                any = true;
                (void)!xd_curve_server_send(s->curve, &at,
                                            (xd_bytes){ f.body - XD_FRAME_HEADER, f.len + XD_FRAME_HEADER });
            }
        } while (any);
        xd_front_care(s->front, xd_clock_ns());
        must(xd_poller_wait(s->poller, xd_clock_ns() + 200 * XD_MS_NS) >= 0, "poll");
    }
    return NULL;
}

static void served_start(served *s, const xd_keypair *server, const xd_keypair *me,
                         const xd_front_limits *limits)
{
    static const char *const bind[] = { "127.0.0.1:0" };
    uint16_t                 inner = 0;
    int                      fds[2];
    xd_error                 err = { 0 };
    s->trusted = me->pub;
    must(xd_poller_new(&s->poller) == 0 && xd_curve_listen(&s->curve, server, admit, s, &inner) == 0,
         "listen");
    const xd_front_args args = { .poller = s->poller,
                                 .bind = bind,
                                 .n_bind = 1,
                                 .inner_port = inner,
                                 .key_line = "\n",
                                 .limits = *limits,
                                 .gone = gone,
                                 .arg = s };
    must(xd_front_new(&s->front, &args, &err) == 0, err.text);
    s->port = (uint16_t)strtoul(strrchr(xd_front_bound(s->front, 0), ':') + 1, NULL, 10);
    xd_curve_server_fds(s->curve, fds);
    must(xd_poller_set(s->poller, fds[0], XD_POLL_IN, nothing, s) == 0 &&
             xd_poller_set(s->poller, fds[1], XD_POLL_IN, nothing, s) == 0,
         "watch");
}

static xd_curve *connected(uint16_t port, const xd_keypair *server, const xd_keypair *me)
{
    xd_curve           *c = NULL;
    xd_buf              message = XD_BUF_INIT;
    xd_frame            f;
    xd_wire_TUNNEL_BEAT beat = { 0 };
    int                 fds[2];
    must(xd_curve_dial(&c, "127.0.0.1", port, me, &server->pub, 5000) == 0 &&
             xd_wire_TUNNEL_BEAT_frame(&message, 0, 0, &beat) == 0,
         "dial");
    xd_curve_fds(c, fds);
    struct pollfd  p[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
    xd_curve_state state;
    while ((state = xd_curve_look(c)) < XD_CURVE_UP)
        (void)poll(p, 2, 100);
    must(state == XD_CURVE_UP && xd_curve_send(c, xd_buf_view(&message)) == 0, "handshake");
    while (xd_curve_receive(c, &f) == 0)
        (void)poll(p, 2, 100);
    xd_buf_release(&message);
    return c;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void dials(unsigned n)
{
    xd_keypair server, me;
    bare       b = { 0 };
    served     s = { 0 };
    must(xd_keypair_make(&server) == 0 && xd_keypair_make(&me) == 0, "keys");
    bare_start(&b, &server);
    served_start(&s, &server, &me, &(xd_front_limits){ 0 });
    must(pthread_create(&s.thread, NULL, served_main, &s) == 0, "thread");
    for (unsigned i = 0; i < n; i++) {
        took[0][i] = bare_once(&b, &server, &me);
        const uint64_t begun = xd_clock_ns();
        xd_curve      *c = connected(s.port, &server, &me);
        took[1][i] = xd_clock_ns() - begun;
        xd_curve_free(c);
    }
    qsort(took[0], n, sizeof(took[0][0]), compare);
    qsort(took[1], n, sizeof(took[1][0]), compare);
    printf("{\"bare_us\": %llu, \"xd_us\": %llu}\n", (unsigned long long)took[0][n / 2] / 1000,
           (unsigned long long)took[1][n / 2] / 1000);
    fflush(stdout);
    _exit(0); /* nothing of it is worth an orderly end */
}

/* ---- many that say nothing ------------------------------------------------------------------------------------------- */

static long resident_kb(pid_t pid)
{
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return kb;
}

/* This process is the server; one that it started again holds the connections. */
static void idle_server(unsigned n)
{
    xd_keypair server, me;
    served     s = { 0 };
    char       port[8], key[3][XD_KEY_Z85 + 1], count[16];
    must(xd_keypair_make(&server) == 0 && xd_keypair_make(&me) == 0, "keys");
    served_start(&s, &server, &me, &(xd_front_limits){ .connections = n + 100, .per_address = n + 100 });
    must(pthread_create(&s.thread, NULL, served_main, &s) == 0, "thread");
    snprintf(port, sizeof(port), "%u", (unsigned)s.port);
    snprintf(count, sizeof(count), "%u", n);
    xd_pubkey_text(&server.pub, key[0]);
    xd_pubkey_text(&me.pub, key[1]);
    (void)zmq_z85_encode(key[2], me.secret, 32);
    const long  before = resident_kb(getpid());
    const char *argv[] = { "/proc/self/exe", "hold", count, port, key[0], key[1], key[2], NULL };
    int         ready[2];
    xd_proc     proc = XD_PROC_NONE;
    must(pipe(ready) == 0, "pipe");
    const xd_proc_fd   fds[] = { { ready[1], 1 }, { 2, 2 } };
    const xd_proc_args args = { .argv = argv, .fds = fds, .nfds = 2 };
    xd_error           err = { 0 };
    const uint64_t     begun = xd_clock_ns();
    must(xd_proc_spawn(&args, &proc, &err) == 0, err.text);
    close(ready[1]);
    char byte;
    must(read(ready[0], &byte, 1) == 1, "those that hold");
    const double   seconds = (double)(xd_clock_ns() - begun) / 1e9;
    const long     after = resident_kb(getpid());
    const uint64_t cpu = xd_clock_cpu_us();
    sleep(10);
    printf("{\"peers\": %u, \"connect_s\": %.2f, \"kb_each\": %.1f, \"idle_cpu_ms_per_s\": %.2f}\n", n,
           seconds, (double)(after - before) / n, (double)(xd_clock_cpu_us() - cpu) / 1e4);
    fflush(stdout);
    (void)xd_proc_kill(&proc, 9);
    _exit(0);
}

/* All through one context, as a program of its own would: DEALERs. */
static void hold(unsigned n, const char *port, const char *server, const char *pub, const char *secret)
{
    char  endpoint[64], body[64];
    void *ctx = zmq_ctx_new();
    (void)xd_os_raise_nofile(n + 100);
    (void)zmq_ctx_set(ctx, ZMQ_MAX_SOCKETS, (int)n + 10);
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%s", port);
    for (unsigned i = 0; i < n; i++) {
        static const uint8_t beat[XD_FRAME_HEADER] = { 0, 0, 0, 0, XD_MSG_TUNNEL_BEAT };
        void                *s = zmq_socket(ctx, ZMQ_DEALER);
        must(s != NULL, "socket");
        (void)zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server, 41);
        (void)zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, pub, 41);
        (void)zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, secret, 41);
        must(zmq_connect(s, endpoint) == 0 && zmq_send(s, beat, sizeof(beat), 0) > 0 &&
                 zmq_recv(s, body, sizeof(body), 0) > 0,
             "hold");
    }
    (void)!write(1, "x", 1);
    pause();
}

int main(int argc, char **argv)
{
    const unsigned n = argc > 2   ? (unsigned)strtoul(argv[2], NULL, 10)
                       : argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10)
                                  : ROUNDS;
    if (argc == 7 && strcmp(argv[1], "hold") == 0)
        hold(n, argv[3], argv[4], argv[5], argv[6]);
    else if (argc == 3 && strcmp(argv[1], "idle") == 0)
        idle_server(n);
    else
        dials(n > ROUNDS || n == 0 ? ROUNDS : n);
    return 0;
}
