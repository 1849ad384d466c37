/* tests/sim/sync.h - the simulator of the synchronisation: its pure cores (ignore rules, manifests and their records, roots, chunks) between one home and
 * some hosts whose trees lie in memory. One world per seed. What the cores say is compared with naive answers, which are found by walking lists of
 * paths.  Files:
 *   sync.c          one seed: edits at home, synchronisations of the hosts, and the checks after each
 *   sync_tree.c     trees as lists of paths, and edits
 *   sync_rules.c    ignore rules: made, written out, and matched in the naive way
 *   sync_scan.c     the tree at home as the cores see it, and as a naive walk does
 *   sync_check.c    manifests against lists of paths
 *   sync_files.c    contents in pieces
 *   sync_home.c     the home half, and the pipe
 *   sync_host.c     the far half
 *   clock.c main.c  shared with the other simulator */
#pragma once
#include "engine/base/arena.h"
#include "sync/chunk.h"
#include "sync/ignore.h"
#include "sync/manifest.h"
#include "sync/scan_state.h"
#include "tests/sim/sim.h"

#define SY_BASE "/home/u/proj"
#define SY_HOSTS 3u
#define SY_STEPS 6u
#define SY_VERSIONS 16u
#define SY_PATHS 200u /* names in a tree */
#define SY_RULES 6u   /* of one file of rules */
#define SY_GLOBS 3u
#define SY_ROOTS 3u
#define SY_TOKENS 12u  /* of one name in a rule */
#define SY_PARTS 4u    /* names in a rule */
#define SY_DELTA 1024u /* bytes: shorter files go whole. The real limit is higher */

/* What is in a file. Never changes; lives as long as the world. */
typedef struct sy_blob {
    size_t    len;
    xd_digest id;
    uint8_t   bytes[];
} sy_blob;

typedef enum sy_token_kind { SY_BYTE, SY_ONE, SY_STAR, SY_SET, SY_NOT_SET } sy_token_kind;
typedef struct sy_token {
    uint8_t kind, from, to;
} sy_token;
typedef struct sy_part { /* what one name of a path is matched with */
    bool     deep;       /* two stars */
    uint32_t n;
    sy_token token[SY_TOKENS];
} sy_part;
typedef struct sy_rule {
    bool     negated, folder, anchored;
    uint32_t n;
    sy_part  part[SY_PARTS];
} sy_rule;
typedef struct sy_rules { /* .gitignore or .xdignore of a folder */
    uint32_t n;
    sy_rule  rule[SY_RULES];
} sy_rules;
typedef struct sy_glob {
    const char *dir,
        *head; /* head: what stands before the part that is matched by names: "", "./" or SY_BASE "/" */
    sy_part part;
} sy_glob;

typedef struct sy_entry {
    const char     *path; /* "" = the base */
    uint8_t         type; /* XD_SYNC_FILE, FOLDER, LINK; WAY in what is brought */
    uint16_t        mode;
    int64_t         mtime_ns;
    const sy_blob  *content;   /* of a file */
    const char     *target;    /* of a link */
    const sy_rules *git, *own; /* of a folder; NULL = none */
    bool            brought;   /* on a host: by a synchronisation */
} sy_entry;

typedef struct sy_tree {
    uint32_t n;
    sy_entry at
        [SY_PATHS]; /* the base first, the others in any order; in what is brought: in the order of a tree */
} sy_tree;

/* What home has brought, or tried to. */
typedef struct sy_version {
    xd_manifest *manifest;
    sy_tree      tree;
} sy_version;

struct sy_host;
typedef struct sy_world {
    sim_world       sim; /* its random numbers, hash and fault */
    xd_arena        arena;
    xd_chunker      chunker;
    xd_chunk_store  lists;
    sy_tree         home;
    bool            defaults;
    uint32_t        n_globs, n_roots, n_hosts, versions;
    sy_glob         glob[SY_GLOBS];
    const char     *root[SY_ROOTS + 1]; /* NULL behind the last */
    xd_plan        *plan;
    xd_ignore      *first; /* rules that hold everywhere */
    sy_version      version[SY_VERSIONS];
    struct sy_host *host[SY_HOSTS];
} sy_world;

static inline bool sy_ok(const sy_world *w)
{
    return !w->sim.fault[0];
}
static inline uint32_t sy_rand(sy_world *w, uint32_t below)
{
    return sim_rand(&w->sim, below);
}
static inline bool sy_chance(sy_world *w, uint32_t percent)
{
    return sim_chance(&w->sim, percent);
}
#define sy_fault(w, ...) sim_fault(&(w)->sim, __VA_ARGS__)
/* The call must give 0. */
#define SY_MUST(w, call)                                                  \
    do {                                                                  \
        int sy_r_ = (call);                                               \
        if (sy_r_ != 0)                                                   \
            sim_fault(&(w)->sim, "%s:%d: %d", __func__, __LINE__, sy_r_); \
    } while (0)

