/* actors/config_read.c - xd_config_read: finds xd's configuration files and puts together what they, the environment and the command line say. What is valid there is told by
 * config_file (files), config_environ (the environment) and config_values (what counts). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/config_environ.h"
#include "actors/config_file.h"
#include "actors/rootdir.h"
#include "actors/sync_path.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define FILE_LIMIT (1u << 20)
#define PYPROJECT_LIMIT (4u << 20)
#define OWN_NAME "xd.toml"
#define PYPROJECT "pyproject.toml"
#define FILES_MAX 2u /* the project's, the user's */

static const char *const tool_xd[] = { "tool", "xd", NULL };

/* All that is found out for one config. */
typedef struct reading {
    xd_config       *typed; /* as the user's, with the command line read into it */
    char            *work;  /* where the run would take place; NULL = that folder is gone */
    xd_config_file   files[FILES_MAX];
    size_t           count;
    xd_config_values environ, values;
    xd_strings       notes;
    xd_error        *err;
} reading;

static void release(reading *r)
{
    xd_config_free(r->typed);
    free(r->work);
    for (size_t i = 0; i < r->count; i++)
        xd_config_file_release(&r->files[i]);
    xd_config_values_release(&r->environ);
    xd_config_values_release(&r->values);
    xd_strings_release(&r->notes);
}

/* ---- one file ------------------------------------------------------------------------------------------- */

/* As a message calls it: by its name in the current folder, else from the home folder. */
static char *shown_name(const reading *r, const char *path)
{
    const char *home = getenv("HOME");
    char       *name = NULL;
    if (r->work && strcmp(r->work, "/") != 0 && xd_path_is_below(path, r->work))
        return strdup(path + strlen(r->work) + 1);
    if (!home || home[0] != '/' || !home[1] || !xd_path_is_below(path, home))
        return strdup(path);
    return asprintf(&name, "~%s", path + strlen(home)) < 0 ? NULL : name;
}

static bool is_of_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Whether the word stands there by itself: no file with a table tool.xd is without one. */
static bool has_word(xd_bytes text, const char *word)
{
    const size_t   len = strlen(word);
    const uint8_t *at, *end = text.ptr + text.len;
    bool           begins = true; /* nothing of a word stands in front of `text` */
    while ((at = xd_bytes_find(text, word))) {
        const bool alone = at == text.ptr ? begins : !is_of_word(at[-1]);
        if (alone && (at + len == end || !is_of_word(at[len])))
            return true;
        begins = false;
        text = (xd_bytes){ at + len, (size_t)(end - at) - len };
    }
    return false;
}

/* 0 = it is a file; 1 = there is nothing of that name. A pyproject.toml is pytest's to complain of. */
static int look_at(const char *path, const char *shown, bool pyproject, xd_error *err)
{
    struct stat st;
    const int   r = stat(path, &st) < 0 ? -errno : 0;
    if (pyproject)
        return r == 0 && S_ISREG(st.st_mode) ? 0 : 1;
    if (r == -ENOENT && lstat(path, &st) < 0)
        return 1;
    if (r == -ENOTDIR ||
        r == -EACCES) /* a folder above it is closed to this user: another one's home folder */
        return 1;
    if (r == -ENOENT)
        return xd_error_set(err, -EINVAL, "%s: it is a symbolic link that leads nowhere", shown);
    if (r < 0)
        return xd_error_set(err, -EINVAL, "%s: it cannot be read: %s", shown, xd_error_name(r));
    if (!S_ISREG(st.st_mode))
        return xd_error_set(err, -EINVAL, "%s: it is %s, and no file", shown,
                            S_ISDIR(st.st_mode) ? "a folder" : "a device or a pipe");
    return 0;
}

static int read_text(const char *path, const char *shown, size_t limit, xd_buf *text, xd_error *err)
{
    const int r = xd_path_read_file(path, limit, text, NULL);
    if (r == -EFBIG)
        return xd_error_set(err, -EINVAL, "%s: it has more than %zu MiB, which no configuration has", shown,
                            limit >> 20);
    if (r < 0 && r != -ENOMEM)
        return xd_error_set(err, -EINVAL, "%s: it cannot be read: %s", shown, xd_error_name(r));
    return r;
}

