/* gateways/serve_state.h - private to serve.c (the loop) and serve_session.c (agents). One thread. */
#pragma once
#include "gateways/agent_tunnel.h"
#include "gateways/peers.h"
#include "gateways/serve.h"

typedef struct serve   serve;
typedef struct session session;

/* One agent. */
struct session {
    session        *next;
    serve          *serve;
    xd_peer        *peer; /* NULL: its connection was cut */
    uint64_t        id;   /* for the log */
    xd_pubkey       key;
    char            who[120];
    uint8_t         token[XD_TUNNEL_TOKEN];
    bool            told; /* the log has how it ended */
    xd_agent_tunnel agent;
};

struct serve {
    const xd_serve_args *args;
    xd_poller           *poller;
    xd_peers            *peers;
    char                *agent;
    session             *sessions;
    uint64_t             started; /* agents so far */
    uint32_t             n_sessions;
    uint64_t             stop_ns, empty_ns;
    unsigned             stops;
    bool                 moved; /* something was done in this turn */
};

/* serve_session.c */
void session_open(serve *s, xd_peer *p, const xd_frame *f);
void session_resume(serve *s, xd_peer *p, const xd_frame *f);
void session_frame(serve *s, xd_peer *p, const xd_frame *f);
void session_cut(session *e); /* its controller disconnected; the agent waits for it to reconnect */
void session_end(session *e); /* its agent is to end */
uint64_t
     session_care(session *e,
                  uint64_t now_ns); /* moves bytes, looks at the time; when to call again. It may be freed */
void session_free_all(serve *s);
