/* engine/xspec_via.c - via=: hosts that are reached by way of others; see xspec.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/xspec.h"

#define DEPTH_MAX 8u /* hosts on the way to another */

static const xd_xspec *find(const xd_xspec *all, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].id && strcmp(all[i].id, id) == 0)
            return &all[i];
    return NULL;
}

/* A worker beside one of ssh=: the same host, reached the same way. */
static void move_there(xd_xspec *s, xd_xspec *at)
{
    s->target = xd_take(&at->target);
    s->ssh_config = xd_take(&at->ssh_config);
    s->jump = xd_take(&at->jump);
    free(s->via);
    s->via = xd_take(&at->via);
    s->kind = XD_SPEC_SSH;
}

static int route(xd_xspec *s, const xd_xspec *all, size_t count, unsigned depth, xd_error *err)
{
    if (!s->via || s->jump) /* it is reached from here, or has been routed */
        return 0;
    const xd_xspec *found = find(all, count, s->via);
    if (!found)
        return xd_error_set(err, -EINVAL, "spec '%.200s': via=%.100s: no other spec has id=%.100s", s->text,
                            s->via, s->via);
    if (depth == DEPTH_MAX)
        return xd_error_set(err, -EINVAL,
                            "spec '%.200s': via=%.100s leads in a circle, or over more than %u hosts",
                            s->text, s->via, DEPTH_MAX);
    if (found->kind == XD_SPEC_SOCKET || found->kind == XD_SPEC_COMMAND)
        return xd_error_set(err, -EINVAL, "spec '%.200s': via=%.100s: that is no host of ssh=", s->text,
                            s->via);
    xd_xspec *at = calloc(1, sizeof(*at));
    int       r = at ? xd_xspec_copy(at, found) : -ENOMEM;
    if (r == 0)
        r = route(at, all, count, depth + 1, err);
    if (r == 0 && at->kind == XD_SPEC_SSH) {
        if (s->kind == XD_SPEC_SSH)
            s->jump = xd_take(&at);
        else
            move_there(s, at);
    }
    if (at)
        xd_xspec_release(at);
    free(at);
    return r;
}

int xd_xspec_route(xd_xspec *s, const xd_xspec *all, size_t count, xd_error *err)
{
    return route(s, all, count, 0, err);
}