/* 1 = it is not there, or has no table of xd's. */
static int add_file(reading *r, const char *path, xd_config_rank rank)
{
    const bool      pyproject = strcmp(xd_path_base(path), PYPROJECT) == 0;
    xd_config_file *f = &r->files[r->count];
    xd_autobuf      text = XD_BUF_INIT;
    *f = (xd_config_file){ .dir = xd_path_dir(path), .shown = shown_name(r, path), .rank = rank };
    int got = f->dir && f->shown ? look_at(path, f->shown, pyproject, r->err) : -ENOMEM;
    if (got == 0)
        got = read_text(path, f->shown, pyproject ? PYPROJECT_LIMIT : FILE_LIMIT, &text, r->err);
    if (got == 0 && pyproject && !has_word(xd_buf_view(&text), "xd"))
        got = 1;
    if (got == 0)
        got = xd_config_file_read(f, (const char *)text.data, text.len, pyproject ? tool_xd : NULL, r->err);
    if (got != 0)
        xd_config_file_release(f);
    else
        r->count++;
    return got;
}

/* ---- where they are ------------------------------------------------------------------------------------- */

static int add_dir(xd_strings *dirs, const char *cwd, const char *text)
{
    xd_autofree char *whole = xd_path_join(cwd, text), *clean = whole ? xd_sync_path_clean(whole) : NULL;
    struct stat       st;
    if (!clean)
        return -ENOMEM;
    if (stat(clean, &st) < 0)
        return 0; /* pytest says what is not there */
    xd_autofree char *dir = S_ISDIR(st.st_mode) ? strdup(clean) : xd_path_dir(clean);
    if (!dir)
        return -ENOMEM;
    for (size_t i = 0; i < dirs->count; i++)
        if (strcmp(dirs->at[i], dir) == 0)
            return 0;
    return xd_strings_add(dirs, dir);
}

static int read_arguments(const reading *r, xd_pytest_args *args, xd_strings *dirs)
{
    xd_autofree char **words = NULL;
    const char        *more = getenv("PYTEST_ADDOPTS");
    const int          split = more ? xd_text_shell_split(more, &words) : -EINVAL;
    if (split < 0 && split != -EINVAL)
        return split;
    if (split == 0)
        XD_TRY(
            xd_pytest_args_add(args, words, xd_words_of((const char *const *)words).n, XD_WORDS_ENVIRONMENT));
    XD_TRY(xd_pytest_args_add(args, r->typed->args.at, r->typed->args.count, XD_WORDS_TYPED));
    for (size_t i = 0; i < args->count; i++)
        XD_TRY(add_dir(dirs, r->work, args->paths[i].text));
    return 0;
}

static int absolute(const reading *r, const char *name, char **ret)
{
    xd_autofree char *whole = name ? xd_path_join(r->work, name) : NULL;
    if (!name)
        return 0;
    return whole && (*ret = xd_sync_path_clean(whole)) ? 0 : -ENOMEM;
}

/* The project's folder, as pytest finds it. *ret_sure: a file there says so; else it is where the run takes place, or above what is to be run. */
static int find_root(const reading *r, char **ret, bool *ret_sure)
{
    xd_pytest_args    args = XD_PYTEST_ARGS_INIT;
    xd_strings        dirs = { 0 };
    xd_rootdir        root = XD_ROOTDIR_INIT;
    char             *none[] = { NULL };
    xd_autofree char *config = NULL, *rootdir = NULL;
    int               got = xd_config_is_pytest(r->typed) ? read_arguments(r, &args, &dirs) : 0;
    if (got == 0)
        got = absolute(r, args.config, &config);
    if (got == 0)
        got = absolute(r, args.rootdir, &rootdir);
    *ret_sure = false;
    if (got == 0)
        got = xd_rootdir_find(&root, r->work, dirs.count ? dirs.at : none, config, rootdir, NULL);
    if (got == 0) {
        *ret_sure = root.file || rootdir;
        *ret = strdup(root.dir);
        xd_rootdir_release(&root);
    } else if (got != -ENOMEM) { /* pytest says what is wrong */
        *ret = strdup(r->work);
        got = 0;
    }
    xd_strings_release(&dirs);
    xd_pytest_args_release(&args);
    return *ret ? got : -ENOMEM;
}

