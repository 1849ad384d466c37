/* sync/compiled.c - the far half of a synchronisation: what Python made of sources there. See far.h.
 * __pycache__/x.cpython-311.pyc (PEP 3147) belongs to x.py, as does x.pyc beside it (Python 2). One is taken for that of the source if the source's size and time
 * are those it names; the time is in seconds (PEP 552), so a source that was changed within a second, or by who keeps times, looks the same. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sync/far.h"

#define SOURCE ".py"
#define SOURCE_LEN (sizeof(SOURCE) - 1)

static bool is_source(xd_bytes name)
{
    return name.len > SOURCE_LEN && memcmp(name.ptr + name.len - SOURCE_LEN, SOURCE, SOURCE_LEN) == 0;
}

bool far_is_compiled(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".pyc") == 0;
}

/* ---- of sources that were removed ----------------------------------------------------------------------------------- */

/* Is the name of a compiled file that of a source that was removed from this folder? */
static bool source_gone(const xd_far *far, uint32_t folder, const char *pyc, const uint8_t *is_gone)
{
    uint8_t name[XD_MANIFEST_NAME_MAX];
    for (const char *dot = strchr(pyc, '.'); dot; dot = strchr(dot + 1, '.')) {
        size_t len = (size_t)(dot - pyc);
        if (len == 0 || len + SOURCE_LEN > XD_MANIFEST_NAME_MAX)
            continue;
        memcpy(name, pyc, len);
        memcpy(name + len, (const uint8_t[]){ '.', 'p', 'y' }, SOURCE_LEN);
        uint32_t c = xd_manifest_child(far->old.tree, folder, (xd_bytes){ name, len + SOURCE_LEN });
        if (c != XD_MANIFEST_NONE && is_gone[c])
            return true;
    }
    return false;
}

static void drop_gone(xd_far *far, uint32_t folder, const uint8_t *is_gone)
{
    xd_autobuf path = XD_BUF_INIT;
    if (xd_manifest_path(far->old.tree, folder, &path) < 0)
        return;
    xd_autoclose int parent = xd_beneath_folder(far->root, xd_buf_cstr(&path));
    DIR             *d = parent < 0 ? NULL : far_names_of(parent, FAR_CACHE_FOLDER);
    if (!d)
        return;
    for (struct dirent *e; (e = far_next_name(d));)
        if (far_is_compiled(e->d_name) && source_gone(far, folder, e->d_name, is_gone))
            (void)!unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    (void)!unlinkat(parent, FAR_CACHE_FOLDER, AT_REMOVEDIR); /* if it is empty now */
}

int far_compiled_gone(xd_far *far)
{
    const xd_manifest   *o = far->old.tree;
    xd_autofree uint8_t *is_gone = o && far->writing ? calloc(o->count, 1) : NULL;
    bool                 any = false;
    if (!is_gone)
        return o && far->writing ? -ENOMEM : 0;
    for (uint32_t i = 0; i < far->victims; i++) {
        const far_victim *v = &far->victim[i];
        if (v->old == XD_MANIFEST_NONE || v->kept || o->entry[v->old].type != XD_SYNC_FILE ||
            !is_source(xd_entry_name(o, &o->entry[v->old])))
            continue;
        is_gone[v->old] = is_gone[o->entry[v->old].parent] = 1;
        any = true;
    }
    for (uint32_t i = 0; any && i < o->count; i++)
        if (is_gone[i] && xd_entry_is_folder(&o->entry[i]))
            drop_gone(far, i, is_gone);
    return 0;
}

/* ---- beside a source ---------------------------------------------------------------------------------------------- */

/* Is x.pyc, or x.pyo, of x.py one that is brought? path: of the source. */
static bool is_wanted(const xd_far *far, xd_buf *path, uint8_t last)
{
    if (xd_buf_add_byte(path, last) < 0)
        return true;
    bool wanted = xd_manifest_find(far->want, xd_buf_view(path)) != XD_MANIFEST_NONE;
    path->len--;
    return wanted;
}

static int drop_beside(xd_far *far, int folder, const char *name, xd_buf *path)
{
    char   beside[XD_MANIFEST_NAME_MAX + 2];
    size_t len = strlen(name);
    memcpy(beside, name, len);
    beside[len + 1] = 0;
    for (const char *last = "co"; *last; last++) {
        beside[len] = *last;
        if (!is_wanted(far, path, (uint8_t)*last) && unlinkat(folder, beside, 0) != 0 && errno != ENOENT)
            return -errno;
    }
    return 0;
}

void far_compiled_beside(xd_far *far, int folder, const char *name, xd_bytes path)
{
    xd_autobuf whole = XD_BUF_INIT;
    if (is_source(xd_bytes_str(name)) && xd_buf_add_bytes(&whole, path) == 0)
        (void)!drop_beside(far, folder, name, &whole);
}

/* ---- of sources that change --------------------------------------------------------------------------------------- */

/* Would Python take what it made of the file that stands there for what it would make of the new one? */
static bool looks_the_same(const xd_far *far, uint32_t entry, int folder, const char *name)
{
    const xd_entry *e = &far->want->entry[entry];
    struct stat     st;
    if ((far->there[entry] != XD_SYNC_FILE && far->there[entry] != XD_SYNC_LINK) ||
        !is_source(xd_bytes_str(name)) || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    if (e->type == XD_SYNC_LINK || !S_ISREG(st.st_mode))
        return true; /* what counts is that of the link's target, which may not be there yet */
    int64_t seconds = e->mtime_ns / 1000000000 - (e->mtime_ns % 1000000000 < 0);
    return (uint64_t)st.st_size == e->size && (int64_t)st.st_mtim.tv_sec == seconds;
}

int far_compiled_stale(far_worker *w, uint32_t entry, int folder, const char *name)
{
    xd_far    *far = w->far;
    xd_autobuf path = XD_BUF_INIT;
    if (!looks_the_same(far, entry, folder, name))
        return 0;
    XD_TRY(xd_manifest_path(far->want, entry, &path));
    XD_TRY(drop_beside(far, folder, name, &path));
    uint32_t parent = far->want->entry[entry].parent;
    DIR     *d = far_names_of(folder, FAR_CACHE_FOLDER);
    if (!d || xd_manifest_child(far->want, parent, XD_BYTES_LIT(FAR_CACHE_FOLDER)) != XD_MANIFEST_NONE) {
        if (d)
            closedir(d); /* they are brought, too */
        return 0;
    }
    size_t stem = strlen(name) - SOURCE_LEN;
    int    r = 0;
    for (struct dirent *e; r == 0 && (e = far_next_name(d));)
        if (far_is_compiled(e->d_name) && strncmp(e->d_name, name, stem) == 0 && e->d_name[stem] == '.' &&
            unlinkat(dirfd(d), e->d_name, 0) != 0 && errno != ENOENT)
            r = -errno;
    closedir(d);
    return r;
}
