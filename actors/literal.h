/* actors/literal.h - strings, and lists of them, in the text of Python and TOML files, read without running anything. Pure.
 * Of what Python's ast.literal_eval reads: strings as it reads them (but for \N{...}), lists and tuples of them, True, False and None. */
#pragma once
#include "engine/base/buf.h"
#include "engine/config.h"

/* Words of a file, each with the line it stands on. */
typedef struct xd_placed {
    xd_strings words;
    uint32_t  *lines; /* words.count of them, from 1; 0 = on none */
} xd_placed;
int  xd_placed_add(xd_placed *p, const char *word, uint32_t line) XD_MUST;
void xd_placed_release(xd_placed *p);
/* Number of the line that the byte at `at` is on, from 1. */
uint32_t xd_line_of(xd_bytes text, size_t at);

typedef enum xd_language { XD_LANGUAGE_PYTHON, XD_LANGUAGE_TOML } xd_language;

/* Moves *at over blanks, comments and ends of lines (in Python also those behind a backslash). */
void xd_literal_blanks(xd_bytes text, size_t *at);
/* Appends the string literal at *at and moves behind it. 1 = done; 0 = there is none, or one that is no plain string: a prefix other than r or u (Python), an
 * escape that the language does not have, a zero byte, half of a surrogate pair. -ENOMEM. */
int xd_literal_string(xd_bytes text, size_t *at, xd_language language, xd_buf *out) XD_MUST;
/* Adds the strings of the list (Python: or tuple) at *at, which moves behind it; `text` is the whole file, for the lines. 1 = done; 0 = it is something else,
 * `ret` may hold some of it. -ENOMEM. */
int xd_literal_list(xd_bytes text, size_t *at, xd_language language, xd_placed *ret) XD_MUST;
/* Moves *at behind what stands there up to the end of the line: strings, also those with three quotes, and brackets may go over
 * several. False: the text ends in the middle of one. */
bool xd_literal_line(xd_bytes text, size_t *at, xd_language language);

typedef enum xd_assigned {
    XD_ASSIGNED_NOT,    /* the module assigns nothing to that name, as far as its text tells */
    XD_ASSIGNED_LIST,   /* a list or tuple of string literals */
    XD_ASSIGNED_STRING, /* one string literal */
    XD_ASSIGNED_TRUE,
    XD_ASSIGNED_FALSE,
    XD_ASSIGNED_NONE,
    XD_ASSIGNED_OTHER /* something else, or more than once in a way that depends on what runs */
} xd_assigned;

/* What a Python module assigns to a name at its top level. *ret: its strings; empty unless LIST or STRING. *ret_line: from 1, of the last assignment. Code inside
 * of functions and classes is left out. An xd_assigned or -ENOMEM. */
int xd_literal_assigned(xd_bytes text, const char *name, xd_placed *ret, uint32_t *ret_line) XD_MUST;
