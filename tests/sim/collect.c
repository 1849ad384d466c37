/* collect.c - see sim.h: the collection core on virtual time. Environments collect at their own pace, some the same tests,
 * some in another order, some others; lists travel in parts; environments are lost at any time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/collect.h"
#include "tests/sim/sim.h"

#define ENVIRONMENTS 6u
#define TESTS 40u
#define ORDERS 3u
#define VERDICTS 64u /* commands that a run can have at most, by far */

typedef struct environment {
    uint32_t count, test[TESTS + 3];
    uint64_t digest;
    uint32_t sent;                      /* of its list, so far */
    bool     told, lost, asked, agreed; /* agreed: in this order or in another */
    bool     different, unknown, complete;
} environment;

#define ALL_TESTS (TESTS + 3u * ENVIRONMENTS)

typedef struct collect_world {
    sim_world   w; /* clock, random numbers, hash, fault */
    xd_collect *core;
    environment env[ENVIRONMENTS];
    uint32_t    n;
    uint32_t    guests;      /* from this one on environments bring no tests when others run already */
    bool        each, ended; /* ended: nobody can say whether tests differ */
    uint32_t    all[ALL_TESTS], n_all; /* tests of the shared collection that the agreed list does not have */
    xd_buf     *kept[ENVIRONMENTS * (TESTS + 2)];
    size_t      n_kept;
} collect_world;

/* ---- what they have ---------------------------------------------------------------------------------- */

static uint64_t digest_of(const environment *e)
{
    uint64_t h = 0xcbf29ce484222325ull + e->count;
    for (uint32_t i = 0; i < e->count; i++)
        h = (h ^ e->test[i]) * 0x100000001b3ull;
    return h;
}

static void shuffle(environment *e, uint64_t order)
{
    for (uint32_t i = e->count; i > 1; i--) {
        order = order * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t k = (uint32_t)(order >> 33) % i, t = e->test[i - 1];
        e->test[i - 1] = e->test[k];
        e->test[k] = t;
    }
}

static void make_environments(collect_world *c)
{
    sim_world *w = &c->w;
    uint32_t   n = sim_chance(w, 10) ? 0 : 1 + sim_rand(w, TESTS), names = 1 + sim_rand(w, 2 * n + 1);
    uint32_t   base[TESTS];
    for (uint32_t i = 0; i < n; i++)
        base[i] = names > n ? i : sim_rand(w, names); /* else some have the same name */
    c->n = 1 + sim_rand(w, ENVIRONMENTS);
    c->each = sim_chance(w, 30);
    c->guests = sim_rand(w, c->n + 1);
    for (uint32_t i = 0; i < c->n; i++) {
        environment *e = &c->env[i];
        e->count = n;
        memcpy(e->test, base, n * sizeof *base);
        if (sim_chance(w, 35))
            shuffle(e, w->seed + sim_rand(w, ORDERS)); /* several may have the same order */
        if (sim_chance(w, 12)) {
            if (n && sim_chance(w, 50))
                e->count--;
            for (uint32_t k = sim_rand(w, 3); k > 0; k--)
                e->test[e->count++] = 1000 + sim_rand(w, 4);
        }
        e->digest = digest_of(e);
        sim_at(w, sim_between(w, 0, SEC), (sim_event){ .kind = EV_COLLECTED, .a = i });
        if (sim_chance(w, 25))
            sim_at(w, sim_between(w, 0, 2 * SEC), (sim_event){ .kind = EV_COLLECT_LOST, .a = i });
    }
}

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool same_tests(const environment *a, const environment *b)
{
    environment x = *a, y = *b;
    qsort(x.test, x.count, sizeof *x.test, by_value);
    qsort(y.test, y.count, sizeof *y.test, by_value);
    return x.count == y.count && memcmp(x.test, y.test, x.count * sizeof *x.test) == 0;
}

/* ---- what the core says ------------------------------------------------------------------------------- */

static void send_list(collect_world *c, uint32_t a)
{
    sim_world   *w = &c->w;
    environment *e = &c->env[a];
    uint64_t     at = w->now;
    if (!e->told || e->lost || e->asked)
        sim_fault(w, "environment %u is asked for its list: told %d, lost %d, asked %d", a, e->told, e->lost,
                  e->asked);
    for (uint32_t i = 0; i < c->n; i++) {
        const environment *o = &c->env[i];
        if (i != a && o->digest == e->digest && o->asked && (!o->lost || o->sent == o->count))
            sim_fault(w, "environment %u is asked for the list that %u has or sends", a, i);
    }
    e->asked = true;
    for (uint32_t first = 0; first < e->count;) {
        uint32_t count = 1 + sim_rand(w, e->count - first);
        at += sim_between(w, 0, 300 * MS);
        sim_at(w, at, (sim_event){ .kind = EV_LIST_PART, .a = a, .b = first, .c = count });
        first += count;
    }
}

