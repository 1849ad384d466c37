/* sync/chunk.c - see chunk.h. */
#include "sync/chunk.h"

#include <string.h>
#include <xxhash.h>

/* ---- where to cut ------------------------------------------------------------------------------------------ */

static const uint8_t average_bits[XD_CHUNK_CLASSES] = { 11, 13, 14 };

void xd_chunker_init(xd_chunker *c)
{
    uint64_t seed = 0x7864636872756e6bu; /* splitmix64; the cuts of stored lists depend on it */
    for (unsigned i = 0; i < 256; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        c->gear[i] = z ^ (z >> 31);
    }
}

unsigned xd_chunk_class(uint64_t file_bytes)
{
    return file_bytes < (1u << 20) ? 0 : file_bytes < (64u << 20) ? 1 : 2;
}

uint32_t xd_chunk_longest(unsigned class)
{
    return 4u << average_bits[class];
}

size_t xd_chunk_cut(const xd_chunker *c, unsigned class, const uint8_t *data, size_t len)
{
    unsigned bits = average_bits[class];
    size_t   least = (size_t)1 << (bits - 2), normal = (size_t)1 << bits;
    size_t   most = XD_MIN(len, normal * 4);
    /* Cuts are less likely before the normal length and more likely behind it, which keeps lengths near to it. */
    uint64_t hard = ~(UINT64_MAX >> (bits + 2)), easy = ~(UINT64_MAX >> (bits - 2)), hash = 0;
    size_t   i = least;
    for (; i < XD_MIN(most, normal); i++) {
        hash = (hash << 1) + c->gear[data[i]];
        if (!(hash & hard))
            return i + 1;
    }
    for (; i < most; i++) {
        hash = (hash << 1) + c->gear[data[i]];
        if (!(hash & easy))
            return i + 1;
    }
    return most;
}

uint64_t xd_chunk_id(const uint8_t *data, size_t len)
{
    return XXH3_64bits(data, len);
}

/* ---- lists -------------------------------------------------------------------------------------------------- */

typedef struct head {
    uint64_t size;
    uint32_t count, blocks;
    uint32_t class, zero;
} head;

static uint64_t u64_at(const uint8_t *p, size_t i)
{
    uint64_t v;
    memcpy(&v, p + i * 8, 8);
    return v;
}

static uint32_t u32_at(const uint8_t *p, size_t i)
{
    uint32_t v;
    memcpy(&v, p + i * 4, 4);
    return v;
}

static uint64_t blocks_of(uint64_t size)
{
    return size < XD_CHUNK_FIXED_MIN ? 0 : (size + XD_CHUNK_FIXED - 1) / XD_CHUNK_FIXED;
}

int xd_chunk_list_read(xd_bytes stored, xd_chunk_list *ret)
{
    head h;
    if (stored.len < sizeof h)
        return -EINVAL;
    memcpy(&h, stored.ptr, sizeof h);
    size_t need = sizeof h + (size_t)h.count * 12 + (size_t)h.blocks * 8;
    if (h.class >= XD_CHUNK_CLASSES || stored.len != (need + 7) / 8 * 8 || h.blocks != blocks_of(h.size))
        return -EINVAL;
    xd_chunk_list l = { .size = h.size, .count = h.count, .blocks = h.blocks, .class = h.class };
    l.ids = stored.ptr + sizeof h;
    l.fixed = l.ids + (size_t)h.count * 8;
    l.lens = l.fixed + (size_t)h.blocks * 8;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < h.count; i++)
        sum += u32_at(l.lens, i);
    if (sum != h.size)
        return -EINVAL;
    *ret = l;
    return 0;
}

void xd_chunk_store_release(xd_chunk_store *s)
{
    xd_arena_release(&s->arena);
    free(s->at);
    free(s->slot);
    *s = XD_CHUNK_STORE_INIT;
}

static int store_grow(xd_chunk_store *s)
{
    uint32_t         cap = s->cap ? s->cap * 2 : 256;
    uint32_t        *slot = calloc((size_t)cap * 2, sizeof *slot);
    xd_chunk_stored *at = slot ? realloc(s->at, cap * sizeof *at) : NULL;
    if (!at) {
        free(slot);
        return -ENOMEM;
    }
    free(s->slot);
    s->at = at;
    s->slot = slot;
    s->cap = cap;
    for (uint32_t i = 0; i < s->count; i++) {
        size_t k = at[i].id.lo & (cap * 2 - 1);
        while (slot[k])
            k = (k + 1) & (cap * 2 - 1);
        slot[k] = i + 1;
    }
    return 0;
}

