#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include "sync/ignore.h"

#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

#include "sync/fnmatch.h"
#include "sync/wildmatch.h"

/* What xdist leaves out, and __pycache__; then what it should not leave out. */
static const char defaults[] = ".*\n*.pyc\n*.pyo\n*~\n__pycache__/\n"
                               "!.pytest.ini\n!.pytest.toml\n!.coveragerc\n!.coveragerc.toml\n";

/* A pattern: literal bytes at the beginning, ops between, literal bytes at the end. Most patterns are decided by the
 * literal ones. */
typedef struct rule {
    uint32_t text; /* offset of both literals in the node's text */
    uint32_t lead, tail;
    uint32_t ops, n_ops; /* offset and count in the node's ops; none: no tail either */
    bool     negated, folder, name;
} rule;

typedef struct rules {
    rule  *at;
    size_t n, room;
} rules;

typedef struct glob {
    uint32_t ops, n_ops; /* offset and count in glob_ops */
    uint32_t text, len;  /* the folder in the text, for what is relative to one */
    bool     relative, absolute;
    int      last; /* the byte that a text ends with; -1 = any may */
} glob;

struct xd_ignore {
    atomic_uint owners;
    xd_ignore  *parent; /* owned */
    char       *dir;    /* with a slash at the end, unless it is the base */
    size_t      dir_len;
    rules       git, xd; /* of the first node: the defaults, none */
    xd_buf      text;    /* of rules and globs */
    xd_buf      ops;     /* uint16_t */
    /* of the first node alone */
    char  *head; /* base, with a slash at the end */
    glob  *globs;
    size_t n_globs;
    xd_buf glob_ops; /* uint32_t */
};

/* ---- life ------------------------------------------------------------------------------------------------------- */

static int node_new(xd_bytes dir, xd_ignore **ret)
{
    xd_ignore *ig = calloc(1, sizeof(*ig));
    if (!ig)
        return -ENOMEM;
    atomic_init(&ig->owners, 1);
    ig->dir = malloc(dir.len + 1);
    if (!ig->dir ||
        xd_buf_reserve(&ig->text, 64) < 0) { /* rules without a literal point into the text, too */
        xd_ignore_free(ig);
        return -ENOMEM;
    }
    if (dir.len) {
        memcpy(ig->dir, dir.ptr, dir.len);
        ig->dir[dir.len] = '/';
        ig->dir_len = dir.len + 1;
    }
    *ret = ig;
    return 0;
}

int xd_ignore_new(const char *base, xd_ignore **ret)
{
    xd_auto(xd_ignore) *ig = NULL;
    xd_autobuf head = XD_BUF_INIT;
    if (base[0] != '/')
        return -EINVAL;
    XD_TRY(node_new((xd_bytes){ NULL, 0 }, &ig));
    XD_TRY(xd_buf_add_str(&head, base));
    if (base[strlen(base) - 1] != '/')
        XD_TRY(xd_buf_add_byte(&head, '/'));
    ig->head = xd_bytes_dup(xd_buf_view(&head));
    if (!ig->head)
        return -ENOMEM;
    *ret = xd_take(&ig);
    return 0;
}

xd_ignore *xd_ignore_ref(const xd_ignore *ig)
{
    xd_ignore *node = (xd_ignore *)(uintptr_t)ig; /* what is counted is not what is asked */
    atomic_fetch_add_explicit(&node->owners, 1, memory_order_relaxed);
    return node;
}

xd_ignore *xd_ignore_free(xd_ignore *ig)
{
    while (ig && atomic_fetch_sub_explicit(&ig->owners, 1, memory_order_acq_rel) == 1) {
        xd_ignore *parent = ig->parent;
        free(ig->dir);
        free(ig->git.at);
        free(ig->xd.at);
        free(ig->head);
        free(ig->globs);
        xd_buf_release(&ig->text);
        xd_buf_release(&ig->ops);
        xd_buf_release(&ig->glob_ops);
        free(ig);
        ig = parent;
    }
    return NULL;
}

/* ---- rules of a file -------------------------------------------------------------------------------------------- */

static size_t op_words(uint16_t op)
{
    return op == XD_WILD_SET ? 1 + XD_WILD_SET_WORDS : 1;
}

