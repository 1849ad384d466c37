/* engine/collect.c - see collect.h. What is decided lies in two tables: lists, each known by its digest, and gateways,
 * each of which has told one of them. xd_collect_next() finds what follows from them and was not said yet. */
#include "engine/collect.h"

#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/idlist.h"

#define SHOWN_DIFFERENCES 10
#define NO_LIST SIZE_MAX
#define MORE_BYTES (60u << 10) /* of a part, about as agents send them */

typedef struct part {
    xd_wire_list ids; /* in the frame */
} part;

typedef enum comparison { NOT_COMPARED, SAME_TESTS, OTHER_TESTS } comparison;

typedef struct list {
    uint64_t   lo, hi; /* its digest */
    uint32_t   count, have;
    uint16_t   owner; /* who sends it; XD_GATEWAY_NONE: nobody can any more */
    bool       asked;
    part      *parts;
    size_t     n_parts, cap;
    comparison compared; /* with the collection that is shared */
    xd_buf     places;   /* INDEX records */
    uint32_t   n_places;
    xd_buf
        more; /* NODEID records of the tests that were appended to the collection for it, from `first_more` on */
    uint32_t n_more, first_more, told_more;
    size_t   told_bytes;
} list;

typedef struct gateway {
    bool   seen, lost; /* has told its digest; nothing more comes */
    bool   told;       /* what it has was said */
    bool   differs;    /* DIFFERENT was said */
    bool   ahead;      /* asked for its list before it had one */
    bool   begun;      /* `each`: COMPLETE of its collection was said */
    size_t list;       /* index, NO_LIST */
} gateway;

struct xd_collect {
    bool      each;
    uint16_t  guests;
    list     *lists;
    size_t    n_lists;
    size_t    agreed; /* the list that all share, NO_LIST = none yet; not with `each` */
    gateway  *gateways;
    size_t    n_gateways;
    bool      begun;   /* COMPLETE of the shared collection was said */
    bool      unknown; /* UNKNOWN was said: nothing begins */
    xd_idlist all;     /* names of the shared collection, once a list has been compared */
};

int xd_collect_new(xd_collect **ret, bool each, uint16_t guests)
{
    xd_collect *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->each = each;
    c->guests = guests;
    c->agreed = NO_LIST;
    *ret = c;
    return 0;
}

static void forget_parts(list *l)
{
    free(l->parts);
    l->parts = NULL;
    l->n_parts = l->cap = 0;
    l->have = 0;
}

xd_collect *xd_collect_free(xd_collect *c)
{
    for (size_t i = 0; c && i < c->n_lists; i++) {
        forget_parts(&c->lists[i]);
        xd_buf_release(&c->lists[i].places);
        xd_buf_release(&c->lists[i].more);
    }
    if (c) {
        xd_idlist_release(&c->all);
        free(c->lists);
        free(c->gateways);
        free(c);
    }
    return NULL;
}

/* ---- events ------------------------------------------------------------------------------------------ */

