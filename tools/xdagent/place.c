/* See place.h. A scratch folder of our own is scratch-XXXXXX below xd_path_private(), with a lock on it for as long as this agent
 * lives: what agent and guard leave when both are killed is removed by the next agent that makes one. */
#include "tools/xdagent/place.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"

#define SCRATCH "scratch-"
#define TRIES 16

/* ---- scratch ------------------------------------------------------------------------------------------- */

/* A descriptor of the folder, locked; -EWOULDBLOCK: somebody else has the lock; -errno: it cannot be locked at all. */
static int lock_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

/* Folders of agents that are gone. One that has lost its lock to us just now, before its agent could take it, makes that
 * agent take another: see make_one(). */
static void remove_left(const char *base)
{
    DIR *d = opendir(base);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        if (strncmp(e->d_name, SCRATCH, strlen(SCRATCH)) != 0)
            continue;
        xd_autofree char *path = xd_path_join(base, e->d_name);
        xd_autoclose int  lock = path ? lock_folder(dirfd(d), e->d_name) : -1;
        if (lock >= 0)
            (void)xd_path_remove_tree(path);
    }
    closedir(d);
}

/* 0; 1 = another agent has taken it for one that was left behind; -errno. */
static int make_one(agent_place *p, const char *base)
{
    struct stat       st;
    xd_autofree char *path = xd_path_join(base, SCRATCH "XXXXXX");
    if (!path)
        return -ENOMEM;
    if (!mkdtemp(path))
        return -errno;
    int fd = lock_folder(AT_FDCWD, path);
    if (fd == -EWOULDBLOCK || fd == -ENOENT || (fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 0)) {
        if (fd >= 0)
            close(fd);
        return 1;
    }
    p->lock = fd; /* without one, where the file system has none: then nobody else can take it either */
    p->scratch = xd_take(&path);
    return 0;
}

static int own_scratch(agent_place *p, xd_error *err)
{
    xd_autofree char *base = NULL;
    int               r = 1;
    XD_TRY(xd_path_private(&base, err));
    remove_left(base);
    for (int i = 0; i < TRIES && r == 1; i++)
        r = make_one(p, base);
    if (r == 0)
        return 0;
    return xd_error_set(err, r < 0 ? r : -EBUSY, "no folder could be made in %s: %s", base,
                        xd_error_name(r < 0 ? r : -EBUSY));
}

/* The wished one is made here or not used: what stands there already is somebody else's. */
static int make_scratch(agent_place *p, const char *wish, xd_error *err)
{
    p->wished = wish && *wish == '/' && mkdir(wish, 0700) == 0;
    if (!p->wished)
        return own_scratch(p, err);
    p->scratch = strdup(wish);
    return p->scratch ? 0 : xd_error_set(err, -ENOMEM, "out of memory");
}

/* ---- folders ------------------------------------------------------------------------------------------- */

/* A name of the controller's, which knows nothing of this host: one component of a path, and no hidden one. */
bool agent_place_is_project(xd_bytes name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (size_t i = 0; i < name.len; i++)
        if (!memchr(allowed, name.ptr[i], sizeof(allowed) - 1))
            return false;
    return name.len && name.len <= 128 && name.ptr[0] != '.' && name.ptr[0] != '-';
}

static int project_folder(agent_place *p, xd_bytes project, xd_error *err)
{
    xd_autofree char *cache = NULL, *name = xd_bytes_dup(project), *work = NULL;
    if (!agent_place_is_project(project))
        return xd_error_set(err, -EINVAL, "'%.*s' cannot be the name of a project's folder", (int)project.len,
                            (const char *)project.ptr);
    XD_TRY(xd_path_cache(&cache, err));
    if (!name || !(work = xd_path_join(cache, "work")) || !(p->folder = xd_path_join(work, name)))
        return xd_error_set(err, -ENOMEM, "out of memory");
    p->made = access(p->folder, F_OK) != 0;
    XD_TRY(xd_path_mkdirs(p->folder, 0700, err));
    p->copied = realpath(p->folder, NULL);
    return p->copied ? 0 : xd_error_set(err, -errno, "%s: %s", p->folder, xd_error_name(-errno));
}