/* Makes a rule of what the pattern was compiled to: literals to the text, what is between them to the ops. */
static int add_compiled(xd_ignore *ig, const uint16_t *op, size_t count, rule *r)
{
    size_t lead = 0, tail = 0, end;
    while (lead < count && op[lead] < 256)
        lead++;
    for (size_t i = lead; i < count; i += op_words(op[i]))
        tail = op[i] < 256 ? tail + 1 : 0;
    end = count - tail;
    if (ig->text.len + lead + tail > UINT32_MAX || ig->ops.len / sizeof(*op) + end > UINT32_MAX)
        return -E2BIG;
    r->text = (uint32_t)ig->text.len;
    r->lead = (uint32_t)lead;
    r->tail = (uint32_t)tail;
    r->ops = (uint32_t)(ig->ops.len / sizeof(*op));
    r->n_ops = (uint32_t)(end - lead);
    for (size_t i = 0; i < lead; i++)
        XD_TRY(xd_buf_add_byte(&ig->text, (uint8_t)op[i]));
    for (size_t i = end; i < count; i++)
        XD_TRY(xd_buf_add_byte(&ig->text, (uint8_t)op[i]));
    return xd_buf_add(&ig->ops, op + lead, (end - lead) * sizeof(*op));
}

/* One pattern as it stands in a line. One that matches nothing is no rule. */
static int add_pattern(xd_ignore *ig, rules *to, xd_bytes p)
{
    xd_autobuf ops = XD_BUF_INIT;
    rule       r = { 0 };
    if (p.len && p.ptr[0] == '!') {
        r.negated = true;
        p.ptr++, p.len--;
    }
    if (p.len && p.ptr[p.len - 1] == '/') {
        r.folder = true;
        p.len--;
    }
#if XD_PLANTED_BUG != 48 /* the simulator must find it: a slash in front does not anchor the pattern */
    r.name = !p.len || !memchr(p.ptr, '/', p.len);
#endif
    if (p.len && p.ptr[0] == '/')
        p.ptr++, p.len--;
#if XD_PLANTED_BUG == 48
    r.name = !p.len || !memchr(p.ptr, '/', p.len);
#endif
    int compiled = xd_wild_compile(p, !r.name, &ops);
    if (compiled < 0)
        return compiled;
    if (!p.len || compiled == XD_WILD_NEVER)
        return 0;
    XD_TRY(add_compiled(ig, (const uint16_t *)(const void *)ops.data, ops.len / sizeof(uint16_t), &r));
    if (to->n == to->room) {
        size_t room = to->room ? to->room * 2 : 8;
        rule  *more = realloc(to->at, room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        to->at = more, to->room = room;
    }
    to->at[to->n++] = r;
    return 0;
}

/* Without the spaces at the end. A backslash saves the one behind it, and so those before that. */
static xd_bytes trim(xd_bytes line)
{
    size_t keep = 0;
    for (size_t i = 0; i < line.len; i++) {
        bool quoted = line.ptr[i] == '\\';
        if (quoted && ++i == line.len)
            return line;
        if (quoted || line.ptr[i] != ' ')
            keep = i + 1;
    }
    line.len = keep;
    return line;
}

static int add_text(xd_ignore *ig, rules *to, xd_bytes text)
{
    if (text.len > XD_IGNORE_TEXT_MAX)
        return -E2BIG;
    if (text.len >= 3 && !memcmp(text.ptr, "\xef\xbb\xbf", 3))
        text.ptr += 3, text.len -= 3;
    while (text.len) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len), *nul;
        xd_bytes       line = { text.ptr, end ? (size_t)(end - text.ptr) : text.len };
        size_t         taken = line.len + (end != NULL);
        text.ptr += taken, text.len -= taken;
        if (!line.len || line.ptr[0] == '#')
            continue;
        if (line.ptr[line.len - 1] == '\r')
            line.len--;
        if (line.len && (nul = memchr(line.ptr, 0, line.len)) != NULL)
            line.len = (size_t)(nul - line.ptr);
        XD_TRY(add_pattern(ig, to, trim(line)));
    }
    return 0;
}

int xd_ignore_add_defaults(xd_ignore *ig)
{
    return add_text(ig, &ig->git, xd_bytes_str(defaults));
}

