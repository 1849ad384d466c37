/* actors/project_options.c - see project_options.h. */
#include "actors/project_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/config_values.h"
#include "actors/invocation.h"
#include "actors/spec_folder.h"
#include "engine/config_table.h"
#include "engine/folders.h"
#include "engine/xspec.h"

#define NOWHERE (-1)
#define COMMAND_LINE ((int)XD_WORDS_TYPED + 1) /* the place of xd's own options */

void xd_project_told_release(xd_project_told *t)
{
    xd_strings_release(&t->details);
    xd_strings_release(&t->notes);
}

static bool is_named(const xd_said_option *o, const char *name)
{
    return strcmp(o->name, name) == 0;
}

/* ---- what they come to ------------------------------------------------------------------------------------ */

/* The last place that says something of this name. */
static int place_of(const xd_said_option *all, size_t count, const char *name)
{
    int place = NOWHERE;
    for (size_t i = 0; i < count; i++)
        if (is_named(&all[i], name))
            place = XD_MAX(place, (int)all[i].place);
    return place;
}

static int tell(xd_project_told *told, const xd_said_option *o, const char *name, const char *more)
{
    xd_autobuf line = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&line, "%s (%s)%s", name, o->from, more));
    return xd_strings_add(&told->details, xd_buf_cstr(&line));
}

static int tell_spec(xd_project_told *told, const xd_said_option *o, const char *more)
{
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&text, "--%s %s", o->name, o->value));
    return tell(told, o, xd_buf_cstr(&text), more);
}

static int check_spec(const xd_said_option *o, xd_error *err)
{
    xd_xspec x;
    xd_error why = { 0 };
    if (xd_config_names_hosts(o->value))
        return xd_error_set(
            err, -EINVAL,
            "%s: --%s %s: a list of hosts can be named in xd.toml, in $XD_TX and on the command line of "
            "xdctl run, not in pytest's configuration",
            o->from, o->name, o->value);
    int r = xd_xspec_parse(&x, o->value, &why);
    if (r < 0)
        return r == -ENOMEM ? r : xd_error_set(err, r, "%s: %s", o->from, why.text);
    xd_xspec_release(&x);
    return 0;
}

/* Those of --tx or --px behind the place of -n. */
static int take_specs(const xd_said_option *all, size_t count, const char *name, int number_at,
                      xd_strings *specs, xd_strings *from, xd_project_told *told, xd_error *err)
{
    xd_strings own = { 0 };
    int        r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        const xd_said_option *o = &all[i];
        if (!is_named(o, name))
            continue;
        if ((int)o->place <= number_at) {
            r = tell_spec(told, o, " has no effect: -n says how many workers there are");
            continue;
        }
        r = check_spec(o, err);
        if (r == 0)
            r = xd_strings_add(&own, o->value);
        if (r == 0)
            r = xd_strings_add(from, o->from);
        if (r == 0)
            r = tell_spec(told, o, "");
    }
    if (r == 0)
        r = xd_strings_prepend(specs, &own);
    xd_strings_release(&own);
    return r;
}

/* As in xdist, -d is more than --dist beside it, and -n N with --dist no distributes. */
static int take_dist(xd_config *cfg, const xd_said_option *all, size_t count, bool numbered,
                     xd_project_told *told, xd_error *err)
{
    const int             place = XD_MAX(place_of(all, count, "dist"), place_of(all, count, "d"));
    const xd_said_option *last = NULL;
    char                  why[XD_TEXT] = "";
    if (cfg->dist || cfg->load)
        return 0;
    for (size_t i = 0; i < count; i++)
        if ((int)all[i].place == place &&
            (is_named(&all[i], "d") || (is_named(&all[i], "dist") && !(last && is_named(last, "d")))))
            last = &all[i];
    if (!last || (numbered && is_named(last, "dist") && strcmp(last->value, "no") == 0))
        return 0;
    cfg->origin = last->from;
    int r = xd_config_set(cfg, "dist", is_named(last, "d") ? "load" : last->value, why);
    cfg->origin = NULL;
    if (r < 0)
        return why[0] ? xd_error_set(err, r, "%s: %s", last->from, why) : r;
    cfg->found.dist = xd_take(&cfg->dist);
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&text, "--dist %s", cfg->found.dist));
    return tell(told, last, xd_buf_cstr(&text), "");
}

/* The last one of the place that counts; NULL = nothing says it. */
static const xd_said_option *last_of(const xd_said_option *all, size_t count, const char *name)
{
    const int             place = place_of(all, count, name);
    const xd_said_option *last = NULL;
    for (size_t i = 0; i < count; i++)
        if (is_named(&all[i], name) && (int)all[i].place == place)
            last = &all[i];
    return last;
}

