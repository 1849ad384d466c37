/* actors/plan.c - see plan.h. */
#include "actors/plan.h"

#include <stdlib.h>
#include <string.h>

#include "actors/numprocesses.h"
#include "actors/refuse.h"
#include "gateways/command.h"
#include "gateways/transport.h"

static void gateway_release(xd_plan_gateway *g)
{
    for (size_t i = 0; i < g->n_ids; i++)
        free(g->ids[i]);
    free(g->ids);
    xd_xspec_release(&g->spec);
}

void xd_plan_release(xd_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        gateway_release(&p->gateways[i]);
    free(p->gateways);
    *p = XD_PLAN_INIT;
}

/* The next worker of this gateway is the one that the spec names. */
static int add_id(xd_plan_gateway *g, const char *id)
{
    char **ids = realloc(g->ids, (g->workers + 1) * sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    g->ids = ids;
    while (g->n_ids <= g->workers)
        ids[g->n_ids++] = NULL;
    ids[g->workers] = strdup(id);
    return ids[g->workers] ? 0 : -ENOMEM;
}

/* One more environment. Takes the spec on success. */
static int append(xd_plan *p, xd_xspec *spec, uint32_t workers, xd_error *err)
{
    if (p->count >= XD_PLAN_MAX)
        return xd_error_set(err, -EINVAL, "spec '%.200s': a run has at most %u environments", spec->text,
                            XD_PLAN_MAX);
    xd_plan_gateway *g = realloc(p->gateways, (p->count + 1) * sizeof(*g));
    if (!g)
        return -ENOMEM;
    p->gateways = g;
    g += p->count++;
    *g = (xd_plan_gateway){ .spec = *spec };
    *spec = (xd_xspec){ 0 };
    XD_TRY(g->spec.id ? add_id(g, g->spec.id) : 0);
    g->workers = workers;
    return 0;
}

/* Joins a spec to the gateway of its environment, or makes one. Takes the spec on success. */
static int add(xd_plan *p, xd_xspec *spec, uint32_t workers, xd_error *err)
{
    uint32_t         all = workers;
    xd_plan_gateway *same = NULL;
    for (size_t i = 0; i < p->count; i++) {
        all += p->gateways[i].workers;
        if (!same && xd_xspec_same_env(&p->gateways[i].spec, spec))
            same = &p->gateways[i];
    }
    if (same && (!same->workers || !workers))
        return xd_error_set(err, -EINVAL,
                            "spec '%.200s': another spec has the same environment, and cpus=auto says how "
                            "many workers it has",
                            spec->text);
    XD_TRY(xd_refuse_workers(spec, workers + (same ? same->workers : 0), all, err));
    if (!same)
        return append(p, spec, workers, err);
    XD_TRY(spec->id ? add_id(same, spec->id) : 0);
    XD_TRY(xd_xspec_anonymous(&same->spec));
    same->workers += workers;
    xd_xspec_release(spec);
    return 0;
}

/* --dist each-worker: an environment for every worker, of which nobody else has the text: the second one of a spec is "SPEC #2". */
static int add_alone(xd_plan *p, const xd_xspec *spec, uint32_t workers, xd_error *err)
{
    uint32_t before = 0;
    if (!workers)
        return xd_error_set(
            err, -EINVAL,
            "option --dist: each-worker must know how many workers there are, which auto does "
            "not say: -n N, or NUM* in front of the specs of --tx");
    for (size_t i = 0; i < p->count; i++)
        before += xd_xspec_same_env(&p->gateways[i].spec, spec) && !p->gateways[i].spec.id && !spec->id;
    for (uint32_t k = before; k < before + workers; k++) {
        xd_xspec   one;
        xd_autobuf text = XD_BUF_INIT;
        XD_TRY(xd_xspec_copy(&one, spec));
        int   r = k ? xd_buf_printf(&text, "%s #%u", spec->text, k + 1) : 0;
        char *own = r == 0 && k ? xd_bytes_dup(xd_buf_view(&text)) : NULL;
        if (own) {
            free(one.text);
            one.text = own;
        }
        r = k && !own ? -ENOMEM : append(p, &one, 1, err);
        if (r < 0) {
            xd_xspec_release(&one);
            return r;
        }
    }
    return 0;
}

/* What is wrong with it is said before anything is started. */
static int check_command(const xd_xspec *spec, xd_error *err)
{
    xd_autofree char **words = NULL;
    xd_error           why = { 0 };
    bool               direct;
    int                r = xd_gateway_command_words(spec->target, &words, &direct, &why);
    return r < 0 ? xd_error_set(err, r, "spec '%.200s': command=: %s", spec->text, why.text) : 0;
}

/* Nothing runs there: it is a way to other hosts. */
static int parse_proxy(xd_xspec *ret, const char *text, xd_error *err)
{
    XD_TRY(xd_xspec_parse(ret, text, err));
    return ret->id
               ? 0
               : xd_error_set(err, -EINVAL,
                              "option --px: spec '%.200s' has no id=, by which others could name it (via=)",
                              text);
}

/* The texts that become environments, and those of --px. */
typedef struct wanted_specs {
    char *const      *tx;
    size_t            count;
    const xd_strings *px;
    const xd_strings *tx_from, *px_from; /* see xd_found_options */
    xd_each           each;
} wanted_specs;

/* Of the spec with this number: says where it stands, if that is in a file. */
static int blame(const wanted_specs *w, size_t i, int r, xd_error *err)
{
    const xd_strings *from = i < w->count ? w->tx_from : w->px_from;
    const size_t      at = i < w->count ? i : i - w->count;
    if (r != -EINVAL || !err || at >= from->count)
        return r;
    const xd_error why = *err;
    return xd_error_set(err, r, "%.200s: %s", from->at[at], why.text);
}

/* The first spec that has the id of another. */
static size_t second_of_id(const xd_xspec *specs, size_t count)
{
    size_t n = 1;
    while (n < count && xd_xspec_distinct(specs, n, NULL) == 0)
        n++;
    return n - 1;
}

/* All of them, those of --px last, routed. The specs are the caller's to release also when it fails. */
static int parse_all(xd_xspec *specs, const wanted_specs *w, xd_error *err)
{
    const size_t all = w->count + w->px->count;
    int          r = 0;
    for (size_t i = 0; i < w->count && r == 0; i++)
        r = blame(w, i, xd_xspec_parse(&specs[i], w->tx[i], err), err);
    for (size_t i = w->count; i < all && r == 0; i++)
        r = blame(w, i, parse_proxy(&specs[i], w->px->at[i - w->count], err), err);
    if (r == 0 && (r = xd_xspec_distinct(specs, all, err)) < 0)
        r = blame(w, second_of_id(specs, all), r, err);
    for (size_t i = 0; i < all && r == 0; i++)
        r = blame(w, i, xd_xspec_route(&specs[i], specs, all, err), err);
    return r;
}

static int add_spec(xd_plan *p, xd_xspec *spec, xd_each each, const xd_numprocesses *n, xd_error *err)
{
    XD_TRY(xd_refuse_spec(spec, xd_transport_known(spec), err));
    XD_TRY(spec->kind == XD_SPEC_COMMAND ? check_command(spec, err) : 0);
    const uint32_t workers = xd_numprocesses_planned(n, spec->count);
    return each == XD_EACH_WORKER ? add_alone(p, spec, workers, err) : add(p, spec, workers, err);
}

static int add_all(xd_plan *p, const wanted_specs *w, const xd_numprocesses *n, xd_error *err)
{
    xd_xspec *specs = calloc(w->count + w->px->count + 1, sizeof(*specs));
    if (!specs)
        return -ENOMEM;
    int r = parse_all(specs, w, err);
    for (size_t i = 0; i < w->count && r == 0; i++)
        r = blame(w, i, add_spec(p, &specs[i], w->each, n, err), err);
    for (size_t i = 0; i < w->count + w->px->count; i++)
        xd_xspec_release(&specs[i]);
    free(specs);
    return r;
}

/* Seats for those who join. */
static int add_seats(xd_plan *p, const xd_config *cfg)
{
    const size_t     wanted = cfg->join_max ? (size_t)cfg->join_max : XD_JOIN_SEATS;
    const size_t     seats = XD_MIN(wanted, XD_PLAN_MAX - XD_MIN(p->count, XD_PLAN_MAX - 1));
    xd_plan_gateway *g = realloc(p->gateways, (p->count + seats) * sizeof(*g));
    if (!g)
        return -ENOMEM;
    p->gateways = g;
    for (size_t i = 0; i < seats; i++) {
        g[p->count] = (xd_plan_gateway){ .joins = true };
        XD_TRY(xd_xspec_join(&g[p->count].spec, "?"));
        p->count++;
    }
    return 0;
}

/* --min-workers, where all numbers are known. */
static int check_least(const xd_plan *p, uint32_t least, xd_error *err)
{
    uint32_t all = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (!p->gateways[i].workers)
            return 0;
        all += p->gateways[i].workers;
    }
    return least <= all
               ? 0
               : xd_error_set(err, -EINVAL, "option --min-workers: %u are wanted, and %u %s asked for", least,
                              all, all == 1 ? "worker is" : "workers are");
}

