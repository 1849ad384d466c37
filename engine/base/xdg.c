/* engine/base/xdg.c - folders for what is kept between runs; see path.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"

/* Where a kind of files belongs: $variable/xd, else $HOME/below/xd; else xd_path_private()/name. */
typedef struct place {
    const char *variable, *below, *name;
} place;

static const place state_place = { "XDG_STATE_HOME", ".local/state", "state" };
static const place cache_place = { "XDG_CACHE_HOME", ".cache", "cache" };

/* ---- where it belongs ----------------------------------------------------------------------------------- */

/* Can it be written, or made? The folder above which all is missing decides. */
static int usable(const char *path)
{
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0)
        return xd_path_is_dir(path) ? 0 : -ENOTDIR;
    if (errno != ENOENT)
        return -errno;
    xd_autofree char *parent = xd_path_dir(path);
    if (!parent)
        return -ENOMEM;
    return strcmp(parent, path) == 0 ? -ENOENT : usable(parent);
}

/* *ret is NULL only where no variable names a folder. 0, or -errno and err: why it cannot be used. */
static int preferred(const place *p, char **ret, xd_error *err)
{
    const char *base = getenv(p->variable), *home = getenv("HOME");
    *ret = NULL;
    if (base && base[0] == '/') { /* relative values are to be ignored, says the specification */
        *ret = xd_path_join(base, "xd");
    } else if (!home || home[0] != '/') {
        return xd_error_set(err, -ENOENT, "neither $%s nor $HOME names a folder", p->variable);
    } else {
        xd_autofree char *below = xd_path_join(home, p->below);
        *ret = below ? xd_path_join(below, "xd") : NULL;
        if (!xd_path_is_dir(home)) /* it is not ours to make: some accounts must not have one */
            return xd_error_set(err, *ret ? -ENOENT : -ENOMEM, "the folder $HOME, %s, does not exist", home);
    }
    if (!*ret)
        return xd_error_set(err, -ENOMEM, "out of memory");
    int r = usable(*ret);
    return r < 0 ? xd_error_set(err, r, "%s cannot be written (%s)", *ret, xd_error_name(r)) : 0;
}

/* ---- the fall-back -------------------------------------------------------------------------------------- */

/* Whoever owns the folder above could put another one in the place of ours. */
static bool trusted(const char *above)
{
    struct stat st;
    return stat(above, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_uid == geteuid() || st.st_uid == 0) &&
           (!(st.st_mode & 022) || (st.st_mode & S_ISVTX));
}

static int check_private(const char *path, xd_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return xd_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return xd_error_set(err, -EPERM, "%s is not a folder that only this user can enter; remove it", path);
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0)
        return xd_error_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

/* 0, 1 = it is not there and was not made, -errno. */
static int private_in(const char *above, bool make, char **ret, xd_error *err)
{
    char name[32];
    snprintf(name, sizeof(name), "xd-%u", (unsigned)geteuid());
    xd_autofree char *path = xd_path_join(above, name);
    if (!path)
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (!trusted(above))
        return xd_error_set(err, -EPERM, "%s is not there, or others can exchange what is in it", above);
    if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
        return xd_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!make && access(path, F_OK) < 0)
        return 1;
    XD_TRY(check_private(path, err));
    *ret = xd_take(&path);
    return 0;
}

static int find_private(bool make, char **ret, xd_error *err)
{
    const char *tmp = getenv("TMPDIR");
    const char *above[] = { tmp && tmp[0] == '/' ? tmp : "/tmp", "/tmp", "/var/tmp", "/dev/shm" };
    xd_error    first = { 0 };
    int         missing = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(above); i++) {
        xd_error why = { 0 };
        int      r = private_in(above[i], make, ret, &why);
        if (r == 0)
            return 0;
        missing |= r == 1;
        if (r < 0 && first.code == 0)
            first = why;
    }
    if (missing)
        return 1;
    return xd_error_set(err, first.code, "%s", first.text);
}

int xd_path_private(char **ret, xd_error *err)
{
    return find_private(true, ret, err);
}

/* ---- one or the other ----------------------------------------------------------------------------------- */

static int choose(const place *p, char **ret, xd_error *err)
{
    xd_error          why = { 0 }, also = { 0 };
    xd_autofree char *first = NULL, *base = NULL;
    if (preferred(p, &first, &why) == 0) {
        *ret = xd_take(&first);
        return 0;
    }
    int r = find_private(true, &base, &also);
    if (r < 0)
        return xd_error_set(err, r, "%s, and neither can a folder for temporary files: %s", why.text,
                            also.text);
    *ret = xd_path_join(base, p->name);
    return *ret ? 0 : -ENOMEM;
}

int xd_path_state(char **ret, xd_error *err)
{
    return choose(&state_place, ret, err);
}

int xd_path_cache(char **ret, xd_error *err)
{
    return choose(&cache_place, ret, err);
}

int xd_path_state_seen(char **ret, xd_error *err)
{
    xd_error          why = { 0 };
    xd_autofree char *first = NULL, *base = NULL;
    int               r = preferred(&state_place, &first, &why);
    if (r < 0 && find_private(false, &base, &why) == 0) {
        *ret = xd_path_join(base, state_place.name);
        return *ret ? 0 : -ENOMEM;
    }
    if (!first)
        return choose(&state_place, ret, err);
    *ret = xd_take(&first);
    return 0;
}

int xd_path_moved(bool of_state, bool of_cache, char *note, size_t size)
{
    xd_error          no_state = { 0 }, no_cache = { 0 };
    xd_autofree char *state = NULL, *cache = NULL, *base = NULL;
    int               s = of_state ? preferred(&state_place, &state, &no_state) : 0;
    int               c = of_cache ? preferred(&cache_place, &cache, &no_cache) : 0;
    if ((s == 0 && c == 0) || find_private(true, &base, NULL) != 0)
        return 0;
    snprintf(note, size, "%s kept in %s, because %s; $XDG_STATE_HOME and $XDG_CACHE_HOME name other places",
             s == 0   ? "durations of tests and the adapter are"
             : c == 0 ? "the journals of runs are"
                      : "the journals of runs and durations of tests are",
             base, s < 0 ? no_state.text : no_cache.text);
    return 1;
}
