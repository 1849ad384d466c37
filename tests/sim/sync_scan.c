/* sync_scan.c - see sync.h: what is brought of the tree at home, as the cores say it and as a naive walk does. The walk with the cores is that of
 * sync/scan_folder.c, on a tree that lies in memory. */
#include <string.h>

#include "tests/sim/sync.h"

/* ---- roots ------------------------------------------------------------------------------------------------------ */

void sy_roots_choose(sy_world *w)
{
    uint32_t n = sy_chance(w, 65) ? 0 : 1 + sy_rand(w, SY_ROOTS);
    w->n_roots = 0;
    for (; n > 0; n--) {
        const uint32_t at = sy_any(w, &w->home, 0);
        if (at < w->home.n && w->home.at[at].type != XD_SYNC_LINK)
            w->root[w->n_roots++] = w->home.at[at].path;
    }
    if (w->n_roots == 0 || (w->n_roots < SY_ROOTS && sy_chance(w, 20)))
        w->root[w->n_roots++] = ".";
    w->root[w->n_roots] = NULL;
    xd_plan_free(xd_take(&w->plan));
    xd_error err = { 0 };
    SY_MUST(w, xd_plan_new(&w->plan, w->root, &err));
}

static bool is_root(const sy_world *w, const char *path)
{
    for (uint32_t i = 0; i < w->n_roots; i++)
        if (strcmp(strcmp(w->root[i], ".") == 0 ? "" : w->root[i], path) == 0)
            return true;
    return false;
}

/* Or is one. */
static bool leads_to_root(const sy_world *w, const char *path)
{
    for (uint32_t i = 0; i < w->n_roots; i++)
        if (strcmp(w->root[i], ".") != 0 && sy_is_below(w->root[i], path))
            return true;
    return is_root(w, path);
}

/* Is it in a root, or on the way to one? */
static bool covered(const sy_world *w, const char *path)
{
    bool in = leads_to_root(w, path);
    for (uint32_t i = 0; i < w->n_roots && !in; i++)
        in = strcmp(w->root[i], ".") == 0 || sy_is_below(path, w->root[i]);
    return in;
}

/* ---- links ------------------------------------------------------------------------------------------------------ */

typedef struct names {
    uint32_t    n;
    const char *at[64];
} names;

/* Goes on by a path. false: above where it began. */
static bool follow(sy_world *w, names *to, const char *path)
{
    while (*path) {
        const size_t len = strcspn(path, "/");
        const char  *name = sy_text(w, path, len);
        if (strcmp(name, "..") == 0) {
            if (to->n == 0)
                return false;
            to->n--;
        } else if (len && strcmp(name, ".") != 0 && to->n < XD_ARRAY_LEN(to->at)) {
            to->at[to->n++] = name;
        }
        path += len + (path[len] != 0);
    }
    return true;
}

static const char *joined(sy_world *w, const names *of, uint32_t from)
{
    const char *path = "";
    for (uint32_t i = from; i < of->n; i++)
        path = sy_join(w, path, of->at[i]);
    return path;
}

/* The target that a link has on the other end; NULL: it leads out of what is brought. */
static const char *link_target(sy_world *w, const char *path, const char *target)
{
    names       here = { 0 }, to = { 0 }, base = { 0 };
    const char *back = "";
    uint32_t    same = 0;
    const bool  in_tree = follow(w, &here, sy_text(w, path, sy_parent_len(path)));
    if (target[0] != '/') {
        to = here;
        return in_tree && follow(w, &to, target) && covered(w, joined(w, &to, 0)) ? target : NULL;
    }
    if (!follow(w, &to, target) || !follow(w, &base, SY_BASE))
        return NULL;
    for (; same < base.n; same++)
        if (same >= to.n || strcmp(to.at[same], base.at[same]) != 0)
            return NULL;
    const char *inner = joined(w, &to, base.n);
    if (!covered(w, inner))
        return NULL;
    to = (names){ 0 };
    (void)follow(w, &to, inner);
    for (same = 0; same < here.n && same < to.n && strcmp(here.at[same], to.at[same]) == 0;)
        same++;
    for (uint32_t i = same; i < here.n; i++)
        back = sy_join(w, back, "..");
    const char *forth = joined(w, &to, same);
    return *back && *forth ? sy_join(w, back, forth) : *back ? back : *forth ? forth : ".";
}

