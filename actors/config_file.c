/* actors/config_file.c - see config_file.h. */
#include "actors/config_file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/config_file_state.h"
#include "actors/nearest.h"
#include "engine/base/path.h"

#define NEAREST_MOST 4u
#define PROFILES_MAX 1000u /* of one file; they are looked for by name, one after the other */

void xd_config_file_release(xd_config_file *f)
{
    free(f->dir);
    free(f->shown);
    f->root = xd_toml_free(f->root);
    *f = XD_CONFIG_FILE_INIT;
}

const xd_toml_node *xd_config_file_member(const xd_toml_node *table, const char *name)
{
    for (const xd_toml_node *n = table ? table->first : NULL; n; n = n->next)
        if (n->key && strcmp(n->key, name) == 0) /* members of a list have none */
            return n;
    return NULL;
}

int xd_config_file_refuse(const xd_config_file *f, const xd_toml_node *at, xd_error *err, const char *fmt,
                          ...)
{
    char    text[XD_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return xd_error_set(err, -EINVAL, "%.300s:%u: %s", f->shown, (unsigned)at->line, text);
}

int xd_config_file_unknown(const xd_config_file *f, const xd_toml_node *at, const char *const *names,
                           const char *what, xd_error *err)
{
    const char *meant = xd_nearest(at->key, names, NEAREST_MOST);
    if (meant)
        return xd_config_file_refuse(f, at, err, "unknown %s '%.100s'; is %s meant?", what, at->key, meant);
    return xd_config_file_refuse(f, at, err, "unknown %s '%.100s'; `xdctl config show` lists the options",
                                 what, at->key);
}

/* ---- one option ------------------------------------------------------------------------------------------ */

/* What a file may say of an option. */
static const char *wanted(xd_config_kind kind)
{
    switch (kind) {
    case KIND_FLAG:
        return "true or false";
    case KIND_LIST:
    case KIND_NAMES:
        return "a list of strings, or a string";
    case KIND_WORKERS:
        return "a whole number, \"auto\" or \"logical\"";
    case KIND_NUMBER_OR_ALL:
        return "a whole number or \"all\"";
    case KIND_NUMBER:
    case KIND_COUNT:
        return "a whole number";
    case KIND_SIZE:
        return "a size such as \"64M\", or a whole number of bytes";
    case KIND_TIME:
    case KIND_GRACE:
        return "a time such as \"30s\", or a whole number of seconds";
    case KIND_TIME_OR_NONE:
        return "a time such as \"30s\", a whole number of seconds, or \"none\"";
    case KIND_TEXT:
    case KIND_OPTIONS:
    case KIND_DIST:
    case KIND_WORD:
        break;
    }
    return "a string";
}

static bool takes_integer(xd_config_kind kind)
{
    return kind == KIND_WORKERS || kind == KIND_NUMBER_OR_ALL || kind == KIND_NUMBER || kind == KIND_COUNT ||
           kind == KIND_SIZE || kind == KIND_TIME || kind == KIND_GRACE || kind == KIND_TIME_OR_NONE;
}

/* A number in quotes is one of those that another tool would read otherwise. */
static bool takes_string(xd_config_kind kind, const char *text)
{
    if (kind == KIND_WORKERS || kind == KIND_NUMBER_OR_ALL)
        return !isdigit((unsigned char)text[0]);
    return kind != KIND_FLAG && kind != KIND_NUMBER && kind != KIND_COUNT;
}

/* Options that name a file or a folder: these count from the folder of the file that says them. */
static bool is_path(const xd_config_entry *e, const char *text)
{
    static const char *const always[] = { "hosts", "rsyncdir", "state-dir", "cache-dir",
                                          "keys",  "stats",    "jsonl" };
    static const char *const with_slash[] = { "agent", "python", "rsyncignore" };
    for (size_t i = 0; i < XD_ARRAY_LEN(always); i++)
        if (strcmp(e->shown.name, always[i]) == 0)
            return strcmp(e->shown.name, "hosts") != 0 || strcmp(text, "-") != 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(with_slash); i++)
        if (strcmp(e->shown.name, with_slash[i]) == 0)
            return memchr(text, '/', strcspn(text, " ")) != NULL; /* of a command line the first word */
    return false;
}

