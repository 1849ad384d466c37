/* sync/fresh.c - the far half of a synchronisation: folders that are new there. The topmost of them is made under a temporary name, beside its place, and is renamed when all of it is
 * there. So a folder comes whole, and files in it are written under their own names: half of one is never seen, and each saves a rename, a quarter of what it costs. See far.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sync/far.h"

bool far_is_fresh(const xd_far *far, uint32_t folder)
{
    return far->there[folder] == THERE_STAGED || far->there[folder] == THERE_FRESH;
}

int far_path_now(const xd_far *far, uint32_t folder, xd_buf *to)
{
    const xd_manifest *m = far->want;
    uint32_t           top = folder;
    while (top && far->there[top] != THERE_STAGED)
        top = m->entry[top].parent;
    if (!top)
        return xd_manifest_path(m, folder, to);
    xd_autobuf path = XD_BUF_INIT;
    char       temp[32];
    far_temp(top, temp);
    XD_TRY(xd_manifest_path(m, top, &path));
    size_t end = path.len, start = end - m->entry[top].name_len;
    xd_buf_clear(&path);
    XD_TRY(xd_manifest_path(m, folder, &path));
    XD_TRY(xd_buf_add(to, path.data, start));
    XD_TRY(xd_buf_add(to, temp, strlen(temp)));
    return xd_buf_add(to, path.data + end, path.len - end);
}

int far_make_fresh(xd_far *far, int parent, uint32_t i)
{
    xd_entry   *e = &far->want->entry[i];
    char        name[XD_MANIFEST_NAME_MAX + 1];
    struct stat st;
    bool        inside = far_is_fresh(far, e->parent);
    if (inside)
        far_name(far->want, e, name);
    else
        far_temp(i, name);
    if (mkdirat(parent, name, e->mode | 0700u) != 0)
        return -errno;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    far->there[i] = inside ? THERE_FRESH : THERE_STAGED;
    e->mark = (st.st_mode & 0777) == e->mode ? NEED_NOTHING : NEED_META;
    return 0;
}

int far_settle_fresh(far_worker *w, uint32_t i)
{
    xd_far *far = w->far;
    char    name[XD_MANIFEST_NAME_MAX + 1], temp[32];
    if (far->there[i] != THERE_STAGED)
        return 0;
    const xd_entry *e = &far->want->entry[i];
    int             folder = far_folder(w, far->want, e->parent);
    if (folder < 0)
        return folder;
    far_name(far->want, e, name);
    far_temp(i, temp);
    if (renameat(folder, temp, folder, name) != 0)
        return -errno;
    far->there[i] = THERE_FRESH;
    return 0;
}

void far_drop_fresh(far_worker *w, uint32_t i)
{
    char temp[32];
    int  folder = far_folder(w, w->far->want, w->far->want->entry[i].parent);
    far_temp(i, temp);
    if (folder >= 0)
        far_drop_tree(folder, temp, 0);
}

/* ---- what a run that was killed has left ------------------------------------------------------------------------ */

/* Removes files that may be half written: a whole one has the time of its source. */
static void drop_unfinished(const xd_manifest *m, uint32_t i, int fd)
{
    const xd_entry *f = &m->entry[i];
    for (uint32_t c = f->first; c < f->first + f->count; c++) {
        const xd_entry *e = &m->entry[c];
        char            name[XD_MANIFEST_NAME_MAX + 1];
        struct stat     st;
        far_name(m, e, name);
        if (xd_entry_is_folder(e)) {
            xd_autoclose int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (below >= 0)
                drop_unfinished(m, c, below);
        } else if (e->type == XD_SYNC_FILE && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                   ((uint64_t)st.st_size != e->size || far_ns(st.st_mtim) != e->mtime_ns)) {
            (void)!unlinkat(fd, name, 0);
        }
    }
}

static int adopt_one(far_worker *w, uint32_t i)
{
    const xd_manifest *m = w->far->broken.tree;
    const xd_entry    *e = &m->entry[i];
    char               name[XD_MANIFEST_NAME_MAX + 1], temp[32];
    struct stat        st;
    int                folder = i && xd_entry_is_folder(e) ? far_folder(w, m, e->parent) : -1;
    if (folder < 0)
        return 0;
    far_temp(i, temp);
    xd_autoclose int fd = openat(folder, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return 0;
    drop_unfinished(m, i, fd);
    far_name(m, e, name);
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 && renameat(folder, temp, folder, name) == 0)
        __atomic_store_n(&w->far->adopted, true, __ATOMIC_RELAXED);
    return 0; /* else it is swept away */
}

int far_adopt(xd_far *far)
{
    if (far->root < 0 || !far->broken.tree)
        return 0;
    XD_TRY(far_each(far, far->broken.tree->count, adopt_one));
    if (!far->adopted || !far->old.tree)
        return 0;
    return far_look_old(far); /* what it was looking for in vain may be there now */
}

void far_drop_tree(int parent, const char *name, unsigned depth)
{
    DIR *d = depth > XD_MANIFEST_DEPTH_MAX ? NULL : far_names_of(parent, name);
    if (!d)
        return;
    for (struct dirent *e; (e = far_next_name(d));)
        if (unlinkat(dirfd(d), e->d_name, 0) != 0)
            far_drop_tree(dirfd(d), e->d_name, depth + 1);
    closedir(d);
    (void)!unlinkat(parent, name, AT_REMOVEDIR);
}
