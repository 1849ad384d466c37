/* actors/spec_folder.h - specs that stand in a file: what is a path on this host in them counts from the folder of the file. Looks at links and at whether a file is
 * there; starts nothing. */
#pragma once
#include "engine/xspec.h"

/* *ret: the spec with python= and chdir= of a popen on this host, the program of command=, and ssh_config= made absolute, where they are relative paths; a program without a
 * slash is looked up on PATH, and stays. dir: absolute. A bad spec stays as it is: who parses it says why. -ENOMEM. */
int xd_spec_in_folder(const char *spec, const char *dir, char **ret) XD_MUST;
