/* sync/send_state.h - one synchronisation, as send.c (what goes out) and answers.c (what comes in) share it. Internal to the home end.
 *
 * The numbers of SYNC_END tell both ends where they are: one is due behind each series of SYNC_RECORDS (and what is pushed with it), or right behind SYNC_OPEN where no records are
 * sent, and one behind what a SYNC_WANT with `last` asked for. So there is a queue of jobs, each of which ends with one. */
#pragma once
#include "engine/stream.h"
#include "sync/send.h"
#include "sync/send_plan.h"

#define XD_SYNC_WINDOW (4u << 20) /* bytes of SYNC_DATA bodies under way */
#define XD_SYNC_WANTS 8u /* what does not fit is asked for again; more often, and something is wrong */
#define XD_SEND_JOBS 10u

/* Files to be sent, maybe none; then SYNC_END. */
typedef struct xd_job {
    xd_range *ranges;
    uint32_t  count;
} xd_job;

/* How fast the other end takes what it is sent: send_link.c. */
typedef struct xd_link {
    bool     begun;
    int      level;    /* of zstd; 0 = plain */
    uint64_t since_ns; /* when the present measurement began; 0 = with the next SYNC_TAKEN */
    uint64_t taken, sent,
        content;            /* bytes then: of bodies that were taken, of bodies, of files that were in them */
    uint64_t from;          /* what was taken before this was sent in another way */
    double   packed, plain; /* content per second, when it was last sent so; 0 = not yet */
    uint64_t probe_sent, probe_taken,
        probe_ns; /* data_sent with a block whose way is timed, taken before it, and when; probe_sent 0 = none */
    uint64_t best_ns, window; /* the shortest that one took; bytes that may be under way. 0 = not known yet */
} xd_link;

typedef struct xd_sender {
    const xd_send_args *args;
    xd_source          *source;
    xd_sync_counts      c;
    xd_error           *err;
    xd_stream_in        in;
    xd_stream_out       out; /* all but blocks */
    int                 wake_fd;
    xd_base            *base;       /* what stands there, as far as is known; NULL */
    bool                remembered; /* that is what is to stand there */
    bool                deltas;     /* it can be believed still */

    xd_job     jobs[XD_SEND_JOBS];
    uint32_t   job_count;
    bool       begun;  /* jobs[0] */
    xd_reader *reader; /* of jobs[0] */
    xd_block  *block;
    size_t     block_at; /* bytes of it that are written */
    uint64_t   data_sent, taken, content;
    uint32_t   amends_open, amends,
        amends_done;   /* that are in the records; that were looked at; that stand there at the end */
    uint32_t unstable; /* file + 1 */

    bool     came; /* told to the source */
    bool     opened, all_records, waiting, over, closed;
    xd_buf   wanted;    /* xd_range of SYNC_WANT so far */
    uint64_t want_next; /* its next range begins there or behind */
    uint32_t wants;     /* lists that were complete */
    xd_buf   keep;      /* SYNC_INDEX of SYNC_EXTRA, those that stay */
    uint32_t keeps, extras;
    bool     extra_over;

    uint64_t began_ns, told_ns;
    xd_link  link;
} xd_sender;

int xd_sender_fault(xd_sender *s, int r);
int xd_sender_wrong(xd_sender *s, const char *what); /* -EPROTO */
/* Takes the ranges. */
int xd_sender_add_job(xd_sender *s, xd_range **ranges, uint32_t count) XD_MUST;
/* All records, to an end that is not at the base. */
int xd_sender_start_over(xd_sender *s) XD_MUST;
/* A stream of blocks begins; a block is about to be written; SYNC_TAKEN came. */
void xd_link_begin(xd_sender *s);
void xd_link_sent(xd_sender *s);
void xd_link_taken(xd_sender *s);
/* Bytes of bodies that may be under way when another block is begun. */
uint64_t xd_link_window(const xd_sender *s);
/* One message of the other end. */
int xd_sender_answer(xd_sender *s, const xd_frame *f) XD_MUST;
