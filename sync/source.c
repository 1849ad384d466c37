/* sync/source.c - see source.h; the streams of blocks are in blocks.c. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "sync/source_state.h"

int xd_source_thread(pthread_t *ret, const char *name, void *(*main)(void *), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = -pthread_create(ret, NULL, main, arg);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r == 0)
        (void)pthread_setname_np(*ret, name);
    return r;
}

/* ---- the scan ----------------------------------------------------------------------------------------------- */

static void *scan_main(void *arg)
{
    xd_source     *s = arg;
    xd_scan_result result = { 0 };
    xd_error       err = { 0 };
    int            r = xd_scan(&s->args.scan, &s->stop, &result, &err);
    (void)pthread_mutex_lock(&s->lock);
    s->result = result;
    s->scan_err = err;
    s->scanned = r < 0 ? r : 0;
    if (r >= 0)
        s->scanned_id = xd_manifest_digest(result.manifest);
    (void)pthread_cond_broadcast(&s->scanned_cond);
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int copy_args(xd_source *s, const xd_source_args *args)
{
    size_t n = 0;
    while (args->scan.roots[n])
        n++;
    char **roots = calloc(n + 1, sizeof *roots);
    s->args = *args;
    s->args.scan.roots = (const char *const *)roots;
    s->args.scan.base = strdup(args->scan.base);
    s->args.scan.cache = args->scan.cache ? strdup(args->scan.cache) : NULL;
    s->args.scan.above = args->scan.above ? strdup(args->scan.above) : NULL;
    s->args.memory = args->memory ? strdup(args->memory) : NULL;
    bool ok = roots && s->args.scan.base && (!args->scan.cache || s->args.scan.cache) &&
              (!args->scan.above || s->args.scan.above) && (!args->memory || s->args.memory);
    for (size_t i = 0; roots && i < n; i++)
        ok &= (roots[i] = strdup(args->scan.roots[i])) != NULL;
    return ok ? 0 : -ENOMEM;
}

static void free_args(xd_source *s)
{
    for (size_t i = 0; s->args.scan.roots && s->args.scan.roots[i]; i++)
        free((char *)(uintptr_t)s->args.scan.roots[i]);
    free((void *)(uintptr_t)s->args.scan.roots);
    free((char *)(uintptr_t)s->args.scan.base);
    free((char *)(uintptr_t)s->args.scan.cache);
    free((char *)(uintptr_t)s->args.scan.above);
    free((char *)(uintptr_t)s->args.memory);
}

static int make_locks(xd_source *s)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int r = -pthread_cond_init(&s->work, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_rwlock_init(&s->tree_lock, NULL);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->ask_lock, NULL);
    (void)pthread_cond_init(&s->scanned_cond, NULL);
    (void)pthread_cond_init(&s->base_cond, NULL);
    return r;
}

int xd_source_new(xd_source **ret, const xd_source_args *args, xd_error *err)
{
    xd_source *s = calloc(1, sizeof *s);
    if (!s)
        return xd_error_set(err, -ENOMEM, "out of memory");
    s->base_fd = s->spill_fd = -1;
    s->scanned = 1;
    int r = make_locks(s);
    if (r == 0)
        r = copy_args(s, args);
    if (r == 0 && (s->base_fd = open(args->scan.base, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    xd_chunker_init(&s->chunker);
    if (r == 0)
        r = xd_source_thread(&s->scanner, "xd-scan", scan_main, s);
    s->scanning = r == 0;
    if (r < 0) {
        xd_source_free(s);
        return xd_error_set(err, r, "cannot read %s: %s", args->scan.base, xd_error_name(r));
    }
    *ret = s;
    return 0;
}

xd_source *xd_source_free(xd_source *s)
{
    if (!s)
        return NULL;
    xd_source_stop(s);
    if (s->scanning)
        (void)pthread_join(s->scanner, NULL);
    xd_blocks_free(s);
    xd_scan_release(&s->result);
    for (uint32_t i = 0; i < s->base_count; i++) {
        xd_memory_free(s->bases[i]->memory);
        free(s->bases[i]);
    }
    free(s->bases);
    free(s->amends);
    free(s->after);
    xd_chunk_store_release(&s->lists);
    if (s->base_fd >= 0)
        (void)close(s->base_fd);
    free_args(s);
    (void)pthread_rwlock_destroy(&s->tree_lock);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->ask_lock);
    xd_scan_asker_free(s->asker);
    (void)pthread_cond_destroy(&s->scanned_cond);
    (void)pthread_cond_destroy(&s->base_cond);
    (void)pthread_cond_destroy(&s->work);
    free(s);
    return NULL;
}

void xd_source_stop(xd_source *s)
{
    __atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
    (void)pthread_mutex_lock(&s->lock);
    (void)pthread_cond_broadcast(&s->scanned_cond);
    (void)pthread_cond_broadcast(&s->base_cond);
    (void)pthread_mutex_unlock(&s->lock);
    xd_blocks_stop(s);
}

int xd_source_scanned(xd_source *s, const xd_scan_result **ret, xd_error *err)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->scanned == 1 && !xd_source_stopped(s))
        (void)pthread_cond_wait(&s->scanned_cond, &s->lock);
    int r = s->scanned;
    if (r < 0 && err)
        *err = s->scan_err;
    (void)pthread_mutex_unlock(&s->lock);
    if (r == 1)
        return xd_error_set(err, -ECANCELED, "stopped");
    *ret = &s->result;
    return r;
}

