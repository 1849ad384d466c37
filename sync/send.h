/* sync/send.h - the home half of one synchronisation: brings the tree of a source to one destination, over a stream of frames (SYNC_* of wire.def) that leads to the other half (sync/receive.h).
 * One thread per destination; blocks. */
#pragma once
#include "sync/source.h"

typedef struct xd_sync_counts {
    uint64_t files, bytes;                           /* of the tree */
    uint64_t wanted_files, wanted_bytes;             /* that the destination lacked, as far as is known */
    uint64_t sent_files, sent_bytes;                 /* of those, plain */
    uint64_t wire_bytes, wire_back_bytes;            /* of frames, both directions */
    uint64_t written, removed, reused, reused_bytes; /* told at the end */
    uint32_t round_trips; /* times that it had to wait for an answer before it could go on */
    uint64_t duration_ns;
} xd_sync_counts;

typedef struct xd_send_args {
    xd_source *source; /* borrowed */
    int        fd;     /* stream socket, blocking or not; stays the caller's */
    const char
        *key; /* what the destination is remembered by: host and folder, any text; NULL = not remembered */
    const char *folder; /* as in SYNC_OPEN */
    uint32_t    flags;  /* bits of SYNC_FLAG */
    bool        zstd;   /* the other end has CAP.ZSTD */
    const int  *stop;   /* looked at; non-zero ends it with -ECANCELED; may be NULL */
    /* All may be NULL; called on this thread, must not block. */
    void (*say)(void *arg, uint8_t level, xd_bytes text);                /* a line for the user */
    void (*change)(void *arg, uint8_t type, uint8_t was, xd_bytes path); /* SYNC_CHANGE */
    void (*progress)(void *arg, const xd_sync_counts *so_far);           /* at most 10 times a second */
    void *arg;
} xd_send_args;

/* 0 = the tree stands there. -ECANCELED; -EPIPE: the stream ended before that (cut: it may be tried again); -EREMOTEIO: the other end says it cannot be, err has its words;
 * -EPROTO: the other end said what it must not; others: a fault here. err always has one line. */
int xd_send(const xd_send_args *args, xd_sync_counts *ret, xd_error *err) XD_MUST;
