/* tools/xdctl/hosts.c - `xdctl hosts check`: a row for each host that a run would use, or JSON. Below the table is said what a run
 * would fail on, and which packages of an interpreter are not those of the one here. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "tools/xdctl/xdctl.h"

enum { SPEC, IDS, REACH, KEY, AGENT, PYTHON, PYTEST, DISK, CPUS, COLUMNS };
static const char *const titles[COLUMNS] = { "SPEC",   "IDS",    "REACH", "KEY", "AGENT",
                                             "PYTHON", "PYTEST", "DISK",  "CPUS" };

enum {
    ERROR = COLUMNS,
    PACKAGES,
    UNCOMPARED,
    WIDTH
};                   /* behind the columns; NULL where nothing is to be said */
#define NAMED_MOST 8 /* packages of one host, without -v */

/* What is printed is printed when all are known: the columns are as wide as they must be. */
typedef struct table {
    char  **cells; /* WIDTH for each row */
    size_t  rows;
    bool    named;   /* some workers have names: else that column is left out */
    bool    verbose; /* all packages are named */
    json_t *json;    /* NULL = a table */
} table;

/* As it may be shown; NULL without memory. */
static char *shown(const char *text)
{
    char *copy = NULL;
    return xd_harmless(text, strlen(text), &copy) == 0 ? copy : NULL;
}

static char *cell(int check, const char *good)
{
    return shown(check == XD_CHECK_GOOD ? good : check == XD_CHECK_BAD ? "FAIL" : "-");
}

static char *number(const char *format_word, double n)
{
    char text[64];
    snprintf(text, sizeof(text), "%.0f%s", n, format_word);
    return strdup(text);
}

static char *room(const xd_host *h)
{
    if (h->disk != XD_CHECK_GOOD)
        return cell(h->disk, "");
    const double gib = (double)h->free_bytes / (1024.0 * 1024.0 * 1024.0);
    return gib >= 1 ? number(" GiB", gib) : number(" MiB", gib * 1024.0);
}

static char *cpus(const xd_host *h)
{
    return h->cpus ? number("", h->cpus) : strdup("-");
}

static const char *release(const char *framework)
{
    const char *blank = framework ? strchr(framework, ' ') : NULL;
    return blank ? blank + 1 : "ok";
}

/* "3.12" of "3.12.1": modules and wheels are made for it. */
static size_t minor_length(const char *version)
{
    const char *dot = strchr(version, '.');
    return dot ? (size_t)(dot - version) + 1 + strcspn(dot + 1, ".") : strlen(version);
}

static bool other_python(const xd_host *h)
{
    const size_t n = h->version && h->version_here ? minor_length(h->version) : 0;
    return n && (n != minor_length(h->version_here) || strncmp(h->version, h->version_here, n) != 0);
}

static void write_package(FILE *out, const xd_package *p)
{
    if (!p->there)
        fprintf(out, "%s missing", p->name);
    else if (p->here)
        fprintf(out, "%s %s (here %s)", p->name, p->there, p->here);
    else
        fprintf(out, "%s %s", p->name, p->there);
}

/* Empty: there is nothing that a user minds. */
static void write_packages(FILE *out, const xd_host *h, bool all)
{
    const char *between = "";
    size_t      named = 0, more = 0;
    if (other_python(h)) {
        fprintf(out, "Python %s (here %s)", h->version, h->version_here);
        between = ", ";
    }
    for (size_t i = 0; i < h->n_packages; i++) {
        const xd_package *p = &h->packages[i];
        if (!p->here && !all)
            break; /* only there, as all behind it */
        if (named == NAMED_MOST && !all) {
            more++;
            continue;
        }
        if (!p->here && (i == 0 || h->packages[i - 1].here))
            fprintf(out, "%sonly there: ", *between ? "; " : "");
        else
            fputs(between, out);
        write_package(out, p);
        between = ", ";
        named++;
    }
    if (more)
        fprintf(out, ", and %zu more (-v names them)", more);
}

/* *ret stays NULL where there is nothing to say. */
static int packages_text(const table *t, const xd_host *h, char **ret)
{
    char  *text = NULL;
    size_t size = 0;
    FILE  *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    write_packages(out, h, t->verbose);
    if (fclose(out) != 0) {
        free(text);
        return -ENOMEM;
    }
    const int r = size ? xd_harmless(text, size, ret) : 0;
    free(text);
    return r;
}

