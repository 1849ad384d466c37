/* actors/limits.h - checks the system's limits before a run starts. If a thread or memory were missing later, a library
 * would end this process without naming the cause (libzmq aborts). */
#pragma once
#include <stdint.h>

#include "engine/base/error.h"

/* gateways: environments of the run. 0; -EMFILE, -EFBIG, -EAGAIN, -ENOMEM: err says which limit is too low. Changes no
 * limit. */
int xd_limits_check(uint32_t gateways, xd_error *err) XD_MUST;
