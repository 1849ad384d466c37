/* sync/look.c - the far half of a synchronisation: what stands in the folder, compared with the tree that was brought last and with the one that is
 * wanted. Several threads, folder by folder. See far.h. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sync/far.h"

static uint8_t kind(mode_t mode)
{
    return S_ISREG(mode)   ? XD_SYNC_FILE
           : S_ISDIR(mode) ? XD_SYNC_FOLDER
           : S_ISLNK(mode) ? XD_SYNC_LINK
                           : THERE_ODD;
}

static bool file_meta_fits(const xd_entry *e, const struct stat *st)
{
    return (st->st_mode & 07777) == e->mode && far_ns(st->st_mtim) == e->mtime_ns;
}

/* Does a file of the right size hold that content? -ENOMEM and the like are no answer, so they count as no. */
static bool content_fits(far_worker *w, int folder, const char *name, const xd_entry *e, struct stat *st)
{
    xd_digest   id;
    uint64_t    bytes;
    struct stat before;
    if (e->size == 0)
        return xd_digest_eq(e->id, xd_digest_of((xd_bytes){ 0 }));
    xd_autoclose int fd = xd_beneath_file(folder, name, O_RDONLY, &before);
    if (fd < 0 || (uint64_t)before.st_size != e->size ||
        xd_beneath_hash(fd, w->room, FAR_ROOM, &w->far->stop, &id, &bytes) < 0 || fstat(fd, st) != 0)
        return false;
    return bytes == e->size && xd_digest_eq(id, e->id) && xd_state_print(&before) == xd_state_print(st);
}

static bool target_fits(int folder, const char *name, xd_bytes target)
{
    char    text[XD_MANIFEST_PATH_MAX + 1];
    ssize_t n = readlinkat(folder, name, text, sizeof(text));
    return n >= 0 && (size_t)n == target.len && memcmp(text, target.ptr, target.len) == 0;
}

/* How a name of a tree stands there. *print: what it was when that was known to be right (0 = never), and what it is now. */
static int check(far_worker *w, int folder, const xd_manifest *m, const xd_entry *e, uint64_t *print,
                 uint8_t *there)
{
    xd_far     *far = w->far;
    char        name[XD_MANIFEST_NAME_MAX + 1];
    struct stat st;
    far_name(m, e, name);
    *there = XD_SYNC_GONE;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        *print = 0;
        return STAND_GONE;
    }
    uint64_t was = *print;
    *there = kind(st.st_mode);
    *print = 0;
    if (*there != (e->type == XD_SYNC_WAY ? XD_SYNC_FOLDER : e->type))
        return STAND_OTHER;
    if (*there == XD_SYNC_FOLDER)
        return e->type == XD_SYNC_WAY || (st.st_mode & 0777) == e->mode ? STAND_CLEAN : STAND_META;
    if (*there == XD_SYNC_FILE && (uint64_t)st.st_size != e->size)
        return STAND_OTHER;
    bool known = was && was == xd_state_print(&st);
    if (known && far_ns(st.st_ctim) >= far->old.written_ns - far->margin_ns)
        known = false;
    if (!known && (*there == XD_SYNC_FILE ? !content_fits(w, folder, name, e, &st)
                                          : !target_fits(folder, name, xd_entry_target(m, e))))
        return STAND_OTHER;
    if (!known && was && *there == XD_SYNC_FILE && e->size)
        __atomic_store_n(&far->blurred, 1, __ATOMIC_RELAXED);
    *print = xd_state_print(&st);
    return was == *print || *there == XD_SYNC_LINK || file_meta_fits(e, &st) ? STAND_CLEAN : STAND_META;
}

/* ---- the old tree -------------------------------------------------------------------------------------------- */

static int look_old(far_worker *w, uint32_t i)
{
    xd_far            *far = w->far;
    const xd_manifest *m = far->old.tree;
    const xd_entry    *f = &m->entry[i];
    if (!xd_entry_is_folder(f) || f->count == 0)
        return 0;
    int folder = far_folder(w, m, i);
    if (folder == -ENOMEM || folder == -EMFILE || folder == -ENFILE)
        return folder;
    for (uint32_t c = f->first; c < f->first + f->count; c++) {
        uint8_t there;
        if (folder < 0)
            far->stand[c] = STAND_GONE;
        else
            far->stand[c] = (uint8_t)check(w, folder, m, &m->entry[c], &far->old.print[c], &there);
    }
    return 0;
}

int far_look_old(xd_far *far)
{
    const xd_manifest *m = far->old.tree;
    free(far->stand);
    far->stand = calloc(m->count, 1);
    if (!far->stand)
        return -ENOMEM;
    far->stand[0] = STAND_CLEAN;
    far->margin_ns = xd_state_margin_ns(far->root);
    return far_each(far, m->count, look_old);
}

bool far_old_clean(const xd_far *far)
{
    for (uint32_t i = 0; i < far->old.tree->count; i++)
        if (far->stand[i] != STAND_CLEAN)
            return false;
    return true;
}

/* ---- the wanted tree ------------------------------------------------------------------------------------------ */

