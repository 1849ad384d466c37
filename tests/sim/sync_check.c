/* sync_check.c - see sync.h: what manifests say against lists of paths. */
#include <string.h>

#include "tests/sim/sync.h"

/* ---- one manifest ----------------------------------------------------------------------------------------------- */

static bool same_entry(const xd_manifest *m, uint32_t at, const sy_entry *e)
{
    const xd_entry *x = &m->entry[at];
    if (x->type != e->type || x->mode != (e->type == XD_SYNC_LINK ? 0 : e->mode))
        return false;
    if (e->type == XD_SYNC_FILE)
        return x->size == e->content->len && x->mtime_ns == e->mtime_ns &&
               xd_digest_eq(x->id, e->content->id);
    return e->type != XD_SYNC_LINK || xd_bytes_eq_str(xd_entry_target(m, x), e->target);
}

static uint32_t find(const xd_manifest *m, const char *path)
{
    return xd_manifest_find(m, xd_bytes_str(path));
}

/* Paths that are likely not to be there. */
static void check_lookups(sy_world *w, const xd_manifest *m, const sy_tree *t, const sy_entry *e, uint32_t at)
{
    const size_t len = strlen(e->path);
    const char  *others[] = { sy_text(w, e->path, len - 1), sy_join(w, e->path, sy_name(w)),
                              sy_join(w, e->path, "") };
    const char  *name = sy_name(w);
    for (size_t i = 0; i < XD_ARRAY_LEN(others); i++) {
        const bool there = sy_find(t, others[i]) < t->n;
        if (*others[i] && strcmp(others[i], ".") != 0 && (find(m, others[i]) != XD_MANIFEST_NONE) != there)
            sy_fault(w, "%s is there: %d, not so", others[i], there);
    }
    const uint32_t child = xd_manifest_child(m, at, xd_bytes_str(name));
    if ((child != XD_MANIFEST_NONE) != (sy_find(t, sy_join(w, e->path, name)) < t->n))
        sy_fault(w, "%s in %s is %u", name, e->path, child);
}

void sy_check_manifest(sy_world *w, const xd_manifest *m, const sy_tree *t)
{
    uint32_t at = 0, files = 0, i = 0;
    uint64_t bytes = 0;
    for (; at != XD_MANIFEST_NONE && i < t->n && sy_ok(w); at = xd_manifest_next(m, at), i++) {
        const sy_entry *e = &t->at[i];
        const char     *path = sy_path(w, m, at);
        if (strcmp(path, e->path) != 0)
            sy_fault(w, "%s stands where %s is to be", path, e->path);
        else if (!same_entry(m, at, e))
            sy_fault(w, "%s is not what it is to be", path);
        if (find(m, e->path) != at)
            sy_fault(w, "%s is found as %u, not %u", path, find(m, e->path), at);
        if (e->type == XD_SYNC_FILE && (m->entry[at].first != files || m->file[files] != at))
            sy_fault(w, "%s is file %u, not %u", path, m->entry[at].first, files);
        files += e->type == XD_SYNC_FILE;
        bytes += e->type == XD_SYNC_FILE ? e->content->len : 0;
        if (i && sy_chance(w, 30))
            check_lookups(w, m, t, e, at);
    }
    if (i != t->n || at != XD_MANIFEST_NONE || m->count != t->n)
        sy_fault(w, "%u entries, not %u", m->count, t->n);
    if (m->files != files || m->bytes != bytes)
        sy_fault(w, "%u files of %u, %llu bytes of %llu", m->files, files, (unsigned long long)m->bytes,
                 (unsigned long long)bytes);
}

/* ---- differences ------------------------------------------------------------------------------------------------ */

typedef struct differences {
    sy_world *w;
    uint32_t  n, told;
    struct {
        const char *path;
        uint32_t    was, is;
    } at[2 * SY_PATHS];
} differences;