static int note_both(reading *r, const char *pyproject)
{
    xd_config_file other = { .dir = xd_path_dir(pyproject), .shown = shown_name(r, pyproject) };
    xd_autobuf     text = XD_BUF_INIT, line = XD_BUF_INIT;
    xd_toml_node  *table = NULL;
    xd_toml_error  why;
    int            got = other.dir && other.shown ? look_at(pyproject, other.shown, true, NULL) : -ENOMEM;
    if (got == 0)
        got = read_text(pyproject, other.shown, PYPROJECT_LIMIT, &text, NULL);
    if (got == 0 && has_word(xd_buf_view(&text), "xd"))
        got = xd_toml_read((const char *)text.data, text.len, tool_xd, &table, &why);
    if (table)
        got = xd_buf_printf(&line, "%s counts: the table tool.xd of %s is not read",
                            r->files[r->count - 1].shown, other.shown);
    if (table && got == 0)
        got = xd_strings_add(&r->notes, xd_buf_cstr(&line));
    xd_toml_free(table);
    xd_config_file_release(&other);
    return got == -ENOMEM ? got : 0; /* another fault of that file is not xd's to tell: it is not read */
}

static int add_project_file_in(reading *r, const char *dir, bool with_pyproject)
{
    xd_autofree char *own = xd_path_join(dir, OWN_NAME), *pyproject = xd_path_join(dir, PYPROJECT);
    if (!own || !pyproject)
        return -ENOMEM;
    const int got = add_file(r, own, XD_RANK_PROJECT);
    if (got == 0)
        XD_TRY(note_both(r, pyproject));
    return got == 1 && with_pyproject ? add_file(r, pyproject, XD_RANK_PROJECT) : got;
}

/* In the project's folder; where no file says which that is, in the nearest one above that has an xd.toml. */
static int add_project_file(reading *r)
{
    xd_autofree char *root = NULL;
    bool              sure;
    if (!r->work)
        return 0;
    XD_TRY(find_root(r, &root, &sure));
    int got = add_project_file_in(r, root, true);
    while (got == 1 && !sure && xd_path_up(root))
        got = add_project_file_in(r, root, false);
    return XD_MIN(got, 0);
}

static int add_user_file(reading *r)
{
    const char       *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    xd_autofree char *path = NULL;
    if (base && base[0] == '/')
        path = xd_path_join(base, "xd/config.toml");
    else if (home && home[0] == '/')
        path = xd_path_join(home, ".config/xd/config.toml");
    else
        return 0;
    return path ? XD_MIN(add_file(r, path, XD_RANK_USER), 0) : -ENOMEM;
}

/* $XD_CONFIG stands for all of them. */
static int add_named_file(reading *r, const char *name)
{
    xd_autofree char *path = xd_path_join(r->work ? r->work : "/", name);
    if (!path)
        return -ENOMEM;
    if (strcmp(path, "/dev/null") == 0)
        return 0;
    const int got = add_file(r, path, XD_RANK_PROJECT);
    return got == 1 ? xd_error_set(r->err, -EINVAL,
                                   "XD_CONFIG: there is no file %.300s, or no table tool.xd in it", name)
                    : got;
}

