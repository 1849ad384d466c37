/* engine/base/path.c - see path.h. */
#include "engine/base/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

char *xd_path_join(const char *dir, const char *name)
{
    if (name[0] == '/' || !dir[0])
        return strdup(name);
    size_t len = strlen(dir) + strlen(name) + 2;
    char  *path = malloc(len);
    if (path)
        snprintf(path, len, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name);
    return path;
}

const char *xd_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *xd_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

bool xd_path_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || strcmp(path, "/") == 0)
        return false;
    slash[slash == path] = 0;
    return true;
}

int xd_path_absolute(const char *path, char **ret)
{
    if (path[0] == '/') {
        *ret = strdup(path);
        return *ret ? 0 : -ENOMEM;
    }
    xd_autofree char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return -errno;
    *ret = xd_path_join(cwd, path);
    return *ret ? 0 : -ENOMEM;
}

int xd_path_absolute_home(const char *path, char **ret)
{
    const char *home = getenv("HOME");
    if (path[0] != '~' || (path[1] && path[1] != '/') || !home || home[0] != '/')
        return xd_path_absolute(path, ret);
    const char *rest = path + 1 + strspn(path + 1, "/");
    *ret = *rest ? xd_path_join(home, rest) : strdup(home);
    return *ret ? 0 : -ENOMEM;
}

bool xd_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int xd_path_mkdirs(const char *path, mode_t mode, xd_error *err)
{
    if (xd_path_is_dir(path))
        return 0;
    xd_autofree char *parent = xd_path_dir(path);
    if (!parent)
        return -ENOMEM;
    if (strcmp(parent, path) != 0 && strcmp(parent, ".") != 0)
        XD_TRY(xd_path_mkdirs(parent, mode, err));
    if (mkdir(path, mode) == 0 || (errno == EEXIST && xd_path_is_dir(path)))
        return 0;
    return xd_error_set(err, -errno, "cannot make the folder %s: %s", path, strerror(errno));
}

static int write_all(int fd, xd_bytes data)
{
    while (data.len) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data.ptr += n;
        data.len -= (size_t)n;
    }
    return 0;
}

int xd_path_write_file(const char *path, xd_bytes data, mode_t mode, xd_error *err)
{
    size_t            len = strlen(path) + 16;
    xd_autofree char *temp = malloc(len);
    if (!temp)
        return -ENOMEM;
    snprintf(temp, len, "%s.XXXXXX", path);
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return xd_error_set(err, -errno, "cannot write %s: %s", path, strerror(errno));
    int r = write_all(fd, data);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(temp);
        return xd_error_set(err, r, "cannot write %s: %s", path, xd_error_name(r));
    }
    return 0;
}

int xd_path_read_file(const char *path, size_t limit, xd_buf *out, xd_error *err)
{
    xd_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return xd_error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    for (size_t start = out->len;;) {
        XD_TRY(xd_buf_reserve(out, 65536));
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return xd_error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        if (out->len - start > limit)
            return xd_error_set(err, -EFBIG, "%s is larger than %zu bytes", path, limit);
    }
}

/* Opens a folder to empty it; one that its owner may not enter or change is made so that he may. */
static int open_folder(int parent, const char *name)
{
    const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int       fd = openat(parent, name, how);
    if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
        fd = openat(parent, name, how);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
        (void)!fchmod(fd, 0700);
    return fd < 0 ? -errno : fd;
}

/* Moves the folder `name` of `from` to `top`, under a name that is free there. */
static int move_up(int top, int from, const char *name, unsigned *number)
{
    char to[32];
    int  r;
    do {
        snprintf(to, sizeof(to), ".xd-remove-%u", (*number)++);
        r = renameat2(from, name, top, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
    } while (r == -EEXIST);
    return r;
}

/* Empties the folder `dir`: files go at once; folders too when it is the top itself, else they move up to the top, so
 * that however deep they lie, two descriptors are enough. *ret_gone counts; the first error is returned. */
static int empty(DIR *dir, int top, unsigned *number, unsigned *ret_gone)
{
    int r = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int one = unlinkat(dirfd(dir), e->d_name, 0) == 0 || errno == ENOENT ? 0 : -errno;
        if (one == -EISDIR || one == -EPERM) {
            if (dirfd(dir) != top) {
                int fd = open_folder(dirfd(dir), e->d_name); /* a folder that is moved must be writable */
                if (fd >= 0)
                    close(fd);
                one = fd < 0 ? fd : move_up(top, dirfd(dir), e->d_name, number);
            } else {
                int  fd = open_folder(top, e->d_name);
                DIR *below = fd < 0 ? NULL : fdopendir(fd);
                one = fd < 0 ? fd : below ? empty(below, top, number, ret_gone) : -errno;
                if (below)
                    closedir(below);
                else if (fd >= 0)
                    close(fd);
                if (one == 0 && unlinkat(top, e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                    one = -errno;
            }
        }
        *ret_gone += one == 0;
        r = r < 0 ? r : one;
    }
    return r;
}

int xd_path_remove_tree(const char *path)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int top = open_folder(AT_FDCWD, path);
    if (top < 0)
        return top;
    DIR *d = fdopendir(top);
    if (!d) {
        int r = -errno;
        close(top);
        return r;
    }
    unsigned gone, number = 0;
    int      r;
    do { /* what a pass moved up, another removes; one that removes nothing is the last */
        gone = 0;
        rewinddir(d);
        r = empty(d, top, &number, &gone);
    } while (gone);
    closedir(d);
    return rmdir(path) == 0 ? 0 : r < 0 ? r : -errno;
}

int xd_path_find_program(const char *name, const char *path_list, char **ret)
{
    const char *list = path_list ? path_list : getenv("PATH");
    for (const char *p = list ? list : "/usr/local/bin:/usr/bin:/bin"; *p;) {
        size_t            len = strcspn(p, ":");
        xd_autofree char *dir = len ? strndup(p, len) : strdup(".");
        xd_autofree char *path = dir ? xd_path_join(dir, name) : NULL;
        struct stat       st;
        if (!path)
            return -ENOMEM;
        if (access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            *ret = xd_take(&path);
            return 0;
        }
        p += len + (p[len] == ':');
    }
    return -ENOENT;
}

int xd_path_self(char **ret)
{
    char          text[4096];
    const char   *self = text;
    const ssize_t n = readlink("/proc/self/exe", text, sizeof(text) - 1);
    const int     r = n < 0 ? -errno : 0;
    if (r == 0)
        text[n] = 0;
    else /* there is no /proc: as it was started */
        self = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    if (r < 0 && (!self || self[0] != '/'))
        return r;
    *ret = strdup(self);
    return *ret ? 0 : -ENOMEM;
}

int xd_path_self_program(char **ret)
{
    xd_autofree char *self = NULL;
    XD_TRY(xd_path_self(&self));
    if (self && access(self, X_OK) == 0) {
        *ret = xd_take(&self);
        return 0;
    }
    return xd_path_of_process("exe", ret);
}

int xd_path_of_process(const char *name, char **ret)
{
    char       self[32]; /* as this /proc counts processes, which may be another namespace's */
    xd_autobuf path = XD_BUF_INIT;
    ssize_t    n = readlink("/proc/self", self, sizeof(self) - 1);
    if (n < 0)
        return -errno;
    self[n] = 0;
    XD_TRY(xd_buf_printf(&path, "/proc/%s/%s", self, name));
    *ret = xd_bytes_dup(xd_buf_view(&path));
    return *ret ? 0 : -ENOMEM;
}
