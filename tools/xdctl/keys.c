/* tools/xdctl/keys.c - `xdctl keygen`, `xdctl trust`, `xdctl keys`. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/shared/serving.h"
#include "tools/xdctl/xdctl.h"

#define ASK_MS 10000

static int failed(int r, const char *err)
{
    return xdctl_fail(serving_exit_code(r), "%s", err[0] ? err : strerror(-r));
}

#define KEYS_OPTION(at)                                                                              \
    {                                                                                                \
        "keys", 0, POPT_ARG_STRING, &(at), 0, "folder of the keys instead of ~/.config/xdctl", "DIR" \
    }

/* ---- keygen ----------------------------------------------------------------------------------------------------- */

static void print_own(void *arg, const xd_key_info *k)
{
    (void)arg;
    printf("xdk1 %s %s\n", k->key, k->comment);
    fprintf(stderr, "fingerprint: %s\n", k->fingerprint);
}

int xdctl_keygen(int argc, char **argv)
{
    char                   *folder = NULL, *comment = NULL, err[XD_TEXT] = "";
    const char             *words[1];
    poptContext             ctx;
    const struct poptOption table[] = { KEYS_OPTION(folder),
                                        { "comment", 'C', POPT_ARG_STRING, &comment, 0,
                                          "what the key is called, instead of USER@HOST", "TEXT" },
                                        POPT_AUTOHELP POPT_TABLEEND };
    int                     bad = xdctl_read_options(&ctx, argc, argv, table,
                                                     "[OPTION ...]\n\nMakes the key of this user, if there is none yet, and "
                                                                         "prints its public half: the line that "
                                                                         "goes into\nauthorized_controllers of a server.\n",
                                                     0, words, NULL);
    poptFreeContext(ctx);
    int r = bad ? 0 : xd_keys_make(folder, comment, print_own, NULL, err);
    if (r == 1)
        fputs("this user has a key already; it is kept\n", stderr);
    free(folder);
    free(comment);
    return bad ? bad - 1 : r < 0 ? failed(r, err) : 0;
}

/* ---- trust ------------------------------------------------------------------------------------------------------- */

/* 1 = yes. */
static int agreed(void)
{
    char line[16] = "";
    if (!isatty(0))
        return 0;
    fputs("Is that the fingerprint which the server shows, and may it be trusted? (yes/no) ", stderr);
    return fgets(line, sizeof(line), stdin) && strcmp(line, "yes\n") == 0;
}

typedef struct trusting {
    const char *folder, *address, *key; /* key: NULL = the server is asked */
    int         yes, replace;
} trusting;

static int trust(const trusting *t)
{
    char        asked[64], print[64], err[XD_TEXT] = "";
    const char *key = t->key;
    int         r = key ? 0 : xd_keys_ask(t->address, ASK_MS, asked, err);
    if (r < 0)
        return failed(r, err);
    key = key ? key : asked;
    if (strncmp(key, "xdk1 ", 5) == 0)
        key += 5;
    r = xd_keys_known(t->folder, t->address, key, err);
    if (r == -EKEYREJECTED && !t->replace)
        return xdctl_fail(XD_EXIT_INFRASTRUCTURE,
                          "THE KEY HAS CHANGED: %s. Somebody may pretend to be that host, or it was set up "
                          "anew. If you know that it was: "
                          "--replace",
                          err);
    if (r < 0 && r != -EKEYREJECTED)
        return failed(r, err);
    if (xd_keys_fingerprint(key, print) < 0)
        return xdctl_fail(XD_EXIT_USAGE, "'%.60s' is no key", key);
    fprintf(stderr, "%s has the key %s\n", t->address, print);
    if (r == 1) {
        fputs("it is trusted already\n", stderr);
        return 0;
    }
    if (!t->key && !t->yes && !agreed())
        return xdctl_fail(XD_EXIT_INFRASTRUCTURE,
                          "not trusted: nobody has agreed (--yes does, --key KEY names the key itself)");
    r = xd_keys_trust(t->folder, t->address, key, NULL, err);
    if (r < 0)
        return failed(r, err);
    fputs("trusted from now on\n", stderr);
    return 0;
}

int xdctl_trust(int argc, char **argv)
{
    char                   *folder = NULL, *key = NULL;
    trusting                t = { 0 };
    const char             *words[2] = { NULL };
    poptContext             ctx;
    const struct poptOption table[] = {
        KEYS_OPTION(folder),
        { "key", 0, POPT_ARG_STRING, &key, 0,
          "the server's key, as it shows it when it starts: nothing is asked", "KEY" },
        { "yes", 'y', POPT_ARG_NONE, &t.yes, 0, "trust what the server says, without a question", NULL },
        { "replace", 0, POPT_ARG_NONE, &t.replace, 0, "also if the address was known by another key", NULL },
        POPT_AUTOHELP POPT_TABLEEND
    };
    int bad =
        xdctl_read_options(&ctx, argc, argv, table,
                           "[OPTION ...] HOST[:PORT]\n\nAsks a server (xdctl serve) for its key, shows the "
                           "fingerprint, and takes it "
                           "when you agree: from then on\nsocket=HOST:PORT is that server and no other.\n",
                           1, words, NULL);
    int code = bad - 1;
    if (!bad && !words[0])
        code = xdctl_fail(XD_EXIT_USAGE, "which server? xdctl trust HOST[:PORT]");
    else if (!bad && folder && !*folder)
        code = xdctl_fail(XD_EXIT_USAGE, "--keys names no folder"); /* before a server is asked */
    else if (!bad) {
        t.folder = folder;
        t.key = key;
        t.address = words[0];
        code = trust(&t);
    }
    poptFreeContext(ctx);
    free(folder);
    free(key);
    return code;
}

