/* actors/project.h - asks the agent what a project's configuration makes of a run, before there is one
 * (xdagent --check; actors/runners/xd_pytest/check.py). Blocks for as long as Python and pytest take to start. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/config.h"

/* Adds the answer's lines to `out`: `args` is NULL terminated, "project" or "options" and pytest's arguments. 0, or
 * -errno with err filled in. */
int xd_project_ask(const xd_config *cfg, const char *const *args, xd_buf *out, xd_error *err) XD_MUST;
/* Takes those of xd's options that stand among pytest's arguments and that nobody in the session claims. Nothing
 * is started when there are none. -EINVAL: a bad value. */
int xd_project_take_options(xd_config *cfg, xd_error *err) XD_MUST;
