/* engine/base/banned.h - functions that must not be used. Included last by .c files (CMake adds -include for
 * our own sources). */
#pragma once
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#undef sprintf /* macros where clang fortifies */
#undef vsprintf
#pragma GCC poison strcpy strcat strncpy sprintf vsprintf strtok gets atoi atol popen fork localtime gmtime
/* A field of wire.def is called so: only the call is forbidden. */
extern int system(const char *) __attribute__((deprecated("use xd_proc_spawn")));
/* A number may have passed to a stranger. */
#ifndef XD_TEST_SOURCE_DIR
extern int kill(pid_t, int) __attribute__((deprecated("use xd_proc_kill, xd_proc_kill_group")));
extern int killpg(pid_t, int) __attribute__((deprecated("use xd_proc_kill_group")));
#endif
