/* engine/base/text.h - text of others made fit for a terminal, XML or a log; numbers and durations. */
#pragma once
#include "engine/base/buf.h"

/* Length of the valid UTF-8 sequence at p (1..4), 0 = not valid (also surrogates, overlong, > U+10FFFF).
 * *ret_cp gets the code point. */
size_t xd_text_utf8(const uint8_t *p, size_t len, uint32_t *ret_cp);
/* How much of the beginning is printable ASCII: what most text consists of, at eight bytes a step. */
size_t xd_text_printable(const uint8_t *p, size_t len);
bool   xd_text_is_utf8(xd_bytes in);
/* Appends the end of what a program has said, at most `most` bytes of it, on one line and harmless, with a bar between its lines. */
int xd_text_last_words(xd_buf *out, xd_bytes said, size_t most) XD_MUST;
/* Appends `in` with what could drive a terminal made visible: C0 except \n and \t, DEL, C1, bidi controls and
 * bytes that are not UTF-8 become \xNN or \uNNNN.  keep_newline = false also escapes \n and \t. */
int xd_text_harmless(xd_buf *out, xd_bytes in, bool keep_newline) XD_MUST;
/* The same of several lines, except that colours (ESC [ digits m) stay as they are, and end with the text, if
 * `colors`; else they are left out. */
int xd_text_harmless_lines(xd_buf *out, xd_bytes in, bool colors) XD_MUST;
/* Appends `in` as valid UTF-8: bad bytes become U+FFFD. */
int xd_text_to_utf8(xd_buf *out, xd_bytes in) XD_MUST;
/* Removes CSI/OSC escape sequences. */
int xd_text_strip_ansi(xd_buf *out, xd_bytes in) XD_MUST;
/* Decimal with limits; the whole string must be the number.  -EINVAL, -ERANGE. */
int xd_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret) XD_MUST;
/* As strtod: the number has its point in every locale. */
double xd_text_real(const char *s, char **ret_end);
/* "30", "30s", "5m", "2h", "1d" -> ns; "1.5s".  -EINVAL, -ERANGE. */
int xd_text_duration(const char *s, uint64_t *ret_ns) XD_MUST;
/* "10k", "64M", "1GB" (1024s) -> bytes. */
int xd_text_size(const char *s, uint64_t *ret_bytes) XD_MUST;
/* Splits as a POSIX shell does words and quotes (no expansion). ret is a malloc'ed NULL-terminated vector,
 * one block: free(ret). -EINVAL = open quote. */
int xd_text_shell_split(const char *s, char ***ret) XD_MUST;
/* The same of a command line that no shell will read: an operator or a substitution outside of quotes does nothing, so it is
 * refused.  -EINVAL: *ret_at is the offset of that, or of a quote that is not closed. */
int xd_text_command_split(const char *s, char ***ret, size_t *ret_at) XD_MUST;
/* Some words of a command line. */
typedef struct xd_words {
    const char *const *at; /* borrowed */
    size_t             n;
} xd_words;
/* Those of a vector that NULL ends, which stays the caller's. */
static inline xd_words xd_words_of(const char *const *argv)
{
    xd_words words = { argv, 0 };
    while (argv[words.n])
        words.n++;
    return words;
}
/* A command line of these words, in order: NULL-terminated, in one block that the caller frees. -ENOMEM. */
int xd_text_words_join(const xd_words *parts, size_t count, char ***ret) XD_MUST;
/* Appends s quoted for a POSIX shell, only when it needs it. */
int xd_text_shell_quote(xd_buf *out, const char *s) XD_MUST;
