/* engine/folders.h - where a run takes place and where its files are kept, of the options work-dir, state-dir and
 * cache-dir: two engines of one process may differ in all three. */
#pragma once
#include "engine/config.h"

typedef struct xd_folders {
    char *work;  /* absolute; NULL = the current directory is gone */
    char *state; /* absolute; NULL = the default (engine/base/path.h), which may turn out not to be usable */
    char *cache; /* the same */
} xd_folders;

/* Names count from the option work-dir, and that from the current directory. cfg: NULL = all defaults.
 * -EINVAL: there is no such folder to work in; -ENOENT: names count from a current directory that is gone. */
int  xd_folders_init(xd_folders *f, const xd_config *cfg, xd_error *err) XD_MUST;
void xd_folders_release(xd_folders *f);
/* Makes those that the options name. -EINVAL: one cannot be made, or not be written; err names it. */
int xd_folders_make(const xd_folders *f, xd_error *err) XD_MUST;
/* The folder itself or its default; malloc'ed. */
int xd_folders_state(const xd_folders *f, bool to_read, char **ret, xd_error *err) XD_MUST;
int xd_folders_cache(const xd_folders *f, char **ret, xd_error *err) XD_MUST;
/* Names of files in a config with a work-dir of its own become absolute. */
int xd_folders_apply(const xd_folders *f, xd_config *cfg) XD_MUST;
/* *name becomes absolute. NULL stays. -ENOENT: see work. */
int xd_folders_resolve(const xd_folders *f, char **name) XD_MUST;
