/* sync/place.c - the far half of a synchronisation: one file or link, written beside its place under a temporary name and renamed, but in a folder that is new (fresh.c). Any number of threads,
 * each with another entry. See far.h. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sync/far.h"

static struct timespec time_of(int64_t ns)
{
    int64_t s = ns / 1000000000, rest = ns % 1000000000;
    return rest < 0 ? (struct timespec){ s - 1, (long)(rest + 1000000000) }
                    : (struct timespec){ s, (long)rest };
}

static void count_up(uint32_t *n)
{
    (void)__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

/* A folder of the wanted tree that its owner may not change: opened up until all is done. */
static int open_up(far_worker *w, uint32_t folder)
{
    xd_far   *far = w->far;
    xd_entry *e = &far->want->entry[folder];
    char      name[XD_MANIFEST_NAME_MAX + 1];
    if (folder == 0 || e->type != XD_SYNC_FOLDER)
        return -EACCES;
    xd_autobuf path = XD_BUF_INIT;
    XD_TRY(far_path_now(far, e->parent, &path));
    xd_autoclose int parent = xd_beneath_folder(far->root, xd_buf_cstr(&path));
    if (parent < 0)
        return parent;
    far_name(far->want, e, name);
    XD_TRY(far_open_up(far, parent, name));
    __atomic_store_n(&e->mark, NEED_META, __ATOMIC_RELAXED);
    return 0;
}

int far_create_temp(far_worker *w, uint32_t entry, int folder, const char *temp)
{
    const xd_entry *e = &w->far->want->entry[entry];
    for (int tries = 0;; tries++) {
        int fd = openat(folder, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, e->mode);
        if (fd >= 0)
            return fd;
        int r = -errno;
        if (tries == 2)
            return r;
        if (r == -EACCES)
            XD_TRY(open_up(w, e->parent));
        else if (r != -EEXIST || (unlinkat(folder, temp, 0) != 0 && errno != ENOENT))
            return r;
    }
}

/* The entry's mode and time; what stat(2) says of it then. */
static int dress(const xd_entry *e, int fd, struct stat *ret)
{
    struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, time_of(e->mtime_ns) };
    if (futimens(fd, t) != 0 || fstat(fd, ret) != 0)
        return -errno;
    if ((ret->st_mode & 07777) == e->mode)
        return 0;
    if (fchmod(fd, e->mode) != 0)
        return errno == EPERM && ret->st_uid == geteuid() ? 0 : -errno; /* a file system without modes */
    return fstat(fd, ret) == 0 ? 0 : -errno;
}

/* Renames, whatever stands there. fd: of the temporary file; -1 = it is a link. */
static int settle(far_worker *w, uint32_t entry, int folder, const char *temp, int fd)
{
    xd_far         *far = w->far;
    const xd_entry *e = &far->want->entry[entry];
    char            name[XD_MANIFEST_NAME_MAX + 1];
    far_name(far->want, e, name);
    XD_TRY(far_compiled_stale(w, entry, folder, name));
    if (renameat(folder, temp, folder, name) != 0) {
        if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST)
            return -errno;
        xd_autobuf path = XD_BUF_INIT;
        XD_TRY(xd_manifest_path(far->want, entry, &path));
        XD_TRY(far_way_clear(far, folder, name, far->was[entry], xd_buf_view(&path)));
        if (renameat(folder, temp, folder, name) != 0)
            return -errno;
    }
    struct stat st;
    if ((fd >= 0 ? fstat(fd, &st) : fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW)) != 0)
        return -errno;
    far->print[entry] = xd_state_print(&st);
    return 0;
}

int far_place(far_worker *w, uint32_t entry, int folder, const char *temp, int fd)
{
    struct stat st;
    XD_TRY(dress(&w->far->want->entry[entry], fd, &st));
    return settle(w, entry, folder, temp, fd);
}

/* A file in a folder that nobody sees yet, under its own name. -EEXIST: there is one already. */
static int write_fresh(far_worker *w, uint32_t entry, int folder, xd_bytes content)
{
    const xd_entry *e = &w->far->want->entry[entry];
    char            name[XD_MANIFEST_NAME_MAX + 1];
    struct stat     st;
    far_name(w->far->want, e, name);
    xd_autoclose int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, e->mode);
    if (fd < 0)
        return -errno;
    int r = xd_beneath_write(fd, content);
    if (r >= 0)
        r = dress(e, fd, &st);
    if (r < 0)
        (void)unlinkat(folder, name, 0);
    else
        w->far->print[entry] = xd_state_print(&st);
    return r;
}

