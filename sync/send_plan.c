/* sync/send_plan.c - see send_plan.h. */
#include "sync/send_plan.h"

#include <string.h>
#include <zstd.h>

#define BODY (256u << 10)
#define PACK_FROM 1024u       /* shorter records stay plain */
#define CANDIDATES_MOST 8192u /* changed files; more are not worth a guess */
#define FILE_COSTS 64u        /* bytes of a file, apart from its content */
#define DELTA_COSTS 1024u

typedef struct candidate {
    xd_digest id;
    uint32_t  file;
    uint64_t  cost;
    bool      there; /* the destination has the content already */
} candidate;

typedef struct planner {
    xd_source     *source;
    const xd_base *base;
    xd_manifest    to;
    candidate     *at;
    uint32_t       count, cap;
    bool           many;
    ZSTD_CCtx     *zstd;
    xd_send_plan  *plan;
    xd_buf        *frames;
} planner;

void xd_send_plan_release(xd_send_plan *p)
{
    free(p->push);
    *p = XD_SEND_PLAN_INIT;
}

/* ---- what is pushed ------------------------------------------------------------------------------------------ */

/* What a changed file is likely to cost. */
static uint64_t cost_of(const planner *p, const xd_entry *was, const xd_entry *is)
{
    bool delta = was && was->type == XD_SYNC_FILE && is->size >= XD_CHUNKED_MIN &&
                 xd_memory_list(p->base->memory, was->id).len;
    return FILE_COSTS + (delta ? DELTA_COSTS + is->size / 8 : is->size);
}

static int on_change(void *arg, xd_bytes path, uint32_t was, uint32_t is)
{
    (void)path;
    planner           *p = arg;
    const xd_manifest *to = &p->to, *from = &p->base->memory->tree;
    if (is == XD_MANIFEST_NONE || to->entry[is].type != XD_SYNC_FILE || to->entry[is].size == 0)
        return 0;
    const xd_entry *now = &to->entry[is], *old = was == XD_MANIFEST_NONE ? NULL : &from->entry[was];
    if (old && old->type == XD_SYNC_FILE && xd_digest_eq(old->id, now->id))
        return 0;
    if (p->count == CANDIDATES_MOST) {
        p->many = true;
        return 0;
    }
    if (p->count == p->cap) {
        uint32_t   cap = p->cap ? p->cap * 2 : 64;
        candidate *more = realloc(p->at, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        p->at = more;
        p->cap = cap;
    }
    p->at[p->count++] = (candidate){ .id = now->id, .file = now->first, .cost = cost_of(p, old, now) };
    return 0;
}

static int by_id(const void *a, const void *b)
{
    xd_digest x = ((const candidate *)a)->id, y = ((const candidate *)b)->id;
    if (x.hi != y.hi)
        return x.hi < y.hi ? -1 : 1;
    return x.lo == y.lo ? 0 : x.lo < y.lo ? -1 : 1;
}

static int by_file(const void *a, const void *b)
{
    uint32_t x = ((const candidate *)a)->file, y = ((const candidate *)b)->file;
    return x < y ? -1 : x > y;
}

/* Contents that stand there under another name: they are taken from there. */
static void find_there(planner *p)
{
    const xd_manifest *from = &p->base->memory->tree;
    qsort(p->at, p->count, sizeof *p->at, by_id);
    for (uint32_t i = 0; i < from->files; i++) {
        candidate  key = { .id = from->entry[from->file[i]].id };
        candidate *c = bsearch(&key, p->at, p->count, sizeof *p->at, by_id);
        if (!c || c->there)
            continue;
        while (c > p->at && xd_digest_eq(c[-1].id, key.id))
            c--;
        for (; c < p->at + p->count && xd_digest_eq(c->id, key.id); c++)
            c->there = true;
    }
    qsort(p->at, p->count, sizeof *p->at, by_file);
}

static int choose(planner *p, uint8_t **ret_bits)
{
    xd_send_plan *plan = p->plan;
    uint64_t      cost = 0;
    XD_TRY(xd_manifest_diff(&p->base->memory->tree, &p->to, on_change, p));
    if (p->count == 0 || p->many)
        return 0;
    find_there(p);
    for (uint32_t i = 0; i < p->count; i++)
        cost += p->at[i].there ? 0 : p->at[i].cost;
    if (cost == 0 || cost >= XD_PUSH_MOST)
        return 0;
    const xd_manifest *to = &p->to;
    *ret_bits = calloc(1, to->files / 8 + (size_t)1);
    plan->push = calloc(p->count, sizeof *plan->push);
    if (!*ret_bits || !plan->push)
        return -ENOMEM;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->at[i].there)
            continue;
        uint32_t  n = p->at[i].file;
        xd_range *last = plan->pushes ? &plan->push[plan->pushes - 1] : NULL;
        (*ret_bits)[n / 8] = (uint8_t)((*ret_bits)[n / 8] | 1u << n % 8);
        if (last && last->first + last->count == n)
            last->count++;
        else
            plan->push[plan->pushes++] = (xd_range){ .first = n, .count = 1 };
        plan->push_files++;
        plan->push_bytes += to->entry[to->file[n]].size;
    }
    return 0;
}

/* ---- records -------------------------------------------------------------------------------------------------- */

static bool keeps(void *arg, xd_bytes path, bool is_folder)
{
    planner *p = arg;
    bool     kept;
    /* Who cannot tell removes nothing. */
    return xd_source_keeps(p->source, path, is_folder, &kept) < 0 || kept;
}

static int put_records(void *arg, xd_bytes body, bool last)
{
    planner             *p = arg;
    xd_wire_SYNC_RECORDS r = { .last = last, .plain_bytes = (uint32_t)body.len, .inner = body };
    xd_autofree uint8_t *packed = NULL;
    if (p->base) {
        r.base_lo = p->base->id.lo;
        r.base_hi = p->base->id.hi;
    }
    if (p->zstd && body.len > PACK_FROM) {
        size_t bound = ZSTD_compressBound(body.len);
        packed = malloc(bound);
        size_t n = packed ? ZSTD_compressCCtx(p->zstd, packed, bound, body.ptr, body.len, 1) : body.len;
        if (packed && !ZSTD_isError(n) && n < body.len) {
            r.codec = XD_SYNC_CODEC_ZSTD;
            r.inner = (xd_bytes){ packed, n };
        }
    }
    return xd_wire_SYNC_RECORDS_frame(p->frames, 0, 0, &r);
}

int xd_send_plan_make(xd_send_plan *ret, xd_source *s, uint32_t amends, const xd_base *base, bool push,
                      bool zstd, xd_buf *frames)
{
    planner p = {
        .source = s, .base = base, .plan = ret, .frames = frames, .zstd = zstd ? ZSTD_createCCtx() : NULL
    };
    xd_autofree uint8_t *bits = NULL;
    *ret = XD_SEND_PLAN_INIT;
    int r = xd_source_as_of(s, amends, &p.to);
    if (r == 0 && base && push)
        r = choose(&p, &bits);
    if (r == 0)
        r = xd_manifest_write(base ? &base->memory->tree : NULL, &p.to, bits, keeps, &p, BODY, put_records,
                              &p);
    xd_source_as_of_release(s, &p.to);
    free(p.at);
    ZSTD_freeCCtx(p.zstd);
    if (r < 0)
        xd_send_plan_release(ret);
    return r;
}
