/* tools/xdctl/config.c - `xdctl config show`: what files, environment and command line make of each option, and where it comes from. */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/xdctl/xdctl.h"

static void put_notes(const xd_config *cfg, size_t from)
{
    const char *note;
    for (size_t i = from; (note = xd_config_note(cfg, i)); i++)
        xdctl_fail(0, "%s", note);
}

int xdctl_read_config(xd_config **ret, int argc, char **argv)
{
    char err[XD_TEXT] = "";
    if (xd_config_new(ret) < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    if (xd_config_read(*ret, argc, argv, err) < 0)
        return xdctl_fail(XD_EXIT_USAGE, "%s", err);
    put_notes(*ret, 0);
    return 0;
}

static int read_project(xd_config *cfg)
{
    char   err[XD_TEXT] = "";
    size_t told = 0;
    while (xd_config_note(cfg, told))
        told++;
    if (xd_config_read_project(cfg, err) < 0)
        return xdctl_fail(XD_EXIT_USAGE, "%s", err);
    put_notes(cfg, told);
    return 0;
}

/* ---- as a table ------------------------------------------------------------------------------------------ */

typedef struct widths {
    int name, value;
} widths;

static const char *value_of(const xd_setting *s)
{
    return s->value ? s->value : "-";
}

static int measure(void *arg, const xd_setting *s)
{
    widths   *w = arg;
    const int name = (int)strlen(s->name), value = (int)strlen(value_of(s));
    w->name = name > w->name ? name : w->name;
    w->value = value > w->value && value <= 40 ? value : w->value; /* a long one does not move all others */
    return 0;
}

static int put_row(void *arg, const xd_setting *s)
{
    const widths *w = arg;
    const char   *value = value_of(s);
    printf("%-*s  ", w->name, s->name);
    xdctl_put(stdout, value, strlen(value));
    printf("%*s", (int)strlen(value) < w->value ? w->value - (int)strlen(value) + 2 : 2, "");
    xdctl_put(stdout, s->origin, strlen(s->origin));
    putchar('\n');
    return 0;
}

/* ---- as JSON --------------------------------------------------------------------------------------------- */

/* Bytes that are no UTF-8, of a path for example, are shown as elsewhere. */
static json_t *text_of(const char *text)
{
    json_t *made = json_string(text);
    char   *shown = NULL;
    if (!made && xd_harmless(text, strlen(text), &shown) == 0)
        made = json_string(shown);
    free(shown);
    return made;
}

static json_t *json_of(const xd_setting *s)
{
    json_t *value = !s->value ? json_null() : s->flag ? json_boolean(s->value[0] == 't') : text_of(s->value);
    return json_pack("{s:o, s:o}", "value", value, "origin", text_of(s->origin));
}

static int add_json(void *arg, const xd_setting *s)
{
    json_t *all = arg, *one = s->list && !s->value ? NULL : json_of(s);
    if (!s->list)
        return json_object_set_new(all, s->name, one) < 0;
    json_t *list = json_object_get(all, s->name);
    if (!list && json_object_set_new(all, s->name, list = json_array()) < 0)
        return 1;
    return one && json_array_append_new(list, one) < 0;
}

static int show_json(const xd_config *cfg)
{
    json_t *all = json_object();
    int r = !all || xd_config_show(cfg, add_json, all) != 0 || json_dumpf(all, stdout, JSON_INDENT(1)) < 0;
    putchar('\n');
    json_decref(all);
    return r ? xdctl_fail(XD_EXIT_INTERNAL, "no memory") : 0;
}

/* From any place before a `--`: no option of xd is called so. */
static bool take_json(int *argc, char **argv)
{
    int  kept = 2;
    bool found = false, ours = true;
    for (int i = 2; i < *argc; i++) {
        ours = ours && strcmp(argv[i], "--") != 0;
        if (ours && strcmp(argv[i], "--json") == 0)
            found = true;
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return found;
}

int xdctl_config(int argc, char **argv)
{
    xd_config *cfg = NULL;
    if (argc > 1 && (xdctl_is_help(argv[1]) || (argc > 2 && xdctl_is_help(argv[2])))) {
        puts("usage: xdctl config show [--json] [OPTION ...] [PYTEST-ARGUMENT ...]\n\n"
             "Shows each option of `xdctl run`, its value, and where that comes from: the command line, an "
             "XD_ "
             "variable, a profile,\n"
             "xd.toml or pyproject.toml, the user's config.toml, pytest's own configuration, or the default. "
             "Takes the\n"
             "options of `xdctl run`.\n"
             "Exit code: 0, or 4 when one of these has something that is not valid.\n"
             "  --json               print one JSON object");
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "show") != 0)
        return argc < 2 || argv[1][0] == '-'
                   ? xdctl_fail(XD_EXIT_USAGE,
                                "config: what to do is missing: xdctl config show [OPTION ...]")
                   : xdctl_fail(XD_EXIT_USAGE, "config: there is no '%s': xdctl config show [OPTION ...]",
                                argv[1]);
    const bool json = take_json(&argc, argv);
    int        code = xdctl_read_config(&cfg, argc - 2, argv + 2);
    if (code == 0)
        code = read_project(cfg);
    if (code == 0 && json) {
        code = show_json(cfg);
    } else if (code == 0) {
        widths w = { 0 };
        (void)!xd_config_show(cfg, measure, &w);
        (void)!xd_config_show(cfg, put_row, &w);
    }
    xd_config_free(cfg);
    return code;
}
