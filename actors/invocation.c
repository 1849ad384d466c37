/* actors/invocation.c - see invocation.h. */
#include "actors/invocation.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/sync_path.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define CONFTEST_LIMIT (4u << 20)

void xd_invocation_release(xd_invocation *v)
{
    free(v->cwd);
    free(v->root);
    free(v->confcutdir);
    xd_pytest_args_release(&v->args);
    xd_rootdir_release(&v->rootdir);
    for (size_t i = 0; i < v->n_starts; i++) {
        free(v->starts[i].text);
        free(v->starts[i].path);
    }
    free(v->starts);
    xd_strings_release(&v->dirs);
    xd_strings_release(&v->testpaths);
    *v = XD_INVOCATION_INIT;
}

static bool has(const xd_strings *all, const char *text)
{
    for (size_t i = all->count; i-- > 0;)
        if (strcmp(all->at[i], text) == 0)
            return true;
    return false;
}

char *xd_invocation_shown(const xd_invocation *v, const char *file)
{
    return xd_sync_path_from(v->cwd, file);
}

/* ---- arguments --------------------------------------------------------------------------------------------- */

static int add_dir(xd_invocation *v, const char *path)
{
    xd_autofree char *clean = xd_sync_path_clean(path);
    xd_autofree char *dir = !clean ? NULL : xd_path_is_dir(clean) ? strdup(clean) : xd_path_dir(clean);
    if (!dir)
        return -ENOMEM;
    return has(&v->dirs, dir) ? 0 : xd_strings_add(&v->dirs, dir);
}