static int add_row(table *t, const xd_host *h)
{
    char **cells = realloc(t->cells, (t->rows + 1) * WIDTH * sizeof(*cells));
    if (!cells)
        return -ENOMEM;
    t->cells = cells;
    char **row = cells + t->rows++ * WIDTH;
    row[SPEC] = shown(h->spec);
    row[IDS] = shown(h->ids ? h->ids : "-");
    t->named = t->named || h->ids;
    row[REACH] = cell(h->reach, "ok");
    row[KEY] = cell(h->key, "ok");
    row[AGENT] = cell(h->agent, "ok");
    row[PYTHON] = cell(h->python, h->version ? h->version : "ok");
    row[PYTEST] = cell(h->pytest, release(h->framework));
    row[DISK] = room(h);
    row[CPUS] = cpus(h);
    row[ERROR] = h->error ? shown(h->error) : NULL;
    row[PACKAGES] = NULL;
    row[UNCOMPARED] = h->packages_error ? shown(h->packages_error) : NULL;
    for (size_t i = 0; i < COLUMNS; i++)
        if (!row[i])
            return -ENOMEM;
    if ((h->error && !row[ERROR]) || (h->packages_error && !row[UNCOMPARED]))
        return -ENOMEM;
    return packages_text(t, h, &row[PACKAGES]);
}

static json_t *checked(int check)
{
    return check == XD_CHECK_NONE ? json_null() : json_boolean(check == XD_CHECK_GOOD);
}

static json_t *text(const char *s)
{
    json_t *j = s ? json_string(s) : NULL; /* NULL: also where it is not UTF-8 */
    return j ? j : json_null();
}

/* "alpha,beta" as a list; null where there is none. */
static json_t *ids(const char *all)
{
    json_t *j = all ? json_array() : NULL;
    for (size_t n; all && j; all += n + (all[n] == ',')) {
        n = strcspn(all, ",");
        if (!n)
            break;
        json_array_append_new(j, json_stringn(all, n));
    }
    return j ? j : json_null();
}

static json_t *count(uint64_t n)
{
    return n ? json_integer((json_int_t)n) : json_null();
}

/* Those of one kind: missing there, other there, only there. */
static json_t *some_packages(const xd_host *h, bool here, bool there)
{
    json_t *all = json_array();
    for (size_t i = 0; all && i < h->n_packages; i++) {
        const xd_package *p = &h->packages[i];
        if (!p->here != here && !p->there != there)
            json_array_append_new(all,
                                  json_pack("{s:s, s:o, s:o, s:b}", "name", p->name, "here", text(p->here),
                                            "there", text(p->there), "plugin", p->plugin));
    }
    return all;
}

/* null where none were compared. */
static json_t *packages(const xd_host *h)
{
    if (!h->version_here)
        return json_null();
    return json_pack("{s:{s:s, s:o}, s:o, s:o, s:o}", "python", "here", h->version_here, "there",
                     text(h->version), "missing", some_packages(h, true, false), "differ",
                     some_packages(h, true, true), "extra", some_packages(h, false, true));
}

static int add_json(const table *t, const xd_host *h)
{
    json_t *j = json_pack(
        "{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o}",
        "spec", text(h->spec), "ok", h->error == NULL, "error", text(h->error), "reach", checked(h->reach),
        "key", checked(h->key), "agent", checked(h->agent), "python", checked(h->python), "pytest",
        checked(h->pytest), "disk", checked(h->disk), "workers", count(h->workers), "cpus", count(h->cpus),
        "memory_bytes", count(h->memory_bytes), "free_bytes", count(h->free_bytes), "host", text(h->host),
        "system", text(h->system), "build_id", text(h->build_id), "folder", text(h->folder), "interpreter",
        text(h->interpreter), "version", text(h->version), "framework", text(h->framework), "ids",
        ids(h->ids), "packages", packages(h), "packages_error", text(h->packages_error));
    return j && json_array_append_new(t->json, j) == 0 ? 0 : -ENOMEM;
}

static int on_host(void *arg, const xd_host *h)
{
    table *t = arg;
    return t->json ? add_json(t, h) : add_row(t, h);
}

/* Columns of a terminal that a text takes; of what is no UTF-8, one for each byte. */
static int columns_of(const char *text)
{
    mbstate_t state = { 0 };
    int       columns = 0;
    while (*text) {
        wchar_t      c;
        const size_t n = mbrtowc(&c, text, MB_LEN_MAX, &state);
        const int    width = n <= MB_LEN_MAX ? wcwidth(c) : 1;
        if (n > MB_LEN_MAX)
            state = (mbstate_t){ 0 };
        columns += width > 0 ? width : 0;
        text += n <= MB_LEN_MAX ? n : 1;
    }
    return columns;
}

/* The last column is one of numbers. */
static void print_row(const table *t, const int *widths, const char *const *cells)
{
    for (size_t c = 0; c < COLUMNS; c++) {
        const int fill = widths[c] - columns_of(cells[c]);
        if (c == IDS && !t->named)
            continue;
        if (c + 1 < COLUMNS)
            printf("%s%*s", cells[c], fill + 2, "");
        else
            printf("%*s%s\n", fill, "", cells[c]);
    }
}

static char *const *row_of(const table *t, size_t r)
{
    return t->cells + r * WIDTH;
}

/* Once, where several have the same reason: it may be one of this host. */
static void print_uncompared(const table *t, size_t r)
{
    const char *why = row_of(t, r)[UNCOMPARED];
    size_t      more = 0;
    for (size_t i = 0; i < t->rows; i++) {
        const char *other = row_of(t, i)[UNCOMPARED];
        const bool  same = i != r && other && strcmp(other, why) == 0;
        if (same && i < r)
            return;
        more += same;
    }
    printf("%s", row_of(t, r)[SPEC]);
    if (more)
        printf(" and %zu more", more);
    printf(": packages are not compared with those here: %s\n", why);
}

