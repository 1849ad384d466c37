/* tools/xdagent/agent.h - the agent's own parts.  One thread, one event loop; every function here runs on it.
 * Workers, local channels, output and the folders of an environment have headers of their own: worker.h, chan.h, output.h, place.h.
 *
 *   link.c      the stream to the controller: sequence, credit, batches
 *   reconnect.c HELLO and WELCOME; the stream is cut and taken up again
 *   attach.c    how another stream comes to this agent from outside
 *   chan.c      local sockets and pipes to the runner's processes: frames out (with descriptors), frames in
 *   place.c     what an environment needs to know of this host: its folders
 *   env.c       one environment: collector, runner host, collection
 *   list.c      the collection and its digest
 *   worker.c    what workers say
 *   start.c     how they are started
 *   life.c      their states: a table
 *   queue.c     commands of the agent queue (engine/aqueue.h): RUN, limits on the progress page, blame, restarts
 *   down.c      how a worker ended, and what is said about it
 *   output.c    stdout and stderr of the runner's processes as OUTPUT
 *   cache.c     what the runner's memory of failures needs when the controller is gone
 *   sync.c      a tree of files that the controller brings, received by a process of its own (receive.c)
 *   guard.c     the process above this one, which cleans up when this one is killed
 *   orphans.c   processes that lost their parent and have ended: waited for, as init does
 *   stop.c      CANCEL, FINISH, the dead-man, and that nothing stays behind
 *
 * Backpressure: while the credit of the session is used up (xd_link_full), nothing is read from workers, so
 * they block in write(2). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "actors/runners/runner.h"
#include "engine/aqueue.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/page.h"
#include "engine/base/poller.h"
#include "engine/base/text.h"
#include "engine/names.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "engine/wire.h"
#include "tools/xdagent/place.h"
#include "tools/xdagent/worker.h"

#define AGENT_PROGRESS_NS (500 * XD_MS_NS)
#define AGENT_SLOTS_MAX 1024u
#define AGENT_OUTPUT_LIMIT (1u << 20) /* bytes of uncaptured output kept per item and stream */
#define AGENT_LAST_OUTPUT 4096u
#define AGENT_CAPTURED_BYTES 2048u /* of what was captured of a process that died, of each stream */

/* Body of a frame, and a list made of encoded records, as views. */
static inline xd_bytes agent_body(const xd_frame *f)
{
    return (xd_bytes){ f->body, f->len };
}
static inline xd_wire_list agent_list_of(const xd_buf *records, uint32_t count)
{
    return (xd_wire_list){ .count = count, .ptr = records->data, .len = records->len };
}

/* ---- link.c -------------------------------------------------------------------------------------- */

typedef struct agent_link {
    int in, out; /* descriptors; the same one for a socket; -1 = the pipe was cut */
    int redial;  /* socket that brings another pipe then; its end is that of the controller; -1 = none */
    int hand;    /* socket to the guard, which gets each new pipe too; -1 = none */
    int knock; /* socket at which another xdagent (--attach) brings one, on a host that is not the controller's; -1 = none */
    int knocked; /* one that has come there and has not said what it brings; -1 = none */
    int next, next_out,
        next_by;       /* a new pipe that was brought, and the socket to who brought it; -1 = none */
    int            by; /* the same of the pipe that is in use: it ends when this is closed; -1 = nobody */
    bool           brought; /* so was this one */
    bool           known;   /* the session stands */
    bool           welcome; /* WELCOME came on this pipe */
    bool           open;    /* HELLO was said on this pipe: frames may follow */
    bool           broken;  /* end of file or fault of the pipe: it is cut */
    bool           lost;    /* nobody listens any more, and nobody will */
    bool           pollout;
    uint64_t       id; /* of the session */
    uint8_t        token[XD_TOKEN_LEN];
    bool           beats;                    /* the controller lets hear of itself (CAP_BEAT) */
    uint64_t       heard_ns;                 /* when it last did, or when the pipe came */
    uint64_t       turn_ns;                  /* when the loop last looked at the link */
    uint64_t       reconnect_ns, give_up_ns; /* how long it waits for another pipe; until when */
    uint64_t       flush_ns;                 /* when the batches of results go out; UINT64_MAX = none waits */
    uint64_t       flushed_ns;               /* when they last did */
    xd_stream_in   rx;
    xd_stream_out  tx;
    xd_session_tx *session;
    xd_session_rx  seen;
    xd_buf         frame; /* scratch */
} agent_link;

/* redial, hand: -1 = there are none; all belong to it. reconnect: name under which pipes are brought; NULL = none. */
int  agent_link_open(agent *a, int in, int out, int redial, int hand, const char *reconnect) XD_MUST;
void agent_link_close(agent *a);
/* Sends one record, sequenced. The body is that of `type`; it may be of any size up to the frame limit. Never
 * blocks. */
