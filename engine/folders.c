/* engine/folders.c - see folders.h. */
#include "engine/folders.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"

int xd_folders_resolve(const xd_folders *f, char **name)
{
    if (!*name || (*name)[0] == '/')
        return 0;
    char *path = f->work ? xd_path_join(f->work, *name) : NULL;
    if (!path)
        return f->work ? -ENOMEM : -ENOENT;
    free(*name);
    *name = path;
    return 0;
}

static int folder(const xd_folders *f, const char *option, char **ret)
{
    if (!option)
        return 0;
    *ret = strdup(option);
    return *ret ? xd_folders_resolve(f, ret) : -ENOMEM;
}

int xd_folders_init(xd_folders *f, const xd_config *cfg, xd_error *err)
{
    *f = (xd_folders){ 0 };
    int r = 0;
    f->work = cfg && cfg->work_dir ? realpath(cfg->work_dir, NULL) : getcwd(NULL, 0);
    if (!f->work && errno == ENOMEM)
        return -ENOMEM;
    if (cfg && cfg->work_dir && (!f->work || !xd_path_is_dir(f->work) || access(f->work, X_OK) < 0))
        r = xd_error_set(err, -EINVAL, "option --work-dir: %s is no folder that can be entered",
                         cfg->work_dir);
    if (r == 0 && cfg)
        r = folder(f, cfg->state_dir, &f->state);
    if (r == 0 && cfg)
        r = folder(f, cfg->cache_dir, &f->cache);
    if (r < 0)
        xd_folders_release(f);
    return r < 0 && err && !err->text[0]
               ? xd_error_set(err, r, "cannot determine the current directory: %s", xd_error_name(r))
               : r;
}

int xd_folders_apply(const xd_folders *f, xd_config *cfg)
{
    if (!cfg->work_dir)
        return 0;
    if (cfg->agent && strchr(cfg->agent, '/'))
        XD_TRY(xd_folders_resolve(f, &cfg->agent));
    if (cfg->python && strchr(cfg->python, '/') && cfg->python[0] != '/') {
        xd_autofree char *there = xd_path_join(f->work, cfg->python);
        if (there && access(there, X_OK) == 0) /* else it is a command line, which is started there */
            XD_TRY(xd_folders_resolve(f, &cfg->python));
    }
    if (cfg->keys)
        XD_TRY(xd_folders_resolve(f, &cfg->keys));
    return xd_folders_resolve(f, &cfg->jsonl);
}

void xd_folders_release(xd_folders *f)
{
    free(f->work);
    free(f->state);
    free(f->cache);
    *f = (xd_folders){ 0 };
}

static int make(const char *option, const char *path, xd_error *err)
{
    int r = path ? xd_path_mkdirs(path, 0700, NULL) : 0;
    if (path && r == 0 && access(path, W_OK | X_OK) < 0)
        r = -errno;
    return r < 0 ? xd_error_set(err, -EINVAL, "option --%s: %s cannot be made or written: %s", option, path,
                                xd_error_name(r))
                 : 0;
}

int xd_folders_make(const xd_folders *f, xd_error *err)
{
    XD_TRY(make("state-dir", f->state, err));
    return make("cache-dir", f->cache, err);
}

static int copy(const char *path, char **ret)
{
    *ret = strdup(path);
    return *ret ? 0 : -ENOMEM;
}

int xd_folders_state(const xd_folders *f, bool to_read, char **ret, xd_error *err)
{
    if (f->state)
        return copy(f->state, ret);
    return to_read ? xd_path_state_seen(ret, err) : xd_path_state(ret, err);
}

int xd_folders_cache(const xd_folders *f, char **ret, xd_error *err)
{
    return f->cache ? copy(f->cache, ret) : xd_path_cache(ret, err);
}
