/* engine/nodeid.h - node ids on the wire: neighbours in a collection begin alike, so each NODEID says how
 * many leading bytes it shares with the one before it in the same COLLECT_IDS and carries the rest.  Pure. */
#pragma once
#include "engine/wire.h"

/* The whole id, made in `scratch` (valid until its next change) when something is shared, else the view of
 * `n` itself. `previous`: the whole id before it in the same frame, empty for the first. -EPROTO: more is
 * shared than there is; -ENOMEM. */
int xd_nodeid_join(xd_buf *scratch, xd_bytes previous, const xd_wire_NODEID *n, xd_bytes *ret) XD_MUST;
/* Number of leading bytes that two ids share, at most 65535. */
uint16_t xd_nodeid_shared(xd_bytes a, xd_bytes b);
