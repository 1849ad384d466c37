/* sync/apply.c - the far half of a synchronisation: what is to be done, and the steps that no data has to come for. See far.h. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "sync/far.h"

#define DELTA_BYTES 8192u /* smaller files travel whole */

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static uint32_t depth_of(const xd_manifest *m, uint32_t folder)
{
    uint32_t depth = 0;
    for (uint32_t i = folder; i != 0; i = m->entry[i].parent)
        depth++;
    return depth;
}

/* Does a link's target stay in the tree, as far as its text says? */
static bool stays_inside(xd_bytes target, uint32_t depth)
{
    if (target.ptr[0] == '/')
        return false;
    for (size_t at = 0; at < target.len;) {
        const uint8_t *slash = memchr(target.ptr + at, '/', target.len - at);
        size_t         len = slash ? (size_t)(slash - target.ptr) - at : target.len - at;
        if (len == 2 && memcmp(target.ptr + at, "..", 2) == 0) {
            if (depth == 0)
                return false;
            depth--;
        } else if (len && !(len == 1 && target.ptr[at] == '.')) {
            depth++;
        }
        at += len + 1;
    }
    return true;
}

int far_check_want(xd_far *far)
{
    const xd_manifest *m = far->want;
    for (uint32_t i = 1; i < m->count; i++) {
        const xd_entry *e = &m->entry[i];
        if (far_is_ours(xd_entry_name(m, e)))
            return far_fault_text(far, -EPROTO, "the home end sent a name that begins with " FAR_TEMP);
        if (e->type == XD_SYNC_LINK && !stays_inside(xd_entry_target(m, e), depth_of(m, e->parent)))
            return far_fault_text(far, -EPROTO, "the home end sent a link that leads out of the tree");
        if (e->type == XD_SYNC_FILE && e->size == 0 && !xd_digest_eq(e->id, xd_digest_of((xd_bytes){ 0 })))
            return far_fault_text(far, -EPROTO, "the home end sent an empty file with the digest of another");
    }
    return 0;
}

/* ---- the plan ------------------------------------------------------------------------------------------------------ */

static int by_digest(const void *a, const void *b, void *arg)
{
    const xd_manifest *m = arg;
    const xd_entry    *x = &m->entry[*(const uint32_t *)a], *y = &m->entry[*(const uint32_t *)b];
    return x->id.lo != y->id.lo ? (x->id.lo < y->id.lo ? -1 : 1)
                                : (x->id.hi > y->id.hi) - (x->id.hi < y->id.hi);
}

/* Files of the old tree that stand there, by what is in them. */
static int index_contents(xd_far *far)
{
    const xd_manifest *o = far->old.tree;
    far->by_content = malloc(o->files * sizeof(*far->by_content) + 1);
    if (!far->by_content)
        return -ENOMEM;
    for (uint32_t i = 0; i < o->files; i++) {
        uint32_t e = o->file[i];
        if (far->stand[e] >= STAND_META && o->entry[e].size)
            far->by_content[far->by_contents++] = e;
    }
    qsort_r(far->by_content, far->by_contents, sizeof(*far->by_content), by_digest, (void *)(uintptr_t)o);
    return 0;
}

/* A file of the old tree with that content, or NONE. */
static uint32_t find_content(const xd_far *far, const xd_entry *e)
{
    const xd_manifest *o = far->old.tree;
    uint32_t           low = 0, high = far->by_contents;
    while (low < high) {
        uint32_t        mid = low + (high - low) / 2;
        const xd_entry *x = &o->entry[far->by_content[mid]];
        if (x->id.lo < e->id.lo || (x->id.lo == e->id.lo && x->id.hi < e->id.hi))
            low = mid + 1;
        else
            high = mid;
    }
    if (low == far->by_contents)
        return XD_MANIFEST_NONE;
    const xd_entry *x = &o->entry[far->by_content[low]];
    return xd_digest_eq(x->id, e->id) && x->size == e->size ? far->by_content[low] : XD_MANIFEST_NONE;
}

