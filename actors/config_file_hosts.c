/* actors/config_file_hosts.c - lists of hosts that have a name; see config_file.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/config_file_state.h"
#include "actors/nearest.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/hosts.h"
#include "engine/xspec.h"

#define NEAREST_MOST 4u
#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* ---- what stands in a file -------------------------------------------------------------------------------- */

static int check_spec(const xd_config_file *f, const xd_toml_node *list, const xd_toml_node *n, xd_error *err)
{
    xd_xspec spec;
    xd_error why = { 0 };
    if (n->kind != XD_TOML_STRING)
        return xd_config_file_refuse(f, n, err,
                                     "hosts.%s: it takes specs, such as \"4*ssh=host\", and %s stands there",
                                     list->key, xd_toml_kind_name(n->kind));
    if (xd_config_names_hosts(n->text))
        return xd_config_file_refuse(f, n, err, "hosts.%s: '%.100s': a list cannot name another one",
                                     list->key, n->text);
    const int r = xd_xspec_parse(&spec, n->text, &why);
    if (r == 0)
        xd_xspec_release(&spec);
    return r == -EINVAL ? xd_config_file_refuse(f, n, err, "hosts.%s: %s", list->key, why.text) : r;
}

static int check_list(const xd_config_file *f, const xd_toml_node *list, xd_error *err)
{
    static const char *const names[] = { "file", NULL };
    const xd_toml_node      *file = xd_config_file_member(list, "file");
    if (!list->key[0] || list->key[strspn(list->key, NAME_LETTERS)])
        return xd_config_file_refuse(
            f, list, err, "hosts: '%.100s' is no name for a list: it takes letters, digits, _, . and -",
            list->key);
    if (list->kind == XD_TOML_STRING)
        return check_spec(f, list, list, err);
    if (list->kind != XD_TOML_ARRAY && list->kind != XD_TOML_TABLE)
        return xd_config_file_refuse(
            f, list, err,
            "hosts.%s: it takes a list of specs, or { file = \"hosts.txt\" }, and %s stands there", list->key,
            xd_toml_kind_name(list->kind));
    for (const xd_toml_node *n = list->first; n; n = n->next) {
        if (list->kind == XD_TOML_ARRAY)
            XD_TRY(check_spec(f, list, n, err));
        else if (n != file)
            return xd_config_file_unknown(f, n, names, "key", err);
    }
    if (list->kind == XD_TOML_TABLE && (!file || file->kind != XD_TOML_STRING || !file->text[0]))
        return xd_config_file_refuse(f, file ? file : list, err,
                                     "hosts.%s: file = it takes the path of a list of hosts, as a string",
                                     list->key);
    return 0;
}

static const xd_toml_node *lists_of(const xd_config_file *f)
{
    const xd_toml_node *hosts = xd_config_file_member(f->root, "hosts");
    return hosts && hosts->kind == XD_TOML_TABLE ? hosts : NULL; /* else it is the option */
}

int xd_config_file_check_hosts(const xd_config_file *f, xd_error *err)
{
    const xd_toml_node *lists = lists_of(f);
    for (const xd_toml_node *n = lists ? lists->first : NULL; n; n = n->next)
        XD_TRY(check_list(f, n, err));
    return 0;
}

/* ---- a name and its hosts --------------------------------------------------------------------------------- */

/* A spec that is a name, in parts. */
typedef struct name {
    uint64_t    times;
    char       *list; /* owned */
    const char *keys; /* "//python=PY", or "" */
} name;

static int read_name(name *ret, const char *spec, const char *origin, xd_error *err)
{
    const char *at = strchr(spec, '@'), *keys = strstr(at, "//");
    *ret = (name){ .times = 1, .keys = keys ? keys : "" };
    if (at != spec) {
        xd_autofree char *number = strndup(spec, (size_t)(at - spec - 1));
        if (!number)
            return -ENOMEM;
        if (xd_text_u64(number, 1, XD_XSPEC_MAX_COUNT, &ret->times) < 0)
            return xd_error_set(err, -EINVAL, "%s: '%.200s': the number before * is from 1 to %u", origin,
                                spec, XD_XSPEC_MAX_COUNT);
    }
    ret->list = keys ? strndup(at + 1, (size_t)(keys - at - 1)) : strdup(at + 1);
    return ret->list ? 0 : -ENOMEM;
}

static int refuse_unknown(const xd_config_file *files, size_t count, const char *list, const char *origin,
                          xd_error *err)
{
    xd_strings names = { 0 };
    int        r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        const xd_toml_node *lists = lists_of(&files[i]);
        for (const xd_toml_node *n = lists ? lists->first : NULL; n && r == 0; n = n->next)
            r = xd_strings_add(&names, n->key);
    }
    const char *meant =
        r == 0 && names.count ? xd_nearest(list, (const char *const *)names.at, NEAREST_MOST) : NULL;
    if (r == 0 && meant)
        r = xd_error_set(err, -EINVAL, "%s: there is no list of hosts '%.100s'; is @%.100s meant?", origin,
                         list, meant);
    else if (r == 0)
        r = xd_error_set(err, -EINVAL,
                         "%s: there is no list of hosts '%.100s': lists stand in a table [hosts] of xd.toml",
                         origin, list);
    xd_strings_release(&names);
    return r;
}

