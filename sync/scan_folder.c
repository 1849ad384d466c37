/* sync/scan_folder.c - one unit of a scan: a folder with its names, or some of its files that are to be read. See scan_state.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/fault.h"
#include "sync/scan_state.h"

#define DENTS (64u << 10)
/* Up to so many files of one folder are read by the thread that walks it; of more, other threads take a share. */
#define OWN_FILES 48u
#define OWN_BYTES (1u << 20)

typedef struct found {
    xd_node node;
    size_t  target; /* of a link: where it is in worker.targets */
} found;

/* ---- small things -------------------------------------------------------------------------------------------------- */

xd_unit *xd_unit_new(xd_bytes path)
{
    xd_unit *u = calloc(1, sizeof(*u) + path.len + 1);
    if (u) {
        u->path_len = path.len;
        if (path.len)
            memcpy(u->path, path.ptr, path.len);
    }
    return u;
}

xd_unit *xd_unit_free(xd_unit *u)
{
    if (u) {
        xd_ignore_free(u->rules);
        xd_buf_release(&u->files);
        free(u);
    }
    return NULL;
}

/* The tree's path of what worker.path names. */
static const char *tree_path(xd_scan_worker *w)
{
    return (const char *)w->path.data + w->scan->above_len; /* set_path has ended it */
}

/* worker.path becomes that of a name in the folder. */
static int set_path(xd_scan_worker *w, const xd_unit *u, xd_bytes name)
{
    w->path.len = w->scan->above_len; /* stands there from the beginning */
    XD_TRY(xd_buf_add(&w->path, u->path, u->path_len));
    if (u->path_len && name.len)
        XD_TRY(xd_buf_add_byte(&w->path, '/'));
    XD_TRY(xd_buf_add_bytes(&w->path, name));
    XD_TRY(xd_buf_reserve(&w->path, 1));
    w->path.data[w->path.len] = 0;
    return 0;
}

/* What the scan cannot go on without, as opposed to what one name is like. */
static bool is_fatal(int code)
{
    return code == -ENOMEM || code == -EMFILE || code == -ENFILE || code == -ECANCELED;
}

static int leave_out(xd_scan_worker *w, const char *path, const char *why, bool unreadable)
{
    xd_scan_state *s = w->scan;
    pthread_mutex_lock(&s->lock);
    int r = xd_buf_printf(&s->left_out, "%s: %s", *path ? path : ".", why);
    if (r == 0)
        r = xd_buf_add_byte(&s->left_out, 0);
    if (r == 0 && unreadable)
        r = xd_buf_add(&s->unreadable, path, strlen(path) + 1);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* Ends the scan, with a line. */
static int fail(xd_scan_worker *w, int code, const char *fmt, const char *path)
{
    pthread_mutex_lock(&w->scan->lock);
    if (w->scan->err.code == 0)
        xd_error_set(&w->scan->err, code, fmt, path, xd_error_name(code));
    pthread_mutex_unlock(&w->scan->lock);
    return code;
}

int xd_scan_open_folder(const xd_place *place, const char *path)
{
    const char *below = path + place->path_len;
    below += *below == '/';
    return xd_open_beneath(place->fd, *below ? below : ".", O_RDONLY | O_DIRECTORY);
}

/* The clock of the folder's file system; asked the first time that a file is to be read on it. */
static xd_statclock clock_of(xd_scan_state *s, uint32_t dev, int fd)
{
    xd_statclock none = { INT64_MIN };
    pthread_mutex_lock(&s->lock);
    uint32_t i = 0;
    while (i < s->clocks && s->clock[i].dev != dev)
        i++;
    if (i == s->clocks && i < XD_ARRAY_LEN(s->clock)) {
        s->clock[i].dev = dev;
        xd_statclock_probe(fd,
                           &s->clock[i].clock); /* others wait: what they read afterwards is read after it */
        s->clocks++;
    }
    xd_statclock ret = i < XD_ARRAY_LEN(s->clock) ? s->clock[i].clock : none;
    pthread_mutex_unlock(&s->lock);
    return ret;
}

/* ---- files ---------------------------------------------------------------------------------------------------------- */

static int add_found(xd_scan_worker *w, const found *f)
{
    return xd_buf_add(&w->found, f, sizeof(*f));
}

static int add_file(xd_scan_worker *w, xd_bytes name, const xd_stat *st, xd_digest id)
{
    found f = { .node = { .name = name, .type = XD_SYNC_FILE, .mode = st->mode & 0777, .size = st->size } };
    f.node.mtime_ns = st->mtime_ns;
    f.node.id = id;
    w->stats.files++;
    w->stats.bytes += st->size;
    return add_found(w, &f);
}

/* A file that the cache does not have. */
static int read_file(xd_scan_worker *w, const xd_unit *u, int fd, const xd_statclock *clock, const char *name,
                     xd_stat st)
{
    xd_digest id;
    int       r = xd_hash_file(fd, name, w->scan->stop, w->buffer, &st, &id);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        XD_TRY(is_fatal(r) ? r : set_path(w, u, xd_bytes_str(name)));
        bool changes = r == -EAGAIN || r == -EINVAL || r == -ELOOP;
        return leave_out(w, tree_path(w), changes ? "it changes while it is read" : xd_error_name(r), true);
    }
    w->stats.hashed++;
    w->stats.hashed_bytes += st.size;
    if (xd_statclock_trusts(clock, &st))
        XD_TRY(xd_statcache_add(w->scan->cache, &st, id));
    return add_file(w, xd_bytes_str(name), &st, id);
}