/* ---- the naive walk --------------------------------------------------------------------------------------------- */

static void walk_naive(sy_world *w, sy_tree *ret)
{
    sy_tree all = w->home;
    bool    counts[SY_PATHS] = {
           false
    }; /* of a folder that is brought: its names do, unless rules say otherwise */
    sy_sort(&all);
    ret->n = 0;
    for (uint32_t i = 0; i < all.n; i++) {
        sy_entry       e = all.at[i];
        const bool     folder = e.type == XD_SYNC_FOLDER;
        const uint32_t above = i ? sy_find(&all, sy_text(w, e.path, sy_parent_len(e.path))) : 0;
        const bool     wanted = is_root(w, e.path) || (i && counts[above] && !sy_ignored(w, e.path, folder));
        counts[i] = folder && wanted;
        if (!wanted && !leads_to_root(w, e.path))
            continue;
        if (e.type == XD_SYNC_LINK && !(e.target = link_target(w, e.path, e.target)))
            continue;
        if (folder && !wanted)
            e.type = XD_SYNC_WAY;
        e.brought = true;
        (void)sy_add(ret, &e);
    }
}

/* ---- the walk with the cores ------------------------------------------------------------------------------------ */

static bool ask(sy_world *w, const xd_ignore *rules, const char *path, bool folder)
{
    const bool says = xd_ignore_match(rules, path, strlen(path), folder), naive = sy_ignored(w, path, folder);
    if (says != naive)
        sy_fault(w, "the rules say %d of %s, not %d", says, path, naive);
    return says;
}

static void rules_in(sy_world *w, const xd_ignore *above, const sy_entry *f, xd_ignore **ret)
{
    xd_autobuf git = XD_BUF_INIT, own = XD_BUF_INIT;
    sy_rules_write(w, f->git, &git);
    sy_rules_write(w, f->own, &own);
    SY_MUST(w, xd_ignore_child(above, xd_bytes_str(f->path), xd_buf_view(&git), xd_buf_view(&own), ret));
}

static xd_node node_of(const sy_entry *e)
{
    const char *slash = strrchr(e->path, '/');
    /* What its type does not have is passed all the same, and must not count. */
    xd_node n = { .name = xd_bytes_str(slash ? slash + 1 : e->path),
                  .type = e->type,
                  .mode = e->type == XD_SYNC_LINK ? 0640 : e->mode,
                  .mtime_ns = e->mtime_ns,
                  .size = e->content ? e->content->len : 7,
                  .target = xd_bytes_str(e->target) };
    n.id = e->content ? e->content->id : (xd_digest){ e->mode, 1 };
    return n;
}

static void add_link(sy_world *w, xd_tree *t, uint32_t handle, const char *folder, const sy_entry *e)
{
    static const char     real[] = SY_BASE;
    xd_autofree xd_place *place = sim_alloc(sizeof *place + 1);
    xd_autobuf            target = XD_BUF_INIT;
    xd_node               n = node_of(e);
    xd_autofree char     *copy = xd_bytes_dup(xd_bytes_str(real));
    place->fd = -1;
    place->real = copy;
    const int r = xd_link_target(w->plan, place, xd_bytes_str(folder), xd_bytes_str(e->target), &target);
    n.target = xd_buf_view(&target);
    if (r == 0)
        SY_MUST(w, xd_tree_add(t, handle, &n, NULL));
    else if (r != 1)
        sy_fault(w, "target of %s: %d", e->path, r);
}

static void walk(sy_world *w, xd_tree *t, uint32_t handle, uint32_t at, const xd_plan *plan, bool inside,
                 const xd_ignore *above)
{
    const sy_entry *f = &w->home.at[at];
    xd_auto(xd_ignore) *rules = NULL;
    rules_in(w, above, f, &rules);
    for (uint32_t i = 0, from = sy_rand(w, w->home.n); i < w->home.n && sy_ok(w); i++) {
        const uint32_t  k = (from + i) % w->home.n;
        const sy_entry *e = &w->home.at[k];
        const char     *name = e->path + strlen(f->path) + (*f->path != 0);
        if (!sy_is_below(e->path, f->path) || strchr(name, '/'))
            continue;
        const xd_plan *c = xd_plan_child(plan, xd_bytes_str(name));
        bool wanted = (c && c->is_root) || (inside && !ask(w, rules, e->path, e->type == XD_SYNC_FOLDER));
        if (!wanted && !c)
            continue;
        xd_node  n = node_of(e);
        uint32_t below = 0;
        if (e->type == XD_SYNC_LINK) {
            add_link(w, t, handle, f->path, e);
            continue;
        }
        if (e->type == XD_SYNC_FOLDER && !wanted)
            n.type = XD_SYNC_WAY;
        SY_MUST(w, xd_tree_add(t, handle, &n, &below));
        if (e->type == XD_SYNC_FOLDER)
            walk(w, t, below, k, c, wanted, rules);
    }
}