static xd_chunk_stored *store_at(const xd_chunk_store *s, xd_digest id, size_t *ret_slot)
{
    size_t mask = (size_t)s->cap * 2 - 1, k = id.lo & mask;
    while (s->slot[k] && !xd_digest_eq(s->at[s->slot[k] - 1].id, id))
        k = (k + 1) & mask;
    *ret_slot = k;
    return s->slot[k] ? &s->at[s->slot[k] - 1] : NULL;
}

int xd_chunk_store_add(xd_chunk_store *s, xd_digest id, xd_bytes list)
{
    if (s->count == s->cap)
        XD_TRY(store_grow(s));
    size_t k;
    if (store_at(s, id, &k))
        return 0;
    uint8_t *copy = xd_arena_alloc(&s->arena, list.len, 8);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, list.ptr, list.len);
    s->at[s->count] = (xd_chunk_stored){ id, { copy, list.len } };
    s->slot[k] = ++s->count;
    return 0;
}

xd_bytes xd_chunk_store_find(const xd_chunk_store *s, xd_digest id)
{
    size_t                 k;
    const xd_chunk_stored *found = s->cap ? store_at(s, id, &k) : NULL;
    return found ? found->list : (xd_bytes){ 0 };
}

/* ---- one pass over a file ------------------------------------------------------------------------------------ */

