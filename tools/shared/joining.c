/* tools/shared/joining.c - see joining.h. */
#include "tools/shared/joining.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/shared/serving.h"
#include "tools/shared/tool.h"

#define TOKEN_VARIABLE "XD_TOKEN"
#define TOKEN_FILE_MAX 4096

static void on_joined(void *arg, const char *run, unsigned workers)
{
    (void)arg;
    printf("joined run %s with %u worker%s\n", run, workers, workers == 1 ? "" : "s");
    fflush(stdout);
}

/* Only its owner may read it. 0, or the exit code. */
static int read_token(const char *path, char *ret, size_t size, char *err)
{
    struct stat st;
    int         fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        snprintf(err, XD_TEXT, "--token-file %.200s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return XD_EXIT_USAGE;
    }
    ssize_t n = -1;
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) || st.st_uid != geteuid())
        snprintf(err, XD_TEXT,
                 "--token-file %.200s: it must be a file that belongs to you and that nobody else may read "
                 "(chmod 600)",
                 path);
    else if ((n = read(fd, ret, size - 1)) < 0)
        snprintf(err, XD_TEXT, "--token-file %.200s: %s", path, strerror(errno));
    close(fd);
    if (n < 0)
        return XD_EXIT_USAGE;
    ret[n] = 0;
    return 0;
}

static int bad(char *err, const char *option, const char *value, const char *want)
{
    snprintf(err, XD_TEXT, "--%s %.60s: %s", option, value, want);
    return XD_EXIT_USAGE;
}

static int read_times(const joining_words *w, xd_join_options *o, char *err)
{
    uint64_t    s;
    const char *wait = w->wait ? w->wait : JOINING_WAIT, *drain = w->drain ? w->drain : JOINING_DRAIN;
    if (tool_seconds(wait, &s) < 0)
        return bad(err, "wait", wait, "a time such as 30s, 5m or 1h is expected");
    o->wait_ms = s * 1000;
    if (tool_seconds(drain, &s) < 0)
        return bad(err, "drain", drain, "a time such as 30s, 5m or 1h is expected");
    o->drain_ms = s * 1000;
    return 0;
}

static int read_workers(const char *text, unsigned *ret, char *err)
{
    char         *end = NULL;
    unsigned long n = 0;
    *ret = 0;
    if (!text || strcmp(text, "auto") == 0)
        return 0;
    errno = 0;
    if (text[0] >= '1' && text[0] <= '9')
        n = strtoul(text, &end, 10);
    if (n == 0 || n > 1024 || *end || errno)
        return bad(err, "workers", text, "a number from 1 to 1024, or auto, is expected");
    *ret = (unsigned)n;
    return 0;
}

int joining_run(const joining_words *w, char *err)
{
    static char     token[TOKEN_FILE_MAX];
    const char     *given = getenv(TOKEN_VARIABLE);
    xd_join_options o = { .size = sizeof(o),
                          .address = w->address,
                          .keys = w->keys,
                          .agent = w->agent,
                          .tags = w->tags,
                          .joined = on_joined,
                          .log = serving_log };
    int             code;
    err[0] = 0;
    if ((code = read_workers(w->workers, &o.workers, err)) || (code = read_times(w, &o, err)))
        return code;
    if (w->token_file && (code = read_token(w->token_file, token, sizeof(token), err)))
        return code;
    if (!w->token_file && given && *given)
        snprintf(token, sizeof(token), "%s", given);
    unsetenv(TOKEN_VARIABLE); /* what is started here has no use for it */
    if (token[0])
        o.token = token;
    o.stop_fd = serving_stops();
    int r = o.stop_fd < 0 ? o.stop_fd : xd_join_run(&o, err);
    memset(token, 0, sizeof(token));
    if (r < 0 && !err[0])
        snprintf(err, XD_TEXT, "%s", strerror(-r));
    return r == -EINVAL   ? XD_EXIT_USAGE
           : r == -ENOMEM ? XD_EXIT_INTERNAL
           : r < 0        ? XD_EXIT_INFRASTRUCTURE
                          : 0;
}