/* Of one that pytest's configuration says again, with its own error where it is bad. */
static int take_single(xd_config *cfg, const xd_said_option *all, size_t count, const char *name)
{
    const xd_said_option *last = last_of(all, count, name);
    cfg->origin = last ? last->from : NULL;
    const int r = last ? xd_config_set(cfg, name, last->value, NULL) : 0;
    cfg->origin = NULL;
    return r == -EINVAL ? 0 : r;
}

/* One that the run takes from pytest's configuration alone (settings.c), where hooks may have changed it. */
static int remember_single(xd_config *cfg, const xd_said_option *all, size_t count, const char *name)
{
    const xd_said_option *last = last_of(all, count, name);
    cfg->origin = last ? last->from : NULL;
    const int r =
        last && last->value[0] ? xd_config_remember(cfg, xd_config_entry_named(name), last->value) : 0;
    cfg->origin = NULL;
    return r;
}

/* pytest's configuration tells of them, too: not those of conftest.py. */
static int remember(xd_config *cfg, const xd_said_option *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].place != XD_WORDS_CONFTEST && (is_named(&all[i], "tx") || is_named(&all[i], "px")))
            XD_TRY(xd_strings_add(&cfg->found.known, all[i].value));
    return 0;
}

int xd_project_options_settle(xd_config *cfg, const xd_said_option *all, size_t count, xd_project_told *told,
                              xd_error *err)
{
    const bool own = cfg->workers != XD_WORKERS_UNSET;
    const int  number_at = own ? COMMAND_LINE : place_of(all, count, "numprocesses");
    XD_TRY(remember(cfg, all, count));
    XD_TRY(take_specs(all, count, "tx", number_at, &cfg->tx, &cfg->found.tx_from, told, err));
    XD_TRY(take_specs(all, count, "px", NOWHERE, &cfg->px, &cfg->found.px_from, told, err));
    XD_TRY(xd_config_remember_first(cfg, xd_config_entry_named("tx"), &cfg->tx, &cfg->found.tx_from));
    XD_TRY(xd_config_remember_first(cfg, xd_config_entry_named("px"), &cfg->px, &cfg->found.px_from));
    XD_TRY(own || cfg->tx.count || cfg->hosts ? 0 : remember_single(cfg, all, count, "numprocesses"));
    XD_TRY(cfg->max_worker_restart >= 0 ? 0 : remember_single(cfg, all, count, "max-worker-restart"));
    XD_TRY(take_dist(cfg, all, count, own || number_at != NOWHERE, told, err));
    XD_TRY(cfg->max_workers ? 0 : take_single(cfg, all, count, "maxprocesses"));
    return cfg->run_uid ? 0 : take_single(cfg, all, count, "testrunuid");
}

/* ---- where they stand ------------------------------------------------------------------------------------- */

typedef struct reader {
    const xd_invocation *in;
    xd_said_option      *all;
    size_t               count;
    xd_project_told     *told;
} reader;

static void reader_release(reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->all[i].value);
        free(r->all[i].from);
    }
    free(r->all);
}

/* value, from: taken, also after a failure. */
static int add_option(reader *r, const char *name, xd_words_from place, char *value, char *from)
{
    xd_said_option *all = value && from ? realloc(r->all, (r->count + 1) * sizeof(*all)) : NULL;
    if (!all) {
        free(value);
        free(from);
        return -ENOMEM;
    }
    r->all = all;
    all[r->count++] = (xd_said_option){ .name = name, .value = value, .from = from, .place = place };
    return 0;
}

/* "conftest.py:3"; NULL without memory. */
static char *position(const char *file, uint32_t line)
{
    xd_autobuf text = XD_BUF_INIT;
    return xd_buf_printf(&text, "%s:%u", file, (unsigned)line) < 0 ? NULL : strdup(xd_buf_cstr(&text));
}

static char *place_of_word(const reader *r, const xd_dist_option *o)
{
    const xd_inifile *ini = &r->in->rootdir.ini;
    if (o->from == XD_WORDS_ENVIRONMENT)
        return strdup("$PYTEST_ADDOPTS");
    if (o->from == XD_WORDS_TYPED)
        return strdup("the command line");
    if (ini->told[XD_INI_ADDOPTS])
        return strdup("-o addopts");
    xd_autofree char *file = xd_invocation_shown(r->in, r->in->rootdir.file);
    return file ? position(file, ini->values[XD_INI_ADDOPTS].lines[o->word]) : NULL;
}

