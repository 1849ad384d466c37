/* actors/config_values.h - options that were found elsewhere than on the command line, in files and in the environment: what is valid, and which of them count. Pure. */
#pragma once
#include "engine/base/error.h"
#include "engine/config_table.h"

/* Where it was found. What has a higher one counts more. */
typedef enum xd_config_rank {
    XD_RANK_USER,        /* the user's config.toml */
    XD_RANK_PROJECT,     /* xd.toml, pyproject.toml */
    XD_RANK_PROFILE,     /* the profile that is chosen, in any of them */
    XD_RANK_ENVIRONMENT, /* XD_... */
    XD_RANK_COMMAND_LINE
} xd_config_rank;

typedef struct xd_config_value {
    const xd_config_entry *option;
    char *text;   /* as xd_config_set takes it; NULL = an empty list: what it held until then is gone */
    char *origin; /* "xd.toml:3", "profile ci (xd.toml:12)", "XD_DIST" */
    xd_config_rank rank;
} xd_config_value;

/* In the order in which they are set: ranks go up. */
typedef struct xd_config_values {
    xd_config_value *at;
    size_t           count;
} xd_config_values;
#define XD_CONFIG_VALUES_INIT ((xd_config_values){ 0 })

int  xd_config_values_add(xd_config_values *v, const xd_config_entry *option, const char *text,
                          const char *origin, xd_config_rank rank) XD_MUST;
void xd_config_values_release(xd_config_values *v);
/* -EINVAL: an option takes no such text; err says so behind `label`. A name of hosts (@lab) is looked up later. */
int xd_config_value_check(const xd_config_entry *option, const char *text, const char *label,
                          xd_error *err) XD_MUST;
/* Sets those that count. typed: as cfg, with the command line read into it, which decides what need not be set: specs on the command line count more than a number of
 * workers in a file, and -d there more than a mode. -ENOMEM. */
int xd_config_values_apply(const xd_config_values *v, const xd_config *typed, xd_config *cfg) XD_MUST;
/* [NUM*]@NAME: a spec that stands for a list of hosts. */
bool xd_config_names_hosts(const char *spec);
