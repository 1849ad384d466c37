/* actors/collector.c - see collector.h. */
#include "actors/collector.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/nodeid.h"

#define NOBODY 0xffffu
#define SHOWN_DIFFERENCES 10

typedef struct list {
    xd_collected_item *items;
    uint32_t count, have, cap; /* announced, come, room for: a peer's number alone takes no memory */
} list;

struct xd_collector {
    xd_arena arena;
    uint16_t owner;  /* gateway whose list is the collection */
    uint64_t lo, hi; /* its digest */
    list     agreed;
    uint16_t doubter; /* gateway whose list differs */
    list     other;
};

int xd_collector_new(xd_collector **ret)
{
    xd_collector *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->owner = c->doubter = NOBODY;
    *ret = c;
    return 0;
}

xd_collector *xd_collector_free(xd_collector *c)
{
    if (c) {
        xd_arena_release(&c->arena);
        free(c->agreed.items);
        free(c->other.items);
        free(c);
    }
    return NULL;
}

static int room(list *l, uint32_t more)
{
    if (more <= l->cap - l->have)
        return 0;
    uint32_t           cap = XD_MIN(l->count, XD_MAX(l->have + more, l->have + l->have / 2));
    xd_collected_item *items = realloc(l->items, cap * sizeof(*items));
    if (!items)
        return -ENOMEM;
    l->items = items;
    l->cap = cap;
    return 0;
}

int xd_collector_collected(xd_collector *c, uint16_t gateway, const xd_wire_COLLECTED *in)
{
    if (c->owner == NOBODY) {
        c->owner = gateway;
        c->lo = in->digest_lo;
        c->hi = in->digest_hi;
        c->agreed.count = in->count;
        return in->count ? XD_COLLECTOR_SEND_LIST : XD_COLLECTOR_COMPLETE;
    }
    if (in->digest_lo == c->lo && in->digest_hi == c->hi && in->count == c->agreed.count)
        return XD_COLLECTOR_AGREED;
    if (c->doubter != NOBODY)
        return XD_COLLECTOR_WAIT; /* one difference is enough to end the run */
    c->doubter = gateway;
    c->other.count = in->count;
    return XD_COLLECTOR_SEND_LIST;
}

static int take_part(xd_collector *c, list *l, const xd_wire_COLLECT_IDS *in)
{
    xd_wire_list   ids = in->ids;
    xd_wire_NODEID one;
    if (in->first != l->have || ids.count > l->count - l->have)
        return -EPROTO;
    XD_TRY(room(l, ids.count));
    xd_autobuf scratch = XD_BUF_INIT;
    xd_bytes   id, previous = { 0 };
    while (xd_wire_NODEID_next(&ids, &one) == 1) {
        xd_collected_item *item = &l->items[l->have];
        XD_TRY(xd_nodeid_join(&scratch, previous, &one, &id));
        XD_TRY(xd_arena_bytes(&c->arena, id, &item->id));
        previous = item->id;
        XD_TRY(xd_arena_bytes(&c->arena, one.group, &item->group));
        l->have++;
    }
    return l->have == l->count ? 1 : 0;
}

typedef struct name_count {
    xd_bytes       id;
    int64_t        balance; /* occurrences in the agreed list minus those in the other */
    UT_hash_handle hh;
} name_count;

static int count_names(name_count **table, name_count *pool, size_t *used, const list *l, int64_t step)
{
    for (uint32_t i = 0; i < l->count; i++) {
        name_count *n;
        HASH_FIND(hh, *table, l->items[i].id.ptr, l->items[i].id.len, n);
        if (!n) {
            n = &pool[(*used)++];
            n->id = l->items[i].id;
            HASH_ADD_KEYPTR(hh, *table, n->id.ptr, n->id.len, n);
            if (!n->hh.tbl)
                return -ENOMEM;
        }
        n->balance += step;
    }
    return 0;
}

static int describe(const xd_collector *c, const char *first_name, const char *other_name, xd_buf *out)
{
    size_t      room = (size_t)c->agreed.count + c->other.count + 1, used = 0;
    name_count *pool = calloc(room, sizeof(*pool)), *table = NULL;
    if (!pool)
        return -ENOMEM;
    int r = count_names(&table, pool, &used, &c->agreed, 1);
    if (r == 0)
        r = count_names(&table, pool, &used, &c->other, -1);
    HASH_CLEAR(hh, table);
    if (r == 0)
        r = xd_buf_printf(
            out, "Different tests were collected between %s (%u tests) and %s (%u tests). The difference is:",
            first_name, c->agreed.count, other_name, c->other.count);
    unsigned shown = 0, left = 0;
    for (size_t i = 0; r == 0 && i < used; i++) {
        if (pool[i].balance == 0)
            continue;
        if (shown == SHOWN_DIFFERENCES) {
            left++;
            continue;
        }
        shown++;
        r = xd_buf_printf(out, "\n%c %.*s", pool[i].balance > 0 ? '-' : '+', (int)pool[i].id.len,
                          (const char *)pool[i].id.ptr);
    }
    if (r == 0 && left)
        r = xd_buf_printf(out, "\n(and %u more)", left);
    if (r == 0 && !shown)
        r = xd_buf_add_str(out, "\nthe same tests in another order");
    free(pool);
    return r;
}

int xd_collector_ids(xd_collector *c, uint16_t gateway, const xd_wire_COLLECT_IDS *in, const char *first_name,
                     const char *other_name, xd_buf *ret_text)
{
    if (gateway == c->owner) {
        int r = take_part(c, &c->agreed, in);
        if (r < 0)
            return r;
        if (r == 1 && !(c->doubter != NOBODY && c->other.have == c->other.count))
            return XD_COLLECTOR_COMPLETE;
        if (r == 0)
            return XD_COLLECTOR_WAIT;
    } else if (gateway == c->doubter) {
        int r = take_part(c, &c->other, in);
        if (r < 0)
            return r;
        if (r == 0 || c->agreed.have < c->agreed.count)
            return XD_COLLECTOR_WAIT;
    } else {
        return -EPROTO;
    }
    XD_TRY(describe(c, first_name, other_name, ret_text));
    return XD_COLLECTOR_DIFFERENT;
}

uint32_t xd_collector_count(const xd_collector *c)
{
    return c->agreed.count;
}

const xd_collected_item *xd_collector_items(const xd_collector *c)
{
    return c->agreed.items;
}
