/* Limits of control groups, read from trees of files that the test writes: a stand-in for hierarchies of both versions, with
 * limits at any level, which no one machine has. tests/scenario/test_run_auto.py has the kernel's own. */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/cgroup.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"

static char root[64];

static void make_root(void)
{
    snprintf(root, sizeof(root), "/tmp/xd-cgroup-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void drop_root(void)
{
    ck_assert_int_eq(xd_path_remove_tree(root), 0);
}

static void put(const char *path, const char *text)
{
    char whole[PATH_MAX];
    snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *p = whole + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        (void)mkdir(whole, 0700);
        *p = '/';
    }
    FILE *f = fopen(whole, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

#define MIB (1024 * 1024)

START_TEST(nothing_limits)
{
    uint64_t limit = 7, left = 8;
    ck_assert_uint_eq(xd_cgroup_cpus(root), 0); /* not even /proc */
    put("/proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/a\n1:memory:/a\n0::/a/b\nnonsense\n5:half\n");
    ck_assert_uint_eq(xd_cgroup_cpus(root), 0);
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "100000\n"); /* another hierarchy */
    ck_assert_uint_eq(xd_cgroup_cpus(root), 0);
    ck_assert(!xd_cgroup_memory(root, &limit, &left));
    ck_assert(limit == 7 && left == 8);
    ck_assert_int_eq(xd_cgroup_oom_kills(root), -1);
}
END_TEST

START_TEST(version_2)
{
    uint64_t limit, left;
    put("/proc/self/cgroup", "0::/user.slice/user-1000.slice/session-1.scope\n");
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/cpu.max", "400000 100000\n");
    ck_assert_uint_eq(xd_cgroup_cpus(root), 4);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/cpu.max",
        "250000 100000\n"); /* a group above has less: half a one counts */
    ck_assert_uint_eq(xd_cgroup_cpus(root), 3);
    put("/sys/fs/cgroup/user.slice/cpu.max", "1000 100000\n");
    ck_assert_uint_eq(xd_cgroup_cpus(root), 1);

    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/memory.current", "536870912\n");
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/memory.stat",
        "anon 1\ninactive_file 268435456\nactive_file 5\n");
    ck_assert(xd_cgroup_memory(root, &limit, &left));
    ck_assert_uint_eq(limit, 1024u * MIB);
    ck_assert_uint_eq(left, 768u * MIB);
    put("/sys/fs/cgroup/user.slice/memory.max", "2147483648\n"); /* more, but others use it */
    put("/sys/fs/cgroup/user.slice/memory.current", "2147483649\n");
    put("/sys/fs/cgroup/user.slice/memory.stat", "inactive_file 0\n");
    ck_assert(xd_cgroup_memory(root, &limit, &left));
    ck_assert_uint_eq(limit, 1024u * MIB);
    ck_assert_uint_eq(left, 0);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/memory.high", "314572800\n");
    ck_assert(xd_cgroup_memory(root, &limit, &left));
    ck_assert_uint_eq(limit, 300u * MIB);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/memory.events",
        "low 0\noom 3\noom_kill 2\n");
    ck_assert_int_eq(xd_cgroup_oom_kills(root), 2);
}
END_TEST

/* A container's own name space of groups: it is at the top of what it sees. */
START_TEST(at_the_top)
{
    uint64_t limit, left;
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/memory.max", "1048576\n");
    ck_assert_uint_eq(xd_cgroup_cpus(root), 2);
    ck_assert(xd_cgroup_memory(root, &limit, &left));
    ck_assert(limit == MIB && left == MIB); /* how much is used is not told */
}
END_TEST

/* Version 1 in a container: the path is the outer one, the mount begins at its end. */
START_TEST(version_1)
{
    uint64_t limit, left;
    put("/proc/self/cgroup",
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "52428800\n");
    put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 10485760\n");
    put("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
    ck_assert_uint_eq(xd_cgroup_cpus(root), 4);
    ck_assert(xd_cgroup_memory(root, &limit, &left));
    ck_assert_uint_eq(limit, 100u * MIB);
    ck_assert_uint_eq(left, 60u * MIB);
    ck_assert_int_eq(xd_cgroup_oom_kills(root), 5);
}
END_TEST

/* Both at once, as systemd's hybrid has them: the lower counts. */
START_TEST(both_versions)
{
    uint64_t limit, left;
    put("/proc/self/cgroup", "2:memory:/one\n1:cpu:/one\n0::/two\n");
    put("/sys/fs/cgroup/unified/two/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/cpu/one/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpu/one/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/unified/two/memory.max", "5242880\n");
    put("/sys/fs/cgroup/memory/one/memory.limit_in_bytes", "10485760\n");
    ck_assert_uint_eq(xd_cgroup_cpus(root), 2);
    ck_assert(xd_cgroup_memory(root, &limit, &left));
    ck_assert_uint_eq(limit, 5u * MIB);
}
END_TEST

START_TEST(a_path_that_is_too_long)
{
    char line[3000] = "0::";
    memset(line + 3, '/', sizeof(line) - 4);
    put("/proc/self/cgroup", line);
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    (void)xd_cgroup_cpus(root);
    put("/proc/self/cgroup", "0::no-slash\n");
    (void)xd_cgroup_cpus(root);
}
END_TEST

/* "Nothing is left" must not be taken for "it is not known", which limits nothing. */
START_TEST(memory_that_is_free)
{
    ck_assert_uint_eq(xd_os_memory_free(root), 0);
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemFree: 5 kB\n"); /* a kernel before 3.14 */
    ck_assert_uint_eq(xd_os_memory_free(root), 0);
    put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable:    1024 kB\n");
    ck_assert_uint_eq(xd_os_memory_free(root), MIB);
    put("/proc/meminfo", "MemAvailable: 0 kB\n");
    ck_assert_uint_eq(xd_os_memory_free(root), 1);
    put("/proc/meminfo", "MemAvailable: 1048576 kB\n");
    put("/proc/self/cgroup", "0::/full\n");
    put("/sys/fs/cgroup/full/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/full/memory.current", "1073741824\n");
    put("/sys/fs/cgroup/full/memory.stat", "inactive_file 0\n");
    ck_assert_uint_eq(xd_os_memory_free(root), 1);
    put("/sys/fs/cgroup/full/memory.stat", "inactive_file 2097152\n");
    ck_assert_uint_eq(xd_os_memory_free(root), 2u * MIB);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cgroup");
    tcase_add_checked_fixture(tc, make_root, drop_root);
    tcase_add_test(tc, nothing_limits);
    tcase_add_test(tc, version_2);
    tcase_add_test(tc, at_the_top);
    tcase_add_test(tc, version_1);
    tcase_add_test(tc, both_versions);
    tcase_add_test(tc, a_path_that_is_too_long);
    tcase_add_test(tc, memory_that_is_free);
    Suite *s = suite_create("cgroup");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
