/* tests/conformance/ring_transport.h - a transport whose pipe is no descriptor: rings in memory, filled and emptied by a
 * thread that stands for a network. It opens step by step, reads and writes a few bytes at a time and now and then none, and
 * wakes the gateway with an eventfd that tells of changes only. Behind it is popen, so that the same peers can be
 * dialled. */
#pragma once
#include "gateways/transport.h"

extern const xd_transport xd_transport_ring;
extern const xd_transport xd_transport_ring_never; /* opens for ever */
extern const xd_transport xd_transport_ring_fails; /* fails while it opens: "no route to the ring" */
