/* sync/state.c - see state.h. The file: a header of 80 bytes, bodies of SYNC_RECORD_LIST, each behind its length (u32), and, once all is
 * done, a fingerprint (u64) per entry, and what is of other calls. Little endian. */
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t on the stack */
#include "sync/state.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/os_linux.h"
#include "sync/beneath.h"

#define MAGIC "xd-sync\n"
#define VERSION 2u
#define LIST_BYTES (60u << 10)
#define LIST_MAX (1u << 20)
#define MARGIN_NEAR_NS 20000000ll
#define MARGIN_FAR_NS 2000000000ll

typedef struct header {
    char     magic[8];
    uint32_t version;
    uint32_t complete; /* 1 = the fingerprints are there */
    uint64_t records;  /* bytes */
    uint64_t entries;
    int64_t  written_ns;
    uint64_t others;                             /* bytes */
    uint64_t records_sum, print_sum, others_sum; /* XXH3-64 */
    uint64_t sum;                                /* of all above */
} header;
_Static_assert(sizeof(header) == 80, "written as it is");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "written as it is");

static uint64_t header_sum(const header *h)
{
    return XXH3_64bits(h, offsetof(header, sum));
}

void xd_state_release(xd_state *s)
{
    s->tree = xd_manifest_free(s->tree);
    free(s->print);
    xd_buf_release(&s->others);
    *s = (xd_state){ 0 };
}

uint64_t xd_state_print(const struct stat *st)
{
    uint64_t v[8] = { st->st_dev,
                      st->st_ino,
                      (uint64_t)st->st_size,
                      (uint64_t)st->st_mtim.tv_sec,
                      (uint64_t)st->st_ctim.tv_sec,
                      (uint64_t)st->st_mtim.tv_nsec << 32 | (uint64_t)st->st_ctim.tv_nsec,
                      st->st_mode & 0177777u,
                      0 };
    uint64_t print = XXH3_64bits(v, sizeof(v));
    return print ? print : 1;
}

