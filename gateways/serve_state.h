/* gateways/serve_state.h - private to serve.c (connections and keys) and serve_session.c (agents). One thread. */
#pragma once
#include "engine/curve.h"
#include "engine/trust.h"
#include "engine/tunnel.h"
#include "gateways/agent_child.h"
#include "gateways/serve.h"

#define SERVE_BUCKETS 1024u

typedef struct serve   serve;
typedef struct session session;

/* Somebody who has shown a key: one connection. */
typedef struct peer {
    struct peer  *next;
    uint32_t      number; /* of the front */
    xd_pubkey     key;
    char          address[48], print[XD_FINGERPRINT_SIZE], comment[80];
    xd_curve_peer at; /* known from its first message on */
    bool          heard, refused;
    bool          had_session; /* what it says of that may come after the end of it */
    uint16_t      refuse_code; /* of its key; 0 = it is trusted */
    const char   *refuse_why;
    uint32_t      max_workers;
    char        **command; /* of its line; NULL = none */
    uint64_t      since_ns, heard_ns, said_ns;
    uint64_t
        left_ns; /* when its connection ended: what it said before may still come from ZeroMQ; 0 = it is there */
    session *session;
} peer;

typedef enum session_phase { SESSION_UP, SESSION_AWAY, SESSION_ENDS, SESSION_TELLS } session_phase;

/* One agent. */
struct session {
    session        *next;
    serve          *serve;
    peer           *peer; /* NULL: its connection was cut */
    uint64_t        id;   /* for the log */
    session_phase   phase;
    xd_pubkey       key;
    char            who[120];
    uint8_t         token[XD_TUNNEL_TOKEN];
    xd_fdpipe_parts child;
    int             pidfd_watched; /* the same descriptor, while it is watched; -1 */
    bool            exited, has_tunnel, full, continued;
    char            how[128];
    xd_tunnel       tunnel;
    uint64_t        kill_ns, tell_ns; /* when it is killed; when no more of its last words are waited for */
};

struct serve {
    const xd_serve_args *args;
    xd_poller           *poller;
    xd_trust            *trust;
    xd_front            *front;
    xd_curve_server     *curve;
    char                *agent;
    peer                *peers[SERVE_BUCKETS]; /* by number */
    session             *sessions;
    uint64_t             started; /* agents so far */
    uint32_t             n_sessions;
    uint64_t             refresh_ns, stop_ns, cared_ns, empty_ns;
    unsigned             stops;
    bool                 leaving; /* connections have ended whose peers are not forgotten yet */
    bool                 moved;   /* something was done in this turn */
};

void serve_log(const serve *s, xd_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Tells it why not, once, and ends its connection a moment later. */
void serve_refuse(serve *s, peer *p, uint16_t code, const char *why);

/* serve_session.c */
void session_open(serve *s, peer *p, const xd_frame *f);
void session_resume(serve *s, peer *p, const xd_frame *f);
void session_frame(serve *s, peer *p, const xd_frame *f);
void session_cut(session *e); /* its controller disconnected; the agent waits for it to reconnect */
void session_end(session *e); /* its agent is to end */
uint64_t
     session_care(session *e,
                  uint64_t now_ns); /* moves bytes, looks at the time; when to call again. It may be freed */
void session_free_all(serve *s);