int agent_link_send(agent *a, uint16_t type, xd_bytes body) XD_MUST;
/* The same without sequence number: not recorded, not sent again (PROGRESS). */
int agent_link_send_loose(agent *a, uint16_t type, xd_bytes body) XD_MUST;
/* A line for the user (AGENT_NOTE). `failed`: it makes the exit code 1 at least. */
int agent_note(agent *a, uint8_t level, bool failed, const char *fmt, ...) XD_MUST
    __attribute__((format(printf, 4, 5)));
bool     agent_link_full(const agent *a);    /* no credit: read nothing that would have to be sent */
bool     agent_link_idle(const agent *a);    /* everything is written and acknowledged */
uint64_t agent_link_bytes(const agent *a);   /* sent to the controller so far */
int      agent_link_flush(agent *a) XD_MUST; /* writes what the descriptor takes */
int      agent_link_plain(agent *a, uint16_t type, xd_bytes body) XD_MUST; /* a frame of the session itself */
int      agent_link_watch(agent *a) XD_MUST;                   /* what is to be written wakes the loop */
int      agent_link_attach(agent *a, int in, int out) XD_MUST; /* a pipe, on which nothing was said yet */
void     agent_link_detach(agent *a);                          /* closes it */
/* Can another pipe come when this one is cut? */
static inline bool agent_link_returns(const agent_link *l)
{
    return l->redial >= 0 || l->knock >= 0;
}
static inline bool agent_link_away(const agent_link *l)
{
    return l->in < 0 && !l->lost;
}

/* reconnect.c */
int agent_link_hello(agent *a) XD_MUST;
int agent_link_welcome(agent *a, const xd_wire_WELCOME *m) XD_MUST;
/* A pipe that somebody has brought is the next one; it takes all three, of which `by` may be -1. */
void agent_link_bring(agent *a, int in, int out, int by);
int  agent_link_redial(agent *a) XD_MUST; /* watches the socket that brings pipes */
int  agent_link_knock(agent      *a,
                      const char *name) XD_MUST; /* the same of one that --attach finds by this name */
/* xdagent --attach NAME: hands standard input and output to the agent of that name. Exit status. */
int agent_attach(const char *name);
/* When this agent gives up on a pipe on which nothing comes; UINT64_MAX = never. */
uint64_t agent_link_silent_at(const agent *a);
void     agent_link_heard(agent *a); /* something came */
/* Lets a broken pipe go, takes up one that was brought, or gives up. */
int agent_link_care(agent *a, uint64_t now_ns) XD_MUST;

/* ---- env.c -------------------------------------------------------------------------------------------- */

/* What the agent is at (stop.c). */
typedef enum agent_phase {
    AGENT_RUNNING,
    AGENT_ENDING_SESSIONS,  /* QUIT is sent to all workers */
    AGENT_ENDING_PROCESSES, /* ... and to collector and host; all of them leave side by side */
    AGENT_CLOSING,          /* BYE is sent, the last acknowledgement awaited */
    AGENT_OVER,
} agent_phase;

/* The agreed list of node ids, as it came from the collector. */
typedef struct agent_part {
    uint32_t offset, len; /* of agent_list.bytes */
} agent_part;

typedef struct agent_list {
    xd_buf      bytes; /* bodies of COLLECT_IDS, back to back */
    agent_part *chunk; /* the bodies */
    uint32_t    chunks, chunks_cap;
    agent_part *id; /* of each item */
    uint32_t    count, cap;
    void       *hash; /* XXH3_state_t */
    uint64_t    digest_lo, digest_hi;
    bool        over;   /* COLLECTED came */
    bool        wanted; /* SEND_LIST came before */
    bool        sending;
    uint32_t    next_chunk; /* to be sent */
} agent_list;

int  agent_list_init(agent_list *l) XD_MUST;
int  agent_list_add(agent_list *l, xd_bytes body) XD_MUST; /* a COLLECT_IDS body */
void agent_list_close(agent_list *l);                      /* the digest is made */
void agent_list_release(agent_list *l);