/* What the collection has at this place: the tests of the agreed list, then those that were appended. */
static uint32_t test_at(const collect_world *c, const environment *owner, uint32_t place)
{
    return place < owner->count ? owner->test[place] : c->all[place - owner->count];
}

/* Each test of the environment stands at one place at most; where it has none, none of its tests is left for it. */
static void check_places(collect_world *c, const environment *e, const environment *owner,
                         xd_wire_list places)
{
    bool           had[TESTS + 3] = { false }, moved = false;
    const uint32_t most = owner->count + c->n_all;
    uint32_t       i = 0, missing[ALL_TESTS + 1], n_missing = 0, met = 0;
    xd_wire_INDEX  one;
    for (; xd_wire_INDEX_next(&places, &one) == 1 && i < most; i++) {
        if (one.item == XD_NO_INDEX && e->different) {
            missing[n_missing++] = test_at(c, owner, i);
            continue;
        }
        if (one.item >= e->count || had[one.item] || e->test[one.item] != test_at(c, owner, i)) {
            sim_fault(&c->w, "test %u of the collection is not at place %u", i, one.item);
            return;
        }
        had[one.item] = true;
        moved = moved || one.item != i;
        met++;
    }
    for (uint32_t k = 0; k < e->count; k++) {
        if (had[k])
            continue;
        if (!e->different || !c->env[0].complete || c->guests > c->n - 1)
            sim_fault(&c->w, "test %u of an environment has no place", e->test[k]);
        for (uint32_t m = 0; m < n_missing; m++)
            if (missing[m] == e->test[k])
                sim_fault(&c->w, "test %u of an environment is called missing", e->test[k]);
    }
    if (i < owner->count || (!e->different && (i != owner->count || !moved)))
        sim_fault(&c->w, "%u places for %u tests, moved %d, met %u", i, owner->count, moved, met);
}

static void take_more(collect_world *c, const xd_collect_command *cmd)
{
    const uint16_t owner = xd_collect_owner(c->core, 0);
    xd_wire_list   ids = cmd->more.ids;
    xd_wire_NODEID one;
    if (owner != cmd->gateway || c->each || (c->env[0].complete && !c->guests) ||
        cmd->more.first != c->env[owner].count + c->n_all)
        sim_fault(&c->w, "tests are appended from %u on, complete %d", cmd->more.first, c->env[0].complete);
    while (xd_wire_NODEID_next(&ids, &one) == 1 && c->n_all < ALL_TESTS) {
        unsigned number = 0;
        char     name[40];
        snprintf(name, sizeof name, "%.*s", (int)one.id.len, (const char *)one.id.ptr);
        if (one.shared || sscanf(name, "test_it.py::test_%u", &number) != 1)
            sim_fault(&c->w, "a name that nobody has: %s", name);
        c->all[c->n_all++] = number;
    }
}

static void check_verdict(collect_world *c, const xd_collect_command *cmd)
{
    sim_world         *w = &c->w;
    environment       *e = &c->env[cmd->gateway];
    const uint16_t     owner = xd_collect_owner(c->core, cmd->collection);
    const environment *o = owner < c->n ? &c->env[owner] : NULL;
    if (!e->told || e->lost || e->agreed || e->unknown || (e->different && cmd->kind != XD_COLLECT_REORDER))
        sim_fault(w, "a second verdict on environment %u, or one too early", cmd->gateway);
    if (cmd->collection != (c->each ? cmd->gateway : 0))
        sim_fault(w, "environment %u has collection %u", cmd->gateway, cmd->collection);
    if (cmd->kind == XD_COLLECT_UNKNOWN) {
        e->unknown = c->ended = true;
        return;
    }
    if (!o) {
        sim_fault(w, "a verdict without a list");
        return;
    }
    if (cmd->kind == XD_COLLECT_DIFFERENT) {
        xd_autobuf text = XD_BUF_INIT;
        e->different = true;
        if (same_tests(e, o) || xd_collect_describe(c->core, cmd->gateway, "a", "b", &text) < 0 || !text.len)
            sim_fault(w, "environment %u does not differ", cmd->gateway);
        return;
    }
    e->agreed = true;
    if (!same_tests(e, o) && !e->different)
        sim_fault(w, "environment %u has other tests", cmd->gateway);
    if (cmd->kind == XD_COLLECT_REORDER)
        check_places(c, e, o, cmd->places);
    else if (e->digest != o->digest)
        sim_fault(w, "environment %u has another order", cmd->gateway);
}

static void check_complete(collect_world *c, const xd_collect_command *cmd)
{
    sim_world         *w = &c->w;
    const environment *o = &c->env[cmd->gateway];
    environment       *e = &c->env[cmd->collection];
    if (e->complete || c->ended)
        sim_fault(w, "collection %u is complete again, or although tests differ", cmd->collection);
    if (o->sent != o->count || (c->each && o->digest != e->digest))
        sim_fault(w, "collection %u is complete without its list", cmd->collection);
    for (uint32_t i = 0; i < c->n && !c->each; i++)
        if (c->env[i].told && !c->env[i].lost && !c->env[i].agreed)
            sim_fault(w, "tests begin, and those of environment %u are not compared", i);
    e->complete = true;
}

