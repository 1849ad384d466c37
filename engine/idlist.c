/* engine/idlist.c - see idlist.h. */
#include "engine/idlist.h"

#include <stdlib.h>

#include "engine/nodeid.h"

/* The number comes from a peer, and so does the memory that it stands for: each id has taken bytes on the wire. */
static int room(xd_idlist *l, uint32_t more)
{
    if (more <= l->cap - l->count)
        return 0;
    if (more > UINT32_MAX - l->count)
        return -EPROTO;
    const size_t    cap = XD_MAX((size_t)l->count + more, (size_t)l->cap + l->cap / 2);
    xd_idlist_item *items = realloc(l->items, cap * sizeof(*items));
    if (!items)
        return -ENOMEM;
    l->items = items;
    l->cap = (uint32_t)XD_MIN(cap, (size_t)UINT32_MAX);
    return 0;
}

int xd_idlist_add(xd_idlist *l, xd_wire_list ids)
{
    xd_wire_NODEID one;
    xd_autobuf     scratch = XD_BUF_INIT;
    xd_bytes       id, previous = { 0 };
    XD_TRY(room(l, ids.count));
    while (xd_wire_NODEID_next(&ids, &one) == 1) {
        xd_idlist_item *item = &l->items[l->count];
        XD_TRY(xd_nodeid_join(&scratch, previous, &one, &id));
        XD_TRY(xd_arena_bytes(&l->arena, id, &item->id));
        previous = item->id;
        XD_TRY(xd_arena_bytes(&l->arena, one.group, &item->group));
        l->count++;
    }
    return 0;
}

void xd_idlist_release(xd_idlist *l)
{
    xd_arena_release(&l->arena);
    free(l->items);
    *l = (xd_idlist){ 0 };
}
