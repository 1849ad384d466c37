/* sync/scan_state.h - what the parts of a scan share: scan.c (threads, the result), scan_folder.c (one folder), scan_roots.c (roots, links; pure),
 * scan_rules.c (files of ignore rules). Private to them. */
#pragma once
#include <pthread.h>

#include "sync/hash.h"
#include "sync/scan.h"

/* ---- roots: a tree of their names, so that those that are one inside of another are walked once ------------------ */

typedef struct xd_plan {
    struct xd_plan *child, *sibling;
    const char     *root; /* one of the roots that lead here or further, as it was given */
    bool            is_root;
    size_t          len;
    char            name[];
} xd_plan;
/* roots: NULL-terminated; borrowed. -EINVAL (absolute, with "..", too long), -ENOMEM; err says which. */
int            xd_plan_new(xd_plan **ret, const char *const *roots, xd_error *err) XD_MUST;
xd_plan       *xd_plan_free(xd_plan *p);
const xd_plan *xd_plan_child(const xd_plan *p, xd_bytes name); /* NULL: none; p may be NULL */
/* Is this path in a root, or one that leads to a root? */
bool xd_plan_covers(const xd_plan *p, xd_bytes path);

/* A folder of this host that stands at a path of the tree: the base, a root that is a link. */
typedef struct xd_place {
    struct xd_place *next;
    int              fd;   /* the folder's; -1: none of its own */
    char            *real; /* absolute, no slash at the end ("" is /) */
    size_t           path_len;
    char             path[]; /* in the tree */
} xd_place;
/* Where a link that stands in `folder` (a path of the tree) leads. 0: *out has the target that it is to have on the other end; 1: out of the tree. -ENOMEM. */
int xd_link_target(const xd_plan *plan, const xd_place *places, xd_bytes folder, xd_bytes target,
                   xd_buf *out) XD_MUST;

/* ---- rules ------------------------------------------------------------------------------------------------------- */

/* args->rules, or a node with the defaults; then the rule files of the folders above the base. */
int xd_rules_first(const xd_scan_args *args, xd_ignore **ret) XD_MUST;
/* The node for a folder: `dir` is its path for the rules. Reads those of the two files that it has. */
int xd_rules_of(xd_ignore *above, xd_bytes dir, int fd, bool has_git, bool has_xd, xd_ignore **ret) XD_MUST;

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* A piece of work: a folder, or some files of one. */
typedef struct xd_unit {
    struct xd_unit *next;
    uint32_t        folder; /* handle: of a folder, of that above it; of files, of theirs */
    uint16_t        mode;
    uint16_t        depth;  /* names in its path */
    bool            inside; /* of a root: all its names count; else those that lead to roots */
    bool            is_files;
    const xd_plan  *plan;  /* roots that are further down, or NULL */
    const xd_place *place; /* where it is found; never NULL */
    xd_ignore      *rules; /* a reference, to those of the folder above; of files NULL */
    uint32_t        dev;
    xd_buf          files; /* xd_stat and name, each name with NUL behind it */
    size_t          path_len, name_at;
    char            path[]; /* in the tree, NUL behind it; "" = the base */
} xd_unit;

typedef struct xd_scan_state {
    const xd_scan_args *args;
    const int          *stop;
    xd_plan            *plan;
    xd_statcache       *cache;
    size_t              above_len; /* of args->above and its slash */
    uint32_t            threads;

    pthread_mutex_t lock; /* for all that follows */
    pthread_cond_t  wake;
    xd_unit        *units; /* a stack: the newest is done first, so there are never many */
    uint32_t        busy;  /* workers that have one */
    int             failed;
    xd_error        err;
    xd_tree        *tree;
    xd_place       *places;
    xd_buf          left_out, unreadable;
    xd_scan_stats   stats;
    struct {
        uint32_t     dev;
        xd_statclock clock;
    } clock[32];
    uint32_t clocks;
} xd_scan_state;

/* One thread's memory, which it keeps from folder to folder. */
typedef struct xd_scan_worker {
    xd_scan_state *scan;
    xd_buf         dents;   /* of the folder */
    xd_buf         found;   /* struct found: names that are complete */
    xd_buf         targets; /* of links among them */
    xd_buf         pending; /* as unit.files */
    xd_buf         path;    /* of the name that is looked at, with args->above */
    xd_unit       *below;   /* folders that were found */
    uint8_t       *buffer;  /* XD_HASH_BUFFER */
    xd_scan_stats  stats;
} xd_scan_worker;

/* Does one unit and frees it. < 0 ends the scan; then scan->err may say why. */
int      xd_scan_unit(xd_scan_worker *w, xd_unit *u) XD_MUST;
xd_unit *xd_unit_free(xd_unit *u);
/* The unit for a folder at this path; the caller fills in the rest. */
xd_unit *xd_unit_new(xd_bytes path);
/* Opens a folder of the tree; no link is followed. -errno. */
int xd_scan_open_folder(const xd_place *place, const char *path) XD_MUST;
