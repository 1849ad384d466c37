/* sync.c - see sync.h: one seed of the simulated synchronisation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sync.h"

static void make_world(sy_world *w, uint64_t seed)
{
    w->sim.seed = seed;
    w->sim.rng = seed * 0x9e3779b97f4a7c15ull | 1;
    for (int i = 0; i < 8; i++)
        (void)sy_rand(w, 1);
    xd_chunker_init(&w->chunker);
    w->defaults = sy_chance(w, 60);
    sy_tree_make(w);
    sy_globs_new(w);
    w->n_hosts = 1 + sy_rand(w, SY_HOSTS);
    for (uint32_t i = 0; i < w->n_hosts; i++) {
        const sy_entry base = { .path = "", .type = XD_SYNC_FOLDER, .mode = 0755 };
        w->host[i] = sim_alloc(sizeof *w->host[i]);
        (void)sy_add(&w->host[i]->tree, &base);
        for (uint32_t k = sy_chance(w, 20) ? sy_rand(w, 5) : 0; k > 0; k--)
            sy_tree_meddle(w, &w->host[i]->tree);
    }
}

static void free_world(sy_world *w)
{
    for (uint32_t i = 0; i < w->n_hosts; i++) {
        sy_host_reset(w->host[i]);
        xd_manifest_free(w->host[i]->state);
        free(w->host[i]);
    }
    for (uint32_t i = 0; i < w->versions; i++)
        xd_manifest_free(w->version[i].manifest);
    xd_chunk_store_release(&w->lists);
    xd_plan_free(w->plan);
    xd_ignore_free(w->first);
    xd_arena_release(&w->arena);
}

/* The tree at home becomes another one. */
static void edit(sy_world *w, uint32_t step)
{
    for (uint32_t i = step ? sy_rand(w, 6) : 0; i > 0; i--)
        sy_tree_edit(w);
    if (step && sy_chance(w, 5))
        sy_globs_new(w);
    sy_roots_choose(w); /* what is named must stand there */
    sy_rules_first(w);
}

static void check_version(sy_world *w, const sy_version *v)
{
    sy_check_manifest(w, v->manifest, &v->tree);
    if (!sy_ok(w))
        return;
    sy_check_diff(w, NULL, v);
    sy_check_diff(w, &w->version[sy_rand(w, w->versions)], v); /* it may be this one */
    sy_check_diff(w, &w->version[w->versions - 1 - (w->versions > 1)], v);
    sy_check_twins(w, v);
    sy_check_records(w, sy_chance(w, 20) ? NULL : &w->version[sy_rand(w, w->versions)], v);
}

/* What home believes of a host may be wrong, or lost. */
static void forget(sy_world *w, sy_host *h)
{
    if (sy_chance(w, 6))
        h->believed = NULL;
    else if (sy_chance(w, 10))
        h->believed = &w->version[sy_rand(w, w->versions)];
    if (sy_chance(w, 4))
        h->state = xd_manifest_free(h->state);
}

static uint64_t run_seed(uint64_t seed, bool trace, char fault[256], uint64_t *events)
{
    sy_world *w = sim_alloc(sizeof *w);
    w->sim.trace = trace;
    make_world(w, seed);
    for (uint32_t step = 0, steps = 1 + sy_rand(w, SY_STEPS); step < steps && sy_ok(w); step++) {
        sy_version *v = &w->version[w->versions++];
        edit(w, step);
        sy_scan(w, v);
        sim_hash(&w->sim, v->manifest ? xd_manifest_digest(v->manifest).lo : 0);
        if (trace)
            printf("step %u: %u names at home, %u are brought, %u roots\n", step, w->home.n, v->tree.n,
                   w->n_roots);
        if (sy_ok(w))
            check_version(w, v);
        for (uint32_t i = 0; i < w->n_hosts && sy_ok(w); i++) {
            if (!sy_chance(w, 75))
                continue;
            for (uint32_t k = sy_chance(w, 25) ? 1 + sy_rand(w, 3) : 0; k > 0; k--)
                sy_tree_meddle(w, &w->host[i]->tree);
            if (trace)
                printf("  host %u\n", i);
            sy_bring(w, w->host[i], v);
            forget(w, w->host[i]);
        }
    }
    if (sy_ok(w) && sy_rand(w, 100) == 0)
        sy_check_large(w);
    memcpy(fault, w->sim.fault, sizeof w->sim.fault);
    *events += w->sim.events;
    const uint64_t hash = w->sim.hash;
    free_world(w);
    free(w);
    return hash;
}

int main(int argc, char **argv)
{
    return sim_main(argc, argv, run_seed);
}
