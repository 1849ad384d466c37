/* tools/xdctl/past.c - `xdctl show`, `xdctl report`: runs of the past, from their journals. */
#include <errno.h>
#include <popt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

const char *xdctl_which(const char *word, int all)
{
    return !word || strcmp(word, "latest") == 0 ? (all ? "latest-of-all" : "latest") : word;
}

/* Where the files that a run reads say that runs are kept. --work-dir has been gone to. */
static int read_place(xdctl_where *w)
{
    char      option[] = "--work-dir=.", *words[] = { option, NULL };
    char      err[XD_TEXT] = "";
    const int r =
        xd_config_new(&w->cfg) < 0 ? -ENOMEM : xd_config_read(w->cfg, w->work_dir ? 1 : 0, words, err);
    return r < 0 ? xdctl_fail(XD_EXIT_USAGE, "%s", err[0] ? err : "no memory") : 0;
}

int xdctl_where_enter(xdctl_where *w)
{
    char err[XD_TEXT] = "";
    if (w->work_dir && chdir(w->work_dir) < 0)
        return xdctl_fail(XD_EXIT_USAGE, "option --work-dir: %s: %s", w->work_dir, strerror(errno));
    if (!w->state_dir) /* it may stand in a file, where the run has read it */
        return read_place(w);
    if (xd_config_new(&w->cfg) < 0 || xd_config_set(w->cfg, "state-dir", w->state_dir, err) < 0)
        return xdctl_fail(XD_EXIT_USAGE, "%s", err[0] ? err : "no memory");
    return 0;
}

void xdctl_where_release(xdctl_where *w)
{
    free(w->state_dir);
    free(w->work_dir);
    xd_config_free(w->cfg);
}

int xdctl_is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int xdctl_print_help(int argc, char **argv, const struct poptOption *table, const char *usage)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!xdctl_is_help(argv[i]))
            continue;
        printf("usage: xdctl %s %s\n", argv[0], usage);
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
    return 0;
}

int xdctl_bad_option(const char *command, poptContext ctx, int rc)
{
    return xdctl_fail(XD_EXIT_USAGE, "%s: %s: %s; `xdctl %s --help` lists the options", command,
                      poptBadOption(ctx, POPT_BADOPTION_NOALIAS), poptStrerror(rc), command);
}

