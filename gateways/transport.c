/* gateways/transport.c - see transport.h: which transport carries a spec. */
#include "gateways/transport.h"

#include <stdio.h>
#include <string.h>

#include "gateways/command.h"
#include "gateways/listen.h"
#include "gateways/socket.h"
#include "gateways/ssh.h"

bool xd_transport_known(const xd_xspec *spec)
{
    return spec->kind == XD_SPEC_POPEN || spec->kind == XD_SPEC_SSH || spec->kind == XD_SPEC_COMMAND ||
           spec->kind == XD_SPEC_SOCKET;
}

static int by_openssh(xd_transport_choice *ret, const char *why)
{
    ret->transport = &xd_transport_openssh;
    snprintf(ret->why, sizeof(ret->why), "by the ssh program: %s", why);
    return 0;
}

static int choose_ssh(xd_transport_choice *ret, const xd_xspec *spec, const char *ssh, xd_error *err)
{
    const xd_target target = { .spec = spec };
    char            why[280];
    const bool      automatic = !ssh || strcmp(ssh, "auto") == 0;
    if (!automatic && strcmp(ssh, "openssh") == 0)
        return by_openssh(ret, "--ssh=openssh");
    snprintf(why, sizeof(why), "via=%.100s", spec->via ? spec->via : "");
    int r = spec->jump ? 0 : xd_ssh_suits(&target, why, sizeof(why));
    if (r < 0)
        return xd_error_set(err, r, "spec '%.200s': %s", spec->text, r == -ENOMEM ? xd_error_name(r) : why);
    if (r == 0 && automatic)
        return by_openssh(ret, why);
    if (r == 0)
        return xd_error_set(err, -EINVAL, "spec '%.200s': --ssh=libssh: libssh cannot do %s", spec->text,
                            why);
    ret->transport = &xd_transport_libssh;
    ret->other = automatic ? &xd_transport_openssh : NULL;
    snprintf(ret->why, sizeof(ret->why), "by libssh");
    return 0;
}

int xd_transport_choose(xd_transport_choice *ret, const xd_xspec *spec, const char *ssh, xd_error *err)
{
    xd_transport_choice c = { 0 };
    switch (spec->kind) {
    case XD_SPEC_POPEN:
        c.transport = &xd_transport_popen;
        break;
    case XD_SPEC_COMMAND:
        c.transport = &xd_transport_command;
        break;
    case XD_SPEC_SOCKET:
        c.transport = &xd_transport_socket;
        break;
    case XD_SPEC_JOIN:
        c.transport = &xd_transport_joined;
        break;
    case XD_SPEC_SSH:
        XD_TRY(choose_ssh(&c, spec, ssh, err));
        break;
    default:
        return xd_error_set(err, -ENOENT, "spec '%.200s': nothing here carries it", spec->text);
    }
    *ret = c;
    return 0;
}