typedef struct agent_env {
    bool        started, ready, failed; /* ready: HOST_READY came; failed: ENV_FAILED was sent */
    bool        forks;                  /* HOST_READY said that workers may be forked */
    xd_runner  *runner;                 /* owned; NULL = none, or not prepared yet */
    xd_buf      start;                  /* body of ENV_START, with what this host adds */
    agent_place place;
    bool        page_made, page_stops; /* page_stops: agent_page_stop() was there */
    bool        watched;               /* the controller shows how far the collection is */
    bool       keeps_cache, saved; /* its collector writes what failed for the next session; it has done so */
    xd_page    page;
    xd_proc    collector;        /* pid 0 = gone, or a worker, whose process it is then */
    bool       became;           /* the collector is a worker now, or about to be */
    xd_proc    host;             /* pid 0 = not started or gone */
    bool       hosted;           /* it was started, or could not be: that is tried once */
    uint64_t   host_ns;          /* when it is started though nobody needs it yet; UINT64_MAX = not */
    uint16_t   workers;          /* that are expected; 0 = not known */
    agent_chan collect, control; /* to the collector, to the host */
    agent_output out, err;
    xd_buf       last;        /* last output of collector and host */
    int          captured[2]; /* what is captured of the collector: stdout, stderr; -1 = not there */
    agent_list   list;
    xd_buf       finish; /* body of a FINISH that came before the collection was over; empty = none */
    bool         quit;   /* and QUIT is to follow it */
    uint8_t      way;
    bool         killed;   /* we ended host or collector: no news */
    bool         told_end; /* COLLECTED said that the session ends: so does the collector */
} agent_env;

int agent_env_start(agent *a, const xd_wire_ENV_START *m) XD_MUST;
int agent_env_send_list(agent *a) XD_MUST;
int agent_env_more_list(agent *a) XD_MUST;              /* as much of the list as there is credit for */
int agent_env_reorder(agent *a, xd_bytes body) XD_MUST; /* REORDER */
/* FINISH for the collector, which writes what failed by it: kept until it is known that the numbers in it are
 * those of this environment's list. */
int agent_env_finish(agent *a, xd_bytes body, const xd_wire_FINISH *m) XD_MUST;
int agent_env_quit(agent *a) XD_MUST; /* QUIT for the collector, behind it */
/* No worker starts a further test. */
void agent_page_stop(agent *a);
int  agent_env_fail(agent *a, int exit_status, const char *fmt, ...) XD_MUST
    __attribute__((format(printf, 3, 4)));
/* false: there is no such item, or it is one of the run that this environment does not have. */
bool agent_env_nodeid(const agent *a, uint32_t item, xd_bytes *ret);
bool agent_env_has(const agent *a, uint32_t first, uint32_t count); /* all of them */
/* The channel to the host, which is started now if it was not yet; NULL in *ret: it is gone, or cannot be. */
int agent_env_host(agent *a, agent_chan **ret) XD_MUST;
/* The collector is a worker from here on: its process, of which pid is the number. False: it is another's. */
bool agent_env_take_collector(agent *a, pid_t pid, xd_proc *ret);
/* "was killed by SIGSEGV", "ended with status 3", "ended". */
int  agent_how_it_ended(const xd_proc_status *s, bool known, char *text, size_t size);
int  agent_env_timers(agent *a, uint64_t now_ns) XD_MUST;
void agent_env_release(agent *a);

/* ---- look.c ------------------------------------------------------------------------------------------- */

typedef struct agent_look {
    bool        begun, prepared; /* prepared: the runner has all that it needs */
    bool        packages;        /* the interpreter's are to be listed */
    uint8_t     failed;          /* one of XD_LOOK */
    xd_buf      text;            /* why */
    agent_place place;
    xd_runner  *runner; /* owned */
    xd_proc     proc;   /* pid 0 = none, or it has ended */
    int         output; /* what it writes; -1 = none */
} agent_look;
#define AGENT_LOOK_INIT ((agent_look){ .place = AGENT_PLACE_INIT, .proc = XD_PROC_NONE, .output = -1 })

int  agent_look_at_host(agent *a, xd_bytes body) XD_MUST; /* of CHECK */
void agent_look_release(agent *a);

/* ---- sync.c, receive.c ------------------------------------------------------------------------------------ */

typedef struct agent_sync {
    agent_chan io;     /* to the process that receives; fd -1 = none */
    xd_proc    proc;   /* pid 0 = none, or it has ended */
    char      *folder; /* owned; absolute; NULL = nothing was brought */
    int        lock;   /* of a project's folder; -1 = none */
    bool       over;   /* it was said how it went */
    bool       stands; /* the tree is in folder */
    bool       opened; /* SYNC_OPEN followed SYNC_LOOK */
} agent_sync;
#define AGENT_SYNC_INIT ((agent_sync){ .io = { .fd = -1 }, .proc = XD_PROC_NONE, .lock = -1 })
#define AGENT_SYNC_WAITING_MAX \
    (64u << 20) /* bytes that the process has not taken: no correct controller comes near */
#define AGENT_RECEIVE_ROLE "--receive"