static int write_beside(far_worker *w, uint32_t entry, int folder, xd_bytes content)
{
    char temp[32];
    far_temp(entry, temp);
    xd_autoclose int fd = far_create_temp(w, entry, folder, temp);
    int              r = fd < 0 ? fd : xd_beneath_write(fd, content);
    if (r >= 0)
        r = far_place(w, entry, folder, temp, fd);
    if (r < 0 && fd >= 0)
        (void)unlinkat(folder, temp, 0);
    return r;
}

int far_write_file(far_worker *w, uint32_t entry, xd_bytes content)
{
    xd_far         *far = w->far;
    const xd_entry *e = &far->want->entry[entry];
    if (content.len != e->size || !xd_digest_eq(xd_digest_of(content), e->id))
        return 1;
    int folder = far_folder(w, far->want, e->parent);
    if (folder < 0)
        return far_fault_entry(far, folder, "write", entry);
    int r = far_is_fresh(far, e->parent) ? write_fresh(w, entry, folder, content) : -EEXIST;
    if (r == -EEXIST)
        r = write_beside(w, entry, folder, content);
    if (r < 0)
        return far_fault_entry(far, r, "write", entry);
    count_up(&far->written);
    (void)__atomic_fetch_add(&far->written_bytes, e->size, __ATOMIC_RELAXED);
    return 0;
}

static int make_link(far_worker *w, uint32_t entry)
{
    xd_far   *far = w->far;
    xd_entry *e = &far->want->entry[entry];
    char      temp[32];
    int       folder = far_folder(w, far->want, e->parent);
    if (folder < 0)
        return far_fault_entry(far, folder, "make the link", entry);
    xd_autofree char *target = xd_bytes_dup(xd_entry_target(far->want, e));
    if (!target)
        return -ENOMEM;
    far_temp(entry, temp);
    int r = symlinkat(target, folder, temp) == 0 ? 0 : -errno;
    if (r == -EACCES)
        r = open_up(w, e->parent);
    else if (r == -EEXIST)
        r = unlinkat(folder, temp, 0) == 0 ? 1 : -errno;
    if (r >= 0 && (r == 1 || faccessat(folder, temp, F_OK, AT_SYMLINK_NOFOLLOW) != 0))
        r = symlinkat(target, folder, temp) == 0 ? 0 : -errno;
    if (r == 0)
        r = settle(w, entry, folder, temp, -1);
    if (r < 0) {
        (void)unlinkat(folder, temp, 0);
        return far_fault_entry(far, r == -EPERM ? -EOPNOTSUPP : r, "make the link", entry); /* symlink(2) */
    }
    e->mark = NEED_NOTHING;
    return 0;
}

int far_make_one(far_worker *w, uint32_t entry)
{
    xd_entry *e = &w->far->want->entry[entry];
    if (e->mark != NEED_MAKE || xd_entry_is_folder(e))
        return 0;
    if (e->type == XD_SYNC_LINK)
        return make_link(w, entry);
    int r = far_write_file(w, entry, (xd_bytes){ 0 });
    if (r == 1)
        return far_fault_text(w->far, -EPROTO, "an empty file with the digest of another content");
    if (r == 0)
        e->mark = NEED_NOTHING;
    return r;
}

int far_meta_one(far_worker *w, uint32_t entry)
{
    xd_far     *far = w->far;
    xd_entry   *e = &far->want->entry[entry];
    char        name[XD_MANIFEST_NAME_MAX + 1];
    struct stat st;
    if (e->mark != NEED_META || e->type != XD_SYNC_FILE)
        return 0;
    int folder = far_folder(w, far->want, e->parent);
    if (folder < 0)
        return far_fault_entry(far, folder, "change", entry);
    far_name(far->want, e, name);
    xd_autoclose int fd = xd_beneath_file(folder, name, O_RDONLY, &st);
    int              r = fd < 0 ? fd : dress(e, fd, &st);
    if (r == 0) {
        far->print[entry] = xd_state_print(&st);
        e->mark = NEED_NOTHING;
        return 0;
    }
    if (r == -EROFS || r == -EIO)
        return far_fault_entry(far, r, "change", entry);
    /* Not ours to change, or not to be read, or gone meanwhile: a new one takes its place. */
    e->mark = e->size ? NEED_DATA : NEED_MAKE;
    return 0;
}