/* ---- keys ---------------------------------------------------------------------------------------------------------- */

typedef struct listing {
    json_t *all; /* NULL: lines */
    int     any;
} listing;

static void expiry(int64_t at, char *to, size_t size)
{
    const time_t t = (time_t)at;
    struct tm    tm;
    to[0] = 0;
    if (at != INT64_MAX && gmtime_r(&t, &tm))
        (void)strftime(to, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void on_key(void *arg, const xd_key_info *k)
{
    listing *l = arg;
    char     until[32];
    expiry(k->expires, until, sizeof(until));
    l->any = 1;
    if (l->all) {
        json_t *one = json_pack("{s:s, s:s, s:s, s:s*, s:s?}", "file", k->file, "key", k->key, "fingerprint",
                                k->fingerprint, "address", k->address, "comment", k->comment);
        if (one && until[0])
            json_object_set_new(one, "expires", json_string(until));
        if (one && k->max_workers)
            json_object_set_new(one, "max_workers", json_integer(k->max_workers));
        json_array_append_new(l->all, one);
        return;
    }
    printf("%-22s %s%s%s %s%s%s\n", k->file, k->fingerprint, k->address ? " " : "",
           k->address ? k->address : "", k->comment, until[0] ? " until " : "", until);
}

static int list(const char *folder, int json)
{
    char    err[XD_TEXT] = "";
    listing l = { .all = json ? json_array() : NULL };
    int     r = xd_keys_list(folder, on_key, &l, err);
    if (r == 0 && json && (json_dumpf(l.all, stdout, JSON_INDENT(1)) < 0 || putchar('\n') < 0))
        r = -EIO;
    json_decref(l.all);
    if (r == 0 && !json && !l.any)
        fputs("there are no keys yet: xdctl keygen makes one\n", stderr);
    return r < 0 ? failed(r, err) : 0;
}

static int change(const char *folder, const char *verb, int worker, const char *what)
{
    char err[XD_TEXT] = "";
    int  r = strcmp(verb, "revoke") == 0 ? xd_keys_revoke(folder, what, err)
             : worker                    ? xd_keys_authorize_worker(folder, what, err)
                                         : xd_keys_authorize(folder, what, err);
    if (r < 0)
        return failed(r, err);
    fputs(strcmp(verb, "revoke") == 0 ? "revoked: servers that use this folder cut it off within seconds\n"
          : r == 1                    ? "authorized; it takes the place of the line that was there\n"
                                      : "authorized\n",
          stderr);
    return 0;
}

int xdctl_keys(int argc, char **argv)
{
    char                   *folder = NULL;
    const char             *words[3] = { NULL };
    poptContext             ctx;
    int                     json = 0, worker = 0, code;
    const struct poptOption table[] = {
        KEYS_OPTION(folder),
        { "json", 0, POPT_ARG_NONE, &json, 0, "of list: as JSON", NULL },
        { "worker", 0, POPT_ARG_NONE, &worker, 0,
          "of authorize: a host that may join runs (xdctl join), not a controller", NULL },
        POPT_AUTOHELP POPT_TABLEEND
    };
    int bad = xdctl_read_options(&ctx, argc, argv, table,
                                 "list | authorize LINE | revoke KEY\n\nlist       the own key, who is "
                                 "authorized, which servers are known, what "
                                 "was revoked\nauthorize  adds a line to authorized_controllers, with "
                                 "--worker to authorized_workers: [OPTIONS] "
                                 "xdk1 KEY [COMMENT]\nrevoke     a key, by "
                                 "itself, its fingerprint or its comment: servers cut it off\n",
                                 2, words, NULL);
    if (bad)
        code = bad - 1;
    else if (words[0] && strcmp(words[0], "list") == 0 && !words[1])
        code = list(folder, json);
    else if (words[0] && (strcmp(words[0], "revoke") == 0 || strcmp(words[0], "authorize") == 0) && words[1])
        code = change(folder, words[0], worker, words[1]);
    else
        code = xdctl_fail(XD_EXIT_USAGE,
                          "xdctl keys list, xdctl keys authorize LINE or xdctl keys revoke KEY is expected");
    poptFreeContext(ctx);
    free(folder);
    return code;
}
