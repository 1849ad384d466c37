/* sync/memory.c - see memory.h. */
#include "sync/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/path.h"

#define MEMORY_MAGIC "xd-tree\n"
/* Format 2, of this layout and byte order of the arrays. */
#define MEMORY_VERSION (3u << 16 | (uint32_t)sizeof(xd_entry) << 8 | (uint32_t)offsetof(xd_entry, id))
#define KEY_MAX 8192u
#define AT_ONCE (256u << 10)
#define STALE_SECONDS 3600 /* a temporary file of so old belongs to nobody any more */

/* The file begins with it; then the key, entries, files and text of the manifest, the index of the lists, the lists; each part filled up to 8 bytes. */
typedef struct head {
    char      magic[8];
    uint32_t  version, key_len;
    uint64_t  head_sum; /* XXH3-64 of the head, with 0 here, and the key */
    uint64_t  body_sum; /* of all behind the key */
    xd_digest tree;
    uint64_t  bytes, text_len, lists_len;
    uint32_t  entries, files, lists, zero;
} head;

typedef struct index_entry {
    xd_digest id;
    uint64_t  at, len;
} index_entry;

static size_t up8(size_t n)
{
    return (n + 7) / 8 * 8;
}

static char *name_of(const char *folder, const char *key)
{
    XXH128_hash_t h = XXH3_128bits(key, strlen(key));
    char          name[40];
    (void)snprintf(name, sizeof name, "%016llx%016llx", (unsigned long long)h.high64,
                   (unsigned long long)h.low64);
    return xd_path_join(folder, name);
}

static uint64_t head_sum(head h, const void *key)
{
    h.head_sum = 0;
    return XXH3_64bits_withSeed(key, h.key_len, XXH3_64bits(&h, sizeof h));
}

/* The head of an open file, and its key behind it (KEY_MAX bytes of room); -EINVAL: damaged, or another key's. */
static int read_head(int fd, const char *key, head *h)
{
    char   there[KEY_MAX];
    size_t len = strlen(key);
    if (len > sizeof there || pread(fd, h, sizeof *h, 0) != (ssize_t)sizeof *h)
        return -EINVAL;
    if (memcmp(h->magic, MEMORY_MAGIC, sizeof h->magic) != 0 || h->version != MEMORY_VERSION ||
        h->key_len != len || pread(fd, there, len, (off_t)sizeof *h) != (ssize_t)len ||
        memcmp(there, key, len) != 0 || head_sum(*h, there) != h->head_sum)
        return -EINVAL;
    return 0;
}

