/* sync/far.h - what the parts of the far half share (receive.c, look.c, alike.c, apply.c, fresh.c, place.c, remove.c, compiled.c); for them alone.
 *
 * Order of things: the state is read and everything in it looked at (far_look_old); the wanted tree comes; each of its names gets a `mark`: what it
 * needs (far_match, far_plan); what is lacking is asked for; folders are made, contents that stand elsewhere copied; data comes and is put in place by a few
 * threads; links, removals, modes of folders, and the new state are last (far_finish). */
#pragma once
#include <dirent.h>
#include <pthread.h>

#include "sync/beneath.h"
#include "sync/state.h"

#define FAR_THREADS 4u
#define FAR_ROOM (64u << 10)
#define FAR_TEMP ".xd-"
#define FAR_TRIES 3

/* xd_entry.mark of the wanted tree. */
enum {
    NEED_NOTHING,
    NEED_META,   /* mode or time alone. Folders that were made, or opened up, too */
    NEED_MAKE,   /* folder, link, empty file */
    NEED_COPY,   /* its content stands at another path */
    NEED_PUSHED, /* comes unasked */
    NEED_DATA,   /* is asked for */
    NEED_QUEUED, /* is being written */
    NEED_LEFT,   /* home cannot read it any more */
};
/* How an entry of the old tree stands there. */
enum { STAND_GONE, STAND_OTHER, STAND_META, STAND_CLEAN };
/* What stands at a path: SYNC_GONE, FILE, FOLDER, LINK, or this. */
#define THERE_ODD 100 /* FIFO, socket, device */
#define THERE_STAGED \
    101                 /* nothing did; this run has made a folder for it, under a temporary name (fresh.c) */
#define THERE_FRESH 102 /* the same, but in such a folder, or under its own name by now */
#define THERE_UNKNOWN 255

/* A path to be removed. */
typedef struct far_victim {
    uint32_t old;  /* entry of the old tree; XD_MANIFEST_NONE: nobody brought it */
    uint32_t path; /* where it is in victim_paths */
    bool     folder, kept;
    bool     other; /* of xd_state.others */
    bool     whole; /* brought by a call that brought what is in a folder */
    bool     alike; /* kept: a wanted name, spelled differently, to a file system that ignores case */
} far_victim;

typedef struct xd_far {
    const char     *folder;  /* absolute */
    int             root;    /* -1 = there is none (yet) */
    uint32_t        threads; /* at most */
    uint32_t        flags;   /* SYNC_FLAG */
    int             stop_fd; /* readable: all is to end; 0 = none */
    int             stop;    /* atomic: what takes long ends with -ECANCELED */
    int             wake_fd; /* eventfd: the reader of the stream is to look around */
    pthread_mutex_t lock;    /* error */
    int             failed;  /* atomic; error says why */
    xd_error        error;

    xd_state old;
    uint8_t *stand; /* STAND_* per entry of old */
    int64_t  margin_ns;
    int blurred; /* atomic: contents were read that need not be the next time, once that is written down */
    xd_state broken; /* what a synchronisation that was killed was to bring */
    bool     was_killed;
    bool     adopted; /* atomic: folders of that one have taken their places */
    bool     delta;   /* home knows what stands here: changes may come as deltas */

    xd_manifest *want;
    bool         shared;     /* want is old.tree */
    uint8_t     *pushed;     /* bit per file number; may be NULL */
    xd_buf       kept;       /* paths with NUL */
    uint32_t    *was;        /* per entry of want: that of old at the same path */
    uint8_t     *there;      /* per entry of want: what stood at the path */
    uint64_t    *print;      /* per entry of want: fingerprint of what was made of it */
    uint8_t     *tries;      /* per file number */
    uint32_t    *by_content; /* files of old, sorted by digest; made when it is asked for */
    uint32_t     by_contents;

    far_victim *victim;
    uint32_t    victims, victims_cap;
    xd_buf      victim_paths;
    bool        asks_others; /* those of other calls are among them */

    int      state_fd; /* of the state that is being written; -1 */
    bool     amended;
    bool     writing;      /* the folder is being changed */
    int      ignores_case; /* atomic: what is known of the file system: 1 = it does, -1 = it does not */
    uint32_t lacking;      /* atomic: files that are to come (PUSHED, DATA, QUEUED) */
    /* atomic, for DONE */
    uint32_t written, removed, reused;
    uint64_t reused_bytes, written_bytes;

    xd_buf out; /* frames to be sent; the reader's thread alone */
} xd_far;

