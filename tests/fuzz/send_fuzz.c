/* needs: sync. Any bytes as what the far half of a synchronisation says: the home half ends, with 0 or with one line that says why.
 * Input: the bytes of the stream. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "sync/send.h"

#define INPUT_MAX 65536u /* what a socket takes without a reader */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char       top[] = "/tmp/xd-send-fuzz-XXXXXX";
static xd_source *source;

static void end(void)
{
    xd_source_free(source);
    (void)xd_path_remove_tree(top);
}

/* Always the same tree, so that its digest can be in the corpus. */
static void begin(void)
{
    static const char *const     roots[] = { ".", NULL };
    static const struct timespec times[2] = { { 1000000000, 5 }, { 1000000000, 5 } };
    static char                  text[30000];
    int                          ok = mkdtemp(top) != NULL;
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
    xd_source_args args = { .scan = { .roots = roots, .base = top, .threads = 1 } };
    ok = xd_source_new(&source, &args, NULL);
    assert(ok == 0);
    (void)atexit(end);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    int            fds[2], size = 1 << 20;
    xd_sync_counts counts;
    xd_error       err = { 0 };
    if (!source)
        begin();
    if (len > INPUT_MAX)
        return 0;
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
    assert(r == 0);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    ssize_t n = send(fds[1], data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    assert(n == (ssize_t)len);
    (void)shutdown(fds[1], SHUT_WR);
    xd_send_args args = { .source = source,
                          .fd = fds[0],
                          .folder = "p",
                          .flags = len % 16,
                          .zstd = len % 2,
                          .say = say,
                          .change = change };
    r = xd_send(&args, &counts, &err);
    assert(r == 0 || ((r == -EPIPE || r == -EPROTO || r == -EREMOTEIO) && err.code == r && err.text[0] &&
                      !strchr(err.text, '\n')));
    (void)close(fds[0]);
    (void)close(fds[1]);
    return 0;
}
