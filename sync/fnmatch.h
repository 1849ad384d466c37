/* sync/fnmatch.h - globs as Python's fnmatch has them, on the file names that Python sees: characters of UTF-8, and
 * each byte that is none as one of its own. `*` is any text, `/` too; `?` a character; [...] and [!...]; a `[` without
 * `]` is itself; nothing is quoted. Pure; any thread.
 *
 * Matching allocates nothing and goes back to the last star alone: its time is at most (length of the text) * (length
 * of the glob). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

/* Appends the glob's ops (uint32_t each) for xd_fnmatch. -ENOMEM. */
int xd_fnmatch_compile(xd_bytes glob, xd_buf *ops) XD_MUST;
/* Do they match the whole text, which is `head` and then `rest`? head is empty or ends with an ASCII byte. */
bool xd_fnmatch(const uint32_t *ops, size_t count, xd_bytes head, xd_bytes rest);