static bool is_pushed(const xd_far *far, const xd_entry *e)
{
    return far->pushed && far->pushed[e->first / 8] >> e->first % 8 & 1;
}

/* A file that lacks its content: where that comes from. */
static int plan_file(xd_far *far, uint32_t i)
{
    xd_entry *e = &far->want->entry[i];
    uint32_t  was = far->was[i];
    if (is_pushed(far, e)) {
        const xd_entry *o = was == XD_MANIFEST_NONE ? NULL : &far->old.tree->entry[was];
        bool delta = o && o->type == XD_SYNC_FILE && o->size >= DELTA_BYTES && e->size >= DELTA_BYTES;
        if (!delta || far->stand[was] >= STAND_META)
            e->mark = NEED_PUSHED;
        return 0;
    }
    if (far->shared || !far->old.tree)
        return 0;
    if (!far->by_content)
        XD_TRY(index_contents(far));
    if (find_content(far, e) != XD_MANIFEST_NONE)
        e->mark = NEED_COPY;
    return 0;
}

/* A folder with what nobody brought stands where something else is to be. */
static int check_way(far_worker *w, uint32_t i)
{
    xd_far         *far = w->far;
    const xd_entry *e = &far->want->entry[i];
    char            name[XD_MANIFEST_NAME_MAX + 1];
    xd_autobuf      path = XD_BUF_INIT;
    int             folder = far_folder(w, far->want, e->parent);
    if (folder < 0)
        return far_fault_entry(far, folder, "read", i);
    far_name(far->want, e, name);
    XD_TRY(xd_manifest_path(far->want, i, &path));
    return far_way_check(far, folder, name, far->was[i], xd_buf_view(&path));
}

static int plan_one(far_worker *w, uint32_t i)
{
    xd_far   *far = w->far;
    xd_entry *e = &far->want->entry[i];
    if (e->mark == NEED_NOTHING)
        return 0;
    if (!xd_entry_is_folder(e) && far->there[i] == XD_SYNC_FOLDER)
        XD_TRY(check_way(w, i));
    if (e->mark == NEED_DATA)
        XD_TRY(plan_file(far, i));
    if (!(far->flags & (XD_SYNC_FLAG_TELL | XD_SYNC_FLAG_DRY_RUN)))
        return 0;
    uint8_t was = far->there[i] > XD_SYNC_WAY ? XD_SYNC_GONE : far->there[i];
    xd_buf_clear(&w->path);
    far_forget(w); /* its path is that of the descriptor */
    XD_TRY(xd_manifest_path(far->want, i, &w->path));
    return far_tell(far, e->type, e->type == XD_SYNC_WAY && was == XD_SYNC_FOLDER ? XD_SYNC_WAY : was,
                    xd_buf_view(&w->path));
}

static void count_one(xd_far *far, const xd_entry *e)
{
    if (e->mark == NEED_PUSHED || e->mark == NEED_DATA)
        far->lacking++;
    if (!(far->flags & XD_SYNC_FLAG_DRY_RUN) || e->type != XD_SYNC_FILE)
        return;
    if (e->mark == NEED_COPY) {
        far->reused++;
        far->reused_bytes += e->size;
    } else if (e->mark != NEED_NOTHING && e->mark != NEED_META) {
        far->written++;
        far->written_bytes += e->size;
    }
}

