/* engine/base/command.h - a short program that is asked something: started, watched, its output kept. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"

#define XD_COMMAND_NS (20 * XD_S_NS) /* time limit of programs that answer a question */

/* Runs argv (NULL terminated, argv[0] looked up on PATH) in `dir` (NULL: here) and adds what it writes to stdout and stderr to `out`, of
 * which at most `limit` bytes are kept. Waits until the process ends, even if its output is closed earlier or kept open by
 * another process, and kills its process group after limit_ns. 0 = it ended with 0; 1 = with something else;
 * -ETIMEDOUT and other -errno: err says it.  Any thread; blocks. */
int xd_command_output(const char *const *argv, const char *dir, uint64_t limit_ns, size_t limit, xd_buf *out,
                      xd_error *err) XD_MUST;
