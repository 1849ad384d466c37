/* gateways/ssh_tty.c - see ssh_state.h: questions to the user. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/os_linux.h"
#include "engine/base/clock.h"
#include "engine/base/text.h"
#include "gateways/ssh_state.h"
#include "gateways/terminal.h"

#define TURN_NS (20 * XD_MS_NS)

/* One after the other: what is typed must not go to another host than the one that the prompt names. */
static int take_terminal(xd_ssh *s, int *ret)
{
    for (;;) {
        int r = xd_terminal_take(ret);
        if (r != 0)
            return r < 0 ? -ENOTTY : 0;
        r = xd_ssh_wait(s, -1, 0, xd_clock_ns() + TURN_NS);
        if (r == -ECANCELED)
            return r;
    }
}

static void write_all(int fd, const char *text, size_t len)
{
    while (len) {
        const ssize_t n = write(fd, text, len);
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (n <= 0 && poll(&p, 1, 100) <= 0)
            return;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

/* A line, without its end: 0, -ENOTTY = the terminal is gone, -ECANCELED. */
static int read_line(xd_ssh *s, int tty, char *to, size_t size)
{
    size_t len = 0;
    for (;;) {
        char    c;
        ssize_t n = read(tty, &c, 1);
        if (n == 1 && (c == '\n' || c == '\r'))
            break;
        if (n == 1 && len + 1 < size) /* what is too long is cut, as it would be wrong anyway */
            to[len++] = c;
        if (n == 1)
            continue;
        if (n == 0 && len == 0)
            return -ENOTTY; /* Ctrl-D: no answer */
        if (n == 0)
            break;
        if (errno != EAGAIN && errno != EINTR)
            return -ENOTTY;
        XD_TRY(xd_ssh_wait(s, tty, POLLIN, 0));
    }
    to[len] = 0;
    return 0;
}

static int ask(xd_ssh *s, int tty, const char *prompt, bool echo, char *to, size_t size)
{
    xd_autobuf     shown = XD_BUF_INIT;
    struct termios as_was, quiet;
    XD_TRY(xd_text_harmless(&shown, xd_bytes_str(prompt), true)); /* a part of it may be the host's */
    if (tcgetattr(tty, &as_was) != 0)
        return -ENOTTY;
    quiet = as_was;
    quiet.c_lflag |= ICANON | ISIG;
    quiet.c_lflag &= ~(tcflag_t)(echo ? 0 : (ECHO | ECHOE | ECHOK | ECHONL));
    if (tcsetattr(tty, TCSAFLUSH, &quiet) != 0)
        return -ENOTTY;
    write_all(tty, xd_buf_cstr(&shown), shown.len);
    int r = read_line(s, tty, to, size);
    (void)tcsetattr(tty, TCSAFLUSH, &as_was);
    if (!echo || r < 0)
        write_all(tty, "\n", 1);
    return r;
}

static void tell_asks(xd_ssh *s, bool on)
{
    pthread_mutex_lock(&s->lock);
    s->asks = on;
    pthread_mutex_unlock(&s->lock);
    xd_os_nudge(s->to_gateway);
}

int xd_ssh_ask(xd_ssh *s, const char *prompt, bool echo, char *to, size_t size)
{
    const uint64_t begun = xd_clock_ns();
    if (xd_ssh_conf_is(s->conf, "batchmode", false))
        return -ENOTTY;
    tell_asks(s, true); /* also while another one asks */
    xd_autoclose int tty = -1;
    int              r = take_terminal(s, &tty);
    if (r == 0)
        r = ask(s, tty, prompt, echo, to, size);
    s->deadline_ns += xd_clock_ns() - begun;
    tell_asks(s, false);
    return r;
}

/* ---- what was typed in before --------------------------------------------------------------------------------- */

const char *xd_ssh_remembered(const xd_ssh *s, const char *prompt)
{
    for (const xd_ssh_secret *k = s->secrets; k; k = k->next)
        if (strcmp(k->what, prompt) == 0)
            return k->text;
    return NULL;
}

int xd_ssh_remember(xd_ssh *s, const char *prompt, const char *text)
{
    if (xd_ssh_remembered(s, prompt))
        return 0;
    xd_ssh_secret *k = calloc(1, sizeof(*k));
    if (!k || !(k->what = strdup(prompt))) {
        free(k);
        return -ENOMEM;
    }
    memccpy(k->text, text, 0, sizeof(k->text) - 1);
    k->next = s->secrets;
    s->secrets = k;
    return 0;
}

void xd_ssh_forget(xd_ssh *s)
{
    while (s->secrets) {
        xd_ssh_secret *k = s->secrets;
        s->secrets = k->next;
        explicit_bzero(k->text, sizeof(k->text));
        free(k->what);
        free(k);
    }
}
