/* sync_rules.c - see sync.h: ignore rules, made at random, written out, and matched in the naive way: all that there are, from the weakest to the
 * strongest, with all ways to match a star. */
#include <string.h>

#include "tests/sim/sync.h"

/* ---- made ------------------------------------------------------------------------------------------------------- */

/* A name with some of it made unsure. quoted: a rule can say each byte as it is. */
static void part_of(sy_world *w, const char *name, sy_part *ret)
{
    *ret = (sy_part){ 0 };
    for (size_t i = 0; name[i] && ret->n < SY_TOKENS - 2; i++) {
        const uint8_t  c = (uint8_t)name[i];
        const uint32_t k = sy_rand(w, 30);
        sy_token       t = { SY_BYTE, c, c };
        if (c == '/') /* no part of a name has one */
            t = k < 15 ? (sy_token){ .kind = SY_ONE } : (sy_token){ SY_NOT_SET, 'v', 'w' };
        else if (k == 0)
            t.kind = SY_ONE;
        else if (k == 1 && c >= 'a' && c <= 'z')
            t = (sy_token){ sy_chance(w, 50) ? SY_SET : SY_NOT_SET, (uint8_t)(c - sy_rand(w, 2)), c };
        else if (k == 2)
            t.kind = SY_STAR;
        ret->token[ret->n++] = t;
        if (k == 3)
            break;
    }
    if (sy_chance(w, 15))
        ret->token[ret->n++] = (sy_token){ .kind = SY_STAR };
    else if (sy_chance(w, 10)) {
        memmove(ret->token + 1, ret->token, ret->n++ * sizeof *ret->token);
        ret->token[0] = (sy_token){ .kind = SY_STAR };
    }
}

/* Names of a path that stands there, or some that may not. A part may be made of two, with the slash unsure, too. */
static void parts_of(sy_world *w, const char *folder, sy_rule *r)
{
    const uint32_t any = sy_any(w, &w->home, 0);
    const char    *path = any < w->home.n && sy_is_below(w->home.at[any].path, folder)
                              ? w->home.at[any].path + strlen(folder) + (*folder != 0)
                              : sy_join(w, sy_name(w), sy_name(w));
    while (*path && r->n < SY_PARTS) {
        size_t len = strcspn(path, "/");
        if (path[len] && sy_chance(w, 25))
            len += 1 + strcspn(path + len + 1, "/");
        if (r->n && !r->part[r->n - 1].deep && sy_chance(w, 15))
            r->part[r->n++] = (sy_part){ .deep = true };
        else
            part_of(w, sy_text(w, path, len), &r->part[r->n++]);
        path += len + (path[len] != 0);
    }
}

static void rule_of(sy_world *w, const char *folder, sy_rule *ret)
{
    bool named = false;
    *ret = (sy_rule){ .negated = sy_chance(w, 30), .folder = sy_chance(w, 25), .anchored = sy_chance(w, 25) };
    if (sy_chance(w, 40)) {
        parts_of(w, folder, ret);
    } else {
        ret->n = sy_chance(w, 60) ? 1 : 2 + sy_rand(w, SY_PARTS - 1);
        for (uint32_t i = 0; i < ret->n; i++) {
            if (ret->n > 1 && sy_chance(w, 35) && !(i && ret->part[i - 1].deep))
                ret->part[i] = (sy_part){ .deep = true };
            else
                part_of(w, sy_name(w), &ret->part[i]);
        }
    }
    for (uint32_t i = 0; i < ret->n; i++)
        named = named || !ret->part[i].deep;
    if (!named)
        part_of(w, sy_name(w), &ret->part[ret->n - 1]);
}

const sy_rules *sy_rules_new(sy_world *w, const char *folder)
{
    sy_rules *r = sy_alloc(w, sizeof *r);
    *r = (sy_rules){ .n = 1 + sy_rand(w, SY_RULES) };
    for (uint32_t i = 0; i < r->n; i++)
        rule_of(w, folder, &r->rule[i]);
    return r;
}

