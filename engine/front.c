/* engine/front.c - see front.h. */
#include "engine/front.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "engine/front_listen.h"
#include "engine/stream.h"

#define ZMTP_FIRST 0xff
#define ZMTP_LONG 2          /* flag of a frame: its length has eight bytes */
#define UNPROVEN_BYTES 4096u /* a handshake of CURVE takes less than 1 KiB */
#define UNPROVEN_COST (48u << 10)
#define READ_COST 8192u /* of ZeroMQ's buffer, which a part of a message keeps, however small it is */
#define GREETING 64u    /* bytes */
#define IDLE_NS (250 * XD_MS_NS)
#define TOLD_NS (5 * XD_S_NS) /* for ZeroMQ to end its side */
#define PASS_BYTES (128u << 10)
#define WAITING_MAX (128u << 10)
#define ACCEPTS 64 /* in one turn */
#define SILENT_MS 20000u
#define FDS_EACH 3u /* of a connection: to the peer, to ZeroMQ, and ZeroMQ's own */
#define FEWEST 16u
#define RESERVE_FDS 64u
#define NUMBER_MAX 0x3fffffu /* 127.64.0.0 to 127.127.255.255 */
#define BUCKETS 4096u
#define BOUND_MAX 8u

typedef enum phase { SNIFFS, PASSES, ENDS } phase;

/* Where connections come from, as long as there are some. */
typedef struct origin {
    char           address[INET6_ADDRSTRLEN];
    uint32_t       proven, unproven;
    UT_hash_handle hh;
} origin;

typedef struct conn {
    struct conn  *next;          /* of its bucket */
    struct conn  *older, *newer; /* unproven ones by age */
    xd_front     *front;
    uint32_t      number;
    int           out, in; /* to the peer; to ZeroMQ, -1 before it speaks ZMTP */
    phase         phase;
    bool          proven, dead;
    bool          out_over, in_over; /* it has said all */
    bool          out_deaf, in_deaf; /* it takes nothing any more */
    bool          told;              /* ZeroMQ, that the peer has said all */
    uint64_t      until_ns;          /* UINT64_MAX = no end */
    uint64_t      sent;              /* bytes of the peer */
    uint64_t      cost;              /* memory that ZeroMQ may hold for it, since its last message came */
    uint64_t      body;              /* left of a frame of ZMTP that has begun */
    uint8_t       head[9], head_len; /* of the next one */
    xd_stream_out to_peer, to_inner;
    origin       *origin;
} conn;

typedef struct listener {
    int  fd;
    char name[INET6_ADDRSTRLEN + 16];
} listener;

struct xd_front {
    xd_front_args  args;
    char          *key_line;
    listener       at[BOUND_MAX];
    size_t         bound;
    int            reserve; /* a descriptor to give away when there are no others */
    conn          *bucket[BUCKETS];
    origin        *origins;
    uint32_t       unproven_origins; /* that have unproven ones */
    conn          *oldest, *newest;  /* unproven */
    conn          *dead;
    uint32_t       last; /* number given out */
    uint64_t       next_ns;
    uint8_t       *room;
    xd_front_stats stats;
};

/* ---- connections ---------------------------------------------------------------------------------------------- */

static conn *find(const xd_front *f, uint32_t number)
{
    conn *c = f->bucket[number % BUCKETS];
    while (c && c->number != number)
        c = c->next;
    return c;
}

static void leave_unproven(conn *c)
{
    xd_front *f = c->front;
    if (c->proven)
        return;
    *(c->older ? &c->older->newer : &f->oldest) = c->newer;
    *(c->newer ? &c->newer->older : &f->newest) = c->older;
    c->older = c->newer = NULL;
    f->unproven_origins -= --c->origin->unproven == 0;
    f->stats.unproven--;
}

static origin *origin_of(xd_front *f, const char *address)
{
    origin *h = NULL;
    HASH_FIND_STR(f->origins, address, h);
    if (h || !(h = calloc(1, sizeof(*h))))
        return h;
    snprintf(h->address, sizeof(h->address), "%s", address);
    HASH_ADD_STR(f->origins, address, h);
    if (!h->hh.tbl) {
        free(h);
        return NULL;
    }
    return h;
}

static void leave_origin(xd_front *f, origin *h)
{
    if (h->proven || h->unproven)
        return;
    HASH_DEL(f->origins, h);
    free(h);
}