static int read_file(const xd_config_file *f, const xd_toml_node *list, xd_strings *specs, xd_error *err)
{
    const char       *file = xd_config_file_member(list, "file")->text;
    xd_autofree char *path = NULL;
    xd_error          why = { 0 };
    if (file[0] == '~' && file[1] == '/')
        XD_TRY(xd_path_absolute_home(file, &path));
    else if (!(path = strcmp(file, "-") == 0 ? strdup(file) : xd_path_join(f->dir, file)))
        return -ENOMEM;
    const int   r = xd_hosts_read(path, NULL, specs, &why);
    const char *behind = strstr(why.text, ": "); /* the option, which nobody gave */
    return r == -EINVAL ? xd_config_file_refuse(f, list, err, "hosts.%s: %s", list->key,
                                                behind ? behind + 2 : why.text)
                        : r;
}

static int specs_of(const xd_config_file *f, const xd_toml_node *list, xd_strings *specs, xd_error *err)
{
    if (list->kind == XD_TOML_TABLE)
        return read_file(f, list, specs, err);
    if (list->kind == XD_TOML_STRING)
        return xd_strings_add(specs, list->text);
    for (const xd_toml_node *n = list->first; n; n = n->next)
        XD_TRY(xd_strings_add(specs, n->text));
    return 0;
}

/* "3*ssh=h" twice, with keys behind it. */
static int put_together(const name *n, const char *spec, const char *origin, xd_buf *out, xd_error *err)
{
    const size_t digits = strspn(spec, "0123456789");
    const bool   counted = digits && spec[digits] == '*';
    xd_xspec     parsed;
    XD_TRY(xd_xspec_parse(&parsed, spec, err));
    const uint64_t each = parsed.count; /* 0 = cpus=auto */
    xd_xspec_release(&parsed);
    if (n->times > 1 && (each == 0 || each * n->times > XD_XSPEC_MAX_COUNT))
        return xd_error_set(
            err, -EINVAL, "%s: '%.200s' cannot be had %u times: %s", origin, spec, (unsigned)n->times,
            each ? "a spec has at most 1024 workers" : "it has as many workers as its host has processors");
    if (n->times > 1)
        return xd_buf_printf(out, "%u*%s%s", (unsigned)(each * n->times), spec + (counted ? digits + 1 : 0),
                             n->keys);
    return xd_buf_printf(out, "%s%s", spec, n->keys);
}

/* What a message calls the place where a spec was given. */
static const char *label_of(const xd_given *g)
{
    return !g->origin || strcmp(g->origin, "command line") == 0 ? "option --tx" : g->origin;
}

static int set_spec(xd_config *cfg, const xd_config_entry *tx, const xd_given *g, const char *list,
                    const char *spec, xd_error *err)
{
    xd_autobuf origin = XD_BUF_INIT;
    XD_TRY(xd_config_value_check(tx, spec, label_of(g), err));
    XD_TRY(xd_buf_printf(&origin, "@%s, %s", list, g->origin ? g->origin : "program"));
    cfg->origin = xd_buf_cstr(&origin);
    const int r = xd_config_set_entry(cfg, tx, spec, NULL);
    cfg->origin = NULL;
    return r;
}

static int expand(const xd_config_file *files, size_t count, xd_config *cfg, const xd_config_entry *tx,
                  const xd_given *g, xd_error *err)
{
    const char         *origin = label_of(g);
    const xd_toml_node *list = NULL;
    xd_strings          specs = { 0 };
    name                n = { 0 };
    size_t              file = 0;
    int                 r = read_name(&n, g->value, origin, err);
    for (size_t i = 0; i < count && r == 0 && !list; i++)
        if ((list = xd_config_file_member(lists_of(&files[i]), n.list)))
            file = i;
    if (r == 0)
        r = list ? specs_of(&files[file], list, &specs, err)
                 : refuse_unknown(files, count, n.list, origin, err);
    if (r == 0 && !specs.count) /* else the tests would run here, as if no host had been asked for */
        r = xd_error_set(err, -EINVAL, "%s: the list of hosts '%.100s' is empty (%s:%u)", origin, n.list,
                         files[file].shown, (unsigned)list->line);
    for (size_t i = 0; i < specs.count && r == 0; i++) {
        xd_autobuf spec = XD_BUF_INIT;
        r = put_together(&n, specs.at[i], origin, &spec, err);
        if (r == 0)
            r = set_spec(cfg, tx, g, n.list, xd_buf_cstr(&spec), err);
    }
    xd_strings_release(&specs);
    free(n.list);
    return r;
}

int xd_config_file_hosts(const xd_config_file *files, size_t count, xd_config *cfg, xd_error *err)
{
    const xd_config_entry *tx = xd_config_entry_named("tx");
    xd_config             *before = NULL;
    bool                   any = false;
    for (size_t i = 0; i < cfg->tx.count; i++)
        any |= xd_config_names_hosts(cfg->tx.at[i]);
    if (!any)
        return 0;
    XD_TRY(xd_config_copy(&before, cfg)); /* its specs stay while those of cfg are put in anew */
    xd_config_clear_list(cfg, tx);
    int r = 0;
    for (size_t i = 0; i < before->n_given && r == 0; i++) {
        const xd_given *g = &before->given[i];
        if (&xd_config_entries[g->option] != tx)
            continue;
        if (xd_config_names_hosts(g->value)) {
            r = expand(files, count, cfg, tx, g, err);
        } else {
            cfg->origin = g->origin;
            r = xd_config_set_entry(cfg, tx, g->value, NULL);
            cfg->origin = NULL;
        }
    }
    xd_config_free(before);
    return r;
}
