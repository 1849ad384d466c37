/* sync/wildmatch.h - patterns of gitignore(5) as git matches them, byte by byte (git's wildmatch, version 2.52). Pure;
 * any thread.
 *
 * A pattern is compiled once into ops: literal bytes 0..255 and XD_WILD_*. Matching allocates nothing and never goes
 * back beyond the last `*` and the last `**`, so its time has a bound: (length of the text)^2 * ops, and not more for
 * patterns as a*a*a*a*b. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

enum {
    XD_WILD_ONE = 256, /* any byte but `/` */
    XD_WILD_SET,       /* one of a set; XD_WILD_SET_WORDS words with its 256 bits follow; `/` is in none */
    XD_WILD_STAR,      /* any bytes but `/` */
    XD_WILD_DEEP,      /* any bytes: `**` at the end */
    XD_WILD_FOLDERS,   /* nothing, or any bytes and `/`: two stars and `/` */
};
#define XD_WILD_SET_WORDS 16u
#define XD_WILD_NEVER 1 /* well formed or not, nothing matches this pattern */

/* Appends the ops (uint16_t each) of the pattern; what `ops` holds already is a whole number of them. path: `**`
 * between slashes is special; otherwise the texts have no slash. Returns 0 or XD_WILD_NEVER; -ENOMEM. */
int xd_wild_compile(xd_bytes pattern, bool path, xd_buf *ops) XD_MUST;
/* Do these ops match the whole text? */
bool xd_wild_match(const uint16_t *ops, size_t count, const uint8_t *text, size_t len);
