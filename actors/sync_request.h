/* actors/sync_request.h - what `xdctl sync` is asked for: which folders and files, and where to. Looks at the sources, starts nothing. Any thread. */
#pragma once
#include "engine/base/error.h"
#include "engine/folders.h"
#include "engine/xspec.h"

typedef struct xd_sync_place {
    char    *text; /* as given: SPEC:PATH */
    xd_xspec spec;
    char    *path; /* absolute, or relative to the home folder there ("." = it); with popen always absolute */
} xd_sync_place;

/* Sources that lie in one folder. */
typedef struct xd_sync_part {
    char      *base;  /* that folder, or the one whose contents are meant; absolute, without symbolic links */
    xd_strings roots; /* names in it; "." = its contents. Each once, also among all parts */
} xd_sync_part;

typedef struct xd_sync_job {
    xd_sync_part  *parts; /* in the order in which their first sources were named */
    size_t         n_parts;
    xd_sync_place *places;
    size_t         n_places;
    xd_strings     globs; /* what is ignored, for xd_ignore_add_glob with dir NULL */
} xd_sync_job;
#define XD_SYNC_JOB_INIT ((xd_sync_job){ 0 })

/* sources, targets: NULL-terminated, at least one each. ignore: globs, NULL-terminated; NULL = none. where->work: relative names count from there. -EINVAL: a source that is not
 * there or cannot be brought, two that would get one place, a target that is none; err says it in one line. */
int  xd_sync_job_make(xd_sync_job *ret, const char *const *sources, const char *const *targets,
                      const char *const *ignore, const xd_folders *where, xd_error *err) XD_MUST;
void xd_sync_job_release(xd_sync_job *job);

/* Where the PATH of SPEC:PATH begins; NULL: there is none. */
const char *xd_sync_target_path(const char *target);
