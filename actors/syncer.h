/* actors/syncer.h - brings a tree of files to the hosts of a run. Per host it has a thread, which is the home half of a synchronisation (sync/send.h); the frames go through the host's gateway,
 * not through the broker.
 *
 *   in   SYNC_LINK   from a gateway: its session stands, here is the socket. Another one after the connection was cut
 *   out  SYNCED      to args.to: the tree stands on this host, or cannot (xd_synced)
 *        SYNC_NOTE   to args.to: a line for the user
 *   own  SYNC_ENDED, SYNC_SAYS from its threads
 * The source is scanned while the gateways dial. TERM: the threads are stopped and waited for. */
#pragma once
#include "engine/actor.h"
#include "sync/send.h"

#define XD_SYNCER_ADDRESS "syncer"

typedef struct xd_syncer_target {
    const char *spec;   /* for messages; NULL = nothing goes to this gateway's host */
    const char *key;    /* by which it is remembered what stands there; NULL = it is not */
    const char *folder; /* as in SYNC_OPEN */
    uint32_t    flags;  /* bits of SYNC_FLAG */
} xd_syncer_target;

/* How far a host is, at most twice a second; on a thread of the syncer: must not block. */
typedef void (*xd_syncer_progress)(void *arg, uint16_t gateway, const xd_sync_counts *so_far);
/* A path that was changed (SYNC_FLAG.TELL), or would be; in the same way. */
typedef void (*xd_syncer_change)(void *arg, uint16_t gateway, uint8_t type, uint8_t was, xd_bytes path);

typedef struct xd_syncer_args { /* all borrowed until the actor has ended, targets too */
    xd_source              *source;
    xd_bus                 *bus;
    const xd_syncer_target *targets; /* one per gateway */
    uint16_t                count;
    const char             *to;       /* address that SYNCED and SYNC_NOTE go to */
    const char             *live;     /* address of who shows a live line: gets PROGRESS; NULL = nobody */
    xd_syncer_progress      progress; /* NULL ok, as the next ones */
    xd_syncer_change        change;
    void                   *arg;
} xd_syncer_args;
extern const xd_actor_spec xd_syncer_spec;

/* Body of SYNCED. */
typedef struct xd_synced {
    int result; /* 0 = the tree stands there; -errno of xd_send, -EREMOTEIO when the host says why */
    xd_sync_counts counts;
    char           text[XD_ERROR_TEXT]; /* why not, one line without the spec */
} xd_synced;
/* "6,484 files, 39.7 MB: 100 files sent (230 kB) in 0.31 s", for people. -ENOMEM. */
int xd_synced_text(xd_buf *out, const xd_synced *s) XD_MUST;