static int gateway_of(xd_collect *c, uint16_t number, gateway **ret)
{
    if (number >= c->n_gateways) {
        gateway *more = realloc(c->gateways, ((size_t)number + 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        for (size_t i = c->n_gateways; i <= number; i++)
            more[i] = (gateway){ .list = NO_LIST };
        c->gateways = more;
        c->n_gateways = (size_t)number + 1;
    }
    *ret = &c->gateways[number];
    return 0;
}

static bool complete(const list *l)
{
    return l->have == l->count;
}

static size_t find_list(const xd_collect *c, const xd_wire_COLLECTED *in)
{
    for (size_t i = 0; i < c->n_lists; i++) {
        const list *l = &c->lists[i];
        if (l->lo == in->digest_lo && l->hi == in->digest_hi && l->count == in->count &&
            l->owner != XD_GATEWAY_NONE)
            return i;
    }
    return NO_LIST;
}

int xd_collect_ahead(xd_collect *c, uint16_t number)
{
    gateway *g;
    XD_TRY(gateway_of(c, number, &g));
    g->ahead = true;
    return 0;
}

int xd_collect_collected(xd_collect *c, uint16_t number, const xd_wire_COLLECTED *in)
{
    gateway *g;
    XD_TRY(gateway_of(c, number, &g));
    if (g->seen)
        return -EPROTO;
    size_t at = find_list(c, in);
    if (at == NO_LIST) {
        list *more = realloc(c->lists, (c->n_lists + 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        c->lists = more;
        at = c->n_lists++;
        c->lists[at] = (list){ .lo = in->digest_lo,
                               .hi = in->digest_hi,
                               .count = in->count,
                               .owner = number,
                               .asked = g->ahead,
                               .places = XD_BUF_INIT,
                               .more = XD_BUF_INIT };
    }
    if (c->agreed == NO_LIST && !c->each)
        c->agreed = at;
    g->seen = true;
    g->list = at;
    return 0;
}

int xd_collect_ids(xd_collect *c, uint16_t number, const xd_wire_COLLECT_IDS *in)
{
    const gateway *g = number < c->n_gateways ? &c->gateways[number] : NULL;
    list          *l = g && g->list != NO_LIST ? &c->lists[g->list] : NULL;
    if (!l || l->owner != number || !l->asked || in->first != l->have || in->ids.count > l->count - l->have)
        return -EPROTO;
    if (l->n_parts == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 4;
        part        *parts = realloc(l->parts, cap * sizeof(*parts));
        if (!parts)
            return -ENOMEM;
        l->parts = parts;
        l->cap = cap;
    }
    l->parts[l->n_parts++] = (part){ .ids = in->ids };
    l->have += in->ids.count;
    return c->each || g->list == c->agreed ? XD_COLLECT_PART : 0;
}

/* Another gateway that has told this list: the first by number, as readers of the journal choose it (xd_runview). */
static uint16_t heir_of(const xd_collect *c, size_t at)
{
    for (size_t i = 0; i < c->n_gateways; i++)
        if (c->gateways[i].list == at && !c->gateways[i].lost)
            return (uint16_t)i;
    return XD_GATEWAY_NONE;
}

int xd_collect_lost(xd_collect *c, uint16_t number)
{
    gateway *g;
    XD_TRY(gateway_of(c, number, &g));
    g->lost = true;
    list *l = g->list != NO_LIST ? &c->lists[g->list] : NULL;
    if (!l || l->owner != number || complete(l))
        return 0;
    forget_parts(l);
    l->owner = heir_of(c, g->list);
    l->asked = false;
#if XD_PLANTED_BUG == 20 /* the simulator must find it: nobody is asked for the list instead */
    l->asked = true;
#endif
    return 0;
}

/* ---- comparing --------------------------------------------------------------------------------------- */

static int write_out(const list *l, xd_idlist *ret)
{
    for (size_t i = 0; i < l->n_parts; i++)
        XD_TRY(xd_idlist_add(ret, l->parts[i].ids));
    return 0;
}

/* A name of the collection, and the next of its items that the other list has not had so far. */
typedef struct name_item {
    xd_bytes       id;
    uint32_t       item;
    UT_hash_handle hh;
} name_item;

/* Where the other list has each of all: `places`, which is XD_NO_INDEX where it has none, and what of it was `met`. */
static int find_places(const xd_idlist *all, const xd_idlist *other, name_item *pool, uint32_t *next,
                       uint32_t *places, bool *met)
{
    name_item *table = NULL, *n;
    uint32_t   used = 0;
    int        r = 0;
    for (uint32_t i = all->count; r == 0 && i-- > 0;) { /* backwards: the first of a name is met first */
        xd_bytes id = all->items[i].id;
        places[i] = XD_NO_INDEX;
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
            continue;
        met[i] = true;
        places[n->item] = i;
        n->item = next[n->item];
    }
    HASH_CLEAR(hh, table);
    return r;
}

static int add_places(list *l, const uint32_t *places, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        XD_TRY(xd_wire_INDEX_append(&l->places, &(xd_wire_INDEX){ .item = places[i] }));
    l->n_places += count;
    return 0;
}

/* The tests of this list that were not met go behind all others. What a name shares with its neighbour was written out. */
static int append(xd_collect *c, list *l, const xd_idlist *names, const bool *met)
{
    uint32_t k = 0;
    l->first_more = c->all.count;
    for (size_t i = 0; i < l->n_parts; i++) {
        xd_wire_list   it = l->parts[i].ids;
        xd_wire_NODEID one;
        for (; xd_wire_NODEID_next(&it, &one) == 1; k++) {
            if (met[k])
                continue;
            one.shared = 0;
            one.id = names->items[k].id;
            XD_TRY(xd_wire_NODEID_append(&l->more, &one));
            XD_TRY(add_places(l, &k, 1));
            l->n_more++;
        }
    }
    return xd_idlist_add(&c->all,
                         (xd_wire_list){ .count = l->n_more, .ptr = l->more.data, .len = l->more.len });
}

static int compare_names(xd_collect *c, list *l, const xd_idlist *names, bool guest)
{
    const uint32_t         count = c->all.count, agreed = c->lists[c->agreed].count;
    uint32_t               lacks = 0, more = names->count;
    xd_autofree name_item *pool = calloc(count + 1u, sizeof(*pool));
    xd_autofree uint32_t  *next = calloc(count + 1u, sizeof(*next));
    xd_autofree uint32_t  *places = calloc(count + 1u, sizeof(*places));
    xd_autofree bool      *met = calloc(names->count + 1u, sizeof(*met));
    if (!pool || !next || !places || !met)
        return -ENOMEM;
    XD_TRY(find_places(&c->all, names, pool, next, places, met));
    for (uint32_t i = 0; i < count; i++) {
        lacks += i < agreed && places[i] == XD_NO_INDEX;
        more -= places[i] != XD_NO_INDEX;
    }
    l->compared = !lacks && names->count == agreed ? SAME_TESTS : OTHER_TESTS;
    if (l->compared == SAME_TESTS)
        return add_places(l, places, agreed);
    XD_TRY(add_places(l, places, count));
    return !more || (guest && c->begun) || more > XD_ITEMS_MAX - count ? 0 : append(c, l, names, met);
}

static int compare(xd_collect *c, list *other, bool guest)
{
    xd_idlist names = { 0 };
    int       r = c->all.count ? 0 : write_out(&c->lists[c->agreed], &c->all);
    if (r == 0)
        r = write_out(other, &names);
    if (r == 0)
        r = compare_names(c, other, &names, guest);
    xd_idlist_release(&names);
    return r;
}

/* ---- what follows ------------------------------------------------------------------------------------ */

static bool command(xd_collect_command *ret, xd_collect_kind kind, size_t number, size_t collection)
{
    *ret =
        (xd_collect_command){ .kind = kind, .gateway = (uint16_t)number, .collection = (uint16_t)collection };
    return true;
}

/* The list that the others are compared with cannot come any more: all environments that have it are lost. An environment with
 * another list then cannot be compared; if there is none, the next one that collects has the list that counts. */
static bool agreed_is_lost(xd_collect *c, xd_collect_command *ret)
{
    if (c->agreed == NO_LIST || c->lists[c->agreed].owner != XD_GATEWAY_NONE)
        return false;
    for (size_t i = 0; i < c->n_gateways; i++) {
        gateway *g = &c->gateways[i];
        if (g->list == NO_LIST || g->lost || g->told)
            continue;
        g->told = c->unknown = true;
        return command(ret, XD_COLLECT_UNKNOWN, i, 0);
    }
    c->agreed = NO_LIST;
    return false;
}

static bool ask(xd_collect *c, xd_collect_command *ret)
{
    for (size_t i = 0; i < c->n_lists; i++) {
        list *l = &c->lists[i];
        if (l->asked || l->count == 0 || l->owner == XD_GATEWAY_NONE)
            continue;
        l->asked = true;
        return command(ret, XD_COLLECT_SEND_LIST, l->owner, 0);
    }
    return false;
}

/* The next part of what was appended for this list. */
static bool tell_more(const xd_collect *c, list *l, xd_collect_command *ret)
{
    const uint8_t *from = l->more.data + l->told_bytes;
    xd_wire_list   rest = { .count = l->n_more - l->told_more,
                            .ptr = from,
                            .len = l->more.len - l->told_bytes };
    xd_wire_NODEID one;
    uint32_t       n = 0;
    while ((size_t)(rest.ptr - from) < MORE_BYTES && xd_wire_NODEID_next(&rest, &one) == 1)
        n++;
    command(ret, XD_COLLECT_MORE, c->lists[c->agreed].owner, 0);
    ret->more.first = l->first_more + l->told_more;
    ret->more.ids = (xd_wire_list){ .count = n, .ptr = from, .len = (size_t)(rest.ptr - from) };
    l->told_more += n;
    l->told_bytes += ret->more.ids.len;
    return true;
}

/* 1 = a command; 0 = what this gateway has is not known yet, or was said; -errno. */
static int say_gateway(xd_collect *c, size_t number, xd_collect_command *ret)
{
    gateway *g = &c->gateways[number];
    if (!g->seen || g->lost || g->told)
        return 0;
    list *l = &c->lists[g->list];
    if (c->each || g->list == c->agreed) {
        g->told = true;
        return command(ret, XD_COLLECT_AGREED, number, c->each ? number : 0);
    }
    if (c->agreed == NO_LIST || !complete(l) || !complete(&c->lists[c->agreed]))
        return 0;
    if (l->compared == NOT_COMPARED)
        XD_TRY(compare(c, l, number >= c->guests));
    if (l->compared == OTHER_TESTS && !g->differs) {
        g->differs = true;
        return command(ret, XD_COLLECT_DIFFERENT, number, 0);
    }
    if (l->told_more < l->n_more)
        return tell_more(c, l, ret);
    g->told = true;
    command(ret, XD_COLLECT_REORDER, number, 0);
    ret->places = (xd_wire_list){ .count = l->n_places, .ptr = l->places.data, .len = l->places.len };
    return 1;
}

/* Lists are awaited that differ from the agreed one at least in their order. */
static bool unsettled(const xd_collect *c)
{
    for (size_t i = 0; i < c->n_gateways; i++)
        if (c->gateways[i].seen && !c->gateways[i].lost && !c->gateways[i].told)
            return true;
    return false;
}

static bool begin(xd_collect *c, xd_collect_command *ret)
{
    if (!c->each) {
        if (c->begun || c->unknown || c->agreed == NO_LIST || !complete(&c->lists[c->agreed]))
            return false;
        bool wait = unsettled(c);
#if XD_PLANTED_BUG == 21 /* the simulator must find it: tests begin although others may have been collected */
        wait = false;
#endif
        if (wait)
            return false;
        c->begun = true;
        return command(ret, XD_COLLECT_COMPLETE, c->lists[c->agreed].owner, 0);
    }
    for (size_t i = 0; i < c->n_gateways; i++) {
        gateway *g = &c->gateways[i];
        if (!g->told || g->lost || g->begun || !complete(&c->lists[g->list]))
            continue;
        g->begun = true;
        return command(ret, XD_COLLECT_COMPLETE, c->lists[g->list].owner, i);
    }
    return false;
}

int xd_collect_next(xd_collect *c, xd_collect_command *ret)
{
    if (agreed_is_lost(c, ret) || ask(c, ret))
        return 1;
    for (size_t i = 0; i < c->n_gateways; i++) {
        int r = say_gateway(c, i, ret);
        if (r)
            return r;
    }
    return begin(c, ret);
}

bool xd_collect_over(const xd_collect *c, uint16_t count)
{
    for (size_t i = 0; i < count; i++) {
        const gateway *g = i < c->n_gateways ? &c->gateways[i] : NULL;
        if (!g || (!g->lost && (!g->told || !complete(&c->lists[g->list]))))
            return false;
    }
    return true;
}

uint16_t xd_collect_owner(const xd_collect *c, uint16_t collection)
{
    size_t at = c->agreed;
    if (c->each)
        at = collection < c->n_gateways ? c->gateways[collection].list : NO_LIST;
    return at != NO_LIST ? c->lists[at].owner : XD_GATEWAY_NONE;
}

/* ---- differences, for people ------------------------------------------------------------------------- */

typedef struct name_count {
    xd_bytes       id;
    int64_t        balance; /* occurrences in the agreed list minus those in the other */
    UT_hash_handle hh;
} name_count;

static int count_names(name_count **table, name_count *pool, size_t *used, const xd_idlist *l, int64_t step)
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

static int tell_names(const name_count *pool, size_t used, xd_buf *out)
{
    unsigned shown = 0, left = 0;
    for (size_t i = 0; i < used; i++) {
        if (pool[i].balance == 0)
            continue;
        if (shown == SHOWN_DIFFERENCES) {
            left++;
            continue;
        }
        shown++;
        XD_TRY(xd_buf_printf(out, "\n%c %.*s", pool[i].balance > 0 ? '-' : '+', (int)pool[i].id.len,
                             (const char *)pool[i].id.ptr));
    }
    return left ? xd_buf_printf(out, "\n(and %u more)", left) : 0;
}

static int tell_differences(const xd_idlist *agreed, const xd_idlist *other, xd_buf *out)
{
    size_t                  most = (size_t)agreed->count + other->count + 1, used = 0;
    xd_autofree name_count *pool = calloc(most, sizeof(*pool));
    name_count             *table = NULL;
    if (!pool)
        return -ENOMEM;
    int r = count_names(&table, pool, &used, agreed, 1);
    if (r == 0)
        r = count_names(&table, pool, &used, other, -1);
    HASH_CLEAR(hh, table);
    return r < 0 ? r : tell_names(pool, used, out);
}

int xd_collect_describe(const xd_collect *c, uint16_t number, const char *first_name, const char *other_name,
                        xd_buf *out)
{
    const size_t at = number < c->n_gateways ? c->gateways[number].list : NO_LIST;
    xd_idlist    agreed = { 0 }, other = { 0 };
    if (at == NO_LIST || c->agreed == NO_LIST)
        return -ENOENT;
    int r = write_out(&c->lists[c->agreed], &agreed);
    if (r == 0)
        r = write_out(&c->lists[at], &other);
    if (r == 0)
        r = xd_buf_printf(
            out, "Different tests were collected between %s (%u tests) and %s (%u tests). The difference is:",
            first_name, agreed.count, other_name, other.count);
    if (r == 0)
        r = tell_differences(&agreed, &other, out);
    xd_idlist_release(&agreed);
    xd_idlist_release(&other);
    return r;
}