/* files: as unit.files. */
static int read_files(xd_scan_worker *w, const xd_unit *u, int fd, const xd_buf *files)
{
    uint64_t     begin = xd_clock_ns();
    xd_statclock clock = clock_of(w->scan, u->dev, fd);
    for (size_t at = 0; at < files->len;) {
        xd_stat     st;
        const char *name = (const char *)files->data + at + sizeof(st);
        memcpy(&st, files->data + at, sizeof(st));
        XD_TRY(read_file(w, u, fd, &clock, name, st));
        at += sizeof(st) + strlen(name) + 1;
    }
    w->stats.hash_ns += xd_clock_ns() - begin;
    return 0;
}

/* ---- names ---------------------------------------------------------------------------------------------------------- */

static int on_link(xd_scan_worker *w, const xd_unit *u, int fd, xd_bytes name)
{
    char           raw[XD_MANIFEST_PATH_MAX + 1];
    xd_scan_state *s = w->scan;
    found          f = { .node = { .name = name, .type = XD_SYNC_LINK }, .target = w->targets.len };
    ssize_t        n = readlinkat(fd, (const char *)name.ptr, raw, sizeof(raw));
    if (n < 0)
        return errno == ENOENT || errno == EINVAL ? 0
                                                  : leave_out(w, tree_path(w), xd_error_name(-errno), true);
    if (n == 0 || n == (ssize_t)sizeof(raw))
        return leave_out(w, tree_path(w), "a link whose target cannot be read", false);
    pthread_mutex_lock(&s->lock);
    const xd_place *places = s->places; /* new ones come before it */
    pthread_mutex_unlock(&s->lock);
    int r = xd_link_target(s->plan, places, (xd_bytes){ (const uint8_t *)u->path, u->path_len },
                           (xd_bytes){ (uint8_t *)raw, (size_t)n }, &w->targets);
    if (r == 1)
        return leave_out(w, tree_path(w), "a link that leads out of what is synchronised", false);
    XD_TRY(r);
    f.node.target.len = w->targets.len - f.target;
    if (f.node.target.len > XD_MANIFEST_PATH_MAX) {
        w->targets.len = f.target;
        return leave_out(w, tree_path(w), "a link whose target is too long", false);
    }
    w->stats.links++;
    return add_found(w, &f);
}

/* A folder to be walked later. */
static int on_folder(xd_scan_worker *w, const xd_unit *u, xd_bytes name, const xd_stat *st,
                     const xd_plan *plan, bool inside, const xd_place *place)
{
    xd_unit *below = xd_unit_new(xd_bytes_str(tree_path(w)));
    if (!below)
        return -ENOMEM;
    below->name_at = below->path_len - name.len;
    below->mode = st->mode & 0777;
    below->depth = (uint16_t)(u->depth + 1);
    below->inside = inside;
    below->plan = plan;
    below->place = place;
    below->dev = st->dev;
    below->next = w->below;
    w->below = below;
    return 0;
}

static int on_file(xd_scan_worker *w, xd_bytes name, const xd_stat *st)
{
    xd_digest id;
    if (st->size > XD_MANIFEST_SIZE_MAX)
        return leave_out(w, tree_path(w), "too large", false);
    if (xd_statcache_find(w->scan->cache, st, &id))
        return add_file(w, name, st, id);
    XD_TRY(xd_buf_add(&w->pending, st, sizeof(*st)));
    return xd_buf_add(&w->pending, name.ptr, name.len + 1);
}

