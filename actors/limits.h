/* actors/limits.h - checks the system's limits before a run starts. If a thread or memory were missing later, a library
 * would end this process without naming the cause (libzmq aborts). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

/* gateways: environments of the run. shared: another one's broker carries it. 0; -EMFILE, -EFBIG, -EAGAIN, -ENOMEM: err says
 * which limit is too low. Changes no limit. */
int xd_limits_check(uint32_t gateways, bool shared, xd_error *err) XD_MUST;
/* The same for a broker that several runs will share. */
int xd_limits_check_broker(xd_error *err) XD_MUST;
