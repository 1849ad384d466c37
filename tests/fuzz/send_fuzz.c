/* needs: sync. Any bytes as what the far half of a synchronisation says: the home half ends, with 0 or with one line that says why.
 * Input: the bytes of the stream. Their number chooses the flags, and whether it is known what stands there: nothing, the same tree, another one. The digest of a
 * SYNC_DONE that is 0 is made the right one. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/stream.h"
#include "sync/memory.h"
#include "sync/send.h"

#define INPUT_MAX 65536u /* what a socket takes without a reader */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char       top[] = "/tmp/xd-send-fuzz-XXXXXX", memory[] = "/tmp/xd-send-fuzz-XXXXXX";
static xd_source *source;

static void end(void)
{
    xd_source_free(source);
    (void)xd_path_remove_tree(top);
    (void)xd_path_remove_tree(memory);
}

/* What is known of two destinations. */
static void remember(void)
{
    const xd_scan_result *scan;
    xd_tree              *t;
    xd_manifest          *m;
    xd_node               node = {
                      .name = XD_BYTES_LIT("b"), .type = XD_SYNC_FILE, .mode = 0644, .size = 7, .mtime_ns = 1
    };
    node.id = xd_digest_of(XD_BYTES_LIT("another"));
    int r = xd_source_scanned(source, &scan, NULL);
    assert(r == 0);
    r = xd_memory_store(memory, "same", scan->manifest, NULL, NULL, NULL);
    assert(r == 0);
    r = xd_tree_new(&t, XD_SYNC_FOLDER, 0755);
    assert(r == 0);
    r = xd_tree_add(t, 0, &node, NULL);
    assert(r == 0);
    r = xd_tree_end(&t, &m, NULL);
    assert(r == 0);
    r = xd_memory_store(memory, "other", m, NULL, NULL, NULL);
    assert(r == 0);
    xd_manifest_free(m);
}

/* Always the same tree, so that its digest can be in the corpus. */
static void begin(void)
{
    static const char *const     roots[] = { ".", NULL };
    static const struct timespec times[2] = { { 1000000000, 5 }, { 1000000000, 5 } };
    static char                  text[30000];
    int                          ok = mkdtemp(top) != NULL && mkdtemp(memory) != NULL;
    for (int i = 0; i < 3; i++) {
        char path[60];
        (void)snprintf(path, sizeof path, "%s/%c", top, 'a' + i);
        memset(text, 'a' + i, sizeof text);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        ok = ok && fd >= 0 && write(fd, text, (size_t)i * 10000 + 1) > 0 && fchmod(fd, 0644) == 0 &&
             futimens(fd, times) == 0;
        (void)close(fd);
    }
    assert(ok);
    xd_source_args args = { .scan = { .roots = roots, .base = top, .threads = 1 }, .memory = memory };
    ok = xd_source_new(&source, &args, NULL);
    assert(ok == 0);
    (void)atexit(end);
    remember();
}

static void say(void *arg, uint8_t level, xd_bytes text)
{
    (void)arg;
    assert(level >= XD_NOTE_DETAIL && level <= XD_NOTE_ERROR && (text.len == 0 || text.ptr));
}

static void change(void *arg, uint8_t type, uint8_t was, xd_bytes path)
{
    (void)arg;
    assert(type <= XD_SYNC_KEPT && was <= XD_SYNC_KEPT && (path.len == 0 || path.ptr));
}

static uint8_t *right_done(const uint8_t *data, size_t len)
{
    uint8_t              *copy = malloc(len + 1);
    const xd_scan_result *scan;
    xd_frame              f;
    int                   r = xd_source_scanned(source, &scan, NULL);
    assert(copy && r == 0);
    memcpy(copy, data, len);
    for (size_t at = 0; at + XD_FRAME_HEADER <= len; at += XD_FRAME_HEADER + f.len) {
        if (xd_wire_header(copy + at, &f) < 0 || f.len > len - at - XD_FRAME_HEADER)
            break;
        static const uint8_t zero[16];
        xd_digest            id = xd_manifest_digest(scan->manifest);
        uint8_t             *body = copy + at + XD_FRAME_HEADER;
        if (f.type == XD_MSG_SYNC_DONE && f.len >= 16 && memcmp(body, zero, 16) == 0)
            memcpy(body, &id, sizeof(id));
    }
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const keys[] = { NULL, "same", "other" };
    int                      fds[2], size = 1 << 20;
    xd_sync_counts           counts;
    xd_error                 err = { 0 };
    if (!source)
        begin();
    if (len > INPUT_MAX)
        return 0;
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
    assert(r == 0);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    uint8_t *said = right_done(data, len);
    ssize_t  n = send(fds[1], said, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    assert(n == (ssize_t)len);
    (void)shutdown(fds[1], SHUT_WR);
    xd_send_args args = { .source = source,
                          .fd = fds[0],
                          .folder = "p",
                          .key = keys[len % 3],
                          .flags = len % 16,
                          .zstd = len % 2,
                          .say = say,
                          .change = change };
    r = xd_send(&args, &counts, &err);
    assert(r == 0 || ((r == -EPIPE || r == -EPROTO || r == -EREMOTEIO) && err.code == r && err.text[0] &&
                      !strchr(err.text, '\n')));
    (void)close(fds[0]);
    (void)close(fds[1]);
    free(said);
    if (r == 0 && args.key)
        remember(); /* as it was: the next run shall not depend on this one */
    return 0;
}
