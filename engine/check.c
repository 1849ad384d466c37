/* engine/check.c - see check.h. */
#include "engine/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/clock.h"
#include "engine/names.h"
#include "engine/nodeid.h"

#define LOOSE_BURST 2000u        /* frames outside of the sequence */
#define LOOSE_PER_S 200u         /* an agent sends two a second, and one for each command */
#define IDS_BYTES_MAX (1u << 30) /* of all node ids of a collection, written out */

/* What became of an item here. */
enum { ITEM_NEVER = 0, ITEM_LEASED, ITEM_OVER, ITEM_OPEN, ITEM_RETURNED };

typedef struct check_item {
    uint16_t attempt; /* of the last lease */
    uint8_t  state;
} check_item;

/* A thousand agents may share a million items: of each agent only those are kept that are near to some that were leased to it. */
#define PAGE_ITEMS 256u
typedef struct check_page {
    check_item at[PAGE_ITEMS];
} check_page;

struct xd_check {
    char         why[160];
    unsigned     phase;
    bool         facts_told, configured, failed, finish_sent, list_asked, check_asked;
    check_page **pages; /* as far as leases went; NULL where there was none */
    uint32_t     n_pages;
    uint32_t     count; /* of its own COLLECTED */
    uint32_t     items; /* numbers that it may speak of: those, or as many as REORDER has given numbers to */
    uint32_t     first_worker, n_workers;
    uint32_t stride; /* between the numbers of a worker and of its replacement; 0 = before WORKERS_START */
    xd_buf   told_names; /* of ENV_START: a list of TEXT */
    uint32_t n_told_names;
    xd_names names;   /* the same by number, from WORKERS_START on */
    uint32_t request; /* of the TAKE_BACK that is not answered, 0 = none */
    uint8_t  up[65536 / 8];
    /* the list that it sends */
    uint32_t      have;
    uint64_t      ids_bytes, digest_lo, digest_hi;
    XXH3_state_t *hash;
    xd_buf        id[2]; /* the last node id and the one before it */
    /* credit */
    uint64_t  loose, loose_ns;
    uint64_t  last_seq, acked_seq, bytes; /* of frames passed on, all together */
    uint64_t *behind;                     /* `bytes` behind frame seq, at seq & mask */
    uint32_t  mask, most_bytes;
};

int xd_check_new(xd_check **ret, uint32_t window_frames, uint32_t window_bytes)
{
    xd_check *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    uint32_t ring = 64;
    while (ring < (1u << 30) && ring / 2 < window_frames)
        ring *= 2;
    c->phase = XD_PHASE_IDLE;
    c->loose = LOOSE_BURST;
    c->mask = ring - 1;
    c->most_bytes = window_bytes > UINT32_MAX / 2 ? UINT32_MAX : 2 * window_bytes;
    c->behind = calloc(ring, sizeof(*c->behind));
    c->hash = XXH3_createState();
    if (!c->behind || !c->hash) {
        xd_check_free(c);
        return -ENOMEM;
    }
    XXH3_128bits_reset(c->hash);
    *ret = c;
    return 0;
}

xd_check *xd_check_free(xd_check *c)
{
    if (c) {
        xd_buf_release(&c->id[0]);
        xd_buf_release(&c->id[1]);
        xd_buf_release(&c->told_names);
        xd_names_release(&c->names);
        if (c->hash)
            XXH3_freeState(c->hash);
        free(c->behind);
        for (uint32_t i = 0; i < c->n_pages; i++)
            free(c->pages[i]);
        free(c->pages);
        free(c);
    }
    return NULL;
}

const char *xd_check_why(const xd_check *c)
{
    return c->why;
}