void sy_globs_new(sy_world *w)
{
    w->n_globs = sy_chance(w, 50) ? 0 : sy_rand(w, SY_GLOBS + 1);
    for (uint32_t i = 0; i < w->n_globs; i++) {
        sy_glob *g = &w->glob[i];
        *g = (sy_glob){ .head = sy_chance(w, 20) ? SY_BASE "/" : "" };
        if (!*g->head && sy_chance(w, 40)) {
            g->dir = w->home.at[sy_any(w, &w->home, XD_SYNC_FOLDER)].path;
            g->head = sy_chance(w, 30) ? "./" : "";
        }
        part_of(w, sy_name(w), &g->part);
        for (uint32_t k = 0; k < g->part.n;
             k++) { /* nothing is quoted in a glob, and a character stays whole */
            sy_token *t = &g->part.token[k];
            if (t->kind != SY_BYTE)
                continue;
            if (t->from == 0xc3 && k + 1 < g->part.n && t[1].kind == SY_BYTE && t[1].from == 0xa9)
                k++;
            else if (t->from == 0xc3 || strchr("*?[]!/.", t->from))
                t->kind = SY_ONE;
        }
    }
}

/* ---- written out ------------------------------------------------------------------------------------------------ */

static void write_token(sy_world *w, const sy_token *t, bool quotes, xd_buf *out)
{
    const uint8_t c = t->from, lower = c | 32;
    const bool    plain = c >= 0x80 || (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z') || c == '_';
    if (t->kind == SY_ONE || t->kind == SY_STAR) {
        SY_MUST(w, xd_buf_add_byte(out, t->kind == SY_ONE ? '?' : '*'));
    } else if (t->kind != SY_BYTE) {
        SY_MUST(w, xd_buf_printf(out, "[%s%c-%c]", t->kind == SY_NOT_SET ? "!" : "", t->from, t->to));
    } else {
        if (quotes && !plain)
            SY_MUST(w, xd_buf_add_byte(out, '\\'));
        SY_MUST(w, xd_buf_add_byte(out, t->from));
    }
}

static void write_part(sy_world *w, const sy_part *p, bool quotes, xd_buf *out)
{
    if (p->deep)
        SY_MUST(w, xd_buf_add_str(out, "**"));
    for (uint32_t i = 0; i < p->n; i++) /* stars that follow each other would be one, or two */
        if (p->token[i].kind != SY_STAR || i == 0 || p->token[i - 1].kind != SY_STAR)
            write_token(w, &p->token[i], quotes, out);
}

void sy_rules_write(sy_world *w, const sy_rules *r, xd_buf *out)
{
    for (uint32_t i = 0; r && i < r->n; i++) {
        const sy_rule *rule = &r->rule[i];
        SY_MUST(w, xd_buf_printf(out, "%s%s%s", i % 3 == 2 ? "# none\n\n" : "", rule->negated ? "!" : "",
                                 rule->anchored ? "/" : ""));
        for (uint32_t k = 0; k < rule->n; k++) {
            write_part(w, &rule->part[k], true, out);
            if (k + 1 < rule->n || rule->folder)
                SY_MUST(w, xd_buf_add_byte(out, '/'));
        }
        SY_MUST(w, xd_buf_add_str(out, i % 2 ? "\r\n" : "\n"));
    }
}

void sy_rules_first(sy_world *w)
{
    xd_ignore_free(xd_take(&w->first));
    SY_MUST(w, xd_ignore_new(SY_BASE, &w->first));
    if (w->defaults)
        SY_MUST(w, xd_ignore_add_defaults(w->first));
    for (uint32_t i = 0; i < w->n_globs; i++) {
        xd_autobuf text = XD_BUF_INIT;
        SY_MUST(w, xd_buf_add_str(&text, w->glob[i].head));
        write_part(w, &w->glob[i].part, false, &text);
        SY_MUST(w, xd_ignore_add_glob(w->first, w->glob[i].dir, xd_buf_view(&text)));
    }
}

/* ---- matched ---------------------------------------------------------------------------------------------------- */

static bool takes(const sy_token *t, uint8_t c)
{
    const bool in = c >= t->from && c <= t->to;
    return t->kind == SY_ONE || (t->kind == SY_NOT_SET ? !in : in);
}

/* characters: a token takes one of UTF-8, of which names have only those of two bytes; else one byte. */
static bool match_part(const sy_token *t, uint32_t n, const char *text, size_t len, bool characters)
{
    if (n == 0)
        return len == 0;
    if (t->kind == SY_STAR) {
        for (size_t i = 0; i <= len;
             i += characters && i + 1 < len && text[i] == '\xc3' && text[i + 1] == '\xa9' ? 2 : 1)
            if (match_part(t + 1, n - 1, text + i, len - i, characters))
                return true;
        return false;
    }
    if (len == 0)
        return false;
    if (characters && t->kind != SY_BYTE && len > 1 && text[0] == '\xc3' && text[1] == '\xa9')
        return t->kind != SY_SET && match_part(t + 1, n - 1, text + 2, len - 2, characters);
    return takes(t, (uint8_t)*text) && match_part(t + 1, n - 1, text + 1, len - 1, characters);
}

static bool match_path(const sy_part *p, uint32_t n, const char *path)
{
    const size_t len = strcspn(path, "/");
    const char  *rest = path[len] ? path + len + 1 : NULL;
    if (p->deep && n == 1)
        return true;
    if (p->deep)
        return match_path(p + 1, n - 1, path) || (rest && match_path(p, n, rest));
    if (!match_part(p->token, p->n, path, len, false))
        return false;
    return n == 1 ? !rest : rest && match_path(p + 1, n - 1, rest);
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* below: the path below the folder that has the rules. */
static void apply(const sy_rules *r, const char *below, bool folder, bool *ignored)
{
    for (uint32_t i = 0; r && i < r->n; i++) {
        const sy_rule *rule = &r->rule[i];
        const char    *name = last_name(below);
        if (rule->folder && !folder)
            continue;
        if (rule->n == 1 && !rule->anchored
                ? match_part(rule->part[0].token, rule->part[0].n, name, strlen(name), false)
                : match_path(rule->part, rule->n, below))
            *ignored = !rule->negated;
    }
}

static bool by_default(const char *name, bool folder)
{
    const size_t len = strlen(name);
    if (strcmp(name, ".coveragerc") == 0)
        return false;
    return name[0] == '.' || name[len - 1] == '~' || (len >= 4 && strcmp(name + len - 4, ".pyc") == 0) ||
           (folder && strcmp(name, "__pycache__") == 0);
}

static bool match_globs(const sy_world *w, const char *path)
{
    const char *name = last_name(path);
    char        whole[2 * XD_MANIFEST_PATH_MAX] = SY_BASE "/";
    memcpy(whole + sizeof SY_BASE, path, strlen(path) + 1);
    for (uint32_t i = 0; i < w->n_globs; i++) {
        const sy_glob *g = &w->glob[i];
        const sy_part *p = &g->part;
        if (g->dir) {
            const char *below = sy_is_below(path, g->dir) ? path + strlen(g->dir) + (*g->dir != 0) : NULL;
            if (below && match_part(p->token, p->n, below, strlen(below), true))
                return true;
        } else if (*g->head) {
            if (match_part(p->token, p->n, path, strlen(path), true))
                return true;
        } else if (match_part(p->token, p->n, name, strlen(name), true) ||
                   match_part(p->token, p->n, whole, strlen(whole), true)) {
            return true;
        }
    }
    return false;
}

static const sy_entry *find_folder(const sy_tree *t, const char *path, size_t len)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (t->at[i].type == XD_SYNC_FOLDER && strncmp(t->at[i].path, path, len) == 0 && !t->at[i].path[len])
            return &t->at[i];
    return NULL;
}

bool sy_ignored(const sy_world *w, const char *path, bool folder)
{
    const char *name = last_name(path);
    bool        ignored = w->defaults && by_default(name, folder);
    if (strcmp(name, ".git") == 0 || strncmp(name, ".xd-", 4) == 0 || match_globs(w, path))
        return true;
    for (uint32_t own = 0; own < 2;
         own++) /* .xdignore is stronger, wherever it stands; then the deepest folder */
        for (size_t end = 0;;) {
            const char     *below = path + end + (end != 0);
            const sy_entry *f = find_folder(&w->home, path, end);
            if (f)
                apply(own ? f->own : f->git, below, folder, &ignored);
            if (!below[strcspn(below, "/")])
                break;
            end = (size_t)(below - path) + strcspn(below, "/");
        }
    return ignored;
}
