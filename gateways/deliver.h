/* gateways/deliver.h - gets an agent running at the far end of a byte pipe that leads to a POSIX shell, on a host where
 * nothing is installed: the way of all transports that lead elsewhere (command, openssh, libssh).
 *
 * The transport has the far end run XD_DELIVER_COMMAND and calls step whenever something has come or can be written. Until
 * step returns 1, everything that is read belongs to it: what comes before its magic bytes (banners, noisy profiles) is skipped
 * and kept for the error. Then the pipe is the agent's, and what step had read too far comes out of rest.
 *   - the agent of the host's architecture is used if ~/.cache/xd/agent/<build-id>/ has it, else it is sent, compressed, into a
 *     temporary file there, verified by its hash, renamed; a folder that is full, read-only or noexec gives way to another one
 *   - a host that has not what is needed (sh, a known architecture, room) gives one line that names the cause
 * It reads this program's agents from files; it never blocks otherwise, and knows no transport. One thread. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "gateways/transport.h"

/* What the far end runs: one word list without quotes or characters that bash, csh, fish or a ForceCommand would read
 * differently. The script itself goes over the pipe. */
#define XD_DELIVER_COMMAND "exec /bin/sh"

typedef struct xd_deliver xd_deliver;

/* As read and write of transport.h; `arg` is handed back. */
typedef struct xd_deliver_io {
    void *arg;
    ssize_t (*read)(void *arg, void *to, size_t room);
    ssize_t (*write)(void *arg, const void *from, size_t len);
} xd_deliver_io;

/* To start an agent for the target (its agent: a program there, which is started and never sent; output_limit; no folders of
 * this host are passed on); what is needed of it is copied. Or its server, instead of an agent. -ENOENT: there is no agent for any architecture here, or no
 * server. -ENOMEM. */
int xd_deliver_new(xd_deliver **ret, const xd_target *target, xd_error *err) XD_MUST;
/* The next steps of it. 1 = the agent runs, 0 = not yet, -errno: err says why, with what the far end said. */
int xd_deliver_step(xd_deliver *d, const xd_deliver_io *io, xd_error *err) XD_MUST;
/* The time for it is over: -ETIMEDOUT, and err says how far it has come and what the far end said. */
int xd_deliver_late(xd_deliver *d, xd_error *err) XD_MUST;
/* What step waits for: XD_PIPE_READ, XD_PIPE_WRITE. */
uint32_t xd_deliver_wants(const xd_deliver *d);
/* Bytes of the agent that step has read already; 0 = no more: the pipe has the rest. While xd_deliver_left says that there
 * are some, nothing that can be polled tells of them: a transport's `wait` has XD_PIPE_READ in `ready`. */
size_t xd_deliver_rest(xd_deliver *d, void *to, size_t room);
size_t xd_deliver_left(const xd_deliver *d);
/* To take up the agent that d has started, over another pipe of the same kind (transport.h, reopen): the same steps, then the
 * pipe leads to that agent. -ESRCH from step: it is there no more. */
int         xd_deliver_again(xd_deliver *d, xd_error *err) XD_MUST;
xd_deliver *xd_deliver_free(xd_deliver *d); /* NULL ok */