static int wrong(xd_check *c, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int wrong(xd_check *c, const char *name, const char *fmt, ...)
{
    va_list ap;
    int     n = snprintf(c->why, sizeof(c->why), "%s: ", name);
    va_start(ap, fmt);
    vsnprintf(c->why + n, sizeof(c->why) - (size_t)n, fmt, ap);
    va_end(ap);
    return -EPROTO;
}

static const char *phase_text(unsigned phase)
{
    switch (phase) {
    case XD_PHASE_IDLE:
        return "before ENV_START";
    case XD_PHASE_COLLECTING:
        return "while it collects";
    case XD_PHASE_COLLECTED:
        return "after its collection, before its workers were to start";
    case XD_PHASE_RUNNING:
        return "while its workers run";
    case XD_PHASE_DONE:
        return "after ENV_DONE";
    default:
        return "after BYE";
    }
}

/* ---- credit ---------------------------------------------------------------------------------------------- */

int xd_check_loose(xd_check *c, const xd_frame *f, uint64_t now_ns)
{
    const uint64_t step = XD_S_NS / LOOSE_PER_S;
    if (!c->loose_ns)
        c->loose_ns = now_ns;
    uint64_t more = (now_ns - c->loose_ns) / step;
    c->loose = XD_MIN(c->loose + more, (uint64_t)LOOSE_BURST);
    c->loose_ns += more * step;
    if (c->phase == XD_PHASE_OVER)
        return wrong(c, xd_wire_name(f->type), "after BYE");
    if (!c->loose)
        return wrong(c, xd_wire_name(f->type), "a flood of frames outside of the sequence, or twice");
    c->loose--;
    return 0;
}

void xd_check_passed(xd_check *c, const xd_frame *f)
{
    c->last_seq = f->seq;
    c->bytes += XD_FRAME_HEADER + f->len;
    c->behind[f->seq & c->mask] = c->bytes;
}

void xd_check_acked(xd_check *c, uint64_t seq)
{
    c->acked_seq = XD_MIN(XD_MAX(c->acked_seq, seq), c->last_seq);
}

bool xd_check_full(const xd_check *c)
{
    const uint64_t frames = c->last_seq - c->acked_seq;
    const uint64_t acked = c->acked_seq ? c->behind[c->acked_seq & c->mask] : 0;
    return frames >= c->mask || c->bytes - acked >= c->most_bytes;
}

/* ---- commands -------------------------------------------------------------------------------------------- */

/* *ret: the place of an item. */
static int place_of(xd_check *c, uint32_t item, check_item **ret)
{
    const uint32_t at = item / PAGE_ITEMS;
    if (at >= c->n_pages) {
        const uint32_t n = XD_MIN(XD_MAX(at + 1, 2 * c->n_pages), XD_ITEMS_MAX / PAGE_ITEMS);
        check_page   **pages = realloc(c->pages, n * sizeof(check_page *));
        if (!pages)
            return -ENOMEM;
        memset(pages + c->n_pages, 0, (n - c->n_pages) * sizeof(check_page *));
        c->pages = pages;
        c->n_pages = n;
    }
    if (!c->pages[at] && !(c->pages[at] = calloc(1, sizeof(check_page))))
        return -ENOMEM;
    *ret = &c->pages[at]->at[item % PAGE_ITEMS];
    return 0;
}

static int lease(xd_check *c, const xd_frame *f)
{
    xd_wire_LEASE m;
    xd_wire_RANGE r;
    XD_TRY(xd_wire_LEASE_decode(f->body, f->len, &m));
    while (xd_wire_RANGE_next(&m.ranges, &r) == 1) {
        if (r.first > XD_ITEMS_MAX || r.count > XD_ITEMS_MAX - r.first)
            return -EINVAL;
        for (uint32_t i = r.first; i - r.first < r.count; i++) {
            check_item *item = NULL;
            XD_TRY(place_of(c, i, &item));
            *item = (check_item){ .attempt = r.attempt, .state = ITEM_LEASED };
        }
    }
    return 0;
}

static int env_start(xd_check *c, const xd_frame *f)
{
    xd_wire_ENV_START m;
    XD_TRY(xd_wire_ENV_START_decode(f->body, f->len, &m));
    c->n_told_names = m.names.count;
    xd_buf_clear(&c->told_names);
    XD_TRY(xd_buf_add(&c->told_names, m.names.ptr, m.names.len));
    if (c->phase == XD_PHASE_IDLE)
        c->phase = XD_PHASE_COLLECTING;
    return 0;
}

static int workers_start(xd_check *c, const xd_frame *f)
{
    xd_wire_WORKERS_START m;
    XD_TRY(xd_wire_WORKERS_START_decode(f->body, f->len, &m));
    c->first_worker = m.first;
    c->n_workers = m.count;
    c->stride = m.stride ? m.stride : m.total;
    const xd_wire_list names = { .count = c->n_told_names,
                                 .ptr = c->told_names.data,
                                 .len = c->told_names.len };
    XD_TRY(xd_names_set_list(&c->names, m.first, names));
    if (c->phase == XD_PHASE_COLLECTED)
        c->phase = XD_PHASE_RUNNING;
    return 0;
}

static int reorder(xd_check *c, const xd_frame *f)
{
    xd_wire_REORDER m;
    XD_TRY(xd_wire_REORDER_decode(f->body, f->len, &m));
    c->items = m.places.count;
    return 0;
}

static int take_back(xd_check *c, const xd_frame *f)
{
    xd_wire_TAKE_BACK m;
    XD_TRY(xd_wire_TAKE_BACK_decode(f->body, f->len, &m));
    c->request = m.request;
    return 0;
}

int xd_check_command(xd_check *c, const xd_frame *f)
{
    switch (f->type) {
    case XD_MSG_ENV_START:
        return env_start(c, f);
    case XD_MSG_CHECK:
        c->check_asked = true;
        return 0;
    case XD_MSG_SEND_LIST:
        c->list_asked = true;
        return 0;
    case XD_MSG_REORDER:
        return reorder(c, f);
    case XD_MSG_WORKERS_START:
        return workers_start(c, f);
    case XD_MSG_LEASE:
        return lease(c, f);
    case XD_MSG_TAKE_BACK:
        return take_back(c, f);
    case XD_MSG_FINISH:
        c->finish_sent = true;
        return 0;
    default:
        return 0;
    }
}

/* ---- items and workers ----------------------------------------------------------------------------------- */

static xd_name name_of(const xd_check *c, uint16_t worker)
{
    return xd_names_of(&c->names, worker);
}

/* NULL: never leased to it. */
static check_item *item_of(const xd_check *c, uint32_t item)
{
    const uint32_t at = item / PAGE_ITEMS;
    if (at >= c->n_pages || !c->pages[at])
        return NULL;
    check_item *i = &c->pages[at]->at[item % PAGE_ITEMS];
    return i->state != ITEM_NEVER ? i : NULL;
}

/* Numbers as its agent may give them: those of WORKERS_START, then for replacements further ones of which each belongs
 * to one agent of the run (agent_next_number in tools/xdagent/start.c). */
static bool is_its_worker(const xd_check *c, uint32_t worker)
{
    if (!c->stride || worker == XD_NO_WORKER)
        return false;
    const uint32_t place = worker % c->stride;
    return place >= c->first_worker && place - c->first_worker < c->n_workers;
}

static bool was_up(const xd_check *c, uint16_t worker)
{
    return c->up[worker / 8] >> (worker % 8) & 1;
}

/* 0 = it is one of this environment's. */
static int check_own(xd_check *c, const char *name, uint16_t worker)
{
    return is_its_worker(c, worker)
               ? 0
               : wrong(c, name, "worker %s is none of this environment", name_of(c, worker).text);
}

static int check_worker(xd_check *c, const char *name, uint16_t worker)
{
    XD_TRY(check_own(c, name, worker));
    return was_up(c, worker) ? 0 : wrong(c, name, "worker %s was not up", name_of(c, worker).text);
}

/* An item that something is said about, but nothing is decided. */
static int check_mention(xd_check *c, const char *name, uint32_t item)
{
    return item == XD_NO_INDEX || item < c->items ? 0 : wrong(c, name, "there is no item %u", item);
}

/* ---- frames ---------------------------------------------------------------------------------------------- */

static int once(xd_check *c, const char *name, bool *said)
{
    if (*said)
        return wrong(c, name, "for the second time");
    *said = true;
    return 0;
}

static int on_CONFIG(xd_check *c, const xd_wire_CONFIG *m)
{
    (void)m;
    return once(c, "CONFIG", &c->configured);
}

static int on_HOST_CHECKED(xd_check *c, const xd_wire_HOST_CHECKED *m)
{
    (void)m;
    if (!c->check_asked)
        return wrong(c, "HOST_CHECKED", "nobody asked for it");
    c->check_asked = false;
    return 0;
}

static int on_ENV_FACTS(xd_check *c, const xd_wire_ENV_FACTS *m)
{
    (void)m;
    return once(c, "ENV_FACTS", &c->facts_told);
}

static int on_COLLECTED(xd_check *c, const xd_wire_COLLECTED *m)
{
    c->phase = XD_PHASE_COLLECTED;
    c->count = c->items = m->count;
    c->digest_lo = m->digest_lo;
    c->digest_hi = m->digest_hi;
    return 0;
}

static int add_id(xd_check *c, xd_bytes *previous, unsigned *which, const xd_wire_NODEID *one)
{
    xd_bytes id;
    *which ^= 1;
    int r = xd_nodeid_join(&c->id[*which], *previous, one, &id);
    if (r == -EPROTO)
        return wrong(c, "COLLECT_IDS", "node id %u shares more than there is", c->have);
    XD_TRY(r);
    c->ids_bytes += id.len;
    if (c->ids_bytes > IDS_BYTES_MAX)
        return wrong(c, "COLLECT_IDS", "more than %u MiB of node ids", IDS_BYTES_MAX >> 20);
    *previous = id;
    c->have++;
    if (XXH3_128bits_update(c->hash, id.ptr, id.len) != XXH_OK ||
        XXH3_128bits_update(c->hash, "", 1) != XXH_OK)
        return -EINVAL;
    return 0;
}

static int on_COLLECT_IDS(xd_check *c, const xd_wire_COLLECT_IDS *m)
{
    xd_wire_list   ids = m->ids;
    xd_wire_NODEID one;
    xd_bytes       previous = { 0 };
    unsigned       which = 0;
    if (!c->list_asked)
        return wrong(c, "COLLECT_IDS", "nobody asked for the list");
    if (c->have == c->count)
        return wrong(c, "COLLECT_IDS", "the list was complete");
    if (m->first != c->have || ids.count > c->count - c->have || !ids.count)
        return wrong(c, "COLLECT_IDS", "%u items from %u on; %u of %u had come", ids.count, m->first, c->have,
                     c->count);
    while (xd_wire_NODEID_next(&ids, &one) == 1)
        XD_TRY(add_id(c, &previous, &which, &one));
    if (c->have < c->count)
        return 0;
    XXH128_hash_t d = XXH3_128bits_digest(c->hash);
    return d.low64 == c->digest_lo && d.high64 == c->digest_hi
               ? 0
               : wrong(c, "COLLECT_IDS", "the list is not the one of the digest in COLLECTED");
}

static int on_REPORT(xd_check *c, const xd_wire_REPORT *m)
{
    if (m->item == XD_NO_INDEX)
        return 0;
    const check_item *i = item_of(c, m->item);
    if (!i || i->state == ITEM_RETURNED || i->attempt != m->attempt)
        return wrong(c, "REPORT", "item %u is not leased to it (attempt %u)", m->item, (unsigned)m->attempt);
    return check_worker(c, "REPORT", m->worker);
}

static int on_WARNING(xd_check *c, const xd_wire_WARNING *m)
{
    return check_mention(c, "WARNING", m->item);
}

static int on_SUITE_PROPERTY(xd_check *c, const xd_wire_SUITE_PROPERTY *m)
{
    return m->worker == XD_NO_WORKER ? 0 : check_worker(c, "SUITE_PROPERTY", m->worker);
}

static int on_SUMMARY(xd_check *c, const xd_wire_SUMMARY *m)
{
    return check_worker(c, "SUMMARY", m->worker);
}

static int take_result(xd_check *c, const xd_wire_RESULT *one)
{
    const char *beyond = xd_wire_RESULT_beyond(one);
    check_item *i = item_of(c, one->item);
    if (beyond)
        return wrong(c, "RESULTS", "%s of item %u is out of range", beyond, one->item);
    if (!i || i->attempt != one->attempt || i->state == ITEM_RETURNED)
        return wrong(c, "RESULTS", "item %u is not leased to it (attempt %u)", one->item,
                     (unsigned)one->attempt);
    if (one->flags & XD_RES_CLOSES) {
        if (i->state != ITEM_OPEN)
            return wrong(c, "RESULTS", "item %u is closed and was not open", one->item);
        i->state = ITEM_OVER;
        return 0;
    }
    if (i->state != ITEM_LEASED)
        return wrong(c, "RESULTS", "item %u has its outcome", one->item);
    i->state = one->flags & XD_RES_OPEN ? ITEM_OPEN : ITEM_OVER;
    return 0;
}

static int on_RESULTS(xd_check *c, const xd_wire_RESULTS *m)
{
    xd_wire_list   list = m->results;
    xd_wire_RESULT one;
    XD_TRY(check_worker(c, "RESULTS", m->worker));
    while (xd_wire_RESULT_next(&list, &one) == 1)
        XD_TRY(take_result(c, &one));
    return 0;
}

static int on_OUTPUT(xd_check *c, const xd_wire_OUTPUT *m)
{
    XD_TRY(m->worker != XD_NO_WORKER ? check_own(c, "OUTPUT", m->worker) : 0);
    return check_mention(c, "OUTPUT", m->item);
}

static int on_WORKER_UP(xd_check *c, const xd_wire_WORKER_UP *m)
{
    if (!is_its_worker(c, m->worker) || (m->replaces != XD_NO_WORKER && !is_its_worker(c, m->replaces)))
        return wrong(c, "WORKER_UP", "worker %s is none of this environment", name_of(c, m->worker).text);
    if (was_up(c, m->worker))
        return wrong(c, "WORKER_UP", "worker %s was up before", name_of(c, m->worker).text);
    c->up[m->worker / 8] |= (uint8_t)(1u << (m->worker % 8));
    return 0;
}

static int on_WORKER_DOWN(xd_check *c, const xd_wire_WORKER_DOWN *m)
{
    XD_TRY(check_own(c, "WORKER_DOWN", m->worker));
    return m->item == XD_NO_INDEX || item_of(c, m->item)
               ? 0
               : wrong(c, "WORKER_DOWN", "item %u was never leased to it", m->item);
}

static int on_RETURNED(xd_check *c, const xd_wire_RETURNED *m)
{
    xd_wire_list  list = m->ranges;
    xd_wire_RANGE r;
    if (m->request && m->request != c->request)
        return wrong(c, "RETURNED", "nobody asked with number %u", m->request);
    if (m->request)
        c->request = 0;
    while (xd_wire_RANGE_next(&list, &r) == 1)
        for (uint32_t i = r.first; i - r.first < r.count; i++) {
            check_item *item = item_of(c, i);
            if (!item || item->state != ITEM_LEASED || item->attempt != r.attempt)
                return wrong(c, "RETURNED", "item %u is not leased to it (attempt %u)", i,
                             (unsigned)r.attempt);
            item->state = ITEM_RETURNED;
        }
    return 0;
}

static int on_ENV_FAILED(xd_check *c, const xd_wire_ENV_FAILED *m)
{
    (void)m;
    return once(c, "ENV_FAILED", &c->failed);
}

static int on_PROGRESS(xd_check *c, const xd_wire_PROGRESS *m)
{
    xd_wire_list    list = m->running;
    xd_wire_RUNNING one;
    if (list.count > c->n_workers)
        return wrong(c, "PROGRESS", "%u items run on %u workers", list.count, c->n_workers);
    while (xd_wire_RUNNING_next(&list, &one) == 1) {
        if (!item_of(c, one.item))
            return wrong(c, "PROGRESS", "item %u was never leased to it", one.item);
        XD_TRY(check_own(c, "PROGRESS", one.worker));
    }
    return 0;
}

static int on_ENV_DONE(xd_check *c, const xd_wire_ENV_DONE *m)
{
    (void)m;
    if (!c->finish_sent)
        return wrong(c, "ENV_DONE", "before FINISH");
    c->phase = XD_PHASE_DONE;
    return 0;
}

static int on_BYE(xd_check *c, const xd_wire_BYE *m)
{
    (void)m;
    c->phase = XD_PHASE_OVER;
    return 0;
}

static int on_AGENT_NOTE(xd_check *c, const xd_wire_AGENT_NOTE *m)
{
    (void)c;
    (void)m;
    return 0;
}

#define CASE(NAME)                                                                        \
    case XD_MSG_##NAME: {                                                                 \
        xd_wire_##NAME m;                                                                 \
        if (xd_wire_##NAME##_decode(f->body, f->len, &m) < 0)                             \
            return wrong(c, #NAME, "malformed");                                          \
        const char *beyond = xd_wire_##NAME##_beyond(&m);                                 \
        return beyond ? wrong(c, #NAME, "%s is out of range", beyond) : on_##NAME(c, &m); \
    }

int xd_check_frame(xd_check *c, const xd_frame *f)
{
    const unsigned when = xd_wire_when(f->type);
    if (when && !(when & c->phase))
        return wrong(c, xd_wire_name(f->type), "it may not come %s", phase_text(c->phase));
    switch (f->type) {
        CASE(ENV_FACTS)
        CASE(HOST_CHECKED)
        CASE(CONFIG)
        CASE(COLLECT_IDS)
        CASE(COLLECTED)
        CASE(REPORT)
        CASE(WARNING)
        CASE(SUITE_PROPERTY)
        CASE(SUMMARY)
        CASE(RESULTS)
        CASE(OUTPUT)
        CASE(WORKER_UP)
        CASE(WORKER_DOWN)
        CASE(RETURNED)
        CASE(ENV_FAILED)
        CASE(PROGRESS)
        CASE(ENV_DONE)
        CASE(BYE)
        CASE(AGENT_NOTE)
    default:
        snprintf(c->why, sizeof(c->why), "record of type %u, which agents may not send", (unsigned)f->type);
        return -EPROTO;
    }
}