/* worker.path is that of the name. */
static int on_name(xd_scan_worker *w, const xd_unit *u, int fd, xd_bytes name, const xd_stat *st)
{
    if (S_ISREG(st->mode))
        return on_file(w, name, st);
    if (S_ISDIR(st->mode))
        return on_folder(w, u, name, st, NULL, true, u->place);
    if (S_ISLNK(st->mode))
        return on_link(w, u, fd, name);
    const char *what = S_ISSOCK(st->mode) ? "a socket" : S_ISFIFO(st->mode) ? "a FIFO" : "a device";
    return leave_out(w, tree_path(w), what, false);
}

static bool ignored(xd_scan_worker *w, xd_ignore *rules, bool is_folder)
{
    bool r = xd_ignore_match(rules, (const char *)w->path.data, w->path.len, is_folder);
    w->stats.ignored += r;
    return r;
}

/* A name that the folder has. Those that are left out by the rules are not looked at, if the folder says what they are. */
static int on_dent(xd_scan_worker *w, const xd_unit *u, int fd, xd_ignore *rules, const struct dirent64 *d)
{
    xd_bytes name = xd_bytes_str(d->d_name);
    xd_stat  st = { 0 };
    if (xd_plan_child(u->plan, name))
        return 0; /* on_planned */
    XD_TRY(set_path(w, u, name));
    if (name.len > XD_MANIFEST_NAME_MAX || w->path.len - w->scan->above_len > XD_MANIFEST_PATH_MAX)
        return leave_out(w, tree_path(w), "its name is too long", false);
    if (u->depth == XD_MANIFEST_DEPTH_MAX)
        return leave_out(w, tree_path(w), "too deep", false);
    bool known = d->d_type != DT_UNKNOWN;
    if (known && ignored(w, rules, d->d_type == DT_DIR))
        return 0;
    int r = d->d_type == DT_LNK ? 0 : xd_stat_at(fd, d->d_name, &st);
    if (d->d_type == DT_LNK)
        st.mode = S_IFLNK;
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return is_fatal(r) ? r : leave_out(w, tree_path(w), xd_error_name(r), true);
    if (!known && ignored(w, rules, S_ISDIR(st.mode)))
        return 0;
    return on_name(w, u, fd, name, &st);
}

/* ---- what leads to roots, and roots ------------------------------------------------------------------------------------ */

/* A root, or a folder on the way, that is a link to a folder: what is below is found in that. */
static int add_place(xd_scan_worker *w, int fd, const char *name, const xd_place **ret)
{
    char      proc[40], real[XD_MANIFEST_PATH_MAX + 1];
    xd_bytes  path = xd_bytes_str(tree_path(w));
    xd_place *p = calloc(1, sizeof(*p) + path.len + 1);
    if (!p)
        return -ENOMEM;
    p->fd = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = p->fd < 0 ? -errno : 0;
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", p->fd);
    ssize_t n = r == 0 ? readlink(proc, real, sizeof(real)) : 0;
    p->real = xd_bytes_dup((xd_bytes){ (uint8_t *)real, n > 1 && n < (ssize_t)sizeof(real) ? (size_t)n : 0 });
    p->path_len = path.len;
    memcpy(p->path, path.ptr, path.len);
    if (r == 0 && !p->real)
        r = -ENOMEM;
    if (r < 0) {
        if (p->fd >= 0)
            close(p->fd);
        free(p->real);
        free(p);
        return r;
    }
    pthread_mutex_lock(&w->scan->lock);
    p->next = w->scan->places;
    w->scan->places = p;
    pthread_mutex_unlock(&w->scan->lock);
    *ret = p;
    return 0;
}

/* A root that is a link to what is brought by another root stays a link: both names lead there then, as they do here. */
static bool leads_to_root(xd_scan_worker *w, const xd_unit *u, int fd, const xd_plan *c)
{
    char          raw[XD_MANIFEST_PATH_MAX + 1];
    const size_t  before = w->targets.len;
    const ssize_t n = c->is_root && !c->child ? readlinkat(fd, c->name, raw, sizeof(raw)) : -1;
    if (n <= 0 || n == (ssize_t)sizeof(raw))
        return false;
    pthread_mutex_lock(&w->scan->lock);
    const xd_place *places = w->scan->places;
    pthread_mutex_unlock(&w->scan->lock);
    const int r = xd_link_target(w->scan->plan, places, (xd_bytes){ (const uint8_t *)u->path, u->path_len },
                                 (xd_bytes){ (const uint8_t *)raw, (size_t)n }, &w->targets);
    w->targets.len = before;
    return r == 0;
}

