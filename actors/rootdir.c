/* actors/rootdir.c - see rootdir.h. */
#include "actors/rootdir.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/path.h"

#define INI_LIMIT (4u << 20)

/* ---- paths ---------------------------------------------------------------------------------------------- */

bool xd_path_is_below(const char *path, const char *dir)
{
    const size_t len = strlen(dir);
    if (strcmp(dir, ".") == 0)
        return path[0] != '/';
    if (strcmp(dir, "/") == 0)
        return path[0] == '/';
    return strncmp(path, dir, len) == 0 && (!path[len] || path[len] == '/');
}

void xd_path_common(char *path, const char *other)
{
    while (!xd_path_is_below(other, path)) {
        char *slash = strrchr(path, '/');
        slash[slash == path] = 0;
    }
}

/* ---- arguments -------------------------------------------------------------------------------------------- */

/* Options of pytest whose value is the next word, when it is not in the same one. */
static const char *const with_value[] = {
    "-k", "-m", "-p", "-r", "-W", "--assert", "--basetemp", "--capture", "--code-highlight", "--color",
    "--deselect", "--doctest-glob", "--doctest-report", "--durations", "--durations-min", "--ignore",
    "--ignore-glob", "--import-mode", "--junit-prefix", "--junit-xml", "--junitprefix", "--junitxml",
    "--last-failed-no-failures", "--lfnf", "--log-auto-indent", "--log-cli-date-format", "--log-cli-format",
    "--log-cli-level", "--log-date-format", "--log-disable", "--log-file", "--log-file-date-format",
    "--log-file-format", "--log-file-level", "--log-file-mode", "--log-format", "--log-level",
    "--max-warnings", "--maxfail", "--pastebin", "--pdbcls", "--pythonwarnings", "--show-capture", "--tb",
    "--verbosity",
    /* xdist's, which are taken where pytest has read them (settings.c), or say nothing here */
    "--maxschedchunk", "--ramp"
};

/* Those without one, behind which a path can stand: what else begins with two dashes may be a plugin's, and take the next word. */
static const char *const without_value[] = { "--cache-clear",
                                             "--co",
                                             "--collect-only",
                                             "--collect-in-virtualenv",
                                             "--continue-on-collection-errors",
                                             "--debug",
                                             "--disable-pytest-warnings",
                                             "--disable-warnings",
                                             "--doctest-continue-on-failure",
                                             "--doctest-ignore-import-errors",
                                             "--doctest-modules",
                                             "--exitfirst",
                                             "--failed-first",
                                             "--ff",
                                             "--fixtures",
                                             "--fixtures-per-test",
                                             "--full-trace",
                                             "--funcargs",
                                             "--force-short-summary",
                                             "--keep-duplicates",
                                             "--last-failed",
                                             "--lf",
                                             "--loadscope-reorder",
                                             "--looponfail",
                                             "--markers",
                                             "--new-first",
                                             "--nf",
                                             "--no-fold-skipped",
                                             "--no-header",
                                             "--no-loadscope-reorder",
                                             "--no-showlocals",
                                             "--no-summary",
                                             "--noconftest",
                                             "--pdb",
                                             "--pyargs",
                                             "--quiet",
                                             "--runxfail",
                                             "--setup-only",
                                             "--setup-plan",
                                             "--setup-show",
                                             "--setuponly",
                                             "--setupplan",
                                             "--setupshow",
                                             "--showlocals",
                                             "--stepwise",
                                             "--stepwise-reset",
                                             "--stepwise-skip",
                                             "--strict",
                                             "--strict-config",
                                             "--strict-markers",
                                             "--sw",
                                             "--sw-reset",
                                             "--sw-skip",
                                             "--trace",
                                             "--trace-config",
                                             "--verbose",
                                             "--xfail-tb" };

static bool is_one_of(const char *word, const char *const *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, all[i]) == 0)
            return true;
    return false;
}

/* NULL = the word is not this option; else its value, which may stand in the next word (*i moves on), "" where it is missing. */
static const char *value_of(const char *option, char *const *words, size_t count, size_t *i)
{
    const size_t len = strlen(option);
    const char  *word = words[*i];
    if (strncmp(word, option, len) != 0)
        return NULL;
    if (!word[len])
        return *i + 1 < count && words[*i + 1] ? words[++*i] : "";
    if (option[1] == '-')
        return word[len] == '=' ? word + len + 1 : NULL;
    return word + len + (word[len] == '=');
}

static int replace(char **at, const char *value)
{
    free(*at);
    *at = *value ? strdup(value) : NULL;
    return *value && !*at ? -ENOMEM : 0;
}

