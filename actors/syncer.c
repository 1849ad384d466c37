/* actors/syncer.c - see syncer.h. */
#include "actors/syncer.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/text.h"

#define SYNCER_MAGIC 0x57ce4001u
#define PROGRESS_NS (500 * XD_MS_NS)
#define LINE_MAX_BYTES 2000u
#define SAID_MAX 200u    /* lines of one host: more is not worth reading */
#define LEFT_OUT_MAX 20u /* lines about what is not brought */

struct syncer;

/* What its thread writes is read by the actor after the thread was joined. */
typedef struct host {
    struct syncer *syncer;
    uint16_t       number;
    bool           running; /* the thread was started and not joined */
    pthread_t      thread;
    int            fd;      /* of the thread */
    int            next_fd; /* a link that came while the thread of the one before had not ended; -1 = none */
    bool           zstd, next_zstd;
    bool           over; /* it was told how it went */
    uint64_t       progress_ns;
    uint32_t       said;
    xd_synced      outcome;
} host;

typedef struct syncer {
    uint32_t       magic;
    xd_actor      *actor; /* borrowed; outlives us */
    xd_syncer_args args;
    host          *hosts;
    int            stop; /* looked at by the threads */
    bool           told; /* what is not brought was told */
} syncer;

/* A line of a thread, as the body of SYNC_SAYS. */
typedef struct said {
    uint16_t number;
    uint8_t  level;
} said;

/* How far it is, as the body of SYNC_FAR. */
typedef struct said_progress {
    uint16_t number;
    uint32_t brought, to_bring;
    uint64_t bytes;
} said_progress;

/* ---- the threads ------------------------------------------------------------------------------------------- */

static void on_say(void *arg, uint8_t level, xd_bytes text)
{
    host      *h = arg;
    xd_autobuf body = XD_BUF_INIT;
    said       head = { .number = h->number, .level = level };
    if (h->said++ >= SAID_MAX)
        return;
    text.len = XD_MIN(text.len, (size_t)LINE_MAX_BYTES);
    if (xd_buf_add(&body, &head, sizeof(head)) == 0 && xd_text_harmless(&body, text, false) == 0)
        (void)!xd_bus_post(h->syncer->args.bus, XD_SYNCER_ADDRESS, XD_SYNCER_ADDRESS, XD_MSG_SYNC_SAYS,
                           body.data, body.len); /* one that finds no room is lost */
}

static void on_change(void *arg, uint8_t type, uint8_t was, xd_bytes path)
{
    const host *h = arg;
    if (h->syncer->args.change)
        h->syncer->args.change(h->syncer->args.arg, h->number, type, was, path);
}

static void on_progress(void *arg, const xd_sync_counts *so_far)
{
    host          *h = arg;
    const uint64_t now = xd_clock_ns();
    if (now < h->progress_ns)
        return;
    h->progress_ns = now + PROGRESS_NS;
    if (h->syncer->args.progress)
        h->syncer->args.progress(h->syncer->args.arg, h->number, so_far);
    const said_progress body = { .number = h->number,
                                 .brought = (uint32_t)so_far->sent_files,
                                 .to_bring = (uint32_t)so_far->wanted_files,
                                 .bytes = so_far->sent_bytes };
    if (h->syncer->args.live)
        (void)!xd_bus_post(h->syncer->args.bus, XD_SYNCER_ADDRESS, XD_SYNCER_ADDRESS, XD_MSG_SYNC_FAR, &body,
                           sizeof(body));
}

static void *send_thread(void *arg)
{
    host                   *h = arg;
    const xd_syncer_target *t = &h->syncer->args.targets[h->number];
    xd_error                err = { 0 };
    const xd_send_args      args = { .source = h->syncer->args.source,
                                     .fd = h->fd,
                                     .key = t->key,
                                     .folder = t->folder,
                                     .flags = t->flags,
                                     .zstd = h->zstd,
                                     .stop = &h->syncer->stop,
                                     .say = on_say,
                                     .change = on_change,
                                     .progress = on_progress,
                                     .arg = h };
    pthread_setname_np(pthread_self(), "xd-sync");
    h->outcome = (xd_synced){ 0 };
    h->outcome.result = xd_send(&args, &h->outcome.counts, &err);
    snprintf(h->outcome.text, sizeof(h->outcome.text), "%s",
             *err.text || !h->outcome.result ? err.text : xd_error_name(h->outcome.result));
    close(
        h->fd); /* the gateway sees that it is over; the number is not used again before this thread was joined */
    (void)!xd_bus_post(h->syncer->args.bus, XD_SYNCER_ADDRESS, XD_SYNCER_ADDRESS, XD_MSG_SYNC_ENDED,
                       &h->number, sizeof(h->number));
    return NULL;
}

