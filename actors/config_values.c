/* actors/config_values.c - see config_values.h. */
#include "actors/config_values.h"

#include <stdlib.h>
#include <string.h>

#include "engine/xspec.h"

int xd_config_values_add(xd_config_values *v, const xd_config_entry *option, const char *text,
                         const char *origin, xd_config_rank rank)
{
    xd_config_value *all = realloc(v->at, (v->count + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    v->at = all;
    xd_config_value *one = &all[v->count++];
    *one = (xd_config_value){ .option = option, .origin = strdup(origin), .rank = rank };
    if (text)
        one->text = strdup(text);
    return one->origin && (one->text || !text) ? 0 : -ENOMEM;
}

void xd_config_values_release(xd_config_values *v)
{
    for (size_t i = 0; i < v->count; i++) {
        free(v->at[i].text);
        free(v->at[i].origin);
    }
    free(v->at);
    *v = XD_CONFIG_VALUES_INIT;
}

static bool is_named(const xd_config_entry *option, const char *name)
{
    return strcmp(option->shown.name, name) == 0;
}

static bool has_specs(const xd_config_entry *option)
{
    return is_named(option, "tx") || is_named(option, "px");
}

bool xd_config_names_hosts(const char *spec)
{
    const size_t digits = strspn(spec, "0123456789");
    return spec[digits && spec[digits] == '*' ? digits + 1 : 0] == '@';
}

static int check_spec(const char *text, const char *label, xd_error *err)
{
    xd_xspec  spec;
    xd_error  why = { 0 };
    const int r = xd_xspec_parse(&spec, text, &why);
    if (r == -EINVAL)
        return xd_error_set(err, r, "%s: %s", label, why.text);
    if (r == 0)
        xd_xspec_release(&spec);
    return r;
}

int xd_config_value_check(const xd_config_entry *option, const char *text, const char *label, xd_error *err)
{
    xd_config *scratch = NULL;
    char       why[XD_TEXT] = "";
    XD_TRY(xd_config_new(&scratch));
    const int r = xd_config_set_entry(scratch, option, text, why);
    xd_config_free(scratch);
    if (r == -EINVAL) {
        const char *behind = strstr(why, ": "); /* the option, which the label names */
        return xd_error_set(err, r, "%s: %s", label, behind ? behind + 2 : why);
    }
    if (r == 0 && has_specs(option) && !(is_named(option, "tx") && xd_config_names_hosts(text)))
        return check_spec(text, label, err);
    return r;
}

static bool says_where(const xd_config_entry *option)
{
    return is_named(option, "tx") || is_named(option, "hosts");
}

/* The highest rank of those that say where workers run; -1 = none does. */
static int rank_of_places(const xd_config_values *v, const xd_config *typed, const xd_config *cfg)
{
    int rank = -1;
    if (typed->tx.count > cfg->tx.count || (typed->hosts && !cfg->hosts))
        return XD_RANK_COMMAND_LINE;
    for (size_t i = 0; i < v->count; i++)
        if (says_where(v->at[i].option) && v->at[i].text)
            rank = (int)v->at[i].rank;
    return rank;
}

static bool has_agent(const xd_config_values *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->at[i].rank == XD_RANK_ENVIRONMENT && is_named(v->at[i].option, "agent"))
            return true;
    return false;
}

static int set(xd_config *cfg, const xd_config_value *v)
{
    if (!v->text) {
        xd_config_clear_list(cfg, v->option);
        return 0;
    }
    cfg->origin = v->origin;
    /* $XD_AGENT is read by who looks for the agent; an agent that is an option is trusted less. */
    const int r = v->rank == XD_RANK_ENVIRONMENT && is_named(v->option, "agent")
                      ? xd_config_remember(cfg, v->option, v->text)
                      : xd_config_set_entry(cfg, v->option, v->text, NULL);
    cfg->origin = NULL;
    return r;
}

int xd_config_values_apply(const xd_config_values *v, const xd_config *typed, xd_config *cfg)
{
    /* As -n wins over --tx where both stand on one command line, a number in a file would win over specs that were typed. */
    const int  places = rank_of_places(v, typed, cfg);
    const bool plain = typed->load && !cfg->load && !typed->dist, agent = has_agent(v);
    for (size_t i = 0; i < v->count; i++) {
        const xd_config_value *one = &v->at[i];
        const bool             idle = (is_named(one->option, "numprocesses") && (int)one->rank < places) ||
                          (is_named(one->option, "dist") && plain) ||
                          (is_named(one->option, "agent") && agent && one->rank < XD_RANK_ENVIRONMENT);
        XD_TRY(idle ? 0 : set(cfg, one));
    }
    return 0;
}
