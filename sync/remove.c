/* sync/remove.c - the far half of a synchronisation: what is removed. What was brought and no longer exists at home; with DELETE what nobody brought; what is in
 * the way of something else; what a run that was killed has left. See far.h. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sync/far.h"

#define DEPTH_MAX (XD_MANIFEST_DEPTH_MAX + 64)

/* Opens a folder to read its names. NULL: errno. */
DIR *far_names_of(int parent, const char *name)
{
    int  fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

struct dirent *far_next_name(DIR *d)
{
    struct dirent *e;
    do
        e = readdir(d);
    while (e && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
    return e;
}

static bool is_folder(DIR *d, const struct dirent *e)
{
    struct stat st;
    if (e->d_type != DT_UNKNOWN)
        return e->d_type == DT_DIR;
    return fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Removes a name; opens up the folder that it is in where that forbids it. */
static int drop(DIR *d, const char *name, int flags)
{
    if (unlinkat(dirfd(d), name, flags) == 0 || errno == ENOENT)
        return 0;
    if (errno == EACCES && fchmod(dirfd(d), 0700) == 0 && unlinkat(dirfd(d), name, flags) == 0)
        return 0;
    return -errno;
}

/* ---- what is in the way ---------------------------------------------------------------------------------------- */

/* A folder in the way: all of it was brought (or is Python's cache of that, or ours), or it is removed anyway (DELETE). */
static int way(xd_far *far, int parent, const char *name, uint32_t old, xd_buf *path, unsigned depth,
               bool clear)
{
    const xd_manifest *o = far->old.tree, *b = far->broken.tree;
    bool               known = old != XD_MANIFEST_NONE && xd_entry_is_folder(&o->entry[old]),
         cache = strcmp(name, FAR_CACHE_FOLDER) == 0;
    size_t len = path->len;
    int    r = 0;
    DIR   *d = far_names_of(parent, name);
    if (!d && errno == EACCES && clear && far_open_up(far, parent, name) == 0)
        d = far_names_of(parent, name);
    if (!d)
        return far_fault(far, -errno, "read", xd_buf_view(path));
    for (struct dirent *e; r == 0 && (e = far_next_name(d));) {
        xd_bytes n = xd_bytes_str(e->d_name);
        uint32_t child = known ? xd_manifest_child(o, old, n) : XD_MANIFEST_NONE;
        bool     folder = is_folder(d, e);
        r = depth > DEPTH_MAX ? -ENAMETOOLONG : xd_buf_add_byte(path, '/');
        if (r == 0)
            r = xd_buf_add_bytes(path, n);
        if (r == 0 && child == XD_MANIFEST_NONE && !(far->flags & XD_SYNC_FLAG_DELETE) && !far_is_ours(n) &&
            !(b && xd_manifest_find(b, xd_buf_view(path)) != XD_MANIFEST_NONE) &&
            !(folder ? strcmp(e->d_name, FAR_CACHE_FOLDER) == 0 : cache && far_is_compiled(e->d_name)))
            r = far_fault_text(
                far, -ENOTEMPTY,
                "%s/%.*s was not brought there, but stands where something else is to be: move it away",
                far->folder, (int)path->len, (const char *)path->data);
        if (r == 0 && folder)
            r = way(far, dirfd(d), e->d_name, child, path, depth + 1, clear);
        if (r == 0 && clear) {
            r = drop(d, e->d_name, folder ? AT_REMOVEDIR : 0);
            if (r < 0)
                (void)far_fault(far, r, "remove", xd_buf_view(path));
            else
                (void)__atomic_fetch_add(&far->removed, child != XD_MANIFEST_NONE, __ATOMIC_RELAXED);
        }
        path->len = len;
    }
    closedir(d);
    return r;
}

int far_way_check(xd_far *far, int parent, const char *name, uint32_t old, xd_bytes path)
{
    xd_autobuf whole = XD_BUF_INIT;
    XD_TRY(xd_buf_add_bytes(&whole, path));
    return way(far, parent, name, old, &whole, 0, false);
}

int far_way_clear(xd_far *far, int parent, const char *name, uint32_t old, xd_bytes path)
{
    xd_autobuf whole = XD_BUF_INIT;
    XD_TRY(xd_buf_add_bytes(&whole, path));
    XD_TRY(way(far, parent, name, old, &whole, 0, true));
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

/* ---- victims ------------------------------------------------------------------------------------------------- */

static int add_victim(xd_far *far, uint32_t old, xd_bytes path, bool folder)
{
    if (far->victims == far->victims_cap) {
        uint32_t    cap = far->victims_cap ? far->victims_cap + far->victims_cap / 2 : 64;
        far_victim *more = realloc(far->victim, cap * sizeof(*more));
        if (!more)
            return -ENOMEM;
        far->victim = more;
        far->victims_cap = cap;
    }
    if (far->victim_paths.len > UINT32_MAX - XD_MANIFEST_PATH_MAX - 2)
        return -E2BIG;
    far->victim[far->victims] =
        (far_victim){ .old = old, .path = (uint32_t)far->victim_paths.len, .folder = folder };
    XD_TRY(xd_buf_add_bytes(&far->victim_paths, path));
    XD_TRY(xd_buf_add_byte(&far->victim_paths, 0));
    far->victims++;
    return 0;
}

static bool is_whole(const xd_manifest *m)
{
    return m->entry[0].type == XD_SYNC_FOLDER;
}

/* Who brings what is in a folder brings it into one where others may have their own: what came under a name of its own is not that one's. In a
 * project's folder all is one tree. */
static bool may_judge(const xd_far *far, bool whole)
{
    return whole || far->flags & XD_SYNC_FLAG_PROJECT || !is_whole(far->want);
}

/* What was brought and is not wanted any more. */
static int gone(void *arg, xd_bytes path, uint32_t was, uint32_t is)
{
    xd_far *far = arg;
    if (is != XD_MANIFEST_NONE || far->old.tree->entry[was].type == XD_SYNC_WAY)
        return 0;
    XD_TRY(add_victim(far, was, path, xd_entry_is_folder(&far->old.tree->entry[was])));
    far_victim *v = &far->victim[far->victims - 1];
    v->whole = is_whole(far->old.tree);
    v->kept = !may_judge(far, v->whole);
    return 0;
}

/* ---- what other calls brought ------------------------------------------------------------------------------------ */

typedef int (*each_other_fn)(xd_far *far, xd_bytes path, bool folder, bool whole, void *arg);

/* Those that the wanted tree does not have, by now. */
static int each_other(xd_far *far, each_other_fn fn, void *arg)
{
    const char *p = (const char *)far->old.others.data, *end = p ? p + far->old.others.len : p;
    while (p < end) { /* a type, a path, NUL; the last byte is one */
        bool     whole = *p == 'F' || *p == 'D', folder = *p == 'd' || *p == 'D';
        xd_bytes path = xd_bytes_str(*p ? p + 1 : p);
        p = (const char *)path.ptr + path.len + 1;
        if (path.len && path.len <= XD_MANIFEST_PATH_MAX &&
            xd_manifest_find(far->want, path) == XD_MANIFEST_NONE)
            XD_TRY(fn(far, path, folder, whole, arg));
    }
    return 0;
}

static int other_victim(xd_far *far, xd_bytes path, bool folder, bool whole, void *arg)
{
    (void)arg;
    XD_TRY(add_victim(far, XD_MANIFEST_NONE, path, folder));
    far_victim *v = &far->victim[far->victims - 1];
    v->other = true;
    v->whole = whole;
    v->kept = !may_judge(far, whole);
    return 0;
}

static int add_other(xd_far *far, xd_bytes path, bool folder, bool whole, void *arg)
{
    xd_buf *out = arg;
    (void)far;
    XD_TRY(xd_buf_add_byte(out, whole ? (folder ? 'D' : 'F') : folder ? 'd' : 'f'));
    XD_TRY(xd_buf_add_bytes(out, path));
    return xd_buf_add_byte(out, 0);
}

int far_others(xd_far *far, xd_buf *ret)
{
    if (!far->asks_others)
        XD_TRY(each_other(far, add_other, ret));
    for (uint32_t i = 0; i < far->victims; i++) {
        const far_victim *v = &far->victim[i];
        xd_bytes          path = xd_bytes_str((const char *)far->victim_paths.data + v->path);
        xd_autoclose int  there = -1;
        if (!v->kept || v->alike || (v->old == XD_MANIFEST_NONE && !v->other))
            continue;
        if (v->other && (there = xd_beneath_open(far->root, (const char *)path.ptr, O_PATH, 0)) < 0 &&
            there != -ELOOP)
            continue; /* somebody else has removed it */
        XD_TRY(add_other(far, path, v->folder, v->whole, ret));
    }
    return 0;
}

/* Below a folder: what nobody brought. want, old: the folder's entries, or NONE. */
static int strangers(xd_far *far, DIR *d, uint32_t want, uint32_t old, xd_buf *path, unsigned depth)
{
    size_t len = path->len;
    bool   listed = want == XD_MANIFEST_NONE || far->want->entry[want].type == XD_SYNC_FOLDER;
    int    r = 0;
    if (depth > DEPTH_MAX)
        return -ENAMETOOLONG;
    for (struct dirent *e; r == 0 && (e = far_next_name(d));) {
        xd_bytes n = xd_bytes_str(e->d_name);
        uint32_t w = want == XD_MANIFEST_NONE ? want : xd_manifest_child(far->want, want, n);
        uint32_t o = old == XD_MANIFEST_NONE ? old : xd_manifest_child(far->old.tree, old, n);
        bool     folder = is_folder(d, e), wanted = w != XD_MANIFEST_NONE;
        if (far_is_ours(n) || (wanted && !xd_entry_is_folder(&far->want->entry[w])) ||
            (!wanted && o == XD_MANIFEST_NONE && !listed))
            continue;
        if (len)
            r = xd_buf_add_byte(path, '/');
        if (r == 0)
            r = xd_buf_add_bytes(path, n);
        if (r == 0 && !wanted && o == XD_MANIFEST_NONE)
            r = add_victim(far, XD_MANIFEST_NONE, xd_buf_view(path), folder);
        if (r == 0 && folder) {
            DIR *below = far_names_of(dirfd(d), e->d_name);
            if (below)
                r = strangers(far, below, w, o, path, depth + 1);
            if (below)
                closedir(below);
        }
        path->len = len;
    }
    return r;
}

/* KEPT: what home ignores now. Both lists are in the order of the tree. */
static void keep_some(xd_far *far)
{
    uint32_t i = 0;
    for (size_t at = 0; at < far->kept.len;) {
        xd_bytes path = xd_bytes_str((const char *)far->kept.data + at);
        uint32_t old = xd_manifest_find(far->old.tree, path);
        while (i < far->victims && far->victim[i].old != old)
            i++;
        if (i < far->victims)
            far->victim[i++].kept = true;
        at += path.len + 1;
    }
}

int far_victims(xd_far *far, bool ask_home)
{
    xd_autobuf path = XD_BUF_INIT;
    if (far->old.tree && !far->shared)
        XD_TRY(xd_manifest_diff(far->old.tree, far->want, gone, far));
    far->asks_others = ask_home;
    if (ask_home)
        XD_TRY(each_other(far, other_victim, NULL));
    else
        keep_some(far);
    if (!(far->flags & XD_SYNC_FLAG_DELETE) || far->root < 0)
        return 0;
    DIR *d = far_names_of(far->root, ".");
    if (!d)
        return far_fault(far, -errno, "read", (xd_bytes){ 0 });
    int r = strangers(far, d, 0, far->old.tree ? 0 : XD_MANIFEST_NONE, &path, 0);
    closedir(d);
    return r;
}

/* ---- removing -------------------------------------------------------------------------------------------------- */

static const char *path_of(const xd_far *far, const far_victim *v)
{
    return (const char *)far->victim_paths.data + v->path;
}

/* What is below a folder that stays, stays. Victims are in the order of the tree. */
static void keep_below(xd_far *far)
{
    const char *kept = NULL;
    size_t      len = 0;
    for (uint32_t i = 0; i < far->victims; i++) {
        far_victim *v = &far->victim[i];
        const char *path = path_of(far, v);
        if (kept && strncmp(path, kept, len) == 0 && path[len] == '/') {
            v->kept = true;
        } else if (v->kept && v->folder) {
            kept = path;
            len = strlen(path);
        }
    }
}

/* The folder that a path is in; the descriptor is kept for the next path. */
typedef struct place {
    int    fd;
    xd_buf path;
} place;

static int parent_of(xd_far *far, place *p, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t      len = slash ? (size_t)(slash - path) : 0;
    *ret_name = slash ? slash + 1 : path;
    if (p->fd >= 0 && p->path.len == len && memcmp(p->path.data, path, len) == 0)
        return p->fd;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    xd_buf_clear(&p->path);
    XD_TRY(xd_buf_reserve(&p->path, 1));
    XD_TRY(xd_buf_add(&p->path, path, len));
    p->fd = xd_beneath_open(far->root, len ? xd_buf_cstr(&p->path) : ".", O_RDONLY | O_DIRECTORY, 0);
    return p->fd;
}

/* May it be removed as what it was: a folder as a folder, anything else as none? */
static bool as_it_was(int fd, const char *name, const far_victim *v)
{
    struct stat st;
    return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (S_ISDIR(st.st_mode) != 0) == v->folder;
}

static int remove_one(xd_far *far, place *p, far_victim *v)
{
    const char *path = path_of(far, v), *name;
    int         fd = parent_of(far, p, path, &name);
    if (fd < 0 || !as_it_was(fd, name, v))
        return fd == -ENOMEM ? fd : 0; /* it is gone already, or something else */
    uint8_t was = v->old != XD_MANIFEST_NONE ? far->old.tree->entry[v->old].type
                  : v->folder                ? XD_SYNC_FOLDER
                                             : XD_SYNC_FILE;
    if (far->writing) {
        int flags = v->folder ? AT_REMOVEDIR : 0;
        int r = unlinkat(fd, name, flags) == 0 ? 0 : -errno;
        if (r == -EACCES && fchmod(fd, 0700) == 0)
            r = unlinkat(fd, name, flags) == 0 ? 0 : -errno;
        if (v->folder && (r == -ENOTEMPTY || r == -EEXIST || r == -EBUSY))
            return 0; /* there is something in it that nobody brought */
        if (r < 0 && r != -ENOENT)
            return far_fault(far, r, "remove", xd_bytes_str(path));
    }
    far->removed++;
    if (far->writing && !v->folder)
        far_compiled_beside(far, fd, name, xd_bytes_str(path));
    return far_tell(far, XD_SYNC_GONE, was, xd_bytes_str(path));
}

/* What a wanted name leads to, as the file system ignores case, is not removed. A folder comes before what is in it. */
static int keep_alike(xd_far *far, place *p)
{
    if (!far->victims || !far_ignores_case(far))
        return 0;
    for (uint32_t i = 0; i < far->victims; i++) {
        far_victim *v = &far->victim[i];
        const char *path = path_of(far, v), *name;
        uint32_t    wanted = v->kept ? XD_MANIFEST_NONE : far_find_alike(far, xd_bytes_str(path));
        int         fd = wanted == XD_MANIFEST_NONE ? -1 : parent_of(far, p, path, &name);
        if (fd < 0)
            continue;
        XD_TRY(far_respell(far, fd, name, wanted));
        v->kept = v->alike = true;
    }
    return 0;
}

int far_remove(xd_far *far)
{
    place p = { .fd = -1 };
    keep_below(far);
    int r = keep_alike(far, &p);
    for (uint32_t i = far->victims; r == 0 && i-- > 0;)
        if (!far->victim[i].folder && !far->victim[i].kept)
            r = remove_one(far, &p, &far->victim[i]);
    if (r == 0)
        r = far_compiled_gone(far);
    for (uint32_t i = far->victims; r == 0 && i-- > 0;)
        if (far->victim[i].folder && !far->victim[i].kept)
            r = remove_one(far, &p, &far->victim[i]);
    if (p.fd >= 0)
        close(p.fd);
    xd_buf_release(&p.path);
    return r;
}

/* ---- after a run that was killed --------------------------------------------------------------------------------- */

/* One of far_temp's. */
static bool is_temp(const char *name)
{
    size_t len = strlen(FAR_TEMP),
           digits = strncmp(name, FAR_TEMP, len) == 0 ? strspn(name + len, "0123456789abcdef") : 0;
    return digits && !name[len + digits];
}

/* Temporary files and folders in the folders that it wrote to. */
static int sweep_folder(far_worker *w, uint32_t i)
{
    const xd_manifest *m = w->far->broken.tree ? w->far->broken.tree : w->far->want;
    if (!xd_entry_is_folder(&m->entry[i]))
        return 0;
    int  folder = far_folder(w, m, i);
    DIR *d = folder < 0 ? NULL : far_names_of(folder, ".");
    if (!d)
        return 0;
    for (struct dirent *e; (e = far_next_name(d));)
        if (is_temp(e->d_name) && unlinkat(folder, e->d_name, 0) != 0)
            far_drop_tree(folder, e->d_name, 0);
    closedir(d);
    return 0;
}

typedef struct leftover {
    far_worker *w;
    bool        alike;   /* the file system ignores case */
    xd_buf      folders; /* paths with NUL, in the order of the tree */
} leftover;

/* What it brought, and neither the tree before nor the wanted one has: removed if it is exactly that. */
static int brought(void *arg, xd_bytes path, uint32_t was, uint32_t is)
{
    leftover          *l = arg;
    xd_far            *far = l->w->far;
    const xd_manifest *m = far->broken.tree;
    const xd_entry    *e = &m->entry[was == XD_MANIFEST_NONE ? 0 : was];
    char               name[XD_MANIFEST_NAME_MAX + 1];
    struct stat        st;
    xd_digest          id;
    uint32_t           old = far->old.tree ? xd_manifest_find(far->old.tree, path) : XD_MANIFEST_NONE;
    if (is != XD_MANIFEST_NONE || e->type == XD_SYNC_WAY ||
        (old != XD_MANIFEST_NONE && far->old.tree->entry[old].type == e->type)) /* that is a victim anyway */
        return 0;
    const uint32_t wanted = l->alike ? far_find_alike(far, path) : XD_MANIFEST_NONE;
    int            folder = far_folder(l->w, m, e->parent);
    far_name(m, e, name);
    if (folder >= 0 && wanted != XD_MANIFEST_NONE)
        return far_respell(far, folder, name, wanted);
    if (e->type == XD_SYNC_FOLDER) {
        XD_TRY(xd_buf_add_bytes(&l->folders, path));
        return xd_buf_add_byte(&l->folders, 0);
    }
    if (folder < 0)
        return 0;
    if (e->type == XD_SYNC_LINK) {
        char    target[XD_MANIFEST_PATH_MAX + 1];
        ssize_t n = readlinkat(folder, name, target, sizeof(target));
        if (n < 0 || !xd_bytes_eq((xd_bytes){ (uint8_t *)target, (size_t)n }, xd_entry_target(m, e)))
            return 0;
    } else {
        xd_autoclose int fd = xd_beneath_file(folder, name, O_RDONLY, &st);
        if (fd < 0 || (uint64_t)st.st_size != e->size ||
            xd_beneath_hash(fd, l->w->room, FAR_ROOM, &far->stop, &id, NULL) < 0 || !xd_digest_eq(id, e->id))
            return 0;
    }
    if (unlinkat(folder, name, 0) == 0)
        far->removed++;
    return 0;
}

int far_sweep(xd_far *far)
{
    const xd_manifest *m = far->broken.tree ? far->broken.tree : far->want;
    far_worker         w;
    leftover           l = { .w = &w, .alike = far_ignores_case(far) };
    place              p = { .fd = -1 };
    if (!far->was_killed || far->root < 0)
        return 0;
    XD_TRY(far_each(far, m->count, sweep_folder));
    if (!far->broken.tree)
        return 0;
    int r = far_worker_init(&w, far);
    if (r == 0)
        r = xd_manifest_diff(far->broken.tree, far->want, brought, &l);
    for (size_t at = l.folders.len; r == 0 && at > 0;) { /* the deepest first */
        const char *name;
        at--;
        while (at > 0 && l.folders.data[at - 1])
            at--;
        int fd = parent_of(far, &p, (const char *)l.folders.data + at, &name);
        if (fd >= 0)
            (void)!unlinkat(fd, name, AT_REMOVEDIR);
    }
    if (p.fd >= 0)
        close(p.fd);
    xd_buf_release(&p.path);
    xd_buf_release(&l.folders);
    far_worker_release(&w);
    return r;
}
