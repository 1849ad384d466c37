/* actors/sync_roots.c - see sync_roots.h. */
#include "actors/sync_roots.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/sync_found.h"
#include "actors/sync_path.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define LISTED_MAX 12u /* roots that a line names */

void xd_sync_plan_release(xd_sync_plan *p)
{
    free(p->base);
    free(p->cwd);
    free(p->rootdir);
    free(p->why);
    for (size_t i = 0; i < p->n_ignore; i++) {
        free(p->ignore[i].dir);
        free(p->ignore[i].glob);
    }
    free(p->ignore);
    xd_strings_release(&p->roots);
    xd_strings_release(&p->notes);
    xd_strings_release(&p->python_path);
    *p = XD_SYNC_PLAN_INIT;
}

/* ---- which environments ----------------------------------------------------------------------------------- */

static bool gets_files(const xd_xspec *spec, bool named)
{
    return named ? spec->kind != XD_SPEC_POPEN || spec->chdir : spec->kind != XD_SPEC_POPEN && !spec->chdir;
}

static bool any_gets(const xd_xspec *const *specs, size_t count, bool named)
{
    for (size_t i = 0; i < count; i++)
        if (gets_files(specs[i], named))
            return true;
    return false;
}

bool xd_sync_plan_brings(const xd_sync_plan *p, const xd_xspec *spec)
{
    return p->base && gets_files(spec, p->named);
}

/* ---- the project, where nothing is named -------------------------------------------------------------------- */

static int default_root(xd_sync_found *f, xd_error *err)
{
    xd_autofree char *top = NULL;
    const char       *label = "the working tree of git";
    XD_TRY(xd_sync_path_git_top(f->in.root, &top));
    if (!top) {
        label = "rootdir";
        if (!(top = strdup(f->in.root)))
            return -ENOMEM;
    }
    if (xd_sync_path_is_home(top))
        return xd_error_set(err, -EINVAL,
                            "what to bring is not said, and the project's folder would be %s, with all that "
                            "you have there: name "
                            "folders with --rsyncdir, or run in the project's own folder",
                            top);
    return xd_sync_found_root(f, top, ".", label, err);
}

/* ---- arguments --------------------------------------------------------------------------------------------- */

static bool is_brought(const xd_sync_found *f, const char *path)
{
    for (size_t i = 0; i < f->n_roots; i++)
        if (f->roots[i].label && xd_path_is_below(path, f->roots[i].path))
            return true;
    return false;
}

/* Some of what is brought, as it is called from cwd. */
static int list_named(const xd_sync_found *f, xd_buf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_roots && n < 3; i++) {
        if (!f->roots[i].label)
            continue;
        xd_autofree char *name = xd_sync_path_from(f->in.cwd, f->roots[i].path);
        if (!name)
            return -ENOMEM;
        XD_TRY(xd_buf_printf(out, "%s%s (%s)", n++ ? ", " : "", name, f->roots[i].label));
    }
    return 0;
}

/* What is to be run must be there. */
static int check_arguments(const xd_sync_found *f, xd_error *err)
{
    xd_autobuf brought = XD_BUF_INIT;
    for (size_t i = 0; i < f->in.n_starts; i++) {
        const xd_start_path *s = &f->in.starts[i];
        if (!s->sure || is_brought(f, s->path))
            continue;
        XD_TRY(list_named(f, &brought));
        return xd_error_set(err, -EINVAL,
                            "argument '%.200s' is not among what is brought to the hosts, %.500s: name it "
                            "with --rsyncdir, too",
                            s->text, xd_buf_cstr(&brought));
    }
    return 0;
}

/* Without arguments, what was brought is all that can be collected. */
static int note_incomplete(xd_sync_found *f, xd_sync_plan *p)
{
    char line[XD_TEXT];
    for (size_t i = 0; i < f->in.testpaths.count; i++) {
        if (is_brought(f, f->in.testpaths.at[i]))
            continue;
        snprintf(line, sizeof(line),
                 "%s is in testpaths and is not brought to the hosts: its tests are not run there",
                 f->in.testpaths.at[i]);
        XD_TRY(xd_strings_add(&p->notes, line));
    }
    if (f->in.n_starts || f->in.testpaths.count || is_brought(f, f->in.cwd))
        return 0;
    snprintf(line, sizeof(line),
             "no argument says what to run: on the hosts, tests are collected from what is brought of %s",
             f->in.cwd);
    return xd_strings_add(&p->notes, line);
}

/* ---- the result ---------------------------------------------------------------------------------------------- */

