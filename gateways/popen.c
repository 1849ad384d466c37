/* gateways/popen.c - the agent as a child of this process, on a socket pair.  No port, no file: a second socket pair brings it
 * one end of another, when the first was cut. */
#include "gateways/agent_child.h"

static int popen_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    const xd_agent_child_args args = { .agent = target->agent,
                                       .dir = target->dir,
                                       .cache_dir = target->cache_dir,
                                       .scratch_dir = target->scratch_dir,
                                       .output_limit = target->output_limit };
    xd_fdpipe_parts           parts;
    xd_error                  why = { 0 };
    int                       r = xd_agent_child_start(&args, &parts, &why);
    if (r == -EMFILE || r == -ENFILE)
        return xd_error_set(err, r, "%s: no descriptors: %s", target->spec->text, xd_error_name(r));
    if (r < 0)
        return xd_error_set(err, r, "%s", why.text);
    r = xd_fdpipe_new(ret, &xd_transport_popen, &parts);
    if (r < 0)
        xd_agent_child_abandon(&parts);
    return r;
}

const xd_transport xd_transport_popen = { .name = "popen", .local = true, .open = popen_open, XD_FDPIPE_OPS };
