/* actors/runview_texts.c - see runview_texts.h. */
#include "actors/runview_texts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

struct xd_runview_known {
    uint32_t       value;
    UT_hash_handle hh;
};

int xd_runview_room(void *array, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    uint32_t grown = *cap + *cap / 2;
    grown = XD_MAX(grown, XD_MAX(need, 16u));
    void *p = realloc(*(void **)array, (size_t)grown * size);
    if (!p)
        return -ENOMEM;
    memset((char *)p + (size_t)*cap * size, 0, (size_t)(grown - *cap) * size);
    *(void **)array = p;
    *cap = grown;
    return 0;
}

const uint32_t *xd_runview_known_find(const struct xd_runview_known *table, xd_bytes text)
{
    struct xd_runview_known *k = NULL;
    HASH_FIND(hh, table, text.ptr, text.len, k);
    return k ? &k->value : NULL;
}

int xd_runview_known_add(xd_runview_texts *t, struct xd_runview_known **table, xd_bytes text, uint32_t value)
{
    struct xd_runview_known *k = xd_arena_alloc(&t->arena, sizeof *k, _Alignof(struct xd_runview_known));
    if (!k)
        return -ENOMEM;
    *k = (struct xd_runview_known){ .value = value };
    HASH_ADD_KEYPTR(hh, *table, text.ptr, text.len, k);
    return k->hh.tbl ? 0 : -ENOMEM;
}

void xd_runview_known_clear(struct xd_runview_known **table)
{
    HASH_CLEAR(hh, *table);
}

int xd_runview_texts_init(xd_runview_texts *ret)
{
    uint32_t empty;
    *ret = (xd_runview_texts){ 0 };
    return xd_runview_texts_name(ret, (xd_bytes){ (const uint8_t *)"", 0 }, &empty);
}

void xd_runview_texts_release(xd_runview_texts *t)
{
    xd_runview_known_clear(&t->known);
    xd_arena_release(&t->arena);
    free(t->names);
    *t = (xd_runview_texts){ 0 };
}

int xd_runview_texts_keep(xd_runview_texts *t, xd_bytes in, xd_bytes *ret)
{
    if (!in.len) {
        *ret = (xd_bytes){ (const uint8_t *)"", 0 };
        return 0;
    }
    return xd_arena_bytes(&t->arena, in, ret);
}

bool xd_runview_texts_find(const xd_runview_texts *t, xd_bytes text, uint32_t *ret)
{
    const uint32_t *known = xd_runview_known_find(t->known, text);
    if (known)
        *ret = *known;
    return known != NULL;
}

/* A handful per run, unless a plugin makes them up for each test. */
int xd_runview_texts_name(xd_runview_texts *t, xd_bytes text, uint32_t *ret)
{
    if (xd_runview_texts_find(t, text, ret))
        return 0;
    XD_TRY(xd_runview_room(&t->names, &t->names_cap, t->name_count + 1, sizeof *t->names));
    XD_TRY(xd_runview_texts_keep(t, text, &t->names[t->name_count]));
    XD_TRY(xd_runview_known_add(t, &t->known, t->names[t->name_count], t->name_count));
    *ret = t->name_count++;
    return 0;
}
