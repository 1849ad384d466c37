/* engine/runs.h - folders of runs: runs/<id> in the folder of the state (folders.h), newest last by name.
 * A run id is 128 bits in hex; its first 48 bits are the start in milliseconds since 1970, so that names sort
 * by time. */
#pragma once
#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/folders.h"
#include "engine/journal.h"
#include "engine/xd.h"

typedef struct xd_run_dir {
    char  id[XD_RUN_ID_LEN + 1];
    char *path;    /* owned */
    int   lock_fd; /* owned: held (flock) while the run lives, so that nobody removes it */
} xd_run_dir;
#define XD_RUN_DIR_INIT ((xd_run_dir){ .lock_fd = -1 })

/* Makes a new one, 0700, and takes its lock. */
int  xd_runs_create(const xd_folders *where, xd_run_dir *ret, xd_error *err) XD_MUST;
void xd_run_dir_release(xd_run_dir *d);

/* Name of the folder, inside that of the run, for what the processes of one environment leave for each other. */
void xd_runs_scratch_name(uint16_t gateway, char *ret, size_t size);

/* Removes runs of a project beyond `keep` runs or `bytes`, and of any that are older than age_ns; never one that is
 * locked. Returns how many went, or -errno. */
int xd_runs_retain(const xd_folders *where, uint64_t keep, uint64_t bytes, uint64_t age_ns) XD_MUST;

/* The project of the run in `dir`: pytest's rootdir, or where nobody got that far, the folder it was started in; "" when
 * its journal cannot be read. cwd: the latter. Both malloc'ed. -ENOMEM. */
int xd_runs_project(const char *dir, char **ret_project, char **ret_cwd) XD_MUST;
/* The value of an effective option (CONFIG.options) of the run with this journal; *ret stays unchanged if the journal has none.
 * -errno when the journal cannot be opened. */
int  xd_runs_option(const char *journal, const char *name, char *ret, size_t size) XD_MUST;
bool xd_runs_is_running(const char *dir);
/* The newest run that was started in where->work or has its project around it; malloc'ed. 1 = found, 0 = there is none
 * among the newest, -errno. */
int xd_runs_newest_here(const xd_folders *where, char **ret_dir) XD_MUST;

/* Between runs.c and runs_find.c. */
struct dirent;
int      xd_runs_folder(const xd_folders *where, bool to_read, char **ret, xd_error *err) XD_MUST;
int      xd_runs_scan(const char *folder, struct dirent ***ret) XD_MUST; /* newest first; their number */
void     xd_runs_scan_free(struct dirent **names, int n);
uint64_t xd_runs_started_us(const char *id);
