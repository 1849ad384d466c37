/* gateways/gateway.h - a gateway is "a way to get a byte pipe to an agent", and the actor that owns that
 * pipe.
 *
 * A transport (popen, ssh, ...) is an xd_gateway_ops; everything else is written once, in gateway.c.
 *
 *   in   every record of wire.def numbered 16 .. 31   from "sched": goes to the agent as a frame
 *        ACK from "broker": records up to here are in the journal; goes to the agent
 *   out  GATEWAY_UP, the agent's sequenced records, GATEWAY_DOWN to "broker" for the journal, which passes
 *        them on to "sched"
 *        PROGRESS                                     to "sched", not recorded
 *        PAUSED                                       to "sched", when PAUSE has been written
 *   Own thread. TERM: the pipe is hung up; the agent ends all it started within a few seconds, and is killed
 *   when it does not. */
#pragma once
#include <stdint.h>

#include "engine/actor.h"
#include "engine/base/buf.h"
#include "engine/base/log.h"
#include "engine/base/proc.h"

/* Where to dial; borrowed for the call. */
#define XD_OUTPUT_DEFAULT UINT64_MAX
typedef struct xd_gateway_target {
    const char *spec;  /* as the user wrote it, for messages */
    const char *agent; /* path of the agent's program on this host; NULL = found by xd_gateway_find_agent */
    const char *dir;   /* it starts there; NULL = in the current directory */
    uint64_t
        output_limit; /* bytes kept of what one test writes past pytest's capture; XD_OUTPUT_DEFAULT = the agent's default */
} xd_gateway_target;

/* The pipe.  Everything in it belongs to the caller of dial. */
typedef struct xd_gateway_pipe {
    int in, out; /* non-blocking; the same number when it is one socket */
    int errors;  /* text of the transport and of the agent for people (its stderr), non-blocking; -1 = none */
    xd_proc proc; /* process on this host that carries the pipe; pid 0 = none */
} xd_gateway_pipe;
#define XD_GATEWAY_PIPE_INIT ((xd_gateway_pipe){ .in = -1, .out = -1, .errors = -1, .proc = { .pidfd = -1 } })

typedef struct xd_gateway_ops {
    const char *name; /* the spec's scheme: "popen" */
    /* Makes the pipe and starts an agent at its far end; does not speak with it. May block up to timeout_ms:
     * it is called on the gateway's own thread. No lock is held. *ret is touched only on success and then
     * belongs to the caller. -errno; err says what was tried. */
    int (*dial)(const xd_gateway_target *target, uint32_t timeout_ms, xd_gateway_pipe *ret, xd_error *err);
    /* Ends what dial started and closes the descriptors: closes the pipe first (the agent's leash), waits up
     * to grace_ms for the agent to end by itself, then kills what is on this host. May block as long as
     * grace_ms says (0 = not at all). Called once per pipe, also after end of file. *how gets a few words on
     * how the process ended, when that is known. */
    void (*hang_up)(xd_gateway_pipe *pipe, uint32_t grace_ms, char *how, size_t how_size);
} xd_gateway_ops;

extern const xd_gateway_ops xd_gateway_popen;

/* The ops of a scheme; NULL = there is no such gateway. */
const xd_gateway_ops *xd_gateway_find(const char *scheme);

/* Path of the agent's program: `wanted` if given, $XD_AGENT, beside this program, ../libexec/xd beside it,
 * the prefix in which libxd.so lies, the installed place.
 * *ret is malloc'ed.  -ENOENT: err lists what was tried. */
int xd_gateway_find_agent(const char *wanted, char **ret, xd_error *err) XD_MUST;

/* ---- the actor ----------------------------------------------------------------------------------------- */

typedef struct xd_gateway_args {
    const xd_gateway_ops *ops;           /* static */
    uint16_t              number;        /* of the gateway in this run */
    xd_gateway_target     target;        /* texts are copied by init */
    const char           *sched;         /* address of the scheduler; copied.  NULL = "sched" */
    uint64_t              session;       /* id of the session, for WELCOME */
    uint32_t              window_frames; /* credit; 0 = 1024 */
    uint32_t              window_bytes;  /* 0 = 4 MiB */
    uint32_t              timeout_ms;    /* for dial and HELLO together; 0 = 20 s */
    /* An agent that has not acknowledged what it was told, or not answered PING, and says nothing else for so long, is
     * given up. PING follows a quarter of that time in which nothing came. 0 = 60 s, UINT32_MAX = never */
    uint32_t silence_ms;
} xd_gateway_args;

/* Start with xd_actor_start(..., xd_gateway_address(number), &args). It dials after its start, so gateways
 * dial side by side; a dial that fails is told as GATEWAY_DOWN. After GATEWAY_DOWN it stays until it is asked
 * to stop, and does nothing. */
extern const xd_actor_spec xd_gateway_spec;
/* "gateway.N"; size XD_ADDRESS_LEN. */
void xd_gateway_address(uint16_t number, char *ret, size_t size);
