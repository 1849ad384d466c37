/* actors/join.c - xd_join_run, xd_token_make: see xd.h, gateways/join.h and engine/token.h. */
#include <stdio.h>
#include <string.h>

#include "engine/base/path.h"
#include "engine/token.h"
#include "engine/trust.h"
#include "engine/xd.h"
#include "gateways/join.h"

_Static_assert(XD_TOKEN_SIZE == XD_RUN_TOKEN_TEXT, "a token fits");

typedef struct telling {
    xd_join_options o; /* what the caller's version of it has */
} telling;

static void on_joined(void *arg, const char *run, uint32_t workers)
{
    const telling *t = arg;
    if (t->o.joined)
        t->o.joined(t->o.arg, run, workers);
}

static void on_log(void *arg, xd_log_level level, const char *line)
{
    const telling *t = arg;
    if (t->o.log)
        t->o.log(t->o.arg, (int)level, line);
}

int xd_join_run(const xd_join_options *options, char *err)
{
    telling      t = { 0 };
    xd_error     e = { 0 };
    size_t       n = 0;
    const size_t least = offsetof(xd_join_options, log) + sizeof(options->log);
    if (options->size < least) {
        if (err)
            snprintf(err, XD_TEXT, "xd_join_options: size is not set");
        return -EINVAL;
    }
    memcpy(&t.o, options, options->size < sizeof(t.o) ? options->size : sizeof(t.o));
    while (t.o.tags && t.o.tags[n])
        n++;
    const xd_join_args args = { .address = t.o.address ? t.o.address : "",
                                .keys = t.o.keys,
                                .token = t.o.token,
                                .agent = t.o.agent,
                                .workers = t.o.workers,
                                .tags = t.o.tags,
                                .n_tags = n,
                                .wait_ms = t.o.wait_ms,
                                .drain_ms = t.o.drain_ms,
                                .stop_fd = t.o.stop_fd,
                                .log = { .fn = on_log, .arg = &t, .min = XD_LOG_DEBUG },
                                .joined = on_joined,
                                .arg = &t };
    int                r = xd_join(&args, &e);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%s", *e.text ? e.text : xd_error_name(r));
    return r;
}

static int make(const char *folder, const char *run, int64_t expires, unsigned uses, char *ret, xd_error *e)
{
    xd_keypair        key = { 0 };
    xd_run_token      token = { 0 };
    xd_error          why = { 0 };
    xd_autofree char *found = NULL, *path = NULL;
    if (!*run)
        return xd_error_set(e, -EINVAL, "a token is for one run: its name is missing");
    if (uses > UINT16_MAX)
        return xd_error_set(e, -EINVAL, "a token can be for at most %u uses, or for any number", UINT16_MAX);
    XD_TRY(xd_keys_folder(folder, &found, e));
    path = xd_path_join(found, XD_KEY_FILE);
    if (!path)
        return -ENOMEM;
    int r = xd_keypair_read(&key, path, &why);
    if (r == -ENOENT)
        return xd_error_set(e, r, "there is no key of this user yet (%s): xdctl keygen makes one", path);
    if (r < 0)
        return xd_error_set(e, r, "%s", why.text);
    r = xd_run_token_make(&token, &key, run, (uint64_t)(expires > 0 ? expires : 0), (uint16_t)uses);
    if (r == 0)
        xd_run_token_text(&token, ret);
    xd_keypair_wipe(&key);
    xd_run_token_wipe(&token);
    return r;
}

int xd_token_make(const char *folder, const char *run, int64_t expires, unsigned uses, char *ret, char *err)
{
    xd_error e = { 0 };
    int      r = make(folder, run, expires, uses, ret, &e);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%s", *e.text ? e.text : xd_error_name(r));
    return r;
}
