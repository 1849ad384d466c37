/* actors/runview_texts.h - the texts of a run's view, and arrays that grow. Small texts that come again and again
 * (categories, letters, words) are kept once and known by a number. One thread. */
#pragma once
#include "engine/base/arena.h"
#include "engine/base/buf.h"

struct xd_runview_known; /* a text and what it stands for; lies in the arena */

typedef struct xd_runview_texts {
    xd_arena                 arena;
    xd_bytes                *names; /* [0] = "" */
    uint32_t                 name_count, names_cap;
    struct xd_runview_known *known; /* private; text -> index into names */
} xd_runview_texts;

int  xd_runview_texts_init(xd_runview_texts *ret) XD_MUST;
void xd_runview_texts_release(xd_runview_texts *t);
/* A copy in the arena; an empty text points to "". */
int xd_runview_texts_keep(xd_runview_texts *t, xd_bytes in, xd_bytes *ret) XD_MUST;
/* The number of a small text, which is kept when it is new. */
int xd_runview_texts_name(xd_runview_texts *t, xd_bytes text, uint32_t *ret) XD_MUST;
/* Its number, if it is known: false = it is not. */
bool xd_runview_texts_find(const xd_runview_texts *t, xd_bytes text, uint32_t *ret);

/* Tables of texts. `text` must lie in the arena, or outlive the table. */
const uint32_t *xd_runview_known_find(const struct xd_runview_known *table, xd_bytes text);
int             xd_runview_known_add(xd_runview_texts *t, struct xd_runview_known **table, xd_bytes text,
                                     uint32_t value) XD_MUST;
void            xd_runview_known_clear(struct xd_runview_known **table);

/* Room for `need` entries in a malloc'ed array; new ones are zeroed. Grows by half, so that a large view wastes little. */
int xd_runview_room(void *array, uint32_t *cap, uint32_t need, size_t size) XD_MUST;
