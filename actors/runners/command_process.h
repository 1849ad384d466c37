/* actors/runners/command_process.h - the parts of the processes of the command runner: what they have open, the one that
 * runs a test, the one that takes tests from the agent. */
#pragma once
#include "actors/runners/command_args.h"
#include "actors/runners/command_list.h"
#include "engine/base/page.h"
#include "engine/base/proc.h"
#include "engine/stream.h"

/* Descriptors by number. COMMANDS and RESULTS come with FORK to a collector that becomes a worker. */
enum { XD_COMMAND_CONTROL = 3, XD_COMMAND_PAGE, XD_COMMAND_LIST, XD_COMMAND_COMMANDS, XD_COMMAND_RESULTS };

/* ---- command_test.c: one test ----------------------------------------------------------------------------- */

/* One of a test's two streams. Of what it writes the first and the last half of the limit are kept. */
typedef struct xd_command_stream {
    int      fd[2]; /* a pipe: ours to read, non-blocking; the tests' to write */
    xd_buf   head, tail;
    uint64_t dropped;
} xd_command_stream;

typedef struct xd_command_tester {
    xd_command_stream  stream[2]; /* stdout, stderr */
    size_t             half;      /* of the limit */
    uint64_t           timeout_ns;
    const char *const *env;
    int                agent;   /* whose end means that nobody wants the result: the command pipe */
    int                signals; /* signalfd: TERM, TSTP, CONT, CHLD */
} xd_command_tester;

enum {
    XD_COMMAND_ENDED = 0,
    XD_COMMAND_LEAVE = 1
}; /* LEAVE: the agent is gone, or has said TERM: no result */

typedef struct xd_command_end {
    xd_proc_status status;
    bool           timed_out;
    uint64_t       duration_us, start_us; /* wall clock */
    xd_error       not_started;           /* code 0 = it was */
} xd_command_end;

/* env is borrowed. Makes this process a subreaper and blocks the signals that the signalfd delivers. */
int  xd_command_tester_init(xd_command_tester *t, const char *const *env, int agent, uint64_t timeout_ns,
                            uint64_t output_limit) XD_MUST;
void xd_command_tester_release(xd_command_tester *t);
/* Runs one command line to its end, and ends what it leaves behind. The output is in t->stream then, until the next call.
 * ENDED, LEAVE, -errno. */
int xd_command_test_run(xd_command_tester *t, xd_bytes line, xd_command_end *ret) XD_MUST;
/* What is kept of a stream, with a line where something is missing. */
int xd_command_stream_text(const xd_command_tester *t, const xd_command_stream *s, xd_buf *out) XD_MUST;

/* ---- command_worker.c: tests from the agent --------------------------------------------------------------- */

typedef struct xd_command_worker {
    uint64_t     timeout_ns, output_limit;
    int          commands, results;
    xd_page      page;
    xd_wire_FORK who;
    xd_bytes     run_uid;
} xd_command_worker;

/* Says WORKER_READY (`same`: its list is the collector's for certain) and runs what RUN tells until QUIT. ORDER changes
 * *list, which is the caller's. Returns the exit status of the process. */
int xd_command_work(const xd_command_worker *w, xd_command_list *list, bool same);
/* Writes a whole frame to a pipe or socket that blocks. -EPIPE: nobody is there to read it. */
int xd_command_send(int fd, const xd_buf *frames) XD_MUST;
/* The collection as frames: COLLECT_IDS, then COLLECTED. exit_status: as in COLLECTED. */
int xd_command_collection(const xd_command_list *list, int32_t exit_status, uint64_t duration_us,
                          xd_buf *out) XD_MUST;
