/* actors/settings.h - what the options come to for the scheduler: xd's own, and under them those of pytest's configuration
 * (command line, ini, PYTEST_ADDOPTS, hooks), which come with the first CONFIG. Pure. */
#pragma once
#include "actors/numprocesses.h"
#include "engine/sched.h"
#include "engine/wire.h"

typedef struct xd_settings {
    xd_numprocesses workers;
    uint32_t        maxfail;            /* 0 = any number */
    int             max_worker_restart; /* of one environment; -1 = 4 per worker */
    int             max_warnings;       /* -1 = any number */
    xd_sched_mode   mode;               /* --dist */
    bool            keep_scope_order;   /* --no-loadscope-reorder */
} xd_settings;

/* As far as xd's own options say. */
void xd_settings_init(xd_settings *ret, const xd_config *cfg);
/* Those of pytest's configuration. -EINVAL: something in it is refused, err has the line; -ENOMEM. */
int xd_settings_read(xd_settings *s, const xd_config *cfg, const xd_wire_CONFIG *in, xd_error *err) XD_MUST;
/* How many crashed workers an environment with so many workers replaces. */
uint16_t xd_settings_restarts(const xd_settings *s, uint32_t workers);
