/* tools/xdctl/xdctl.h - one file per subcommand; everything goes through engine/xd.h. */
#pragma once
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

/* "xdctl: <text>" on stderr; returns code. */
int xdctl_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
