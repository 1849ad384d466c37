/* tools/xdctl/past.c - `xdctl show`, `xdctl report`, `xdctl runs`: runs of the past, from their journals. */
#include <errno.h>
#include <fcntl.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

#define MAX_REPORT_OPTIONS 32

/* Reads the options of one subcommand with popt; leaves the rest to poptGetArg.  0, or the exit code + 1. */
static int read_options(poptContext ctx, const char *command)
{
    int rc = poptGetNextOpt(ctx);
    if (rc < -1) {
        xdctl_fail(XD_EXIT_USAGE, "%s: %s: %s", command, poptBadOption(ctx, POPT_BADOPTION_NOALIAS), poptStrerror(rc));
        return XD_EXIT_USAGE + 1;
    }
    return 0;
}

static int render(const char *which, const char *kind, const char *const *options, unsigned flags, const char *path)
{
    char  err[XD_TEXT] = "";
    char *dir = NULL;
    int   r = xd_run_find(which, &dir, err);
    if (r < 0)
        return xdctl_fail(XD_EXIT_USAGE, "%s", err);
    int fd = 1;
    if (path) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0) {
            r = errno;
            free(dir);
            return xdctl_fail(XD_EXIT_USAGE, "cannot write %s: %s", path, strerror(r));
        }
    }
    r = xd_run_render(dir, kind, options, flags, fd, err);
    free(dir);
    if (fd != 1 && close(fd) < 0 && r >= 0)
        r = -errno;
    if (r < 0)
        return xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INTERNAL, "%s", err[0] ? err : strerror(-r));
    if (r == XD_EXIT_INCOMPLETE && err[0])
        xdctl_fail(0, "%s", err);
    return r;
}

int xdctl_show(int argc, char **argv)
{
    int                failed = 0;
    char              *tb = NULL, *r_chars = NULL;
    int                verbose = 0;
    struct poptOption  table[] = {
        { "failed", 0, POPT_ARG_NONE, &failed, 0, "only failures and the summary", NULL },
        { "verbose", 'v', POPT_ARG_NONE, &verbose, 0, "a line for each test", NULL },
        { "tb", 0, POPT_ARG_STRING, &tb, 0, "tracebacks: auto, line or no", "STYLE" },
        { NULL, 'r', POPT_ARG_STRING, &r_chars, 0, "what the short summary lists, as pytest's -r", "CHARS" },
        POPT_AUTOHELP POPT_TABLEEND
    };
    poptContext ctx = poptGetContext("xdctl", argc, (const char **)argv, table, 0);
    poptSetOtherOptionHelp(ctx, "show [OPTION ...] [latest|RUN-ID]");
    int bad = read_options(ctx, "show");
    if (bad) {
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
    const char *which = poptGetArg(ctx);
    unsigned    flags = (failed ? XD_RENDER_FAILED : 0u) | (xdctl_colors(1) ? XD_RENDER_COLOR : 0u);
    int         code = render(which ? which : "latest", "terminal", options, flags, NULL);
    free(tb);
    free(r_chars);
    poptFreeContext(ctx);
    return code;
}

int xdctl_report(int argc, char **argv)
{
    char              *path = NULL;
    struct poptOption  table[] = {
        { "output", 'o', POPT_ARG_STRING, &path, 0, "write to FILE instead of standard output", "FILE" },
        POPT_AUTOHELP POPT_TABLEEND
    };
    poptContext ctx = poptGetContext("xdctl", argc, (const char **)argv, table, 0);
    poptSetOtherOptionHelp(ctx, "report [OPTION ...] junit|jsonl|terminal [latest|RUN-ID]");
    int bad = read_options(ctx, "report");
    if (bad) {
        poptFreeContext(ctx);
        return bad - 1;
    }
    const char *kind = poptGetArg(ctx);
    const char *which = poptGetArg(ctx);
    int         code;
    if (!kind)
        code = xdctl_fail(XD_EXIT_USAGE, "report: which one? junit, jsonl or terminal");
    else
        code = render(which ? which : "latest", kind, NULL, 0, path);
    /* A report of a run that failed was still made: its exit code is that of making it. */
    if (code == XD_EXIT_FAILED || code == XD_EXIT_INTERRUPTED || code == XD_EXIT_NO_TESTS)
        code = 0;
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
        int help = strcmp(argv[1], "--help") == 0;
        fputs("usage: xdctl runs\nLists past runs, newest first: id, start, folder.\n", help ? stdout : stderr);
        return help ? 0 : XD_EXIT_USAGE;
    }
    char err[XD_TEXT] = "";
    int  r = xd_run_list(print_run, NULL, err);
    return r < 0 ? xdctl_fail(XD_EXIT_INTERNAL, "%s", err) : 0;
}

int xdctl_doctor(int argc, char **argv)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        puts("usage: xdctl doctor [OPTION OF RUN ...]\nSays what is installed, limits, which python and pytest are found, and what would fail.");
        return 0;
    }
    if (xd_config_new(&cfg) < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    int code;
    if (xd_config_parse(cfg, argc - 1, argv + 1, err) < 0) {
        code = xdctl_fail(XD_EXIT_USAGE, "%s", err);
    } else {
        int r = xd_doctor(cfg, 1, err);
        code = r < 0 ? xdctl_fail(XD_EXIT_INTERNAL, "%s", err) : r == 0 ? 0 : XD_EXIT_INFRASTRUCTURE;
    }
    xd_config_free(cfg);
    return code;
}