static void close_fd(xd_front *f, int *fd)
{
    if (*fd < 0)
        return;
    (void)xd_poller_remove(f->args.poller, *fd);
    close(*fd);
    *fd = -1;
}

/* Freed later: it may be in the hands of a callback. */
static void end(conn *c, bool tell)
{
    xd_front *f = c->front;
    conn    **at = &f->bucket[c->number % BUCKETS];
    if (c->dead)
        return;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    leave_unproven(c);
    c->origin->proven -= c->proven;
    leave_origin(f, c->origin);
    c->origin = NULL;
    close_fd(f, &c->out);
    close_fd(f, &c->in);
    c->dead = true;
    c->next = f->dead;
    f->dead = c;
    f->next_ns = 0;
    f->stats.now--;
    if (tell)
        f->args.gone(f->args.arg, c->number);
}

static void release(conn *c)
{
    xd_stream_out_release(&c->to_peer);
    xd_stream_out_release(&c->to_inner);
    free(c);
}

static void bury(xd_front *f)
{
    for (conn *c; (c = f->dead) != NULL; release(c))
        f->dead = c->next;
}

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

static void on_ready(void *arg, int fd, uint32_t events);

static uint32_t wish(bool read, const xd_stream_out *write)
{
    return (read ? XD_POLL_IN : 0) | (xd_stream_out_pending(write) ? XD_POLL_OUT : 0);
}

/* How many bytes the peer may send now. */
static size_t allowed(const conn *c)
{
    const uint32_t unheard = c->front->args.limits.unheard_bytes;
    if (!c->proven)
        return c->sent < UNPROVEN_BYTES && c->cost < UNPROVEN_COST ? (size_t)(UNPROVEN_BYTES - c->sent) : 0;
    return !unheard ? PASS_BYTES : c->cost < unheard ? XD_MIN(unheard - c->cost, PASS_BYTES) : 0;
}

static int watch(conn *c)
{
    xd_poller *p = c->front->args.poller;
    const bool room_in = xd_stream_out_pending(&c->to_inner) < WAITING_MAX && (!c->proven || allowed(c) > 0);
    const bool room_out = xd_stream_out_pending(&c->to_peer) < WAITING_MAX;
    XD_TRY(xd_poller_set(p, c->out, wish(c->phase != ENDS && !c->out_over && room_in, &c->to_peer), on_ready,
                         c));
    return c->in < 0 ? 0 : xd_poller_set(p, c->in, wish(!c->in_over && room_out, &c->to_inner), on_ready, c);
}

/* Writes what waits, then `len` bytes more, of which it keeps what the descriptor does not take. */
static int write_on(xd_stream_out *waiting, int fd, const uint8_t *data, size_t len)
{
    int r = xd_stream_write_fd(waiting, fd);
    XD_TRY(r);
    while (r == 0 && len) {
        ssize_t n = xd_os_write_some(fd, data, len);
        if (n == -EAGAIN)
            break;
        if (n < 0)
            return (int)n;
        data += n;
        len -= (size_t)n;
    }
    return len ? xd_stream_out_add(waiting, data, len) : 0;
}

/* What one that is gone does not hear is dropped; what it has said before is passed on. */
static int pass(conn *c, bool in, const uint8_t *data, size_t len)
{
    xd_stream_out *waiting = in ? &c->to_inner : &c->to_peer;
    bool          *deaf = in ? &c->in_deaf : &c->out_deaf;
    const int      r = *deaf ? 0 : write_on(waiting, in ? c->in : c->out, data, len);
    if (r >= 0 || r == -ENOMEM)
        return r;
    *deaf = true;
    xd_stream_out_written(waiting, xd_stream_out_pending(waiting));
    return 0;
}

static int connect_inner(conn *c)
{
    const struct sockaddr_in to = { .sin_family = AF_INET,
                                    .sin_port = htons(c->front->args.inner_port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f400000u + c->number) };
    xd_autoclose int   fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    c->in = fd;
    fd = -1;
    return 0;
}

/* The first bytes say what it wants. 0; -EPROTO. */
static int sniff(conn *c, const uint8_t *data, size_t len)
{
    if (c->sent == 0 && data[0] == ZMTP_FIRST) {
        c->phase = PASSES;
        XD_TRY(connect_inner(c));
        return pass(c, true, data, len); /* it is mostly connected at once, to this host */
    }
    XD_TRY(xd_stream_out_add(&c->to_inner, data, len));
    xd_bytes said = xd_stream_out_view(&c->to_inner);
    if (said.len > strlen(XD_FRONT_QUESTION) || memcmp(said.ptr, XD_FRONT_QUESTION, said.len) != 0)
        return -EPROTO;
    if (said.len < strlen(XD_FRONT_QUESTION))
        return 0;
    c->front->stats.asked++;
    c->phase = ENDS;
    return xd_stream_out_add(&c->to_peer, c->front->key_line, strlen(c->front->key_line));
}

