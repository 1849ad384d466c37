/* actors/toml_file.h - a TOML text as a tree of plain C. toml_file.cpp is the only source in C++: it holds the library (toml++), and no exception leaves it.
 * Pure. Numbers and dates are told as far as options of xd need them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XD_TOML_DEPTH 32u /* of tables and lists in one another */

typedef enum xd_toml_kind {
    XD_TOML_TABLE,
    XD_TOML_ARRAY,
    XD_TOML_STRING,
    XD_TOML_INTEGER,
    XD_TOML_FLOAT,
    XD_TOML_BOOLEAN,
    XD_TOML_TIME /* a date, a time, or both */
} xd_toml_kind;

typedef struct xd_toml_node {
    xd_toml_kind         kind;
    uint32_t             line, column; /* of the key, else of the value; from 1 */
    char                *key;          /* NULL = a member of a list, or the root */
    char                *text;         /* of a string */
    int64_t              integer;
    bool                 boolean;
    struct xd_toml_node *first, *next; /* members in the order of the file */
} xd_toml_node;

/* Where a text is no TOML, and why. */
typedef struct xd_toml_error {
    uint32_t line, column; /* 0 = of the whole text */
    char     text[400];
    bool     wrong_kind; /* it is TOML, and something else than a table stands where `path` leads */
} xd_toml_error;

/* The table that `path` leads to (names of tables, NULL-terminated; NULL = all of it), with all below it. -ENOENT: there is none of that name. -EINVAL: err says
 * what is wrong, and where; also where something on the path is no table. -ENOMEM. *ret is the caller's to free. */
int           xd_toml_read(const char *text, size_t len, const char *const *path, xd_toml_node **ret,
                           xd_toml_error *err) __attribute__((warn_unused_result));
xd_toml_node *xd_toml_free(xd_toml_node *n); /* NULL ok; returns NULL */
/* "a table", "a list", "a string": as a message calls it. */
const char *xd_toml_kind_name(xd_toml_kind kind);

#ifdef __cplusplus
}
#endif
