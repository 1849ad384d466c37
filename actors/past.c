/* actors/past.c - xd_run_render, xd_run_report and xd_file_replace of engine/xd.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/report_choice.h"
#include "actors/report_render.h"
#include "engine/base/outfile.h"
#include "engine/base/path.h"
#include "engine/runs.h"
#include "engine/xd.h"

#define MAX_OVERRIDES 32

/* pytest's options that say how a report is shown: "--name=" and what may follow. */
static const struct {
    const char *option;
    const char *words; /* those allowed, with a | behind each; NULL = a number */
    bool        decimals;
} known_options[] = {
    { "--tb=", "auto|line|no|long|short|native|", false },
    { "--color=", "yes|no|auto|", false },
    { "--show-capture=", "no|stdout|stderr|log|all|", false },
    { "--durations=", NULL, false },
    { "--durations-min=", NULL, true },
};

static int check_word(const char *name, const char *value, const char *words, xd_error *err)
{
    size_t len = strlen(value);
    for (const char *w = words; len && *w; w += strcspn(w, "|") + 1)
        if (strcspn(w, "|") == len && strncmp(w, value, len) == 0)
            return 0;
    return xd_error_set(err, -EINVAL, "option %.*s: '%.100s' is not valid: it is one of %.*s",
                        (int)strcspn(name, "="), name, value, (int)strlen(words) - 1, words);
}

/* A traceback is text once the test has run: what its frames held, and their source, are gone. */
static int check_style(const char *journal, const char *const *overrides, xd_error *err)
{
    char made[16] = "auto"; /* the --tb of the run */
    for (; *overrides; overrides++) {
        const char *style = *overrides + 5;
        if (strncmp(*overrides, "--tb=", 5) != 0 || !strcmp(style, "auto") || !strcmp(style, "line") ||
            !strcmp(style, "no"))
            continue;
        if (xd_runs_option(journal, "tbstyle", made, sizeof(made)) < 0 || /* the report will name the fault */
            !strcmp(style, made))
            return 0;
        return xd_error_set(
            err, -EINVAL,
            "option --tb: %s tracebacks cannot be made of a run's journal, which has them as the "
            "run made them (%s): it is auto, line or no here; or run the tests with --tb=%s",
            style, made, style);
    }
    return 0;
}

static int check_number(const char *name, const char *value, bool decimals, xd_error *err)
{
    size_t digits = strspn(value, "0123456789"), point = decimals && value[digits] == '.';
    size_t rest = point ? strspn(value + digits + 1, "0123456789") : 0;
    if (digits + rest > 0 && !value[digits + point + rest])
        return 0;
    return xd_error_set(err, -EINVAL, "option %.*s: '%.100s' is not valid: it is %s", (int)strcspn(name, "="),
                        name, value, decimals ? "a number of seconds" : "a whole number");
}

/* 0 = known and valid, 1 = it is no such option. */
static int check_option(const char *o, xd_error *err)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(known_options); i++) {
        size_t len = strlen(known_options[i].option);
        if (strncmp(o, known_options[i].option, len) != 0)
            continue;
        return known_options[i].words ? check_word(o, o + len, known_options[i].words, err)
                                      : check_number(o, o + len, known_options[i].decimals, err);
    }
    return strcmp(o, "--no-header") == 0 || strcmp(o, "--no-summary") == 0 ||
                   (strncmp(o, "-r", 2) == 0 && o[2])
               ? 0
               : 1;
}

