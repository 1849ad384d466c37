/* gateways/openssh_argv.c - see openssh.h: the command line of ssh.
 *
 * ssh takes the first value that it is given for an option. So what must be as it is here stands in front of the user's own
 * words; what is only better than ssh's defaults stands behind them. Options of the user's ssh_config come last of all: only
 * what would break the connection, or leave it half-open, is taken out of their hands. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/ssh_args.h"
#include "gateways/deliver.h"
#include "gateways/openssh.h"

#define ALIVE_S \
    "10" /* three times without an answer: a connection that leads nowhere ends after 40 s at the latest */

typedef struct words {
    char **at;
    size_t count, room;
    int    error;
} words;

static void add(words *w, const char *word)
{
    if (w->error)
        return;
    if (w->count + 2 > w->room) {
        const size_t room = w->room ? 2 * w->room : 32;
        char       **at = realloc(w->at, room * sizeof(*at));
        if (!at) {
            w->error = -ENOMEM;
            return;
        }
        w->at = at;
        w->room = room;
    }
    if (!(w->at[w->count] = strdup(word))) {
        w->error = -ENOMEM;
        return;
    }
    w->at[++w->count] = NULL;
}

static void option(words *w, const char *setting)
{
    add(w, "-o");
    add(w, setting);
}

void xd_openssh_argv_free(char **argv)
{
    for (size_t i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}

/* Has ssh's ProxyCommand carry the connection by way of another host: as ssh -J would, but with that spec's own options and
 * ssh_config. */
static int add_jump(words *w, const xd_xspec *jump, const xd_openssh_how *how, xd_error *err);

static int add_ssh(words *w, const xd_xspec *spec, const xd_openssh_how *how, bool jump, xd_error *err)
{
    xd_autossh_args args = { 0 };
    char            why[256] = "";
    xd_autobuf      connect = XD_BUF_INIT;
    int             r = xd_ssh_args_parse(&args, spec->target, why, sizeof(why));
    if (r < 0)
        return xd_error_set(err, r, "%s", *why ? why : xd_error_name(r));
    XD_TRY(xd_buf_printf(&connect, "ConnectTimeout=%u", how->connect_s));
    add(w, "ssh");
    option(w, how->asks ? "BatchMode=no" : "BatchMode=yes");
    option(w, "RemoteCommand=none");
    if (!args.forwards)
        option(w, "ClearAllForwardings=yes"); /* the user's ports are not for each worker's connection */
    if (spec->ssh_config) {
        add(w, "-F");
        add(w, spec->ssh_config);
    }
    for (size_t i = 0; i < args.count; i++)
        if (i != args.host)
            add(w, args.words[i]);
    if (spec->jump)
        XD_TRY(add_jump(w, spec->jump, how, err));
    if (how->accept_new)
        option(w, "StrictHostKeyChecking=accept-new");
    option(w, "LogLevel=INFO"); /* some causes are not told as errors */
    option(w, xd_buf_cstr(&connect));
    option(w, "ServerAliveInterval=" ALIVE_S);
    option(w, "ServerAliveCountMax=3");
    if (!jump) {
        add(w, "-T");
        add(w, "-e");
        add(w, "none");
    }
    if (jump) {
        add(w, "-W");
        add(w, "[%h]:%p");
    }
    add(w, "--");
    add(w, args.words[args.host]);
    return w->error;
}

/* ssh replaces %h and %p there: what else has a % must not be touched. */
static int add_command(xd_buf *out, const words *w)
{
    for (size_t i = 0; i < w->count; i++) {
        xd_autobuf word = XD_BUF_INIT;
        const bool keep = strcmp(w->at[i], "[%h]:%p") == 0;
        for (const char *p = w->at[i]; *p; p++)
            XD_TRY(*p == '%' && !keep ? xd_buf_add_str(&word, "%%") : xd_buf_add_byte(&word, (uint8_t)*p));
        XD_TRY(i ? xd_buf_add_byte(out, ' ') : 0);
        XD_TRY(xd_text_shell_quote(out, xd_buf_cstr(&word)));
    }
    return 0;
}

static int add_jump(words *w, const xd_xspec *jump, const xd_openssh_how *how, xd_error *err)
{
    words      inner = { 0 }; /* at most as many deep as xd_xspec_route() lets pass */
    xd_autobuf text = XD_BUF_INIT;
    int        r = xd_buf_add_str(&text, "ProxyCommand=");
    if (r == 0)
        r = add_ssh(&inner, jump, how, true, err);
    if (r == 0)
        r = add_command(&text, &inner);
    if (r == 0)
        option(w, xd_buf_cstr(&text));
    xd_openssh_argv_free(inner.at);
    return r;
}

int xd_openssh_argv(char ***ret, const xd_xspec *spec, const xd_openssh_how *how, xd_error *err)
{
    words w = { 0 };
    int   r = add_ssh(&w, spec, how, false, err);
    add(&w, XD_DELIVER_COMMAND);
    if (r == 0)
        r = w.error;
    if (r < 0) {
        xd_openssh_argv_free(w.at);
        return r;
    }
    *ret = w.at;
    return 0;
}

int xd_openssh_by_hand(xd_buf *out, const xd_xspec *spec)
{
    xd_autossh_args args = { 0 };
    XD_TRY(xd_buf_add_str(out, "ssh"));
    if (spec->ssh_config) {
        XD_TRY(xd_buf_add_str(out, " -F "));
        XD_TRY(xd_text_shell_quote(out, spec->ssh_config));
    }
    if (spec->jump) {
        xd_autobuf way = XD_BUF_INIT;
        XD_TRY(xd_buf_add_str(&way, "ProxyCommand="));
        XD_TRY(xd_openssh_by_hand(&way, spec->jump));
        XD_TRY(xd_buf_add_str(&way, " -W [%h]:%p"));
        XD_TRY(xd_buf_add_str(out, " -o "));
        XD_TRY(xd_text_shell_quote(out, xd_buf_cstr(&way)));
    }
    XD_TRY(xd_ssh_args_parse(&args, spec->target, NULL, 0));
    for (size_t i = 0; i < args.count; i++) {
        XD_TRY(xd_buf_add_byte(out, ' '));
        XD_TRY(xd_text_shell_quote(out, args.words[i]));
    }
    return 0;
}
