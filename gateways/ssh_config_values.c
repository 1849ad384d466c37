/* gateways/ssh_config_values.c - see ssh_config.h: what was read, for those who use it. */
#include <stdlib.h>
#include <strings.h>

#include "engine/base/mem.h"
#include "gateways/ssh_config_state.h"
#include "gateways/ssh_words.h"

const char *xd_ssh_conf_value(const xd_ssh_conf *c, const char *keyword)
{
    const int i = xd_ssh_word_find(keyword);
    return i < 0 ? NULL : c->at[i].value;
}

xd_ssh_conf *xd_ssh_conf_free(xd_ssh_conf *c)
{
    if (!c)
        return NULL;
    for (int i = 0; c->at && xd_ssh_words[i].name; i++) {
        free(c->at[i].value);
        free(c->at[i].where);
    }
    char *texts[] = { c->given, c->home, c->local_user, c->words, c->host, c->user };
    for (size_t i = 0; i < XD_ARRAY_LEN(texts); i++)
        free(texts[i]);
    free(c->at);
    free(c);
    return NULL;
}

const char *xd_ssh_conf_unsuited(const xd_ssh_conf *c)
{
    return *c->unsuited ? c->unsuited : NULL;
}

const char *xd_ssh_conf_given(const xd_ssh_conf *c)
{
    return c->given;
}

const char *xd_ssh_conf_host(const xd_ssh_conf *c)
{
    return c->host;
}

const char *xd_ssh_conf_user(const xd_ssh_conf *c)
{
    return c->user;
}

uint16_t xd_ssh_conf_port(const xd_ssh_conf *c)
{
    return c->port;
}

const char *xd_ssh_conf_words(const xd_ssh_conf *c)
{
    return c->words;
}

const char *xd_ssh_conf_home(const xd_ssh_conf *c)
{
    return c->home;
}

const char *xd_ssh_conf_local_user(const xd_ssh_conf *c)
{
    return c->local_user;
}

const char *xd_ssh_conf_get(const xd_ssh_conf *c, const char *keyword, const char *otherwise)
{
    const char *value = xd_ssh_conf_value(c, keyword);
    return value ? value : otherwise;
}

bool xd_ssh_conf_is(const xd_ssh_conf *c, const char *keyword, bool otherwise)
{
    const char *value = xd_ssh_conf_value(c, keyword);
    return value ? strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0 : otherwise;
}

uint32_t xd_ssh_conf_number(const xd_ssh_conf *c, const char *keyword, uint32_t otherwise)
{
    const char *value = xd_ssh_conf_value(c, keyword);
    uint32_t    n;
    return value && xd_ssh_number(value, &n) == 0 ? n : otherwise;
}
