/* engine/interp.h - which Python interpreter an environment uses. Used by the agent, on its own host; in the engine only by
 * doctor and by the questions that are put before a run. */
#pragma once
#include "engine/base/buf.h"

/* `wanted` (may be NULL or empty) wins: a program, also one whose path has blanks, or a command line such as
 * "python3 -E". Else: bin/python of $VIRTUAL_ENV; the interpreter behind the
 * `pytest` found on PATH (the one its first lines name, or a python3 in the same folder when they name no
 * Python: shims); python3, then python on PATH. path_list NULL = $PATH.
 * *ret is malloc'ed: a command line, quoted where that is needed, for xd_text_shell_split.
 * *ret_how says in a few words where it came from (static). -ENOENT: nothing found, err says what was
 * tried. */
int xd_interp_find(const char *wanted, const char *virtual_env, const char *path_list, char **ret,
                   const char **ret_how, xd_error *err) XD_MUST;
