/* sync/memory.h - what each destination has, as far as is known here: its tree as it was when a synchronisation last ended well, and the chunk lists of its larger files (sync/chunk.h).
 *
 * One file per destination in a folder: its name is the XXH3 of the destination's key. Header (magic, layout, sums, key, digest of the tree), the arrays of the manifest as they are in memory, chunk lists. So it
 * is mapped and used as it is, and a large tree costs little to load. It is a belief alone: the other end says what it has. So a file that is damaged, of another layout or of another key counts as missing, and is
 * removed. Written beside its name and renamed, 0600, never synced to the disk. Any thread; what is loaded does not change. */
#pragma once
#include "sync/chunk.h"

#define XD_MEMORY_FILES_MAX 200u
#define XD_MEMORY_BYTES_MAX (256u << 20)

typedef struct xd_memory {
    xd_manifest    tree; /* in the map: not to be freed, not to be changed */
    const uint8_t *map;  /* of the whole file */
    size_t         map_len;
    const uint8_t *index; /* sorted by digest */
    uint32_t       lists;
    const uint8_t *data;
    size_t         data_len;
    uint32_t       refs; /* the owner's to use */
} xd_memory;

/* The digest of the tree a destination has, from the header alone. -ENOENT: nothing is known. */
int xd_memory_peek(const char *folder, const char *key, xd_digest *ret) XD_MUST;
int xd_memory_load(const char *folder, const char *key, xd_memory **ret) XD_MUST;
/* NULL ok; returns NULL. */
xd_memory *xd_memory_free(xd_memory *m);
/* The chunk list of a content. Empty: there is none. Valid as long as m. */
xd_bytes xd_memory_list(const xd_memory *m, xd_digest id);

/* Remembers: list (may be NULL) is asked for the list of each file of at least XD_CHUNKED_MIN bytes, and what it gives stays valid during the call. The folder is made; when it
 * holds too much, the files that are oldest go. */
typedef xd_bytes (*xd_memory_list_fn)(void *arg, xd_digest id);
int  xd_memory_store(const char *folder, const char *key, const xd_manifest *tree, xd_memory_list_fn list,
                     void *arg, xd_error *err) XD_MUST;
void xd_memory_forget(const char *folder, const char *key);
/* Removes the oldest files until at most so many, and so many bytes, are left. */
void xd_memory_prune(const char *folder, uint32_t most_files, uint64_t most_bytes);