static int on_planned(xd_scan_worker *w, const xd_unit *u, int fd, xd_ignore *rules, const xd_plan *c)
{
    xd_bytes        name = { (const uint8_t *)c->name, c->len };
    const xd_place *place = u->place;
    xd_stat         st;
    XD_TRY(set_path(w, u, name));
    int r = xd_stat_at(fd, c->name, &st);
    if (r == 0 && S_ISLNK(st.mode) && leads_to_root(w, u, fd, c))
        return on_link(w, u, fd, name);
    if (r == 0 && S_ISLNK(st.mode)) {
        r = add_place(w, fd, c->name, &place);
        if (r == -ENOTDIR && c->is_root)
            return on_link(w, u, fd, name); /* to a file: it is a name like others */
        if (r == 0)
            r = xd_stat_at(place->fd, ".", &st);
    }
    if (r == 0 && !S_ISDIR(st.mode) && (!c->is_root || !S_ISREG(st.mode)))
        return fail(w, -ENOTDIR, "cannot synchronise %s: it is neither a folder nor a file", c->root);
    if (r < 0)
        return is_fatal(r) ? r : fail(w, r, "cannot synchronise %s: %s", c->root);
    if (S_ISREG(st.mode))
        return on_file(w, name, &st);
    bool inside = c->is_root || (u->inside && !ignored(w, rules, true));
    return on_folder(w, u, name, &st, c, inside, place);
}

/* ---- a folder ---------------------------------------------------------------------------------------------------------- */

