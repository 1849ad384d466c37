/* gateways/cmdpipe.c - see cmdpipe.h. */
#include "gateways/cmdpipe.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/deliver.h"
#include "gateways/fdpipe.h"

#define CMDPIPE_MAGIC 0xc0333a4du
#define TEXT_KEPT 4096u
#define TEXT_SHOWN 400u
#define LAST_WORDS_NS (500 * XD_MS_NS) /* that standard error may come later than the end of the pipe */

typedef struct cmdpipe {
    xd_pipe     pipe;
    uint32_t    magic;
    char      **argv;    /* owned, with its words */
    xd_deliver *deliver; /* NULL = it leads to an agent */
    xd_pipe    *first;   /* fdpipe: the process that the agent came with */
    xd_pipe    *other;   /* the same of another pipe to that agent; NULL = the first is in use */
    bool        open;
    bool        ran;       /* it was open once: there is an agent */
    xd_buf      said;      /* on standard error while it opens */
    size_t      said_read; /* of that, by `text` */
    uint64_t    words_ns;  /* it failed, and its last words are awaited until then. 0 = it has not failed */
    xd_error    failed;
    uint32_t    timeout_ms; /* to open it; 0 = whoever opens it has one */
    uint64_t    late_ns;    /* when that is over, but for the time to say so */
} cmdpipe;

static cmdpipe *of(xd_pipe *p)
{
    return XD_CAST(p, cmdpipe, CMDPIPE_MAGIC);
}

static xd_pipe *in_use(const cmdpipe *c)
{
    return c->other ? c->other : c->first;
}

static void set_deadline(cmdpipe *c)
{
    const uint64_t most = c->timeout_ms - XD_MIN(c->timeout_ms / 10u, 500u);
    c->late_ns = c->timeout_ms ? xd_clock_ns() + most * XD_MS_NS : UINT64_MAX;
}

/* ---- a process and its pipe -------------------------------------------------------------------------------- */

static int start(xd_pipe **ret, const cmdpipe *c, xd_error *err)
{
    int              pair[2], r;
    xd_autoclose int in_ours = -1, in_theirs = -1, out_ours = -1, out_theirs = -1, text_ours = -1,
                     text_theirs = -1;
    if ((r = xd_os_pipe(pair, 1, 0)) == 0) {
        in_theirs = pair[0];
        in_ours = pair[1];
        r = xd_os_pipe(pair, 0, 0);
    }
    if (r == 0) {
        out_ours = pair[0];
        out_theirs = pair[1];
        r = xd_os_pipe(pair, 0, 0);
    }
    if (r < 0)
        return xd_error_set(err, r, "no descriptors: %s", xd_error_name(r));
    text_ours = pair[0];
    text_theirs = pair[1];
    const xd_proc_fd fds[] = { { in_theirs, 0 }, { out_theirs, 1 }, { text_theirs, 2 } };
    xd_proc_args     args = {
            .argv = (const char *const *)c->argv, .fds = fds, .nfds = XD_ARRAY_LEN(fds), .new_group = true
    };
    xd_fdpipe_parts parts = {
        .in = out_ours, .out = in_ours, .text = text_ours, .redial = -1, .proc = { .pidfd = -1 }
    };
    XD_TRY(xd_proc_spawn(&args, &parts.proc, err));
    r = xd_fdpipe_new(ret, c->pipe.transport, &parts);
    if (r < 0) {
        xd_proc_status status;
        (void)xd_proc_kill_group(&parts.proc, SIGKILL); /* nothing was asked of it yet */
        (void)!xd_proc_wait(&parts.proc, true, &status);
        xd_proc_close(&parts.proc);
        return r;
    }
    in_ours = out_ours = text_ours = -1;
    return 0;
}

static void free_it(cmdpipe *c)
{
    c->deliver = xd_deliver_free(c->deliver);
    xd_buf_release(&c->said);
    free(c->argv);
    free(c);
}

