/* engine/idlist.h - the node ids of a collection, written out: made from the parts that travel (COLLECT_IDS). Pure. */
#pragma once
#include "engine/base/arena.h"
#include "engine/wire.h"

typedef struct xd_idlist_item {
    xd_bytes id;    /* a NUL follows; lives as long as the list */
    xd_bytes group; /* NODEID.group, may be empty */
} xd_idlist_item;

typedef struct xd_idlist {
    xd_idlist_item *items; /* count entries */
    uint32_t        count, cap;
    xd_arena        arena;
} xd_idlist;

/* Appends the ids of one COLLECT_IDS. 0, -EPROTO, -ENOMEM (the list then holds a part of them). */
int  xd_idlist_add(xd_idlist *l, xd_wire_list ids) XD_MUST;
void xd_idlist_release(xd_idlist *l); /* empty afterwards */
