/* agents_bench HOST PORT TOKEN AGENTS ITEMS THREADS: simulated agents join a run that listens (xdctl run --listen), each over a CURVE connection of its own
 * with a key of its own; they collect ITEMS tests, and what they are leased passes at once: one RESULTS for each LEASE. The token has to be good for all
 * of them. Prints as JSON when all had joined, and how long it took from the first LEASE to the last result. needs: engine */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zmq.h>

#include "engine/base/clock.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "engine/token.h"
#include "engine/tunnel.h"

#define AT_ONCE 16 /* that have not joined yet, of one thread */
#define PREFIX "suite/test_simulated.py::test_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define IDS_PER_FRAME 1500u
#define QUIET_NS (60 * XD_S_NS) /* nothing has come for so long: it hangs */

typedef enum agent_phase { AGENT_NEW, AGENT_DIALS, AGENT_JOINED, AGENT_OVER } agent_phase;

typedef struct agent {
    void          *socket;
    agent_phase    phase;
    xd_stream_in   in;
    xd_session_tx *tx;
    xd_session_rx  rx;
    xd_buf         waits; /* frames that have no credit yet */
    size_t         waits_at;
    xd_buf         out; /* bytes of the stream that go next */
    size_t         out_at;
    uint64_t       sent, far, got, told, acked, said_ns;
    bool           greeted, list_asked, collected, finished, closed;
    uint32_t       ids_next;
    uint16_t       worker;
    uint32_t       position;
} agent;

static struct {
    char             endpoint[128];
    xd_run_token     token;
    unsigned         agents, items, threads;
    XXH128_hash_t    digest;
    uint64_t         begun_ns;
    atomic_uint      joined, over, results, leases;
    _Atomic uint64_t all_joined_ns, first_lease_ns, last_result_ns, heard_ns;
} all;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "agents_bench: %s failed (%u of %u have joined, %u are over, %u results)\n", what,
            atomic_load(&all.joined), all.agents, atomic_load(&all.over), atomic_load(&all.results));
    exit(1);
}

static void id_of(uint32_t n, char ret[16])
{
    snprintf(ret, 16, "%08u", n);
}

static void make_digest(void)
{
    XXH3_state_t *h = XXH3_createState();
    char          id[PREFIX_LEN + 16] = PREFIX;
    must(h != NULL && XXH3_128bits_reset(h) == XXH_OK, "hash");
    for (uint32_t i = 0; i < all.items; i++) {
        id_of(i, id + PREFIX_LEN);
        (void)XXH3_128bits_update(h, id, PREFIX_LEN + 8 + 1); /* with the NUL */
    }
    all.digest = XXH3_128bits_digest(h);
    XXH3_freeState(h);
}

/* ---- what an agent says --------------------------------------------------------------------------------------------- */

static void put(agent *a, const xd_buf *message)
{
    must(zmq_send(a->socket, message->data, message->len, 0) == (int)message->len, "zmq_send");
    a->said_ns = xd_clock_ns();
}

/* As much of the stream as there is room for. */
static void flush(agent *a)
{
    while (a->out_at < a->out.len && a->sent - a->far < XD_TUNNEL_WINDOW) {
        xd_autobuf message = XD_BUF_INIT;
        size_t     n = XD_MIN(a->out.len - a->out_at, (size_t)128 * 1024);
        n = XD_MIN(n, (size_t)(XD_TUNNEL_WINDOW - (a->sent - a->far)));
        xd_wire_TUNNEL_DATA m = { .at = a->sent, .bytes = { a->out.data + a->out_at, n } };
        must(xd_wire_TUNNEL_DATA_frame(&message, 0, 0, &m) == 0, "memory");
        put(a, &message);
        a->sent += n;
        a->out_at += n;
    }
    if (a->out_at == a->out.len) {
        xd_buf_clear(&a->out);
        a->out_at = 0;
    }
}

