/* tools/xdctl/serve_on.h - `xdctl serve --on`: a server on another host, where it stays. */
#pragma once

typedef struct serve_on {
    const char        *spec, *keys, *keys_there, *ssh; /* as on the command line; NULL = not given */
    int                replace, stop, accept_new;
    const char *const *bind;
    unsigned           max_agents, max_connections, drain_s;
} serve_on;

/* Does it, and tells what there is now. Returns the exit code. */
int serve_on_run(const serve_on *o);
