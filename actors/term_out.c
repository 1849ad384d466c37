#include "actors/term_out.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/columns.h"
#include "engine/base/text.h"
#include "engine/xd.h"

enum { KIND_PLAIN, KIND_NONBLOCK, KIND_SOCKET, KIND_ASK };

bool xd_term_out_colors(const char *(*env)(const void *arg, const char *name), const void *arg, bool tty)
{
    const char *py = env(arg, "PY_COLORS"), *term = env(arg, "TERM");
    if (py && (!strcmp(py, "1") || !strcmp(py, "0")))
        return *py == '1';
    if (env(arg, "NO_COLOR"))
        return false;
    return env(arg, "FORCE_COLOR") || (tty && !(term && !strcmp(term, "dumb")));
}

static const char *own_env(const void *arg, const char *name)
{
    (void)arg;
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

int xd_colors(int fd)
{
    return xd_term_out_colors(own_env, NULL, isatty(fd) == 1);
}

int xd_harmless(const char *text, size_t size, char **ret)
{
    xd_ci_guard guard = { .systems = xd_ci_systems_here() };
    xd_autobuf  plain = XD_BUF_INIT, out = XD_BUF_INIT;
    XD_TRY(xd_text_harmless(&plain, (xd_bytes){ (const uint8_t *)text, size }, false));
    XD_TRY(xd_ci_guard_add(&guard, &out, xd_buf_view(&plain)));
    *ret = strdup(xd_buf_cstr(&out));
    return *ret ? 0 : -ENOMEM;
}

void xd_term_out_init(xd_term_out *o, int fd, uint32_t width)
{
    *o = (xd_term_out){ .fd = fd, .own_fd = -1, .width = width ? width : 80 };
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        o->kind = KIND_SOCKET;
    } else if (!S_ISREG(st.st_mode)) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        o->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        o->kind = o->own_fd >= 0 ? KIND_NONBLOCK : KIND_ASK;
    }
}

void xd_term_out_resume(xd_term_out *o, uint64_t *shown)
{
    o->shown = shown;
    o->skip = shown ? *shown : 0;
}

void xd_term_out_release(xd_term_out *o)
{
    if (o->own_fd >= 0)
        close(o->own_fd);
    xd_buf_release(&o->buf);
    xd_buf_release(&o->scratch);
    xd_buf_release(&o->guarded);
    o->own_fd = o->fd = -1;
}

int xd_term_out_fd(const xd_term_out *o)
{
    return o->own_fd >= 0 ? o->own_fd : o->fd;
}