/* Frames that wait get a number, as far as there is credit. */
static void number(agent *a)
{
    while (a->waits_at < a->waits.len) {
        xd_frame f;
        xd_bytes numbered;
        must(xd_wire_header(a->waits.data + a->waits_at, &f) == 0, "header");
        const size_t len = XD_FRAME_HEADER + f.len;
        if (!xd_session_tx_credit(a->tx, len))
            return;
        must(xd_session_tx_push(a->tx, a->waits.data + a->waits_at, len, &numbered) == 0 &&
                 xd_buf_add(&a->out, numbered.ptr, numbered.len) == 0,
             "memory");
        a->waits_at += len;
    }
    xd_buf_clear(&a->waits);
    a->waits_at = 0;
}

#define SAY(a, NAME, ...) \
    must(xd_wire_##NAME##_frame(&(a)->waits, 0, 0, &(xd_wire_##NAME){ __VA_ARGS__ }) == 0, "memory")
#define SAY_LOOSE(a, NAME, ...) \
    must(xd_wire_##NAME##_frame(&(a)->out, 0, 0, &(xd_wire_##NAME){ __VA_ARGS__ }) == 0, "memory")

/* Those of the list that there is room for: a million of them are not kept. */
static void say_ids(agent *a)
{
    while (a->list_asked && a->collected && a->ids_next < all.items && a->waits.len == 0) {
        xd_autobuf     list = XD_BUF_INIT;
        const uint32_t count = XD_MIN(IDS_PER_FRAME, all.items - a->ids_next);
        for (uint32_t i = 0; i < count; i++) {
            char id[PREFIX_LEN + 16] = PREFIX;
            id_of(a->ids_next + i, id + PREFIX_LEN);
            const size_t         shared = i ? PREFIX_LEN : 0;
            const xd_wire_NODEID one = { .shared = (uint16_t)shared,
                                         .id = xd_bytes_str(id + shared),
                                         .line = -1 };
            must(xd_wire_NODEID_append(&list, &one) == 0, "memory");
        }
        SAY(a, COLLECT_IDS, .first = a->ids_next,
            .ids = { .count = count, .ptr = list.data, .len = list.len });
        a->ids_next += count;
        number(a);
    }
}

static void run(agent *a, const xd_frame *f)
{
    xd_wire_LEASE m;
    xd_wire_RANGE r;
    xd_autobuf    list = XD_BUF_INIT;
    uint32_t      count = 0;
    uint64_t      none = 0;
    must(xd_wire_LEASE_decode(f->body, f->len, &m) == 0, "LEASE");
    (void)atomic_compare_exchange_strong(&all.first_lease_ns, &none, xd_clock_ns());
    while (xd_wire_RANGE_next(&m.ranges, &r) == 1)
        for (uint32_t i = 0; i < r.count; i++, count++) {
            const xd_wire_RESULT one = { .item = r.first + i,
                                         .attempt = r.attempt,
                                         .outcome = XD_OUT_PASSED,
                                         .call_us = 1,
                                         .position = a->position++,
                                         .start_us = 1800000000000000u };
            must(xd_wire_RESULT_append(&list, &one) == 0, "memory");
        }
    SAY(a, RESULTS, .worker = a->worker, .results = { .count = count, .ptr = list.data, .len = list.len });
    atomic_fetch_add(&all.leases, 1);
    if (atomic_fetch_add(&all.results, count) + count == all.items)
        atomic_store(&all.last_result_ns, xd_clock_ns());
}

static void on_frame(agent *a, const xd_frame *f)
{
    xd_wire_WELCOME       welcome;
    xd_wire_ACK           ack;
    xd_wire_WORKERS_START start;
    xd_wire_TAKE_BACK     back;
    if (f->seq)
        must(xd_session_rx_seen(&a->rx, f->seq) == XD_SESSION_TAKE, "sequence");
    switch (f->type) {
    case XD_MSG_WELCOME:
        must(xd_wire_WELCOME_decode(f->body, f->len, &welcome) == 0, "WELCOME");
        xd_session_tx_window(a->tx, welcome.window_frames, welcome.window_bytes);
        break;
    case XD_MSG_ACK:
        must(xd_wire_ACK_decode(f->body, f->len, &ack) == 0 && xd_session_tx_acked(a->tx, ack.acked) >= 0,
             "ACK");
        break;
    case XD_MSG_PING:
        SAY_LOOSE(a, PONG, 0);
        break;
    case XD_MSG_ENV_START:
        SAY(a, CONFIG, .python = XD_BYTES_LIT("/simulated"), .python_version = XD_BYTES_LIT("3"),
            .pytest_version = XD_BYTES_LIT("9"), .rootdir = XD_BYTES_LIT("/"),
            .invocation_dir = XD_BYTES_LIT("/"));
        SAY(a, COLLECTED, .count = all.items, .digest_lo = all.digest.low64, .digest_hi = all.digest.high64,
            .exit_status = -1, .way = XD_WAY_FRESH, .duration_us = 1);
        a->collected = true;
        break;
    case XD_MSG_SEND_LIST:
        a->list_asked = true;
        break;
    case XD_MSG_WORKERS_START:
        must(xd_wire_WORKERS_START_decode(f->body, f->len, &start) == 0 && start.count == 1, "WORKERS_START");
        a->worker = start.first;
        SAY(a, WORKER_UP, .worker = start.first, .pid = 1, .way = XD_WAY_FRESH, .replaces = XD_NO_WORKER);
        break;
    case XD_MSG_LEASE:
        run(a, f);
        break;
    case XD_MSG_TAKE_BACK:
        must(xd_wire_TAKE_BACK_decode(f->body, f->len, &back) == 0, "TAKE_BACK");
        SAY(a, RETURNED, .request = back.request);
        break;
    case XD_MSG_FINISH:
        SAY(a, ENV_DONE, 0);
        SAY(a, BYE, 0);
        a->finished = true;
        break;
    default:
        break;
    }
}

/* ---- the tunnel --------------------------------------------------------------------------------------------------------- */

static void say_join(agent *a)
{
    xd_autobuf          message = XD_BUF_INIT;
    xd_wire_TUNNEL_JOIN m = { .version_min = XD_TUNNEL_VERSION,
                              .version_max = XD_TUNNEL_VERSION,
                              .build_id = XD_BYTES_LIT("simulated"),
                              .who = XD_BYTES_LIT("me@simulated"),
                              .host = XD_BYTES_LIT("simulated"),
                              .cpus = 1,
                              .memory_bytes = 1 << 30,
                              .workers = 1,
                              .token = { all.token.whole, sizeof(all.token.whole) } };
    must(xd_wire_TUNNEL_JOIN_frame(&message, 0, 0, &m) == 0, "memory");
    put(a, &message);
}

static void dial(agent *a, void *ctx)
{
    char public[41], secret[41];
    must(zmq_curve_keypair(public, secret) == 0 && (a->socket = zmq_socket(ctx, ZMQ_DEALER)) != NULL,
         "socket");
    must(zmq_setsockopt(a->socket, ZMQ_CURVE_SERVERKEY, all.token.server.at, 32) == 0 &&
             zmq_setsockopt(a->socket, ZMQ_CURVE_PUBLICKEY, public, 41) == 0 &&
             zmq_setsockopt(a->socket, ZMQ_CURVE_SECRETKEY, secret, 41) == 0 &&
             zmq_setsockopt(a->socket, ZMQ_LINGER, &(int){ 1000 }, sizeof(int)) == 0 &&
             zmq_setsockopt(a->socket, ZMQ_SNDHWM, &(int){ 0 }, sizeof(int)) == 0 &&
             zmq_connect(a->socket, all.endpoint) == 0,
         "connect");
    a->phase = AGENT_DIALS;
    say_join(a);
}

static void begin(agent *a)
{
    a->phase = AGENT_JOINED;
    xd_stream_in_init(&a->in, true);
    must(xd_session_tx_new(&a->tx, 1, 1) == 0 &&
             xd_buf_add(&a->out, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN) == 0,
         "memory");
    SAY_LOOSE(a, HELLO, .version_min = 1, .version_max = 1, .capabilities = XD_CAP_PING,
              .host = XD_BYTES_LIT("simulated"), .system = XD_BYTES_LIT("simulated"), .pid = 1, .cpus = 1,
              .memory_bytes = 1 << 30, .token = XD_BYTES_LIT("0123456789abcdef"));
    if (atomic_fetch_add(&all.joined, 1) + 1 == all.agents)
        atomic_store(&all.all_joined_ns, xd_clock_ns());
}

static void on_bytes(agent *a, xd_bytes bytes)
{
    uint8_t *room;
    size_t   size;
    xd_frame f;
    must(xd_stream_in_space(&a->in, bytes.len, &room, &size) == 0 && size >= bytes.len, "memory");
    memcpy(room, bytes.ptr, bytes.len);
    xd_stream_in_filled(&a->in, bytes.len);
    int r;
    while ((r = xd_stream_in_next(&a->in, &f)) == 1)
        on_frame(a, &f);
    must(r == 0, "stream");
}

static void end(agent *a)
{
    xd_autobuf message = XD_BUF_INIT, last = XD_BUF_INIT;
    must(xd_wire_TUNNEL_CLOSE_frame(&message, 0, 0, &(xd_wire_TUNNEL_CLOSE){ 0 }) == 0 &&
             xd_wire_TUNNEL_ENDED_frame(&last, 0, 0, &(xd_wire_TUNNEL_ENDED){ 0 }) == 0,
         "memory");
    put(a, &message);
    put(a, &last);
    (void)zmq_close(a->socket);
    a->socket = NULL;
    a->phase = AGENT_OVER;
    atomic_fetch_add(&all.over, 1);
}

static void on_message(agent *a, const uint8_t *at, size_t len)
{
    xd_frame               f;
    xd_wire_TUNNEL_DATA    data;
    xd_wire_TUNNEL_TAKEN   taken;
    xd_wire_TUNNEL_REFUSED refused;
    must(len >= XD_FRAME_HEADER && xd_wire_header(at, &f) == 0 && f.len == len - XD_FRAME_HEADER, "message");
    f.body = at + XD_FRAME_HEADER;
    switch (f.type) {
    case XD_MSG_TUNNEL_JOINED:
        begin(a);
        break;
    case XD_MSG_TUNNEL_DATA:
        must(xd_wire_TUNNEL_DATA_decode(f.body, f.len, &data) == 0 && data.at == a->got, "TUNNEL_DATA");
        a->got += data.bytes.len;
        on_bytes(a, data.bytes);
        break;
    case XD_MSG_TUNNEL_TAKEN:
        must(xd_wire_TUNNEL_TAKEN_decode(f.body, f.len, &taken) == 0, "TUNNEL_TAKEN");
        a->far = taken.at;
        break;
    case XD_MSG_TUNNEL_CLOSE:
        a->closed = true;
        break;
    case XD_MSG_TUNNEL_REFUSED:
        if (xd_wire_TUNNEL_REFUSED_decode(f.body, f.len, &refused) == 0)
            fprintf(stderr, "refused: %.*s\n", (int)refused.reason.len, (const char *)refused.reason.ptr);
        must(0, "joining");
        break;
    default:
        break;
    }
}

static void answer(agent *a)
{
    xd_autobuf message = XD_BUF_INIT;
    if (a->phase != AGENT_JOINED)
        return;
    number(a);
    say_ids(a);
    if (a->rx.last > a->acked) {
        SAY_LOOSE(a, ACK, .acked = a->rx.last);
        a->acked = a->rx.last;
    }
    flush(a);
    if (a->got - a->told >= XD_TUNNEL_WINDOW / 8 || xd_clock_ns() - a->said_ns > XD_TUNNEL_BEAT_NS) {
        xd_wire_TUNNEL_TAKEN m = { .at = a->got };
        must(xd_wire_TUNNEL_TAKEN_frame(&message, 0, 0, &m) == 0, "memory");
        put(a, &message);
        a->told = a->got;
    }
    if (a->closed || (a->finished && a->waits.len == 0 && xd_session_tx_outstanding(a->tx) == 0))
        end(a);
}

/* All that has come. */
static void hear(agent *a)
{
    zmq_msg_t m;
    (void)zmq_msg_init(&m);
    while (a->socket && zmq_msg_recv(&m, a->socket, ZMQ_DONTWAIT) >= 0) {
        atomic_store_explicit(&all.heard_ns, xd_clock_ns(), memory_order_relaxed);
        on_message(a, zmq_msg_data(&m), zmq_msg_size(&m));
    }
    (void)zmq_msg_close(&m);
    answer(a);
}

static void release(agent *a)
{
    xd_stream_in_release(&a->in);
    a->tx = xd_session_tx_free(a->tx);
    xd_buf_release(&a->waits);
    xd_buf_release(&a->out);
}

static void *part_main(void *arg)
{
    const unsigned  which = (unsigned)(uintptr_t)arg;
    const unsigned  n = all.agents / all.threads + (which < all.agents % all.threads);
    agent          *agents = calloc(n, sizeof(*agents));
    zmq_pollitem_t *items = calloc(n, sizeof(*items));
    unsigned       *of = calloc(n, sizeof(*of));
    void           *ctx = zmq_ctx_new();
    must(agents && items && of && ctx && zmq_ctx_set(ctx, ZMQ_MAX_SOCKETS, (int)n + 10) == 0, "memory");
    for (unsigned next = 0, over = 0; over < n;) {
        unsigned dialling = 0, watched = 0;
        over = 0;
        for (unsigned i = 0; i < n; i++)
            dialling += agents[i].phase == AGENT_DIALS;
        while (next < n && dialling++ < AT_ONCE)
            dial(&agents[next++], ctx);
        for (unsigned i = 0; i < n; i++) {
            over += agents[i].phase == AGENT_OVER;
            if (!agents[i].socket)
                continue;
            of[watched] = i;
            items[watched++] = (zmq_pollitem_t){ .socket = agents[i].socket, .events = ZMQ_POLLIN };
        }
        int r = watched ? zmq_poll(items, (int)watched, 200) : 0;
        must(r >= 0, "zmq_poll");
        for (unsigned i = 0; i < watched; i++)
            if (items[i].revents || r == 0)
                hear(&agents[of[i]]);
        must(xd_clock_ns() - atomic_load(&all.heard_ns) < QUIET_NS, "waiting");
    }
    for (unsigned i = 0; i < n; i++)
        release(&agents[i]);
    (void)zmq_ctx_term(ctx);
    free(agents);
    free(items);
    free(of);
    return NULL;
}

static double seconds(uint64_t from, uint64_t to)
{
    return (double)(to - from) / (double)XD_S_NS;
}

int main(int argc, char **argv)
{
    if (argc != 7 || xd_run_token_parse(&all.token, xd_bytes_str(argv[3])) < 0) {
        fprintf(stderr, "agents_bench HOST PORT TOKEN AGENTS ITEMS THREADS\n");
        return 1;
    }
    snprintf(all.endpoint, sizeof(all.endpoint), "tcp://%s:%s", argv[1], argv[2]);
    all.agents = (unsigned)strtoul(argv[4], NULL, 10);
    all.items = (unsigned)strtoul(argv[5], NULL, 10);
    all.threads = (unsigned)strtoul(argv[6], NULL, 10);
    must(all.agents && all.items && all.threads && all.threads <= 64 && all.agents >= all.threads,
         "arguments");
    make_digest();
    all.begun_ns = xd_clock_ns();
    atomic_store(&all.heard_ns, all.begun_ns);
    pthread_t threads[64];
    for (unsigned i = 0; i < all.threads; i++)
        must(pthread_create(&threads[i], NULL, part_main, (void *)(uintptr_t)i) == 0, "thread");
    for (unsigned i = 0; i < all.threads; i++)
        (void)pthread_join(threads[i], NULL);
    printf("{\"joined\": %u, \"joined_s\": %.3f, \"results\": %u, \"leases\": %u, \"run_s\": %.3f}\n",
           atomic_load(&all.joined), seconds(all.begun_ns, atomic_load(&all.all_joined_ns)),
           atomic_load(&all.results), atomic_load(&all.leases),
           seconds(atomic_load(&all.first_lease_ns), atomic_load(&all.last_result_ns)));
    return 0;
}
