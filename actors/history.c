#include "actors/history.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/path.h"

#define READ_WAIT_MS 100
#define SAVE_WAIT_MS 2000
#define SCHEMA_VERSION 1

struct xd_history {
    char             *path;
    xd_history_entry *slots; /* open addressing, power of two; runs = 0 is a free slot */
    size_t            cap, count, dirty;
    bool              damaged; /* the file is no database: put it aside when saving */
};

int xd_history_path(const char *cache, const char *rootdir, char **ret, xd_error *err)
{
    xd_autofree char *found = NULL;
    if (!cache)
        XD_TRY(xd_path_cache(&found, err));
    const char *base = xd_path_base(rootdir);
    uint64_t    hash = XXH3_64bits(rootdir, strlen(rootdir));
    xd_autobuf  out = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&out, "%s/%.60s-%08x/history.db", cache ? cache : found, *base ? base : "root",
                         (unsigned)(hash & 0xffffffffu)));
    *ret = xd_bytes_dup(xd_buf_view(&out));
    return *ret ? 0 : -ENOMEM;
}

static xd_history_entry *slot_of(const xd_history *h, uint64_t key)
{
    size_t mask = h->cap - 1;
    size_t at = (size_t)key & mask;
    while (h->slots[at].runs && h->slots[at].key != key)
        at = (at + 1) & mask;
    return &h->slots[at];
}

static int grow(xd_history *h, size_t wanted)
{
    size_t cap = h->cap ? h->cap : 1024;
    while (cap < wanted * 2)
        cap *= 2;
    if (cap == h->cap)
        return 0;
    xd_history old = *h;
    h->slots = calloc(cap, sizeof *h->slots);
    if (!h->slots) {
        *h = old;
        return -ENOMEM;
    }
    h->cap = cap;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].runs)
            *slot_of(h, old.slots[i].key) = old.slots[i];
    free(old.slots);
    return 0;
}

