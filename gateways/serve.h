/* gateways/serve.h - `xdctl serve`: agents for controllers that connect over CURVE (socket=HOST:PORT, socket.h). Each gets an agent of its own, a child of this
 * process, and the bytes between the two pass through; what they say to each other is not looked at. Keys: trust.h; connections: front.h.
 *
 * An agent whose connection was cut waits for its controller as long as that has told it to; one that said it is done is ended. The
 * end of this process ends all of them. */
#pragma once
#include "engine/base/error.h"
#include "engine/base/log.h"
#include "engine/front.h"

#define XD_SERVE_AGENTS 256u

typedef struct xd_serve_args {
    const char        *keys; /* folder; NULL = the default (xd_keys_folder) */
    const char *const *bind; /* as of xd_front_args; none = ":8888" */
    size_t             n_bind;
    const char        *agent;      /* its program; NULL = found */
    uint32_t           max_agents; /* at once; 0 = XD_SERVE_AGENTS */
    uint32_t           drain_ms;   /* that agents may go on after the first byte of stop_fd */
    xd_front_limits    limits;
    int                stop_fd; /* readable: no new controllers, and the end when those that are here are done; a second byte cuts them off */
    xd_log             log; /* a line for each decision about a key, each agent, each fault */
    /* It listens: addresses as "HOST:PORT", NULL-terminated, the fingerprint of its key and the key; how many controllers are authorized. May be NULL. */
    void (*ready)(void *arg, const char *const *addresses, const char *fingerprint, const char *key,
                  size_t authorized);
    void *arg;
} xd_serve_args;

/* Returns when it was stopped: 0; else -errno, and err says what cannot be used. */
int xd_serve(const xd_serve_args *args, xd_error *err) XD_MUST;
