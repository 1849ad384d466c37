/* tools/shared/ - what xdctl and xdserve both do. tool.h: what every program does that people start. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* "program: text" as a line on standard error. Arguments are quoted in messages: nothing of them acts on the terminal. */
void tool_complain(const char *program, bool colored, const char *text);
/* A time as users write it: seconds, or a number with s, m, h or d behind it. -1: it is none. At most 10,000 days. */
int tool_seconds(const char *text, uint64_t *ret);
/* A program may be started with 0, 1 or 2 closed. What is opened next would take that number, and reports would be
 * written into it: they are opened. -1: they cannot be. */
int tool_hold_standard_descriptors(void);
