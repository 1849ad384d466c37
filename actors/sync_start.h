/* actors/sync_start.h - what brings a project's files to the hosts of a plan: the source, which begins to scan, and the syncer that serves the gateways. Used by a run (engine.c) and by
 * xd_sync_run (sync_tool.c). One thread. */
#pragma once
#include "actors/plan.h"
#include "actors/supervisor.h"
#include "actors/sync_roots.h"
#include "actors/syncer.h"
#include "engine/folders.h"

/* The files to bring; a run takes them from its xd_sync_plan (sync_roots.h). Borrowed. */
typedef struct xd_sync_what {
    const char         *base;  /* absolute */
    const char *const  *roots; /* below it, NULL-terminated */
    const xd_sync_glob *globs; /* that are ignored */
    size_t              n_globs;
    bool                apart; /* see xd_source_args */
} xd_sync_what;

/* Where to, on the host of one gateway. */
typedef struct xd_sync_where {
    bool        wanted;
    const char *folder; /* copied */
    uint32_t    flags;  /* bits of SYNC_FLAG */
} xd_sync_where;

typedef struct xd_sync_start xd_sync_start;

/* Begins the scan. `where` has one element per gateway of the plan, which is borrowed until the end, as is `what`. -errno with err: nothing was begun. */
int xd_sync_start_new(xd_sync_start **ret, const xd_sync_what *what, const xd_plan *plan,
                      const xd_sync_where *where, const xd_folders *folders, xd_error *err) XD_MUST;
/* Starts the actor at XD_SYNCER_ADDRESS; `to` gets SYNCED and SYNC_NOTE. Before the gateways. Callbacks: see syncer.h; they may be NULL. */
int xd_sync_start_actor(xd_sync_start *s, xd_supervisor *supervisor, xd_bus *bus, const char *to,
                        const char *live, xd_syncer_progress progress, xd_syncer_change change, void *arg,
                        xd_error *err) XD_MUST;
/* The host of this gateway, which was not known before, has this spec. Before its gateway starts. */
int xd_sync_start_named(xd_sync_start *s, size_t gateway, const xd_xspec *spec, const char *base,
                        const xd_sync_where *where) XD_MUST;
/* What waits for the scan ends with -ECANCELED; any thread. */
void       xd_sync_start_stop(xd_sync_start *s);
xd_source *xd_sync_start_source(xd_sync_start *s);
/* After the actor has ended. NULL ok; returns NULL. */
xd_sync_start *xd_sync_start_free(xd_sync_start *s);
