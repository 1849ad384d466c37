/* actors/sync_start.c - see sync_start.h. */
#include "actors/sync_start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "actors/sync_path.h"
#include "engine/base/path.h"

#define JOINED_AHEAD 8u /* hosts that are counted on, of those that may join: what is read is kept for them */

struct xd_sync_start {
    xd_ignore        *rules;
    xd_source        *source;
    xd_syncer_target *targets; /* texts owned */
    size_t            count;
    uint32_t          hosts; /* targets that are wanted */
    xd_syncer_args    args;
    char             *cache, *memory;
    char *top, *above; /* the folder that rules count from, and the base below it; NULL = that is the base */
};

/* A host is known by how it is reached; interpreter and environment make no other host of it. */
static int make_key(const xd_xspec *spec, const char *base, const xd_sync_where *where, char **ret)
{
    xd_autobuf key = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&key, "%d %s", (int)spec->kind, spec->target ? spec->target : ""));
    for (const xd_xspec *j = spec->jump; j; j = j->jump)
        XD_TRY(xd_buf_printf(&key, " via %s", j->target ? j->target : ""));
    XD_TRY(xd_buf_printf(&key, "\n%u %s\n%s", (unsigned)(where->flags & XD_SYNC_FLAG_PROJECT), where->folder,
                         base));
    *ret = xd_bytes_dup(xd_buf_view(&key));
    return *ret ? 0 : -ENOMEM;
}

static int make_targets(xd_sync_start *s, const xd_sync_what *what, const xd_plan *plan,
                        const xd_sync_where *where)
{
    s->targets = calloc(plan->count ? plan->count : 1, sizeof(*s->targets));
    if (!s->targets)
        return -ENOMEM;
    s->count = plan->count;
    uint32_t seats = 0;
    for (size_t i = 0; i < plan->count; i++) {
        xd_syncer_target *t = &s->targets[i];
        char             *key = NULL;
        if (!where[i].wanted)
            continue;
        s->hosts += !plan->gateways[i].joins || seats++ < JOINED_AHEAD;
        XD_TRY(make_key(&plan->gateways[i].spec, what->base, &where[i], &key));
        t->key = key;
        t->spec = strdup(plan->gateways[i].spec.text);
        t->folder = strdup(where[i].folder);
        t->flags = where[i].flags;
        if (!t->spec || !t->folder)
            return -ENOMEM;
    }
    return 0;
}

int xd_sync_start_named(xd_sync_start *s, size_t gateway, const xd_xspec *spec, const char *base,
                        const xd_sync_where *where)
{
    xd_syncer_target *t = &s->targets[gateway];
    char             *key = NULL, *name = strdup(spec->text);
    int               r = name ? make_key(spec, base, where, &key) : -ENOMEM;
    if (r < 0) {
        free(name);
        return r;
    }
    free((char *)t->key);
    free((char *)t->spec);
    t->key = key;
    t->spec = name;
    return 0;
}

/* A working tree of git that lies around the base: its rules count, too. Unless they leave out what the user has named: who brings build/ wants what is in it. */
static int find_above(xd_sync_start *s, const char *base)
{
    static const char *const whole[] = { ".", NULL };
    xd_autofree char        *top = NULL;
    bool                     left_out = false;
    XD_TRY(xd_sync_path_git_top(base, &top));
    if (!top || strcmp(top, base) == 0)
        return 0;
    const char        *above = base + strlen(top) + 1;
    const xd_scan_args around = { .roots = whole, .base = top };
    XD_TRY(xd_scan_ignores(&around, xd_bytes_str(above), true, &left_out));
    if (left_out)
        return 0;
    s->above = strdup(above);
    s->top = xd_take(&top);
    return s->above ? 0 : -ENOMEM;
}

