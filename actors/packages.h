/* actors/packages.h - the packages of two interpreters, compared. Pure. */
#pragma once
#include "engine/base/arena.h"
#include "engine/wire.h"
#include "engine/xd.h"

#define XD_PACKAGES_MOST 10000u

/* One that is installed. The texts are those of its list. */
typedef struct xd_installed {
    const char *name, *version; /* fit for a terminal */
    uint8_t     flags;          /* of XD_PACKAGE */
    uint32_t    place;          /* in the list as it was told */
} xd_installed;

/* Those of one interpreter, by name, each once. */
typedef struct xd_installed_list {
    xd_installed *at;
    size_t        count;
    xd_arena      texts;
} xd_installed_list;
#define XD_INSTALLED_LIST_INIT ((xd_installed_list){ .texts = XD_ARENA_INIT })

/* Copies what a host has told (HOST_CHECKED.packages), with its texts made harmless and shortened; of those of one name the first
 * counts. *ret is empty before. -EPROTO: more than XD_PACKAGES_MOST; -ENOMEM. Release it in any case. */
int  xd_installed_take(xd_installed_list *ret, xd_wire_list told) XD_MUST;
void xd_installed_release(xd_installed_list *l);

/* What a user sees as a difference (see xd_host.packages), in that order. *ret is malloc'ed, NULL = none; its texts are those of the
 * lists. -ENOMEM. */
int xd_installed_compare(const xd_installed_list *here, const xd_installed_list *there, xd_package **ret,
                         size_t *ret_count) XD_MUST;
