/* engine/names.c - see names.h. */
#include "engine/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

void xd_names_release(xd_names *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        free(n->at[i]);
    free(n->at);
    *n = (xd_names){ 0 };
}

static size_t span(xd_bytes text, size_t from, const char *characters)
{
    size_t n = from;
    while (n < text.len && text.ptr[n] && strchr(characters, text.ptr[n]))
        n++;
    return n;
}

bool xd_names_numbered(xd_bytes name)
{
    return name.len > 2 && memcmp(name.ptr, "gw", 2) == 0 && span(name, 2, "0123456789") == name.len;
}

bool xd_names_valid(xd_bytes name)
{
    return name.len && name.len <= XD_NAME_MAX && span(name, 0, CHARACTERS) == name.len &&
           name.ptr[0] != '.' && name.ptr[0] != '-' && !xd_names_numbered(name);
}

static int reach(xd_names *n, uint32_t count)
{
    if (count <= n->count)
        return 0;
    char **at = realloc(n->at, count * sizeof(*at));
    if (!at)
        return -ENOMEM;
    memset(at + n->count, 0, (count - n->count) * sizeof(*at));
    n->at = at;
    n->count = count;
    return 0;
}

int xd_names_set(xd_names *n, uint16_t worker, xd_bytes name)
{
    char *copy = NULL;
    if (name.len && !xd_names_valid(name))
        return -EINVAL;
    if (!name.len && worker >= n->count)
        return 0;
    XD_TRY(reach(n, worker + 1u));
    if (name.len && !(copy = xd_bytes_dup(name)))
        return -ENOMEM;
    free(n->at[worker]);
    n->at[worker] = copy;
    return 0;
}

int xd_names_set_list(xd_names *n, uint16_t first, xd_wire_list names)
{
    uint32_t     worker = first;
    xd_wire_TEXT t;
    for (; xd_wire_TEXT_next(&names, &t) == 1; worker++) {
        int r = worker < XD_NO_WORKER ? xd_names_set(n, (uint16_t)worker, t.text) : -EINVAL;
        if (r < 0)
            return r == -EINVAL ? -EPROTO : r;
    }
    return 0;
}

xd_name xd_names_of(const xd_names *n, uint16_t worker)
{
    xd_name ret;
    if (worker < n->count && n->at[worker])
        snprintf(ret.text, sizeof(ret.text), "%s", n->at[worker]);
    else
        snprintf(ret.text, sizeof(ret.text), "gw%u", (unsigned)worker);
    return ret;
}
