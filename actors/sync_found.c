/* actors/sync_found.c - see sync_found.h. */
#include "actors/sync_found.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/sync_path.h"
#include "engine/base/path.h"

void xd_sync_found_release(xd_sync_found *f)
{
    xd_invocation_release(&f->in);
    for (size_t i = 0; i < f->n_roots; i++) {
        free(f->roots[i].path);
        free(f->roots[i].label);
    }
    free(f->roots);
    for (size_t i = 0; i < f->n_globs; i++) {
        free(f->globs[i].dir);
        free(f->globs[i].glob);
    }
    free(f->globs);
    xd_strings_release(&f->notes);
    *f = XD_SYNC_FOUND_INIT;
}

static bool has(const xd_strings *all, const char *text)
{
    for (size_t i = all->count; i-- > 0;)
        if (strcmp(all->at[i], text) == 0)
            return true;
    return false;
}

/* ---- roots ----------------------------------------------------------------------------------------------- */

static int push_root(xd_sync_found *f, const xd_sync_root *root)
{
    xd_sync_root *all = realloc(f->roots, (f->n_roots + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    f->roots = all;
    xd_sync_root *r = &all[f->n_roots++];
    *r = *root;
    r->path = strdup(root->path);
    r->label = root->label ? strdup(root->label) : NULL;
    return r->path && (r->label || !root->label) ? 0 : -ENOMEM;
}

static int add_root(xd_sync_found *f, const xd_sync_root *root)
{
    for (size_t i = 0; i < f->n_roots; i++) {
        xd_sync_root *r = &f->roots[i];
        if (strcmp(r->path, root->path) != 0)
            continue;
        if (r->label || !root->label)
            return 0;
        return (r->label = strdup(root->label)) ? 0 : -ENOMEM;
    }
    return push_root(f, root);
}

static int add_links(xd_sync_found *f, const xd_strings *links)
{
    for (size_t i = 0; i < links->count; i++)
        XD_TRY(add_root(f, &(xd_sync_root){ .path = links->at[i], .link = true }));
    return 0;
}

/* What is there and cannot be brought. */
static const char *unfit(const char *real, const struct stat *st)
{
    if (strcmp(real, "/") == 0)
        return "is the whole file system: name the folders that are needed";
    return S_ISDIR(st->st_mode) || S_ISREG(st->st_mode) ? NULL : "is neither a folder nor a file";
}

int xd_sync_found_root(xd_sync_found *f, const char *dir, const char *text, const char *label, xd_error *err)
{
    xd_autofree char *whole = xd_path_join(dir, text), *real = NULL;
    xd_strings        links = { 0 };
    struct stat       st = { 0 };
    int               r = whole ? xd_sync_path_real(whole, &real, &links) : -ENOMEM;
    if (r == 0 && stat(real, &st) < 0)
        r = -errno;
    const char *bad = r == 0 ? unfit(real, &st) : NULL;
    if (r < 0 && r != -ENOMEM && label)
        r = r == -ENOENT || r == -ENOTDIR
                ? xd_error_set(err, -EINVAL, "%s: there is no '%.200s' in %.400s", label, text, dir)
                : xd_error_set(err, -EINVAL, "%s: '%.200s' in %.400s: %s", label, text, dir,
                               xd_error_name(r));
    else if (r < 0 && r != -ENOMEM)
        r = 0;
    else if (bad)
        r = label ? xd_error_set(err, -EINVAL, "%s: '%.200s' %s", label, text, bad) : 0;
    else if (r == 0)
        r = add_root(f,
                     &(xd_sync_root){ .path = real, .label = (char *)label, .folder = S_ISDIR(st.st_mode) });
    if (r == 0 && real && !bad)
        r = add_links(f, &links);
    xd_strings_release(&links);
    return r;
}

static int add_roots(xd_sync_found *f, const char *dir, const xd_strings *names, const char *label,
                     xd_error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!*names->at[i])
            return xd_error_set(err, -EINVAL, "%s: an empty name is no folder; . is the one it counts from",
                                label);
        XD_TRY(xd_sync_found_root(f, dir, names->at[i], label, err));
    }
    return 0;
}

static int add_globs(xd_sync_found *f, const char *dir, const xd_strings *globs)
{
    xd_autofree char *real = NULL;
    if (dir && globs->count)
        XD_TRY(xd_sync_path_real(dir, &real, NULL));
    for (size_t i = 0; i < globs->count; i++) {
        xd_sync_found_glob *all = realloc(f->globs, (f->n_globs + 1) * sizeof(*all));
        if (!all)
            return -ENOMEM;
        f->globs = all;
        xd_sync_found_glob *g = &all[f->n_globs++];
        /* An absolute one counts from nowhere. */
        const char *from = globs->at[i][0] == '/' ? NULL : real;
        *g = (xd_sync_found_glob){ .dir = from ? strdup(from) : NULL, .glob = strdup(globs->at[i]) };
        if (!g->glob || (from && !g->dir))
            return -ENOMEM;
    }
    return 0;
}

/* ---- conftest.py ------------------------------------------------------------------------------------------- */

static int note(xd_sync_found *f, const xd_conftest_said *said)
{
    char text[XD_TEXT];
    snprintf(
        text, sizeof(text),
        "%.700s:%u: %s is not a list of plain strings, or one string, that could be read without running "
        "it: it has no effect",
        said->shown, (unsigned)said->line, said->name);
    return has(&f->notes, text) ? 0 : xd_strings_add(&f->notes, text);
}

