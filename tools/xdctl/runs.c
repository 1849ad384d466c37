/* tools/xdctl/runs.c - `xdctl runs` and `xdctl show --json`: what runs there are, as a table or as JSON. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

static const char *text_of(json_t *run, const char *key)
{
    const char *text = json_string_value(json_object_get(run, key));
    return text ? text : "";
}

static void put(const char *text)
{
    xdctl_put(stdout, text, strlen(text));
}

/* "exit 1", or why there is none. */
static void result_text(json_t *run, char *to, size_t size)
{
    static const char *const words[] = { "passed", "failed", "interrupted",    "internal error",
                                         "usage",  "none",   "infrastructure", "incomplete" };
    json_t                  *code = json_object_get(run, "exit_code");
    const json_int_t         n = json_integer_value(code);
    if (!json_is_integer(code))
        snprintf(to, size, "%s", text_of(run, "state"));
    else if (n >= 0 && n < (json_int_t)(sizeof(words) / sizeof(words[0])))
        snprintf(to, size, "%s", words[n]);
    else
        snprintf(to, size, "exit %lld", (long long)n);
}

static void put_counts(json_t *tests)
{
    const char *name;
    json_t     *n;
    const char *comma = "";
    json_object_foreach(tests, name, n)
    {
        if (strcmp(name, "collected") == 0 || json_integer_value(n) == 0)
            continue;
        printf("%s%lld ", comma, (long long)json_integer_value(n));
        put(name); /* a plugin may have made it */
        comma = ", ";
    }
    if (!comma[0])
        fputs("no tests", stdout);
}

