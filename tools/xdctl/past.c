/* tools/xdctl/past.c - `xdctl show`, `xdctl report`, `xdctl runs`: runs of the past, from their journals. */
#include <errno.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

static int is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Reads the options of one subcommand with popt: *ret_words are up to `most` other arguments,
 * NULL-terminated, valid as long as *ret_ctx.
 * 0, or the exit code + 1 when all is said: wrong usage, or --help. */
static int read_options(poptContext *ret_ctx, int argc, char **argv, const struct poptOption *table,
                        const char *usage, int most, const char **ret_words)
{
    const char *command = argv[0];
    poptContext ctx = *ret_ctx = poptGetContext("xdctl", argc, (const char **)argv, table, 0);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!is_help(argv[i]))
            continue;
        printf("usage: xdctl %s %s\n", command, usage);
        for (const struct poptOption *o = table; o->longName || o->shortName; o++) {
            char left[64], letter[4] = "";
            if (o->shortName)
                snprintf(letter, sizeof(letter), "-%c", o->shortName);
            snprintf(left, sizeof(left), "%s%s%s%s%s%s", letter, o->shortName && o->longName ? ", " : "",
                     o->longName ? "--" : "", o->longName ? o->longName : "", o->argDescrip ? " " : "",
                     o->argDescrip ? o->argDescrip : "");
            printf("  %-20s %s\n", left, o->descrip);
        }
        return 1;
    }
    int rc = poptGetNextOpt(ctx), n = 0;
    if (rc < -1) {
        xdctl_fail(XD_EXIT_USAGE, "%s: %s: %s; `xdctl %s --help` lists the options", command,
                   poptBadOption(ctx, POPT_BADOPTION_NOALIAS), poptStrerror(rc), command);
        return XD_EXIT_USAGE + 1;
    }
    for (const char *word; (word = poptGetArg(ctx)); ret_words[n++] = word)
        if (n == most) {
            xdctl_fail(XD_EXIT_USAGE, "%s: one argument too many: '%s'", command, word);
            return XD_EXIT_USAGE + 1;
        }
    ret_words[n] = NULL;
    return 0;
}

/* 0 = made, *ret_exit is the exit code that the run had; else the exit code of this program, and why was
 * said. */
static int render(const char *which, const char *kind, const char *const *options, unsigned flags,
                  const char *path, int *ret_exit)
{
    char  err[XD_TEXT] = "";
    char *dir = NULL;
    int   r = xd_run_find(which, &dir, err);
    if (r < 0)
        return xdctl_fail(XD_EXIT_USAGE, "%s", err);
    r = path ? xd_run_report(dir, kind, options, flags, path, err)
             : xd_run_render(dir, kind, options, flags, 1, err);
    free(dir);
    if (r < 0)
        return xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INTERNAL, "%s", err[0] ? err : strerror(-r));
    *ret_exit = r;
    return err[0] ? xdctl_fail(XD_EXIT_INCOMPLETE, "%s", err) : 0;
}

int xdctl_show(int argc, char **argv)
{
    int               failed = 0;
    char             *tb = NULL, *r_chars = NULL;
    int               verbose = 0;
    struct poptOption table[] = {
        { "failed", 0, POPT_ARG_NONE, &failed, 0, "only failures and the summary", NULL },
        { "verbose", 'v', POPT_ARG_NONE, &verbose, 0, "a line for each test", NULL },
        { "tb", 0, POPT_ARG_STRING, &tb, 0, "tracebacks: auto, line or no", "STYLE" },
        { NULL, 'r', POPT_ARG_STRING, &r_chars, 0, "what the short summary lists, as pytest's -r", "CHARS" },
        POPT_TABLEEND
    };
    poptContext ctx;
    const char *words[2];
    int         bad = read_options(&ctx, argc, argv, table,
                                   "[OPTION ...] [latest|RUN-ID]\n\n"
                                           "Shows a past run as the terminal showed it; the exit code is that of the run.\n"
                                           "RUN-ID may be the beginning of one; `xdctl runs` lists them.\n",
                                   1, words);
    if (!bad && tb && strcmp(tb, "auto") != 0 && strcmp(tb, "line") != 0 && strcmp(tb, "no") != 0)
        bad = xdctl_fail(XD_EXIT_USAGE,
                         "show: --tb is auto, line or no, not '%s': other styles are made while a test runs",
                         tb) +
              1;
    if (bad) {
        free(tb);
        free(r_chars);
        poptFreeContext(ctx);
        return bad - 1;
    }
    const char *options[4];
    char        tb_text[64], r_text[64];
    size_t      n = 0;
    if (verbose)
        options[n++] = "-v";
    if (tb) {
        snprintf(tb_text, sizeof(tb_text), "--tb=%s", tb);
        options[n++] = tb_text;
    }
    if (r_chars) {
        snprintf(r_text, sizeof(r_text), "-r%s", r_chars);
        options[n++] = r_text;
    }
    options[n] = NULL;
    unsigned flags = (failed ? XD_RENDER_FAILED : 0u) | (xdctl_colors(1) ? XD_RENDER_COLOR : 0u);
    int      of_run = 0;
    int      code = render(words[0] ? words[0] : "latest", "terminal", options, flags, NULL, &of_run);
    free(tb);
    free(r_chars);
    poptFreeContext(ctx);
    return code ? code : of_run;
}

