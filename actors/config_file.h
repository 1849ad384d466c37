/* actors/config_file.h - xd's own configuration: xd.toml, the table tool.xd of a pyproject.toml, the user's config.toml. Options at the top, profiles that inherit
 * from each other ([profile.NAME]), lists of hosts with a name ([hosts]). Pure: texts in, options out. */
#pragma once
#include "actors/config_values.h"
#include "actors/toml_file.h"

typedef struct xd_config_file {
    char          *dir;   /* that relative paths in it count from; absolute */
    char          *shown; /* what messages call it; "xd.toml" */
    xd_config_rank rank;  /* of what stands outside of profiles */
    xd_toml_node  *root;  /* NULL: there is nothing in it */
} xd_config_file;
#define XD_CONFIG_FILE_INIT ((xd_config_file){ 0 })

/* Reads a file whose name and folder are set, and looks at all that stands in it, whether it will count or not. table: names of the table with the options, NULL = the
 * whole file. 1 = there is no such table; -EINVAL: it is no TOML, or says something that is not valid: err names file, line and what is meant or expected. */
int  xd_config_file_read(xd_config_file *f, const char *text, size_t len, const char *const *table,
                         xd_error *err) XD_MUST;
void xd_config_file_release(xd_config_file *f);
/* Adds the options that stand outside of profiles. */
int xd_config_file_values(const xd_config_file *f, xd_config_values *values, xd_error *err) XD_MUST;
/* Adds those of a profile, after those that it inherits, each profile once. It is looked for in the first file, then in the next. name: NULL = the profile "default", if there
 * is one. asked: what named it, for a message. -EINVAL: no file has it, one that is inherited is not there, or inherits itself; err says which. */
int xd_config_file_profile(const xd_config_file *files, size_t count, const char *name, const char *asked,
                           xd_config_values *values, xd_error *err) XD_MUST;
/* Whether each profile can be chosen. */
int xd_config_file_check_profiles(const xd_config_file *files, size_t count, xd_error *err) XD_MUST;
/* Puts the hosts of a list in the place of its name among the specs of cfg: @lab, 2*@lab (each of them twice), @lab//python=PY (with further keys).
 * Reads files of hosts that a list names. -EINVAL: there is no such list; err names the nearest. */
int xd_config_file_hosts(const xd_config_file *files, size_t count, xd_config *cfg, xd_error *err) XD_MUST;
