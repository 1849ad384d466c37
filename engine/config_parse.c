/* engine/config_parse.c - the command line of a run: which words are options of xd, and which are pytest's. */
#include <stdio.h>
#include <string.h>

#include "engine/config_table.h"

static int match_long(const char *name, const char *word, const char **ret_value)
{
    const size_t len = strlen(name);
    if (!len || strncmp(word, name, len) != 0)
        return 0;
    if (word[len] == '=')
        *ret_value = word + len + 1;
    return word[len] == '=' || word[len] == 0;
}

/* A shorter name for the same. */
static const struct {
    const char *name, *shorter;
} shorter_names[] = { { "reconnect-timeout", "reconnect" } };

/* 1 = `arg` is this option; *ret_value is what stands in the same word behind it, or NULL. */
static int match(const xd_config_entry *e, const char *arg, const char **ret_value)
{
    *ret_value = NULL;
    if (arg[0] != '-')
        return 0;
    if (arg[1] == '-') {
        for (size_t i = 0; i < XD_ARRAY_LEN(shorter_names); i++)
            if (strcmp(shorter_names[i].name, e->shown.name) == 0 &&
                match_long(shorter_names[i].shorter, arg + 2, ret_value))
                return 1;
        return match_long(e->shown.name, arg + 2, ret_value);
    }
    if (!e->shown.letter || arg[1] != e->shown.letter)
        return 0;
    if (arg[2])
        *ret_value = arg[2] == '=' ? arg + 3 : arg + 2;
    /* "-d" alone is the flag; "-dx" is a group of pytest's short flags. */
    return !arg[2] || e->shown.argument != NULL;
}

/* 1 = taken (and *i moved on), 0 = not an option of xd here. */
static int take_option(xd_config *c, int argc, char *const *argv, int *i, bool among_pytest, char *err)
{
    for (size_t k = 0; k < xd_config_entry_count; k++) {
        const xd_config_entry *e = &xd_config_entries[k];
        const char            *value;
        if ((among_pytest && !e->among_pytest) || !match(e, argv[*i], &value))
            continue;
        if (!e->shown.argument && value)
            return xd_config_refuse_value(e, value, err);
        if (e->shown.argument && !value) {
            if (*i + 1 >= argc) {
                if (err)
                    snprintf(err, XD_TEXT, "option %s needs a value: %s", argv[*i], e->shown.argument);
                return -EINVAL;
            }
            value = argv[++*i];
        }
        c->origin = "command line";
        int r = xd_config_set_entry(c, e, e->shown.argument ? value : "1", err);
        c->origin = NULL;
        return r < 0 ? r : 1;
    }
    return 0;
}

const char *xd_config_misplaced(const xd_config *c)
{
    const char *value;
    for (size_t i = 0; i < XD_MIN(c->args.count, c->args_final); i++)
        for (size_t k = 0; k < xd_config_entry_count; k++)
            if (!xd_config_entries[k].among_pytest && match(&xd_config_entries[k], c->args.at[i], &value))
                return xd_config_entries[k].shown.name;
    return NULL;
}

const char *xd_config_misplaced_value(const xd_config *c, const char *name)
{
    const char *value = NULL;
    size_t      end = XD_MIN(c->args.count, c->args_final);
    for (size_t k = 0; k < xd_config_entry_count; k++)
        for (size_t i = 0; i < end && strcmp(xd_config_entries[k].shown.name, name) == 0; i++)
            if (match(&xd_config_entries[k], c->args.at[i], &value))
                return value ? value : i + 1 < end ? c->args.at[i + 1] : NULL;
    return NULL;
}

static void drop_args(xd_strings *s, size_t at, size_t count)
{
    for (size_t i = at; i < at + count; i++)
        free(s->at[i]);
    memmove(s->at + at, s->at + at + count, (s->count - at - count + 1) * sizeof(*s->at));
    s->count -= count;
}

int xd_config_take(xd_config *c, const char *name, xd_error *err)
{
    char text[XD_TEXT] = "";
    if (strcmp(name, "profile") == 0 && xd_config_misplaced_value(c, name)) /* it chose other options */
        return xd_error_set(err, -EINVAL,
                            "option --profile: it stands in front of pytest's arguments: xdctl run --profile "
                            "%.200s ...",
                            xd_config_misplaced_value(c, name));
    for (size_t k = 0; k < xd_config_entry_count; k++) {
        const xd_config_entry *e = &xd_config_entries[k];
        if (e->among_pytest || strcmp(e->shown.name, name) != 0)
            continue;
        for (size_t i = 0; i < XD_MIN(c->args.count, c->args_final);) {
            const char *value;
            if (!match(e, c->args.at[i], &value)) {
                i++;
                continue;
            }
            int end = (int)i, last = (int)XD_MIN(c->args.count, c->args_final);
            int r = take_option(c, last, c->args.at, &end, false, text);
            if (r < 0)
                return xd_error_set(err, r, "%s", text[0] ? text : xd_error_name(r));
            drop_args(&c->args, i, (size_t)end - i + 1);
            c->args_final -= c->args_final == SIZE_MAX ? 0 : (size_t)end - i + 1;
        }
    }
    return 0;
}

int xd_config_parse(xd_config *c, int argc, char *const *argv, char *err)
{
    bool among_pytest = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            /* xd's options end here for good.  pytest itself must not see the word when it only served us. */
            c->args_final = c->args.count;
            for (i++; i < argc; i++)
                XD_TRY(xd_config_add_arg(c, argv[i]));
            break;
        }
        int r = take_option(c, argc, argv, &i, among_pytest, err);
        if (r < 0)
            return r;
        if (r == 0) {
            among_pytest = xd_config_is_pytest(c); /* no plugin can have an option of the same name else */
            XD_TRY(xd_config_add_arg(c, argv[i]));
        }
    }
    return 0;
}