/* The words stand in the order in which they were read, and not in that of their places. */
static int read_words(reader *r, xd_words_from place)
{
    const xd_pytest_args *a = &r->in->args;
    for (size_t i = 0; i < a->n_dist; i++)
        if (a->dist[i].from == place)
            XD_TRY(add_option(r, a->dist[i].name, place, strdup(a->dist[i].value),
                              place_of_word(r, &a->dist[i])));
    return 0;
}

static int note(reader *r, const xd_conftest_said *said, const char *want)
{
    xd_autobuf text = XD_BUF_INIT;
    XD_TRY(
        xd_buf_printf(&text,
                      "%s:%u: %s is not %s that could be read without running it: it has no effect; write it "
                      "out, or give it to xdctl run",
                      said->shown, (unsigned)said->line, said->name, want));
    return xd_strings_add(&r->told->notes, xd_buf_cstr(&text));
}

static int take_tx(void *arg, const xd_conftest_said *said, xd_error *err)
{
    reader *r = arg;
    (void)err;
    if (said->what == XD_ASSIGNED_NONE)
        return 0;
    if (said->what != XD_ASSIGNED_LIST && said->what != XD_ASSIGNED_STRING)
        return note(r, said, "a list of plain strings, or one string,");
    for (size_t i = 0; i < said->values->words.count; i++) {
        xd_autofree char *spec = NULL;
        XD_TRY(xd_spec_in_folder(said->values->words.at[i], said->dir, &spec));
        XD_TRY(add_option(r, "tx", XD_WORDS_CONFTEST, xd_take(&spec),
                          position(said->shown, said->values->lines[i])));
    }
    return 0;
}

/* In py.test 1.0, what was neither no nor each was load. */
static int take_conftest_dist(void *arg, const xd_conftest_said *said, xd_error *err)
{
    reader     *r = arg;
    const char *value = said->what == XD_ASSIGNED_TRUE     ? "load"
                        : said->what == XD_ASSIGNED_FALSE  ? "no"
                        : said->what == XD_ASSIGNED_STRING ? said->values->words.at[0]
                                                           : NULL;
    (void)err;
    if (said->what == XD_ASSIGNED_NONE || place_of(r->all, r->count, "dist") != NOWHERE)
        return 0; /* that of the first argument counts */
    if (!value)
        return note(r, said, "True, False or a plain string");
    return add_option(r, "dist", XD_WORDS_CONFTEST, strdup(value), position(said->shown, said->line));
}

static int read_all(reader *r, xd_error *err)
{
    static const char *const tx[] = { "pytest_option_tx", "option_tx", NULL };
    static const char *const dist[] = { "pytest_option_dist", "option_dist", NULL };
    XD_TRY(xd_invocation_conftests(r->in, tx, take_tx, r, err));
    XD_TRY(xd_invocation_conftests(r->in, dist, take_conftest_dist, r, err));
    XD_TRY(read_words(r, XD_WORDS_ADDOPTS));
    XD_TRY(read_words(r, XD_WORDS_ENVIRONMENT));
    return read_words(r, XD_WORDS_TYPED);
}

static int take(xd_config *cfg, const char *work, xd_project_told *told, xd_error *err)
{
    xd_invocation in = XD_INVOCATION_INIT;
    xd_error      pytests = { 0 };
    reader        all = { .in = &in, .told = told };
    int           r = xd_invocation_read(&in, cfg, work, &pytests);
    if (r == 0)
        r = read_all(&all, err);
    else if (r != -ENOMEM)
        r = 0;
    if (r == 0)
        r = xd_project_options_settle(cfg, all.all, all.count, told, err);
    reader_release(&all);
    xd_invocation_release(&in);
    return r;
}

int xd_config_read_project(xd_config *cfg, char *err)
{
    xd_project_told told = { 0 };
    xd_error        why = { 0 };
    int             r = xd_project_options_take(cfg, &told, &why);
    for (size_t i = 0; i < told.notes.count && r == 0; i++)
        r = xd_strings_add(&cfg->notes, told.notes.at[i]);
    xd_project_told_release(&told);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%.1000s", why.text[0] ? why.text : xd_error_name(r));
    return r;
}

int xd_project_options_take(xd_config *cfg, xd_project_told *told, xd_error *err)
{
    xd_folders where = { 0 };
    if (!xd_config_is_pytest(cfg))
        return 0;
    int r = xd_folders_init(&where, cfg, err);
    if (r == -ENOENT) /* names count from a current folder that is gone; the start of the run says so */
        r = 0;
    else if (r == 0 && where.work)
        r = take(cfg, where.work, told, err);
    xd_folders_release(&where);
    return r;
}
