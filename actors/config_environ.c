/* actors/config_environ.c - see config_environ.h. */
#include "actors/config_environ.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/nearest.h"
#include "engine/base/text.h"

#define PREFIX "XD_"
#define NAME_MAX_LEN 64u
#define MISTYPED_MOST 2u

/* Those that are no options: of xd itself, and what its tests find. */
static const char *const others[] = { "XD_CONFIG", "XD_TOKEN",        "XD_TRACE",
                                      "XD_WORKER", "XD_WORKER_COUNT", "XD_RUN_UID" };

/* "max-worker-restart" -> "XD_MAX_WORKER_RESTART" */
static void name_of(const xd_config_entry *e, char *ret)
{
    snprintf(ret, NAME_MAX_LEN, PREFIX "%s", e->shown.name);
    for (char *c = ret; *c; c++)
        *c = (char)(*c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
}

static const xd_config_entry *entry_of(const char *variable)
{
    char name[NAME_MAX_LEN];
    for (size_t i = 0; i < xd_config_entry_count; i++) {
        name_of(&xd_config_entries[i], name);
        if (xd_config_entries[i].shown.name[0] && strcmp(name, variable) == 0)
            return &xd_config_entries[i];
    }
    return NULL;
}

static int note_mistyped(const char *variable, xd_strings *notes)
{
    xd_autofree char(*names)[NAME_MAX_LEN] = calloc(xd_config_entry_count, sizeof(*names));
    xd_autofree const char **all = calloc(xd_config_entry_count + XD_ARRAY_LEN(others) + 1, sizeof(*all));
    size_t                   n = 0;
    char                     line[XD_TEXT];
    if (!names || !all)
        return -ENOMEM;
    for (size_t i = 0; i < XD_ARRAY_LEN(others); i++) {
        if (strcmp(others[i], variable) == 0)
            return 0;
        all[n++] = others[i] + strlen(PREFIX);
    }
    for (size_t i = 0; i < xd_config_entry_count; i++) {
        name_of(&xd_config_entries[i], names[i]);
        if (xd_config_entries[i].shown.name[0])
            all[n++] = names[i] + strlen(PREFIX);
    }
    const char *meant = xd_nearest(variable + strlen(PREFIX), all, MISTYPED_MOST);
    if (!meant)
        return 0;
    snprintf(line, sizeof(line), "environment variable %.100s: xd does not know it; is " PREFIX "%s meant?",
             variable, meant);
    return xd_strings_add(notes, line);
}

static int take_flag(const xd_config_entry *e, const char *variable, const char *value,
                     xd_config_values *values, xd_error *err)
{
    static const char *const yes[] = { "1", "true", "yes" }, *const no[] = { "0", "false", "no" };
    for (size_t i = 0; i < XD_ARRAY_LEN(yes); i++)
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0)
            return xd_config_values_add(values, e, strcmp(value, yes[i]) == 0 ? "1" : "0", variable,
                                        XD_RANK_ENVIRONMENT);
    return xd_error_set(err, -EINVAL, "%s: '%.200s' is not valid: it is 1, true, yes, 0, false or no",
                        variable, value);
}

static int take_one(const xd_config_entry *e, const char *variable, const char *value,
                    xd_config_values *values, xd_error *err)
{
    XD_TRY(xd_config_value_check(e, value, variable, err));
    return xd_config_values_add(values, e, value, variable, XD_RANK_ENVIRONMENT);
}

/* Words as a shell reads them: specs may have blanks. */
static int take_list(const xd_config_entry *e, const char *variable, const char *value,
                     xd_config_values *values, xd_error *err)
{
    xd_autofree char **words = NULL;
    const int          r = xd_text_shell_split(value, &words);
    if (r == -EINVAL)
        return xd_error_set(err, r, "%s: '%.200s' is not valid: a quote is not closed", variable, value);
    XD_TRY(r);
    for (size_t i = 0; words[i]; i++)
        XD_TRY(take_one(e, variable, words[i], values, err));
    return 0;
}

static int take(const char *variable, const char *value, xd_config_values *values, xd_strings *notes,
                xd_error *err)
{
    const xd_config_entry *e = entry_of(variable);
    if (!e)
        return note_mistyped(variable, notes);
    if (!*value)
        return 0;
    if (e->kind == KIND_FLAG)
        return take_flag(e, variable, value, values, err);
    return xd_config_is_list(e) ? take_list(e, variable, value, values, err)
                                : take_one(e, variable, value, values, err);
}

int xd_config_environ(char *const *variables, xd_config_values *values, xd_strings *notes, xd_error *err)
{
    for (size_t i = 0; variables[i]; i++) {
        const char *equal = strchr(variables[i], '=');
        if (strncmp(variables[i], PREFIX, strlen(PREFIX)) != 0 || !equal)
            continue;
        xd_autofree char *variable = strndup(variables[i], (size_t)(equal - variables[i]));
        XD_TRY(variable ? take(variable, equal + 1, values, notes, err) : -ENOMEM);
    }
    return 0;
}
