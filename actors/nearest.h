/* actors/nearest.h - which known name a mistyped one is meant to be. Pure. */
#pragma once
#include <stddef.h>

/* How many characters to change, add, remove or swap with their neighbour make one word the other; - and _ are alike. Longer words than 63 characters are
 * far from all: SIZE_MAX. */
size_t xd_nearest_distance(const char *a, const char *b);
/* The first of `names` (NULL-terminated) that is nearest to `word`, if it is so near that it may be meant: a third of the word's letters, at most `most`, may be others. NULL. */
const char *xd_nearest(const char *word, const char *const *names, size_t most);