/* dir is relative to the base; the rules count from what is around it. */
static int add_glob(xd_sync_start *s, const char *base, const xd_sync_glob *g)
{
    if (!g->dir || !s->top)
        return xd_ignore_add_glob(s->rules, g->dir, xd_bytes_str(g->glob));
    xd_autofree char *full = xd_path_join(base, g->dir), *clean = full ? xd_sync_path_clean(full) : NULL;
    xd_autofree char *from = clean ? xd_sync_path_from(s->top, clean) : NULL;
    return from ? xd_ignore_add_glob(s->rules, strcmp(from, ".") == 0 ? "" : from, xd_bytes_str(g->glob))
                : -ENOMEM;
}

static int make_rules(xd_sync_start *s, const xd_sync_what *what)
{
    XD_TRY(find_above(s, what->base));
    XD_TRY(xd_ignore_new(s->top ? s->top : what->base, &s->rules));
    XD_TRY(xd_ignore_add_defaults(s->rules));
    for (size_t i = 0; i < what->n_globs; i++)
        XD_TRY(add_glob(s, what->base, &what->globs[i]));
    return 0;
}

/* Both are kept between runs, and only save work: without a folder for them there are none. */
static int find_memory(xd_sync_start *s, const xd_sync_what *what, const xd_folders *folders)
{
    xd_autofree char *cache = NULL, *dir = NULL;
    xd_autobuf        name = XD_BUF_INIT;
    if (xd_folders_cache(folders, &cache, NULL) < 0)
        return 0;
    if (!(dir = xd_path_join(cache, "sync")))
        return -ENOMEM;
    if (xd_path_mkdirs(dir, 0700, NULL) < 0)
        return 0;
    XD_TRY(xd_buf_printf(&name, "%s/scan-%016llx", dir,
                         (unsigned long long)XXH3_64bits(what->base, strlen(what->base))));
    s->cache = xd_bytes_dup(xd_buf_view(&name));
    s->memory = xd_take(&dir);
    return s->cache ? 0 : -ENOMEM;
}

int xd_sync_start_new(xd_sync_start **ret, const xd_sync_what *what, const xd_plan *plan,
                      const xd_sync_where *where, const xd_folders *folders, xd_error *err)
{
    xd_sync_start *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    int r = make_rules(s, what);
    if (r == 0)
        r = make_targets(s, what, plan, where);
    if (r == 0)
        r = find_memory(s, what, folders);
    if (r == 0) {
        const xd_source_args args = { .scan = { .roots = what->roots,
                                                .base = what->base,
                                                .above = s->above,
                                                .rules = s->rules,
                                                .cache = s->cache },
                                      .memory = s->memory,
                                      .hosts = s->hosts,
                                      .apart = what->apart };
        r = xd_source_new(&s->source, &args, err);
    }
    if (r < 0) {
        xd_sync_start_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int xd_sync_start_actor(xd_sync_start *s, xd_supervisor *supervisor, xd_bus *bus, const char *to,
                        const char *live, xd_syncer_progress progress, xd_syncer_change change, void *arg,
                        xd_error *err)
{
    s->args = (xd_syncer_args){ .source = s->source,
                                .bus = bus,
                                .targets = s->targets,
                                .count = (uint16_t)s->count,
                                .to = to,
                                .live = live,
                                .progress = progress,
                                .change = change,
                                .arg = arg };
    const xd_child child = { .spec = &xd_syncer_spec, .address = XD_SYNCER_ADDRESS, .args = &s->args };
    return xd_supervisor_start(supervisor, &child, err);
}

void xd_sync_start_stop(xd_sync_start *s)
{
    if (s)
        xd_source_stop(s->source);
}

xd_source *xd_sync_start_source(xd_sync_start *s)
{
    return s->source;
}

xd_sync_start *xd_sync_start_free(xd_sync_start *s)
{
    if (!s)
        return NULL;
    xd_source_free(s->source);
    xd_ignore_free(s->rules);
    for (size_t i = 0; s->targets && i < s->count; i++) {
        free((char *)s->targets[i].spec);
        free((char *)s->targets[i].key);
        free((char *)s->targets[i].folder);
    }
    free(s->targets);
    free(s->cache);
    free(s->memory);
    free(s->top);
    free(s->above);
    free(s);
    return NULL;
}
