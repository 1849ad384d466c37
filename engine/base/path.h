/* engine/base/path.h - paths, folders of the XDG specification, files written whole. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "engine/base/buf.h"

char       *xd_path_join(const char *dir,
                         const char *name); /* malloc'ed; an absolute name wins; NULL without memory */
const char *xd_path_base(const char *path); /* view behind the last slash */
char       *xd_path_dir(const char *path);  /* malloc'ed; "." without a slash */
/* Cuts an absolute path to the folder above. false: it is "/", and stays so. */
bool xd_path_up(char *path);
int  xd_path_absolute(const char *path, char **ret) XD_MUST; /* against the current directory, not resolved */
/* The same for what no shell has read: ~ and ~/x count from $HOME. */
int xd_path_absolute_home(const char *path, char **ret) XD_MUST;
int xd_path_mkdirs(const char *path, mode_t mode, xd_error *err) XD_MUST; /* mkdir -p */
/* ---- xdg.c: folders for what is kept between runs; malloc'ed ----
 * $XDG_STATE_HOME/xd and $XDG_CACHE_HOME/xd, or the places below $HOME that stand for them; where those cannot be
 * written, folders below xd_path_private(). Not created. */
int xd_path_state(char **ret, xd_error *err) XD_MUST;
int xd_path_cache(char **ret, xd_error *err) XD_MUST;
/* For reading only: a folder of the state that can no longer be written counts, unless runs were kept in the
 * private folder since. */
int xd_path_state_seen(char **ret, xd_error *err) XD_MUST;
/* xd-<uid> in the first of $TMPDIR, /tmp, /var/tmp, /dev/shm where it can be: a folder of this user (no link) that
 * nobody else can enter. Created, 0700. */
int xd_path_private(char **ret, xd_error *err) XD_MUST;
/* 1: state or cache, as far as they are asked for, are not where they belong; `note` says so in one line. 0 = they are. */
int xd_path_moved(bool state, bool cache, char *note, size_t size) XD_MUST;
/* Temp file in the same folder, fsync, rename. */
int xd_path_write_file(const char *path, xd_bytes data, mode_t mode, xd_error *err) XD_MUST;
int xd_path_read_file(const char *path, size_t limit, xd_buf *out, xd_error *err) XD_MUST;
/* rm -rf path, however deep; no symlink is followed; what its owner made unreadable goes too. 0 or the first -errno. */
int xd_path_remove_tree(const char *path);
/* First executable `name` on `path_list` ($PATH when NULL); malloc'ed; -ENOENT. */
int xd_path_find_program(const char *name, const char *path_list, char **ret) XD_MUST;
/* Path of this executable. -ENOENT: there is no /proc, and it was not started by an absolute path. */
int xd_path_self(char **ret) XD_MUST;
/* What starts this executable again: its path; where its file was replaced or removed, or it runs from memory (memfd), a path
 * below /proc that is good as long as this process runs. */
int xd_path_self_program(char **ret) XD_MUST;
/* "/proc/PID/name" of this process, which other processes of its user can open; malloc'ed. -ENOENT: there is no /proc. */
int  xd_path_of_process(const char *name, char **ret) XD_MUST;
bool xd_path_is_dir(const char *path);
