/* tools/xdctl/xdctl.h - one file per subcommand; everything goes through engine/xd.h. */
#pragma once
#include <popt.h>
#include <stdio.h>

#include "engine/xd.h"

typedef struct xdctl_command {
    const char *name;
    const char *help;                  /* one line */
    int (*run)(int argc, char **argv); /* argv[0] = name of the command; returns the exit code */
} xdctl_command;

int xdctl_run(int argc, char **argv);
int xdctl_show(int argc, char **argv);
int xdctl_report(int argc, char **argv);
int xdctl_runs(int argc, char **argv);
int xdctl_doctor(int argc, char **argv);
int xdctl_config(int argc, char **argv);
int xdctl_hosts(int argc, char **argv);
int xdctl_sync(int argc, char **argv);
int xdctl_serve(int argc, char **argv);
int xdctl_join(int argc, char **argv);
int xdctl_token(int argc, char **argv);
int xdctl_keygen(int argc, char **argv);
int xdctl_trust(int argc, char **argv);
int xdctl_keys(int argc, char **argv);

int xdctl_is_help(const char *word);
/* 1 = it was asked for, and is printed. */
int xdctl_print_help(int argc, char **argv, const struct poptOption *table, const char *usage);
/* Says what is wrong with an option; rc: of poptGetNextOpt. Returns XD_EXIT_USAGE. */
int xdctl_bad_option(const char *command, poptContext ctx, int rc);
/* Reads the options of one subcommand with popt: *ret_words are up to `most` other arguments, NULL-terminated, valid as
 * long as *ret_ctx. verbosity: counts -v and -q; NULL where there are none. 0, or the exit code + 1 when all is said: wrong usage, or --help. */
int xdctl_read_options(poptContext *ret_ctx, int argc, char **argv, const struct poptOption *table,
                       const char *usage, int most, const char **ret_words, int *verbosity);
/* A config of files, environment and this command line (argv[0] is its first word), for a command that makes no run: the lines that a run would report
 * go to stderr. 0; else the exit code, and why was said. *ret is the caller's in both cases. */
int xdctl_read_config(xd_config **ret, int argc, char **argv);
/* Options of the commands that look at past runs: where these are. */
typedef struct xdctl_where {
    char      *state_dir, *work_dir; /* of popt */
    xd_config *cfg;                  /* what counts of them */
} xdctl_where;
#define XDCTL_WHERE(w)                                                                                    \
    { "state-dir", 0, POPT_ARG_STRING, &(w).state_dir, 0, "folder of the runs, as of xdctl run", "DIR" }, \
    {                                                                                                     \
        "work-dir", 0, POPT_ARG_STRING, &(w).work_dir, 0,                                                 \
            "as if started in DIR: its project, names from there", "DIR"                                  \
    }
/* Goes there. 0, or the exit code, and why was said. */
int  xdctl_where_enter(xdctl_where *w);
void xdctl_where_release(xdctl_where *w);
/* What xd_run_find is asked for: the word, else the latest run, of any project with `all`. */
const char *xdctl_which(const char *word, int all);
/* `xdctl show --json`. 0, *ret_exit as the run's; else the exit code, and why was said. */
int xdctl_show_json(const xd_config *where, const char *which, int failed, int *ret_exit);

/* Writes text of others (names, reasons): nothing of it acts on a terminal or a CI system. */
void xdctl_put(FILE *out, const char *text, size_t len);

/* "xdctl: <text>" on stderr; returns code. */
int xdctl_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
