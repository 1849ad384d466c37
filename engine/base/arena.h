/* engine/base/arena.h - bump allocator for things that live as long as a run (node ids). Not thread safe. */
#pragma once
#include "engine/base/buf.h"

typedef struct xd_arena {
    struct xd_arena_chunk *head;
    size_t                 total; /* bytes obtained from malloc */
} xd_arena;
#define XD_ARENA_INIT ((xd_arena){ 0 })

void *xd_arena_alloc(xd_arena *a, size_t size, size_t align);          /* NULL without memory */
int   xd_arena_bytes(xd_arena *a, xd_bytes in, xd_bytes *ret) XD_MUST; /* copy; a NUL follows the data */
void  xd_arena_release(xd_arena *a);
