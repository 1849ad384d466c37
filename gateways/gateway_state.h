/* gateways/gateway_state.h - private to the gateway actor's files.
 *   gateway.c          the actor: its start, end and messages
 *   gateway_dial.c     the pipe's life: opening it, HELLO, its end
 *   gateway_reconnect.c  the pipe was cut: another one takes the session up
 *   gateway_pump.c     what travels: bytes and frames both ways, the text beside the pipe
 *   gateway_sync.c     what passes here of a synchronisation
 *   gateway_silence.c  PING, and who does not answer */
#pragma once
#include "engine/actor.h"
#include "engine/check.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "gateways/gateway.h"

#define GATEWAY_MAGIC 0x6a7e0a11u
#define RETRY_MS 2u /* while the broker's inbox is full */

typedef enum gateway_state {
    DIALING,
    GREETING, /* HELLO is awaited */
    UP,
    AWAY,      /* the pipe was cut, another one is dialled */
    RETURNING, /* it is there: HELLO is awaited on it */
    DOWN,
} gateway_state;

typedef struct gateway {
    uint32_t            magic;
    xd_actor           *actor; /* borrowed; outlives us */
    const xd_transport *transport;
    xd_transport_choice choice;
    xd_xspec            spec; /* owned */
    uint16_t            number;
    gateway_state       state;
    char               *agent, *dir, *keys, *cache_dir, *scratch_dir, *sched, *collector, *syncer; /* owned */
    uint64_t            output_limit, session, deadline_ns;
    bool                ssh_accept_new;
    struct xd_listen   *listen; /* of an agent that has joined: where */
    uint16_t            seat;
    uint32_t            window_frames, window_bytes, timeout_ms;

    xd_pipe     *pipe;    /* NULL = not dialled yet, or hung up */
    xd_pipe_wait waits;   /* what is watched of it */
    uint32_t     ready;   /* XD_PIPE_*: to be called at the next turn */
    int          turn_fd; /* always readable; watched while something is `ready`. -1 = not needed so far */
    bool         deaf;    /* the far end takes no more */

    uint16_t version;      /* of the protocol */
    uint64_t capabilities; /* bits of CAP that both have */
    uint32_t reconnect_ms;
    bool     greeted;    /* HELLO came: the session stands */
    bool     last_words; /* the agent has said what ran when it ended */
    bool     reopening;
    uint8_t  token[XD_TOKEN_LEN]; /* of its HELLO */
    uint64_t cut_ns;              /* when the pipe was cut: the time to dial it again counts from there */
    uint64_t again_ns; /* AWAY: when it is dialled again; RETURNING: when HELLO is not awaited any more */
    uint32_t again_ms, cuts, cuts_max;
    char     cut_why[128];
    char     again_why[1024]; /* why the last attempt came to nothing */
    char     broken[64];      /* fault of a write; empty = none */

    xd_stream_in   rx;
    xd_stream_out  tx;
    xd_session_tx *sent; /* what the agent has not acknowledged */
    xd_session_rx  seen;
    xd_check      *check; /* of what the agent says */
    bool           foreign;
    char          *junit_path; /* owned */
    uint64_t       acked;      /* what the journal has of it */
    bool           full;  /* its credit is used up: nothing more is read until something is acknowledged */
    xd_buf         frame; /* scratch */
    xd_msg        *stuck; /* the broker had no room for it; nothing more is read until it has */
    bool           bye, broke, down_told; /* `broke`: said what it must not */
    char           reason[2048];          /* why it is down */
    xd_buf         line;                  /* of the text beside the pipe, not yet whole */
    uint32_t       lines;
    uint64_t       text_bytes; /* read of it */
    bool           text_over;  /* its end was read */

    int           sync_fd; /* socket to the syncer's thread for this host; -1 = none */
    xd_stream_in  sync_in;
    xd_stream_out sync_out;
    bool          synced; /* the agent has said how it went: it is not begun again when the pipe comes back */

    uint32_t silence_ms, silent_ms; /* silent for so long while an answer is owed */
    uint64_t looked_ns;             /* when silent_ms was last added to; 0 = nothing is owed */
    uint64_t wrote_ns;              /* when something was last written to the pipe */
    bool     holds_back; /* commands behind number held_after are not written: an answer is overdue */
    uint64_t held_after;
    uint32_t pinged;  /* so many PONGs are owed */
    bool     heard;   /* something has come since ping_ns was set */
    uint64_t ping_ns; /* when it is looked again whether a PING is due */
} gateway;

