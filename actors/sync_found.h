/* actors/sync_found.h - what sync_roots.c finds out before it decides: folders that are named, and where; the arguments; rootdir. */
#pragma once
#include "actors/invocation.h"

/* Something to bring. Absolute, without symbolic links, unless it is one itself. */
typedef struct xd_sync_root {
    char *path;
    char *label; /* where it was named; NULL = nobody did: what pytest reads beside those that are */
    bool  folder, link;
} xd_sync_root;

typedef struct xd_sync_found_glob {
    char *dir; /* absolute; NULL: see xd_sync_glob */
    char *glob;
} xd_sync_found_glob;

typedef struct xd_sync_found {
    xd_invocation       in;
    xd_sync_root       *roots;
    size_t              n_roots;
    xd_sync_found_glob *globs;
    size_t              n_globs;
    xd_strings          notes;
} xd_sync_found;
#define XD_SYNC_FOUND_INIT ((xd_sync_found){ 0 })

/* All that options, configuration and conftest.py files name. -EINVAL with err: something that is named is not there. */
int  xd_sync_found_read(xd_sync_found *f, const xd_config *cfg, const char *work, xd_error *err) XD_MUST;
void xd_sync_found_release(xd_sync_found *f);
/* One root: `text` counts from `dir`. label NULL: what is not there is left out. */
int xd_sync_found_root(xd_sync_found *f, const char *dir, const char *text, const char *label,
                       xd_error *err) XD_MUST;
/* Adds what pytest reads beside the roots: its configuration file, conftest.py and __init__.py between rootdir and them. */
int xd_sync_found_beside(xd_sync_found *f, xd_error *err) XD_MUST;
