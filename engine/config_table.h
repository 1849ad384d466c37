/* engine/config_table.h - the table of options, for those who read options: config (the values), config_parse (the command
 * line), and actors/config_*.c (files and the environment). */
#pragma once
#include "engine/config.h"

/* What an option's text is made into; one setter per kind. */
typedef enum {
    KIND_FLAG,
    KIND_TEXT,
    KIND_OPTIONS, /* a text that may be empty */
    KIND_LIST,
    KIND_NAMES, /* a list, too, of which nothing is empty */
    KIND_WORKERS,
    KIND_DIST,
    KIND_WORD, /* one of those that the argument lists */
    KIND_NUMBER,
    KIND_NUMBER_OR_ALL, /* all is 0 */
    KIND_SIZE,
    KIND_TIME,
    KIND_GRACE,
    KIND_TIME_OR_NONE, /* none is 0 */
    KIND_COUNT
} xd_config_kind;

typedef struct xd_config_entry {
    xd_option      shown;
    xd_config_kind kind;
    size_t         offset;       /* of the member of struct xd_config */
    bool           among_pytest; /* still read by xd behind pytest's first argument */
} xd_config_entry;

extern const xd_config_entry xd_config_entries[];
extern const size_t          xd_config_entry_count;

/* As xd_config_set. */
int xd_config_set_entry(xd_config *c, const xd_config_entry *e, const char *value, char *err) XD_MUST;
/* -EINVAL: this option is a flag, and came with a value. */
int xd_config_refuse_value(const xd_config_entry *e, const char *value, char *err) XD_MUST;
/* The option of this long name, in which - and _ are alike; NULL. */
const xd_config_entry *xd_config_entry_named(const char *name);
bool                   xd_config_is_list(const xd_config_entry *e);
/* The value is shown as that of the option, and does nothing: something else has seen to it. */
int xd_config_remember(xd_config *c, const xd_config_entry *e, const char *value) XD_MUST;
/* The same, of a list: the first values of it, as many as there are origins, and in front of all that it is known to hold. */
int xd_config_remember_first(xd_config *c, const xd_config_entry *e, const xd_strings *values,
                             const xd_strings *origins) XD_MUST;
/* What a list held is gone. */
void xd_config_clear_list(xd_config *c, const xd_config_entry *e);
