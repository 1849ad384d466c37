/* actors/runview_notes.c - see runview_notes.h. */
#include "actors/runview_notes.h"

#include <stdlib.h>

#include "actors/runview_texts.h"

int xd_runview_refs_add(xd_runview_refs *r, xd_runview_ref ref)
{
    XD_TRY(xd_runview_room(&r->at, &r->cap, r->count + 1, sizeof *r->at));
    r->at[r->count++] = ref;
    return 0;
}

void xd_runview_notes_release(xd_runview_notes *n)
{
    free(n->warnings.at);
    free(n->properties.at);
    free(n->summaries.at);
    free(n->downs.at);
    *n = (xd_runview_notes){ 0 };
}
