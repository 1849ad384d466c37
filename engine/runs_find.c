/* engine/runs_find.c - which runs there are, of which project, and which one is meant: xd_run_list and xd_run_find of
 * xd.h. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/journal.h"
#include "engine/runs.h"

#define HEAD_RECORDS 64 /* CONFIG is one of the first */
#define NEWEST_RUNS 50  /* of all projects: looked at for the newest of one */

/* The first CONFIG of a journal, read from its head; views are valid as long as *ret reads no further. cwd: becomes that
 * of RUN_START, malloc'ed; may be NULL. 1 = found, 0 = there is none, < 0 = the journal cannot be opened. */
static int read_head(const char *journal, xd_journal_reader **ret, xd_wire_CONFIG *config, char **cwd)
{
    xd_frame          f;
    xd_wire_RUN_START start;
    XD_TRY(xd_journal_reader_open(ret, journal, NULL));
    xd_journal_reader_look(*ret);
    for (int i = 0; i < HEAD_RECORDS && xd_journal_reader_next(*ret, &f, NULL) == 1; i++) {
        if (f.type == XD_MSG_CONFIG && xd_wire_CONFIG_decode(f.body, f.len, config) == 0)
            return 1;
        if (f.type == XD_MSG_RUN_START && cwd && !*cwd &&
            xd_wire_RUN_START_decode(f.body, f.len, &start) == 0)
            *cwd = xd_bytes_dup(start.cwd);
        if (f.type == XD_MSG_RESULTS)
            break;
    }
    return 0;
}

int xd_runs_option(const char *journal, const char *name, char *ret, size_t size)
{
    xd_auto(xd_journal_reader) *r = NULL;
    xd_wire_CONFIG config;
    xd_wire_PAIR   p;
    int            found = read_head(journal, &r, &config, NULL);
    while (found == 1 && xd_wire_PAIR_next(&config.options, &p) == 1)
        if (xd_bytes_eq_str(p.name, name))
            snprintf(ret, size, "%.*s", (int)XD_MIN(p.value.len, size - 1), (const char *)p.value.ptr);
    return XD_MIN(found, 0);
}

int xd_runs_project(const char *dir, char **ret_project, char **ret_cwd)
{
    xd_autofree char *path = xd_path_join(dir, "journal"), *project = NULL, *cwd = NULL;
    xd_auto(xd_journal_reader) *r = NULL;
    xd_wire_CONFIG config;
    if (!path)
        return -ENOMEM;
    if (read_head(path, &r, &config, &cwd) == 1)
        project = xd_bytes_dup(config.rootdir);
    if (!cwd && !(cwd = strdup("")))
        return -ENOMEM;
    if (!project && !(project = strdup(cwd)))
        return -ENOMEM;
    *ret_project = xd_take(&project);
    *ret_cwd = xd_take(&cwd);
    return 0;
}

/* ---- the project of the current folder ------------------------------------------------------------------ */

typedef struct entry {
    const char *id;
    char       *dir, *project, *cwd; /* owned */
} entry;

static void free_entries(entry *all, int n)
{
    for (int i = 0; i < n; i++) {
        free(all[i].dir);
        free(all[i].project);
        free(all[i].cwd);
    }
    free(all);
}

static bool holds(const char *folder, const char *path)
{
    size_t len = strlen(folder);
    if (len > 1 && folder[len - 1] == '/')
        len--;
    return len && strncmp(folder, path, len) == 0 &&
           (path[len] == 0 || path[len] == '/' || folder[len - 1] == '/');
}

/* The nearest project around the folder; runs that were started in this very folder count too, wherever their tests
 * are. */
static void keep_project(entry *all, int n, const char *here)
{
    const char *nearest = "";
    for (int i = 0; i < n; i++)
        if (holds(all[i].project, here) && strlen(all[i].project) > strlen(nearest))
            nearest = all[i].project;
    for (int i = 0; i < n; i++)
        if (!(nearest[0] && strcmp(all[i].project, nearest) == 0) && strcmp(all[i].cwd, here) != 0)
            all[i].id = NULL;
}

static int list(const xd_folders *where, bool here_only, xd_run_fn fn, void *arg, xd_error *err)
{
    xd_autofree char *folder = NULL, *here = here_only && where->work ? strdup(where->work) : NULL;
    struct dirent   **names = NULL;
    XD_TRY(xd_runs_folder(where, true, &folder, err));
    if (here_only && !here)
        return xd_error_set(err, -ENOENT, "the current directory is gone");
    int n = xd_runs_scan(folder, &names), r = 0;
    if (n < 0)
        return n;
    entry *all = calloc((size_t)n + 1, sizeof(*all));
    for (int i = 0; all && i < n && r == 0; i++) {
        all[i] = (entry){ .id = names[i]->d_name, .dir = xd_path_join(folder, names[i]->d_name) };
        r = !all[i].dir ? -ENOMEM : here ? xd_runs_project(all[i].dir, &all[i].project, &all[i].cwd) : 0;
    }
    if (!all)
        r = -ENOMEM;
    if (r == 0 && here)
        keep_project(all, n, here);
    for (int i = 0; i < n && r == 0; i++)
        if (all[i].id)
            r = fn(arg, all[i].id, all[i].dir, xd_runs_started_us(all[i].id));
    if (all)
        free_entries(all, n);
    xd_runs_scan_free(names, n);
    return r;
}

