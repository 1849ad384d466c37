/* engine/base/arena.c - see arena.h. */
#include "engine/base/arena.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK (64u << 10)

typedef struct xd_arena_chunk {
    struct xd_arena_chunk *next;
    size_t                 used, size;
    _Alignas(16) uint8_t data[];
} xd_arena_chunk;

void *xd_arena_alloc(xd_arena *a, size_t size, size_t align)
{
    if (size > PTRDIFF_MAX - CHUNK) /* so that no sum below wraps */
        return NULL;
    xd_arena_chunk *c = a->head;
    size_t          at = c ? (c->used + align - 1) & ~(align - 1) : 0;
    if (!c || at + size > c->size) {
        size_t room = size > CHUNK / 4 ? size : CHUNK - sizeof(*c);
        c = malloc(sizeof(*c) + room);
        if (!c)
            return NULL;
        *c = (xd_arena_chunk){ .size = room };
        a->total += sizeof(*c) + room;
        if (a->head && room != CHUNK - sizeof(*c)) {
            /* A big block of its own goes behind the head, which still has room. */
            c->next = a->head->next;
            a->head->next = c;
        } else {
            c->next = a->head;
            a->head = c;
        }
        at = 0;
    }
    c->used = at + size;
    return c->data + at;
}

int xd_arena_bytes(xd_arena *a, xd_bytes in, xd_bytes *ret)
{
    uint8_t *copy = xd_arena_alloc(a, in.len + 1, 1);
    if (!copy)
        return -ENOMEM;
    if (in.len)
        memcpy(copy, in.ptr, in.len);
    copy[in.len] = 0;
    *ret = (xd_bytes){ copy, in.len };
    return 0;
}

void xd_arena_release(xd_arena *a)
{
    for (xd_arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = XD_ARENA_INIT;
}
