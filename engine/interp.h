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

/* Which interpreters run pytest under xd, as the end of a sentence about one that does not. */
#define XD_INTERP_OLDEST "xd runs pytest with Python 2.7, and with 3.6 and newer"

/* Whether an interpreter of this version does. */
bool xd_interp_runs(long major, long minor);

/* Whether the name of a program says that it is one that does not (python2.4, /opt/bin/python3.5); then which version it names. */
bool xd_interp_is_too_old(const char *program, long *ret_major, long *ret_minor);

/* pyenv puts a shim on PATH for each name that any of its interpreters has, also where none of them is selected. 0 = this program starts, or
 * is no such shim; -ENOENT: err says what to name instead. selected: $PYENV_VERSION of the environment that it is to have, or NULL;
 * dir: the folder that it is to run in, or NULL: this one. Any thread; blocks while the shim runs (0.1 s). */
int xd_interp_check_shim(const char *program, const char *selected, const char *dir, xd_error *err) XD_MUST;
