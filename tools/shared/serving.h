/* tools/shared/serving.h - xd_server_run as a program of its own: `xdctl serve`, and xdserve. */
#pragma once
#include "engine/xd.h"

#define SERVING_BINDS 8u    /* places to listen at, at most */
#define SERVING_DRAIN_S 60u /* for running agents, when it is told to stop */
#define SERVING_DRAIN_MAX_S 86400u

/* Serves until a signal comes (SIGINT, SIGTERM, SIGHUP: no new agents; a second one ends all): what it listens on and its
 * fingerprint go to standard output, its log to standard error. authorize: the command line that lets a controller in, for people to
 * read. stop_fd, arg, ready and log of the options are not looked at. Returns the exit code; err (XD_TEXT bytes) says why it is not 0. */
int serving_run(const xd_server_options *options, const char *authorize, char *err);
/* From here on SIGINT, SIGTERM and SIGHUP are bytes in a pipe: its end to read, or -errno. SIGPIPE is ignored. */
int serving_stops(void);
/* A line of a log on standard error, with the time. */
void serving_log(void *arg, int level, const char *line);
/* The exit code of a result of the functions for keys and servers in xd.h. */
int serving_exit_code(int r);
