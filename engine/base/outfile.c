#include "engine/base/outfile.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

static int failed(const char *path, int code, xd_error *err)
{
    return xd_error_set(err, code, "cannot write %s: %s", path, xd_error_name(code));
}

/* Non-blocking only while it is opened: a pipe without a reader is an error, not a wait. */
static int open_through(xd_outfile *f, const char *path)
{
    f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (f->fd < 0)
        return -errno;
    int flags = fcntl(f->fd, F_GETFL);
    return flags < 0 || fcntl(f->fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

/* 0, 1 = no file can be made beside it, -errno. `old`: the file that is to be exchanged, NULL = there is none. */
static int open_beside(xd_outfile *f, const char *path, const struct stat *old)
{
    size_t len = strlen(path) + 32;
    f->final = strdup(path);
    f->temp = malloc(len);
    if (!f->final || !f->temp)
        return -ENOMEM;
    for (int tries = 0; f->fd < 0 && tries < 100; tries++) { /* not mkstemp: the umask counts */
        snprintf(f->temp, len, "%s.xd-%x%05x", path, (unsigned)getpid(), (unsigned)(xd_clock_ns() & 0xfffff));
        f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (f->fd < 0 && errno != EEXIST)
            break;
    }
    if (f->fd < 0) {
        int code = -errno;
        free(f->temp);
        f->temp = NULL;
        return code == -EACCES || code == -EPERM || code == -EROFS || code == -ENAMETOOLONG ? 1 : code;
    }
    if (old) {
        (void)!fchown(f->fd, old->st_uid, old->st_gid); /* may be refused; then it is ours */
        return fchmod(f->fd, old->st_mode & 0777) < 0 ? -errno : 0;
    }
    return 0;
}

int xd_outfile_open(xd_outfile *ret, const char *path, xd_error *err)
{
    xd_outfile        f = XD_OUTFILE_INIT;
    struct stat       st;
    xd_autofree char *real = realpath(path, NULL);
    bool              there = real && stat(real, &st) == 0, dangling = !real && lstat(path, &st) == 0;
    int               r = 1;
    if (!dangling && (!there || (S_ISREG(st.st_mode) && st.st_nlink == 1)))
        r = open_beside(&f, there ? real : path, there ? &st : NULL);
    if (r == 1)
        r = open_through(&f, path);
    if (r < 0) {
        xd_outfile_abandon(&f);
        return failed(path, r, err);
    }
    *ret = f;
    return 0;
}

int xd_outfile_commit(xd_outfile *f, const char *path, xd_error *err)
{
    int r = close(f->fd) < 0 ? -errno : 0;
    f->fd = -1;
    if (r == 0 && f->temp && rename(f->temp, f->final) < 0)
        r = -errno;
    if (r == 0) {
        free(f->temp);
        f->temp = NULL;
    }
    xd_outfile_abandon(f);
    return r < 0 ? failed(path, r, err) : 0;
}

void xd_outfile_abandon(xd_outfile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->temp)
        (void)unlink(f->temp);
    free(f->temp);
    free(f->final);
    *f = XD_OUTFILE_INIT;
}