int far_plan(xd_far *far)
{
    far_worker w;
    int        r = far_worker_init(&w, far);
    for (uint32_t i = far->there[0] == XD_SYNC_GONE ? 0 : 1; r == 0 && i < far->want->count; i++) {
        if (i == 0)
            far->want->entry[0].mark = NEED_MAKE;
        r = plan_one(&w, i);
        count_one(far, &far->want->entry[i]);
    }
    far_worker_release(&w);
    return r;
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

int far_begin(xd_far *far)
{
    if (far->root < 0) {
        xd_error err;
        if (xd_path_mkdirs(far->folder, 0700, &err) < 0)
            return far_fault_text(far, err.code, "%s%s", err.text,
                                  err.code == -EACCES ? ": choose a folder that may be made" : "");
        far->root = open(far->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (far->root < 0)
            return far_fault(far, -errno, "open", (xd_bytes){ 0 });
    }
    far->want->entry[0].mark = NEED_NOTHING;
    XD_TRY(far_sweep(far));
    far->state_fd = xd_state_begin(far->root, XD_STATE_NEW, far->want);
    if (far->state_fd == -EISDIR)
        return far_fault_text(far, -EISDIR,
                              "%s/" XD_STATE_NAME " or " XD_STATE_NEW
                              " is a folder, but the name is needed: remove it",
                              far->folder);
    if (far->state_fd < 0)
        return far_fault(far, far->state_fd, "write", XD_BYTES_LIT(XD_STATE_NEW));
    far->writing = true;
    return 0;
}

static int make_folder(xd_far *far, far_worker *w, uint32_t i)
{
    xd_entry   *e = &far->want->entry[i];
    char        name[XD_MANIFEST_NAME_MAX + 1];
    struct stat st;
    int         folder = far_folder(w, far->want, e->parent), r = 0;
    if (folder < 0)
        return folder;
    far_name(far->want, e, name);
    if (e->mark == NEED_META) /* it stands there; all may be done in it until the end */
        return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & 0700) != 0700
                   ? far_open_up(far, folder, name)
                   : 0;
    if (far->there[i] != XD_SYNC_GONE && unlinkat(folder, name, 0) != 0 && errno != ENOENT)
        return -errno;
    r = far->there[i] == XD_SYNC_GONE ? far_make_fresh(far, folder, i) : -EEXIST;
    if (r == 0)
        return 0;
    if (r == -EEXIST)
        r = mkdirat(folder, name, e->mode | 0700u) == 0 ? 0 : -errno;
    if (r == -EACCES && e->parent != 0) {
        const xd_entry *p = &far->want->entry[e->parent];
        char            above[XD_MANIFEST_NAME_MAX + 1];
        far_name(far->want, p, above);
        xd_autobuf path = XD_BUF_INIT;
        XD_TRY(xd_manifest_path(far->want, p->parent, &path));
        xd_autoclose int parent = xd_beneath_folder(far->root, xd_buf_cstr(&path));
        if (p->type == XD_SYNC_FOLDER && parent >= 0 && far_open_up(far, parent, above) == 0) {
            far->want->entry[e->parent].mark = NEED_META;
            r = mkdirat(folder, name, e->mode | 0700u) == 0 ? 0 : -errno;
        }
    }
    if (r == 0 || r == -EEXIST)
        r = fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
    if (r == 0)
        e->mark = S_ISDIR(st.st_mode) && (st.st_mode & 0777) == e->mode ? NEED_NOTHING : NEED_META;
    return r;
}

int far_folders(xd_far *far)
{
    far_worker w;
    int        r = far_worker_init(&w, far);
    for (uint32_t i = 1; r == 0 && i < far->want->count; i++) {
        const xd_entry *e = &far->want->entry[i];
        if (!xd_entry_is_folder(e) || e->mark == NEED_NOTHING)
            continue;
        r = far_stopped(far) ? -ECANCELED : make_folder(far, &w, i);
        if (r < 0)
            (void)far_fault_entry(far, r, "make the folder", i);
    }
    far_worker_release(&w);
    return r;
}

/* New folders get their names. */
static int settle_folders(xd_far *far)
{
    xd_autobuf path = XD_BUF_INIT;
    far_worker w;
    int        r = far_worker_init(&w, far);
    for (uint32_t i = 1; r == 0 && i < far->want->count; i++) {
        r = far_settle_fresh(&w, i);
        const bool taken = r == -EEXIST || r == -ENOTEMPTY || r == -ENOTDIR;
        if (taken && far_fold_folder(&w, far->want->entry[i].parent) < 0)
            break; /* another one of them has the name, to that file system */
        if (taken && xd_manifest_path(far->want, i, &path) == 0)
            (void)far_fault_text(far, r, "%s/%s was made there by somebody else meanwhile: synchronise again",
                                 far->folder, xd_buf_cstr(&path));
        else if (r < 0)
            (void)far_fault_entry(far, r, "make the folder", i);
    }
    far_worker_release(&w);
    return r;
}

/* Last of all, the deepest first: modes of folders. */
static int close_folders(xd_far *far)
{
    xd_autobuf path = XD_BUF_INIT;
    for (uint32_t i = far->want->count; i-- > 1;) {
        xd_entry   *e = &far->want->entry[i];
        struct stat st;
        if (!xd_entry_is_folder(e) || e->mark == NEED_NOTHING)
            continue;
        xd_buf_clear(&path);
        XD_TRY(xd_manifest_path(far->want, i, &path));
        xd_autoclose int fd = xd_beneath_open(far->root, xd_buf_cstr(&path), O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 || fstat(fd, &st) != 0 ||
            (fchmod(fd, (st.st_mode & 07000) | e->mode) != 0 && (errno != EPERM || st.st_uid != geteuid())))
            return far_fault_entry(far, fd < 0 ? fd : -errno, "set the mode of", i);
        e->mark = NEED_NOTHING;
    }
    return 0;
}

/* ---- contents that stand elsewhere ----------------------------------------------------------------------------- */

/* Copies what is left of a file, and hashes it. */
static int copy_bytes(far_worker *w, int from, int to, const xd_entry *e)
{
    xd_digest id;
    uint64_t  left = e->size;
    while (left) { /* in the kernel, or as a reference */
        ssize_t n = copy_file_range(from, NULL, to, NULL, XD_MIN(left, 16u << 20), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && left == e->size && errno != ENOSPC && errno != EDQUOT && errno != EIO)
            break;
        if (n < 0)
            return -errno;
        if (n == 0 || far_stopped(w->far))
            return n ? -ECANCELED : 1;
        left -= (uint64_t)n;
    }
    while (left) {
        ssize_t n = read(from, w->room, XD_MIN(left, FAR_ROOM));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : 1;
        XD_TRY(xd_beneath_write(to, (xd_bytes){ w->room, (size_t)n }));
        left -= (uint64_t)n;
    }
    if (lseek(to, 0, SEEK_SET) != 0)
        return -errno;
    XD_TRY(xd_beneath_hash(to, w->room, FAR_ROOM, &w->far->stop, &id, NULL));
    return xd_digest_eq(id, e->id) ? 0 : 1;
}

/* Makes the temporary file `temp` in `folder` of the content of an old file. 1: that is not what it was. */
static int copy_from(far_worker *w, uint32_t entry, uint32_t source, int folder, const char *temp)
{
    xd_far            *far = w->far;
    const xd_manifest *o = far->old.tree;
    const xd_entry    *s = &o->entry[source], *e = &far->want->entry[entry];
    char               name[XD_MANIFEST_NAME_MAX + 1];
    struct stat        st;
    xd_autobuf         path = XD_BUF_INIT;
    XD_TRY(xd_manifest_path(o, s->parent, &path));
    xd_autoclose int parent = xd_beneath_folder(far->root, xd_buf_cstr(&path));
    far_name(o, s, name);
    xd_autoclose int from = parent < 0 ? -1 : xd_beneath_file(parent, name, O_RDONLY, &st);
    if (from < 0 || (uint64_t)st.st_size != e->size)
        return 1;
    (void)unlinkat(folder, temp, 0);
    xd_autoclose int to = openat(folder, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    int r = copy_bytes(w, from, to, e);
    if (r != 0)
        (void)unlinkat(folder, temp, 0);
    return r;
}

static int copy_one(far_worker *w, uint32_t i)
{
    xd_far   *far = w->far;
    xd_entry *e = &far->want->entry[i];
    char      temp[32];
    if (e->mark != NEED_COPY)
        return 0;
    int folder = far_folder(w, far->want, e->parent);
    if (folder < 0)
        return far_fault_entry(far, folder, "write", i);
    far_temp(i, temp);
    int r = copy_from(w, i, find_content(far, e), folder, temp);
    if (r == -EACCES) { /* to make a file in the folder, and to remove it, takes the same right */
        int fd = far_create_temp(w, i, folder, temp);
        if (fd >= 0)
            close(fd);
        r = fd < 0 ? fd : copy_from(w, i, find_content(far, e), folder, temp);
    }
    if (r < 0)
        return far_fault_entry(far, r, "write", i);
    if (r == 1) {
        e->mark = NEED_DATA;
        (void)__atomic_fetch_add(&far->lacking, 1, __ATOMIC_RELAXED);
    }
    return 0;
}

static int settle_one(far_worker *w, uint32_t i)
{
    xd_far     *far = w->far;
    xd_entry   *e = &far->want->entry[i];
    char        temp[32];
    struct stat st;
    if (e->mark != NEED_COPY)
        return 0;
    int folder = far_folder(w, far->want, e->parent);
    far_temp(i, temp);
    xd_autoclose int fd = folder < 0 ? folder : xd_beneath_file(folder, temp, O_RDONLY, &st);
    int              r = fd < 0 ? fd : far_place(w, i, folder, temp, fd);
    if (r < 0)
        return far_fault_entry(far, r, "write", i);
    e->mark = NEED_NOTHING;
    (void)__atomic_fetch_add(&far->reused, 1, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&far->reused_bytes, e->size, __ATOMIC_RELAXED);
    return 0;
}

int far_copies(xd_far *far)
{
    bool copies = false;
    for (uint32_t i = 0; i < far->want->files && !copies; i++)
        copies = far->want->entry[far->want->file[i]].mark == NEED_COPY;
    if (!copies)
        return 0;
    /* All are made before the first takes its place, where another's source may stand. */
    XD_TRY(far_each(far, far->want->count, copy_one));
    return far_each(far, far->want->count, settle_one);
}

int far_metas(xd_far *far)
{
    uint32_t i;
    bool     any = false;
    for (i = 0; i < far->want->files && !any; i++)
        any = far->want->entry[far->want->file[i]].mark == NEED_META;
    if (!any)
        return 0;
    XD_TRY(far_each(far, far->want->count, far_meta_one));
    far->lacking = 0; /* one that could not be changed is written anew */
    for (i = 0; i < far->want->files; i++) {
        uint8_t mark = far->want->entry[far->want->file[i]].mark;
        far->lacking += mark == NEED_PUSHED || mark == NEED_DATA;
    }
    return 0;
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

int far_finish(xd_far *far)
{
    XD_TRY(far_each(far, far->want->count, far_make_one));
    XD_TRY(settle_folders(far));
    XD_TRY(far_remove(far));
    XD_TRY(close_folders(far));
    XD_TRY(far_each(far, far->want->count, far_fold_folder));
    if (far->amended)
        xd_manifest_seal(far->want);
    xd_autobuf others = XD_BUF_INIT;
    XD_TRY(far_others(far, &others));
    int fd = far->state_fd;
    far->state_fd = -1;
    int r =
        xd_state_end(far->root, XD_STATE_NEW, fd, far->want, far->print, xd_buf_view(&others), far->amended);
    return r < 0 ? far_fault(far, r, "write", XD_BYTES_LIT(XD_STATE_NEW)) : 0;
}

void far_abandon(xd_far *far)
{
    far_worker w;
    char       temp[32];
    far->stop = 0;
    if (!far->writing || !far->want || far_worker_init(&w, far) < 0)
        return;
    for (uint32_t i = 0; i < far->want->files; i++) {
        uint32_t entry = far->want->file[i];
        if (far->want->entry[entry].mark != NEED_COPY)
            continue;
        int folder = far_folder(&w, far->want, far->want->entry[entry].parent);
        far_temp(entry, temp);
        if (folder >= 0)
            (void)unlinkat(folder, temp, 0);
    }
    for (uint32_t i = 1; i < far->want->count; i++)
        if (far_settle_fresh(&w, i) < 0)
            far_drop_fresh(&w, i);
    (void)close_folders(far);
    far_worker_release(&w);
}
