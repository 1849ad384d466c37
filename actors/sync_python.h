/* actors/sync_python.h - where Python finds a project's own packages on this host, besides the folder it is started in: $PYTHONPATH, and packages that are installed in editable
 * mode. What of that is brought to a host must be found in its copy there. */
#pragma once
#include "actors/sync_roots.h"

/* Fills plan->python_path; adds notes on what is installed in editable mode and is not brought. Starts the interpreter of the run once, which imports nothing but modules of its
 * own; blocks for as long as that takes, 20 s at most. An interpreter that is not there, or fails, is only noted: it is not the one of the host. -ENOMEM. */
int xd_sync_python_path(xd_sync_plan *plan, const xd_config *cfg, const xd_folders *where) XD_MUST;

/* The same of what the interpreter said, for tests. */
int xd_sync_python_take(xd_sync_plan *plan, xd_bytes said) XD_MUST;