int xd_memory_peek(const char *folder, const char *key, xd_digest *ret)
{
    xd_autofree char *path = name_of(folder, key);
    if (!path)
        return -ENOMEM;
    xd_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    head             h;
    if (fd < 0 || read_head(fd, key, &h) < 0)
        return -ENOENT;
    (void)futimens(fd, NULL); /* what is used is young */
    *ret = h.tree;
    return 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

/* Does each number of the manifest refer to what there is? Sums guard against accidents alone. */
static bool fits(const xd_manifest *m)
{
    if (m->count == 0 || !xd_entry_is_folder(&m->entry[0]) || m->entry[0].parent != XD_MANIFEST_NONE)
        return false;
    for (uint32_t i = 0; i < m->count; i++) {
        const xd_entry *e = &m->entry[i];
        bool            ok = (i == 0 || e->parent < i) && (uint64_t)e->name + e->name_len <= m->text_len;
        if (xd_entry_is_folder(e))
            ok &= (e->count == 0 || e->first > i) && (uint64_t)e->first + e->count <= m->count;
        else if (e->type == XD_SYNC_FILE)
            ok &= e->first < m->files && m->file[e->first] == i;
        else
            ok &= e->type == XD_SYNC_LINK && (uint64_t)e->first + e->count <= m->text_len;
        if (!ok)
            return false;
    }
    for (uint32_t i = 0; i < m->files; i++)
        if (m->file[i] >= m->count || m->entry[m->file[i]].type != XD_SYNC_FILE ||
            m->entry[m->file[i]].first != i)
            return false;
    return true;
}

/* The sum of what is behind the key, without having it all in memory at once. */
static int sum_body(int fd, size_t from, uint64_t len, uint64_t *ret)
{
    xd_autofree uint8_t *room = malloc(AT_ONCE);
    XXH3_state_t        *sum = XXH3_createState();
    int                  r = room && sum && XXH3_64bits_reset(sum) == XXH_OK ? 0 : -ENOMEM;
    for (uint64_t at = from; r == 0 && at < len;) {
        ssize_t n = pread(fd, room, AT_ONCE, (off_t)at);
        if (n <= 0)
            r = n < 0 ? -errno : -EINVAL;
        else
            (void)XXH3_64bits_update(sum, room, (size_t)n);
        at += n > 0 ? (uint64_t)n : 0;
    }
    if (r == 0)
        *ret = XXH3_64bits_digest(sum);
    XXH3_freeState(sum);
    return r;
}

static int load(int fd, const char *key, xd_memory *m)
{
    head        h;
    struct stat st;
    uint64_t    sum = 0;
    XD_TRY(read_head(fd, key, &h));
    size_t from = up8(sizeof h + h.key_len);
    if (fstat(fd, &st) < 0)
        return -errno;
    uint64_t len = (uint64_t)st.st_size;
    if (h.text_len > len || h.lists_len > len)
        return -EINVAL;
    uint64_t file_at = from + (uint64_t)h.entries * sizeof(xd_entry),
             text_at = file_at + up8((uint64_t)h.files * 4);
    uint64_t index_at = text_at + up8((size_t)h.text_len),
             data_at = index_at + (uint64_t)h.lists * sizeof(index_entry);
    if (len != data_at + h.lists_len)
        return -EINVAL;
    XD_TRY(sum_body(fd, from, len, &sum));
    if (sum != h.body_sum)
        return -EINVAL;
    void *map = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    m->map = map;
    m->map_len = (size_t)len;
    m->tree = (xd_manifest){ .entry = (xd_entry *)((uint8_t *)map + from),
                             .count = h.entries,
                             .file = (uint32_t *)(void *)((uint8_t *)map + file_at),
                             .files = h.files,
                             .text = (char *)map + text_at,
                             .text_len = (size_t)h.text_len,
                             .bytes = h.bytes };
    if (!fits(&m->tree) || !xd_digest_eq(xd_manifest_digest(&m->tree), h.tree))
        return -EINVAL;
    m->index = m->map + index_at;
    m->lists = h.lists;
    m->data = m->map + data_at;
    m->data_len = (size_t)h.lists_len;
    return 0;
}

int xd_memory_load(const char *folder, const char *key, xd_memory **ret)
{
    xd_autofree char *path = name_of(folder, key);
    xd_memory        *m = calloc(1, sizeof *m);
    if (!path || !m) {
        free(m);
        return -ENOMEM;
    }
    xd_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int              r = fd < 0 ? -ENOENT : load(fd, key, m);
    if (r < 0) {
        xd_memory_free(m);
        if (r == -ENOMEM || r == -ENOENT)
            return r;
        (void)unlink(path);
        return -ENOENT;
    }
    *ret = m;
    return 0;
}

xd_memory *xd_memory_free(xd_memory *m)
{
    if (m) {
        if (m->map)
            (void)munmap((void *)(uintptr_t)m->map, m->map_len);
        free(m);
    }
    return NULL;
}

static int digest_order(xd_digest a, xd_digest b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    return a.lo == b.lo ? 0 : a.lo < b.lo ? -1 : 1;
}

xd_bytes xd_memory_list(const xd_memory *m, xd_digest id)
{
    size_t low = 0, high = m->lists;
    while (low < high) {
        size_t      mid = low + (high - low) / 2;
        index_entry e;
        memcpy(&e, m->index + mid * sizeof e, sizeof e);
        int order = digest_order(e.id, id);
        if (order == 0) {
            bool fits = e.at <= m->data_len && e.len <= m->data_len - e.at;
            return fits ? (xd_bytes){ m->data + e.at, (size_t)e.len } : (xd_bytes){ 0 };
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return (xd_bytes){ 0 };
}

/* ---- writing ---------------------------------------------------------------------------------------------- */

typedef struct writer {
    int           fd;
    xd_buf        buf;
    XXH3_state_t *sum;
} writer;

static int write_out(int fd, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, data + at, len - at);
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int flush(writer *w)
{
    int r = write_out(w->fd, w->buf.data, w->buf.len);
    xd_buf_clear(&w->buf);
    return r;
}

static int add(writer *w, const void *data, size_t len)
{
    static const uint8_t zero[8];
    (void)XXH3_64bits_update(w->sum, data, len);
    (void)XXH3_64bits_update(w->sum, zero, up8(len) - len);
    if (w->buf.len + len + 8 > AT_ONCE)
        XD_TRY(flush(w));
    if (len + 8 > AT_ONCE)
        XD_TRY(write_out(w->fd, data, len));
    else
        XD_TRY(xd_buf_add(&w->buf, data, len));
    return xd_buf_add(&w->buf, zero, up8(len) - len);
}

typedef struct listed {
    xd_digest id;
    xd_bytes  list;
} listed;

static int by_digest(const void *a, const void *b)
{
    return digest_order(((const listed *)a)->id, ((const listed *)b)->id);
}

/* The lists of all larger files, each content once. */
static int gather(const xd_manifest *tree, xd_memory_list_fn list, void *arg, listed **ret,
                  uint32_t *ret_count)
{
    uint32_t larger = 0, count = 0;
    for (uint32_t i = 0; i < tree->files; i++)
        larger += tree->entry[tree->file[i]].size >= XD_CHUNKED_MIN;
    listed *all = malloc((larger + (size_t)1) * sizeof *all);
    if (!all)
        return -ENOMEM;
    for (uint32_t i = 0; i < tree->files && list; i++) {
        const xd_entry *e = &tree->entry[tree->file[i]];
        if (e->size < XD_CHUNKED_MIN)
            continue;
        xd_bytes l = list(arg, e->id);
        if (l.len)
            all[count++] = (listed){ e->id, l };
    }
    qsort(all, count, sizeof *all, by_digest);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || !xd_digest_eq(all[kept - 1].id, all[i].id))
            all[kept++] = all[i];
    *ret = all;
    *ret_count = kept;
    return 0;
}

static int write_body(writer *w, const xd_manifest *tree, const listed *lists, uint32_t count, head *h)
{
    *h = (head){ .entries = tree->count,
                 .files = tree->files,
                 .bytes = tree->bytes,
                 .text_len = tree->text_len,
                 .lists = count };
    XD_TRY(add(w, tree->entry, tree->count * sizeof *tree->entry));
    XD_TRY(add(w, tree->file, tree->files * sizeof *tree->file));
    XD_TRY(add(w, tree->text, tree->text_len));
    for (uint32_t i = 0; i < count; i++) {
        index_entry e = { lists[i].id, h->lists_len, lists[i].list.len };
        XD_TRY(add(w, &e, sizeof e));
        h->lists_len += up8(lists[i].list.len);
    }
    for (uint32_t i = 0; i < count; i++)
        XD_TRY(add(w, lists[i].list.ptr, lists[i].list.len));
    return flush(w);
}

static int write_all(int fd, const char *key, const xd_manifest *tree, const listed *lists, uint32_t count)
{
    static const uint8_t zero[8];
    head                 h;
    size_t               key_len = strlen(key), from = up8(sizeof h + key_len);
    writer               w = { .fd = fd, .sum = XXH3_createState() };
    int                  r = w.sum ? 0 : -ENOMEM;
    /* The head is written again when the sums are known. */
    if (r == 0 && (pwrite(fd, zero, 1, (off_t)from - 1) != 1 || lseek(fd, (off_t)from, SEEK_SET) < 0))
        r = -errno;
    if (r == 0 && XXH3_64bits_reset(w.sum) == XXH_OK)
        r = write_body(&w, tree, lists, count, &h);
    if (r == 0) {
        memcpy(h.magic, MEMORY_MAGIC, sizeof h.magic);
        h.version = MEMORY_VERSION;
        h.key_len = (uint32_t)key_len;
        h.tree = xd_manifest_digest(tree);
        h.body_sum = XXH3_64bits_digest(w.sum);
        h.head_sum = head_sum(h, key);
        if (pwrite(fd, key, h.key_len, (off_t)sizeof h) != (ssize_t)h.key_len ||
            pwrite(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
            r = errno ? -errno : -EIO;
    }
    XXH3_freeState(w.sum);
    xd_buf_release(&w.buf);
    return r;
}

int xd_memory_store(const char *folder, const char *key, const xd_manifest *tree, xd_memory_list_fn list,
                    void *arg, xd_error *err)
{
    xd_autofree char *path = name_of(folder, key), *temp = xd_path_join(folder, ".xd-XXXXXX");
    if (!path || !temp)
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (strlen(key) > KEY_MAX)
        return xd_error_set(err, -ENAMETOOLONG, "name of a destination is too long to be remembered");
    XD_TRY(xd_path_mkdirs(folder, 0700, err));
    listed  *lists = NULL;
    uint32_t count = 0;
    int      r = gather(tree, list, arg, &lists, &count), fd = -1;
    if (r == 0 && (fd = mkostemp(temp, O_CLOEXEC)) < 0)
        r = -errno;
    if (r == 0) {
        r = write_all(fd, key, tree, lists, count);
        if (close(fd) < 0 && r == 0)
            r = -errno;
        if (r == 0 && rename(temp, path) < 0)
            r = -errno;
        if (r < 0)
            (void)unlink(temp);
    }
    free(lists);
    if (r < 0)
        return xd_error_set(err, r, "cannot write %s: %s", path, xd_error_name(r));
    xd_memory_prune(folder, XD_MEMORY_FILES_MAX, XD_MEMORY_BYTES_MAX);
    return 0;
}

void xd_memory_forget(const char *folder, const char *key)
{
    xd_autofree char *path = name_of(folder, key);
    if (path)
        (void)unlink(path);
}

/* ---- as much as is kept ------------------------------------------------------------------------------------ */

typedef struct kept {
    char            name[40];
    struct timespec at;
    uint64_t        bytes;
} kept;

static int by_age(const void *a, const void *b)
{
    const struct timespec *x = &((const kept *)a)->at, *y = &((const kept *)b)->at;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? 1 : -1;
    return x->tv_nsec == y->tv_nsec ? 0 : x->tv_nsec < y->tv_nsec ? 1 : -1;
}

/* All files of the folder that are ours, youngest first; removes temporary ones that were left behind. */
static kept *look(DIR *dir, size_t *ret_count)
{
    kept           *all = NULL;
    size_t          count = 0, cap = 0;
    struct dirent  *d;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    while ((d = readdir(dir))) {
        struct stat st;
        bool        temp = strncmp(d->d_name, ".xd-", 4) == 0;
        if ((!temp && strlen(d->d_name) != 32) ||
            fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (temp) {
            if (now.tv_sec - st.st_mtim.tv_sec > STALE_SECONDS)
                (void)unlinkat(dirfd(dir), d->d_name, 0);
            continue;
        }
        if (count == cap) {
            kept *more = realloc(all, (cap = cap ? cap * 2 : 64) * sizeof *all);
            if (!more)
                break;
            all = more;
        }
        all[count] = (kept){ .at = st.st_mtim, .bytes = (uint64_t)st.st_size };
        memcpy(all[count++].name, d->d_name, 33);
    }
    if (count)
        qsort(all, count, sizeof *all, by_age);
    *ret_count = count;
    return all;
}

void xd_memory_prune(const char *folder, uint32_t most_files, uint64_t most_bytes)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    size_t   count;
    kept    *all = look(dir, &count);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += all[i].bytes;
        if (i >= most_files || (i > 0 && bytes > most_bytes))
            (void)unlinkat(dirfd(dir), all[i].name, 0);
    }
    free(all);
    (void)closedir(dir);
}
