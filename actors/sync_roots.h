/* actors/sync_roots.h - which files a run brings to its hosts: those of --rsyncdir, of rsyncdirs in pytest's configuration file and in conftest.py files, else the project's.
 * Nothing of the project is imported or run. Reads files and folders; blocks for as long as that takes. Any thread.
 *
 * Which environments get them: those on other hosts (ssh=, socket=, command=) without chdir=; with chdir= (popen too) where something is named. A popen without
 * chdir= runs in the user's own folders. */
#pragma once
#include "actors/env_start.h"
#include "engine/base/error.h"
#include "engine/folders.h"
#include "engine/xspec.h"

/* A name that is left out. */
typedef struct xd_sync_glob {
    char *
        dir; /* it counts from this folder, relative to base ("" = base); NULL = a last name, or an absolute path */
    char *glob;
} xd_sync_glob;

typedef struct xd_sync_plan {
    char *
        base; /* absolute, no symbolic links in it: the deepest folder above all roots, rootdir and cwd; NULL = nothing is brought */
    /* Relative to base, sorted, each once: folders, files, symbolic links on the way to one of them. "." = base itself. One inside of a folder that is a root is there
     * only when the user named it too, since a rule may leave it out. */
    xd_strings    roots;
    xd_sync_glob *ignore;
    size_t        n_ignore;
    char         *cwd;     /* relative to base, "." = base: where pytest starts */
    char         *rootdir; /* the same: of pytest, as far as it can be known without it */
    char          project
        [XD_PROJECT_NAME];  /* name for the folder on the host: differs for each user, host and base here */
    bool       named;       /* the user said what to bring */
    char      *why;         /* one line for -v: what is brought, or why nothing is; NULL = nothing to say */
    xd_strings notes;       /* lines: what was not read, what will be missing */
    xd_strings python_path; /* folders relative to base, for $PYTHONPATH there, in order; see sync_python.h */
} xd_sync_plan;
#define XD_SYNC_PLAN_INIT ((xd_sync_plan){ 0 })

/* specs: of the environments of the run, `count` of them. where->work: the folder in which the run takes place.
 * -EINVAL: a folder that is named is not there, an argument of pytest is not brought, and the like; err says it in one line. */
int  xd_sync_plan_make(xd_sync_plan *ret, const xd_config *cfg, const xd_xspec *const *specs, size_t count,
                       const xd_folders *where, xd_error *err) XD_MUST;
void xd_sync_plan_release(xd_sync_plan *p);
/* Whether the environment of this spec gets the files. */
bool xd_sync_plan_brings(const xd_sync_plan *p, const xd_xspec *spec);
/* Adds arguments of pytest as they must be on the other host: paths that do not lead to what was brought when they start in cwd there (absolute ones, those by way of a symbolic
 * link outside of base) are made relative to it. -ENOMEM. */
int xd_sync_plan_args(const xd_sync_plan *p, char *const *args, size_t count, xd_strings *ret) XD_MUST;
