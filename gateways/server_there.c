/* gateways/server_there.c - see server_there.h. */
#include "gateways/server_there.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/text.h"

#define REPORT_MS \
    90000u /* that the script may take once the pipe is open: the server makes a key, an old one closes its port */
#define REPORT_MAX 65536u
#define TURN_MS 100
#define END_MS 2000u
#define SAID_SHOWN 300u

typedef struct dialog {
    const xd_target    *target;
    xd_transport_choice choice;
    xd_pipe            *pipe;
    const volatile int *stop;
    uint64_t            until_ns; /* once it is open */
    xd_buf              said, text;
} dialog;

static void hang_up(dialog *d, uint32_t grace_ms)
{
    char how[64];
    if (d->pipe)
        d->choice.transport->hang_up(&d->pipe, grace_ms, how, sizeof(how));
}

static int pause_for(dialog *d, uint32_t want)
{
    xd_pipe_wait  w;
    struct pollfd p[XD_PIPE_FDS];
    if (d->stop && *d->stop)
        return -ECANCELED;
    d->choice.transport->wait(d->pipe, want, &w);
    for (uint32_t i = 0; i < w.n; i++)
        p[i] = (struct pollfd){ .fd = w.on[i].fd,
                                .events = (short)((w.on[i].events & XD_POLL_IN ? POLLIN : 0) |
                                                  (w.on[i].events & XD_POLL_OUT ? POLLOUT : 0)) };
    if (!w.ready)
        (void)poll(p, w.n, TURN_MS);
    return 0;
}

static int open_pipe(dialog *d, xd_error *err)
{
    xd_error why = { 0 };
    int      r = d->choice.transport->open(&d->pipe, d->target, &why);
    while (r == 0 && (r = d->choice.transport->opened(d->pipe, &why)) != 1) {
        if (r == 2)
            r = 0;
        if (r == 0)
            r = pause_for(d, XD_PIPE_READ);
    }
    if (r == -EOPNOTSUPP && d->choice.other) { /* the far end has shown that this one cannot do it */
        hang_up(d, 0);
        d->choice.transport = d->choice.other;
        d->choice.other = NULL;
        return open_pipe(d, err);
    }
    return r < 0 ? xd_error_set(err, r, "%s", *why.text ? why.text : xd_error_name(r)) : 0;
}

/* 1 = there may be more, 0 = the end. */
static int take(xd_buf *to, ssize_t (*from)(xd_pipe *, void *, size_t), xd_pipe *p)
{
    for (;;) {
        XD_TRY(xd_buf_reserve(to, 4096));
        const ssize_t n = from(p, to->data + to->len, 4096);
        if (n == -EAGAIN)
            return 1;
        if (n <= 0)
            return (int)n;
        to->len += (size_t)n;
        if (to->len > REPORT_MAX)
            return -EMSGSIZE;
    }
}

static int hear(dialog *d, xd_error *err)
{
    const xd_transport *t = d->choice.transport;
    d->until_ns = xd_clock_ns() + REPORT_MS * XD_MS_NS;
    for (;;) {
        if (t->text)
            (void)!take(&d->text, t->text, d->pipe);
        const int r = take(&d->said, t->read, d->pipe);
        if (r == 0)
            return 0;
        if (r < 0)
            return xd_error_set(err, r, "the connection broke before the host had said how it went: %s",
                                xd_error_name(r));
        if (xd_clock_ns() >= d->until_ns)
            return xd_error_set(err, -ETIMEDOUT, "the host did not say in time how it went");
        XD_TRY(pause_for(d, XD_PIPE_READ));
    }
}

/* ---- what was said ------------------------------------------------------------------------------------------- */

/* The line without its first words, if it begins with them. */
static const char *behind(const char *line, const char *words)
{
    const size_t n = strlen(words);
    return strncmp(line, words, n) == 0 ? line + n : NULL;
}

static void read_line(xd_server_report *r, const char *line, const char **failed)
{
    const struct {
        const char  *words;
        const char **to;
    } fields[] = { { "state ", &r->state },
                   { "why ", failed },
                   { "pid ", &r->pid },
                   { "file ", &r->file },
                   { "log ", &r->log },
                   { "key xdk1 ", &r->key },
                   { "fingerprint ", &r->fingerprint },
                   { "args ", &r->args } };
    size_t n = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(fields); i++)
        if (!*fields[i].to)
            *fields[i].to = behind(line, fields[i].words);
    while (r->address[n])
        n++;
    if (n < XD_SERVER_ADDRESSES)
        r->address[n] = behind(line, "listening on ");
    r->authorized |= behind(line, "authorized") != NULL;
}

static int read_report(xd_server_report *r, xd_bytes said, xd_bytes text, xd_error *err)
{
    xd_autobuf  words = XD_BUF_INIT;
    const char *failed = NULL;
    XD_TRY(xd_text_harmless(&r->said, said, true));
    XD_TRY(xd_buf_add_byte(&r->said, 0));
    for (char *at = (char *)r->said.data, *line; (line = strsep(&at, "\n")) != NULL;)
        read_line(r, line, &failed);
    if (r->state && strcmp(r->state, "failed") != 0)
        return 0;
    if (failed && *failed)
        return xd_error_set(err, -EIO, "the server cannot be started there: %s", failed);
    XD_TRY(xd_text_last_words(&words, text.len ? text : said, SAID_SHOWN));
    return xd_error_set(err, -EIO, "%s%s%s",
                        r->state ? "the server cannot be started there: it ended without a word"
                                 : "the host did not say how it went",
                        words.len ? "; it wrote: " : "", xd_buf_cstr(&words));
}

int xd_server_there_run(xd_server_report *ret, const xd_target *target, const char *ssh,
                        const volatile int *stop, xd_error *err)
{
    dialog           d = { .target = target, .stop = stop };
    xd_server_report report = XD_SERVER_REPORT_INIT;
    int              r = xd_transport_choose(&d.choice, target->spec, ssh, err);
    if (r == 0)
        r = open_pipe(&d, err);
    if (r == 0)
        r = hear(&d, err);
    hang_up(&d, r == 0 ? END_MS : 0);
    if (r == 0)
        r = read_report(&report, xd_buf_view(&d.said), xd_buf_view(&d.text), err);
    xd_buf_release(&d.said);
    xd_buf_release(&d.text);
    if (r < 0)
        xd_server_report_release(&report);
    else
        *ret = report;
    return r;
}

void xd_server_report_release(xd_server_report *r)
{
    xd_buf_release(&r->said);
    *r = XD_SERVER_REPORT_INIT;
}
