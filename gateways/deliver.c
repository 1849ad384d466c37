/* gateways/deliver.c - see deliver.h; what runs at the far end is in deliver_script.h, and in server_script.h.
 *
 *   ASKING: the script is written, its answers are read -> SENDING: bytes of an agent, for as often as it asks -> ASKING
 *   -> (when another pipe is taken to the agent) ATTACHING -> RUNNING */
#include "gateways/deliver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/buf.h"
#include "engine/base/text.h"
#include "gateways/agent_files.h"
#include "gateways/far_script.h"
#include "gateways/deliver_script.h"
#include "gateways/server_script.h"
#include "gateways/server_there.h"

#define READ_BYTES 4096u
#define SEND_BYTES (64u * 1024u)
#define NOISE_MAX (1u << 20) /* skipped in front of an answer */
#define NOISE_SHOWN 300u
#define LINE_MAX_BYTES 8192u
#define DEFAULT_S 20u
#define MORE_S 10u  /* the script waits longer for bytes than this end takes to give up sending them */
#define SENT_MAX 5u /* uploads: one for each folder that may be tried */
#define ID_BYTES 16u

typedef enum deliver_state { ASKING, ATTACHING, RUNNING, FAILED } deliver_state;

struct xd_deliver {
    deliver_state    state;
    xd_agent_files   files;
    char            *agent; /* that the user named; NULL = one of files */
    uint64_t         output_limit;
    uint32_t         limit_s;                                      /* that the far end may wait for bytes */
    char             id[2 * ID_BYTES + 1], mark[2 * ID_BYTES + 5]; /* "xd:ID:", in front of each answer */
    bool             again;
    xd_agent_reader *reader; /* of what is sent now; NULL = nothing is */
    xd_buf           out;    /* to be written */
    bool             deaf;   /* the far end takes no more */
    uint32_t         sent;
    xd_buf           in;          /* read and not looked at; once the agent runs, its own bytes */
    xd_buf           noise;       /* the end of what came that was no answer */
    size_t           noise_bytes; /* since the last answer */

    const xd_server_there *server; /* instead of an agent; of the target */
};

/* ---- what is written --------------------------------------------------------------------------------------- */

/* offer SYSTEM: what there is for it, as variables. */
static int add_offer(xd_buf *out, const xd_agent_files *files)
{
    XD_TRY(xd_buf_add_str(out, "offer() { case $1 in\n"));
    for (size_t i = 0; i < files->count; i++) {
        const xd_agent_file *f = &files->at[i];
        const char          *also = strcmp(f->arch, "x86_64") == 0 ? "amd64" : "arm64";
        XD_TRY(xd_buf_printf(out,
                             "\"Linux %s\"|\"Linux %s\") arch=%s sha=%s crc=%" PRIu32 " raw=%" PRIu64
                             " gz=%" PRIu64 " xz=%" PRIu64 ";;\n",
                             f->arch, also, f->arch, f->sha256, f->cksum, f->size[XD_AGENT_RAW],
                             f->size[XD_AGENT_GZ], f->size[XD_AGENT_XZ]));
    }
    return xd_buf_add_str(out, "*) return 1;; esac; }\n");
}

/* What comes behind the four arguments that all scripts have. */
static int add_arguments(xd_deliver *d)
{
    const xd_server_there *s = d->server;
    if (!s) {
        XD_TRY(xd_buf_printf(&d->out, " %s %s", d->again ? "--attach" : "--reconnect", d->id));
        return d->again || d->output_limit == XD_OUTPUT_DEFAULT
                   ? 0
                   : xd_buf_printf(&d->out, " --output-limit %" PRIu64, d->output_limit);
    }
    const char *const first[] = { s->verb, s->key_line ? s->key_line : "", s->keys ? s->keys : "" };
    const xd_words    words[] = { { first, XD_ARRAY_LEN(first) },
                               s->args ? xd_words_of(s->args) : (xd_words){ NULL, 0 } };
    for (size_t i = 0; i < XD_ARRAY_LEN(words); i++)
        for (size_t k = 0; k < words[i].n; k++) {
            XD_TRY(xd_buf_add_byte(&d->out, ' '));
            XD_TRY(xd_text_shell_quote(&d->out, words[i].at[k]));
        }
    return 0;
}

