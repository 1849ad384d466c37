/* tools/xdctl/serve_on.c - see serve_on.h. */
#include "tools/xdctl/serve_on.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "tools/xdctl/xdctl.h"

static volatile int asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
}

static void catch_signals(void)
{
    const struct sigaction stop = { .sa_handler = on_signal,
                                    .sa_flags = (int)SA_RESETHAND }; /* a second one ends us */
    const int              signals[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- what there is ---------------------------------------------------------------------------------------------- */

typedef struct telling {
    const serve_on *o;
    int             code;
} telling;

static void tell_server(const serve_on *o, const xd_server_found *f)
{
    for (const char *const *at = f->addresses; *at; at++)
        printf("address      socket=%s\n", *at);
    printf("key          xdk1 %s\nfingerprint  %s\n", f->key, f->fingerprint);
    for (const char *const *at = f->bound; *at; at++)
        printf("listens on   %s\n", *at);
    printf("program      %s\npid          %" PRId64 "\nlog          %s\n", f->file ? f->file : "?", f->pid,
           f->log ? f->log : "?");
    printf("to stop it   xdctl serve --on '%s' --stop\n", o->spec);
    if (f->authorized)
        fputs("this user's key is authorized there from now on\n", stderr);
    if (f->forgotten)
        fprintf(stderr, "%s was known by another key: that one is forgotten\n", f->forgotten);
}

static void on_found(void *arg, const xd_server_found *f)
{
    telling        *t = arg;
    const serve_on *o = t->o;
    switch (f->state) {
    case XD_SERVER_STARTED:
        printf("%s: the server is started\n", o->spec);
        break;
    case XD_SERVER_REPLACED:
        printf(
            "%s: the server is started; the one before takes no more controllers, and ends with its agents\n",
            o->spec);
        break;
    case XD_SERVER_RUNS:
        printf("%s: the server runs there already\n", o->spec);
        break;
    case XD_SERVER_BUILD:
        t->code = xdctl_fail(XD_EXIT_INFRASTRUCTURE,
                             "%s: a server of another build runs there (pid %" PRId64
                             ", %s); --replace puts this one "
                             "in its place",
                             o->spec, f->pid, f->file ? f->file : "?");
        return;
    case XD_SERVER_OPTIONS:
        t->code =
            xdctl_fail(XD_EXIT_INFRASTRUCTURE,
                       "%s: a server runs there (pid %" PRId64 ") that was started with other options (%s); "
                       "--replace starts it with these",
                       o->spec, f->pid, f->options ? f->options : "");
        return;
    case XD_SERVER_STOPPED:
        printf("%s: the server has ended (pid %" PRId64 ")\n", o->spec, f->pid);
        return;
    case XD_SERVER_STOPPING:
        printf("%s: the server (pid %" PRId64
               ") takes no more controllers, and ends with its agents; --stop once "
               "more ends these, too\n",
               o->spec, f->pid);
        return;
    default:
        printf("%s: no server of yours runs there\n", o->spec);
        return;
    }
    tell_server(o, f);
    if (f->unreached)
        t->code = xdctl_fail(
            XD_EXIT_INFRASTRUCTURE,
            "%s: the server runs there, but this host cannot reach it: %s (a firewall, or --bind?)", o->spec,
            f->unreached);
}

static int failed(int r, const char *err)
{
    return xdctl_fail(r == -EINVAL   ? XD_EXIT_USAGE
                      : r == -ENOMEM ? XD_EXIT_INTERNAL
                                     : XD_EXIT_INFRASTRUCTURE,
                      "%s", *err ? err : strerror(-r));
}

int serve_on_run(const serve_on *o)
{
    char                  err[XD_TEXT] = "";
    telling               t = { .o = o };
    xd_config            *cfg = NULL;
    const xd_server_place place = { .size = sizeof(place),
                                    .spec = o->spec,
                                    .verb = o->stop      ? XD_SERVER_STOP
                                            : o->replace ? XD_SERVER_REPLACE
                                                         : XD_SERVER_START,
                                    .keys = o->keys,
                                    .keys_there = o->keys_there,
                                    .bind = o->bind,
                                    .max_agents = o->max_agents,
                                    .max_connections = o->max_connections,
                                    .drain_ms = o->drain_s * 1000u,
                                    .stop = &asked_to_stop };
    int                   r = xd_config_new(&cfg);
    if (r == 0 && o->ssh)
        r = xd_config_set(cfg, "ssh", o->ssh, err);
    if (r == 0 && o->accept_new)
        r = xd_config_set(cfg, "ssh-accept-new", "1", err);
    catch_signals();
    if (r == 0)
        r = xd_server_on(cfg, &place, on_found, &t, err);
    xd_config_free(cfg);
    if (r < 0)
        return failed(r, err);
    return r == 2 ? XD_EXIT_INTERRUPTED : t.code;
}