int  agent_sync_frame(agent *a, const xd_frame *f) XD_MUST; /* SYNC_* of the controller */
void agent_sync_cut(agent *a);           /* the pipe has ended: it is begun anew, on another one */
void agent_sync_care(agent *a);          /* with each turn of the loop */
void agent_sync_let_end(const agent *a); /* before all is killed; a second at most */
void agent_sync_release(agent *a);
int  agent_receive_main(const char *folder); /* exit status */

/* ---- cache.c ------------------------------------------------------------------------------------------ */

/* What is known of an item now: its outcome (0 = none yet), and whether a report of it failed.  -ENOMEM. */
int agent_cache_note(agent *a, uint32_t item, uint8_t outcome, bool failed) XD_MUST;
/* The controller is gone: lets the collector write what failed. A few seconds at most. */
int agent_cache_save(agent *a) XD_MUST;

/* ---- stop.c -------------------------------------------------------------------------------------------- */

int  agent_cancel(agent *a, const xd_wire_CANCEL *m) XD_MUST;
int  agent_finish(agent *a, xd_bytes body) XD_MUST;
void agent_pause(agent *a, bool on);
int  agent_stop_timers(agent *a, uint64_t now_ns) XD_MUST; /* moves the phases on */
void agent_dead_man(
    agent *a); /* the controller is gone: kills all, returns when nothing is left (a few seconds at most) */
void agent_kill_leftover(
    void); /* kills and waits for all children, also those that come to us as orphans meanwhile */

/* ---- orphans.c ----------------------------------------------------------------------------------------- */

int agent_orphans_watch(agent *a) XD_MUST;
/* A child has ended: waits for it, unless it is one whose status is asked for elsewhere. */
void agent_orphans_reap(agent *a);

/* ---- main.c -------------------------------------------------------------------------------------------- */

struct agent {
    xd_poller    *poller;
    agent_link    link;
    agent_env     env;
    agent_look    look;
    agent_sync    sync;
    xd_aqueue    *queue;
    agent_worker *worker; /* by slot */
    uint32_t      slots;
    uint16_t      first, total, next_number, stride;
    uint32_t      replaced; /* workers, where there is a stride */
    xd_names      names;    /* of the workers */
    bool          cancelled;
    uint32_t      maxfail; /* as it stands on the page */
    bool          muted;   /* backpressure */
    bool          paused;  /* so is the controller: Ctrl-Z */
    bool          queue_dirty;
    /* The worker whose end is being reported: items that go back to the controller are reported after it. */
    const agent_worker *buried;

    xd_buf       returned; /* bodies of RETURNED that wait for that, each behind its length (u32) */
    agent_phase  phase;
    uint64_t     output_limit;
    agent_wishes wishes;
    int32_t      highest_status;
    int64_t      oom_kills;
    int          signals;  /* signalfd */
    int          children; /* signalfd: SIGCHLD */
    bool         orphans;  /* children have ended that have not been looked at */
    int          page;     /* empty memory file, shared with the guard, for the progress page; -1 = none */
    int          note;     /* memory shared with the guard: what it removes when this process is killed */
    uint8_t     *scratch;  /* AGENT_SCRATCH bytes for reading */
    uint8_t     *seen; /* by item, for the collector's memory of failures: see cache.c; NULL = nothing yet */
    /* deadlines, monotonic ns, UINT64_MAX = none */
    uint64_t down_ns, tick_ns, progress_ns, queue_ns, kill_ns, term_ns;
    uint64_t leave_ns;    /* the user wants to leave: the grace of running tests and of sessions ends */
    uint64_t shutdown_ns; /* how long the end of a session may take; 0 = as long as it does */
    uint64_t phase_ns;    /* when the phase began */
    uint64_t phase_by_ns; /* when it is over in any case */
    uint64_t waiting_ns;  /* when it is said next what is waited for */
    uint64_t late_ns;     /* when the workers that were not started at once are, if there is work for them */
    uint64_t late_by_ns;  /* when they are in any case */
    uint64_t started_ns;  /* when the first ones were */
    bool     predicted;   /* the first lease has been looked at */
    uint32_t startable;   /* slots that there are descriptors for */
    uint32_t to_start;    /* slots from here on have had no worker yet */
    bool     progress_shown;
    int      fault; /* -errno that ends the agent */
};
#define AGENT_SCRATCH 65536u

/* Runs this program again as the agent and stays above it.  redial: see agent_link.  Returns the exit status to leave
 * with. */
int agent_guard(int in, int out, int redial, const char *reconnect, uint64_t output_limit,
                const agent_wishes *wishes);
/* From here on the guard removes this folder if this process cannot. */
void agent_guard_note(agent *a, const char *folder);

/* Every function of the loop that cannot pass an error up gives it here; the first one ends the agent. */
void agent_fault(agent *a, int error);
void agent_frame(agent *a, const xd_frame *frame);
void agent_mute(agent *a, bool on);
