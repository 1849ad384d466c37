/* actors/runview_notes.h - what a run's view keeps of records whose text stays in the journal: where they lie. */
#pragma once
#include <stdint.h>

#include "engine/base/error.h"

/* One WARNING, SUITE_PROPERTY, SUMMARY or WORKER_DOWN record. */
typedef struct xd_runview_ref {
    uint64_t offset;
    uint32_t item; /* or XD_NO_INDEX */
    uint16_t worker, gateway;
} xd_runview_ref;

typedef struct xd_runview_refs {
    xd_runview_ref *at; /* in journal order */
    uint32_t        count, cap;
} xd_runview_refs;

typedef struct xd_runview_notes {
    xd_runview_refs warnings, properties, summaries, downs;
} xd_runview_notes;

int  xd_runview_refs_add(xd_runview_refs *r, xd_runview_ref ref) XD_MUST;
void xd_runview_notes_release(xd_runview_notes *n);
