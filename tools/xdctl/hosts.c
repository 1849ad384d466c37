/* tools/xdctl/hosts.c - `xdctl hosts check`: a row for each host that a run would use, or JSON. */
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

/* What is printed is printed when all are known: the columns are as wide as they must be. */
typedef struct table {
    char  **cells; /* COLUMNS for each row, then its error, or NULL */
    size_t  rows;
    bool    named; /* some workers have names: else that column is left out */
    json_t *json;  /* NULL = a table */
} table;

static char *cell(int check, const char *good)
{
    return strdup(check == XD_CHECK_GOOD ? good : check == XD_CHECK_BAD ? "FAIL" : "-");
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

static int add_row(table *t, const xd_host *h)
{
    const size_t width = COLUMNS + 1;
    char       **cells = realloc(t->cells, (t->rows + 1) * width * sizeof(*cells));
    if (!cells)
        return -ENOMEM;
    t->cells = cells;
    char **row = cells + t->rows++ * width;
    row[SPEC] = strdup(h->spec);
    row[IDS] = strdup(h->ids ? h->ids : "-");
    t->named = t->named || h->ids;
    row[REACH] = cell(h->reach, "ok");
    row[KEY] = cell(h->key, "ok");
    row[AGENT] = cell(h->agent, "ok");
    row[PYTHON] = cell(h->python, h->version ? h->version : "ok");
    row[PYTEST] = cell(h->pytest, release(h->framework));
    row[DISK] = room(h);
    row[CPUS] = cpus(h);
    row[COLUMNS] = h->error ? strdup(h->error) : NULL;
    for (size_t i = 0; i < COLUMNS; i++)
        if (!row[i])
            return -ENOMEM;
    return h->error && !row[COLUMNS] ? -ENOMEM : 0;
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

static int add_json(const table *t, const xd_host *h)
{
    json_t *j = json_pack(
        "{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o}",
        "spec", text(h->spec), "ok", h->error == NULL, "error", text(h->error), "reach", checked(h->reach),
        "key", checked(h->key), "agent", checked(h->agent), "python", checked(h->python), "pytest",
        checked(h->pytest), "disk", checked(h->disk), "workers", count(h->workers), "cpus", count(h->cpus),
        "memory_bytes", count(h->memory_bytes), "free_bytes", count(h->free_bytes), "host", text(h->host),
        "system", text(h->system), "build_id", text(h->build_id), "folder", text(h->folder), "interpreter",
        text(h->interpreter), "version", text(h->version), "framework", text(h->framework), "ids",
        ids(h->ids));
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

static void print_rows(const table *t)
{
    int widths[COLUMNS];
    for (size_t c = 0; c < COLUMNS; c++) {
        widths[c] = columns_of(titles[c]);
        for (size_t r = 0; r < t->rows; r++) {
            const int n = columns_of(t->cells[r * (COLUMNS + 1) + c]);
            widths[c] = n > widths[c] ? n : widths[c];
        }
    }
    print_row(t, widths, titles);
    for (size_t r = 0; r < t->rows; r++)
        print_row(t, widths, (const char *const *)t->cells + r * (COLUMNS + 1));
    for (size_t r = 0; r < t->rows; r++)
        if (t->cells[r * (COLUMNS + 1) + COLUMNS])
            printf("%s: %s\n", t->cells[r * (COLUMNS + 1)], t->cells[r * (COLUMNS + 1) + COLUMNS]);
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
    for (size_t i = 0; i < t->rows * (COLUMNS + 1); i++)
        free(t->cells[i]);
    free(t->cells);
    json_decref(t->json);
}

static int check(const xd_config *cfg, int as_json)
{
    char  err[XD_TEXT] = "";
    table t = { .json = as_json ? json_array() : NULL };
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

int xdctl_hosts(int argc, char **argv)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    int        json = 0, code;
    if (argc > 1 && (xdctl_is_help(argv[1]) || (argc > 2 && xdctl_is_help(argv[2])))) {
        puts("usage: xdctl hosts check [--json] [OPTION ...]\n\n"
             "Looks at the hosts that a run with these options would use, all at once: are they reached, is "
             "their key\n"
             "known, does an agent start, are there python and pytest, is there room, how many processors.\n"
             "Takes the options of `xdctl run`, of which --hosts, --tx, --python, --agent and the folders "
             "have an effect.\n"
             "Exit code: 0 all can be used, 6 one cannot.\n"
             "  --json               print one JSON array");
        return 0;
    }
    if (argc > 1 && argv[1][0] != '-' && strcmp(argv[1], "check") != 0)
        return xdctl_fail(XD_EXIT_USAGE,
                          "hosts: there is no '%s': xdctl hosts check [--hosts FILE] [--tx SPEC]", argv[1]);
    if (argc < 2 || strcmp(argv[1], "check") != 0)
        return xdctl_fail(XD_EXIT_USAGE,
                          "hosts: what to do is missing: xdctl hosts check [--hosts FILE] [--tx SPEC]");
    for (int i = 2; i < argc; i++) { /* at any place: none of xd's options is called so */
        if (strcmp(argv[i], "--json") != 0)
            continue;
        json = 1;
        memmove(argv + i, argv + i + 1, (size_t)(argc - i) * sizeof(*argv));
        argc--;
        i--;
    }
    if (xd_config_new(&cfg) < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    code = xd_config_parse(cfg, argc - 2, argv + 2, err) < 0 ? xdctl_fail(XD_EXIT_USAGE, "%s", err)
                                                             : check(cfg, json);
    xd_config_free(cfg);
    return code;
}
