/* tools/xdagent/chan.h - frames to and from one local process. Descriptors of a frame are closed here once they are sent. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/buf.h"
#include "engine/stream.h"
#include "engine/wire.h"

typedef struct agent agent;

typedef int (*agent_frame_fn)(void *arg, const xd_frame *frame);
typedef void (*agent_end_fn)(void *arg, int error); /* 0 = end of file */

typedef struct agent_chan {
    agent           *agent;
    int              fd;      /* owned; -1 = closed */
    bool             reading; /* wanted by the owner */
    uint32_t         events;  /* what the poller was told */
    xd_stream_in     rx;
    xd_buf           out;
    size_t           written; /* of out */
    struct chan_fds *fds;     /* descriptors to go with bytes of `out`, in order */
    size_t           nfds;
    agent_frame_fn   on_frame;
    agent_end_fn     on_end;
    void (*on_readable)(void *arg); /* instead of reading at once, when set */
    void *arg;
} agent_chan;

int  agent_chan_open(agent_chan *c, agent *a, int fd, bool reading, agent_frame_fn on_frame,
                     agent_end_fn on_end, void *arg) XD_MUST;
void agent_chan_close(agent_chan *c);
/* Queues a frame with up to 4 descriptors, which are ours to close from now on, also on failure. */
int  agent_chan_send(agent_chan *c, uint16_t type, xd_bytes body, const int *fds, size_t nfds) XD_MUST;
void agent_chan_read(agent_chan *c, bool on);
/* Reads what is there now and gives it to on_frame. Bytes read (0 = nothing there), -EPIPE at the end of the
 * stream, -errno.
 * `max` bounds the bytes of one call. */
ssize_t agent_chan_pump(agent_chan *c, size_t max) XD_MUST;
