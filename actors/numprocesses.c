/* actors/numprocesses.c - see numprocesses.h. */
#include "actors/numprocesses.h"

#include <string.h>

void xd_numprocesses_init(xd_numprocesses *ret, const xd_config *cfg)
{
    *ret = (xd_numprocesses){ .own = cfg->workers,
                              .own_limit = (uint32_t)XD_MAX(cfg->max_workers, 0),
                              .own_no = xd_config_dist(cfg) && strcmp(xd_config_dist(cfg), "no") == 0,
                              .own_tx = cfg->tx.count,
                              .project = XD_WORKERS_AUTO };
}

/* As in xdist: -n wins over --tx. */
bool xd_numprocesses_by_specs(const xd_numprocesses *n)
{
    return n->own == XD_WORKERS_UNSET && n->own_tx > 0;
}

uint32_t xd_numprocesses_planned(const xd_numprocesses *n, uint32_t of_specs)
{
    if (xd_numprocesses_by_specs(n))
        return of_specs;
    if (n->own < 0)
        return 0;
    uint32_t number = (uint32_t)XD_MAX(n->own, 1); /* -n 0 is one process */
    return n->own_limit ? XD_MIN(number, n->own_limit) : number;
}

/* -n of xd's command line, else of the project, else the sum of the project's --tx. */
static int wanted(const xd_numprocesses *n)
{
    if (n->own != XD_WORKERS_UNSET)
        return n->own;
    if (n->project == XD_WORKERS_AUTO && n->project_tx)
        return (int)XD_MIN(n->project_tx, XD_WORKERS_MAX);
    return n->project;
}

uint32_t xd_numprocesses_counted(const xd_numprocesses *n, const xd_numprocesses_host *host,
                                 uint32_t *ret_without)
{
    const bool of_host = xd_numprocesses_by_specs(n); /* cpus=auto: what -n and its limits say is not asked */
    const int  number = of_host ? XD_WORKERS_LOGICAL : wanted(n);
    const uint32_t automatic = of_host ? 0 : n->automatic;
    const bool     open = number < 0 && !automatic;
    const uint32_t limit = of_host ? 0 : n->own_limit ? n->own_limit : n->project_limit;
    const uint32_t cpus = number == XD_WORKERS_AUTO && n->cores ? XD_MIN(host->cpus, n->cores) : host->cpus;
    uint32_t       count = number >= 0 ? (uint32_t)number : automatic ? automatic : cpus;
    if (!of_host && xd_numprocesses_plain(n, 1, 1))
        count = 1;
    else if (limit)
        count = XD_MIN(count, limit);
    if (open)
        count = XD_MIN(count, host->items); /* told numbers are kept: tests may count workers */
    count = XD_MIN(XD_MAX(count, 1), XD_WORKERS_MAX);
    if (ret_without)
        *ret_without = count;
    return open && host->room ? XD_MIN(count, host->room) : count;
}

/* -n 0, or --dist no where nothing else tells how many. The project's own -n 0 is the adapter's to see: it stands in
 * options that pytest alone reads. */
bool xd_numprocesses_plain(const xd_numprocesses *n, size_t environments, uint32_t workers)
{
    if (n->own != XD_WORKERS_UNSET)
        return n->own == 0;
    return n->own_no && environments == 1 && (workers == 1 || (workers == 0 && !n->own_tx));
}
