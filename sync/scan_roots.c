/* sync/scan_roots.c - roots as a tree of names, and where links lead. Pure. See scan_state.h. */
#include <stdlib.h>
#include <string.h>

#include "sync/scan_state.h"

/* ---- roots ------------------------------------------------------------------------------------------------------- */

xd_plan *xd_plan_free(xd_plan *p)
{
    while (p) {
        xd_plan *sibling = p->sibling;
        xd_plan_free(p->child); /* as deep as a path has names */
        free(p);
        p = sibling;
    }
    return NULL;
}

static xd_plan *find_child(const xd_plan *p, xd_bytes name)
{
    xd_plan *c = p ? p->child : NULL;
    while (c && !(c->len == name.len && memcmp(c->name, name.ptr, name.len) == 0))
        c = c->sibling;
    return c;
}

const xd_plan *xd_plan_child(const xd_plan *p, xd_bytes name)
{
    return find_child(p, name);
}

static xd_plan *new_node(xd_bytes name, const char *root)
{
    xd_plan *p = calloc(1, sizeof(*p) + name.len + 1);
    if (p) {
        p->root = root;
        p->len = name.len;
        if (name.len)
            memcpy(p->name, name.ptr, name.len);
    }
    return p;
}

/* The next name of a path; an empty one at its end. */
static xd_bytes next_name(const uint8_t **at, const uint8_t *end)
{
    while (*at < end && **at == '/')
        (*at)++;
    const uint8_t *slash = *at < end ? memchr(*at, '/', (size_t)(end - *at)) : NULL;
    xd_bytes       name = { *at, (size_t)((slash ? slash : end) - *at) };
    *at += name.len;
    return name;
}

static int add_root(xd_plan *at, const char *root, xd_error *err)
{
    const uint8_t *p = (const uint8_t *)root, *end = p + strlen(root);
    size_t         depth = 0;
    if (*root == '/' || *root == 0 || strlen(root) > XD_MANIFEST_PATH_MAX)
        return xd_error_set(err, -EINVAL, "cannot synchronise %s: not a path below the base", root);
    for (xd_bytes name; (name = next_name(&p, end)).len;) {
        if (xd_bytes_eq_str(name, "."))
            continue;
        if (xd_bytes_eq_str(name, "..") || name.len > XD_MANIFEST_NAME_MAX || ++depth > XD_MANIFEST_DEPTH_MAX)
            return xd_error_set(err, -EINVAL, "cannot synchronise %s: not a path below the base", root);
        xd_plan *child = find_child(at, name);
        if (!child) {
            child = new_node(name, root);
            if (!child)
                return -ENOMEM;
            child->sibling = at->child;
            at->child = child;
        }
        at = child;
    }
    at->is_root = true;
    return 0;
}

int xd_plan_new(xd_plan **ret, const char *const *roots, xd_error *err)
{
    xd_plan *p = new_node((xd_bytes){ 0 }, roots[0] ? roots[0] : "");
    int      r = p ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && roots[i]; i++)
        r = add_root(p, roots[i], err);
    if (r == 0 && !p->is_root && !p->child)
        r = xd_error_set(err, -EINVAL, "nothing to synchronise was named");
    if (r < 0)
        p = xd_plan_free(p);
    *ret = p;
    return r;
}

bool xd_plan_covers(const xd_plan *p, xd_bytes path)
{
    const uint8_t *at = path.ptr, *end = path.ptr + path.len;
    for (xd_bytes name; p && !p->is_root && path.len && (name = next_name(&at, end)).len;)
        p = find_child(p, name);
    return p != NULL;
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

/* Goes on from a path ("" = where it counts from) by another one, by its text alone. false: above where it counts from. */
static int follow(xd_buf *path, xd_bytes by, bool *ret_above)
{
    const uint8_t *at = by.ptr, *end = by.ptr + by.len;
    *ret_above = false;
    for (xd_bytes name; (name = next_name(&at, end)).len;) {
        if (xd_bytes_eq_str(name, "."))
            continue;
        if (xd_bytes_eq_str(name, "..")) {
            const uint8_t *slash = path->len ? memrchr(path->data, '/', path->len) : NULL;
            if (path->len == 0) {
                *ret_above = true;
                return 0;
            }
            path->len = slash ? (size_t)(slash - path->data) : 0;
            continue;
        }
        if (path->len)
            XD_TRY(xd_buf_add_byte(path, '/'));
        XD_TRY(xd_buf_add_bytes(path, name));
    }
    return 0;
}

/* From a folder of the tree to a path of it; behind what `out` has already. */
static int relative(xd_bytes folder, xd_bytes path, xd_buf *out)
{
    const size_t before = out->len;
    size_t       same = 0; /* of both, whole names with their slashes */
    for (size_t i = 0;; i++) {
        bool end_a = i >= folder.len, end_b = i >= path.len;
#if XD_PLANTED_BUG == 51 /* the simulator must find it: names that begin alike count as the same folder */
        if (end_a || folder.ptr[i] == '/')
#else
        if ((end_a || folder.ptr[i] == '/') && (end_b || path.ptr[i] == '/'))
#endif
            same = i + 1;
        if (end_a || end_b || folder.ptr[i] != path.ptr[i])
            break;
    }
    if (folder.len == 0)
        same = 0;
    for (size_t i = same; i < folder.len; i++)
        if (i == same || folder.ptr[i] == '/')
            XD_TRY(xd_buf_add_str(out, "../"));
    if (same < path.len)
        return xd_buf_add(out, path.ptr + same, path.len - same);
    if (out->len == before)
        return xd_buf_add_byte(out, '.');
    out->len--; /* the slash behind .. */
    return 0;
}

static int from_absolute(const xd_plan *plan, const xd_place *places, xd_bytes folder, xd_bytes target,
                         xd_buf *out)
{
    xd_autobuf path = XD_BUF_INIT, inner = XD_BUF_INIT;
    bool       above;
    XD_TRY(follow(&path, target, &above)); /* above / is / */
    for (const xd_place *p = places; p && !above; p = p->next) {
        size_t      len = strlen(p->real), skip = len ? len - 1 : 0; /* `path` has no slash in front */
        const char *real = p->real + (len != 0);
        if (path.len < skip || (skip && memcmp(path.data, real, skip) != 0) ||
            (skip && path.len > skip && path.data[skip] != '/'))
            continue;
        xd_buf_clear(&inner);
        XD_TRY(xd_buf_add(&inner, p->path, p->path_len));
        XD_TRY(follow(&inner, (xd_bytes){ path.data + skip, path.len - skip }, &above));
        if (xd_plan_covers(plan, xd_buf_view(&inner)))
            return relative(folder, xd_buf_view(&inner), out);
    }
    return 1;
}

int xd_link_target(const xd_plan *plan, const xd_place *places, xd_bytes folder, xd_bytes target, xd_buf *out)
{
    if (target.len == 0)
        return 1;
    if (target.ptr[0] == '/')
        return from_absolute(plan, places, folder, target, out);
    xd_autobuf path = XD_BUF_INIT;
    bool       above;
    XD_TRY(xd_buf_add_bytes(&path, folder));
    XD_TRY(follow(&path, target, &above));
    if (above || !xd_plan_covers(plan, xd_buf_view(&path)))
        return 1;
    return xd_buf_add_bytes(out, target);
}