/* gateway_dial.c */
int xd_gateway_dial(gateway *g);  /* begins, or goes on */
int xd_gateway_greet(gateway *g); /* the pipe is open: HELLO is awaited */
int xd_gateway_on_hello(gateway *g, const xd_frame *f);
int xd_gateway_send_welcome(gateway *g, xd_bytes token);
int xd_gateway_go_down(gateway *g, const char *why);
/* The same, of a far end that has ended by itself: what it wrote last beside the pipe often says why, and is waited for. */
int  xd_gateway_ended(gateway *g, const char *why);
int  xd_gateway_drop_peer(gateway *g, const char *why); /* goes down, with a line in the log */
int  xd_gateway_bad_peer(gateway *g, const char *what); /* the same: its agent said what it must not */
int  xd_gateway_tell_down(gateway *g);                  /* once; waits for room when there is none */
void xd_gateway_drop_pipe(gateway *g, uint32_t grace_ms, char *how, size_t how_size);
/* Before it is dropped for good. *grace_ms becomes less by the time that it takes. */
void xd_gateway_say_bye(gateway *g, uint32_t *grace_ms);
uint32_t
xd_gateway_grace_ms(const gateway *g); /* that an agent gets to end by itself, by what it may have started */

/* gateway_reconnect.c */
/* The pipe has ended. Returns with another one on its way, or goes down with `why`. Not while a frame is looked at. */
int xd_gateway_cut(gateway *g, const char *why);
/* The same: it led nowhere since then, and the far end has been counting for as long. */
int xd_gateway_cut_since(gateway *g, const char *why, uint64_t since_ns);
int xd_gateway_reconnect(gateway *g); /* goes on with it: AWAY, RETURNING */
int xd_gateway_on_return(gateway *g, const xd_frame *hello);
/* Its agent has been told things, or may have been. */
static inline bool xd_gateway_in_session(const gateway *g)
{
    return g->state == UP || ((g->state == AWAY || g->state == RETURNING) && g->greeted);
}

/* gateway_pump.c */
/* Nothing is read: the broker has no room, or the agent's credit is used up. */
static inline bool xd_gateway_holds(const gateway *g)
{
    return g->stuck || g->full;
}
int  xd_gateway_watch(gateway *g); /* after whatever may change what the pipe waits for */
void xd_gateway_unwatch(gateway *g);
int  xd_gateway_flush(gateway *g);
int  xd_gateway_send_loose(gateway *g, const xd_buf *frame);
int  xd_gateway_send_ack(gateway *g); /* up to g->acked */
int  xd_gateway_note(gateway *g, uint8_t level,
                     xd_bytes text); /* for the user; dropped while something is stuck */
int  xd_gateway_deliver(gateway *g); /* frames that have been read and not given on yet */
int  xd_gateway_read_text(gateway *g);
/* Sends a frame on; one that finds no room is kept and stops the reading. Call only while nothing is stuck. */
int xd_gateway_pass_up(gateway *g, uint16_t type, uint16_t flags, const void *frame, size_t len);
int xd_gateway_unstick(gateway *g); /* 0 = nothing is stuck any more, 1 = it still is */

/* gateway_sync.c */
bool xd_gateway_sync_type(uint16_t type);
int  xd_gateway_sync_begin(gateway *g); /* the session stands, or stands again */
void xd_gateway_sync_end(gateway *g);   /* the pipe has ended */
int  xd_gateway_sync_watch(gateway *g); /* after whatever may change what is taken from the socket */
int  xd_gateway_sync_frame(gateway *g, const xd_frame *f); /* of the agent */

/* gateway_silence.c */
int xd_gateway_next_tick(gateway *g);
int xd_gateway_expect_answer(gateway *g);
int xd_gateway_look_for_silence(gateway *g);
/* Nothing is to be written any more: the agent may hear it, and not be heard. It gives up when it has heard nothing for the time
 * that it is dialled again, and must not do so later than this gateway. */
bool xd_gateway_overdue(const gateway *g);
int  xd_gateway_let_go(gateway *g); /* something has come: what was held back is written */
