/* engine/runs.c - see runs.h. */
#include "engine/runs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"

int xd_runs_folder(const xd_folders *where, bool to_read, char **ret, xd_error *err)
{
    xd_autofree char *state = NULL;
    XD_TRY(xd_folders_state(where, to_read, &state, err));
    *ret = xd_path_join(state, "runs");
    return *ret ? 0 : -ENOMEM;
}

static int make_id(char out[XD_RUN_ID_LEN + 1])
{
    uint8_t  b[16];
    uint64_t ms = xd_clock_wall_us() / 1000;
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        return -EIO;
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(ms >> (8 * (5 - i)));
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", b[i]);
    return 0;
}

static int take_lock(const char *dir)
{
    xd_autoclose int folder = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    /* No link is followed: it would make, or lock, a file somewhere else. */
    int fd = openat(folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int xd_runs_create(const xd_folders *where, xd_run_dir *ret, xd_error *err)
{
    xd_autofree char *folder = NULL;
    xd_run_dir        d = XD_RUN_DIR_INIT;
    XD_TRY(xd_runs_folder(where, false, &folder, err));
    int r = xd_path_mkdirs(folder, 0700, err);
    if (r < 0)
        return xd_error_set(
            err, r,
            "cannot make the folder of runs, %s: %s; --state-dir or $XDG_STATE_HOME names another place",
            folder, xd_error_name(r));
    r = make_id(d.id);
    if (r < 0)
        return xd_error_set(err, r, "no random numbers for a run id: %s", xd_error_name(r));
    d.path = xd_path_join(folder, d.id);
    if (!d.path)
        return -ENOMEM;
    if (mkdir(d.path, 0700) < 0) {
        r = xd_error_set(
            err, -errno,
            "cannot make the folder of the run, %s: %s; --state-dir or $XDG_STATE_HOME names another place",
            d.path, strerror(errno));
        free(d.path);
        return r;
    }
    d.lock_fd = take_lock(d.path);
    if (d.lock_fd < 0) {
        r = xd_error_set(err, d.lock_fd, "cannot lock the folder of the run, %s: %s", d.path,
                         xd_error_name(d.lock_fd));
        free(d.path);
        return r;
    }
    *ret = d;
    return 0;
}

void xd_runs_scratch_name(uint16_t gateway, char *ret, size_t size)
{
    snprintf(ret, size, "env-%u", (unsigned)gateway);
}

void xd_run_dir_release(xd_run_dir *d)
{
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    free(d->path);
    *d = XD_RUN_DIR_INIT;
}

static bool is_id(const char *name)
{
    return strlen(name) == XD_RUN_ID_LEN && strspn(name, "0123456789abcdef") == XD_RUN_ID_LEN;
}

static int only_ids(const struct dirent *e)
{
    return is_id(e->d_name);
}

/* Names of all runs, newest first.  *ret is malloc'ed with each entry. */
int xd_runs_scan(const char *folder, struct dirent ***ret)
{
    int n = scandir(folder, ret, only_ids, alphasort);
    if (n < 0)
        return errno == ENOENT ? 0 : -errno;
    for (int i = 0; i < n / 2; i++) {
        struct dirent *t = (*ret)[i];
        (*ret)[i] = (*ret)[n - 1 - i];
        (*ret)[n - 1 - i] = t;
    }
    return n;
}

void xd_runs_scan_free(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    if (n > 0)
        free(names);
}

uint64_t xd_runs_started_us(const char *id)
{
    char head[13];
    memcpy(head, id, 12);
    head[12] = 0;
    return strtoull(head, NULL, 16) * 1000;
}

static uint64_t folder_bytes(const char *path)
{
    uint64_t sum = 0;
    DIR     *d = opendir(path);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_blocks * 512;
    }
    closedir(d);
    return sum;
}

/* What one project holds, counted from its newest run on. */
typedef struct group {
    char    *project;
    uint64_t runs, bytes;
} group;

/* Owns `project`. NULL without memory. */
static group *group_of(group **groups, size_t *count, char *project)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*groups)[i].project, project) == 0) {
            free(project);
            return &(*groups)[i];
        }
    group *grown = realloc(*groups, (*count + 1) * sizeof(*grown));
    if (!grown) {
        free(project);
        return NULL;
    }
    *groups = grown;
    grown[*count] = (group){ .project = project };
    return &grown[(*count)++];
}

/* 1 = it went. */
static int remove_run(const char *path)
{
    int lock = take_lock(path);
    if (lock < 0 && lock != -ELOOP && lock != -EISDIR)
        return 0; /* still runs, or is no folder. (A link or a folder as the lock: nobody can hold it.) */
    int gone = xd_path_remove_tree(path) == 0;
    if (lock >= 0)
        close(lock);
    return gone;
}

bool xd_runs_is_running(const char *dir)
{
    int lock = take_lock(dir);
    if (lock >= 0)
        close(lock);
    return lock == -EWOULDBLOCK;
}

/* Sizes of all; *ret_sum is what they make together. NULL without memory. */
static uint64_t *sizes_of(const char *folder, struct dirent **names, int n, uint64_t *ret_sum)
{
    uint64_t *sizes = calloc((size_t)n + 1, sizeof(*sizes));
    *ret_sum = 0;
    for (int i = 0; sizes && i < n; i++) {
        xd_autofree char *path = xd_path_join(folder, names[i]->d_name);
        sizes[i] = path ? folder_bytes(path) : 0;
        *ret_sum += sizes[i];
    }
    return sizes;
}

int xd_runs_retain(const xd_folders *where, uint64_t keep, uint64_t bytes, uint64_t age_ns)
{
    xd_autofree char *folder = NULL;
    struct dirent   **names = NULL;
    XD_TRY(xd_runs_folder(where, false, &folder, NULL));
    int n = xd_runs_scan(folder, &names);
    if (n < 0)
        return n;
    uint64_t              sum, now = xd_clock_wall_us();
    xd_autofree uint64_t *sizes = sizes_of(folder, names, n, &sum);
    const bool            all_fit = (uint64_t)n <= keep && sum <= bytes; /* whosever they are */
    group                *groups = NULL;
    size_t                n_groups = 0;
    int                   removed = 0, r = sizes ? 0 : -ENOMEM;
    for (int i = 0; i < n && r == 0; i++) {
        xd_autofree char *path = xd_path_join(folder, names[i]->d_name);
        uint64_t          start = xd_runs_started_us(names[i]->d_name);
        bool              keeps = start > now || now - start <= age_ns / 1000;
        if (!path) {
            r = -ENOMEM;
            break;
        }
        if (!all_fit) {
            xd_autofree char *cwd = NULL;
            char             *project = NULL;
            r = xd_runs_project(path, &project, &cwd);
            group *g = r < 0 ? NULL : group_of(&groups, &n_groups, project);
            if (!g)
                break;
            g->bytes += sizes[i];
            keeps = keeps && g->runs++ < keep && g->bytes <= bytes;
        }
        if (!keeps)
            removed += remove_run(path);
    }
    for (size_t i = 0; i < n_groups; i++)
        free(groups[i].project);
    free(groups);
    xd_runs_scan_free(names, n);
    return r < 0 ? r : removed;
}
