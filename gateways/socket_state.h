/* gateways/socket_state.h - private to socket.c (the gateway's side) and socket_thread.c (the connection). The thread owns the connection; between the two
 * are a socket pair for the pipe, another for text, and what is below `lock`. */
#pragma once
#include <pthread.h>

#include "engine/tunnel.h"
#include "gateways/dial.h"
#include "gateways/transport.h"

#define SOCKET_MAGIC 0x50c3e701u

typedef enum socket_phase { SOCKET_DIALS, SOCKET_OPEN, SOCKET_FAILED, SOCKET_OVER } socket_phase;

typedef struct socket_pipe {
    xd_pipe   pipe;
    uint32_t  magic;
    char     *agent; /* path of its program there; NULL = the server's own */
    xd_dial   dial;  /* of the thread, while it runs; its error is the gateway's once it has failed */
    uint64_t  output_limit;
    uint32_t  timeout_ms;
    int       fd, text;              /* the gateway's ends; -1 = closed */
    int       to_thread, to_gateway; /* eventfds */
    pthread_t thread;
    bool      running, again;
    bool      known; /* an agent was started: `token` is its */

    /* of the thread, while it runs */
    int       far_fd, far_text; /* its ends */
    xd_tunnel tunnel;
    uint64_t  heard_ns, said_ns, closed_ns;
    bool      shut; /* the end of the pipe is told to the gateway */

    pthread_mutex_t lock; /* what is below */
    pthread_cond_t  done;
    socket_phase    phase;
    bool    cut, parting, ended, finished; /* ended: the agent has; finished: the thread is about to */
    uint8_t token[XD_TUNNEL_TOKEN];
    char    how[256];
} socket_pipe;

void *xd_socket_main(void *arg); /* of the thread */
