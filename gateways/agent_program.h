/* gateways/agent_program.h - where the agent's program lies on this host. */
#pragma once
#include "engine/base/error.h"
#include "engine/base/mem.h"

/* `wanted` if given, $XD_AGENT, beside this program, ../libexec/xd beside it, the prefix in which libxd.so lies, the
 * installed place.  *ret is the caller's to free.  -ENOENT: err lists what was tried. */
int xd_agent_program_find(const char *wanted, char **ret, xd_error *err) XD_MUST;
/* Another program of this installation, in the same places; no variable names it. -ENOENT. */
int xd_program_find(const char *name, char **ret, xd_error *err) XD_MUST;
/* The folder agents/ beside it, with what agent_files.h says; as above, but for `wanted`. */
int xd_agent_program_folder(char **ret, xd_error *err) XD_MUST;
