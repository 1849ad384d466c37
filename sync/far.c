/* sync/far.c - what the parts of the far half share: folders of a tree, work for several threads, faults. See far.h. */
#include "sync/far.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GRAIN 32u /* entries that a thread takes at once */

int far_worker_init(far_worker *w, xd_far *far)
{
    *w = (far_worker){ .far = far, .fd = -1, .room = malloc(FAR_ROOM) };
    return w->room ? 0 : -ENOMEM;
}

void far_worker_release(far_worker *w)
{
    far_forget(w);
    xd_buf_release(&w->path);
    free(w->room);
    w->room = NULL;
}

void far_forget(far_worker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

int far_folder(far_worker *w, const xd_manifest *m, uint32_t folder)
{
    if (w->fd >= 0 && w->tree == m && w->entry == folder)
        return w->fd;
    far_forget(w);
    if (w->far->root < 0)
        return -ENOENT;
    xd_buf_clear(&w->path);
    XD_TRY(m == w->far->want && w->far->there ? far_path_now(w->far, folder, &w->path)
                                              : xd_manifest_path(m, folder, &w->path));
    XD_TRY(xd_buf_add_byte(&w->path, 0));
    int fd = xd_beneath_folder(w->far->root, (const char *)w->path.data);
    if (fd < 0)
        return fd;
    w->fd = fd;
    w->tree = m;
    w->entry = folder;
    return fd;
}

void far_name(const xd_manifest *m, const xd_entry *e, char to[XD_MANIFEST_NAME_MAX + 1])
{
    memcpy(to, m->text + e->name, e->name_len);
    to[e->name_len] = 0;
}

void far_temp(uint32_t entry, char to[32])
{
    xd_format(to, 32, FAR_TEMP "%x", entry);
}

/* ---- several threads ---------------------------------------------------------------------------------------- */

typedef struct each {
    xd_far     *far;
    far_each_fn fn;
    pthread_t   caller;
    uint32_t    count, next; /* next, result: atomic */
    int         result;
} each;

/* Asked for by the caller's thread now and then. */
static void look_for_stop(xd_far *far)
{
    struct pollfd p = { .fd = far->stop_fd, .events = POLLIN };
    if (far->stop_fd > 0 && poll(&p, 1, 0) > 0)
        __atomic_store_n(&far->stop, 1, __ATOMIC_RELAXED);
}

static void *each_main(void *arg)
{
    each      *e = arg;
    far_worker w;
    int        r = far_worker_init(&w, e->far);
    while (r >= 0 && __atomic_load_n(&e->result, __ATOMIC_RELAXED) == 0) {
        uint32_t i = __atomic_fetch_add(&e->next, GRAIN, __ATOMIC_RELAXED);
        if (i >= e->count)
            break;
        if (pthread_equal(pthread_self(), e->caller))
            look_for_stop(e->far);
        for (uint32_t end = XD_MIN(e->count, i + GRAIN); r >= 0 && i < end; i++)
            r = far_stopped(e->far) ? -ECANCELED : e->fn(&w, i);
    }
    if (r < 0) {
        int none = 0;
        (void)__atomic_compare_exchange_n(&e->result, &none, r, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    far_worker_release(&w);
    return NULL;
}

int far_each(xd_far *far, uint32_t count, far_each_fn fn)
{
    each      e = { .far = far, .fn = fn, .count = count, .caller = pthread_self() };
    pthread_t thread[FAR_THREADS];
    uint32_t  n = 0, most = XD_MIN(XD_MIN(far->threads, FAR_THREADS), count / (8 * GRAIN) + 1);
    sigset_t  all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    while (n + 1 < most && pthread_create(&thread[n], NULL, each_main, &e) == 0)
        n++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)each_main(&e);
    while (n > 0)
        (void)pthread_join(thread[--n], NULL);
    return e.result;
}

/* ---- faults -------------------------------------------------------------------------------------------------- */

void far_wake(xd_far *far)
{
    uint64_t one = 1;
    (void)!write(far->wake_fd, &one, sizeof(one));
}

static const char *advice(int code)
{
    switch (-code) {
    case ENOSPC:
        return ": make room there (df, df -i)";
    case EDQUOT:
        return ": remove something there, or have the quota raised";
    case EROFS:
        return ": choose another folder";
    case EMFILE:
    case ENFILE:
        return ": raise the limit of open files (ulimit -n)";
    case EACCES:
    case EPERM:
        return ": it must belong to the user that xd runs as there";
    case EFBIG:
        return ": raise the limit of file sizes (ulimit -f)";
    case ENAMETOOLONG:
        return ": choose a folder with a shorter path";
    case ENOSYS:
    case EOPNOTSUPP:
        return ": the file system there has no such thing: leave it out (.xdignore), or choose another "
               "folder";
    default:
        return "";
    }
}

static int keep_fault(xd_far *far, int code, const char *text)
{
    (void)pthread_mutex_lock(&far->lock);
    if (!far->failed) {
        (void)xd_error_set(&far->error, code, "%s", text);
        __atomic_store_n(&far->failed, 1, __ATOMIC_RELEASE);
    }
    (void)pthread_mutex_unlock(&far->lock);
    far_wake(far);
    return code;
}

int far_fault_text(xd_far *far, int code, const char *fmt, ...)
{
    char    text[XD_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return keep_fault(far, code, text);
}

int far_fault(xd_far *far, int code, const char *what, xd_bytes path)
{
    bool base = path.len == 0 || xd_bytes_eq_str(path, ".");
    if (code == -ECANCELED)
        return code;
    return far_fault_text(far, code, "cannot %s %s%s%.*s: %s%s", what, far->folder, base ? "" : "/",
                          base ? 0 : (int)path.len, base ? "" : (const char *)path.ptr, xd_error_name(code),
                          advice(code));
}

int far_fault_entry(xd_far *far, int code, const char *what, uint32_t entry)
{
    xd_autobuf path = XD_BUF_INIT;
    (void)!xd_manifest_path(far->want, entry, &path);
    return far_fault(far, code, what, xd_buf_view(&path));
}

int far_open_up(xd_far *far, int parent, const char *name)
{
    struct stat      st;
    xd_autoclose int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    (void)far;
    if (fd >= 0)
        return fstat(fd, &st) == 0 && fchmod(fd, (st.st_mode & 07777) | 0700) == 0 ? 0 : -errno;
    if (errno != EACCES)
        return -errno;
    /* One that may not even be read: its mode is changed by its name, which is a folder's as far as can be seen. */
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return -EACCES;
    return fchmodat(parent, name, (st.st_mode & 07777) | 0700, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}