int xd_ignore_child(const xd_ignore *parent, xd_bytes dir, xd_bytes gitignore, xd_bytes xdignore,
                    xd_ignore **ret)
{
    xd_auto(xd_ignore) *ig = NULL;
    XD_TRY(node_new(dir, &ig));
    XD_TRY(add_text(ig, &ig->git, gitignore));
    XD_TRY(add_text(ig, &ig->xd, xdignore));
    if (ig->git.n || ig->xd.n) {
        ig->parent = xd_ignore_ref(parent);
        *ret = xd_take(&ig);
    } else {
        *ret = xd_ignore_ref(parent);
    }
    return 0;
}

/* ---- globs ------------------------------------------------------------------------------------------------------ */

static bool begins(xd_bytes b, const char *with)
{
    size_t len = strlen(with);
    return b.len >= len && !memcmp(b.ptr, with, len);
}

/* Follows `./` and `../` at the beginning. False: out of the base. */
static bool climb(xd_bytes *dir, xd_bytes *text)
{
    for (;;) {
        if (begins(*text, "./")) {
            text->ptr += 2, text->len -= 2;
        } else if (begins(*text, "../")) {
            if (!dir->len)
                return false;
            while (dir->len && dir->ptr[dir->len - 1] != '/')
                dir->len--;
            dir->len -= dir->len > 0;
            text->ptr += 3, text->len -= 3;
        } else {
            return true;
        }
    }
}

