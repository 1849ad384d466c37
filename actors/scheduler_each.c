/* scheduler_each.c - --dist each: environments that are sessions of their own. One that ends by itself - it could not collect, has no
 * tests, a test asked for the end - ends alone, and its exit code is one of those that the run's is the worst of. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "actors/exit_code.h"
#include "actors/scheduler_state.h"

bool xd_scheduler_each(const scheduler *self)
{
    return xd_config_each(self->args.config) != XD_EACH_RUN;
}

bool xd_scheduler_enough(const scheduler *self)
{
    return xd_scheduler_each(self) && self->options.maxfail && self->state == XD_RUN_TESTING &&
           self->failures + self->home_errors >= self->options.maxfail;
}

int xd_scheduler_end_own(scheduler *self, gateway *g, int code)
{
    collection *c = g->collection;
    if (c->code < 0)
        c->code = code;
    if (c->running)
        return c->done || xd_scheduler_closes(self) ? 0 : xd_sched_cancel(c->sched, XD_CANCEL_GRACE);
    if (g->state >= GW_FINISHING || xd_scheduler_closes(self))
        return 0;
    g->over = true;
    XD_TRY(xd_scheduler_happens(self, XD_RUN_ON_ENV_LEAVES, g));
    return xd_scheduler_look(self);
}

int xd_scheduler_own_failed(scheduler *self, gateway *g, int code)
{
    collection *c = g->collection;
    const bool  runs = c->running && !xd_scheduler_closes(self);
    if (runs)
        XD_TRY(xd_sched_agent_up(c->sched, g->number, 0)); /* nobody is left there who could run an item */
    XD_TRY(xd_scheduler_end_own(self, g, code));
    return runs ? xd_scheduler_drain(self, c) : 0;
}

int xd_scheduler_own_session(scheduler *self, gateway *g, int code, xd_bytes reason)
{
    collection *c = g->collection;
    if (c->code >= 0)
        return 0;
    if (self->n_gateways > 1)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_WARNING, "%s ends with exit code %d%s%.*s", g->spec_text, code,
                                 reason.len ? ": " : "", (int)XD_MIN(reason.len, (size_t)400),
                                 (const char *)reason.ptr));
    XD_TRY(xd_scheduler_end_own(self, g, code));
    return c->running && !xd_scheduler_closes(self) ? xd_scheduler_drain(self, c) : 0;
}

int xd_scheduler_own_code(const scheduler *self, const collection *c)
{
    /* What --maxfail kept from running is missing nowhere: whose tests failed says so. */
    const bool enough = self->options.maxfail && self->failures + self->home_errors >= self->options.maxfail;
    const xd_exit_facts facts = {
        .forced = c->code,
        .zero_asked = self->gateways[c->number].zero,
        .agreed = c->list != NULL,
        .collected = c->count,
        .recorded = enough     ? c->count
                    : c->sched ? xd_sched_stats_get(c->sched)->recorded
                               : 0,
        .failures = c->failures,
        .collect_errors = c->collect_errors,
    };
    return xd_exit_code(&facts);
}

int xd_scheduler_worst_code(const scheduler *self)
{
    const int most = self->options.max_warnings;
    int       worst = -1;
    for (size_t i = 0; i < self->n_collections; i++) {
        const collection *c = &self->collections[i];
        if (!c->list && c->code < 0)
            continue; /* the run began without it, or it was lost: `missing` says whether that counts */
        const int code = xd_scheduler_own_code(self, c);
        worst = worst < 0 ? code : xd_exit_worse(worst, code);
    }
    if (worst < 0)
        worst = XD_EXIT_INFRASTRUCTURE;
    if (self->missing || xd_scheduler_too_few(self))
        worst = xd_exit_worse(worst, XD_EXIT_INFRASTRUCTURE);
    if (self->bad_end)
        worst = xd_exit_worse(worst, XD_EXIT_FAILED);
    if (worst == XD_EXIT_OK && most >= 0 && self->warnings > (uint32_t)most)
        worst = XD_EXIT_MAX_WARNINGS;
    return worst;
}

/* ---- what failed anywhere ------------------------------------------------------------------------------------ */

struct xd_scheduler_names {
    uint64_t *slots; /* hashes of names; 0 = free */
    size_t    mask;
};

static uint64_t hash_of(const collection *c, uint32_t item)
{
    const xd_bytes id = c->list->items[item].id;
    return XXH3_64bits(id.ptr, id.len) | 1;
}

static uint64_t *slot_of(const struct xd_scheduler_names *n, uint64_t hash)
{
    size_t at = (size_t)(hash >> 1) & n->mask;
    while (n->slots[at] && n->slots[at] != hash)
        at = (at + 1) & n->mask;
    return &n->slots[at];
}

bool xd_scheduler_failed(const collection *c, uint32_t item)
{
    const uint8_t out = xd_sched_outcome(c->sched, item);
    return out != XD_OUT_NONE && out != XD_OUT_NOT_RUN && (xd_outcome_fails(out) || c->reported[item].ever);
}

int xd_scheduler_failed_anywhere(const scheduler *self, struct xd_scheduler_names **ret)
{
    size_t count = 0, room = 16;
    *ret = NULL;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < self->n_collections; i++) {
            const collection *c = &self->collections[i];
            for (uint32_t k = 0; c->sched && k < c->count; k++) {
                if (!xd_scheduler_failed(c, k))
                    continue;
                count++;
                if (pass)
                    *slot_of(*ret, hash_of(c, k)) = hash_of(c, k);
            }
        }
        if (pass)
            return 0;
        while (room < 2 * count)
            room *= 2;
        struct xd_scheduler_names *n = malloc(sizeof(*n));
        if (!n)
            return -ENOMEM;
        *n = (struct xd_scheduler_names){ .slots = calloc(room, sizeof(*n->slots)), .mask = room - 1 };
        *ret = n;
        if (!n->slots)
            return -ENOMEM;
    }
    return 0;
}

bool xd_scheduler_failed_there(const struct xd_scheduler_names *n, const collection *c, uint32_t item)
{
    return n && *slot_of(n, hash_of(c, item)) != 0;
}

void xd_scheduler_names_free(struct xd_scheduler_names *n)
{
    if (n)
        free(n->slots);
    free(n);
}
