/* actors/columns.h - how wide text is on a terminal. The tables are those of libutf8proc. Terminals differ in what
 * they join (families of emoji, flags, skin tones): text is taken as wide as the one that joins least shows it, so
 * that it never needs more room than it was given. Characters of ambiguous width take one column, as in pytest.
 * Any bytes; what is not UTF-8 counts one each. */
#pragma once
#include "engine/base/buf.h"

size_t xd_columns(xd_bytes text);
/* Length of the longest front that has at most `most` columns and `most` characters and does not end inside of what a
 * reader takes for one character (a letter and its marks, an emoji and its modifiers). */
size_t xd_columns_front(xd_bytes text, size_t most);