/* One write that does not block: bytes written, 0 = not now, -errno. */
static ssize_t write_some(xd_term_out *o, const uint8_t *data, size_t len)
{
    ssize_t n;
    if (o->kind == KIND_SOCKET) {
        n = send(o->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (o->kind == KIND_ASK) {
        /* A pipe that polls writable takes PIPE_BUF bytes at once. */
        struct pollfd p = { .fd = o->fd, .events = POLLOUT };
        if (poll(&p, 1, 0) == 0)
            return 0;
        n = write(o->fd, data, XD_MIN(len, (size_t)512));
    } else {
        n = write(xd_term_out_fd(o), data, len);
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n < 0 ? -errno : n;
}

int xd_term_out_flush(xd_term_out *o)
{
    size_t done = 0;
    while (done < o->buf.len && o->fd >= 0 && !o->fault) {
        ssize_t n = write_some(o, o->buf.data + done, o->buf.len - done);
        if (n == 0)
            break;
        if (n < 0)
            o->fault = (int)n;
        else
            done += (size_t)n;
    }
    if (o->fd < 0 || o->fault)
        done = o->buf.len;
    xd_buf_consume(&o->buf, done);
    return o->buf.len > 0;
}

int xd_term_out_drain(xd_term_out *o, size_t left)
{
    for (;;) {
        XD_TRY(xd_term_out_flush(o));
        if (o->buf.len == 0 || o->buf.len < left)
            return 0;
        struct pollfd p = { .fd = xd_term_out_fd(o), .events = POLLOUT };
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return -errno;
    }
}

static void advance(xd_term_out *o, xd_bytes text)
{
    if (text.len == 1) {
        o->column = *text.ptr == '\n' ? 0 : o->column + 1;
        return;
    }
    const uint8_t *nl = memrchr(text.ptr, '\n', text.len);
    if (nl) {
        size_t skip = (size_t)(nl - text.ptr) + 1;
        o->column = xd_columns((xd_bytes){ text.ptr + skip, text.len - skip });
    } else {
        o->column += xd_columns(text);
    }
}

static int mark_open(xd_buf *to, unsigned mark)
{
    static const struct {
        unsigned    bit;
        const char *esc;
    } table[] = {
        { XD_MARK_RED, "\x1b[31m" },  { XD_MARK_GREEN, "\x1b[32m" }, { XD_MARK_YELLOW, "\x1b[33m" },
        { XD_MARK_BLUE, "\x1b[34m" }, { XD_MARK_CYAN, "\x1b[36m" },  { XD_MARK_BOLD, "\x1b[1m" },
        { XD_MARK_LIGHT, "\x1b[2m" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++)
        if (mark & table[i].bit)
            XD_TRY(xd_buf_add_str(to, table[i].esc));
    return 0;
}

int xd_term_mark(const xd_term_out *o, xd_buf *to, const char *text, unsigned mark)
{
    if (!o->markup || !mark)
        return xd_buf_add_str(to, text);
    XD_TRY(mark_open(to, mark));
    XD_TRY(xd_buf_add_str(to, text));
    return xd_buf_add_str(to, "\x1b[0m");
}

int xd_term_out_write(xd_term_out *o, xd_bytes text, unsigned mark)
{
    if (!text.len || o->fd < 0 || o->fault)
        return 0;
    if (o->guard.systems) {
        xd_buf_clear(&o->guarded);
        XD_TRY(xd_ci_guard_add(&o->guard, &o->guarded, text));
        text = xd_buf_view(&o->guarded);
    }
    advance(o, text);
    if (o->skip) {
        size_t n = (size_t)XD_MIN(o->skip, (uint64_t)text.len);
        o->skip -= n;
        text = (xd_bytes){ text.ptr + n, text.len - n };
        if (!text.len)
            return 0;
    }
    if (o->shown)
        *o->shown += text.len;
    bool marked = o->markup && mark;
    if (marked)
        XD_TRY(mark_open(&o->buf, mark));
    XD_TRY(xd_buf_add_bytes(&o->buf, text));
    return marked ? xd_buf_add_str(&o->buf, "\x1b[0m") : 0;
}

int xd_term_out_str(xd_term_out *o, const char *text, unsigned mark)
{
    return xd_term_out_write(o, xd_bytes_str(text), mark);
}

int xd_term_out_printf(xd_term_out *o, unsigned mark, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    xd_buf_clear(&o->scratch);
    int r = xd_buf_vprintf(&o->scratch, fmt, ap);
    va_end(ap);
    return r < 0 ? r : xd_term_out_write(o, xd_buf_view(&o->scratch), mark);
}

int xd_term_out_foreign(xd_term_out *o, xd_bytes text, unsigned mark, bool lines)
{
    xd_buf_clear(&o->scratch);
    XD_TRY(lines ? xd_text_harmless_lines(&o->scratch, text, o->markup)
                 : xd_text_harmless(&o->scratch, text, false));
    return xd_term_out_write(o, xd_buf_view(&o->scratch), mark);
}

int xd_term_out_sep_wide(xd_term_out *o, char fill, const char *title, size_t columns, unsigned mark)
{
    xd_autobuf line = XD_BUF_INIT;
    size_t     width = o->width, n;
    if (title) {
        n = width > columns + 2 ? (width - columns - 2) / 2 : 0;
        n = XD_MAX(n, (size_t)1);
        XD_TRY(xd_buf_fill(&line, (uint8_t)fill, n));
        XD_TRY(xd_buf_printf(&line, " %s ", title));
        XD_TRY(xd_buf_fill(&line, (uint8_t)fill, n));
        n = 2 * n + 2 + columns;
    } else {
        n = width;
        XD_TRY(xd_buf_fill(&line, (uint8_t)fill, n));
    }
    if (n + 1 <= width)
        XD_TRY(xd_buf_add_byte(&line, (uint8_t)fill));
    XD_TRY(xd_term_out_write(o, xd_buf_view(&line), mark));
    return xd_term_out_write(o, XD_BYTES_LIT("\n"), 0);
}

/* pytest counts characters here, not columns. */
static size_t characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((uint8_t)*s & 0xc0) != 0x80;
    return n;
}

int xd_term_out_sep(xd_term_out *o, char fill, const char *title, unsigned mark)
{
    return xd_term_out_sep_wide(o, fill, title, title ? characters(title) : 0, mark);
}
