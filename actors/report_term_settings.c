/* actors/report_term_settings.c - what the options of pytest, of the user and of the environment come to for the terminal
 * report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "actors/report_term_state.h"

const char *xd_term_env(const xd_term *t, const char *name)
{
    const char *v = t->options.env ? t->options.env(t->options.env_arg, name) : getenv(name);
    return v && *v ? v : NULL;
}

/* pytest's own spelling of an option, as an entry "name=value"; NULL when it is not that option. */
static const char *own_spelling(const char *entry, const char *name)
{
    static const char *const table[][2] = {
        { "-r", "reportchars" },         { "--tb=", "tbstyle" },
        { "--durations=", "durations" }, { "--durations-min=", "durations_min" },
        { "--color=", "color" },         { "--show-capture=", "showcapture" }
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++)
        if (!strcmp(table[i][1], name) && !strncmp(entry, table[i][0], strlen(table[i][0])))
            return entry + strlen(table[i][0]);
    if (!strcmp(entry, "--no-header") && !strcmp(name, "no_header"))
        return "True";
    return !strcmp(entry, "--no-summary") && !strcmp(name, "no_summary") ? "True" : NULL;
}

const char *xd_term_option(const xd_term *t, const char *name)
{
    size_t len = strlen(name);
    for (char **o = t->override; o && *o; o++) {
        if (!strncmp(*o, name, len) && (*o)[len] == '=')
            return *o + len + 1;
        const char *v = (*o)[0] == '-' ? own_spelling(*o, name) : NULL;
        if (v)
            return v;
    }
    const char *v = xd_runview_option(t->view, name);
    return v && strcmp(v, "None") != 0 ? v : NULL;
}

bool xd_term_flag(const xd_term *t, const char *name)
{
    const char *v = xd_term_option(t, name);
    return v && *v && strcmp(v, "0") != 0 && strcasecmp(v, "false") != 0 && strcasecmp(v, "no") != 0;
}

bool xd_term_has(const xd_term *t, char c)
{
    return strchr(t->reportchars, c) != NULL;
}

/* As pytest's getreportopt. */
static void read_reportchars(xd_term *t)
{
    const char *given = xd_term_option(t, "reportchars");
    char       *out = t->reportchars;
    size_t      n = 0, max = sizeof t->reportchars - 2;
    for (const char *p = given ? given : "fE"; *p && n < max; p++) {
        char c = (char)(*p == 'F' ? 'f' : *p == 'S' ? 's' : *p);
        if (c == 'a' || c == 'A') {
            n = (size_t)snprintf(out, max, "%s", c == 'a' ? "sxXEf" : "PpsxXEf");
        } else if (c == 'N') {
            n = 0;
        } else if (!memchr(out, c, n)) {
            out[n++] = c;
        }
        out[n] = 0;
    }
    out[n] = 0;
    if (!t->disable_warnings && !strchr(out, 'w')) {
        out[n++] = 'w';
        out[n] = 0;
    } else if (t->disable_warnings && strchr(out, 'w')) {
        char *w = strchr(out, 'w');
        memmove(w, w + 1, strlen(w));
    }
}

const char *xd_term_env_of(const void *t, const char *name)
{
    return xd_term_env(t, name);
}

static bool wants_markup(const xd_term *t, bool tty)
{
    if (t->options.color >= 0)
        return t->options.color == 1;
    const char *color = xd_term_option(t, "color");
    if (color && !strcmp(color, "yes"))
        return true;
    if (color && !strcmp(color, "no"))
        return false;
    return xd_term_out_colors(xd_term_env_of, t, tty);
}

void xd_term_read_settings(xd_term *t)
{
    const char *v = xd_term_option(t, "verbose");
    t->verbose = v ? (int)strtol(v, NULL, 10) : 0;
    t->verbose += t->options.verbose;
    for (char **o = t->override; o && *o; o++)
        if ((*o)[0] == '-' && ((*o)[1] == 'v' || (*o)[1] == 'q'))
            for (const char *c = *o + 1; *c; c++)
                t->verbose += *c == 'v' ? 1 : *c == 'q' ? -1 : 0;
    v = xd_term_option(t, "verbosity_test_cases"); /* "auto", or a number of its own */
    t->cases = v && strcmp(v, "auto") != 0 ? (int)strtol(v, NULL, 10) : t->verbose;
    t->no_header = xd_term_flag(t, "no_header");
    t->no_summary = xd_term_flag(t, "no_summary");
    t->disable_warnings = xd_term_flag(t, "disable_warnings");
    t->xfail_tb = xd_term_flag(t, "xfail_tb");
    t->short_forced = xd_term_flag(t, "force_short_summary");
    v = xd_term_option(t, "fold_skipped");
    t->full_skips = v && !xd_term_flag(t, "fold_skipped");
    v = xd_term_option(t, "tbstyle");
    snprintf(t->tbstyle, sizeof t->tbstyle, "%s", v ? v : "auto");
    v = xd_term_option(t, "showcapture");
    snprintf(t->showcapture, sizeof t->showcapture, "%s", v ? v : "all");
    const char *style = xd_term_option(t, "console_output_style"), *capture = xd_term_option(t, "capture");
    style = style ? style : "progress";
    t->progress = !strcmp(style, "count")     ? XD_TERM_PROGRESS_COUNT
                  : !strcmp(style, "times")   ? XD_TERM_PROGRESS_TIMES
                  : !strcmp(style, "classic") ? XD_TERM_PROGRESS_NONE
                                              : XD_TERM_PROGRESS_PERCENT;
    if ((capture && !strcmp(capture, "no") && strcmp(style, "progress-even-when-capture-no") != 0) ||
        xd_term_flag(t, "setupshow"))
        t->progress = XD_TERM_PROGRESS_NONE;
    read_reportchars(t);
    t->out.markup = wants_markup(t, t->out.tty);
    t->err.markup = wants_markup(t, t->err.tty);
    t->configured = true;
}
