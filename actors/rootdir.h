/* actors/rootdir.h - what pytest would make of its arguments, without pytest: which of them are paths, its rootdir, its configuration file. Follows pytest 9; older ones differ
 * where a pyproject.toml has no table of pytest's. Reads files, starts nothing. */
#pragma once
#include "actors/inifile.h"
#include "engine/base/error.h"

/* One word of pytest's command line that is a path, or begins with one (a node id). */
typedef struct xd_path_arg {
    char *text; /* as given, without what follows :: */
    bool  sure; /* false: it may be the value of an option that is not pytest's own */
} xd_path_arg;

/* Where words come from; a later one counts more. */
typedef enum xd_words_from {
    XD_WORDS_CONFTEST,
    XD_WORDS_ADDOPTS,
    XD_WORDS_ENVIRONMENT,
    XD_WORDS_TYPED
} xd_words_from;

/* An option of xdist that says where and how tests run. */
typedef struct xd_dist_option {
    const char           *
        name; /* as in xd_config: tx, px, d, dist, numprocesses, maxprocesses, max-worker-restart, testrunuid; static */
    char         *value; /* of d: "1" */
    xd_words_from from;
    size_t        word; /* the number of its value among the words, from 0 */
} xd_dist_option;

typedef struct xd_pytest_args {
    xd_path_arg    *paths;
    size_t          count;
    char           *config;                /* -c FILE; NULL */
    char           *rootdir;               /* --rootdir; NULL */
    char           *confcutdir;            /* --confcutdir; NULL */
    bool            noconftest;            /* --noconftest */
    xd_strings      overrides;             /* -o name=value */
    xd_strings      files;                 /* of @FILE */
    xd_strings      rsyncdir, rsyncignore; /* options of xdist that stand there */
    xd_dist_option *dist;                  /* more of them, in order */
    size_t          n_dist;
} xd_pytest_args;
#define XD_PYTEST_ARGS_INIT ((xd_pytest_args){ 0 })

/* Adds what these words say; those that are no paths in the end (`pkg.module` of --pyargs) are found by looking whether they exist. -ENOMEM. */
int  xd_pytest_args_add(xd_pytest_args *a, char *const *words, size_t count, xd_words_from from) XD_MUST;
void xd_pytest_args_release(xd_pytest_args *a);

typedef struct xd_rootdir {
    char *dir;  /* absolute; owned */
    char *file; /* what makes it the rootdir: configuration file or setup.py, absolute; NULL = nothing does */
    xd_inifile ini; /* what stands in it; empty where it is no configuration file */
} xd_rootdir;
#define XD_ROOTDIR_INIT ((xd_rootdir){ 0 })

/* cwd: the folder in which pytest would start, absolute and without symbolic links. dirs: those of the arguments, likewise, NULL-terminated. config, rootdir: of the
 * options, absolute, or NULL. -EINVAL: one of these is not there, or the configuration file is too large; err says it. */
int  xd_rootdir_find(xd_rootdir *ret, const char *cwd, char *const *dirs, const char *config,
                     const char *rootdir, xd_error *err) XD_MUST;
void xd_rootdir_release(xd_rootdir *r);

/* ---- paths, as text -------------------------------------------------------------------------------------- */

/* Is `path` the folder `dir`, or below it. Both absolute, or both relative to one folder ("." is that one). */
bool xd_path_is_below(const char *path, const char *dir);
/* Cuts `path` down to the deepest folder above or at both. */
void xd_path_common(char *path, const char *other);