static int take_conftest(void *arg, const xd_conftest_said *said, xd_error *err)
{
    xd_sync_found *f = arg;
    char           label[XD_TEXT];
    if (said->what == XD_ASSIGNED_NONE)
        return 0;
    if (said->what != XD_ASSIGNED_LIST && said->what != XD_ASSIGNED_STRING)
        return note(f, said);
    snprintf(label, sizeof(label), "%s of %.900s", said->name, said->shown);
    return strcmp(said->name, "rsyncdirs") == 0 ? add_roots(f, said->dir, &said->values->words, label, err)
                                                : add_globs(f, said->dir, &said->values->words);
}

static int read_conftests(xd_sync_found *f, xd_error *err)
{
    static const char *const names[][2] = { { "rsyncdirs" }, { "rsyncignore" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        XD_TRY(xd_invocation_conftests(&f->in, names[i], take_conftest, f, err));
    return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

/* One of -o counts from the same folder as one of the file, else from the current one. */
static int read_configuration(xd_sync_found *f, xd_error *err)
{
    const xd_inifile *ini = &f->in.rootdir.ini;
    const char       *file = f->in.rootdir.file;
    char              label[XD_TEXT];
    xd_autofree char *dir = file ? xd_path_dir(file) : strdup(f->in.cwd);
    xd_autofree char *shown = file ? xd_invocation_shown(&f->in, file) : strdup("option -o");
    if (!dir || !shown)
        return -ENOMEM;
    if (ini->bad && strncmp(ini->bad, "rsync", 5) == 0)
        return xd_error_set(err, -EINVAL, "%s of %.900s cannot be split into names", ini->bad, shown);
    snprintf(label, sizeof(label), "rsyncdirs of %.900s", ini->told[XD_INI_RSYNCDIRS] ? "option -o" : shown);
    XD_TRY(add_roots(f, dir, &ini->values[XD_INI_RSYNCDIRS].words, label, err));
    return add_globs(f, dir, &ini->values[XD_INI_RSYNCIGNORE].words);
}

/* The runner of command lines reads lists of them. */
static int read_lists(xd_sync_found *f, const xd_config *cfg, xd_error *err)
{
    for (size_t i = 0; i < cfg->args.count; i++) {
        const char *word = cfg->args.at[i], *value = NULL;
        if (strncmp(word, "--list=", 7) == 0)
            value = word + 7;
        else if (strcmp(word, "--list") == 0 && i + 1 < cfg->args.count)
            value = cfg->args.at[++i];
        if (value && strcmp(value, "-") != 0)
            XD_TRY(xd_sync_found_root(f, f->in.cwd, value, NULL, err));
    }
    return 0;
}

static int read_project(xd_sync_found *f, xd_error *err)
{
    XD_TRY(add_roots(f, f->in.cwd, &f->in.args.rsyncdir, "--rsyncdir in addopts", err));
    XD_TRY(add_globs(f, NULL, &f->in.args.rsyncignore));
    XD_TRY(read_configuration(f, err));
    return read_conftests(f, err);
}

int xd_sync_found_read(xd_sync_found *f, const xd_config *cfg, const char *work, xd_error *err)
{
    XD_TRY(xd_invocation_read(&f->in, cfg, work, err));
    XD_TRY(add_roots(f, f->in.cwd, &cfg->rsyncdir, "--rsyncdir", err));
    XD_TRY(add_globs(f, NULL, &cfg->rsyncignore));
    return xd_config_is_pytest(cfg) ? read_project(f, err) : read_lists(f, cfg, err);
}

/* ---- beside the roots --------------------------------------------------------------------------------------- */

/* A path that leads through symbolic links does so there, too. */
static int add_links_of(xd_sync_found *f, const char *text)
{
    xd_autofree char *whole = xd_path_join(f->in.cwd, text), *real = NULL;
    xd_strings        links = { 0 };
    int               r = whole ? xd_sync_path_real(whole, &real, &links) : -ENOMEM;
    if (r == 0)
        r = add_links(f, &links);
    xd_strings_release(&links);
    return r == -ENOMEM ? r : 0;
}

static int add_beside(xd_sync_found *f, const char *from, xd_strings *seen, xd_error *err)
{
    xd_autofree char *at = strdup(from);
    while (at && xd_path_is_below(at, f->in.rootdir.dir) && !has(seen, at)) {
        XD_TRY(xd_strings_add(seen, at));
        XD_TRY(xd_sync_found_root(f, at, "conftest.py", NULL, err));
        XD_TRY(xd_sync_found_root(f, at, "__init__.py", NULL, err));
        if (!xd_path_up(at))
            break;
    }
    return at ? 0 : -ENOMEM;
}

int xd_sync_found_beside(xd_sync_found *f, xd_error *err)
{
    xd_strings   seen = { 0 };
    const size_t count = f->n_roots;
    int          r = 0;
    if (f->in.rootdir.file)
        r = xd_sync_found_root(f, "/", f->in.rootdir.file, NULL, err);
    for (size_t i = 0; i < f->in.args.files.count && r == 0; i++)
        r = xd_sync_found_root(f, f->in.cwd, f->in.args.files.at[i], NULL, err);
    for (size_t i = 0; i < f->in.args.count && r == 0; i++) /* links on the way to what is to be run */
        if (i == 0 || strcmp(f->in.args.paths[i].text, f->in.args.paths[i - 1].text) != 0)
            r = add_links_of(f, f->in.args.paths[i].text);
    for (size_t i = 0; i < count && r == 0; i++) {
        xd_autofree char *dir = xd_path_dir(f->roots[i].path);
        if (f->roots[i].label)
            r = dir ? add_beside(f, dir, &seen, err) : -ENOMEM;
    }
    for (size_t i = 0; i < f->in.dirs.count && r == 0; i++)
        r = add_beside(f, f->in.dirs.at[i], &seen, err);
    if (r == 0 && !f->in.dirs.count)
        r = add_beside(f, f->in.cwd, &seen, err);
    xd_strings_release(&seen);
    return r;
}
