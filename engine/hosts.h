/* engine/hosts.h - lists of hosts (--hosts), as GNU parallel writes them in its sshloginfile, made into specs (xspec.h).
 *
 *   8/hostA                  8*ssh=hostA
 *   hostB                    ssh=hostB//cpus=auto: as many workers as it has processors
 *   user@hostC:2222          ssh=-p 2222 user@hostC//cpus=auto; [::1]:2222 with an IPv6 address
 *   4/ssh -p 5000 hostD      4*ssh=-p 5000 hostD: ssh's own arguments in front of the host
 *   2/:                      2*popen, : is this host
 *   hostE//chdir=ci//nice=5  further keys of the spec behind any of them
 *   3*ssh=hostF//chdir=ci    a whole spec, where it has a kind with its value (ssh=, command=, ...) or NUM*
 *
 * A host that is named again without a number counts once; numbers of workers for one host add up.
 * Empty lines and what stands behind a # that begins a line or follows a blank are passed over. */
#pragma once
#include "engine/config.h"

/* 1 = *ret_spec (malloc'ed) is what the line says; 0 = it says nothing; -EINVAL: err says what is wrong and what is allowed;
 * -ENOMEM. Pure. */
int xd_hosts_line(const char *line, char **ret_spec, xd_error *err) XD_MUST;
/* What --hosts names is appended to the specs of --tx, and --hosts is done: it is NULL afterwards. As xd_hosts_read. */
int xd_hosts_apply(xd_config *c, xd_error *err) XD_MUST;
/* Appends the specs of the file to the list: "-" is standard input, a relative path counts from `dir` (NULL = the current folder).
 * -EINVAL: a line is bad (err names file and line), there is no host in it, or it cannot be read. -ENOMEM. */
int xd_hosts_read(const char *path, const char *dir, xd_strings *specs, xd_error *err) XD_MUST;