static void put_run(json_t *run, uint64_t started_us)
{
    time_t    seconds = (time_t)(started_us / 1000000);
    struct tm tm;
    char      when[32] = "", result[32], duration[32] = "-";
    json_t   *took = json_object_get(run, "duration");
    if (localtime_r(&seconds, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    result_text(run, result, sizeof(result));
    if (json_is_real(took))
        snprintf(duration, sizeof(duration), "%.2fs", json_real_value(took));
    printf("%s  %s  %-14s  %9s  ", text_of(run, "id"), when, result, duration);
    put(text_of(run, "project"));
    fputs("  ", stdout);
    put_counts(json_object_get(run, "tests"));
    putchar('\n');
}

typedef struct listing {
    json_t *all; /* with --json */
} listing;

/* The run as JSON; one that cannot be read has its id, folder and the reason. NULL without memory. */
static json_t *run_of(const char *id, const char *dir)
{
    char    err[XD_TEXT] = "", *text = NULL;
    json_t *run = NULL;
    if (xd_run_describe(dir, &text, err) == 0)
        run = json_loads(text, 0, NULL);
    free(text);
    return run ? run
               : json_pack("{s:s, s:s, s:s, s:s, s:n, s:n}", "id", id, "dir", dir, "state", "unreadable",
                           "reason", err, "exit_code", "duration");
}

static int on_run(void *arg, const char *id, const char *dir, uint64_t started_us)
{
    listing *l = arg;
    json_t  *run = run_of(id, dir);
    if (!run)
        return -ENOMEM;
    if (l->all)
        return json_array_append_new(l->all, run) < 0 ? -ENOMEM : 0;
    put_run(run, started_us);
    json_decref(run);
    return ferror(stdout) ? -EIO : 0;
}

static int put_json(json_t *value)
{
    int r = json_dumpf(value, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) < 0 ? -EIO : 0;
    putchar('\n');
    return r;
}

int xdctl_runs(int argc, char **argv)
{
    int               all = 0, json = 0;
    xdctl_where       where = { 0 };
    struct poptOption table[] = { XDCTL_WHERE(where),
                                  { "all", 0, POPT_ARG_NONE, &all, 0, "list the runs of all projects", NULL },
                                  { "json", 0, POPT_ARG_NONE, &json, 0, "print a JSON array with all details",
                                    NULL },
                                  POPT_TABLEEND };
    poptContext       ctx;
    const char       *words[1];
    int               bad = xdctl_read_options(
                      &ctx, argc, argv, table,
                      "[OPTION ...]\n\nLists the runs of this project that are kept, newest first: id, start, "
                                    "result, duration, project, counts.\n",
                      0, words, NULL);
    poptFreeContext(ctx);
    if (!bad && (bad = xdctl_where_enter(&where)) != 0)
        bad++;
    if (bad) {
        xdctl_where_release(&where);
        return bad - 1;
    }
    listing l = { .all = json ? json_array() : NULL };
    char    err[XD_TEXT] = "";
    int     r = json && !l.all ? -ENOMEM
                : all          ? xd_run_list(where.cfg, on_run, &l, err)
                               : xd_run_list_here(where.cfg, on_run, &l, err);
    if (r == 0 && json)
        r = put_json(l.all);
    json_decref(l.all);
    xdctl_where_release(&where);
    return r < 0 ? xdctl_fail(XD_EXIT_INTERNAL, "%s", err[0] ? err : strerror(-r)) : 0;
}

/* ---- show --json ---------------------------------------------------------------------------------------- */

static int is_good(const char *outcome)
{
    return strcmp(outcome, "passed") == 0 || strcmp(outcome, "skipped") == 0 ||
           strcmp(outcome, "xfailed") == 0 || strcmp(outcome, "xpassed") == 0;
}

/* The "test" events of the run's JSON lines, without that word. */
static int add_tests(json_t *to, FILE *lines, int failed)
{
    char   *line = NULL;
    size_t  cap = 0;
    ssize_t n;
    int     r = 0;
    while (r == 0 && (n = getline(&line, &cap, lines)) > 0) {
        json_t     *event = json_loadb(line, (size_t)n, 0, NULL);
        const char *outcome = text_of(event, "outcome");
        if (strcmp(text_of(event, "event"), "test") == 0 && !(failed && is_good(outcome))) {
            json_object_del(event, "event");
            r = json_array_append(to, event) < 0 ? -ENOMEM : 0;
        }
        json_decref(event);
    }
    free(line);
    return r;
}

static int load_tests(const char *dir, json_t *to, int failed, int *ret_exit, char *err)
{
    int fd = memfd_create("xdctl-show", MFD_CLOEXEC), r;
    if (fd < 0)
        return -errno;
    *ret_exit = r = xd_run_render(dir, "jsonl", NULL, 0, fd, err);
    FILE *lines = r >= 0 && lseek(fd, 0, SEEK_SET) == 0 ? fdopen(fd, "r") : NULL;
    if (!lines) {
        r = r < 0 ? r : -errno;
        close(fd);
        return r;
    }
    r = add_tests(to, lines, failed);
    fclose(lines);
    return r;
}

int xdctl_show_json(const xd_config *where, const char *which, int failed, int *ret_exit)
{
    char    err[XD_TEXT] = "", *dir = NULL, *text = NULL;
    json_t *tests = json_array(), *run = NULL;
    int     r = xd_run_find(where, which, &dir, err);
    if (r < 0) {
        json_decref(tests);
        return xdctl_fail(XD_EXIT_USAGE, "%s", err);
    }
    r = xd_run_describe(dir, &text, err);
    if (r == 0)
        r = (run = json_loads(text, 0, NULL)) && tests ? load_tests(dir, tests, failed, ret_exit, err)
                                                       : -ENOMEM;
    if (r == 0 && (json_object_set(run, "results", tests) < 0))
        r = -ENOMEM;
    if (r == 0)
        r = put_json(run);
    json_decref(run);
    json_decref(tests);
    free(text);
    free(dir);
    if (r < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "%s", err[0] ? err : strerror(-r));
    return err[0] ? xdctl_fail(XD_EXIT_INCOMPLETE, "%s", err) : 0;
}
