/* actors/runview_collection.h - the collection of a run's view: whose list is the run's, and whether it is agreed. */
#pragma once
#include "actors/runview_envs.h"

typedef struct xd_runview_collection {
    bool     agreed;                /* COLLECTION seen */
    uint32_t collected, deselected; /* as the home gateway told, then as agreed */
    uint32_t workers;               /* at the start of the tests */
    uint64_t expected_us;
    uint32_t gateway; /* private: whose COLLECT_IDS are taken, XD_NO_INDEX */
    uint32_t list;    /* private: how many it has */
} xd_runview_collection;
#define XD_RUNVIEW_COLLECTION_INIT ((xd_runview_collection){ .gateway = XD_NO_INDEX })

int xd_runview_collection_ids(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_texts *texts,
                              const xd_wire_COLLECT_IDS *in, uint16_t gateway) XD_MUST;
/* `home`: it comes from the gateway whose numbers are shown until the collection is agreed. */
int xd_runview_collection_told(xd_runview_collection *c, xd_runview_envs *envs, const xd_wire_COLLECTED *in,
                               uint16_t gateway, bool home) XD_MUST;
/* The gateway is gone: its list may no longer be the run's. */
void xd_runview_collection_lost(xd_runview_collection *c, xd_runview_tests *tests,
                                const xd_runview_envs *envs, uint16_t gateway);
int  xd_runview_collection_agree(xd_runview_collection *c, const xd_runview_tests *tests,
                                 const xd_wire_COLLECTION *in) XD_MUST;