int xd_ignore_add_glob(xd_ignore *ig, const char *dir, xd_bytes text)
{
    xd_bytes below = xd_bytes_str(dir);
    glob     g = { .relative = dir && !begins(text, "/") };
    if (text.len > XD_IGNORE_GLOB_MAX)
        return -E2BIG;
    while (text.len > 1 && text.ptr[text.len - 1] == '/')
        text.len--;
    if (g.relative && !climb(&below, &text))
        return 0;
    if (!text.len)
        return 0;
    size_t ops_at = ig->glob_ops.len / sizeof(uint32_t);
    XD_TRY(xd_fnmatch_compile(text, &ig->glob_ops));
    g.ops = (uint32_t)ops_at;
    g.n_ops = (uint32_t)(ig->glob_ops.len / sizeof(uint32_t) - ops_at);
    uint8_t last = text.ptr[text.len - 1];
    g.last = last == '*' || last == '?' || last == ']' ? -1 : last;
    g.absolute = strchr("/*?[", text.ptr[0]) != NULL;
    if (g.relative && below.len) {
        g.text = (uint32_t)ig->text.len;
        g.len = (uint32_t)below.len + 1;
        XD_TRY(xd_buf_add_bytes(&ig->text, below));
        XD_TRY(xd_buf_add_byte(&ig->text, '/'));
    }
    glob *more = realloc(ig->globs, (ig->n_globs + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    ig->globs = more;
    ig->globs[ig->n_globs++] = g;
    return 0;
}

/* ---- match ------------------------------------------------------------------------------------------------------ */

static bool glob_matches(const xd_ignore *ig, const glob *g, xd_bytes path, xd_bytes name)
{
    const uint32_t *ops = (const uint32_t *)(const void *)ig->glob_ops.data + g->ops;
    const xd_bytes  nothing = { NULL, 0 };
    if (g->last >= 0 && path.ptr[path.len - 1] != g->last)
        return false;
    if (g->relative) {
        if (path.len <= g->len || (g->len && memcmp(path.ptr, ig->text.data + g->text, g->len) != 0))
            return false;
        return xd_fnmatch(ops, g->n_ops, nothing, (xd_bytes){ path.ptr + g->len, path.len - g->len });
    }
    return xd_fnmatch(ops, g->n_ops, nothing, name) ||
           (g->absolute && xd_fnmatch(ops, g->n_ops, xd_bytes_str(ig->head), path));
}

static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    return !len || (*a == *b && !memcmp(a, b, len));
}

static bool rule_matches(const xd_ignore *ig, const rule *r, xd_bytes in)
{
    const uint8_t *text = ig->text.data + r->text;
    size_t         literal = (size_t)r->lead + r->tail;
    if (r->n_ops ? in.len < literal : in.len != literal)
        return false;
    if (!same(in.ptr, text, r->lead) || !same(in.ptr + in.len - r->tail, text + r->lead, r->tail))
        return false;
    if (!r->n_ops)
        return true;
    const uint16_t *ops = (const uint16_t *)(const void *)ig->ops.data + r->ops;
    in.ptr += r->lead, in.len -= literal;
    if (r->n_ops == 1 && *ops == XD_WILD_STAR)
        return r->name || !memchr(in.ptr, '/', in.len);
    if (r->n_ops == 1 && *ops == XD_WILD_FOLDERS)
        return !in.len || in.ptr[in.len - 1] == '/';
    return xd_wild_match(ops, r->n_ops, in.ptr, in.len);
}

/* What the rules of a node say: 1 = left out, 0 = not, -1 = nothing. */
static int ask(const xd_ignore *ig, const rules *rs, xd_bytes path, xd_bytes name, bool is_folder)
{
    if (path.len <= ig->dir_len || !same(path.ptr, (const uint8_t *)ig->dir, ig->dir_len))
        return -1;
    path.ptr += ig->dir_len, path.len -= ig->dir_len;
    for (size_t i = rs->n; i-- > 0;) {
        const rule *r = &rs->at[i];
        if ((!r->folder || is_folder) && rule_matches(ig, r, r->name ? name : path))
            return !r->negated;
    }
    return -1;
}

bool xd_ignore_match(const xd_ignore *ig, const char *path_text, size_t len, bool is_folder)
{
    xd_bytes         path = { (const uint8_t *)path_text, len }, name = path;
    const uint8_t   *slash = len ? memrchr(path_text, '/', len) : NULL;
    const xd_ignore *n, *first = ig;
    int              said;
    if (!len)
        return false;
    if (slash)
        name = (xd_bytes){ slash + 1, (size_t)(path.ptr + len - slash) - 1 };
    if (begins(name, ".xd-") || xd_bytes_eq_str(name, ".git"))
        return true;
    while (first->parent)
        first = first->parent;
    for (size_t i = 0; i < first->n_globs; i++)
        if (glob_matches(first, &first->globs[i], path, name))
            return true;
    for (n = ig; n; n = n->parent)
        if (n->xd.n && (said = ask(n, &n->xd, path, name, is_folder)) >= 0)
            return said;
    for (n = ig; n; n = n->parent)
        if (n->git.n && (said = ask(n, &n->git, path, name, is_folder)) >= 0)
            return said;
    return false;
}

/* ---- digest ----------------------------------------------------------------------------------------------------- */

static void hash_sized(XXH3_state_t *hash, const void *data, size_t len)
{
    uint64_t size = len;
    (void)XXH3_128bits_update(hash, &size, sizeof(size));
    (void)XXH3_128bits_update(hash, len ? data : "", len);
}

static void hash_rules(XXH3_state_t *hash, const xd_ignore *ig, const rules *rs)
{
    uint64_t count = rs->n;
    (void)XXH3_128bits_update(hash, &count, sizeof(count));
    for (size_t i = 0; i < rs->n; i++) {
        const rule *r = &rs->at[i];
        uint8_t     kind[3] = { r->negated, r->folder, r->name };
        (void)XXH3_128bits_update(hash, kind, sizeof(kind));
        hash_sized(hash, ig->text.data + r->text, r->lead);
        hash_sized(hash, ig->text.data + r->text + r->lead, r->tail);
        hash_sized(hash, r->n_ops ? (const uint16_t *)(const void *)ig->ops.data + r->ops : NULL,
                   r->n_ops * sizeof(uint16_t));
    }
}

xd_digest xd_ignore_digest(const xd_ignore *ig)
{
    XXH3_state_t hash;
    XXH3_INITSTATE(&hash);
    (void)XXH3_128bits_reset(&hash);
    for (; ig; ig = ig->parent) {
        hash_sized(&hash, ig->dir, ig->dir_len);
        hash_rules(&hash, ig, &ig->xd);
        hash_rules(&hash, ig, &ig->git);
        for (size_t i = 0; i < ig->n_globs; i++) {
            const glob *g = &ig->globs[i];
            hash_sized(&hash, ig->text.data + g->text, g->len);
            hash_sized(&hash, &g->relative, sizeof(g->relative));
            hash_sized(&hash, (const uint32_t *)(const void *)ig->glob_ops.data + g->ops,
                       g->n_ops * sizeof(uint32_t));
            if (!g->relative && g->absolute)
                hash_sized(&hash, ig->head, strlen(ig->head));
        }
    }
    XXH128_hash_t d = XXH3_128bits_digest(&hash);
    return (xd_digest){ d.low64, d.high64 };
}
