/* sync/beneath.c - see beneath.h. */
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include "sync/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#define TRIES 8 /* a folder that is moved while it is passed: -EAGAIN */

int xd_beneath_walk(int root, const char *path, int flags, mode_t mode)
{
    char name[XD_MANIFEST_NAME_MAX + 1];
    int  at = root;
    flags |= O_NOFOLLOW | O_CLOEXEC;
    for (;;) {
        size_t len = strcspn(path, "/");
        bool   last = !path[len];
        int    next = -ENOENT;
        if (len > XD_MANIFEST_NAME_MAX)
            next = -ENAMETOOLONG;
        else if (len && !(len == 2 && path[0] == '.' && path[1] == '.')) {
            memcpy(name, path, len);
            name[len] = 0;
            next = last ? openat(at, name, flags, mode)
                        : openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            next = next < 0 ? -errno : next;
        }
        if (at != root)
            close(at);
        if (next < 0 || last)
            return next;
        at = next;
        path += len + 1;
    }
}

int xd_beneath_open(int root, const char *path, int flags, mode_t mode)
{
    struct open_how how = { .flags = (uint32_t)(flags | O_NOFOLLOW | O_CLOEXEC),
                            .mode = flags & O_CREAT ? mode : 0,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    int             fd = -1;
    for (int i = 0; i < TRIES; i++) {
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    if (fd >= 0)
        return fd;
    if (errno == ENOSYS || errno == EPERM) /* EPERM: old container runtimes forbid what they do not know */
        return xd_beneath_walk(root, path, flags, mode);
    return errno == EXDEV ? -ENOENT : -errno;
}

int xd_beneath_folder(int root, const char *path)
{
    return xd_beneath_open(root, path, O_PATH | O_DIRECTORY, 0);
}

int xd_beneath_file(int folder, const char *name, int flags, struct stat *ret)
{
    int fd = openat(folder, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, ret) == 0 && S_ISREG(ret->st_mode))
        return fd;
    close(fd);
    return -ENXIO;
}

int xd_beneath_hash(int fd, uint8_t *room, size_t size, const int *stop, xd_digest *ret, uint64_t *ret_bytes)
{
    XXH3_state_t hash;
    uint64_t     bytes = 0;
    (void)XXH3_128bits_reset(&hash);
    for (;;) {
        ssize_t n = read(fd, room, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        if (stop && __atomic_load_n(stop, __ATOMIC_RELAXED))
            return -ECANCELED;
        bytes += (uint64_t)n;
        (void)XXH3_128bits_update(&hash, room, (size_t)n);
    }
    XXH128_hash_t h = XXH3_128bits_digest(&hash);
    *ret = (xd_digest){ h.low64, h.high64 };
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

int xd_beneath_write(int fd, xd_bytes data)
{
    while (data.len) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        data.ptr += n;
        data.len -= (size_t)n;
    }
    return 0;
}