static int add_dist(xd_pytest_args *a, const char *name, const char *value, xd_words_from from, size_t word)
{
    xd_dist_option *all = realloc(a->dist, (a->n_dist + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    a->dist = all;
    all[a->n_dist] = (xd_dist_option){ .name = name, .value = strdup(value), .from = from, .word = word };
    return all[a->n_dist].value ? (a->n_dist++, 0) : -ENOMEM;
}

/* 1 = it was one of xdist's. */
static int take_dist(xd_pytest_args *a, char *const *words, size_t count, size_t *i, xd_words_from from)
{
    static const struct {
        const char *option, *name;
    } table[] = { { "--tx", "tx" },
                  { "--px", "px" },
                  { "--dist", "dist" },
                  { "-n", "numprocesses" },
                  { "--numprocesses", "numprocesses" },
                  { "--maxprocesses", "maxprocesses" },
                  { "--max-worker-restart", "max-worker-restart" },
                  { "--testrunuid", "testrunuid" } };
    if (strcmp(words[*i], "-d") == 0) {
        XD_TRY(add_dist(a, "d", "1", from, *i));
        return 1;
    }
    for (size_t k = 0; k < XD_ARRAY_LEN(table); k++) {
        const char *value = value_of(table[k].option, words, count, i);
        if (!value)
            continue;
        XD_TRY(add_dist(a, table[k].name, value, from, *i));
        return 1;
    }
    return 0;
}

/* 1 = it was one whose value counts here. */
static int take_option(xd_pytest_args *a, char *const *words, size_t count, size_t *i)
{
    const char *v;
    if ((v = value_of("-c", words, count, i)) || (v = value_of("--config-file", words, count, i)))
        XD_TRY(replace(&a->config, v));
    else if ((v = value_of("--rootdir", words, count, i)))
        XD_TRY(replace(&a->rootdir, v));
    else if ((v = value_of("--confcutdir", words, count, i)))
        XD_TRY(replace(&a->confcutdir, v));
    else if ((v = value_of("-o", words, count, i)) || (v = value_of("--override-ini", words, count, i)))
        XD_TRY(xd_strings_add(&a->overrides, v));
    else if ((v = value_of("--rsyncdir", words, count, i)))
        XD_TRY(xd_strings_add(&a->rsyncdir, v));
    else if ((v = value_of("--rsyncignore", words, count, i)))
        XD_TRY(xd_strings_add(&a->rsyncignore, v));
    return v != NULL;
}

static int add_path(xd_pytest_args *a, const char *word, bool sure)
{
    const char  *id = strstr(word, "::");
    xd_path_arg *paths = realloc(a->paths, (a->count + 1) * sizeof(*paths));
    if (!paths)
        return -ENOMEM;
    a->paths = paths;
    paths[a->count] =
        (xd_path_arg){ .text = id ? strndup(word, (size_t)(id - word)) : strdup(word), .sure = sure };
    return paths[a->count].text ? (a->count++, 0) : -ENOMEM;
}

int xd_pytest_args_add(xd_pytest_args *a, char *const *words, size_t count, xd_words_from from)
{
    bool options = true, sure = true;
    for (size_t i = 0; i < count; i++) {
        const char *word = words[i];
        const bool  after = sure; /* of the word before */
        sure = true;
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (!options || word[0] != '-' || !word[1]) {
            XD_TRY(word[0] == '@' ? xd_strings_add(&a->files, word + 1) : add_path(a, word, after));
        } else if (is_one_of(word, with_value, XD_ARRAY_LEN(with_value))) {
            i++;
        } else {
            int r = take_dist(a, words, count, &i, from);
            if (r == 0)
                r = take_option(a, words, count, &i);
            XD_TRY(r);
            a->noconftest |= strcmp(word, "--noconftest") == 0;
            sure = r || word[1] != '-' || strchr(word, '=') ||
                   is_one_of(word, without_value, XD_ARRAY_LEN(without_value));
        }
    }
    return 0;
}

void xd_pytest_args_release(xd_pytest_args *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->paths[i].text);
    free(a->paths);
    free(a->config);
    free(a->rootdir);
    free(a->confcutdir);
    for (size_t i = 0; i < a->n_dist; i++)
        free(a->dist[i].value);
    free(a->dist);
    xd_strings_release(&a->overrides);
    xd_strings_release(&a->files);
    xd_strings_release(&a->rsyncdir);
    xd_strings_release(&a->rsyncignore);
    *a = XD_PYTEST_ARGS_INIT;
}

/* ---- rootdir ---------------------------------------------------------------------------------------------- */

void xd_rootdir_release(xd_rootdir *r)
{
    free(r->dir);
    free(r->file);
    xd_inifile_release(&r->ini);
    *r = XD_ROOTDIR_INIT;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int set(xd_rootdir *r, const char *dir, const char *file)
{
    char *d = strdup(dir), *f = file ? strdup(file) : NULL;
    free(r->dir);
    free(r->file);
    r->dir = d;
    r->file = f;
    return !d || (file && !f) ? -ENOMEM : 0;
}

/* A file that cannot be read does not count: pytest will say why. */
static int read_ini(xd_inifile *ini, const char *path, xd_error *err)
{
    xd_autobuf text = XD_BUF_INIT;
    const int  r = xd_path_read_file(path, INI_LIMIT, &text, NULL);
    xd_inifile_release(ini);
    if (r == -EFBIG)
        return xd_error_set(err, -EINVAL, "the configuration file %s is larger than 4 MiB", path);
    if (r == -ENOMEM)
        return r;
    return r < 0 ? 0 : xd_inifile_read(ini, xd_path_base(path), xd_buf_view(&text));
}

/* From `dir` upward: the first folder with a configuration file that counts. 1 = found. pyproject (may hold one already): the first without a table
 * of pytest's. */
static int find_ini(xd_rootdir *r, const char *dir, char **pyproject, xd_error *err)
{
    static const char *const names[] = { "pytest.toml",    ".pytest.toml", "pytest.ini", ".pytest.ini",
                                         "pyproject.toml", "tox.ini",      "setup.cfg" };
    xd_autofree char        *at = strdup(dir);
    if (!at)
        return -ENOMEM;
    do {
        for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
            xd_autofree char *path = xd_path_join(at, names[i]);
            if (!path)
                return -ENOMEM;
            if (!is_file(path))
                continue;
            XD_TRY(read_ini(&r->ini, path, err));
            if (r->ini.counts)
                return set(r, at, path) < 0 ? -ENOMEM : 1;
            if (strcmp(names[i], "pyproject.toml") == 0 && !*pyproject)
                *pyproject = xd_take(&path);
        }
    } while (xd_path_up(at));
    return 0;
}

static int find_ini_from(xd_rootdir *r, char *const *dirs, xd_error *err)
{
    xd_autofree char *pyproject = NULL;
    int               got = 0;
    for (size_t i = 0; dirs[i] && got == 0; i++)
        got = find_ini(r, dirs[i], &pyproject, err);
    if (got != 0 || !pyproject)
        return got;
    xd_autofree char *dir = xd_path_dir(pyproject);
    return !dir || set(r, dir, pyproject) < 0 ? -ENOMEM : 1;
}

static int find_setup(xd_rootdir *r, const char *dir)
{
    xd_autofree char *at = strdup(dir);
    if (!at)
        return -ENOMEM;
    do {
        xd_autofree char *path = xd_path_join(at, "setup.py");
        if (!path)
            return -ENOMEM;
        if (is_file(path))
            return set(r, at, path) < 0 ? -ENOMEM : 1;
    } while (xd_path_up(at));
    return 0;
}

/* Without -c. */
static int find(xd_rootdir *r, const char *cwd, char *const *dirs, const char *rootdir, xd_error *err)
{
    xd_autofree char *ancestor = strdup(dirs[0] ? dirs[0] : cwd);
    if (!ancestor)
        return -ENOMEM;
    for (size_t i = 0; dirs[i]; i++)
        xd_path_common(ancestor, dirs[i]);
    char *one[] = { ancestor, NULL };
    int   got = find_ini_from(r, one, err);
    if (got == 0 && !rootdir)
        got = find_setup(r, ancestor);
    if (got == 0 && !rootdir && dirs[0] && dirs[1])
        got = find_ini_from(r, dirs, err);
    if (got != 0 || rootdir)
        return XD_MIN(got, 0);
    xd_autofree char *both = strdup(cwd);
    if (!both)
        return -ENOMEM;
    xd_path_common(both, ancestor);
    return set(r, strcmp(both, "/") == 0 ? ancestor : both, NULL);
}

int xd_rootdir_find(xd_rootdir *ret, const char *cwd, char *const *dirs, const char *config,
                    const char *rootdir, xd_error *err)
{
    xd_rootdir r = XD_ROOTDIR_INIT;
    int        got = 0;
    if (config && !is_file(config))
        return xd_error_set(err, -EINVAL, "option -c: there is no file %s", config);
    if (rootdir && !xd_path_is_dir(rootdir))
        return xd_error_set(err, -EINVAL, "option --rootdir: there is no folder %s", rootdir);
    if (config) {
        xd_autofree char *dir = xd_path_dir(config);
        got = dir ? set(&r, dir, config) : -ENOMEM;
        got = got < 0 ? got : read_ini(&r.ini, config, err);
    } else {
        got = find(&r, cwd, dirs, rootdir, err);
    }
    if (got == 0 && rootdir) {
        free(r.dir);
        r.dir = strdup(rootdir);
        got = r.dir ? 0 : -ENOMEM;
    }
    if (got < 0)
        xd_rootdir_release(&r);
    else
        *ret = r;
    return got;
}
