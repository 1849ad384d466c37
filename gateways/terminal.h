/* gateways/terminal.h - the user's terminal, for transports that have to ask for a password or a passphrase. One of them has it
 * at a time, also of several programs on the same terminal, so that questions and answers do not mix. */
#pragma once
#include <stdbool.h>

#include "engine/base/error.h"

/* 1: *ret is the terminal, and the caller's alone until it closes it. 0: somebody else is asking. -ENOTTY: there is none that this
 * program may ask on (none at all, or it runs in the background). Never blocks. */
int xd_terminal_take(int *ret) XD_MUST;
/* Somebody is asking on it now. Never blocks. */
bool xd_terminal_asks(void);
