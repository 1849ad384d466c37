/* gateways/command.h - the agent at the far end of any command line whose standard input and output lead there: for specs
 * `command=docker exec -i box`. */
#pragma once
#include "gateways/transport.h"

extern const xd_transport xd_transport_command;

/* The words to start for a command line: with "/bin/sh" behind them if they do not end in a shell or an agent already
 * (*ret_direct).  *ret is malloc'ed, one block.  -EINVAL: err names the position of what is wrong. */
int xd_gateway_command_words(const char *line, char ***ret, bool *ret_direct, xd_error *err) XD_MUST;
