/* actors/collector.c - see collector.h. */
#include "actors/collector.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/nodeid.h"

#define SHOWN_DIFFERENCES 10

typedef struct list {
    uint16_t           gateway; /* whose */
    bool               settled; /* compared */
    xd_arena           arena;
    xd_collected_item *items;
    uint32_t count, have, cap; /* announced, come, room for: a peer's number alone takes no memory */
} list;

struct xd_collector {
    uint64_t lo, hi; /* digest of the agreed list */
    list     agreed;
    list    *others; /* those with another digest */
    size_t   n_others, unsettled;
};

int xd_collector_new(xd_collector **ret)
{
    xd_collector *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->agreed.gateway = XD_GATEWAY_NONE;
    *ret = c;
    return 0;
}

static void list_release(list *l)
{
    xd_arena_release(&l->arena);
    free(l->items);
    l->items = NULL;
}

xd_collector *xd_collector_free(xd_collector *c)
{
    if (c) {
        list_release(&c->agreed);
        for (size_t i = 0; i < c->n_others; i++)
            list_release(&c->others[i]);
        free(c->others);
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

static list *list_of(xd_collector *c, uint16_t gateway)
{
    if (c->agreed.gateway == gateway)
        return &c->agreed;
    for (size_t i = 0; i < c->n_others; i++)
        if (c->others[i].gateway == gateway)
            return &c->others[i];
    return NULL;
}

int xd_collector_collected(xd_collector *c, uint16_t gateway, const xd_wire_COLLECTED *in)
{
    if (c->agreed.gateway == XD_GATEWAY_NONE) {
        c->lo = in->digest_lo;
        c->hi = in->digest_hi;
        c->agreed.gateway = gateway;
        c->agreed.count = in->count;
        return in->count ? XD_COLLECTOR_SEND_LIST : XD_COLLECTOR_COMPLETE;
    }
    if (list_of(c, gateway))
        return -EPROTO;
    if (in->digest_lo == c->lo && in->digest_hi == c->hi && in->count == c->agreed.count)
        return XD_COLLECTOR_AGREED;
    list *more = realloc(c->others, (c->n_others + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    c->others = more;
    c->others[c->n_others++] = (list){ .gateway = gateway, .count = in->count };
    c->unsettled++;
    return in->count ? XD_COLLECTOR_SEND_LIST : XD_COLLECTOR_WAIT;
}

static int take_part(list *l, const xd_wire_COLLECT_IDS *in)
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
        XD_TRY(xd_arena_bytes(&l->arena, id, &item->id));
        previous = item->id;
        XD_TRY(xd_arena_bytes(&l->arena, one.group, &item->group));
        l->have++;
    }
    return 0;
}

int xd_collector_ids(xd_collector *c, uint16_t gateway, const xd_wire_COLLECT_IDS *in)
{
    list *l = list_of(c, gateway);
    if (!l)
        return -EPROTO;
    XD_TRY(take_part(l, in));
    return l == &c->agreed && l->have == l->count ? XD_COLLECTOR_COMPLETE : XD_COLLECTOR_WAIT;
}

/* ---- lists that differ --------------------------------------------------------------------------- */

/* A name of the agreed list, and the next of its items that the other list has not had so far. */
typedef struct name_item {
    xd_bytes       id;
    uint32_t       item;
    UT_hash_handle hh;
} name_item;

/* 1 = the other list has the same tests, and `places` holds the index there of each agreed item; 0 = other tests. */
static int find_places(const list *agreed, const list *other, name_item *pool, uint32_t *next,
                       uint32_t *places)
{
    name_item *table = NULL, *n;
    uint32_t   used = 0, found = 0;
    int        r = 0;
    for (uint32_t i = agreed->count; r == 0 && i-- > 0;) { /* backwards: the first of a name is met first */
        xd_bytes id = agreed->items[i].id;
        HASH_FIND(hh, table, id.ptr, id.len, n);
        next[i] = n ? n->item : XD_NO_INDEX;
        if (!n) {
            n = &pool[used++];
            n->id = id;
            HASH_ADD_KEYPTR(hh, table, n->id.ptr, n->id.len, n);
            r = n->hh.tbl ? 0 : -ENOMEM;
        }
        n->item = i;
    }
    for (uint32_t i = 0; r == 0 && i < other->count; i++) {
        HASH_FIND(hh, table, other->items[i].id.ptr, other->items[i].id.len, n);
        if (!n || n->item == XD_NO_INDEX)
            break;
        places[n->item] = i;
        n->item = next[n->item];
        found++;
    }
    HASH_CLEAR(hh, table);
    return r < 0 ? r : found == agreed->count;
}

static int compare(const list *agreed, const list *other, xd_buf *ret_places)
{
    const size_t count = agreed->count;
    if (count != other->count)
        return 0;
    xd_autofree name_item *pool = calloc(count ? count : 1, sizeof(*pool));
    xd_autofree uint32_t  *next = calloc(count ? count : 1, sizeof(*next));
    xd_autofree uint32_t  *places = calloc(count ? count : 1, sizeof(*places));
    if (!pool || !next || !places)
        return -ENOMEM;
    int r = find_places(agreed, other, pool, next, places);
    for (uint32_t i = 0; r == 1 && i < count; i++)
        XD_TRY(xd_wire_INDEX_append(ret_places, &(xd_wire_INDEX){ .item = places[i] }));
    return r;
}

int xd_collector_next(xd_collector *c, uint16_t *ret_gateway, xd_buf *ret_places)
{
    if (c->agreed.gateway == XD_GATEWAY_NONE || c->agreed.have < c->agreed.count)
        return XD_COLLECTOR_WAIT;
    for (size_t i = 0; i < c->n_others; i++) {
        list *other = &c->others[i];
        if (other->settled || other->have < other->count)
            continue;
        int r = compare(&c->agreed, other, ret_places);
        XD_TRY(r);
        other->settled = true;
        c->unsettled--;
        *ret_gateway = other->gateway;
        if (r == 0)
            return XD_COLLECTOR_DIFFERENT;
        list_release(other);
        return XD_COLLECTOR_REORDERED;
    }
    return XD_COLLECTOR_WAIT;
}

int xd_collector_lost(xd_collector *c, uint16_t gateway, uint16_t heir)
{
    int verdict = XD_COLLECTOR_WAIT;
    for (size_t i = 0; i < c->n_others; i++)
        if (c->others[i].gateway == gateway) {
            c->unsettled -= !c->others[i].settled;
            list_release(&c->others[i]);
            c->others[i] = c->others[--c->n_others];
            break;
        }
    if (c->agreed.gateway == gateway && c->agreed.have < c->agreed.count) {
        if (c->n_others)
            return XD_COLLECTOR_DIFFERENT;
        const uint32_t count = c->agreed.count;
        list_release(&c->agreed);
        c->agreed = (list){ .gateway = heir, .count = heir == XD_GATEWAY_NONE ? 0 : count };
        verdict = heir == XD_GATEWAY_NONE ? XD_COLLECTOR_WAIT : XD_COLLECTOR_SEND_LIST;
    }
    return verdict;
}

bool xd_collector_unsettled(const xd_collector *c)
{
    return c->unsettled > 0;
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

int xd_collector_describe(xd_collector *c, uint16_t gateway, const char *first_name, const char *other_name,
                          xd_buf *out)
{
    const list *other = list_of(c, gateway);
    if (!other)
        return -ENOENT;
    size_t      most = (size_t)c->agreed.count + other->count + 1, used = 0;
    name_count *pool = calloc(most, sizeof(*pool)), *table = NULL;
    if (!pool)
        return -ENOMEM;
    int r = count_names(&table, pool, &used, &c->agreed, 1);
    if (r == 0)
        r = count_names(&table, pool, &used, other, -1);
    HASH_CLEAR(hh, table);
    if (r == 0)
        r = xd_buf_printf(
            out, "Different tests were collected between %s (%u tests) and %s (%u tests). The difference is:",
            first_name, c->agreed.count, other_name, other->count);
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
    free(pool);
    return r;
}

uint32_t xd_collector_count(const xd_collector *c)
{
    return c->agreed.count;
}

const xd_collected_item *xd_collector_items(const xd_collector *c)
{
    return c->agreed.items;
}