static void pump(collect_world *c)
{
    xd_collect_command cmd;
    int                r;
    for (uint32_t n = 0; (r = xd_collect_next(c->core, &cmd)) == 1 && n < VERDICTS && !c->w.fault[0]; n++) {
        sim_hash(&c->w, (uint64_t)cmd.kind << 32 | (uint64_t)cmd.gateway << 16 | cmd.collection);
        if (c->w.trace)
            printf("%12.6f collect: command %d gateway %u collection %u\n", (double)c->w.now / 1e9, cmd.kind,
                   cmd.gateway, cmd.collection);
        if (cmd.gateway >= c->n)
            sim_fault(&c->w, "there is no environment %u", cmd.gateway);
        else if (cmd.kind == XD_COLLECT_SEND_LIST)
            send_list(c, cmd.gateway);
        else if (cmd.kind == XD_COLLECT_COMPLETE)
            check_complete(c, &cmd);
        else if (cmd.kind == XD_COLLECT_MORE)
            take_more(c, &cmd);
        else
            check_verdict(c, &cmd);
    }
    if (r)
        sim_fault(&c->w, "xd_collect_next: %d", r);
}

/* ---- what happens --------------------------------------------------------------------------------------- */

static int take_part(collect_world *c, environment *e, const sim_event *ev)
{
    xd_buf             *ids = c->kept[c->n_kept++] = sim_alloc(sizeof *ids);
    xd_wire_COLLECT_IDS in = { .first = ev->b };
    for (uint32_t i = 0; i < ev->c; i++) {
        char name[32];
        snprintf(name, sizeof name, "test_it.py::test_%u", e->test[ev->b + i]);
        xd_wire_NODEID one = { .id = xd_bytes_str(name), .line = -1 };
        XD_TRY(xd_wire_NODEID_append(ids, &one));
    }
    e->sent += ev->c;
    in.ids = (xd_wire_list){ .count = ev->c, .ptr = ids->data, .len = ids->len };
    int r = xd_collect_ids(c->core, (uint16_t)ev->a, &in);
    return XD_MIN(r, 0);
}

static void happen(collect_world *c, const sim_event *ev)
{
    environment *e = &c->env[ev->a];
    int          r = 0;
    if (e->lost)
        return;
    if (ev->kind == EV_COLLECTED) {
        xd_wire_COLLECTED in = { .count = e->count, .digest_lo = e->digest, .exit_status = -1 };
        e->told = true;
        r = xd_collect_collected(c->core, (uint16_t)ev->a, &in);
    } else if (ev->kind == EV_LIST_PART) {
        r = take_part(c, e, ev);
    } else {
        e->lost = true;
        r = xd_collect_lost(c->core, (uint16_t)ev->a);
    }
    if (r < 0)
        sim_fault(&c->w, "event %u of environment %u is refused: %d", ev->kind, ev->a, r);
    pump(c);
}

static void check_end(collect_world *c)
{
    sim_world *w = &c->w;
    bool       live = false;
    for (uint32_t i = 0; i < c->n; i++) {
        const environment *e = &c->env[i];
        live = live || !e->lost;
        if (c->each && !e->lost && !e->complete)
            sim_fault(w, "stuck: environment %u never begins", i);
        if (!c->ended && !e->lost && !e->agreed)
            sim_fault(w, "stuck: nothing is known of environment %u", i);
    }
    if (!c->each && !c->ended && live && !c->env[0].complete)
        sim_fault(w, "stuck: no test begins");
    if (!c->ended && !xd_collect_over(c->core, (uint16_t)c->n))
        sim_fault(w, "it is not over");
}

uint64_t sim_collect(uint64_t seed, bool trace, char fault[256], uint64_t *events)
{
    collect_world c = { .w = { .trace = trace, .seed = seed } };
    sim_event     ev;
    c.w.rng = seed * 0x9e3779b97f4a7c15ull + 0x2545f491ull;
    c.w.hash = 0xcbf29ce484222325ull;
    for (int i = 0; i < 8; i++)
        (void)sim_rand(&c.w, 2);
    make_environments(&c);
    if (xd_collect_new(&c.core, c.each, (uint16_t)c.guests) < 0)
        sim_fault(&c.w, "no core");
    while (!c.w.fault[0] && sim_pop(&c.w, &ev)) {
        sim_hash(&c.w, ev.at ^ (uint64_t)ev.kind << 40 ^ (uint64_t)ev.a << 32);
        happen(&c, &ev);
    }
    check_end(&c);
    memcpy(fault, c.w.fault, sizeof c.w.fault);
    *events += c.w.events;
    xd_collect_free(c.core);
    for (size_t i = 0; i < c.n_kept; i++) {
        xd_buf_release(c.kept[i]);
        free(c.kept[i]);
    }
    free(c.w.heap);
    return c.w.hash;
}
