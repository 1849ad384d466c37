/* sync/statcache.c - see statcache.h.
 *
 * File: head, then 2^bits + 1 numbers (where the entries of each hash begin; the last is their count), then the entries. Host byte order: it
 * does not travel. */
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include "sync/statcache.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"

#define MAGIC "xdstat1\n"
#define ORDER 0x01020304u
#define VERSION 2u /* also of hash_of */
#define ENTRIES_MAX (1u << 26)

typedef struct head {
    char     magic[8];
    uint32_t order, version, entry_size, bits;
    uint64_t count;
    uint64_t check; /* of all that is behind the head, with count as seed */
} head;

typedef struct entry {
    xd_stat   st;
    xd_digest id;
} entry;

struct xd_statcache {
    char           *path; /* NULL = it is not kept */
    void           *map;
    size_t          map_len;
    uint32_t        bits, count;
    const uint32_t *begin; /* of each hash */
    const entry    *entry;
    atomic_uchar   *used;
    pthread_mutex_t lock;  /* for what is below */
    xd_buf          added; /* entries */
};

/* Inodes of one folder are often neighbours, and so are their entries then: they are looked up together. */
static uint32_t hash_of(const xd_stat *st, uint32_t bits)
{
    uint64_t block = (st->ino >> 6 ^ (uint64_t)st->dev << 40) * 0x9e3779b97f4a7c15u;
    uint64_t at = (bits > 6 ? block >> (64 - (bits - 6)) << 6 : 0) | (st->ino & 63);
    return (uint32_t)(at & ((1ull << bits) - 1));
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static bool head_ok(const head *h, size_t len)
{
    if (memcmp(h->magic, MAGIC, 8) != 0 || h->order != ORDER || h->version != VERSION ||
        h->entry_size != sizeof(entry) || h->bits > 26 || h->count == 0 || h->count > ENTRIES_MAX)
        return false;
    size_t begins = (((size_t)1 << h->bits) + 1) * sizeof(uint32_t);
    return len - sizeof(*h) == ((begins + 7) & ~(size_t)7) + h->count * sizeof(entry);
}

/* Numbers that would lead out of the entries: the checksum finds damage, not malice. */
static bool begins_ok(const uint32_t *begin, uint32_t bits, uint32_t count)
{
    size_t n = (size_t)1 << bits;
    for (size_t i = 0; i < n; i++)
        if (begin[i] > begin[i + 1])
            return false;
    return begin[0] == 0 && begin[n] == count;
}

/* The map of a file that is a cache, or NULL. Nobody cuts such a file: it is replaced. */
static void *map_file(const char *path, size_t *ret_len)
{
    xd_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat      st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(head))
        return NULL;
    size_t len = (size_t)st.st_size;
    void  *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    const head    *h = map;
    const uint8_t *behind = (const uint8_t *)(h + 1);
    if (head_ok(h, len) && XXH3_64bits_withSeed(behind, len - sizeof(*h), h->count) == h->check &&
        begins_ok((const uint32_t *)(const void *)behind, h->bits, (uint32_t)h->count)) {
        *ret_len = len;
        return map;
    }
    munmap(map, len);
    return NULL;
}

