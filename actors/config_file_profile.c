/* actors/config_file_profile.c - which profile inherits what; see config_file.h. */
#include <stdlib.h>
#include <string.h>

#include "actors/config_file_state.h"
#include "actors/nearest.h"

#define NEAREST_MOST 4u
#define DEFAULT "default"
#define DEPTH_MAX 64u /* profiles that inherit from one another in a row */

/* One walk over profiles: each is taken once, what it inherits in front of it. */
typedef struct walk {
    const xd_config_file *files;
    size_t                count;
    xd_strings            open; /* those that the walk is in, the outermost first */
    xd_strings            done;
    xd_config_values     *values;
    xd_error             *err;
} walk;

static void walk_release(walk *w)
{
    xd_strings_release(&w->open);
    xd_strings_release(&w->done);
}

/* Who asks for a profile: a line of a file, or an option. */
typedef struct asker {
    const xd_config_file *file; /* NULL: `text` says it */
    const xd_toml_node   *at;
    const char           *text;
} asker;

static int refuse(const asker *by, xd_error *err, const char *text)
{
    return by->file ? xd_config_file_refuse(by->file, by->at, err, "%s", text)
                    : xd_error_set(err, -EINVAL, "%s: %s", by->text, text);
}

static bool has(const xd_strings *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->at[i], name) == 0)
            return true;
    return false;
}

static const xd_toml_node *find(const walk *w, const char *name, const xd_config_file **ret_file)
{
    for (size_t i = 0; i < w->count; i++) {
        const xd_toml_node *n =
            xd_config_file_member(xd_config_file_member(w->files[i].root, "profile"), name);
        *ret_file = &w->files[i];
        if (n)
            return n;
    }
    return NULL;
}

static int refuse_unknown(const walk *w, const char *name, const asker *by)
{
    xd_strings names = { 0 };
    xd_autobuf line = XD_BUF_INIT;
    int        r = 0;
    for (size_t i = 0; i < w->count && r == 0; i++) {
        const xd_toml_node *profiles = xd_config_file_member(w->files[i].root, "profile");
        for (const xd_toml_node *n = profiles ? profiles->first : NULL; n && r == 0; n = n->next)
            r = xd_strings_add(&names, n->key);
    }
    const char *meant =
        r == 0 && names.count ? xd_nearest(name, (const char *const *)names.at, NEAREST_MOST) : NULL;
    if (r == 0)
        r = xd_buf_printf(&line, "there is no profile '%.100s'", name);
    if (r == 0 && w->count == 0)
        r = xd_buf_add_str(&line, ": there is no xd.toml, and no pyproject.toml with a table tool.xd");
    for (size_t i = 0; i < w->count && r == 0; i++)
        r = xd_buf_printf(&line, "%s %.200s", i ? " or" : " in", w->files[i].shown);
    if (r == 0 && meant)
        r = xd_buf_printf(&line, "; is %.100s meant?", meant);
    if (r == 0)
        r = refuse(by, w->err, xd_buf_cstr(&line));
    xd_strings_release(&names);
    return r;
}

static int refuse_circle(const walk *w, const char *name, const asker *by)
{
    xd_autobuf line = XD_BUF_INIT;
    bool       inside = false;
    XD_TRY(xd_buf_printf(&line, "profile '%.100s' inherits itself: ", name));
    for (size_t i = 0; i < w->open.count; i++) {
        inside |= strcmp(w->open.at[i], name) == 0;
        if (inside)
            XD_TRY(xd_buf_printf(&line, "%.100s, ", w->open.at[i]));
    }
    XD_TRY(xd_buf_add_str(&line, name));
    return refuse(by, w->err, xd_buf_cstr(&line));
}

static int take(walk *w, const char *name, const asker *by);

static int inherit_one(walk *w, const xd_config_file *file, const xd_toml_node *key, const xd_toml_node *n)
{
    const asker by = { .file = file, .at = n->line ? n : key };
    if (n->kind != XD_TOML_STRING)
        return xd_config_file_refuse(
            file, by.at, w->err,
            "inherits: it takes the name of a profile, or a list of names, and %s stands there",
            xd_toml_kind_name(n->kind));
    return take(w, n->text, &by);
}

static int inherit(walk *w, const xd_config_file *file, const xd_toml_node *profile)
{
    const xd_toml_node *n = xd_config_file_member(profile, "inherits");
    if (!n)
        return 0;
    if (n->kind != XD_TOML_ARRAY)
        return inherit_one(w, file, n, n);
    for (const xd_toml_node *one = n->first; one; one = one->next)
        XD_TRY(inherit_one(w, file, n, one));
    return 0;
}

static void leave(walk *w)
{
    free(w->open.at[--w->open.count]);
    w->open.at[w->open.count] = NULL;
}

static int take(walk *w, const char *name, const asker *by)
{
    const xd_config_file *file = NULL;
    if (has(&w->done, name))
        return 0;
    if (has(&w->open, name))
        return refuse_circle(w, name, by);
    const xd_toml_node *profile = find(w, name, &file);
    if (!profile) /* what stands outside of profiles is the default, too */
        return strcmp(name, DEFAULT) == 0 ? 0 : refuse_unknown(w, name, by);
    if (w->open.count == DEPTH_MAX)
        return refuse(by, w->err, "more than 64 profiles inherit from one another in a row");
    XD_TRY(xd_strings_add(&w->open, name));
    XD_TRY(inherit(w, file, profile));
    XD_TRY(xd_config_file_table(file, profile, w->values, w->err));
    leave(w);
    return xd_strings_add(&w->done, name);
}

int xd_config_file_profile(const xd_config_file *files, size_t count, const char *name, const char *asked,
                           xd_config_values *values, xd_error *err)
{
    walk        w = { .files = files, .count = count, .values = values, .err = err };
    const asker by = { .text = asked };
    const int   r = take(&w, name ? name : DEFAULT, &by);
    walk_release(&w);
    return r;
}

/* In one walk: what has been looked at once is not looked at again from each that inherits it. */
static int check_all(walk *w)
{
    const asker by = { .text = "" };
    for (size_t i = 0; i < w->count; i++) {
        const xd_toml_node *profiles = xd_config_file_member(w->files[i].root, "profile");
        for (const xd_toml_node *n = profiles ? profiles->first : NULL; n; n = n->next)
            XD_TRY(take(w, n->key, &by));
    }
    return 0;
}

int xd_config_file_check_profiles(const xd_config_file *files, size_t count, xd_error *err)
{
    xd_config_values values = XD_CONFIG_VALUES_INIT;
    walk             w = { .files = files, .count = count, .values = &values, .err = err };
    const int        r = check_all(&w);
    walk_release(&w);
    xd_config_values_release(&values);
    return r;
}
