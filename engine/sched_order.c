/* sched_order.c - see sched_order.h.  Also the grouping keys of the --dist modes. */
#include "engine/sched_order.h"

#include <stdlib.h>
#include <string.h>

#define GRAINS_PER_WORKER 8u
#define MIN_GRAIN_US 5000u /* splitting finer costs more than it evens out */

typedef struct unit {
    xd_sched_seg seg;
    uint64_t     key;  /* larger first */
    uint32_t     seq;  /* then in this order */
    uint32_t     late; /* class: 0 before 1 */
} unit;

typedef struct units {
    unit  *at;
    size_t len, cap;
} units;

typedef struct bunch {
    uint32_t count, last; /* items; last one seen while the chain is made */
    uint64_t weight;
    uint32_t first; /* head of the chain of its items */
} bunch;

static uint32_t at32(const uint32_t *base, size_t stride, uint32_t i)
{
    return *(const uint32_t *)((const char *)base + stride * i);
}

static int add(units *u, xd_sched_seg seg, uint32_t late, uint64_t key)
{
    if (u->len == u->cap) {
        size_t cap = u->cap ? u->cap * 2 : 256;
        unit  *p = realloc(u->at, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        u->at = p;
        u->cap = cap;
    }
    u->at[u->len] = (unit){ .seg = seg, .key = key, .seq = (uint32_t)u->len, .late = late };
    u->len++;
    return 0;
}

/* A run of free items of one module: what is longer than a grain stands alone, the rest is cut into grains.
 */
static int add_free(units *u, const xd_sched_order *in, uint32_t first, uint32_t end, uint64_t grain)
{
    uint64_t total = 0, w = 0;
    for (uint32_t i = first; i < end; i++)
        total += at32(in->item_weight, in->stride, i);
    if (!in->history)
        return add(u, (xd_sched_seg){ first, end - first, 0, total }, 1, 0);
    uint32_t from = first;
    for (uint32_t i = first; i <= end; i++) {
        uint32_t wi = i < end ? at32(in->item_weight, in->stride, i) : 0;
        bool     alone = i < end && wi > grain;
        if (i > from && (i == end || alone || w + wi > grain)) {
            XD_TRY(add(u, (xd_sched_seg){ from, i - from, 0, w }, 1, total));
            from = i;
            w = 0;
        }
        if (alone) {
            XD_TRY(add(u, (xd_sched_seg){ i, 1, 0, wi }, 0, wi));
            from = i + 1;
        } else {
            w += wi;
        }
    }
    return 0;
}

/* All segments of one group, as neighbours. */
static int add_group(units *u, const xd_sched_order *in, const bunch *g, uint32_t id, const uint32_t *next,
                     uint64_t grain)
{
    uint32_t late = 1;
    uint64_t key = 0;
    if (in->history) {
        late = g->weight > grain ? 0 : 1;
        key = g->weight;
    } else if (!in->keep_order) {
        late = g->count > 1 ? 0 : 1;
        key = g->count > 1 ? g->count : 0;
    }
    uint32_t i = g->first;
    while (i != UINT32_MAX) {
        xd_sched_seg seg = { i, 0, id, 0 };
        do {
            seg.count++;
            seg.weight += at32(in->item_weight, in->stride, i);
            i = next[i];
        } while (i == seg.first + seg.count);
        XD_TRY(add(u, seg, late, key));
    }
    return 0;
}

/* Numbers the groups from 1 in order of appearance and chains their items. */
static int number_groups(const xd_sched_order *in, bunch **ret, uint32_t *ret_count, uint32_t *next)
{
    size_t size = 64;
    while (size < (size_t)in->count * 2)
        size *= 2;
    xd_autofree uint32_t *table = calloc(size, sizeof *table); /* group number, 0 = free place */
    xd_autofree bunch    *groups = NULL;
    size_t                cap = 0;
    uint32_t              n = 0;
    if (!table)
        return -ENOMEM;
    for (uint32_t i = 0; i < in->count; i++) {
        uint64_t key = in->items[i].group;
        next[i] = UINT32_MAX;
        if (!key)
            continue;
        size_t p = (size_t)(key * 0x9e3779b97f4a7c15ull >> 20) & (size - 1);
        while (table[p] && in->items[groups[table[p]].first].group != key)
            p = (p + 1) & (size - 1);
        if (!table[p]) {
            if (n + 1u >= cap) {
                cap = cap ? cap * 2 : 64;
                bunch *more = realloc(groups, cap * sizeof *more);
                if (!more)
                    return -ENOMEM;
                groups = more;
            }
            table[p] = ++n;
            groups[n] = (bunch){ .first = i, .last = i };
        }
        bunch *g = &groups[table[p]];
        if (g->last != i)
            next[g->last] = i;
        g->last = i;
        g->count++;
        g->weight += at32(in->item_weight, in->stride, i);
        *(uint32_t *)((char *)in->item_group + in->stride * i) = table[p];
    }
    *ret = xd_take(&groups);
    *ret_count = n;
    return 0;
}

static int unit_order(const void *pa, const void *pb)
{
    const unit *a = pa, *b = pb;
    if (a->late != b->late)
        return a->late < b->late ? -1 : 1;
    if (a->key != b->key)
        return a->key > b->key ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static int make_units(units *u, const xd_sched_order *in, const bunch *groups, const uint32_t *next,
                      uint64_t grain)
{
    uint32_t i = 0;
    while (i < in->count) {
        uint32_t g = in->grouped ? at32(in->item_group, in->stride, i) : 0;
        if (g) {
            if (groups[g].first == i)
                XD_TRY(add_group(u, in, &groups[g], g, next, grain));
            i++;
            continue;
        }
        uint32_t end = i + 1;
        while (end < in->count && in->items[end].unit == in->items[i].unit &&
               !(in->grouped && at32(in->item_group, in->stride, end)))
            end++;
        XD_TRY(add_free(u, in, i, end, grain));
        i = end;
    }
    return 0;
}

int xd_sched_order_make(const xd_sched_order *in, xd_sched_seg **ret_segs, size_t *ret_len,
                        uint32_t *ret_groups, uint32_t *ret_max_group)
{
    xd_autofree bunch    *groups = NULL;
    xd_autofree uint32_t *next = NULL;
    uint32_t              n_groups = 0, max_group = 0;
    uint64_t              total = 0;
    if (in->grouped) {
        next = malloc((in->count + 1u) * sizeof *next);
        if (!next)
            return -ENOMEM;
        XD_TRY(number_groups(in, &groups, &n_groups, next));
    }
    for (uint32_t g = 1; g <= n_groups; g++)
        max_group = XD_MAX(max_group, groups[g].count);
    for (uint32_t i = 0; i < in->count; i++)
        total += at32(in->item_weight, in->stride, i);
    uint64_t grain =
        XD_MAX(total / ((uint64_t)XD_MAX(in->workers, 1u) * GRAINS_PER_WORKER), (uint64_t)MIN_GRAIN_US);

    units         u = { 0 };
    int           r = make_units(&u, in, groups, next, grain);
    xd_sched_seg *segs = NULL;
    if (r == 0) {
        if (u.len)
            qsort(u.at, u.len, sizeof *u.at, unit_order);
        segs = malloc((u.len ? u.len : 1) * sizeof *segs);
        for (size_t i = 0; segs && i < u.len; i++)
            segs[i] = u.at[i].seg;
        r = segs ? 0 : -ENOMEM;
    }
    *ret_len = u.len;
    free(u.at);
    if (r < 0)
        return r;
    *ret_segs = segs;
    *ret_groups = n_groups;
    *ret_max_group = max_group;
    return 0;
}

/* ---- keys ---- */

xd_bytes xd_sched_group_key(const xd_grammar *grammar, xd_sched_mode mode, xd_bytes id, xd_bytes group)
{
    if (mode == XD_SCHED_LOADSCOPE)
        return (xd_bytes){ id.ptr, grammar->scope(id) };
    if (mode == XD_SCHED_LOADFILE)
        return (xd_bytes){ id.ptr, grammar->unit(id) };
    if (mode != XD_SCHED_LOADGROUP)
        return (xd_bytes){ NULL, 0 };
    return group.len ? group : grammar->group(id);
}

int xd_sched_mode_parse(xd_sched_mode *ret, const char *name)
{
    static const char *const names[] = { "no", "load", "worksteal", "loadscope", "loadfile", "loadgroup" };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (xd_sched_mode)i;
            return 0;
        }
    return -EINVAL;
}
