/* gateways/gateway.h - the actor that owns the byte pipe to one agent: it dials, keeps the session, and moves frames
 * between the pipe and the broker.  How the pipe is made is the transport's business (transport.h).
 *
 *   in   every record of wire.def numbered 16 .. 31   from scheduler or collector: goes to the agent as a frame
 *        ACK from "broker": records up to here are in the journal; goes to the agent
 *        DIAL from the engine, if it waits for that
 *   out  GATEWAY_UP, the agent's sequenced records, GATEWAY_DOWN to "broker" for the journal, which passes
 *        them on: COLLECTED and COLLECT_IDS to the collector, the others to the scheduler
 *        PROGRESS                                     to the scheduler, not recorded
 *        PAUSED                                       to the scheduler, when PAUSE has been written
 *   Own thread. TERM: the pipe is hung up; the agent ends all it started within a few seconds, and is killed
 *   when it does not. While it is being dialled, or has not said HELLO, that takes less than a second. */
#pragma once
#include <stdint.h>

#include "engine/actor.h"
#include "gateways/transport.h"

typedef struct xd_gateway_args {
    xd_transport_choice choice;
    uint16_t            number;    /* of the gateway in this run */
    xd_target           target;    /* copied by init */
    const char         *sched;     /* address of the scheduler; copied */
    const char         *collector; /* address of the collector; copied */
    const char         *
        syncer; /* address of the syncer: each session begins with a link to it (SYNC_LINK); copied; NULL = no files go there */
    uint64_t    session;       /* id of the session, for WELCOME */
    bool        foreign;       /* an agent that is not this program's own: it names no files here */
    const char *junit_path;    /* of such a one: stands for CONFIG's xmlpath; copied; NULL = none */
    bool        waits;         /* with its first dial, until DIAL comes */
    uint32_t    window_frames; /* credit; 0 = 1024 */
    uint32_t    window_bytes;  /* 0 = 4 MiB */
    uint32_t    timeout_ms;    /* for opening and HELLO together; 0 = 20 s */
    /* An agent that has not acknowledged what it was told, or not answered PING, and says nothing else for so long, is
     * given up. PING follows a quarter of that time in which nothing came. 0 = 60 s, UINT32_MAX = never */
    uint32_t silence_ms;
    uint32_t
        reconnect_ms; /* how long a pipe that was cut is dialled again, and the agent waits for it; 0 = not at all */
    uint32_t cuts_max; /* so many of one session; 0 = 2000 */
} xd_gateway_args;

/* Start with xd_actor_start(..., xd_gateway_address(number), &args). It dials after its start, so gateways
 * dial side by side; a dial that fails is told as GATEWAY_DOWN. After GATEWAY_DOWN it stays until it is asked
 * to stop, and does nothing. */
extern const xd_actor_spec xd_gateway_spec;
/* "gateway.N"; size XD_ADDRESS_LEN. */
void xd_gateway_address(uint16_t number, char *ret, size_t size);
