/* tools/shared/joining.h - xd_join_run as a program of its own: `xdctl join`, and `xdserve join`. */
#pragma once
#include "engine/xd.h"

#define JOINING_TAGS 64u

/* As typed; NULL where nothing was. */
typedef struct joining_words {
    const char *address, *keys, *agent, *workers, *token_file, *wait, *drain;
    const char *tags[JOINING_TAGS + 1]; /* NULL-terminated */
} joining_words;

#define JOINING_WAIT "5m"
#define JOINING_DRAIN "60s"

/* Joins, until the run is over, or a signal comes (SIGINT, SIGTERM, SIGHUP: it leaves; a second one ends what runs). A token is read of token_file, else of
 * $XD_TOKEN, which tests do not see. Returns the exit code; err (XD_TEXT bytes) says why it is not 0. */
int joining_run(const joining_words *words, char *err);
