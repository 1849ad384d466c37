/* tools/xdctl/serve.c - `xdctl serve`: agents for others, until a signal comes (tools/shared/serving.h); or there (serve_on.h). */
#include <stdio.h>
#include <stdlib.h>

#include "tools/shared/serving.h"
#include "tools/xdctl/serve_on.h"
#include "tools/xdctl/xdctl.h"

/* As popt reads them. */
typedef struct serve_options {
    char *keys, *agent, **bind, *on, *keys_there, *ssh;
    int   most, connections, drain, program, replace, stop, accept_new;
} serve_options;

static int serve(const serve_options *o)
{
    char                    err[XD_TEXT] = "";
    const xd_server_options s = { .size = sizeof(s),
                                  .keys = o->keys,
                                  .bind = (const char *const *)o->bind,
                                  .agent = o->agent,
                                  .max_agents = (unsigned)o->most,
                                  .max_connections = (unsigned)o->connections,
                                  .drain_ms = (unsigned)o->drain * 1000u };
    int                     code = serving_run(&s, "xdctl keys authorize", err);
    return code ? xdctl_fail(code, "%s", err) : 0;
}

static int serve_there(const serve_options *o)
{
    const serve_on there = { .spec = o->on,
                             .keys = o->keys,
                             .keys_there = o->keys_there,
                             .ssh = o->ssh,
                             .replace = o->replace,
                             .stop = o->stop,
                             .accept_new = o->accept_new,
                             .bind = (const char *const *)o->bind,
                             .max_agents = (unsigned)o->most,
                             .max_connections = (unsigned)o->connections,
                             .drain_s = (unsigned)o->drain };
    return serve_on_run(&there);
}

/* For `scp $(xdctl serve --xdserve) host:`. */
static int tell_program(void)
{
    char *path = NULL, err[XD_TEXT] = "";
    int   r = xd_server_program(&path, err);
    if (r < 0)
        return xdctl_fail(XD_EXIT_INFRASTRUCTURE, "%s", err);
    puts(path);
    free(path);
    return 0;
}

static int bad(const char *why)
{
    return xdctl_fail(XD_EXIT_USAGE, "%s", why);
}

static int count_binds(const serve_options *o)
{
    int n = 0;
    while (o->bind && o->bind[n])
        n++;
    return n;
}

/* 0, or the exit code, and what is wrong was said. */
static int check(const serve_options *o)
{
    if (count_binds(o) > (int)SERVING_BINDS)
        return xdctl_fail(XD_EXIT_USAGE, "--bind may be given %u times", SERVING_BINDS);
    if (o->most < 1)
        return bad("--max-agents takes a number from 1 on");
    if (o->connections < 1)
        return bad("--max-connections takes a number from 1 on");
    if (o->drain < 0 || (unsigned)o->drain > SERVING_DRAIN_MAX_S)
        return bad("--drain takes seconds, 0 to 86400");
    if (!o->on && (o->keys_there || o->ssh || o->replace || o->stop || o->accept_new))
        return bad("--keys-there, --ssh, --ssh-accept-new, --replace and --stop belong to --on ssh=HOST");
    if (o->on && (o->agent || o->program))
        return bad("--agent and --xdserve do not go with --on: the agent there is the one inside xdserve");
    if (o->replace && o->stop)
        return bad("--replace and --stop do not go together");
    return 0;
}

static void release(serve_options *o)
{
    for (int i = 0; o->bind && o->bind[i]; i++)
        free(o->bind[i]);
    free(o->bind);
    free(o->keys);
    free(o->agent);
    free(o->on);
    free(o->keys_there);
    free(o->ssh);
}

int xdctl_serve(int argc, char **argv)
{
    serve_options           o = { .most = 256, .connections = 4096, .drain = (int)SERVING_DRAIN_S };
    const char             *words[1];
    poptContext             ctx;
    const struct poptOption table[] = {
        { "bind", 0, POPT_ARG_ARGV, &o.bind, 0,
          "listen there instead of :8888 of all addresses; may be repeated", "ADDRESS:PORT" },
        { "keys", 0, POPT_ARG_STRING, &o.keys, 0, "folder of the keys instead of ~/.config/xdctl", "DIR" },
        { "agent", 0, POPT_ARG_STRING, &o.agent, 0, "the xdagent program instead of the one that is found",
          "PATH" },
        { "max-agents", 0, POPT_ARG_INT, &o.most, 0, "agents at once; 256 without", "N" },
        { "max-connections", 0, POPT_ARG_INT, &o.connections, 0, "connections at once; 4096 without", "N" },
        { "drain", 0, POPT_ARG_INT, &o.drain, 0,
          "time for running agents when it is told to stop; 60 without", "SECONDS" },
        { "xdserve", 0, POPT_ARG_NONE, &o.program, 0,
          "print where xdserve lies, the same in one file to copy to a host, and end", NULL },
        { "on", 0, POPT_ARG_STRING, &o.on, 0,
          "bring xdserve to that host, start it there so that it stays, and trust it", "ssh=HOST" },
        { "replace", 0, POPT_ARG_NONE, &o.replace, 0, "of --on: also in the place of one that runs", NULL },
        { "stop", 0, POPT_ARG_NONE, &o.stop, 0, "of --on: stop it; once more: its agents, too", NULL },
        { "keys-there", 0, POPT_ARG_STRING, &o.keys_there, 0,
          "of --on: folder of the server's keys on that host", "DIR" },
        { "ssh", 0, POPT_ARG_STRING, &o.ssh, 0, "of --on: what carries ssh=, as of xdctl run",
          "auto|libssh|openssh" },
        { "ssh-accept-new", 0, POPT_ARG_NONE, &o.accept_new, 0,
          "of --on: take and write down the key of a host that is not in known_hosts", NULL },
        POPT_AUTOHELP POPT_TABLEEND
    };
    int code = xdctl_read_options(&ctx, argc, argv, table,
                                  "[OPTION ...]\n\nWaits for controllers (xdctl run --tx socket=HOST:PORT) "
                                  "whose keys are in authorized_controllers, and "
                                  "starts an agent\nfor each. SIGTERM: no new ones, and the end when the "
                                  "others are done; a second one ends all.\n",
                                  0, words, NULL);
    if (code)
        code--;
    else if ((code = check(&o)) == 0)
        code = o.program ? tell_program() : o.on ? serve_there(&o) : serve(&o);
    poptFreeContext(ctx);
    release(&o);
    return code;
}
