/* gateways/join.h - `xdctl join`: this host dials a run that listens (listen.h), and brings it an agent. Nobody needs to be able to reach this host. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/log.h"

typedef struct xd_join_args {
    const char *address; /* tcp://HOST:PORT, HOST:PORT; the port may be left out */
    const char *keys;    /* folder; NULL = the default (xd_keys_folder) */
    const char                *
        token; /* as text (engine/token.h); NULL = the own key of `keys` is shown, and the run's is in known_brokers */
    const char        *agent;   /* its program; NULL = found */
    uint32_t           workers; /* that are offered, at most 1024; 0 = one for each processor */
    const char *const *tags;    /* capability words; n_tags of them */
    size_t             n_tags;
    uint64_t           wait_ms;  /* that the run may take to be there, and to be reachable */
    uint64_t           drain_ms; /* that running tests may take after the first byte of stop_fd */
    int stop_fd; /* readable: it leaves, when what runs has ended; a second byte ends that at once; -1 = none */
    xd_log log;
    /* It has joined the run of this id, with so many workers. May be NULL. */
    void (*joined)(void *arg, const char *run, uint32_t workers);
    void *arg;
} xd_join_args;

/* Blocks. 0: the run is over, or it has left; -EINVAL: an argument cannot be used; -errno: err says why it could not join, or how it was lost. */
int xd_join(const xd_join_args *args, xd_error *err) XD_MUST;
/* A capability word: letters, digits and any of ._=:/+- , at most 64. */
bool xd_join_tag_valid(const char *tag);