static int read_dents(xd_scan_worker *w, int fd)
{
    xd_buf_clear(&w->dents);
    for (;;) {
        XD_TRY(xd_buf_reserve(&w->dents, DENTS));
        ssize_t n = getdents64(fd, w->dents.data + w->dents.len, w->dents.cap - w->dents.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        w->dents.len += (size_t)n;
    }
}

/* The entries end with their names' NUL and are aligned to 8 bytes by the kernel. */
static const struct dirent64 *next_dent(const xd_scan_worker *w, size_t *at)
{
    while (*at < w->dents.len) {
        const struct dirent64 *d = (const void *)(w->dents.data + *at);
        const char            *n = d->d_name;
        *at += d->d_reclen;
        if (n[0] != '.' || (n[1] && (n[1] != '.' || n[2])))
            return d;
    }
    return NULL;
}

/* The rules that hold in the folder. */
static int rules_in(xd_scan_worker *w, const xd_unit *u, int fd, xd_ignore **ret)
{
    bool git = !u->inside, own = !u->inside; /* of others the names are known */
    for (size_t at = 0; u->inside;) {
        const struct dirent64 *d = next_dent(w, &at);
        if (!d)
            break;
        git = git || strcmp(d->d_name, ".gitignore") == 0;
        own = own || strcmp(d->d_name, ".xdignore") == 0;
    }
    XD_TRY(set_path(w, u, (xd_bytes){ 0 }));
    size_t len = w->path.len;
    len -= len && w->path.data[len - 1] == '/'; /* of `above`, when this is the base */
    int r = xd_rules_of(u->rules, (xd_bytes){ w->path.data, len }, fd, git, own, ret);
    return r == -E2BIG ? fail(w, r, "the ignore rules in folder %s are too long", u->path_len ? u->path : ".")
                       : r;
}

static int look_at_all(xd_scan_worker *w, const xd_unit *u, int fd, xd_ignore *rules)
{
    size_t                 at = 0;
    const struct dirent64 *d;
    for (const xd_plan *c = u->plan ? u->plan->child : NULL; c; c = c->sibling)
        XD_TRY(on_planned(w, u, fd, rules, c));
    while (u->inside && (d = next_dent(w, &at)) != NULL)
        XD_TRY(on_dent(w, u, fd, rules, d));
    for (xd_unit *below = w->below; below; below = below->next)
        below->rules = xd_ignore_ref(rules);
    return 0;
}

/* Files that others shall read: pending becomes units, but for what this thread reads itself. */
static int share_pending(xd_scan_worker *w, const xd_unit *u, xd_unit **ret)
{
    size_t   count = 0, begin = 0;
    uint64_t bytes = 0;
    *ret = NULL;
    if (w->scan->threads == 1)
        return 0;
    for (size_t at = 0; at < w->pending.len;) {
        xd_stat st;
        memcpy(&st, w->pending.data + at, sizeof(st));
        at += sizeof(st) + strlen((const char *)w->pending.data + at + sizeof(st)) + 1;
        count++;
        bytes += st.size;
        if ((count < OWN_FILES && bytes < OWN_BYTES) || at == w->pending.len)
            continue;
        xd_unit *files = xd_unit_new((xd_bytes){ (const uint8_t *)u->path, u->path_len });
        if (!files)
            return -ENOMEM;
        files->next = *ret;
        *ret = files;
        files->is_files = true;
        files->place = u->place;
        files->dev = u->dev;
        XD_TRY(xd_buf_add(&files->files, w->pending.data + begin, at - begin));
        begin = at;
        count = 0;
        bytes = 0;
    }
    xd_buf_consume(&w->pending, begin);
    return 0;
}

/* Adds what was found to the tree, the folder itself first, and what is left to do to the stack. */
static int hand_in(xd_scan_worker *w, const xd_unit *u, uint32_t handle, bool itself, uint32_t *ret_handle)
{
    xd_scan_state *s = w->scan;
    int            r = 0;
    pthread_mutex_lock(&s->lock);
    if (itself && u->path_len) {
        xd_node n = { .name = { (const uint8_t *)u->path + u->name_at, u->path_len - u->name_at },
                      .mode = u->mode };
        n.type = u->inside ? XD_SYNC_FOLDER : XD_SYNC_WAY;
        r = xd_tree_add(s->tree, handle, &n, &handle);
    }
    for (size_t i = 0; r == 0 && i < w->found.len; i += sizeof(found)) {
        found f;
        memcpy(&f, w->found.data + i, sizeof(f));
        if (f.node.type == XD_SYNC_LINK)
            f.node.target.ptr = w->targets.data + f.target;
        r = xd_tree_add(s->tree, handle, &f.node, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    xd_buf_clear(&w->found);
    xd_buf_clear(&w->targets);
    *ret_handle = handle;
    return r == -E2BIG
               ? fail(w, r, "cannot synchronise %s: too many files below it", u->path_len ? u->path : ".")
               : r;
}

static void push_units(xd_scan_worker *w, xd_unit **units, uint32_t handle)
{
    xd_scan_state *s = w->scan;
    bool           any = *units != NULL;
    pthread_mutex_lock(&s->lock);
    for (xd_unit *u = *units; u; u = *units) {
        *units = u->next;
        u->folder = handle;
        u->next = s->units;
        s->units = u;
    }
    if (any)
        pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* The folder is open, and its names are read. */
static int do_folder(xd_scan_worker *w, const xd_unit *u, int fd)
{
    xd_auto(xd_ignore) *rules = NULL;
    xd_unit *shared = NULL;
    uint32_t handle;
    XD_TRY(rules_in(w, u, fd, &rules));
    int r = look_at_all(w, u, fd, rules);
    if (r == 0)
        r = share_pending(w, u, &shared);
    if (r == 0)
        r = hand_in(w, u, u->folder, true, &handle);
    if (r == 0) {
        push_units(w, &w->below, handle);
        push_units(w, &shared, handle);
        if (w->pending.len)
            r = read_files(w, u, fd, &w->pending);
    }
    if (r == 0 && w->found.len)
        r = hand_in(w, u, handle, false, &handle);
    for (xd_unit *f; (f = shared) != NULL; xd_unit_free(f))
        shared = f->next;
    return r;
}

/* A folder that cannot be read: a root, or on the way to one, it is an error, else it is left out; one that no longer exists counts as gone. */
static int on_unreadable(xd_scan_worker *w, const xd_unit *u, int code)
{
    bool named = u->plan || u->path_len == 0;
    if (is_fatal(code))
        return code;
    if (named)
        return fail(w, code, "cannot synchronise %s: %s", u->plan ? u->plan->root : ".");
    if (code == -ENOENT || code == -ENOTDIR || code == -ELOOP)
        return 0;
    return leave_out(w, u->path, xd_error_name(code), true);
}

int xd_scan_unit(xd_scan_worker *w, xd_unit *u)
{
    uint32_t         handle;
    xd_autoclose int fd = xd_scan_open_folder(u->place, u->path);
    XD_FAULT("scan-folder");
    xd_buf_clear(&w->found);
    xd_buf_clear(&w->targets);
    xd_buf_clear(&w->pending);
    int r = fd < 0 ? fd : 0;
    if (r == 0 && u->is_files) {
        r = read_files(w, u, fd, &u->files);
        if (r == 0)
            r = hand_in(w, u, u->folder, false, &handle);
    } else if (r == 0) {
        r = u->inside ? read_dents(w, fd) : 0;
        if (r == 0) {
            w->stats.folders++;
            r = do_folder(w, u, fd);
        } else {
            r = on_unreadable(w, u, r);
        }
    } else {
        r = on_unreadable(w, u, r);
    }
    for (xd_unit *f; (f = w->below) != NULL; xd_unit_free(f))
        w->below = f->next;
    xd_unit_free(u);
    return r;
}