/* Goes over what is passed on to ZeroMQ, frames of ZMTP 3: does one end there? */
static bool ends_frame(conn *c, const uint8_t *at, size_t len)
{
    bool   any = false;
    size_t i = c->sent < GREETING ? (size_t)XD_MIN((uint64_t)len, GREETING - c->sent) : 0;
    while (i < len) {
        if (c->body) {
            const size_t n = (size_t)XD_MIN((uint64_t)(len - i), c->body);
            i += n;
            c->body -= n;
        } else {
            c->head[c->head_len++] = at[i++]; /* flags, length */
            if (c->head_len < (c->head[0] & ZMTP_LONG ? 9 : 2))
                continue;
            for (uint8_t k = 1; k < c->head_len; k++)
                c->body = c->body << 8 | c->head[k];
            c->head_len = 0;
        }
        any = any || c->body == 0;
    }
    return any;
}

static int from_peer(conn *c)
{
    const size_t room = allowed(c);
    if (room == 0)
        return c->proven ? 0 : -EPROTO;
    ssize_t n = xd_os_read_some(c->out, c->front->room, room);
    if (n == -EAGAIN)
        return 0;
    if (n <= 0) {
        c->out_over = true;
        return 0;
    }
    int r =
        c->phase == SNIFFS ? sniff(c, c->front->room, (size_t)n) : pass(c, true, c->front->room, (size_t)n);
    c->cost += (uint64_t)n + (ends_frame(c, c->front->room, (size_t)n) ? READ_COST : 0);
    c->sent += (uint64_t)n;
    return r;
}

static int from_inner(conn *c)
{
    ssize_t n = xd_os_read_some(c->in, c->front->room, PASS_BYTES);
    if (n == -EAGAIN)
        return 0;
    if (n <= 0) {
        c->in_over = true;
        return 0;
    }
    return pass(c, false, c->front->room, (size_t)n);
}

/* The peer has closed its side, and all its bytes were passed on. Closing the connection to ZeroMQ now would lose bytes: if ZeroMQ is just writing,
 * the system discards what it has not read yet. So only our writing side is closed, and ZeroMQ gets TOLD_NS to read the rest and close. */
static void tell_the_end(conn *c)
{
    if (!c->out_over || c->told || c->in < 0 || xd_stream_out_pending(&c->to_inner))
        return;
    c->told = c->out_deaf = true;
    xd_stream_out_written(&c->to_peer, xd_stream_out_pending(&c->to_peer));
    (void)shutdown(c->in, SHUT_WR);
    c->until_ns = XD_MIN(c->until_ns, xd_clock_ns() + TOLD_NS);
    c->front->next_ns = XD_MIN(c->front->next_ns, c->until_ns);
}

/* Nothing more is to be passed on. */
static bool all_is_said(const conn *c)
{
    if (xd_stream_out_pending(&c->to_peer) == 0 && (c->in_over || c->phase == ENDS))
        return true;
    return c->out_over && c->in < 0 && c->phase != ENDS;
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    conn *c = arg;
    int   r = 0;
    if (c->dead)
        return;
    if (events & XD_POLL_OUT)
        r = pass(c, fd != c->out, NULL, 0);
    if (r == 0 && events & (XD_POLL_IN | XD_POLL_HUP) && !(fd == c->out && c->phase == ENDS))
        r = fd == c->out ? from_peer(c) : from_inner(c);
    tell_the_end(c);
    if (r == 0 && all_is_said(c))
        r = -ECONNRESET;
    if (r == 0)
        r = watch(c);
    if (r == -EPROTO)
        c->front->stats.refused++;
    if (r < 0)
        end(c, true);
}

/* ---- accepting --------------------------------------------------------------------------------------------------- */

static uint32_t limit(uint32_t given, uint32_t otherwise)
{
    return given ? given : otherwise;
}

/* Who goes: the oldest that has not even sent the greeting of ZMTP in a quarter of a second, else the oldest; if `h` is NULL, of the addresses that do not have
 * fewer than others have. */
