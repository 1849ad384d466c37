/* receive_home.h - a home end for the tests of the far half (sync/receive.h): trees that are written down in a test, frames made of them, and a
 * loop that answers as the protocol has it. The far half runs in a thread, or in a process that can be killed. */
#pragma once
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/stream.h"
#include "sync/receive.h"

#define NS 1000000000ll
#define OK(expr)                                               \
    do {                                                       \
        int ok_ = (expr);                                      \
        if (ok_ < 0)                                           \
            ck_abort_msg("%s: %s", #expr, xd_error_name(ok_)); \
    } while (0)

/* ---- trees ------------------------------------------------------------------------------------------------------ */

/* Content: `text` again and again, up to `size` bytes; size 0: the text itself. */
typedef struct thing {
    const char *path;
    uint8_t     type; /* 0 = the end */
    uint16_t    mode;
    int64_t     mtime_ns;
    const char *text; /* content; target of a link */
    size_t      size;
} thing;
#define FILE_(path_, text_)                                                                         \
    {                                                                                               \
        .path = path_, .type = XD_SYNC_FILE, .mode = 0644, .mtime_ns = 1000 * NS + 5, .text = text_ \
    }
#define LARGE_(path_, text_, size_)                                                                  \
    {                                                                                                \
        .path = path_, .type = XD_SYNC_FILE, .mode = 0644, .mtime_ns = 1000 * NS + 5, .text = text_, \
        .size = size_                                                                                \
    }
#define FOLDER_(path_)                                      \
    {                                                       \
        .path = path_, .type = XD_SYNC_FOLDER, .mode = 0755 \
    }
#define WAY_(path_)                                      \
    {                                                    \
        .path = path_, .type = XD_SYNC_WAY, .mode = 0755 \
    }
#define LINK_(path_, to_)                                \
    {                                                    \
        .path = path_, .type = XD_SYNC_LINK, .text = to_ \
    }
#define END_ \
    {        \
        0    \
    }

static inline void content_of(const thing *t, xd_buf *out)
{
    size_t len = strlen(t->text), size = t->size ? t->size : len;
    xd_buf_clear(out);
    OK(xd_buf_reserve(out, size + 1));
    for (size_t at = 0; at < size; at += len)
        memcpy(out->data + at, t->text, XD_MIN(len, size - at));
    out->len = size;
}

static inline xd_digest digest_of(xd_bytes b)
{
    return xd_digest_of(b);
}

/* A manifest, and which thing each of its files is. */
typedef struct tree {
    const thing *things;
    xd_manifest *m;
    uint32_t    *thing_of; /* per file number */
} tree;

/* Things are in any order, but folders before what is in them; those that are not told are made. */
static inline uint32_t folder_handle(xd_tree *t, const char *path, char seen[][256], uint32_t *handles,
                                     uint32_t *n)
{
    const char *slash = strrchr(path, '/');
    char        parent[256] = "";
    if (slash)
        memcpy(parent, path, (size_t)(slash - path));
    if (!parent[0])
        return 0;
    for (uint32_t i = 0; i < *n; i++)
        if (strcmp(seen[i], parent) == 0)
            return handles[i];
    uint32_t above = folder_handle(t, parent, seen, handles, n);
    xd_node  node = { .name = xd_bytes_str(xd_path_base(parent)), .type = XD_SYNC_FOLDER, .mode = 0755 };
    OK(xd_tree_add(t, above, &node, &handles[*n]));
    memcpy(seen[*n], parent, sizeof(parent));
    return handles[(*n)++];
}

static inline tree tree_of(const thing *things)
{
    static char     seen[4096][256];
    static uint32_t handles[4096];
    xd_tree        *t;
    tree            ret = { .things = things };
    uint32_t        n = 0, count = 0;
    xd_autobuf      content = XD_BUF_INIT;
    OK(xd_tree_new(&t, XD_SYNC_FOLDER, 0755));
    for (const thing *x = things; x->type; x++, count++) {
        xd_node  node = { .name = xd_bytes_str(xd_path_base(x->path)), .type = x->type, .mode = x->mode };
        uint32_t handle;
        if (x->type == XD_SYNC_FILE) {
            content_of(x, &content);
            node.size = content.len;
            node.mtime_ns = x->mtime_ns;
            node.id = digest_of(xd_buf_view(&content));
        } else if (x->type == XD_SYNC_LINK) {
            node.target = xd_bytes_str(x->text);
        }
        uint32_t folder = folder_handle(t, x->path, seen, handles, &n);
        OK(xd_tree_add(t, folder, &node, &handle));
        if (x->type == XD_SYNC_FOLDER || x->type == XD_SYNC_WAY) {
            snprintf(seen[n], sizeof(seen[n]), "%s", x->path);
            handles[n++] = handle;
        }
    }
    OK(xd_tree_end(&t, &ret.m, NULL));
    ret.thing_of = calloc(ret.m->files + 1u, sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t e = xd_manifest_find(ret.m, xd_bytes_str(things[i].path));
        ck_assert_uint_ne(e, XD_MANIFEST_NONE);
        if (things[i].type == XD_SYNC_FILE)
            ret.thing_of[ret.m->entry[e].first] = i;
    }
    return ret;
}

static inline void tree_free(tree *t)
{
    t->m = xd_manifest_free(t->m);
    free(t->thing_of);
    t->thing_of = NULL;
}

/* ---- what stands on the disk, as text ----------------------------------------------------------------------------- */

static inline int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void list_line(xd_buf *out, const char *path, char kind, unsigned mode, int64_t mtime,
                             xd_bytes what)
{
    xd_digest d = digest_of(what);
    OK(xd_buf_printf(out, "%c %03o %lld %s ", kind, mode, (long long)mtime, path));
    if (what.len < 60)
        OK(xd_buf_add_bytes(out, what));
    else
        OK(xd_buf_printf(out, "%zu bytes %llx", what.len, (unsigned long long)d.lo));
    OK(xd_buf_add_byte(out, '\n'));
}

/* Every path below a folder but our own; sorted as strings, folder by folder. modes of folders in `ways` are not told. */
static inline void list_disk(const char *root, const char *below, xd_buf *out)
{
    xd_autofree char *path = below[0] ? xd_path_join(root, below) : strdup(root);
    DIR              *d = opendir(path);
    char             *names[4096];
    size_t            n = 0;
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strncmp(e->d_name, ".xd-sync", 8) != 0)
            names[n++] = strdup(e->d_name);
    closedir(d);
    qsort(names, n, sizeof(names[0]), by_name);
    for (size_t i = 0; i < n; i++) {
        xd_autofree char *rel = below[0] ? xd_path_join(below, names[i]) : strdup(names[i]);
        xd_autofree char *full = xd_path_join(root, rel);
        xd_autobuf        what = XD_BUF_INIT;
        struct stat       st;
        ck_assert_int_eq(lstat(full, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            list_line(out, rel, 'd', st.st_mode & 07777, 0, (xd_bytes){ 0 });
            list_disk(root, rel, out);
        } else if (S_ISLNK(st.st_mode)) {
            char    to[4096];
            ssize_t len = readlink(full, to, sizeof(to));
            list_line(out, rel, 'l', 0, 0, (xd_bytes){ (uint8_t *)to, (size_t)len });
        } else if (S_ISREG(st.st_mode)) {
            OK(xd_path_read_file(full, 1u << 30, &what, NULL));
            list_line(out, rel, 'f', st.st_mode & 07777, (int64_t)st.st_mtim.tv_sec * NS + st.st_mtim.tv_nsec,
                      xd_buf_view(&what));
        } else {
            list_line(out, rel, '?', 0, 0, (xd_bytes){ 0 });
        }
        free(names[i]);
    }
}

/* The same of a tree. */
static inline void list_tree(const tree *t, uint32_t folder, xd_buf *out)
{
    const xd_entry *f = &t->m->entry[folder];
    for (uint32_t i = f->first; i < f->first + f->count; i++) {
        const xd_entry *e = &t->m->entry[i];
        xd_autobuf      path = XD_BUF_INIT, what = XD_BUF_INIT;
        OK(xd_manifest_path(t->m, i, &path));
        if (e->type == XD_SYNC_FILE) {
            content_of(&t->things[t->thing_of[e->first]], &what);
            list_line(out, xd_buf_cstr(&path), 'f', e->mode, e->mtime_ns, xd_buf_view(&what));
        } else if (e->type == XD_SYNC_LINK) {
            list_line(out, xd_buf_cstr(&path), 'l', 0, 0, xd_entry_target(t->m, e));
        } else {
            list_line(out, xd_buf_cstr(&path), 'd', e->mode, 0, (xd_bytes){ 0 });
            list_tree(t, i, out);
        }
    }
}

static inline void check_same(const char *root, const tree *t)
{
    xd_autobuf is = XD_BUF_INIT, wanted = XD_BUF_INIT;
    list_disk(root, "", &is);
    list_tree(t, 0, &wanted);
    ck_assert_str_eq(xd_buf_cstr(&is), xd_buf_cstr(&wanted));
}

/* ---- folders of the tests ----------------------------------------------------------------------------------------- */

static char test_folder[64];

static inline void make_test_folder(void)
{
    snprintf(test_folder, sizeof(test_folder), "/tmp/xd-receive-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test_folder));
}
static inline void drop_test_folder(void)
{
    (void)xd_path_remove_tree(test_folder);
}
/* A path below it; of the last four calls. */
static inline const char *at(const char *name)
{
    static char paths[4][512];
    static int  i;
    char       *p = paths[i++ % 4];
    snprintf(p, sizeof(paths[0]), "%s/%s", test_folder, name);
    return p;
}
static inline void put_file(const char *path, const char *text)
{
    OK(xd_path_write_file(path, xd_bytes_str(text), 0644, NULL));
}

/* ---- the far half -------------------------------------------------------------------------------------------------- */

typedef struct far_end {
    int             fd; /* of home */
    xd_receive_args args;
    int             status;
    pthread_t       thread;
    pid_t           pid; /* 0 = a thread */
} far_end;

static inline void *far_main(void *arg)
{
    far_end *f = arg;
    f->status = xd_receive(&f->args);
    shutdown(f->args.in, SHUT_RDWR);
    close(f->args.in);
    return NULL;
}

static inline void far_start(far_end *f, const char *folder)
{
    int fds[2];
    *f = (far_end){ 0 };
    OK(xd_os_socketpair(fds, false));
    f->fd = fds[0];
    f->args = (xd_receive_args){ .in = fds[1], .out = fds[1], .folder = folder, .threads = 3 };
    ck_assert_int_eq(pthread_create(&f->thread, NULL, far_main, f), 0);
}

/* The same in a process: this program again, with `--receive FOLDER` (see far_program). */
static inline void far_start_process(far_end *f, const char *folder)
{
    int         fds[2];
    char *const argv[] = { "receive", "--receive", (char *)(uintptr_t)folder, NULL };
    *f = (far_end){ 0 };
    OK(xd_os_socketpair(fds, false));
    posix_spawn_file_actions_t a;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, fds[1], 3);
    ck_assert_int_eq(posix_spawn(&f->pid, "/proc/self/exe", &a, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&a);
    close(fds[1]);
    f->fd = fds[0];
}

/* What main returns. */
static inline int run_suite(Suite *s)
{
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

static inline int far_program(int argc, char **argv, int *ret)
{
    if (argc != 3 || strcmp(argv[1], "--receive") != 0)
        return 0;
    xd_receive_args args = { .in = 3, .out = 3, .folder = argv[2], .threads = 3 };
    signal(SIGPIPE, SIG_IGN);
    *ret = xd_receive(&args);
    return 1;
}

static inline int far_end_wait(far_end *f)
{
    close(f->fd);
    if (f->pid) {
        int status;
        ck_assert_int_eq(waitpid(f->pid, &status, 0), f->pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    pthread_join(f->thread, NULL);
    return f->status;
}

/* ---- home ---------------------------------------------------------------------------------------------------------- */

typedef struct home {
    const tree *want, *base; /* base NULL: nothing is known of the other end */
    uint32_t    flags;
    size_t      piece; /* most bytes of a piece; 0 = whole files */
    bool        push;  /* changed files go unasked */
    bool
                delta; /* files that are pushed, or wanted with whole = 0, go as deltas: first half copied if it is the same */
    const char *keep; /* paths of EXTRA that are ignored here: those that contain this */
    uint64_t    cut;  /* the stream is cut after so many bytes; 0 = never */
    bool        kill; /* ... and the process killed */
    int (*before_data)(struct home *h, uint32_t file); /* what a test does instead of sending that file: 1 */

    /* what came of it */
    far_end          *far;
    xd_stream_in      in;
    uint64_t          sent, taken, data_bytes;
    uint16_t          last; /* type of the last frame; 0 = the stream ended */
    uint32_t          need_all, want_frames, wanted, whole, data_files;
    xd_wire_SYNC_DONE done;
    xd_buf            said;    /* SYNC_FAILED */
    xd_buf            changes; /* lines "type was path" */
    xd_buf            extra;   /* lines */
    xd_buf            ranges, keeps;
    uint32_t          extras, keep_count;
    bool              ended;
} home;

static inline void home_release(home *h)
{
    xd_stream_in_release(&h->in);
    xd_buf_release(&h->said);
    xd_buf_release(&h->changes);
    xd_buf_release(&h->extra);
    xd_buf_release(&h->ranges);
    xd_buf_release(&h->keeps);
}

static inline int home_read(home *h, bool wait);

/* All bytes, unless the stream is cut or the other end is gone; reads meanwhile. */
static inline void home_send(home *h, const xd_buf *b)
{
    for (size_t sent = 0; sent < b->len && !h->ended;) {
        size_t n = b->len - sent;
        if (h->cut && h->sent + n > h->cut)
            n = (size_t)(h->cut - h->sent);
        ssize_t w = n ? send(h->far->fd, b->data + sent, n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (w < 0 && errno == EAGAIN) {
            struct pollfd p = { .fd = h->far->fd, .events = POLLIN | POLLOUT };
            poll(&p, 1, -1);
            if (p.revents & POLLIN && home_read(h, false) < 0)
                h->ended = true;
            continue;
        }
        if (w < 0) { /* what it has said last may still be there */
            h->ended = true;
            return;
        }
        sent += (size_t)w;
        h->sent += (uint64_t)w;
        if (h->cut && h->sent >= h->cut) {
            if (h->kill)
                kill(h->far->pid, SIGKILL);
            shutdown(h->far->fd, SHUT_WR);
            h->ended = true;
        }
    }
}

#define SEND(h, NAME, ...)                              \
    do {                                                \
        xd_autobuf     frame_ = XD_BUF_INIT;            \
        xd_wire_##NAME m_ = { __VA_ARGS__ };            \
        OK(xd_wire_##NAME##_frame(&frame_, 0, 0, &m_)); \
        home_send(h, &frame_);                          \
    } while (0)

typedef struct record_sender {
    home     *h;
    xd_digest base;
} record_sender;

static inline int send_list(void *arg, xd_bytes body, bool last)
{
    record_sender *s = arg;
    SEND(s->h, SYNC_RECORDS, .base_lo = s->base.lo, .base_hi = s->base.hi, .last = last,
         .plain_bytes = (uint32_t)body.len, .inner = body);
    return 0;
}

static inline bool never_kept(void *arg, xd_bytes path, bool is_folder)
{
    (void)is_folder;
    const home *h = arg;
    return h->keep && xd_bytes_find(path, h->keep);
}

static inline void send_piece(home *h, const xd_wire_SYNC_PIECE *p)
{
    xd_autobuf list = XD_BUF_INIT, body = XD_BUF_INIT;
    OK(xd_wire_SYNC_PIECE_append(&list, p));
    xd_wire_SYNC_PIECE_LIST l = { .pieces = { 1, list.data, list.len } };
    OK(xd_wire_SYNC_PIECE_LIST_encode(&body, &l));
    h->data_bytes += 1 + 4 + 4 + body.len;
    SEND(h, SYNC_DATA, .plain_bytes = (uint32_t)body.len, .inner = xd_buf_view(&body));
}

static inline void send_file(home *h, uint32_t file, bool delta)
{
    xd_autobuf  content = XD_BUF_INIT, old = XD_BUF_INIT;
    const tree *t = h->want;
    size_t      from = 0, most = h->piece ? h->piece : 1000000;
    if (h->before_data && h->before_data(h, file))
        return;
    h->data_files++;
    content_of(&t->things[t->thing_of[file]], &content);
    if (delta && h->base) {
        const xd_manifest *b = h->base->m;
        xd_autobuf         path = XD_BUF_INIT;
        OK(xd_manifest_path(t->m, t->m->file[file], &path));
        uint32_t e = xd_manifest_find(b, xd_buf_view(&path));
        if (e != XD_MANIFEST_NONE && b->entry[e].type == XD_SYNC_FILE) {
            content_of(&h->base->things[h->base->thing_of[b->entry[e].first]], &old);
            while (from < XD_MIN(old.len, content.len) && old.data[from] == content.data[from])
                from++;
        }
        if (from)
            send_piece(h,
                       &(xd_wire_SYNC_PIECE){ .file = file, .op = XD_SYNC_OP_COPY, .count = (uint32_t)from });
        if (from && from == content.len)
            return;
    }
    do {
        size_t n = XD_MIN(most, content.len - from);
        send_piece(h, &(xd_wire_SYNC_PIECE){ .file = file, .at = from, .data = { content.data + from, n } });
        from += n;
    } while (from < content.len && !h->ended);
}

static inline void home_answer_wants(home *h)
{
    xd_wire_SYNC_RANGE g;
    xd_wire_list       it = { (uint32_t)(h->ranges.len / 9), h->ranges.data, h->ranges.len };
    xd_autobuf         copy = XD_BUF_INIT;
    OK(xd_buf_add(&copy, h->ranges.data, h->ranges.len));
    it.ptr = copy.data;
    xd_buf_clear(&h->ranges);
    while (xd_wire_SYNC_RANGE_next(&it, &g) == 1)
        for (uint32_t i = 0; i < g.count && !h->ended; i++) {
            h->wanted++;
            h->whole += g.whole;
            send_file(h, g.first + i, h->delta && !g.whole);
        }
    SEND(h, SYNC_END, 0);
}

static inline void home_send_all(home *h)
{
    record_sender s = { h, { 0 } };
    OK(xd_manifest_write(NULL, h->want->m, NULL, NULL, NULL, 200, send_list, &s));
    SEND(h, SYNC_END, 0);
}

/* -1: it is over. 0 = go on. */
static inline int home_frame(home *h, const xd_frame *f)
{
    h->last = f->type;
    switch (f->type) {
    case XD_MSG_SYNC_NEED_ALL:
        h->need_all++;
        return 0;
    case XD_MSG_SYNC_WANT: {
        xd_wire_SYNC_WANT m;
        OK(xd_wire_SYNC_WANT_decode(f->body, f->len, &m));
        h->want_frames++;
        OK(xd_buf_add(&h->ranges, m.ranges.ptr, m.ranges.len));
        return m.last;
    }
    case XD_MSG_SYNC_EXTRA: {
        xd_wire_SYNC_EXTRA m;
        xd_wire_TEXT       t;
        OK(xd_wire_SYNC_EXTRA_decode(f->body, f->len, &m));
        for (xd_wire_list it = m.paths; xd_wire_TEXT_next(&it, &t) == 1; h->extras++) {
            OK(xd_buf_add_bytes(&h->extra, t.text));
            OK(xd_buf_add_byte(&h->extra, '\n'));
            if (h->keep && xd_bytes_find(t.text, h->keep)) {
                OK(xd_wire_INDEX_append(&h->keeps, &(xd_wire_INDEX){ .item = h->extras }));
                h->keep_count++;
            }
        }
        return m.last ? 2 : 0;
    }
    case XD_MSG_SYNC_TAKEN: {
        xd_wire_SYNC_TAKEN m;
        OK(xd_wire_SYNC_TAKEN_decode(f->body, f->len, &m));
        h->taken = m.bytes;
        return 0;
    }
    case XD_MSG_SYNC_CHANGE: {
        xd_wire_SYNC_CHANGE m;
        OK(xd_wire_SYNC_CHANGE_decode(f->body, f->len, &m));
        OK(xd_buf_printf(&h->changes, "%u %u %.*s\n", m.type, m.was, (int)m.path.len,
                         (const char *)m.path.ptr));
        return 0;
    }
    case XD_MSG_SYNC_FAILED: {
        xd_wire_SYNC_FAILED m;
        OK(xd_wire_SYNC_FAILED_decode(f->body, f->len, &m));
        OK(xd_buf_add_bytes(&h->said, m.text));
        return -1;
    }
    case XD_MSG_SYNC_DONE:
        OK(xd_wire_SYNC_DONE_decode(f->body, f->len, &h->done));
        return -1;
    case XD_MSG_SYNC_SAME:
        return -1;
    default:
        ck_abort_msg("a frame of type %u", f->type);
        return -1;
    }
}

/* Reads what there is. -1: over. Answers are sent by home_run. */
static inline int home_read(home *h, bool wait)
{
    uint8_t *room;
    size_t   len;
    OK(xd_stream_in_space(&h->in, 65536, &room, &len));
    ssize_t n = recv(h->far->fd, room, len, wait ? 0 : MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return -1;
    xd_stream_in_filled(&h->in, (size_t)n);
    return 0;
}

/* The conversation to its end; far is waited for. Returns its status. */
static inline int home_talk(home *h, far_end *far)
{
    xd_frame f;
    int      r = 0;
    h->far = far;
    xd_stream_in_init(&h->in, false);
    h->last = 0;
    xd_digest id = xd_manifest_digest(h->want->m);
    SEND(h, SYNC_OPEN, .flags = h->flags, .lo = id.lo, .hi = id.hi, .folder = XD_BYTES_LIT("x"));
    if (!h->base) {
        home_send_all(h);
    } else if (!xd_digest_eq(id, xd_manifest_digest(h->base->m))) {
        xd_autofree uint8_t *pushed = calloc(h->want->m->files / 8 + 1, 1);
        record_sender        s = { h, xd_manifest_digest(h->base->m) };
        for (uint32_t i = 0; h->push && i < h->want->m->files; i++) {
            const xd_entry *e = &h->want->m->entry[h->want->m->file[i]];
            xd_autobuf      path = XD_BUF_INIT;
            OK(xd_manifest_path(h->want->m, h->want->m->file[i], &path));
            uint32_t b = xd_manifest_find(h->base->m, xd_buf_view(&path));
            if (b == XD_MANIFEST_NONE || h->base->m->entry[b].type != XD_SYNC_FILE ||
                !xd_digest_eq(h->base->m->entry[b].id, e->id))
                pushed[i / 8] |= (uint8_t)(1u << i % 8);
        }
        OK(xd_manifest_write(h->base->m, h->want->m, pushed, never_kept, h, 200, send_list, &s));
        for (uint32_t i = 0; i < h->want->m->files && !h->ended; i++)
            if (pushed[i / 8] >> i % 8 & 1)
                send_file(h, i, h->delta);
        SEND(h, SYNC_END, 0);
    } else {
        SEND(h, SYNC_END, 0);
    }
    for (bool over = false; !over;) {
        uint32_t needed = h->need_all;
        while (!over && (r = xd_stream_in_next(&h->in, &f)) == 1) {
            int x = home_frame(h, &f);
            over = x < 0;
            if (x == 1)
                home_answer_wants(h);
            if (x == 2)
                SEND(h, SYNC_KEEP, .paths = { h->keep_count, h->keeps.data, h->keeps.len }, .last = 1);
            if (h->need_all != needed)
                home_send_all(h);
            needed = h->need_all;
        }
        OK(r);
        if (!over && home_read(h, true) < 0)
            break;
    }
    return far_end_wait(far);
}

static inline int home_run(home *h, const char *folder)
{
    far_end far;
    far_start(&far, folder);
    return home_talk(h, &far);
}

/* A synchronisation that must succeed, of things that are written down. */
static inline home sync_ok(const char *folder, const tree *want, const tree *base, bool push)
{
    home h = { .want = want, .base = base, .push = push };
    int  status = home_run(&h, folder);
    if (status != 0)
        ck_abort_msg("status %d, last %u: %s", status, h.last, xd_buf_cstr(&h.said));
    check_same(folder, want);
    return h;
}