static int on_difference(void *arg, xd_bytes path, uint32_t was, uint32_t is)
{
    differences *d = arg;
    const char  *told = sy_text(d->w, path.ptr, path.len);
    if (d->told >= d->n || strcmp(d->at[d->told].path, told) != 0 || d->at[d->told].was != was ||
        d->at[d->told].is != is)
        sy_fault(d->w, "difference %u of %u is at %s (%u, %u), not at %s", d->told, d->n, told, was, is,
                 d->told < d->n ? d->at[d->told].path : "nothing");
    d->told++;
    return 0;
}

static void naive_differences(const sy_version *from, const sy_version *to, differences *d)
{
    const sy_tree *a = from ? &from->tree : &(sy_tree){ 0 }, *b = &to->tree;
    for (uint32_t i = 0, j = 0; i < a->n || j < b->n;) {
        const int c = i == a->n ? 1 : j == b->n ? -1 : sy_order(a->at[i].path, b->at[j].path);
        if (c != 0 || !sy_same(&a->at[i], &b->at[j])) {
            const char *path = c <= 0 ? a->at[i].path : b->at[j].path;
            d->at[d->n].path = *path ? path : ".";
            d->at[d->n].was = c <= 0 ? find(from->manifest, path) : XD_MANIFEST_NONE;
            d->at[d->n++].is = c >= 0 ? find(to->manifest, path) : XD_MANIFEST_NONE;
        }
        i += c <= 0;
        j += c >= 0;
    }
}

