/* tools/xdctl/join.c - `xdctl join`: workers of this host for a run elsewhere; `xdctl token`: who may do that. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/shared/joining.h"
#include "tools/shared/serving.h"
#include "tools/shared/tool.h"
#include "tools/xdctl/manifest.h"
#include "tools/xdctl/xdctl.h"

#define TOKEN_EXPIRES "1h"

static int join(char *const *tags, joining_words *w, const char *manifest, const manifest_words *m)
{
    char   err[XD_TEXT] = "";
    size_t n = 0;
    while (tags && tags[n]) {
        if (n == JOINING_TAGS)
            return xdctl_fail(XD_EXIT_USAGE, "--tag may be given %u times", JOINING_TAGS);
        w->tags[n] = tags[n];
        n++;
    }
    if (manifest && strcmp(manifest, "kubernetes") != 0)
        return xdctl_fail(XD_EXIT_USAGE, "--manifest %.60s: only kubernetes is known", manifest);
    if (!manifest && (m->image || m->replicas))
        return xdctl_fail(XD_EXIT_USAGE, "--%s: it is of use with --manifest alone",
                          m->image ? "image" : "replicas");
    int code = manifest ? manifest_kubernetes(w, m, err) : joining_run(w, err);
    return code ? xdctl_fail(code, "%s", err) : 0;
}

int xdctl_join(int argc, char **argv)
{
    char *keys = NULL, *agent = NULL, *workers = NULL, *file = NULL, *wait = NULL, *drain = NULL,
         *manifest = NULL, *image = NULL, *replicas = NULL, **tags = NULL;
    const char             *words[2] = { NULL };
    poptContext             ctx;
    const struct poptOption table[] = {
        { "workers", 0, POPT_ARG_STRING, &workers, 0,
          "how many this host offers; auto, as without: one for each processor", "N|auto" },
        { "tag", 0, POPT_ARG_ARGV, &tags, 0, "a capability word, which a run may require; may be repeated",
          "WORD" },
        { "keys", 0, POPT_ARG_STRING, &keys, 0, "folder of the keys instead of ~/.config/xdctl", "DIR" },
        { "token-file", 0, POPT_ARG_STRING, &file, 0,
          "read a token there (xdctl token); without: $XD_TOKEN, if it is set", "FILE" },
        { "wait", 0, POPT_ARG_STRING, &wait, 0,
          "how long the run may take to be there; " JOINING_WAIT " without", "TIME" },
        { "drain", 0, POPT_ARG_STRING, &drain, 0,
          "time for running tests when it is told to leave; " JOINING_DRAIN " without", "TIME" },
        { "agent", 0, POPT_ARG_STRING, &agent, 0, "the xdagent program instead of the one that is found",
          "PATH" },
        { "manifest", 0, POPT_ARG_STRING, &manifest, 0,
          "join nothing: print a Job for kubectl (JSON), whose pods join with a token from a Secret",
          "kubernetes" },
        { "image", 0, POPT_ARG_STRING, &image, 0, "with --manifest: what the pods run", "IMAGE" },
        { "replicas", 0, POPT_ARG_STRING, &replicas, 0, "with --manifest: how many pods; 1 without", "N" },
        POPT_AUTOHELP POPT_TABLEEND
    };
    int bad = xdctl_read_options(&ctx, argc, argv, table,
                                 "[OPTION ...] [tcp://]HOST[:PORT]\n\nBrings the workers of this host to a "
                                 "run that listens (xdctl run "
                                 "--listen): dials there, shows its key or a token,\nand runs what it is "
                                 "given, until the run is over. SIGTERM: it "
                                 "leaves when what runs has ended; a second one ends that.\n",
                                 1, words, NULL);
    int code = bad - 1;
    if (!bad && !words[0])
        code = xdctl_fail(XD_EXIT_USAGE, "which run? xdctl join tcp://HOST:PORT");
    else if (!bad) {
        joining_words        w = { .address = words[0],
                                   .keys = keys,
                                   .agent = agent,
                                   .workers = workers,
                                   .token_file = file,
                                   .wait = wait,
                                   .drain = drain };
        const manifest_words m = { .image = image, .replicas = replicas };
        code = join(tags, &w, manifest, &m);
    }
    poptFreeContext(ctx);
    char *const texts[] = { keys, agent, workers, file, wait, drain, manifest, image, replicas };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
    for (size_t i = 0; tags && tags[i]; i++)
        free(tags[i]);
    free(tags);
    return code;
}

static int make_token(const char *keys, const char *run, const char *expires, int uses)
{
    char     token[XD_TOKEN_SIZE], err[XD_TEXT] = "";
    uint64_t seconds;
    if (!run)
        return xdctl_fail(XD_EXIT_USAGE,
                          "for which run? --run ID, which is the run's id or what --testrunuid calls it");
    if (tool_seconds(expires, &seconds) < 0 || seconds == 0)
        return xdctl_fail(XD_EXIT_USAGE, "--expires %.60s: a time such as 10m, 1h or 2d is expected",
                          expires);
    if (uses < 0)
        return xdctl_fail(XD_EXIT_USAGE, "--uses takes a number; 0 is any number of uses");
    int r = xd_token_make(keys, run, (int64_t)time(NULL) + (int64_t)seconds, (unsigned)uses, token, err);
    if (r < 0)
        return xdctl_fail(serving_exit_code(r), "%s", err[0] ? err : strerror(-r));
    puts(token);
    return 0;
}

int xdctl_token(int argc, char **argv)
{
    char                   *keys = NULL, *run = NULL, *expires = NULL;
    int                     uses = 1;
    const char             *words[1];
    poptContext             ctx;
    const struct poptOption table[] = {
        { "run", 0, POPT_ARG_STRING, &run, 0, "the run that it is for: its id, or what --testrunuid calls it",
          "ID" },
        { "expires", 0, POPT_ARG_STRING, &expires, 0,
          "how long one may join with it; " TOKEN_EXPIRES " without", "TIME" },
        { "uses", 0, POPT_ARG_INT, &uses, 0, "how many hosts may join with it: 1 without; 0 = any number",
          "N" },
        { "keys", 0, POPT_ARG_STRING, &keys, 0,
          "folder of the keys instead of ~/.config/xdctl: those of the run", "DIR" },
        POPT_AUTOHELP POPT_TABLEEND
    };
    int bad = xdctl_read_options(
        &ctx, argc, argv, table,
        "--run ID [OPTION ...]\n\nPrints a token by which a host may join that run (xdctl join), "
        "whose key this user's controller does not know:\nXD_TOKEN=$(xdctl token --run ID "
        "--expires 1h)\n",
        0, words, NULL);
    int code = bad ? bad - 1 : make_token(keys, run, expires ? expires : TOKEN_EXPIRES, uses);
    poptFreeContext(ctx);
    free(keys);
    free(run);
    free(expires);
    return code;
}
