/* scheduler_sets.c - environments whose tests differ: which of them has what (collect.h: DIFFERENT, MORE, REORDER), and from that who can run
 * which item (sched.h: sets).  Every environment has the items of set 0; each other set is what the same few have. */
#include <stdlib.h>
#include <string.h>

#include "actors/scheduler_state.h"
#include "engine/base/hash.h"

#define SETS_MAX UINT16_MAX

int xd_scheduler_on_more(scheduler *self, gateway *owner, const xd_msg *m)
{
    collection         *c = owner->collection;
    xd_autobuf          frame = XD_BUF_INIT;
    xd_frame            f;
    xd_wire_COLLECT_IDS in;
    XD_TRY(xd_msg_frame(m, &f));
    XD_TRY(xd_wire_COLLECT_IDS_decode(f.body, f.len, &in));
    XD_TRY(xd_wire_COLLECT_IDS_frame(&frame, 0, 0, &in));
    if (!c->more)
        c->agreed = owner->count;
    c->more += in.ids.count;
    owner->count += in.ids.count;
    XD_TRY(xd_idlist_add(&owner->list, in.ids));
    if (c->list && !c->sched) /* the list was whole, and the tests wait for an environment that starts */
        c->count = owner->count;
    /* Whoever reads the journal finds them behind those of the list that counts. */
    return xd_scheduler_record_of(self, owner->number, XD_MSG_COLLECT_IDS, &frame);
}

int xd_scheduler_take_places(gateway *g, const xd_msg *m)
{
    xd_frame        f;
    xd_wire_REORDER in;
    xd_wire_INDEX   place;
    if (!g->differs)
        return 0;
    XD_TRY(xd_msg_frame(m, &f));
    XD_TRY(xd_wire_REORDER_decode(f.body, f.len, &in));
    g->has = calloc(in.places.count / 8 + 1u, 1);
    if (!g->has)
        return -ENOMEM;
    for (; xd_wire_INDEX_next(&in.places, &place) == 1; g->n_has++)
        if (place.item != XD_NO_INDEX)
            g->has[g->n_has / 8] |= (uint8_t)(1u << g->n_has % 8);
    return 0;
}

static bool has(const collection *c, const gateway *g, uint32_t item)
{
    if (!g->has)
        return !c->more || item < c->agreed;
    return item < g->n_has && g->has[item / 8] >> item % 8 & 1;
}

static bool counts(const gateway *g, const collection *c)
{
    return g->collection == c && g->known && !g->dropped && !g->gone && g->state < GW_FINISHING;
}

bool xd_scheduler_others_have(const scheduler *self, const collection *c, uint32_t item)
{
    for (size_t i = 0; i < self->n_gateways; i++)
        if (counts(&self->gateways[i], c) && has(c, &self->gateways[i], item))
            return true;
    return false;
}

/* Whoever has the same list is looked at once. */
static bool seen_before(const scheduler *self, size_t number)
{
    const gateway *g = &self->gateways[number];
    for (size_t i = 0; i < number; i++) {
        const gateway *o = &self->gateways[i];
        if (counts(o, g->collection) && o->digest_lo == g->digest_lo && o->digest_hi == g->digest_hi)
            return true;
    }
    return false;
}

/* Of each item a number that stands for those who lack it; 0 = nobody does. */
static void mark_missing(const scheduler *self, const collection *c, uint64_t *marks)
{
    uint64_t step = 0;
    for (size_t k = 0; k < self->n_gateways; k++) {
        const gateway *g = &self->gateways[k];
        if (!counts(g, c) || seen_before(self, k))
            continue;
        step++;
        for (uint32_t i = 0; i < c->count; i++)
            if (!has(c, g, i))
                marks[i] = (marks[i] ^ step) * 0x9e3779b97f4a7c15ull;
    }
}

typedef struct mark {
    uint64_t       value;
    uint16_t       set;
    UT_hash_handle hh;
} mark;

static int number_sets(collection *c, const uint64_t *marks, mark *pool)
{
    mark    *table = NULL, *m;
    uint32_t n = 0;
    int      r = 0;
    for (uint32_t i = 0; i < c->count && r == 0; i++) {
        if (!marks[i])
            continue;
        HASH_FIND(hh, table, &marks[i], sizeof(marks[i]), m);
        if (!m && n == SETS_MAX) {
            r = -E2BIG;
        } else if (!m) {
            m = &pool[n++];
            *m = (mark){ .value = marks[i], .set = (uint16_t)n };
            HASH_ADD(hh, table, value, sizeof(m->value), m);
            r = m->hh.tbl ? 0 : -ENOMEM;
        }
        if (r == 0)
            c->sets[i] = m->set;
    }
    c->n_sets = n + 1;
    HASH_CLEAR(hh, table);
    return r;
}

