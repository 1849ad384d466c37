/* actors/collector.h - agrees on the collection of a run: one list of node ids that all environments share.
 * The first environment that has collected sends its list; every other one only its digest, and its list when
 * the digest differs. The same tests in another order are put in order; other tests end the run with the first
 * differing names. Part of the scheduler actor; pure: frames in, verdicts out. */
#pragma once
#include "engine/base/arena.h"
#include "engine/sched.h"
#include "engine/wire.h"

typedef struct xd_collector xd_collector;

typedef struct xd_collected_item {
    xd_bytes id;    /* lives as long as its list */
    xd_bytes group; /* NODEID.group, may be empty */
} xd_collected_item;

/* What the caller does next. */
enum {
    XD_COLLECTOR_WAIT = 0,
    XD_COLLECTOR_SEND_LIST = 1, /* ask this gateway for its list */
    XD_COLLECTOR_AGREED = 2,   /* this gateway may be given items (the list itself may still be on its way) */
    XD_COLLECTOR_COMPLETE = 3, /* the list is complete: the scheduler can be told */
    XD_COLLECTOR_REORDERED =
        4, /* this gateway has the same tests in another order: it is to be told (REORDER) */
    XD_COLLECTOR_DIFFERENT = 5, /* the lists differ: see xd_collector_describe */
};

int           xd_collector_new(xd_collector **ret) XD_MUST;
xd_collector *xd_collector_free(xd_collector *c);
XD_DEFINE_AUTO(xd_collector, xd_collector_free)

/* COLLECTED of a gateway that wants to go on. SEND_LIST, AGREED (digest is the known one), COMPLETE (the first one
 * has no items), WAIT (no items, others have some: ask xd_collector_next), -EPROTO (a second time), -ENOMEM. */
int xd_collector_collected(xd_collector *c, uint16_t gateway, const xd_wire_COLLECTED *in) XD_MUST;
/* A part of a list.  WAIT, COMPLETE, -EPROTO (parts out of order or beyond the count), -ENOMEM. */
int xd_collector_ids(xd_collector *c, uint16_t gateway, const xd_wire_COLLECT_IDS *in) XD_MUST;
/* The next list that can be compared, after each of the calls above until it says WAIT. REORDERED appends an INDEX for
 * each agreed item: its index in that gateway's list. WAIT, REORDERED, DIFFERENT, -ENOMEM. */
int xd_collector_next(xd_collector *c, uint16_t *ret_gateway, xd_buf *ret_places) XD_MUST;
/* This gateway is lost, and nothing more is expected from it. If the agreed list is its own and is incomplete, the list of
 * `heir`, a gateway that sent the same digest, takes its place (SEND_LIST: ask it). With XD_GATEWAY_NONE the next gateway
 * that collects decides (WAIT). DIFFERENT: another gateway has another list, and the lost one can no longer be compared
 * with it. WAIT otherwise. */
int xd_collector_lost(xd_collector *c, uint16_t gateway, uint16_t heir) XD_MUST;
/* Lists are awaited that differ from the agreed one at least in their order. */
bool xd_collector_unsettled(const xd_collector *c);
/* Up to ten of the tests in which the list of this gateway differs, for people. `first_name`: whose the agreed one is. */
int xd_collector_describe(xd_collector *c, uint16_t gateway, const char *first_name, const char *other_name,
                          xd_buf *out) XD_MUST;

uint32_t                 xd_collector_count(const xd_collector *c);
const xd_collected_item *xd_collector_items(const xd_collector *c); /* count entries once complete */
