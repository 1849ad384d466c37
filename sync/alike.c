/* sync/alike.c - the far half of a synchronisation: names that the file system there may take for one, as those that differ in case do on FAT, NTFS or a folder of ext4 that ignores case. See far.h. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "sync/far.h"

/* The same for names that some file system might take for one: ASCII without case, and all else alike. Others may have it, too. */
static uint32_t fold(xd_bytes name)
{
    uint8_t folded[XD_MANIFEST_NAME_MAX];
    size_t  n = 0;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        if (c < 0x80)
            folded[n++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
        else if (n == 0 || folded[n - 1] != 0x80)
            folded[n++] = 0x80; /* however many bytes: composed and decomposed differ in that */
    }
    return (uint32_t)XXH3_64bits(folded, n);
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

/* Both lead to something. Is it the same? listed: also if the numbers of inodes differ, as file systems in user space make up one for each name. */
static bool lead_to_one(int folder, const char *a, const char *b, bool listed)
{
    struct stat s, t;
    if (fstatat(folder, a, &s, AT_SYMLINK_NOFOLLOW) != 0 || fstatat(folder, b, &t, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    return (s.st_dev == t.st_dev && s.st_ino == t.st_ino) ||
           (listed && strcmp(a, b) != 0 && !lists_both(folder, a, b));
}

bool far_ignores_case(xd_far *far)
{
    static const char *const own[][2] = { { XD_STATE_NAME, ".XD-SYNC" }, { XD_STATE_NEW, ".XD-SYNC-NEW" } };
    int                      known = __atomic_load_n(&far->ignores_case, __ATOMIC_RELAXED);
    for (size_t i = 0; far->root >= 0 && known == 0 && i < XD_ARRAY_LEN(own); i++)
        if (faccessat(far->root, own[i][0], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            known = lead_to_one(far->root, own[i][0], own[i][1], true) ? 1 : -1;
    __atomic_store_n(&far->ignores_case, known, __ATOMIC_RELAXED);
    return known > 0;
}

static int are_two(xd_far *far, far_worker *w, uint32_t folder, uint32_t a, uint32_t b)
{
    const xd_manifest *m = far->want;
    char               x[XD_MANIFEST_NAME_MAX + 1], y[XD_MANIFEST_NAME_MAX + 1];
    int                fd = far_folder(w, m, folder);
    far_name(m, &m->entry[a], x);
    far_name(m, &m->entry[b], y);
    if (fd < 0 || !lead_to_one(fd, x, y, far_ignores_case(far)))
        return 0;
    xd_autobuf path = XD_BUF_INIT;
    XD_TRY(xd_manifest_path(m, folder, &path));
    return far_fault_text(far, -EEXIST,
                          "%s and %s in %s/%s are one name to the file system there: rename one of them, or "
                          "choose another folder",
                          x, y, far->folder, xd_buf_cstr(&path));
}

/* Of one folder. Names in it that fold alike stand there as two files, or it cannot be. */
int far_fold_folder(far_worker *w, uint32_t i)
{
    xd_far            *far = w->far;
    const xd_manifest *m = far->want;
    const xd_entry    *f = &m->entry[i];
    if (!xd_entry_is_folder(f) || f->count < 2)
        return 0;
    uint32_t slots = 4;
    while (slots < f->count * 2)
        slots *= 2;
    xd_autofree uint32_t *slot = calloc(slots, sizeof(*slot));
    xd_autofree uint32_t *key = malloc(f->count * sizeof(*key));
    int                   r = slot && key ? 0 : -ENOMEM;
    for (uint32_t c = 0; r == 0 && c < f->count; c++) {
        key[c] = fold(xd_entry_name(m, &m->entry[f->first + c]));
        uint32_t at = key[c] & (slots - 1);
        for (; r == 0 && slot[at]; at = (at + 1) & (slots - 1))
            if (key[slot[at] - 1] == key[c])
                r = are_two(far, w, i, f->first + slot[at] - 1, f->first + c);
        slot[at] = c + 1;
    }
    return r;
}

/* ---- another spelling ---------------------------------------------------------------------------------------------- */

uint32_t far_find_alike(const xd_far *far, xd_bytes path)
{
    const xd_manifest *m = far->want;
    uint32_t           at = 0;
    for (size_t from = 0; from < path.len;) {
        const uint8_t  *slash = memchr(path.ptr + from, '/', path.len - from);
        const size_t    end = slash ? (size_t)(slash - path.ptr) : path.len;
        const xd_bytes  name = { path.ptr + from, end - from };
        const xd_entry *f = &m->entry[at];
        if (!xd_entry_is_folder(f) || name.len > XD_MANIFEST_NAME_MAX)
            return XD_MANIFEST_NONE;
        uint32_t c = xd_manifest_child(m, at, name), key = fold(name);
        for (uint32_t i = f->first; c == XD_MANIFEST_NONE && i < f->first + f->count; i++)
            if (fold(xd_entry_name(m, &m->entry[i])) == key)
                c = i;
        if (c == XD_MANIFEST_NONE)
            return c;
        at = c;
        from = end + 1;
    }
    return at;
}

int far_respell(xd_far *far, int folder, const char *name, uint32_t entry)
{
    char wanted[XD_MANIFEST_NAME_MAX + 1], temp[32];
    far_name(far->want, &far->want->entry[entry], wanted);
    if (!lead_to_one(folder, name, wanted, true))
        return 0;
    if (strcmp(name, wanted) == 0 || far->flags & XD_SYNC_FLAG_DRY_RUN)
        return 1;
    far_temp(entry, temp); /* a rename from one spelling to the other may do nothing */
    if (renameat(folder, name, folder, temp) != 0)
        return far_fault_entry(far, -errno, "rename", entry);
    if (renameat(folder, temp, folder, wanted) != 0) {
        const int r = -errno;
        (void)!renameat(folder, temp, folder, name);
        return far_fault_entry(far, r, "rename", entry);
    }
    return 1;
}