int xd_cmdpipe_open(xd_pipe **ret, const xd_transport *transport, const char *const *argv, bool direct,
                    const xd_target *target, xd_error *err)
{
    cmdpipe *c = calloc(1, sizeof(*c));
    if (!c)
        return xd_error_set(err, -ENOMEM, "out of memory");
    *c = (cmdpipe){ .pipe = { transport }, .magic = CMDPIPE_MAGIC, .timeout_ms = target->timeout_ms };
    set_deadline(c);
    const xd_words words = xd_words_of(argv);
    int            r = xd_text_words_join(&words, 1, &c->argv);
    if (r == 0 && !direct)
        r = xd_deliver_new(&c->deliver, target, err);
    if (r == 0)
        r = start(&c->first, c, err);
    if (r < 0) {
        free_it(c);
        return r;
    }
    *ret = &c->pipe;
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

static ssize_t inner_read(void *arg, void *to, size_t room)
{
    return xd_fdpipe_read(in_use(arg), to, room);
}

static ssize_t inner_write(void *arg, const void *from, size_t len)
{
    return xd_fdpipe_write(in_use(arg), from, len);
}

/* What there is on standard error now, into `said`. 0 = its end, 1 = there may be more. */
static int listen_to(cmdpipe *c)
{
    char text[1024];
    for (;;) {
        ssize_t n = xd_fdpipe_text(in_use(c), text, sizeof(text));
        if (n == -EAGAIN)
            return 1;
        if (n <= 0)
            return 0;
        XD_TRY(xd_buf_add(&c->said, text, (size_t)n));
        if (c->said.len > TEXT_KEPT)
            xd_buf_consume(&c->said, c->said.len - TEXT_KEPT);
    }
}

/* It failed: said with what the command has written, once that has come. */
static int fail_late(cmdpipe *c, xd_error *err)
{
    xd_autobuf text = XD_BUF_INIT;
    int        more = listen_to(c);
    XD_TRY(more);
    if (more && xd_clock_ns() < c->words_ns)
        return 0;
    XD_TRY(xd_text_last_words(&text, xd_buf_view(&c->said), TEXT_SHOWN));
    return xd_error_set(err, c->failed.code, "%s%s%s", c->failed.text,
                        text.len ? "; the command wrote: " : "", text.len ? xd_buf_cstr(&text) : "");
}

int xd_cmdpipe_opened(xd_pipe *p, xd_error *err)
{
    cmdpipe            *c = of(p);
    const xd_deliver_io io = { c, inner_read, inner_write };
    if (c->words_ns)
        return fail_late(c, err);
    XD_TRY(c->open ? 0 : listen_to(c));
    int r = c->deliver ? xd_deliver_step(c->deliver, &io, &c->failed) : 1;
    if (r > 0)
        c->open = c->ran = true;
    if (r == 0 && xd_clock_ns() >= c->late_ns)
        r = xd_deliver_late(c->deliver, &c->failed);
    if (r >= 0)
        return r;
    c->failed.code = r;
    if (!*c->failed.text)
        (void)xd_error_set(&c->failed, r, "%s", xd_error_name(r));
    if (r == -ESRCH)
        return xd_error_set(err, r, "%s", c->failed.text);
    /* What does not end in time has said all it has to say. */
    c->words_ns = xd_clock_ns() + (r == -ETIMEDOUT ? 0 : LAST_WORDS_NS);
    return fail_late(c, err);
}

int xd_cmdpipe_reopen(xd_pipe *p, xd_error *err)
{
    cmdpipe *c = of(p);
    xd_fdpipe_close(in_use(c)); /* the first process stays: it may be the agent's parent */
    if (!c->deliver || !c->ran)
        return -ESRCH;
    if (c->other)
        xd_fdpipe_hang_up(&c->other, 0, NULL, 0);
    c->open = false;
    c->said_read = 0;
    xd_buf_clear(&c->said);
    set_deadline(c);
    c->words_ns = 0;
    c->failed = (xd_error){ 0 };
    XD_TRY(xd_deliver_again(c->deliver, err));
    return start(&c->other, c, err);
}

/* ---- open -------------------------------------------------------------------------------------------------- */

void xd_cmdpipe_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret)
{
    cmdpipe     *c = of(p);
    xd_pipe_wait first;
    if (!c->open)
        want = c->words_ns ? 0 : c->deliver ? xd_deliver_wants(c->deliver) : XD_PIPE_READ;
    xd_fdpipe_wait(in_use(c), want, ret);
    if (c->open && (want & XD_PIPE_READ) && c->deliver && xd_deliver_left(c->deliver))
        ret->ready |= XD_PIPE_READ;
    if (c->open && c->said_read < c->said.len)
        ret->ready |= XD_PIPE_TEXT;
    if (!c->other)
        return;
    xd_fdpipe_wait(c->first, 0, &first); /* the agent writes there still */
    for (uint32_t i = 0; i < first.n && ret->n < XD_PIPE_FDS; i++)
        ret->on[ret->n++] = first.on[i];
}

ssize_t xd_cmdpipe_read(xd_pipe *p, void *to, size_t room)
{
    cmdpipe *c = of(p);
    size_t   n = c->deliver ? xd_deliver_rest(c->deliver, to, room) : 0;
    return n ? (ssize_t)n : xd_fdpipe_read(in_use(c), to, room);
}

ssize_t xd_cmdpipe_write(xd_pipe *p, const void *from, size_t len)
{
    return xd_fdpipe_write(in_use(of(p)), from, len);
}

ssize_t xd_cmdpipe_text(xd_pipe *p, void *to, size_t room)
{
    cmdpipe *c = of(p);
    ssize_t  from_first = c->other ? xd_fdpipe_text(c->first, to, room) : 0;
    if (from_first > 0)
        return from_first;
    if (!c->open) { /* not said yet: perhaps it belongs to a message */
        int r = listen_to(c);
        return r < 0 ? r : -EAGAIN;
    }
    size_t n = XD_MIN(room, c->said.len - c->said_read);
    if (n) {
        memcpy(to, c->said.data + c->said_read, n);
        c->said_read += n;
        return (ssize_t)n;
    }
    ssize_t got = xd_fdpipe_text(in_use(c), to, room);
    return got == 0 ? from_first : got;
}

void xd_cmdpipe_close(xd_pipe *p)
{
    cmdpipe *c = of(p);
    xd_fdpipe_close(c->first);
    if (c->other)
        xd_fdpipe_close(c->other);
}

void xd_cmdpipe_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size)
{
    cmdpipe *c = of(*p);
    char     end[128] = "";
    xd_cmdpipe_close(*p);
    if (!c->ran)
        xd_fdpipe_kill_group(c->first, SIGTERM); /* it may have started others on its way */
    xd_fdpipe_hang_up(&c->first, grace_ms, end, sizeof(end));
    if (c->other) /* it ends with the agent */
        xd_fdpipe_hang_up(&c->other, XD_MIN(grace_ms, 300u), NULL, 0);
    if (how_size)
        snprintf(how, how_size, "%s%s", *end ? "the command" : "", *end ? end + strlen("the agent") : "");
    free_it(c);
    *p = NULL;
}
