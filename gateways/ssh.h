/* gateways/ssh.h - the agent over ssh, by libssh: for specs `ssh=[OPTIONS] [USER@]HOST`.
 *
 * One connection and one channel per gateway, in a thread of their own (ssh_state.h). The far end runs XD_DELIVER_COMMAND;
 * what follows is deliver.h's. Its stderr is the `text` of the pipe.
 *
 * What libssh cannot do, or does otherwise than the user's ssh program would, is refused and left to that program: before
 * the dial, as far as ssh_config says it (xd_ssh_suits), or with -EOPNOTSUPP from open, opened or reopen, once the host has said
 * it (its key is known by a certificate only, it wants Kerberos). err names the cause; nothing has been changed anywhere. */
#pragma once
#include "gateways/transport.h"

extern const xd_transport xd_transport_libssh; /* its name is "ssh" */

/* Can libssh do what the options of the spec, ssh_config and the keys they name ask for with this host?  1 = yes; 0 = no, `why` says what it
 * is in a few words ("ProxyJump in /home/me/.ssh/config:7"); -EINVAL: the options or the file are wrong, `why` says how; -ENOMEM.
 * Reads files, starts nothing, asks nobody. */
int xd_ssh_suits(const xd_target *target, char *why, size_t size) XD_MUST;
/* What the spec calls the host, and what ssh_config calls it (HostName), without the user; malloc'ed. -EINVAL and other -errno: err says it. */
int xd_ssh_names(const xd_xspec *spec, char **ret_given, char **ret_host, xd_error *err) XD_MUST;