static int common_base(const xd_sync_found *f, char **ret)
{
    char *base = strdup(f->in.cwd);
    if (!base)
        return -ENOMEM;
    *ret = base;
    xd_path_common(base, f->in.root);
    for (size_t i = 0; i < f->n_roots; i++) {
        if (f->roots[i].link)
            continue;
        xd_autofree char *dir = f->roots[i].folder ? strdup(f->roots[i].path) : xd_path_dir(f->roots[i].path);
        if (!dir)
            return -ENOMEM;
        xd_path_common(base, dir);
    }
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const xd_sync_root *)a)->path, ((const xd_sync_root *)b)->path);
}

/* One that lies in another folder is needed only where a rule may leave it out there, and it was named. */
static bool is_covered(const xd_sync_found *f, size_t i)
{
    for (size_t k = 0; k < f->n_roots && !f->roots[i].label; k++)
        if (k != i && f->roots[k].folder && xd_path_is_below(f->roots[i].path, f->roots[k].path))
            return true;
    return false;
}

static int list_roots(xd_sync_found *f, xd_sync_plan *p)
{
    const char *last = NULL;
    qsort(f->roots, f->n_roots, sizeof(*f->roots), by_path);
    for (size_t i = 0; i < f->n_roots; i++) {
        const char *path = f->roots[i].path;
        if (!xd_path_is_below(path, p->base) || (last && strcmp(last, path) == 0) || is_covered(f, i))
            continue; /* a link above base leads nobody anywhere there */
        xd_autofree char *name = xd_sync_path_from(p->base, path);
        XD_TRY(name ? xd_strings_add(&p->roots, name) : -ENOMEM);
        last = path;
    }
    return 0;
}