static int add_files(reading *r)
{
    const char *name = getenv("XD_CONFIG");
    if (name && *name)
        return add_named_file(r, name);
    XD_TRY(add_project_file(r));
    return add_user_file(r);
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static const xd_config_value *of_environment(const reading *r, const char *option)
{
    for (size_t i = 0; i < r->environ.count; i++)
        if (strcmp(r->environ.at[i].option->shown.name, option) == 0)
            return &r->environ.at[i];
    return NULL;
}

static int find_work(reading *r)
{
    const xd_config_value *given = of_environment(r, "work-dir");
    const char            *dir = r->typed->work_dir ? r->typed->work_dir : given ? given->text : NULL;
    r->work = dir ? realpath(dir, NULL) : getcwd(NULL, 0);
    return !r->work && errno == ENOMEM ? -ENOMEM : 0; /* a folder that is not there is refused later */
}

/* The user's file counts least, then the project's; a profile may stand in either. */
static int add_values(reading *r)
{
    for (size_t i = r->count; i > 0; i--)
        XD_TRY(xd_config_file_values(&r->files[i - 1], &r->values, r->err));
    XD_TRY(xd_config_file_check_profiles(r->files, r->count, r->err));
    const xd_config_value *given = of_environment(r, "profile");
    const bool             typed = r->typed->profile != NULL;
    XD_TRY(xd_config_file_profile(r->files, r->count,
                                  typed   ? r->typed->profile
                                  : given ? given->text
                                          : NULL,
                                  typed ? "option --profile" : "XD_PROFILE", &r->values, r->err));
    for (size_t i = 0; i < r->environ.count; i++) {
        const xd_config_value *v = &r->environ.at[i];
        XD_TRY(xd_config_values_add(&r->values, v->option, v->text, v->origin, v->rank));
    }
    return 0;
}

/* A profile that was chosen in words that were read as pytest's the first time: the runner, which decides that, stood in a file. */
static int check_profile(const reading *r, const xd_config *cfg)
{
    const xd_config_value *given = of_environment(r, "profile");
    const char            *chosen = r->typed->profile ? r->typed->profile : given ? given->text : NULL;
    if (!cfg->profile || (chosen && strcmp(chosen, cfg->profile) == 0))
        return 0;
    return xd_error_set(r->err, -EINVAL,
                        "option --profile: it stands in front of all that is no option of xd: xdctl run "
                        "--profile %.200s ...",
                        cfg->profile);
}

/* -n overrides --tx under xdist, too, which does not say so. */
static int note_overridden(reading *r)
{
    const xd_strings *tx = &r->typed->tx;
    if (r->typed->workers == XD_WORKERS_UNSET || !tx->count)
        return 0;
    xd_autobuf line = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&line, "-n overrides --tx: nothing runs at %.200s", tx->at[0]));
    XD_TRY(tx->count > 1 ? xd_buf_printf(&line, " and %zu more", tx->count - 1) : 0);
    return xd_strings_add(&r->notes, xd_buf_cstr(&line));
}

static int read_all(reading *r, xd_config *cfg, int argc, char *const *argv, char *text)
{
    XD_TRY(xd_config_copy(&r->typed, cfg));
    XD_TRY(xd_config_parse(r->typed, argc, argv, text));
    XD_TRY(note_overridden(r));
    XD_TRY(xd_config_environ(environ, &r->environ, &r->notes, r->err));
    XD_TRY(find_work(r));
    XD_TRY(add_files(r));
    XD_TRY(add_values(r));
    XD_TRY(xd_config_values_apply(&r->values, r->typed, cfg));
    XD_TRY(xd_config_parse(cfg, argc, argv, text));
    XD_TRY(check_profile(r, cfg));
    cfg->profile_read = true;
    for (size_t i = 0; i < r->notes.count; i++)
        XD_TRY(xd_strings_add(&cfg->notes, r->notes.at[i]));
    return xd_config_file_hosts(r->files, r->count, cfg, r->err);
}

int xd_config_read(xd_config *cfg, int argc, char *const *argv, char *err)
{
    xd_error  why = { 0 };
    char      text[XD_TEXT] = "";
    reading   r = { .err = &why };
    const int got = read_all(&r, cfg, argc, argv, text);
    release(&r);
    if (got < 0 && err)
        snprintf(err, XD_TEXT, "%.1000s", text[0] ? text : why.text[0] ? why.text : xd_error_name(got));
    return got;
}
