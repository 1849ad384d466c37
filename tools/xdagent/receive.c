/* The process that receives files: this program in another role (sync.c starts it), with the stream of sync/receive.h on standard input and output. */
#include "sync/receive.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "tools/xdagent/agent.h"

static int say_waiting(const char *folder)
{
    xd_autobuf       frame = XD_BUF_INIT, text = XD_BUF_INIT;
    xd_wire_SYNC_SAY m = { .level = XD_NOTE_NOTE };
    XD_TRY(xd_buf_printf(&text, "%s is being synchronised by somebody else: waiting for the end of that",
                         folder));
    m.text = xd_buf_view(&text);
    XD_TRY(xd_wire_SYNC_SAY_frame(&frame, 0, 0, &m));
    return write(STDOUT_FILENO, frame.data, frame.len) == (ssize_t)frame.len ? 0 : -EPIPE;
}

/* Two that bring trees to one folder at once: the second one waits. The lock is of a file of this user's own, since the folder need not be there yet, and may not be ours to
 * write to. -errno: there can be none, and each has its way. */
static int lock(const char *folder)
{
    xd_autobuf        path = XD_BUF_INIT;
    xd_autofree char *base = NULL, *real = realpath(folder, NULL);
    const char       *name = real ? real : folder;
    XD_TRY(xd_path_private(&base, NULL));
    XD_TRY(xd_buf_printf(&path, "%s/sync-%016llx.lock", base,
                         (unsigned long long)XXH3_64bits(name, strlen(name))));
    int fd = open(xd_buf_cstr(&path), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
        (say_waiting(folder) < 0 || flock(fd, LOCK_EX) < 0))
        return -errno;
    return fd; /* held until this process ends */
}

int agent_receive_main(const char *folder)
{
    const pid_t parent = getppid();
    /* Blocks come and go, of half a MiB: that they are mapped and cleared anew each time takes as long as to write them. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
    (void)signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails instead */
    (void)signal(SIGPIPE, SIG_IGN);
    if (xd_os_die_with_parent(SIGKILL, parent) < 0)
        return 2;
    (void)!lock(folder);
    const xd_receive_args args = { .in = STDIN_FILENO, .out = STDOUT_FILENO, .folder = folder };
    return xd_receive(&args);
}
