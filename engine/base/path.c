/* engine/base/path.c - see path.h. */
#include "engine/base/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static int remove_below(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *d = fdopendir(fd);
    if (!d) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int one = remove_below(dirfd(d), e->d_name);
        r = r < 0 ? r : one;
    }
    closedir(d);
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && r == 0)
        r = -errno;
    return r;
}

int xd_path_remove_tree(const char *path)
{
    return remove_below(AT_FDCWD, path);
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
    char    text[4096];
    ssize_t n = readlink("/proc/self/exe", text, sizeof(text) - 1);
    if (n < 0)
        return -errno;
    text[n] = 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}