void sy_check_diff(sy_world *w, const sy_version *from, const sy_version *to)
{
    differences d = { .w = w };
    naive_differences(from, to, &d);
    SY_MUST(w, xd_manifest_diff(from ? from->manifest : NULL, to->manifest, on_difference, &d));
    if (d.told != d.n)
        sy_fault(w, "%u differences, not %u", d.told, d.n);
    const bool same = d.n == 0 || (d.n == 1 && d.at[0].was == 0); /* the base's own mode does not count */
    if (from && xd_digest_eq(xd_manifest_digest(from->manifest), xd_manifest_digest(to->manifest)) != same)
        sy_fault(w, "digests are%s equal, with %u differences", same ? " not" : "", d.n);
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

typedef struct round_trip {
    sy_world   *w;
    xd_records *to;
    uint64_t    salt;
} round_trip;

/* Some paths, whatever the rules say. */
static bool keep_some(uint64_t salt, const char *path)
{
    for (; *path; path++)
        salt = (salt ^ (uint8_t)*path) * 0x100000001b3ull;
    return salt >> 40 & 1;
}

static bool on_gone(void *arg, xd_bytes path, bool folder)
{
    (void)folder;
    round_trip *t = arg;
    return keep_some(t->salt, sy_text(t->w, path.ptr, path.len));
}

static int on_list(void *arg, xd_bytes body, bool last)
{
    round_trip              *t = arg;
    xd_wire_SYNC_RECORD_LIST list = { 0 };
    xd_error                 err = { 0 };
    SY_MUST(t->w, xd_wire_SYNC_RECORD_LIST_decode(body.ptr, body.len, &list));
    if (sy_ok(t->w) && xd_records_add(t->to, &list, &err) != 0)
        sy_fault(t->w, "records are refused: %s", err.text);
    if (!sy_ok(t->w))
        return -EPROTO;
    if (last && list.records.count && sy_chance(t->w, 10) && xd_records_add(t->to, &list, &err) != -EPROTO)
        sy_fault(t->w, "records are taken a second time");
    else if (last && err.code)
        return -EPROTO; /* rightly: it can only be freed now */
    return 0;
}

static const sy_entry *above(const sy_tree *t, const char *path);

/* The paths that were removed and are to be kept there, each followed by NUL. */
static void naive_kept(sy_world *w, const sy_version *from, const sy_version *to, uint64_t salt, xd_buf *ret)
{
    for (uint32_t i = 0; from && i < from->tree.n; i++) {
        const char *path = from->tree.at[i].path;
        if (sy_find(&to->tree, path) == to->tree.n && !above(&to->tree, path) && keep_some(salt, path))
            SY_MUST(w, xd_buf_add(ret, path, strlen(path) + 1));
    }
}

void sy_check_records(sy_world *w, const sy_version *from, const sy_version *to)
{
    round_trip t = { .w = w, .salt = w->sim.rng };
    xd_auto(xd_manifest) *m = NULL;
    xd_autofree uint8_t *bits = NULL;
    xd_autobuf           kept = XD_BUF_INIT, due = XD_BUF_INIT;
    xd_error             err = { 0 };
    uint8_t              push[SY_PATHS / 8 + 1] = { 0 };
    for (uint32_t i = 0; i < to->manifest->files; i++)
        push[i / 8] = (uint8_t)(push[i / 8] | sy_rand(w, 2) << i % 8);
    SY_MUST(w, xd_records_new(&t.to, from ? from->manifest : NULL));
    const int r = xd_manifest_write(from ? from->manifest : NULL, to->manifest, push, on_gone, &t,
                                    sy_chance(w, 60) ? 30 + sy_rand(w, 300) : 9000, on_list, &t);
    if (r != 0 || !sy_ok(w)) {
        t.to = xd_records_free(t.to);
        return;
    }
    SY_MUST(w, xd_records_end(&t.to, &m, &bits, &kept, &err));
    if (!sy_ok(w))
        return;
    sy_check_manifest(w, m, &to->tree);
    if (!xd_digest_eq(xd_manifest_digest(m), xd_manifest_digest(to->manifest)))
        sy_fault(w, "records make another tree");
    naive_kept(w, from, to, t.salt, &due);
    if (!xd_bytes_eq(xd_buf_view(&kept), xd_buf_view(&due)))
        sy_fault(w, "%zu bytes of paths are kept, not %zu", kept.len, due.len);
    for (uint32_t i = 0; i < m->files && sy_ok(w); i++) {
        const char     *path = sy_path(w, m, m->file[i]);
        const sy_entry *is = &to->tree.at[sy_find(&to->tree, path)];
        const uint32_t  was = from ? sy_find(&from->tree, path) : 0;
        const bool      told = !from || was == from->tree.n || !sy_same(&from->tree.at[was], is);
        const bool      due_bit = told && push[i / 8] >> i % 8 & 1, bit = bits[i / 8] >> i % 8 & 1;
        if (bit != due_bit)
            sy_fault(w, "%s is pushed: %d, not so", path, bit);
    }
}

/* ---- twins ------------------------------------------------------------------------------------------------------ */

static bool change_one(sy_world *w, sy_tree *t, sy_entry *e)
{
    const size_t   len = strlen(e->path);
    const uint32_t k = sy_rand(w, 6);
    if (k == 0 && e->type != XD_SYNC_LINK) {
        e->mode ^= (uint16_t)(1u << sy_rand(w, 9));
    } else if (k == 1 && e->type != XD_SYNC_FILE && e->type != XD_SYNC_LINK) {
        e->type = e->type == XD_SYNC_WAY ? XD_SYNC_FOLDER : XD_SYNC_WAY;
    } else if (k == 2 && len < 100 && e->type != XD_SYNC_FOLDER && e->type != XD_SYNC_WAY) {
        e->path = sy_join(w, sy_text(w, e->path, sy_parent_len(e->path)), "renamed");
        return true;
    } else if (k == 3) {
        const char    *path = sy_join(w, sy_text(w, e->path, sy_parent_len(e->path)), "added");
        const sy_entry more = { .path = path, .type = XD_SYNC_LINK, .target = "x" };
        return sy_add(t, &more);
    } else if (e->type == XD_SYNC_LINK) {
        e->target = sy_join(w, e->target, "x");
    } else if (e->type == XD_SYNC_FILE && k == 4) {
        e->mtime_ns += 1;
    } else if (e->type == XD_SYNC_FILE) {
        const sy_blob *was = e->content;
        e->content = sy_blob_edit(w, was);
        return !xd_digest_eq(e->content->id, was->id);
    } else {
        return false;
    }
    return true;
}

/* A manifest that is made good (SYNC_AMEND) is the one that was made of the same tree. */
static void check_amended(sy_world *w, const sy_version *v)
{
    xd_auto(xd_manifest) *m = NULL;
    sy_tree        t = v->tree;
    const uint32_t at = sy_any(w, &t, XD_SYNC_FILE);
    if (at == t.n)
        return;
    const sy_entry was = t.at[at];
    t.at[at].content = sy_blob_edit(w, was.content);
    t.at[at].mode ^= 1;
    t.at[at].mtime_ns--;
    sy_manifest_of(w, &t, &m);
    if (!sy_ok(w))
        return;
    const uint32_t file = m->entry[find(m, was.path)].first;
    xd_manifest_amend(m, file, was.mode, was.content->len + 1, was.mtime_ns, was.content->id);
    xd_manifest_seal(m);
    if (xd_digest_eq(xd_manifest_digest(m), xd_manifest_digest(v->manifest)))
        sy_fault(w, "%s has another size, and the digest is the same", was.path);
    xd_manifest_amend(m, file, was.mode, was.content->len, was.mtime_ns, was.content->id);
    xd_manifest_seal(m);
    if (!xd_digest_eq(xd_manifest_digest(m), xd_manifest_digest(v->manifest)) ||
        m->bytes != v->manifest->bytes)
        sy_fault(w, "%s was amended, and the digest is not that of the tree", was.path);
}

/* A name that stands there twice is found. */
static void check_twice(sy_world *w, const sy_version *v)
{
    xd_auto(xd_tree) *t = NULL;
    xd_auto(xd_manifest) *m = NULL;
    const xd_node  n = { .name = xd_bytes_str(sy_name(w)), .type = XD_SYNC_FOLDER };
    const uint32_t twice = sy_rand(w, v->tree.n);
    SY_MUST(w, xd_tree_new(&t, XD_SYNC_FOLDER, 0755));
    for (uint32_t i = 0; i < v->tree.n; i++) {
        const char   *path = v->tree.at[i].path;
        const xd_node other = { .name = xd_bytes_str(path), .type = XD_SYNC_FOLDER };
        if (i == twice)
            SY_MUST(w, xd_tree_add(t, 0, &n, NULL));
        if (i && !strchr(path, '/') && strcmp(path, (const char *)n.name.ptr) != 0)
            SY_MUST(w, xd_tree_add(t, 0, &other, NULL));
    }
    SY_MUST(w, xd_tree_add(t, 0, &n, NULL));
    if (sy_ok(w) && xd_tree_end(&t, &m, NULL) != -EEXIST)
        sy_fault(w, "%s stands there twice", (const char *)n.name.ptr);
}

void sy_check_twins(sy_world *w, const sy_version *v)
{
    xd_auto(xd_manifest) *same = NULL, *other = NULL;
    sy_tree        t = v->tree;
    const uint32_t at = sy_any(w, &t, 0);
    sy_manifest_of(w, &t, &same);
    if (sy_ok(w) && !xd_digest_eq(xd_manifest_digest(same), xd_manifest_digest(v->manifest)))
        sy_fault(w, "the digest depends on the order in which names are added");
    if (at < t.n && sy_find(&t, "renamed") == t.n && change_one(w, &t, &t.at[at])) {
        sy_manifest_of(w, &t, &other);
        if (sy_ok(w) && xd_digest_eq(xd_manifest_digest(other), xd_manifest_digest(v->manifest)))
            sy_fault(w, "%s is another, and the digest is the same", v->tree.at[at].path);
    }
    check_amended(w, v);
    check_twice(w, v);
}

/* ---- hosts ------------------------------------------------------------------------------------------------------ */

/* Stands something at or above this path that is no folder, in a tree that is in order? NULL = nothing. */
static const sy_entry *above(const sy_tree *t, const char *path)
{
    for (uint32_t i = 0; i < t->n; i++)
        if ((t->at[i].type == XD_SYNC_FILE || t->at[i].type == XD_SYNC_LINK) &&
            sy_is_below(path, t->at[i].path))
            return &t->at[i];
    return NULL;
}

/* What is to stand on a host that had `before`. false: it cannot be. */
static bool expect(sy_world *w, const sy_tree *before, const sy_tree *to, sy_tree *ret)
{
    bool stays[SY_PATHS] = { false };
    *ret = *to;
    for (uint32_t i = 0; i < ret->n; i++)
        if (ret->at[i].type == XD_SYNC_WAY)
            ret->at[i].type = XD_SYNC_FOLDER;
    for (uint32_t i = 1; i < before->n; i++) {
        const sy_entry *e = &before->at[i];
        const bool      blocks = above(to, e->path) != NULL;
        if (blocks && !e->brought)
            return false;
        stays[i] = !blocks && sy_find(to, e->path) == to->n &&
                   (!e->brought || sy_keeps(w, e->path, e->type == XD_SYNC_FOLDER));
    }
    for (uint32_t i = 1; i < before->n; i++) {
        const sy_entry *e = &before->at[i];
        bool            any = stays[i];
        for (uint32_t k = 1; k < before->n && !any; k++)
            any = stays[k] && sy_is_below(before->at[k].path, e->path);
        if (!any || sy_find(to, e->path) < to->n)
            continue;
        sy_entry left = *e;
        left.brought = false;
        (void)sy_add(ret, &left);
    }
    return true;
}

void sy_check_host(sy_world *w, const sy_tree *before, const sy_tree *now, const sy_version *to, bool refused)
{
    sy_tree    wanted;
    const bool can = expect(w, before, &to->tree, &wanted);
    if (can == refused)
        sy_fault(w, refused ? "a host refused what can be" : "a host did what cannot be");
    if (!sy_ok(w))
        return;
    const sy_tree *due = refused ? before : &wanted;
    for (uint32_t i = 0; i < due->n; i++) {
        const uint32_t  k = sy_find(now, due->at[i].path);
        const sy_entry *e = &due->at[i];
        if (k == now->n)
            sy_fault(w, "%s does not stand on the host", e->path);
        else if (i && (!sy_same(e, &now->at[k]) ||
                       e->brought != now->at[k].brought)) /* the base's mode counts for nothing */
            sy_fault(w, "%s on the host is not what it is to be", e->path);
    }
    for (uint32_t i = 0; i < now->n; i++)
        if (sy_find(due, now->at[i].path) == due->n)
            sy_fault(w, "%s still stands on the host", now->at[i].path);
}

void sy_check_cut(sy_world *w, const sy_tree *before, const sy_tree *now, const sy_version *to,
                  const sy_version *amended)
{
    for (uint32_t i = 0; i < now->n; i++) {
        const sy_entry *e = &now->at[i];
        const uint32_t  was = sy_find(before, e->path), is = sy_find(&to->tree, e->path);
        if (is < to->tree.n && amended && sy_same(e, &amended->tree.at[is]))
            continue;
        if (e->type == XD_SYNC_FILE && !(was < before->n && sy_same(e, &before->at[was])) &&
            !(is < to->tree.n && sy_same(e, &to->tree.at[is])))
            sy_fault(w, "%s is neither the old file nor the new one behind a cut", e->path);
    }
    for (uint32_t i = 0; i < before->n; i++) /* deletions come last */
        if (!before->at[i].brought && sy_find(now, before->at[i].path) == now->n)
            sy_fault(w, "%s is gone behind a cut", before->at[i].path);
}
