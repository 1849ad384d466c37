/* gateways/agent_child.h - an agent as a child of this process, on a socket pair: of popen, and of what serves others (serve.h). */
#pragma once
#include "gateways/fdpipe.h"

typedef struct xd_agent_child_args {
    const char        *agent;  /* its program */
    const char *const *prefix; /* a command line that gets the agent's behind, NULL-terminated; NULL = none */
    const char        *dir;    /* it starts there; NULL = the current directory */
    const char        *cache_dir, *scratch_dir; /* NULL = its own */
    uint64_t           output_limit;            /* XD_OUTPUT_DEFAULT = its own */
    uint32_t           max_workers;             /* 0 = no limit */
} xd_agent_child_args;

/* Starts it. `in` and `out` are one non-blocking socket, `text` its standard error, `redial` the socket that brings other pipes: all the caller's. -errno. */
int xd_agent_child_start(const xd_agent_child_args *args, xd_fdpipe_parts *ret, xd_error *err) XD_MUST;
/* Kills and waits for one that was told nothing yet, and closes all. */
void xd_agent_child_abandon(xd_fdpipe_parts *parts);