static conn *last_choice(const xd_front *f, const origin *h, uint64_t now)
{
    const uint64_t most = limit(f->args.limits.prove_ms, 5000) * XD_MS_NS;
    const uint32_t n = f->unproven_origins, share = n ? (f->stats.unproven + n - 1) / n : 0;
    conn          *oldest = NULL;
    for (conn *c = f->oldest; c; c = c->newer) {
        if (h ? c->origin != h : c->origin->unproven < share)
            continue;
        oldest = oldest ? oldest : c;
        if (c->until_ns + IDLE_NS > now + most) /* the younger ones are behind it */
            break;
        if (c->sent < GREETING)
            return c;
    }
    return oldest;
}

/* One more may be unproven: another one goes, of the same address if that has many. */
static void make_room(xd_front *f, const origin *h)
{
    const xd_front_limits *l = &f->args.limits;
    conn                  *goes = NULL;
    if (h->unproven >= limit(l->unproven_per_address, 256))
        goes = last_choice(f, h, xd_clock_ns());
    else if (f->stats.unproven >= limit(l->unproven, 1024) || f->stats.now >= l->connections)
        goes = last_choice(f, NULL, xd_clock_ns());
    if (!goes)
        return;
    f->stats.dropped++;
    end(goes, true);
}

static void set_up(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },   { IPPROTO_TCP, TCP_USER_TIMEOUT, SILENT_MS },
        { SOL_SOCKET, SO_KEEPALIVE, 1 },   { IPPROTO_TCP, TCP_KEEPIDLE, 10 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 5 },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static uint32_t next_number(xd_front *f)
{
    do
        f->last = f->last % NUMBER_MAX + 1;
    while (find(f, f->last));
    return f->last;
}

static int take_in(xd_front *f, int fd, const struct sockaddr_storage *from)
{
    const xd_front_limits *l = &f->args.limits;
    char                   address[INET6_ADDRSTRLEN];
    front_name_address(from, address);
    origin *h = origin_of(f, address);
    conn   *c = calloc(1, sizeof(*c));
    if (h && c)
        make_room(f, h);
    h = origin_of(f, address);
    if (!h || !c || f->stats.now >= l->connections) {
        f->stats.refused++;
        if (h)
            leave_origin(f, h);
        free(c);
        return -EMFILE;
    }
    *c = (conn){ .front = f,
                 .number = next_number(f),
                 .out = fd,
                 .in = -1,
                 .until_ns = xd_clock_ns() + limit(l->prove_ms, 5000) * XD_MS_NS,
                 .origin = h,
                 .older = f->newest };
    set_up(fd);
    conn **bucket = &f->bucket[c->number % BUCKETS];
    c->next = *bucket;
    *bucket = c;
    *(f->newest ? &f->newest->newer : &f->oldest) = c;
    f->newest = c;
    f->unproven_origins += h->unproven++ == 0;
    f->stats.now++;
    f->stats.unproven++;
    f->stats.accepted++;
    f->next_ns = XD_MIN(f->next_ns, c->until_ns);
    if (watch(c) < 0)
        end(c, false);
    return 0;
}

/* There is no descriptor for one that waits: it gets the reserved one for as long as it takes to close it. Else the listener
 * would be ready for ever, and this process spin. */
static void turn_away(xd_front *f, int listener_fd)
{
    if (f->reserve >= 0)
        close(f->reserve);
    int fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    f->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    f->stats.refused++;
}

static void on_accept(void *arg, int fd, uint32_t events)
{
    xd_front *f = arg;
    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage from = { 0 };
        socklen_t               size = sizeof(from);
        int peer = accept4(fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer < 0 && (errno == EMFILE || errno == ENFILE))
            turn_away(f, fd);
        if (peer < 0 && errno != EINTR && errno != ECONNABORTED)
            return;
        if (peer >= 0 && take_in(f, peer, &from) < 0)
            close(peer);
    }
}

/* ---- listeners --------------------------------------------------------------------------------------------------- */

static int bind_one(xd_front *f, const char *text, xd_error *err)
{
    const char *option = f->args.option ? f->args.option : "--bind";
    if (f->bound == BOUND_MAX)
        return xd_error_set(err, -E2BIG, "%s may be given %u times", option, BOUND_MAX);
    listener *l = &f->at[f->bound];
    int       fd = front_listen(option, text, l->name, sizeof(l->name), err);
    XD_TRY(fd);
    l->fd = fd;
    f->bound++;
    return xd_poller_set(f->args.poller, fd, XD_POLL_IN, on_accept, f);
}

