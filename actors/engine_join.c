/* actors/engine_join.c - see engine_state.h: hosts that join a run (--listen). Their thread (gateways/listen.h) tells of them; the thread that watches the run
 * starts a gateway for each. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/engine_state.h"
#include "engine/address.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "engine/keys.h"

#define PLACES 8u /* to listen at */

/* One that has joined, or that wants to leave: in the order in which they said so, since the scheduler knows none that has not joined. */
typedef struct joining {
    bool     leaves; /* says.gateway alone counts */
    xd_joins says;
    char     host[80];
} joining;

/* ---- on the thread of the listener ------------------------------------------------------------------------------------- */

static void memory_words(uint64_t bytes, char *ret, size_t size)
{
    if (bytes >> 30)
        snprintf(ret, size, "%.1f GiB", (double)bytes / (double)(1ull << 30));
    else
        snprintf(ret, size, "%llu MiB", (unsigned long long)(bytes >> 20));
}

static void describe(xd_joins *to, const xd_joined *j)
{
    char memory[32];
    memory_words(j->memory_bytes, memory, sizeof(memory));
    snprintf(to->text, sizeof(to->text),
             "%u worker%s of %.100s at %.48s (%u processor%s, %s%s%.150s%s%.150s)", (unsigned)j->workers,
             j->workers == 1 ? "" : "s", j->who, j->address, (unsigned)j->cpus, j->cpus == 1 ? "" : "s",
             memory, *j->interpreters ? ", " : "", j->interpreters, *j->tags ? ", tags " : "", j->tags);
}

static void add_join(xd_engine *x, const joining *one)
{
    pthread_mutex_lock(&x->lock);
    joining *more = realloc(x->joins, (x->n_joins + 1) * sizeof(*more));
    if (more) { /* else its seat stays empty */
        x->joins = more;
        more[x->n_joins++] = *one;
    }
    pthread_mutex_unlock(&x->lock);
    xd_os_nudge(x->join_fd);
}

static void on_joined(void *arg, const xd_joined *j)
{
    xd_engine *x = arg;
    joining    one = { .says = { .gateway = j->seat, .workers = j->workers } };
    snprintf(one.host, sizeof(one.host), "%.64s", j->host);
    atomic_store(&x->came, true);
    describe(&one.says, j);
    add_join(x, &one);
}

static void on_leaves(void *arg, uint16_t seat)
{
    const joining one = { .leaves = true, .says = { .gateway = seat } };
    add_join(arg, &one);
}

/* ---- on the thread of the run ------------------------------------------------------------------------------------------- */

static bool next_join(xd_engine *x, joining *ret)
{
    pthread_mutex_lock(&x->lock);
    const bool any = x->n_joins > 0;
    if (any) {
        *ret = x->joins[0];
        memmove(x->joins, x->joins + 1, --x->n_joins * sizeof(*x->joins));
    }
    pthread_mutex_unlock(&x->lock);
    return any;
}

static bool is_taken(const xd_engine *x, const joining *one)
{
    for (size_t i = x->plan.named; i < one->says.gateway; i++)
        if (strcmp(x->plan.gateways[i].spec.target, one->host) == 0)
            return true;
    return false;
}

/* Several of one host are told apart: join=host, join=host.2, ... Another host may call itself that. */
static void name_apart(const xd_engine *x, joining *one)
{
    const size_t len = strlen(one->host);
    for (unsigned n = 2; is_taken(x, one); n++)
        snprintf(one->host + len, sizeof(one->host) - len, ".%u", n);
    snprintf(one->says.spec, sizeof(one->says.spec), "join=%s", one->host);
}

/* The scheduler hears of it before its gateway can say anything. */
static int seat_one(xd_engine *x, const joining *one, xd_error *err)
{
    const size_t i = one->says.gateway;
    xd_xspec    *spec = &x->plan.gateways[i].spec;
    xd_xspec     named = { 0 };
    XD_TRY(xd_xspec_join(&named, one->host));
    /* Nothing is brought to nodes of Slurm: they share the folder of the project. */
    if (x->config->slurm && x->config->no_sync && !(named.chdir = strdup(x->where.work))) {
        xd_xspec_release(&named);
        return -ENOMEM;
    }
    xd_xspec_release(spec);
    *spec = named;
    x->specs[i] = spec->text;
    if (x->sync_start && x->plan.gateways[i].synced)
        XD_TRY(xd_sync_start_named(x->sync_start, i, spec, x->sync.base, &x->sync_where[i]));
    XD_TRY(xd_bus_post(x->bus, "", XD_SCHEDULER_ADDRESS, XD_MSG_JOINS, &one->says, sizeof(one->says)));
    return xd_engine_start_gateway(x, i, err);
}

