/* SYNC_OPEN and what follows: the far half of a synchronisation (sync/receive.h) is a process of its own, this program in another role. Its frames pass here as they
 * are. So the loop of the agent never waits for a disk, and nothing that a stream does to that half reaches the agent.
 *
 * Folders. For a project (SYNC_FLAG.PROJECT) the tree stands in work/NAME below the agent's cache, which is locked for as long as this agent lives: a run that is going on there keeps its files. Another
 * agent that wants it meanwhile takes work/NAME-2, and so on. A folder that the user named is locked only while it is brought up to date; who comes second waits (receive_main). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "tools/xdagent/agent.h"

#define SLOTS 64
#define END_MS 1000            /* that the other half gets to end by itself */
#define LINK_FULL (512u << 10) /* bytes for the controller beyond which nothing is read from the other half */
#define LINK_FREE (128u << 10)

/* ---- folders --------------------------------------------------------------------------------------------- */

/* 0 = taken; 1 = another agent has it; -errno. */
static int take_slot(agent_sync *s, const char *work, const char *name, int slot, xd_error *err)
{
    xd_autobuf  lock = XD_BUF_INIT, folder = XD_BUF_INIT;
    struct stat ours, there;
    XD_TRY(xd_buf_printf(&folder, slot ? "%s/%s-%d" : "%s/%s", work, name, slot + 1));
    XD_TRY(xd_buf_printf(&lock, "%s.lock", xd_buf_cstr(&folder)));
    xd_autoclose int fd =
        open(xd_buf_cstr(&lock), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return xd_error_set(err, -errno, "%s: %s", xd_buf_cstr(&lock), xd_error_name(-errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return 1;
    /* Where locks do not work, each has its way. One that was removed meanwhile is nobody's. */
    if (fstat(fd, &ours) < 0 || stat(xd_buf_cstr(&lock), &there) < 0 || ours.st_ino != there.st_ino)
        return 1;
    s->folder = strdup(xd_buf_cstr(&folder));
    if (!s->folder)
        return -ENOMEM;
    s->lock = fd;
    fd = -1;
    return 0;
}

static int project_folder(agent_sync *s, xd_bytes name, xd_error *err)
{
    xd_autofree char *cache = NULL, *work = NULL, *project = xd_bytes_dup(name);
    if (!agent_place_is_project(name))
        return xd_error_set(err, -EINVAL, "'%.*s' cannot be the name of a project's folder", (int)name.len,
                            (const char *)name.ptr);
    XD_TRY(xd_path_cache(&cache, err));
    if (!project || !(work = xd_path_join(cache, "work")))
        return -ENOMEM;
    XD_TRY(xd_path_mkdirs(work, 0700, err));
    for (int i = 0; i < SLOTS; i++) {
        int r = take_slot(s, work, project, i, err);
        if (r <= 0)
            return r;
    }
    return xd_error_set(err, -EBUSY, "%d runs of this project use their folders below %s at the same time",
                        SLOTS, work);
}

static int find_folder(agent_sync *s, xd_bytes folder, bool project, xd_error *err)
{
    xd_autofree char *wish = xd_bytes_dup(folder);
    if (s->lock >= 0) /* begun anew after a cut */
        return 0;
    free(s->folder);
    s->folder = NULL;
    if (project)
        return project_folder(s, folder, err);
    if (!wish)
        return -ENOMEM;
    return *wish ? xd_path_absolute_home(wish, &s->folder) : xd_error_set(err, -EINVAL, "no folder is named");
}

/* ---- the other half ---------------------------------------------------------------------------------------- */

static int fail(agent *a, const char *text)
{
    xd_autobuf          body = XD_BUF_INIT;
    xd_wire_SYNC_FAILED m = { .text = xd_bytes_str(text) };
    a->sync.over = true;
    XD_TRY(xd_wire_SYNC_FAILED_encode(&body, &m));
    return agent_link_plain(a, XD_MSG_SYNC_FAILED, xd_buf_view(&body));
}

static int on_frame(void *arg, const xd_frame *f)
{
    agent *a = arg;
    if (f->type < XD_MSG_SYNC_SAME || f->type >= XD_MSG_SYNC_SAME + 16 || a->sync.over)
        return 0;
    a->sync.stands |= f->type == XD_MSG_SYNC_SAME || f->type == XD_MSG_SYNC_DONE;
    a->sync.over |= a->sync.stands || f->type == XD_MSG_SYNC_FAILED;
    if (xd_stream_out_pending(&a->link.tx) > LINK_FULL)
        agent_chan_read(&a->sync.io, false);
    return a->link.open ? agent_link_plain(a, f->type, agent_body(f)) : 0;
}

static void on_end(void *arg, int error)
{
    agent *a = arg;
    if (error && !a->sync.over)
        agent_fault(a, fail(a, "the receiving process said what it must not"));
}

static void end_process(agent *a)
{
    agent_sync *s = &a->sync;
    agent_chan_close(&s->io);
    if (s->proc.pidfd >= 0)
        xd_poller_remove(a->poller, s->proc.pidfd);
    (void)xd_proc_kill_group(&s->proc, SIGKILL); /* nothing is left by halves: see receive.h */
    xd_proc_close(&s->proc);                     /* waited for with the orphans */
    a->orphans = true;
}

/* Its status is told only if it has not said how it went. */
static void on_pidfd(void *arg, int fd, uint32_t events)
{
    agent         *a = arg;
    agent_sync    *s = &a->sync;
    xd_proc_status status = { .exit_status = -2 };
    char           how[64], text[160];
    (void)fd;
    (void)events;
    while (s->io.fd >= 0 && agent_chan_pump(&s->io, AGENT_SCRATCH) > 0)
        ;
    xd_poller_remove(a->poller, s->proc.pidfd);
    (void)!xd_proc_wait(&s->proc, true, &status);
    xd_proc_close(&s->proc);
    agent_chan_close(&s->io);
    if (s->over)
        return;
    (void)agent_how_it_ended(&status, true, how, sizeof(how));
    snprintf(text, sizeof(text), "the process that receives the files %s", how);
    agent_fault(a, fail(a, text));
}

static int spawn(agent *a, xd_error *err)
{
    agent_sync       *s = &a->sync;
    xd_autofree char *self = NULL;
    int               ends[2];
    XD_TRY(xd_path_self_program(&self));
    XD_TRY(xd_os_socketpair(ends, true));
    const char *const  argv[] = { self, AGENT_RECEIVE_ROLE, s->folder, NULL };
    const xd_proc_fd   fds[] = { { ends[1], 0 }, { ends[1], 1 }, { 2, 2 } };
    const xd_proc_args args = { .argv = argv, .fds = fds, .nfds = 3, .new_group = true };
    int                r = xd_proc_spawn(&args, &s->proc, err);
    close(ends[1]);
    if (r < 0) {
        close(ends[0]);
        return r;
    }
    XD_TRY(agent_chan_open(&s->io, a, ends[0], true, on_frame, on_end, a));
    return s->proc.pidfd >= 0 ? xd_poller_set(a->poller, s->proc.pidfd, XD_POLL_IN, on_pidfd, a) : 0;
}

/* Another half, for this folder, begins with this frame. */
static int begin(agent *a, xd_bytes folder, bool project, const xd_frame *f)
{
    agent_sync *s = &a->sync;
    xd_error    err = { 0 };
    if (a->env.started)
        return -EPROTO;
    end_process(a);
    s->over = s->stands = s->opened = false;
    int r = find_folder(s, folder, project, &err);
    if (r == 0)
        r = spawn(a, &err);
    if (r < 0)
        return fail(a, *err.text ? err.text : xd_error_name(r));
    return agent_chan_send(&s->io, f->type, agent_body(f), NULL, 0);
}

static int on_look(agent *a, const xd_frame *f)
{
    xd_wire_SYNC_LOOK m;
    XD_TRY(xd_wire_SYNC_LOOK_decode(f->body, f->len, &m));
    return xd_wire_SYNC_LOOK_beyond(&m) || !m.folder.len ? -EPROTO : begin(a, m.folder, m.project, f);
}

static int on_open(agent *a, const xd_frame *f)
{
    agent_sync       *s = &a->sync;
    xd_wire_SYNC_OPEN m;
    XD_TRY(xd_wire_SYNC_OPEN_decode(f->body, f->len, &m));
    if (xd_wire_SYNC_OPEN_beyond(&m))
        return -EPROTO;
    if (m.folder.len)
        return begin(a, m.folder, m.flags & XD_SYNC_FLAG_PROJECT, f);
    if (s->opened || !s->folder)
        return -EPROTO;
    s->opened = true;
    return s->io.fd < 0 || s->over ? 0 : agent_chan_send(&s->io, f->type, agent_body(f), NULL, 0);
}

int agent_sync_frame(agent *a, const xd_frame *f)
{
    if (f->seq || f->type >= XD_MSG_SYNC_SAME)
        return -EPROTO;
    if (f->type == XD_MSG_SYNC_LOOK)
        return on_look(a, f);
    if (f->type == XD_MSG_SYNC_OPEN)
        return on_open(a, f);
    if (a->sync.io.fd < 0 || a->sync.over)
        return 0; /* it was on its way when that ended */
    if (a->sync.io.out.len - a->sync.io.written + f->len > AGENT_SYNC_WAITING_MAX)
        return -EPROTO; /* beyond the credit */
    return agent_chan_send(&a->sync.io, f->type, agent_body(f), NULL, 0);
}

void agent_sync_cut(agent *a)
{
    if (a->sync.io.fd >= 0 || a->sync.proc.pid > 0)
        end_process(a);
}

void agent_sync_care(agent *a)
{
    if (a->sync.io.fd >= 0 && !a->sync.io.reading && xd_stream_out_pending(&a->link.tx) < LINK_FREE)
        agent_chan_read(&a->sync.io, true);
}

/* It has said that the tree stands, and may still be writing down what it has seen, which spares the next one work. */
void agent_sync_let_end(const agent *a)
{
    const agent_sync *s = &a->sync;
    struct pollfd     ended = { .fd = s->proc.pidfd, .events = POLLIN };
    if (s->stands && s->proc.pid > 0 && s->proc.pidfd >= 0)
        (void)poll(&ended, 1, END_MS);
}

void agent_sync_release(agent *a)
{
    agent_sync *s = &a->sync;
    if (a->poller)
        end_process(a);
    free(s->folder);
    s->folder = NULL;
    if (s->lock >= 0)
        close(s->lock);
    s->lock = -1;
}
