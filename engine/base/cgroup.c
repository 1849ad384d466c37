/* engine/base/cgroup.c - see cgroup.h. */
#include "engine/base/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define PATH_BYTES 4096

/* v1 has a hierarchy for each controller; two of them are often mounted together, under both names. */
#define V2 ""
#define CPU "cpu"
#define MEMORY "memory"

/* One group: its folder, from where the walk goes up. */
typedef struct group {
    char   path[PATH_BYTES];
    size_t top; /* length of the hierarchy's mount point in path */
} group;

/* Is `controller` in the list of a line of /proc/self/cgroup ("cpu,cpuacct"; that of v2 is empty)? */
static bool lists(const char *list, const char *controller)
{
    const size_t want = strlen(controller);
    for (const char *p = list;; p++) {
        const size_t len = strcspn(p, ",");
        if (len == want && memcmp(p, controller, len) == 0)
            return true;
        p += len;
        if (!*p)
            return false;
    }
}

/* The path of this process in a hierarchy. */
static bool own_path(const char *root, const char *controller, char *ret, size_t size)
{
    char line[PATH_BYTES];
    bool found = false;
    snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "re");
    while (f && !found && fgets(line, sizeof(line), f)) { /* NUMBER:LIST:PATH */
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        found = lists(list + 1, controller);
        if (found)
            snprintf(ret, size, "%s", strcmp(path, "/") == 0 ? "" : path);
    }
    if (f)
        fclose(f);
    return found;
}

/* Places where systemd and others mount a hierarchy. */
static const char *const mounts_v2[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL };
static const char *const mounts_cpu[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", NULL };
static const char *const mounts_memory[] = { "/sys/fs/cgroup/memory", NULL };

static const char *const *mounts_of(const char *controller)
{
    return *controller == 'c' ? mounts_cpu : *controller == 'm' ? mounts_memory : mounts_v2;
}

static FILE *open_in(const group *g, const char *file)
{
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof(path), "%s/%s", g->path, file);
    return fopen(path, "re");
}

/* Of the first line of a file. How many numbers there are; "max" is none. */
static size_t numbers_of(const group *g, const char *file, long long *ret, size_t most)
{
    char   line[256];
    size_t n = 0;
    FILE  *f = open_in(g, file);
    if (!f)
        return 0;
    if (fgets(line, sizeof(line), f))
        for (char *at = line, *end; n < most; n++, at = end) {
            ret[n] = strtoll(at, &end, 10);
            if (end == at)
                break;
        }
    fclose(f);
    return n;
}

/* Of a line "NAME NUMBER". */
static bool number_named(const group *g, const char *file, const char *name, long long *ret)
{
    char         line[256];
    bool         found = false;
    const size_t len = strlen(name);
    FILE        *f = open_in(g, file);
    while (f && !found && fgets(line, sizeof(line), f)) {
        char *end;
        if (strncmp(line, name, len) != 0 || line[len] != ' ')
            continue;
        *ret = strtoll(line + len, &end, 10);
        found = end != line + len;
    }
    if (f)
        fclose(f);
    return found;
}

/* Our own group under the mount number `which` of a hierarchy. Inside of a container the path is often the outer one, of which
 * the mount shows nothing but its end: the walk comes to the mount's top then. */
static bool own_group(const char *root, const char *controller, size_t which, group *ret)
{
    char        own[PATH_BYTES / 2];
    const char *mount = mounts_of(controller)[which];
    if (!mount || !own_path(root, controller, own, sizeof(own)))
        return false;
    ret->top = strlen(root) + strlen(mount);
    return (size_t)snprintf(ret->path, sizeof(ret->path), "%s%s%s", root, mount, own) < sizeof(ret->path);
}

static bool up(group *g)
{
    if (strlen(g->path) <= g->top)
        return false;
    *strrchr(g->path, '/') = '\0'; /* what stands behind the mount begins with one */
    return strlen(g->path) >= g->top;
}

