/* engine/keylist.h - whose keys are trusted: files of one line for each key, in the manner of ssh.
 *
 *   authorized_controllers, authorized_workers     [OPTIONS] xdk1 KEY [COMMENT]
 *   known_brokers                                  ADDRESS xdk1 KEY [COMMENT]
 *
 * OPTIONS are separated by commas, values with a comma or a blank stand in double quotes (\" is a quote):
 *   from="CIDR,!CIDR"      addresses it may come from; one that matches a pattern with ! is refused
 *   expires=TIME           2026-12-31, 2026-12-31T18:00Z or 2026-12-31T18:00:00Z: not from then on
 *   max-workers=N          workers that each of its agents may have
 *   command="PROGRAM ..."  of a controller: the agent is started by this command line, which gets its own behind
 * ADDRESS is HOST:PORT, with [ ] around an IPv6 address. Empty lines, and those that begin with #, count for nothing.
 * A file that somebody else may change is refused. Any thread; nothing is kept. */
#pragma once
#include "engine/keys.h"

#define XD_KEYLIST_CONTROLLERS "authorized_controllers"
#define XD_KEYLIST_WORKERS "authorized_workers"
#define XD_KEYLIST_BROKERS "known_brokers"
#define XD_KEYLIST_LINES_MAX 65536u

typedef struct xd_netmask {
    bool    except; /* with ! */
    uint8_t at[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;   /* of those 128 */
} xd_netmask;

typedef struct xd_key_line {
    xd_pubkey   key;
    char       *address;     /* known_brokers; NULL elsewhere; all owned */
    char       *comment;     /* "" without one */
    char       *command;     /* NULL = none */
    uint32_t    max_workers; /* 0 = no limit */
    int64_t     expires_s;   /* seconds since 1970, UTC; INT64_MAX = never */
    xd_netmask *from;
    size_t      n_from; /* 0 = from everywhere */
    uint32_t    line;   /* of the file, from 1 */
} xd_key_line;

typedef struct xd_keylist {
    xd_key_line *at;
    size_t       count;
} xd_keylist;
#define XD_KEYLIST_INIT ((xd_keylist){ 0 })

typedef enum xd_keylist_kind { XD_KEYLIST_AUTHORIZED, XD_KEYLIST_KNOWN } xd_keylist_kind;

void xd_keylist_release(xd_keylist *l);
/* `name` stands for the file in err. -EINVAL: err names the line, what is wrong in it and what may stand there; *ret is untouched. */
int xd_keylist_parse(xd_keylist *ret, xd_keylist_kind kind, xd_bytes text, const char *name,
                     xd_error *err) XD_MUST;
/* No such file: an empty list. -EPERM: somebody else may change it, or the folder that it is in; -EINVAL; -errno. */
int xd_keylist_read(xd_keylist *ret, xd_keylist_kind kind, const char *path, xd_error *err) XD_MUST;

/* The line of a key, or NULL. With several the last one counts. */
const xd_key_line *xd_keylist_find(const xd_keylist *l, const xd_pubkey *key);
/* The line of an address, compared without case; NULL. */
const xd_key_line *xd_keylist_find_address(const xd_keylist *l, const char *address);

typedef enum xd_key_verdict { XD_KEY_GOOD, XD_KEY_EXPIRED, XD_KEY_ELSEWHERE } xd_key_verdict;
/* May it be used by one at this address (text of an IPv4 or IPv6 address; NULL = not known: then `from` refuses it) now? */
xd_key_verdict xd_key_line_check(const xd_key_line *l, const char *address, int64_t now_s);

/* ---- changes: the file is written anew and renamed, other lines stay as they are ---- */

/* Adds a line; the file, and the folder above (0700), are made if need be. err names the file. */
int xd_keylist_add(const char *path, const char *line, xd_error *err) XD_MUST;
/* Takes away the lines with this key, and of `address` if that is not NULL. Returns how many; -errno. */
int xd_keylist_remove(const char *path, xd_keylist_kind kind, const xd_pubkey *key, const char *address,
                      xd_error *err) XD_MUST;