static int index_base(xd_delta *d)
{
    const xd_chunk_list *base = &d->base;
    uint32_t             slots = 16;
    while (slots < (uint64_t)base->count * 2 && slots < (1u << 31))
        slots *= 2;
    d->slot = calloc(slots, sizeof *d->slot);
    d->start = malloc((base->count + (size_t)1) * sizeof *d->start);
    if (!d->slot || !d->start)
        return -ENOMEM;
    d->slots = slots;
    uint64_t at = 0;
#if XD_PLANTED_BUG == 47 /* the simulator must find it: the last chunk is never copied */
    for (uint32_t i = 0; i + 1 < base->count; i++) {
#else
    for (uint32_t i = 0; i < base->count; i++) {
#endif
        uint64_t id = u64_at(base->ids, i);
        size_t   k = id & (slots - 1);
        while (d->slot[k] && u64_at(base->ids, d->slot[k] - 1) != id)
            k = (k + 1) & (slots - 1);
        if (!d->slot[k])
            d->slot[k] = i + 1;
        d->start[i] = at;
        at += u32_at(base->lens, i);
    }
    return 0;
}

int xd_delta_init(xd_delta *d, const xd_chunker *c, const xd_chunk_list *base, uint64_t size)
{
    *d = (xd_delta){ .chunker = c, .size = size, .class = xd_chunk_class(size) };
    d->blocks_cap = (uint32_t)blocks_of(size);
    if (d->blocks_cap && !(d->fixed = malloc(d->blocks_cap * sizeof *d->fixed)))
        return -ENOMEM;
    if (!base)
        return 0;
    d->base = *base;
    d->has_base = true;
    d->class = base->class; /* cuts of another class would meet none of its chunks */
    d->in_place = base->blocks && base->size == size;
    int r = index_base(d);
    if (r < 0)
        xd_delta_release(d);
    return r;
}

void xd_delta_release(xd_delta *d)
{
    free(d->slot);
    free(d->start);
    free(d->ids);
    free(d->lens);
    free(d->fixed);
    *d = (xd_delta){ 0 };
}

static int listed(xd_delta *d, uint64_t id, size_t len)
{
    if (d->count == d->cap) {
        uint32_t  cap = d->cap ? d->cap * 2 : 64;
        uint64_t *ids = realloc(d->ids, cap * sizeof *ids);
        if (ids)
            d->ids = ids;
        uint32_t *lens = ids ? realloc(d->lens, cap * sizeof *lens) : NULL;
        if (!lens)
            return -ENOMEM;
        d->lens = lens;
        d->cap = cap;
    }
    d->ids[d->count] = id;
    d->lens[d->count++] = (uint32_t)len;
    return 0;
}

/* The next chunk: as the base goes on, if it does; else by its content. *ret_found: its index in the base, or UINT32_MAX. */
static size_t next_chunk(xd_delta *d, const uint8_t *data, size_t len, uint64_t *ret_id, uint32_t *ret_found)
{
    *ret_found = UINT32_MAX;
    if (d->guess < d->base.count) {
        size_t   expected = u32_at(d->base.lens, d->guess);
        uint64_t id = u64_at(d->base.ids, d->guess);
        /* The last chunk of a file ends where the file does, not where its content says. */
        bool last = d->guess + 1 == d->base.count;
        if (expected && expected <= len && !last && xd_chunk_id(data, expected) == id) {
            *ret_id = id;
            *ret_found = d->guess;
            return expected;
        }
    }
    size_t cut = xd_chunk_cut(d->chunker, d->class, data, len);
    *ret_id = xd_chunk_id(data, cut);
    if (!d->has_base)
        return cut;
    for (size_t k = *ret_id & (d->slots - 1); d->slot[k]; k = (k + 1) & (d->slots - 1)) {
        uint32_t i = d->slot[k] - 1;
        if (u64_at(d->base.ids, i) == *ret_id) {
            if (u32_at(d->base.lens, i) == cut)
                *ret_found = i;
            break;
        }
    }
    return cut;
}

/* Bytes that no chunk of the base has: those in fixed blocks that did not change are copied all the same. */
static int emit_new(xd_delta *d, const uint8_t *data, size_t len, xd_delta_out out, void *arg)
{
    if (!d->in_place)
        return out(arg, d->at, data, 0, len);
    uint64_t at = d->at, end = d->at + len;
    while (at < end) {
        size_t   k = (size_t)(at / XD_CHUNK_FIXED);
        uint64_t stop = XD_MIN(end, (k + (uint64_t)1) * XD_CHUNK_FIXED);
#if XD_PLANTED_BUG == 53 /* the simulator must find it: a chunk is what its first block is */
        k = (size_t)(d->at / XD_CHUNK_FIXED);
#endif
        bool same = d->fixed[k] == u64_at(d->base.fixed, k);
        XD_TRY(out(arg, at, same ? NULL : data + (at - d->at), at, (size_t)(stop - at)));
        at = stop;
    }
    return 0;
}

static void hash_blocks(xd_delta *d, const uint8_t *win, uint64_t win_at, size_t win_len, bool end)
{
    while (d->blocks < d->blocks_cap) {
        uint64_t at = (uint64_t)d->blocks * XD_CHUNK_FIXED;
        size_t   have = (size_t)(win_at + win_len - at);
        if (have < XD_CHUNK_FIXED && !(end && have))
            return;
        d->fixed[d->blocks++] = xd_chunk_id(win + (at - win_at), XD_MIN(have, XD_CHUNK_FIXED));
    }
}

int xd_delta_feed(xd_delta *d, const uint8_t *win, uint64_t win_at, size_t win_len, bool end,
                  xd_delta_out out, void *arg)
{
    hash_blocks(d, win, win_at, win_len, end);
    for (;;) {
        size_t         left = (size_t)(win_at + win_len - d->at);
        const uint8_t *data = win + (d->at - win_at);
        if (left == 0 || (!end && left < XD_DELTA_LEFT))
            return 0;
        uint64_t id;
        uint32_t found;
        size_t   len = next_chunk(d, data, left, &id, &found);
        XD_TRY(listed(d, id, len));
        if (found != UINT32_MAX) {
            XD_TRY(out(arg, d->at, NULL, d->start[found], len));
            d->guess = found + 1;
        } else {
            XD_TRY(emit_new(d, data, len, out, arg));
        }
        d->at += len;
    }
}

uint64_t xd_delta_from(const xd_delta *d)
{
    return d->at / XD_CHUNK_FIXED * XD_CHUNK_FIXED;
}

int xd_delta_list(const xd_delta *d, xd_buf *out)
{
    head   h = { .size = d->size, .count = d->count, .blocks = d->blocks, .class = d->class };
    size_t len = sizeof h + (size_t)d->count * 12 + (size_t)d->blocks * 8;
    XD_TRY(xd_buf_reserve(out, len + 8));
    XD_TRY(xd_buf_add(out, &h, sizeof h));
    XD_TRY(xd_buf_add(out, d->ids, d->count * sizeof *d->ids));
    XD_TRY(xd_buf_add(out, d->fixed, d->blocks * sizeof *d->fixed));
    XD_TRY(xd_buf_add(out, d->lens, d->count * sizeof *d->lens));
    return xd_buf_fill(out, 0, (8 - len % 8) % 8);
}