int xdctl_report(int argc, char **argv)
{
    char             *path = NULL;
    struct poptOption table[] = { { "output", 'o', POPT_ARG_STRING, &path, 0,
                                    "write to FILE instead of standard output", "FILE" },
                                  POPT_TABLEEND };
    poptContext       ctx;
    const char       *words[3];
    int               bad = read_options(&ctx, argc, argv, table,
                                         "[OPTION ...] junit|jsonl|terminal [latest|RUN-ID]\n\n"
                                                       "Makes a report of a past run; the exit code is 0 when it could be made, 7 when "
                                                       "the run was cut off.\n"
                                                       "RUN-ID may be the beginning of one; `xdctl runs` lists them.\n",
                                         2, words);
    if (bad) {
        free(path);
        poptFreeContext(ctx);
        return bad - 1;
    }
    int of_run, code;
    if (!words[0])
        code = xdctl_fail(XD_EXIT_USAGE, "report: which one? junit, jsonl or terminal");
    else if (strcmp(words[0], "junit") != 0 && strcmp(words[0], "jsonl") != 0 &&
             strcmp(words[0], "terminal") != 0)
        code = xdctl_fail(XD_EXIT_USAGE, "no report is called '%s': junit, jsonl, terminal", words[0]);
    else /* a report of a run that failed was still made: the exit code is that of making it */
        code = render(words[1] ? words[1] : "latest", words[0], NULL, 0, path, &of_run);
    free(path);
    poptFreeContext(ctx);
    return code;
}

static int print_run(void *arg, const char *id, const char *dir, uint64_t started_us)
{
    (void)arg;
    time_t    seconds = (time_t)(started_us / 1000000);
    struct tm tm;
    char      when[32];
    localtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    return printf("%s  %s  %s\n", id, when, dir) < 0 ? -errno : 0;
}

int xdctl_runs(int argc, char **argv)
{
    if (argc > 1) {
        int help = is_help(argv[1]);
        fputs("usage: xdctl runs\n\nLists past runs, newest first: id, start, folder.\n",
              help ? stdout : stderr);
        return help ? 0 : XD_EXIT_USAGE;
    }
    char err[XD_TEXT] = "";
    int  r = xd_run_list(print_run, NULL, err);
    return r < 0 ? xdctl_fail(XD_EXIT_INTERNAL, "%s", err[0] ? err : strerror(-r)) : 0;
}

int xdctl_doctor(int argc, char **argv)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    if (argc > 1 && is_help(argv[1])) {
        puts("usage: xdctl doctor [OPTION ...]\n\n"
             "Says what is installed, limits, which python and pytest are found, and what would fail; one "
             "line each, ok or FAIL.\n"
             "Takes the options of `xdctl run`; of them --python and --agent matter.  Exit code: 0 all is "
             "well, 6 a run would fail.");
        return 0;
    }
    if (xd_config_new(&cfg) < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    int code;
    if (xd_config_parse(cfg, argc - 1, argv + 1, err) < 0) {
        code = xdctl_fail(XD_EXIT_USAGE, "%s", err);
    } else {
        int r = xd_doctor(cfg, 1, err);
        code = r < 0    ? xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INTERNAL, "%s", err)
               : r == 0 ? 0
                        : XD_EXIT_INFRASTRUCTURE;
    }
    xd_config_free(cfg);
    return code;
}
