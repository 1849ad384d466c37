/* actors/runview_collection.h - the collections of a run's view: whose list is the run's, and whether it is agreed. Where
 * every environment has its own (`each`), their items lie one collection behind the other in xd_runview_tests; the records
 * of a gateway name places in its own collection. */
#pragma once
#include "actors/runview_envs.h"

typedef struct xd_runview_collection {
    bool     agreed; /* COLLECTION seen */
    bool     each;   /* every environment has its own; the numbers below are those of all together */
    uint32_t count;  /* COLLECTIONs seen */
    uint32_t collected, deselected; /* as the home gateway told, then as agreed */
    uint32_t workers;               /* at the start of the tests */
    uint64_t expected_us;
    uint32_t gateway; /* private: whose COLLECT_IDS are taken, XD_NO_INDEX */
    uint32_t list;    /* private: how many it has */
    xd_runview_tests
            *lists; /* private; `each`: what has come of each gateway, until its collection is agreed */
    uint32_t list_count, lists_cap;
} xd_runview_collection;
#define XD_RUNVIEW_COLLECTION_INIT ((xd_runview_collection){ .gateway = XD_NO_INDEX })

void xd_runview_collection_release(xd_runview_collection *c);
/* Where the item of this number, in a record of this gateway, lies in tests->items; XD_NO_INDEX: nowhere. Without `each`
 * the number itself, whatever it is. */
uint32_t xd_runview_collection_place(const xd_runview_collection *c, const xd_runview_envs *envs,
                                     uint16_t gateway, uint32_t item);
int      xd_runview_collection_ids(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_texts *texts,
                                   const xd_wire_COLLECT_IDS *in, uint16_t gateway) XD_MUST;
/* `home`: it comes from the gateway whose numbers are shown until the collection is agreed. With `each` all tell of their own. */
int xd_runview_collection_told(xd_runview_collection *c, xd_runview_envs *envs, const xd_wire_COLLECTED *in,
                               uint16_t gateway, bool home) XD_MUST;
/* The gateway is gone: its list may no longer be the run's. */
void xd_runview_collection_lost(xd_runview_collection *c, xd_runview_tests *tests,
                                const xd_runview_envs *envs, uint16_t gateway);
int  xd_runview_collection_agree(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_envs *envs,
                                 const xd_wire_COLLECTION *in) XD_MUST;
