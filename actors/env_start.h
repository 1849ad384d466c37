/* actors/env_start.h - what a spec says of its environment, as ENV_START tells it to an agent: for a run, and for a look at its
 * host. Nothing in it is of this host. Pure. */
#pragma once
#include "engine/config.h"
#include "engine/wire.h"
#include "engine/xspec.h"

#define XD_PROJECT_NAME 96u

/* The name of the folder that an agent on another host works in where the spec has no chdir=: that of `work`, as far as its
 * characters are harmless, and 8 digits that tell projects of the same name apart. work: NULL gives "". */
void xd_env_start_project(const char *work, char ret[XD_PROJECT_NAME]);
/* The same, with the digits of another text. */
void xd_env_start_project_of(const char *folder, const char *apart, char ret[XD_PROJECT_NAME]);

/* Fills runner, python, nice, chdir, spec, project, env. The texts are views of the arguments; env lies in `room`.
 * project: "" = none; it goes to agents on other hosts alone. -ENOMEM. */
int xd_env_start_fill(xd_wire_ENV_START *start, const xd_config *cfg, const xd_xspec *spec,
                      const char *project, xd_buf *room) XD_MUST;
