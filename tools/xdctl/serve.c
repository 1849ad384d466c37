/* tools/xdctl/serve.c - `xdctl serve`: agents for others, until a signal comes (tools/shared/serving.h). */
#include <stdio.h>
#include <stdlib.h>

#include "tools/shared/serving.h"
#include "tools/xdctl/xdctl.h"

static int serve(const xd_server_options *o)
{
    char err[XD_TEXT] = "";
    int  code = serving_run(o, "xdctl keys authorize", err);
    return code ? xdctl_fail(code, "%s", err) : 0;
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

/* Seconds, as a number of them. */
static int bad_drain(int seconds)
{
    return seconds < 0 || (unsigned)seconds > SERVING_DRAIN_MAX_S;
}

int xdctl_serve(int argc, char **argv)
{
    char       *keys = NULL, *agent = NULL, **bind = NULL;
    int         most = 256, connections = 4096, drain = (int)SERVING_DRAIN_S, file = 0, n = 0, code;
    const char *words[1];
    poptContext ctx;
    const struct poptOption table[] = {
        { "bind", 0, POPT_ARG_ARGV, &bind, 0,
          "listen there instead of :8888 of all addresses; may be repeated", "ADDRESS:PORT" },
        { "keys", 0, POPT_ARG_STRING, &keys, 0, "folder of the keys instead of ~/.config/xdctl", "DIR" },
        { "agent", 0, POPT_ARG_STRING, &agent, 0, "the xdagent program instead of the one that is found",
          "PATH" },
        { "max-agents", 0, POPT_ARG_INT, &most, 0, "agents at once; 256 without", "N" },
        { "max-connections", 0, POPT_ARG_INT, &connections, 0, "connections at once; 4096 without", "N" },
        { "drain", 0, POPT_ARG_INT, &drain, 0, "time for running agents when it is told to stop; 60 without",
          "SECONDS" },
        { "xdserve", 0, POPT_ARG_NONE, &file, 0,
          "print where xdserve lies, the same in one file to copy to a host, and end", NULL },
        POPT_AUTOHELP POPT_TABLEEND
    };
    int bad = xdctl_read_options(&ctx, argc, argv, table,
                                 "[OPTION ...]\n\nWaits for controllers (xdctl run --tx socket=HOST:PORT) "
                                 "whose keys are in authorized_controllers, and "
                                 "starts an agent\nfor each. SIGTERM: no new ones, and the end when the "
                                 "others are done; a second one ends all.\n",
                                 0, words, NULL);
    while (bind && bind[n])
        n++;
    if (bad)
        code = bad - 1;
    else if (file)
        code = tell_program();
    else if (n > (int)SERVING_BINDS)
        code = xdctl_fail(XD_EXIT_USAGE, "--bind may be given %u times", SERVING_BINDS);
    else if (most < 1 || connections < 1 || bad_drain(drain))
        code = xdctl_fail(XD_EXIT_USAGE, "%s",
                          most < 1          ? "--max-agents takes a number from 1 on"
                          : connections < 1 ? "--max-connections takes a number from 1 on"
                                            : "--drain takes seconds, 0 to 86400");
    else {
        xd_server_options o = { .size = sizeof(o),
                                .keys = keys,
                                .bind = (const char *const *)bind,
                                .agent = agent,
                                .max_agents = (unsigned)most,
                                .max_connections = (unsigned)connections,
                                .drain_ms = (unsigned)drain * 1000u };
        code = serve(&o);
    }
    poptFreeContext(ctx);
    free(keys);
    free(agent);
    for (int i = 0; i < n; i++)
        free(bind[i]);
    free(bind);
    return code;
}
