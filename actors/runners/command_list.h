/* actors/runners/command_list.h - the list of the command runner: one command line per test. Pure.
 *
 * Blank lines and lines that begin with # are passed over; blanks around a line do not count. The node id is the line;
 * of lines that are the same the second is "LINE [2]", and so on. */
#pragma once
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/wire.h"

#define XD_COMMAND_LINE_MAX 131000u /* the kernel takes no longer argument (MAX_ARG_STRLEN) */

typedef struct xd_command {
    xd_bytes id;
    uint32_t line_len; /* the command line is the beginning of the id */
} xd_command;

typedef struct xd_command_list {
    xd_arena              arena;
    xd_command           *at; /* count entries */
    uint32_t              count, cap;
    struct xd_known_line *known; /* private */
} xd_command_list;
#define XD_COMMAND_LIST_INIT ((xd_command_list){ 0 })

void xd_command_list_release(xd_command_list *l);
/* Adds the tests of one file; `name` stands for it in messages. -EINVAL: a line that no program can be started with;
 * err says which; -ENOMEM. */
int xd_command_list_add(xd_command_list *l, xd_bytes text, const char *name, xd_error *err) XD_MUST;
/* Keeps those tests alone whose id is in `ids` (TEXT), in the order of the list. -ENOENT: one of them is not there, and
 * *ret_missing is it. */
int xd_command_list_select(xd_command_list *l, xd_wire_list ids, xd_bytes *ret_missing) XD_MUST;
/* Puts the tests into another order: places has the present index of each. -EPROTO: it is no order of this list. */
int xd_command_list_order(xd_command_list *l, xd_wire_list places) XD_MUST;
/* The command line of a test; a view. */
static inline xd_bytes xd_command_line(const xd_command *c)
{
    return (xd_bytes){ c->id.ptr, c->line_len };
}

/* The list as bytes, for another process of the same program, and back. */
int xd_command_list_pack(const xd_command_list *l, xd_buf *out) XD_MUST;
int xd_command_list_unpack(xd_command_list *l, xd_bytes packed) XD_MUST;

/* The words of a command line that means the same with and without a shell: no quotes, variables, patterns, redirections,
 * and no name of a shell's own command in front. *ret is malloc'ed and NULL terminated, in one block; NULL: it takes a
 * shell. -ENOMEM. */
int xd_command_words(xd_bytes line, char ***ret) XD_MUST;