/* One command: a shell may read on for as long as its buffer takes, so nothing is written behind it before it has answered. */
static int ask(xd_deliver *d)
{
    static const char *const agent[] = { far_begin,   agent_named, far_system,
                                         agent_there, far_bring,   agent_place };
    static const char *const server[] = { far_begin,    server_begin, far_system,
                                          server_there, far_bring,    server_start };
    const char *const       *parts = d->server ? server : agent;
    static_assert(XD_ARRAY_LEN(agent) == XD_ARRAY_LEN(server), "one loop");
    xd_buf_clear(&d->out);
    /* Empty lines first: a profile that reads an answer gets one of them. */
    XD_TRY(xd_buf_add_str(&d->out, "\n\n\nexec /bin/sh -c '"));
    XD_TRY(add_offer(&d->out, &d->files));
    for (size_t i = 0; i < XD_ARRAY_LEN(agent); i++)
        XD_TRY(xd_buf_add_str(&d->out, parts[i]));
    XD_TRY(xd_buf_printf(&d->out, "' xd %s %s ", d->id, XD_BUILD_ID));
    XD_TRY(xd_text_shell_quote(&d->out, d->agent ? d->agent : ""));
    XD_TRY(xd_buf_printf(&d->out, " %u", (unsigned)d->limit_s));
    XD_TRY(add_arguments(d));
    return xd_buf_add_str(&d->out, "\n");
}

static int write_out(xd_deliver *d, const xd_deliver_io *io)
{
    while (!d->deaf) {
        if (d->out.len == 0 && d->reader) {
            XD_TRY(xd_buf_reserve(&d->out, SEND_BYTES));
            int n = xd_agent_file_read(d->reader, d->out.data, SEND_BYTES);
            XD_TRY(n);
            d->out.len = (size_t)n;
            if (n == 0)
                d->reader = xd_agent_file_close(d->reader);
        }
        if (d->out.len == 0)
            return 0;
        ssize_t n = io->write(io->arg, d->out.data, d->out.len);
        if (n == -EAGAIN)
            return 0;
        if (n == -EPIPE || n == -ECONNRESET)
            d->deaf = true; /* what it has said before that tells why */
        else if (n < 0)
            return (int)n;
        else
            xd_buf_consume(&d->out, (size_t)n);
    }
    return 0;
}

/* ---- what is said when it fails ---------------------------------------------------------------------------- */

static const char *what_of(const xd_deliver *d)
{
    return d->server ? "server" : "agent";
}

static int fail(xd_deliver *d, int code, xd_error *err, const char *what, xd_bytes words, const char *end)
{
    xd_autobuf text = XD_BUF_INIT;
    d->state = FAILED;
    XD_TRY(xd_text_harmless(&text, words, false));
    return xd_error_set(err, code, "%s%s%s", what, xd_buf_cstr(&text), end);
}

/* With the last that the far end has said. */
static int fail_saying(xd_deliver *d, int code, xd_error *err, const char *what)
{
    char   begin[200];
    xd_buf said = XD_BUF_INIT;
    int    r = xd_buf_add_bytes(&d->noise, xd_buf_view(&d->in));
    size_t from = d->noise.len > NOISE_SHOWN ? d->noise.len - NOISE_SHOWN : 0;
    if (d->noise.len && memchr(d->noise.data, 0, d->noise.len))
        r = xd_buf_add_str(&said, "(bytes that are no text)");
    else if (r == 0) /* one line: the last ones, with a bar between */
        for (size_t i = from; i < d->noise.len && r == 0; i++) {
            const char c = (char)d->noise.data[i];
            if (c == '\n')
                r = said.len && i + 1 < d->noise.len ? xd_buf_add_str(&said, " | ") : 0;
            else if (c != '\r')
                r = xd_buf_add_byte(&said, (uint8_t)c);
        }
    if (r == 0) {
        snprintf(begin, sizeof(begin), "%s%s", what, said.len ? "; it said: " : "");
        r = fail(d, code, err, begin, xd_buf_view(&said), "");
    }
    xd_buf_release(&said);
    d->state = FAILED;
    return r;
}

/* ---- what is read ------------------------------------------------------------------------------------------ */

static bool starts(xd_bytes line, const char *word, xd_bytes *ret_rest)
{
    size_t n = strlen(word);
    if (line.len < n || memcmp(line.ptr, word, n) != 0 || (line.len > n && line.ptr[n] != ' '))
        return false;
    n += line.len > n;
    *ret_rest = (xd_bytes){ line.ptr + n, line.len - n };
    return true;
}

