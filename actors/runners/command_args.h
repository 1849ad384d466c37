/* actors/runners/command_args.h - the arguments of the command runner, as ENV_START has them. Pure.
 *
 * Options have pytest's names where they mean the same, so that reporters (CONFIG.options) need not know which runner it
 * is. */
#pragma once
#include "engine/base/buf.h"
#include "engine/wire.h"

typedef struct xd_command_args {
    xd_buf   files, ids; /* TEXT records: --list; node ids */
    uint32_t n_files, n_ids;
    uint64_t timeout_ns; /* of each test; 0 = none */
    xd_buf   options;    /* PAIR records for CONFIG */
    uint32_t n_options;
} xd_command_args;
#define XD_COMMAND_ARGS_INIT ((xd_command_args){ 0 })

/* -EINVAL: err names the argument that is refused, in one line. */
int  xd_command_args_read(xd_command_args *ret, xd_wire_list args, xd_error *err) XD_MUST;
void xd_command_args_release(xd_command_args *a);
