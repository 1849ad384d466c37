/* tools/shared/serving.c - see serving.h. */
#include "tools/shared/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int stop_pipe[2] = { -1, -1 };

static void on_signal(int sig)
{
    const int kept = errno;
    (void)sig;
    (void)!write(stop_pipe[1], "", 1);
    errno = kept;
}

int serving_stops(void)
{
    const struct sigaction action = { .sa_handler = on_signal };
    const int              signals[] = { SIGINT, SIGTERM, SIGHUP };
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (sigaction(signals[i], &action, NULL) < 0)
            return -errno;
    signal(SIGPIPE, SIG_IGN);
    /* A shell has it ignored by what it starts in the background, and so would the tests. */
    signal(SIGQUIT, SIG_DFL);
    return stop_pipe[0];
}

typedef struct serving {
    const char *keys, *authorize;
} serving;

static void on_ready(void *arg, const char *const *addresses, const xd_key_info *key, size_t authorized)
{
    const serving *s = arg;
    for (; *addresses; addresses++)
        printf("listening on %s\n", *addresses);
    printf("key xdk1 %s\nfingerprint %s\n", key->key, key->fingerprint);
    if (authorized)
        printf("%zu controller%s authorized\n", authorized, authorized == 1 ? "" : "s");
    else
        printf("no controller is authorized yet: `xdctl keygen` there prints a line for "
               "%s/authorized_controllers (%s%s%s LINE)\n",
               s->keys ? s->keys : "~/.config/xdctl", s->authorize, s->keys ? " --keys " : "",
               s->keys ? s->keys : "");
    fflush(stdout);
}

void serving_log(void *arg, int level, const char *line)
{
    static const char *const words[] = { "detail", "info", "warning", "error" };
    char                     when[32] = "";
    const time_t             now = time(NULL);
    struct tm                tm;
    char                    *shown = NULL;
    (void)arg;
    if (gmtime_r(&now, &tm))
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "%s %s: %s\n", when,
            words[level < 0   ? 0
                  : level > 3 ? 3
                              : level],
            xd_harmless(line, strlen(line), &shown) == 0 ? shown : line);
    free(shown);
}

int serving_exit_code(int r)
{
    switch (r) {
    case -EINVAL:
    case -EEXIST:
    case -ENOENT:
        return XD_EXIT_USAGE;
    case -ENOMEM:
        return XD_EXIT_INTERNAL;
    default:
        return r < 0 ? XD_EXIT_INFRASTRUCTURE : 0;
    }
}

int serving_run(const xd_server_options *options, const char *authorize, char *err)
{
    serving           s = { .keys = options->keys, .authorize = authorize };
    xd_server_options o = *options;
    int               r = serving_stops();
    err[0] = 0;
    if (r >= 0) {
        o.stop_fd = r;
        o.arg = &s;
        o.ready = on_ready;
        o.log = serving_log;
        r = xd_server_run(&o, err);
    }
    if (r < 0 && !err[0])
        snprintf(err, XD_TEXT, "%s", strerror(-r));
    return r == -ENOENT || r == -EEXIST ? XD_EXIT_INFRASTRUCTURE : serving_exit_code(r);
}