void xd_source_get_stats(xd_source *s, xd_source_stats *ret)
{
    (void)pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->read_files = __atomic_load_n(&s->stats.read_files, __ATOMIC_RELAXED);
    ret->read_bytes = __atomic_load_n(&s->stats.read_bytes, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- what destinations have ---------------------------------------------------------------------------------- */

void xd_source_base_ref(xd_base *b)
{
    b->refs++;
}

void xd_source_base_unref(xd_source *s, xd_base *b)
{
    if (--b->refs)
        return;
    uint32_t i = 0;
    while (s->bases[i] != b)
        i++;
    s->bases[i] = s->bases[--s->base_count];
    xd_memory_free(b->memory);
    free(b);
}

void xd_source_base_release(xd_source *s, xd_base *b)
{
    if (!b)
        return;
    (void)pthread_mutex_lock(&s->lock);
    xd_source_base_unref(s, b);
    (void)pthread_mutex_unlock(&s->lock);
}

/* With the lock: the one of this tree, to be loaded if it is new. */
static xd_base *base_of(xd_source *s, xd_digest id, bool *ret_new)
{
    for (uint32_t i = 0; i < s->base_count; i++)
        if (xd_digest_eq(s->bases[i]->id, id) && !s->bases[i]->failed) {
            s->bases[i]->refs++;
            *ret_new = false;
            return s->bases[i];
        }
    xd_base **more = realloc(s->bases, (s->base_count + (size_t)1) * sizeof(xd_base *));
    if (more)
        s->bases = more;
    xd_base *b = more ? calloc(1, sizeof *b) : NULL;
    if (b) {
        b->id = id;
        b->refs = 1;
        s->bases[s->base_count++] = b;
    }
    *ret_new = true;
    return b;
}

int xd_source_base(xd_source *s, const char *key, xd_digest id, xd_base **ret)
{
    bool is_new;
    (void)pthread_mutex_lock(&s->lock);
    xd_base *b = base_of(s, id, &is_new);
    if (b && is_new) {
        xd_memory *m = NULL;
        (void)pthread_mutex_unlock(&s->lock);
        int r = xd_memory_load(s->args.memory, key, &m);
        if (r == 0 && !xd_digest_eq(xd_manifest_digest(&m->tree), id)) /* written anew meanwhile */
            m = xd_memory_free(m);
        (void)pthread_mutex_lock(&s->lock);
        b->memory = m;
        b->failed = !m;
        (void)pthread_cond_broadcast(&s->base_cond);
    }
    while (b && !b->memory && !b->failed)
        (void)pthread_cond_wait(&s->base_cond, &s->lock);
    int r = !b ? -ENOMEM : b->failed ? -ENOENT : 0;
    if (r == 0)
        *ret = b;
    else if (b)
        xd_source_base_unref(s, b);
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

typedef struct lists {
    xd_source     *source;
    const xd_base *base;
} lists;

static xd_bytes list_of(void *arg, xd_digest id)
{
    const lists *l = arg;
    xd_bytes     list = xd_source_list(l->source, id);
    return list.len == 0 && l->base ? xd_memory_list(l->base->memory, id) : list;
}

int xd_source_remember(xd_source *s, const char *key, const xd_base *base, uint32_t amends, xd_error *err)
{
    lists l = { s, base };
    (void)pthread_rwlock_rdlock(&s->tree_lock);
    int r = xd_source_amends(s) == amends
                ? xd_memory_store(s->args.memory, key, s->result.manifest, list_of, &l, err)
                : 0;
    (void)pthread_rwlock_unlock(&s->tree_lock);
    return r;
}

xd_bytes xd_source_list(xd_source *s, xd_digest id)
{
    (void)pthread_mutex_lock(&s->lock);
    xd_bytes list = xd_chunk_store_find(&s->lists, id);
    (void)pthread_mutex_unlock(&s->lock);
    return list;
}

int xd_source_list_add(xd_source *s, xd_digest id, xd_bytes list)
{
    (void)pthread_mutex_lock(&s->lock);
    int r = xd_chunk_store_add(&s->lists, id, list);
    (void)pthread_mutex_unlock(&s->lock);
    return r;
}

/* ---- files that change ---------------------------------------------------------------------------------------- */

static bool known(const xd_source *s, const xd_amend *a)
{
    if (a->gone) {
        for (uint32_t i = 0; i < s->amend_count; i++)
            if (s->amends[i].file == a->file && s->amends[i].gone)
                return true;
        return false;
    }
    const xd_entry *e = &s->result.manifest->entry[s->result.manifest->file[a->file]];
    return xd_digest_eq(e->id, a->id) && e->size == a->size && e->mode == a->mode &&
           e->mtime_ns == a->mtime_ns;
}

int xd_source_amend(xd_source *s, const xd_amend *amends, uint32_t count)
{
    (void)pthread_rwlock_wrlock(&s->tree_lock);
    (void)pthread_mutex_lock(&s->lock);
    int r = 0;
    if (s->amend_count + count > s->amend_cap) {
        uint32_t   cap = (s->amend_count + count) * 2;
        xd_amend  *more = realloc(s->amends, cap * sizeof *more);
        xd_digest *after = NULL;
        if (more) {
            s->amends = more;
            after = realloc(s->after, cap * sizeof *after);
        }
        if (after) {
            s->after = after;
            s->amend_cap = cap;
        } else {
            r = -ENOMEM;
        }
    }
    uint32_t first = s->amend_count;
    for (uint32_t i = 0; i < count && r == 0; i++) {
        const xd_amend *a = &amends[i];
        if (known(s, a))
            continue;
        s->amends[s->amend_count] = *a;
        s->amends[s->amend_count++].was = s->result.manifest->entry[s->result.manifest->file[a->file]];
        if (!a->gone)
            xd_manifest_amend(s->result.manifest, a->file, a->mode, a->size, a->mtime_ns, a->id);
    }
    if (s->amend_count > first) {
        xd_manifest_seal(s->result.manifest);
        for (uint32_t i = first; i < s->amend_count; i++) /* none is ever seen without the others */
            s->after[i] = xd_manifest_digest(s->result.manifest);
    }
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_rwlock_unlock(&s->tree_lock);
    return r;
}

uint32_t xd_source_amends(xd_source *s)
{
    (void)pthread_mutex_lock(&s->lock);
    uint32_t n = s->amend_count;
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

xd_amend xd_source_amend_at(xd_source *s, uint32_t i)
{
    (void)pthread_mutex_lock(&s->lock);
    xd_amend a = s->amends[i];
    (void)pthread_mutex_unlock(&s->lock);
    return a;
}

int xd_source_as_of(xd_source *s, uint32_t count, xd_manifest *ret)
{
    *ret = *s->result.manifest;
    if (xd_source_amends(s) == count)
        return 0;
    ret->entry = malloc(ret->count * sizeof *ret->entry);
    if (!ret->entry)
        return -ENOMEM;
    memcpy(ret->entry, s->result.manifest->entry, ret->count * sizeof *ret->entry);
    for (uint32_t i = xd_source_amends(s); i-- > count;) {
        xd_amend a = xd_source_amend_at(s, i);
        xd_manifest_amend(ret, a.file, a.was.mode, a.was.size, a.was.mtime_ns, a.was.id);
    }
    xd_manifest_seal(ret);
    return 0;
}

void xd_source_as_of_release(xd_source *s, xd_manifest *m)
{
    if (m->entry != s->result.manifest->entry)
        free(m->entry);
    m->entry = NULL;
}

xd_digest xd_source_digest(xd_source *s, uint32_t count)
{
    (void)pthread_mutex_lock(&s->lock);
    xd_digest id = count ? s->after[count - 1] : s->scanned_id;
    (void)pthread_mutex_unlock(&s->lock);
    return id;
}

/* ---- what stays on the other end -------------------------------------------------------------------------------- */

static bool is_below(xd_bytes path, const char *folder, size_t len)
{
    return path.len >= len && memcmp(path.ptr, folder, len) == 0 && (path.len == len || path.ptr[len] == '/');
}

static bool is_in_root(const xd_source *s, xd_bytes path)
{
    for (const char *const *root = s->args.scan.roots; *root; root++)
        if (strcmp(*root, ".") == 0 || is_below(path, *root, strlen(*root)))
            return true;
    return false;
}

int xd_source_keeps(xd_source *s, xd_bytes path, bool is_folder, bool *ret)
{
    if (s->args.apart && !is_in_root(s, path)) {
        *ret = true;
        return 0;
    }
    const char *p = (const char *)s->result.unreadable.data;
    for (size_t at = 0; at < s->result.unreadable.len; at += strlen(p + at) + 1)
        if (is_below(path, p + at, strlen(p + at)) || strcmp(p + at, ".") == 0) {
            *ret = true;
            return 0;
        }
    (void)pthread_mutex_lock(&s->ask_lock);
    int r = s->asker ? 0 : xd_scan_asker_new(&s->asker, &s->args.scan);
    if (r == 0)
        r = xd_scan_asker_ask(s->asker, path, is_folder, ret);
    (void)pthread_mutex_unlock(&s->ask_lock);
    return r;
}