/* Its last component as execnet does, and those before it. */
static int make_folder(const char *path)
{
    int r = xd_path_mkdirs(path, 0777, NULL);
    return r == -EEXIST ? -ENOTDIR : r;
}

/* One that no file was brought to is missing: the tests may make it. */
static int folder_in_tree(agent_place *p, const agent_place_wish *where, xd_error *err)
{
    xd_autofree char *rel = xd_bytes_dup(where->synced);
    p->base = strdup(where->tree);
    p->base_real = realpath(where->tree, NULL);
    if (!rel || !p->base ||
        !(p->folder = strcmp(rel, ".") == 0 ? strdup(where->tree) : xd_path_join(where->tree, rel)))
        return xd_error_set(err, -ENOMEM, "out of memory");
    XD_TRY(xd_path_mkdirs(p->folder, 0755, err));
    p->copied = realpath(p->folder, NULL);
    return p->copied && p->base_real ? 0
                                     : xd_error_set(err, -errno, "%s: %s", p->folder, xd_error_name(-errno));
}

/* chdir= is made when it is missing. */
static int working_folder(agent_place *p, const agent_place_wish *where, xd_error *err)
{
    const xd_bytes    chdir = where->chdir, project = where->project;
    xd_autofree char *path = xd_bytes_dup(chdir);
    int               r = path ? 0 : -ENOMEM;
    if (r == 0 && where->synced.len && where->tree)
        return folder_in_tree(p, where, err);
    if (r == 0 && chdir.len == 0 && project.len)
        return project_folder(p, project, err);
    if (r == 0 && chdir.len == 0) {
        p->folder = getcwd(NULL, 0);
        r = p->folder ? 0 : -errno;
        return r < 0 ? xd_error_set(err, r, "the folder that it was started in is gone: %s", xd_error_name(r))
                     : 0;
    }
    if (r == 0)
        r = xd_path_absolute_home(path, &p->folder);
    if (r == 0) {
        p->made = access(p->folder, F_OK) != 0;
        r = make_folder(p->folder);
    }
    if (r == 0 && access(p->folder, X_OK) != 0)
        r = -errno;
    return r < 0 ? xd_error_set(err, r, "chdir=%s: %s", path ? path : "", xd_error_name(r)) : 0;
}

/* But for what earlier runs left: .pytest_cache. */
static bool is_empty(const char *folder)
{
    DIR           *d = opendir(folder);
    struct dirent *e = NULL;
    while (d && (e = readdir(d)) && e->d_name[0] == '.')
        ;
    if (d)
        closedir(d);
    return d && !e;
}

/* "" = there is none: the runner does with a temporary folder. */
static int cache_folder(agent_place *p, const char *wish)
{
    if ((!wish || !*wish) && xd_path_cache(&p->cache, NULL) == 0)
        return 0;
    p->cache = strdup(wish ? wish : "");
    return p->cache ? 0 : -ENOMEM;
}

int agent_place_find(agent_place *p, const agent_place_wish *where, const agent_wishes *wishes,
                     xd_error *no_scratch, xd_error *err)
{
    *p = AGENT_PLACE_INIT;
    p->elsewhere = where->project.len > 0;
    XD_TRY(working_folder(p, where, err));
    p->empty = is_empty(p->folder);
    if (cache_folder(p, wishes->cache_dir) < 0)
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (make_scratch(p, wishes->scratch_dir, no_scratch) < 0 && !(p->scratch = strdup("")))
        return xd_error_set(err, -ENOMEM, "out of memory");
    return 0;
}

void agent_place_release(agent_place *p)
{
    if (p->scratch && *p->scratch)
        (void)xd_path_remove_tree(p->scratch);
    if (p->lock >= 0)
        close(p->lock);
    free(p->scratch);
    free(p->cache);
    free(p->folder);
    free(p->copied);
    free(p->base);
    free(p->base_real);
    *p = AGENT_PLACE_INIT;
}
