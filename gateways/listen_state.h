/* gateways/listen_state.h - private to listen.c (the thread: who joins), listen_guest.c (the bytes of those who have) and joined.c (the gateways' side). */
#pragma once
#include <pthread.h>

#include "engine/token.h"
#include "engine/tunnel.h"
#include "gateways/listen.h"
#include "gateways/peers.h"

typedef enum seat_phase {
    SEAT_FREE,
    SEAT_HERE, /* there is a pipe, or will be: who joined may be away for a while */
    SEAT_OVER, /* its agent has ended, or nobody waits for it any more */
} seat_phase;

/* Between the thread and the gateway; under the lock. */
typedef struct seat {
    seat_phase phase;
    int        fd, text;   /* the gateway's ends, until it takes them; -1 */
    int        to_gateway; /* eventfd; -1 = not used so far */
    bool       left;       /* the gateway has hung up */
    bool       again;      /* the pipe that was given last is of no use to it: it wants another one */
    bool       parting;
    char       how[256]; /* its agent has ended */
} seat;

/* One agent that has joined. Of the thread alone. */
typedef struct guest {
    struct guest *next;
    xd_listen    *listen;
    xd_peer      *peer; /* NULL: its connection was cut */
    uint16_t      number;
    xd_pubkey     key;
    char          who[120];
    uint8_t       token[XD_TUNNEL_TOKEN];
    int           far_fd, far_text; /* the thread's ends */
    xd_tunnel     tunnel;
    bool          has_tunnel, full, ended, shut, leaves;
    uint64_t      closed_ns, left_ns;
} guest;

typedef struct token_user {
    xd_pubkey key;
    uint32_t  times;
} token_user;

/* A token that somebody has joined with: whose it is now. */
typedef struct used_token {
    uint8_t     nonce[XD_RUN_TOKEN_NONCE];
    token_user *by;
    uint32_t    count;
} used_token;

struct xd_listen {
    xd_listen_args args;
    char         **bind, **runs, **needs; /* owned */
    xd_poller     *poller;
    xd_peers      *peers;
    guest         *guests;
    used_token    *tokens;
    size_t         n_tokens;
    uint16_t       taken; /* seats so far */
    bool           moved;
    int            wake_fd;
    pthread_t      thread;
    bool           running;

    pthread_mutex_t lock; /* what is below */
    pthread_cond_t  change;
    seat           *seats;
    bool            closed, stop;
};

seat *listen_seat(xd_listen *l, uint16_t number);

/* listen_guest.c */
/* The seat has its eventfd from here on, whoever comes first, the gateway or the guest. -errno. */
int listen_seat_event(xd_listen *l, seat *s);
/* Gives it the next seat and a pipe. -errno: nothing has changed. */
int      guest_new(xd_listen *l, xd_peer *p, guest **ret);
int      guest_connect(guest *g, xd_peer *p); /* (again): tells it that it has joined */
void     guest_frame(guest *g, const xd_frame *f);
void     guest_cut(guest *g);
void     guest_end(guest *g, const char *how);  /* its agent is not heard any more */
uint64_t guest_care(guest *g, uint64_t now_ns); /* when to call again. It may be freed */
void     guest_free(guest *g);