/* What one thread has for itself. */
typedef struct far_worker {
    xd_far            *far;
    uint8_t           *room; /* FAR_ROOM bytes */
    xd_buf             path;
    int                fd; /* of the folder that was used last, -1 = none */
    const xd_manifest *tree;
    uint32_t           entry;
} far_worker;

/* ---- far.c */
int  far_worker_init(far_worker *w, xd_far *far) XD_MUST;
void far_worker_release(far_worker *w);
/* Descriptor (O_PATH) of a folder of a tree, by whatever name it has now; the worker's, until it asks for another one. -errno. */
int far_folder(far_worker *w, const xd_manifest *m, uint32_t folder) XD_MUST;
/* Forgets the descriptor: the folder was renamed or removed. */
void far_forget(far_worker *w);
/* Name of an entry as a string. */
void far_name(const xd_manifest *m, const xd_entry *e, char to[XD_MANIFEST_NAME_MAX + 1]);
/* Name of the temporary file of an entry of the wanted tree. */
void far_temp(uint32_t entry, char to[32]);
/* Calls fn for 0..count-1, by several threads if that pays; the first result < 0 ends it. */
typedef int (*far_each_fn)(far_worker *w, uint32_t i);
int far_each(xd_far *far, uint32_t count, far_each_fn fn) XD_MUST;
/* Keeps the first fault, with the path as it is on this host and what to do about it. Returns code. Any thread. */
int  far_fault(xd_far *far, int code, const char *what, xd_bytes path);
int  far_fault_entry(xd_far *far, int code, const char *what, uint32_t entry);
int  far_fault_text(xd_far *far, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void far_wake(xd_far *far);
static inline bool far_stopped(xd_far *far)
{
    return __atomic_load_n(&far->stop, __ATOMIC_RELAXED) != 0;
}
static inline int64_t far_ns(struct timespec t)
{
    return (int64_t)((uint64_t)t.tv_sec * 1000000000u) + t.tv_nsec;
}
static inline bool far_is_ours(xd_bytes name)
{
    return name.len >= sizeof(FAR_TEMP) - 1 && memcmp(name.ptr, FAR_TEMP, sizeof(FAR_TEMP) - 1) == 0;
}
/* More room where a folder's own mode forbids its owner to change it; 0 = it was done. */
int far_open_up(xd_far *far, int parent, const char *name);

/* ---- look.c: what stands there */
int  far_look_old(xd_far *far) XD_MUST;
bool far_old_clean(const xd_far *far);
/* Marks every entry of want with what it needs, but for where it comes from. */
int far_match(xd_far *far) XD_MUST;

/* ---- alike.c: names that a file system may take for one */
/* -EEXIST where two names of a folder of the wanted tree, which stands there, are one: the fault is kept. far_each_fn. */
int far_fold_folder(far_worker *w, uint32_t i) XD_MUST;
/* Does it ignore case? One of our own names tells, once it is there. Any thread. */
bool far_ignores_case(xd_far *far);
/* The wanted entry that leads to what stands at a path, or NONE: for a file system that ignores case. */
uint32_t far_find_alike(const xd_far *far, xd_bytes path);
/* What that path leads to gets the wanted spelling of its name, but for a dry run. */
int far_respell(xd_far *far, int folder, const char *name, uint32_t entry) XD_MUST;

/* ---- apply.c: what is to be done */
/* Checks what only this end can: names, targets of links. -EPROTO. */
int far_check_want(xd_far *far) XD_MUST;
int far_plan(xd_far *far) XD_MUST;
/* The folder is to be changed from here on: makes it, begins the state, sweeps what a killed run left. */
int  far_begin(xd_far *far) XD_MUST;
int  far_folders(xd_far *far) XD_MUST; /* makes them */
int  far_metas(xd_far *far) XD_MUST;   /* modes and times of files */
int  far_copies(xd_far *far) XD_MUST;  /* contents that stand elsewhere */
int  far_finish(xd_far *far) XD_MUST;  /* links, removals, modes of folders, state */
void far_abandon(xd_far *far);         /* removes the temporary files of this run */

/* ---- fresh.c: folders that are new */
bool far_is_fresh(const xd_far *far, uint32_t folder); /* this run has made it */
/* Appends the path that a folder of the wanted tree has now. */
int far_path_now(const xd_far *far, uint32_t folder, xd_buf *to) XD_MUST;
/* Makes a folder where nothing stood, and marks what it needs still. -EEXIST: something does. */
int far_make_fresh(xd_far *far, int parent, uint32_t i) XD_MUST;
/* Gives it the name that it is to have; or removes it, with all that is in it. */
int  far_settle_fresh(far_worker *w, uint32_t i) XD_MUST;
void far_drop_fresh(far_worker *w, uint32_t i);
/* After a run that was killed, before the wanted tree is compared: what it had made for its new folders takes their places. */
int far_adopt(xd_far *far) XD_MUST;
/* Removes a folder with all that is in it, as far as that can be done. depth: 0. */
void far_drop_tree(int parent, const char *name, unsigned depth);

/* ---- place.c: one file */
/* Gives the temporary file, open as fd, mode and time, and renames it to the place of the entry. */
int far_place(far_worker *w, uint32_t entry, int folder, const char *temp, int fd) XD_MUST;
int far_create_temp(far_worker *w, uint32_t entry, int folder, const char *temp) XD_MUST;
/* A whole file at once. 1: the content is not the one that was told of. */
int far_write_file(far_worker *w, uint32_t entry, xd_bytes content) XD_MUST;
int far_make_one(far_worker *w, uint32_t entry) XD_MUST; /* NEED_MAKE but for folders */
int far_meta_one(far_worker *w, uint32_t entry) XD_MUST; /* NEED_META of a file */

/* ---- data.c: what comes. All but far_data_taken on the reader's thread. */
typedef struct far_data  far_data;
typedef struct far_block far_block; /* bytes that several threads read; freed by the last */
int                      far_block_new(far_block **ret, size_t size) XD_MUST;
far_block *far_block_free(far_block *b); /* one that was not handed over; NULL ok; returns NULL */
uint8_t   *far_block_bytes(far_block *b);
XD_DEFINE_AUTO(far_block, far_block_free)
int far_data_new(far_data **ret, xd_far *far) XD_MUST;
far_data *
far_data_free(far_data *d); /* ends its threads, removes what is half written; NULL ok; returns NULL */
/* Pieces that lie in a block; it moves in, also on failure. counted: what it is worth to the sender's window. -EPROTO. */
int far_data_take(far_data *d, far_block **block, const xd_wire_SYNC_PIECE_LIST *list,
                  size_t counted) XD_MUST;
/* Waits until all that came is written, or dropped. */
void     far_data_drain(far_data *d);
void     far_data_forget(far_data *d, uint32_t file); /* drains; what came of this file so far is of no use */
uint64_t far_data_taken(const far_data *d);           /* sum of what was counted and is worked off */
void     far_data_skip(far_data *d, size_t counted);  /* dropped unread */

/* ---- remove.c */
/* May what stands at a name be removed: is all of it brought (old: its entry, or NONE)? -ENOTEMPTY: no, and the fault is kept. */
int far_way_check(xd_far *far, int parent, const char *name, uint32_t old, xd_bytes path) XD_MUST;
int far_way_clear(xd_far *far, int parent, const char *name, uint32_t old, xd_bytes path) XD_MUST;
int far_victims(xd_far *far, bool ask_home) XD_MUST; /* collects them */
int far_remove(xd_far *far) XD_MUST;
/* What other calls brought and stays, for the state (xd_state.others). After far_remove. */
int far_others(xd_far *far, xd_buf *ret) XD_MUST;
int far_sweep(xd_far *far) XD_MUST; /* after a run that was killed */
/* Opens a folder to read its names. NULL: errno. */
DIR           *far_names_of(int parent, const char *name);
struct dirent *far_next_name(DIR *d); /* but "." and ".." */

/* ---- compiled.c: what Python made of sources, which nobody brought. Python tells by the source's size and its time in seconds whether it is of use. */
#define FAR_CACHE_FOLDER "__pycache__"
bool far_is_compiled(const char *name);
/* Of sources that were removed: what lies in their folders' __pycache__. */
int far_compiled_gone(xd_far *far) XD_MUST;
/* Of a source that was removed: what Python 2 put beside it. */
void far_compiled_beside(xd_far *far, int folder, const char *name, xd_bytes path);
/* Of a source that is about to be replaced: what Python would take for that of the new one. */
int far_compiled_stale(far_worker *w, uint32_t entry, int folder, const char *name) XD_MUST;

/* ---- receive.c */
int far_tell(xd_far *far, uint8_t type, uint8_t was,
             xd_bytes path) XD_MUST; /* SYNC_CHANGE; the reader's thread */