int xdctl_read_options(poptContext *ret_ctx, int argc, char **argv, const struct poptOption *table,
                       const char *usage, int most, const char **ret_words, int *verbosity)
{
    const char *command = argv[0];
    poptContext ctx = *ret_ctx = poptGetContext("xdctl", argc, (const char **)argv, table, 0);
    if (xdctl_print_help(argc, argv, table, usage))
        return 1;
    int rc, n = 0;
    while ((rc = poptGetNextOpt(ctx)) > 0)
        *verbosity += rc == 'v' ? 1 : -1;
    if (rc < -1) {
        xdctl_bad_option(command, ctx, rc);
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
static int render(const xd_config *where, const char *which, const char *kind, const char *const *options,
                  unsigned flags, const char *path, int *ret_exit)
{
    char  err[XD_TEXT] = "";
    char *dir = NULL;
    int   r = xd_run_find(where, which, &dir, err);
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

/* Text options of `show`, which pytest has too: what is given is handed on as "--name=value". */
static const struct {
    const char *name;
    char        letter;
    const char *help, *argument;
} shown_as[] = {
    { "tb", 0, "tracebacks: auto, line or no", "STYLE" },
    { "color", 0, "yes, no or auto", "WHEN" },
    { NULL, 'r', "what the short summary lists, as pytest's -r", "CHARS" },
    { "show-capture", 0, "which captured output of failed tests: no, stdout, stderr, log or all", "WHICH" },
    { "durations", 0, "show the N slowest phases of tests; 0: all", "N" },
    { "durations-min", 0, "only phases that took at least so many seconds", "SECONDS" },
};
#define SHOWN_AS (sizeof(shown_as) / sizeof(shown_as[0]))
#define OPTION_TEXT 128

static const char show_usage[] =
    "[OPTION ...] [latest|RUN-ID|FOLDER]\n\n"
    "Shows a past run as the terminal showed it; the exit code is that of the run.\n"
    "The first digits of a RUN-ID are enough; `xdctl runs` lists them.\n";

/* "-vv" or "-qq", and the others; *ret is NULL-terminated and points into texts. */
static void option_texts(int verbosity, char *const *values, bool no_header, bool no_summary,
                         char texts[SHOWN_AS + 1][OPTION_TEXT], const char **ret)
{
    size_t n = 0;
    if (verbosity) {
        size_t most = (size_t)abs(verbosity) < OPTION_TEXT - 2 ? (size_t)abs(verbosity) : OPTION_TEXT - 2;
        memset(texts[SHOWN_AS], 0, OPTION_TEXT);
        memset(texts[SHOWN_AS] + 1, verbosity > 0 ? 'v' : 'q', most);
        texts[SHOWN_AS][0] = '-';
        ret[n++] = texts[SHOWN_AS];
    }
    for (size_t i = 0; i < SHOWN_AS; i++) {
        if (!values[i])
            continue;
        if (shown_as[i].name)
            snprintf(texts[i], OPTION_TEXT, "--%s=%s", shown_as[i].name, values[i]);
        else
            snprintf(texts[i], OPTION_TEXT, "-%c%s", shown_as[i].letter, values[i]);
        ret[n++] = texts[i];
    }
    if (no_header)
        ret[n++] = "--no-header";
    if (no_summary)
        ret[n++] = "--no-summary";
    ret[n] = NULL;
}

int xdctl_show(int argc, char **argv)
{
    int               failed = 0, all = 0, json = 0, matrix = 0, no_header = 0, no_summary = 0, verbosity = 0;
    char             *values[SHOWN_AS] = { NULL }, texts[SHOWN_AS + 1][OPTION_TEXT];
    const char       *words[2], *options[SHOWN_AS + 4];
    xdctl_where       where = { 0 };
    struct poptOption table[SHOWN_AS + 11] = {
        { "all", 0, POPT_ARG_NONE, &all, 0, "latest is the newest run of any project", NULL },
        { "json", 0, POPT_ARG_NONE, &json, 0, "print one JSON object: the run and its tests", NULL },
        { "matrix", 0, POPT_ARG_NONE, &matrix, 0,
          "of a run with --dist each: the tests that differ between its environments; -v: all", NULL },
        { "failed", 0, POPT_ARG_NONE, &failed, 0, "show only failures and the summary", NULL },
        { "verbose", 'v', POPT_ARG_NONE, NULL, 'v', "show more: a line for each test", NULL },
        { "quiet", 'q', POPT_ARG_NONE, NULL, 'q', "less: no header", NULL },
        { "no-header", 0, POPT_ARG_NONE, &no_header, 0, "no header", NULL },
        { "no-summary", 0, POPT_ARG_NONE, &no_summary, 0, "no summary", NULL },
        XDCTL_WHERE(where),
    };
    for (size_t i = 0; i < SHOWN_AS; i++)
        table[10 + i] =
            (struct poptOption){ shown_as[i].name, shown_as[i].letter,  POPT_ARG_STRING, &values[i], 0,
                                 shown_as[i].help, shown_as[i].argument };
    poptContext ctx;
    int code = xdctl_read_options(&ctx, argc, argv, table, show_usage, 1, words, &verbosity), of_run = 0;
    if (code) {
        code--;
    } else {
        option_texts(verbosity, values, no_header, no_summary, texts, options);
        unsigned flags =
            (failed ? XD_RENDER_FAILED : 0u) | XD_RENDER_COLOR_AUTO | (json ? XD_RENDER_JSON : 0u);
        char err[XD_TEXT] = "";
        if (xd_run_render(NULL, "terminal", options, flags, -1, err) < 0)
            code = xdctl_fail(XD_EXIT_USAGE, "show: %s", err);
        else if ((code = xdctl_where_enter(&where)) != 0)
            of_run = code;
        else if (matrix)
            code = render(where.cfg, xdctl_which(words[0], all), "matrix", options, flags, NULL, &of_run);
        else if (json)
            code = xdctl_show_json(where.cfg, xdctl_which(words[0], all), failed, &of_run);
        else
            code = render(where.cfg, xdctl_which(words[0], all), "terminal", options, flags, NULL, &of_run);
        code = code ? code : of_run;
    }
    for (size_t i = 0; i < SHOWN_AS; i++)
        free(values[i]);
    xdctl_where_release(&where);
    poptFreeContext(ctx);
    return code;
}

int xdctl_report(int argc, char **argv)
{
    char             *path = NULL;
    int               all = 0;
    xdctl_where       where = { 0 };
    struct poptOption table[] = {
        { "all", 0, POPT_ARG_NONE, &all, 0, "latest is the newest run of any project", NULL },
        XDCTL_WHERE(where),
        { "output", 'o', POPT_ARG_STRING, &path, 0, "write to FILE instead of standard output", "FILE" },
        POPT_TABLEEND
    };
    poptContext ctx;
    const char *words[3];
    int         bad =
        xdctl_read_options(&ctx, argc, argv, table,
                           "[OPTION ...] junit|jsonl|terminal|matrix [latest|RUN-ID|FOLDER]\n\n"
                           "Makes a report of a past run; the exit code is 0 when it could be made, 7 when "
                           "the run was cut off.\n"
                           "The first digits of a RUN-ID are enough; `xdctl runs` lists them.\n",
                           2, words, NULL);
    if (bad) {
        xdctl_where_release(&where);
        free(path);
        poptFreeContext(ctx);
        return bad - 1;
    }
    int of_run, code;
    if (!words[0])
        code = xdctl_fail(XD_EXIT_USAGE,
                          "report: which one? junit, jsonl or terminal; matrix of a run with --dist each");
    else if (strcmp(words[0], "junit") != 0 && strcmp(words[0], "jsonl") != 0 &&
             strcmp(words[0], "terminal") != 0 && strcmp(words[0], "matrix") != 0)
        code =
            xdctl_fail(XD_EXIT_USAGE, "no report is called '%s': junit, jsonl, terminal, matrix", words[0]);
    else if ((code = xdctl_where_enter(&where)) ==
             0) /* a report of a run that failed was still made: the exit code is that of making it */
        code = render(where.cfg, xdctl_which(words[1], all), words[0], NULL, path ? 0 : XD_RENDER_COLOR_AUTO,
                      path, &of_run);
    free(path);
    xdctl_where_release(&where);
    poptFreeContext(ctx);
    return code;
}