/* Processors of one group; 0 = no limit. */
static uint32_t cpus_of(const group *g, bool v2)
{
    long long  v[2] = { 0, 0 };
    const bool told = v2 ? numbers_of(g, "cpu.max", v, 2) == 2
                         : numbers_of(g, "cpu.cfs_quota_us", &v[0], 1) == 1 &&
                               numbers_of(g, "cpu.cfs_period_us", &v[1], 1) == 1;
    if (!told || v[0] <= 0 || v[1] <= 0)
        return 0;
    return (uint32_t)XD_MIN((v[0] - 1) / v[1] + 1, (long long)UINT32_MAX);
}

uint32_t xd_cgroup_cpus(const char *root)
{
    static const char *const controllers[] = { V2, CPU };
    uint32_t                 least = 0;
    group                    g;
    for (size_t c = 0; c < XD_ARRAY_LEN(controllers); c++) {
        for (size_t i = 0; own_group(root, controllers[c], i, &g); i++) {
            do {
                const uint32_t n = cpus_of(&g, c == 0);
                if (n)
                    least = least ? XD_MIN(least, n) : n;
            } while (up(&g));
        }
    }
    return least;
}

/* v2 slows down what comes above memory.high, which is as good as a limit to whoever chooses a number of workers. */
static bool limit_of(const group *g, bool v2, long long *ret)
{
    long long  high = 0;
    const bool told = numbers_of(g, v2 ? "memory.max" : "memory.limit_in_bytes", ret, 1) == 1 && *ret >= 0 &&
                      *ret <= INT64_MAX / 2;
    if (!v2 || numbers_of(g, "memory.high", &high, 1) != 1 || high < 0)
        return told;
    *ret = told ? XD_MIN(*ret, high) : high;
    return true;
}

/* False: no limit. A limit of v1 that nobody set is near the largest number that there is. */
static bool memory_of(const group *g, bool v2, uint64_t *ret_limit, uint64_t *ret_free)
{
    long long limit = 0, used = 0, cached = 0;
    if (!limit_of(g, v2, &limit))
        return false;
    if (numbers_of(g, v2 ? "memory.current" : "memory.usage_in_bytes", &used, 1) != 1 ||
        !number_named(g, "memory.stat", v2 ? "inactive_file" : "total_inactive_file", &cached))
        used = cached = 0;
    *ret_limit = (uint64_t)limit;
    *ret_free = (uint64_t)XD_MAX(limit - XD_MAX(used - cached, 0), 0);
    return true;
}

bool xd_cgroup_memory(const char *root, uint64_t *ret_limit, uint64_t *ret_free)
{
    static const char *const controllers[] = { V2, MEMORY };
    uint64_t                 limit = UINT64_MAX, left = UINT64_MAX;
    group                    g;
    for (size_t c = 0; c < XD_ARRAY_LEN(controllers); c++) {
        for (size_t i = 0; own_group(root, controllers[c], i, &g); i++) {
            do {
                uint64_t one, rest;
                if (!memory_of(&g, c == 0, &one, &rest))
                    continue;
                limit = XD_MIN(limit, one);
                left = XD_MIN(left, rest);
            } while (up(&g));
        }
    }
    if (limit == UINT64_MAX)
        return false;
    *ret_limit = limit;
    *ret_free = left;
    return true;
}

int64_t xd_cgroup_oom_kills(const char *root)
{
    long long n;
    group     g;
    if (own_group(root, MEMORY, 0, &g)) {
        do {
            if (number_named(&g, "memory.oom_control", "oom_kill", &n))
                return n;
        } while (up(&g));
    }
    for (size_t i = 0; own_group(root, V2, i, &g); i++) {
        do {
            if (number_named(&g, "memory.events", "oom_kill", &n))
                return n;
        } while (up(&g));
    }
    return -1;
}