/* Those that there are descriptors for; where these are few, the user of the front has a quarter of them. */
static uint32_t most_connections(uint64_t wanted, uint64_t other_fds)
{
    const uint64_t have = xd_os_raise_nofile(wanted * FDS_EACH + other_fds + RESERVE_FDS);
    const uint64_t kept = XD_MIN(other_fds, have / 4) + RESERVE_FDS;
    const uint64_t fit = have > kept ? (have - kept) / FDS_EACH : 0;
    return (uint32_t)XD_MIN(wanted, XD_MAX(fit, (uint64_t)FEWEST));
}

int xd_front_new(xd_front **ret, const xd_front_args *args, xd_error *err)
{
    xd_auto(xd_front) *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->args = *args;
    f->args.limits.connections =
        most_connections(limit(args->limits.connections, XD_FRONT_CONNECTIONS), args->other_fds);
    f->stats.most = f->args.limits.connections;
    f->next_ns = UINT64_MAX;
    f->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    f->key_line = strdup(args->key_line);
    f->room = malloc(PASS_BYTES);
    if (!f->key_line || !f->room)
        return -ENOMEM;
    for (size_t i = 0; i < args->n_bind; i++)
        XD_TRY(bind_one(f, args->bind[i], err));
    *ret = xd_take(&f);
    return 0;
}

void xd_front_deafen(xd_front *f)
{
    for (size_t i = 0; i < f->bound; i++)
        close_fd(f, &f->at[i].fd);
}

xd_front *xd_front_free(xd_front *f)
{
    if (!f)
        return NULL;
    xd_front_deafen(f);
    for (size_t i = 0; i < BUCKETS; i++)
        while (f->bucket[i])
            end(f->bucket[i], false);
    bury(f);
    if (f->reserve >= 0)
        close(f->reserve);
    free(f->key_line);
    free(f->room);
    free(f);
    return NULL;
}

const char *xd_front_bound(const xd_front *f, size_t i)
{
    return i < f->bound ? f->at[i].name : NULL;
}

/* ---- what its user asks and says ------------------------------------------------------------------------------- */

uint32_t xd_front_find(const xd_front *f, const char *inner_address)
{
    struct in_addr at;
    if (inet_pton(AF_INET, inner_address, &at) != 1)
        return 0;
    const uint32_t number = ntohl(at.s_addr) - 0x7f400000u;
    return number && number <= NUMBER_MAX && find(f, number) ? number : 0;
}

const char *xd_front_address(const xd_front *f, uint32_t number)
{
    const conn *c = find(f, number);
    return c ? c->origin->address : "?";
}

bool xd_front_prove(xd_front *f, uint32_t number)
{
    conn *c = find(f, number);
    if (!c || c->phase == ENDS || c->origin->proven >= limit(f->args.limits.per_address, 1024))
        return false;
    leave_unproven(c);
    c->proven = true;
    c->origin->proven++;
    c->until_ns = UINT64_MAX;
    return true;
}

void xd_front_heard(xd_front *f, uint32_t number)
{
    conn *c = find(f, number);
    if (!c)
        return;
    const bool waits = c->proven && allowed(c) == 0;
    c->cost = 0;
    if (waits && watch(c) < 0)
        end(c, true);
}

void xd_front_drop(xd_front *f, uint32_t number)
{
    conn *c = find(f, number);
    if (!c)
        return;
    c->until_ns =
        XD_MIN(c->until_ns, xd_clock_ns() + XD_S_NS); /* also of one that is dropped again and again */
    f->next_ns = XD_MIN(f->next_ns, c->until_ns);
}

void xd_front_care(xd_front *f, uint64_t now_ns)
{
    bury(f);
    if (now_ns < f->next_ns)
        return;
    f->next_ns = UINT64_MAX;
    for (size_t i = 0; i < BUCKETS; i++)
        for (conn *c = f->bucket[i], *next; c; c = next) {
            next = c->next;
            if (now_ns >= c->until_ns) {
                f->stats.dropped += !c->proven;
                end(c, true);
            } else {
                f->next_ns = XD_MIN(f->next_ns, c->until_ns);
            }
        }
    bury(f);
}

uint64_t xd_front_next(const xd_front *f)
{
    return f->dead ? 0 : f->next_ns;
}

xd_front_stats xd_front_count(const xd_front *f)
{
    return f->stats;
}
