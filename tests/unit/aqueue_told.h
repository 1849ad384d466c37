/* aqueue_told.h - what an agent's queue has told a worker, for tests: the queue itself is never asked. */
#pragma once
#include "engine/aqueue_state.h"

/* Item at a position of a worker's stream that has no result yet; 0 and *ret_item, *ret_attempt, or 1 = none. */
static inline int aqueue_item_at(const xd_aqueue *q, uint32_t slot, uint32_t position, uint32_t *ret_item,
                                 uint16_t *ret_attempt)
{
    if (slot >= q->opt.slots || q->slot[slot].state != XD_SLOT_UP || position < q->slot[slot].done ||
        position >= q->slot[slot].end)
        return 1;
    const xd_told *t = xd_slot_at(&q->slot[slot], position);
    *ret_item = t->item;
    *ret_attempt = t->attempt;
    return 0;
}