static int unusable(xd_history *h, sqlite3 *db, int code, xd_error *err)
{
    if (code == SQLITE_NOMEM)
        return -ENOMEM;
    h->damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_SCHEMA;
    const char *what = code == SQLITE_BUSY || code == SQLITE_LOCKED ? "is locked by another process"
                       : h->damaged ? "is damaged; it will be moved aside and replaced"
                                    : (db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
    xd_error_set(err, -EIO, "history %s %s: this run continues without it", h->path, what);
    return XD_HISTORY_UNUSABLE;
}

static int read_rows(xd_history *h, sqlite3 *db)
{
    sqlite3_stmt *st = NULL;
    int           version = 0;
    int           r = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL);
    if (r == SQLITE_OK && (r = sqlite3_step(st)) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (r != SQLITE_ROW)
        return r;
    if (version == 0)
        return SQLITE_DONE; /* made by nobody yet */
    if (version != SCHEMA_VERSION)
        return SQLITE_SCHEMA;
    r = sqlite3_prepare_v2(db, "SELECT key, duration_us, runs, outcome FROM item", -1, &st, NULL);
    if (r != SQLITE_OK)
        return r == SQLITE_ERROR ? SQLITE_CORRUPT : r;
    while ((r = sqlite3_step(st)) == SQLITE_ROW) {
        if (grow(h, h->count + 1) < 0) {
            r = SQLITE_NOMEM;
            break;
        }
        sqlite3_int64     runs = sqlite3_column_int64(st, 2), us = sqlite3_column_int64(st, 1);
        uint64_t          key = (uint64_t)sqlite3_column_int64(st, 0);
        xd_history_entry *e = slot_of(h, key);
        if (!e->runs)
            h->count++;
        *e = (xd_history_entry){ .key = key,
                                 .duration_us = us > 0 ? (uint64_t)us : 0,
                                 .runs = runs > 0 && runs < UINT32_MAX ? (uint32_t)runs : 1,
                                 .outcome = (uint8_t)sqlite3_column_int(st, 3) };
    }
    sqlite3_finalize(st);
    return r;
}

int xd_history_open(const char *path, xd_history **ret, xd_error *err)
{
    xd_history *h = calloc(1, sizeof *h);
    if (!h || !(h->path = strdup(path)) || grow(h, 1) < 0) {
        xd_history_free(h);
        return -ENOMEM;
    }
    *ret = h;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 0;
    sqlite3 *db = NULL;
    int      r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (r == SQLITE_OK) {
        sqlite3_busy_timeout(db, READ_WAIT_MS);
        r = read_rows(h, db);
    }
    int out = 0;
    if (r != SQLITE_DONE) {
        memset(h->slots, 0, h->cap * sizeof *h->slots);
        h->count = 0;
        out = unusable(h, db, r & 0xff, err);
    }
    sqlite3_close(db);
    if (out < 0)
        *ret = xd_history_free(h);
    return out;
}

xd_history *xd_history_free(xd_history *h)
{
    if (h) {
        free(h->path);
        free(h->slots);
        free(h);
    }
    return NULL;
}

size_t xd_history_count(const xd_history *h)
{
    return h->count;
}

size_t xd_history_dirty(const xd_history *h)
{
    return h->dirty;
}

uint64_t xd_history_environment(xd_bytes spec)
{
    const uint8_t *number =
        spec.len ? memmem(spec.ptr, spec.len, " #", 2) : NULL; /* of each-worker: one of several */
    if (number)
        spec.len = (size_t)(number - spec.ptr);
    return xd_bytes_eq_str(spec, "popen") ? 0 : XXH3_64bits(spec.ptr, spec.len);
}

static uint64_t key_of(uint64_t environment, xd_bytes nodeid)
{
    return XXH3_64bits_withSeed(nodeid.ptr, nodeid.len, environment); /* without one as without a seed */
}

const xd_history_entry *xd_history_find(const xd_history *h, uint64_t environment, xd_bytes nodeid)
{
    const xd_history_entry *e = slot_of(h, key_of(environment, nodeid));
    if (!e->runs && environment)
        e = slot_of(h, key_of(0, nodeid));
    return e->runs ? e : NULL;
}

/* Noise is not news: empty tests vary by more than their whole time. But noise only adds to a duration, so what is
 * shorter than recorded counts sooner. */
static bool same_duration(uint64_t old, uint64_t now)
{
    uint64_t diff = old > now ? old - now : now - old;
    return diff <= (now < old ? 500u : 5000u) || diff <= old / 4;
}

int xd_history_note(xd_history *h, uint64_t environment, xd_bytes nodeid, uint64_t duration_us,
                    uint8_t outcome)
{
    XD_TRY(grow(h, h->count + 1));
    uint64_t          key = key_of(environment, nodeid);
    xd_history_entry *e = slot_of(h, key);
    if (!e->runs) {
        *e = (xd_history_entry){
            .key = key, .duration_us = duration_us, .runs = 1, .outcome = outcome, .dirty = 1
        };
        h->count++;
        h->dirty++;
        return 0;
    }
    if (e->outcome == outcome && same_duration(e->duration_us, duration_us))
        return 0;
    if (!same_duration(e->duration_us, duration_us))
        e->duration_us = e->duration_us / 2 + duration_us / 2;
    e->outcome = outcome;
    if (e->runs < UINT32_MAX)
        e->runs++;
    h->dirty += !e->dirty;
    e->dirty = 1;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    int64_t x = (int64_t)(*(const xd_history_entry *const *)a)->key;
    int64_t y = (int64_t)(*(const xd_history_entry *const *)b)->key;
    return (x > y) - (x < y);
}

static int write_rows(sqlite3 *db, xd_history_entry **rows, size_t count)
{
    /* A guess about durations is not worth waiting for the disk: a file that a power cut damages is put
     * aside. */
    int r = sqlite3_exec(db, "PRAGMA synchronous=OFF; BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (r != SQLITE_OK)
        return r;
    r = sqlite3_exec(db,
                     "CREATE TABLE IF NOT EXISTS item (key INTEGER PRIMARY KEY, duration_us INTEGER NOT NULL,"
                     " runs INTEGER NOT NULL, outcome INTEGER NOT NULL); PRAGMA user_version=1",
                     NULL, NULL, NULL);
    sqlite3_stmt *st = NULL;
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO item VALUES (?,?,?,?)", -1, &st, NULL);
    for (size_t i = 0; i < count && r == SQLITE_OK; i++) {
        sqlite3_bind_int64(st, 1, (sqlite3_int64)rows[i]->key);
        sqlite3_bind_int64(st, 2, (sqlite3_int64)rows[i]->duration_us);
        sqlite3_bind_int64(st, 3, rows[i]->runs);
        sqlite3_bind_int(st, 4, rows[i]->outcome);
        sqlite3_step(st);
        r = sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return r;
}

static int put_aside(xd_history *h)
{
    xd_autobuf to = XD_BUF_INIT;
    XD_TRY(xd_buf_printf(&to, "%s.damaged", h->path));
    if (rename(h->path, xd_buf_cstr(&to)) < 0 && errno != ENOENT)
        return -errno;
    h->damaged = false;
    return 0;
}

int xd_history_save(xd_history *h, xd_error *err)
{
    if (!h->dirty)
        return 0;
    xd_autofree char *dir = xd_path_dir(h->path);
    if (!dir)
        return -ENOMEM;
    if (xd_path_mkdirs(dir, 0700, err) < 0)
        return XD_HISTORY_UNUSABLE;
    if (h->damaged && put_aside(h) < 0)
        return XD_HISTORY_UNUSABLE;
    /* In key order the pages of the tree are written once each. */
    xd_autofree xd_history_entry **rows = malloc(h->dirty * sizeof *rows);
    if (!rows)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < h->cap; i++)
        if (h->slots[i].dirty)
            rows[n++] = &h->slots[i];
    qsort(rows, n, sizeof(xd_history_entry *), by_key);
    sqlite3 *db = NULL;
    int      r =
        sqlite3_open_v2(h->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (r == SQLITE_OK) {
        sqlite3_busy_timeout(db, SAVE_WAIT_MS);
        r = write_rows(db, rows, n);
    }
    int out = r == SQLITE_OK ? 0 : unusable(h, db, r & 0xff, err);
    sqlite3_close(db); /* an open transaction is rolled back by it */
    if (out == 0) {
        for (size_t i = 0; i < n; i++)
            rows[i]->dirty = 0;
        h->dirty = 0;
    }
    return out;
}
