/* actors/collector.h - agrees on the collection of a run: one list of node ids that all environments share.
 * The first environment that has collected sends its list; every other one only its digest, and its list when
 * the digest differs - then the run ends with the first differing names. Part of the scheduler actor; pure:
 * frames in, verdicts out. */
#pragma once
#include "engine/base/arena.h"
#include "engine/sched.h"
#include "engine/wire.h"

typedef struct xd_collector xd_collector;

typedef struct xd_collected_item {
    xd_bytes id;    /* in the collector's arena */
    xd_bytes group; /* NODEID.group, may be empty */
} xd_collected_item;

/* What the caller does next. */
enum {
    XD_COLLECTOR_WAIT = 0,
    XD_COLLECTOR_SEND_LIST = 1, /* ask this gateway for its list */
    XD_COLLECTOR_AGREED = 2,   /* this gateway may be given items (the list itself may still be on its way) */
    XD_COLLECTOR_COMPLETE = 3, /* the list is complete: the scheduler can be told */
    XD_COLLECTOR_DIFFERENT = 4, /* the lists differ: err names up to ten of the differing items */
};

int           xd_collector_new(xd_collector **ret) XD_MUST;
xd_collector *xd_collector_free(xd_collector *c);
XD_DEFINE_AUTO(xd_collector, xd_collector_free)

/* COLLECTED of a gateway that wants to go on. SEND_LIST, AGREED (digest is the known one), COMPLETE (no
 * items), or -errno. */
int xd_collector_collected(xd_collector *c, uint16_t gateway, const xd_wire_COLLECTED *in) XD_MUST;
/* A part of a list.  WAIT, COMPLETE, DIFFERENT, -EPROTO (parts out of order or beyond the count), -ENOMEM.
 * `names`: worker names for the text of DIFFERENT, e.g. "gw0" and "gw3". */
int xd_collector_ids(xd_collector *c, uint16_t gateway, const xd_wire_COLLECT_IDS *in, const char *first_name,
                     const char *other_name, xd_buf *ret_text) XD_MUST;

uint32_t                 xd_collector_count(const xd_collector *c);
const xd_collected_item *xd_collector_items(const xd_collector *c); /* count entries once complete */
