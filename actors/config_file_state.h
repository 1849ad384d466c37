/* actors/config_file_state.h - private to config_file*.c: config_file (the file and its options), config_file_profile (which profile inherits what), config_file_hosts
 * (lists of hosts). */
#pragma once
#include "actors/config_file.h"

/* NULL = there is none of that name. table may be NULL. */
const xd_toml_node *xd_config_file_member(const xd_toml_node *table, const char *name);
/* "xd.toml:3: ..." -EINVAL. */
int xd_config_file_refuse(const xd_config_file *f, const xd_toml_node *at, xd_error *err, const char *fmt,
                          ...) __attribute__((format(printf, 4, 5)));
/* The key at that place is none of `names` (NULL-terminated). -EINVAL. */
int xd_config_file_unknown(const xd_config_file *f, const xd_toml_node *at, const char *const *names,
                           const char *what, xd_error *err);
/* Adds the options of a profile's table, without what it inherits. */
int xd_config_file_table(const xd_config_file *f, const xd_toml_node *profile, xd_config_values *values,
                         xd_error *err) XD_MUST;
int xd_config_file_check_hosts(const xd_config_file *f, xd_error *err) XD_MUST;
