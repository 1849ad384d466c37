/* sync/hash.c - see hash.h. */
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include "sync/hash.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/clock.h"
#include "engine/base/fault.h"

#define TRIES 3

static int stat_by(int fd, const char *name, int flags, xd_stat *ret)
{
    struct statx x;
    if (statx(fd, name, flags | AT_NO_AUTOMOUNT,
              STATX_TYPE | STATX_MODE | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_CTIME, &x) < 0)
        return -errno;
    ret->dev = x.stx_dev_major << 20 | x.stx_dev_minor;
    ret->ino = x.stx_ino;
    ret->size = x.stx_size;
    ret->mtime_ns = x.stx_mtime.tv_sec * (int64_t)XD_S_NS + x.stx_mtime.tv_nsec;
    ret->ctime_ns = x.stx_ctime.tv_sec * (int64_t)XD_S_NS + x.stx_ctime.tv_nsec;
    ret->mode = x.stx_mode;
    return 0;
}

int xd_stat_at(int folder_fd, const char *name, xd_stat *ret)
{
    return stat_by(folder_fd, name, AT_SYMLINK_NOFOLLOW, ret);
}

int xd_open_beneath(int folder_fd, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    long            fd = syscall(SYS_openat2, folder_fd, path, &how, sizeof(how));
    if (fd < 0 &&
        (errno == ENOSYS || errno == EPERM)) /* before Linux 5.6, or a sandbox that does not know it */
        fd = openat(folder_fd, path, flags | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : (int)fd;
}

int xd_open_file(int folder_fd, const char *name)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = openat(folder_fd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* of another owner */
        fd = openat(folder_fd, name, flags);
    return fd < 0 ? -errno : fd;
}

/* Reads until `size` bytes have come and nothing more does. 1: it was not of that size. */
static int digest(int fd, uint64_t size, const int *stop, uint8_t *buffer, xd_digest *ret)
{
    XXH3_state_t state;
    uint64_t     got = 0;
    (void)XXH3_128bits_reset(&state);
    for (;;) {
        if (stop && __atomic_load_n(stop, __ATOMIC_RELAXED))
            return -ECANCELED;
        ssize_t n = read(fd, buffer, XD_HASH_BUFFER);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        got += (uint64_t)n;
        if (got > size || (n == 0 && got < size))
            return 1;
        if (got == (uint64_t)n && got == size &&
            size < XD_HASH_BUFFER) { /* most files come in one piece, to their end */
            *ret = xd_digest_of((xd_bytes){ buffer, (size_t)n });
            return 0;
        }
        if (n == 0)
            break;
        (void)XXH3_128bits_update(&state, buffer, (size_t)n);
    }
    XXH128_hash_t h = XXH3_128bits_digest(&state);
    *ret = (xd_digest){ h.low64, h.high64 };
    return 0;
}

int xd_hash_file(int folder_fd, const char *name, const int *stop, uint8_t *buffer, xd_stat *st,
                 xd_digest *ret)
{
    for (int i = 0; i < TRIES; i++) {
        xd_stat          after = { 0 };
        xd_autoclose int fd = xd_open_file(folder_fd, name);
        if (fd < 0)
            return fd;
        if (i > 0)
            XD_TRY(stat_by(fd, "", AT_EMPTY_PATH, st));
        if (!S_ISREG(st->mode))
            return -EINVAL;
        int r = digest(fd, st->size, stop, buffer, ret);
        XD_FAULT("hash-read");
        XD_TRY(r);
        XD_TRY(stat_by(fd, "", AT_EMPTY_PATH, &after));
        if (r == 0 && xd_stat_eq(st, &after))
            return 0;
    }
    return -EAGAIN;
}
