/* actors/runners/command.h - the command runner (runner.h): one command line per test, from a list (command_list.h).
 * Exit status 0 is passed, 77 skipped, anything else failed; so is a test that a signal ends, or the time limit.
 *
 * Collector and workers are this program itself in another role (xd_command_main); the collector becomes the first
 * worker. Each test is a process group of its own; its worker is a subreaper, so that whatever a test leaves behind
 * comes to the worker, which ends it before the next test starts. When a worker dies, that falls to the agent
 * (orphans_end_with_worker). */
#pragma once
#include "actors/runners/runner.h"

extern const xd_runner_ops xd_command_ops;

/* The program that collector and workers run: argv is what follows the program's role word (XD_COMMAND_ROLE). Returns
 * the exit status. */
#define XD_COMMAND_ROLE "--command-runner"
int xd_command_main(int argc, char **argv);