/* pytest's report options: what overrides those of the journal, the last of a kind first. */
static int translate(const char *const *options, xd_report_again *to, const char **overrides, xd_error *err)
{
    size_t n = 0, count = 0;
    while (options && options[count])
        count++;
    for (size_t i = count; i-- > 0;) {
        const char *o = options[i];
        if (o[0] == '-' && o[1] && strspn(o + 1, "v") == strlen(o + 1)) {
            to->verbose += (int)strlen(o + 1);
        } else if (o[0] == '-' && o[1] && strspn(o + 1, "q") == strlen(o + 1)) {
            to->verbose -= (int)strlen(o + 1);
        } else {
            int r = check_option(o, err);
            if (r > 0)
                return xd_error_set(
                    err, -EINVAL,
                    "a report does not know the option %.100s; it knows -v -q -r --tb --color "
                    "--show-capture --durations --durations-min --no-header --no-summary",
                    o);
            XD_TRY(r);
            if (n == MAX_OVERRIDES)
                return xd_error_set(err, -EINVAL, "too many options for a report");
            overrides[n++] = o;
        }
    }
    overrides[n] = NULL;
    to->override = overrides;
    return 0;
}

/* --color of these options; else as flags say. */
static int color_of(const char *const *overrides, unsigned flags, int fd)
{
    for (; *overrides; overrides++) {
        if (strcmp(*overrides, "--color=yes") == 0)
            return 1;
        if (strcmp(*overrides, "--color=no") == 0)
            return 0;
    }
    return flags & XD_RENDER_COLOR_AUTO ? xd_colors(fd) : (flags & XD_RENDER_COLOR) != 0;
}

int xd_run_render(const char *dir, const char *kind, const char *const *options, unsigned flags, int fd,
                  char *err)
{
    xd_error          e = { 0 };
    xd_report_again   o = { .fd = fd,
                            .failed_only = (flags & XD_RENDER_FAILED) != 0,
                            .json = (flags & XD_RENDER_JSON) != 0 };
    const char       *overrides[MAX_OVERRIDES + 1] = { NULL };
    xd_autofree char *path = dir ? xd_path_join(dir, "journal") : NULL;
    int               code = dir ? XD_EXIT_INCOMPLETE : 0;
    int               r = path || !dir ? translate(options, &o, overrides, &e) : -ENOMEM;
    xd_report_choice  choice;
    xd_report_want    want = { NULL, NULL };
    if (r == 0 && path)
        r = check_style(path, overrides, &e);
    o.color = color_of(overrides, flags, fd);
    if (r == 0 && dir)
        r = xd_report_choose_again(&choice, kind, &o, &want, &e);
    if (r == 0 && dir)
        r = xd_report_render(path, want, &code, &e);
    if (err && (r < 0 || e.text[0]))
        snprintf(err, XD_TEXT, "%.1000s", e.text[0] ? e.text : xd_error_name(r));
    return r < 0 ? r : code;
}

static int told(char *err, int r, const xd_error *e)
{
    if (err && r < 0)
        snprintf(err, XD_TEXT, "%.1000s", e->text[0] ? e->text : xd_error_name(r));
    return r;
}

int xd_run_report(const char *dir, const char *kind, const char *const *options, unsigned flags,
                  const char *path, char *err)
{
    xd_error   e = { 0 };
    xd_outfile f = XD_OUTFILE_INIT;
    int        r = xd_outfile_open(&f, path, &e);
    if (r < 0)
        return told(err, r, &e);
    int code = xd_run_render(dir, kind, options, flags, f.fd, err);
    if (code < 0) {
        xd_outfile_abandon(&f);
        return code;
    }
    r = xd_outfile_commit(&f, path, &e);
    return r < 0 ? told(err, r, &e) : code;
}

int xd_file_replace(const char *path, const void *data, size_t size, char *err)
{
    xd_error   e = { 0 };
    xd_outfile f = XD_OUTFILE_INIT;
    size_t     at = 0;
    int        r = xd_outfile_open(&f, path, &e);
    while (r == 0 && at < size) {
        ssize_t n = write(f.fd, (const char *)data + at, size - at);
        if (n < 0 && errno != EINTR)
            r = xd_error_set(&e, -errno, "cannot write %s: %s", path, strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
    if (r == 0)
        r = xd_outfile_commit(&f, path, &e);
    else
        xd_outfile_abandon(&f);
    return told(err, r, &e);
}