int xd_statcache_new(xd_statcache **ret, const char *path)
{
    xd_statcache *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    int r = -pthread_mutex_init(&c->lock, NULL);
    if (r < 0) {
        free(c);
        return r;
    }
    c->path = path ? strdup(path) : NULL;
    c->map = path ? map_file(path, &c->map_len) : NULL;
    if (c->map) {
        const head *h = c->map;
        c->bits = h->bits;
        c->count = (uint32_t)h->count;
        c->begin = (const uint32_t *)(const void *)(h + 1);
        c->entry = (const entry *)(const void *)((const uint8_t *)c->map + c->map_len) - c->count;
        c->used = calloc(c->count, sizeof(*c->used));
    }
    if ((path && !c->path) || (c->map && !c->used)) {
        xd_statcache_free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

xd_statcache *xd_statcache_free(xd_statcache *c)
{
    if (c) {
        if (c->map)
            munmap(c->map, c->map_len);
        pthread_mutex_destroy(&c->lock);
        xd_buf_release(&c->added);
        free(c->used);
        free(c->path);
        free(c);
    }
    return NULL;
}

bool xd_statcache_find(xd_statcache *c, const xd_stat *st, xd_digest *ret)
{
    if (!c->map)
        return false;
    uint32_t h = hash_of(st, c->bits);
    for (uint32_t i = c->begin[h]; i < c->begin[h + 1]; i++)
        if (xd_stat_eq(&c->entry[i].st, st)) {
            atomic_store_explicit(&c->used[i], 1, memory_order_relaxed);
            *ret = c->entry[i].id;
            return true;
        }
    return false;
}

int xd_statcache_add(xd_statcache *c, const xd_stat *st, xd_digest id)
{
    entry e = { *st, id };
    if (!c->path)
        return 0;
    pthread_mutex_lock(&c->lock);
    int r = xd_buf_add(&c->added, &e, sizeof(e));
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* The i-th of what is to be kept: what was found, then what was added. NULL: an old one that nobody asked for. */
static const entry *kept_entry(const xd_statcache *c, size_t i)
{
    if (i < c->count)
        return c->used[i] ? &c->entry[i] : NULL;
    return (const entry *)(const void *)c->added.data + (i - c->count);
}

/* What the new file is made of. The entries themselves are not copied: they are most of the memory. */
typedef struct plan {
    uint32_t  bits, count;
    uint32_t *begin; /* 2^bits + 1 */
    uint32_t *order; /* number for kept_entry of each */
} plan;

static int make_plan(const xd_statcache *c, plan *p)
{
    size_t all = c->count + c->added.len / sizeof(entry), count = 0;
    for (size_t i = 0; i < all; i++)
        count += kept_entry(c, i) != NULL;
    if (count > ENTRIES_MAX)
        return -E2BIG;
    p->count = (uint32_t)count;
    while (((size_t)1 << p->bits) < count)
        p->bits++;
    size_t n = (size_t)1 << p->bits;
    p->begin = calloc(n + 1, sizeof(*p->begin));
    p->order = calloc(count + 1, sizeof(*p->order));
    if (!p->begin || !p->order)
        return -ENOMEM;
    for (size_t i = 0; i < all; i++)
        if (kept_entry(c, i))
            p->begin[hash_of(&kept_entry(c, i)->st, p->bits)]++;
    for (size_t i = 1; i <= n; i++) /* now: where each ends */
        p->begin[i] += p->begin[i - 1];
    for (size_t i = all; i-- > 0;) /* filled from the end, so it becomes where each begins */
        if (kept_entry(c, i))
            p->order[--p->begin[hash_of(&kept_entry(c, i)->st, p->bits)]] = (uint32_t)i;
    return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data = (const uint8_t *)data + n;
        len -= (size_t)n;
    }
    return 0;
}

/* Writes what is behind the head. */
static int put(int fd, XXH3_state_t *check, const void *data, size_t len)
{
    (void)XXH3_64bits_update(check, data, len);
    return write_all(fd, data, len);
}

/* The head comes last, as it has the checksum of all else. */
static int write_file(int fd, const xd_statcache *c, const plan *p)
{
    entry        some[256];
    size_t       begins = (((size_t)1 << p->bits) + 1) * sizeof(uint32_t);
    XXH3_state_t check;
    head         h = {
                .order = ORDER, .version = VERSION, .entry_size = sizeof(entry), .bits = p->bits, .count = p->count
    };
    memcpy(h.magic, MAGIC, sizeof(h.magic));
    (void)XXH3_64bits_reset_withSeed(&check, p->count);
    XD_TRY(write_all(fd, &h, sizeof(h)));
    XD_TRY(put(fd, &check, p->begin, begins));
    XD_TRY(put(fd, &check, "\0\0\0\0\0\0\0", -begins & 7));
    for (size_t i = 0; i < p->count;) {
        size_t n = XD_MIN((size_t)p->count - i, XD_ARRAY_LEN(some));
        for (size_t k = 0; k < n; k++)
            some[k] = *kept_entry(c, p->order[i + k]);
        XD_TRY(put(fd, &check, some, n * sizeof(*some)));
        i += n;
    }
    h.check = XXH3_64bits_digest(&check);
    ssize_t n = pwrite(fd, &h, sizeof(h), 0);
    return n == (ssize_t)sizeof(h) ? 0 : n < 0 ? -errno : -EIO;
}

static int replace(const xd_statcache *c, const plan *p)
{
    xd_autofree char *dir = xd_path_dir(c->path);
    size_t            size = strlen(c->path) + 48;
    xd_autofree char *temp = malloc(size);
    if (!dir || !temp)
        return -ENOMEM;
    XD_TRY(xd_path_mkdirs(dir, 0700, NULL));
    snprintf(temp, size, "%s.xd-%x-%llx", c->path, (unsigned)getpid(), (unsigned long long)xd_clock_ns());
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int r = write_file(fd, c, p);
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(temp, c->path) < 0)
        r = -errno;
    if (r < 0)
        unlink(temp);
    return r;
}

int xd_statcache_save(xd_statcache *c)
{
    plan p = { 0 };
    if (!c->path || c->added.len == 0)
        return 1;
    int r = make_plan(c, &p);
    if (r == 0)
        r = replace(c, &p);
    free(p.begin);
    free(p.order);
    return r;
}

/* ---- the clock of a file system ------------------------------------------------------------------------------------ */

enum { FINE, UNKNOWN };

/* The numbers of linux/magic.h and of what has no header: local file systems that take their times from this kernel. */
static int kind_of(int fd)
{
    static const uint32_t
                  fine[] = { 0xef53 /* ext */,         0x58465342 /* xfs */,   0x9123683e /* btrfs */,
                             0x01021994 /* tmpfs */,   0x858458f6 /* ramfs */, 0xf2f52010 /* f2fs */,
                             0x794c7630 /* overlay */, 0x2fc12fc1 /* zfs */,   0xca451a4e /* bcachefs */ };
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return UNKNOWN;
    for (size_t i = 0; i < XD_ARRAY_LEN(fine); i++)
        if ((uint32_t)fs.f_type == fine[i])
            return FINE;
    return UNKNOWN;
}

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * (int64_t)XD_S_NS + t.tv_nsec;
}

