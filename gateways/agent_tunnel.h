/* gateways/agent_tunnel.h - an agent of this host whose pipe goes through a tunnel (engine/tunnel.h) to its controller: of `xdctl serve`, which
 * controllers connect to, and of `xdctl join`, which connects to one. The agent outlives its connection: it waits for another one as long as
 * its controller has told it to. An agent whose controller has closed the pipe is ended, and killed when it does not end.
 * One thread, that of its poller; nothing blocks but the end. */
#pragma once
#include "engine/base/poller.h"
#include "engine/tunnel.h"
#include "gateways/agent_child.h"

typedef enum xd_agent_phase {
    XD_AGENT_UP,
    XD_AGENT_AWAY,  /* its connection was cut */
    XD_AGENT_ENDS,  /* its pipe is closed */
    XD_AGENT_TELLS, /* its process has ended: its last words, and TUNNEL_ENDED */
} xd_agent_phase;

typedef struct xd_agent_tunnel {
    xd_poller        *poller;
    bool             *moved; /* set when there is something to do */
    xd_tunnel_send_fn send;  /* as of a tunnel; -EHOSTUNREACH is never told by it */
    void             *arg;
    xd_agent_phase    phase;
    xd_fdpipe_parts   child;
    int               pidfd_watched; /* the same descriptor, while it is watched; -1 */
    bool              connected, exited, has_tunnel, full, continued;
    char              how[128]; /* it has ended; for people */
    bool              good;     /* with status 0 */
    xd_tunnel         tunnel;
    uint64_t          kill_ns, tell_ns; /* when it is killed; when no more of its last words are waited for */
} xd_agent_tunnel;

/* Starts the agent; it is connected to nobody yet. -errno: err says why, and nothing is left. */
int xd_agent_tunnel_start(xd_agent_tunnel *e, const xd_agent_child_args *args, xd_poller *poller, bool *moved,
                          xd_tunnel_send_fn send, void *arg, xd_error *err) XD_MUST;
/* From here on its bytes go through `send`; after the first time by another pipe of the agent. -ENOTCONN: it takes no other; -ENOMEM. */
int xd_agent_tunnel_connect(xd_agent_tunnel *e) XD_MUST;
/* It can be connected (again). */
static inline bool xd_agent_tunnel_there(const xd_agent_tunnel *e)
{
    return e->phase <= XD_AGENT_AWAY && !e->exited;
}
/* A frame of its controller; as xd_tunnel_frame. */
int xd_agent_tunnel_frame(xd_agent_tunnel *e, const xd_frame *f) XD_MUST;
/* Its connection has ended. */
void xd_agent_tunnel_cut(xd_agent_tunnel *e);
/* Its pipe is closed, and it ends all that it has started. */
void xd_agent_tunnel_end(xd_agent_tunnel *e);
/* Moves what can be moved, looks at the time. 1 = all is over, it can be released; 0: *ret_next = when to call again;
 * -errno: its connection is of no use any more. */
int xd_agent_tunnel_care(xd_agent_tunnel *e, uint64_t now_ns, uint64_t *ret_next) XD_MUST;
/* Kills what still runs, waits for that, and closes all. */
void xd_agent_tunnel_release(xd_agent_tunnel *e);
