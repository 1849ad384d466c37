/* actors/project_options.h - options of xdist that a project says itself, known before the environments of a run are planned: in addopts of pytest's configuration file, in
 * $PYTEST_ADDOPTS, and as pytest_option_tx, pytest_option_dist (or option_tx, option_dist) in conftest.py files, which are read and not run.
 *
 * Values of --tx and --px add up: conftest.py, addopts, $PYTEST_ADDOPTS, the command line, in this order. Of the others, what comes last in it counts. -n overrides the
 * specs of its own place and of those before it. */
#pragma once
#include "actors/rootdir.h"

/* One option, and where it stands. Owned, but for the name. */
typedef struct xd_said_option {
    const char   *name; /* as xd_dist_option */
    char         *value;
    char         *from; /* "conftest.py:3", as a user is told it */
    xd_words_from place;
} xd_said_option;

/* Lines for the user. */
typedef struct xd_project_told {
    xd_strings details; /* for -v: what was said where */
    xd_strings notes;   /* what could not be read */
} xd_project_told;
void xd_project_told_release(xd_project_told *t);

/* Takes into the config what these options, in order of their places, come to beside what the command line says, and remembers for xd_config_show where each stands.
 * Pure. -EINVAL with err: a bad value, with its place in front. */
int xd_project_options_settle(xd_config *cfg, const xd_said_option *all, size_t count, xd_project_told *told,
                              xd_error *err) XD_MUST;
/* Reads them, and settles. What pytest itself will refuse (a configuration file that is not there, a quote that is not closed) is left to it. Nothing is read for another
 * runner than pytest. */
int xd_project_options_take(xd_config *cfg, xd_project_told *told, xd_error *err) XD_MUST;
