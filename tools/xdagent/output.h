/* tools/xdagent/output.h - one stdout or stderr of a process. Of each item the first half of the limit is sent as it
 * comes; of the rest the last half is kept and sent when the item is over; what lies between is counted in dropped_bytes. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"

typedef struct agent        agent;
typedef struct agent_worker agent_worker;

typedef struct agent_output {
    agent        *agent;
    agent_worker *worker; /* NULL: collector or runner host */
    int           fd;     /* owned; -1 = closed */
    uint8_t       stream; /* 1 stdout, 2 stderr */
    bool          reading;
    uint32_t      item;  /* whose bytes are counted now */
    uint64_t      bytes; /* of this item */
    uint64_t      dropped;
    xd_buf        tail;
    xd_buf       *last; /* where the last AGENT_LAST_OUTPUT bytes are kept; borrowed */
} agent_output;

int  agent_output_open(agent_output *o, agent *a, agent_worker *w, int fd, uint8_t stream,
                       xd_buf *last) XD_MUST;
void agent_output_close(agent_output *o); /* reads what is left (bounded), sends the kept tail */
void agent_output_read(agent_output *o, bool on);
void agent_output_drain(agent_output *o); /* reads what is there now */
/* The item is over: its kept tail goes out. */
int agent_output_item_over(agent_output *o, uint32_t item) XD_MUST;