/* A file was made in this folder just now: its time. */
static bool probe_file(int folder_fd, int64_t *ret_ns)
{
    struct stat      st;
    char             name[64];
    xd_autoclose int fd = openat(folder_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 &&
        (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) { /* not of every file system */
        snprintf(name, sizeof(name), ".xd-probe-%x-%llx", (unsigned)getpid(),
                 (unsigned long long)xd_clock_ns());
        fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0)
            unlinkat(folder_fd, name, 0);
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    *ret_ns = ns_of(st.st_mtim);
    return true;
}

void xd_statclock_probe(int folder_fd, xd_statclock *ret)
{
    bool            fine = kind_of(folder_fd) == FINE;
    int64_t         now = 0, margin = 2 * (int64_t)XD_S_NS;
    struct timespec here = { 0 };
    if (probe_file(folder_fd, &now)) {
        if (fine && now % (int64_t)XD_S_NS != 0) /* an ext that was made small counts in seconds */
            margin = 20 * (int64_t)XD_MS_NS;
    } else {
        (void)clock_gettime(CLOCK_REALTIME, &here);
        now = ns_of(here);
        if (!fine) /* the clock of another machine, perhaps */
            margin = 600 * (int64_t)XD_S_NS;
    }
    ret->trusted_ns = now - margin;
}