static int add_start(xd_invocation *v, const xd_path_arg *arg)
{
    xd_autofree char *whole = xd_path_join(v->cwd, arg->text), *real = NULL;
    const int         r = whole ? xd_sync_path_real(whole, &real, NULL) : -ENOMEM;
    if (r < 0)
        return r == -ENOMEM ? r : 0; /* pytest says what is not there */
    xd_start_path *all = realloc(v->starts, (v->n_starts + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    v->starts = all;
    xd_start_path *s = &all[v->n_starts++];
    *s = (xd_start_path){ .text = strdup(arg->text), .path = xd_take(&real), .sure = arg->sure };
    return s->text ? add_dir(v, whole) : -ENOMEM;
}

/* Node ids of one file often stand in a row. */
static int take_words(xd_invocation *v, char *const *words, size_t count, xd_words_from from)
{
    const xd_pytest_args *a = &v->args;
    const size_t          first = a->count;
    XD_TRY(xd_pytest_args_add(&v->args, words, count, from));
    for (size_t i = first; i < a->count; i++)
        if (i == first || strcmp(a->paths[i].text, a->paths[i - 1].text) != 0)
            XD_TRY(add_start(v, &a->paths[i]));
    return 0;
}

/* pytest reads these in front of the command line; a quote that is not closed is its to refuse. */
static int take_environment(xd_invocation *v)
{
    xd_autofree char **words = NULL;
    const char        *text = getenv("PYTEST_ADDOPTS");
    const int          r = text ? xd_text_shell_split(text, &words) : -EINVAL;
    if (r < 0)
        return r == -EINVAL ? 0 : r;
    return take_words(v, words, xd_words_of((const char *const *)words).n, XD_WORDS_ENVIRONMENT);
}

static int absolute(const xd_invocation *v, const char *name, char **ret)
{
    xd_autofree char *whole = name ? xd_path_join(v->cwd, name) : NULL;
    if (!name)
        return 0;
    return whole && (*ret = xd_sync_path_clean(whole)) ? 0 : -ENOMEM;
}

/* What addopts says of rootdir and of the configuration file comes too late for both, as in pytest. */
static int find_rootdir(xd_invocation *v, xd_error *err)
{
    xd_autofree char *config = NULL, *rootdir = NULL;
    char             *none[] = { NULL };
    XD_TRY(absolute(v, v->args.config, &config));
    XD_TRY(absolute(v, v->args.rootdir, &rootdir));
    XD_TRY(xd_rootdir_find(&v->rootdir, v->cwd, v->dirs.count ? v->dirs.at : none, config, rootdir, err));
    XD_TRY(xd_sync_path_real(v->rootdir.dir, &v->root, NULL));
    for (size_t i = 0; i < v->args.overrides.count; i++)
        XD_TRY(xd_inifile_override(&v->rootdir.ini, v->args.overrides.at[i]));
    const xd_strings *words = &v->rootdir.ini.values[XD_INI_ADDOPTS].words;
    return take_words(v, words->at, words->count, XD_WORDS_ADDOPTS);
}

/* testpaths may hold wildcards, and counts where pytest is started in rootdir without a path. */
static int find_testpaths(xd_invocation *v)
{
    const xd_strings *names = &v->rootdir.ini.values[XD_INI_TESTPATHS].words;
    if (v->n_starts || strcmp(v->cwd, v->root) != 0)
        return 0;
    for (size_t i = 0; i < names->count; i++) {
        glob_t            found = { 0 };
        xd_autofree char *pattern = xd_path_join(v->rootdir.dir, names->at[i]);
        if (!pattern)
            return -ENOMEM;
        int r = glob(pattern, 0, NULL, &found) == GLOB_NOSPACE ? -ENOMEM : 0;
        for (size_t k = 0; k < found.gl_pathc && r == 0; k++) {
            xd_autofree char *real = NULL;
            r = xd_sync_path_real(found.gl_pathv[k], &real, NULL);
            if (r == 0)
                r = xd_strings_add(&v->testpaths, real);
            if (r == 0)
                r = add_dir(v, found.gl_pathv[k]);
            r = r == -ENOMEM ? r : 0;
        }
        globfree(&found);
        XD_TRY(r);
    }
    return 0;
}

static int find_confcutdir(xd_invocation *v)
{
    XD_TRY(absolute(v, v->args.confcutdir, &v->confcutdir));
    if (!v->confcutdir)
        v->confcutdir = v->rootdir.file ? xd_path_dir(v->rootdir.file) : strdup(v->rootdir.dir);
    return v->confcutdir ? 0 : -ENOMEM;
}

static int read_pytests(xd_invocation *v, const xd_config *cfg, xd_error *err)
{
    XD_TRY(take_environment(v));
    XD_TRY(take_words(v, cfg->args.at, cfg->args.count, XD_WORDS_TYPED));
    XD_TRY(find_rootdir(v, err));
    XD_TRY(find_testpaths(v));
    return find_confcutdir(v);
}

int xd_invocation_read(xd_invocation *v, const xd_config *cfg, const char *work, xd_error *err)
{
    const int r = xd_sync_path_real(work, &v->cwd, NULL);
    if (r < 0)
        return xd_error_set(err, r == -ENOMEM ? r : -EINVAL, "cannot work in %s: %s", work, xd_error_name(r));
    if (xd_config_is_pytest(cfg))
        return read_pytests(v, cfg, err);
    v->rootdir.dir = strdup(v->cwd);
    v->root = strdup(v->cwd);
    return v->rootdir.dir && v->root ? 0 : -ENOMEM;
}

/* ---- conftest.py ------------------------------------------------------------------------------------------- */

static int read_text(const char *path, xd_buf *text)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return -ENOENT;
    xd_buf_clear(text);
    const int r = xd_path_read_file(path, CONFTEST_LIMIT, text, NULL);
    return r == -ENOMEM || r == 0 ? r : -ENOENT;
}

/* What is looked for. */
typedef struct search {
    const xd_invocation *v;
    const char *const   *names;
    xd_conftest_fn       fn;
    void                *arg;
    xd_strings           told; /* files that have said something */
    xd_buf               text;
} search;

/* 1 = the file assigns something to one of the names. */
static int read_conftest(search *s, const char *dir, const char *file, xd_error *err)
{
    const xd_bytes text = xd_buf_view(&s->text);
    for (size_t i = 0; s->names[i]; i++) {
        xd_placed values = { 0 };
        uint32_t  line = 0;
        int       r = XD_ASSIGNED_NOT;
        if (xd_bytes_find(text, s->names[i]))
            r = xd_literal_assigned(text, s->names[i], &values, &line);
        if (r == XD_ASSIGNED_NOT)
            continue;
        xd_autofree char      *shown = r > 0 ? xd_invocation_shown(s->v, file) : NULL;
        const xd_conftest_said said = { .dir = dir,
                                        .shown = shown,
                                        .name = s->names[i],
                                        .what = (xd_assigned)XD_MAX(r, 0),
                                        .values = &values,
                                        .line = line };
        if (r > 0)
            r = shown ? s->fn(s->arg, &said, err) : -ENOMEM;
        xd_placed_release(&values);
        XD_TRY(r);
        return 1;
    }
    return 0;
}

/* A folder above confcutdir; one beside it counts, as in pytest. */
static bool is_above(const char *dir, const char *confcutdir)
{
    return xd_path_is_below(confcutdir, dir) && strcmp(confcutdir, dir) != 0;
}

static int search_from(search *s, const char *start, xd_error *err)
{
    xd_autofree char *at = strdup(start);
    while (at && !is_above(at, s->v->confcutdir)) {
        xd_autofree char *file = xd_path_join(at, "conftest.py");
        if (!file)
            return -ENOMEM;
        if (has(&s->told, file))
            return 0;
        int r = read_text(file, &s->text);
        if (r == 0)
            r = read_conftest(s, at, file, err);
        if (r > 0)
            return xd_strings_add(&s->told, file);
        if (r < 0 && r != -ENOENT)
            return r;
        if (!xd_path_up(at))
            break;
    }
    return at ? 0 : -ENOMEM;
}

int xd_invocation_conftests(const xd_invocation *v, const char *const *names, xd_conftest_fn fn, void *arg,
                            xd_error *err)
{
    search s = { .v = v, .names = names, .fn = fn, .arg = arg };
    int    r = 0;
    if (!v->confcutdir || v->args.noconftest)
        return 0;
    for (size_t i = 0; i < v->dirs.count && r == 0; i++)
        r = search_from(&s, v->dirs.at[i], err);
    if (r == 0 && !v->dirs.count)
        r = search_from(&s, v->cwd, err);
    xd_strings_release(&s.told);
    xd_buf_release(&s.text);
    return r;
}