int64_t xd_state_margin_ns(int root)
{
    struct statfs fs;
    if (fstatfs(root, &fs) != 0)
        return MARGIN_FAR_NS;
    switch ((uint32_t)fs.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case 0x2fc12fc1u: /* ZFS */
        return MARGIN_NEAR_NS;
    default:
        return MARGIN_FAR_NS;
    }
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static int read_records(int fd, const header *h, xd_manifest **ret)
{
    xd_auto(xd_records) *records = NULL;
    xd_autofree uint8_t *room = malloc(LIST_MAX);
    XXH3_state_t         hash;
    if (!room)
        return -ENOMEM;
    XD_TRY(xd_records_new(&records, NULL));
    (void)XXH3_64bits_reset(&hash);
    for (uint64_t at = 0; at < h->records;) {
        uint32_t                 len;
        xd_wire_SYNC_RECORD_LIST list;
        if (h->records - at < sizeof(len))
            return -EPROTO;
        XD_TRY(xd_os_read_at(fd, &len, sizeof(len), sizeof(*h) + at));
        at += sizeof(len);
        if (len > LIST_MAX || len > h->records - at)
            return -EPROTO;
        XD_TRY(xd_os_read_at(fd, room, len, sizeof(*h) + at));
        at += len;
        (void)XXH3_64bits_update(&hash, &len, sizeof(len));
        (void)XXH3_64bits_update(&hash, room, len);
        XD_TRY(xd_wire_SYNC_RECORD_LIST_decode(room, len, &list));
        XD_TRY(xd_records_add(records, &list, NULL));
    }
    if (XXH3_64bits_digest(&hash) != h->records_sum)
        return -EPROTO;
    return xd_records_end(&records, ret, NULL, NULL, NULL);
}

static int read_all(int fd, uint64_t size, xd_state *ret)
{
    header h;
    XD_TRY(xd_os_read_at(fd, &h, sizeof(h), 0));
    uint64_t prints = h.entries * sizeof(uint64_t);
    if (memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0 || h.version != VERSION || h.sum != header_sum(&h) ||
        h.complete > 1 || h.entries > XD_MANIFEST_ENTRIES_MAX || h.records > XD_STATE_BYTES_MAX ||
        h.others > XD_STATE_BYTES_MAX || size < sizeof(h) + h.records ||
        (h.complete && size != sizeof(h) + h.records + prints + h.others))
        return -EPROTO;
    XD_TRY(read_records(fd, &h, &ret->tree));
    ret->written_ns = h.written_ns;
    if (ret->tree->count != h.entries)
        return -EPROTO;
    if (!h.complete)
        return 0;
    ret->print = malloc(prints);
    if (!ret->print)
        return -ENOMEM;
    XD_TRY(xd_os_read_at(fd, ret->print, prints, sizeof(h) + h.records));
    if (XXH3_64bits(ret->print, prints) != h.print_sum)
        return -EPROTO;
    XD_TRY(xd_buf_fill(&ret->others, 0, h.others));
    XD_TRY(xd_os_read_at(fd, ret->others.data, h.others, sizeof(h) + h.records + prints));
    bool ok = XXH3_64bits(ret->others.data, h.others) == h.others_sum;
    return ok && (h.others == 0 || ret->others.data[h.others - 1] == 0) ? 0 : -EPROTO;
}

int xd_state_read(int root, const char *name, xd_state *ret)
{
    struct stat st;
    *ret = (xd_state){ 0 };
    xd_autoclose int fd = xd_beneath_file(root, name, O_RDONLY, &st);
    if (fd < 0 || st.st_uid != geteuid() || st.st_size < 0 || (uint64_t)st.st_size > XD_STATE_BYTES_MAX)
        return 0;
    int r = read_all(fd, (uint64_t)st.st_size, ret);
    if (r < 0)
        xd_state_release(ret);
    return r == -ENOMEM ? r : 0;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

typedef struct writing {
    int          fd;
    uint64_t     bytes;
    XXH3_state_t hash;
} writing;

static int write_list(void *arg, xd_bytes body, bool last)
{
    writing *w = arg;
    uint32_t len = (uint32_t)body.len;
    (void)last;
    (void)XXH3_64bits_update(&w->hash, &len, sizeof(len));
    (void)XXH3_64bits_update(&w->hash, body.ptr, body.len);
    w->bytes += sizeof(len) + body.len;
    XD_TRY(xd_beneath_write(w->fd, (xd_bytes){ (const uint8_t *)&len, sizeof(len) }));
    return xd_beneath_write(w->fd, body);
}

/* Header and records, from the beginning of the file. */
static int write_records(int fd, const xd_manifest *tree)
{
    header  h = { .version = VERSION, .entries = tree->count };
    writing w = { .fd = fd };
    memcpy(h.magic, MAGIC, sizeof(h.magic));
    (void)XXH3_64bits_reset(&w.hash);
    if (lseek(fd, sizeof(h), SEEK_SET) < 0 || ftruncate(fd, 0) < 0)
        return -errno;
    XD_TRY(xd_manifest_write(NULL, tree, NULL, NULL, NULL, LIST_BYTES, write_list, &w));
    h.records = w.bytes;
    h.records_sum = XXH3_64bits_digest(&w.hash);
    h.sum = header_sum(&h);
    ssize_t n = pwrite(fd, &h, sizeof(h), 0);
    return n == sizeof(h) ? 0 : n < 0 ? -errno : -EIO;
}

/* Makes way for a file of ours; an empty folder goes, too. */
static int make_way(int root, const char *name)
{
    struct stat st;
    if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return 0;
    if (unlinkat(root, name, AT_REMOVEDIR) == 0)
        return 0;
    return errno == ENOTEMPTY || errno == EEXIST ? -EISDIR : -errno;
}

int xd_state_begin(int root, const char *temp, const xd_manifest *tree)
{
    XD_TRY(make_way(root, XD_STATE_NAME));
    XD_TRY(make_way(root, temp));
    if (unlinkat(root, temp, 0) != 0 && errno != ENOENT)
        return -errno;
    int fd = openat(root, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = write_records(fd, tree);
    if (r == 0)
        return fd;
    close(fd);
    (void)unlinkat(root, temp, 0);
    return r;
}

int xd_state_end(int root, const char *temp, int fd, const xd_manifest *tree, const uint64_t *print,
                 xd_bytes others, bool again)
{
    xd_autoclose int owned = fd; /* closed on every way out */
    struct stat      st;
    header           h;
    size_t           prints = tree->count * sizeof(*print);
    if (again)
        XD_TRY(write_records(owned, tree));
    XD_TRY(xd_os_read_at(owned, &h, sizeof(h), 0));
    if (lseek(owned, (off_t)(sizeof(h) + h.records), SEEK_SET) < 0)
        return -errno;
    XD_TRY(xd_beneath_write(owned, (xd_bytes){ (const uint8_t *)print, prints }));
    XD_TRY(xd_beneath_write(owned, others));
    if (fstat(owned, &st) != 0)
        return -errno;
    h.complete = 1;
    h.written_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    h.print_sum = XXH3_64bits(print, prints);
    h.others = others.len;
    h.others_sum = XXH3_64bits(others.ptr, others.len);
    h.sum = header_sum(&h);
    ssize_t n = pwrite(owned, &h, sizeof(h), 0);
    if (n != sizeof(h))
        return n < 0 ? -errno : -EIO;
    return renameat(root, temp, root, XD_STATE_NAME) == 0 ? 0 : -errno;
}
