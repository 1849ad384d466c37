/* sync/manifest.h - a tree of files as both ends of a synchronisation know it: names, kinds, modes, sizes, times and the
 * digests of contents, folder by folder, with one digest for each folder and so one for the whole.
 *
 * Pure: no I/O, no clock, no threads. A manifest that is built does not change, apart from xd_manifest_amend and _seal; several
 * threads may read it.
 *
 * Order. Names of one folder are sorted by their bytes (memcmp, the shorter first). The order of a tree is: each folder, then all
 * below it, in the order of its names. Records of wire.def (SYNC_RECORD) and the numbers of files follow it.
 *
 * Digest (format 1). XXH3-128, seed 0, of: "xd1\n", then for each name of the folder in order: u16 length of the name, the name,
 * u8 type, u16 mode, and of a file u64 size, u64 mtime_ns and the 16 bytes of its content's digest (low half first), of a link u32
 * length and target, of a folder or way the 16 bytes of its own digest; all little endian. The digest of a tree is that of its
 * base, entry 0: so the base's own mode is no part of it, nor is the time of any folder.
 * XXH3 is not collision resistant: the digests tell whether something changed between two ends of one user, nothing else. */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/wire.h"

#define XD_MANIFEST_NONE UINT32_MAX
#define XD_MANIFEST_ENTRIES_MAX (1u << 23)
#define XD_MANIFEST_NAME_MAX 255u
#define XD_MANIFEST_PATH_MAX 4095u /* bytes of a path, and of a link's target */
#define XD_MANIFEST_DEPTH_MAX 512u /* names in a path */
#define XD_MANIFEST_SIZE_MAX ((1ull << 62) - 1)

typedef struct xd_digest {
    uint64_t lo, hi;
} xd_digest;
static inline bool xd_digest_eq(xd_digest a, xd_digest b)
{
    return a.lo == b.lo && a.hi == b.hi;
}
/* XXH3-128, seed 0: what `id` of a file is. */
xd_digest xd_digest_of(xd_bytes content);

/* 48 bytes: a large tree is most of what either end needs of memory. */
typedef struct xd_entry {
    uint32_t parent; /* its folder; of the base: XD_MANIFEST_NONE. Always before it */
    uint32_t
        first; /* folder, way: its first name, the others follow. File: its number. Link: where its target is */
    uint32_t name;      /* where its name is in text, as a link's target */
    uint16_t mode : 10; /* at most 0777; of a link 0 */
    uint16_t type : 6;  /* XD_SYNC_FILE, FOLDER, LINK, WAY */
    uint8_t  name_len;  /* of the base 0 */
    uint8_t  mark;      /* the owner's to use; 0 at first */
    union {
        uint64_t size;  /* of a file, and of nothing else */
        uint32_t count; /* folder, way: how many names. Link: length of its target */
    };
    int64_t   mtime_ns; /* of a file */
    xd_digest id;       /* of a file's content; of a folder; of a link's target */
} xd_entry;
static_assert(sizeof(xd_entry) == 48 && XD_MANIFEST_NAME_MAX <= UINT8_MAX, "nothing fills it up");

typedef struct xd_manifest {
    xd_entry       *
        entry; /* 0 is the base, a folder or way. A folder's names are side by side, but entries are not in the order of the tree */
    uint32_t  count;
    uint32_t *file; /* entry of each file number */
    uint32_t  files;
    char     *text; /* names and targets; not terminated */
    size_t    text_len;
    uint64_t  bytes; /* of all files together */
} xd_manifest;

xd_manifest *xd_manifest_free(xd_manifest *m); /* NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_manifest, xd_manifest_free)
static inline xd_digest xd_manifest_digest(const xd_manifest *m)
{
    return m->entry[0].id;
}
static inline xd_bytes xd_entry_name(const xd_manifest *m, const xd_entry *e)
{
    return (xd_bytes){ (const uint8_t *)m->text + e->name, e->name_len };
}
/* Of a link. */
static inline xd_bytes xd_entry_target(const xd_manifest *m, const xd_entry *e)
{
    return (xd_bytes){ (const uint8_t *)m->text + e->first, e->count };
}
static inline bool xd_entry_is_folder(const xd_entry *e)
{
    return e->type == XD_SYNC_FOLDER || e->type == XD_SYNC_WAY;
}
/* Appends the path of an entry below the base ("a/b"; the base itself: "."). -ENOMEM. */
int xd_manifest_path(const xd_manifest *m, uint32_t entry, xd_buf *out) XD_MUST;
/* The entry at a path; "" and "." are the base. XD_MANIFEST_NONE: there is none. */
uint32_t xd_manifest_find(const xd_manifest *m, xd_bytes path);
/* The name of one folder (an entry that is one): binary search. XD_MANIFEST_NONE. */
uint32_t xd_manifest_child(const xd_manifest *m, uint32_t folder, xd_bytes name);
/* The entry behind this one in the order of the tree; XD_MANIFEST_NONE behind the last. Begin with 0. */
uint32_t xd_manifest_next(const xd_manifest *m, uint32_t entry);
/* Another content stands in a file now (SYNC_AMEND); file: its number. xd_manifest_seal makes the digests of the folders anew. */
void xd_manifest_amend(xd_manifest *m, uint32_t file, uint16_t mode, uint64_t size, int64_t mtime_ns,
                       xd_digest id);
