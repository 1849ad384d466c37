/* actors/literal.h - lists of plain strings in the text of Python and TOML files, read without running anything. Pure. */
#pragma once
#include "engine/base/buf.h"
#include "engine/config.h"

typedef enum xd_language { XD_LANGUAGE_PYTHON, XD_LANGUAGE_TOML } xd_language;

/* Moves *at over blanks, comments and ends of lines (in Python also those behind a backslash). */
void xd_literal_blanks(xd_bytes text, size_t *at);
/* Appends the string literal at *at and moves behind it. 1 = done; 0 = there is none, or one with three quotes, a prefix other than r or
 * u, or an escape other than of one letter: nothing that can be named is lost. -ENOMEM. */
int xd_literal_string(xd_bytes text, size_t *at, xd_language language, xd_buf *out) XD_MUST;
/* Adds the strings of the list (Python: or tuple) at *at, which moves behind it. 1 = done; 0 = it is something else, `ret` may hold some of it. -ENOMEM. */
int xd_literal_list(xd_bytes text, size_t *at, xd_language language, xd_strings *ret) XD_MUST;
/* Moves *at behind what stands there up to the end of the line: strings, also those with three quotes, and brackets may go over
 * several. False: the text ends in the middle of one. */
bool xd_literal_line(xd_bytes text, size_t *at, xd_language language);

typedef enum xd_assigned {
    XD_ASSIGNED_NOT,  /* the module assigns nothing to that name, as far as its text tells */
    XD_ASSIGNED_LIST, /* a list or tuple of string literals */
    XD_ASSIGNED_OTHER /* something else, or more than once in a way that depends on what runs */
} xd_assigned;

/* What a Python module assigns to a name at its top level. *ret: its strings; empty unless LIST. *ret_line: from 1, of the last assignment. Code inside of
 * functions and classes is left out. An xd_assigned or -ENOMEM. */
int xd_literal_assigned(xd_bytes text, const char *name, xd_strings *ret, uint32_t *ret_line) XD_MUST;