void sy_scan(sy_world *w, sy_version *ret)
{
    xd_auto(xd_tree) *t = NULL;
    const sy_entry *base = &w->home.at[0];
    *ret = (sy_version){ 0 };
    SY_MUST(w, xd_tree_new(&t, w->plan->is_root ? XD_SYNC_FOLDER : XD_SYNC_WAY, base->mode));
    walk(w, t, 0, 0, w->plan, w->plan->is_root, w->first);
    SY_MUST(w, xd_tree_end(&t, &ret->manifest, NULL));
    walk_naive(w, &ret->tree);
}

void sy_manifest_of(sy_world *w, const sy_tree *tree, xd_manifest **ret)
{
    xd_auto(xd_tree) *t = NULL;
    uint32_t handle[SY_PATHS] = { 0 }, left = tree->n - 1;
    bool     added[SY_PATHS] = { true };
    SY_MUST(w, xd_tree_new(&t, tree->at[0].type, tree->at[0].mode));
    while (left && sy_ok(w))
        for (uint32_t i = 0, from = sy_rand(w, tree->n); i < tree->n;
             i++) { /* those whose folder is there already */
            const uint32_t  k = (from + i) % tree->n;
            const sy_entry *e = &tree->at[k];
            const uint32_t  above = added[k] ? 0 : sy_find(tree, sy_text(w, e->path, sy_parent_len(e->path)));
            if (added[k] || !added[above] || sy_chance(w, 30))
                continue;
            const xd_node n = node_of(e);
            SY_MUST(w, xd_tree_add(t, handle[above], &n, &handle[k]));
            added[k] = true;
            left--;
        }
    SY_MUST(w, xd_tree_end(&t, ret, NULL));
}

/* ---- what is not there ------------------------------------------------------------------------------------------ */

static bool keeps_naive(const sy_world *w, const char *path, bool folder)
{
    const size_t len = strlen(path);
    bool         in_root = is_root(w, ""), out = false;
    for (size_t end = 1; end <= len; end++) {
        char prefix[XD_MANIFEST_PATH_MAX + 1];
        if (path[end] && path[end] != '/')
            continue;
        memcpy(prefix, path, end);
        prefix[end] = 0;
        if (is_root(w, prefix))
            in_root = true, out = false;
        else if (in_root && !out)
            out = sy_ignored(w, prefix, end < len || folder);
    }
    return out && !leads_to_root(w, path);
}

/* As sync/scan_rules.c steps down, in a tree that lies in memory. */
bool sy_keeps(sy_world *w, const char *path, bool folder)
{
    xd_auto(xd_ignore) *rules = NULL;
    const xd_plan *plan = w->plan;
    bool           inside = plan->is_root, out = false;
    rules_in(w, w->first, &w->home.at[0], &rules);
    for (size_t at = 0; sy_ok(w);) {
        const size_t len = strcspn(path + at, "/");
        const char  *here = sy_text(w, path, at + len);
        plan = xd_plan_child(plan, (xd_bytes){ (const uint8_t *)path + at, len });
        if (plan && plan->is_root) {
            inside = true, out = false;
        } else if (inside && ask(w, rules, here, path[at + len] || folder)) {
            inside = false, out = true;
        }
        if (!path[at + len] || (!inside && !plan))
            break;
        const uint32_t k = sy_find(&w->home, here);
        if (k < w->home.n && w->home.at[k].type == XD_SYNC_FOLDER) {
            xd_ignore *next = NULL;
            rules_in(w, rules, &w->home.at[k], &next);
            xd_ignore_free(rules);
            rules = next;
        }
        at += len + 1;
    }
    out = out && !plan;
    if (out != keeps_naive(w, path, folder))
        sy_fault(w, "is %s left out? %d", path, out);
    return out;
}