int xd_engine_take_joins(xd_engine *x)
{
    struct pollfd broken = { .fd = xd_bus_broken_fd(x->bus), .events = POLLIN };
    joining       one;
    if (poll(&broken, 1, 0) > 0)
        return 0;
    xd_os_hush(x->join_fd);
    while (next_join(x, &one)) {
        char     line[XD_ERROR_TEXT + 128];
        xd_error err = { 0 };
        if (one.leaves) {
            (void)!xd_bus_post(x->bus, "", XD_SCHEDULER_ADDRESS, XD_MSG_LEAVES, &one.says.gateway,
                               sizeof(one.says.gateway));
            continue;
        }
        name_apart(x, &one);
        int r = seat_one(x, &one, &err);
        if (r == 0)
            continue;
        snprintf(line, sizeof(line), "%s cannot join: %s", one.says.spec,
                 *err.text ? err.text : xd_error_name(r));
        xd_engine_say_line(x, line);
        xd_gateway_address(one.says.gateway, line, XD_ADDRESS_LEN);
        (void)!xd_bus_post(x->bus, line, XD_SCHEDULER_ADDRESS, XD_MSG_GONE, line, strlen(line));
    }
    return 1;
}

/* ---- start and end -------------------------------------------------------------------------------------------------------- */

/* tcp://HOST:PORT, or without the port, as the front wants it. Port 0 is one that the system chooses. */
static int plain_address(const char *text, char **ret, xd_error *err)
{
    const char *from = xd_address_plain(text), *zero = NULL;
    xd_error    why = { 0 };
    xd_address  at;
    if (strncmp(from, "*:", 2) == 0) /* ZeroMQ's word for all addresses */
        from++;
    const size_t len = strlen(from);
    if (len > 2 && strcmp(from + len - 2, ":0") == 0)
        zero = from + len - 1;
    xd_autofree char *checked = strdup(from);
    if (!checked)
        return -ENOMEM;
    if (zero)
        checked[zero - from] = '1';
    if (*from != ':' && xd_address_parse(&at, checked, XD_JOIN_PORT, &why) < 0)
        return xd_error_set(err, -EINVAL, "option --listen: %s", why.text);
    *ret = strdup(*from == ':' || zero ? from : at.text);
    return *ret ? 0 : -ENOMEM;
}

static int addresses(const xd_config *c, char **ret, xd_error *err)
{
    if (c->listen.count > PLACES)
        return xd_error_set(err, -EINVAL, "option --listen: it may be given %u times", PLACES);
    for (size_t i = 0; i < c->listen.count; i++)
        XD_TRY(plain_address(c->listen.at[i], &ret[i], err));
    return 0;
}

/* Where, and whose key it is. */
static int tell(xd_engine *x)
{
    const uint8_t level = XD_NOTE_NOTE;
    xd_autobuf    line = XD_BUF_INIT;
    char          print[XD_FINGERPRINT_SIZE];
    const char   *at;
    xd_listen_fingerprint(x->listen, print);
    XD_TRY(xd_buf_add(&line, &level, sizeof(level)));
    XD_TRY(xd_buf_add_str(&line, "hosts may join:"));
    for (size_t i = 0; (at = xd_listen_bound(x->listen, i)) != NULL; i++)
        XD_TRY(xd_buf_printf(&line, " tcp://%s", at));
    XD_TRY(xd_buf_printf(&line, " (run %s, key %s)", x->dir.id, print));
    return xd_bus_post(x->bus, "", XD_SCHEDULER_ADDRESS, XD_MSG_TELL, line.data, line.len);
}

static int watch(xd_engine *x)
{
    const int fds[] = { x->join_fd, xd_bus_broken_fd(x->bus) };
    x->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (x->watch_fd < 0)
        return -errno;
    for (size_t i = 0; i < XD_ARRAY_LEN(fds); i++) {
        struct epoll_event e = { .events = EPOLLIN };
        if (epoll_ctl(x->watch_fd, EPOLL_CTL_ADD, fds[i], &e) < 0)
            return -errno;
    }
    return 0;
}

int xd_engine_listen(xd_engine *x, xd_error *err)
{
    char             *bind[PLACES + 1] = { NULL };
    const char *const runs[] = { x->dir.id, x->config->run_uid, NULL };
    if (x->plan.named == x->plan.count)
        return 0;
    x->join_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (x->join_fd < 0)
        return -errno;
    int r = watch(x);
    if (r == 0)
        r = addresses(x->config, bind, err);
    if (r == 0) {
        const xd_listen_args args = { .keys = x->config->keys,
                                      .bind = (const char *const *)bind,
                                      .runs = runs,
                                      .needs = (const char *const *)x->config->require.at,
                                      .first = (uint16_t)x->plan.named,
                                      .seats = (uint16_t)(x->plan.count - x->plan.named),
                                      .output_limit = x->config->output_limit,
                                      .log = x->log,
                                      .joined = on_joined,
                                      .leaves = on_leaves,
                                      .arg = x };
        r = xd_listen_start(&x->listen, &args, err);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(bind); i++)
        free(bind[i]);
    return r < 0 ? r : tell(x);
}

void xd_engine_listen_end(xd_engine *x)
{
    x->listen = xd_listen_free(x->listen);
    if (x->join_fd >= 0)
        close(x->join_fd);
    if (x->watch_fd >= 0)
        close(x->watch_fd);
    x->join_fd = x->watch_fd = -1;
    free(x->joins);
    x->joins = NULL;
}