/* send ARCH PACKING */
static int on_send(xd_deliver *d, xd_bytes rest, xd_error *err)
{
    static const char *const packings[XD_AGENT_PACKINGS] = { "xz", "gz", "raw" };
    if (d->reader || ++d->sent > SENT_MAX)
        return fail(d, -EPROTO, err, "the far end asks for the program again and again", (xd_bytes){ 0 }, "");
    for (size_t i = 0; i < d->files.count; i++)
        for (int k = 0; k < XD_AGENT_PACKINGS; k++) {
            char want[64];
            snprintf(want, sizeof(want), "%s %s", d->files.at[i].arch, packings[k]);
            if (!xd_bytes_eq_str(rest, want) || d->files.at[i].size[k] == 0)
                continue;
            int r = xd_agent_file_open(&d->reader, &d->files.at[i], (xd_agent_packing)k);
            return r < 0 ? xd_error_set(err, r, "%s: %s", d->files.at[i].path, xd_error_name(r)) : 0;
        }
    return fail(d, -EPROTO, err, "the far end asks for a program that there is not: ", rest, "");
}

/* 1 = the agent runs, 0 = goes on. */
static int on_answer(xd_deliver *d, xd_bytes line, xd_error *err)
{
    xd_autobuf what = XD_BUF_INIT;
    xd_bytes   rest;
    char       begin[80];
    if (starts(line, "send", &rest) && d->state == ASKING)
        return on_send(d, rest, err);
    if (starts(line, "run", &rest) && d->state == ASKING && !d->reader) {
        d->state = d->again ? ATTACHING : RUNNING;
        return d->state == RUNNING;
    }
    if (starts(line, "attached", &rest) && d->state == ATTACHING) {
        d->state = RUNNING;
        return 1;
    }
    if (starts(line, "gone", &rest) && d->state == ATTACHING)
        return fail(d, -ESRCH, err, "no agent of this run is there any more", (xd_bytes){ 0 }, "");
    if (starts(line, "busy", &rest) && d->state == ATTACHING)
        return fail(
            d, -EBUSY, err,
            "the agent is there, but takes no other pipe: it is stopped, or the host has no time for it",
            (xd_bytes){ 0 }, "");
    if (starts(line, "system", &rest)) {
        XD_TRY(xd_buf_printf(&what, "; this installation has %ss for Linux on", what_of(d)));
        for (size_t i = 0; i < d->files.count; i++)
            XD_TRY(xd_buf_printf(&what, "%s %s", i ? " and" : "", d->files.at[i].arch));
        rest.len = XD_MIN(rest.len, (size_t)100);
        snprintf(begin, sizeof(begin), "no %s runs on that host's system, ", what_of(d));
        return fail(d, -ENOEXEC, err, begin, rest, xd_buf_cstr(&what));
    }
    if (starts(line, "lacks", &rest)) {
        snprintf(begin, sizeof(begin), "that host lacks what the %s needs: ", what_of(d));
        return fail(d, -ENOEXEC, err, begin, rest, "");
    }
    if (starts(line, "missing", &rest))
        return fail(d, -ENOENT, err, "the agent is not an executable program there: ", rest, "");
    if (starts(line, "nowhere", &rest)) {
        snprintf(begin, sizeof(begin), "no folder there can take the %s:", what_of(d));
        return fail(d, -ENOSPC, err, begin, rest, "");
    }
    return fail(d, -EPROTO, err, "the far end does not answer as xd's script does: ", line, "");
}

static int skip(xd_deliver *d, size_t n, xd_error *err)
{
    XD_TRY(xd_buf_add(&d->noise, d->in.data, n));
    if (d->noise.len > 2 * NOISE_SHOWN)
        xd_buf_consume(&d->noise, d->noise.len - NOISE_SHOWN);
    xd_buf_consume(&d->in, n);
    d->noise_bytes += n;
    if (d->noise_bytes <= NOISE_MAX)
        return 0;
    return fail_saying(
        d, -EPROTO, err,
        d->server ? "the far end goes on talking, but not as a shell that was asked to start a server"
                  : "the far end goes on talking, but not as a shell that was asked to start an agent");
}

/* Looks for answers in what was read. 1 = the agent runs: the rest is its own. */
static int answers(xd_deliver *d, xd_error *err)
{
    for (;;) {
        const size_t   len = strlen(d->mark);
        const uint8_t *mark = xd_bytes_find(xd_buf_view(&d->in), d->mark);
        if (!mark) /* but the beginning of one may be there */
            return d->in.len > len ? skip(d, d->in.len - len, err) : 0;
        if (mark > d->in.data) {
            XD_TRY(skip(d, (size_t)(mark - d->in.data), err));
            continue;
        }
        const uint8_t *end = memchr(d->in.data, '\n', d->in.len);
        if (!end)
            return d->in.len > LINE_MAX_BYTES
                       ? fail(d, -EPROTO, err, "the far end's answer has no end", (xd_bytes){ 0 }, "")
                       : 0;
        size_t   n = (size_t)(end - d->in.data);
        xd_bytes line = { d->in.data + len, n - len };
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        int r = on_answer(d, line, err);
        XD_TRY(r);
        xd_buf_consume(&d->in, n + 1);
        d->noise_bytes = 0;
        if (r > 0)
            return 1;
    }
}