void xd_manifest_seal(xd_manifest *m);

/* ---- building: in any order of folders (a scan) ------------------------------------------------------- */

typedef struct xd_tree xd_tree;
/* A name to add. target is set for a link, id for a file; members that its type does not use are ignored. */
typedef struct xd_node {
    xd_bytes  name;
    uint8_t   type; /* XD_SYNC_FILE, FOLDER, LINK, WAY */
    uint16_t  mode; /* bits beyond 0777 are dropped */
    uint64_t  size;
    int64_t   mtime_ns;
    xd_digest id;
    xd_bytes  target;
} xd_node;
int      xd_tree_new(xd_tree **ret, uint8_t base_type, uint16_t base_mode) XD_MUST;
xd_tree *xd_tree_free(xd_tree *t); /* NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_tree, xd_tree_free)
/* Adds a name to a folder that was added before (0 = the base), in any order, each once; *ret (may be NULL) is its handle, to be given as `folder`
 * for what is below it. The strings are copied. -EINVAL: `folder` is none, or the type, the name or the target cannot be; -E2BIG: the
 * path is too long or too deep, or there are too many entries; -ENOMEM. xd_tree_end finds a name that was added twice. */
int xd_tree_add(xd_tree *t, uint32_t folder, const xd_node *node, uint32_t *ret) XD_MUST;
/* Sorts all, makes the digests; frees *t, also on failure. ret_map (may be NULL): malloc'ed, entry of each handle, the caller's. -EEXIST: a
 * name twice in one folder; -ENOMEM. */
int xd_tree_end(xd_tree **t, xd_manifest **ret, uint32_t **ret_map) XD_MUST;

/* ---- records: in order (a file, a peer) -------------------------------------------------------------------- */

typedef struct xd_records xd_records;
/* Begins to read records: all of a tree (base NULL), or those in which one differs from `base`, which is borrowed until the end.
 * What comes from a peer is checked: -EPROTO, with what is wrong in err, for a record that is not behind the one before in the order, an
 * empty name, ".", "..", one with a slash or NUL, too long or too deep, a parent that is missing or no folder (where a folder becomes a
 * file, what was below it goes unsaid), a type, mode, size or target (empty, too long, with NUL) that cannot be, GONE or KEPT of a path
 * that the base does not have, limits exceeded. After a failure it can only be freed. */
int         xd_records_new(xd_records **ret, const xd_manifest *base) XD_MUST;
xd_records *xd_records_free(xd_records *r); /* NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_records, xd_records_free)
int xd_records_add(xd_records *r, const xd_wire_SYNC_RECORD_LIST *list, xd_error *err) XD_MUST;
/* The tree; frees *r, also on failure. ret_pushed (may be NULL): malloc'ed, a bit per file number (byte n/8, bit n%8), the caller's. kept (may
 * be NULL): appends, in order, the paths of the base that are KEPT, each followed by NUL: also those below a folder that is, unless
 * told otherwise. -EPROTO: nothing was said of the base; -ENOMEM. */
int xd_records_end(xd_records **r, xd_manifest **ret, uint8_t **ret_pushed, xd_buf *kept,
                   xd_error *err) XD_MUST;

/* ---- differences ------------------------------------------------------------------------------------------- */

/* Calls fn for each path at which two trees differ, in order; was, is: entries of `from` and `to`, or XD_MANIFEST_NONE. Folders with the
 * same digest are passed over, so the cost is that of the change. A folder whose names differ, and nothing else, is not told itself. All
 * that is below a folder that is gone, or new, or became something else, is reported too, after it. from NULL: an empty tree (the base itself
 * is reported then). path: of the entry, valid during the call. A result other than 0 of fn ends it and is returned. -ENOMEM. */
typedef int (*xd_manifest_diff_fn)(void *arg, xd_bytes path, uint32_t was, uint32_t is);
int xd_manifest_diff(const xd_manifest *from, const xd_manifest *to, xd_manifest_diff_fn fn,
                     void *arg) XD_MUST;

/* Takes a body of SYNC_RECORD_LIST, valid during the call. A result other than 0 ends the writing and is returned. */
typedef int (*xd_records_out)(void *arg, xd_bytes list_body, bool last);
/* Asked for each path that is gone: true = KEPT, false = GONE. */
typedef bool (*xd_manifest_kept_fn)(void *arg, xd_bytes path, bool is_folder);
/* Writes records one after another into bodies of SYNC_RECORD_LIST of about `limit` bytes; `out` gets one when it is full (last false),
 * and the rest at the end, be it empty: all of `to` (from NULL), or its differences from `from`.
 * GONE or KEPT of a folder holds for all below it that is not told otherwise. kept NULL: all that is gone is GONE.
 * pushed (may be NULL): bit per file number of `to`. -ENOMEM. */
int xd_manifest_write(const xd_manifest *from, const xd_manifest *to, const uint8_t *pushed,
                      xd_manifest_kept_fn kept, void *kept_arg, size_t limit, xd_records_out out,
                      void *out_arg) XD_MUST;
