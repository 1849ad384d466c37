/* actors/runview_config.h - the configuration of a run's view: that of the first CONFIG, the home gateway's. */
#pragma once
#include "actors/runview_envs.h"
#include "engine/grammar.h"

typedef struct xd_runview_pair {
    xd_bytes name, value; /* in the arena */
} xd_runview_pair;

typedef struct xd_runview_config {
    const xd_grammar *grammar; /* of node ids */
    uint32_t          home;    /* gateway; XD_NO_INDEX = no CONFIG has come yet */
    xd_bytes          python, python_version, pytest_version, rootdir, invocation_dir;
    xd_runview_pair  *options; /* effective options; names may repeat (tx) */
    uint32_t          option_count, options_cap;
    xd_bytes         *header;
    uint32_t          header_count, header_cap;
} xd_runview_config;
#define XD_RUNVIEW_CONFIG_INIT ((xd_runview_config){ .home = XD_NO_INDEX, .grammar = xd_grammar_find(NULL) })

void xd_runview_config_release(xd_runview_config *c);
/* From the beginning of the run, before the first CONFIG: RUN_START.options. */
int xd_runview_config_run(xd_runview_config *c, xd_wire_list options) XD_MUST;
/* The first one counts; XD_RUNVIEW_IGNORED = this is a later one. `env`: the gateway's. */
int xd_runview_config_take(xd_runview_config *c, xd_runview_texts *texts, const xd_wire_CONFIG *in,
                           const xd_runview_env *env, uint16_t gateway) XD_MUST;
/* This gateway is another one than that whose configuration counts. */
bool xd_runview_config_of_another(const xd_runview_config *c, uint16_t gateway);
/* Value of an option, NULL when it is not there (first of that name; a NUL follows the data). */
const char *xd_runview_config_option(const xd_runview_config *c, const char *name);
/* The run's pytest is of this release or a newer one (or unknown). */
bool xd_runview_config_pytest_from(const xd_runview_config *c, unsigned major, unsigned minor);
