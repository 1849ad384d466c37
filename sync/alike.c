/* sync/alike.c - the far half of a synchronisation: names that the file system there may take for one, as those that differ in case do on FAT, NTFS or a folder of ext4 that ignores case. See far.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "sync/far.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* The same for names that some file system might take for one: ASCII without case, and all else alike. Others may have it, too. */
static uint32_t fold(xd_bytes name)
{
    uint8_t folded[XD_MANIFEST_NAME_MAX];
    size_t  n = 0;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        if (c < 0x80)
            folded[n++] = lower(c);
        else if (n == 0 || folded[n - 1] != 0x80)
            folded[n++] = 0x80; /* however many bytes: composed and decomposed differ in that */
    }
    return (uint32_t)XXH3_64bits(folded, n);
}

/* Is it the case of ASCII letters alone in which they differ? Who ignores case takes such names for one; of others it takes a look. */
static int compare_lower(xd_bytes a, xd_bytes b)
{
    size_t same = 0;
    while (same < a.len && same < b.len && lower(a.ptr[same]) == lower(b.ptr[same]))
        same++;
    if (same < a.len && same < b.len)
        return lower(a.ptr[same]) - lower(b.ptr[same]);
    return (a.len > b.len) - (a.len < b.len);
}

static bool lists_both(int folder, const char *a, const char *b)
{
    unsigned found = 0;
    DIR     *d = far_names_of(folder, ".");
    if (!d)
        return true;
    for (struct dirent *e; (e = far_next_name(d));)
        found += strcmp(e->d_name, a) == 0 || strcmp(e->d_name, b) == 0;
    closedir(d);
    return found > 1;
}

