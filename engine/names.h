/* engine/names.h - what workers are called: the id= of their spec, else gw and their number. Pure.
 * All code that shows a worker asks xd_names_of(). The controller knows all names of a run, an agent those of its own workers; reports take
 * them from the journal (WORKER_NAMES). A replacement for a crashed worker has a number of its own, and no id: what the first one left
 * behind under its name is not mixed with what the second one does, as in pytest-xdist. */
#pragma once
#include "engine/base/buf.h"
#include "engine/wire.h"

#define XD_NAME_MAX 64u /* bytes */

typedef struct xd_name {
    char text[XD_NAME_MAX + 1];
} xd_name;

/* Zero-initialised is valid: all are gw and their number. */
typedef struct xd_names {
    char   **at; /* by number; NULL = no name of its own; owned */
    uint32_t count;
} xd_names;

void xd_names_release(xd_names *n);
/* gw and a number: what a worker without a name is called. */
bool xd_names_numbered(xd_bytes name);
/* Up to 64 letters, digits and any of ._-, of which none of .- comes first; not gw and a number (xd_names_numbered), which another worker could have. */
bool xd_names_valid(xd_bytes name);
/* An empty name: gw and the number, as before. -EINVAL: it is not valid; -ENOMEM. */
int xd_names_set(xd_names *n, uint16_t worker, xd_bytes name) XD_MUST;
/* Of the workers first, first + 1, ... a list of TEXT, as ENV_START.names. -EPROTO: one of them is not valid, or there are more
 * than there are numbers; -ENOMEM. */
int xd_names_set_list(xd_names *n, uint16_t first, xd_wire_list names) XD_MUST;
/* By value, so that it fits into any printf: xd_names_of(n, worker).text. */
xd_name xd_names_of(const xd_names *n, uint16_t worker);