static int start(syncer *self, host *h, int fd, bool zstd)
{
    sigset_t all, old;
    h->fd = fd;
    h->zstd = zstd;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = -pthread_create(&h->thread, NULL, send_thread, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    h->running = r == 0;
    if (r < 0) {
        close(fd);
        xd_log_write(xd_actor_log(self->actor), XD_LOG_ERROR, "syncer: no thread: %s", xd_error_name(r));
    }
    return r;
}

/* ---- messages ------------------------------------------------------------------------------------------------ */

static int tell(syncer *self, const host *h, uint16_t type, const void *body, size_t len)
{
    xd_auto(xd_msg) *m = NULL;
    XD_TRY(xd_msg_new(&m, type, body, len));
    m->gateway = h->number;
    return xd_actor_send(self->actor, self->args.to, &m);
}

static int note(syncer *self, const host *h, uint8_t level, xd_bytes text)
{
    xd_autobuf body = XD_BUF_INIT;
    XD_TRY(xd_buf_add_byte(&body, level));
    XD_TRY(xd_buf_printf(&body, "%s: ", self->args.targets[h->number].spec));
    XD_TRY(xd_buf_add_bytes(&body, text));
    return tell(self, h, XD_MSG_SYNC_NOTE, body.data, body.len);
}

/* What the scan left out, once for all hosts: `lines` are of NUL. */
static int tell_left_out(syncer *self, const host *h, uint8_t level, const xd_buf *lines)
{
    size_t n = 0;
    for (size_t at = 0; at < lines->len; n++) {
        xd_autobuf  body = XD_BUF_INIT;
        const char *line = (const char *)lines->data + at;
        at += strlen(line) + 1;
        if (n >= LEFT_OUT_MAX)
            continue;
        XD_TRY(xd_buf_add_byte(&body, level));
        XD_TRY(xd_buf_add_str(&body, "not brought: "));
        XD_TRY(xd_text_harmless(&body, xd_bytes_str(line), false));
        XD_TRY(tell(self, h, XD_MSG_SYNC_NOTE, body.data, body.len));
    }
    if (n <= LEFT_OUT_MAX)
        return 0;
    xd_autobuf more = XD_BUF_INIT;
    XD_TRY(xd_buf_add_byte(&more, level));
    XD_TRY(xd_buf_printf(&more, "not brought: %zu more", n - LEFT_OUT_MAX));
    return tell(self, h, XD_MSG_SYNC_NOTE, more.data, more.len);
}

static int tell_scan(syncer *self, const host *h)
{
    const xd_scan_result *scan = NULL;
    if (self->told || xd_source_scanned(self->args.source, &scan, NULL) < 0)
        return 0;
    self->told = true;
    return tell_left_out(self, h, XD_NOTE_WARNING, &scan->left_out);
}

static host *host_of(syncer *self, uint16_t number)
{
    return number < self->args.count ? &self->hosts[number] : NULL;
}

static int handle_link(void *state, const xd_msg *m)
{
    syncer      *self = XD_CAST(state, syncer, SYNCER_MAGIC);
    host        *h = host_of(self, m->gateway);
    xd_sync_link link;
    if (m->body.len != sizeof(link))
        return -EINVAL;
    memcpy(&link, m->body.ptr, sizeof(link));
    if (!h || h->over || !self->args.targets[m->gateway].spec) {
        close(link.fd);
        return 0;
    }
    if (!h->running)
        return start(self, h, link.fd, link.zstd);
    /* The thread of the connection that was cut ends by itself: its socket has ended. */
    if (h->next_fd >= 0)
        close(h->next_fd);
    h->next_fd = link.fd;
    h->next_zstd = link.zstd;
    return 0;
}

static int handle_ended(void *state, const xd_msg *m)
{
    syncer  *self = XD_CAST(state, syncer, SYNCER_MAGIC);
    uint16_t number = UINT16_MAX;
    if (m->body.len == sizeof(number))
        memcpy(&number, m->body.ptr, sizeof(number));
    host *h = host_of(self, number);
    if (!h || !h->running)
        return 0;
    pthread_join(h->thread, NULL);
    h->running = false;
    const int fd = h->next_fd;
    h->next_fd = -1;
    if (h->outcome.result ==
        -EPIPE) /* cut: the gateway brings another link, or tells that its agent is lost */
        return fd >= 0 ? start(self, h, fd, h->next_zstd) : 0;
    if (fd >= 0)
        close(fd);
    h->over = true;
    XD_TRY(tell_scan(self, h));
    if (h->outcome.result == 0) {
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(xd_synced_text(&text, &h->outcome));
        XD_TRY(note(self, h, XD_NOTE_DETAIL, xd_buf_view(&text)));
    }
    return tell(self, h, XD_MSG_SYNCED, &h->outcome, sizeof(h->outcome));
}

static int handle_says(void *state, const xd_msg *m)
{
    syncer *self = XD_CAST(state, syncer, SYNCER_MAGIC);
    said    head;
    if (m->body.len < sizeof(head))
        return 0;
    memcpy(&head, m->body.ptr, sizeof(head));
    const host *h = host_of(self, head.number);
    return h ? note(self, h, head.level, (xd_bytes){ m->body.ptr + sizeof(head), m->body.len - sizeof(head) })
             : 0;
}

static int handle_far(void *state, const xd_msg *m)
{
    syncer       *self = XD_CAST(state, syncer, SYNCER_MAGIC);
    said_progress in;
    xd_autobuf    frame = XD_BUF_INIT;
    xd_auto(xd_msg) *out = NULL;
    if (m->body.len != sizeof(in) || !self->args.live)
        return 0;
    memcpy(&in, m->body.ptr, sizeof(in));
    const xd_wire_PROGRESS p = { .brought = in.brought, .to_bring = in.to_bring, .brought_bytes = in.bytes };
    XD_TRY(xd_wire_PROGRESS_frame(&frame, 0, 0, &p));
    XD_TRY(xd_msg_new_take(&out, XD_MSG_PROGRESS, &frame));
    out->gateway = in.number;
    return xd_actor_send(self->actor, self->args.live, &out);
}

static int handle_nothing(void *state, const xd_msg *m)
{
    (void)state;
    (void)m;
    return 0;
}

/* ---- the actor ------------------------------------------------------------------------------------------------- */

static int syncer_init(void *state, xd_actor *actor, const void *args)
{
    syncer *self = state;
    *self = (syncer){ .magic = SYNCER_MAGIC, .actor = actor, .args = *(const xd_syncer_args *)args };
    self->hosts = calloc(self->args.count ? self->args.count : 1, sizeof(*self->hosts));
    if (!self->hosts)
        return -ENOMEM;
    for (uint16_t i = 0; i < self->args.count; i++)
        self->hosts[i] = (host){ .syncer = self, .number = i, .next_fd = -1 };
    return 0;
}

static void syncer_fini(void *state)
{
    syncer *self = state;
    if (self->magic != SYNCER_MAGIC)
        return;
    __atomic_store_n(&self->stop, 1, __ATOMIC_RELEASE);
    xd_source_stop(self->args.source);
    for (uint16_t i = 0; self->hosts && i < self->args.count; i++) {
        if (self->hosts[i].next_fd >= 0)
            close(self->hosts[i].next_fd);
        if (self->hosts[i].running)
            pthread_join(self->hosts[i].thread, NULL);
    }
    free(self->hosts);
}

const xd_actor_spec xd_syncer_spec = {
    .name = "xd-syncer",
    .size = sizeof(syncer),
    .window = 65536,
    .init = syncer_init,
    .fini = syncer_fini,
    .handlers = (const xd_handler[]){ { XD_MSG_SYNC_LINK, handle_link },
                                      { XD_MSG_SYNC_ENDED, handle_ended },
                                      { XD_MSG_SYNC_SAYS, handle_says },
                                      { XD_MSG_SYNC_FAR, handle_far },
                                      { 0 } },
    .other = handle_nothing,
};

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static int add_bytes(xd_buf *out, uint64_t bytes)
{
    static const char *const units[] = { "kB", "MB", "GB", "TB" };
    double                   n = (double)bytes / 1000.0;
    size_t                   u = 0;
    if (bytes < 1000)
        return xd_buf_printf(out, "%" PRIu64 " bytes", bytes);
    while (n >= 999.95 && u + 1 < XD_ARRAY_LEN(units)) {
        n /= 1000.0;
        u++;
    }
    return xd_buf_printf(out, "%.1f %s", n, units[u]);
}

int xd_synced_text(xd_buf *out, const xd_synced *s)
{
    const xd_sync_counts *c = &s->counts;
    XD_TRY(xd_buf_printf(out, "%" PRIu64 " file%s, ", c->files, c->files == 1 ? "" : "s"));
    XD_TRY(add_bytes(out, c->bytes));
    if (!c->written && !c->removed)
        XD_TRY(xd_buf_add_str(out, ": nothing to do"));
    else
        XD_TRY(xd_buf_printf(out, ": %" PRIu64 " written, %" PRIu64 " removed, ", c->written, c->removed));
    if (c->written || c->removed) {
        XD_TRY(add_bytes(out, c->wire_bytes));
        XD_TRY(xd_buf_add_str(out, " sent"));
    }
    return xd_buf_printf(out, ", %.2f s", (double)c->duration_ns / (double)XD_S_NS);
}