static int resolve(const xd_config_file *f, const xd_config_entry *e, const char *text, char **ret)
{
    if (!*text || !is_path(e, text))
        *ret = strdup(text);
    else if (text[0] == '~' && (text[1] == '/' || !text[1]))
        return xd_path_absolute_home(text, ret);
    else if (strcmp(e->shown.name, "rsyncignore") == 0 && strpbrk(f->dir, "*?[\\"))
        *ret = strdup(text); /* that folder would be read as a pattern */
    else
        *ret = xd_path_join(f->dir, text);
    return *ret ? 0 : -ENOMEM;
}

/* Where the option was found, as `config show` has it. */
static int origin_of(const xd_config_file *f, const xd_toml_node *at, const char *profile, xd_buf *out)
{
    if (profile)
        return xd_buf_printf(out, "profile %s (%s:%u)", profile, f->shown, (unsigned)at->line);
    return xd_buf_printf(out, "%s:%u", f->shown, (unsigned)at->line);
}

typedef struct target {
    const xd_config_file *file;
    const char           *profile; /* NULL = outside of profiles */
    xd_config_values     *values;
    xd_error             *err;
} target;

static int add_text(const target *t, const xd_config_entry *e, const xd_toml_node *at, const char *text)
{
    xd_autobuf        label = XD_BUF_INIT, origin = XD_BUF_INIT;
    xd_autofree char *path = NULL;
    XD_TRY(xd_buf_printf(&label, "%s:%u: %s", t->file->shown, (unsigned)at->line, e->shown.name));
    XD_TRY(origin_of(t->file, at, t->profile, &origin));
    XD_TRY(text ? xd_config_value_check(e, text, xd_buf_cstr(&label), t->err) : 0);
    XD_TRY(text ? resolve(t->file, e, text, &path) : 0);
    return xd_config_values_add(t->values, e, path, xd_buf_cstr(&origin),
                                t->profile ? XD_RANK_PROFILE : t->file->rank);
}

static int wrong_kind(const target *t, const xd_config_entry *e, const xd_toml_node *key,
                      const xd_toml_node *at)
{
    const char *stands = at->kind == XD_TOML_STRING && takes_integer(e->kind) ? "a number in quotes"
                                                                              : xd_toml_kind_name(at->kind);
    return xd_config_file_refuse(t->file, at->line ? at : key, t->err, "%s: it takes %s, and %s stands there",
                                 e->shown.name, wanted(e->kind), stands);
}

static int add_value(const target *t, const xd_config_entry *e, const xd_toml_node *n)
{
    char number[24];
    if (n->kind == XD_TOML_BOOLEAN && e->kind == KIND_FLAG)
        return add_text(t, e, n, n->boolean ? "1" : "0");
    if (n->kind == XD_TOML_INTEGER && takes_integer(e->kind)) {
        snprintf(number, sizeof(number), "%lld", (long long)n->integer);
        return add_text(t, e, n, number);
    }
    if (n->kind == XD_TOML_STRING && takes_string(e->kind, n->text))
        return add_text(t, e, n, n->text);
    if (n->kind != XD_TOML_ARRAY || !xd_config_is_list(e))
        return wrong_kind(t, e, n, n);
    if (!n->first)
        return add_text(t, e, n, NULL);
    for (const xd_toml_node *one = n->first; one; one = one->next)
        XD_TRY(one->kind == XD_TOML_STRING ? add_text(t, e, one, one->text) : wrong_kind(t, e, n, one));
    return 0;
}

/* ---- a table of options ---------------------------------------------------------------------------------- */

static int unknown_option(const target *t, const xd_toml_node *n)
{
    static const char *const of_top[] = { "profile", "hosts" }, *const of_profile[] = { "inherits" };
    xd_autofree const char **names = calloc(xd_config_entry_count + 3, sizeof(*names));
    size_t                   count = 0;
    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < xd_config_entry_count; i++)
        if (xd_config_entries[i].shown.name[0] && strcmp(xd_config_entries[i].shown.name, "profile") != 0)
            names[count++] = xd_config_entries[i].shown.name;
    if (t->profile)
        names[count++] = of_profile[0];
    for (size_t i = 0; i < XD_ARRAY_LEN(of_top) && !t->profile; i++)
        names[count++] = of_top[i];
    return xd_config_file_unknown(t->file, n, names, "key", t->err);
}