/* Both lead to something. Is it the same? File systems in user space make up an inode number for each name, so with theirs the listing tells. */
static bool lead_to_one(int folder, const char *a, const char *b)
{
    struct stat s, t;
    if (fstatat(folder, a, &s, AT_SYMLINK_NOFOLLOW) != 0 || fstatat(folder, b, &t, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    return (s.st_dev == t.st_dev && s.st_ino == t.st_ino) ||
           (compare_lower(xd_bytes_str(a), xd_bytes_str(b)) == 0 && !lists_both(folder, a, b));
}

bool far_ignores_case(xd_far *far)
{
    static const char *const own[][2] = { { XD_STATE_NAME, ".XD-SYNC" }, { XD_STATE_NEW, ".XD-SYNC-NEW" } };
    int                      known = __atomic_load_n(&far->ignores_case, __ATOMIC_RELAXED);
    for (size_t i = 0; far->root >= 0 && known == 0 && i < XD_ARRAY_LEN(own); i++)
        if (faccessat(far->root, own[i][0], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            known = lead_to_one(far->root, own[i][0], own[i][1]) ? 1 : -1;
    __atomic_store_n(&far->ignores_case, known, __ATOMIC_RELAXED);
    return known > 0;
}

/* ---- two names for one -------------------------------------------------------------------------------------------- */

/* One of several names of a folder that fold alike. */
typedef struct alike {
    xd_bytes name;
    uint32_t key, child;
    dev_t    dev;
    ino_t    ino;
} alike;

static int by_inode(const void *a, const void *b)
{
    const alike *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->ino != y->ino ? (x->ino < y->ino ? -1 : 1) : (x->dev > y->dev) - (x->dev < y->dev);
}

static int by_lower(const void *a, const void *b)
{
    const alike *x = a, *y = b;
    return compare_lower(x->name, y->name);
}

static int are_one(far_worker *w, uint32_t folder, const alike *a, const alike *b)
{
    xd_far            *far = w->far;
    const xd_manifest *m = far->want;
    char               x[XD_MANIFEST_NAME_MAX + 1], y[XD_MANIFEST_NAME_MAX + 1];
    xd_autobuf         path = XD_BUF_INIT;
    far_name(m, &m->entry[XD_MIN(a->child, b->child)], x);
    far_name(m, &m->entry[XD_MAX(a->child, b->child)], y);
    XD_TRY(xd_manifest_path(m, folder, &path));
    return far_fault_text(far, -EEXIST,
                          "%s and %s in %s%s%s are one name to the file system there: rename one of them, or "
                          "choose another folder",
                          x, y, far->folder, folder ? "/" : "", folder ? xd_buf_cstr(&path) : "");
}

/* n names that fold alike with another one; they need not stand there. */
static int look_at_alike(far_worker *w, uint32_t folder, alike *list, uint32_t n)
{
    char     name[XD_MANIFEST_NAME_MAX + 1], other[XD_MANIFEST_NAME_MAX + 1];
    uint32_t found = 0;
    int      fd = far_folder(w, w->far->want, folder);
    for (uint32_t i = 0; fd >= 0 && i < n; i++) {
        struct stat st;
        far_name(w->far->want, &w->far->want->entry[list[i].child], name);
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        list[found] = list[i];
        list[found].dev = st.st_dev;
        list[found++].ino = st.st_ino;
    }
    qsort(list, found, sizeof(*list), by_inode);
    for (uint32_t i = 1; i < found; i++)
        if (by_inode(&list[i - 1], &list[i]) == 0)
            return are_one(w, folder, &list[i - 1], &list[i]);
    if (!found || !far_ignores_case(w->far))
        return 0;
    qsort(list, found, sizeof(*list), by_lower);
    for (uint32_t i = 1; i < found; i++) {
        if (by_lower(&list[i - 1], &list[i]) != 0)
            continue;
        far_name(w->far->want, &w->far->want->entry[list[i - 1].child], name);
        far_name(w->far->want, &w->far->want->entry[list[i].child], other);
        if (lead_to_one(fd, name, other))
            return are_one(w, folder, &list[i - 1], &list[i]);
    }
    return 0;
}

/* Of one folder. Names in it that fold alike stand there as two files, or it cannot be. */
int far_fold_folder(far_worker *w, uint32_t i)
{
    const xd_manifest *m = w->far->want;
    const xd_entry    *f = &m->entry[i];
    if (!xd_entry_is_folder(f) || f->count < 2)
        return 0;
    uint32_t slots = 4, n = 0;
    while (slots < f->count * 2)
        slots *= 2;
    xd_autofree uint32_t *slot = calloc(slots, sizeof(*slot)); /* of the first child with a key */
    xd_autofree uint32_t *key = malloc(f->count * sizeof(*key));
    xd_autofree bool     *shared = calloc(f->count, sizeof(*shared));
    if (!slot || !key || !shared)
        return -ENOMEM;
    for (uint32_t c = 0; c < f->count; c++) {
        key[c] = fold(xd_entry_name(m, &m->entry[f->first + c]));
        uint32_t at = key[c] & (slots - 1);
        while (slot[at] && key[slot[at] - 1] != key[c])
            at = (at + 1) & (slots - 1);
        if (!slot[at]) {
            slot[at] = c + 1;
            continue;
        }
        n += 1u + !shared[slot[at] - 1];
        shared[c] = shared[slot[at] - 1] = true;
    }
    xd_autofree alike *list = n ? calloc(n, sizeof(*list)) : NULL;
    if (!list)
        return n ? -ENOMEM : 0;
    for (uint32_t c = 0, to = 0; c < f->count; c++)
        if (shared[c])
            list[to++] = (alike){ .name = xd_entry_name(m, &m->entry[f->first + c]),
                                  .key = key[c],
                                  .child = f->first + c };
    return look_at_alike(w, i, list, n);
}

/* ---- another spelling ---------------------------------------------------------------------------------------------- */

/* Of the wanted names of a folder, the one that leads to what `name` leads to. fd: of the folder. */
static uint32_t find_child(const xd_manifest *m, uint32_t folder, int fd, xd_bytes name)
{
    char            given[XD_MANIFEST_NAME_MAX + 1], wanted[XD_MANIFEST_NAME_MAX + 1];
    const xd_entry *f = &m->entry[folder];
    const uint32_t  end = f->first + f->count, key = fold(name), exactly = xd_manifest_child(m, folder, name);
    if (exactly != XD_MANIFEST_NONE)
        return exactly;
    memcpy(given, name.ptr, name.len);
    given[name.len] = 0;
    for (uint32_t i = f->first; i < end; i++) {
        if (fold(xd_entry_name(m, &m->entry[i])) != key)
            continue;
        far_name(m, &m->entry[i], wanted);
        if (lead_to_one(fd, given, wanted))
            return i;
    }
    return XD_MANIFEST_NONE;
}

uint32_t far_find_alike(const xd_far *far, xd_bytes path)
{
    const xd_manifest *m = far->want;
    uint32_t           at = 0;
    xd_autoclose int   opened = -1;
    for (size_t from = 0; from < path.len;) {
        const uint8_t *slash = memchr(path.ptr + from, '/', path.len - from);
        const size_t   end = slash ? (size_t)(slash - path.ptr) : path.len;
        const int      fd = opened < 0 ? far->root : opened;
        char           name[XD_MANIFEST_NAME_MAX + 1];
        if (!xd_entry_is_folder(&m->entry[at]) || end - from > XD_MANIFEST_NAME_MAX)
            return XD_MANIFEST_NONE;
        at = find_child(m, at, fd, (xd_bytes){ path.ptr + from, end - from });
        if (at == XD_MANIFEST_NONE || end == path.len)
            return at;
        memcpy(name, path.ptr + from, end - from);
        name[end - from] = 0;
        const int next = xd_beneath_folder(fd, name);
        if (next < 0)
            return XD_MANIFEST_NONE;
        if (opened >= 0)
            close(opened);
        opened = next;
        from = end + 1;
    }
    return at;
}

int far_respell(xd_far *far, int folder, const char *name, uint32_t entry)
{
    char wanted[XD_MANIFEST_NAME_MAX + 1], temp[32];
    far_name(far->want, &far->want->entry[entry], wanted);
    if (strcmp(name, wanted) == 0 || far->flags & XD_SYNC_FLAG_DRY_RUN)
        return 0;
    far_temp(entry, temp); /* a rename from one spelling to the other may do nothing */
    if (renameat(folder, name, folder, temp) != 0)
        return far_fault_entry(far, -errno, "rename", entry);
    if (renameat(folder, temp, folder, wanted) != 0) {
        const int r = -errno;
        (void)!renameat(folder, temp, folder, name);
        return far_fault_entry(far, r, "rename", entry);
    }
    return 0;
}