int xd_scheduler_make_sets(const scheduler *self, collection *c)
{
    const size_t room = c->count + 1u;
    bool         any = c->more != 0;
    for (size_t k = 0; k < self->n_gateways; k++)
        any = any || (self->gateways[k].collection == c && self->gateways[k].has);
    if (!any)
        return 0;
    xd_autofree uint64_t *marks = calloc(room, sizeof(*marks));
    xd_autofree mark     *pool = calloc(XD_MIN(room, (size_t)SETS_MAX), sizeof(*pool));
    free(c->sets);
    c->sets = calloc(room, sizeof(*c->sets));
    if (!marks || !pool || !c->sets)
        return -ENOMEM;
    mark_missing(self, c, marks);
    return number_sets(c, marks, pool);
}

static int more_room(collection *c, uint32_t count)
{
    item_reported *reported = realloc(c->reported, (count + 1u) * sizeof(*reported));
    if (!reported)
        return -ENOMEM;
    c->reported = reported;
    memset(reported + c->count, 0, (count - c->count) * sizeof(*reported));
    if (!c->messages)
        return 0;
    char **messages = realloc(c->messages, (count + 1u) * sizeof(*messages));
    if (!messages)
        return -ENOMEM;
    c->messages = messages;
    memset(messages + c->count, 0, (count - c->count) * sizeof(*messages));
    return 0;
}

int xd_scheduler_grow(scheduler *self, collection *c)
{
    const uint32_t             had = c->count, count = c->owner->count;
    xd_autofree xd_sched_item *items = calloc(count - had + 1u, sizeof(*items));
    if (!items)
        return -ENOMEM;
    XD_TRY(more_room(c, count));
    c->count = count;
    XD_TRY(xd_scheduler_make_sets(self, c));
    xd_scheduler_items(self, c, had, items);
    XD_TRY(xd_sched_more(c->sched, items, count - had, c->sets));
    c->done = c->held = false;
    for (size_t i = 0; i < self->n_gateways; i++)
        if (counts(&self->gateways[i], c)) {
            int r = xd_scheduler_tell_sets(&self->gateways[i]);
            XD_TRY(r);
        }
    return 0;
}

/* ---- why ------------------------------------------------------------------------------------------------------------ */

/* All lines that name a test name one with parameters. */
static bool only_parameters(xd_bytes text)
{
    const char *at = memchr(text.ptr, '\n', text.len), *end = (const char *)text.ptr + text.len;
    bool        any = false;
    while (at && ++at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at)), *stop = next ? next : end;
        if ((*at == '-' || *at == '+') && !memchr(at, '[', (size_t)(stop - at)))
            return false;
        any = any || *at == '-' || *at == '+';
        at = next;
    }
    return any;
}

/* The Python of the environment that it is compared with: any that has what was agreed on. */
static const gateway *other_of(const scheduler *self, const gateway *g)
{
    for (size_t i = 0; i < self->n_gateways; i++) {
        const gateway *o = &self->gateways[i];
        if (o != g && counts(o, g->collection) && !o->differs)
            return o;
    }
    return NULL;
}

int xd_scheduler_likely_cause(scheduler *self, const gateway *g, xd_bytes text)
{
    const gateway *o = other_of(self, g);
    if (o && *o->python && *g->python && strcmp(o->python, g->python) != 0)
        return xd_scheduler_note(
            self, XD_NOTE_ERROR,
            "likely cause: %s has Python %s, %s has %s. Tests that only some have run there", o->spec_text,
            o->python, g->spec_text, g->python);
    return xd_scheduler_note(
        self, XD_NOTE_ERROR, "likely cause: %s. Tests that only some have run there",
        only_parameters(text)
            ? "parameters that are not the same in each process, such as random numbers, times or addresses"
            : "tests or parameters that depend on the host, its environment, its packages, or on files that "
              "differ");
}

int xd_scheduler_tell_sets(const gateway *g)
{
    const collection *c = g->collection;
    const uint32_t    n = XD_MAX(c->n_sets, 1u);
    if (!c->sets && !g->has)
        return 0;
    xd_autofree bool *can = calloc(n, sizeof(*can));
    if (!can)
        return -ENOMEM;
    memset(can, true, n * sizeof(*can));
    for (uint32_t i = 0; i < c->count; i++)
        if (!has(c, g, i))
            can[c->sets ? c->sets[i] : 0] = false;
    XD_TRY(xd_sched_agent_sets(c->sched, g->number, can, n));
    return !can[0] && n == 1;
}