/* sync_tree.c */
void       *sy_alloc(sy_world *w, size_t size);
const char *sy_text(sy_world *w, const void *text, size_t len);
/* bytes NULL: random ones. */
const sy_blob *sy_blob_new(sy_world *w, const uint8_t *bytes, size_t len);
const char    *sy_name(sy_world *w); /* a random one */
const char    *sy_join(sy_world *w, const char *folder, const char *name);
size_t         sy_parent_len(const char *path);                   /* of its folder's path; 0 = the base's */
bool           sy_is_below(const char *path, const char *folder); /* not the same */
int            sy_order(const char *a, const char *b);            /* of paths in a tree */
uint32_t       sy_find(const sy_tree *t, const char *path);       /* its index, or t->n */
void           sy_remove(sy_tree *t, const char *path, bool also_it); /* all below it, and itself */
bool           sy_add(sy_tree *t, const sy_entry *e);                 /* false: there is no room */
uint32_t       sy_any(sy_world *w, const sy_tree *t,
                      uint8_t type); /* a random one of that type, or t->n; 0 = of any but the base */
void           sy_sort(sy_tree *t);
/* The path of an entry as trees here have it. */
const char *sy_path(sy_world *w, const xd_manifest *m, uint32_t entry);
sy_entry    sy_entry_new(sy_world *w, const char *path, uint8_t type);
bool sy_same(const sy_entry *a, const sy_entry *b); /* apart from the path and whether it was brought */
void sy_tree_make(sy_world *w);
void sy_tree_edit(sy_world *w);
/* Somebody changes things on a host. */
void sy_tree_meddle(sy_world *w, sy_tree *t);

/* sync_rules.c */
/* folder: whose they are. */
const sy_rules *sy_rules_new(sy_world *w, const char *folder);
void            sy_globs_new(sy_world *w);
/* Appends the text of a file of rules. */
void sy_rules_write(sy_world *w, const sy_rules *r, xd_buf *out);
/* w->first anew. */
void sy_rules_first(sy_world *w);
/* Do the rules leave out this name? Asked by itself, whatever is above. */
bool sy_ignored(const sy_world *w, const char *path, bool folder);

/* sync_scan.c */
void sy_roots_choose(sy_world *w);
/* A version of the tree that stands at home. */
void sy_scan(sy_world *w, sy_version *ret);
/* Is this path, which need not stand there, left out? The cores' answer, checked against the naive one. */
bool sy_keeps(sy_world *w, const char *path, bool folder);
/* A manifest of a tree that is in order; names are added in random order. mtime and others of entries that do not have them are passed all the same. */
void sy_manifest_of(sy_world *w, const sy_tree *t, xd_manifest **ret);

/* sync_check.c */
void sy_check_manifest(sy_world *w, const xd_manifest *m, const sy_tree *t);
/* Digests, and what xd_manifest_diff says. from may be NULL. */
void sy_check_diff(sy_world *w, const sy_version *from, const sy_version *to);
/* Written as records and read again, with some files pushed and some of what is gone kept. from may be NULL. */
void sy_check_records(sy_world *w, const sy_version *from, const sy_version *to);
/* A tree that differs in one thing has another digest; the same one in another order the same. */
void sy_check_twins(sy_world *w, const sy_version *v);
/* What stands on the host against what should. before: what stood there; to was brought. */
void sy_check_host(sy_world *w, const sy_tree *before, const sy_tree *now, const sy_version *to,
                   bool refused);
/* What stands on a host after its pipe was cut: each file is as before, or as it is to be. amended may be NULL. */
void sy_check_cut(sy_world *w, const sy_tree *before, const sy_tree *now, const sy_version *to,
                  const sy_version *amended);

/* sync_files.c */
const sy_blob *sy_blob_edit(sy_world *w, const sy_blob *b);
/* Appends frames SYNC_DATA that bring this file; base: what stands there, NULL = it goes whole. */
void sy_file_send(sy_world *w, uint32_t file, const sy_blob *content, const sy_blob *base, xd_buf *out);

/* Files that are so large that no tree here has them: with fixed blocks, and at the limit of two classes. */
void sy_check_large(sy_world *w);

/* sync_home.c */
/* Brings a version to a host; the pipe may be cut, then it begins anew. */
void sy_bring(sy_world *w, struct sy_host *h, const sy_version *v);

/* sync_host.c */
typedef struct sy_host {
    sy_tree           tree;
    xd_manifest      *state;    /* what was brought; NULL = nothing, or it is not known */
    const sy_version *believed; /* home's: what stands there */
    /* of one synchronisation */
    xd_digest       id;
    xd_records     *records;
    bool            whole; /* the records are the whole tree */
    bool            passes, done, refused;
    bool            amended;
    xd_manifest    *want;
    uint8_t        *pushed;
    xd_buf          kept; /* paths, NUL behind each */
    const char     *extra[SY_PATHS];
    uint32_t        extras;
    const sy_blob **got;    /* by file; of want */
    sy_blob        *coming; /* of file `comes`; len: how much came */
    const sy_blob  *copied; /* what stood there when it began to come */
    uint32_t        comes;
} sy_host;
/* A frame arrives; answers are appended. */
void sy_host_frame(sy_world *w, sy_host *h, const xd_frame *f, xd_buf *answers);
/* The pipe was cut, or it is done. */
void sy_host_reset(sy_host *h);
