/* actors/limits.h - what a run needs of the system, asked for before it begins: a thread or memory that is missing
 * later would end this process inside of a library (libzmq aborts), with no word about the cause. */
#pragma once
#include <stdint.h>

#include "engine/base/error.h"

/* gateways: environments of the run. 0; -EMFILE, -EFBIG, -EAGAIN, -ENOMEM: err says which limit is too low. Changes no
 * limit. */
int xd_limits_check(uint32_t gateways, xd_error *err) XD_MUST;
