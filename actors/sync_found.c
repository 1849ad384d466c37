/* actors/sync_found.c - see sync_found.h. */
#include "actors/sync_found.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/literal.h"
#include "actors/sync_path.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define CONFTEST_LIMIT (4u << 20)

void xd_sync_found_release(xd_sync_found *f)
{
    free(f->cwd);
    free(f->root);
    xd_pytest_args_release(&f->args);
    xd_rootdir_release(&f->rootdir);
    for (size_t i = 0; i < f->n_roots; i++) {
        free(f->roots[i].path);
        free(f->roots[i].label);
    }
    free(f->roots);
    for (size_t i = 0; i < f->n_starts; i++) {
        free(f->starts[i].text);
        free(f->starts[i].path);
    }
    free(f->starts);
    for (size_t i = 0; i < f->n_globs; i++) {
        free(f->globs[i].dir);
        free(f->globs[i].glob);
    }
    free(f->globs);
    xd_strings_release(&f->dirs);
    xd_strings_release(&f->testpaths);
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

/* ---- arguments --------------------------------------------------------------------------------------------- */

static int add_dir(xd_sync_found *f, const char *path)
{
    xd_autofree char *clean = xd_sync_path_clean(path);
    xd_autofree char *dir = !clean ? NULL : xd_path_is_dir(clean) ? strdup(clean) : xd_path_dir(clean);
    if (!dir)
        return -ENOMEM;
    return has(&f->dirs, dir) ? 0 : xd_strings_add(&f->dirs, dir);
}

static int add_start(xd_sync_found *f, const xd_path_arg *arg)
{
    xd_autofree char *whole = xd_path_join(f->cwd, arg->text), *real = NULL;
    const int         r = whole ? xd_sync_path_real(whole, &real, NULL) : -ENOMEM;
    if (r < 0)
        return r == -ENOMEM ? r : 0; /* pytest says what is not there */
    xd_sync_start *all = realloc(f->starts, (f->n_starts + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    f->starts = all;
    xd_sync_start *s = &all[f->n_starts++];
    *s = (xd_sync_start){ .text = strdup(arg->text), .path = xd_take(&real), .sure = arg->sure };
    return s->text ? add_dir(f, whole) : -ENOMEM;
}

/* Those that were added to f->args since. Node ids of one file often stand in a row. */
static int take_paths(xd_sync_found *f, size_t from)
{
    for (size_t i = from; i < f->args.count; i++)
        if (i == from || strcmp(f->args.paths[i].text, f->args.paths[i - 1].text) != 0)
            XD_TRY(add_start(f, &f->args.paths[i]));
    return 0;
}

static int take_words(xd_sync_found *f, char *const *words, size_t count)
{
    const size_t from = f->args.count;
    XD_TRY(xd_pytest_args_add(&f->args, words, count));
    return take_paths(f, from);
}

/* pytest reads these in front of the command line; a quote that is not closed is its to refuse. */
static int take_environment(xd_sync_found *f)
{
    xd_autofree char **words = NULL;
    const char        *text = getenv("PYTEST_ADDOPTS");
    const int          r = text ? xd_text_shell_split(text, &words) : -EINVAL;
    if (r < 0)
        return r == -EINVAL ? 0 : r;
    return take_words(f, words, xd_words_of((const char *const *)words).n);
}

static int absolute(const xd_sync_found *f, const char *name, char **ret)
{
    xd_autofree char *whole = name ? xd_path_join(f->cwd, name) : NULL;
    if (!name)
        return 0;
    return whole && (*ret = xd_sync_path_clean(whole)) ? 0 : -ENOMEM;
}

static int find_rootdir(xd_sync_found *f, xd_error *err)
{
    xd_autofree char *config = NULL, *rootdir = NULL;
    char             *none[] = { NULL };
    XD_TRY(absolute(f, f->args.config, &config));
    XD_TRY(absolute(f, f->args.rootdir, &rootdir));
    XD_TRY(xd_rootdir_find(&f->rootdir, f->cwd, f->dirs.count ? f->dirs.at : none, config, rootdir, err));
    XD_TRY(xd_sync_path_real(f->rootdir.dir, &f->root, NULL));
    const xd_strings *words = &f->rootdir.ini.values[XD_INI_ADDOPTS];
    return take_words(f, words->at, words->count);
}

/* testpaths may hold wildcards, and counts where pytest is started in rootdir without a path. */
static int find_testpaths(xd_sync_found *f)
{
    const xd_strings *names = &f->rootdir.ini.values[XD_INI_TESTPATHS];
    if (f->n_starts || strcmp(f->cwd, f->root) != 0)
        return 0;
    for (size_t i = 0; i < names->count; i++) {
        glob_t            found = { 0 };
        xd_autofree char *pattern = xd_path_join(f->rootdir.dir, names->at[i]);
        if (!pattern)
            return -ENOMEM;
        int r = glob(pattern, 0, NULL, &found) == GLOB_NOSPACE ? -ENOMEM : 0;
        for (size_t k = 0; k < found.gl_pathc && r == 0; k++) {
            xd_autofree char *real = NULL;
            r = xd_sync_path_real(found.gl_pathv[k], &real, NULL);
            if (r == 0)
                r = xd_strings_add(&f->testpaths, real);
            if (r == 0)
                r = add_dir(f, found.gl_pathv[k]);
            r = r == -ENOMEM ? r : 0;
        }
        globfree(&found);
        XD_TRY(r);
    }
    return 0;
}

/* ---- conftest.py ------------------------------------------------------------------------------------------- */

static int note(xd_sync_found *f, const char *file, uint32_t line, const char *name)
{
    char text[XD_TEXT];
    snprintf(text, sizeof(text),
             "%.700s:%u: %s is not a list of plain strings that could be read without running it: it has no "
             "effect",
             file, (unsigned)line, name);
    return has(&f->notes, text) ? 0 : xd_strings_add(&f->notes, text);
}

/* 1 = the name is assigned there, whatever to. */
static int read_conftest(xd_sync_found *f, const char *dir, const char *file, xd_bytes text, const char *name,
                         xd_error *err)
{
    xd_strings        values = { 0 };
    uint32_t          line = 0;
    char              label[XD_TEXT];
    xd_autofree char *shown = xd_sync_path_from(f->cwd, file);
    int               r = xd_literal_assigned(text, name, &values, &line);
    const int         what = r;
    if (!shown)
        r = -ENOMEM;
    if (what == XD_ASSIGNED_OTHER && shown)
        r = note(f, shown, line, name);
    if (what == XD_ASSIGNED_LIST && shown) {
        snprintf(label, sizeof(label), "%s of %.900s", name, shown);
        r = strcmp(name, "rsyncdirs") == 0 ? add_roots(f, dir, &values, label, err)
                                           : add_globs(f, dir, &values);
    }
    xd_strings_release(&values);
    return r < 0 ? r : what != XD_ASSIGNED_NOT;
}

static int read_text(const char *path, xd_buf *text)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return -ENOENT;
    xd_buf_clear(text);
    const int r = xd_path_read_file(path, CONFTEST_LIMIT, text, NULL);
    return r == -ENOMEM || r == 0 ? r : -ENOENT;
}

/* From the folder upward to rootdir: the nearest conftest.py that says something counts, for each of the two names (as pytest looked them up when
 * it had them). */
static int read_conftests_of(xd_sync_found *f, const char *start, xd_error *err)
{
    static const char *const names[] = { "rsyncdirs", "rsyncignore" };
    bool                     done[XD_ARRAY_LEN(names)] = { false };
    xd_autobuf               text = XD_BUF_INIT;
    xd_autofree char        *at = strdup(start);
    while (at && xd_path_is_below(at, f->rootdir.dir) && !(done[0] && done[1])) {
        xd_autofree char *file = xd_path_join(at, "conftest.py");
        int               r = file ? read_text(file, &text) : -ENOMEM;
        for (size_t i = 0; i < XD_ARRAY_LEN(names) && r >= 0; i++)
            if (!done[i] && xd_bytes_find(xd_buf_view(&text), names[i])) {
                r = read_conftest(f, at, file, xd_buf_view(&text), names[i], err);
                done[i] = r > 0;
            }
        if (r < 0 && r != -ENOENT)
            return r;
        if (!xd_path_up(at))
            break;
    }
    return at ? 0 : -ENOMEM;
}

static int read_conftests(xd_sync_found *f, xd_error *err)
{
    const size_t before = f->n_globs;
    for (size_t i = 0; i < f->dirs.count; i++)
        XD_TRY(read_conftests_of(f, f->dirs.at[i], err));
    if (!f->dirs.count)
        XD_TRY(read_conftests_of(f, f->cwd, err));
    /* One that several folders have above them was read for each. */
    for (size_t i = before; i < f->n_globs; i++)
        for (size_t k = f->n_globs - 1; k > i; k--)
            if (f->globs[i].dir && f->globs[k].dir && strcmp(f->globs[i].dir, f->globs[k].dir) == 0 &&
                strcmp(f->globs[i].glob, f->globs[k].glob) == 0) {
                free(f->globs[k].dir);
                free(f->globs[k].glob);
                memmove(&f->globs[k], &f->globs[k + 1], (--f->n_globs - k) * sizeof(*f->globs));
            }
    return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static int read_configuration(xd_sync_found *f, xd_error *err)
{
    const xd_inifile *ini = &f->rootdir.ini;
    char              label[XD_TEXT];
    if (!f->rootdir.file)
        return 0;
    xd_autofree char *dir = xd_path_dir(f->rootdir.file), *shown = xd_sync_path_from(f->cwd, f->rootdir.file);
    if (!dir || !shown)
        return -ENOMEM;
    if (ini->bad && strncmp(ini->bad, "rsync", 5) == 0)
        return xd_error_set(err, -EINVAL, "%s of %.900s cannot be split into names", ini->bad, shown);
    snprintf(label, sizeof(label), "rsyncdirs of %.900s", shown);
    XD_TRY(add_roots(f, dir, &ini->values[XD_INI_RSYNCDIRS], label, err));
    return add_globs(f, dir, &ini->values[XD_INI_RSYNCIGNORE]);
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
            XD_TRY(xd_sync_found_root(f, f->cwd, value, NULL, err));
    }
    f->rootdir.dir = strdup(f->cwd);
    f->root = strdup(f->cwd);
    return f->rootdir.dir && f->root ? 0 : -ENOMEM;
}

static int read_project(xd_sync_found *f, const xd_config *cfg, xd_error *err)
{
    XD_TRY(take_environment(f));
    XD_TRY(take_words(f, cfg->args.at, cfg->args.count));
    XD_TRY(find_rootdir(f, err));
    XD_TRY(find_testpaths(f));
    XD_TRY(add_roots(f, f->cwd, &f->args.rsyncdir, "--rsyncdir in addopts", err));
    XD_TRY(add_globs(f, NULL, &f->args.rsyncignore));
    XD_TRY(read_configuration(f, err));
    return read_conftests(f, err);
}

int xd_sync_found_read(xd_sync_found *f, const xd_config *cfg, const char *work, xd_error *err)
{
    const int r = xd_sync_path_real(work, &f->cwd, NULL);
    if (r < 0)
        return xd_error_set(err, r == -ENOMEM ? r : -EINVAL, "cannot work in %s: %s", work, xd_error_name(r));
    XD_TRY(add_roots(f, f->cwd, &cfg->rsyncdir, "--rsyncdir", err));
    XD_TRY(add_globs(f, NULL, &cfg->rsyncignore));
    return xd_config_is_pytest(cfg) ? read_project(f, cfg, err) : read_lists(f, cfg, err);
}

/* ---- beside the roots --------------------------------------------------------------------------------------- */

/* A path that leads through symbolic links does so there, too. */
static int add_links_of(xd_sync_found *f, const char *text)
{
    xd_autofree char *whole = xd_path_join(f->cwd, text), *real = NULL;
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
    while (at && xd_path_is_below(at, f->rootdir.dir) && !has(seen, at)) {
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
    if (f->rootdir.file)
        r = xd_sync_found_root(f, "/", f->rootdir.file, NULL, err);
    for (size_t i = 0; i < f->args.files.count && r == 0; i++)
        r = xd_sync_found_root(f, f->cwd, f->args.files.at[i], NULL, err);
    for (size_t i = 0; i < f->args.count && r == 0; i++) /* links on the way to what is to be run */
        if (i == 0 || strcmp(f->args.paths[i].text, f->args.paths[i - 1].text) != 0)
            r = add_links_of(f, f->args.paths[i].text);
    for (size_t i = 0; i < count && r == 0; i++) {
        xd_autofree char *dir = xd_path_dir(f->roots[i].path);
        if (f->roots[i].label)
            r = dir ? add_beside(f, dir, &seen, err) : -ENOMEM;
    }
    for (size_t i = 0; i < f->dirs.count && r == 0; i++)
        r = add_beside(f, f->dirs.at[i], &seen, err);
    if (r == 0 && !f->dirs.count)
        r = add_beside(f, f->cwd, &seen, err);
    xd_strings_release(&seen);
    return r;
}
