/* actors/settings.c - see settings.h. */
#include "actors/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "actors/refuse.h"
#include "engine/base/mem.h"

#define RESTARTS_PER_WORKER 4u

void xd_settings_init(xd_settings *ret, const xd_config *cfg)
{
    *ret = (xd_settings){ .max_worker_restart = cfg->max_worker_restart,
                          .max_warnings = -1,
                          .mode = XD_SCHED_LOAD };
    xd_numprocesses_init(&ret->workers, cfg);
    if (xd_config_mode(cfg))
        (void)!xd_sched_mode_parse(&ret->mode, xd_config_mode(cfg)); /* looked at when it was set */
}

static int take_maxfail(xd_settings *s, const char *value, xd_error *err)
{
    int most = 1; /* of a negative number: pytest says that any number of failures is more */
    if (value[0] != '-')
        XD_TRY(xd_refuse_number("--maxfail", value, INT_MAX, &most, err));
    s->maxfail = (uint32_t)most;
    return 0;
}

static int take_numprocesses(xd_settings *s, const char *value, xd_error *err)
{
    if (!value[0])
        return 0;
    s->workers.project = strcmp(value, "logical") == 0 ? XD_WORKERS_LOGICAL : XD_WORKERS_AUTO;
    if (strcmp(value, "logical") == 0 || strcmp(value, "auto") == 0)
        return 0;
    return xd_refuse_number("-n", value, XD_WORKERS_MAX, &s->workers.project, err);
}

static int take_count(const char *option, const char *value, uint32_t most, uint32_t *ret, xd_error *err)
{
    int n;
    XD_TRY(xd_refuse_number(option, value, most, &n, err));
    *ret = (uint32_t)n;
    return 0;
}

/* It was read before the run was planned (project_options.c). */
static bool is_known(const xd_config *cfg, const char *spec)
{
    for (size_t i = 0; i < cfg->found.known.count; i++)
        if (strcmp(cfg->found.known.at[i], spec) == 0)
            return true;
    return false;
}

/* "no": the adapter has made -n 0 of it, where it counts. One that was not found then comes of a hook. */
static bool is_settled_dist(const xd_config *cfg, const char *value)
{
    return cfg->dist || cfg->load || !value[0] || strcmp(value, "no") == 0 ||
           (cfg->found.dist && strcmp(cfg->found.dist, value) == 0);
}

static int take(xd_settings *s, const xd_config *cfg, const char *name, const char *value, xd_error *err)
{
    if ((strcmp(name, "tx") == 0 || strcmp(name, "px") == 0) && is_known(cfg, value))
        return 0;
    if (strcmp(name, "maxfail") == 0)
        return take_maxfail(s, value, err);
    if (strcmp(name, "max_warnings") == 0)
        return xd_refuse_number("--max-warnings", value, INT_MAX, &s->max_warnings, err);
    if (strcmp(name, "numprocesses") == 0)
        return take_numprocesses(s, value, err);
    if (strcmp(name, "auto_num_workers") == 0) {
        XD_TRY(
            take_count("PYTEST_XDIST_AUTO_NUM_WORKERS", value, XD_WORKERS_MAX, &s->workers.automatic, err));
        s->workers.automatic = XD_MAX(s->workers.automatic, 1u); /* as -n 0, it is one process */
        return 0;
    }
    if (strcmp(name, "cores") == 0)
        return take_count("cores", value, UINT16_MAX, &s->workers.cores, err);
    if (strcmp(name, "maxprocesses") == 0)
        return take_count("--maxprocesses", value, 65535, &s->workers.project_limit, err);
    if (strcmp(name, "maxworkerrestart") == 0) {
        int most = 0;
        XD_TRY(xd_refuse_number("--max-worker-restart", value, XD_RESTARTS_MAX, &most, err));
        s->max_worker_restart = cfg->max_worker_restart >= 0 ? cfg->max_worker_restart : most;
        return 0;
    }
    if (strcmp(name, "dist") == 0)
        return is_settled_dist(cfg, value) ? 0 : xd_refuse_project_dist(value, &s->mode, err);
    if (strcmp(name, "tx") == 0)
        return cfg->tx.count
                   ? 0
                   : xd_refuse_project_tx(value, s->workers.project_tx, &s->workers.project_tx, err);
    if (strcmp(name, "loadscopereorder") == 0) {
        s->keep_scope_order = value[0] == '0' || value[0] == 'F';
        return 0;
    }
    return xd_refuse_option(name, value, err);
}

int xd_settings_read(xd_settings *s, const xd_config *cfg, const xd_wire_CONFIG *in, xd_error *err)
{
    xd_wire_list options = in->options;
    xd_wire_PAIR p;
    while (xd_wire_PAIR_next(&options, &p) == 1) {
        xd_autofree char *name = xd_bytes_dup(p.name), *value = xd_bytes_dup(p.value);
        if (!name || !value)
            return -ENOMEM;
        XD_TRY(take(s, cfg, name, value, err));
    }
    return 0;
}

uint16_t xd_settings_restarts(const xd_settings *s, uint32_t workers)
{
    if (s->max_worker_restart >= 0)
        return (uint16_t)s->max_worker_restart;
    return (uint16_t)XD_MIN(RESTARTS_PER_WORKER * workers, XD_RESTARTS_MAX);
}
