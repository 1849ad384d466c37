/* gateways/listen.h - the place of a run where other hosts join it (`xdctl run --listen`; join.h is the other end). Who joins has an agent, whose pipe becomes
 * that of a gateway: each has a seat, which is given once, and the gateway of that number gets its pipe with xd_transport_joined.
 *
 * A host may join when its key is in authorized_workers, or it has a token of this run (engine/token.h). Connections: peers.h. Own thread. */
#pragma once
#include "engine/base/log.h"
#include "engine/token.h"
#include "gateways/transport.h"

typedef struct xd_listen xd_listen;

/* Somebody has joined. Texts are harmless, and valid during the call. */
typedef struct xd_joined {
    uint16_t    seat;
    const char *host, *who, *address;
    const char *tags, *interpreters; /* with blanks between them */
    uint32_t    cpus, workers;       /* workers: that it offers */
    uint64_t    memory_bytes;
} xd_joined;

typedef struct xd_listen_args {
    const char *keys; /* folder; NULL = the default (xd_keys_folder). The own key is made if there is none */
    const char *const *bind;         /* as of xd_front_args, at least one; copied, as all texts */
    const char *const *runs;         /* what tokens may call this run, NULL-terminated; the first is its id */
    const char *const *needs;        /* words that who joins must have, NULL-terminated; NULL = none */
    uint16_t           first, seats; /* they are numbered from `first` on */
    uint64_t           output_limit;
    xd_log             log;
    /* Both on its thread; must not block. `leaves`: the host of this seat wants to leave. */
    void (*joined)(void *arg, const xd_joined *j);
    void (*leaves)(void *arg, uint16_t seat);
    void *arg;
} xd_listen_args;

/* -errno: err says what cannot be used. */
int xd_listen_start(xd_listen **ret, const xd_listen_args *args, xd_error *err) XD_MUST;
/* The i-th place where it listens, "HOST:PORT"; NULL = there are no more. */
const char *xd_listen_bound(const xd_listen *l, size_t i);
/* Its fingerprint (XD_FINGERPRINT_SIZE). */
void xd_listen_fingerprint(const xd_listen *l, char *ret);
/* A token of this run by which any number of hosts may join until then (seconds since 1970). */
int xd_listen_token(const xd_listen *l, uint64_t expires_s, char ret[XD_RUN_TOKEN_TEXT]) XD_MUST;
/* Nobody may join any more. Any thread. */
void xd_listen_close(xd_listen *l);
/* After the gateways that have a pipe of it. NULL ok; returns NULL. */
xd_listen *xd_listen_free(xd_listen *l);

/* target.listen and target.seat say which. */
extern const xd_transport xd_transport_joined;
