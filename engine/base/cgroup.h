/* engine/base/cgroup.h - what control groups limit for this process: processors and memory, v1 and v2.
 * A limit of any group above the process's own counts as well, and where both versions are mounted the lower one. Formats:
 * cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, scheduler/sched-bwc.rst.
 * `root` stands in front of /proc and /sys in each path: "" = this machine; tests have a tree of their own. Every function
 * may be called by any thread; what cannot be read limits nothing. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Processors by the quota, rounded up; 0 = no limit. */
uint32_t xd_cgroup_cpus(const char *root);
/* The lowest limit, and the least memory that any limit leaves, in bytes: caches of files that can be dropped count as free.
 * False, and neither is set, where there is no limit. */
bool xd_cgroup_memory(const char *root, uint64_t *ret_limit, uint64_t *ret_free);
/* How often the kernel killed for lack of memory in the group of this process; -1 = cannot be read. */
int64_t xd_cgroup_oom_kills(const char *root);