/* What cannot be together with hosts that join. */
static int check_listen(const xd_config *cfg, xd_error *err)
{
    if (xd_config_each(cfg) != XD_EACH_RUN)
        return xd_error_set(err, -EINVAL,
                            "option --listen: hosts cannot join a run in which each runs all tests");
    const char *dist = xd_config_dist(cfg);
    if (cfg->workers == 0 || (dist && strcmp(dist, "no") == 0))
        return xd_error_set(
            err, -EINVAL, "option --listen: hosts cannot join a run in one plain session (-n 0, --dist no)");
    if (cfg->join_max > (int)XD_JOIN_SEATS_MAX)
        return xd_error_set(err, -EINVAL, "option --join-max: at most %u hosts can join", XD_JOIN_SEATS_MAX);
    return 0;
}

static int check_alone(const xd_config *cfg, xd_error *err)
{
    const char *name = cfg->require.count ? "require" : cfg->join_max ? "join-max" : NULL;
    return name ? xd_error_set(err, -EINVAL, "option --%s: it is of use with --listen alone", name) : 0;
}

int xd_plan_make(xd_plan *ret, const xd_config *cfg, xd_error *err)
{
    char             here[] = "popen", *one[] = { here };
    const xd_strings none = { 0 };
    xd_plan          p = XD_PLAN_INIT;
    xd_numprocesses  n;
    xd_numprocesses_init(&n, cfg);
    const bool   listens = cfg->listen.count > 0, by_specs = xd_numprocesses_by_specs(&n);
    int          r = listens ? check_listen(cfg, err) : check_alone(cfg, err);
    wanted_specs w = { .tx = cfg->tx.at,
                       .count = cfg->tx.count,
                       .px = &cfg->px,
                       .tx_from = &cfg->found.tx_from,
                       .px_from = &cfg->found.px_from,
                       .each = xd_config_each(cfg) };
    if (!by_specs) {
        w.tx = one;
        w.count = 1;
        w.tx_from = &none;
    }
    if (r == 0 && (by_specs || !listens || cfg->workers != XD_WORKERS_UNSET))
        r = add_all(&p, &w, &n, err);
    p.named = p.count;
    if (r == 0 && listens)
        r = add_seats(&p, cfg);
    else if (r == 0)
        r = check_least(&p, (uint32_t)cfg->min_workers, err);
    if (r < 0) {
        xd_plan_release(&p);
        return r;
    }
    *ret = p;
    return 0;
}

bool xd_plan_asks_ahead(const xd_plan *p)
{
    return p->count == 1 && p->gateways[0].spec.kind != XD_SPEC_POPEN;
}
