/* actors/server.c - xd_server_run: see xd.h, and gateways/serve.h. */
#include <stdio.h>
#include <string.h>

#include "engine/xd.h"
#include "gateways/agent_program.h"
#include "gateways/serve.h"

typedef struct telling {
    xd_server_options o; /* what the caller's version of it has */
} telling;

static void on_ready(void *arg, const char *const *addresses, const char *fingerprint, const char *key,
                     size_t authorized)
{
    const telling    *t = arg;
    const xd_key_info info = { .size = sizeof(info),
                               .file = "id",
                               .key = key,
                               .fingerprint = fingerprint,
                               .comment = "",
                               .expires = INT64_MAX };
    if (t->o.ready)
        t->o.ready(t->o.arg, addresses, &info, authorized);
}

static void on_log(void *arg, xd_log_level level, const char *line)
{
    const telling *t = arg;
    if (t->o.log)
        t->o.log(t->o.arg, (int)level, line);
}

int xd_server_run(const xd_server_options *options, char *err)
{
    telling      t = { 0 };
    xd_error     e = { 0 };
    size_t       n = 0;
    const size_t least = offsetof(xd_server_options, log) + sizeof(options->log);
    if (options->size < least) {
        if (err)
            snprintf(err, XD_TEXT, "xd_server_options: size is not set");
        return -EINVAL;
    }
    memcpy(&t.o, options, options->size < sizeof(t.o) ? options->size : sizeof(t.o));
    while (t.o.bind && t.o.bind[n])
        n++;
    const xd_serve_args args = { .keys = t.o.keys,
                                 .bind = t.o.bind,
                                 .n_bind = n,
                                 .agent = t.o.agent,
                                 .max_agents = t.o.max_agents,
                                 .limits = { .connections = t.o.max_connections },
                                 .drain_ms = t.o.drain_ms,
                                 .stop_fd = t.o.stop_fd,
                                 .log = { .fn = on_log, .arg = &t, .min = XD_LOG_DEBUG },
                                 .ready = on_ready,
                                 .arg = &t };
    int                 r = xd_serve(&args, &e);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%s", *e.text ? e.text : xd_error_name(r));
    return r;
}

int xd_server_program(char **ret_path, char *err)
{
    xd_error e = { 0 };
    int      r = xd_program_find("xdserve", ret_path, &e);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%s", *e.text ? e.text : xd_error_name(r));
    return r;
}
