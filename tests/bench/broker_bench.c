/* Cost of a message through the broker, of a journaled one, and of reading the journal: prints one line each.
 * Not a test: no limits. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/broker.h"

#define PING 0x5001
#define AHEAD \
    5000u /* messages under way: more would fill the queue of the receiver, who then counts as gone */

typedef struct sink {
    sem_t    all;
    uint32_t want, got; /* got: atomic */
} sink;

typedef struct source {
    uint32_t  count, sent;
    uint16_t  flags;
    size_t    len;
    sink     *to;
    xd_actor *actor;
} source;

static int on_message(void *state, const xd_msg *in)
{
    sink *s = *(sink **)state;
    (void)in;
    if (__atomic_add_fetch(&s->got, 1, __ATOMIC_RELAXED) == s->want)
        sem_post(&s->all);
    return 0;
}

static int sink_init(void *state, xd_actor *actor, const void *args)
{
    (void)actor;
    *(sink **)state = (sink *)(uintptr_t)args;
    return 0;
}

/* Acknowledgements. */
static int ignore(void *state, const xd_msg *in)
{
    (void)state;
    (void)in;
    return 0;
}

static void no_fini(void *state)
{
    (void)state;
}

static int source_init(void *state, xd_actor *actor, const void *args)
{
    source *s = *(source **)state = (source *)(uintptr_t)args;
    s->actor = actor;
    return xd_actor_set_tick(actor, 1);
}

static int source_tick(void *state)
{
    source *s = *(source **)state;
    while (s->sent < s->count) {
        if (s->sent - __atomic_load_n(&s->to->got, __ATOMIC_RELAXED) >= AHEAD)
            return 0;
        uint8_t body[4096] = { 0 };
        xd_auto(xd_msg) *m = NULL;
        xd_frame f = { .len = (uint32_t)(s->len - XD_FRAME_HEADER),
                       .type = XD_MSG_RESULTS,
                       .seq = s->sent + 1 };
        xd_wire_put_header(body, &f);
        XD_TRY(xd_msg_new(&m, PING, body, s->len));
        m->flags = s->flags;
        int r = xd_actor_send(s->actor, "sink", &m);
        if (r == -EAGAIN)
            return 0; /* at the next tick */
        XD_TRY(r);
        s->sent++;
    }
    return xd_actor_set_tick(s->actor, 0);
}

static const xd_actor_spec sink_spec = { .name = "sink",
                                         .size = sizeof(sink *),
                                         .window = 65536,
                                         .init = sink_init,
                                         .fini = no_fini,
                                         .other = on_message };
static const xd_actor_spec source_spec = { .name = "source",
                                           .size = sizeof(source *),
                                           .window = 65536,
                                           .init = source_init,
                                           .tick = source_tick,
                                           .fini = no_fini,
                                           .other = ignore };

static void fail(const char *what, int r)
{
    fprintf(stderr, "broker_bench: %s: %s\n", what, xd_error_name(r));
    exit(1);
}

static void run(const char *name, const char *path, uint32_t count, size_t len)
{
    xd_bus            *bus = NULL;
    xd_broker         *broker = NULL;
    xd_journal        *journal = NULL;
    xd_actor          *a = NULL, *b = NULL;
    xd_error           err;
    sink               to = { .want = count };
    source             from = { .count = count, .flags = path ? XD_FLAG_JOURNAL : 0, .len = len, .to = &to };
    int                reason;
    xd_broker_run_args run = { .id = "0123456789abcdef0123456789abcdef",
                               .owner = "sched",
                               .journal = &journal };
    sem_init(&to.all, 0, 0);
    int r = path ? xd_journal_open(&journal, path, "0123456789abcdef0123456789abcdef", false, &err) : 0;
    if (r == 0)
        r = xd_broker_start(&broker, NULL, &err);
    if (r == 0)
        r = xd_broker_open(broker, &run, &bus, &err);
    if (r == 0)
        r = xd_actor_start(&b, bus, &sink_spec, "sink", &to, &err);
    uint64_t since = xd_clock_ns(), cpu = xd_clock_cpu_us();
    if (r == 0)
        r = xd_actor_start(&a, bus, &source_spec, "source", &from, &err);
    if (r < 0)
        fail(name, r);
    sem_wait(&to.all);
    double ns = (double)(xd_clock_ns() - since) / count,
           cpu_ns = (double)(xd_clock_cpu_us() - cpu) * 1000 / count;
    printf("%-34s %9.0f messages/s  %6.0f ns/message  %6.0f ns CPU/message\n", name, 1e9 / ns, ns, cpu_ns);
    xd_actor *all[] = { a, b };
    for (int i = 0; i < 2; i++) {
        xd_actor_ask_stop(all[i]);
        if (xd_actor_join(all[i], xd_clock_ns() + 10 * XD_S_NS, &reason) == 0)
            xd_actor_free(all[i]);
    }
    xd_broker_stop(broker);
    xd_bus_free(bus);
    sem_destroy(&to.all);
}

int main(void)
{
    char path[] = "/var/tmp/xd-bench-XXXXXX";
    int  fd = mkstemp(path);
    if (fd < 0)
        fail(path, -errno);
    close(fd);
    unlink(path);
    run("message of 64 bytes", NULL, 300000, 64);
    run("message of 4 KiB", NULL, 200000, 4096);
    run("journaled message of 64 bytes", path, 200000, 64);
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f;
    uint32_t           n = 0;
    if (xd_journal_reader_open(&r, path, &err) < 0)
        fail(err.text, err.code);
    uint64_t since = xd_clock_ns();
    while (xd_journal_reader_next(r, &f, NULL) == 1)
        n++;
    uint64_t took = xd_clock_ns() - since;
    printf("%-34s %9.0f records/s   %6.0f ns/record\n", "reading the journal", n * 1e9 / (double)took,
           (double)took / n);
    xd_journal_reader_close(r);
    unlink(path);
    return 0;
}