int xd_runs_newest_here(const xd_folders *where, char **ret_dir)
{
    xd_autofree char *folder = NULL;
    struct dirent   **names = NULL;
    if (!where->work)
        return 0;
    XD_TRY(xd_runs_folder(where, true, &folder, NULL));
    int n = xd_runs_scan(folder, &names), r = XD_MIN(n, 0);
    for (int i = 0; i < XD_MIN(n, NEWEST_RUNS) && r == 0; i++) {
        xd_autofree char *dir = xd_path_join(folder, names[i]->d_name), *project = NULL, *cwd = NULL;
        r = dir ? xd_runs_project(dir, &project, &cwd) : -ENOMEM;
        if (r == 0 && (strcmp(cwd, where->work) == 0 || holds(project, where->work))) {
            *ret_dir = xd_take(&dir);
            r = 1;
        }
    }
    xd_runs_scan_free(names, n);
    return r;
}

static int told(char *err, int r, const xd_error *e)
{
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "cannot read the folder of runs: %.900s",
                 e->text[0] ? e->text : xd_error_name(r));
    return r;
}

static int nowhere(char *err, int r, const xd_error *e)
{
    if (err)
        snprintf(err, XD_TEXT, "%.1000s", e->text[0] ? e->text : xd_error_name(r));
    return r;
}

static int list_of(const xd_config *cfg, bool here_only, xd_run_fn fn, void *arg, char *err)
{
    xd_error   e = { 0 };
    xd_folders where;
    int        r = xd_folders_init(&where, cfg, &e);
    if (r < 0)
        return nowhere(err, r, &e);
    r = told(err, list(&where, here_only, fn, arg, &e), &e);
    xd_folders_release(&where);
    return r;
}

int xd_run_list(const xd_config *cfg, xd_run_fn fn, void *arg, char *err)
{
    return list_of(cfg, false, fn, arg, err);
}

int xd_run_list_here(const xd_config *cfg, xd_run_fn fn, void *arg, char *err)
{
    return list_of(cfg, true, fn, arg, err);
}

/* ---- one of them ---------------------------------------------------------------------------------------- */

typedef struct search {
    const char *begin; /* of the id; NULL = the newest */
    char       *dir;   /* of the first match */
    unsigned    matches;
} search;

static bool has_journal(const char *dir)
{
    xd_autofree char *path = xd_path_join(dir, "journal");
    return path && access(path, F_OK) == 0;
}

static int look(void *arg, const char *id, const char *dir, uint64_t started)
{
    (void)started;
    search *s = arg;
    if (s->begin ? strncmp(id, s->begin, strlen(s->begin)) != 0 : !has_journal(dir))
        return 0;
    if (s->matches++ == 0 && !(s->dir = strdup(dir)))
        return -ENOMEM;
    return s->begin ? 0 : 1;
}

/* By its folder. */
static int named_folder(const xd_config *cfg, const char *which, char **ret_dir, char *err)
{
    xd_error   e = { 0 };
    xd_folders where;
    int        r = xd_folders_init(&where, cfg, &e);
    if (r < 0)
        return nowhere(err, r, &e);
    xd_autofree char *dir = xd_path_join(where.work ? where.work : "", which);
    xd_folders_release(&where);
    if (!dir)
        return -ENOMEM;
    if (has_journal(dir)) {
        *ret_dir = xd_take(&dir);
        return 0;
    }
    if (err)
        snprintf(err, XD_TEXT, "%.900s is not the folder of a run: it has no journal", which);
    return -ENOENT;
}

int xd_run_find(const xd_config *cfg, const char *which, char **ret_dir, char *err)
{
    const bool latest = strcmp(which, "latest") == 0, of_all = strcmp(which, "latest-of-all") == 0;
    search     s = { .begin = latest || of_all ? NULL : which };
    if (strchr(which, '/') || strcmp(which, ".") == 0 || strcmp(which, "..") == 0)
        return named_folder(cfg, which, ret_dir, err);
    int r = !which[0] ? 0 : latest ? xd_run_list_here(cfg, look, &s, err) : xd_run_list(cfg, look, &s, err);
    if (r >= 0 && s.matches == 1) {
        *ret_dir = s.dir;
        return 0;
    }
    free(s.dir);
    if (r < 0)
        return r;
    if (err && s.matches)
        snprintf(err, XD_TEXT, "%u runs begin with '%.64s'; give more of the id", s.matches, which);
    else if (err)
        snprintf(err, XD_TEXT,
                 of_all ? "there is no past run yet"
                 : latest
                     ? "there is no past run of this project yet; `xdctl runs --all` lists those of others"
                     : "there is no run '%.64s'; `xdctl runs --all` lists them",
                 which);
    return s.matches ? -EEXIST : -ENOENT;
}
