/* gateways/transport.h - the contract of a transport: a way to get a byte pipe to an agent.  What is said over the pipe
 * is none of its business (gateway.h).
 *
 *   open -> opened, until it is -> read, write, text -> close -> hang_up
 *                 ^                       |
 *                 `------ reopen <--------'  when it was cut
 *
 * The functions of one pipe are called by one thread, its gateway's, one at a time and with no lock held; none of them
 * calls back.  Only hang_up may block. A transport that has to wait for something that cannot be polled (the resolver, a
 * library's own threads) does so in a thread of its own and wakes the gateway with a descriptor: see `wait`.
 * Starting a process on this host does not count as blocking. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/error.h"
#include "engine/base/poller.h"
#include "engine/xspec.h"

#define XD_OUTPUT_DEFAULT UINT64_MAX

/* Where to, and what to start there. */
typedef struct xd_server_there xd_server_there;

typedef struct xd_target {
    const xd_xspec *spec;
    const char
        *agent; /* the agent's program: absolute path on this host if the transport is `local`, else as the
                              user named it; NULL = what the transport finds at the far end */
    const char *dir; /* it starts there; NULL = the current directory, or that of the login */
    /* For an agent on this host: folders of this program's that it shall use (xdagent --cache-dir, --scratch-dir); NULL =
     * its own. A transport that leads to another host passes them over: they mean nothing there. */
    const char *cache_dir, *scratch_dir;
    uint64_t
        output_limit; /* bytes kept of what one test writes past the runner's capture; XD_OUTPUT_DEFAULT = the
                              agent's default */
    uint32_t
        timeout_ms; /* to open it; a transport that can say what it waited for gives up a little earlier. 0 = its own */
    /* Of transports by ssh: the keys of unknown hosts are taken, and written down (--ssh-accept-new). */
    bool ssh_accept_new;
    /* Of socket=: folder of keys; NULL = the default (xd_keys_folder). */
    const char *keys;
    /* Of an agent that has joined (listen.h): where, and its seat. */
    struct xd_listen *listen;
    uint16_t          seat;
    /* Of transports that lead to a shell: no agent, but a server that stays there (server_there.h); what is read from the pipe is what the far end says of
     * it, up to its end. NULL = an agent. Borrowed until hang_up. */
    const xd_server_there *server;
} xd_target;

typedef struct xd_transport xd_transport;

/* First member of a transport's own structure. */
typedef struct xd_pipe {
    const xd_transport *transport;
} xd_pipe;

/* What a wait is for. */
#define XD_PIPE_READ 1u
#define XD_PIPE_WRITE 2u
#define XD_PIPE_TEXT 4u
#define XD_PIPE_FDS 4u

typedef struct xd_pipe_wait {
    uint32_t ready; /* XD_PIPE_*: call these now, without waiting */
    uint32_t n;
    struct {
        int      fd;     /* the transport's; each at most once */
        uint32_t events; /* XD_POLL_IN, XD_POLL_OUT */
        uint32_t uses;   /* XD_PIPE_*: what to call when one of the events has come */
    } on[XD_PIPE_FDS];
} xd_pipe_wait;

/* For a pipe that is a descriptor, or a text that is one: one more to wait for. */
void xd_pipe_wait_on(xd_pipe_wait *w, int fd, uint32_t events, uint32_t uses);
/* `text` of a transport whose text is this descriptor, which is closed and -1 behind its end. */
ssize_t xd_pipe_read_text(int *fd, void *to, size_t room);

struct xd_transport {
    const char *name;  /* of the scheme in a spec: "popen" */
    bool        local; /* the agent's program lies on this host */

    /* Begins to make the pipe and to start an agent at its far end. Never blocks. `target` is borrowed for the call.
     * 0: *ret is the caller's, who ends it with hang_up. -errno: *ret is untouched, nothing is left; err says what was
     * tried. */
    int (*open)(xd_pipe **ret, const xd_target *target, xd_error *err);
    /* Takes the next steps of opening. Never blocks. 1 = it is open, 0 = not yet: called again when something that `wait`
     * named has come, and every 100 ms. 2 = not yet, because the user is being asked for something: that time does not count.
     * -errno: it failed, err says why; hang_up is still called. */
    int (*opened)(xd_pipe *p, xd_error *err);

    /* Begins to make another pipe to the same agent when read or write has failed, or read has found the end. From here on
     * opened, then read and write, are those of the new one; what lay in the old one is gone, and the agent sees its end.
     * Never blocks. 0; -ESRCH, from this or from opened: there is no agent any more that could answer; -EKEYREJECTED: the
     * host has another key now; other -errno: err says why, and it is called again after a while. NULL = this transport
     * cannot. */
    int (*reopen)(xd_pipe *p, xd_error *err);

    /* What has to come before it is of use to call opened (while it opens), or read and write (as far as `want` has
     * XD_PIPE_READ and XD_PIPE_WRITE) and text (always, until its end). Never blocks. Asked after every call of the
     * others. A descriptor may be one that tells of changes only (ZMQ_FD, an eventfd): then `ready` has what is there
     * already. Neither a descriptor nor ready: nothing will come. */
    void (*wait)(xd_pipe *p, uint32_t want, xd_pipe_wait *ret);

    /* Reads at most `room` bytes, also fewer than are there. Never blocks. > 0 bytes, 0 = the far end has closed and all
     * was read, -EAGAIN = nothing now, -errno = broken. */
    ssize_t (*read)(xd_pipe *p, void *to, size_t room);
    /* Takes at least one of the bytes, or none: -EAGAIN. Never blocks. The bytes stay the caller's: what was taken is
     * copied or written. -EPIPE, -ECONNRESET: the far end takes no more; what it has sent can still be read. -errno. */
    ssize_t (*write)(xd_pipe *p, const void *from, size_t len);
    /* As read, for text for people that the transport or the agent wrote beside the pipe (stderr). NULL = there is none. */
    ssize_t (*text)(xd_pipe *p, void *to, size_t room);

    /* Ends both directions: the agent sees the end of its pipe and ends all that it started. Never blocks. text may still
     * be called, read and write may not. Again: nothing. */
    void (*close)(xd_pipe *p);
    /* Said once, before hang_up: the agent has told all and ends by itself when it has read what was written last. A transport
     * whose far end is a round trip away then only sees that this gets there; hang_up does not wait for the agent's end. Never
     * blocks. NULL: it makes no difference. */
    void (*part)(xd_pipe *p);
    /* Closes, ends what open started, also when it is not open yet, and frees *p (NULL afterwards). Blocks while the agent
     * ends by itself, at most grace_ms (0 = not at all), then for as long as it takes to kill what is on this host. `how`
     * gets a few words on the agent's end, or is empty when nothing is known. */
    void (*hang_up)(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size);
};

extern const xd_transport xd_transport_popen;

extern const xd_transport xd_transport_openssh;

/* What carries a spec. */
typedef struct xd_transport_choice {
    const xd_transport *transport;
    const xd_transport
        *other;    /* to be taken when `transport` says -EOPNOTSUPP before it has opened; NULL = none */
    char why[320]; /* of ssh=: which it is, and why; empty = there was no choice */
} xd_transport_choice;

bool xd_transport_known(const xd_xspec *spec); /* there is one for its kind */
/* `ssh`: auto, libssh, openssh; NULL = auto. -ENOENT: there is none for its kind; -EINVAL: it cannot be carried so; err says why. */
int xd_transport_choose(xd_transport_choice *ret, const xd_xspec *spec, const char *ssh,
                        xd_error *err) XD_MUST;
