/* actors/invocation.h - what pytest would be started with, found without it: its arguments with those of $PYTEST_ADDOPTS and of addopts, the folders that they
 * lead to, rootdir, and what the first conftest.py files that it would load assign to a name. Reads files, starts nothing, imports nothing. */
#pragma once
#include "actors/rootdir.h"

/* An argument of pytest that exists. */
typedef struct xd_start_path {
    char *text, *path;
    bool  sure; /* see xd_path_arg */
} xd_start_path;

typedef struct xd_invocation {
    char          *cwd; /* where pytest starts, without symbolic links */
    xd_pytest_args args;
    xd_rootdir     rootdir; /* as pytest sees it; of another runner, cwd */
    char          *root;    /* the same without symbolic links */
    xd_start_path *starts;
    size_t         n_starts;
    xd_strings     dirs;       /* of the arguments, each once, as pytest sees them: with symbolic links */
    xd_strings     testpaths;  /* where there are no arguments; absolute, those that exist */
    char          *confcutdir; /* no conftest.py above it counts */
} xd_invocation;
#define XD_INVOCATION_INIT ((xd_invocation){ 0 })

/* work: the folder in which the run takes place. -EINVAL with err: that folder, or a file or folder that an option names, is not there. */
int  xd_invocation_read(xd_invocation *v, const xd_config *cfg, const char *work, xd_error *err) XD_MUST;
void xd_invocation_release(xd_invocation *v);
/* The configuration file as a user would name it in the folder `cwd`; malloc'ed; NULL without memory. */
char *xd_invocation_shown(const xd_invocation *v, const char *file);

/* What a conftest.py assigns to a name. All of it is valid during the call only. */
typedef struct xd_conftest_said {
    const char      *dir;   /* of the file, absolute */
    const char      *shown; /* the file, from cwd */
    const char      *name;
    xd_assigned      what; /* not XD_ASSIGNED_NOT */
    const xd_placed *values;
    uint32_t         line; /* of the assignment */
} xd_conftest_said;
typedef int (*xd_conftest_fn)(void *arg, const xd_conftest_said *said, xd_error *err);

/* Of each folder that the arguments lead to (testpaths, where there are none; else cwd), from it upward to confcutdir: fn is called for the nearest conftest.py that
 * assigns something to one of the names (NULL-terminated; the first of them counts that it assigns to), once for each file. What fn returns below 0 ends it. */
int xd_invocation_conftests(const xd_invocation *v, const char *const *names, xd_conftest_fn fn, void *arg,
                            xd_error *err) XD_MUST;
