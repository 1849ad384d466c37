/* actors/env_labels.h - short names of the environments of a run, made of their specs, for lines of progress and heads of columns:
 * popen//python=python2.7 beside popen//python=python3.13 is python2.7, ssh=me@hostA is hostA. Pure. */
#pragma once
#include <stddef.h>

#include "engine/base/buf.h"

/* One for each spec, no two alike: made of the parts in which the specs differ, else of all parts, else as much of the whole spec as
 * tells them apart. *ret is made of malloc'ed texts. -ENOMEM. */
int  xd_env_labels_make(char ***ret, const xd_bytes *specs, size_t count) XD_MUST;
void xd_env_labels_free(char **labels, size_t count);
