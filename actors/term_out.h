/* actors/term_out.h - text on its way to a descriptor: markup, column of the current line, separators, a
 * bounded buffer.
 * Never blocks and never changes the descriptor's own flags (a terminal is shared with the shell): pipes and
 * terminals are opened anew without blocking; what cannot be opened anew is asked with poll first. One
 * thread. */
#pragma once
#include "engine/base/buf.h"
#include "engine/base/ci_guard.h"

enum { /* markup bits, in the order in which pytest's escapes are nested */
       XD_MARK_RED = 1,
       XD_MARK_GREEN = 2,
       XD_MARK_YELLOW = 4,
       XD_MARK_BLUE = 8,
       XD_MARK_CYAN = 16,
       XD_MARK_BOLD = 32,
       XD_MARK_LIGHT = 64,
};
#define XD_TERM_OUT_LIMIT (256u * 1024u) /* bytes waiting from which on it calls itself full */

typedef struct xd_term_out {
    int         fd;     /* as given; -1 = nowhere */
    int         own_fd; /* opened anew, or -1 */
    uint8_t     kind;   /* private */
    bool        markup, tty, live;
    uint32_t    width;
    size_t      column; /* of the current line */
    uint64_t    skip;   /* bytes of text still to be left out */
    uint64_t   *shown;  /* counts the bytes of text that were not; NULL ok */
    int         fault;  /* -errno of the descriptor: everything after it is dropped */
    xd_buf      buf;    /* waits to be written */
    xd_buf      scratch;
    xd_ci_guard guard;   /* its `systems` are the caller's */
    xd_buf      guarded; /* text that went through it */
} xd_term_out;

/* pytest's should_do_markup, after its option --color: whether what goes to a terminal (tty) or elsewhere gets colours.
 * env: value of an environment variable that is not empty, else NULL. */
bool xd_term_out_colors(const char *(*env)(const void *arg, const char *name), const void *arg, bool tty);

void xd_term_out_init(xd_term_out *o, int fd, uint32_t width);
/* Text goes on where another one of the same journal stopped: *shown bytes are left out, and what follows is
 * added to it. Markup does not count. */
void xd_term_out_resume(xd_term_out *o, uint64_t *shown);
void xd_term_out_release(xd_term_out *o);
/* Descriptor to wait for. */
int xd_term_out_fd(const xd_term_out *o);
/* Writes what goes without blocking. 0 = all is out (or the descriptor is dead), 1 = some is left,
 * -ENOMEM. */
int xd_term_out_flush(xd_term_out *o) XD_MUST;
/* Waits for the descriptor until less than `left` bytes wait. */
int                xd_term_out_drain(xd_term_out *o, size_t left) XD_MUST;
static inline bool xd_term_out_full(const xd_term_out *o)
{
    return o->buf.len > XD_TERM_OUT_LIMIT;
}

/* Text that is our own or was made harmless before. */
int xd_term_out_write(xd_term_out *o, xd_bytes text, unsigned mark) XD_MUST;
int xd_term_out_str(xd_term_out *o, const char *text, unsigned mark) XD_MUST;
int xd_term_out_printf(xd_term_out *o, unsigned mark, const char *fmt, ...) XD_MUST
    __attribute__((format(printf, 3, 4)));
/* Text of others: made harmless here; newlines kept when `lines`. */
int xd_term_out_foreign(xd_term_out *o, xd_bytes text, unsigned mark, bool lines) XD_MUST;
/* A line of `fill` across the width, with a title when it is not NULL (harmless already). */
int xd_term_out_sep(xd_term_out *o, char fill, const char *title, unsigned mark) XD_MUST;
/* As pytest's end line: the title holds markup; `extra` = bytes of it that are not columns. */
int xd_term_out_sep_wide(xd_term_out *o, char fill, const char *title, size_t columns, unsigned mark) XD_MUST;
/* Appends text with markup to a buffer (nothing is added when markup is off). */
int xd_term_mark(const xd_term_out *o, xd_buf *to, const char *text, unsigned mark) XD_MUST;
