/* gateways/ssh_config_state.h - private to ssh_config.c, which fills it, and ssh_config_values.c, which says what is in it. */
#pragma once
#include <stdint.h>

#include "gateways/ssh_config.h"

typedef struct setting {
    char *value; /* NULL = not set */
    char *where; /* "FILE:LINE" */
} setting;

struct xd_ssh_conf {
    setting *at; /* one per word of xd_ssh_words */
    char    *given, *home, *local_user, *words;
    char    *host, *user; /* once all is read */
    uint16_t port;
    char     unsuited[256];
};

const char *xd_ssh_conf_value(const xd_ssh_conf *c, const char *keyword); /* NULL = not set */