/* ---- the contract ------------------------------------------------------------------------------------------ */

int xd_deliver_new(xd_deliver **ret, const xd_target *target, xd_error *err)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t           bytes[ID_BYTES];
    xd_deliver       *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->output_limit = target->output_limit;
    d->limit_s = (target->timeout_ms ? target->timeout_ms / 1000 : DEFAULT_S) + MORE_S;
    int r = getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) ? 0 : -EIO;
    for (size_t i = 0; i < ID_BYTES; i++) {
        d->id[2 * i] = hex[bytes[i] >> 4];
        d->id[2 * i + 1] = hex[bytes[i] & 15];
    }
    snprintf(d->mark, sizeof(d->mark), "xd:%s:", d->id);
    d->server = target->server;
    if (r == 0 && d->server)
        r = d->server->program ? xd_agent_files_pack(&d->files, d->server->program, err) : 0;
    else if (r == 0 && target->agent && *target->agent)
        r = (d->agent = strdup(target->agent)) ? 0 : -ENOMEM;
    else if (r == 0)
        r = xd_agent_files_find(&d->files, err);
    if (r == 0)
        r = ask(d);
    if (r < 0) {
        xd_deliver_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

/* The pipe is not what it was to be: how far it has come, and what was said. */
static int broken(xd_deliver *d, int code, const char *how, xd_error *err)
{
    char what[120];
    snprintf(what, sizeof(what), "%s before the %s %s", how, what_of(d),
             d->state == ATTACHING ? "was found again" : "ran");
    return fail_saying(d, code, err, what);
}

int xd_deliver_step(xd_deliver *d, const xd_deliver_io *io, xd_error *err)
{
    if (d->state == RUNNING)
        return 1;
    for (;;) {
        int r = write_out(d, io);
        if (r < 0)
            return broken(d, r, "the connection broke", err);
        XD_TRY(xd_buf_reserve(&d->in, READ_BYTES));
        ssize_t n = io->read(io->arg, d->in.data + d->in.len, READ_BYTES);
        if (n == -EAGAIN)
            return 0;
        if (n <= 0)
            return broken(d, n < 0 ? (int)n : -EPIPE, "the far end closed", err);
        d->in.len += (size_t)n;
        r = answers(d, err);
        if (r != 0)
            return r;
    }
}

int xd_deliver_late(xd_deliver *d, xd_error *err)
{
    char what[80];
    snprintf(what, sizeof(what), "the %s %s in time", what_of(d),
             d->state == ATTACHING ? "was not found again" : "could not be sent");
    return fail_saying(d, -ETIMEDOUT, err,
                       d->state == ATTACHING || d->sent ? what : "no shell has answered there in time");
}

uint32_t xd_deliver_wants(const xd_deliver *d)
{
    return XD_PIPE_READ | (!d->deaf && (d->out.len || d->reader) ? XD_PIPE_WRITE : 0);
}

size_t xd_deliver_rest(xd_deliver *d, void *to, size_t room)
{
    size_t n = d->state == RUNNING ? XD_MIN(room, d->in.len) : 0;
    if (n == 0)
        return 0;
    memcpy(to, d->in.data, n);
    xd_buf_consume(&d->in, n);
    return n;
}

size_t xd_deliver_left(const xd_deliver *d)
{
    return d->state == RUNNING ? d->in.len : 0;
}

int xd_deliver_again(xd_deliver *d, xd_error *err)
{
    d->state = ASKING;
    d->again = true;
    d->deaf = false;
    d->sent = 0;
    d->noise_bytes = 0;
    d->reader = xd_agent_file_close(d->reader);
    xd_buf_clear(&d->in);
    xd_buf_clear(&d->noise);
    int r = ask(d);
    return r < 0 ? xd_error_set(err, r, "out of memory") : 0;
}

xd_deliver *xd_deliver_free(xd_deliver *d)
{
    if (!d)
        return NULL;
    d->reader = xd_agent_file_close(d->reader);
    xd_agent_files_release(&d->files);
    xd_buf_release(&d->out);
    xd_buf_release(&d->in);
    xd_buf_release(&d->noise);
    free(d->agent);
    free(d);
    return NULL;
}