static int add_glob(xd_sync_plan *p, const char *dir, const char *glob)
{
    xd_sync_glob *all = realloc(p->ignore, (p->n_ignore + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    p->ignore = all;
    xd_sync_glob *g = &all[p->n_ignore++];
    *g = (xd_sync_glob){ .glob = strdup(glob) };
    if (dir) {
        xd_autofree char *from = xd_sync_path_from(p->base, dir);
        if (from)
            g->dir = strdup(strcmp(from, ".") == 0 ? "" : from);
    }
    return g->glob && (g->dir || !dir) ? 0 : -ENOMEM;
}

static int list_globs(const xd_sync_found *f, xd_sync_plan *p)
{
    for (size_t i = 0; i < f->n_globs; i++) {
        const xd_sync_found_glob *g = &f->globs[i];
        XD_TRY(add_glob(p, g->dir, g->glob));
        if (!g->dir && g->glob[0] != '/' && strchr(g->glob, '/')) /* a path, as the user sees it */
            XD_TRY(add_glob(p, f->in.cwd, g->glob));
    }
    return 0;
}

static int name_project(xd_sync_plan *p)
{
    char          host[256] = "", number[24];
    struct passwd entry, *user = NULL;
    char          room[4096];
    xd_autobuf    apart = XD_BUF_INIT;
    (void)!gethostname(host, sizeof(host) - 1);
    snprintf(number, sizeof(number), "%u", (unsigned)geteuid());
    if (getpwuid_r(geteuid(), &entry, room, sizeof(room), &user) != 0)
        user = NULL;
    XD_TRY(xd_buf_printf(&apart, "%s@%s:%s", user ? user->pw_name : number, host, p->base));
    xd_env_start_project_of(p->base, xd_buf_cstr(&apart), p->project);
    return 0;
}

/* "files brought from /a: src, tests (--rsyncdir); plugins (rsyncdirs of conftest.py)" */
static int say_why(const xd_sync_found *f, xd_sync_plan *p)
{
    xd_autobuf line = XD_BUF_INIT, safe = XD_BUF_INIT;
    size_t     listed = 0, named = 0;
    XD_TRY(xd_buf_printf(&line, "files brought from %s: ", p->base));
    for (size_t i = 0; i < f->n_roots; i++) {
        const xd_sync_root *r = &f->roots[i];
        if (!r->label || named++ >= LISTED_MAX)
            continue;
        xd_autofree char *name = xd_sync_path_from(p->base, r->path);
        if (!name)
            return -ENOMEM;
        XD_TRY(xd_buf_printf(&line, "%s%s (%s)", listed++ ? ", " : "",
                             strcmp(name, ".") == 0 ? "all of it" : name, r->label));
    }
    if (named > listed)
        XD_TRY(xd_buf_printf(&line, ", and %zu more", named - listed));
    XD_TRY(xd_text_harmless(&safe, xd_buf_view(&line), false));
    return (p->why = strdup(xd_buf_cstr(&safe))) ? 0 : -ENOMEM;
}

static int complete(xd_sync_found *f, xd_sync_plan *p)
{
    XD_TRY(common_base(f, &p->base));
    p->cwd = xd_sync_path_from(p->base, f->in.cwd);
    p->rootdir = xd_sync_path_from(p->base, f->in.root);
    if (!p->cwd || !p->rootdir)
        return -ENOMEM;
    XD_TRY(list_roots(f, p));
    XD_TRY(list_globs(f, p));
    XD_TRY(name_project(p));
    XD_TRY(say_why(f, p));
    for (size_t i = 0; i < f->notes.count; i++)
        XD_TRY(xd_strings_add(&p->notes, f->notes.at[i]));
    return 0;
}

static int nothing(xd_sync_plan *p, const char *why)
{
    return (p->why = strdup(why)) ? 0 : -ENOMEM;
}

static int make(xd_sync_found *f, xd_sync_plan *p, const xd_config *cfg, const xd_xspec *const *specs,
                size_t count, const char *work, xd_error *err)
{
    XD_TRY(xd_sync_found_read(f, cfg, work, err));
    for (size_t i = 0; i < f->n_roots; i++)
        p->named |= f->roots[i].label != NULL;
    if (!any_gets(specs, count, p->named))
        return nothing(p, "no files are brought to the hosts: their chdir= says where they are (--rsyncdir "
                          "names what to bring)");
    XD_TRY(p->named ? 0 : default_root(f, err));
    XD_TRY(check_arguments(f, err));
    XD_TRY(note_incomplete(f, p));
    XD_TRY(xd_sync_found_beside(f, err));
    return complete(f, p);
}

int xd_sync_plan_make(xd_sync_plan *ret, const xd_config *cfg, const xd_xspec *const *specs, size_t count,
                      const xd_folders *where, xd_error *err)
{
    xd_sync_plan  p = XD_SYNC_PLAN_INIT;
    xd_sync_found f = XD_SYNC_FOUND_INIT;
    int           r = 0;
    if (!any_gets(specs, count, true)) /* all run in the user's folders */
        r = 0;
    else if (cfg->no_sync)
        r = nothing(&p, "no files are brought to the hosts: --no-sync");
    else if (!where->work)
        r = xd_error_set(err, -ENOENT, "the current directory is gone");
    else
        r = make(&f, &p, cfg, specs, count, where->work, err);
    xd_sync_found_release(&f);
    if (r < 0)
        xd_sync_plan_release(&p);
    else
        *ret = p;
    return r;
}

/* ---- arguments for the other host ----------------------------------------------------------------------------- */

/* *ret: how `path` is reached from cwd in what was brought; NULL = as it is given, or not at all. */
static int reached(const xd_sync_plan *p, const char *cwd, const char *path, char **ret)
{
    xd_autofree char *whole = xd_path_join(cwd, path), *clean = whole ? xd_sync_path_clean(whole) : NULL,
                     *real = NULL;
    if (!clean)
        return -ENOMEM;
    const bool below = xd_path_is_below(clean, p->base);
    if (below && path[0] != '/')
        return 0;
    const int r = xd_sync_path_real(whole, &real, NULL);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (!below && !xd_path_is_below(real, p->base))
        return 0;
    *ret = xd_sync_path_from(cwd, below ? clean : real);
    return *ret ? 0 : -ENOMEM;
}

static int add_arg(const xd_sync_plan *p, const char *cwd, const char *arg, xd_strings *ret)
{
    xd_autobuf        all = XD_BUF_INIT;
    const char       *equal = arg[0] == '-' ? strchr(arg, '=') : NULL;
    const char       *path = equal ? equal + 1 : arg, *id = strstr(path, "::");
    xd_autofree char *bare = id ? strndup(path, (size_t)(id - path)) : strdup(path), *other = NULL;
    if (!bare)
        return -ENOMEM;
    if (*bare && *bare != '-')
        XD_TRY(reached(p, cwd, bare, &other));
    if (!other)
        return xd_strings_add(ret, arg);
    XD_TRY(xd_buf_add(&all, arg, (size_t)(path - arg)));
    XD_TRY(xd_buf_add_str(&all, other));
    XD_TRY(id ? xd_buf_add_str(&all, id) : 0);
    return xd_strings_add(ret, xd_buf_cstr(&all));
}

int xd_sync_plan_args(const xd_sync_plan *p, char *const *args, size_t count, xd_strings *ret)
{
    xd_autofree char *whole = p->base ? xd_path_join(p->base, p->cwd) : NULL,
                     *cwd = whole ? xd_sync_path_clean(whole) : NULL;
    if (p->base && !cwd)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        XD_TRY(cwd ? add_arg(p, cwd, args[i], ret) : xd_strings_add(ret, args[i]));
    return 0;
}
