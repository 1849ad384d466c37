/* engine/base/path.h - paths, folders of the XDG specification, files written whole. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "engine/base/buf.h"

char       *xd_path_join(const char *dir,
                         const char *name); /* malloc'ed; an absolute name wins; NULL without memory */
const char *xd_path_base(const char *path); /* view behind the last slash */
char       *xd_path_dir(const char *path);  /* malloc'ed; "." without a slash */
int xd_path_absolute(const char *path, char **ret) XD_MUST; /* against the current directory, not resolved */
int xd_path_mkdirs(const char *path, mode_t mode, xd_error *err) XD_MUST; /* mkdir -p */
/* $XDG_STATE_HOME/xd, $XDG_CACHE_HOME/xd, $XDG_RUNTIME_DIR/xd (falls back to /tmp/xd-<uid>, 0700, owner
 * checked). malloc'ed; not created (the runtime folder is). */
int xd_path_state(char **ret, xd_error *err) XD_MUST;
int xd_path_cache(char **ret, xd_error *err) XD_MUST;
int xd_path_runtime(char **ret, xd_error *err) XD_MUST;
/* Temp file in the same folder, fsync, rename. */
int xd_path_write_file(const char *path, xd_bytes data, mode_t mode, xd_error *err) XD_MUST;
int xd_path_read_file(const char *path, size_t limit, xd_buf *out, xd_error *err) XD_MUST;
int xd_path_remove_tree(const char *path); /* rm -rf below path, no symlink followed; 0 or first -errno */
/* First executable `name` on `path_list` ($PATH when NULL); malloc'ed; -ENOENT. */
int  xd_path_find_program(const char *name, const char *path_list, char **ret) XD_MUST;
int  xd_path_self(char **ret) XD_MUST; /* path of this executable */
bool xd_path_is_dir(const char *path);
