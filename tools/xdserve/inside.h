/* tools/xdserve/inside.h - the agent that is inside of this program. */
#pragma once
#include "engine/base/error.h"

/* A path that starts the agent as long as this process runs: that of a memfd; where such a file cannot be started (no /proc, or the
 * system forbids it), that of a file in the cache folder of this user, which only this user can write and which is compared with
 * what is inside first. malloc'ed. The agent has been started once and has said its build id. -errno: err names each place and
 * what is wrong with it. Main thread. */
int inside_agent(char **ret, xd_error *err) XD_MUST;