static int add_option(const target *t, const xd_toml_node *table, const xd_toml_node *n)
{
    const xd_config_entry *e = xd_config_entry_named(n->key);
    if (!e || strcmp(e->shown.name, "profile") == 0)
        return unknown_option(t, n);
    if (strcmp(e->shown.name, "work-dir") == 0)
        return xd_config_file_refuse(
            t->file, n, t->err,
            "work-dir: no file can say it, as files are looked for from there; XD_WORK_DIR can");
    for (const xd_toml_node *before = table->first; before != n; before = before->next)
        if (xd_config_entry_named(before->key) == e)
            return xd_config_file_refuse(t->file, n, t->err, "%s: it stands there already, in line %u",
                                         n->key, (unsigned)before->line);
    return add_value(t, e, n);
}

/* What stands in a table beside options. */
static bool is_other(const xd_toml_node *n, bool in_profile)
{
    if (in_profile)
        return strcmp(n->key, "inherits") == 0;
    return strcmp(n->key, "profile") == 0 || (strcmp(n->key, "hosts") == 0 && n->kind == XD_TOML_TABLE);
}

static int add_table(const target *t, const xd_toml_node *table)
{
    for (const xd_toml_node *n = table->first; n; n = n->next)
        XD_TRY(is_other(n, t->profile != NULL) ? 0 : add_option(t, table, n));
    return 0;
}

int xd_config_file_values(const xd_config_file *f, xd_config_values *values, xd_error *err)
{
    const target t = { .file = f, .values = values, .err = err };
    return f->root ? add_table(&t, f->root) : 0;
}

int xd_config_file_table(const xd_config_file *f, const xd_toml_node *profile, xd_config_values *values,
                         xd_error *err)
{
    const target t = { .file = f, .profile = profile->key, .values = values, .err = err };
    return add_table(&t, profile);
}

/* ---- the file --------------------------------------------------------------------------------------------- */

static int check_all(const xd_config_file *f, xd_config_values *values, xd_error *err)
{
    XD_TRY(xd_config_file_values(f, values, err));
    const xd_toml_node *profiles = xd_config_file_member(f->root, "profile");
    if (profiles && profiles->kind != XD_TOML_TABLE)
        return xd_config_file_refuse(f, profiles, err,
                                     "profile: it takes tables, [profile.NAME], and %s stands there; "
                                     "--profile and XD_PROFILE choose one",
                                     xd_toml_kind_name(profiles->kind));
    unsigned left = PROFILES_MAX;
    for (const xd_toml_node *n = profiles ? profiles->first : NULL; n; n = n->next) {
        if (!left--)
            return xd_config_file_refuse(f, n, err, "profile.%.100s: a file has at most %u profiles", n->key,
                                         PROFILES_MAX);
        if (n->kind != XD_TOML_TABLE)
            return xd_config_file_refuse(f, n, err, "profile.%.100s: it takes a table, and %s stands there",
                                         n->key, xd_toml_kind_name(n->kind));
        XD_TRY(xd_config_file_table(f, n, values, err));
    }
    return xd_config_file_check_hosts(f, err);
}

static int refuse_toml(const xd_config_file *f, const xd_toml_error *why, xd_error *err)
{
    if (!why->line)
        return xd_error_set(err, -EINVAL, "%s: %s", f->shown, why->text);
    return xd_error_set(err, -EINVAL, "%s:%u:%u: %s%s", f->shown, (unsigned)why->line, (unsigned)why->column,
                        why->wrong_kind ? "" : "no valid TOML: ", why->text);
}

int xd_config_file_read(xd_config_file *f, const char *text, size_t len, const char *const *table,
                        xd_error *err)
{
    xd_config_values all = XD_CONFIG_VALUES_INIT;
    xd_toml_error    why;
    int              r = xd_toml_read(text, len, table, &f->root, &why);
    if (r == -ENOENT)
        return 1;
    if (r < 0)
        return r == -ENOMEM ? r : refuse_toml(f, &why, err);
    r = check_all(f, &all, err);
    xd_config_values_release(&all);
    return r;
}
