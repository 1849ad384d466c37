/* actors/config_environ.h - the options that environment variables set: XD_NUMPROCESSES, XD_DIST, ... Pure. */
#pragma once
#include "actors/config_values.h"

/* variables: NAME=value, NULL-terminated. Adds what they set. Those that xd does not know are passed over; one that is nearly called as one that it knows gets a line in `notes`. A
 * variable that is empty says nothing. -EINVAL: err names the variable and what is wrong. -ENOMEM. */
int xd_config_environ(char *const *variables, xd_config_values *values, xd_strings *notes,
                      xd_error *err) XD_MUST;
