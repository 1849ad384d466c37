/* actors/sync_path.h - paths of what is synchronised: without symbolic links, and relative to each other. */
#pragma once
#include "engine/config.h"

/* The absolute `path` without symbolic links, "." and "..". links (may be NULL): each link on the way is added, by its path without links in front of its name.
 * -ENOENT, -ENOTDIR, -EACCES, -ELOOP, ... */
int xd_sync_path_real(const char *path, char **ret, xd_strings *links) XD_MUST;
/* The same as a text: nothing is looked at, links stay. */
char *xd_sync_path_clean(const char *path);
/* Is that the user's home folder ($HOME)? */
bool xd_sync_path_is_home(const char *path);
/* The working tree of git that the folder `dir` (absolute) is in. *ret stays NULL when there is none, or it is the home folder or /: files of a whole account may be in git. */
int xd_sync_path_git_top(const char *dir, char **ret) XD_MUST;
/* How to come from the folder `from` to `to`, both absolute and clean: "." for itself. malloc'ed; NULL without memory. */
char *xd_sync_path_from(const char *from, const char *to);
