/* engine/collect.h - collection core of the controller: which environments have the same tests, and whose list is the
 * collection. Pure: events in by functions, commands out by xd_collect_next(); no clock, no I/O, no threads. One thread
 * at a time.
 *
 *   in   COLLECTED and COLLECT_IDS of gateways, gateways that are lost
 *   out  SEND_LIST (to a gateway); AGREED, REORDER, DIFFERENT, UNKNOWN of a gateway; MORE, COMPLETE of a collection
 *
 * An environment first sends only the digest of its list. It is asked for the list itself if no other has told this
 * digest. Environments that share a collection should have the same tests: those of the first one that has collected. If
 * they came in another order, REORDER says where each of them is in that environment's own list. If an environment has
 * other tests, DIFFERENT says so first; tests that the collection does not have are appended to it (MORE), also when it is
 * COMPLETE, but then not those of guests, who come when they want; REORDER says which of all it lacks. With `each`, every environment has a collection of its own, which
 * has the number of its gateway, and nothing is compared; equal lists are still sent once.
 * A collection is COMPLETE when its list has come and all lists that are known to differ have been compared.
 *
 * After every event drain xd_collect_next() until it gives 0.  Functions return 0, -errno, or an outcome named there. */
#pragma once
#include "engine/wire.h"

typedef enum xd_collect_kind {
    XD_COLLECT_SEND_LIST = 1, /* gateway: nobody knows its list */
    XD_COLLECT_AGREED,        /* gateway, collection: it has these tests, in this order */
    XD_COLLECT_REORDER, /* gateway, collection, places: it has these tests, at other places; behind DIFFERENT not all */
    XD_COLLECT_DIFFERENT, /* gateway: it has other tests, see xd_collect_describe */
    XD_COLLECT_MORE,      /* gateway, collection, more: tests behind those that the collection had so far */
    XD_COLLECT_UNKNOWN, /* gateway: whether it has other tests is not known: the list to compare with is lost */
    XD_COLLECT_COMPLETE, /* collection, gateway: whose list it is; once per collection */
} xd_collect_kind;

typedef struct xd_collect_command {
    xd_collect_kind kind;
    uint16_t        gateway, collection;
    xd_wire_list
        places; /* INDEX of each test of the collection in the gateway's own list, XD_NO_INDEX = it has none;
                               tests that were appended after that are not in it. Valid until the next event */
    xd_wire_COLLECT_IDS more; /* valid until the next event */
} xd_collect_command;

typedef struct xd_collect xd_collect;

/* guests: number of the first gateway that is one; UINT16_MAX = none is. */
int         xd_collect_new(xd_collect **ret, bool each, uint16_t guests) XD_MUST;
xd_collect *xd_collect_free(xd_collect *c);
XD_DEFINE_AUTO(xd_collect, xd_collect_free)

/* This gateway has been asked for its list before it has one; said before its COLLECTED. -ENOMEM. */
int xd_collect_ahead(xd_collect *c, uint16_t gateway) XD_MUST;
/* COLLECTED of a gateway that goes on (exit_status -1). 0, -EPROTO (a second time), -ENOMEM. */
int xd_collect_collected(xd_collect *c, uint16_t gateway, const xd_wire_COLLECTED *in) XD_MUST;
/* A part of a list. in->ids is kept as it is: its memory must stay until xd_collect_over(). Its names are read only when
 * lists must be compared. XD_COLLECT_PART: it is a part of a collection, so the scheduler needs the names; 0: of a
 * list that is only compared; -EPROTO (not asked for, out of order, beyond the count), -ENOMEM. */
int xd_collect_ids(xd_collect *c, uint16_t gateway, const xd_wire_COLLECT_IDS *in) XD_MUST;
#define XD_COLLECT_PART 1
/* Nothing more comes from this gateway. If a list was to come from it, it comes from another one with the same digest. */
int xd_collect_lost(xd_collect *c, uint16_t gateway) XD_MUST;

/* 1 and *ret filled, or 0: nothing (more) to do; -ENOMEM, -EPROTO (names that do not decode). */
int xd_collect_next(xd_collect *c, xd_collect_command *ret) XD_MUST;

/* All gateways from 0 to count - 1 have collected or are lost, and all is decided: no list will be looked at again. */
bool xd_collect_over(const xd_collect *c, uint16_t count);
/* Whose list it is; XD_GATEWAY_NONE = nobody's yet. */
uint16_t xd_collect_owner(const xd_collect *c, uint16_t collection);
/* Up to ten of the tests in which the list of this gateway differs, for people: said of DIFFERENT, before the next
 * event. `first_name`: whose the agreed one is. */
int xd_collect_describe(const xd_collect *c, uint16_t gateway, const char *first_name, const char *other_name,
                        xd_buf *out) XD_MUST;
