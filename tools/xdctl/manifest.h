/* tools/xdctl/manifest.h - `xdctl join --manifest kubernetes`: a description of pods that join a run, for kubectl. */
#pragma once
#include "tools/shared/joining.h"

/* As typed; NULL where nothing was. */
typedef struct manifest_words {
    const char *image, *replicas;
} manifest_words;

/* Prints it: a Job (batch/v1) as JSON, whose token comes from a Secret; what to do with it goes to stderr. Returns the exit code; err (XD_TEXT bytes) says why it
 * is not 0. */
int manifest_kubernetes(const joining_words *join, const manifest_words *words, char *err);