/* Which entry of the old tree has the same path. */
static void pair(xd_far *far)
{
    const xd_manifest *m = far->want, *o = far->old.tree;
    for (uint32_t i = 0; i < m->count; i++)
        far->was[i] = far->shared ? i : XD_MANIFEST_NONE;
    if (far->shared || !o)
        return;
    far->was[0] = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const xd_entry *f = &m->entry[i];
        if (!xd_entry_is_folder(f) || far->was[i] == XD_MANIFEST_NONE)
            continue;
        const xd_entry *g = &o->entry[far->was[i]];
        if (!xd_entry_is_folder(g))
            continue;
        for (uint32_t a = 0, b = 0; a < f->count && b < g->count;) {
            xd_bytes x = xd_entry_name(m, &m->entry[f->first + a]),
                     y = xd_entry_name(o, &o->entry[g->first + b]);
            int c = memcmp(x.ptr, y.ptr, XD_MIN(x.len, y.len));
            if (c == 0)
                c = (x.len > y.len) - (x.len < y.len);
            if (c == 0)
                far->was[f->first + a] = g->first + b;
            a += c <= 0;
            b += c >= 0;
        }
    }
}

/* Need of an entry at whose path what the old tree says stands there (as `stand` has it). */
static int need_of_known(const xd_far *far, const xd_entry *e, const xd_entry *o, uint8_t stand)
{
    bool clean = stand == STAND_CLEAN;
    if (e->type == XD_SYNC_WAY)
        return NEED_NOTHING;
    if (e->type == XD_SYNC_FOLDER)
        return clean && o->type == e->type && o->mode == e->mode ? NEED_NOTHING : NEED_META;
    if (e->type == XD_SYNC_LINK)
        return xd_bytes_eq(xd_entry_target(far->want, e), xd_entry_target(far->old.tree, o)) ? NEED_NOTHING
                                                                                             : NEED_MAKE;
    if (o->size != e->size || !xd_digest_eq(o->id, e->id))
        return e->size ? NEED_DATA : NEED_MAKE;
    return clean && o->mode == e->mode && o->mtime_ns == e->mtime_ns ? NEED_NOTHING : NEED_META;
}

static int need_of(const xd_entry *e, int stand)
{
    if (stand == STAND_CLEAN)
        return NEED_NOTHING;
    if (stand == STAND_META)
        return NEED_META;
    return e->type == XD_SYNC_FILE && e->size ? NEED_DATA : NEED_MAKE;
}

static bool same_kind(uint8_t a, uint8_t b)
{
    return (a == XD_SYNC_WAY ? XD_SYNC_FOLDER : a) == (b == XD_SYNC_WAY ? XD_SYNC_FOLDER : b);
}

static int match_one(far_worker *w, uint32_t folder, uint32_t c)
{
    xd_far   *far = w->far;
    xd_entry *e = &far->want->entry[c];
    uint32_t  was = far->was[c];
    uint8_t   stand = was == XD_MANIFEST_NONE ? STAND_OTHER : far->stand[was];
    if (stand >= STAND_META && same_kind(e->type, far->old.tree->entry[was].type)) {
        const xd_entry *o = &far->old.tree->entry[was];
        far->there[c] = o->type == XD_SYNC_WAY ? XD_SYNC_FOLDER : o->type;
        far->print[c] = far->old.print[was];
        e->mark = (uint8_t)need_of_known(far, e, o, stand);
        return 0;
    }
    far->there[c] = XD_SYNC_GONE;
    int fd = stand == STAND_GONE || __atomic_load_n(&far->there[folder], __ATOMIC_RELAXED) == XD_SYNC_GONE
                 ? -ENOENT
                 : far_folder(w, far->want, folder);
    if (fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE)
        return fd;
    int     now = STAND_GONE;
    uint8_t there = XD_SYNC_GONE;
    if (fd >= 0)
        now = check(w, fd, far->want, e, &far->print[c], &there);
    e->mark = (uint8_t)need_of(e, now);
    __atomic_store_n(&far->there[c], there, __ATOMIC_RELAXED);
    return 0;
}

static int match_folder(far_worker *w, uint32_t i)
{
    const xd_entry *f = &w->far->want->entry[i];
    if (!xd_entry_is_folder(f))
        return 0;
    for (uint32_t c = f->first; c < f->first + f->count; c++)
        XD_TRY(match_one(w, i, c));
    return 0;
}

int far_match(xd_far *far)
{
    uint32_t n = far->want->count;
    far->was = malloc(n * sizeof(*far->was));
    far->there = malloc(n);
    far->print = calloc(n, sizeof(*far->print));
    far->tries = calloc(far->want->files + 1u, 1);
    if (!far->was || !far->there || !far->print || !far->tries)
        return -ENOMEM;
    pair(far);
    memset(far->there, THERE_UNKNOWN, n);
    far->there[0] = far->root >= 0 ? XD_SYNC_FOLDER : XD_SYNC_GONE;
    if (far->root >= 0 && !far->margin_ns)
        far->margin_ns = xd_state_margin_ns(far->root);
    return far_each(far, n, match_folder);
}
