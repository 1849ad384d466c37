/* tools/xdctl/serve.c - `xdctl serve`: agents for others, until a signal comes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

#define BIND_MAX 8

static int stop_pipe[2] = { -1, -1 };

static void on_signal(int sig)
{
    const int kept = errno;
    (void)sig;
    (void)!write(stop_pipe[1], "", 1);
    errno = kept;
}

static void on_ready(void *arg, const char *const *addresses, const xd_key_info *key, size_t authorized)
{
    const char *folder = arg;
    for (; *addresses; addresses++)
        printf("listening on %s\n", *addresses);
    printf("key xdk1 %s\nfingerprint %s\n", key->key, key->fingerprint);
    if (authorized)
        printf("%zu controller%s authorized\n", authorized, authorized == 1 ? "" : "s");
    else
        printf("no controller is authorized yet: `xdctl keygen` there prints a line for %s%s\n",
               folder ? folder : "~/.config/xdctl", "/authorized_controllers (xdctl keys authorize LINE)");
    fflush(stdout);
}

static void on_log(void *arg, int level, const char *line)
{
    static const char *const words[] = { "detail", "info", "warning", "error" };
    char                     when[32] = "";
    const time_t             now = time(NULL);
    struct tm                tm;
    (void)arg;
    if (gmtime_r(&now, &tm))
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "%s %s: ", when, words[level < 0 ? 0 : level > 3 ? 3 : level]);
    xdctl_put(stderr, line, strlen(line));
    fputc('\n', stderr);
}

static int catch_signals(void)
{
    const struct sigaction action = { .sa_handler = on_signal };
    const int              signals[] = { SIGINT, SIGTERM, SIGHUP };
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (sigaction(signals[i], &action, NULL) < 0)
            return -errno;
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int serve(xd_server_options *o)
{
    char err[XD_TEXT] = "";
    int  r = catch_signals();
    if (r == 0) {
        o->stop_fd = stop_pipe[0];
        r = xd_server_run(o, err);
    }
    return r < 0 ? xdctl_fail(r == -EINVAL   ? XD_EXIT_USAGE
                              : r == -ENOMEM ? XD_EXIT_INTERNAL
                                             : XD_EXIT_INFRASTRUCTURE,
                              "%s", err[0] ? err : strerror(-r))
                 : 0;
}

/* Seconds, as a number of them. */
static int bad_drain(int seconds)
{
    return seconds < 0 || seconds > 86400;
}

int xdctl_serve(int argc, char **argv)
{
    char                   *keys = NULL, *agent = NULL, **bind = NULL;
    int                     most = 0, drain = 60, n = 0, code;
    const char             *words[1];
    poptContext             ctx;
    const struct poptOption table[] = {
        { "bind", 0, POPT_ARG_ARGV, &bind, 0,
          "listen there instead of :8888 of all addresses; may be repeated", "ADDRESS:PORT" },
        { "keys", 0, POPT_ARG_STRING, &keys, 0, "folder of the keys instead of ~/.config/xdctl", "DIR" },
        { "agent", 0, POPT_ARG_STRING, &agent, 0, "the xdagent program instead of the one that is found",
          "PATH" },
        { "max-agents", 0, POPT_ARG_INT, &most, 0, "agents at once; 256 without", "N" },
        { "drain", 0, POPT_ARG_INT, &drain, 0, "time for running agents when it is told to stop; 60 without",
          "SECONDS" },
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
    else if (n > BIND_MAX)
        code = xdctl_fail(XD_EXIT_USAGE, "--bind may be given %d times", BIND_MAX);
    else if (most < 0 || bad_drain(drain))
        code = xdctl_fail(XD_EXIT_USAGE, "%s",
                          most < 0 ? "--max-agents takes a number from 1 on"
                                   : "--drain takes seconds, 0 to 86400");
    else {
        xd_server_options o = { .size = sizeof(o),
                                .keys = keys,
                                .bind = (const char *const *)bind,
                                .agent = agent,
                                .max_agents = (unsigned)most,
                                .drain_ms = (unsigned)drain * 1000u,
                                .arg = keys,
                                .ready = on_ready,
                                .log = on_log };
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