static void print_rows(const table *t)
{
    int widths[COLUMNS];
    for (size_t c = 0; c < COLUMNS; c++) {
        widths[c] = columns_of(titles[c]);
        for (size_t r = 0; r < t->rows; r++) {
            const int n = columns_of(row_of(t, r)[c]);
            widths[c] = n > widths[c] ? n : widths[c];
        }
    }
    print_row(t, widths, titles);
    for (size_t r = 0; r < t->rows; r++)
        print_row(t, widths, (const char *const *)row_of(t, r));
    for (size_t r = 0; r < t->rows; r++)
        if (row_of(t, r)[ERROR])
            printf("%s: %s\n", row_of(t, r)[SPEC], row_of(t, r)[ERROR]);
    for (size_t r = 0; r < t->rows; r++) {
        if (row_of(t, r)[PACKAGES])
            printf("%s: packages differ from here: %s\n", row_of(t, r)[SPEC], row_of(t, r)[PACKAGES]);
        if (row_of(t, r)[UNCOMPARED])
            print_uncompared(t, r);
    }
}

/* Texts are UTF-8, whatever the user's locale is. */
static void print_table(const table *t)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = NULL;
    if (utf8)
        before = uselocale(utf8);
    print_rows(t);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
}

static void release_table(table *t)
{
    for (size_t i = 0; i < t->rows * WIDTH; i++)
        free(t->cells[i]);
    free(t->cells);
    json_decref(t->json);
}

static int check(const xd_config *cfg, bool as_json, bool verbose)
{
    char  err[XD_TEXT] = "";
    table t = { .verbose = verbose, .json = as_json ? json_array() : NULL };
    int   r = as_json && !t.json ? -ENOMEM : xd_hosts_check(cfg, on_host, &t, err);
    int   code = r == 0   ? XD_EXIT_OK
                 : r == 1 ? XD_EXIT_INFRASTRUCTURE
                          : xdctl_fail(r == -EINVAL   ? XD_EXIT_USAGE
                                       : r == -ENOMEM ? XD_EXIT_INTERNAL
                                                      : XD_EXIT_INFRASTRUCTURE,
                                     "%s", err[0] ? err : strerror(-r));
    if (r >= 0 && as_json) {
        if (json_dumpf(t.json, stdout, JSON_INDENT(1)) < 0)
            code = XD_EXIT_INTERNAL;
        putchar('\n');
    } else if (r >= 0) {
        print_table(&t);
    }
    release_table(&t);
    return code;
}

/* Of our own, from any place: none of xd's options is called so. */
static bool take_flag(int *argc, char **argv, const char *name, const char *other)
{
    int kept = 2;
    for (int i = 2; i < *argc; i++)
        if (strcmp(argv[i], name) != 0 && strcmp(argv[i], other) != 0)
            argv[kept++] = argv[i];
    const bool found = kept < *argc;
    *argc = kept;
    return found;
}

int xdctl_hosts(int argc, char **argv)
{
    xd_config *cfg = NULL;
    bool       json, verbose;
    int        code;
    if (argc > 1 && (xdctl_is_help(argv[1]) || (argc > 2 && xdctl_is_help(argv[2])))) {
        puts("usage: xdctl hosts check [--json] [-v] [OPTION ...]\n\n"
             "Looks at the hosts that a run with these options would use, all at once: are they reached, is "
             "their key\n"
             "known, does an agent start, are there python and pytest, is there room, how many processors.\n"
             "Below the table it names the packages there that are not those of the interpreter here: a "
             "note, no "
             "failure.\n"
             "Takes the options of `xdctl run`, of which --hosts, --tx, --python, --agent and the folders "
             "have an effect.\n"
             "Exit code: 0 all can be used, 6 one cannot.\n"
             "  --json               print one JSON array\n"
             "  -v, --verbose        name all packages that differ, also those that are only there");
        return 0;
    }
    if (argc > 1 && argv[1][0] != '-' && strcmp(argv[1], "check") != 0)
        return xdctl_fail(XD_EXIT_USAGE,
                          "hosts: there is no '%s': xdctl hosts check [--hosts FILE] [--tx SPEC]", argv[1]);
    if (argc < 2 || strcmp(argv[1], "check") != 0)
        return xdctl_fail(XD_EXIT_USAGE,
                          "hosts: what to do is missing: xdctl hosts check [--hosts FILE] [--tx SPEC]");
    json = take_flag(&argc, argv, "--json", "--json");
    verbose = take_flag(&argc, argv, "-v", "--verbose");
    code = xdctl_read_config(&cfg, argc - 2, argv + 2);
    if (code == 0)
        code = check(cfg, json, verbose);
    xd_config_free(cfg);
    return code;
}
