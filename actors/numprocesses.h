/* actors/numprocesses.h - how many workers a run has: -n (--numprocesses), --maxprocesses, --tx, --dist no, whether they
 * stand on xd's command line, in pytest's ini, in PYTEST_ADDOPTS or come of a hook. Pure.
 * The number of an environment is decided in two steps: when the run is planned, if its options tell it, else when its
 * processors, the project's options and the tests are known. */
#pragma once
#include <stddef.h>

#include "engine/config.h"

/* Everything that says something about the number. */
typedef struct xd_numprocesses {
    /* xd's command line, which wins */
    int      own;       /* -n: a count or XD_WORKERS_*; XD_WORKERS_UNSET = not given */
    uint32_t own_limit; /* --maxprocesses; 0 = not given */
    bool     own_no;    /* --dist no, there or in what was read of the project before the run was planned */
    size_t   own_tx;    /* how many --tx, of both */
    /* pytest's ini, its conftest, PYTEST_ADDOPTS */
    int      project; /* -n; XD_WORKERS_AUTO = not given */
    uint32_t project_limit;
    uint32_t project_tx; /* sum of NUM*popen that hooks give; 0 = none is given */
    uint32_t automatic;  /* what a hook or PYTEST_XDIST_AUTO_NUM_WORKERS says that auto is; 0 = nothing */
    uint32_t cores;      /* that auto counts in place of their threads; 0 = not told */
} xd_numprocesses;

/* What a number that nobody told is bounded by. */
typedef struct xd_numprocesses_host {
    uint32_t cpus;
    uint32_t items;
    uint32_t room; /* workers that there is memory for; 0 = not known */
} xd_numprocesses_host;

void xd_numprocesses_init(xd_numprocesses *ret, const xd_config *cfg);
/* The specs of --tx say where workers run and how many; else one environment on this machine has them all. */
bool xd_numprocesses_by_specs(const xd_numprocesses *n);
/* When the run is planned: the number of an environment whose specs come to `of_specs` (0 = no --tx counts, or cpus=auto);
 * 0 = not known yet. */
uint32_t xd_numprocesses_planned(const xd_numprocesses *n, uint32_t of_specs);
/* Of an environment whose number was not known then. At least 1. *ret_without (may be NULL): what it would be if there were
 * memory for any number. */
uint32_t xd_numprocesses_counted(const xd_numprocesses *n, const xd_numprocesses_host *host,
                                 uint32_t *ret_without);
/* The tests run in one plain session, without workers. `environments`: of the run; `workers`: of the first, as planned. */
bool xd_numprocesses_plain(const xd_numprocesses *n, size_t environments, uint32_t workers);
